//! The contract between files, entity by entity: a pair of files that drift apart is refused with both values (exit 4), and gives the
//! right values once the recipe names the relaxation, which the report then lists.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its files shall fail")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod made_files;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use gristmill::array::Array;
use gristmill::grid::Region;
use gristmill::store::{self, Access};
use gristmill::target::zarr::{Absent, ZarrReader};
use made_files::MadeFile;
use serde_json::Value;

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    count: usize,
}

impl Bench {
    fn new(made: &[MadeFile]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        for (number, file) in made.iter().enumerate() {
            fs::write(path.join(format!("{}.nc", char::from(b'a' + number as u8))), file.bytes()).unwrap();
        }
        Self { _folder: folder, path, count: made.len() }
    }

    /// Runs a recipe with these policies under `combine`, and this after it.
    fn run(&self, combine: &str, rest: &str) -> (i32, String) {
        let names: Vec<String> = (0..self.count).map(|number| format!("{}.nc", char::from(b'a' + number as u8))).collect();
        let comma = if combine.is_empty() { "" } else { ", " };
        let text = format!(
            "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\ninputs: {{files: [{}]}}\ncombine: {{concat: [time]{comma}{combine}}}\n{rest}",
            names.join(", ")
        );
        fs::write(self.path.join("recipe.yaml"), text).unwrap();
        let _gone = fs::remove_dir_all(self.path.join("out.zarr"));
        let _gone = fs::remove_dir_all(self.path.join("out.zarr.gristmill"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["run", "recipe.yaml", "--target", "out.zarr", "--threads", "2", "--memory", "512MiB"]).current_dir(&self.path);
        let output = command.env_remove("RUST_LOG").env("XDG_CACHE_HOME", self.path.join("cache")).output().unwrap();
        // Lines are wrapped for the terminal; words count.
        let told = String::from_utf8(output.stderr).unwrap().replace(&format!("{}/", self.path.display()), "");
        let words: Vec<&str> = told.split_whitespace().filter(|word| *word != "│").collect();
        (output.status.code().unwrap_or(-1), words.join(" "))
    }

    fn refused(&self, combine: &str, rest: &str, says: &[&str]) {
        let (exit, told) = self.run(combine, rest);
        assert_eq!(exit, 4, "{told}");
        for text in says {
            assert!(told.contains(text), "no `{text}` in: {told}");
        }
        assert!(!self.path.join("out.zarr/zarr.json").exists());
    }

    /// Runs, and gives what the report says was used: "policy on where: what".
    fn done(&self, combine: &str, rest: &str) -> Vec<String> {
        let (exit, told) = self.run(combine, rest);
        assert_eq!(exit, 0, "{told}");
        let report: Value = serde_json::from_slice(&fs::read(self.path.join("out.zarr.gristmill/report.json")).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().replace(&format!("{}/", self.path.display()), "");
        let said = |used: &Value| format!("{} on {}: {}", text(&used["policy"]), text(&used["where"]), text(&used["what"]));
        report["used"].as_array().into_iter().flatten().map(said).collect()
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path.join("out.zarr.gristmill/report.json")).unwrap()).unwrap()
    }

    fn reader(&self) -> ZarrReader {
        let store = store::target(self.path.join("out.zarr").to_str().unwrap(), &Access::default()).unwrap();
        ZarrReader::open(store, Absent::Hole).unwrap().expect("a visible store")
    }

    fn values(&self, variable: &str) -> Array {
        let reader = self.reader();
        let shape = reader.schema().shape(reader.schema().variable(variable).unwrap());
        reader.read(variable, &Region::whole(&shape)).unwrap()
    }

    fn numbers(&self, variable: &str) -> Vec<f64> {
        self.values(variable).scalars().map(gristmill::array::Scalar::as_f64).collect()
    }

    fn units(&self, variable: &str) -> String {
        self.reader().schema().variable(variable).unwrap().attributes.text("units").unwrap_or_default().to_owned()
    }
}

/// A day with a latitude and two values.
fn day(number: f64) -> MadeFile {
    steps(&[number], &[number * 10.0, number * 10.0 + 1.0])
}

/// Some days, with two values each.
fn steps(times: &[f64], values: &[f64]) -> MadeFile {
    MadeFile::default()
        .dimension("time", times.len() as u32)
        .dimension("lat", 2)
        .variable("time", "double", &["time"], times, &[("units", "days since 2000-01-01")])
        .variable("lat", "double", &["lat"], &[10.0, 20.0], &[])
        .variable("x", "float", &["time", "lat"], values, &[("units", "K")])
}

/// A pair whose second file is changed.
fn drift(change: impl Fn(&mut MadeFile)) -> Bench {
    let mut second = day(1.0);
    change(&mut second);
    Bench::new(&[day(0.0), second])
}

fn set(file: &mut MadeFile, variable: &str, attribute: &str, value: impl Into<toml::Value>) {
    file.variables.get_mut(variable).unwrap().attributes.insert(attribute.to_owned(), value.into());
}

fn has(used: &[String], text: &str) {
    assert!(used.iter().any(|one| one.contains(text)), "no `{text}` in {used:?}");
}

#[test]
fn units() {
    let bench = drift(|file| {
        set(file, "x", "units", "degC");
        set(file, "x", "valid_max", 50.0);
    });
    bench.refused("", "", &["units-mismatch", "`x`: `units` is \"K\" in `a.nc` but \"degC\" in `b.nc`"]);
    let used = bench.done("units: convert", "");
    assert_eq!((bench.numbers("x"), bench.units("x")), (vec![0.0, 1.0, 10.0 + 273.15, 11.0 + 273.15], "K".to_owned()));
    assert_eq!(bench.values("x").dtype.name(), "float64");
    assert!(bench.reader().schema().variable("x").unwrap().attributes.get("valid_max").is_none(), "it counts in degC");
    has(&used, "units: convert on x: \"degC\" became \"K\" (+ 273.15), in `b.nc`");
    // In single precision by the recipe's own word.
    bench.done("units: convert", "output:\n  encoding:\n    x: {dtype: float32}\n");
    assert_eq!(bench.numbers("x"), [0.0, 1.0, 10.0 + 273.15, 11.0 + 273.15].map(|value: f64| f64::from(value as f32)));
    // What no exact factor relates is refused all the same.
    drift(|file| set(file, "x", "units", "degF")).refused("units: convert", "", &["units-mismatch", "no exact factor"]);
    let rain = |name: &str| {
        let [mut one, mut other] = [day(0.0), day(1.0)];
        set(&mut one, "x", "units", "kg m-2 s-1");
        set(&mut other, "x", "units", "mm day-1");
        for file in [&mut one, &mut other] {
            set(file, "x", "standard_name", name);
        }
        Bench::new(&[one, other])
    };
    rain("tendency_of_something").refused("units: convert", "", &["units-mismatch"]);
    let bench = rain("precipitation_flux");
    has(&bench.done("units: convert", ""), "÷ 86400");
    assert_eq!(bench.numbers("x")[2..], [10.0 / 86_400.0, 11.0 / 86_400.0]);
    // Two spellings of one unit: nothing to convert, nothing widened.
    let bench = drift(|file| set(file, "x", "units", "kelvin"));
    bench.refused("", "", &["units-mismatch"]);
    bench.done("units: convert", "");
    assert_eq!((bench.values("x").dtype.name(), bench.numbers("x")), ("float32", vec![0.0, 1.0, 10.0, 11.0]));
}

#[test]
fn units_of_packed_values() {
    let packed = |time: f64, units: &str, scale: f64| {
        let mut file = day(time);
        file.variables.get_mut("x").unwrap().r#type = "short".into();
        set(&mut file, "x", "units", units);
        set(&mut file, "x", "scale_factor", scale);
        set(&mut file, "x", "_FillValue", 10);
        file
    };
    let bench = Bench::new(&[packed(0.0, "Pa", 0.5), packed(1.0, "hPa", 0.25)]);
    has(&bench.done("units: convert", ""), "× 100");
    let values = bench.numbers("x");
    assert_eq!((values[..2].to_vec(), values[3]), (vec![0.0, 0.5], 11.0 * 0.25 * 100.0));
    assert!(values[2].is_nan(), "a missing value stays missing");
}

#[test]
fn units_of_coordinates() {
    let level = |time: f64, units: &str, levels: [f64; 2]| {
        let mut file = day(time).dimension("level", 2).variable("level", "double", &["level"], &levels, &[("units", units)]);
        file.variables.remove("lat");
        file.variables.get_mut("x").unwrap().dims = vec!["time".into(), "level".into()];
        file
    };
    let bench = Bench::new(&[level(0.0, "Pa", [100_000.0, 50_000.0]), level(1.0, "hPa", [1000.0, 500.0])]);
    bench.refused("", "", &["units-mismatch", "`level`"]);
    bench.done("units: convert", "");
    assert_eq!(bench.numbers("level"), [100_000.0, 50_000.0]);
    Bench::new(&[level(0.0, "Pa", [100_000.0, 50_000.0]), level(1.0, "hPa", [1000.0, 500.5])]).refused(
        "units: convert",
        "",
        &["coordinate-mismatch", "50000 against 50050"],
    );
}

#[test]
fn types() {
    let bench = drift(|file| file.variables.get_mut("x").unwrap().r#type = "double".into());
    has(&bench.done("", ""), "dtype: widen on x: types differ between files; it is stored as float64");
    assert_eq!((bench.numbers("x"), bench.values("x").dtype.name()), (vec![0.0, 1.0, 10.0, 11.0], "float64"));
    bench.refused("dtype: fail", "", &["type-mismatch", "`x` is float32 in `a.nc` but float64 in `b.nc`", "`dtype: fail`"]);
}

#[test]
fn packing() {
    let packed = |time: f64, scale: f64| {
        let mut file = day(time);
        file.variables.get_mut("x").unwrap().r#type = "short".into();
        set(&mut file, "x", "scale_factor", scale);
        set(&mut file, "x", "add_offset", 5.0);
        file
    };
    let bench = Bench::new(&[packed(0.0, 0.5), packed(1.0, 0.25)]);
    has(&bench.done("", ""), "packing: unpack on x");
    assert_eq!(bench.numbers("x"), [5.0, 5.5, 10.0 * 0.25 + 5.0, 11.0 * 0.25 + 5.0]);
    bench.refused(
        "packing: fail",
        "",
        &["packing-mismatch", "scale_factor 0.5 and add_offset 5 in `a.nc`", "scale_factor 0.25 and add_offset 5 in `b.nc`"],
    );
    let alike = Bench::new(&[packed(0.0, 0.5), packed(1.0, 0.5)]);
    assert!(alike.done("packing: fail", "").is_empty());
    assert_eq!(alike.values("x").dtype.name(), "int16");
}

#[test]
fn counts_of_time() {
    let bench = drift(|file| {
        set(file, "time", "units", "hours since 2000-01-02");
        file.variables.get_mut("time").unwrap().values = vec![6.0];
    });
    has(&bench.done("", ""), "times: convert on time: 2 counts of the files became `hours since 2000-01-01` (int64), exactly");
    assert_eq!(bench.numbers("time"), [0.0, 30.0]);
    bench.refused("times: fail", "", &["time-not-joinable", "`days since 2000-01-01` in `a.nc`", "`hours since 2000-01-02` in `b.nc`"]);
    // The recipe's own count, in its own type; one that cannot hold every value is refused.
    bench.done("", "output:\n  encoding:\n    time: {units: \"days since 1999-12-31\", dtype: float64}\n");
    assert_eq!((bench.numbers("time"), bench.units("time")), (vec![1.0, 2.25], "days since 1999-12-31".to_owned()));
    bench.refused(
        "",
        "output:\n  encoding:\n    time: {units: \"days since 1999-12-31\"}\n",
        &["time-not-joinable", "which the recipe asks for"],
    );
    let (exit, told) = bench.run("", "output:\n  encoding:\n    time: {units: days}\n");
    assert_eq!((exit, told.contains("bad-time-units")), (2, true), "{told}");
    drift(|file| set(file, "time", "calendar", "360_day")).refused("times: convert", "", &["calendar-mismatch"]);
}

#[test]
fn dimensions() {
    let turned = drift(|file| {
        let x = file.variables.get_mut("x").unwrap();
        x.dims.reverse();
    });
    turned.refused("", "", &["dimensions-differ", "(time, lat) in `a.nc` but (lat, time) in `b.nc`"]);
    turned.done("", "steps:\n  - transpose: [time, lat]\n");
    assert_eq!(turned.numbers("x"), [0.0, 1.0, 10.0, 11.0]);
    let longer = Bench::new(&[
        day(0.0),
        MadeFile::default()
            .dimension("time", 1)
            .dimension("lat", 3)
            .variable("time", "double", &["time"], &[1.0], &[("units", "days since 2000-01-01")])
            .variable("lat", "double", &["lat"], &[10.0, 20.0, 30.0], &[])
            .variable("x", "float", &["time", "lat"], &[10.0, 11.0, 12.0], &[("units", "K")]),
    ]);
    longer.refused("", "", &["dimension-length-mismatch", "length 2 in `a.nc` but 3 in `b.nc`"]);
    longer.done("", "steps:\n  - isel: {lat: {start: 0, stop: 2}}\n");
    assert_eq!(longer.numbers("x"), [0.0, 1.0, 10.0, 11.0]);
}

#[test]
fn coordinates() {
    let bench = drift(|file| file.variables.get_mut("lat").unwrap().values = vec![10.0, 20.000_001]);
    bench.refused("", "", &["coordinate-mismatch", "`lat` differs between `a.nc` and `b.nc`: 20 against 20.000001 at [1]"]);
    has(&bench.done("join: {tolerance: 1e-5}", ""), "join: {tolerance: 0.00001} on lat: the first file's are kept");
    assert_eq!(bench.numbers("lat"), [10.0, 20.0]);
    bench.refused("join: {tolerance: 1e-7}", "", &["coordinate-mismatch"]);
    let alike = Bench::new(&[day(0.0), day(1.0)]);
    assert!(alike.done("join: {tolerance: 1e-5}", "").is_empty(), "a policy that never mattered is not listed");
}

#[test]
fn attributes() {
    let bench = drift(|file| set(file, "x", "long_name", "other"));
    let one = drift(|file| set(file, "x", "long_name", "other"));
    let mut first = day(0.0);
    set(&mut first, "x", "long_name", "one");
    fs::write(one.path.join("a.nc"), first.bytes()).unwrap();
    assert!(bench.done("attributes: fail", "").is_empty(), "what only some files say is no conflict");
    one.refused("attributes: fail", "", &["attribute-conflict", "`long_name` is \"one\" in `a.nc` but \"other\" in `b.nc`"]);
    has(&one.done("", ""), "attributes: drop_conflicts on x: differ between files: `long_name`");
    has(&one.done("attributes: override", ""), "attributes: override on x: differ between files: `long_name`");
    assert_eq!(one.reader().schema().variable("x").unwrap().attributes.text("long_name"), Some("one"));
    drift(|file| set(file, "x", "standard_name", "air_temperature")).refused(
        "attributes: override",
        "",
        &["attribute-conflict", "absent from `a.nc`"],
    );
}

#[test]
fn sites() {
    let site = |time: f64, name: &str| {
        let mut file = day(time);
        file.attributes.insert("station_id".into(), toml::Value::String(name.into()));
        file
    };
    let bench = Bench::new(&[site(0.0, "A"), site(1.0, "B")]);
    for policy in ["", "attributes: override"] {
        bench.refused(policy, "", &["attribute-conflict", "different sites", "`station_id` is \"A\" in `a.nc` but \"B\" in `b.nc`"]);
    }
    bench.done("", "steps:\n  - attrs: {delete: [station_id]}\n");
    assert_eq!(bench.numbers("x"), [0.0, 1.0, 10.0, 11.0]);
    assert!(Bench::new(&[site(0.0, "A"), site(1.0, "A")]).done("", "").is_empty());
}

#[test]
fn variables() {
    let bench = drift(|file| drop(file.variables.remove("x")));
    bench.refused("", "", &["variable-absent", "`x` is in `a.nc` but not in `b.nc`"]);
    has(&bench.done("absent: fill", ""), "absent: fill on x: filled in place of `b.nc`");
    let values = bench.numbers("x");
    assert!(values[..2] == [0.0, 1.0] && values[2].is_nan() && values[3].is_nan(), "{values:?}");
}

#[test]
fn overlaps() {
    // The second file repeats the last two steps of the first, with other values, and a step twice.
    let files = [
        steps(&[0.0, 1.0, 2.0, 3.0], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0]),
        steps(&[2.0, 3.0, 4.0, 4.0, 5.0], &[-20.0, -21.0, -30.0, -31.0, 40.0, 41.0, -40.0, -41.0, 50.0, 51.0]),
    ];
    let bench = Bench::new(&files);
    bench.refused("", "", &["duplicated-coordinate", "2000-01-03", "between `a.nc` and `b.nc`", "within `b.nc`"]);
    let times = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    for chunks in ["{time: 1}", "{time: 4}", "{time: 100}"] {
        let used = bench.done("overlap: first", &format!("output:\n  chunks: {chunks}\n"));
        assert_eq!(bench.numbers("time"), times);
        assert_eq!(bench.numbers("x"), [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0, 40.0, 41.0, 50.0, 51.0], "{chunks}");
        has(&used, "overlap: first on time: 2 steps of `b.nc` left out: they are taken from `a.nc`");
        has(&used, "overlap: first on time: 1 step of `b.nc` left out: they are taken from `b.nc`");
        bench.done("overlap: last", &format!("output:\n  chunks: {chunks}\n"));
        assert_eq!(bench.numbers("time"), times);
        assert_eq!(bench.numbers("x"), [0.0, 1.0, 10.0, 11.0, -20.0, -21.0, -30.0, -31.0, -40.0, -41.0, 50.0, 51.0], "{chunks}");
    }
    // A file that adds nothing, and one that counts from another day.
    let mut moved = steps(&[1.0, 2.0], &[90.0, 91.0, 92.0, 93.0]);
    set(&mut moved, "time", "units", "days since 2000-01-02");
    let bench = Bench::new(&[steps(&[0.0, 1.0, 2.0], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]), steps(&[1.0], &[70.0, 71.0]), moved]);
    bench.done("overlap: first", "");
    assert_eq!((bench.numbers("time"), bench.numbers("x")), (vec![0.0, 1.0, 2.0, 3.0], vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 92.0, 93.0]));
    // What would have to be put between other files' steps is out of order, and refused.
    let bench = Bench::new(&[steps(&[0.0, 1.0, 2.0], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]), steps(&[1.0], &[70.0, 71.0])]);
    bench.refused("overlap: last", "", &["not-monotonic"]);
    has(&bench.done("order: as_listed", ""), "order: as_listed on time");
    assert!(Bench::new(&[day(0.0), day(1.0)]).done("overlap: first", "").is_empty());
}

#[test]
fn gaps() {
    let bench = Bench::new(&[steps(&[0.0, 1.0, 2.0, 3.0], &[0.0; 8]), steps(&[6.0, 7.0], &[0.0; 4])]);
    bench.done("", "");
    let gap = &bench.report()["gaps"][0];
    assert_eq!(
        (&gap["coordinate"], &gap["after"], &gap["before"], &gap["steps"]),
        (&"time".into(), &"2000-01-04T00:00:00".into(), &"2000-01-07T00:00:00".into(), &2.into())
    );
    bench.refused(
        "",
        "expect:\n  time: {regular: 1 day}\n",
        &["expectation-failed", "2000-01-07 at position 4 follows 2000-01-04 at position 3; 2000-01-05 was due"],
    );
}

#[test]
fn expectations() {
    let bench = Bench::new(&[day(0.0), day(1.0)]);
    bench.refused("", "expect:\n  lat: {monotonic: true}\n  x: {monotonic: true}\n", &["expectation-failed", "`x` is no coordinate"]);
    bench.done("", "expect:\n  lat: {monotonic: true}\n  time: {monotonic: true, length: 2}\n");
    let mut backwards = [day(0.0), day(1.0)];
    for file in &mut backwards {
        file.variables.get_mut("lat").unwrap().values = vec![20.0, 20.0];
    }
    Bench::new(&backwards).refused(
        "",
        "expect:\n  lat: {monotonic: true}\n",
        &["`lat` is not monotonic: 20 at position 0 is followed by 20"],
    );
    // A chunk of nothing: within a shard, in a variable of its own, in a file that is missing.
    let mut hollow = [day(0.0), day(1.0), day(2.0)];
    for file in &mut hollow {
        set(file, "x", "missing_value", 11.0);
    }
    hollow[1].variables.get_mut("x").unwrap().values = vec![11.0, 11.0];
    let rule = "expect:\n  x: {no_empty_chunks: true}\n";
    let bench = Bench::new(&hollow);
    for output in ["chunks: {time: 1}", "chunks: {time: 1}\n  shards: {time: 3}"] {
        bench.refused(
            "",
            &format!("output:\n  {output}\n{rule}"),
            &["expectation-failed", "a chunk of `x` would hold nothing but missing values", "nothing new was published"],
        );
    }
    bench.done("", &format!("output:\n  chunks: {{time: 2}}\n{rule}"));
    let (exit, told) = bench.run("", "expect:\n  x: {no_empty_chunks: false}\n");
    assert_eq!((exit, told.contains("expects nothing")), (2, true), "{told}");
}
