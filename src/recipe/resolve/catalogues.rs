//! `inputs.find`: queries of catalogues.

use std::collections::BTreeMap;

use super::Resolver;
use crate::recipe::diagnostic::{Code, Span};
use crate::recipe::document::Word;
use crate::recipe::find::written::{
    CmrWritten, EsgfWritten, FindWritten, LinksWritten, ServiceWritten, StacWritten, ThreddsCatalog, ThreddsWritten,
};
use crate::recipe::find::{Cmr, Esgf, FindPlace, Service, Stac};
use crate::recipe::tree::Place;

/// NASA's own search.
const CMR: &str = "https://cmr.earthdata.nasa.gov/search";
/// References that are followed if the recipe does not say.
const DEPTH: i64 = 8;
/// References that can be followed.
const DEEPEST: i64 = 32;

/// Parameters of an ESGF search that are no facets.
const OWN: [&str; 8] = ["type", "format", "limit", "offset", "latest", "replica", "distrib", "shards"];

impl Resolver<'_> {
    /// The catalogue that is named.
    pub(super) fn catalogue(&mut self, place: Place<'_>, written: &FindWritten) -> Option<FindPlace> {
        match (&written.thredds, &written.cmr, &written.esgf, &written.stac) {
            (Some(thredds), ..) => self.thredds(place.get("thredds"), thredds),
            (_, Some(cmr), ..) => Some(self.cmr(place.get("cmr"), cmr)),
            (_, _, Some(esgf), _) => self.esgf(place.get("esgf"), esgf),
            (.., Some(stac)) => self.stac(place.get("stac"), stac),
            _ => None,
        }
    }

    /// An address of a service: of the web, that is.
    fn service_url(&mut self, span: Span, url: &str) {
        self.url(span, url);
        if !url.starts_with("http://") && !url.starts_with("https://") {
            self.error(Code::BadUrl, span, "a service has a web address", "write it whole: https://host/path");
        }
    }

    fn thredds(&mut self, place: Place<'_>, written: &ThreddsWritten) -> Option<FindPlace> {
        let (span, url, service, depth) = match written {
            ThreddsWritten::At(url) => (place.span(), url, None, None),
            ThreddsWritten::Full(ThreddsCatalog { url, service, depth }) => (place.get("url").span(), url.as_ref()?, *service, *depth),
        };
        self.service_url(span, url);
        let depth = depth.unwrap_or(DEPTH);
        if !(0..=DEEPEST).contains(&depth) {
            let message = format!("`depth: {depth}` is not between 0 and {DEEPEST}");
            self.error(Code::BadFind, place.get("depth").span(), message, "0 reads the catalog alone");
            return None;
        }
        Some(FindPlace::Thredds { url: url.clone(), service: of(service), depth: depth as usize })
    }

    fn cmr(&mut self, place: Place<'_>, written: &CmrWritten) -> FindPlace {
        if written.collection.is_none() && written.short_name.is_none() {
            let help = "add `collection: C…-PROVIDER`, or `short_name:` and `version:`";
            self.error(Code::BadFind, place.key(), "the query names no collection, and would search all of them", help);
        }
        let server = written.server.clone().unwrap_or_else(|| CMR.to_owned());
        self.service_url(place.get("server").span(), &server);
        let mut parameters: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: Option<String>| parameters.extend(value.map(|value| (name.to_owned(), value)));
        add("collection_concept_id", written.collection.clone());
        add("short_name", written.short_name.clone());
        add("version", written.version.as_ref().map(|version| version.0.clone()));
        add("provider", written.provider.clone());
        let temporal = written.temporal.as_ref().and_then(|ends| self.interval(place.get("temporal"), ends));
        let bounds = written.bounding_box.as_ref().and_then(|bounds| self.bounds(place.get("bounding_box").span(), bounds));
        parameters.extend(
            [("temporal", temporal), ("bounding_box", bounds)].into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
        let direct = matches!(written.links, Some(LinksWritten::S3));
        FindPlace::Cmr(Cmr { server, parameters, direct })
    }

    /// Two dates, the last of which may move with the day, as an interval of instants.
    fn interval(&mut self, place: Place<'_>, ends: &[Word]) -> Option<String> {
        let [start, end] = ends else {
            self.error(Code::BadDate, place.span(), "an interval has two ends", "write [2002-06-01, 2020-12-31], or [2002-06-01, today]");
            return None;
        };
        let start = self.moment(place.item(0).span(), &start.0)?;
        let end = self.end(place.item(1).span(), &end.0)?;
        if end.last < start.first {
            self.error(Code::BadRange, place.span(), "the interval ends before it starts", "write the earlier date first");
            return None;
        }
        Some(format!("{}Z,{}Z", start.first, end.last))
    }

    fn bounds(&mut self, span: Span, bounds: &[f64]) -> Option<String> {
        if let [west, south, east, north] = *bounds
            && [west, east].iter().all(|degrees| (-180.0..=180.0).contains(degrees))
            && (-90.0..=90.0).contains(&south)
            && south <= north
            && north <= 90.0
        {
            return Some(format!("{west},{south},{east},{north}"));
        }
        self.error(Code::BadBounds, span, "this is no box on the earth", "write [west, south, east, north] in degrees: [-10, 35, 30, 60]");
        None
    }

    fn esgf(&mut self, place: Place<'_>, written: &EsgfWritten) -> Option<FindPlace> {
        let (server, facets) = (written.server.clone()?, written.facets.as_ref()?);
        self.service_url(place.get("server").span(), &server);
        if facets.is_empty() {
            self.error(
                Code::BadFind,
                place.get("facets").span(),
                "the query names no facet, and would list everything",
                "add `facets: {project: CMIP6, …}`",
            );
        }
        for name in facets.keys().filter(|name| OWN.contains(&name.as_str())) {
            let help = "say it beside `facets`, if there is a key for it";
            self.error(Code::BadFind, place.get("facets").get(name).key(), format!("`{name}` is no facet"), help);
        }
        let facets: BTreeMap<String, Vec<String>> = facets.iter().map(|(name, words)| (name.clone(), words.all())).collect();
        let (replica, latest) = (Some(written.replica.unwrap_or(false)), written.latest.unwrap_or(true));
        let distributed = written.distributed.unwrap_or(true);
        Some(FindPlace::Esgf(Esgf { server, facets, service: of(written.service), replica, latest, distributed }))
    }

    fn stac(&mut self, place: Place<'_>, written: &StacWritten) -> Option<FindPlace> {
        let (url, assets) = (written.url.clone()?, written.assets.clone()?);
        self.service_url(place.get("url").span(), &url);
        if assets.is_empty() {
            self.error(Code::BadFind, place.get("assets").span(), "no asset is named", "name at least one: `assets: [data]`");
        }
        let bounds = written.bounding_box.as_ref().and_then(|bounds| self.bounds(place.get("bounding_box").span(), bounds));
        let collections = written.collections.as_ref().map(|ids| ids.join(","));
        let named = [("datetime", written.datetime.clone()), ("bbox", bounds), ("collections", collections)];
        let parameters = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Some(FindPlace::Stac(Stac { url, assets, parameters }))
    }
}

fn of(written: Option<ServiceWritten>) -> Service {
    match written {
        None | Some(ServiceWritten::Http) => Service::Http,
        Some(ServiceWritten::Opendap) => Service::Opendap,
    }
}
