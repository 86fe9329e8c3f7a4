//! Bringing points into one shard of the server.
//!
//! The shard is asked for first: that makes the server flush what it has in memory, which would
//! count as newer than any file that comes, and tells the names and the fields of its files. (Where
//! the backup's values are to count, a point is written before that; see
//! [`announce`](super::announce).) Then points of new fields are written, the files are uploaded
//! under names of their own, and the shard is read back. Nothing of it has to be undone when it
//! stops in between: to do it again brings the same points in once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use super::super::filtered::{FilteredFiles, Sent, sent};
use super::super::journal::LiveJournal;
use super::super::look_back::Holds;
use super::super::parts::UploadShard;
use super::super::upload::{AfterFailure, UploadAttempts};
use super::announce::{FieldPoints, write_lines};
use super::names::{Distance, LiveNames};
use super::plan::{NEW, into, span};
use super::target::Merge;
use crate::cancel::Cancel;
use crate::client::Reply;
use crate::error::{ErrorKind, told};
use crate::io::scratch::{Spool, scratch_dir, scratch_error};
use crate::ops::Shortfall;
use crate::ops::members::{MemberReader, Place, TarStop, read_deletes};
use crate::ops::queue::Turn;
use crate::ops::restore::merge_options::ConflictRule;
use crate::ops::restore::regrouping::{TargetShard, sequence};
use crate::ops::restore::report::MergedShard;
use crate::ops::server_shards::{ShardAnswer, ShardAsker};
use crate::progress::Event;
use crate::repository::Catalog;
use crate::shard::ShardPath;
use crate::shard_tar::Ending;
use crate::text::plural;
use crate::tsm::fields::FieldSet;
use crate::tsm::filter::add_living_fields;
use crate::tsm::tombstone::{BoundedDeletes, TombstoneEnding};
use crate::tsm::{generation, is_index, stem};

/// A shard of the server on its way to hold the backup's points.
pub(super) struct MergeJob<'a> {
    pub target: TargetShard,
    pub shard: UploadShard<'a>,
    /// What of its parts is sent in another form, once that is made.
    filtered: Option<Vec<FilteredFiles>>,
    /// A point of each of its fields, once they are known.
    points: Option<FieldPoints>,
    attempts: UploadAttempts,
    /// The server's shard is open. One of a group that influxd made ahead of its time is not there
    /// until somebody writes to it.
    pub is_open: bool,
    /// An earlier attempt, or run, may have left something.
    pub again: bool,
    points_written: u64,
    /// The files that the server had before it was sent its own, while only the answer to what it has
    /// now is owed.
    to_read_back: Option<LiveNames>,
    is_read_back: bool,
    started: Option<Instant>,
}

/// What became of a shard.
#[derive(Debug)]
pub(super) enum Merged {
    Done {
        shard: MergedShard,
        files: usize,
        bytes: u64,
        is_read_back: bool,
    },
    Failed(Shortfall),
}

/// What a shard on the server has.
struct LiveShard {
    names: LiveNames,
    fields: FieldSet,
    /// Why it can have more than what was sent.
    doubt: Option<String>,
}

impl<'a> MergeJob<'a> {
    /// No attempt was made yet, at a shard that is not open.
    pub(super) fn new(target: TargetShard, shard: UploadShard<'a>) -> Self {
        Self {
            target,
            shard,
            filtered: None,
            points: None,
            is_open: false,
            attempts: UploadAttempts::default(),
            again: false,
            points_written: 0,
            to_read_back: None,
            is_read_back: false,
            started: None,
        }
    }
}

impl Merge<'_, '_> {
    /// Makes one attempt at a shard, tells of it, and decides whether there is another.
    pub(super) fn turn<'j>(
        &self,
        catalog: &Catalog,
        asker: &ShardAsker<'_>,
        mut job: MergeJob<'j>,
        journal: &LiveJournal,
        stop: &Cancel,
    ) -> Turn<MergeJob<'j>, Result<Merged>> {
        let started = *job.started.get_or_insert_with(Instant::now);
        let attempt = self.attempt(catalog, asker, &mut job);
        let noted = |()| match job.shard.path.id {
            NEW => Ok(()),
            id => journal.done(id),
        };
        let error = match attempt.and_then(noted) {
            Ok(()) => return Turn::Done(Ok(self.done(&job, started))),
            Err(error) => error,
        };
        let live = self.live;
        match live.after_failure(&job.shard.path, error, &mut job.attempts, started, stop) {
            AfterFailure::Again(wait) => {
                job.again = true;
                job.to_read_back = None;
                Turn::Later(job, wait)
            }
            AfterFailure::AskAgain(wait) => Turn::Later(job, wait),
            AfterFailure::Stop(error) => Turn::Done(Err(error)),
            AfterFailure::Failed(error) => {
                let into = into(&job.shard.path);
                let name = format!("{} (into {into})", job.shard.source);
                let shortfall = Shortfall::of_shard(name, told(&error));
                Turn::Done(Ok(Merged::Failed(shortfall)))
            }
        }
    }

    fn done(&self, job: &MergeJob<'_>, started: Instant) -> Merged {
        let filtered = job.filtered.as_deref();
        let (files, bytes) = self.live.finished(&job.shard, filtered, started);
        let mut shard = MergedShard::of(&job.target);
        shard.path = job.shard.path.clone();
        shard.points_written = job.points_written;
        self.live.context.detail(shard.done_in_words());
        Merged::Done {
            shard,
            files,
            bytes,
            is_read_back: job.is_read_back,
        }
    }

    /// Makes one attempt at a shard.
    fn attempt(
        &self,
        catalog: &Catalog,
        asker: &ShardAsker<'_>,
        job: &mut MergeJob<'_>,
    ) -> Result<()> {
        let live = self.live;
        let filtered = live.filtered(catalog, &job.shard, &mut job.filtered)?;
        if sent(&job.shard, filtered).next().is_none() {
            job.is_read_back = true;
            return Ok(());
        }
        if let Some(before) = &job.to_read_back {
            job.is_read_back = self.read_back(&job.shard, filtered, before)?;
            return Ok(());
        }
        let points = match &mut job.points {
            Some(points) => points,
            none => none.insert(live.field_points(catalog, &job.shard, filtered)?),
        };
        if job.shard.path.id == NEW
            && let Some(made) = self.made_shard(&job.target)?
        {
            // By a client, since the merge was planned.
            job.shard.path = made;
        }
        if job.shard.path.id == NEW {
            job.shard.path = self.make_shard(&job.target, points.any()?)?;
            job.points_written += 1;
        } else {
            if job.again && job.is_open {
                // Nobody knows how far the attempt before came.
                live.clear(&job.shard)?;
            }
            if self.rule == ConflictRule::Backup || !job.is_open {
                self.write(&job.shard.path, &[points.any()?])?;
                job.is_open = true;
                job.points_written += 1;
            }
        }
        live.context.report(&Event::Started {
            shard: &job.shard.path,
            bytes: Some(job.shard.tsm_bytes()),
        });
        let on_server = self.look(asker, &job.shard.path)?;
        let lines = points.unknown(&on_server.fields)?;
        self.warn_unflushed(&job.shard.path, &on_server, lines.len());
        self.write(&job.shard.path, &lines)?;
        job.points_written += lines.len() as u64;
        let files = job.shard.parts.iter().map(|part| &part.shard.files);
        let names = on_server
            .names
            .new_names(self.rule, Distance::by_chance(), files)?;
        job.shard.set_names(names);
        live.send(catalog, &job.shard, filtered)?;
        if live.options.verify {
            let before = job.to_read_back.insert(on_server.names);
            job.is_read_back = self.read_back(&job.shard, filtered, before)?;
        }
        Ok(())
    }

    /// Writes points into a shard, a line each.
    fn write(&self, path: &ShardPath, lines: &[&[u8]]) -> Result<()> {
        write_lines(self.api, &path.database, &path.retention_policy, lines)
    }

    /// Has the server make the shard that a point is in, and finds out which it is.
    fn make_shard(&self, target: &TargetShard, line: &[u8]) -> Result<ShardPath> {
        self.write(&target.path, &[line])?;
        let made = self.made_shard(target)?;
        made.with_context(|| {
            let (database, policy) = (&target.path.database, &target.path.retention_policy);
            let span = span(target.start, target.end);
            ErrorKind::Refused
                .error(format!(
                    "a point was written to {}, and {} has no shard group of {database}/{policy} from {span} for it",
                    self.api.url(),
                    self.live.client.address()
                ))
                .hint("-host and -http have to name the same influxd")
        })
    }

    /// The shard that was not there when the merge was planned, if it is there now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where a group is there that was not planned so: points would come
    /// outside it, or make another that overlaps it.
    fn made_shard(&self, target: &TargetShard) -> Result<Option<ShardPath>> {
        let TargetShard {
            path, start, end, ..
        } = target;
        let metastore = self.live.metastore()?;
        let reached = metastore.live_shards().filter(|shard| {
            let of_policy = shard.path.database == path.database
                && shard.path.retention_policy == path.retention_policy;
            of_policy && shard.start < *end && shard.end > *start
        });
        let (made, others): (Vec<_>, Vec<_>) =
            reached.partition(|shard| (shard.start, shard.end) == (*start, *end));
        if let Some(other) = others.first() {
            return Err(ErrorKind::Refused
                .error(format!(
                    "{}/{} has a shard group from {} now, which was not there when the merge was planned, and the points are of {}: \
                     the same command plans anew",
                    path.database,
                    path.retention_policy,
                    span(other.start, other.end),
                    span(*start, *end)
                ))
                .into());
        }
        Ok(made.into_iter().next().map(|shard| shard.path))
    }

    /// Asks for a shard: what its files are called, and which fields they have.
    fn look(&self, asker: &ShardAsker<'_>, path: &ShardPath) -> Result<LiveShard> {
        let answer = asker.ask(path, self.live.context, |reply| {
            names_and_fields(reply, path)
        })?;
        match answer {
            ShardAnswer::Whole { taken, doubt } => Ok(LiveShard { doubt, ..taken }),
            ShardAnswer::Gone => bail!("the server has deleted the shard meanwhile"),
            ShardAnswer::Missing(reason) => bail!("{reason}"),
        }
    }

    /// Warns of what points that a server may hold in memory do to the rule. `new_fields` are made
    /// known with a point each.
    fn warn_unflushed(&self, path: &ShardPath, on_server: &LiveShard, new_fields: usize) {
        let Some(doubt) = &on_server.doubt else {
            return;
        };
        let effect = match (self.rule, new_fields) {
            (ConflictRule::Backup, _) => {
                "where it has points that were not flushed, these count as newer than the backup's"
                    .to_owned()
            }
            // Below all files that there are, whatever they are.
            (ConflictRule::Server, 0) => return,
            (ConflictRule::Server, fields) => format!(
                "where it has such a point at the time of {}, the backup's counts",
                match fields {
                    1 => "the point that makes a field known".to_owned(),
                    fields => format!("one of the {fields} points that make fields known"),
                }
            ),
        };
        let warning = format!("shard {path}: {doubt}: {effect}");
        self.live.context.warn(warning);
    }

    /// Compares what the server has with what it was sent. Whether it could be: not where a
    /// compaction was faster.
    fn read_back(
        &self,
        shard: &UploadShard<'_>,
        filtered: &[FilteredFiles],
        before: &LiveNames,
    ) -> Result<bool> {
        let answer = self.live.files_on_server(shard, Holds::Files)?;
        let mut ours = BTreeSet::new();
        let (mut absent, mut first_of_ours) = (None, u32::MAX);
        for Sent { name, size, crc } in sent(shard, filtered) {
            let is_there = |(found, of_size, of_crc): &(String, u64, u32)| {
                *found == *name && (*of_size, *of_crc) == (size, crc)
            };
            if !answer.iter().any(is_there) {
                absent.get_or_insert_with(|| format!("{name} ({size} bytes)"));
            }
            first_of_ours = first_of_ours.min(generation(&name).unwrap_or(0));
            ours.insert(name.into_owned());
        }
        let Some(absent) = absent else {
            return Ok(true);
        };
        let compacted = answer.iter().any(|(name, ..)| {
            let is_new = !before.has(name) && !ours.contains(name) && name.ends_with(".tsm");
            is_new && sequence(name) > 1 && generation(name) >= Some(first_of_ours)
        });
        if !compacted {
            bail!("the server does not hold {absent} although it was sent");
        }
        self.live.warn_not_compared(shard);
        Ok(false)
    }
}

/// Reads the files of a shard that is sent, for what they are called and which fields they have.
fn names_and_fields(reply: Reply, path: &ShardPath) -> Result<(LiveShard, Ending), TarStop> {
    let scratch = scratch_dir();
    let spool = Spool::new_in(&scratch).map_err(|error| scratch_error(&scratch, error))?;
    let mut members = MemberReader::streamed(reply, Place::Spool(spool), None, path);
    let (mut names, mut fields) = (BTreeSet::new(), FieldSet::default());
    let mut deletes: BTreeMap<String, BoundedDeletes> = BTreeMap::new();
    while let Some(member) = members.next_member().map_err(TarStop::Tar)? {
        let is_wanted = member.is_tsm() || member.is_tombstone();
        if !is_wanted || is_index(&member.name) {
            continue;
        }
        let reading = || format!("the server's file {} of shard {path}", member.name);
        let content = members.content()?;
        let own = stem(&member.name).to_owned();
        if member.is_tsm() {
            let deletes = deletes.remove(&own).unwrap_or_default();
            add_living_fields(&content.bytes, &mut deletes.reader(), &mut fields)
                .with_context(reading)?;
        } else if names.contains(&format!("{own}.tsm")) {
            // Servers send it before its file.
            return Err(anyhow!("a tombstone comes behind its file")
                .context(reading())
                .into());
        } else {
            let (read, ending) =
                read_deletes(&member.name, &content.bytes, &scratch).with_context(reading)?;
            if ending == TombstoneEnding::Torn {
                return Err(anyhow!("it breaks off").context(reading()).into());
            }
            deletes.insert(own, read);
        }
        names.insert(member.name);
    }
    let ending = members.finish().map_err(TarStop::Tar)?;
    let shard = LiveShard {
        names: LiveNames::of(names),
        fields,
        doubt: None,
    };
    Ok((shard, ending))
}

impl MergedShard {
    /// What is to be done with a shard.
    pub(super) fn of(target: &TargetShard) -> Self {
        Self {
            path: target.path.clone(),
            start: target.start,
            end: target.end,
            sources: target.sources().collect(),
            is_new: super::plan::is_new(target),
            is_cut: target.parts.iter().any(|part| part.bounds.is_some()),
            points_written: 0,
        }
    }

    fn done_in_words(&self) -> String {
        let is_new = if self.is_new { " (new)" } else { "" };
        let cut = if self.is_cut { ", cut" } else { "" };
        format!(
            "shard {}{is_new}: {} of the backup uploaded{cut}, {} written through HTTP",
            self.path,
            plural(self.sources.len(), "shard"),
            plural(self.points_written, "point")
        )
    }
}
