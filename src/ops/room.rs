//! Whether a file system has room for what a restore is about to write.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::error::ErrorKind;

/// Room left free beyond what is written, in bytes: directories, the journal, the file system's
/// own.
const HEADROOM: u64 = 16 << 20;

/// Refuses a directory whose file system has no room for so many bytes.
///
/// # Errors
///
/// [`ErrorKind::Refused`], and those of the system.
pub(super) fn ensure_room(directory: &Path, bytes: u64) -> Result<()> {
    let there = directory.display();
    let system = rustix::fs::statvfs(directory)
        .with_context(|| format!("asking for the free space at {there}"))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let needed = bytes.saturating_add(HEADROOM);
    if free < needed {
        return Err(ErrorKind::Refused
            .error(format!(
                "{there} has {free} bytes free, and {needed} are needed"
            ))
            .hint("nothing was written; make room, or restore some databases at a time")
            .into());
    }
    Ok(())
}
