//! One side of a comparison: which shards it has, and these made ready to be read.

use std::collections::BTreeMap;

use anyhow::Result;

use super::DiffOptions;
use super::report::Side;
use super::slices::GroupSpan;
use super::tally::PolicyName;
use crate::context::Context;
use crate::metastore::Shard;
use crate::ops::prepared::{Prepared, PreparedShard};
use crate::ops::shard_source::{OpenSource, SourceShard};
use crate::ops::{Shortfall, selection};
use crate::progress::{Event, Progress};
use crate::repository::Selection;
use crate::shard::{Name, ShardPath};
use crate::text::few_names;

/// One side, whose shards are known.
pub(super) struct OpenSide<'a> {
    pub side: Side,
    pub source: &'a OpenSource<'a>,
    /// The retention policies that are meant, by the names that they have in A, with their own.
    pub policies: BTreeMap<PolicyName, PolicyName>,
    pub shards: Vec<SideShard<'a>>,
    pub missing: Vec<Shortfall>,
    /// What came of the shards that are wanted, by their places.
    ready: BTreeMap<usize, Prepared>,
}

/// A shard of a side.
pub(super) struct SideShard<'a> {
    pub path: &'a ShardPath,
    /// Its policy, by the name that it has in A.
    pub policy: PolicyName,
    pub span: GroupSpan,
    /// Bytes to read, where that is known.
    pub bytes: Option<u64>,
    /// What it is read from.
    found: SourceShard<'a>,
}

impl<'a> OpenSide<'a> {
    /// The shards of a source, as those of a side.
    pub(super) fn of(side: Side, source: &'a OpenSource<'a>, options: &DiffOptions) -> Self {
        let names = SideNames { side, options };
        let shards = source.shards().into_iter();
        let shards = shards.map(|found| SideShard {
            path: found.path(),
            policy: names.policy_of(found.info),
            span: span_of(found.info),
            bytes: found.bytes(),
            found,
        });
        Self {
            side,
            source,
            policies: names.policies(source),
            shards: shards.collect(),
            missing: source.missing.clone(),
            ready: BTreeMap::new(),
        }
    }

    /// Whether it is of a policy, by its own name: a set is of what it holds or was asked for.
    fn is_of(&self, own: &PolicyName) -> bool {
        self.source.is_of(&own.database, &own.retention_policy)
    }

    /// The policies that it has alone, with their own names: of those that the other side, a set,
    /// is not of, the ones with shards.
    pub(super) fn alone<'s>(
        &'s self,
        other: &'s OpenSide<'_>,
        options: &'s DiffOptions,
    ) -> impl Iterator<Item = (&'s PolicyName, &'s PolicyName)> {
        let names = SideNames {
            side: other.side,
            options,
        };
        let has_shards = |policy: &PolicyName| self.shards.iter().any(|of| of.policy == *policy);
        self.policies.iter().filter(move |(policy, _)| {
            !other.policies.contains_key(policy)
                && (other.is_of(&names.own_policy(policy)) || has_shards(policy))
        })
    }

    /// Warns of shards that an influxd does not have open although the other side has points of
    /// their times.
    pub(super) fn warn_not_open(
        &self,
        other: &OpenSide<'_>,
        options: &DiffOptions,
        context: Context<'_>,
    ) {
        let names = SideNames {
            side: self.side,
            options,
        };
        let is_in_other = |shard: &&Shard| {
            let (policy, span) = (names.policy_of(shard), span_of(shard));
            let mut others = other.shards.iter().filter(|of| of.policy == policy);
            others.any(|of| of.span.start < span.end && span.start < of.span.end)
        };
        let absent = self.source.not_open.iter().filter(is_in_other);
        let progress = SideProgress {
            side: self.side,
            name: None,
            progress: context.progress,
        };
        let context = Context {
            progress: &progress,
            ..context
        };
        selection::warn_not_open(absent, context);
    }

    /// The places of the shards of a policy, and the times of their groups.
    pub(super) fn shards_of(&self, policy: &PolicyName) -> (Vec<usize>, Vec<GroupSpan>) {
        let shards = self.shards.iter().enumerate();
        shards
            .filter(|(_, shard)| shard.policy == *policy)
            .map(|(at, shard)| (at, shard.span))
            .unzip()
    }

    /// Makes those shards ready, and lets go of all others. What cannot be had is missing.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(super) fn make_ready(&mut self, wanted: &[usize], context: Context<'_>) -> Result<()> {
        self.ready.retain(|at, _| wanted.contains(at));
        for &at in wanted {
            if !self.ready.contains_key(&at) {
                let prepared = self.shards[at].found.prepare(context)?;
                if let Prepared::Missing(shortfall) = &prepared {
                    self.missing.push(shortfall.clone());
                }
                self.ready.insert(at, prepared);
            }
        }
        Ok(())
    }

    /// Whether a shard is ready.
    pub(super) fn is_ready(&self, at: usize) -> bool {
        self.ready.contains_key(&at)
    }

    /// What some shards are called together.
    pub(super) fn names_of(&self, shards: &[usize]) -> String {
        let names = shards.iter().map(|at| self.shards[*at].path.to_string());
        let names: Vec<String> = names.collect();
        few_names(names.iter().map(String::as_str))
    }

    /// Those that are ready.
    pub(super) fn ready(&self) -> impl Iterator<Item = (&SideShard<'a>, &PreparedShard)> {
        let ready = self.ready.iter();
        ready.filter_map(|(at, prepared)| match prepared {
            Prepared::Whole(prepared) => Some((&self.shards[*at], prepared)),
            Prepared::Missing(_) | Prepared::Gone => None,
        })
    }

    /// Why one of those that are wanted cannot be had, if one cannot.
    pub(super) fn lacks(&self) -> Option<&str> {
        self.ready.values().find_map(|prepared| match prepared {
            Prepared::Missing(shortfall) => Some(&*shortfall.reason),
            Prepared::Whole(_) | Prepared::Gone => None,
        })
    }
}

/// What is meant of a side, by its names.
pub(super) struct SideNames<'a> {
    pub side: Side,
    pub options: &'a DiffOptions,
}

impl SideNames<'_> {
    /// The shards that are meant, by the names of this side.
    pub(super) fn selection(&self) -> Selection {
        let what = &self.options.what;
        let selection = what.selection(self.options.include_internal);
        match self.side {
            Side::A => selection,
            Side::B => Selection {
                database: what.new_database.clone().or(selection.database),
                retention_policy: (what.new_retention_policy.clone())
                    .or(selection.retention_policy),
                // Ids are those of A.
                shard: None,
                ..selection
            },
        }
    }

    /// What a policy of this side is called in A.
    fn policy_in_a(&self, own: &PolicyName) -> PolicyName {
        let what = &self.options.what;
        let name = |new: &Option<String>, old: &Option<String>, own: &Name| match (new, old) {
            (Some(_), Some(old)) => Name::from(old.as_str()),
            _ => own.clone(),
        };
        match self.side {
            Side::A => own.clone(),
            Side::B => PolicyName {
                database: name(&what.new_database, &what.database, &own.database),
                retention_policy: name(
                    &what.new_retention_policy,
                    &what.retention_policy,
                    &own.retention_policy,
                ),
            },
        }
    }

    /// What a policy of A is called on this side.
    fn own_policy(&self, in_a: &PolicyName) -> PolicyName {
        let what = &self.options.what;
        let name = |new: &Option<String>, in_a: &Name| match new {
            Some(new) => Name::from(new.as_str()),
            None => in_a.clone(),
        };
        match self.side {
            Side::A => in_a.clone(),
            Side::B => PolicyName {
                database: name(&what.new_database, &in_a.database),
                retention_policy: name(&what.new_retention_policy, &in_a.retention_policy),
            },
        }
    }

    /// What the policy of a shard is called in A.
    fn policy_of(&self, shard: &Shard) -> PolicyName {
        self.policy_in_a(&PolicyName {
            database: shard.path.database.clone(),
            retention_policy: shard.path.retention_policy.clone(),
        })
    }

    /// The policies of a source that are meant.
    fn policies(&self, source: &OpenSource<'_>) -> BTreeMap<PolicyName, PolicyName> {
        let wanted = self.selection().retention_policy;
        let databases = source.data.databases.iter();
        let databases = databases.filter(|database| source.databases.contains(&database.name));
        let mut policies = BTreeMap::new();
        for database in databases {
            for policy in &database.retention_policies {
                let own = PolicyName {
                    database: database.name.as_str().into(),
                    retention_policy: policy.name.as_str().into(),
                };
                let is_meant = wanted.as_ref().is_none_or(|wanted| *wanted == policy.name);
                if is_meant && source.is_of(&own.database, &own.retention_policy) {
                    policies.insert(self.policy_in_a(&own), own);
                }
            }
        }
        policies
    }
}

/// The times of the group of a shard: whatever a metastore says, it has some.
fn span_of(shard: &Shard) -> GroupSpan {
    let start = shard.start.min(i64::MAX - 1);
    GroupSpan {
        start,
        end: shard.end.max(start + 1),
    }
}

/// Tells of a side, and what happens to its shards as of the one by whose name they are compared.
pub(super) struct SideProgress<'a> {
    pub side: Side,
    pub name: Option<&'a ShardPath>,
    pub progress: &'a dyn Progress,
}

impl Progress for SideProgress<'_> {
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::Bytes { count, .. } => {
                if let Some(shard) = self.name {
                    self.progress.report(&Event::Bytes { shard, count });
                }
            }
            Event::Warning(text) => {
                let text = format!("{}: {text}", self.side);
                self.progress.report(&Event::Warning(&text));
            }
            Event::Retry {
                shard,
                attempt,
                wait,
                reason,
            } => {
                let text = format!(
                    "{}: shard {shard}, attempt {attempt} failed: {reason}; again in {}",
                    self.side,
                    crate::text::seconds(wait)
                );
                self.progress.report(&Event::Status(&text));
            }
            Event::Status(_) | Event::Detail(_) => self.progress.report(event),
            // They are told of both sides together.
            _ => {}
        }
    }
}
