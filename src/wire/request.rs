//! Requests: one message a connection.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::{Dialect, MUX_HEADER};
use crate::time;

/// What a client asks of a snapshotter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The whole meta store.
    MetaStore,
    /// The paths of a database's shards.
    DatabaseInfo {
        /// The database.
        database: String,
    },
    /// A tar of the shard's TSM and tombstone files modified after `since`; the server flushes its cache first.
    Shard {
        /// The shard's id.
        id: u64,
        /// Files modified (by the server's clock) at this time or before are left out; `None` takes all.
        since: Option<Timestamp>,
    },
    /// A tar of the shard's TSM files reduced to the blocks that touch the bounds. Dialect 1.5 alone.
    Export {
        /// The shard's id.
        id: u64,
        /// The interval of point timestamps asked for.
        bounds: time::Bounds,
    },
}

/// The JSON document of dialect 1.0. Fields in the order influxd's client writes them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document10<'a> {
    r#type: u8,
    database: &'a str,
    retention_policy: &'a str,
    #[serde(rename = "ShardID")]
    shard_id: u64,
    since: String,
}

/// The JSON document of dialect 1.5.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document15<'a> {
    r#type: u8,
    backup_database: &'a str,
    restore_database: &'a str,
    backup_retention_policy: &'a str,
    restore_retention_policy: &'a str,
    #[serde(rename = "ShardID")]
    shard_id: u64,
    since: String,
    export_start: String,
    export_end: String,
    upload_size: i64,
}

impl Request {
    /// Writes the request, mux byte included, in one write: some servers read what follows the JSON with a single read.
    ///
    /// # Errors
    ///
    /// Those of the writer, and [`io::ErrorKind::Unsupported`] for a request the dialect does not have.
    pub fn write_to(&self, writer: &mut impl Write, dialect: Dialect) -> io::Result<()> {
        writer.write_all(&self.encode(dialect)?)?;
        writer.flush()
    }

    fn encode(&self, dialect: Dialect) -> io::Result<Vec<u8>> {
        let type_number = self.type_number(dialect)?;
        let (database, shard_id, since, bounds) = match self {
            Self::MetaStore => ("", 0, None, None),
            Self::DatabaseInfo { database } => (database.as_str(), 0, None, None),
            Self::Shard { id, since } => ("", *id, *since, None),
            Self::Export { id, bounds } => ("", *id, None, Some(*bounds)),
        };
        let mut bytes = vec![MUX_HEADER];
        match dialect {
            Dialect::V1_0 => {
                let document =
                    Document10 { r#type: type_number, database, retention_policy: "", shard_id, since: since_text(since) };
                serde_json::to_writer(&mut bytes, &document)?;
            }
            Dialect::V1_5 => {
                bytes.push(type_number);
                let bound = |nanos: Option<i64>| nanos.map_or_else(|| ZERO_TIME.to_owned(), nanos_text);
                let document = Document15 {
                    r#type: type_number,
                    backup_database: database,
                    restore_database: "",
                    backup_retention_policy: "",
                    restore_retention_policy: "",
                    shard_id,
                    since: since_text(since),
                    export_start: bound(bounds.map(|bounds| bounds.start)),
                    export_end: bound(bounds.map(|bounds| bounds.end)),
                    upload_size: 0,
                };
                serde_json::to_writer(&mut bytes, &document)?;
            }
        }
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn type_number(&self, dialect: Dialect) -> io::Result<u8> {
        Ok(match (self, dialect) {
            (Self::Shard { .. }, _) => 0,
            (Self::MetaStore, _) => 1,
            (Self::DatabaseInfo { .. }, Dialect::V1_0) => 2,
            (Self::DatabaseInfo { .. }, Dialect::V1_5) => 3,
            (Self::Export { .. }, Dialect::V1_5) => 5,
            (Self::Export { .. }, Dialect::V1_0) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "servers before 1.5 cannot export a time range"));
            }
        })
    }
}

/// Go's zero time, which servers take for "no bound".
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Servers before 1.3 compute with wrapping 64-bit nanoseconds, so a time past 2262 would mean "everything": it is moved
/// to the greatest time they can count.
fn since_text(since: Option<Timestamp>) -> String {
    since.map_or_else(|| ZERO_TIME.to_owned(), |since| nanos_text(time::to_nanos(since)))
}

fn nanos_text(nanos: i64) -> String {
    time::from_nanos(nanos).to_string()
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
            text(&Request::DatabaseInfo { database: "a'b \"c".into() }, Dialect::V1_0),
            "\x03{\"Type\":2,\"Database\":\"a'b \\\"c\",\"RetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\"}\n"
        );
        let since = "2026-11-20T08:12:23.5Z".parse().unwrap();
        assert_eq!(
            text(&Request::Shard { id: 12_345_678, since: Some(since) }, Dialect::V1_0),
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
            text(&Request::DatabaseInfo { database: "名前 db".into() }, Dialect::V1_5)
                .starts_with("\x03\x03{\"Type\":3,\"BackupDatabase\":\"名前 db\",")
        );
        assert!(text(&Request::Shard { id: 7, since: None }, Dialect::V1_5).starts_with("\x03\x00{\"Type\":0,"));
    }

    #[test]
    fn an_export_always_carries_both_bounds() {
        let bounds = time::Bounds { start: 1_600_000_000_000_000_000, ..time::Bounds::ALL };
        let sent = text(&Request::Export { id: 7, bounds }, Dialect::V1_5);
        assert!(sent.starts_with("\x03\x05{\"Type\":5,"), "{sent}");
        assert!(
            sent.contains("\"ExportStart\":\"2020-09-13T12:26:40Z\",\"ExportEnd\":\"2262-04-11T23:47:16.854775806Z\""),
            "{sent}"
        );
        let refusal = Request::Export { id: 7, bounds }.encode(Dialect::V1_0).unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_since_beyond_64_bit_nanoseconds_never_wraps_round_to_everything() {
        let since = Some("9999-12-01T00:00:00Z".parse().unwrap());
        let sent = text(&Request::Shard { id: 1, since }, Dialect::V1_0);
        assert!(sent.contains("\"Since\":\"2262-04-11T23:47:16.854775806Z\""), "{sent}");
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
        Request::MetaStore.write_to(&mut drip, Dialect::V1_5).unwrap();
        assert_eq!(drip.0, Request::MetaStore.encode(Dialect::V1_5).unwrap());
    }
}
