//! Addresses without the passwords that some servers take as part of them: `?token=…`, `https://user:password@host`.
//!
//! Plans and reports are kept and shared, so they hold addresses in this form only. Invariant: what is not a secret stays as it
//! is, since a query may also say *which* file is meant.

/// Parts of a parameter's name that tell of a secret.
const TELLING: [&str; 8] = ["token", "secret", "passw", "signature", "credential", "apikey", "accesskey", "auth"];
/// Names that are secrets when they stand alone.
const WHOLE: [&str; 6] = ["sig", "key", "pw", "pwd", "jwt", "hmac"];

/// The address without a user before its host, and with the value of every parameter that looks like a secret replaced by `***`.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let url = &without_user(url);
    let Some((path, query)) = url.split_once('?').filter(|_| url.contains("://")) else { return url.to_owned() };
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, fragment)| (query, Some(fragment)));
    let parameters: Vec<String> = query.split('&').map(hidden).collect();
    let fragment = fragment.map_or(String::new(), |fragment| format!("#{fragment}"));
    format!("{path}?{}{fragment}", parameters.join("&"))
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit_once('@') {
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
        ] {
            assert_eq!(without_secrets(url), expected);
        }
    }
}
