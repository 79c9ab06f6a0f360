//! Builds anew what is at a target.
//!
//! Locally the new store grows beside the old one and the two folders change places in one step; elsewhere, and only on
//! request, the old store is taken away first. Invariant: without `non-atomic` a reader sees the old store or the new one, whole.

use std::path::{Path, PathBuf};

use super::report::Report;
use super::state::{State, local_folder};
use super::{Options, Replace, RunError, Setting, bake, empty};
use crate::recipe::{OutputFormat, Recipe};
use crate::{store, target};

pub(super) fn replace(
    how: Replace,
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), RunError> {
    if recipe.output.format == OutputFormat::Icechunk && target::keeps_history(&options.target, setting.access)? {
        // One more commit: readers see the old dataset or the new one, and the history keeps both.
        if state.committed()?.is_some() {
            state.forget()?;
        }
        return bake(recipe, options, setting, state, report);
    }
    match (how, local_folder(&options.target)) {
        (Replace::Atomic, Some(target)) => exchange(&target, recipe, options, setting, state, report),
        (Replace::Atomic, None) => Err(RunError::Conflict {
            message: format!(
                "{}: this store cannot exchange two prefixes; choose another target, or `--replace=non-atomic` (readers see a broken store while the run lasts)",
                options.target
            ),
        }),
        (Replace::NonAtomic, _) => {
            state.forget()?;
            let place = store::target(&options.target, setting.access)?;
            // Metadata first, so that nobody opens a store whose chunks are going.
            for key in ["zarr.json", ".zmetadata", ".zgroup"] {
                place.delete(key)?;
            }
            empty(&*place, "")?;
            bake(recipe, options, setting, state, report)
        }
    }
}

fn exchange(
    target: &Path,
    recipe: &Recipe,
    options: &Options,
    setting: Setting<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), RunError> {
    let next = with_suffix(target, ".gristmill").join("next");
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |cause| RunError::Folder { path, cause }
    };
    let beside = Options { target: next.display().to_string(), replace: None, ..options.clone() };
    let fresh = State::open(&beside.target, setting.access)?;
    bake(recipe, &beside, setting, &fresh, report)?;
    report.target.clone_from(&options.target);
    state.forget()?;
    if target.exists() {
        swap(&next, target).map_err(cannot(target))?;
        std::fs::remove_dir_all(&next).map_err(cannot(&next))?;
    } else {
        std::fs::rename(&next, target).map_err(cannot(target))?;
    }
    let (plan, committed) = (fresh.plan()?, fresh.committed()?);
    plan.iter().try_for_each(|plan| state.save_plan(plan))?;
    for (number, stage) in plan.iter().flat_map(|plan| plan.stages.iter().enumerate()) {
        for task in 0..stage.tasks() {
            let identity = committed.as_ref().map_or("", |committed| committed.plan.as_str());
            fresh.receipt(identity, number, task)?.iter().try_for_each(|receipt| state.save_receipt(receipt))?;
        }
    }
    committed.iter().zip(&plan).try_for_each(|(committed, plan)| state.save_committed(committed, plan))?;
    drop(fresh);
    let leftover = with_suffix(&next, ".gristmill");
    std::fs::remove_dir_all(&leftover).map_err(cannot(&leftover))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Two folders change places; no moment without either.
#[cfg(target_os = "linux")]
fn swap(one: &Path, other: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Two folders change places; where the system has no exchange there is a moment without the second.
#[cfg(not(target_os = "linux"))]
fn swap(one: &Path, other: &Path) -> std::io::Result<()> {
    let aside = with_suffix(one, ".old");
    std::fs::rename(other, &aside)?;
    std::fs::rename(one, other)?;
    std::fs::rename(&aside, one)
}
