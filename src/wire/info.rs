//! The info reply: one line of JSON with the paths of the shards a server holds, `{"Paths":["db/rp/1"]}`.

use std::fmt;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// The longest info reply read, in bytes; a path takes some tens.
const MAX_INFO_BYTES: u64 = 64 << 20;

/// Where a shard lives: `<database>/<retention policy>/<id>` below a data directory, and in a tar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardPath {
    /// The database's name.
    pub database: String,
    /// The retention policy's name.
    pub retention_policy: String,
    /// The shard's id, unique in a server.
    pub id: u64,
}

impl ShardPath {
    /// Reads `db/rp/id`, or `db\rp\id` as servers on Windows write it.
    fn parse(text: &str) -> Option<Self> {
        let separator = if text.contains('/') { '/' } else { '\\' };
        let mut parts = text.split(separator);
        let (database, retention_policy, id) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || database.is_empty() || retention_policy.is_empty() {
            return None;
        }
        Some(Self {
            database: database.to_owned(),
            retention_policy: retention_policy.to_owned(),
            id: id.parse().ok()?,
        })
    }
}

impl fmt::Display for ShardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.database, self.retention_policy, self.id)
    }
}

/// What a server said when asked for its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InfoReply {
    /// It closed without a byte: the database does not exist, or the request failed.
    Nothing,
    /// The shards it has open, in the order of the meta store.
    Shards(Vec<ShardPath>),
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Paths")]
    paths: Option<Vec<String>>,
}

/// Reads an info reply to its end.
///
/// # Errors
///
/// Those of the reader; [`io::ErrorKind::UnexpectedEof`] for a reply that breaks off; [`io::ErrorKind::InvalidData`] for
/// one that is no info reply or is longer than 64 MiB.
pub fn read_info(reader: impl Read) -> io::Result<InfoReply> {
    let mut text = Vec::new();
    reader.take(MAX_INFO_BYTES + 1).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(InfoReply::Nothing);
    }
    if text.len() as u64 > MAX_INFO_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the list of shards is longer than 64 MiB",
        ));
    }
    let document: Document = serde_json::from_slice(&text).map_err(|error| {
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
    let paths = document.paths.unwrap_or_default();
    let shards = paths.iter().map(|path| {
        ShardPath::parse(path).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("'{path}' in the list of shards is not <database>/<policy>/<id>"),
            )
        })
    });
    Ok(InfoReply::Shards(shards.collect::<io::Result<_>>()?))
}

/// Writes an info reply as servers do: without shards, `null` stands for the list.
///
/// # Errors
///
/// Those of the writer.
pub fn write_info(writer: &mut impl Write, shards: &[ShardPath]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Reply {
        #[serde(rename = "Paths")]
        paths: Option<Vec<String>>,
    }
    let paths = (!shards.is_empty()).then(|| shards.iter().map(ShardPath::to_string).collect());
    let text = serde_json::to_string(&Reply { paths }).map_err(io::Error::other)?;
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
    }
}
