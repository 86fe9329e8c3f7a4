//! Requests: one message a connection.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Dialect, MUX_HEADER};
use crate::time;

/// What a client asks of a snapshotter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The whole metastore.
    MetaStore,
    /// A series file; no server ever sent one, and all answer with nothing. Dialect 1.5 alone.
    SeriesFile,
    /// The paths of a database's shards.
    DatabaseInfo {
        /// The database. Empty for all, in dialect 1.5 alone.
        database: String,
    },
    /// The paths of a retention policy's shards.
    PolicyInfo {
        /// The database.
        database: String,
        /// The policy.
        retention_policy: String,
    },
    /// A tar of the shard's TSM and tombstone files modified after `since`; the server flushes its
    /// cache first.
    Shard {
        /// The shard's id.
        id: u64,
        /// Files modified (by the server's clock) at this time or before are left out; `None` takes
        /// all.
        since: Option<Timestamp>,
    },
    /// A tar of the shard's TSM files reduced to the blocks that touch the bounds. Dialect 1.5
    /// alone.
    Export {
        /// The shard's id.
        id: u64,
        /// The interval of point timestamps asked for.
        bounds: time::Bounds,
    },
    /// Databases to be made, with new shard ids. Dialect 1.5 alone.
    Import(Import),
    /// A shard's files, as a tar that follows the request. Dialect 1.5 alone.
    Upload {
        /// The id the shard has on the server.
        id: u64,
    },
}

/// What is to be imported, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The database in `meta`; empty for all but `_internal`, each under its own name.
    pub database: String,
    /// The name it gets; empty to keep it.
    pub new_database: String,
    /// The policy that is taken; empty for all.
    pub retention_policy: String,
    /// The name it gets; empty to keep it.
    pub new_retention_policy: String,
    /// The protobuf message `meta.Data`.
    pub meta: Vec<u8>,
    /// Blanks to put into the JSON document. Servers before 1.8.8 take in what has arrived when
    /// they have decoded that, and no more: reading over blanks gives the rest the time to arrive.
    pub padding: usize,
}

/// The JSON document of dialect 1.0. Fields in the order influxd's client writes them.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document10<'a> {
    r#type: u8,
    database: &'a str,
    retention_policy: &'a str,
    #[serde(rename = "ShardID")]
    shard_id: u64,
    since: GoTime,
}

/// The JSON document of dialect 1.5.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document15<'a> {
    r#type: u8,
    backup_database: &'a str,
    restore_database: &'a str,
    backup_retention_policy: &'a str,
    restore_retention_policy: &'a str,
    #[serde(rename = "ShardID")]
    shard_id: u64,
    since: GoTime,
    export_start: GoTime,
    export_end: GoTime,
    upload_size: u64,
}

impl Request {
    /// Writes the request, mux byte included, in one write: some servers read what follows the JSON
    /// with a single read.
    ///
    /// # Errors
    ///
    /// Those of the writer, and [`io::ErrorKind::Unsupported`] for a request the dialect does not
    /// have.
    pub fn write_to(&self, writer: &mut impl Write, dialect: Dialect) -> io::Result<()> {
        writer.write_all(&self.encode(dialect)?)?;
        writer.flush()
    }

    fn encode(&self, dialect: Dialect) -> io::Result<Vec<u8>> {
        let type_number = self.type_number(dialect)?;
        let mut bytes = vec![MUX_HEADER];
        let mut old = Document10 {
            r#type: type_number,
            ..Document10::default()
        };
        let mut new = Document15 {
            r#type: type_number,
            ..Document15::default()
        };
        let mut payload: &[u8] = &[];
        match self {
            Self::Upload { id } => {
                bytes.push(type_number);
                bytes.extend(id.to_be_bytes());
                return Ok(bytes);
            }
            Self::MetaStore | Self::SeriesFile => {}
            Self::DatabaseInfo { database } => {
                (old.database, new.backup_database) = (database, database)
            }
            Self::PolicyInfo {
                database,
                retention_policy,
            } => {
                (old.database, new.backup_database) = (database, database);
                (old.retention_policy, new.backup_retention_policy) =
                    (retention_policy, retention_policy);
            }
            Self::Shard { id, since } => {
                (old.shard_id, new.shard_id) = (*id, *id);
                (old.since, new.since) = (GoTime::of(*since), GoTime::of(*since));
            }
            Self::Export { id, bounds } => {
                new.shard_id = *id;
                (new.export_start, new.export_end) =
                    (GoTime(Some(bounds.start)), GoTime(Some(bounds.end)));
            }
            Self::Import(import) => {
                (new.backup_database, new.restore_database) =
                    (&import.database, &import.new_database);
                new.backup_retention_policy = &import.retention_policy;
                new.restore_retention_policy = &import.new_retention_policy;
                new.upload_size = import.meta.len() as u64;
                payload = &import.meta;
            }
        }
        match dialect {
            Dialect::V1_0 => serde_json::to_writer(&mut bytes, &old)?,
            Dialect::V1_5 => {
                bytes.push(type_number);
                serde_json::to_writer(&mut bytes, &new)?;
                if let Self::Import(Import { padding, .. }) = self {
                    bytes.pop();
                    bytes.resize(bytes.len() + padding, b' ');
                    bytes.push(b'}');
                }
            }
        }
        bytes.push(b'\n');
        bytes.extend_from_slice(payload);
        Ok(bytes)
    }

    fn type_number(&self, dialect: Dialect) -> io::Result<u8> {
        let (new, old) = match self {
            Self::Shard { .. } => (0, Some(0)),
            Self::MetaStore => (1, Some(1)),
            Self::SeriesFile => (2, None),
            Self::DatabaseInfo { .. } => (3, Some(2)),
            Self::PolicyInfo { .. } => (4, Some(3)),
            Self::Export { .. } => (5, None),
            Self::Import(_) => (6, None),
            Self::Upload { .. } => (7, None),
        };
        match dialect {
            Dialect::V1_5 => Ok(new),
            Dialect::V1_0 => old.ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    "servers before 1.5 know neither export nor import of data",
                )
            }),
        }
    }
}

/// In words, for people.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MetaStore => write!(f, "metastore"),
            Self::SeriesFile => write!(f, "series file"),
            Self::DatabaseInfo { database } => write!(f, "info on database '{database}'"),
            Self::PolicyInfo {
                database,
                retention_policy,
            } => write!(f, "info on policy '{database}'.'{retention_policy}'"),
            Self::Shard { id, since: None } => write!(f, "shard {id}"),
            Self::Shard {
                id,
                since: Some(since),
            } => write!(f, "shard {id} since {since}"),
            Self::Export { id, bounds } => {
                let (start, end) = (time::from_nanos(bounds.start), time::from_nanos(bounds.end));
                write!(f, "export of shard {id} from {start} to {end}")
            }
            Self::Import(import) if import.database.is_empty() => {
                write!(f, "import of all databases")
            }
            Self::Import(import) => write!(f, "import of database '{}'", import.database),
            Self::Upload { id } => write!(f, "upload of shard {id}"),
        }
    }
}

/// A time in a document: nanoseconds since 1970, or nothing for Go's zero time, which servers take
/// for "no bound".
#[derive(Clone, Copy, Default)]
struct GoTime(Option<i64>);

impl GoTime {
    /// Servers before 1.3 compute with wrapping 64-bit nanoseconds, so a time past 2262 would mean
    /// "everything": it is moved to the greatest time they can count.
    fn of(time: Option<Timestamp>) -> Self {
        Self(time.map(time::to_nanos))
    }
}

impl Serialize for GoTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.map_or_else(time::go_zero, time::from_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &Request, dialect: Dialect) -> String {
        String::from_utf8(request.encode(dialect).unwrap()).unwrap()
    }

    #[test]
    fn dialect_1_0_puts_the_json_right_behind_the_mux_byte() {
        assert_eq!(
            text(&Request::MetaStore, Dialect::V1_0),
            "\x03{\"Type\":1,\"Database\":\"\",\"RetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\"}\n"
        );
        assert_eq!(
            text(
                &Request::DatabaseInfo {
                    database: "a'b \"c".into()
                },
                Dialect::V1_0
            ),
            "\x03{\"Type\":2,\"Database\":\"a'b \\\"c\",\"RetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\"}\n"
        );
        let since = "2026-11-20T08:12:23.5Z".parse().unwrap();
        assert_eq!(
            text(
                &Request::Shard {
                    id: 12_345_678,
                    since: Some(since)
                },
                Dialect::V1_0
            ),
            "\x03{\"Type\":0,\"Database\":\"\",\"RetentionPolicy\":\"\",\"ShardID\":12345678,\"Since\":\"2026-11-20T08:12:23.5Z\"}\n"
        );
    }

    #[test]
    fn dialect_1_5_puts_a_type_byte_before_the_json() {
        assert_eq!(
            text(&Request::MetaStore, Dialect::V1_5),
            "\x03\x01{\"Type\":1,\"BackupDatabase\":\"\",\"RestoreDatabase\":\"\",\"BackupRetentionPolicy\":\"\",\
             \"RestoreRetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\",\
             \"ExportStart\":\"0001-01-01T00:00:00Z\",\"ExportEnd\":\"0001-01-01T00:00:00Z\",\"UploadSize\":0}\n"
        );
        assert!(
            text(
                &Request::DatabaseInfo {
                    database: "名前 db".into()
                },
                Dialect::V1_5
            )
            .starts_with("\x03\x03{\"Type\":3,\"BackupDatabase\":\"名前 db\",")
        );
        assert!(
            text(&Request::Shard { id: 7, since: None }, Dialect::V1_5)
                .starts_with("\x03\x00{\"Type\":0,")
        );
    }

    #[test]
    fn blanks_before_a_payload_stand_inside_the_json() {
        let import = |padding| {
            Request::Import(Import {
                meta: b"meta".to_vec(),
                padding,
                ..Import::default()
            })
        };
        let (plain, padded) = (
            text(&import(0), Dialect::V1_5),
            text(&import(3), Dialect::V1_5),
        );
        assert!(
            plain.ends_with("\"UploadSize\":4}\nmeta")
                && padded.ends_with("\"UploadSize\":4   }\nmeta"),
            "{padded}"
        );
        assert_eq!(plain.len() + 3, padded.len());
    }

    #[test]
    fn an_export_always_carries_both_bounds() {
        let bounds = time::Bounds {
            start: 1_600_000_000_000_000_000,
            ..time::Bounds::ALL
        };
        let sent = text(&Request::Export { id: 7, bounds }, Dialect::V1_5);
        assert!(sent.starts_with("\x03\x05{\"Type\":5,"), "{sent}");
        assert!(
            sent.contains("\"ExportStart\":\"2020-09-13T12:26:40Z\",\"ExportEnd\":\"2262-04-11T23:47:16.854775806Z\""),
            "{sent}"
        );
        let refusal = Request::Export { id: 7, bounds }
            .encode(Dialect::V1_0)
            .unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_since_beyond_64_bit_nanoseconds_never_wraps_round_to_everything() {
        let since = Some("9999-12-01T00:00:00Z".parse().unwrap());
        let sent = text(&Request::Shard { id: 1, since }, Dialect::V1_0);
        assert!(
            sent.contains("\"Since\":\"2262-04-11T23:47:16.854775806Z\""),
            "{sent}"
        );
    }

    #[test]
    fn requests_are_told_to_people_by_what_they_ask_for() {
        let import = |database: &str| {
            Request::Import(Import {
                database: database.into(),
                ..Import::default()
            })
        };
        let (database, retention_policy) = ("db".to_owned(), "rp".to_owned());
        let bounds = time::Bounds {
            start: 0,
            end: 1_600_000_000_000_000_000,
        };
        let since = Some("2026-11-20T08:12:23.5Z".parse().unwrap());
        for (request, told) in [
            (Request::MetaStore, "metastore"),
            (Request::SeriesFile, "series file"),
            (
                Request::DatabaseInfo {
                    database: database.clone(),
                },
                "info on database 'db'",
            ),
            (
                Request::PolicyInfo {
                    database,
                    retention_policy,
                },
                "info on policy 'db'.'rp'",
            ),
            (Request::Shard { id: 7, since: None }, "shard 7"),
            (
                Request::Shard { id: 7, since },
                "shard 7 since 2026-11-20T08:12:23.5Z",
            ),
            (
                Request::Export { id: 7, bounds },
                "export of shard 7 from 1970-01-01T00:00:00Z to 2020-09-13T12:26:40Z",
            ),
            (import(""), "import of all databases"),
            (import("db"), "import of database 'db'"),
            (Request::Upload { id: 7 }, "upload of shard 7"),
        ] {
            assert_eq!(request.to_string(), told);
        }
    }

    /// Takes one byte at a time.
    struct Drip(Vec<u8>);

    impl Write for Drip {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend(bytes.first());
            Ok(bytes.len().min(1))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_writer_that_takes_one_byte_at_a_time_gets_the_same_bytes() {
        let mut drip = Drip(Vec::new());
        Request::MetaStore
            .write_to(&mut drip, Dialect::V1_5)
            .unwrap();
        assert_eq!(drip.0, Request::MetaStore.encode(Dialect::V1_5).unwrap());
    }
}
