//! Uploading shards: one tar each, read ahead of the connection, and read back when the server is done with it.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::journal::Journal;
use super::sifted::{Sent, Sifted};
use super::target::Live;
use crate::cancel::Cancel;
use crate::client::Reply;
use crate::error::{ErrorKind, kind_of};
use crate::ops::queue::{self, Turn};
use crate::ops::restore::check::{CheckedShard, ShardFile};
use crate::progress::{Event, Outcome};
use crate::repository::Catalog;
use crate::retry::{self, Attempts};
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
/// How often it looks until then whether it is to stop.
const TICK: Duration = Duration::from_millis(500);

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
    sifted: Option<Sifted>,
    attempts: Attempts,
    /// An earlier run had it whole on the server.
    was_done: bool,
    /// An earlier attempt, or run, may have left something.
    again: bool,
    /// All of it was sent before, and the server took its time with it and closed.
    sent: bool,
    /// When the first attempt was made.
    started: Option<Instant>,
}

/// The TSM files of a shard with their sizes: all that a server takes.
pub(super) fn tsm_files(shard: &CheckedShard) -> impl Iterator<Item = (&str, u64)> {
    let files = shard.files.iter().map(|(name, file)| (name, file.size));
    files.filter(|(name, _)| name.ends_with(".tsm"))
}

impl Live<'_> {
    /// Uploads all shards. `done` are, where a restore is gone on with, those that were done, by their old ids.
    pub(super) fn upload(
        &self,
        contents: &Catalog,
        shards: &[CheckedShard],
        journal: &Journal,
        done: Option<&[u64]>,
    ) -> Result<Uploaded> {
        self.context.report(&Event::Shards {
            count: shards.len(),
            bytes: Some(shards.iter().map(tsm_bytes).sum()),
        });
        let mut jobs = Vec::with_capacity(shards.len());
        for shard in shards {
            let was_done = done.is_some_and(|done| done.contains(&shard.source.id));
            jobs.push(Job {
                shard,
                sifted: None,
                attempts: Attempts::default(),
                was_done,
                again: done.is_some(),
                sent: was_done,
                started: None,
            });
        }
        let stop = self.context.cancel.child();
        let results = queue::work(jobs, self.options.jobs, &stop, |job: Job<'_>| {
            self.upload_shard(contents, job, journal, &stop)
        });
        self.context.check()?;
        let mut all = Uploaded::default();
        for one in queue::all(results)? {
            all.shards += one.shards;
            all.files += one.files;
            all.bytes += one.bytes;
            all.failed.extend(one.failed);
            all.spoiled |= one.spoiled;
        }
        Ok(all)
    }

    /// Makes one attempt at a shard, tells of it, and decides whether there is another.
    fn upload_shard<'j>(
        &self,
        contents: &Catalog,
        mut job: Job<'j>,
        journal: &Journal,
        stop: &Cancel,
    ) -> Turn<Job<'j>, Result<Uploaded>> {
        let shard = job.shard;
        let started = *job.started.get_or_insert_with(Instant::now);
        self.context.report(&Event::Started {
            shard: &shard.target,
            bytes: Some(tsm_bytes(shard)),
        });
        // Without being asked to look, what was done stays done.
        let attempt = if job.was_done && !self.options.verify {
            Ok(())
        } else {
            self.attempt(contents, &mut job)
        };
        let error = match attempt.and_then(|()| journal.done(shard.source.id)) {
            Ok(()) => return Turn::Done(Ok(self.uploaded(&job, started))),
            Err(error) => error,
        };
        if stop.is_cancelled() {
            return Turn::Done(Err(error));
        }
        let kind = kind_of(&error);
        if kind != ErrorKind::Refused
            && let Some(wait) = job.attempts.failed(self.options.retries)
        {
            job.again = true;
            self.context.report(&Event::Retry {
                shard: &shard.target,
                attempt: job.attempts.failures(),
                wait,
                reason: &format!("{error:#}"),
            });
            return Turn::Later(job, wait);
        }
        if kind == ErrorKind::Unreachable {
            // The others would find nobody there either.
            stop.cancel();
            return Turn::Done(Err(error));
        }
        Turn::Done(Ok(self.failed(shard, &error, started)))
    }

    /// A shard is on the server.
    fn uploaded(&self, job: &Job<'_>, started: Instant) -> Uploaded {
        let sent = job.sifted.iter().flat_map(|sifted| sifted.sent(job.shard));
        let (files, bytes) = sent.fold((0, 0), |(files, bytes), sent| {
            (files + 1, bytes + sent.size)
        });
        self.context.report(&Event::Finished {
            shard: &job.shard.target,
            outcome: Outcome::Done { files, bytes },
            elapsed: started.elapsed(),
        });
        Uploaded {
            shards: 1,
            files,
            bytes,
            ..Uploaded::default()
        }
    }

    /// A shard failed for good.
    fn failed(&self, shard: &CheckedShard, error: &anyhow::Error, started: Instant) -> Uploaded {
        let path = &shard.target;
        let reason = format!("{error:#}");
        self.context.report(&Event::Finished {
            shard: path,
            outcome: Outcome::Failed(&reason),
            elapsed: started.elapsed(),
        });
        Uploaded {
            failed: vec![format!("shard {} (now {path}): {reason}", shard.source)],
            spoiled: kind_of(error) == ErrorKind::Refused,
            ..Uploaded::default()
        }
    }

    /// Makes one attempt at a shard.
    fn attempt(&self, contents: &Catalog, job: &mut Job<'_>) -> Result<()> {
        let shard = job.shard;
        let sifted = match &mut job.sifted {
            Some(sifted) => sifted,
            none => none.insert(self.sift(contents, shard, self.context.cancel)?),
        };
        if sifted.sent(shard).next().is_none() {
            return Ok(());
        }
        if job.again {
            // Nobody knows how far the attempt before came.
            self.clear(shard)?;
        }
        // A second upload beside a first hides fields that only the second has, on servers with a tsi1 index; so does one beside
        // what somebody wrote, and it takes the place of files of the same name.
        match self.look_back(shard, sifted)? {
            Held::All => return Ok(()),
            Held::Nothing => {}
            Held::Compacted if job.sent => {
                self.warn_not_compared(shard);
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
        self.send(contents, shard, sifted)?;
        job.sent = true;
        if !self.options.verify {
            return Ok(());
        }
        match self.look_back(shard, sifted)? {
            Held::All => Ok(()),
            Held::Nothing => bail!("the server holds none of it although it was sent"),
            Held::Part(absent) => bail!("the server does not hold {absent} although it was sent"),
            Held::Other => {
                bail!("the server holds files that were not sent, and not all that were")
            }
            Held::Compacted => {
                self.warn_not_compared(shard);
                Ok(())
            }
        }
    }

    fn warn_not_compared(&self, shard: &CheckedShard) {
        self.context.warn(format!(
            "the server has compacted shard {} already: it was not compared",
            shard.target
        ));
    }

    /// Sends all that the shard is to hold in one upload, and waits until the server is done with it.
    fn send(&self, contents: &Catalog, shard: &CheckedShard, sifted: &Sifted) -> Result<()> {
        let (sender, receiver) = sync_channel(AHEAD);
        let stop = self.context.cancel.child();
        thread::scope(|scope| {
            let reading = scope.spawn(|| self.pack(contents, shard, sifted, sender, &stop));
            let sent = self.forward(shard, receiver);
            stop.cancel();
            let read = reading
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match read {
                // Where the connection failed, there was nobody to take what was read.
                Err(error) if !is_broken_pipe(&error) => Err(error),
                _ => sent,
            }
        })
    }

    /// Passes the pieces on to the server as they come.
    fn forward(&self, shard: &CheckedShard, pieces: Receiver<Piece>) -> Result<()> {
        // Nothing is held up before the first piece is there.
        let mut piece = loop {
            match pieces.recv_timeout(TICK) {
                Ok(piece) => break piece,
                Err(RecvTimeoutError::Timeout) => self.context.check()?,
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
        sifted: &Sifted,
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
            sifted,
            tar: TarWriter::new(pieces),
            stop,
        };
        for (source, file) in shard.sources.iter().enumerate() {
            let reading = || format!("reading {}", contents.place_of(&file.name));
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
    fn look_back(&self, shard: &CheckedShard, sifted: &Sifted) -> Result<Held> {
        let answer = self.files_on_server(shard)?;
        let mut on_server: BTreeMap<&str, (u64, u32)> = answer
            .iter()
            .filter(|(name, ..)| name.ends_with(".tsm"))
            .map(|(name, size, crc)| (name.as_str(), (*size, *crc)))
            .collect();
        let (mut absent, mut same, mut newest, mut is_other) = (None, 0, None, false);
        for Sent { name, size, crc } in sifted.sent(shard) {
            let found = on_server.remove(name);
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
            Some(_) if on_server.keys().any(compacted) => Held::Compacted,
            Some(_) if is_other || !on_server.is_empty() => Held::Other,
            Some(_) if same == 0 && answer.is_empty() => Held::Nothing,
            Some(absent) => Held::Part(absent),
        })
    }

    /// The files that the server has of the shard, with sizes and CRC-32.
    fn files_on_server(&self, shard: &CheckedShard) -> Result<Vec<(String, u64, u32)>> {
        let mut attempts = Attempts::default();
        loop {
            let reply = self.client.request(&Request::Shard {
                id: shard.target.id,
                since: None,
            })?;
            if let Some(files) = sums(reply, &shard.target)? {
                return Ok(files);
            }
            // A shard that was just put in place may be closed for a moment.
            let wait = attempts
                .failed(self.options.retries)
                .context("the server does not send the shard back")?;
            retry::pause(wait, self.context.cancel)?;
        }
    }
}

/// Bytes of the TSM files of a shard.
fn tsm_bytes(shard: &CheckedShard) -> u64 {
    tsm_files(shard).map(|(_, size)| size).sum()
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
    sifted: &'a Sifted,
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
        let in_its_place = self.sifted.get(&member.name);
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
            self.live.context.report(&Event::Bytes {
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
