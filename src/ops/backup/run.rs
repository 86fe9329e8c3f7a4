//! One run of a backup: what it is asked for, from whom, and what it did.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::incremental::IncrementalMode;
use crate::client::Client;
use crate::context::Context;
use crate::metastore::Data;
use crate::ops::Shortfall;
use crate::ops::losses::Losses;
use crate::ops::patient_client::PatientClient;
use crate::repository::{Layout, Location, Selection, SetId};
use crate::retry::Server;
use crate::wire::MetaBlob;

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// What is backed up, for messages and the record: the server's address, or a data directory.
    pub source: String,
    /// Where the backups lie.
    pub repository: Location,
    /// What to take.
    pub selection: Selection,
    /// How it builds on earlier sets.
    pub building: IncrementalMode,
    /// How the files are laid out.
    pub layout: Layout,
    /// Leave out of shards that are taken whole what was deleted and not compacted away.
    pub apply_deletes: bool,
    /// How many shards at a time.
    pub jobs: usize,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// How long to ask for a shard before it is stored although it can lack points that the server
    /// had not written to files; `None` where the source never sends a shard without them.
    pub flush_timeout: Option<Duration>,
    /// Make a set of what could be had, where shards failed.
    pub skip_errors: bool,
    /// How long to wait for the directory's lock.
    pub retry_lock: Duration,
    /// Take over what an earlier run had finished and has not changed since, and leave for a later
    /// one what this finishes should it fail.
    pub resume: bool,
    /// How old the newest file of a shard has to be that is taken over: more than the clocks of
    /// server and client may differ.
    pub cold_after: Duration,
    /// Say what would be fetched, and fetch nothing.
    pub dry_run: bool,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The set's id, number and metastore; `None` for a dry run.
    pub set: Option<MadeSet>,
    /// Shards stored, or for a dry run, those that would be asked for.
    pub stored: usize,
    /// Dry run: shards among these of which no earlier set tells the size.
    pub unknown: usize,
    /// Dry run: shards among these that are not downloaded where they have not changed.
    pub undecided: usize,
    /// Shards among these that share the file of an earlier set.
    pub shared: usize,
    /// Shards that had nothing to send.
    pub empty: usize,
    /// Shards that are not in the set although they were asked for.
    pub missing: Vec<Shortfall>,
    /// Shards that are in the set and can lack points that were acknowledged before the run began.
    pub unproven: Vec<Shortfall>,
    /// Why the set cannot be restored whole with the sets before it, a sentence each.
    pub gaps: Vec<String>,
    /// What the server does not hold any more, where there is a set to compare with.
    pub losses: Option<Losses>,
    /// The time after which files were asked for, where they were.
    pub since: Option<Timestamp>,
    /// Bytes of all files but those that are shared.
    pub bytes: u64,
    /// Bytes of the metastore and of the shards' files as the server has them, shared ones too: what
    /// a restore of the set counts. An index is not among them, for it is not restored.
    pub data_bytes: u64,
    /// The bytes among these that are shared.
    pub shared_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// The set that a backup made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeSet {
    /// Its id.
    pub id: SetId,
    /// Its number.
    pub number: u32,
    /// The name of its metastore.
    pub meta: String,
}

/// A server's metastore, as it came and as it is read.
pub(super) struct ServerMetastore {
    pub blob: MetaBlob,
    pub data: Data,
}

/// A metastore as its file has it.
pub(super) struct EncodedMetastore {
    pub bytes: Vec<u8>,
    pub cluster_id: u64,
    /// Bytes of the metastore itself.
    pub size: u64,
}

/// A run.
pub(super) struct Backup<'a> {
    pub client: &'a Client,
    pub options: &'a BackupOptions,
    pub context: Context<'a>,
    pub server: Server,
    pub started: Instant,
    /// How many shards of an earlier run were taken over.
    pub taken_over: AtomicUsize,
}

impl Backup<'_> {
    /// The server's metastore.
    pub(super) fn metastore(&self) -> Result<ServerMetastore> {
        let blob = self.patient_client().metastore()?;
        let data = Data::read(&blob.meta)?;
        Ok(ServerMetastore { blob, data })
    }

    /// Asks the server about all of it.
    pub(super) fn patient_client(&self) -> PatientClient<'_> {
        PatientClient {
            client: self.client,
            server: &self.server,
            context: self.context,
        }
    }
}
