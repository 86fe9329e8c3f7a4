//! `snap check`: whether a backup directory holds a backup that is new enough, told without reading
//! its shards.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::info::{SetSummary, State, summary};
use super::losses::Losses;
use crate::context::Context;
use crate::error::told;
use crate::repository::{
    Catalog, Chains, Gap, Location, Missing, Set, SetRecord, SetState, ShardState, steadily,
};
use crate::text::{self, first_of, name_list};

/// How far ahead of this clock a set's start may be before one of the clocks is called wrong.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5 * 60);

/// How many sets that do not count are named.
const NOTES: usize = 3;

/// What to look for.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Where the backups lie.
    pub repository: Location,
    /// The database that the set must have taken.
    pub database: Option<String>,
    /// The greatest age of the set: how long ago its run may have started.
    pub max_age: Duration,
    /// What time it is.
    pub now: Timestamp,
    /// How many of the shards that the set before it holds may be gone, in percent.
    pub max_lost_shards: u8,
    /// Whether a set without any shard is accepted although the set before it has some.
    pub allow_empty: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckReport {
    /// The newest set that counts, or null.
    #[serde(rename = "newest_set")]
    pub set: Option<SetSummary>,
    /// How long ago it was begun, in whole seconds; null where there is none.
    pub age_seconds: Option<u64>,
    /// What is wrong, a sentence each; all is well where there is nothing.
    #[serde(rename = "problems")]
    pub faults: Vec<String>,
    /// Newer sets that do not count, and why; and what is lost and still allowed.
    pub notes: Vec<String>,
    /// Shards of the set before that are gone and did not expire; null: no set to compare with.
    pub lost_shards: Option<usize>,
    /// Databases of the set before of which no shard is left.
    pub lost_databases: Vec<String>,
}

/// Looks at the newest set that counts as a backup.
///
/// # Errors
///
/// When the directory cannot be read, or a record or manifest in it is damaged.
pub fn check(options: &CheckOptions, context: Context<'_>) -> Result<CheckReport> {
    let read = || Catalog::read(&options.repository);
    let (_, report) = steadily(&options.repository, context.cancel, read, |catalog| {
        Ok(look(catalog, options))
    })?;
    Ok(report)
}

fn look(catalog: &Catalog, options: &CheckOptions) -> CheckReport {
    let mut order: Vec<usize> = (0..catalog.sets().len()).collect();
    // Sets are in the order of their numbers, and what is asked for here is time.
    order.sort_by_key(|at| std::cmp::Reverse((catalog.sets()[*at].started, *at)));
    let mut report = CheckReport {
        set: None,
        age_seconds: None,
        faults: Vec::new(),
        notes: Vec::new(),
        lost_shards: None,
        lost_databases: Vec::new(),
    };
    if let Some(emptied) = catalog.emptied() {
        let hint = emptied.hint.as_deref().unwrap_or_default();
        report.faults.push(format!("{emptied}: {hint}"));
        return report;
    }
    let mut chains = Chains::of(catalog);
    let mut passed_over = 0;
    for at in order {
        let set = &catalog.sets()[at];
        let summary = summary(catalog, &mut chains, at);
        match why_not(catalog, at, &summary, options.database.as_deref()) {
            // What was made for another purpose is nothing to be told of.
            Some(Not::OfInterest) => {}
            Some(Not::Enough(_)) if report.notes.len() == NOTES => passed_over += 1,
            Some(Not::Enough(why)) => report
                .notes
                .push(format!("set {} does not count: {why}", set.id)),
            None => {
                report.judge(&mut chains, catalog, at, summary, options);
                break;
            }
        }
    }
    if passed_over > 0 {
        report.notes.push(format!("nor do {passed_over} more"));
    }
    if report.set.is_none() {
        let of = options
            .database
            .as_ref()
            .map(|database| format!(" of database '{database}'"))
            .unwrap_or_default();
        report.faults.push(format!("no complete set{of}"));
    }
    report
}

/// Why a set does not count.
enum Not {
    /// It lacks something.
    Enough(String),
    /// It holds nothing of the database asked for.
    OfInterest,
}

/// Why a set does not count; `None` where it does, whole or damaged since.
fn why_not(
    catalog: &Catalog,
    at: usize,
    summary: &SetSummary,
    database: Option<&str>,
) -> Option<Not> {
    let set = &catalog.sets()[at];
    let not = |why: &str| Some(Not::Enough(why.to_owned()));
    let Some(record) = set.record() else {
        return match database {
            _ if set.is_limited() => not("it is partial by its manifest"),
            _ if summary.state == State::Damaged => None,
            Some(database) if !summary.databases.iter().any(|other| other == database) => {
                Some(Not::OfInterest)
            }
            _ if summary.shards == 0 => not("it has no shards"),
            _ => None,
        };
    };
    let failed = record
        .shards
        .iter()
        .filter(|shard| shard.state == ShardState::Failed)
        .count();
    let selection = &record.selection;
    match database {
        Some(database) if !selection.takes_database(database) => Some(Not::OfInterest),
        _ if record.state == SetState::Partial => {
            let unproven = if summary.unproven.is_empty() {
                String::new()
            } else {
                let count = summary.unproven.len();
                format!(", {count} unproven: {}", name_list(&summary.unproven))
            };
            not(&format!(
                "it is partial, {failed} of its shards missing{unproven}"
            ))
        }
        _ if selection.meta_only => not("it holds the metastore alone"),
        _ if !selection.series.takes_all() => not("it holds some series alone"),
        _ if record.is_part() => not("it holds a range of time alone"),
        _ if selection.shard.is_some() => not("it holds one shard alone"),
        // One that earlier sets hold, and this one does not, is lost.
        Some(name)
            if !record.shards.iter().any(|shard| shard.database == name)
                && !Losses::of_set(catalog, at, database).is_some_and(|losses| losses.is_empty) =>
        {
            Some(Not::OfInterest)
        }
        _ => None,
    }
}

impl CheckReport {
    fn judge(
        &mut self,
        chains: &mut Chains<'_>,
        catalog: &Catalog,
        at: usize,
        summary: SetSummary,
        options: &CheckOptions,
    ) {
        let set = &catalog.sets()[at];
        self.judge_age(set, options);
        self.faults.extend(
            set.record()
                .and_then(|record| missing_files(catalog, record)),
        );
        self.judge_chain(chains, catalog, at, options.database.as_deref());
        self.judge_losses(catalog, at, options);
        let is_listed = set.listing().is_some() && summary.state == State::Unrecorded;
        self.set = Some(SetSummary {
            state: if is_listed {
                State::Complete
            } else {
                summary.state
            },
            ..summary
        });
    }

    fn judge_age(&mut self, set: &Set, options: &CheckOptions) {
        let id = &set.id;
        let age = options.now.duration_since(set.started);
        match Duration::try_from(age) {
            Ok(age) if age > options.max_age => {
                self.faults.push(format!(
                    "set {id} is {} old, more than {}",
                    text::age(age),
                    text::age(options.max_age)
                ));
            }
            Err(_) if age.unsigned_abs() > CLOCKS_DIFFER => {
                self.faults.push(format!(
                    "set {id} was begun {} from now: a clock is wrong",
                    text::age(age.unsigned_abs())
                ));
            }
            _ => {}
        }
        self.age_seconds = Some(u64::try_from(age.as_secs()).unwrap_or(0));
    }

    /// Whether the set can be restored whole, alone and with the sets that it builds on.
    fn judge_chain(
        &mut self,
        chains: &mut Chains<'_>,
        catalog: &Catalog,
        at: usize,
        database: Option<&str>,
    ) {
        let set = &catalog.sets()[at];
        let read = catalog.read_meta(set);
        let is_own = |file: &str| {
            let is_its = |record: &SetRecord| record.files().any(|own| own.name == file);
            set.record().is_some_and(is_its)
        };
        // Of its own files all that is wrong is said already.
        let is_told = |missing: &&Missing| match &missing.gap {
            Gap::FileGone { file, .. } | Gap::FileChanged { file, .. } => is_own(file),
            _ => false,
        };
        let missing = chains.missing(at, read.as_ref().ok().map(|(_, data)| data));
        let is_meant = |missing: &&Missing| {
            let shard = missing.shard.as_ref();
            shard
                .zip(database)
                .is_none_or(|(shard, name)| shard.database == name)
        };
        let missing: Vec<&Missing> = missing
            .iter()
            .filter(|missing| !is_told(missing) && is_meant(missing))
            .collect();
        if !missing.is_empty() {
            self.faults.push(format!(
                "set {} cannot be restored whole: {}",
                set.id,
                first_of(&missing)
            ));
        }
        // Where it is not there, that is said already.
        if let (Err(error), true, true) = (&read, set.meta.is_some(), self.faults.is_empty()) {
            self.faults.push(format!("set {}: {}", set.id, told(error)));
        }
    }

    /// Whether the server still had the shards that the set before holds.
    fn judge_losses(&mut self, catalog: &Catalog, at: usize, options: &CheckOptions) {
        let Some(losses) = Losses::of_set(catalog, at, options.database.as_deref()) else {
            return;
        };
        let id = &catalog.sets()[at].id;
        let told = |sentence: &String| format!("set {id}: {sentence}");
        self.lost_shards = Some(losses.shards);
        self.lost_databases.clone_from(&losses.databases);
        let mut sentences = losses.sentences();
        let is_fault = match losses.is_empty {
            true => !options.allow_empty,
            false => losses.exceed(options.max_lost_shards),
        };
        // A backup does not speak of a few shards, and here they are what is asked about.
        let gone = losses.gone_shards();
        if is_fault && !losses.is_empty && !sentences.contains(&gone) {
            sentences.push(gone);
        }
        let sentences = sentences.iter().map(told);
        match is_fault {
            true => self.faults.extend(sentences),
            false => self.notes.extend(sentences),
        }
    }
}

/// Says which files of a set are gone or have another size.
fn missing_files(catalog: &Catalog, record: &SetRecord) -> Option<String> {
    let mut wrong = record
        .files()
        .filter(|file| catalog.file(&file.name) != Some(file.size));
    let first = wrong.next()?;
    let more = wrong.count();
    let what = match catalog.file(&first.name) {
        Some(size) => format!("{} has {size} bytes and not {}", first.name, first.size),
        None => format!("{} {}", first.name, catalog.absence(&first.name)),
    };
    let more = if more == 0 {
        String::new()
    } else {
        format!(", and {more} more of its files are gone or of another size")
    };
    Some(format!("set {}: {what}{more}", record.id))
}
