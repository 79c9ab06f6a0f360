//! Schemas, values and digests of many inputs, with what is equal held once.
//!
//! The files of an archive hardly differ: a hundred thousand headers are a few distinct variables and attributes. Equal parts are one
//! allocation, so memory grows with what differs and comparing starts with addresses. Invariant: sharing never changes a value; two parts are
//! shared only if their serialized bytes, and so every bit of them, are equal (XXH3-128).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::array::Array;
use crate::dataset::{Attribute, Attributes, Dimension, Schema, Variable};
use crate::grid::{Shape, elements};

/// A [`Schema`] whose parts may belong to other inputs too.
#[derive(Debug, Clone)]
pub struct SharedSchema {
    /// As [`Schema::dimensions`].
    pub dimensions: Arc<Vec<Dimension>>,
    /// As [`Schema::variables`].
    pub variables: Arc<Vec<Arc<Variable>>>,
    /// As [`Schema::attributes`].
    pub attributes: Arc<Vec<Arc<(String, Attribute)>>>,
    /// As [`Schema::groups`].
    pub groups: Arc<BTreeMap<String, Attributes>>,
}

impl SharedSchema {
    /// The dimension of that name.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.dimensions.iter().find(|dimension| dimension.name == name)
    }

    /// The variable of that name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.iter().map(|variable| &**variable).find(|variable| variable.name == name)
    }

    /// As [`Schema::shape`].
    #[must_use]
    pub fn shape(&self, variable: &Variable) -> Shape {
        variable.dimensions.iter().map(|name| self.dimension(name).map_or(0, |dimension| dimension.length)).collect()
    }

    /// As [`Schema::bytes`].
    #[must_use]
    pub fn bytes(&self, variable: &Variable) -> u64 {
        let item = if variable.dtype.is_text() { 16 } else { variable.dtype.size() as u64 };
        elements(&self.shape(variable)).saturating_mul(item)
    }
}

impl From<Schema> for SharedSchema {
    /// Shares nothing.
    fn from(schema: Schema) -> Self {
        Self {
            dimensions: Arc::new(schema.dimensions),
            variables: Arc::new(schema.variables.into_iter().map(Arc::new).collect()),
            attributes: Arc::new(schema.attributes.0.into_iter().map(Arc::new).collect()),
            groups: Arc::new(schema.groups),
        }
    }
}

/// Hands out one copy of whatever is equal. Used from many threads.
#[derive(Debug, Default)]
pub struct Interner {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    schemas: HashMap<u128, SharedSchema>,
    dimensions: Pool<Vec<Dimension>>,
    variables: Pool<Variable>,
    variable_lists: Pool<Vec<Arc<Variable>>>,
    attributes: Pool<(String, Attribute)>,
    attribute_lists: Pool<Vec<Arc<(String, Attribute)>>>,
    groups: Pool<BTreeMap<String, Attributes>>,
    arrays: Pool<Array>,
    digests: Pool<BTreeMap<String, String>>,
    names: HashSet<Arc<str>>,
}

/// One copy of each value, by the hash of its bytes.
#[derive(Debug)]
struct Pool<T>(HashMap<u128, Arc<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Pool<T> {
    fn share(&mut self, mark: u128, value: T) -> Arc<T> {
        Arc::clone(self.0.entry(mark).or_insert_with(|| Arc::new(value)))
    }
}

/// Equal exactly for values whose JSON is equal; our types write every bit of a number.
fn mark<T: Serialize>(value: &T) -> u128 {
    xxh3_128(&serde_json::to_vec(value).unwrap_or_default())
}

/// Of parts that are shared already, so that their addresses tell them apart for as long as the pools hold them.
fn mark_of<T>(parts: &[Arc<T>]) -> u128 {
    xxh3_128(&parts.iter().flat_map(|part| Arc::as_ptr(part).addr().to_le_bytes()).collect::<Vec<u8>>())
}

impl Interner {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A schema with its parts shared.
    pub fn schema(&self, schema: Schema) -> SharedSchema {
        let whole = mark(&schema);
        if let Some(known) = self.lock().schemas.get(&whole) {
            return known.clone();
        }
        let variables = schema.variables.into_iter().map(|variable| self.variable(variable)).collect();
        let attributes = schema.attributes.0.into_iter().map(|attribute| self.attribute(attribute)).collect();
        let shared = self.assemble(self.dimensions(schema.dimensions), variables, attributes, self.groups(schema.groups));
        self.lock().schemas.insert(whole, shared.clone());
        shared
    }

    /// A schema of parts that this interner gave out.
    pub fn assemble(
        &self,
        dimensions: Arc<Vec<Dimension>>,
        variables: Vec<Arc<Variable>>,
        attributes: Vec<Arc<(String, Attribute)>>,
        groups: Arc<BTreeMap<String, Attributes>>,
    ) -> SharedSchema {
        let held = &mut *self.lock();
        let variables = held.variable_lists.share(mark_of(&variables), variables);
        let attributes = held.attribute_lists.share(mark_of(&attributes), attributes);
        SharedSchema { dimensions, variables, attributes, groups }
    }

    /// A variable, shared.
    pub fn variable(&self, variable: Variable) -> Arc<Variable> {
        let mark = mark(&variable);
        self.lock().variables.share(mark, variable)
    }

    /// An attribute, shared.
    pub fn attribute(&self, attribute: (String, Attribute)) -> Arc<(String, Attribute)> {
        let mark = mark(&attribute);
        self.lock().attributes.share(mark, attribute)
    }

    /// Dimensions, shared.
    pub fn dimensions(&self, dimensions: Vec<Dimension>) -> Arc<Vec<Dimension>> {
        let mark = mark(&dimensions);
        self.lock().dimensions.share(mark, dimensions)
    }

    /// Attributes of groups, shared.
    pub fn groups(&self, groups: BTreeMap<String, Attributes>) -> Arc<BTreeMap<String, Attributes>> {
        let mark = mark(&groups);
        self.lock().groups.share(mark, groups)
    }

    /// Values, shared.
    pub fn array(&self, array: Array) -> Arc<Array> {
        let mark = super::hash(&array);
        self.lock().arrays.share(mark, array)
    }

    /// Digests by variable, shared.
    pub fn digests(&self, digests: BTreeMap<String, String>) -> Arc<BTreeMap<String, String>> {
        let mark = mark(&digests);
        self.lock().digests.share(mark, digests)
    }

    /// A name, shared.
    pub fn name(&self, name: &str) -> Arc<str> {
        let names = &mut self.lock().names;
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(name);
        names.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{DataType, Scalar};

    fn schema(history: &str, fill: f64) -> Schema {
        let mut schema = Schema::default();
        schema.dimensions.push(Dimension { name: "time".into(), length: 1, unlimited: true });
        schema.attributes.set("title", Attribute::Text("same".into()));
        schema.attributes.set("history", Attribute::Text(history.into()));
        schema.variables.push(Variable {
            name: "t".into(),
            dtype: DataType::Float64,
            dimensions: vec!["time".into()],
            attributes: Attributes(vec![("fill".into(), Attribute::Numbers(vec![Scalar::Float64(fill)]))]),
            coordinate: false,
            encoding: crate::dataset::Encoding::default(),
        });
        schema
    }

    #[test]
    fn only_what_differs_is_held_again() {
        let interner = Interner::default();
        let [one, two, other] =
            [("a", f64::NAN), ("b", f64::NAN), ("a", 0.0)].map(|(history, fill)| interner.schema(schema(history, fill)));
        assert!(Arc::ptr_eq(&one.variables, &two.variables) && Arc::ptr_eq(&one.dimensions, &two.dimensions), "NaN equals NaN here");
        assert!(Arc::ptr_eq(&one.attributes[0], &two.attributes[0]) && !Arc::ptr_eq(&one.attributes[1], &two.attributes[1]));
        assert!(Arc::ptr_eq(&one.attributes, &other.attributes) && !Arc::ptr_eq(&one.variables, &other.variables));
        assert!(Arc::ptr_eq(&interner.schema(schema("a", 0.0)).variables, &other.variables));
        assert_eq!((two.attributes[1].1.text(), two.shape(&two.variables[0])), (Some("b"), vec![1]));
    }
}
