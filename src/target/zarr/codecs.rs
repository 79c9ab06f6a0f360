//! Which codecs a variable is stored with, and how Zarr v3 and v2 write them down.
//!
//! Names and settings only; the bytes are made in `encode`. Invariant: the list in the metadata is the list that is run, with
//! every setting spelled out, so that no reader's default decides how bytes are read.

use serde_json::{Map, Value, json};

use crate::array::DataType;
use crate::dataset::{Codec, Variable};
use crate::target::{TargetError, unsupported};

/// Blosc's level where nobody names one.
const LEVEL: u64 = 1;
/// Bytes that zstd sees at a time: with them it is faster *and* tighter than with the 32 KiB that Blosc takes at this level.
const BLOCK: u64 = 256 << 10;
/// The same for integers.
const BLOCK_OF_INTEGERS: u64 = 1 << 20;

/// What a variable is compressed with when the recipe does not say: Blosc with zstd, byte shuffle (none where an element is one
/// byte) and blocks of 256 KiB; integers, most of them packed fields whose upper bits hardly change, with bit shuffle and blocks of
/// 1 MiB. The measurement behind it: `docs/design/002-default-codec.md`.
#[must_use]
pub fn default_codecs(dtype: DataType) -> Vec<Codec> {
    let packed = dtype.is_integer() && dtype.size() > 1;
    let (block, shuffle) = if packed { (BLOCK_OF_INTEGERS, Some("bitshuffle")) } else { (BLOCK, None) };
    let mut chosen = Map::from_iter([("blocksize".to_owned(), json!(block))]);
    chosen.extend(shuffle.map(|shuffle| ("shuffle".to_owned(), json!(shuffle))));
    vec![Codec { name: "blosc".to_owned(), configuration: Value::Object(complete_blosc(dtype, &chosen)) }]
}

/// The bytes→bytes codecs of a variable with every setting spelled out, named as Zarr v3 names them.
pub(super) fn codecs_of(variable: &Variable) -> Result<Vec<Codec>, TargetError> {
    match &variable.encoding.codecs {
        None => Ok(default_codecs(variable.dtype)),
        Some(codecs) => codecs.iter().map(|codec| complete(variable, codec)).collect(),
    }
}

fn complete(variable: &Variable, codec: &Codec) -> Result<Codec, TargetError> {
    let given = match &codec.configuration {
        Value::Null => Map::new(),
        Value::Object(map) => map.clone(),
        other => return Err(unsupported(&variable.name, format!("codec `{}`: configuration must be a map, not `{other}`", codec.name))),
    };
    let (name, configuration) = match codec.name.as_str() {
        "blosc" => ("blosc", complete_blosc(variable.dtype, &given)),
        "zstd" => ("zstd", with_defaults(&[("level", json!(3)), ("checksum", json!(false))], &given)),
        "gzip" => ("gzip", with_defaults(&[("level", json!(5))], &given)),
        "zlib" | "numcodecs.zlib" => ("numcodecs.zlib", with_defaults(&[("level", json!(5))], &given)),
        "numcodecs.shuffle" => ("numcodecs.shuffle", with_defaults(&[("elementsize", json!(variable.dtype.size().max(1)))], &given)),
        other => (other, given),
    };
    Ok(Codec { name: name.to_owned(), configuration: Value::Object(configuration) })
}

fn complete_blosc(dtype: DataType, given: &Map<String, Value>) -> Map<String, Value> {
    let item = dtype.size().max(1);
    let defaults = [
        ("typesize", json!(item)),
        ("cname", json!("zstd")),
        ("clevel", json!(LEVEL)),
        ("shuffle", json!(if item == 1 { "noshuffle" } else { "shuffle" })),
        ("blocksize", json!(0)),
    ];
    with_defaults(&defaults, given)
}

fn with_defaults(defaults: &[(&str, Value)], given: &Map<String, Value>) -> Map<String, Value> {
    let mut map: Map<String, Value> = defaults.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    map.extend(given.clone());
    map
}

/// A codec as `zarr.json` writes it; an empty configuration is left out.
pub(super) fn named(codec: &Codec) -> Value {
    match &codec.configuration {
        Value::Object(map) if !map.is_empty() => json!({"name": codec.name, "configuration": map}),
        _ => json!({"name": codec.name}),
    }
}

/// A codec as numcodecs and `.zarray` write it: settings beside an `id`.
pub(super) fn numcodec(variable: &Variable, codec: &Codec) -> Result<Value, TargetError> {
    let id = codec.name.strip_prefix("numcodecs.").unwrap_or(&codec.name);
    let mut map = Map::from_iter([("id".to_owned(), json!(id))]);
    for (key, value) in codec.configuration.as_object().into_iter().flatten() {
        match (id, key.as_str()) {
            ("blosc", "typesize") => {}
            ("zstd", "checksum") if value == &json!(false) => {}
            ("blosc", "shuffle") => drop(map.insert(key.clone(), shuffle_number(variable, value)?)),
            _ => drop(map.insert(key.clone(), value.clone())),
        }
    }
    Ok(Value::Object(map))
}

fn shuffle_number(variable: &Variable, name: &Value) -> Result<Value, TargetError> {
    match name.as_str() {
        Some("noshuffle") => Ok(json!(0)),
        Some("shuffle") => Ok(json!(1)),
        Some("bitshuffle") => Ok(json!(2)),
        _ => {
            Err(unsupported(&variable.name, format!("codec `blosc`: shuffle must be `noshuffle`, `shuffle` or `bitshuffle`, not `{name}`")))
        }
    }
}
