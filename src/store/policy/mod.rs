//! What a stranger's recipe may reach, and how much of it.
//!
//! `address` judges addresses, `names` resolves and pins them, `budget` counts. Not for credentials (a stranger's recipe has
//! none). Invariant: in guarded mode no connection is opened to an address that [`is_private`] calls private, whether it was
//! written as a number, came from a name server or from a redirect, and no name is looked up twice for one connection.

mod address;
mod budget;
mod connector;
mod names;

use std::net::IpAddr;

use url::{Host, Url};

use super::access::Access;
use super::address::Address;
use super::bucket::Cloud;
use super::{ErrorKind, StoreError};

use address::is_private;
pub use budget::Limits;
pub(super) use budget::{Budget, Counted};
pub(super) use connector::Guarded;
pub use names::Names;
pub(super) use names::{Pinned, reach};

/// Why a guarded connection was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Refusal {
    /// An address that is not everybody's.
    #[error("`{host}` is a private address; a recipe that is not trusted may read public servers only")]
    Private {
        /// As it was written, made safe to print.
        host: String,
    },
    /// A name and a password, or something made to look like them.
    #[error("the URL names a user; a recipe that is not trusted logs in nowhere")]
    User,
    /// A scheme that anybody can listen to.
    #[error("`{scheme}://` is not for recipes that are not trusted; give an `https://` URL")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
}

/// Refuses what policy forbids before anything is opened.
pub(super) fn permit(access: &Access, url: &str, address: &Address) -> Result<(), StoreError> {
    if !access.untrusted {
        return Ok(());
    }
    let refuse = |message: String| Err(StoreError::new(ErrorKind::Policy, url, message));
    match address {
        Address::File(_) => refuse("a recipe that is not trusted may not read files of this machine; give an `https://` URL".into()),
        Address::Memory(_) => refuse("a recipe that is not trusted may not read memory".into()),
        Address::Http(target) | Address::Ftp { url: target, .. } => {
            permit_url(access, target).or_else(|refusal| refuse(refusal.to_string()))
        }
        Address::Dap(dataset) => permit_url(access, &dataset.url).or_else(|refusal| refuse(refusal.to_string())),
        Address::Sftp(_) => refuse("`sftp://` is not for recipes that are not trusted; give an `https://` URL".into()),
        Address::Bucket { bucket, .. } if bucket.cloud == Cloud::Azure => {
            refuse("buckets of Azure are not for recipes that are not trusted; give an `https://` URL".into())
        }
        Address::Bucket { .. } => Ok(()),
    }
}

/// True if private addresses are refused.
pub(super) fn guards(access: &Access) -> bool {
    access.untrusted && !access.allow_private
}

/// Refuses a URL by its scheme, its user or its host: the same at each redirect.
pub(super) fn permit_url(access: &Access, url: &Url) -> Result<(), Refusal> {
    if !guards(access) {
        return Ok(());
    }
    if url.scheme() == "http" && !access.allow_http {
        return Err(Refusal::Scheme { scheme: url.scheme().to_owned() });
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::User);
    }
    permit_name(url.host().as_ref())
}

/// Refuses a host that is written as a private address, in any notation, or as a name that only this machine or its network knows.
fn permit_name<S: AsRef<str>>(host: Option<&Host<S>>) -> Result<(), Refusal> {
    let (private, shown) = match host {
        Some(Host::Ipv4(address)) => (is_private(IpAddr::V4(*address)), address.to_string()),
        Some(Host::Ipv6(address)) => (is_private(IpAddr::V6(*address)), address.to_string()),
        Some(Host::Domain(name)) => (is_local_name(name.as_ref()), super::error::printable(name.as_ref())),
        None => (true, String::new()),
    };
    if private { Err(Refusal::Private { host: shown }) } else { Ok(()) }
}

/// Names that no public name server answers for (RFC 6761, RFC 6762, RFC 8375), and those of one word: they are this network's.
fn is_local_name(name: &str) -> bool {
    const ENDS: [&str; 12] =
        ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "localdomain", "home.arpa", "test", "invalid"];
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    !name.contains('.') || ENDS.iter().any(|end| name == *end || name.ends_with(&format!(".{end}")))
}
