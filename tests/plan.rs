//! How `gristmill plan` tells what a run would do, for the recipes whose files are here. `GRISTMILL_BLESS=1` writes the
//! snapshots anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

const OFFLINE: [&str; 4] = ["arm-met", "cmip6-siconc", "imos-currents", "tcco2-packed"];

fn shown(name: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    // Threads and memory decide how the work is cut.
    command.args(["plan", &format!("recipes/{name}/recipe.yaml"), "--threads", "2", "--memory", "1GiB"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(name), "{name}: the plan says nothing");
    text
}

#[test]
fn plans_of_shipped_recipes_look_as_recorded() {
    let mut changed = Vec::new();
    for name in OFFLINE {
        let (text, path) = (shown(name), Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/plan/{name}.txt")));
        if std::env::var_os("GRISTMILL_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            changed.push(format!("{name}:\n{text}"));
        }
    }
    assert!(changed.is_empty(), "changed (GRISTMILL_BLESS=1 records them):\n{}", changed.join("\n"));
}
