//! What a recipe says of inputs that are found: a rule, resolved and checked, before anybody has looked anywhere.
//!
//! `written` is the rule as the recipe writes it. Looking is `discover`'s. Invariant: every expression and glob of a rule
//! compiles, and every key has exactly one role.

pub mod written;

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;

use super::diagnostic::Span;
use crate::pattern::Role;
use crate::pattern::glob::Glob;
use crate::pattern::reading::Reading;

/// How inputs are found.
#[derive(Debug, Clone)]
pub struct Find {
    /// Where `inputs.find` is, for diagnostics.
    pub span: Span,
    /// The rule as it is written, blanks and comments aside, with what `combine` says of its keys: two rules with the same text find the same.
    pub text: String,
    /// Folder that relative paths start from.
    pub base: PathBuf,
    /// Where to look.
    pub place: FindPlace,
    /// Which members of the archives that are found are inputs; without it archives are files like others.
    pub members: Option<Glob>,
    /// What is searched for in paths, and where the recipe says so.
    pub names: Option<(Regex, Span)>,
    /// Paths that are wanted; all, if there are none.
    pub include: Vec<Glob>,
    /// Paths that are not wanted.
    pub exclude: Vec<Glob>,
    /// The keys of all axes.
    pub keys: Vec<FoundKey>,
    /// Which of several files with the same keys is taken, and where the recipe says so.
    pub newest: Option<(Newest, Span)>,
    /// Fewest and most inputs.
    pub count: (Option<u64>, Option<u64>),
    /// Where the recipe says how many.
    pub count_span: Span,
    /// Axes in order, merge axes first, each with its keys, the last one fastest. A plain list of files has one without keys.
    pub axes: Vec<(Role, Vec<String>)>,
}

/// A key of found inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// Its name: of a named group, else of a field of what was found.
    pub name: String,
    /// How its texts are read.
    pub reading: Reading,
    /// Where the recipe says so.
    pub span: Span,
}

/// Which of several files with the same keys is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newest {
    /// The one that was modified last.
    Modified,
    /// The one with the greatest value of a named group or field; digits count as numbers.
    Field(String),
}

/// Where to look.
#[derive(Debug, Clone)]
pub enum FindPlace {
    /// Folders of a disk, bucket or server.
    Glob {
        /// The folder above the first wildcard.
        folder: String,
        /// What paths below it look like.
        glob: Glob,
    },
    /// One archive, whose members are found.
    Archive {
        /// Its address.
        url: String,
    },
    /// A table of URLs.
    Manifest {
        /// Its address.
        url: String,
        /// Column or member that holds the file's URL; `None`: the usual names.
        column: Option<String>,
        /// Where the list is in a JSON document.
        at: Option<String>,
    },
    /// A THREDDS catalog.
    Thredds {
        /// Its address.
        url: String,
        /// Which of its services is read from.
        service: Service,
        /// How many references to further catalogs are followed one after the other.
        depth: usize,
    },
    /// NASA's Common Metadata Repository.
    Cmr(Cmr),
    /// The search of the Earth System Grid Federation.
    Esgf(Esgf),
    /// STAC.
    Stac(Stac),
}

/// How a server hands files out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Whole files, by ranges.
    Http,
    /// Slices of variables.
    Opendap,
}

impl Service {
    /// As people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Opendap => "OPeNDAP",
        }
    }

    /// True if this is what a catalogue calls it, in small letters.
    #[must_use]
    pub fn is_of(self, kind: &str) -> bool {
        match self {
            Self::Http => matches!(kind, "httpserver" | "http" | "https"),
            Self::Opendap => matches!(kind, "opendap" | "dods"),
        }
    }

    /// The address of a file that it hands out, as inputs write it.
    #[must_use]
    pub fn address(self, url: &str) -> String {
        match (self, url.split_once("://")) {
            (Self::Opendap, Some(("https", rest))) => format!("dap2://{rest}"),
            (Self::Opendap, Some(("http", rest))) => format!("dap2+http://{rest}"),
            _ => url.to_owned(),
        }
    }
}

/// Granules of the Common Metadata Repository.
#[derive(Debug, Clone)]
pub struct Cmr {
    /// Address of the search.
    pub server: String,
    /// Parameters of the query, by the service's names.
    pub parameters: Vec<(String, String)>,
    /// True for links to S3; else https.
    pub direct: bool,
}

/// Files of the Earth System Grid Federation.
#[derive(Debug, Clone)]
pub struct Esgf {
    /// Address of the search.
    pub server: String,
    /// Facets and their values, any of which counts.
    pub facets: BTreeMap<String, Vec<String>>,
    /// How files are read.
    pub service: Service,
    /// Only copies, only originals, or (`None`) both.
    pub replica: Option<bool>,
    /// True for latest versions only.
    pub latest: bool,
    /// True if all nodes are asked.
    pub distributed: bool,
}

/// Assets of STAC items.
#[derive(Debug, Clone)]
pub struct Stac {
    /// Address of a collection, of items, of a search or of a catalog.
    pub url: String,
    /// Keys of the assets that are inputs.
    pub assets: Vec<String>,
    /// What narrows a list of items, by the API's names.
    pub parameters: BTreeMap<String, String>,
}
