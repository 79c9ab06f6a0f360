//! A small DAP2 server: two datasets that follow one another in time, sliced as asked for.

use std::ops::Range;

use super::server::{Reply, Server, reply};

/// Lengths of time, y and x.
const SHAPE: [usize; 3] = [6, 4, 5];
/// Elements of a whole variable.
pub(crate) const ELEMENTS: usize = 120;

/// A running server.
pub(crate) struct Served(Server);

impl Served {
    /// Starts one that gives what `instead` gives for a path, else a right answer.
    pub(crate) fn start(instead: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self(Server::start(move |request, _| instead(&request.path).unwrap_or_else(|| answer(&request.path))))
    }

    pub(crate) fn base(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.0.port())
    }

    /// Paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.requests().into_iter().map(|request| request.path).collect()
    }
}

fn sst(dataset: usize, [t, y, x]: [usize; 3]) -> f32 {
    ((dataset * 6 + t) * 20 + y * 5 + x) as f32 / 4.0
}

fn packed(dataset: usize, [t, y, x]: [usize; 3]) -> i16 {
    ((dataset * 6 + t) * 20 + y * 5 + x) as i16 - 100
}

fn facts(values: &[f64]) -> [f64; 3] {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [low, high, values.iter().sum::<f64>() / values.len() as f64]
}

fn all() -> impl Iterator<Item = [usize; 3]> {
    (0..6).flat_map(|t| (0..4).flat_map(move |y| (0..5).map(move |x| [t, y, x])))
}

/// Smallest, largest and mean value of some datasets.
pub(crate) fn sst_facts(datasets: &[usize]) -> [f64; 3] {
    facts(&datasets.iter().flat_map(|&dataset| all().map(move |index| f64::from(sst(dataset, index)))).collect::<Vec<_>>())
}

/// The same, unpacked.
pub(crate) fn packed_facts(datasets: &[usize]) -> [f64; 3] {
    facts(&datasets.iter().flat_map(|&dataset| all().map(move |index| f64::from(packed(dataset, index)) * 0.5 + 10.0)).collect::<Vec<_>>())
}

/// Ranges in a query such as `sst%5B0:2%5D%5B1:1%5D`.
pub(crate) fn hyperslab(path: &str) -> Vec<Range<usize>> {
    let query = path.split_once('?').map_or("", |(_, query)| query).replace("%5B", "[").replace("%5D", "]");
    let slab = |text: &str| {
        let (first, last) = text.trim_end_matches(']').split_once(':')?;
        Some(first.parse().ok()?..last.parse::<usize>().ok()? + 1)
    };
    query.split('[').skip(1).filter_map(slab).collect()
}

fn answer(path: &str) -> Reply {
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    let dataset = usize::from(place.starts_with("/b"));
    let headers = [("Content-Type", "text/plain"), ("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT")];
    match place.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "dds" => reply("200 OK", &headers, dds(&SHAPE.map(|length| 0..length), None).as_bytes()),
        "das" => reply("200 OK", &headers, DAS.as_bytes()),
        "dods" => reply("200 OK", &headers, &dods(dataset, query)),
        // What servers of datasets show to people.
        _ => reply("200 OK", &[("Content-Type", "text/html")], b"<html><title>Dataset</title></html>"),
    }
}

const DAS: &str = r#"Attributes {
    NC_GLOBAL { String comment "it says \"as is\" and \\"; String Conventions "CF-1.8"; }
    time { String units "days since 2000-01-01"; }
    sst { Float32 _FillValue 9.96921e+36; String units "degC"; String note "an "unescaped" quote";
    }
    packed { Int16 _FillValue -32767; Float64 scale_factor 0.5; Float64 add_offset 10.0; String units "1"; }
    flag { Byte _FillValue 255; String _Unsigned "false"; }
}
"#;

/// The declaration of all variables, or of one.
fn dds(slabs: &[Range<usize>], only: Option<&str>) -> String {
    let axes = |names: &[&str]| names.iter().zip(slabs).map(|(name, slab)| format!("[{name} = {}]", slab.len())).collect::<String>();
    let cube = axes(&["time", "y", "x"]);
    let declared = [
        ("time", format!(" Float64 time{};\n", axes(&["time"]))),
        ("sst", format!(" Grid {{\n Array:\n Float32 sst{cube};\n Maps:\n Float64 time{};\n }} sst;\n", axes(&["time"]))),
        ("packed", format!(" Int16 packed{cube};\n")),
        ("flag", format!(" Byte flag{};\n", axes(&["time"]))),
        ("rows", " Sequence {\n Byte a;\n } rows;\n".to_owned()),
    ];
    let chosen = declared.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).map(|(_, text)| text.as_str());
    format!("Dataset {{\n{}}} d%2Enc;\n", chosen.collect::<String>())
}

fn dods(dataset: usize, query: &str) -> Vec<u8> {
    let name = query.split('%').next().unwrap();
    let slabs = hyperslab(&format!("?{query}"));
    let mut answer = dds(&slabs, Some(name)).into_bytes();
    answer.extend(b"Data:\n");
    let count = slabs.iter().map(ExactSizeIterator::len).product::<usize>() as u32;
    answer.extend([count, count].iter().flat_map(|count| count.to_be_bytes()));
    let times = || slabs[0].clone().flat_map(|t| ((dataset * 6 + t) as f64).to_be_bytes());
    match name {
        "time" => answer.extend(times()),
        "flag" => {
            let mut bytes: Vec<u8> = slabs[0].clone().map(|t| t as u8).collect();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            answer.extend(bytes);
        }
        cube => {
            let [t, y, x] = slabs.as_slice() else { unreachable!("{query}") };
            for index in t.clone().flat_map(|t| y.clone().flat_map(move |y| x.clone().map(move |x| [t, y, x]))) {
                match cube {
                    "sst" => answer.extend(sst(dataset, index).to_be_bytes()),
                    _ => answer.extend(i32::from(packed(dataset, index)).to_be_bytes()),
                }
            }
            if cube == "sst" {
                let length = t.len() as u32;
                answer.extend([length, length].iter().flat_map(|length| length.to_be_bytes()));
                answer.extend(times());
            }
        }
    }
    answer
}
