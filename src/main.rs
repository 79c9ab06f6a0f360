//! Entry point of the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(gristmill::cli::run(std::env::args_os()))
}
