//! https against a real nginx with an authority of our own: whom we believe, HTTP/2, and client certificates.
//!
//! Each test starts nginx by itself, in a folder of its own; where there is no nginx (ci/servers.sh installs it) that is said aloud.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gristmill::store::auth::Auth;
use gristmill::store::{Access, ErrorKind, SourceStore};

use super::small_s3::{Conditions, SmallS3};
use super::{canary, content, hasty, reporting};

/// tests/data/tls/make.sh.
fn made(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name).display().to_string()
}

/// Servers of one nginx, by what they are for.
struct Nginx {
    process: Child,
    folder: tempfile::TempDir,
    ports: Vec<u16>,
}

/// In the order of their ports.
const PLAIN: usize = 0;
const WANTS: usize = 1;
const ASKS: usize = 2;
const OTHER_NAME: usize = 3;
const OVER: usize = 4;
const BUCKETS: usize = 5;

impl Nginx {
    /// Starts it; `None`, said aloud, where there is none.
    fn start() -> Option<Self> {
        Self::before("http://127.0.0.1:1")
    }

    /// The same, with this server of buckets behind it.
    fn before(buckets: &str) -> Option<Self> {
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let Some(program) = path.split(':').map(|folder| Path::new(folder).join("nginx")).find(|program| program.is_file()) else {
            println!("no nginx on this machine: https is not tried; ci/servers.sh installs one");
            return None;
        };
        // Held together, so that no two are the same; free again before nginx takes them.
        let listeners: Vec<TcpListener> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(listeners);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("www")).unwrap();
        std::fs::write(folder.path().join("www/a.nc"), content()).unwrap();
        std::fs::write(folder.path().join("www/b.nc"), canary::file(0)).unwrap();
        std::fs::write(folder.path().join("nginx.conf"), configuration(folder.path(), &ports, buckets)).unwrap();
        let log = std::fs::File::create(folder.path().join("said")).unwrap();
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.path().join("nginx.conf")).arg("-p").arg(folder.path());
        let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut nginx = Self { process, folder, ports };
        nginx.wait();
        Some(nginx)
    }

    fn wait(&mut self) {
        for _ in 0..200 {
            if self.ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "nginx ended: {}", self.read("said"));
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nginx does not answer: {}", self.read("said"));
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn host(&self, server: usize) -> String {
        format!("127.0.0.1:{}", self.ports[server])
    }

    fn url(&self, server: usize, path: &str) -> String {
        format!("https://{}{path}", self.host(server))
    }

    /// Number of requests in the log once nothing more comes: nginx writes a line after it has answered.
    fn asked(&self) -> usize {
        let mut known = self.log().len();
        loop {
            std::thread::sleep(Duration::from_millis(200));
            match self.log().len() {
                same if same == known => return known,
                more => known = more,
            }
        }
    }

    /// Port, protocol and what the client showed of itself, of every request.
    fn log(&self) -> Vec<(u16, String, String)> {
        let words = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>();
        self.read("log").lines().map(words).map(|words| (words[0].parse().unwrap(), words[1].clone(), words[2].clone())).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It is one process only.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn configuration(folder: &Path, ports: &[u16], buckets: &str) -> String {
    let place = folder.display();
    let mut text = format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/errors;\nevents {{ worker_connections 64; }}\nhttp {{\n\
         log_format short '$server_port|$server_protocol|$ssl_client_verify';\naccess_log {place}/log short;\ndefault_type application/octet-stream;\n"
    );
    for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "{what}_temp_path {place}/{what};").unwrap();
    }
    let certificates = ["server.pem", "server.pem", "server.pem", "other-name.pem", "over.pem", "server.pem"].map(made);
    let moved = format!("location /moved/ {{ return 302 https://127.0.0.1:{}/a.nc; }}", ports[PLAIN]);
    for (server, (port, certificate)) in ports.iter().zip(certificates).enumerate() {
        let (verify, here) = match server {
            WANTS => ("on", String::new()),
            ASKS => ("optional", "if ($ssl_client_verify != SUCCESS) { return 403; }".to_owned()),
            BUCKETS => ("off", format!("proxy_pass {buckets}; proxy_http_version 1.1;")),
            _ => ("optional", String::new()),
        };
        let authority = made("authority.pem");
        writeln!(
            text,
            "server {{ listen 127.0.0.1:{port} ssl http2; root {place}/www; ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
             ssl_client_certificate {authority}; ssl_verify_client {verify}; {moved} location / {{ {here} }} }}"
        )
        .unwrap();
    }
    text + "}\n"
}

fn believing(auth: Auth) -> Access {
    Access { certificates: Some(PathBuf::from(made("authority.pem"))), auth, ..hasty() }
}

fn client(access: &Access) -> Arc<dyn SourceStore> {
    reporting(access).0
}

fn certificate(host: &str, name: &str) -> Auth {
    Auth::with("archive", &format!("kind = 'certificate'\nhosts = ['{host}']\ncertificate = '{}'", made(name))).unwrap()
}

#[test]
fn only_servers_that_a_known_authority_vouches_for_are_read() {
    let Some(nginx) = Nginx::start() else { return };
    let store = client(&believing(Auth::default()));
    let url = nginx.url(PLAIN, "/a.nc");
    assert_eq!(store.ranges(&url, &[3..9, 4000..4100]).unwrap(), [content()[3..9].to_vec(), content()[4000..4100].to_vec()]);
    assert_eq!(store.head(&url).unwrap().size, Some(5000));
    assert!(nginx.log().iter().all(|(_, protocol, shown)| protocol == "HTTP/2.0" && shown == "NONE"), "{:?}", nginx.log());
    let before = nginx.asked();
    for (store, server, why) in [
        (client(&hasty()), PLAIN, "an authority that is not known"),
        (client(&believing(Auth::default())), OTHER_NAME, "another name"),
        (client(&believing(Auth::default())), OVER, "its time is over"),
    ] {
        let error = store.head(&nginx.url(server, "/a.nc")).unwrap_err();
        assert_eq!((error.kind, error.exit()), (ErrorKind::Other, 3), "{why}: {error}");
        assert!(error.to_string().contains("certificate is not valid"), "{why}: {error}");
    }
    assert_eq!(nginx.asked(), before, "somebody was asked who could not say who it is");
}

#[test]
fn a_client_certificate_opens_what_it_is_for_and_is_shown_nowhere_else() {
    let Some(nginx) = Nginx::start() else { return };
    for server in [WANTS, ASKS] {
        let store = client(&believing(certificate(&nginx.host(server), "client.pem")));
        assert_eq!(store.ranges(&nginx.url(server, "/a.nc"), &[3..9]).unwrap(), [content()[3..9].to_vec()]);
        // To another server, asked for or redirected to, nothing is shown.
        assert_eq!(store.ranges(&nginx.url(server, "/moved/a.nc"), &[9..12]).unwrap(), [content()[9..12].to_vec()]);
        assert_eq!(store.ranges(&nginx.url(PLAIN, "/a.nc"), &[9..12]).unwrap(), [content()[9..12].to_vec()]);
    }
    let shown = |port: u16| nginx.log().iter().filter(|(known, ..)| *known == port).map(|(.., shown)| shown.clone()).collect::<Vec<_>>();
    assert!(shown(nginx.ports[WANTS]).iter().all(|shown| shown == "SUCCESS"));
    assert!(shown(nginx.ports[ASKS]).iter().all(|shown| shown == "SUCCESS"));
    assert!(shown(nginx.ports[PLAIN]).len() >= 4 && shown(nginx.ports[PLAIN]).iter().all(|shown| shown == "NONE"));
}

#[test]
fn without_the_right_client_certificate_it_is_exit_3_and_says_why() {
    let Some(nginx) = Nginx::start() else { return };
    for (server, refused) in [(WANTS, (ErrorKind::Other, "client certificate")), (ASKS, (ErrorKind::Forbidden, "forbidden"))] {
        let stranger = certificate(&nginx.host(server), "stranger.pem");
        for (auth, (kind, says)) in [(Auth::default(), refused), (stranger, (ErrorKind::Forbidden, "`archive`"))] {
            let error = client(&believing(auth)).head(&nginx.url(server, "/a.nc")).unwrap_err();
            assert_eq!((error.kind, error.exit()), (kind, 3), "{error}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(!format!("{error} {error:?}").contains("PRIVATE"), "{error:?}");
        }
    }
}

#[test]
fn a_run_with_a_client_certificate_leaves_nothing_of_its_key() {
    let Some(nginx) = Nginx::start() else { return };
    let table = format!("kind = 'certificate'\nhosts = ['{}']\ncertificate = '{}'", nginx.host(WANTS), made("client.pem"));
    let network = format!("certificates = '{}'", made("authority.pem"));
    let (exit, left) = canary::run(&nginx.url(WANTS, "/b.nc"), &table, &network, "out.zarr");
    assert_eq!(exit, 0, "{}", canary::told(&left));
    let pem = std::fs::read_to_string(made("client.pem")).unwrap();
    let key = pem.split("PRIVATE KEY").nth(1).unwrap();
    let secrets: Vec<String> = key.lines().filter(|line| line.len() > 20).map(str::to_owned).collect();
    assert!(secrets.len() >= 2);
    canary::assert_clean(&left, &secrets);
}

#[test]
fn buckets_behind_an_authority_of_one_s_own_are_written_and_examined() {
    let server = SmallS3::start(Conditions::Honoured);
    let Some(nginx) = Nginx::before(&server.endpoint()) else { return };
    let endpoint = format!("https://{}", nginx.host(BUCKETS));
    let settings = |certificates: &str| {
        format!(
            "[network]\nattempts = 2\n{certificates}\n[s3]\nendpoint = '{endpoint}'\naccess_key_id = 'test'\nsecret_access_key = 'test'\n[auth.archive]\nkind = 'bearer'\nhosts = ['a.example']\ntoken = 'unused'\n"
        )
    };
    let folder = canary::place(&[nginx.folder.path().join("www/b.nc").display().to_string()], &settings(""));
    let run = |arguments: &[&str]| {
        let output = canary::command(folder.path(), arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let bake = ["run", "recipe.yaml", "--target", "s3://bucket/out.zarr"];
    let (exit, said) = run(&bake);
    assert!(exit != 0 && server.objects().is_empty(), "{exit}: {said}");
    let certificates = format!("certificates = '{}'", made("authority.pem"));
    std::fs::write(folder.path().join("gristmill.toml"), settings(&certificates)).unwrap();
    let (exit, said) = run(&bake);
    assert_eq!(exit, 0, "{said}");
    assert!(server.objects().contains_key("bucket/out.zarr/zarr.json"));
    let (exit, said) = run(&["doctor", "--target", "s3://bucket/out.zarr"]);
    assert!(exit == 0 && said.contains("a run can work here"), "{said}");
}
