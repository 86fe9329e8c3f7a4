//! Unpacking shards out of sight, into the folders out of which they are moved into place.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::options::RestoreOptions;
use super::staging::ShardStaging;
use super::target;
use crate::cancel::{Cancel, Stoppable};
use crate::context::Context;
use crate::influxd_dir::Ownership;
use crate::io::durable::{self, WriteBack};
use crate::ops::queue::{self, Turn};
use crate::ops::restore::checked_shard::{CheckedShard, ShardFile};
use crate::ops::restore::rewrite::{Left, rewrite};
use crate::progress::{Event, Outcome};
use crate::repository::Catalog;
use crate::shard_tar::ShardTarReader;

/// Unpacks shards into where they are prepared.
pub(crate) struct Unpacker<'a> {
    pub catalog: &'a Catalog,
    pub options: &'a RestoreOptions,
    pub ownership: &'a Ownership,
    /// The folder of the journal, which is there already.
    pub main: &'a Path,
    pub staging: &'a ShardStaging,
    pub context: Context<'a>,
}

impl Unpacker<'_> {
    /// Unpacks all; what is left of them where points are left out.
    ///
    /// # Errors
    ///
    /// When one cannot be written or is not what was checked, and when a stop was asked for.
    pub(super) fn unpack(&self, shards: &[CheckedShard]) -> Result<Left> {
        let folders = self.staging.folders();
        for folder in folders.into_iter().filter(|folder| *folder != self.main) {
            durable::claim_private_dir(folder)?;
        }
        let with_tsi1 = target::wants_tsi1(self.options);
        self.context.report(&Event::Shards {
            count: shards.len(),
            bytes: Some(shards.iter().map(CheckedShard::bytes).sum()),
        });
        // A failure stops the other threads as well.
        let stop = self.context.cancel.child();
        let jobs = shards.iter().enumerate().collect();
        let results = queue::work(
            jobs,
            self.options.jobs,
            &stop,
            |(index, shard): (usize, &CheckedShard)| {
                let directory = self.staging.prepared(index);
                let left = self.unpack_shard(shard, &directory, with_tsi1, &stop);
                Turn::Done(left.inspect_err(|_| stop.cancel()))
            },
        );
        self.context.check()?;
        let mut all = Left::default();
        for left in queue::all(results)? {
            all.files += left.files;
            all.bytes += left.bytes;
        }
        Ok(all)
    }

    /// Unpacks one shard, and tells of it.
    fn unpack_shard(
        &self,
        shard: &CheckedShard,
        directory: &Path,
        with_tsi1: bool,
        stop: &Cancel,
    ) -> Result<Left> {
        let started = Instant::now();
        let path = &shard.target;
        self.context.report(&Event::Started {
            shard: path,
            bytes: Some(shard.bytes()),
        });
        let left = self.unpack_into(shard, directory, with_tsi1, stop)?;
        self.context.report(&Event::Finished {
            shard: path,
            outcome: Outcome::Done {
                files: left.files,
                bytes: left.bytes,
            },
            elapsed: started.elapsed(),
        });
        Ok(left)
    }

    fn unpack_into(
        &self,
        shard: &CheckedShard,
        directory: &Path,
        with_tsi1: bool,
        stop: &Cancel,
    ) -> Result<Left> {
        self.ownership.create_dirs(directory)?;
        for source in 0..shard.sources.len() {
            let tar = self.catalog.place_of(&shard.sources[source].name);
            let count = self
                .unpack_tar(shard, source, directory, stop)
                .or_else(|error| {
                    stop.check()?;
                    Err(error)
                })
                .with_context(|| format!("unpacking {tar} into {}", directory.display()))?;
            let files = shard.files.iter();
            let expected = files.filter(|(_, file)| file.source == source).count();
            ensure!(
                count >= expected,
                "{tar} lacks files that it had a moment ago"
            );
        }
        let apply_deletes = self.options.apply_deletes;
        let left = rewrite(shard, directory, apply_deletes, self.ownership, stop)?;
        if with_tsi1 {
            self.ownership.create_dirs(&directory.join("index"))?;
        }
        durable::sync_dir(directory)?;
        Ok(left)
    }

    /// Unpacks from one tar the files that are to come from it; how many those were.
    fn unpack_tar(
        &self,
        shard: &CheckedShard,
        source: usize,
        directory: &Path,
        stop: &Cancel,
    ) -> Result<usize> {
        let tar = Stoppable {
            inner: self.catalog.open(&shard.sources[source], |file| file)?,
            cancel: stop,
        };
        let mut reader = ShardTarReader::new(tar, &shard.source);
        let mut count = 0;
        while let Some(member) = reader.next_member().map_err(io::Error::from)? {
            let wanted = shard.files.get(&member.name);
            let wanted = wanted.filter(|file| file.source == source && !member.directory);
            if let Some(checked) = wanted {
                let path = directory.join(&member.name);
                self.unpack_file(&mut reader, shard, &path, checked, stop)?;
                count += 1;
            }
        }
        reader.finish().map_err(io::Error::from)?;
        Ok(count)
    }

    fn unpack_file(
        &self,
        reader: &mut ShardTarReader<impl Read>,
        shard: &CheckedShard,
        path: &Path,
        checked: &ShardFile,
        stop: &Cancel,
    ) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.ownership.create_dirs(parent)?;
        }
        let mut file = durable::private_file().truncate(true).open(path)?;
        let mut write_back = WriteBack::default();
        checked.read_again(reader, path.display(), stop, |bytes| {
            file.write_all(bytes)?;
            write_back.wrote(&file, bytes.len());
            self.context.report(&Event::Bytes {
                shard: &shard.target,
                count: bytes.len() as u64,
            });
            Ok(())
        })?;
        self.ownership.give(&file, false)?;
        durable::sync(&file, path)
    }
}
