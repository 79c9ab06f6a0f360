//! `inputs.find` as written. Serde and schemars only, like [`document`](crate::recipe::document).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::recipe::document::Word;

/// Files that are found when the recipe is planned: where to look, and how their names become keys. Exactly one place.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Find")]
pub struct FindWritten {
    /// A path or URL with wildcards: `*`, `?`, `[0-9]`, `{a,b}` in a name, `**` for folders. Of a bucket, or of a web server's index pages.
    pub glob: Option<String>,
    /// A CSV or JSON table of URLs, beside the recipe or at a URL.
    pub manifest: Option<ManifestWritten>,
    /// A THREDDS catalog and those that it refers to.
    pub thredds: Option<ThreddsWritten>,
    /// Granules of NASA's Common Metadata Repository.
    pub cmr: Option<CmrWritten>,
    /// Files of the Earth System Grid Federation.
    pub esgf: Option<EsgfWritten>,
    /// Assets of STAC items.
    pub stac: Option<StacWritten>,
    /// A glob of members: archives that are found are looked into, and such members are the files. For a `glob` it may also follow a `!`.
    pub members: Option<String>,
    /// A regular expression that is searched for in the path below the first wildcard, or in the whole URL; its named groups are keys.
    #[serde(rename = "match")]
    pub names: Option<String>,
    /// Globs of which a path must match one; a glob without `/` is about the name alone.
    pub include: Option<Vec<String>>,
    /// Globs of which a path must match none.
    pub exclude: Option<Vec<String>>,
    /// What keys are: a date format such as `%Y%m%d`, `iso`, `integer` or `text`. Those without a named group are columns or properties of that name.
    pub keys: Option<BTreeMap<String, String>>,
    /// Which of several files with the same keys is taken: the one with the greatest value of this named group or field, or `modified`.
    pub newest: Option<String>,
    /// Fewest inputs that must be found.
    pub at_least: Option<i64>,
    /// Most inputs that may be found.
    pub at_most: Option<i64>,
}

/// A table of URLs.
// Untagged is harmless: positions come from `tree`, and `shape` has already chosen the alternative.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Manifest")]
pub enum ManifestWritten {
    /// Its path, relative to the recipe, or its URL.
    At(String),
    /// In full.
    Full(ManifestTable),
}

/// A table of URLs, in full.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestTable {
    /// Its path, relative to the recipe, or its URL.
    #[schemars(required)]
    pub url: Option<String>,
    /// Column, or member of each JSON object, that holds the file's URL; `url` if absent.
    pub column: Option<String>,
    /// Where the list is in a JSON document, as a JSON pointer (RFC 6901): `/data/files`.
    pub at: Option<String>,
}

/// A THREDDS catalog.
// Untagged is harmless: see above.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Thredds")]
pub enum ThreddsWritten {
    /// The URL of its XML.
    At(String),
    /// In full.
    Full(ThreddsCatalog),
}

/// A THREDDS catalog, in full.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreddsCatalog {
    /// The URL of its XML: `…/catalog.xml`.
    #[schemars(required)]
    pub url: Option<String>,
    /// How files are read: `http` (default) or `opendap`.
    pub service: Option<ServiceWritten>,
    /// How many references to further catalogs are followed one after the other; 8 if absent, at most 32.
    pub depth: Option<i64>,
}

/// How a server hands files out.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Service")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum ServiceWritten {
    Http,
    Opendap,
}

/// Granules of NASA's Common Metadata Repository; a `collection`, or a `short_name` with its `version`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cmr")]
pub struct CmrWritten {
    /// Concept id of the collection: `C1996881146-POCLOUD`.
    pub collection: Option<String>,
    /// Short name of the collection.
    pub short_name: Option<String>,
    /// Version of the collection.
    pub version: Option<Word>,
    /// Who provides it.
    pub provider: Option<String>,
    /// First and last instant that granules may touch, ends inclusive: dates; the last may be `today`.
    pub temporal: Option<Vec<Word>>,
    /// West, south, east and north, in degrees.
    pub bounding_box: Option<Vec<f64>>,
    /// Which links of a granule are inputs: `data` (default, over https) or `s3`.
    pub links: Option<LinksWritten>,
    /// Address of the search; NASA's if absent.
    pub server: Option<String>,
}

/// Which links of a granule are inputs.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Links")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum LinksWritten {
    Data,
    S3,
}

/// Files of the Earth System Grid Federation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Esgf")]
pub struct EsgfWritten {
    /// Address of a search: `https://esgf-node.example/esg-search/search`.
    #[schemars(required)]
    pub server: Option<String>,
    /// Facets and their values: `{project: CMIP6, variable_id: [tas, pr]}`.
    #[schemars(required)]
    pub facets: Option<BTreeMap<String, Words>>,
    /// How files are read: `http` (default) or `opendap`.
    pub service: Option<ServiceWritten>,
    /// False (default): originals only; true: copies only.
    pub replica: Option<bool>,
    /// True (default): the latest versions only.
    pub latest: Option<bool>,
    /// True (default): all nodes are asked.
    pub distributed: Option<bool>,
}

/// Assets of STAC items.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Stac")]
pub struct StacWritten {
    /// Address of a collection, of its `/items`, of a `/search`, or of a static catalog.
    #[schemars(required)]
    pub url: Option<String>,
    /// Keys of the assets that are inputs; with several, the field `asset` tells them apart.
    #[schemars(required)]
    pub assets: Option<Vec<String>>,
    /// An instant or an interval as the API takes it: `2020-01-01T00:00:00Z/..`.
    pub datetime: Option<String>,
    /// West, south, east and north, in degrees.
    pub bounding_box: Option<Vec<f64>>,
    /// Ids of collections, for a `/search`.
    pub collections: Option<Vec<String>>,
}

/// A number, a text, or a list of them, as queries of catalogues take them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Words {
    /// One.
    One(Word),
    /// Any of several.
    Several(Vec<Word>),
}

impl Words {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        match self {
            Self::One(word) => vec![word.0.clone()],
            Self::Several(words) => words.iter().map(|word| word.0.clone()).collect(),
        }
    }
}
