//! What a live restore applies over HTTP of what an import leaves out.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::http_api::HttpOptions;
use crate::metastore::statements::Statements;
use crate::text::name_list;

/// A kind of what is applied, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatementKind {
    Users,
    Grants,
    ContinuousQueries,
    Subscriptions,
}

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
    /// What is asked for.
    pub(super) fn kinds(&self) -> Vec<StatementKind> {
        let all = [
            (!self.passwords.is_empty(), StatementKind::Users),
            (self.grants, StatementKind::Grants),
            (self.continuous_queries, StatementKind::ContinuousQueries),
            (self.subscriptions, StatementKind::Subscriptions),
        ];
        let asked = all.into_iter().filter(|(is_asked, _)| *is_asked);
        asked.map(|(_, kind)| kind).collect()
    }

    /// Refuses passwords of users that are not restored.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`], with their names.
    pub(super) fn ensure_users_known(&self, statements: &Statements) -> Result<(), Error> {
        let users = &statements.users;
        let is_unknown = |name: &&String| users.iter().all(|user| user.name != **name);
        let unknown: Vec<String> = self
            .passwords
            .0
            .keys()
            .filter(is_unknown)
            .cloned()
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let known: Vec<String> = users.iter().map(|user| user.name.clone()).collect();
        let error = ErrorKind::Refused.error(format!(
            "-users-password-file has passwords of users that are not restored: {}",
            name_list(&unknown)
        ));
        Err(error.hint(match known.is_empty() {
            true => "the backup has no administrator, and no user with a grant on what is restored"
                .to_owned(),
            false => format!("these can be: {}", name_list(&known)),
        }))
    }

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

/// The flags that ask for kinds.
pub(super) fn flags_for(kinds: &[StatementKind]) -> String {
    let word = |kind: &StatementKind| match kind {
        StatementKind::Users => None,
        StatementKind::Grants => Some("grants"),
        StatementKind::ContinuousQueries => Some("cqs"),
        StatementKind::Subscriptions => Some("subscriptions"),
    };
    let words: Vec<&str> = kinds.iter().filter_map(word).collect();
    let with = (!words.is_empty()).then(|| format!("-with {}", words.join(",")));
    let users = kinds.contains(&StatementKind::Users);
    let users = users.then(|| "-users-password-file FILE".to_owned());
    [with, users]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
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
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(…)")
    }
}
