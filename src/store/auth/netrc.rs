//! `.netrc` files: `machine HOST login USER password PASSWORD`, and `default`.
//!
//! As the GNU inetutils manual and curl's documentation describe it. Not for macros: a `macdef` is skipped to the next empty
//! line. Invariant: of several entries for one host the first counts.

use super::Login;
use crate::store::access::Secret;

/// The login for a host; `default` (only where nothing before it fits) for any.
pub(super) fn find(text: &str, host: &str) -> Option<Login> {
    entries(text).into_iter().find(|entry| entry.machine.as_deref().is_none_or(|machine| machine.eq_ignore_ascii_case(host)))?.login()
}

/// All passwords of the file.
pub(super) fn passwords(text: &str) -> Vec<String> {
    entries(text).into_iter().filter_map(|entry| entry.password).collect()
}

#[derive(Default)]
struct Entry {
    /// `None`: the default.
    machine: Option<String>,
    user: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn login(self) -> Option<Login> {
        Some(Login { user: self.user?, password: Secret::new(self.password?) })
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => entries.push(Entry { machine: words.next(), ..Entry::default() }),
            "default" => entries.push(Entry::default()),
            "login" => {
                let user = words.next();
                entries.last_mut().into_iter().for_each(|entry| entry.user.clone_from(&user));
            }
            "password" => {
                let password = words.next();
                entries.last_mut().into_iter().for_each(|entry| entry.password.clone_from(&password));
            }
            "account" => drop(words.next()),
            _ => {}
        }
    }
    entries
}

/// Words outside of comments and macros; `"…"` keeps blanks, `\` the letter after it.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut skipping = false;
    for line in text.lines() {
        if skipping {
            skipping = !line.trim().is_empty();
            continue;
        }
        let of_line = words_of(line);
        let end = of_line.iter().position(|word| word == "macdef");
        skipping = end.is_some();
        words.extend(of_line.into_iter().take(end.unwrap_or(usize::MAX)));
    }
    words
}

fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let Some(first) = letters.peek().copied() else { return words };
        if first == '#' {
            return words;
        }
        let quoted = letters.next_if_eq(&'"').is_some();
        let mut word = String::new();
        while let Some(letter) = letters.next_if(|letter| if quoted { *letter != '"' } else { !letter.is_whitespace() }) {
            word.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
        }
        let _closing = letters.next_if_eq(&'"');
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_others_write() {
        let text = "# mine\nmachine a.example login me password p#1\nmacdef init\nmachine evil login x password y\n\nmachine b.example\n\tlogin \"the user\"\n\tpassword \"with \\\" quote\" account z\nmachine a.example login late password late\ndefault login anonymous password guest\n";
        let found = |host: &str| find(text, host).map(|login| (login.user, login.password.reveal().to_owned()));
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found("A.example"), pair("me", "p#1"));
        assert_eq!(found("b.example"), pair("the user", "with \" quote"));
        assert_eq!(found("evil"), pair("anonymous", "guest"));
        assert_eq!(find("machine a login u", "a"), None);
        assert_eq!(find("", "a"), None);
    }
}
