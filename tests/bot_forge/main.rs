//! The code host's side of the bot: what is delivered, what is asked and said, and what happens when the host fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../bare_repository/mod.rs"]
mod bare_repository;
mod fake;
mod looking;
mod mirror;
#[path = "../real_s3/mod.rs"]
mod real_s3;
mod saying;
#[path = "../scripted_server/mod.rs"]
mod scripted_server;
mod server;
mod shown;
#[path = "../small_s3/mod.rs"]
mod small_s3;
mod stage;
mod stories;
mod tokens;
mod webhooks;
