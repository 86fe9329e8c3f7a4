//! An object that is written: parts while it grows, and nothing under its name before all of them
//! are there.
//!
//! A file holds at most `uploads` + 1 parts in memory, and all files together as many as
//! [`PartMemory`](super::parts::PartMemory) has. What fits into one part is one request. All parts
//! but the last have one size, which some services demand, as long as 8,000 of them are enough;
//! then they grow, so that 10,000 hold every shard.

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{GetOptions, MultipartId, PutMode, PutOptions, PutPayload};
use tokio::sync::oneshot::{self, Receiver};

use super::client::Client;
use super::parts::Part;
use super::remote::Remote;
use super::transport::with_known_md5;
use super::trouble::{Kind, Trouble};
use crate::error::{Error, ErrorKind};
use crate::repository::store::StagedObject;
use crate::web::runtime;

/// How many parts have the first size.
const EQUAL_PARTS: usize = 8000;
/// From there on so many parts have each size, and each size is eight times that before.
const PARTS_OF_A_SIZE: usize = 1000;
const GROWTH: usize = 8;

/// How uploads are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// Bytes.
    pub size: usize,
    pub in_flight: usize,
}

impl Parts {
    /// The size of a part, counted from 0.
    fn size_of(self, part: usize) -> usize {
        match part.checked_sub(EQUAL_PARTS) {
            None => self.size,
            Some(over) => {
                let steps = (over / PARTS_OF_A_SIZE) as u32 + 1;
                self.size.saturating_mul(GROWTH.saturating_pow(steps))
            }
        }
    }

    /// How many parts may be on their way while one is filled, without more memory than at first.
    fn in_flight_at(self, part: usize) -> usize {
        let memory = self.size * self.in_flight;
        (memory / self.size_of(part)).max(1)
    }
}

/// An object that grows.
pub(super) struct ObjectUpload {
    remote: Arc<Remote>,
    name: String,
    path: Path,
    mode: PutMode,
    parts: Parts,
    /// The part that is being filled.
    part: Option<Part>,
    /// What was accepted of whoever writes.
    accepted: u64,
    upload: Option<Upload>,
    /// The first error: nothing is written, and nothing completed, after it.
    failed: Option<Error>,
}

struct Upload {
    id: MultipartId,
    sent: Vec<SentPart>,
}

/// A part that was sent.
struct SentPart {
    size: u64,
    state: PartState,
}

enum PartState {
    OnItsWay(Receiver<Result<PartId, Trouble>>),
    There(PartId),
}

impl ObjectUpload {
    pub(super) fn new(
        remote: &Arc<Remote>,
        name: &str,
        mode: PutMode,
        parts: Parts,
    ) -> Result<Self> {
        Ok(Self {
            remote: remote.clone(),
            name: name.to_owned(),
            path: remote.path(name)?,
            mode,
            parts,
            part: None,
            accepted: 0,
            upload: None,
            failed: None,
        })
    }

    fn ask<T, F, A>(&self, request: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(Arc<Client>) -> A + Send + 'static,
        A: Future<Output = object_store::Result<T>> + Send,
    {
        match self.remote.ask(request)? {
            Ok(asked) => Ok(asked),
            Err(trouble) => Err(self.remote.told(&self.name, &trouble)),
        }
    }

    /// How large the part is that is being filled.
    fn part_size(&self) -> usize {
        let sent = self.upload.as_ref().map_or(0, |upload| upload.sent.len());
        self.parts.size_of(sent)
    }

    /// The part that is being filled; waits until there is memory for it.
    fn part(&mut self) -> Result<&mut Part, Error> {
        let part = match self.part.take() {
            Some(part) => part,
            None => {
                let memory = self.remote.parts.clone();
                let part = memory.part(self.part_size(), self.parts.size);
                self.remote.wait(part)?
            }
        };
        Ok(self.part.insert(part))
    }

    /// What was gathered since the last part was sent.
    fn take_content(&mut self) -> Bytes {
        self.part.take().map_or_else(Bytes::new, Part::into_bytes)
    }

    /// Sends what was gathered as a part, as soon as not too many are on their way.
    fn send_part(&mut self) -> Result<(), Error> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let path = self.path.clone();
                let id = self.ask(move |client| {
                    let path = path.clone();
                    async move { client.objects.create_multipart(&path).await }
                })?;
                let sent = Vec::new();
                Upload { id, sent }
            }
        };
        let number = upload.sent.len();
        let in_flight = self.parts.in_flight_at(number);
        let sent = upload.send(self, number, in_flight);
        self.upload = Some(upload);
        sent
    }

    /// All in one request.
    fn put(&mut self) -> Result<(), Error> {
        let content = self.take_content();
        put_whole(&self.remote, &self.name, content, self.mode.clone())
    }

    /// Puts the parts together, where they are all that was accepted.
    fn complete(&mut self) -> Result<(), Error> {
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let mut parts = Vec::with_capacity(upload.sent.len());
        let mut size = 0;
        for part in &mut upload.sent {
            parts.push(part.settled(&self.remote, &self.name)?);
            size += part.size;
        }
        if size != self.accepted {
            return Err(ErrorKind::Failed.error(format!(
                "{}: {} of {} bytes were sent",
                self.remote.url.of(&self.name),
                size,
                self.accepted
            )));
        }
        let (path, id) = (self.path.clone(), upload.id.clone());
        let sent = Arc::new(AtomicU32::new(0));
        let count = sent.clone();
        let completed = self.remote.ask(move |client| {
            count.fetch_add(1, Ordering::Relaxed);
            let (path, id, parts) = (path.clone(), id.clone(), parts.clone());
            async move { client.objects.complete_multipart(&path, &id, parts).await }
        })?;
        if let Err(trouble) = completed {
            // Done by an earlier request, whose answer did not come? The size tells.
            let may_be_done = sent.load(Ordering::Relaxed) > 1
                && matches!(trouble.kind, Kind::NotFound | Kind::Precondition);
            if !may_be_done || self.size_there().ok() != Some(self.accepted) {
                return Err(self.remote.told(&self.name, &trouble));
            }
        }
        self.upload = None;
        let there = self.size_there()?;
        if there != self.accepted {
            return Err(ErrorKind::Failed.error(format!(
                "{} has {there} bytes, of {} that were sent",
                self.remote.url.of(&self.name),
                self.accepted
            )));
        }
        Ok(())
    }

    fn size_there(&self) -> Result<u64, Error> {
        match self.remote.head(self.path.clone())? {
            Ok(there) => Ok(there.size),
            Err(trouble) => Err(self.remote.told(&self.name, &trouble)),
        }
    }

    /// Keeps the first error.
    fn latch<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.failed.get_or_insert_with(|| error.clone());
        }
        result
    }
}

impl Upload {
    fn send(
        &mut self,
        object: &mut ObjectUpload,
        number: usize,
        in_flight: usize,
    ) -> Result<(), Error> {
        let oldest = (number + 1).saturating_sub(in_flight);
        for part in &mut self.sent[..oldest.min(number)] {
            part.settled(&object.remote, &object.name)?;
        }
        let content = object.take_content();
        let size = content.len() as u64;
        let (send, receive) = oneshot::channel();
        let (remote, path, id) = (object.remote.clone(), object.path.clone(), self.id.clone());
        let md5 = remote.client().md5_of(&content);
        runtime::handle()?.spawn(async move {
            let put = |client: Arc<Client>| {
                let (path, id) = (path.clone(), id.clone());
                let (payload, md5) = (PutPayload::from(content.clone()), md5.clone());
                async move {
                    let put = client.objects.put_part(&path, &id, number, payload);
                    with_known_md5(md5, put).await
                }
            };
            let sent = remote.send(put).await;
            // There is room for another part before whoever waits for this one goes on.
            drop(content);
            let _ = send.send(sent);
        });
        self.sent.push(SentPart {
            size,
            state: PartState::OnItsWay(receive),
        });
        Ok(())
    }
}

impl SentPart {
    /// Waits until the part is there.
    fn settled(&mut self, remote: &Arc<Remote>, name: &str) -> Result<PartId, Error> {
        if let PartState::OnItsWay(receive) = &mut self.state {
            let (_, nothing) = oneshot::channel();
            let receive = mem::replace(receive, nothing);
            let came = remote.wait(receive)?;
            let came =
                came.map_err(|_| ErrorKind::Failed.error("a request ended without an answer"))?;
            let id = came.map_err(|trouble| remote.told(name, &trouble))?;
            self.state = PartState::There(id);
        }
        match &self.state {
            PartState::There(id) => Ok(id.clone()),
            PartState::OnItsWay(_) => Err(ErrorKind::Failed.error("a part did not arrive")),
        }
    }
}

/// Waits until an object is written by [`put`].
pub(super) fn put_whole(
    remote: &Arc<Remote>,
    name: &str,
    content: Bytes,
    mode: PutMode,
) -> Result<(), Error> {
    let (asked, name) = (remote.clone(), name.to_owned());
    let md5 = remote.client().md5_of(&content);
    remote.wait(async move {
        let put = put(&asked, &name, content, mode);
        with_known_md5(md5, put).await
    })?
}

/// Writes an object in one request. One that is there already is an error, where `mode` says so;
/// not where it is what an earlier request wrote, whose answer did not come.
pub(super) async fn put(
    remote: &Remote,
    name: &str,
    content: Bytes,
    mode: PutMode,
) -> Result<(), Error> {
    let path = remote.path(name)?;
    // A service may answer the first request after it has answered the second.
    let sent = AtomicU32::new(0);
    let request = |client: Arc<Client>| {
        sent.fetch_add(1, Ordering::Relaxed);
        let (path, payload) = (path.clone(), PutPayload::from(content.clone()));
        let options = PutOptions {
            mode: mode.clone(),
            ..PutOptions::default()
        };
        async move { client.objects.put_opts(&path, payload, options).await }
    };
    let Err(trouble) = remote.send(request).await else {
        return Ok(());
    };
    let was_repeated = sent.load(Ordering::Relaxed) > 1;
    if trouble.kind == Kind::Precondition && was_repeated {
        let get = |client: Arc<Client>| {
            let path = path.clone();
            async move {
                let got = client.objects.get_opts(&path, GetOptions::default());
                got.await?.bytes().await
            }
        };
        if remote.send(get).await.is_ok_and(|there| there == content) {
            return Ok(());
        }
    }
    Err(remote.told(name, &trouble))
}

impl Write for ObjectUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(failed) = &self.failed {
            return Err(io::Error::other(failed.clone()));
        }
        // A part is sent when there is more: what fits into one is one request.
        if self.part.as_ref().is_some_and(Part::is_full) {
            let sent = self.send_part();
            self.latch(sent).map_err(io::Error::other)?;
        }
        let filled = self.part().map(|part| part.fill(bytes));
        let count = self.latch(filled).map_err(io::Error::other)?;
        self.accepted += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StagedObject for ObjectUpload {
    fn seal(mut self: Box<Self>) -> Result<String> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into());
        }
        let sealed = match self.upload {
            None => self.put(),
            Some(_) => self.send_part().and_then(|()| self.complete()),
        };
        self.latch(sealed)?;
        Ok(mem::take(&mut self.name))
    }
}

impl Drop for ObjectUpload {
    /// What is not complete goes.
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else {
            return;
        };
        let path = self.path.clone();
        // What is left of it, the next run removes.
        let _ = self.remote.ask(move |client| {
            let (path, id) = (path.clone(), upload.id.clone());
            async move { client.objects.abort_multipart(&path, &id).await }
        });
    }
}

impl fmt::Debug for ObjectUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectUpload")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_half_a_tebibyte_and_the_first_eight_thousand_are_equal() {
        let parts = Parts {
            size: 8 << 20,
            in_flight: 3,
        };
        assert!((0..8000).all(|part| parts.size_of(part) == 8 << 20));
        let all: u64 = (0..10_000).map(|part| parts.size_of(part) as u64).sum();
        assert!(all > 512 << 30, "{all}");
        assert_eq!((parts.in_flight_at(0), parts.in_flight_at(8000)), (3, 1));
    }
}
