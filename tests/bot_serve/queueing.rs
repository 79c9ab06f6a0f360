//! The queue: what was accepted is there, in order, once.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use gristmill::bot::serve::queue::{Incoming, JournalError, Queue, Receipt};
use tempfile::TempDir;

fn delivery(repository: &str, id: &str) -> Incoming {
    Incoming {
        id: id.to_owned(),
        repository: repository.to_owned(),
        headers: vec![("x".to_owned(), "y".to_owned())],
        body: format!("body of {id}"),
    }
}

fn journal(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.pop().unwrap()
}

#[test]
fn what_was_not_done_is_handed_out_again_in_order() {
    let folder = TempDir::new().unwrap();
    let queue = Queue::open(folder.path()).unwrap();
    for id in ["a1", "b1", "a2", "a3"] {
        assert_eq!(queue.add(delivery(&id[..1], id)).unwrap(), Receipt::Accepted);
    }
    assert_eq!(queue.add(delivery("a", "a2")).unwrap(), Receipt::Known);
    let first = queue.take().unwrap();
    assert_eq!(first.delivery, delivery("a", "a1"));
    // Of a repository one at a time.
    assert_eq!(queue.take().unwrap().delivery.id, "b1");
    queue.done(&first).unwrap();
    assert_eq!(queue.take().unwrap().delivery.id, "a2");
    drop(queue);
    let again = Queue::open(folder.path()).unwrap();
    assert!(again.knows("a1") && again.knows("a3"));
    assert_eq!(again.depth().0, 3);
    let order: Vec<String> = (0..3)
        .map(|_| {
            let taken = again.take().unwrap();
            again.done(&taken).unwrap();
            taken.delivery.id
        })
        .collect();
    assert_eq!(order, ["b1", "a2", "a3"]);
}

#[test]
fn a_repository_that_rests_holds_up_no_other() {
    let folder = TempDir::new().unwrap();
    let queue = Queue::open(folder.path()).unwrap();
    for id in ["a1", "a2", "b1"] {
        queue.add(delivery(&id[..1], id)).unwrap();
    }
    let taken = queue.take().unwrap();
    queue.later(&taken, Duration::from_millis(300));
    assert_eq!(queue.take().unwrap().delivery.id, "b1");
    // The one that failed comes first again, not its successor.
    let again = queue.take().unwrap();
    assert_eq!((again.delivery.id.as_str(), again.attempts), ("a1", 1));
}

#[test]
fn an_end_that_was_cut_off_is_left_out_and_damage_is_told() {
    let folder = TempDir::new().unwrap();
    let queue = Queue::open(folder.path()).unwrap();
    queue.add(delivery("a", "a1")).unwrap();
    queue.add(delivery("a", "a2")).unwrap();
    drop(queue);
    let file = journal(folder.path());
    let whole = std::fs::read(&file).unwrap();
    // As if the power went while the second was written.
    for cut in [1, 10, 40] {
        std::fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let queue = Queue::open(folder.path()).unwrap();
        assert_eq!(queue.depth().0, 1);
        assert_eq!(queue.add(delivery("a", "a2")).unwrap(), Receipt::Accepted);
        drop(queue);
        let queue = Queue::open(folder.path()).unwrap();
        assert_eq!(queue.depth().0, 2);
    }
    // A bit that turned in the middle is no crash.
    let mut damaged = whole.clone();
    let middle = damaged.windows(2).position(|pair| pair == b"a1").unwrap();
    damaged[middle] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    assert!(matches!(Queue::open(folder.path()), Err(JournalError::Damaged { .. })));
    // Bytes after the end that are no record.
    std::fs::write(&file, &whole).unwrap();
    OpenOptions::new().append(true).open(&file).unwrap().write_all(&[0; 512]).unwrap();
    assert_eq!(Queue::open(folder.path()).unwrap().depth().0, 2);
}

#[test]
fn many_at_once_are_kept_each_once() {
    let folder = TempDir::new().unwrap();
    let queue = Queue::open(folder.path()).unwrap();
    let accepted = Mutex::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (queue, accepted) = (&queue, &accepted);
            scope.spawn(move || {
                // Each id is handed in by two threads.
                for number in 0..100 {
                    let id = format!("r{}-{number}", thread / 2);
                    loop {
                        match queue.add(delivery(&id[..2], &id)) {
                            Ok(receipt) => break *accepted.lock().unwrap() += usize::from(receipt == Receipt::Accepted),
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                }
            });
        }
    });
    assert_eq!((*accepted.lock().unwrap(), queue.depth().0), (400, 400));
    drop(queue);
    assert_eq!(Queue::open(folder.path()).unwrap().depth().0, 400);
}
