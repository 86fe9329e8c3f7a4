//! A backup directory as it was at one moment, whatever other runs do in it meanwhile.
//!
//! Whatever adds or removes a set changes the names in `.snap` before and after it changes those of
//! influxd's files: a commit stands there as `.commit` and then `.json`, a removal as `.forget` and
//! then not at all. So the hidden folder is listed twice, then everything is read, then it is
//! listed again. Where all three are alike, no step was crossed in between: what stands as
//! `.commit` or `.forget` stood so all the while, and its files do not count. Where they differ,
//! everything is looked at again.
//!
//! It takes two lists before, because a folder is not listed at one moment: a name that changes
//! meanwhile may be in neither form.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;

use super::hidden::{COMMIT, HIDDEN, PIN, RECORD, REMOVAL, hidden, own_kind, own_name};
use super::record::{RECORD_FORMAT, SetRecord};
use super::set_id::SetId;
use super::{manifest, pin};
use crate::error::{Error, ErrorKind};
use crate::io::durable;
use crate::io::open::{open_regular, read_bounded, read_to_limit};

/// How often a directory is looked at that never stays the same, and how long apart.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// The largest record that is read: that of some eight million TSM files.
const RECORD_LIMIT: u64 = 1 << 30;

/// The largest manifest that is read: that of a million shards.
pub(super) const MANIFEST_LIMIT: u64 = 256 << 20;

/// How an AppleDouble file begins, in which macOS keeps what other file systems have no place for:
/// `._NAME` beside NAME.
const APPLE_DOUBLE: [u8; 4] = [0x00, 0x05, 0x16, 0x07];

/// What a directory held at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The regular files, by name.
    pub files: BTreeMap<String, Listed>,
    /// What stands under a name where a file of a backup may be looked for, and is none, in a few
    /// words.
    pub others: BTreeMap<String, &'static str>,
    /// The records of sets, in no particular order.
    pub records: Vec<SetRecord>,
    /// What commits that have not ended may have given names.
    pub unfinished: Vec<SetRecord>,
    /// What removals that have not ended may have left.
    pub removals: Vec<SetRecord>,
    /// When sets were pinned, by their ids.
    pub pins: HashMap<SetId, Timestamp>,
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
}

/// Tells whether a file was replaced under its name. No inode: some network file systems make up
/// new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
}

/// The names in the hidden folder that count.
type Hidden = BTreeMap<String, Stamp>;

/// Records that were read in an earlier try, by their names.
type Known = HashMap<String, (Stamp, SetRecord)>;

impl Snapshot {
    /// Reads a directory until it stays the same while it is read.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or never stays the same.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut known = Known::new();
        for attempt in 0..TRIES {
            if let Some(snapshot) = Self::try_read(directory, &mut known)? {
                return Ok(snapshot);
            }
            std::thread::sleep(pause(attempt));
        }
        Err(restless(directory).into())
    }

    /// Reads a directory; nothing where it changed meanwhile.
    fn try_read(directory: &Path, known: &mut Known) -> Result<Option<Self>> {
        let folder = hidden(directory);
        let before = list_hidden(&folder)?;
        if list_hidden(&folder)? != before {
            return Ok(None);
        }
        moment(Moment::HiddenListed);
        let mut snapshot = Self::default();
        let mut records = Known::new();
        let mut intents = Vec::new();
        for (name, stamp) in &before {
            let path = folder.join(name);
            let Some((id, kind)) = own_name(name) else {
                continue;
            };
            let counts = kind == RECORD || !before.contains_key(&format!("{id}.{RECORD}"));
            match kind {
                RECORD | COMMIT | REMOVAL if counts => {
                    let read = match known.remove(name).filter(|(read, _)| read == stamp) {
                        Some((_, record)) => Ok(record),
                        None => read_record(&path),
                    };
                    match read {
                        Ok(record) if kind == RECORD => {
                            records.insert(name.clone(), (*stamp, record));
                        }
                        Ok(record) => intents.push((path, kind, record)),
                        Err(error) if is_gone(&error) => {
                            known.extend(records);
                            return Ok(None);
                        }
                        Err(error) => {
                            let name = format!("{}/{name}", HIDDEN);
                            snapshot.damaged.push((name, error));
                        }
                    }
                }
                PIN => {
                    let pinned_at = pin::read(&path);
                    snapshot.pins.insert(id.into(), pinned_at);
                }
                _ => {}
            }
        }
        moment(Moment::RecordsRead);
        snapshot.list_files(directory)?;
        let had_manifests = snapshot.read_manifests(directory, &records)?;
        moment(Moment::FilesListed);
        // Where a commit had to begin again with other names, its intent may look the same from
        // outside.
        let had_intents = intents
            .iter()
            .all(|(path, _, record)| read_record(path).is_ok_and(|now| now == *record));
        if !had_manifests || !had_intents || list_hidden(&folder)? != before {
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
    fn list_files(&mut self, directory: &Path) -> Result<()> {
        let reading = || format!("reading {}", directory.display());
        for entry in fs::read_dir(directory).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => {
                    metadata.with_context(|| format!("reading {}", entry.path().display()))?
                }
            };
            if metadata.is_file() {
                let listed = Listed {
                    size: metadata.len(),
                    modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                };
                self.files.insert(name, listed);
            } else if metadata.is_symlink() {
                self.others
                    .insert(name, "is a link, and links are not followed");
            } else {
                self.others.insert(name, "is not a regular file");
            }
        }
        // Their names are those of shards of a database `._db`.
        let is_sidecar = |name: &&String| {
            name.strip_prefix("._")
                .is_some_and(|of| is_sidecar(directory, name, self.files.contains_key(of)))
        };
        let sidecars: Vec<String> = self.files.keys().filter(is_sidecar).cloned().collect();
        for name in sidecars {
            self.files.remove(&name);
        }
        Ok(())
    }

    /// Reads influxd's manifests. Tells whether all were still there.
    fn read_manifests(&mut self, directory: &Path, records: &Known) -> Result<bool> {
        let recorded: HashSet<&str> = records
            .values()
            .filter_map(|(_, record)| Some(record.manifest.as_ref()?.name.as_str()))
            .collect();
        let names = self.files.keys().filter(|name| {
            manifest::stamp_of_manifest(name).is_some() && !recorded.contains(name.as_str())
        });
        for name in names {
            let path = directory.join(name);
            match read_bounded(&path, MANIFEST_LIMIT) {
                Ok(bytes) => {
                    self.manifests.insert(name.clone(), bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => {
                    let error = reading(&path, error);
                    self.damaged.push((name.clone(), error));
                }
            }
        }
        Ok(true)
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
pub(super) fn restless(directory: &Path) -> Error {
    ErrorKind::Failed
        .error(format!(
            "{} changes faster than it can be read",
            directory.display()
        ))
        .hint("other runs work in it all the time: try again when they have ended")
}

/// How often to try.
pub(super) fn tries() -> std::ops::Range<u32> {
    0..TRIES
}

/// What of the hidden folder decides which sets there are. A folder that is not there is like an
/// empty one.
fn list_hidden(folder: &Path) -> Result<Hidden> {
    let reading = || format!("reading {}", folder.display());
    // Where a link leads nowhere, on a volume that is not mounted say, sets with records would
    // count as sets without.
    durable::refuse_stranger(folder, None)?;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Hidden::new()),
        entries => entries.with_context(reading)?,
    };
    let mut names = Hidden::new();
    for entry in entries {
        let entry = entry.with_context(reading)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let counts = own_name(&name)
            .is_some_and(|(_, kind)| matches!(kind, RECORD | COMMIT | REMOVAL | PIN));
        if !counts {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => {
                names.insert(name, Stamp::of(&metadata));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", entry.path().display()));
            }
        }
    }
    Ok(names)
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Whether a file `._NAME` is what a Mac or a file server keeps beside NAME. One server never has
/// both as shards: their id is the same, and ids are unique. So beside NAME, only what begins as a
/// tar of such a database does is taken for a shard.
fn is_sidecar(directory: &Path, name: &str, is_beside: bool) -> bool {
    let start = || {
        let mut start = Vec::new();
        let file = open_regular(&directory.join(name))?;
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
fn reading(path: &Path, error: io::Error) -> anyhow::Error {
    use io::ErrorKind::{InvalidData, InvalidInput};
    let is_odd = matches!(error.kind(), InvalidData | InvalidInput);
    let reading = format!("reading {}", path.display());
    match is_odd {
        true => anyhow::Error::new(error).context(ErrorKind::Damage.error(reading)),
        false => anyhow::Error::new(error).context(reading),
    }
}

/// Reads the record of a set, or what is to become or was one. Its id is that of its name.
pub(super) fn read_record(path: &Path) -> Result<SetRecord> {
    // Whole in memory, where the record is to be anyway: thousands of them are read for a list.
    let bytes = open_regular(path)
        .and_then(|file| read_to_limit(file, RECORD_LIMIT))
        .map_err(|error| reading(path, error))?;
    let damaged = || {
        let fault = ErrorKind::Damage.error(format!("the record {} is damaged", path.display()));
        fault.hint(match own_kind(path) {
            Some(RECORD) => {
                "another set can be named: snap list shows them. Moved away, it leaves files that count as influxd's"
            }
            _ => "nobody knows which files it names: those of no other set may be of one that is not whole. Move them away, and it too",
        })
    };
    #[derive(serde::Deserialize)]
    struct Form {
        format: u32,
    }
    ensure!(SetRecord::is_as_written(&bytes), damaged());
    let form: Form = serde_json::from_slice(&bytes).with_context(damaged)?;
    if form.format > RECORD_FORMAT {
        bail!(
            "the record {} was written by a newer snap (format {})",
            path.display(),
            form.format
        );
    }
    let mut record: SetRecord = serde_json::from_slice(&bytes).with_context(damaged)?;
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_own = own_name(name).is_some_and(|(id, _)| record.id == id);
    ensure!(
        is_own && record.has_sound_names() && record.is_consistent(),
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
