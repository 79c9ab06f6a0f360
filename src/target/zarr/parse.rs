//! Metadata documents back to a schema: what is the same for v3 and v2.
//!
//! Zarr has no dimension declarations, only names per array; they are gathered here. Invariant: one dimension of the resulting
//! schema has one length, or reading fails.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::{group_of, leaf};
use crate::array::DataType;
use crate::dataset::{Attributes, Dimension, Encoding, Schema, Variable};
use crate::grid::Shape;
use crate::target::{TargetError, bad_metadata};

/// One array as its document describes it.
#[derive(Debug, Clone)]
pub(super) struct StoredArray {
    pub(super) path: String,
    pub(super) dtype: DataType,
    pub(super) shape: Shape,
    /// Names of its dimensions as the document says them, without group.
    pub(super) names: Vec<String>,
    pub(super) attributes: Attributes,
    pub(super) encoding: Encoding,
    /// The document, for zarrs.
    pub(super) document: Value,
}

/// All nodes of a store.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub(super) root: Attributes,
    pub(super) groups: BTreeMap<String, Attributes>,
    pub(super) arrays: Vec<StoredArray>,
    /// Arrays that no [`StoredArray`] can describe, with the reason.
    pub(super) refused: Vec<(String, TargetError)>,
}

/// A list of lengths.
pub(super) fn lengths(value: &Value) -> Option<Shape> {
    value.as_array()?.iter().map(Value::as_u64).collect()
}

/// Dimension names of an array; a dimension without one is named after the array and its position.
pub(super) fn names(value: &Value, path: &str, rank: usize) -> Vec<String> {
    let name = |axis: usize| value.get(axis).and_then(Value::as_str).map_or_else(|| format!("{}_dim_{axis}", leaf(path)), str::to_owned);
    (0..rank).map(name).collect()
}

impl Nodes {
    /// Keeps an array, or why it cannot be one.
    pub(super) fn add(&mut self, path: &str, array: Result<StoredArray, TargetError>) {
        match array {
            Ok(array) => self.arrays.push(array),
            Err(error) => self.refused.push((path.to_owned(), error)),
        }
    }

    /// The schema. A dimension belongs to the root if an array of the root has one of the same name and length, else to the
    /// array's own group.
    pub(super) fn schema(&self, key: &str) -> Result<Schema, TargetError> {
        let mut schema = Schema { attributes: self.root.clone(), groups: self.groups.clone(), ..Schema::default() };
        let (outer, inner): (Vec<_>, Vec<_>) = self.arrays.iter().partition(|array| group_of(&array.path).is_empty());
        for array in outer.iter().chain(&inner) {
            let dimensions = (0..array.shape.len()).map(|axis| dimension(&mut schema, array, axis, key)).collect::<Result<_, _>>()?;
            schema.variables.push(Variable {
                name: array.path.clone(),
                dtype: array.dtype,
                dimensions,
                attributes: array.attributes.clone(),
                coordinate: false,
                encoding: array.encoding.clone(),
            });
        }
        mark_coordinates(&mut schema);
        Ok(schema)
    }
}

fn dimension(schema: &mut Schema, array: &StoredArray, axis: usize, key: &str) -> Result<String, TargetError> {
    let (name, length) = (array.names[axis].as_str(), array.shape[axis]);
    if schema.dimension(name).is_some_and(|known| known.length == length) {
        return Ok(name.to_owned());
    }
    let own = super::keys::node_key(group_of(&array.path), name);
    match schema.dimension(&own) {
        Some(known) if known.length == length => {}
        Some(known) => {
            let message = format!("dimension `{own}` has length {} and, in array `{}`, length {length}", known.length, array.path);
            return Err(bad_metadata(key, message));
        }
        None => schema.dimensions.push(Dimension { name: own.clone(), length, unlimited: false }),
    }
    Ok(own)
}

/// Index variables, and whatever a `coordinates` attribute of a variable or group names.
fn mark_coordinates(schema: &mut Schema) {
    let mut announced: Vec<String> = Vec::new();
    let groups = schema.groups.iter().map(|(path, attributes)| (path.as_str(), attributes)).chain([("", &schema.attributes)]);
    let variables = schema.variables.iter().map(|variable| (group_of(&variable.name), &variable.attributes));
    for (group, attributes) in groups.chain(variables) {
        let names = attributes.text("coordinates").unwrap_or_default().split_whitespace();
        announced.extend(names.map(|name| super::keys::node_key(group, name)));
    }
    for variable in &mut schema.variables {
        variable.coordinate = variable.is_index() || announced.contains(&variable.name);
    }
}
