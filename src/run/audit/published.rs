//! The metadata of a store against that of its committed plan.
//!
//! Consolidated and own documents may have been changed alike. Invariant: what a commit of the plan would write is what is
//! compared, by the very code that commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use super::finding::{Findings, Level};
use super::stored::{Stored, differing};
use crate::plan::Plan;
use crate::run::RunError;
use crate::run::provenance::Provenance;
use crate::store::{PutMode, StoreError, TargetStore};
use crate::target::Target;
use crate::target::zarr::ZarrTarget;

/// The metadata objects that a commit of a plan writes, in their order.
pub(in crate::run) fn documents(plan: &Plan) -> Result<Vec<(String, Bytes)>, RunError> {
    let kept = Arc::new(Kept::default());
    ZarrTarget::new(Arc::clone(&kept) as Arc<dyn TargetStore>, plan.format).commit(&plan.schema)?;
    Ok(std::mem::take(&mut *kept.objects()))
}

/// Compares each document of the store with the plan's.
pub(super) fn compare(stored: &Stored, plan: &Plan, provenance: Option<&Provenance>, findings: &Findings) -> Result<(), RunError> {
    // Another version may write the same things in another form.
    let level = match provenance {
        Some(provenance) if provenance.gristmill != env!("CARGO_PKG_VERSION") => Level::Warning,
        _ => Level::Error,
    };
    let expected: BTreeMap<String, Bytes> = documents(plan)?.into_iter().collect();
    for (key, bytes) in &expected {
        let place = (key.rsplit_once('/').map_or("", |(path, _)| path), key.as_str());
        let wanted: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let told = match stored.own.get(key) {
            None | Some(Value::Null) => "this metadata is absent".to_owned(),
            Some(own) if *own == wanted => continue,
            Some(own) => format!("this metadata is not what was committed: {} differ", differing(own, &wanted)),
        };
        findings.add(level, "AR03", place, told, "`gristmill repair` writes it again");
    }
    Ok(())
}

/// Objects in memory, in the order in which they came.
#[derive(Default)]
struct Kept(Mutex<Vec<(String, Bytes)>>);

impl Kept {
    fn objects(&self) -> std::sync::MutexGuard<'_, Vec<(String, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TargetStore for Kept {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.get(key)?.map(|bytes| bytes.len() as u64))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.objects().iter().find(|(known, _)| known == key).map(|(_, bytes)| bytes.clone()))
    }

    fn put(&self, key: &str, bytes: Bytes, _: PutMode) -> Result<(), StoreError> {
        self.objects().push((key.to_owned(), bytes));
        Ok(())
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(self.objects().iter().map(|(key, _)| key.clone()).filter(|key| key.starts_with(prefix)).take(limit).collect())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.objects().retain(|(known, _)| known != key);
        Ok(())
    }
}
