//! Names of dimensions: from dimension scales as netCDF-4 attaches them, invented as netCDF-C does where there are none.
//!
//! Invariant: every axis of every dataset gets the number of a dimension at least as long as the axis.

use std::collections::HashMap;

use hdf5_reader::Dataset;

use super::attributes::{self, Owner};
use super::tree::{Node, is_scale};
use crate::dataset::Dimension;

/// What netCDF-C calls a scale that is only a dimension.
const NO_VARIABLE: &str = "This is a netCDF dimension but not a netCDF variable";

/// All dimensions, and which of them each dataset has.
pub(super) struct Dimensions {
    pub(super) all: Vec<Dimension>,
    /// By (position of the group, position of the dataset in it): `None` for scales that hold no variable.
    pub(super) of: HashMap<(usize, usize), Option<Vec<usize>>>,
}

/// Finds the dimensions of every dataset.
pub(super) fn find(nodes: &[Node]) -> Dimensions {
    let mut finder = Finder::default();
    finder.declare(nodes);
    finder.attach(0, nodes);
    for (number, dimension) in finder.all.iter_mut().enumerate() {
        if let Some(longest) = finder.extents.get(&number).filter(|_| dimension.unlimited) {
            dimension.length = dimension.length.max(*longest);
        }
    }
    Dimensions { all: finder.all, of: finder.of }
}

#[derive(Default)]
struct Finder {
    all: Vec<Dimension>,
    of: HashMap<(usize, usize), Option<Vec<usize>>>,
    by_address: HashMap<u64, usize>,
    by_id: HashMap<i64, usize>,
    /// Dimensions that each group declares, invented ones included.
    in_group: HashMap<usize, Vec<usize>>,
    /// Longest axis that uses an unlimited dimension.
    extents: HashMap<usize, u64>,
    /// Number in the name of the next invented dimension.
    next: usize,
}

impl Finder {
    /// Lists the scales of the file in the order of their `_Netcdf4Dimid`, as netCDF does.
    fn declare(&mut self, nodes: &[Node]) {
        let mut scales = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            for dataset in node.datasets.iter().filter(|dataset| is_scale(dataset) && dataset.ndim() > 0) {
                let id = dataset.attribute("_Netcdf4Dimid").ok();
                let id = id.and_then(|id| attributes::integers_of(&id, Owner::Dataset(dataset))).and_then(|ids| ids.first().copied());
                scales.push((id, at, dataset));
            }
        }
        scales.sort_by_key(|(id, ..)| id.unwrap_or(i64::MAX));
        for (id, at, dataset) in scales {
            let Some(node) = nodes.get(at) else { continue };
            let number = self.add(at, node.join(dataset.name()), axis(dataset, 0));
            self.by_address.insert(dataset.address(), number);
            if let Some(id) = id {
                self.by_id.insert(id, number);
            }
        }
        self.next = self.all.len();
    }

    fn add(&mut self, group: usize, name: String, (length, unlimited): (u64, bool)) -> usize {
        let number = self.all.len();
        self.all.push(Dimension { name, length, unlimited });
        self.in_group.entry(group).or_default().push(number);
        number
    }

    /// Groups inside come first: that is the order in which netCDF-C numbers the dimensions that it invents.
    fn attach(&mut self, at: usize, nodes: &[Node]) {
        let Some(node) = nodes.get(at) else { return };
        for &child in &node.children {
            self.attach(child, nodes);
        }
        for (number, dataset) in node.datasets.iter().enumerate() {
            let found = if holds_no_variable(dataset) { None } else { Some(self.axes(at, node, dataset)) };
            for (axis_number, &dimension) in found.iter().flatten().enumerate() {
                let longest = self.extents.entry(dimension).or_default();
                *longest = (*longest).max(axis(dataset, axis_number).0);
            }
            self.of.insert((at, number), found);
        }
    }

    fn axes(&mut self, group: usize, node: &Node, dataset: &Dataset) -> Vec<usize> {
        let mut chosen: Vec<Option<usize>> = self.attached(dataset);
        chosen.resize(dataset.ndim(), None);
        let mut axes = Vec::with_capacity(chosen.len());
        for (number, found) in chosen.into_iter().enumerate() {
            let shape = axis(dataset, number);
            let found = found.filter(|&dimension| self.fits(dimension, shape));
            let dimension = found.unwrap_or_else(|| self.invent(group, node, shape, &axes));
            axes.push(dimension);
        }
        axes
    }

    /// A damaged file may attach a scale of another length.
    fn fits(&self, dimension: usize, (length, unlimited): (u64, bool)) -> bool {
        self.all.get(dimension).is_some_and(|found| found.length == length || (found.unlimited && (unlimited || length <= found.length)))
    }

    fn attached(&self, dataset: &Dataset) -> Vec<Option<usize>> {
        let owner = Owner::Dataset(dataset);
        let coordinates = || {
            let ids = dataset.attribute("_Netcdf4Coordinates").ok().and_then(|ids| attributes::integers_of(&ids, owner))?;
            (ids.len() == dataset.ndim()).then(|| ids.iter().map(|id| self.by_id.get(id).copied()).collect())
        };
        if let Some(&own) = self.by_address.get(&dataset.address()) {
            return if dataset.ndim() == 1 { vec![Some(own)] } else { coordinates().unwrap_or_else(|| vec![Some(own)]) };
        }
        let listed: Vec<Option<usize>> =
            scale_addresses(dataset).iter().map(|address| self.by_address.get(&(*address)?).copied()).collect();
        if listed.iter().any(Option::is_some) { listed } else { coordinates().unwrap_or(listed) }
    }

    /// A dimension of the group of the same length, or a new one named as netCDF-C names it.
    fn invent(&mut self, group: usize, node: &Node, shape: (u64, bool), taken: &[usize]) -> usize {
        let known = self.in_group.get(&group).map(Vec::as_slice).unwrap_or_default();
        let same = |&&number: &&usize| {
            !taken.contains(&number) && self.all.get(number).is_some_and(|found| (found.length, found.unlimited) == shape)
        };
        if let Some(&number) = known.iter().find(same) {
            return number;
        }
        let name = node.join(&format!("phony_dim_{}", self.next));
        self.next += 1;
        self.add(group, name, shape)
    }
}

/// Length of an axis, and whether it may grow.
fn axis(dataset: &Dataset, number: usize) -> (u64, bool) {
    let length = dataset.shape().get(number).copied().unwrap_or(0);
    (length, dataset.max_dims().and_then(|most| most.get(number)) == Some(&u64::MAX))
}

fn holds_no_variable(dataset: &Dataset) -> bool {
    is_scale(dataset)
        && dataset
            .attribute("NAME")
            .is_ok_and(|name| attributes::text_of(&name, Owner::Dataset(dataset)).is_some_and(|name| name.starts_with(NO_VARIABLE)))
}

/// Addresses of the scales attached to each axis (`DIMENSION_LIST`: one sequence of object references per axis).
fn scale_addresses(dataset: &Dataset) -> Vec<Option<u64>> {
    let Ok(list) = dataset.attribute("DIMENSION_LIST") else { return Vec::new() };
    let entry = dataset.vlen_reference_size();
    let reference = entry.saturating_sub(8);
    list.raw_data
        .chunks_exact(entry.max(1))
        .take(dataset.ndim())
        .map(|sequence| {
            let references = dataset.resolve_vlen_reference_bytes(sequence, reference).ok()?;
            hdf5_reader::reference::read_object_references(references.get(..reference)?, reference as u8).ok()?.first().copied()
        })
        .collect()
}
