//! Requests as a server reads them, in either dialect.
//!
//! A server of 1.x reads one JSON value into a struct: field names in any case, unknown fields
//! ignored, missing fields and nulls zero, a wrong type refused. What follows the value is only
//! looked at where the request carries a payload.

use std::io::{self, BufRead, Read};

use byteorder::{BigEndian, ReadBytesExt};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::request::{Import, Request};
use super::{Dialect, MAX_META_BYTES, MUX_HEADER};
use crate::time::{self, Bounds};

/// The longest JSON document read, in bytes, blanks not counted; influxd's client writes some 300.
const MAX_DOCUMENT_BYTES: u64 = 64 << 10;
/// How many blanks in a row count, and how many are read at all: snap's client writes megabytes of
/// them.
const MAX_BLANKS: usize = 1 << 10;
const MAX_PADDED_BYTES: u64 = 40 << 20;

/// Which dialects a server answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Both, told apart by the byte after the mux header.
    Both,
    /// One.
    Only(Dialect),
}

/// Why bytes are no request.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The connection ended before the request was whole.
    #[error("the connection ended before the request was whole")]
    CutOff,
    /// The first byte is not the mux header.
    #[error("the first byte is {0:#04x}, not the mux header {MUX_HEADER:#04x}")]
    NotMux(u8),
    /// The bytes are no request of a dialect that is answered; the text says why.
    #[error("no request: {0}")]
    Malformed(String),
    /// The reader failed.
    #[error("reading the request failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::CutOff
        } else {
            Self::Io(error)
        }
    }
}

impl Request {
    /// Reads a request, mux byte included, and its payload where it has one; the tar of an upload
    /// is left in the reader. Where the server is not `writable`, imports and uploads are refused
    /// before their payload is read.
    ///
    /// # Errors
    ///
    /// See [`RequestError`]. No more memory is taken than bytes arrive.
    pub fn read_from(
        reader: &mut impl BufRead,
        accept: Accept,
        writable: bool,
    ) -> Result<(Dialect, Self), RequestError> {
        let mux = reader.read_u8()?;
        if mux != MUX_HEADER {
            return Err(RequestError::NotMux(mux));
        }
        let Some(&next) = reader.fill_buf()?.first() else {
            return Err(RequestError::CutOff);
        };
        // The types of dialect 1.5 are never JSON white space nor the start of an object or a null.
        let json = matches!(next, b'{' | b'n' | b' ' | b'\t' | b'\r' | b'\n');
        match (accept, json) {
            (Accept::Both | Accept::Only(Dialect::V1_0), true) => {
                Ok((Dialect::V1_0, dialect_1_0(&RequestDocument::read(reader)?)?))
            }
            (Accept::Both | Accept::Only(Dialect::V1_5), false) => {
                reader.consume(1);
                if !writable && matches!(next, 6 | 7) {
                    return Err(malformed(
                        "imports and uploads are answered only with -writable".to_owned(),
                    ));
                }
                Ok((Dialect::V1_5, dialect_1_5(next, reader)?))
            }
            (Accept::Only(dialect), _) => Err(malformed(format!(
                "{next:#04x} begins no request of dialect {dialect}"
            ))),
        }
    }
}

fn dialect_1_0(document: &RequestDocument) -> Result<Request, RequestError> {
    Ok(match document.byte("Type")? {
        0 => Request::Shard {
            id: document.unsigned("ShardID")?,
            since: document.time("Since")?,
        },
        1 => Request::MetaStore,
        // An empty name asks for no database here, and for all in the newer dialect: what is empty
        // stays named.
        2 => Request::DatabaseInfo {
            database: document.text("Database")?,
        },
        3 => Request::PolicyInfo {
            database: document.text("Database")?,
            retention_policy: document.text("RetentionPolicy")?,
        },
        other => return Err(malformed(format!("type {other} of dialect 1.0"))),
    })
}

fn dialect_1_5(kind: u8, reader: &mut impl BufRead) -> Result<Request, RequestError> {
    if kind == 7 {
        return Ok(Request::Upload {
            id: reader.read_u64::<BigEndian>()?,
        });
    }
    let document = RequestDocument::read(reader)?;
    // Decoded and not used, but one that does not fit refuses the request.
    document.byte("Type")?;
    let size = document.signed("UploadSize")?;
    Ok(match kind {
        0 => Request::Shard {
            id: document.unsigned("ShardID")?,
            since: document.time("Since")?,
        },
        1 => Request::MetaStore,
        2 => Request::SeriesFile,
        3 => Request::DatabaseInfo {
            database: document.text("BackupDatabase")?,
        },
        4 => Request::PolicyInfo {
            database: document.text("BackupDatabase")?,
            retention_policy: document.text("BackupRetentionPolicy")?,
        },
        5 => {
            let start = document
                .time("ExportStart")?
                .map_or(time::LEAST, time::to_nanos);
            let end = document
                .time("ExportEnd")?
                .map_or(time::GREATEST, time::to_nanos);
            Request::Export {
                id: document.unsigned("ShardID")?,
                bounds: Bounds { start, end },
            }
        }
        6 => Request::Import(Import {
            database: document.text("BackupDatabase")?,
            new_database: document.text("RestoreDatabase")?,
            retention_policy: document.text("BackupRetentionPolicy")?,
            new_retention_policy: document.text("RestoreRetentionPolicy")?,
            meta: payload(reader, size)?,
            padding: 0,
        }),
        other => return Err(malformed(format!("type {other} of dialect 1.5"))),
    })
}

/// Reads the byte that separates the document from its payload, whatever it is, and the payload.
fn payload(reader: &mut impl BufRead, size: i64) -> Result<Vec<u8>, RequestError> {
    let size = u64::try_from(size)
        .ok()
        .filter(|size| *size <= MAX_META_BYTES);
    let size = size.ok_or_else(|| malformed("an UploadSize that cannot be".to_owned()))?;
    reader.read_u8()?;
    let mut bytes = Vec::new();
    reader.take(size).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        Err(RequestError::CutOff)
    } else {
        Ok(bytes)
    }
}

fn malformed(why: String) -> RequestError {
    RequestError::Malformed(why)
}

/// Leaves out blanks where there are very many in a row. Gives a byte at a time, so as to take none
/// from what follows.
struct FewBlanks<R> {
    inner: R,
    blanks: usize,
}

impl<R: BufRead> Read for FewBlanks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(place) = buffer.first_mut() else {
            return Ok(0);
        };
        loop {
            let Some(&byte) = self.inner.fill_buf()?.first() else {
                return Ok(0);
            };
            self.inner.consume(1);
            self.blanks = if byte == b' ' { self.blanks + 1 } else { 0 };
            if self.blanks <= MAX_BLANKS {
                *place = byte;
                return Ok(1);
            }
        }
    }
}

/// The JSON document of a request.
struct RequestDocument(Map<String, Value>);

impl RequestDocument {
    fn read(reader: &mut impl BufRead) -> Result<Self, RequestError> {
        let few_blanks = FewBlanks {
            inner: reader.take(MAX_PADDED_BYTES),
            blanks: 0,
        };
        let mut document =
            serde_json::Deserializer::from_reader(few_blanks.take(MAX_DOCUMENT_BYTES));
        match Value::deserialize(&mut document) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(Value::Null) => Ok(Self(Map::new())),
            Ok(_) => Err(malformed("its JSON is no object".to_owned())),
            Err(error) if error.is_io() => Err(RequestError::Io(error.into())),
            Err(error) if error.is_eof() => Err(RequestError::CutOff),
            Err(error) => Err(malformed(format!("its JSON is malformed: {error}"))),
        }
    }

    fn get(&self, name: &str) -> &Value {
        let found = self.0.get(name).or_else(|| {
            self.0
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        });
        found.unwrap_or(&Value::Null)
    }

    fn field<T>(
        &self,
        name: &str,
        zero: T,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, RequestError> {
        match self.get(name) {
            Value::Null => Ok(zero),
            value => read(value).ok_or_else(|| malformed(format!("{name} cannot be {value}"))),
        }
    }

    fn text(&self, name: &str) -> Result<String, RequestError> {
        self.field(name, String::new(), |value| {
            value.as_str().map(str::to_owned)
        })
    }

    fn unsigned(&self, name: &str) -> Result<u64, RequestError> {
        self.field(name, 0, Value::as_u64)
    }

    fn signed(&self, name: &str) -> Result<i64, RequestError> {
        self.field(name, 0, Value::as_i64)
    }

    fn byte(&self, name: &str) -> Result<u8, RequestError> {
        self.field(name, 0, |value| value.as_u64()?.try_into().ok())
    }

    /// A time; `None` is Go's zero time, which stands for "no bound".
    fn time(&self, name: &str) -> Result<Option<Timestamp>, RequestError> {
        self.field(name, None, |value| {
            let text = value.as_str()?;
            // As Go: `T` and `Z` in upper case and the zone written; the library would take more.
            if text.as_bytes().get(10) != Some(&b'T') || text.contains(['z', 't', ' ', '[']) {
                return None;
            }
            let time = time::parse_zoned(text)?;
            Some((time != time::go_zero()).then_some(time))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<(Dialect, Request), RequestError> {
        Request::read_from(&mut &bytes[..], Accept::Both, true)
    }

    fn is_refused(bytes: &[u8]) -> bool {
        matches!(read(bytes), Err(RequestError::Malformed(_)))
    }

    #[test]
    fn the_two_dialects_are_told_apart_by_the_byte_after_the_mux_header() {
        assert_eq!(
            read(b"\x03\x01{}\n").unwrap(),
            (Dialect::V1_5, Request::MetaStore)
        );
        assert_eq!(
            read(b"\x03{\"Type\":1}\n").unwrap(),
            (Dialect::V1_0, Request::MetaStore)
        );
        assert_eq!(
            read(b"\x03 {}").unwrap(),
            (Dialect::V1_0, Request::Shard { id: 0, since: None })
        );
        let only = |dialect, bytes: &[u8]| {
            Request::read_from(&mut &bytes[..], Accept::Only(dialect), true)
        };
        assert!(matches!(
            only(Dialect::V1_0, b"\x03\x01{}\n"),
            Err(RequestError::Malformed(_))
        ));
        assert!(matches!(
            only(Dialect::V1_5, b"\x03{\"Type\":1}\n"),
            Err(RequestError::Malformed(_))
        ));
    }

    #[test]
    fn json_is_read_as_go_reads_it() {
        let database = |name: &str| Request::DatabaseInfo {
            database: name.into(),
        };
        assert_eq!(
            read(br#"{"#).unwrap_err().to_string(),
            "the first byte is 0x7b, not the mux header 0x03"
        );
        assert_eq!(
            read(b"\x03\x03{\"backupdatabase\":\"db\",\"Unknown\":[1]}")
                .unwrap()
                .1,
            database("db")
        );
        assert_eq!(
            read(b"\x03\x03{\"BackupDatabase\":null}").unwrap().1,
            database("")
        );
        assert_eq!(read(b"\x03\x03null").unwrap().1, database(""));
        for odd in [
            &b"\x03\x00{\"ShardID\":\"1\"}"[..],
            b"\x03\x00{\"ShardID\":-1}",
            b"\x03\x00{\"ShardID\":1.5}",
            b"\x03\x01{\"Type\":300}",
            b"\x03\x01[]",
            b"\x03\x01{Type:1}",
            b"\x03\x08{}",
            b"\x03\x00{\"Since\":\"\"}",
            b"\x03\x00{\"Since\":\"2026-11-20T08:00:00z\"}",
            b"\x03\x00{\"Since\":\"2026-11-20 08:00:00Z\"}",
            b"\x03\x00{\"Since\":\"2026-11-20T08:00:00\"}",
            b"\x03\x00{\"Since\":\"2026-11-20T24:00:00Z\"}",
        ] {
            assert!(is_refused(odd), "{}", odd.escape_ascii());
        }
        let since = "2026-11-20T07:00:00.5Z".parse().unwrap();
        assert_eq!(
            read(b"\x03\x00{\"ShardID\":7,\"Since\":\"2026-11-20T08:00:00.5+01:00\"}")
                .unwrap()
                .1,
            Request::Shard {
                id: 7,
                since: Some(since)
            }
        );
    }

    #[test]
    fn a_payload_follows_one_byte_of_whatever_kind() {
        let import = |meta: &[u8]| {
            Request::Import(Import {
                database: "db".into(),
                meta: meta.to_vec(),
                ..Import::default()
            })
        };
        assert_eq!(
            read(b"\x03\x06{\"BackupDatabase\":\"db\",\"UploadSize\":2}\nab")
                .unwrap()
                .1,
            import(b"ab")
        );
        assert_eq!(
            read(b"\x03\x06{\"BackupDatabase\":\"db\",\"UploadSize\":2}Xab")
                .unwrap()
                .1,
            import(b"ab")
        );
        assert!(matches!(
            read(b"\x03\x06{\"UploadSize\":3}\nab"),
            Err(RequestError::CutOff)
        ));
        assert!(
            is_refused(b"\x03\x06{\"UploadSize\":-2}\n")
                && is_refused(b"\x03\x06{\"UploadSize\":9223372036854775807}\n")
        );
    }

    #[test]
    fn blanks_count_no_more_than_so_many_in_a_row_and_other_bytes_all_count() {
        let name = "d".repeat(MAX_BLANKS + 1);
        let blanks = " ".repeat(MAX_DOCUMENT_BYTES as usize);
        let padded = format!("\x03\x03{blanks}{{{blanks}\"BackupDatabase\":\"{name}\"{blanks}}}\n");
        assert_eq!(
            read(padded.as_bytes()).unwrap().1,
            Request::DatabaseInfo { database: name }
        );
        let long = "d".repeat(MAX_DOCUMENT_BYTES as usize);
        let long = format!("\x03\x03{{\"BackupDatabase\":\"{long}\"}}\n");
        assert!(read(long.as_bytes()).is_err());
    }

    #[test]
    fn a_failure_of_the_reader_is_told_apart_from_a_request_that_breaks_off() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let request = b"\x03\x06{\"UploadSize\":2}\nab";
        for end in 0..request.len() {
            let mut reader = io::BufReader::with_capacity(1, request[..end].chain(Failing));
            let result = Request::read_from(&mut reader, Accept::Both, true);
            assert!(
                matches!(
                    &result,
                    Err(RequestError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset
                ),
                "after {end} bytes: {result:?}"
            );
        }
    }

    #[test]
    fn a_server_that_is_not_writable_reads_no_payload() {
        let mut reader = &b"\x03\x06{\"UploadSize\":2}\nab"[..];
        assert!(matches!(
            Request::read_from(&mut reader, Accept::Both, false),
            Err(RequestError::Malformed(_))
        ));
        assert!(reader.starts_with(b"{"));
    }

    #[test]
    fn an_upload_leaves_its_tar_in_the_reader() {
        let mut reader = &b"\x03\x07\0\0\0\0\0\0\x01\x02tar"[..];
        assert_eq!(
            Request::read_from(&mut reader, Accept::Both, true)
                .unwrap()
                .1,
            Request::Upload { id: 258 }
        );
        assert_eq!(reader, b"tar");
    }

    fn requests() -> impl Strategy<Value = Request> {
        let since = prop::option::of(
            (-60_000_000_000i64..60_000_000_000)
                .prop_map(|s| Timestamp::from_second(s / 10).unwrap()),
        );
        prop_oneof![
            Just(Request::MetaStore),
            ".*".prop_map(|database| Request::DatabaseInfo { database }),
            (".*", ".*").prop_map(|(database, retention_policy)| Request::PolicyInfo {
                database,
                retention_policy
            }),
            (any::<u64>(), since).prop_map(|(id, since)| Request::Shard { id, since }),
        ]
    }

    proptest! {
        #[test]
        fn what_the_client_writes_the_server_reads(request in requests(), new in any::<bool>()) {
            let dialect = if new { Dialect::V1_5 } else { Dialect::V1_0 };
            let mut bytes = Vec::new();
            request.write_to(&mut bytes, dialect).unwrap();
            let (read_dialect, read) = read(&bytes).unwrap();
            prop_assert_eq!(read_dialect, dialect);
            prop_assert_eq!(read, request);
        }

        #[test]
        fn a_cut_request_is_never_taken_for_a_whole_one(request in requests(), at in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            request.write_to(&mut bytes, Dialect::V1_5).unwrap();
            // Without its final newline a request is whole already.
            let end = at.index(bytes.len() - 1);
            prop_assert!(matches!(read(&bytes[..end]), Err(RequestError::CutOff)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), kind in 0u8..9) {
            let _ = read(&[&[MUX_HEADER, kind][..], &bytes].concat());
            let _ = read(&[&[MUX_HEADER, b'{'][..], &bytes].concat());
        }
    }
}
