//! Whether everything is published that is due (AR43): a recipe whose end moves (`end: today - 2 days`) says how late it may be.
//!
//! Asks no server: which files the recipe means today is reckoned, not looked up. Invariant: a recipe without a moving end is never late.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::civil::Date;

use super::finding::Findings;
use crate::pattern::without_secrets;
use crate::plan::Plan;
use crate::recipe::parse_on;
use crate::run::RunError;
use crate::run::origin;
use crate::run::state::State;

/// Compares what is published with what the kept recipe means on a day.
///
/// # Errors
/// The store's.
pub(super) fn check(state: &State, plan: &Plan, today: Date, findings: &Findings) -> Result<(), RunError> {
    let Some((text, origin)) = origin::kept(state)? else { return Ok(()) };
    // A text that this version does not understand any more is judged by `run`.
    let Ok((recipe, _)) = parse_on(&text, Path::new(&origin.folder), Some(today)) else { return Ok(()) };
    if !recipe.used.iter().any(|used| used.policy.starts_with("end: ")) {
        return Ok(());
    }
    let published: BTreeSet<String> = plan.inputs.iter().map(|input| without_secrets(&input.url)).collect();
    let wanted: Vec<String> = recipe.inputs.iter().map(|input| without_secrets(&input.url)).collect();
    let Some(last) = wanted.iter().rposition(|url| published.contains(url)) else { return Ok(()) };
    let due = wanted.get(last.saturating_add(1)..).unwrap_or_default();
    let Some(latest) = due.last() else { return Ok(()) };
    let message = format!(
        "on {today} its recipe means {} files more than are published, the last of them {}",
        due.len(),
        crate::store::shown(latest)
    );
    findings.warning("AR43", ("", ""), message, "`gristmill run` adds them; if they have not come yet, let the end be earlier");
    Ok(())
}
