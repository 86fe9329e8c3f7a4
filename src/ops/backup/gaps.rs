//! What a backup tells at once of the set that it has made: that it cannot be restored whole, and
//! what the server does not hold any more.

use super::run::{Backup, BackupReport};
use crate::ops::losses::Losses;
use crate::repository::{Catalog, Chains};
use crate::text::first_of;

impl Backup<'_> {
    /// Compares the set that was made with those before it. What it finds is no failure: what was
    /// asked for is there.
    pub(super) fn compare(&self, report: BackupReport) -> BackupReport {
        let Some(made) = &report.set else {
            return report;
        };
        // What is damaged there was said before.
        let catalog = Catalog::read_past_all(&self.options.repository);
        let Ok((catalog, _)) = catalog else {
            return report;
        };
        let Some(at) = catalog.sets().iter().position(|set| set.id == made.id) else {
            return report;
        };
        // The shards that it lacks itself, or has unproven, are told already.
        let missing = Chains::of_one_set(&catalog).missing(at, None);
        let gaps: Vec<String> = missing
            .iter()
            .filter(|missing| missing.gap.is_below(&made.id))
            .map(ToString::to_string)
            .collect();
        if !gaps.is_empty() {
            self.context.warn(format!(
                "set {} cannot be restored whole: {}",
                made.id,
                first_of(&gaps)
            ));
        }
        let losses = Losses::of_set(&catalog, at, None);
        for sentence in losses.iter().flat_map(Losses::sentences) {
            self.context.warn(format!("set {}: {sentence}", made.id));
        }
        BackupReport {
            gaps,
            losses,
            ..report
        }
    }
}
