//! What is on the server before the merge: whether both ways to it lead to one server, and the
//! types of its fields.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::http_api::HttpApi;
use crate::metastore::Data;
use crate::metastore::influxql::identifier;
use crate::ops::restore::live::target::Live;
use crate::shard::ShardPath;
use crate::tsm::fields::Field;
use crate::tsm::values::ValueType;

/// The types that the fields of a policy have on the server, by their bytes.
pub(super) type TypesOnServer = BTreeMap<Field, BTreeSet<u8>>;

/// The shards and the databases of a server.
#[derive(Debug, Default)]
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

/// Refuses an HTTP API of another server than the one with the metastore `data`: points would come
/// into that.
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
    if let Some(what) = by_metastore.beyond(&by_api) {
        return different(&url, &snapshotter, &what);
    }
    // What the API has more may have been made meanwhile.
    if by_api.beyond(&by_metastore).is_some() {
        let by_metastore = Inventory::of_metastore(&live.metastore()?);
        if let Some(what) = by_api.beyond(&by_metastore) {
            return different(&snapshotter, &url, &what);
        }
    }
    Ok(())
}

/// Asks for the fields of a policy and their types, in all of its shards.
///
/// # Errors
///
/// Those of asking; for a type that no influxd has.
pub(super) fn types_of(api: &HttpApi, database: &str, policy: &str) -> Result<TypesOnServer> {
    let statement = format!(
        "SHOW FIELD KEYS ON {} FROM {}./.*/",
        identifier(database),
        identifier(policy)
    );
    let mut types = TypesOnServer::new();
    for series in api.query(&statement)? {
        for row in &series.rows {
            let (field, name) = (series.text(row, "fieldKey"), series.text(row, "fieldType"));
            let of_name = |name: &str| {
                let mut all = ValueType::ALL.into_iter();
                all.find(|value_type| value_type.to_string() == name)
            };
            let (Some(field), Some(of_type)) = (field, name.and_then(of_name)) else {
                return Err(odd(api).into());
            };
            let types = types.entry(Field::named(&series.name, field)).or_default();
            types.insert(of_type.byte());
        }
    }
    Ok(types)
}

fn odd(api: &HttpApi) -> Error {
    ErrorKind::Failed.error(format!(
        "{} names a field without a type that influxd has",
        api.url()
    ))
}
