//! The info reply: one line of JSON with the paths of the shards a server holds,
//! `{"Paths":["db/rp/1"]}`.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use crate::shard::ShardPath;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The longest info reply read, in bytes; a path takes some tens.
const MAX_INFO_BYTES: u64 = 64 << 20;
/// The most shards of a database that are read. A server with hourly shard groups has as many after
/// 57 years.
const MAX_SHARDS: usize = 500_000;
/// The longest path read, in bytes: twice the longest name of a directory, and an id.
const MAX_PATH_BYTES: usize = 600;

/// What a server said when asked for its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InfoReply {
    /// It closed without a byte: the database does not exist, or the request failed.
    Nothing,
    /// The shards it has open, in the order of the metastore.
    Shards(Vec<ShardPath>),
}

#[derive(Deserialize)]
struct InfoDocument {
    #[serde(rename = "Paths")]
    paths: Option<Paths>,
}

/// The paths of a reply, read one by one: none is kept as text.
struct Paths(Vec<ShardPath>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PathsVisitor)
    }
}

struct PathsVisitor;

impl<'de> Visitor<'de> for PathsVisitor {
    type Value = Paths;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of paths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut paths: A) -> Result<Paths, A::Error> {
        let mut shards = Vec::new();
        while let Some(OnePath(shard)) = paths.next_element()? {
            if shards.len() == MAX_SHARDS {
                return Err(A::Error::custom(format!("more than {MAX_SHARDS} shards")));
            }
            shards.push(shard);
        }
        Ok(Paths(shards))
    }
}

struct OnePath(ShardPath);

impl<'de> Deserialize<'de> for OnePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PathVisitor).map(Self)
    }
}

struct PathVisitor;

impl Visitor<'_> for PathVisitor {
    type Value = ShardPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path <database>/<policy>/<id>")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ShardPath, E> {
        if text.len() > MAX_PATH_BYTES {
            return Err(E::custom(format!("a path of {} bytes", text.len())));
        }
        ShardPath::parse(text)
            .ok_or_else(|| E::custom(format!("'{text}' is not <database>/<policy>/<id>")))
    }
}

/// Reads an info reply to its end.
///
/// # Errors
///
/// Those of the reader; [`io::ErrorKind::UnexpectedEof`] for a reply that breaks off;
/// [`io::ErrorKind::InvalidData`] for one that is no info reply, or is longer or names more shards
/// than any server has.
pub fn read_info(reader: impl Read) -> io::Result<InfoReply> {
    read_at_most(reader, MAX_INFO_BYTES)
}

fn read_at_most(reader: impl Read, most: u64) -> io::Result<InfoReply> {
    let mut reader = BufReader::new(reader.take(most));
    if reader.fill_buf()?.is_empty() {
        return Ok(InfoReply::Nothing);
    }
    let document: serde_json::Result<InfoDocument> = serde_json::from_reader(&mut reader);
    let is_too_long = reader.get_ref().limit() == 0;
    let document = document.map_err(|error| {
        if error.is_io() {
            return error.into();
        }
        if is_too_long && error.is_eof() {
            let message = format!("the list of shards is longer than {} MiB", most >> 20);
            return io::Error::new(io::ErrorKind::InvalidData, message);
        }
        let kind = if error.is_eof() {
            io::ErrorKind::UnexpectedEof
        } else {
            io::ErrorKind::InvalidData
        };
        io::Error::new(
            kind,
            format!("the list of shards is no JSON of the form {{\"Paths\":[…]}}: {error}"),
        )
    })?;
    Ok(InfoReply::Shards(
        document.paths.map(|paths| paths.0).unwrap_or_default(),
    ))
}

/// Writes an info reply as servers do: without shards, `null` stands for the list.
///
/// # Errors
///
/// Those of the writer.
pub fn write_info(writer: &mut impl Write, shards: &[ShardPath]) -> io::Result<()> {
    #[derive(Serialize)]
    struct WrittenReply {
        #[serde(rename = "Paths")]
        paths: Option<Vec<String>>,
    }
    let paths = (!shards.is_empty()).then(|| shards.iter().map(ShardPath::to_string).collect());
    let text = serde_json::to_string(&WrittenReply { paths }).map_err(io::Error::other)?;
    writer.write_all(go_escaped(&text).as_bytes())?;
    writer.write_all(b"\n")
}

/// Escapes what Go's encoder escapes beyond what JSON demands.
fn go_escaped(json: &str) -> String {
    let escape = |c: char| match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    json.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(database: &str, retention_policy: &str, id: u64) -> ShardPath {
        ShardPath {
            database: database.into(),
            retention_policy: retention_policy.into(),
            id,
        }
    }

    #[test]
    fn the_literal_replies_of_influxd_are_read() {
        let reply =
            read_info(&b"{\"Paths\":[\"db.dot/a\\u0026b/10\",\"x/y/12345678\"]}\n"[..]).unwrap();
        assert_eq!(
            reply,
            InfoReply::Shards(vec![
                shard("db.dot", "a&b", 10),
                shard("x", "y", 12_345_678)
            ])
        );
        assert_eq!(
            read_info(&b"{\"Paths\":null}\n"[..]).unwrap(),
            InfoReply::Shards(Vec::new())
        );
        assert_eq!(read_info(&b""[..]).unwrap(), InfoReply::Nothing);
        assert_eq!(
            read_info(&br#"{"Paths":["db\\rp\\3"]}"#[..]).unwrap(),
            InfoReply::Shards(vec![shard("db", "rp", 3)])
        );
    }

    #[test]
    fn a_written_reply_is_that_of_influxd_and_is_read_back() {
        let shards = vec![shard("a&<b>", "autogen", 10), shard("名前 db", "x", 1)];
        let mut text = Vec::new();
        write_info(&mut text, &shards).unwrap();
        let literal = "{\"Paths\":[\"a\\u0026\\u003cb\\u003e/autogen/10\",\"名前 db/x/1\"]}\n";
        assert_eq!(String::from_utf8(text.clone()).unwrap(), literal);
        assert_eq!(read_info(&text[..]).unwrap(), InfoReply::Shards(shards));
        text.clear();
        write_info(&mut text, &[]).unwrap();
        assert_eq!(text, b"{\"Paths\":null}\n");
    }

    /// A list of paths that goes on for ever; counts what was read of it.
    struct Endless {
        path: &'static [u8],
        at: usize,
        count: u64,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let head = b"{\"Paths\":[";
            for place in &mut *buffer {
                *place = match self.at.checked_sub(head.len()) {
                    None => head[self.at],
                    Some(at) => self.path[at % self.path.len()],
                };
                self.at += 1;
            }
            self.count += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_list_without_end_is_refused_at_the_number_of_shards_that_no_server_has() {
        let refused = |path: &'static [u8]| {
            let mut endless = Endless {
                path,
                at: 0,
                count: 0,
            };
            let error = read_info(&mut endless).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            (error.to_string(), endless.count)
        };
        let (error, read) = refused(b"\"d/r/1\",");
        assert!(error.contains("more than 500000 shards"), "{error}");
        // What is held is bounded by what was read.
        assert!(read < 5 << 20, "{read}");
        let (error, read) = refused(b"x");
        assert!(read < 1 << 20, "{error}: {read}");
        let blanks = (&b"{\"Paths\":["[..]).chain(io::repeat(b' '));
        let error = read_at_most(blanks, 2 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("longer than 2 MiB"), "{error}");
        let long = format!("{{\"Paths\":[\"{}/r/1\"]}}", "d".repeat(600));
        let error = read_info(long.as_bytes()).unwrap_err().to_string();
        assert!(
            error.contains("a path of 604 bytes") && error.len() < 200,
            "{error}"
        );
        let longest = "d".repeat(600 - "/r/1".len());
        let reply = format!("{{\"Paths\":[\"{longest}/r/1\"]}}");
        assert_eq!(
            read_info(reply.as_bytes()).unwrap(),
            InfoReply::Shards(vec![shard(&longest, "r", 1)])
        );
    }

    #[test]
    fn what_the_reader_fails_with_comes_through() {
        let broken = (&b"{\"Paths\":["[..]).chain(Broken);
        let error = read_info(broken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(error.to_string(), "of its own");
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "of its own"))
            }
        }
    }

    #[test]
    fn a_reply_that_breaks_off_differs_from_one_that_is_something_else() {
        let whole = b"{\"Paths\":[\"db/rp/1\"]}";
        for end in 1..whole.len() {
            assert_eq!(
                read_info(&whole[..end]).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof,
                "cut at {end}"
            );
        }
        for odd in [
            "HTTP/1.1 400 Bad Request",
            "[]",
            "{\"Paths\":[\"db/1\"]}",
            "{\"Paths\":[\"db/rp/x\"]}",
        ] {
            assert_eq!(
                read_info(odd.as_bytes()).unwrap_err().kind(),
                io::ErrorKind::InvalidData,
                "{odd}"
            );
        }
        for (odd, expected) in [
            ("{\"Paths\":7}", "expected a list of paths"),
            (
                "{\"Paths\":[7]}",
                "expected a path <database>/<policy>/<id>",
            ),
        ] {
            let error = read_info(odd.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
