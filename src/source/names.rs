//! Names in a file that must be told apart.
//!
//! Formats forbid two objects of one name, but foreign bytes may hold them. Not for names that a recipe makes. Invariant: what
//! passes here has one variable and one dimension to a name, so that looking either up by name finds the one that is meant.

use std::collections::HashSet;

use super::SourceError;
use crate::dataset::Schema;

/// Refuses a file with two variables, or two dimensions, of one name.
pub(super) fn distinct(url: &str, schema: &Schema) -> Result<(), SourceError> {
    let variables = repeated(schema.variables.iter().map(|variable| variable.name.as_str())).map(|name| ("variables", name));
    let found =
        variables.or_else(|| repeated(schema.dimensions.iter().map(|dimension| dimension.name.as_str())).map(|name| ("dimensions", name)));
    let Some((what, name)) = found else { return Ok(()) };
    let message = format!("it is damaged: two {what} are named `{name}`; fetch the file again");
    Err(SourceError::Corrupt { url: url.to_owned(), message })
}

fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dimension;

    #[test]
    fn a_name_given_twice_is_told() {
        let dimension = |name: &str| Dimension { name: name.to_owned(), length: 1, unlimited: false };
        let mut schema = Schema { dimensions: vec![dimension("x"), dimension("y")], ..Schema::default() };
        assert!(distinct("file", &schema).is_ok());
        schema.dimensions.push(dimension("x"));
        assert!(distinct("file", &schema).unwrap_err().to_string().contains("two dimensions are named `x`"));
    }
}
