//! The columns of tables: what each tag and field is called, and which values it takes.

use crate::shard::Name;
use crate::tsm::values::ValueType;

/// The column of the times.
pub(super) const TIME: &str = "time";

/// The table of a measurement of a retention policy.
#[derive(Debug)]
pub(super) struct TableLayout {
    pub database: Name,
    pub policy: Name,
    pub measurement: Box<[u8]>,
    pub tags: Vec<TagColumn>,
    pub fields: Vec<FieldColumn>,
}

/// The column of a tag.
#[derive(Debug)]
pub(super) struct TagColumn {
    pub key: Box<[u8]>,
    pub name: String,
}

/// A column of a field.
#[derive(Debug)]
pub(super) struct FieldColumn {
    pub key: Box<[u8]>,
    pub name: String,
    pub value_type: ValueType,
    /// Whether it takes values of its own type only, and others have another column.
    pub is_split: bool,
}

impl TableLayout {
    /// The column of a tag.
    pub(super) fn tag(&self, key: &[u8]) -> Option<usize> {
        self.tags
            .binary_search_by(|column| (*column.key).cmp(key))
            .ok()
    }

    /// The column of a field for values of a type.
    pub(super) fn field(&self, key: &[u8], value_type: ValueType) -> Option<usize> {
        let first = self.fields.partition_point(|column| &*column.key < key);
        let own = self.fields[first..].iter();
        let mut own = own.take_while(|column| &*column.key == key);
        let found = own.position(|column| match column.is_split {
            true => column.value_type == value_type,
            false => can_be_written(value_type, column.value_type),
        });
        found.map(|at| first + at)
    }

    /// The names of all columns, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let tags = self.tags.iter().map(|tag| tag.name.as_str());
        let fields = self.fields.iter().map(|field| field.name.as_str());
        [TIME].into_iter().chain(tags).chain(fields)
    }

    /// The measurement as text.
    pub(super) fn name(&self) -> String {
        text(&self.measurement)
    }

    /// The measurement with its database and policy.
    pub(super) fn place(&self) -> String {
        format!("{}/{}/{}", self.database, self.policy, self.name())
    }
}

/// A name as text; what is no text of it is replaced, as influxd answers it.
pub(super) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Whether values of a type can be written in a column of another.
pub(super) fn can_be_written(from: ValueType, to: ValueType) -> bool {
    use ValueType::{Boolean, Float, Integer, String, Unsigned};
    match to {
        String => true,
        Float | Integer => matches!(from, Float | Integer | Unsigned | Boolean),
        Unsigned | Boolean => from == to,
    }
}
