//! Memory that is what the plan says: a generated archive is turned into time series within several budgets, and the most that
//! the process held (`VmHWM`) is compared with the figure that `gristmill plan` gives.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const STEPS: u32 = 10;
const FILES: u32 = 12;
const ROWS: u32 = 720;
const COLUMNS: u32 = 1440;

/// A classic NetCDF file (CDF-1, NetCDF User's Guide appendix B): `time` and one int16 field of `STEPS` maps.
fn write_archive(path: &Path, number: u32) {
    let word = |number: u32| number.to_be_bytes().to_vec();
    let name = |text: &str| {
        let mut bytes = word(text.len() as u32);
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let first = number * STEPS;
    let time: Vec<u8> = (0..STEPS).flat_map(|step| f64::from(first + step).to_be_bytes()).collect();
    let mut field = Vec::with_capacity((STEPS * ROWS * COLUMNS * 2) as usize);
    for step in 0..STEPS {
        for row in 0..ROWS {
            let values = (0..COLUMNS).map(|column| ((first + step) * 3 + row * 5 + column / 7 + (column * row) % 11) as i16);
            field.extend(values.flat_map(i16::to_be_bytes));
        }
    }
    let units = [word(12), word(1), name("units"), word(2), name("hours since 2000-01-01")].concat();
    let none = [word(0), word(0)].concat();
    let header = |begin: u32| {
        let dimensions = [("time", STEPS), ("row", ROWS), ("column", COLUMNS)].map(|(text, length)| [name(text), word(length)].concat());
        let time = [name("time"), word(1), word(0), units.clone(), word(6), word(8 * STEPS), word(begin)].concat();
        let places = [word(3), word(0), word(1), word(2)].concat();
        let size = word(2 * STEPS * ROWS * COLUMNS);
        let heat = [name("heat"), places, none.clone(), word(3), size, word(begin + 8 * STEPS)].concat();
        [b"CDF\x01".to_vec(), word(0), word(10), word(3), dimensions.concat(), none.clone(), word(11), word(2), time, heat].concat()
    };
    let length = header(0).len() as u32;
    std::fs::write(path, [header(length), time, field].concat()).unwrap();
}

/// The most memory that a process held, in bytes, as its kernel told last.
fn peak_of(command: &mut Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kilobytes: u64 = line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
        peak = peak.max(kilobytes * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    peak
}

fn gristmill(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    command.current_dir(folder).args(words).args(["--threads", "2"]);
    command
}

#[test]
fn a_run_holds_no_more_than_its_plan_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    (0..FILES).for_each(|number| write_archive(&folder.join(format!("{number:02}.nc")), number));
    let files: Vec<String> = (0..FILES).map(|number| format!("    - {number:02}.nc\n")).collect();
    let recipe = format!(
        "schema: 1\nid: turned\ntitle: Turned over\nlicense: CC0-1.0\ninputs:\n  files:\n{}combine: {{concat: [time]}}\noutput:\n  chunks: {{time: {}, row: 90, column: 90}}\n",
        files.concat(),
        FILES * STEPS
    );
    std::fs::write(folder.join("recipe.yaml"), recipe).unwrap();
    let mut stages = Vec::new();
    let mut stores = Vec::new();
    for memory in ["80MiB", "600MiB"] {
        let shown = gristmill(folder, &["plan", "recipe.yaml", "--json", "--memory", memory]).output().unwrap();
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let plan: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        let told = plan["peak_bytes"].as_u64().unwrap();
        let target = format!("{memory}.zarr");
        let held = peak_of(&mut gristmill(folder, &["run", "recipe.yaml", "--quiet", "--memory", memory, "--target", &target]));
        println!("{memory}: told {told}, held {held}, stages {}", plan["stages"]);
        assert!(held * 10 <= told * 11, "{memory}: {held} bytes held, {told} planned");
        // A figure far from what happens would be worth nothing either.
        assert!(held * 4 >= told, "{memory}: only {held} bytes held of {told} planned");
        assert!(told <= plan["memory"].as_u64().unwrap());
        stages.push(plan["stages"].as_u64().unwrap());
        stores.push(objects(&folder.join(&target)));
    }
    assert_eq!(stages, [2, 1]);
    assert!(stores.windows(2).all(|pair| pair[0] == pair[1]), "memory changed a byte of the store");
}

/// Every object of the field.
fn objects(target: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut folders = vec![target.join("heat")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(target).unwrap().display().to_string(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "{} objects", found.len());
    found
}
