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
    /// Continuous queries.
    pub continuous_queries: Vec<NewQuery>,
    /// Those of a database with a new name that write into another database: the query of the old
    /// name may write into the same place.
    pub ambiguous_queries: Vec<NewQuery>,
    /// Subscriptions.
    pub subscriptions: Vec<NewSubscription>,
    /// Users.
    pub users: Vec<NewUser>,
    /// Grants on the databases that are restored.
    pub grants: Vec<NewGrant>,
}

/// A continuous query to make. Its `Display` form is the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewQuery {
    /// The database.
    pub database: String,
    /// The name.
    pub name: String,
    statement: String,
}

impl NewQuery {
    /// Whether a query that a server shows is this one: servers leave out quotes that are not needed.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.statement.replace('"', "") == shown.replace('"', "")
    }
}

impl fmt::Display for NewQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.statement)
    }
}

/// A subscription to make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NewSubscription {
    /// The database.
    pub database: String,
    /// The retention policy.
    pub policy: String,
    /// The name.
    pub name: String,
    /// `ALL` or `ANY`.
    pub mode: String,
    /// URLs, which can hold passwords.
    pub destinations: Vec<String>,
}

impl NewSubscription {
    /// The statement that makes it.
    pub(crate) fn statement(&self) -> String {
        self.with_destinations(|url| url.to_owned())
    }

    fn with_destinations(&self, shown: impl Fn(&str) -> String) -> String {
        let destinations = self.destinations.iter();
        let destinations: Vec<String> = destinations.map(|url| string(&shown(url))).collect();
        format!(
            "CREATE SUBSCRIPTION {} ON {}.{} DESTINATIONS {} {}",
            identifier(&self.name),
            identifier(&self.database),
            identifier(&self.policy),
            self.mode,
            destinations.join(", ")
        )
    }
}

impl fmt::Display for NewSubscription {
    /// The statement with `…` in place of users and passwords of URLs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_destinations(without_credentials))
    }
}

/// A URL without the user, the password and the query that it may have.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?…"),
        None => (rest, ""),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => rest.to_owned(),
    };
    let scheme = match scheme {
        "" => String::new(),
        scheme => format!("{scheme}://"),
    };
    format!("{scheme}{rest}{query}")
}

/// A grant to make. Its `Display` form is the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// `READ`, `WRITE` or `ALL`.
    pub privilege: &'static str,
}

impl fmt::Display for NewGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, user) = (identifier(&self.database), identifier(&self.user));
        write!(f, "GRANT {} ON {database} TO {user}", self.privilege)
    }
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
            let new_name = restored.database(&database.name);
            let is_renamed = new_name != database.name;
            let target = target_database(&query.query);
            let made = NewQuery {
                database: new_name.to_owned(),
                name: query.name.clone(),
                statement: renamed,
            };
            match is_renamed && target.as_deref() != Some(&database.name) {
                true => self.ambiguous_queries.push(made),
                false => self.continuous_queries.push(made),
            }
        }
        let is_restored = |name: &str| restored.policy.is_none_or(|only| only == name);
        for policy in &database.retention_policies {
            if !is_restored(&policy.name) {
                continue;
            }
            let policy_name = restored.policy_of(&database.name, &policy.name);
            for subscription in &policy.subscriptions {
                self.subscriptions.push(NewSubscription {
                    database: restored.database(&database.name).to_owned(),
                    policy: policy_name.to_owned(),
                    name: subscription.name.clone(),
                    mode: subscription.mode.clone(),
                    destinations: subscription.destinations.clone(),
                });
            }
        }
    }

    fn add_user(&mut self, user: &UserInfo, restored: &Restored<'_>) {
        let grants: Vec<NewGrant> = user
            .privileges
            .iter()
            .filter(|grant| restored.holds(&grant.database))
            .filter_map(|grant| {
                Some(NewGrant {
                    user: user.name.clone(),
                    database: restored.database(&grant.database).to_owned(),
                    privilege: privilege_name(grant.privilege)?,
                })
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
        for query in &self.continuous_queries {
            script += &format!("{query};\n");
        }
        for subscription in &self.subscriptions {
            script += &format!("{};\n", subscription.statement());
        }
        if !self.ambiguous_queries.is_empty() {
            script += "-- The queries of the old name write into the same places.\n";
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
        for grant in &self.grants {
            script += &format!("-- {grant};\n");
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
            statements.subscriptions[1].statement(),
            r#"CREATE SUBSCRIPTION "s\"0" ON "other"."autogen" DESTINATIONS ANY 'udp://a:1', 'http://u:p\'@b'"#
        );
        assert_eq!(
            statements.subscriptions[1].to_string(),
            r#"CREATE SUBSCRIPTION "s\"0" ON "other"."autogen" DESTINATIONS ANY 'udp://a:1', 'http://…@b'"#
        );
        let told = |told: &dyn fmt::Display| told.to_string();
        assert_eq!(
            statements
                .users
                .iter()
                .map(|user| told(user))
                .collect::<Vec<_>>(),
            [
                "CREATE USER \"root\" WITH PASSWORD '…' WITH ALL PRIVILEGES",
                "CREATE USER \"ada\" WITH PASSWORD '…'",
                "CREATE USER \"bob\" WITH PASSWORD '…'",
            ]
        );
        assert_eq!(
            statements
                .grants
                .iter()
                .map(|grant| told(grant))
                .collect::<Vec<_>>(),
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
