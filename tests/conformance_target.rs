//! The Zarr target against its contract: whatever is written reads back bit by bit, nothing is visible before the commit, and
//! the same dataset gives the same bytes.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "what fails here fails the test; a test left out says so")]

mod target;

use std::sync::Arc;

use gristmill::array::{DataType, FillValue, NUMERIC, Scalar};
use gristmill::dataset::{Attribute, Codec, Schema, TargetState};
use gristmill::grid::Region;
use gristmill::recipe::OutputFormat::{self, Zarr2, Zarr3};
use gristmill::store::TargetStore;
use gristmill::target::zarr::{Absent, Decoder, Encoder, ZarrReader, ZarrTarget};
use gristmill::target::{ChunkPayload, Target, TargetError};
use serde_json::json;
use target::{Filled, Memory, Numbers, bake, codec, random_array, schema_of, variable};

/// Shapes with chunks that fit, that do not, that exceed the array; scalars and empty arrays.
const SHAPES: [(&[u64], &[u64]); 9] = [
    (&[], &[]),
    (&[0], &[3]),
    (&[1], &[1]),
    (&[7], &[3]),
    (&[5], &[8]),
    (&[4, 0, 2], &[2, 1, 2]),
    (&[5, 6], &[5, 6]),
    (&[5, 7, 3], &[2, 3, 3]),
    (&[2, 3, 4, 5], &[1, 2, 3, 4]),
];

fn codec_lists() -> Vec<Option<Vec<Codec>>> {
    vec![
        None,
        Some(vec![]),
        Some(vec![codec("zstd", &json!({"level": 1}))]),
        Some(vec![codec("gzip", &json!({"level": 6}))]),
        Some(vec![codec("zlib", &json!(null))]),
        Some(vec![codec("blosc", &json!({"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle"}))]),
        Some(vec![codec("zstd", &json!({"level": 3, "checksum": true})), codec("crc32c", &json!({}))]),
    ]
}

/// One variable per type, shape, codec list and (v3) with and without shards.
fn every_kind(format: OutputFormat) -> Vec<Filled> {
    let mut numbers = Numbers(7);
    let mut filled = Vec::new();
    for dtype in NUMERIC.into_iter().chain([DataType::String]) {
        for (number, (shape, chunks)) in SHAPES.iter().enumerate() {
            for (list, codecs) in codec_lists().into_iter().enumerate() {
                if format == Zarr2 && codecs.as_ref().is_some_and(|codecs| codecs.len() > 1) {
                    continue;
                }
                for sharded in [false, true] {
                    if sharded && (format == Zarr2 || chunks.is_empty()) {
                        continue;
                    }
                    let shards = sharded.then(|| chunks.iter().enumerate().map(|(axis, chunk)| chunk * (axis as u64 % 2 + 2)).collect());
                    let name = format!("{dtype}_{number}_{list}_{sharded}");
                    let variable = variable(&name, dtype, chunks, shards, codecs.clone());
                    filled.push(Filled { variable, array: random_array(dtype, shape, &mut numbers) });
                }
            }
        }
    }
    filled
}

fn open(store: &Arc<Memory>) -> ZarrReader {
    ZarrReader::open(Arc::<Memory>::clone(store), Absent::Hole).unwrap().unwrap()
}

#[test]
fn what_is_written_reads_back_bit_by_bit() {
    for format in [Zarr3, Zarr2] {
        let filled = every_kind(format);
        let store = Arc::new(Memory::default());
        bake(&store, format, &schema_of(&filled), &filled).unwrap();
        let reader = open(&store);
        assert_eq!(reader.format(), format);
        for Filled { variable, array } in &filled {
            let read = reader.read(&variable.name, &Region::whole(&array.shape)).unwrap();
            assert!(read == *array, "{format:?} {}", variable.name);
        }
        assert!(filled.len() > 400, "only {} variables", filled.len());
    }
}

#[test]
fn a_box_inside_equals_the_same_box_of_the_whole() {
    let array = random_array(DataType::Int32, &[5, 7, 3], &mut Numbers(3));
    let filled = [Filled { variable: variable("v", DataType::Int32, &[2, 3, 3], Some(vec![4, 6, 3]), None), array }];
    let store = Arc::new(Memory::default());
    bake(&store, Zarr3, &schema_of(&filled), &filled).unwrap();
    let read = open(&store).read("v", &Region::new(vec![1, 2, 1], vec![3, 4, 1])).unwrap();
    let all: Vec<Scalar> = filled[0].array.scalars().collect();
    let expected: Vec<Scalar> = (1..4).flat_map(|i| (2..6).map(move |j| i * 21 + j * 3 + 1)).map(|at: usize| all[at]).collect();
    assert_eq!(read.scalars().collect::<Vec<_>>(), expected);
}

#[test]
fn the_schema_reads_back_and_commits_to_the_same_bytes() {
    for format in [Zarr3, Zarr2] {
        let mut filled = every_kind(format);
        filled[0].variable.attributes.set("valid_max", Attribute::Numbers(vec![Scalar::UInt64(u64::MAX)]));
        filled[0].variable.attributes.set("range", Attribute::Numbers(vec![Scalar::Float32(0.01), Scalar::Float64(f64::INFINITY)]));
        let mut schema = schema_of(&filled);
        schema.attributes.set("title", Attribute::Text("Ströme".to_owned()));
        let store = Arc::new(Memory::default());
        bake(&store, format, &schema, &filled).unwrap();
        let before = store.objects.lock().unwrap().clone();
        let published = open(&store).schema().clone();
        assert_eq!(published.variables.len(), schema.variables.len());
        assert_eq!(published.attributes, schema.attributes);
        for written in &schema.variables {
            let read = published.variable(&written.name).unwrap();
            assert_eq!((read.dtype, published.shape(read)), (written.dtype, schema.shape(written)), "{}", written.name);
            assert_eq!((&read.encoding.chunks, &read.encoding.shards), (&written.encoding.chunks, &written.encoding.shards));
        }
        let order: Vec<_> = schema.variables.iter().map(|variable| published.variable(&variable.name).unwrap().clone()).collect();
        let again = Schema { variables: order, ..published };
        ZarrTarget::new(Arc::<Memory>::clone(&store), format).commit(&again).unwrap();
        let after = store.objects.lock().unwrap().clone();
        for (key, bytes) in &before {
            assert_eq!(Some(bytes), after.get(key), "{format:?} {key}");
        }
        assert_eq!(before.len(), after.len());
    }
}

#[test]
fn the_root_comes_last_and_state_follows() {
    for (format, root) in [(Zarr3, "zarr.json"), (Zarr2, ".zmetadata")] {
        let filled = [Filled {
            variable: variable("a/b/v", DataType::Int16, &[2], None, None),
            array: random_array(DataType::Int16, &[5], &mut Numbers(1)),
        }];
        let store = Arc::new(Memory::default());
        let target = ZarrTarget::new(Arc::<Memory>::clone(&store), format);
        assert_eq!(target.state().unwrap(), TargetState::Empty);
        assert_eq!(target.schema().unwrap(), None);
        target::write_objects(&target, &filled[0].variable, &filled[0].array).unwrap();
        assert!(matches!(target.state().unwrap(), TargetState::Foreign { example } if example.starts_with("a/b/v/")));
        let schema = schema_of(&filled);
        target.commit(&schema).unwrap();
        assert_eq!(store.order.lock().unwrap().last().unwrap(), root);
        assert!(matches!(target.state().unwrap(), TargetState::Ours { committed: true, schema: Some(_), .. }));
        assert!(target.schema().unwrap().unwrap().variable("a/b/v").is_some());
    }
}

#[test]
fn the_other_format_and_garbage_are_foreign() {
    let store = Arc::new(Memory::default());
    ZarrTarget::new(Arc::<Memory>::clone(&store), Zarr2).commit(&Schema::default()).unwrap();
    let target = ZarrTarget::new(Arc::<Memory>::clone(&store), Zarr3);
    assert!(matches!(target.state().unwrap(), TargetState::Foreign { example } if example == ".zmetadata"));
    store.put("zarr.json", bytes::Bytes::from_static(b"<html>"), gristmill::store::PutMode::Overwrite).unwrap();
    assert!(matches!(target.state().unwrap(), TargetState::Foreign { example } if example == "zarr.json"));
}

#[test]
fn a_hole_is_an_error_unless_it_may_be_fill() {
    let filled = [Filled {
        variable: variable("v", DataType::Float32, &[2], None, None),
        array: random_array(DataType::Float32, &[4], &mut Numbers(1)),
    }];
    let store = Arc::new(Memory::default());
    bake(&store, Zarr3, &schema_of(&filled), &filled).unwrap();
    store.delete("v/c/1").unwrap();
    let missing = open(&store).read("v", &Region::whole(&[4])).unwrap_err();
    assert!(matches!(missing, TargetError::Missing { key, .. } if key == "v/c/1"));
    let lenient = ZarrReader::open(Arc::<Memory>::clone(&store), Absent::Fill).unwrap().unwrap();
    let values: Vec<f64> = lenient.read("v", &Region::whole(&[4])).unwrap().scalars().map(Scalar::as_f64).collect();
    assert!(values[2].is_nan() && values[3].is_nan());
}

#[test]
fn a_corner_read_by_itself_is_the_corner_of_the_whole() {
    let blosc = |shuffle: &str| json!({"cname": "zstd", "clevel": 1, "shuffle": shuffle, "blocksize": 0});
    for (format, shuffle) in [(Zarr3, "shuffle"), (Zarr3, "bitshuffle"), (Zarr2, "noshuffle")] {
        let mut numbers = Numbers(11);
        let filled = [DataType::Int16, DataType::Float64].map(|dtype| Filled {
            variable: variable(dtype.name(), dtype, &[4, 50, 300], None, Some(vec![codec("blosc", &blosc(shuffle))])),
            array: random_array(dtype, &[7, 120, 310], &mut numbers),
        });
        let store = Arc::new(Memory::default());
        bake(&store, format, &schema_of(&filled), &filled).unwrap();
        let ours = open(&store);
        // Reads others' stores by decoding every object it touches.
        let other = ZarrReader::open(Arc::<Memory>::clone(&store), Absent::Fill).unwrap().unwrap();
        for Filled { variable, array } in &filled {
            for _ in 0..40 {
                let start: Vec<u64> = array.shape.iter().map(|&length| numbers.below(length)).collect();
                let shape = array.shape.iter().zip(&start).map(|(length, start)| 1 + numbers.below(length - start)).collect();
                let region = Region::new(start, shape);
                let (one, same) = (ours.read(&variable.name, &region).unwrap(), other.read(&variable.name, &region).unwrap());
                assert!(one == same, "{} {region:?}", variable.name);
            }
        }
    }
}

#[test]
fn damaged_objects_are_errors() {
    for shards in [None, Some(vec![4])] {
        let filled = [Filled {
            variable: variable("v", DataType::Int64, &[2], shards, None),
            array: random_array(DataType::Int64, &[4], &mut Numbers(1)),
        }];
        let store = Arc::new(Memory::default());
        bake(&store, Zarr3, &schema_of(&filled), &filled).unwrap();
        let whole = store.get("v/c/0").unwrap().unwrap();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            store.put("v/c/0", whole.slice(..length), gristmill::store::PutMode::Overwrite).unwrap();
            assert!(matches!(open(&store).read("v", &Region::whole(&[4])), Err(TargetError::Codec { .. })), "{length} bytes");
        }
    }
}

#[test]
fn a_shard_index_that_points_outside_is_an_error() {
    let sums = variable("index", DataType::UInt64, &[4], None, Some(vec![codec("crc32c", &json!({}))]));
    for (offset, length) in [(0, 1 << 40), (u64::MAX - 1, 10), (1 << 63, 1 << 63), (40, 10)] {
        let index: Vec<u8> = [offset, length, 0, 4].into_iter().flat_map(u64::to_ne_bytes).collect();
        let shard = Encoder::new(&sums).unwrap().encode(index).unwrap();
        let sharded = variable("v", DataType::Int64, &[2], Some(vec![4]), None);
        assert!(matches!(Decoder::new(&sharded).unwrap().decode(&shard), Err(TargetError::Codec { .. })), "{offset} {length}");
    }
}

#[test]
fn encoding_is_the_same_on_every_thread() {
    let mut numbers = Numbers(9);
    let raw: Vec<u8> = (0..200_000u64).flat_map(|n| ((n / 50) as i16 + numbers.below(3) as i16).to_ne_bytes()).collect();
    for shards in [None, Some(vec![400, 500])] {
        let chunks = if shards.is_some() { vec![100, 250] } else { vec![400, 500] };
        let encoder = Encoder::new(&variable("v", DataType::Int16, &chunks, shards, None)).unwrap();
        let once = encoder.encode(raw.clone()).unwrap();
        let others = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| encoder.encode(raw.clone()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(others.iter().all(|other| *other == once));
        assert!(once.len() < raw.len() / 2);
    }
}

#[test]
fn chunks_encoded_one_by_one_and_joined_are_the_object() {
    let mut numbers = Numbers(4);
    let raw: Vec<u8> = (0..24).flat_map(|_| (numbers.below(100) as i16).to_ne_bytes()).collect();
    let chain = || Some(vec![codec("numcodecs.shuffle", &json!({})), codec("numcodecs.zlib", &json!({"level": 4}))]);
    let whole = Encoder::new(&variable("v", DataType::Int16, &[4, 6], None, chain())).unwrap();
    let one = whole.encode_chunk(raw.clone()).unwrap();
    assert_eq!(whole.join(std::slice::from_ref(&one)).unwrap(), whole.encode(raw.clone()).unwrap());
    assert!(whole.join(&[one.clone(), one]).is_err());
    let sharded = Encoder::new(&variable("v", DataType::Int16, &[2, 6], Some(vec![4, 6]), chain())).unwrap();
    let halves = [&raw[..24], &raw[24..]].map(|half| sharded.encode_chunk(half.to_vec()).unwrap());
    assert_eq!(sharded.join(&halves).unwrap(), sharded.encode(raw).unwrap());
    assert!(sharded.join(&halves[..1]).is_err());
}

#[test]
fn what_cannot_be_stored_is_refused_before_anything_is_written() {
    let refused = |change: &dyn Fn(&mut Schema), format| {
        let filled = [Filled {
            variable: variable("v", DataType::Int16, &[2], None, None),
            array: random_array(DataType::Int16, &[5], &mut Numbers(1)),
        }];
        let mut schema = schema_of(&filled);
        change(&mut schema);
        let store = Arc::new(Memory::default());
        let error = ZarrTarget::new(Arc::<Memory>::clone(&store), format)
            .commit(&schema)
            .and_then(|()| gristmill::target::zarr::check(&schema, format))
            .unwrap_err();
        assert!(matches!(error, TargetError::Unsupported { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(&|schema| schema.variables[0].name = "a//b".to_owned(), Zarr3).contains("name"));
    assert!(refused(&|schema| schema.variables[0].name = "__v".to_owned(), Zarr3).contains("`__v`"));
    assert!(refused(&|schema| schema.variables[0].encoding.chunks = None, Zarr3).contains("chunk lengths"));
    assert!(refused(&|schema| schema.variables[0].encoding.chunks = Some(vec![1, 2]), Zarr3).contains("[1, 2]"));
    assert!(refused(&|schema| schema.variables[0].encoding.shards = Some(vec![3]), Zarr3).contains("multiples"));
    assert!(refused(&|schema| schema.variables[0].encoding.shards = Some(vec![4]), Zarr2).contains("no shards"));
    assert!(refused(&|schema| schema.variables[0].dtype = DataType::Char, Zarr3).contains("chars"));
    assert!(refused(&|schema| schema.variables[0].encoding.fill = Some(FillValue::Number(Scalar::Int32(70_000))), Zarr3).contains("70000"));
    assert!(refused(&|schema| schema.variables[0].encoding.codecs = Some(vec![codec("blosk", &json!({}))]), Zarr3).contains("blosk"));
    assert!(
        refused(&|schema| schema.variables[0].encoding.codecs = Some(vec![codec("gzip", &json!({"level": 11}))]), Zarr3).contains("0 to 9")
    );
    assert!(
        refused(
            &|schema| {
                let twin = schema.variables[0].clone();
                schema.variables.push(twin);
            },
            Zarr3
        )
        .contains("two variables")
    );
    assert!(
        refused(
            &|schema| {
                let mut inner = schema.variables[0].clone();
                inner.name = "v/w".to_owned();
                schema.variables.push(inner);
            },
            Zarr3
        )
        .contains("group")
    );
}

#[test]
fn wrong_lengths_are_refused() {
    let numbers = Encoder::new(&variable("v", DataType::Int16, &[3], None, None)).unwrap();
    assert!(numbers.encode(vec![0; 5]).is_err());
    assert!(numbers.encode_texts(&[String::new(), String::new(), String::new()]).is_err());
    let texts = Encoder::new(&variable("v", DataType::String, &[3], None, None)).unwrap();
    assert!(texts.encode_texts(&[String::new()]).is_err());
    assert!(texts.encode(vec![]).is_err());
}

#[test]
fn write_says_what_it_stored() {
    let store = Arc::new(Memory::default());
    let target = ZarrTarget::new(Arc::<Memory>::clone(&store), Zarr3);
    let written = target
        .write(&variable("g/v", DataType::Int8, &[3, 1], None, None), &[2, 0], ChunkPayload::Encoded(bytes::Bytes::from_static(b"abc")))
        .unwrap();
    assert_eq!((written.key.as_str(), written.bytes), ("g/v/c/2/0", 3));
    assert_eq!(written.checksum, gristmill::receipt::checksum(b"abc"));
    assert_eq!(store.get("g/v/c/2/0").unwrap().unwrap(), "abc");
}

mod xarray {
    //! xarray and zarr-python open what we write: run where `GRISTMILL_PYTHON` names a Python that has them.

    use std::process::Command;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use gristmill::array::{Array, Values};
    use gristmill::dataset::{Attributes, Encoding, Variable};
    use serde_json::Value;

    use super::*;

    fn described(variable: &Variable, array: &Array) -> Value {
        let values = match &array.values {
            Values::Bytes(bytes) => json!(STANDARD.encode(bytes)),
            Values::Texts(texts) => json!(texts),
        };
        let fill = match &variable.encoding.fill {
            Some(FillValue::Number(number)) if number.dtype().is_float() => json!(number.as_f64().to_string()),
            Some(FillValue::Number(number)) => json!(number.as_i64()),
            Some(FillValue::Text(text)) => json!(text),
            None => Value::Null,
        };
        let attributes: serde_json::Map<String, Value> =
            variable.attributes.iter().map(|(name, value)| (name.to_owned(), plain(value))).collect();
        let leaf = |name: &str| name.rsplit('/').next().unwrap().to_owned();
        let dimensions: Vec<String> = variable.dimensions.iter().map(|name| leaf(name)).collect();
        json!({
            "name": variable.name, "dtype": array.dtype.name(), "shape": array.shape, "values": values, "fill": fill, "dimensions": dimensions,
            "coordinate": variable.coordinate || variable.is_index(), "chunks": variable.encoding.chunks, "shards": variable.encoding.shards,
            "attributes": attributes,
        })
    }

    fn plain(value: &Attribute) -> Value {
        match value {
            Attribute::Text(text) => json!(text),
            Attribute::Texts(texts) => json!(texts),
            Attribute::Numbers(numbers) => {
                let plain: Vec<Value> = numbers
                    .iter()
                    .map(|number| number.as_i64().filter(|_| number.dtype().is_integer()).map_or(json!(number.as_f64()), Value::from))
                    .collect();
                if let [single] = plain.as_slice() { single.clone() } else { json!(plain) }
            }
        }
    }

    fn compare(format: OutputFormat, schema: &Schema, filled: &[Filled]) {
        let Some(python) = std::env::var_os("GRISTMILL_PYTHON") else {
            eprintln!("not compared with xarray: GRISTMILL_PYTHON is not set");
            return;
        };
        let store = Arc::new(Memory::default());
        bake(&store, format, schema, filled).unwrap();
        let folder = tempfile::tempdir().unwrap();
        store.save(&folder.path().join("store"));
        let entries: Vec<Value> = filled.iter().map(|filled| described(&filled.variable, &filled.array)).collect();
        std::fs::write(folder.path().join("manifest.json"), json!({"variables": entries}).to_string()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/zarr_target.py");
        let output =
            Command::new(python).arg(script).arg(folder.path().join("store")).arg(folder.path().join("manifest.json")).output().unwrap();
        assert!(
            output.status.success(),
            "{format:?}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{} variables equal", filled.len()));
    }

    #[test]
    fn every_type_shape_codec_and_shard() {
        for format in [Zarr3, Zarr2] {
            // zarr-python warns of `numcodecs.zlib` in v3, so only v2 has it here. Every third variable: opening them takes long.
            let known = |filled: &Filled| format == Zarr2 || !filled.variable.name.contains("_4_");
            let filled: Vec<Filled> = every_kind(format).into_iter().filter(known).step_by(3).collect();
            compare(format, &schema_of(&filled), &filled);
        }
    }

    /// A variable over given dimensions, with attributes.
    fn over(name: &str, dtype: DataType, dimensions: &[&str], attributes: &[(&str, Attribute)], fill: Option<Scalar>) -> Variable {
        let attributes = Attributes(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
        let encoding = Encoding { chunks: Some(vec![2; dimensions.len()]), fill: fill.map(FillValue::Number), ..Encoding::default() };
        let dimensions = dimensions.iter().map(|&name| name.to_owned()).collect();
        Variable { name: name.to_owned(), dtype, dimensions, attributes, coordinate: false, encoding }
    }

    fn scalars(dtype: DataType, shape: &[u64], values: &[f64]) -> Array {
        let scalars: Vec<Scalar> = values
            .iter()
            .map(|&value| match dtype {
                DataType::Float32 => Scalar::Float32(value as f32),
                other => Scalar::Float64(value).cast(other).unwrap(),
            })
            .collect();
        Array::from_scalars(dtype, shape.to_vec(), &scalars).unwrap()
    }

    /// Packed, masked, auxiliary and scalar coordinates, bounds, texts, groups: the things that CF readers look at.
    fn dataset(group: &str) -> Vec<Filled> {
        use DataType::{Float32, Float64, Int16, Int64};
        let f32s = |value: f32| Attribute::Numbers(vec![Scalar::Float32(value)]);
        let text = |text: &str| Attribute::Text(text.to_owned());
        let time = [("units", text("days since 2000-01-01")), ("calendar", text("standard"))];
        let packed = [
            ("scale_factor", f32s(0.01)),
            ("add_offset", f32s(273.15)),
            ("valid_range", Attribute::Numbers(vec![Scalar::Int16(-5), Scalar::Int16(9)])),
        ];
        let big = [
            ("big", Attribute::Numbers(vec![Scalar::Int64(9_007_199_254_740_993)])),
            ("flag_meanings", text("a b")),
            ("names", Attribute::Texts(vec!["x".into(), "y".into()])),
        ];
        // What a combined variable of texts carries; xarray must not take an empty text for a missing one.
        let mut label = over("label", DataType::String, &["y"], &[], None);
        label.encoding.fill = Some(FillValue::Text(String::new()));
        let mut all = vec![
            (over("time", Int64, &["time"], &time, None), scalars(Int64, &[3], &[0.0, 1.0, 5.0])),
            (
                over("lat", Float32, &["y", "x"], &[("units", text("degrees_north"))], None),
                scalars(Float32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            ),
            (over("height", Float64, &[], &[("units", text("m"))], None), scalars(Float64, &[], &[2.0])),
            (over("time_bnds", Int64, &["time", "bnds"], &[], None), scalars(Int64, &[3, 2], &[0.0, 1.0, 1.0, 2.0, 5.0, 6.0])),
            (
                over("t", Int16, &["time", "y", "x"], &packed, Some(Scalar::Int16(-999))),
                scalars(Int16, &[3, 2, 2], &[0.0, -999.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, -1.0, -2.0, -999.0]),
            ),
            (
                over("masked", Float32, &["y", "x"], &[], Some(Scalar::Float32(-999.9))),
                scalars(Float32, &[2, 2], &[1.0, -999.9, 0.5, f64::NAN]),
            ),
            (over("plain", Float64, &["y", "x"], &[], None), scalars(Float64, &[2, 2], &[1.0, f64::INFINITY, 0.5, f64::NAN])),
            (over("counts", Int64, &["y", "x"], &big, None), scalars(Int64, &[2, 2], &[0.0, 1.0, -1.0, 2.0])),
            (over("zero", Int16, &["y", "x"], &[], Some(Scalar::Int16(0))), scalars(Int16, &[2, 2], &[0.0, 1.0, -1.0, 2.0])),
            (label, Array::from_texts(vec![2], vec![String::new(), "ø🌊".into()]).unwrap()),
            (over("orphan", Int16, &["other"], &[], None), scalars(Int16, &[2], &[1.0, 2.0])),
        ];
        for (variable, _) in &mut all {
            variable.coordinate = ["time", "lat", "height", "time_bnds", "label", "orphan"].contains(&variable.name.as_str());
            if !group.is_empty() {
                variable.name = format!("{group}/{}", variable.name);
                variable.dimensions.iter_mut().for_each(|name| *name = format!("{group}/{name}"));
            }
        }
        all.into_iter().map(|(variable, array)| Filled { variable, array }).collect()
    }

    #[test]
    fn coordinates_packing_fills_texts_and_groups() {
        for format in [Zarr3, Zarr2] {
            let filled: Vec<Filled> = ["", "product", "product/support/deep"].into_iter().flat_map(dataset).collect();
            let mut schema = schema_of(&filled);
            schema.groups.insert("product".to_owned(), Attributes(vec![("note".to_owned(), Attribute::Text("here".to_owned()))]));
            compare(format, &schema, &filled);
        }
    }

    #[test]
    fn coordinates_are_announced_where_xarray_looks() {
        let filled = dataset("");
        let store = Arc::new(Memory::default());
        bake(&store, Zarr3, &schema_of(&filled), &filled).unwrap();
        let document = |key: &str| serde_json::from_slice::<Value>(&store.get(key).unwrap().unwrap()).unwrap();
        assert_eq!(document("t/zarr.json")["attributes"]["coordinates"], "lat height label");
        assert_eq!(document("zarr.json")["attributes"]["coordinates"], "orphan time_bnds");
        assert_eq!(document("t/zarr.json"), document("zarr.json")["consolidated_metadata"]["metadata"]["t"]);
        assert_eq!(document("t/zarr.json")["attributes"]["scale_factor"], json!(0.009_999_999_776_482_582));
        assert_eq!(document("masked/zarr.json")["attributes"]["_FillValue"], STANDARD.encode(f64::from(-999.9_f32).to_le_bytes()));
        let read = open(&store).schema().clone();
        let flags = |schema: &Schema| {
            schema.variables.iter().map(|v| (v.name.clone(), v.coordinate || v.is_index())).collect::<std::collections::BTreeMap<_, _>>()
        };
        assert_eq!(flags(&read), flags(&schema_of(&filled)));
    }
}
