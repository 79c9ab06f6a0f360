//! Where a dataset's bytes are: chunk tables from every kind of index, contiguous, compact, never written.
//!
//! Invariant: every byte range handed out lies inside the file.

use hdf5_core::{ChunkIndexing, DataLayout, DataspaceType, FillTime, FilterPipelineMessage};
use hdf5_reader::chunk_index::{self, ChunkEntry as Found};
use hdf5_reader::error::Error;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::object_header::ObjectHeader;
use hdf5_reader::{Dataset, Hdf5File, btree_v1, extensible_array, fixed_array};

use super::raw_layout;
use crate::grid::{ChunkGrid, Shape};
use crate::layout::{ChunkEntry, ChunkTable, Filter, Layout};
use crate::source::ceiling::Ceiling;

/// Most chunks of one variable; a table of so many is 256 MiB.
const MOST_CHUNKS: u64 = 1 << 24;
/// Bytes that a chunk takes while its place in the table is looked for.
const LISTED: u64 = 128;

/// Why there is no layout.
pub(super) enum LayoutError {
    /// The library, or the store below it.
    Library(Error),
    /// The index contradicts itself or the file.
    Corrupt(String),
    /// Storage that we do not read.
    Unsupported(String),
    /// More chunks than there is memory for.
    TooLarge(String),
}

impl From<Error> for LayoutError {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// What a dataset's header says of its storage.
#[expect(clippy::struct_excessive_bools, reason = "five facts that have nothing to do with each other")]
pub(super) struct Storage {
    layout: DataLayout,
    pub(super) filters: Vec<Filter>,
    external: bool,
    pub(super) null: bool,
    /// The fill value that the header declares, as the file stores elements.
    pub(super) fill: Option<Vec<u8>>,
    pub(super) never_filled: bool,
    /// The library mistakes the layout, so its own read cannot be had.
    pub(super) mistaken: bool,
    /// Chunks that reach past the dataset's edge are stored without filters, which the library does not know.
    pub(super) edges_unfiltered: bool,
}

/// Reads the storage messages of a dataset's header.
pub(super) fn storage(file: &Hdf5File, dataset: &Dataset) -> Result<Storage, Error> {
    let header = file.get_or_parse_header(dataset.address())?;
    let mut layout = layout_message(&header).ok_or_else(|| Error::InvalidData("the dataset has no layout".to_owned()))?;
    let old = if header.version == 1 && file.superblock().offset_size == 8 {
        raw_layout::contiguous_address(file, dataset.address())
    } else {
        None
    };
    if let Some(address) = old {
        layout = DataLayout::Contiguous { address, size: u64::MAX };
    }
    let filters = filters(&header);
    let indexed = matches!(layout, DataLayout::Chunked { chunk_indexing: Some(_), .. }) && !filters.is_empty();
    let edges = if indexed { raw_layout::leaves_edges_unfiltered(file, dataset.address()) } else { Some(false) };
    let edges_unfiltered = edges.ok_or_else(|| Error::InvalidData("the flags of its layout cannot be found".to_owned()))?;
    let has = |test: fn(&HdfMessage) -> bool| header.messages.iter().any(test);
    Ok(Storage {
        layout,
        filters,
        edges_unfiltered,
        external: has(|message| matches!(message, HdfMessage::ExternalFiles(_))),
        null: has(|message| matches!(message, HdfMessage::Dataspace(space) if space.dataspace_type == DataspaceType::Null)),
        mistaken: old.is_some(),
        fill: header.messages.iter().find_map(declared_fill),
        // HDF5 spec IV.A.2.f: 0 on allocation, 1 never, 2 if set; the library calls 1 `Always`, and 2, which is the default, `Never`.
        never_filled: has(|message| matches!(message, HdfMessage::FillValue(value) if value.fill_time == FillTime::Always)),
    })
}

/// A fill value that a message declares; none where it only says that the default, zeros, is in use.
fn declared_fill(message: &HdfMessage) -> Option<Vec<u8>> {
    match message {
        HdfMessage::FillValue(fill) => fill.value.clone().filter(|value| !value.is_empty()),
        _ => None,
    }
}

fn layout_message(header: &ObjectHeader) -> Option<DataLayout> {
    header.messages.iter().find_map(|message| match message {
        HdfMessage::DataLayout(found) => Some(found.layout.clone()),
        _ => None,
    })
}

fn filters(header: &ObjectHeader) -> Vec<Filter> {
    let pipeline = header.messages.iter().find_map(|message| match message {
        HdfMessage::FilterPipeline(FilterPipelineMessage { filters }) => Some(filters),
        _ => None,
    });
    pipeline.into_iter().flatten().map(|filter| Filter { id: filter.id, parameters: filter.client_data.clone() }).collect()
}

/// The layout of a dataset of `item`-byte elements, seen with `shape` (which may be longer than stored along unlimited axes).
pub(super) fn layout(
    file: &Hdf5File,
    (dataset, storage): (&Dataset, &Storage),
    shape: &Shape,
    item: u64,
    ceiling: Ceiling,
) -> Result<Layout, LayoutError> {
    if storage.external {
        return Err(LayoutError::Unsupported(
            "its values are in other files (HDF5 external storage); copy them in with `h5repack`".to_owned(),
        ));
    }
    let bytes = shape.iter().try_fold(item, |product, &length| product.checked_mul(length)).filter(|&bytes| i64::try_from(bytes).is_ok());
    let bytes = bytes.ok_or_else(|| LayoutError::Corrupt(format!("its shape {shape:?} is larger than any file")))?;
    if bytes == 0 {
        return Ok(Layout::Unwritten);
    }
    match &storage.layout {
        DataLayout::Compact { data } if data.is_empty() => Ok(Layout::Unwritten),
        DataLayout::Compact { data } if data.len() as u64 == bytes => Ok(Layout::Inline(data.clone())),
        DataLayout::Compact { data } => Err(LayoutError::Corrupt(format!("it has {} bytes of values instead of {bytes}", data.len()))),
        DataLayout::Contiguous { address, size } => contiguous(file, (*address, *size), shape, (item, bytes)),
        DataLayout::Chunked { .. } => chunked(file, (dataset, storage), shape, item, ceiling),
    }
}

fn is_undefined(file: &Hdf5File, address: u64) -> bool {
    hdf5_reader::io::Cursor::is_undefined_offset(address, file.superblock().offset_size)
}

/// Position in the file of a range that the header gives relative to the superblock.
fn inside(file: &Hdf5File, address: u64, length: u64) -> Result<u64, LayoutError> {
    let whole = file.storage().len();
    let base = file.superblock().base_address;
    match address.checked_add(length).filter(|&end| end <= whole) {
        Some(_) => address.checked_add(base).ok_or_else(|| LayoutError::Corrupt("an address is larger than any file".to_owned())),
        None => Err(LayoutError::Corrupt(format!(
            "truncated: {length} bytes at {address} do not lie inside the file, which has {}; fetch it again",
            whole.saturating_add(base)
        ))),
    }
}

fn contiguous(file: &Hdf5File, (address, size): (u64, u64), shape: &Shape, (item, bytes): (u64, u64)) -> Result<Layout, LayoutError> {
    if is_undefined(file, address) || size == 0 {
        return Ok(Layout::Unwritten);
    }
    if size < bytes {
        return Err(LayoutError::Corrupt(format!("it has {size} bytes of values instead of {bytes}")));
    }
    let strides = crate::grid::strides(shape).iter().map(|stride| stride * item).collect();
    Ok(Layout::Strided { offset: inside(file, address, bytes)?, strides })
}

fn chunked(
    file: &Hdf5File,
    (dataset, storage): (&Dataset, &Storage),
    shape: &Shape,
    item: u64,
    ceiling: Ceiling,
) -> Result<Layout, LayoutError> {
    let DataLayout::Chunked { address, chunk_indexing, .. } = &storage.layout else { return Ok(Layout::Unwritten) };
    let lengths = dataset.chunks().unwrap_or_default();
    if lengths.len() != shape.len() || lengths.contains(&0) {
        return Err(LayoutError::Corrupt(format!("its chunk {lengths:?} does not fit its shape {shape:?}")));
    }
    let grid = ChunkGrid::new(shape.clone(), lengths.iter().map(|&length| u64::from(length)).collect());
    if grid.chunks() > MOST_CHUNKS {
        return Err(LayoutError::Unsupported(format!("it has {} chunks; at most {MOST_CHUNKS} are read", grid.chunks())));
    }
    if is_undefined(file, *address) {
        return Ok(Layout::Unwritten);
    }
    // Before any of them is looked for: that there are so many costs the header nothing.
    if grid.chunks().saturating_mul(LISTED) > ceiling.bytes() {
        return Err(LayoutError::TooLarge(format!("the table of its {} chunks takes more memory at once than is allowed", grid.chunks())));
    }
    let whole = lengths.iter().try_fold(item, |product, &length| product.checked_mul(u64::from(length)));
    let whole = whole
        .filter(|&bytes| u32::try_from(bytes).is_ok())
        .ok_or_else(|| LayoutError::Corrupt(format!("its chunk {lengths:?} is too large")))?;
    let found = collect(file, dataset, (*address, chunk_indexing.as_ref()), &lengths, item)?;
    let entries = enter(file, &grid, dataset.shape(), &found, (whole, storage))?;
    if storage.never_filled && dataset.shape() != shape.as_slice() && ends_inside_a_chunk(dataset.shape(), shape, &grid) {
        return Err(LayoutError::Unsupported(
            "it is shorter than its dimension and its last chunks were never filled (`NC_NOFILL`)".to_owned(),
        ));
    }
    Ok(Layout::Chunked(ChunkTable { grid, filters: storage.filters.clone(), entries }))
}

/// True if some elements inside the stored shape were never written, or share a chunk with elements beyond it.
pub(super) fn has_unwritten(layout: &Layout, stored: &[u64], shape: &[u64]) -> bool {
    match layout {
        Layout::Chunked(table) => {
            let inside = |number: usize| {
                table.grid.index(number as u64).iter().zip(&table.grid.chunk).zip(stored).all(|((at, chunk), end)| at * chunk < *end)
            };
            let unwritten = |(number, entry): (usize, &ChunkEntry)| entry.is_unwritten() && inside(number);
            ends_inside_a_chunk(stored, shape, &table.grid) || table.entries.iter().enumerate().any(unwritten)
        }
        Layout::Unwritten => !stored.contains(&0),
        _ => false,
    }
}

fn ends_inside_a_chunk(stored: &[u64], shape: &[u64], grid: &ChunkGrid) -> bool {
    stored.iter().zip(shape).zip(&grid.chunk).any(|((stored, seen), chunk)| stored < seen && stored % chunk != 0)
}

/// Every chunk that the index knows.
fn collect(
    file: &Hdf5File,
    dataset: &Dataset,
    index: (u64, Option<&ChunkIndexing>),
    lengths: &[u32],
    item: u64,
) -> Result<Vec<Found>, LayoutError> {
    let (address, kind) = index;
    let (storage, shape, rank) = (file.storage(), dataset.shape(), dataset.ndim());
    let (offsets, sizes) = (file.superblock().offset_size, file.superblock().length_size);
    Ok(match kind {
        None => {
            let leaves = btree_v1::collect_btree_v1_leaves_storage(storage, address, offsets, sizes, Some(rank as u32), lengths, None)?;
            leaves.into_iter().filter_map(|(key, address)| from_btree_v1(key, address, rank)).collect()
        }
        Some(ChunkIndexing::SingleChunk { filtered_size, filters }) => {
            vec![chunk_index::single_chunk_entry(address, *filtered_size, *filters, rank)]
        }
        Some(ChunkIndexing::Implicit) => {
            chunk_index::collect_implicit_chunk_entries(address, shape, lengths, item as usize, None, storage.len())?
        }
        Some(ChunkIndexing::BTreeV2) => {
            chunk_index::collect_v2_chunk_entries_storage(storage, address, offsets, sizes, rank as u32, lengths, None)?
        }
        Some(ChunkIndexing::FixedArray { .. }) => {
            fixed_array::collect_fixed_array_chunk_entries_storage(storage, address, offsets, sizes, shape, lengths, None)?
        }
        Some(ChunkIndexing::ExtensibleArray { .. }) => extensible_array::collect_extensible_array_chunk_entries_storage(
            storage,
            address,
            offsets,
            sizes,
            shape,
            dataset.max_dims(),
            lengths,
            None,
        )?,
    })
}

fn from_btree_v1(key: btree_v1::BTreeV1Key, address: u64, rank: usize) -> Option<Found> {
    match key {
        btree_v1::BTreeV1Key::RawData { chunk_size, filter_mask, offsets } => {
            let offsets = offsets.get(..rank)?.to_vec();
            Some(Found { address, size: u64::from(chunk_size), filter_mask, offsets })
        }
        btree_v1::BTreeV1Key::Group { .. } => None,
    }
}

/// True if the chunk at these offsets reaches past the dataset's edge.
fn is_partial(offsets: &[u64], grid: &ChunkGrid, stored: &[u64]) -> bool {
    offsets.iter().zip(&grid.chunk).zip(stored).any(|((offset, length), end)| offset.saturating_add(*length) > *end)
}

/// Puts the chunks that were found into their places in the grid; `whole` are the bytes of a chunk without filters.
fn enter(
    file: &Hdf5File,
    grid: &ChunkGrid,
    stored: &[u64],
    found: &[Found],
    (whole, storage): (u64, &Storage),
) -> Result<Vec<ChunkEntry>, LayoutError> {
    let counts = grid.counts();
    let mut entries = vec![ChunkEntry::UNWRITTEN; grid.chunks() as usize];
    for one in found.iter().filter(|one| !is_undefined(file, one.address)) {
        if one.offsets.len() != stored.len() || one.offsets.iter().zip(&grid.chunk).any(|(offset, length)| offset % length != 0) {
            return Err(LayoutError::Corrupt(format!("its index places a chunk at {:?}, which is no corner of its grid", one.offsets)));
        }
        // HDF5 keeps chunks of a dataset that was made smaller.
        if one.offsets.iter().zip(stored).any(|(offset, length)| offset >= length) {
            continue;
        }
        // Indexes without filters do not store the size.
        let length = if one.size == 0 { whole } else { one.size };
        let unfiltered = storage.edges_unfiltered && is_partial(&one.offsets, grid, stored);
        if (unfiltered || storage.filters.is_empty()) && length != whole {
            return Err(LayoutError::Corrupt(format!("its chunk at {:?} has {length} bytes instead of {whole}", one.offsets)));
        }
        let length32 = u32::try_from(length).map_err(|_| LayoutError::Corrupt(format!("its chunk at {:?} is too large", one.offsets)))?;
        let index: Vec<u64> = one.offsets.iter().zip(&grid.chunk).map(|(offset, length)| offset / length).collect();
        let slot = entries.get_mut(crate::grid::ravel(&index, &counts) as usize);
        let slot = slot.ok_or_else(|| LayoutError::Corrupt(format!("its index places a chunk at {:?}, outside its shape", one.offsets)))?;
        if !slot.is_unwritten() {
            return Err(LayoutError::Corrupt(format!("its index has two chunks at {:?}", one.offsets)));
        }
        let skipped = if unfiltered { u32::MAX } else { one.filter_mask };
        *slot = ChunkEntry { offset: inside(file, one.address, length)?, length: length32, skipped };
    }
    Ok(entries)
}
