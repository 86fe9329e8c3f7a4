//! Files and connections: durable steps with failpoints, files that somebody else may have put
//! there, streams.

pub(crate) mod adapters;
pub(crate) mod crc32_read_at;
pub(crate) mod durable;
pub(crate) mod growing_file;
pub(crate) mod open;
pub mod read_at;
pub(crate) mod scratch;
pub mod stream;
pub(crate) mod sync_behind;
