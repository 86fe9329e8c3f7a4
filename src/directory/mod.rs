//! A backup directory: influxd's files, and the hidden folder `.snap` beside them that holds what influxd has no place for.
//!
//! ```text
//! meta.03                       influxd's names, legacy: the meta store and one tar a shard
//! db.autogen.00012.03
//! 20261120T090000Z.manifest     influxd's names, portable: a list, the meta store and one packed tar a shard
//! 20261120T090000Z.meta
//! 20261120T090000Z.s12.tar.gz
//! .snap/20261120T080000Z.json   the record of a set; written last, it is what makes a set count
//! .snap/20261120T080000Z.files/ files of a run that goes on; removed by the run or by the next
//! .snap/20261120T080000Z.commit what a run is about to give final names; undone by the next run if no record followed
//! .snap/20261120T080000Z.forget the record of a set that is being removed; the next run goes on with it
//! .snap/20261120T080000Z.keep   a mark: the set is not to be removed
//! .snap/lock                    held by a run that writes
//! ```

mod contents;
mod growing;
mod leftover;
mod lock;
mod record;
mod removal;
mod staging;
mod upkeep;

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use contents::{BackupFile, Contents, Set, Tar};
pub use growing::{Finished, Growing, GrowingTar};
pub use leftover::{Leftover, Run};
pub use lock::Lock;
pub use record::{
    Content, FileRecord, Layout, MemberRecord, RECORD_FORMAT, Selection, SetRecord, SetState, ShardRecord, ShardState,
};
pub use removal::Removed;
pub(crate) use staging::hex;
pub use staging::{SetFiles, Staging};
pub use upkeep::Upkeep;

/// The hidden folder's name.
const HIDDEN: &str = ".snap";

/// The hidden folder, for what a run must remember and no set holds.
pub(crate) fn hidden(directory: &Path) -> PathBuf {
    directory.join(HIDDEN)
}

/// Makes a directory, and those above it, for the owner alone.
pub(crate) fn create_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| format!("creating {}", path.display()))
}

/// Makes what happened to the names in a directory last.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).with_context(|| format!("syncing {}", path.display()))
}

/// Writes a file so that its name either has the whole content or does not change.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    write_whole_by(path, |file| file.write_all(content))
}

/// As [`write_whole`], with a content that is written piece by piece.
pub(crate) fn write_whole_by(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".snap-").tempfile_in(parent)?;
        let mut buffered = BufWriter::new(&mut file);
        content(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))?;
    sync_dir(parent)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
