//! Resuming a live restore: a restore is fresh, or goes on with one that was interrupted.

use anyhow::Result;

use super::import::ids_by_time;
use super::journal::{Header, Interrupted, needed_format};
use super::target::{Live, LiveOptions};
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::metastore::Data;
use crate::ops::restore::merge_options::ConflictRule;
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::selection::RestoreSelection;
use crate::ops::restore::source::{SetSelector, Source};
use crate::ops::restore::statement_options::{StatementKind, flags_for};
use crate::shard::ShardPath;
use crate::wire::ShardIds;

/// Whether a restore is fresh.
#[derive(Debug, Clone, Copy)]
pub(super) enum RestoreStart<'a> {
    /// It is, whatever was interrupted before.
    Fresh {
        /// What was.
        interrupted: &'a [Interrupted],
    },
    /// It goes on with this one.
    Resumed(&'a Interrupted),
}

/// Where on the server a restore begins.
#[derive(Debug)]
pub(crate) enum Start {
    Import,
    /// With the uploads: an interrupted restore has done the import.
    Upload {
        /// The new id of each shard by that in the metastore that was imported.
        ids: ShardIds,
        /// The shards that are done, by their ids in that metastore.
        done: Vec<u64>,
    },
}

impl<'a> RestoreStart<'a> {
    /// What the options ask for.
    ///
    /// # Errors
    ///
    /// Where they ask to go on, and it is not clear with what.
    pub(super) fn of(
        options: &LiveOptions,
        interrupted: &'a [Interrupted],
        host: &str,
    ) -> Result<Self, Error> {
        if options.resume {
            let interrupted = find(options, interrupted, host)?;
            options.ensure_queries_see_all(&interrupted.header.what)?;
            Ok(Self::Resumed(interrupted))
        } else {
            Ok(Self::Fresh { interrupted })
        }
    }

    /// Which set is restored.
    pub(crate) fn selector<'b>(self, options: &'b LiveOptions) -> SetSelector<'b>
    where
        'a: 'b,
    {
        match self {
            Self::Fresh { .. } => SetSelector::named(options.set.as_deref()),
            Self::Resumed(Interrupted { header, .. }) if header.named => {
                SetSelector::Alone(&header.set)
            }
            Self::Resumed(Interrupted { header, .. }) => SetSelector::UpTo(&header.set),
        }
    }

    /// What of it is restored.
    pub(super) fn what<'b>(self, options: &'b LiveOptions) -> &'b RestoreSelection
    where
        'a: 'b,
    {
        match self {
            Self::Fresh { .. } => &options.what,
            Self::Resumed(interrupted) => &interrupted.header.what,
        }
    }

    /// Whose value counts, where it is the merge that is gone on with.
    pub(super) fn on_conflict(self) -> Option<ConflictRule> {
        match self {
            Self::Fresh { .. } => None,
            Self::Resumed(interrupted) => interrupted.header.merge,
        }
    }

    /// Warns of what the interrupted run was to apply behind the points, and this one is not.
    pub(super) fn warn_of_owed(self, options: &LiveOptions, context: Context<'_>) {
        let Self::Resumed(Interrupted { owed, .. }) = self else {
            return;
        };
        let asked = options.owed();
        let left: Vec<StatementKind> = owed
            .iter()
            .filter(|kind| !asked.contains(kind))
            .copied()
            .collect();
        if !left.is_empty() {
            let flags = flags_for(&left);
            context.warn(format!(
                "the interrupted restore had {flags}, which -resume takes anew: without it, nothing of \
                 that is applied"
            ));
        }
    }

    /// Refuses to go on on another server than the one that was begun on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where it is one.
    pub(super) fn ensure_same_server(
        self,
        live: &Live<'_>,
        server_metastore: &Data,
    ) -> Result<(), Error> {
        match self {
            Self::Resumed(Interrupted { header, .. })
                if header.cluster_id != server_metastore.cluster_id =>
            {
                let address = live.client.address();
                Err(ErrorKind::Refused
                    .error(format!(
                        "{address} is not the server that the restore was begun on"
                    ))
                    .hint("leave -resume out to begin anew"))
            }
            _ => Ok(()),
        }
    }

    /// Where it begins on a server with that metastore.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where the server has what a fresh one would make, or is not as the
    /// interrupted one left it.
    pub(super) fn start(
        self,
        live: &Live<'_>,
        source: &Source,
        targets: &[TargetShard],
        server_metastore: &Data,
    ) -> Result<Start> {
        match self {
            Self::Fresh { interrupted } => {
                live.ensure_absent(source, server_metastore, interrupted)?;
                Ok(Start::Import)
            }
            Self::Resumed(interrupted) => {
                self.ensure_same_server(live, server_metastore)?;
                live.resumed_at(interrupted, targets, server_metastore)
            }
        }
    }

    /// What its journal begins with.
    pub(super) fn header(
        self,
        live: &Live<'_>,
        source: &Source,
        server_metastore: &Data,
    ) -> Header {
        match self {
            Self::Fresh { .. } => Header {
                format: needed_format(live.what, live.options.merge.is_some()),
                host: live.client.address().to_string(),
                cluster_id: server_metastore.cluster_id,
                max_shard_id: server_metastore.max_shard_id,
                set: source.set.to_string(),
                named: live.options.set.is_some(),
                what: live.what.clone(),
                names: live.new_names(source),
                merge: None,
            },
            Self::Resumed(interrupted) => interrupted.header.clone(),
        }
    }
}

impl Live<'_> {
    /// Where to go on, which depends on whether the import took place.
    fn resumed_at(
        &self,
        interrupted: &Interrupted,
        targets: &[TargetShard],
        server_metastore: &Data,
    ) -> Result<Start> {
        let (header, address) = (&interrupted.header, self.client.address());
        let is_there = |name: &&String| server_metastore.database(name).is_some();
        let Some(name) = header.names.iter().find(is_there) else {
            if interrupted.ids.is_none() {
                // It did not come so far as to make one.
                return Ok(Start::Import);
            }
            return Err(ErrorKind::Refused
                .error(format!(
                    "the databases of the interrupted restore are gone from {address}"
                ))
                .hint("leave -resume out to begin anew")
                .into());
        };
        let ids = interrupted
            .ids
            .clone()
            .unwrap_or_else(|| ids_by_time(targets, server_metastore, header.max_shard_id));
        // One that is made of parts of others has none where it gets no points.
        let is_imported = |target: &&TargetShard| {
            self.what.shard_duration.is_none() || ids.contains_key(&target.id)
        };
        for target in targets.iter().filter(is_imported) {
            let path = ids.get(&target.id).map(|id| ShardPath {
                id: *id,
                ..target.path.clone()
            });
            let has_place = path.is_some_and(|path| {
                let mut known = server_metastore.shards();
                known.any(|known| known.path == path && known.deleted_at.is_none())
            });
            if !has_place {
                let shard = &target.path;
                return Err(ErrorKind::Refused
                    .error(format!(
                        "the database '{name}' on {address} is not as the interrupted restore left it: shard {shard} has no \
                         place in it"
                    ))
                    .hint("drop the databases of the restore and leave -resume out to begin anew")
                    .into());
            }
        }
        let done = interrupted.done.clone();
        Ok(Start::Upload { ids, done })
    }
}

/// The interrupted restore that is gone on with: the one that there is, or that was of what is
/// named.
fn find<'a>(
    options: &LiveOptions,
    interrupted: &'a [Interrupted],
    host: &str,
) -> Result<&'a Interrupted, Error> {
    let is_named = |interrupted: &&Interrupted| {
        let header = &interrupted.header;
        let asked = options.merge.as_ref();
        let is_ruled = asked.and_then(|merge| merge.on_conflict);
        asked.is_some() == header.merge.is_some()
            && is_ruled.is_none_or(|rule| header.merge == Some(rule))
            && options.set.as_ref().is_none_or(|set| *set == header.set)
            && (options.what == RestoreSelection::default() || options.what == header.what)
    };
    let found: Vec<&Interrupted> = interrupted.iter().filter(is_named).collect();
    match &found[..] {
        [one] => Ok(one),
        [] if interrupted.is_empty() => Err(ErrorKind::Refused
            .error(format!(
                "no interrupted restore into {host} is known in {}",
                options.repository
            ))
            .hint(
                "leave -resume out to begin one; -host and PATH must be those of the interrupted run",
            )),
        [] => Err(ErrorKind::Usage
            .error(format!(
                "no interrupted restore into {host} was of what is named here"
            ))
            .hint(format!("there are: {}", listed(interrupted)))),
        several => Err(ErrorKind::Usage
            .error(format!(
                "{} restores into {host} were interrupted",
                several.len()
            ))
            .hint(format!(
                "name one by its set, -database and the like, as it was begun: {}",
                listed(several.iter().copied())
            ))),
    }
}

fn listed<'a>(interrupted: impl IntoIterator<Item = &'a Interrupted>) -> String {
    let texts: Vec<String> = interrupted
        .into_iter()
        .map(|Interrupted { header, .. }| {
            let rule = header.merge.map(|rule| {
                let rule = rule.word();
                format!(" (-merge -on-conflict {rule})")
            });
            let (names, rule) = (header.names.join(", "), rule.unwrap_or_default());
            format!("{names} of set {}{rule}", header.set)
        })
        .collect();
    texts.join("; ")
}
