//! Where shards are read from, by commands that only read: a backup, a running server, or the
//! directories of a stopped one. What each has is found here, and read in the way that it takes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::backup::Rule;
use super::gather::{GatherDepth, GatheredShard, Gathering};
use super::patient_client::PatientClient;
use super::prepared::{self, Prepared};
use super::restore::{PlannedShard, SetExtent, SetSelector, Source, SourceDepth, planned, sets_of};
use super::selection::{select, warn_not_open};
use super::server_shards::ShardAsker;
use super::{Directories, Shortfall};
use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::influxd_dir::LocalShards;
use crate::metastore::{Data, Shard};
use crate::repository::{Catalog, Held, Location, Selection, SetId};
use crate::retry::Server;
use crate::server::{MetaStore, ShardStore};
use crate::shard::{Name, ShardPath};
use crate::time::Bounds;

/// Where shards are read from.
#[derive(Debug, Clone)]
pub enum ShardSource {
    /// A backup.
    Set {
        /// Where its sets lie.
        repository: Location,
        /// The set; where none is named, the newest and what lies beside it.
        set: Option<String>,
    },
    /// A running server.
    Server {
        /// The server.
        client: Arc<Client>,
        /// How often a question is put again that fails.
        retries: u32,
    },
    /// The directories of a stopped server.
    Directories(Directories),
}

/// The place of the backup, the address of the server, or the data directory.
impl fmt::Display for ShardSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { repository, .. } => write!(f, "{repository}"),
            Self::Server { client, .. } => write!(f, "{}", client.address()),
            Self::Directories(directories) => write!(f, "{}", directories.datadir.display()),
        }
    }
}

/// The shards that are meant, and how a server is asked for them.
pub(super) struct ShardsMeant<'a> {
    pub selection: &'a Selection,
    /// Those with points of these times, where not all are meant.
    pub bounds: Option<Bounds>,
    /// When an answer has everything that a server had acknowledged.
    pub rule: Rule,
}

impl ShardsMeant<'_> {
    /// Those of an influxd, `holder`, that are not deleted, in the order of its metastore.
    fn among(&self, data: &Data, holder: &str) -> Result<Vec<Shard>, Error> {
        let mut shards = select(data, self.selection, holder)?;
        shards.retain(|shard| {
            let inside = |bounds: Bounds| !bounds.misses(shard.start, shard.end);
            shard.deleted_at.is_none() && self.bounds.is_none_or(inside)
        });
        Ok(shards)
    }
}

/// A source whose shards are known.
pub(super) struct OpenSource<'a> {
    /// What its metastore says.
    pub data: Data,
    /// The databases that are meant, also those of which no shard has points left.
    pub databases: BTreeSet<String>,
    /// What is not in a backup. It was told.
    pub missing: Vec<Shortfall>,
    /// The shards that are meant, and that an influxd does not have open.
    pub not_open: Vec<Shard>,
    shards: Shards<'a>,
}

/// The shards of a source, and what they are read with.
enum Shards<'a> {
    Set(Box<SetShards>),
    Server(ShardAsker<'a>, Vec<Shard>),
    Directories(LocalShards, Vec<Shard>),
}

struct SetShards {
    id: SetId,
    extent: SetExtent,
    catalog: Catalog,
    /// Whether to read a piece of a file takes long.
    is_remote: bool,
    /// In the order of the metastore.
    shards: Vec<(Shard, PlannedShard)>,
    /// Keeps its files from being removed.
    _held: Held,
}

impl ShardSource {
    /// Finds the shards that are meant.
    ///
    /// # Errors
    ///
    /// When there is no such set, server or directory, or nothing of what is named; when the
    /// metastore is damaged.
    pub(super) fn open(
        &self,
        meant: &ShardsMeant<'_>,
        context: Context<'_>,
    ) -> Result<OpenSource<'_>> {
        match self {
            Self::Set { repository, set } => open_set(repository, set.as_deref(), meant, context),
            Self::Server { client, retries } => open_server(client, *retries, meant, context),
            Self::Directories(directories) => open_directories(directories, meant),
        }
    }
}

fn open_set(
    repository: &Location,
    set: Option<&str>,
    meant: &ShardsMeant<'_>,
    context: Context<'_>,
) -> Result<OpenSource<'static>> {
    let (catalog, source, held) = planned(repository, set, context, |catalog| {
        let named = SetSelector::named(set);
        let (selection, bounds, depth) = (meant.selection, meant.bounds, SourceDepth::Shards);
        let source = Source::read(catalog, named, selection, bounds, depth, context)?;
        source.report_missing(catalog, selection, context)?;
        let sets = source.sets();
        Ok((source, sets))
    })?;
    // They stand in the same order.
    let mut planned = source.with_files().into_iter().peekable();
    let shards = source.live.into_iter();
    let shards = shards.filter_map(|shard| {
        let planned = planned.next_if(|planned| planned.source == shard.path)?;
        Some((shard, planned))
    });
    let shards = shards.collect();
    Ok(OpenSource {
        data: source.data,
        databases: source.databases.into_iter().collect(),
        missing: source.chains.missing,
        not_open: Vec::new(),
        shards: Shards::Set(Box::new(SetShards {
            id: source.set,
            extent: source.extent,
            catalog,
            is_remote: repository.directory().is_none(),
            shards,
            _held: held,
        })),
    })
}

fn open_server<'a>(
    client: &'a Client,
    retries: u32,
    meant: &ShardsMeant<'_>,
    context: Context<'_>,
) -> Result<OpenSource<'a>> {
    let patient = PatientClient {
        client,
        server: &Server::new(retries),
        context,
    };
    let data = Data::read(&patient.metastore()?.meta)?;
    let shards = meant.among(&data, &client.address().to_string())?;
    let open = patient.open_among(shards.iter().map(|shard| &shard.path))?;
    let is_open = |shard: &Shard| open.contains(&shard.path);
    let (shards, not_open) = shards.into_iter().partition(is_open);
    let asker = ShardAsker::new(client, retries, meant.rule);
    let shards = Shards::Server(asker, shards);
    Ok(OpenSource::of_influxd(data, meant, not_open, shards))
}

fn open_directories(
    directories: &Directories,
    meant: &ShardsMeant<'_>,
) -> Result<OpenSource<'static>> {
    let (meta, local) = directories.open_to_read(meant.selection)?;
    let data = Data::read(&meta.data()?)?;
    let shards = meant.among(&data, &directories.metadir.display().to_string())?;
    let (shards, not_open) = held_and_absent(shards, &local)?;
    let shards = Shards::Directories(local, shards);
    Ok(OpenSource::of_influxd(data, meant, not_open, shards))
}

/// Those of the shards that have a directory, and the others.
///
/// # Errors
///
/// When that cannot be told.
fn held_and_absent(shards: Vec<Shard>, store: &LocalShards) -> Result<(Vec<Shard>, Vec<Shard>)> {
    let (mut held, mut absent) = (Vec::new(), Vec::new());
    for shard in shards {
        match store.holds(&shard.path)? {
            true => held.push(shard),
            false => absent.push(shard),
        }
    }
    Ok((held, absent))
}

impl<'a> OpenSource<'a> {
    fn of_influxd(
        data: Data,
        meant: &ShardsMeant<'_>,
        not_open: Vec<Shard>,
        shards: Shards<'a>,
    ) -> Self {
        let names = data.databases.iter().map(|database| &database.name);
        let names = names.filter(|name| meant.selection.takes_database(name));
        Self {
            databases: names.cloned().collect(),
            data,
            missing: Vec::new(),
            not_open,
            shards,
        }
    }

    fn set(&self) -> Option<&SetShards> {
        match &self.shards {
            Shards::Set(set) => Some(set),
            Shards::Server(..) | Shards::Directories(..) => None,
        }
    }

    /// The set, where it is one.
    pub(super) fn set_id(&self) -> Option<&SetId> {
        self.set().map(|set| &set.id)
    }

    /// Sets before it that some of its shards are put together from.
    pub(super) fn older_sets(&self) -> Vec<SetId> {
        let Some(set) = self.set() else {
            return Vec::new();
        };
        let planned = set.shards.iter().map(|(_, planned)| planned);
        let sets = sets_of(planned).into_iter();
        let sets = sets.map(|at| set.catalog.sets()[at].id.clone());
        sets.filter(|other| *other != set.id).collect()
    }

    /// Whether it is of a retention policy: a set is of what it holds or was asked for.
    pub(super) fn is_of(&self, database: &Name, policy: &Name) -> bool {
        let is_of = |set: &SetShards| set.extent.has_policy(database, policy);
        self.set().is_none_or(is_of)
    }

    /// Warns of shards that an influxd should have by now, and does not have open.
    pub(super) fn warn_not_open(&self, context: Context<'_>) {
        warn_not_open(self.not_open.iter(), context);
    }

    /// The shards that are meant and can be read, in the order of the metastore.
    pub(super) fn shards(&self) -> Vec<SourceShard<'_>> {
        match &self.shards {
            Shards::Set(set) => {
                let shards = set.shards.iter();
                let shards = shards.map(|(info, planned)| SourceShard {
                    info,
                    place: ShardPlace::Tars { set, planned },
                });
                shards.collect()
            }
            Shards::Server(asker, shards) => {
                let shards = shards.iter();
                let shards = shards.map(|info| SourceShard {
                    info,
                    place: ShardPlace::Server(asker),
                });
                shards.collect()
            }
            Shards::Directories(local, shards) => {
                let shards = shards.iter();
                let shards = shards.map(|info| SourceShard {
                    info,
                    place: ShardPlace::Directory(local),
                });
                shards.collect()
            }
        }
    }
}

/// What has the shards, in messages.
impl fmt::Display for OpenSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shards {
            Shards::Set(set) => write!(f, "set {}", set.id),
            Shards::Server(asker, _) => write!(f, "{}", asker.address()),
            Shards::Directories(..) => f.write_str("the data directory"),
        }
    }
}

/// A shard, and what it is read from.
#[derive(Clone, Copy)]
pub(super) struct SourceShard<'a> {
    /// What the metastore says of it.
    pub info: &'a Shard,
    place: ShardPlace<'a>,
}

#[derive(Clone, Copy)]
enum ShardPlace<'a> {
    Tars {
        set: &'a SetShards,
        planned: &'a PlannedShard,
    },
    Server(&'a ShardAsker<'a>),
    Directory(&'a LocalShards),
}

impl<'a> SourceShard<'a> {
    pub(super) fn path(&self) -> &'a ShardPath {
        &self.info.path
    }

    /// Bytes to read, where that is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self.place {
            ShardPlace::Tars { planned, .. } => Some(planned.bytes()),
            ShardPlace::Server(_) | ShardPlace::Directory(_) => None,
        }
    }

    /// The name of the tar that it is in, where it is in one alone.
    pub(super) fn only_tar(&self) -> Option<&'a str> {
        match self.place {
            ShardPlace::Tars { planned, .. } => match &planned.chain[..] {
                [file] => Some(&file.name),
                _ => None,
            },
            ShardPlace::Server(_) | ShardPlace::Directory(_) => None,
        }
    }

    /// Makes its points ready to be read.
    ///
    /// # Errors
    ///
    /// When it cannot be read or unpacked, or a stop was asked for. That a server does not send it
    /// is none.
    pub(super) fn prepare(&self, context: Context<'_>) -> Result<Prepared> {
        let prepared = match self.place {
            ShardPlace::Tars { set, planned } => {
                prepared::from_set(&set.catalog, planned.clone(), context)
            }
            ShardPlace::Server(asker) => {
                return prepared::from_server(asker, self.path().clone(), context);
            }
            ShardPlace::Directory(local) => {
                prepared::from_directory(local, self.path().clone(), context)
            }
        };
        prepared.map(Prepared::Whole)
    }

    /// Gathers its files; the error inside is why a server does not send it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or none can be made in the scratch directory; when a stop was
    /// asked for.
    pub(super) fn gather(
        &self,
        depth: GatherDepth,
        scratch: &Path,
        context: Context<'_>,
    ) -> Result<Result<GatheredShard, String>> {
        let mut gathering = Gathering {
            depth,
            is_remote: false,
            scratch,
            cancel: context.cancel,
            progress: context.progress,
        };
        let shard = self.path();
        match self.place {
            ShardPlace::Tars { set, planned } => {
                gathering.is_remote = set.is_remote;
                GatheredShard::of_chain(&set.catalog, shard, &planned.chain, gathering).map(Ok)
            }
            ShardPlace::Server(asker) => GatheredShard::of_server(asker, shard, gathering, context),
            ShardPlace::Directory(local) => {
                let snapshot = local.snapshot(shard)?;
                // Whoever looks for columns reads the points later, and that tells it.
                if depth != GatherDepth::Schema {
                    snapshot.notes.iter().for_each(|note| context.warn(note));
                }
                GatheredShard::of_directory(snapshot, shard, gathering).map(Ok)
            }
        }
    }
}
