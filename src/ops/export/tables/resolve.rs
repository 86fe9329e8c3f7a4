//! How a conflict of types or names is resolved: `-resolve measurement.field=float`.

use std::fmt;

use thiserror::Error;

use crate::tsm::values::ValueType;

/// What is done about the columns of a tag or a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The measurement, in every database and policy.
    pub(super) measurement: String,
    /// The field, or where there is none of that name the tag.
    pub(super) column: String,
    pub(super) rule: ResolveRule,
}

/// How columns are made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResolveRule {
    /// One column of that type.
    As(ValueType),
    /// A column for each type.
    Split,
    /// Under another name.
    Rename(String),
}

/// Why a text is no resolution.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolveError {
    /// No measurement and field are named.
    #[error(
        "'{0}' names no field: write MEASUREMENT.FIELD=float, integer, string or split, or \
         MEASUREMENT.FIELD=>NAME"
    )]
    FieldMissing(String),
    /// Nothing is said that could be done.
    #[error("'{0}' is no type to write a field as: write float, integer, string or split")]
    TypeUnknown(String),
    /// There is no new name.
    #[error("the new name is empty")]
    NameEmpty,
}

impl Resolution {
    /// Reads `measurement.field=type` or `measurement.field=>name`. In the measurement a dot, and in
    /// the field an equals sign, has a backslash before it, and so has a backslash in either.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn parse(text: &str) -> Result<Self, ResolveError> {
        let no_field = || ResolveError::FieldMissing(text.to_owned());
        let (measurement, rest) = up_to(text, '.').ok_or_else(no_field)?;
        let (column, rule) = up_to(rest, '=').ok_or_else(no_field)?;
        if measurement.is_empty() || column.is_empty() {
            return Err(no_field());
        }
        let rule = match rule {
            "float" => ResolveRule::As(ValueType::Float),
            "integer" => ResolveRule::As(ValueType::Integer),
            "string" => ResolveRule::As(ValueType::String),
            "split" => ResolveRule::Split,
            ">" => return Err(ResolveError::NameEmpty),
            _ => match rule.strip_prefix('>') {
                Some(name) => ResolveRule::Rename(name.to_owned()),
                None => return Err(ResolveError::TypeUnknown(rule.to_owned())),
            },
        };
        Ok(Self {
            measurement,
            column,
            rule,
        })
    }
}

/// What stands before the first `end` that has no backslash before it, and what stands behind that.
fn up_to(text: &str, end: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.push(letters.next()?.1),
            _ if letter == end => return Some((name, &text[at + end.len_utf8()..])),
            _ => name.push(letter),
        }
    }
    None
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measurement = escaped(&self.measurement, '.');
        write!(f, "{measurement}.{}=", escaped(&self.column, '='))?;
        match &self.rule {
            ResolveRule::As(value_type) => write!(f, "{value_type}"),
            ResolveRule::Split => f.write_str("split"),
            ResolveRule::Rename(name) => write!(f, ">{name}"),
        }
    }
}

fn escaped(name: &str, end: char) -> String {
    let name = name.replace('\\', r"\\");
    name.replace(end, &format!("\\{end}"))
}

impl Resolution {
    /// The flag that asks for it, as a shell takes it.
    pub(super) fn flag(&self) -> String {
        let text = self.to_string();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./,:@%+=".contains(&byte);
        match text.bytes().all(is_plain) {
            true => format!("-resolve {text}"),
            false => format!("-resolve '{}'", text.replace('\'', r"'\''")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolution(measurement: &str, column: &str, rule: ResolveRule) -> Resolution {
        Resolution {
            measurement: measurement.into(),
            column: column.into(),
            rule,
        }
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let rename = |name: &str| ResolveRule::Rename(name.into());
        for (text, expected) in [
            (
                "m.f=float",
                resolution("m", "f", ResolveRule::As(ValueType::Float)),
            ),
            ("m.f.g=split", resolution("m", "f.g", ResolveRule::Split)),
            (
                r"a\.b=c\\.f\=g=string",
                resolution(r"a.b=c\", "f=g", ResolveRule::As(ValueType::String)),
            ),
            ("m.f=>a.b=c\\", resolution("m", "f", rename("a.b=c\\"))),
            (
                "m.>=integer",
                resolution("m", ">", ResolveRule::As(ValueType::Integer)),
            ),
        ] {
            let read = Resolution::parse(text).unwrap();
            assert_eq!(read, expected);
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let error = |text: &str| Resolution::parse(text).unwrap_err();
        for text in ["", "m", "m.f", "m=float", ".f=float", "m.=float", "m\\"] {
            assert_eq!(
                error(text),
                ResolveError::FieldMissing(text.into()),
                "{text}"
            );
        }
        assert_eq!(
            error("m.f=double"),
            ResolveError::TypeUnknown("double".into())
        );
        assert_eq!(error("m.f=>"), ResolveError::NameEmpty);
    }

    #[test]
    fn a_flag_is_quoted_where_a_shell_would_read_something_else() {
        let flag = |text: &str| Resolution::parse(text).unwrap().flag();
        assert_eq!(flag("m.f=float"), "-resolve m.f=float");
        assert_eq!(flag("m.f=>it's"), r"-resolve 'm.f=>it'\''s'");
    }
}
