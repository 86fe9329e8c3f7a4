//! The snapshotter protocol as bytes: requests out, replies in, over any `Read` and `Write`.
//!
//! A connection carries one request and its reply. The client sends the mux header byte
//! [`MUX_HEADER`] and a request ([`request`]); the server sends the reply and closes. A reply has
//! no length, status or error text: a failure is an early close. There are two dialects
//! ([`Dialect`]). All integers outside JSON are unsigned and big-endian.
//!
//! Source of these facts: runs against influxd 1.6.7 and reading the sources of 1.0 to 1.12;
//! docs/protocol.md has the whole.

mod dialect;
mod info;
mod meta_blob;
mod read_request;
mod request;
mod shard_ids;

pub use dialect::Dialect;
pub use info::{InfoReply, read_info, write_info};
pub use meta_blob::BlobError;
pub(crate) use meta_blob::MAX_META_BYTES;
pub use meta_blob::MetaBlob;
pub use read_request::Accept;
pub use read_request::RequestError;
pub use request::{Import, Request};
pub(crate) use shard_ids::ShardIds;
pub use shard_ids::{read_shard_ids, write_shard_ids};

/// The first byte of every connection: it selects the snapshotter among the services of the port.
pub(crate) const MUX_HEADER: u8 = 0x03;

/// The number a metastore reply, and so a `meta.NN` file, begins with (as eight bytes).
pub(crate) const META_MAGIC: u64 = 0x5959_0101;

/// The port a snapshotter listens on unless it is configured otherwise.
pub(crate) const DEFAULT_PORT: u16 = 8088;
