//! Values of a store against its sources, as a run compares them before it commits: AR40.
//!
//! From the committed plan; addresses that held secrets are taken from the recipe, if it is given. Invariant: a file that is not
//! what it was when the store was made is an error, never a comparison.

use std::collections::HashMap;
use std::sync::Arc;

use super::crew::Crew;
use super::finding::Findings;
use super::ledger::Ledger;
use crate::pattern::without_secrets;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::run::report::Verification;
use crate::run::verify::{Level, Verifier};
use crate::run::{RunError, Setting, remembered};
use crate::store::{self, TargetStore};
use crate::target::zarr::ZarrTarget;
use crate::work::{WorkError, Workshop};

/// The plan with addresses that can be read: its own, or those of the recipe where its own lack a secret.
///
/// # Errors
/// [`RunError::Usage`] if a secret is lacking.
pub(in crate::run) fn with_secrets(plan: &Plan, recipe: Option<&Recipe>) -> Result<Plan, RunError> {
    let known: HashMap<String, &str> =
        recipe.into_iter().flat_map(|recipe| &recipe.inputs).map(|input| (without_secrets(&input.url), input.url.as_str())).collect();
    let mut plan = plan.clone();
    for input in &mut plan.inputs {
        match known.get(&input.url) {
            Some(url) => (*url).clone_into(&mut input.url),
            None if input.url.contains("=***") => {
                let message = format!("{}: its address held a secret, which is not kept; give the recipe too", store::shown(&input.url));
                return Err(RunError::Usage { message });
            }
            None => {}
        }
    }
    Ok(plan)
}

/// Compares a sample, or everything; `None` where a value differed, which is then among the findings.
///
/// # Errors
/// Whatever keeps a source or an object from being read; [`WorkError::Changed`] for a file that is not what it was.
pub(super) fn compare(
    (ledger, recipe): (&Ledger, Option<&Recipe>),
    (target, level, memory): (&Arc<dyn TargetStore>, Level, u64),
    (crew, findings): (Crew<'_>, &Findings),
    setting: Setting<'_>,
) -> Result<Option<Verification>, RunError> {
    let plan = with_secrets(&ledger.plan, recipe)?;
    let sources = store::source(setting.access, Arc::clone(setting.reporter));
    let zarr = Arc::new(ZarrTarget::new(Arc::clone(target), plan.format));
    let workshop = Workshop::new(plan, sources, zarr)?;
    let far = store::is_far(ledger.state.target());
    let verifier = Verifier::new(&workshop, Arc::clone(target), (level, remembered(memory) as usize, far), (crew.reporter, crew.stop))?;
    match verifier.finish(crew.threads) {
        Ok(verification) => Ok(Some(verification)),
        Err(RunError::Verification { message }) => {
            // A run ends here with words of its own; what to do is another thing for a store that was right once.
            findings.error(
                "AR40",
                ("", ""),
                message,
                "`gristmill verify --receipts --read-data` tells whether its objects are what was written",
            );
            Ok(None)
        }
        Err(RunError::Work(WorkError::Changed { url, .. })) => {
            let message = "it is not the file any more that the store was made from: nothing can be compared with it".to_owned();
            Err(RunError::Work(WorkError::Changed { url, message }))
        }
        Err(other) => Err(other),
    }
}
