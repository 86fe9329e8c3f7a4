//! The processor time that the servers take for a run: where it is most of the wall time, no client
//! makes much of a difference.

use std::fs;

use super::support::influxd::Influxd;
use super::support::object_storage::Storage;

/// Ticks of a second in `/proc`, which Linux has everywhere.
const TICKS: f64 = 100.0;

/// User and system time of influxd and of the storage so far, in seconds.
pub fn seconds(server: &Influxd, storage: &Storage) -> f64 {
    // The storage runs below a shell.
    let guard = storage.guard_pid();
    let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children"));
    let children = children.expect("the children of the guard");
    let storage = children.split_whitespace().map(seconds_of);
    seconds_of(&server.pid().to_string()) + storage.sum::<f64>()
}

fn seconds_of(pid: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    let (_, fields) = stat.rsplit_once(") ").expect("its name");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks = ticks.map(|ticks| ticks.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS
}
