//! The store rows of the fault table: each fault has its behaviour and its exit code, nothing wrong becomes visible, and a run
//! goes on once the world is well again. The binary is run in processes of its own, against a folder, against a small S3 server
//! that is wrong by script, and against moto where `GRISTMILL_TEST_S3` names one.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "what is left out for want of a server or of rights is said aloud")]

mod disk;
mod held;
#[path = "../made_files/mod.rs"]
mod made_files;
mod probe;
#[path = "../real_s3/mod.rs"]
mod real_s3;
mod s3;
#[path = "../scripted_server/mod.rs"]
mod scripted_server;
mod signals;
#[path = "../small_s3/mod.rs"]
mod small_s3;
mod sweep;
mod weak;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use made_files::MadeFile;
use scripted_server::{Server, Step, honest};
use small_s3::SmallS3;

const SETTINGS: &str = "[network]\nattempts = 3\ngive_up_after_seconds = 5\nidle_timeout_seconds = 10\nconnect_timeout_seconds = 2\n";

/// A folder with a recipe, its files and settings; and where the target shall be.
pub(crate) struct Place {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
    pub(crate) target: String,
    environment: Vec<(String, String)>,
}

impl Place {
    /// Files of a day each, and a target in the same folder.
    pub(crate) fn local(days: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        fs::write(path.join("settings.toml"), SETTINGS).unwrap();
        let target = path.join("out.zarr").display().to_string();
        let place = Self { _folder: folder, path, target, environment: Vec::new() };
        (0..days).for_each(|number| place.add_day(number));
        place.of_files(days);
        place
    }

    /// The same, with the target on a server.
    pub(crate) fn on(server: &SmallS3, days: u32) -> Self {
        Self::local(days).at(&server.endpoint(), "s3://bucket/out.zarr")
    }

    /// The same place with a target on the server of an endpoint.
    pub(crate) fn at(mut self, endpoint: &str, target: &str) -> Self {
        target.clone_into(&mut self.target);
        let pairs = [("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "hush-hush")];
        self.environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self
    }

    pub(crate) fn add_day(&self, number: u32) {
        fs::write(self.path.join(format!("{number}.nc")), day(number).bytes()).unwrap();
    }

    /// The recipe takes so many local files.
    pub(crate) fn of_files(&self, days: u32) {
        let files: Vec<String> = (0..days).map(|number| format!("{number}.nc")).collect();
        self.of(&files);
    }

    /// The recipe takes these files.
    pub(crate) fn of(&self, files: &[String]) {
        let text = format!(
            "schema: 1\nid: sample\ntitle: A sample\nlicense: CC0-1.0\ninputs: {{files: [{}]}}\ncombine: {{concat: [time]}}\noutput:\n  chunks: {{time: 1}}\n",
            files.join(", ")
        );
        fs::write(self.path.join("recipe.yaml"), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(["run", "recipe.yaml", "--target", &self.target, "--config", "settings.toml", "--quiet", "--threads", "2"]);
        command.args(arguments).current_dir(&self.path).env_remove("RUST_LOG").env("XDG_CACHE_HOME", self.path.join("cache"));
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs, and holds exit code and stderr to what is expected.
    pub(crate) fn fails(&self, arguments: &[&str], exit: i32, says: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{errors}");
        for text in says {
            assert!(errors.contains(text), "`{text}` is missing in:\n{errors}");
        }
        assert!(!errors.contains("hush-hush"), "a secret is told: {errors}");
        errors
    }

    /// Runs to the end; the report.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> serde_json::Value {
        let report = self.path.join("told.json");
        let _absent = fs::remove_file(&report);
        let output = self.run(&[&["--report", report.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&fs::read(report).unwrap()).unwrap()
    }

    /// Every object of a local store.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(Path::new(&self.target))
    }
}

/// Every file below a folder, by its path from there.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Every object of the store at a server's `s3://bucket/out.zarr`.
pub(crate) fn stored(server: &SmallS3) -> BTreeMap<String, Vec<u8>> {
    let own = server.objects().into_iter().filter_map(|(path, bytes)| Some((path.strip_prefix("bucket/out.zarr/")?.to_owned(), bytes)));
    own.collect()
}

/// What a store of so many days holds when nothing goes wrong.
pub(crate) fn undisturbed(days: u32) -> BTreeMap<String, Vec<u8>> {
    let place = Place::local(days);
    place.succeeds(&[]);
    place.objects()
}

/// A file of one time step of noise: incompressible, 16 kB.
pub(crate) fn day(number: u32) -> MadeFile {
    let noise = |place: u32| f64::from(place.wrapping_add(number * 7919).wrapping_mul(2_654_435_761) >> 3);
    let latitudes: Vec<f64> = (0..40).map(f64::from).collect();
    let values: Vec<f64> = (0..2000).map(noise).collect();
    MadeFile::default()
        .dimension("time", 1)
        .dimension("lat", 40)
        .dimension("lon", 50)
        .variable("time", "double", &["time"], &[f64::from(number)], &[("units", "days since 2000-01-01")])
        .variable("lat", "double", &["lat"], &latitudes, &[])
        .variable("x", "double", &["time", "lat", "lon"], &values, &[("units", "K")])
}

/// A web server of days that answers each request for data so much later while its switch is on.
pub(crate) fn slow_days(wait: Duration) -> (Server, Arc<AtomicBool>) {
    let slow = Arc::new(AtomicBool::new(true));
    let shared = Arc::clone(&slow);
    let server = Server::start(move |request, _| {
        let number = request.path.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
        let mut answer = honest(request, &day(number).bytes());
        if shared.load(Ordering::SeqCst) && request.method != "HEAD" {
            answer.insert(0, Step::Wait(wait));
        }
        answer
    });
    (server, slow)
}

/// URLs of days on a server.
pub(crate) fn urls(server: &Server, days: u32) -> Vec<String> {
    (0..days).map(|number| format!("'{}'", server.url(&format!("/{number}.dat")))).collect()
}
