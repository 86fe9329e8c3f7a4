//! The journal of a restore into a server: what was started, the ids it was given, and the shards
//! that are done.
//!
//! `.snap/restore-<host>-<sum of the names>.journal` in the backup directory; for a backup in object
//! storage, the same with a hash of the URL in the user's state directory. A JSON document a line:
//! first the [`Header`], then what is applied behind the points, then the ids, then a line for each
//! shard. Lines are only ever added, and each is on the disk before the next step; a line that was
//! cut off in a crash counts as never written. It goes away when all is done.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::{Error, ErrorKind, kind_of, told, words};
use crate::io::durable;
use crate::io::open::{open_regular_with, read_bounded};
use crate::ops::restore::merge_options::ConflictRule;
use crate::ops::restore::selection::RestoreSelection;
use crate::ops::restore::statement_options::StatementKind;
use crate::repository::{FileLock, Location, hidden};
use crate::wire::ShardIds;

/// The number of the journal's form; readers refuse a larger one. In form 2, some series are
/// restored, in form 3, a retention policy gets other durations, and in form 4, points come into a
/// database that is there: who knows only older forms would go on with all series, the old shards,
/// or the database as one of its own.
pub(crate) const FORMAT: u32 = 4;

/// The form in which a retention policy gets other durations.
const DURATIONS_FORMAT: u32 = 3;

/// The form in which some series are restored.
const SOME_SERIES_FORMAT: u32 = 2;

/// The form in which all series are restored.
const ALL_SERIES_FORMAT: u32 = 1;

/// The largest journal that is read, in bytes: that of some million shards.
const LARGEST: u64 = 256 << 20;

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Header {
    /// The number of the document's form.
    #[schemars(extend("minimum" = 1, "maximum" = FORMAT))]
    pub format: u32,
    /// The server's address, as it was given.
    pub host: String,
    /// The random number of the server's metastore.
    pub cluster_id: u64,
    /// The highest shard id that the server had given out before.
    pub max_shard_id: u64,
    /// The set that is restored.
    pub set: String,
    /// Whether the set was named, and is restored alone.
    pub named: bool,
    /// What of it is restored, and under which names.
    pub what: RestoreSelection,
    /// The databases as they are called on the server.
    pub names: Vec<String>,
    /// Where the points come into a database that is there, whose value counts where both have one;
    /// absent: the database is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<ConflictRule>,
}

/// The number of the first form that can say what is restored.
pub(super) fn needed_format(what: &RestoreSelection, is_merge: bool) -> u32 {
    if is_merge {
        FORMAT
    } else if what.durations().is_some() {
        DURATIONS_FORMAT
    } else if what.series.takes_all() {
        ALL_SERIES_FORMAT
    } else {
        SOME_SERIES_FORMAT
    }
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// What is to be applied over HTTP behind the points; the last such line counts.
    Owed(Vec<StatementKind>),
    /// The server's id of each shard, by its id in the metastore that was imported: that of the
    /// backup, where shards are not regrouped.
    Ids(ShardIds),
    /// A shard, by the same id, that is whole on the server. In a merge: by its id there, one that
    /// has all that it gets.
    Done(u64),
}

/// The schema of a line that is not empty.
pub(crate) fn line_schema(generator: &mut SchemaGenerator) -> Schema {
    let lines = [Header::json_schema(generator), Line::json_schema(generator)];
    json_schema!({ "oneOf": lines })
}

/// A restore that was interrupted, and how far it came.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// What was started.
    pub header: Header,
    /// The shards' new ids, once the import's reply was there.
    pub ids: Option<ShardIds>,
    /// The shards that are done, by their ids in the metastore that was imported.
    pub done: Vec<u64>,
    /// What was to be applied behind the points.
    pub owed: Vec<StatementKind>,
}

impl Interrupted {
    /// Reads the journals of restores from `location` into `host`.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or was written by a newer version.
    pub(super) fn all(location: &Location, host: &str) -> Result<Vec<Self>> {
        // Where none can be kept, none was written.
        let Ok(place) = JournalPlace::of(location) else {
            return Ok(Vec::new());
        };
        let folder = &place.folder;
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("reading {}", folder.display()))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let found = entry
                .with_context(|| format!("reading {}", folder.display()))?
                .path();
            if place.may_have(&found) {
                // Under another name, it is a copy that somebody made.
                let is_meant = |interrupted: &Self| {
                    let header = &interrupted.header;
                    header.host == host && place.path(header) == found
                };
                all.extend(Self::read(&found)?.filter(is_meant));
            }
        }
        all.sort_by(|a: &Self, b| a.header.names.cmp(&b.header.names));
        Ok(all)
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let reading = || format!("reading the journal {}", path.display());
        let text = read_bounded(path, LARGEST).with_context(reading)?;
        let text = String::from_utf8(text).with_context(reading)?;
        // What follows the last line feed was being written, and a line that makes no sense was cut
        // off: neither was ever written, and what it would have said shows on the server.
        let mut lines = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'));
        let Some(header) = lines
            .next()
            .and_then(|line| serde_json::from_str::<Header>(line).ok())
        else {
            return Ok(None);
        };
        if header.format > FORMAT {
            bail!(
                "the journal {} was written by a newer snap (format {})",
                path.display(),
                header.format
            );
        }
        let mut interrupted = Self {
            header,
            ids: None,
            done: Vec::new(),
            owed: Vec::new(),
        };
        for line in lines {
            match serde_json::from_str(line) {
                Ok(Line::Owed(owed)) => interrupted.owed = owed,
                Ok(Line::Ids(ids)) => interrupted.ids = Some(ids),
                Ok(Line::Done(id)) => interrupted.done.push(id),
                Err(_) => {}
            }
        }
        interrupted.ensure_own_ids(path)?;
        Ok(Some(interrupted))
    }

    /// Refuses ids that an import cannot have given: what is uploaded under them would go into
    /// other shards.
    fn ensure_own_ids(&self, path: &Path) -> Result<()> {
        let Some(ids) = &self.ids else {
            return Ok(());
        };
        let mut given = HashSet::new();
        let is_new = |id: &u64| *id > self.header.max_shard_id;
        if ids.values().all(|id| is_new(id) && given.insert(*id)) {
            return Ok(());
        }
        Err(ErrorKind::Refused
            .error(format!(
                "the journal {} is not followed: it has ids that the server did not give to this restore",
                path.display()
            ))
            .hint("remove it; drop the databases of the restore to begin anew")
            .into())
    }
}

/// A journal being written. Where none can be, because the directory is read-only say, the restore
/// goes on without.
pub(crate) struct LiveJournal {
    path: PathBuf,
    file: Option<Mutex<File>>,
    _lock: Option<FileLock>,
}

impl LiveJournal {
    /// Begins a journal in place of an older one. `owed` is what is applied behind the points.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] when a run that goes on writes to it.
    pub(super) fn begin(
        location: &Location,
        header: &Header,
        owed: Vec<StatementKind>,
        context: Context<'_>,
    ) -> Result<Self> {
        let journal = Self::open(location, header, context)?;
        journal.truncate()?;
        journal.line(header)?;
        journal.owes(owed)?;
        Ok(journal)
    }

    /// Goes on with the journal that is there. `owed` is what this run applies behind the points.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] when a run that goes on writes to it.
    pub(super) fn resume(
        location: &Location,
        header: &Header,
        owed: Vec<StatementKind>,
        context: Context<'_>,
    ) -> Result<Self> {
        let journal = Self::open(location, header, context)?;
        // The last line may have been cut off.
        journal.write("\n")?;
        journal.owes(owed)?;
        Ok(journal)
    }

    fn owes(&self, owed: Vec<StatementKind>) -> Result<()> {
        match owed.is_empty() {
            true => Ok(()),
            false => self.line(&Line::Owed(owed)),
        }
    }

    /// Opens and locks the journal without changing it.
    fn open(location: &Location, header: &Header, context: Context<'_>) -> Result<Self> {
        let opened = JournalPlace::of(location)
            .map_err(anyhow::Error::from)
            .and_then(|place| {
                let path = place.path(header);
                Ok((open(&path)?, path))
            });
        let (file, path) = match opened {
            Ok(opened) => opened,
            Err(error) if kind_of(&error) == ErrorKind::Refused => return Err(error),
            Err(error) => {
                context.warn(format!(
                    "no journal can be kept, so that an interruption could not be resumed: {}",
                    told(&error)
                ));
                return Ok(Self {
                    path: PathBuf::new(),
                    file: None,
                    _lock: None,
                });
            }
        };
        let lock = match FileLock::of(&file, &path)? {
            Ok(lock) => lock,
            Err(held) => {
                let message = format!("another run restores from {location} into {}", header.host);
                return Err(held.error(message, "wait for it to end").into());
            }
        };
        if let Some(warning) = lock.warning() {
            context.warn(warning);
        }
        Ok(Self {
            path,
            file: Some(Mutex::new(file)),
            _lock: Some(lock),
        })
    }

    /// Whether there is one.
    pub(crate) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Writes down the ids.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(crate) fn imported(&self, ids: &ShardIds) -> Result<()> {
        self.line(&Line::Ids(ids.clone()))
    }

    /// Writes down that a shard is whole on the server.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(super) fn done(&self, id: u64) -> Result<()> {
        self.line(&Line::Done(id))
    }

    /// Removes the journal: nothing is left to go on with.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(super) fn end(self) -> Result<()> {
        if self.file.is_some() {
            durable::remove_if_there(&self.path)?;
        }
        Ok(())
    }

    fn line(&self, line: &impl Serialize) -> Result<()> {
        self.write(&format!("{}\n", serde_json::to_string(line)?))
    }

    fn write(&self, text: &str) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(text.as_bytes())
            .and_then(|()| durable::sync_data(&file, &self.path))
            .with_context(|| format!("writing the journal {}", self.path.display()))
    }

    fn truncate(&self) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0)
            .with_context(|| format!("writing the journal {}", self.path.display()))
    }
}

/// Where the journals of restores from a repository lie, and how their names end.
struct JournalPlace {
    folder: PathBuf,
    ending: String,
}

impl JournalPlace {
    /// In the repository itself, where that is a directory. Object storage has no files that grow:
    /// there, in the state directory of the user, told apart by the URL.
    ///
    /// # Errors
    ///
    /// Where nobody says which directory that is.
    fn of(location: &Location) -> Result<Self, Error> {
        let url = match (location.directory(), location.url()) {
            (None, Some(url)) => url.to_string(),
            (directory, _) => {
                return Ok(Self {
                    folder: hidden(directory.unwrap_or(Path::new("."))),
                    ending: ".journal".to_owned(),
                });
            }
        };
        let Some(folder) = state_dir(|name| env::var_os(name)) else {
            return Err(ErrorKind::Failed
                .error("there is no place for the journal of a restore from object storage")
                .hint("set XDG_STATE_HOME or HOME to a directory, by its absolute path"));
        };
        let hash = blake3::hash(url.as_bytes()).to_hex();
        Ok(Self {
            folder,
            ending: format!("-{}.journal", &hash[..32]),
        })
    }

    /// Whether a file can be one of them.
    fn may_have(&self, file: &Path) -> bool {
        file.to_str()
            .is_some_and(|name| name.ends_with(&self.ending))
    }

    /// The one that begins with a header.
    fn path(&self, header: &Header) -> PathBuf {
        self.folder.join(stem(header) + &self.ending)
    }
}

/// Where this user's programs keep what should outlast them: `XDG_STATE_HOME`, else
/// `~/.local/state`; what is not absolute is no such place.
fn state_dir(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let home = || Some(absolute("HOME")?.join(".local/state"));
    Some(absolute("XDG_STATE_HOME").or_else(home)?.join("snap"))
}

/// How the name of a journal begins.
fn stem(header: &Header) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') {
            c
        } else {
            '_'
        }
    };
    let host: String = header.host.chars().map(plain).collect();
    let names = crc32fast::hash(header.names.join("\n").as_bytes());
    format!("restore-{host}-{names:08x}")
}

/// Opens the journal without changing it: whose it is shows once it is locked.
fn open(path: &Path) -> Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    durable::create_private_dir(folder)?;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let file = open_regular_with(&mut options, path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => ErrorKind::Refused
            .error(format!(
                "{} is not written to: {}",
                path.display(),
                words(&error)
            ))
            .hint("it is not snap's: remove it")
            .into(),
        _ => anyhow::Error::from(error).context(format!("opening {}", path.display())),
    })?;
    durable::sync_dir(folder)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tsm::series_filter::SeriesFilter;

    fn begin(directory: &Path, header: &Header) -> Result<LiveJournal> {
        LiveJournal::begin(&directory.into(), header, Vec::new(), Context::silent())
    }

    fn resume(directory: &Path, header: &Header) -> Result<LiveJournal> {
        LiveJournal::resume(&directory.into(), header, Vec::new(), Context::silent())
    }

    fn header(name: &str) -> Header {
        Header {
            format: FORMAT,
            host: "localhost:8088".to_owned(),
            cluster_id: 1,
            max_shard_id: 10,
            set: "20260101T000000Z".to_owned(),
            named: false,
            what: RestoreSelection::default(),
            names: vec![name.to_owned()],
            merge: None,
        }
    }

    fn path(directory: &Path, header: &Header) -> PathBuf {
        JournalPlace::of(&directory.into()).unwrap().path(header)
    }

    fn all(directory: &Path) -> Result<Vec<Interrupted>> {
        Interrupted::all(&directory.into(), "localhost:8088")
    }

    #[test]
    fn the_journal_of_a_restore_from_a_url_is_in_the_state_directory_under_a_name_of_that_url() {
        let state = |variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(of, _)| *of == name);
            state_dir(|name| find(name).map(|(_, value)| value.into()))
        };
        let (xdg, home) = (("XDG_STATE_HOME", "/state"), ("HOME", "/home/u"));
        assert_eq!(state(&[xdg, home]), Some("/state/snap".into()));
        assert_eq!(state(&[home]), Some("/home/u/.local/state/snap".into()));
        let relative = ("XDG_STATE_HOME", "state");
        assert_eq!(state(&[relative, home]), state(&[home]));
        assert_eq!(state(&[relative, ("HOME", "")]), None);

        let place = |url: &str| JournalPlace::of(&Location::parse(url).unwrap());
        let (one, other) = (place("s3://b/p").unwrap(), place("s3://b/q").unwrap());
        let (header, again) = (header("d"), place("S3://b/p/").unwrap());
        assert_eq!(one.path(&header), again.path(&header));
        assert_ne!(one.path(&header), other.path(&header));
        assert!(one.may_have(&one.path(&header)) && !one.may_have(&other.path(&header)));
        assert!(one.folder.ends_with("snap"));
    }

    #[test]
    fn what_is_no_journal_of_snaps_is_neither_followed_nor_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "victim").unwrap();
        let header = header("d");
        let journal = path(directory.path(), &header);
        fs::create_dir(hidden(directory.path())).unwrap();
        symlink(&victim, &journal).unwrap();
        for open in [begin, resume] {
            let refusal = open(directory.path(), &header).err().unwrap();
            assert_eq!(kind_of(&refusal), ErrorKind::Refused);
        }
        assert!(all(directory.path()).is_err());
        fs::remove_file(&journal).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&journal).status();
        assert!(made.unwrap().success());
        assert_eq!(
            kind_of(&begin(directory.path(), &header).err().unwrap()),
            ErrorKind::Refused
        );
        assert!(all(directory.path()).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"victim");

        // Where the hidden folder is a link, the journal would lie elsewhere.
        fs::remove_dir_all(hidden(directory.path())).unwrap();
        fs::create_dir(directory.path().join("elsewhere")).unwrap();
        symlink(directory.path().join("elsewhere"), hidden(directory.path())).unwrap();
        assert_eq!(
            kind_of(&begin(directory.path(), &header).err().unwrap()),
            ErrorKind::Refused
        );
    }

    #[test]
    fn what_older_forms_cannot_say_has_a_form_of_its_own() {
        let all = RestoreSelection::default();
        let some = RestoreSelection {
            series: SeriesFilter {
                measurements: vec!["m".parse().unwrap()],
                conditions: Vec::new(),
            },
            ..all.clone()
        };
        let regrouped = RestoreSelection {
            shard_duration: Some(1),
            ..some.clone()
        };
        let lasting = RestoreSelection {
            duration: Some(0),
            ..all.clone()
        };
        let formats = [&all, &some, &regrouped, &lasting].map(|what| needed_format(what, false));
        assert_eq!(formats, [1, 2, 3, 3]);
        assert_eq!(needed_format(&all, true), 4);
        // What an older snap wrote.
        let old = r#"{"database":"d","retention_policy":null,"shard":null,"new_database":null,"new_retention_policy":null,"start":null,"end":null}"#;
        let read: RestoreSelection = serde_json::from_str(old).unwrap();
        assert_eq!(read.database.as_deref(), Some("d"));
        assert_eq!(read.durations(), None);
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
    }

    #[test]
    fn a_copy_of_a_journal_under_another_name_is_no_second_restore() {
        let directory = tempfile::tempdir().unwrap();
        let header = header("d");
        drop(begin(directory.path(), &header).unwrap());
        let journal = path(directory.path(), &header);
        for name in ["._copy.journal", "restore (conflicted copy).journal"] {
            fs::copy(&journal, journal.with_file_name(name)).unwrap();
        }
        let started = all(directory.path()).unwrap();
        assert_eq!(started.len(), 1);
        assert_eq!(started[0].header, header);
    }

    #[test]
    fn ids_that_no_import_gave_this_restore_are_refused() {
        for (new, is_taken) in [([11, 12], true), ([10, 12], false), ([11, 11], false)] {
            let directory = tempfile::tempdir().unwrap();
            let journal = begin(directory.path(), &header("d")).unwrap();
            journal
                .imported(&ShardIds::from([(1, new[0]), (2, new[1])]))
                .unwrap();
            drop(journal);
            let started = all(directory.path());
            assert_eq!(started.is_ok(), is_taken, "{new:?}");
            if let Err(error) = started {
                assert_eq!(kind_of(&error), ErrorKind::Refused, "{error:#}");
            }
        }
    }
}
