//! How a command ended, and the exit code of that.

use anyhow::Result;

use crate::error::{ErrorKind, kind_of};

/// How a command ended: `Ok(Some(…))` where it is done but not wholly well.
pub(crate) type Ending = Result<Option<ErrorKind>>;

/// The exit code of the process.
pub(crate) fn exit_code(ending: &Ending) -> u8 {
    match ending {
        Ok(kind) => kind.map_or(0, ErrorKind::exit_code),
        Err(error) => kind_of(error).exit_code(),
    }
}
