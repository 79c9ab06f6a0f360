//! Faults that pass: waited out, taken up where they broke, and given up in time.

use std::time::{Duration, Instant};

use gristmill::store::{Access, ErrorKind};

use super::server::{Reply, Request, Server, Step, cut, honest, reply};
use super::{client, content, expect_failure, hasty, one, whole, with};

const NOT_NOW: &str = "503 Service Unavailable";
const TOO_MANY: &str = "429 Too Many Requests";

/// Answers GETs honestly but for those that `wrong` takes over; they are counted from 1.
fn faulty(wrong: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Server {
    let gets = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |request, _| {
        let number = if request.method == "GET" { gets.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 } else { 0 };
        (number > 0).then(|| wrong(request, number)).flatten().unwrap_or_else(|| honest(request, &content()))
    })
}

fn ranges_asked(server: &Server) -> Vec<String> {
    server.requests().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect()
}

#[test]
fn a_503_is_waited_out() {
    for status in [NOT_NOW, "500 Internal Server Error", "502 Bad Gateway", "504 Gateway Timeout", "408 Request Timeout"] {
        let server = faulty(move |_, number| (number <= 2).then(|| reply(status, &[("Content-Length", "0")], b"")));
        let (store, recorder) = client();
        assert_eq!(one(&*store, &server.url("/a.nc"), 3..9).unwrap(), content()[3..9]);
        let said = format!("the server answers {}", &status[..3]);
        assert_eq!(recorder.retries(), [said.clone(), said]);
    }
}

#[test]
fn a_503_for_good_is_given_up_after_so_many_attempts() {
    let server = Server::start(|_, _| reply(NOT_NOW, &[("Content-Length", "0")], b""));
    let (store, recorder) = client();
    expect_failure(store.head(&server.url("/a.nc")), ErrorKind::Temporary, 5, "tried 4 times");
    assert_eq!((server.requests().len(), recorder.retries().len()), (4, 3));
}

#[test]
fn a_429_is_obeyed() {
    let server = faulty(|_, number| (number == 1).then(|| reply(TOO_MANY, &[("Retry-After", "1"), ("Content-Length", "0")], b"")));
    let (store, recorder) = client();
    assert_eq!(one(&*store, &server.url("/a.nc"), 3..9).unwrap(), content()[3..9]);
    let when: Vec<Instant> = server.requests().iter().filter(|request| request.method == "GET").map(|request| request.when).collect();
    assert_eq!((when.len(), recorder.retries().len()), (2, 1));
    assert!(when[1] - when[0] >= Duration::from_millis(990), "{:?}", when[1] - when[0]);
}

#[test]
fn a_date_in_retry_after_is_obeyed() {
    let told = [("Date", "Wed, 21 Oct 2015 07:28:00 GMT"), ("Retry-After", "Wed, 21 Oct 2015 07:28:01 GMT"), ("Content-Length", "0")];
    let server = faulty(move |_, number| (number == 1).then(|| reply(NOT_NOW, &told, b"")));
    let (store, _) = client();
    let start = Instant::now();
    assert_eq!(one(&*store, &server.url("/a.nc"), 3..9).unwrap(), content()[3..9]);
    assert!(start.elapsed() >= Duration::from_millis(990));
}

#[test]
fn a_server_that_asks_for_too_much_patience_is_given_up_at_once() {
    let server = Server::start(|_, _| reply(TOO_MANY, &[("Retry-After", "86400"), ("Content-Length", "0")], b""));
    let (store, _) = client();
    let start = Instant::now();
    expect_failure(store.head(&server.url("/a.nc")), ErrorKind::Temporary, 5, "asks to wait 86400 s");
    assert!(start.elapsed() < Duration::from_secs(5) && server.requests().len() == 1);
}

#[test]
fn one_callers_429_slows_all_of_them() {
    let server = faulty(|_, number| {
        let busy = [Step::Wait(Duration::from_millis(30))];
        let refused = reply(TOO_MANY, &[("Retry-After", "1"), ("Content-Length", "0")], b"");
        (number == 1)
            .then_some(refused)
            .or_else(|| Some([&busy[..], &reply("404 Not Found", &[("Content-Length", "0")], b"")[..]].concat()))
    });
    let (store, _) = client();
    let url = |number: usize| server.url(&format!("/{number}.nc"));
    store.head(&url(0)).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| one(&*store, &url(0), 0..5).is_err());
        std::thread::sleep(Duration::from_millis(300));
        let second = scope.spawn(|| store.head(&url(1)).is_ok());
        assert!(first.join().unwrap() && second.join().unwrap());
    });
    let requests = server.requests();
    let refused = requests.iter().find(|request| request.method == "GET").unwrap().when;
    let other = requests.iter().find(|request| request.path == "/1.nc").unwrap().when;
    assert!(other - refused >= Duration::from_millis(990), "{:?}", other - refused);
}

#[test]
fn a_host_gets_so_many_requests_at_once_and_no_more() {
    let server = faulty(|request, _| Some([&[Step::Wait(Duration::from_millis(40))], &honest(request, &content())[..]].concat()));
    let (store, _) = with(&Access { connections_per_host: 3, ..hasty() });
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, url) = (&store, server.url(&format!("/{number}.nc")));
            scope.spawn(move || store.ranges(&url, &[0..5, 100_000..100_005, 200_000..200_005]).unwrap());
        }
    });
    assert_eq!((server.count("GET"), server.most_open()), (24, 3));
}

#[test]
fn a_stall_is_noticed_and_the_range_goes_on_where_it_broke() {
    let silence = [Step::Wait(Duration::from_secs(2))];
    let server = faulty(move |request, number| (number == 1).then(|| cut(honest(request, &content()), 40_000, &silence)));
    let (store, recorder) = client();
    assert_eq!(one(&*store, &server.url("/a.nc"), 1000..101_000).unwrap(), content()[1000..101_000]);
    assert_eq!(ranges_asked(&server), ["bytes=1000-100999", "bytes=41000-100999"]);
    assert_eq!(recorder.retries(), ["the server fell silent for 0.4 s"]);
}

#[test]
fn a_stall_for_good_is_given_up() {
    let server = Server::start(|_, _| vec![Step::Wait(Duration::from_secs(3))]);
    let (store, _) = client();
    expect_failure(store.head(&server.url("/a.nc")), ErrorKind::Temporary, 5, "silent");
}

#[test]
fn a_server_that_drips_is_as_good_as_silent() {
    let drip: Vec<Step> = (0..60).flat_map(|_| [Step::Wait(Duration::from_millis(50)), Step::Send(vec![b'x'])]).collect();
    let server = faulty(move |request, _| Some(cut(honest(request, &content()), 0, &drip)));
    let (store, _) = with(&Access { idle_timeout: Duration::from_millis(100), ..hasty() });
    expect_failure(one(&*store, &server.url("/a.nc"), 0..100_000), ErrorKind::Temporary, 5, "silent");
}

#[test]
fn a_slow_server_is_no_fault() {
    let server = faulty(|request, _| match &honest(request, &content())[..] {
        [head, Step::Send(body)] => {
            let pieces = body.chunks(10_000).flat_map(|piece| [Step::Wait(Duration::from_millis(50)), Step::Send(piece.to_vec())]);
            Some([head.clone()].into_iter().chain(pieces).collect())
        }
        _ => None,
    });
    let (store, recorder) = client();
    let start = Instant::now();
    assert_eq!(whole(&*store, &server.url("/a.nc")).unwrap(), content());
    // Far longer than the idle timeout: there is none for the whole.
    assert!(start.elapsed() > Duration::from_millis(1400) && recorder.retries().is_empty());
}

#[test]
fn a_reset_costs_the_rest_of_the_range_only() {
    let server = faulty(|request, number| (number <= 2).then(|| cut(honest(request, &content()), 60_000, &[Step::Reset])));
    let (store, recorder) = client();
    assert_eq!(one(&*store, &server.url("/a.nc"), 0..200_000).unwrap(), content()[..200_000]);
    assert_eq!(ranges_asked(&server), ["bytes=0-199999", "bytes=60000-199999", "bytes=120000-199999"]);
    assert_eq!(recorder.retries().len(), 2);
}

#[test]
fn a_cut_stream_goes_on_where_it_broke() {
    // Thirty cuts: far more than the attempts allowed without progress.
    let server = faulty(|request, _| Some(cut(honest(request, &content()), 10_000, &[])));
    let (store, recorder) = client();
    assert_eq!(whole(&*store, &server.url("/a.nc")).unwrap(), content());
    assert_eq!((server.count("GET"), recorder.retries().len()), (30, 29));
}

#[test]
fn a_cut_stream_of_a_server_without_ranges_is_begun_anew_and_compared() {
    let plain = |bytes: &[u8], end: usize| cut(reply("200 OK", &[("Content-Length", "300000")], bytes), end, &[]);
    let sound = faulty(move |_, number| Some(plain(&content(), if number == 1 { 50_000 } else { 300_000 })));
    let (store, _) = client();
    assert_eq!(whole(&*store, &sound.url("/a.nc")).unwrap(), content());
    let other = faulty(move |_, number| {
        let mut bytes = content();
        bytes[17] ^= u8::from(number > 1);
        Some(plain(&bytes, if number == 1 { 50_000 } else { 300_000 }))
    });
    expect_failure(whole(&*store, &other.url("/a.nc")), ErrorKind::Integrity, 3, "beginning differs");
}

#[test]
fn a_body_that_never_comes_is_given_up() {
    let server = faulty(|request, _| Some(cut(honest(request, &content()), 0, &[])));
    let (store, _) = client();
    expect_failure(one(&*store, &server.url("/a.nc"), 0..1000), ErrorKind::Temporary, 5, "tried 4 times");
    expect_failure(whole(&*store, &server.url("/a.nc")), ErrorKind::Temporary, 5, "tried 4 times");
}

#[test]
fn a_server_that_is_not_there_is_given_up() {
    let url = Server::start(|_, _| Vec::new()).url("/a.nc");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (store, _) = client();
    expect_failure(store.head(&format!("http://{gone}/a.nc")), ErrorKind::Temporary, 5, "cannot connect");
    expect_failure(store.head(&url), ErrorKind::Temporary, 5, "tried 4 times");
}
