//! Bombs, cuts, lies and what is not read: each refused by name, and nothing half handed on.

use std::path::Path;

use gristmill::size::ByteSize;
use gristmill::store::{Access, ErrorKind, StoreError};

use super::archives::{Member, bzip2, deflated, gzip, stored, tar, tar_header, zip, zstd};
use super::{client, made, noise, with};

fn file(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Why the file cannot be had; by whatever call comes first.
fn refusal(access: &Access, url: &str) -> StoreError {
    let begun = with(access).begin(url).map(drop).expect_err(url);
    let streamed = with(access).stream(url, &mut std::io::sink()).map(drop).expect_err(url);
    let ranged = with(access).ranges(url, std::slice::from_ref(&(0..1))).map(drop).expect_err(url);
    assert_eq!((begun.kind, begun.kind), (streamed.kind, ranged.kind), "{url}");
    begun
}

#[test]
fn bombs_of_each_kind_are_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = vec![0; 80 << 20];
    let (gz, bz, zst, bomb) = (gzip(&zeros), bzip2(&zeros), zstd(&zeros), deflated("m.nc", &zeros));
    drop(zeros);
    let nested = zip(&[stored("m.nc.gz", &gz)]);
    let urls = [
        file(folder.path(), "a.nc.gz", &gz),
        file(folder.path(), "a.nc.bz2", &bz),
        file(folder.path(), "a.nc.zst", &zst),
        file(folder.path(), "a.tar.gz", &gz) + "!m.nc",
        file(folder.path(), "a.zip", &zip(&[bomb])) + "!m.nc",
        file(folder.path(), "nested.zip", &nested) + "!m.nc.gz",
    ];
    for url in &urls {
        let by_ratio = refusal_when_begun(url);
        assert_eq!((by_ratio.kind, by_ratio.exit()), (ErrorKind::Integrity, 3), "{by_ratio}");
        assert!(by_ratio.to_string().contains("unpack_ratio"), "{by_ratio}");
        let by_size = refusal(&Access { spool_limit: ByteSize(1 << 20), ..Access::default() }, url);
        assert_eq!((by_size.kind, by_size.exit()), (ErrorKind::NoSpace, 8), "{by_size}");
        assert!(by_size.to_string().contains("spool_limit"), "{by_size}");
    }
    let generous = Access { unpack_ratio: u64::MAX, ..Access::default() };
    assert_eq!(with(&generous).begin(&urls[0]).unwrap().0.size, Some(80 << 20), "the operator's word counts");
}

#[test]
fn cuts_anywhere_are_truncations() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(20_000);
    let archives = [
        ("a.nc.gz", gzip(&content), ""),
        ("a.nc.bz2", bzip2(&content), ""),
        ("a.nc.zst", zstd(&content), ""),
        ("a.zip", zip(&[deflated("m.nc", &content), stored("n.nc", &content)]), "!m.nc"),
        ("a.tar", tar(&[("m.nc", &content)]), "!m.nc"),
        ("a.tgz", gzip(&tar(&[("m.nc", &content)])), "!m.nc"),
    ];
    for (name, bytes, member) in archives {
        let cuts = [10, bytes.len() / 3, bytes.len() * 2 / 3, bytes.len() - 1];
        for cut in cuts.into_iter().filter(|cut| !(name == "a.tar" && *cut > 21_000)) {
            let url = file(folder.path(), name, &bytes[..cut]) + member;
            let error = refusal(&Access::default(), &url);
            let told = error.to_string();
            assert_eq!(error.kind, ErrorKind::Integrity, "{name} cut at {cut}: {told}");
            assert!(told.contains(name) && told.contains(member), "{told}");
        }
    }
    // Whole members of an archive without its end are members; others may have been behind it.
    let bytes = tar(&[("m.nc", &content)]);
    let url = file(folder.path(), "a.tar", &bytes[..bytes.len() - 1024]);
    assert!(super::whole(&*client(), &format!("{url}!m.nc")) == content);
    assert_eq!(refusal(&Access::default(), &format!("{url}!n.nc")).kind, ErrorKind::Integrity);
}

#[test]
fn flipped_bytes_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..40_000_u32).map(|number| (number / 100) as u8).collect();
    let archives = [
        ("a.nc.gz", gzip(&content), ""),
        ("a.nc.bz2", bzip2(&content), ""),
        ("a.zip", zip(&[deflated("m.nc", &content)]), "!m.nc"),
        ("a.tgz", gzip(&tar(&[("m.nc", &content)])), "!m.nc"),
    ];
    for (name, bytes, member) in archives {
        for place in (40..bytes.len()).step_by(bytes.len() / 40) {
            let mut broken = bytes.clone();
            broken[place] ^= 0x20;
            let url = file(folder.path(), name, &broken) + member;
            let store = client();
            let mut read = Vec::new();
            match store.stream(&url, &mut read) {
                // Times, names and comments are nobody's business.
                Ok(_) => assert!(read == content, "{name}: byte {place} is wrong and nobody noticed"),
                Err(error) => assert!(matches!(error.kind, ErrorKind::Integrity | ErrorKind::NotFound | ErrorKind::Other), "{error}"),
            }
        }
    }
}

#[test]
fn what_zip_archives_promise_is_held_against_them() {
    let folder = tempfile::tempdir().unwrap();
    let right = deflated("m.nc", &noise(5000));
    let lies = [
        Member { length: 4999, ..right.clone() },
        Member { length: 5001, ..right.clone() },
        Member { crc: right.crc ^ 1, ..right.clone() },
        Member { packed: right.packed[..right.packed.len() - 9].to_vec(), ..right.clone() },
        Member { method: 0, ..right.clone() },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let url = file(folder.path(), &format!("{number}.zip"), &zip(&[lie])) + "!m.nc";
        let error = refusal(&Access::default(), &url);
        assert_eq!(error.kind, ErrorKind::Integrity, "{number}: {error}");
        assert!(error.to_string().contains("!m.nc"), "{error}");
    }
    // In place a stored member is read as it is; whoever reads all of it finds out.
    let url = file(folder.path(), "stored.zip", &zip(&[Member { crc: 7, ..stored("m.nc", b"what") }])) + "!m.nc";
    assert!(client().begin(&url).is_ok());
    let error = client().stream(&url, &mut std::io::sink()).unwrap_err();
    assert!(error.kind == ErrorKind::Integrity && error.to_string().contains("CRC-32"), "{error}");
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let twice = zip(&[stored("m.nc", b"one"), stored("m.nc", b"two")]);
    let mut links = tar_header("link", b'2', 0);
    links.extend(tar_header("d/", b'5', 0));
    links.extend([0; 1024]);
    let links = file(folder.path(), "links.tar", &links);
    for (url, says) in [
        (made("encrypted.zip!one.txt"), "encrypted"),
        (made("methods.zip!lzma.txt"), "LZMA (method 14)"),
        (file(folder.path(), "twice.zip", &twice) + "!m.nc", "two members of this name"),
        (format!("{links}!link"), "a symbolic link"),
        (format!("{links}!d/"), "a folder"),
        (made("gnu.tar"), "name the one that is meant"),
        (made("ustar.tgz"), "archive of 2 files"),
        (made("info-zip.zip"), "!d/a-very-long-name"),
    ] {
        let error = refusal_when_begun(&url);
        assert_eq!(error.kind, ErrorKind::Other, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    let deep = refusal_when_begun(&made("a.zip!b.zip!c.zip!m.nc"));
    assert_eq!((deep.kind, deep.exit()), (ErrorKind::Policy, 2), "{deep}");
    for archive in ["info-zip.zip", "gnu.tar", "ustar.tgz"] {
        let absent = refusal_when_begun(&made(&format!("{archive}!absent.nc")));
        assert_eq!(absent.kind, ErrorKind::NotFound, "{absent}");
        assert!(absent.to_string().contains("`d/two.txt`"), "{absent}");
    }
}

fn refusal_when_begun(url: &str) -> StoreError {
    client().begin(url).map(drop).expect_err(url)
}

#[test]
fn directories_that_make_no_sense_end() {
    let folder = tempfile::tempdir().unwrap();
    let whole = zip(&[stored("m.nc", b"what"), stored("n.nc", b"that")]);
    let end = whole.len() - 22;
    // Numbers of members, length and place of the directory, and each byte of the directory itself.
    let directory = u32::from_le_bytes(whole[end + 16..end + 20].try_into().unwrap()) as usize;
    for place in (directory..directory + 60).chain(end..whole.len()) {
        for value in [0, 0x7f, 0xff] {
            let mut broken = whole.clone();
            broken[place] = value;
            let url = file(folder.path(), "a.zip", &broken) + "!m.nc";
            let mut read = Vec::new();
            if client().stream(&url, &mut read).is_ok() {
                assert_eq!(read, b"what", "byte {place} as {value}");
            }
        }
    }
    let mut header = tar_header("m.nc", b'0', 0);
    header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let url = file(folder.path(), "endless.tar", &header) + "!m.nc";
    assert_eq!(refusal(&Access::default(), &url).kind, ErrorKind::Integrity);
}

#[test]
fn a_stranger_gets_no_further_through_archives() {
    let access = Access { untrusted: true, ..Access::default() };
    for url in [made("info-zip.zip!one.txt"), "http://127.0.0.1/a.zip!m.nc".to_owned(), "http://2130706433/a.tar.gz!m.nc".to_owned()] {
        for result in [with(&access).begin(&url).map(drop), with(&access).head(&url).map(drop)] {
            assert_eq!(result.unwrap_err().kind, ErrorKind::Policy, "{url}");
        }
    }
}
