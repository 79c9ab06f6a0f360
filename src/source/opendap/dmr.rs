//! The DMR of DAP4: dimensions, variables, groups and attributes in one XML document (DAP4 Specification Volume 1, "DMR").
//!
//! Pure. Invariant: no element lies deeper than [`DEEPEST`], and what is declared is either a variable or refused by name.

use std::collections::HashMap;

use super::das::{numbers, texts_attribute};
use super::declared::{Axis, Contents, Declared, Kind, WireError, wrong};
use super::xml::{Event, Events};
use crate::array::{DataType, Scalar};
use crate::dataset::{Attribute, Attributes};

/// Deepest nesting of elements.
const DEEPEST: usize = 32;
/// What servers say about themselves among a variable's attributes.
const HIDDEN: [&str; 3] = ["_ChunkSizes", "_DAP4_Checksum_CRC32", "origname"];

/// Reads a DMR.
///
/// # Errors
/// [`WireError`] where it is none.
pub(super) fn parse(document: &[u8]) -> Result<Contents, WireError> {
    let mut parser = Parser { events: Events::new(document), contents: Contents::default(), lengths: HashMap::new() };
    loop {
        match parser.events.next()? {
            Some(Event::Start(name, _)) if name == "Dataset" => {
                let attributes = parser.group("", 0)?;
                parser.contents.attributes = attributes;
                return Ok(parser.contents);
            }
            Some(Event::Text(text)) if text.trim().is_empty() => {}
            Some(_) => return wrong("it begins with something else than a `Dataset`"),
            None => return Err(WireError::Short),
        }
    }
}

struct Parser<'a> {
    events: Events<'a>,
    contents: Contents,
    /// Of shared dimensions, by path.
    lengths: HashMap<String, u64>,
}

fn get<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

impl Parser<'_> {
    fn event(&mut self) -> Result<Event, WireError> {
        self.events.next()?.ok_or(WireError::Short)
    }

    /// All that is in the dataset or a group; gives its attributes.
    fn group(&mut self, path: &str, depth: usize) -> Result<Attributes, WireError> {
        deep(depth)?;
        let mut attributes = Attributes::default();
        loop {
            let (element, pairs) = match self.event()? {
                Event::Start(element, pairs) => (element, pairs),
                Event::End(_) => return Ok(attributes),
                Event::Text(_) => continue,
            };
            let full = below(path, get(&pairs, "name").unwrap_or_default());
            match element.as_str() {
                "Dimension" => {
                    let Some(length) = get(&pairs, "size").and_then(|size| size.parse().ok()) else {
                        return wrong("a dimension has no size");
                    };
                    self.lengths.insert(full, length);
                    self.skip(depth)?;
                }
                "Group" => {
                    let of_group = self.group(&full, depth + 1)?;
                    self.contents.groups.insert(full, of_group);
                }
                "Attribute" => self.attribute(&mut attributes, (path, ""), &pairs, depth + 1)?,
                "Structure" | "Sequence" | "Opaque" | "Enum" | "Enumeration" => {
                    // An enumeration is a type, not a variable.
                    if element != "Enumeration" {
                        self.contents.refused.push((full, format!("it is a {element}, not an array of numbers or texts")));
                    }
                    self.skip(depth)?;
                }
                kind => match Kind::of_dap4(kind) {
                    Some(kind) => self.variable(full, kind, depth + 1)?,
                    None => self.skip(depth)?,
                },
            }
        }
    }

    fn variable(&mut self, name: String, kind: Kind, depth: usize) -> Result<(), WireError> {
        deep(depth)?;
        let (mut axes, mut maps, mut attributes) = (Vec::new(), Vec::new(), Attributes::default());
        loop {
            match self.event()? {
                Event::Start(element, pairs) => match element.as_str() {
                    "Dim" => {
                        axes.push(self.axis(&name, &pairs)?);
                        self.skip(depth)?;
                    }
                    "Map" => {
                        maps.extend(get(&pairs, "name").map(|map| map.trim_start_matches('/').to_owned()));
                        self.skip(depth)?;
                    }
                    "Attribute" => self.attribute(&mut attributes, (&name, ""), &pairs, depth + 1)?,
                    _ => self.skip(depth)?,
                },
                Event::Text(_) => {}
                Event::End(_) => break,
            }
        }
        if maps.len() == axes.len() {
            for (axis, map) in axes.iter_mut().zip(maps) {
                axis.name.get_or_insert(map);
            }
        }
        let mut declared = Declared { name, kind, axes, attributes };
        of_own_type(&mut declared);
        self.contents.variables.push(declared);
        Ok(())
    }

    fn axis(&self, variable: &str, pairs: &[(String, String)]) -> Result<Axis, WireError> {
        let name = get(pairs, "name").map(|name| name.trim_start_matches('/').to_owned());
        let length = match (&name, get(pairs, "size")) {
            (Some(name), _) => self.lengths.get(name).copied(),
            (None, size) => size.and_then(|size| size.parse().ok()),
        };
        match length {
            Some(length) => Ok(Axis { name, length }),
            None => wrong(format!("an axis of `{variable}` has no length")),
        }
    }

    /// One attribute, or a container of some, whose attributes are called `container.attribute`.
    fn attribute(
        &mut self,
        attributes: &mut Attributes,
        (owner, prefix): (&str, &str),
        pairs: &[(String, String)],
        depth: usize,
    ) -> Result<(), WireError> {
        deep(depth)?;
        let name = get(pairs, "name").unwrap_or_default();
        let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let kind = get(pairs, "type").unwrap_or("String");
        // What is left of DAP2 in servers that speak both.
        let inner = if name.ends_with("_GLOBAL") { prefix.to_owned() } else { full.clone() };
        let mut values: Vec<String> = get(pairs, "value").map(str::to_owned).into_iter().collect();
        loop {
            match self.event()? {
                Event::Start(element, pairs) if element == "Attribute" => self.attribute(attributes, (owner, &inner), &pairs, depth + 1)?,
                Event::Start(element, pairs) if element == "Value" => values.push(self.value(&pairs, depth)?),
                Event::Start(..) => self.skip(depth)?,
                Event::Text(_) => {}
                Event::End(_) => break,
            }
        }
        if kind.eq_ignore_ascii_case("container") || HIDDEN.contains(&name) {
            return Ok(());
        }
        if full == "DODS_EXTRA.Unlimited_Dimension" {
            self.contents.unlimited = values.into_iter().next();
            return Ok(());
        }
        let value = match Kind::of_dap4(kind) {
            Some(Kind::Text) => Ok(texts_attribute(values)),
            Some(kind) => numbers(kind, &values),
            None => Err("its type is unknown".to_owned()),
        };
        match value {
            Ok(value) => attributes.set(&full, value),
            Err(reason) => self.contents.refused.push((format!("{owner}@{full}"), reason)),
        }
        Ok(())
    }

    fn value(&mut self, pairs: &[(String, String)], depth: usize) -> Result<String, WireError> {
        let mut text = get(pairs, "value").unwrap_or_default().to_owned();
        loop {
            match self.event()? {
                Event::Text(more) => text.push_str(&more),
                Event::Start(..) => self.skip(depth)?,
                Event::End(_) => return Ok(text),
            }
        }
    }

    /// Passes over the rest of an element.
    fn skip(&mut self, depth: usize) -> Result<(), WireError> {
        let mut open = 1_usize;
        while open > 0 {
            match self.event()? {
                Event::Start(..) => open += 1,
                Event::End(_) => open -= 1,
                Event::Text(_) => {}
            }
            deep(depth.saturating_add(open))?;
        }
        Ok(())
    }
}

fn deep(depth: usize) -> Result<(), WireError> {
    if depth > DEEPEST { wrong(format!("elements lie inside one another more than {DEEPEST} times")) } else { Ok(()) }
}

/// Fill values are of the variable's own type, whatever the server wrote.
fn of_own_type(variable: &mut Declared) {
    let dtype = variable.kind.dtype();
    for (name, value) in &mut variable.attributes.0 {
        let own = matches!(name.as_str(), "_FillValue" | "missing_value") && dtype != DataType::String;
        if let (true, Attribute::Numbers(numbers)) = (own, value) {
            let settled: Option<Vec<Scalar>> = numbers.iter().map(|number| number.nearest(dtype)).collect();
            numbers.clone_from(&settled.unwrap_or_else(|| numbers.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_write() {
        let text = br#"<?xml version="1.0"?>
<Dataset xmlns="http://xml.opendap.org/ns/DAP/4.0#" name="d">
  <Dimension name="time" size="2"/>
  <Int8 name="ice"><Dim name="/time"/><Dim size="3"/>
    <Attribute name="_FillValue" type="Int8"><Value>-128</Value></Attribute>
    <Attribute name="long_name" type="String"><Value>it&apos;s &quot;ice&quot;</Value></Attribute>
    <Attribute name="_DAP4_Checksum_CRC32" type="Int32"><Value>1</Value></Attribute>
  </Int8>
  <Group name="g"><Dimension name="x" size="4"/><UInt64 name="n"><Dim name="/g/x"/></UInt64><Attribute name="a" type="str" value="b"/></Group>
  <Float32 name="SST"><Dim size="2"/><Map name="/time"/><Attribute name="_FillValue" type="Float64"><Value>-1e34</Value></Attribute></Float32>
  <Sequence name="rows"><Byte name="b"/></Sequence>
  <Attribute name="NC_GLOBAL" type="Container"><Attribute name="history" type="String"><Value>h</Value></Attribute></Attribute>
  <Attribute name="DODS_EXTRA" type="Container"><Attribute name="Unlimited_Dimension" type="String"><Value>time</Value></Attribute></Attribute>
  <Attribute name="bad" type="Int16"><Value>x</Value></Attribute>
</Dataset>"#;
        let found = parse(text).unwrap();
        let axis = |name: Option<&str>, length| Axis { name: name.map(str::to_owned), length };
        let [ice, n, sst] = found.variables.as_slice() else { panic!("{found:?}") };
        assert_eq!((ice.kind, ice.axes.as_slice()), (Kind::Int8, &[axis(Some("time"), 2), axis(None, 3)][..]));
        assert_eq!(ice.attributes.number("_FillValue"), Some(Scalar::Int8(-128)));
        assert_eq!((ice.attributes.text("long_name"), ice.attributes.0.len()), (Some("it's \"ice\""), 2));
        assert_eq!((n.name.as_str(), n.kind, n.axes.as_slice()), ("g/n", Kind::UInt64, &[axis(Some("g/x"), 4)][..]));
        assert_eq!((sst.axes[0].name.as_deref(), sst.attributes.number("_FillValue")), (Some("time"), Some(Scalar::Float32(-1e34))));
        assert_eq!((found.attributes.text("history"), found.groups["g"].text("a")), (Some("h"), Some("b")));
        assert_eq!(found.unlimited.as_deref(), Some("time"));
        assert_eq!(found.refused.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["rows", "@bad"]);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = b"<Dataset><Byte name='a'><Dim size='2'/></Byte></Dataset>";
        assert!(parse(whole).is_ok());
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        for bad in [
            &b"<html></html>"[..],
            b"<Dataset><Byte name='a'><Dim name='/x'/></Byte></Dataset>",
            b"<Dataset><Dimension name='a'/></Dataset>",
        ] {
            assert!(matches!(parse(bad), Err(WireError::Wrong(_))));
        }
        let deep: Vec<u8> = b"<Dataset>".iter().copied().chain(b"<Group name='g'>".repeat(100_000)).collect();
        assert!(matches!(parse(&deep), Err(WireError::Wrong(_))));
    }
}
