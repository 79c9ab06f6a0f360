//! Globs over paths: `*`, `?`, `[0-9]`, `[!a]`, `{a,b}` inside a name, `**` for any number of folders.
//!
//! Names that begin with a dot are matched only by a part that begins with one. Walked name by name, so that a folder is entered
//! only if something below it can match. Invariant: matching takes time linear in the name, whatever the pattern.

use regex::{Regex, RegexBuilder};

/// Most parts of a pattern, and most bytes of it.
const LONGEST: usize = 4096;
/// Bytes that a part may take when compiled.
const LARGEST: usize = 1 << 20;

/// A pattern of paths, part by part.
#[derive(Debug, Clone)]
pub struct Glob {
    parts: Vec<Part>,
}

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAGlob(String);

#[derive(Debug, Clone)]
enum Part {
    /// Any number of folders.
    Any,
    /// One name.
    Name { name: Regex, dotted: bool },
}

/// How far names have led into a pattern: the parts that may come next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way(Vec<usize>);

/// True if a name holds a sign that makes it a pattern.
#[must_use]
pub fn is_wild(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

impl std::str::FromStr for Glob {
    type Err = NotAGlob;

    fn from_str(text: &str) -> Result<Self, NotAGlob> {
        if text.len() > LONGEST {
            return Err(NotAGlob(format!("the pattern has {} bytes; {LONGEST} are possible", text.len())));
        }
        let mut parts: Vec<Part> = Vec::new();
        for part in text.split('/').filter(|part| !part.is_empty()) {
            match part {
                "**" if matches!(parts.last(), Some(Part::Any)) => {}
                "**" => parts.push(Part::Any),
                ".." => return Err(NotAGlob("`..` cannot follow a wildcard".to_owned())),
                name => parts.push(Part::Name { name: compiled(name)?, dotted: name.starts_with('.') }),
            }
        }
        if let Some(Part::Any) = parts.last() {
            parts.push(Part::Name { name: compiled("*")?, dotted: false });
        }
        if parts.is_empty() { Err(NotAGlob("the pattern is empty".to_owned())) } else { Ok(Self { parts }) }
    }
}

impl Glob {
    /// The way before the first name.
    #[must_use]
    pub fn start(&self) -> Way {
        self.closed(vec![0])
    }

    /// The way after one more name.
    #[must_use]
    pub fn after(&self, way: &Way, name: &str) -> Way {
        let mut next = Vec::new();
        for &at in &way.0 {
            match self.parts.get(at) {
                Some(Part::Any) if !name.starts_with('.') => next.push(at),
                Some(Part::Name { name: pattern, dotted }) if (*dotted || !name.starts_with('.')) && pattern.is_match(name) => {
                    next.push(at + 1);
                }
                _ => {}
            }
        }
        self.closed(next)
    }

    /// True if a file at the end of the way matches.
    #[must_use]
    pub fn ends(&self, way: &Way) -> bool {
        way.0.contains(&self.parts.len())
    }

    /// True if something below a folder at the end of the way may match.
    #[must_use]
    pub fn leads_on(&self, way: &Way) -> bool {
        way.0.iter().any(|at| *at < self.parts.len())
    }

    /// True if a whole path matches; a pattern of one name matches the last name of any path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path = if let [Part::Name { .. }] = self.parts.as_slice() { path.rsplit('/').next().unwrap_or(path) } else { path };
        let names = path.split('/').filter(|name| !name.is_empty());
        self.ends(&names.fold(self.start(), |way, name| self.after(&way, name)))
    }

    /// Any number of folders may be none.
    fn closed(&self, mut at: Vec<usize>) -> Way {
        let past: Vec<usize> = at.iter().filter(|at| matches!(self.parts.get(**at), Some(Part::Any))).map(|at| at + 1).collect();
        at.extend(past);
        at.sort_unstable();
        at.dedup();
        Way(at)
    }
}

/// One part as an expression.
fn compiled(part: &str) -> Result<Regex, NotAGlob> {
    let mut letters = part.chars().peekable();
    let (mut text, mut inside) = (String::from(r"\A(?s:"), false);
    while let Some(letter) = letters.next() {
        match letter {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '{' if !inside => {
                inside = true;
                text.push_str("(?:");
            }
            '{' => return Err(NotAGlob("braces cannot be nested".to_owned())),
            '}' if inside => {
                inside = false;
                text.push(')');
            }
            ',' if inside => text.push('|'),
            '[' => text.push_str(&class(&mut letters)?),
            letter => text.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4]))),
        }
    }
    if inside {
        return Err(NotAGlob("a `{` is never closed".to_owned()));
    }
    text.push_str(r")\z");
    RegexBuilder::new(&text)
        .size_limit(LARGEST)
        .build()
        .map_err(|_| NotAGlob(format!("`{part}` is too long, or holds a range that is none")))
}

/// `[abc]`, `[a-c]` or `[!abc]`, after its bracket.
fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, NotAGlob> {
    let mut text = String::from("[");
    if letters.next_if(|letter| matches!(letter, '!' | '^')).is_some() {
        text.push('^');
    }
    let empty = text.len();
    for letter in letters {
        match letter {
            ']' if text.len() > empty => return Ok(text + "]"),
            '-' => text.push('-'),
            letter if letter.is_alphanumeric() => text.push(letter),
            letter if letter.is_ascii() => text.extend(['\\', letter]),
            letter => text.push(letter),
        }
    }
    Err(NotAGlob("a `[` is never closed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<Glob>().unwrap().matches(path)
    }

    #[test]
    fn names_and_folders() {
        for (pattern, path, expected) in [
            ("*.nc", "a.nc", true),
            ("*.nc", "b/a.nc", true),
            ("*.nc", "a.nc4", false),
            ("b/*.nc", "b/a.nc", true),
            ("b/*.nc", "b/c/a.nc", false),
            ("**/*.nc", "b/c/a.nc", true),
            ("**/*.nc", "a.nc", true),
            ("b/**", "b/c/a.nc", true),
            ("b/**/c/*.nc", "b/c/a.nc", true),
            ("b/**/c/*.nc", "b/x/y/c/a.nc", true),
            ("b/**/c/*.nc", "b/x/y/a.nc", false),
            ("{1981,1982}*/x.nc", "198209/x.nc", true),
            ("{1981,1982}*/x.nc", "198309/x.nc", false),
            ("a[0-9][!x].nc", "a7y.nc", true),
            ("a[0-9][!x].nc", "a7x.nc", false),
            ("a?.nc", "aé.nc", true),
            ("a.nc", "abnc", false),
            ("a+(b).nc", "a+(b).nc", true),
            ("*/*", "b/.hidden", false),
            ("*/.h*", "b/.hidden", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_folder_is_entered_only_where_something_may_match() {
        let glob: Glob = "20*/{01,02}/*.nc".parse().unwrap();
        let leads = |names: &[&str]| {
            let way = names.iter().fold(glob.start(), |way, name| glob.after(&way, name));
            (glob.leads_on(&way), glob.ends(&way))
        };
        assert_eq!([leads(&["2001"]), leads(&["1999"]), leads(&["2001", "03"])], [(true, false), (false, false), (false, false)]);
        assert_eq!(leads(&["2001", "02", "a.nc"]), (false, true));
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for bad in ["", "/", "a{b", "a{b{c}}", "a[b", "a[]", "*/../b", "[z-a]"] {
            assert!(bad.parse::<Glob>().is_err(), "{bad}");
        }
        assert!("*?".repeat(3000).parse::<Glob>().is_err());
        // Linear, where backtracking would take forever.
        assert!(!matches(&format!("{}b", "*a".repeat(200)), &"a".repeat(4000)));
    }
}
