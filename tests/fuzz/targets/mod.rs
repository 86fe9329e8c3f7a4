//! What must hold for any bytes whatever, decoder by decoder. The targets for libFuzzer call these
//! functions, and so does the test `fuzz`, which needs no fuzzer.

pub mod metastore;
pub mod repository;
pub mod shard_tar;
pub mod tsm;
pub mod wire;
