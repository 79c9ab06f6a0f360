use super::*;
use crate::array::{DataType, Scalar};
use crate::combine::Pieces;
use crate::dataset::{Attribute, Attributes, Dimension, Encoding, Schema};
use crate::recipe::OutputFormat;
use crate::recipe::diagnostic::Span;

fn variable(name: &str, dtype: DataType, dimensions: &[&str], attributes: &[(&str, &str)]) -> Variable {
    let attributes = attributes.iter().map(|(name, text)| ((*name).to_owned(), Attribute::Text((*text).to_owned()))).collect();
    let dimensions = dimensions.iter().map(|&name| name.to_owned()).collect();
    Variable {
        name: name.to_owned(),
        dtype,
        dimensions,
        attributes: Attributes(attributes),
        coordinate: false,
        encoding: Encoding::default(),
    }
}

/// A plan with one coordinate `x` and a data variable `sst` along it, whose values are not in the plan.
fn plan(coordinate: Variable, array: Array, rules: &[(&str, ExpectRule)]) -> Plan {
    let expect = |(number, (name, rule)): (usize, &(&str, ExpectRule))| {
        let span = Span { offset: number, length: 1 };
        Expectation { name: (*name).to_owned(), span, rule: rule.clone() }
    };
    let dimension = Dimension { name: "time".to_owned(), length: array.elements(), unlimited: false };
    let pieces = Pieces { axes: vec![], inputs: vec![None], conversions: vec![], converted: vec![] };
    Plan {
        version: super::super::VERSION,
        id: "test".to_owned(),
        format: OutputFormat::Zarr3,
        schema: Schema {
            dimensions: vec![dimension],
            variables: vec![
                coordinate,
                variable("sst", DataType::Float32, &["time"], &[("units", "degC")]),
                variable("station", DataType::String, &["time"], &[]),
            ],
            ..Schema::default()
        },
        axes: vec![],
        inputs: vec![],
        steps: vec![],
        contents: vec![PlannedContent::Known(array), PlannedContent::Pieces(pieces.clone()), PlannedContent::Pieces(pieces)],
        stages: vec![],
        moves: vec![],
        kept: std::collections::BTreeMap::new(),
        used: vec![],
        gaps: vec![],
        scratch: None,
        warnings: vec![],
        memory: 0,
        overhead: crate::plan::Overhead::default(),
        weighed: Vec::new(),
        expect: rules.iter().enumerate().map(expect).collect(),
    }
}

fn floats(values: &[f64]) -> Array {
    let scalars: Vec<Scalar> = values.iter().map(|value| Scalar::Float64(*value)).collect();
    Array::from_scalars(DataType::Float64, vec![values.len() as u64], &scalars).unwrap()
}

fn times(units: &str, calendar: &str, values: &[f64], rules: &[ExpectRule]) -> Vec<Diagnostic> {
    let time = variable("time", DataType::Float64, &["time"], &[("units", units), ("calendar", calendar)]);
    let rules: Vec<_> = rules.iter().map(|rule| ("time", rule.clone())).collect();
    plan(time, floats(values), &rules).broken_expectations()
}

fn regular(step: &str, units: &str, calendar: &str, values: &[f64]) -> Option<String> {
    let rule = ExpectRule::Regular(step.parse().unwrap());
    times(units, calendar, values, &[rule]).pop().map(|problem| problem.message)
}

fn ends(first: &str, last: &str) -> ExpectRule {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ExpectRule::FirstLast(text(first), text(last))
}

#[test]
fn a_gap_is_shown_with_both_instants_and_positions() {
    let found = regular("1 day", "days since 1988-02-27", "standard", &[0.0, 1.0, 3.0]).unwrap();
    assert_eq!(found, "`time` is not regular (1 day): 1988-03-01 at position 2 follows 1988-02-28 at position 1; 1988-02-29 was due");
    assert_eq!(regular("1 day", "days since 1988-02-27", "noleap", &[0.0, 1.0, 2.0]), None);
    let doubled = regular("6 hours", "hours since 2000-01-01", "standard", &[0.0, 6.0, 6.0]).unwrap();
    assert!(
        doubled.contains("2000-01-01T06:00:00 at position 2 follows 2000-01-01T06:00:00 at position 1; 2000-01-01T12:00:00 was due"),
        "{doubled}"
    );
}

#[test]
fn rounding_of_floats_is_no_gap() {
    let minutes: Vec<f64> = (0..2000).map(|minute| 737_000.0 + f64::from(minute) / 1440.0).collect();
    assert_eq!(regular("1 minute", "days since 0001-01-01", "standard", &minutes), None);
    let mut late = minutes.clone();
    late[1999] += 1.0 / 86400.0;
    assert!(regular("1 minute", "days since 0001-01-01", "standard", &late).is_some());
    assert_eq!(regular("1 day", "days since 2000-01-01", "standard", &[5.0, 4.0, 3.0]), None, "backwards is regular, too");
    assert!(regular("1 day", "days since 2000-01-01", "standard", &[0.0, f64::NAN]).unwrap().contains("a missing value at position 1"));
    assert_eq!([&[][..], &[3.0]].map(|few| regular("1 day", "days since 2000-01-01", "standard", few)), [None, None]);
}

#[test]
fn months_and_years_are_steps_of_the_calendar() {
    let noleap = |values: &[f64]| regular("1 month", "days since 2001-01-01", "noleap", values);
    assert_eq!(noleap(&[0.0, 31.0, 59.0, 90.0]), None, "first days");
    assert_eq!(noleap(&[15.5, 45.0, 74.5, 105.0]), None, "middles");
    assert_eq!(noleap(&[14.0, 45.0, 73.0]), None, "fifteenth days");
    assert_eq!(noleap(&[30.0, 58.0, 89.0]), None, "last days");
    assert_eq!(noleap(&[58.0, 89.0, 119.0]), None, "last days from February on");
    assert_eq!(regular("3 months", "days since 2001-01-01", "360_day", &[0.0, 90.0, 180.0]), None);
    assert_eq!(regular("1 year", "days since 2000-01-01", "standard", &[0.0, 366.0, 731.0]), None);
    assert_eq!(regular("1 year", "days since 2000-07-01", "standard", &[0.5, 365.5, 730.5]), None);
    let gap = noleap(&[15.5, 74.5]).unwrap();
    assert!(gap.contains("2001-03-16T12:00:00 at position 1 follows 2001-01-16T12:00:00 at position 0; 2001-02 was due"), "{gap}");
    assert!(noleap(&[0.0, 35.0]).unwrap().contains("the same day of the month was due"));
    assert!(regular("1 year", "days since 2000-01-01", "standard", &[0.0, 366.0, 1096.0]).is_some());
}

#[test]
fn what_is_no_time_has_no_step() {
    assert!(regular("1 day", "degrees_north", "standard", &[1.0, 2.0]).unwrap().contains("is no time coordinate"));
    assert!(regular("1 month", "months since 2000-01-01", "standard", &[1.0, 2.0]).unwrap().contains("no fixed length"));
    assert!(regular("1 day", "days since 2000-01-01", "martian", &[1.0, 2.0]).unwrap().contains("martian"));
    let time = || variable("time", DataType::Float64, &["time"], &[("units", "days since 2000-01-01")]);
    let rule = ExpectRule::Regular("1 day".parse().unwrap());
    let problems = plan(time(), floats(&[1.0]), &[("sst", rule)]).broken_expectations();
    assert!(problems[0].message.contains("is no coordinate"), "{problems:?}");
}

#[test]
fn first_and_last_are_dates_or_numbers() {
    let found = |rule| times("days since 1981-09-01 12:00", "standard", &[0.0, 1.0], &[rule]).pop().map(|problem| problem.message);
    for good in [ends("1981-09-01", "1981-09-02"), ends("1981", ""), ends("1981-09-01 12:00", "1981-09-02T12:00:00Z")] {
        assert_eq!(found(good.clone()), None, "{good:?}");
    }
    assert_eq!(
        found(ends("1981-09-0", "1981-10")).unwrap(),
        "`time` begins with 1981-09-01T12:00:00, not 1981-09-0 and ends with 1981-09-02T12:00:00, not 1981-10"
    );
    let latitude = |rule| {
        let numbers = variable("lat", DataType::Float64, &["time"], &[("units", "degrees_north")]);
        plan(numbers, floats(&[-89.875, 89.875]), &[("lat", rule)]).broken_expectations().pop().map(|problem| problem.message)
    };
    assert_eq!(latitude(ends("-89.875", "89.8750")), None);
    assert_eq!(latitude(ends("", "90")).unwrap(), "`lat` ends with 89.875, not 90");
    assert!(latitude(ends("south", "")).unwrap().contains("`south` is none"));
}

#[test]
fn all_broken_expectations_come_at_once_each_at_its_place() {
    let time = variable("time", DataType::Float64, &["time"], &[("units", "days since 2000-01-01")]);
    let rules = [
        ("time", ExpectRule::Length(4)),
        ("sst", ExpectRule::Units("K".to_owned())),
        ("time", ExpectRule::ValuesBetween(1.0, 2.0)),
        ("ssd", ExpectRule::Length(3)),
        ("ssd", ExpectRule::Units("K".to_owned())),
        ("station", ExpectRule::MissingAtMost(0.5)),
        ("time", ExpectRule::Length(3)),
        ("sst", ExpectRule::Units("degC".to_owned())),
        ("sst", ExpectRule::ValuesBetween(0.0, 1.0)),
    ];
    let plan = plan(time, floats(&[1.0, 2.0, 2.5]), &rules);
    let problems = plan.broken_expectations();
    let found: Vec<_> =
        problems.iter().map(|problem| (problem.label.as_ref().unwrap().0.offset, problem.code, problem.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (0, Code::ExpectationFailed, "`time` has the length 3, not 4"),
            (1, Code::ExpectationFailed, "`sst` has the units `degC`, not `K`"),
            (2, Code::ExpectationFailed, "`time` has values from 1 to 2.5, but all must lie between 1 and 2"),
            (3, Code::VariableUnknown, "`expect` names `ssd`, but the dataset has no such variable or dimension"),
            (5, Code::ExpectationFailed, "`station` holds texts, so this cannot be expected of it"),
        ]
    );
    assert_eq!(problems[3].label.as_ref().unwrap().1, "did you mean `sst`?");
    assert_eq!(plan.counted().iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn expectations_are_saved_but_no_part_of_the_identity() {
    let time = || variable("time", DataType::Float64, &["time"], &[]);
    let rules = [("sst", ExpectRule::ValuesBetween(0.1, f64::INFINITY)), ("sst", ExpectRule::MissingAtMost(0.07)), ("time", ends("1", ""))];
    let with = plan(time(), floats(&[1.0]), &rules);
    assert_eq!(Plan::from_json(&with.to_json().unwrap()).unwrap(), with);
    assert_eq!(with.identity(), plan(time(), floats(&[1.0]), &[]).identity());
    assert_ne!(with.identity(), plan(time(), floats(&[2.0]), &rules).identity());
}

#[test]
fn shares_and_bounds_are_judged_up_to_rounding() {
    use crate::cf::statistics::Statistics;
    let counting = Counting::of(&variable("sst", DataType::Float32, &[], &[])).unwrap();
    let judge = |rule, statistics| values::judge(&Expectation { name: "sst".into(), span: Span::default(), rule }, &counting, &statistics);
    let counted = |missing, largest: f32| Statistics { values: 100, missing, smallest: 0.0, largest: f64::from(largest), empty: 0 };
    assert_eq!(judge(ExpectRule::MissingAtMost(0.07), counted(7, 0.0)), Ok(()));
    assert!(
        judge(ExpectRule::MissingAtMost(0.07), counted(8, 0.0))
            .unwrap_err()
            .message
            .starts_with("8 % of `sst` is missing (8 of 100 values)")
    );
    assert_eq!(judge(ExpectRule::ValuesBetween(0.0, 0.1), counted(0, 0.1)), Ok(()));
    assert!(judge(ExpectRule::ValuesBetween(0.0, 0.1), counted(0, 0.100_001)).is_err());
    assert!(judge(ExpectRule::ValuesBetween(0.0, 0.1), counted(0, f32::INFINITY)).is_err());
    assert_eq!(judge(ExpectRule::ValuesBetween(5.0, 6.0), Statistics { values: 9, missing: 9, ..Statistics::default() }), Ok(()));
    let empty = |empty| Statistics { empty, ..counted(1, 9.0) };
    assert_eq!(judge(ExpectRule::NoEmptyChunks, empty(0)), Ok(()));
    assert!(judge(ExpectRule::NoEmptyChunks, empty(2)).unwrap_err().message.starts_with("2 chunks of `sst`"));
}
