//! The YAML text as a tree of nodes that know where they are.
//!
//! Wraps the event parser of serde-saphyr, the only YAML library used, and refuses what a recipe has no use for: anchors,
//! aliases, tags, several documents, deep nesting, duplicate keys. Says nothing of recipes. Invariant: the tree is at most
//! [`DEEPEST`] deep, has no more nodes than its text has bytes, and building it never recurses.

use std::collections::HashSet;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Code, Diagnostic, Span};

/// Deepest nesting of lists and mappings.
pub(super) const DEEPEST: usize = 32;
/// Longest text, in bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// After so many problems nobody reads on.
const MOST_PROBLEMS: usize = 1000;

/// One node and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was refused and reported: nobody needs to look further.
    Refused,
}

/// One key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) key: Span,
    pub(super) value: Node,
}

/// A list or mapping that is not closed yet.
struct Open {
    node: Node,
    key: Option<(String, Span)>,
    names: HashSet<String>,
}

/// Reads the text. The tree is `None` where the problems leave nothing to look at.
pub(super) fn read(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    if text.len() > LONGEST {
        let message = "the recipe is larger than 1 MiB, which is the most that is read";
        let help = "write long lists of files as a pattern with keys";
        return (None, vec![Diagnostic::error(Code::RecipeTooLarge, message).help(help)]);
    }
    let mut options = Options::default();
    options.emit_unresolved_aliases = true;
    options.disallow_directives = true;
    options.flow_nesting_limit = DEEPEST;
    options.block_nesting_limit = DEEPEST;
    let mut builder = Builder { text, open: Vec::new(), root: None, problems: Vec::new() };
    for event in Parser::new_from_str_with_options(text, options) {
        let next = match event {
            Ok((event, span)) => builder.take(event, place(&span)),
            Err(error) => {
                let fatal = builder.syntax(&error);
                builder.problems.extend(fatal);
                return (None, builder.problems);
            }
        };
        if let Err(fatal) = next {
            builder.problems.push(*fatal);
            return (None, builder.problems);
        }
        if builder.problems.len() >= MOST_PROBLEMS {
            return (None, builder.problems);
        }
    }
    (builder.root, builder.problems)
}

struct Builder<'t> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Diagnostic>,
}

fn place(span: &serde_saphyr::granit_parser::Span) -> Span {
    span.byte_range().map_or(Span::default(), |range| Span { offset: range.start, length: range.end.saturating_sub(range.start) })
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.properties(anchor, tag.is_some(), span);
                let content = Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.place(Node { span, content });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.properties(anchor, tag.is_some(), span);
                self.enter(Content::List(Vec::new()), span)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.properties(anchor, tag.is_some(), span);
                self.enter(Content::Map(Vec::new()), span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(_) => self.alias(span, true),
            Event::UnresolvedAlias(_) => self.alias(span, false),
            Event::DocumentStart(..) if self.root.is_some() => {
                let problem = Diagnostic::error(Code::SeveralDocuments, "a recipe is one YAML document, here a second one begins");
                return Err(Box::new(problem.at(span, "").help("remove the `---`, or put the second recipe in a file of its own")));
            }
            _ => {}
        }
        Ok(())
    }

    fn properties(&mut self, anchor: usize, tagged: bool, span: Span) {
        if tagged {
            let problem = Diagnostic::error(Code::YamlTag, "YAML tags are not allowed in a recipe").at(self.before(span, '!'), "");
            self.problems.push(problem.help("a recipe is plain data; remove the tag"));
        }
        if anchor != 0 {
            let problem = Diagnostic::error(Code::YamlAlias, "YAML anchors are not allowed in a recipe").at(self.before(span, '&'), "");
            self.problems.push(problem.help("write the value out wherever it is needed"));
        }
    }

    /// The tag or anchor that stands before a node.
    fn before(&self, span: Span, sign: char) -> Span {
        let at = self.text.get(..span.offset).and_then(|before| before.rfind(sign));
        let at = at.filter(|at| self.text.get(*at..span.offset).is_some_and(|between| between.len() < 80));
        let Some(last) = at else { return span };
        let offset = self.text.get(..last).map_or(last, |before| before.trim_end_matches(sign).len());
        let rest = self.text.get(offset..).unwrap_or_default();
        Span { offset, length: rest.find(|letter: char| letter.is_whitespace() || ",]}".contains(letter)).unwrap_or(rest.len()) }
    }

    fn alias(&mut self, span: Span, anchored: bool) {
        let written = self.text.get(span.offset..span.offset + span.length).unwrap_or("*").to_owned();
        let problem = if anchored {
            Diagnostic::error(Code::YamlAlias, format!("YAML aliases such as `{written}` are not allowed in a recipe"))
                .at(span, "")
                .help("write the value out wherever it is needed")
        } else {
            unquoted_star(span, &written)
        };
        self.problems.push(problem);
        self.place(Node { span, content: Content::Refused });
    }

    fn enter(&mut self, content: Content, span: Span) -> Result<(), Box<Diagnostic>> {
        if self.open.len() >= DEEPEST {
            let message = format!("lists and mappings are nested more than {DEEPEST} deep");
            let problem = Diagnostic::error(Code::NestedTooDeep, message).at(Span { length: 1, ..span }, "");
            return Err(Box::new(problem.help("look for brackets that are never closed")));
        }
        self.open.push(Open { node: Node { span, content }, key: None, names: HashSet::new() });
        Ok(())
    }

    fn close(&mut self, span: Span) {
        let Some(mut open) = self.open.pop() else { return };
        let end = span.offset.saturating_add(span.length);
        open.node.span.length = end.saturating_sub(open.node.span.offset);
        self.place(open.node);
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.node.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(entries), Some((name, key))) => {
                if !open.names.insert(name.clone()) && !name.is_empty() {
                    let message = format!("the key `{name}` is written twice");
                    self.problems.push(Diagnostic::error(Code::DuplicateKey, message).at(key, "a second time here").help("remove one"));
                } else {
                    entries.push(Entry { name, key, value: node });
                }
            }
            (Content::Map(_), None) => {
                let name = match node.content {
                    Content::Scalar { text, .. } => text,
                    Content::Refused => String::new(),
                    _ => {
                        let problem = Diagnostic::error(Code::WrongType, "a key must be a text, here it is a list or mapping");
                        self.problems.push(problem.at(node.span, "").help("braces in a text need quotes: \"{time:%Y}\""));
                        String::new()
                    }
                };
                open.key = Some((name, node.span));
            }
            _ => {}
        }
    }

    /// What a syntax error means; `None` if its cause is reported already.
    fn syntax(&self, error: &ScanError) -> Option<Diagnostic> {
        let offset = error.marker().byte_offset().unwrap_or_default();
        let here = Span { offset, length: 1 };
        if let Some(star) = self.star_near(offset) {
            let known = self.problems.iter().any(|problem| problem.code == Code::UnquotedStar);
            return (!known).then(|| unquoted_star(Span { offset: star, length: 1 }, "*"));
        }
        let reason = error.kind().to_string();
        if reason.contains("nesting") || reason.contains("recursion") {
            let message = format!("lists and mappings are nested more than {DEEPEST} deep");
            return Some(Diagnostic::error(Code::NestedTooDeep, message).at(here, "").help("look for brackets that are never closed"));
        }
        let braced = self.line_before(offset).1.contains(": {") && self.line_before(offset).1.trim_end().ends_with('}');
        let help = if braced {
            "a text that begins with `{` needs quotes: \"{time:%Y}.nc\""
        } else {
            "check indentation, brackets and quotes here and on the line before"
        };
        Some(Diagnostic::error(Code::YamlSyntax, format!("this is not YAML: {reason}")).at(here, "").help(help))
    }

    /// The line of a syntax error up to it: its offset and text.
    fn line_before(&self, offset: usize) -> (usize, &str) {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.trim_end().rfind('\n').map_or(0, |newline| newline + 1);
        (line, before.get(line..).unwrap_or_default())
    }

    /// An unquoted `*` on the line of a syntax error, at or before it.
    fn star_near(&self, offset: usize) -> Option<usize> {
        let end = self.text.len().min(offset + 2);
        let (line, _) = self.line_before(offset);
        let part = self.text.get(line..end)?;
        let star = part.find('*').filter(|&star| part.get(..star).is_some_and(|before| !before.contains(['"', '\'', '#'])))?;
        let before = part.get(..star)?.trim_end();
        (before.is_empty() || before.ends_with(['-', '[', '{', ',', ':'])).then_some(line + star)
    }
}

fn unquoted_star(span: Span, written: &str) -> Diagnostic {
    let name = written.trim_end_matches(':');
    Diagnostic::error(Code::UnquotedStar, "an unquoted `*` begins a YAML alias")
        .at(span, format!("write `\"{name}\"`"))
        .help("in YAML names and globs that begin with `*` need quotes")
}

/// A node reached by a path, and where to blame if it is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    node: Option<&'t Node>,
    key: Option<Span>,
    nearest: Span,
}

impl<'t> Place<'t> {
    /// The whole document.
    pub(super) fn root(node: &'t Node) -> Self {
        Self { node: Some(node), key: None, nearest: Span { length: 0, ..node.span } }
    }

    /// The value of a key.
    pub(super) fn get(self, name: &str) -> Self {
        let entry = match self.node.map(|node| &node.content) {
            Some(Content::Map(entries)) => entries.iter().find(|entry| entry.name == name),
            _ => None,
        };
        entry.map_or(Self { node: None, key: None, nearest: self.key() }, |entry| Self {
            node: Some(&entry.value),
            key: Some(entry.key),
            nearest: entry.key,
        })
    }

    /// An item of a list.
    pub(super) fn item(self, index: usize) -> Self {
        let item = match self.node.map(|node| &node.content) {
            Some(Content::List(items)) => items.get(index),
            _ => None,
        };
        Self { node: item, key: None, nearest: item.map_or_else(|| self.key(), |item| item.span) }
    }

    /// True if the text has it, whatever it is.
    pub(super) fn is_written(self) -> bool {
        self.node.is_some()
    }

    /// Where the value is.
    pub(super) fn span(self) -> Span {
        self.node.map_or(self.nearest, |node| node.span)
    }

    /// Where the key is; of an item, the item.
    pub(super) fn key(self) -> Span {
        self.key.unwrap_or(self.nearest)
    }

    /// The part of a text value that its bytes `range` stand for; all of it where quotes or folding hide that.
    pub(super) fn part(self, source: &str, range: &std::ops::Range<usize>) -> Span {
        let whole = self.span();
        let Some(Content::Scalar { text, .. }) = self.node.map(|node| &node.content) else { return whole };
        let written = source.get(whole.offset..whole.offset.saturating_add(whole.length)).unwrap_or_default();
        match written.find(text.as_str()) {
            Some(at) => Span { offset: whole.offset + at + range.start, length: range.len() },
            None => whole,
        }
    }
}
