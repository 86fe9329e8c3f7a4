//! Objects in memory, in pages of ten, that fail when told to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::web::Unanswered;

pub(super) const PAGE: usize = 10;

/// Objects in memory.
#[derive(Debug, Default)]
pub(super) struct Objects {
    inner: InMemory,
    /// Uploads that are neither complete nor aborted.
    uploads: Mutex<BTreeSet<String>>,
    calls: Mutex<Vec<String>>,
    /// The call, counted from 1, that fails.
    failing: AtomicUsize,
    /// Whether that is done, and only its answer lost.
    is_done: AtomicUsize,
    has_failed: AtomicUsize,
    /// Who does not answer then, if that is not the storage.
    silent: Mutex<Option<&'static str>>,
}

impl Objects {
    pub(super) fn fail_at(&self, call: usize, is_done: bool) {
        self.calls();
        self.failing.store(call, Ordering::SeqCst);
        self.is_done.store(is_done.into(), Ordering::SeqCst);
        self.has_failed.store(0, Ordering::SeqCst);
    }

    /// As [`Objects::fail_at`], because this host does not answer.
    pub(super) fn fail_without(&self, host: &'static str, call: usize) {
        self.fail_at(call, false);
        *self.silent.lock().unwrap() = Some(host);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst) > 0
    }

    pub(super) fn uploads(&self) -> usize {
        self.uploads.lock().unwrap().len()
    }

    /// The calls since this was asked last.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    async fn call<T>(
        &self,
        what: String,
        does: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(what);
            calls.len()
        };
        if number != self.failing.load(Ordering::SeqCst) {
            return does.await;
        }
        self.has_failed.store(1, Ordering::SeqCst);
        if self.is_done.load(Ordering::SeqCst) > 0 {
            does.await?;
        }
        let lost = Unanswered {
            host: self.silent.lock().unwrap().unwrap_or("memory").to_owned(),
            why: "connection reset".to_owned(),
            may_pass: true,
            is_untrusted: false,
        };
        Err(Error::Generic {
            store: "memory",
            source: Box::new(lost),
        })
    }
}

fn last(path: &Path) -> &str {
    path.as_ref().rsplit('/').next().unwrap_or_default()
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

/// What was sent, in memory of its own: that of parts is needed for others.
fn copied(payload: PutPayload) -> PutPayload {
    payload
        .iter()
        .map(|piece| Bytes::copy_from_slice(piece))
        .collect()
}

#[async_trait]
impl ObjectStore for Objects {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let what = format!("put {}", last(path));
        self.call(what, self.inner.put_opts(path, copied(payload), options))
            .await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("uploads are made a part at a time")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let what = match (&options.range, options.head) {
            (_, true) => format!("head {}", last(path)),
            (Some(GetRange::Bounded(range)), _) => format!("get {} {}", last(path), range.start),
            _ => format!("get {}", last(path)),
        };
        let get = async {
            // A service gives nothing of an object that has nothing.
            let head = GetOptions {
                head: true,
                ..GetOptions::default()
            };
            if options.range.is_some() && self.inner.get_opts(path, head).await?.meta.size == 0 {
                let answer = super::super::answer::Answer {
                    status: 416,
                    ..Default::default()
                };
                return Err(Error::Generic {
                    store: "memory",
                    source: Box::new(answer),
                });
            }
            self.inner.get_opts(path, options).await
        };
        self.call(what, get).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("nothing is copied")
    }
}

#[async_trait]
impl MultipartStore for Objects {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let create = async {
            let id = self.inner.create_multipart(path).await?;
            self.uploads.lock().unwrap().insert(id.clone());
            Ok(id)
        };
        self.call(format!("create {}", last(path)), create).await
    }

    async fn create_multipart_opts(
        &self,
        path: &Path,
        _: PutMultipartOptions,
    ) -> Result<MultipartId> {
        self.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let what = format!("part {} {part}", last(path));
        self.call(what, self.inner.put_part(path, id, part, copied(data)))
            .await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let complete = async {
            if !self.uploads.lock().unwrap().remove(id) {
                let answer = super::super::answer::Answer {
                    status: 404,
                    code: "NoSuchUpload".to_owned(),
                    ..Default::default()
                };
                return Err(Error::Generic {
                    store: "memory",
                    source: Box::new(answer),
                });
            }
            self.inner.complete_multipart(path, id, parts).await
        };
        self.call(format!("complete {}", last(path)), complete)
            .await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.uploads.lock().unwrap().remove(id);
        self.inner.abort_multipart(path, id).await
    }
}

#[async_trait]
impl PaginatedListStore for Objects {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let list = async {
            let prefix = prefix.unwrap_or_default();
            let all: Vec<ObjectMeta> = self.inner.list(None).try_collect().await?;
            let (mut objects, mut folders) = (Vec::new(), BTreeSet::new());
            for object in all {
                let Some(rest) = object.location.as_ref().strip_prefix(prefix) else {
                    continue;
                };
                match rest.split_once('/').filter(|_| options.delimiter.is_some()) {
                    Some((folder, _)) => {
                        folders.insert(Path::from(format!("{prefix}{folder}")));
                    }
                    None => objects.push(object),
                }
            }
            let from = options.page_token.map_or(0, |token| token.parse().unwrap());
            let has_more = objects.len() > from + PAGE;
            let result = ListResult {
                common_prefixes: folders.into_iter().filter(|_| from == 0).collect(),
                objects: objects.into_iter().skip(from).take(PAGE).collect(),
                extensions: Default::default(),
            };
            Ok(PaginatedListResult {
                result,
                page_token: has_more.then(|| (from + PAGE).to_string()),
            })
        };
        self.call("list".to_owned(), list).await
    }
}
