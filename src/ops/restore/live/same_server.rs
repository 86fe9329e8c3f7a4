//! Whether both ways to a server, its snapshotter and its HTTP API, lead to one server.

use std::collections::BTreeSet;

use anyhow::Result;

use super::target::Live;
use crate::error::ErrorKind;
use crate::http_api::HttpApi;
use crate::metastore::Data;
use crate::shard::ShardPath;

/// The shards and the databases of a server.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    shards: BTreeSet<ShardPath>,
    databases: BTreeSet<String>,
}

impl Inventory {
    fn of_metastore(data: &Data) -> Self {
        let databases = data.databases.iter();
        Self {
            shards: data.live_shards().map(|shard| shard.path).collect(),
            databases: databases.map(|database| database.name.clone()).collect(),
        }
    }

    /// What both have.
    fn common(&self, other: &Self) -> Self {
        Self {
            shards: &self.shards & &other.shards,
            databases: &self.databases & &other.databases,
        }
    }

    /// What either has.
    fn any(&self, other: &Self) -> Self {
        Self {
            shards: &self.shards | &other.shards,
            databases: &self.databases | &other.databases,
        }
    }

    fn of_api(api: &HttpApi) -> Result<Self> {
        let mut shards = BTreeSet::new();
        for series in api.query("SHOW SHARDS")? {
            let id = series.columns.iter().position(|name| name == "id");
            for row in &series.rows {
                let id = id.and_then(|at| row.get(at)?.as_u64());
                let (database, policy) = (
                    series.text(row, "database"),
                    series.text(row, "retention_policy"),
                );
                if let (Some(id), Some(database), Some(policy)) = (id, database, policy) {
                    shards.insert(ShardPath {
                        database: database.into(),
                        retention_policy: policy.into(),
                        id,
                    });
                }
            }
        }
        let mut databases = BTreeSet::new();
        for series in api.query("SHOW DATABASES")? {
            let names = series
                .rows
                .iter()
                .filter_map(|row| series.text(row, "name"));
            databases.extend(names.map(str::to_owned));
        }
        Ok(Self { shards, databases })
    }

    /// Something that this server has and the other has not.
    fn beyond(&self, other: &Self) -> Option<String> {
        let shard = self.shards.difference(&other.shards).next();
        let database = || self.databases.difference(&other.databases).next();
        match shard {
            Some(shard) => Some(format!("shard {shard}")),
            None => database().map(|name| format!("database '{name}'")),
        }
    }
}

/// Refuses an HTTP API of another server than the one with the metastore `data`: points and users
/// would come into that.
///
/// # Errors
///
/// [`ErrorKind::Refused`] where one has shards or databases that the other has not; those of asking.
pub(super) fn ensure_same_server(api: &HttpApi, live: &Live<'_>, data: &Data) -> Result<()> {
    api.version()?;
    let (url, snapshotter) = (api.url().to_string(), live.client.address().to_string());
    let (by_metastore, by_api) = (Inventory::of_metastore(data), Inventory::of_api(api)?);
    let different = |first: &str, second: &str, what: &str| {
        let message =
            format!("{first} and {second} are different servers: only the second has {what}");
        let error = ErrorKind::Refused.error(message);
        Err(error
            .hint("-host and -http have to name the same influxd")
            .into())
    };
    if by_metastore == by_api {
        return Ok(());
    }
    // What one has more may have been made or dropped between the two questions: so the first is
    // asked once more.
    let again = Inventory::of_metastore(&live.metastore()?);
    if let Some(what) = by_metastore.common(&again).beyond(&by_api) {
        return different(&url, &snapshotter, &what);
    }
    if let Some(what) = by_api.beyond(&by_metastore.any(&again)) {
        return different(&snapshotter, &url, &what);
    }
    Ok(())
}
