//! The words, marks and quoted texts of DDS and DAS.
//!
//! Pure; bytes that are no UTF-8 are Latin-1. Invariant: every call but the one at the end takes at least one byte, and none looks back.

use super::declared::WireError;
use crate::array::text_from_bytes;

/// What stands next in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A run of other characters.
    Word(String),
    /// A quoted text, its escapes undone.
    Quoted(String),
    /// `{ } [ ] ; = ,`
    Mark(u8),
    /// Nothing.
    End,
}

/// Reads a document from its start to its end.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn here(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over blanks and `#` comments.
    fn skip_blanks(&mut self) {
        loop {
            let blanks = self.here().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.at += blanks;
            if self.here().first() != Some(&b'#') {
                return;
            }
            self.at += self.here().iter().take_while(|&&byte| byte != b'\n').count();
        }
    }

    /// The next token, taken.
    ///
    /// # Errors
    /// [`WireError::Short`] for a quoted text without end.
    pub(super) fn next(&mut self) -> Result<Token, WireError> {
        self.skip_blanks();
        let Some(&first) = self.here().first() else { return Ok(Token::End) };
        if first == b'"' {
            self.at += 1;
            return self.quoted().map(Token::Quoted);
        }
        if is_mark(first) {
            self.at += 1;
            return Ok(Token::Mark(first));
        }
        let length = self.here().iter().take_while(|&&byte| !byte.is_ascii_whitespace() && !is_mark(byte) && byte != b'"').count();
        let word = self.here().get(..length).unwrap_or_default();
        self.at += length;
        Ok(Token::Word(text_from_bytes(word)))
    }

    /// The next token, left where it is.
    pub(super) fn peek(&self) -> Result<Token, WireError> {
        self.clone().next()
    }

    /// Takes a mark that must come.
    pub(super) fn expect(&mut self, mark: u8) -> Result<(), WireError> {
        match self.next()? {
            Token::Mark(found) if found == mark => Ok(()),
            Token::End => Err(WireError::Short),
            other => Err(WireError::Wrong(format!("`{}` should stand where {} does", char::from(mark), other.shown()))),
        }
    }

    /// Takes a word that must come.
    pub(super) fn word(&mut self, what: &str) -> Result<String, WireError> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            Token::End => Err(WireError::Short),
            other => Err(WireError::Wrong(format!("{what} should stand where {} does", other.shown()))),
        }
    }

    /// The rest of a quoted text. `\"` and `\\` are what DAP2 writes (§ "quoted strings"); libdap adds `\ooo`, Python's servers `\'` and `\n`.
    fn quoted(&mut self) -> Result<String, WireError> {
        let mut text = Vec::new();
        loop {
            let byte = *self.here().first().ok_or(WireError::Short)?;
            self.at += 1;
            match byte {
                b'"' => return Ok(text_from_bytes(&text)),
                b'\\' => self.escaped(&mut text)?,
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self, text: &mut Vec<u8>) -> Result<(), WireError> {
        let octal = self.here().get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        if let Some(digits) = octal {
            let value = digits.iter().fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
            if let Ok(byte) = u8::try_from(value) {
                text.push(byte);
                self.at += 3;
                return Ok(());
            }
        }
        let byte = *self.here().first().ok_or(WireError::Short)?;
        self.at += 1;
        text.push(match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            other => other,
        });
        Ok(())
    }

    /// Passes over a value whose quotes are not escaped: to behind the next `;` that ends a line.
    pub(super) fn skip_line_end(&mut self) -> Result<(), WireError> {
        loop {
            let to = self.here().iter().position(|&byte| byte == b';').ok_or(WireError::Short)?;
            self.at += to + 1;
            let rest = self.here();
            let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            if matches!(rest.get(blanks), None | Some(b'\n' | b'}')) {
                return Ok(());
            }
        }
    }
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b';' | b'=' | b',')
}

impl Token {
    /// As messages show it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Quoted(text) => {
                let clean: String = text.chars().filter(|character| !character.is_control() && *character != '`').take(60).collect();
                format!("`{clean}`")
            }
            Self::Mark(mark) => format!("`{}`", char::from(*mark)),
            Self::End => "the end".to_owned(),
        }
    }
}

/// A name as people know it: DAP2 writes characters that its grammar has other uses for as `%` and two digits.
pub(super) fn name(written: &str) -> String {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).filter(|_| first == b'%');
        if let Some(byte) = pair.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    text_from_bytes(&bytes)
}

/// A name or path as the query of a URL writes it.
pub(super) fn in_query(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b'/');
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_marks_and_quotes() {
        let mut reader = Reader::new(br#"String x "a \"b\" \\ \'c\' \012\n",  1e3 ; # note"#);
        let mut tokens = Vec::new();
        loop {
            match reader.next().unwrap() {
                Token::End => break,
                token => tokens.push(token),
            }
        }
        let word = |text: &str| Token::Word(text.to_owned());
        let text = Token::Quoted("a \"b\" \\ 'c' \n\n".to_owned());
        assert_eq!(tokens, [word("String"), word("x"), text, Token::Mark(b','), word("1e3"), Token::Mark(b';')]);
        assert_eq!(Reader::new(b"\"cut").next(), Err(WireError::Short));
        assert_eq!(Reader::new(b"\"cut\\").next(), Err(WireError::Short));
        assert_eq!(Reader::new(b"\"\\777\"").next(), Ok(Token::Quoted("777".to_owned())));
        assert_eq!(Reader::new(b"\"\xb0C\"").next(), Ok(Token::Quoted("°C".to_owned())));
    }

    #[test]
    fn names_lose_and_get_their_escapes() {
        assert_eq!([name("coads%2Enc"), name("a%"), name("%zz"), name("%C3%A4")], ["coads.nc", "a%", "%zz", "ä"].map(str::to_owned));
        assert_eq!(in_query("a b%[ä]"), "a%20b%25%5B%C3%A4%5D");
    }
}
