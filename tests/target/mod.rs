//! What the target's tests share: two small stores, arrays of every type, and a writer that does what a task does.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gristmill::array::{Array, DataType, FillValue, Placed, Scalar, Values, copy_box};
use gristmill::dataset::{Attributes, Codec, Dimension, Encoding, Schema, Variable};
use gristmill::grid::{ChunkGrid, elements, positions, ravel, strides};
use gristmill::recipe::OutputFormat;
use gristmill::store::{PutMode, StoreError, TargetStore};
use gristmill::target::zarr::{Decoder, Encoder, ZarrTarget};
use gristmill::target::{ChunkPayload, Target, TargetError};

/// Objects in memory, with the order in which they came.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) objects: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) order: Mutex<Vec<String>>,
}

impl TargetStore for Memory {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.objects.lock().unwrap().get(key).map(|bytes| bytes.len() as u64))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.objects.lock().unwrap().get(key).cloned())
    }

    fn put(&self, key: &str, bytes: Bytes, _: PutMode) -> Result<(), StoreError> {
        self.order.lock().unwrap().push(key.to_owned());
        self.objects.lock().unwrap().insert(key.to_owned(), bytes);
        Ok(())
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(self.objects.lock().unwrap().keys().filter(|key| key.starts_with(prefix)).take(limit).cloned().collect())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.objects.lock().unwrap().remove(key);
        Ok(())
    }
}

impl Memory {
    /// Copies every object to a directory.
    pub(crate) fn save(&self, root: &std::path::Path) {
        for (key, bytes) in self.objects.lock().unwrap().iter() {
            let path: PathBuf = root.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// A variable and its values.
pub(crate) struct Filled {
    pub(crate) variable: Variable,
    pub(crate) array: Array,
}

/// Splitmix64: the same numbers on every machine.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Values of any type: random bits for numbers (NaNs of all kinds among them), texts from ASCII to emoji.
pub(crate) fn random_array(dtype: DataType, shape: &[u64], numbers: &mut Numbers) -> Array {
    let count = elements(shape);
    if dtype == DataType::String {
        const PIECES: [&str; 6] = ["", "a", "Ångström", "温度", "🌊🌊", "line\nbreak \"quoted\" \\"];
        let texts = (0..count).map(|_| (0..numbers.below(3)).map(|_| PIECES[numbers.below(6) as usize]).collect()).collect();
        return Array::from_texts(shape.to_vec(), texts).unwrap();
    }
    let bytes = (0..count * dtype.size() as u64).map(|_| numbers.next() as u8).collect();
    Array::from_bytes(dtype, shape.to_vec(), bytes).unwrap()
}

pub(crate) fn codec(name: &str, configuration: &serde_json::Value) -> Codec {
    Codec { name: name.to_owned(), configuration: configuration.clone() }
}

/// A variable over dimensions named after it.
pub(crate) fn variable(name: &str, dtype: DataType, chunks: &[u64], shards: Option<Vec<u64>>, codecs: Option<Vec<Codec>>) -> Variable {
    let dimensions = (0..chunks.len()).map(|axis| format!("{name}_{axis}")).collect();
    let encoding = Encoding { chunks: Some(chunks.to_vec()), shards, codecs, ..Encoding::default() };
    Variable { name: name.to_owned(), dtype, dimensions, attributes: Attributes::default(), coordinate: false, encoding }
}

/// A schema that holds these variables, with every dimension as long as the arrays say.
pub(crate) fn schema_of(filled: &[Filled]) -> Schema {
    let mut schema = Schema::default();
    for Filled { variable, array } in filled {
        for (name, &length) in variable.dimensions.iter().zip(&array.shape) {
            if schema.dimension(name).is_none() {
                schema.dimensions.push(Dimension { name: name.clone(), length, unlimited: false });
            }
        }
        schema.variables.push(variable.clone());
    }
    schema
}

/// Writes all objects, checks that each decodes to what was encoded, and commits.
pub(crate) fn bake(store: &Arc<Memory>, format: OutputFormat, schema: &Schema, filled: &[Filled]) -> Result<(), TargetError> {
    let target = ZarrTarget::new(Arc::<Memory>::clone(store), format);
    for Filled { variable, array } in filled {
        write_objects(&target, variable, array)?;
    }
    target.commit(schema)
}

pub(crate) fn write_objects(target: &dyn Target, variable: &Variable, array: &Array) -> Result<(), TargetError> {
    let encoder = Encoder::new(variable)?;
    let decoder = Decoder::new(variable)?;
    let grid = ChunkGrid::new(array.shape.clone(), encoder.object_shape().to_vec());
    for number in 0..grid.chunks() {
        let index = grid.index(number);
        let object = padded_object(variable, array, &grid, &index);
        let bytes = match &object {
            Values::Bytes(raw) => encoder.encode(raw.clone())?,
            Values::Texts(texts) => encoder.encode_texts(texts)?,
        };
        assert!(decoder.decode(&bytes)? == object, "object {index:?} of {} does not decode to itself", variable.name);
        target.write(variable, &index, ChunkPayload::Encoded(bytes))?;
    }
    Ok(())
}

/// The full-size object at `index`, padded with the fill value where it reaches past the array.
fn padded_object(variable: &Variable, array: &Array, grid: &ChunkGrid, index: &[u64]) -> Values {
    let region = grid.region(index);
    let outer = strides(&array.shape);
    let inner = strides(&grid.chunk);
    match &array.values {
        Values::Texts(texts) => {
            let mut object = vec![String::new(); elements(&grid.chunk) as usize];
            for position in positions(&region) {
                let local: Vec<u64> = position.iter().zip(&region.start).map(|(position, start)| position - start).collect();
                object[ravel(&local, &grid.chunk) as usize].clone_from(&texts[ravel(&position, &array.shape) as usize]);
            }
            Values::Texts(object)
        }
        Values::Bytes(bytes) => {
            let fill = match &variable.encoding.fill {
                Some(FillValue::Number(number)) => number.to_bytes(),
                _ => Scalar::nan(array.dtype).map_or(vec![0; array.dtype.size()], Scalar::to_bytes),
            };
            let mut object = fill.repeat(elements(&grid.chunk) as usize);
            let signed = |strides: &[u64]| strides.iter().map(|&stride| stride as i64).collect::<Vec<_>>();
            let offset = region.start.iter().zip(&outer).map(|(start, stride)| start * stride).sum();
            let from = Placed { offset, strides: signed(&outer) };
            let to = Placed { offset: 0, strides: signed(&inner) };
            copy_box(array.dtype.size(), &region.shape, (bytes, &from), (&mut object, &to)).unwrap();
            Values::Bytes(object)
        }
    }
}
