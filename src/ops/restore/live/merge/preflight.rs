//! Before anything is sent: the backup is read, the server asked, the merge planned, and refused with
//! all that is in the way.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};

use super::super::filtered::ensure_scratch;
use super::super::same_server::ensure_same_server;
use super::super::target::Live;
use super::conflicts::{OnServer, type_conflicts};
use super::expired::expired;
use super::plan::{GroupBorders, is_new, plan};
use super::target::Merge;
use super::there;
use crate::error::ErrorKind;
use crate::io::scratch::scratch_dir;
use crate::metastore::influxql::create_policy;
use crate::metastore::{Data, DatabaseInfo, RetentionPolicyInfo};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::one_type::OfBackup;
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::source::{PlannedShard, Source};
use crate::repository::Catalog;
use crate::shard::ShardPath;
use crate::text::name_list;
use crate::time::Bounds;
use crate::tsm::fields::FieldTypes;

/// What is merged, and what the server has beside it.
pub(super) struct Ready {
    pub catalog: Catalog,
    pub source: Source,
    pub shards: Vec<CheckedShard>,
    pub targets: Vec<TargetShard>,
    /// The statements that make the policies that the server does not have.
    pub new_policies: Vec<String>,
    pub server_metastore: Data,
}

impl Merge<'_, '_> {
    /// Reads the backup, asks the server, and plans; refuses with all that is in the way.
    pub(super) fn ready(
        &self,
        catalog: Catalog,
        source: Source,
        planned: Vec<PlannedShard>,
    ) -> Result<Ready> {
        let live = self.live;
        let server_metastore = live.metastore()?;
        let database = self.database(&source, &server_metastore)?;
        ensure_same_server(self.api, live, &server_metastore)?;
        let borders = GroupBorders::of_version(&self.api.version()?);
        let types = Arc::new(Mutex::new(FieldTypes::new(scratch_dir())));
        let (checks, shards) = live.check(&catalog, &source.set, planned, Some(types))?;
        ensure_scratch()?;
        let of_backup = OfBackup {
            catalog: &catalog,
            scratch: &checks.scratch,
            apply_deletes: live.options.apply_deletes,
            stop: live.context.cancel,
        };

        let mut problems = Problems::default();
        let mut policies = BTreeMap::new();
        let mut new_policies = Vec::new();
        for shard in &shards {
            let name = shard.target.retention_policy.to_string();
            if policies.contains_key(&name) {
                continue;
            }
            let policy = match database.retention_policy(&name) {
                Some(policy) => policy.clone(),
                None => {
                    let policy = policy_of_backup(&source, shard)?;
                    new_policies.push(create_policy(&database.name, &name, &policy));
                    policy
                }
            };
            policies.insert(name, policy);
        }
        let mut targets = Vec::new();
        let mut on_server = OnServer::new();
        for (name, policy) in &policies {
            let sources = self.sources(&source, &shards, name);
            let Some((path, sources)) = sources else {
                continue;
            };
            let mut planned = plan(&path, policy, borders, &sources);
            planned.targets = of_backup.without_empty(planned.targets, &shards)?;
            let crossed = planned.targets.iter().filter(|target| is_new(target));
            let crossed = crossed.filter_map(|target| planned.crossings.get(&target.start));
            problems.groups.extend(crossed.cloned());
            problems.groups.append(&mut planned.problems);
            problems
                .expired
                .extend(expired(policy, &planned.targets, &shards, &of_backup)?);
            targets.append(&mut planned.targets);
            if database.retention_policy(name).is_some() {
                let types = there::types_of(self.api, &database.name, name)?;
                on_server.insert((database.name.clone(), name.clone()), types);
            }
        }
        problems.types = type_conflicts(&on_server, &targets, &shards, &checks, &of_backup)?;
        problems.refuse(live, &database.name)?;
        Ok(Ready {
            catalog,
            source,
            shards,
            targets,
            new_policies,
            server_metastore,
        })
    }

    /// The database that is merged into.
    fn database(&self, source: &Source, server_metastore: &Data) -> Result<DatabaseInfo> {
        let names = self.live.new_names(source);
        let name = names.first().context("no database is named")?;
        let found = server_metastore.database(name);
        let absent = || {
            let address = self.live.client.address();
            ErrorKind::Refused
                .error(format!("{address} has no database '{name}' to merge into"))
                .hint("leave -merge out to restore the database as a new one, or CREATE DATABASE before")
        };
        Ok(found.cloned().ok_or_else(absent)?)
    }

    /// The shards of a policy, with the times that their points can have.
    fn sources(
        &self,
        source: &Source,
        shards: &[CheckedShard],
        policy: &str,
    ) -> Option<(ShardPath, Vec<(u64, Bounds)>)> {
        let spans = source.live.iter();
        let spans: HashMap<u64, (i64, i64)> = spans
            .map(|shard| (shard.path.id, (shard.start, shard.end)))
            .collect();
        let asked_for = self.live.what.bounds().unwrap_or(Bounds::ANY);
        let of_policy = shards
            .iter()
            .filter(|shard| shard.target.retention_policy == *policy);
        let mut sources = Vec::new();
        for shard in of_policy.clone() {
            let Some((start, end)) = spans.get(&shard.source.id) else {
                continue;
            };
            let bounds = Bounds {
                start: (*start).max(asked_for.start),
                end: (end - 1).min(asked_for.end),
            };
            if bounds.start <= bounds.end {
                sources.push((shard.source.id, bounds));
            }
        }
        let path = of_policy.clone().next()?.target.clone();
        Some((path, sources))
    }
}

/// What the backup says of the policy of a shard.
fn policy_of_backup(source: &Source, shard: &CheckedShard) -> Result<RetentionPolicyInfo> {
    let path = &shard.source;
    let database = source.data.database(&path.database);
    let policy = database.and_then(|database| database.retention_policy(&path.retention_policy));
    let policy = policy.with_context(|| format!("the backup has no retention policy of {path}"))?;
    Ok(RetentionPolicyInfo {
        shard_groups: Vec::new(),
        subscriptions: Vec::new(),
        ..policy.clone()
    })
}

/// What is in the way of a merge, a sentence each.
#[derive(Debug, Default)]
struct Problems {
    /// Fields of another type.
    types: Vec<String>,
    /// Points that the policy does not keep.
    expired: Vec<String>,
    /// Shard groups that overlap, or would.
    groups: Vec<String>,
}

impl Problems {
    /// Tells each, and refuses with all of them.
    fn refuse(&self, live: &Live<'_>, database: &str) -> Result<()> {
        let kinds = [
            (
                &self.types,
                "a field has one type in a policy",
                "-measurement leaves others out; or -newdb NAME without -merge restores the backup beside it",
            ),
            (
                &self.expired,
                "the retention policy does not keep such points",
                "-start leaves older points out; or ALTER RETENTION POLICY … DURATION keeps them",
            ),
            (
                &self.groups,
                "shard groups that overlap hide which of them has a point",
                "ALTER RETENTION POLICY … SHARD DURATION back to what it was, for as long as the merge takes, makes the groups fit",
            ),
        ];
        let found: Vec<_> = kinds.iter().filter(|(all, ..)| !all.is_empty()).collect();
        let Some((.., hint)) = found.first() else {
            return Ok(());
        };
        let each = kinds.iter().flat_map(|(all, ..)| all.iter());
        each.for_each(|problem| live.context.warn(problem));
        let told = found
            .iter()
            .map(|(all, rule, _)| format!("{rule}: {}", name_list(all)));
        Err(ErrorKind::Refused
            .error(format!(
                "the backup cannot be merged into '{database}' on {}, and nothing was sent: {}",
                live.client.address(),
                told.collect::<Vec<_>>().join("; ")
            ))
            .hint(hint)
            .into())
    }
}
