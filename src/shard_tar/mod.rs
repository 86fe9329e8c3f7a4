//! The tar stream that a server sends of a shard: read, checked, written, compressed.

mod fields;
pub mod gzip;
mod reader;
mod writer;

pub use reader::*;
pub use writer::*;
