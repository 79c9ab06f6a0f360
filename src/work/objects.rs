//! Objects while they fill up: a buffer each, which reads are placed into from many threads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::WorkError;
use super::chunks::Chunks;
use super::reads::PlacedPiece;
use crate::array::{Array, DataType, FillValue, Placed, Values, copy_box};
use crate::cf::statistics::{Counting, Statistics};
use crate::codec::pages::Pool;
use crate::dataset::Variable;
use crate::grid::{ChunkGrid, Region, Shape, elements, positions, strides};
use crate::receipt::ChunkRef;
use crate::target::zarr::Encoder;

/// One object of a task: a chunk or a shard.
pub struct Object {
    /// Position of its variable in the schema.
    pub variable: usize,
    /// Its index in the variable's grid.
    pub index: Vec<u64>,
    /// Its box of the variable, clipped to the variable.
    region: Region,
    /// Its lengths as stored (never clipped).
    lengths: Shape,
    dtype: DataType,
    fill: FillValue,
    /// Lengths of its chunks, if those are filled one by one.
    chunk: Option<Shape>,
    /// Lengths of its chunks, if it is a shard.
    inner: Option<Shape>,
    /// Reads that still have to be placed.
    waiting: AtomicU32,
    state: Mutex<State>,
    /// What its values are, if that is wanted.
    counted: OnceLock<Statistics>,
    /// Where its buffer comes from and goes back to.
    buffers: Arc<Pool>,
}

enum State {
    Empty,
    Filling(Values),
    /// Chunk by chunk, some moved as they are.
    Divided(Chunks),
    Encoded,
    Stored(ChunkRef),
    /// Published by an earlier run, and not touched by this one.
    Left,
}

impl Object {
    pub(super) fn new(variable: usize, index: Vec<u64>, region: Region, lengths: Shape, (of, buffers): (&Variable, &Arc<Pool>)) -> Self {
        let fill = of.encoding.fill.clone().unwrap_or_else(|| default_fill(of.dtype));
        Self {
            variable,
            index,
            region,
            lengths,
            dtype: of.dtype,
            fill,
            chunk: None,
            inner: of.encoding.shards.as_ref().and(of.encoding.chunks.clone()),
            waiting: AtomicU32::new(0),
            state: Mutex::new(State::Empty),
            counted: OnceLock::new(),
            buffers: Arc::clone(buffers),
        }
    }

    /// Fills its chunks one by one, so that some may be moved as they are.
    pub(super) fn divided(self, chunk: Option<Shape>) -> Self {
        Self { chunk, ..self }
    }

    /// Row-major number, within the object, of a chunk of the variable.
    pub(super) fn number_of(&self, chunk: &[u64]) -> Option<usize> {
        let lengths = self.chunk.as_ref()?;
        let within =
            chunk.iter().zip(lengths).zip(&self.region.start).map(|((index, length), start)| index - start / length).collect::<Vec<_>>();
        Some(ChunkGrid::new(self.lengths.clone(), lengths.clone()).number(&within) as usize)
    }

    /// Takes the bytes of one of its chunks as they are to be stored.
    pub(super) fn take_over(&self, chunk: usize, bytes: Bytes, statistics: Option<Statistics>) -> Result<(), WorkError> {
        match &mut *self.begun()? {
            State::Divided(chunks) => chunks.take_over(chunk, bytes, statistics),
            _ => Err(self.out_of_order()),
        }
    }

    /// Its state, with room for values where there was none.
    fn begun(&self) -> Result<MutexGuard<'_, State>, WorkError> {
        let mut state = self.lock();
        if matches!(*state, State::Empty) {
            *state = match (&self.chunk, &self.fill) {
                (Some(chunk), FillValue::Number(fill)) => State::Divided(Chunks::new(self.lengths.clone(), chunk.clone(), *fill)),
                _ => State::Filling(self.filled()?),
            };
        }
        Ok(state)
    }

    /// One more read will fill this object.
    pub(super) fn expect_read(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// One read is done with this object; true if it was the last.
    pub(super) fn finish_read(&self) -> bool {
        self.waiting.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// True if nothing has to be read to fill this object, and it is to be written.
    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0 && !self.is_left()
    }

    /// Leaves the object as an earlier run published it.
    pub(super) fn leave(&self) {
        *self.lock() = State::Left;
    }

    pub(super) fn is_left(&self) -> bool {
        matches!(*self.lock(), State::Left)
    }

    /// Copies the part of a placed piece that lies in this object.
    pub(super) fn place(&self, values: &Array, piece: &PlacedPiece) -> Result<(), WorkError> {
        let Some(common) = piece.region.intersect(&self.region) else { return Ok(()) };
        let outer = strides(&self.lengths);
        let within = common.relative_to(&self.region.start);
        let target = Placed {
            offset: within.start.iter().zip(&outer).map(|(start, stride)| start * stride).sum(),
            strides: outer.iter().map(|&stride| stride as i64).collect(),
        };
        let source = piece.at(&common)?;
        let mut state = self.begun()?;
        let buffer = match (&mut *state, &values.values) {
            (State::Filling(buffer), _) => buffer,
            (State::Divided(chunks), Values::Bytes(bytes)) => return chunks.place(&self.region.start, bytes, piece, &common),
            _ => return Err(self.out_of_order()),
        };
        match (&values.values, buffer) {
            (Values::Bytes(bytes), Values::Bytes(buffer)) => {
                copy_box(self.dtype.size(), &common.shape, (bytes, &source), (buffer, &target))
                    .map_err(|error| WorkError::Internal(error.to_string()))
            }
            (Values::Texts(texts), Values::Texts(buffer)) => copy_texts(&common.shape, (texts, &source), (buffer, &target)),
            _ => Err(self.out_of_order()),
        }
    }

    /// Fills the object from the whole variable's values.
    pub(super) fn place_known(&self, array: &Array) -> Result<(), WorkError> {
        let placed = Placed { offset: 0, strides: strides(&array.shape).iter().map(|&stride| stride as i64).collect() };
        self.place(array, &PlacedPiece { region: Region::whole(&array.shape), placed })
    }

    /// The object's box of the variable.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// The values as they are in memory: what a scratch object holds.
    pub(super) fn raw(&self) -> Result<Vec<u8>, WorkError> {
        match self.take()? {
            Values::Bytes(bytes) => Ok(bytes),
            Values::Texts(_) => Err(WorkError::Internal("texts have no scratch objects".to_owned())),
        }
    }

    fn take(&self) -> Result<Values, WorkError> {
        match std::mem::replace(&mut *self.lock(), State::Encoded) {
            State::Filling(values) => Ok(values),
            State::Empty => self.filled(),
            State::Divided(_) | State::Encoded | State::Stored(_) | State::Left => Err(self.out_of_order()),
        }
    }

    /// Encodes the values, counting them first (padding left out) if that is wanted.
    pub(super) fn encode(&self, encoder: &Encoder, counting: Option<&Counting>) -> Result<Bytes, WorkError> {
        if self.chunk.is_some() {
            drop(self.begun()?);
            return self.encode_divided(encoder, counting);
        }
        let values = self.take()?;
        if let (Some(counting), Values::Bytes(bytes)) = (counting, &values) {
            let chunk = self.inner.as_ref().unwrap_or(&self.lengths);
            self.counted.get_or_init(|| counting.chunks(bytes, (&self.lengths, &self.region.shape), chunk));
        }
        Ok(match values {
            Values::Bytes(bytes) => {
                let object = encoder.encode(bytes.as_slice())?;
                self.buffers.give(bytes);
                object
            }
            Values::Texts(texts) => encoder.encode_texts(&texts)?,
        })
    }

    fn encode_divided(&self, encoder: &Encoder, counting: Option<&Counting>) -> Result<Bytes, WorkError> {
        let State::Divided(chunks) = std::mem::replace(&mut *self.lock(), State::Encoded) else { return Err(self.out_of_order()) };
        let (bytes, counted) = chunks.encode(encoder, counting, &self.region.shape)?;
        if let Some(counted) = counted {
            self.counted.get_or_init(|| counted);
        }
        Ok(bytes)
    }

    pub(super) fn counted(&self) -> Option<&Statistics> {
        self.counted.get()
    }

    pub(super) fn written(&self, chunk: ChunkRef) {
        *self.lock() = State::Stored(chunk);
    }

    pub(super) fn stored(&self) -> Option<ChunkRef> {
        match &*self.lock() {
            State::Stored(chunk) => Some(chunk.clone()),
            _ => None,
        }
    }

    /// A buffer of fill values.
    fn filled(&self) -> Result<Values, WorkError> {
        let too_large = || WorkError::Internal("an object too large for this machine".to_owned());
        let count = usize::try_from(elements(&self.lengths)).map_err(|_| too_large())?;
        Ok(match &self.fill {
            FillValue::Text(text) => Values::Texts(vec![text.clone(); count]),
            FillValue::Number(number) => {
                let item = number.to_bytes();
                let size = count.checked_mul(item.len()).ok_or_else(too_large)?;
                Values::Bytes(self.buffers.repeated(&item, size))
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn out_of_order(&self) -> WorkError {
        WorkError::Internal(format!("object {:?} was used out of order", self.index))
    }
}

fn default_fill(dtype: DataType) -> FillValue {
    if dtype.is_text() {
        return FillValue::Text(String::new());
    }
    let zero = crate::array::Scalar::Int8(0).cast(dtype);
    FillValue::Number(crate::array::Scalar::nan(dtype).or(zero).unwrap_or(crate::array::Scalar::Int8(0)))
}

#[expect(clippy::needless_pass_by_value, reason = "a pair of borrows")]
fn copy_texts(shape: &[u64], source: (&[String], &Placed), target: (&mut [String], &Placed)) -> Result<(), WorkError> {
    let outside = || WorkError::Internal("a text outside its buffer".to_owned());
    for position in positions(&Region::whole(shape)) {
        let text = source.1.at(&position).and_then(|at| source.0.get(at)).ok_or_else(outside)?;
        let at = target.1.at(&position).ok_or_else(outside)?;
        target.0.get_mut(at).ok_or_else(outside)?.clone_from(text);
    }
    Ok(())
}
