//! Members of archives that are found: by a pattern inside, of archives that are found themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::archives::{Member, deflated, gzip, stored, tar, zip};
use super::scripted_server::{Request, Server, honest, reply};
use super::*;

/// Bytes of what lies in each archive and nobody wants.
const UNWANTED: usize = 3 << 20;

/// `1990` of a file's name.
fn year(path: &Path) -> String {
    let name = name(path);
    name[name.len() - 16..][..4].to_owned()
}

/// What lies in the archive of a file: the file, and what is none of it.
fn members(file: &Path, make: fn(&str, &[u8]) -> Member) -> Vec<Member> {
    let noise: Vec<u8> = (0..UNWANTED as u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    vec![
        stored("README.txt", b"five years in one file"),
        stored("daily/maps.bin", &noise),
        make(&format!("monthly/{}", name(file)), &fs::read(file).unwrap()),
        stored("__MACOSX/monthly/._siconc_x_199001-199412.nc", b"not data"),
        stored("monthly/", b""),
    ]
}

fn zips(make: fn(&str, &[u8]) -> Member) -> Vec<(String, Vec<u8>)> {
    archive().iter().map(|file| (format!("ice-{}.zip", year(file)), zip(&members(file, make)))).collect()
}

/// A server of one folder, with an index page of as many of its files as `count` says.
fn serve(files: Vec<(String, Vec<u8>)>, count: Arc<AtomicUsize>) -> Server {
    Server::start(move |request, _| {
        let files = &files[..count.load(Ordering::Relaxed)];
        if request.path == "/ice/" {
            let rows: String = files.iter().fold(String::new(), |rows, (name, _)| rows + &format!("<a href=\"{name}\">{name}</a>\n"));
            let page = format!("<title>Index of /ice</title><a href=\"../\">../</a>\n{rows}<a href=\"notes.txt\">notes.txt</a>");
            return reply("200 OK", &[("Content-Type", "text/html"), ("Content-Length", &page.len().to_string())], page.as_bytes());
        }
        match files.iter().find(|(name, _)| request.path == format!("/ice/{name}")) {
            Some((_, bytes)) => honest(request, bytes),
            None => reply("404 Not Found", &[("Content-Length", "0")], b""),
        }
    })
}

/// Bytes that were sent of archives.
fn sent(requests: &[Request], files: &[(String, Vec<u8>)]) -> usize {
    let size = |request: &Request| files.iter().find(|(name, _)| request.path.ends_with(name)).map_or(0, |(_, bytes)| bytes.len());
    let body = |request: &Request| request.range(size(request)).map_or_else(|| size(request), |range| range.len());
    requests.iter().filter(|request| request.method != "HEAD").map(body).sum()
}

#[test]
fn members_of_zips_behind_an_index_page_are_read_by_range_and_grow_by_an_append() {
    for make in [stored as fn(&str, &[u8]) -> Member, deflated] {
        let (files, count) = (zips(make), Arc::new(AtomicUsize::new(2)));
        let server = serve(files.clone(), Arc::clone(&count));
        let place = Place::new();
        place.recipe(&format!("find:\n    glob: {}\n    {NAMES}", server.url("/ice/ice-*.zip!monthly/*.nc")));
        place.bakes("out.zarr", 2);
        let whole: usize = files[..2].iter().map(|(_, bytes)| bytes.len()).sum();
        let wanted = whole - 2 * UNWANTED;
        let cost = sent(&server.requests(), &files);
        // Directories twice (to find, to read), members, the blocks that headers are read in, and once more to verify.
        assert!(cost < 3 * wanted + 2 * 4 * (80 << 10), "{cost} bytes of {whole}, of which {wanted} are wanted");
        assert!(cost < whole / 2, "{cost} bytes of {whole}");
        count.store(3, Ordering::Relaxed);
        place.bakes("out.zarr", 3);
        let listed: serde_json::Value = serde_json::from_str(&place.say(&["inputs", "recipe.yaml", "--json"]).ok()).unwrap();
        let first = &listed["inputs"][0];
        let expected = server.url(&format!("/ice/ice-1990.zip!monthly/{}", name(&archive()[0])));
        assert_eq!(
            (first["url"].as_str(), first["size"].as_u64()),
            (Some(expected.as_str()), Some(fs::metadata(&archive()[0]).unwrap().len()))
        );
        assert!(place.say(&["run", "recipe.yaml", "--target", "out.zarr", "--frozen"]).ok().contains("nothing to do"));
        place.say(&["verify", "out.zarr", "--against-source"]).ok();
    }
}

#[test]
fn one_archive_needs_no_folder_that_can_be_listed() {
    let place = Place::new();
    let files: Vec<(String, Vec<u8>)> =
        archive()[..3].iter().map(|file| (format!("./ice/{}", name(file)), fs::read(file).unwrap())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let packed = tar(&files);
    place.write("ice.tar", &packed);
    place.write("ice.tar.gz", gzip(&packed));
    for glob in ["ice.tar!ice/*.nc", "ice.tar.gz!**/siconc*.nc", "ic?.tar!**"] {
        place.recipe(&format!("find:\n    glob: '{glob}'\n    {NAMES}"));
        place.bakes(&format!("{}.zarr", glob.len()), 3);
    }
}

#[test]
fn a_table_of_archives_gives_keys_to_their_members() {
    let place = Place::new();
    let mut table = "file,part\n".to_owned();
    for (number, (file, (name, bytes))) in archive().iter().zip(zips(deflated)).enumerate().take(4) {
        // The last one is a file like any other.
        if number < 3 {
            place.write(&format!("data/{name}"), bytes);
            table += &format!("data/{name},{number}\n");
        } else {
            place.write("data/plain.nc", fs::read(file).unwrap());
            table += "data/plain.nc,3\n";
        }
    }
    place.write("table.csv", table);
    let rule = "find:\n    manifest: {url: table.csv, column: file}\n    members: '**/siconc*.nc'\n    keys: {part: integer}";
    place.recipe(rule);
    let text = fs::read_to_string(place.path("recipe.yaml")).unwrap();
    place.write("recipe.yaml", text.replace("concat: [time]", "concat: [{dim: time, keys: [part]}]"));
    place.bakes("out.zarr", 4);
}

#[test]
fn what_is_left_out_is_told_and_not_opened() {
    let (files, count) = (zips(stored), Arc::new(AtomicUsize::new(3)));
    let server = serve(files, count);
    let place = Place::new();
    let rule = format!("find:\n    glob: {}\n    {NAMES}\n    exclude: [ice-1990.zip]", server.url("/ice/*.zip!**"));
    place.recipe(&rule);
    let said = place.say(&["inputs", "recipe.yaml"]).ok();
    assert!(said.contains("2 inputs") && said.contains("ice-1990.zip") && said.contains("README.txt"), "{said}");
    assert!(server.requests().iter().all(|request| !request.path.contains("1990")), "an excluded archive was opened");
    let raw = place.say(&["inputs", "recipe.yaml", "--raw"]).ok();
    assert!(raw.contains("ice-1995.zip!daily/maps.bin") && !raw.contains("MACOSX"), "{raw}");
}

#[test]
fn what_cannot_be_looked_into_is_told() {
    let place = Place::new();
    place.write("a.zip", zip(&members(&archive()[0], deflated)));
    let told = |glob: &str, exit, says: &[&str]| {
        place.recipe(&format!("find:\n    {glob}\n    {NAMES}"));
        place.run("out.zarr", &[]).fails(exit, says);
    };
    told("glob: a.zip!*.nc", 3, &["nothing-found", "no member of the 1 archives", "`a.zip` holds 4 files", "`README.txt`", "**/*.nc"]);
    told("glob: a.zip!monthly/", 2, &["bad-find", "no wildcard"]);
    told("glob: '*.zip!b.tar!*.nc'", 2, &["bad-find", "archives inside archives"]);
    told("glob: '*.zip!*.nc'\n    members: '*.nc'", 2, &["bad-find", "named twice"]);
    told("glob: b.zip!*.nc", 3, &["b.zip"]);
    let whole = fs::read(place.path("a.zip")).unwrap();
    place.write("a.zip", &whole[..whole.len() - 30]);
    told("glob: a.zip!**/*.nc", 3, &["a.zip", "truncated or damaged"]);
    place.write("a.zip", "<html>log in</html>");
    told("glob: '*.zip!**/*.nc'", 3, &["a.zip"]);
}

#[test]
fn a_stranger_s_archives_are_looked_into_where_strangers_may_look_only() {
    let place = Place::new();
    place.write("a.zip", zip(&members(&archive()[0], deflated)));
    for glob in ["a.zip!**/*.nc", "*.zip!**/*.nc", "http://127.0.0.1:1/a.zip!*.nc", "https://10.0.0.1/a.zip!*.nc"] {
        place.recipe(&format!("find:\n    glob: '{glob}'\n    {NAMES}"));
        place.run("out.zarr", &["--untrusted"]).fails(2, &["not trusted"]);
    }
}
