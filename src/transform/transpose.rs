//! `transpose`: puts dimensions in this order; `...` stands for those not named.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;
use super::draft::Draft;

/// Puts dimensions in this order; `...` stands for those not named.
///
/// Acts on every variable that has one of the named dimensions, coordinates included. Without `...`, such a variable must have no other
/// dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Transpose(pub Vec<String>);

const REST: &str = "...";

impl Transpose {
    pub(super) fn apply(&self, draft: &mut Draft<'_>) -> Result<(), TransformError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.0.iter().find(|name| !seen.insert(name.as_str())) {
            return draft.refuse(format!("`{twice}` is named twice"));
        }
        for dimension in self.0.iter().filter(|name| *name != REST) {
            draft.length(dimension);
        }
        let orders: Vec<_> =
            draft.schema.variables.iter().map(|variable| (variable.name.clone(), self.order(&variable.dimensions))).collect();
        for (variable, order) in orders {
            match order {
                Ok(order) => draft.reorder(&variable, &order),
                Err(dimension) => {
                    return draft
                        .refuse(format!("variable `{variable}` has the dimension `{dimension}`, which is not named; add it or `...`"));
                }
            }
        }
        Ok(())
    }

    /// Old positions in the new order, or a dimension that has no place.
    fn order(&self, dimensions: &[String]) -> Result<Vec<usize>, String> {
        let named = |name: &String| self.0.contains(name);
        if !dimensions.iter().any(named) {
            return Ok((0..dimensions.len()).collect());
        }
        let rest = || dimensions.iter().enumerate().filter(|(_, name)| !named(name));
        if let (false, Some((_, homeless))) = (self.0.iter().any(|name| name == REST), rest().next()) {
            return Err(homeless.clone());
        }
        let places = |name: &String| -> Vec<usize> {
            if name == REST {
                rest().map(|(at, _)| at).collect()
            } else {
                (0..dimensions.len()).filter(|&at| dimensions.get(at) == Some(name)).collect()
            }
        };
        Ok(self.0.iter().flat_map(places).collect())
    }
}
