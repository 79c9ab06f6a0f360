//! The child's side: the only place that calls the C library.
//!
//! One file per process. Ends when its input does, even while the C library hangs. A panic or crash here ends this process
//! and nothing else; what the library prints goes wherever the parent sent stderr. Invariant: values are handed out raw,
//! nothing masked, nothing unpacked.

use std::io;
use std::path::Path;
use std::sync::mpsc;

use netcdf::types::{EnumTypeValues, FloatType, IntType, NcVariableType};
use netcdf::{AttributeValue, Extents};

use super::protocol::{self, Answer, Description, Request};
use crate::array::{DataType, FillValue, Scalar};
use crate::dataset::{Attribute, Attributes, Dimension, Encoding, Schema, Variable};
use crate::grid::{Region, positions};
use crate::source::{Format, fill};

/// Answers requests on stdin until it closes.
///
/// # Errors
/// If stdout closes before that.
pub fn serve() -> io::Result<()> {
    let (send, requests) = mpsc::channel();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(Some(request)) = protocol::read::<Request>(&mut input) {
            if send.send(request).is_err() {
                return;
            }
        }
        end();
    });
    let mut output = io::stdout().lock();
    let mut file = None;
    for (request, body) in requests {
        let (answer, values) = match request {
            Request::Open => open(&body, &mut file),
            Request::Read { variable, region } => read(file.as_ref(), &variable, &region),
            Request::Version => version().map(|version| (Answer::Version(version), Vec::new())),
        }
        .unwrap_or_else(|message| (Answer::Failed(message), Vec::new()));
        protocol::write(&mut output, &answer, &values)?;
    }
    Ok(())
}

/// Nobody is left to answer to; the other thread may never come back from the C library.
#[expect(clippy::exit, reason = "the process is the unit that is thrown away; nothing in it needs to be closed")]
fn end() {
    std::process::exit(0)
}

type Answered = Result<(Answer, Vec<u8>), String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn open(path: &[u8], file: &mut Option<netcdf::File>) -> Answered {
    let path = std::str::from_utf8(path).map_err(told)?;
    let opened = file.insert(netcdf::open(Path::new(path)).map_err(told)?);
    let mut walk = Walk::default();
    let format = if let Some(root) = opened.root() {
        walk.group(&root, "", &[])?;
        Format::Hdf5
    } else {
        walk.schema.attributes = walk.attributes(opened.attributes(), "");
        let dimensions = walk.dimensions(opened.dimensions(), "");
        opened.variables().try_for_each(|variable| walk.variable(&variable, "", &dimensions))?;
        Format::NetCdf3
    };
    Ok((Answer::Opened(Box::new(Description { format, schema: walk.schema, refused: walk.refused })), Vec::new()))
}

/// The library tells its version only inside the files that it writes (`_NCProperties`).
fn version() -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(told)?;
    let path = folder.path().join("version.nc");
    netcdf::create(&path).and_then(netcdf::FileMut::close).map_err(told)?;
    let bytes = std::fs::read(&path).map_err(told)?;
    let mark = b"netcdf=";
    let at = bytes.windows(mark.len()).position(|window| window == mark).ok_or("its version is nowhere")? + mark.len();
    let version: Vec<u8> = bytes.into_iter().skip(at).take_while(|byte| byte.is_ascii_alphanumeric() || b".-".contains(byte)).collect();
    String::from_utf8(version).map_err(told)
}

fn read(file: Option<&netcdf::File>, variable: &str, region: &Region) -> Answered {
    let file = file.ok_or("no file is open")?;
    let found = file.variable(variable).ok_or_else(|| format!("there is no variable `{variable}`"))?;
    let bytes = match translate(&found.vartype())? {
        DataType::String => {
            let one = |at: Vec<u64>| found.get_string(extents(&Region::new(at, vec![1; region.rank()]))?).map_err(told);
            protocol::texts_to_bytes(&positions(region).map(one).collect::<Result<Vec<String>, String>>()?)
        }
        _ => found.get_raw_values(extents(region)?).map_err(told)?,
    };
    Ok((Answer::Values, bytes))
}

fn extents(region: &Region) -> Result<Extents, String> {
    let lengths = |lengths: &[u64]| lengths.iter().map(|&length| length as usize).collect::<Vec<usize>>();
    Extents::try_from((lengths(&region.start), lengths(&region.shape))).map_err(told)
}

/// A type as ours, or why it has no place in an array; the same words as our own reader's.
fn translate(found: &NcVariableType) -> Result<DataType, String> {
    Ok(match found {
        NcVariableType::Char => DataType::Char,
        NcVariableType::String => DataType::String,
        NcVariableType::Int(kind) => integer(*kind),
        NcVariableType::Float(FloatType::F32) => DataType::Float32,
        NcVariableType::Float(FloatType::F64) => DataType::Float64,
        NcVariableType::Enum(found) => match found.fieldvalues {
            EnumTypeValues::U8(_) => DataType::UInt8,
            EnumTypeValues::U16(_) => DataType::UInt16,
            EnumTypeValues::U32(_) => DataType::UInt32,
            EnumTypeValues::U64(_) => DataType::UInt64,
            EnumTypeValues::I8(_) => DataType::Int8,
            EnumTypeValues::I16(_) => DataType::Int16,
            EnumTypeValues::I32(_) => DataType::Int32,
            EnumTypeValues::I64(_) => DataType::Int64,
        },
        NcVariableType::Compound(_) => return Err("compound types are not supported".to_owned()),
        NcVariableType::Opaque(_) => return Err("opaque types are not supported".to_owned()),
        NcVariableType::Vlen(_) => return Err("variable-length sequences are not supported".to_owned()),
    })
}

fn integer(kind: IntType) -> DataType {
    match kind {
        IntType::U8 => DataType::UInt8,
        IntType::U16 => DataType::UInt16,
        IntType::U32 => DataType::UInt32,
        IntType::U64 => DataType::UInt64,
        IntType::I8 => DataType::Int8,
        IntType::I16 => DataType::Int16,
        IntType::I32 => DataType::Int32,
        IntType::I64 => DataType::Int64,
    }
}

/// Describes groups, each before those inside it.
#[derive(Default)]
struct Walk {
    schema: Schema,
    refused: Vec<(String, String)>,
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

impl Walk {
    /// `outer` are the dimensions of the groups around, innermost last.
    fn group(&mut self, group: &netcdf::Group<'_>, path: &str, outer: &[Dimension]) -> Result<(), String> {
        let attributes = self.attributes(group.attributes(), path);
        if path.is_empty() {
            self.schema.attributes = attributes;
        } else {
            self.schema.groups.insert(path.to_owned(), attributes);
        }
        let scope = [outer, &self.dimensions(group.dimensions(), path)].concat();
        group.variables().try_for_each(|variable| self.variable(&variable, path, &scope))?;
        group.groups().try_for_each(|inner| self.group(&inner, &join(path, &inner.name()), &scope))
    }

    fn dimensions<'a>(&mut self, found: impl Iterator<Item = netcdf::Dimension<'a>>, path: &str) -> Vec<Dimension> {
        let one = |found: netcdf::Dimension<'_>| Dimension {
            name: join(path, &found.name()),
            length: found.len() as u64,
            unlimited: found.is_unlimited(),
        };
        let dimensions: Vec<Dimension> = found.map(one).collect();
        self.schema.dimensions.extend(dimensions.iter().cloned());
        dimensions
    }

    fn attributes<'a>(&mut self, found: impl Iterator<Item = netcdf::Attribute<'a>>, path: &str) -> Attributes {
        let mut attributes = Attributes::default();
        for attribute in found {
            match attribute.value() {
                Ok(value) => attributes.set(attribute.name(), plain(value)),
                Err(error) => self.refused.push((format!("{path}@{}", attribute.name()), attribute_refusal(&error))),
            }
        }
        attributes
    }

    fn variable(&mut self, found: &netcdf::Variable<'_>, path: &str, scope: &[Dimension]) -> Result<(), String> {
        let name = join(path, &found.name());
        let dtype = match translate(&found.vartype()) {
            Ok(dtype) => dtype,
            Err(reason) => {
                self.refused.push((name, reason));
                return Ok(());
            }
        };
        let dimensions = found.dimensions().iter().map(|dimension| visible(dimension, scope)).collect::<Result<_, _>>()?;
        let attributes = self.attributes(found.attributes(), &name);
        let chunks = found.chunking().ok().flatten().map(|lengths| lengths.into_iter().map(|length| length as u64).collect());
        let fill = fill_of(found, dtype, &attributes).map(FillValue::Number);
        let encoding = Encoding { chunks, fill, ..Encoding::default() };
        let mut variable = Variable { name, dtype, dimensions, attributes, coordinate: false, encoding };
        variable.coordinate = variable.is_index();
        self.schema.variables.push(variable);
        Ok(())
    }
}

fn attribute_refusal(error: &netcdf::Error) -> String {
    match error {
        netcdf::Error::TypeUnknown(_) => "attributes of user-defined types are not supported".to_owned(),
        other => other.to_string(),
    }
}

/// The innermost dimension of that name and length: the binding does not say which group a variable's dimension is from.
fn visible(dimension: &netcdf::Dimension<'_>, scope: &[Dimension]) -> Result<String, String> {
    let (name, length) = (dimension.name(), dimension.len() as u64);
    let is_it = |known: &&Dimension| known.length == length && known.name.rsplit('/').next() == Some(&name);
    scope.iter().rev().find(is_it).map(|known| known.name.clone()).ok_or_else(|| format!("dimension `{name}` is nowhere declared"))
}

/// What never-written elements are: what the library says (in HDF5 the attribute may say something else), but the default where
/// the attribute is of another type than the variable: then the library gives any bytes.
fn fill_of(variable: &netcdf::Variable<'_>, dtype: DataType, attributes: &Attributes) -> Option<Scalar> {
    let default = || Scalar::from_bytes(dtype, &fill::netcdf_default(dtype));
    match attributes.get("_FillValue") {
        Some(attribute) if attribute.number().is_none_or(|number| number.dtype() != dtype) => default(),
        _ => library_fill(variable, dtype).or_else(default),
    }
}

fn library_fill(variable: &netcdf::Variable<'_>, dtype: DataType) -> Option<Scalar> {
    /// The fill value of one type, if the variable is of that type.
    macro_rules! declared {
        ($native:ty, $scalar:ident) => {
            variable.fill_value::<$native>().ok().flatten().map(Scalar::$scalar)
        };
    }
    match dtype {
        DataType::Int8 => declared!(i8, Int8),
        DataType::Int16 => declared!(i16, Int16),
        DataType::Int32 => declared!(i32, Int32),
        DataType::Int64 => declared!(i64, Int64),
        DataType::UInt8 => declared!(u8, UInt8),
        DataType::UInt16 => declared!(u16, UInt16),
        DataType::UInt32 => declared!(u32, UInt32),
        DataType::UInt64 => declared!(u64, UInt64),
        DataType::Float32 => declared!(f32, Float32),
        DataType::Float64 => declared!(f64, Float64),
        DataType::Char | DataType::String => None,
    }
}

fn plain(value: AttributeValue) -> Attribute {
    let text = |text: String| text.replace('\0', "");
    /// Numbers of one type.
    macro_rules! numbers {
        ($values:expr, $scalar:ident) => {
            Attribute::Numbers($values.into_iter().map(Scalar::$scalar).collect())
        };
    }
    match value {
        AttributeValue::Uchar(value) => numbers!([value], UInt8),
        AttributeValue::Uchars(values) => numbers!(values, UInt8),
        AttributeValue::Schar(value) => numbers!([value], Int8),
        AttributeValue::Schars(values) => numbers!(values, Int8),
        AttributeValue::Ushort(value) => numbers!([value], UInt16),
        AttributeValue::Ushorts(values) => numbers!(values, UInt16),
        AttributeValue::Short(value) => numbers!([value], Int16),
        AttributeValue::Shorts(values) => numbers!(values, Int16),
        AttributeValue::Uint(value) => numbers!([value], UInt32),
        AttributeValue::Uints(values) => numbers!(values, UInt32),
        AttributeValue::Int(value) => numbers!([value], Int32),
        AttributeValue::Ints(values) => numbers!(values, Int32),
        AttributeValue::Ulonglong(value) => numbers!([value], UInt64),
        AttributeValue::Ulonglongs(values) => numbers!(values, UInt64),
        AttributeValue::Longlong(value) => numbers!([value], Int64),
        AttributeValue::Longlongs(values) => numbers!(values, Int64),
        AttributeValue::Float(value) => numbers!([value], Float32),
        AttributeValue::Floats(values) => numbers!(values, Float32),
        AttributeValue::Double(value) => numbers!([value], Float64),
        AttributeValue::Doubles(values) => numbers!(values, Float64),
        AttributeValue::Str(one) => Attribute::Text(text(one)),
        AttributeValue::Strs(mut texts) if texts.len() < 2 => Attribute::Text(texts.pop().map(text).unwrap_or_default()),
        AttributeValue::Strs(texts) => Attribute::Texts(texts.into_iter().map(text).collect()),
    }
}
