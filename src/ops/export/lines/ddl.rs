//! What makes the databases and retention policies again, and says which of them points are of, as
//! `influx -import` reads it.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::metastore::influxql::{create_policy, identifier, policy_rule};
use crate::metastore::{Data, DatabaseInfo};
use crate::shard::ShardPath;

/// The definitions of a metastore, and what of them is in force.
pub(super) struct Definitions<'a> {
    data: &'a Data,
    /// The databases that are made.
    databases: BTreeSet<String>,
    database: Option<String>,
    policy: Option<String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(data: &'a Data, databases: BTreeSet<String>) -> Self {
        Self {
            data,
            databases,
            database: None,
            policy: None,
        }
    }

    /// Writes the statements that make databases, and all that begins the points of a file.
    pub(super) fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "# DDL")?;
        let infos = self.data.databases.iter();
        for info in infos.filter(|info| self.databases.contains(&info.name)) {
            write_database(info, out)?;
        }
        writeln!(out, "# DML")?;
        // Nothing is in force in a new file.
        (self.database, self.policy) = (None, None);
        Ok(())
    }

    /// Says that what follows is of a shard, unless that was said.
    pub(super) fn enter(&mut self, shard: &ShardPath, out: &mut dyn Write) -> io::Result<()> {
        let (database, policy) = (&*shard.database, &*shard.retention_policy);
        if self.database.as_deref() != Some(database) {
            writeln!(out, "# CONTEXT-DATABASE:{}", in_line(database))?;
            self.policy = None;
        }
        if self.policy.as_deref() != Some(policy) {
            writeln!(out, "# CONTEXT-RETENTION-POLICY:{}", in_line(policy))?;
        }
        self.database = Some(database.to_owned());
        self.policy = Some(policy.to_owned());
        Ok(())
    }
}

/// The database with its default policy, as the one that is made with it becomes the default; then
/// the others.
fn write_database(info: &DatabaseInfo, out: &mut dyn Write) -> io::Result<()> {
    let name = identifier(&info.name);
    let policies = &info.retention_policies;
    let default = info
        .retention_policy(&info.default_retention_policy)
        .or(policies.first());
    let Some(default) = default else {
        return writeln!(out, "CREATE DATABASE {name}");
    };
    let rule = policy_rule(default);
    writeln!(
        out,
        "CREATE DATABASE {name} WITH {rule} NAME {}",
        identifier(&default.name)
    )?;
    for policy in policies.iter().filter(|policy| policy.name != default.name) {
        let statement = create_policy(&info.name, &policy.name, policy);
        writeln!(out, "{statement}")?;
    }
    Ok(())
}

/// A name in a comment, which ends with the line.
fn in_line(name: &str) -> String {
    name.replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore::RetentionPolicyInfo;

    #[test]
    fn databases_come_back_with_their_policies_and_the_default_among_them() {
        let policy = |name: &str, hours: i64, group: i64| RetentionPolicyInfo {
            name: name.into(),
            duration: hours * 3_600_000_000_000,
            shard_group_duration: group * 60_000_000_000,
            replica_n: 1,
            ..Default::default()
        };
        let database = |name: &str, default: &str| DatabaseInfo {
            name: name.into(),
            default_retention_policy: default.into(),
            retention_policies: vec![
                policy("autogen", 0, 168 * 60),
                policy("a \"week\"", 168, 90),
            ],
            ..Default::default()
        };
        let data = Data {
            databases: vec![database("d\\b", "a \"week\""), database("other", "autogen")],
            ..Default::default()
        };
        let mut out = Vec::new();
        let mut definitions = Definitions::new(&data, BTreeSet::from(["d\\b".to_owned()]));
        definitions.begin(&mut out).unwrap();
        for policy in ["autogen", "autogen", "a \"week\""] {
            let shard = ShardPath {
                database: "d\\b".into(),
                retention_policy: policy.into(),
                id: 1,
            };
            definitions.enter(&shard, &mut out).unwrap();
        }
        let expected = r##"# DDL
CREATE DATABASE "d\\b" WITH DURATION 168h REPLICATION 1 SHARD DURATION 90m NAME "a \"week\""
CREATE RETENTION POLICY "autogen" ON "d\\b" DURATION INF REPLICATION 1 SHARD DURATION 168h
# DML
# CONTEXT-DATABASE:d\b
# CONTEXT-RETENTION-POLICY:autogen
# CONTEXT-RETENTION-POLICY:a "week"
"##;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
