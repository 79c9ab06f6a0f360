//! Steps: what each does to a schema, and where the values are afterwards.

#![expect(clippy::unwrap_used, reason = "a failing test may panic, in its own functions too")]

use std::collections::BTreeMap;

use gristmill::array::{Array, DataType, Scalar};
use gristmill::dataset::{Attribute, Attributes, Dimension, Encoding, Schema, Variable};
use gristmill::pattern::KeyValue;
use gristmill::transform::{Absent, Step, TransformError, Transformed, apply};

fn variable(name: &str, dtype: DataType, dimensions: &[&str], attributes: &[(&str, &str)]) -> Variable {
    let attributes = attributes.iter().map(|(name, text)| ((*name).to_owned(), Attribute::Text((*text).to_owned()))).collect();
    Variable {
        name: name.to_owned(),
        dtype,
        dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
        attributes: Attributes(attributes),
        coordinate: false,
        encoding: Encoding::default(),
    }
}

fn dimension(name: &str, length: u64) -> Dimension {
    Dimension { name: name.to_owned(), length, unlimited: false }
}

/// A file like those of CMIP: packed latitudes from north to south, a height, a type of chars, bounds.
fn schema() -> Schema {
    use DataType::{Char, Float64, Int16, Int32};
    let mut tas = variable(
        "tas",
        Int32,
        &["time", "zlev", "lat"],
        &[("coordinates", "height type nowhere"), ("grid_mapping", "crs"), ("cell_methods", "time: mean")],
    );
    tas.encoding.chunks = Some(vec![1, 1, 3]);
    Schema {
        dimensions: vec![
            dimension("time", 2),
            dimension("zlev", 1),
            dimension("lat", 3),
            dimension("bnds", 2),
            dimension("length", 4),
            dimension("unused", 9),
        ],
        variables: vec![
            tas,
            variable("time", Int16, &["time"], &[("bounds", "time_bnds"), ("units", "days since 2000-01-01")]),
            variable("time_bnds", Float64, &["time", "bnds"], &[]),
            variable("lat", Int16, &["lat"], &[]),
            variable("zlev", Float64, &["zlev"], &[]),
            variable("height", Float64, &[], &[]),
            variable("crs", Int32, &[], &[]),
            variable("type", Char, &["length"], &[]),
            variable("flag", Char, &["lat"], &[]),
        ],
        attributes: Attributes::default(),
        groups: BTreeMap::new(),
    }
}

/// Values of the file: numbers that tell their own place.
fn values(name: &str) -> Option<Array> {
    let whole = |values: &[i16]| values.iter().map(|value| Scalar::Int16(*value)).collect::<Vec<_>>();
    match name {
        "tas" => Array::from_scalars(DataType::Int32, vec![2, 1, 3], &(0..6).map(Scalar::Int32).collect::<Vec<_>>()),
        "lat" => Array::from_scalars(DataType::Int16, vec![3], &whole(&[50, -10, 20])),
        "time" => Array::from_scalars(DataType::Int16, vec![2], &whole(&[1, 2])),
        "type" => Array::from_bytes(DataType::Char, vec![4], b"ice\0".to_vec()),
        "flag" => Array::from_bytes(DataType::Char, vec![3], b"ab\0".to_vec()),
        _ => None,
    }
}

fn run(steps: &str, keys: &[(&str, KeyValue)]) -> Result<Transformed, TransformError> {
    let steps: Vec<Step> = serde_json::from_str(steps).unwrap();
    let keys = keys.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    apply(&steps, &schema(), &keys, &mut values)
}

fn read(done: &Transformed, name: &str) -> Array {
    let (source, view) = &done.views[name];
    let array = values(source).unwrap();
    view.apply(&done.texts.get(name).map_or(array.clone(), |rule| rule.apply(&array).unwrap())).unwrap()
}

fn names(done: &Transformed) -> Vec<&str> {
    done.schema.variables.iter().map(|variable| variable.name.as_str()).collect()
}

fn whole(done: &Transformed, name: &str) -> Vec<i64> {
    read(done, name).scalars().map(|value| value.as_i64().unwrap()).collect()
}

#[test]
fn without_steps_texts_are_joined_and_coordinates_known() {
    let done = run("[]", &[]).unwrap();
    let coordinates: Vec<&str> = done.schema.variables.iter().filter(|one| one.coordinate).map(|one| one.name.as_str()).collect();
    assert_eq!(coordinates, ["time", "lat", "zlev", "height", "type"]);
    assert_eq!(done.schema.variable("tas").unwrap().attributes.get("coordinates"), None);
    assert_eq!(
        (done.schema.variable("type").unwrap().dtype, &done.schema.variable("type").unwrap().dimensions),
        (DataType::String, &vec![])
    );
    assert_eq!(
        (read(&done, "type").texts(), read(&done, "flag").texts()),
        (&["ice".to_owned()][..], &["a".to_owned(), "b".into(), String::new()][..])
    );
    assert_eq!(done.schema.dimensions.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["time", "zlev", "lat", "bnds"]);
}

#[test]
fn drop_forgets_every_mention() {
    let done = run(r#"[{"drop": ["*_bnds", "crs", "nothing*"]}]"#, &[]).unwrap();
    assert_eq!(names(&done), ["tas", "time", "lat", "zlev", "height", "type", "flag"]);
    assert_eq!(done.schema.variable("time").unwrap().attributes.get("bounds"), None);
    assert_eq!(done.schema.variable("tas").unwrap().attributes.get("grid_mapping"), None);
    assert!(done.schema.dimension("bnds").is_none() && !done.views.contains_key("crs"));
    assert_eq!(done.absent, [Absent { step: 0, name: "nothing*".into() }]);
}

#[test]
fn keep_keeps_what_belongs_to_the_kept() {
    assert_eq!(names(&run(r#"[{"keep": ["tas"]}]"#, &[]).unwrap()), ["tas", "time", "time_bnds", "lat", "zlev", "height", "crs", "type"]);
    assert_eq!(names(&run(r#"[{"keep": ["flag"]}]"#, &[]).unwrap()), ["lat", "height", "type", "flag"]);
}

#[test]
fn rename_follows_mentions_and_refuses_clashes() {
    let done = run(r#"[{"rename": {"lat": "latitude", "time": "t", "time_bnds": "t_bnds", "flag": "lat"}}]"#, &[]).unwrap();
    let tas = done.schema.variable("tas").unwrap();
    assert_eq!(
        (tas.dimensions.as_slice(), tas.attributes.text("cell_methods")),
        (&["t".to_owned(), "zlev".into(), "latitude".into()][..], Some("t: mean"))
    );
    assert_eq!(done.schema.variable("t").unwrap().attributes.text("bounds"), Some("t_bnds"));
    assert_eq!(done.views["latitude"].0, "lat");
    assert!(done.schema.dimension("latitude").is_some() && done.schema.dimension("lat").is_none());
    let clash = run(r#"[{"rename": {"tas": "crs"}}]"#, &[]).unwrap_err();
    assert!(clash.to_string().contains("step 1 (`rename`)") && clash.message.contains("`crs` is taken"), "{clash}");
    assert_eq!(run(r#"[{"rename": {"gone": "x"}}]"#, &[]).unwrap().absent.len(), 1);
}

#[test]
fn a_variable_renamed_to_its_dimension_becomes_a_coordinate() {
    let done = run(r#"[{"drop": ["lat"]}, {"rename": {"flag": "lat"}}]"#, &[]).unwrap();
    assert!(done.schema.variable("lat").unwrap().coordinate);
}

#[test]
fn coordinates_are_set_and_reset() {
    let done = run(r#"[{"set_coords": ["*_bnds"]}, {"reset_coords": ["h*", "t*"]}]"#, &[]).unwrap();
    let is = |name| done.schema.variable(name).unwrap().coordinate;
    assert!(!is("time_bnds") && !is("height") && is("time") && !is("type"));
    assert!(run(r#"[{"set_coords": ["*_bnds"]}]"#, &[]).unwrap().schema.variable("time_bnds").unwrap().coordinate);
    assert!(run(r#"[{"reset_coords": ["time"]}]"#, &[]).is_err());
}

#[test]
fn squeeze_leaves_a_scalar_coordinate() {
    let done = run(r#"[{"squeeze": ["zlev", "gone"]}]"#, &[]).unwrap();
    let (zlev, tas) = (done.schema.variable("zlev").unwrap(), done.schema.variable("tas").unwrap());
    assert!(zlev.coordinate && zlev.dimensions.is_empty() && done.schema.dimension("zlev").is_none());
    assert_eq!((tas.dimensions.len(), tas.encoding.chunks.clone()), (2, Some(vec![1, 3])));
    assert_eq!((whole(&done, "tas"), read(&done, "tas").shape), ((0..6).collect(), vec![2, 3]));
    assert!(run(r#"[{"squeeze": ["lat"]}]"#, &[]).unwrap_err().message.contains("length 3"));
}

#[test]
fn isel_selects_as_python_does() {
    let select = |selection: &str| run(&format!(r#"[{{"isel": {{"lat": {selection}}}}}]"#), &[]);
    assert_eq!(whole(&select(r#"{"at": -1}"#).unwrap(), "lat"), [20]);
    assert!(select(r#"{"at": -1}"#).unwrap().schema.variable("lat").unwrap().dimensions.is_empty());
    assert_eq!(whole(&select(r#"{"start": 0, "stop": 99, "step": 2}"#).unwrap(), "tas"), [0, 2, 3, 5]);
    assert_eq!(select(r#"{"start": -2}"#).unwrap().schema.dimension("lat").unwrap().length, 2);
    for wrong in [r#"{"at": 3}"#, r#"{"at": 0, "step": 1}"#, r#"{"step": 0}"#, r#"{"start": 3}"#] {
        assert!(select(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn expand_dims_takes_scalars_and_keys() {
    let keys = [("member", KeyValue::Text("r1".into())), ("run", KeyValue::Date("2000-01-02T00:00:00".parse().unwrap()))];
    let done = run(r#"[{"expand_dims": ["member", "run", "height", "bare"]}]"#, &keys).unwrap();
    let tas = done.schema.variable("tas").unwrap();
    assert_eq!(tas.dimensions, ["member", "run", "height", "bare", "time", "zlev", "lat"]);
    assert_eq!((tas.encoding.chunks.clone(), read(&done, "tas").shape), (Some(vec![1, 1, 1, 1, 1, 1, 3]), vec![1, 1, 1, 1, 2, 1, 3]));
    assert_eq!(done.schema.variable("time_bnds").unwrap().dimensions, ["time", "bnds"]);
    assert_eq!(done.schema.variable("height").unwrap().dimensions, ["height"]);
    assert_eq!(done.schema.variable("crs").unwrap().dimensions.len(), 0);
    assert_eq!((done.made["member"].texts(), done.made["run"].scalar(0)), (&["r1".to_owned()][..], Some(Scalar::Int64(946_771_200))));
    assert_eq!(done.schema.variable("run").unwrap().attributes.text("units"), Some("seconds since 1970-01-01"));
    assert!(done.schema.variable("bare").is_none() && !done.views.contains_key("member"));
    assert!(run(r#"[{"expand_dims": ["lat"]}]"#, &[]).is_err());
}

#[test]
fn made_coordinates_pass_through_later_steps() {
    let keys = [("member", KeyValue::Integer(7))];
    let done = run(r#"[{"expand_dims": ["member"]}, {"rename": {"member": "m"}}, {"squeeze": ["m"]}]"#, &keys).unwrap();
    assert_eq!((done.made["m"].shape.len(), done.made["m"].scalar(0)), (0, Some(Scalar::Int64(7))));
}

#[test]
fn transpose_moves_dimensions_of_every_variable() {
    let done = run(r#"[{"transpose": ["lat", "...", "time"]}]"#, &[]).unwrap();
    let tas = done.schema.variable("tas").unwrap();
    assert_eq!(
        (tas.dimensions.as_slice(), tas.encoding.chunks.clone()),
        (&["lat".to_owned(), "zlev".into(), "time".into()][..], Some(vec![3, 1, 1]))
    );
    assert_eq!(whole(&done, "tas"), [0, 3, 1, 4, 2, 5]);
    assert_eq!(done.schema.variable("time_bnds").unwrap().dimensions, ["bnds", "time"]);
    assert!(run(r#"[{"transpose": ["lat", "time"]}]"#, &[]).unwrap_err().message.contains("`zlev`"));
    assert!(run(r#"[{"transpose": ["lat", "lat", "..."]}]"#, &[]).is_err());
}

#[test]
fn sort_orders_by_the_coordinate() {
    let done = run(r#"[{"sort": ["lat"]}]"#, &[]).unwrap();
    assert_eq!((whole(&done, "lat"), whole(&done, "tas")), (vec![-10, 20, 50], vec![1, 2, 0, 4, 5, 3]));
    assert_eq!(read(&done, "flag").texts(), ["b", "", "a"]);
    assert_eq!(whole(&run(r#"[{"sort": ["-lat"]}, {"isel": {"lat": {"stop": 2}}}]"#, &[]).unwrap(), "lat"), [50, 20]);
    assert!(run(r#"[{"sort": ["bnds"]}]"#, &[]).unwrap_err().message.contains("no coordinate"));
}

#[test]
fn attrs_set_in_the_variables_type() {
    let done = run(
        r#"[{"attrs": {"variables": ["t*"], "keep": ["units"], "set": {"_FillValue": -9, "long_name": "x", "scale": [1, 2.5]}}}]"#,
        &[],
    )
    .unwrap();
    let time = done.schema.variable("time").unwrap();
    assert_eq!((time.attributes.number("_FillValue"), time.attributes.get("bounds")), (Some(Scalar::Int16(-9)), None));
    assert_eq!(time.attributes.get("scale"), Some(&Attribute::Numbers(vec![Scalar::Float64(1.0), Scalar::Float64(2.5)])));
    let global = run(r#"[{"attrs": {"set": {"title": "a"}, "delete": ["gone"]}}]"#, &[]).unwrap();
    assert_eq!(global.schema.attributes.text("title"), Some("a"));
    assert!(run(r#"[{"attrs": {"variables": ["lat"], "set": {"_FillValue": 99999}}}]"#, &[]).is_err());
    assert!(run(r#"[{"attrs": {"set": {"x": true}}}]"#, &[]).is_err());
}

#[test]
fn names_in_groups_are_found_from_within() {
    let mut schema = schema();
    schema.dimensions.push(dimension("geo/x", 2));
    schema.variables.push(variable("geo/lon", DataType::Float64, &["geo/x"], &[]));
    schema.variables.push(variable("geo/no2", DataType::Float64, &["geo/x"], &[("coordinates", "lon height")]));
    let steps: Vec<Step> = serde_json::from_str(r#"[{"rename": {"geo/lon": "geo/longitude"}}]"#).unwrap();
    let done = apply(&steps, &schema, &BTreeMap::new(), &mut values).unwrap();
    assert!(done.schema.variable("geo/longitude").unwrap().coordinate && done.schema.variable("height").unwrap().coordinate);
}

#[test]
fn attributes_mean_the_nearest_of_that_name() {
    let mut schema = schema();
    schema.dimensions.push(dimension("geo/x", 2));
    schema.variables.push(variable("geo/crs", DataType::Int32, &[], &[]));
    schema.variables.push(variable("geo/no2", DataType::Float64, &["geo/x"], &[("grid_mapping", "crs")]));
    let done = |steps: &str| apply(&serde_json::from_str::<Vec<Step>>(steps).unwrap(), &schema, &BTreeMap::new(), &mut values).unwrap();
    let mapping = |done: &Transformed, name: &str| done.schema.variable(name).unwrap().attributes.text("grid_mapping").map(str::to_owned);
    let renamed = done(r#"[{"rename": {"crs": "earth"}}]"#);
    assert_eq!((mapping(&renamed, "tas"), mapping(&renamed, "geo/no2")), (Some("earth".into()), Some("crs".into())));
    let within = done(r#"[{"rename": {"geo/crs": "geo/earth"}}]"#);
    assert_eq!((mapping(&within, "tas"), mapping(&within, "geo/no2")), (Some("crs".into()), Some("earth".into())));
    let dropped = done(r#"[{"drop": ["crs"]}]"#);
    assert_eq!((mapping(&dropped, "tas"), mapping(&dropped, "geo/no2")), (None, Some("crs".into())));
    let inner = done(r#"[{"drop": ["geo/crs"]}]"#);
    assert_eq!((mapping(&inner, "tas"), mapping(&inner, "geo/no2")), (Some("crs".into()), None));
}

#[test]
fn isel_lists_no_positions_of_a_huge_dimension() {
    let huge = 1_u64 << 50;
    let schema = Schema {
        dimensions: vec![dimension("x", huge)],
        variables: vec![variable("v", DataType::Float32, &["x"], &[])],
        attributes: Attributes::default(),
        groups: BTreeMap::new(),
    };
    let steps: Vec<Step> =
        serde_json::from_str(r#"[{"isel": {"x": {"start": 1, "step": 2}}}, {"isel": {"x": {"stop": -1, "step": 3}}}]"#).unwrap();
    let done = apply(&steps, &schema, &BTreeMap::new(), &mut |_: &str| None).unwrap();
    let count = (huge / 2 - 1).div_ceil(3);
    assert_eq!(done.schema.dimension("x").unwrap().length, count);
    let (_, view) = &done.views["v"];
    assert_eq!((view.shape(), view.axes[0].element(0), view.axes[0].element(count - 1)), (vec![count], Some(1), Some(1 + 6 * (count - 1))));
}

#[test]
fn sort_orders_by_real_values() {
    let sorted = |raw: [i8; 4], attributes: Vec<(String, Attribute)>, descending: &str| {
        let mut schema = Schema { dimensions: vec![dimension("x", 4)], ..Schema::default() };
        schema.variables.push(variable("x", DataType::Int8, &["x"], &[]));
        schema.variables[0].attributes = Attributes(attributes);
        let array = Array::from_bytes(DataType::Int8, vec![4], raw.iter().map(|value| *value as u8).collect()).unwrap();
        let steps: Vec<Step> = serde_json::from_str(&format!(r#"[{{"sort": ["{descending}x"]}}]"#)).unwrap();
        let done = apply(&steps, &schema, &BTreeMap::new(), &mut |_: &str| Some(array.clone())).unwrap();
        done.views["x"].1.apply(&array).unwrap().scalars().map(|value| value.as_i64().unwrap()).collect::<Vec<_>>()
    };
    let unsigned = || ("_Unsigned".to_owned(), Attribute::Text("true".into()));
    let fill = || ("_FillValue".to_owned(), Attribute::Numbers(vec![Scalar::Int8(-1)]));
    let raw = [-56, 100, -1, 3];
    assert_eq!(sorted(raw, vec![], ""), [-56, -1, 3, 100]);
    assert_eq!(sorted(raw, vec![unsigned()], ""), [3, 100, -56, -1]);
    assert_eq!(sorted(raw, vec![fill()], ""), [-56, 3, 100, -1]);
    assert_eq!(sorted(raw, vec![fill()], "-"), [100, 3, -56, -1]);
    assert_eq!(sorted(raw, vec![unsigned(), fill()], "-"), [-56, 100, 3, -1]);
}

#[test]
fn attrs_refuse_a_finite_value_that_would_become_infinite() {
    let mut schema = schema();
    schema.variables.push(variable("single", DataType::Float32, &[], &[]));
    for (value, fits) in [("1e300", false), ("1e20", true)] {
        let steps: Vec<Step> =
            serde_json::from_str(&format!(r#"[{{"attrs": {{"variables": ["single"], "set": {{"_FillValue": {value}}}}}}}]"#)).unwrap();
        let done = apply(&steps, &schema, &BTreeMap::new(), &mut values);
        assert_eq!(done.is_ok(), fits, "{value}");
        assert!(fits || done.unwrap_err().message.contains("does not fit"));
    }
}
