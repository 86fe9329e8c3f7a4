//! The tar stream that a server sends of a shard: read, checked, written, compressed.

mod fields;
mod filter;
pub mod gzip;
mod reader;
mod writer;

pub(crate) use filter::{KeptPoints, ShardTarFilter};
pub use reader::TarError;
pub use reader::{BLOCK, Ending, Member, ShardTarReader};
pub(crate) use reader::{read_past, seek_past};
pub use writer::{MemberHeader, TarWriter};
