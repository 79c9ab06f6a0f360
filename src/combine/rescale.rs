//! Units that differ from file to file: refused, or converted to the first file's where the recipe says so.
//!
//! Invariant: a conversion is only given out where the table of [`crate::cf::units`] relates the units exactly, for every file.

use super::storage::Findings;
use super::survey::{Group, Survey, Variant};
use crate::cf::units::Linear;
use crate::recipe::Used;
use crate::recipe::diagnostic::Code;

/// Words of a standard name by which a flux or a depth is one of water.
const WATER: [&str; 10] =
    ["precipitation", "rainfall", "snowfall", "evaporation", "evapotranspiration", "runoff", "water", "sublimation", "snow", "moisture"];

/// A conflict was noted.
pub(super) struct Refused;

/// The conversion of each variant to the first one's units; `None` where units agree, or it is the contract's business to refuse them.
pub(super) fn linears(survey: &Survey<'_>, group: &Group<'_>, findings: &mut Findings<'_>) -> Result<Option<Vec<Linear>>, Refused> {
    let units = |variant: &Variant<'_>| variant.variable.attributes.text("units").map(str::to_owned);
    let timed = group.variants.iter().any(|variant| variant.clock.is_some());
    let Some(first) = group.variants.first().filter(|_| survey.recipe.combine.convert_units && !timed) else { return Ok(None) };
    let Some(all) = group.variants.iter().map(units).collect::<Option<Vec<String>>>() else { return Ok(None) };
    let Some(target) = all.first().filter(|target| all.iter().any(|other| other != *target)) else { return Ok(None) };
    let water = group.variants.iter().all(|variant| is_water(variant));
    let mut linears = Vec::with_capacity(all.len());
    for (variant, units) in group.variants.iter().zip(&all) {
        let same = Linear { multiply: 1.0, divide: 1.0, add: 0.0 };
        let linear = if units == target { Some(same) } else { Linear::between(units, target, water) };
        let Some(linear) = linear else {
            let message = format!(
                "variable `{}`: `units` is {target:?} in `{}` but {units:?} in `{}`, and no exact factor between them is known",
                group.name,
                survey.url(first.member),
                survey.url(variant.member)
            );
            let help = "set `units` with the step `attrs` if the numbers really are in them, or bake the files as separate datasets";
            findings.conflicts.add(Code::UnitsMismatch, message, help);
            return Err(Refused);
        };
        if units != target {
            let what = format!("{units:?} became {target:?} ({linear}), in `{}` and all files like it", survey.url(variant.member));
            findings.used.push(Used::new("units: convert", group.name, what));
        }
        linears.push(linear);
    }
    Ok(Some(linears))
}

fn is_water(variant: &Variant<'_>) -> bool {
    let name = variant.variable.attributes.text("standard_name").unwrap_or_default();
    WATER.iter().any(|word| name.split('_').any(|part| part == *word))
}
