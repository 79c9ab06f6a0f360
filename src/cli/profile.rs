//! `--profile`: where the time of a run goes, as a trace that Perfetto and Chrome show.
//!
//! The Trace Event Format's JSON object with complete (`X`), instant (`i`) and metadata (`M`) events; times in microseconds
//! since the run began. Three "processes": the workflow's stages, tasks (in as many lanes as run at a time), threads. Written while
//! the run goes on, in blocks: memory does not grow with the run. Invariant: after each block the file is valid JSON, however
//! the process ends; and nothing here can fail a run.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::event::{Activity, Event, Reporter, Span};

/// Bytes gathered before they are written.
const BLOCK: usize = 64 << 10;
/// Longest time before they are written all the same, if anything happens.
const PAUSE: Duration = Duration::from_secs(1);
/// What closes the file; the next block is written over it.
const TAIL: &[u8] = b"\n]}\n";

const WORKFLOW: u32 = 1;
const TASKS: u32 = 2;
const THREADS: u32 = 3;

/// Records spans, and passes everything else on.
pub struct Profile {
    next: Arc<dyn Reporter>,
    begun: Instant,
    trace: Mutex<Trace>,
}

struct Trace {
    file: File,
    /// Bytes in the file, the tail left out.
    length: u64,
    block: Vec<u8>,
    written: Instant,
    /// Number of each thread, by its name.
    threads: HashMap<String, u32>,
    /// When the last span of each lane of tasks ended.
    lanes: Vec<Instant>,
    failed: Option<io::Error>,
}

impl Profile {
    /// Starts a trace in a new file; other events go on to `next`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn begin(path: &Path, next: Arc<dyn Reporter>) -> io::Result<Self> {
        let begun = Instant::now();
        let head = b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[".to_vec();
        let file = File::create(path)?;
        let mut trace = Trace { file, length: 0, block: head, written: begun, threads: HashMap::new(), lanes: Vec::new(), failed: None };
        for (process, name) in [(WORKFLOW, "workflow"), (TASKS, "tasks"), (THREADS, "threads")] {
            trace.add(&metadata("process_name", process, 0, name), begun);
            trace.add(&json!({"ph": "M", "name": "process_sort_index", "pid": process, "tid": 0, "args": {"sort_index": process}}), begun);
        }
        trace.add(&metadata("thread_name", WORKFLOW, 0, "stages"), begun);
        trace.write();
        match trace.failed.take() {
            Some(error) => Err(error),
            None => Ok(Self { next, begun, trace: Mutex::new(trace) }),
        }
    }

    /// Writes what is still gathered.
    ///
    /// # Errors
    /// The first error of any write.
    pub fn end(&self) -> io::Result<()> {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        trace.write();
        trace.failed.take().map_or(Ok(()), Err)
    }

    fn span(&self, span: &Span) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        let (process, thread) = trace.place(span);
        let mut args = serde_json::Map::new();
        if let Some((stage, task)) = span.detail.task {
            args.insert("stage".to_owned(), json!(stage));
            args.insert("task".to_owned(), json!(task));
        }
        if !span.detail.about.is_empty() {
            args.insert("about".to_owned(), json!(span.detail.about));
        }
        if span.detail.bytes > 0 {
            args.insert("bytes".to_owned(), json!(span.detail.bytes));
        }
        let (start, length) = (span.begun.saturating_duration_since(self.begun), span.ended.saturating_duration_since(span.begun));
        let event = json!({
            "ph": "X", "name": name(span), "cat": category(span.activity), "pid": process, "tid": thread,
            "ts": microseconds(start), "dur": microseconds(length), "args": args,
        });
        trace.add(&event, span.ended);
    }

    fn instant(&self, name: &str, about: &str) {
        let now = Instant::now();
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = trace.thread();
        let start = microseconds(now.saturating_duration_since(self.begun));
        trace.add(&json!({"ph": "i", "s": "t", "name": name, "pid": THREADS, "tid": thread, "ts": start, "args": {"about": about}}), now);
    }
}

impl Trace {
    /// Process and thread that a span is shown in.
    fn place(&mut self, span: &Span) -> (u32, u32) {
        match category(span.activity) {
            "stage" => (WORKFLOW, 0),
            "task" => (TASKS, self.lane(span)),
            _ => (THREADS, self.thread()),
        }
    }

    /// The first lane that was free when the task began.
    fn lane(&mut self, span: &Span) -> u32 {
        let free = self.lanes.iter().position(|ended| *ended <= span.begun);
        let lane = free.unwrap_or(self.lanes.len());
        if let Some(ended) = self.lanes.get_mut(lane) {
            *ended = span.ended;
        } else {
            self.lanes.push(span.ended);
            self.add(&metadata("thread_name", TASKS, lane as u32, &format!("lane {}", lane + 1)), span.ended);
        }
        lane as u32
    }

    fn thread(&mut self) -> u32 {
        let thread = std::thread::current();
        let name = thread.name().map_or_else(|| format!("{:?}", thread.id()), str::to_owned);
        if let Some(&number) = self.threads.get(&name) {
            return number;
        }
        let number = self.threads.len() as u32 + 1;
        self.add(&metadata("thread_name", THREADS, number, &name), Instant::now());
        self.threads.insert(name, number);
        number
    }

    fn add(&mut self, event: &Value, now: Instant) {
        let first = self.length == 0 && self.block.last() == Some(&b'[');
        self.block.extend_from_slice(if first { b"\n" } else { b",\n" });
        self.block.extend_from_slice(event.to_string().as_bytes());
        if self.block.len() >= BLOCK || now.saturating_duration_since(self.written) >= PAUSE {
            self.write();
        }
    }

    fn write(&mut self) {
        self.written = Instant::now();
        if self.failed.is_some() || self.block.is_empty() {
            self.block.clear();
            return;
        }
        let length = self.block.len() as u64;
        self.block.extend_from_slice(TAIL);
        // One call, so that whoever reads meanwhile, or after a kill, finds the file closed.
        match self.file.write_all_at(&self.block, self.length) {
            Ok(()) => self.length += length,
            Err(error) => self.failed = Some(error),
        }
        self.block.clear();
    }
}

impl Reporter for Profile {
    fn report(&self, event: Event) {
        match &event {
            Event::Spent(span) => return self.span(span),
            Event::Waiting { url, part, seconds, .. } => self.instant("waiting", &format!("{url}: {part}, {seconds} s")),
            Event::Retried { url, reason } => self.instant("retried", &format!("{url}: {reason}")),
            _ => {}
        }
        self.next.report(event);
    }

    fn wants_spans(&self) -> bool {
        true
    }
}

fn metadata(kind: &str, process: u32, thread: u32, name: &str) -> Value {
    json!({"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}})
}

/// Exact to the nanosecond for any run below 100 days.
fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1000.0
}

fn category(activity: Activity) -> &'static str {
    match activity {
        Activity::Run
        | Activity::Scan
        | Activity::Combine
        | Activity::Plan
        | Activity::Prepare
        | Activity::Execute
        | Activity::Verify
        | Activity::Commit => "stage",
        Activity::Task => "task",
        Activity::Wait => "wait",
        _ => "step",
    }
}

fn name(span: &Span) -> String {
    match (span.activity, span.detail.task) {
        (Activity::Task, Some((stage, task))) => format!("task {stage}.{task}"),
        (activity, _) => format!("{activity:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Detail, Silent, spent};

    #[test]
    fn the_file_is_valid_after_every_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace.json");
        let profile = Profile::begin(&path, Arc::new(Silent)).unwrap();
        for round in 0..2000 {
            let detail = |(): &()| Detail { about: format!("a \"quoted\" name\n{round}"), bytes: 7, task: Some((0, round)) };
            spent(&profile, Activity::Encode, detail, || ());
            if round % 100 == 0 {
                let trace: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                assert!(trace["traceEvents"].as_array().unwrap().len() <= 10 + round as usize);
            }
        }
        profile.end().unwrap();
        let trace: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let spans = trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").count();
        assert_eq!(spans, 2000);
        assert!(profile.trace.lock().unwrap().block.capacity() < 4 * BLOCK);
    }

    #[test]
    fn tasks_at_the_same_time_have_lanes_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let profile = Profile::begin(&directory.path().join("trace.json"), Arc::new(Silent)).unwrap();
        let at = |milliseconds: u64| profile.begun + Duration::from_millis(milliseconds);
        let lane = |begun: u64, ended: u64| {
            let span = Span { activity: Activity::Task, begun: at(begun), ended: at(ended), detail: Detail::default() };
            profile.trace.lock().unwrap().place(&span)
        };
        assert_eq!([lane(0, 10), lane(5, 12), lane(10, 20), lane(11, 21), lane(12, 22)], [0, 1, 0, 2, 1].map(|lane| (TASKS, lane)));
    }
}
