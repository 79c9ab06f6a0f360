//! The little XML that DMRs are written in: elements, attributes, text, the five entities and character references.
//!
//! Pure; no document types, no entities of one's own, so nothing grows. Invariant: every event takes at least one byte of the document.

use super::declared::{WireError, wrong};
use crate::array::text_from_bytes;

/// Something in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// `<name a="b">`, without a namespace prefix; followed by its end also where it is written `<name/>`.
    Start(String, Vec<(String, String)>),
    /// `</name>`.
    End(String),
    /// Text between tags.
    Text(String),
}

/// Reads a document from its start to its end.
pub(super) struct Events<'a> {
    rest: &'a [u8],
    /// The end of an element that was written as one tag.
    closing: Option<String>,
}

impl<'a> Events<'a> {
    pub(super) fn new(document: &'a [u8]) -> Self {
        Self { rest: document, closing: None }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// [`WireError`] where the document is cut or no XML of this kind.
    pub(super) fn next(&mut self) -> Result<Option<Event>, WireError> {
        if let Some(name) = self.closing.take() {
            return Ok(Some(Event::End(name)));
        }
        loop {
            let Some(&first) = self.rest.first() else { return Ok(None) };
            if first != b'<' {
                let text = self.until(b"<", 0).unwrap_or_else(|_| std::mem::take(&mut self.rest));
                return Ok(Some(Event::Text(resolved(text)?)));
            }
            if self.rest.starts_with(b"<!--") {
                self.until(b"-->", 3)?;
            } else if self.rest.starts_with(b"<![CDATA[") {
                let text = self.until(b"]]>", 3)?;
                let inner = text.get(9..text.len().saturating_sub(3)).unwrap_or_default();
                return Ok(Some(Event::Text(text_from_bytes(inner))));
            } else if self.rest.starts_with(b"<?") {
                self.until(b"?>", 2)?;
            } else if self.rest.starts_with(b"<!") {
                return wrong("it has a document type, which no server writes");
            } else {
                return self.tag().map(Some);
            }
        }
    }

    /// Takes what stands before `end`, and so many bytes of it.
    fn until(&mut self, end: &[u8], with: usize) -> Result<&'a [u8], WireError> {
        let at = self.rest.windows(end.len()).position(|window| window == end).ok_or(WireError::Short)?;
        let (taken, rest) = self.rest.split_at(at + with);
        self.rest = rest;
        Ok(taken)
    }

    fn tag(&mut self) -> Result<Event, WireError> {
        let end = self.tag_end()?;
        let (tag, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        let inner = tag.get(1..end).unwrap_or_default();
        if let Some(name) = inner.strip_prefix(b"/") {
            return Ok(Event::End(local(name.trim_ascii())));
        }
        let (inner, closed) = inner.strip_suffix(b"/").map_or((inner, false), |inner| (inner, true));
        let length = inner.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        let (name, attributes) = inner.split_at(length);
        if name.is_empty() {
            return wrong("it has a tag without a name");
        }
        let name = local(name);
        self.closing = closed.then(|| name.clone());
        Ok(Event::Start(name, pairs(attributes)?))
    }

    /// Where the tag's `>` is: not inside a quoted value.
    fn tag_end(&self) -> Result<usize, WireError> {
        let mut quote = None;
        for (at, &byte) in self.rest.iter().enumerate() {
            match (quote, byte) {
                (None, b'>') => return Ok(at),
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), close) if open == close => quote = None,
                _ => {}
            }
        }
        Err(WireError::Short)
    }
}

/// A name without its prefix.
fn local(name: &[u8]) -> String {
    let name = text_from_bytes(name);
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

/// `a="b" c='d'`
fn pairs(mut rest: &[u8]) -> Result<Vec<(String, String)>, WireError> {
    let mut pairs = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(pairs);
        }
        let Some(equals) = rest.iter().position(|&byte| byte == b'=') else { return wrong("an attribute of a tag has no value") };
        let (name, after) = rest.split_at(equals);
        let value = after.get(1..).unwrap_or_default().trim_ascii_start();
        let Some((&quote @ (b'"' | b'\''), value)) = value.split_first() else {
            return wrong("the value of a tag's attribute is not quoted");
        };
        let end = value.iter().position(|&byte| byte == quote).ok_or(WireError::Short)?;
        let (value, after) = value.split_at(end);
        pairs.push((text_from_bytes(name.trim_ascii()), resolved(value)?));
        rest = after.get(1..).unwrap_or_default();
    }
}

/// Text with its entities resolved.
fn resolved(text: &[u8]) -> Result<String, WireError> {
    let text = text_from_bytes(text);
    let mut parts = text.split('&');
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((name, after)) = part.split_once(';') else { return wrong("an `&` begins no entity") };
        let number = name.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => number.parse().ok(),
        });
        let character = match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => match number.and_then(char::from_u32) {
                Some(character) => character,
                None => return wrong("it uses an entity that XML does not have"),
            },
        };
        resolved.push(character);
        resolved.push_str(after);
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(document: &str) -> Result<Vec<Event>, WireError> {
        let mut events = Events::new(document.as_bytes());
        std::iter::from_fn(|| events.next().transpose()).collect()
    }

    #[test]
    fn reads_elements_text_and_entities() {
        let start = |name: &str, pairs: &[(&str, &str)]| {
            Event::Start(name.to_owned(), pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let (end, text) = (|name: &str| Event::End(name.to_owned()), |text: &str| Event::Text(text.to_owned()));
        let found = all("<?xml version='1.0'?><!-- < --><d:a b=\"x &gt; y>\" c = 'd'><e/>&quot;&#233;&#x41;<![CDATA[<&]]></d:a>").unwrap();
        let expected = [start("a", &[("b", "x > y>"), ("c", "d")]), start("e", &[]), end("e"), text("\"éA"), text("<&"), end("a")];
        assert_eq!(found, expected);
    }

    #[test]
    fn damage_is_an_error() {
        for short in ["<a", "<a b=\"", "<!-- ", "<![CDATA[", "<?xml"] {
            assert_eq!(all(short), Err(WireError::Short), "{short}");
        }
        for bad in ["<!DOCTYPE a [<!ENTITY b \"c\">]>", "<a b>", "<a b=c>", "&b;", "a & b", "< >", "&#x110000;"] {
            assert!(matches!(all(bad), Err(WireError::Wrong(_))), "{bad}: {:?}", all(bad));
        }
    }
}
