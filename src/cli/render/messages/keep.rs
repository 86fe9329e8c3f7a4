//! What keeping a set came to.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Message;
use crate::ops::KeepReport;
use crate::repository::Location;

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
    /// Since when it is kept, UTC; null where it is not.
    kept_since: Option<Timestamp>,
    /// What was written with -note, or null.
    note: Option<&'a str>,
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
    pub(crate) fn new(kept: &'a KeepReport, repository: &Location) -> Self {
        Self {
            command: "keep",
            directory: repository.to_string(),
            set: kept.id.as_str(),
            kept_since: kept.pin.as_ref().map(|pin| pin.since),
            note: kept.pin.as_ref().and_then(|pin| pin.note.as_deref()),
            changed: kept.changed,
            unrecorded: kept.unrecorded,
        }
    }

    /// The one line of text.
    pub(crate) fn line(&self) -> String {
        let what = match (self.unrecorded, self.kept_since.is_some(), self.changed) {
            (true, ..) => "is influxd's, which snap forget never removes",
            (_, true, true) => "is kept: snap forget does not remove it",
            (_, true, false) => "was kept before",
            (_, false, true) => "is kept no longer",
            (_, false, false) => "was not kept",
        };
        let note = self.note.map(|note| format!(" (note: {note})"));
        let note = note.unwrap_or_default();
        format!("set {} in {} {what}{note}", self.set, self.directory)
    }
}
