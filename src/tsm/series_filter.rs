//! Which series are meant: those of some measurements whose tags have some values, as InfluxQL
//! says it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::pattern::Pattern;
use super::series::{SeriesKey, split_key};

pub use super::pattern::PatternError;

/// Which series are meant. Without a measurement and a condition, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesFilter {
    /// Series of any of these measurements; of all where none is named.
    pub measurements: Vec<MeasurementPattern>,
    /// Series that fulfil all of these.
    pub conditions: Vec<TagCondition>,
}

impl SeriesFilter {
    /// Whether all series are meant.
    pub fn takes_all(&self) -> bool {
        self.measurements.is_empty() && self.conditions.is_empty()
    }

    /// Whether series of a measurement may be meant.
    pub fn takes_measurement(&self, name: &[u8]) -> bool {
        self.measurements.is_empty() || self.measurements.iter().any(|one| one.matches(name))
    }

    /// Whether a series is meant.
    pub fn takes(&self, series: SeriesKey<'_>) -> bool {
        self.takes_measurement(&series.measurement()) && self.holds_for(series)
    }

    fn holds_for(&self, series: SeriesKey<'_>) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds_for(series))
    }

    /// To be asked of one key after the other.
    pub fn matcher(&self) -> SeriesMatcher<'_> {
        SeriesMatcher {
            filter: self,
            measurement: None,
            series: None,
        }
    }
}

impl fmt::Display for SeriesFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measurements = self.measurements.iter().map(|one| ("-measurement", &one.0));
        let conditions = self.conditions.iter().map(|one| ("-where", &one.text));
        for (nth, (flag, text)) in measurements.chain(conditions).enumerate() {
            let space = if nth > 0 { " " } else { "" };
            write!(f, "{space}{flag} '{text}'")?;
        }
        Ok(())
    }
}

/// Answers for key after key. Keys that follow each other mostly are of one series, and series of
/// one measurement: what was found out of them is not found out again.
#[derive(Debug)]
pub struct SeriesMatcher<'a> {
    filter: &'a SeriesFilter,
    /// The measurement asked for last, escaped, and whether its series may be meant.
    measurement: Option<(Vec<u8>, bool)>,
    /// The series asked for last, and whether it is meant.
    series: Option<(Vec<u8>, bool)>,
}

impl SeriesMatcher<'_> {
    /// Whether the series of a key is meant.
    pub fn takes(&mut self, key: &[u8]) -> bool {
        if self.filter.takes_all() {
            return true;
        }
        let (series, _) = split_key(key);
        let filter = self.filter;
        let measurement = &mut self.measurement;
        remembered(&mut self.series, series.bytes(), || {
            remembered(measurement, series.escaped_measurement(), || {
                filter.takes_measurement(&series.measurement())
            }) && filter.holds_for(series)
        })
    }
}

/// What was answered last, if that was asked; else the answer, which is remembered.
fn remembered(
    last: &mut Option<(Vec<u8>, bool)>,
    asked: &[u8],
    answer: impl FnOnce() -> bool,
) -> bool {
    match last {
        Some((bytes, known)) if bytes == asked => *known,
        Some((bytes, known)) => {
            bytes.clear();
            bytes.extend_from_slice(asked);
            *known = answer();
            *known
        }
        None => last.insert((asked.to_owned(), answer())).1,
    }
}

/// Measurements: one by its name, or all whose names match `/expression/`.
#[derive(Debug, Clone)]
pub struct MeasurementPattern(String, Pattern);

impl MeasurementPattern {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The name, where one is named.
    pub fn name(&self) -> Option<&str> {
        matches!(self.1, Pattern::Exactly(_)).then_some(&self.0)
    }

    /// Whether a measurement is one of them.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.1.matches(name)
    }
}

impl FromStr for MeasurementPattern {
    type Err = SeriesFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(SeriesFilterError::NoMeasurement);
        }
        let pattern = match Pattern::between_slashes(text) {
            Some(pattern) => pattern?,
            None => Pattern::exactly(text),
        };
        Ok(Self(text.to_owned(), pattern))
    }
}

/// What the value of a tag has to be: `tag=value`, `tag!=value`, `tag=~/expression/` or
/// `tag!~/expression/`. The tag may stand in double quotes and the value in single ones. A tag that
/// a series lacks is empty.
#[derive(Debug, Clone)]
pub struct TagCondition {
    text: String,
    tag: Box<[u8]>,
    is_negated: bool,
    value: Pattern,
}

impl TagCondition {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a series fulfils it.
    pub fn holds_for(&self, series: SeriesKey<'_>) -> bool {
        self.value.matches(&series.tag(&self.tag)) != self.is_negated
    }
}

/// Operators, those that begin as others do first; whether they negate, and take an expression.
const OPERATORS: [(&str, bool, bool); 5] = [
    ("=~", false, true),
    ("!~", true, true),
    ("!=", true, false),
    ("<>", true, false),
    ("=", false, false),
];

impl FromStr for TagCondition {
    type Err = SeriesFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = |what: fn(String) -> SeriesFilterError| what(text.to_owned());
        let (tag, rest) = split_tag(text)?;
        let operator = OPERATORS
            .iter()
            .find(|(operator, ..)| rest.starts_with(operator));
        let Some((operator, is_negated, is_expression)) = operator else {
            return Err(match rest.starts_with(['<', '>']) {
                true => fault(SeriesFilterError::Order),
                false => fault(SeriesFilterError::NoOperator),
            });
        };
        if tag.is_empty() {
            return Err(fault(SeriesFilterError::NoTag));
        }
        let value = rest[operator.len()..].trim();
        let value = match is_expression {
            true => Pattern::between_slashes(value)
                .ok_or_else(|| fault(SeriesFilterError::NoSlashes))??,
            false => Pattern::exactly(&plain_value(text, value)?),
        };
        Ok(Self {
            text: text.to_owned(),
            tag: tag.as_bytes().into(),
            is_negated: *is_negated,
            value,
        })
    }
}

/// The tag at the beginning of a condition, and what follows.
fn split_tag(text: &str) -> Result<(String, &str), SeriesFilterError> {
    let text = text.trim();
    if text.starts_with('"') {
        let (tag, rest) =
            unquoted(text, '"').ok_or_else(|| SeriesFilterError::Unclosed(text.to_owned()))?;
        return Ok((tag, rest.trim_start()));
    }
    let operator = text.char_indices().map(|(at, _)| at).find(|&at| {
        let rest = &text[at..];
        rest.starts_with(['<', '>']) || OPERATORS.iter().any(|(one, ..)| rest.starts_with(one))
    });
    let (tag, rest) = text.split_at(operator.unwrap_or(text.len()));
    Ok((tag.trim_end().to_owned(), rest))
}

/// A value that is no expression: in single quotes, or as it stands.
fn plain_value(text: &str, value: &str) -> Result<String, SeriesFilterError> {
    let fault = |what: fn(String) -> SeriesFilterError| Err(what(text.to_owned()));
    if value.starts_with('\'') {
        return match unquoted(value, '\'') {
            Some((value, "")) => Ok(value),
            Some(_) => fault(SeriesFilterError::Several),
            None => fault(SeriesFilterError::Unclosed),
        };
    }
    let words = value.split_whitespace();
    let mut words = words.map(str::to_ascii_uppercase);
    if words.any(|word| word == "AND" || word == "OR") {
        return fault(SeriesFilterError::Several);
    }
    match value.starts_with(['=', '~']) {
        true => fault(SeriesFilterError::NoOperator),
        false => Ok(value.to_owned()),
    }
}

/// What stands between the quotes at the beginning of a text, without its backslashes, and what
/// follows; none where the second quote is not there.
fn unquoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => inside.push('\n'),
                escaped => inside.push(escaped),
            },
            _ if character == quote => return Some((inside, &text[at + 1..])),
            _ => inside.push(character),
        }
    }
    None
}

/// Why a text says nothing of measurements or tags.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeriesFilterError {
    /// A measurement without a name.
    #[error("a measurement has a name; write NAME, or /expression/")]
    NoMeasurement,
    /// A condition without a tag.
    #[error("'{0}' names no tag; write tag=value")]
    NoTag(String),
    /// A condition without an operator.
    #[error(
        "'{0}' is no condition; write tag=value, tag!=value, tag=~/expression/ or tag!~/expression/"
    )]
    NoOperator(String),
    /// A tag that is to be less or more than something.
    #[error("'{0}' compares by order, which tags cannot be; for times, there are -start and -end")]
    Order(String),
    /// An expression that is not between slashes.
    #[error("'{0}' has an expression without slashes; write tag=~/expression/")]
    NoSlashes(String),
    /// Several conditions in one text.
    #[error(
        "'{0}' holds more than one comparison; give each a -where of its own (all are to hold), or write the value in '…'"
    )]
    Several(String),
    /// A quote that is never closed.
    #[error("'{0}' has a quote that is not closed")]
    Unclosed(String),
    /// What stands between slashes.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Written and compared as the text that it was read from.
macro_rules! is_text {
    ($kind:ty) => {
        impl PartialEq for $kind {
            fn eq(&self, other: &Self) -> bool {
                self.text() == other.text()
            }
        }

        impl Eq for $kind {}

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(self.text())
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $kind {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string" })
            }
        }
    };
}

is_text!(MeasurementPattern);
is_text!(TagCondition);

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(measurements: &[&str], conditions: &[&str]) -> SeriesFilter {
        SeriesFilter {
            measurements: measurements
                .iter()
                .map(|one| one.parse().unwrap())
                .collect(),
            conditions: conditions.iter().map(|one| one.parse().unwrap()).collect(),
        }
    }

    /// Which of some series a filter takes, the first by 0.
    fn taken(filter: &SeriesFilter, keys: &[&[u8]]) -> Vec<usize> {
        let mut matcher = filter.matcher();
        let mut taken = Vec::new();
        for (nth, key) in keys.iter().enumerate() {
            let (series, _) = split_key(key);
            assert_eq!(matcher.takes(key), filter.takes(series));
            if filter.takes(series) {
                taken.push(nth);
            }
        }
        taken
    }

    const KEYS: [&[u8]; 7] = [
        b"cpu,host=web1#!~#v",
        b"cpu,dc=eu,host=web2#!~#v",
        b"cpu,dc=eu,host=web2#!~#w",
        b"cpu#!~#v",
        b"cpu\\ load,host=db\\,1#!~#v",
        b"mem,host=web1#!~#v",
        b"/net/x#!~#v",
    ];

    #[test]
    fn measurements_are_named_or_matched_and_any_of_them_will_do() {
        let of = |measurements: &[&str]| taken(&filter(measurements, &[]), &KEYS);
        assert_eq!(of(&[]), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(of(&["cpu"]), [0, 1, 2, 3]);
        assert_eq!(of(&["cpu load", "mem"]), [4, 5]);
        assert_eq!(of(&["/^cpu/"]), [0, 1, 2, 3, 4]);
        assert_eq!(of(&["/^cpu$/", "mem"]), [0, 1, 2, 3, 5]);
        assert_eq!(of(&["/net/x"]), [6]);
        assert!(of(&["disk", "/x$^/", "CPU"]).is_empty());
    }

    #[test]
    fn conditions_are_all_to_hold_and_a_tag_that_is_not_there_is_empty() {
        let of = |conditions: &[&str]| taken(&filter(&[], conditions), &KEYS);
        assert_eq!(of(&["host=web1"]), [0, 5]);
        assert_eq!(of(&["host!=web1"]), [1, 2, 3, 4, 6]);
        assert_eq!(of(&["host<>web1"]), of(&["host!=web1"]));
        assert_eq!(of(&["host=~/^web/", "dc=eu"]), [1, 2]);
        assert_eq!(of(&["host!~/^web/"]), [3, 4, 6]);
        assert_eq!(of(&["host="]), [3, 6]);
        assert_eq!(of(&["host!=''"]), [0, 1, 2, 4, 5]);
        assert_eq!(of(&["host=~/^$/"]), [3, 6]);
        assert_eq!(of(&["dc=~/.*/"]), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(of(&[" \"host\" = 'db,1' "]), [4]);
        assert_eq!(taken(&filter(&["mem"], &["host=web1"]), &KEYS), [5]);
    }

    #[test]
    fn names_and_values_may_be_quoted() {
        let holds = |condition: &str, key: &[u8]| {
            let condition: TagCondition = condition.parse().unwrap();
            condition.holds_for(split_key(key).0)
        };
        assert!(holds(r#""a=b"='it\'s'"#, b"m,a\\=b=it's#!~#v"));
        assert!(holds(r#""a\"b" != x"#, b"m,a\"b=y#!~#v"));
        assert!(holds("path=/", b"m,path=/#!~#v"));
        assert!(holds("a!b=c=d", b"m,a!b=c\\=d#!~#v"));
        assert!(holds("a='x AND y'", b"m,a=x\\ AND\\ y#!~#v"));
        assert!(holds("a=sand", b"m,a=sand#!~#v"));
        assert!(holds("a= x ", b"m,a=x#!~#v") && holds("a=' x'", b"m,a=\\ x#!~#v"));
    }

    #[test]
    fn what_is_no_condition_is_said_with_the_way_to_write_one() {
        use SeriesFilterError as Fault;
        let fault = |text: &str| text.parse::<TagCondition>().unwrap_err();
        for text in ["host", "", "host==web1", "host=~~x", "\"host\""] {
            assert!(
                matches!(fault(text), Fault::NoOperator(_) | Fault::NoSlashes(_)),
                "{text}"
            );
        }
        assert_eq!(fault("=web1"), Fault::NoTag("=web1".into()));
        assert_eq!(fault("time>1h"), Fault::Order("time>1h".into()));
        for text in ["a=b AND c=d", "a='b' or c='d'", "a='b'c"] {
            assert_eq!(fault(text), Fault::Several(text.into()));
        }
        for text in ["\"a=b", "a='b"] {
            assert_eq!(fault(text), Fault::Unclosed(text.into()));
        }
        assert_eq!(fault("a=~b"), Fault::NoSlashes("a=~b".into()));
        assert!(matches!(fault("a=~/(/"), Fault::Pattern(_)));
        let measurement = |text: &str| text.parse::<MeasurementPattern>();
        assert_eq!(measurement("").unwrap_err(), Fault::NoMeasurement);
        assert!(matches!(
            measurement("/a/b/").unwrap_err(),
            Fault::Pattern(_)
        ));
    }

    #[test]
    fn a_filter_is_written_as_it_was_read() {
        let written = filter(&["cpu", "/^disk/"], &["host!=a"]);
        assert_eq!(
            written.to_string(),
            "-measurement 'cpu' -measurement '/^disk/' -where 'host!=a'"
        );
        let json = serde_json::to_string(&written.measurements).unwrap();
        assert_eq!(json, r#"["cpu","/^disk/"]"#);
        let read: Vec<MeasurementPattern> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, written.measurements);
        assert!(serde_json::from_str::<TagCondition>("\"host\"").is_err());
    }
}
