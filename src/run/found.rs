//! From a recipe that says how inputs are found to one that has them; what was found is kept for runs that ask nobody.
//!
//! Invariant: what a frozen run works on was found by the same rule as the recipe's is now.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::state::State;
use super::{Options, RunError, Setting};
use crate::discover::lock::{self, LockError};
use crate::discover::{DiscoverError, Discovered, discover};
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::{Find, Recipe, Used};
use crate::store::{self, Access, PutMode, TargetStore};

/// Key of what was found, beside the target.
const KEY: &str = "inputs.json";
/// Most bytes of a list that somebody names.
const LONGEST: u64 = 1 << 30;

/// Where inputs come from that a recipe finds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum InputsFrom {
    /// The servers, as they are now.
    #[default]
    Servers,
    /// What the last run at the target found, if it is known; else the servers.
    LastRun,
    /// A list that `gristmill inputs --save` wrote.
    File(PathBuf),
}

impl From<DiscoverError> for RunError {
    fn from(error: DiscoverError) -> Self {
        match error {
            DiscoverError::Rule(problems) => Self::Recipe(problems),
            DiscoverError::Store(error) => Self::Store(error),
            DiscoverError::Interrupted => Self::Interrupted,
        }
    }
}

/// A recipe with its inputs, for whoever takes some of them before they run.
///
/// # Errors
/// What keeps inputs from being found.
pub fn whole(recipe: &Recipe, options: &Options, setting: Setting<'_>) -> Result<Recipe, RunError> {
    with_inputs(recipe, options, setting, None).map(Cow::into_owned)
}

/// The recipe with its inputs: as it is where they are written, else with what is found, or was.
pub(super) fn with_inputs<'r>(
    recipe: &'r Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: Option<&State>,
) -> Result<Cow<'r, Recipe>, RunError> {
    let Some(find) = recipe.find.as_ref().filter(|_| recipe.inputs.is_empty()) else {
        return match &options.inputs {
            InputsFrom::File(path) if recipe.find.is_none() => {
                let message = format!("{}: `--inputs` is for recipes with `find`; this one writes its inputs", path.display());
                Err(RunError::Usage { message })
            }
            _ => Ok(Cow::Borrowed(recipe)),
        };
    };
    let discovered = discovered(recipe, find, options, setting, state)?;
    tracing::info!(inputs = discovered.inputs.len(), frozen = discovered.frozen, "found");
    let mut whole = recipe.clone();
    if discovered.frozen {
        whole.used.push(Used::new("find", "inputs", format!("{} inputs as they were found earlier", discovered.inputs.len())));
    }
    whole.used.extend(discovered.used);
    (whole.axes, whole.inputs) = (discovered.axes, discovered.inputs);
    Ok(Cow::Owned(whole))
}

fn discovered(
    recipe: &Recipe,
    find: &Find,
    options: &Options,
    setting: Setting<'_>,
    state: Option<&State>,
) -> Result<Discovered, RunError> {
    let memory = Memory::of(find, state, setting.access)?;
    if let InputsFrom::File(path) = &options.inputs {
        return from_file(find, path);
    }
    if options.frozen || options.inputs == InputsFrom::LastRun {
        match memory.load()?.map(|bytes| lock::from_json(find, &bytes)) {
            Some(Ok(kept)) => return Ok(kept),
            Some(Err(error)) if options.frozen => return Err(frozen(find, &error.to_string())),
            None if options.frozen => return Err(frozen(find, "no earlier `plan` or `run` of this rule has kept what it found")),
            _ => {}
        }
    }
    let discovered = discover(recipe, find, setting.access, setting.reporter, setting.stop)?;
    memory.save(lock::to_json(find, &discovered))?;
    Ok(discovered)
}

fn frozen(find: &Find, why: &str) -> RunError {
    let problem = Diagnostic::error(Code::SourceNotRemembered, format!("`--frozen` takes the inputs that were found before: {why}"));
    RunError::Recipe(vec![problem.at(find.span, "").help("run the command once without `--frozen`")])
}

fn from_file(find: &Find, path: &std::path::Path) -> Result<Discovered, RunError> {
    let folder = |cause| RunError::Usage { message: format!("{}: the inputs cannot be read: {cause}", path.display()) };
    if std::fs::metadata(path).map_err(folder)?.len() > LONGEST {
        return Err(RunError::Usage { message: format!("{}: the list of inputs is longer than 1 GiB", path.display()) });
    }
    let bytes = std::fs::read(path).map_err(folder)?;
    let again = "`gristmill inputs RECIPE --save FILE` writes it anew";
    lock::from_json(find, &bytes).map_err(|error: LockError| RunError::Usage { message: format!("{}: {error}; {again}", path.display()) })
}

/// Where what was found is kept: beside the target; without one, in the operator's cache folder.
struct Memory {
    store: Option<Arc<dyn TargetStore>>,
    key: String,
    /// True if what fails here fails the run.
    needed: bool,
}

impl Memory {
    fn of(find: &Find, state: Option<&State>, access: &Access) -> Result<Self, RunError> {
        if let Some(state) = state {
            return Ok(Self { store: Some(state.store()), key: KEY.to_owned(), needed: true });
        }
        let folder = access.cache_directory.as_ref().map(|folder| folder.display().to_string());
        let store = folder.map(|folder| store::target(&folder, access)).transpose()?;
        // Relative paths mean other files in another folder.
        let place = xxhash_rust::xxh3::xxh3_128(format!("{} {}", find.base.display(), find.text).as_bytes());
        Ok(Self { store, key: format!("inputs/{place:032x}.json"), needed: false })
    }

    fn load(&self) -> Result<Option<Bytes>, RunError> {
        match self.store.as_ref().map(|store| store.get(&self.key)) {
            None => Ok(None),
            Some(Err(error)) if !self.needed => {
                tracing::warn!("the cache of found inputs cannot be used: {error}");
                Ok(None)
            }
            Some(result) => Ok(result?),
        }
    }

    fn save(&self, bytes: Vec<u8>) -> Result<(), RunError> {
        match self.store.as_ref().map(|store| store.put(&self.key, Bytes::from(bytes), PutMode::Overwrite)) {
            Some(Err(error)) if self.needed => Err(error.into()),
            Some(Err(error)) => {
                tracing::warn!("the cache of found inputs cannot be used: {error}");
                Ok(())
            }
            Some(Ok(())) | None => Ok(()),
        }
    }
}
