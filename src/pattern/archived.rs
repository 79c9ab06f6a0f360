//! Addresses of archives' members, as text: `ARCHIVE!MEMBER`.
//!
//! Not for looking into archives. Invariant: a `!` parts archive and member only behind a name that ends like an archive's, so that
//! files with a `!` in their names stay files.

/// How names of archives end.
pub const ARCHIVES: [&str; 9] = [".zip", ".tar", ".tgz", ".tar.gz", ".tbz", ".tbz2", ".tar.bz2", ".tzst", ".tar.zst"];

/// Archive and member of an address or a pattern, parted at the first `!` behind an archive's name; `None` if it names no member.
#[must_use]
pub fn parted(text: &str) -> Option<(&str, &str)> {
    let behind = |place: &usize| text.get(..*place).is_some_and(is_archive);
    let place = text.match_indices('!').map(|(place, _)| place).find(behind)?;
    Some((text.get(..place)?, text.get(place.saturating_add(1)..)?))
}

/// True if a path ends like an archive's, in any case of letters.
#[must_use]
pub fn is_archive(path: &str) -> bool {
    ARCHIVES.iter().any(|end| {
        let begin = path.len().checked_sub(end.len()).filter(|begin| *begin > 0);
        begin.and_then(|begin| path.get(begin..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_follows_an_archive() {
        for (text, expected) in [
            ("https://h/*.zip!d/*.nc", Some(("https://h/*.zip", "d/*.nc"))),
            ("a[!b].ZIP!*.nc", Some(("a[!b].ZIP", "*.nc"))),
            ("a.tar.gz!b.zip!c", Some(("a.tar.gz", "b.zip!c"))),
            ("a.zip!", Some(("a.zip", ""))),
            ("wow!/*.nc", None),
            ("*.zip", None),
            ("!a", None),
        ] {
            assert_eq!(parted(text), expected, "{text}");
        }
    }
}
