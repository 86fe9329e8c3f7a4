//! The files of a repository as objects of a bucket.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use futures_util::{StreamExt, stream};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ObjectMeta, PutMode};

use super::notes::Notes;
use super::read::ObjectReader;
use super::remote::Remote;
use super::settings::TransferSettings;
use super::stale;
use super::trouble::{Kind, Trouble};
use super::upload::{ObjectUpload, Parts};
use crate::cancel::Cancel;
use crate::repository::hidden::{PIN, is_folder};
use crate::repository::set_id::SetId;
use crate::repository::set_names::is_of_some_set;
use crate::repository::store::write::{
    Content, Refusal, StagedObject, StoreLock, WritableStore, retire_in_steps,
};
use crate::repository::store::{ContentId, EntryKind, Folder, Hold, Store, StoreEntry, StoredFile};

/// How many records are read at a time.
const CONCURRENCY: usize = 16;
/// The smallest part that S3 takes, MiB.
const SMALLEST_PART: u32 = 5;

/// A repository in a bucket.
#[derive(Debug)]
pub(super) struct ObjectStore {
    remote: Arc<Remote>,
    parts: Parts,
    grace: Duration,
    notes: Arc<Notes>,
    /// What this process has written: it alone may be replaced.
    written: Mutex<HashSet<String>>,
}

impl ObjectStore {
    pub(super) fn new(remote: Remote, settings: &TransferSettings) -> Self {
        let remote = Arc::new(remote);
        Self {
            notes: Arc::new(Notes::new(&remote, settings.grace)),
            remote,
            parts: Parts {
                size: (settings.part_size.max(SMALLEST_PART) as usize) << 20,
                in_flight: settings.uploads.max(1) as usize,
            },
            grace: settings.grace,
            written: Mutex::default(),
        }
    }

    /// Whether a name may be taken already: by what this process wrote, or by a pin.
    fn mode(&self, name: &str) -> PutMode {
        let is_pin = name.rsplit_once('.').is_some_and(|(_, kind)| kind == PIN);
        match is_pin || !self.written().insert(name.to_owned()) {
            true => PutMode::Overwrite,
            false => PutMode::Create,
        }
    }

    fn written(&self) -> MutexGuard<'_, HashSet<String>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is below a prefix: objects and, with a delimiter, folders.
    fn list_below(&self, prefix: &str, with_folders: bool) -> Result<Listing> {
        let prefix = self.remote.url.key(prefix);
        let mut listing = Listing::default();
        let mut token = None;
        loop {
            let (below, page) = (prefix.clone(), token.clone());
            let asked = self.remote.ask(move |client| {
                let (below, page_token) = (below.clone(), page.clone());
                let options = PaginatedListOptions {
                    delimiter: with_folders.then_some("/".into()),
                    page_token,
                    ..PaginatedListOptions::default()
                };
                async move {
                    let prefix = Some(below.as_str()).filter(|prefix| !prefix.is_empty());
                    client.objects.list_paginated(prefix, options).await
                }
            })?;
            let page = match asked {
                Ok(asked) => asked,
                Err(trouble) => return Err(self.remote.told("", &trouble).into()),
            };
            for object in page.result.objects {
                // A console makes an object for a folder, of its name.
                let Some(name) = object.location.as_ref().strip_prefix(&prefix) else {
                    continue;
                };
                listing.objects.insert(name.to_owned(), object);
            }
            for folder in page.result.common_prefixes {
                let name = folder.as_ref().strip_prefix(&prefix);
                listing.folders.extend(name.map(str::to_owned));
            }
            match page.page_token {
                None => return Ok(listing),
                // It would never end.
                next if next == token => {
                    let stuck = Trouble::other("its listing does not go on");
                    return Err(self.remote.told("", &stuck).into());
                }
                next => token = next,
            }
        }
    }

    /// What happens to a file that is removed.
    fn removed(&self, name: &str, trouble: &Trouble) -> Result<()> {
        match trouble.kind {
            Kind::NotFound => Ok(()),
            Kind::Denied => Err(Refusal(self.why_kept(trouble)).into()),
            _ => Err(self.remote.told(name, trouble).into()),
        }
    }

    /// Why the storage keeps a file, as `Refusal` has it.
    fn why_kept(&self, trouble: &Trouble) -> String {
        let source = &self.remote.client().source;
        format!("{}; the credentials came from {source}", trouble.why)
    }
}

#[derive(Debug, Default)]
struct Listing {
    objects: BTreeMap<String, ObjectMeta>,
    folders: BTreeSet<String>,
}

fn entry_of(name: &str, object: &ObjectMeta) -> StoreEntry {
    // To whole seconds: a listing knows more than the head of an object.
    let seconds = u64::try_from(object.last_modified.timestamp()).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    object.location.as_ref().hash(&mut hasher);
    StoreEntry {
        name: name.to_owned(),
        kind: EntryKind::File,
        size: object.size,
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        content: ContentId(0, hasher.finish()),
        names: 1,
    }
}

impl Store for ObjectStore {
    fn place(&self) -> String {
        self.remote.url.to_string()
    }

    fn place_of(&self, name: &str) -> String {
        self.remote.url.of(name)
    }

    fn list(&self, folder: Folder<'_>) -> Result<Vec<StoreEntry>> {
        let listing = self.list_below(&folder.name_of(""), true)?;
        let files = listing
            .objects
            .iter()
            .map(|(name, object)| entry_of(name, object));
        let folders = listing.folders.iter().map(|name| StoreEntry::folder(name));
        Ok(files.chain(folders).collect())
    }

    fn entry(&self, name: &str) -> Result<Option<StoreEntry>> {
        let last = name.rsplit('/').next().unwrap_or(name);
        if is_folder(name) {
            let below = self.list_below(&format!("{name}/"), true)?;
            let is_there = !below.objects.is_empty() || !below.folders.is_empty();
            return Ok(is_there.then(|| StoreEntry::folder(last)));
        }
        match self.remote.head(self.remote.path(name)?)? {
            Ok(object) => Ok(Some(entry_of(last, &object))),
            Err(trouble) if trouble.kind == Kind::NotFound => Ok(None),
            Err(trouble) => Err(self.remote.told(name, &trouble).into()),
        }
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        ObjectReader::open(&self.remote, name).map(StoredFile::new)
    }

    /// All that was added, in order.
    fn open_appended(&self, name: &str) -> io::Result<StoredFile> {
        self.notes.write(name).map_err(io::Error::other)?;
        let below = format!("{name}/");
        let pieces = self.list_below(&below, false).map_err(io::Error::other)?;
        if pieces.objects.is_empty() {
            return self.open(name);
        }
        let mut whole = Vec::new();
        for piece in pieces.objects.keys() {
            io::copy(&mut self.open(&format!("{below}{piece}"))?, &mut whole)?;
        }
        let whole: Arc<[u8]> = whole.into();
        Ok(StoredFile::new(whole))
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn now(&self) -> SystemTime {
        let client = self.remote.client();
        let ahead = client
            .transport
            .as_ref()
            .map_or(0, super::transport::Transport::clock_ahead);
        let (ours, apart) = (SystemTime::now(), Duration::from_secs(ahead.unsigned_abs()));
        let theirs = match ahead >= 0 {
            true => ours.checked_add(apart),
            false => ours.checked_sub(apart),
        };
        theirs.unwrap_or(ours)
    }

    /// Nothing is held: what a removal takes is older than the grace period.
    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        let entry = self.entry(name).map_err(io::Error::other)?;
        Ok(entry.map(|_| Hold::new(())))
    }

    fn is_held(&self, _: &str) -> Result<bool> {
        Ok(false)
    }

    fn is_locked(&self) -> bool {
        false
    }

    fn expect_holds(&self, _: usize) {}
}

impl WritableStore for ObjectStore {
    fn has_lock(&self) -> bool {
        false
    }

    fn grace(&self) -> Duration {
        self.grace
    }

    /// There is none: from now on `cancel` stops whoever waits.
    fn lock(&self, _: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>> {
        self.remote.follow(cancel);
        Ok(Box::new(NoLock))
    }

    /// Objects need no folder, and what another run wrote stays where it is.
    fn stage(&self, _: &SetId, _: Option<&SetId>) -> Result<()> {
        Ok(())
    }

    fn create(&self, _: &SetId, name: &str) -> Result<Box<dyn StagedObject>> {
        let mode = self.mode(name);
        let upload = ObjectUpload::new(&self.remote, name, mode, self.parts)?;
        Ok(Box::new(upload))
    }

    /// An object has one name.
    fn share(&self, name: &str, _: &SetId) -> Result<String> {
        Ok(name.to_owned())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.notes.add(name, bytes)
    }

    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()> {
        let mode = self.mode(name);
        let mut upload = ObjectUpload::new(&self.remote, name, mode, self.parts)?;
        content(&mut upload)?;
        Box::new(upload).seal().map(drop)
    }

    fn give_name(&self, staged: &str, name: &str) -> io::Result<()> {
        let wrong = format!("the object {staged} cannot be renamed to {name}");
        Err(io::Error::new(io::ErrorKind::Unsupported, wrong))
    }

    fn take_back(&self, name: &str, _: &str) -> Result<()> {
        self.remove(name)
    }

    fn retire(&self, record: &str, removal: &str) -> Result<bool> {
        retire_in_steps(self, record, removal)?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.remote.path(name)?;
        let asked = self
            .remote
            .ask(move |client| delete(client, path.clone()))?;
        match asked {
            Ok(_) => Ok(()),
            Err(trouble) => self.removed(name, &trouble),
        }
    }

    fn remove_tree(&self, name: &str) -> Result<()> {
        self.notes.forget(name)?;
        let below = format!("{name}/");
        let there = self.list_below(&below, false)?;
        let names: Vec<String> = there
            .objects
            .keys()
            .map(|name| format!("{below}{name}"))
            .collect();
        let paths = names.iter().map(|name| self.remote.path(name));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        let remote = self.remote.clone();
        let removed: Vec<Result<_, Trouble>> = self.remote.wait(async move {
            let removals = stream::iter(paths).map(|path| {
                let remote = remote.clone();
                async move { remote.send(|client| delete(client, path.clone())).await }
            });
            removals.buffered(CONCURRENCY).collect().await
        })?;
        let mut refused = Ok(());
        for (name, removed) in names.iter().zip(removed) {
            let Err(trouble) = removed else { continue };
            match self.removed(name, &trouble) {
                Err(error) if Refusal::of(&error).is_none() => return Err(error),
                Err(error) => refused = Err(error),
                Ok(()) => {}
            }
        }
        refused
    }

    /// An object that is written stays.
    fn settle(&self, _: Folder<'_>) -> Result<()> {
        Ok(())
    }

    /// Google and Azure remove them by themselves, after a week.
    fn abort_stale(&self) -> Result<()> {
        let below = self.remote.url.key("");
        let prefix = below.clone();
        let asked = self.remote.ask(move |client| {
            let prefix = prefix.clone();
            async move { stale::unfinished(&client, &prefix).await }
        })?;
        let uploads = match asked {
            Ok(asked) => asked,
            // With the right to put and to get alone they stay, until the bucket's own rule.
            Err(trouble) if matches!(trouble.kind, Kind::Denied | Kind::NotFound) => return Ok(()),
            Err(trouble) => return Err(self.remote.told("", &trouble).into()),
        };
        let now = self.now();
        // Other programs, and other repositories in folders of this one, have uploads of theirs.
        let is_ours = |key: &str| key.strip_prefix(&below).is_some_and(is_of_some_set);
        for upload in uploads {
            if !is_ours(&upload.key) || !upload.is_older_than(self.grace, now) {
                continue;
            }
            let key = upload.key.clone();
            let asked = self.remote.ask(move |client| {
                let (path, id) = (Path::parse(&upload.key), upload.upload_id.clone());
                async move { client.objects.abort_multipart(&path?, &id).await }
            })?;
            if let Err(trouble) = asked {
                self.removed(&key, &trouble)?;
            }
        }
        Ok(())
    }
}

/// Removes one object.
async fn delete(client: Arc<super::client::Client>, path: Path) -> object_store::Result<()> {
    let mut removed = client
        .objects
        .delete_stream(stream::iter([Ok(path)]).boxed());
    while let Some(removed) = removed.next().await {
        removed?;
    }
    Ok(())
}

/// Nobody is kept out.
#[derive(Debug)]
struct NoLock;

impl StoreLock for NoLock {}
