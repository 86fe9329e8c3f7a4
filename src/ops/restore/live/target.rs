//! The server that is restored into: what it holds, and what the databases are called there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::journal::Interrupted;
use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::io::scratch::scratch_dir;
use crate::metastore::Data;
use crate::ops::restore::check::{RestoreChecks, check};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::merge_options::MergeOptions;
use crate::ops::restore::report::ensure_influxd_opens_names;
use crate::ops::restore::selection::RestoreSelection;
use crate::ops::restore::source::{PlannedShard, Source};
use crate::ops::restore::statement_options::{StatementKind, StatementOptions};
use crate::ops::selection::ensure_series_found;
use crate::repository::{Catalog, Location, SetId};
use crate::text::name_list;
use crate::tsm::fields::FieldTypes;
use crate::tsm::sought_series::SoughtSeries;
use crate::wire::Dialect;

/// What to restore into a server, and how.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// Where the backups lie.
    pub repository: Location,
    /// The set; where none is named, the newest and all that the directory holds beside it.
    pub set: Option<String>,
    /// What of it, and under which names.
    pub what: RestoreSelection,
    /// How many shards at a time.
    pub jobs: usize,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// Read each shard back and compare its files.
    pub verify: bool,
    /// Go on with the restore into this server that was interrupted; what and which set are those
    /// of its journal.
    pub resume: bool,
    /// Leave out what was deleted; else it comes back, because servers throw tombstones away.
    pub apply_deletes: bool,
    /// Where to write the statements that make what does not come back; nowhere if not named.
    pub influxql: Option<PathBuf>,
    /// Bring the points into a database that the server has, and how; else make the database.
    pub merge: Option<MergeOptions>,
    /// What is applied over HTTP behind the points; nothing where there is none.
    pub statements: Option<StatementOptions>,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

impl LiveOptions {
    /// Refuses flags that contradict each other, and such as need others.
    pub(crate) fn ensure_consistent(&self) -> Result<(), Error> {
        self.what.ensure_consistent()?;
        self.ensure_queries_see_all(&self.what)?;
        self.ensure_mergeable()
    }

    /// What is applied over HTTP behind the points.
    pub(super) fn owed(&self) -> Vec<StatementKind> {
        self.statements
            .as_ref()
            .map(StatementOptions::kinds)
            .unwrap_or_default()
    }

    /// Refuses continuous queries over a part of the points: they would write the aggregates of all
    /// of them anew, out of that part.
    pub(super) fn ensure_queries_see_all(&self, what: &RestoreSelection) -> Result<(), Error> {
        let flag = match () {
            () if !what.series.takes_all() => "-measurement or -where",
            () if what.bounds().is_some() => "-start or -end",
            () if what.shard.is_some() => "-shard",
            () => return Ok(()),
        };
        match &self.statements {
            Some(asked) if asked.continuous_queries => Err(ErrorKind::Usage
                .error(format!("-with cqs does not go with {flag}"))
                .hint("continuous queries would write aggregates anew, out of a part of the points; -influxql FILE writes them as statements")),
            _ => Ok(()),
        }
    }

    /// Refuses what a merge cannot do.
    fn ensure_mergeable(&self) -> Result<(), Error> {
        if self.merge.is_none() {
            return Ok(());
        }
        let usage = |message: &str, hint: &str| Err(ErrorKind::Usage.error(message).hint(hint));
        if self.what.durations().is_some() {
            return usage(
                "-shard-duration and -duration are not for -online -merge: the database has its own",
                "ALTER RETENTION POLICY changes them on the server",
            );
        }
        if self.what.database.is_none() && !self.resume {
            return usage(
                "-online -merge needs -database",
                "write -database DB, and -newdb NAME where it has another name on the server",
            );
        }
        Ok(())
    }
}

/// A restore into a running server.
pub(super) struct Live<'a> {
    pub(super) client: &'a Client,
    pub(super) options: &'a LiveOptions,
    /// What is restored: what is asked for, or what an interrupted restore was asked for.
    pub(super) what: &'a RestoreSelection,
    pub(super) context: Context<'a>,
}

impl Live<'_> {
    /// What the server holds.
    pub(super) fn metastore(&self) -> Result<Data> {
        let metastore = Data::read(&self.client.metastore()?.meta)?;
        if self.client.dialect() == Some(Dialect::V1_0) {
            return Err(ErrorKind::Refused
                .error(format!(
                    "{} is of version 1.0 to 1.4, which cannot be restored into while it runs",
                    self.client.address()
                ))
                .hint("stop it and restore into its directories with -metadir and -datadir")
                .into());
        }
        Ok(metastore)
    }

    /// Reads the planned shards, and refuses what cannot be sent. `types` gets the types of their
    /// fields.
    pub(super) fn check(
        &self,
        catalog: &Catalog,
        set: &SetId,
        planned: Vec<PlannedShard>,
        types: Option<Arc<Mutex<FieldTypes>>>,
    ) -> Result<(RestoreChecks, Vec<CheckedShard>)> {
        let checks = RestoreChecks {
            leave_index: true,
            apply_deletes: self.options.apply_deletes,
            series: Arc::new(SoughtSeries::of(self.what.series.clone())),
            types,
            lost: None,
            scratch: scratch_dir(),
        };
        let shards = check(catalog, planned, &checks, self.options.jobs, self.context)?;
        ensure_series_found(&checks.series, self.what.bounds(), &format!("set {set}"))?;
        ensure_influxd_opens_names(&shards)?;
        Ok((checks, shards))
    }

    /// The one database that is meant, where there is but one: it was named, or the shard that was
    /// named is in it.
    pub(super) fn only_database(&self, source: &Source) -> Option<String> {
        if let Some(name) = &self.what.database {
            return Some(name.clone());
        }
        self.what.shard?;
        Some(source.live.first()?.path.database.to_string())
    }

    /// The names that the backup's databases get on the server.
    pub(super) fn new_names(&self, source: &Source) -> Vec<String> {
        let only = self.what.new_database.clone();
        match only.or_else(|| self.only_database(source)) {
            Some(name) => vec![name],
            None => source.databases.clone(),
        }
    }

    /// Refuses a server that has one of the databases already.
    pub(super) fn ensure_absent(
        &self,
        source: &Source,
        server_metastore: &Data,
        interrupted: &[Interrupted],
    ) -> Result<()> {
        let names = self.new_names(source);
        let is_there = |name: &&String| server_metastore.database(name).is_some();
        let Some(name) = names.iter().find(is_there) else {
            return Ok(());
        };
        let error = ErrorKind::Refused.error(format!(
            "{} already has a database '{name}'",
            self.client.address()
        ));
        let was_interrupted = interrupted.iter().any(|Interrupted { header, .. }| {
            header.merge.is_none() && header.names.contains(name)
        });
        let hint = if was_interrupted {
            "a restore of it was interrupted: -resume goes on with that; or drop the database to begin anew"
        } else {
            "-merge brings the points into it; -database DB -newdb NEW restores it beside"
        };
        Err(error.hint(hint).into())
    }

    /// Warns that the databases may be on the server in part.
    pub(super) fn warn_in_part(&self, source: &Source, is_resumable: bool) {
        let next = if is_resumable {
            match &self.options.statements {
                None => {
                    "snap restore -resume goes on where this stopped; or drop them to begin anew"
                }
                Some(_) => {
                    "the same command with -resume goes on where this stopped; or drop them to begin anew"
                }
            }
        } else {
            "drop them before the next try"
        };
        self.context.warn(format!(
            "{} now may have {} in part: {next}",
            self.client.address(),
            name_list(&self.new_names(source))
        ));
    }
}
