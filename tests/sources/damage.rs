//! Damaged files: refused, or read as far as they are whole; never a panic, a hang or zeros.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use gristmill::array::{Array, DataType};
use gristmill::grid::Region;
use gristmill::source::{self, SourceError, fetch};
use gristmill::store::SourceStore;

use crate::facts;
use crate::local::{Breaking, Local, shared};

/// Longest time that any damaged file may take.
const LIMIT: Duration = Duration::from_secs(20);

/// All values of a file, or the first error. Runs in a thread of its own, so that a hang fails the test instead of stopping it.
fn read_all(store: Arc<dyn SourceStore>, url: &str) -> Result<Vec<(String, Array)>, SourceError> {
    let (send, receive) = mpsc::channel();
    let name = url.to_owned();
    let thread = std::thread::spawn(move || send.send(read_whole(&store, &name)));
    let found = receive.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{url}: {error}"));
    thread.join().expect("no panic").ok();
    found
}

fn read_whole(store: &Arc<dyn SourceStore>, url: &str) -> Result<Vec<(String, Array)>, SourceError> {
    let source = source::open(store, url)?;
    let mut values = Vec::new();
    for variable in &source.schema().variables {
        let region = Region::whole(&source.schema().shape(variable));
        let ours = match variable.dtype {
            DataType::String => source.read(&variable.name, &region)?,
            _ => fetch::read_stored(store.as_ref(), url, &variable.name, &source.stored(&variable.name)?, &region)?,
        };
        values.push((variable.name.clone(), ours));
    }
    Ok(values)
}

fn message(file: &str) -> String {
    let path = shared().join("data/corrupt").join(file).to_string_lossy().into_owned();
    let message = read_all(Local::files(), &path).err().unwrap_or_else(|| panic!("{file} is not refused")).to_string();
    assert!(message.contains(&path), "{message}");
    message.replace(&path, "FILE")
}

#[test]
fn corrupt_files_are_refused_with_the_reason() {
    for (file, expected) in [
        ("DUMMY.nc", "FILE: the file is empty"),
        ("derived/zero_bytes.nc", "FILE: the file is empty"),
        ("bad_cdf5_begin.nc", "FILE: the NetCDF header is damaged"),
        ("derived/html_error_page.nc", "FILE: this is an HTML page, not data: `<"),
        ("derived/leading_garbage.nc", "FILE: neither NetCDF nor HDF5: it begins with the bytes"),
        ("derived/truncated_classic.nc", "FILE: truncated: its header describes 153808 bytes but the file has 92284"),
        ("derived/truncated_hdf5.nc", "FILE: truncated: its header says 225284 bytes but the file has 135170"),
        ("derived/bitflip_in_chunk_of_LONGITUDE.nc", "FILE: variable `LONGITUDE`: chunk [0, 0]"),
        ("derived/truncated.grib", "FILE: this is a GRIB file"),
        ("era5-levels-corrupted.grib", "FILE: this is a GRIB file"),
    ] {
        let message = message(file);
        assert!(message.starts_with(expected), "{file}: {message}");
    }
}

#[test]
fn a_wrong_magic_that_netcdf_c_accepts_is_read() {
    let path = shared().join("data/corrupt/ref_test_corrupt_magic.nc").to_string_lossy().into_owned();
    let values = read_all(Local::files(), &path).unwrap();
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].1.shape, [8]);
}

/// Small files of every layout.
fn small() -> Vec<(String, Vec<u8>)> {
    let wanted = |name: &str| {
        ["hdf5-features-pyfive/", "netcdf-c-reference/"].iter().any(|set| name.starts_with(set)) || name.ends_with("13857_meta.nc")
    };
    let found = facts::all().into_iter().filter(|fact| wanted(&fact.name)).map(|fact| (fact.name, std::fs::read(&fact.path).unwrap()));
    found.filter(|(_, bytes)| bytes.len() < 30_000).collect()
}

#[test]
fn a_truncated_file_never_gives_other_values() {
    let mut refused = 0;
    for (name, bytes) in small() {
        let Ok(whole) = read_all(Local::bytes(bytes.clone()), "file") else { continue };
        for cut in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
            match read_all(Local::bytes(bytes[..cut].to_vec()), "file") {
                Err(_) => refused += 1,
                Ok(values) => assert!(values == whole, "{name} cut to {cut} of {} bytes gives other values", bytes.len()),
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn flipped_bits_never_panic_or_hang() {
    let mut changed = 0;
    for (name, bytes) in small() {
        for step in 0..60 {
            let mut flipped = bytes.clone();
            // Spread over the file, denser at its start, where the headers are.
            let at = if step % 2 == 0 { step * bytes.len() / 60 } else { step * 2048.min(bytes.len()) / 60 };
            flipped[at] ^= 1 << (step % 8);
            if read_all(Local::bytes(flipped), "file").is_err() {
                changed += 1;
            }
        }
        assert!(!name.is_empty());
    }
    assert!(changed > 100, "{changed}");
}

#[test]
fn every_flipped_bit_in_a_deflated_chunk_is_found() {
    let path = shared().join("data/hdf5-features-pyfive/filter_pipeline_v2.hdf5");
    let bytes = std::fs::read(path).unwrap();
    let source = source::open(&Local::bytes(bytes.clone()), "file").unwrap();
    let stored = source.stored("data").unwrap();
    let gristmill::layout::Layout::Chunked(table) = &stored.layout else { panic!("{stored:?}") };
    let entry = table.entries[0];
    let whole = Region::whole(&stored.shape);
    let read = |bytes: Vec<u8>| fetch::read_stored(Local::bytes(bytes).as_ref(), "file", "data", &stored, &whole);
    let right = read(bytes.clone()).unwrap();
    for at in 0..u64::from(entry.length) {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[(entry.offset + at) as usize] ^= 1 << bit;
            // The two bytes before the checksum's hold flags that change nothing; everything else must be found.
            if let Ok(values) = read(flipped) {
                assert!(values == right, "bit {bit} of byte {at} of the chunk");
            }
        }
    }
}

#[test]
fn a_broken_connection_is_never_told_as_a_broken_file() {
    for file in ["tempo-no2-groups/TEMPO_NO2_L2_V03_20240601T210934Z_S012G01_subsetted.nc4", "coads-climatology/coads_climatology.cdf"] {
        let path = shared().join("data").join(file).to_string_lossy().into_owned();
        let mut whole = false;
        for calls in 0..200 {
            let store: Arc<dyn SourceStore> = Arc::new(Breaking { inner: Local::files(), calls: calls.into() });
            match read_all(store, &path) {
                Ok(_) => {
                    whole = true;
                    break;
                }
                Err(SourceError::Store(error)) => assert_eq!(error.kind, gristmill::store::ErrorKind::Temporary),
                Err(other) => panic!("after {calls} calls: {other}"),
            }
        }
        assert!(whole, "{file} takes more than 200 requests");
    }
}
