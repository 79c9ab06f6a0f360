//! A plane of a store as shades: which variable, which way up, how many pixels.
//!
//! Directions are what CF §4.1, §4.2 and §5 say of coordinates, else the names that most people use. Invariant: at most [`BLOCK`] values are
//! held at a time and [`MOST`] looked at; what cannot be drawn gives no picture, never an error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{BRIGHTEST, Picture, WIDEST, number};
use crate::array::Scalar;
use crate::cf::calendar::Calendar;
use crate::cf::statistics::Counting;
use crate::cf::time::{TimeUnits, is_reference};
use crate::dataset::{Attributes, Schema, Variable};
use crate::grid::{Region, strides};
use crate::target::zarr::ZarrReader;

/// Values read at once.
const BLOCK: u64 = 4 << 20;
/// Values of the largest plane that is drawn.
const MOST: u64 = 256 << 20;
/// Pixels from which on the scale leaves the outermost hundredth at either end out.
const MANY: usize = 400;
/// Most letters of a text.
const LONGEST: usize = 200;

/// From when to when a dataset goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// Its dimension.
    pub dimension: String,
    /// The first instant: ISO 8601.
    pub first: String,
    /// The last.
    pub last: String,
}

/// The first and the last time of a store, by its first dimension that counts time.
#[must_use]
pub fn period(reader: &ZarrReader) -> Option<Period> {
    let counts_time = |variable: &&Variable| variable.is_index() && variable.attributes.text("units").is_some_and(is_reference);
    let variable = reader.schema().variables.iter().find(counts_time)?;
    let last = reader.schema().shape(variable).first()?.checked_sub(1)?;
    let [first, last] = [0, last].map(|at| position(reader, &variable.name, at));
    Some(Period { dimension: variable.name.clone(), first: first?, last: last? })
}

/// A map of the first variable that has one, at the first position (the last, if there is no value) of its other dimensions.
#[must_use]
pub fn draw(reader: &ZarrReader) -> Option<Picture> {
    let plane = plane(reader)?;
    [false, true].into_iter().find_map(|last| plane.picture(reader, last))
}

/// A way that a dimension runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    North,
    East,
}

/// What is drawn: a variable, and which of its dimensions run downwards and to the right.
#[derive(Debug)]
struct Plane<'a> {
    variable: &'a Variable,
    shape: Vec<u64>,
    rows: usize,
    columns: usize,
    /// True if the first row is the southernmost, or the first column the easternmost.
    turned: (bool, bool),
}

/// Maps come before planes that only look like one.
fn plane(reader: &ZarrReader) -> Option<Plane<'_>> {
    let schema = reader.schema();
    let candidates: Vec<&Variable> = schema.variables.iter().filter(|variable| is_data(schema, variable)).collect();
    let found = candidates.iter().find_map(|variable| map(schema, variable).map(|axes| (*variable, axes)));
    let (variable, (rows, columns)) = found.or_else(|| candidates.iter().find_map(|variable| sheet(schema, variable)))?;
    let shape = schema.shape(variable);
    let turned = |axis: usize, wanted: bool| {
        let rises = variable.dimensions.get(axis).and_then(|name| rises(reader, name));
        rises.is_some_and(|rises| rises == wanted)
    };
    let large = shape.get(rows)?.checked_mul(*shape.get(columns)?)? > MOST;
    (!large).then(|| Plane { variable, shape, rows, columns, turned: (turned(rows, true), turned(columns, false)) })
}

/// Numbers that are no coordinate and belong to none.
fn is_data(schema: &Schema, variable: &Variable) -> bool {
    let named = |attributes: &Attributes, key: &str| {
        attributes.text(key).is_some_and(|names| names.split_whitespace().any(|name| name == variable.name))
    };
    let belongs = schema.variables.iter().any(|other| named(&other.attributes, "bounds") || named(&other.attributes, "coordinates"));
    !variable.dtype.is_text() && !variable.is_index() && !belongs && way(&variable.attributes).is_none()
}

/// The dimensions of a map.
fn map(schema: &Schema, variable: &Variable) -> Option<(usize, usize)> {
    let along = |wanted: Way| variable.dimensions.iter().position(|name| way_of(schema, name) == Some(wanted));
    let (rows, columns) = (along(Way::North)?, along(Way::East)?);
    is_wide(&schema.shape(variable), rows, columns).then_some((rows, columns))
}

/// The last two dimensions.
fn sheet<'a>(schema: &Schema, variable: &'a Variable) -> Option<(&'a Variable, (usize, usize))> {
    let columns = variable.dimensions.len().checked_sub(1)?;
    let rows = columns.checked_sub(1)?;
    is_wide(&schema.shape(variable), rows, columns).then_some((variable, (rows, columns)))
}

fn is_wide(shape: &[u64], rows: usize, columns: usize) -> bool {
    rows != columns && [rows, columns].into_iter().all(|axis| shape.get(axis).is_some_and(|length| *length > 1))
}

fn way_of(schema: &Schema, dimension: &str) -> Option<Way> {
    let coordinate = schema.variables.iter().find(|variable| variable.is_index() && variable.name == dimension);
    coordinate.and_then(|variable| way(&variable.attributes)).or_else(|| {
        let name = dimension.rsplit('/').next().unwrap_or(dimension).to_ascii_lowercase();
        match name.as_str() {
            "lat" | "latitude" | "rlat" | "nav_lat" | "y" | "j" | "nj" | "yc" | "south_north" => Some(Way::North),
            "lon" | "longitude" | "rlon" | "nav_lon" | "x" | "i" | "ni" | "xc" | "west_east" => Some(Way::East),
            _ => None,
        }
    })
}

/// CF §4.1 and §4.2 for units, §5.6 for the names of projections, §4 for `axis`.
fn way(attributes: &Attributes) -> Option<Way> {
    let units = attributes.text("units").unwrap_or_default();
    let degrees = |ends: [&str; 3]| ["degree", "degrees"].iter().any(|word| ends.iter().any(|end| units == format!("{word}{end}")));
    match (attributes.text("axis"), attributes.text("standard_name")) {
        (Some("Y"), _) | (_, Some("latitude" | "grid_latitude" | "projection_y_coordinate")) => Some(Way::North),
        (Some("X"), _) | (_, Some("longitude" | "grid_longitude" | "projection_x_coordinate")) => Some(Way::East),
        _ if degrees(["_north", "_N", "N"]) => Some(Way::North),
        _ if degrees(["_east", "_E", "E"]) => Some(Way::East),
        _ => None,
    }
}

/// True if the coordinate of a dimension gets larger along it; `None` if there is none.
fn rises(reader: &ZarrReader, dimension: &str) -> Option<bool> {
    let variable = reader.schema().variables.iter().find(|variable| variable.is_index() && variable.name == dimension)?;
    let last = reader.schema().shape(variable).first()?.checked_sub(1)?;
    let [first, last] = [0, last].map(|at| scalar(reader, dimension, at).map(Scalar::as_f64));
    Some(first? < last?)
}

fn scalar(reader: &ZarrReader, variable: &str, at: u64) -> Option<Scalar> {
    reader.read(variable, &Region::new(vec![at], vec![1])).ok()?.scalar(0)
}

/// A position of a dimension as people write it: an instant, or a number.
fn position(reader: &ZarrReader, dimension: &str, at: u64) -> Option<String> {
    let variable = reader.schema().variables.iter().find(|variable| variable.is_index() && variable.name == dimension)?;
    let value = scalar(reader, dimension, at)?;
    let units = variable.attributes.text("units").filter(|units| is_reference(units));
    let calendar = Calendar::named(variable.attributes.text("calendar"));
    let clock = units.zip(calendar).and_then(|(units, calendar)| TimeUnits::parse(units, calendar).ok());
    Some(clock.map_or_else(|| number(value.as_f64()), |clock| clock.instant(value)))
}

impl Plane<'_> {
    fn picture(&self, reader: &ZarrReader, last: bool) -> Option<Picture> {
        let corner: Vec<u64> = self.shape.iter().map(|length| if last { length.saturating_sub(1) } else { 0 }).collect();
        let (width, height, means) = self.means(reader, &corner)?;
        let (low, high) = ends(&means)?;
        let shades: Vec<u8> = means.iter().map(|mean| mean.map_or(0, |mean| shade(mean, low, high))).collect();
        let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
        Some(Picture {
            variable: short(&self.variable.name),
            at: short(&self.place(reader, &corner)),
            units: short(self.variable.attributes.text("units").unwrap_or_default()),
            width: width as u32,
            height: height as u32,
            low,
            high,
            shades: STANDARD.encode(shades),
        })
    }

    /// `time 2006-01-01, level 1000`.
    fn place(&self, reader: &ZarrReader, corner: &[u64]) -> String {
        let others = self.variable.dimensions.iter().enumerate().filter(|(axis, _)| ![self.rows, self.columns].contains(axis));
        let told = others.map(|(axis, name)| {
            let at = corner.get(axis).copied().unwrap_or(0);
            format!("{name} {}", position(reader, name, at).unwrap_or_else(|| format!("[{at}]")))
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Per pixel the mean of its values; `None` where there is none. Nothing if the store cannot be read.
    fn means(&self, reader: &ZarrReader, corner: &[u64]) -> Option<(usize, usize, Vec<Option<f64>>)> {
        let (rows, columns) = (*self.shape.get(self.rows)?, *self.shape.get(self.columns)?);
        let shrunk = rows.max(columns).div_ceil(u64::from(WIDEST)).max(1);
        let (height, width) = (rows.div_ceil(shrunk) as usize, columns.div_ceil(shrunk) as usize);
        let counting = Counting::of(self.variable)?;
        let missing = reader.missing(&self.variable.name);
        let mut sums = vec![(0.0_f64, 0_u32); width * height];
        let strip = (BLOCK / columns.max(1)).max(1);
        for first in (0..rows).step_by(strip as usize) {
            let region = self.strip(corner, first, strip.min(rows - first))?;
            let array = reader.read(&self.variable.name, &region).ok()?;
            let steps = strides(&region.shape);
            let (down, across) = (*steps.get(self.rows)?, *steps.get(self.columns)?);
            for row in 0..*region.shape.get(self.rows)? {
                for column in 0..columns {
                    let raw = array.scalar((row * down + column * across) as usize)?;
                    let value = counting.unpacked(raw.as_f64());
                    let none = !value.is_finite() || counting.is_missing(raw) || missing.is_some_and(|missing| missing.identical(raw));
                    let pixel = self.pixel(((first + row) / shrunk) as usize, (column / shrunk) as usize, (width, height));
                    if let Some((sum, count)) = sums.get_mut(pixel).filter(|_| !none) {
                        *sum += value;
                        *count += 1;
                    }
                }
            }
        }
        Some((width, height, sums.into_iter().map(|(sum, count)| (count > 0).then(|| sum / f64::from(count))).collect()))
    }

    /// Some rows of the plane, all of their columns.
    fn strip(&self, corner: &[u64], first: u64, count: u64) -> Option<Region> {
        let (mut start, mut shape) = (corner.to_vec(), vec![1; corner.len()]);
        *start.get_mut(self.rows)? = first;
        *shape.get_mut(self.rows)? = count;
        *start.get_mut(self.columns)? = 0;
        *shape.get_mut(self.columns)? = *self.shape.get(self.columns)?;
        Some(Region::new(start, shape))
    }

    fn pixel(&self, row: usize, column: usize, (width, height): (usize, usize)) -> usize {
        let turned = |at: usize, length: usize, turn: bool| if turn { length.saturating_sub(1).saturating_sub(at) } else { at };
        turned(row, height, self.turned.0) * width + turned(column, width, self.turned.1)
    }
}

/// Where the scale begins and ends: the smallest and the largest value, of many the first and the last hundredth.
fn ends(means: &[Option<f64>]) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = means.iter().copied().flatten().collect();
    values.sort_by(f64::total_cmp);
    let cut = if values.len() < MANY { 0 } else { values.len() / 100 };
    let last = values.len().checked_sub(1 + cut)?;
    Some((*values.get(cut)?, *values.get(last)?))
}

fn shade(value: f64, low: f64, high: f64) -> u8 {
    let most = f64::from(BRIGHTEST - 1);
    let part = if high > low { (value - low) / (high - low) } else { 0.5 };
    1 + (part.clamp(0.0, 1.0) * most).round() as u8
}
