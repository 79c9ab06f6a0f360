//! `provenance.json`: what a store was made of and how, per commit.

use serde_json::Value;

use crate::baked::{Bench, command, exits};

#[test]
fn every_input_and_the_recipe_are_told() {
    let bench = Bench::baked(3);
    let told = bench.kept("provenance.json");
    assert_eq!(
        (told["version"].as_u64(), told["dataset"].as_str(), told["license"].as_str()),
        (Some(1), Some("ice"), Some("CC-BY-SA-4.0"))
    );
    assert_eq!(told["plan"], bench.kept("committed.json")["plan"]);
    let inputs = told["inputs"].as_array().unwrap();
    assert_eq!(inputs.len(), 3);
    for (input, file) in inputs.iter().zip(bench.files(3)) {
        assert!(input["url"].as_str().unwrap().ends_with(&*file.file_name().unwrap().to_string_lossy()));
        assert_eq!(input["size"].as_u64(), Some(file.metadata().unwrap().len()));
        assert!(input["read_bytes"].as_u64() > Some(0) && input["checksum"].as_str().unwrap().len() == 32, "{input}");
        assert!(input["modified"].is_string());
    }
    let text = std::fs::read_to_string(bench.folder.path().join("ice-3.yaml")).unwrap();
    assert_eq!(told["recipe"]["text"].as_str(), Some(text.as_str()));
    assert_eq!(std::fs::read_to_string(bench.state().join("recipe.yaml")).unwrap(), text);
    assert_eq!(told["recipe"]["origin"]["day"].as_str().unwrap().len(), 10, "the day that moving ends count from");
    assert_eq!(told["policies"]["combine.attributes"].as_str(), Some("drop_conflicts"));
    assert!(told["verification"]["values"].as_u64() > Some(0) && told["seconds"]["execute"].is_number(), "{told}");
    assert!(told["warnings"].to_string().contains("history"), "{}", told["warnings"]);
    let committed: jiff::Timestamp = told["committed"].as_str().unwrap().parse().unwrap();
    assert!(committed.as_second() > 1_700_000_000);
}

#[test]
fn an_append_adds_an_entry_and_keeps_what_was_read_before() {
    let bench = Bench::baked(2);
    let first = bench.kept("provenance.json");
    bench.bake(4);
    let second = bench.kept("provenance.json");
    assert_eq!(second["continues"], serde_json::json!([first["plan"]]));
    assert_eq!(second["inputs"].as_array().unwrap().len(), 4);
    for number in 0..4 {
        assert!(second["inputs"][number]["read_bytes"].as_u64() > Some(0), "file {number}: {}", second["inputs"][number]);
    }
    assert_eq!(second["inputs"][0], first["inputs"][0]);
    for told in [&first, &second] {
        let kept = bench.kept(&format!("provenance/{}.json", told["plan"].as_str().unwrap()));
        assert_eq!(kept["plan"], told["plan"]);
    }
}

#[test]
fn a_store_that_takes_another_ones_place_brings_its_own() {
    let bench = Bench::baked(2);
    let recipe = bench.recipe(3);
    let output = command().arg("run").arg(recipe).arg("--target").arg(bench.target()).arg("--replace").output().unwrap();
    exits(&output, 0, "open it");
    let told = bench.kept("provenance.json");
    assert_eq!((told["inputs"].as_array().unwrap().len(), told["continues"].as_array().unwrap().len()), (3, 0));
    assert_eq!(told["plan"], bench.kept("committed.json")["plan"]);
    exits(&bench.ask("verify", &["--receipts", "--read-data"]), 0, "clean");
}

#[test]
fn nothing_of_it_is_in_the_store() {
    let (one, other) = (Bench::baked(2), Bench::baked(2));
    assert_ne!(one.kept("provenance.json")["committed"], other.kept("provenance.json")["committed"]);
    assert!(one.bytes() == other.bytes(), "stores of one plan differ");
    let root: Value = serde_json::from_slice(&one.bytes()[std::path::Path::new("zarr.json")]).unwrap();
    let attributes = root["attributes"].as_object().unwrap();
    for of_one_file in ["history", "tracking_id", "creation_date"] {
        assert!(!attributes.contains_key(of_one_file), "{of_one_file} is of one file");
    }
    for kept in ["Conventions", "title", "institution", "source", "license"] {
        assert!(attributes.contains_key(kept), "{kept} is gone");
    }
}

#[test]
fn the_file_is_what_its_schema_says() {
    let bench = Bench::baked(2);
    let told = bench.kept("provenance.json");
    let schema: Value = serde_json::from_str(&gristmill::run::provenance::schema_text()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for name in told.as_object().unwrap().keys() {
        assert!(properties.contains_key(name), "{name} is not in the schema");
    }
    for name in schema["required"].as_array().unwrap() {
        assert!(told.get(name.as_str().unwrap()).is_some(), "{name} is not in the file");
    }
}
