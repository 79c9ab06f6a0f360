//! What the model knows of a dataset, files that hold it, and what readers see of it.

use std::sync::Arc;

use gristmill::array::Values;
use gristmill::grid::Region;
use gristmill::run::versions::Pointer;
use gristmill::store::{self, Access, TargetStore};
use gristmill::target::zarr::{Absent, ZarrReader};

use super::made_files::MadeFile;

/// Steps in time of one file, and of one chunk.
pub(crate) const STEPS: usize = 2;
pub(crate) const CHUNK: usize = 4;
/// Values of one step.
const WIDTH: usize = 3;

/// What a dataset holds: the version of each of its files.
pub(crate) type Dataset = Vec<u32>;

/// Numbers that follow from a seed (xorshift*, Vigna 2016).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

fn value(day: usize, version: u32, step: usize, place: usize) -> f64 {
    (day * 10_000 + version as usize * 100 + step * 10 + place) as f64
}

pub(crate) fn file(day: usize, version: u32) -> Vec<u8> {
    let time: Vec<f64> = (0..STEPS).map(|step| (day * STEPS + step) as f64).collect();
    let values: Vec<f64> = (0..STEPS)
        .flat_map(|step| (0..WIDTH).map(move |place| (step, place)))
        .map(|(step, place)| value(day, version, step, place))
        .collect();
    MadeFile::default()
        .dimension("time", STEPS as u32)
        .dimension("x", WIDTH as u32)
        .variable("time", "double", &["time"], &time, &[("units", "days since 2000-01-01"), ("calendar", "standard")])
        .variable("v", "float", &["time", "x"], &values, &[("units", "K")])
        .bytes()
}

/// Every value of a store, as versions of files; an error says what no reader should see.
pub(crate) fn seen(reader: &ZarrReader) -> Result<Dataset, String> {
    let numbers = |name: &str| -> Result<Vec<f64>, String> {
        let schema = reader.schema();
        let variable = schema.variables.iter().find(|variable| variable.name == name).ok_or(format!("no `{name}`"))?;
        let array = reader.read(name, &Region::whole(&schema.shape(variable))).map_err(|error| format!("{name}: {error}"))?;
        let Values::Bytes(bytes) = &array.values else { return Err("texts".to_owned()) };
        Ok(match array.dtype.size() {
            4 => bytes.chunks_exact(4).map(|four| f64::from(f32::from_ne_bytes(four.try_into().unwrap()))).collect(),
            _ => bytes.chunks_exact(8).map(|eight| f64::from_ne_bytes(eight.try_into().unwrap())).collect(),
        })
    };
    let (time, values) = (numbers("time")?, numbers("v")?);
    if time.iter().enumerate().any(|(at, &time)| time != at as f64) || values.len() != time.len() * WIDTH || time.len() % STEPS != 0 {
        return Err(format!("times {time:?} beside {} values", values.len()));
    }
    let version = |(day, of): (usize, &[f64])| {
        let version = (of[0] as usize % 10_000 / 100) as u32;
        let wanted = (0..STEPS).flat_map(|step| (0..WIDTH).map(move |place| value(day, version, step, place)));
        if wanted.eq(of.iter().copied()) { Ok(version) } else { Err(format!("file {day} gave {of:?}")) }
    };
    values.chunks(STEPS * WIDTH).enumerate().map(version).collect()
}

/// Where a dataset is published, and how readers find it.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) target: String,
    pub(crate) versioned: bool,
}

impl Published {
    /// URL of the Zarr root; `None` if no pointer names one yet.
    pub(crate) fn root(&self) -> Result<Option<String>, String> {
        if !self.versioned {
            return Ok(Some(self.target.clone()));
        }
        let base = self.store(&self.target);
        let pointer = Pointer::read(&*base, &self.target).map_err(|error| error.to_string())?;
        Ok(pointer.map(|pointer| format!("{}/{}", self.target, pointer.version)))
    }

    #[expect(clippy::unused_self, reason = "reads as where it is looked for")]
    pub(crate) fn store(&self, url: &str) -> Arc<dyn TargetStore> {
        store::target(url, &Access::default()).unwrap()
    }

    /// One who opens it now.
    pub(crate) fn open(&self) -> Result<Option<ZarrReader>, String> {
        let Some(root) = self.root()? else { return Ok(None) };
        let reader = ZarrReader::open(self.store(&root), Absent::Hole).map_err(|error| error.to_string())?;
        if self.versioned && reader.is_none() {
            return Err(format!("the pointer names {root}, where no store is"));
        }
        Ok(reader)
    }

    pub(crate) fn visible(&self) -> Result<Option<Dataset>, String> {
        self.open()?.as_ref().map(seen).transpose()
    }
}
