//! The server of the bot: nothing that was accepted is lost or done twice, whoever is not the code host is refused, and jobs have limits
//! and no secrets. The code host is played by `host`; the program that jobs run is the real one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

#[path = "../bare_repository/mod.rs"]
mod bare_repository;
mod host;
mod kills;
mod ledger;
mod load;
mod pages;
mod queueing;
mod sandbox;
#[path = "../scripted_server/mod.rs"]
mod scripted_server;
mod settings;
mod stories;
mod webhooks;
