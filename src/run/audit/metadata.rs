//! What metadata alone shows: names and lengths of dimensions, codecs, the names that attributes refer to, layout.
//!
//! Pure. Invariant: each check reads what a reader would read, not what the store was meant to be.

use std::collections::BTreeMap;

use serde_json::Value;

use super::finding::Findings;
use super::node::{Node, below};
use super::stored::Stored;
use crate::grid::elements;
use crate::recipe::OutputFormat;
use crate::size::ByteSize;

/// What zarr-python reads without any other package than those it needs.
const CORE_THREE: [&str; 9] = ["bytes", "blosc", "gzip", "zstd", "crc32c", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes"];
const CORE_TWO: [&str; 15] = [
    "blosc",
    "zlib",
    "gzip",
    "zstd",
    "lz4",
    "bz2",
    "lzma",
    "shuffle",
    "delta",
    "fixedscaleoffset",
    "packbits",
    "crc32",
    "crc32c",
    "vlen-utf8",
    "vlen-bytes",
];
/// Attributes of the whole that people and catalogues look for (ACDD).
const DISCOVERY: [&str; 6] = ["Conventions", "title", "institution", "source", "references", "license"];

/// Arrays from this size on have chunks that are neither tiny nor huge.
const LARGE: u64 = 1 << 30;
const CHUNKS: std::ops::RangeInclusive<u64> = (1 << 20)..=(100 << 20);
const LARGEST_OBJECT: u64 = 1 << 30;
/// Also the most objects whose presence is looked at.
pub(super) const MOST_OBJECTS: u64 = 1_000_000;
/// Chunks of a coordinate, if they are smaller than [`COORDINATE_CHUNK`].
const COORDINATE_CHUNKS: u64 = 4;
const COORDINATE_CHUNK: u64 = 1 << 20;

/// Checks everything; `ours`: the codecs were the recipe's choice.
pub(super) fn check(stored: &Stored, ours: bool, findings: &Findings) {
    for node in &stored.arrays {
        dimensions(node, findings);
        codecs(node, stored.format, ours, findings);
        references(stored, node, findings);
        layout(node, findings);
    }
    indexes(stored, findings);
    coordinates(stored, findings);
    discovery(stored, findings);
}

/// AR04: every dimension has a name, once, and one length in its group. Arrays that break the last are in nobody's dataset.
pub(super) fn fitting(stored: &Stored, findings: &Findings) -> Vec<bool> {
    let mut lengths: BTreeMap<(&str, &str), (u64, &str)> = BTreeMap::new();
    let mut all = Vec::with_capacity(stored.arrays.len());
    for node in &stored.arrays {
        let mut good = true;
        for (name, length) in node.names.iter().zip(node.shape()).filter_map(|(name, &length)| Some((name.as_deref()?, length))) {
            let &mut (known, other) = lengths.entry((node.group(), name)).or_insert((length, &node.path));
            if known != length {
                good = false;
                let message = format!("dimension `{name}` has length {length} here and {known} in `{other}`");
                findings.error("AR04", (&node.path, ""), message, "no reader can put these arrays into one dataset: repair the store");
            }
        }
        all.push(good);
    }
    all
}

fn dimensions(node: &Node, findings: &Findings) {
    let place = (node.path.as_str(), "");
    let help = "name every dimension: `dimension_names` in v3, `_ARRAY_DIMENSIONS` in v2";
    if node.names.len() != node.rank() || node.names.iter().any(Option::is_none) {
        let named = node.names.iter().flatten().count();
        findings.error("AR04", place, format!("{named} of its {} dimensions have a name", node.rank()), help);
    }
    for (axis, name) in node.names.iter().enumerate().filter_map(|(axis, name)| Some((axis, name.as_ref()?))) {
        if node.names.iter().take(axis).flatten().any(|before| before == name) {
            findings.error("AR04", place, format!("two of its dimensions are called `{name}`"), help);
        }
    }
}

fn codecs(node: &Node, format: OutputFormat, ours: bool, findings: &Findings) {
    let core: &[&str] = if format == OutputFormat::Zarr2 { &CORE_TWO } else { &CORE_THREE };
    let place = (node.path.as_str(), "");
    for codec in node.codecs.iter().filter(|codec| !core.contains(&codec.as_str())) {
        let message = format!("codec `{codec}` is not in the core of zarr-python: some readers cannot open this array");
        if ours && codec.starts_with("numcodecs.") {
            findings.warning("AR05", place, message, "the recipe chose it; `blosc`, `zstd` and `gzip` are read everywhere");
        } else {
            findings.error("AR05", place, message, "store it with `blosc`, `zstd` or `gzip`");
        }
    }
    if node.dtype.is_none() {
        findings.warning(
            "AR05",
            place,
            format!("type `{}` is not one that gristmill reads: its values are not checked", node.type_name),
            "",
        );
    }
}

/// AR14, AR15, AR25: what attributes name is there.
fn references(stored: &Stored, node: &Node, findings: &Findings) {
    let place = (node.path.as_str(), "");
    for name in node.text("coordinates").unwrap_or_default().split_whitespace() {
        if stored.named(node.group(), name).is_none() {
            let message = format!("`coordinates` names `{name}`, which is not there");
            findings.error("AR15", place, message, "correct the attribute, or add the coordinate");
        }
    }
    let Some(mapping) = node.text("grid_mapping") else { return };
    let extended = mapping.contains(':');
    for name in mapping.split_whitespace().filter(|word| !extended || word.ends_with(':')) {
        let name = name.trim_end_matches(':');
        match stored.named(node.group(), name) {
            None => findings.error(
                "AR25",
                place,
                format!("`grid_mapping` names `{name}`, which is not there"),
                "keep that variable, or drop the attribute",
            ),
            Some(other) if !["grid_mapping_name", "crs_wkt", "spatial_ref"].iter().any(|key| other.attributes.contains_key(*key)) => {
                let message = format!("`grid_mapping` names `{name}`, which has neither `grid_mapping_name` nor `crs_wkt`");
                findings.warning("AR25", place, message, "set one of them with the step `attrs`");
            }
            Some(_) => {}
        }
    }
}

/// AR12, AR30.
fn layout(node: &Node, findings: &Findings) {
    let place = (node.path.as_str(), "");
    let (objects, object, chunk) = (node.objects.chunks(), node.object_bytes(), elements(&node.chunk).saturating_mul(node.item()));
    let whole = elements(node.shape()).saturating_mul(node.item());
    if node.is_index() && objects > COORDINATE_CHUNKS && object < COORDINATE_CHUNK {
        let message =
            format!("this coordinate is in {objects} chunks of {}: each costs a request before the dataset is open", ByteSize(object));
        findings.warning("AR12", place, message, "store it in one chunk, or in chunks of 1 MiB");
    }
    if object > LARGEST_OBJECT {
        findings.warning(
            "AR30",
            place,
            format!("one object holds {}", ByteSize(object)),
            "readers hold all of it: make it smaller than 1 GiB",
        );
    }
    if objects > MOST_OBJECTS {
        findings.warning("AR30", place, format!("it has {objects} objects"), "use larger chunks, or shards");
    }
    if whole >= LARGE && !CHUNKS.contains(&chunk) {
        findings.warning("AR30", place, format!("its chunks hold {}", ByteSize(chunk)), "1 to 100 MiB suit most readers");
    }
}

/// AR10: every dimension has a coordinate of its name, but those that only bounds have.
fn indexes(stored: &Stored, findings: &Findings) {
    let mut lacking: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for node in stored.arrays.iter().filter(|node| !is_bounds(stored, node)) {
        for name in node.names.iter().flatten() {
            let group = node.group();
            if stored.named(group, name).is_none() {
                *lacking.entry((group, name)).or_default() += 1;
            }
        }
    }
    for ((group, name), arrays) in lacking {
        let message = format!("dimension `{name}` of {arrays} arrays has no coordinate: it can be selected by number only");
        findings.warning("AR10", (group, ""), message, "");
    }
}

/// True if some array of the same group names this one as its bounds.
pub(super) fn is_bounds(stored: &Stored, node: &Node) -> bool {
    let names = |other: &Node| ["bounds", "climatology"].iter().any(|key| other.text(key) == Some(node.leaf()));
    stored.members(node.group()).any(names)
}

/// AR15: two-dimensional latitudes and longitudes are announced as coordinates.
fn coordinates(stored: &Stored, findings: &Findings) {
    for node in stored.arrays.iter().filter(|node| !node.is_index() && !is_bounds(stored, node)) {
        let is_place = matches!(node.text("standard_name"), Some("latitude" | "longitude"));
        let announces = |text: &str| text.split_whitespace().any(|name| name == node.leaf());
        let by_array = stored.arrays.iter().any(|other| other.text("coordinates").is_some_and(announces));
        let by_group = || stored.groups.get(node.group()).and_then(|map| map.get("coordinates")?.as_str()).is_some_and(announces);
        if is_place && !by_array && !by_group() {
            let message = "no `coordinates` attribute names it: xarray takes it for data";
            findings.warning("AR15", (&node.path, ""), message, "name it with the step `set_coords`");
        }
    }
}

/// AR28.
fn discovery(stored: &Stored, findings: &Findings) {
    let root = stored.groups.get("");
    let said = |name: &&str| root.and_then(|root| root.get(*name)).is_some_and(|value| !is_empty(value));
    let absent: Vec<String> = DISCOVERY.iter().filter(|name| !said(name)).map(|name| format!("`{name}`")).collect();
    if !absent.is_empty() {
        let message = format!("the dataset does not say its {}", absent.join(", "));
        findings.warning("AR28", ("", ""), message, "say it in the recipe, or with the step `attrs`");
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Path of the bounds of an array.
pub(super) fn bounds_of(node: &Node) -> Option<String> {
    node.text("bounds").map(|name| below(node.group(), name))
}
