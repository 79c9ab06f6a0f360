//! `gristmill resume TARGET`: goes on with the run that was begun there last.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::load::{Loaded, from_text, load, open, show_error};
use super::run::{Resources, Run, VerifyArgument};
use super::{Terminal, exit};
use crate::recipe::RecipeText;
use crate::run::RunError;
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
        let access = match open(config.as_deref(), terminal)? {
            Ok(opened) => opened.access,
            Err(exit) => return Ok(exit),
        };
        let (kept, versioned) = match begun(&self.target, self.recipe.is_some(), &access) {
            Ok(kept) => kept,
            Err(error) => return show_error(&error, &RecipeText::default(), terminal).map(|()| error.exit()),
        };
        let loaded: Result<Loaded, u8> = match (&self.recipe, kept) {
            (Some(recipe), _) => load(recipe, config.as_deref(), terminal)?,
            (None, Some((text, origin))) => from_text(&text, Path::new(&origin.folder), &origin, config.as_deref(), terminal)?,
            (None, None) => Err(exit::RECIPE),
        };
        match loaded {
            Ok(loaded) => self.goes_on(versioned).with(&loaded, terminal),
            Err(exit) => Ok(exit),
        }
    }

    /// As if the same command had been given again.
    fn goes_on(self, versioned: bool) -> Run {
        let Self { target, recipe, resources, verify, report } = self;
        let recipe = recipe.unwrap_or_default();
        Run { recipe, target, resources, replace: None, versioned, verify, frozen: false, profile: None, report }
    }
}

/// A recipe's text, and where it came from.
type Kept = (RecipeText, Origin);

/// The recipe that the state keeps, unless one is given, and whether versions are kept; an error where nothing was begun or the kept
/// text cannot be run.
fn begun(target: &str, given: bool, access: &Access) -> Result<(Option<Kept>, bool), RunError> {
    let usage = |message: String| Err(RunError::Usage { message: format!("{}: {message}", shown(target)) });
    let state = State::read_only(target, access)?;
    if state.plan()?.is_none() {
        return usage("no run was begun here, so there is nothing to go on with; use `gristmill run`".to_owned());
    }
    let versioned = state.keeps_versions()?;
    if given {
        return Ok((None, versioned));
    }
    match origin::kept(&state)? {
        Some((_, origin)) if origin.hidden => {
            usage(format!("addresses in `{}` hold secrets, which are not kept; give the recipe too", origin.name))
        }
        None => usage("the recipe is not kept beside it (an older gristmill began this run); give the recipe too".to_owned()),
        kept => Ok((kept, versioned)),
    }
}
