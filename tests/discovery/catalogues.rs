//! THREDDS, CMR, ESGF and STAC, answered as their public documentation says: addresses stand at each fixture. No recorded answers.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::scripted_server::{Reply, Request, Server, honest, reply};
use super::*;

fn sent(kind: &str, more: &[(&str, &str)], text: &str) -> Reply {
    let length = text.len().to_string();
    reply("200 OK", &[&[("Content-Type", kind), ("Content-Length", length.as_str())], more].concat(), text.as_bytes())
}

type Catalogue = dyn Fn(&Request, &str) -> Option<Reply> + Send + Sync;

/// A server of the archive's files below `/files/`, and of a catalogue that knows its address.
fn serve(catalogue: impl Fn(&Request, &str) -> Option<Reply> + Send + Sync + 'static) -> Server {
    let files: Vec<(String, Vec<u8>)> = archive().iter().map(|path| (name(path), fs::read(path).unwrap())).collect();
    let (address, catalogue): (Arc<OnceLock<String>>, Box<Catalogue>) = (Arc::default(), Box::new(catalogue));
    let known = Arc::clone(&address);
    let server = Server::start(move |request, _| {
        if let Some(file) = request.path.strip_prefix("/files/") {
            return match files.iter().find(|(name, _)| name == file) {
                Some((_, bytes)) => honest(request, bytes),
                None => reply("404 Not Found", &[("Content-Length", "0")], b""),
            };
        }
        let own = known.get().cloned().unwrap_or_default();
        catalogue(request, &own).unwrap_or_else(|| reply("404 Not Found", &[("Content-Length", "0")], b""))
    });
    address.set(server.url("")).unwrap();
    server
}

fn query(request: &Request) -> Vec<(String, String)> {
    let url = url_of(request);
    url.split_once('?').map_or(Vec::new(), |(_, query)| {
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        query.split('&').map(pair).collect()
    })
}

fn url_of(request: &Request) -> String {
    request.path.replace("%2C", ",").replace("%3A", ":").replace("%5B", "[").replace("%5D", "]").replace("%2F", "/").replace("%2B", "+")
}

fn has(request: &Request, name: &str, value: &str) -> bool {
    query(request).iter().any(|(known, text)| known == name && text == value)
}

/// The files of the archive, oldest first, and the first month of each.
fn granules() -> Vec<(String, String)> {
    archive()
        .iter()
        .map(|path| name(path))
        .map(|name| (name.clone(), format!("{}-{}-01T00:00:00.000Z", &name[name.len() - 16..][..4], &name[name.len() - 12..][..2])))
        .collect()
}

/// <https://docs.unidata.ucar.edu/tds/4.6/adminguide/catalog/InvCatalogSpec.html>: services, datasets, catalogRef.
#[test]
fn thredds_catalogs_are_followed() {
    let server = serve(|request, _| {
        let datasets = |from: usize, to: usize| -> String {
            granules()[from..to]
                .iter()
                .map(|(name, _)| format!("<dataset name=\"{name}\" urlPath=\"{name}\"/>"))
                .collect::<Vec<_>>()
                .concat()
        };
        let head = "<?xml version=\"1.0\"?><catalog xmlns=\"http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" version=\"1.0.7\"><service name=\"f\" serviceType=\"HTTPServer\" base=\"/files/\"/>";
        let inherited = "<metadata inherited=\"true\"><serviceName>f</serviceName></metadata>";
        let text = match request.path.as_str() {
            "/thredds/catalog.xml" => format!(
                "{head}<dataset name=\"all\">{inherited}<dataset name=\"readme\" urlPath=\"README\"/>{}<catalogRef xlink:href=\"more/catalog.xml\" xlink:title=\"more\"/><catalogRef xlink:href=\"catalog.xml\" xlink:title=\"itself\"/></dataset></catalog>",
                datasets(0, 2)
            ),
            "/thredds/more/catalog.xml" => format!("{head}<dataset name=\"more\">{inherited}{}</dataset></catalog>", datasets(2, 3)),
            _ => return None,
        };
        Some(sent("application/xml", &[], &text))
    });
    let place = Place::new();
    place.recipe(&format!("find:\n    thredds: {}\n    {NAMES}", server.url("/thredds/catalog.xml")));
    place.bakes("out.zarr", 3);
    let catalogs = server.requests().iter().filter(|request| request.path.starts_with("/thredds")).count();
    assert_eq!(catalogs, 2, "each catalog is read once");
    place.recipe(&format!("find:\n    thredds: {{url: \"{}\", depth: 0}}\n    {NAMES}", server.url("/thredds/catalog.xml")));
    assert!(place.say(&["inputs", "recipe.yaml"]).ok().contains("2 inputs"));
    place.recipe(&format!("find:\n    thredds: {}", server.url("/files/x")));
    place.run("other.zarr", &[]).fails(3, &["source-absent"]);
}

/// <https://cmr.earthdata.nasa.gov/search/site/docs/search/api.html>: `granules.json`, `CMR-Hits`, `CMR-Search-After`.
#[test]
fn granules_of_the_cmr_come_page_by_page() {
    let server = serve(|request, own| {
        if !request.path.starts_with("/search/granules.json?") {
            return None;
        }
        assert!(
            has(request, "short_name", "ICE") && has(request, "temporal", "1990-01-01T00:00:00Z,2004-12-31T23:59:59Z"),
            "{}",
            request.path
        );
        assert!(has(request, "page_size", "2000"));
        let page: usize = request.header("cmr-search-after").map_or(0, |after| after.trim_matches(['[', ']', '"']).parse().unwrap());
        let entry = |(name, start): &(String, String)| {
            json!({"id": format!("G{name}-X"), "title": name, "producer_granule_id": name, "time_start": start, "updated": "2020-01-01T00:00:00.000Z",
                "dataset_id": "Sea ice", "data_center": "X", "granule_size": "1.5", "links": [
                {"rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "type": "application/x-netcdf", "hreflang": "en-US", "href": format!("{own}/files/{name}")},
                {"rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "title": "checksum", "hreflang": "en-US", "href": format!("{own}/files/{name}.md5")},
                {"rel": "http://esipfed.org/ns/fedsearch/1.1/s3#", "hreflang": "en-US", "href": format!("s3://bucket/{name}")},
                {"inherited": true, "rel": "http://esipfed.org/ns/fedsearch/1.1/data#", "hreflang": "en-US", "href": "https://example.org/collection.nc"}]})
        };
        let entries: Vec<Value> = granules()[..3].iter().skip(2 * page).take(2).map(entry).collect();
        let feed = json!({"feed": {"updated": "2020-01-01T00:00:00.000Z", "id": request.path, "title": "ECHO granule metadata", "entry": entries}});
        let after = format!("[\"{}\"]", page + 1);
        let more = [("CMR-Hits", "3"), ("CMR-Search-After", after.as_str())];
        // The last page has no such header.
        Some(sent("application/json;charset=utf-8", if page < 2 { &more } else { &more[..1] }, &feed.to_string()))
    });
    let place = Place::new();
    let find = |links: &str| {
        format!(
            "find:\n    cmr: {{short_name: ICE, temporal: [1990, 2004], links: {links}, server: \"{}\"}}\n    include: [\"*.nc\"]\n    keys: {{time_start: iso}}",
            server.url("/search")
        )
    };
    let text = |place: &Place| {
        let text = fs::read_to_string(place.path("recipe.yaml")).unwrap();
        place.write("recipe.yaml", text.replace("{concat: [time]}", "{concat: [{dim: time, keys: [time_start]}]}"));
    };
    place.recipe(&find("data"));
    text(&place);
    place.bakes("out.zarr", 3);
    place.recipe(&find("s3"));
    text(&place);
    let listed = place.say(&["inputs", "recipe.yaml"]).ok();
    assert!(listed.contains("s3://bucket/siconc") && listed.contains("3 inputs"), "{listed}");
    let short = serve(|_, _| Some(sent("application/json", &[("CMR-Hits", "7")], "{\"feed\": {\"entry\": []}}")));
    place.recipe(&format!("find:\n    cmr: {{collection: C1-X, server: \"{}\"}}", short.url("/search")));
    place.run("other.zarr", &[]).fails(3, &["not-an-index", "announces 7 granules and sends 0"]);
}

/// <https://esgf.github.io/esg-search/ESGF_Search_RESTful_API.html>: `type=File`, `offset`, `limit`, `replica`, `latest`; Solr's JSON.
#[test]
fn files_of_esgf_come_page_by_page_with_checksums() {
    let server = serve(|request, own| {
        if !request.path.starts_with("/esg-search/search?") {
            return None;
        }
        for (name, value) in
            [("type", "File"), ("format", "application/solr+json"), ("replica", "false"), ("latest", "true"), ("variable_id", "siconc,sic")]
        {
            assert!(has(request, name, value), "{name}: {}", request.path);
        }
        let offset: usize = query(request).iter().find(|(name, _)| name == "offset").unwrap().1.parse().unwrap();
        let doc = |(name, _): &(String, String)| {
            json!({"id": format!("{name}|node"), "title": name, "variable_id": ["siconc"], "size": fs::metadata(&archive()[0]).unwrap().len(), "replica": false, "latest": true,
                "checksum": ["0f1e"], "checksum_type": ["SHA256"], "timestamp": "2019-09-10T00:00:00Z", "version": "20190710", "data_node": "node.example",
                "url": [format!("{own}/files/{name}|application/netcdf|HTTPServer"), format!("{own}/dodsC/{name}.html|application/opendap-html|OPENDAP"),
                    format!("gsiftp://node.example//{name}|application/gridftp|GridFTP")]})
        };
        let docs: Vec<Value> = granules()[..3].iter().skip(offset).take(2).map(doc).collect();
        let body = json!({"responseHeader": {"status": 0}, "response": {"numFound": 3, "start": offset, "maxScore": 1.0, "docs": docs}, "facet_counts": {}});
        Some(sent("application/json", &[], &body.to_string()))
    });
    let place = Place::new();
    let url = server.url("/esg-search/search");
    place.recipe(&format!("find:\n    esgf: {{server: \"{url}\", facets: {{project: CMIP6, variable_id: [siconc, sic]}}}}\n    {NAMES}"));
    place.bakes("out.zarr", 3);
    let kept = fs::read_to_string(place.path("out.zarr.gristmill/inputs.json")).unwrap();
    assert_eq!(kept.matches("\"checksum\":\"sha256:0f1e\"").count(), 3, "{kept}");
    let endless =
        serve(|_, _| Some(sent("application/json", &[], "{\"response\": {\"numFound\": 5, \"docs\": [{\"id\": \"same\", \"url\": []}]}}")));
    place.recipe(&format!("find:\n    esgf: {{server: \"{}\", facets: {{project: CMIP6}}}}", endless.url("/s")));
    place.run("other.zarr", &[]).fails(3, &["not-an-index", "pages shifted"]);
}

/// Item of STAC 1.1 (<https://github.com/radiantearth/stac-spec/blob/v1.1.0/item-spec/item-spec.md>); `ci/stac_schema.py` holds it to the schema.
fn item(own: &str, name: &str, start: &str) -> Value {
    let text = include_str!("stac-item.json").replace("https://example.org", own).replace("NAME", name).replace("START", start);
    serde_json::from_str(&text).unwrap()
}

/// Paging by `next` (<https://api.stacspec.org/v1.0.0/ogcapi-features>).
#[test]
fn items_of_a_collection_come_page_by_page() {
    let server = serve(|request, own| {
        let page = |from: usize, next: Option<&str>| {
            let items: Vec<Value> = granules()[..3].iter().skip(from).take(2).map(|(name, start)| item(own, name, start)).collect();
            let links: Vec<Value> = next.iter().map(|next| json!({"rel": "next", "href": next, "type": "application/geo+json"})).collect();
            json!({"type": "FeatureCollection", "features": items, "links": links})
        };
        let body = match request.path.as_str() {
            "/collections/ice" => {
                json!({"type": "Collection", "stac_version": "1.0.0", "id": "ice", "description": "Sea ice", "license": "CC-BY-4.0", "extent": {},
                "links": [{"rel": "items", "href": format!("{own}/collections/ice/items")}, {"rel": "child", "href": format!("{own}/never")}]})
            }
            path if path.starts_with("/collections/ice/items?token=") => page(2, None),
            path if path.starts_with("/collections/ice/items?") => {
                assert!(has(request, "datetime", "1990-01-01T00:00:00Z/..") && has(request, "limit", "500"), "{path}");
                page(0, Some("items?token=next:2"))
            }
            "/catalog.json" => json!({"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d", "links": [
                {"rel": "item", "href": "./one.json"}, {"rel": "child", "href": "catalog.json"}]}),
            "/one.json" => item(own, &granules()[0].0, &granules()[0].1),
            "/post" => {
                json!({"type": "FeatureCollection", "features": [], "links": [{"rel": "next", "href": "/post", "method": "POST", "body": {}}]})
            }
            _ => return None,
        };
        Some(sent("application/geo+json", &[], &body.to_string()))
    });
    let place = Place::new();
    let recipe = |url: &str, asset: &str| {
        place.recipe(&format!(
            "find:\n    stac: {{url: \"{url}\", assets: [{asset}], datetime: \"1990-01-01T00:00:00Z/..\"}}\n    keys: {{datetime: iso}}"
        ));
        let text = fs::read_to_string(place.path("recipe.yaml")).unwrap();
        place.write("recipe.yaml", text.replace("{concat: [time]}", "{concat: [{dim: time, keys: [datetime]}]}"));
    };
    recipe(&server.url("/collections/ice"), "data");
    place.bakes("out.zarr", 3);
    recipe(&server.url("/catalog.json"), "data");
    assert!(place.say(&["inputs", "recipe.yaml"]).ok().contains("1 inputs"));
    recipe(&server.url("/collections/ice"), "values");
    place.run("other.zarr", &[]).fails(3, &["nothing-found", "none has an asset `values`", "`data`, `preview`"]);
    recipe(&server.url("/post"), "data");
    place.run("other.zarr", &[]).fails(3, &["not-an-index", "POST"]);
}
