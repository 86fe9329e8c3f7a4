//! What marking a set came to.

use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Message;
use crate::ops::Pin;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct KeepSummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "keep"))]
    command: &'static str,
    /// The backup directory, as it was given.
    directory: String,
    /// The set's id: a stamp, 20261122T233401Z; of legacy sets of influxd's the name of the
    /// metastore, meta.03.
    set: &'a str,
    /// Since when it is marked, UTC; null where it is not.
    #[serde(rename = "kept")]
    pinned_at: Option<Timestamp>,
    /// Whether it was otherwise before.
    changed: bool,
    /// Whether it is one of influxd's, which are never removed.
    #[serde(skip)]
    unrecorded: bool,
}

impl Message for KeepSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "What was done";
}

impl<'a> KeepSummary<'a> {
    pub(crate) fn new(pin: &'a Pin, directory: &Path) -> Self {
        Self {
            command: "keep",
            directory: directory.display().to_string(),
            set: pin.id.as_str(),
            pinned_at: pin.pinned_at,
            changed: pin.changed,
            unrecorded: pin.unrecorded,
        }
    }

    /// The one line of text.
    pub(crate) fn line(&self) -> String {
        let what = match (self.unrecorded, self.pinned_at.is_some(), self.changed) {
            (true, ..) => "is influxd's, and never removed: it needs no mark",
            (_, true, true) => "is marked: snap forget keeps it",
            (_, true, false) => "was marked before",
            (_, false, true) => "is marked no longer",
            (_, false, false) => "was not marked",
        };
        format!("set {} in {} {what}", self.set, self.directory)
    }
}
