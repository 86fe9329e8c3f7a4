//! Questions to a server about all of it: what its metastore says, and which shards it has open. A
//! question that fails is put again, where that may help.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::client::Client;
use crate::context::Context;
use crate::error::{ErrorKind, kind_of, told};
use crate::metastore::Data;
use crate::retry::{Attempts, Gate, Server, is_of_server, pause};
use crate::shard::ShardPath;
use crate::text::seconds;
use crate::wire::{InfoReply, MetaBlob};

/// A client that asks again.
pub(super) struct PatientClient<'a> {
    pub client: &'a Client,
    /// Whether it can be asked, how often, and for how long.
    pub server: &'a Server,
    pub context: Context<'a>,
}

impl PatientClient<'_> {
    /// The server's metastore.
    ///
    /// # Errors
    ///
    /// When it is not reached, or its reply breaks off each time.
    pub(super) fn metastore(&self) -> Result<MetaBlob> {
        self.ask("the metastore", || self.client.metastore())
    }

    /// The shards that the server has open, of the databases that these are of.
    ///
    /// # Errors
    ///
    /// Those of [`PatientClient::open_shards`].
    pub(super) fn open_among<'s>(
        &self,
        shards: impl Iterator<Item = &'s ShardPath>,
    ) -> Result<HashSet<ShardPath>> {
        let databases: BTreeSet<&str> = shards.map(|path| &*path.database).collect();
        self.open_shards(databases)
    }

    /// The shards of some databases that the server has open; none of a database that was dropped
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When it is not reached, or does not answer for a database that it has.
    pub(super) fn open_shards<'d>(
        &self,
        databases: impl IntoIterator<Item = &'d str>,
    ) -> Result<HashSet<ShardPath>> {
        let mut open = HashSet::new();
        for database in databases {
            let what = format!("the shards of database '{database}'");
            open.extend(self.ask(&what, || self.shards_of(database, &what))?);
        }
        Ok(open)
    }

    /// Asks once for the shards of a database.
    fn shards_of(&self, database: &str, what: &str) -> Result<Vec<ShardPath>> {
        if let InfoReply::Shards(shards) = self.client.shards_of(database)? {
            return Ok(shards);
        }
        // So a server says that it has no such database, and so it fails: the metastore tells.
        let metastore = Data::read(&self.client.metastore()?.meta)?;
        if metastore.database(database).is_some() {
            bail!(
                "{} did not answer when asked for {what}",
                self.client.address()
            );
        }
        Ok(Vec::new())
    }

    /// Asks again after a failure, unless the failure is one that will stay. A server that has
    /// never answered is not waited for.
    fn ask<T>(&self, what: &str, ask: impl Fn() -> Result<T>) -> Result<T> {
        let mut attempts = Attempts::default();
        loop {
            if let Gate::Closed(wait) = self.server.gate(Instant::now()) {
                pause(wait, self.context.cancel)?;
                continue;
            }
            let error = match ask() {
                Ok(answer) => {
                    self.server.answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let wait = if self.server.has_answered() && is_of_server(&error) {
                self.server.failed(Instant::now())
            } else {
                // The failure is not the server's, and whoever waits to ask it may.
                self.server.not_asked();
                let is_passing = kind_of(&error) == ErrorKind::Failed;
                is_passing
                    .then(|| attempts.failed(self.server.retries()))
                    .flatten()
            };
            let Some(wait) = wait else {
                return Err(error);
            };
            self.context.detail(format!(
                "asking again for {what} in {}: {}",
                seconds(wait),
                told(&error)
            ));
            pause(wait, self.context.cancel)?;
        }
    }
}
