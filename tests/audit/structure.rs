//! What `verify` says of the structure of stores that others made: one thing wrong at a time.

use serde_json::json;

use crate::baked::{command, exits, findings};
use crate::foreign::Foreign;

/// Asserts that a store, broken so, has this finding, and the exit code that goes with its level.
fn assert_found(level: &str, rule: &str, array: &str, breaks: impl FnOnce(&mut Foreign)) {
    let mut store = Foreign::good();
    breaks(&mut store);
    let output = store.verify(&[]);
    let found = findings(&output);
    let wanted = found.iter().any(|(l, r, a, _)| (l.as_str(), r.as_str(), a.as_str()) == (level, rule, array));
    assert!(wanted, "no {level} {rule} of `{array}` in {found:?}: {}", String::from_utf8_lossy(&output.stderr));
    let errors = found.iter().any(|(level, ..)| level == "error");
    assert_eq!(output.status.code(), Some(if errors { 7 } else { 0 }), "{found:?}");
    assert!(level == "error" || !errors, "a {level} alone is no error: {found:?}");
}

#[test]
fn a_good_store_of_others_is_clean() {
    let output = Foreign::good().verify(&["--read-data"]);
    assert_eq!(findings(&output), [], "{}", String::from_utf8_lossy(&output.stdout));
    let text = exits(&output, 0, "\"clean\":true");
    assert!(text.contains("\"read\":5"), "{text}");
    assert!(text.contains("4 times every 1 day, 2000-01-01T00:00:00 to 2000-01-04T00:00:00"), "{text}");
}

#[test]
fn dimensions_have_names_and_one_length_ar04() {
    assert_found("error", "AR04", "t", |store| store.document("t")["dimension_names"] = json!(["time", null, "lon"]));
    assert_found("error", "AR04", "t", |store| store.document("t")["dimension_names"] = json!(["time", "lat", "lat"]));
    assert_found("error", "AR04", "time", |store| {
        store.document("time")["shape"] = json!([5]);
        store.document("time")["chunk_grid"]["configuration"]["chunk_shape"] = json!([5]);
    });
    assert_found("error", "AR04", "t", |store| store.document("t")["chunk_grid"]["configuration"]["chunk_shape"] = json!([4, 0, 2]));
}

#[test]
fn codecs_and_types_are_those_that_readers_have_ar05() {
    let codec = |name: &str| json!([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": name}]);
    assert_found("error", "AR05", "t", |store| store.document("t")["codecs"] = codec("numcodecs.lzma"));
    assert_found("error", "AR05", "t", |store| store.document("t")["codecs"] = codec("my-own"));
    assert_found("warning", "AR05", "t", |store| store.document("t")["data_type"] = json!("complex64"));
}

#[test]
fn holes_of_others_are_warnings_and_orphans_errors_ar06() {
    assert_found("warning", "AR06", "t", |store| store.arrays.get_mut("t").unwrap().chunk = None);
    let folder = tempfile::tempdir().unwrap();
    Foreign::good().write(folder.path());
    std::fs::write(folder.path().join("t/c/0/0/1"), b"x").unwrap();
    std::fs::write(folder.path().join("notes.txt"), b"x").unwrap();
    let output = command().arg("verify").arg(folder.path()).arg("--json").output().unwrap();
    let text = exits(&output, 7, "AR06");
    assert!(text.contains("t/c/0/0/1") && text.contains("notes.txt"), "{text}");
}

#[test]
fn a_dimension_without_coordinate_is_told_ar10() {
    assert_found("warning", "AR10", "", |store| drop(store.arrays.remove("lon")));
}

#[test]
fn coordinates_are_finite_and_in_order_ar11() {
    for values in [[0.0, 1.0, 3.0, 2.0], [0.0, 1.0, 1.0, 2.0], [0.0, f64::NAN, 2.0, 3.0]] {
        assert_found("error", "AR11", "time", |store| store.values("time", &values));
    }
    let mut reversed = Foreign::good();
    reversed.values("time", &[3.0, 2.0, 1.0, 0.0]);
    assert_eq!(findings(&reversed.verify(&[])), [], "a coordinate may fall");
    let long: Vec<f64> = (0..40).map(|day| f64::from(day) + if day > 30 { 5.0 } else { 0.0 }).collect();
    let mut gap = Foreign::good();
    gap.arrays.remove("t");
    gap.add("time", &["time"], &long, &[40], &json!({"units": "days since 2000-01-01", "calendar": "standard"}));
    let output = gap.verify(&[]);
    exits(&output, 0, "1 gaps, the first between 2000-01-31T00:00:00 and 2000-02-06T00:00:00");
}

#[test]
fn tiny_chunks_of_a_coordinate_are_told_ar12() {
    let mut store = Foreign::good();
    store.document("time")["chunk_grid"]["configuration"]["chunk_shape"] = json!([1]);
    store.document("time")["shape"] = json!([5]);
    let output = store.verify(&[]);
    assert!(findings(&output).iter().any(|(_, rule, array, _)| (rule.as_str(), array.as_str()) == ("AR12", "time")));
}

#[test]
fn places_are_on_the_globe_ar13() {
    assert_found("error", "AR13", "lat", |store| store.values("lat", &[-95.0, 0.0, 45.0]));
    assert_found("warning", "AR13", "lon", |store| store.values("lon", &[-170.0, 300.0]));
}

#[test]
fn bounds_are_there_and_fit_ar14() {
    assert_found("error", "AR14", "lat", |store| drop(store.arrays.remove("lat_bnds")));
    assert_found("error", "AR14", "lat", |store| {
        store.add("lat_bnds", &["lat", "three"], &[0.0; 9], &[3, 3], &json!({}));
    });
    assert_found("warning", "AR14", "lat", |store| store.values("lat_bnds", &[-67.5, -50.0, -22.5, 22.5, 22.5, 67.5]));
    assert_found("warning", "AR14", "lat", |store| store.values("lat_bnds", &[-67.5, -30.0, -22.5, 22.5, 22.5, 67.5]));
}

#[test]
fn coordinates_that_are_named_are_there_ar15() {
    assert_found("error", "AR15", "t", |store| store.document("t")["attributes"]["coordinates"] = json!("lat lon height"));
    assert_found("warning", "AR15", "latitude", |store| {
        store.add("latitude", &["lat", "lon"], &[0.0; 6], &[3, 2], &json!({"standard_name": "latitude", "units": "degrees_north"}));
    });
}

#[test]
fn times_can_be_decoded_ar20() {
    assert_found("warning", "AR20", "time", |store| store.document("time")["attributes"]["units"] = json!("days since never"));
    assert_found("warning", "AR20", "time", |store| store.document("time")["attributes"]["calendar"] = json!("martian"));
    assert_found("warning", "AR20", "time", |store| drop(store.document("time")["attributes"].as_object_mut().unwrap().remove("calendar")));
}

#[test]
fn marks_of_missing_values_mean_what_readers_think_ar21_to_ar23() {
    assert_found("error", "AR22", "t", |store| store.document("t")["attributes"]["_FillValue"] = json!(1e20));
    assert_found("error", "AR22", "t", |store| store.document("t")["attributes"]["_FillValue"] = json!("1e20"));
    assert_found("warning", "AR22", "t", |store| store.document("t")["fill_value"] = json!(0.0));
    let packed = |store: &mut Foreign, fill: i64| {
        let document = store.document("t");
        (document["data_type"], document["fill_value"]) = (json!("int16"), json!(0));
        document["attributes"] = json!({"scale_factor": 0.01, "_FillValue": fill});
        store.arrays.get_mut("t").unwrap().chunk = Some(vec![0; 48]);
    };
    assert_found("error", "AR21", "t", |store| packed(store, 40_000));
    assert_found("warning", "AR21", "t", |store| {
        packed(store, 5);
        store.document("t")["attributes"]["valid_range"] = json!([0, 100]);
    });
    assert_found("warning", "AR23", "t", |store| {
        store.document("t")["attributes"] = json!({"flag_values": [0, 1, 2], "flag_meanings": "good bad"});
    });
}

#[test]
fn a_grid_mapping_is_there_ar25() {
    assert_found("error", "AR25", "t", |store| store.document("t")["attributes"]["grid_mapping"] = json!("crs"));
    assert_found("warning", "AR25", "t", |store| {
        store.document("t")["attributes"]["grid_mapping"] = json!("crs: lat lon");
        store.add("crs", &[], &[0.0], &[], &json!({}));
    });
}

#[test]
fn the_whole_says_what_it_is_ar27_and_ar28() {
    assert_found("warning", "AR27", "", |store| store.attributes["time_coverage_end"] = json!("1999-01-01T00:00:00Z"));
    assert_found("warning", "AR28", "", |store| drop(store.attributes.as_object_mut().unwrap().remove("license")));
    let mut true_of_all = Foreign::good();
    true_of_all.attributes["time_coverage_end"] = json!("2000-01-04");
    assert_eq!(findings(&true_of_all.verify(&[])), []);
}

#[test]
fn huge_objects_are_told_ar30() {
    assert_found("warning", "AR30", "t", |store| {
        let document = store.document("t");
        document["shape"] = json!([4, 3, 200_000_000]);
        document["chunk_grid"]["configuration"]["chunk_shape"] = json!([4, 3, 200_000_000]);
        document["dimension_names"] = json!(["time", "lat", "x"]);
    });
}

#[test]
fn a_copy_that_is_not_the_original_is_found_ar03() {
    let folder = tempfile::tempdir().unwrap();
    Foreign::good().write(folder.path());
    let verify = || command().arg("verify").arg(folder.path()).arg("--json").output().unwrap();
    let mut other = Foreign::good();
    other.document("t")["attributes"]["units"] = json!("degC");
    std::fs::write(folder.path().join("t/zarr.json"), other.document("t").to_string()).unwrap();
    let text = exits(&verify(), 7, "AR03");
    assert!(text.contains("`attributes`"), "{text}");
    Foreign::good().write(folder.path());
    std::fs::remove_file(folder.path().join("t/zarr.json")).unwrap();
    exits(&verify(), 7, "whose own metadata is absent");
    Foreign::good().write(folder.path());
    std::fs::create_dir(folder.path().join("new")).unwrap();
    std::fs::copy(folder.path().join("lon/zarr.json"), folder.path().join("new/zarr.json")).unwrap();
    exits(&verify(), 7, "the consolidated metadata lacks this node");
    std::fs::write(folder.path().join("zarr.json"), "{").unwrap();
    exits(&verify(), 7, "no JSON");
}

#[test]
fn damaged_objects_of_others_do_not_decode_ar44() {
    let mut store = Foreign::good();
    store.arrays.get_mut("t").unwrap().chunk.as_mut().unwrap().truncate(100);
    let structure = store.verify(&[]);
    assert_eq!((structure.status.code(), findings(&structure).len()), (Some(0), 0), "structure alone does not read data");
    exits(&store.verify(&["--read-data"]), 7, "AR44");
    exits(&store.verify(&["--read-data=150%"]), 2, "takes a share");
}

#[test]
fn what_is_no_store_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let verify = |more: &[&str]| command().arg("verify").arg(folder.path()).args(more).output().unwrap();
    exits(&verify(&[]), 2, "there is no Zarr store here");
    Foreign::good().write(folder.path());
    exits(&verify(&["--receipts"]), 2, "no state of a finished run beside it");
    exits(&verify(&["--against-source"]), 2, "no state of a finished run beside it");
    exits(&command().args(["verify", "https://example.org/a.zarr"]).output().unwrap(), 2, "cannot be written to");
}

#[test]
fn opening_takes_few_requests_ar02() {
    let mut store = Foreign::good();
    let values: Vec<f64> = (0..12).map(f64::from).collect();
    store.add("z", &["z"], &values, &[12], &json!({"units": "m", "positive": "up"}));
    store.document("z")["chunk_grid"]["configuration"]["chunk_shape"] = json!([1]);
    let output = store.verify(&[]);
    let warning = ("warning".to_owned(), "AR02".to_owned(), String::new(), String::new());
    assert!(findings(&output).contains(&warning), "{:?}", findings(&output));
    exits(&output, 7, "opening it takes 16 requests at least: 1 for metadata, 15 for coordinates of dimensions");
}

#[test]
fn axes_can_be_told_by_their_attributes_ar16() {
    for (name, attributes) in [("lat", json!({})), ("lon", json!({"units": "degrees"})), ("time", json!({"units": "K"}))] {
        assert_found("warning", "AR16", name, |store| store.document(name)["attributes"] = attributes.clone());
    }
    for (name, attributes) in [("lat", json!({"axis": "Y"})), ("lon", json!({"standard_name": "grid_longitude", "units": "degrees"}))] {
        let mut store = Foreign::good();
        store.document(name)["attributes"] = attributes;
        let found = findings(&store.verify(&[]));
        assert!(!found.iter().any(|(_, rule, ..)| rule == "AR16"), "{found:?}");
    }
}

#[test]
fn units_and_standard_names_are_those_of_cf_ar24() {
    for attributes in [
        json!({"units": "unitless"}),
        json!({"units": "K", "standard_name": "Air Temperature"}),
        json!({"units": "hPa", "standard_name": "air_temperature"}),
    ] {
        assert_found("warning", "AR24", "t", |store| store.document("t")["attributes"] = attributes.clone());
    }
    let mut store = Foreign::good();
    store.document("t")["attributes"] = json!({"units": "degC", "standard_name": "air_temperature"});
    assert_eq!(findings(&store.verify(&[])), []);
}
