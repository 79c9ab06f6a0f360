//! How diagnostics look: on a terminal (line, column, snippet, help), as JSON, and as a code host's annotation.
//!
//! No I/O. Invariant: no sentence is printed twice, and a line of the recipe, however long, never fills the screen.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::inert::{inert, inert_bytes, inert_lines};
use super::{Diagnostic, Severity, Span};
use crate::pattern::{holds_key, secret_parameter};
use crate::recipe::RecipeText;

/// Longest line shown whole, in bytes.
const LONGEST_LINE: usize = 400;
/// Bytes shown before and after the place in a longer one.
const WINDOW: usize = 60;

/// For people: each problem with its place in the recipe.
#[must_use]
pub fn render_terminal(diagnostics: &[Diagnostic], text: &RecipeText, colour: bool) -> String {
    let text = without_passwords(text);
    let text = &RecipeText { name: inert(&text.name), text: inert_bytes(&text.text) };
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_wrap_lines(false).with_context_lines(1);
    let mut out = String::new();
    for diagnostic in diagnostics {
        let report = Report { diagnostic, excerpt: Excerpt { text } };
        if handler.render_report(&mut out, &report).is_err() {
            out.push_str(&inert(&diagnostic.message));
        }
        out.push('\n');
    }
    let tidy: Vec<&str> = out.lines().map(str::trim_end).collect();
    tidy.join("\n").trim_end().to_owned() + if out.is_empty() { "" } else { "\n" }
}

/// The text with every `user:password@` of a URL starred out, byte for byte, so that no log repeats it.
fn without_passwords(text: &RecipeText) -> RecipeText {
    let mut shown = text.clone();
    let mut from = 0;
    while let Some(start) = shown.text.get(from..).and_then(|rest| rest.find("://")).map(|at| from + at + 3) {
        let rest = shown.text.get(start..).unwrap_or_default();
        let end = rest.find(|letter: char| letter.is_whitespace() || "/?#\"'".contains(letter)).unwrap_or(rest.len());
        let user =
            rest.get(..end).and_then(|authority| authority.rfind('@')).filter(|&at| rest.get(..at).is_some_and(|user| user.contains(':')));
        if let Some(at) = user {
            shown.text.replace_range(start..start + at, &"*".repeat(at));
        }
        let word = shown.text.get(start..).unwrap_or_default();
        let end = start + word.find(|letter: char| letter.is_whitespace() || "\"'".contains(letter)).unwrap_or(word.len());
        star_parameters(&mut shown.text, start, end);
        from = start;
    }
    while let Some(range) = holds_key(&shown.text) {
        let stars = "*".repeat(range.len());
        shown.text.replace_range(range, &stars);
    }
    shown
}

/// Stars out the values of secret parameters in the URL that these bytes hold.
fn star_parameters(text: &mut String, start: usize, end: usize) {
    let Some(query) = text.get(start..end).and_then(|url| url.find('?')).map(|at| start + at + 1) else { return };
    let mut at = query;
    let parameters: Vec<String> = text.get(query..end).unwrap_or_default().split('&').map(str::to_owned).collect();
    for parameter in parameters {
        if let (Some(_), Some(equals)) = (secret_parameter(&format!("://?{parameter}")), parameter.find('=')) {
            let (from, to) = (at + equals + 1, at + parameter.len());
            text.replace_range(from..to, &"*".repeat(to - from));
        }
        at += parameter.len() + 1;
    }
}

/// For programs: a JSON list with code, severity, message, file, line, column, byte offset and length, label and help.
#[must_use]
pub fn render_json(diagnostics: &[Diagnostic], text: &RecipeText) -> String {
    let rows: Vec<serde_json::Value> = diagnostics.iter().map(|diagnostic| row(diagnostic, text)).collect();
    serde_json::Value::from(rows).to_string()
}

fn row(diagnostic: &Diagnostic, text: &RecipeText) -> serde_json::Value {
    let place = diagnostic.label.as_ref().map(|(span, label)| (span.line_and_column(&text.text), span, label));
    serde_json::json!({
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": text.name,
        "line": place.map(|((line, _), ..)| line),
        "column": place.map(|((_, column), ..)| column),
        "offset": place.map(|(_, span, _)| span.offset),
        "length": place.map(|(_, span, _)| span.length),
        "label": place.map(|(.., label)| label.as_str()).filter(|label| !label.is_empty()),
        "help": diagnostic.help,
    })
}

/// For a code host: one workflow command per line, `::error file=…,line=…,col=…,title=…::…`, as GitHub's runners read them.
#[must_use]
pub fn render_annotation(diagnostics: &[Diagnostic], text: &RecipeText) -> String {
    diagnostics.iter().fold(String::new(), |all, diagnostic| all + &annotation(diagnostic, text) + "\n")
}

fn annotation(diagnostic: &Diagnostic, text: &RecipeText) -> String {
    let (line, column) = diagnostic.label.as_ref().map_or((1, 1), |(span, _)| span.line_and_column(&text.text));
    let command = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let file = escaped(&text.name).replace(':', "%3A").replace(',', "%2C");
    let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!("\n{help}"));
    let message = escaped(&format!("{}{help}", diagnostic.message));
    format!("::{command} file={file},line={line},col={column},title={}::{message}", diagnostic.code.name())
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A diagnostic as miette wants it.
#[derive(Debug)]
struct Report<'a> {
    diagnostic: &'a Diagnostic,
    excerpt: Excerpt<'a>,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&inert(&self.diagnostic.message))
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code.name()))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(inert_lines(help)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (span, label) = self.diagnostic.label.as_ref()?;
        let span = self.excerpt.clipped(*span);
        let said = (!label.is_empty() && *label != self.diagnostic.message).then(|| inert(label));
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(said, (span.offset, span.length)))))
    }
}

/// The recipe's text, of which only a readable part is shown.
#[derive(Debug)]
struct Excerpt<'a> {
    text: &'a RecipeText,
}

impl Excerpt<'_> {
    /// The span's first line, at most a window long: a whole mapping is not underlined.
    fn clipped(&self, span: Span) -> Span {
        let text = &self.text.text;
        let offset = floor(text, span.offset);
        let end = floor(text, span.offset.saturating_add(span.length.min(2 * WINDOW)));
        let inside = text.get(offset..end).unwrap_or_default();
        let first_line = inside.split(['\n', '\r']).next().unwrap_or_default().trim_end();
        Span { offset, length: first_line.len().max(usize::from(offset < text.len())) }
    }
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    (0..=offset).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(&'a self, span: &SourceSpan, before: usize, after: usize) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let contents = self.text.text.as_str().read_span(span, before, after)?;
        let (start, column, data) = (contents.span().offset(), contents.column(), contents.data());
        let named = |data, start: usize, length: usize, line, column| {
            let range = SourceSpan::from((start, length));
            Box::new(MietteSpanContents::new_named(self.text.name.clone(), data, range, line, column, contents.line_count()))
        };
        if data.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE) {
            return Ok(named(data, start, data.len(), contents.line(), column));
        }
        let from = if before == 0 {
            span.offset()
        } else {
            floor(&self.text.text, span.offset().saturating_sub(WINDOW).max(line_start(self, span)))
        };
        let to = floor(&self.text.text, (span.offset() + span.len() + WINDOW).min(line_end(self, span)));
        let (line, column) = Span { offset: from, length: 0 }.line_and_column(&self.text.text);
        let part = self.text.text.get(from..to).unwrap_or_default();
        Ok(named(part.as_bytes(), from, part.len(), line - 1, column - 1))
    }
}

fn line_start(excerpt: &Excerpt<'_>, span: &SourceSpan) -> usize {
    excerpt.text.text.get(..span.offset()).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

fn line_end(excerpt: &Excerpt<'_>, span: &SourceSpan) -> usize {
    let text = &excerpt.text.text;
    text.get(span.offset()..).and_then(|rest| rest.find('\n')).map_or(text.len(), |newline| span.offset() + newline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::diagnostic::Code;

    fn sample() -> (Vec<Diagnostic>, RecipeText) {
        let text = RecipeText { name: "a,b.yaml".into(), text: "schema: 1\ntitel: é x\n".into() };
        let span = Span { offset: 10, length: 5 };
        (
            vec![Diagnostic::error(Code::UnknownKey, "unknown key `titel`").at(span, "did you mean `title`?").help("100 % sure\nreally")],
            text,
        )
    }

    #[test]
    fn terminal_shows_line_column_label_and_help_once() {
        let (diagnostics, text) = sample();
        let shown = render_terminal(&diagnostics, &text, false);
        for part in ["a,b.yaml:2:1", "unknown key `titel`", "did you mean `title`?", "100 % sure", "unknown-key", "titel: é x"] {
            assert_eq!(shown.matches(part).count(), 1, "{part} in\n{shown}");
        }
        assert!(render_terminal(&diagnostics, &text, true).contains('\u{1b}'));
    }

    #[test]
    fn json_and_annotation_say_where() {
        let (diagnostics, text) = sample();
        let json: serde_json::Value = serde_json::from_str(&render_json(&diagnostics, &text)).unwrap();
        assert_eq!((&json[0]["line"], &json[0]["column"], &json[0]["code"]), (&2.into(), &1.into(), &"unknown-key".into()));
        let annotation = render_annotation(&diagnostics, &text);
        assert_eq!(annotation, "::error file=a%2Cb.yaml,line=2,col=1,title=unknown-key::unknown key `titel`%0A100 %25 sure%0Areally\n");
    }

    #[test]
    fn a_line_of_a_megabyte_is_cut() {
        let text = RecipeText { name: "r".into(), text: format!("a: 1\n{}é\n", "x".repeat(1_000_000)) };
        let diagnostic = Diagnostic::error(Code::YamlSyntax, "odd").at(Span { offset: 500_000, length: 300_000 }, "here");
        let shown = render_terminal(&[diagnostic], &text, false);
        assert!(shown.len() < 2000 && shown.contains("r:2:499996"), "{shown}");
    }

    #[test]
    fn spans_outside_the_text_do_no_harm() {
        let text = RecipeText { name: "r".into(), text: "é".into() };
        for (offset, length) in [(0, 0), (1, 1), (2, 0), (9, 9), (usize::MAX, usize::MAX)] {
            let diagnostic = Diagnostic::error(Code::YamlSyntax, "odd").at(Span { offset, length }, "");
            assert!(render_terminal(&[diagnostic], &text, false).contains("odd"));
        }
    }
}
