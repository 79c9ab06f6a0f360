//! Builds anew what is at a target.
//!
//! Locally the new store grows beside the old one and the two folders [change places](exchange) in one step; elsewhere, and only on
//! request, the old store is taken away first. Invariant: without `non-atomic` a reader sees the old store or the new one, whole,
//! whenever the run is killed, and the next run goes on from there.

mod exchange;

use std::path::PathBuf;

use super::report::Report;
use super::state::{State, local_folder};
use super::{Options, Replace, RunError, Setting, bake, empty};
use crate::recipe::{OutputFormat, Recipe};
use crate::store::probe::Mode;
use crate::target::zarr::{Absent, ZarrReader};
use crate::{store, target};
use exchange::Exchange;

pub(super) fn replace(
    how: Replace,
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), RunError> {
    let folders = folders(options)?;
    let finished = finish(options, state)?;
    if recipe.output.format == OutputFormat::Icechunk && target::keeps_history(&options.target, setting.access)? {
        // One more commit: readers see the old dataset or the new one, and the history keeps both.
        let options = Options { replace: Some(how), ..options.clone() };
        return bake(recipe, &options, setting, state, report);
    }
    if finished && how == Replace::Atomic {
        // The replacement that was asked for is in place, unless something else is asked for now.
        let plain = Options { replace: None, ..options.clone() };
        match bake(recipe, &plain, setting, state, report) {
            Err(error) if error.is_about_the_published() => {}
            done => return done,
        }
    }
    replaceable(options, setting, state)?;
    match (how, folders) {
        (Replace::Atomic, Some(exchange)) => beside(&exchange, recipe, options, setting, state, report),
        (Replace::Atomic, None) => Err(RunError::Conflict {
            message: format!(
                "{}: this store cannot exchange two prefixes; keep versions (`--versioned`, at another target), choose another target, or `--replace=non-atomic` (readers see a broken store while the run lasts)",
                options.target
            ),
        }),
        (Replace::NonAtomic, _) => {
            state.permits(Mode::Append)?;
            clear(options, setting, state)?;
            bake(recipe, options, setting, state, report)
        }
    }
}

/// Ends an exchange that an earlier run began and was killed in; true if there was one.
///
/// # Errors
/// [`RunError::Folder`]; [`RunError::Conflict`] if somebody moved the folders meanwhile.
pub(super) fn finish(options: &Options, state: &State) -> Result<bool, RunError> {
    match folders(options)? {
        Some(exchange) => exchange.finish(state),
        None => Ok(false),
    }
}

/// True if an exchange was begun and not ended.
pub(super) fn is_cut_off(state: &State) -> Result<bool, RunError> {
    exchange::is_begun(state)
}

/// The folders of a local target.
fn folders(options: &Options) -> Result<Option<Exchange>, RunError> {
    let state = store::sibling(&options.target, ".gristmill")?;
    Ok(local_folder(&options.target).zip(local_folder(&state)).map(|(target, state)| Exchange::new(target, state)))
}

/// Refuses to replace what is no store: `--replace` says which store, not that a folder may go.
fn replaceable(options: &Options, setting: Setting<'_>, state: &State) -> Result<(), RunError> {
    if state.plan()?.is_some() || state.committed()?.is_some() {
        return Ok(());
    }
    let target = store::target(&options.target, setting.access)?;
    let Some(example) = target.list("", 1)?.pop() else { return Ok(()) };
    match ZarrReader::open(target, Absent::Fill) {
        Ok(Some(_)) => Ok(()),
        _ => Err(RunError::Conflict {
            message: format!(
                "{} is no Zarr store: it holds objects that gristmill did not write, such as `{example}`; `--replace` replaces stores only, choose another target",
                options.target
            ),
        }),
    }
}

/// Bakes into the folder beside, and exchanges.
fn beside(
    exchange: &Exchange,
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), RunError> {
    let beside = Options { target: exchange.next().display().to_string(), replace: None, ..options.clone() };
    let fresh = State::open(&beside.target, setting.access)?;
    let baked = match bake(recipe, &beside, setting, &fresh, report) {
        // What a killed run wanted to put in place is not what is wanted now.
        Err(error) if error.is_about_the_published() => {
            fresh.forget()?;
            exchange.discard_next()?;
            bake(recipe, &beside, setting, &fresh, report)
        }
        baked => baked,
    };
    report.target.clone_from(&options.target);
    baked?;
    // Nothing had to be baked where a run was killed just before this, but the store is another one all the same.
    report.found_complete = false;
    state.still_ours()?;
    exchange.begin(state)?;
    exchange.finish(state).map(drop)
}

/// Takes the old store away, so that a run that is killed on the way can be followed by any other: first nobody believes in it,
/// then nobody can open it, then its objects go, and at last the plan that tells whose they were.
fn clear(options: &Options, setting: Setting<'_>, state: &State) -> Result<(), RunError> {
    state.withdraw()?;
    let target = store::target(&options.target, setting.access)?;
    // There may have been many receipts.
    state.still_ours()?;
    ["zarr.json", ".zmetadata", ".zgroup"].into_iter().try_for_each(|key| state.erase(&*target, key))?;
    empty(state, &*target, "")?;
    state.forget()
}

/// The folders in which a replacement is made, beside a local target: the store and its state.
pub(super) fn next_folders(target: &str) -> Result<Option<[PathBuf; 2]>, RunError> {
    let state = store::sibling(target, ".gristmill")?;
    let folders = local_folder(target).zip(local_folder(&state));
    Ok(folders.map(|(target, state)| Exchange::new(target, state)).map(|exchange| [exchange.next().to_owned(), exchange.next_state()]))
}
