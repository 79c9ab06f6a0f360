//! The bot: recipes tested on their pull request, baked when merged, kept fresh.
//!
//! `feedstock` begins and checks repositories of recipes. Not for the network: what the bot says reaches a code host through the
//! workflows that `feedstock` writes. Invariant: nothing that a stranger wrote is executed, and none of it reaches a reader unescaped.

pub mod decide;
pub mod feedstock;
