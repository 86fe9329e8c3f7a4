//! A bucket that is asked again as long as that may help, by one policy for all requests.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta};

use super::client::{Client, S3Client};
use super::notice::Notice;
use super::parts::PartMemory;
use super::trouble::{Kind, Trouble};
use super::url::ObjectUrl;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::retry::{Gate, Server};
use crate::text;
use crate::web::runtime;

/// The longest that a service is left alone because it asks for that.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long a run that was stopped may go on tidying up, altogether.
const TIDYING: Duration = Duration::from_secs(5);

/// A bucket of a provider.
#[derive(Debug)]
pub(super) struct Remote {
    pub url: ObjectUrl,
    client: RwLock<Arc<Client>>,
    /// What is known of the service, by all that ask it.
    server: Server,
    retries: u32,
    /// Whether any request was done.
    has_served: AtomicBool,
    /// Why it was given up.
    gave_up: Mutex<Option<Trouble>>,
    notice: Notice,
    cancel: Mutex<Cancel>,
    /// When the run was first seen to be stopped.
    stopped: Mutex<Option<Instant>>,
    /// The parts of all uploads.
    pub parts: Arc<PartMemory>,
}

impl Remote {
    pub(super) fn new(url: ObjectUrl, client: Client, retries: u32, notice: Notice) -> Self {
        Self {
            url,
            client: RwLock::new(Arc::new(client)),
            server: Server::new(retries),
            retries,
            has_served: AtomicBool::new(false),
            gave_up: Mutex::default(),
            notice,
            cancel: Mutex::new(Cancel::of_process()),
            stopped: Mutex::default(),
            parts: Arc::default(),
        }
    }

    pub(super) fn client(&self) -> Arc<Client> {
        let client = self.client.read();
        client.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on, this can stop whoever waits.
    pub(super) fn follow(&self, cancel: &Cancel) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = cancel.clone();
    }

    fn cancel(&self) -> Cancel {
        let cancel = self.cancel.lock();
        cancel.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for what a future gives; for whoever tidies up after a stop, a few seconds more.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let cancel = self.cancel();
        let Err(stop) = cancel.check() else {
            return runtime::wait(&cancel, future);
        };
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *stopped.get_or_insert_with(Instant::now) + TIDYING;
        drop(stopped);
        let left = until.saturating_duration_since(Instant::now());
        runtime::wait(&Cancel::default(), async move {
            tokio::time::timeout(left, future).await.ok()
        })?
        .ok_or(stop)
    }

    /// What there is of an object, without its content.
    ///
    /// # Errors
    ///
    /// As those of [`Remote::ask`].
    pub(super) fn head(self: &Arc<Self>, path: Path) -> Result<Result<ObjectMeta, Trouble>, Error> {
        self.ask(move |client| {
            let path = path.clone();
            let options = GetOptions {
                head: true,
                ..GetOptions::default()
            };
            async move {
                let got = client.objects.get_opts(&path, options);
                Ok(got.await?.meta)
            }
        })
    }

    /// Sends a request, again while it may do better, and waits for what it gives.
    ///
    /// # Errors
    ///
    /// The outer when a stop was asked for.
    pub(super) fn ask<T, F, A>(self: &Arc<Self>, request: F) -> Result<Result<T, Trouble>, Error>
    where
        T: Send + 'static,
        F: Fn(Arc<Client>) -> A + Send + 'static,
        A: Future<Output = object_store::Result<T>> + Send,
    {
        let remote = self.clone();
        self.wait(async move { remote.send(request).await })
    }

    /// Sends a request, again while it may do better.
    pub(super) async fn send<T, F, A>(&self, request: F) -> Result<T, Trouble>
    where
        F: Fn(Arc<Client>) -> A,
        A: Future<Output = object_store::Result<T>>,
    {
        // What this one request sees of the service: others may be answered all the time.
        let alone = Server::new(self.retries);
        loop {
            self.pass_gate().await?;
            let turn = Turn(&self.server);
            let asked = request(self.client()).await;
            std::mem::forget(turn);
            let trouble = match asked {
                Ok(given) => {
                    self.server.answered();
                    self.has_served.store(true, Ordering::Relaxed);
                    return Ok(given);
                }
                Err(error) => Trouble::of(&error),
            };
            match &trouble.kind {
                Kind::Elsewhere(region) if self.move_to(region) => {
                    self.server.answered();
                    continue;
                }
                _ if !self.may_pass(&trouble) => {
                    self.server.answered();
                    return Err(trouble);
                }
                _ => {}
            }
            let now = Instant::now();
            let (all, own) = (self.server.failed(now), alone.failed(now));
            let (Some(all), Some(own)) = (all, own) else {
                *self.gave_up.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(trouble.clone());
                return Err(trouble);
            };
            let failing = self.server.silent_for(now).max(alone.silent_for(now));
            self.notice
                .tell(failing, now, || self.is_waited_for(&trouble));
            let asked_for = match trouble.kind {
                Kind::Busy { retry_after } => retry_after.unwrap_or_default(),
                _ => Duration::ZERO,
            };
            let wait = all.max(own).max(asked_for.min(LONGEST_RETRY_AFTER));
            tokio::time::sleep(wait).await;
            // Its own count goes on.
            let _ = alone.gate(Instant::now());
        }
    }

    /// Whether the same request may do better. Who has given credentials before will again.
    fn may_pass(&self, trouble: &Trouble) -> bool {
        let had_credentials = self.has_served.load(Ordering::Relaxed);
        trouble.may_pass() || (trouble.kind == Kind::NoCredentials && had_credentials)
    }

    /// That a service with this trouble is asked again.
    fn is_waited_for(&self, trouble: &Trouble) -> String {
        let trouble = self.told("", trouble).message;
        let limit = text::age(self.server.patience());
        format!("{trouble}; it is asked again, for up to {limit}")
    }

    /// Waits until the service may be asked.
    async fn pass_gate(&self) -> Result<(), Trouble> {
        loop {
            match self.server.gate(Instant::now()) {
                Gate::Open => return Ok(()),
                Gate::Closed(wait) => tokio::time::sleep(wait).await,
                Gate::GivenUp if self.retries == 0 => return Ok(()),
                Gate::GivenUp => {
                    let gave_up = self.gave_up.lock().unwrap_or_else(PoisonError::into_inner);
                    return gave_up.clone().map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Asks in another region from now on; `false` where that is where the request went.
    fn move_to(&self, region: &str) -> bool {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        match client.in_region(region) {
            Some(moved) => {
                *client = Arc::new(moved);
                true
            }
            None => false,
        }
    }

    /// What the operator is told of a request that failed.
    pub(super) fn told(&self, name: &str, trouble: &Trouble) -> Error {
        let place = match name {
            "" => self.url.to_string(),
            name => self.url.of(name),
        };
        let client = self.client();
        let error = trouble.told(&place, &self.url, &client.source);
        // Of what is listed, nothing is missing but the place.
        let is_place_wrong =
            trouble.kind == Kind::NoBucket || (trouble.kind == Kind::NotFound && name.is_empty());
        let path = client.s3.as_ref().and_then(S3Client::endpoint_path);
        match path.filter(|_| is_place_wrong) {
            Some(path) => error.hint(format!(
                "the endpoint has the path {path}: few services do, and the bucket stands in the \
                 URL alone"
            )),
            None => error,
        }
    }

    /// The key of a file.
    pub(super) fn path(&self, name: &str) -> Result<object_store::path::Path, Error> {
        object_store::path::Path::parse(self.url.key(name)).map_err(|error| {
            ErrorKind::Failed.error(format!("{} can have no such name: {error}", self.url))
        })
    }
}

/// Whoever found the gate open, and may go away before there is an answer.
struct Turn<'a>(&'a Server);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.not_asked();
    }
}
