//! Names into addresses that were judged, and connections to exactly those.
//!
//! Invariant: what a guarded look-up gives is public, all of it: one private address among public ones refuses the name.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use super::super::access::Access;
use super::super::error::printable;
use super::super::retry::Fault;
use super::super::{ErrorKind, StoreError};
use super::{Refusal, guards, is_private, permit_name};

/// Who says which addresses a name has.
type Told = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// How names are looked up: by the system, or by whoever a caller of the library puts there (to see what is asked).
#[derive(Clone, Default)]
pub struct Names(Option<Arc<Told>>);

impl Names {
    /// Has names looked up by a function.
    #[must_use]
    pub fn told(by: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(by)))
    }

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            Some(told) => Ok(told(host)?.into_iter().map(|address| SocketAddr::new(address, port)).collect()),
            None => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Names(told)" } else { "Names(system)" })
    }
}

/// Addresses of a host, as policy allows.
async fn addresses(
    names: &Names,
    guarded: bool,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    if guarded {
        permit_name(Some(&Host::Domain(host)))?;
    }
    let found = names.look_up(host, port).await?;
    if guarded && found.iter().any(|address| is_private(address.ip())) {
        return Err(Refusal::Private { host: printable(host) }.into());
    }
    Ok(found)
}

/// Look-up for the library that makes web connections: it connects to what it is given here and asks nobody else.
#[derive(Debug, Clone)]
pub(in super::super) struct Pinned {
    names: Names,
    guarded: bool,
}

impl Pinned {
    /// With the operator's settings; `None` where the library's own will do.
    pub(in super::super) fn of(access: &Access) -> Option<Self> {
        let guarded = guards(access);
        (guarded || access.names.0.is_some()).then(|| Self { names: access.names.clone(), guarded })
    }
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { names, guarded } = self.clone();
        Box::pin(async move {
            let found = addresses(&names, guarded, name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The addresses that a connection to a host may be made to, for schemes that connect by themselves: resolve here, and connect to
/// one of these without looking the name up again. `host` is as the URL has it, in any notation.
///
/// # Errors
/// `Policy` for a private address in guarded mode; passing if the name cannot be looked up now.
pub(in super::super) async fn reach(access: &Access, url: &str, host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    let guarded = guards(access);
    let refuse = |refusal: &Refusal| Fault::Final(StoreError::new(ErrorKind::Policy, url, refusal.to_string()));
    let host = Host::parse(host).map_err(|error| StoreError::new(ErrorKind::Other, url, format!("not a usable host: {error}")))?;
    if guarded {
        permit_name(Some(&host)).map_err(|refusal| refuse(&refusal))?;
    }
    let name = match host {
        Host::Ipv4(address) => return Ok(vec![SocketAddr::new(IpAddr::V4(address), port)]),
        Host::Ipv6(address) => return Ok(vec![SocketAddr::new(IpAddr::V6(address), port)]),
        Host::Domain(name) => name,
    };
    let found = addresses(&access.names, guarded, &name, port).await.map_err(|error| match error.downcast_ref::<Refusal>() {
        Some(refusal) => refuse(refusal),
        None => Fault::passing(format!("`{name}` cannot be looked up ({}); check the name", printable(&error.to_string()))),
    })?;
    if found.is_empty() { Err(Fault::passing(format!("`{name}` has no address; check the name"))) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn reached(access: &Access, host: &str, port: u16) -> Result<Vec<SocketAddr>, ErrorKind> {
        let found = crate::store::runtime::wait(async { Ok(reach(access, "ftp://x/a", host, port).await) }).unwrap();
        found.map_err(|fault| match fault {
            Fault::Final(error) => error.kind,
            Fault::Passing(_) => ErrorKind::Temporary,
        })
    }

    fn access(asked: &Arc<AtomicUsize>, answers: Vec<Vec<&'static str>>) -> Access {
        let asked = Arc::clone(asked);
        let names = Names::told(move |_| {
            let turn = asked.fetch_add(1, Ordering::SeqCst);
            let answer = answers.get(turn.min(answers.len() - 1)).cloned().unwrap_or_default();
            Ok(answer.iter().map(|text| text.parse().unwrap()).collect())
        });
        Access { untrusted: true, names, ..Access::default() }
    }

    #[test]
    fn one_private_address_refuses_the_name() {
        for answer in [vec!["127.0.0.1"], vec!["8.8.8.8", "10.0.0.1"], vec!["2606:4700::1111", "::ffff:169.254.169.254"]] {
            let asked = Arc::new(AtomicUsize::new(0));
            let found = reached(&access(&asked, vec![answer.clone()]), "public.example", 21);
            assert_eq!(found, Err(ErrorKind::Policy), "{answer:?}");
        }
    }

    #[test]
    fn a_name_is_looked_up_once_and_what_it_gave_is_what_counts() {
        let asked = Arc::new(AtomicUsize::new(0));
        // Public when it is asked first, private ever after: the answer that was judged is the one that is given.
        let access = access(&asked, vec![vec!["8.8.8.8"], vec!["127.0.0.1"]]);
        let found = reached(&access, "public.example", 2121).unwrap();
        assert_eq!((found, asked.load(Ordering::SeqCst)), (vec!["8.8.8.8:2121".parse().unwrap()], 1));
    }

    #[test]
    fn numbers_are_judged_without_asking() {
        let asked = Arc::new(AtomicUsize::new(0));
        let access = access(&asked, vec![vec!["8.8.8.8"]]);
        for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "localhost", "metadata", "0", "１２７.0.0.1"] {
            assert_eq!(reached(&access, host, 21), Err(ErrorKind::Policy), "{host}");
        }
        assert_eq!(reached(&access, "8.8.4.4", 21), Ok(vec!["8.8.4.4:21".parse().unwrap()]));
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}
