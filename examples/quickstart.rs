//! The main job on real input: backs up a running influxd, restores into fresh directories, starts influxd on them, and
//! compares every point. Prints each step as the command a user would type.

// What the tests use to run a real influxd and to fill it.
#[allow(dead_code)]
#[path = "../tests/support/data.rs"]
mod data;
#[allow(dead_code)]
#[path = "../tests/support/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../tests/support/influxd.rs"]
mod influxd;
#[allow(dead_code)]
#[path = "../tests/support/tree.rs"]
mod tree;

use std::ffi::OsString;
use std::process::ExitCode;

use data::{delete_some, load_sample};
use influxd::{Index, Influxd};

fn main() -> ExitCode {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let at = |name: &str| directory.path().join(name);
    std::env::set_current_dir(directory.path()).expect("the temporary directory can be entered");
    println!("# an influxd with five databases, several retention policies, all field types, and deletes");
    let server = Influxd::start(&at("source"), Index::Inmem);
    load_sample(&server);
    delete_some(&server);

    snap(&["backup", "-host", &server.host(), "backup"]);
    let before = server.points();
    server.stop();
    snap(&["restore", "-metadir", "target/meta", "-datadir", "target/data", "backup"]);

    println!("# an influxd on the restored directories");
    let server = Influxd::start(&at("target"), Index::Inmem);
    let after = server.points();
    if before != after {
        println!("FAILED: {} points before, {} after", before.len(), after.len());
        return ExitCode::FAILURE;
    }
    println!("all {} field values are as they were", after.len());
    ExitCode::SUCCESS
}

/// Shows a command as a user would type it, and runs it in this process.
fn snap(args: &[&str]) {
    println!("$ snap {}", args.join(" "));
    let code = influx_snap::cli::run(["snap"].iter().chain(args).map(OsString::from));
    assert_eq!(code, 0, "snap ended with exit code {code}");
}
