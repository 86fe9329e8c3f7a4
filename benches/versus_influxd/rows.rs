//! What is measured, and the most that each figure is meant to be.

/// A figure.
#[derive(Debug)]
pub struct Row {
    /// What it says.
    pub title: &'static str,
    pub unit: Unit,
    /// The target, in that unit. Where there is none, the figure is for comparison.
    pub at_most: Option<f64>,
}

/// What a figure is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Of wall times, that of snap divided by that of the other.
    WallRatio,
    /// Of bytes, likewise.
    SizeRatio,
    Milliseconds,
    Mebibytes,
}

use Unit::{Mebibytes, Milliseconds, SizeRatio, WallRatio};

/// A row of the table below.
macro_rules! rows {
    ($($name:ident: $title:literal, $unit:ident, $at_most:expr;)*) => {
        $(pub const $name: Row = Row { title: $title, unit: $unit, at_most: $at_most };)*
    };
}

rows! {
    LEGACY: "legacy backup / influxd", WallRatio, Some(1.0);
    LEGACY_SYNCED: "legacy backup / influxd + sync", WallRatio, None;
    LEGACY_RAW: "legacy backup / raw copy", WallRatio, Some(1.15);
    PORTABLE: "portable backup / influxd", WallRatio, Some(0.4);
    PORTABLE_SIZE: "size of a portable backup / influxd's", SizeRatio, Some(1.02);
    OFFLINE: "offline restore of influxd's set / influxd", WallRatio, Some(0.8);
    OFFLINE_OWN: "offline restore of snap's set / influxd of its own", WallRatio, Some(0.8);
    UNPACK_OWN: "offline restore of snap's portable set / pigz + tar + sync", WallRatio, Some(0.5);
    UNPACK_INFLUXD: "offline restore of influxd's portable set / pigz + tar + sync",
        WallRatio, Some(0.5);
    LIVE: "live restore, read back / influxd", WallRatio, Some(0.8);
    INCREMENTAL: "-incremental with nothing changed / full backup", WallRatio, Some(0.05);
    VERIFY: "verify -deep / sha256sum", WallRatio, Some(0.3);
    VERIFY_OWN: "verify -deep of snap's portable set / gzip -t", WallRatio, Some(0.5);
    VERIFY_INFLUXD: "verify -deep of influxd's portable set / gzip -t", WallRatio, Some(0.5);
    MEMORY_LEGACY: "peak memory, legacy backup, 4 jobs", Mebibytes, Some(24.0);
    MEMORY_PORTABLE: "peak memory, portable backup, 4 jobs", Mebibytes, Some(64.0);
    START: "start to first request", Milliseconds, Some(10.0);
    START_INFLUXD: "start to first request of influxd", Milliseconds, None;
    BINARY: "stripped binary", Mebibytes, Some(8.0);
}
