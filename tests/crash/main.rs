//! Runs that are killed or stopped, and disks that say no: what is left, and that the next run puts
//! it right.
//!
//! A real influxd is needed by all modules but `copying`, `exporting`, `failpoints`, `new_directories`
//! and `uploading`.

// Copies of sets that are killed or fail at each step.
mod copying;
// Disks that are full or may not be written, file size limits, umask, file names.
mod disks;
// Exports that are killed or fail at each step.
mod exporting;
// A run killed or failed at each step that changes its directory.
mod failpoints;
// Live restores: imports and uploads that break, a restore that is killed, and how it is resumed.
mod live_faults;
// That the names of directories that are made last before anything counts on them.
mod new_directories;
// Offline restores: damaged backups, kills, signals, hostile journals.
mod restore_faults;
// Offline restores that end while they unpack: what is left, and what is unpacked of a chain.
mod restore_unpacking;
// Backups killed at random, for some seconds or for as long as is asked for; see there.
mod soak;
// Uploads to a service that is killed at each step.
mod uploading;

#[path = "../support/mod.rs"]
mod support;
