//! Small classic netCDF files made in tests (64-bit offset, fixed dimensions), described as data or by builder.
#![allow(dead_code, reason = "each test binary that shares this uses a part of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;

use serde::Deserialize;

/// A file: lengths of dimensions by name, global attributes, variables by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MadeFile {
    #[serde(default)]
    pub(crate) dimensions: BTreeMap<String, u32>,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, toml::Value>,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, MadeVariable>,
    /// The file is this text instead.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// Only so many bytes of it.
    #[serde(default)]
    pub(crate) cut: Option<usize>,
}

/// A variable: `type` is `byte`, `char`, `short`, `int`, `float` or `double`; any other key is an attribute.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct MadeVariable {
    pub(crate) r#type: String,
    #[serde(default)]
    pub(crate) dims: Vec<String>,
    #[serde(default)]
    pub(crate) values: Vec<f64>,
    #[serde(flatten)]
    pub(crate) attributes: BTreeMap<String, toml::Value>,
}

impl MadeFile {
    /// A dimension more.
    pub(crate) fn dimension(mut self, name: &str, length: u32) -> Self {
        self.dimensions.insert(name.to_owned(), length);
        self
    }

    /// A variable more, with text attributes.
    pub(crate) fn variable(mut self, name: &str, kind: &str, dims: &[&str], values: &[f64], attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), toml::Value::String((*value).to_owned())));
        let dims = dims.iter().map(|&name| name.to_owned()).collect();
        let variable = MadeVariable { r#type: kind.to_owned(), dims, values: values.to_vec(), attributes: attributes.collect() };
        self.variables.insert(name.to_owned(), variable);
        self
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.text.as_ref().map_or_else(|| self.classic(), |text| text.clone().into_bytes());
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }

    fn classic(&self) -> Vec<u8> {
        let length = |variable: &MadeVariable| variable.dims.iter().map(|name| self.dimensions[name] as usize).product();
        let data: Vec<Vec<u8>> = self.variables.values().map(|variable| padded(&variable.data(length(variable)))).collect();
        let header = self.header(0, &data);
        let header = self.header(header.len() as u64, &data);
        [header, data.concat()].concat()
    }

    fn header(&self, begin: u64, data: &[Vec<u8>]) -> Vec<u8> {
        let dimensions: Vec<Vec<u8>> =
            self.dimensions.iter().map(|(name, length)| [text(name), length.to_be_bytes().to_vec()].concat()).collect();
        let mut offset = begin;
        let mut variables = Vec::new();
        for ((name, variable), data) in self.variables.iter().zip(data) {
            let place = |name: &String| self.dimensions.keys().position(|known| known == name).expect("a known dimension") as u32;
            let dims: Vec<u8> = variable.dims.iter().flat_map(|name| place(name).to_be_bytes()).collect();
            let head = [text(name), (variable.dims.len() as u32).to_be_bytes().to_vec(), dims, attributes(&variable.attributes)].concat();
            let tail = [kind(&variable.r#type).to_be_bytes().to_vec(), (data.len() as u32).to_be_bytes().to_vec()].concat();
            variables.push([head, tail, offset.to_be_bytes().to_vec()].concat());
            offset += data.len() as u64;
        }
        let magic = b"CDF\x02\0\0\0\0".to_vec();
        [magic, list(10, &dimensions), attributes(&self.attributes), list(11, &variables)].concat()
    }
}

impl MadeVariable {
    /// Its values; zeros where none are given.
    fn data(&self, length: usize) -> Vec<u8> {
        let each = |&value: &f64| match self.r#type.as_str() {
            "byte" | "char" => vec![value as i8 as u8],
            "short" => (value as i16).to_be_bytes().to_vec(),
            "int" => (value as i32).to_be_bytes().to_vec(),
            "float" => (value as f32).to_be_bytes().to_vec(),
            _ => value.to_be_bytes().to_vec(),
        };
        if self.values.is_empty() { vec![0.0; length].iter().flat_map(each).collect() } else { self.values.iter().flat_map(each).collect() }
    }
}

fn kind(name: &str) -> u32 {
    let kinds = ["byte", "char", "short", "int", "float", "double"];
    kinds.iter().position(|known| *known == name).expect("a type of classic files") as u32 + 1
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u32).to_be_bytes().to_vec(), padded(text.as_bytes())].concat()
}

fn list(tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let tag = if items.is_empty() { 0 } else { tag };
    [tag.to_be_bytes().to_vec(), (items.len() as u32).to_be_bytes().to_vec(), items.concat()].concat()
}

fn attributes(attributes: &BTreeMap<String, toml::Value>) -> Vec<u8> {
    let value = |value: &toml::Value| match value {
        toml::Value::Integer(number) => [4_u32.to_be_bytes(), 1_u32.to_be_bytes(), (*number as i32).to_be_bytes()].concat(),
        toml::Value::Float(number) => [6_u32.to_be_bytes().as_slice(), &1_u32.to_be_bytes(), &number.to_be_bytes()].concat(),
        other => [2_u32.to_be_bytes().to_vec(), text(other.as_str().expect("a text, an integer or a float"))].concat(),
    };
    let items: Vec<Vec<u8>> = attributes.iter().map(|(name, one)| [text(name), value(one)].concat()).collect();
    list(12, &items)
}
