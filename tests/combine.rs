//! Inputs into one: every kind of drift between files, and what comes of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic, in its own functions too")]

use std::collections::BTreeMap;
use std::sync::Arc;

use gristmill::array::{Array, DataType, FillValue, Scalar};
use gristmill::cf::Conversion;
use gristmill::combine::{Combined, Content, Scanned, SharedSchema, combine, digest, wanted};
use gristmill::dataset::{Attribute, Attributes, Dimension, Encoding, Schema, Variable};
use gristmill::pattern::{Axis, Input, KeyValue, Role};
use gristmill::recipe::diagnostic::{Code, Diagnostic, Span};
use gristmill::recipe::{
    About, AttributePolicy, ChangedFile, Chunks, CombineRules, EncodingChoice, Join, LateFile, MissingFile, OrderPolicy, Output,
    OutputFormat, OverlapPolicy, Recipe, RecipeText,
};
use proptest::prelude::*;

/// A recipe over a matrix: merge positions, then lengths of the concat axes.
fn recipe(merges: usize, concat: &[(&str, usize)]) -> Recipe {
    let positions = |count: usize| (0..count).map(|number| vec![KeyValue::Integer(number as i64)]).collect::<Vec<_>>();
    let mut axes = vec![Axis { role: Role::Merge, keys: vec!["variable".into()], positions: positions(merges) }];
    axes.extend(concat.iter().map(|(name, count)| Axis {
        role: Role::Concat((*name).to_owned()),
        keys: vec![(*name).into()],
        positions: positions(*count),
    }));
    let shape: Vec<u64> = axes.iter().map(|axis| axis.positions.len() as u64).collect();
    let inputs = gristmill::grid::positions(&gristmill::grid::Region::whole(&shape)).enumerate().map(|(number, position)| Input {
        number,
        url: format!("file{number}.nc"),
        position: position.iter().map(|place| *place as usize).collect(),
        values: BTreeMap::new(),
    });
    Recipe {
        find: None,
        text: RecipeText::default(),
        id: "test".into(),
        about: About::default(),
        inputs: inputs.collect(),
        axes,
        missing: MissingFile::Fail,
        late: LateFile::default(),
        changed: ChangedFile::default(),
        auth: None,
        combine: CombineRules {
            concat: concat
                .iter()
                .enumerate()
                .map(|(at, (name, _))| ((*name).to_owned(), Span { offset: 10 * (at + 1), length: 4 }))
                .collect(),
            ..CombineRules::default()
        },
        steps: vec![],
        output: Output {
            chunks: Chunks::Sizes(BTreeMap::new()),
            chunks_span: Span::default(),
            shards: None,
            encoding: BTreeMap::new(),
            format: OutputFormat::Zarr3,
            rewrite_tail: false,
        },
        expect: vec![],
        used: vec![],
        published: None,
    }
}

/// A file in the making.
#[derive(Clone, Default)]
struct File {
    schema: Schema,
    values: BTreeMap<String, Array>,
}

impl File {
    fn with(mut self, name: &str, dimensions: &[&str], array: Array, attributes: &[(&str, Attribute)]) -> Self {
        for (dimension, length) in dimensions.iter().zip(&array.shape) {
            if self.schema.dimension(dimension).is_none() {
                self.schema.dimensions.push(Dimension { name: (*dimension).to_owned(), length: *length, unlimited: false });
            }
        }
        let dimensions: Vec<String> = dimensions.iter().map(|name| (*name).to_owned()).collect();
        self.schema.variables.push(Variable {
            name: name.to_owned(),
            dtype: array.dtype,
            coordinate: dimensions == [name],
            dimensions,
            attributes: Attributes(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()),
            encoding: Encoding::default(),
        });
        self.values.insert(name.to_owned(), array);
        self
    }

    fn global(mut self, name: &str, value: &str) -> Self {
        self.schema.attributes.set(name, text(value));
        self
    }
}

fn text(value: &str) -> Attribute {
    Attribute::Text(value.to_owned())
}

fn number(value: Scalar) -> Attribute {
    Attribute::Numbers(vec![value])
}

fn array(shape: &[u64], scalars: &[Scalar]) -> Array {
    Array::from_scalars(scalars[0].dtype(), shape.to_vec(), scalars).unwrap()
}

fn doubles(values: &[f64]) -> Array {
    array(&[values.len() as u64], &values.iter().map(|value| Scalar::Float64(*value)).collect::<Vec<_>>())
}

fn shorts(values: &[i16]) -> Array {
    array(&[values.len() as u64], &values.iter().map(|value| Scalar::Int16(*value)).collect::<Vec<_>>())
}

/// Days with a latitude and a field of two times three values.
fn day(number: i64, units: &str, times: &[f64]) -> File {
    let field: Vec<Scalar> = (0..times.len() * 3).map(|value| Scalar::Float32(value as f32 + number as f32)).collect();
    File::default()
        .with("time", &["time"], doubles(times), &[("units", text(units)), ("calendar", text("standard"))])
        .with("lat", &["lat"], doubles(&[-10.0, 0.0, 10.0]), &[("units", text("degrees_north"))])
        .with("sst", &["time", "lat"], array(&[times.len() as u64, 3], &field), &[("units", text("K")), ("long_name", text("sea"))])
}

const UNITS: &str = "days since 2000-01-01";

fn two() -> Vec<File> {
    vec![day(0, UNITS, &[0.0, 1.0]), day(1, UNITS, &[2.0, 3.0, 4.0])]
}

/// Scans as the tool would: only what is wanted is read.
fn join(recipe: &Recipe, files: &[File]) -> Result<Combined, Vec<Diagnostic>> {
    let numbered: Vec<(usize, File)> = files.iter().cloned().enumerate().collect();
    join_numbered(recipe, &numbered)
}

fn join_numbered(recipe: &Recipe, files: &[(usize, File)]) -> Result<Combined, Vec<Diagnostic>> {
    let schemas: Vec<(usize, SharedSchema)> = files.iter().map(|(number, file)| (*number, file.schema.clone().into())).collect();
    let scanned: Vec<Scanned> = wanted(recipe, &schemas)
        .iter()
        .zip(files)
        .map(|(wanted, (input, file))| Scanned {
            input: *input,
            schema: file.schema.clone().into(),
            values: wanted.values.iter().map(|name| (name.as_str().into(), Arc::new(file.values[name].clone()))).collect(),
            digests: Arc::new(wanted.digests.iter().map(|name| (name.clone(), digest(&file.values[name]))).collect()),
        })
        .collect();
    combine(recipe, &scanned)
}

fn known<'a>(combined: &'a Combined, name: &str) -> &'a Array {
    match content(combined, name) {
        Content::Known(array) => array,
        Content::Pieces(pieces) => panic!("{name} is in pieces: {pieces:?}"),
    }
}

fn content<'a>(combined: &'a Combined, name: &str) -> &'a Content {
    let place = combined.schema.variables.iter().position(|variable| variable.name == name).unwrap();
    &combined.contents[place]
}

fn conversions<'a>(combined: &'a Combined, name: &str) -> &'a [Conversion] {
    match content(combined, name) {
        Content::Pieces(pieces) => &pieces.conversions,
        Content::Known(_) => panic!("{name} is known"),
    }
}

fn variable<'a>(combined: &'a Combined, name: &str) -> &'a Variable {
    combined.schema.variable(name).unwrap()
}

fn codes(result: Result<Combined, Vec<Diagnostic>>) -> Vec<Code> {
    result.map_or_else(|found| found.iter().map(|one| one.code).collect(), |_| vec![])
}

/// Changes one attribute (or dtype, or values) of the second file.
fn drift(change: impl Fn(&mut File)) -> Vec<File> {
    let mut files = two();
    change(&mut files[1]);
    files
}

fn set(file: &mut File, name: &str, attribute: &str, value: Attribute) {
    file.schema.variable_mut(name).unwrap().attributes.set(attribute, value);
}

#[test]
fn files_in_a_row_become_one() {
    let recipe = recipe(1, &[("time", 2)]);
    let whole = join(&recipe, &two()).unwrap();
    assert_eq!(whole.axes[0].lengths, [2, 3]);
    assert_eq!(whole.schema.dimension("time").unwrap().length, 5);
    assert_eq!(known(&whole, "time"), &doubles(&[0.0, 1.0, 2.0, 3.0, 4.0]));
    assert_eq!(known(&whole, "lat"), &doubles(&[-10.0, 0.0, 10.0]));
    let Content::Pieces(pieces) = content(&whole, "sst") else { panic!() };
    assert_eq!((pieces.axes.as_slice(), pieces.inputs.as_slice(), pieces.conversions.len()), (&[(0, 0)][..], &[Some(0), Some(1)][..], 1));
    assert_eq!(gristmill::combine::placement(&whole.axes, pieces, &[5, 3], &[1]).start, [2, 0]);
    assert_eq!(variable(&whole, "time").attributes.text("units"), Some(UNITS));
    assert_eq!(whole.warnings, Vec::<String>::new());
}

#[test]
fn every_conflict_is_reported_at_once() {
    let files = drift(|file| {
        set(file, "sst", "units", text("degC"));
        set(file, "sst", "standard_name", text("sea_surface_temperature"));
        set(file, "time", "calendar", text("360_day"));
        file.values.insert("lat".into(), doubles(&[-10.0, 0.0, 10.5]));
    });
    let found = join(&recipe(1, &[("time", 2)]), &files).unwrap_err();
    let mut codes: Vec<Code> = found.iter().map(|one| one.code).collect();
    codes.sort();
    assert_eq!(codes, [Code::CoordinateMismatch, Code::UnitsMismatch, Code::CalendarMismatch, Code::AttributeConflict], "{found:#?}");
    let units = found.iter().find(|one| one.code == Code::UnitsMismatch).unwrap();
    assert_eq!(units.message, "variable `sst`: `units` is \"K\" in `file0.nc` but \"degC\" in `file1.nc`");
    let latitude = found.iter().find(|one| one.code == Code::CoordinateMismatch).unwrap();
    assert!(latitude.message.contains("10 against 10.5 at [2]"), "{}", latitude.message);
}

#[test]
fn drift_of_each_kind_has_its_code() {
    let cases: Vec<(&str, Vec<File>, Code)> = vec![
        ("dtype", drift(|file| file.schema.variable_mut("sst").unwrap().dtype = DataType::String), Code::TypeMismatch),
        ("dims", drift(|file| file.schema.variable_mut("sst").unwrap().dimensions.reverse()), Code::DimensionsDiffer),
        (
            "length",
            drift(|file| file.schema.dimensions.iter_mut().find(|one| one.name == "lat").unwrap().length = 4),
            Code::DimensionLengthMismatch,
        ),
        ("flags", drift(|file| set(file, "sst", "flag_meanings", text("a b"))), Code::AttributeConflict),
        ("valid", drift(|file| set(file, "sst", "valid_min", number(Scalar::Float32(0.0)))), Code::AttributeConflict),
        ("gone", drift(|file| file.schema.variables.retain(|one| one.name != "sst")), Code::VariableAbsent),
        (
            "new",
            {
                let mut files = two();
                files[0].schema.variables.remove(2);
                files
            },
            Code::VariableAbsent,
        ),
        ("latitude turned", drift(|file| drop(file.values.insert("lat".into(), doubles(&[10.0, 0.0, -10.0])))), Code::CoordinateMismatch),
        ("unknown calendar", drift(|file| set(file, "time", "calendar", text("martian"))), Code::CalendarMismatch),
        ("months", vec![day(0, "months since 2000-01-01", &[0.0]), day(0, "months since 2000-02-01", &[0.0])], Code::TimeNotJoinable),
        ("year 0", vec![day(0, "hours since 0000-01-01", &[0.0]), day(0, UNITS, &[0.0])], Code::TimeNotJoinable),
        ("inexact", vec![day(0, UNITS, &[1e-9]), day(0, "hours since 2000-01-01", &[24.0])], Code::TimeNotJoinable),
        ("duplicated", vec![day(0, UNITS, &[0.0, 1.0]), day(0, UNITS, &[1.0, 2.0])], Code::DuplicatedCoordinate),
        ("unordered", vec![day(0, UNITS, &[5.0, 6.0]), day(0, UNITS, &[1.0, 2.0])], Code::NotMonotonic),
        ("not a number", vec![day(0, UNITS, &[0.0, f64::NAN]), day(0, UNITS, &[1.0, 2.0])], Code::NotMonotonic),
    ];
    for (name, files, code) in cases {
        let found = codes(join(&recipe(1, &[("time", 2)]), &files));
        assert!(!found.is_empty() && found.iter().all(|one| *one == code), "{name}: {found:?}");
    }
}

#[test]
fn a_concat_dimension_that_no_file_has_points_at_the_recipe() {
    let found = join(&recipe(1, &[("tiem", 2)]), &two()).unwrap_err();
    let absent = found.iter().find(|one| one.code == Code::ConcatDimensionAbsent).unwrap();
    assert_eq!(absent.label.as_ref().unwrap().0.offset, 10);
    assert!(absent.message.contains("`time`"), "{}", absent.message);
}

#[test]
fn static_variables_are_compared_even_when_large() {
    let mask = |last: f64| {
        let mut values = vec![0.0; 40_000];
        values[39_999] = last;
        let mut file = day(0, UNITS, &[last]).with("mask", &["cell"], doubles(&values), &[]);
        file.schema.variables[0].attributes.remove("gone");
        file
    };
    let recipe = recipe(1, &[("time", 2)]);
    let found = join(&recipe, &[mask(1.0), mask(2.0)]).unwrap_err();
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::StaticVariableDiffers]);
    let mut same = [mask(1.0), mask(2.0)];
    same[1].values.insert("mask".into(), same[0].values["mask"].clone());
    let whole = join(&recipe, &same).unwrap();
    assert!(matches!(content(&whole, "mask"), Content::Pieces(pieces) if pieces.axes.is_empty() && pieces.inputs == [Some(0)]));
}

#[test]
fn tolerance_accepts_small_differences_of_coordinates() {
    let files = drift(|file| drop(file.values.insert("lat".into(), doubles(&[-10.0, 0.0, 10.000_001]))));
    let mut recipe = recipe(1, &[("time", 2)]);
    recipe.combine.join = Join::Tolerance(1e-5);
    assert_eq!(known(&join(&recipe, &files).unwrap(), "lat"), &doubles(&[-10.0, 0.0, 10.0]));
    recipe.combine.join = Join::Tolerance(1e-7);
    assert_eq!(codes(join(&recipe, &files)), [Code::CoordinateMismatch]);
}

#[test]
fn attributes_follow_the_policy() {
    let files = drift(|file| {
        set(file, "sst", "long_name", text("ocean"));
        set(file, "sst", "extra", text("new"));
        *file = file.clone().global("history", "b").global("source", "ship");
    });
    let files = vec![files[0].clone().global("history", "a").global("source", "buoy"), files[1].clone()];
    let mut recipe = recipe(1, &[("time", 2)]);
    let dropped = join(&recipe, &files).unwrap();
    assert_eq!((variable(&dropped, "sst").attributes.get("long_name"), dropped.schema.attributes.0.len()), (None, 0));
    assert_eq!(variable(&dropped, "sst").attributes.text("extra"), Some("new"));
    assert!(dropped.warnings.iter().any(|one| one.contains("`history`, `source`")), "{:?}", dropped.warnings);
    recipe.combine.attributes = AttributePolicy::Override;
    let first = join(&recipe, &files).unwrap();
    assert_eq!((first.schema.attributes.text("source"), first.schema.attributes.get("history")), (Some("buoy"), None));
    recipe.combine.attributes = AttributePolicy::Fail;
    assert_eq!(codes(join(&recipe, &files)), [Code::AttributeConflict; 2]);
}

#[test]
fn times_of_changing_epochs_become_whole_numbers() {
    let bounded = |epoch: &str, times: &[f64]| {
        let bounds: Vec<Scalar> = times.iter().flat_map(|time| [Scalar::Float64(time - 0.5), Scalar::Float64(time + 0.5)]).collect();
        let mut file = day(0, epoch, times).with("time_bnds", &["time", "bnds"], array(&[times.len() as u64, 2], &bounds), &[]);
        set(&mut file, "time", "bounds", text("time_bnds"));
        file
    };
    let files = [bounded("days since 1850-01-01 00:00:00", &[0.5, 1.5]), bounded("days since 1850-01-03", &[0.5])];
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    let hours = |shape: &[u64], values: &[i64]| array(shape, &values.iter().map(|value| Scalar::Int64(*value)).collect::<Vec<_>>());
    assert_eq!(known(&whole, "time"), &hours(&[3], &[12, 36, 60]));
    assert_eq!(known(&whole, "time_bnds"), &hours(&[3, 2], &[0, 24, 24, 48, 48, 72]));
    assert_eq!(variable(&whole, "time").attributes.text("units"), Some("hours since 1850-01-01"));
    assert_eq!(variable(&whole, "time_bnds").attributes.get("units"), None);
    assert_eq!(whole.warnings, Vec::<String>::new());
}

#[test]
fn undecodable_but_equal_times_stay_raw() {
    let files = [day(0, "hour since 0000-01-01 00:00:00", &[366.0]), day(0, "hour since 0000-01-01 00:00:00", &[1096.485])];
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    assert_eq!(known(&whole, "time"), &doubles(&[366.0, 1096.485]));
}

fn packed(scale: f64, fill: i16, values: &[i16]) -> File {
    let attributes = [
        ("scale_factor", number(Scalar::Float64(scale))),
        ("add_offset", number(Scalar::Float64(1.0))),
        ("_FillValue", number(Scalar::Int16(fill))),
    ];
    let field: Vec<Scalar> = values.iter().cycle().take(300).map(|value| Scalar::Int16(*value)).collect();
    File::default().with("time", &["time"], doubles(&[scale]), &[]).with("t", &["time", "x"], array(&[1, 300], &field), &attributes)
}

#[test]
fn equal_packing_stays_and_different_packing_is_unpacked() {
    let recipe = recipe(1, &[("time", 2)]);
    let mut same = [packed(0.5, -9, &[1]), packed(0.5, -9, &[2])];
    same[1].values.insert("time".into(), doubles(&[0.6]));
    let whole = join(&recipe, &same).unwrap();
    let t = variable(&whole, "t");
    assert_eq!(
        (t.dtype, t.attributes.number("scale_factor"), &t.encoding.fill),
        (DataType::Int16, Some(Scalar::Float64(0.5)), &Some(FillValue::Number(Scalar::Int16(-9))))
    );
    assert_eq!(conversions(&whole, "t"), [Conversion::Keep]);

    let whole = join(&recipe, &[packed(0.5, -9, &[1]), packed(0.6, -8, &[2])]).unwrap();
    let t = variable(&whole, "t");
    assert_eq!((t.dtype, t.attributes.0.len()), (DataType::Float64, 0));
    assert!(matches!(&t.encoding.fill, Some(FillValue::Number(fill)) if fill.as_f64().is_nan()));
    let unpack = |scale, fill| Conversion::Unpack { scale, offset: 1.0, missing: vec![Scalar::Int16(fill)], unsigned: false };
    assert_eq!(conversions(&whole, "t"), [unpack(0.5, -9), unpack(0.6, -8)]);
    assert!(whole.warnings.iter().any(|one| one.contains("unpacked")));
}

#[test]
fn limits_are_unpacked_or_left_out() {
    let limited = |scale: f64, limit: Scalar| {
        let mut file = packed(scale, -9, &[1]);
        set(&mut file, "t", "valid_max", number(limit));
        file
    };
    let recipe = recipe(1, &[("time", 2)]);
    let same = join(&recipe, &[limited(0.5, Scalar::Int16(10)), limited(1.0, Scalar::Int16(5))]).unwrap();
    assert_eq!(variable(&same, "t").attributes.number("valid_max"), Some(Scalar::Float64(6.0)));
    let real = join(&recipe, &[limited(0.5, Scalar::Float64(7.0)), limited(1.0, Scalar::Float64(7.0))]).unwrap();
    assert_eq!(variable(&real, "t").attributes.number("valid_max"), Some(Scalar::Float64(7.0)));
    let other = join(&recipe, &[limited(0.5, Scalar::Int16(10)), limited(1.0, Scalar::Int16(6))]).unwrap();
    assert_eq!(variable(&other, "t").attributes.get("valid_max"), None);
    assert!(other.warnings.iter().any(|one| one.contains("`valid_max`")), "{:?}", other.warnings);
}

#[test]
fn marks_of_integers_become_the_first_files() {
    let mut files = [packed(0.5, -9, &[1]), packed(0.5, -8, &[2])];
    files[1].values.insert("time".into(), doubles(&[0.6]));
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    assert_eq!(conversions(&whole, "t"), [Conversion::Keep, Conversion::Refill { from: vec![Scalar::Int16(-8)], to: Scalar::Int16(-9) }]);
    assert_eq!(variable(&whole, "t").attributes.number("_FillValue"), Some(Scalar::Int16(-9)));
}

#[test]
fn marks_of_floats_become_nan() {
    let files = drift(|file| {
        set(file, "sst", "_FillValue", number(Scalar::Float32(1e20)));
        set(file, "sst", "missing_value", number(Scalar::Float64(1e20)));
    });
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    let sst = variable(&whole, "sst");
    assert!(sst.attributes.get("_FillValue").is_none() && sst.attributes.get("missing_value").is_none());
    assert!(matches!(&sst.encoding.fill, Some(FillValue::Number(Scalar::Float32(fill))) if fill.is_nan()));
}

#[test]
fn types_widen_without_loss_and_fills_must_fit() {
    let file = |time: f64, values: Array, fill: Scalar| {
        File::default().with("time", &["time"], doubles(&[time]), &[]).with(
            "n",
            &["time", "x"],
            Array { shape: vec![1, values.elements()], ..values },
            &[("_FillValue", number(fill))],
        )
    };
    let files = [
        file(0.0, shorts(&[1, -1]), Scalar::Int16(-1)),
        file(1.0, array(&[2], &[Scalar::Int32(70_000), Scalar::Int32(-2)]), Scalar::Int32(-2)),
    ];
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    let parts = conversions(&whole, "n").iter().zip(&files).map(|(one, file)| one.apply(file.values["n"].clone()).unwrap());
    assert_eq!(parts.flat_map(|part| part.scalars().collect::<Vec<_>>()).collect::<Vec<_>>(), [1, -1, 70_000, -1].map(Scalar::Int32));
    assert!(whole.warnings.iter().any(|one| one.contains("int32")), "{:?}", whole.warnings);

    let unfit = [file(0.0, shorts(&[1, 2]), Scalar::Int32(99_999)), file(1.0, shorts(&[3, 4]), Scalar::Int32(99_999))];
    let whole = join(&recipe(1, &[("time", 2)]), &unfit).unwrap();
    assert_eq!((variable(&whole, "n").attributes.0.len(), &variable(&whole, "n").encoding.fill), (0, &None));
    assert!(whole.warnings.iter().any(|one| one.contains("99999")));
}

#[test]
fn merged_files_share_what_they_share() {
    let one = |name: &str| day(0, UNITS, &[0.0, 1.0]).with(name, &["time", "lat"], array(&[2, 3], &[Scalar::Float32(0.0); 6]), &[]);
    let mut files = [one("pr"), one("tas")];
    for file in &mut files {
        file.schema.variables.retain(|one| one.name != "sst");
    }
    let recipe = recipe(2, &[]);
    let whole = join(&recipe, &files).unwrap();
    assert_eq!(whole.schema.variables.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["time", "lat", "pr", "tas"]);
    files[1].values.insert("time".into(), doubles(&[0.0, 2.0]));
    assert_eq!(codes(join(&recipe, &files)), [Code::CoordinateMismatch]);
}

#[test]
fn merge_and_concat_together_place_each_variable_by_its_own_files() {
    let one = |name: &str, time: f64| {
        let mut file = day(0, UNITS, &[time]).with(name, &["time", "lat"], array(&[1, 300], &[Scalar::Float32(0.0); 300]), &[]);
        file.schema.variables.retain(|one| one.name != "sst" && one.name != "lat");
        file.schema.dimensions.iter_mut().filter(|one| one.name == "lat").for_each(|one| one.length = 300);
        file
    };
    let files = [one("pr", 0.0), one("pr", 1.0), one("tas", 0.0), one("tas", 1.0)];
    let whole = join(&recipe(2, &[("time", 2)]), &files).unwrap();
    let inputs = |name| match content(&whole, name) {
        Content::Pieces(pieces) => pieces.inputs.clone(),
        Content::Known(_) => vec![],
    };
    assert_eq!((inputs("pr"), inputs("tas")), (vec![Some(0), Some(1)], vec![Some(2), Some(3)]));
}

#[test]
fn two_concat_axes_compare_what_lies_along_one() {
    let member = |name: &str, times: &[f64]| {
        let mut file = day(0, UNITS, times);
        file.schema.variables.pop();
        let field =
            Array::from_scalars(DataType::Float32, vec![1, times.len() as u64, 100], &vec![Scalar::Float32(0.0); 100 * times.len()])
                .unwrap();
        file.with("member", &["member"], Array::from_texts(vec![1], vec![name.into()]).unwrap(), &[]).with(
            "sst",
            &["member", "time", "x"],
            field,
            &[],
        )
    };
    let files = [member("r1", &[0.0]), member("r1", &[1.0, 2.0]), member("r2", &[0.0]), member("r2", &[1.0, 2.0])];
    let recipe = recipe(1, &[("member", 2), ("time", 2)]);
    let whole = join(&recipe, &files).unwrap();
    assert_eq!((known(&whole, "member").texts(), known(&whole, "time")), (&["r1".to_owned(), "r2".into()][..], &doubles(&[0.0, 1.0, 2.0])));
    assert_eq!(whole.axes.iter().map(|axis| axis.lengths.clone()).collect::<Vec<_>>(), [vec![1, 1], vec![1, 2]]);
    let mut shifted = files.clone();
    shifted[3] = member("r2", &[1.0, 2.5]);
    assert_eq!(codes(join(&recipe, &shifted)), [Code::CoordinateMismatch]);
    let mut twice = files.clone();
    twice[2] = member("r1", &[0.0]);
    twice[3] = member("r1", &[1.0, 2.0]);
    assert_eq!(codes(join(&recipe, &twice)), [Code::DuplicatedCoordinate]);
}

#[test]
fn a_missing_file_leaves_a_gap_only_where_its_times_are_certain() {
    let numbered = |days: &[usize]| days.iter().map(|&number| (number, day(0, UNITS, &[number as f64]))).collect::<Vec<_>>();
    let mut recipe = recipe(1, &[("time", 4)]);
    recipe.missing = MissingFile::Skip;
    let skipped = join_numbered(&recipe, &numbered(&[0, 1, 3])).unwrap();
    assert_eq!((skipped.axes[0].lengths.as_slice(), known(&skipped, "time")), (&[1, 1, 0, 1][..], &doubles(&[0.0, 1.0, 3.0])));
    recipe.missing = MissingFile::Fill;
    let filled = join_numbered(&recipe, &numbered(&[0, 1, 3])).unwrap();
    assert_eq!((filled.axes[0].lengths.as_slice(), known(&filled, "time")), (&[1, 1, 1, 1][..], &doubles(&[0.0, 1.0, 2.0, 3.0])));
    let uneven = vec![(0, day(0, UNITS, &[0.0])), (1, day(0, UNITS, &[1.0])), (3, day(0, UNITS, &[9.0]))];
    assert!(!codes(join_numbered(&recipe, &uneven)).is_empty());
}

#[test]
fn order_can_be_taken_as_listed() {
    let mut recipe = recipe(1, &[("time", 2)]);
    recipe.combine.order = OrderPolicy::AsListed;
    let whole = join(&recipe, &[day(0, UNITS, &[5.0]), day(0, UNITS, &[1.0])]).unwrap();
    assert_eq!(known(&whole, "time"), &doubles(&[5.0, 1.0]));
}

#[test]
fn duplicates_name_both_files_and_the_date() {
    let found = join(&recipe(1, &[("time", 2)]), &[day(0, UNITS, &[0.0, 31.5]), day(0, UNITS, &[31.5, 32.0])]).unwrap_err();
    assert_eq!(found[0].message, "coordinate `time` has the value 31.5 (2000-02-01T12:00:00) twice, between `file0.nc` and `file1.nc`");
}

#[test]
fn the_recipes_own_packing_replaces_the_files() {
    let mut recipe = recipe(1, &[("time", 2)]);
    let choice =
        EncodingChoice { dtype: Some(DataType::Int16), packing: Some((0.01, 273.0)), fill: Some(-32_768), ..EncodingChoice::default() };
    recipe.output.encoding.insert("sst".into(), (choice, Span::default()));
    let whole = join(&recipe, &two()).unwrap();
    let sst = variable(&whole, "sst");
    assert_eq!(
        (sst.dtype, sst.attributes.number("_FillValue"), sst.attributes.number("add_offset")),
        (DataType::Int16, Some(Scalar::Int16(-32_768)), Some(Scalar::Float64(273.0)))
    );
    assert!(matches!(&conversions(&whole, "sst")[0], Conversion::Repack { unpack: (1.0, 0.0), pack: (0.01, 273.0), .. }));
    let narrow = EncodingChoice { dtype: Some(DataType::Float32), ..EncodingChoice::default() };
    recipe.output.encoding = BTreeMap::from([("*".into(), (narrow, Span::default()))]);
    let whole = join(&recipe, &two()).unwrap();
    assert_eq!((variable(&whole, "time").dtype, conversions(&whole, "sst")), (DataType::Float64, &[Conversion::Keep][..]));
}

#[test]
fn coordinates_are_named_for_readers() {
    let mut files = two();
    for file in &mut files {
        let mut whole = file.clone().with("depth", &[], array(&[], &[Scalar::Float64(2.0)]), &[]).with(
            "area",
            &["lat", "edge"],
            array(&[3, 1], &[Scalar::Float64(1.0); 3]),
            &[],
        );
        whole
            .schema
            .variables
            .iter_mut()
            .filter(|one| ["depth", "area"].contains(&one.name.as_str()))
            .for_each(|one| one.coordinate = true);
        *file = whole;
    }
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    assert_eq!(variable(&whole, "sst").attributes.text("coordinates"), Some("depth"));
    assert_eq!(whole.schema.attributes.text("coordinates"), Some("area"));
}

#[test]
fn many_conflicts_of_one_kind_are_counted() {
    let files: Vec<File> = (0..60).map(|_| day(0, UNITS, &[0.0])).collect();
    let found = join(&recipe(1, &[("time", 60)]), &files).unwrap_err();
    assert_eq!(found.len(), 21);
    assert!(found[20].message.starts_with("39 more"), "{}", found[20].message);
}

#[test]
fn ten_thousand_files_take_about_a_second() {
    let mut base = day(0, UNITS, &[0.0]);
    for number in 0..47 {
        let field = array(&[1, 3], &[Scalar::Float32(0.0); 3]);
        base = base.with(
            &format!("v{number}"),
            &["time", "lat"],
            field,
            &[("units", text("m")), ("long_name", text("some long name")), ("cell_methods", text("time: mean"))],
        );
    }
    let files: Vec<File> = (0..10_000)
        .map(|number| {
            let mut file = base.clone();
            file.values.insert("time".into(), doubles(&[f64::from(number)]));
            file
        })
        .collect();
    let recipe = recipe(1, &[("time", 10_000)]);
    let schemas: Vec<(usize, SharedSchema)> = files.iter().map(|file| file.schema.clone().into()).enumerate().collect();
    let scanned: Vec<Scanned> = files
        .into_iter()
        .enumerate()
        .map(|(input, file)| {
            let values = file.values.into_iter().map(|(name, array)| (name.into(), Arc::new(array))).collect();
            Scanned { input, schema: file.schema.into(), values, digests: Arc::default() }
        })
        .collect();
    let start = std::time::Instant::now();
    assert_eq!(wanted(&recipe, &schemas).len(), 10_000);
    let whole = combine(&recipe, &scanned).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("10,000 files: {seconds:.2} s");
    assert_eq!((whole.schema.variables.len(), whole.schema.dimension("time").unwrap().length), (50, 10_000));
    // Unoptimised, and beside other work: far above what it takes, far below what a quadratic step would.
    assert!(seconds < 30.0, "{seconds} s");
}

/// Units to write one instant in, with their length in microseconds.
const SPELLINGS: [(&str, i128); 4] = [("days", 86_400_000_000), ("hours", 3_600_000_000), ("minutes", 60_000_000), ("seconds", 1_000_000)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shuffled_units_give_the_instants_of_a_naive_reference(
        files in prop::collection::vec((0usize..4, 0i64..30_000, prop::collection::vec(1i128..400, 1..4), any::<bool>()), 2..6),
        grain in prop::sample::select(vec![60_000_000_i128, 3_600_000_000, 43_200_000_000, 86_400_000_000]),
    ) {
        let mut instant = 0_i128; // microseconds since 1970-01-01
        let mut expected = Vec::new();
        let mut made = Vec::new();
        for (unit, epoch_day, gaps, whole) in &files {
            let (name, length) = SPELLINGS[*unit];
            let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(*epoch_day)).unwrap();
            let epoch = i128::from(*epoch_day) * 86_400_000_000;
            let mut raw = Vec::new();
            for gap in gaps {
                instant += gap * grain;
                let distance = instant - epoch;
                let as_integer = *whole && gaps.iter().all(|_| grain % length == 0);
                raw.push(if as_integer { Scalar::Int64((distance / length) as i64) } else { Scalar::Float64(distance as f64 / length as f64) });
                expected.push(instant);
            }
            let times = array(&[raw.len() as u64], &raw);
            made.push(File::default().with("time", &["time"], times, &[("units", text(&format!("{name} since {date}")))]));
        }
        let whole = join(&recipe(1, &[("time", files.len())]), &made).unwrap();
        let time = variable(&whole, "time");
        let units = gristmill::cf::time::TimeUnits::parse(time.attributes.text("units").unwrap(), gristmill::cf::calendar::Calendar::Standard).unwrap();
        let origin = gristmill::cf::time::TimeUnits::parse("days since 1970-01-01", gristmill::cf::calendar::Calendar::Standard).unwrap().epoch;
        let got: Vec<i128> = known(&whole, "time").scalars().map(|value| match value {
            Scalar::Int64(count) => i128::from(count) * i128::from(units.nanoseconds) / 1000 + i128::from(units.epoch - origin),
            other => (other.as_f64() * (units.nanoseconds / 1000) as f64).round() as i128 + i128::from(units.epoch - origin),
        }).collect();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_missing_value_that_repeats_the_fill_stays() {
    let marked = |file: &mut File| set(file, "t", "missing_value", number(Scalar::Int16(-9)));
    let mut files = [packed(0.5, -9, &[1]), packed(0.5, -9, &[2])];
    files[1].values.insert("time".into(), doubles(&[0.6]));
    marked(&mut files[0]);
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    assert!(variable(&whole, "t").attributes.get("missing_value").is_none(), "true of one file only");
    marked(&mut files[1]);
    let whole = join(&recipe(1, &[("time", 2)]), &files).unwrap();
    let found = |name| variable(&whole, "t").attributes.number(name);
    assert_eq!([found("_FillValue"), found("missing_value")], [Some(Scalar::Int16(-9)); 2]);
}

/// Steps (file, place, value) that are kept of files in a row, the slow and obvious way.
fn naively(files: &[Vec<i64>], last: bool) -> Vec<(usize, u64, i64)> {
    let all: Vec<(usize, u64, i64)> = files
        .iter()
        .enumerate()
        .flat_map(|(file, times)| times.iter().enumerate().map(move |(place, time)| (file, place as u64, *time)))
        .collect();
    let is_kept = |at: usize| {
        let others = if last { &all[at + 1..] } else { &all[..at] };
        others.iter().all(|other| other.2 != all[at].2)
    };
    (0..all.len()).filter(|at| is_kept(*at)).map(|at| all[at]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overlapping_steps_are_chosen_as_a_naive_reference_chooses(
        files in prop::collection::vec(prop::collection::vec(0i64..12, 1..6), 1..5),
        (sorted, last) in (any::<bool>(), any::<bool>()),
    ) {
        let mut files = files;
        if sorted {
            for times in &mut files {
                times.sort_unstable();
            }
        }
        let mut recipe = recipe(1, &[("time", files.len())]);
        recipe.combine.overlap = if last { OverlapPolicy::Last } else { OverlapPolicy::First };
        let made: Vec<File> =
            files.iter().map(|times| day(0, UNITS, &times.iter().map(|time| *time as f64).collect::<Vec<_>>())).collect();
        let expected = naively(&files, last);
        let times: Vec<i64> = expected.iter().map(|step| step.2).collect();
        let rising = times.windows(2).all(|pair| pair[0] < pair[1]);
        let falling = times.windows(2).all(|pair| pair[0] > pair[1]);
        match join(&recipe, &made) {
            Err(found) => {
                prop_assert!(!rising && !falling, "{:?}", found);
                prop_assert!(found.iter().all(|one| one.code == Code::NotMonotonic), "{:?}", found);
            }
            Ok(whole) => {
                prop_assert!(rising || falling);
                prop_assert_eq!(known(&whole, "time"), &doubles(&times.iter().map(|time| *time as f64).collect::<Vec<_>>()));
                for (file, times) in files.iter().enumerate() {
                    let every = vec![(0, times.len() as u64)];
                    let kept = whole.kept.get(&(file as u32)).map_or(&every, |kept| &kept["time"]);
                    let places: Vec<u64> = kept.iter().flat_map(|&(first, length)| first..first + length).collect();
                    let right: Vec<u64> = expected.iter().filter(|step| step.0 == file).map(|step| step.1).collect();
                    prop_assert_eq!(whole.axes[0].lengths[file], right.len() as u64);
                    prop_assert_eq!(places, right);
                }
                prop_assert_eq!(whole.used.is_empty(), times.len() == files.iter().map(Vec::len).sum::<usize>());
            }
        }
    }
}
