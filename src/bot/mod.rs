//! The bot: recipes tested on their pull request, baked when merged, kept fresh.
//!
//! `feedstock` begins and checks repositories of recipes, `changes` tells what a pull request changes, `trial` tests that, `artifact` carries
//! the result across the border between what may hold secrets and what may not, `render` and `picture` show it, `decide` knows what follows
//! an event, `drift` looks after what is published, `forge` speaks with a code host. Invariant: nothing that a stranger wrote is executed,
//! and none of it reaches a reader unescaped.

pub mod artifact;
pub mod changes;
pub mod decide;
pub mod drift;
pub mod feedstock;
pub mod forge;
pub mod picture;
pub mod render;
pub mod serve;
pub mod trial;
