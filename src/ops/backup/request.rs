//! What a server is asked for: all of a shard, what is newer than a time, or what an export gives
//! of an interval.

use jiff::Timestamp;

use super::incremental::Base;
use crate::metastore::Shard;
use crate::repository::{Content, Selection, ShardRecord, ShardState};
use crate::time::{self, Bounds};
use crate::wire::{Dialect, Request};

/// What to ask the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardRequest {
    /// All of the shard.
    Whole,
    /// The files modified after a time.
    Since(Timestamp),
    /// The blocks that touch an interval.
    Range(Bounds),
}

impl ShardRequest {
    pub(crate) fn for_shard(self, id: u64) -> Request {
        match self {
            Self::Whole => Request::Shard { id, since: None },
            Self::Since(since) => Request::Shard {
                id,
                since: Some(since),
            },
            Self::Range(bounds) => Request::Export { id, bounds },
        }
    }

    /// How a set's record calls it.
    pub(super) fn content(self) -> Content {
        match self {
            Self::Whole => Content::Whole,
            Self::Since(_) => Content::Since,
            Self::Range(_) => Content::Range,
        }
    }
}

/// A shard on the way into the set.
pub(super) struct Planned {
    /// The shard, as the metastore has it.
    pub shard: Shard,
    /// What is asked for of it.
    pub request: ShardRequest,
    /// The times of the points that are kept, where what comes can hold others.
    pub time_range: Option<Bounds>,
    /// Whether points of some series alone are kept.
    pub some_series: bool,
    /// Bytes of its tar in an earlier run.
    pub known: Option<u64>,
    /// What is not downloaded again, if the server has nothing newer.
    pub base: Option<Box<Base>>,
    /// Whether the server has it open.
    pub held: bool,
}

impl Planned {
    /// Whether points are left out of what comes.
    pub(super) fn is_filtered(&self) -> bool {
        self.time_range.is_some() || self.some_series
    }

    /// How much of the shard is taken.
    pub(super) fn content(&self) -> Content {
        if self.is_filtered() {
            Content::Range
        } else {
            self.request.content()
        }
    }

    /// What a set's record says of it, without a file.
    pub(super) fn record(&self, state: ShardState) -> ShardRecord {
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
            deletes_applied: false,
            error: None,
            unproven: None,
        }
    }
}

/// What to ask for of a shard; `None` where it lies outside the range asked for.
pub(crate) fn request_for(
    selection: &Selection,
    shard: &Shard,
    dialect: Dialect,
) -> Option<ShardRequest> {
    if let Some(since) = selection.since {
        return Some(ShardRequest::Since(since));
    }
    let Some(bounds) = selection.bounds() else {
        return Some(ShardRequest::Whole);
    };
    let asked = range(bounds, shard.start, shard.end)?;
    // Servers before 1.5 have no export.
    Some(if dialect == Dialect::V1_0 {
        ShardRequest::Whole
    } else {
        asked
    })
}

/// What to ask for of a shard group from `start` to `end` (exclusive), so that no point within
/// `bounds` can be missing.
///
/// influxd's export drops files without a word when a range has two inner ends and one file has no
/// block between them, so only one end is ever put inside a group: the one that leaves out more. It
/// also takes the maximum of a file with only negative timestamps for 0, so groups that begin
/// before 1970 are taken whole.
fn range(bounds: Bounds, start: i64, end: i64) -> Option<ShardRequest> {
    if bounds.misses(start, end) {
        return None;
    }
    if start < 0 || !bounds.cuts(start, end) {
        return Some(ShardRequest::Whole);
    }
    let last = end.saturating_sub(1);
    let left_out_at_start = i128::from(bounds.start) - i128::from(start);
    let left_out_at_end = i128::from(last) - i128::from(bounds.end);
    Some(ShardRequest::Range(
        if left_out_at_start > left_out_at_end {
            Bounds {
                start: bounds.start,
                ..Bounds::ALL
            }
        } else {
            Bounds {
                end: bounds.end,
                ..Bounds::ALL
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_asks_for_whole_groups_inside_and_one_ended_exports_at_its_edges() {
        let bounds = Bounds {
            start: 150,
            end: 450,
        };
        assert_eq!(range(bounds, 0, 100), None);
        assert_eq!(
            range(bounds, 100, 200),
            Some(ShardRequest::Range(Bounds {
                start: 150,
                ..Bounds::ALL
            }))
        );
        assert_eq!(range(bounds, 200, 300), Some(ShardRequest::Whole));
        assert_eq!(
            range(bounds, 400, 500),
            Some(ShardRequest::Range(Bounds {
                end: 450,
                ..Bounds::ALL
            }))
        );
        assert_eq!(range(bounds, 451, 500), None);
        assert_eq!(
            range(
                Bounds {
                    start: 450,
                    end: 450
                },
                450,
                500
            ),
            Some(ShardRequest::Range(Bounds {
                end: 450,
                ..Bounds::ALL
            }))
        );
        assert_eq!(
            range(bounds, 0, 1000),
            Some(ShardRequest::Range(Bounds {
                end: 450,
                ..Bounds::ALL
            }))
        );
        assert_eq!(
            range(
                Bounds {
                    start: 900,
                    end: 950
                },
                0,
                1000
            ),
            Some(ShardRequest::Range(Bounds {
                start: 900,
                ..Bounds::ALL
            }))
        );
        assert_eq!(range(bounds, -100, 200), Some(ShardRequest::Whole));
        assert_eq!(range(Bounds::ALL, 0, i64::MAX), Some(ShardRequest::Whole));
        assert_eq!(
            range(
                Bounds {
                    start: 5,
                    ..Bounds::ALL
                },
                0,
                i64::MAX
            ),
            Some(ShardRequest::Range(Bounds {
                start: 5,
                ..Bounds::ALL
            }))
        );
    }
}
