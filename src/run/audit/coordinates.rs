//! Values of coordinates: order, finiteness, ranges, times, bounds (AR11, AR13, AR14, AR20, AR27).
//!
//! Read block by block, so that memory does not grow with their length. Invariant: nothing is said of values that could not all be
//! read; that they could not is told once, by whoever looks at objects.

use super::content::Tap;
use super::finding::{Findings, Level};
use super::metadata::bounds_of;
use super::node::Node;
use super::series::{Rhythm, Series, clock};
use super::stored::Stored;
use crate::array::{Array, Scalar};
use crate::cf::time::{DAY, TimeUnits, is_reference};
use crate::grid::{Region, elements};
use crate::run::{RunError, with_causes};
use crate::target::TargetError;
use crate::target::zarr::ZarrReader;

/// Elements read at a time.
const BLOCK: u64 = 1 << 18;
/// Larger coordinates of several dimensions are looked at in their first and last block only.
const WHOLE: u64 = 1 << 24;

/// What the checks share.
pub(super) struct Coordinates<'a> {
    pub(super) stored: &'a Stored,
    pub(super) reader: &'a ZarrReader,
    /// Where the reader gets its objects.
    pub(super) tap: &'a Tap,
    pub(super) findings: &'a Findings,
    /// Dimensions of which a run has made sure that they are in order; others are as their sources had them. `None`: no run of ours.
    pub(super) ordered: Option<Vec<String>>,
}

impl Coordinates<'_> {
    /// Checks the coordinates among the arrays that the reader knows.
    ///
    /// # Errors
    /// The store's, where trying again may help; damaged objects are findings.
    pub(super) fn check(&self) -> Result<(), RunError> {
        for node in &self.stored.arrays {
            if self.reader.schema().variable(&node.path).is_none() {
                continue;
            }
            if node.is_index() {
                self.index(node)?;
            } else if let Some(units) = node.text("units").filter(|units| is_reference(units)) {
                self.clock_of(node, units);
            }
            self.place(node)?;
            if let Some(bounds) = bounds_of(node) {
                self.bounds(node, &bounds)?;
            }
        }
        Ok(())
    }

    /// Time units of an array, if it has any that can be understood.
    fn clock_of(&self, node: &Node, units: &str) -> Option<TimeUnits> {
        match clock(units, node.text("calendar")) {
            Ok(units) => {
                if node.text("calendar").is_none() {
                    self.findings.warning(
                        "AR20",
                        (&node.path, ""),
                        "its times have no `calendar`: readers guess `standard`",
                        "say it with `attrs`",
                    );
                }
                Some(units)
            }
            Err(why) => {
                let message = format!("its times cannot be decoded: {why}");
                self.findings.warning(
                    "AR20",
                    (&node.path, ""),
                    message,
                    "readers need `decode_times=False`; correct `units` with the step `attrs`",
                );
                None
            }
        }
    }

    /// Shows all values of an array to someone, block by block; false if they cannot be read.
    fn blocks(&self, path: &str, each: &mut dyn FnMut(&Region, &Array)) -> Result<bool, RunError> {
        let Some(variable) = self.reader.schema().variable(path) else { return Ok(false) };
        let whole = Region::whole(&self.reader.schema().shape(variable));
        let mut parts = blocks_of(&whole);
        if elements(&whole.shape) > WHOLE && whole.rank() > 1 && parts.len() > 2 {
            parts.drain(1..parts.len() - 1);
        }
        for part in parts {
            match self.reader.read(path, &part) {
                Ok(array) => each(&part, &array),
                Err(TargetError::Missing { .. }) => return Ok(false),
                Err(error) => {
                    self.tap.check()?;
                    let help = "`gristmill repair` writes the objects of its own stores again";
                    self.findings.error("AR44", (path, ""), format!("its values cannot be read: {}", with_causes(&error)), help);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn index(&self, node: &Node) -> Result<(), RunError> {
        let units = node.text("units").filter(|units| is_reference(units));
        let mut series = Series::new(units.and_then(|units| self.clock_of(node, units)));
        if !self.blocks(&node.path, &mut |_, array| series.see(array))? {
            return Ok(());
        }
        self.order(node, &series);
        if let Some(rhythm) = series.rhythm() {
            self.rhythm(node, &series, &rhythm);
            self.coverage(node, &series);
        }
        Ok(())
    }

    fn order(&self, node: &Node, series: &Series) {
        let sure = self.ordered.as_ref().is_none_or(|ordered| ordered.contains(&node.path));
        let (level, help) = if sure {
            (Level::Error, "repair the store, or bake it anew from files in order")
        } else {
            (Level::Warning, "it is as the sources have it")
        };
        let told = [
            (series.not_finite, "is not finite"),
            (series.repeated, "was there before: selecting by value fails"),
            (series.turned, "goes against the order so far: selecting by value fails"),
        ];
        for (at, what) in told.into_iter().filter_map(|(at, what)| Some((at?, what))) {
            self.findings.add(level, "AR11", (&node.path, ""), format!("value {at} of this coordinate {what}"), help);
        }
    }

    fn rhythm(&self, node: &Node, series: &Series, rhythm: &Rhythm) {
        let ends = [series.first, series.last].map(|value| value.map_or_else(String::new, |value| series.shown(value)));
        let every = rhythm.every.as_ref().map_or_else(|| "at uneven steps".to_owned(), |every| format!("every {every}"));
        self.findings.note("AR11", &node.path, format!("{} times {every}, {} to {}", series.count, ends[0], ends[1]));
        if rhythm.gaps > 0 {
            let first = rhythm.first.as_deref().unwrap_or_default();
            let message = format!("{} gaps, the first between {first}", rhythm.gaps);
            self.findings.warning("AR11", (&node.path, ""), message, "times that are not there are no missing values: say so to users");
        }
        if rhythm.every.is_some() && rhythm.uneven > 0 {
            self.findings.warning("AR11", (&node.path, ""), format!("{} steps are shorter than usual", rhythm.uneven), "");
        }
    }

    /// AR27: what the dataset says of the time it covers is true, as far as a step and a day.
    fn coverage(&self, node: &Node, series: &Series) {
        let (Some(units), Some(first), Some(last), Some(root)) = (series.units, series.first, series.last, self.stored.groups.get(""))
        else {
            return;
        };
        let ends = [units.microseconds(first), units.microseconds(last)];
        let [Some(first), Some(last)] = [ends[0].min(ends[1]), ends[0].max(ends[1])] else { return };
        let slack = (last.saturating_sub(first) / series.count.saturating_sub(1).max(1).cast_signed()).saturating_add(DAY);
        for (name, instant) in [("time_coverage_start", first), ("time_coverage_end", last)] {
            let Some(day) = root.get(name).and_then(|text| day_of(text.as_str()?, units)) else { continue };
            let off = instant.saturating_sub(day.saturating_mul(DAY));
            if off < -slack || off > slack.saturating_add(DAY) {
                let message = format!("`{name}` is {}, but `{}` says {}", root[name], node.path, units.calendar_text(instant));
                self.findings.warning("AR27", ("", ""), message, "it speaks of one file: delete it with the step `attrs`");
            }
        }
    }

    /// AR13.
    fn place(&self, node: &Node) -> Result<(), RunError> {
        let Some(kind) = Place::of(node) else { return Ok(()) };
        let number = |name: &str| node.attributes.get(name).and_then(serde_json::Value::as_f64);
        let (scale, offset) = (number("scale_factor").unwrap_or(1.0), number("add_offset").unwrap_or(0.0));
        let missing = self.reader.missing(&node.path);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let read = self.blocks(&node.path, &mut |_, array| {
            for value in array.scalars().filter(|value| missing.is_none_or(|missing| !missing.identical(*value))) {
                let value = value.as_f64() * scale + offset;
                (low, high) = (low.min(value), high.max(value));
            }
        })?;
        if read && low <= high {
            kind.judge((low, high), (&node.path, ""), self.findings);
        }
        Ok(())
    }

    /// AR14: bounds are there, fit, and hold what they bound.
    fn bounds(&self, node: &Node, path: &str) -> Result<(), RunError> {
        let place = (node.path.as_str(), "");
        let Some(bounds) = self.stored.node(path) else {
            let message = format!("`bounds` names `{path}`, which is not there");
            self.findings.error("AR14", place, message, "keep that variable, or delete the attribute with the step `attrs`");
            return Ok(());
        };
        let fits = bounds.rank() == node.rank() + 1 && bounds.shape().starts_with(node.shape());
        let corners = bounds.shape().last().copied().unwrap_or(0);
        if !fits || corners < 2 || (node.rank() == 1 && corners != 2) {
            let message = format!("its bounds have the shape {:?}, which does not fit {:?}", bounds.shape(), node.shape());
            self.findings.error("AR14", place, message, "bounds have the dimensions of what they bound, and one more of length 2");
            return Ok(());
        }
        let other_units = bounds.text("units").is_some_and(|units| Some(units) != node.text("units"));
        if node.rank() == 1 && !other_units { self.held(node, path) } else { Ok(()) }
    }

    fn held(&self, node: &Node, path: &str) -> Result<(), RunError> {
        let (mut outside, mut apart, mut before) = (None, None, None::<(f64, f64)>);
        let mut whole = true;
        let read = self.blocks(&node.path, &mut |region, array| {
            let Some(first) = region.start.first().copied() else { return };
            let part = Region::new(vec![first, 0], vec![array.elements(), 2]);
            let Ok(corners) = self.reader.read(path, &part) else {
                whole = false;
                return;
            };
            let corners: Vec<f64> = corners.scalars().map(Scalar::as_f64).collect();
            for (number, (value, pair)) in array.scalars().zip(corners.chunks_exact(2)).enumerate() {
                let (low, high) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
                let (at, value) = (first + number as u64, value.as_f64());
                // Bounds of single precision are no nearer than that.
                let slack = value.abs() * f64::from(f32::EPSILON);
                if value < low - slack || value > high + slack {
                    outside.get_or_insert(at);
                }
                if before.is_some_and(|(a, b)| pair[0] != b && pair[1] != a) {
                    apart.get_or_insert(at);
                }
                before = Some((pair[0], pair[1]));
            }
        })?;
        self.tap.check()?;
        if !read || !whole {
            return Ok(());
        }
        let place = (node.path.as_str(), "");
        if let Some(at) = outside {
            self.findings.warning("AR14", place, format!("value {at} lies outside of its bounds"), "");
        }
        if let Some(at) = apart {
            self.findings.warning("AR14", place, format!("the bounds of value {at} do not touch those before it"), "");
        }
        Ok(())
    }
}

/// Boxes of about [`BLOCK`] elements, along the first dimension.
fn blocks_of(whole: &Region) -> Vec<Region> {
    let Some(&length) = whole.shape.first() else { return vec![whole.clone()] };
    let row = elements(whole.shape.get(1..).unwrap_or_default()).max(1);
    let step = (BLOCK / row).clamp(1, length.max(1));
    let part = |number: u64| {
        let mut part = whole.clone();
        (part.start[0], part.shape[0]) = (number * step, step.min(length - number * step));
        part
    };
    (0..length.div_ceil(step)).map(part).collect()
}

/// Day number of a text that begins with a date.
fn day_of(text: &str, units: TimeUnits) -> Option<i64> {
    let mut numbers = text.get(..10)?.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    units.calendar.day((year, month, day))
}

/// Latitude or longitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Latitude,
    Longitude,
}

impl Place {
    fn of(node: &Node) -> Option<Self> {
        let units = node.text("units").unwrap_or_default().to_ascii_lowercase();
        match (node.text("standard_name"), units.as_str()) {
            (Some("latitude"), "" | "degrees" | "degree") | (_, "degrees_north" | "degree_north" | "degreen" | "degreesn") => {
                Some(Self::Latitude)
            }
            (Some("longitude"), "" | "degrees" | "degree") | (_, "degrees_east" | "degree_east" | "degreee" | "degreese") => {
                Some(Self::Longitude)
            }
            _ => None,
        }
    }

    fn judge(self, (low, high): (f64, f64), place: super::finding::Place<'_>, findings: &Findings) {
        match self {
            Self::Latitude if low < -90.001 || high > 90.001 => {
                findings.error("AR13", place, format!("latitudes from {low} to {high}"), "they lie between -90 and 90: mark missing ones");
            }
            Self::Longitude if low < -180.001 || high > 360.001 || high - low > 360.001 => {
                let message = format!("longitudes from {low} to {high} are of no one convention");
                findings.warning("AR13", place, message, "-180 to 180 or 0 to 360 are what readers expect");
            }
            _ => {}
        }
    }
}
