//! `gristmill run`: bakes a recipe into a store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::interrupt::stop_flag;
use super::load::{Loaded, load, show_error};
use super::profile::Profile;
use super::progress::{Progress, Style};
use super::resources::Resources;
use super::{Terminal, exit, watch};
use crate::event::Reporter;
use crate::recipe::{ChangedFile, OutputFormat};
use crate::run::found::InputsFrom;
use crate::run::report::Report;
use crate::run::{self, Options, Replace, Setting, verify};
use crate::size::ByteSize;

/// Bakes a recipe into a store.
#[derive(Debug, Args)]
pub struct Run {
    /// A recipe file, a local repository (DIR#id) or `GIT_URL@REF#id`.
    pub recipe: String,
    /// Where the Zarr store shall be: a path, or `s3://bucket/prefix`.
    #[arg(long)]
    pub target: String,
    /// What the machine may give.
    #[command(flatten)]
    pub resources: Resources,
    /// Build anew what is at the target; `non-atomic` for stores that cannot exchange folders.
    #[arg(long, num_args = 0..=1, default_missing_value = "atomic", require_equals = true)]
    pub replace: Option<ReplaceArgument>,
    /// Keep each state of the dataset as a store of its own, TARGET/<version>, with a pointer to the current one.
    #[arg(long)]
    pub versioned: bool,
    /// What a published file means that changed upstream, instead of what the recipe says.
    #[arg(long, value_enum, value_name = "POLICY")]
    pub changed: Option<ChangedArgument>,
    /// How much of the result to compare with the sources before it becomes visible.
    #[arg(long, value_enum, default_value_t = VerifyArgument::Sample)]
    pub verify: VerifyArgument,
    /// Scan without asking any server: trust what an earlier scan found. Each file is still checked before it is read.
    #[arg(long)]
    pub frozen: bool,
    /// Take the inputs from a list that `gristmill inputs --save` wrote, instead of looking for them.
    #[arg(long, value_name = "FILE")]
    pub inputs: Option<PathBuf>,
    /// Where they come from otherwise.
    #[arg(skip)]
    pub inputs_from: InputsFrom,
    /// Your word that nobody else writes to this target meanwhile, where its store cannot keep two runs apart.
    #[arg(long)]
    pub single_writer: bool,
    /// Write a trace of where the time goes to this file, for Perfetto or Chrome.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Also write report.json to this file, on every exit.
    #[arg(long)]
    pub report: Option<PathBuf>,
}

/// Ways to replace.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ReplaceArgument {
    /// Beside the old one, exchanged at the end.
    Atomic,
    /// In place.
    NonAtomic,
}

/// What a published file means that changed upstream.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ChangedArgument {
    /// The run stops.
    Fail,
    /// What is published stays, made from the older file.
    Keep,
    /// What is published is built anew.
    Rebake,
}

/// How much to verify.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum VerifyArgument {
    /// First, last and file boundaries.
    Sample,
    /// Everything.
    Full,
}

impl Run {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        match load(&self.recipe, config.as_deref(), terminal)? {
            Ok(loaded) => self.with(loaded, terminal),
            Err(exit) => {
                let report = Report { outcome: "failed".to_owned(), exit, ..Report::begin("", &self.target) };
                self.leave(&report, terminal)
            }
        }
    }

    /// Bakes a recipe that is loaded.
    pub(super) fn with(&self, mut loaded: Loaded, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let mut report = Report { origin: loaded.origin.clone(), ..Report::begin("", &self.target) };
        loaded.access.single_writer |= self.single_writer;
        loaded.recipe.changed = self.changed(loaded.recipe.changed);
        report.exit = self.bake(&loaded, &mut report, terminal)?;
        self.leave(&report, terminal)
    }

    /// Writes the report where it was asked for.
    fn leave(&self, report: &Report, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        if let Some(path) = &self.report {
            let json = serde_json::to_vec_pretty(report).unwrap_or_default();
            if let Err(error) = std::fs::write(path, json) {
                terminal.tell(&format!("warning: {}: the report could not be written: {error}\n", path.display()))?;
            }
        }
        Ok(report.exit)
    }

    fn bake(&self, loaded: &Loaded, report: &mut Report, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let style = Style::choose(terminal.global.quiet, terminal.global.json);
        let progress: Arc<dyn Reporter> = Arc::new(Progress::new(style));
        let Some(path) = &self.profile else { return self.bake_telling(loaded, &progress, report, terminal) };
        let profile = match Profile::begin(path, progress) {
            Ok(profile) => Arc::new(profile),
            Err(error) => {
                terminal.tell(&format!("error: {}: the profile cannot be written: {error}; name another file\n", path.display()))?;
                (report.outcome, report.exit) = ("failed".to_owned(), exit::RECIPE);
                return Ok(exit::RECIPE);
            }
        };
        let reporter: Arc<dyn Reporter> = Arc::clone(&profile) as Arc<dyn Reporter>;
        let exit = self.bake_telling(loaded, &reporter, report, terminal)?;
        if let Err(error) = profile.end() {
            terminal.tell(&format!("warning: {}: the profile is not complete: {error}\n", path.display()))?;
        }
        Ok(exit)
    }

    fn bake_telling(
        &self,
        loaded: &Loaded,
        reporter: &Arc<dyn Reporter>,
        report: &mut Report,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<u8> {
        let (stop, _watch) = (stop_flag(), watch::memory(self.resources.memory_bytes()));
        report.recipe.clone_from(&loaded.recipe.id);
        let setting = Setting { access: &loaded.access, reporter, stop: &stop };
        let result = self.resources.check().and_then(|()| run::run(&loaded.recipe, &self.options(), setting, report));
        report.ended(&result);
        match &result {
            Ok(()) => terminal.print(&summary(report, loaded.recipe.output.format, terminal.global.json))?,
            Err(error) => show_error(error, &loaded.recipe.text, terminal)?,
        }
        Ok(report.exit)
    }

    fn changed(&self, written: ChangedFile) -> ChangedFile {
        self.changed.map_or(written, |changed| match changed {
            ChangedArgument::Fail => ChangedFile::Fail,
            ChangedArgument::Keep => ChangedFile::Keep,
            ChangedArgument::Rebake => ChangedFile::Rebake,
        })
    }

    fn options(&self) -> Options {
        Options {
            target: self.target.clone(),
            memory: self.resources.memory_bytes(),
            threads: self.resources.thread_count(),
            frozen: self.frozen,
            inputs: self.inputs.clone().map_or_else(|| self.inputs_from.clone(), InputsFrom::File),
            versioned: self.versioned,
            replace: self.replace.map(|replace| match replace {
                ReplaceArgument::Atomic => Replace::Atomic,
                ReplaceArgument::NonAtomic => Replace::NonAtomic,
            }),
            verify: match self.verify {
                VerifyArgument::Sample => verify::Level::Sample,
                VerifyArgument::Full => verify::Level::Full,
            },
        }
    }
}

fn summary(report: &Report, format: OutputFormat, json: bool) -> String {
    if json {
        return format!("{}\n", serde_json::json!({"event": "done", "report": report}));
    }
    if report.outcome == "nothing-to-do" {
        return format!("{} is complete already: nothing to do\n", root(report));
    }
    let ratio = report.value_bytes as f64 / report.stored_bytes.max(1) as f64;
    let moved =
        if report.moved_chunks > 0 { format!("{} chunks stored as the files hold them\n", report.moved_chunks) } else { String::new() };
    format!(
        "{}: {} objects, {}, {ratio:.1} times smaller than the values\n{moved}{} of {} parts compared with their sources: equal\nopen it: {}\n",
        root(report),
        report.objects,
        ByteSize(report.stored_bytes),
        report.verification.compared,
        report.verification.of,
        opening(&root(report), format)
    )
}

/// The line of Python that opens the result.
fn opening(target: &str, format: OutputFormat) -> String {
    if format != OutputFormat::Icechunk {
        return format!("xarray.open_zarr({target:?})");
    }
    let storage = match target.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
        Some((bucket, prefix)) => format!("s3_storage(bucket={bucket:?}, prefix={prefix:?}, from_env=True)"),
        None => format!("local_filesystem_storage({:?})", target.trim_start_matches("file://")),
    };
    format!("xarray.open_zarr(icechunk.Repository.open(icechunk.{storage}).readonly_session(\"main\").store, consolidated=False)")
}

/// What a reader opens: the target or, where versions are kept, the link to the current one, or else that one itself.
fn root(report: &Report) -> String {
    let below = |name: &str| format!("{}/{name}", report.target.trim_end_matches('/'));
    match &report.target_version {
        None => report.target.clone(),
        Some(version) if report.target.contains("://") => below(version),
        Some(_) => below("current"),
    }
}
