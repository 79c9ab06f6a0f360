//! Foreign text made harmless where people and runners of workflows read it: names, attributes, messages of servers, recipes.
//!
//! Not for JSON, which escapes what it must. Invariant: what comes out moves no cursor, turns no writing direction, begins no line
//! of its own and no workflow command.

/// Most characters of a line: no sentence is longer, but a name in it may be.
const LONGEST: usize = 2000;
/// What stands for a character that is not shown.
const HIDDEN: char = '\u{fffd}';

/// One line of text: line breaks become blanks, other control characters and those that turn the writing direction are hidden, and a
/// `::` at its start is broken, which a code host's runner would take for a command.
#[must_use]
pub fn inert(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).map(shown).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    match shown.trim_start().strip_prefix("::") {
        Some(rest) => format!("{HIDDEN}:{rest}"),
        None => shown,
    }
}

fn shown(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        hidden if hides(hidden) => HIDDEN,
        other => other,
    }
}

/// Several lines, each made harmless for itself.
#[must_use]
pub(super) fn inert_lines(text: &str) -> String {
    text.split('\n').map(inert).collect::<Vec<_>>().join("\n")
}

/// A text in which nothing that hides is left, every byte at its place: for excerpts, whose places are counted in bytes.
#[must_use]
pub(super) fn inert_bytes(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\r' => shown.push(' '),
            _ if hides(character) => (0..character.len_utf8()).for_each(|_| shown.push('?')),
            _ => shown.push(character),
        }
    }
    shown
}

/// Control characters, and those that turn the direction or hide others (Unicode TR36).
fn hides(character: char) -> bool {
    character.is_control() || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_obey() {
        assert_eq!(inert("a\u{1b}]0;x\u{7}\u{202e}b\nc"), "a\u{fffd}]0;x\u{fffd}\u{fffd}b c");
        assert_eq!(inert(" ::add-mask::x"), "\u{fffd}:add-mask::x");
        assert_eq!(inert_lines("a::b\n  ::error::x"), "a::b\n\u{fffd}:error::x");
        assert_eq!(inert("größer als 60 %"), "größer als 60 %");
        let bytes = inert_bytes("a\u{9b}\u{202e}\r\n\té");
        assert_eq!((bytes.as_str(), bytes.len()), ("a????? \n\té", "a\u{9b}\u{202e}\r\n\té".len()));
    }
}
