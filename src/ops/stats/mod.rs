//! `snap stats`: what takes up space in a set, on a server or in the directories of a stopped one:
//! series, values, fields and tags by measurement, from the indexes of TSM files.

mod report;
mod tally;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::backup::Rule;
use super::gather::{GatherDamage, GatherDepth, GatheredShard};
use super::prepared::FLUSH_TIMEOUT;
use super::queue::{self, Turn};
use super::selection::ensure_series_found;
use super::shard_source::{OpenSource, ShardSource, ShardsMeant, SourceShard};
use super::{Shortfall, grouped};
use crate::context::Context;
use crate::io::scratch::scratch_dir;
use crate::progress::{Event, Outcome};
use crate::repository::Selection;
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
    source: &ShardSource,
    options: &StatsOptions,
    context: Context<'_>,
) -> Result<StatsReport> {
    let started = Instant::now();
    let meant = ShardsMeant {
        selection: &options.selection,
        bounds: None,
        // What is not in files yet makes no difference to what takes up space.
        rule: Rule::FilesOnly(FLUSH_TIMEOUT),
    };
    let source = source.open(&meant, context)?;
    source.warn_not_open(context);
    let counter = Counter {
        options,
        scratch: scratch_dir(),
        context,
        sought: SoughtSeries::of(options.series.clone()),
        tally: Mutex::default(),
    };
    let mut report = counter.run(&source)?;
    report.set = source.set_id().cloned();
    report.elapsed = started.elapsed();
    Ok(report)
}

/// Counts shards.
struct Counter<'a> {
    options: &'a StatsOptions,
    scratch: PathBuf,
    context: Context<'a>,
    sought: SoughtSeries,
    tally: Mutex<Tally>,
}

impl Counter<'_> {
    /// Counts the shards of a source.
    fn run(self, source: &OpenSource<'_>) -> Result<StatsReport> {
        let shards = source.shards();
        self.context.status(format!(
            "reading the {} of {}",
            match self.options.exact {
                true => "indexes and times",
                false => "indexes",
            },
            plural(shards.len(), "shard")
        ));
        self.context.report(&Event::Shards {
            count: shards.len(),
            bytes: shards.iter().map(SourceShard::bytes).sum(),
        });
        let stop = self.context.cancel.child();
        let context = Context {
            cancel: &stop,
            ..self.context
        };
        let results = queue::work(
            shards,
            self.options.jobs,
            &stop,
            |shard: SourceShard<'_>| {
                let counted = self.count(&shard, context);
                Turn::Done(
                    counted
                        .map(|outcome| (shard.path(), outcome))
                        .inspect_err(|_| stop.cancel()),
                )
            },
        );
        self.context.check()?;
        let mut outcomes = queue::all(results)?;
        outcomes.sort_by_key(|(shard, _)| *shard);
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
        report.missing.splice(0..0, source.missing.iter().cloned());
        // Of what is damaged or missing, nobody knows which series are in it.
        if report.missing.is_empty() && report.damage.is_empty() {
            ensure_series_found(&self.sought, None, &source.to_string())?;
        }
        let tally = self.tally.into_inner();
        let counted = tally.unwrap_or_else(PoisonError::into_inner).counted();
        report.databases = counted.databases;
        report.retention_policies = counted.retention_policies;
        report.measurements = counted.measurements;
        Ok(report)
    }

    /// Counts a shard, and tells of it.
    fn count(&self, of: &SourceShard<'_>, context: Context<'_>) -> Result<CountOutcome> {
        let (started, shard, bytes) = (Instant::now(), of.path(), of.bytes());
        context.report(&Event::Started { shard, bytes });
        let depth = match self.options.exact {
            true => GatherDepth::Exact,
            false => GatherDepth::Estimate,
        };
        let mut gathered = match of.gather(depth, &self.scratch, context)? {
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
        self.add_up(of, &mut gathered, context)?;
        context.report(&Event::Finished {
            shard,
            outcome: match gathered.damage.first() {
                Some(damage) => Outcome::Failed(&damage.message),
                None => Outcome::Done {
                    files: gathered.file_count(),
                    bytes: bytes.unwrap_or(0),
                },
            },
            elapsed: started.elapsed(),
        });
        let damage = gathered.damage.into_iter();
        Ok(CountOutcome::Counted {
            damage: damage.map(|of| StatsDamage::new(shard, of)).collect(),
        })
    }

    /// Adds the files of a shard to what was counted.
    fn add_up(
        &self,
        of: &SourceShard<'_>,
        gathered: &mut GatheredShard,
        context: Context<'_>,
    ) -> Result<()> {
        let shard = of.path();
        let mut matcher = self.sought.matcher();
        let mut damage = Vec::new();
        // One at a time: what is counted of all shards is much, and what is left to do is little.
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.begin(shard);
        let walked = gathered.with_files(|files, names| {
            SeriesWalk::new(files, self.options.exact).each(
                |series| matcher.takes(series.bytes()),
                &mut |block| {
                    let message = format!("at offset {}: {}", block.offset, block.fault);
                    damage.push(GatherDamage {
                        tar: of.only_tar().map(str::to_owned),
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
