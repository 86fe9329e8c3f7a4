//! Reading every file of a backup before anything has a place in the target: framing, names, TSM
//! files, digests; and deciding which file each of a shard's files comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;

use super::checked_shard::{CheckedShard, ShardFile, ShardFiles};
use super::lost::{LostFrom, LostList};
use super::members::ShardMembers;
use super::salvage::{Salvage, Salvaged};
use super::source::PlannedShard;
use super::types::{SettledTypes, settle_types};
use crate::context::Context;
use crate::error::ErrorKind;
use crate::io::scratch::{is_of_system, scratch_error};
use crate::ops::examine::{
    Depth, Difference, Examination, ExaminedFile, ExaminedMember, FileState, MemberFinding,
};
use crate::ops::generations::{Generations, left_out};
use crate::ops::newest_files::NewestFiles;
use crate::ops::queue::{self, Turn};
use crate::ops::unpack_dir::UnpackDir;
use crate::progress::{Event, Outcome, Silent};
use crate::repository::{BackupFile, Catalog};
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::fields::{Field, FieldTypes};
use crate::tsm::filter::{NewTypes, PointFilter};
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::{is_tombstone, stem};

/// What can be done about damage.
const DAMAGED: &str = "nothing was written; take another backup or set; into directories, \
                       -skip-damaged restores what is sound and lists what is lost";

/// What is done with the files of a backup.
#[derive(Debug, Clone)]
pub(crate) struct RestoreChecks {
    /// Files of a tsi1 index, which servers 1.3 and 1.4 send too, are left out.
    pub leave_index: bool,
    /// Deletes are applied to the TSM files, whose blocks are looked into for that.
    pub apply_deletes: bool,
    /// The series that are restored.
    pub series: Arc<SoughtSeries>,
    /// Gets the types of the fields of all shards, where shards are put together.
    pub types: Option<Arc<Mutex<FieldTypes>>>,
    /// Gets what is damaged, which is left out; else damage is refused.
    pub lost: Option<Arc<LostList>>,
    /// Where files without a name are made.
    pub scratch: PathBuf,
}

/// Checks all files of the shards, as far as `checks` ask for it, and writes nothing.
///
/// # Errors
///
/// [`ErrorKind::Damage`] with the file and the offset of the first fault found.
pub(super) fn check(
    catalog: &Catalog,
    planned: Vec<PlannedShard>,
    checks: &RestoreChecks,
    jobs: usize,
    context: Context<'_>,
) -> Result<Vec<CheckedShard>> {
    if !planned.is_empty() {
        context.status(format!("checking {}", plural(planned.len(), "shard")));
    }
    context.detail(format!(
        "reading {} bytes before anything is written",
        total(planned.iter().map(PlannedShard::bytes))
    ));
    context.report(&Event::Shards {
        count: planned.len(),
        bytes: Some(total(planned.iter().map(PlannedShard::bytes))),
    });
    // A failure stops the other threads as well.
    let stop = context.cancel.child();
    let checker = ShardChecker {
        catalog,
        checks,
        unpack: None,
        tell: None,
        context: Context {
            cancel: &stop,
            ..context
        },
    };
    let results = queue::work(planned, jobs, &stop, |shard: PlannedShard| {
        Turn::Done(check_one(&checker, shard).inspect_err(|_| stop.cancel()))
    });
    context.check()?;
    let mut checked = queue::all(results)?;
    checked.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(checked)
}

/// Checks a shard, and tells of it under the name that it has in the backup.
fn check_one(checker: &ShardChecker<'_>, planned: PlannedShard) -> Result<CheckedShard> {
    let started = Instant::now();
    let shard = planned.source.clone();
    checker.context.report(&Event::Started {
        shard: &shard,
        bytes: Some(planned.bytes()),
    });
    let checked = checker.check(planned)?;
    checker.context.report(&Event::Finished {
        shard: &shard,
        outcome: Outcome::Checked,
        elapsed: started.elapsed(),
    });
    Ok(checked)
}

/// Checks the files that a shard is put together from.
pub(in crate::ops) struct ShardChecker<'a> {
    pub catalog: &'a Catalog,
    pub checks: &'a RestoreChecks,
    /// Where the files are unpacked while they are read, if they are. What is to be left out of
    /// them is not tried on them then: it will be left out of what was unpacked.
    pub unpack: Option<&'a UnpackDir<'a>>,
    /// Is told what is damaged, where everything else is to be read; else damage is refused.
    pub tell: Option<&'a (dyn Fn(String) + Sync)>,
    pub context: Context<'a>,
}

impl ShardChecker<'_> {
    /// Checks one shard.
    ///
    /// # Errors
    ///
    /// As [`check`].
    pub(in crate::ops) fn check(&self, shard: PlannedShard) -> Result<CheckedShard> {
        let Gathered {
            files,
            unreadable,
            types,
            damaged,
        } = self.gather(&shard)?;
        let all_readable = unreadable.is_empty();
        for (name, unreadable) in unreadable {
            match self.tell {
                Some(tell) => tell(unreadable.what(&name)),
                None => unreadable.refuse(&name, &shard.source, self.checks, self.context)?,
            }
        }
        let members = ShardMembers {
            catalog: self.catalog,
            shard: &shard.source,
            sources: &shard.chain,
            files: &files,
            unpacked: self.unpack.map(|unpack| unpack.path),
            scratch: &self.checks.scratch,
            stop: self.context.cancel,
        };
        let several = several_types(types, &shard.source, self.checks)?;
        let chooses_series = !self.checks.series.takes_all();
        let is_tried = self.unpack.is_none() && (chooses_series || shard.time_range.is_none());
        let are_applied = self.checks.apply_deletes && files.have_deletes();
        // What cannot be read of deletes was told.
        let need_deletes = all_readable && (!several.is_empty() || is_tried && are_applied);
        let deletes = match need_deletes {
            true => members.deletes()?,
            false => BTreeMap::new(),
        };
        let settled = match several.is_empty() {
            true => SettledTypes::default(),
            false => {
                let series = &self.checks.series;
                match (
                    settle_types(&members, &several, &deletes, series),
                    self.tell,
                ) {
                    // What is damaged in their indexes was told.
                    (Err(error), Some(_)) if !error.chain().any(is_of_system) => {
                        SettledTypes::default()
                    }
                    (settled, _) => settled?,
                }
            }
        };
        if let Some(told) = &settled.told {
            self.context.warn(told);
        }
        if is_tried {
            try_to_rewrite(&members, &deletes, self.checks, &settled.new_types)?;
        }
        let PlannedShard {
            source,
            target,
            chain: sources,
            time_range,
            group,
        } = shard;
        Ok(CheckedShard {
            source,
            target,
            sources,
            files,
            time_range,
            series: Arc::clone(&self.checks.series),
            new_types: settled.new_types,
            undecided: settled.undecided,
            damaged,
            group,
        })
    }
}

/// What a shard is put together from.
struct Gathered {
    files: ShardFiles,
    /// The tombstones among them that cannot be read whole, by their names.
    unreadable: BTreeMap<String, Unreadable>,
    /// Those of the fields of all TSM files there are, also of those that newer ones take the place
    /// of.
    types: FieldTypes,
    /// The TSM files of which damaged blocks are left out.
    damaged: BTreeSet<String>,
}

impl ShardChecker<'_> {
    /// Reads the tars of a shard, and decides which file of which of them its directory will hold.
    fn gather(&self, shard: &PlannedShard) -> Result<Gathered> {
        let mut types = FieldTypes::new(self.checks.scratch.clone());
        // The oldest first: where they are unpacked, newer files take the place of older ones.
        let tars = shard.chain.iter();
        let tars = tars.map(|file| self.examine(shard, file, &mut types));
        let tars = tars.collect::<Result<Vec<Salvaged>>>()?;
        let mut files: BTreeMap<String, ShardFile> = BTreeMap::new();
        let mut unreadable: BTreeMap<String, Unreadable> = BTreeMap::new();
        let mut tombstones: BTreeSet<String> = BTreeSet::new();
        let mut damaged: BTreeSet<String> = BTreeSet::new();
        let mut newest = NewestFiles::default();
        let mut generations = Generations::default();
        for (source, tar) in tars.into_iter().enumerate().rev() {
            // What older sets have of that name is not what it was when it was backed up.
            for name in &tar.lost {
                newest.pass(name);
                generations.pass(name, 0, None);
            }
            for member in tar.members {
                let name = &member.name;
                newest.pass(name);
                generations.pass(name, member.modified, Some((member.size, member.crc)));
                if is_tombstone(name) {
                    tombstones.insert(name.clone());
                }
                if !newest.counts(name) {
                    continue;
                }
                if member.damage().is_some() {
                    damaged.insert(name.clone());
                }
                if let Some(fault) = tombstone_fault(&member) {
                    let tar = self.catalog.place_of(&shard.chain[source].name);
                    unreadable.insert(name.clone(), Unreadable { tar, fault });
                }
                let ExaminedMember {
                    name, size, crc, ..
                } = member;
                files.insert(name, ShardFile { source, size, crc });
            }
            newest.next_tar();
            generations.next_tar();
        }
        let is_same = |a: &Option<_>, b: &Option<_>| {
            Ok::<_, Infallible>(a.is_none() || b.is_none() || a == b)
        };
        let Ok(gone) = generations.gone(is_same);
        if !gone.is_empty() {
            self.context.warn(left_out(&shard.source, gone.len()));
        }
        files.retain(|name, _| !gone.contains(name.as_str()));
        // A server would apply a tombstone whose TSM file was left out to its next one of that name.
        let stems: BTreeSet<String> = files
            .keys()
            .filter_map(|name| Some(name.strip_suffix(".tsm")?.to_owned()))
            .collect();
        files.retain(|name, _| !is_tombstone(name) || stems.contains(stem(name)));
        unreadable.retain(|name, _| files.contains_key(name));
        if let Some(unpack) = self.unpack {
            let dropped = tombstones.iter().map(String::as_str).chain(gone);
            let mut dropped = dropped.filter(|name| !files.contains_key(*name));
            dropped.try_for_each(|name| unpack.remove(name))?;
        }
        Ok(Gathered {
            files: ShardFiles::of(files),
            unreadable,
            types,
            damaged,
        })
    }
}

/// The fields that may have several types.
fn several_types(
    types: FieldTypes,
    shard: &ShardPath,
    checks: &RestoreChecks,
) -> Result<BTreeSet<Field>> {
    let mut all = checks
        .types
        .as_ref()
        .map(|all| all.lock().unwrap_or_else(PoisonError::into_inner));
    let several = types
        .several(all.as_deref_mut())
        .map_err(|error| scratch_error(&checks.scratch, error))?;
    several.ok_or_else(|| too_many_fields(&format!("shard {shard}")))
}

/// The error for more fields of several types than can be dealt with.
pub(super) fn too_many_fields(of: &str) -> anyhow::Error {
    ErrorKind::Refused
        .error(format!("too many fields of {of} have several types"))
        .hint("restore a set that was made whole, by its id")
        .into()
}

/// Reads all that has to be read where points are left out of TSM files: where a sum over the whole
/// file was recorded, their blocks were not looked into yet.
fn try_to_rewrite(
    members: &ShardMembers<'_>,
    deletes: &BTreeMap<String, BoundedDeletes>,
    checks: &RestoreChecks,
    new_types: &NewTypes,
) -> Result<()> {
    let none = BoundedDeletes::default();
    let of_file = |name: &str| {
        let of_file = deletes.get(stem(name)).filter(|_| checks.apply_deletes);
        of_file.unwrap_or(&none)
    };
    let wants = |name: &str| {
        let is_recorded = |file: &ShardFile| {
            let set = members.sources[file.source].set;
            members.catalog.sets()[set].is_recorded()
        };
        let is_unseen = members.files.get(name).is_some_and(is_recorded)
            && !(new_types.is_empty() && of_file(name).is_empty());
        // Only with the keys of all files it is known which series are there.
        name.ends_with(".tsm") && (!checks.series.takes_all() || is_unseen)
    };
    let tried = members.each(wants, |_, passed| {
        let name = passed.name;
        let filter = PointFilter {
            deletes: of_file(name),
            new_types,
            series: &checks.series,
            time_range: Bounds::ANY,
        };
        filter
            .try_on(passed.content)
            .map_err(|error| io::Error::other(anyhow::Error::new(error).context(name.to_owned())))
    });
    tried.or_else(|error| {
        members.stop.check()?;
        let is_filtered = !new_types.is_empty() || !checks.series.takes_all();
        Err(not_rewritable(error, is_filtered))
    })
}

/// The error for files of which points cannot be left out: it is damage, unless the system failed.
/// `is_filtered` says whether others than those that were deleted are.
pub(super) fn not_rewritable(error: anyhow::Error, is_filtered: bool) -> anyhow::Error {
    if error.chain().any(is_of_system) {
        return error;
    }
    let hint = if !is_filtered {
        "nothing was written; -apply-deletes=false restores the shard without looking at what was deleted of it"
    } else {
        DAMAGED
    };
    error.context(ErrorKind::Damage.error("the backup is damaged").hint(hint))
}

/// A tombstone file of which not all can be read.
struct Unreadable {
    /// The file of the backup that it is in.
    tar: String,
    fault: String,
}

impl Unreadable {
    fn what(&self, name: &str) -> String {
        let Self { tar, fault } = self;
        format!("{tar} is damaged: {name} {fault}")
    }

    /// Refuses it where deletes are to be applied: points that were deleted would come back.
    fn refuse(
        &self,
        name: &str,
        shard: &ShardPath,
        checks: &RestoreChecks,
        context: Context<'_>,
    ) -> Result<()> {
        if checks.apply_deletes {
            return Err(ErrorKind::Damage
                .error(self.what(name))
                .hint(
                    "nothing was written; -apply-deletes=false restores the shard without looking at what was deleted of it",
                )
                .into());
        }
        context.warn(format!(
            "{name} of shard {shard} {}: points that were deleted may come back",
            self.fault
        ));
        Ok(())
    }
}

impl ShardChecker<'_> {
    /// Reads one tar to its end; its regular files, in the order of the tar. Every block of their
    /// TSM files too, where a range of times is restored, or nothing was recorded of the tar. What
    /// their fields are goes into `types`.
    fn examine(
        &self,
        shard: &PlannedShard,
        file: &BackupFile,
        types: &mut FieldTypes,
    ) -> Result<Salvaged> {
        let set = &self.catalog.sets()[file.set];
        let record = set.record().and_then(|record| record.shard(&shard.source));
        let recorded = record.and_then(|record| record.file.as_ref());
        let listed = set.listed(&shard.source);
        let examination = Examination {
            catalog: self.catalog,
            file,
            shard: &shard.source,
            recorded,
            listed: listed.map(|listed| listed.size),
            // What was recorded has a sum over all of it. Where nothing was, blocks may be damaged
            // too.
            depth: match self.checks.lost.is_some()
                || self.tell.is_none() && (!set.is_recorded() || shard.time_range.is_some())
            {
                true => Depth::Blocks { times: None },
                false => Depth::Index,
            },
            // Looking into the blocks reads all of a file, and no sum over the tar asks for that to
            // be done twice.
            reads_all: recorded.is_some(),
            leave_index: self.checks.leave_index,
            unpack: self.unpack,
            stops_at_damage: self.tell.is_none() && self.checks.lost.is_none(),
            scratch: &self.checks.scratch,
            cancel: self.context.cancel,
            progress: match self.unpack {
                Some(_) => self.context.progress,
                None => &Silent,
            },
        };
        let examined = examination.run(Some(types))?;
        let damage = damage(&examined, &examination, set.id.as_str());
        if let (Some(list), Some(unpack)) = (&self.checks.lost, self.unpack) {
            let salvage = Salvage {
                from: LostFrom {
                    list,
                    shard: &shard.source,
                    file: &file.name,
                    times: shard.group,
                },
                unpack,
                record,
            };
            return salvage.part(examined, damage.as_deref());
        }
        let whole = Salvaged {
            members: examined.members,
            lost: BTreeSet::new(),
        };
        let Some(why) = damage else {
            return Ok(whole);
        };
        let tar = self.catalog.place_of(&file.name);
        let told = format!("{tar} is damaged: {why}");
        match self.tell {
            Some(tell) => tell(told),
            None => return Err(ErrorKind::Damage.error(told).hint(DAMAGED).into()),
        }
        Ok(whole)
    }
}

/// Why a file cannot be restored from: the first damage in it.
fn damage(examined: &ExaminedFile, examination: &Examination<'_>, set: &str) -> Option<String> {
    match &examined.state {
        FileState::Empty => Some("it is empty".to_owned()),
        FileState::Tar(error) => Some(error.to_string()),
        FileState::Gzip(offset, error) => Some(format!(
            "about offset {offset} of the compressed file: {error}"
        )),
        FileState::NotReadOn { tar_bytes } => {
            let what = examined.members.last().map(damage_of_tsm);
            Some(format!(
                "at offset {tar_bytes}: {}",
                what.unwrap_or_default()
            ))
        }
        FileState::Whole { .. } => {
            let first = examined.differences(examination).into_iter().next()?;
            Some(match first {
                Difference::Listed { .. } => first.to_string(),
                Difference::Size { bytes, recorded } => {
                    format!("it has {bytes} bytes, and set {set} recorded {recorded}")
                }
                Difference::Digest(algorithm) => {
                    format!("it is not what set {set} recorded: {algorithm} differs")
                }
            })
        }
    }
}

/// The first damage in a TSM file, which influxd would take, and not say what is missing.
fn damage_of_tsm(member: &ExaminedMember) -> String {
    let name = &member.name;
    match member.damage() {
        Some(MemberFinding::Inside {
            offset, message, ..
        }) => format!("{name}, at offset {offset}: {message}"),
        Some(MemberFinding::Index(error)) => format!("{name} is {error}"),
        Some(MemberFinding::Name | MemberFinding::Torn | MemberFinding::Tombstone(_)) | None => {
            format!("{name} is damaged")
        }
    }
}

/// Why not all of a tombstone file can be read.
fn tombstone_fault(member: &ExaminedMember) -> Option<String> {
    member.findings.iter().find_map(|finding| match finding {
        MemberFinding::Torn => Some("breaks off".to_owned()),
        MemberFinding::Tombstone(error) => Some(format!("is no tombstone file: {error}")),
        MemberFinding::Name | MemberFinding::Index(_) | MemberFinding::Inside { .. } => None,
    })
}
