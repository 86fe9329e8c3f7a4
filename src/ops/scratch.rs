//! The directory for files that live no longer than the run: TMPDIR. What goes wrong there is no fault of what is read.

use std::env;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error::{Class, Fault};

/// Where files without a name are made.
pub fn scratch_dir() -> PathBuf {
    env::temp_dir()
}

/// A failure to make or write a file in [`scratch_dir`].
#[derive(Debug)]
struct ScratchError {
    error: io::Error,
}

impl fmt::Display for ScratchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = scratch_dir();
        let directory = directory.display();
        match self.error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                write!(f, "TMPDIR ({directory}) is full")
            }
            _ => write!(f, "cannot write a temporary file in TMPDIR ({directory})"),
        }
    }
}

impl Error for ScratchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// An error of making or writing a file in [`scratch_dir`], with its name. It keeps its kind, and the system's error as its cause.
pub fn in_scratch(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), ScratchError { error })
}

/// The fault for an error that [`in_scratch`] made, wherever it stands in the chain: the operator can name another directory.
pub fn scratch_fault(error: &(dyn Error + 'static)) -> Option<Fault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref());
        let scratch = inner
            .and_then(|inner| inner.downcast_ref::<ScratchError>())
            .or_else(|| error.downcast_ref::<ScratchError>());
        if let Some(scratch) = scratch {
            let fault = Class::Failed.error(format!("{scratch}: {}", scratch.error));
            return Some(fault.hint(
                "TMPDIR names the directory for temporary files: it takes the largest file of a shard for each job (-jobs)",
            ));
        }
        cause = error.source();
    }
    None
}
