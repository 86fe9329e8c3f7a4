//! Opening and reading the files of a backup directory, and noting those that are gone meanwhile.

use std::io::{self, Read};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};

use super::super::layout::Layout;
use super::super::manifest;
use super::super::set::Set;
use super::super::store::{StoredFile, read_bounded};
use super::super::tar::Tar;
use super::{BackupFile, Catalog};
use crate::error::{ErrorKind, error_in};
use crate::metastore::Data;
use crate::wire::{MAX_META_BYTES, MetaBlob};

/// Bytes of a metastore's file beside the metastore itself, at most.
pub(crate) const META_FRAME: u64 = 1 << 20;

impl Catalog {
    /// Whether a file is gone that was there.
    pub(crate) fn is_gone(&self, name: &str) -> bool {
        let opened = self.store.open(name);
        opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Reads the metastore of a set: magic or message, lengths and, where they were written down,
    /// size and digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Damage`] with the file's name.
    pub fn read_meta(&self, set: &Set) -> Result<(MetaBlob, Data)> {
        let Some(file) = &set.meta else {
            return Err(self.no_meta(set));
        };
        let place = self.place_of(&file.name);
        let damaged = || ErrorKind::Damage.error(format!("{place} is no metastore"));
        let bytes = self.read_file(&file.name)?;
        let blob = match set.layout() {
            Layout::Legacy => MetaBlob::read_from(&bytes[..]).with_context(damaged)?,
            Layout::Portable => MetaBlob {
                meta: manifest::read_meta(&bytes).with_context(damaged)?,
                node: b"null\n".to_vec(),
            },
        };
        if let Some(record) = set.record()
            && !record.meta.digest.is_of(&bytes)
        {
            let (id, algorithm) = (&set.id, record.meta.digest.algorithm());
            let message = format!("{place} is not what set {id} recorded: {algorithm} differs");
            return Err(ErrorKind::Damage.error(message).into());
        }
        if let Some(manifest) = set.listing()
            && manifest.meta.size != blob.meta.len() as u64
        {
            let (is, listed) = (blob.meta.len(), manifest.meta.size);
            let id = &set.id;
            let message =
                format!("{place} holds {is} bytes, and {listed} by the manifest of set {id}");
            return Err(ErrorKind::Damage.error(message).into());
        }
        let data = Data::read(&blob.meta).map_err(|error| {
            let reading = format!("reading {place}");
            // One that says what it is has its class.
            match error_in(&error) {
                Some(_) => error.context(reading),
                None => error.context(ErrorKind::Damage.error(reading)),
            }
        })?;
        Ok((blob, data))
    }

    /// That the metastore of a set is not there.
    fn no_meta(&self, set: &Set) -> anyhow::Error {
        if let Some(emptied) = self.emptied() {
            return emptied.into();
        }
        let Some((name, by)) = set.meta_name().zip(set.named_by()) else {
            return anyhow::anyhow!("its metastore is gone");
        };
        let fault = ErrorKind::Damage.error(format!(
            "the metastore {name} of set {} {}",
            set.id,
            self.absence(name)
        ));
        fault
            .hint(format!(
                "if the set was removed on purpose, remove {by} too"
            ))
            .into()
    }

    /// Opens a file of the repository as it is, if it is a regular one.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn open_file(&self, name: &str) -> Result<StoredFile> {
        let opened = self.store.open(name);
        let opened = opened.inspect_err(|error| self.note(name, error));
        opened.with_context(|| format!("opening {}", self.place_of(name)))
    }

    /// Reads a small file of the repository whole, such as a metastore or a manifest.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is far larger than a metastore can be.
    pub(crate) fn read_file(&self, name: &str) -> Result<Vec<u8>> {
        let bytes = read_bounded(&*self.store, name, MAX_META_BYTES + META_FRAME);
        let bytes = bytes.inspect_err(|error| self.note(name, error));
        bytes.with_context(|| format!("reading {}", self.place_of(name)))
    }

    fn note(&self, name: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound && self.has(name) {
            self.note_vanished();
        }
    }

    /// Notes that something was gone that was there when the directory was read: what was found
    /// since may never have been true.
    pub(crate) fn note_vanished(&self) {
        self.vanished.store(true, Ordering::Relaxed);
    }

    /// Whether something was gone that was there when the directory was read.
    pub(crate) fn has_vanished(&self) -> bool {
        self.vanished.load(Ordering::Relaxed)
    }

    /// Opens a shard's file: what is read is its tar. `through` gets the file as it is on the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open<R: Read>(
        &self,
        file: &BackupFile,
        through: impl FnOnce(StoredFile) -> R,
    ) -> Result<Tar<R>> {
        let opened = self.open_file(&file.name)?;
        let opened = through(opened);
        Ok(match file.compressed {
            true => Tar::compressed(opened, file.size, file.blocks.as_deref()),
            false => Tar::Plain(opened),
        })
    }
}
