//! Writing a set: files grow out of sight, get their final names when all are complete, and count once the record is there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::{FileRecord, Lock, SetRecord, create_private_dir, hidden, remove_if_there, sync_dir, write_whole_by};
use crate::cancel::Cancel;
use crate::format::names;

/// A file that is complete and synced, under a temporary name that goes away with it.
#[derive(Debug)]
pub struct Finished {
    path: TempPath,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl Finished {
    /// Syncs a file whose content is complete.
    ///
    /// # Errors
    ///
    /// When the system cannot make the content last.
    pub fn sync(file: NamedTempFile, size: u64, digest: Sha256) -> Result<Self> {
        file.as_file().sync_all().with_context(|| format!("syncing {}", file.path().display()))?;
        Ok(Self { path: file.into_temp_path(), size, sha256: hex(digest) })
    }

    fn record(&self, name: String) -> FileRecord {
        FileRecord { name, size: self.size, sha256: self.sha256.clone() }
    }
}

/// A set being written. What it holds goes away when it is dropped before [`Staging::commit`].
#[derive(Debug)]
pub struct Staging {
    directory: PathBuf,
    id: String,
    started: Timestamp,
    /// The folder of unfinished files.
    files: PathBuf,
    /// The directories that this run made, the outermost first, until something in them is to stay.
    made: Vec<PathBuf>,
    _lock: Lock,
}

impl Staging {
    /// Makes the directory where it is absent, locks it, clears away what killed runs left, and begins a set.
    ///
    /// # Errors
    ///
    /// When another run holds the lock, or the directory cannot be written.
    pub fn begin(directory: &Path, wait: Duration, cancel: &Cancel) -> Result<Self> {
        let hidden = hidden(directory);
        let mut made: Vec<PathBuf> = hidden.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        made.reverse();
        create_private_dir(&hidden)?;
        let lock = Lock::take(&hidden.join("lock"), wait, cancel)?;
        sweep(directory)?;
        let (id, started) = loop {
            let now = Timestamp::now();
            let id = now.strftime("%Y%m%dT%H%M%SZ").to_string();
            // One stamp a second: a second run within it waits for the next.
            if !hidden.join(format!("{id}.json")).exists() {
                break (id, now);
            }
            cancel.check()?;
            std::thread::sleep(Duration::from_millis(50));
        };
        let files = hidden.join(format!("{id}.files"));
        create_private_dir(&files)?;
        Ok(Self { directory: directory.to_owned(), id, started, files, made, _lock: lock })
    }

    /// The set's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the set was begun.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// A fresh file to write to, for the owner alone.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn file(&self) -> Result<NamedTempFile> {
        NamedTempFile::new_in(&self.files).with_context(|| format!("creating a file in {}", self.files.display()))
    }

    /// Gives all files of the set their final names and writes its record. Takes the next number that no file in the
    /// directory has; fills in the record's `number`, `meta` and the shards' `file`.
    ///
    /// `shards` are the finished files by index into `record.shards`.
    ///
    /// # Errors
    ///
    /// When a name cannot be given or the record not be written; then no file keeps its final name.
    pub fn commit(mut self, mut record: SetRecord, meta: &Finished, shards: &[(usize, Finished)]) -> Result<SetRecord> {
        let hidden = hidden(&self.directory);
        let intent = hidden.join(format!("{}.commit", self.id));
        self.made.clear();
        sync_dir(&self.files)?;
        let mut number = next_number(&self.directory)?;
        loop {
            record.number = number;
            record.meta = meta.record(names::meta_file(number));
            for (index, file) in shards {
                let shard = &mut record.shards[*index];
                shard.file = Some(file.record(names::shard_file(&shard.path(), number)));
            }
            // Written piece by piece: it can be large where there are many shards.
            let write =
                |path: &Path| write_whole_by(path, |out| serde_json::to_writer_pretty(out, &record).map_err(io::Error::from));
            write(&intent)?;
            // The meta store comes last: influxd takes no shard for restorable without one.
            let mut moves: Vec<(&Path, PathBuf)> = Vec::new();
            for (index, file) in shards {
                let name = record.shards[*index].file.as_ref().map_or("", |file| &file.name);
                moves.push((&file.path, self.directory.join(name)));
            }
            moves.push((&meta.path, self.directory.join(&record.meta.name)));
            match give_names(&moves) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Somebody without our lock, influxd say, took a name meanwhile.
                    number += 1;
                    continue;
                }
                // The next run undoes what the intent names, should going back have failed as well.
                Err(error) => {
                    return Err(error).with_context(|| format!("giving the files in {} their names", self.directory.display()));
                }
            }
            let recorded = sync_dir(&self.directory).and_then(|()| write(&hidden.join(format!("{}.json", self.id))));
            if let Err(error) = recorded {
                // Without a record these files are no set, and must not be taken for one.
                for (from, to) in &moves {
                    let _ = fs::rename(to, from);
                }
                return Err(error);
            }
            remove_if_there(&intent)?;
            return Ok(record);
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Where this fails, the sweep of the next run takes what is left.
        let _ = fs::remove_dir_all(&self.files);
        if !self.made.is_empty() {
            let _ = fs::remove_file(hidden(&self.directory).join("lock"));
        }
        for directory in self.made.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Renames all files to their final names, none of which may exist, or none of them.
fn give_names(moves: &[(&Path, PathBuf)]) -> io::Result<()> {
    for (done, (from, to)) in moves.iter().enumerate() {
        if let Err(error) = rename_to_free_name(from, to) {
            for (from, to) in &moves[..done] {
                // Back to the temporary name, so that nothing is lost and the next number can be tried.
                fs::rename(to, from)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Renames, and fails with [`io::ErrorKind::AlreadyExists`] where the name is taken.
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, from, here, to, rustix::fs::RenameFlags::NOREPLACE) {
        // File systems without that rename: a hard link does not replace either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

/// One more than the highest number that a meta store or shard in the directory has.
fn next_number(directory: &Path) -> Result<u32> {
    let mut next = 0;
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let name = entry.with_context(|| format!("reading {}", directory.display()))?.file_name();
        // influxd counts a download that is under way, or was left behind, as taken; so do we.
        let name = name.to_str().map(|name| name.strip_suffix(".pending").unwrap_or(name));
        if let Some((stem, number)) = name.and_then(names::split_number)
            && names::is_stem(stem)
        {
            next = next.max(number.saturating_add(1));
        }
    }
    Ok(next)
}

/// Clears away what killed runs left. The lock must be held.
fn sweep(directory: &Path) -> Result<()> {
    let hidden = hidden(directory);
    for entry in fs::read_dir(&hidden).with_context(|| format!("reading {}", hidden.display()))? {
        let path = entry.with_context(|| format!("reading {}", hidden.display()))?.path();
        match path.extension().and_then(OsStr::to_str) {
            Some("commit") => {
                if !path.with_extension("json").exists() {
                    undo(directory, &path)?;
                }
                remove_if_there(&path)?;
            }
            Some("files") => fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?,
            _ if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(".snap-")) => {
                remove_if_there(&path)?;
            }
            _ => {}
        }
    }
    sync_dir(directory)
}

/// Removes files that an interrupted commit already gave their final names. A file that is not the very one recorded,
/// by size and SHA-256, belongs to somebody else and stays.
fn undo(directory: &Path, intent: &Path) -> Result<()> {
    let record = super::contents::read_record(intent)?;
    for file in record.files() {
        let path = directory.join(&file.name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == file.size) && sha256_of(&path)? == file.sha256 {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in lower-case hexadecimal.
fn sha256_of(path: &Path) -> Result<String> {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex(digest)),
                count => digest.update(&buffer[..count]),
            }
        }
    };
    read().with_context(|| format!("reading {}", path.display()))
}

/// A digest in lower-case hexadecimal.
pub(crate) fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
