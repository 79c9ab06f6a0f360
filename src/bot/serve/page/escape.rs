//! Foreign text in HTML (T14, T19).
//!
//! Everything that was not written here goes through [`text`], in elements as in attributes. Invariant: the result holds none of
//! `& < > " '` but as references, and no character that a reader does not see or that turns the direction.

use crate::bot::render::plain;

/// One line of foreign text, at most `longest` characters.
#[must_use]
pub fn text(foreign: &str, longest: usize) -> String {
    escaped(&plain(foreign, longest))
}

/// Foreign lines, each at most `longest` characters.
#[must_use]
pub fn lines(foreign: &str, longest: usize) -> String {
    foreign.lines().map(|line| text(line, longest) + "\n").collect()
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, letter| {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
        out
    })
}
