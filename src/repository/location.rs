//! Where a repository lies, as it was named.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Result;

use super::store::{LocalStore, WritableStore};

/// Where a repository lies: a directory. It is shown as it was named. Clones share what was opened.
#[derive(Clone)]
pub struct Location(Arc<Named>);

struct Named {
    directory: PathBuf,
    /// Opened when it is first asked for.
    store: OnceLock<Arc<dyn WritableStore>>,
}

impl Location {
    /// The directory, where it is one of this machine.
    pub fn directory(&self) -> Option<&Path> {
        Some(&self.0.directory)
    }

    /// As it was named.
    pub fn as_os_str(&self) -> &OsStr {
        self.0.directory.as_os_str()
    }

    /// The files that lie there, or will.
    ///
    /// # Errors
    ///
    /// When they cannot be reached at all. That a directory is not there is no error yet.
    pub(super) fn store(&self) -> Result<Arc<dyn WritableStore>> {
        let open = || Arc::new(LocalStore::new(&self.0.directory)) as Arc<dyn WritableStore>;
        Ok(Arc::clone(self.0.store.get_or_init(open)))
    }
}

impl From<PathBuf> for Location {
    fn from(directory: PathBuf) -> Self {
        Self(Arc::new(Named {
            directory,
            store: OnceLock::new(),
        }))
    }
}

impl From<&PathBuf> for Location {
    fn from(directory: &PathBuf) -> Self {
        directory.clone().into()
    }
}

impl From<&Path> for Location {
    fn from(directory: &Path) -> Self {
        directory.to_owned().into()
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.directory.display().fmt(f)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}
