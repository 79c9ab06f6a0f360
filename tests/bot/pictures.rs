//! The map of a comment: north is up, east is right, what is missing is told apart; and a made-up one gets nowhere.

use gristmill::bot::picture::{Picture, draw, number, period};
use gristmill::store::{Access, target};
use gristmill::target::zarr::{Absent, ZarrReader};
use serde_json::{Value, json};

use super::made_files::MadeFile;
use super::{believed, good, with};
use gristmill::bot::render::{self, Places};

const NORTH: [(&str, &str); 1] = [("units", "degrees_north")];
const EAST: [(&str, &str); 1] = [("units", "degrees_east")];
const TIME: [(&str, &str); 2] = [("units", "days since 2000-01-01"), ("calendar", "standard")];

/// The map of a file that is baked as it is.
fn drawn(file: &MadeFile) -> (Option<Picture>, ZarrReader, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.nc"), file.bytes()).unwrap();
    let text = "schema: 1\nid: x\ntitle: T\nlicense: CC0-1.0\ninputs: {files: [a.nc]}\n".to_owned();
    let named = gristmill::recipe::RecipeText { name: "recipe.yaml".into(), text };
    let (recipe, _) = gristmill::recipe::parse(&named, folder.path()).unwrap();
    let out = folder.path().join("out").display().to_string();
    let options = gristmill::run::Options { target: out.clone(), memory: 256 << 20, threads: 1, ..Default::default() };
    super::runs::bake(&recipe, &options, gristmill::store::Wrapping::default()).ok();
    let reader = ZarrReader::open(target(&out, &Access::default()).unwrap(), Absent::Hole).unwrap().unwrap();
    (draw(&reader), reader, folder)
}

/// Two times, rows from `lat`, columns from `lon`; each value is its row times ten plus its column.
fn map(dims: &[&str], lat: &[f64], lon: &[f64], names: [&str; 2]) -> MadeFile {
    let file = MadeFile::default().dimension("time", 2).dimension(names[0], lat.len() as u32).dimension(names[1], lon.len() as u32);
    let (rows, columns) = (lat.len(), lon.len());
    let value = |row: usize, column: usize| (row * 10 + column) as f64;
    let transposed = dims.last() == Some(&names[0]);
    let plane: Vec<f64> = if transposed {
        (0..columns).flat_map(|column| (0..rows).map(move |row| value(row, column))).collect()
    } else {
        (0..rows).flat_map(|row| (0..columns).map(move |column| value(row, column))).collect()
    };
    file.variable("time", "double", &["time"], &[31.5, 60.0], &TIME)
        .variable(names[0], "double", &[names[0]], lat, &NORTH)
        .variable(names[1], "double", &[names[1]], lon, &EAST)
        .variable("a_note", "double", &["time"], &[0.0, 0.0], &[])
        .variable("sst", "double", dims, &[plane.as_slice(), plane.as_slice()].concat(), &[("units", "K")])
}

#[test]
fn north_is_up_and_east_is_right_however_a_file_has_them() {
    let (south_up, west_left) = ([-10.0, 0.0, 10.0], [0.0, 1.0]);
    let (north_up, east_left) = ([10.0, 0.0, -10.0], [1.0, 0.0]);
    let names = ["latitude", "longitude"];
    let rows: [(&[f64], &[f64], [u64; 6]); 4] = [
        (&north_up, &west_left, [0, 1, 10, 11, 20, 21]),
        (&south_up, &west_left, [20, 21, 10, 11, 0, 1]),
        (&north_up, &east_left, [1, 0, 11, 10, 21, 20]),
        (&south_up, &east_left, [21, 20, 11, 10, 1, 0]),
    ];
    for (lat, lon, expected) in rows {
        for dims in [["time", names[0], names[1]], ["time", names[1], names[0]]] {
            let picture = drawn(&map(&dims, lat, lon, names)).0.unwrap();
            assert_eq!((picture.width, picture.height, picture.low, picture.high), (2, 3, 0.0, 21.0), "{dims:?}");
            let shades: Vec<u64> =
                picture.shades().unwrap().iter().map(|shade| ((f64::from(*shade) - 1.0) * 21.0 / 253.0).round() as u64).collect();
            assert_eq!(shades, expected, "{dims:?} {lat:?} {lon:?}");
            assert_eq!((picture.variable.as_str(), picture.at.as_str(), picture.units.as_str()), ("sst", "time 2000-02-01T12:00:00", "K"));
        }
    }
}

#[test]
fn missing_values_are_told_apart_and_packed_ones_unpacked() {
    let packed = [
        ("scale_factor".to_owned(), toml::Value::Float(0.5)),
        ("add_offset".to_owned(), toml::Value::Float(100.0)),
        ("_FillValue".to_owned(), toml::Value::Integer(-1)),
    ];
    let mut file = map(&["time", "lat", "lon"], &[1.0, 0.0], &[0.0, 1.0], ["lat", "lon"]).variable(
        "sst",
        "short",
        &["time", "lat", "lon"],
        &[0.0, -1.0, 2.0, 4.0, 0.0, 0.0, 0.0, 0.0],
        &[],
    );
    file.variables.get_mut("sst").unwrap().attributes.extend(packed);
    let (picture, reader, _folder) = drawn(&file);
    let picture = picture.unwrap();
    assert_eq!((picture.low, picture.high, picture.missing()), (100.0, 102.0, 25));
    let shades = picture.shades().unwrap();
    assert_eq!((shades[1], shades[0], shades[3]), (0, 1, 254));
    let lines = picture.text();
    assert!(lines.concat().contains('█') && lines.iter().all(|line| line.chars().count() <= 64));
    let found = period(&reader).unwrap();
    assert_eq!(
        (found.dimension.as_str(), found.first.as_str(), found.last.as_str()),
        ("time", "2000-02-01T12:00:00", "2000-03-01T00:00:00")
    );
}

#[test]
fn what_is_no_map_has_none_and_a_large_one_is_made_small() {
    let line = MadeFile::default().dimension("time", 3).variable("time", "double", &["time"], &[0.0, 1.0, 2.0], &TIME).variable(
        "x",
        "double",
        &["time"],
        &[1.0, 2.0, 3.0],
        &[],
    );
    assert_eq!(drawn(&line).0, None);
    let side: Vec<f64> = (0..500).map(f64::from).collect();
    let (rows, columns) = (500, 1000);
    let wide: Vec<f64> = (0..columns).map(f64::from).collect();
    let values: Vec<f64> = (0..rows * columns).map(f64::from).collect();
    let file = MadeFile::default()
        .dimension("y", 500)
        .dimension("x", 1000)
        .variable("y", "double", &["y"], &side, &[])
        .variable("x", "double", &["x"], &wide, &[])
        .variable("v", "double", &["y", "x"], &values, &[]);
    let picture = drawn(&file).0.unwrap();
    assert_eq!((picture.width, picture.height, picture.missing()), (200, 100, 0));
    let shades = picture.shades().unwrap();
    assert!(shades[0] > shades[shades.len() - 1], "y rises to the north");
}

#[test]
fn t3_a_made_up_picture_is_not_believed_and_a_good_one_is_made_here() {
    let picture =
        json!({"variable": "sst", "at": "`@x`", "units": "K", "width": 2, "height": 1, "low": 0.0, "high": 1.0, "shades": "AP4="});
    let result = with("/recipes/0/picture", picture.clone());
    let artifact = believed(&result).unwrap();
    let images = render::pictures(&artifact);
    assert!(images.len() == 1 && images[0].0 == "ice" && images[0].1.starts_with(b"\x89PNG"));
    for (field, value) in [
        ("shades", json!("AP8=")),
        ("shades", json!("AA==")),
        ("shades", json!("iVBORw0KGgo=")),
        ("shades", json!("not base64")),
        ("width", json!(100_000)),
        ("width", json!(0)),
        ("low", json!(2.0)),
        ("high", Value::Null),
        ("at", json!("x".repeat(5000))),
        ("url", json!("https://evil.test/x.png")),
    ] {
        let mut wrong = picture.clone();
        wrong[field] = value;
        assert!(believed(&with("/recipes/0/picture", wrong)).is_err(), "{field}");
    }
    // As letters, unless somebody of ours has a place for images; and such a place is never one that the result names.
    let comment = render::comment(&artifact);
    assert!(comment.contains("<summary>Map</summary>") && !comment.contains("!["), "{comment}");
    let places = Places { pictures: Some("https://pictures.test/run/".into()), log: None, album: Some("https://h.test/runs/1".into()) };
    let comment = render::comment_with(&artifact, &places);
    assert!(
        comment.contains("![A map of ice](https://pictures.test/run/ice.png)")
            && comment.contains("[Maps as pictures](https://h.test/runs/1)")
    );
    let evil = Places { pictures: Some("https://h.test/) <img src=x>".into()), log: Some("javascript:alert(1)".into()), album: None };
    let comment = render::comment_with(&artifact, &evil);
    assert!(!comment.contains("<img") && !comment.contains("javascript") && !comment.contains("!["));
    assert!(render::checks(&artifact)[0]["output"]["summary"].as_str().unwrap().contains("Map"));
    assert!(believed(&good()).is_ok(), "a result without a picture is as good");
}

#[test]
fn numbers_of_a_legend_are_short() {
    assert_eq!([number(273.16), number(0.0)], ["273.2", "0"]);
}
