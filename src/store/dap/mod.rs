//! Datasets of OPeNDAP servers: their descriptions as if they were the start of a file, and parts of their data.
//!
//! Knows which documents there are, not what they say (that is `source::opendap`). Invariant: a description is of one moment: its
//! documents are asked for together, and what identifies it is made of all of them.

mod complaint;
mod description;
mod place;

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use url::Url;

pub use complaint::{Complaint, LOOKED_AT, TooLarge};
pub use description::Description;
pub use place::{Dataset, is_dataset, part_url};
pub(super) use place::{parse, whole_of};

use super::address::Address;
use super::http::{Asking, Computed, HttpSource};
use super::runtime::wait;
use super::{ErrorKind, Head, SourceStore, StoreError};
use crate::layout::Protocol;

/// Longest document of a description.
const LONGEST_DOCUMENT: u64 = 32 << 20;
/// Folders in paths of OPeNDAP servers.
const FOLDERS: [&str; 6] = ["opendap", "dodsC", "dods", "dap", "griddap", "hyrax"];

/// Reads `dap2://` and `dap4://` URLs, and web addresses that turn out to be datasets.
pub(super) struct DapSource {
    http: Arc<HttpSource>,
    /// Web addresses that are known to be datasets.
    known: Mutex<HashMap<String, Protocol>>,
}

impl DapSource {
    pub(super) fn new(http: Arc<HttpSource>) -> Self {
        Self { http, known: Mutex::default() }
    }

    /// True if a web address was found to be a dataset before.
    pub(super) fn knows(&self, url: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(url)
    }

    /// Asks a web address that gave no file for the description of a dataset; what it gave first if it has none.
    pub(super) fn instead(&self, url: &str, plain: &Url, error: StoreError) -> Result<(Head, Bytes), StoreError> {
        for protocol in [Protocol::Dap2, Protocol::Dap4] {
            let dataset = Dataset { url: plain.clone(), protocol, constraint: None, most: None };
            match self.describe(url, &dataset) {
                Ok(begun) => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), protocol);
                    return Ok(begun);
                }
                Err(second) => tracing::debug!("{second}"),
            }
        }
        Err(error)
    }

    fn dataset(&self, url: &str) -> Result<Dataset, StoreError> {
        match Address::parse(url)? {
            Address::Dap(dataset) => Ok(dataset),
            Address::Http(mut plain) => {
                let protocol = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(url).copied();
                plain.set_fragment(None);
                let unknown = || StoreError::new(ErrorKind::Other, url, "not known as a dataset");
                Ok(Dataset { url: plain, protocol: protocol.ok_or_else(unknown)?, constraint: None, most: None })
            }
            _ => Err(StoreError::new(ErrorKind::Policy, url, "not the address of an OPeNDAP server")),
        }
    }

    /// Identity and documents of a dataset.
    fn describe(&self, url: &str, dataset: &Dataset) -> Result<(Head, Bytes), StoreError> {
        let description = match dataset.whole(url)?.protocol {
            Protocol::Dap2 => self.describe_dap2(url, dataset)?,
            Protocol::Dap4 => self.describe_dap4(url, dataset)?,
        };
        Ok((description.head(), description.pack()))
    }

    fn describe_dap2(&self, url: &str, dataset: &Dataset) -> Result<Description, StoreError> {
        let (dds, das) = (dataset.document("dds", None), dataset.document("das", None));
        let asking = |is_whole| Asking { most: LONGEST_DOCUMENT, judge: &complaint::judge, is_whole };
        let (declared, described) = (asking(&description::is_whole_dds), asking(&description::is_whole_das));
        let (dds, das) = wait(async {
            let (dds, das) = futures::future::join(self.http.computed(&dds, &declared), self.http.computed(&das, &described)).await;
            Ok((dds?, das?))
        })?;
        if !description::is_dds(&dds.bytes) {
            return Err(no_description(url, "DDS", &dds));
        }
        if !description::is_das(&das.bytes) {
            return Err(no_description(url, "DAS", &das));
        }
        Ok(Description { protocol: Protocol::Dap2, modified: dds.head.modified, first: dds.bytes.into(), second: das.bytes.into() })
    }

    /// Some servers give the DMR at `.dmr`, some at `.dmr.xml` only.
    fn describe_dap4(&self, url: &str, dataset: &Dataset) -> Result<Description, StoreError> {
        let asking = Asking { most: LONGEST_DOCUMENT, judge: &complaint::judge, is_whole: &description::is_whole_dmr };
        let ask = |ending| {
            let place = dataset.document(ending, None);
            let dmr = wait(self.http.computed(&place, &asking))?;
            if description::is_dmr(&dmr.bytes) { Ok(dmr) } else { Err(no_description(url, "DMR", &dmr)) }
        };
        let permanent = |error: &StoreError| !matches!(error.kind, ErrorKind::Policy | ErrorKind::Temporary | ErrorKind::Forbidden);
        let dmr = match ask("dmr") {
            Err(first) if permanent(&first) => ask("dmr.xml").map_err(|_| first)?,
            other => other?,
        };
        Ok(Description { protocol: Protocol::Dap4, modified: dmr.head.modified, first: dmr.bytes.into(), second: Bytes::new() })
    }

    /// One answer with data, whole.
    fn part(&self, url: &str, dataset: &Dataset, constraint: &str) -> Result<(Head, Bytes), StoreError> {
        let place = match dataset.protocol {
            Protocol::Dap2 => dataset.document("dods", Some(constraint)),
            Protocol::Dap4 => dataset.document("dap", Some(constraint)),
        };
        let untold = || StoreError::new(ErrorKind::Other, url, "a part of a dataset is asked for with the most bytes that it may have");
        let asking = Asking { most: dataset.most.ok_or_else(untold)?, judge: &complaint::judge, is_whole: &|_| true };
        let answer = wait(self.http.computed(&place, &asking))?;
        Ok((Head { size: Some(answer.bytes.len() as u64), ..answer.head }, answer.bytes.into()))
    }
}

/// The address of a dataset, if an address that failed like that may be one.
pub(super) fn candidate(url: &str, error: &StoreError) -> Option<Url> {
    let Ok(Address::Http(mut plain)) = Address::parse(url) else { return None };
    plain.set_fragment(None);
    let looks_like = || plain.path_segments().is_some_and(|mut folders| folders.any(|folder| FOLDERS.contains(&folder)));
    let may_be = match error.kind {
        // A page, or a request that is not understood: what servers answer to a dataset's bare name.
        ErrorKind::Integrity => true,
        // What a cause is known of (no connection, no certificate, no end of redirects) another name would not mend.
        ErrorKind::Other => error.cause.is_none(),
        ErrorKind::NotFound | ErrorKind::Temporary => looks_like(),
        _ => false,
    };
    (may_be && plain.query().is_none()).then_some(plain)
}

fn no_description(url: &str, what: &str, found: &Computed) -> StoreError {
    let start = found.bytes.get(..LOOKED_AT).unwrap_or(&found.bytes);
    let line = super::error::printable(&String::from_utf8_lossy(start));
    let message = format!("the server sends no {what} of an OPeNDAP dataset (it begins `{line}`); check the URL");
    StoreError::new(ErrorKind::Integrity, url, message)
}

impl SourceStore for DapSource {
    fn head(&self, url: &str) -> Result<Head, StoreError> {
        Ok(self.begin(url)?.0)
    }

    /// The description of a dataset; of a part, all of the answer.
    fn begin(&self, url: &str) -> Result<(Head, Bytes), StoreError> {
        let dataset = self.dataset(url)?;
        match dataset.constraint.as_deref().filter(|_| dataset.most.is_some()) {
            Some(constraint) => self.part(url, &dataset, constraint),
            None => self.describe(url, &dataset),
        }
    }

    fn ranges(&self, url: &str, _ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        Err(StoreError::new(ErrorKind::Other, url, "a dataset of an OPeNDAP server has no bytes of a file to read"))
    }

    fn stream(&self, url: &str, _sink: &mut dyn Write) -> Result<u64, StoreError> {
        Err(StoreError::new(ErrorKind::Other, url, "a dataset of an OPeNDAP server has no bytes of a file to copy"))
    }

    fn is_local(&self, _url: &str) -> bool {
        false
    }
}
