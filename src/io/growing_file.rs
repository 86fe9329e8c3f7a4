//! A file that is written from its beginning to its end, and reaches the disk meanwhile.
//!
//! Of a large file, all but the first piece goes to the disk directly, and not through the system's
//! page cache, where the file system is one of which that is known to be cheaper. To write costs
//! half of the processor time then, for nothing is copied there, and a thread of the file's own
//! waits for the disk. Everywhere else the system is told to begin writing early.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::durable::WriteBack;

/// Bytes written at a time where they go to the disk directly.
const PIECE: usize = 512 << 10;

/// How many pieces of a file there are: one is filled while the others wait for the disk.
const PIECES: usize = 3;

/// What places in memory and in files have to be multiples of: no disk has larger sectors.
const ALIGNMENT: usize = 4096;

/// How many files of a run go to the disk directly at a time, which bounds the memory for pieces.
const MOST_FILES: usize = 4;

/// Memory for the pieces of all files of a run. There are no more than were in use at a time,
/// whichever threads used them.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    free: Mutex<Vec<Piece>>,
    files: AtomicUsize,
}

impl Pieces {
    /// A share for one more file, unless there are many.
    fn share(self: &Arc<Self>) -> Option<Share> {
        let one_more = |files| (files < MOST_FILES).then_some(files + 1);
        let counted = self
            .files
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.ok().map(|_| Share(self.clone()))
    }
}

/// What allows a file to use pieces, until it is dropped.
#[derive(Debug)]
struct Share(Arc<Pieces>);

impl Share {
    fn take(&self) -> Piece {
        self.free().pop().unwrap_or_else(Piece::new)
    }

    fn give_back(&self, piece: Piece) {
        self.free().push(piece);
    }

    fn free(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.files.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A file that grows.
#[derive(Debug)]
pub(crate) struct GrowingFile {
    file: Arc<File>,
    size: u64,
    way: Way,
    pieces: Arc<Pieces>,
}

/// How it gets to the disk.
#[derive(Debug)]
enum Way {
    /// Through the page cache.
    Cached(WriteBack),
    Direct(DirectWriter),
}

impl GrowingFile {
    /// A file that is empty and open for writing.
    pub(crate) fn new(file: File, pieces: &Arc<Pieces>) -> Self {
        Self {
            file: Arc::new(file),
            size: 0,
            way: Way::Cached(WriteBack::default()),
            pieces: pieces.clone(),
        }
    }

    /// Takes bytes, as many of them as it says. What cannot be written may be told later.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size == PIECE as u64
            && let Some(direct) = DirectWriter::begin(&self.file, self.size, &self.pieces)
        {
            self.way = Way::Direct(direct);
        }
        let count = match &mut self.way {
            Way::Direct(direct) => direct.write(bytes)?,
            Way::Cached(write_back) => {
                let most = match (PIECE as u64).saturating_sub(self.size) {
                    0 => bytes.len(),
                    left_of_first => bytes.len().min(left_of_first as usize),
                };
                let count = self.file.write_at(&bytes[..most], self.size)?;
                write_back.wrote(&self.file, count);
                count
            }
        };
        self.size += count as u64;
        Ok(count)
    }

    /// Waits until all is written, which need not last yet, and keeps no memory. For files that are
    /// at their end, or nearly so.
    ///
    /// # Errors
    ///
    /// When some of it cannot be written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let cached = Way::Cached(WriteBack::default());
        match mem::replace(&mut self.way, cached) {
            Way::Direct(direct) => direct.finish(),
            cached => {
                self.way = cached;
                Ok(())
            }
        }
    }

    /// The file with all its bytes, which need not last yet.
    ///
    /// # Errors
    ///
    /// Those of [`GrowingFile::flush`].
    pub(crate) fn finish(mut self) -> io::Result<Arc<File>> {
        self.flush()?;
        Ok(self.file)
    }
}

/// Writes to a file directly. When it is dropped, its thread ends by itself.
#[derive(Debug)]
struct DirectWriter {
    file: Arc<File>,
    /// Where the next piece begins.
    offset: u64,
    filling: Option<Piece>,
    /// How many pieces it has.
    held: usize,
    pieces: Share,
    full: SyncSender<Piece>,
    /// Pieces that were written. The lock is for `Sync` alone.
    written: Mutex<Receiver<io::Result<Piece>>>,
    thread: JoinHandle<()>,
}

impl DirectWriter {
    /// Writes from an offset on that is aligned; `None` where that is not possible, or has no use.
    fn begin(file: &Arc<File>, offset: u64, pieces: &Arc<Pieces>) -> Option<Self> {
        let pieces = pieces.share()?;
        if !is_better_direct(file) || set_direct(file, true).is_err() {
            return None;
        }
        let begun = Self::start(file, offset, pieces);
        if begun.is_err() {
            let _ = set_direct(file, false);
        }
        begun.ok()
    }

    /// Starts the thread.
    fn start(file: &Arc<File>, offset: u64, pieces: Share) -> io::Result<Self> {
        // More than one would wait for each other: what makes a file longer is done one at a time.
        let (full, to_write) = mpsc::sync_channel(PIECES);
        let (done, written) = mpsc::channel();
        let written_by = file.clone();
        let thread =
            thread::Builder::new().spawn(move || write_pieces(&written_by, &to_write, &done))?;
        Ok(Self {
            file: file.clone(),
            offset,
            filling: None,
            held: 0,
            pieces,
            full,
            written: Mutex::new(written),
            thread,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut piece = match self.filling.take() {
            Some(piece) => piece,
            None => self.free_piece()?,
        };
        let count = piece.fill(bytes);
        if piece.length < PIECE {
            self.filling = Some(piece);
        } else {
            self.offset += PIECE as u64;
            self.full
                .send(piece)
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(count)
    }

    /// A piece for the next bytes, once there is one.
    fn free_piece(&mut self) -> io::Result<Piece> {
        let piece = if self.held < PIECES {
            self.held += 1;
            self.pieces.take()
        } else {
            let written = self.written.get_mut();
            let written = written.unwrap_or_else(PoisonError::into_inner).recv();
            written.map_err(|_| io::ErrorKind::BrokenPipe)??
        };
        Ok(Piece {
            length: 0,
            offset: self.offset,
            ..piece
        })
    }

    /// Writes the rest, and waits until all is written.
    fn finish(self) -> io::Result<()> {
        drop(self.full);
        let written = self.written.into_inner();
        let mut written = written.unwrap_or_else(PoisonError::into_inner).into_iter();
        let all_written: io::Result<()> = written.try_for_each(|piece| {
            self.pieces.give_back(piece?);
            Ok(())
        });
        drop(written);
        let joined = self.thread.join();
        joined.unwrap_or_else(|panic| panic::resume_unwind(panic));
        let Some(rest) = all_written.map(|()| self.filling)? else {
            return Ok(());
        };
        // Its end is where the file ends, and not aligned.
        set_direct(&self.file, false)?;
        self.file.write_all_at(rest.bytes(), rest.offset)?;
        self.pieces.give_back(rest);
        Ok(())
    }
}

/// Writes what comes, and gives it back. After a failure it goes on: the first is told first.
fn write_pieces(file: &File, to_write: &Receiver<Piece>, done: &Sender<io::Result<Piece>>) {
    for piece in to_write {
        let written = write_piece(file, &piece).map(|()| piece);
        if done.send(written).is_err() {
            return;
        }
    }
}

fn write_piece(file: &File, piece: &Piece) -> io::Result<()> {
    match file.write_all_at(piece.bytes(), piece.offset) {
        // The file system wants another alignment, or wrote a part that is not aligned.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            set_direct(file, false)?;
            file.write_all_at(piece.bytes(), piece.offset)
        }
        written => written,
    }
}

/// Bytes of a file, in memory that the disk can read them from.
struct Piece {
    memory: Vec<u8>,
    /// Where in the memory they begin: at an address that is aligned.
    start: usize,
    length: usize,
    /// Where they belong in the file.
    offset: u64,
}

impl Piece {
    fn new() -> Self {
        let memory = vec![0; PIECE + ALIGNMENT];
        let address = memory.as_ptr().addr();
        Self {
            start: address.next_multiple_of(ALIGNMENT) - address,
            memory,
            length: 0,
            offset: 0,
        }
    }

    /// Takes as many bytes as there is room for, and says how many these are.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(PIECE - self.length);
        let at = self.start + self.length;
        self.memory[at..at + count].copy_from_slice(&bytes[..count]);
        self.length += count;
        count
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}", self.length, self.offset)
    }
}

/// Whether the file system is one on which to write directly costs less and waits for the disk
/// alone. On a network, each piece would wait for the server's disk; others compress, or take it
/// for something else.
#[cfg(target_os = "linux")]
fn is_better_direct(file: &File) -> bool {
    /// ext2, ext3, ext4; XFS.
    const KINDS: [u64; 2] = [0xEF53, 0x5846_5342];
    rustix::fs::fstatfs(file).is_ok_and(|system| KINDS.contains(&(system.f_type as u64)))
}

#[cfg(not(target_os = "linux"))]
fn is_better_direct(_: &File) -> bool {
    false
}

/// Has what is written go to the disk directly from now on, or no more.
#[cfg(target_os = "linux")]
fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn set_direct(_: &File, _: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Bytes of which no two pieces are alike.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| (at * 31 + at / PIECE) as u8).collect()
    }

    #[test]
    fn a_file_has_its_bytes_in_their_order_however_they_are_split() {
        let folder = tempfile::tempdir().unwrap();
        let pieces = Arc::new(Pieces::default());
        for count in [
            0,
            1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            9 * PIECE,
            6 * PIECE + 513,
        ] {
            for step in [4 * PIECE, 65_521, PIECE] {
                let path = folder.path().join("file");
                let mut growing = GrowingFile::new(File::create(&path).unwrap(), &pieces);
                let bytes = bytes(count);
                for mut piece in bytes.chunks(step) {
                    while !piece.is_empty() {
                        piece = &piece[growing.write(piece).unwrap()..];
                    }
                }
                growing.finish().unwrap();
                assert!(
                    fs::read(&path).unwrap() == bytes,
                    "{count} in steps of {step}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_was_flushed_goes_on_growing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut growing = GrowingFile::new(File::create(&path).unwrap(), &Arc::default());
        let mut written = Vec::new();
        for count in [PIECE, PIECE / 2 + 7, 3 * PIECE, 1] {
            let bytes = bytes(count);
            written.extend_from_slice(&bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                rest = &rest[growing.write(rest).unwrap()..];
            }
            growing.flush().unwrap();
            assert!(fs::read(&path).unwrap() == written);
        }
    }

    #[test]
    fn few_files_at_a_time_use_memory_for_pieces_and_give_it_back() {
        let pieces = Arc::new(Pieces::default());
        let mut shares: Vec<Share> = (0..MOST_FILES).filter_map(|_| pieces.share()).collect();
        assert_eq!(shares.len(), MOST_FILES);
        assert!(pieces.share().is_none());
        shares.pop();
        let folder = tempfile::tempdir().unwrap();
        let bytes = bytes(PIECE);
        for name in ["one", "another"] {
            let file = Arc::new(File::create(folder.path().join(name)).unwrap());
            let share = pieces.share().unwrap();
            let mut writer = DirectWriter::start(&file, 0, share).unwrap();
            for _ in 0..2 * PIECES {
                assert_eq!(writer.write(&bytes).unwrap(), PIECE);
            }
            writer.finish().unwrap();
        }
        assert_eq!(shares[0].free().len(), PIECES);
    }

    #[test]
    fn what_the_thread_cannot_write_is_told_soon_and_at_the_end_at_the_latest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let read_only = Arc::new(File::open(&path).unwrap());
        let bytes = bytes(PIECE);
        let pieces = Arc::new(Pieces::default());
        for whole_pieces in [0, 1, PIECES] {
            let mut writer = DirectWriter::start(&read_only, 0, pieces.share().unwrap()).unwrap();
            for _ in 0..whole_pieces {
                assert_eq!(writer.write(&bytes).unwrap(), PIECE);
            }
            if whole_pieces == PIECES {
                assert!(writer.write(b"more").is_err());
            } else {
                assert_eq!(writer.write(b"rest").unwrap(), 4);
            }
            assert!(writer.finish().is_err(), "{whole_pieces}");
        }
    }

    #[test]
    fn a_piece_that_cannot_be_written_directly_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        // Not all file systems take it; those are no harder to write to.
        let _ = set_direct(&file, true);
        let mut piece = Piece {
            offset: 7,
            ..Piece::new()
        };
        piece.fill(b"content");
        write_piece(&file, &piece).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\0\0\0\0content");
    }
}
