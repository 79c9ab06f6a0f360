//! Whole files: schema, statistics and values agree with netCDF4-python's facts and with the format library's own read.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use gristmill::array::DataType;
use gristmill::grid::Region;
use gristmill::run::inspect;
use gristmill::source::{self, Source, SourceError, fetch};
use serde_json::Value;

use crate::facts::{self, Fact};
use crate::local::Local;

/// netCDF4-python writes numpy's names.
fn numpy(dtype: DataType) -> &'static str {
    match dtype {
        DataType::Char => "|S1",
        other => other.name(),
    }
}

/// `>u2` → `uint16`
fn numpy_name(text: &str) -> String {
    let Some(short) = text.strip_prefix('>') else { return text.to_owned() };
    let kind = match &short[..1] {
        "u" => "uint",
        "i" => "int",
        _ => "float",
    };
    format!("{kind}{}", short[1..].parse::<u32>().unwrap() * 8)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
}

fn lengths(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().map(|one| one.as_u64().unwrap_or(u64::MAX)).collect()
}

fn close(ours: Option<f64>, theirs: Option<f64>, scale: f64) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 2e-6 * scale.abs().max(theirs.abs()) || ours.to_bits() == theirs.to_bits(),
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    }
}

fn leaf(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Differences between the facts of a variable and ours.
fn compare_variable(source: &dyn Source, path: &str, name: &str, fact: &Value) -> Vec<String> {
    let Some(variable) = source.schema().variable(name) else { return vec![format!("{name}: missing")] };
    let mut wrong = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            wrong.push(format!("{name}: {what} {ours} instead of {theirs}"));
        }
    };
    check("type", numpy(variable.dtype).to_owned(), numpy_name(fact["dtype"].as_str().unwrap()));
    check("shape", format!("{:?}", source.schema().shape(variable)), format!("{:?}", lengths(&fact["shape"])));
    let dimensions: Vec<&str> = variable.dimensions.iter().map(String::as_str).map(leaf).collect();
    if fact.get("dims").is_some() {
        check("dimensions", format!("{dimensions:?}"), format!("{:?}", strings(&fact["dims"])));
    }
    if fact.get("chunks").is_some() {
        check("chunks", format!("{:?}", variable.encoding.chunks.clone().unwrap_or_default()), format!("{:?}", lengths(&fact["chunks"])));
    }
    if let Some(filters) = fact.get("filters") {
        let mut ours: Vec<String> =
            variable.encoding.filters.iter().map(|filter| filter.replace("deflate ", "zlib:").replace("deflate", "zlib")).collect();
        let mut theirs = strings(filters);
        if theirs.iter().all(|name| name == "deflate" || !name.contains(':')) && theirs.iter().any(|name| name == "deflate") {
            for name in &mut ours {
                *name = name.split(':').next().unwrap().replace("zlib", "deflate");
            }
        }
        ours.sort();
        theirs.sort();
        check("filters", format!("{ours:?}"), format!("{theirs:?}"));
    }
    for key in ["units", "calendar"] {
        if let Some(theirs) = fact.get(key).and_then(Value::as_str) {
            check(key, variable.attributes.text(key).unwrap_or_default().to_owned(), theirs.to_owned());
        }
    }
    for key in ["scale_factor", "add_offset"] {
        if let Some(theirs) = fact.get(key).and_then(Value::as_f64) {
            check(
                key,
                format!("{:?}", variable.attributes.number(key).map(gristmill::array::Scalar::as_f64)),
                format!("{:?}", Some(theirs)),
            );
        }
    }
    wrong.extend(compare_statistics(source, path, variable, fact));
    wrong
}

fn compare_statistics(source: &dyn Source, path: &str, variable: &gristmill::dataset::Variable, fact: &Value) -> Vec<String> {
    let found = match inspect::statistics(Local::files().as_ref(), path, source, variable) {
        Ok(Some(found)) => found,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![format!("{}: {error}", variable.name)],
    };
    let number = |key: &str| fact.get(key).and_then(Value::as_f64);
    let mut wrong = Vec::new();
    if let Some(theirs) = fact.get("n_valid").and_then(Value::as_u64)
        && theirs != found.valid
    {
        wrong.push(format!("{}: {} valid instead of {theirs}", variable.name, found.valid));
    }
    let scale = number("decoded_min").unwrap_or(0.0).abs().max(number("decoded_max").unwrap_or(0.0).abs());
    for (what, ours) in [("decoded_min", found.min), ("decoded_max", found.max), ("decoded_mean", found.mean)] {
        if fact.get(what).is_some() && !close(ours, number(what), scale) {
            wrong.push(format!("{}: {what} {ours:?} instead of {:?}", variable.name, number(what)));
        }
    }
    wrong
}

/// Files that the pure-Rust reader cannot open although netCDF-C can: attributes of a committed type, which hdf5-reader does not follow.
const NOT_OPENED: [&str; 4] = [
    "netcdf-c-reference/ref_tst_compounds.nc",
    "netcdf-c-reference/ref_tst_compounds4.nc",
    "netcdf-c-reference/ref_tst_h_compounds2.h5",
    "netcdf-c-reference/ref_tst_xplatform2_1.nc",
];

fn is_sound(fact: &Fact) -> bool {
    fact.is_netcdf() && fact.name != "corrupt/derived/truncated_classic.nc" && fact.text("error").is_empty()
}

fn readable() -> impl Iterator<Item = Fact> {
    facts::all().into_iter().filter(|fact| is_sound(fact) && !NOT_OPENED.contains(&fact.name.as_str()))
}

/// Left out of the comparison: (file, variable, why).
const NOT_COMPARED: &[(&str, &str, &str)] = &[
    ("corrupt/derived/bitflip_in_chunk_of_LONGITUDE.nc", "LONGITUDE", "its chunk is damaged on purpose"),
    ("hdf5-features-pyfive/netcdf4_classic.nc", "x", "a scale without a variable, which only HDF5 calls a dataset"),
];

#[test]
fn files_that_are_not_opened_say_why() {
    for file in facts::all().into_iter().filter(|fact| NOT_OPENED.contains(&fact.name.as_str())) {
        let message = source::open(&Local::files(), &file.path).err().expect("the list is out of date").to_string();
        assert!(message.contains("a part of HDF5 that is not read") && message.contains(&file.path), "{message}");
        let compared = file.facts["vars"].as_object().unwrap().values().filter(|fact| !is_compound(fact)).count();
        assert_eq!(compared, 0, "{} holds variables that could be read", file.name);
    }
}

fn is_compound(fact: &Value) -> bool {
    fact["dtype"].as_str().unwrap_or_default().starts_with('{')
}

#[test]
fn every_variable_agrees_with_the_facts() {
    let mut wrong = String::new();
    let mut compared = 0;
    for file in readable() {
        let source = match source::open(&Local::files(), &file.path) {
            Ok(source) => source,
            Err(error) => {
                writeln!(wrong, "{}: {error}", file.name).unwrap();
                continue;
            }
        };
        let key = if file.facts.contains_key("h5_datasets") { "h5_datasets" } else { "vars" };
        for (name, fact) in file.facts[key].as_object().unwrap().iter().filter(|(_, fact)| !is_compound(fact) && fact["dtype"] != "object")
        {
            if NOT_COMPARED.iter().any(|(left, variable, _)| (*left, *variable) == (file.name.as_str(), name.as_str())) {
                continue;
            }
            compared += 1;
            for difference in compare_variable(source.as_ref(), &file.path, name, fact) {
                writeln!(wrong, "{}: {difference}", file.name).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{wrong}", wrong.lines().count());
    assert!(compared > 13_000, "only {compared} variables were compared");
}

#[test]
fn both_readers_agree_on_every_number() {
    let mut wrong = String::new();
    let mut compared = 0;
    for file in readable() {
        let source = source::open(&Local::files(), &file.path).unwrap();
        for variable in source.schema().variables.iter().filter(|variable| variable.dtype != DataType::String) {
            let shape = source.schema().shape(variable);
            // A third of the way in, to the end: boxes that begin and end inside chunks.
            let start: Vec<u64> = shape.iter().map(|length| length / 3).collect();
            let rest = start.iter().zip(&shape).map(|(start, length)| length - start).collect();
            for region in [Region::whole(&shape), Region::new(start.clone(), rest)] {
                let ours = source
                    .stored(&variable.name)
                    .and_then(|stored| fetch::read_stored(Local::files().as_ref(), &file.path, &variable.name, &stored, &region));
                let theirs = source.read(&variable.name, &region);
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) if ours == theirs => compared += 1,
                    (Ok(_), Ok(_)) => writeln!(wrong, "{}: {}: values differ in {region:?}", file.name, variable.name).unwrap(),
                    (Err(SourceError::Corrupt { .. }), Err(SourceError::Corrupt { .. })) if file.name.starts_with("corrupt/") => {}
                    (ours, theirs) => writeln!(wrong, "{}: {}: {:?} / {:?}", file.name, variable.name, ours.err(), theirs.err()).unwrap(),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{wrong}", wrong.lines().count());
    assert!(compared > 20_000, "only {compared} boxes were compared");
}

/// Everything in the shared files that is not read, and why: (file, names, reason).
const REFUSED: &[(&str, &[&str], &str)] = &[
    (
        "ceres-seawifs-l3-groups/S2008001.L3b_DAY_RRS.nc",
        &[
            "level-3_binned_data/BinIndex",
            "level-3_binned_data/BinList",
            "level-3_binned_data/Rrs_412",
            "level-3_binned_data/Rrs_443",
            "level-3_binned_data/Rrs_490",
            "level-3_binned_data/Rrs_510",
            "level-3_binned_data/Rrs_555",
            "level-3_binned_data/Rrs_670",
            "level-3_binned_data/angstrom",
            "level-3_binned_data/aot_865",
        ],
        "compound types are not supported",
    ),
    (
        "hdf5-features-pyfive/attr_datatypes.hdf5",
        &["@complex128_big", "@complex128_little", "@complex64_big", "@complex64_little"],
        "compound types are not supported",
    ),
    (
        "hdf5-features-pyfive/attr_datatypes.hdf5",
        &["@vlen_float32", "@vlen_int32", "@vlen_uint64"],
        "variable-length sequences are not supported",
    ),
    (
        "hdf5-features-pyfive/references.hdf5",
        &[
            "@dataset1_reference",
            "@dataset1_region_reference",
            "@group1_reference",
            "@root_group_reference",
            "chunked_ref_dataset",
            "chunked_regionref_dataset",
            "ref_dataset",
            "regionref_dataset",
        ],
        "references are not supported",
    ),
    ("hdf5-features-pyfive/references.hdf5", &["@vlen_refs"], "variable-length sequences are not supported"),
    ("netcdf-c-reference/ref_hdf5_compat3.nc", &["phony_var"], "compound types are not supported"),
    ("netcdf-c-reference/ref_tst_compounds2.nc", &["phony_compound_var"], "compound types are not supported"),
    ("netcdf-c-reference/ref_tst_compounds3.nc", &["var"], "compound types are not supported"),
    ("netcdf-c-reference/ref_tst_h_compounds.h5", &["obs_var"], "compound types are not supported"),
];

#[test]
fn only_what_no_array_can_hold_is_refused() {
    let mut found = BTreeSet::new();
    for file in readable() {
        let source = source::open(&Local::files(), &file.path).unwrap();
        found.extend(source.refused().iter().map(|(name, reason)| (file.name.clone(), name.clone(), reason.clone())));
    }
    let rows = REFUSED.iter().flat_map(|(file, names, reason)| names.iter().map(move |name| (file, name, reason)));
    let expected: BTreeSet<_> = rows.map(|(file, name, reason)| ((*file).to_owned(), (*name).to_owned(), (*reason).to_owned())).collect();
    for (file, name, reason) in &found {
        println!("{file:<50} {name:<36} {reason}");
    }
    let odd: Vec<_> = found.symmetric_difference(&expected).collect();
    assert!(odd.is_empty(), "refused without being expected, or the other way round: {odd:#?}");
}

#[test]
fn three_formats_give_the_same_values() {
    let files: Vec<Fact> = facts::all().into_iter().filter(|fact| fact.name.starts_with("tcco2-packed-three-formats/")).collect();
    assert_eq!(files.len(), 3);
    let read = |file: &Fact, name: &str| {
        let source = source::open(&Local::files(), &file.path).unwrap();
        let shape = source.schema().shape(source.schema().variable(name).unwrap());
        let stored = source.stored(name).unwrap();
        fetch::read_stored(Local::files().as_ref(), &file.path, name, &stored, &Region::whole(&shape)).unwrap()
    };
    for name in ["tcco2", "time", "latitude", "longitude"] {
        let first = read(&files[0], name);
        assert!(first.elements() > 30, "{name}");
        assert!(files[1..].iter().all(|file| read(file, name) == first), "{name}");
    }
}

#[test]
fn texts_of_both_kinds_are_read() {
    let file = readable().find(|fact| fact.name.ends_with("huss_CORDEX-CORE_historical_mon_197001.nc")).unwrap();
    let source = source::open(&Local::files(), &file.path).unwrap();
    let members = source.read("gcm_institution", &Region::new(vec![3], vec![4])).unwrap();
    assert_eq!(members.texts().len(), 4);
    assert!(members.texts().iter().all(|text| !text.is_empty() && text.is_ascii()), "{members:?}");
    let all = source.read("gcm_institution", &Region::whole(&[9])).unwrap();
    assert_eq!(&all.texts()[3..7], members.texts());
}

#[test]
fn inspect_writes_json_and_text() {
    let path = crate::local::shared().join("data/tcco2-packed-three-formats");
    let file =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.to_string_lossy().contains(".nc")).unwrap();
    let shown = |json: bool| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.arg("inspect").arg(&file).arg("--stats").args(json.then_some("--json"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let description: Value = serde_json::from_str(&shown(true)).unwrap();
    let variables = description["variables"].as_array().unwrap();
    let packed = variables.iter().find(|variable| variable["name"] == "tcco2").unwrap();
    assert_eq!((packed["type"].as_str(), packed["shape"][0].as_u64()), (Some("int16"), Some(31)));
    assert!(packed["packing"]["scale"].as_f64().unwrap() > 0.0);
    assert!(packed["statistics"]["valid"].as_u64().unwrap() > 1_000_000);
    let text = shown(false);
    for part in
        ["dimensions:\n", "    int16 tcco2(time = 31, latitude = 161, longitude = 320)\n", "packed: value = raw × ", " of 1597120 valid"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
}
