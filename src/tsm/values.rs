//! The points of a block, in memory: times, and values of one type in a piece of memory each.

use std::fmt;
use std::ops::Range;

/// The type of a block's values; the discriminant is the byte that stands in the block and in the
/// index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueType {
    /// `f64`.
    Float = 0,
    /// `i64`.
    Integer = 1,
    /// `bool`.
    Boolean = 2,
    /// Bytes, UTF-8 as a rule.
    String = 3,
    /// `u64`; only servers built with support for it write any.
    Unsigned = 4,
}

impl ValueType {
    /// Every type, in the order of their bytes.
    pub const ALL: [Self; 5] = [
        Self::Float,
        Self::Integer,
        Self::Boolean,
        Self::String,
        Self::Unsigned,
    ];

    /// The type that a byte stands for, or none.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The byte that stands for it.
    pub fn byte(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Unsigned => "unsigned",
        })
    }
}

/// A value of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// A float.
    Float(f64),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A string; its bytes are not checked.
    String(&'a [u8]),
    /// An unsigned integer.
    Unsigned(u64),
}

/// Values of one type, in the order of their timestamps.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `f64`; a block cannot hold the NaN with the bits `7FF8000000000001`, which ends it.
    Float(Vec<f64>),
    /// `i64`.
    Integer(Vec<i64>),
    /// `bool`.
    Boolean(Vec<bool>),
    /// Bytes, UTF-8 as a rule.
    String(Strings),
    /// `u64`.
    Unsigned(Vec<u64>),
}

impl Values {
    /// No values, of a type.
    pub fn new(value_type: ValueType) -> Self {
        match value_type {
            ValueType::Float => Self::Float(Vec::new()),
            ValueType::Integer => Self::Integer(Vec::new()),
            ValueType::Boolean => Self::Boolean(Vec::new()),
            ValueType::String => Self::String(Strings::new()),
            ValueType::Unsigned => Self::Unsigned(Vec::new()),
        }
    }

    /// Their type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Float(_) => ValueType::Float,
            Self::Integer(_) => ValueType::Integer,
            Self::Boolean(_) => ValueType::Boolean,
            Self::String(_) => ValueType::String,
            Self::Unsigned(_) => ValueType::Unsigned,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Integer(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::String(values) => values.len(),
            Self::Unsigned(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all values and keeps the type and the memory.
    pub fn clear(&mut self) {
        match self {
            Self::Float(values) => values.clear(),
            Self::Integer(values) => values.clear(),
            Self::Boolean(values) => values.clear(),
            Self::String(values) => values.clear(),
            Self::Unsigned(values) => values.clear(),
        }
    }

    /// Drops all values and becomes of a type; the memory is kept where the type stays.
    pub fn reset(&mut self, value_type: ValueType) {
        if self.value_type() == value_type {
            self.clear()
        } else {
            *self = Self::new(value_type)
        }
    }

    /// Adds those values of `other` at places of a range, if both are of one type and there are such
    /// values. Says whether it did.
    pub fn extend_from(&mut self, other: &Self, places: Range<usize>) -> bool {
        fn copy<T: Copy>(to: &mut Vec<T>, from: &[T], places: Range<usize>) -> bool {
            let values = from.get(places);
            to.extend_from_slice(values.unwrap_or_default());
            values.is_some()
        }
        match (self, other) {
            (Self::Float(to), Self::Float(from)) => copy(to, from, places),
            (Self::Integer(to), Self::Integer(from)) => copy(to, from, places),
            (Self::Boolean(to), Self::Boolean(from)) => copy(to, from, places),
            (Self::Unsigned(to), Self::Unsigned(from)) => copy(to, from, places),
            (Self::String(to), Self::String(from)) if places.end <= from.len() => {
                places.for_each(|at| to.push(from.get(at)));
                true
            }
            _ => false,
        }
    }

    /// Adds value `at` of `other`, if both are of one type and there is such a value. Says whether
    /// it did.
    pub fn push_from(&mut self, other: &Self, at: usize) -> bool {
        fn copy<T: Copy>(to: &mut Vec<T>, from: &[T], at: usize) -> bool {
            let value = from.get(at).copied();
            to.extend(value);
            value.is_some()
        }
        match (self, other) {
            (Self::Float(to), Self::Float(from)) => copy(to, from, at),
            (Self::Integer(to), Self::Integer(from)) => copy(to, from, at),
            (Self::Boolean(to), Self::Boolean(from)) => copy(to, from, at),
            (Self::Unsigned(to), Self::Unsigned(from)) => copy(to, from, at),
            (Self::String(to), Self::String(from)) if at < from.len() => {
                to.push(from.get(at));
                true
            }
            _ => false,
        }
    }
}

/// Byte strings in one piece of memory (influxd does not check that they are UTF-8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each ends in `bytes`; it begins where the one before ends.
    ends: Vec<usize>,
}

impl Strings {
    /// No strings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a string.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    /// String `at`.
    ///
    /// # Panics
    ///
    /// When there is none, as a slice does.
    pub fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Drops all and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes of all strings together.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The strings in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.get(at))
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut all = Self::new();
        strings
            .into_iter()
            .for_each(|string| all.push(string.as_ref()));
        all
    }
}

/// The points of a block: as many times as values.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// Nanoseconds since 1970 UTC.
    pub times: Vec<i64>,
    /// The values at these times.
    pub values: Values,
}

impl Points {
    /// No points, of a type.
    pub fn new(value_type: ValueType) -> Self {
        Self {
            times: Vec::new(),
            values: Values::new(value_type),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Drops all points and becomes of a type; the memory is kept where the type stays.
    pub fn reset(&mut self, value_type: ValueType) {
        self.times.clear();
        self.values.reset(value_type);
    }

    /// Adds point `at` of `other`, if both are of one type and there is such a point. Says whether
    /// it did.
    pub fn push_from(&mut self, other: &Self, at: usize) -> bool {
        let time = other.times.get(at).copied();
        let Some(time) = time.filter(|_| self.values.push_from(&other.values, at)) else {
            return false;
        };
        self.times.push(time);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_their_bytes_go_both_ways() {
        for (byte, value_type) in (0..).zip(ValueType::ALL) {
            assert_eq!(
                (value_type.byte(), ValueType::from_byte(byte)),
                (byte, Some(value_type))
            );
            assert_eq!(Values::new(value_type).value_type(), value_type);
        }
        assert_eq!(ValueType::from_byte(5), None);
        assert_eq!(ValueType::from_byte(255), None);
    }

    #[test]
    fn strings_come_back_as_they_were_pushed() {
        let strings: Strings = ["", "a", "", "longer"].into_iter().collect();
        assert_eq!(
            strings.iter().collect::<Vec<_>>(),
            [&b""[..], b"a", b"", b"longer"]
        );
        assert_eq!((strings.len(), strings.byte_len()), (4, 7));
    }

    #[test]
    fn a_point_is_taken_over_only_where_the_types_agree() {
        let from = Points {
            times: vec![1, 2],
            values: Values::String(["x", "y"].into_iter().collect()),
        };
        let mut to = Points::new(ValueType::String);
        assert!(to.push_from(&from, 1) && !to.push_from(&from, 2));
        assert_eq!(
            to,
            Points {
                times: vec![2],
                values: Values::String(["y"].into_iter().collect())
            }
        );
        let mut other = Points::new(ValueType::Float);
        assert!(!other.push_from(&from, 0) && other.is_empty());
        other.reset(ValueType::String);
        assert!(other.push_from(&from, 0));
    }
}
