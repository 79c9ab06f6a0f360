//! A job's limits hold, and nothing of it outlives it. The job is a shell that was confined as jobs are.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill::bot::serve::jobs::sandbox::{Ask, Asked, Confinement, Ended, Limits, Order, become_job, run};
use tempfile::TempDir;

const ARGUMENTS: &str = "BOT_SERVE_ARGUMENTS";

/// Stands in for `gristmill bot confine`: the same limits, but what it becomes is a shell.
#[test]
fn confined() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let (flags, script) = arguments.split_once(" -- ").unwrap();
    let number = |name: &str| flags.split(' ').skip_while(|word| *word != name).nth(1).and_then(|value| value.parse::<u64>().ok());
    let confinement = Confinement {
        address_space: number("--address-space").unwrap(),
        processor: number("--processor-seconds"),
        file: number("--file-bytes").unwrap(),
        files: number("--open-files").unwrap(),
        parent: number("--parent").unwrap() as i32,
    };
    let error = become_job(&confinement, Path::new("/bin/sh"), &["-c".into(), script.into()].map(|word: OsString| word));
    panic!("{error}");
}

struct Job {
    folder: TempDir,
    program: PathBuf,
}

impl Job {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("program.sh");
        let this = std::env::current_exe().unwrap();
        let text = format!("#!/bin/sh\nexport {ARGUMENTS}=\"$*\"\nexec {} --exact sandbox::confined --nocapture\n", this.display());
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(folder.path().join("work")).unwrap();
        Self { folder, program }
    }

    fn run(&self, script: &str, limits: &Limits, asked: &Asked) -> (Ended, String) {
        let (work, log) = (self.folder.path().join("work"), self.folder.path().join("log.txt"));
        let environment = vec![("TARGET_KEY".to_owned(), "given".to_owned())];
        let order = Order { program: &self.program, arguments: vec![script.into()], environment, folder: &work, log: log.clone() };
        let ended = run(&order, limits, asked).unwrap();
        (ended, std::fs::read_to_string(log).unwrap_or_default())
    }
}

fn usual() -> Limits {
    Limits { address_space: 4 << 30, processor: None, disk: 1 << 30, wall: Duration::from_mins(1), grace: Duration::from_secs(1) }
}

fn ended(script: &str, limits: &Limits) -> Ended {
    Job::new().run(script, limits, &Asked::default()).0
}

#[test]
fn t16_memory_processor_time_files_and_time_are_limited() {
    assert_eq!(ended("exit 0", &usual()), Ended { exit: Some(0), why: None });
    assert_eq!(ended("exit 4", &usual()), Ended { exit: Some(4), why: None });
    let allocate = "head -c 400000000 /dev/zero | tail -c 400000000 | wc -c | grep -q 400000000";
    assert_eq!(ended(allocate, &usual()).exit, Some(0), "it works where it may");
    assert_ne!(ended(allocate, &Limits { address_space: 200 << 20, ..usual() }).exit, Some(0));
    let busy = ended("while :; do :; done", &Limits { processor: Some(Duration::from_secs(1)), ..usual() });
    assert!(busy.exit != Some(0) && busy.why.as_ref().is_some_and(|why| why.contains("processor") || why.contains("force")), "{busy:?}");
    let large = ended("head -c 9000000 /dev/zero > large", &Limits { disk: 1 << 20, ..usual() });
    assert_ne!(large.exit, Some(0), "one file");
    let many = "i=0; while [ $i -lt 1000 ]; do head -c 500000 /dev/zero > part-$i; i=$((i+1)); sleep 0.05; done";
    let many = ended(many, &Limits { disk: 1 << 20, ..usual() });
    assert!(many.why.as_ref().is_some_and(|why| why.contains("on disk")), "{many:?}");
    let begun = Instant::now();
    let slow = ended("trap '' TERM; while :; do sleep 1; done", &Limits { wall: Duration::from_secs(1), ..usual() });
    assert!(slow.why.as_ref().is_some_and(|why| why.contains("longer")), "{slow:?}");
    assert!(begun.elapsed() < Duration::from_secs(50), "one that does not listen is ended");
}

#[test]
fn nothing_of_a_job_outlives_it_and_its_environment_is_bare() {
    let job = Job::new();
    let (ended, log) = job.run("env | sort; sleep 1000 & echo started $!; exit 3", &usual(), &Asked::default());
    assert_eq!(ended.exit, Some(3));
    let child: u32 = log.lines().find_map(|line| line.strip_prefix("started ")).unwrap().parse().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    // Without a parent it may stay unreaped for a while.
    crate::host::wait("what it left behind to end", || state().is_empty() || state().contains(") Z "));
    let given: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once('=')?.0)).filter(|name| !name.starts_with('[')).collect();
    // Besides what the shell and the stand-in add.
    let own = [ARGUMENTS, "PWD", "OLDPWD", "SHLVL", "_"];
    let given: Vec<&str> =
        given.into_iter().filter(|name| !own.contains(name) && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
    assert_eq!(given, ["HOME", "LANG", "PATH", "TARGET_KEY", "TMPDIR"], "{log}");
}

#[test]
fn a_job_that_is_called_off_ends_and_one_that_is_stopped_may_say_so() {
    let asked = Arc::new(Asked::default());
    let (tell, begun) = (Arc::clone(&asked), Instant::now());
    let asking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        tell.ask(Ask::Cancel);
        tell.ask(Ask::Stop);
    });
    let patient = Limits { grace: Duration::from_secs(20), ..usual() };
    let (ended, _) = Job::new().run("trap 'exit 75' TERM; while :; do sleep 0.1; done", &patient, &asked);
    asking.join().unwrap();
    assert_eq!((ended.exit, asked.now()), (Some(75), Ask::Cancel), "called off stays called off");
    assert!(begun.elapsed() < Duration::from_secs(50));
}
