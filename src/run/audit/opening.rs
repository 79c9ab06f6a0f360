//! What it takes to open a store: whether anybody can (AR01), and how many requests it is (AR02).
//!
//! Not what programs make of it then: `ci/oracle.sh` opens stores with xarray, zarr-python and netCDF4. Invariant: nothing is asked for but
//! the root's metadata.

use super::finding::Findings;
use super::stored::Stored;
use crate::recipe::OutputFormat;
use crate::store::{self, Access, ErrorKind};
use crate::target::{self, TargetError};

/// Requests by which a dataset is open.
const REQUESTS: u64 = 10;

/// AR02: the metadata, and the coordinates that xarray reads at once, in requests.
pub(super) fn requests(stored: &Stored, findings: &Findings) {
    let documents = if stored.is_consolidated { 1 } else { stored.metadata.len() as u64 };
    let coordinates: u64 = stored.arrays.iter().filter(|node| node.is_index()).map(|node| node.objects.chunks()).sum();
    let all = documents.saturating_add(coordinates);
    let told = format!("opening it takes {all} requests at least: {documents} for metadata, {coordinates} for coordinates of dimensions");
    if all > REQUESTS {
        let help = "each is a round trip: consolidate the metadata, store each coordinate in one chunk";
        findings.warning("AR02", ("", ""), told, help);
    } else {
        findings.note("AR02", "", told);
    }
}

/// AR01: the root's metadata is shown to somebody without credentials too. Of a local store there is nothing to ask.
pub(super) fn anonymously(root: &str, format: OutputFormat, access: &Access, findings: &Findings) {
    if !store::is_far(root) || !access.has_keys(root) {
        return;
    }
    let anonymous = access.anonymous();
    let key = if format == OutputFormat::Zarr3 { "zarr.json" } else { ".zmetadata" };
    match target::existing(root, &anonymous).and_then(|store| Ok(store.get(key)?)) {
        Ok(Some(_)) => findings.note("AR01", "", "its metadata can be read without credentials"),
        Ok(None) => told(findings, "without credentials its metadata is not to be seen"),
        Err(TargetError::Store(error)) if error.kind == ErrorKind::Forbidden => told(findings, "it cannot be read without credentials"),
        Err(error) => told(findings, &format!("whether it can be read without credentials could not be found out: {error}")),
    }
}

fn told(findings: &Findings, message: &str) {
    findings.warning(
        "AR01",
        ("", ""),
        message,
        "if it is meant for everybody, let the bucket's policy allow everybody to read objects (`s3:GetObject`)",
    );
}
