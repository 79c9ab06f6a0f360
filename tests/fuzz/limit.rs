//! No execution may ask for more memory at once than this: libFuzzer's own limit works with a sanitizer only.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of one allocation: what the program may claim of its 128 MiB, and as much again for what is fixed.
const MOST: usize = 300 << 20;

/// The system's memory, in measure.
struct Measured;

fn check(size: usize) {
    if size > MOST {
        eprintln!("one allocation of {size} bytes");
        std::process::abort();
    }
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static MEMORY: Measured = Measured;
