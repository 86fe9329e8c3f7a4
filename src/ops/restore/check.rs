//! Reading every file of a backup before anything is written: framing, names, TSM files, digests;
//! and deciding which file each of a shard's files comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::checked_shard::{CheckedShard, ShardFile, ShardFiles};
use super::members::ShardMembers;
use super::source::PlannedShard;
use super::types::{SettledTypes, settle_types};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::io::scratch::{is_of_system, scratch_error};
use crate::ops::examine::{
    Depth, Difference, Examination, ExaminedFile, ExaminedMember, FileState, MemberFinding,
};
use crate::ops::queue::{self, Turn};
use crate::progress::{Event, Progress, Silent};
use crate::repository::{BackupFile, Catalog};
use crate::shard::ShardPath;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::fields::{Field, FieldTypes};
use crate::tsm::filter::{NewTypes, PointFilter};
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::{is_tombstone, stem};

/// What is done with the files of a backup.
#[derive(Debug, Clone)]
pub(crate) struct RestoreChecks {
    /// Files of a tsi1 index, which servers 1.3 and 1.4 send too, are left out.
    pub leave_index: bool,
    /// Deletes are applied to the TSM files, whose blocks are looked into for that.
    pub apply_deletes: bool,
    /// Where files without a name are made.
    pub scratch: PathBuf,
}

/// Checks all files of the shards, as far as their use asks for it.
///
/// # Errors
///
/// [`ErrorKind::Damage`] with the file and the offset of the first fault found.
pub(super) fn check(
    catalog: &Catalog,
    planned: Vec<PlannedShard>,
    used: &RestoreChecks,
    jobs: usize,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<CheckedShard>> {
    let bytes: u64 = planned
        .iter()
        .flat_map(|shard| &shard.chain)
        .map(|file| file.size)
        .fold(0, u64::saturating_add);
    if !planned.is_empty() {
        progress.report(&Event::Status(&format!(
            "checking {}",
            plural(planned.len(), "shard")
        )));
    }
    progress.report(&Event::Detail(&format!(
        "reading {bytes} bytes before anything is written"
    )));
    let stop = cancel.child();
    let results = queue::work(planned, jobs, &stop, |shard: PlannedShard| {
        let checked = check_shard(catalog, shard, used, &stop, progress);
        Turn::Done(checked.inspect_err(|_| stop.cancel()))
    });
    cancel.check()?;
    let mut checked = queue::all(results)?;
    checked.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(checked)
}

fn check_shard(
    catalog: &Catalog,
    shard: PlannedShard,
    used: &RestoreChecks,
    stop: &Cancel,
    progress: &dyn Progress,
) -> Result<CheckedShard> {
    let checker = Checker {
        catalog,
        shard: &shard.source,
        scratch: &used.scratch,
        stop,
    };
    let Gathered {
        files,
        unreadable,
        types,
    } = gather(&checker, &shard, used)?;
    let all_readable = unreadable.is_empty();
    for (name, unreadable) in unreadable {
        unreadable.refuse(&name, &shard.source, used, progress)?;
    }
    let members = ShardMembers {
        catalog,
        shard: &shard.source,
        sources: &shard.chain,
        files: &files,
        scratch: &used.scratch,
        stop,
    };
    let several = several_types(types, &shard.source, used)?;
    let need_deletes = if used.apply_deletes {
        files.have_deletes()
    } else {
        // What cannot be read of them was told.
        !several.is_empty() && all_readable
    };
    let deletes = if need_deletes {
        members.deletes()?
    } else {
        BTreeMap::new()
    };
    let settled = if several.is_empty() {
        SettledTypes::default()
    } else {
        settle_types(&members, &several, &deletes)?
    };
    if let Some(told) = &settled.told {
        progress.report(&Event::Warning(told));
    }
    if shard.time_range.is_none() {
        try_to_rewrite(&members, &deletes, used, &settled.new_types)?;
    }
    let PlannedShard {
        source,
        target,
        chain: sources,
        time_range,
    } = shard;
    Ok(CheckedShard {
        source,
        target,
        sources,
        files,
        time_range,
        new_types: settled.new_types,
        undecided: settled.undecided,
    })
}

/// What a shard is put together from.
struct Gathered {
    files: ShardFiles,
    /// The tombstones among them that cannot be read whole, by their names.
    unreadable: BTreeMap<String, Unreadable>,
    /// Those of the fields of all TSM files there are, also of those that newer ones take the place
    /// of.
    types: FieldTypes,
}

/// Reads the tars of a shard, and decides which file of which of them its directory will hold.
fn gather(checker: &Checker<'_>, shard: &PlannedShard, used: &RestoreChecks) -> Result<Gathered> {
    let mut files: BTreeMap<String, ShardFile> = BTreeMap::new();
    let mut unreadable: BTreeMap<String, Unreadable> = BTreeMap::new();
    let mut types = FieldTypes::new(used.scratch.clone());
    for (source, file) in shard.chain.iter().enumerate() {
        for member in checker.file(file, shard.time_range.is_some(), &mut types)? {
            let fault = tombstone_fault(&member);
            let ExaminedMember {
                name, size, crc, ..
            } = member;
            if used.leave_index && name.starts_with("index/") {
                continue;
            }
            unreadable.remove(&name);
            if let Some(fault) = fault {
                let tar = checker.catalog.place_of(&file.name);
                unreadable.insert(name.clone(), Unreadable { tar, fault });
            }
            let file = ShardFile { source, size, crc };
            files.insert(name.clone(), file);
            // A tombstone belongs to the TSM file it was written for, not to a later one of the
            // same name, which may even have the same bytes. A server that sends a file sends its
            // tombstone too, which is newer.
            if let Some(stem) = name.strip_suffix(".tsm") {
                let tombstone = format!("{stem}.tombstone");
                if files
                    .get(&tombstone)
                    .is_some_and(|old| old.source != source)
                {
                    files.remove(&tombstone);
                }
            }
        }
        // Nor to one that comes later, where its own was left out: a server would apply it to its
        // next file of that name.
        let stems: BTreeSet<String> = files
            .keys()
            .filter_map(|name| Some(name.strip_suffix(".tsm")?.to_owned()))
            .collect();
        files.retain(|name, _| !is_tombstone(name) || stems.contains(stem(name)));
    }
    unreadable.retain(|name, _| files.contains_key(name));
    Ok(Gathered {
        files: ShardFiles::of(files),
        unreadable,
        types,
    })
}

/// The fields that may have several types.
fn several_types(
    types: FieldTypes,
    shard: &ShardPath,
    used: &RestoreChecks,
) -> Result<BTreeSet<Field>> {
    let several = types
        .several()
        .map_err(|error| scratch_error(&used.scratch, error))?;
    several.ok_or_else(|| {
        ErrorKind::Refused
            .error(format!(
                "too many fields of shard {shard} have several types"
            ))
            .hint("restore a set that was made whole, by its id")
            .into()
    })
}

/// Reads all that has to be read where points are left out of TSM files: where a sum over the whole
/// file was recorded, their blocks were not looked into yet.
fn try_to_rewrite(
    members: &ShardMembers<'_>,
    deletes: &BTreeMap<String, BoundedDeletes>,
    used: &RestoreChecks,
    new_types: &NewTypes,
) -> Result<()> {
    let none = BoundedDeletes::default();
    let of_file = |name: &str| {
        let of_file = deletes.get(stem(name)).filter(|_| used.apply_deletes);
        of_file.unwrap_or(&none)
    };
    let wants = |name: &str| {
        let is_recorded = |file: &ShardFile| {
            let set = members.sources[file.source].set;
            members.catalog.sets()[set].is_recorded()
        };
        name.ends_with(".tsm")
            && members.files.get(name).is_some_and(is_recorded)
            && !(new_types.is_empty() && of_file(name).is_empty())
    };
    let tried = members.each(wants, |_, passed| {
        let name = &passed.member.name;
        let filter = PointFilter {
            deletes: of_file(name),
            new_types,
            time_range: Bounds::ANY,
        };
        filter
            .try_on(passed.content)
            .map_err(|error| io::Error::other(anyhow::Error::new(error).context(name.clone())))
    });
    tried.or_else(|error| {
        members.stop.check()?;
        if error.chain().any(is_of_system) {
            return Err(error);
        }
        let hint = if new_types.is_empty() {
            "nothing was written; -apply-deletes=false restores the shard without looking at what was deleted of it"
        } else {
            "nothing was written; take another backup or set"
        };
        Err(error.context(ErrorKind::Damage.error("the backup is damaged").hint(hint)))
    })
}

/// A tombstone file of which not all can be read.
struct Unreadable {
    /// The file of the backup that it is in.
    tar: String,
    fault: String,
}

impl Unreadable {
    /// Refuses it where deletes are to be applied: points that were deleted would come back.
    fn refuse(
        &self,
        name: &str,
        shard: &ShardPath,
        used: &RestoreChecks,
        progress: &dyn Progress,
    ) -> Result<()> {
        let Self { tar, fault } = self;
        if used.apply_deletes {
            let message = format!("{tar} is damaged: {name} {fault}");
            return Err(ErrorKind::Damage
                .error(message)
                .hint(
                    "nothing was written; -apply-deletes=false restores the shard without looking at what was deleted of it",
                )
                .into());
        }
        progress.report(&Event::Warning(&format!(
            "{name} of shard {shard} {fault}: points that were deleted may come back"
        )));
        Ok(())
    }
}

/// Checks the files that a shard is put together from.
struct Checker<'a> {
    catalog: &'a Catalog,
    shard: &'a ShardPath,
    scratch: &'a Path,
    stop: &'a Cancel,
}

impl Checker<'_> {
    /// Reads one tar to its end; its regular files, in the order of the tar. `look_into`: every
    /// block of its TSM files too, which is done anyway where nothing was recorded of it. What
    /// their fields are goes into `types`.
    fn file(
        &self,
        file: &BackupFile,
        look_into: bool,
        types: &mut FieldTypes,
    ) -> Result<Vec<ExaminedMember>> {
        let Self {
            catalog,
            shard,
            scratch,
            stop,
        } = *self;
        let set = &catalog.sets()[file.set];
        let recorded = set
            .record()
            .and_then(|record| record.shard(shard)?.file.as_ref());
        let listed = set.listed(shard);
        let examination = Examination {
            catalog,
            file,
            shard,
            recorded,
            listed: listed.map(|listed| listed.size),
            // What was recorded has a sum over all of it. Where nothing was, blocks may be damaged
            // too.
            depth: match !set.is_recorded() || look_into {
                true => Depth::Blocks { times: None },
                false => Depth::Index,
            },
            // Looking into the blocks reads all of a file, and no sum over the tar asks for that to
            // be done twice.
            reads_all: recorded.is_some(),
            stops_at_damage: true,
            scratch,
            cancel: stop,
            progress: &Silent,
        };
        let examined = examination.run(Some(types))?;
        match damage(&examined, &examination, set.id.as_str()) {
            None => Ok(examined.members),
            Some(why) => {
                let tar = catalog.place_of(&file.name);
                Err(ErrorKind::Damage
                    .error(format!("{tar} is damaged: {why}"))
                    .hint("nothing was written; take another backup or set")
                    .into())
            }
        }
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
