//! `snap verify`: reads sets end to end, and reports every fault with what it means.

mod causes;
mod finding;
mod shard;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::queue::{self, Turn};
use crate::context::Context;
use crate::error::{ErrorKind, told};
use crate::metastore::Data;
use crate::progress::{Event, Outcome};
use crate::repository::names;
use crate::repository::{Catalog, Chains, FileRecord, Gap, Location, Missing, Set, SetId};
use crate::shard::ShardPath;
use crate::sizes::total;
use causes::Causes;
use shard::{Checked, VerifyJob};

pub use finding::{DamagedPlace, FileDamage, Finding, Meaning, SetFault, SetGap};

/// What to verify, and how.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Where the backups lie.
    pub repository: Location,
    /// The set; all where none is named.
    pub set: Option<String>,
    /// Look at every block too.
    pub deep: bool,
    /// How many files at a time.
    pub jobs: usize,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The set that was read, where it is one.
    pub set: Option<SetId>,
    /// Sets.
    pub sets: usize,
    /// Files of shards.
    pub shards: usize,
    /// TSM files in them.
    pub tsm_files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Values of fields, where blocks were looked at.
    pub values: Option<u64>,
    /// Faults found.
    pub faults: u64,
    /// The ids of sets that were removed while the others were read: what is said of them may be
    /// incomplete, and is no fault.
    pub removed: Vec<SetId>,
    /// Gaps found.
    pub gaps: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Verifies sets, and passes each finding to `tell`.
///
/// # Errors
///
/// When the directory cannot be read, or has no such set. Findings are no errors.
pub fn verify(
    options: &VerifyOptions,
    context: Context<'_>,
    tell: &mut dyn FnMut(Finding<'_>),
) -> Result<VerifyReport> {
    let started = Instant::now();
    let mut report = VerifyReport::default();
    let (catalog, unreadable) = Catalog::read_past_all(&options.repository)?;
    let mut causes = Causes::default();
    for unreadable in unreadable {
        let fault = FileDamage::of_file(told(&unreadable.error), Meaning::SetLost);
        causes.fault(SetFault::new(
            unreadable.set(),
            unreadable.file,
            None,
            fault,
        ));
    }
    causes.tell(&mut report, tell);
    let chosen = choose_sets(&catalog, options, report.faults > 0)?;
    report.sets = chosen.len();
    // One set is held to the end; of all, those whose files are being read.
    let mut held = None;
    if let [one] = chosen[..] {
        report.set = Some(catalog.sets()[one].id.clone());
        held = catalog.hold_one(one)?;
    }
    let jobs = collect_jobs(&catalog, &chosen, &mut report, &mut causes)?;
    // Before the reading, which can take hours.
    causes.tell(&mut report, tell);
    let sizes = jobs.iter().map(|job| job.file.size);
    context.report(&Event::Shards {
        count: jobs.len(),
        bytes: Some(total(sizes)),
    });
    let results = queue::work(jobs, options.jobs, context.cancel, |job: VerifyJob<'_>| {
        let checked = check_shard(&catalog, &job, options.deep, context);
        Turn::Done(checked.map(|checked| (job, checked)))
    });
    drop(held);
    context.check()?;
    let mut results = queue::all(results)?;
    results.sort_by(|(a, _), (b, _)| (a.file.set, &a.path).cmp(&(b.file.set, &b.path)));
    let mut values = 0;
    for (job, checked) in results {
        values += report_shard(&catalog, &job, checked, &mut report, &mut causes);
    }
    causes.tell_rest(&mut report, tell);
    report.values = options.deep.then_some(values);
    report.elapsed = started.elapsed();
    Ok(report)
}

/// The sets to verify, by their places.
fn choose_sets(catalog: &Catalog, options: &VerifyOptions, has_faults: bool) -> Result<Vec<usize>> {
    let chosen: Vec<usize> = match &options.set {
        Some(name) => vec![catalog.find(name)?],
        None => (0..catalog.sets().len()).collect(),
    };
    if chosen.is_empty() && !has_faults {
        catalog.latest()?;
    }
    match catalog.emptied() {
        Some(emptied) => Err(emptied.into()),
        None => Ok(chosen),
    }
}

/// Checks all of the sets but their shards, and returns the shards' files to read.
fn collect_jobs<'a>(
    catalog: &'a Catalog,
    chosen: &[usize],
    report: &mut VerifyReport,
    causes: &mut Causes,
) -> Result<Vec<VerifyJob<'a>>> {
    let mut jobs = Vec::new();
    let mut chains = Chains::of(catalog);
    let sets = chosen.iter().map(|at| &catalog.sets()[*at]);
    let sets: HashMap<&SetId, &Set> = sets.map(|set| (&set.id, set)).collect();
    for &at in chosen {
        let set = &catalog.sets()[at];
        let Some(_held) = catalog.hold_one(at)? else {
            report.removed.push(set.id.clone());
            continue;
        };
        let mut verifier = SetVerifier {
            catalog,
            at,
            set,
            chosen: &sets,
            report: &mut *report,
            causes: &mut *causes,
        };
        if catalog.is_lost(set) {
            verifier.add(
                &record_file(&set.id),
                None,
                FileDamage::of_file("there is a record, and none of the files", Meaning::SetGone),
            );
            continue;
        }
        let (groups, metastore) = verifier.check_metastore();
        jobs.extend(verifier.shards(&groups));
        verifier.report_missing(chains.missing(at, metastore.as_ref()));
    }
    Ok(jobs)
}

/// Reads a shard's file; nothing where its set, or influxd's file, was removed meanwhile.
fn check_shard(
    catalog: &Catalog,
    job: &VerifyJob<'_>,
    deep: bool,
    context: Context<'_>,
) -> Result<Option<Checked>> {
    let started = Instant::now();
    let Some(_held) = catalog.hold_one(job.file.set)? else {
        return Ok(None);
    };
    context.report(&Event::Started {
        shard: &job.path,
        bytes: Some(job.file.size),
    });
    let set = &catalog.sets()[job.file.set];
    let checked = match shard::check(catalog, job, deep, context) {
        Err(_) if is_passing(catalog, set, &job.file.name) => return Ok(None),
        checked => checked?,
    };
    let damaged = format!("{} is damaged", job.file.name);
    context.report(&Event::Finished {
        shard: &job.path,
        outcome: match checked.damage.is_none() {
            true => Outcome::Done {
                files: checked.members,
                bytes: job.file.size,
            },
            false => Outcome::Failed(&damaged),
        },
        elapsed: started.elapsed(),
    });
    Ok(Some(checked))
}

/// Adds what was found of a shard to the report; how many values it has.
fn report_shard(
    catalog: &Catalog,
    job: &VerifyJob<'_>,
    checked: Option<Checked>,
    report: &mut VerifyReport,
    causes: &mut Causes,
) -> u64 {
    let id = &catalog.sets()[job.file.set].id;
    let Some(checked) = checked else {
        if !report.removed.contains(id) {
            report.removed.push(id.clone());
        }
        return 0;
    };
    report.shards += 1;
    report.tsm_files += checked.tsm_files;
    report.bytes = report.bytes.saturating_add(job.file.size);
    if let Some(damage) = checked.damage {
        let fault = SetFault::new(id.clone(), &*job.file.name, Some(&job.path), damage);
        let recorded = job.record.and_then(|record| record.file.as_ref());
        causes.shard_fault(fault, recorded.map(|file| file.digest.clone()));
    }
    checked.values
}

/// What the record of a set is called.
fn record_file(id: &SetId) -> String {
    format!(".snap/{id}.json")
}

/// The times of the groups that a metastore names, by shard.
type Groups = BTreeMap<ShardPath, Range<i64>>;

fn group_times(metastore: &Data) -> Groups {
    let shards = metastore.live_shards();
    shards
        .map(|shard| (shard.path, shard.start..shard.end))
        .collect()
}

/// Verifies one set, but for the content of its shards.
struct SetVerifier<'a, 'b> {
    catalog: &'a Catalog,
    at: usize,
    set: &'a Set,
    /// All sets that are verified.
    chosen: &'b HashMap<&'a SetId, &'a Set>,
    report: &'b mut VerifyReport,
    causes: &'b mut Causes,
}

impl<'a> SetVerifier<'a, '_> {
    fn add(&mut self, file: &str, shard: Option<&ShardPath>, fault: FileDamage) {
        let fault = SetFault::new(self.set.id.clone(), file, shard, fault);
        self.causes.fault(fault);
    }

    /// Adds what a restore of the set would miss, but for what is told of its own files.
    fn report_missing(&mut self, missing: Vec<Missing>) {
        let id = &self.set.id;
        let mut gaps: Vec<(Gap, Vec<String>)> = Vec::new();
        for Missing { shard, gap } in missing {
            let is_own = match &gap {
                Gap::FileGone { set, .. }
                | Gap::FileChanged { set, .. }
                | Gap::ServerUnknown { set } => set == id,
                _ => false,
            };
            if is_own {
                continue;
            }
            if gap.is_damage() {
                self.add_damage(&gap, shard.as_ref());
                continue;
            }
            let shard = shard.map(|shard| shard.to_string());
            match gaps.iter_mut().find(|(other, _)| *other == gap) {
                Some((_, shards)) => shards.extend(shard),
                None => gaps.push((gap, shard.into_iter().collect())),
            }
        }
        for (gap, shards) in gaps {
            self.causes.gap(SetGap {
                set: id.clone(),
                also_in: Vec::new(),
                shards,
                message: gap.to_string(),
                means: Meaning::NotWhole,
            });
        }
    }

    /// Adds what is missing because a file is not as it was written.
    fn add_damage(&mut self, gap: &Gap, shard: Option<&ShardPath>) {
        let id = &self.set.id;
        let number = names::meta_number(id.as_str());
        let (file, means) = match (gap.file(), number, shard) {
            (Some((_, file)), ..) => (file.to_owned(), Meaning::NotWhole),
            // What the file would be called.
            (None, Some(number), Some(shard)) => {
                (names::shard_file(shard, number), Meaning::ShardLost)
            }
            _ => (record_file(id), Meaning::NotWhole),
        };
        let damage = FileDamage::of_file(gap.to_string(), means);
        let fault = SetFault::new(id.clone(), file, shard, damage);
        let below = gap.file().filter(|(of, _)| *of != id);
        match below.and_then(|(of, file)| Some((self.chosen.get(of)?, file))) {
            Some((of, _)) if self.catalog.is_lost(of) => {
                self.causes.consequence(&record_file(&of.id), fault);
            }
            Some((_, file)) => self.causes.consequence(file, fault),
            None => self.causes.fault(fault),
        }
    }

    /// Looks at the metastore and the manifest; gives what is in the first.
    fn check_metastore(&mut self) -> (Groups, Option<Data>) {
        let set = self.set;
        let name = match set.meta_name() {
            Some(name) => name,
            // Files of shards that influxd wrote under a number whose metastore is gone.
            None if self.catalog.latest().is_ok_and(|latest| latest > self.at)
                || self.catalog.has(set.id.as_str()) =>
            {
                return (self.later_groups(), None);
            }
            None => set.id.as_str(),
        };
        let data = match &set.meta {
            None => Err(FileDamage::of_file(
                format!("the metastore {}", self.catalog.absence(name)),
                Meaning::SetLost,
            )),
            Some(meta) => {
                if is_passing(self.catalog, set, &meta.name) {
                    self.report.removed.push(set.id.clone());
                    return (Groups::new(), None);
                }
                self.report.bytes = self.report.bytes.saturating_add(meta.size);
                let read = self.catalog.read_meta(set);
                read.map_err(|error| FileDamage::of_file(told(&error), Meaning::SetLost))
            }
        };
        if let Some(manifest) = set.record().and_then(|record| record.manifest.as_ref()) {
            self.report.bytes = self.report.bytes.saturating_add(manifest.size);
            if let Err(error) = hash_matches(self.catalog, manifest) {
                self.add(
                    &manifest.name,
                    None,
                    FileDamage::of_file(told(&error), Meaning::NotForInfluxd),
                );
            }
        }
        match data {
            Ok((_, data)) => {
                let mut groups = group_times(&data);
                if set.is_loose() {
                    // A shard made later gets the lowest free number, whatever that of the
                    // metastore is.
                    groups.extend(self.later_groups());
                }
                (groups, Some(data))
            }
            Err(fault) => {
                self.add(name, None, fault);
                (Groups::new(), None)
            }
        }
    }

    /// What the metastores of later sets name.
    fn later_groups(&self) -> Groups {
        let later = self.catalog.sets()[self.at..]
            .iter()
            .skip(1)
            .filter(|set| set.meta.is_some());
        let read = later.rev().find_map(|set| self.catalog.read_meta(set).ok());
        read.map_or_else(Groups::new, |(_, data)| group_times(&data))
    }

    /// The files of the set's shards. Tells those that are gone.
    fn shards(&mut self, groups: &Groups) -> Vec<VerifyJob<'a>> {
        let (catalog, at, set) = (self.catalog, self.at, self.set);
        let mut jobs = Vec::new();
        if let Some(record) = set.record() {
            for shard in &record.shards {
                let (Some(file), path) = (&shard.file, shard.path()) else {
                    continue;
                };
                let times = groups.get(&path).cloned();
                match catalog.file(&file.name) {
                    None => self.add(
                        &file.name,
                        Some(&path),
                        FileDamage::of_file(
                            format!("the file {}", catalog.absence(&file.name)),
                            Meaning::ShardLost,
                        ),
                    ),
                    Some(size) => {
                        let file = catalog.recorded_file(at, file, size);
                        jobs.push(VerifyJob {
                            path,
                            file,
                            record: Some(shard),
                            listed: None,
                            times,
                        });
                    }
                }
            }
            return jobs;
        }
        for (path, times) in groups {
            match (
                catalog.file_of(at, path),
                set.listed(path),
                catalog.in_place_of(path, at),
            ) {
                (Some(file), entry, _) => {
                    let (path, times, listed) = (
                        path.clone(),
                        Some(times.clone()),
                        entry.map(|entry| entry.size),
                    );
                    jobs.push(VerifyJob {
                        path,
                        file,
                        record: None,
                        listed,
                        times,
                    });
                }
                (None, Some(entry), _) => {
                    self.add(
                        &entry.file_name,
                        Some(path),
                        FileDamage::of_file(
                            format!("the file {}", catalog.absence(&entry.file_name)),
                            Meaning::ShardLost,
                        ),
                    );
                }
                (None, None, Some((name, what))) => {
                    let fault = FileDamage::of_file(format!("the file {what}"), Meaning::ShardLost);
                    self.add(name, Some(path), fault);
                }
                // Whether there should be one, the chain tells.
                (None, None, None) => {}
            }
        }
        jobs
    }
}

/// Whether a file of influxd's is gone again. While it makes a set of the portable layout, it has
/// files of the other layout for a moment each.
fn is_passing(catalog: &Catalog, set: &Set, file: &str) -> bool {
    !set.is_recorded() && catalog.is_gone(file)
}

/// Whether a small file is what was recorded.
fn hash_matches(catalog: &Catalog, recorded: &FileRecord) -> Result<()> {
    let bytes = catalog.read_file(&recorded.name)?;
    let algorithm = recorded.digest.algorithm();
    ensure!(
        recorded.digest.is_of(&bytes),
        ErrorKind::Damage.error(format!("it is not what was recorded: {algorithm} differs"))
    );
    Ok(())
}
