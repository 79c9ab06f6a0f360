//! An object whose chunks are filled one by one: with bytes that are moved as they are, or with values that are encoded.
//!
//! For variables that keep their files' compression; any other object is one buffer of values. Invariant: at no time does a chunk hold
//! both bytes and values, so that the object never takes more memory than its values would.

use bytes::Bytes;

use super::WorkError;
use super::reads::PlacedPiece;
use crate::array::{Placed, Scalar, copy_box};
use crate::cf::statistics::{Counting, Statistics};
use crate::codec;
use crate::grid::{ChunkGrid, Region, Shape, elements, positions, strides};
use crate::target::zarr::Encoder;

/// The chunks of one object.
pub(super) struct Chunks {
    /// Chunks within the object, which is never clipped.
    grid: ChunkGrid,
    held: Vec<Held>,
    /// Bytes of an element that nothing fills.
    fill: Vec<u8>,
}

/// What is known of one chunk.
enum Held {
    /// Nothing: it is all fill.
    Nothing,
    /// Some or all of its values, row-major, fill elsewhere.
    Values(Vec<u8>),
    /// Its bytes as the store wants them, and its statistics, if wanted.
    Encoded(Bytes, Option<Statistics>),
}

impl Chunks {
    pub(super) fn new(object: Shape, chunk: Shape, fill: Scalar) -> Self {
        let grid = ChunkGrid::new(object, chunk);
        let held = (0..grid.chunks()).map(|_| Held::Nothing).collect();
        Self { grid, held, fill: fill.to_bytes() }
    }

    /// Takes the bytes of a whole chunk.
    pub(super) fn take_over(&mut self, chunk: usize, bytes: Bytes, statistics: Option<Statistics>) -> Result<(), WorkError> {
        match self.held.get_mut(chunk) {
            Some(held @ Held::Nothing) => *held = Held::Encoded(bytes, statistics),
            _ => return Err(twice()),
        }
        Ok(())
    }

    /// Copies a box of the variable (inside the object, which begins at `corner`) out of a read's values.
    pub(super) fn place(&mut self, corner: &[u64], values: &[u8], piece: &PlacedPiece, common: &Region) -> Result<(), WorkError> {
        let within = common.relative_to(corner);
        let outer = strides(&self.grid.chunk);
        for index in positions(&self.grid.touching(&within)) {
            let chunk = self.grid.region(&index);
            let Some(part) = chunk.intersect(&within) else { continue };
            let start = part.relative_to(&chunk.start).start;
            let target = Placed {
                offset: start.iter().zip(&outer).map(|(start, stride)| start * stride).sum(),
                strides: outer.iter().map(|&stride| stride as i64).collect(),
            };
            let source = piece.at(&part.shifted_by(corner))?;
            let item = self.fill.len();
            let buffer = self.values(self.grid.number(&index) as usize)?;
            copy_box(item, &part.shape, (values, &source), (buffer, &target)).map_err(|error| WorkError::Internal(error.to_string()))?;
        }
        Ok(())
    }

    fn values(&mut self, chunk: usize) -> Result<&mut [u8], WorkError> {
        let held = self.held.get_mut(chunk).ok_or_else(twice)?;
        if matches!(held, Held::Nothing) {
            *held = Held::Values(filled(&self.grid.chunk, &self.fill));
        }
        if let Held::Values(values) = held { Ok(values) } else { Err(twice()) }
    }

    /// Encodes what is not encoded yet and joins all; with statistics of the elements inside a corner of the object, if wanted.
    pub(super) fn encode(
        self,
        encoder: &Encoder,
        counting: Option<&Counting>,
        corner: &[u64],
    ) -> Result<(Bytes, Option<Statistics>), WorkError> {
        let Self { grid, held, fill } = self;
        let mut sum = counting.map(|_| Statistics::default());
        let mut empty: Option<Bytes> = None;
        let mut chunks = Vec::with_capacity(held.len());
        for (number, held) in held.into_iter().enumerate() {
            let chunk = grid.region(&grid.index(number as u64));
            let part = chunk.intersect(&Region::whole(corner)).map_or_else(|| vec![0; chunk.rank()], |part| part.shape);
            let count = |values: &[u8]| counting.map(|counting| counting.corner(values, &grid.chunk, &part));
            let (bytes, statistics) = match (held, &empty) {
                (Held::Encoded(bytes, statistics), _) => (bytes, statistics),
                (Held::Nothing, Some(empty)) if counting.is_none() || elements(&part) == 0 => (empty.clone(), None),
                (Held::Values(values), _) => {
                    let statistics = count(&values);
                    (encoder.encode_chunk(values)?, statistics)
                }
                (Held::Nothing, _) => {
                    let values = filled(&grid.chunk, &fill);
                    let statistics = count(&values);
                    let bytes = encoder.encode_chunk(values)?;
                    empty = Some(bytes.clone());
                    (bytes, statistics)
                }
            };
            if let (Some(sum), Some(statistics)) = (&mut sum, &statistics) {
                sum.add(statistics);
            }
            chunks.push(bytes);
        }
        Ok((encoder.join(&chunks)?, sum))
    }
}

fn filled(lengths: &[u64], fill: &[u8]) -> Vec<u8> {
    let mut values = Vec::new();
    codec::repeat(fill, (elements(lengths) as usize).saturating_mul(fill.len()), &mut values);
    values
}

fn twice() -> WorkError {
    WorkError::Internal("a chunk was filled twice".to_owned())
}
