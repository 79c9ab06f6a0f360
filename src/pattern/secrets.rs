//! Addresses without the passwords that some servers take as part of them: `?token=…`, `https://user:password@host`.
//!
//! Plans and reports are kept and shared, so they hold addresses in this form only. Invariant: what is not a secret stays as it
//! is, since a query may also say *which* file is meant.

use super::archived::is_archive;

/// Parts of a parameter's name that tell of a secret.
const TELLING: [&str; 8] = ["token", "secret", "passw", "signature", "credential", "apikey", "accesskey", "auth"];
/// Names that are secrets when they stand alone.
const WHOLE: [&str; 6] = ["sig", "key", "pw", "pwd", "jwt", "hmac"];

/// Letters of an access key id.
const KEY_ID: usize = 20;
/// From this length on a value is no name any more.
const LONG: usize = 20;

/// The address without a user before its host, and with the value of every parameter that looks like a secret replaced by `***`.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let url = &without_user(url);
    let Some((path, query)) = url.split_once('?').filter(|_| url.contains("://")) else { return url.to_owned() };
    // What follows a `!` is no part of the query, but says which member of the archive is meant.
    let (query, member) = query.split_once('!').filter(|_| is_archive(path)).map_or((query, None), |(query, member)| (query, Some(member)));
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, fragment)| (query, Some(fragment)));
    let parameters: Vec<String> = query.split('&').map(hidden).collect();
    let fragment = fragment.map_or(String::new(), |fragment| format!("#{fragment}"));
    let member = member.map_or(String::new(), |member| format!("!{member}"));
    format!("{path}?{}{fragment}{member}", parameters.join("&"))
}

/// Name of the parameter by which a URL holds a secret. What a pattern puts there is none, nor is a short `key`, which may say
/// which file is meant.
#[must_use]
pub fn secret_parameter(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?').filter(|_| url.contains("://"))?;
    let query = query.split('#').next().unwrap_or_default();
    query.split('&').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let told = is_secret(name) && !value.is_empty() && !value.starts_with('{');
        (told && (value.len() >= LONG || !name.eq_ignore_ascii_case("key"))).then_some(name)
    })
}

/// Where a text holds an access key id of Amazon's: `AKIA` or `ASIA` and 16 capitals or digits (IAM User Guide, "Unique identifiers").
#[must_use]
pub fn holds_key(text: &str) -> Option<std::ops::Range<usize>> {
    let inside = |letter: &u8| letter.is_ascii_uppercase() || letter.is_ascii_digit();
    ["AKIA", "ASIA"].into_iter().flat_map(|prefix| text.match_indices(prefix)).find_map(|(start, _)| {
        let length = text.as_bytes().get(start..)?.iter().take_while(|letter| inside(letter)).count();
        let free = start.checked_sub(1).and_then(|before| text.as_bytes().get(before)).is_none_or(|before| !before.is_ascii_alphanumeric());
        (free && length == KEY_ID).then_some(start..start + length)
    })
}

/// Schemes of Azure's buckets, and where its accounts are.
const AZURE: [&str; 3] = ["az", "abfs", "abfss"];
const AZURE_HOSTS: [&str; 2] = [".blob.core.windows.net", ".dfs.core.windows.net"];

/// The container and the account that a URL of Azure's names before its path: `container@account`, or with the account's host. They
/// look like a user and a host, and are neither.
#[must_use]
pub fn container_of<'a>(scheme: &str, host: &'a str) -> Option<(&'a str, &'a str)> {
    let (name, account) = host.split_once('@').filter(|_| AZURE.iter().any(|known| scheme.eq_ignore_ascii_case(known)))?;
    let account = AZURE_HOSTS.iter().find_map(|end| account.strip_suffix(end)).unwrap_or(account);
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (is_container(name) && (3..=24).contains(&account.len()) && plain(account)).then_some((name, account))
}

/// True for the name of a container (Azure: "Naming and referencing containers, blobs, and metadata").
#[must_use]
pub fn is_container(name: &str) -> bool {
    let letters = name.strip_prefix('$').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&letters.len()) && letters.bytes().all(plain)
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@').filter(|_| container_of(scheme, host).is_none()) {
        Some((user, _)) => format!("{scheme}://{}", &rest[user.len() + 1..]),
        None => url.to_owned(),
    }
}

fn hidden(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***"),
        _ => parameter.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    WHOLE.contains(&plain.as_str()) || TELLING.iter().any(|part| plain.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_recipe_must_not_hold() {
        for (url, expected) in [
            ("https://a/b.nc?file=1&token=abc", Some("token")),
            ("https://a/b.nc?api_key=x#top", Some("api_key")),
            ("https://a/b.nc?X-Amz-Signature=0f", Some("X-Amz-Signature")),
            ("https://a/b.nc?key=data/2001.nc", None),
            ("https://a/b.nc?key=AIzaSyD4e5f6g7h8i9j0k1l2m3", Some("key")),
            ("https://a/b.nc?token={n}&sig=", None),
            ("https://a/token=1/b.nc#token=2", None),
        ] {
            assert_eq!(secret_parameter(url), expected, "{url}");
        }
        assert_eq!(holds_key("title: AKIAIOSFODNN7EXAMPLE x"), Some(7..27));
        assert_eq!(holds_key("XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLE0 AKIA Asia ASIATIC"), None);
    }

    #[test]
    fn hides_secrets_and_nothing_else() {
        for (url, expected) in [
            ("https://a/b.nc?file=1&token=abc&x=2#top", "https://a/b.nc?file=1&token=***&x=2#top"),
            ("https://a/b.nc?X-Amz-Signature=abc&X-Amz-Date=1", "https://a/b.nc?X-Amz-Signature=***&X-Amz-Date=1"),
            ("https://a/b.nc?api_key=1&sig=2&keyboard=3", "https://a/b.nc?api_key=***&sig=***&keyboard=3"),
            ("https://user:password@a/b.nc?x=1@2", "https://a/b.nc?x=1@2"),
            ("https://token@a:80", "https://a:80"),
            ("https://a/b@c/d.nc", "https://a/b@c/d.nc"),
            ("https://a/token=1/b.nc", "https://a/token=1/b.nc"),
            ("data/what?token=1.nc", "data/what?token=1.nc"),
            ("https://a/b.zip?sig=abc!d/e.nc", "https://a/b.zip?sig=***!d/e.nc"),
            ("https://a/b.nc?x=1!&sig=abc", "https://a/b.nc?x=1!&sig=***"),
        ] {
            assert_eq!(without_secrets(url), expected);
        }
    }

    #[test]
    fn a_container_is_no_user() {
        for url in ["az://era5-pds@cpdata/a.nc", "abfs://era5@cpdata.dfs.core.windows.net/a.nc"] {
            assert_eq!(without_secrets(url), url);
        }
        assert_eq!(container_of("ABFSS", "era5@cpdata.dfs.core.windows.net"), Some(("era5", "cpdata")));
        for (scheme, host) in [
            ("https", "era5@cpdata"),
            ("az", "era5"),
            ("az", "me:pass@cpdata"),
            ("az", "Me@cpdata"),
            ("az", "era5@a.b"),
            ("az", "era5@a@b"),
        ] {
            assert_eq!(container_of(scheme, host), None, "{scheme} {host}");
        }
        assert_eq!(without_secrets("az://me:pass@cpdata/a"), "az://cpdata/a");
    }
}
