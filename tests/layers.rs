//! The house's floors: which room may import which. A module imports rooms of lower rows, or the neighbours its row names;
//! planning (row 4) and I/O (row 5) never import each other; no ring of rooms.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// (room, row, neighbours it may import besides lower rows). `docs/architecture.md` says what lives where.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("grid", 0, &[]),
    ("array", 0, &["grid"]),
    ("size", 0, &[]),
    ("dataset", 1, &[]),
    ("layout", 1, &[]),
    ("receipt", 1, &["cf"]),
    ("event", 1, &[]),
    ("cf", 1, &["dataset"]),
    ("codec", 2, &[]),
    ("pattern", 2, &[]),
    ("transform", 2, &["pattern"]),
    ("recipe", 3, &[]),
    ("combine", 4, &[]),
    ("rechunk", 4, &[]),
    ("plan", 4, &["combine", "rechunk"]),
    ("store", 5, &[]),
    ("source", 5, &["store"]),
    ("target", 5, &["store"]),
    ("discover", 6, &[]),
    ("work", 6, &[]),
    ("executor", 6, &["work"]),
    ("run", 7, &[]),
    ("catalog", 8, &[]),
    ("bot", 8, &["catalog"]),
    ("cli", 9, &[]),
    ("main", 10, &[]),
];

/// An I/O room may hold plain plan data in its hands only by way of row 6; these two rows are siblings.
const SIBLINGS: (u8, u8) = (4, 5);

fn row(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, ..)| *name == room).map(|&(_, row, _)| row)
}

fn neighbours(room: &str) -> &'static [&'static str] {
    ROOMS.iter().find(|(name, ..)| *name == room).map_or(&[], |&(.., neighbours)| neighbours)
}

/// Why `from` may not import `to`; `None` if it may.
fn objection(from: &str, to: &str) -> Option<String> {
    let (Some(upper), Some(lower)) = (row(from), row(to)) else {
        return Some(format!("`{from}` or `{to}` has no row: give it one in tests/layers.rs and docs/architecture.md"));
    };
    if from == to || neighbours(from).contains(&to) {
        return None;
    }
    if (lower, upper) == SIBLINGS {
        return Some(format!("`{from}` (I/O) imports `{to}` (planning): they are siblings"));
    }
    (lower >= upper).then(|| format!("`{from}` (row {upper}) imports `{to}` (row {lower}), which is not below it"))
}

/// Rust text without comments, literals and `#[cfg(test)]` items, so that what is left of `crate::` is an import.
fn bare(source: &str) -> String {
    without_tests(&without_comments(source))
}

fn without_comments(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        at += match rest {
            ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['r', '"' | '#', ..] if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') && raw_string(rest).is_some() => {
                raw_string(rest).unwrap_or(1)
            }
            ['"', ..] => quoted(rest),
            ['\'', '\\', ..] => 2 + rest.iter().skip(3).position(|&c| c == '\'').unwrap_or(0) + 2,
            ['\'', _, '\'', ..] => 3,
            [c, ..] => {
                out.push(*c);
                1
            }
            [] => 1,
        };
    }
    out
}

fn block_comment(text: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn raw_string(text: &[char]) -> Option<usize> {
    let hashes = text[1..].iter().take_while(|&&c| c == '#').count();
    if text.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &text[2 + hashes..];
    Some(body.windows(end.len()).position(|window| window == end).map_or(text.len(), |found| 2 + hashes + found + end.len()))
}

fn quoted(text: &[char]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn without_tests(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(start) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..start]);
        rest = after_item(&rest[start + "#[cfg(test)]".len()..]);
    }
    out + rest
}

/// What follows the item at the start of the text: after its `;`, or after its block.
fn after_item(text: &str) -> &str {
    let mut depth = 0_i32;
    for (position, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return &text[position + 1..];
        }
    }
    ""
}

/// Rooms that a file names: through `crate::`, `gristmill::` (in `main.rs`) and chains of `super::` that reach the root.
fn imports(source: &str, depth: usize) -> BTreeSet<String> {
    let text: String = bare(source).split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.replace(" :: ", "::").replace(":: ", "::").replace(" ::", "::");
    let root = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "gristmill::", root.as_str()] {
        for (at, _) in text.match_indices(prefix) {
            if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            found.extend(first_names(&text[at + prefix.len()..]));
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

/// `a::B` → a; `{a::B, c::{D, E}}` → a, c.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(String::new()),
            _ => {}
        }
        if depth == 0 && c != ',' {
            names.last_mut().expect("never empty").push(c);
        }
    }
    names.iter().map(|text| name(text)).collect()
}

/// A ring of rooms, if the graph has one.
fn ring(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(room: &str, graph: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|other| other == room) {
            return Some(way[start..].to_vec());
        }
        way.push(room.to_owned());
        let found = graph.get(room).into_iter().flatten().filter(|next| *next != room).find_map(|next| visit(next, graph, way));
        way.pop();
        found
    }
    graph.keys().find_map(|room| visit(room, graph, &mut Vec::new()))
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src can be listed").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Module path of a file below `src`: `source/hdf5/mod.rs` → [source, hdf5].
fn modules(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|part| part == "mod") {
        parts.pop();
    }
    parts
}

/// Files that only tests compile: `#[cfg(test)] mod tests;` beside them says so.
fn is_test_file(modules: &[String]) -> bool {
    modules.last().is_some_and(|name| name == "tests" || name.ends_with("_tests"))
}

#[test]
fn every_import_runs_downward() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 10, "no sources below {}", src.display());
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut objections = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).expect("below src");
        let modules = modules(relative);
        let room = modules.first().expect("a file has a name").clone();
        if room == "lib" || is_test_file(&modules) {
            continue;
        }
        if row(&room).is_none() {
            objections.push(format!("src/{}: `{room}` has no row", relative.display()));
        }
        let known = |name: &String| src.join(name).is_dir() || src.join(format!("{name}.rs")).is_file();
        for imported in imports(&std::fs::read_to_string(&file).expect("readable"), modules.len()).into_iter().filter(known) {
            objections.extend(objection(&room, &imported).map(|why| format!("src/{}: {why}", relative.display())));
            graph.entry(room.clone()).or_default().insert(imported);
        }
    }
    assert_eq!(ring(&graph), None, "rooms import each other in a ring");
    assert!(objections.is_empty(), "imports that do not run downward:\n  {}", objections.join("\n  "));
}

#[test]
fn the_table_itself_has_no_ring() {
    let graph = ROOMS.iter().map(|(room, ..)| {
        let below = ROOMS.iter().map(|(other, ..)| *other).filter(|other| objection(room, other).is_none() && other != room);
        ((*room).to_owned(), below.map(str::to_owned).collect())
    });
    assert_eq!(ring(&graph.collect()), None);
}

#[test]
fn bad_imports_are_caught() {
    assert!(objection("grid", "plan").is_some_and(|why| why.contains("not below")), "upward");
    assert!(objection("source", "plan").is_some_and(|why| why.contains("siblings")), "I/O imports planning");
    assert!(objection("plan", "store").is_some_and(|why| why.contains("not below")), "planning imports I/O");
    assert!(objection("store", "source").is_some(), "a neighbour that the row does not name");
    assert!(objection("dataset", "attic").is_some_and(|why| why.contains("no row")), "an unknown room");
    assert_eq!(objection("source", "store"), None);
    assert_eq!(objection("run", "plan"), None);
    assert_eq!(objection("work", "target"), None);
}

#[test]
fn imports_are_found_in_every_form() {
    let names = |source: &str, depth| imports(source, depth).into_iter().collect::<Vec<_>>();
    assert_eq!(names("use crate::plan::Plan;", 1), ["plan"]);
    assert_eq!(names("use crate::{array::Array, plan::{Plan, Task},\n  size};", 1), ["array", "plan", "size"]);
    assert_eq!(names("fn f() -> crate :: store :: Head { g::<'_>('\"', crate::run::go()) }", 1), ["run", "store"]);
    assert_eq!(names("use super::super::cli::Exit;", 2), ["cli"]);
    assert_eq!(names("pub(crate) use each_type; pub(in crate::dataset) fn f() {}", 1), ["dataset"]);
    assert_eq!(names("fn main() { gristmill::cli::main() }", 1), ["cli"]);
}

#[test]
fn comments_literals_and_tests_are_no_imports() {
    let source = r##"
        //! See [`crate::plan`].
        /* crate::run /* crate::work */ crate::cli */
        const A: &str = "crate::plan \" crate::run";
        const B: &str = r#"crate::work" "#;
        const C: char = '"';
        use crate::grid::Region; // crate::store
        #[cfg(test)]
        use crate::target::Zarr;
        #[cfg(test)]
        mod tests {
            use crate::run::Run;
            fn f() { if true { crate::cli::main() } }
        }
        fn after(_: crate::size::ByteSize) {}
    "##;
    assert_eq!(imports(source, 1).into_iter().collect::<Vec<_>>(), ["grid", "size"]);
}

#[test]
fn rings_are_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(ring(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(ring(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).map(|ring| ring.len()), Some(2));
}
