//! Rules about values, judged from statistics: bounds, the share of missing values, chunks without any value.
//!
//! The same for values in the plan and for those that tasks count. Invariant: a value that is within a bound but for the rounding
//! of its type is within it.

use super::Broken;
use crate::cf::statistics::{Counting, Statistics};
use crate::recipe::{ExpectRule, Expectation};

/// Shares closer than this are equal: the recipe's are decimals.
const SAME_SHARE: f64 = 1e-9;

/// True for rules that only the values themselves tell.
#[must_use]
pub fn is_of_values(rule: &ExpectRule) -> bool {
    matches!(rule, ExpectRule::ValuesBetween(..) | ExpectRule::MissingAtMost(_) | ExpectRule::NoEmptyChunks)
}

/// Judges a variable, or a part of it; rules that are not about values hold.
///
/// # Errors
/// [`Broken`], saying what the values are instead.
pub fn judge(expectation: &Expectation, counting: &Counting, statistics: &Statistics) -> Result<(), Broken> {
    let name = expectation.name.as_str();
    match expectation.rule {
        ExpectRule::ValuesBetween(low, high) if statistics.valid() > 0 => {
            let (smallest, largest) = (statistics.smallest, statistics.largest);
            if smallest >= low - counting.rounding(low) && largest <= high + counting.rounding(high) {
                return Ok(());
            }
            let message = format!("`{name}` has values from {smallest} to {largest}, but all must lie between {low} and {high}");
            Err(Broken::new(message, "look at the files (a fill value that is not declared?), or correct the bounds"))
        }
        ExpectRule::MissingAtMost(share) if statistics.values > 0 => {
            let found = statistics.missing as f64 / statistics.values as f64;
            if found <= share + SAME_SHARE {
                return Ok(());
            }
            let (found, share) = (percent(found), percent(share));
            let message = format!(
                "{found} % of `{name}` is missing ({} of {} values), but at most {share} % may be",
                statistics.missing, statistics.values
            );
            Err(Broken::new(message, "look at the files, or correct the share"))
        }
        ExpectRule::NoEmptyChunks if statistics.empty > 0 => {
            let chunks = if statistics.empty == 1 { "a chunk".to_owned() } else { format!("{} chunks", statistics.empty) };
            let message = format!("{chunks} of `{name}` would hold nothing but missing values");
            Err(Broken::new(message, "a file may be empty or missing there; look at the files, or remove the rule"))
        }
        _ => Ok(()),
    }
}

/// A share as a percentage, to six digits after the point.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}
