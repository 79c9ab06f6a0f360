//! What a stranger's recipe may reach.
//!
//! Not for credentials. Invariant: in guarded mode no connection is opened to an address that [`is_private`] calls private,
//! whether it was written as a number, came from a name server or from a redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::access::Access;
use super::address::Address;
use super::{ErrorKind, StoreError};

/// Why a guarded connection was not made.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{host}` is a private address; a recipe that is not trusted may read public servers only")]
pub(super) struct PrivateAddress {
    host: String,
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
        Address::Http(target) | Address::Ftp { url: target, .. } if guards(access) => {
            permit_host(target).or_else(|refusal| refuse(refusal.to_string()))
        }
        Address::Http(_) | Address::Ftp { .. } | Address::S3 { .. } => Ok(()),
    }
}

/// True if private addresses are refused.
pub(super) fn guards(access: &Access) -> bool {
    access.untrusted && !access.allow_private
}

/// Refuses a URL whose host is written as a private address, in any notation, or as the usual name of this machine.
pub(super) fn permit_host(url: &Url) -> Result<(), PrivateAddress> {
    let private = match url.host() {
        Some(Host::Ipv4(address)) => is_private(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_private(IpAddr::V6(address)),
        Some(Host::Domain(name)) => is_local_name(name),
        None => true,
    };
    if private { Err(PrivateAddress { host: url.host_str().unwrap_or_default().to_owned() }) } else { Ok(()) }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    ["localhost", "local", "internal"].iter().any(|end| name == *end || name.ends_with(&format!(".{end}")))
}

/// True for every address that is not a public unicast one (IANA special-purpose registries), also inside IPv6 wrappings.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        // Azure's platform: reachable from its machines only, whatever its range says.
        || [a, b, c, d] == [168, 63, 129, 16]
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| is_private_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match parts {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] | [0x2001, 0 | 0xdb8, ..] | [0x100, 0, 0, 0, ..] => true,
        // Only 2000::/3 is public unicast today.
        [first, ..] => first & 0xe000 != 0x2000,
    }
}

/// Name look-up that answers only if every address is public, so that neither redirects nor rebinding get past it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if found.iter().any(|address| is_private(address.ip())) {
                return Err(PrivateAddress { host }.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_home_is_refused() -> Result<(), std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let name: Name = "localhost".parse().unwrap();
        let error = runtime.block_on(PublicOnly.resolve(name)).err().unwrap();
        assert!(error.downcast_ref::<PrivateAddress>().is_some(), "{error}");
        Ok(())
    }

    #[test]
    fn private_in_every_notation() {
        let refused = |text: &str| Url::parse(text).is_ok_and(|url| permit_host(&url).is_err());
        for text in [
            "http://127.0.0.1/x",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00::1]/",
            "http://100.64.1.1/",
            "http://0.0.0.0/",
            "http://localhost./",
            "http://metadata.google.internal/",
        ] {
            assert!(refused(text), "{text}");
        }
        assert!(!refused("http://8.8.8.8/") && !refused("https://[2606:4700::1111]/") && !refused("https://www.ncei.noaa.gov/"));
    }
}
