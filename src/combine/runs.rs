//! Long lists of numbers as runs, for the plan file: the inputs of a variable are nearly always "these, one after the other".
//!
//! Invariant: reading gives the list that was written, and a damaged file cannot ask for more than [`MOST`] numbers.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// More cells than any plan has.
const MOST: usize = 1 << 26;

/// Input numbers: `[first, count, step]`; `first` is null for holes.
pub(super) mod inputs {
    use super::{Deserialize, Deserializer, Error, MOST, Serialize, Serializer};

    type Run = (Option<u32>, u32, u32);

    pub(in super::super) fn serialize<S: Serializer>(list: &[Option<u32>], serializer: S) -> Result<S::Ok, S::Error> {
        let mut runs: Vec<Run> = Vec::new();
        for &number in list {
            match (runs.last_mut(), number) {
                (Some((None, count, _)), None) => *count += 1,
                (Some((Some(first), count @ 1, step)), Some(number)) if number > *first => (*count, *step) = (2, number - *first),
                (Some((Some(first), count, step)), Some(number))
                    if u64::from(*first) + u64::from(*step) * u64::from(*count) == u64::from(number) =>
                {
                    *count += 1;
                }
                _ => runs.push((number, 1, 0)),
            }
        }
        runs.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Option<u32>>, D::Error> {
        let mut list = Vec::new();
        for (first, count, step) in Vec::<Run>::deserialize(deserializer)? {
            if list.len().saturating_add(count as usize) > MOST {
                return Err(D::Error::custom("too many inputs"));
            }
            let Some(first) = first else {
                list.resize(list.len() + count as usize, None);
                continue;
            };
            for place in 0..count {
                let number = step.checked_mul(place).and_then(|more| first.checked_add(more));
                list.push(Some(number.ok_or_else(|| D::Error::custom("an input number is too large"))?));
            }
        }
        Ok(list)
    }
}

/// Numbers that repeat: `[value, count]`.
pub(super) mod repeated {
    use super::{Deserialize, Deserializer, Error, MOST, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(list: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &number in list {
            match runs.last_mut() {
                Some((of, count)) if *of == number => *count += 1,
                _ => runs.push((number, 1)),
            }
        }
        runs.serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
        let mut list = Vec::new();
        for (value, count) in Vec::<(u32, u32)>::deserialize(deserializer)? {
            let length = list.len().saturating_add(count as usize);
            if length > MOST {
                return Err(D::Error::custom("too many numbers"));
            }
            list.resize(length, value);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Pieces;

    fn pieces(inputs: Vec<Option<u32>>, converted: Vec<u32>) -> Pieces {
        Pieces { axes: vec![], inputs, conversions: vec![], converted }
    }

    #[test]
    fn a_hundred_thousand_inputs_are_a_few_bytes() {
        let text = |inputs: Vec<Option<u32>>| serde_json::to_string(&pieces(inputs, vec![])).unwrap();
        assert!(text((0..100_000).map(Some).collect()).contains("\"inputs\":[[0,100000,1]]"));
        assert!(text((0..100_000).map(|number| Some(3 + 10 * number)).collect()).contains("\"inputs\":[[3,100000,10]]"));
    }

    #[test]
    fn a_damaged_count_is_refused() {
        let refused = |text: &str| serde_json::from_str::<Pieces>(text).is_err();
        assert!(refused(r#"{"axes":[],"inputs":[[0,4000000000,1]],"conversions":[],"converted":[]}"#));
        assert!(refused(r#"{"axes":[],"inputs":[[4000000000,2,4000000000]],"conversions":[],"converted":[]}"#));
        assert!(refused(r#"{"axes":[],"inputs":[],"conversions":[],"converted":[[1,4000000000]]}"#));
    }

    proptest! {
        #[test]
        fn any_list_comes_back(
            inputs in prop::collection::vec(prop::option::weighted(0.8, 0u32..6), 0..40),
            converted in prop::collection::vec(0u32..3, 0..40),
        ) {
            let written = pieces(inputs, converted);
            let read: Pieces = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
            prop_assert_eq!(read, written);
        }
    }
}
