//! Prefixes of a bucket as folders: listed with a delimiter, page by page (Amazon S3 API Reference, `ListObjectsV2`; Azure `List Blobs`).
//!
//! Invariant: a page that fails is asked for again by itself, and no list is shorter than the server's.

use std::collections::BTreeSet;

use object_store::list::PaginatedListOptions;

use super::super::runtime::wait;
use super::super::{Entry, ErrorKind, Listing, StoreError};
use super::answer::judge;
use super::persist;
use super::source::CloudSource;

/// Pages of a thousand that one folder may have.
const PAGES: usize = 10_000;

impl Listing for CloudSource {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let object = self.object(folder)?;
        let path = object.path.as_ref();
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let (mut entries, mut token, mut seen) = (BTreeSet::new(), None, 0);
        loop {
            let ask = || async {
                let page_token = token.clone();
                let options = PaginatedListOptions { delimiter: Some("/".into()), page_token, ..PaginatedListOptions::default() };
                let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
                object.bucket.store.list_paginated(prefix, options).await.map_err(|error| judge(object.bucket.cloud, folder, error))
            };
            let page = wait(persist(object.patience(), &object.gate, ask))?;
            let name = |path: &object_store::path::Path| path.filename().map(str::to_owned);
            let folders = page.result.common_prefixes.iter().filter_map(name);
            entries.extend(folders.map(|name| Entry { name, folder: true, size: None, modified: None }));
            // Some servers list the object that stands for the folder itself.
            let files = page.result.objects.iter().filter(|about| about.location.as_ref().len() > path.len());
            entries.extend(files.filter_map(|about| {
                let modified = jiff::Timestamp::from_second(about.last_modified.timestamp()).ok().map(|time| time.to_string());
                Some(Entry { name: name(&about.location)?, folder: false, size: Some(about.size), modified })
            }));
            seen += 1;
            match page.page_token {
                None => return Ok(entries.into_iter().collect()),
                same if same == token => {
                    return Err(StoreError::new(
                        ErrorKind::Integrity,
                        folder,
                        "the server gives the same page of its list again and again",
                    ));
                }
                _ if seen == PAGES => {
                    return Err(StoreError::new(
                        ErrorKind::Other,
                        folder,
                        "the folder holds more than ten million objects; name folders below it",
                    ));
                }
                next => token = next,
            }
        }
    }
}
