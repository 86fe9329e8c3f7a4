//! The `snap` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(influx_snap::cli::run(std::env::args_os()))
}
