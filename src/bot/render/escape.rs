//! Foreign text in Markdown of code hosts (T14): shown inside code spans and code blocks only.
//!
//! There `CommonMark` interprets nothing, and code hosts turn neither mentions nor references nor addresses into links. What could end
//! a span, a block or a cell of a table is replaced by a look-alike. Invariant: the result holds no backtick, no bar and no control
//! character of the foreign text, and a span is one line.

use crate::recipe::diagnostic::inert;

/// Foreign text as a code span, at most `longest` characters of it.
#[must_use]
pub fn span(text: &str, longest: usize) -> String {
    let shown = plain(text, longest);
    let shown = shown.trim();
    if shown.is_empty() { "`?`".to_owned() } else { format!("`{shown}`") }
}

/// Foreign lines as a code block, at most `longest` characters of each.
#[must_use]
pub fn block<'a>(lines: impl IntoIterator<Item = &'a str>, longest: usize) -> String {
    let shown: Vec<String> = lines.into_iter().map(|line| plain(line, longest)).collect();
    format!("```text\n{}\n```\n", shown.join("\n"))
}

/// Foreign text as one line without anything that a code span, a table or a terminal would obey.
#[must_use]
pub fn plain(text: &str, longest: usize) -> String {
    let mut shown: String = inert(text).chars().take(longest).map(tamed).collect();
    if text.chars().nth(longest).is_some() {
        shown.push('…');
    }
    shown
}

fn tamed(letter: char) -> char {
    match letter {
        '`' => '\u{2cb}',
        '|' => '\u{a6}',
        // Characters that are not seen or turn the direction, besides those that `inert` hides (Unicode TR36, UAX 9).
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180e}'
        | '\u{3164}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => '\u{fffd}',
        other => other,
    }
}
