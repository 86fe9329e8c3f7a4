//! Reading an object: chunks by ranged GETs, a few kept and a few on their way.
//!
//! An open object holds at most [`KEPT`] chunks of [`CHUNK`] bytes, 16 MiB. A small object is one
//! request. Each chunk is asked for with the ETag of the first, so that all are of one content.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes as Shared;
use object_store::path::Path;
use object_store::{GetOptions, GetRange};
use tokio::sync::oneshot::{self, Receiver};

use super::client::Client;
use super::remote::Remote;
use super::trouble::{Kind, Trouble};
use crate::repository::store::Bytes;
use crate::web::runtime;

/// Bytes that are asked for at once.
pub(super) const CHUNK: u64 = 2 << 20;
/// How many chunks of an object are kept.
const KEPT: usize = 8;
/// How many are asked for ahead where an object is read from front to back.
const AHEAD: u64 = 3;

/// An object that is open.
pub(super) struct ObjectReader {
    remote: Arc<Remote>,
    name: String,
    size: u64,
    e_tag: Option<String>,
    chunks: Mutex<Chunks>,
}

#[derive(Default)]
struct Chunks {
    /// The most recently used last.
    kept: VecDeque<(u64, Slot)>,
    /// The one that was read last.
    last: Option<u64>,
}

/// A chunk that is there, or on its way.
enum Slot {
    There(Shared),
    OnItsWay(Receiver<Result<Shared, Trouble>>),
}

/// A part of an object, and what is known of the whole.
struct Fetched {
    bytes: Shared,
    size: u64,
    e_tag: Option<String>,
}

impl ObjectReader {
    /// Opens an object: its first chunk tells how large it is.
    pub(super) fn open(remote: &Arc<Remote>, name: &str) -> io::Result<Self> {
        let failed = |trouble: Trouble| {
            let source = remote.client().source.clone();
            trouble.io(&remote.url.of(name), &remote.url, &source)
        };
        let path = remote.path(name).map_err(io::Error::other)?;
        let asked = remote
            .ask(move |client| get(client, path.clone(), 0..CHUNK, None))
            .map_err(io::Error::other)?;
        let first = match asked {
            Ok(asked) => asked,
            // There is no first byte of nothing.
            Err(trouble) if trouble.kind == Kind::PastTheEnd => Fetched {
                bytes: Shared::new(),
                size: 0,
                e_tag: None,
            },
            Err(trouble) => return Err(failed(trouble)),
        };
        if first.bytes.len() as u64 != first.size.min(CHUNK) {
            return Err(failed(Trouble::other(
                "what came is shorter than announced",
            )));
        }
        let mut chunks = Chunks::default();
        chunks.kept.push_back((0, Slot::There(first.bytes)));
        Ok(Self {
            remote: remote.clone(),
            name: name.to_owned(),
            size: first.size,
            e_tag: first.e_tag,
            chunks: Mutex::new(chunks),
        })
    }

    fn range(&self, chunk: u64) -> std::ops::Range<u64> {
        chunk * CHUNK..((chunk + 1) * CHUNK).min(self.size)
    }

    /// Asks for a chunk, in the background.
    fn fetch(&self, chunk: u64) -> io::Result<Slot> {
        let (send, receive) = oneshot::channel();
        let range = self.range(chunk);
        let (remote, e_tag) = (self.remote.clone(), self.e_tag.clone());
        let path = remote.path(&self.name).map_err(io::Error::other)?;
        let length = range.end - range.start;
        runtime::handle()
            .map_err(io::Error::other)?
            .spawn(async move {
                let get = |client| get(client, path.clone(), range.clone(), e_tag.clone());
                let fetched = remote.send(get).await.map(|fetched| fetched.bytes);
                let whole = fetched.and_then(|bytes| match bytes.len() as u64 == length {
                    true => Ok(bytes),
                    false => Err(Trouble::other("what came is shorter than announced")),
                });
                let _ = send.send(whole);
            });
        Ok(Slot::OnItsWay(receive))
    }

    /// A chunk, once it is there.
    fn chunk(&self, chunk: u64) -> io::Result<Shared> {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match chunks.take(chunk) {
            Some(slot) => slot,
            None => self.fetch(chunk)?,
        };
        // Whoever goes on from where it was, or begins a file of several, will want more.
        if chunk > 0
            && chunks
                .last
                .is_none_or(|last| last == chunk || last + 1 == chunk)
        {
            for next in chunk + 1..=chunk + AHEAD {
                if next * CHUNK < self.size && !chunks.has(next) {
                    let ahead = self.fetch(next)?;
                    chunks.keep(next, ahead);
                }
            }
        }
        chunks.last = Some(chunk);
        let bytes = match slot {
            Slot::There(bytes) => bytes,
            Slot::OnItsWay(receive) => {
                // What others read of this object meanwhile waits with it.
                let came = self.remote.wait(receive);
                let came = came.map_err(io::Error::other)?;
                let came = came.map_err(|_| io::Error::other("a request ended early"))?;
                came.map_err(|trouble| self.failed(&trouble))?
            }
        };
        chunks.keep(chunk, Slot::There(bytes.clone()));
        Ok(bytes)
    }

    fn failed(&self, trouble: &Trouble) -> io::Error {
        let remote = &self.remote;
        if trouble.kind == Kind::Precondition {
            let changed = format!(
                "{} was changed while it was read",
                remote.url.of(&self.name)
            );
            return io::Error::other(changed);
        }
        trouble.io(
            &remote.url.of(&self.name),
            &remote.url,
            &remote.client().source,
        )
    }
}

impl Chunks {
    fn has(&self, chunk: u64) -> bool {
        self.kept.iter().any(|(at, _)| *at == chunk)
    }

    fn take(&mut self, chunk: u64) -> Option<Slot> {
        let at = self.kept.iter().position(|(at, _)| *at == chunk)?;
        self.kept.remove(at).map(|(_, slot)| slot)
    }

    fn keep(&mut self, chunk: u64, slot: Slot) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((chunk, slot));
    }
}

/// One ranged GET.
async fn get(
    client: Arc<Client>,
    path: Path,
    range: std::ops::Range<u64>,
    if_match: Option<String>,
) -> object_store::Result<Fetched> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        if_match,
        ..GetOptions::default()
    };
    let got = client.objects.get_opts(&path, options).await?;
    let (size, e_tag) = (got.meta.size, got.meta.e_tag.clone());
    Ok(Fetched {
        bytes: got.bytes().await?,
        size,
        e_tag,
    })
}

impl Bytes for ObjectReader {
    fn read_some_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let chunk = self.chunk(offset / CHUNK)?;
        let from = (offset % CHUNK) as usize;
        let rest = &chunk[from..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectReader")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
