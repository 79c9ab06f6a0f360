//! Puts under a condition: create, or fail; replace this version, or fail.
//!
//! Invariant: "somebody was first" is told from "the answer to my own earlier try got lost".

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};

use crate::event::Silent;

use super::super::retry::{Fault, Patience};
use super::super::runtime::wait;
use super::super::{Cloud, Conditional, ErrorKind, StoreError, Version};
use super::answer::{found, judge};
use super::target::CloudTarget;

impl CloudTarget {
    /// Puts under a condition.
    pub(super) async fn put_if(&self, url: &str, path: &Path, bytes: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let mut patience = Patience::new(url, &self.retries, &self.gate, &Silent);
        let mut unsure = false;
        loop {
            let pass = self.gate.enter().await;
            let put = self.store.put_opts(path, PutPayload::from_bytes(bytes.clone()), mode.clone().into()).await;
            drop(pass);
            match put.map_err(|error| lost(self.cloud, url, error)) {
                Ok(_) => return Ok(()),
                Err(Fault::Final(error)) if error.kind == ErrorKind::Exists && unsure => {
                    return self.settle(url, path, &bytes, error).await;
                }
                Err(fault) => patience.after(fault).await?,
            }
            unsure = true;
        }
    }

    /// After an unanswered put: it was ours if the object holds what we sent.
    async fn settle(&self, url: &str, path: &Path, bytes: &Bytes, exists: StoreError) -> Result<(), StoreError> {
        let mut patience = Patience::new(url, &self.retries, &self.gate, &Silent);
        loop {
            match self.read(url, path).await {
                Ok(Some(stored)) if stored == *bytes => return Ok(()),
                Ok(_) => return Err(exists),
                Err(fault) => patience.after(fault).await?,
            }
        }
    }
}

/// A condition that did not hold is no fault of the request.
fn lost(cloud: Cloud, url: &str, error: Error) -> Fault {
    match error {
        Error::Precondition { .. } => StoreError::new(ErrorKind::Exists, url, "the object is another by now").because(error).into(),
        error => judge(cloud, url, error),
    }
}

impl Conditional for CloudTarget {
    fn read(&self, key: &str) -> Result<Option<(Bytes, Version)>, StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        self.persist(&url, || async {
            let Some(answer) = found(self.cloud, self.store.get(&path).await, &url)? else { return Ok(None) };
            // Google's conditions are on generations, which it tells as versions.
            let tag = if self.cloud == Cloud::Google { answer.meta.version.clone() } else { answer.meta.e_tag.clone() };
            let Some(tag) = tag else { return Ok(None) };
            let bytes = answer.bytes().await.map_err(|error| judge(self.cloud, &url, error))?;
            Ok(Some((bytes, Version(tag))))
        })
    }

    fn replace(&self, key: &str, bytes: Bytes, version: &Version) -> Result<(), StoreError> {
        let (path, url) = (self.path(key)?, self.named(key));
        let mode = PutMode::Update(UpdateVersion { e_tag: Some(version.0.clone()), version: Some(version.0.clone()) });
        wait(self.put_if(&url, &path, bytes, mode))
    }
}
