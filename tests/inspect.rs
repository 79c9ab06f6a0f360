//! `gristmill inspect` of stores, held to its own reading of the files they were made from, and to what their recipes say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn gristmill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn inspect(path: &str) -> Value {
    let output = gristmill(&["inspect", path, "--stats", "--json"]);
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Bakes a shipped recipe with `output` changed by a line; returns the store's path.
fn bake(name: &str, line: &str, folder: &Path) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/recipes/{name}/recipe.yaml")).unwrap();
    let text = text.replace("../../tests", &format!("{root}/tests")).replace("output:\n", &format!("output:\n{line}"));
    let (recipe, store) = (folder.join("recipe.yaml"), folder.join("out.zarr"));
    std::fs::write(&recipe, text).unwrap();
    let output = gristmill(&["run", recipe.to_str().unwrap(), "--quiet", "--target", store.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    store.to_str().unwrap().to_owned()
}

fn variable<'a>(description: &'a Value, name: &str) -> &'a Value {
    description["variables"].as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap()
}

/// Smallest, largest, mean and number of valid values of all files together.
fn together(files: &[Value], name: &str) -> (f64, f64, f64, u64) {
    let of = |key: &str| files.iter().map(|file| variable(file, name)["statistics"][key].as_f64().unwrap()).collect::<Vec<_>>();
    let valid = of("valid");
    let sum: f64 = of("mean").iter().zip(&valid).map(|(mean, count)| mean * count).sum();
    let count: f64 = valid.iter().sum();
    (of("min").into_iter().fold(f64::MAX, f64::min), of("max").into_iter().fold(f64::MIN, f64::max), sum / count, count as u64)
}

fn assert_agrees(store: &Value, files: &[Value], name: &str) {
    let found = &variable(store, name)["statistics"];
    let (min, max, mean, valid) = together(files, name);
    assert!(valid > 0, "{name}: the files hold nothing to compare");
    assert_eq!(found["valid"].as_u64(), Some(valid), "{name}");
    for (key, wanted) in [("min", min), ("max", max), ("mean", mean)] {
        let told = found[key].as_f64().unwrap();
        assert!((told - wanted).abs() <= 1e-12 * wanted.abs().max(1.0), "{name}: {key} {told} instead of {wanted}");
    }
}

#[test]
fn a_store_tells_what_its_packed_files_tell() {
    let files: Vec<Value> = (1..=5).map(|day| inspect(&format!("tests/data/tcco2-packed/tcco2_2006010{day}.nc"))).collect();
    for (line, format) in [("", "zarr3"), ("  format: zarr2\n", "zarr2"), ("  shards: {time: 19, lat: 40, lon: 80}\n", "zarr3")] {
        let folder = tempfile::tempdir().unwrap();
        let store = inspect(&bake("tcco2-packed", line, folder.path()));
        assert_eq!(store["format"], format);
        let packed = variable(&store, "tcco2");
        assert_eq!(
            (&packed["type"], &packed["dimensions"], &packed["shape"]),
            (&"float64".into(), &serde_json::json!(["time", "lat", "lon"]), &serde_json::json!([19, 40, 80]))
        );
        assert_eq!(packed["chunks"], serde_json::json!([19, 20, 40]));
        assert_eq!(packed.get("shards").is_some(), line.contains("shards"));
        assert!(packed["filters"][0].as_str().unwrap().starts_with("blosc "), "{packed}");
        assert_agrees(&store, &files, "tcco2");
    }
}

#[test]
fn integers_with_a_fill_value_and_floats_with_gaps_count_alike() {
    let files = |component: &str| -> Vec<Value> {
        let name =
            |hour| format!("tests/data/imos-currents/{component}/IMOS_ACORN_{component}_20240101T0{hour}0000Z_TURQ_FV01_1-hour-avg.nc");
        (0..4).map(|hour| inspect(&name(hour))).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let store = inspect(&bake("imos-currents", "", folder.path()));
    for component in ["UCUR", "VCUR"] {
        let files = files(component);
        for name in [component.to_owned(), format!("{component}_quality_control")] {
            assert_agrees(&store, &files, &name);
        }
    }
}

#[test]
fn text_names_what_a_store_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = bake("tcco2-packed", "  shards: {time: 19, lat: 40, lon: 80}\n", folder.path());
    let text = String::from_utf8(gristmill(&["inspect", &store]).stdout).unwrap();
    for part in [
        "out.zarr (Zarr 3)\n",
        "    float64 tcco2(time = 19, lat = 40, lon = 80)\n",
        "        stored: chunks 19 × 20 × 40; in shards 19 × 40 × 80; blosc ",
        "        units: \"kg m**-2\"\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_is_no_store_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    for (url, says) in
        [(folder.path().to_str().unwrap(), "neither `zarr.json` nor `.zmetadata`"), ("https://example.org/a.zarr", "cannot be read yet")]
    {
        let output = gristmill(&["inspect", url]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{errors}");
        assert!(errors.contains(says) && errors.contains(url), "{errors}");
    }
}

#[test]
fn damage_is_told_beside_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let store = bake("tcco2-packed", "", folder.path());
    std::fs::write(Path::new(&store).join("tcco2/c/0/1/1"), b"damaged").unwrap();
    let output = gristmill(&["inspect", &store, "--stats", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(variable(&told, "tcco2")["unreadable"].as_str().unwrap().contains("cannot be read"), "{told}");
    assert!(variable(&told, "lat")["statistics"]["valid"] == 40, "{told}");
}
