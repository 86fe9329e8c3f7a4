//! Findings by their causes: what one file shows in several sets is told once.

use std::collections::BTreeMap;

use super::VerifyReport;
use super::finding::{Finding, SetFault, SetGap};
use crate::repository::{FileDigest, SetId};

/// What was found and is not told yet.
#[derive(Debug, Default)]
pub(super) struct Causes {
    faults: Vec<SetFault>,
    gaps: Vec<SetGap>,
    /// The content of files of shards that a record tells, by the places of their faults.
    contents: BTreeMap<usize, FileDigest>,
    /// What sets lack because a file of an older set is damaged, by that file.
    consequences: BTreeMap<String, Vec<SetFault>>,
}

impl Causes {
    /// Adds a fault.
    pub(super) fn fault(&mut self, fault: SetFault) {
        self.faults.push(fault);
    }

    /// Adds a fault of a shard's file. Sets with one content of a shard share its file, or had it
    /// copied, and where it shows the same damage that is the same.
    pub(super) fn shard_fault(&mut self, fault: SetFault, content: Option<FileDigest>) {
        let same = self.faults.iter().enumerate().position(|(at, other)| {
            content
                .as_ref()
                .is_some_and(|content| self.contents.get(&at) == Some(content))
                && (other.shard(), &other.fault) == (fault.shard(), &fault.fault)
        });
        match same {
            Some(at) => self.faults[at].also_in.push(fault.set),
            None => {
                self.contents
                    .extend(content.map(|content| (self.faults.len(), content)));
                self.faults.push(fault);
            }
        }
    }

    /// Adds what is missing of a set because of a file of an older one, which is verified too.
    pub(super) fn consequence(&mut self, of: &str, fault: SetFault) {
        self.consequences
            .entry(of.to_owned())
            .or_default()
            .push(fault);
    }

    /// Adds a gap.
    pub(super) fn gap(&mut self, gap: SetGap) {
        let same =
            |other: &&mut SetGap| (&other.shards, &other.message) == (&gap.shards, &gap.message);
        match self.gaps.iter_mut().find(same) {
            Some(same) => same.also_in.push(gap.set),
            None => self.gaps.push(gap),
        }
    }

    /// Tells what was found so far.
    pub(super) fn tell(&mut self, report: &mut VerifyReport, tell: &mut dyn FnMut(Finding<'_>)) {
        self.contents.clear();
        for mut fault in self.faults.drain(..) {
            let consequences = self.consequences.remove(&fault.file).unwrap_or_default();
            let sets = consequences.into_iter().map(|consequence| consequence.set);
            add_sets(&mut fault, sets);
            report.faults += 1;
            tell(Finding::Fault(&fault));
        }
        for gap in self.gaps.drain(..) {
            report.gaps += 1;
            tell(Finding::Gap(&gap));
        }
    }

    /// Tells the rest, when all has been read: also of what is missing of a set the cause of which
    /// was not found in the older set.
    pub(super) fn tell_rest(
        &mut self,
        report: &mut VerifyReport,
        tell: &mut dyn FnMut(Finding<'_>),
    ) {
        self.tell(report, tell);
        for (_, consequences) in std::mem::take(&mut self.consequences) {
            let mut consequences = consequences.into_iter();
            let first = consequences.next();
            self.faults.extend(first.map(|mut fault| {
                add_sets(&mut fault, consequences.map(|consequence| consequence.set));
                fault
            }));
        }
        self.tell(report, tell);
    }
}

/// Each set once, however many of its shards build on the file.
fn add_sets(fault: &mut SetFault, sets: impl Iterator<Item = SetId>) {
    for set in sets {
        if set != fault.set && !fault.also_in.contains(&set) {
            fault.also_in.push(set);
        }
    }
}
