//! One request and its redirects, each hop judged anew: may it be reached, and what may go with it.
//!
//! Not for reading bodies. Invariant: what was put into a request for one host is in no request to another.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, LOCATION};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Request, Response};
use url::Url;

use super::super::access::Access;
use super::super::auth::{Auth, Signed, Ticket};
use super::super::policy::{self, Pinned, Refusal};
use super::super::retry::{Fault, Passing};
use super::super::runtime::install_cryptography;
use super::super::{ErrorKind, StoreError};
use super::answer::{header, is_page};

/// Redirects followed for one request.
const REDIRECTS: usize = 10;

/// Hops of one request in all: its redirects, begun anew once after a login and once after a renewal.
const HOPS: usize = 3 * REDIRECTS;

/// Sends requests.
pub(in crate::store) struct Courier {
    client: Client,
    /// With the certificate of the credential in use; made when first needed.
    certified: OnceLock<Client>,
    access: Access,
}

impl Courier {
    /// One with the operator's settings.
    pub(in crate::store) fn new(access: &Access) -> Result<Self, StoreError> {
        install_cryptography();
        let client = build(builder(access)?)?;
        Ok(Self { client, certified: OnceLock::new(), access: access.clone() })
    }

    /// The library's client, to make requests with.
    pub(in crate::store) fn client(&self) -> &Client {
        &self.client
    }

    /// Longest silence.
    pub(in crate::store) fn idle(&self) -> Duration {
        self.access.idle_timeout
    }

    fn auth(&self) -> &Auth {
        &self.access.auth
    }

    /// Sends a request without a body and follows its redirects; `url` is what messages call it.
    pub(in crate::store) async fn send(&self, url: &str, request: Request) -> Result<Response, Fault> {
        let mut ticket = Ticket::new(self.auth().chosen(), url);
        // A request cannot be shared between threads, its parts can.
        let (method, first, headers) = (request.method().clone(), request.url().clone(), request.headers().clone());
        drop(request);
        let mut hop = first.clone();
        let mut redirects = 0;
        for _ in 0..HOPS {
            self.permit(url, &hop)?;
            let mut asked = Request::new(method.clone(), hop.clone());
            headers.clone_into(asked.headers_mut());
            if hop.origin() != first.origin() {
                leave_behind(asked.headers_mut());
            }
            if ticket.sign(&mut asked, &self.client, self.idle()).await? == Signed::StartOver {
                (hop, redirects) = (first.clone(), 0);
                continue;
            }
            let response = self.execute(url, &hop, asked).await?;
            ticket.note(&hop, response.headers());
            if let Some(next) = next(&hop, &response) {
                redirects += 1;
                if redirects > REDIRECTS {
                    break;
                }
                hop = next;
                continue;
            }
            let page = response.status().is_success() && is_page(response.headers());
            if ticket.judge(&hop, response.status(), page).await? {
                (hop, redirects) = (first.clone(), 0);
                continue;
            }
            return Ok(response);
        }
        let message = format!("the server redirects in circles (more than {REDIRECTS} redirects); check the URL");
        Err(StoreError::new(ErrorKind::Other, url, message).because("no end of redirects").into())
    }

    fn permit(&self, url: &str, hop: &Url) -> Result<(), Fault> {
        Ok(policy::permit_url(&self.access, hop).map_err(|refusal| StoreError::new(ErrorKind::Policy, url, refusal.to_string()))?)
    }

    async fn execute(&self, url: &str, hop: &Url, request: Request) -> Result<Response, Fault> {
        let client = self.client_for(url, hop)?;
        match tokio::time::timeout(self.idle(), client.execute(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken(url, error)),
            Err(_) => Err(stalled(self.idle())),
        }
    }

    fn client_for(&self, url: &str, hop: &Url) -> Result<&Client, StoreError> {
        let Some(pem) = self.auth().chosen().and_then(|chosen| chosen.identity(hop)) else { return Ok(&self.client) };
        if let Some(client) = self.certified.get() {
            return Ok(client);
        }
        let identity = Identity::from_pem(pem.reveal().as_bytes()).map_err(|_| {
            let name = self.auth().name().unwrap_or_default();
            StoreError::new(
                ErrorKind::Other,
                url,
                format!("the certificate of the credential `{name}` cannot be used; it must be PEM, with its private key"),
            )
        })?;
        let client = build(builder(&self.access)?.identity(identity))?;
        Ok(self.certified.get_or_init(|| client))
    }
}

/// What was meant for another host stays behind.
fn leave_behind(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    headers.remove(COOKIE);
}

/// Where a redirect leads: a web address, without what a URL may say of users.
fn next(hop: &Url, response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    location(hop, response.headers())
}

fn location(hop: &Url, headers: &HeaderMap) -> Option<Url> {
    let mut next = hop.join(header(headers, LOCATION)?).ok()?;
    let web = matches!(next.scheme(), "https" | "http") && next.set_username("").is_ok() && next.set_password(None).is_ok();
    web.then_some(next)
}

pub(in crate::store) fn build(builder: ClientBuilder) -> Result<Client, StoreError> {
    builder.build().map_err(|error| {
        StoreError::new(ErrorKind::Other, "network", "cannot set up web access; check the user agent and certificates").because(error)
    })
}

pub(in crate::store) fn builder(access: &Access) -> Result<ClientBuilder, StoreError> {
    let mut builder = Client::builder()
        .user_agent(access.user_agent.as_str())
        .connect_timeout(access.connect_timeout)
        .pool_max_idle_per_host(access.connections_per_host)
        .http2_adaptive_window(true)
        .referer(false)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = &access.certificates {
        let place = path.display().to_string();
        let pem = std::fs::read(path).map_err(|error| StoreError::from_io(&place, "read the certificates", error))?;
        let known = Certificate::from_pem_bundle(&pem).map_err(|error| {
            StoreError::new(ErrorKind::Other, &place, "`certificates` holds no certificates in PEM form").because(error)
        })?;
        builder = builder.tls_certs_merge(known);
    }
    // A proxy would look names up itself, behind the guard's back.
    let builder = if policy::guards(access) { builder.no_proxy() } else { builder };
    Ok(match Pinned::of(access) {
        Some(pinned) => builder.dns_resolver(pinned),
        None => builder,
    })
}

/// A server that says nothing.
pub(super) fn stalled(idle: Duration) -> Fault {
    Fault::passing(format!("the server fell silent for {:.1} s", idle.as_secs_f64()))
}

/// What a failed connection means. The library's message would name the URL with its query: it goes without.
pub(super) fn broken(url: &str, error: reqwest::Error) -> Fault {
    let error = error.without_url();
    if let Some(refusal) = find::<Refusal>(&error) {
        return StoreError::new(ErrorKind::Policy, url, refusal.to_string()).into();
    }
    if let Some((kind, message)) = mistrust(&error) {
        return StoreError::new(kind, url, message).because(error).into();
    }
    let reason = if error.is_connect() { "cannot connect to the server" } else { "the connection broke" };
    let reason = format!("{reason} ({})", deepest(&error));
    Fault::Passing(Passing { reason, cause: Some(error.into()), ..Passing::default() })
}

/// Why two sides that could connect do not trust each other; trying again is no help.
pub(in crate::store) fn mistrust(error: &(dyn Error + 'static)) -> Option<(ErrorKind, &'static str)> {
    match find::<rustls::Error>(error)? {
        rustls::Error::InvalidCertificate(_) => Some((
            ErrorKind::Other,
            "the server's certificate is not valid; check the host name, this machine's certificates (`certificates` under `[network]` names more) and clock",
        )),
        rustls::Error::AlertReceived(_) => Some((
            ErrorKind::Forbidden,
            "the server ends the encrypted connection; it may want a client certificate, or refuse the one it got",
        )),
        _ => None,
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| inner(error))
}

/// What an error was caused by. An I/O error that wraps another error skips that one when it is asked.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The error of this type that another one was caused by.
pub(in crate::store) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    super::super::error::printable(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::super::super::runtime::wait;
    use super::*;

    /// Hosts that a server may redirect to, and a guarded run does not follow; more spellings are in tests/credentials/policy.rs.
    const PRIVATE: [&str; 16] = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.1",
        "127.1",
        "%31%32%37.0.0.1",
        "127.0.0.1.",
        "localhost",
        "a.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "metadata.google.internal",
        "10.0.0.1",
        "www.example.org@127.0.0.1",
    ];

    #[test]
    fn a_redirect_to_a_private_address_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for host in PRIVATE {
                let (mut connection, _) = listener.accept().unwrap();
                let request = connection.read(&mut [0; 4096]).unwrap();
                assert!(request > 0, "somebody followed to {host}");
                let place = format!("http://{host}:{}/b.nc", address.port());
                let answer = format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).unwrap();
            }
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "somebody followed");
        });
        let access = Access { untrusted: true, allow_http: true, ..Access::default() };
        let mut courier = Courier::new(&access).unwrap();
        // Stands for a public server: only its name is asked for, which this client knows without looking it up.
        courier.client = builder(&access).unwrap().resolve("public.example.org", address).build().unwrap();
        let url = format!("http://public.example.org:{}/a.nc", address.port());
        for host in PRIVATE {
            let request = courier.client.get(&url).build().unwrap();
            let fault = wait(async { Ok(courier.send(&url, request).await) }).unwrap().unwrap_err();
            assert!(matches!(&fault, Fault::Final(error) if error.kind == ErrorKind::Policy), "{host}: {fault:?}");
        }
        server.join().unwrap();
    }
}
