//! Restoring into the directories of a stopped influxd: shards are unpacked out of sight and then moved into place, the meta store last.

pub(super) mod journal;
pub(super) mod plan;
pub(super) mod staging;
pub(super) mod target;
pub(super) mod write;
