//! Source files of every kind, compared with what other readers found in them.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests too")]

mod agreement;
mod classic;
mod damage;
mod edges;
mod facts;
mod filters;
mod local;
mod values;
