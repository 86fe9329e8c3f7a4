//! Changing a metastore: renaming a database or policy, and adding databases of one store to
//! another.
//!
//! Works on the bytes, so that fields of newer servers that the model in [`super::data`] does not
//! know survive.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::Data;
use super::influxql::renamed_query;
use super::proto::{fields, message, messages, number, put_bytes, put_varint, rewrite, text};
use crate::wire::ShardIds;

/// New names for a database and, where `policy` is given, for one of its retention policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rename<'a> {
    /// The database's name.
    pub database: &'a str,
    /// The name it gets.
    pub new_database: &'a str,
    /// A policy's name and the name it gets.
    pub policy: Option<(&'a str, &'a str)>,
}

impl Rename<'_> {
    /// A continuous query of the database under the new names.
    pub(super) fn query(&self, query: &str) -> String {
        renamed_query(query, (self.database, self.new_database), self.policy)
    }
}

/// Renames in a metastore. Default policy, grants and the continuous queries of the database follow
/// the new names.
///
/// # Errors
///
/// When the message is malformed, the database or policy is not in it, or a new name is already
/// taken.
pub fn rename(meta: &[u8], names: &Rename<'_>) -> Result<Vec<u8>> {
    let data = Data::read(meta)?;
    let database = data
        .database(names.database)
        .with_context(|| format!("no database '{}'", names.database))?;
    let taken = names.new_database != names.database && data.database(names.new_database).is_some();
    ensure!(
        !taken,
        "the metastore already has a database '{}'",
        names.new_database
    );
    if let Some((old, new)) = names.policy {
        ensure!(
            database.retention_policy(old).is_some(),
            "no retention policy '{old}' in '{}'",
            names.database
        );
        let taken = new != old && database.retention_policy(new).is_some();
        ensure!(
            !taken,
            "the database '{}' already has a retention policy '{new}'",
            names.database
        );
    }
    rewrite(meta, |field, out| {
        match (field.number, message(field)) {
            (5, Some(bytes)) if text(bytes, 1)? == names.database => {
                put_bytes(out, 5, &rename_database(bytes, names)?)
            }
            (6, Some(bytes)) => put_bytes(out, 6, &rename_grants(bytes, names)?),
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })
}

fn rename_database(database: &[u8], names: &Rename<'_>) -> Result<Vec<u8>> {
    rewrite(database, |field, out| {
        match (field.number, message(field), names.policy) {
            (1, ..) => put_bytes(out, 1, names.new_database.as_bytes()),
            (2, Some(default), Some((old, new))) if default == old.as_bytes() => {
                put_bytes(out, 2, new.as_bytes())
            }
            (3, Some(policy), Some((old, new))) if text(policy, 1)? == old => {
                put_bytes(out, 3, &replace_text(policy, 1, new)?);
            }
            (4, Some(query), _) => {
                let new = names.query(text(query, 2)?);
                put_bytes(out, 4, &replace_text(query, 2, &new)?);
            }
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })
}

fn rename_grants(user: &[u8], names: &Rename<'_>) -> Result<Vec<u8>> {
    rewrite(user, |field, out| {
        match (field.number, message(field)) {
            (4, Some(grant)) if text(grant, 1)? == names.database => {
                put_bytes(out, 4, &replace_text(grant, 1, names.new_database)?);
            }
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })
}

/// The metastore with only the databases that `keep` takes, and without users.
///
/// # Errors
///
/// When the message is malformed.
pub fn retain_databases(meta: &[u8], keep: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
    Data::read(meta)?;
    rewrite(meta, |field, out| {
        let wanted = match (field.number, message(field)) {
            (5, Some(database)) => keep(text(database, 1)?),
            (6, _) => false,
            _ => true,
        };
        if wanted {
            out.extend_from_slice(field.raw);
        }
        Ok(())
    })
}

/// What of a metastore is added to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// The database.
    pub database: String,
    /// Only this policy, which becomes the default.
    pub policy: Option<String>,
    /// Only the groups of these shards.
    pub shards: Option<BTreeSet<u64>>,
    /// Groups that are marked as deleted too.
    pub deleted_groups: bool,
    /// Continuous queries too.
    pub continuous_queries: bool,
    /// Subscriptions too.
    pub subscriptions: bool,
}

/// A metastore that databases were added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The protobuf message.
    pub meta: Vec<u8>,
    /// From the id of each added shard to its new id.
    pub shard_ids: ShardIds,
}

/// Adds databases of `source` to `target`. Shard groups and shards get new ids behind the highest
/// that `target` ever used; users and their grants stay those of `target`.
///
/// # Errors
///
/// When a message is malformed, or `target` already has a database of that name.
pub fn merge(target: &[u8], source: &[u8], picks: &[Pick]) -> Result<Merged> {
    let data = Data::read(target)?;
    Data::read(source)?;
    let mut ids = Ids {
        group: data.max_shard_group_id,
        shard: data.max_shard_id,
        shards: ShardIds::new(),
    };
    let mut added = Vec::new();
    for field in fields(source) {
        let field = field?;
        let (5, Some(database)) = (field.number, message(&field)) else {
            continue;
        };
        let name = text(database, 1)?;
        let Some(pick) = picks.iter().find(|pick| pick.database == name) else {
            continue;
        };
        ensure!(
            data.database(name).is_none(),
            "the metastore already has a database '{name}'"
        );
        put_bytes(&mut added, 5, &renumber_database(database, pick, &mut ids)?);
    }
    let mut meta = rewrite(target, |field, out| {
        if field.number > 5 {
            out.append(&mut added);
        }
        match field.number {
            2 => put_varint(out, 2, next(data.index)?),
            8 => put_varint(out, 8, ids.group),
            9 => put_varint(out, 9, ids.shard),
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })?;
    meta.append(&mut added);
    Ok(Merged {
        meta,
        shard_ids: ids.shards,
    })
}

/// The ids given out so far.
struct Ids {
    group: u64,
    shard: u64,
    shards: ShardIds,
}

fn renumber_database(database: &[u8], pick: &Pick, ids: &mut Ids) -> Result<Vec<u8>> {
    rewrite(database, |field, out| {
        match (field.number, message(field), &pick.policy) {
            (2, _, Some(policy)) => put_bytes(out, 2, policy.as_bytes()),
            (3, Some(bytes), policy) => {
                let name = text(bytes, 1)?;
                if policy.as_ref().is_none_or(|policy| policy == name) {
                    put_bytes(out, 3, &renumber_policy(bytes, pick, ids)?);
                }
            }
            (4, ..) if !pick.continuous_queries => {}
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })
}

fn renumber_policy(policy: &[u8], pick: &Pick, ids: &mut Ids) -> Result<Vec<u8>> {
    rewrite(policy, |field, out| {
        match (field.number, message(field)) {
            (5, Some(group)) => {
                let unwanted = number(group, 4)? != 0 && !pick.deleted_groups;
                let holds = |wanted: &BTreeSet<u64>| -> Result<bool> {
                    let shards: Result<Vec<u64>> =
                        messages(group, 5).map(|shard| number(shard?, 1)).collect();
                    Ok(shards?.iter().any(|id| wanted.contains(id)))
                };
                if unwanted || !pick.shards.as_ref().map_or(Ok(true), holds)? {
                    return Ok(());
                }
                put_bytes(out, 5, &renumber_group(group, ids)?);
            }
            (6, _) if !pick.subscriptions => {}
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })
}

fn renumber_group(group: &[u8], ids: &mut Ids) -> Result<Vec<u8>> {
    ids.group = next(ids.group)?;
    let group_id = ids.group;
    rewrite(group, |field, out| {
        match (field.number, message(field)) {
            (1, _) => put_varint(out, 1, group_id),
            (5, Some(shard)) => {
                ids.shard = next(ids.shard)?;
                let (old, new) = (number(shard, 1)?, ids.shard);
                ensure!(
                    ids.shards.insert(old, new).is_none(),
                    "the shard id {old} stands twice in the backup's metastore"
                );
                let shard = rewrite(shard, |field, out| {
                    if field.number == 1 {
                        put_varint(out, 1, new);
                    } else {
                        out.extend_from_slice(field.raw);
                    }
                    Ok(())
                })?;
                put_bytes(out, 5, &shard);
            }
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })
}

pub(super) fn next(number: u64) -> Result<u64> {
    number
        .checked_add(1)
        .context("the metastore has used up its numbers")
}

fn replace_text(bytes: &[u8], number: u32, new: &str) -> Result<Vec<u8>> {
    rewrite(bytes, |field, out| {
        if field.number == number {
            put_bytes(out, number, new.as_bytes());
        } else {
            out.extend_from_slice(field.raw);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::{
        ContinuousQueryInfo, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo,
        UserInfo, UserPrivilege,
    };
    use super::*;

    fn database(name: &str, first_shard: u64) -> DatabaseInfo {
        let group = |id: u64, deleted_at| ShardGroupInfo {
            id,
            deleted_at,
            shards: vec![ShardInfo {
                id,
                ..Default::default()
            }],
            ..Default::default()
        };
        let policy = |policy: &str, shard_groups| RetentionPolicyInfo {
            name: policy.into(),
            shard_groups,
            ..Default::default()
        };
        DatabaseInfo {
            name: name.into(),
            default_retention_policy: "autogen".into(),
            retention_policies: vec![
                policy(
                    "autogen",
                    vec![group(first_shard, 0), group(first_shard + 1, 7)],
                ),
                policy("short", vec![group(first_shard + 2, 0)]),
            ],
            continuous_queries: vec![ContinuousQueryInfo {
                name: "cq".into(),
                query: format!("… ON \"{name}\" …"),
            }],
        }
    }

    fn store(databases: Vec<DatabaseInfo>) -> Data {
        let grant = UserPrivilege {
            database: databases[0].name.clone(),
            privilege: 1,
        };
        let user = UserInfo {
            name: "u".into(),
            privileges: vec![grant],
            ..Default::default()
        };
        Data {
            index: 9,
            databases,
            users: vec![user],
            max_shard_id: 40,
            max_shard_group_id: 50,
            ..Default::default()
        }
    }

    #[test]
    fn a_rename_moves_name_default_policy_grants_and_queries() {
        let before = store(vec![database("a.b", 1), database("c", 11)]);
        let names = Rename {
            database: "a.b",
            new_database: "名前",
            policy: Some(("autogen", "long")),
        };
        let after = Data::read(&rename(&before.encode_to_vec(), &names).unwrap()).unwrap();
        let mut expected = before.clone();
        expected.databases[0].name = "名前".into();
        expected.databases[0].default_retention_policy = "long".into();
        expected.databases[0].retention_policies[0].name = "long".into();
        expected.databases[0].continuous_queries[0].query = "… ON \"名前\" …".into();
        expected.users[0].privileges[0].database = "名前".into();
        assert_eq!(after, expected);
    }

    #[test]
    fn fields_we_do_not_know_survive_a_rename_at_every_level() {
        let unknown = b"\xfa\x3e\x05later"; // field 1007, bytes
        let mut policy = RetentionPolicyInfo {
            name: "rp".into(),
            ..Default::default()
        }
        .encode_to_vec();
        policy.extend(unknown);
        let mut database = DatabaseInfo {
            name: "db".into(),
            ..Default::default()
        }
        .encode_to_vec();
        put_bytes(&mut database, 3, &policy);
        database.extend(unknown);
        let mut meta = Data::default().encode_to_vec();
        put_bytes(&mut meta, 5, &database);
        meta.extend(unknown);
        let names = Rename {
            database: "db",
            new_database: "db2",
            policy: Some(("rp", "rp2")),
        };
        let renamed = rename(&meta, &names).unwrap();
        assert_eq!(
            renamed
                .windows(unknown.len())
                .filter(|window| window == unknown)
                .count(),
            3
        );
        assert_eq!(
            Data::read(&renamed).unwrap().databases[0].retention_policies[0].name,
            "rp2"
        );
    }

    #[test]
    fn a_name_that_is_taken_or_missing_is_refused() {
        let meta = store(vec![database("a", 1), database("b", 11)]).encode_to_vec();
        for (old, new, policy) in [
            ("a", "b", None),
            ("x", "y", None),
            ("a", "a", Some(("autogen", "short"))),
            ("a", "a", Some(("nosuch", "y"))),
        ] {
            assert!(
                rename(
                    &meta,
                    &Rename {
                        database: old,
                        new_database: new,
                        policy
                    }
                )
                .is_err(),
                "{old} {new} {policy:?}"
            );
        }
    }

    #[test]
    fn a_merge_gives_new_ids_behind_the_highest_and_leaves_the_rest_alone() {
        let target = store(vec![database("own", 1)]);
        let source = store(vec![database("x", 1), database("y", 11), database("z", 21)]);
        let pick = |database: &str, policy: Option<&str>, shards| Pick {
            database: database.into(),
            policy: policy.map(Into::into),
            shards,
            deleted_groups: false,
            continuous_queries: true,
            subscriptions: true,
        };
        let picks = [
            pick("x", None, None),
            pick("z", Some("short"), Some(BTreeSet::from([23]))),
        ];
        let merged = merge(&target.encode_to_vec(), &source.encode_to_vec(), &picks).unwrap();
        assert_eq!(
            merged.shard_ids,
            ShardIds::from([(1, 41), (3, 42), (23, 43)])
        );
        let data = Data::read(&merged.meta).unwrap();
        assert_eq!(data.databases[0], target.databases[0]);
        assert_eq!(data.users, target.users);
        assert_eq!(
            (data.index, data.max_shard_id, data.max_shard_group_id),
            (10, 43, 53)
        );
        let shards: Vec<String> = data
            .shards()
            .skip(3)
            .map(|shard| shard.path.to_string())
            .collect();
        assert_eq!(shards, ["x/autogen/41", "x/short/42", "z/short/43"]);
        assert_eq!(data.databases[2].default_retention_policy, "short");
        assert_eq!(
            data.databases[1].continuous_queries,
            source.databases[0].continuous_queries
        );
    }

    #[test]
    fn a_merge_never_touches_a_database_that_is_there() {
        let meta = store(vec![database("a", 1)]).encode_to_vec();
        let picks = [Pick {
            database: "a".into(),
            policy: None,
            shards: None,
            deleted_groups: true,
            continuous_queries: false,
            subscriptions: false,
        }];
        assert!(
            format!("{:#}", merge(&meta, &meta, &picks).unwrap_err())
                .contains("already has a database 'a'")
        );
    }
}
