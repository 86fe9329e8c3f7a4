//! Uploading shards: one tar each, read ahead of the connection, and read back when the server is done with it.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::check::{CheckedShard, ShardFile};
use super::filtered::{FilteredFiles, Sent};
use super::journal::Journal;
use super::{Live, WAIT, tsm_files};
use crate::cancel::Cancel;
use crate::client::Reply;
use crate::error::{ErrorKind, kind_of};
use crate::ops::queue::{self, Turn};
use crate::progress::{Event, Outcome};
use crate::repository::Catalog;
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, Member, MemberHeader, ShardTarReader, TarError, TarWriter};
use crate::tsm::generation;
use crate::wire::Request;

/// Bytes sent at a time.
const CHUNK: usize = 256 << 10;
/// How many chunks a shard is read ahead.
const AHEAD: usize = 8;
/// How long an upload waits for the backup to be read. While it lasts, the server holds up all who write to the shard.
const STALL: Duration = Duration::from_secs(10);

/// What became of the shards.
#[derive(Debug, Default)]
pub struct Uploaded {
    /// Shards that are on the server.
    pub shards: usize,
    /// Their files.
    pub files: usize,
    /// Bytes of those files.
    pub bytes: u64,
    /// The shards that failed, a sentence each.
    pub failed: Vec<String>,
    /// Whether one of them can only be mended by beginning anew.
    pub spoiled: bool,
}

/// What a server holds of the files it was sent.
enum Held {
    /// All.
    All,
    /// None, and nothing else either.
    Nothing,
    /// Some of them; the text says which is not there.
    Part(String),
    /// In place of some or all of them one that a compaction made.
    Compacted,
    /// Files that were not sent, and not all that were.
    Other,
}

/// A shard on its way.
struct Job<'a> {
    shard: &'a CheckedShard,
    /// What of it is sent in another form, once that is made.
    filtered: Option<FilteredFiles>,
    failures: u32,
    /// An earlier attempt, or run, may have left something.
    again: bool,
    /// All of it was sent before, and the server took its time with it and closed.
    sent: bool,
    begun: Instant,
}

impl Live<'_> {
    /// Uploads all shards. `earlier` are, where a restore is gone on with, those that were done, by their old ids.
    pub(super) fn upload(
        &self,
        contents: &Catalog,
        shards: &[CheckedShard],
        journal: &Journal,
        earlier: Option<&[u64]>,
    ) -> Result<Uploaded> {
        let bytes = shards
            .iter()
            .flat_map(tsm_files)
            .map(|(_, size)| size)
            .sum();
        self.progress.report(&Event::Shards {
            count: shards.len(),
            bytes: Some(bytes),
        });
        let begun = Instant::now();
        let was_done =
            |shard: &CheckedShard| earlier.is_some_and(|done| done.contains(&shard.source.id));
        let job = |shard| Job {
            shard,
            filtered: None,
            failures: 0,
            again: earlier.is_some(),
            sent: was_done(shard),
            begun,
        };
        let stop = self.cancel.child();
        let results = queue::work(
            shards.iter().map(job).collect(),
            self.options.jobs,
            &stop,
            |mut job: Job<'_>| {
                let (shard, path) = (job.shard, &job.shard.target);
                if job.failures == 0 {
                    job.begun = Instant::now();
                }
                let bytes = tsm_files(shard).map(|(_, size)| size).sum();
                self.progress.report(&Event::Started {
                    shard: path,
                    bytes: Some(bytes),
                });
                // Without being asked to look, what was done stays done.
                let settled = !self.options.verify && was_done(shard);
                let attempt = if settled {
                    Ok(())
                } else {
                    self.attempt(contents, &mut job)
                };
                let elapsed = job.begun.elapsed();
                match attempt.and_then(|()| journal.done(shard.source.id)) {
                    Ok(()) => {
                        let sent = job
                            .filtered
                            .iter()
                            .flat_map(|filtered| filtered.sent(shard));
                        let (files, bytes) = sent.fold((0, 0), |(files, bytes), sent| {
                            (files + 1, bytes + sent.size)
                        });
                        self.progress.report(&Event::Finished {
                            shard: path,
                            outcome: Outcome::Done { files, bytes },
                            elapsed,
                        });
                        Turn::Done(Ok(Uploaded {
                            shards: 1,
                            files,
                            bytes,
                            ..Uploaded::default()
                        }))
                    }
                    Err(error) if stop.is_cancelled() => Turn::Done(Err(error)),
                    Err(error)
                        if job.failures < self.options.retries
                            && kind_of(&error) != ErrorKind::Refused =>
                    {
                        job.failures += 1;
                        job.again = true;
                        let wait = WAIT.saturating_mul(1 << (job.failures - 1).min(6));
                        let reason = format!("{error:#}");
                        self.progress.report(&Event::Retry {
                            shard: path,
                            attempt: job.failures,
                            wait,
                            reason: &reason,
                        });
                        Turn::Later(job, wait)
                    }
                    // The others would find nobody there either.
                    Err(error) if kind_of(&error) == ErrorKind::Unreachable => {
                        stop.cancel();
                        Turn::Done(Err(error))
                    }
                    Err(error) => {
                        let reason = format!("{error:#}");
                        self.progress.report(&Event::Finished {
                            shard: path,
                            outcome: Outcome::Failed(&reason),
                            elapsed,
                        });
                        let failed = vec![format!("shard {} (now {path}): {reason}", shard.source)];
                        let spoiled = kind_of(&error) == ErrorKind::Refused;
                        Turn::Done(Ok(Uploaded {
                            failed,
                            spoiled,
                            ..Uploaded::default()
                        }))
                    }
                }
            },
        );
        self.cancel.check()?;
        let all = queue::all(results)?.into_iter();
        Ok(all.fold(Uploaded::default(), |mut all, one| {
            all.failed.extend(one.failed);
            let (files, bytes) = (all.files + one.files, all.bytes + one.bytes);
            Uploaded {
                shards: all.shards + one.shards,
                files,
                bytes,
                spoiled: all.spoiled || one.spoiled,
                ..all
            }
        }))
    }

    /// Makes one attempt at a shard.
    fn attempt(&self, contents: &Catalog, job: &mut Job<'_>) -> Result<()> {
        let shard = job.shard;
        let filtered = match &mut job.filtered {
            Some(filtered) => filtered,
            none => none.insert(self.filter(contents, shard, self.cancel)?),
        };
        if filtered.sent(shard).next().is_none() {
            return Ok(());
        }
        if job.again {
            // Nobody knows how far the attempt before came.
            self.clear(shard)?;
        }
        // A second upload beside a first hides fields that only the second has, on servers with a tsi1 index; so does one beside
        // what somebody wrote, and it takes the place of files of the same name.
        match self.look_back(shard, filtered)? {
            Held::All => return Ok(()),
            Held::Nothing => {}
            Held::Compacted if job.sent => {
                self.say_not_compared(shard);
                return Ok(());
            }
            Held::Part(absent) => {
                return Err(spoiled(&format!(
                    "the server took in a part of it, but not {absent}"
                )));
            }
            Held::Compacted | Held::Other => {
                return Err(spoiled(
                    "somebody has written to it since the database was made (stop that, so that it is not lost)",
                ));
            }
        }
        self.send(contents, shard, filtered)?;
        job.sent = true;
        if !self.options.verify {
            return Ok(());
        }
        match self.look_back(shard, filtered)? {
            Held::All => Ok(()),
            Held::Nothing => bail!("the server holds none of it although it was sent"),
            Held::Part(absent) => bail!("the server does not hold {absent} although it was sent"),
            Held::Other => {
                bail!("the server holds files that were not sent, and not all that were")
            }
            Held::Compacted => {
                self.say_not_compared(shard);
                Ok(())
            }
        }
    }

    fn say_not_compared(&self, shard: &CheckedShard) {
        let message = format!(
            "the server has compacted shard {} already: it was not compared",
            shard.target
        );
        self.progress.report(&Event::Warning(&message));
    }

    /// Sends all that the shard is to hold in one upload, and waits until the server is done with it.
    fn send(
        &self,
        contents: &Catalog,
        shard: &CheckedShard,
        filtered: &FilteredFiles,
    ) -> Result<()> {
        let (sender, receiver) = sync_channel(AHEAD);
        let stop = self.cancel.child();
        thread::scope(|scope| {
            let packing = scope.spawn(|| self.pack(contents, shard, filtered, sender, &stop));
            let sent = self.forward(shard, receiver);
            stop.cancel();
            let packed = packing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match packed {
                // Where the connection failed, packing found nobody to take what it read.
                Err(error) if !is_broken_pipe(&error) => Err(error),
                _ => sent,
            }
        })
    }

    /// Passes the pieces on to the server as they come.
    fn forward(&self, shard: &CheckedShard, pieces: Receiver<Piece>) -> Result<()> {
        // Nothing is held up before the first piece is there.
        let mut piece = loop {
            match pieces.recv_timeout(WAIT) {
                Ok(piece) => break piece,
                Err(RecvTimeoutError::Timeout) => self.cancel.check()?,
                Err(RecvTimeoutError::Disconnected) => bail!("the backup was not read to its end"),
            }
        };
        let mut upload = self.client.upload(shard.target.id)?;
        while let Piece::Bytes(bytes) = piece {
            upload.write_all(&bytes).context("sending to the server")?;
            piece = match pieces.recv_timeout(STALL) {
                Ok(piece) => piece,
                Err(RecvTimeoutError::Disconnected) => bail!("the backup was not read to its end"),
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "reading the backup stood still for {STALL:?}: given up, so as not to hold up who writes to the shard"
                    )
                }
            };
        }
        upload
            .finish()
            .context("waiting for the server to take the shard in")
    }

    /// Makes the tar, piece by piece.
    fn pack(
        &self,
        contents: &Catalog,
        shard: &CheckedShard,
        filtered: &FilteredFiles,
        sender: SyncSender<Piece>,
        stop: &Cancel,
    ) -> Result<()> {
        let pieces = Pieces {
            sender,
            pending: Vec::with_capacity(CHUNK),
        };
        let mut packing = Packing {
            live: self,
            shard,
            filtered,
            tar: TarWriter::new(pieces),
            stop,
        };
        for (source, file) in shard.sources.iter().enumerate() {
            let reading = || format!("reading {}", contents.path_of(&file.name).display());
            let tar = contents.open(file, |file| file)?;
            let mut reader = ShardTarReader::new(tar, &shard.source);
            packing.pack(&mut reader, source).with_context(reading)?;
        }
        let mut pieces = packing.tar.finish()?;
        Ok(pieces.hand_on(Piece::End)?)
    }

    /// Has the server clear away what a failed upload left: an empty tar reopens the shard.
    fn clear(&self, shard: &CheckedShard) -> Result<()> {
        let mut upload = self.client.upload(shard.target.id)?;
        upload
            .write_all(&[0; 1024])
            .and_then(|()| upload.finish())
            .context("clearing away what a failed attempt left")
    }

    /// Asks the server for the shard, and compares names, sizes and CRC-32 of its files with what it is to hold.
    fn look_back(&self, shard: &CheckedShard, filtered: &FilteredFiles) -> Result<Held> {
        let mut answer = None;
        for _ in 0..=self.options.retries {
            let reply = self.client.request(&Request::Shard {
                id: shard.target.id,
                since: None,
            })?;
            if let Some(files) = sums(reply, &shard.target)? {
                answer = Some(files);
                break;
            }
            // A shard that was just put in place may be closed for a moment.
            self.cancel.check()?;
            thread::sleep(WAIT);
        }
        let answer = answer.context("the server does not send the shard back")?;
        let mut there: BTreeMap<&str, (u64, u32)> = answer
            .iter()
            .filter(|(name, ..)| name.ends_with(".tsm"))
            .map(|(name, size, crc)| (name.as_str(), (*size, *crc)))
            .collect();
        let (mut absent, mut same, mut newest, mut is_other) = (None, 0, None, false);
        for Sent { name, size, crc } in filtered.sent(shard) {
            let found = there.remove(name);
            if found == Some((size, crc)) {
                same += 1;
            } else {
                is_other |= found.is_some();
                newest = newest.max(generation(name));
                absent.get_or_insert_with(|| format!("{name} ({size} bytes)"));
            }
        }
        // A compaction leaves a file of the highest of its generations, with a sequence past the first.
        let compacted =
            |name: &&str| generation(name) >= newest && !name.ends_with("-000000001.tsm");
        Ok(match absent {
            None => Held::All,
            Some(_) if there.keys().any(compacted) => Held::Compacted,
            Some(_) if is_other || !there.is_empty() => Held::Other,
            Some(_) if same == 0 && answer.is_empty() => Held::Nothing,
            Some(absent) => Held::Part(absent),
        })
    }
}

/// A shard that only a new beginning can mend.
fn spoiled(why: &str) -> anyhow::Error {
    ErrorKind::Refused
        .error(format!(
            "{why}: drop the database on the server and restore it anew"
        ))
        .into()
}

/// A piece of a tar.
enum Piece {
    Bytes(Vec<u8>),
    /// All pieces were sent. Without it, the tar is not whole.
    End,
}

/// Hands on what is written to it in pieces of one size.
struct Pieces {
    sender: SyncSender<Piece>,
    pending: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        self.hand_on(Piece::Bytes(piece))
    }
}

impl Pieces {
    fn hand_on(&mut self, piece: Piece) -> io::Result<()> {
        self.sender
            .send(piece)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}

/// The members of a shard's tar with size and CRC-32; none where the server sends nothing at all.
fn sums(reply: Reply, shard: &ShardPath) -> Result<Option<Vec<(String, u64, u32)>>> {
    let mut reader = ShardTarReader::new(BufReader::with_capacity(CHUNK, reply), shard);
    let mut files = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let reading = |error| match error {
        TarError::Source(error) => anyhow::Error::new(error).context("reading the shard back"),
        damage => damage.into(),
    };
    while let Some(member) = reader.next_member().map_err(reading)? {
        let mut crc = crc32fast::Hasher::new();
        loop {
            match reader.read_content(&mut buffer).map_err(reading)? {
                0 => break,
                count => crc.update(&buffer[..count]),
            }
        }
        files.push((member.name, member.size, crc.finalize()));
    }
    let ending = reader.finish().map_err(reading)?;
    Ok((ending != Ending::Nothing).then_some(files))
}

/// Passes the files of a shard on into the upload, under their new names.
struct Packing<'a> {
    live: &'a Live<'a>,
    shard: &'a CheckedShard,
    filtered: &'a FilteredFiles,
    tar: TarWriter<Pieces>,
    stop: &'a Cancel,
}

impl Packing<'_> {
    /// Packs the files that are to come from one tar.
    fn pack(&mut self, reader: &mut ShardTarReader<impl Read>, source: usize) -> Result<()> {
        while let Some(member) = reader.next_member().map_err(io::Error::from)? {
            let wanted = self.shard.files.get(&member.name);
            match wanted.filter(|file| file.source == source && member.is_tsm()) {
                Some(checked) => self.file(reader, &member, checked)?,
                None => self.stop.check()?,
            }
        }
        reader.finish().map_err(io::Error::from)?;
        Ok(())
    }

    /// Packs a file, or what is sent in its place. Of that too, what was checked is read once more.
    fn file(
        &mut self,
        reader: &mut ShardTarReader<impl Read>,
        member: &Member,
        checked: &ShardFile,
    ) -> Result<()> {
        let in_its_place = self.filtered.get(&member.name);
        match in_its_place {
            None => self.begin_file(member, member.size)?,
            Some(None) => {}
            Some(Some(file)) => {
                self.begin_file(member, file.size)?;
                file.copy_to(&mut self.tar)?;
                self.tar.end()?;
            }
        }
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            self.stop.check()?;
            let count = reader.read_content(&mut buffer).map_err(io::Error::from)?;
            if count == 0 {
                break;
            }
            if in_its_place.is_none() {
                self.tar.write_all(&buffer[..count])?;
            }
            crc.update(&buffer[..count]);
            self.live.progress.report(&Event::Bytes {
                shard: &self.shard.target,
                count: count as u64,
            });
        }
        ensure!(
            crc.finalize() == checked.crc,
            "{} is not what was checked a moment ago",
            member.name
        );
        if in_its_place.is_none() {
            self.tar.end()?;
        }
        Ok(())
    }

    fn begin_file(&mut self, member: &Member, size: u64) -> io::Result<()> {
        let path = format!("{}/{}", self.shard.target, member.name);
        self.tar
            .begin(&MemberHeader::of_file(&path, size, member.modified))
    }
}
