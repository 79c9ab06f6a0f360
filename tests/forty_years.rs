//! Planning what nobody could keep in memory: forty years of daily maps turned into time series, from what a scan would tell.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use gristmill::array::{Array, DataType, Scalar};
use gristmill::combine::{Scanned, combine};
use gristmill::dataset::{Attribute, Attributes, Dimension, Encoding, Identity, Schema, Variable};
use gristmill::plan::{BASELINE, Plan, Settings, build};
use gristmill::rechunk::Costs;
use gristmill::recipe::parse::parse;
use gristmill::recipe::{Recipe, RecipeText};
use gristmill::target::zarr::default_codecs;

const FIELDS: [&str; 4] = ["sst", "anom", "err", "ice"];

fn recipe(steps: u64) -> Recipe {
    let text = format!(
        "schema: 1\nid: forty-years\ntitle: Forty years\nlicense: CC0-1.0\ninputs:\n  url: data/{{time:%Y%m%d}}.nc\n  keys:\n    time: {{dates: {{start: 1981-01-01, end: 2021-01-24, step: 1 day}}}}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: {steps}, lat: 90, lon: 90}}\n"
    );
    parse(&RecipeText { name: "recipe.yaml".to_owned(), text }, Path::new(".")).unwrap().0
}

/// So many values, from `first` on.
fn axis(length: u64, first: usize) -> Array {
    let values: Vec<Scalar> = (0..length).map(|index| Scalar::Float64((first as u64 + index) as f64)).collect();
    Array::from_scalars(DataType::Float64, vec![length], &values).unwrap()
}

/// What a scan tells of all files of a recipe.
fn scan(recipe: &Recipe) -> Vec<Scanned> {
    let axes = [("zlev", 1), ("lat", 720), ("lon", 1440)].map(|(name, length)| (name.to_owned(), axis(length, 0)));
    (0..recipe.inputs.len()).map(|day| scanned(day, &axes.clone().into())).collect()
}

/// What a scan tells of one daily file: 4 × int16 (1, 1, 720, 1440), a chunk each.
fn scanned(day: usize, axes: &BTreeMap<String, Array>) -> Scanned {
    let lengths = [("time", 1), ("zlev", 1), ("lat", 720), ("lon", 1440)];
    let variable = |name: &str, dtype, dimensions: &[&str]| Variable {
        name: name.to_owned(),
        dtype,
        coordinate: dimensions == [name],
        dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
        attributes: Attributes::default(),
        encoding: Encoding::default(),
    };
    let mut values = axes.clone();
    values.insert("time".to_owned(), axis(1, day));
    let mut variables: Vec<Variable> = lengths.iter().map(|(name, _)| variable(name, DataType::Float64, &[name])).collect();
    variables[0].attributes.set("units", Attribute::Text("days since 1981-01-01".to_owned()));
    for name in FIELDS {
        let mut field = variable(name, DataType::Int16, &["time", "zlev", "lat", "lon"]);
        field.encoding.chunks = Some(vec![1, 1, 720, 1440]);
        variables.push(field);
    }
    Scanned {
        input: day,
        schema: Schema {
            dimensions: lengths.map(|(name, length)| Dimension { name: name.to_owned(), length, unlimited: name == "time" }).to_vec(),
            variables,
            ..Schema::default()
        }
        .into(),
        values: values.into_iter().map(|(name, array)| (name.into(), array.into())).collect(),
        digests: BTreeMap::new().into(),
    }
}

fn settings(memory: u64) -> Settings {
    Settings {
        memory,
        threads: 2,
        default_codecs,
        baseline: BASELINE,
        waiting: 0,
        far: false,
        scratch: "scratch".to_owned(),
        costs: Costs::MEASURED,
    }
}

/// Seconds of planning, and the plan.
fn planned(scan: &[Scanned], steps: u64, memory: u64) -> (f64, Plan) {
    let recipe = recipe(steps);
    assert!((14_600..15_000).contains(&recipe.inputs.len()), "{}", recipe.inputs.len());
    let identities = vec![Identity { size: Some(1_330_000), ..Identity::default() }; scan.len()];
    let begun = Instant::now();
    let combined = combine(&recipe, scan).unwrap();
    let plan = build(&recipe, combined, identities, &settings(memory)).unwrap();
    let explained = plan.explain();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(explained.to_string().contains("peak "), "{explained}");
    (seconds, plan)
}

#[test]
fn forty_years_are_planned_in_two_seconds_and_the_plan_tells_memory_and_scratch() {
    // Unoptimised code takes several times as long; what counts is that nothing grows faster than the archive.
    let scan = scan(&recipe(1));
    let allowed = if cfg!(debug_assertions) { 20.0 } else { 2.0 };
    for (steps, memory) in [(3650, 1_u64 << 30), (3650, 16 << 30), (14_634, 4 << 30), (365, 512 << 20)] {
        let (seconds, plan) = planned(&scan, steps, memory);
        let explained = plan.explain();
        println!("{steps} steps within {memory}: {seconds:.2} s\n{explained}");
        assert!(seconds < allowed, "{steps} steps: planned in {seconds:.2} s");
        assert!(explained.peak_bytes <= memory && explained.peak_bytes > plan.largest_task(), "{explained}");
        let way = explained.ways.iter().find(|way| way.variables.contains(&"sst".to_owned())).unwrap();
        assert_eq!(way.stages as usize, plan.stages.len(), "{explained}");
        match (&explained.scratch, way.two) {
            (Some(scratch), Some(two)) => {
                assert_eq!((scratch.bytes, two.cost < way.one.cost), (two.scratch, true));
                assert_eq!(scratch.bytes, 4 * 720 * 1440 * 2 * plan.inputs.len() as u64);
                assert!(scratch.bytes / scratch.objects > 1 << 18, "tiny scratch objects: {explained}");
            }
            (None, two) => assert!(two.is_none_or(|two| way.one.cost <= two.cost), "{explained}"),
            other => panic!("scratch nobody thought of: {other:?}"),
        }
    }
}

#[test]
fn little_memory_takes_scratch_and_much_does_not() {
    let scan = scan(&recipe(1));
    let stages = |memory| planned(&scan, 3650, memory).1.stages.len();
    assert_eq!((stages(1 << 30), stages(16 << 30)), (2, 1));
}
