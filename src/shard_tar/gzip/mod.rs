//! The gzip files of the portable layout (RFC 1952), in members that are compressed and read each
//! for itself, on all cores.
//!
//! In a set, a member holds a block of [`BLOCK`] bytes of the content, the last one what remains. The first
//! one has the file's name, as influxd's have. To anything that reads gzip the members are one
//! content; whoever knows where they begin can read them side by side. An export is one member,
//! though: some programs that take one read no further.

mod blocks;
mod member;
mod part;
mod reader;
mod serial;
mod stored;
mod workers;
mod writer;

pub use blocks::Blocks;
pub(crate) use reader::damaged_at;
pub use reader::{BlockReader, GzipReader};
pub use serial::SerialReader;
pub use writer::GzipWriter;

/// Bytes of the content in each block but the last.
const BLOCK: usize = 256 << 10;

#[cfg(test)]
mod tests;
