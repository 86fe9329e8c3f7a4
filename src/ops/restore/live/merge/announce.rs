//! The points that have to be written before an upload: one of each field that a shard does not
//! have, and with them the shard itself where it is new.
//!
//! A server with a tsi1 index does not find fields that only an upload brings; a written point makes
//! them known. And where the backup's values are to count, any point has to be written first: a
//! server that has read a WAL when it opened the shard keeps that file until it writes to the next,
//! also when it flushes, and reads it again when the shard is opened after the upload.
//!
//! Each is a point of the backup that nothing in it takes the place of: of the last file that has
//! the field.

use std::collections::HashMap;
use std::io;

use anyhow::{Result, ensure};

use super::super::filtered::FilteredFiles;
use super::super::parts::{UploadPart, UploadShard};
use super::super::target::Live;
use crate::error::{Error, ErrorKind};
use crate::http_api::{HttpApi, Written};
use crate::io::read_at::ReadAt;
use crate::io::scratch::scratch_dir;
use crate::ops::line_protocol::first_line;
use crate::ops::restore::members::ShardMembers;
use crate::repository::Catalog;
use crate::text::{name_list, plural, size};
use crate::tsm::fields::{Field, FieldSet, put_field};
use crate::tsm::file::{FileError, Reader};
use crate::tsm::series::split_key;
use crate::tsm::values::{Points, ValueType};

/// The most bytes of names and lines that are held.
const MOST_BYTES: usize = 64 << 20;
/// Bytes of lines that are written at a time, near enough.
const BATCH: usize = 1 << 20;

/// A point of a field as a line.
#[derive(Debug)]
struct Candidate {
    /// Which of the parts it is from, and what its file is called there: the last counts.
    place: (usize, String),
    value_type: ValueType,
    /// None where line protocol cannot have it.
    line: Option<Vec<u8>>,
}

/// A point of each field of what is sent to a shard.
#[derive(Debug)]
pub(super) struct FieldPoints {
    found: HashMap<Field, Candidate>,
    bytes: usize,
    /// Memory for the field of a key, and for points.
    field: Vec<u8>,
    points: Points,
}

impl FieldPoints {
    fn new() -> Self {
        Self {
            found: HashMap::new(),
            bytes: 0,
            field: Vec::new(),
            points: Points::new(ValueType::Float),
        }
    }

    /// Looks through a file.
    fn add_file(
        &mut self,
        part: usize,
        name: &str,
        file: &(impl ReadAt + ?Sized),
    ) -> Result<(), FileError> {
        let mut reader = Reader::open(file)?;
        loop {
            let key = {
                let Some(key) = reader.next_key()? else {
                    return Ok(());
                };
                if put_field(key.bytes, &mut self.field).is_none() {
                    continue;
                }
                let is_later = |known: &Candidate| {
                    let (of_part, of_file) = (known.place.0, known.place.1.as_str());
                    let same_file = (of_part, of_file) == (part, name);
                    (of_part, of_file) > (part, name) || (same_file && known.line.is_some())
                };
                if self.found.get(&self.field[..]).is_some_and(is_later) {
                    continue;
                }
                key.bytes.to_vec()
            };
            if !reader.next_points(&mut self.points)? {
                continue;
            }
            let (series, field) = split_key(&key);
            let line = first_line(series.bytes(), field.unwrap_or_default(), &self.points);
            self.bytes += key.len() + line.as_ref().map_or(0, Vec::len);
            if self.bytes > MOST_BYTES {
                let source = io::Error::other("the shard has too many fields to be held");
                return Err(crate::tsm::index::IndexError::Read { offset: 0, source }.into());
            }
            if let Some(field) = Field::of(&key) {
                let candidate = Candidate {
                    place: (part, name.to_owned()),
                    value_type: self.points.values.value_type(),
                    line,
                };
                self.found.insert(field, candidate);
            }
        }
    }

    /// A point of each field that is not known, a line each.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where no line can be of one, and where one is known with another type:
    /// influxd hides the values of one of them, or does not open the shard any more.
    pub(super) fn unknown(&self, known: &FieldSet) -> Result<Vec<&[u8]>, Error> {
        let (mut lines, mut unwritable, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        for (field, candidate) in &self.found {
            if known.has_other_type(field.bytes(), candidate.value_type) {
                conflicts.push(field.to_string());
            }
            match &candidate.line {
                _ if known.contains(field.bytes()) => {}
                Some(line) => lines.push(&line[..]),
                None => unwritable.push(field.to_string()),
            }
        }
        if !conflicts.is_empty() {
            conflicts.sort_unstable();
            return Err(ErrorKind::Refused
                .error(format!(
                    "the shard has these with another type than the backup: {}",
                    name_list(&conflicts)
                ))
                .hint("-measurement leaves others out"));
        }
        lines.sort_unstable();
        unwritable.sort_unstable();
        match &unwritable[..] {
            [] => Ok(lines),
            several => Err(ErrorKind::Refused
                .error(format!(
                    "not a point of these can be written as line protocol, and without one the server may not find them: {}",
                    name_list(several)
                ))
                .hint("-measurement leaves them out")),
        }
    }

    /// A point of any of the fields, as a line.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where no line can be of any.
    pub(super) fn any(&self) -> Result<&[u8], Error> {
        let lines = self.found.values().filter_map(|one| one.line.as_deref());
        lines.min().ok_or_else(|| {
            ErrorKind::Refused.error("not a point of it can be written as line protocol")
        })
    }
}

impl Live<'_> {
    /// A point of each field of what is sent.
    ///
    /// # Errors
    ///
    /// When the files cannot be read.
    pub(super) fn field_points(
        &self,
        catalog: &Catalog,
        shard: &UploadShard<'_>,
        filtered: &[FilteredFiles],
    ) -> Result<FieldPoints> {
        let mut points = FieldPoints::new();
        for (at, (part, filtered)) in shard.parts.iter().zip(filtered).enumerate() {
            for (name, file) in filtered.rewritten() {
                self.context.check()?;
                points.add_file(at, name, file.content())?;
            }
            self.each_unchanged(catalog, part, filtered, |name, content| {
                points.add_file(at, name, content).map_err(io::Error::other)
            })?;
        }
        Ok(points)
    }

    /// Hands the TSM files that are sent as they are to `each`.
    fn each_unchanged(
        &self,
        catalog: &Catalog,
        part: &UploadPart<'_>,
        filtered: &FilteredFiles,
        mut each: impl FnMut(&str, &dyn ReadAt) -> io::Result<()>,
    ) -> Result<()> {
        let members = ShardMembers {
            catalog,
            shard: &part.shard.source,
            sources: &part.shard.sources,
            files: &part.shard.files,
            unpacked: None,
            scratch: &scratch_dir(),
            stop: self.context.cancel,
        };
        members.each(
            |name| name.ends_with(".tsm") && filtered.get(name).is_none(),
            |_, member| each(member.name, member.content),
        )
    }
}

/// Writes lines through the HTTP API, fewer at a time where the server takes no more.
///
/// # Errors
///
/// [`ErrorKind::Refused`] where the server takes some of them never; those of asking.
pub(super) fn write_lines(
    api: &HttpApi,
    database: &str,
    policy: &str,
    lines: &[&[u8]],
) -> Result<()> {
    let (mut rest, mut most) = (lines, usize::MAX);
    while !rest.is_empty() {
        let (mut batch, mut count) = (Vec::new(), 0);
        let has_room = |batch: &[u8], count: usize| batch.len() < BATCH && count < most;
        while let Some(line) = rest.get(count).filter(|_| has_room(&batch, count)) {
            batch.extend_from_slice(line);
            count += 1;
        }
        ensure!(count > 0, "no line to write");
        match api.write(database, policy, &batch)? {
            Written::All => rest = &rest[count..],
            Written::Partial { dropped, why } => {
                let dropped = dropped.map_or("some".to_owned(), |dropped| dropped.to_string());
                return Err(refused(format!(
                    "{} dropped {dropped} of {} that make fields known: {why}",
                    api.url(),
                    plural(count, "point")
                )));
            }
            Written::TooLarge if count > 1 => most = count / 2,
            Written::TooLarge => {
                return Err(refused(format!(
                    "{} does not take a point of {} (max-body-size in its [http] section)",
                    api.url(),
                    size(batch.len() as u64)
                )));
            }
        }
    }
    Ok(())
}

fn refused(message: String) -> anyhow::Error {
    ErrorKind::Refused.error(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsm::values::Values;
    use crate::tsm::writer::Writer;

    fn file(keys: &[(&str, i64)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (key, time) in keys {
            writer.begin_key(key.as_bytes(), ValueType::Float).unwrap();
            let points = Points {
                times: vec![*time, time + 1],
                values: Values::Float(vec![1.5, 2.5]),
            };
            writer.points(&points).unwrap();
        }
        writer.finish().unwrap().0
    }

    #[test]
    fn a_point_of_each_new_field_is_that_of_the_last_file_that_has_it() {
        let mut known = FieldSet::default();
        let float = ValueType::Float;
        known.add_field_of(b"m,h=a#!~#old", float).unwrap();
        let first = [
            ("m,h=a#!~#new", 1),
            ("m,h=a#!~#old", 1),
            ("m,h=b#!~#rest", 3),
        ];
        let files = [file(&first), file(&[("m,h=b#!~#new", 2)])];
        let names = ["000000001-000000001.tsm", "000000001-000000002.tsm"];
        for order in [[0, 1], [1, 0]] {
            let mut points = FieldPoints::new();
            for at in order {
                points.add_file(0, names[at], &files[at][..]).unwrap();
            }
            let lines = points.unknown(&known).unwrap();
            let expected = ["m,h=b new=1.5 2\n", "m,h=b rest=1.5 3\n"];
            assert_eq!(lines, expected.map(str::as_bytes));
            assert_eq!(points.any().unwrap(), b"m,h=a old=1.5 1\n");
            // A client made it meanwhile, in another series.
            let mut known = FieldSet::default();
            known
                .add_field_of(b"m,h=c#!~#new", ValueType::String)
                .unwrap();
            let error = points.unknown(&known).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused);
            assert!(
                error.message.ends_with("field 'new' of measurement 'm'"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_field_of_which_no_line_can_be_is_refused() {
        let mut points = FieldPoints::new();
        let file = file(&[("#m#!~#v", 1), ("n#!~#v", 1)]);
        points.add_file(0, "1-1.tsm", &file[..]).unwrap();
        let error = points.unknown(&FieldSet::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(
            error.message.ends_with("field 'v' of measurement '#m'"),
            "{error}"
        );
        assert_eq!(points.any().unwrap(), b"n v=1.5 1\n");
    }
}
