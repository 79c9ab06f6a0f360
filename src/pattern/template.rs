//! URLs with keys in braces: `…/{time:%Y%m}/file-{n:03d}.nc`; `{{` and `}}` are literal braces.
//!
//! Nothing executes: a key is replaced by its value, formatted. Invariant: a template that [`Template::problems`] finds
//! nothing wrong with fills without error for every value of its keys.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::civil::DateTime;

use super::KeyValue;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Key { name: String, format: String, range: Range<usize> },
}

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Dates.
    Dates,
    /// Whole numbers.
    Integers,
    /// Texts.
    Texts,
    /// Nobody knows, since its definition is wrong: any format may suit.
    Unknown,
}

/// What is wrong with a template, and where in its text (bytes).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// Braces do not match, or are empty.
    #[error("{message}")]
    Syntax {
        /// Where.
        range: Range<usize>,
        /// What.
        message: String,
    },
    /// No such key.
    #[error("the template uses `{name}`, which is not a key")]
    Undefined {
        /// Where.
        range: Range<usize>,
        /// The name used.
        name: String,
    },
    /// The format does not suit the key.
    #[error("{message}")]
    Format {
        /// Where.
        range: Range<usize>,
        /// What.
        message: String,
    },
}

const DATE_FIELDS: &str = "YmdHMSjybB%";
/// Most bytes that one byte of a date format stands for: half of `September`, rounded up.
const LONGEST_FIELD: usize = 5;
/// Most bytes of a padded number.
const LONGEST_NUMBER: usize = 32;
pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateProblem::Syntax`] for unmatched or empty braces.
    pub fn parse(text: &str) -> Result<Self, TemplateProblem> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut position = 0;
        while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push_str(&rest[..1]);
                position += 2;
            } else if rest.starts_with('{') {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                let (piece, length) = key(rest, position)?;
                pieces.push(piece);
                position += length;
            } else if rest.starts_with('}') {
                return Err(syntax(position..position + 1, "this `}` closes nothing; write `}}` for a literal brace"));
            } else {
                let length = rest.find(['{', '}']).unwrap_or(rest.len());
                literal.push_str(&rest[..length]);
                position += length;
            }
        }
        pieces.push(Piece::Literal(literal));
        Ok(Self { pieces })
    }

    /// Names of the keys it uses, each as often as it does.
    pub fn uses(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Key { name, .. } => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// Everything wrong with its use of the keys that exist.
    pub fn problems(&self, kind: impl Fn(&str) -> Option<KeyKind>) -> Vec<TemplateProblem> {
        let mut problems = Vec::new();
        for piece in &self.pieces {
            let Piece::Key { name, format, range } = piece else { continue };
            match kind(name) {
                None => problems.push(TemplateProblem::Undefined { range: range.clone(), name: name.clone() }),
                Some(kind) => {
                    let problem = format_problem(name, format, kind);
                    problems.extend(problem.map(|message| TemplateProblem::Format { range: range.clone(), message }));
                }
            }
        }
        problems
    }

    /// Most bytes that a filled text has, when the longest value of a key has so many.
    #[must_use]
    pub fn longest(&self, value: impl Fn(&str) -> usize) -> usize {
        let bytes = |piece: &Piece| match piece {
            Piece::Literal(literal) => literal.len(),
            Piece::Key { name, format, .. } => value(name).max(format.len().saturating_mul(LONGEST_FIELD)).max(LONGEST_NUMBER),
        };
        self.pieces.iter().map(bytes).fold(0, usize::saturating_add)
    }

    /// The text for these values. A key without value is left out (see the module's invariant).
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v KeyValue>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Key { name, format, .. } => {
                    if let Some(value) = value(name) {
                        write_value(&mut text, value, format);
                    }
                }
            }
        }
        text
    }
}

fn syntax(range: Range<usize>, message: &str) -> TemplateProblem {
    TemplateProblem::Syntax { range, message: message.to_owned() }
}

/// The key at the start of `rest`, and the bytes it takes.
fn key(rest: &str, position: usize) -> Result<(Piece, usize), TemplateProblem> {
    let Some(length) = rest.find('}').map(|end| end + 1) else {
        return Err(syntax(position..position + 1, "this `{` is never closed; write `{{` for a literal brace"));
    };
    let range = position..position + length;
    let inside = rest.get(1..length - 1).unwrap_or_default();
    if inside.contains('{') {
        return Err(syntax(range, "braces cannot be nested"));
    }
    let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
    if name.trim().is_empty() {
        return Err(syntax(range, "a key's name is missing between the braces"));
    }
    Ok((Piece::Key { name: name.trim().to_owned(), format: format.to_owned(), range }, length))
}

fn format_problem(name: &str, format: &str, kind: KeyKind) -> Option<String> {
    match kind {
        KeyKind::Dates if format.is_empty() => Some(format!("`{name}` is a date and needs a format, such as `{{{name}:%Y%m%d}}`")),
        KeyKind::Dates => date_format_problem(format),
        KeyKind::Integers if format.is_empty() || padding(format).is_some() => None,
        KeyKind::Integers => Some(format!("`{format}` is no format for a number; write `{{{name}}}` or `{{{name}:03d}}`")),
        KeyKind::Unknown => None,
        KeyKind::Texts if format.is_empty() => None,
        KeyKind::Texts => Some(format!("`{name}` is a text and takes no format; write `{{{name}}}`")),
    }
}

fn date_format_problem(format: &str) -> Option<String> {
    let mut letters = format.chars();
    let mut fields = 0;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            continue;
        }
        let field = letters.next();
        if !field.is_some_and(|field| DATE_FIELDS.contains(field)) {
            let written = field.map_or_else(|| "%".to_owned(), |field| format!("%{field}"));
            return Some(format!("`{written}` is not a date field; there are %Y %m %d %H %M %S %j %y %b %B %%"));
        }
        fields += usize::from(field != Some('%'));
    }
    (fields == 0).then(|| format!("`{format}` holds no date field, such as %Y"))
}

/// `03d`: (width, padded with zeros); `d`: no padding.
fn padding(format: &str) -> Option<(usize, bool)> {
    let width = format.strip_suffix('d')?;
    let zero = width.starts_with('0');
    if width.is_empty() {
        return Some((0, false));
    }
    width.parse().ok().filter(|width| *width <= 32).map(|width| (width, zero))
}

fn write_value(text: &mut String, value: &KeyValue, format: &str) {
    match value {
        KeyValue::Date(date) => write_date(text, *date, format),
        KeyValue::Text(value) => text.push_str(value),
        KeyValue::Integer(number) => {
            // Writing into a String cannot fail.
            let _ = match padding(format) {
                Some((width, true)) => write!(text, "{number:0width$}"),
                Some((width, false)) => write!(text, "{number:width$}"),
                None => write!(text, "{number}"),
            };
        }
    }
}

fn write_date(text: &mut String, date: DateTime, format: &str) {
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let month = MONTHS.get(usize::from(date.month().unsigned_abs()).saturating_sub(1)).copied().unwrap_or_default();
        let _ = match letters.next() {
            Some('Y') => write!(text, "{:04}", date.year()),
            Some('m') => write!(text, "{:02}", date.month()),
            Some('d') => write!(text, "{:02}", date.day()),
            Some('H') => write!(text, "{:02}", date.hour()),
            Some('M') => write!(text, "{:02}", date.minute()),
            Some('S') => write!(text, "{:02}", date.second()),
            Some('j') => write!(text, "{:03}", date.day_of_year()),
            Some('y') => write!(text, "{:02}", date.year().rem_euclid(100)),
            Some('b') => write!(text, "{}", month.get(..3).unwrap_or(month)),
            Some('B') => write!(text, "{month}"),
            _ => write!(text, "%"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, value: &KeyValue) -> String {
        Template::parse(template).unwrap().fill(|_| Some(value))
    }

    #[test]
    fn fills_dates_numbers_and_texts() {
        let date = KeyValue::Date(DateTime::constant(1981, 9, 1, 6, 5, 4, 0));
        assert_eq!(fill("{{{t:%Y%m}}}/{t:%y-%j-%b-%B-%d}T{t:%H:%M:%S%%}", &date), "{198109}/81-244-Sep-September-01T06:05:04%");
        assert_eq!(fill("{n:03d}|{n}|{n:4d}|{n:d}", &KeyValue::Integer(7)), "007|7|   7|7");
        assert_eq!(fill("{v}.nc", &KeyValue::Text("tas".into())), "tas.nc");
    }

    #[test]
    fn no_text_is_longer_than_foretold() {
        let date = KeyValue::Date(DateTime::constant(1981, 9, 1, 6, 5, 4, 0));
        for (template, value) in [
            ("{t:%B%B}", &date),
            ("a{t:%Y-%j}{t:%%%b}", &date),
            ("{n:032d}", &KeyValue::Integer(-7)),
            ("{n}x", &KeyValue::Integer(i64::MIN)),
        ] {
            let longest = Template::parse(template).unwrap().longest(|_| value.to_string().len());
            assert!(fill(template, value).len() <= longest && longest < 100, "{template}: {longest}");
        }
        assert_eq!(Template::parse("{v}{v}").unwrap().longest(|_| usize::MAX), usize::MAX);
    }

    #[test]
    fn says_where_braces_go_wrong() {
        let range = |text: &str| match Template::parse(text) {
            Err(TemplateProblem::Syntax { range, .. }) => range,
            other => panic!("{other:?}"),
        };
        assert_eq!([range("a{b"), range("a}b"), range("é{}"), range("{a{b}}")], [1..2, 1..2, 2..4, 0..5]);
    }

    #[test]
    fn formats_must_suit_their_keys() {
        let kinds = |name: &str| match name {
            "t" => Some(KeyKind::Dates),
            "n" => Some(KeyKind::Integers),
            "v" => Some(KeyKind::Texts),
            _ => None,
        };
        let count = |text: &str| Template::parse(text).unwrap().problems(kinds).len();
        assert_eq!(count("{t:%Y}{n:02d}{n}{v}"), 0);
        assert_eq!(count("{t}{t:%Q}{t:abc}{t:%}{n:%Y}{n:99d}{v:03d}{x}"), 8);
    }
}
