//! What is on the server before the merge: the types of its fields.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::http_api::HttpApi;
use crate::metastore::influxql::identifier;
use crate::tsm::fields::Field;
use crate::tsm::values::ValueType;

/// The types that the fields of a policy have on the server, by their bytes.
pub(super) type TypesOnServer = BTreeMap<Field, BTreeSet<u8>>;

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
