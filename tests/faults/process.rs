//! Faults of the process and of what it left behind.

use std::process::Command;
use std::time::{Duration, Instant};

use super::place::{Place, day};
use super::server::{Server, Step, honest};

fn local(days: u32) -> Place {
    let place = Place::of(&(0..days).map(|number| format!("{number}.nc")).collect::<Vec<_>>(), "");
    (0..days).for_each(|number| place.write(&format!("{number}.nc"), &day(number)));
    place
}

#[test]
fn plan_of_another_version_is_refused() {
    let place = local(2);
    place.ends(0, &[]);
    let path = place.path().join("out.zarr.gristmill/plan.json");
    let mut plan: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let version = plan["version"].as_u64().unwrap();
    plan["version"] = (version + 1).into();
    place.write("out.zarr.gristmill/plan.json", &serde_json::to_vec(&plan).unwrap());
    let published = place.objects("out.zarr");
    place.ends(2, &["version", &(version + 1).to_string(), "finish the run with the gristmill that began it"]);
    assert_eq!(place.objects("out.zarr"), published);
}

#[test]
fn plan_that_contradicts_itself_is_refused() {
    let place = local(2);
    place.ends(0, &[]);
    let path = place.path().join("out.zarr.gristmill/plan.json");
    let plan: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let lies: [(&str, serde_json::Value); 4] = [
        ("/contents", serde_json::json!([])),
        ("/inputs", serde_json::json!([])),
        ("/stages/0/grids/0/variables", serde_json::json!([77])),
        ("/stages/0/grids/0/slabs/chunk", serde_json::json!([0, 0])),
    ];
    for (pointer, lie) in lies {
        let mut changed = plan.clone();
        *changed.pointer_mut(pointer).unwrap() = lie;
        place.write("out.zarr.gristmill/plan.json", &serde_json::to_vec(&changed).unwrap());
        place.ends(2, &["the saved plan", "delete it and run again"]);
    }
}

#[test]
fn task_that_fails_for_good_is_not_tried_for_ever_and_takes_no_other_with_it() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let healed = Arc::new(AtomicUsize::new(0));
    let well = Arc::clone(&healed);
    // Headers are fine; the values of `y` in one file are forbidden.
    let server = Server::start(move |request, _| {
        let number: u32 = request.path.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0);
        let content = padded(number);
        let values = request.range(content.len()).is_some_and(|range| range.end as u64 > content.len() as u64 - 8 && range.start > 20_000);
        if number == 2 && values && well.load(Ordering::SeqCst) == 0 {
            counted.fetch_add(1, Ordering::SeqCst);
            return super::server::reply("403 Forbidden", &[("Content-Length", "0")], b"");
        }
        honest(request, &content)
    });
    let place = Place::of(&(0..4).map(|number| server.url(&format!("/{number}.nc"))).collect::<Vec<_>>(), "");
    let errors = place.ends(3, &["error[source-forbidden]", "/2.nc"]);
    assert_eq!(errors.matches("error[source-forbidden]").count(), 1, "{errors}");
    assert!(asked.load(Ordering::SeqCst) <= 2, "asked {} times", asked.load(Ordering::SeqCst));
    assert!(!place.is_visible());
    // What the plan holds itself, and `x`, whose task is another one.
    assert_eq!(place.objects("out.zarr.gristmill/receipts").len(), 2, "the other task did not go on");
    healed.store(1, Ordering::SeqCst);
    place.ends(0, &[]);
    assert_eq!(place.report()["tasks_run"], 1, "{}", place.report());
}

/// A day of 64 KB, so that tasks ask for its values alone; what a scan reads comes with the header.
fn padded(number: u32) -> Vec<u8> {
    let value = f64::from(number);
    let (rows, values): (Vec<f64>, Vec<f64>) = (0..4000).map(|row| (f64::from(row), value)).unzip();
    super::made_files::MadeFile::default()
        .dimension("time", 1)
        .dimension("row", 4000)
        .variable("row", "double", &["row"], &rows, &[])
        .variable("time", "double", &["time"], &[value], &[("units", "days since 2000-01-01")])
        .variable("x", "double", &["time", "row"], &values, &[("units", "K")])
        .variable("y", "double", &["time", "column"], &values, &[("units", "K")])
        .dimension("column", 4000)
        .bytes()
}

#[test]
fn sigterm_ends_within_half_a_minute_though_a_server_says_nothing() {
    let server = Server::start(|request, _| {
        let mut answer = honest(request, &padded(0));
        if request.range(100_000).is_some_and(|range| range.start > 20_000) {
            answer.insert(1, Step::Wait(Duration::from_secs(90)));
        }
        answer
    });
    let place = Place::of(&[server.url("/0.nc")], "");
    place.write("settings.toml", b"[network]\nidle_timeout_seconds = 80\n");
    let mut child = place.command(&[]).spawn().unwrap();
    let silent = |server: &Server| server.requests().iter().any(|request| request.range(100_000).is_some_and(|range| range.start > 20_000));
    while !silent(&server) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had to wait");
        std::thread::sleep(Duration::from_millis(20));
    }
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(75));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(!place.is_visible());
}
