//! Files that live no longer than the run, in TMPDIR or in the backup directory. What goes wrong
//! there is no fault of what is read.

use std::env;
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, ErrorKind, words};
use crate::io::OWN_PREFIX;
use crate::text::size;

/// What the operator can do where TMPDIR fails.
const HINT: &str = "TMPDIR names a directory for temporary files that can be written and has room";

/// TMPDIR, where commands make such files that must not write to the backup directory.
pub(crate) fn scratch_dir() -> PathBuf {
    let directory = env::temp_dir();
    // A variable that is empty is none.
    match directory.as_os_str().is_empty() {
        true => PathBuf::from("/tmp"),
        false => directory,
    }
}

/// A directory that goes away with its value, and that nobody else can look into: what is in it may
/// be private where it came from.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn private_dir_in(parent: &Path) -> io::Result<TempDir> {
    private_dir_named(parent, OWN_PREFIX)
}

/// The same with a name that begins so.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn private_dir_named(parent: &Path, prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent)
}

/// A temporary file could not be made or written.
#[derive(Debug)]
struct ScratchError {
    directory: PathBuf,
    /// Bytes that are wanted, and how many there is room for, where that was asked before anything
    /// was written.
    room: Option<(u64, u64)>,
    error: io::Error,
}

impl ScratchError {
    fn is_tmpdir(&self) -> bool {
        self.directory == scratch_dir()
    }
}

impl fmt::Display for ScratchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = match self.is_tmpdir() {
            true => format!("TMPDIR ({})", self.directory.display()),
            false => self.directory.display().to_string(),
        };
        match (self.room, self.error.kind()) {
            (Some((wanted, room)), _) => write!(
                f,
                "{directory} has room for {}, and a temporary file of {} is needed",
                size(room),
                size(wanted)
            ),
            (None, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                write!(f, "{directory} is full")
            }
            _ => write!(f, "cannot write a temporary file in {directory}"),
        }
    }
}

impl std::error::Error for ScratchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// An error of making or writing a file in `directory`, which it names. It keeps its kind, and the
/// system's error as its cause.
pub(crate) fn in_scratch(directory: &Path, error: io::Error) -> io::Error {
    let directory = directory.to_owned();
    io::Error::new(
        error.kind(),
        ScratchError {
            directory,
            room: None,
            error,
        },
    )
}

/// The error for a file of `wanted` bytes in a directory that has room for `room`.
pub(crate) fn no_room(directory: &Path, wanted: u64, room: u64) -> io::Error {
    let error = io::Error::from(rustix::io::Errno::NOSPC);
    let directory = directory.to_owned();
    io::Error::new(
        error.kind(),
        ScratchError {
            directory,
            room: Some((wanted, room)),
            error,
        },
    )
}

/// The fault for an error of this module that stands anywhere in the chain.
pub(crate) fn scratch_fault(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // The source of such an error is the system's: the link between stands inside.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(scratch) = inside.and_then(|inside| inside.downcast_ref::<ScratchError>()) {
            let fault = ErrorKind::Failed.error(format!("{scratch}: {}", words(&scratch.error)));
            return Some(match scratch.is_tmpdir() {
                true => fault.hint(HINT),
                false => fault,
            });
        }
        cause = error.source();
    }
    None
}

/// The error for a file that could not be made or written in `directory`.
pub(crate) fn scratch_error(directory: &Path, error: io::Error) -> anyhow::Error {
    scratch_words(in_scratch(directory, error))
}

/// An error, or the fault for one of this module in it.
pub(crate) fn scratch_words(error: io::Error) -> anyhow::Error {
    scratch_fault(&error).map_or_else(|| error.into(), Into::into)
}

/// Fails where `directory` has no room for a file of so many bytes, as far as its file system says.
///
/// # Errors
///
/// When it has not.
pub(crate) fn ensure_scratch_room(directory: &Path, bytes: u64) -> io::Result<()> {
    // Where the file system does not say, writing will.
    let Ok(system) = rustix::fs::statvfs(directory) else {
        return Ok(());
    };
    let room = system.f_bavail.saturating_mul(system.f_frsize);
    match bytes > room && system.f_blocks > 0 {
        true => Err(no_room(directory, bytes, room)),
        false => Ok(()),
    }
}

/// Whether the system, the disk say, is at fault, and not what was read.
pub(crate) fn is_of_system(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.raw_os_error().is_some())
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A file without a name, for one member at a time.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    directory: PathBuf,
    size: u64,
}

impl Spool {
    /// An empty one, in a directory.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn new_in(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(directory).map_err(|error| in_scratch(directory, error))?,
            directory: directory.to_owned(),
            size: 0,
        })
    }

    /// Makes it empty again.
    pub(crate) fn clear(&mut self) {
        self.size = 0;
    }

    /// Looks whether there is room for so many bytes. A compressed file can claim any number, and
    /// others write there too.
    ///
    /// # Errors
    ///
    /// When there is not.
    pub(crate) fn want(&self, bytes: u64) -> io::Result<()> {
        // What earlier members took is used again.
        let own = self.file.metadata()?.len();
        if bytes <= own {
            return Ok(());
        }
        // Where the file system does not say, writing will.
        let Ok(system) = rustix::fs::fstatvfs(&self.file) else {
            return Ok(());
        };
        let room = system.f_bavail.saturating_mul(system.f_frsize);
        let room = room.saturating_add(own);
        match bytes > room && system.f_blocks > 0 {
            true => Err(no_room(&self.directory, bytes, room)),
            false => Ok(()),
        }
    }

    /// The file, which may be longer than what is in it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes in it.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.size);
        let count = written.map_err(|error| in_scratch(&self.directory, error))?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_tmpdir_is_named_in_any_chain_and_is_the_systems_fault() {
        let full = || io::Error::from(rustix::io::Errno::NOSPC);
        let error = in_scratch(&scratch_dir(), full());
        assert!(is_of_system(&error));
        let error = anyhow::Error::new(error).context("reading x.tar.gz");
        let fault = scratch_fault(error.as_ref()).expect("a fault");
        let tmpdir = scratch_dir();
        assert!(
            fault
                .message
                .starts_with(&format!("TMPDIR ({}) is full: no space", tmpdir.display()))
        );
        assert_eq!(fault.hint.as_deref(), Some(HINT));
        let elsewhere = in_scratch(Path::new("/b/.snap/x.files"), full());
        let fault = scratch_fault(&elsewhere).expect("a fault");
        assert_eq!(fault.hint, None);
        assert!(fault.message.starts_with("/b/.snap/x.files is full"));
        assert!(scratch_fault(&full()).is_none());
    }
}
