//! Do one task: read, decode, convert, place, encode, write. The only place where data moves.
//!
//! *Which* tasks run, where and when is `executor`'s. `inputs` opens files, `reads` lists what a task must read from them,
//! `objects` are the buffers that fill up, `moves` what is stored as the source holds it. Invariant: an object is encoded only after every read that touches it has been
//! placed, and a task's receipt exists only after all its objects are stored.

mod about;
mod chunks;
mod error;
mod expected;
mod inputs;
mod moves;
mod objects;
mod reads;
mod scratch;
mod tail;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::array::Values;
use crate::cf::statistics::{Counting, Statistics};
use crate::codec;
use crate::codec::pages::Pool;
use crate::grid::Region;
use crate::plan::{Passage, Plan, PlannedContent, Task, Work};
use crate::receipt::{ChunkRef, InputRead, Receipt};
use crate::store::{SourceStore, TargetStore};
use crate::target::zarr::Encoder;
use crate::target::{ChunkPayload, Target};

pub use error::WorkError;
pub use expected::Witness;
pub use inputs::{Described, DescribedVariable, Inputs};
use moves::{Destination, Fitting};
pub use objects::Object;
use reads::Given;
pub use reads::{Read, ReadFrom};
pub use tail::Tail;

/// Everything tasks share.
pub struct Workshop {
    /// The plan.
    pub plan: Plan,
    /// [`Plan::identity`], computed once.
    pub plan_id: String,
    /// Where inputs are read.
    pub sources: Arc<dyn SourceStore>,
    /// Where objects go.
    pub target: Arc<dyn Target>,
    inputs: Inputs,
    encoders: Vec<Encoder>,
    published: Vec<Vec<u64>>,
    /// The only objects to write, by variable and index; `None`: all.
    mended: Option<BTreeSet<(usize, Vec<u64>)>>,
    /// What an append writes again.
    tail: Option<Tail>,
    /// Where scratch objects lie, if the plan has any.
    scratch: Option<Arc<dyn TargetStore>>,
    /// [`Plan::counted`].
    counted: Vec<Option<Counting>>,
    /// What source chunks must be to be moved as they are, by variable; `None`: nothing is.
    fitting: Vec<Option<Fitting>>,
    readers: expected::Readers,
    /// Buffers of objects that are encoded.
    buffers: Arc<Pool>,
}

/// A task whose inputs are open and whose reads are known.
pub struct Prepared {
    /// The task.
    pub task: Task,
    /// The task's objects, in the order of [`Plan::owned`].
    pub objects: Vec<Object>,
    /// What must be read; each fills some objects.
    pub reads: Vec<Read>,
    inputs: Vec<OpenInput>,
    /// Objects not yet stored.
    unfinished: AtomicUsize,
    /// Chunks that were moved as they are.
    moved: AtomicU64,
}

/// An input of a task, and what was read of it.
struct OpenInput {
    number: usize,
    described: Arc<Described>,
    bytes: AtomicU64,
    checksum: Mutex<u128>,
}

impl OpenInput {
    fn note(&self, parts: &[Bytes]) {
        for part in parts {
            self.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
            let mut sum = self.checksum.lock().unwrap_or_else(PoisonError::into_inner);
            *sum = sum.wrapping_add(xxhash_rust::xxh3::xxh3_128(part));
        }
    }

    fn read(&self) -> InputRead {
        let sum = *self.checksum.lock().unwrap_or_else(PoisonError::into_inner);
        InputRead { input: self.number as u32, bytes: self.bytes.load(Ordering::Relaxed), checksum: format!("{sum:032x}") }
    }
}

impl Workshop {
    /// Sets up encoders and an empty cache of opened inputs.
    ///
    /// # Errors
    /// [`WorkError::Target`] if a variable's encoding cannot be carried out.
    pub fn new(plan: Plan, sources: Arc<dyn SourceStore>, target: Arc<dyn Target>) -> Result<Self, WorkError> {
        let encoders = plan.schema.variables.iter().map(Encoder::new).collect::<Result<_, _>>()?;
        let counted = plan.counted();
        let fitting = |number: usize| {
            let variable = plan.schema.variables.get(number).filter(|_| plan.may_move(number))?;
            Fitting::of(variable, plan.schema.shape(variable))
        };
        let fitting = (0..plan.schema.variables.len()).map(fitting).collect();
        let (inputs, readers) = (Inputs::default(), expected::Readers::default());
        Ok(Self {
            plan_id: plan.identity(),
            counted,
            fitting,
            plan,
            sources,
            target,
            inputs,
            encoders,
            published: Vec::new(),
            mended: None,
            tail: None,
            scratch: None,
            readers,
            buffers: Arc::default(),
        })
    }

    /// Lets go of the memory that tasks passed on to one another: no more of them follow.
    pub fn rest(&self) {
        self.buffers.clear();
    }

    /// Begins with what the scan of this run found in inputs.
    #[must_use]
    pub fn knowing(self, scanned: Vec<(usize, Described)>) -> Self {
        Self { inputs: Inputs::knowing(scanned), ..self }
    }

    /// Leaves objects as they are that an append does not touch: for each variable, how many along each dimension.
    #[must_use]
    pub fn leaving(self, published: Vec<Vec<u64>>) -> Self {
        Self { published, ..self }
    }

    /// Writes these objects of the target only, by variable and index, and leaves all others as they are. Scratch is written whole.
    #[must_use]
    pub fn mending(self, objects: BTreeSet<(usize, Vec<u64>)>) -> Self {
        Self { mended: Some(objects), ..self }
    }

    /// True if a task shall leave an object as it is.
    fn leaves(&self, task: &Task, object: &Object) -> bool {
        let mends = |objects: &BTreeSet<(usize, Vec<u64>)>| objects.contains(&(object.variable, object.index.clone()));
        let unasked = !task.work.is_to_scratch() && self.mended.as_ref().is_some_and(|objects| !mends(objects));
        unasked || self.is_left(object.variable, object.region())
    }

    /// Objects that are left as they are: no receipt of this plan names them.
    #[must_use]
    pub fn left_objects(&self) -> u64 {
        let left = |(variable, counts): (usize, &Vec<u64>)| {
            let all = self.plan.objects(variable).counts();
            let along = counts.iter().zip(&all).map(|(left, all)| left.min(all));
            if counts.len() == all.len() && !all.is_empty() { along.product() } else { 0_u64 }
        };
        self.published.iter().enumerate().map(left).sum()
    }

    /// Sees to it that what an append writes again keeps its published values.
    #[must_use]
    pub fn guarding(self, tail: Option<Tail>) -> Self {
        Self { tail, ..self }
    }

    /// True if every object that holds a part of a variable's box is left as an earlier run published it.
    #[must_use]
    pub fn is_left(&self, variable: usize, region: &Region) -> bool {
        let Some(counts) = self.published.get(variable) else { return false };
        let objects = self.plan.objects(variable).touching(region);
        counts.len() == objects.rank() && objects.rank() > 0 && counts.iter().enumerate().all(|(axis, count)| objects.end(axis) <= *count)
    }

    /// Opens the task's inputs and lists its reads.
    ///
    /// # Errors
    /// Any [`WorkError`]; nothing has been written.
    pub fn prepare(&self, task: Task) -> Result<Prepared, WorkError> {
        let objects = self.objects(&task);
        objects.iter().filter(|object| self.leaves(&task, object)).for_each(Object::leave);
        let unfinished = AtomicUsize::new(objects.iter().filter(|object| !object.is_left()).count());
        let mut prepared = Prepared { objects, task, reads: Vec::new(), inputs: Vec::new(), unfinished, moved: AtomicU64::new(0) };
        let Work::Slab { variables, objects, passage } = prepared.task.work.clone() else { return Ok(prepared) };
        let mut first = 0;
        for variable in variables {
            match &passage {
                Passage::FromScratch(lengths) => self.list_scratch_reads(&mut prepared, variable, (&objects, first), lengths),
                Passage::Direct | Passage::ToScratch(_) => self.list_reads(&mut prepared, variable, &objects, first)?,
            }
            first += objects.elements() as usize;
        }
        for (number, read) in prepared.reads.iter().enumerate() {
            debug_assert!(!read.touches.is_empty(), "read {number} touches nothing");
            read.touches.iter().for_each(|&object| prepared.objects[object as usize].expect_read());
        }
        Ok(prepared)
    }

    fn objects(&self, task: &Task) -> Vec<Object> {
        let object = |(variable, index): (usize, Vec<u64>)| {
            let grid = self.plan.written(&task.work, variable);
            let region = grid.region(&index);
            let lengths = if task.work.is_to_scratch() { region.shape.clone() } else { grid.chunk };
            let chunk = self.fitting(&task.work, variable).map(|fitting| fitting.chunk().clone());
            Object::new(variable, index, region, lengths, (&self.plan.schema.variables[variable], &self.buffers)).divided(chunk)
        };
        self.plan.owned(task).into_iter().map(object).collect()
    }

    /// What source chunks must be to be moved as they are by some work; `None`: nothing is.
    fn fitting(&self, work: &Work, variable: usize) -> Option<&Fitting> {
        let direct = matches!(work, Work::Slab { passage: Passage::Direct, .. });
        self.fitting.get(variable).filter(|_| direct)?.as_ref()
    }

    /// Adds the reads that fill a slab of objects of one variable; `first` is the position of the slab's first object.
    fn list_reads(&self, prepared: &mut Prepared, variable: usize, objects: &Region, first: usize) -> Result<(), WorkError> {
        let PlannedContent::Pieces(pieces) = &self.plan.contents[variable] else {
            return Err(WorkError::Internal("a slab of a variable that is in the plan itself".to_owned()));
        };
        let grid = self.plan.written(&prepared.task.work, variable);
        let slab = grid.covered(objects);
        let mut cells = reads::cells(&self.plan.axes, pieces, &grid.shape, &slab);
        // Files of which nothing is to be written are not opened.
        cells.retain(|cell| cell.region.intersect(&slab).is_none_or(|part| !self.is_left(variable, &part)));
        let fitting = self.fitting(&prepared.task.work, variable);
        // The task's variables share their files, and more of them than the cache holds.
        let mut opened = prepared.inputs.iter().map(|input| (input.number, Arc::clone(&input.described))).collect();
        self.inputs.open_all(self, cells.iter().map(|cell| cell.input), &mut opened)?;
        for cell in cells {
            let described = opened.get(&cell.input).map_or_else(|| self.inputs.get(self, cell.input), |known| Ok(Arc::clone(known)))?;
            let conversion = pieces.conversions.get(cell.conversion).cloned().unwrap_or_default();
            let name = &self.plan.schema.variables[variable].name;
            let found = self.kept(cell.input, described.variable(name)?, name);
            let input = prepared.inputs.len();
            let mut listed: Vec<Read> = reads::list(&found, &cell, &slab, (&grid, objects, first));
            for read in &mut listed {
                (read.variable, read.input, read.conversion) = (variable, input, conversion.clone());
                read.touches.retain(|&object| !prepared.objects[object as usize].is_left());
                let chunk = fitting.and_then(|fitting| fitting.chunk_of(read));
                if let (Some(chunk), &[object]) = (chunk, read.touches.as_slice()) {
                    let number = prepared.objects[object as usize].number_of(&chunk);
                    read.moves = number.map(|chunk| Destination { object, chunk });
                }
            }
            prepared.reads.extend(listed.into_iter().filter(|read| !read.touches.is_empty()));
            prepared.inputs.push(OpenInput { number: cell.input, described, bytes: AtomicU64::new(0), checksum: Mutex::new(0) });
        }
        Ok(())
    }

    /// A variable in a file without the steps that the file loses to others.
    fn kept(&self, input: usize, mut found: DescribedVariable, name: &str) -> DescribedVariable {
        let kept = u32::try_from(input).ok().and_then(|input| self.plan.kept.get(&input));
        let (Some(kept), Some(variable)) = (kept, self.plan.schema.variable(name)) else { return found };
        for (axis, dimension) in found.view.axes.iter_mut().zip(&variable.dimensions) {
            if let Some(runs) = kept.get(dimension) {
                let steps: Vec<u64> = runs.iter().flat_map(|&(first, length)| first..first.saturating_add(length)).collect();
                *axis = axis.select(&steps).simplified();
            }
        }
        found
    }

    /// The receipt of a task that has nothing to write; `None` if it has.
    #[must_use]
    pub fn idle(&self, prepared: &Prepared) -> Option<Receipt> {
        (prepared.unfinished.load(Ordering::Acquire) == 0).then(|| self.receipt(prepared))
    }

    /// True if waiting for a read costs a compute thread nothing: it is on this machine, or has nothing to fetch.
    #[must_use]
    pub fn is_near(&self, prepared: &Prepared, read: usize) -> bool {
        let read = &prepared.reads[read];
        match (&read.from, &self.plan.scratch) {
            (ReadFrom::Scratch(_), Some(url)) => url.starts_with("memory://") || self.sources.is_local(url),
            _ => read.stored_bytes() == 0 || self.sources.is_local(&prepared.inputs[read.input].described.url),
        }
    }

    /// The bytes of some reads of one input (or of scratch), one list per read, one part per range.
    ///
    /// # Errors
    /// [`WorkError::Store`].
    pub fn fetch(&self, prepared: &Prepared, reads: &[usize]) -> Result<Vec<Vec<Bytes>>, WorkError> {
        let Some(&first) = reads.first() else { return Ok(Vec::new()) };
        if matches!(prepared.reads[first].from, ReadFrom::Scratch(_)) {
            let key = |read: &usize| if let ReadFrom::Scratch(key) = &prepared.reads[*read].from { Some(key) } else { None };
            return reads.iter().filter_map(key).map(|key| self.fetch_scratch(key)).collect();
        }
        let described = &prepared.inputs[prepared.reads[first].input].described;
        if prepared.reads[first].from == ReadFrom::Server {
            return reads.iter().map(|&read| Ok(vec![reads::from_server(self, described, &prepared.reads[read])?])).collect();
        }
        let url = &described.url;
        let ranges: Vec<_> = reads.iter().flat_map(|&read| prepared.reads[read].ranges()).collect();
        let mut parts = if ranges.is_empty() { Vec::new() } else { self.sources.ranges(url, &ranges)? }.into_iter();
        Ok(reads.iter().map(|&read| parts.by_ref().take(prepared.reads[read].ranges().len()).collect()).collect())
    }

    /// Decodes, converts and places one read; returns the objects that are full now.
    ///
    /// # Errors
    /// [`WorkError::Source`] for bytes that do not decode, [`WorkError::Conversion`] for values that would lose something.
    pub fn place(&self, prepared: &Prepared, read: usize, parts: &[Bytes], scratch: &mut codec::Scratch) -> Result<Vec<usize>, WorkError> {
        let read = &prepared.reads[read];
        let given = match (&read.from, prepared.inputs.get(read.input)) {
            (ReadFrom::Scratch(_), _) => Given::Values(self.scratch_values(read, parts)?),
            (_, Some(input)) => {
                input.note(parts);
                reads::given(self, (input.number, &input.described), read, parts, scratch)?
            }
            (_, None) => return Err(WorkError::Internal("a read without an input".to_owned())),
        };
        match given {
            Given::Moved(to, statistics) => {
                // A copy, because fetched parts may be slices of something larger that would be kept with them.
                let bytes = parts.first().map(|part| Bytes::copy_from_slice(part)).unwrap_or_default();
                prepared.objects[to.object as usize].take_over(to.chunk, bytes, statistics)?;
                prepared.moved.fetch_add(1, Ordering::Relaxed);
            }
            Given::Values(values) => {
                for piece in &read.pieces {
                    for &object in &read.touches {
                        prepared.objects[object as usize].place(&values, piece)?;
                    }
                }
                if let Values::Bytes(buffer) = values.values {
                    scratch.recycle(buffer);
                }
            }
        }
        let mut full = Vec::new();
        for &object in &read.touches {
            if prepared.objects[object as usize].finish_read() {
                full.push(object as usize);
            }
        }
        Ok(full)
    }

    /// Encodes an object that is full (or that nothing fills) and frees its values.
    ///
    /// # Errors
    /// [`WorkError::Target`].
    pub fn encode(&self, prepared: &Prepared, object: usize) -> Result<Bytes, WorkError> {
        let object = &prepared.objects[object];
        if let (Work::Known { .. }, PlannedContent::Known(array)) = (&prepared.task.work, &self.plan.contents[object.variable]) {
            object.place_known(array)?;
        }
        if prepared.task.work.is_to_scratch() {
            return self.pack(object);
        }
        let bytes = object.encode(&self.encoders[object.variable], self.counted[object.variable].as_ref())?;
        if let Some(tail) = &self.tail {
            tail.check(&self.plan, object, &bytes)?;
        }
        Ok(bytes)
    }

    /// Stores an encoded object; gives the receipt when it was the task's last.
    ///
    /// # Errors
    /// [`WorkError::Target`].
    pub fn write(&self, prepared: &Prepared, object: usize, bytes: Bytes) -> Result<Option<Receipt>, WorkError> {
        let object = &prepared.objects[object];
        let written = if prepared.task.work.is_to_scratch() {
            self.write_scratch(object, bytes)?
        } else {
            self.target.write(&self.plan.schema.variables[object.variable], &object.index, ChunkPayload::Encoded(bytes))?
        };
        object.written(written);
        let last = prepared.unfinished.fetch_sub(1, Ordering::AcqRel) == 1;
        Ok(last.then(|| self.receipt(prepared)))
    }

    fn receipt(&self, prepared: &Prepared) -> Receipt {
        let mut chunks: Vec<ChunkRef> = prepared.objects.iter().filter_map(Object::stored).collect();
        chunks.sort_by(|one, other| one.key.cmp(&other.key));
        let (scratch, chunks) = if prepared.task.work.is_to_scratch() { (chunks, Vec::new()) } else { (Vec::new(), chunks) };
        let mut inputs: BTreeMap<u32, InputRead> = BTreeMap::new();
        for read in prepared.inputs.iter().map(OpenInput::read) {
            inputs.entry(read.input).and_modify(|sum| sum.add(&read)).or_insert(read);
        }
        Receipt {
            plan: self.plan_id.clone(),
            stage: prepared.task.stage as u32,
            task: prepared.task.number,
            chunks,
            scratch,
            inputs: inputs.into_values().collect(),
            raw_bytes: prepared.task.bytes,
            statistics: self.statistics(prepared),
            moved: prepared.moved.load(Ordering::Relaxed),
            attempt: 0,
            epoch: 0,
        }
    }

    /// Statistics of the objects a task wrote, by variable: empty ones where an append left all as they were.
    fn statistics(&self, prepared: &Prepared) -> BTreeMap<String, Statistics> {
        let mut statistics: BTreeMap<String, Statistics> = BTreeMap::new();
        let wanted = |object: &&Object| self.counted.get(object.variable).is_some_and(Option::is_some);
        for object in prepared.objects.iter().filter(wanted) {
            let sum = statistics.entry(self.plan.schema.variables[object.variable].name.clone()).or_default();
            object.counted().into_iter().for_each(|counted| sum.add(counted));
        }
        statistics
    }
}
