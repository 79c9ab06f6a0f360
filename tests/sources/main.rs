//! Source files of every kind, compared with what other readers found in them.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests too")]

mod agreement;
mod damage;
mod facts;
mod local;
