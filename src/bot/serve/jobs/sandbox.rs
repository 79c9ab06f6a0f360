//! A job as a process of its own: this program again, in a folder of its own, with nothing of our environment and with limits.
//!
//! The child first runs `gristmill bot confine`, which sets the limits on itself and then becomes the job: so nothing runs between fork
//! and exec. What a job may reach on the network is the policy of `--untrusted` in the job itself. Not for what a job does or means.
//! Invariant: when [`run`] returns, no process of the job lives; if we are killed, the system kills the job.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How often a job is looked after.
const LOOK: Duration = Duration::from_millis(50);
/// How often the size of its folder is.
const MEASURE: Duration = Duration::from_secs(2);
/// Most bytes of a job's log.
pub(super) const LONGEST_LOG: u64 = 64 << 20;
/// Most files that a job has open at once.
const FILES: u64 = 4096;

/// What to run.
#[derive(Debug)]
pub struct Order<'a> {
    /// The program: gristmill.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// All of its environment, besides where its folder is.
    pub environment: Vec<(String, String)>,
    /// Its folder: working directory, home and place for temporary files.
    pub folder: &'a Path,
    /// Where what it prints goes.
    pub log: PathBuf,
}

/// What it may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of address space (setrlimit(2), `RLIMIT_AS`).
    pub address_space: u64,
    /// Processor time.
    pub processor: Option<Duration>,
    /// Bytes in its folder; also the most of one file.
    pub disk: u64,
    /// Time on the wall.
    pub wall: Duration,
    /// Time between asking it to end and ending it.
    pub grace: Duration,
}

/// Why a job shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// It shall not.
    Nothing = 0,
    /// It was called off, or something newer took its place.
    Cancel = 1,
    /// The server stops; the job goes on later.
    Stop = 2,
}

/// A word from outside to a running job.
#[derive(Debug, Default)]
pub struct Asked(AtomicU8);

impl Asked {
    /// Asks a job to end. To call off is stronger than to stop.
    pub fn ask(&self, ask: Ask) {
        let stays = |old: u8| (old != Ask::Cancel as u8).then_some(ask as u8);
        // An earlier word that stays is no failure.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, stays);
    }

    /// What was asked.
    #[must_use]
    pub fn now(&self) -> Ask {
        match self.0.load(Ordering::Relaxed) {
            1 => Ask::Cancel,
            2 => Ask::Stop,
            _ => Ask::Nothing,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub exit: Option<i32>,
    /// The limit that it ran into, or the signal; in words.
    pub why: Option<String>,
}

/// Runs a job to its end.
///
/// # Errors
/// If it cannot be started or looked after.
pub fn run(order: &Order<'_>, limits: &Limits, asked: &Asked) -> io::Result<Ended> {
    let child = start(order, limits)?;
    let mut watch = Watch { child, begun: Instant::now(), measured: Instant::now(), ending: None, why: None };
    let looked = watch.look_after(order, limits, asked);
    // Also where looking failed: what the job started ends with it.
    let group = watch.group();
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = watch.child.wait();
    looked?;
    let status = status?;
    let why = watch.why.or_else(|| status.signal().map(meaning));
    Ok(Ended { exit: status.code(), why })
}

fn start(order: &Order<'_>, limits: &Limits) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(&order.log)?;
    let mut command = Command::new(order.program);
    command.args(["bot", "confine", "--address-space", &limits.address_space.to_string(), "--file-bytes", &limits.disk.to_string()]);
    command.args(["--open-files", &FILES.to_string(), "--parent", &std::process::id().to_string()]);
    if let Some(processor) = limits.processor {
        command.args(["--processor-seconds", &processor.as_secs().max(1).to_string()]);
    }
    command.arg("--").args(&order.arguments);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.env("HOME", order.folder).env("TMPDIR", order.folder).envs(order.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(order.folder).process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn()
}

struct Watch {
    child: Child,
    begun: Instant,
    measured: Instant,
    /// When it was asked to end.
    ending: Option<Instant>,
    why: Option<String>,
}

impl Watch {
    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    fn look_after(&mut self, order: &Order<'_>, limits: &Limits, asked: &Asked) -> io::Result<()> {
        let group = self.group().ok_or_else(|| io::Error::other("the job has no process id"))?;
        loop {
            // Left unreaped, so that the number of its group stays its own until the group is ended.
            if waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?.is_some() {
                return Ok(());
            }
            if self.ending.is_none() {
                self.why = self.exceeded(order, limits);
                if self.why.is_some() || asked.now() != Ask::Nothing {
                    self.ending = Some(Instant::now());
                    kill_process_group(group, Signal::TERM)?;
                }
            }
            if self.ending.is_some_and(|since| since.elapsed() > limits.grace) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }

    fn exceeded(&mut self, order: &Order<'_>, limits: &Limits) -> Option<String> {
        if self.begun.elapsed() > limits.wall {
            return Some(format!("it took longer than {} minutes", limits.wall.as_secs().div_ceil(60)));
        }
        if self.measured.elapsed() < MEASURE {
            return None;
        }
        self.measured = Instant::now();
        let log = std::fs::metadata(&order.log).map_or(0, |log| log.len());
        if log > LONGEST_LOG {
            return Some("it printed too much".to_owned());
        }
        (bytes_in(order.folder) > limits.disk).then(|| "it wrote more than it may have on disk".to_owned())
    }
}

/// Bytes of all files below a folder; links are not followed, and what vanishes meanwhile counts nothing.
pub(super) fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .fold(0, u64::saturating_add)
}

/// What a signal says about a limit (setrlimit(2)).
fn meaning(signal: i32) -> String {
    match signal {
        libc::SIGXCPU => "it used more processor time than it may".to_owned(),
        libc::SIGXFSZ => "it wrote a larger file than it may".to_owned(),
        libc::SIGKILL => "it was ended by force".to_owned(),
        other => format!("it ended with signal {other}"),
    }
}

/// Limits that a process sets on itself before it becomes a job.
#[derive(Debug, Clone, Copy)]
pub struct Confinement {
    /// Bytes of address space.
    pub address_space: u64,
    /// Seconds of processor time.
    pub processor: Option<u64>,
    /// Most bytes of a file.
    pub file: u64,
    /// Most files open at once.
    pub files: u64,
    /// Process that started this one.
    pub parent: i32,
}

/// Confines this process and becomes `program` with `arguments`; returns only if that fails.
#[must_use]
pub fn become_job(confinement: &Confinement, program: &Path, arguments: &[OsString]) -> io::Error {
    match confine(confinement) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

fn confine(confinement: &Confinement) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let limit = |resource, most: u64| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    limit(Resource::Core, 0)?;
    limit(Resource::As, confinement.address_space)?;
    limit(Resource::Fsize, confinement.file)?;
    limit(Resource::Nofile, confinement.files)?;
    if let Some(seconds) = confinement.processor {
        // The first limit says why, the second ends what does not listen.
        setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(5)) })?;
    }
    // The server answers first.
    let _ = nice(5);
    end_with_parent(confinement.parent)
}

/// Has the system kill this process when the one that started it dies (prctl(2), `PR_SET_PDEATHSIG`).
#[cfg(target_os = "linux")]
fn end_with_parent(parent: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before that was asked.
    let starter = rustix::process::getppid().map(|starter| starter.as_raw_nonzero().get());
    if starter == Some(parent) { Ok(()) } else { Err(io::Error::other("whoever started this is gone")) }
}

/// Elsewhere a job goes on; the next start finds the ledger's entry and the target's lock.
#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: i32) -> io::Result<()> {
    Ok(())
}

/// Hides this process's environment from other processes of the same user, such as jobs (proc(5), `/proc/PID/environ`).
#[cfg(target_os = "linux")]
pub fn hide() {
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "jobs could read this process's environment");
    }
}

/// Other systems do not show it.
#[cfg(not(target_os = "linux"))]
pub fn hide() {}
