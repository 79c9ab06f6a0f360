//! The questions, one function each.
//!
//! Invariant: a question that the store answers with "no such thing" is answered; one that fails otherwise is an error.

use std::sync::Barrier;
use std::time::Duration;

use bytes::Bytes;

use super::super::{ErrorKind, PutMode, StoreError};
use super::lag::{LONGEST, measure};
use super::scratch::Scratch;
use super::{Abilities, Depth, Doors, Further, Parts, RACERS, Support};

/// Why no answer came.
pub(super) enum Stopped {
    /// The probe was asked to stop.
    Asked,
    /// The store failed.
    Failed(StoreError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Most races. A store that looks first and writes a moment later is now and then right by chance: two rounds missed one.
const ROUNDS: usize = 12;

/// Bytes of an object that is raced for: time enough between such a store's look and its writing.
const RACED: usize = 64 << 10;

/// Lengths of objects that must come back as they were: nothing, a byte, less and more than a block of a signed upload.
const LENGTHS: [usize; 4] = [0, 1, 70_000, 1 << 20];

/// The smallest length of a part that is not the last (S3 `UploadPart`).
const PART: usize = 5 << 20;

pub(super) fn ask(doors: &Doors, scratch: &Scratch<'_>, depth: Depth) -> Result<Abilities, Stopped> {
    // First, because what fails here fails for want of access, not of an ability.
    let altered = alters(doors, scratch)?;
    let create = creates(doors, scratch)?;
    let winners = if create == Support::Honoured { races(doors, scratch)? } else { Vec::new() };
    let replace = replaces(doors, scratch)?;
    let further = if depth == Depth::Thorough { Some(further(doors, scratch)?) } else { None };
    let gristmill = env!("CARGO_PKG_VERSION").to_owned();
    Ok(Abilities { gristmill, endpoint: doors.endpoint.clone(), create, winners, replace, altered, further })
}

/// Bytes that no store could guess or shorten.
fn content(length: usize) -> Bytes {
    (0..length as u64).map(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// How an object comes back that is not as it was sent.
fn alters(doors: &Doors, scratch: &Scratch<'_>) -> Result<Option<String>, Stopped> {
    for length in LENGTHS {
        let (key, sent) = (scratch.key(&format!("bytes-{length}"))?, content(length));
        doors.store.put(&key, sent.clone(), PutMode::Overwrite)?;
        // Where objects appear with a lag it is the lag that is to be told, not a loss.
        measure(LONGEST, || Ok(doors.store.head(&key)?.is_some()))?;
        let told = doors.store.head(&key)?;
        if told != Some(length as u64) {
            let told = told.map_or("is said to be absent".to_owned(), |told| format!("is said to have {told}"));
            return Ok(Some(format!("an object of {length} bytes {told}")));
        }
        let got = doors.store.get(&key)?.unwrap_or_default();
        if got != sent {
            return Ok(Some(format!("an object of {length} bytes came back as {} other ones", got.len())));
        }
    }
    Ok(None)
}

fn creates(doors: &Doors, scratch: &Scratch<'_>) -> Result<Support, Stopped> {
    let key = scratch.key("create")?;
    let create = |content: &'static str| doors.store.put(&key, Bytes::from_static(content.as_bytes()), PutMode::Create);
    match create("first") {
        Ok(()) => {}
        Err(error) if error.kind == ErrorKind::Other => return Ok(Support::Refused),
        Err(error) => return Err(error.into()),
    }
    judge(create("second"))
}

/// What a put tells that had to fail.
fn judge(put: Result<(), StoreError>) -> Result<Support, Stopped> {
    match put {
        Ok(()) => Ok(Support::Ignored),
        Err(error) if error.kind == ErrorKind::Exists => Ok(Support::Honoured),
        Err(error) if error.kind == ErrorKind::Other => Ok(Support::Refused),
        Err(error) => Err(error.into()),
    }
}

/// Races until one has more than one winner, or there were enough.
fn races(doors: &Doors, scratch: &Scratch<'_>) -> Result<Vec<usize>, Stopped> {
    let mut winners = Vec::new();
    while winners.len() < ROUNDS && winners.iter().all(|&won| won <= 1) {
        winners.push(race(doors, scratch, winners.len())?);
    }
    Ok(winners)
}

/// How many of several that create one object at the same moment are told that they did.
fn race(doors: &Doors, scratch: &Scratch<'_>, round: usize) -> Result<usize, Stopped> {
    let key = scratch.key(&format!("race-{round}"))?;
    let start = Barrier::new(RACERS);
    let body = |number: usize| Bytes::from(format!("racer {number} ").repeat(RACED / 8));
    let run = |number: usize| {
        let body = body(number);
        start.wait();
        doors.store.put(&key, body, PutMode::Create)
    };
    let run = &run;
    let results: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|number| scope.spawn(move || run(number))).collect();
        let lost = || Err(StoreError::new(ErrorKind::Other, &key, "a racer of the probe broke down"));
        racers.into_iter().map(|racer| racer.join().unwrap_or_else(|_| lost())).collect()
    });
    let won: Vec<usize> = (0..RACERS).filter(|&number| matches!(results.get(number), Some(Ok(())))).collect();
    let failed = results.into_iter().filter_map(Result::err).find(|error| error.kind != ErrorKind::Exists);
    match (won.as_slice(), failed) {
        ([], Some(error)) => Err(error.into()),
        // Another's bytes under the only winner's key: somebody who was told that he lost has won as well.
        (&[one], _) if doors.store.get(&key)? != Some(body(one)) => Ok(2),
        (winners, _) => Ok(winners.len()),
    }
}

fn replaces(doors: &Doors, scratch: &Scratch<'_>) -> Result<Support, Stopped> {
    let Some(conditional) = &doors.conditional else { return Ok(Support::Refused) };
    let key = scratch.key("replace")?;
    doors.store.put(&key, Bytes::from_static(b"first"), PutMode::Overwrite)?;
    let Some((_, first)) = conditional.read(&key)? else { return Ok(Support::Refused) };
    doors.store.put(&key, Bytes::from_static(b"second"), PutMode::Overwrite)?;
    let outdated = judge(conditional.replace(&key, Bytes::from_static(b"third"), &first))?;
    if outdated != Support::Honoured {
        return Ok(outdated);
    }
    // A store that refuses every version has no use for any.
    let Some((_, now)) = conditional.read(&key)? else { return Ok(Support::Refused) };
    match conditional.replace(&key, Bytes::from_static(b"third"), &now) {
        Ok(()) => Ok(Support::Honoured),
        Err(error) if matches!(error.kind, ErrorKind::Exists | ErrorKind::Other) => Ok(Support::Refused),
        Err(error) => Err(error.into()),
    }
}

fn further(doors: &Doors, scratch: &Scratch<'_>) -> Result<Further, Stopped> {
    let key = scratch.key("lag/a")?;
    doors.store.put(&key, Bytes::from_static(b"old"), PutMode::Overwrite)?;
    let folder = key.strip_suffix("/a").unwrap_or_default();
    let unlisted = measure(LONGEST, || Ok(doors.store.list(folder, 9)?.contains(&key)))?;
    doors.store.put(&key, Bytes::from_static(b"new"), PutMode::Overwrite)?;
    let stale = measure(LONGEST, || Ok(doors.store.get(&key)?.as_deref() == Some(b"new")))?;
    doors.store.delete(&key)?;
    let undeleted = measure(LONGEST, || Ok(doors.store.get(&key)?.is_none()))?;
    Ok(Further { stale, unlisted, undeleted, parts: parts(doors, scratch)?, unfinished: unfinished(doors, scratch)? })
}

fn parts(doors: &Doors, scratch: &Scratch<'_>) -> Result<Parts, Stopped> {
    let Some(uploads) = &doors.uploads else { return Ok(Parts::Needless) };
    let (key, sent) = (scratch.key("parts")?, content(PART + 100));
    match uploads.in_parts(&key, &[sent.slice(..PART), sent.slice(PART..)]) {
        Err(error) if matches!(error.kind, ErrorKind::Other | ErrorKind::Integrity | ErrorKind::Exists) => {
            return Ok(Parts::Broken(error.message));
        }
        done => done?,
    }
    measure(LONGEST, || Ok(doors.store.head(&key)?.is_some()))?;
    let got = doors.store.get(&key)?.unwrap_or_default();
    let broken = || Parts::Broken(format!("{} bytes came back as {} other ones", sent.len(), got.len()));
    Ok(if got == sent { Parts::Whole } else { broken() })
}

/// A pause in which an upload that was begun must appear.
const SOON: Duration = Duration::from_secs(2);

fn unfinished(doors: &Doors, scratch: &Scratch<'_>) -> Result<Support, Stopped> {
    let Some(uploads) = &doors.uploads else { return Ok(Support::Refused) };
    // Who may write may still not be allowed to list.
    let has_none = |error: &StoreError| matches!(error.kind, ErrorKind::Other | ErrorKind::Forbidden);
    let upload = match uploads.begin(&scratch.key("unfinished")?, content(100)) {
        Err(error) if has_none(&error) => return Ok(Support::Refused),
        upload => upload?,
    };
    scratch.begun(&upload);
    let is_listed = || match uploads.unfinished() {
        Err(error) if has_none(&error) => Ok(None),
        found => found.map(|found| Some(found.iter().any(|one| one.id == upload.id))),
    };
    if is_listed()?.is_none() {
        return Ok(Support::Refused);
    }
    let listed = measure(SOON, || Ok(is_listed()? == Some(true)))?;
    uploads.abort(&upload)?;
    let gone = measure(SOON, || Ok(is_listed()? == Some(false)))?;
    let ended = |lag| !matches!(lag, super::Lag::Longer(_));
    Ok(if ended(listed) && ended(gone) { Support::Honoured } else { Support::Ignored })
}
