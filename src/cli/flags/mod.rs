//! What several commands take: flags of a server, values, and flags that were not typed.

pub(crate) mod argv;
pub(crate) mod config;
pub(crate) mod defaults;
mod directories;
mod http;
pub(crate) mod influxd;
pub(crate) mod known;
mod lock;
mod output;
pub(crate) mod passwords;
mod places;
mod points;
mod policy;
pub(crate) mod profiles;
pub(crate) mod server;
pub(crate) mod sides;
pub(crate) mod snapshotter;
pub(crate) mod source;
pub(crate) mod storage;
pub(crate) mod tables;
mod unknown;
pub(crate) mod usage;
pub(crate) mod values;

pub(crate) use directories::DirectoriesArgs;
pub(crate) use http::HttpArgs;
pub(crate) use influxd::InfluxdArgs;
pub(crate) use lock::{GraceArgs, LockArgs};
pub(crate) use output::{OutputArgs, Verbosity};
pub(crate) use points::{SeriesArgs, ShardsArgs, TimesArgs, chosen};
pub(crate) use policy::PolicyArgs;
