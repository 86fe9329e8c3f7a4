//! `snap stats`: what takes up space in a set, on a server or in the directories of a stopped one:
//! series, values, fields and tags by measurement, from the indexes of TSM files.

mod report;
mod tally;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::backup::Rule;
use super::gather::{GatherDamage, GatherDepth, GatheredShard, Gathering};
use super::prepared::FLUSH_TIMEOUT;
use super::queue::{self, Turn};
use super::restore::{SetContents, planned};
use super::selection::ensure_series_found;
use super::serve::{Directories, held};
use super::server_shards::{OpenShards, ShardAsker};
use super::{Shortfall, grouped};
use crate::client::Client;
use crate::context::Context;
use crate::influxd_dir::LocalShards;
use crate::io::scratch::scratch_dir;
use crate::metastore::Data;
use crate::progress::{Event, Outcome};
use crate::repository::{BackupFile, Catalog, Location, Selection};
use crate::server::{MetaStore, ShardStore};
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::plural;
use crate::tsm::index::IndexError;
use crate::tsm::schema::SeriesWalk;
use crate::tsm::series_filter::SeriesFilter;
use crate::tsm::sought_series::SoughtSeries;
use tally::Tally;

pub use report::{
    DatabaseStats, FieldStats, FieldType, MeasurementStats, PolicyStats, StatsAmount, StatsDamage,
    StatsReport, TagStats,
};

/// Where the shards are.
pub enum StatsSource<'a> {
    /// In a set of a repository, or in the newest and what lies beside it.
    Set {
        /// The repository.
        repository: &'a Location,
        /// The set, if one is named.
        set: Option<&'a str>,
    },
    /// On a running server.
    Server(&'a Client),
    /// In the directories of a stopped one.
    Directories(&'a Directories),
}

/// What is counted, and how.
#[derive(Debug, Clone)]
pub struct StatsOptions {
    /// The shards.
    pub selection: Selection,
    /// The series.
    pub series: SeriesFilter,
    /// Read the times in all blocks to count values, and not only indexes.
    pub exact: bool,
    /// How many shards at a time.
    pub jobs: usize,
    /// How often a shard is asked for again.
    pub retries: u32,
}

/// A shard to count, and where it is.
struct ShardJob<'a> {
    shard: ShardPath,
    place: ShardPlace<'a>,
    /// Bytes to read, where that is known.
    bytes: Option<u64>,
}

enum ShardPlace<'a> {
    /// In tars, oldest first.
    Tars(&'a Catalog, Vec<BackupFile>),
    Server(&'a ShardAsker<'a>),
    Directory(&'a LocalShards),
}

/// What became of a shard.
enum CountOutcome {
    Counted { damage: Vec<StatsDamage> },
    Missing(Shortfall),
}

/// Counts what is in shards. Damage is told in the report, and what is damaged is not counted.
///
/// # Errors
///
/// When there is no such set, server or directory, or it cannot be read.
pub fn stats(
    source: &StatsSource<'_>,
    options: &StatsOptions,
    context: Context<'_>,
) -> Result<StatsReport> {
    let started = Instant::now();
    let mut report = match source {
        StatsSource::Set { repository, set } => of_set(repository, *set, options, context),
        StatsSource::Server(client) => of_server(client, options, context),
        StatsSource::Directories(directories) => of_directories(directories, options, context),
    }?;
    report.elapsed = started.elapsed();
    Ok(report)
}

fn of_set(
    repository: &Location,
    set: Option<&str>,
    options: &StatsOptions,
    context: Context<'_>,
) -> Result<StatsReport> {
    let (catalog, contents, _held) = planned(repository, set, context, |catalog| {
        let contents = SetContents::read(catalog, set, &options.selection, context)?;
        let sets = contents.sets();
        Ok((contents, sets))
    })?;
    let jobs = contents.shards.into_iter().map(|(shard, chain)| ShardJob {
        shard,
        bytes: Some(total(chain.iter().map(|file| file.size))),
        place: ShardPlace::Tars(&catalog, chain),
    });
    let counter = Counter {
        is_remote: repository.directory().is_none(),
        missing: contents.missing,
        ..Counter::new(options, context)
    };
    let mut report = counter.run(jobs.collect(), &format!("set {}", contents.set))?;
    report.set = Some(contents.set);
    Ok(report)
}

fn of_server(client: &Client, options: &StatsOptions, context: Context<'_>) -> Result<StatsReport> {
    let open = OpenShards::told_of(client, options.retries, &options.selection, context)?;
    // What is not in files yet makes no difference to what takes up space.
    let asker = ShardAsker::new(client, options.retries, Rule::FilesOnly(FLUSH_TIMEOUT));
    let jobs = open.shards.into_iter().map(|shard| ShardJob {
        shard: shard.path,
        place: ShardPlace::Server(&asker),
        bytes: None,
    });
    let holder = client.address().to_string();
    Counter::new(options, context).run(jobs.collect(), &holder)
}

fn of_directories(
    directories: &Directories,
    options: &StatsOptions,
    context: Context<'_>,
) -> Result<StatsReport> {
    let (shards, meta, local) = directories.open_to_read(&options.selection)?;
    let data = Data::read(&meta.data()?)?;
    let wanted: HashSet<ShardPath> = shards.into_iter().collect();
    let meant = data
        .live_shards()
        .filter(|shard| wanted.contains(&shard.path));
    let jobs = held(meant, &local, context)?
        .into_iter()
        .map(|shard| ShardJob {
            shard: shard.path,
            place: ShardPlace::Directory(&local),
            bytes: None,
        });
    Counter::new(options, context).run(jobs.collect(), "the data directory")
}

/// Counts shards.
struct Counter<'a> {
    options: &'a StatsOptions,
    /// Whether to read a piece of a file takes long.
    is_remote: bool,
    scratch: PathBuf,
    context: Context<'a>,
    sought: SoughtSeries,
    /// What cannot be read, as was told already.
    missing: Vec<Shortfall>,
    tally: Mutex<Tally>,
}

impl<'a> Counter<'a> {
    /// Nothing was counted yet; of files that are near.
    fn new(options: &'a StatsOptions, context: Context<'a>) -> Self {
        Self {
            options,
            is_remote: false,
            scratch: scratch_dir(),
            context,
            sought: SoughtSeries::of(options.series.clone()),
            missing: Vec::new(),
            tally: Mutex::default(),
        }
    }

    /// Counts shards of `holder`, as messages call it.
    fn run(self, jobs: Vec<ShardJob<'_>>, holder: &str) -> Result<StatsReport> {
        self.context.status(format!(
            "reading the {} of {}",
            match self.options.exact {
                true => "indexes and times",
                false => "indexes",
            },
            plural(jobs.len(), "shard")
        ));
        let bytes = jobs.iter().map(|job| job.bytes);
        self.context.report(&Event::Shards {
            count: jobs.len(),
            bytes: bytes.sum(),
        });
        let stop = self.context.cancel.child();
        let context = Context {
            cancel: &stop,
            ..self.context
        };
        let results = queue::work(jobs, self.options.jobs, &stop, |job: ShardJob<'_>| {
            let counted = self.count(&job, context);
            Turn::Done(
                counted
                    .map(|outcome| (job.shard, outcome))
                    .inspect_err(|_| stop.cancel()),
            )
        });
        self.context.check()?;
        let mut outcomes = queue::all(results)?;
        outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut report = StatsReport::default();
        for (_, outcome) in outcomes {
            match outcome {
                CountOutcome::Counted { damage } => {
                    report.shards += 1;
                    report.damage.extend(damage);
                }
                CountOutcome::Missing(shortfall) => report.missing.push(shortfall),
            }
        }
        for text in grouped(&report.missing) {
            self.context.warn(text);
        }
        report.missing.splice(0..0, self.missing);
        // Of what is damaged or missing, nobody knows which series are in it.
        if report.missing.is_empty() && report.damage.is_empty() {
            ensure_series_found(&self.sought, None, holder)?;
        }
        let tally = self.tally.into_inner();
        let counted = tally.unwrap_or_else(PoisonError::into_inner).counted();
        report.databases = counted.databases;
        report.retention_policies = counted.retention_policies;
        report.measurements = counted.measurements;
        Ok(report)
    }

    /// Counts a shard, and tells of it.
    fn count(&self, job: &ShardJob<'_>, context: Context<'_>) -> Result<CountOutcome> {
        let (started, shard) = (Instant::now(), &job.shard);
        context.report(&Event::Started {
            shard,
            bytes: job.bytes,
        });
        let mut gathered = match self.gather(job, context)? {
            Ok(gathered) => gathered,
            Err(reason) => {
                context.report(&Event::Finished {
                    shard,
                    outcome: Outcome::Failed(&reason),
                    elapsed: started.elapsed(),
                });
                return Ok(CountOutcome::Missing(Shortfall::of_shard(shard, reason)));
            }
        };
        self.add_up(shard, job, &mut gathered, context)?;
        context.report(&Event::Finished {
            shard,
            outcome: match gathered.damage.first() {
                Some(damage) => Outcome::Failed(&damage.message),
                None => Outcome::Done {
                    files: gathered.file_count(),
                    bytes: job.bytes.unwrap_or(0),
                },
            },
            elapsed: started.elapsed(),
        });
        let damage = gathered.damage.into_iter();
        Ok(CountOutcome::Counted {
            damage: damage.map(|of| StatsDamage::new(shard, of)).collect(),
        })
    }

    /// Gathers the files of a shard, or tells why there are none to be had.
    fn gather(
        &self,
        job: &ShardJob<'_>,
        context: Context<'_>,
    ) -> Result<Result<GatheredShard, String>> {
        let gathering = Gathering {
            depth: match self.options.exact {
                true => GatherDepth::Exact,
                false => GatherDepth::Estimate,
            },
            is_remote: self.is_remote,
            scratch: &self.scratch,
            cancel: context.cancel,
            progress: context.progress,
        };
        let shard = &job.shard;
        match &job.place {
            ShardPlace::Tars(catalog, chain) => {
                GatheredShard::of_chain(catalog, shard, chain, gathering).map(Ok)
            }
            ShardPlace::Directory(local) => {
                let snapshot = local.snapshot(shard)?;
                snapshot.notes.iter().for_each(|note| context.warn(note));
                GatheredShard::of_directory(snapshot, shard, gathering).map(Ok)
            }
            ShardPlace::Server(asker) => GatheredShard::of_server(asker, shard, gathering, context),
        }
    }

    /// Adds the files of a shard to what was counted.
    fn add_up(
        &self,
        shard: &ShardPath,
        job: &ShardJob<'_>,
        gathered: &mut GatheredShard,
        context: Context<'_>,
    ) -> Result<()> {
        let mut matcher = self.sought.matcher();
        let mut damage = Vec::new();
        // One at a time: what is counted of all shards is much, and what is left to do is little.
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.begin(shard);
        let tar = match &job.place {
            ShardPlace::Tars(_, chain) if chain.len() == 1 => Some(chain[0].name.as_str()),
            _ => None,
        };
        let walked = gathered.with_files(|files, names| {
            SeriesWalk::new(files, self.options.exact).each(
                |series| matcher.takes(series.bytes()),
                &mut |block| {
                    let message = format!("at offset {}: {}", block.offset, block.fault);
                    damage.push(GatherDamage {
                        tar: tar.map(str::to_owned),
                        member: names.get(block.file).map(|&name| name.to_owned()),
                        message,
                    });
                },
                |series| {
                    context.check().map_err(std::io::Error::other)?;
                    tally.add(shard, series);
                    Ok(())
                },
            )
        });
        drop(tally);
        gathered.damage.append(&mut damage);
        context.check()?;
        walked
            .map_err(|error| match error {
                IndexError::Read { source, .. } => source.into(),
                // It was sound a moment ago.
                damage => anyhow::Error::new(damage),
            })
            .with_context(|| format!("reading shard {shard}"))
    }
}
