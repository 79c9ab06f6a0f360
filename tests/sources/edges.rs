//! Chunks at a dataset's edge that HDF5 stored without filters, compared with what h5py read.

use std::collections::BTreeMap;
use std::path::Path;

use gristmill::array::DataType;
use gristmill::grid::Region;
use gristmill::layout::Layout;
use gristmill::source::{self, fetch::read_stored};

use crate::local::Local;

#[derive(serde::Deserialize)]
struct Expected {
    shape: Vec<u64>,
    values: Vec<i32>,
}

#[test]
fn unfiltered_edge_chunks_have_the_values_that_h5py_reads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/edge-chunks");
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Expected>> = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.len(), 2);
    for (file, datasets) in expected {
        let (store, url) = (Local::files(), folder.join(&file).display().to_string());
        let source = source::open(&store, &url).unwrap();
        for (name, Expected { shape, values }) in datasets {
            let stored = source.stored(&name).unwrap();
            let region = Region::whole(&stored.shape);
            assert_eq!((&stored.shape, stored.dtype), (&shape, DataType::Int32), "{file} {name}");
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
            assert!(read_stored(&*store, &url, &name, &stored, &region).unwrap().bytes() == bytes, "{file} {name}");
            assert!(source.read(&name, &region).unwrap().bytes() == bytes, "{file} {name}, read by the source");
            let Layout::Chunked(table) = &stored.layout else { panic!("{file} {name} is not chunked") };
            let unfiltered = table.entries.iter().filter(|entry| entry.skipped == u32::MAX).count();
            let inside = region.shape.iter().zip(&table.grid.chunk).map(|(length, chunk)| (length / chunk) as usize).product::<usize>();
            let edges = if name == "all_filtered" { 0 } else { table.entries.len() - inside };
            assert_eq!(unfiltered, edges, "{file} {name}");
        }
    }
}
