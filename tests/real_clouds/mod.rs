//! Object stores that `ci/servers.sh` starts: moto for S3, Azurite, and the server of ours that speaks Google's API.
#![expect(clippy::print_stdout, reason = "what is left out for want of a server is said aloud")]
#![allow(dead_code, reason = "each test binary that shares this uses a part of it")]

use gristmill::store::Access;
use gristmill::store::access::{AzureAccess, Credentials, GoogleAccess, S3Access, Secret};

use super::real_s3;

/// A store, and how it is reached.
pub(crate) struct Real {
    pub(crate) name: &'static str,
    /// URL of the bucket.
    pub(crate) bucket: String,
    pub(crate) access: Access,
    /// The same as a `gristmill.toml` says it.
    pub(crate) settings: String,
}

/// Every store there is here, each with a bucket that the keys are for.
pub(crate) fn stores(bucket: &str) -> Vec<Real> {
    [s3(bucket), google(), azure()].into_iter().flatten().collect()
}

fn variable(server: &str, name: &str) -> Option<String> {
    let found = std::env::var(name).ok();
    if found.is_none() {
        println!("SKIP {server}: `{name}` is not set; ci/servers.sh starts it");
    }
    found
}

/// A bucket of moto's, made if there is none of that name.
pub(crate) fn s3(bucket: &str) -> Option<Real> {
    let access = real_s3::bucket(bucket)?;
    let endpoint = access.s3.endpoint.as_deref().unwrap_or_default();
    let settings = format!("[s3]\nendpoint = '{endpoint}'\naccess_key_id = 'test'\nsecret_access_key = 'test'\n");
    Some(Real { name: "moto", bucket: format!("s3://{bucket}"), access, settings })
}

/// s3s-fs, whose creations race: for reading, and for whoever writes alone.
pub(crate) fn s3s_fs() -> Option<Real> {
    made("s3s-fs", "GRISTMILL_TEST_S3S_FS", "test", "test")
}

/// Swift, which knows no conditions: for reading, and for whoever needs none.
pub(crate) fn swift() -> Option<Real> {
    made("Swift", "GRISTMILL_TEST_SWIFT", "test:tester", "testing")
}

/// An S3 server whose bucket `gristmill` is there from its start.
fn made(name: &'static str, endpoint: &str, key: &str, secret: &str) -> Option<Real> {
    let endpoint = variable(name, endpoint)?;
    let settings = format!("[s3]\nendpoint = '{endpoint}'\naccess_key_id = '{key}'\nsecret_access_key = '{secret}'\n");
    let credentials = Credentials { key_id: key.into(), secret: Secret::new(secret), token: None };
    let s3 = S3Access { endpoint: Some(endpoint), credentials: Some(credentials), ..S3Access::default() };
    Some(Real { name, bucket: "s3://gristmill".into(), access: Access { s3, ..Access::default() }, settings })
}

/// Google's API, with the key of its service account.
pub(crate) fn google() -> Option<Real> {
    let endpoint = variable("Google's API", "GRISTMILL_TEST_GOOGLE")?;
    let key_file = variable("Google's API", "GRISTMILL_TEST_GOOGLE_KEY")?;
    let settings = format!("[google]\nendpoint = '{endpoint}'\nkey_file = '{key_file}'\n");
    let google = GoogleAccess { endpoint: Some(endpoint), key_file: Some(key_file.into()), token: None };
    Some(Real { name: "Google's API", bucket: "gs://gristmill".into(), access: Access { google, ..Access::default() }, settings })
}

/// Azurite, with the key of its account.
pub(crate) fn azure() -> Option<Real> {
    let endpoint = variable("Azurite", "GRISTMILL_TEST_AZURE")?;
    let (account, key) = (variable("Azurite", "GRISTMILL_TEST_AZURE_ACCOUNT")?, variable("Azurite", "GRISTMILL_TEST_AZURE_KEY")?);
    let settings = format!("[azure]\naccount = '{account}'\nkey = '{key}'\nendpoint = '{endpoint}'\n");
    let azure = AzureAccess { account: Some(account), endpoint: Some(endpoint), key: Some(Secret::new(key)), sas: None };
    Some(Real { name: "Azurite", bucket: "az://gristmill".into(), access: Access { azure, ..Access::default() }, settings })
}
