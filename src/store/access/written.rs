//! `gristmill.toml` as it is written, and the settings that it makes.
//!
//! Not for the environment, which is read after it. Invariant: unknown keys and senseless numbers are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::auth::{Auth, WrittenAuth};
use super::super::manners::{Manners, WrittenHost, rules};
use super::super::policy::Limits;
use super::{AGENT, Access, AccessError, AzureAccess, CacheUse, Credentials, GoogleAccess, PathStyle, S3Access, Secret, half};
use crate::size::ByteSize;

/// `gristmill.toml` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    network: WrittenNetwork,
    disk: WrittenDisk,
    s3: WrittenS3,
    google: GoogleAccess,
    azure: AzureAccess,
    policy: WrittenPolicy,
    limits: WrittenLimits,
    auth: BTreeMap<String, WrittenAuth>,
    hosts: BTreeMap<String, WrittenHost>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    inputs: Option<u64>,
    bytes: Option<String>,
    minutes: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenNetwork {
    connections_per_host: Option<usize>,
    connections_per_bucket: Option<usize>,
    attempts: Option<u32>,
    give_up_after_seconds: Option<f64>,
    idle_timeout_seconds: Option<f64>,
    connect_timeout_seconds: Option<f64>,
    user_agent: Option<String>,
    contact: Option<String>,
    max_rate: Option<f64>,
    quiet_seconds: Option<f64>,
    deadline_seconds: Option<f64>,
    slowest: Option<String>,
    certificates: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenDisk {
    spool_directory: Option<PathBuf>,
    spool_limit: Option<String>,
    unpack_ratio: Option<u64>,
    cache: Option<bool>,
    cache_directory: Option<PathBuf>,
    cache_limit: Option<String>,
    flush_chunks: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenS3 {
    endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
    allow_http: bool,
    requester_pays: bool,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
    session_token: Option<Secret>,
    profile: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
struct WrittenPolicy {
    untrusted: bool,
    allow_private: bool,
    allow_http: bool,
    single_writer: bool,
}

impl Written {
    pub(super) fn into_access(self, read: &dyn Fn(&str) -> Option<String>) -> Result<Access, AccessError> {
        let WrittenPolicy { untrusted, allow_private, allow_http, single_writer } = self.policy;
        let mut access = Access { single_writer, untrusted, allow_private, allow_http, ..Access::default() };
        access.limits = self.limits.into_limits()?;
        access.manners = Manners::new(self.network.max_rate, rules(self.hosts)?)?;
        self.network.put_into(&mut access)?;
        self.disk.put_into(&mut access)?;
        let (auth, literal) = Auth::of(self.auth, read)?;
        let kept = [&self.s3.secret_access_key, &self.google.token, &self.azure.key, &self.azure.sas];
        if literal || kept.iter().any(|secret| secret.is_some()) {
            access.warnings.push("the settings hold secrets, and other users of this machine can read the file; `chmod 600` it".to_owned());
        }
        access.auth = auth;
        (access.s3, access.google, access.azure) = (self.s3.into_access()?, self.google, self.azure);
        Ok(access)
    }
}

impl WrittenNetwork {
    fn put_into(self, access: &mut Access) -> Result<(), AccessError> {
        access.connections_per_host = at_least_one("connections_per_host", self.connections_per_host, access.connections_per_host)?;
        // Who says how many a host may have means all hosts.
        let buckets = self.connections_per_bucket.or(self.connections_per_host);
        access.connections_per_bucket = at_least_one("connections_per_bucket", buckets, access.connections_per_bucket)?;
        access.retries.attempts = at_least_one("attempts", self.attempts, access.retries.attempts)?;
        seconds("give_up_after_seconds", self.give_up_after_seconds, &mut access.retries.give_up_after)?;
        seconds("idle_timeout_seconds", self.idle_timeout_seconds, &mut access.idle_timeout)?;
        seconds("quiet_seconds", self.quiet_seconds, &mut access.waits.quiet)?;
        seconds("deadline_seconds", self.deadline_seconds, &mut access.waits.deadline)?;
        size("slowest", self.slowest.as_deref(), &mut access.waits.slowest)?;
        seconds("connect_timeout_seconds", self.connect_timeout_seconds, &mut access.connect_timeout)?;
        let agent = self.user_agent.unwrap_or_else(|| AGENT.to_owned());
        access.user_agent = self.contact.map_or(agent.clone(), |contact| format!("{agent} (+{contact})"));
        if reqwest::header::HeaderValue::from_str(&access.user_agent).is_err() {
            let message = "together with `contact` it must be plain text in one line".into();
            return Err(AccessError::Senseless { name: "user_agent", message });
        }
        (access.certificates, access.known_hosts) = (self.certificates, self.known_hosts);
        Ok(())
    }
}

impl WrittenDisk {
    fn put_into(self, access: &mut Access) -> Result<(), AccessError> {
        access.spool_directory = self.spool_directory;
        access.flush_chunks = self.flush_chunks;
        access.unpack_ratio = at_least_one("unpack_ratio", self.unpack_ratio, access.unpack_ratio)?;
        access.cache = match (self.cache, &self.cache_directory) {
            (Some(true), _) => CacheUse::All,
            (None, Some(_)) => CacheUse::Needed,
            (Some(false), _) | (None, None) => CacheUse::Off,
        };
        access.cache_directory = self.cache_directory;
        size("cache_limit", self.cache_limit.as_deref(), &mut access.cache_limit)?;
        size("spool_limit", self.spool_limit.as_deref(), &mut access.spool_limit)
    }
}

impl WrittenLimits {
    fn into_limits(self) -> Result<Limits, AccessError> {
        let mut limits = Limits { inputs: self.inputs, ..Limits::default() };
        if self.bytes.is_some() {
            size("bytes", self.bytes.as_deref(), limits.bytes.insert(ByteSize(0)))?;
        }
        if self.minutes.is_some() {
            seconds("minutes", self.minutes.map(|minutes| minutes * 60.0), limits.time.insert(Duration::ZERO))?;
        }
        Ok(limits)
    }
}

impl WrittenS3 {
    fn into_access(self) -> Result<S3Access, AccessError> {
        let credentials = match (self.access_key_id, self.secret_access_key) {
            (Some(key_id), Some(secret)) => Some(Credentials { key_id, secret, token: self.session_token }),
            (None, None) => None,
            (Some(_), None) => return Err(half("access_key_id", "secret_access_key")),
            (None, Some(_)) => return Err(half("secret_access_key", "access_key_id")),
        };
        let path_style = if self.path_style == Some(false) { PathStyle::HostName } else { PathStyle::Path };
        let Self { endpoint, region, allow_http, requester_pays, profile, .. } = self;
        Ok(S3Access { endpoint, region, path_style, allow_http, profile, requester_pays, credentials })
    }
}

fn at_least_one<T: From<u8> + PartialOrd>(name: &'static str, given: Option<T>, usual: T) -> Result<T, AccessError> {
    match given {
        Some(number) if number < T::from(1) => Err(AccessError::Senseless { name, message: "must be at least 1".into() }),
        Some(number) => Ok(number),
        None => Ok(usual),
    }
}

fn size(name: &'static str, given: Option<&str>, into: &mut ByteSize) -> Result<(), AccessError> {
    if let Some(text) = given {
        let senseless = |error: crate::size::NotASize| AccessError::Senseless { name, message: error.to_string() };
        *into = text.parse().map_err(senseless)?;
    }
    Ok(())
}

fn seconds(name: &'static str, given: Option<f64>, into: &mut Duration) -> Result<(), AccessError> {
    if let Some(number) = given {
        let duration = Duration::try_from_secs_f64(number).ok().filter(|duration| !duration.is_zero());
        *into = duration.ok_or_else(|| AccessError::Senseless { name, message: "must be a number of seconds above 0".into() })?;
    }
    Ok(())
}
