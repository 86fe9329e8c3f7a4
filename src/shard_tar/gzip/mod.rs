//! The gzip files of the portable layout (RFC 1952): one member with a file name, as influxd's are,
//! of blocks that are compressed and read each for itself, on all cores.
//!
//! A block is [`BLOCK`] bytes of the content, the last one what remains. Compressed it is a run of
//! deflate blocks that refer to nothing before it and end with a byte, as `pigz -i` makes them. An
//! empty deflate block ends the last. To anything that reads gzip this is a member like any other;
//! whoever knows where the blocks begin can read them side by side.

mod blocks;
mod deflate;
mod inflate;
mod reader;
mod serial;
mod workers;
mod writer;

pub use blocks::Blocks;
pub(crate) use reader::damaged_at;
pub use reader::{BlockReader, GzipReader};
pub use serial::SerialReader;
pub use writer::GzipWriter;

/// Bytes of the content in each block but the last.
const BLOCK: usize = 256 << 10;

/// The empty deflate block behind the last block.
const END: [u8; 2] = [3, 0];

/// Bytes behind the last block: that one, CRC-32 and size.
const MEMBER_END: usize = END.len() + 4 + 4;

#[cfg(test)]
mod tests;
