//! The operator's settings for Google's and Azure's stores.
//!
//! Those for S3 are `access`'s. Invariant: a secret is never printed, not by `Debug` either.

use std::path::PathBuf;

use serde::Deserialize;

use super::super::access::{Access, AccessError, S3Access, Secret};
use super::super::address::Address;
use super::super::auth::redact;
use super::super::{Bucket, Cloud};

/// Google Cloud Storage and who asks. Without key file and token: anonymous.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoogleAccess {
    /// Its URL; `None`: Google's own.
    pub endpoint: Option<String>,
    /// JSON key of a service account, or the application-default credentials that `gcloud` writes.
    pub key_file: Option<PathBuf>,
    /// An `OAuth2` token that is good for as long as the run; goes before the file.
    pub token: Option<Secret>,
}

/// Azure Blob Storage and who asks. Without key and signature: anonymous.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureAccess {
    /// The operator's account, which containers are in whose URL names none.
    pub account: Option<String>,
    /// URL of its blob service; `None`: `https://ACCOUNT.blob.core.windows.net`.
    pub endpoint: Option<String>,
    /// Its access key, base64.
    pub key: Option<Secret>,
    /// A shared access signature.
    pub sas: Option<Secret>,
}

/// How a container is reached.
pub(super) struct Door<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) key: Option<&'a Secret>,
    pub(super) sas: Option<&'a Secret>,
}

impl AzureAccess {
    /// The way to a container: with all that is the operator's if it is in their account, else only its name.
    pub(super) fn of<'a>(&'a self, bucket: &'a Bucket) -> Door<'a> {
        match bucket.account.as_deref() {
            Some(other) if self.account.as_deref() != Some(other) => Door { account: Some(other), endpoint: None, key: None, sas: None },
            _ => Door {
                account: self.account.as_deref(),
                endpoint: self.endpoint.as_deref(),
                key: self.key.as_ref(),
                sas: self.sas.as_ref(),
            },
        }
    }

    /// The environment goes before the file: names as the `az` command and others know them.
    pub(in super::super) fn take_environment(&mut self, read: &dyn Fn(&str) -> Option<String>) -> Result<(), AccessError> {
        let first = |names: [&str; 2]| names.into_iter().find_map(read);
        self.account = first(["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]).or_else(|| self.account.take());
        self.endpoint = read("AZURE_STORAGE_ENDPOINT").or_else(|| self.endpoint.take());
        self.key = first(["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]).map(Secret::new).or_else(|| self.key.take());
        self.sas = read("AZURE_STORAGE_SAS_TOKEN").map(Secret::new).or_else(|| self.sas.take());
        keep([&self.key, &self.sas]);
        // A signature is sent as a part of a URL, taken apart and written anew.
        let sas = self.sas.as_ref().map_or(String::new(), |sas| sas.reveal().replace('+', "%2B"));
        url::form_urlencoded::parse(sas.as_bytes()).filter(|(name, _)| name == "sig").for_each(|(_, value)| redact::keep(&value));
        let told = if self.key.is_some() { "key" } else { "sas" };
        if self.account.is_none() && (self.key.is_some() || self.sas.is_some()) {
            let message = "is given without `account`; whose it is must be told, so that it goes nowhere else".to_owned();
            return Err(AccessError::Senseless { name: told, message });
        }
        Ok(())
    }
}

impl GoogleAccess {
    /// The environment goes before the file: names as Google's own programs know them.
    pub(in super::super) fn take_environment(&mut self, read: &dyn Fn(&str) -> Option<String>) {
        // Some of those programs want the scheme in it, others want none.
        let emulator = read("STORAGE_EMULATOR_HOST").map(|host| if host.contains("://") { host } else { format!("http://{host}") });
        self.endpoint = emulator.or_else(|| self.endpoint.take());
        self.key_file = read("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from).or_else(|| self.key_file.take());
        self.token = read("CLOUDSDK_AUTH_ACCESS_TOKEN").map(Secret::new).or_else(|| self.token.take());
        keep([&self.token]);
    }
}

impl Access {
    /// The same without the operator's keys of object stores.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        let s3 = S3Access { credentials: None, ..self.s3.clone() };
        let google = GoogleAccess { key_file: None, token: None, ..self.google.clone() };
        let azure = AzureAccess { key: None, sas: None, ..self.azure.clone() };
        Self { s3, google, azure, ..self.clone() }
    }

    /// True if the operator has keys for the object store of a URL.
    #[must_use]
    pub fn has_keys(&self, url: &str) -> bool {
        match Address::parse(url) {
            Ok(Address::Bucket { bucket, .. }) => match bucket.cloud {
                Cloud::Amazon => self.s3.credentials.is_some(),
                Cloud::Google => self.google.key_file.is_some() || self.google.token.is_some(),
                Cloud::Azure => self.azure.of(&bucket).key.is_some() || self.azure.of(&bucket).sas.is_some(),
            },
            _ => false,
        }
    }
}

/// Has secrets starred out wherever they would be printed.
fn keep<const N: usize>(secrets: [&Option<Secret>; N]) {
    secrets.into_iter().flatten().for_each(|secret| redact::keep(secret.reveal()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_its_own_account() {
        let azure = AzureAccess { account: Some("mine".into()), key: Some(Secret::new("aGVsbG8=")), ..AzureAccess::default() };
        let bucket = |account: Option<&str>| Bucket { cloud: Cloud::Azure, account: account.map(str::to_owned), name: "c".into() };
        assert!(azure.of(&bucket(None)).key.is_some() && azure.of(&bucket(Some("mine"))).key.is_some());
        let other = bucket(Some("other"));
        let door = azure.of(&other);
        assert_eq!((door.account, door.key.is_some(), door.endpoint), (Some("other"), false, None));
        let nobodys = |name: &str| (name == "AZURE_STORAGE_KEY").then(|| "aGVsbG8=".to_owned());
        assert!(AzureAccess::default().take_environment(&nobodys).is_err());
    }
}
