//! Whether a server's key is one that this machine's operator knows (OpenSSH's `sshd(8)`, "`SSH_KNOWN_HOSTS` FILE FORMAT").
//!
//! Invariant: a key is good only if a line for this very host and port holds it, and no line revokes it; nothing is ever added.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::client::Handler;
use russh::keys::ssh_key::PublicKey;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyOrCertificate};

use super::super::access::Access;

/// Where keys of servers are known that are everybody's on this machine.
const MACHINE: &str = "/etc/ssh/ssh_known_hosts";

/// Kinds of keys that can be judged, the one to ask for first before the others. RSA is not among them.
const KINDS: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
];

/// The keys of a server that are known, and those that are revoked.
pub(super) struct Known {
    keys: Vec<PublicKey>,
    /// Keys that no server may show any more.
    revoked: Vec<PublicKey>,
    /// The first file that was looked at.
    file: PathBuf,
}

impl Known {
    /// What the operator's files say of a server: `known_hosts` of the settings, else the usual ones.
    pub(super) fn of(access: &Access, host: &str, port: u16) -> Self {
        let usual = || -> Vec<PathBuf> {
            [access.auth.home().map(|home| home.join(".ssh/known_hosts")), Some(MACHINE.into())].into_iter().flatten().collect()
        };
        let files: Vec<PathBuf> = access.known_hosts.clone().map_or_else(usual, |file| vec![file]);
        let name = if port == 22 { host.to_lowercase() } else { format!("[{}]:{port}", host.to_lowercase()) };
        let (mut keys, mut revoked) = (Vec::new(), Vec::new());
        for file in &files {
            // A file that cannot be read knows nobody.
            let text = std::fs::read(file).unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines().filter_map(Line::read) {
                match line.mark {
                    None if is_meant(line.hosts, &name) => keys.push(line.key),
                    Some("@revoked") => revoked.push(line.key),
                    // Authorities of hosts are not believed.
                    _ => {}
                }
            }
        }
        Self { keys, revoked, file: files.into_iter().next().unwrap_or_else(|| MACHINE.into()) }
    }

    /// The kinds of keys that the server is asked for: those that are known of it; of one that is not known, any.
    pub(super) fn kinds(&self) -> Vec<Algorithm> {
        let known = |kind: &Algorithm| self.keys.iter().any(|key| key.algorithm() == *kind);
        let kinds: Vec<Algorithm> = KINDS.into_iter().filter(known).collect();
        if kinds.is_empty() { KINDS.to_vec() } else { kinds }
    }

    /// Why a key is not good; `None` if it is.
    fn objection(&self, key: &PublicKey, (host, port): (&str, u16)) -> Option<String> {
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let file = self.file.display();
        let is_same = |known: &PublicKey| known.key_data() == key.key_data();
        if self.revoked.iter().any(is_same) {
            return Some(format!("its key ({shown}) is revoked in {file}: whoever answers is not to be trusted"));
        }
        if self.keys.iter().any(is_same) {
            return None;
        }
        Some(if self.keys.iter().any(|known| known.algorithm() == key.algorithm()) {
            format!(
                "its key ({shown}) is another than {file} has: either it got a new one, or somebody stands between; ask those who run it"
            )
        } else {
            format!(
                "its key ({shown}) is not known here; ask those who run it whether that is theirs, and add it: `ssh-keyscan -p {port} {host} >> {file}`"
            )
        })
    }
}

/// A line of a file of known hosts.
struct Line<'a> {
    /// What stands before it with an `@`.
    mark: Option<&'a str>,
    hosts: &'a str,
    key: PublicKey,
}

impl<'a> Line<'a> {
    /// `None` for comments, and for keys of kinds that cannot be read.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let mark = Some(first).filter(|word| word.starts_with('@'));
        let hosts = if mark.is_some() { words.next()? } else { first };
        let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
        Some(Self { mark, hosts, key })
    }
}

/// True if the hosts of a line mean this one, and none of them leaves it out.
fn is_meant(hosts: &str, name: &str) -> bool {
    let mut meant = false;
    for host in hosts.split(',') {
        match host.strip_prefix('!') {
            Some(other) if fits(other.to_lowercase().as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => meant |= is_hash_of(host, name) || fits(host.to_lowercase().as_bytes(), name.as_bytes()),
        }
    }
    meant
}

/// `|1|SALT|HASH`: the name's HMAC, for files that do not tell whom they know.
fn is_hash_of(host: &str, name: &str) -> bool {
    let Some((salt, hash)) = host.strip_prefix("|1|").and_then(|rest| rest.split_once('|')) else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), name.as_bytes(), &hash).is_ok()
}

/// True if a name has the form of a pattern, in which `*` stands for any text and `?` for one byte.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut star) = (0, None);
    let mut place = 0;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => (star, at) = (Some((at, place)), at + 1),
            Some(byte) if *byte == b'?' || Some(byte) == name.get(place) => (at, place) = (at + 1, place + 1),
            // Let the last star stand for one byte more.
            _ => match star {
                Some((back, begun)) => (star, at, place) = (Some((back, begun + 1)), back + 1, begun + 1),
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// Judges the key that a server shows.
pub(super) struct Judge {
    known: Known,
    host: String,
    port: u16,
    objection: Objection,
}

/// Why a server was refused, told to whoever wanted the connection.
#[derive(Clone, Default)]
pub(super) struct Objection(Arc<Mutex<Option<String>>>);

impl Objection {
    /// The reason, if there was one.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Judge {
    /// One for this server, and where it says why it refused.
    pub(super) fn new(known: Known, host: &str, port: u16) -> (Self, Objection) {
        let objection = Objection::default();
        (Self { known, host: host.to_owned(), port, objection: objection.clone() }, objection)
    }
}

impl Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let objection = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.known.objection(key, (self.host.as_str(), self.port)),
            PublicKeyOrCertificate::Certificate(_) => Some("it shows a certificate instead of a key".to_owned()),
        };
        let good = objection.is_none();
        *self.objection.0.lock().unwrap_or_else(PoisonError::into_inner) = objection;
        Ok(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    const CURVE: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBB31jLpQSl1nJnkWkUZ2kMp5xtVPxQAun8zfMDffiH1/0kBAIJG6pvDxXqudVFpxmeiQGdI9NnBWKWGTpzV5i1o=";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC/w1lNOcSeednNpYUBnHRRguO5ZqRn/wQZLTCfOlKnWh+21dBbmW8KzGiri0Oa6gLh7nsOhGM9RQu6eXbhUhrWCbDvW41T2RkzsqYWyIqRT2c1sJU67aqo+ThN36KJxWAPyTMqJBV6EIRAX3SVQL2jmRPe5Ei1l7lf1HokoqYYCXlNChLWlPOqbKhQnXUJPBvaNGBkOkc5qZjLNmi3kqHLYjf/F8buh3+sCeNof4RqmAffJZtB47hA6o9GJtJDX13s2R8u5sgg6hF/Kc0zzoQ8MxQo8dK4UcStOALEJCJcAMT6kulbJtb/ueWh2Np4EX+Or1kmIQ8qJcY+rLxdNWot";

    fn known(lines: &str, port: u16) -> Known {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known");
        std::fs::write(&file, lines).unwrap();
        Known::of(&Access { known_hosts: Some(file), ..Access::default() }, "h.example", port)
    }

    fn objection(lines: &str, port: u16) -> Option<String> {
        known(lines, port).objection(&PublicKey::from_openssh(ONE).unwrap(), ("h.example", port))
    }

    #[test]
    fn only_a_line_for_this_server_makes_its_key_good() {
        // `ssh-keygen -H` wrote this of `h.example`.
        let hashed = "|1|Cp85r/zYh8osA5iM9a/UBlB+fSk=|QoMf+3ENxh9jZLwz1hkvIGRajVA=";
        for (lines, port) in [
            (format!("# ours\nh.example {ONE} comment\n"), 22),
            (format!("a,H.Example\t{ONE}\n"), 22),
            (format!("[h.example]:2222 {ONE}\n"), 2222),
            (format!("{hashed} {ONE}\n"), 22),
            (format!("*.example {ONE}\n"), 22),
            (format!("h.example ssh-nonsense AAAA\nh.example\n\u{fffd}\nh.example {ONE}"), 22),
            (format!("h.example {OTHER}\nh.example {ONE}\n@revoked * {OTHER}\n"), 22),
        ] {
            assert_eq!(objection(&lines, port), None, "{lines}");
        }
        for (lines, port, says) in [
            (String::new(), 22, "not known here"),
            (format!("#h.example {ONE}\n"), 22, "not known here"),
            (format!("h.example {ONE}\n"), 2222, "ssh-keyscan -p 2222 h.example"),
            (format!("other.example {ONE}\n"), 22, "SHA256:"),
            (format!("*.example,!h.example {ONE}\n"), 22, "not known here"),
            (format!("h.exampl?x,*h.example?,.example {ONE}\n"), 22, "not known here"),
            (format!("@cert-authority h.example {ONE}\n"), 22, "not known here"),
            (format!("h.example {CURVE}\n"), 22, "not known here"),
            (format!("h.example {OTHER}\n"), 22, "another than"),
            (format!("h.example {ONE}\n@revoked * {ONE}\n"), 22, "revoked"),
        ] {
            let told = objection(&lines, port).unwrap();
            assert!(told.contains(says), "{lines}: {told}");
        }
    }

    #[test]
    fn the_server_is_asked_for_the_kinds_that_are_known() {
        let kinds = |lines: &str| known(lines, 22).kinds();
        assert_eq!(kinds(&format!("h.example {CURVE}\n")), [Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }]);
        assert_eq!(kinds(&format!("h.example {CURVE}\nh.example {ONE}\n")).len(), 2);
        assert_eq!((kinds(""), kinds(&format!("h.example {RSA}\n"))), (KINDS.to_vec(), KINDS.to_vec()));
    }
}
