//! Large buffers on large pages: where a buffer of tens of MB is new for each object, its page faults cost as much as decoding.
//!
//! Not a pool: buffers are the allocator's, and go back to it. Linux is asked for pages of 2 MiB before the first byte is touched
//! (`madvise(2)`, `MADV_HUGEPAGE`), and may refuse; elsewhere nothing is asked. Invariant: what a buffer holds does not depend on
//! the answer. One `unsafe` call, into the system's C library.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "madvise is a C function"))]

/// A page of the larger kind on x86-64 and on aarch64 with pages of 4 KiB.
#[cfg(target_os = "linux")]
const PAGE: usize = 2 << 20;

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
    buffer.extend_from_slice(&element[..element.len().min(size)]);
    while buffer.len() < size {
        // Whole elements double, so the pattern stays in step.
        buffer.extend_from_within(..buffer.len().min(size - buffer.len()));
    }
    buffer
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
    fn capacity_is_there() {
        for bytes in [0, 100, 3 << 20, 9 << 20] {
            let buffer = with_capacity(bytes);
            assert!(buffer.is_empty() && buffer.capacity() >= bytes);
        }
    }
}
