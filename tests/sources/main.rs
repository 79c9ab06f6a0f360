//! Source files of every kind, compared with what other readers found in them.

mod agreement;
mod damage;
mod facts;
mod local;
