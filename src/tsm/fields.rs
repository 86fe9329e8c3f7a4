//! The fields of a shard and their types: influxd gives a field of a measurement one type in a
//! shard, in whatever series it is.
//!
//! Where the files of a shard disagree, influxd 1.6.7 does not open the shard ("field type
//! conflict"), or, where they have the same series, hides the values of one of the files, which
//! with some orders of the files are those of both. A field gets another type when all its points
//! were deleted, and until a compaction the old ones are there beside a tombstone.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::index::{IndexError, IndexWalk, Key};
use super::series::{SEPARATOR, split_key};
use super::sort::{SortedEvent, Sorter};
use super::values::{ValueRef, ValueType};
use crate::io::read_at::ReadAt;

/// How many bytes of names are held in memory, near enough; more are sorted on the disk.
const HELD_BYTES: usize = 2 << 20;
/// What a field takes besides its name.
const FIELD_BYTES: usize = 48;
/// The most bytes of names of fields that have several types.
const MOST_CONFLICT_BYTES: usize = 4 << 20;
/// The most bytes of a set of fields.
const MOST_SET_BYTES: usize = 64 << 20;

/// A field of a measurement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field(Box<[u8]>);

impl Field {
    /// That of a key; none where the key names none.
    pub fn of(key: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        put_field(key, &mut bytes)?;
        Some(Self(bytes.into()))
    }

    /// A field by its name and that of its measurement, which are not escaped.
    pub(crate) fn named(measurement: &str, field: &str) -> Self {
        let mut bytes = Vec::new();
        for byte in measurement.bytes() {
            if matches!(byte, b',' | b' ') {
                bytes.push(b'\\');
            }
            bytes.push(byte);
        }
        bytes.extend_from_slice(SEPARATOR);
        bytes.extend_from_slice(field.as_bytes());
        Self(bytes.into())
    }

    /// The measurement, escaped, and the field as they stand in keys.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Field {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Puts the measurement and the field of a key in the place of what is in `out`, as
/// [`Field::bytes`] has them.
pub(crate) fn put_field(key: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (series, field) = split_key(key);
    let field = field?;
    out.clear();
    for part in [series.escaped_measurement(), SEPARATOR, field] {
        out.extend_from_slice(part);
    }
    Some(())
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (series, field) = split_key(&self.0);
        let measurement = series.measurement();
        let measurement = String::from_utf8_lossy(&measurement);
        let field = String::from_utf8_lossy(field.unwrap_or_default());
        write!(f, "field '{field}' of measurement '{measurement}'")
    }
}

/// Fields and their types. Too many are an error.
#[derive(Debug, Default)]
pub(crate) struct FieldSet {
    fields: HashMap<Field, TypeSet>,
    bytes: usize,
    /// Memory for the field of a key.
    field: Vec<u8>,
}

impl FieldSet {
    /// Whether it has the field with these [bytes](Field::bytes).
    pub(crate) fn contains(&self, field: &[u8]) -> bool {
        self.fields.contains_key(field)
    }

    /// Whether it has the field with these [bytes](Field::bytes) with another type.
    pub(crate) fn has_other_type(&self, field: &[u8], value_type: ValueType) -> bool {
        let mut only = TypeSet::default();
        only.add(value_type);
        self.fields.get(field).is_some_and(|types| *types != only)
    }

    /// Whether it has the field of a key with the key's type; also where the key names none.
    pub(crate) fn has_field_of(&mut self, key: &Key<'_>) -> bool {
        put_field(key.bytes, &mut self.field).is_none()
            || self
                .fields
                .get(&self.field[..])
                .is_some_and(|types| types.has(key.value_type))
    }

    /// Adds the field of a key, given by its bytes, and its type.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub(crate) fn add_field_of(&mut self, key: &[u8], value_type: ValueType) -> io::Result<()> {
        if let Some(field) = Field::of(key) {
            self.bytes += field.0.len() + FIELD_BYTES;
            self.fields.entry(field).or_default().add(value_type);
        }
        match self.bytes > MOST_SET_BYTES {
            true => Err(io::Error::other("the shard has too many fields to be held")),
            false => Ok(()),
        }
    }
}

/// Some of the types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TypeSet(u8);

impl TypeSet {
    pub(super) fn add(&mut self, value_type: ValueType) {
        self.0 |= 1 << value_type.byte();
    }

    pub(super) fn has(self, value_type: ValueType) -> bool {
        self.0 & 1 << value_type.byte() != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = ValueType> {
        let all = ValueType::ALL.into_iter();
        all.filter(move |value_type| self.has(*value_type))
    }

    pub(super) fn are_several(self) -> bool {
        self.0.count_ones() > 1
    }
}

/// Collects the types that the fields of a shard have in its files. Takes some mebibytes of memory,
/// however many there are.
#[derive(Debug)]
pub(crate) struct FieldTypes {
    scratch: PathBuf,
    few: HashMap<Box<[u8]>, TypeSet>,
    bytes: usize,
    many: Option<Sorter>,
    field: Vec<u8>,
}

impl FieldTypes {
    /// None yet. Many fields are sorted in a file without a name in `scratch`.
    pub(crate) fn new(scratch: PathBuf) -> Self {
        Self {
            scratch,
            few: HashMap::new(),
            bytes: 0,
            many: None,
            field: Vec::new(),
        }
    }

    /// Walks the index of a file to its end.
    ///
    /// # Errors
    ///
    /// The first fault of the index.
    pub(crate) fn add_file(&mut self, file: &(impl ReadAt + ?Sized)) -> Result<(), IndexError> {
        let mut walk = IndexWalk::open(file)?;
        while let Some(key) = walk.next_key()? {
            self.add(&key)
                .map_err(|source| IndexError::Read { offset: 0, source })?;
        }
        Ok(())
    }

    /// Adds the field of a key.
    ///
    /// # Errors
    ///
    /// When there are many, and they cannot be sorted on the disk.
    pub(crate) fn add(&mut self, key: &Key<'_>) -> io::Result<()> {
        let mut field = std::mem::take(&mut self.field);
        let added = match put_field(key.bytes, &mut field) {
            Some(()) => {
                let mut types = TypeSet::default();
                types.add(key.value_type);
                self.add_types(&field, types)
            }
            None => Ok(()),
        };
        self.field = field;
        added
    }

    fn add_types(&mut self, field: &[u8], types: TypeSet) -> io::Result<()> {
        if let Some(known) = self.few.get_mut(field) {
            known.0 |= types.0;
            return Ok(());
        }
        if self.bytes + field.len() + FIELD_BYTES > HELD_BYTES {
            self.spill()?;
        }
        self.bytes += field.len() + FIELD_BYTES;
        self.few.insert(field.into(), types);
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let sorter = match &mut self.many {
            Some(sorter) => sorter,
            none => none.insert(Sorter::new(&self.scratch, HELD_BYTES)),
        };
        for (field, types) in self.few.drain() {
            sorter.push(
                &field,
                0,
                SortedEvent::Write(ValueRef::Integer(types.0.into())),
            )?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The fields that have several types; none where there are more than can be dealt with.
    /// Where `all` is given, all fields and their types are added to it.
    ///
    /// # Errors
    ///
    /// When they cannot be sorted on the disk.
    pub(crate) fn several(
        mut self,
        mut all: Option<&mut Self>,
    ) -> io::Result<Option<BTreeSet<Field>>> {
        let mut found = Several::default();
        let mut pass_on = |field: &[u8], types| match &mut all {
            Some(all) => all.add_types(field, types),
            None => Ok(()),
        };
        if self.many.is_some() {
            self.spill()?;
        }
        match self.many {
            None => {
                for (field, types) in self.few {
                    found.add(&field, types);
                    pass_on(&field, types)?;
                }
            }
            Some(sorter) => sorter.finish(|field, _, _, event| -> io::Result<()> {
                if let SortedEvent::Write(ValueRef::Integer(types)) = event {
                    found.add_sorted(field, TypeSet(types as u8));
                    pass_on(field, TypeSet(types as u8))?;
                }
                Ok(())
            })?,
        }
        Ok(found.finish())
    }
}

/// Collects the fields with several types.
#[derive(Default)]
struct Several {
    fields: BTreeSet<Field>,
    bytes: usize,
    /// The field that comes in parts, and its types so far.
    last: (Vec<u8>, TypeSet),
}

impl Several {
    fn add(&mut self, field: &[u8], types: TypeSet) {
        if types.are_several() && self.bytes <= MOST_CONFLICT_BYTES {
            self.bytes += field.len() + FIELD_BYTES;
            self.fields.insert(Field(field.into()));
        }
    }

    fn add_sorted(&mut self, field: &[u8], types: TypeSet) {
        if self.last.0 != field {
            let (last, of_last) = std::mem::take(&mut self.last);
            self.add(&last, of_last);
            self.last.0.extend_from_slice(field);
        }
        self.last.1.0 |= types.0;
    }

    fn finish(mut self) -> Option<BTreeSet<Field>> {
        let (last, of_last) = std::mem::take(&mut self.last);
        self.add(&last, of_last);
        (self.bytes <= MOST_CONFLICT_BYTES).then_some(self.fields)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::values::{Points, Values};
    use super::super::writer::tests::write_all;
    use super::*;

    fn points(value_type: ValueType) -> Points {
        Points {
            times: vec![5, 7],
            values: match value_type {
                ValueType::Float => Values::Float(vec![1.0, 2.0]),
                _ => Values::Integer(vec![1, 2]),
            },
        }
    }

    pub(in crate::tsm) fn file(keys: &[(&str, ValueType)]) -> Vec<u8> {
        let keys: Vec<_> = keys
            .iter()
            .map(|(key, value_type)| (key.as_bytes().to_vec(), vec![points(*value_type)]))
            .collect();
        write_all(&keys)
    }

    fn names(fields: &BTreeSet<Field>) -> Vec<String> {
        fields.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_field_is_one_of_a_measurement_whatever_the_tags() {
        let field = |key: &str| Field::of(key.as_bytes()).map(|field| field.to_string());
        let named = |text: &str| Some(text.to_owned());
        assert_eq!(field("m#!~#v"), named("field 'v' of measurement 'm'"));
        assert_eq!(field("m,h=a#!~#v"), field("m#!~#v"));
        assert_eq!(
            field("a\\,b\\ c,h=x\\,y#!~#v#!~#w"),
            named("field 'v#!~#w' of measurement 'a,b c'")
        );
        assert_eq!(field("m,h=a"), None);
        let of_key = Field::of(b"a\\,b\\ c,h=x#!~#v w").unwrap();
        assert_eq!(Field::named("a,b c", "v w"), of_key);
    }

    #[test]
    fn a_field_with_two_types_is_found_in_one_series_or_several_and_among_very_many() {
        use ValueType::{Float, Integer};
        let one = file(&[
            ("m,h=a#!~#v", Float),
            ("m,h=a#!~#w", Float),
            ("n#!~#v", Integer),
        ]);
        let same = file(&[("m,h=a#!~#v", Integer)]);
        let other = file(&[("m#!~#w", Integer), ("n,h=a#!~#v", Integer)]);
        let many: Vec<String> = (0..80_000).map(|nth| format!("m{nth:05}#!~#v")).collect();
        let many: Vec<(&str, ValueType)> = many.iter().map(|key| (key.as_str(), Float)).collect();
        let many = file(&many);
        let scratch = tempfile::tempdir().unwrap();
        for others in [0, 1] {
            let mut types = FieldTypes::new(scratch.path().to_owned());
            let between = std::iter::repeat_n(&many, others);
            for file in [&one].into_iter().chain(between).chain([&same, &other]) {
                types.add_file(&file[..]).unwrap();
            }
            assert_eq!(types.many.is_some(), others > 0);
            let mut all = FieldTypes::new(scratch.path().to_owned());
            all.add_file(&file(&[("n#!~#v", Float)])[..]).unwrap();
            let found = types.several(Some(&mut all)).unwrap().unwrap();
            let expected = [
                "field 'v' of measurement 'm'",
                "field 'w' of measurement 'm'",
            ];
            assert_eq!(names(&found), expected);
            let of_all = all.several(None).unwrap().unwrap();
            let more = ["field 'v' of measurement 'n'"];
            assert_eq!(names(&of_all), [&expected[..], &more].concat());
        }
        let mut types = FieldTypes::new(scratch.path().to_owned());
        types.add_file(&many[..]).unwrap();
        let text: Vec<String> = (0..80_000)
            .map(|nth| format!("m{nth:05},h=a#!~#v"))
            .collect();
        let again: Vec<(&str, ValueType)> =
            text.iter().map(|key| (key.as_str(), Integer)).collect();
        types.add_file(&file(&again)[..]).unwrap();
        assert!(
            types.several(None).unwrap().is_none(),
            "too many to be held"
        );
    }
}
