//! Texts that a file holds once and refers to again and again: names in the heaps of old groups, texts of attributes.
//!
//! hdf5-reader writes each of them out, so that a file of a megabyte can make it take many gigabytes. Counted here before it is
//! asked to. Attributes outside of their object's header (dense storage) are not counted. Invariant: nothing is written out here.

use std::collections::HashMap;

use hdf5_reader::Hdf5File;
use hdf5_reader::btree_v1::collect_btree_v1_leaves_storage;
use hdf5_reader::error::Error;
use hdf5_reader::global_heap::GlobalHeapCollection;
use hdf5_reader::io::Cursor;
use hdf5_reader::local_heap::LocalHeap;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::messages::symbol_table_msg::SymbolTableMessage;

use super::types::{self, TextKind};

/// What is made of an object without attributes: the same one may be linked to again and again.
const OBJECT: u64 = 1 << 10;
/// What is made of an attribute takes so many times its bytes: numbers are kept with their types, bytes that are no UTF-8 grow.
const EXPANSION: u64 = 4;

/// What the objects of a file have claimed so far.
pub(super) struct Names {
    left: u64,
    /// Bytes of the objects of a global heap collection, by its address and theirs.
    heaps: HashMap<u64, HashMap<u16, u64>>,
}

impl Names {
    /// So many bytes may be claimed.
    pub(super) fn new(most: u64) -> Self {
        Self { left: most, heaps: HashMap::new() }
    }

    /// Counts what the object whose header is at `address` refers to.
    ///
    /// # Errors
    /// [`Error::ResourceLimit`] if that is too much, or what the library says of a damaged header.
    pub(super) fn count(&mut self, file: &Hdf5File, address: u64) -> Result<(), Error> {
        let header = file.get_or_parse_header(address)?;
        self.claim(OBJECT)?;
        for message in &header.messages {
            match message {
                HdfMessage::SymbolTable(table) => self.count_group(file, table)?,
                HdfMessage::Attribute(attribute) => self.count_attribute(file, attribute)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn claim(&mut self, bytes: u64) -> Result<(), Error> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| Error::ResourceLimit("one text that many names or attributes share".to_owned()))?;
        Ok(())
    }

    /// Names of a group of the old kind. Where even the longest that fit the heap are few bytes nobody looks closer.
    fn count_group(&mut self, file: &Hdf5File, table: &SymbolTableMessage) -> Result<(), Error> {
        let (storage, offsets, lengths) = (file.storage(), file.superblock().offset_size, file.superblock().length_size);
        let heap = LocalHeap::parse_at_storage(storage, table.heap_address, offsets, lengths)?;
        let leaves = collect_btree_v1_leaves_storage(storage, table.btree_address, offsets, lengths, None, &[], None)?;
        let entry = 2 * usize::from(offsets) + 24;
        let mut nodes = Vec::with_capacity(leaves.len());
        for (_, address) in leaves {
            let count = storage.read_range(address, 8)?.get(6..8).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes);
            nodes.push((address, usize::from(count)));
        }
        let entries: usize = nodes.iter().map(|(_, count)| count).sum();
        let most = heap.data_segment_size.saturating_mul(entries as u64);
        if most <= self.left / 4 {
            return Ok(());
        }
        let length = usize::try_from(heap.data_segment_size).map_err(|_| Error::InvalidData("a heap larger than any file".to_owned()))?;
        let names = storage.read_range(heap.data_segment_address, length)?;
        for (address, count) in nodes {
            let node = storage.read_range(address, 8 + count * entry)?;
            for entry in node.get(8..).unwrap_or_default().chunks_exact(entry) {
                let start = Cursor::new(entry).read_offset(offsets).ok().and_then(|start| usize::try_from(start).ok());
                let name = start.and_then(|start| names.get(start..)).unwrap_or_default();
                self.claim(name.iter().position(|&byte| byte == 0).unwrap_or(0) as u64)?;
            }
        }
        Ok(())
    }

    fn count_attribute(&mut self, file: &Hdf5File, attribute: &AttributeMessage) -> Result<(), Error> {
        self.claim(EXPANSION * attribute.raw_data.len() as u64)?;
        if !matches!(types::translate(&attribute.datatype), Ok(element) if element.text == Some(TextKind::Variable)) {
            return Ok(());
        }
        let offsets = file.superblock().offset_size;
        for reference in attribute.raw_data.chunks_exact(8 + usize::from(offsets)) {
            let mut cursor = Cursor::new(reference);
            let (_, address, index) = (cursor.read_u32_le()?, cursor.read_offset(offsets)?, cursor.read_u32_le()?);
            if !Cursor::is_undefined_offset(address, offsets) && index != 0 {
                // The library takes the lower half as well.
                let bytes = self.objects(file, address).get(&(index as u16)).copied().unwrap_or(0);
                self.claim(bytes)?;
            }
        }
        Ok(())
    }

    /// What cannot be read has no objects; the library says so where they are needed.
    fn objects(&mut self, file: &Hdf5File, address: u64) -> &HashMap<u16, u64> {
        self.heaps.entry(address).or_insert_with(|| {
            let (offsets, lengths) = (file.superblock().offset_size, file.superblock().length_size);
            let found = GlobalHeapCollection::parse_at_storage(file.storage(), address, offsets, lengths);
            found.map(|heap| heap.objects.iter().map(|object| (object.index, object.data.len() as u64)).collect()).unwrap_or_default()
        })
    }
}
