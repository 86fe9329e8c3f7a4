//! SHA-256, as records hold it.

use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cancel::Cancel;
use crate::io::open::open_regular;

/// A digest in lower-case hexadecimal.
pub(crate) fn hex(digest: Sha256) -> String {
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn sha256_of(path: &Path, cancel: &Cancel) -> Result<String> {
    let read = || -> io::Result<String> {
        let mut file = open_regular(path)?;
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
    result.with_context(|| format!("reading {}", path.display()))
}
