//! The WAL: what was written since the last flush, from its segments to points and TSM files.

pub mod flush;
pub mod replay;
mod segment;

pub use segment::*;
