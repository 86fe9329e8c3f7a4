//! What a store does for those that write: files grow under names that nobody reads, and get their
//! final names when they are whole. Object storage has no names of that kind: an object appears
//! under its final name, whole.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{Folder, Store};
use crate::cancel::Cancel;
use crate::repository::set_id::SetId;

/// A repository that can be written to. Whoever does has its lock, where it has one.
///
/// Each method is one step: a run that is killed has done it or has not. Commits and removals take
/// their steps in an order in which what is there at any time is a backup or none. No file of a set
/// is ever replaced; only a pin, and what a run notes for the next one, may be.
pub(crate) trait WritableStore: Store {
    /// Whether one run at a time can write. Where there is no lock, as in object storage, files have
    /// their final names as soon as they are whole, and runs keep out of each other's way by claims.
    fn has_lock(&self) -> bool {
        true
    }

    /// How old a file has to be that no record names, and what names it instead, before it may be
    /// removed: longer than a run takes, where runs do not lock each other out.
    fn grace(&self) -> Duration {
        Duration::ZERO
    }

    /// Locks the repository, which is made where it is absent, waiting for up to `wait`. A store
    /// without locks gives one that keeps nobody out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`](crate::error::ErrorKind::Locked) when another run holds the lock.
    fn lock(&self, wait: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>>;

    /// Makes room for the staged files of a set: a folder of their own, or that of an earlier run
    /// with all that is in it.
    ///
    /// # Errors
    ///
    /// When that cannot be made.
    fn stage(&self, set: &SetId, earlier: Option<&SetId>) -> Result<()>;

    /// A fresh file to write to, which is to be called `name` in the end: under a name that no other
    /// has among the staged ones of the set, or under `name` itself. There the whole content appears
    /// when the file is sealed, and takes the place of what the same run sealed there before, and
    /// may be reading still: of a shard without its deleted points, say.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    fn create(&self, set: &SetId, name: &str) -> Result<Box<dyn StagedObject>>;

    /// A file for the set that is another's very own, without a copy of its content. Gives its name:
    /// of a staged file, or `name` itself where a file cannot have two names. Then the set's record
    /// names the file of the other set.
    ///
    /// # Errors
    ///
    /// Where there can be none; then it has to be copied.
    fn share(&self, name: &str, set: &SetId) -> Result<String>;

    /// A local directory for files that are wanted while a set is written.
    fn scratch(&self, _set: &SetId) -> PathBuf {
        std::env::temp_dir()
    }

    /// Why no file of the set can be called like this, where that is so.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    fn try_name(&self, _set: &SetId, _file: &str) -> Result<Option<io::Error>> {
        Ok(None)
    }

    /// Adds to the end of a file of this run's own, which is made where it is absent. What was
    /// added need not outlast the machine. Storage that cannot add to a file writes another one,
    /// and [`Store::open_appended`] reads them as one; it may do so some seconds later, unless that
    /// is a blank line, with which it writes all there is.
    ///
    /// # Errors
    ///
    /// When it cannot be added; a part of it may be there then.
    fn append(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Writes a file so that its name has the whole content, or what it had, and lasts.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or may not last.
    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()>;

    /// Gives a sealed staged file its final name. A file that has its final name from the beginning
    /// is never given one.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] where the name is taken, and is left alone.
    fn give_name(&self, staged: &str, name: &str) -> io::Result<()>;

    /// Takes back a name that this run has given: nothing has it then, and the staged file is there
    /// as before.
    ///
    /// # Errors
    ///
    /// When it cannot be taken back.
    fn take_back(&self, name: &str, staged: &str) -> Result<()>;

    /// Takes the record of a set away from all that read it, and keeps what it says under the name
    /// `removal`; `false`, and nothing is done, where somebody holds it. Where nothing can be
    /// renamed, `removal` is written first, unless it is there, and then the record goes; another
    /// run may have done either.
    ///
    /// # Errors
    ///
    /// When the record cannot be opened or taken away.
    fn retire(&self, record: &str, removal: &str) -> Result<bool>;

    /// Removes a file that may not be there.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed; a [`Refusal`] where the storage forbids it.
    fn remove(&self, name: &str) -> Result<()>;

    /// Removes all whose names begin with `name` and a slash; there may be nothing.
    ///
    /// # Errors
    ///
    /// When something is there and cannot be removed; a [`Refusal`] where the storage forbids it.
    fn remove_tree(&self, name: &str) -> Result<()>;

    /// Makes last what was done to the names in a folder: a power failure afterwards undoes none of
    /// it, so nothing that is done later can be there without it.
    ///
    /// # Errors
    ///
    /// When it may not last.
    fn settle(&self, folder: Folder<'_>) -> Result<()>;

    /// Removes what killed runs were writing as a whole, and has no name of a file yet; not what is
    /// younger than the grace period.
    ///
    /// # Errors
    ///
    /// When something is there and cannot be removed.
    fn abort_stale(&self) -> Result<()> {
        Ok(())
    }
}

/// [`WritableStore::retire`] where nothing can be renamed. Another run may be about to do the same,
/// or have done it.
///
/// # Errors
///
/// When the record cannot be read or taken away, or the removal not be written.
#[cfg(any(test, feature = "object-store"))]
pub(super) fn retire_in_steps(
    store: &dyn WritableStore,
    record: &str,
    removal: &str,
) -> Result<()> {
    announce(store, record, removal)?;
    store.remove(record)
}

/// Writes the `removal` of a set that has a record still, unless it is there.
///
/// # Errors
///
/// When the record cannot be read, or the removal not be written.
pub(crate) fn announce(store: &dyn WritableStore, record: &str, removal: &str) -> Result<()> {
    let mut content = Vec::new();
    let read = store.open(record);
    match read.and_then(|mut record| io::copy(&mut record, &mut content)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    if store.entry(removal)?.is_none() {
        let written = store.write_whole(removal, &mut |out| out.write_all(&content));
        if written.is_err() && store.entry(removal)?.is_none() {
            return written;
        }
    }
    Ok(())
}

/// That storage forbids to remove a file: it is locked for a while, or the right to is lacking.
/// That is no failure of a run, but what is kept has to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(
    /// Why, as `locked until 2026-12-24T00:00:00Z` or `no right to delete`.
    pub String,
);

impl Refusal {
    /// The refusal in an error, if it is one.
    pub(crate) fn of(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|cause| cause.downcast_ref())
    }
}

/// What came of a removal that the storage may forbid.
///
/// # Errors
///
/// All that are no [`Refusal`].
pub(crate) fn tolerated(removal: Result<()>) -> Result<Option<Refusal>> {
    match removal {
        Ok(()) => Ok(None),
        Err(error) => match Refusal::of(&error) {
            Some(refusal) => Ok(Some(refusal.clone())),
            None => Err(error),
        },
    }
}

/// What writes the content of a file.
pub(crate) type Content<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// The lock of a repository, which others can have when this is dropped.
pub(crate) trait StoreLock: fmt::Debug + Send + Sync {
    /// What the storage lacks of what a run relies on, a sentence each.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Removes what was made to take the lock, the repository itself if nothing else is in it. To
    /// be called before it is dropped by a run that leaves nothing.
    fn abandon(&mut self) {}
}

/// A staged file that takes bytes, and goes away when it is dropped before it is sealed.
pub(crate) trait StagedObject: Write + fmt::Debug + Send + Sync {
    /// Makes the content last; gives the name of the file.
    ///
    /// # Errors
    ///
    /// When it may not last.
    fn seal(self: Box<Self>) -> Result<String>;
}
