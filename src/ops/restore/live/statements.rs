//! Applying over HTTP what a server does not take in with an import: users with new passwords,
//! grants, continuous queries and subscriptions.
//!
//! They come behind all points, and subscriptions behind all else. All of it can be done twice: what
//! the server has and is equal stays, and so does what it has of that name and is different.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Display;

use anyhow::Result;
use serde_json::Value;

use super::Brought;
use super::same_server::ensure_same_server;
use super::target::Live;
use crate::error::{ErrorKind, kind_of, told};
use crate::http_api::{HttpApi, Series};
use crate::metastore::influxql::identifier;
use crate::metastore::statements::{NewGrant, NewQuery, NewSubscription, NewUser, Statements};
use crate::ops::Shortfall;
use crate::ops::restore::report::AppliedStatements;
use crate::ops::restore::statement_options::StatementOptions;
use crate::text::plural;

/// What is to be made.
#[derive(Clone, Copy)]
enum New<'a> {
    User(&'a NewUser, &'a str),
    Grant(&'a NewGrant),
    Query(&'a NewQuery),
    Subscription(&'a NewSubscription),
}

impl New<'_> {
    /// The statement without passwords.
    fn told(&self) -> &dyn Display {
        match self {
            Self::User(user, _) => user,
            Self::Grant(grant) => grant,
            Self::Query(query) => query,
            Self::Subscription(subscription) => subscription,
        }
    }
}

/// What the server has of what is asked for.
#[derive(Default)]
struct OnServer {
    /// Continuous queries, by their databases and names.
    queries: BTreeMap<(String, String), String>,
    subscriptions: BTreeSet<NewSubscription>,
    /// Users that were to be made and were not: who has the name is another.
    not_made: HashSet<String>,
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
        let all = chosen(asked, &statements);
        let mut applied = AppliedStatements::asked_for(asked);
        if self.options.dry_run {
            for new in &all {
                self.context.status(format!("would apply: {}", new.told()));
                applied.count(*new);
            }
            brought.report.applied = Some(applied);
            return Ok(());
        }
        let (mut on_server, mut stopped) = (OnServer::default(), None);
        if !brought.has_all {
            stopped = Some("points are missing".to_owned());
        } else if !all.is_empty() {
            match self.on_server(api, asked) {
                Ok(found) => on_server = found,
                Err(error) => stopped = Some(told(&error)),
            }
        }
        for (new, left) in all.iter().zip((0..all.len()).rev()) {
            let done = match &stopped {
                Some(why) => Err(ErrorKind::Refused.error(why).into()),
                None => self.apply(api, *new, &mut on_server),
            };
            let Err(error) = done else {
                applied.count(*new);
                continue;
            };
            let kind = kind_of(&error);
            if kind.is_stop() {
                self.warn_not_applied(left + 1, brought);
                return Err(error);
            }
            // Where it answers otherwise, or not at all, it may have done it.
            let verdict = match kind {
                ErrorKind::Refused => "not applied",
                _ => "perhaps not applied",
            };
            if kind == ErrorKind::Unreachable {
                stopped = Some("the server did not answer before".to_owned());
            }
            applied.not_applied += 1;
            brought.report.missing.push(Shortfall {
                shard: None,
                reason: format!("{verdict}: {}: {}", new.told(), told(&error)),
            });
        }
        if applied.not_applied > 0 {
            self.warn_not_applied(applied.not_applied, brought);
        }
        brought.report.applied = Some(applied);
        Ok(())
    }

    fn warn_not_applied(&self, count: usize, brought: &Brought) {
        let again = match brought.can_go_on() {
            true => "the same command with -resume tries again; ",
            false => "",
        };
        self.context.warn(format!(
            "{} not applied: {again}restore -online -dry-run -influxql FILE, without -with, writes all \
             of them as a script",
            plural(count, "statement")
        ));
    }

    /// What the server has. The API has to be that of the server that the points came into: before
    /// they did, two new servers could not be told from one another.
    fn on_server(&self, api: &HttpApi, asked: &StatementOptions) -> Result<OnServer> {
        ensure_same_server(api, self, &self.metastore()?)?;
        let mut found = OnServer::default();
        if asked.continuous_queries {
            for series in api.query("SHOW CONTINUOUS QUERIES")? {
                for row in &series.rows {
                    let text = |column| series.text(row, column).unwrap_or_default().to_owned();
                    let key = (series.name.clone(), text("name"));
                    found.queries.insert(key, text("query"));
                }
            }
        }
        if asked.subscriptions {
            let answer = api.query("SHOW SUBSCRIPTIONS")?;
            found
                .subscriptions
                .extend(answer.iter().flat_map(subscriptions_in));
        }
        Ok(found)
    }

    /// Makes one of them, unless the server has it.
    fn apply(&self, api: &HttpApi, new: New<'_>, on_server: &mut OnServer) -> Result<()> {
        self.context.check()?;
        let refused = |why: &str| Err(ErrorKind::Refused.error(why).into());
        match new {
            New::User(user, password) => {
                let made = api.statement(&user.statement(password));
                made.map_err(|error| {
                    on_server.not_made.insert(user.name.clone());
                    without_password(error)
                })
            }
            New::Grant(grant) if on_server.not_made.contains(&grant.user) => {
                refused("its user was not made")
            }
            New::Grant(grant) => match privilege_on(api, grant)?.as_deref() {
                None | Some("NO PRIVILEGES") => api.statement(&grant.to_string()),
                Some("ALL PRIVILEGES") => Ok(()),
                Some(has) if has == grant.privilege => Ok(()),
                Some(has) => refused(&format!("the user has {has} there, which stays")),
            },
            New::Query(query) => {
                let key = (query.database.clone(), query.name.clone());
                match on_server.queries.get(&key) {
                    None => api.statement(&query.to_string()),
                    Some(shown) if query.is(shown) => Ok(()),
                    Some(_) => refused("there is another query of that name, which stays"),
                }
            }
            New::Subscription(subscription) if on_server.subscriptions.contains(subscription) => {
                Ok(())
            }
            New::Subscription(subscription) => api.statement(&subscription.statement()),
        }
    }
}

/// What is to be made, in order.
fn chosen<'a>(asked: &'a StatementOptions, statements: &'a Statements) -> Vec<New<'a>> {
    let mut all = Vec::new();
    let users = statements.users.iter();
    all.extend(users.filter_map(|user| Some(New::User(user, asked.passwords.of(&user.name)?))));
    if asked.grants {
        all.extend(statements.grants.iter().map(New::Grant));
    }
    if asked.continuous_queries {
        all.extend(statements.continuous_queries.iter().map(New::Query));
    }
    if asked.subscriptions {
        all.extend(statements.subscriptions.iter().map(New::Subscription));
    }
    all
}

/// Why a user was not made, without what a server or a proxy says: that can hold the password.
fn without_password(error: anyhow::Error) -> anyhow::Error {
    let kind = kind_of(&error);
    if kind.is_stop() {
        return error;
    }
    let why = match told(&error) {
        said if said.ends_with("user already exists") => {
            "the server has a user of that name with another password or other rights"
        }
        _ if kind == ErrorKind::Unreachable => "the server did not answer",
        _ => {
            "the server did not take it; its words are not repeated, for they can hold the password"
        }
    };
    kind.error(why).into()
}

/// What a user may do with the database of a grant, in the server's words.
fn privilege_on(api: &HttpApi, grant: &NewGrant) -> Result<Option<String>> {
    let answer = api.query(&format!("SHOW GRANTS FOR {}", identifier(&grant.user)))?;
    let rows = answer
        .iter()
        .flat_map(|series| series.rows.iter().map(move |row| (series, row)));
    let mut of_database =
        rows.filter(|(series, row)| series.text(row, "database") == Some(grant.database.as_str()));
    let found = of_database.next();
    Ok(found.and_then(|(series, row)| series.text(row, "privilege").map(str::to_owned)))
}

/// The subscriptions of a database, in a server's answer.
fn subscriptions_in(series: &Series) -> impl Iterator<Item = NewSubscription> {
    let columns = &series.columns;
    let destinations = columns.iter().position(|name| name == "destinations");
    series.rows.iter().map(move |row| {
        let text = |column| series.text(row, column).unwrap_or_default().to_owned();
        let urls = destinations.and_then(|at| row.get(at)?.as_array());
        let urls = urls.into_iter().flatten().filter_map(Value::as_str);
        NewSubscription {
            database: series.name.clone(),
            policy: text("retention_policy"),
            name: text("name"),
            mode: text("mode"),
            destinations: urls.map(str::to_owned).collect(),
        }
    })
}

impl AppliedStatements {
    fn asked_for(asked: &StatementOptions) -> Self {
        let zero = |is_asked: bool| is_asked.then_some(0);
        Self {
            users: zero(!asked.passwords.is_empty()),
            grants: zero(asked.grants),
            continuous_queries: zero(asked.continuous_queries),
            subscriptions: zero(asked.subscriptions),
            not_applied: 0,
        }
    }

    fn count(&mut self, new: New<'_>) {
        let count = match new {
            New::User(..) => &mut self.users,
            New::Grant(_) => &mut self.grants,
            New::Query(_) => &mut self.continuous_queries,
            New::Subscription(_) => &mut self.subscriptions,
        };
        *count.get_or_insert(0) += 1;
    }
}
