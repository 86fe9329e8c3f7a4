//! A backup directory as it was at one moment, whatever other runs do in it meanwhile.
//!
//! Whatever adds or removes a set changes the names in `.snap` before and after it changes those of
//! influxd's files: a commit stands there as `.commit` and then `.json`, a removal as `.forget` and
//! then not at all. So the hidden folder is listed twice, then everything is read, then it is
//! listed again. Where all three are alike, no step was crossed in between: what stands as
//! `.commit` or `.forget` stood so all the while, and its files do not count. Where they differ,
//! everything is looked at again. Where there is no lock, the claim of a run stands there before any
//! of its files does, and until its record is there.
//!
//! It takes two lists before, because a folder is not listed at one moment: a name that changes
//! meanwhile may be in neither form.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail, ensure};
use jiff::Timestamp;

use super::claim::Claim;
use super::document::Document;
use super::hidden::{COMMIT, PIN, RECORD, REMOVAL, claimed_number, own_name};
use super::manifest;
use super::pin::{self, Pin};
use super::record::{RECORD_FORMAT, SetRecord};
use super::set_id::SetId;
use super::store::{ContentId, EntryKind, Folder, Store, StoreEntry, read_bounded, read_many};
use crate::error::{Error, ErrorKind};
use crate::shard_tar::gzip::Blocks;

/// How often a directory is looked at that never stays the same, and how long apart.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// The largest manifest that is read: that of a million shards.
pub(super) const MANIFEST_LIMIT: u64 = 256 << 20;

/// How an AppleDouble file begins, in which macOS keeps what other file systems have no place for:
/// `._NAME` beside NAME.
const APPLE_DOUBLE: [u8; 4] = [0x00, 0x05, 0x16, 0x07];

/// What a directory held at one moment.
#[derive(Debug, Default)]
pub(super) struct DirectorySnapshot {
    /// The regular files, by name.
    pub files: BTreeMap<String, Listed>,
    /// What stands under a name where a file of a backup may be looked for, and is none, in a few
    /// words.
    pub others: BTreeMap<String, &'static str>,
    /// The records of sets, in no particular order.
    pub records: Vec<SetRecord>,
    /// What commits that have not ended may have given names.
    pub unfinished: Vec<SetRecord>,
    /// The names that runs have claimed, and no set has where no record says so.
    pub claimed: HashSet<String>,
    /// What removals that have not ended may have left.
    pub removals: Vec<SetRecord>,
    /// The pins, by the ids of their sets.
    pub pins: HashMap<SetId, Pin>,
    /// The manifests that no record names, by their names.
    pub manifests: BTreeMap<String, Vec<u8>>,
    /// What could not be read, by its name below the directory.
    pub damaged: Vec<(String, anyhow::Error)>,
}

/// A regular file as it was listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    /// Bytes.
    pub size: u64,
    /// When it was last written to.
    pub modified: SystemTime,
    /// Which content it is, where other names have the same.
    pub shared: Option<ContentId>,
}

/// Tells whether a file was replaced under its name. No inode: some network file systems make up
/// new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: SystemTime,
}

/// The names in the hidden folder that count.
type Hidden = BTreeMap<String, Stamp>;

/// Records that were read in an earlier try, by their names.
type Known = HashMap<String, (Stamp, SetRecord)>;

impl DirectorySnapshot {
    /// Reads a repository until it stays the same while it is read.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or never stays the same.
    pub(super) fn read(store: &dyn Store) -> Result<Self> {
        let mut known = Known::new();
        for attempt in 0..TRIES {
            if let Some(snapshot) = Self::try_read(store, &mut known)? {
                return Ok(snapshot);
            }
            std::thread::sleep(pause(attempt));
        }
        Err(restless(&store.place()).into())
    }

    /// Reads a repository; nothing where it changed meanwhile.
    fn try_read(store: &dyn Store, known: &mut Known) -> Result<Option<Self>> {
        let before = list_hidden(store)?;
        if list_hidden(store)? != before {
            return Ok(None);
        }
        moment(Moment::HiddenListed);
        let mut snapshot = Self::default();
        let mut records = Known::new();
        let mut blocks = HashSet::new();
        let mut intents = Vec::new();
        let files: Vec<String> = before.keys().cloned().collect();
        let read = Mutex::new(std::mem::take(known));
        let found = read_many(store, &files, |file| read_one(store, &before, file, &read));
        *known = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (file, found) in files.into_iter().zip(found) {
            let stamp = before[&file];
            match found {
                Found::Nothing => {}
                Found::Record(Ok(mut record)) => {
                    share_blocks(&mut record, &mut blocks);
                    records.insert(file, (stamp, *record));
                }
                Found::Intent(kind, Ok(record)) => intents.push((file, kind, *record)),
                Found::Claim(Ok(claim)) => snapshot.claimed.extend(claim.files),
                Found::Pin(id, pin) => _ = snapshot.pins.insert(id, pin),
                Found::Record(Err(error))
                | Found::Intent(_, Err(error))
                | Found::Claim(Err(error)) => {
                    if is_gone(&error) {
                        known.extend(records);
                        return Ok(None);
                    }
                    snapshot
                        .damaged
                        .push((Folder::Hidden.name_of(&file), error));
                }
            }
        }
        moment(Moment::RecordsRead);
        snapshot.list_files(store)?;
        let had_manifests = snapshot.read_manifests(store, &records)?;
        moment(Moment::FilesListed);
        // Where a commit had to begin again with other names, its intent may look the same from
        // outside.
        let had_intents = intents
            .iter()
            .all(|(file, _, record)| read_record(store, file).is_ok_and(|now| now == *record));
        if !had_manifests || !had_intents || list_hidden(store)? != before {
            known.extend(records);
            return Ok(None);
        }
        snapshot.records = records.into_values().map(|(_, record)| record).collect();
        for (_, kind, record) in intents {
            match kind {
                COMMIT => snapshot.unfinished.push(record),
                _ => snapshot.removals.push(record),
            }
        }
        Ok(Some(snapshot))
    }

    /// Lists what is beside the hidden folder.
    fn list_files(&mut self, store: &dyn Store) -> Result<()> {
        for entry in store.list(Folder::Top)? {
            let StoreEntry {
                name,
                size,
                modified,
                content,
                names,
                ..
            } = entry;
            let what = match entry.kind {
                EntryKind::File => {
                    let listed = Listed {
                        size,
                        modified,
                        shared: (names > 1).then_some(content),
                    };
                    self.files.insert(name, listed);
                    continue;
                }
                EntryKind::Link => "is a link, and links are not followed",
                EntryKind::Folder | EntryKind::Other => "is not a regular file",
            };
            self.others.insert(name, what);
        }
        // Their names are those of shards of a database `._db`.
        let is_sidecar = |name: &&String| {
            name.strip_prefix("._")
                .is_some_and(|of| is_sidecar(store, name, self.files.contains_key(of)))
        };
        let sidecars: Vec<String> = self.files.keys().filter(is_sidecar).cloned().collect();
        for name in sidecars {
            self.files.remove(&name);
        }
        Ok(())
    }

    /// Reads influxd's manifests. Tells whether all were still there.
    fn read_manifests(&mut self, store: &dyn Store, records: &Known) -> Result<bool> {
        let recorded: HashSet<&str> = records
            .values()
            .filter_map(|(_, record)| Some(record.manifest.as_ref()?.name.as_str()))
            .collect();
        let names = self.files.keys().filter(|name| {
            manifest::stamp_of_manifest(name).is_some() && !recorded.contains(name.as_str())
        });
        for name in names {
            match read_bounded(store, name, MANIFEST_LIMIT) {
                Ok(bytes) => {
                    self.manifests.insert(name.clone(), bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => {
                    let error = reading(store, name, error);
                    self.damaged.push((name.clone(), error));
                }
            }
        }
        Ok(true)
    }
}

/// What a file in the hidden folder says.
enum Found {
    Nothing,
    Record(Result<Box<SetRecord>>),
    /// Of a commit or a removal.
    Intent(&'static str, Result<Box<SetRecord>>),
    Claim(Result<Claim>),
    Pin(SetId, Pin),
}

/// Reads one of the files in the hidden folder, unless it is a record that is known.
fn read_one(store: &dyn Store, all: &Hidden, file: &str, known: &Mutex<Known>) -> Found {
    let Some((id, kind)) = own_name(file) else {
        return Found::Nothing;
    };
    let stamp = all[file];
    let counts = kind == RECORD || !all.contains_key(&format!("{id}.{RECORD}"));
    let record = || {
        let known = known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(file);
        match known.filter(|(read, _)| *read == stamp) {
            Some((_, record)) => Ok(Box::new(record)),
            None => read_record(store, file).map(Box::new),
        }
    };
    match kind {
        RECORD => Found::Record(record()),
        COMMIT if counts => Found::Intent(COMMIT, record()),
        REMOVAL if counts => Found::Intent(REMOVAL, record()),
        PIN => {
            let pin = pin::read(store, &Folder::Hidden.name_of(file)).unwrap_or_else(|| Pin {
                since: stamp.modified(),
                note: None,
            });
            Found::Pin(id.into(), pin)
        }
        _ if claimed_number(kind).is_some() => Found::Claim(Claim::read(store, file)),
        _ => Found::Nothing,
    }
}

/// How long to wait before the next try: not at all at first, since a step of another run is over
/// in no time.
pub(super) fn pause(attempt: u32) -> Duration {
    // A test that waits for the end of the tries need not wait long.
    if attempt < 10 || cfg!(test) {
        Duration::from_millis(1)
    } else {
        PAUSE
    }
}

/// What is said of a directory that never stays the same.
pub(super) fn restless(place: &str) -> Error {
    ErrorKind::Failed
        .error(format!("{place} changes faster than it can be read"))
        .hint("other runs work in it all the time: try again when they have ended")
}

pub(super) fn tries() -> std::ops::Range<u32> {
    0..TRIES
}

/// What of the hidden folder decides which sets there are. A folder that is not there is like an
/// empty one.
fn list_hidden(store: &dyn Store) -> Result<Hidden> {
    let counts = |entry: &StoreEntry| {
        own_name(&entry.name).is_some_and(|(_, kind)| {
            matches!(kind, RECORD | COMMIT | REMOVAL | PIN) || claimed_number(kind).is_some()
        })
    };
    let entries = store.list(Folder::Hidden)?.into_iter().filter(counts);
    let stamped = |entry: StoreEntry| {
        let stamp = Stamp {
            size: entry.size,
            modified: entry.modified,
        };
        (entry.name, stamp)
    };
    Ok(entries.map(stamped).collect())
}

impl Stamp {
    fn modified(&self) -> Timestamp {
        Timestamp::try_from(self.modified).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Whether a file `._NAME` is what a Mac or a file server keeps beside NAME. One server never has
/// both as shards: their id is the same, and ids are unique. So beside NAME, only what begins as a
/// tar of such a database does is taken for a shard.
fn is_sidecar(store: &dyn Store, name: &str, is_beside: bool) -> bool {
    let start = || {
        let mut start = Vec::new();
        let file = store.open(name)?;
        file.take(APPLE_DOUBLE.len() as u64)
            .read_to_end(&mut start)?;
        io::Result::Ok(start)
    };
    start().is_ok_and(|start| start == APPLE_DOUBLE || (is_beside && !start.starts_with(b"._")))
}

/// Whether an error is that of a file that is not there.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    let mut kinds = error
        .chain()
        .filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    kinds.any(|kind| kind == io::ErrorKind::NotFound)
}

/// An error of reading. What is no regular file, or larger than any can be, is damaged; the disk is
/// to blame for the rest.
fn reading(store: &dyn Store, name: &str, error: io::Error) -> anyhow::Error {
    use io::ErrorKind::{InvalidData, InvalidInput};
    let is_odd = matches!(error.kind(), InvalidData | InvalidInput);
    let reading = format!("reading {}", store.place_of(name));
    match is_odd {
        true => anyhow::Error::new(error).context(ErrorKind::Damage.error(reading)),
        false => anyhow::Error::new(error).context(reading),
    }
}

/// Has files that several sets share say where their blocks are once in memory, and not once a set.
fn share_blocks(record: &mut SetRecord, known: &mut HashSet<Arc<Blocks>>) {
    let files = record.shards.iter_mut();
    for blocks in files.filter_map(|shard| shard.file.as_mut()?.blocks.as_mut()) {
        match known.get(blocks) {
            Some(same) => *blocks = Arc::clone(same),
            None => _ = known.insert(Arc::clone(blocks)),
        }
    }
}

/// What every record says, whichever snap wrote it.
#[derive(serde::Deserialize)]
struct Form {
    format: u32,
}

/// Reads the record of a set, or what is to become or was one. Its id is that of its name.
pub(super) fn read_record(store: &dyn Store, file: &str) -> Result<SetRecord> {
    let name = Folder::Hidden.name_of(file);
    let (id, kind) = own_name(file).unwrap_or_default();
    let failed = |error| reading(store, &name, error);
    let document = Document::open(store, &name).map_err(failed)?;
    let place = store.place_of(&name);
    let damaged = || {
        let fault = ErrorKind::Damage.error(format!("the record {place} is damaged"));
        fault.hint(match kind {
            RECORD => {
                "another set can be named: snap list shows them. Moved away, it leaves files that \
                 count as influxd's"
            }
            _ => "nobody knows which files it names: those of no other set may be of one that is not whole. Move them away, and it too",
        })
    };
    let unread = |error: serde_json::Error| match error.is_io() {
        true => failed(error.into()),
        false => anyhow::Error::new(error).context(damaged()),
    };
    ensure!(document.is_as_written().map_err(failed)?, damaged());
    let record = document.parse::<SetRecord>();
    let format = match &record {
        Ok(record) => record.format,
        Err(_) => document.parse::<Form>().map_err(unread)?.format,
    };
    if format > RECORD_FORMAT {
        bail!("the record {place} was written by a newer snap (format {format})");
    }
    let mut record = record.map_err(unread)?;
    ensure!(
        record.id == id && record.has_sound_names() && record.is_consistent(),
        damaged()
    );
    record.shards.sort_by_key(|shard| shard.id);
    Ok(record)
}

/// Where a test may change the directory while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The hidden folder was listed, twice.
    HiddenListed,
    /// The records were read.
    RecordsRead,
    /// The other files were listed, and the manifests read.
    FilesListed,
}

#[cfg(not(test))]
fn moment(_: Moment) {}

#[cfg(test)]
fn moment(at: Moment) {
    MEANWHILE.with(|meanwhile| {
        let taken = meanwhile.borrow_mut().take();
        if let Some(mut act) = taken {
            act(at);
            meanwhile.borrow_mut().get_or_insert(act);
        }
    });
}

#[cfg(test)]
type Meanwhile = Box<dyn FnMut(Moment)>;

#[cfg(test)]
thread_local! {
    /// What a test does at each moment of this thread's reading.
    static MEANWHILE: std::cell::RefCell<Option<Meanwhile>> = const { std::cell::RefCell::new(None) };
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
