//! Names and globs in steps: `time_bnds`, `*_bnds`, `qc_?`.
//!
//! Invariant: a name without `*` and `?` matches itself only.

/// True if the name matches: `*` stands for any text, `?` for any one character.
#[must_use]
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&wanted) if wanted == '?' || Some(&wanted) == name.get(seen) => {
                at += 1;
                seen += 1;
            }
            // Let the last star swallow one more character.
            _ => match star {
                Some((star_at, swallowed)) => {
                    at = star_at + 1;
                    seen = swallowed + 1;
                    star = Some((star_at, seen));
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|&c| c == '*'))
}

/// True if it holds `*` or `?`.
#[must_use]
pub(super) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, expected) in [
            ("time", "time", true),
            ("time", "times", false),
            ("*_bnds", "time_bnds", true),
            ("*_bnds", "time_bnds_2", false),
            ("a*b*c", "aXbYbZc", true),
            ("?", "é", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
