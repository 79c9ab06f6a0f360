//! `gristmill schema`: the JSON Schema of a recipe, for editors.

use std::io;

use clap::Args;

use super::{Terminal, exit};
use crate::recipe::document;

/// Print the JSON Schema of a recipe.
#[derive(Debug, Args)]
pub struct Schema {}

impl Schema {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        terminal.print(&document::schema_text())?;
        Ok(exit::DONE)
    }
}
