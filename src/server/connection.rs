//! One connection: a request is read, answered, and the connection closed. A failure is an early
//! close, and a line in the log.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;

use super::export::{Choice, choose};
use super::log::LogLine;
use super::shared::Shared;
use super::stores::SnapshotFile;
use crate::io::open::open_regular;
use crate::io::stream::Stream;
use crate::metastore::Data;
use crate::shard::ShardPath;
use crate::shard_tar::{MemberHeader, TarWriter};
use crate::time::{Bounds, GREATEST, from_nanos};
use crate::wire::{Dialect, Import, MetaBlob, Request, ShardIds, write_info, write_shard_ids};

/// Bytes read from a file at a time.
const CHUNK: usize = 128 << 10;

/// Serves one connection to its end.
pub(super) fn serve(shared: &Shared, stream: &Stream, peer: &str) {
    let started = Instant::now();
    let mut words = String::new();
    let mut sent = 0;
    let result = answer(shared, stream, &mut words, &mut sent);
    let counter = if result.is_ok() {
        &shared.counters.answered
    } else {
        &shared.counters.failed
    };
    counter.fetch_add(1, Ordering::Relaxed);
    shared.counters.bytes.fetch_add(sent, Ordering::Relaxed);
    let outcome = result.as_ref().map(|()| sent);
    shared.log.request(&LogLine {
        peer,
        request: &words,
        outcome,
        elapsed: started.elapsed(),
    });
    stream.say_end();
}

fn answer(shared: &Shared, stream: &Stream, words: &mut String, sent: &mut u64) -> Result<()> {
    stream.set_nodelay()?;
    stream.set_write_timeout(shared.options.idle_timeout)?;
    let deadline = Deadline {
        stream,
        until: Some(Instant::now() + shared.options.request_timeout),
    };
    let mut reader = BufReader::new(deadline);
    let (dialect, request) =
        Request::read_from(&mut reader, shared.options.accept, shared.options.writable)?;
    *words = request.to_string();
    let mut out = BufWriter::with_capacity(
        CHUNK,
        Counting {
            stream,
            sent,
            failed: false,
        },
    );
    match &request {
        Request::MetaStore => {
            let blob = MetaBlob {
                meta: shared.meta.data()?,
                node: b"null\n".to_vec(),
            };
            blob.write_to(&mut out)?;
        }
        Request::SeriesFile => bail!("series files are never sent"),
        Request::DatabaseInfo { database } => {
            let all = database.is_empty() && dialect == Dialect::V1_5;
            write_info(&mut out, &info(shared, (!all).then_some(database), None)?)?;
        }
        Request::PolicyInfo {
            database,
            retention_policy,
        } => {
            write_info(
                &mut out,
                &info(shared, Some(database), Some(retention_policy))?,
            )?;
        }
        // Nothing is: the shard need not be made ready to send, which takes long where much is in
        // its WAL.
        Request::Shard {
            id,
            since: Some(since),
        } if *since >= from_nanos(GREATEST) => {
            find(shared, *id)?;
            TarWriter::new(&mut out)
                .finish()
                .context("sending an empty tar")?;
        }
        Request::Shard { id, since } => send_shard(shared, *id, &mut out, |file| {
            Ok(if since.is_none_or(|since| changed_after(file, since)) {
                Choice::Whole
            } else {
                Choice::Leave
            })
        })?,
        Request::Export { id, bounds } => send_export(shared, *id, *bounds, &mut out)?,
        Request::Import(import) => import_into(shared, import, &mut out)?,
        Request::Upload { id } => {
            let shard = find(shared, *id)?;
            reader.get_mut().until = None;
            stream.set_read_timeout(shared.options.idle_timeout)?;
            shared.shards.replace(&shard, &mut reader)?;
        }
    }
    out.flush().context("sending the reply")
}

/// The shards that the metastore names and the shard store holds, those of deleted groups
/// included, as influxd answers.
fn info(
    shared: &Shared,
    database: Option<&String>,
    policy: Option<&String>,
) -> Result<Vec<ShardPath>> {
    let data = Data::read(&shared.meta.data()?)?;
    if let Some(name) = database {
        let found = data
            .database(name)
            .with_context(|| format!("there is no database '{name}'"))?;
        if let Some(policy) = policy {
            found
                .retention_policy(policy)
                .with_context(|| format!("there is no policy '{name}'.'{policy}'"))?;
        }
    }
    let asked = data.shards().map(|shard| shard.path).filter(|path| {
        database.is_none_or(|name| *name == path.database)
            && policy.is_none_or(|name| *name == path.retention_policy)
    });
    let mut held = Vec::new();
    for path in asked {
        if shared.shards.holds(&path)? {
            held.push(path);
        }
    }
    Ok(held)
}

/// The shard of that id; its place is in the metastore.
fn find(shared: &Shared, id: u64) -> Result<ShardPath> {
    let data = Data::read(&shared.meta.data()?)?;
    let shard = data
        .shards()
        .map(|shard| shard.path)
        .find(|path| path.id == id);
    let shard = shard.with_context(|| format!("there is no shard {id}"))?;
    ensure!(shared.shards.holds(&shard)?, "there is no shard {id}");
    Ok(shard)
}

fn changed_after(file: &SnapshotFile, since: Timestamp) -> bool {
    // A time that the library cannot hold counts as changed: too much is sent rather than too
    // little.
    Timestamp::try_from(file.modified).map_or(true, |modified| modified > since)
}

fn send_export(shared: &Shared, id: u64, bounds: Bounds, out: &mut impl Write) -> Result<()> {
    send_shard(shared, id, out, |file| choose(file, bounds))
}

/// Sends the files of a shard, each as `choose` says. Nothing is sent before all are chosen.
fn send_shard(
    shared: &Shared,
    id: u64,
    out: &mut impl Write,
    choose: impl Fn(&SnapshotFile) -> Result<Choice>,
) -> Result<()> {
    let shard = find(shared, id)?;
    let snapshot = shared.shards.snapshot(&shard)?;
    snapshot
        .notes
        .iter()
        .for_each(|note| shared.log.warning(note));
    let choices: Vec<Choice> = snapshot.files.iter().map(choose).collect::<Result<_>>()?;
    let mut tar = TarWriter::new(out);
    for (file, choice) in snapshot.files.iter().zip(choices) {
        let size = match &choice {
            Choice::Leave => continue,
            Choice::Whole => file.size,
            Choice::Part(subset) => subset.size(),
        };
        let path = format!("{shard}/{}", file.name);
        let header = MemberHeader {
            path: &path,
            size,
            modified: seconds(file.modified),
            mode: file.mode,
            owner: file.owner,
            owner_names: (&file.owner_names.0, &file.owner_names.1),
        };
        let mut send = || {
            tar.begin(&header)?;
            let opened = open_regular(&file.path)?;
            match &choice {
                Choice::Part(subset) => subset
                    .write_to(&opened, &mut tar)
                    .map_err(io::Error::other)?,
                _ => copy(opened, &mut tar)?,
            }
            tar.end()
        };
        send().with_context(|| format!("sending {path}"))?;
    }
    tar.finish().context("sending the end of the tar")?;
    Ok(())
}

fn copy(mut from: File, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => out.write_all(&buffer[..count])?,
        }
    }
}

/// Seconds since 1970, rounded to the nearest as servers built with Go 1.10 and later do.
fn seconds(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    (since + Duration::from_millis(500)).as_secs()
}

/// Imports, and sends the pairs of old and new shard ids. A refusal is a reply without pairs, as
/// influxd's.
fn import_into(shared: &Shared, import: &Import, out: &mut impl Write) -> Result<()> {
    let imported = shared.meta.import(import, &|data, merged| {
        let added: HashSet<u64> = merged.shard_ids.values().copied().collect();
        let made: Vec<ShardPath> = data
            .shards()
            .map(|shard| shard.path)
            .filter(|path| added.contains(&path.id))
            .collect();
        shared.shards.create(&made)
    });
    let none = ShardIds::new();
    write_shard_ids(out, imported.as_ref().unwrap_or(&none))?;
    out.flush().context("sending the reply")?;
    imported.map(drop)
}

/// Reads until a moment and no longer, however slowly bytes come.
struct Deadline<'a> {
    stream: &'a Stream,
    until: Option<Instant>,
}

impl Read for Deadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the request did not come in time",
                ));
            }
            self.stream.set_read_timeout(left)?;
        }
        let mut stream = self.stream;
        stream.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "the peer sent nothing in time")
            }
            _ => error,
        })
    }
}

struct Counting<'a> {
    stream: &'a Stream,
    sent: &'a mut u64,
    failed: bool,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut stream = self.stream;
        let count = stream.write(bytes).map_err(|error| {
            // What is buffered is not tried again when the buffer goes away.
            self.failed = true;
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    io::Error::new(io::ErrorKind::TimedOut, "the peer took nothing in time")
                }
                _ => error,
            }
        })?;
        *self.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
