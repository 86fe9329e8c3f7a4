//! Telling what of a backup a server cannot be given back while it runs.

use super::target::Live;
use crate::metastore::{DatabaseInfo, UserInfo};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::report::{count_with_deletes, deletes_applied, have_deletes};
use crate::ops::restore::source::Source;
use crate::text::plural;

impl Live<'_> {
    /// Says in a line each, with counts, what does not come back; what it was, where somebody wants
    /// details.
    pub(super) fn report_left_out(&self, source: &Source, shards: &[CheckedShard]) {
        self.report_deletes(count_with_deletes(shards));
        let only = self.only_database(source);
        let is_taken = |database: &&DatabaseInfo| match &only {
            Some(name) => database.name == *name,
            None => source.databases.contains(&database.name),
        };
        let databases: Vec<&DatabaseInfo> = source.data.databases.iter().filter(is_taken).collect();
        self.report_queries(&databases);
        self.report_subscriptions(&databases);
        self.report_users(&source.data.users);
        if only.is_none() {
            self.report_internal(source);
        }
    }

    fn detail_of(&self, text: &str) {
        self.context.detail(format!("not restored: {text}"));
    }

    fn report_deletes(&self, shards: usize) {
        if shards == 0 {
            return;
        }
        if self.options.apply_deletes {
            self.context.status(deletes_applied(shards));
            return;
        }
        self.context.warn(format!(
            "{}: a server takes no tombstones, so the points come back",
            have_deletes(shards)
        ));
    }

    fn report_queries(&self, databases: &[&DatabaseInfo]) {
        let queries = databases
            .iter()
            .flat_map(|database| &database.continuous_queries);
        let queries: Vec<&str> = queries.map(|query| query.query.as_str()).collect();
        if queries.is_empty() {
            return;
        }
        let count = counted(queries.len(), "continuous query");
        self.context.warn(format!(
            "{count} left out: servers take none in with an import"
        ));
        queries.into_iter().for_each(|query| self.detail_of(query));
    }

    fn report_subscriptions(&self, databases: &[&DatabaseInfo]) {
        let policy = self.what.retention_policy.as_deref();
        let statements: Vec<String> = databases
            .iter()
            .flat_map(|database| subscriptions(database, policy))
            .collect();
        if statements.is_empty() {
            return;
        }
        let count = counted(statements.len(), "subscription");
        self.context.warn(format!(
            "{count} left out: what is written would go to the old destinations at once"
        ));
        statements
            .iter()
            .for_each(|statement| self.detail_of(statement));
    }

    fn report_users(&self, users: &[UserInfo]) {
        if users.is_empty() {
            return;
        }
        let grants: usize = users.iter().map(|user| user.privileges.len()).sum();
        let count = counted(users.len(), "user");
        self.context.warn(format!(
            "{count} left out, with {}: they are no part of an import",
            plural(grants, "grant")
        ));
        for statement in users.iter().flat_map(grants_of) {
            self.detail_of(&statement);
        }
    }

    fn report_internal(&self, source: &Source) {
        let Some(internal) = source.data.database("_internal") else {
            return;
        };
        let policies = internal.retention_policies.iter();
        let groups: usize = policies.map(|policy| policy.shard_groups.len()).sum();
        if groups > 0 {
            let groups = counted(groups, "shard group");
            self.context.warn(format!(
                "_internal left out, {groups}: a server has its own"
            ));
        }
    }
}

/// `1 user is`, `2 users are`.
fn counted(count: usize, noun: &str) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", plural(count, noun))
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
