//! Real servers on loopback, where `ci/servers.sh` has started them: nginx's two kinds of index, and moto's buckets.

#[path = "../real_s3/mod.rs"]
mod real_s3;

use std::sync::Arc;

use bytes::Bytes;
use gristmill::store::{PutMode, target};

use super::*;

#[test]
fn nginx_lists_in_html_and_json() {
    let (Ok(server), Ok(root)) = (std::env::var("GRISTMILL_TEST_NGINX"), std::env::var("GRISTMILL_TEST_NGINX_ROOT")) else {
        println!("no nginx: `GRISTMILL_TEST_NGINX` is not set; ci/servers.sh starts a server");
        return;
    };
    let folder = format!("discovery {}", std::process::id());
    for file in &archive()[..3] {
        let place = Path::new(&root).join(&folder).join(name(file).split('_').next_back().unwrap().get(..4).unwrap());
        fs::create_dir_all(&place).unwrap();
        fs::copy(file, place.join(name(file))).unwrap();
    }
    for kind in ["listed", "listed-json"] {
        let place = Place::new();
        let url = format!("{server}/{kind}/{}/*/*.nc", folder.replace(' ', "%20"));
        place.recipe(&format!("find:\n    glob: \"{url}\"\n    {NAMES}"));
        place.bakes("out.zarr", 3);
        let json: serde_json::Value = serde_json::from_str(&place.say(&["inputs", "recipe.yaml", "--json"]).ok()).unwrap();
        assert_eq!(json["inputs"][0]["size"], fs::metadata(&archive()[0]).unwrap().len(), "{kind}");
        assert!(json["inputs"][0]["modified"].as_str().unwrap().ends_with('Z'), "{kind}");
    }
    fs::remove_dir_all(Path::new(&root).join(&folder)).unwrap();
}

#[test]
fn a_bucket_is_listed_page_by_page() {
    let Some(access) = real_s3::bucket("gristmill-discovery") else { return };
    let endpoint = access.s3.endpoint.clone().unwrap();
    let prefix = format!("s3://gristmill-discovery/{}", std::process::id());
    let store: Arc<_> = target(&prefix, &access).unwrap();
    for file in &archive()[..3] {
        let key = format!("ice/{}/{}", name(file).split('_').next_back().unwrap().get(..4).unwrap(), name(file));
        store.put(&key, Bytes::from(fs::read(file).unwrap()), PutMode::Overwrite).unwrap();
    }
    // More than one page of a thousand, in one folder and in another many folders.
    for number in 0..1100 {
        store.put(&format!("many/{number:04}.nc"), Bytes::from_static(b"x"), PutMode::Overwrite).unwrap();
    }
    let place = Place::new();
    place.write("settings.toml", format!("[s3]\nendpoint = \"{endpoint}\"\naccess_key_id = \"test\"\nsecret_access_key = \"test\"\n"));
    place.recipe(&format!("find:\n    glob: {prefix}/many/*.nc"));
    assert!(place.say(&["inputs", "recipe.yaml"]).ok().contains("1100 inputs"));
    place.recipe(&format!("find:\n    glob: {prefix}/ice/*/*.nc\n    {NAMES}"));
    place.bakes("out.zarr", 3);
}
