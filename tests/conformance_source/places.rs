//! Where the suite runs: every scheme on a server that is there, each with a way to put files on it and to change them.
//!
//! Servers are those of `ci/servers.sh`; what is left out for want of one is said aloud.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gristmill::event::Silent;
use gristmill::store::access::Retries;
use gristmill::store::auth::Auth;
use gristmill::store::{Access, PutMode, SourceStore, TargetStore, source, target};

use super::real_clouds;

/// How files get onto a server.
enum Way {
    /// The server's folder lies here.
    Folder(PathBuf),
    /// They are put as objects.
    Objects(Arc<dyn TargetStore>),
}

/// A fresh folder on some server.
pub(crate) struct Place {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// Its URL, without a slash at the end.
    pub(crate) url: String,
    /// How it is reached.
    pub(crate) access: Access,
    /// True if names in the URL are written with `%XX`.
    encoded: bool,
    /// True if the scheme can list folders.
    pub(crate) lists: bool,
    /// Of this server a stranger's recipe is kept away by its address alone.
    pub(crate) private: bool,
    /// Table of the credential that recipes must name as `place`.
    credential: Option<String>,
    /// Tables of the settings that say how its buckets are reached.
    tables: String,
    way: Way,
    _directory: Option<Arc<tempfile::TempDir>>,
}

impl Place {
    /// A source with this place's settings.
    pub(crate) fn open(&self) -> Arc<dyn SourceStore> {
        source(&self.access, Arc::new(Silent))
    }

    /// True if its files are a folder's.
    pub(crate) fn serves_folder(&self) -> bool {
        matches!(self.way, Way::Folder(_))
    }

    /// What its reader's settings must say.
    pub(crate) fn settings(&self) -> String {
        let network = [("certificates", &self.access.certificates), ("known_hosts", &self.access.known_hosts)];
        let lines = network.into_iter().filter_map(|(name, path)| Some(format!("{name} = '{}'\n", path.as_ref()?.display())));
        let credential = self.credential.as_ref().map(|table| format!("[auth.place]\n{table}\n"));
        format!("[network]\n{}{}{}", lines.collect::<String>(), credential.unwrap_or_default(), self.tables)
    }

    /// What the `inputs` of a recipe must say besides, a line.
    pub(crate) fn auth(&self) -> &'static str {
        if self.credential.is_some() { "  auth: place\n" } else { "" }
    }

    /// `host:port` of its server.
    pub(crate) fn server(&self) -> String {
        self.url.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap().to_owned()
    }

    /// The same SSH server through another port of this machine: URL, access, and the file that says that its key is known there.
    pub(crate) fn through(&self, port: u16) -> (String, Access, tempfile::NamedTempFile) {
        let (server, other) = (self.server(), format!("127.0.0.1:{port}"));
        let there = |text: &str| text.replacen(&server, &other, 1);
        let known = std::fs::read_to_string(self.access.known_hosts.as_ref().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = known.split_once(' ').unwrap().1;
        std::fs::write(file.path(), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let auth = Auth::with("place", &there(self.credential.as_ref().unwrap())).unwrap();
        let access = Access { auth, known_hosts: Some(file.path().to_owned()), ..self.access.clone() };
        (there(&self.url), access, file)
    }

    /// The URL of a file.
    pub(crate) fn at(&self, name: &str) -> String {
        let name = if self.encoded { encode(name) } else { name.to_owned() };
        format!("{}/{name}", self.url)
    }

    /// Puts a file there, in place of another one.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> String {
        match &self.way {
            Way::Folder(folder) => {
                let path = folder.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Way::Objects(store) => store.put(name, Bytes::copy_from_slice(content), PutMode::Overwrite).unwrap(),
        }
        self.at(name)
    }
}

fn encode(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    name.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Settings with short waits, and patience for servers that cut.
fn hasty() -> Access {
    Access {
        idle_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        retries: Retries {
            attempts: 12,
            give_up_after: Duration::from_mins(1),
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_millis(500),
        },
        ..Access::default()
    }
}

/// A fresh folder on every server there is here.
pub(crate) fn places(test: &str) -> Vec<Place> {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let folder = directory.path().display().to_string();
    let mut places =
        vec![local("paths", folder.clone(), &directory, false), local("file URLs", format!("file://{folder}"), &directory, true)];
    let name = format!("{test}-{}", std::process::id());
    places.extend(served("nginx", "GRISTMILL_TEST_NGINX", "GRISTMILL_TEST_NGINX_ROOT", &name).map(|place| {
        let url = place.url.replacen(&format!("/{name}"), &format!("/plain/{name}"), 1);
        Place { url, lists: false, ..place }
    }));
    for (server, variable) in [
        ("vsftpd", "GRISTMILL_TEST_FTP"),
        ("pyftpdlib that cuts", "GRISTMILL_TEST_FTP_CUTTING"),
        ("pyftpdlib over TLS", "GRISTMILL_TEST_FTPS"),
    ] {
        places.extend(served(server, variable, "GRISTMILL_TEST_FILES_ROOT", &name));
    }
    if let Ok(vsftpd) = std::env::var("GRISTMILL_TEST_FTP")
        && std::env::var("GRISTMILL_TEST_CERTIFICATES").is_ok()
        && let Some(place) = served("vsftpd over TLS", "GRISTMILL_TEST_FTP", "GRISTMILL_TEST_FILES_ROOT", &name)
    {
        let url = place.url.replacen(&vsftpd, &vsftpd.replacen("ftp://", "ftps://", 1), 1);
        places.push(Place { url, ..place });
    }
    places.extend(sftp(&name));
    places.extend(buckets(&name));
    places
}

fn local(name: &'static str, url: String, directory: &Arc<tempfile::TempDir>, encoded: bool) -> Place {
    let way = Way::Folder(directory.path().to_owned());
    Place {
        name,
        url,
        access: hasty(),
        encoded,
        lists: false,
        private: false,
        credential: None,
        tables: String::new(),
        way,
        _directory: Some(Arc::clone(directory)),
    }
}

/// A fresh folder on a server whose files lie in a folder of this machine.
fn served(name: &'static str, variable: &str, root: &str, folder: &str) -> Option<Place> {
    let (Ok(base), Ok(root)) = (std::env::var(variable), std::env::var(root)) else {
        println!("SKIP {name}: `{variable}` is not set; ci/servers.sh starts it");
        return None;
    };
    let path = PathBuf::from(root).join(folder);
    std::fs::create_dir_all(&path).unwrap();
    let certificates = std::env::var_os("GRISTMILL_TEST_CERTIFICATES").map(PathBuf::from);
    let access = Access { certificates, ..hasty() };
    let url = format!("{base}/{folder}");
    Some(Place {
        name,
        url,
        access,
        encoded: true,
        lists: true,
        private: true,
        credential: None,
        tables: String::new(),
        way: Way::Folder(path),
        _directory: None,
    })
}

/// A fresh folder on the SSH server.
fn sftp(name: &str) -> Option<Place> {
    let place = served("OpenSSH", "GRISTMILL_TEST_SFTP", "GRISTMILL_TEST_FILES_ROOT", name)?;
    let Way::Folder(folder) = &place.way else { return None };
    let (server, _) = place.url.strip_prefix("sftp://")?.split_once('/')?;
    let (user, server) = server.split_once('@')?;
    let key = std::env::var("GRISTMILL_TEST_SFTP_KEY").ok()?;
    let credential = format!("kind = 'ssh-key'\nhosts = ['{server}']\nuser = '{user}'\nkey = '{key}'");
    let known_hosts = std::env::var_os("GRISTMILL_TEST_SFTP_KNOWN").map(PathBuf::from);
    let access = Access { auth: Auth::with("place", &credential).unwrap(), known_hosts, ..place.access.clone() };
    let url = format!("sftp://{server}{}", folder.display());
    Some(Place { url, access, credential: Some(credential), private: false, ..place })
}

/// A fresh prefix in a bucket of every object store.
fn buckets(name: &str) -> impl Iterator<Item = Place> {
    let without_conditions = [real_clouds::s3s_fs(), real_clouds::swift()].into_iter().flatten();
    real_clouds::stores("gristmill-sources").into_iter().chain(without_conditions).map(move |store| {
        let Access { s3, google, azure, .. } = store.access;
        let (url, access) = (format!("{}/{name}", store.bucket), Access { s3, google, azure, ..hasty() });
        let way = Way::Objects(target(&url, &access).unwrap());
        let (credential, tables) = (None, store.settings);
        Place { name: store.name, url, access, encoded: false, lists: true, private: false, credential, tables, way, _directory: None }
    })
}
