//! The directories of a stopped influxd: `meta.db`, and `data/<db>/<rp>/<id>` with the WAL beside
//! it.
//!
//! What is said of their layout was observed on influxd 1.6.7 and read in the sources of 1.0 to
//! 1.12.

mod in_use;
mod layout;
mod meta_db;
mod ownership;
mod request_folder;
mod shards;
mod wal;

pub(crate) use in_use::{USAGE_ADVICE, is_running_on, open_file_below};
pub(crate) use layout::{
    all_shards_below, ensure_directory_name, ensure_there, is_data_dir, nearest_existing,
    shards_below, uses_tsi1,
};
pub use layout::{shard_dir, wal_dir};
pub use meta_db::LocalMeta;
pub(crate) use ownership::Ownership;
pub use shards::LocalShards;
