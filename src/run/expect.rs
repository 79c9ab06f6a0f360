//! What the recipe expects of values, judged from what tasks counted.
//!
//! Everything else that is expected was judged by the plan. Invariant: no value is read again; a receipt that lacks the counts
//! of a variable is as good as none ([`is_counted`]).

use super::RunError;
use crate::cf::statistics::{Counting, Statistics};
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

/// What the tasks counted for one expectation.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    whole: Option<Statistics>,
    /// Tasks that break the rule by themselves.
    worse: usize,
    /// The first of them.
    first: Option<Worse>,
}

/// A task that breaks a rule, and some of what it read.
#[derive(Debug, Clone)]
struct Worse {
    task: (u32, u64),
    inputs: Vec<u32>,
    of: usize,
}

impl Judged {
    /// Adds what one task counted.
    pub(super) fn add(&mut self, plan: &Plan, expectation: &Expectation, receipt: &Receipt) {
        let Some(part) = receipt.statistics.get(&expectation.name).filter(|_| is_of_values(&expectation.rule)) else { return };
        self.whole.get_or_insert_default().add(part);
        let Some((_, counting)) = counted(plan, expectation) else { return };
        if judge(expectation, &counting, part).is_ok() {
            return;
        }
        self.worse += 1;
        let task = (receipt.stage, receipt.task);
        if self.first.as_ref().is_none_or(|first| task < first.task) {
            let inputs = receipt.inputs.iter().map(|read| read.input).take(SHOWN).collect();
            self.first = Some(Worse { task, inputs, of: receipt.inputs.len() });
        }
    }
}

/// Position of the variable that an expectation is about, and how its values are counted.
fn counted(plan: &Plan, expectation: &Expectation) -> Option<(usize, Counting)> {
    let position = plan.schema.variables.iter().position(|variable| variable.name == expectation.name)?;
    Some((position, plan.counted().get(position).cloned().flatten()?))
}

/// Judges the values of a finished, uncommitted plan.
///
/// # Errors
/// [`RunError::Recipe`] with every expectation that does not hold, each at its line of the recipe.
pub fn check(plan: &Plan, judged: &[Judged]) -> Result<(), RunError> {
    let nothing = Judged::default();
    let pairs = plan.expect.iter().enumerate().map(|(number, expectation)| (expectation, judged.get(number).unwrap_or(&nothing)));
    let problems: Vec<Diagnostic> = pairs.filter_map(|(expectation, judged)| problem(plan, judged, expectation)).collect();
    if problems.is_empty() { Ok(()) } else { Err(RunError::Recipe(problems)) }
}

fn problem(plan: &Plan, judged: &Judged, expectation: &Expectation) -> Option<Diagnostic> {
    let (position, counting) = counted(plan, expectation).filter(|_| is_of_values(&expectation.rule))?;
    if judged.whole.is_none() && plan.objects(position).chunks() > 0 {
        return Some(
            Broken {
                message: format!("`{}` was not counted", expectation.name),
                help: "this is a defect of gristmill; please report it".to_owned(),
            }
            .diagnostic(expectation),
        );
    }
    let Broken { message, help } = judge(expectation, &counting, &judged.whole.unwrap_or_default()).err()?;
    let place = judged.first.as_ref().map(|first| place(plan, first, judged.worse)).unwrap_or_default();
    Some(Broken { message: format!("{message}{place}"), help: format!("{help}; nothing new was published") }.diagnostic(expectation))
}

/// Where to look first: the files of the first task that breaks the rule by itself.
fn place(plan: &Plan, worse: &Worse, tasks: usize) -> String {
    let inputs = worse.inputs.iter().filter_map(|&input| plan.inputs.get(input as usize));
    let urls: Vec<String> = inputs.map(|input| format!("`{}`", crate::store::shown(&input.url))).collect();
    if urls.is_empty() {
        return String::new();
    }
    let more = if worse.of > SHOWN { format!(" and {} more", worse.of - SHOWN) } else { String::new() };
    let others = if tasks > 1 { format!(" (and in {} more tasks)", tasks - 1) } else { String::new() };
    format!("; first in what comes from {}{more}{others}", urls.join(", "))
}
