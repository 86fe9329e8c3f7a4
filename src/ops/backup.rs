//! `snap backup`: the meta store and shards of a server into a set.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::download::{Downloader, Fetched, Job, Step, Want};
use super::incremental::{Base, Building, Earlier};
use super::queue::{self, Turn};
use super::selection::{list, select};
use crate::cancel::Cancel;
use crate::client::Client;
use crate::directory::{
    Content, Contents, FileRecord, Finished, Layout, Leftover, RECORD_FORMAT, Run, Selection, SetFiles, SetRecord, SetState,
    ShardRecord, ShardState, Staging,
};
use crate::error::{Class, class};
use crate::format::meta::{Data, Shard};
use crate::format::portable;
use crate::progress::{Event, Outcome, Progress};
use crate::time::{self, Bounds};
use crate::wire::{Dialect, InfoReply, MetaBlob, ShardPath};

/// How often the meta store is fetched again because the server made a shard meanwhile.
const CATCH_UPS: u32 = 5;

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// What is backed up, for messages and the record: the server's address, or a data directory.
    pub source: String,
    /// The backup directory.
    pub directory: PathBuf,
    /// What to take.
    pub selection: Selection,
    /// How it builds on earlier sets.
    pub building: Building,
    /// How the files are laid out.
    pub layout: Layout,
    /// How many shards at a time.
    pub jobs: usize,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// Make a set of what could be had, where shards failed.
    pub skip_errors: bool,
    /// How long to wait for the directory's lock.
    pub retry_lock: Duration,
    /// Take over what an earlier run had finished, and leave for a later one what this finishes should it fail.
    pub resume: bool,
    /// Say what would be fetched, and fetch nothing.
    pub dry_run: bool,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The set's id, number and meta store; `None` for a dry run.
    pub set: Option<MadeSet>,
    /// Shards stored, or for a dry run, those that would be asked for.
    pub stored: usize,
    /// Shards among these that share the file of an earlier set.
    pub shared: usize,
    /// Shards that had nothing to send.
    pub empty: usize,
    /// Shards that are not in the set although they were asked for, each with the reason.
    pub missing: Vec<String>,
    /// Bytes of all files but those that are shared.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// The set that a backup made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeSet {
    /// Its id.
    pub id: String,
    /// Its number.
    pub number: u32,
    /// The name of its meta store.
    pub meta: String,
}

/// A shard on the way into the set.
struct Planned {
    shard: Shard,
    want: Want,
    /// The times of the points that are kept, where what comes can hold others.
    cut: Option<Bounds>,
    /// Bytes of its file in an earlier set.
    known: Option<u64>,
    /// What it is shared with, if the server has nothing newer.
    base: Option<Base>,
    held: bool,
}

impl Planned {
    /// How much of the shard is taken.
    fn content(&self) -> Content {
        if self.cut.is_some() { Content::Range } else { self.want.content() }
    }

    /// What a set's record says of it, without a file.
    fn record(&self, state: ShardState) -> ShardRecord {
        ShardRecord {
            database: self.shard.path.database.clone(),
            retention_policy: self.shard.path.retention_policy.clone(),
            id: self.shard.path.id,
            start_time: time::from_nanos(self.shard.start),
            end_time: time::from_nanos(self.shard.end),
            state,
            content: self.content(),
            file: None,
            tar_size: None,
            shared_with: None,
            members: Vec::new(),
            error: None,
        }
    }
}

/// Backs up a server.
///
/// # Errors
///
/// When the server is not reached, what was asked for does not exist, the directory is locked or cannot be written, or
/// shards could not be fetched (unless `skip_errors`). Nothing that counts as a backup is left then.
pub fn backup(client: &Client, options: &BackupOptions, cancel: &Cancel, progress: &dyn Progress) -> Result<BackupReport> {
    let begun = Instant::now();
    let selection = options.selection.clone();
    let mut backup = Backup { client, options, selection, built_on: HashSet::new(), cancel, progress };
    if options.dry_run {
        let (_, planned) = backup.plan()?;
        return Ok(backup.describe(&planned, begun));
    }
    // First of all: what an increment builds on is all that was there when its predecessor began, and that is now.
    let staging = Staging::begin(&options.directory, options.retry_lock, options.resume, cancel)?;
    let (blob, planned) = backup.plan()?;
    let meta = backup.store_meta(&staging, blob)?;
    let run = Run {
        started: staging.started(),
        cluster_id: meta.cluster_id,
        layout: options.layout,
        selection: backup.selection.clone(),
    };
    let leftover = staging.take_over(&run)?;
    let (planned, taken_over) = backup.take_over(planned, leftover)?;
    // What is taken over is as old as the run that downloaded it.
    let earlier = leftover.filter(|_| !taken_over.is_empty()).map(|leftover| leftover.run.started);
    let mut results = backup.download(&staging, planned)?;
    results.extend(taken_over);
    let started = earlier.map_or(staging.started(), |earlier| earlier.min(staging.started()));
    backup.commit(staging, meta, results, started, begun)
}

/// A meta store in its file.
struct StoredMeta {
    file: Finished,
    cluster_id: u64,
    /// Bytes of the meta store itself.
    size: u64,
}

/// Shards that are dealt with, each with how that ended.
type Results = Vec<(Planned, Fetched)>;

struct Backup<'a> {
    client: &'a Client,
    options: &'a BackupOptions,
    /// What is taken, with the time that `-since last` stands for.
    selection: Selection,
    /// The shards that the set has which `-since last` builds on.
    built_on: HashSet<ShardPath>,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Backup<'_> {
    /// Fetches the meta store and decides what to ask for, largest first.
    fn plan(&mut self) -> Result<(MetaBlob, Vec<Planned>)> {
        let mut blob = self.retry("the meta store", || self.client.meta_store())?;
        // What is damaged there must not stop a backup; but it is not built on, and that is said.
        let contents = Contents::read_past(&self.options.directory, &mut |file, error| {
            self.progress.report(&Event::Warning(&format!("{file} is not built on: {error:#}")));
            Ok(())
        });
        let contents = contents.ok();
        let earlier = match &contents {
            Some(contents) => Some(Earlier::of(contents, Data::read(&blob.meta)?.cluster_id)),
            None => None,
        };
        self.resolve_last(earlier.as_ref());
        let margin = self.margin(earlier.as_ref());
        let selection = &self.selection;
        let dialect = self.client.dialect().context("the server's dialect was not found out")?;
        self.progress.report(&Event::Detail(&format!("{} speaks dialect {dialect}", self.client.address())));
        refuse_what_the_dialect_lacks(selection, dialect)?;
        let mut data = Data::read(&blob.meta)?;
        let holder = &self.options.source;
        let mut shards = select(&data, selection, holder)?;
        if selection.meta_only {
            return Ok((blob, Vec::new()));
        }
        let mut held = self.held(&data)?;
        // A shard made since the meta store was fetched would be restored to nowhere.
        for _ in 0..CATCH_UPS {
            let named: HashSet<ShardPath> = data.shards().map(|shard| shard.path).collect();
            if held.is_subset(&named) {
                break;
            }
            self.progress.report(&Event::Detail("the server made or dropped a shard meanwhile: fetching the meta store again"));
            blob = self.retry("the meta store", || self.client.meta_store())?;
            data = Data::read(&blob.meta)?;
            shards = select(&data, selection, holder)?;
            held = self.held(&data)?;
        }
        let sizes = contents.as_ref().map(earlier_sizes).unwrap_or_default();
        if let (Some(earlier), Some(_)) = (&earlier, margin) {
            let named: HashSet<ShardPath> =
                data.shards().filter(|shard| shard.deleted_at.is_none()).map(|shard| shard.path).collect();
            let vanished = earlier.vanished(selection, |path| named.contains(path));
            if !vanished.is_empty() {
                let message = format!("gone from {holder} since the last set, expired or dropped: {}", list(&vanished));
                self.progress.report(&Event::Status(&message));
            }
        }
        let mut planned: Vec<Planned> = Vec::new();
        for shard in shards {
            if let Some(deleted_at) = shard.deleted_at {
                let when = time::from_nanos(deleted_at);
                let why = format!("shard {} was deleted by its retention policy or by hand at {when}", shard.path);
                if selection.shard.is_some() {
                    return Err(Class::Failed.error(why).into());
                }
                self.progress.report(&Event::Status(&why));
                continue;
            }
            let Some(want) = want(selection, &shard, dialect) else { continue };
            let is_new = matches!(self.options.building, Building::SinceLast { .. }) && !self.built_on.contains(&shard.path);
            let want = if is_new { Want::Whole } else { want };
            let is_cut = |bounds: &Bounds| !selection.coarse && bounds.cuts(shard.start, shard.end);
            let cut = selection.bounds().filter(is_cut);
            let known = sizes.get(&shard.path).copied();
            let held = held.contains(&shard.path);
            let base = margin.and_then(|margin| earlier.as_ref()?.base(&shard.path, selection, self.options.layout, margin));
            planned.push(Planned { known, want, cut, base, held, shard });
        }
        planned.sort_by_key(|planned| std::cmp::Reverse(planned.known));
        self.say_not_held(&planned);
        Ok((blob, planned))
    }

    /// The shards that the server has open, of the databases that are asked for.
    fn held(&self, data: &Data) -> Result<HashSet<ShardPath>> {
        let selection = &self.selection;
        let mut held = HashSet::new();
        for database in data.databases.iter().filter(|database| selection.takes_database(&database.name)) {
            let asked = format!("the shards of database '{}'", database.name);
            let shards = self.retry(&asked, || match self.client.shards_of(&database.name)? {
                InfoReply::Shards(shards) => Ok(Some(shards)),
                // Dropped meanwhile, or a failure: the meta store tells.
                InfoReply::Nothing if Data::read(&self.client.meta_store()?.meta)?.database(&database.name).is_none() => {
                    Ok(None)
                }
                InfoReply::Nothing => anyhow::bail!("{} did not answer when asked for {asked}", self.client.address()),
            })?;
            held.extend(shards.into_iter().flatten().filter(|path| selection.takes(path)));
        }
        Ok(held)
    }

    /// Warns of shards that should hold points by now and are not open: influxd does so quietly when a file is damaged.
    fn say_not_held(&self, planned: &[Planned]) {
        let now = time::to_nanos(Timestamp::now());
        let absent: Vec<String> =
            planned.iter().filter(|p| !p.held && p.shard.start <= now).map(|p| p.shard.path.to_string()).collect();
        if !absent.is_empty() {
            self.progress.report(&Event::Warning(&format!(
                "the meta store names {} shard(s) that the server does not have open (never written to, or failed to open at \
                 its start; its log tells): {}",
                absent.len(),
                list(&absent)
            )));
        }
    }

    /// Fills in the time that `-since last` stands for.
    fn resolve_last(&mut self, earlier: Option<&Earlier<'_>>) {
        let Building::SinceLast { margin } = self.options.building else { return };
        let last = earlier.and_then(|earlier| earlier.last(&self.selection));
        self.selection.since = last.and_then(|set| set.started.checked_sub(margin).ok());
        // What the server did not have open then is in no set, however old it is.
        let known = |shard: &&ShardRecord| matches!(shard.state, ShardState::Stored | ShardState::Empty);
        self.built_on = last.iter().flat_map(|set| &set.shards).filter(known).map(ShardRecord::path).collect();
        let message = match last {
            Some(set) => {
                format!("taking what changed after the newest complete set was begun, {}, and somewhat before", set.id)
            }
            None => "there is no complete set of the same selection to build on: taking all".to_owned(),
        };
        self.progress.report(&Event::Status(&message));
    }

    /// How old a shard's newest file must be for the shard to be shared; `None` where none is.
    fn margin(&self, earlier: Option<&Earlier<'_>>) -> Option<Duration> {
        let Building::Incremental { full_every, margin } = self.options.building else { return None };
        if full_every.is_some_and(|every| earlier.is_none_or(|earlier| earlier.is_full_due(&self.selection, every))) {
            self.progress.report(&Event::Status("a full set is due: all shards are downloaded"));
            return None;
        }
        Some(margin)
    }

    fn describe(&self, planned: &[Planned], begun: Instant) -> BackupReport {
        let asked: Vec<&Planned> = planned.iter().filter(|planned| planned.held).collect();
        for planned in &asked {
            let how = match planned.want {
                Want::Whole if planned.base.is_some() => "all of it, unless it has not changed".to_owned(),
                Want::Whole => "all of it".to_owned(),
                Want::Since(since) => format!("files modified after {since}"),
                Want::Range(bounds) => {
                    format!("blocks from {} to {}", time::from_nanos(bounds.start), time::from_nanos(bounds.end))
                }
            };
            let how = match planned.cut {
                Some(_) => format!("{how}, cut to the points asked for"),
                None => how,
            };
            let known = planned.known.map(|bytes| format!(", {bytes} bytes last time")).unwrap_or_default();
            self.progress.report(&Event::Status(&format!("would fetch shard {}: {how}{known}", planned.shard.path)));
        }
        BackupReport {
            set: None,
            stored: asked.len(),
            shared: 0,
            empty: 0,
            missing: Vec::new(),
            bytes: asked.iter().filter_map(|planned| planned.known).sum(),
            elapsed: begun.elapsed(),
        }
    }

    fn store_meta(&self, staging: &Staging, blob: MetaBlob) -> Result<StoredMeta> {
        let cluster_id = Data::read(&blob.meta)?.cluster_id;
        let size = blob.meta.len() as u64;
        let bytes = match self.options.layout {
            Layout::Portable => portable::write_meta(&blob.meta),
            Layout::Legacy => {
                let mut bytes = Vec::with_capacity(blob.meta.len() + blob.node.len() + 24);
                blob.write_to(&mut bytes)?;
                bytes
            }
        };
        Ok(StoredMeta { file: staging.write(&bytes)?, cluster_id, size })
    }

    /// Takes over the shards that an earlier run had finished; gives those that are left and those taken over.
    fn take_over(&self, planned: Vec<Planned>, leftover: Option<&Leftover>) -> Result<(Vec<Planned>, Results)> {
        let Some(leftover) = leftover else {
            if self.options.resume {
                self.progress.report(&Event::Status("no earlier run of the same kind left anything to take over"));
            }
            return Ok((planned, Vec::new()));
        };
        let (mut left, mut taken_over) = (Vec::new(), Vec::new());
        for planned in planned {
            self.cancel.check()?;
            match leftover.take(&planned.shard.path, self.cancel)? {
                Some((file, record)) if record.content == planned.content() => {
                    let tar_size = record.tar_bytes().unwrap_or(file.size);
                    let fetched = Fetched::Stored { file, tar_size, members: record.members.clone() };
                    taken_over.push((planned, fetched));
                }
                _ => left.push(planned),
            }
        }
        let message = format!("{} shard(s) are taken over from an earlier run", taken_over.len());
        self.progress.report(&Event::Status(&message));
        Ok((left, taken_over))
    }

    fn download(&self, staging: &Staging, planned: Vec<Planned>) -> Result<Results> {
        let (asked, absent): (Vec<Planned>, Vec<Planned>) = planned.into_iter().partition(|planned| planned.held);
        let bytes = asked.iter().map(|planned| planned.known).sum();
        self.progress.report(&Event::Shards { count: asked.len(), bytes });
        let (retries, jobs) = (self.options.retries, self.options.jobs);
        let layout = self.options.layout;
        let (client, cancel, progress) = (self.client, self.cancel, self.progress);
        let downloader = Downloader { client, staging, layout, retries, jobs, cancel, progress };
        // A fault of this side stops the other threads as well.
        let stop = self.cancel.child();
        let job = |planned: Planned| {
            let mut job = Job::new(planned.shard, planned.want, planned.cut, planned.known);
            job.base = planned.base.map(Box::new);
            (job, None)
        };
        let jobs = asked.into_iter().map(job).collect();
        let results = queue::work(jobs, self.options.jobs, &stop, |(mut job, begun): (Job, Option<Instant>)| {
            let begun = begun.unwrap_or_else(Instant::now);
            match downloader.attempt(&mut job) {
                Ok(Step::Again(wait)) => Turn::Later((job, Some(begun)), wait),
                Ok(Step::Done(fetched)) => {
                    let elapsed = begun.elapsed();
                    self.progress.report(&Event::Finished { shard: &job.shard.path, outcome: outcome(&fetched), elapsed });
                    let Job { shard, want, cut, .. } = job;
                    let planned = Planned { shard, want, cut, base: None, known: None, held: true };
                    Turn::Done(self.note(staging, &planned, &fetched).map(|()| (planned, fetched)))
                }
                Err(error) => {
                    stop.cancel();
                    Turn::Done(Err(error))
                }
            }
        });
        self.cancel.check()?;
        let fetched = queue::all(results)?;
        Ok(fetched.into_iter().chain(absent.into_iter().map(|planned| (planned, Fetched::Empty))).collect())
    }

    /// Writes down a shard that is finished.
    fn note(&self, staging: &Staging, planned: &Planned, fetched: &Fetched) -> Result<()> {
        let Fetched::Stored { file, tar_size, members } = fetched else { return Ok(()) };
        let tar_size = self.options.layout.packs().then_some(*tar_size);
        staging.note(&ShardRecord { tar_size, members: members.clone(), ..planned.record(ShardState::Stored) }, file)
    }

    fn commit(
        &self,
        staging: Staging,
        meta: StoredMeta,
        mut results: Results,
        started: Timestamp,
        begun: Instant,
    ) -> Result<BackupReport> {
        results.sort_by_key(|(planned, _)| planned.shard.path.id);
        let mut shards = Vec::new();
        let mut files = Vec::new();
        let mut missing = Vec::new();
        let (mut bytes, mut shared) = (meta.file.size, 0);
        for (planned, fetched) in results {
            let (state, error) = match &fetched {
                Fetched::Stored { .. } | Fetched::Shared { .. } => (ShardState::Stored, None),
                Fetched::Empty if planned.held => (ShardState::Empty, None),
                Fetched::Empty if planned.known.is_some() => {
                    let reason = "the server had it at the last backup, and no longer has it open; its log may say why";
                    missing.push(format!("shard {}: {reason}", planned.shard.path));
                    (ShardState::Failed, Some(reason.to_owned()))
                }
                Fetched::Empty => (ShardState::NotHeld, None),
                Fetched::Expired => (ShardState::Expired, None),
                Fetched::Failed(reason) => {
                    missing.push(format!("shard {}: {reason}", planned.shard.path));
                    (ShardState::Failed, Some(reason.clone()))
                }
            };
            let (mut members, mut tar_size, mut shared_with) = (Vec::new(), None, None);
            match fetched {
                Fetched::Stored { file, tar_size: size, members: listed } => {
                    bytes += file.size;
                    files.push((shards.len(), file));
                    members = listed;
                    tar_size = self.options.layout.packs().then_some(size);
                }
                Fetched::Shared { file, base } => {
                    shared += 1;
                    files.push((shards.len(), file));
                    (members, tar_size, shared_with) = (base.members, base.tar_size, Some(base.set));
                }
                _ => {}
            }
            shards.push(ShardRecord { tar_size, shared_with, members, error, ..planned.record(state) });
        }
        if !missing.is_empty() && !self.options.skip_errors {
            let message = format!("{} of {} shards could not be fetched: {}", missing.len(), shards.len(), missing.join("; "));
            let hint = match self.selection.bounds() {
                Some(_) if !self.selection.coarse => {
                    "nothing was kept; with -coarse blocks are taken as the server has them, and not looked into; with -skip-errors \
                     the other shards make a set that is marked as partial"
                }
                _ => "nothing was kept; with -skip-errors the other shards make a set that is marked as partial",
            };
            return Err(Class::Failed.error(message).hint(hint).into());
        }
        let record = SetRecord {
            format: RECORD_FORMAT,
            written_by: concat!("snap ", env!("CARGO_PKG_VERSION")).to_owned(),
            id: staging.id().to_owned(),
            state: if missing.is_empty() { SetState::Complete } else { SetState::Partial },
            layout: self.options.layout,
            number: 0,
            started,
            finished: Timestamp::now(),
            host: self.options.source.clone(),
            cluster_id: Some(meta.cluster_id),
            dialect: self.client.dialect().map(|dialect| dialect.to_string()).unwrap_or_default(),
            selection: self.selection.clone(),
            meta: FileRecord { name: String::new(), size: 0, sha256: String::new() },
            meta_size: self.options.layout.packs().then_some(meta.size),
            manifest: None,
            shards,
        };
        let stored = files.len();
        let record = staging.commit(record, &SetFiles { meta: meta.file, shards: files }, self.cancel)?;
        let empty = record.shards.iter().filter(|shard| shard.state == ShardState::Empty).count();
        Ok(BackupReport {
            set: Some(MadeSet { id: record.id, number: record.number, meta: record.meta.name }),
            stored,
            shared,
            empty,
            missing,
            bytes,
            elapsed: begun.elapsed(),
        })
    }

    /// Asks again after a failure, unless the failure is one that will stay.
    fn retry<T>(&self, what: &str, ask: impl Fn() -> Result<T>) -> Result<T> {
        let mut wait = Duration::from_millis(500);
        let mut left = self.options.retries;
        loop {
            match ask() {
                Err(error) if left > 0 && class(&error) == Class::Failed => {
                    self.progress.report(&Event::Detail(&format!("asking again for {what} in {wait:?}: {error:#}")));
                    let until = Instant::now() + wait;
                    while Instant::now() < until {
                        self.cancel.check()?;
                        std::thread::sleep(Duration::from_millis(50).min(wait));
                    }
                    wait = (wait * 2).min(Duration::from_secs(10));
                    left -= 1;
                }
                result => return result,
            }
        }
    }
}

/// What to ask for of a shard; `None` where it lies outside the range asked for.
fn want(selection: &Selection, shard: &Shard, dialect: Dialect) -> Option<Want> {
    if let Some(since) = selection.since {
        return Some(Want::Since(since));
    }
    let Some(bounds) = selection.bounds() else { return Some(Want::Whole) };
    let asked = range(bounds, shard.start, shard.end)?;
    // Servers before 1.5 have no export.
    Some(if dialect == Dialect::V1_0 { Want::Whole } else { asked })
}

/// What to ask for of a shard group from `start` to `end` (exclusive), so that no point within `bounds` can be missing.
///
/// influxd's export drops files without a word when a range has two inner ends and one file has no block between them, so
/// only one end is ever put inside a group: the one that leaves out more. It also takes the maximum of a file with only
/// negative timestamps for 0, so groups that begin before 1970 are taken whole.
fn range(bounds: Bounds, start: i64, end: i64) -> Option<Want> {
    if bounds.misses(start, end) {
        return None;
    }
    if start < 0 || !bounds.cuts(start, end) {
        return Some(Want::Whole);
    }
    let last = end.saturating_sub(1);
    let left_out_at_start = i128::from(bounds.start) - i128::from(start);
    let left_out_at_end = i128::from(last) - i128::from(bounds.end);
    Some(Want::Range(if left_out_at_start > left_out_at_end {
        Bounds { start: bounds.start, ..Bounds::ALL }
    } else {
        Bounds { end: bounds.end, ..Bounds::ALL }
    }))
}

fn refuse_what_the_dialect_lacks(selection: &Selection, dialect: Dialect) -> Result<()> {
    if dialect == Dialect::V1_5 {
        return Ok(());
    }
    if selection.coarse && selection.bounds().is_some() {
        return Err(Class::Usage
            .error("the server is of version 1.0 to 1.4, which cannot export a time range")
            .hint("leave out -coarse: then shards are taken whole and cut here")
            .into());
    }
    if selection.shard.is_some() && (selection.database.is_none() || selection.retention_policy.is_none()) {
        return Err(Class::Usage
            .error("the server is of version 1.0 to 1.4, where -shard needs -database and -retention")
            .hint("write: snap backup -database DB -retention RP -shard ID")
            .into());
    }
    Ok(())
}

/// How large shards were in earlier sets, in bytes of their tars.
fn earlier_sizes(contents: &Contents) -> HashMap<ShardPath, u64> {
    let mut sizes = HashMap::new();
    for shard in contents.records().flat_map(|set| &set.shards) {
        match (shard.tar_bytes(), shard.content) {
            (Some(bytes), _) => drop(sizes.insert(shard.path(), bytes)),
            // It was found empty since.
            (None, Content::Whole) if shard.state == ShardState::Empty => drop(sizes.remove(&shard.path())),
            (None, _) => {}
        }
    }
    sizes
}

fn outcome(fetched: &Fetched) -> Outcome<'_> {
    match fetched {
        Fetched::Stored { file, members, .. } => Outcome::Done { files: members.len(), bytes: file.size },
        Fetched::Shared { .. } => Outcome::Skipped("unchanged: shared with an earlier set"),
        Fetched::Empty => Outcome::Skipped("nothing to fetch"),
        Fetched::Expired => Outcome::Skipped("deleted on the server meanwhile"),
        Fetched::Failed(reason) => Outcome::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_asks_for_whole_groups_inside_and_one_ended_exports_at_its_edges() {
        let bounds = Bounds { start: 150, end: 450 };
        assert_eq!(range(bounds, 0, 100), None);
        assert_eq!(range(bounds, 100, 200), Some(Want::Range(Bounds { start: 150, ..Bounds::ALL })));
        assert_eq!(range(bounds, 200, 300), Some(Want::Whole));
        assert_eq!(range(bounds, 400, 500), Some(Want::Range(Bounds { end: 450, ..Bounds::ALL })));
        assert_eq!(range(bounds, 451, 500), None);
        assert_eq!(range(Bounds { start: 450, end: 450 }, 450, 500), Some(Want::Range(Bounds { end: 450, ..Bounds::ALL })));
        assert_eq!(range(bounds, 0, 1000), Some(Want::Range(Bounds { end: 450, ..Bounds::ALL })));
        assert_eq!(range(Bounds { start: 900, end: 950 }, 0, 1000), Some(Want::Range(Bounds { start: 900, ..Bounds::ALL })));
        assert_eq!(range(bounds, -100, 200), Some(Want::Whole));
        assert_eq!(range(Bounds::ALL, 0, i64::MAX), Some(Want::Whole));
        assert_eq!(
            range(Bounds { start: 5, ..Bounds::ALL }, 0, i64::MAX),
            Some(Want::Range(Bounds { start: 5, ..Bounds::ALL }))
        );
    }
}
