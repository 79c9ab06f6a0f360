#![no_main]

#[path = "../limit.rs"]
mod limit;
#[path = "../targets/mod.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::recipe(bytes));
