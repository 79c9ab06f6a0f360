//! Zarr v2 documents: `.zarray`, `.zattrs`, `.zgroup`, and `.zmetadata` with a copy of them all.
//!
//! Zarr spec 2; dimension names in `_ARRAY_DIMENSIONS` as xarray has them; codecs as numcodecs names them. Invariant: `.zmetadata`
//! holds exactly the documents written beside it.

use serde_json::{Map, Value, json};

use super::attributes::{announce, attributes_from_json};
use super::codecs::{codecs_of, numcodec};
use super::encode::object_shape;
use super::fill::{fill2, number_from_json};
use super::keys::node_key;
use super::metadata::{dimension_names, groups, variable_attributes};
use super::parse::{self, StoredArray};
use crate::array::{DataType, FillValue, NUMERIC};
use crate::dataset::{Codec, Encoding, Schema, Variable};
use crate::target::{TargetError, bad_metadata};

pub(super) const FILE: &str = ".zmetadata";

pub(super) fn documents(schema: &Schema) -> Result<Vec<(String, Value)>, TargetError> {
    let announced = announce(schema);
    let mut documents: Vec<(String, Value)> = Vec::new();
    for variable in &schema.variables {
        let mut attributes = variable_attributes(variable, &announced);
        attributes.insert("_ARRAY_DIMENSIONS".to_owned(), json!(dimension_names(variable)));
        documents.push((node_key(&variable.name, ".zarray"), array(schema, variable)?));
        documents.push((node_key(&variable.name, ".zattrs"), Value::Object(attributes)));
    }
    for (path, attributes) in groups(schema, &announced).into_iter().rev() {
        documents.push((node_key(&path, ".zattrs"), Value::Object(attributes)));
        documents.push((node_key(&path, ".zgroup"), json!({"zarr_format": 2})));
    }
    let mut sorted = documents.clone();
    sorted.sort_by(|left, right| left.0.cmp(&right.0));
    documents.push((FILE.to_owned(), json!({"zarr_consolidated_format": 1, "metadata": Map::from_iter(sorted)})));
    Ok(documents)
}

fn array(schema: &Schema, variable: &Variable) -> Result<Value, TargetError> {
    let mut filters = codecs_of(variable)?.iter().map(|codec| numcodec(variable, codec)).collect::<Result<Vec<_>, _>>()?;
    let compressor = filters.pop();
    if variable.dtype == DataType::String {
        filters.insert(0, json!({"id": "vlen-utf8"}));
    }
    Ok(json!({
        "zarr_format": 2,
        "shape": schema.shape(variable),
        "chunks": object_shape(variable)?,
        "dtype": type_name(variable.dtype),
        "fill_value": fill2(variable)?,
        "order": "C",
        "filters": if filters.is_empty() { Value::Null } else { json!(filters) },
        "compressor": compressor,
        "dimension_separator": ".",
    }))
}

/// The name in `NumPy` of the type, little-endian.
fn type_name(dtype: DataType) -> &'static str {
    match dtype {
        DataType::Int8 => "|i1",
        DataType::Int16 => "<i2",
        DataType::Int32 => "<i4",
        DataType::Int64 => "<i8",
        DataType::UInt8 => "|u1",
        DataType::UInt16 => "<u2",
        DataType::UInt32 => "<u4",
        DataType::UInt64 => "<u8",
        DataType::Float32 => "<f4",
        DataType::Float64 => "<f8",
        DataType::Char => "|S1",
        DataType::String => "|O",
    }
}

/// Root attributes, and every node that `.zmetadata` lists.
pub(super) fn nodes(root: &Value) -> Result<parse::Nodes, TargetError> {
    let listed = root["metadata"].as_object().ok_or_else(|| bad_metadata(FILE, "it has no map `metadata`"))?;
    let mut nodes = parse::Nodes::default();
    for (key, document) in listed {
        let (path, file) = key.rsplit_once('/').unwrap_or(("", key));
        let attributes = listed.get(&node_key(path, ".zattrs")).and_then(Value::as_object).cloned().unwrap_or_default();
        match file {
            ".zarray" => nodes.add(path, stored_array(path, document, &attributes)),
            ".zgroup" if path.is_empty() => nodes.root = attributes_from_json(&attributes),
            ".zgroup" => drop(nodes.groups.insert(path.to_owned(), attributes_from_json(&attributes))),
            _ => {}
        }
    }
    Ok(nodes)
}

fn stored_array(path: &str, document: &Value, attributes: &Map<String, Value>) -> Result<StoredArray, TargetError> {
    let fault = |message: &str| bad_metadata(FILE, format!("array `{path}`: {message}"));
    let shape = parse::lengths(&document["shape"]).ok_or_else(|| fault("`shape` is not a list of lengths"))?;
    let chunks = parse::lengths(&document["chunks"]).ok_or_else(|| fault("`chunks` is not a list of lengths"))?;
    let (dtype, codecs) = (data_type(document), codecs(document));
    let dtype = dtype.ok_or_else(|| fault(&format!("data type {} is not known", document["dtype"])))?;
    let fill = match &document["fill_value"] {
        Value::String(text) if dtype == DataType::String => Some(FillValue::Text(text.clone())),
        value => number_from_json(dtype, value).map(FillValue::Number),
    };
    let encoding = Encoding { chunks: Some(chunks), fill, codecs: Some(codecs), ..Encoding::default() };
    let none = Value::Null;
    let names = parse::names(attributes.get("_ARRAY_DIMENSIONS").unwrap_or(&none), path, shape.len());
    let attributes = attributes_from_json(attributes);
    Ok(StoredArray { path: path.to_owned(), dtype, shape, names, attributes, encoding, document: document.clone() })
}

fn data_type(document: &Value) -> Option<DataType> {
    let name = document["dtype"].as_str()?;
    let unordered = name.trim_start_matches(['<', '>', '|', '=']);
    NUMERIC.into_iter().chain([DataType::String]).find(|&dtype| type_name(dtype).trim_start_matches(['<', '|']) == unordered)
}

/// Filters and compressor, named as Zarr v3 names them.
fn codecs(document: &Value) -> Vec<Codec> {
    let filters = document["filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = filters.iter().chain([&document["compressor"]]);
    all.filter_map(Value::as_object).filter(|codec| codec.get("id").is_none_or(|id| id != "vlen-utf8")).map(codec_from_numcodecs).collect()
}

fn codec_from_numcodecs(numcodec: &Map<String, Value>) -> Codec {
    let mut configuration = numcodec.clone();
    let id = configuration.shift_remove("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
    let shuffle = match configuration.get("shuffle").and_then(Value::as_i64) {
        Some(0) => Some("noshuffle"),
        Some(1) => Some("shuffle"),
        Some(2) => Some("bitshuffle"),
        _ => None,
    };
    if let Some(name) = shuffle {
        configuration.insert("shuffle".to_owned(), json!(name));
    }
    let same_name = ["blosc", "zstd", "gzip", "crc32c"].contains(&id.as_str());
    Codec { name: if same_name { id } else { format!("numcodecs.{id}") }, configuration: Value::Object(configuration) }
}
