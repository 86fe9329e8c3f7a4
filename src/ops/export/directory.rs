//! The directory of an export: it gets its name when all files in it are whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::error::{Error, ErrorKind};
use crate::io::durable;

/// A directory that is being filled, under a name that goes with it.
pub(super) struct ExportDirectory {
    path: PathBuf,
    staged: TempDir,
}

impl ExportDirectory {
    /// Begins a directory, which may be there already if nothing is in it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] for one that is not empty, and what is none; those of the system.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let parent = durable::directory_of(path);
        if let Ok(there) = fs::symlink_metadata(path) {
            ensure!(there.is_dir() && is_empty(path)?, is_there(path));
            let above = fs::metadata(parent);
            let above = above.with_context(|| format!("reading {}", parent.display()))?;
            ensure!(
                above.dev() == there.dev(),
                ErrorKind::Refused
                    .error(format!("{} is the root of a file system", path.display()))
                    .hint("name a new directory in it")
            );
        }
        Ok(Self {
            path: path.to_owned(),
            staged: durable::unfinished_dir_in(parent)?,
        })
    }

    /// A new file in it.
    ///
    /// # Errors
    ///
    /// Those of the system, and when it is there.
    pub(super) fn create_file(&self, name: &Path) -> Result<File> {
        let path = self.staged.path().join(name);
        let open = || {
            fs::create_dir_all(durable::directory_of(&path))?;
            let mut options = File::options();
            options
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
        };
        open().with_context(|| self.writing(name))
    }

    /// A file in it, to be written at its end.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(super) fn append(&self, name: &Path) -> Result<File> {
        let mut options = File::options();
        let opened = options.append(true).open(self.staged.path().join(name));
        opened.with_context(|| self.writing(name))
    }

    /// What failed, of a file in it.
    pub(super) fn writing(&self, name: &Path) -> String {
        format!("writing {}", self.path.join(name).display())
    }

    /// Makes all that is in it last, and gives it its name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where something has come to that name, and those of the system.
    pub(super) fn publish(self) -> Result<()> {
        sync_tree(self.staged.path())?;
        match durable::rename_over_empty_dir(self.staged.path(), &self.path) {
            Err(error) if is_taken(&error) => bail!(is_there(&self.path)),
            renamed => renamed.with_context(|| format!("writing {}", self.path.display()))?,
        }
        // It is no longer where it would be removed from.
        let _ = self.staged.keep();
        durable::sync_dir(durable::directory_of(&self.path))
    }
}

/// Makes the files below a directory last, and their names.
fn sync_tree(directory: &Path) -> Result<()> {
    let reading = || format!("reading {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            durable::sync(&file, &path)?;
        }
    }
    durable::sync_dir(directory)
}

fn is_empty(path: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(entries.next().is_none())
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(
        error.kind(),
        AlreadyExists | DirectoryNotEmpty | NotADirectory
    )
}

fn is_there(path: &Path) -> Error {
    ErrorKind::Refused
        .error(format!("{} is there already", path.display()))
        .hint("name another directory, or one that is empty")
}
