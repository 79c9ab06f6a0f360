//! Every recipe that is shipped: checked; planned and baked offline where its files are in the repository, otherwise on the
//! generated archive that `tests/archives/archives.toml` names, served over HTTP.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

/// A row of `archives.toml`; `tests/archives/README.md` says what its words mean.
#[derive(Deserialize)]
struct Archive {
    prefix: String,
    replace: Vec<(String, String)>,
    #[expect(dead_code, reason = "checked by tests/archives/check.py")]
    files: usize,
    sizes: BTreeMap<String, u64>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn archives() -> BTreeMap<String, Archive> {
    let text = std::fs::read_to_string(root().join("tests/archives/archives.toml")).expect("archives.toml is readable");
    toml::from_str(&text).expect("archives.toml is valid")
}

fn recipes() -> Vec<String> {
    let listed = std::fs::read_dir(root().join("recipes")).expect("recipes can be listed").flatten();
    let mut names: Vec<String> = listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn gristmill(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gristmill")).args(arguments).current_dir(root()).output().expect("the binary starts")
}

fn succeed(arguments: &[&str]) -> String {
    let output = gristmill(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "gristmill {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Lengths of the dimensions of a Zarr 3 store, from the arrays' own metadata.
fn sizes(store: &Path) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for entry in std::fs::read_dir(store).expect("the store can be listed").flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path().join("zarr.json")) else { continue };
        let array: serde_json::Value = serde_json::from_str(&text).expect("zarr.json is JSON");
        let (names, lengths) = (&array["dimension_names"], &array["shape"]);
        for (name, length) in names.as_array().into_iter().flatten().zip(lengths.as_array().into_iter().flatten()) {
            let length = length.as_u64().expect("a length");
            let known = *sizes.entry(name.as_str().expect("every dimension has a name").to_owned()).or_insert(length);
            assert_eq!(known, length, "dimension {name} has two lengths");
        }
    }
    sizes
}

fn plan_and_bake(recipe: &Path, folder: &Path) -> BTreeMap<String, u64> {
    let (recipe, target) = (recipe.to_str().expect("UTF-8"), folder.join("out.zarr"));
    assert!(!succeed(&["plan", recipe]).is_empty(), "{recipe}: the plan says nothing");
    succeed(&["run", recipe, "--target", target.to_str().expect("UTF-8"), "--quiet"]);
    let report = std::fs::read_to_string(folder.join("out.zarr.gristmill/report.json")).expect("a report beside the target");
    assert!(serde_json::from_str::<serde_json::Value>(&report).is_ok(), "report.json is JSON");
    sizes(&target)
}

#[test]
fn every_recipe_is_valid() {
    let names = recipes();
    assert!(names.len() >= 10, "recipes: {names:?}");
    for name in names {
        succeed(&["check", &format!("recipes/{name}/recipe.yaml")]);
    }
}

#[test]
fn recipes_on_files_of_the_repository_bake_offline() {
    let expected: [(&str, &[(&str, u64)]); 4] = [
        ("arm-met", &[("time", 7200)]),
        ("cmip6-siconc", &[("time", 300), ("j", 5), ("i", 9)]),
        ("imos-currents", &[("TIME", 4), ("I", 50), ("J", 50)]),
        ("tcco2-packed", &[("time", 19), ("lat", 40), ("lon", 80)]),
    ];
    let offline: Vec<String> = recipes().into_iter().filter(|name| !archives().contains_key(name)).collect();
    assert_eq!(offline, expected.map(|(name, _)| name.to_owned()), "a recipe is neither here nor in archives.toml");
    for (name, wanted) in expected {
        let folder = tempfile::tempdir().expect("a folder");
        let found = plan_and_bake(&root().join("recipes").join(name).join("recipe.yaml"), folder.path());
        for (dimension, length) in wanted {
            assert_eq!(found.get(*dimension), Some(length), "{name}: {dimension}");
        }
    }
}

#[test]
fn recipes_for_public_archives_bake_their_generated_archive() {
    let folder = tempfile::tempdir().expect("a folder");
    generate(folder.path());
    let server = serve(folder.path().to_owned());
    for (name, archive) in archives() {
        let work = tempfile::tempdir().expect("a folder");
        let recipe = work.path().join("recipe.yaml");
        std::fs::write(&recipe, shortened(&name, &archive, &server)).expect("a recipe");
        let found = plan_and_bake(&recipe, work.path());
        for (dimension, length) in &archive.sizes {
            assert_eq!(found.get(dimension), Some(length), "{name}: {dimension}");
        }
    }
}

/// The recipe's text, pointed at the local server and shortened as its row says.
fn shortened(name: &str, archive: &Archive, server: &str) -> String {
    let mut text = std::fs::read_to_string(root().join(format!("recipes/{name}/recipe.yaml"))).expect("a shipped recipe");
    let prefix = (archive.prefix.clone(), format!("{server}/{name}/"));
    for (old, new) in std::iter::once(&prefix).chain(&archive.replace) {
        assert_eq!(text.matches(old.as_str()).count(), 1, "{name}: `{old}` must occur once");
        text = text.replace(old.as_str(), new);
    }
    text
}

fn generate(folder: &Path) {
    let python = std::env::var_os("GRISTMILL_PYTHON").map_or_else(|| root().join(".venv/bin/python"), PathBuf::from);
    assert!(python.exists(), "no {}: run ci/oracle.sh first, or set GRISTMILL_PYTHON", python.display());
    let made = Command::new(python).arg(root().join("tests/archives/make.py")).arg("all").arg(folder).status().expect("python starts");
    assert!(made.success(), "make.py: {made}");
}

/// A file server with byte ranges on a free port; returns `http://127.0.0.1:PORT`.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Head and body are two writes; without this each answer would wait for the client's delayed acknowledgement.
            stream.set_nodelay(true).expect("a live connection");
            let folder = folder.clone();
            std::thread::spawn(move || while answer(&stream, &folder).unwrap_or(false) {});
        }
    });
    format!("http://{address}")
}

/// Answers one request; false when the client has closed the connection.
fn answer(mut stream: &TcpStream, folder: &Path) -> std::io::Result<bool> {
    let mut request = Vec::new();
    // One byte at a time: nothing of the next request may be swallowed by a buffer that is dropped here.
    for line in BufReader::with_capacity(1, stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        request.push(line);
    }
    let Some(first) = request.first() else { return Ok(false) };
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Ok(mut file) = std::fs::File::open(folder.join(path.trim_start_matches('/'))) else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    };
    let size = file.metadata()?.len();
    let range = request.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let (start, end) = range.as_deref().and_then(|range| bounds(range, size)).unwrap_or((0, size));
    let status = if range.is_some() {
        format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}", end - 1)
    } else {
        "200 OK".to_owned()
    };
    write!(stream, "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nETag: \"{size}\"\r\nContent-Length: {}\r\n\r\n", end - start)?;
    if method != "HEAD" {
        file.seek(SeekFrom::Start(start))?;
        std::io::copy(&mut file.take(end - start), &mut stream)?;
    }
    Ok(true)
}

/// `a-b`, `a-` and `-n` as a half-open range within the file.
fn bounds(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.trim().split_once('-')?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => Some((first, size.min(last + 1))),
        (Ok(first), Err(_)) => Some((first, size)),
        (Err(_), Ok(count)) => Some((size.saturating_sub(count), size)),
        (Err(_), Err(_)) => None,
    }
    .filter(|(first, end)| first < end)
}
