//! The InfluxQL statements that make what a server does not take in with an import: continuous
//! queries, subscriptions, users and grants.

use std::fmt;

use super::edit::Rename;
use super::influxql::{identifier, string, target_database};
use super::{Data, DatabaseInfo, UserInfo};

/// What is restored of a metastore.
#[derive(Debug, Clone, Copy)]
pub struct Restored<'a> {
    /// The databases.
    pub databases: &'a [String],
    /// Whether all users are meant, or those with a grant on one of the databases, and
    /// administrators.
    pub all_users: bool,
    /// The one retention policy of them; `None` for all.
    pub policy: Option<&'a str>,
    /// The names that they get.
    pub rename: Option<Rename<'a>>,
}

impl<'a> Restored<'a> {
    fn holds(&self, database: &str) -> bool {
        self.databases.iter().any(|name| name == database)
    }

    /// The name that a database gets.
    fn database<'n>(&self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        match &self.rename {
            Some(rename) if rename.database == name => rename.new_database,
            _ => name,
        }
    }

    /// The name that a policy of a database gets.
    fn policy_of<'n>(&self, database: &str, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        match &self.rename {
            Some(Rename {
                database: renamed,
                policy: Some((old, new)),
                ..
            }) if *renamed == database && *old == name => new,
            _ => name,
        }
    }
}

/// Statements, under the new names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statements {
    /// One a continuous query.
    pub continuous_queries: Vec<String>,
    /// One a continuous query of a database with a new name that would write into another database:
    /// where the query of the old name writes.
    pub ambiguous_queries: Vec<String>,
    /// One a subscription.
    pub subscriptions: Vec<String>,
    /// The users.
    pub users: Vec<NewUser>,
    /// One a grant on a database that is restored.
    pub grants: Vec<String>,
}

/// A user to make. A metastore has the hash of the password alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// Whether it is an administrator.
    pub admin: bool,
}

impl NewUser {
    /// The statement that makes it with a password.
    pub(crate) fn statement(&self, password: &str) -> String {
        self.with_password(&string(password))
    }

    fn with_password(&self, password: &str) -> String {
        let admin = match self.admin {
            true => " WITH ALL PRIVILEGES",
            false => "",
        };
        let name = identifier(&self.name);
        format!("CREATE USER {name} WITH PASSWORD {password}{admin}")
    }
}

impl fmt::Display for NewUser {
    /// The statement with `'…'` in place of the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_password("'…'"))
    }
}

/// The statement that makes a subscription to a policy, which is named behind its database.
pub(crate) fn create_subscription(
    name: &str,
    (database, policy): (&str, &str),
    mode: &str,
    destinations: &[String],
) -> String {
    let destinations: Vec<String> = destinations.iter().map(|url| string(url)).collect();
    format!(
        "CREATE SUBSCRIPTION {} ON {}.{} DESTINATIONS {mode} {}",
        identifier(name),
        identifier(database),
        identifier(policy),
        destinations.join(", ")
    )
}

impl Statements {
    /// The statements that make what belongs to the databases that are restored.
    pub fn of(data: &Data, restored: &Restored<'_>) -> Self {
        let mut statements = Self::default();
        for database in &data.databases {
            if restored.holds(&database.name) {
                statements.add_database(database, restored);
            }
        }
        for user in &data.users {
            statements.add_user(user, restored);
        }
        statements
    }

    fn add_database(&mut self, database: &DatabaseInfo, restored: &Restored<'_>) {
        for query in &database.continuous_queries {
            let renamed = match &restored.rename {
                Some(rename) => rename.query(&query.query),
                None => query.query.clone(),
            };
            let name = restored.database(&database.name);
            let writes_elsewhere = || target_database(&renamed).is_none_or(|target| target != name);
            match name != database.name && writes_elsewhere() {
                true => self.ambiguous_queries.push(renamed),
                false => self.continuous_queries.push(renamed),
            }
        }
        let is_restored = |name: &str| restored.policy.is_none_or(|only| only == name);
        for policy in &database.retention_policies {
            if !is_restored(&policy.name) {
                continue;
            }
            let policy_name = restored.policy_of(&database.name, &policy.name);
            for subscription in &policy.subscriptions {
                self.subscriptions.push(create_subscription(
                    &subscription.name,
                    (restored.database(&database.name), policy_name),
                    &subscription.mode,
                    &subscription.destinations,
                ));
            }
        }
    }

    fn add_user(&mut self, user: &UserInfo, restored: &Restored<'_>) {
        let name = identifier(&user.name);
        let grants: Vec<String> = user
            .privileges
            .iter()
            .filter(|grant| restored.holds(&grant.database))
            .filter_map(|grant| {
                let privilege = privilege_name(grant.privilege)?;
                let database = identifier(restored.database(&grant.database));
                Some(format!("GRANT {privilege} ON {database} TO {name}"))
            })
            .collect();
        if user.admin || !grants.is_empty() || restored.all_users {
            self.users.push(NewUser {
                name: user.name.clone(),
                admin: user.admin,
            });
        }
        self.grants.extend(grants);
    }

    /// All of them as a script for a server's `/query`, those that have to be edited as comments.
    pub fn script(&self) -> String {
        let mut script = String::from(
            "-- A server stops at the first statement that fails, and says so in its answer.\n",
        );
        for statement in self.continuous_queries.iter().chain(&self.subscriptions) {
            script += &format!("{statement};\n");
        }
        if !self.ambiguous_queries.is_empty() {
            script += "-- These would write where the queries of the old name do.\n";
        }
        for query in &self.ambiguous_queries {
            script += &format!("-- {query};\n");
        }
        if !self.users.is_empty() {
            script += "-- A backup has passwords as hashes alone. Put in new ones, and take the \"-- \" away.\n";
        }
        for user in &self.users {
            script += &format!("-- {user};\n");
        }
        for statement in &self.grants {
            script += &format!("-- {statement};\n");
        }
        script
    }
}

/// The word for a privilege; `None` for no privilege.
fn privilege_name(privilege: i32) -> Option<&'static str> {
    match privilege {
        1 => Some("READ"),
        2 => Some("WRITE"),
        3 => Some("ALL"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ContinuousQueryInfo, RetentionPolicyInfo, SubscriptionInfo, UserPrivilege};
    use super::*;

    fn metastore() -> Data {
        let subscription = SubscriptionInfo {
            name: "s\"0".into(),
            mode: "ANY".into(),
            destinations: vec!["udp://a:1".into(), "http://u:p'@b".into()],
        };
        let policy = |name: &str, subscriptions| RetentionPolicyInfo {
            name: name.into(),
            subscriptions,
            ..Default::default()
        };
        let database = |name: &str, query: &str| DatabaseInfo {
            name: name.into(),
            default_retention_policy: "autogen".into(),
            retention_policies: vec![
                policy("autogen", vec![subscription.clone()]),
                policy("one year", Vec::new()),
            ],
            continuous_queries: vec![ContinuousQueryInfo {
                name: "c".into(),
                query: query.into(),
            }],
        };
        let user = |name: &str, admin, grants: &[(&str, i32)]| UserInfo {
            name: name.into(),
            hash: "secret".into(),
            admin,
            privileges: grants
                .iter()
                .map(|(database, privilege)| UserPrivilege {
                    database: (*database).into(),
                    privilege: *privilege,
                })
                .collect(),
        };
        Data {
            databases: vec![
                database(
                    "db",
                    "CREATE CONTINUOUS QUERY c ON db BEGIN SELECT mean(v) INTO db.autogen.h FROM db.\"one year\".m END",
                ),
                database(
                    "other",
                    "CREATE CONTINUOUS QUERY c ON other BEGIN SELECT 1 END",
                ),
            ],
            users: vec![
                user("root", true, &[]),
                user("ada", false, &[("db", 1), ("other", 3)]),
                user("bob", false, &[("other", 2), ("db", 0)]),
            ],
            ..Default::default()
        }
    }

    #[test]
    fn all_of_a_metastore_becomes_statements() {
        let databases = ["db".to_owned(), "other".to_owned()];
        let restored = Restored {
            databases: &databases,
            all_users: true,
            policy: None,
            rename: None,
        };
        let statements = Statements::of(&metastore(), &restored);
        assert_eq!(statements.continuous_queries.len(), 2);
        assert_eq!(
            statements.subscriptions[1],
            r#"CREATE SUBSCRIPTION "s\"0" ON "other"."autogen" DESTINATIONS ANY 'udp://a:1', 'http://u:p\'@b'"#
        );
        assert_eq!(
            statements
                .users
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [
                "CREATE USER \"root\" WITH PASSWORD '…' WITH ALL PRIVILEGES",
                "CREATE USER \"ada\" WITH PASSWORD '…'",
                "CREATE USER \"bob\" WITH PASSWORD '…'",
            ]
        );
        assert_eq!(
            statements.grants,
            [
                "GRANT READ ON \"db\" TO \"ada\"",
                "GRANT ALL ON \"other\" TO \"ada\"",
                "GRANT WRITE ON \"other\" TO \"bob\"",
            ]
        );
        assert!(!statements.script().contains("secret"));
    }

    #[test]
    fn what_is_not_restored_is_left_out_and_the_rest_gets_the_new_names() {
        let databases = ["db".to_owned()];
        let restored = Restored {
            databases: &databases,
            all_users: false,
            policy: Some("autogen"),
            rename: Some(Rename {
                database: "db",
                new_database: "a copy",
                policy: Some(("autogen", "long")),
            }),
        };
        assert_eq!(
            Statements::of(&metastore(), &restored).script(),
            r#"-- A server stops at the first statement that fails, and says so in its answer.
CREATE CONTINUOUS QUERY c ON "a copy" BEGIN SELECT mean(v) INTO "a copy"."long".h FROM "a copy"."one year".m END;
CREATE SUBSCRIPTION "s\"0" ON "a copy"."long" DESTINATIONS ANY 'udp://a:1', 'http://u:p\'@b';
-- A backup has passwords as hashes alone. Put in new ones, and take the "-- " away.
-- CREATE USER "root" WITH PASSWORD '…' WITH ALL PRIVILEGES;
-- CREATE USER "ada" WITH PASSWORD '…';
-- GRANT READ ON "a copy" TO "ada";
"#
        );
    }
}
