//! The DAS of DAP2: attributes of variables and of the whole (ESE-RFC-004.1.2 §6.2).
//!
//! Pure; which attributes belong to which variable is `describe`'s. Invariant: an attribute that cannot be read for certain is an error of its
//! own, and never another one's value.

use super::declared::{Kind, WireError, wrong};
use super::text::{Reader, Token, name};
use crate::array::{DataType, Scalar};
use crate::dataset::Attribute;

/// Deepest nesting of containers.
const DEEPEST: usize = 16;

/// Named attributes and containers, in order.
pub(super) type Container = Vec<(String, Entry)>;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    /// Attributes of something.
    Container(Container),
    /// A value, or why it cannot be read.
    Value(Result<Attribute, String>),
}

/// Reads a DAS.
///
/// # Errors
/// [`WireError`] where it is none.
pub(super) fn parse(document: &[u8]) -> Result<Container, WireError> {
    let mut reader = Reader::new(document);
    let first = reader.word("`Attributes`")?;
    if !first.eq_ignore_ascii_case("attributes") {
        return wrong(format!("it begins with {} instead of `Attributes`", Token::Word(first).shown()));
    }
    container(&mut reader, 0)
}

fn container(reader: &mut Reader<'_>, depth: usize) -> Result<Container, WireError> {
    if depth > DEEPEST {
        return wrong(format!("containers lie inside one another more than {DEEPEST} times"));
    }
    reader.expect(b'{')?;
    let mut entries = Vec::new();
    loop {
        match reader.next()? {
            Token::Mark(b'}') => return Ok(entries),
            // An empty statement, or the semicolon that some write behind a container.
            Token::Mark(b';') => {}
            Token::Word(word) => entries.extend(entry(reader, &word, depth)?),
            Token::Quoted(written) if reader.peek()? == Token::Mark(b'{') => {
                entries.push((name(&written), Entry::Container(container(reader, depth + 1)?)));
            }
            Token::End => return Err(WireError::Short),
            other => return wrong(format!("a type or a name should stand where {} does", other.shown())),
        }
    }
}

/// What begins with a word: a container's name, or an attribute's type.
fn entry(reader: &mut Reader<'_>, word: &str, depth: usize) -> Result<Option<(String, Entry)>, WireError> {
    if reader.peek()? == Token::Mark(b'{') {
        return Ok(Some((name(word), Entry::Container(container(reader, depth + 1)?))));
    }
    if word.eq_ignore_ascii_case("alias") {
        reader.skip_line_end()?;
        return Ok(None);
    }
    let written = match reader.next()? {
        Token::Word(written) | Token::Quoted(written) => written,
        Token::End => return Err(WireError::Short),
        other @ Token::Mark(_) => return wrong(format!("the name of an attribute should stand where {} does", other.shown())),
    };
    let value = match values(reader)? {
        Some(values) => value(word, values),
        None => Err("its quotes are not escaped, so its end cannot be told for certain; tell the server's maintainers".to_owned()),
    };
    Ok(Some((name(&written), Entry::Value(value))))
}

/// Values up to the semicolon; `None` if something stands between them that is none.
fn values(reader: &mut Reader<'_>) -> Result<Option<Vec<Token>>, WireError> {
    let mut values = Vec::new();
    loop {
        match reader.next()? {
            Token::Mark(b';') => return Ok(Some(values)),
            Token::End => return Err(WireError::Short),
            token @ (Token::Word(_) | Token::Quoted(_)) => values.push(token),
            Token::Mark(_) => {
                reader.skip_line_end()?;
                return Ok(None);
            }
        }
        match reader.peek()? {
            Token::Mark(b',') => drop(reader.next()?),
            Token::Mark(b';') => {}
            Token::End => return Err(WireError::Short),
            _ => {
                reader.skip_line_end()?;
                return Ok(None);
            }
        }
    }
}

fn value(kind: &str, tokens: Vec<Token>) -> Result<Attribute, String> {
    let texts: Vec<String> = tokens
        .into_iter()
        .filter_map(|token| match token {
            Token::Word(text) | Token::Quoted(text) => Some(text),
            Token::Mark(_) | Token::End => None,
        })
        .collect();
    match Kind::of_dap4(kind) {
        Some(Kind::Text) => Ok(texts_attribute(texts)),
        Some(kind) => numbers(kind, &texts),
        None => {
            Err(format!("its type `{}` is unknown", kind.chars().filter(|character| !character.is_control()).take(40).collect::<String>()))
        }
    }
}

/// One text or several.
pub(super) fn texts_attribute(mut texts: Vec<String>) -> Attribute {
    match texts.len() {
        0 => Attribute::Text(String::new()),
        1 => Attribute::Text(texts.remove(0)),
        _ => Attribute::Texts(texts),
    }
}

/// Numbers as servers write them.
pub(super) fn numbers(kind: Kind, texts: &[String]) -> Result<Attribute, String> {
    let number =
        |text: &String| scalar(kind, text.trim()).ok_or_else(|| format!("{} is no {}", Token::Word(text.clone()).shown(), kind.dtype()));
    let numbers: Vec<Scalar> = texts.iter().map(number).collect::<Result<_, _>>()?;
    if numbers.is_empty() { Err("it has no value".to_owned()) } else { Ok(Attribute::Numbers(numbers)) }
}

/// Servers write bytes signed or not; both are the same eight bits.
fn scalar(kind: Kind, text: &str) -> Option<Scalar> {
    let dtype = kind.dtype();
    if kind == Kind::Byte && text.starts_with('-') {
        return text.parse::<i8>().ok().map(|number| Scalar::UInt8(number.cast_unsigned()));
    }
    let lower = text.to_ascii_lowercase();
    let written = match lower.trim_start_matches(['+', '-']) {
        word if dtype.is_float() && word.starts_with("nan") => "NaN",
        "infinity" | "1.#inf" if lower.starts_with('-') => "-inf",
        "infinity" | "1.#inf" => "inf",
        _ if matches!(dtype, DataType::Char | DataType::String) => return None,
        _ => lower.trim_start_matches('+'),
    };
    format!("{}:{written}", dtype.name()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(entries: &'a Container, path: &[&str]) -> Option<&'a Entry> {
        let (first, rest) = path.split_first()?;
        let found = entries.iter().find(|(name, _)| name == first).map(|(_, entry)| entry)?;
        match found {
            Entry::Container(inner) if !rest.is_empty() => get(inner, rest),
            other => Some(other),
        }
    }

    fn attribute(entries: &Container, path: &[&str]) -> Result<Attribute, String> {
        match get(entries, path) {
            Some(Entry::Value(value)) => value.clone(),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn reads_what_servers_write() {
        let text = br#"Attributes {
    NC_GLOBAL { String title "a \"quoted\" title; really"; String parts "a", "b"; String empty ""; }
    SST {
        Float32 _FillValue -9.999999790214768e+33;
        Float64 bounds -1.5, NaN, Infinity, 1E3;
        Int16 flags 0, -1, 2; Byte unsigned 255; Byte signed -1; UInt32 large 4294967295;
        String "my attribute" "x"; Alias other SST._FillValue;
        deeper { Int32 a 1; };
    }
    String history "one
two";
}"#;
        let found = parse(text).unwrap();
        let of = |path: &[&str]| attribute(&found, path).unwrap();
        assert_eq!(of(&["NC_GLOBAL", "title"]), Attribute::Text("a \"quoted\" title; really".to_owned()));
        assert_eq!(of(&["NC_GLOBAL", "parts"]), Attribute::Texts(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of(&["NC_GLOBAL", "empty"]), Attribute::Text(String::new()));
        assert_eq!(of(&["SST", "_FillValue"]).number(), Some(Scalar::Float32(-1e34)));
        assert_eq!(of(&["SST", "bounds"]).plain(), "[-1.5, NaN, inf, 1000]");
        assert_eq!(of(&["SST", "flags"]), Attribute::Numbers([0, -1, 2].map(Scalar::Int16).to_vec()));
        assert_eq!(
            [of(&["SST", "unsigned"]), of(&["SST", "signed"])],
            [const { Scalar::UInt8(255) }; 2].map(|number| Attribute::Numbers(vec![number]))
        );
        assert_eq!(of(&["SST", "large"]).number(), Some(Scalar::UInt32(u32::MAX)));
        assert_eq!(of(&["SST", "my attribute"]).text(), Some("x"));
        assert_eq!(of(&["SST", "deeper", "a"]).number(), Some(Scalar::Int32(1)));
        assert_eq!(of(&["history"]).text(), Some("one\ntwo"));
        assert!(get(&found, &["SST", "other"]).is_none());
    }

    #[test]
    fn what_cannot_be_read_for_certain_is_refused_alone() {
        let text = b"Attributes {\n a {\n String note \"provided \"as is\" without; any\";\n Int16 n x;\n Int99 m 1;\n Int16 none ;\n Int16 fine 7;\n }\n}";
        let found = parse(text).unwrap();
        for name in ["note", "n", "m", "none"] {
            assert!(attribute(&found, &["a", name]).is_err(), "{name}");
        }
        assert_eq!(attribute(&found, &["a", "fine"]).unwrap().number(), Some(Scalar::Int16(7)));
    }

    #[test]
    fn damage_is_an_error() {
        for short in
            [&b""[..], b"Attributes", b"Attributes {", b"Attributes { a {", b"Attributes { String x \"y", b"Attributes { String x \"y\""]
        {
            assert_eq!(parse(short), Err(WireError::Short), "{}", String::from_utf8_lossy(short));
        }
        for bad in [&b"<html>"[..], b"Attributes { ] }", b"Attributes { String ; }"] {
            assert!(matches!(parse(bad), Err(WireError::Wrong(_))), "{}", String::from_utf8_lossy(bad));
        }
        let deep: Vec<u8> = b"Attributes { ".iter().copied().chain(b"a { ".repeat(100_000)).collect();
        assert!(matches!(parse(&deep), Err(WireError::Wrong(_))));
    }
}
