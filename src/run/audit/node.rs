//! One array of any Zarr store as its metadata describes it: enough to know all its objects and to judge its encoding.
//!
//! Plain JSON in, no library and no I/O, so that metadata that a library refuses can still be judged. Invariant: an object's key
//! leads to its index and back.

use serde_json::{Map, Value};

use crate::array::{DataType, NUMERIC};
use crate::grid::{ChunkGrid, Shape, elements};

/// An array.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Path below the root.
    pub(super) path: String,
    pub(super) attributes: Map<String, Value>,
    /// Shape of the array, and of the objects it is stored in.
    pub(super) objects: ChunkGrid,
    /// Lengths of a chunk: of the object, unless that is a shard.
    pub(super) chunk: Shape,
    /// Names of its dimensions, where it names them.
    pub(super) names: Vec<Option<String>>,
    /// The type as the metadata writes it.
    pub(super) type_name: String,
    pub(super) dtype: Option<DataType>,
    /// Names of filters, compressors and the codecs of shards.
    pub(super) codecs: Vec<String>,
    pub(super) fill: Value,
    pub(super) keys: Keys,
}

/// How an object's key is made of its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// True if keys begin with `c`.
    pub(super) prefixed: bool,
    pub(super) separator: char,
}

impl Node {
    /// From the document of a v3 array.
    pub(super) fn three(path: &str, document: &Value) -> Result<Self, String> {
        let (shape, object) = (lengths(&document["shape"]), lengths(&document["chunk_grid"]["configuration"]["chunk_shape"]));
        let shape = shape.ok_or("`shape` is no list of lengths")?;
        let object = object.ok_or("its chunk grid is not regular")?;
        let codecs = document["codecs"].as_array().ok_or("`codecs` is no list")?;
        let shard = codecs.iter().find(|codec| name_of(codec) == Some("sharding_indexed"));
        let chunk = match shard {
            Some(shard) => lengths(&shard["configuration"]["chunk_shape"]).ok_or("its shards have no chunk shape")?,
            None => object.clone(),
        };
        let inner = shard.into_iter().flat_map(|shard| [&shard["configuration"]["codecs"], &shard["configuration"]["index_codecs"]]);
        let inner = inner.flat_map(|codecs| codecs.as_array().into_iter().flatten());
        let codecs = codecs.iter().chain(inner).map(|codec| name_of(codec).unwrap_or("?").to_owned()).collect();
        let names = document["dimension_names"].as_array().map(Vec::as_slice).unwrap_or_default();
        let type_name = document["data_type"].as_str().map_or_else(|| document["data_type"].to_string(), str::to_owned);
        let dtype = NUMERIC.into_iter().chain([DataType::String]).find(|dtype| dtype.name() == type_name);
        let (path, attributes) = (path.to_owned(), document["attributes"].as_object().cloned().unwrap_or_default());
        let keys = keys_of_three(&document["chunk_key_encoding"])?;
        let fill = document["fill_value"].clone();
        let (objects, names) = (grid(shape, object, &chunk)?, named(names));
        Ok(Self { path, attributes, objects, chunk, names, type_name, dtype, codecs, fill, keys })
    }

    /// From the documents `.zarray` and `.zattrs` of a v2 array.
    pub(super) fn two(path: &str, document: &Value, attributes: &Map<String, Value>) -> Result<Self, String> {
        let shape = lengths(&document["shape"]).ok_or("`shape` is no list of lengths")?;
        let chunk = lengths(&document["chunks"]).ok_or("`chunks` is no list of lengths")?;
        let filters = document["filters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let all = filters.iter().chain([&document["compressor"]]).filter(|codec| !codec.is_null());
        let codecs = all.map(|codec| codec["id"].as_str().unwrap_or("?").to_owned()).collect();
        let type_name = document["dtype"].as_str().map_or_else(|| document["dtype"].to_string(), str::to_owned);
        let texts = filters.iter().any(|filter| filter["id"] == "vlen-utf8");
        let dtype = if texts { Some(DataType::String) } else { type_of_two(&type_name) };
        let separator = document["dimension_separator"].as_str().and_then(|text| text.chars().next()).unwrap_or('.');
        let names = attributes.get("_ARRAY_DIMENSIONS").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let (path, attributes, names) = (path.to_owned(), attributes.clone(), named(names));
        let (keys, fill) = (Keys { prefixed: false, separator }, document["fill_value"].clone());
        let objects = grid(shape, chunk.clone(), &chunk)?;
        Ok(Self { path, attributes, objects, chunk, names, type_name, dtype, codecs, fill, keys })
    }

    pub(super) fn shape(&self) -> &[u64] {
        &self.objects.shape
    }

    pub(super) fn rank(&self) -> usize {
        self.objects.shape.len()
    }

    /// The group it lies in; empty for the root.
    pub(super) fn group(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// Its name without the path of its group.
    pub(super) fn leaf(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, leaf)| leaf)
    }

    pub(super) fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).and_then(Value::as_str)
    }

    /// The dimension of its own name, if it has that one only.
    pub(super) fn is_index(&self) -> bool {
        matches!(self.names.as_slice(), [Some(name)] if name == self.leaf())
    }

    /// Bytes of an element in memory; texts count as 16.
    pub(super) fn item(&self) -> u64 {
        self.dtype.map_or(16, |dtype| if dtype.is_text() { 16 } else { dtype.size() as u64 })
    }

    /// Bytes of all values of a whole object.
    pub(super) fn object_bytes(&self) -> u64 {
        elements(&self.objects.chunk).saturating_mul(self.item())
    }

    /// Key of the object at an index, below the root.
    pub(super) fn key(&self, index: &[u64]) -> String {
        let numbers = index.iter().map(u64::to_string).collect::<Vec<_>>().join(&self.keys.separator.to_string());
        match (self.keys.prefixed, index.is_empty()) {
            (true, true) => below(&self.path, "c"),
            (true, false) => below(&self.path, &format!("c{}{numbers}", self.keys.separator)),
            (false, true) => below(&self.path, "0"),
            (false, false) => below(&self.path, &numbers),
        }
    }

    /// Number of the object of a key; `None` if the metadata cannot address such a key.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let rest = if self.path.is_empty() { key } else { key.strip_prefix(&self.path)?.strip_prefix('/')? };
        let numbers = if self.keys.prefixed { rest.strip_prefix('c')? } else { rest };
        let numbers = numbers.strip_prefix(self.keys.separator).unwrap_or(numbers);
        let index: Vec<u64> = if self.rank() == 0 {
            Vec::new()
        } else {
            numbers.split(self.keys.separator).map(|number| number.parse().ok()).collect::<Option<_>>()?
        };
        let counts = self.objects.counts();
        let inside = index.len() == counts.len() && index.iter().zip(&counts).all(|(index, count)| index < count);
        // `01` and `1` are one number, but not one key.
        (inside && self.key(&index) == key).then(|| self.objects.number(&index))
    }
}

/// Key of something below a path; the root's is empty.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

fn lengths(value: &Value) -> Option<Shape> {
    value.as_array()?.iter().map(Value::as_u64).collect()
}

fn named(names: &[Value]) -> Vec<Option<String>> {
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

fn name_of(codec: &Value) -> Option<&str> {
    codec.as_str().or_else(|| codec["name"].as_str())
}

fn grid(shape: Shape, object: Shape, chunk: &[u64]) -> Result<ChunkGrid, String> {
    if shape.len() != object.len() || shape.len() != chunk.len() {
        return Err(format!("its shape {shape:?} and its chunks {object:?} have different numbers of dimensions"));
    }
    if object.iter().chain(chunk).any(|&length| length == 0) {
        return Err(format!("its chunks {object:?} have a length of 0"));
    }
    let grid = ChunkGrid::new(shape, object);
    let count = grid.counts().iter().try_fold(1_u64, |product, &count| product.checked_mul(count));
    count.map(|_| grid).ok_or_else(|| "it has more objects than can be counted".to_owned())
}

fn keys_of_three(encoding: &Value) -> Result<Keys, String> {
    let separator = encoding["configuration"]["separator"].as_str().and_then(|text| text.chars().next());
    match name_of(encoding) {
        Some("default") => Ok(Keys { prefixed: true, separator: separator.unwrap_or('/') }),
        Some("v2") => Ok(Keys { prefixed: false, separator: separator.unwrap_or('.') }),
        _ => Err("its chunk key encoding is neither `default` nor `v2`".to_owned()),
    }
}

fn type_of_two(name: &str) -> Option<DataType> {
    Some(match name.trim_start_matches(['<', '>', '|', '=']) {
        "i1" => DataType::Int8,
        "i2" => DataType::Int16,
        "i4" => DataType::Int32,
        "i8" => DataType::Int64,
        "u1" => DataType::UInt8,
        "u2" => DataType::UInt16,
        "u4" => DataType::UInt32,
        "u8" => DataType::UInt64,
        "f4" => DataType::Float32,
        "f8" => DataType::Float64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn three(shape: &Value, chunk: &Value) -> Node {
        let document = json!({
            "shape": shape, "data_type": "float32", "chunk_grid": {"configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes"}], "fill_value": "NaN", "dimension_names": ["y", "x"],
        });
        Node::three("g/t", &document).unwrap()
    }

    #[test]
    fn keys_lead_to_objects_and_back() {
        let node = three(&json!([5, 4]), &json!([2, 4]));
        assert_eq!(node.key(&[2, 0]), "g/t/c/2/0");
        assert_eq!(node.number("g/t/c/2/0"), Some(2));
        for foreign in ["g/t/c/3/0", "g/t/c/0", "g/t/c/0/0/0", "g/t/c/00/0", "g/t/0/0", "g/tt/c/0/0", "g/t/c/x/0", "g/t/c/"] {
            assert_eq!(node.number(foreign), None, "{foreign}");
        }
        let scalar = three(&json!([]), &json!([]));
        assert_eq!((scalar.key(&[]).as_str(), scalar.number("g/t/c"), scalar.number("g/t/c/0")), ("g/t/c", Some(0), None));
    }

    #[test]
    fn version_two_has_its_own_keys() {
        let document = json!({"shape": [3], "chunks": [2], "dtype": "<i2", "compressor": null, "filters": null, "fill_value": 0});
        let node = Node::two("t", &document, &Map::new()).unwrap();
        assert_eq!((node.key(&[1]).as_str(), node.number("t/1"), node.number("t/2")), ("t/1", Some(1), None));
        assert_eq!((node.dtype, node.names.len()), (Some(DataType::Int16), 0));
    }

    #[test]
    fn nonsense_is_told_and_not_believed() {
        let refused = |shape: Value, chunk: Value| {
            let document = json!({"shape": shape, "chunks": chunk, "dtype": "<i2"});
            Node::two("t", &document, &Map::new()).err()
        };
        assert!(refused(json!([3]), json!([0])).is_some_and(|why| why.contains("length of 0")));
        assert!(refused(json!([3]), json!([1, 1])).is_some_and(|why| why.contains("numbers of dimensions")));
        assert!(refused(json!("x"), json!([1])).is_some() && refused(json!([-1]), json!([1])).is_some());
        let many = json!([u64::MAX, u64::MAX]);
        assert!(refused(many, json!([1, 1])).is_some_and(|why| why.contains("more objects")));
    }
}
