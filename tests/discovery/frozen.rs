//! What was found is kept: for runs that ask nobody, and for repositories that pin it.

use super::*;

fn flat(count: usize) -> Place {
    let place = Place::new();
    for file in &archive()[..count] {
        place.write(&format!("data/{}", name(file)), fs::read(file).unwrap());
    }
    place.recipe(&format!("find:\n    glob: data/*.nc\n    {NAMES}"));
    place
}

fn add(place: &Place, number: usize) {
    let file = &archive()[number];
    place.write(&format!("data/{}", name(file)), fs::read(file).unwrap());
}

#[test]
fn a_frozen_run_sees_no_new_file() {
    let place = flat(2);
    place.run("out.zarr", &["--frozen"]).fails(2, &["source-not-remembered", "no earlier `plan` or `run`"]);
    place.run("out.zarr", &[]).ok();
    add(&place, 2);
    let said = place.run("out.zarr", &["--frozen"]).ok();
    assert!(said.contains("nothing to do"), "{said}");
    let said = place.say(&["resume", "out.zarr"]).ok();
    assert!(said.contains("nothing to do"), "{said}");
    place.bakes("out.zarr", 3);
    place.recipe(&format!("find:\n    glob: data/*12.nc\n    {NAMES}"));
    place.run("out.zarr", &["--frozen"]).fails(2, &["another rule"]);
}

#[test]
fn a_plan_is_repeatable_from_the_cache() {
    let place = flat(2);
    place.say(&["plan", "recipe.yaml", "--save", "a.json"]).ok();
    add(&place, 2);
    place.say(&["plan", "recipe.yaml", "--frozen", "--save", "b.json"]).ok();
    place.say(&["plan", "recipe.yaml", "--save", "c.json"]).ok();
    let plan = |name: &str| {
        let mut plan: serde_json::Value = serde_json::from_slice(&fs::read(place.path(name)).unwrap()).unwrap();
        plan.as_object_mut().unwrap().remove("used");
        plan
    };
    assert_eq!(plan("a.json"), plan("b.json"));
    assert_ne!(plan("a.json"), plan("c.json"));
}

#[test]
fn a_list_can_be_pinned_in_a_repository() {
    let place = flat(2);
    place.say(&["inputs", "recipe.yaml", "--save", "inputs.lock.json"]).ok();
    add(&place, 2);
    place.run("out.zarr", &["--inputs", "inputs.lock.json"]).ok();
    assert!(place.bytes("out.zarr") == Place::written(2));
    place.say(&["plan", "recipe.yaml", "--inputs", "inputs.lock.json"]).ok();
    let text = fs::read_to_string(place.path("inputs.lock.json")).unwrap();
    place.write("inputs.lock.json", text.replacen("\"at\":[1]", "\"at\":[5]", 1));
    place.run("out.zarr", &["--inputs", "inputs.lock.json"]).fails(2, &["outside of the axes", "--save FILE"]);
    place.run("out.zarr", &["--inputs", "absent.json"]).fails(2, &["cannot be read"]);
    place.recipe("files: [a.nc]");
    place.run("other.zarr", &["--inputs", "inputs.lock.json"]).fails(2, &["writes its inputs"]);
}
