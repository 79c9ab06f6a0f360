//! Files of different sites: what follows one another in time is of one place.
//!
//! Attributes of the whole that name a fixed site (a station's code, a facility) may differ along a dimension of stations, never along
//! time: a list that mixes sites would otherwise give one series that jumps from one to the next. Invariant: only files that lie at one
//! position of every other axis are compared.

use std::collections::HashMap;

use super::conflicts::Conflicts;
use super::survey::{Survey, concat_axes};
use crate::dataset::Attribute;
use crate::recipe::diagnostic::Code;

/// Attributes that name a fixed site, each unique within its network: ARM, ACDD and IMOS, `OceanSITES`, WMO.
const SITES: [&str; 7] = ["site_id", "facility_id", "station_id", "site_code", "station_code", "platform_code", "wmo_platform_code"];

/// Compares the sites of files that follow one another in time.
pub(super) fn check(survey: &Survey<'_>, conflicts: &mut Conflicts) {
    for (axis, (dimension, _)) in concat_axes(survey.recipe).enumerate() {
        let index = survey.by_name.get(dimension).and_then(|&number| survey.groups.get(number));
        if index.is_some_and(|group| group.variants.iter().any(|variant| variant.clock.is_some())) {
            for name in SITES {
                check_one(survey, axis, name, conflicts);
            }
        }
    }
}

fn check_one(survey: &Survey<'_>, axis: usize, name: &str, conflicts: &mut Conflicts) {
    let mut first: HashMap<Vec<usize>, (usize, &Attribute)> = HashMap::new();
    for (number, member) in survey.members.iter().enumerate() {
        let Some(value) = member.schema.attributes.iter().find(|one| one.0 == name).map(|one| &one.1) else { continue };
        let others = member.cell.iter().enumerate().filter(|(other, _)| *other != axis).map(|(_, position)| *position).collect();
        let &mut (known, site) = first.entry(others).or_insert((number, value));
        if site != value {
            let message = format!(
                "files of different sites follow one another: `{name}` is {} in `{}` but {} in `{}`",
                site.plain(),
                survey.url(known),
                value.plain(),
                member.url
            );
            let help = format!(
                "bake each site as a dataset of its own; if they belong together, say so with the step `attrs: {{delete: [{name}]}}`"
            );
            conflicts.add(Code::AttributeConflict, message, &help);
            return;
        }
    }
}
