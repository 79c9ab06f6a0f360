//! A real server, when `ci/servers.sh` has started one: `GRISTMILL_TEST_NGINX` is its URL, `GRISTMILL_TEST_NGINX_ROOT` its directory.

use gristmill::store::access::Retries;
use gristmill::store::{Access, ErrorKind};

use super::{hasty, one, whole, with};

/// URL and the bytes of the sample file; `None`, said aloud, without the server.
fn nginx() -> Option<(String, Vec<u8>)> {
    let Ok(base) = std::env::var("GRISTMILL_TEST_NGINX") else {
        println!("no nginx: `GRISTMILL_TEST_NGINX` is not set; ci/servers.sh starts one");
        return None;
    };
    let root = std::env::var("GRISTMILL_TEST_NGINX_ROOT").unwrap();
    let sample = std::fs::read(std::path::Path::new(&root).join("sample.bin")).unwrap();
    Some((base, sample))
}

fn patient() -> Access {
    let milliseconds = std::time::Duration::from_millis;
    let retries =
        Retries { attempts: 12, give_up_after: milliseconds(60_000), first_wait: milliseconds(50), longest_wait: milliseconds(2000) };
    Access { retries, ..hasty() }
}

#[test]
fn reads_ranges_and_streams() {
    let Some((base, sample)) = nginx() else { return };
    let (store, recorder) = with(&patient());
    for place in ["plain", "slow", "flaky", "whole", "moved"] {
        let url = format!("{base}/{place}/sample.bin");
        assert_eq!(store.head(&url).unwrap().size, Some(sample.len() as u64), "{place}");
        let ranges: Vec<_> = (0..40_u64).map(|number| number * 37_001..number * 37_001 + 999).collect();
        for (range, bytes) in ranges.iter().zip(store.ranges(&url, &ranges).unwrap()) {
            assert_eq!(bytes, sample[range.start as usize..range.end as usize], "{place} {range:?}");
        }
        assert!(whole(&*store, &url).unwrap() == sample, "{place}");
    }
    println!("{} retries", recorder.retries().len());
}

#[test]
fn a_rate_limit_is_obeyed_until_all_is_read() {
    let Some((base, sample)) = nginx() else { return };
    let (store, recorder) = with(&patient());
    let url = format!("{base}/limited/sample.bin");
    let ranges: Vec<_> = (0..12_u64).map(|number| number * 200_000..number * 200_000 + 9).collect();
    for (range, bytes) in ranges.iter().zip(store.ranges(&url, &ranges).unwrap()) {
        assert_eq!(bytes, sample[range.start as usize..range.end as usize]);
    }
    assert!(recorder.retries().iter().any(|reason| reason.contains("429")));
}

#[test]
fn refusals_are_told() {
    let Some((base, _)) = nginx() else { return };
    let (store, _) = with(&hasty());
    let kind = |path: &str| one(&*store, &format!("{base}/{path}"), 0..4).unwrap_err().kind;
    assert_eq!(kind("plain/absent.bin"), ErrorKind::NotFound);
    assert_eq!(kind("closed/sample.bin"), ErrorKind::Forbidden);
    assert_eq!(kind("page.nc"), ErrorKind::Integrity);
    assert_eq!(kind("dropped.nc"), ErrorKind::Temporary);
}
