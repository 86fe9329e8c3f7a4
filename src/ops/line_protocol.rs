//! Line protocol: how series, fields and values stand in a line.

use thiserror::Error;

use crate::tsm::values::{Points, Values};

/// Why something cannot be written as line protocol: whoever read it would read something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Unwritable {
    #[error("it has a line feed, which ends a line")]
    LineFeed,
    #[error("it ends with a backslash, which would escape what follows")]
    Backslash,
    #[error("it begins with '#' as a comment does")]
    Comment,
    #[error("it begins with a space, which is passed over")]
    Space,
    #[error("it has no name")]
    NoName,
}

/// Refuses a series of which no line can be.
///
/// # Errors
///
/// Why not.
pub(super) fn ensure_series(series: &[u8]) -> Result<(), Unwritable> {
    match series.first() {
        None | Some(b',') => return Err(Unwritable::NoName),
        Some(b'#') => return Err(Unwritable::Comment),
        Some(b' ' | b'\t' | b'\0') => return Err(Unwritable::Space),
        Some(_) => {}
    }
    ensure_ends(series)
}

/// The name of a field as it stands in a line, with the equals sign.
///
/// # Errors
///
/// Where it cannot be written.
pub(super) fn field_name(name: &[u8]) -> Result<Vec<u8>, Unwritable> {
    if name.is_empty() {
        return Err(Unwritable::NoName);
    }
    ensure_ends(name)?;
    let mut escaped = Vec::with_capacity(name.len() + 1);
    for &byte in name {
        if matches!(byte, b',' | b'"' | b' ' | b'=') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    escaped.push(b'=');
    Ok(escaped)
}

/// Refuses what has a line feed, or ends with a backslash: to influxd it escapes what follows, also
/// where another stands before it.
fn ensure_ends(name: &[u8]) -> Result<(), Unwritable> {
    match name.contains(&b'\n') {
        true => Err(Unwritable::LineFeed),
        false if name.ends_with(b"\\") => Err(Unwritable::Backslash),
        false => Ok(()),
    }
}

/// Whether line protocol has a value: it has no floats that are no numbers.
pub(super) fn is_number(values: &Values, at: usize) -> bool {
    !matches!(values, Values::Float(values) if !values[at].is_finite())
}

/// Writes values.
pub(super) struct ValueWriter {
    escapes_newlines: bool,
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl ValueWriter {
    /// Writes a backslash and an n in place of each line feed of a string, or the line feed.
    pub(super) fn new(escapes_newlines: bool) -> Self {
        Self {
            escapes_newlines,
            integer: itoa::Buffer::new(),
            float: zmij::Buffer::new(),
        }
    }

    /// Writes a value, which [is a number](is_number) where it is a float.
    pub(super) fn put(&mut self, values: &Values, at: usize, out: &mut Vec<u8>) {
        match values {
            Values::Float(values) => {
                let text = self.float.format_finite(values[at]);
                out.extend_from_slice(text.as_bytes());
            }
            Values::Integer(values) => {
                self.put_integer(values[at], out);
                out.push(b'i');
            }
            Values::Boolean(values) => {
                let text: &[u8] = if values[at] { b"true" } else { b"false" };
                out.extend_from_slice(text);
            }
            Values::Unsigned(values) => {
                let text = self.integer.format(values[at]);
                out.extend_from_slice(text.as_bytes());
                out.push(b'u');
            }
            Values::String(values) => self.put_string(values.get(at), out),
        }
    }

    /// Writes a number without a sign for its type, as times are.
    pub(super) fn put_integer(&mut self, number: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.integer.format(number).as_bytes());
    }

    fn put_string(&self, string: &[u8], out: &mut Vec<u8>) {
        out.push(b'"');
        for &byte in string {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' if self.escapes_newlines => out.extend_from_slice(br"\\n"),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
}

/// The first of some points of a field that a line can have, as that line; none where no line can
/// have any.
pub(super) fn first_line(series: &[u8], field: &[u8], points: &Points) -> Option<Vec<u8>> {
    ensure_series(series).ok()?;
    let at = (0..points.len()).find(|at| is_number(&points.values, *at))?;
    let mut line = [series, b" "].concat();
    line.extend(field_name(field).ok()?);
    let mut values = ValueWriter::new(false);
    values.put(&points.values, at, &mut line);
    line.push(b' ');
    values.put_integer(points.times[at], &mut line);
    line.push(b'\n');
    Some(line)
}
