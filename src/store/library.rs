//! What a format gets whose own library does the storing: a client that reaches the target, and a runtime to wait on.
//!
//! Such a library brings its own keys, conditions and caches; endpoint, credentials, time limits and patience are the operator's,
//! as everywhere. Not for chunks, which go through [`super::TargetStore`] like those of any format. Invariant: a client reaches
//! the same objects as the [`super::TargetStore`] of the same URL, and no credential is in what a library may print or save.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use super::access::Access;
use super::address::Address;
use super::bucket::Cloud;
use super::{ErrorKind, StoreError, cloud, runtime};

/// How a library reaches a target.
#[derive(Clone)]
pub struct Client {
    /// The server, or the folder.
    pub objects: Arc<dyn ObjectStore>,
    /// Where the target's keys begin in it; empty: at its root.
    pub prefix: String,
    /// True if a put may depend on what is there; otherwise only a lock, or the operator's word, keeps two writers apart.
    pub conditional: bool,
    /// True if objects can have metadata.
    pub metadata: bool,
}

/// Opens a target for a library; makes a local folder that is not there yet.
///
/// # Errors
/// `Policy` for a scheme that no library can write to, `Other` for settings or URLs that make no sense, any kind for a folder.
pub fn client(url: &str, access: &Access) -> Result<Client, StoreError> {
    match Address::parse(url)? {
        Address::File(path) => {
            std::fs::create_dir_all(&path).map_err(|error| StoreError::from_io(url, "make the folder", error))?;
            let folder = LocalFileSystem::new_with_prefix(&path)
                .map_err(|error| StoreError::new(ErrorKind::Other, url, "not a folder that can be written to").because(error))?;
            Ok(Client { objects: Arc::new(folder.with_fsync(true)), prefix: String::new(), conditional: false, metadata: false })
        }
        Address::Bucket { path, .. } if path.is_empty() => {
            Err(StoreError::new(ErrorKind::Other, url, "a target needs a prefix of its own in the bucket: `s3://bucket/name`"))
        }
        Address::Bucket { bucket, path } if bucket.cloud == Cloud::Amazon => {
            let (objects, prefix) = cloud::client(access, url, &bucket, &path)?;
            Ok(Client { objects, prefix, conditional: !access.single_writer, metadata: true })
        }
        Address::Bucket { .. } | Address::Http(_) | Address::Ftp { .. } | Address::Sftp(_) | Address::Dap(_) | Address::Memory(_) => {
            Err(StoreError::new(ErrorKind::Policy, url, "this format cannot be written there; use a path or `s3://`"))
        }
    }
}

/// Runs a library's future to its end on the calling thread, which is none of the runtime's own.
///
/// # Errors
/// The future's; `Other` if no runtime can be started.
pub fn wait_on<T, E: From<StoreError>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    runtime::wait_on(future)
}

/// What can be done about a library's error, if an object or a file is at the bottom of it.
#[must_use]
pub fn kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let object = error.downcast_ref::<object_store::Error>();
        let object = object.or_else(|| error.downcast_ref::<Box<object_store::Error>>().map(|boxed| &**boxed));
        let file = error.downcast_ref::<std::io::Error>().map(|file| StoreError::from_io("", "", file.kind().into()).kind);
        match object.map(cloud::kind).or(file) {
            // A cause below may say more: a full disk, of "cannot write".
            Some(ErrorKind::Other) => found = Some(ErrorKind::Other),
            Some(kind) => return Some(kind),
            None => {}
        }
        next = error.source();
    }
    found
}
