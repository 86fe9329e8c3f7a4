//! Sending a shard in one upload: its tar is made by one thread, and sent as it comes by another.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::filtered::FilteredFiles;
use super::parts::{UploadPart, UploadShard};
use super::target::Live;
use crate::cancel::Cancel;
use crate::ops::restore::checked_shard::ShardFile;
use crate::progress::Event;
use crate::repository::Catalog;
use crate::shard::ShardPath;
use crate::shard_tar::{Member, MemberHeader, ShardTarReader, TarWriter};

/// Bytes sent at a time.
const CHUNK: usize = 256 << 10;
/// How many chunks a shard is read ahead.
const AHEAD: usize = 8;
/// How long an upload waits for the backup to be read. While it lasts, the server holds up all who
/// write to the shard.
const STALL: Duration = Duration::from_secs(10);
/// How often it looks until then whether it is to stop.
const TICK: Duration = Duration::from_millis(500);

impl Live<'_> {
    /// Sends all that the shard is to hold in one upload, and waits until the server is done with
    /// it.
    pub(super) fn send(
        &self,
        catalog: &Catalog,
        shard: &UploadShard<'_>,
        filtered: &[FilteredFiles],
    ) -> Result<()> {
        let (sender, receiver) = sync_channel(AHEAD);
        let stop = self.context.cancel.child();
        thread::scope(|scope| {
            let reading = scope.spawn(|| self.pack(catalog, shard, filtered, sender, &stop));
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
    fn forward(&self, shard: &UploadShard<'_>, pieces: Receiver<Piece>) -> Result<()> {
        // Nothing is held up before the first piece is there.
        let mut piece = loop {
            match pieces.recv_timeout(TICK) {
                Ok(piece) => break piece,
                Err(RecvTimeoutError::Timeout) => self.context.check()?,
                Err(RecvTimeoutError::Disconnected) => bail!("the backup was not read to its end"),
            }
        };
        let mut upload = self.client.upload(shard.path.id)?;
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
        catalog: &Catalog,
        shard: &UploadShard<'_>,
        filtered: &[FilteredFiles],
        sender: SyncSender<Piece>,
        stop: &Cancel,
    ) -> Result<()> {
        let pieces = Pieces {
            sender,
            pending: Vec::with_capacity(CHUNK),
        };
        let mut tar = TarWriter::new(pieces);
        for (part, filtered) in shard.parts.iter().zip(filtered) {
            let mut packing = TarPacker {
                live: self,
                target: &shard.path,
                part,
                filtered,
                tar: &mut tar,
                stop,
            };
            for (source, file) in part.shard.sources.iter().enumerate() {
                let reading = || format!("reading {}", catalog.place_of(&file.name));
                let tar = catalog.open(file, |file| file)?;
                let mut reader = ShardTarReader::new(tar, &part.shard.source);
                packing.pack(&mut reader, source).with_context(reading)?;
            }
        }
        let mut pieces = tar.finish()?;
        Ok(pieces.hand_on(Piece::End)?)
    }

    /// Has the server clear away what a failed upload left: an empty tar reopens the shard.
    pub(super) fn clear(&self, shard: &UploadShard<'_>) -> Result<()> {
        let mut upload = self.client.upload(shard.path.id)?;
        upload
            .write_all(&[0; 1024])
            .and_then(|()| upload.finish())
            .context("clearing away what a failed attempt left")
    }
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

/// Passes the files of a part of a shard on into the upload, under their new names.
struct TarPacker<'a> {
    live: &'a Live<'a>,
    target: &'a ShardPath,
    part: &'a UploadPart<'a>,
    filtered: &'a FilteredFiles,
    tar: &'a mut TarWriter<Pieces>,
    stop: &'a Cancel,
}

impl TarPacker<'_> {
    /// Packs the files that are to come from one tar.
    fn pack(&mut self, reader: &mut ShardTarReader<impl Read>, source: usize) -> Result<()> {
        while let Some(member) = reader.next_member().map_err(io::Error::from)? {
            let wanted = self.part.shard.files.get(&member.name);
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
                file.copy_to(self.tar)?;
                self.tar.end()?;
            }
        }
        let (live, target) = (self.live, self.target);
        checked.read_again(reader, &member.name, self.stop, |bytes| {
            if in_its_place.is_none() {
                self.tar.write_all(bytes)?;
            }
            live.context.report(&Event::Bytes {
                shard: target,
                count: bytes.len() as u64,
            });
            Ok(())
        })?;
        if in_its_place.is_none() {
            self.tar.end()?;
        }
        Ok(())
    }

    fn begin_file(&mut self, member: &Member, size: u64) -> io::Result<()> {
        let name = self.part.names.get(&member.name);
        let name = name.ok_or_else(|| io::Error::other(format!("{} has no name", member.name)))?;
        let path = format!("{}/{name}", self.target);
        self.tar
            .begin(&MemberHeader::of_file(&path, size, member.modified))
    }
}
