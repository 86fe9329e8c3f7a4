//! The words for a set: its kind, its state, what it was asked for, and what is wrong with it.

use super::table::date_or_time;
use crate::ops::{Kind, MetaCounts, SetSummary, State};
use crate::repository::{Layout, Selection};
use crate::text::{name_list, plural};

/// The kind in a word.
pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Full => "full",
        Kind::Incremental => "incremental",
        Kind::Since => "since",
        Kind::Range => "range",
        Kind::Series => "series",
        Kind::Meta => "meta only",
        Kind::Unknown => "unknown",
    }
}

/// The kind in words, the longest first.
pub(crate) fn kind_forms(of: Kind) -> impl Iterator<Item = &'static str> {
    let short = match of {
        Kind::Full | Kind::Since | Kind::Range | Kind::Series => None,
        Kind::Incremental => Some("incr"),
        Kind::Meta => Some("meta"),
        Kind::Unknown => Some("-"),
    };
    std::iter::once(kind(of)).chain(short)
}

/// The NN at the end of the names of a set's files; none where it has names without.
pub(crate) fn number_in_names(set: &SetSummary) -> Option<String> {
    let number = set.number.filter(|_| set.layout == Layout::Legacy)?;
    Some(format!("{number:02}"))
}

/// What is said of a set in place of its databases, the longest first, where there were no files
/// newer than was asked for.
pub(crate) fn nothing_newer(set: &SetSummary) -> Option<[String; 3]> {
    let since = date_or_time(set.nothing_newer_than?);
    Some([
        format!("(nothing newer than {since})"),
        "(nothing newer)".to_owned(),
        "(none)".to_owned(),
    ])
}

/// The versions that a server can be of, by the dialect of the protocol that it speaks. Nothing in
/// the protocol tells the version itself.
pub(crate) fn versions(dialect: &str) -> &'static str {
    match dialect {
        "1.0" => "version 1.0 to 1.4",
        _ => "version 1.5 or later",
    }
}

/// The state of a set in a word, with the sets that it builds on.
pub(crate) fn state_of(set: &SetSummary) -> &'static str {
    match set.state {
        State::Complete if !set.restorable_whole => "incomplete",
        other => state(other),
    }
}

/// The state in a word.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::Partial => "partial",
        State::Unrecorded => "unrecorded",
        State::Damaged => "damaged",
    }
}

/// What is wrong with a set, but for what [`unproven`] says.
pub(crate) fn complaint(set: &SetSummary) -> Option<&str> {
    let complaint = set.complaint.as_deref();
    complaint.filter(|_| !set.is_told_as_unproven)
}

/// Which shards of a set can lack points.
pub(crate) fn unproven(set: &SetSummary) -> Option<String> {
    let (id, shards) = (&set.id, &set.unproven);
    (!shards.is_empty()).then(|| {
        format!(
            "set {id}: unproven, points acknowledged before the backup began can be missing: {}",
            name_list(shards)
        )
    })
}

/// What a backup was asked to take.
pub(crate) fn asked_for(selection: &Selection) -> String {
    let databases = match &selection.database {
        Some(database) => format!("database '{database}'"),
        None if selection.include_internal => "all databases, _internal too".to_owned(),
        None => "all databases but _internal".to_owned(),
    };
    let policy = selection.retention_policy.as_ref();
    let others = [
        policy.map(|policy| format!("policy '{policy}'")),
        selection.shard.map(|id| format!("shard {id}")),
        selection
            .since
            .map(|since| format!("files changed after {}", date_or_time(since))),
        selection
            .start
            .map(|start| format!("points from {} on", date_or_time(start))),
        selection
            .end
            .map(|end| format!("points up to {}", date_or_time(end))),
        (!selection.series.takes_all()).then(|| format!("series of {}", selection.series)),
        selection
            .meta_only
            .then(|| "the metastore alone".to_owned()),
    ];
    let parts: Vec<String> = std::iter::once(databases)
        .chain(others.into_iter().flatten())
        .collect();
    parts.join(", ")
}

/// What a metastore holds beside shards.
pub(crate) fn meta_counts(meta: &MetaCounts) -> String {
    let counts = [
        plural(meta.databases, "database"),
        plural(meta.users, "user"),
        plural(meta.continuous_queries, "continuous query"),
        plural(meta.subscriptions, "subscription"),
    ];
    counts.join(", ")
}
