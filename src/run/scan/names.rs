//! Names of variables that no place in a store can have.
//!
//! Names come from files, and become keys of objects. Not for what a store itself refuses. Invariant: a schema that passes has no
//! variable whose objects would lie outside of the target, or among another one's.

use std::collections::BTreeSet;

use crate::dataset::Schema;

/// Objects that every node of a store may have.
const RESERVED: [&str; 5] = ["zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"];
/// Longest name of one folder or file on most file systems, in bytes; a little is left for what is written beside.
const LONGEST: usize = 200;

/// The first variable with such a name, and what is wrong with it.
pub(super) fn misplaced(schema: &Schema) -> Option<(String, &'static str)> {
    let names: BTreeSet<&str> = schema.variables.iter().map(|variable| variable.name.as_str()).collect();
    names.iter().find_map(|name| {
        let wrong = fault(name).or_else(|| is_inside(name, &names).then_some("it lies inside another variable"));
        wrong.map(|wrong| ((*name).to_owned(), wrong))
    })
}

fn fault(name: &str) -> Option<&'static str> {
    name.split('/').find_map(|part| match part {
        "" => Some("a part of it is empty"),
        "." | ".." => Some("it leads to another place"),
        part if part.chars().any(char::is_control) => Some("it holds control characters"),
        part if part.len() > LONGEST => Some("it is too long for a store"),
        part if RESERVED.contains(&part) => Some("a store uses it for itself"),
        _ => None,
    })
}

fn is_inside(name: &str, names: &BTreeSet<&str>) -> bool {
    name.match_indices('/').any(|(at, _)| name.get(..at).is_some_and(|outer| names.contains(outer)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DataType;
    use crate::dataset::{Attributes, Encoding, Variable};

    #[test]
    fn names_that_lead_astray_are_found() {
        let schema = |names: &[&str]| {
            let variable = |name: &&str| Variable {
                name: (*name).to_owned(),
                dtype: DataType::Int8,
                dimensions: vec![],
                attributes: Attributes::default(),
                coordinate: false,
                encoding: Encoding::default(),
            };
            Schema { variables: names.iter().map(variable).collect(), ..Schema::default() }
        };
        assert_eq!(misplaced(&schema(&["x", "group/x", "größe", "x y", "C:\\x"])), None);
        for bad in
            [&["a", ".."][..], &[""], &["/x"], &["a/../b"], &["a//b"], &["x\u{1b}"], &["zarr.json"], &["x", "x/c/0"], &["g/x", "g/x/y/z"]]
        {
            assert!(misplaced(&schema(bad)).is_some(), "{bad:?}");
        }
    }
}
