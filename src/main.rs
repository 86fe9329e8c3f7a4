//! The `snap` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    influx_snap::cli::main(std::env::args_os())
}
