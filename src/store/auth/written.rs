//! `[auth.NAME]` as the operator writes it, and what each kind needs.
//!
//! Files are not read here, and variables of the environment only noted: a secret is looked at when a recipe names it.
//! Invariant: a key that a kind has no use for is an error, so that a misplaced secret is not silently unused.

use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::AuthError;
use super::hosts::{HostPattern, is_loopback};
use crate::store::access::Secret;

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shape {
    Basic,
    Bearer,
    Header,
    Query,
    Netrc,
    Login,
    SshKey,
    Certificate,
    Oauth2,
    Earthdata,
    AwsProfile,
    S3Keys,
}

/// A secret in the file itself, in a variable, or in a file of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Place {
    Literal(Secret),
    Variable { env: String },
    File { file: PathBuf },
}

/// A table of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct WrittenAuth {
    kind: Shape,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    buckets: Vec<String>,
    user: Option<String>,
    password: Option<Place>,
    token: Option<Place>,
    header: Option<String>,
    parameter: Option<String>,
    file: Option<PathBuf>,
    profile: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    login_host: Option<String>,
    token_url: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Place>,
    scope: Option<String>,
    keys_url: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
    #[serde(default)]
    allow_http: bool,
}

/// A secret whose place is known.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Literal(Secret),
    /// A variable of the environment, and what it held.
    Variable(String, Option<Secret>),
    File(PathBuf),
}

/// A table that makes sense.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) shape: Shape,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) buckets: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Source>,
    pub(super) token: Option<Source>,
    /// Name of a header or of a parameter.
    pub(super) field: Option<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) profile: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) login_host: Option<HostPattern>,
    pub(super) token_url: Option<Url>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<Source>,
    pub(super) scope: Option<String>,
    pub(super) keys_url: Option<Url>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) allow_http: bool,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::Header => "header",
            Self::Query => "query",
            Self::Netrc => "netrc",
            Self::Login => "login",
            Self::SshKey => "ssh-key",
            Self::Certificate => "certificate",
            Self::Oauth2 => "oauth2",
            Self::Earthdata => "earthdata",
            Self::AwsProfile => "aws-profile",
            Self::S3Keys => "s3-keys",
        }
    }

    /// Keys that it must have, and that it may.
    fn keys(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Basic | Self::Login => (&["hosts", "user", "password"], &[]),
            Self::SshKey => (&["hosts", "user", "key"], &["password"]),
            Self::Bearer => (&["hosts", "token"], &[]),
            Self::Header => (&["hosts", "header", "token"], &[]),
            Self::Query => (&["hosts", "parameter", "token"], &[]),
            Self::Netrc => (&["hosts"], &["file"]),
            Self::Certificate => (&["hosts", "certificate"], &["key"]),
            Self::Oauth2 => (&["hosts", "token_url", "client_id", "client_secret"], &["scope"]),
            Self::Earthdata => (&["hosts"], &["user", "password", "token", "login_host", "keys_url", "buckets", "region", "endpoint"]),
            Self::AwsProfile => (&["buckets"], &["profile", "file", "region", "endpoint"]),
            Self::S3Keys => (&["buckets", "keys_url"], &["hosts", "user", "password", "token", "region", "endpoint"]),
        }
    }
}

impl WrittenAuth {
    /// True if a secret stands in the settings themselves.
    pub(super) fn holds_literals(&self) -> bool {
        [&self.password, &self.token, &self.client_secret].into_iter().flatten().any(|place| matches!(place, Place::Literal(_)))
    }

    /// The keys that are written.
    fn present(&self) -> Vec<&'static str> {
        let all = [
            ("hosts", !self.hosts.is_empty()),
            ("buckets", !self.buckets.is_empty()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("token", self.token.is_some()),
            ("header", self.header.is_some()),
            ("parameter", self.parameter.is_some()),
            ("file", self.file.is_some()),
            ("profile", self.profile.is_some()),
            ("certificate", self.certificate.is_some()),
            ("key", self.key.is_some()),
            ("login_host", self.login_host.is_some()),
            ("token_url", self.token_url.is_some()),
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("scope", self.scope.is_some()),
            ("keys_url", self.keys_url.is_some()),
            ("region", self.region.is_some()),
            ("endpoint", self.endpoint.is_some()),
        ];
        all.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
    }

    fn objection(&self) -> Option<String> {
        let (needed, fine) = self.kind.keys();
        let (present, kind) = (self.present(), self.kind.name());
        if let Some(absent) = needed.iter().find(|key| !present.contains(key)) {
            return Some(format!("kind `{kind}` needs `{absent}`"));
        }
        if let Some(extra) = present.iter().find(|key| !needed.contains(key) && !fine.contains(key)) {
            return Some(format!("`{extra}` means nothing for kind `{kind}`; remove it"));
        }
        let (user, password, token) = (self.user.is_some(), self.password.is_some(), self.token.is_some());
        match self.kind {
            Shape::Earthdata if token == user || user != password => Some("give `user` and `password`, or a `token`".to_owned()),
            Shape::S3Keys if user != password || (user && token) => {
                Some("give `user` and `password`, or a `token`, or none of them".to_owned())
            }
            Shape::Earthdata if self.keys_url.is_some() == self.buckets.is_empty() => {
                Some("`keys_url` and `buckets` go together: keys from there are for these buckets".to_owned())
            }
            _ => None,
        }
    }

    /// The same, checked, with what the environment says now.
    pub(super) fn keep(self, name: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<Kept, AuthError> {
        let senseless = |message: String| AuthError::Senseless { name: name.to_owned(), message };
        if let Some(message) = self.objection() {
            return Err(senseless(message));
        }
        if let Some(bad) = self.header.as_deref().filter(|header| header.parse::<reqwest::header::HeaderName>().is_err()) {
            return Err(senseless(format!("`{bad}` is not the name of a header")));
        }
        let hosts = self.hosts.iter().map(|host| HostPattern::parse(host)).collect::<Result<_, _>>().map_err(senseless)?;
        let login_host = self.login_host.as_deref().map(HostPattern::parse).transpose().map_err(senseless)?;
        let url = |key: &str, text: Option<&str>| text.map(|text| safe(key, text, self.allow_http)).transpose().map_err(senseless);
        let place = |place: Option<Place>| place.map(|place| place.noted(read));
        Ok(Kept {
            shape: self.kind,
            hosts,
            token_url: url("token_url", self.token_url.as_deref())?,
            keys_url: url("keys_url", self.keys_url.as_deref())?,
            buckets: self.buckets,
            user: self.user,
            password: place(self.password),
            token: place(self.token),
            field: self.header.or(self.parameter),
            file: self.file,
            profile: self.profile,
            certificate: self.certificate,
            key: self.key,
            login_host,
            client_id: self.client_id,
            client_secret: place(self.client_secret),
            scope: self.scope,
            region: self.region,
            endpoint: self.endpoint,
            allow_http: self.allow_http,
        })
    }
}

impl Place {
    fn noted(self, read: &dyn Fn(&str) -> Option<String>) -> Source {
        match self {
            Self::Literal(secret) => Source::Literal(secret),
            Self::Variable { env } => {
                let secret = read(&env).filter(|value| !value.is_empty()).map(Secret::new);
                Source::Variable(env, secret)
            }
            Self::File { file } => Source::File(file),
        }
    }
}

/// A URL that a secret may be sent to.
fn safe(key: &str, text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{key}` is not a URL ({error})"))?;
    let secure = url.scheme() == "https" || (url.scheme() == "http" && (allow_http || is_loopback(&url)));
    if secure { Ok(url) } else { Err(format!("`{key}` must be an https:// URL; a secret goes there")) }
}
