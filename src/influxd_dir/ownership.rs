//! Owner and mode of new files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};

use super::layout::nearest_existing;
use crate::io::durable;
use crate::io::open::open_regular;

/// Whose new files are to be and who may read them, taken from the directory they go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// User and group, where this process may give files away.
    pub owner: Option<(u32, u32)>,
    /// Permission bits of directories.
    pub directory_mode: u32,
    /// Permission bits of files.
    pub file_mode: u32,
}

impl Ownership {
    /// That of files below `target`: owner and mode of the directory, or, where it does not exist,
    /// the owner of the nearest one above it and a mode for the owner alone.
    ///
    /// # Errors
    ///
    /// When the directory cannot be looked at.
    pub(crate) fn below(target: &Path) -> Result<Self> {
        let there = nearest_existing(target);
        let metadata =
            fs::metadata(&there).with_context(|| format!("reading {}", there.display()))?;
        let mode = if there == target {
            metadata.permissions().mode() & 0o777
        } else {
            0o700
        };
        let root = rustix::process::geteuid().is_root();
        Ok(Self {
            owner: root.then(|| (metadata.uid(), metadata.gid())),
            directory_mode: mode | 0o700,
            file_mode: mode & 0o666 | 0o600,
        })
    }

    /// Gives a file its owner and mode. What has the name by then and is a link, or no file, is
    /// refused: whoever may write in its directory could have put it there to be given another's
    /// file.
    ///
    /// # Errors
    ///
    /// Those of the system, and of [`open_regular`].
    pub(crate) fn apply(&self, path: &Path) -> io::Result<()> {
        self.give(&open_regular(path)?)
    }

    /// As [`Ownership::apply`], to an open one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub(crate) fn give(&self, file: &File) -> io::Result<()> {
        self.give_mode(file, self.file_mode)
    }

    fn give_mode(&self, opened: &File, mode: u32) -> io::Result<()> {
        opened.set_permissions(fs::Permissions::from_mode(mode))?;
        match self.owner {
            Some((user, group)) => std::os::unix::fs::fchown(opened, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Makes a directory and those above it; those it made get owner and mode, and their names last.
    ///
    /// # Errors
    ///
    /// When one cannot be made.
    pub(crate) fn create_dirs(&self, path: &Path) -> Result<()> {
        durable::create_dirs(path, |made| self.apply_to_dir(made))
    }

    /// As [`Ownership::create_dirs`], where the names need not last, or are synced later with
    /// others.
    ///
    /// # Errors
    ///
    /// When one cannot be made.
    pub(crate) fn create_unsynced_dirs(&self, path: &Path) -> Result<()> {
        durable::create_unsynced_dirs(path, |made| self.apply_to_dir(made)).map(drop)
    }

    fn apply_to_dir(&self, made: &Path) -> Result<()> {
        // A link is refused here too.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(made, flags, Mode::empty());
        opened
            .map_err(io::Error::from)
            .and_then(|opened| self.give_mode(&File::from(opened), self.directory_mode))
            .with_context(|| format!("setting owner and mode of {}", made.display()))
    }
}
