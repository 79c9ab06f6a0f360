//! What the recipe expects of the result: names, lengths, units, coordinates, and values that are in the plan already.
//!
//! Pure. Values that only tasks see are counted by them ([`Plan::counted`]) and judged by the same rules ([`values`]). Invariant:
//! every expectation is either judged here, or named by [`Plan::counted`], or refused; none is passed over.

mod coordinate;
pub mod values;

use super::{Plan, PlannedContent};
use crate::array::Array;
use crate::cf::statistics::Counting;
use crate::dataset::Variable;
use crate::recipe::diagnostic::{Code, Diagnostic};
use crate::recipe::{ExpectRule, Expectation, similar};

impl Plan {
    /// How to count the values of each variable that tasks write and of which something is expected that only values tell.
    #[must_use]
    pub fn counted(&self) -> Vec<Option<Counting>> {
        let expected = |name: &str| self.expect.iter().any(|one| one.name == name && values::is_of_values(&one.rule));
        let counting = |(variable, content): (&Variable, &PlannedContent)| match content {
            PlannedContent::Pieces(_) if expected(&variable.name) => Counting::of(variable),
            _ => None,
        };
        self.schema.variables.iter().zip(&self.contents).map(counting).collect()
    }

    /// Every expectation that the plan itself breaks, or that can never be judged.
    pub(super) fn broken_expectations(&self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let mut unknown: Vec<&str> = Vec::new();
        for expectation in &self.expect {
            if !self.knows(&expectation.name) {
                if !unknown.contains(&expectation.name.as_str()) {
                    problems.push(self.unknown_name(expectation));
                }
                unknown.push(&expectation.name);
                continue;
            }
            problems.extend(self.judge(expectation).err().map(|broken| broken.diagnostic(expectation)));
        }
        problems
    }

    fn knows(&self, name: &str) -> bool {
        self.schema.variable(name).is_some() || self.schema.dimension(name).is_some()
    }

    fn unknown_name(&self, expectation: &Expectation) -> Diagnostic {
        let name = expectation.name.as_str();
        let mut known: Vec<&str> = self.schema.variables.iter().map(|variable| variable.name.as_str()).collect();
        known.extend(
            self.schema.dimensions.iter().map(|dimension| dimension.name.as_str()).filter(|name| self.schema.variable(name).is_none()),
        );
        let label = similar(name, known.iter().copied())
            .map_or_else(|| format!("no `{name}` in the dataset"), |meant| format!("did you mean `{meant}`?"));
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        Diagnostic::error(Code::VariableUnknown, format!("`expect` names `{name}`, but the dataset has no such variable or dimension"))
            .at(expectation.span, label)
            .help(format!("names after the steps: {}", known.join(", ")))
    }

    fn judge(&self, expectation: &Expectation) -> Result<(), Broken> {
        match &expectation.rule {
            ExpectRule::Length(length) => self.length(&expectation.name, *length),
            ExpectRule::Units(units) => check_units(self.named(&expectation.name)?.0, units),
            ExpectRule::Regular(period) => {
                let (variable, array) = self.coordinate(&expectation.name)?;
                coordinate::regular(variable, array, *period)
            }
            ExpectRule::FirstLast(first, last) => {
                let (variable, array) = self.coordinate(&expectation.name)?;
                coordinate::first_last(variable, array, first.as_deref(), last.as_deref())
            }
            ExpectRule::Monotonic => {
                let (variable, array) = self.coordinate(&expectation.name)?;
                coordinate::monotonic(variable, array)
            }
            ExpectRule::ValuesBetween(..) | ExpectRule::MissingAtMost(_) | ExpectRule::NoEmptyChunks => {
                let (variable, content) = self.named(&expectation.name)?;
                let texts = || Broken::new(format!("`{}` holds texts, so this cannot be expected of it", variable.name), "remove the rule");
                let counting = Counting::of(variable).ok_or_else(texts)?;
                match content {
                    PlannedContent::Known(array) => {
                        let chunks = variable.encoding.chunks.as_ref().unwrap_or(&array.shape);
                        let counted = counting.chunks(array.bytes(), (&array.shape, &array.shape), chunks);
                        values::judge(expectation, &counting, &counted)
                    }
                    PlannedContent::Pieces(_) => Ok(()),
                }
            }
        }
    }

    /// The length of a dimension; a variable of one dimension stands for it.
    fn length(&self, name: &str, expected: u64) -> Result<(), Broken> {
        let dimension = match (self.schema.dimension(name), self.schema.variable(name).map(|variable| variable.dimensions.as_slice())) {
            (Some(dimension), _) => Some(dimension),
            (None, Some([only])) => self.schema.dimension(only),
            _ => None,
        };
        match dimension {
            Some(dimension) if dimension.length == expected => Ok(()),
            Some(dimension) => {
                let message = format!("`{}` has the length {}, not {expected}", dimension.name, dimension.length);
                Err(Broken::new(message, "a file may be missing or too many; check `inputs`, or correct the length"))
            }
            None => Err(Broken::new(format!("`{name}` is no dimension, so it has no length of its own"), "name a dimension")),
        }
    }

    /// The variable of that name and where its values are.
    fn named(&self, name: &str) -> Result<(&Variable, &PlannedContent), Broken> {
        let found = self.schema.variables.iter().zip(&self.contents).find(|(variable, _)| variable.name == name);
        found.ok_or_else(|| {
            Broken::new(format!("the dimension `{name}` has no variable of its name"), "name a variable, or remove the rule")
        })
    }

    /// A variable of one dimension whose values are in the plan.
    fn coordinate(&self, name: &str) -> Result<(&Variable, &Array), Broken> {
        match self.named(name)? {
            (variable, PlannedContent::Known(array)) if variable.dimensions.len() == 1 => Ok((variable, array)),
            (variable, _) => {
                let message = format!(
                    "`{name}` is no coordinate of one dimension ({} has {}), so this cannot be told",
                    name,
                    variable.dimensions.len()
                );
                Err(Broken::new(message, "name the coordinate of a dimension, such as `time`, or mark the variable with `set_coords`"))
            }
        }
    }
}

/// Why an expectation does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What the data are instead.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Broken {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    /// As a problem at the rule's place in the recipe.
    #[must_use]
    pub fn diagnostic(self, expectation: &Expectation) -> Diagnostic {
        Diagnostic::error(Code::ExpectationFailed, self.message).at(expectation.span, "expected here").help(self.help)
    }
}

fn check_units(variable: &Variable, expected: &str) -> Result<(), Broken> {
    let help = "correct `units` under `expect`, or the attribute with the step `attrs`";
    match variable.attributes.text("units") {
        Some(units) if units == expected => Ok(()),
        Some(units) => Err(Broken::new(format!("`{}` has the units `{units}`, not `{expected}`", variable.name), help)),
        None => Err(Broken::new(format!("`{}` has no units, not `{expected}`", variable.name), help)),
    }
}

#[cfg(test)]
mod tests;
