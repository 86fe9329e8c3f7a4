//! The formats a backup is made of. Everything here works on bytes, readers and writers, and knows no directory and no peer.

pub mod gzip;
pub mod meta;
pub mod meta_edit;
pub mod names;
pub mod portable;
pub mod proto;
pub mod shard_tar;
mod tar_fields;
pub mod tar_writer;
