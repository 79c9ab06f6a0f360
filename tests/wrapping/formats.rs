//! Every way of packing, as other people's programs do it.

use super::archives::{bzip2, deflated, gzip, stored, tar, zip, zstd};
use super::{client, data, lines, made, noise, whole};

const LONG: &str = "d/a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-a-very-long-name-end.txt";

#[test]
fn packed_files_of_several_parts_are_one() {
    let both = [lines("one.txt"), lines("d/two.txt")].concat();
    for name in ["two-members.gz", "two-streams.bz2", "two-frames.zst"] {
        assert!(whole(&*client(), &made(name)) == both, "{name}");
    }
}

#[test]
fn members_are_read_whoever_made_the_archive() {
    for (archive, names) in [
        ("info-zip.zip", vec!["one.txt", "d/two.txt", LONG]),
        ("zip64.zip", vec!["one.txt", "d/two.txt"]),
        ("gnu.tar", vec!["one.txt", "d/two.txt", LONG, "./one.txt"]),
        ("pax.tar", vec!["one.txt", "./d/two.txt", LONG]),
        ("ustar.tgz", vec!["d/two.txt", "one.txt"]),
    ] {
        let store = client();
        for name in names {
            let content = whole(&*store, &format!("{}!{name}", made(archive)));
            assert!(content == lines(name.trim_start_matches("./")), "{archive} {name}");
        }
    }
    for member in ["prefixed.zip!one.txt", "prefixed.zip!bzip2.txt", "methods.zip!bzip2.txt"] {
        assert!(whole(&*client(), &made(member)) == lines("one.txt"), "{member}");
    }
}

#[test]
fn what_is_packed_is_told_by_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let content = std::fs::read(data("tcco2-packed/tcco2_20060101.nc")).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let urls = [
        file("claims.nc", &gzip(&content)),
        file("claims-too.nc", &bzip2(&content)),
        file("claims-as-well.nc", &zstd(&content)),
        file("is-none.nc.gz", &content),
        file("plain.nc", &content),
        file("packed.nc.gz", &gzip(&content)),
    ];
    for url in urls {
        assert!(whole(&*client(), &url) == content, "{url}");
        let opened = gristmill::source::open(&client(), &url).unwrap();
        assert!(opened.schema().variable("tcco2").is_some(), "{url}");
    }
}

#[test]
fn packings_lie_in_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(100_000);
    let inner = zip(&[deflated("m.nc", &content), stored("n.nc.gz", &gzip(&content))]);
    let outer = tar(&[("inner.zip", &inner), ("x.nc.bz2", &bzip2(&content))]);
    let path = folder.path().join("outer.tar.zst");
    std::fs::write(&path, zstd(&outer)).unwrap();
    let path = path.to_str().unwrap();
    for member in ["inner.zip!m.nc", "inner.zip!n.nc.gz", "x.nc.bz2"] {
        assert!(whole(&*client(), &format!("{path}!{member}")) == content, "{member}");
    }
}

#[test]
fn names_are_names_and_never_paths() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside.txt");
    std::fs::write(&outside, b"not this").unwrap();
    let names = ["../outside.txt", "/etc/passwd", "C:\\x.nc", "a//b.nc", "ü.nc"];
    let members: Vec<_> = names.iter().map(|name| stored(name, name.as_bytes())).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    for (archive, bytes) in [("in/a.zip", zip(&members)), ("in/a.tar", tar(&files))] {
        let path = folder.path().join(archive);
        std::fs::write(&path, bytes).unwrap();
        for name in names {
            assert_eq!(whole(&*client(), &format!("{}!{name}", path.to_str().unwrap())), name.as_bytes(), "{archive}");
        }
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"not this");
    assert_eq!(std::fs::read_dir(folder.path().join("in")).unwrap().count(), 2, "something was unpacked beside the archives");
}

#[test]
fn another_content_is_another_identity() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.zip");
    let url = format!("{}!m.nc", path.to_str().unwrap());
    let store = client();
    let mut seen = Vec::new();
    for content in [b"one!", b"two!"] {
        std::fs::write(&path, zip(&[stored("m.nc", content)])).unwrap();
        let identity = store.head(&url).unwrap().identity();
        assert!(identity.tells_versions_apart());
        assert_eq!(identity, client().begin(&url).unwrap().0.identity(), "a second process sees the same");
        assert_eq!(whole(&*store, &url), content);
        assert!(!seen.contains(&identity));
        seen.push(identity);
    }
}
