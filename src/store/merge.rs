//! Many small ranges into few requests, and their answers back into ranges.
//!
//! Pure but for the fetching function it is given. Invariant: every byte asked for is fetched exactly once per call, and a
//! request is never longer than [`LONGEST`].

use std::future::Future;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};

use super::{ErrorKind, StoreError};

/// Ranges closer than this are fetched in one request: a gap costs less than a round trip.
const GAP: u64 = 64 << 10;

/// Longest request: the unit of parallel fetching, and of what a broken connection can cost.
const LONGEST: u64 = 8 << 20;

/// Checks ranges against the length of the file, before anything is allocated for them.
pub(super) fn check(url: &str, ranges: &[Range<u64>], size: u64) -> Result<(), StoreError> {
    let Some(bad) = ranges.iter().find(|range| range.start > range.end || range.end > size) else { return Ok(()) };
    let message = if bad.start > bad.end {
        format!("asked for bytes {} to {}, which is backwards; the file's index is damaged", bad.start, bad.end)
    } else {
        format!("bytes {} to {} were asked for, but the file ends at {size}; it is truncated or damaged: fetch it anew", bad.start, bad.end)
    };
    Err(StoreError::new(ErrorKind::Integrity, url, message))
}

/// Fetches ranges through `fetch`, which fills the buffer it is given, at most `together` at once; the answers in the order asked.
///
/// The pieces of one span share one allocation, so that joining them copies nothing.
pub(super) async fn fetch_all<F, A>(url: &str, ranges: &[Range<u64>], together: usize, fetch: F) -> Result<Vec<Bytes>, StoreError>
where
    F: Fn(Range<u64>, BytesMut) -> A,
    A: Future<Output = Result<BytesMut, StoreError>>,
{
    let spans = spans(ranges);
    let pieces: Vec<(Range<u64>, BytesMut)> = spans.iter().flat_map(pieces).collect();
    let whole = |range: Range<u64>, buffer: BytesMut| async {
        let length = range.end - range.start;
        let bytes = fetch(range, buffer).await?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(wrong_length(url)) }
    };
    let fetched = stream::iter(pieces).map(|(range, buffer)| whole(range, buffer)).buffered(together.max(1));
    let mut fetched = fetched.try_collect::<Vec<BytesMut>>().await?.into_iter();
    let answers: Vec<Bytes> = spans.iter().map(|span| join(fetched.by_ref().take(cut(span).len()))).collect();
    Ok(ranges.iter().map(|range| gather(range, &spans, &answers, ranges.len())).collect())
}

/// Requests that fetching these ranges takes, and the bytes they bring.
pub(super) fn cost(ranges: &[Range<u64>]) -> (u64, u64) {
    let spans = spans(ranges);
    (spans.iter().map(|span| cut(span).len() as u64).sum(), spans.iter().map(|span| span.end - span.start).sum())
}

fn wrong_length(url: &str) -> StoreError {
    StoreError::new(ErrorKind::Integrity, url, "the server's answer is not as long as the range asked for")
}

/// The parts of a file that must be fetched: in order, apart from each other by more than [`GAP`].
fn spans(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().filter(|range| range.start < range.end).collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match spans.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => spans.push(range.clone()),
        }
    }
    spans
}

/// The requests for a span, each with its part of the span's memory.
fn pieces(span: &Range<u64>) -> Vec<(Range<u64>, BytesMut)> {
    let mut rest = BytesMut::with_capacity((span.end - span.start) as usize);
    let mut pieces = Vec::new();
    for range in cut(span) {
        let after = rest.split_off((range.end - range.start) as usize);
        pieces.push((range, std::mem::replace(&mut rest, after)));
    }
    pieces
}

fn cut(span: &Range<u64>) -> Vec<Range<u64>> {
    let pieces = (span.end - span.start).div_ceil(LONGEST);
    let edge = |piece: u64| span.start.saturating_add(piece.saturating_mul(LONGEST)).min(span.end);
    (0..pieces).map(|piece| edge(piece)..edge(piece + 1)).collect()
}

fn join(parts: impl Iterator<Item = BytesMut>) -> Bytes {
    let whole = parts.reduce(|mut whole, part| {
        whole.unsplit(part);
        whole
    });
    whole.unwrap_or_default().freeze()
}

/// One range out of the span that holds it.
fn gather(range: &Range<u64>, spans: &[Range<u64>], answers: &[Bytes], neighbours: usize) -> Bytes {
    let number = spans.partition_point(|span| span.end < range.end);
    match spans.get(number).zip(answers.get(number)).filter(|_| range.start < range.end) {
        None => Bytes::new(),
        Some((span, answer)) => keep(answer, (range.start - span.start) as usize..(range.end - span.start) as usize, neighbours),
    }
}

/// A slice shares its span's memory; one that is a small part of it is copied, so that it does not keep the rest alive.
fn keep(answer: &Bytes, inside: Range<usize>, neighbours: usize) -> Bytes {
    let share = answer.len() / neighbours.max(1) / 2;
    if inside.len() < share { Bytes::copy_from_slice(&answer[inside]) } else { answer.slice(inside) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fetch(ranges: &[Range<u64>], file: &[u8]) -> Vec<Bytes> {
        let one = |range: Range<u64>, mut buffer: BytesMut| {
            assert!(range.end - range.start <= LONGEST && buffer.is_empty());
            buffer.extend_from_slice(&file[range.start as usize..range.end as usize]);
            std::future::ready(Ok(buffer))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fetch_all("u", ranges, 3, one)).unwrap()
    }

    #[test]
    fn neighbours_share_a_request_and_strangers_do_not() {
        assert_eq!(spans(&[200_000..200_010, 0..10, 20..30]), [0..30, 200_000..200_010]);
        assert_eq!(cut(&(5..LONGEST + 6)), [5..LONGEST + 5, LONGEST + 5..LONGEST + 6]);
        assert!(spans(&[5..5]).is_empty());
        assert_eq!((cost(&[200_000..200_010, 0..10, 20..30]), cost(&[0..LONGEST + 1])), ((2, 40), (2, LONGEST + 1)));
    }

    #[test]
    fn refuses_ranges_outside() {
        assert!(check("u", &[0..10, 3..3], 10).is_ok());
        assert_eq!(check("u", &[0..11], 10).unwrap_err().kind, ErrorKind::Integrity);
        assert!(check("u", &[Range { start: 5, end: 4 }], 10).is_err());
        assert!(check("u", &[0..u64::MAX], 10).is_err());
    }

    #[test]
    fn a_range_longer_than_a_request_is_joined() {
        let file: Vec<u8> = (0..2 * LONGEST + 77).map(|i| (i % 251) as u8).collect();
        let asked = [3..file.len() as u64, LONGEST - 1..LONGEST + 1, 0..1];
        for (range, answer) in asked.iter().zip(fetch(&asked, &file)) {
            assert!(answer == file[range.start as usize..range.end as usize]);
        }
    }

    proptest! {
        #[test]
        fn answers_are_the_file(cuts in proptest::collection::vec((0_u64..400_000, 0_u64..90_000), 0..20)) {
            let file: Vec<u8> = (0..500_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let asked: Vec<Range<u64>> = cuts.into_iter().map(|(start, length)| start..start + length).collect();
            let answers = fetch(&asked, &file);
            prop_assert_eq!(answers.len(), asked.len());
            for (range, answer) in asked.iter().zip(answers) {
                prop_assert!(answer == file[range.start as usize..range.end as usize]);
            }
        }
    }
}
