//! What names and units tell a reader: which coordinate is which axis (AR16), and what is measured in what (AR24).
//!
//! From metadata alone. The table of standard names is not here, so of a name only its form is judged, and of a few its units.
//! Invariant: only what has the name of an axis is missed as one.

use super::finding::Findings;
use super::metadata::is_bounds;
use super::node::Node;
use super::stored::Stored;
use crate::cf::spelling::{is_standard_name, unknown_unit};
use crate::cf::time::is_reference;
use crate::cf::units::Linear;

/// Names that people give coordinates of an axis, without regard to case.
const NAMED: [(char, &[&str]); 4] = [
    ('T', &["time", "t"]),
    ('Z', &["lev", "level", "plev", "depth", "height", "altitude", "z"]),
    ('Y', &["lat", "latitude", "y", "rlat", "nlat"]),
    ('X', &["lon", "longitude", "x", "rlon", "nlon"]),
];

/// Ends of standard names, and a unit that theirs can be converted to.
const MEASURED: [(&str, &str); 5] =
    [("_temperature", "K"), ("_pressure", "Pa"), ("_wind", "m s-1"), ("wind_speed", "m s-1"), ("precipitation_flux", "kg m-2 s-1")];

/// Checks every array.
pub(super) fn check(stored: &Stored, findings: &Findings) {
    for node in stored.arrays.iter().filter(|node| !is_bounds(stored, node)) {
        axis(node, findings);
        units(node, findings);
    }
}

/// AR16: what is called like an axis is known for one by its attributes, which is all that a program goes by.
fn axis(node: &Node, findings: &Findings) {
    let named = |(_, names): &&(char, &[&str])| names.iter().any(|name| name.eq_ignore_ascii_case(node.leaf()));
    let Some((axis, _)) = NAMED.iter().find(named).filter(|_| node.is_index()) else { return };
    if tells_axis(node) {
        return;
    }
    let message = format!(
        "nothing says that it is the {axis} axis: it has neither `axis` nor a `standard_name` or `units` that programs go by (CF §4)"
    );
    findings.warning("AR16", (&node.path, ""), message, "say it with the step `attrs`");
}

/// CF §4: by `axis`, `standard_name`, units of latitude, longitude or time, or `positive`.
fn tells_axis(node: &Node) -> bool {
    const PLACES: [&str; 4] = ["longitude", "latitude", "x_coordinate", "y_coordinate"];
    const HEIGHTS: [&str; 5] = ["height", "depth", "altitude", "pressure", "sigma"];
    let places = |name: &str| {
        name == "time" || PLACES.iter().any(|place| name.ends_with(place)) || HEIGHTS.iter().any(|height| name.contains(height))
    };
    let units = node.text("units").unwrap_or_default();
    let by_units = units.starts_with("degree") && units != "degree" && units != "degrees";
    let is_pressure = Linear::between(units, "Pa", false).is_some();
    node.attributes.contains_key("axis")
        || node.attributes.contains_key("positive")
        || node.text("standard_name").is_some_and(places)
        || by_units
        || is_pressure
        || is_reference(units)
}

/// AR24.
fn units(node: &Node, findings: &Findings) {
    let place = (node.path.as_str(), "");
    let help = "correct it with the step `attrs`";
    let units = node.text("units");
    let unknown = units.and_then(unknown_unit);
    if let (Some(word), Some(units)) = (unknown, units) {
        let message = format!("`units` is {units:?}, of which UDUNITS does not know {word:?}, as far as gristmill can tell");
        findings.warning("AR24", place, message, help);
    }
    let Some(name) = node.text("standard_name") else { return };
    if !is_standard_name(name) {
        let message = format!("`standard_name` is {name:?}: standard names are small letters, digits and `_`");
        findings.warning("AR24", place, message, help);
    }
    let measured = MEASURED.iter().find(|(end, _)| name.ends_with(end));
    if let (Some((_, canonical)), Some(units)) = (measured, units) {
        let is_another = Linear::between(units, units, false).is_some() && Linear::between(units, canonical, true).is_none();
        if is_another {
            let message = format!("`units` is {units:?}, and {name} is measured in {canonical:?} or what can be converted to it");
            findings.warning("AR24", place, message, help);
        }
    }
}
