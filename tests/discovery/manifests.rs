//! Tables of URLs, beside the recipe and at a URL.

use super::scripted_server::{Server, honest, reply};
use super::*;

/// A table with the archive's files under `prefix`, newest first.
fn table(prefix: &str, count: usize) -> String {
    let row = |path: &PathBuf| {
        let name = name(path);
        let start = &name[name.len() - 16..][..6];
        format!("{}-{},\"{prefix}{name}\",siconc\n", &start[..4], &start[4..])
    };
    format!("start,url,variable\n{}", archive()[..count].iter().rev().map(row).collect::<String>())
}

#[test]
fn a_table_beside_the_recipe() {
    let place = Place::new();
    for file in &archive()[..3] {
        place.write(&format!("lists/data/{}", name(file)), fs::read(file).unwrap());
    }
    place.write("lists/files.csv", table("data/", 2));
    let find = "find:\n    manifest: lists/files.csv\n    keys: {time: \"%Y-%m\"}";
    place.recipe(find);
    let error = place.run("out.zarr", &[]).fails(2, &["key-not-read", "2 files have no `time`", "`start`, `url`, `variable`"]);
    assert!(error.contains("recipe.yaml:8"), "{error}");
    let text = fs::read_to_string(place.path("recipe.yaml")).unwrap();
    place.write(
        "recipe.yaml",
        text.replace("{time: \"%Y-%m\"}", "{start: iso}").replace("[time]}\nsteps", "[{dim: time, keys: [start]}]}\nsteps"),
    );
    place.bakes("out.zarr", 2);
    place.write("lists/files.csv", table("data/", 3));
    place.bakes("out.zarr", 3);
}

#[test]
fn json_at_a_url_names_files_relative_to_it() {
    let files: Vec<Vec<u8>> = archive()[..2].iter().map(|path| fs::read(path).unwrap()).collect();
    let items: Vec<_> = archive()[..2].iter().map(|path| serde_json::json!({"href": format!("../data/{}", name(path))})).collect();
    let list = serde_json::json!({"result": {"files": items}}).to_string();
    let names: Vec<String> = archive()[..2].iter().map(|path| name(path)).collect();
    let server = Server::start(move |request, _| {
        if request.path == "/lists/all.json" {
            return reply("200 OK", &[("Content-Type", "application/json"), ("Content-Length", &list.len().to_string())], list.as_bytes());
        }
        match names.iter().position(|name| request.path == format!("/data/{name}")) {
            Some(number) => honest(request, &files[number]),
            None => reply("404 Not Found", &[("Content-Length", "0")], b""),
        }
    });
    let place = Place::new();
    let url = server.url("/lists/all.json");
    place.recipe(&format!("find:\n    manifest: {{url: \"{url}\", at: /result/files}}\n    {NAMES}"));
    place.bakes("out.zarr", 2);
    place.recipe(&format!("find:\n    manifest: {{url: \"{url}\"}}\n    {NAMES}"));
    place.run("other.zarr", &[]).fails(3, &["not-an-index", "say where the list is with `at`", "`/result`"]);
}

#[test]
fn a_table_on_a_server_names_no_path_of_this_machine() {
    for row in ["file:///etc/passwd", "FILE:///etc/passwd"] {
        let list = format!("url\n{row}\n");
        let server = Server::start(move |_, _| reply("200 OK", &[("Content-Length", &list.len().to_string())], list.as_bytes()));
        let place = Place::new();
        place.recipe(&format!("find:\n    manifest: {}", server.url("/files.csv")));
        place.run("out.zarr", &[]).fails(2, &["address-refused", "comes from a server"]);
    }
}

#[test]
fn a_recipe_that_is_not_trusted_reads_tables_of_its_own_folder_only() {
    let place = Place::new();
    place.write("recipes/files.csv", "url\nhttps://example.org/a.nc\n");
    place.write("secret.csv", "url\nhttps://example.org/b.nc\n");
    let recipe = |manifest: &str| {
        place.recipe(&format!("find: {{manifest: {manifest}}}"));
        let text = fs::read(place.path("recipe.yaml")).unwrap();
        place.write("recipes/recipe.yaml", text);
        let mut command = place.command(&["inputs", "recipes/recipe.yaml"]);
        let output = command.env("GRISTMILL_UNTRUSTED", "1").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (exit, text) = recipe("files.csv");
    assert!(exit == 0 && text.contains("https://example.org/a.nc"), "{text}");
    std::os::unix::fs::symlink(place.path("secret.csv"), place.path("recipes/link.csv")).unwrap();
    for outside in ["../secret.csv", "link.csv", "/etc/hosts"] {
        let (exit, text) = recipe(outside);
        assert!(exit == 2 && text.contains("may not read files of this machine"), "{outside}: {text}");
    }
    place.write("recipes/files.csv", "url\nhttps://169.254.169.254/latest/meta-data\n");
    let (exit, text) = recipe("files.csv");
    assert!(exit == 2 && text.contains("private address"), "{text}");
}
