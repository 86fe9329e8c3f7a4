//! One side of a comparison: which shards it has, and these made ready to be read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::report::Side;
use super::slices::GroupSpan;
use super::tally::PolicyName;
use super::{DiffOptions, DiffSource};
use crate::client::Client;
use crate::context::Context;
use crate::influxd_dir::LocalShards;
use crate::metastore::{Data, Shard};
use crate::ops::Directories;
use crate::ops::backup::Rule;
use crate::ops::prepared::{self, FLUSH_TIMEOUT, Prepared, PreparedShard};
use crate::ops::restore::{
    PlannedShard, RestoreSelection, SetExtent, SetSelector, Source, planned, sets_of,
};
use crate::ops::serve::held_and_absent;
use crate::ops::server_shards::{OpenShards, ShardAsker};
use crate::ops::{Shortfall, selection};
use crate::progress::{Event, Progress};
use crate::repository::{Catalog, Held, Location, Selection, SetId};
use crate::server::MetaStore;
use crate::shard::{Name, ShardPath};
use crate::text::few_names;

/// One side, whose shards are known.
pub(super) struct OpenSide<'a> {
    pub side: Side,
    /// The set, where it is one.
    pub set: Option<SetId>,
    /// The retention policies that are meant, by the names that they have in A, with their own.
    pub policies: BTreeMap<PolicyName, PolicyName>,
    pub shards: Vec<SideShard>,
    pub missing: Vec<Shortfall>,
    /// Shards that are meant, and that an influxd does not have open.
    not_open: Vec<Shard>,
    /// What the set is of, where it is one.
    extent: Option<SetExtent>,
    place: Place<'a>,
    /// What came of the shards that are wanted, by their places.
    ready: BTreeMap<usize, Prepared>,
}

/// A shard of a side.
pub(super) struct SideShard {
    pub path: ShardPath,
    /// Its policy, by the name that it has in A.
    pub policy: PolicyName,
    pub span: GroupSpan,
    /// Bytes to read, where that is known.
    pub bytes: Option<u64>,
    /// How it is put together, in a set; until it is.
    planned: Option<PlannedShard>,
}

/// Where shards come from.
enum Place<'a> {
    Set { catalog: Box<Catalog>, _held: Held },
    Server(ShardAsker<'a>),
    Directories(LocalShards),
}

impl<'a> OpenSide<'a> {
    /// Finds the shards of a side that are meant.
    ///
    /// # Errors
    ///
    /// When there is no such set or server, or nothing of what is meant; when its metastore is
    /// damaged.
    pub(super) fn open(
        side: Side,
        source: &'a DiffSource<'_>,
        options: &DiffOptions,
        context: Context<'_>,
    ) -> Result<Self> {
        let names = SideNames { side, options };
        match source {
            DiffSource::Set { repository, set } => names.of_set(repository, *set, context),
            DiffSource::Server { client, retries } => names.of_server(client, *retries, context),
            DiffSource::Directories(directories) => names.of_directories(directories),
        }
    }

    /// Whether it is of a policy, by its own name: a set is of what it holds or was asked for.
    fn is_of(&self, own: &PolicyName) -> bool {
        let holds = |extent: &SetExtent| extent.has_policy(&own.database, &own.retention_policy);
        self.extent.as_ref().is_none_or(holds)
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
            let SideShard { policy, span, .. } = names.shard(shard);
            let mut others = other.shards.iter().filter(|of| of.policy == policy);
            others.any(|of| of.span.start < span.end && span.start < of.span.end)
        };
        let absent = self.not_open.iter().filter(is_in_other);
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
                let prepared = self.prepare(at, context)?;
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
    pub(super) fn ready(&self) -> impl Iterator<Item = (&SideShard, &PreparedShard)> {
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

    fn prepare(&mut self, at: usize, context: Context<'_>) -> Result<Prepared> {
        let shard = &mut self.shards[at];
        let prepared = match &self.place {
            Place::Server(asker) => {
                return prepared::from_server(asker, shard.path.clone(), context);
            }
            Place::Set { catalog, .. } => match shard.planned.take() {
                Some(planned) => prepared::from_set(catalog, planned, context),
                None => anyhow::bail!("shard {} was read already", shard.path),
            },
            Place::Directories(local) => {
                prepared::from_directory(local, shard.path.clone(), context)
            }
        };
        prepared.map(Prepared::Whole)
    }
}

/// What is meant of a side, by its names.
struct SideNames<'a> {
    side: Side,
    options: &'a DiffOptions,
}

impl SideNames<'_> {
    fn of_set(
        &self,
        repository: &Location,
        set: Option<&str>,
        context: Context<'_>,
    ) -> Result<OpenSide<'static>> {
        let selection = self.selection();
        let bounds = self.options.what.bounds();
        let (catalog, (source, planned), held) =
            planned(repository, set, context, |catalog: &Catalog| {
                let named = SetSelector::named(set);
                let source = Source::read(catalog, named, &selection, bounds, true, context)?;
                source.report_missing(catalog, &selection, context)?;
                let planned = source.planned(&RestoreSelection::default(), Some)?;
                let sets = sets_of(&planned);
                Ok(((source, planned), sets))
            })?;
        let groups: BTreeMap<&ShardPath, &Shard> = source
            .live
            .iter()
            .map(|shard| (&shard.path, shard))
            .collect();
        let shards = planned.into_iter().filter_map(|planned| {
            let shard = self.shard(groups.get(&planned.source)?);
            Some(SideShard {
                bytes: Some(planned.bytes()),
                planned: Some(planned),
                ..shard
            })
        });
        let databases: BTreeSet<&str> = source.databases.iter().map(String::as_str).collect();
        let mut policies = self.policies(&source.data, &|name| databases.contains(name));
        policies.retain(|_, own| {
            source
                .extent
                .has_policy(&own.database, &own.retention_policy)
        });
        Ok(OpenSide {
            side: self.side,
            policies,
            shards: shards.collect(),
            missing: source.chains.missing,
            not_open: Vec::new(),
            extent: Some(source.extent),
            set: Some(source.set),
            place: Place::Set {
                catalog: Box::new(catalog),
                _held: held,
            },
            ready: BTreeMap::new(),
        })
    }

    fn of_server<'c>(
        &self,
        client: &'c Client,
        retries: u32,
        context: Context<'_>,
    ) -> Result<OpenSide<'c>> {
        let selection = self.selection();
        let open = OpenShards::of(client, retries, &selection, context)?;
        let meant = open.shards.iter().filter(|shard| self.is_meant(shard));
        Ok(OpenSide {
            side: self.side,
            set: None,
            policies: self.policies(&open.data, &|name| selection.takes_database(name)),
            shards: meant.map(|shard| self.shard(shard)).collect(),
            missing: Vec::new(),
            not_open: open.not_open,
            extent: None,
            place: Place::Server(ShardAsker::new(
                client,
                retries,
                Rule::Prompt(FLUSH_TIMEOUT),
            )),
            ready: BTreeMap::new(),
        })
    }

    fn of_directories(&self, directories: &Directories) -> Result<OpenSide<'static>> {
        let selection = self.selection();
        let (_, meta, local) = directories.open_to_read(&selection)?;
        let data = Data::read(&meta.data()?)?;
        let holder = directories.datadir.display().to_string();
        let meant = selection::select(&data, &selection, &holder)?.into_iter();
        let meant = meant.filter(|shard| self.is_meant(shard));
        let (shards, not_open) = held_and_absent(meant, &local)?;
        let shards = shards.iter().map(|shard| self.shard(shard)).collect();
        Ok(OpenSide {
            side: self.side,
            set: None,
            policies: self.policies(&data, &|name| selection.takes_database(name)),
            shards,
            missing: Vec::new(),
            not_open,
            extent: None,
            place: Place::Directories(local),
            ready: BTreeMap::new(),
        })
    }

    /// The shards that are meant, by the names of this side.
    fn selection(&self) -> Selection {
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

    fn is_meant(&self, shard: &Shard) -> bool {
        let bounds = self.options.what.bounds();
        shard.deleted_at.is_none()
            && bounds.is_none_or(|bounds| !bounds.misses(shard.start, shard.end))
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

    fn shard(&self, shard: &Shard) -> SideShard {
        let own = PolicyName {
            database: shard.path.database.clone(),
            retention_policy: shard.path.retention_policy.clone(),
        };
        // Whatever a metastore says, a group has some time.
        let start = shard.start.min(i64::MAX - 1);
        SideShard {
            policy: self.policy_in_a(&own),
            path: shard.path.clone(),
            span: GroupSpan {
                start,
                end: shard.end.max(start + 1),
            },
            bytes: None,
            planned: None,
        }
    }

    /// The policies of the databases that are meant.
    fn policies(
        &self,
        data: &Data,
        takes_database: &dyn Fn(&str) -> bool,
    ) -> BTreeMap<PolicyName, PolicyName> {
        let wanted = self.selection().retention_policy;
        let mut policies = BTreeMap::new();
        for database in data.databases.iter().filter(|of| takes_database(&of.name)) {
            for policy in &database.retention_policies {
                if wanted.as_ref().is_none_or(|wanted| *wanted == policy.name) {
                    let own = PolicyName {
                        database: database.name.as_str().into(),
                        retention_policy: policy.name.as_str().into(),
                    };
                    policies.insert(self.policy_in_a(&own), own);
                }
            }
        }
        policies
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
