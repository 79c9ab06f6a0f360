//! The credential in use: its secrets read, and where each may go.
//!
//! Invariant: [`Chosen::takes`] and [`Chosen::is_login`] are asked before anything secret is put into a request.

use std::fmt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use url::Url;

use super::hosts::{HostPattern, is_loopback};
use super::session::Session;
use super::written::{Kept, Shape, Source};
use super::{AuthError, Login, SshLogin, Surroundings, netrc, profile, redact};
use crate::store::access::{Credentials, Secret};

/// Where Earthdata Login lives (its public protocol description names this host).
const EARTHDATA: &str = "urs.earthdata.nasa.gov";

/// A credential in use.
pub(in crate::store) struct Chosen {
    /// As the recipe calls it.
    pub(in crate::store) name: String,
    pub(in crate::store) kind: Kind,
    hosts: Vec<HostPattern>,
    login_host: Option<HostPattern>,
    buckets: Vec<String>,
    /// Region and endpoint of the buckets.
    pub(in crate::store) region: Option<String>,
    pub(in crate::store) endpoint: Option<String>,
    pub(in crate::store) allow_http: bool,
    /// What the run learns.
    pub(super) session: Session,
}

/// What it is.
pub(in crate::store) enum Kind {
    /// User and password for web servers.
    Basic(Login),
    /// User and password for servers of files.
    Login(Login),
    /// User, private key and its passphrase for servers of files over SSH.
    SshKey(SshLogin),
    /// Logins by host.
    Netrc(Secret),
    /// A secret word and how it is sent.
    Token(Token),
    /// Certificate and private key, PEM.
    Certificate(Secret),
    /// Tokens fetched with a client's own secret (RFC 6749 §4.4).
    Oauth(Client),
    /// User and password for the login host, or a token; and where short-lived S3 keys are fetched.
    Earthdata { login: Option<Login>, token: Option<Token>, keys: Option<Url> },
    /// Keys of S3 buckets.
    Keys(Credentials),
}

/// A secret word.
pub(in crate::store) struct Token {
    pub(super) carrier: Carrier,
    source: Source,
    value: RwLock<Secret>,
}

/// How a secret word is sent.
pub(in crate::store) enum Carrier {
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
    /// A header.
    Header(String),
    /// A parameter of the query.
    Query(String),
}

/// A client of an `OAuth2` server.
pub(in crate::store) struct Client {
    pub(super) url: Url,
    pub(super) id: String,
    pub(super) secret: Secret,
    pub(super) scope: Option<String>,
}

impl fmt::Debug for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Chosen").field("name", &self.name).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Chosen {
    /// Reads the secrets of a credential.
    pub(super) fn resolve(name: &str, kept: &Kept, surroundings: &Surroundings) -> Result<Self, AuthError> {
        let resolver = Resolver { name, kept, surroundings };
        let login_host = match (&kept.login_host, kept.shape) {
            (None, Shape::Earthdata) => HostPattern::parse(EARTHDATA).ok(),
            (written, _) => written.clone(),
        };
        Ok(Self {
            name: name.to_owned(),
            kind: resolver.kind()?,
            hosts: kept.hosts.clone(),
            login_host,
            buckets: kept.buckets.clone(),
            region: kept.region.clone(),
            endpoint: kept.endpoint.clone(),
            allow_http: kept.allow_http,
            session: Session::default(),
        })
    }

    /// True if the credential may go with a request to this URL.
    pub(super) fn takes(&self, url: &Url) -> bool {
        self.is_bound(url) && self.is_safe(url)
    }

    /// True if the URL's host is bound, whatever its scheme.
    pub(super) fn is_bound(&self, url: &Url) -> bool {
        self.hosts.iter().any(|host| host.takes_url(url))
    }

    /// True for the host that logs in for the bound ones.
    pub(super) fn is_login(&self, url: &Url) -> bool {
        self.login_host.as_ref().is_some_and(|host| host.takes_url(url)) && self.is_safe(url)
    }

    fn is_safe(&self, url: &Url) -> bool {
        url.scheme() == "https" || (url.scheme() == "http" && (self.allow_http || is_loopback(url)))
    }

    /// True if its keys are for this bucket.
    pub(in crate::store) fn takes_bucket(&self, bucket: &str) -> bool {
        self.buckets.iter().any(|known| known == bucket)
    }

    /// Certificate and key for connections to this URL.
    pub(in crate::store) fn identity(&self, url: &Url) -> Option<&Secret> {
        match &self.kind {
            Kind::Certificate(pem) if self.takes(url) => Some(pem),
            _ => None,
        }
    }

    /// User and password for a server of files.
    pub(super) fn login(&self, server: &str) -> Option<Login> {
        if !self.hosts.iter().any(|host| host.takes_server(server)) {
            return None;
        }
        match &self.kind {
            Kind::Login(login) => Some(login.clone()),
            Kind::Netrc(text) => netrc::find(text.reveal(), server.rsplit_once(':').map_or(server, |(host, _)| host)),
            _ => None,
        }
    }

    /// User and key or password for a server of files over SSH.
    pub(super) fn ssh(&self, server: &str) -> Option<SshLogin> {
        match &self.kind {
            Kind::SshKey(login) if self.hosts.iter().any(|host| host.takes_server(server)) => Some(login.clone()),
            _ => self.login(server).map(|Login { user, password }| SshLogin { user, password: Some(password), key: None }),
        }
    }

    /// User and password for a request to a bound host.
    pub(super) fn basic(&self, url: &Url) -> Option<Login> {
        match &self.kind {
            Kind::Basic(login) => Some(login.clone()),
            Kind::Netrc(text) => netrc::find(text.reveal(), url.host_str()?),
            _ => None,
        }
    }

    /// The secret word that goes with requests to bound hosts.
    pub(super) fn token(&self) -> Option<&Token> {
        match &self.kind {
            Kind::Token(token) => Some(token),
            Kind::Earthdata { token, .. } => token.as_ref(),
            _ => None,
        }
    }
}

impl Token {
    /// The word as it is now.
    pub(super) fn value(&self) -> Secret {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads it again where it stands in a file that something else renews; true if it is another one now.
    pub(super) fn renew(&self) -> bool {
        let Source::File(path) = &self.source else { return false };
        let Ok(new) = first_line(path) else { return false };
        let mut value = self.value.write().unwrap_or_else(PoisonError::into_inner);
        let other = *value != new;
        *value = new;
        other
    }
}

/// Reads what a table points at.
struct Resolver<'a> {
    name: &'a str,
    kept: &'a Kept,
    surroundings: &'a Surroundings,
}

impl Resolver<'_> {
    fn kind(&self) -> Result<Kind, AuthError> {
        let kept = self.kept;
        Ok(match kept.shape {
            Shape::Basic => Kind::Basic(self.login()?),
            Shape::Login => Kind::Login(self.login()?),
            Shape::SshKey => Kind::SshKey(self.ssh_key()?),
            Shape::Bearer => Kind::Token(self.token(Carrier::Bearer)?),
            Shape::Header => Kind::Token(self.token(Carrier::Header(self.field()))?),
            Shape::Query => Kind::Token(self.token(Carrier::Query(self.field()))?),
            Shape::Netrc => Kind::Netrc(self.netrc()?),
            Shape::Certificate => Kind::Certificate(self.certificate()?),
            Shape::Oauth2 => Kind::Oauth(self.client()?),
            Shape::Earthdata | Shape::S3Keys => Kind::Earthdata {
                login: kept.user.as_ref().map(|_| self.login()).transpose()?,
                token: kept.token.as_ref().map(|_| self.token(Carrier::Bearer)).transpose()?,
                keys: kept.keys_url.clone(),
            },
            Shape::AwsProfile => {
                let profile = kept.profile.as_deref().or(self.surroundings.aws_profile.as_deref()).unwrap_or("default");
                Kind::Keys(profile::read(self.name, profile, kept.file.as_deref(), self.surroundings)?)
            }
        })
    }

    fn absent(&self, message: String) -> AuthError {
        AuthError::Absent { name: self.name.to_owned(), message }
    }

    fn field(&self) -> String {
        self.kept.field.clone().unwrap_or_default()
    }

    fn login(&self) -> Result<Login, AuthError> {
        let user = self.kept.user.clone().unwrap_or_default();
        let password = self.secret("password", self.kept.password.as_ref())?;
        redact::keep(&basic(&user, password.reveal()));
        Ok(Login { user, password })
    }

    fn ssh_key(&self) -> Result<SshLogin, AuthError> {
        let path = self.kept.key.as_ref().ok_or_else(|| self.absent("it has no `key`".to_owned()))?;
        let text = self.read(&self.surroundings.path(path))?;
        text.lines().filter(|line| !line.starts_with("-----")).for_each(redact::keep);
        let password = self.kept.password.as_ref().map(|source| self.secret("password", Some(source))).transpose()?;
        Ok(SshLogin { user: self.kept.user.clone().unwrap_or_default(), password, key: Some(Secret::new(text)) })
    }

    fn token(&self, carrier: Carrier) -> Result<Token, AuthError> {
        let value = self.secret("token", self.kept.token.as_ref())?;
        let source = match &self.kept.token {
            Some(Source::File(path)) => Source::File(self.surroundings.path(path)),
            _ => Source::Literal(value.clone()),
        };
        Ok(Token { carrier, source, value: RwLock::new(value) })
    }

    fn client(&self) -> Result<Client, AuthError> {
        let url = self.kept.token_url.clone().ok_or_else(|| self.absent("it has no `token_url`".to_owned()))?;
        let id = self.kept.client_id.clone().unwrap_or_default();
        let secret = self.secret("client_secret", self.kept.client_secret.as_ref())?;
        redact::keep(&basic(&id, secret.reveal()));
        Ok(Client { url, id, secret, scope: self.kept.scope.clone() })
    }

    fn netrc(&self) -> Result<Secret, AuthError> {
        let usual = || self.surroundings.netrc.clone().or_else(|| self.surroundings.home.as_ref().map(|home| home.join(".netrc")));
        let path = self.kept.file.as_ref().map(|file| self.surroundings.path(file)).or_else(usual);
        let path = path.ok_or_else(|| self.absent("there is no home directory to look for `.netrc` in; give `file`".to_owned()))?;
        let text = self.read(&path)?;
        netrc::passwords(&text).iter().for_each(|password| redact::keep(password));
        Ok(Secret::new(text))
    }

    fn certificate(&self) -> Result<Secret, AuthError> {
        let parts = [&self.kept.certificate, &self.kept.key].into_iter().flatten();
        let texts = parts.map(|path| self.read(&self.surroundings.path(path))).collect::<Result<Vec<_>, _>>()?;
        let pem = texts.join("\n");
        if pem.contains("BEGIN CERTIFICATE") && pem.contains("PRIVATE KEY") {
            return Ok(Secret::new(pem));
        }
        Err(self.absent("`certificate` (and `key`) must hold a certificate and its private key in PEM form".to_owned()))
    }

    fn secret(&self, key: &str, source: Option<&Source>) -> Result<Secret, AuthError> {
        let secret = match source {
            Some(Source::Literal(secret) | Source::Variable(_, Some(secret))) => secret.clone(),
            Some(Source::Variable(variable, None)) => {
                return Err(self.absent(format!("`{key}` is to come from the variable `{variable}`, which is not set")));
            }
            Some(Source::File(path)) => {
                let path = self.surroundings.path(path);
                first_line(&path).map_err(|error| self.absent(format!("`{key}`: {}: cannot read it: {error}", path.display())))?
            }
            None => return Err(self.absent(format!("`{key}` is missing"))),
        };
        if secret.reveal().is_empty() {
            return Err(self.absent(format!("`{key}` is empty")));
        }
        redact::keep(secret.reveal());
        Ok(secret)
    }

    fn read(&self, path: &Path) -> Result<String, AuthError> {
        std::fs::read_to_string(path).map_err(|error| self.absent(format!("{}: cannot read it: {error}", path.display())))
    }
}

fn first_line(path: &Path) -> std::io::Result<Secret> {
    let line = std::fs::read_to_string(path)?.lines().next().unwrap_or_default().trim().to_owned();
    redact::keep(&line);
    Ok(Secret::new(line))
}

/// User and password as `Authorization: Basic` has them (RFC 7617 §2).
pub(super) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}
