//! Unpacking shards out of sight, into the folders out of which they are moved into place.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::options::RestoreOptions;
use super::staging::ShardStaging;
use super::target;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::influxd_dir::Ownership;
use crate::io::durable::{self, WriteBack};
use crate::ops::queue::{self, Turn};
use crate::ops::restore::check::{CheckedShard, ShardFile};
use crate::ops::restore::rewrite::{Left, rewrite};
use crate::progress::{Event, Outcome};
use crate::repository::Catalog;
use crate::shard_tar::{Member, Sink, scan};

/// Unpacks shards into where they are prepared.
pub struct Unpacker<'a> {
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
    pub fn unpack(&self, shards: &[CheckedShard]) -> Result<Left> {
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
            self.unpack_tar(shard, source, directory, stop)?;
        }
        let apply_deletes = self.options.apply_deletes;
        let left = rewrite(shard, directory, apply_deletes, self.ownership, stop)?;
        if with_tsi1 {
            self.ownership.create_dirs(&directory.join("index"))?;
        }
        durable::sync_dir(directory)?;
        Ok(left)
    }

    /// Unpacks the files that are to come from the tar number `source` of a shard.
    fn unpack_tar(
        &self,
        shard: &CheckedShard,
        source: usize,
        directory: &Path,
        stop: &Cancel,
    ) -> Result<()> {
        let file = &shard.sources[source];
        let path = self.catalog.path_of(&file.name);
        let mut sink = Unpacking {
            shard,
            source,
            directory,
            writer: self,
            stop,
            file: None,
            count: 0,
        };
        let tar = self.catalog.open(file, |file| file)?;
        scan(tar, &shard.source, &mut sink)
            .map_err(anyhow::Error::from)
            .and_then(|result| Ok(result?))
            .with_context(|| {
                format!("unpacking {} into {}", path.display(), directory.display())
            })?;
        let files = shard.files.iter();
        let expected = files.filter(|(_, file)| file.source == source).count();
        ensure!(
            sink.count >= expected,
            "{} lacks files that it had a moment ago",
            path.display()
        );
        Ok(())
    }
}

/// Unpacks from one tar the files that are to come from it.
struct Unpacking<'a> {
    shard: &'a CheckedShard,
    source: usize,
    directory: &'a Path,
    writer: &'a Unpacker<'a>,
    stop: &'a Cancel,
    file: Option<Unpacked>,
    /// How many files were unpacked.
    count: usize,
}

/// A file on its way.
struct Unpacked {
    file: File,
    path: PathBuf,
    checked: ShardFile,
    write_back: WriteBack,
    /// CRC-32 of it so far.
    crc: crc32fast::Hasher,
}

impl Sink for Unpacking<'_> {
    fn begin(&mut self, member: &Member) -> io::Result<()> {
        let wanted = self
            .shard
            .files
            .get(&member.name)
            .filter(|file| file.source == self.source);
        let Some(wanted) = wanted.filter(|_| !member.directory) else {
            return Ok(());
        };
        let path = self.directory.join(&member.name);
        if let Some(parent) = path.parent() {
            self.writer
                .ownership
                .create_dirs(parent)
                .map_err(io::Error::other)?;
        }
        let (write_back, crc) = (WriteBack::default(), crc32fast::Hasher::new());
        self.file = Some(Unpacked {
            file: durable::private_file().truncate(true).open(&path)?,
            path,
            checked: *wanted,
            write_back,
            crc,
        });
        Ok(())
    }

    fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.stop.check().map_err(io::Error::other)?;
        if let Some(Unpacked {
            file,
            write_back,
            crc,
            ..
        }) = &mut self.file
        {
            file.write_all(chunk)?;
            write_back.wrote(file, chunk.len());
            crc.update(chunk);
            self.writer.context.report(&Event::Bytes {
                shard: &self.shard.target,
                count: chunk.len() as u64,
            });
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(Unpacked {
            file,
            path,
            checked,
            crc,
            ..
        }) = self.file.take()
        else {
            return Ok(());
        };
        if crc.finalize() != checked.crc {
            return Err(io::Error::other(format!(
                "{} is not what was checked a moment ago",
                path.display()
            )));
        }
        self.count += 1;
        self.writer.ownership.give(&file, false)?;
        durable::sync(&file, &path).map_err(io::Error::other)
    }
}
