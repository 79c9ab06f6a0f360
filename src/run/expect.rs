//! What the recipe expects of values, judged from what tasks counted.
//!
//! Everything else that is expected was judged by the plan. Invariant: no value is read again; a receipt that lacks the counts
//! of a variable is as good as none ([`is_counted`]).

use super::RunError;
use crate::cf::statistics::Statistics;
use crate::plan::expect::Broken;
use crate::plan::expect::values::{is_of_values, judge};
use crate::plan::{Plan, Work};
use crate::receipt::Receipt;
use crate::recipe::Expectation;
use crate::recipe::diagnostic::Diagnostic;

/// Input files named in a message.
const SHOWN: usize = 3;

/// True if tasks must count anything.
#[must_use]
pub fn is_wanted(plan: &Plan) -> bool {
    plan.counted().iter().any(Option::is_some)
}

/// True if a task counted everything that the plan, whose expectations may be newer than the task, wants counted.
#[must_use]
pub fn is_counted(plan: &Plan, receipt: &Receipt) -> bool {
    let Some(task) = plan.task(receipt.stage as usize, receipt.task) else { return false };
    if task.work.is_to_scratch() {
        return true;
    }
    let Work::Slab { variables, .. } = task.work else { return true };
    let counted = plan.counted();
    let mut wanted = variables.into_iter().filter(|&variable| counted.get(variable).is_some_and(Option::is_some));
    wanted.all(|variable| receipt.statistics.contains_key(&plan.schema.variables[variable].name))
}

/// Judges the values of a finished, uncommitted plan.
///
/// # Errors
/// [`RunError::Recipe`] with every expectation that does not hold, each at its line of the recipe.
pub fn check(plan: &Plan, receipts: &[Receipt]) -> Result<(), RunError> {
    let problems: Vec<Diagnostic> = plan.expect.iter().filter_map(|expectation| problem(plan, receipts, expectation)).collect();
    if problems.is_empty() { Ok(()) } else { Err(RunError::Recipe(problems)) }
}

fn problem(plan: &Plan, receipts: &[Receipt], expectation: &Expectation) -> Option<Diagnostic> {
    let position = plan.schema.variables.iter().position(|variable| variable.name == expectation.name)?;
    let counting = plan.counted().get(position).cloned().flatten().filter(|_| is_of_values(&expectation.rule))?;
    let counted = || receipts.iter().filter_map(|receipt| Some((receipt, receipt.statistics.get(&expectation.name)?)));
    let mut whole = Statistics::default();
    counted().for_each(|(_, statistics)| whole.add(statistics));
    if counted().next().is_none() && plan.objects(position).chunks() > 0 {
        return Some(
            Broken {
                message: format!("`{}` was not counted", expectation.name),
                help: "this is a defect of gristmill; please report it".to_owned(),
            }
            .diagnostic(expectation),
        );
    }
    let Broken { message, help } = judge(expectation, &counting, &whole).err()?;
    let worse: Vec<&Receipt> =
        counted().filter(|(_, part)| judge(expectation, &counting, part).is_err()).map(|(receipt, _)| receipt).collect();
    let place = worse.first().map(|first| place(plan, first, worse.len())).unwrap_or_default();
    Some(Broken { message: format!("{message}{place}"), help: format!("{help}; nothing new was published") }.diagnostic(expectation))
}

/// Where to look first: the files of the first task that breaks the rule by itself.
fn place(plan: &Plan, receipt: &Receipt, tasks: usize) -> String {
    let urls: Vec<String> = receipt
        .inputs
        .iter()
        .filter_map(|read| plan.inputs.get(read.input as usize))
        .map(|input| format!("`{}`", crate::store::shown(&input.url)))
        .collect();
    if urls.is_empty() {
        return String::new();
    }
    let more = if urls.len() > SHOWN { format!(" and {} more", urls.len() - SHOWN) } else { String::new() };
    let others = if tasks > 1 { format!(" (and in {} more tasks)", tasks - 1) } else { String::new() };
    format!("; first in what comes from {}{more}{others}", urls.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
}
