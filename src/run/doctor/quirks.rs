//! What is known of particular servers: EOSC's `MinIO`, CESNET's object store, `OpenStack` Swift behind its S3 API.
//!
//! From the pages of pangeo-eosc and Swift's s3api middleware (`swift/common/middleware/s3api`). Pure. Invariant: a word about a
//! server is said only if its address or its answers show that it is one.

use url::Url;

use super::Finding;
use crate::store::access::{PathStyle, S3Access};
use crate::store::probe::{Abilities, Parts, Support};

const CHECK: &str = "known quirks";

/// What the settings and the URL show.
pub(super) fn of_settings(target: &str, s3: &S3Access, hub_user: Option<&str>) -> Vec<Finding> {
    let Some(bucket) = target.strip_prefix("s3://").and_then(|rest| rest.split('/').next()) else { return Vec::new() };
    let endpoint = s3.endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok());
    let host = endpoint.as_ref().and_then(Url::host_str).unwrap_or_default();
    let mut findings = Vec::new();
    if endpoint.as_ref().is_some_and(|endpoint| endpoint.path().trim_end_matches('/').ends_with("/swift/v1")) {
        let help =
            "use the address of the S3 API, mostly the same host without `/swift/v1`; keys are made by `openstack ec2 credentials create`";
        findings.push(Finding::bad(CHECK, 2, "`endpoint` is the one of Swift's own API, which is not spoken here", help));
    }
    if endpoint.is_some() && s3.path_style == PathStyle::HostName && !host.ends_with("amazonaws.com") {
        let message = "`path_style = false`, but MinIO and Swift know buckets in the path only, unless a domain was set up for them";
        findings.push(Finding::weak(CHECK, message, "remove `path_style` from `[s3]`"));
    }
    if is_eosc(host) {
        findings.extend(eosc(bucket, hub_user));
    }
    if host == "object-store.cloud.muni.cz" {
        let message = "this store takes 1.5 to 2.5 s for an object of 64 MiB, and half a second for any: many small objects are slow, and so are deletes";
        findings.push(Finding::weak(CHECK, message, "aim for large chunks or `shards`; rely on `--versioned` rather than on deleting"));
    }
    if s3.credentials.is_none() {
        let help = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `profile` under `[s3]`; on a Dask worker give them explicitly: a profile of the notebook is not there";
        findings.push(Finding::weak(CHECK, "no S3 keys are set: requests are anonymous", help));
    }
    findings
}

fn is_eosc(host: &str) -> bool {
    host.starts_with("pangeo-eosc-minio") || (host.contains("pangeo") && host.ends_with(".fedcloud.eu"))
}

fn eosc(bucket: &str, hub_user: Option<&str>) -> Option<Finding> {
    let rule = "on EOSC's MinIO a bucket's name begins with `$JUPYTERHUB_USER-`, or with the name of your group";
    match hub_user {
        Some(user) if bucket.starts_with(&format!("{user}-")) => None,
        Some(user) => {
            Some(Finding::weak(CHECK, format!("{rule}; `{bucket}` does not"), format!("use `{user}-NAME`, unless it is your group's")))
        }
        None => Some(Finding::weak(CHECK, rule, format!("check that `{bucket}` does"))),
    }
}

/// What the store's answers show.
pub(super) fn of_abilities(told: &Abilities) -> Vec<Finding> {
    let mut findings = Vec::new();
    if told.replace == Support::Refused {
        let message = "it answers 501 to `If-Match`, as OpenStack Swift's S3 API does: listings may lag, deletes are slow, and browsers need CORS to be switched on";
        let help = "`region` under `[s3]` must be the one the server is set up with (`us-east-1` if nobody changed it), or signatures fail";
        findings.push(Finding::weak(CHECK, message, help));
    }
    if told.create == Support::Ignored {
        findings.push(Finding::weak(
            CHECK,
            "it accepts `If-None-Match: *` and overwrites all the same, as some Ceph gateways and Garage do",
            "use `--versioned`, and let one run at a time write",
        ));
    }
    if let Some(Parts::Broken(why)) = told.further.as_ref().map(|further| &further.parts) {
        findings.push(Finding::weak(CHECK, format!("uploads in parts fail: {why}"), "keep objects below 64 MiB, which are sent whole"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(target: &str, endpoint: &str, user: Option<&str>) -> String {
        let s3 = S3Access { endpoint: Some(endpoint.to_owned()), ..S3Access::default() };
        of_settings(target, &s3, user).iter().map(|finding| format!("{} {}\n", finding.message, finding.help)).collect()
    }

    #[test]
    fn servers_are_known_by_their_address() {
        let minio = "https://pangeo-eosc-minioapi.vm.fedcloud.eu/";
        assert!(told("s3://data/x", minio, Some("ada")).contains("`ada-NAME`"));
        assert!(!told("s3://ada-data/x", minio, Some("ada")).contains("JUPYTERHUB_USER"));
        assert!(told("s3://b/x", "https://object-store.cloud.muni.cz/swift/v1", None).contains("Swift's own API"));
        assert!(told("s3://b/x", "https://object-store.cloud.muni.cz", None).contains("large chunks"));
        assert!(told("s3://b/x", "https://s3.example.org", None).contains("anonymous"));
        assert_eq!(told("out.zarr", minio, None), "");
    }
}
