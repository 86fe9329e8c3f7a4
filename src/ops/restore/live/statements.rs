//! Applying over HTTP what a server does not take in with an import: users with new passwords,
//! grants, continuous queries and subscriptions.
//!
//! They come behind all points, and subscriptions behind all else. All of it can be done twice: what
//! the server has and is equal stays.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::Value;

use super::Brought;
use super::target::Live;
use crate::error::{ErrorKind, kind_of, told};
use crate::http_api::HttpApi;
use crate::metastore::statements::{Statements, create_subscription};
use crate::ops::Shortfall;
use crate::ops::restore::report::AppliedStatements;
use crate::ops::restore::statement_options::StatementOptions;
use crate::text::{name_list, plural};

/// What a statement makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Grant,
    ContinuousQuery,
    Subscription,
}

/// A statement, and how it is told: without a password.
struct Statement {
    kind: Kind,
    text: String,
    told: String,
}

impl Statement {
    fn new(kind: Kind, text: &str) -> Self {
        Self {
            kind,
            text: text.to_owned(),
            told: text.to_owned(),
        }
    }
}

impl Live<'_> {
    /// Applies what was asked for, and counts it in the report. What the server refuses is missing
    /// there; so is all of it where not all points came in. A dry run tells what would be applied.
    ///
    /// # Errors
    ///
    /// When a stop was asked for.
    pub(super) fn apply_statements(
        &self,
        api: &HttpApi,
        asked: &StatementOptions,
        brought: &mut Brought,
    ) -> Result<()> {
        let only = self.only_database(&brought.source);
        let statements = self.statements(&brought.source, only.as_deref());
        self.warn_unknown_users(asked, &statements);
        let all = chosen(asked, &statements);
        let zero = |is_asked: bool| is_asked.then_some(0);
        let mut applied = AppliedStatements {
            users: zero(!asked.passwords.is_empty()),
            grants: zero(asked.grants),
            continuous_queries: zero(asked.continuous_queries),
            subscriptions: zero(asked.subscriptions),
        };
        let mut there = None;
        let mut stopped = (!brought.has_all).then_some("points are missing");
        for (statement, left) in all.iter().zip((0..all.len()).rev()) {
            let done = match stopped {
                _ if self.options.dry_run => {
                    let told = &statement.told;
                    self.context.status(format!("would apply: {told}"));
                    Ok(())
                }
                Some(why) => Err(ErrorKind::Failed.error(why).into()),
                None => self.apply(api, statement, &mut there),
            };
            match done {
                Ok(()) => applied.count(statement.kind),
                Err(error) if kind_of(&error).is_stop() => {
                    self.context.warn(format!(
                        "{} not applied: the same command with -merge applies the rest",
                        plural(left + 1, "statement")
                    ));
                    return Err(error);
                }
                Err(error) => {
                    if kind_of(&error) == ErrorKind::Unreachable {
                        stopped = Some("the server did not answer before");
                    }
                    brought.report.missing.push(Shortfall {
                        shard: None,
                        reason: format!("not applied: {}: {}", statement.told, told(&error)),
                    });
                }
            }
        }
        brought.report.applied = Some(applied);
        Ok(())
    }

    /// Has the server do one statement. A subscription that it has is asked for before: it refuses
    /// an equal one too.
    fn apply(
        &self,
        api: &HttpApi,
        statement: &Statement,
        subscriptions: &mut Option<BTreeSet<String>>,
    ) -> Result<()> {
        self.context.check()?;
        if statement.kind == Kind::Subscription {
            let known = match subscriptions {
                Some(known) => known,
                None => subscriptions.insert(subscriptions_on(api)?),
            };
            if known.contains(&statement.text) {
                return Ok(());
            }
        }
        api.statement(&statement.text)
    }

    /// Warns of passwords for users that are not restored.
    fn warn_unknown_users(&self, asked: &StatementOptions, statements: &Statements) {
        let users = &statements.users;
        let is_unknown = |name: &&String| users.iter().all(|user| user.name != **name);
        let unknown: Vec<String> = asked
            .passwords
            .names()
            .filter(is_unknown)
            .cloned()
            .collect();
        if !unknown.is_empty() {
            self.context.warn(format!(
                "-users-password-file names {} that the backup does not have, or without a grant on what is restored: {}",
                plural(unknown.len(), "user"),
                name_list(&unknown)
            ));
        }
    }
}

/// The statements that are applied, in order.
fn chosen(asked: &StatementOptions, statements: &Statements) -> Vec<Statement> {
    let users = statements.users.iter().filter_map(|user| {
        let password = asked.passwords.of(&user.name)?;
        Some(Statement {
            kind: Kind::User,
            text: user.statement(password),
            told: user.to_string(),
        })
    });
    let mut all: Vec<Statement> = users.collect();
    let mut add = |is_chosen: bool, kind: Kind, texts: &[String]| {
        let texts = texts.iter().filter(|_| is_chosen);
        all.extend(texts.map(|text| Statement::new(kind, text)));
    };
    add(asked.grants, Kind::Grant, &statements.grants);
    let queries = &statements.continuous_queries;
    add(asked.continuous_queries, Kind::ContinuousQuery, queries);
    let subscriptions = &statements.subscriptions;
    add(asked.subscriptions, Kind::Subscription, subscriptions);
    all
}

/// The subscriptions that a server has, as the statements that make them.
fn subscriptions_on(api: &HttpApi) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for series in api.query("SHOW SUBSCRIPTIONS")? {
        let columns = &series.columns;
        let destinations = columns.iter().position(|name| name == "destinations");
        for row in &series.rows {
            let text = |column: &str| series.text(row, column).unwrap_or_default();
            let urls = destinations.and_then(|at| row.get(at)?.as_array());
            let urls = urls.into_iter().flatten().filter_map(Value::as_str);
            let urls: Vec<String> = urls.map(str::to_owned).collect();
            let policy = (series.name.as_str(), text("retention_policy"));
            let (name, mode) = (text("name"), text("mode"));
            found.insert(create_subscription(name, policy, mode, &urls));
        }
    }
    Ok(found)
}

impl AppliedStatements {
    fn count(&mut self, kind: Kind) {
        let count = match kind {
            Kind::User => &mut self.users,
            Kind::Grant => &mut self.grants,
            Kind::ContinuousQuery => &mut self.continuous_queries,
            Kind::Subscription => &mut self.subscriptions,
        };
        *count.get_or_insert(0) += 1;
    }
}
