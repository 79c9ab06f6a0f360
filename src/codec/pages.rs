//! Large buffers, on large pages and used again: where a buffer of tens of MB is new for each object, its page faults cost as much as decoding.
//!
//! Linux is asked for pages of 2 MiB before the first byte is touched (`madvise(2)`, `MADV_HUGEPAGE`), and may refuse; elsewhere
//! nothing is asked. Buffers given to a [`Pool`] serve the next objects of their size. Invariants: what a buffer holds does not
//! depend on the system's answer or on what it held before; a pool never makes a program larger than it was at its largest. One
//! `unsafe` call, into the system's C library.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "madvise is a C function"))]

use std::sync::{Mutex, PoisonError};

/// A page of the larger kind on x86-64 and on aarch64 with pages of 4 KiB.
#[cfg(target_os = "linux")]
const PAGE: usize = 2 << 20;
/// Smaller buffers are the allocator's, which keeps those at hand itself.
const POOLED: usize = 1 << 20;

/// Longest piece that is repeated.
const STEP: usize = 64 << 10;

/// Buffers that nobody uses just now.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// [`repeated`], in a buffer that was used before if there is one of about this size. Otherwise all that lie idle are let go,
    /// so that buffers of one size do not pile up beside those of another.
    #[must_use]
    pub fn repeated(&self, element: &[u8], size: usize) -> Vec<u8> {
        match self.take(size) {
            Some(mut buffer) => {
                fill(&mut buffer, element, size);
                buffer
            }
            None => repeated(element, size),
        }
    }

    fn take(&self, size: usize) -> Option<Vec<u8>> {
        if size < POOLED {
            return None;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = idle.iter().rposition(|buffer| (size..=size.saturating_mul(2)).contains(&buffer.capacity()));
        if fits.is_none() {
            idle.clear();
        }
        fits.map(|at| idle.swap_remove(at))
    }

    /// Takes back a buffer, whatever it holds.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() >= POOLED {
            buffer.clear();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }

    /// Lets go of every buffer.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// An empty buffer with room for `bytes`.
#[must_use]
pub fn with_capacity(bytes: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(bytes);
    advise(&mut buffer);
    buffer
}

/// `size` bytes of the same element again and again; zeros if the element is empty or all zero.
#[must_use]
pub fn repeated(element: &[u8], size: usize) -> Vec<u8> {
    if element.iter().all(|&byte| byte == 0) {
        // Not touched yet where they come fresh from the kernel.
        let mut buffer = vec![0; size];
        advise(&mut buffer);
        return buffer;
    }
    let mut buffer = with_capacity(size);
    fill(&mut buffer, element, size);
    buffer
}

/// Writes an element again and again into an empty buffer, up to `size` bytes.
fn fill(buffer: &mut Vec<u8>, element: &[u8], size: usize) {
    match element {
        [] => buffer.resize(size, 0),
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) => buffer.resize(size, *first),
        _ => buffer.extend_from_slice(&element[..element.len().min(size)]),
    }
    while buffer.len() < size {
        // Whole elements double, so the pattern stays in step; no step is so long that it leaves the cache.
        buffer.extend_from_within(..buffer.len().min(size - buffer.len()).min(STEP / element.len().max(1) * element.len().max(1)));
    }
}

#[cfg(target_os = "linux")]
fn advise(buffer: &mut Vec<u8>) {
    let first = buffer.as_ptr().align_offset(PAGE);
    let length = buffer.capacity().saturating_sub(first) / PAGE * PAGE;
    if length > 0 {
        let start = buffer.as_mut_ptr().wrapping_add(first).cast();
        // SAFETY: `first + length` is at most the capacity, so the range lies in an allocation that nobody else holds; the advice
        // changes which pages back it, never what they hold. A refusal (old kernels, no such pages) leaves all as it was.
        unsafe { libc::madvise(start, length, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &mut Vec<u8>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_repeats_to_the_last_byte() {
        for element in [&b""[..], b"\0\0", b"a", b"abc", b"12345678"] {
            for size in [0, 1, 2, 7, 8, 4096, 5 << 20] {
                let buffer = repeated(element, size);
                let byte = |at: usize| element.get(at % element.len().max(1)).copied().unwrap_or(0);
                assert_eq!(buffer.len(), size);
                assert!(buffer.iter().enumerate().all(|(at, &found)| found == byte(at)), "{element:?} {size}");
            }
        }
    }

    #[test]
    fn a_used_buffer_is_as_good_as_a_new_one() {
        let pool = Pool::default();
        for element in [&b""[..], b"\0\0", b"ab", b"12345678"] {
            for size in [3 << 20, 2 << 20, 100] {
                let buffer = pool.repeated(element, size);
                assert!(buffer == repeated(element, size), "{element:?} {size}");
                pool.give(buffer);
            }
        }
    }

    #[test]
    fn idle_buffers_serve_their_size_and_do_not_pile_up() {
        let pool = Pool::default();
        let used = pool.repeated(b"ab", 4 << 20);
        let place = used.as_ptr();
        pool.give(used);
        let again = pool.repeated(b"cd", 3 << 20);
        assert_eq!(again.as_ptr(), place);
        pool.give(again);
        pool.give(vec![0; 100]);
        assert_eq!(pool.0.lock().unwrap().len(), 1);
        drop(pool.repeated(b"ab", 64 << 20));
        assert!(pool.0.lock().unwrap().is_empty());
    }

    #[test]
    fn capacity_is_there() {
        for bytes in [0, 100, 3 << 20, 9 << 20] {
            let buffer = with_capacity(bytes);
            assert!(buffer.is_empty() && buffer.capacity() >= bytes);
        }
    }
}
