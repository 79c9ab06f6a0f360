//! netCDF-C in a child process: agrees with our own readers, referees, reads what they cannot, and never takes us down.
#![cfg(feature = "netcdf-c")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests are tests too")]

#[path = "sources/facts.rs"]
mod facts;
#[path = "sources/local.rs"]
mod local;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill::array::{DataType, FillValue, Scalar};
use gristmill::dataset::{Attributes, Schema, Variable};
use gristmill::grid::Region;
use gristmill::layout::Layout;
use gristmill::source::netcdf_c::{self, Server};
use gristmill::source::{self, Format, Source, SourceError};
use gristmill::store::{Head, SourceStore, StoreError};
use gristmill::target::zarr::Absent;
use local::{Local, shared};

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_gristmill"))
}

fn server() -> Server {
    Server { program: program(), timeout: Duration::from_mins(1) }
}

/// Every test may run first.
fn with_server() {
    netcdf_c::use_server(server());
}

fn path_of(name: &str) -> String {
    shared().join("data").join(name).to_string_lossy().into_owned()
}

/// Only what our own reader says, whatever the build.
fn ours(path: &str) -> Result<Box<dyn Source>, SourceError> {
    source::open(&Local::files(), path)
}

/// Files that only netCDF-C opens, or whose reading is not ours to compare.
const NOT_COMPARED: [&str; 2] = ["corrupt/derived/truncated_classic.nc", "corrupt/derived/bitflip_in_chunk_of_LONGITUDE.nc"];

/// Differences that are known: (file, what, why).
const KNOWN: &[(&str, &str, &str)] = &[
    ("hdf5-features-pyfive/dim_scales.hdf5", "dset1", "several scales are attached to one axis: we take the first, netCDF-C the last"),
    ("hdf5-features-pyfive/references.hdf5", "dimensions", "netCDF-C skips datasets of references before it invents dimensions"),
];

fn is_known(file: &str, what: &str) -> bool {
    KNOWN.iter().any(|(known, name, _)| (file.contains(known)) && what.starts_with(name))
}

fn sorted(attributes: &Attributes) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = attributes.iter().map(|(name, value)| (name.to_owned(), format!("{value:?}"))).collect();
    all.sort();
    all
}

fn default_fill(variable: &Variable) -> Option<FillValue> {
    Scalar::from_bytes(variable.dtype, &source::fill::netcdf_default(variable.dtype)).map(FillValue::Number)
}

fn zero(variable: &Variable) -> Option<FillValue> {
    Scalar::from_bytes(variable.dtype, &source::fill::zero(variable.dtype)).map(FillValue::Number)
}

/// Differences between two descriptions of one file.
fn compare(ours: &Schema, theirs: &Schema) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: String, ours: String, theirs: String| {
        if ours != theirs {
            wrong.push(format!("{what}: ours {ours}\n      theirs {theirs}"));
        }
    };
    let dimensions = |schema: &Schema| {
        let mut all: Vec<String> = schema.dimensions.iter().map(|found| format!("{found:?}")).collect();
        all.sort();
        all
    };
    check("dimensions".to_owned(), format!("{:?}", dimensions(ours)), format!("{:?}", dimensions(theirs)));
    check("attributes".to_owned(), format!("{:?}", sorted(&ours.attributes)), format!("{:?}", sorted(&theirs.attributes)));
    let groups = |schema: &Schema| schema.groups.iter().map(|(path, all)| format!("{path}: {:?}", sorted(all))).collect::<Vec<_>>();
    check("groups".to_owned(), format!("{:?}", groups(ours)), format!("{:?}", groups(theirs)));
    let names = |schema: &Schema| {
        let mut all: Vec<String> = schema.variables.iter().map(|variable| variable.name.clone()).collect();
        all.sort();
        all
    };
    check("variables".to_owned(), format!("{:?}", names(ours)), format!("{:?}", names(theirs)));
    for variable in &ours.variables {
        let Some(other) = theirs.variable(&variable.name) else { continue };
        let told = |variable: &Variable| {
            (
                variable.dtype,
                variable.dimensions.clone(),
                sorted(&variable.attributes),
                variable.coordinate,
                variable.encoding.chunks.clone(),
            )
        };
        check(variable.name.clone(), format!("{:?}", told(variable)), format!("{:?}", told(other)));
        // netCDF-C does not say who wrote an HDF5 file: it names its own default where plain HDF5 has zero.
        let plain_hdf5 = other.encoding.fill == default_fill(other) && variable.encoding.fill == zero(variable);
        if !plain_hdf5 {
            check(format!("{} fill", variable.name), format!("{:?}", variable.encoding.fill), format!("{:?}", other.encoding.fill));
        }
    }
    wrong
}

fn both() -> impl Iterator<Item = (String, String, Box<dyn Source>, Box<dyn Source>)> {
    let whole = |fact: &facts::Fact| fact.is_netcdf() && !NOT_COMPARED.contains(&fact.name.as_str());
    facts::all().into_iter().filter(whole).filter_map(|fact| {
        let theirs = server().open(Path::new(&fact.path)).ok()?;
        let ours = ours(&fact.path).ok()?;
        Some((fact.name, fact.path, ours, theirs))
    })
}

#[test]
fn both_describe_every_file_alike() {
    let (mut wrong, mut files) = (String::new(), 0);
    for (name, _, ours, theirs) in both() {
        files += 1;
        assert_eq!(ours.format(), theirs.format(), "{name}");
        for difference in compare(ours.schema(), theirs.schema()).into_iter().filter(|difference| !is_known(&name, difference)) {
            writeln!(wrong, "{name}: {difference}").unwrap();
        }
    }
    println!("{files} files");
    assert!(wrong.is_empty(), "{} differences:\n{wrong}", wrong.lines().count());
    assert!(files > 300, "only {files} files");
}

#[test]
fn both_read_every_value_alike() {
    let (mut wrong, mut compared) = (String::new(), 0);
    for (name, _, ours, theirs) in both() {
        for variable in ours.schema().variables.iter().filter(|variable| theirs.schema().variable(&variable.name).is_some()) {
            let shape = ours.schema().shape(variable);
            let start: Vec<u64> = shape.iter().map(|length| length / 3).collect();
            let rest = start.iter().zip(&shape).map(|(start, length)| length - start).collect();
            for region in [Region::whole(&shape), Region::new(start.clone(), rest)] {
                match (ours.read(&variable.name, &region), theirs.read(&variable.name, &region)) {
                    (Ok(one), Ok(other)) if one == other => compared += 1,
                    _ if is_known(&name, &variable.name) => {}
                    (Ok(one), Ok(other)) => {
                        writeln!(wrong, "{name}: {}: values differ in {region:?}: {} / {}", variable.name, one.dtype, other.dtype).unwrap();
                    }
                    (one, other) => writeln!(wrong, "{name}: {}: {:?} / {:?}", variable.name, one.err(), other.err()).unwrap(),
                }
            }
        }
    }
    println!("{compared} boxes");
    assert!(wrong.is_empty(), "{} differences:\n{wrong}", wrong.lines().count());
    assert!(compared > 20_000, "only {compared} boxes were compared");
}

#[test]
fn damaged_files_stay_refused() {
    with_server();
    let mut refused = 0;
    for entry in ["", "derived"].iter().flat_map(|folder| std::fs::read_dir(shared().join("data/corrupt").join(folder)).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !path.is_file() || name == "facts.json" || name == "ref_test_corrupt_magic.nc" {
            continue;
        }
        let store = Local::files();
        let url = path.to_string_lossy().into_owned();
        let whole = || -> Result<(), SourceError> {
            let source = source::open(&store, &url)?;
            for variable in &source.schema().variables {
                source.read(&variable.name, &Region::whole(&source.schema().shape(variable)))?;
            }
            Ok(())
        };
        let error = whole().expect_err(&name);
        assert!(error.to_string().contains(&url), "{error}");
        refused += 1;
    }
    assert_eq!(refused, 10);
}

#[test]
fn a_truncated_file_is_never_tried_again() {
    with_server();
    let file = facts::all().into_iter().find(|fact| fact.name.starts_with("imos-hfradar") && fact.is_netcdf()).unwrap();
    let bytes = std::fs::read(&file.path).unwrap();
    for cut in (1..20).map(|step| bytes.len() * step / 20) {
        let error = source::open(&Local::bytes(bytes[..cut].to_vec()), "file").err().unwrap();
        assert!(matches!(error, SourceError::Truncated { .. }), "{cut}: {error}");
    }
}

#[test]
fn which_errors_netcdf_c_may_try_again() {
    let (url, message) = (String::from("file"), String::from("why"));
    let store = StoreError { kind: gristmill::store::ErrorKind::Temporary, url: url.clone(), message: message.clone(), cause: None };
    let truncated = SourceError::Truncated { url: url.clone(), message: message.clone() };
    let corrupt = SourceError::Corrupt { url: url.clone(), message: message.clone() };
    let format = SourceError::Format { url: url.clone(), message: message.clone() };
    let unsupported = SourceError::Unsupported { url, variable: "x".to_owned(), message };
    for error in [&corrupt, &format, &unsupported] {
        assert!(netcdf_c::may_read_instead(Format::Hdf5, error));
        assert!(!netcdf_c::may_read_instead(Format::NetCdf3, error));
    }
    for error in [SourceError::Store(store), truncated] {
        assert!(!netcdf_c::may_read_instead(Format::Hdf5, &error));
        assert!(!netcdf_c::may_read_instead(Format::NetCdf3, &error));
    }
}

/// Attributes of a committed type, which hdf5-reader does not follow.
const ONLY_NETCDF_C: [&str; 4] = ["ref_tst_compounds.nc", "ref_tst_compounds4.nc", "ref_tst_h_compounds2.h5", "ref_tst_xplatform2_1.nc"];

#[test]
fn files_that_our_reader_cannot_open_are_read_instead() {
    with_server();
    for name in ONLY_NETCDF_C {
        let opened = source::open(&Local::files(), &path_of(&format!("netcdf-c-reference/{name}"))).unwrap();
        let reasons = ["compound types", "user-defined types"];
        assert!(!opened.refused().is_empty(), "{name}");
        for (what, reason) in opened.refused() {
            assert!(reasons.iter().any(|known| reason.contains(known)), "{name}: {what}: {reason}");
        }
    }
}

/// A store whose files are far away.
struct Far(Arc<dyn SourceStore>);

impl SourceStore for Far {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        self.0.head(url)
    }
    fn ranges(&self, url: &str, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>, StoreError> {
        self.0.ranges(url, ranges)
    }
    fn stream(&self, url: &str, sink: &mut dyn std::io::Write) -> Result<u64, StoreError> {
        self.0.stream(url, sink)
    }
    fn is_local(&self, _url: &str) -> bool {
        false
    }
}

#[test]
fn far_files_are_copied_and_no_copy_is_left() {
    with_server();
    let file = facts::all().into_iter().find(|fact| fact.name.starts_with("canesm2") && fact.is_netcdf()).unwrap();
    let bytes = std::fs::read(&file.path).unwrap();
    let store: Arc<dyn SourceStore> = Arc::new(Far(Local::bytes(bytes)));
    let far = netcdf_c::open_url(&store, "file").unwrap();
    let near = netcdf_c::open(Path::new(&file.path)).unwrap();
    for variable in &near.schema().variables {
        let region = Region::whole(&near.schema().shape(variable));
        assert!(far.read(&variable.name, &region).unwrap() == near.read(&variable.name, &region).unwrap(), "{}", variable.name);
        assert!(matches!(far.stored(&variable.name).unwrap().layout, Layout::Free { .. }));
    }
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("gristmill-netcdf-c-")
    });
    assert_eq!(left.count(), 0);
    let missing = netcdf_c::open_url(&store, "/no/such/file").err().unwrap();
    assert!(matches!(missing, SourceError::Store(_)), "{missing}");
}

/// A program that does what the script says instead of serving.
fn broken(folder: &Path, script: &str) -> Server {
    let program = folder.join("server.sh");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Server { program, timeout: Duration::from_secs(1) }
}

#[test]
fn children_that_crash_hang_or_talk_nonsense_are_errors_of_the_file() {
    for (script, expected) in [
        ("exit 3", "broke down while reading it (exit status: 3)"),
        ("kill -SEGV $$", "broke down while reading it (signal: 11"),
        ("exec sleep 100", "did not answer within 1 s and was stopped"),
        ("echo 'netCDF: a library that prints'; exec sleep 100", "no answer that makes sense"),
        ("printf '\\002\\000\\000\\000\\377\\377\\377\\377\\377\\377\\377\\177{}'; exec sleep 100", "no answer that makes sense"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let error = broken(folder.path(), script).open(Path::new("/some/file.nc")).err().unwrap();
        assert!(matches!(error, SourceError::Corrupt { .. }), "{error}");
        assert!(error.to_string().starts_with("/some/file.nc: ") && error.to_string().contains(expected), "{script}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{script}");
    }
    let missing = Server { program: PathBuf::from("/no/such/program"), timeout: Duration::from_secs(1) };
    assert!(missing.open(Path::new("/some/file.nc")).is_err());
}

#[test]
fn a_server_ends_when_nobody_asks_any_more() {
    let mut child = Command::new(program()).arg(netcdf_c::COMMAND).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(child.stdin.take());
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_box_outside_and_a_variable_that_is_not_there_are_errors() {
    let file = facts::all().into_iter().find(|fact| fact.name.starts_with("canesm2") && fact.is_netcdf()).unwrap();
    let source = server().open(Path::new(&file.path)).unwrap();
    let variable = source.schema().variables.iter().find(|variable| variable.dtype == DataType::Float64).unwrap();
    let shape = source.schema().shape(variable);
    let outside = Region::new(shape.clone(), vec![1; shape.len()]);
    assert!(matches!(source.read(&variable.name, &outside), Err(SourceError::Unsupported { .. })));
    assert!(matches!(source.stored("no such variable"), Err(SourceError::Unsupported { .. })));
    let empty = Region::new(vec![0; shape.len()], vec![0; shape.len()]);
    assert_eq!(source.read(&variable.name, &empty).unwrap().elements(), 0);
}

fn data(set: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(set);
    let mut files: Vec<String> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.retain(|file| !file.contains("make.py"));
    files.sort();
    files
}

/// Bakes a set of `tests/data` along time through the program; gives its report and its target.
fn bake(set: &str, verify: &str, folder: &Path) -> (serde_json::Value, PathBuf) {
    let files = data(set).join("\n    - ");
    let text = format!(
        "schema: 1\nid: x\ntitle: X\nlicense: CC0-1.0\ninputs:\n  files:\n    - {files}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: 4}}\n"
    );
    let (recipe, report, target) = (folder.join("recipe.yaml"), folder.join("report.json"), folder.join("out.zarr"));
    std::fs::write(&recipe, text).unwrap();
    let output = Command::new(program())
        .args([
            "run",
            recipe.to_str().unwrap(),
            "--verify",
            verify,
            "--target",
            target.to_str().unwrap(),
            "--report",
            report.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap(), target)
}

#[test]
fn verification_reads_through_netcdf_c() {
    for set in ["cmip6-siconc", "tcco2-packed"] {
        for verify in ["sample", "full"] {
            let folder = tempfile::tempdir().unwrap();
            let (report, _) = bake(set, verify, folder.path());
            let reader = report["verification"]["reader"].as_str().unwrap();
            let version = reader.strip_prefix("netcdf-c ").unwrap_or_else(|| panic!("{set}: {reader}"));
            assert!(version.split('.').count() >= 3 && version.starts_with(|c: char| c.is_ascii_digit()), "{reader}");
            assert!(report["verification"]["compared"].as_u64().unwrap() > 0);
        }
    }
}

#[test]
fn numbers_that_only_netcdf_c_reads_are_baked() {
    let folder = tempfile::tempdir().unwrap();
    let (report, target) = bake("committed-type", "full", folder.path());
    assert!(report["verification"]["reader"].as_str().unwrap().starts_with("netcdf-c "));
    let store = gristmill::store::target(target.to_str().unwrap(), &gristmill::store::Access::default()).unwrap();
    let reader = gristmill::target::zarr::ZarrReader::open(store, Absent::Hole).unwrap().unwrap();
    // As `make.py` beside the files counts them.
    let whole = Region::whole(&[12, 60, 80]);
    let level = reader.read("level", &whole).unwrap();
    assert!(level.scalars().eq((0..57_600).map(|number| Scalar::Int16((number % 2000 - 20) as i16))));
    let depth = reader.read("depth", &whole).unwrap();
    assert!(depth.scalars().eq((0..57_600).map(|number| Scalar::Float32(f64::from(number % 500).sqrt() as f32))));
    let time = reader.read("time", &Region::whole(&[12])).unwrap();
    assert!(time.scalars().map(Scalar::as_f64).eq((0..12).map(f64::from)));
}

#[test]
fn statistics_are_told_of_files_that_only_netcdf_c_reads() {
    with_server();
    let file = &data("committed-type")[0];
    let source = source::open(&Local::files(), file).unwrap();
    let level = source.schema().variable("level").unwrap();
    let found = gristmill::run::inspect::statistics(Local::files().as_ref(), file, source.as_ref(), level).unwrap().unwrap();
    assert_eq!((found.min, found.max, found.valid), (Some(-20.0), Some(1979.0), 28_800));
}
