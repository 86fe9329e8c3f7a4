//! `snap restore`: a backup into the directories of a stopped influxd, or into a running one ([`live`]).
//!
//! Everything is read and checked first ([`source`], [`check`]). Into directories ([`plan`], [`target`]), shards are unpacked
//! out of sight and then moved into place, the meta store last ([`write`]).

#[cfg(test)]
mod agreement_tests;
mod check;
mod journal;
mod live;
mod members;
mod plan;
mod rewrite;
mod source;
mod staging;
mod target;
mod types;
mod write;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use check::{CheckedShard, Use};

use crate::cancel::Cancel;
use crate::client::Address;
use crate::error::{Error, ErrorKind};
use crate::influxd_dir::shard_dir;
use crate::io::scratch::scratch_dir;
use crate::progress::{Event, Progress};
use crate::repository::Selection;
use crate::shard::ShardPath;
use crate::time::Bounds;
use crate::tsm::is_file_name;

pub use live::{LiveOptions, restore_live};

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The backup directory.
    pub directory: PathBuf,
    /// The set; where none is named, the newest and all that the directory holds beside it.
    pub set: Option<String>,
    /// The target's meta directory; without one, the meta store is left alone.
    pub metadir: Option<PathBuf>,
    /// The target's data directory; without one, no shard is restored.
    pub datadir: Option<PathBuf>,
    /// The target's WAL directory; `wal` beside the data directory where it is not named.
    pub waldir: Option<PathBuf>,
    /// What of the backup, and under which names.
    pub what: RestoreSelection,
    /// Replace what the target holds.
    pub force: bool,
    /// Add the databases to the target's meta store, under new ids.
    pub merge: bool,
    /// The index the restored shards get.
    pub index: IndexKind,
    /// Leave out what was deleted, rather than keep the tombstones that say so.
    pub apply_deletes: bool,
    /// Where to ask whether an influxd runs on the target.
    pub host: Address,
    /// How many shards at a time.
    pub jobs: usize,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

/// What of a backup to restore, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSelection {
    /// Only this database.
    pub database: Option<String>,
    /// Only this retention policy.
    pub retention_policy: Option<String>,
    /// Only this shard.
    pub shard: Option<u64>,
    /// The name the database gets.
    pub new_database: Option<String>,
    /// The name the retention policy gets.
    pub new_retention_policy: Option<String>,
    /// Only points at this time or later.
    pub start: Option<Timestamp>,
    /// Only points at this time or earlier.
    pub end: Option<Timestamp>,
}

impl RestoreSelection {
    /// The shards that are meant, by their names in the backup.
    fn selection(&self, include_internal: bool) -> Selection {
        Selection {
            database: self.database.clone(),
            retention_policy: self.retention_policy.clone(),
            shard: self.shard,
            include_internal,
            ..Selection::default()
        }
    }

    /// The times of the points that are meant, where not all are.
    fn bounds(&self) -> Option<Bounds> {
        (self.start.is_some() || self.end.is_some()).then(|| Bounds::between(self.start, self.end))
    }

    /// What a shard is called where it goes, under the id it has there.
    fn target(&self, source: &ShardPath, id: u64) -> ShardPath {
        ShardPath {
            database: self
                .new_database
                .clone()
                .unwrap_or_else(|| source.database.clone()),
            retention_policy: self
                .new_retention_policy
                .clone()
                .unwrap_or_else(|| source.retention_policy.clone()),
            id,
        }
    }

    /// Refuses new names for what is not named.
    fn refuse_contradictions(&self) -> Result<(), Error> {
        let usage = |message: &str, hint: &str| Err(ErrorKind::Usage.error(message).hint(hint));
        match self {
            Self {
                new_database: Some(_),
                database: None,
                ..
            } => usage("-newdb needs -database", "write -database OLD -newdb NEW"),
            Self {
                retention_policy: Some(_),
                database: None,
                ..
            } => usage(
                "-retention needs -database",
                "write -database DB -retention RP",
            ),
            Self {
                new_retention_policy: Some(_),
                retention_policy: None,
                ..
            } => usage(
                "-newrp needs -retention",
                "write -database DB -retention OLD -newrp NEW",
            ),
            Self {
                start: Some(start),
                end: Some(end),
                ..
            } if end < start => usage(
                &format!("-end {end} is before -start {start}"),
                "exchange the two",
            ),
            _ => Ok(()),
        }
    }
}

/// The series index that a restored shard opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// That of the shards the target already holds; `inmem` where it holds none.
    Auto,
    /// Rebuilt in memory at each start.
    Inmem,
    /// Rebuilt on disk at the first start.
    Tsi1,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// Shards restored, or for a dry run, those that would be.
    pub shards: usize,
    /// Their files.
    pub files: usize,
    /// Bytes of those files.
    pub bytes: u64,
    /// The `meta.db` that was written, or would be; none where the target's stays as it is.
    pub metastore: Option<PathBuf>,
    /// What of the selection is not in the backup, a sentence each.
    pub missing: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Restores a backup.
///
/// # Errors
///
/// Before anything is written: when the backup is damaged ([`ErrorKind::Damage`]) or does not hold what was asked for, or the
/// target holds data or is in use ([`ErrorKind::Refused`]). Later: when the target cannot be written; it is put back then.
pub fn restore(
    options: &RestoreOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let begun = Instant::now();
    refuse_contradictions(options)?;
    options.what.refuse_contradictions()?;
    // What is moved is written down, and must mean the same wherever the next run is started.
    let options = &options.with_absolute_targets()?;
    target::refuse_running(options)?;
    write::recover(options, cancel, progress)?;
    let set = options.set.as_deref();
    let (contents, mut plan, _held) =
        source::planned(&options.directory, set, progress, |contents| {
            let plan = plan::plan(contents, options, progress)?;
            let sets = source::sets_of(&plan.shards);
            Ok((plan, sets))
        })?;
    target::refuse_data(plan.shards.iter().map(|shard| &shard.target), options)?;
    target::refuse_strays(&plan, options, progress)?;
    // Not needed any more, and as large as there are shards.
    plan.named = None;
    let used = Use {
        leave_index: options.index == IndexKind::Inmem,
        apply_deletes: options.apply_deletes,
        scratch: options.scratch(),
    };
    let shards = check::check(
        &contents,
        std::mem::take(&mut plan.shards),
        &used,
        options.jobs,
        cancel,
        progress,
    )?;
    refuse_harmful_names(&shards)?;
    target::refuse_too_small(&shards, options)?;
    target::say_index(&shards, options, progress);
    let deleted = shards
        .iter()
        .filter(|shard| shard.files.have_deletes())
        .count();
    if deleted > 0 && options.apply_deletes {
        progress.report(&Event::Status(&deletes_applied(deleted)));
    }
    let mut report = RestoreReport {
        shards: shards.len(),
        files: shards.iter().map(|shard| shard.files.len()).sum(),
        bytes: shards.iter().map(CheckedShard::bytes).sum(),
        metastore: plan
            .meta
            .as_ref()
            .and(options.metadir.as_ref())
            .map(|metadir| metadir.join("meta.db")),
        missing: missing(&plan.missing, &shards),
        elapsed: Duration::ZERO,
    };
    if options.dry_run {
        describe(&plan, &shards, options, progress);
    } else {
        let left = write::write(&contents, &plan, &shards, options, cancel, progress)?;
        (report.files, report.bytes) = (left.files, left.bytes);
        if !shards.is_empty() {
            progress.report(&Event::Status(
                "make the next backup of this server a full one, without -since: an increment would mix what was restored with sets made before",
            ));
        }
    }
    report.elapsed = begun.elapsed();
    Ok(report)
}

/// What is not restored: what the backup lacks, and what influxd will not show.
fn missing(of_backup: &[String], shards: &[CheckedShard]) -> Vec<String> {
    let undecided = shards.iter().filter_map(|shard| shard.undecided.clone());
    of_backup.iter().cloned().chain(undecided).collect()
}

/// Says that deletes are applied to so many shards.
fn deletes_applied(shards: usize) -> String {
    let shards = if shards == 1 {
        "1 shard has".to_owned()
    } else {
        format!("{shards} shards have")
    };
    format!("{shards} deletes that are not yet compacted: the points are left out")
}

impl RestoreOptions {
    fn with_absolute_targets(&self) -> Result<Self> {
        let absolute = |path: &Option<PathBuf>| -> Result<Option<PathBuf>> {
            let absolute = path.as_ref().map(|path| {
                std::path::absolute(path)
                    .with_context(|| format!("finding the absolute path of {}", path.display()))
            });
            absolute.transpose()
        };
        let (metadir, datadir, waldir) = (
            absolute(&self.metadir)?,
            absolute(&self.datadir)?,
            absolute(&self.waldir)?,
        );
        Ok(Self {
            metadir,
            datadir,
            waldir,
            ..self.clone()
        })
    }

    /// Where members of compressed tars are put while they are checked: in the data directory, which has room for all of them,
    /// where it is there and may be written; never where nothing is to be written.
    fn scratch(&self) -> PathBuf {
        let usable = |directory: &&PathBuf| tempfile::tempfile_in(directory).is_ok();
        self.datadir
            .as_ref()
            .filter(|_| !self.dry_run)
            .filter(usable)
            .cloned()
            .unwrap_or_else(scratch_dir)
    }

    /// Where a restore prepares what it moves into place: the data directory, or the meta directory where that is restored
    /// alone.
    fn home(&self) -> Option<&Path> {
        self.datadir.as_deref().or(self.metadir.as_deref())
    }
}

/// Refuses names with which influxd could not open the shard.
fn refuse_harmful_names(shards: &[CheckedShard]) -> Result<()> {
    for shard in shards {
        let mut names = shard
            .files
            .iter()
            .map(|(name, _)| name)
            .filter(|name| name.ends_with(".tsm"));
        if let Some(name) = names.find(|name| !is_file_name(name)) {
            let fault = ErrorKind::Damage.error(format!(
                "{name} in shard {} is not named <generation>-<sequence>.tsm",
                shard.source
            ));
            return Err(fault
                .hint("influxd could not open the shard with it")
                .into());
        }
    }
    Ok(())
}

fn describe(
    plan: &plan::Plan,
    shards: &[CheckedShard],
    options: &RestoreOptions,
    progress: &dyn Progress,
) {
    let say = |text: String| progress.report(&Event::Status(&text));
    for shard in shards {
        let names: Vec<&str> = shard
            .sources
            .iter()
            .map(|source| source.name.as_str())
            .collect();
        let target = shard_dir(
            options.datadir.as_deref().unwrap_or(Path::new("")),
            &shard.target,
        );
        let (from, files, bytes) = (names.join(" + "), shard.files.len(), shard.bytes());
        let deletes = if options.apply_deletes && shard.files.have_deletes() {
            ", without what was deleted"
        } else {
            ""
        };
        say(format!(
            "would write {} from {from} ({files} files, {bytes} bytes{deletes})",
            target.display()
        ));
    }
    if let (Some(metadir), Some(meta)) = (&options.metadir, &plan.meta) {
        say(format!(
            "would write {} ({} bytes)",
            metadir.join("meta.db").display(),
            meta.bytes.len()
        ));
    }
}

fn refuse_contradictions(options: &RestoreOptions) -> Result<(), Error> {
    let usage = |message: &str, hint: &str| Err(ErrorKind::Usage.error(message).hint(hint));
    match options {
        RestoreOptions {
            metadir: None,
            datadir: None,
            ..
        } => usage(
            "restore needs to know where to",
            "write: snap restore -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data PATH, influxd being stopped",
        ),
        RestoreOptions {
            metadir: None,
            what: RestoreSelection { database: None, .. },
            ..
        } => usage(
            "-datadir without -metadir needs -database",
            "add -database DB for the shards of one database, or -metadir M to restore the meta store as well",
        ),
        RestoreOptions {
            merge: true,
            force: true,
            ..
        } => usage(
            "-merge and -force contradict each other",
            "-merge adds to the target's meta store, -force replaces it: choose one",
        ),
        RestoreOptions {
            merge: true,
            metadir: None,
            ..
        } => usage(
            "-merge needs -metadir",
            "name the meta directory that the databases are to be added to",
        ),
        _ => Ok(()),
    }
}
