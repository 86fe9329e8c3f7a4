//! `snap restore -rebuild-meta`: a metastore for a data directory that has lost its own.
//!
//! The names of the directories say which databases, retention policies and shards there are, and
//! the indexes of the TSM files when their points are. [`grouping`] finds shard groups for that.
//! What only the metastore knew is gone: how long points are kept, users and continuous queries.

mod grouping;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use prost::Message;

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::influxd_dir::{LocalShards, Ownership, all_shards_below, ensure_directory_name};
use crate::io::durable;
use crate::io::open::open_regular;
use crate::metastore::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use crate::ops::restore::has_interrupted_restore;
use crate::ops::serve::ensure_not_running;
use crate::ops::{Directories, Shortfall};
use crate::progress::{Event, Outcome};
use crate::server::ShardStore;
use crate::shard::ShardPath;
use crate::text::{name_list, plural, size};
use crate::time::from_nanos;
use crate::tsm::index::{IndexError, IndexWalk};
use grouping::{Times, group};

const HOUR: i64 = 3_600_000_000_000;

/// A metastore that was made for a data directory.
#[derive(Debug, Clone)]
pub struct RebuildReport {
    /// The shards that it names.
    pub shards: usize,
    /// The databases that it names.
    pub databases: usize,
    /// The file.
    pub metastore: PathBuf,
    /// Its bytes.
    pub metastore_bytes: u64,
    /// Files whose points it may have no place for, and shards that it does not name.
    pub missing: Vec<Shortfall>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Makes a metastore for a data directory without one; with `dry_run`, says what it would be.
///
/// # Errors
///
/// [`ErrorKind::Refused`] where there is a metastore, an influxd runs on the directories, or two
/// shards have one id; when the directories cannot be read, or the metastore not be written.
pub fn rebuild_metastore(
    directories: &Directories,
    dry_run: bool,
    context: Context<'_>,
) -> Result<RebuildReport> {
    let started = Instant::now();
    let path = directories.metadir.join("meta.db");
    ensure_absent(&path)?;
    let waldir = directories.wal();
    let all = [
        Some(&directories.metadir),
        Some(&directories.datadir),
        waldir.as_ref(),
    ];
    ensure_not_running(&all)?;
    directories.ensure_named_wal()?;
    ensure_settled(&directories.datadir)?;
    let shards = find_shards(&directories.datadir, waldir.as_deref())?;
    let store = LocalShards::open(&directories.datadir, waldir.as_deref(), false)?;
    let mut survey = Survey {
        store,
        found: BTreeMap::new(),
        missing: Vec::new(),
        context,
    };
    survey.look_at(&shards)?;
    let data = survey.metastore(&shards);
    report_guesses(&data, context);
    let bytes = data.encode_to_vec();
    match dry_run {
        true => context.status(format!(
            "would write {} ({})",
            path.display(),
            size(bytes.len() as u64)
        )),
        false => write(&path, &bytes)?,
    }
    Ok(RebuildReport {
        shards: survey.found.values().map(Vec::len).sum(),
        databases: data.databases.len(),
        metastore: path,
        metastore_bytes: bytes.len() as u64,
        missing: survey.missing,
        elapsed: started.elapsed(),
    })
}

fn ensure_absent(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(ErrorKind::Refused
        .error(format!("{} is there: it is not replaced", path.display()))
        .hint("move it away if it is damaged; what it says of durations, users and queries is not in the data directory"))
}

/// Refuses a data directory in which a restore that was killed left what it had moved.
fn ensure_settled(datadir: &Path) -> Result<(), Error> {
    match has_interrupted_restore(datadir) {
        false => Ok(()),
        true => Err(ErrorKind::Refused
            .error(format!(
                "an interrupted restore left its files in {}",
                datadir.display()
            ))
            .hint("run that restore again, which puts back or finishes what it moved")),
    }
}

/// The shards that have a directory, for their files or for their WAL.
fn find_shards(datadir: &Path, waldir: Option<&Path>) -> Result<Vec<ShardPath>> {
    ensure!(
        datadir.is_dir(),
        "there is no data directory {}",
        datadir.display()
    );
    let mut shards = all_shards_below(datadir)?;
    if let Some(waldir) = waldir {
        shards.extend(all_shards_below(waldir)?);
    }
    shards.sort();
    shards.dedup();
    let mut known: BTreeMap<u64, &ShardPath> = BTreeMap::new();
    for shard in &shards {
        ensure_directory_name(&shard.database)?;
        ensure_directory_name(&shard.retention_policy)?;
        if let Some(other) = known.insert(shard.id, shard) {
            return Err(ErrorKind::Refused
                .error(format!("shards {other} and {shard} have one id"))
                .hint("to influxd they are one shard: move one of them away, or rename its directory to a number that no shard has")
                .into());
        }
    }
    if shards.is_empty() {
        return Err(ErrorKind::Refused
            .error(format!("{} has no shards", datadir.display()))
            .hint("name the directory that has one for each database")
            .into());
    }
    Ok(shards)
}

/// When the points of shards are.
struct Survey<'a> {
    store: LocalShards,
    /// The shards with points, by database and policy.
    found: BTreeMap<(String, String), Vec<(u64, Times)>>,
    missing: Vec<Shortfall>,
    context: Context<'a>,
}

impl Survey<'_> {
    fn look_at(&mut self, shards: &[ShardPath]) -> Result<()> {
        let context = self.context;
        context.status(format!("looking at {}", plural(shards.len(), "shard")));
        context.report(&Event::Shards {
            count: shards.len(),
            bytes: None,
        });
        let mut empty = Vec::new();
        for shard in shards {
            context.check()?;
            let started = Instant::now();
            context.report(&Event::Started { shard, bytes: None });
            let damaged = self.missing.len();
            if let Some(times) = self.times(shard)? {
                let policy = (
                    shard.database.to_string(),
                    shard.retention_policy.to_string(),
                );
                self.found
                    .entry(policy)
                    .or_default()
                    .push((shard.id, times));
            } else if self.missing.len() == damaged {
                empty.push(shard.to_string());
            } else {
                let reason = "left out: none of its files can be read";
                self.missing.push(Shortfall::of_shard(shard, reason));
            }
            context.report(&Event::Finished {
                shard,
                outcome: Outcome::Checked,
                elapsed: started.elapsed(),
            });
        }
        if !empty.is_empty() {
            context.warn(format!(
                "left out, shards without a point: {}",
                name_list(&empty)
            ));
        }
        Ok(())
    }

    /// The times of the points of a shard, as far as its files can be read; none where there are
    /// none.
    fn times(&mut self, shard: &ShardPath) -> Result<Option<Times>> {
        let snapshot = self.store.snapshot(shard)?;
        snapshot
            .notes
            .iter()
            .for_each(|note| self.context.warn(note));
        let mut times: Option<Times> = None;
        let files = snapshot.files.iter();
        for file in files.filter(|file| file.name.ends_with(".tsm")) {
            self.context.check()?;
            let opened = open_regular(&file.path)
                .with_context(|| format!("opening {}", file.path.display()))?;
            match IndexWalk::open(&opened).and_then(IndexWalk::times) {
                Ok((first, last)) => {
                    let known = times.get_or_insert(Times { first, last });
                    known.first = known.first.min(first);
                    known.last = known.last.max(last);
                }
                Err(IndexError::Read { source, .. }) => {
                    return Err(source).with_context(|| format!("reading {}", file.path.display()));
                }
                Err(damage) => self.missing.push(Shortfall::of_shard(
                    shard,
                    format!("{} is damaged: {damage}", file.name),
                )),
            }
        }
        Ok(times)
    }

    /// The metastore of what was found. No id of any of `shards` is given out again.
    fn metastore(&self, shards: &[ShardPath]) -> Data {
        let mut data = Data {
            term: 1,
            index: 1,
            cluster_id: RandomState::new().hash_one(std::process::id()) >> 1,
            max_shard_id: shards.iter().map(|shard| shard.id).max().unwrap_or(0),
            ..Data::default()
        };
        for ((database, policy), shards) in &self.found {
            let policy = self.policy(database, policy, shards, &mut data.max_shard_group_id);
            match data.databases.last_mut() {
                Some(last) if last.name == *database => last.retention_policies.push(policy),
                _ => data.databases.push(DatabaseInfo {
                    name: database.clone(),
                    retention_policies: vec![policy],
                    ..DatabaseInfo::default()
                }),
            }
        }
        for database in &mut data.databases {
            database.default_retention_policy = default_policy(database);
        }
        data
    }

    fn policy(
        &self,
        database: &str,
        name: &str,
        shards: &[(u64, Times)],
        last_group: &mut u64,
    ) -> RetentionPolicyInfo {
        let times: Vec<Times> = shards.iter().map(|(_, times)| *times).collect();
        let grouping = group(&times);
        if !grouping.is_regular {
            self.context.warn(format!(
                "the shards of {database}/{name} are of no single group duration: their groups are as long as their points need"
            ));
        }
        let mut groups: Vec<((i64, i64), u64)> = grouping
            .groups
            .into_iter()
            .zip(shards.iter().map(|(id, _)| *id))
            .collect();
        groups.sort_unstable();
        let groups = groups.into_iter().map(|((start_time, end_time), shard)| {
            *last_group += 1;
            ShardGroupInfo {
                id: *last_group,
                start_time,
                end_time,
                shards: vec![ShardInfo {
                    id: shard,
                    ..ShardInfo::default()
                }],
                ..ShardGroupInfo::default()
            }
        });
        let is_monitor = (database, name) == ("_internal", "monitor");
        RetentionPolicyInfo {
            name: name.to_owned(),
            // influxd's own measurements of itself are kept for a week; of others nobody knows, and
            // nothing is to expire before somebody has looked.
            duration: if is_monitor { 168 * HOUR } else { 0 },
            shard_group_duration: grouping.duration,
            replica_n: 1,
            shard_groups: groups.collect(),
            ..RetentionPolicyInfo::default()
        }
    }
}

/// The policy that is taken for the default: the one that influxd makes with a database, else the
/// one with the latest points.
fn default_policy(database: &DatabaseInfo) -> String {
    let policies = &database.retention_policies;
    let made = ["autogen", "default"].into_iter().find(|made| {
        let mut names = policies.iter().map(|policy| &policy.name);
        names.any(|name| name == made)
    });
    let end =
        |policy: &&RetentionPolicyInfo| policy.shard_groups.last().map(|group| group.end_time);
    let latest = || {
        policies
            .iter()
            .max_by_key(end)
            .map(|policy| policy.name.clone())
    };
    made.map(str::to_owned).or_else(latest).unwrap_or_default()
}

/// Tells what is in the metastore, and which of it somebody has to look at.
fn report_guesses(data: &Data, context: Context<'_>) {
    for database in &data.databases {
        for policy in &database.retention_policies {
            let groups = &policy.shard_groups;
            let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
                continue;
            };
            let is_default = policy.name == database.default_retention_policy;
            context.status(format!(
                "{}/{}{}: {}, {} to {}, groups of {} h",
                database.name,
                policy.name,
                if is_default { " (default)" } else { "" },
                plural(groups.len(), "shard"),
                from_nanos(first.start_time),
                from_nanos(last.end_time),
                policy.shard_group_duration / HOUR
            ));
        }
    }
    context.warn(
        "users, grants, continuous queries, subscriptions and the durations of retention policies are not in a data \
         directory: nothing expires until ALTER RETENTION POLICY gives durations again",
    );
}

/// Writes the metastore, unless one has come meanwhile.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let metadir = durable::directory_of(path);
    let ownership = Ownership::below(metadir)?;
    ownership.create_dirs(metadir)?;
    let writing = || format!("writing {}", path.display());
    let mut file = durable::unfinished_in(metadir)?;
    file.write_all(bytes).with_context(writing)?;
    ownership.give(file.as_file()).with_context(writing)?;
    durable::sync(file.as_file(), file.path())?;
    let temporary = file.into_temp_path();
    match durable::rename_to_free_name(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!(ErrorKind::Refused.error(format!("{} came meanwhile: it stays", path.display())))
        }
        renamed => renamed.with_context(writing)?,
    }
    durable::sync_dir(metadir)
}
