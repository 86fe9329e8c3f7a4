//! SHA-256, as records hold it.

use std::io::{self, Read};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::store::Store;
use crate::cancel::Cancel;

/// A digest in lower-case hexadecimal.
pub(crate) fn hex(digest: Sha256) -> String {
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256_of(store: &dyn Store, name: &str, cancel: &Cancel) -> Result<String> {
    let read = || -> io::Result<String> {
        let mut file = store.open(name)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            cancel.check().map_err(io::Error::other)?;
            match file.read(&mut buffer)? {
                0 => return Ok(hex(digest)),
                count => digest.update(&buffer[..count]),
            }
        }
    };
    let result = read();
    cancel.check()?;
    result.with_context(|| format!("reading {}", store.place_of(name)))
}
