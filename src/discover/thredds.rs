//! THREDDS client catalogs: `catalog.xml`, those that it refers to, and the addresses of their datasets.
//!
//! After the THREDDS Client Catalog Specification 1.0.7 (<https://docs.unidata.ucar.edu/tds/4.6/adminguide/catalog/InvCatalogSpec.html>):
//! an address is the base of a service, resolved against the catalog's own address, followed by a dataset's `urlPath`. Invariant: no
//! catalog is read twice, and none deeper than the recipe says.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use url::Url;

use super::{DiscoverError, Found, Search};
use crate::recipe::diagnostic::Code;
use crate::recipe::find::Service;
use crate::store::{Document, shown};

/// Elements nested in one another.
const NESTED: usize = 64;

/// Every dataset that the service offers, of a catalog and those that it refers to.
pub(super) fn search(search: Search<'_>, url: &str, service: Service, deepest: usize) -> Result<Vec<Found>, DiscoverError> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::from([url.to_owned()]));
    let (mut level, mut depth, mut without) = (vec![url.to_owned()], 0, 0);
    while !level.is_empty() && depth <= deepest {
        let mut next = Vec::new();
        for url in level {
            let document = search.limits.read(search.documents, &url, &[])?;
            let catalog = read(&document, service).map_err(|reason| refuse(search, &url, &reason))?;
            search.limits.files(catalog.found.len())?;
            found.extend(catalog.found);
            without += catalog.without;
            next.extend(catalog.references.into_iter().filter(|url| seen.insert(url.clone())));
        }
        level = next;
        depth += 1;
    }
    if found.is_empty() && without > 0 {
        let message = format!("{without} datasets are in the catalog, and none is offered by {}", service.name());
        return Err(search.refuse(Code::NothingFound, message, "choose another `service`: http or opendap"));
    }
    Ok(found)
}

fn refuse(search: Search<'_>, url: &str, reason: &str) -> DiscoverError {
    let message = format!("`{}` is no THREDDS catalog: {reason}", shown(url));
    search.refuse(Code::NotAnIndex, message, "give the address of its XML: …/catalog.xml, not the page catalog.html")
}

/// What one catalog says.
#[derive(Debug, Default)]
struct Catalog {
    found: Vec<Found>,
    references: Vec<String>,
    /// Datasets that the service does not offer.
    without: usize,
}

/// A service and those inside it.
#[derive(Debug, Clone)]
struct Offer {
    kind: String,
    base: String,
    suffix: String,
    inside: Vec<String>,
}

/// A dataset that is not closed yet.
#[derive(Debug, Clone, Default)]
struct Dataset {
    fields: BTreeMap<String, String>,
    path: Option<String>,
    /// Named by the dataset itself, or passed on to those inside it.
    service: Option<String>,
    inherited: Option<String>,
    access: Vec<(String, Option<String>)>,
    size: Option<f64>,
    units: f64,
    modified: Option<String>,
}

struct Parser<'d> {
    base: Url,
    service: Service,
    offers: BTreeMap<String, Offer>,
    /// Services that are open.
    within: Vec<String>,
    datasets: Vec<Dataset>,
    closed: Vec<Dataset>,
    catalog: Catalog,
    /// True for each open `metadata` that is passed on.
    metadata: Vec<bool>,
    /// Element whose text is read.
    text: Option<(&'d str, String)>,
    depth: usize,
}

fn read(document: &Document, service: Service) -> Result<Catalog, String> {
    let text = std::str::from_utf8(&document.bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let base = Url::parse(&document.url).map_err(|_| "it has no address".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut parser = Parser {
        base,
        service,
        offers: BTreeMap::new(),
        within: Vec::new(),
        datasets: Vec::new(),
        closed: Vec::new(),
        catalog: Catalog::default(),
        metadata: Vec::new(),
        text: None,
        depth: 0,
    };
    let mut rooted = false;
    loop {
        match reader.read_event().map_err(|error| format!("its XML is broken: {error}"))? {
            Event::Start(tag) => {
                rooted |= parser.root(&tag, rooted)?;
                parser.open(&tag)?;
            }
            Event::Empty(tag) => {
                rooted |= parser.root(&tag, rooted)?;
                parser.open(&tag)?;
                parser.close(&local(tag.name().as_ref()));
            }
            Event::End(tag) => parser.close(&local(tag.name().as_ref())),
            Event::Text(text) => parser.read(&text.decode().map_err(|error| error.to_string())?),
            Event::Eof if !rooted => return Err("it holds no XML".to_owned()),
            Event::Eof => return Ok(parser.ended()),
            _ => {}
        }
    }
}

fn local(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

fn attributes(tag: &BytesStart<'_>) -> BTreeMap<String, String> {
    let known = tag.attributes().flatten();
    known
        .filter_map(|attribute| {
            Some((local(attribute.key.as_ref()), attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok()?.into_owned()))
        })
        .collect()
}

impl Parser<'_> {
    fn root(&mut self, tag: &BytesStart<'_>, rooted: bool) -> Result<bool, String> {
        let name = local(tag.name().as_ref());
        if rooted || name == "catalog" {
            if let Some(base) = attributes(tag).get("base").filter(|_| !rooted).and_then(|base| self.base.join(base).ok()) {
                self.base = base;
            }
            return Ok(true);
        }
        Err(format!("its first element is `{}`", crate::recipe::diagnostic::inert(&name)))
    }

    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        self.depth += 1;
        if self.depth > NESTED {
            return Err(format!("its elements are nested more than {NESTED} deep"));
        }
        let (name, attributes) = (local(tag.name().as_ref()), attributes(tag));
        let told = |key: &str| attributes.get(key).cloned();
        match name.as_str() {
            "service" => {
                let offer = Offer {
                    kind: told("serviceType").unwrap_or_default().to_ascii_lowercase(),
                    base: told("base").unwrap_or_default(),
                    suffix: told("suffix").unwrap_or_default(),
                    inside: Vec::new(),
                };
                let name = told("name").unwrap_or_default();
                if let Some(outer) = self.within.last().and_then(|outer| self.offers.get_mut(outer)) {
                    outer.inside.push(name.clone());
                }
                self.offers.insert(name.clone(), offer);
                self.within.push(name);
            }
            "dataset" => {
                let inherited = self.datasets.last().and_then(|outer| outer.inherited.clone());
                let fields = ["name", "ID"].into_iter().filter_map(|key| Some((key.to_ascii_lowercase(), told(key)?))).collect();
                let (path, service) = (told("urlPath"), told("serviceName"));
                self.datasets.push(Dataset { fields, path, service, inherited, units: 1.0, ..Dataset::default() });
            }
            "access" => {
                if let (Some(dataset), Some(path)) = (self.datasets.last_mut(), told("urlPath")) {
                    dataset.access.push((path, told("serviceName")));
                }
            }
            "catalogRef" => {
                let href = told("href").and_then(|href| self.base.join(&href).ok());
                self.catalog.references.extend(href.filter(|href| href.scheme().starts_with("http")).map(|href| href.to_string()));
            }
            "metadata" => self.metadata.push(told("inherited").as_deref() == Some("true")),
            "serviceName" => self.text = Some(("serviceName", String::new())),
            "dataSize" => {
                let units = match told("units").unwrap_or_default().to_ascii_lowercase().as_str() {
                    "kbytes" => 1e3,
                    "mbytes" => 1e6,
                    "gbytes" => 1e9,
                    "tbytes" => 1e12,
                    _ => 1.0,
                };
                if let Some(dataset) = self.datasets.last_mut() {
                    dataset.units = units;
                }
                self.text = Some(("dataSize", String::new()));
            }
            "date" if told("type").as_deref() == Some("modified") => self.text = Some(("date", String::new())),
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self, text: &str) {
        if let Some((_, known)) = &mut self.text {
            known.push_str(text);
        }
    }

    fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        if let Some((element, text)) = self.text.take_if(|(element, _)| *element == name) {
            let text = text.trim().to_owned();
            let inherited = self.metadata.last().copied().unwrap_or(false);
            match (self.datasets.last_mut(), element) {
                (Some(dataset), "serviceName") if inherited => dataset.inherited = Some(text),
                (Some(dataset), "serviceName") => dataset.service = Some(text),
                (Some(dataset), "dataSize") => dataset.size = text.parse().ok(),
                (Some(dataset), _) => dataset.modified = Some(text),
                (None, _) => {}
            }
        }
        match name {
            "service" => drop(self.within.pop()),
            "metadata" => drop(self.metadata.pop()),
            // Services may follow the datasets that name them: addresses are made at the end.
            "dataset" => self.closed.extend(self.datasets.pop().filter(|dataset| dataset.path.is_some() || !dataset.access.is_empty())),
            _ => {}
        }
    }

    fn ended(mut self) -> Catalog {
        for dataset in std::mem::take(&mut self.closed) {
            match self.address(&dataset) {
                Some(url) => self.catalog.found.push(described(dataset, url)),
                None => self.catalog.without += 1,
            }
        }
        self.catalog
    }

    /// The dataset's address at the service that is wanted.
    fn address(&self, dataset: &Dataset) -> Option<String> {
        let usual = dataset.service.as_ref().or(dataset.inherited.as_ref());
        let mut ways = dataset
            .path
            .iter()
            .map(|path| (path, usual))
            .chain(dataset.access.iter().map(|(path, service)| (path, service.as_ref().or(usual))));
        ways.find_map(|(path, service)| {
            let offer = self.offer(service?, 0)?;
            let base = self.base.join(&offer.base).ok()?;
            // The path is appended, not resolved: `a:b` is a name here, not a scheme.
            Some(self.service.address(&format!("{base}{path}{}", offer.suffix)))
        })
    }

    /// The service of the kind that is wanted: the one of that name, or one inside it.
    fn offer(&self, name: &str, depth: usize) -> Option<&Offer> {
        let offer = self.offers.get(name).filter(|_| depth < NESTED)?;
        if self.service.is_of(&offer.kind) { Some(offer) } else { offer.inside.iter().find_map(|inside| self.offer(inside, depth + 1)) }
    }
}

fn described(dataset: Dataset, url: String) -> Found {
    let size = dataset.size.map(|size| size * dataset.units);
    // Sizes are rounded, so that they say nothing exact unless they are in bytes.
    let size = size.filter(|size| dataset.units == 1.0 && *size >= 0.0 && *size < 9e15).map(|size| size as u64);
    let path = dataset.path.or_else(|| dataset.access.into_iter().next().map(|(path, _)| path)).unwrap_or_default();
    Found { url, path, fields: dataset.fields, size, modified: dataset.modified, checksum: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After the examples of the specification ("Constructing URLs", "Compound services", "metadata", "catalogRef").
    const CATALOG: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<catalog xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.0.7">
  <service name="all" serviceType="Compound" base="">
    <service name="odap" serviceType="OPENDAP" base="/thredds/dodsC/"/>
    <service name="http" serviceType="HTTPServer" base="/thredds/fileServer/"/>
  </service>
  <service name="elsewhere" serviceType="HTTPServer" base="https://other.example/files/"/>
  <dataset name="SST &amp; ice" ID="sst">
    <metadata inherited="true"><serviceName>all</serviceName><dataType>Grid</dataType></metadata>
    <dataset name="a.nc" ID="sst/a.nc" urlPath="sst/a.nc"><dataSize units="Mbytes">1.2</dataSize><date type="modified">2020-05-01T10:11:12Z</date></dataset>
    <dataset name="b.nc" urlPath="sst/b:1.nc"><dataSize units="bytes">123</dataSize></dataset>
    <dataset name="c.nc"><access serviceName="elsewhere" urlPath="c.nc"/></dataset>
    <dataset name="none" urlPath="x"><serviceName>unknown</serviceName></dataset>
    <catalogRef xlink:href="1982/catalog.xml" xlink:title="1982" name="1982"/>
    <catalogRef xlink:href="file:///etc/passwd" xlink:title="no"/>
  </dataset>
</catalog>"#;

    fn catalog(text: &str, service: Service) -> Result<Catalog, String> {
        let bytes = text.to_owned().into();
        read(&Document { url: "https://h/thredds/catalog/sst/catalog.xml".into(), kind: None, headers: Vec::new(), bytes }, service)
    }

    #[test]
    fn addresses_are_made_of_services_and_paths() {
        let catalog_of = |service| catalog(CATALOG, service).unwrap();
        let urls = |service| catalog_of(service).found.into_iter().map(|found| found.url).collect::<Vec<_>>();
        assert_eq!(
            urls(Service::Http),
            ["https://h/thredds/fileServer/sst/a.nc", "https://h/thredds/fileServer/sst/b:1.nc", "https://other.example/files/c.nc"]
        );
        assert_eq!(urls(Service::Opendap), ["dap2://h/thredds/dodsC/sst/a.nc", "dap2://h/thredds/dodsC/sst/b:1.nc"]);
        let all = catalog_of(Service::Http);
        assert_eq!((all.references, all.without), (vec!["https://h/thredds/catalog/sst/1982/catalog.xml".to_owned()], 1));
        assert_eq!(
            (all.found[0].modified.as_deref(), all.found[0].size, all.found[1].size),
            (Some("2020-05-01T10:11:12Z"), None, Some(123))
        );
        assert_eq!((all.found[0].fields["id"].as_str(), all.found[0].path.as_str()), ("sst/a.nc", "sst/a.nc"));
    }

    #[test]
    fn what_is_no_catalog_is_refused() {
        for text in ["", "<html><body>log in</body></html>", "<catalog><dataset></catalog>", "no xml", &"<catalog>".repeat(100)] {
            assert!(catalog(text, Service::Http).is_err(), "{text}");
        }
        let ring = r#"<catalog><service name="a" serviceType="Compound"><service name="a" serviceType="Compound"/></service><dataset urlPath="x" serviceName="a"/></catalog>"#;
        assert_eq!(catalog(ring, Service::Http).unwrap().without, 1);
    }
}
