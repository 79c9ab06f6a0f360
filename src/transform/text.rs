//! Chars into texts, before any step.
//!
//! The rule is xarray's: an array of chars is joined along its last dimension unless that dimension means something else (a variable has its
//! name, or a variable of numbers uses it, or it is not the last dimension of a variable of chars). Chars that are not joined
//! become texts of one character. Trailing NULs are padding and go; blanks stay. Invariant: every char is in exactly one text.

use serde::{Deserialize, Serialize};

use crate::array::{Array, DataType, Values, text_from_bytes};
use crate::dataset::{Schema, Variable};

/// How a variable of chars becomes one of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextRule {
    /// The last dimension is joined and goes.
    Joined,
    /// Every char is a text; the dimensions stay.
    Single,
}

impl TextRule {
    /// The texts of an array of chars; `None` for other types.
    #[must_use]
    pub fn apply(self, array: &Array) -> Option<Array> {
        match self {
            Self::Joined => text_from_chars(array),
            Self::Single => texts_of(array, 1, array.shape.clone()),
        }
    }
}

/// The rule for each variable of chars, in the order of the schema.
#[must_use]
pub fn rules(schema: &Schema) -> Vec<(String, TextRule)> {
    let chars = schema.variables.iter().filter(|variable| variable.dtype == DataType::Char);
    chars.map(|variable| (variable.name.clone(), if is_joined(schema, variable) { TextRule::Joined } else { TextRule::Single })).collect()
}

fn is_joined(schema: &Schema, variable: &Variable) -> bool {
    let Some(last) = variable.dimensions.last() else { return false };
    let only_for_chars = |user: &Variable| {
        user.dtype == DataType::Char && user.dimensions.iter().rposition(|name| name == last) == user.dimensions.len().checked_sub(1)
    };
    schema.variable(last).is_none() && schema.variables.iter().filter(|user| user.has(last)).all(only_for_chars)
}

/// Joins the last dimension of an array of chars; a scalar becomes a text of one character. `None` for other types.
#[must_use]
pub fn text_from_chars(array: &Array) -> Option<Array> {
    match array.shape.split_last() {
        Some((&length, rest)) => texts_of(array, usize::try_from(length).ok()?, rest.to_vec()),
        None => texts_of(array, 1, vec![]),
    }
}

fn texts_of(array: &Array, length: usize, shape: Vec<u64>) -> Option<Array> {
    let Values::Bytes(bytes) = &array.values else { return None };
    if array.dtype != DataType::Char {
        return None;
    }
    if length == 0 {
        let texts = usize::try_from(crate::grid::elements(&shape)).ok()?;
        return Array::from_texts(shape, vec![String::new(); texts]);
    }
    Array::from_texts(shape, bytes.chunks(length).map(text).collect())
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    text_from_bytes(bytes.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_the_last_dimension() {
        let chars = Array::from_bytes(DataType::Char, vec![2, 4], b"ab \0\xe9t\xe9\0".to_vec()).unwrap();
        assert_eq!(text_from_chars(&chars).unwrap(), Array::from_texts(vec![2], vec!["ab ".into(), "été".into()]).unwrap());
        assert_eq!(TextRule::Single.apply(&chars).unwrap().texts()[3..5], [String::new(), "é".to_owned()]);
        let scalar = Array::from_bytes(DataType::Char, vec![], b"\0".to_vec()).unwrap();
        assert_eq!(text_from_chars(&scalar).unwrap().texts(), [""]);
        let empty = Array::from_bytes(DataType::Char, vec![2, 0], vec![]).unwrap();
        assert_eq!(text_from_chars(&empty).unwrap().texts().len(), 2);
        assert_eq!(text_from_chars(&Array::from_bytes(DataType::Int8, vec![1], vec![0]).unwrap()), None);
    }
}
