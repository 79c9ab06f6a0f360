//! What earlier runs left: plans, receipts, what is remembered of scans; and the metadata of Zarr stores.

use std::sync::Arc;

use bytes::Bytes;
use gristmill::plan::Plan;
use gristmill::receipt::Receipt;
use gristmill::store::{PutMode, StoreError, TargetStore};
use gristmill::target::zarr::{Absent, ZarrReader};

/// Most tasks, and most objects of a task, that are looked at.
const TASKS: u64 = 50;
const OBJECTS: u64 = 1 << 12;

/// First byte: what the others are taken for.
pub(crate) fn state(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => receipt(bytes),
        1 => {
            let _ = gristmill::run::scan::is_remembered(bytes);
        }
        2 => {
            let _: Result<gristmill::run::state::Committed, _> = serde_json::from_slice(bytes);
            let _: Result<gristmill::run::report::Report, _> = serde_json::from_slice(bytes);
        }
        _ => plan(bytes),
    }
}

fn receipt(bytes: &[u8]) {
    let Ok(receipt) = serde_json::from_slice::<Receipt>(bytes) else { return };
    let again: Receipt = serde_json::from_slice(&serde_json::to_vec(&receipt).unwrap()).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), serde_json::to_vec(&receipt).unwrap());
    if let Some((first, others)) = receipt.inputs.split_first() {
        let mut sum = first.clone();
        for other in others {
            sum.add(other);
        }
    }
}

/// A plan that is read can be written, explained and cut into tasks.
fn plan(bytes: &[u8]) {
    let Ok(plan) = Plan::from_json(bytes) else { return };
    let again = Plan::from_json(&plan.to_json().unwrap()).unwrap();
    assert_eq!(again.identity(), plan.identity());
    let _ = (plan.explain().to_string(), plan.bytes(), plan.object_count(), plan.peak());
    for (stage, of) in plan.stages.iter().enumerate() {
        for number in 0..of.tasks().min(TASKS) {
            let task = plan.task(stage, number).unwrap();
            if plan.values(&task) < OBJECTS {
                assert!(!plan.owned(&task).is_empty());
            }
        }
        assert!(plan.task(stage, of.tasks()).is_none());
    }
}

/// A store of one object.
struct Root(&'static str, Bytes);

impl TargetStore for Root {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.get(key)?.map(|bytes| bytes.len() as u64))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok((key == self.0).then(|| self.1.clone()))
    }

    fn put(&self, _key: &str, _bytes: Bytes, _mode: PutMode) -> Result<(), StoreError> {
        Ok(())
    }

    fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn delete(&self, _key: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The root metadata of a store, of either version.
pub(crate) fn zarr(bytes: &[u8]) {
    for key in ["zarr.json", ".zmetadata"] {
        for absent in [Absent::Fill, Absent::Hole] {
            let store = Arc::new(Root(key, Bytes::copy_from_slice(bytes)));
            let Ok(Some(reader)) = ZarrReader::open(store, absent) else { continue };
            let described = gristmill::run::inspect::describe_store(&reader);
            serde_json::to_vec(&described).unwrap();
            let _ = gristmill::run::inspect::render("store", &described);
            for variable in &reader.schema().variables {
                let _ = reader.missing(&variable.name);
                assert_eq!(reader.schema().shape(variable).len(), variable.dimensions.len());
            }
        }
    }
}
