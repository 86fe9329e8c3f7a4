//! Whether the shards that are put together agree on the types of their fields.
//!
//! A field has one type in a shard, and may have another in the next: influxd takes a new one after
//! the old shards went, say. In one shard, it would hide the values of one of them, or not open it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use super::check::{RestoreChecks, too_many_fields};
use super::checked_shard::CheckedShard;
use super::members::ShardMembers;
use super::occupied::{parts_with_points, without_empty};
use super::regrouping::TargetShard;
use super::selection::RestoreSelection;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::io::scratch::scratch_error;
use crate::repository::Catalog;
use crate::text::name_list;
use crate::tsm::fields::{Field, FieldTypes};
use crate::tsm::filter::{LeftOut, living_fields};
use crate::tsm::stem;
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::values::ValueType;

/// The types that the fields of a shard have, by their bytes.
pub(super) type TypesOfShard = BTreeMap<Field, BTreeSet<u8>>;

/// What collects the types of the fields of all shards, where they are put together.
pub(super) fn types_of_all(
    what: &RestoreSelection,
    scratch: &Path,
) -> Option<Arc<Mutex<FieldTypes>>> {
    let types = || Arc::new(Mutex::new(FieldTypes::new(scratch.to_owned())));
    what.shard_duration.map(|_| types())
}

/// Refuses shards of which a field has one type, and in others that come into the same shard
/// another. `types_of` looks which types some fields have in a shard; it is asked only where any has
/// several.
///
/// # Errors
///
/// [`ErrorKind::Refused`] with the fields; those of reading.
pub(super) fn ensure_one_type(
    targets: &[TargetShard],
    shards: &[CheckedShard],
    checks: &RestoreChecks,
    mut types_of: impl FnMut(usize, &CheckedShard, &BTreeSet<Field>) -> Result<TypesOfShard>,
) -> Result<()> {
    let fields = several_types(targets, checks)?;
    if fields.is_empty() {
        return Ok(());
    }
    let together = targets.iter().filter(|target| target.parts.len() > 1);
    let together: BTreeSet<u64> = together.flat_map(TargetShard::sources).collect();
    let mut known = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        if together.contains(&shard.source.id) {
            known.insert(shard.source.id, types_of(index, shard, &fields)?);
        }
    }
    let mut conflicts = BTreeMap::new();
    for target in targets {
        for (field, said) in conflicts_in(target, &known) {
            conflicts.entry(field).or_insert(said);
        }
    }
    if conflicts.is_empty() {
        return Ok(());
    }
    let conflicts: Vec<String> = conflicts
        .into_iter()
        .map(|(field, said)| format!("{field} ({said})"))
        .collect();
    Err(ErrorKind::Refused
        .error(format!(
            "these shards cannot be put together, as a field has one type in a shard: {}",
            name_list(&conflicts)
        ))
        .hint(
            "a -shard-duration that leaves them apart works, or -measurement without it; without -shard-duration all comes \
             back as it was",
        )
        .into())
}

/// The fields that have several types in all of the shards, if shards are put together.
fn several_types(targets: &[TargetShard], checks: &RestoreChecks) -> Result<BTreeSet<Field>> {
    let Some(types) = &checks.types else {
        return Ok(BTreeSet::new());
    };
    if targets.iter().all(|target| target.parts.len() < 2) {
        return Ok(BTreeSet::new());
    }
    let mut types = types.lock().unwrap_or_else(PoisonError::into_inner);
    let none = FieldTypes::new(checks.scratch.clone());
    let several = std::mem::replace(&mut *types, none).several(None);
    let several = several.map_err(|error| scratch_error(&checks.scratch, error))?;
    several.ok_or_else(|| too_many_fields("the shards that are put together"))
}

/// Fields that have one type in a part of a shard, and another in others, and where.
pub(super) fn conflicts_in<'a>(
    target: &TargetShard,
    known: &'a BTreeMap<u64, TypesOfShard>,
) -> BTreeMap<&'a Field, String> {
    let mut first: BTreeMap<&Field, (u8, u64)> = BTreeMap::new();
    let mut conflicts = BTreeMap::new();
    for id in target.sources() {
        for (field, types) in known.get(&id).into_iter().flatten() {
            for of_type in types {
                let (known, of) = *first.entry(field).or_insert((*of_type, id));
                if known != *of_type && of != id {
                    let (known, other) = (type_name(known), type_name(*of_type));
                    let said = format!("{known} in shard {of}, {other} in shard {id}");
                    conflicts.entry(field).or_insert(said);
                }
            }
        }
    }
    conflicts
}

pub(super) fn type_name(byte: u8) -> String {
    ValueType::from_byte(byte).map_or_else(|| byte.to_string(), |value_type| value_type.to_string())
}

/// The types that some fields have in those files of a shard that are wanted, besides what `deletes`
/// say was deleted, and what of the shard is left out.
///
/// # Errors
///
/// When the files cannot be read.
pub(super) fn living_types(
    members: &ShardMembers<'_>,
    shard: &CheckedShard,
    fields: &BTreeSet<Field>,
    deletes: &BTreeMap<String, BoundedDeletes>,
    wants: impl Fn(&str) -> bool,
) -> Result<TypesOfShard> {
    let none = BoundedDeletes::default();
    let mut found = TypesOfShard::new();
    members.each(
        |name| name.ends_with(".tsm") && wants(name),
        |_, passed| {
            let deletes = deletes.get(stem(passed.name)).unwrap_or(&none);
            let mut left_out = LeftOut::new(deletes.reader(), &shard.new_types, &shard.series);
            let each = |field: &Field, value_type: ValueType| {
                let types = found.entry(field.clone()).or_default();
                types.insert(value_type.byte());
            };
            living_fields(passed.content, fields, &mut left_out, each)
                .map_err(std::io::Error::other)
        },
    )?;
    Ok(found)
}

/// Reads shards where they lie in the backup.
pub(super) struct OfBackup<'a> {
    pub catalog: &'a Catalog,
    pub scratch: &'a Path,
    pub apply_deletes: bool,
    pub stop: &'a Cancel,
}

impl OfBackup<'_> {
    /// The types that some fields have in what is restored of a shard.
    ///
    /// # Errors
    ///
    /// When the files cannot be read.
    pub(super) fn types(
        &self,
        shard: &CheckedShard,
        fields: &BTreeSet<Field>,
    ) -> Result<TypesOfShard> {
        let members = self.members(shard);
        let deletes = match self.apply_deletes {
            true => members.deletes()?,
            false => BTreeMap::new(),
        };
        living_types(&members, shard, fields, &deletes, |_| true)
    }

    /// Leaves out parts without a point, and shards of the target that have no others.
    ///
    /// # Errors
    ///
    /// When the files cannot be read.
    pub(super) fn without_empty(
        &self,
        targets: Vec<TargetShard>,
        shards: &[CheckedShard],
    ) -> Result<Vec<TargetShard>> {
        without_empty(targets, shards, |_, shard, parts| {
            parts_with_points(&self.members(shard), parts, |_| true)
        })
    }

    pub(super) fn members<'b>(&'b self, shard: &'b CheckedShard) -> ShardMembers<'b> {
        ShardMembers {
            catalog: self.catalog,
            shard: &shard.source,
            sources: &shard.sources,
            files: &shard.files,
            unpacked: None,
            scratch: self.scratch,
            stop: self.stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore::regroup::GroupPart;

    fn target(parts: &[u64]) -> TargetShard {
        let part = |shard: &u64| GroupPart {
            shard: *shard,
            bounds: None,
        };
        TargetShard::of_test(parts.iter().map(part).collect())
    }

    #[test]
    fn only_shards_that_are_put_together_have_to_agree() {
        let field = Field::of(b"m,h=a#!~#v").unwrap();
        let of = |types: &[ValueType]| {
            let types = types.iter().map(|of| of.byte()).collect();
            TypesOfShard::from([(field.clone(), types)])
        };
        use ValueType::{Float, Integer};
        let known = BTreeMap::from([
            (1, of(&[Float])),
            (2, of(&[Integer])),
            (3, of(&[Float])),
            // What disagrees within a shard is told elsewhere.
            (4, of(&[Float, Integer])),
            (5, TypesOfShard::new()),
        ]);
        for (parts, agree) in [
            (&[1, 3, 5][..], true),
            (&[1], true),
            (&[4], true),
            (&[1, 2], false),
            (&[3, 5, 2], false),
            (&[1, 4], false),
        ] {
            let conflicts = conflicts_in(&target(parts), &known);
            assert_eq!(conflicts.is_empty(), agree, "{parts:?}");
        }
        let said = conflicts_in(&target(&[1, 2]), &known).remove(&field);
        let expected = "float in shard 1, integer in shard 2";
        assert_eq!(said.as_deref(), Some(expected));
    }
}
