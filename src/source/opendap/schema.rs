//! From what a dataset declares to its schema: dimensions get names, attributes their places.
//!
//! Pure. Invariant: every axis of every variable has a dimension of its own length.

use std::collections::HashMap;

use super::declared::{Contents, Declared, Kind};
use crate::array::{FillValue, Scalar};
use crate::dataset::{Dimension, Encoding, Schema, Variable};
use crate::source::fill;

/// A dataset as everything else sees it.
pub(super) struct Described {
    pub(super) schema: Schema,
    /// Types on the wire, one per variable.
    pub(super) kinds: Vec<Kind>,
    pub(super) refused: Vec<(String, String)>,
}

/// Makes a schema.
pub(super) fn describe(contents: Contents) -> Described {
    let Contents { variables, attributes, groups, mut refused, unlimited } = contents;
    let mut dimensions = Dimensions::default();
    let (mut described, mut kinds) = (Vec::new(), Vec::new());
    for declared in variables {
        if described.iter().any(|known: &Variable| known.name == declared.name) {
            refused.push((declared.name, "it is declared twice".to_owned()));
            continue;
        }
        kinds.push(declared.kind);
        described.push(variable(declared, &mut dimensions));
    }
    for dimension in &mut dimensions.all {
        dimension.unlimited = unlimited.as_deref() == Some(&dimension.name);
    }
    Described { schema: Schema { dimensions: dimensions.all, variables: described, attributes, groups }, kinds, refused }
}

fn variable(declared: Declared, dimensions: &mut Dimensions) -> Variable {
    let Declared { name, kind, axes, attributes } = declared;
    let mut own: Vec<String> = Vec::with_capacity(axes.len());
    for axis in axes {
        let dimension = dimensions.of(axis.name, axis.length, &own);
        own.push(dimension);
    }
    let dtype = kind.dtype();
    let number = || Scalar::from_bytes(dtype, &fill_bytes(kind, attributes.number("_FillValue"))).map(FillValue::Number);
    let fill = if dtype.is_text() { attributes.text("_FillValue").map(|text| FillValue::Text(text.to_owned())) } else { number() };
    let encoding = Encoding { fill, ..Encoding::default() };
    let mut variable = Variable { name, dtype, dimensions: own, attributes, coordinate: false, encoding };
    variable.coordinate = variable.is_index();
    variable
}

/// The declared fill value if it is of the variable's type, else the default.
pub(super) fn fill_bytes(kind: Kind, declared: Option<Scalar>) -> Vec<u8> {
    let declared = declared.filter(|number| number.dtype() == kind.dtype());
    declared.map_or_else(|| fill::netcdf_default(kind.dtype()), Scalar::to_bytes)
}

#[derive(Default)]
struct Dimensions {
    all: Vec<Dimension>,
    lengths: HashMap<String, u64>,
    invented: Vec<(String, u64)>,
}

impl Dimensions {
    /// The dimension of an axis of a variable that has some already. DAP2 names axes without sharing them: where one name stands for several
    /// lengths, all but the first get their length into the name.
    fn of(&mut self, name: Option<String>, length: u64, own: &[String]) -> String {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return self.invent(length, own) };
        if self.lengths.get(&name).is_none_or(|known| *known == length) {
            return self.add(name, length);
        }
        self.add(format!("{name}_{length}"), length)
    }

    fn add(&mut self, name: String, length: u64) -> String {
        if self.lengths.insert(name.clone(), length).is_none() {
            self.all.push(Dimension { name: name.clone(), length, unlimited: false });
        }
        name
    }

    /// A dimension without a name: one of that length that the variable does not have yet, as netCDF-C names those of HDF5.
    fn invent(&mut self, length: u64, own: &[String]) -> String {
        let known = self.invented.iter().find(|(name, known)| *known == length && !own.contains(name)).map(|(name, _)| name.clone());
        known.unwrap_or_else(|| {
            let name = format!("phony_dim_{}", self.invented.len());
            self.invented.push((name.clone(), length));
            self.add(name, length)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::declared::Axis;
    use super::*;

    #[test]
    fn every_axis_has_a_dimension_of_its_length() {
        let axis = |name: Option<&str>, length| Axis { name: name.map(str::to_owned), length };
        let declared = |name: &str, axes: Vec<Axis>| Declared {
            name: name.to_owned(),
            kind: Kind::Int16,
            axes,
            attributes: crate::dataset::Attributes::default(),
        };
        let variables = vec![
            declared("t", vec![axis(Some("t"), 4)]),
            declared("a", vec![axis(Some("t"), 4), axis(None, 3), axis(None, 3)]),
            declared("b", vec![axis(Some("t"), 5), axis(None, 3)]),
            declared("t", vec![]),
        ];
        let described = describe(Contents { variables, unlimited: Some("t".to_owned()), ..Contents::default() });
        let names = |name: &str| described.schema.variable(name).unwrap().dimensions.clone();
        assert_eq!(names("a"), ["t", "phony_dim_0", "phony_dim_1"]);
        assert_eq!(names("b"), ["t_5", "phony_dim_0"]);
        assert!(described.schema.variable("t").unwrap().coordinate && described.schema.dimensions[0].unlimited);
        assert_eq!(described.refused.len(), 1);
        let lengths: Vec<u64> = described.schema.dimensions.iter().map(|dimension| dimension.length).collect();
        assert_eq!(lengths, [4, 3, 3, 5]);
        assert_eq!(described.schema.variable("a").unwrap().encoding.fill, Some(FillValue::Number(Scalar::Int16(-32767))));
    }
}
