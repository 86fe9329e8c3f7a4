//! Telling what of a backup a server cannot be given back while it runs.

use super::super::check::CheckedShard;
use super::super::report::deletes_applied;
use super::super::source::Source;
use super::Live;
use crate::metastore::{DatabaseInfo, UserInfo};
use crate::progress::Event;

impl Live<'_> {
    /// Says in a line each, with counts, what does not come back; what it was, where somebody wants details.
    pub(super) fn say_what_is_left_out(&self, source: &Source, shards: &[CheckedShard]) {
        let say = |text: String| self.progress.report(&Event::Warning(&text));
        let detail = |text: &str| {
            self.progress
                .report(&Event::Detail(&format!("not restored: {text}")))
        };
        let deleted = shards
            .iter()
            .filter(|shard| shard.files.have_deletes())
            .count();
        if deleted > 0 && self.options.apply_deletes {
            self.progress
                .report(&Event::Status(&deletes_applied(deleted)));
        } else if deleted > 0 {
            let shards = if deleted == 1 {
                "shard has"
            } else {
                "shards have"
            };
            say(format!(
                "{deleted} {shards} deletes that are not yet compacted: a server takes no tombstones, so the points come back"
            ));
        }
        let only = self.only_database(source);
        let taken = |database: &&DatabaseInfo| match &only {
            Some(name) => database.name == *name,
            None => source.databases.contains(&database.name),
        };
        let databases: Vec<&DatabaseInfo> = source.data.databases.iter().filter(taken).collect();
        let queries: Vec<&str> = databases
            .iter()
            .flat_map(|database| &database.continuous_queries)
            .map(|query| query.query.as_str())
            .collect();
        if !queries.is_empty() {
            let count = counted(queries.len(), "continuous query", "continuous queries");
            say(format!(
                "{count} left out: servers take none in with an import"
            ));
            queries.into_iter().for_each(detail);
        }
        let policy = self.what.retention_policy.as_deref();
        let subscriptions: Vec<String> = databases
            .iter()
            .flat_map(|database| subscriptions(database, policy))
            .collect();
        if !subscriptions.is_empty() {
            let count = counted(subscriptions.len(), "subscription", "subscriptions");
            say(format!(
                "{count} left out: what is written would go to the old destinations at once"
            ));
            subscriptions.iter().for_each(|statement| detail(statement));
        }
        let users = &source.data.users;
        if !users.is_empty() {
            let grants: usize = users.iter().map(|user| user.privileges.len()).sum();
            let count = counted(users.len(), "user", "users");
            let grants = if grants == 1 {
                "1 grant".to_owned()
            } else {
                format!("{grants} grants")
            };
            say(format!(
                "{count} left out, with {grants}: they are no part of an import"
            ));
            users
                .iter()
                .flat_map(grants_of)
                .for_each(|statement| detail(&statement));
        }
        let internal = source.data.database("_internal").map_or(0, |database| {
            database
                .retention_policies
                .iter()
                .map(|policy| policy.shard_groups.len())
                .sum::<usize>()
        });
        if internal > 0 && only.is_none() {
            let groups = counted(internal, "shard group", "shard groups");
            say(format!(
                "_internal left out, {groups}: a server has its own"
            ));
        }
    }
}

fn counted(count: usize, one: &str, several: &str) -> String {
    if count == 1 {
        format!("1 {one} is")
    } else {
        format!("{count} {several} are")
    }
}

/// A name as an InfluxQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The statements that make the subscriptions of the database, or of one of its policies.
fn subscriptions(database: &DatabaseInfo, only: Option<&str>) -> impl Iterator<Item = String> {
    let policies = database
        .retention_policies
        .iter()
        .filter(move |policy| only.is_none_or(|only| policy.name == only));
    policies.flat_map(|policy| {
        policy.subscriptions.iter().map(|subscription| {
            let destinations: Vec<String> = subscription
                .destinations
                .iter()
                .map(|url| format!("'{}'", url.replace('\'', "\\'")))
                .collect();
            format!(
                "CREATE SUBSCRIPTION {} ON {}.{} DESTINATIONS {} {}",
                quoted(&subscription.name),
                quoted(&database.name),
                quoted(&policy.name),
                subscription.mode,
                destinations.join(", ")
            )
        })
    })
}

/// The statements that make a user, but for the password, and its grants.
fn grants_of(user: &UserInfo) -> Vec<String> {
    let name = quoted(&user.name);
    let admin = if user.admin {
        " WITH ALL PRIVILEGES"
    } else {
        ""
    };
    let mut statements = vec![format!("CREATE USER {name} WITH PASSWORD '…'{admin}")];
    statements.extend(user.privileges.iter().filter_map(|grant| {
        let privilege = match grant.privilege {
            1 => "READ",
            2 => "WRITE",
            3 => "ALL",
            _ => return None,
        };
        Some(format!(
            "GRANT {privilege} ON {} TO {name}",
            quoted(&grant.database)
        ))
    }));
    statements
}
