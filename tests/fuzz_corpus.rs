//! Replays what fuzzing found interesting (`tests/fuzz/corpus/TARGET/`), and every input that once broke something
//! (`tests/fuzz/found/TARGET/`): no panic, and none takes long. cargo-fuzz makes the files; here it is not needed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// No input may take longer, however slow the machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Gives every file of a target to it; at least `least` there must be.
fn replay(name: &str, target: fn(&[u8]), least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let files = ["corpus", "found"].iter().flat_map(|kind| std::fs::read_dir(root.join(kind).join(name)).into_iter().flatten());
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= least, "only {} files for `{name}`", files.len());
    let (done, waiting) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            done.send(file).unwrap();
            target(&bytes);
        }
    });
    let mut current = None;
    loop {
        match waiting.recv_timeout(LIMIT) {
            Ok(next) => current = Some(next),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{current:?} takes longer than {LIMIT:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    assert!(thread.join().is_ok(), "{current:?}");
}

/// One test for each target, named like it.
macro_rules! replay {
    ($($name:ident $least:literal)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), targets::$name, $least);
            }
        )*
    };
}

replay! { recipe 1 template 1 netcdf3 1 hdf5 1 filters 1 placement 1 state 1 zarr 1 }
