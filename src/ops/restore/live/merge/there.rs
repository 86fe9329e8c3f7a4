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
/// [`ErrorKind::Refused`] where it does not list the shards of the metastore; those of asking.
pub(super) fn ensure_same_server(api: &HttpApi, data: &Data, snapshotter: &str) -> Result<()> {
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
    let rows = || {
        databases
            .iter()
            .flat_map(|series| series.rows.iter().map(move |row| (series, row)))
    };
    let has = |name: &str| rows().any(|(series, row)| series.text(row, "name") == Some(name));
    let missing = data.databases.iter().find(|database| !has(&database.name));
    let what = match (unlisted, missing) {
        (None, None) => return Ok(()),
        (Some(shard), _) => format!("shard {}", shard.path),
        (None, Some(database)) => format!("database '{}'", database.name),
    };
    Err(ErrorKind::Refused
        .error(format!(
            "{} and {snapshotter} are different servers: only the second has {what}",
            api.url()
        ))
        .hint("-host and -http have to name the same influxd")
        .into())
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
