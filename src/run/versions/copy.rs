//! Objects that a new version has in common with the current one: copied, not computed again.
//!
//! Which they are follows from the two plans (`append::shared`), where they are from the receipts of the old one. Each copy is
//! compared with the checksum of its receipt and leaves one of its own, numbered behind the plan's stages. Invariant: an object is
//! copied only if its bytes are those that the old version's receipt tells of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::kept::CopiedFrom;
use crate::dataset::Variable;
use crate::plan::{Plan, Stage};
use crate::receipt::{ChunkRef, Receipt, checksum};
use crate::run::state::State;
use crate::run::tally::{Tally, TaskNumber};
use crate::run::{RunError, append, parallel};
use crate::store::{PutMode, TargetStore};
use crate::target::TargetError;
use crate::target::zarr::object_index;

/// What a version takes over from the current one.
pub(in crate::run) struct Copies {
    /// The current version.
    from: Arc<dyn TargetStore>,
    source: CopiedFrom,
    old: Plan,
    /// Objects along each dimension of each variable of the new plan.
    pub(super) counts: Vec<Vec<u64>>,
}

impl Copies {
    /// What a plan's version can take over; `None` if that is nothing. `before` is how many receipts of copies the old version has.
    pub(super) fn of(from: Arc<dyn TargetStore>, version: &str, (old, before): (Plan, u64), new: &Plan) -> Option<Self> {
        let counts = append::shared(&old, new);
        let some = counts.iter().any(|counts| !counts.is_empty() && counts.iter().all(|&count| count > 0));
        let receipts = old.stages.iter().map(Stage::tasks).sum::<u64>() + before;
        let source = CopiedFrom { version: version.to_owned(), plan: old.identity(), receipts };
        some.then_some(Self { from, source, old, counts })
    }

    pub(super) fn source(&self) -> &CopiedFrom {
        &self.source
    }

    /// Copies what has no receipt yet, and what is in `again`; adds all copies to the tally.
    ///
    /// # Errors
    /// [`TargetError::Altered`] if the old version is not what its receipts say; [`RunError::Store`], [`RunError::Interrupted`].
    pub(in crate::run) fn make(
        &self,
        state: &State,
        (plan, identity, to): (&Plan, &str, &dyn TargetStore),
        again: &BTreeSet<TaskNumber>,
        (threads, stop): (usize, &AtomicBool),
        tally: &Mutex<Tally>,
    ) -> Result<(), RunError> {
        parallel::each(threads, self.source.receipts as usize, stop, &|number| {
            let task = (plan.stages.len(), number as u64);
            let known = state.receipt(identity, task.0, task.1)?.filter(|_| !again.contains(&task));
            let is_known = known.is_some();
            let receipt = match known {
                Some(receipt) => Some(receipt),
                None => self.copy(state, (plan, identity, to), task)?,
            };
            if let Some(receipt) = &receipt {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.add(plan, receipt);
                if !is_known {
                    tally.own.push(task);
                }
            }
            Ok(())
        })
    }

    /// Copies what one receipt of the old version tells of; `None` if nothing of it is wanted.
    fn copy(
        &self,
        state: &State,
        (plan, identity, to): (&Plan, &str, &dyn TargetStore),
        (place, number): TaskNumber,
    ) -> Result<Option<Receipt>, RunError> {
        let (old_stage, old_task) = self.old_number(number);
        let Some(old) = state.receipt(&self.source.plan, old_stage, old_task)? else {
            // A copy of that version without anything copied.
            return if old_stage < self.old.stages.len() { Err(self.without_receipt()) } else { Ok(None) };
        };
        let chunks: Vec<ChunkRef> = old.chunks.into_iter().filter(|chunk| self.is_wanted(plan, chunk)).collect();
        if chunks.is_empty() {
            return Ok(None);
        }
        for chunk in &chunks {
            to.put(&chunk.key, self.read(chunk)?, PutMode::Overwrite)?;
        }
        let receipt = Receipt {
            plan: identity.to_owned(),
            stage: place as u32,
            task: number,
            chunks,
            scratch: Vec::new(),
            inputs: Vec::new(),
            raw_bytes: 0,
            statistics: BTreeMap::new(),
            moved: 0,
            attempt: 0,
            epoch: 0,
        };
        state.save_receipt(&receipt)?;
        Ok(Some(receipt))
    }

    fn read(&self, chunk: &ChunkRef) -> Result<Bytes, RunError> {
        let bytes = self.from.get(&chunk.key)?.unwrap_or_default();
        if checksum(&bytes) == chunk.checksum {
            return Ok(bytes);
        }
        let message = "it is not what its receipt says, so nothing was copied; `--replace` bakes the new version without it".to_owned();
        Err(TargetError::Altered { key: format!("{}/{}", self.source.version, chunk.key), message }.into())
    }

    /// Stage and task of the old version's nth receipt; its copies come last.
    fn old_number(&self, number: u64) -> TaskNumber {
        let mut rest = number;
        for (stage, tasks) in self.old.stages.iter().map(Stage::tasks).enumerate() {
            if rest < tasks {
                return (stage, rest);
            }
            rest -= tasks;
        }
        (self.old.stages.len(), rest)
    }

    fn is_wanted(&self, plan: &Plan, chunk: &ChunkRef) -> bool {
        let named = |(variable, counts): (&Variable, &Vec<u64>)| {
            let index = object_index(variable, &chunk.key, plan.format)?;
            Some(!index.is_empty() && index.len() == counts.len() && index.iter().zip(counts).all(|(index, count)| index < count))
        };
        plan.schema.variables.iter().zip(&self.counts).find_map(named).unwrap_or(false)
    }

    fn without_receipt(&self) -> RunError {
        RunError::Conflict {
            message: format!(
                "the receipts of version {} are not complete, so nothing can be copied from it; `--replace` bakes the new version without it",
                self.source.version
            ),
        }
    }
}
