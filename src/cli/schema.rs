//! `gristmill schema`: the JSON Schema of a recipe, for editors.

use std::io;

use super::{Terminal, exit};
use crate::recipe::document;

pub(super) fn run(terminal: &mut Terminal<'_>) -> io::Result<u8> {
    terminal.print(&document::schema_text())?;
    Ok(exit::DONE)
}
