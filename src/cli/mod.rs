//! The command line: one file per command; printing happens here and nowhere else.
//!
//! Commands call the library and turn what comes back into text and an exit code. Invariant: what a command is asked to print
//! goes to stdout, what a person should know about the run goes to stderr, and a closed pipe is no error.

mod bot;
mod bot_serve;
mod bounds;
mod cache;
mod check;
mod completions;
mod doctor;
pub mod exit;
mod feedstock;
mod gc;
mod inputs;
mod inspect;
mod interrupt;
mod load;
mod plan;
pub mod profile;
pub mod progress;
mod repair;
mod resources;
mod resume;
mod run;
mod schema;
mod status;
mod store;
mod verify;
mod watch;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::RunError;
use crate::store::auth::redact::{Scrubbing, scrub};
use crate::work::WorkError;

/// Turns archives of `NetCDF` and HDF5 files into one analysis-ready Zarr store.
#[derive(Debug, Parser)]
#[command(
    name = "gristmill",
    version,
    about = "Turns archives of NetCDF and HDF5 files into one analysis-ready Zarr store",
    arg_required_else_help = true
)]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Say more (-v: what happens, -vv: every request, -vvv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print JSON: one object, or one line per event
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing on stdout; errors still go to stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Settings of the operator, instead of gristmill.toml in the working directory
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// How far the recipe is trusted, and how much it may read.
    #[command(flatten)]
    pub bounds: bounds::Bounds,
    /// The day that moving ends (`end: today - 2 days`) count from, instead of today (UTC)
    #[arg(long, global = true, value_name = "DATE")]
    pub today: Option<jiff::civil::Date>,
    /// Colour the output
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a recipe without opening a file or the network
    Check(check::Check),
    /// Show which files a recipe is about, found or written
    Inputs(inputs::Inputs),
    /// Scan the inputs and show what a run would do
    Plan(plan::Plan),
    /// Bake a recipe into a Zarr store
    Run(run::Run),
    /// Go on with the run that was begun last at a target
    Resume(resume::Resume),
    /// Show how far a run has come, and who is at it
    Status(status::StatusCommand),
    /// Is a published store what it should be?
    Verify(verify::Verify),
    /// Write again what is missing or broken in a published store
    Repair(repair::Repair),
    /// Show what a file or a Zarr store holds
    Inspect(inspect::Inspect),
    /// Remove what earlier runs left at a target and nobody needs
    Gc(gc::Gc),
    /// Check whether a run can work here, and what to mend
    Doctor(doctor::Doctor),
    /// Ask a target store what it can do
    Store(store::Store),
    /// What the workflows of a feedstock run
    Bot(bot::Bot),
    /// Begin a repository of recipes, or check one
    Feedstock(feedstock::Feedstock),
    /// Look after the files that are kept for later runs
    Cache(cache::Cache),
    /// Print the JSON Schema of a recipe
    Schema,
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Read one file through netCDF-C for another gristmill process
    #[cfg(feature = "netcdf-c")]
    #[command(hide = true, name = crate::source::netcdf_c::COMMAND)]
    NetcdfCServer,
}

/// Where a command's output goes.
pub struct Terminal<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What a person should know.
    pub err: &'a mut dyn Write,
    /// Options that every command understands.
    pub global: Global,
}

impl Global {
    /// The day that moving ends count from: the only look at the clock that decides what a run does.
    #[must_use]
    pub fn day(&self) -> jiff::civil::Date {
        self.today.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date())
    }
}

impl Terminal<'_> {
    /// True if stderr shall be coloured.
    #[must_use]
    pub fn colour(&self) -> bool {
        match self.global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Prints what was asked for, unless `--quiet`.
    ///
    /// # Errors
    /// If stdout cannot be written to; a closed pipe is one such error, which [`run`] takes for a reader who has seen enough.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        if self.global.quiet { Ok(()) } else { self.out.write_all(scrub(text).as_bytes()) }
    }

    /// Tells a person something.
    ///
    /// # Errors
    /// If stderr cannot be written to.
    pub fn tell(&mut self, text: &str) -> io::Result<()> {
        self.err.write_all(scrub(text).as_bytes())
    }
}

/// Runs the command line and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::RECIPE } else { exit::DONE };
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return code;
        }
    };
    let serves = matches!(&cli.command, Command::Bot(bot) if bot.serves());
    log(cli.global.verbose.max(u8::from(serves)));
    #[cfg(feature = "netcdf-c")]
    serve_netcdf_c();
    // Not locked: progress is printed from other threads.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut terminal = Terminal { out: &mut out, err: &mut err, global: cli.global.clone() };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dispatch(cli.command, &mut terminal)));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(payload) => {
            let error = RunError::from(WorkError::of_panic(&*payload));
            error.problems().iter().for_each(|problem| drop(terminal.tell(&format!("{problem}\n"))));
            return error.exit();
        }
    };
    let outcome = outcome.and_then(|code| terminal.out.flush().map(|()| code));
    match outcome {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
        Err(error) => {
            let _ = terminal.tell(&format!("error: cannot write the output: {error}\n"));
            exit::INTERNAL
        }
    }
}

fn dispatch(command: Command, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    match command {
        Command::Check(command) => command.run(terminal),
        Command::Inputs(command) => command.run(terminal),
        Command::Plan(command) => command.run(terminal),
        Command::Run(command) => command.run(terminal),
        Command::Resume(command) => command.run(terminal),
        Command::Status(command) => command.run(terminal),
        Command::Verify(command) => command.run(terminal),
        Command::Repair(command) => command.run(terminal),
        Command::Inspect(command) => command.run(terminal),
        Command::Gc(command) => command.run(terminal),
        Command::Doctor(command) => command.run(terminal),
        Command::Store(command) => command.run(terminal),
        Command::Bot(command) => command.run(terminal),
        Command::Feedstock(command) => command.run(terminal),
        Command::Cache(command) => command.run(terminal),
        Command::Schema => schema::run(terminal),
        Command::Completions(command) => command.run(terminal),
        #[cfg(feature = "netcdf-c")]
        Command::NetcdfCServer => crate::source::netcdf_c::server::serve().map(|()| exit::DONE),
    }
}

/// Longest time that netCDF-C may take to answer one question about a file.
#[cfg(feature = "netcdf-c")]
const NETCDF_C_PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

/// Names this very program as the one that serves netCDF-C.
#[cfg(feature = "netcdf-c")]
fn serve_netcdf_c() {
    use crate::source::netcdf_c::{Server, use_server};
    match std::env::current_exe() {
        Ok(program) => use_server(Server { program, timeout: NETCDF_C_PATIENCE }),
        Err(error) => tracing::warn!("netCDF-C is not used: this program does not know where it is: {error}"),
    }
}

/// Log lines on stderr: none without `-v`, unless `RUST_LOG` says otherwise.
fn log(verbose: u8) {
    let default = match verbose {
        0 => "off",
        1 => "gristmill=info",
        2 => "gristmill=debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // A second call (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Scrubbing(io::stderr())).try_init();
}
