//! Chunks that are moved as the files hold them: which, and that the store holds the same values as one that was encoded anew.
//!
//! `tests/oracle/moved.py` compares the same files with netCDF4 and xarray.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot set up its files shall fail")]

mod scripted_server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use gristmill::array::Array;
use gristmill::event::{Reporter, Silent};
use gristmill::grid::{ChunkGrid, Region};
use gristmill::layout::{Layout, Stored};
use gristmill::store::{self, Access};
use gristmill::target::zarr::{Absent, ZarrReader};

/// Two steps in each; what each is for: `tests/data/moved-chunks/make.py`.
const FILES: [&str; 9] =
    ["a-plain", "b-level-9", "c-contiguous", "d-no-shuffle", "e-big-endian", "f-other-chunks", "g-fletcher32", "h-missing", "i-plain"];
/// Chunks of `packed` that fit in each file: in `b` one skips deflate and two were never written.
const PACKED: [usize; 9] = [6, 3, 0, 0, 0, 0, 0, 6, 6];
/// Chunks of `field`: in `h` one has a missing value.
const FIELD: [usize; 9] = [4, 4, 0, 0, 0, 0, 0, 3, 4];
const SOURCE: &str = "encoding: {\"*\": {codecs: source}}";
const OWN: &str = "packed: {chunks: {time: 1, row: 4}}, field: {chunks: {time: 1, row: 5}}";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/moved-chunks");
        for name in FILES.map(|name| format!("{name}.nc")) {
            fs::copy(made.join(&name), folder.path().join(&name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command on a recipe over some files: names, or URLs.
    fn gristmill(&self, arguments: &[&str], files: &[&str], rest: &str) -> Output {
        let files = files.iter().map(|name| format!("{}.nc", name.trim_end_matches(".nc"))).collect::<Vec<_>>().join(", ");
        let head = "schema: 1\nid: moved\ntitle: Moved chunks\nlicense: CC0-1.0\n";
        let text = format!("{head}inputs: {{files: [{files}]}}\ncombine: {{concat: [time]}}\n{rest}\n");
        fs::write(self.path("recipe.yaml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
        command.args(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    /// Bakes and gives what is in the store.
    fn bake(&self, target: &str, files: &[&str], rest: &str) -> Baked {
        let output = self.gristmill(&["run", "recipe.yaml", "--target", target, "--verify", "full"], files, rest);
        assert!(output.status.success(), "{target}: {}", String::from_utf8_lossy(&output.stderr));
        Baked { path: self.path(target) }
    }

    fn plan(&self, files: &[&str], rest: &str) -> String {
        let output = self.gristmill(&["plan", "recipe.yaml"], files, rest);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A file's bytes, and where its variable lies in them.
    fn stored(&self, name: &str, variable: &str) -> (Vec<u8>, Stored) {
        let reporter: Arc<dyn Reporter> = Arc::new(Silent);
        let path = self.path(&format!("{name}.nc"));
        let sources = store::source(&Access::default(), reporter);
        let source = gristmill::source::open(&sources, &path.display().to_string()).unwrap();
        (fs::read(&path).unwrap(), source.stored(variable).unwrap())
    }

    /// Chunks of each file that the store holds byte for byte, at their place.
    fn moved(&self, baked: &Baked, files: &[&str], variable: &str) -> Vec<usize> {
        let in_store = baked.chunks(variable);
        let count = |(number, name): (usize, &&str)| {
            let (bytes, stored) = self.stored(name, variable);
            let Layout::Chunked(table) = &stored.layout else { return 0 };
            let same = |(at, entry): &(usize, &gristmill::layout::ChunkEntry)| {
                let mut index = table.grid.index(*at as u64);
                index[0] += 2 * number as u64;
                let range = entry.offset as usize..entry.offset as usize + entry.length as usize;
                !entry.is_unwritten() && in_store.get(&index).is_some_and(|chunk| chunk[..] == bytes[range])
            };
            table.entries.iter().enumerate().filter(same).count()
        };
        files.iter().enumerate().map(count).collect()
    }
}

struct Baked {
    path: PathBuf,
}

impl Baked {
    fn reader(&self) -> ZarrReader {
        let store = store::target(&self.path.display().to_string(), &Access::default()).unwrap();
        ZarrReader::open(store, Absent::Hole).unwrap().unwrap()
    }

    /// Chunks that the report says were moved.
    fn moved(&self) -> u64 {
        let report = fs::read(format!("{}.gristmill/report.json", self.path.display())).unwrap();
        serde_json::from_slice::<serde_json::Value>(&report).unwrap()["moved_chunks"].as_u64().unwrap()
    }

    /// Raw values of both variables.
    fn values(&self) -> [Array; 2] {
        let reader = self.reader();
        ["packed", "field"].map(|name| {
            let shape = reader.schema().shape(reader.schema().variable(name).unwrap());
            reader.read(name, &Region::whole(&shape)).unwrap()
        })
    }

    /// Encoded chunks by index; those of a shard are found by its index (Zarr codec `sharding_indexed`).
    fn chunks(&self, variable: &str) -> BTreeMap<Vec<u64>, Vec<u8>> {
        let reader = self.reader();
        let found = reader.schema().variable(variable).unwrap();
        let (shape, encoding) = (reader.schema().shape(found), &found.encoding);
        let chunk = encoding.chunks.clone().unwrap();
        let shard = encoding.shards.clone().unwrap_or_else(|| chunk.clone());
        let (objects, inner) = (ChunkGrid::new(shape, shard.clone()), ChunkGrid::new(shard.clone(), chunk.clone()));
        let mut chunks = BTreeMap::new();
        for object in (0..objects.chunks()).map(|number| objects.index(number)) {
            let words: Vec<String> = object.iter().map(u64::to_string).collect();
            let [three, two] = [format!("{variable}/c/{}", words.join("/")), format!("{variable}/{}", words.join("."))];
            let bytes = fs::read(self.path.join(three)).or_else(|_| fs::read(self.path.join(two))).unwrap();
            if encoding.shards.is_none() {
                chunks.insert(object, bytes);
                continue;
            }
            let index = bytes.len() - inner.chunks() as usize * 16 - 4;
            for number in 0..inner.chunks() {
                let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
                let at = index + number as usize * 16;
                let place = object.iter().zip(&shard).zip(&chunk).zip(inner.index(number));
                let place = place.map(|(((object, shard), chunk), inner)| object * (shard / chunk) + inner).collect();
                chunks.insert(place, bytes[word(at)..word(at) + word(at + 8)].to_vec());
            }
        }
        chunks
    }
}

fn same(left: &[Array; 2], right: &[Array; 2]) {
    for (left, right) in left.iter().zip(right) {
        assert_eq!((left.dtype, &left.shape), (right.dtype, &right.shape));
        assert!(left.bytes() == right.bytes(), "{} values differ", left.dtype);
    }
}

/// All objects and metadata below a folder.
fn listing(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn chunks_that_fit_are_moved_and_all_others_encoded_alike() {
    let bench = Bench::new();
    let plain = bench.bake("plain", &FILES, "output: {encoding: {\"*\": {codecs: zstd}}}").values();
    let outputs = [
        ("two", format!("format: zarr2, {SOURCE}")),
        ("shards", SOURCE.to_owned()),
        ("own-shards", format!("shards: {{time: 4, row: 8}}, {SOURCE}")),
        ("unsharded", format!("encoding: {{\"*\": {{codecs: source}}, {OWN}}}")),
    ];
    for (name, output) in outputs {
        // Where `*` has codecs and the variable chunks, both count.
        let baked = bench.bake(name, &FILES, &format!("output: {{{output}}}"));
        same(&baked.values(), &plain);
        assert_eq!(baked.moved(), PACKED.iter().chain(&FIELD).sum::<usize>() as u64, "{name}");
        assert_eq!(bench.moved(&baked, &FILES, "packed"), PACKED, "{name}");
        assert_eq!(bench.moved(&baked, &FILES, "field"), FIELD, "{name}");
        let codecs = baked.reader().schema().variable("field").unwrap().encoding.codecs.clone().unwrap();
        let codecs: Vec<&str> = codecs.iter().map(|codec| codec.name.as_str()).collect();
        assert_eq!(codecs, ["numcodecs.shuffle", "numcodecs.zlib"], "{name}");
    }
}

#[test]
fn threads_and_memory_change_no_byte() {
    let bench = Bench::new();
    let output = format!("output: {{shards: {{time: 4}}, {SOURCE}}}");
    let bake = |target: &str, more: &[&str]| {
        let output = bench.gristmill(&[&["run", "recipe.yaml", "--target", target], more].concat(), &FILES, &output);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        listing(&bench.path(target))
    };
    let (one, many) = (bake("one", &["--threads", "1", "--memory", "100MiB"]), bake("many", &["--threads", "5"]));
    assert!(one.len() > 10 && one == many);
}

#[test]
fn far_files_give_the_same_bytes_as_near_ones() {
    let bench = Bench::new();
    let folder = bench.folder.path().to_owned();
    let server = scripted_server::Server::start(move |request, _| {
        let content = fs::read(folder.join(request.path.trim_start_matches('/'))).unwrap_or_default();
        scripted_server::honest(request, &content)
    });
    let urls = FILES.map(|name| server.url(&format!("/{name}.nc")));
    let output = format!("output: {{shards: {{time: 4}}, {SOURCE}}}");
    bench.bake("near", &FILES, &output);
    bench.bake("far", &urls.each_ref().map(String::as_str), &output);
    assert!(server.count("GET") >= FILES.len());
    assert!(listing(&bench.path("near")) == listing(&bench.path("far")));
}

#[test]
fn a_damaged_chunk_is_never_moved() {
    let bench = Bench::new();
    let (mut bytes, stored) = bench.stored("h-missing", "packed");
    let Layout::Chunked(table) = &stored.layout else { unreachable!("a chunked file") };
    bytes[table.entries[4].offset as usize + 20] ^= 1;
    fs::write(bench.path("h-missing.nc"), bytes).unwrap();
    for (target, expect) in [("blind", ""), ("counted", "expect: {packed: {values_between: [-400, 400]}}")] {
        let rest = format!("output: {{{SOURCE}}}\n{expect}");
        let output = bench.gristmill(&["run", "recipe.yaml", "--target", target], &FILES, &rest);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("h-missing.nc") && said.contains("`packed`") && said.contains("deflate"), "{said}");
        assert!(!bench.path(target).join("zarr.json").exists());
    }
}

#[test]
fn statistics_count_moved_values_without_their_padding() {
    let bench = Bench::new();
    let said = |target: &str, output: &str| {
        let rest = format!(
            "output: {{{output}}}\nexpect:\n  packed: {{values_between: [0, 1], missing_values: {{at_most: 0 %}}}}\n  field: {{values_between: [0, 1], missing_values: {{at_most: 0 %}}}}"
        );
        let output = bench.gristmill(&["run", "recipe.yaml", "--target", target], &FILES, &rest);
        assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).replace(target, "")
    };
    let encoded = said("encoded", "encoding: {\"*\": {codecs: zstd}}");
    assert!(encoded.contains("100") && encoded.contains('%'), "{encoded}");
    let lines =
        |text: &str| text.lines().filter(|line| line.contains("field") || line.contains("packed")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&said("moved", SOURCE)), lines(&encoded));
    assert!(lines(&encoded).len() >= 4, "{encoded}");
}

#[test]
fn steps_and_conversions_decide_chunk_by_chunk() {
    let bench = Bench::new();
    // Chunks of the second file are deflated at level 9, which shows in their second byte; what is encoded takes the first file's 4.
    let files = ["a-plain", "b-level-9"];
    let chunks = "packed: {chunks: {time: 1, row: 4}}";
    let cases = [
        ("renamed", "steps: [{rename: {row: y}}]", chunks.replace("row", "y"), 3),
        ("cut in a chunk", "steps: [{isel: {row: {start: 3}}}]", chunks.to_owned(), 0),
        ("cut at a chunk", "steps: [{isel: {row: {start: 4}}}]", chunks.to_owned(), 0),
        ("turned", "steps: [{transpose: [time, column, row]}]", chunks.to_owned(), 0),
        ("wider", "", chunks.replace("chunks", "dtype: int32, chunks"), 0),
        ("shifted", "", chunks.replace("time: 1", "time: 2"), 0),
    ];
    for (name, steps, own, expected) in cases {
        let output = |codecs: &str| format!("{steps}\noutput: {{encoding: {{\"*\": {{codecs: {codecs}}}, {own}}}}}");
        let moved = bench.bake(&format!("{name}.moved"), &files, &output("source"));
        same(&moved.values(), &bench.bake(&format!("{name}.encoded"), &files, &output("zstd")).values());
        let found = moved.chunks("packed").values().filter(|chunk| chunk[..2] == [0x78, 0xda]).count();
        assert_eq!(found, expected, "{name}");
        assert!(moved.moved() >= found as u64, "{name}");
    }
}

#[test]
fn a_plan_says_what_is_moved_and_why_not_more() {
    let bench = Bench::new();
    let text = bench.plan(&FILES, &format!("output: {{{SOURCE}}}"));
    let moved: Vec<&str> = text.lines().filter(|line| line.contains("moved")).filter(|line| line.starts_with('`')).collect();
    assert_eq!(
        moved,
        [
            "`packed` moved as the files hold it: 30 of 54 chunks; the chunks of 1 of 9 files are 1×10×12",
            "`field` moved as the files hold it: 20 of 36 chunks, but for those with missing values; the chunks of 1 of 9 files are 1×10×12",
        ]
    );
    let chunks = format!("output: {{encoding: {{\"*\": {{codecs: source}}, {OWN}}}}}").replace("row: 4", "row: 5");
    let text = bench.plan(&["a-plain", "i-plain"], &chunks);
    assert!(text.contains("`packed` moved as the files hold it: 0 of 8 chunks; the chunks of 2 of 2 files are 1×4×12"), "{text}");
    let text = bench.plan(&["c-contiguous"], &format!("output: {{{SOURCE}}}"));
    assert!(text.contains("variable `packed`: no file holds it deflated") && text.contains("hold it in one piece"), "{text}");
}

#[test]
fn only_zarr_2_moves_without_being_asked_and_only_where_chunks_are_as_in_the_files() {
    let bench = Bench::new();
    let files = ["a-plain", "i-plain"];
    let codecs = |target: &str, output: &str| {
        let baked = bench.bake(target, &files, &format!("output: {{{output}}}"));
        let schema = baked.reader().schema().clone();
        ["packed", "field"].map(|name| schema.variable(name).unwrap().encoding.codecs.clone().unwrap().remove(0).name)
    };
    let (kept, own) = ("numcodecs.shuffle".to_owned(), "blosc".to_owned());
    assert_eq!(codecs("open-two", "format: zarr2"), [&own, &own].map(Clone::clone), "chunks of some hundred bytes");
    assert_eq!(codecs("like-two", &format!("format: zarr2, encoding: {{{OWN}}}")), [&kept, &kept].map(Clone::clone));
    assert_eq!(codecs("unlike-two", "format: zarr2, chunks: {time: 1, row: 5}"), [&own, &kept].map(Clone::clone));
    assert_eq!(codecs("like-three", &format!("encoding: {{{OWN}}}")), [&own, &own].map(Clone::clone));
    assert_eq!(
        codecs("named-two", &format!("format: zarr2, encoding: {{\"*\": {{codecs: zstd}}, {OWN}}}")),
        ["zstd".to_owned(), "zstd".to_owned()]
    );
}
