//! The types that fields have, besides those of values that were deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fields::{Field, FieldSet};
use super::super::index::{IndexError, IndexWalk, Key};
use super::super::tombstone::Deletes;
use super::super::values::ValueType;
use super::key_filter::{BlockFate, KeyFilter};
use crate::io::read_at::ReadAt;
use crate::time::Bounds;

/// Hands each of the fields that a file has values of, which were not deleted, with their type to
/// `each`.
///
/// # Errors
///
/// When the index is damaged, or the deletes cannot be read.
pub(crate) fn living_fields(
    file: &(impl ReadAt + ?Sized),
    fields: &BTreeSet<Field>,
    deletes: &mut impl Deletes,
    mut each: impl FnMut(&Field, ValueType),
) -> Result<(), IndexError> {
    let read = |source| IndexError::Read { offset: 0, source };
    let mut walk = IndexWalk::open(file)?;
    let mut key_filter = KeyFilter::new(Bounds::ANY);
    while let Some(key) = walk.next_key()? {
        let Some(field) = Field::of(key.bytes).filter(|field| fields.contains(field)) else {
            continue;
        };
        let value_type = key.value_type;
        key_filter.load(&key, deletes).map_err(read)?;
        let mut lives = false;
        while let Some(entry) = walk.next_entry()? {
            lives |= key_filter.fate(&entry, deletes).map_err(read)? != BlockFate::Dropped;
        }
        if lives {
            each(&field, value_type);
        }
    }
    Ok(())
}

/// Adds the fields that a file has values of, which were not deleted.
///
/// # Errors
///
/// When the index is damaged, or the deletes cannot be read; when there are too many fields.
pub(crate) fn add_living_fields(
    file: &(impl ReadAt + ?Sized),
    deletes: &mut impl Deletes,
    fields: &mut FieldSet,
) -> Result<(), IndexError> {
    let read = |source| IndexError::Read { offset: 0, source };
    let mut walk = IndexWalk::open(file)?;
    let mut key_filter = KeyFilter::new(Bounds::ANY);
    let mut bytes = Vec::new();
    while let Some(key) = walk.next_key()? {
        if fields.has_field_of(&key) {
            continue;
        }
        let value_type = key.value_type;
        bytes.clear();
        bytes.extend_from_slice(key.bytes);
        key_filter.load(&key, deletes).map_err(read)?;
        let mut lives = false;
        while let Some(entry) = walk.next_entry()? {
            lives |= key_filter.fate(&entry, deletes).map_err(read)? != BlockFate::Dropped;
        }
        if lives {
            fields.add_field_of(&bytes, value_type).map_err(read)?;
        }
    }
    Ok(())
}

/// The fields of a shard that had other types before, with the type that they have.
pub(crate) type NewTypes = BTreeMap<Field, ValueType>;

/// Whether the values of a key are not of the type that its field has.
pub(in crate::tsm) fn has_other_type(key: &Key<'_>, new_types: &NewTypes) -> bool {
    !new_types.is_empty()
        && Field::of(key.bytes)
            .and_then(|field| new_types.get(&field))
            .is_some_and(|new| *new != key.value_type)
}
