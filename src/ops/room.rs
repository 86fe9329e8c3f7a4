//! Whether a file system has room for what a restore is about to write.

use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::error::{Error, ErrorKind, error_in};
use crate::repository::Location;
use crate::text::size;

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
                "{there} has {} free, and {} are needed",
                size(free),
                size(needed)
            ))
            .hint("nothing was written; make room, or restore some databases at a time")
            .into());
    }
    Ok(())
}

/// What is said where a backup fills the disk: nothing of it is left then, so that what is free now
/// is what it had. None for other errors, and for what knows its place: TMPDIR.
pub(super) fn of_full_disk(
    error: &anyhow::Error,
    location: &Location,
    resume: bool,
) -> Option<Error> {
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
    };
    if error_in(error).is_some() || !error.chain().any(is_full) {
        return None;
    }
    let mut there = location.directory()?.ancestors();
    let system = there.find_map(|path| rustix::fs::statvfs(path).ok())?;
    let message = match (system.f_files, system.f_favail) {
        (1.., 0) => format!("{location} is full: its file system has no inodes left"),
        _ => {
            let free = size(system.f_bavail.saturating_mul(system.f_frsize));
            format!("{location} is full: the backup needs more than the {free} that are free")
        }
    };
    let kept = match resume {
        true => "what was finished is kept for the next run with -resume",
        false => "nothing was kept",
    };
    let advice = "make room (snap forget removes old sets), or name another PATH";
    Some(
        ErrorKind::Failed
            .error(message)
            .hint(format!("{kept}; {advice}")),
    )
}
