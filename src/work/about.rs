//! What reads and objects are called when a run tells what it does.
//!
//! Only for people; nothing is decided by it. Invariant: no query string or credential is in a name.

use super::{Prepared, ReadFrom, Workshop};
use crate::store::shown;
use crate::target::zarr::object_key;

impl Workshop {
    /// Where a read's bytes come from: a file, or a scratch object's key.
    #[must_use]
    pub fn name_of_read(&self, prepared: &Prepared, read: usize) -> String {
        let Some(read) = prepared.reads.get(read) else { return String::new() };
        match (&read.from, prepared.inputs.get(read.input)) {
            (ReadFrom::Scratch(key), _) => key.clone(),
            (_, input) => input.map(|input| shown(&input.described.url)).unwrap_or_default(),
        }
    }

    /// The key of a task's object, or its variable and index where it is scratch.
    #[must_use]
    pub fn name_of_object(&self, prepared: &Prepared, object: usize) -> String {
        let Some(object) = prepared.objects.get(object) else { return String::new() };
        let Some(variable) = self.plan.schema.variables.get(object.variable) else { return String::new() };
        if prepared.task.work.is_to_scratch() {
            return format!("scratch of {} {:?}", variable.name, object.index);
        }
        object_key(variable, &object.index, self.plan.format)
    }
}
