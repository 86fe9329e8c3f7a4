//! `snap forget` and `snap keep`: removing the sets that a policy does not keep, and pinning those
//! that no policy may remove.

mod rules;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::info::{SetSummary, State, summary};
use crate::context::Context;
use crate::repository::{
    Catalog, Chains, Location, Maintenance, Pin, Removed, Selection, SetId, SetRecord,
};
pub use rules::Limit;
pub use rules::Policy;
pub use rules::Reason;
pub use rules::Within;
use rules::{Candidate, apply};

/// What to remove sets from, and which to keep.
#[derive(Debug, Clone)]
pub struct ForgetOptions {
    /// Where the backups lie.
    pub repository: Location,
    /// What to keep.
    pub policy: Policy,
    /// How long to wait for another run in the same directory to end.
    pub retry_lock: Duration,
    /// Remove nothing.
    pub dry_run: bool,
}

/// What became of the sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgetReport {
    /// The sets with a record, by what was asked for and the server, in the order of the oldest of
    /// each.
    pub groups: Vec<Group>,
    /// Sets without a record, which are never removed.
    pub unrecorded: usize,
    /// What was removed, or would be.
    pub removed: Removed,
    /// The removals among these that an earlier run had begun.
    pub ended: Vec<SetId>,
    /// The sets that stay only because somebody reads them.
    pub read: Vec<SetId>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Sets that a policy is applied to together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What was asked for.
    pub selection: Selection,
    /// The server.
    pub server: GroupServer,
    /// The sets, oldest first.
    pub sets: Vec<Verdict>,
}

/// What tells the servers of sets apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupServer {
    /// The random number of its metastore.
    Cluster(u64),
    /// Its address, where that was not recorded.
    Host(String),
}

impl GroupServer {
    fn of(record: &SetRecord) -> Self {
        match record.cluster_id {
            Some(id) => Self::Cluster(id),
            None => Self::Host(record.host.clone()),
        }
    }

    /// The random number of its metastore, where that is known.
    pub(crate) fn cluster_id(&self) -> Option<u64> {
        match self {
            Self::Cluster(id) => Some(*id),
            Self::Host(_) => None,
        }
    }
}

impl fmt::Display for GroupServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(id) => id.fmt(f),
            Self::Host(host) => host.fmt(f),
        }
    }
}

/// What is to become of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The set.
    pub set: SetSummary,
    /// Why it is kept. It is removed where there is no reason.
    pub reasons: Vec<Reason>,
    /// Bytes that became free, or would, as it was removed.
    pub freed: Option<u64>,
}

impl Verdict {
    /// Whether the set is kept.
    pub(crate) fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// Removes the sets that the policy does not keep.
///
/// # Errors
///
/// [`ErrorKind::Usage`] for a policy that keeps nothing; [`ErrorKind::NoBackup`] where there is no
/// set; [`ErrorKind::Locked`] while another run works in the directory; when a record cannot be
/// read or a file not be removed.
///
/// [`ErrorKind::Usage`]: crate::error::ErrorKind::Usage
/// [`ErrorKind::NoBackup`]: crate::error::ErrorKind::NoBackup
/// [`ErrorKind::Locked`]: crate::error::ErrorKind::Locked
pub fn forget(options: &ForgetOptions, context: Context<'_>) -> Result<ForgetReport> {
    let started = Instant::now();
    options.policy.ensure_keeps_something()?;
    let mut catalog = Catalog::read(&options.repository)?;
    if catalog.half_removed().is_empty() {
        catalog.latest()?;
    }
    let mut report = ForgetReport::default();
    let maintenance = if options.dry_run || !Maintenance::is_needed(&catalog)? {
        report.ended = catalog.abandoned_removals(options.repository.grace()?)?;
        None
    } else {
        let (maintenance, ended) =
            Maintenance::begin(&options.repository, options.retry_lock, context.cancel)?;
        catalog = Catalog::read(&options.repository)?;
        report.ended.clone_from(&ended.sets);
        report.removed.add(ended);
        Some(maintenance)
    };
    let (mut groups, mut unkept) = judge(&catalog, &options.policy);
    let read = sets_read(&catalog, &unkept)?;
    if !read.is_empty() {
        (groups, unkept) = judge_beside(&catalog, &options.policy, &read);
    }
    report.groups = groups;
    report.unrecorded = catalog
        .sets()
        .iter()
        .filter(|set| !set.is_recorded())
        .count();
    report.removed.add(match maintenance {
        Some(maintenance) => maintenance.remove(&catalog, &unkept, context.cancel)?,
        None => match options.repository.grace()?.is_zero() {
            true => Maintenance::measure(&catalog, &unkept)?,
            false => Maintenance::measure(&catalog, &unkept)?.put_off(),
        },
    });
    report.spare(read.iter().map(|at| catalog.sets()[*at].id.clone()));
    report.note_freed();
    report.elapsed = started.elapsed();
    Ok(report)
}

impl ForgetReport {
    /// Notes what became free with each set.
    fn note_freed(&mut self) {
        let verdicts = self.groups.iter_mut().flat_map(|group| &mut group.sets);
        for verdict in verdicts.filter(|verdict| !verdict.is_kept()) {
            let freed = self.removed.freed.get(&verdict.set.id);
            verdict.freed = Some(freed.copied().unwrap_or(0));
        }
    }

    /// Notes which sets stay because the storage keeps them, or because they are read: those read
    /// when the policy was applied, and those that turned out to be read when they were to be
    /// removed.
    fn spare(&mut self, read: impl Iterator<Item = SetId>) {
        self.read = read.chain(self.removed.spared.iter().cloned()).collect();
        self.read.sort_unstable();
        let (spared, refused) = (&self.removed.spared, &self.removed.refused);
        for verdict in self.groups.iter_mut().flat_map(|group| &mut group.sets) {
            if spared.contains(&verdict.set.id) {
                verdict.reasons.push(Reason::Read);
            }
            if refused.contains(&verdict.set.id) {
                verdict.reasons.push(Reason::Refused);
            }
        }
    }
}

/// The places of the sets with a record that a policy keeps.
pub(super) fn kept_by(catalog: &Catalog, policy: &Policy) -> BTreeSet<usize> {
    let (_, unkept) = judge(catalog, policy);
    let sets = catalog.sets().iter().enumerate();
    let recorded = sets.filter(|(_, set)| set.is_recorded());
    recorded
        .map(|(at, _)| at)
        .filter(|at| !unkept.contains(at))
        .collect()
}

/// Those of the sets that somebody reads.
fn sets_read(catalog: &Catalog, of: &HashSet<usize>) -> Result<HashSet<usize>> {
    let mut read = HashSet::new();
    for at in of {
        if Maintenance::is_read(catalog, *at)? {
            read.insert(*at);
        }
    }
    Ok(read)
}

/// Applies a policy group by group; the sets that a kept set builds on are kept too. Also returns
/// the places of the sets that are not kept.
fn judge(catalog: &Catalog, policy: &Policy) -> (Vec<Group>, HashSet<usize>) {
    judge_beside(catalog, policy, &HashSet::new())
}

/// As [`judge`], while somebody reads some of the sets: these stay.
fn judge_beside(
    catalog: &Catalog,
    policy: &Policy,
    read: &HashSet<usize>,
) -> (Vec<Group>, HashSet<usize>) {
    let mut groups: Vec<(Selection, GroupServer, Vec<usize>)> = Vec::new();
    for (at, set) in catalog.sets().iter().enumerate() {
        let Some(record) = set.record() else {
            continue;
        };
        let (selection, server) = (
            Selection {
                since: None,
                ..record.selection.clone()
            },
            GroupServer::of(record),
        );
        match groups
            .iter_mut()
            .find(|group| (&group.0, &group.1) == (&selection, &server))
        {
            Some((.., members)) => members.push(at),
            None => groups.push((selection, server, vec![at])),
        }
    }
    let mut chains = Chains::of(catalog);
    let summaries: Vec<SetSummary> = (0..catalog.sets().len())
        .map(|at| summary(catalog, &mut chains, at))
        .collect();
    let mut reasons: Vec<Option<Vec<Reason>>> = vec![None; catalog.sets().len()];
    for (.., members) in &groups {
        let candidate = |at: &usize| {
            let set = &catalog.sets()[*at];
            Candidate {
                started: set.started,
                // One that cannot be restored whole must not take the place of one that can.
                complete: summaries[*at].state == State::Complete
                    && summaries[*at].restorable_whole,
                pinned: set.pin.is_some(),
                lost: catalog.is_lost(set),
            }
        };
        let candidates: Vec<Candidate> = members.iter().map(candidate).collect();
        for (at, mut why) in members.iter().zip(apply(policy, &candidates)) {
            if read.contains(at) {
                why.push(Reason::Read);
            }
            reasons[*at] = Some(why);
        }
    }
    // A set builds only on older ones, so from the newest on: whether a set stays is settled before
    // it keeps others.
    for at in (0..reasons.len()).rev() {
        // No reasons at all: a set of influxd's, which stays.
        if reasons[at].as_ref().is_none_or(|why| !why.is_empty()) {
            for below in chains.parents(at) {
                if let Some(why) = reasons[below].as_mut().filter(|why| why.is_empty()) {
                    why.push(Reason::Needed {
                        by: catalog.sets()[at].id.clone(),
                    });
                }
            }
        }
    }
    let is_unkept = |at: &usize| reasons[*at].as_ref().is_some_and(Vec::is_empty);
    let unkept = (0..reasons.len()).filter(is_unkept).collect();
    let verdict = |at: usize| Verdict {
        set: summaries[at].clone(),
        reasons: reasons[at].clone().unwrap_or_default(),
        freed: None,
    };
    let group = |(selection, server, members): (Selection, GroupServer, Vec<usize>)| Group {
        selection,
        server,
        sets: members.into_iter().map(verdict).collect(),
    };
    (groups.into_iter().map(group).collect(), unkept)
}

/// What is to become of a set's pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// The set is pinned.
    Pin {
        /// Takes the place of an earlier note; an empty one takes it away.
        note: Option<String>,
    },
    /// It is not.
    Unpin,
}

impl PinChange {
    /// The pin that takes the place of what there was.
    fn of(&self, was: Option<&Pin>) -> Option<Pin> {
        let Self::Pin { note } = self else {
            return None;
        };
        let was = was.cloned();
        let since = was.as_ref().map_or_else(Timestamp::now, |was| was.since);
        let note = match note {
            Some(note) => Some(note.clone()).filter(|note| !note.is_empty()),
            None => was.and_then(|was| was.note),
        };
        Some(Pin { since, note })
    }
}

/// What became of a set's pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepReport {
    /// The set's id.
    pub id: SetId,
    /// Its pin, where it has one.
    pub pin: Option<Pin>,
    /// Whether that is new.
    pub changed: bool,
    /// Whether the set is one of those that are never removed, pinned or not.
    pub unrecorded: bool,
}

/// Pins a set, so that it is not removed, or unpins it.
///
/// # Errors
///
/// [`ErrorKind::NoBackup`] where there is no such set; [`ErrorKind::Locked`] while another run
/// works in the directory.
///
/// [`ErrorKind::NoBackup`]: crate::error::ErrorKind::NoBackup
/// [`ErrorKind::Locked`]: crate::error::ErrorKind::Locked
pub fn keep(
    location: &Location,
    set: &str,
    change: &PinChange,
    retry_lock: Duration,
    context: Context<'_>,
) -> Result<KeepReport> {
    let catalog = Catalog::read(location)?;
    let found = &catalog.sets()[catalog.find(set)?];
    if !found.is_recorded() {
        return Ok(KeepReport {
            id: found.id.clone(),
            pin: None,
            changed: false,
            unrecorded: true,
        });
    }
    let (maintenance, _) = Maintenance::begin(location, retry_lock, context.cancel)?;
    // Another run may have removed it before the lock was ours.
    let catalog = Catalog::read(location)?;
    let found = &catalog.sets()[catalog.find(found.id.as_str())?];
    let (id, was) = (found.id.clone(), found.pin.as_ref());
    let pin = change.of(was);
    let changed = pin.as_ref() != was;
    match &pin {
        None => maintenance.unpin(&id)?,
        Some(pin) if changed => maintenance.pin(&id, pin)?,
        Some(_) => {}
    }
    Ok(KeepReport {
        id,
        pin,
        changed,
        unrecorded: false,
    })
}

#[cfg(test)]
#[path = "forget_tests.rs"]
mod tests;
