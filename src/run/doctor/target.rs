//! The target: may this account put, get, list and delete there, can the public read it, and what kind of store is it.
//!
//! Invariant: everything is done in a folder of its own beside the target, which is removed again.

use std::sync::Arc;

use bytes::Bytes;

use super::{Finding, Health, Patient, quirks, sources};
use crate::store::probe::{self, Answer, Depth, Doors, Mode};
use crate::store::{self, Access, ErrorKind, PutMode, StoreError, TargetStore, shown};

const KEY: &str = "doctor/object";
const TEXT: &[u8] = b"gristmill doctor";

pub(super) fn examine(url: &str, patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = quirks::of_settings(url, &patient.access.s3, patient.hub_user.as_deref());
    let place = match probe::place_beside(url) {
        Ok(place) => place,
        Err(error) => return vec![Finding::failed("target", &error, "give a path or `s3://bucket/prefix`")],
    };
    let far = store::is_far(url);
    if far && let Ok(endpoint) = probe::endpoint(url, patient.access) {
        match store::clock(&endpoint, patient.access) {
            Ok(skew) => findings.extend(skew.map(|skew| sources::clock(&endpoint, skew))),
            Err(error) => {
                let Told { table, endpoint, .. } = told(url);
                let help = format!("check `endpoint` under `[{table}]` (or {endpoint}), the network and a proxy");
                findings.push(Finding::failed("network", &error, help));
                return findings;
            }
        }
    }
    match store::target(&place, patient.access) {
        Ok(store) => findings.extend(permissions(&*store, url)),
        Err(error) => findings.push(Finding::failed("target", &error, "")),
    }
    if findings.iter().all(|finding| finding.health != Health::Bad) {
        if far {
            findings.extend(public(url, &place, patient.access));
        }
        findings.extend(abilities(url, &place, patient));
    }
    clear(&place, patient.access);
    findings
}

/// Where the operator says how a target is reached.
struct Told {
    /// Table of the settings.
    table: &'static str,
    /// Variable of the environment that names the server.
    endpoint: &'static str,
    /// Variables that hold the keys.
    keys: &'static str,
}

fn told(url: &str) -> Told {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("gs") => Told { table: "google", endpoint: "STORAGE_EMULATOR_HOST", keys: "GOOGLE_APPLICATION_CREDENTIALS" },
        Some("az" | "abfs" | "abfss") => {
            Told { table: "azure", endpoint: "AZURE_STORAGE_ENDPOINT", keys: "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY" }
        }
        _ => Told { table: "s3", endpoint: "AWS_ENDPOINT_URL", keys: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" },
    }
}

/// Put, get, list, delete, each told by itself.
fn permissions(store: &dyn TargetStore, url: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let allowed = |right: &str| Finding::good("permissions", format!("{right} at {}", shown(url)));
    let Told { table, keys, .. } = told(url);
    let lacks = |right: &str, name: &str, error: &StoreError| {
        let name = if table == "s3" { format!(" (s3:{name})") } else { String::new() };
        let help = format!("the account needs the right to {right}{name} here; keys come from {keys}, or `[{table}]`");
        Finding::failed("permissions", error, help)
    };
    match store.put(KEY, Bytes::from_static(TEXT), PutMode::Overwrite) {
        Ok(()) => findings.push(allowed("put")),
        Err(error) => return vec![lacks("put objects", "PutObject", &error)],
    }
    findings.push(match store.get(KEY) {
        Ok(Some(bytes)) if bytes == TEXT => allowed("get"),
        Ok(Some(_)) => Finding::bad("permissions", 7, "an object does not come back as it was put", "do not use this store"),
        Ok(None) => Finding::bad("permissions", 3, "an object that was put is not there", "do not use this store"),
        Err(error) => lacks("get objects", "GetObject", &error),
    });
    findings.push(match store.list("", 10) {
        Ok(keys) if keys.iter().any(|key| key == KEY) => allowed("list"),
        Ok(_) => Finding::weak("permissions", "listings lag behind", "nothing: runs do not rely on listings"),
        Err(error) => lacks("list the bucket", "ListBucket", &error),
    });
    findings.push(match store.delete(KEY) {
        Ok(()) => allowed("delete"),
        Err(error) => lacks("delete objects", "DeleteObject", &error),
    });
    findings
}

/// Whether readers without keys can open what is published there.
fn public(url: &str, place: &str, access: &Access) -> Vec<Finding> {
    const CHECK: &str = "public read";
    let anonymous = access.anonymous();
    let read = || -> Result<bool, StoreError> {
        store::target(place, access)?.put(KEY, Bytes::from_static(TEXT), PutMode::Overwrite)?;
        Ok(store::target(place, &anonymous)?.get(KEY)?.is_some())
    };
    let listed = || -> Result<bool, StoreError> { Ok(!store::target(place, &anonymous)?.list("", 10)?.is_empty()) };
    let (read, listed) = (read(), listed());
    let pages = matches!(read, Ok(true)).then(|| pages(place, access)).flatten();
    let public = match (read, listed) {
        (Ok(true), Ok(true)) => Finding::good(CHECK, "anybody can read and list what is published here"),
        (Ok(true), _) => Finding::weak(CHECK, "anybody can read objects, but not list them; some readers want to", policy(url)),
        (Err(error), _) if error.kind != ErrorKind::Forbidden => Finding::weak(CHECK, format!("cannot be told: {}", error.message), ""),
        _ => Finding::weak(CHECK, "only those with keys can read what is published here", policy(url)),
    };
    std::iter::once(public).chain(pages).collect()
}

/// Whether viewers in web pages may read what anybody may.
fn pages(place: &str, access: &Access) -> Option<Finding> {
    const CHECK: &str = "web pages";
    Some(match store::serves_pages(&format!("{}/{KEY}", probe::web_address(place, access)?), access) {
        Ok(true) => Finding::good(CHECK, "viewers in web pages can read what is published here"),
        Ok(false) => Finding::weak(
            CHECK,
            "viewers in web pages cannot read what is published here: the server does not allow pages of other sites (CORS)",
            "if they shall, allow origin `*`, method GET and header `range` in the bucket's CORS rules (Swift: the container's `X-Container-Meta-Access-Control-Allow-Origin`)",
        ),
        Err(error) => Finding::weak(CHECK, format!("whether viewers in web pages can read it cannot be told: {}", error.message), ""),
    })
}

fn policy(url: &str) -> String {
    if url.starts_with("gs://") {
        return "if it shall be public, give `allUsers` the role `roles/storage.objectViewer` on the bucket".to_owned();
    }
    if !url.starts_with("s3://") {
        return "if it shall be public, set the container's access level to `container`, and allow that on the account".to_owned();
    }
    let bucket = url.strip_prefix("s3://").and_then(|rest| rest.split('/').next()).unwrap_or("BUCKET");
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"], "Resource": [format!("arn:aws:s3:::{bucket}/*")]},
        {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:ListBucket"], "Resource": [format!("arn:aws:s3:::{bucket}")]},
    ]});
    format!("if it shall be public, give the bucket this policy (MinIO: `mc anonymous set download`): {policy}")
}

fn abilities(url: &str, place: &str, patient: &Patient<'_>) -> Vec<Finding> {
    const CHECK: &str = "store";
    let asked = Doors::open(place, patient.access).and_then(|doors| probe::ask(&doors, "abilities", Depth::Thorough, patient.stop));
    let told = match asked {
        Ok(Some(told)) => told,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Finding::failed(CHECK, &error, "`gristmill store probe` tells more")],
    };
    if let Some(altered) = &told.altered {
        return vec![Finding::bad(CHECK, 7, format!("it does not give back what it was given: {altered}"), "do not use this store")];
    }
    let mut findings: Vec<Finding> = [Mode::Lease, Mode::Append]
        .into_iter()
        .map(|mode| told.verdict(mode))
        .filter(|verdict| verdict.answer != Answer::Yes)
        .map(|verdict| {
            Finding::weak(
                CHECK,
                format!("{}: {}: {}", verdict.mode.name(), verdict.answer.name(), verdict.reason),
                "`--versioned` is safe everywhere; `gristmill store probe` tells more",
            )
        })
        .collect();
    findings.extend(quirks::of_abilities(&told));
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, format!("{} can do all that a run needs", shown(url))));
    }
    findings
}

/// Removes what is left; a folder of a local disk itself, too.
fn clear(place: &str, access: &Access) {
    if let Some(folder) = crate::run::state::local_folder(place) {
        drop(std::fs::remove_dir_all(folder));
        return;
    }
    if let Ok(store) = store::target(place, access) {
        let store: Arc<dyn TargetStore> = store;
        // An object that cannot be deleted was told of above.
        drop(store.delete(KEY));
    }
}
