//! Protocol Buffers as bytes: walking and rewriting a message without losing the fields we do not
//! know.

use anyhow::{Context, Result, bail, ensure};
use thiserror::Error;

/// One field of a message, as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtoField<'a> {
    /// The field's number.
    pub number: u32,
    /// What it holds.
    pub value: ProtoValue<'a>,
    /// The whole field, tag included.
    pub raw: &'a [u8],
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtoValue<'a> {
    /// A number of variable length.
    Varint(u64),
    /// Text, bytes, or a message within.
    Bytes(&'a [u8]),
    /// Four or eight bytes; `meta.Data` has none of these.
    Fixed,
}

/// The fields of a message, in the order they stand in.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// Walks the fields of `message`.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<ProtoField<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.rest;
        let field = self.field(start);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self, start: &'a [u8]) -> Result<ProtoField<'a>> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        ensure!(
            (1..1 << 29).contains(&number),
            "a field with the number {}",
            tag >> 3
        );
        let value = match tag & 7 {
            0 => ProtoValue::Varint(self.varint()?),
            1 => self.take(8).map(|_| ProtoValue::Fixed)?,
            2 => {
                let length = self.varint()?;
                ProtoValue::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| ProtoValue::Fixed)?,
            other => bail!("a field of the unknown wire type {other}"),
        };
        Ok(ProtoField {
            number,
            value,
            raw: &start[..start.len() - self.rest.len()],
        })
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take(1)? else {
                bail!("it ends in a number")
            };
            let bits = u64::from(byte & 0x7f);
            ensure!(shift < 63 || bits <= 1, "a number of more than 64 bits");
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a number of more than ten bytes")
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(count)
            .ok()
            .and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = split else {
            bail!(
                "a field of {count} bytes where {} are left",
                self.rest.len()
            )
        };
        self.rest = rest;
        Ok(taken)
    }
}

/// Appends a field that holds a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    write_varint(out, u64::from(number) << 3);
    write_varint(out, value);
}

/// Appends a field that holds bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    write_varint(out, u64::from(number) << 3 | 2);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What a field of bytes, text or a message holds; `None` for a number.
pub(super) fn message<'a>(field: &ProtoField<'a>) -> Option<&'a [u8]> {
    match field.value {
        ProtoValue::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// What the fields of that number hold.
pub(super) fn messages(bytes: &[u8], number: u32) -> impl Iterator<Item = Result<&[u8]>> {
    fields(bytes).filter_map(move |field| match field {
        Ok(field) if field.number == number => message(&field).map(Ok),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The last field of that number, as protobuf readers take it; 0 where there is none.
pub(super) fn number(bytes: &[u8], number: u32) -> Result<u64> {
    fields(bytes).try_fold(0, |last, field| {
        let field = field?;
        Ok(match field.value {
            ProtoValue::Varint(value) if field.number == number => value,
            _ => last,
        })
    })
}

/// The last field of that number as text; empty where there is none.
pub(super) fn text(bytes: &[u8], number: u32) -> Result<&str> {
    let last = messages(bytes, number).try_fold(&b""[..], |_, found| found)?;
    str::from_utf8(last).context("a name that is not UTF-8")
}

/// Copies a message, with each field passed through `edit`, which appends to the copy what is to
/// stand in its place: [`ProtoField::raw`] keeps it, nothing drops it.
///
/// # Errors
///
/// When the message is malformed, and those of `edit`.
pub fn rewrite(
    message: &[u8],
    mut edit: impl FnMut(&ProtoField<'_>, &mut Vec<u8>) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for field in fields(message) {
        edit(&field?, &mut out)?;
    }
    Ok(out)
}

/// The most messages within one: decoded, each takes up to twenty times its bytes. A metastore has
/// two a shard.
const MAX_MESSAGES: usize = 2_000_000;

/// The fields a message must have, and the messages within it.
#[derive(Debug)]
pub struct Schema {
    /// The message's name, for errors.
    pub name: &'static str,
    /// The numbers of the required fields.
    pub required: &'static [u32],
    /// The fields that hold text, and what that is.
    pub texts: &'static [(u32, &'static str)],
    /// The fields that hold messages.
    pub messages: &'static [(u32, &'static Schema)],
}

/// A text in a message that is not UTF-8. Go, and so influxd, takes it all the same.
#[derive(Debug, Error)]
#[error("{what} is not UTF-8: \"{}\"", bytes[..bytes.len().min(256)].escape_ascii())]
pub(crate) struct NotUtf8 {
    /// What the text is.
    pub what: &'static str,
    /// The text.
    pub bytes: Vec<u8>,
}

/// Checks that a message and all within it are well formed and have their required fields: servers
/// reject the whole where one is missing.
///
/// # Errors
///
/// What is wrong, and in which message; and where there are more messages than any server has.
pub fn check(message: &[u8], schema: &Schema) -> Result<()> {
    check_within(message, schema, &mut 0)
}

fn check_within(message: &[u8], schema: &Schema, messages: &mut usize) -> Result<()> {
    *messages += 1;
    ensure!(
        *messages <= MAX_MESSAGES,
        "it has more than {MAX_MESSAGES} entries"
    );
    let mut missing = schema.required.to_vec();
    for field in fields(message) {
        let field = field.map_err(|error| error.context(format!("malformed {}", schema.name)))?;
        missing.retain(|number| *number != field.number);
        if let ProtoValue::Bytes(bytes) = field.value
            && str::from_utf8(bytes).is_err()
            && let Some((_, what)) = schema
                .texts
                .iter()
                .find(|(number, _)| *number == field.number)
        {
            let bytes = bytes.to_owned();
            return Err(NotUtf8 { what, bytes }.into());
        }
        if let Some((_, inner)) = schema
            .messages
            .iter()
            .find(|(number, _)| *number == field.number)
        {
            let ProtoValue::Bytes(bytes) = field.value else {
                bail!("a {} in {} that is no message", inner.name, schema.name)
            };
            check_within(bytes, inner, messages)?;
        }
    }
    ensure!(
        missing.is_empty(),
        "{} lacks its field {}",
        schema.name,
        missing[0]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_walk_to_an_end_and_a_rewrite_that_keeps_all_changes_nothing(bytes in any::<Vec<u8>>()) {
            if let Ok(copy) = rewrite(&bytes, |field, out| { out.extend_from_slice(field.raw); Ok(()) }) {
                prop_assert_eq!(copy, bytes);
            }
        }

        #[test]
        fn what_is_put_is_walked(number in 1u32..1 << 29, value in any::<u64>(), text in any::<Vec<u8>>()) {
            let mut message = Vec::new();
            put_varint(&mut message, number, value);
            put_bytes(&mut message, number, &text);
            let walked: Vec<_> = fields(&message).map(|field| field.unwrap().value).collect();
            prop_assert_eq!(walked, vec![ProtoValue::Varint(value), ProtoValue::Bytes(&text)]);
        }
    }

    #[test]
    fn lengths_and_numbers_that_do_not_fit_are_refused() {
        for bytes in [
            &b"\x0a\x05ab"[..],
            b"\x08",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x00\x00",
            b"\x0b",
            b"\x09\0",
        ] {
            assert!(fields(bytes).any(|field| field.is_err()), "{bytes:02x?}");
        }
    }
}
