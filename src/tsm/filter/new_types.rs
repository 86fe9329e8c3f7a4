//! Leaving out values of types that their fields have no more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::super::fields::Field;
use super::super::index::{IndexError, IndexWalk, Key};
use super::super::tombstone::{DeletedRange, Deletes};
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

/// The fields of a shard that had other types before, with the type that they have.
pub(crate) type NewTypes = BTreeMap<Field, ValueType>;

/// Whether the values of a key are not of the type that its field has.
pub(in crate::tsm) fn has_other_type(key: &Key<'_>, new_types: &NewTypes) -> bool {
    !new_types.is_empty()
        && Field::of(key.bytes)
            .and_then(|field| new_types.get(&field))
            .is_some_and(|new| *new != key.value_type)
}

/// Deletes, and with them all values of fields that are not of the type that the field has.
#[derive(Debug)]
pub(crate) struct OfOtherTypes<'a, D> {
    deletes: D,
    new_types: &'a NewTypes,
    /// Whether the whole key is to go, and that was not said yet.
    whole: Option<bool>,
}

impl<'a, D: Deletes> OfOtherTypes<'a, D> {
    /// Adds to `deletes`.
    pub(super) fn new(deletes: D, new_types: &'a NewTypes) -> Self {
        Self {
            deletes,
            new_types,
            whole: None,
        }
    }
}

impl<D: Deletes> Deletes for OfOtherTypes<'_, D> {
    fn begin(&mut self, key: &Key<'_>) -> io::Result<()> {
        self.whole = has_other_type(key, self.new_types).then_some(true);
        self.deletes.begin(key)
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        match &mut self.whole {
            Some(to_say) => Ok(std::mem::take(to_say).then_some((i64::MIN, i64::MAX))),
            None => self.deletes.next_range(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fields::tests::file as fields_file;
    use super::super::super::tombstone::DeletedRanges;
    use super::*;

    #[test]
    fn what_was_deleted_is_of_no_type_and_what_is_of_another_goes_whole() {
        use ValueType::{Float, Integer};
        let file = fields_file(&[
            ("m,h=a#!~#v", Float),
            ("m,h=b#!~#v", Integer),
            ("n#!~#v", Float),
        ]);
        let field = Field::of(b"m#!~#v").unwrap();
        let fields = BTreeSet::from([field.clone()]);
        let living = |max| {
            let deletes: DeletedRanges = [(&b"m,h=a#!~#v"[..], (0, max))].into_iter().collect();
            let mut found = Vec::new();
            living_fields(
                &file[..],
                &fields,
                &mut deletes.reader(),
                |_, value_type| found.push(value_type),
            )
            .unwrap();
            found
        };
        assert_eq!(living(6), [Float, Integer]);
        assert_eq!(living(7), [Integer]);
        let new_types = NewTypes::from([(field, Integer)]);
        let mut out = Vec::new();
        let mut left_out = OfOtherTypes::new((), &new_types);
        super::super::rewrite(&file[..], &mut left_out, Bounds::ANY, &mut out).unwrap();
        assert!(out == fields_file(&[("m,h=b#!~#v", Integer), ("n#!~#v", Float)]));
    }
}
