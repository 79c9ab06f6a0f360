//! The server: webhooks in, tests and bakes out, for repositories that want no workflows of their own.
//!
//! `http` answers, `queue` keeps what was accepted, `work` decides and does, `jobs` runs what takes time, `execute` says what that is,
//! `ledger` remembers, `reconcile` finds what never came, `page` and `metrics` show it. Everything blocks but `http`. Not for deciding
//! what follows an event (`decide`) nor for the words of a host (`forge`). Invariant: what was accepted is worked on, whenever the
//! process is killed; a job runs without our secrets.

mod clones;
mod execute;
mod http;
pub mod jobs;
pub mod ledger;
pub mod metrics;
pub mod page;
pub mod queue;
mod reader;
mod reconcile;
mod secret;
pub mod settings;
pub mod signature;
mod work;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use secret::Hidden;

use self::clones::Clones;
use self::http::Site;
use self::jobs::Pool;
use self::ledger::Ledger;
use self::metrics::Metrics;
use self::queue::{JournalError, Queue};
use self::settings::Settings;
use self::signature::Secrets;
use self::work::Worker;
use super::decide::Job;
use super::forge::{Forge, Question, Repository};
use crate::run::{Lock, RunError, with_causes};
use crate::store::{Access, StoreError};

/// Deliveries that are worked on at once, each of another repository.
const WORKERS: usize = 4;
/// Longest wait for answers that are under way when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it is looked whether the server shall stop.
const LOOK: Duration = Duration::from_millis(100);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its folder cannot be used.
    #[error("`{}` cannot be used as the server's folder", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Another server uses the folder.
    #[error("another server uses `{}`; give each a `state` of its own", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot listen.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The queue cannot be opened.
    #[error(transparent)]
    Queue(#[from] JournalError),
    /// The ledger cannot be opened.
    #[error("the ledger cannot be used")]
    Ledger(#[from] StoreError),
    /// Another server holds the ledger, or took it.
    #[error("the ledger is not ours")]
    Lease(#[source] Box<RunError>),
}

/// Serves until `stop` is set; `ready` is told where it listens.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    settings: Settings,
    access: &Access,
    forge: Arc<dyn Forge>,
    stop: &AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    jobs::sandbox::hide();
    let folder = settings.state.clone();
    let failed = |cause| ServeError::Folder { path: folder.clone(), cause };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let _alone = take_folder(&folder).map_err(failed)?.ok_or_else(|| ServeError::Taken { path: folder.clone() })?;
    let lease =
        Lock::take(&format!("{}/server", settings.ledger), &settings.ledger, access).map_err(|error| ServeError::Lease(Box::new(error)))?;
    let queue = Arc::new(Queue::open(&folder.join("queue"))?);
    let pool = Arc::new(Pool::open(&folder.join("jobs"), &settings.jobs.program, settings.jobs.kept).map_err(failed)?);
    let metrics = Arc::new(Metrics::default());
    let secrets = Secrets::new(settings.secrets.iter().map(Hidden::reveal));
    let site = Arc::new(Site::new(secrets, settings.largest_body, Arc::clone(&queue), Arc::clone(&pool), Arc::clone(&metrics)));
    let ledger = Ledger::open(&settings.ledger, access)?;
    let (listen, runners) = (settings.listen, settings.jobs.at_once);
    let clones = Clones::new(folder.join("clones"));
    let (of_worker, of_pool) = (Arc::clone(&queue), Arc::clone(&pool));
    let worker =
        Worker { settings, forge, ledger, queue: of_worker, pool: of_pool, clones, metrics, remembered: std::sync::Mutex::default() };
    let ending = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..runners {
            scope.spawn(|| pool.work(&worker));
        }
        scope.spawn(|| {
            resume(&worker, &ending);
            std::thread::scope(|scope| {
                (0..WORKERS).for_each(|_| drop(scope.spawn(|| worker.work())));
                scope.spawn(|| reconcile::work(&worker, &ending));
            });
        });
        let answered = answer(listen, site, ready, || stop.load(Ordering::Relaxed) || lease.is_lost());
        ending.store(true, Ordering::Relaxed);
        queue.close();
        pool.stop();
        answered
    })?;
    lease.still_ours().map_err(|error| ServeError::Lease(Box::new(error)))
}

/// The lock of the folder, held as long as the file is open; `None` if another process holds it.
fn take_folder(folder: &std::path::Path) -> std::io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Has the jobs run that were under way when the last server ended.
fn resume(worker: &Worker, ending: &AtomicBool) {
    for name in worker.settings.repositories.keys() {
        let Ok(repository) = name.parse::<Repository>() else { continue };
        let mut wait = Duration::from_secs(1);
        while let Err(error) = worker.resume(&repository) {
            tracing::warn!(repository = name, error = %with_causes(&error), "jobs cannot be resumed yet");
            let begun = std::time::Instant::now();
            while begun.elapsed() < wait && !ending.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            if ending.load(Ordering::Relaxed) {
                return;
            }
            wait = (wait * 2).min(Duration::from_mins(1));
        }
    }
}

impl Worker {
    fn resume(&self, repository: &Repository) -> Result<(), work::WorkError> {
        let name = repository.to_string();
        // A job that ended, and whose end was not worked on when the last server died, is not run again. Looked at before the ledger is:
        // an end that is worked on meanwhile is in the one or in the other.
        let held = self.queue.held(&name);
        let is_ended = |(job, attempt): &(Job, u32)| {
            let end = execute::end_of(&name, job, *attempt);
            held.iter().any(|id| id.starts_with(&end))
        };
        let active: Vec<(Job, u32)> = self.ledger.active(&name)?.into_iter().filter(|one| !is_ended(one)).collect();
        if active.is_empty() {
            return Ok(());
        }
        self.look_up(repository, &Question::default())?;
        for (job, attempt) in active {
            self.enqueue(&name, &job, attempt);
        }
        Ok(())
    }
}

/// Answers until it is asked to stop.
fn answer(listen: SocketAddr, site: Arc<Site>, ready: impl FnOnce(SocketAddr), stop: impl Fn() -> bool) -> Result<(), ServeError> {
    let failed = |cause| ServeError::Listen { address: listen, cause };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("http").enable_all().build().map_err(failed)?;
    let result = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await.map_err(failed)?;
        ready(listener.local_addr().map_err(failed)?);
        let (told, told_to_stop) = tokio::sync::watch::channel(false);
        let wait = |mut stop: tokio::sync::watch::Receiver<bool>| async move { drop(stop.wait_for(|stop| *stop).await) };
        let serving = axum::serve(listener, http::router(site)).with_graceful_shutdown(wait(told_to_stop));
        let mut serving = tokio::spawn(serving.into_future());
        while !stop() && !serving.is_finished() {
            tokio::time::sleep(LOOK).await;
        }
        told.send_replace(true);
        match tokio::time::timeout(FAREWELL, &mut serving).await {
            Ok(Ok(served)) => served.map_err(failed),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    });
    runtime.shutdown_background();
    result
}
