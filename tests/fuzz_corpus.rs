//! Replays what fuzzing found interesting (`tests/fuzz/corpus/TARGET/`), and every input that once broke something
//! (`tests/fuzz/found/TARGET/`): no panic, and none takes long. libFuzzer makes the files; here it is not needed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// What a target does with some bytes.
type Target = fn(&[u8]);

/// No input may take longer, however slow the machine.
const LIMIT: Duration = Duration::from_mins(1);

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

/// The next number of a sequence that a seed decides (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Changes a few places of some bytes: bits, bytes and numbers set to what hurts, parts moved and repeated.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], state: &mut u64) {
    const NUMBERS: [u64; 10] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX];
    for _ in 0..=next(state) % 6 {
        if bytes.is_empty() {
            bytes.push(0);
        }
        // Half of the places are near the start, where headers are.
        let length = if next(state).is_multiple_of(2) { bytes.len() } else { bytes.len().min(2048) };
        let at = next(state) as usize % length;
        match next(state) % 8 {
            0 | 1 => bytes[at] ^= 1 << (next(state) % 8),
            2 => bytes[at] = next(state) as u8,
            3 | 4 => {
                let number = NUMBERS[next(state) as usize % NUMBERS.len()].wrapping_add(next(state) % 3).to_le_bytes();
                let width = (1 << (next(state) % 4)).min(bytes.len() - at);
                let big = next(state).is_multiple_of(4);
                (0..width).for_each(|place| bytes[at + place] = number[if big { width - 1 - place } else { place }]);
            }
            5 => {
                let (from, count) = (next(state) as usize % bytes.len(), next(state) as usize % 64);
                let part: Vec<u8> = bytes.iter().skip(from).take(count).copied().collect();
                bytes.splice(at..(at + part.len()).min(bytes.len()), part);
            }
            6 => bytes.truncate(bytes.len().saturating_sub(next(state) as usize % 100)),
            _ if !other.is_empty() => {
                let from = next(state) as usize % other.len();
                let part: Vec<u8> = other.iter().skip(from).take(next(state) as usize % 256).copied().collect();
                bytes.splice(at..(at + part.len()).min(bytes.len()), part);
            }
            _ => {}
        }
    }
}

/// Gives changed seeds and corpus to a target until the time is over; a failure prints the seed and leaves the bytes in `tests/fuzz/artifacts`.
#[test]
#[ignore = "as long as wanted; run by hand: MUTATE=hdf5,60 cargo test --test fuzz_corpus mutated -- --ignored --nocapture"]
fn mutated() {
    let asked = std::env::var("MUTATE").unwrap_or_else(|_| "hdf5,10".to_owned());
    let (name, seconds) = asked.split_once(',').unwrap();
    let targets: [(&str, Target); 8] = [
        ("recipe", targets::recipe),
        ("template", targets::template),
        ("netcdf3", targets::netcdf3),
        ("hdf5", targets::hdf5),
        ("filters", targets::filters),
        ("placement", targets::placement),
        ("state", targets::state),
        ("zarr", targets::zarr),
    ];
    let target = targets.iter().find(|(known, _)| *known == name).unwrap().1;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let kinds = ["corpus", "found", "seeds"];
    let files = kinds.iter().flat_map(|kind| std::fs::read_dir(root.join(kind).join(name)).into_iter().flatten());
    let seeds: Vec<Vec<u8>> = files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    let mut state = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    println!("{name}: {} seeds, sequence {state}", seeds.len());
    let (begun, mut count, mut slowest) = (std::time::Instant::now(), 0_u64, Duration::ZERO);
    while begun.elapsed().as_secs() < seconds.parse().unwrap() {
        let mut bytes = seeds[next(&mut state) as usize % seeds.len()].clone();
        mutate(&mut bytes, &seeds[next(&mut state) as usize % seeds.len()], &mut state);
        let one = std::time::Instant::now();
        if std::panic::catch_unwind(|| target(&bytes)).is_err() {
            let folder = root.join("artifacts").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)));
            std::fs::write(&path, &bytes).unwrap();
            panic!("after {count} executions: {}", path.display());
        }
        slowest = slowest.max(one.elapsed());
        count += 1;
    }
    println!("{name}: {count} executions in {} s, the slowest {slowest:?}", begun.elapsed().as_secs());
}
