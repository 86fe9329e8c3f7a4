//! `snap diff`: two sets, servers or directories of stopped servers compared point by point, as a
//! query sees them.
//!
//! [`side`] finds the shards of each. [`slices`] puts those side by side that can have points of
//! the same times, whatever their ids and the borders of their groups. They are made ready to be
//! read as for an export, [`files`] opens them, and [`compare`] compares their points; [`tally`]
//! adds up what it finds, for the [`report`].

mod compare;
mod files;
mod report;
mod side;
mod slices;
mod tally;

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::backup::Rule;
use super::prepared::{FLUSH_TIMEOUT, Told};
use super::selection::ensure_series_found;
use super::shard_source::{OpenSource, ShardSource, ShardsMeant};
use super::{RestoreSelection, Shortfall};
use crate::context::Context;
use crate::error::kind_of;
use crate::progress::{Event, Outcome};
use crate::shard::ShardPath;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::points::PointsFinding;
use crate::tsm::sought_series::SoughtSeries;
use compare::Comparison;
use files::SideFiles;
use side::{OpenSide, SideNames, SideProgress};
use slices::{GroupSpan, Slice, slices};
use tally::{PolicyName, Tally};

pub use report::{
    DiffReport, FieldTypeDiff, MeasurementDiff, PointsDiff, PolicyDiff, SeriesExample, Side,
    ValueDiff,
};

/// What is compared, and how.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// The shards, series and times. New names are those that B has; a shard is one of A.
    pub what: RestoreSelection,
    /// Whether `_internal` is compared too.
    pub include_internal: bool,
    /// Whether it is enough that B has what A has.
    pub contains: bool,
}

/// Compares two sides.
///
/// # Errors
///
/// When one cannot be found or read. What is damaged or missing of shards is no error, but told in
/// the report.
pub fn diff(
    a: &ShardSource,
    b: &ShardSource,
    options: &DiffOptions,
    context: Context<'_>,
) -> Result<DiffReport> {
    let started = Instant::now();
    options.what.ensure_consistent()?;
    let sources = [
        open(Side::A, a, options, context)?,
        open(Side::B, b, options, context)?,
    ];
    let [source_a, source_b] = &sources;
    let sides = [
        OpenSide::of(Side::A, source_a, options),
        OpenSide::of(Side::B, source_b, options),
    ];
    let [side_a, side_b] = &sides;
    side_a.warn_not_open(side_b, options, context);
    side_b.warn_not_open(side_a, options, context);
    let differ = Differ {
        options,
        context,
        sought: SoughtSeries::of(options.what.series.clone()),
        tally: Tally::new(options.contains),
        missing: Vec::new(),
        sides,
    };
    differ.run(started)
}

fn open<'a>(
    side: Side,
    source: &'a ShardSource,
    options: &DiffOptions,
    context: Context<'_>,
) -> Result<OpenSource<'a>> {
    let progress = SideProgress {
        side,
        name: None,
        progress: context.progress,
    };
    let context = Context {
        progress: &progress,
        ..context
    };
    let meant = ShardsMeant {
        selection: &SideNames { side, options }.selection(),
        bounds: options.what.bounds(),
        rule: Rule::Prompt(FLUSH_TIMEOUT),
    };
    let opened = source.open(&meant, context);
    opened.with_context(|| format!("reading {side}"))
}

/// Compares one slice of time after the other.
struct Differ<'a> {
    options: &'a DiffOptions,
    context: Context<'a>,
    sought: SoughtSeries,
    tally: Tally,
    missing: Vec<(Side, Shortfall)>,
    sides: [OpenSide<'a>; 2],
}

impl<'a> Differ<'a> {
    fn run(mut self, started: Instant) -> Result<DiffReport> {
        self.take_missing();
        let work = self.work();
        let shards = [0, 1].map(|side| distinct_shards(&work, side));
        let context = self.context;
        context.status(format!(
            "comparing {} of A with {} of B",
            plural(shards[0], "shard"),
            plural(shards[1], "shard")
        ));
        context.report(&Event::Shards {
            count: work.len(),
            bytes: self.bytes_of(&work),
        });
        for (policy, slice) in &work {
            self.compare(policy, slice)?;
        }
        // Of what is damaged, nobody knows which series are in it.
        if self.missing.is_empty() {
            ensure_series_found(&self.sought, self.options.what.bounds(), "each side")?;
        }
        Ok(DiffReport {
            policies: self.one_sided_policies(),
            shards,
            contains: self.options.contains,
            measurements: self.tally.finish(),
            missing: self.missing,
            elapsed: started.elapsed(),
            sets: self.sides.map(|side| side.source.set_id().cloned()),
        })
    }

    /// Takes what cannot be had of the sides.
    fn take_missing(&mut self) {
        for side in &mut self.sides {
            let missing = side.missing.drain(..);
            self.missing
                .extend(missing.map(|missing| (side.side, missing)));
        }
    }

    /// What is compared, in the order in which it is.
    fn work(&self) -> Vec<(PolicyName, Slice)> {
        let policies = self.sides.iter().flat_map(|side| side.policies.keys());
        let policies: BTreeSet<&PolicyName> = policies.collect();
        let mut work = Vec::new();
        for policy in policies {
            let [(in_a, spans_of_a), (in_b, spans_of_b)] =
                [0, 1].map(|side| self.sides[side].shards_of(policy));
            let own = slices([&spans_of_a, &spans_of_b]).into_iter();
            let own = own.map(|slice| {
                let [a, b] = &slice.shards;
                let shards = [
                    a.iter().map(|at| in_a[*at]).collect(),
                    b.iter().map(|at| in_b[*at]).collect(),
                ];
                Slice { shards, ..slice }
            });
            // A shard that is named is one of A, and compared with what B has of its times.
            let what = &self.options.what;
            let own = own.filter(|slice| what.shard.is_none() || !slice.shards[0].is_empty());
            let own = own.filter(|slice| {
                let GroupSpan { start, end } = slice.span;
                what.bounds()
                    .is_none_or(|bounds| !bounds.misses(start, end))
            });
            work.extend(own.map(|slice| (policy.clone(), slice)));
        }
        work
    }

    /// The bytes of all shards that are compared, where they are known of all.
    fn bytes_of(&self, work: &[(PolicyName, Slice)]) -> Option<u64> {
        let bytes = |side: usize| {
            let compared = work.iter().flat_map(|(_, slice)| &slice.shards[side]);
            let compared: BTreeSet<usize> = compared.copied().collect();
            let shards = compared.iter().map(|at| self.sides[side].shards[*at].bytes);
            shards.sum::<Option<u64>>()
        };
        Some(bytes(0)? + bytes(1)?)
    }

    /// The policies that one side has alone.
    fn one_sided_policies(&self) -> Vec<PolicyDiff> {
        if self.options.what.shard.is_some() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for side in Side::BOTH {
            let [own, other] = [side, side.other()].map(|side| &self.sides[side as usize]);
            let others = &other.policies;
            let alone = own.alone(other, self.options);
            found.extend(alone.map(|(policy, name)| PolicyDiff {
                database: name.database.to_string(),
                retention_policy: name.retention_policy.to_string(),
                is_whole_database: !others.keys().any(|of| of.database == policy.database),
                only_in: side,
            }));
        }
        found
    }

    /// Compares what the sides have in a slice of time, and tells of it.
    fn compare(&mut self, policy: &PolicyName, slice: &Slice) -> Result<()> {
        let started = Instant::now();
        let Some(name) = self.name_of(slice) else {
            return Ok(());
        };
        self.context.report(&Event::Started {
            shard: name,
            bytes: self.bytes_to_read(slice),
        });
        self.make_ready(slice, name)?;
        // What of a shard that cannot be had is missing in the other one nobody knows.
        let lacks = self.sides.iter().find_map(OpenSide::lacks);
        let lacks = lacks.map(str::to_owned);
        let outcome = match &lacks {
            Some(reason) => Outcome::Failed(reason),
            None => {
                let (files, bytes) = self.compare_ready(policy, slice)?;
                Outcome::Done { files, bytes }
            }
        };
        self.context.report(&Event::Finished {
            shard: name,
            outcome,
            elapsed: started.elapsed(),
        });
        Ok(())
    }

    /// The shard by whose name a slice is told of.
    fn name_of(&self, slice: &Slice) -> Option<&'a ShardPath> {
        let mut sides = self.sides.iter().zip(&slice.shards);
        sides.find_map(|(side, shards)| Some(side.shards[*shards.first()?].path))
    }

    /// The bytes of the shards that are not ready yet.
    fn bytes_to_read(&self, slice: &Slice) -> Option<u64> {
        let sides = self.sides.iter().zip(&slice.shards);
        let bytes = sides.flat_map(|(side, shards)| {
            let coming = shards.iter().filter(|at| !side.is_ready(**at));
            coming.map(|at| side.shards[*at].bytes)
        });
        bytes.sum()
    }

    /// Makes the shards of both sides ready, at the same time.
    fn make_ready(&mut self, slice: &Slice, name: &ShardPath) -> Result<()> {
        let context = self.context;
        // A failure here stops the other side as well.
        let stop = context.cancel.child();
        let make_ready = |of: &mut OpenSide<'_>| {
            let side = of.side;
            let progress = SideProgress {
                side,
                name: Some(name),
                progress: context.progress,
            };
            let context = Context {
                cancel: &stop,
                progress: &progress,
            };
            let made = of.make_ready(&slice.shards[side as usize], context);
            let made = made.with_context(|| format!("reading {side}"));
            made.inspect_err(|_| stop.cancel())
        };
        let [a, b] = &mut self.sides;
        let mut made = [Ok(()), Ok(())];
        let [of_a, of_b] = &mut made;
        thread::scope(|scope| {
            scope.spawn(|| *of_a = make_ready(a));
            *of_b = make_ready(b);
        });
        context.check()?;
        self.take_missing();
        let failures = made.into_iter().filter_map(Result::err);
        // What was only stopped comes last.
        match failures.min_by_key(|error| kind_of(error).is_stop()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Compares the shards that are ready; how many files they have, and of how many bytes.
    fn compare_ready(&mut self, policy: &PolicyName, slice: &Slice) -> Result<(usize, u64)> {
        let [a, b] = &self.sides;
        let mut told = [Told::default(), Told::default()];
        let [told_a, told_b] = &mut told;
        let files_of_a = SideFiles::open(a, slice, told_a)?;
        let files_of_b = SideFiles::open(b, slice, told_b)?;
        let bounds = self.options.what.bounds().unwrap_or(Bounds::ANY);
        let time_range = slice.time_range().within(bounds);
        let mut not_compared = Told::default();
        let mut tell_of_a = |finding: PointsFinding<'_>| told_a.add(finding.to_string());
        let mut tell_of_b = |finding: PointsFinding<'_>| told_b.add(finding.to_string());
        Comparison {
            policy,
            matcher: self.sought.matcher(),
            contains: self.options.contains,
            tally: &mut self.tally,
            told: &mut |text| not_compared.add(text),
            cancel: self.context.cancel,
        }
        .run(
            files_of_a.points(time_range, &mut tell_of_a)?,
            files_of_b.points(time_range, &mut tell_of_b)?,
        )?;
        let files = files_of_a.count() + files_of_b.count();
        let bytes = files_of_a.bytes()? + files_of_b.bytes()?;
        let [told_a, told_b] = told;
        let mut missing = Vec::new();
        for (side, told) in [(a, told_a), (b, told_b), (a, not_compared)] {
            let shards = side.names_of(&slice.shards[side.side as usize]);
            let told = told.finish().into_iter();
            missing.extend(told.map(|text| (side.side, Shortfall::of_shard(&shards, text))));
        }
        // A shard that is in several slices has its faults in each.
        missing.retain(|missing| !slice.is_cut || !self.missing.contains(missing));
        self.missing.append(&mut missing);
        Ok((files, bytes))
    }
}

/// How many shards of a side are compared.
fn distinct_shards(work: &[(PolicyName, Slice)], side: usize) -> usize {
    let shards = work.iter().flat_map(|(_, slice)| &slice.shards[side]);
    shards.collect::<BTreeSet<_>>().len()
}
