//! `targets::repository::meta_file` for libFuzzer.
#![no_main]

#[path = "../../tests/fuzz/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::repository::meta_file(bytes));
