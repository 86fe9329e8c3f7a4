//! What a live restore applies over HTTP of what an import leaves out.

use std::collections::BTreeMap;
use std::fmt;

use crate::http_api::HttpOptions;
use crate::metastore::statements::Statements;

/// What is applied over HTTP behind the points.
#[derive(Debug, Clone)]
pub struct StatementOptions {
    /// The server's HTTP API.
    pub http: HttpOptions,
    /// Continuous queries.
    pub continuous_queries: bool,
    /// Grants.
    pub grants: bool,
    /// Subscriptions.
    pub subscriptions: bool,
    /// The passwords of users that are made.
    pub passwords: Passwords,
}

impl StatementOptions {
    /// The statements that are not applied.
    pub(super) fn others(&self, mut statements: Statements) -> Statements {
        if self.continuous_queries {
            statements.continuous_queries.clear();
        }
        if self.subscriptions {
            statements.subscriptions.clear();
        }
        if self.grants {
            statements.grants.clear();
        }
        let users = &mut statements.users;
        users.retain(|user| self.passwords.of(&user.name).is_none());
        statements
    }
}

/// Passwords by the names of users. Its `Debug` form shows neither.
#[derive(Clone, Default)]
pub struct Passwords(BTreeMap<String, String>);

impl Passwords {
    /// Adds a password; false where there is one for that user already, which stays.
    pub fn add(&mut self, name: &str, password: &str) -> bool {
        let is_new = !self.0.contains_key(name);
        if is_new {
            self.0.insert(name.to_owned(), password.to_owned());
        }
        is_new
    }

    /// The password of a user.
    pub fn of(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The users.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(…)")
    }
}
