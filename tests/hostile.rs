//! Files and recipes made to hurt, through the program: bombs, absurd claims, circles, escapes. Each ends soon, with the exit code
//! of its kind, a message that names the file, and less memory than allowed. The HDF5 files are `tests/data/hostile/make.py`'s.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows its figures with --nocapture"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No hostile input may take longer, however slow the machine: what it claims would take hours.
const LIMIT: Duration = Duration::from_mins(1);
const MEMORY: u64 = 128 << 20;

/// How a process ended.
struct Ended {
    exit: Option<i32>,
    output: String,
    errors: String,
    /// Most memory it held, as its kernel told last.
    peak: u64,
}

/// Runs the program to its end, or fails.
fn gristmill(folder: &Path, words: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gristmill"));
    ended(command.current_dir(folder).args(words).env_remove("RUST_LOG"), &format!("{words:?}"))
}

fn ended(command: &mut Command, what: &str) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (output, errors) = (drained(child.stdout.take().unwrap()), drained(child.stderr.take().unwrap()));
    let status = format!("/proc/{}/status", child.id());
    let (begun, mut peak) = (Instant::now(), 0);
    let exit = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{what} takes longer than {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Ended { exit, output: output.join().unwrap(), errors: errors.join().unwrap(), peak }
}

/// What comes out of a pipe, read beside.
fn drained(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

/// A folder with a recipe over one file.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn of(file: &Path) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.recipe(&format!("inputs: {{files: ['{}']}}\n", file.display()));
        place
    }

    /// Of a file made here.
    fn holding(bytes: &[u8]) -> Self {
        let place = Self::of(Path::new("a.nc"));
        fs::write(place.path().join("a.nc"), bytes).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn recipe(&self, body: &str) {
        let head = "schema: 1\nid: hostile\ntitle: Hostile\nlicense: CC0-1.0\n";
        fs::write(self.path().join("recipe.yaml"), format!("{head}{body}")).unwrap();
    }

    fn run(&self) -> Ended {
        let words = ["run", "recipe.yaml", "--target", "out.zarr", "--memory", "128MiB", "--threads", "2", "--quiet"];
        gristmill(self.path(), &words)
    }
}

fn hostile(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hostile").join(name)
}

/// Asserts exit code, message and memory; nothing may be visible but after exit 0.
fn holds(name: &str, place: &Place, exit: i32, says: &[&str]) -> Ended {
    let ended = place.run();
    println!("{name}: exit {:?}, peak {} MiB, {}", ended.exit, ended.peak >> 20, ended.errors.lines().next().unwrap_or_default());
    assert_eq!(ended.exit, Some(exit), "{name}: {}", ended.errors);
    assert!(says.iter().all(|text| ended.errors.contains(text)), "{name}: {says:?} is missing in {}", ended.errors);
    assert!(ended.peak < MEMORY, "{name}: {} bytes were held", ended.peak);
    assert_eq!(place.path().join("out.zarr/zarr.json").exists(), exit == 0, "{name}");
    ended
}

#[test]
fn bombs_and_absurd_claims_are_refused_before_they_take_memory() {
    let too_large = "error[memory-too-small]";
    for (name, exit, says) in [
        // Planning knows of these from their headers.
        ("inflates.h5", 8, ["memory-too-small", "one object of `x` holds 64 MiB"]),
        ("chunk-of-4-gib.h5", 8, ["`x`", "--memory"]),
        ("texts.h5", 8, [too_large, "texts.h5: variable `many`"]),
        ("attribute.h5", 8, [too_large, "attribute.h5: "]),
        ("deep.h5", 3, ["error[source-corrupt]", "deep.h5: "]),
        ("own-child.h5", 3, ["error[source-corrupt]", "own-child.h5: "]),
    ] {
        holds(name, &Place::of(&hostile(name)), exit, &says);
    }
    for name in ["chunks-btree.h5", "chunks-array.h5"] {
        let shown = gristmill(Path::new("."), &["inspect", "--stats", hostile(name).to_str().unwrap()]);
        assert_eq!(shown.exit, Some(3), "{name}: {}", shown.errors);
        assert!(shown.output.contains("1099511627776 chunks") && shown.peak < MEMORY, "{name}: {} {}", shown.output, shown.peak);
    }
    // Along a time of two files its values are read, 64 GiB of them that nobody wrote.
    let (name, file) = ("endless-time.h5", hostile("endless-time.h5"));
    let place = Place::of(&file);
    fs::copy(&file, place.path().join("b.h5")).unwrap();
    place.recipe(&format!("inputs: {{files: ['{}', b.h5]}}\ncombine: {{concat: [time]}}\n", file.display()));
    holds(name, &place, 8, &[too_large, "endless-time.h5: variable `time`"]);
}

#[test]
fn one_name_for_a_thousand_links_and_links_in_circles_do_no_harm() {
    // Twenty megabytes of names are within what is allowed here; what comes of them is another matter.
    let names = Place::of(&hostile("names.h5")).run();
    assert!(matches!(names.exit, Some(3 | 4 | 8)) && names.peak < MEMORY, "{:?}: {} {}", names.exit, names.peak, names.errors);
    let shown = gristmill(Path::new("."), &["inspect", hostile("circles.h5").to_str().unwrap()]);
    assert_eq!(shown.exit, Some(0), "{}", shown.errors);
    assert!(shown.output.contains("a/b/x") && shown.output.matches("int64").count() == 1, "{}", shown.output);
}

/// A word of a classic file.
fn word(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = word(text.len() as u32);
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A classic file (CDF-1) of these dimensions, with one byte variable over some of them, and `data` bytes of zeros.
fn classic(records: u32, dimensions: &[(&str, u32)], axes: &[u32], data: usize) -> Vec<u8> {
    named("x", records, dimensions, axes, data)
}

fn named(name: &str, records: u32, dimensions: &[(&str, u32)], axes: &[u32], data: usize) -> Vec<u8> {
    let none = [word(0), word(0)].concat();
    let header = |begin: u32| {
        let listed: Vec<u8> = dimensions.iter().flat_map(|(name, length)| [text(name), word(*length)].concat()).collect();
        let places: Vec<u8> = axes.iter().flat_map(|&axis| word(axis)).collect();
        let variable = [text(name), word(axes.len() as u32), places, none.clone(), word(1), word(0), word(begin)].concat();
        let dimensions = [word(10), word(dimensions.len() as u32), listed].concat();
        [b"CDF\x01".to_vec(), word(records), dimensions, none.clone(), word(11), word(1), variable].concat()
    };
    let length = header(0).len() as u32;
    [header(length), vec![0; data]].concat()
}

#[test]
fn classic_headers_that_claim_the_absurd_are_refused() {
    let long = "n".repeat(20_000);
    let many: Vec<u32> = vec![0; 10_000];
    let mut lists = b"CDF\x01\0\0\0\0\0\0\0\x0a".to_vec();
    lists.extend([0xff; 64]);
    for (name, bytes, exit, says) in [
        ("a long name for many axes", classic(0, &[(&long, 1)], &many, 4), 8, "names of the dimensions"),
        ("dimensions whose product overflows", classic(0, &[("n", u32::MAX)], &[0, 0, 0, 0], 4), 3, "larger than any file"),
        ("more data than there is", classic(0, &[("n", u32::MAX)], &[0], 100), 3, "truncated"),
        ("records that are not there", classic(u32::MAX - 1, &[("t", 0), ("n", 1000)], &[0, 1], 100), 3, "truncated"),
        ("four billion dimensions", lists, 3, "a.nc: "),
        ("an axis that is not there", classic(0, &[("n", 1)], &[7], 4), 3, "does not exist"),
    ] {
        holds(name, &Place::holding(&bytes), exit, &["a.nc: ", says]);
    }
}

#[test]
fn names_that_lead_out_of_the_target_write_nothing_there() {
    for name in [
        "..",
        "../x",
        "../../x",
        "a/../../../x",
        "/tmp/x",
        "",
        ".",
        "a//b",
        "zarr.json",
        "x/zarr.json",
        "C:\\x",
        "..\\x",
        "a\u{0}b",
        &"n".repeat(5000),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a.nc"), named(name, 0, &[("n", 4)], &[0], 4)).unwrap();
        fs::write(inner.join("recipe.yaml"), "schema: 1\nid: hostile\ntitle: H\nlicense: CC0-1.0\ninputs: {files: [a.nc]}\n").unwrap();
        let ended = gristmill(&inner, &["run", "recipe.yaml", "--target", "out.zarr", "--quiet"]);
        println!("{name:?}: {:?} {}", ended.exit, ended.errors.lines().next().unwrap_or_default().get(..150).unwrap_or(&ended.errors));
        assert!(matches!(ended.exit, Some(0 | 2 | 3 | 4)), "{name:?}: {:?} {}", ended.exit, ended.errors);
        let listed = |place: &Path| {
            let mut names: Vec<String> =
                fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.retain(|name| !name.starts_with("out.zarr"));
            names.sort();
            names
        };
        assert_eq!(
            (listed(folder.path()), listed(&inner)),
            (vec!["inner".to_owned()], vec!["a.nc".to_owned(), "recipe.yaml".to_owned()]),
            "{name:?}"
        );
    }
}

#[test]
fn nothing_that_a_file_holds_moves_the_cursor_or_commands_a_runner() {
    let file = hostile("escapes.h5");
    let shown = gristmill(Path::new("."), &["inspect", file.to_str().unwrap()]);
    assert_eq!(shown.exit, Some(0), "{}", shown.errors);
    let place = Place::of(&file);
    let failed = place.run();
    assert_eq!(failed.exit, Some(3), "{}", failed.errors);
    for said in [&shown.output, &failed.errors] {
        assert!(!said.chars().any(|letter| (letter.is_control() && letter != '\n') || letter == '\u{202e}'), "{said:?}");
        assert!(!said.lines().any(|line| line.trim_start().starts_with("::")), "{said}");
    }
    let json = gristmill(Path::new("."), &["inspect", "--json", file.to_str().unwrap()]);
    serde_json::from_str::<serde_json::Value>(&json.output).unwrap();
}

/// Texts of recipes that ask for far too much.
fn recipes() -> Vec<(&'static str, String)> {
    let of = |body: &str| format!("schema: 1\nid: hostile\ntitle: Hostile\nlicense: CC0-1.0\n{body}");
    let many = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<String>();
    let pattern = |url: &str, keys: &str, rest: &str| of(&format!("inputs:\n  url: '{url}'\n  keys:\n{keys}{rest}"));
    let range = |name: &str, end: u64| format!("    {name}: {{range: {{start: 1, end: {end}}}}}\n");
    let concat = "combine: {concat: [n]}\n";
    let listed: String = many(30_000, &|number| format!("k{number}, "));
    let aliases = many(9, &|number| {
        let inner = vec![format!("*a{number}"); 9].join(", ");
        format!("a{}: &a{} [{inner}]\n", number + 1, number + 1)
    });
    let exceptions = many(20_000, &|number| format!("    - {{n: {}, m: 1}}\n", number % 900 + 1));
    let grouped = "combine: {concat: [{dim: time, keys: [n, m]}]}\n";
    vec![
        ("ten megabytes", of(&"# nothing\n".repeat(1 << 20))),
        ("nested a million deep", "[".repeat(1_000_000)),
        ("nested mappings", of(&format!("inputs: {}", "{a: ".repeat(100_000)))),
        ("a billion laughs", of(&format!("a0: &a0 [lol]\n{aliases}"))),
        ("a billion values", pattern("x/{n}.nc", &range("n", 1_000_000_000), concat)),
        ("keys whose product is absurd", pattern("x/{n}-{m}.nc", &(range("n", 1_000_000) + &range("m", 1_000_000)), grouped)),
        ("many keys of many values", pattern("x/{k1}.nc", &many(20_000, &|number| range(&format!("k{number}"), 900_000)), concat)),
        ("keys that no template uses", pattern("x.nc", &many(20_000, &|number| range(&format!("k{number}"), 2)), concat)),
        ("a template of unknown keys", pattern(&many(60_000, &|number| format!("{{u{number}}}")), &range("n", 3), concat)),
        ("a long address a million times", pattern(&format!("x/{{n}}/{}", "y".repeat(900_000)), &range("n", 1_000_000), concat)),
        ("a long value again and again", pattern(&"{n}".repeat(50_000), &format!("    n: {{list: [{}]}}\n", "z".repeat(400_000)), concat)),
        ("a long name of a key", pattern(&format!("{{{0}}}", "n".repeat(300_000)), &range(&"n".repeat(300_000), 1_000_000), concat)),
        ("many roles", pattern("x/{n}.nc", &range("n", 3), &format!("combine: {{concat: [{listed}]}}\n"))),
        (
            "exceptions that name nothing",
            pattern("x/{n}.nc", &range("n", 3), &format!("  except:\n{}{concat}", many(40_000, &|_| "    - {no: 1}\n".to_owned()))),
        ),
        (
            "exceptions from everything",
            pattern("x/{n}-{m}.nc", &(range("n", 900) + "    m: {list: [1]}\n"), &format!("  except:\n{exceptions}{grouped}")),
        ),
        (
            "exceptions of a year of seconds",
            pattern(
                "x/{t:%Y%m%d%H%M%S}.nc",
                "    t: {dates: {start: 2000-01-01, end: 2000-01-11, step: 1 second}}\n",
                &format!("  except:\n{}combine: {{concat: [t]}}\n", "    - {t: 2000}\n".repeat(20_000)),
            ),
        ),
        ("unknown keys", of(&many(60_000, &|number| format!("key{number}: 1\n")))),
        ("the same key again and again", of(&"title: a\n".repeat(100_000))),
        ("steps that are none", of(&format!("inputs: {{files: [a.nc]}}\nsteps:\n{}", "  - fly: [x]\n".repeat(60_000)))),
        ("tags", of(&format!("keywords:\n{}", "  - !!str a\n".repeat(60_000)))),
        ("huge numbers", of("inputs: {files: [a.nc]}\noutput:\n  chunks: {time: 99999999999999999999999}\n")),
        ("a huge chunk", of("inputs: {files: [a.nc]}\noutput:\n  chunks: {time: 1e300}\n")),
        ("dates without end", pattern("x/{n:%Y}.nc", "    n: {dates: {start: 0001-01-01, end: 9999-12-31, step: 1 second}}\n", concat)),
        ("NULs", of(&"\0".repeat(100_000))),
        ("escapes", of("titel: \"\\e]0;owned\\a\\n::add-mask::x\"\n\u{9b}31m: 1\n")),
        ("the same file many times", of(&format!("inputs:\n  files:\n{}combine: {{concat: [time]}}\n", "    - a\n".repeat(100_000)))),
    ]
}

#[test]
fn hostile_recipes_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = String::new();
    for (name, text) in recipes() {
        fs::write(folder.path().join("recipe.yaml"), text).unwrap();
        for words in [&["check", "recipe.yaml"][..], &["check", "--json", "recipe.yaml"]] {
            let begun = Instant::now();
            let ended = gristmill(folder.path(), words);
            let said = ended.errors.len() + ended.output.len();
            writeln!(told, "{name}: {:?}, {} MiB, {:.1} s, {said} bytes", ended.exit, ended.peak >> 20, begun.elapsed().as_secs_f64())
                .unwrap();
            assert_eq!(ended.exit, Some(2), "{name}: {}", ended.errors.get(..2000).unwrap_or(&ended.errors));
            assert!(ended.peak < 400 << 20, "{told}");
            assert!(said < 4 << 20, "{told}");
            let shown = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
            assert!(ended.errors.chars().all(shown), "{name} shows control characters");
        }
    }
    println!("{told}");
}

#[test]
fn a_process_that_gets_no_more_memory_says_so() {
    let place = Place::of(&hostile("circles.h5"));
    let program = env!("CARGO_BIN_EXE_gristmill");
    let run = |limit: u64| {
        let script =
            format!("ulimit -v {limit}; exec '{program}' run recipe.yaml --target {limit}.zarr --memory 64MiB --threads 1 --quiet");
        let ended = ended(Command::new("bash").args(["-c", &script]).current_dir(place.path()), &script);
        println!("{limit} KiB: exit {:?} {}", ended.exit, ended.errors.lines().next().unwrap_or_default());
        ended
    };
    let mut asked = None;
    // In KiB: from what is not enough to begin with to nearly all that is planned to be held.
    for limit in (30_000..72_000).step_by(3_000) {
        let ended = run(limit);
        match ended.exit {
            // Ended by the kernel or the loader, before a line of the program ran.
            Some(127) | None => {}
            Some(8) => {
                assert!(ended.errors.contains("memory"), "{}", ended.errors);
                let words = ended.errors.split("allow it ").nth(1).and_then(|rest| rest.split_once(" KiB"));
                asked = words.and_then(|(number, _)| number.parse().ok());
            }
            other => panic!("{limit} KiB: {other:?}: {}", ended.errors),
        }
    }
    let asked = asked.expect("every limit was enough");
    assert_eq!(run(asked).exit, Some(0), "what it asks for is enough");
    assert!(place.path().join(format!("{asked}.zarr/zarr.json")).exists());
}
