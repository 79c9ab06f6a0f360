//! Reads the result back and compares it with the sources, through another reader.
//!
//! The store is decoded by zarrs, the sources by netCDF-C (where built in) or their library's own high-level read: neither shares
//! code with the path that wrote. A deterministic sample (first, last, file boundaries up to a cap), or everything; by all
//! threads, each object and each input opened once while others need it. What lies far away is compared while the run still
//! works on the rest. Invariant: a value that differs, or an object that is not there, is an error; "n of N" says how much was
//! compared; what is compared does not depend on threads or time.

mod memory;
mod queue;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use super::RunError;
use super::report::Verification;
use crate::array::{Array, Values};
use crate::combine::{Pieces, placement};
use crate::event::{Activity, Detail, Event, Phase, Reporter, spent};
use crate::grid::{ChunkGrid, Region, unravel};
use crate::plan::{Plan, PlannedContent};
use crate::receipt::Receipt;
use crate::store::{TargetStore, shown};
use crate::target::TargetError;
use crate::target::zarr::ZarrReader;
use crate::work::{Witness, Workshop};
use memory::Remembering;
use queue::Queue;

/// How much to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// First, last and some file boundaries.
    #[default]
    Sample,
    /// Everything.
    Full,
}

impl Level {
    /// Bytes that the values of one part take, twice, and where each of them is.
    #[must_use]
    pub fn part_bytes(self) -> u64 {
        match self {
            Self::Sample => 8 << 20,
            Self::Full => PART * 24,
        }
    }
}

/// File boundaries compared per variable, besides first and last.
const BOUNDARIES: usize = 2;
/// Elements compared of one corner of an input in a sample.
const ELEMENTS: u64 = 1 << 16;
/// Objects that such a corner may reach into, and how many where each has to be downloaded.
const OBJECTS: u64 = 4;
const FAR_OBJECTS: u64 = 1;
/// Elements compared at a time where everything is.
const PART: u64 = 1 << 22;

/// One comparison: a variable whose values are in the plan, or an input's part of a variable.
#[derive(Debug, Clone, Copy)]
enum Check {
    Known { variable: usize },
    Part { variable: usize, cell: usize, input: usize, conversion: usize },
}

impl Check {
    fn input(self) -> Option<usize> {
        match self {
            Self::Known { .. } => None,
            Self::Part { input, .. } => Some(input),
        }
    }
}

/// The comparisons of a plan, done when their objects are stored.
pub struct Verifier<'a> {
    workshop: &'a Workshop,
    target: ZarrReader,
    level: Level,
    /// Objects that a corner may reach into.
    reach: u64,
    reporter: &'a dyn Reporter,
    stop: &'a AtomicBool,
    checks: Vec<Check>,
    queue: Queue,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    values: u64,
    compared: u64,
    /// The first that differed, in the order of checks.
    worst: Option<(usize, RunError)>,
}

impl Found {
    fn note(&mut self, number: usize, error: RunError) {
        if self.worst.as_ref().is_none_or(|(first, _)| number < *first) {
            self.worst = Some((number, error));
        }
    }
}

impl<'a> Verifier<'a> {
    /// What is to be compared of a plan's result; `kept` bytes of objects may be remembered, and `far` ones are dear.
    ///
    /// # Errors
    /// [`RunError`] if the plan's schema cannot be read back.
    pub fn new(
        workshop: &'a Workshop,
        store: Arc<dyn TargetStore>,
        (level, kept, far): (Level, usize, bool),
        (reporter, stop): (&'a dyn Reporter, &'a AtomicBool),
    ) -> Result<Self, RunError> {
        let store = Arc::new(Remembering::new(store, kept));
        let target = ZarrReader::with_schema(store, workshop.plan.format, &workshop.plan.schema)?;
        let checks = checks(workshop, level);
        let reach = if far { FAR_OBJECTS } else { OBJECTS };
        let needs = |check: &Check| if level == Level::Sample { objects(&workshop.plan, *check, reach) } else { Vec::new() };
        let queue = Queue::new(checks.iter().map(|check| (check.input(), needs(check))));
        Ok(Self { workshop, target, level, reach, reporter, stop, checks, queue, found: Mutex::default() })
    }

    /// A task is done: some comparisons may have all their objects now.
    pub fn stored(&self, receipt: &Receipt) {
        let plan = &self.workshop.plan;
        let task = plan.task(receipt.stage as usize, receipt.task).filter(|task| !task.work.is_to_scratch());
        for (variable, index) in task.iter().flat_map(|task| plan.owned(task)) {
            self.queue.stored(&(variable, index));
        }
    }

    /// Compares what is ready, waiting for more until [`Verifier::finish`] or [`Verifier::hold`] is called. Errors are kept for the end.
    /// Nothing is ever ready early where everything is compared.
    pub fn ahead(&self) {
        while let Some(number) = self.queue.wait(self.stop) {
            if let Some(missing) = self.check(number) {
                // Shown late, or lost and to be written once more: the end will tell.
                tracing::info!(%missing, "not there yet");
                self.queue.put_back(number);
            }
        }
    }

    /// Ends [`Verifier::ahead`] after the comparisons that it is in.
    pub fn hold(&self) {
        self.queue.hold();
    }

    /// Compares everything that has not been yet, on so many threads.
    ///
    /// # Errors
    /// [`RunError::Verification`] naming variable, file and box of the first value that differs; [`RunError::Interrupted`].
    pub fn finish(self, threads: usize) -> Result<Verification, RunError> {
        self.queue.hold();
        let rest = self.queue.rest();
        let done = self.checks.len() - rest.len();
        self.reporter.report(Event::PhaseStarted { phase: Phase::Verify, steps: self.checks.len() as u64, done: done as u64, bytes: 0 });
        let rest = Mutex::new(rest.into_iter());
        let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(number) = next().filter(|_| !self.stops()) {
                if let Some(missing) = self.check(number) {
                    self.found.lock().unwrap_or_else(PoisonError::into_inner).note(number, missing);
                }
                self.reporter.report(Event::StepFinished { phase: Phase::Verify, bytes: 0 });
            }
        };
        std::thread::scope(|scope| {
            for number in 1..=threads {
                // Where no more threads are to be had, the others do the work.
                let _started = std::thread::Builder::new().name(format!("verify {number}")).spawn_scoped(scope, work);
            }
        });
        // What is left if not even one could be started; nothing else.
        work();
        self.reporter.report(Event::PhaseFinished { phase: Phase::Verify });
        self.result()
    }

    fn stops(&self) -> bool {
        self.stop.load(std::sync::atomic::Ordering::Relaxed) || self.found.lock().unwrap_or_else(PoisonError::into_inner).worst.is_some()
    }

    fn result(self) -> Result<Verification, RunError> {
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, error)) = found.worst {
            return Err(error);
        }
        if found.compared != self.checks.len() as u64 {
            return Err(RunError::Interrupted);
        }
        let of = self.workshop.plan.contents.iter().enumerate().map(|(variable, content)| match content {
            PlannedContent::Known(_) => 1,
            PlannedContent::Pieces(pieces) => filled(self.workshop, variable, pieces).len() as u64,
        });
        Ok(Verification { compared: found.compared, of: of.sum(), values: found.values, reader: self.workshop.readers() })
    }

    /// Makes one comparison and notes how it went, unless an object is missing.
    fn check(&self, number: usize) -> Option<RunError> {
        let &check = self.checks.get(number)?;
        let detail = |_: &Result<u64, RunError>| Detail { about: self.name(check), ..Detail::default() };
        let compared = spent(self.reporter, Activity::Compare, detail, || self.compare(check));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        match compared {
            Ok(values) => {
                found.values += values;
                found.compared += 1;
            }
            Err(missing @ RunError::Target(TargetError::Missing { .. })) => return Some(missing),
            Err(error) => found.note(number, error),
        }
        None
    }

    fn name(&self, check: Check) -> String {
        let plan = &self.workshop.plan;
        match check {
            Check::Known { variable } => plan.schema.variables[variable].name.clone(),
            Check::Part { variable, input, .. } => {
                format!("{} of {}", plan.schema.variables[variable].name, shown(&plan.inputs[input].url))
            }
        }
    }

    /// How many values were compared.
    fn compare(&self, check: Check) -> Result<u64, RunError> {
        match (
            check,
            self.workshop.plan.contents.get(match check {
                Check::Known { variable } | Check::Part { variable, .. } => variable,
            }),
        ) {
            (Check::Known { variable }, Some(PlannedContent::Known(array))) => self.compare_known(variable, array),
            (Check::Part { variable, cell, input, conversion }, Some(PlannedContent::Pieces(pieces))) => {
                let witness = self.queue.witness(input, || Ok(self.workshop.witness(input)?))?;
                self.compare_part((variable, cell, input), (pieces, conversion), &witness)
            }
            _ => Ok(0),
        }
    }

    fn compare_known(&self, variable: usize, array: &Array) -> Result<u64, RunError> {
        let name = &self.workshop.plan.schema.variables[variable].name;
        let region = Region::whole(&array.shape);
        let stored = self.target.read(name, &region)?;
        if same(&stored, array) { Ok(array.elements()) } else { Err(differs(name, "the plan", &region, &stored, array)) }
    }

    fn compare_part(
        &self,
        (variable, cell, input): (usize, usize, usize),
        (pieces, conversion): (&Pieces, usize),
        witness: &Witness,
    ) -> Result<u64, RunError> {
        let plan = &self.workshop.plan;
        let name = &plan.schema.variables[variable].name;
        let whole = place(plan, variable, pieces, cell);
        let conversion = pieces.conversions.get(conversion);
        let mut values = 0;
        // A sample's two corners are read together; parts of everything one by one.
        let parts = match self.level {
            Level::Sample => ends(&whole, &plan.objects(variable), self.reach),
            Level::Full => pieces_of(&whole, PART),
        };
        let together = if self.level == Level::Sample { parts.len().max(1) } else { 1 };
        for some in parts.chunks(together) {
            let regions: Vec<Region> = some.iter().map(|part| part.relative_to(&whole.start)).collect();
            let expected = self.workshop.expected(witness, name, &regions, conversion)?;
            for (part, expected) in some.iter().zip(&expected) {
                let stored = self.target.read(name, part)?;
                if !same(&stored, expected) {
                    return Err(differs(name, &shown(&plan.inputs[input].url), part, &stored, expected));
                }
                values += part.elements();
            }
        }
        Ok(values)
    }
}

/// All comparisons: by variable where a few are sampled, so that objects are shared; by input where all are, so that an input is
/// opened once.
fn checks(workshop: &Workshop, level: Level) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for (variable, content) in workshop.plan.contents.iter().enumerate() {
        match content {
            PlannedContent::Known(_) => checks.push(Check::Known { variable }),
            PlannedContent::Pieces(pieces) => checks.extend(chosen(workshop, variable, pieces, level)),
        }
    }
    if level == Level::Full {
        checks.sort_by_key(|check| check.input());
    }
    checks
}

/// Cells of a variable that a file fills, but for those whose objects an append leaves as they are: they were compared when they were written.
fn filled(workshop: &Workshop, variable: usize, pieces: &Pieces) -> Vec<usize> {
    let plan = &workshop.plan;
    let shape = plan.schema.shape(&plan.schema.variables[variable]);
    let counts: Vec<u64> = pieces.axes.iter().map(|&(axis, _)| plan.axes[axis].lengths.len() as u64).collect();
    let first_steps: Vec<Vec<u64>> = pieces.axes.iter().map(|&(axis, _)| first_steps(&plan.axes[axis].lengths)).collect();
    let is_left = |&number: &usize| {
        let mut region = Region::whole(&shape);
        for ((&(axis, dimension), position), first) in pieces.axes.iter().zip(unravel(number as u64, &counts)).zip(&first_steps) {
            region.start[dimension] = first[position as usize];
            region.shape[dimension] = plan.axes[axis].lengths[position as usize];
        }
        workshop.is_left(variable, &region)
    };
    (0..pieces.inputs.len()).filter(|&number| pieces.inputs[number].is_some()).filter(|number| !is_left(number)).collect()
}

/// Where each of some lengths begins that follow one another.
fn first_steps(lengths: &[u64]) -> Vec<u64> {
    let next = |end: &mut u64, length: &u64| {
        let start = *end;
        *end += length;
        Some(start)
    };
    lengths.iter().scan(0, next).collect()
}

/// Which inputs of a variable to compare: all, or the first, the last and some in between.
fn chosen(workshop: &Workshop, variable: usize, pieces: &Pieces, level: Level) -> Vec<Check> {
    let present = filled(workshop, variable, pieces);
    let last = present.len().saturating_sub(1);
    let sample: BTreeSet<usize> = (0..=BOUNDARIES + 1).map(|step| step * last / (BOUNDARIES + 1)).collect();
    let wanted = |position: &usize| level == Level::Full || sample.contains(position);
    let check = |position: usize| {
        let cell = *present.get(position)?;
        let input = pieces.inputs[cell]? as usize;
        let conversion = pieces.converted.get(cell).map_or(0, |&at| at as usize);
        Some(Check::Part { variable, cell, input, conversion })
    };
    (0..present.len()).filter(wanted).filter_map(check).collect()
}

/// The box of a variable that one cell of its inputs fills.
fn place(plan: &Plan, variable: usize, pieces: &Pieces, cell: usize) -> Region {
    let counts: Vec<u64> = pieces.axes.iter().map(|&(axis, _)| plan.axes[axis].lengths.len() as u64).collect();
    let cell: Vec<usize> = unravel(cell as u64, &counts).into_iter().map(|index| index as usize).collect();
    placement(&plan.axes, pieces, &plan.schema.shape(&plan.schema.variables[variable]), &cell)
}

/// The objects that a comparison reads.
fn objects(plan: &Plan, check: Check, reach: u64) -> Vec<(usize, Vec<u64>)> {
    let (Check::Known { variable } | Check::Part { variable, .. }) = check;
    let grid = plan.objects(variable);
    let parts = match (check, &plan.contents[variable]) {
        (Check::Part { cell, .. }, PlannedContent::Pieces(pieces)) => ends(&place(plan, variable, pieces, cell), &grid, reach),
        _ => vec![Region::whole(&grid.shape)],
    };
    let touched: BTreeSet<Vec<u64>> = parts.iter().flat_map(|part| crate::grid::positions(&grid.touching(part))).collect();
    touched.into_iter().map(|index| (variable, index)).collect()
}

/// Boxes of at most `limit` elements that cover a box: as long as can be along its last dimensions.
fn pieces_of(whole: &Region, limit: u64) -> Vec<Region> {
    if whole.is_empty() || whole.rank() == 0 {
        return vec![whole.clone()];
    }
    let mut room = limit.max(1);
    let mut lengths: Vec<u64> = Vec::with_capacity(whole.rank());
    for &length in whole.shape.iter().rev() {
        lengths.push(length.min(room).max(1));
        room /= lengths.last().copied().unwrap_or(1);
    }
    lengths.reverse();
    let grid = ChunkGrid::new(whole.shape.clone(), lengths);
    let moved = |part: Region| Region::new(part.start.iter().zip(&whole.start).map(|(start, offset)| start + offset).collect(), part.shape);
    (0..grid.chunks()).map(|number| moved(grid.region(&grid.index(number)))).collect()
}

/// The first and the last corner of a box, a few rows each, of few objects.
fn ends(whole: &Region, grid: &ChunkGrid, reach: u64) -> Vec<Region> {
    if whole.is_empty() {
        return Vec::new();
    }
    let mut shape = whole.shape.clone();
    for axis in 0..shape.len() {
        let others = crate::grid::elements(&shape) / shape[axis].max(1);
        shape[axis] = (ELEMENTS / others.max(1)).clamp(1, shape[axis]);
    }
    let last: Vec<u64> = (0..whole.rank()).map(|axis| whole.end(axis) - shape[axis]).collect();
    let first = within(Region::new(whole.start.clone(), shape.clone()), (grid, reach), false);
    let last = within(Region::new(last, shape), (grid, reach), true);
    if first == last { vec![first] } else { vec![first, last] }
}

/// The part of a box that lies in at most `reach` objects: cut at its end, or at its start.
fn within(mut part: Region, (grid, reach): (&ChunkGrid, u64), keep_end: bool) -> Region {
    for axis in 0..part.rank() {
        let touched = grid.touching(&part);
        let others = touched.elements() / touched.shape[axis].max(1);
        let most = (reach / others.max(1)).max(1);
        if touched.shape[axis] > most {
            let (start, end, chunk) = (part.start[axis], part.end(axis), grid.chunk[axis]);
            let (start, end) = if keep_end {
                (start.max((touched.end(axis) - most) * chunk), end)
            } else {
                (start, end.min((touched.start[axis] + most) * chunk))
            };
            (part.start[axis], part.shape[axis]) = (start, end - start);
        }
    }
    part
}

/// Equal type, shape and bits; NaNs are equal to NaNs.
fn same(one: &Array, other: &Array) -> bool {
    one == other
        || (one.dtype == other.dtype
            && one.shape == other.shape
            && one.dtype.is_float()
            && one
                .scalars()
                .zip(other.scalars())
                .all(|(one, other)| one.identical(other) || (one.as_f64().is_nan() && other.as_f64().is_nan())))
}

fn differs(variable: &str, source: &str, region: &Region, stored: &Array, expected: &Array) -> RunError {
    let pair = |position: usize| match (&stored.values, &expected.values) {
        (Values::Texts(one), Values::Texts(other)) => Some((one.get(position)?.clone(), other.get(position)?.clone())),
        _ => Some((stored.scalar(position)?.plain(), expected.scalar(position)?.plain())),
    };
    let example = (0..expected.elements() as usize).filter_map(pair).find(|(one, other)| one != other);
    let example = example.map_or_else(
        || format!("{} {:?} instead of {} {:?}", stored.dtype, stored.shape, expected.dtype, expected.shape),
        |(one, other)| format!("{one} instead of {other}"),
    );
    RunError::Verification {
        message: format!("`{variable}` in the box {:?} + {:?} differs from {source}: {example}", region.start, region.shape),
    }
}
