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

use std::ffi::OsStr;

/// How the names begin of what snap makes among files of others: folders that pass, and files until
/// they are whole. No database is called so.
pub(crate) const OWN_PREFIX: &str = ".snap-";

/// Whether a name begins so.
pub(crate) fn is_own(name: impl AsRef<OsStr>) -> bool {
    let name = name.as_ref().as_encoded_bytes();
    name.starts_with(OWN_PREFIX.as_bytes())
}
