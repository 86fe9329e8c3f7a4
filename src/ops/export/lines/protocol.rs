//! Points as line protocol: one line a point, with all its fields.

use anyhow::Result;
use thiserror::Error;

use super::super::points_writer::PieceSink;
use crate::ops::line_protocol::{Unwritable, ValueWriter, ensure_series, field_name, is_number};
use crate::tsm::points::{Column, Rows};
use crate::tsm::values::Values;

/// How many bytes are written at a time, near enough.
const CHUNK: usize = 256 << 10;

/// What is done about line feeds in strings. Line protocol may have them, but `influx -import`
/// takes each for the end of a point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewlineRule {
    /// They stay, and are counted.
    #[default]
    Keep,
    /// A backslash and an n take the place of each.
    Escape,
    /// The export ends in an error.
    Fail,
}

/// Why points could not be written.
#[derive(Debug, Error)]
pub(super) enum LineError {
    #[error("a string of series {0} has a line feed")]
    LineFeed(String),
    #[error(transparent)]
    Write(#[from] anyhow::Error),
}

/// Writes the points of a series.
pub(super) struct LineProtocol {
    /// The series and a space, as lines begin.
    series: Vec<u8>,
    /// The name and the equals sign of each field; none where it cannot be written.
    fields: Vec<Option<Vec<u8>>>,
    line: LineBuffer,
}

/// Lines that were not written yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Whole lines, behind the rest of one and before the beginning of one where they are large.
    pub bytes: Vec<u8>,
    /// Where each line ends, if anybody wants to know.
    pub ends: Vec<usize>,
    /// Of which of the lines a series begins.
    pub series: Vec<usize>,
}

impl Lines {
    /// Adds what comes next.
    pub(super) fn append(&mut self, next: &Self) {
        let (bytes, lines) = (self.bytes.len(), self.ends.len());
        self.bytes.extend_from_slice(&next.bytes);
        self.ends.extend(next.ends.iter().map(|end| bytes + end));
        self.series
            .extend(next.series.iter().map(|line| lines + line));
    }

    /// Forgets all, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.series.clear();
    }
}

/// Some lines, and what is to say of them.
#[derive(Debug, Default)]
pub(in crate::ops::export) struct LinePiece {
    pub(super) lines: Lines,
    pub(super) points: u64,
    /// Strings with line feeds.
    pub(super) newlines: u64,
    /// Floats that are left out, as they are no numbers.
    pub(super) not_numbers: u64,
}

/// Where pieces go.
type LineSink<'s> = PieceSink<'s, LinePiece>;

struct LineBuffer {
    newline: NewlineRule,
    piece: LinePiece,
    /// Whether ends of lines are taken note of.
    with_ends: bool,
    values: ValueWriter,
}

impl LineProtocol {
    /// Writes lines, and takes note of where they end if that is wanted.
    pub(super) fn new(newline: NewlineRule, with_ends: bool) -> Self {
        Self {
            series: Vec::new(),
            fields: Vec::new(),
            line: LineBuffer {
                newline,
                piece: LinePiece::default(),
                with_ends,
                values: ValueWriter::new(newline == NewlineRule::Escape),
            },
        }
    }

    /// Turns to a series.
    ///
    /// # Errors
    ///
    /// Where no line can be of it.
    pub(super) fn begin(&mut self, series: &[u8]) -> Result<(), Unwritable> {
        ensure_series(series)?;
        self.series.clear();
        self.series.extend_from_slice(series);
        self.series.push(b' ');
        self.fields.clear();
        self.line.begin_series();
        Ok(())
    }

    /// Adds the next field of the series.
    ///
    /// # Errors
    ///
    /// Where it cannot be written; its values are left out then.
    pub(super) fn add_field(&mut self, name: &[u8]) -> Result<(), Unwritable> {
        let named = field_name(name);
        let writable = named.as_ref().map(|_| ()).map_err(|why| *why);
        self.fields.push(named.ok());
        writable
    }

    /// Writes rows of the series; how many.
    ///
    /// # Errors
    ///
    /// Those of `out`; with [`NewlineRule::Fail`], for a line feed in a string.
    pub(super) fn add(
        &mut self,
        rows: &Rows<'_, '_>,
        out: &mut LineSink<'_>,
    ) -> Result<u64, LineError> {
        let (fields, line) = (&self.fields, &mut self.line);
        let named = rows.columns().filter_map(|column| {
            let name = fields.get(column.field)?.as_deref()?;
            Some((name, column))
        });
        let columns: Vec<(&[u8], Column<'_>)> = named.collect();
        let mut points = 0;
        for (row, time) in rows.times.iter().enumerate() {
            let start = line.bytes().len();
            line.bytes().extend_from_slice(&self.series);
            let mut has_fields = false;
            for (name, column) in &columns {
                let Some(at) = column.at(row).filter(|at| line.can_put(column.values, *at)) else {
                    continue;
                };
                if has_fields {
                    line.bytes().push(b',');
                }
                has_fields = true;
                line.bytes().extend_from_slice(name);
                line.put(column.values, at)
                    .map_err(|_| LineError::LineFeed(in_words(&self.series)))?;
                // A line may be as large as there are fields.
                line.pass_on_above(4 * CHUNK, out)?;
            }
            if !has_fields {
                line.bytes().truncate(start);
                continue;
            }
            line.bytes().push(b' ');
            line.put_integer(*time);
            line.bytes().push(b'\n');
            line.end_line();
            points += 1;
            line.pass_on_above(CHUNK, out)?;
        }
        Ok(points)
    }

    /// Passes on what waits.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn flush(&mut self, out: &mut LineSink<'_>) -> Result<()> {
        self.line.pass_on(out)
    }
}

/// A line feed in a string that may have none.
struct LineFeed;

impl LineBuffer {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.piece.lines.bytes
    }

    fn begin_series(&mut self) {
        if self.with_ends {
            let lines = &mut self.piece.lines;
            lines.series.push(lines.ends.len());
        }
    }

    fn end_line(&mut self) {
        self.piece.points += 1;
        if self.with_ends {
            let lines = &mut self.piece.lines;
            lines.ends.push(lines.bytes.len());
        }
    }

    fn can_put(&mut self, values: &Values, at: usize) -> bool {
        let is_number = is_number(values, at);
        self.piece.not_numbers += u64::from(!is_number);
        is_number
    }

    fn put(&mut self, values: &Values, at: usize) -> Result<(), LineFeed> {
        let LinePiece {
            lines, newlines, ..
        } = &mut self.piece;
        if let Values::String(values) = values
            && values.get(at).contains(&b'\n')
        {
            *newlines += 1;
            if self.newline == NewlineRule::Fail {
                return Err(LineFeed);
            }
        }
        self.values.put(values, at, &mut lines.bytes);
        Ok(())
    }

    fn put_integer(&mut self, number: i64) {
        (self.values).put_integer(number, &mut self.piece.lines.bytes);
    }

    /// Passes on what waits, if it is more than so many bytes.
    fn pass_on_above(&mut self, bytes: usize, out: &mut LineSink<'_>) -> Result<()> {
        match self.bytes().len() > bytes {
            true => self.pass_on(out),
            false => Ok(()),
        }
    }

    fn pass_on(&mut self, out: &mut LineSink<'_>) -> Result<()> {
        let mut next = LinePiece::default();
        // A piece is seldom much larger than the last.
        next.lines
            .bytes
            .reserve(self.bytes().len().min(5 * CHUNK / 4));
        out(std::mem::replace(&mut self.piece, next))
    }
}

fn in_words(series: &[u8]) -> String {
    series.trim_ascii_end().escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::time::Bounds;
    use crate::tsm::file_name;
    use crate::tsm::filter::NewTypes;
    use crate::tsm::points::{PointsFile, PointsSelection, ShardPoints};
    use crate::tsm::tombstone::BoundedDeletes;
    use crate::tsm::values::Points;
    use crate::tsm::writer::Writer;

    /// The lines of a file with these keys.
    fn lines(newline: NewlineRule, keys: &[(&str, Points)]) -> Result<(String, LinePiece), String> {
        let mut writer = Writer::new(Vec::new());
        for (key, points) in keys {
            writer
                .begin_key(key.as_bytes(), points.values.value_type())
                .unwrap();
            writer.points(points).unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        let mut content = tempfile::tempfile().unwrap();
        content.write_all(&bytes).unwrap();
        let (name, deletes) = (file_name(1, 1), BoundedDeletes::default());
        let file = PointsFile {
            name: &name,
            content: &content,
            deletes: &deletes,
        };
        let selection = PointsSelection {
            new_types: &NewTypes::new(),
            time_range: Bounds::ANY,
        };
        let mut tell = |finding: crate::tsm::points::PointsFinding<'_>| panic!("{finding}");
        let mut shard = ShardPoints::open(vec![file], selection, &mut tell).unwrap();
        let mut format = LineProtocol::new(newline, false);
        let mut all = LinePiece::default();
        let mut out = |piece: LinePiece| {
            all.lines.append(&piece.lines);
            all.points += piece.points;
            all.newlines += piece.newlines;
            Ok(())
        };
        while let Some(mut series) = shard.next_series().unwrap() {
            format.begin(series.key()).map_err(|why| why.to_string())?;
            for (name, _) in series.fields() {
                format.add_field(name).map_err(|why| why.to_string())?;
            }
            while let Some(rows) = series.next_rows().unwrap() {
                let written = format.add(&rows, &mut out);
                written.map_err(|error| error.to_string())?;
            }
        }
        format.flush(&mut out).unwrap();
        Ok((String::from_utf8(all.lines.bytes.clone()).unwrap(), all))
    }

    fn at<T>(times: &[i64], values: impl Fn(Vec<T>) -> Values, list: &[T]) -> Points
    where
        T: Clone,
    {
        Points {
            times: times.to_vec(),
            values: values(list.to_vec()),
        }
    }

    fn strings(list: &[&str]) -> Points {
        Points {
            times: (1..=list.len() as i64).collect(),
            values: Values::String(list.iter().collect()),
        }
    }

    #[test]
    fn a_point_is_a_line_with_all_its_fields_and_their_types() {
        let (text, piece) = lines(
            NewlineRule::Keep,
            &[
                (
                    r"a\ b\,c,t\ 1=v\=1#!~#f",
                    at(&[1, 3], Values::Float, &[1.5, -1e300]),
                ),
                (
                    r"a\ b\,c,t\ 1=v\=1#!~#i 1",
                    at(&[1, 2], Values::Integer, &[i64::MIN, i64::MAX]),
                ),
                ("m#!~#a=b,c\"d\\e", at(&[-7], Values::Boolean, &[true])),
                ("m#!~#u", at(&[-7], Values::Unsigned, &[u64::MAX])),
            ],
        )
        .unwrap();
        let expected = r##"a\ b\,c,t\ 1=v\=1 f=1.5,i\ 1=-9223372036854775808i 1
a\ b\,c,t\ 1=v\=1 i\ 1=9223372036854775807i 2
a\ b\,c,t\ 1=v\=1 f=-1e300 3
m a\=b\,c\"d\e=true,u=18446744073709551615u -7
"##;
        assert_eq!(text.replace("-1e+300", "-1e300"), expected);
        assert_eq!(piece.points, 4);
    }

    #[test]
    fn strings_are_quoted_and_line_feeds_treated_as_asked() {
        let keys = [("m#!~#s", strings(&["", "a\"b\\c", "x\n\ny"]))];
        let (text, piece) = lines(NewlineRule::Keep, &keys).unwrap();
        assert_eq!(
            text,
            "m s=\"\" 1\nm s=\"a\\\"b\\\\c\" 2\nm s=\"x\n\ny\" 3\n"
        );
        assert_eq!(piece.newlines, 1);
        let (text, _) = lines(NewlineRule::Escape, &keys).unwrap();
        assert!(text.ends_with("m s=\"x\\\\n\\\\ny\" 3\n"), "{text}");
        let error = lines(NewlineRule::Fail, &keys).unwrap_err();
        assert_eq!(error, "a string of series m has a line feed");
    }

    #[test]
    fn what_would_be_read_as_something_else_is_not_written() {
        let mut format = LineProtocol::new(NewlineRule::Keep, false);
        for (series, why) in [
            (&b"#m"[..], Unwritable::Comment),
            (b"m,h=a\nb", Unwritable::LineFeed),
            (b"m,h=a\\", Unwritable::Backslash),
            (b",h=a", Unwritable::NoName),
            (b" m", Unwritable::Space),
        ] {
            assert_eq!(format.begin(series), Err(why), "{}", series.escape_ascii());
        }
        assert_eq!(format.begin(b"m,h=a\\b"), Ok(()));
        assert_eq!(format.add_field(b"f\\"), Err(Unwritable::Backslash));
        assert_eq!(format.add_field(b""), Err(Unwritable::NoName));
    }
}
