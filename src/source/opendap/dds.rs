//! The DDS of DAP2: which variables there are, of what types and shapes (ESE-RFC-004.1.2 §6.1).
//!
//! Pure. Invariant: no declaration lies deeper than [`DEEPEST`], whatever the bytes are.

use super::declared::{Axis, Kind, WireError, wrong};
use super::text::{Reader, Token, name};

/// Deepest nesting of declarations.
const DEEPEST: usize = 16;

/// One declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declaration {
    pub(super) name: String,
    pub(super) form: Form,
}

/// What is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// A scalar (no axes) or an array.
    Array(Kind, Vec<Axis>),
    /// An array of a type that DAP2 does not have.
    Unknown(String),
    /// An array, and a vector for each of its axes.
    Grid(Box<Declaration>, Vec<Declaration>),
    /// Members; several times over if it has axes.
    Structure(Vec<Declaration>, Vec<Axis>),
    /// Rows of members, as many as there are.
    Sequence,
}

/// Reads a DDS.
///
/// # Errors
/// [`WireError`] where it is none.
pub(super) fn parse(document: &[u8]) -> Result<Vec<Declaration>, WireError> {
    let mut reader = Reader::new(document);
    let first = reader.word("`Dataset`")?;
    if !first.eq_ignore_ascii_case("dataset") {
        return wrong(format!("it begins with {} instead of `Dataset`", Token::Word(first).shown()));
    }
    let members = members(&mut reader, 0)?;
    // Some servers leave the name out.
    if let Token::Word(_) = reader.peek()? {
        reader.next()?;
    }
    reader.expect(b';')?;
    Ok(members)
}

/// `{ declaration … }`
fn members(reader: &mut Reader<'_>, depth: usize) -> Result<Vec<Declaration>, WireError> {
    reader.expect(b'{')?;
    let mut members = Vec::new();
    while reader.peek()? != Token::Mark(b'}') {
        members.push(declaration(reader, depth)?);
    }
    reader.expect(b'}')?;
    Ok(members)
}

fn declaration(reader: &mut Reader<'_>, depth: usize) -> Result<Declaration, WireError> {
    if depth > DEEPEST {
        return wrong(format!("declarations lie inside one another more than {DEEPEST} times"));
    }
    let kind = reader.word("a type")?;
    let form = match kind.to_ascii_lowercase().as_str() {
        "grid" => grid(reader, depth)?,
        "structure" => Form::Structure(members(reader, depth + 1)?, Vec::new()),
        "sequence" => {
            members(reader, depth + 1)?;
            Form::Sequence
        }
        _ => Kind::of_dap2(&kind).map_or(Form::Unknown(kind), |kind| Form::Array(kind, Vec::new())),
    };
    let written = reader.word("a name")?;
    let axes = axes(reader)?;
    reader.expect(b';')?;
    let form = match form {
        Form::Array(kind, _) => Form::Array(kind, axes),
        Form::Structure(members, _) => Form::Structure(members, axes),
        other => other,
    };
    Ok(Declaration { name: name(&written), form })
}

/// `{ Array: declaration Maps: declaration … }`
fn grid(reader: &mut Reader<'_>, depth: usize) -> Result<Form, WireError> {
    reader.expect(b'{')?;
    label(reader, "array")?;
    let array = declaration(reader, depth + 1)?;
    if !matches!(array.form, Form::Array(..) | Form::Unknown(_)) {
        return wrong(format!("the Grid `{}` holds no array", array.name));
    }
    // What is left of a Grid whose maps were not asked for may still call itself one.
    let mut maps = Vec::new();
    if reader.peek()? != Token::Mark(b'}') {
        label(reader, "maps")?;
        while reader.peek()? != Token::Mark(b'}') {
            maps.push(declaration(reader, depth + 1)?);
        }
    }
    reader.expect(b'}')?;
    Ok(Form::Grid(Box::new(array), maps))
}

/// `Array:` or `Maps:`, with or without a blank before the colon.
fn label(reader: &mut Reader<'_>, wanted: &str) -> Result<(), WireError> {
    let word = reader.word("`Array:` or `Maps:`")?;
    let (found, colon) = word.strip_suffix(':').map_or((word.as_str(), false), |found| (found, true));
    let colon = colon || reader.word("`:`")? == ":";
    if colon && found.eq_ignore_ascii_case(wanted) { Ok(()) } else { wrong(format!("`{wanted}:` should stand where `{found}` does")) }
}

/// `[name = length] …`, `[length] …` or nothing.
fn axes(reader: &mut Reader<'_>) -> Result<Vec<Axis>, WireError> {
    let mut axes = Vec::new();
    while reader.peek()? == Token::Mark(b'[') {
        reader.expect(b'[')?;
        let first = reader.word("a length")?;
        let (named, digits) = if reader.peek()? == Token::Mark(b'=') {
            reader.expect(b'=')?;
            (Some(name(&first)), reader.word("a length")?)
        } else {
            (None, first)
        };
        let Ok(length) = digits.parse() else { return wrong(format!("{} is no length", Token::Word(digits).shown())) };
        reader.expect(b']')?;
        axes.push(Axis { name: named, length });
    }
    Ok(axes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(name: &str, length: u64) -> Axis {
        Axis { name: Some(name.to_owned()), length }
    }

    #[test]
    fn reads_what_servers_write() {
        let text = b"Dataset {\n    Float32 SST[TIME = 12][COADSX = 180];\n  Grid {\n   ARRAY:\n  Int16 sst%20x[time = 2];\n Maps :\n  Float64 time[time = 2];\n } sst%20x;
            Structure { Byte a; } s[3]; Sequence { String b; } q; Int64 big[4]; Url u; } coads%2Enc;\n";
        let found = parse(text).unwrap();
        let names: Vec<&str> = found.iter().map(|declaration| declaration.name.as_str()).collect();
        assert_eq!(names, ["SST", "sst x", "s", "q", "big", "u"]);
        assert_eq!(found[0].form, Form::Array(Kind::Float32, vec![axis("TIME", 12), axis("COADSX", 180)]));
        let Form::Grid(array, maps) = &found[1].form else { panic!("{found:?}") };
        assert_eq!((array.name.as_str(), maps.len()), ("sst x", 1));
        assert!(
            matches!(&found[2].form, Form::Structure(members, axes) if members.len() == 1 && axes[0] == Axis { name: None, length: 3 })
        );
        assert_eq!(found[3].form, Form::Sequence);
        assert_eq!(found[4].form, Form::Unknown("Int64".to_owned()));
        assert_eq!(found[5].form, Form::Array(Kind::Text, Vec::new()));
        assert_eq!(parse(b"Dataset { };").unwrap(), []);
    }

    #[test]
    fn damage_is_an_error() {
        for short in [&b""[..], b"Dataset", b"Dataset {", b"Dataset { Byte", b"Dataset { Byte a[", b"Dataset { Byte a; } x"] {
            assert_eq!(parse(short), Err(WireError::Short), "{}", String::from_utf8_lossy(short));
        }
        for bad in [
            &b"<html>"[..],
            b"Dataset { Byte a[x = y]; } d;",
            b"Dataset { Byte a[-1]; } d;",
            b"Dataset { Byte a[99999999999999999999999]; } d;",
            b"Dataset { Grid { Array: Sequence { Byte a; } b; } c; } d;",
            b"Dataset { Grid { Maps: Byte a; } c; } d;",
            b"Dataset { \"a\" b; } d;",
        ] {
            assert!(matches!(parse(bad), Err(WireError::Wrong(_))), "{}", String::from_utf8_lossy(bad));
        }
        assert!(matches!(
            parse(&b"Dataset { ".iter().copied().chain(b"Structure { ".repeat(100_000)).collect::<Vec<u8>>()),
            Err(WireError::Wrong(_))
        ));
    }
}
