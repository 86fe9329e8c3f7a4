//! Which earlier sets an increment needs: how the sets of a shard build on each other.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::catalog::BackupFile;
use super::super::set_id::SetId;
use super::claim::{Claim, ClaimedFile, Claims};
use super::gap::Gap;
use crate::shard::ShardPath;

/// A set's part in the chain of a shard.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub file: Option<BackupFile>,
    /// The set that it builds on.
    pub parent: Option<usize>,
    pub gap: Option<Gap>,
    /// Whether it is influxd's, and may be whole or not.
    pub is_unknown: bool,
}

/// The links that are known of a shard, by the places of the sets.
pub(super) type Links = BTreeMap<usize, Box<Link>>;

/// Finds the links of one shard among the sets of one server.
pub(super) struct Linker<'c, 'a> {
    pub claims: &'c Claims<'a>,
    pub path: &'c ShardPath,
    pub cluster: Option<u64>,
}

impl Linker<'_, '_> {
    /// Adds the link of `top` and all below it.
    pub(super) fn complete(&self, top: usize, links: &mut Links) {
        // A link needs those below it first. There may be more of these than a stack has room for.
        let mut open = vec![top];
        while let Some(at) = open.last().copied() {
            if links.contains_key(&at) {
                open.pop();
                continue;
            }
            match self.link(at, links) {
                Ok(link) => drop(links.insert(at, Box::new(link))),
                Err(needed) => open.push(needed),
            }
        }
    }

    /// The part of the set at `at` in the chain of the shard, or a set before it whose part has to
    /// be known first.
    fn link(&self, at: usize, links: &Links) -> Result<Link, usize> {
        let Some(claim) = self.claims.claim(at, self.path) else {
            return Ok(Link::default());
        };
        match claim {
            Claim::NotThere | Claim::Expired => Ok(Link::default()),
            Claim::Range(ClaimedFile { file, gap }) => Ok(Link {
                file,
                gap,
                ..Link::default()
            }),
            Claim::Whole(held) => self.whole(at, held, links),
            Claim::Unknown(held) => self.unknown(at, held, links),
            Claim::Failed { range } => self.failed(at, range, links),
            Claim::NotHeld { range, .. } => self.not_held(at, range, links),
            Claim::Since(held, since) => {
                let (parent, below) = self.parent_of(at, since, links)?;
                Ok(Link {
                    file: held.file,
                    parent,
                    gap: worse(held.gap, below),
                    is_unknown: false,
                })
            }
        }
    }

    fn whole(&self, at: usize, held: ClaimedFile, links: &Links) -> Result<Link, usize> {
        let parent = match held.gap {
            None | Some(Gap::Unproven { .. }) => None,
            // Where it is gone, an older state is better than none.
            Some(_) => self.older(at),
        };
        if let Some(parent) = parent {
            known(parent, links)?;
        }
        Ok(Link {
            file: held.file,
            parent,
            gap: held.gap,
            is_unknown: false,
        })
    }

    fn unknown(&self, at: usize, held: ClaimedFile, links: &Links) -> Result<Link, usize> {
        let parent = self.older(at);
        let below = match parent {
            Some(parent) => known(parent, links)?.gap.clone(),
            None => None,
        };
        Ok(Link {
            file: held.file,
            parent,
            gap: held.gap.or(below.filter(Gap::is_of_file)),
            is_unknown: true,
        })
    }

    fn failed(&self, at: usize, range: bool, links: &Links) -> Result<Link, usize> {
        let parent = self.older(at).filter(|_| !range);
        let older = match parent {
            Some(parent) => has_files(parent, links)?,
            None => false,
        };
        let set = self.id(at);
        Ok(Link {
            parent,
            gap: Some(Gap::Failed { set, older }),
            ..Link::default()
        })
    }

    fn not_held(&self, at: usize, range: bool, links: &Links) -> Result<Link, usize> {
        let Some(parent) = self.older(at) else {
            return Ok(Link::default());
        };
        if has_files(parent, links)? || known(parent, links)?.gap.is_some() {
            let set = self.id(at);
            return Ok(Link {
                // A range must not bring more than was asked for.
                parent: Some(parent).filter(|_| !range),
                gap: Some(Gap::NotHeldThen { set }),
                ..Link::default()
            });
        }
        // That there was nothing, it has to say only where older sets say otherwise.
        Ok(Link {
            parent: Some(parent).filter(|parent| self.was_held(*parent)),
            ..Link::default()
        })
    }

    fn id(&self, at: usize) -> SetId {
        self.claims.catalog.sets()[at].id.clone()
    }

    /// Whether any set before `at` had something of the shard.
    fn was_held(&self, at: usize) -> bool {
        let mut older = (0..at).filter(|older| !self.claims.is_foreign(*older, self.cluster));
        older.any(|older| {
            matches!(
                self.claims.claim(older, self.path),
                Some(Claim::Whole(held) | Claim::Since(held, _) | Claim::Unknown(held))
                    if held.file.is_some() || held.gap.is_some()
            )
        })
    }

    /// The newest set before `at` that has something to build on: all sets that could not have
    /// the shard are passed over.
    fn older(&self, at: usize) -> Option<usize> {
        let mut older = (0..at)
            .rev()
            .filter(|older| !self.claims.is_foreign(*older, self.cluster));
        older.find(|older| {
            matches!(
                self.claims.claim(*older, self.path),
                Some(Claim::Whole(_) | Claim::Since(..) | Claim::NotThere | Claim::Unknown(_))
            )
        })
    }

    /// The set that an increment builds on, and what is missing below it: of the sets before it
    /// that were begun at `since` or later, the newest that is whole.
    fn parent_of(
        &self,
        at: usize,
        since: Timestamp,
        links: &Links,
    ) -> Result<(Option<usize>, Option<Gap>), usize> {
        let sets = self.claims.catalog.sets();
        let set = &sets[at];
        let mut passed = PassedOver::default();
        for older in (0..at).rev() {
            if self.claims.is_foreign(older, self.cluster) {
                continue;
            }
            let before = &sets[older];
            let claim = match self.claims.claim(older, self.path) {
                Some(Claim::NotHeld { early, .. }) => {
                    passed.not_held.get_or_insert(older);
                    if early && before.started >= since && before.started <= set.started {
                        passed.early.get_or_insert(older);
                    }
                    continue;
                }
                Some(Claim::Failed { .. } | Claim::Expired | Claim::Range(_)) | None => continue,
                Some(claim) => claim,
            };
            if before.is_recorded() && before.started > set.started {
                passed.ahead.get_or_insert(older);
                continue;
            }
            // The time of a legacy set of influxd's is that of a file, which a copy changes.
            if before.started < since && !before.is_loose() {
                if passed.broken.is_some() {
                    break;
                }
                if let (Some(early), Claim::NotThere) = (passed.early, &claim) {
                    return Ok((Some(early), known(early, links)?.gap.clone()));
                }
                known(older, links)?;
                let gap = Gap::Uncovered {
                    after: set.id.clone(),
                    since,
                    before: before.id.clone(),
                    started: before.started,
                };
                return Ok((Some(older), Some(gap)));
            }
            match &known(older, links)?.gap {
                None => return Ok((Some(older), None)),
                Some(gap) => drop(passed.broken.get_or_insert((older, gap.clone()))),
            }
        }
        self.best_of(at, since, passed, links)
    }

    /// As [`Linker::parent_of`], where none of the sets before it will do.
    fn best_of(
        &self,
        at: usize,
        since: Timestamp,
        passed: PassedOver,
        links: &Links,
    ) -> Result<(Option<usize>, Option<Gap>), usize> {
        if let Some((parent, gap)) = passed.broken {
            return Ok((Some(parent), Some(gap)));
        }
        if let Some(early) = passed.early {
            return Ok((Some(early), known(early, links)?.gap.clone()));
        }
        if let Some(ahead) = passed.ahead {
            known(ahead, links)?;
            let gap = Gap::ClockSetBack {
                after: self.id(at),
                before: self.id(ahead),
                started: self.claims.catalog.sets()[ahead].started,
            };
            return Ok((Some(ahead), Some(gap)));
        }
        let gap = match passed.not_held {
            Some(not_held) => Gap::NotHeldThen {
                set: self.id(not_held),
            },
            None => Gap::NoParent {
                set: self.id(at),
                since,
            },
        };
        Ok((None, Some(gap)))
    }
}

/// Sets that an increment cannot build on as it should; the newest of each kind.
#[derive(Default)]
struct PassedOver {
    /// What it builds on is not whole.
    broken: Option<(usize, Gap)>,
    /// The server did not have the shard open, and its time had not begun.
    early: Option<usize>,
    /// It was begun later than the increment, by the clock.
    ahead: Option<usize>,
    /// The server did not have the shard open.
    not_held: Option<usize>,
}

/// The link of a set, or that it has to be known first.
fn known(at: usize, links: &Links) -> Result<&Link, usize> {
    links.get(&at).map(|link| &**link).ok_or(at)
}

/// What is missing of an increment, where that is known of it and of what it builds on: first
/// what is wrong with its file.
fn worse(own: Option<Gap>, below: Option<Gap>) -> Option<Gap> {
    match own {
        // Its file is there, and what is below may not be.
        Some(Gap::Unproven { .. }) => below.or(own),
        _ => own.or(below),
    }
}

/// Whether a chain has any file from a set down, or a set whose part has to be known first.
fn has_files(top: usize, links: &Links) -> Result<bool, usize> {
    let mut next = Some(top);
    while let Some(at) = next {
        let link = known(at, links)?;
        if link.file.is_some() {
            return Ok(true);
        }
        next = link.parent;
    }
    Ok(false)
}
