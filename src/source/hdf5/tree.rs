//! The groups and datasets of an HDF5 file, in one list.
//!
//! Invariant: every group is visited once, whatever its links do, and no deeper than [`DEEPEST`].

use std::collections::HashSet;

use hdf5_reader::error::Error;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Hdf5File};

use super::attributes::{self, Owner};
use super::names::Names;
use crate::source::ceiling::Ceiling;

/// Deepest nesting of groups that is followed.
const DEEPEST: usize = 64;

/// Longest path of a group, and longest name, in bytes: the path stands before every name in it. netCDF allows 256 for a name.
const LONGEST_PATH: usize = 4096;

/// What netCDF-C puts before the name of a variable that is named like a dimension but is not its coordinate.
const NO_COORDINATE: &str = "_nc4_non_coord_";

/// One group with its datasets.
pub(super) struct Node {
    /// Path without leading slash; empty for the root.
    pub(super) path: String,
    pub(super) group: Group,
    pub(super) datasets: Vec<Dataset>,
    /// Positions of the groups inside it, in the list of all.
    pub(super) children: Vec<usize>,
}

impl Node {
    /// The path of something inside this group.
    pub(super) fn join(&self, name: &str) -> String {
        let name = name.rsplit('/').next().unwrap_or(name).replace('\0', "");
        let name = name.strip_prefix(NO_COORDINATE).map_or(name.clone(), str::to_owned);
        if self.path.is_empty() { name } else { format!("{}/{name}", self.path) }
    }
}

/// All groups, each before those inside it.
pub(super) fn walk(file: &Hdf5File, ceiling: Ceiling) -> Result<Vec<Node>, Error> {
    let mut walk = Walk { file, names: Names::new(ceiling.bytes()), nodes: Vec::new(), seen: HashSet::new() };
    walk.visit(file.root_group()?, String::new(), 0)?;
    Ok(walk.nodes)
}

struct Walk<'a> {
    file: &'a Hdf5File,
    names: Names,
    nodes: Vec<Node>,
    seen: HashSet<u64>,
}

impl Walk<'_> {
    fn visit(&mut self, group: Group, path: String, depth: usize) -> Result<Option<usize>, Error> {
        if path.len() > LONGEST_PATH {
            return Err(Error::InvalidData(format!("a path of groups has {} bytes", path.len())));
        }
        if depth > DEEPEST {
            return Err(Error::InvalidData(format!("groups are nested more than {DEEPEST} deep")));
        }
        if !self.seen.insert(group.address()) {
            return Ok(None);
        }
        self.names.count(self.file, group.address())?;
        let (inside, datasets) = group.members()?;
        if let Some(dataset) = datasets.iter().find(|dataset| dataset.name().len() > LONGEST_PATH) {
            return Err(Error::InvalidData(format!("a name has {} bytes", dataset.name().len())));
        }
        for dataset in &datasets {
            self.names.count(self.file, dataset.address())?;
        }
        let position = self.nodes.len();
        self.nodes.push(Node { path, group, datasets, children: Vec::new() });
        for child in inside {
            let Some(path) = self.nodes.get(position).map(|node| node.join(child.name())) else { continue };
            if let Some(number) = self.visit(child, path, depth + 1)?
                && let Some(node) = self.nodes.get_mut(position)
            {
                node.children.push(number);
            }
        }
        Ok(Some(position))
    }
}

/// True if netCDF-4 wrote the file: only then do its default fill values apply.
pub(super) fn is_netcdf4(nodes: &[Node]) -> bool {
    let root = nodes.first().and_then(|node| node.group.attributes().ok()).unwrap_or_default();
    let marked = |name: &str| matches!(name, "_NCProperties" | "_nc3_strict" | "_Netcdf4Dimid" | "_Netcdf4Coordinates");
    root.iter().any(|attribute| marked(&attribute.name))
        || nodes.iter().flat_map(|node| &node.datasets).any(|dataset| dataset.attributes().iter().any(|attribute| marked(&attribute.name)))
}

/// True if the dataset is a dimension scale (HDF5 Dimension Scale Specification, `CLASS`).
pub(super) fn is_scale(dataset: &Dataset) -> bool {
    dataset.attribute("CLASS").is_ok_and(|class| attributes::text_of(&class, Owner::Dataset(dataset)).as_deref() == Some("DIMENSION_SCALE"))
}
