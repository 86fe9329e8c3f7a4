//! Fields that have one type in the backup and another on the server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::PoisonError;

use anyhow::Result;

use super::there::TypesOnServer;
use crate::io::scratch::scratch_error;
use crate::ops::restore::check::{RestoreChecks, too_many_fields};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::one_type::{OfBackup, TypesOfShard, conflicts_in, type_name};
use crate::ops::restore::regrouping::TargetShard;
use crate::tsm::fields::{Field, FieldTypes};
use crate::tsm::index::Key;
use crate::tsm::values::ValueType;

/// The types of fields on the server, by the policies that they are in: database and policy.
pub(super) type OnServer = HashMap<(String, String), TypesOnServer>;

/// The fields of which types are in each other's way, a sentence each: those of the backup and the
/// server, and those of shards of the backup that come into one shard.
///
/// # Errors
///
/// When the backup cannot be read.
pub(super) fn type_conflicts(
    on_server: &OnServer,
    targets: &[TargetShard],
    shards: &[CheckedShard],
    checks: &RestoreChecks,
    of_backup: &OfBackup<'_>,
) -> Result<Vec<String>> {
    let several = several_types(on_server, checks)?;
    if several.is_empty() {
        return Ok(Vec::new());
    }
    let mut known: BTreeMap<u64, TypesOfShard> = BTreeMap::new();
    for shard in shards {
        known.insert(shard.source.id, of_backup.types(shard, &several)?);
    }
    let mut told: BTreeMap<&Field, String> = BTreeMap::new();
    for shard in shards {
        let path = &shard.target;
        let policy = (path.database.to_string(), path.retention_policy.to_string());
        let Some(on_server) = on_server.get(&policy) else {
            continue;
        };
        for (field, types) in known.get(&shard.source.id).into_iter().flatten() {
            let Some(there) = on_server.get(field) else {
                continue;
            };
            if there != types {
                told.entry(field).or_insert_with(|| {
                    format!(
                        "{field} ({} in shard {} of the backup, {} in {}/{} on the server)",
                        names(types),
                        shard.source.id,
                        names(there),
                        path.database,
                        path.retention_policy
                    )
                });
            }
        }
    }
    for target in targets {
        for (field, said) in conflicts_in(target, &known) {
            told.entry(field)
                .or_insert_with(|| format!("{field} ({said} of the backup)"));
        }
    }
    Ok(told.into_values().collect())
}

/// The fields that have several types in the backup and on the server together.
fn several_types(on_server: &OnServer, checks: &RestoreChecks) -> Result<BTreeSet<Field>> {
    let none = || FieldTypes::new(checks.scratch.clone());
    let mut all = match &checks.types {
        None => none(),
        Some(types) => {
            let mut types = types.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *types, none())
        }
    };
    let scratch = |error| scratch_error(&checks.scratch, error);
    for (field, types) in on_server.values().flatten() {
        for value_type in types.iter().filter_map(|byte| ValueType::from_byte(*byte)) {
            let key = Key {
                bytes: field.bytes(),
                value_type,
                count: 1,
            };
            all.add(&key).map_err(scratch)?;
        }
    }
    let several = all.several(None).map_err(scratch)?;
    several.ok_or_else(|| too_many_fields("the backup and the server"))
}

/// `float and integer`.
fn names(types: &BTreeSet<u8>) -> String {
    let names: Vec<String> = types.iter().map(|byte| type_name(*byte)).collect();
    names.join(" and ")
}
