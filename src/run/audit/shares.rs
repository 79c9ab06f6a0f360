//! How much of each variable is missing, block by block along its first dimension (AR42): a block without any value, or with far fewer than
//! the others, is where an archive lost something.
//!
//! Counted of the objects that are read anyway. What a recipe expects (`missing_values`) was judged before the commit. Invariant: memory
//! grows with the blocks along one dimension of each array, not with objects.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::finding::Findings;
use super::node::Node;
use crate::array::Array;
use crate::cf::statistics::{Counting, Statistics};
use crate::dataset::Variable;

/// Blocks from which on one can stand out.
const BLOCKS: usize = 4;
/// How far from the usual share a block's is that stands out.
const LEAP: f64 = 0.5;

/// What was counted: by array, then by the number of the block.
#[derive(Debug, Default)]
pub(super) struct Shares {
    counted: Mutex<BTreeMap<String, BTreeMap<u64, Statistics>>>,
}

impl Shares {
    /// Counts an object's values.
    pub(super) fn see(&self, node: &Node, variable: &Variable, index: &[u64], values: &Array) {
        if node.is_index() || node.objects.counts().first().is_none_or(|&blocks| (blocks as usize) < BLOCKS) {
            return;
        }
        let (Some(counting), Some(&block)) = (Counting::of(variable), index.first()) else { return };
        let counted = counting.array(values);
        let mut all = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(node.path.clone()).or_default().entry(block).or_default().add(&counted);
    }

    /// Tells what stands out.
    pub(super) fn tell(&self, nodes: &[Node], findings: &Findings) {
        let all = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for node in nodes {
            if let Some(blocks) = all.get(&node.path) {
                judge(node, blocks, findings);
            }
        }
    }
}

fn share(counted: &Statistics) -> f64 {
    if counted.values == 0 { 0.0 } else { counted.missing as f64 / counted.values as f64 }
}

fn judge(node: &Node, blocks: &BTreeMap<u64, Statistics>, findings: &Findings) {
    let mut shares: Vec<f64> = blocks.values().map(share).collect();
    shares.sort_by(f64::total_cmp);
    let Some(&usual) = shares.get(shares.len() / 2).filter(|_| shares.len() >= BLOCKS) else { return };
    let dimension = node.names.first().cloned().flatten().unwrap_or_default();
    let place = (node.path.as_str(), "");
    let of = blocks.len();
    let length = node.objects.chunk.first().copied().unwrap_or(1);
    let at = |block: u64| format!("`{dimension}` {} to {}", block * length, (block + 1) * length - 1);
    let mut empty = blocks.iter().filter(|(_, counted)| counted.values > 0 && counted.valid() == 0);
    if usual < 1.0
        && let Some((&first, _)) = empty.next()
    {
        let message = format!("{} of {of} blocks along `{dimension}` hold no value at all, the first at {}", 1 + empty.count(), at(first));
        findings.warning("AR42", place, message, "compare with the source (`--against-source`), or say to users what is missing");
    }
    let mut leaps = blocks.iter().filter(|(_, counted)| counted.valid() > 0 && (share(counted) - usual).abs() > LEAP);
    if let Some((&first, counted)) = leaps.next() {
        let (there, usual) = (100.0 * share(counted), 100.0 * usual);
        let message = format!(
            "{} of {of} blocks along `{dimension}` have far more or fewer missing values than the others ({usual:.0} %), the first, {there:.0} %, at {}",
            1 + leaps.count(),
            at(first)
        );
        findings.warning("AR42", place, message, "compare with the source (`--against-source`), or say to users what is missing");
    }
    let (least, most) = (shares.first().copied().unwrap_or(0.0), shares.last().copied().unwrap_or(0.0));
    if most > 0.0 {
        findings.note(
            "AR42",
            &node.path,
            format!("{:.1} % to {:.1} % of the values are missing, by blocks along `{dimension}`", 100.0 * least, 100.0 * most),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is told of blocks of 100 values each, so many of them missing.
    fn told(missing: &[u64]) -> Vec<String> {
        let document = json!({
            "shape": [2 * missing.len(), 50], "data_type": "float32", "chunk_grid": {"configuration": {"chunk_shape": [2, 50]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes"}], "fill_value": "NaN", "dimension_names": ["time", "x"],
        });
        let (node, findings) = (Node::three("t", &document).unwrap(), Findings::default());
        let counted = |(block, &missing): (usize, &u64)| (block as u64, Statistics { values: 100, missing, ..Statistics::default() });
        judge(&node, &missing.iter().enumerate().map(counted).collect(), &findings);
        findings.finish().into_iter().map(|finding| format!("{} {}", finding.level.name(), finding.message)).collect()
    }

    #[test]
    fn blocks_that_stand_out_are_told() {
        assert!(told(&[0, 0, 0, 0, 0]).is_empty());
        let land = told(&[30, 31, 29, 30]);
        assert!(land.len() == 1 && land[0].starts_with("note 29.0 % to 31.0 %"), "{land:?}");
        let hole = told(&[30, 100, 30, 30, 100]);
        assert!(hole[0].starts_with("warning 2 of 5 blocks along `time` hold no value at all, the first at `time` 2 to 3"), "{hole:?}");
        let leap = told(&[30, 30, 30, 95, 30]);
        assert!(leap[0].contains("1 of 5 blocks") && leap[0].contains("(30 %)") && leap[0].contains("95 %, at `time` 6 to 7"), "{leap:?}");
        // Where nothing is ever measured nothing stands out, nor among few.
        assert!(told(&[100, 100, 100, 100]).iter().all(|told| told.starts_with("note")));
        assert!(told(&[0, 100, 0]).is_empty());
    }
}
