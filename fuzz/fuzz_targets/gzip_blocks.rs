//! `targets::repository::gzip_blocks` for libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::repository::gzip_blocks(bytes));
