//! What is on the server before the merge: whether both ways to it lead to one server, and the
//! types of its fields.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::http_api::HttpApi;
use crate::metastore::Data;
use crate::metastore::influxql::identifier;
use crate::shard::ShardPath;
use crate::tsm::fields::Field;
use crate::tsm::values::ValueType;

/// The types that the fields of a policy have on the server, by their bytes.
pub(super) type TypesOnServer = BTreeMap<Field, BTreeSet<u8>>;

/// Refuses an HTTP API of another server than the one with the metastore `data`: points would come
/// into that.
///
/// # Errors
///
/// [`ErrorKind::Refused`] where one has shards or databases that the other has not; those of asking.
/// `again` reads the metastore once more, where the API has what was made meanwhile.
pub(super) fn ensure_same_server(
    api: &HttpApi,
    data: &Data,
    snapshotter: &str,
    again: impl FnOnce() -> Result<Data>,
) -> Result<()> {
    api.version()?;
    let listed = api.query("SHOW SHARDS")?;
    let mut known = BTreeSet::new();
    for series in &listed {
        let id = series.columns.iter().position(|name| name == "id");
        for row in &series.rows {
            let id = id.and_then(|at| row.get(at)?.as_u64());
            let (database, policy) = (
                series.text(row, "database"),
                series.text(row, "retention_policy"),
            );
            if let (Some(id), Some(database), Some(policy)) = (id, database, policy) {
                known.insert((id, database.to_owned(), policy.to_owned()));
            }
        }
    }
    let is_listed = |path: &ShardPath| {
        let (database, policy) = (path.database.to_string(), path.retention_policy.to_string());
        known.contains(&(path.id, database, policy))
    };
    let unlisted = data.live_shards().find(|shard| !is_listed(&shard.path));
    let databases = api.query("SHOW DATABASES")?;
    let rows = databases
        .iter()
        .flat_map(|series| series.rows.iter().map(move |row| (series, row)));
    let named: BTreeSet<&str> = rows
        .filter_map(|(series, row)| series.text(row, "name"))
        .collect();
    let mut missing = data.databases.iter();
    let missing = missing.find(|database| !named.contains(&*database.name));
    let different = |first: &str, second: &str, what: String| {
        Err(ErrorKind::Refused
            .error(format!(
                "{first} and {second} are different servers: only the second has {what}"
            ))
            .hint("-host and -http have to name the same influxd")
            .into())
    };
    let url = api.url().to_string();
    match (unlisted, missing) {
        (None, None) => {}
        (Some(shard), _) => return different(&url, snapshotter, format!("shard {}", shard.path)),
        (None, Some(database)) => {
            return different(&url, snapshotter, format!("database '{}'", database.name));
        }
    }
    let unknown_to = |data: &Data| {
        let shards: BTreeSet<(u64, String, String)> = data
            .live_shards()
            .map(|shard| {
                let ShardPath {
                    database,
                    retention_policy,
                    id,
                } = shard.path;
                (id, database.to_string(), retention_policy.to_string())
            })
            .collect();
        let shard = known.iter().find(|shard| !shards.contains(*shard));
        let shard = shard.map(|(id, database, policy)| format!("shard {database}/{policy}/{id}"));
        let mut databases = named.iter();
        let database = databases.find(|name| data.database(name).is_none());
        shard.or_else(|| database.map(|name| format!("database '{name}'")))
    };
    if unknown_to(data).is_some()
        && let Some(what) = unknown_to(&again()?)
    {
        return different(snapshotter, &url, what);
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
