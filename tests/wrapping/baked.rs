//! Real data, packed in every way and baked: the store is, byte for byte, that of the plain files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use super::archives::{bzip2, deflated, gzip, stored, tar, zip, zstd};
use super::data;
use super::server::{Server, honest};

fn gristmill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill")).args(arguments).output().unwrap()
}

/// Bakes the five days that `url` gives, and returns the store's files; the run is verified.
fn bake(folder: &Path, name: &str, url: &str) -> BTreeMap<String, Vec<u8>> {
    let (recipe, target) = (folder.join(format!("{name}.yaml")), folder.join(format!("{name}.zarr")));
    let text = format!(
        "schema: 1\nid: tcco2\ntitle: Total column CO2\nlicense: OGL-UK-3.0\ninputs:\n  url: \"{url}\"\n  keys:\n    time: {{dates: {{start: 2006-01-01, end: 2006-01-05, step: 1 day}}}}\n\
         combine: {{concat: [time]}}\noutput:\n  chunks: {{time: 19, latitude: 20, longitude: 40}}\n"
    );
    std::fs::write(&recipe, text).unwrap();
    let (recipe, target) = (recipe.to_str().unwrap(), target.to_str().unwrap());
    for arguments in [vec!["run", recipe, "--target", target], vec!["verify", target, "--against-source"]] {
        let output = gristmill(&arguments);
        assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let plan = gristmill(&["plan", recipe]);
    assert!(plan.status.success(), "{name}: {}", String::from_utf8_lossy(&plan.stderr));
    let mut found = BTreeMap::new();
    collect(Path::new(target), Path::new(target), &mut found);
    assert!(found.len() > 5, "{name}: {:?}", found.keys());
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(root, &entry, found);
        } else {
            found.insert(entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), std::fs::read(&entry).unwrap());
        }
    }
}

#[test]
fn a_store_does_not_depend_on_how_its_files_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (1..=5).map(|day| format!("tcco2_2006010{day}.nc")).collect();
    let contents: Vec<Vec<u8>> = names.iter().map(|name| std::fs::read(data("tcco2-packed").join(name)).unwrap()).collect();
    let both = || names.iter().zip(&contents);
    for (name, content) in both() {
        std::fs::write(folder.path().join(format!("{name}.gz")), gzip(content)).unwrap();
        std::fs::write(folder.path().join(format!("{name}.bz2")), bzip2(content)).unwrap();
        std::fs::write(folder.path().join(format!("{name}.zst")), zstd(content)).unwrap();
    }
    let files: Vec<(&str, &[u8])> = both().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let archives = [
        ("stored.zip", zip(&both().map(|(name, content)| stored(name, content)).collect::<Vec<_>>())),
        ("deflated.zip", zip(&both().map(|(name, content)| deflated(name, content)).collect::<Vec<_>>())),
        ("a.tar", tar(&files)),
        ("a.tar.gz", gzip(&tar(&files))),
        ("a.tzst", zstd(&tar(&files))),
    ];
    for (name, archive) in &archives {
        std::fs::write(folder.path().join(name), archive).unwrap();
    }
    let day = "tcco2_{time:%Y%m%d}.nc";
    let plain = bake(folder.path(), "plain", &format!("{}/{day}", data("tcco2-packed").to_str().unwrap()));
    let here = folder.path().to_str().unwrap();
    let packed = ["gz", "bz2", "zst"].map(|end| (end.to_owned(), format!("{here}/{day}.{end}")));
    let inside = archives.each_ref().map(|(name, _)| ((*name).to_owned(), format!("{here}/{name}!{day}")));
    let copies = archives.clone();
    let server = Server::start(move |request, _| {
        let archive = copies.iter().find(|(name, _)| request.path.ends_with(name)).map_or(&[][..], |(_, bytes)| bytes);
        honest(request, archive)
    });
    let far = archives.each_ref().map(|(name, _)| (format!("far-{name}"), format!("{}!{day}", server.url(&format!("/{name}")))));
    for (name, url) in packed.into_iter().chain(inside).chain(far) {
        let found = bake(folder.path(), &name, &url);
        assert!(found.keys().eq(plain.keys()), "{name}");
        for (key, bytes) in &found {
            assert!(*bytes == plain[key], "{name}: {key} differs");
        }
    }
}

#[test]
fn inspect_shows_a_member() {
    let folder = tempfile::tempdir().unwrap();
    let content = std::fs::read(data("tcco2-packed/tcco2_20060101.nc")).unwrap();
    let path = folder.path().join("a.zip");
    std::fs::write(&path, zip(&[deflated("d/m.nc", &content)])).unwrap();
    let shown = |url: &str| {
        let output = gristmill(&["inspect", url, "--stats", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(shown(&format!("{}!d/m.nc", path.display())), shown(data("tcco2-packed/tcco2_20060101.nc").to_str().unwrap()));
    let output = gristmill(&["inspect", path.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && told.contains("!d/m.nc"), "{told}");
}
