//! `snap info`: what a set or a server holds; and a set at a glance, for list, check and forget
//! too.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::patient_client::PatientClient;
use crate::client::Client;
use crate::context::Context;
use crate::error::told;
use crate::metastore::{Data, Shard};
use crate::repository::{
    Catalog, Chains, FileRecord, Gap, Layout, Location, Missing, Selection, Set, SetId, SetRecord,
    SetState, ShardState, steadily,
};
use crate::retry::Server;
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::{first_of, plural};
use crate::time;
use crate::wire::Dialect;

/// A set at a glance. Sizes in bytes, times UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetSummary {
    /// The set's id: a stamp, 20261122T233401Z; of legacy sets of influxd's the name of the
    /// metastore, meta.03.
    #[serde(rename = "set")]
    pub id: SetId,
    /// When the run began; of legacy sets of influxd's, when the metastore was last written. UTC.
    pub started: Timestamp,
    /// When all its files were complete, UTC; null for influxd's.
    pub finished: Option<Timestamp>,
    /// Which of influxd's two layouts its files have.
    pub layout: Layout,
    /// Its number; in the legacy layout, the NN at the end of the names of its files. Null for
    /// portable sets of influxd's.
    pub number: Option<u32>,
    /// Whether it holds what was asked for.
    pub state: State,
    /// How much of each shard it holds.
    pub kind: Kind,
    /// The server's address, or the data directory of a stopped one; null for influxd's.
    pub host: Option<String>,
    /// Program and version: snap 0.1.0; influxd.
    pub written_by: String,
    /// The databases of which it holds shards.
    pub databases: Vec<String>,
    /// The retention policies of which it holds shards, database.policy each; both can hold dots.
    pub retention_policies: Vec<String>,
    /// Shards with a file.
    pub shards: usize,
    /// Start of the earliest shard group with a file, UTC; null where there is none.
    pub start_time: Option<Timestamp>,
    /// End of the latest shard group with a file, exclusive, UTC; null where there is none.
    pub end_time: Option<Timestamp>,
    /// Bytes of all its files.
    pub size: u64,
    /// Bytes of those of its files that it does not share with an older set: what it takes on disk.
    pub added: u64,
    /// Since when snap keep keeps it, UTC; null where it does not.
    pub kept_since: Option<Timestamp>,
    /// What was written with snap keep -note, or null.
    pub note: Option<String>,
    /// Whether all that it was asked for comes back, with the sets it builds on, without reading
    /// shards.
    pub restorable_whole: bool,
    /// The time after which nothing had changed, where that was asked for and no shard is in it.
    #[serde(skip)]
    pub nothing_newer_than: Option<Timestamp>,
    /// What is wrong with it, as far as it shows without reading shards, or null.
    pub complaint: Option<String>,
    /// Whether all that is wrong is that shards of its own are unproven.
    #[serde(skip)]
    pub is_told_as_unproven: bool,
    /// The shards, database/policy/id each, that can lack points acknowledged before the run began.
    pub unproven: Vec<String>,
}

/// Whether a set holds what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All that was asked for is there.
    Complete,
    /// Shards failed, and were missing from the beginning, or are unproven.
    Partial,
    /// influxd does not record what it was asked for.
    Unrecorded,
    /// Files that it had are gone or of another size, or its metastore cannot be read.
    Damaged,
}

/// How much of each shard a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// All of each shard, in files of its own.
    Full,
    /// All of each shard; those that had not changed share the file of an earlier set. It needs no
    /// other set.
    Incremental,
    /// What changed after a time: it builds on earlier sets.
    Since,
    /// An interval of time.
    Range,
    /// Some series, perhaps of an interval of time.
    Series,
    /// No shard, by intention.
    Meta,
    /// influxd does not record it.
    Unknown,
}

/// A set in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetInfo {
    /// It at a glance.
    pub summary: SetSummary,
    /// What was asked for, where that was recorded.
    pub selection: Option<Selection>,
    /// The dialect and the random number of the server's metastore.
    pub dialect: Option<String>,
    /// The random number of the server's metastore.
    pub cluster_id: Option<u64>,
    /// What the metastore holds; `None` where it cannot be read.
    pub meta: Option<MetaCounts>,
    /// The shards that are there, and those that should be.
    pub shards: Vec<ShardSummary>,
}

/// What a metastore holds beside shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MetaCounts {
    /// Databases, _internal among them.
    #[serde(rename = "database_count")]
    pub databases: usize,
    /// Users.
    #[serde(rename = "user_count")]
    pub users: usize,
    /// Continuous queries of all databases.
    #[serde(rename = "continuous_query_count")]
    pub continuous_queries: usize,
    /// Subscriptions of all retention policies.
    #[serde(rename = "subscription_count")]
    pub subscriptions: usize,
}

/// A shard of a set or of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ShardSummary {
    /// The database.
    pub database: String,
    /// The retention policy.
    pub retention_policy: String,
    /// Its id on the server.
    #[serde(rename = "shard")]
    pub id: u64,
    /// Start of its shard group, UTC.
    pub start_time: Timestamp,
    /// End of its shard group, exclusive, UTC.
    pub end_time: Timestamp,
    /// Of a set: stored, empty, expired, not_open, failed, gone; of a server: open, not_open,
    /// deleted.
    #[schemars(extend("enum" = [
        "stored", "empty", "expired", "not_open", "failed", "gone", "open", "deleted"
    ]))]
    pub state: &'static str,
    /// Files in its tar; null where there is no file, for influxd's, and for a server.
    pub files: Option<usize>,
    /// Bytes of its tar, or null where that is not known.
    pub tar_size: Option<u64>,
    /// The name of its file, also where that is gone; null where there is none.
    pub file: Option<String>,
    /// Bytes of its file, or null where that is not known.
    pub size: Option<u64>,
    /// Why points can be missing of it that were acknowledged before the run began; null where none
    /// can, and for a server.
    #[serde(rename = "unproven_reason")]
    pub unproven: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    /// The dialect it speaks.
    pub dialect: Option<Dialect>,
    /// The random number of its metastore.
    pub cluster_id: u64,
    /// What its metastore holds.
    pub meta: MetaCounts,
    pub shards: Vec<ShardSummary>,
}

/// One set at a glance. Of what was recorded no file is read.
pub(super) fn summary(catalog: &Catalog, chains: &mut Chains<'_>, at: usize) -> SetSummary {
    let set = &catalog.sets()[at];
    match set.record() {
        Some(record) => {
            let shards = recorded_shards(catalog, record);
            summary_of(catalog, set, record, &shards).judged(&chains.missing(at, None))
        }
        None => unrecorded(catalog, chains, at, set).summary,
    }
}

/// Looks at the set of that name, or else the newest. Warns of what is damaged of others.
///
/// # Errors
///
/// [`ErrorKind::NoBackup`](crate::error::ErrorKind::NoBackup) where there is no such set; when the
/// directory cannot be read.
pub fn info(location: &Location, set: Option<&str>, context: Context<'_>) -> Result<SetInfo> {
    let mut warnings = Vec::new();
    let read = || {
        warnings.clear();
        Catalog::read_for(location, set, &mut |text| warnings.push(text.to_owned()))
    };
    let found = steadily(location, context.cancel, read, |catalog| {
        let at = set.map_or_else(|| catalog.latest(), |name| catalog.find(name))?;
        Ok(info_of(catalog, at))
    });
    // Once, however often the repository had to be read.
    warnings.iter().for_each(|text| context.warn(text));
    Ok(found?.1)
}

fn info_of(catalog: &Catalog, at: usize) -> SetInfo {
    let set = &catalog.sets()[at];
    let mut chains = Chains::of(catalog);
    match set.record() {
        Some(record) => recorded(catalog, &mut chains, at, record),
        None => unrecorded(catalog, &mut chains, at, set),
    }
}

/// Asks a server; so often again where it does not answer whole.
///
/// # Errors
///
/// When it is not reached or does not answer.
pub(crate) fn server_info(
    client: &Client,
    retries: u32,
    context: Context<'_>,
) -> Result<ServerInfo> {
    let patient = PatientClient {
        client,
        server: &Server::new(retries),
        context,
    };
    let data = Data::read(&patient.metastore()?.meta)?;
    let live: Vec<ShardPath> = data.live_shards().map(|shard| shard.path).collect();
    let open = patient.open_among(live.iter())?;
    let shard = |shard: Shard| {
        let state = match shard.deleted_at {
            Some(_) => "deleted",
            None if open.contains(&shard.path) => "open",
            None => "not_open",
        };
        ShardSummary::new(
            &shard.path,
            time::from_nanos(shard.start),
            time::from_nanos(shard.end),
            state,
        )
    };
    let shards = data.shards().map(shard).collect();
    Ok(ServerInfo {
        dialect: client.dialect(),
        cluster_id: data.cluster_id,
        meta: MetaCounts::of(&data),
        shards,
    })
}

fn recorded(catalog: &Catalog, chains: &mut Chains<'_>, at: usize, record: &SetRecord) -> SetInfo {
    let set = &catalog.sets()[at];
    let shards = recorded_shards(catalog, record);
    let data = catalog.read_meta(set).ok().map(|(_, data)| data);
    let missing = chains.missing(at, data.as_ref());
    SetInfo {
        summary: summary_of(catalog, set, record, &shards).judged(&missing),
        selection: Some(record.selection.clone()),
        dialect: Some(record.dialect.clone()),
        cluster_id: record.cluster_id,
        meta: data.as_ref().map(MetaCounts::of),
        shards,
    }
}

fn recorded_shards(catalog: &Catalog, record: &SetRecord) -> Vec<ShardSummary> {
    record
        .shards
        .iter()
        .map(|shard| {
            let gone = shard
                .file
                .as_ref()
                .is_some_and(|file| catalog.file(&file.name) != Some(file.size));
            let state = match shard.state {
                _ if gone => "gone",
                ShardState::Stored => "stored",
                ShardState::Empty => "empty",
                ShardState::Expired => "expired",
                ShardState::NotHeld => "not_open",
                ShardState::Failed => "failed",
            };
            ShardSummary {
                files: shard.file.as_ref().map(|_| shard.members.len()),
                tar_size: shard.tar_bytes(),
                file: shard.file.as_ref().map(|file| file.name.clone()),
                size: shard.file.as_ref().map(|file| file.size),
                unproven: shard.unproven.clone(),
                ..ShardSummary::new(&shard.path(), shard.start_time, shard.end_time, state)
            }
        })
        .collect()
}

fn summary_of(
    catalog: &Catalog,
    set: &Set,
    record: &SetRecord,
    shards: &[ShardSummary],
) -> SetSummary {
    let sizes = |file: &&FileRecord| catalog.file(&file.name) != Some(file.size);
    let gone: Vec<&str> = record
        .files()
        .filter(sizes)
        .map(|file| file.name.as_str())
        .collect();
    let selection = &record.selection;
    let kind = if selection.meta_only {
        Kind::Meta
    } else if !selection.series.takes_all() {
        Kind::Series
    } else if record.is_part() {
        Kind::Range
    } else if selection.since.is_some() {
        Kind::Since
    } else if record.shares_files() {
        Kind::Incremental
    } else {
        Kind::Full
    };
    let state = match record.state {
        _ if !gone.is_empty() => State::Damaged,
        SetState::Complete => State::Complete,
        SetState::Partial => State::Partial,
    };
    let has_nothing =
        state == State::Complete && shards.iter().all(|shard| shard.state != "stored");
    SetSummary {
        finished: Some(record.finished),
        nothing_newer_than: selection.since.filter(|_| has_nothing),
        host: Some(record.host.clone()),
        written_by: record.written_by.clone(),
        size: total(record.files().filter_map(|file| catalog.file(&file.name))),
        complaint: gone.first().map(|first| {
            format!(
                "{} gone or of another size, {first} among them{}",
                plural(gone.len(), "file"),
                match catalog.absence(first) {
                    "is gone" => String::new(),
                    what => format!(", which {what}"),
                }
            )
        }),
        ..SetSummary::of(set, state, kind, shards)
    }
}

fn unrecorded(catalog: &Catalog, chains: &mut Chains<'_>, at: usize, set: &Set) -> SetInfo {
    let read = catalog.read_meta(set);
    let data = read.as_ref().ok().map(|(_, data)| data);
    let mut shards = Vec::new();
    for shard in data.iter().flat_map(|data| data.live_shards()) {
        let file = catalog.file_of(at, &shard.path);
        let entry = set.listed(&shard.path);
        if file.is_none() && entry.is_none() {
            continue;
        }
        let state = if file.is_some() { "stored" } else { "gone" };
        let (start, end) = (time::from_nanos(shard.start), time::from_nanos(shard.end));
        shards.push(ShardSummary {
            tar_size: entry.map(|entry| entry.size).or_else(|| {
                file.as_ref()
                    .filter(|file| !file.compressed)
                    .map(|file| file.size)
            }),
            size: file.as_ref().map(|file| file.size),
            file: file
                .map(|file| file.name)
                .or_else(|| entry.map(|entry| entry.file_name.clone())),
            ..ShardSummary::new(&shard.path, start, end, state)
        });
    }
    let complaint = match &read {
        Err(error) => Some(told(error)),
        Ok(_) => shards
            .iter()
            .find(|shard| shard.state == "gone")
            .map(|shard| {
                let file = shard.file.as_deref().unwrap_or_default();
                format!("the file {file} {}", catalog.absence(file))
            }),
    };
    let state = if complaint.is_some() {
        State::Damaged
    } else {
        State::Unrecorded
    };
    let meta_size = set.meta.as_ref().map_or(0, |meta| meta.size);
    let sizes = shards.iter().filter_map(|shard| shard.size);
    let size = total(sizes.chain([meta_size]));
    let summary = SetSummary {
        size,
        added: size,
        complaint,
        ..SetSummary::of(set, state, Kind::Unknown, &shards)
    }
    .judged(&chains.missing(at, data));
    let (meta, cluster_id) = (data.map(MetaCounts::of), data.map(|data| data.cluster_id));
    SetInfo {
        summary,
        selection: None,
        dialect: None,
        cluster_id,
        meta,
        shards,
    }
}

impl SetSummary {
    /// With what a restore of it would miss.
    fn judged(self, missing: &[Missing]) -> Self {
        let is_own =
            |missing: &&Missing| matches!(&missing.gap, Gap::Unproven { set } if *set == self.id);
        let (own, other): (Vec<&Missing>, Vec<&Missing>) = missing.iter().partition(is_own);
        let is_only_own = other.is_empty();
        let ordered = [other, own].concat();
        let first = (!ordered.is_empty()).then(|| first_of(&ordered));
        Self {
            is_told_as_unproven: is_only_own && self.complaint.is_none(),
            restorable_whole: missing.is_empty() && self.state != State::Damaged,
            complaint: self.complaint.or(first),
            ..self
        }
    }

    fn of(set: &Set, state: State, kind: Kind, shards: &[ShardSummary]) -> Self {
        let stored: Vec<&ShardSummary> = shards
            .iter()
            .filter(|shard| shard.state == "stored")
            .collect();
        let databases: BTreeSet<String> =
            stored.iter().map(|shard| shard.database.clone()).collect();
        let policies: BTreeSet<String> = stored
            .iter()
            .map(|shard| format!("{}.{}", shard.database, shard.retention_policy))
            .collect();
        Self {
            id: set.id.clone(),
            started: set.started,
            finished: None,
            layout: set.layout(),
            number: set.number(),
            state,
            kind,
            host: None,
            written_by: "influxd".to_owned(),
            databases: databases.into_iter().collect(),
            retention_policies: policies.into_iter().collect(),
            shards: stored.len(),
            start_time: stored.iter().map(|shard| shard.start_time).min(),
            end_time: stored.iter().map(|shard| shard.end_time).max(),
            size: 0,
            added: set.added.unwrap_or(0),
            kept_since: set.pin.as_ref().map(|pin| pin.since),
            note: set.pin.as_ref().and_then(|pin| pin.note.clone()),
            restorable_whole: false,
            nothing_newer_than: None,
            complaint: None,
            is_told_as_unproven: false,
            unproven: shards
                .iter()
                .filter(|shard| shard.unproven.is_some())
                .map(|shard| format!("{}/{}/{}", shard.database, shard.retention_policy, shard.id))
                .collect(),
        }
    }
}

impl ShardSummary {
    fn new(
        path: &ShardPath,
        start_time: Timestamp,
        end_time: Timestamp,
        state: &'static str,
    ) -> Self {
        Self {
            database: path.database.to_string(),
            retention_policy: path.retention_policy.to_string(),
            id: path.id,
            start_time,
            end_time,
            state,
            files: None,
            tar_size: None,
            file: None,
            size: None,
            unproven: None,
        }
    }
}

impl MetaCounts {
    fn of(data: &Data) -> Self {
        let policies = || {
            data.databases
                .iter()
                .flat_map(|database| &database.retention_policies)
        };
        Self {
            databases: data.databases.len(),
            users: data.users.len(),
            continuous_queries: data
                .databases
                .iter()
                .map(|database| database.continuous_queries.len())
                .sum(),
            subscriptions: policies().map(|policy| policy.subscriptions.len()).sum(),
        }
    }
}
