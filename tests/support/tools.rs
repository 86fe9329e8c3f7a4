//! What snap and influxd's own client can both do, done by either.

use super::process::snap;
use super::service::influxd_client;

/// Runs the client of that name, `snap` or `influxd`; what it wrote to standard error. Panics
/// unless it succeeds.
pub fn run(tool: &str, args: &[&str]) -> String {
    match tool {
        "snap" => snap(args).expect(0).stderr,
        "influxd" => String::from_utf8_lossy(&influxd_client(args).stderr).into_owned(),
        _ => panic!("no tool {tool}"),
    }
}
