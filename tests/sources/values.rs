//! HDF5 values that are easily read wrong: numbers that do not fill their bytes, texts that are not UTF-8, chunks that were never written.
//! Compared with what netCDF-C and h5py read (`tests/data/hdf5-values/make.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill::array::{Array, Scalar};
use gristmill::grid::Region;
use gristmill::layout::Layout;
use gristmill::source::{self, Source, SourceError, fetch::read_stored};
use gristmill::store::SourceStore;

use crate::local::Local;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hdf5-values")
}

fn open(file: &str) -> (Arc<dyn SourceStore>, String, Box<dyn Source>) {
    let (store, url) = (Local::files(), folder().join(file).display().to_string());
    let source = source::open(&store, &url).unwrap();
    (store, url, source)
}

fn expected(file: &str) -> BTreeMap<String, serde_json::Value> {
    let all: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap();
    all[file].clone()
}

/// By the source's own read, and for numbers by ours, which must agree.
fn read(file: &str, variable: &str) -> Result<Array, SourceError> {
    let (store, url, source) = open(file);
    let stored = source.stored(variable)?;
    let region = Region::whole(&stored.shape);
    let array = source.read(variable, &region)?;
    if !matches!(stored.layout, Layout::Free { .. }) {
        assert_eq!(read_stored(&*store, &url, variable, &stored, &region)?, array, "{file} {variable}");
    }
    Ok(array)
}

#[test]
fn numbers_that_do_not_fill_their_bytes_are_refused() {
    for variable in ["whole", "whole_nbit"] {
        let numbers: Vec<Scalar> = read("bits.h5", variable).unwrap().scalars().collect();
        assert_eq!(numbers, [-1, 5, -2000, 7].map(Scalar::Int16), "{variable}");
    }
    for variable in ["narrow", "shifted", "narrow_nbit", "committed", "biased"] {
        let refused = read("bits.h5", variable).unwrap_err();
        assert!(matches!(&refused, SourceError::Unsupported { variable: named, .. } if named == variable), "{refused}");
        assert!(refused.to_string().contains("do not fill their bytes"), "{refused}");
    }
}

#[test]
fn elements_never_written_are_what_netcdf_c_reads() {
    for (variable, values) in expected("unwritten.nc") {
        let values: Vec<f64> = serde_json::from_value(values).unwrap();
        match read("unwritten.nc", &variable) {
            Ok(read) => {
                let read: Vec<f64> = read.scalars().map(Scalar::as_f64).collect();
                assert!(!["both", "edge"].contains(&variable.as_str()), "{variable} is read as {read:?}");
                assert_eq!(read, values, "{variable}");
            }
            Err(refused) => {
                assert!(["both", "edge"].contains(&variable.as_str()), "{refused}");
                assert!(refused.to_string().contains("shorter than its dimension"), "{refused}");
            }
        }
    }
}

#[test]
fn what_lies_behind_the_end_is_read_only_where_chunks_were_filled() {
    for (variable, values) in expected("unfilled.nc") {
        let read = read("unfilled.nc", &variable);
        if variable == "garbage" {
            assert!(read.unwrap_err().to_string().contains("NC_NOFILL"));
        } else {
            let values: Vec<i16> = serde_json::from_value(values).unwrap();
            assert_eq!(
                read.unwrap().scalars().collect::<Vec<_>>(),
                values.into_iter().map(Scalar::Int16).collect::<Vec<_>>(),
                "{variable}"
            );
        }
    }
}

#[test]
fn texts_never_written_are_the_declared_text() {
    for file in ["texts.h5", "strings.nc"] {
        for (variable, texts) in expected(file) {
            let texts: Vec<String> = serde_json::from_value(texts).unwrap();
            assert_eq!(read(file, &variable).unwrap().texts(), texts, "{file} {variable}");
            let (_, _, source) = open(file);
            let last = Region::new(vec![texts.len() as u64 - 1], vec![1]);
            assert_eq!(source.read(&variable, &last).unwrap().texts(), &texts[texts.len() - 1..], "{file} {variable}");
        }
    }
}

#[test]
fn texts_that_are_not_utf8_are_latin1() {
    assert_eq!(read("texts.h5", "fixed").unwrap().texts(), ["café", "café"]);
    assert_eq!(read("texts.h5", "free").unwrap().texts(), ["°C", "K"]);
    let (_, _, source) = open("texts.h5");
    assert_eq!(source.schema().variable("fixed").unwrap().attributes.text("unit"), Some("°C"));
}
