//! A process that was suspended wakes after another went on in its place (docs/design/009): it commits nothing, moves no pointer, and
//! what it still keeps is not believed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod made_files;
mod runs;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use gristmill::event::{Reporter, Silent};
use gristmill::receipt::Receipt;
use gristmill::run::audit::{self, Level, audit};
use gristmill::run::state::State;
use gristmill::run::versions::Pointer;
use gristmill::run::{Options, Replace, Setting};
use gristmill::store::{Access, PutMode, StoreError, TargetStore, Wrapping, sibling, target};
use runs::{Bench, bake, days, dying, read};

/// What a store does before or after a call.
type Deed = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Does something after every call of a kind (`get`, `list`, `put`) whose URL and key contain a text, or before it.
struct Watched {
    url: String,
    inner: Arc<dyn TargetStore>,
    before: Deed,
    after: Deed,
}

impl TargetStore for Watched {
    fn head(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.head(key)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let found = self.inner.get(key);
        (self.after)("get", &format!("{}/{key}", self.url));
        found
    }

    fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        (self.before)("put", &format!("{}/{key}", self.url));
        let put = self.inner.put(key, bytes, mode);
        (self.after)("put", &format!("{}/{key}", self.url));
        put
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let found = self.inner.list(prefix, limit);
        (self.after)("list", &format!("{}/{prefix}", self.url));
        found
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
}

fn watched(before: Deed, after: Deed) -> Wrapping {
    Wrapping::with(move |url, inner| {
        Arc::new(Watched { url: url.to_owned(), inner, before: Arc::clone(&before), after: Arc::clone(&after) })
    })
}

fn nothing() -> Deed {
    Arc::new(|_, _| {})
}

/// A process that is suspended in a call, and when it goes on.
struct Suspended {
    met: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

impl Suspended {
    /// Suspended in the nth call of a kind whose URL and key contain a text.
    fn at(kind: &'static str, text: &'static str, nth: usize) -> (Self, Deed) {
        let ((tell, met), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
        let (count, shared) = (AtomicUsize::new(0), Mutex::new((tell, wait)));
        let deed = move |called: &str, place: &str| {
            if called == kind && place.contains(text) && count.fetch_add(1, Ordering::SeqCst) + 1 == nth {
                let shared = shared.lock().unwrap();
                shared.0.send(()).unwrap();
                let _gone = shared.1.recv();
            }
        };
        (Self { met, go }, Arc::new(deed))
    }

    fn wait(&self) {
        self.met.recv_timeout(Duration::from_mins(1)).expect("the call comes");
    }

    fn wake(&self) {
        self.go.send(()).unwrap();
    }
}

fn memory(bench: &Bench, name: &str) -> Options {
    Options { target: format!("memory://fencing-{name}"), ..bench.options() }
}

fn state(options: &Options) -> Arc<dyn TargetStore> {
    target(&sibling(&options.target, ".gristmill").unwrap(), &Access::default()).unwrap()
}

/// Makes the holder of a target look as after patience has ended, without the 20 s that this takes.
fn forsaken(options: &Options) {
    let state = state(options);
    let key = state.list("lease", 1000).unwrap().pop().expect("a lease");
    let mut record: serde_json::Value = serde_json::from_slice(&state.get(&key).unwrap().unwrap()).unwrap();
    record["released"] = true.into();
    state.put(&key, record.to_string().into(), PutMode::Overwrite).unwrap();
}

fn receipts(options: &Options) -> Vec<Receipt> {
    let state = state(options);
    let keys = state.list("receipts", 1000).unwrap();
    keys.iter().map(|key| serde_json::from_slice(&state.get(key).unwrap().unwrap()).unwrap()).collect()
}

/// Every object has a receipt, and the bytes that it names.
fn assert_sound(options: &Options) {
    let (reporter, stop): (Arc<dyn Reporter>, _) = (Arc::new(Silent), AtomicBool::new(false));
    let wish = audit::Options { receipts: true, read: 1.0, sources: true, memory: 256 << 20, threads: 2 };
    let found = audit(&options.target, None, &wish, Setting { access: &Access::default(), reporter: &reporter, stop: &stop }).unwrap();
    assert!(found.count(Level::Error) == 0 && found.failed.is_none(), "{:?}", found.findings);
}

#[test]
fn who_wakes_after_another_took_over_commits_nothing_and_keeps_nothing_over_the_holders() {
    let (bench, whole) = (Bench::new(8), Bench::new(8));
    let (recipe, options) = (bench.recipe(8, "zarr3"), memory(&bench, "woken"));
    whole.run(&whole.recipe(8, "zarr3")).ok();
    // In the middle of storing an object, so that its receipt is kept when another's is there.
    let (first, deed) = Suspended::at("put", "/x/c/", 1);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| bake(&recipe, &options, watched(deed, nothing())));
        first.wait();
        forsaken(&options);
        let report = bake(&recipe, &options, Wrapping::default()).ok();
        assert_eq!((report.writing.epoch, report.outcome.as_str()), (2, "done"));
        let (kept, saved) = (receipts(&options), state(&options).get("report.json").unwrap());
        assert!(kept.iter().all(|receipt| (1..=2).contains(&receipt.epoch)) && kept.iter().any(|receipt| receipt.epoch == 2));
        first.wake();
        running.join().unwrap().fails(6, &["was taken over by process"]);
        assert!(receipts(&options) == kept, "a receipt of the holder was written over");
        assert_eq!(state(&options).get("report.json").unwrap(), saved);
    });
    assert!(read(&options.target) == read(&whole.target()));
    assert_sound(&options);
    assert_eq!(bake(&recipe, &options, Wrapping::default()).ok().outcome, "nothing-to-do");
}

#[test]
fn a_receipt_that_a_former_holder_puts_over_the_holders_is_not_believed() {
    let (bench, whole) = (Bench::new(8), Bench::new(8));
    let (recipe, options) = (bench.recipe(8, "zarr3"), memory(&bench, "stale"));
    whole.run(&whole.recipe(8, "zarr3")).ok();
    // Somebody held it before.
    drop(State::open(&options.target, &Access::default()).unwrap());
    let (late, done) = (state(&options), AtomicBool::new(false));
    let stale: Deed = Arc::new(move |kind, place| {
        if kind == "put" && place.contains("/receipts/") && !done.swap(true, Ordering::SeqCst) {
            let key = place.split_once(".gristmill/").unwrap().1;
            let mut receipt: Receipt = serde_json::from_slice(&late.get(key).unwrap().unwrap()).unwrap();
            assert_eq!(receipt.epoch, 2);
            receipt.epoch = 1;
            receipt.chunks.pop();
            late.put(key, serde_json::to_vec(&receipt).unwrap().into(), PutMode::Overwrite).unwrap();
        }
    });
    let report = bake(&recipe, &options, watched(nothing(), stale)).ok();
    assert_eq!(report.tasks_run, report.tasks + 1, "the task of that receipt is done again");
    let kept = receipts(&options);
    assert!(kept.iter().all(|receipt| receipt.epoch == 2), "{kept:?}");
    assert_eq!(kept.iter().map(|receipt| receipt.attempt).sum::<u64>(), 1);
    assert!(read(&options.target) == read(&whole.target()));
    assert_sound(&options);
}

#[test]
fn receipts_of_an_earlier_run_are_of_use_to_the_next_holder() {
    let bench = Bench::new(8);
    let (recipe, options) = (bench.recipe(8, "zarr3"), memory(&bench, "resumed"));
    // Killed when it was about to publish: everything is done.
    let (first, deed) = Suspended::at("put", "fencing-resumed/zarr.json", 1);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| bake(&recipe, &options, watched(deed, nothing())));
        first.wait();
        forsaken(&options);
        let report = bake(&recipe, &options, Wrapping::default()).ok();
        assert_eq!((report.tasks_run, report.tasks > 1), (0, true));
        assert!(receipts(&options).iter().all(|receipt| receipt.epoch == 1));
        first.wake();
        running.join().unwrap().fails(6, &["was taken over by process"]);
    });
    assert_sound(&options);
}

#[test]
fn who_wakes_before_he_begins_forgets_no_receipt_and_takes_away_no_object_of_the_holders() {
    // Nothing is there; objects and receipts of a shorter plan are, which a killed run left; a version is begun.
    let cases = [("begin", "fencing-begin/", 0), ("leftovers", "fencing-leftovers/", 12), ("version", "fencing-version/", 0)];
    for (name, text, left) in cases {
        let (bench, whole) = (Bench::new(8), Bench::new(8));
        let versioned = name == "version";
        let options = Options { versioned, ..memory(&bench, name) };
        let recipe = bench.recipe(8, "zarr3");
        if left > 0 {
            assert!(bake(&bench.recipe(6, "zarr3"), &options, dying(left).0).result.is_err());
            forsaken(&options);
        }
        // He has seen that nothing is published there, and sleeps before he acts on it.
        let (first, deed) = Suspended::at("list", text, if versioned { 2 } else { 1 });
        std::thread::scope(|scope| {
            let running = scope.spawn(|| bake(&recipe, &options, watched(nothing(), deed)));
            first.wait();
            forsaken(&options);
            let report = bake(&recipe, &options, Wrapping::default()).ok();
            assert_eq!((report.writing.epoch > 1, report.outcome.as_str()), (true, "done"), "{name}");
            let kept = receipts(&options);
            first.wake();
            running.join().unwrap().fails(6, &["was taken over by process"]);
            assert!(receipts(&options) == kept && !kept.is_empty(), "{name}: receipts of the holder were forgotten");
        });
        whole.run(&whole.recipe(8, "zarr3")).ok();
        let root = if versioned { Pointer::read(&*target(&options.target, &Access::default()).unwrap(), "").unwrap() } else { None };
        let root = root.map_or(options.target.clone(), |pointer| format!("{}/{}", options.target, pointer.version));
        assert!(read(&root) == read(&whole.target()), "{name}");
        assert_sound(&options);
        assert_eq!(bake(&recipe, &options, Wrapping::default()).ok().outcome, "nothing-to-do", "{name}");
    }
}

#[test]
fn who_wakes_while_he_takes_the_old_store_away_leaves_the_holders() {
    let (bench, whole) = (Bench::new(8), Bench::new(8));
    let recipe = bench.recipe(8, "zarr3");
    let options = Options { replace: Some(Replace::NonAtomic), ..memory(&bench, "cleared") };
    whole.run(&whole.recipe(8, "zarr3")).ok();
    // He has the keys of the receipts, or of the objects, that he is about to delete.
    for text in [".gristmill/receipts", "fencing-cleared/"] {
        bake(&recipe, &options, Wrapping::default()).ok();
        let (first, deed) = Suspended::at("list", text, 1);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| bake(&recipe, &options, watched(nothing(), deed)));
            first.wait();
            forsaken(&options);
            bake(&recipe, &options, Wrapping::default()).ok();
            first.wake();
            running.join().unwrap().fails(6, &["was taken over by process"]);
        });
        assert!(read(&options.target) == read(&whole.target()), "{text}");
        assert_sound(&options);
    }
}

/// How often a run asks for the pointer, the last time to see what it put.
fn looks_at_the_pointer(bench: &Bench, name: &str, before: u32) -> usize {
    let options = Options { versioned: true, ..memory(bench, name) };
    if before > 0 {
        bake(&bench.recipe(before, "zarr3"), &options, Wrapping::default()).ok();
    }
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let counting: Deed = Arc::new(move |kind, place| {
        counted.fetch_add(usize::from(kind == "get" && place.ends_with("/current.json")), Ordering::SeqCst);
    });
    bake(&bench.recipe(6, "zarr3"), &options, watched(nothing(), counting)).ok();
    count.load(Ordering::SeqCst)
}

#[test]
fn the_pointer_moves_only_from_where_it_was_read_however_late_the_put_comes() {
    // There is no pointer yet; there is one.
    for before in [0, 2] {
        let bench = Bench::new(6);
        let looks = looks_at_the_pointer(&bench, &format!("rehearsal-{before}"), before);
        let options = Options { versioned: true, ..memory(&bench, &format!("pointer-{before}")) };
        if before > 0 {
            bake(&bench.recipe(before, "zarr3"), &options, Wrapping::default()).ok();
        }
        let (recipe, other) = (bench.recipe(6, "zarr3"), bench.recipe(4, "zarr3"));
        // It has made sure that it holds the target and that the pointer is where it was, and then sleeps before it puts its own.
        let (first, deed) = Suspended::at("get", "/current.json", looks - 1);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| bake(&recipe, &options, watched(nothing(), deed)));
            first.wait();
            forsaken(&options);
            bake(&other, &options, Wrapping::default()).ok();
            first.wake();
            running.join().unwrap().fails(6, &["current.json", "another run was faster"]);
        });
        let base = target(&options.target, &Access::default()).unwrap();
        let pointer = Pointer::read(&*base, "").unwrap().unwrap();
        assert_eq!(pointer.sequence, if before > 0 { 2 } else { 1 });
        assert_eq!(days(&read(&format!("{}/{}", options.target, pointer.version)).unwrap()), 4);
        // And on it goes from there.
        bake(&recipe, &options, Wrapping::default()).ok();
        assert_eq!(Pointer::read(&*base, "").unwrap().unwrap().sequence, pointer.sequence + 1);
    }
}
