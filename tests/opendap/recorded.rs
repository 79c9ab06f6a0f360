//! DAP4 answers of real Hyrax servers, recorded, behind a server of our own.
//!
//! The expected values are taken from the files' bytes here, by chunk lengths alone.

use std::path::PathBuf;

use super::server::{Server, reply};
use super::{inspect, statistics};

fn recorded(name: &str) -> Vec<u8> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("GRISTMILL_SHARED").map_or_else(beside, PathBuf::from);
    std::fs::read(shared.join("data/dap4-recorded-responses").join(name)).unwrap()
}

/// The bytes of all chunks, the DMR apart.
fn chunks(mut rest: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    while let [_, a, b, c, after @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        chunks.push(after[..length].to_vec());
        rest = &after[length..];
    }
    (chunks.remove(0), chunks.concat())
}

/// A server that knows one dataset, and gives the recorded answer whatever part is asked for.
fn serve(name: &str) -> Server {
    let answer = recorded(name);
    let (dmr, _) = chunks(&answer);
    Server::start(move |request, _| match request.path.split_once('?').map_or(request.path.as_str(), |(path, _)| path) {
        "/d.dmr.xml" => reply("200 OK", &[("Content-Type", "text/xml")], &dmr),
        "/d.dap" => reply("200 OK", &[("Content-Type", "application/vnd.opendap.dap4.data")], &answer),
        _ => reply("404 Not Found", &[], b""),
    })
}

fn facts(values: impl Iterator<Item = f64>) -> (f64, f64, f64, u64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY, 0.0, 0), |(low, high, sum, count), value| {
        (low.min(value), high.max(value), sum + value, count + 1)
    })
}

/// Holds what `inspect` says of a variable to values.
fn holds(name: &str, variable: &str, values: impl Iterator<Item = f64>) {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(name);
    let found = statistics(&inspect(folder.path(), &format!("dap4+http://127.0.0.1:{}/d", server.port())), variable);
    let (low, high, sum, valid) = facts(values);
    assert_eq!(found["valid"], valid, "{name}: {found}");
    if valid > 0 {
        let close = |key: &str, expected: f64| (found[key].as_f64().unwrap() - expected).abs() <= expected.abs() * 1e-6 + 1e-9;
        assert!(close("min", low) && close("max", high) && close("mean", sum / valid as f64), "{name}: {found} {low} {high} {sum}");
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f64> + '_ {
    bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())))
}

#[test]
fn floats_of_the_sea_surface() {
    let (_, data) = chunks(&recorded("coads_climatology.nc.dap"));
    holds("coads_climatology.nc.dap", "SST", floats(&data[..64]).filter(|value| *value > -1e33));
}

#[test]
fn a_coordinate() {
    let name = "20220531090000-JPL-L4_GHRSST-SSTfnd-MUR-GLOB-v02.0-fv04.1.dap";
    let (_, data) = chunks(&recorded(name));
    holds(name, "lon", floats(&data[..44]));
}

#[test]
fn signed_bytes_with_a_scale() {
    let name = "20220102090000-JPL-L4_GHRSST-SSTfnd-MUR-GLOB-v02.0-fv04.1_subset.dap";
    let (_, data) = chunks(&recorded(name));
    let raw = data[..data.len() - 4].iter().map(|&byte| byte.cast_signed()).filter(|byte| (0..=100).contains(byte));
    holds(name, "sea_ice_fraction", raw.map(|byte| f64::from(byte) * 0.01));
}

#[test]
fn several_variables_in_several_chunks() {
    let name = "MY1DQND1.sst.ADD2005001.040.2006011070802.hdf.dap";
    let (_, data) = chunks(&recorded(name));
    // Behind 180 × 360 bytes, 180 and 360 integers of 4 bytes, each with its checksum.
    let latitudes = 180 * 360 + 4 + 180 * 4 + 4 + 360 * 4 + 4;
    let values = data[latitudes..latitudes + 180 * 8].chunks_exact(8).map(|eight| f64::from_le_bytes(eight.try_into().unwrap()));
    holds(name, "Latitude", values);
}

#[test]
fn a_sequence_is_left_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve("gsodock.dat.dap");
    let description = inspect(folder.path(), &format!("dap4+http://127.0.0.1:{}/d", server.port()));
    assert_eq!(description["refused"][0]["name"], "URI_GSO-Dock");
}

#[test]
fn a_flipped_bit_is_found_by_its_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let mut answer = recorded("coads_climatology.nc.dap");
    let (dmr, _) = chunks(&answer);
    let at = 4 + dmr.len() + 4 + 10;
    answer[at] ^= 1;
    let server = Server::start(move |request, _| {
        let data = request.path.starts_with("/d.dap");
        reply("200 OK", &[], if data { &answer } else { &dmr })
    });
    let output = super::gristmill(folder.path(), &["inspect", &format!("dap4+http://127.0.0.1:{}/d", server.port()), "--stats"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(super::told(&output).contains("checksum"), "{}", super::told(&output));
}
