//! `targets::block_in_file` for libFuzzer.
#![no_main]

#[path = "../../tests/support/any_bytes.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::block_in_file(bytes));
