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

/// Fetches ranges through `fetch`, at most `together` at once; the answers in the order asked.
pub(super) async fn fetch_all<F, A>(url: &str, ranges: &[Range<u64>], together: usize, fetch: F) -> Result<Vec<Bytes>, StoreError>
where
    F: Fn(Range<u64>) -> A,
    A: Future<Output = Result<Bytes, StoreError>>,
{
    let requests = requests(ranges);
    let answers: Vec<Bytes> = stream::iter(requests.iter().cloned()).map(&fetch).buffered(together.max(1)).try_collect().await?;
    if answers.iter().zip(&requests).any(|(answer, request)| answer.len() as u64 != request.end - request.start) {
        return Err(StoreError::new(ErrorKind::Integrity, url, "the server's answer is not as long as the range asked for"));
    }
    Ok(ranges.iter().map(|range| gather(range, &requests, &answers, ranges)).collect())
}

/// The requests that cover all ranges: in order, not overlapping.
fn requests(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().filter(|range| range.start < range.end).collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match spans.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => last.end = last.end.max(range.end),
            _ => spans.push(range.clone()),
        }
    }
    spans.into_iter().flat_map(|span| cut(&span)).collect()
}

fn cut(span: &Range<u64>) -> Vec<Range<u64>> {
    let pieces = (span.end - span.start).div_ceil(LONGEST);
    let edge = |piece: u64| span.start.saturating_add(piece.saturating_mul(LONGEST)).min(span.end);
    (0..pieces).map(|piece| edge(piece)..edge(piece + 1)).collect()
}

/// One range out of the answers that cover it.
fn gather(range: &Range<u64>, requests: &[Range<u64>], answers: &[Bytes], asked: &[Range<u64>]) -> Bytes {
    let first = requests.partition_point(|request| request.end <= range.start);
    let mut parts =
        requests.iter().zip(answers).skip(first).take_while(|(request, _)| request.start < range.end).map(|(request, answer)| {
            let from = range.start.max(request.start) - request.start;
            let to = range.end.min(request.end) - request.start;
            (answer, from as usize..to as usize)
        });
    match (parts.next(), parts.next()) {
        (None, _) => Bytes::new(),
        (Some((answer, inside)), None) => keep(answer, inside, asked.len()),
        (Some(head), Some(next)) => {
            let mut whole = BytesMut::with_capacity((range.end - range.start) as usize);
            [head, next].into_iter().chain(parts).for_each(|(answer, inside)| whole.extend_from_slice(&answer[inside]));
            whole.freeze()
        }
    }
}

/// A slice shares its answer's memory; one that is a small part of it is copied, so that it does not keep the rest alive.
fn keep(answer: &Bytes, inside: Range<usize>, neighbours: usize) -> Bytes {
    let share = answer.len() / neighbours.max(1) / 2;
    if inside.len() < share { Bytes::copy_from_slice(&answer[inside]) } else { answer.slice(inside) }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fetch(ranges: &[Range<u64>], file: &[u8]) -> Vec<Bytes> {
        let one = |range: Range<u64>| {
            assert!(range.end - range.start <= LONGEST);
            std::future::ready(Ok(Bytes::copy_from_slice(&file[range.start as usize..range.end as usize])))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fetch_all("u", ranges, 3, one)).unwrap()
    }

    #[test]
    fn neighbours_share_a_request_and_strangers_do_not() {
        assert_eq!(requests(&[200_000..200_010, 0..10, 20..30]), [0..30, 200_000..200_010]);
        assert_eq!(requests(&[0..LONGEST + 1]), [0..LONGEST, LONGEST..LONGEST + 1]);
        assert!(requests(&[5..5]).is_empty());
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
