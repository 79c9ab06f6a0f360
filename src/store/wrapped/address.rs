//! Addresses of members: `URL!member`, once more for an archive inside an archive.
//!
//! Pure. A `!` parts archive and member only behind a name that ends like an archive's, so that files with a `!` in their names
//! stay files. Invariant: a member's name is only ever compared with names in a directory; it never becomes a path.

use super::super::address::shown;
use super::super::{ErrorKind, StoreError};
use crate::pattern::archived::ARCHIVES;

/// How names of packed files end.
const PACKED: [&str; 8] = [".gz", ".bz2", ".zst", ".tgz", ".tbz", ".tbz2", ".tzst", ".zstd"];

/// Archives that may lie in one another.
const DEEPEST: usize = 2;

/// Archive and member of an address; `None` for a file that lies in no archive.
///
/// # Errors
/// `Policy` for an archive in an archive in an archive, `Other` for a member without a name.
pub(super) fn split(url: &str) -> Result<Option<(&str, &str)>, StoreError> {
    let parting = |(place, _): &(usize, &str)| ends_like(&url[..*place], &ARCHIVES);
    let places: Vec<usize> = url.match_indices('!').filter(parting).map(|(place, _)| place).collect();
    let Some((archive, rest)) = places.last().and_then(|&place| url.split_at_checked(place)) else { return Ok(None) };
    if places.len() > DEEPEST {
        let message = "archives lie in one another more than twice; unpack the outer one and use what is in it";
        return Err(StoreError::new(ErrorKind::Policy, &named(archive), message));
    }
    let member = rest.trim_start_matches('!');
    if member.is_empty() {
        return Err(StoreError::new(ErrorKind::Other, &named(archive), "nothing follows the `!`; name the member that is meant"));
    }
    Ok(Some((archive, member)))
}

/// True if the name says that the file is packed.
pub(super) fn says_packed(url: &str) -> bool {
    ends_like(url, &PACKED)
}

/// True if the name says that the file is a zip archive.
pub(super) fn says_zip(url: &str) -> bool {
    ends_like(url, &[".zip"])
}

/// True if the name says that the file is an archive.
fn says_archive(url: &str) -> bool {
    ends_like(url, &ARCHIVES)
}

/// True if the name says that members are known only once all of it is unpacked.
pub(super) fn says_packed_archive(url: &str) -> bool {
    says_archive(url) && says_packed(url)
}

/// The address as messages show it: without secrets, and the member stays though a query is left out before it.
pub(super) fn named(url: &str) -> String {
    match split(url) {
        Ok(Some((archive, member))) => {
            let member: String = member.chars().filter(|character| !character.is_control()).collect();
            format!("{}!{member}", named(archive))
        }
        _ => shown(url),
    }
}

/// True if the path of a URL, its query and fragment left out, ends so; in any case of letters.
fn ends_like(url: &str, ends: &[&str]) -> bool {
    let path = if url.contains("://") { url.split(['?', '#']).next().unwrap_or_default() } else { url };
    // The name of a member is never cut: whatever follows the last `!` is a name, not a URL.
    let name = url.rsplit_once('!').map_or(path, |(_, member)| member);
    ends.iter().any(|end| {
        let begin = name.len().checked_sub(end.len()).filter(|begin| *begin > 0);
        begin.and_then(|begin| name.get(begin..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(&str, &str)> {
        split(url).unwrap()
    }

    #[test]
    fn parts_archives_from_members() {
        assert_eq!(parts("https://h/a.zip!d/m.nc"), Some(("https://h/a.zip", "d/m.nc")));
        assert_eq!(parts("https://h/a.ZIP?sig=1!m.nc"), Some(("https://h/a.ZIP?sig=1", "m.nc")));
        assert_eq!(parts("d/a.tar.gz!m.nc"), Some(("d/a.tar.gz", "m.nc")));
        assert_eq!(parts("a.tar!b.zip!m.nc"), Some(("a.tar!b.zip", "m.nc")));
        assert_eq!(parts("a.zip!../../etc/passwd"), Some(("a.zip", "../../etc/passwd")));
    }

    #[test]
    fn other_exclamations_are_part_of_names() {
        for url in ["ah!.nc", "wow!/m.nc", "a.zip", "https://h/a.zip", "!a.nc", ".zip!m.nc"] {
            assert_eq!(parts(url), None, "{url}");
        }
        assert_eq!(parts("a.zip!what!.nc"), Some(("a.zip", "what!.nc")));
    }

    #[test]
    fn refuses_what_lies_too_deep_or_has_no_name() {
        assert_eq!(split("a.zip!b.zip!c.zip!m.nc").unwrap_err().kind, ErrorKind::Policy);
        assert_eq!(split("a.zip!").unwrap_err().kind, ErrorKind::Other);
    }

    #[test]
    fn shows_members_and_no_secrets() {
        assert_eq!(named("https://h/a.zip?sig=hush!m.nc"), "https://h/a.zip!m.nc");
        assert!(says_packed("https://h/a.nc.gz?x") && says_packed_archive("a.tgz") && !says_packed("a.zip"));
        assert!(says_packed("a.zip!b.nc.GZ") && !says_packed("a.tar.gz!b.nc") && !says_archive("a.tar.gz!b.nc"));
    }
}
