//! Zarr v3 documents: `zarr.json` of arrays and groups, with the consolidated copy inline in the root's.
//!
//! Zarr core spec 3.1; the consolidated form is zarr-python's (`kind: inline`, `must_understand: false`). Invariant: the copy of
//! a node in the root equals the node's own `zarr.json`.

use serde_json::{Map, Value, json};

use super::attributes::{announce, attributes_from_json};
use super::codecs::{codecs_of, named};
use super::encode::{chunk_shape, object_shape};
use super::fill::{fill_attribute, fill3};
use super::keys::node_key;
use super::metadata::{dimension_names, groups, variable_attributes};
use super::parse::{self, StoredArray};
use crate::array::{DataType, FillValue, NUMERIC};
use crate::dataset::{Codec, Encoding, Schema, Variable};
use crate::target::{TargetError, bad_metadata};

pub(super) const FILE: &str = "zarr.json";

pub(super) fn documents(schema: &Schema) -> Result<Vec<(String, Value)>, TargetError> {
    let announced = announce(schema);
    let mut nodes: Vec<(String, Value)> = Vec::new();
    for variable in &schema.variables {
        nodes.push((variable.name.clone(), array(schema, variable, variable_attributes(variable, &announced))?));
    }
    let mut groups = groups(schema, &announced);
    let root = groups.remove("").unwrap_or_default();
    nodes.extend(groups.into_iter().rev().map(|(path, attributes)| {
        let document = group(&attributes);
        (path, document)
    }));
    let mut sorted: Vec<_> = nodes.clone();
    sorted.sort_by(|left, right| left.0.cmp(&right.0));
    let mut top = group(&root);
    top["consolidated_metadata"] = json!({"kind": "inline", "must_understand": false, "metadata": Map::from_iter(sorted)});
    nodes.push((String::new(), top));
    Ok(nodes.into_iter().map(|(path, document)| (node_key(&path, FILE), document)).collect())
}

fn group(attributes: &Map<String, Value>) -> Value {
    json!({"zarr_format": 3, "node_type": "group", "attributes": attributes})
}

fn array(schema: &Schema, variable: &Variable, mut attributes: Map<String, Value>) -> Result<Value, TargetError> {
    if let Some(fill) = fill_attribute(variable)? {
        attributes.insert("_FillValue".to_owned(), fill);
    }
    Ok(json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": schema.shape(variable),
        "data_type": variable.dtype.name(),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": object_shape(variable)?}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill3(variable)?,
        "codecs": codecs(variable)?,
        "dimension_names": dimension_names(variable),
        "attributes": attributes,
    }))
}

/// The whole chain: elements to bytes, compression, and the shard around both.
pub(super) fn codecs(variable: &Variable) -> Result<Vec<Value>, TargetError> {
    let little = json!({"name": "bytes", "configuration": {"endian": "little"}});
    let first = if variable.dtype == DataType::String { json!({"name": "vlen-utf8"}) } else { little.clone() };
    let inner: Vec<Value> = std::iter::once(first).chain(codecs_of(variable)?.iter().map(named)).collect();
    if variable.encoding.shards.is_none() {
        return Ok(inner);
    }
    let configuration = json!({
        "chunk_shape": chunk_shape(variable)?,
        "codecs": inner,
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    });
    Ok(vec![json!({"name": "sharding_indexed", "configuration": configuration})])
}

/// Root attributes, and every node of the consolidated copy.
pub(super) fn nodes(root: &Value) -> Result<parse::Nodes, TargetError> {
    let fault = |message: &str| bad_metadata(FILE, message);
    if root["zarr_format"] != 3 || root["node_type"] != "group" {
        return Err(fault("this is not the metadata of a Zarr v3 group"));
    }
    let consolidated = root["consolidated_metadata"]["metadata"].as_object();
    let consolidated =
        consolidated.ok_or_else(|| fault("there is no consolidated metadata; run zarr.consolidate_metadata on the store"))?;
    let mut nodes = parse::Nodes { root: attributes_of(root), ..parse::Nodes::default() };
    for (path, node) in consolidated {
        match node["node_type"].as_str() {
            Some("group") => drop(nodes.groups.insert(path.clone(), attributes_of(node))),
            Some("array") => nodes.add(path, stored_array(path, node)),
            _ => return Err(fault(&format!("node `{path}` is neither array nor group"))),
        }
    }
    Ok(nodes)
}

fn attributes_of(node: &Value) -> crate::dataset::Attributes {
    node["attributes"].as_object().map(attributes_from_json).unwrap_or_default()
}

fn stored_array(path: &str, node: &Value) -> Result<StoredArray, TargetError> {
    let fault = |message: &str| bad_metadata(FILE, format!("array `{path}`: {message}"));
    let shape = parse::lengths(&node["shape"]).ok_or_else(|| fault("`shape` is not a list of lengths"))?;
    let dtype =
        node["data_type"].as_str().and_then(data_type).ok_or_else(|| fault(&format!("data type {} is not known", node["data_type"])))?;
    let object =
        parse::lengths(&node["chunk_grid"]["configuration"]["chunk_shape"]).ok_or_else(|| fault("its chunk grid is not regular"))?;
    let codecs = node["codecs"].as_array().ok_or_else(|| fault("`codecs` is not a list"))?;
    let (chunks, shards, codecs) = match codecs.as_slice() {
        [only] if only["name"] == "sharding_indexed" => {
            let inner = parse::lengths(&only["configuration"]["chunk_shape"]).ok_or_else(|| fault("its shards have no chunk shape"))?;
            (inner, Some(object), only["configuration"]["codecs"].as_array().map(Vec::as_slice).unwrap_or_default())
        }
        plain => (object, None, plain),
    };
    let codecs = codecs.iter().filter(|codec| !is_array_codec(codec)).map(codec_from_json).collect::<Option<Vec<_>>>();
    let fill = declared_fill(dtype, node);
    let encoding = Encoding { chunks: Some(chunks), shards, fill, codecs, ..Encoding::default() };
    let names = parse::names(&node["dimension_names"], path, shape.len());
    Ok(StoredArray { path: path.to_owned(), dtype, shape, names, attributes: attributes_of(node), encoding, document: node.clone() })
}

fn is_array_codec(codec: &Value) -> bool {
    ["bytes", "vlen-utf8", "transpose"].iter().any(|&name| codec["name"] == name || codec.as_str() == Some(name))
}

fn codec_from_json(codec: &Value) -> Option<Codec> {
    let name = codec["name"].as_str().or_else(|| codec.as_str())?;
    let configuration = codec.get("configuration").cloned().unwrap_or_else(|| json!({}));
    Some(Codec { name: name.to_owned(), configuration })
}

fn data_type(name: &str) -> Option<DataType> {
    NUMERIC.into_iter().chain([DataType::String]).find(|dtype| dtype.name() == name)
}

/// Floats: `fill_value`. Integers: only where `_FillValue` says that something is missing. Texts: only what is not empty.
fn declared_fill(dtype: DataType, node: &Value) -> Option<FillValue> {
    let missing = node["attributes"].get("_FillValue").is_some();
    match &node["fill_value"] {
        Value::String(text) if dtype == DataType::String => (!text.is_empty()).then(|| FillValue::Text(text.clone())),
        value if dtype.is_float() || missing => super::fill::number_from_json(dtype, value).map(FillValue::Number),
        _ => None,
    }
}
