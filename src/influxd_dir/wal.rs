//! The WAL of a shard of an influxd that does not run, and the TSM files that influxd would make of
//! it.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::{regular_file, shard_dir};
use crate::io::durable;
use crate::io::open::open_regular;
use crate::shard::ShardPath;
use crate::tsm::wal::SegmentEnding;
use crate::tsm::wal::flush::{KeyTypes, flush};
use crate::tsm::wal::replay::{BUDGET, Cache};
use crate::tsm::{file_name, generation};

/// Bytes read or written at a time.
const CHUNK: usize = 128 << 10;

/// The segments of a shard's WAL that hold something.
#[derive(Debug)]
pub(crate) struct Wal {
    /// In the order in which influxd replays them.
    segments: Vec<(PathBuf, Metadata)>,
    /// Which of them was written last.
    newest: usize,
}

/// What was made of a WAL.
#[derive(Debug)]
pub(super) struct Flushed {
    /// Names and places of the TSM files; none where everything in the WAL is deleted in it.
    pub files: Vec<(String, PathBuf)>,
    /// What the operator should know of it: of each segment that was read in part only, and of keys
    /// with several types.
    pub notes: Vec<String>,
}

impl Wal {
    /// The WAL of a shard, unless it holds nothing.
    ///
    /// # Errors
    ///
    /// When its directory cannot be read.
    pub(super) fn find(waldir: &Path, shard: &ShardPath) -> Result<Option<Self>> {
        let directory = shard_dir(waldir, shard);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.with_context(|| format!("reading {}", directory.display()))?,
        };
        let mut segments = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
            // influxd looks at no other files.
            let name = entry.file_name();
            if !name
                .to_str()
                .is_some_and(|name| name.starts_with('_') && name.ends_with(".wal"))
            {
                continue;
            }
            let path = entry.path();
            let metadata = regular_file(&path)?;
            if metadata.len() > 0 {
                segments.push((path, metadata));
            }
        }
        // By their bytes, as influxd: behind _99999 it goes wrong in the same way.
        segments.sort_by(|a, b| a.0.cmp(&b.0));
        let newest = (0..segments.len()).max_by_key(|at| segments[*at].1.modified().ok());
        Ok(newest.map(|newest| Self { segments, newest }))
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|(_, metadata)| metadata.len())
            .sum()
    }

    /// Of the segment written last.
    pub(super) fn metadata(&self) -> &Metadata {
        &self.segments[self.newest].1
    }

    /// Makes TSM files of it in `folder`, as modified when the WAL was. Their generation is behind
    /// those of the shard's `files`, so that their points win over those.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the files cannot be written.
    pub(crate) fn flush_into<'a>(
        &self,
        folder: &Path,
        files: impl Iterator<Item = &'a str>,
    ) -> Result<Flushed> {
        let mut cache = Cache::new(folder, BUDGET);
        let mut notes = Vec::new();
        for (path, metadata) in &self.segments {
            let opened =
                open_regular(path).with_context(|| format!("opening {}", path.display()))?;
            let ending = cache
                .replay(BufReader::with_capacity(CHUNK, opened))
                .with_context(|| format!("reading {}", path.display()))?;
            if let SegmentEnding::Torn { offset, fault } = ending {
                let (name, left) = (
                    path.file_name().unwrap_or_default().display(),
                    metadata.len().saturating_sub(offset),
                );
                notes.push(format!(
                    "the last {left} bytes of {name} are left out, as influxd would: {fault}"
                ));
            }
        }
        // A tombstone without its TSM file would hold for a new one of that name.
        let highest = files.filter_map(generation).max().unwrap_or(0);
        let modified = self
            .metadata()
            .modified()
            .context("reading when the WAL was written")?;
        let mut made = Vec::new();
        let types = flush(cache, folder, |count| -> Result<_> {
            let next = u32::try_from(count)
                .ok()
                .and_then(|count| highest.checked_add(count))
                .and_then(|last| last.checked_add(1));
            let name = file_name(next.context("no generation is left for a TSM file")?, 1);
            let path = folder.join(&name);
            let file = durable::create_new(&path);
            let file = file.with_context(|| format!("making {}", path.display()))?;
            made.push((name, path));
            Ok(BufWriter::with_capacity(CHUNK, file))
        })?;
        if types == KeyTypes::Mixed {
            notes.push(
                "it has values of several types for one field; influxd opens no such shard"
                    .to_owned(),
            );
        }
        for (_, path) in &made {
            let file = File::options()
                .write(true)
                .open(path)
                .with_context(|| format!("opening {}", path.display()))?;
            file.set_modified(modified)
                .with_context(|| format!("setting the time of {}", path.display()))?;
        }
        Ok(Flushed { files: made, notes })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::tsm::wal::tests::{Datum, Logged};

    fn shard() -> ShardPath {
        ShardPath {
            database: "db".into(),
            retention_policy: "rp".into(),
            id: 7,
        }
    }

    /// A WAL directory with files of these names and contents, each a second later than the one
    /// before.
    fn waldir(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let waldir = tempfile::tempdir().unwrap();
        let directory = shard_dir(waldir.path(), &shard());
        fs::create_dir_all(&directory).unwrap();
        for (second, (name, content)) in (1..).zip(files) {
            fs::write(directory.join(name), content).unwrap();
            let file = File::options()
                .write(true)
                .open(directory.join(name))
                .unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
                .unwrap();
        }
        waldir
    }

    fn write(time: i64, value: Datum) -> Vec<u8> {
        Logged::Write(vec![(b"m#!~#f".to_vec(), vec![(time, value)])]).bytes()
    }

    fn flushed(
        waldir: &Path,
        files: &[&str],
    ) -> (Vec<(String, PathBuf)>, Vec<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let wal = Wal::find(waldir, &shard()).unwrap().unwrap();
        let Flushed { files, notes } = wal
            .flush_into(folder.path(), files.iter().copied())
            .unwrap();
        (files, notes, folder)
    }

    #[test]
    fn a_wal_without_entries_is_none() {
        let nothing = tempfile::tempdir().unwrap();
        assert!(Wal::find(nothing.path(), &shard()).unwrap().is_none());
        assert!(
            Wal::find(waldir(&[("_00002.wal", b"")]).path(), &shard())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn segments_are_the_files_that_influxd_takes_for_such_in_its_order() {
        let one = write(1, Datum::Integer(1));
        let waldir = waldir(&[
            ("_9.wal", &one),
            ("_00010.wal", &one),
            ("x.wal", b"?"),
            ("_1.wal.tmp", b"?"),
            ("_00011.wal", b""),
        ]);
        let wal = Wal::find(waldir.path(), &shard()).unwrap().unwrap();
        let names: Vec<_> = wal
            .segments
            .iter()
            .map(|(path, _)| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["_00010.wal", "_9.wal"]);
        assert_eq!(wal.bytes(), 2 * one.len() as u64);
        assert_eq!(
            wal.metadata().modified().unwrap(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(2)
        );
    }

    #[test]
    fn its_file_comes_behind_all_others_and_is_as_old_as_the_wal() {
        let waldir = waldir(&[("_00001.wal", &write(1, Datum::Integer(1)))]);
        let name = |files: &[&str]| flushed(waldir.path(), files).0[0].0.clone();
        assert_eq!(name(&[]), "000000001-000000001.tsm");
        assert_eq!(
            name(&["000000003-000000002.tsm", "000000001-000000001.tsm"]),
            "000000004-000000001.tsm"
        );
        assert_eq!(
            name(&["000000003-000000002.tsm", "000000005-000000001.tombstone"]),
            "000000006-000000001.tsm"
        );
        let (files, notes, _folder) = flushed(waldir.path(), &[]);
        let modified = fs::metadata(&files[0].1).unwrap().modified().unwrap();
        assert_eq!(
            (modified, notes),
            (SystemTime::UNIX_EPOCH + Duration::from_secs(1), vec![])
        );
        let wal = Wal::find(waldir.path(), &shard()).unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert!(
            wal.flush_into(folder.path(), ["4294967295-1.tsm"].into_iter())
                .is_err()
        );
    }

    #[test]
    fn what_is_torn_and_what_has_several_types_is_told() {
        let torn = [write(1, Datum::Integer(1)), b"\x01\x00".to_vec()].concat();
        let waldir = waldir(&[
            ("_00001.wal", &torn),
            ("_00002.wal", &write(2, Datum::Boolean(true))),
        ]);
        let (files, notes, _folder) = flushed(waldir.path(), &[]);
        assert_eq!((files.len(), notes.len()), (2, 2), "{notes:?}");
        assert!(
            notes[0].starts_with("the last 2 bytes of _00001.wal are left out"),
            "{notes:?}"
        );
        assert!(notes[1].contains("several types"), "{notes:?}");
    }
}
