//! Telling what of a backup a server cannot be given back while it runs.

use std::fmt::Display;
use std::path::Path;

use anyhow::Result;

use super::target::Live;
use crate::io::durable;
use crate::metastore::statements::{Restored, Statements};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::report::{count_with_deletes, deletes_applied, have_deletes};
use crate::ops::restore::source::Source;
use crate::text::plural;

/// Why users and grants are left out.
const NO_PART: &str = "users and grants are no part of an import";

impl Live<'_> {
    /// Says in a line each, with counts, what does not come back; the statements that make it, where
    /// somebody wants details, and in the file that was named.
    ///
    /// # Errors
    ///
    /// When that file cannot be written.
    pub(super) fn report_left_out(&self, source: &Source, shards: &[CheckedShard]) -> Result<()> {
        self.report_deletes(count_with_deletes(shards));
        let only = self.only_database(source);
        let statements = self.statements(source, only.as_deref());
        let statements = match &self.options.statements {
            Some(applied) => {
                applied.ensure_users_known(&statements)?;
                applied.others(statements)
            }
            None => statements,
        };
        self.report_statements(
            "continuous query",
            "servers take none in with an import",
            &statements.continuous_queries,
        );
        self.report_statements(
            "continuous query",
            "of the old name, there may be one that writes into the same place",
            &statements.ambiguous_queries,
        );
        self.report_statements(
            "subscription",
            "what is written would go to the old destinations at once",
            &statements.subscriptions,
        );
        self.report_users(&statements);
        if only.is_none() {
            self.report_internal(source);
        }
        match &self.options.influxql {
            Some(file) => write_script(file, &statements, source),
            None => Ok(()),
        }
    }

    /// The statements that make what is left out, under the names that it gets.
    pub(super) fn statements(&self, source: &Source, only: Option<&str>) -> Statements {
        let what = self.what;
        let databases = match only {
            Some(name) => vec![name.to_owned()],
            None => source.databases.clone(),
        };
        let restored = Restored {
            databases: &databases,
            all_users: only.is_none(),
            policy: what.retention_policy.as_deref(),
            rename: what.rename(),
        };
        Statements::of(&source.data, &restored)
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

    fn report_statements(&self, what: &str, reason: &str, statements: &[impl Display]) {
        if statements.is_empty() {
            return;
        }
        let count = counted(statements.len(), what);
        self.context.warn(format!("{count} left out: {reason}"));
        statements
            .iter()
            .for_each(|statement| self.detail_of(&statement.to_string()));
    }

    fn report_users(&self, statements: &Statements) {
        let Statements { users, grants, .. } = statements;
        if users.is_empty() {
            self.report_statements("grant", NO_PART, grants);
            return;
        }
        let count = counted(users.len(), "user");
        let grants_too = match grants.len() {
            0 => String::new(),
            number => format!(", with {}", plural(number, "grant")),
        };
        let reason = match &self.options.statements {
            Some(asked) if !asked.passwords.is_empty() => "no password in -users-password-file",
            _ => NO_PART,
        };
        self.context
            .warn(format!("{count} left out{grants_too}: {reason}"));
        for user in users {
            self.detail_of(&user.to_string());
        }
        for grant in grants {
            self.detail_of(&grant.to_string());
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

/// Writes the statements to a file, as a script for the server that was restored into.
fn write_script(file: &Path, statements: &Statements, source: &Source) -> Result<()> {
    let head = format!(
        "-- What a live restore of set {} does not bring back.\n",
        source.set
    );
    let script = head + &statements.script();
    durable::write_whole(file, script.as_bytes())
}
