//! OpenSSH behind a line that breaks, or falls silent: transfers are taken up where they were.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gristmill::event::Silent;
use gristmill::store::source;

use super::places::{Place, places};
use super::{compare, content, whole};

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Cut,
    Silence,
}

/// A port of this machine that leads to a server; the first connections through it end after so many bytes.
struct Line {
    port: u16,
    passed: Arc<AtomicU64>,
    made: Arc<AtomicUsize>,
}

impl Line {
    fn to(server: String, bad: usize, after: u64, end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (passed, made) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (total, number) = (Arc::clone(&passed), Arc::clone(&made));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let most = if number.fetch_add(1, Ordering::SeqCst) < bad { after } else { u64::MAX };
                let (server, total) = (TcpStream::connect(&server).unwrap(), Arc::clone(&total));
                let (mut up, mut there) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut up, &mut there));
                std::thread::spawn(move || down(server, client, most, end, &total));
            }
        });
        Self { port, passed, made }
    }
}

fn down(mut server: TcpStream, mut client: TcpStream, most: u64, end: End, total: &AtomicU64) {
    let (mut buffer, mut sent) = ([0; 16 << 10], 0_u64);
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if sent >= most && end == End::Silence {
            // What the client sends still arrives; nothing comes back until it hangs up.
            continue;
        }
        if sent >= most || client.write_all(&buffer[..length]).is_err() {
            break;
        }
        sent += length as u64;
        total.fetch_add(length as u64, Ordering::SeqCst);
    }
    for stream in [&server, &client] {
        let _gone = stream.shutdown(Shutdown::Both);
    }
}

/// The SSH server's place, said aloud by `places` if there is none.
fn ssh(test: &str) -> Option<Place> {
    places(test).into_iter().find(|place| place.url.starts_with("sftp:"))
}

#[test]
fn a_transfer_over_ssh_goes_on_where_it_broke() {
    let Some(place) = ssh("line") else { return };
    let content = content(12_000_000);
    place.put("a.nc", &content);
    for end in [End::Cut, End::Silence] {
        let line = Line::to(place.server(), 2, 4_000_000, end);
        let (url, mut access, _known) = place.through(line.port);
        access.idle_timeout = Duration::from_secs(1);
        let (store, begun) = (source(&access, Arc::new(Silent)), Instant::now());
        assert!(whole(&*store, &format!("{url}/a.nc")).unwrap() == content);
        assert_eq!(line.made.load(Ordering::SeqCst), 3);
        // What was on its way when the line broke comes again, and no more than that.
        let passed = line.passed.load(Ordering::SeqCst);
        assert!(passed < 12_000_000 + 2 * 2_500_000, "{passed}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }
}

#[test]
fn ranges_over_ssh_survive_a_line_that_breaks() {
    let Some(place) = ssh("ranges") else { return };
    let content = content(9_000_000);
    place.put("a.nc", &content);
    let line = Line::to(place.server(), 3, 700_000, End::Cut);
    let (url, access, _known) = place.through(line.port);
    let ranges = [0..10, 100_000..2_000_000, 5_000_000..8_000_000, 8_999_990..9_000_000];
    compare(&*source(&access, Arc::new(Silent)), &format!("{url}/a.nc"), &ranges, &content);
    assert!(line.made.load(Ordering::SeqCst) > 3);
}

#[test]
fn a_server_that_hangs_up_before_the_login_is_asked_again() {
    let Some(place) = ssh("away") else { return };
    place.put("a.nc", b"sftp");
    let line = Line::to(place.server(), 2, 0, End::Cut);
    let (url, access, _known) = place.through(line.port);
    assert_eq!(whole(&*source(&access, Arc::new(Silent)), &format!("{url}/a.nc")).unwrap(), b"sftp");
    assert_eq!(line.made.load(Ordering::SeqCst), 3);
}
