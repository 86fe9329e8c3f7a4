//! What shards are read from, as it is named: a backup with or without a set, or an influxd.

use std::sync::Arc;

use super::server::ConnectionArgs;
use crate::cancel::Cancel;
use crate::client::Address;
use crate::ops::{Directories, ShardSource};
use crate::repository::Location;

/// What shards are read from.
#[derive(Debug, Clone)]
pub(crate) enum SourceArg {
    /// A set, or the newest.
    Set {
        repository: Location,
        set: Option<String>,
    },
    /// A running server.
    Server(Address),
    /// The directories of a stopped one.
    Directories(Directories),
}

impl SourceArg {
    /// The place of its sets, if it is one.
    pub(crate) fn repository(&self) -> Option<&Location> {
        match self {
            Self::Set { repository, .. } => Some(repository),
            Self::Server(_) | Self::Directories(_) => None,
        }
    }

    /// The source; a server is asked in this way.
    pub(crate) fn asked_by<const HIDDEN: bool>(
        self,
        connection: &ConnectionArgs<HIDDEN>,
        cancel: &Cancel,
    ) -> ShardSource {
        match self {
            Self::Set { repository, set } => ShardSource::Set { repository, set },
            Self::Server(address) => ShardSource::Server {
                client: Arc::new(connection.client(address, cancel)),
                retries: connection.retries,
            },
            Self::Directories(directories) => ShardSource::Directories(directories),
        }
    }
}
