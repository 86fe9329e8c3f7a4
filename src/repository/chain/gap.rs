//! What can be missing of a set, and how it is said.

use std::fmt;

use jiff::Timestamp;

use super::super::set_id::SetId;
use crate::shard::ShardPath;

/// Why a shard, or a set, cannot be restored whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gap {
    /// A file that a set recorded or listed is gone.
    FileGone {
        set: SetId,
        /// The file in the backup directory.
        file: String,
        /// What became of it: that it is gone, or what stands in its place.
        absence: &'static str,
    },
    /// A file has another size than its set recorded.
    FileChanged {
        set: SetId,
        /// The file in the backup directory.
        file: String,
        /// Bytes that it has.
        size: u64,
        /// Bytes that were recorded.
        recorded: u64,
    },
    /// An increment, and no earlier set that was asked for the shard.
    NoParent {
        /// The increment.
        set: SetId,
        /// What changed after this time is in it.
        since: Timestamp,
    },
    /// An increment takes what changed after a time that lies after the start of the set before it.
    Uncovered {
        /// The increment.
        after: SetId,
        /// What changed after this time is in it.
        since: Timestamp,
        before: SetId,
        /// What changed after this time may not be in that.
        started: Timestamp,
    },
    /// The set before an increment was begun later than the increment, by the clock.
    ClockSetBack {
        /// The increment.
        after: SetId,
        before: SetId,
        /// When that was begun.
        started: Timestamp,
    },
    /// The server did not have the shard open, and it holds data in other sets.
    NotHeldThen {
        /// The set that was made then.
        set: SetId,
    },
    /// The shard could not be fetched.
    Failed {
        /// The set that lacks it.
        set: SetId,
        /// Whether an older set has it.
        older: bool,
    },
    /// The shard is in the set, and can lack points that the server had acknowledged before that
    /// was begun.
    Unproven { set: SetId },
    /// The set is marked as partial, and no shard of it is known to be missing or unproven.
    Partial { set: SetId },
    /// The set's metastore names the shard, and its record has no word of it.
    NotRecorded { set: SetId },
    /// The set's record has a file of the shard, and its metastore does not name it.
    NotNamed { set: SetId },
    /// A legacy directory of influxd's has no file of a shard that its metastore names.
    NoFile {
        set: SetId,
        /// Whether there are files of other shards of the retention policy.
        others: bool,
    },
    /// A manifest says that it lacks something, and does not list the shard or, where there is no
    /// shard, does not say what.
    Limited { set: SetId },
    /// A manifest lists a file for a shard that the metastore beside it does not name, or that is
    /// another's by its name.
    Stray {
        set: SetId,
        /// The file in the backup directory.
        file: String,
        /// The shard that is listed with it.
        listed: String,
    },
    /// A file of a shard lies beside a manifest that does not list it.
    NotListed {
        set: SetId,
        /// The file in the backup directory.
        file: String,
    },
    /// The metastore that tells of which server a set of influxd's is cannot be read.
    ServerUnknown { set: SetId },
    /// The newest file of the shard holds a range of time or some series, and older ones hold more.
    RangeBeside { file: String },
}

impl Gap {
    /// Whether a file of the backup is not as it was written: damage, where the others were so from
    /// the beginning.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::FileGone { .. }
                | Self::FileChanged { .. }
                | Self::NotRecorded { .. }
                | Self::NotNamed { .. }
                | Self::NoFile { others: true, .. }
                | Self::Stray { .. }
                | Self::NotListed { .. }
                | Self::ServerUnknown { .. }
        )
    }

    /// Whether it lies between a set and those it builds on, where the others are of the set
    /// alone.
    pub(crate) fn is_below(&self, id: &SetId) -> bool {
        match self {
            Self::Unproven { set } => set != id,
            Self::Failed { .. } | Self::Partial { .. } | Self::Limited { .. } => false,
            _ => true,
        }
    }

    /// The set and the file in the backup directory, where it is one file's.
    pub(crate) fn file(&self) -> Option<(&SetId, &str)> {
        match self {
            Self::FileGone { set, file, .. }
            | Self::FileChanged { set, file, .. }
            | Self::Stray { set, file, .. }
            | Self::NotListed { set, file } => Some((set, file)),
            _ => None,
        }
    }

    /// Whether it stays a file's own when other files lie on top of it.
    pub(super) fn is_of_file(&self) -> bool {
        matches!(
            self,
            Self::FileGone { .. } | Self::FileChanged { .. } | Self::ServerUnknown { .. }
        )
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileGone { set, file, absence } => {
                write!(f, "the file {file} of set {set} {absence}")
            }
            Self::FileChanged {
                set,
                file,
                size,
                recorded,
            } => write!(
                f,
                "the file {file} of set {set} has {size} bytes and not {recorded}"
            ),
            Self::NoParent { set, since } => write!(
                f,
                "set {set} holds only what changed after {since:.0}, and there is no set before it"
            ),
            Self::Uncovered {
                after,
                since,
                before,
                started,
            } => write!(
                f,
                "set {after} holds only what changed after {since:.0}, but the set before it, \
                 {before}, was begun at {started:.0}: what changed in between is in neither"
            ),
            Self::ClockSetBack {
                after,
                before,
                started,
            } => write!(
                f,
                "set {after} is an increment to a set before it, but {before} was begun later, at \
                 {started:.0}: the clock was set back in between"
            ),
            Self::NotHeldThen { set } => write!(
                f,
                "the server of set {set} did not have the shard open: its newest state is not in \
                 the backup"
            ),
            Self::Failed { set, older: true } => write!(
                f,
                "it could not be fetched for set {set}: it is restored from an older one"
            ),
            Self::Failed { set, older: false } => write!(
                f,
                "it could not be fetched for set {set} and is in no older one"
            ),
            Self::Unproven { set } => write!(
                f,
                "it is unproven in set {set}: points acknowledged before that was begun can be \
                 missing"
            ),
            Self::Partial { set } => write!(
                f,
                "set {set} is partial: something that it was asked for is not in it for certain"
            ),
            Self::NotRecorded { set } => write!(
                f,
                "the metastore of set {set} names it, but the record of the set does not"
            ),
            Self::NotNamed { set } => write!(
                f,
                "the record of set {set} has a file of it, but the metastore of the set does not \
                 name it"
            ),
            Self::NoFile { set, .. } => write!(
                f,
                "named in the metastore of set {set}, but without a file in the backup"
            ),
            Self::Limited { set } => write!(
                f,
                "set {set} is partial by its manifest (\"limited\": true): something that it was \
                 asked for is not in it"
            ),
            Self::Stray { set, file, listed } => write!(
                f,
                "the manifest of set {set} lists {file} as {listed}, which does not fit the \
                 metastore beside it: its points are not restored"
            ),
            Self::NotListed { set, file } => write!(
                f,
                "the manifest of set {set} does not list {file}, which lies beside it: its points \
                 are not restored"
            ),
            Self::ServerUnknown { set } => write!(
                f,
                "the metastore of set {set} cannot be read, so that nobody knows of which server \
                 its files are"
            ),
            Self::RangeBeside { file } => write!(
                f,
                "the newest file {file} holds a part of the points, and older ones hold more"
            ),
        }
    }
}

/// Something that a set does not bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The shard, where it is one.
    pub shard: Option<ShardPath>,
    pub gap: Gap,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard) = &self.shard {
            write!(f, "shard {shard}: ")?;
        }
        write!(f, "{}", self.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gap_is_is_told_of_its_kind() {
        let id = SetId::from("20261120T080000Z");
        let other = SetId::from("20261120T090000Z");
        let (set, file) = (id.clone(), "meta.00".to_owned());
        let named = Some((&id, "meta.00"));
        let gone = Gap::FileGone {
            set: id.clone(),
            file: file.clone(),
            absence: "is gone",
        };
        let changed = Gap::FileChanged {
            set: id.clone(),
            file: file.clone(),
            size: 1,
            recorded: 2,
        };
        let stray = Gap::Stray {
            set: id.clone(),
            file: file.clone(),
            listed: String::new(),
        };
        let not_listed = Gap::NotListed {
            set: set.clone(),
            file,
        };
        let failed = Gap::Failed {
            set: set.clone(),
            older: true,
        };
        let no_file = |others| Gap::NoFile {
            set: id.clone(),
            others,
        };
        let unknown = Gap::ServerUnknown { set: set.clone() };
        let unproven = Gap::Unproven { set: set.clone() };
        // Whether it is damage, lies below the set, stays a file's own; and its file.
        for (gap, is_damage, is_below, is_of_file, of_file) in [
            (gone, true, true, true, named),
            (changed, true, true, true, named),
            (stray, true, true, false, named),
            (not_listed, true, true, false, named),
            (unknown, true, true, true, None),
            (no_file(true), true, true, false, None),
            (no_file(false), false, true, false, None),
            (
                Gap::NotHeldThen { set: set.clone() },
                false,
                true,
                false,
                None,
            ),
            (failed, false, false, false, None),
            (Gap::Partial { set: set.clone() }, false, false, false, None),
            (Gap::Limited { set }, false, false, false, None),
            (unproven.clone(), false, false, false, None),
        ] {
            assert_eq!(gap.is_damage(), is_damage, "{gap}");
            assert_eq!(gap.is_below(&id), is_below, "{gap}");
            assert_eq!(gap.is_of_file(), is_of_file, "{gap}");
            assert_eq!(gap.file(), of_file, "{gap}");
        }
        assert!(unproven.is_below(&other));
    }
}
