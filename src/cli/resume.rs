//! `gristmill resume TARGET`: goes on with the run that was begun there last.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::load::{Loaded, from_text, load, settings, show_error};
use super::resources::Resources;
use super::run::{Run, VerifyArgument};
use super::{Terminal, exit};
use crate::recipe::RecipeText;
use crate::run::RunError;
use crate::run::found::InputsFrom;
use crate::run::origin::{self, Origin};
use crate::run::state::State;
use crate::store::{Access, shown};

/// Goes on with the run that was begun last.
#[derive(Debug, Args)]
pub struct Resume {
    /// Where a run was begun: a path or `s3://bucket/prefix`
    pub target: String,
    /// The recipe, where its addresses hold secrets: a file, a local repository (DIR#id) or `GIT_URL@REF#id`
    pub recipe: Option<String>,
    /// What the machine may give.
    #[command(flatten)]
    pub resources: Resources,
    /// Your word that nobody else writes to this target meanwhile, where its store cannot keep two runs apart
    #[arg(long)]
    pub single_writer: bool,
    /// How much of the result to compare with the sources before it becomes visible
    #[arg(long, value_enum, default_value_t = VerifyArgument::Sample)]
    pub verify: VerifyArgument,
    /// Also write report.json to this file, on every exit
    #[arg(long)]
    pub report: Option<PathBuf>,
}

impl Resume {
    pub(super) fn run(self, terminal: &mut Terminal<'_>) -> io::Result<u8> {
        let config = terminal.global.config.clone();
        let access = match settings(config.as_deref(), terminal)? {
            Ok(access) => access,
            Err(exit) => return Ok(exit),
        };
        let begun = match Begun::of(&self.target, self.recipe.is_some(), &access) {
            Ok(begun) => begun,
            Err(error) => return show_error(&error, &RecipeText::default(), terminal).map(|()| error.exit()),
        };
        // Ends that move stay where they were when the run began.
        terminal.global.today = terminal.global.today.or(begun.day);
        let loaded: Result<Loaded, u8> = match (&self.recipe, begun.recipe) {
            (Some(recipe), _) => load(recipe, config.as_deref(), terminal)?,
            (None, Some((text, origin))) => from_text(&text, Path::new(&origin.folder), &origin, config.as_deref(), terminal)?,
            (None, None) => Err(exit::RECIPE),
        };
        match loaded {
            Ok(loaded) => self.goes_on(begun.versioned).with(loaded, terminal),
            Err(exit) => Ok(exit),
        }
    }

    /// As if the same command had been given again.
    fn goes_on(self, versioned: bool) -> Run {
        let Self { target, recipe, resources, single_writer, verify, report } = self;
        Run {
            recipe: recipe.unwrap_or_default(),
            target,
            resources,
            replace: None,
            versioned,
            changed: None,
            verify,
            frozen: false,
            inputs: None,
            inputs_from: InputsFrom::LastRun,
            single_writer,
            profile: None,
            report,
        }
    }
}

/// The run that was begun last.
struct Begun {
    /// The recipe's text and where it came from, unless another is given.
    recipe: Option<(RecipeText, Origin)>,
    /// The day that its moving ends counted from.
    day: Option<jiff::civil::Date>,
    versioned: bool,
}

impl Begun {
    /// What the state tells; an error where nothing was begun, or the recipe that it keeps cannot be run and none is given.
    fn of(target: &str, given: bool, access: &Access) -> Result<Self, RunError> {
        let usage = |message: String| Err(RunError::Usage { message: format!("{}: {message}", shown(target)) });
        let state = State::read_only(target, access)?;
        if state.plan()?.is_none() {
            return usage("no run was begun here, so there is nothing to go on with; use `gristmill run`".to_owned());
        }
        let kept = origin::kept(&state)?;
        let day = kept.as_ref().and_then(|(_, origin)| origin.day.as_ref()?.parse().ok());
        let recipe = match kept {
            _ if given => None,
            Some((_, origin)) if origin.hidden => {
                return usage(format!("addresses in `{}` hold secrets, which are not kept; give the recipe too", origin.name));
            }
            None => return usage("the recipe is not kept beside it (an older gristmill began this run); give the recipe too".to_owned()),
            kept => kept,
        };
        Ok(Self { recipe, day, versioned: state.keeps_versions()? })
    }
}
