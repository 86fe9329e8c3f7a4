//! The command lines that are compared.

use std::env;
use std::path::Path;
use std::process::Command;

use super::comparison::CommandLine;
use super::measure::DIR;
use super::raw_copy::RAW_COPY;
use super::support::influxd::influxd_binary;
use super::support::utf8;

/// What is run beside `snap` and `influxd`, and the Debian package it is in.
const TOOLS: [(&str, &str); 6] = [
    ("gzip", "gzip"),
    ("pigz", "pigz"),
    ("sha256sum", "coreutils"),
    ("strip", "binutils"),
    ("tar", "tar"),
    ("xargs", "findutils"),
];

/// Runs what follows the first argument, and syncs the files in the directory that that names.
const THEN_SYNC: &str = r#"dir=$1; shift; "$@" && sync "$dir"/*"#;

/// Unpacks the shards of the portable set in the first argument into the second, and syncs them.
const UNPACK: &str = r#"set -e; mkdir "$2"
for file in "$1"/*.tar.gz; do pigz -dc "$file" | tar -x -C "$2" -f -; done
find "$2" -type f -exec sync {} +"#;

/// In the directory of the first argument, runs the words from the third on with each file that the
/// second matches, as many at a time as there are cores.
const EACH_FILE: &str = r#"dir=$1; names=$2; shift 2
find "$dir" -maxdepth 1 -type f -name "$names" -print0 | xargs -0 -n 1 -P "$(nproc)" "$@""#;

/// Panics where one of the tools is missing.
pub fn expect_tools() {
    influxd_binary();
    for (tool, package) in TOOLS {
        let found = Command::new(tool).arg("--version").output().is_ok();
        assert!(found, "{tool} is needed: apt-get install {package}");
    }
}

/// A command line of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> CommandLine {
    words.into_iter().map(str::to_owned).collect()
}

/// `snap` with these arguments.
pub fn snap(args: &[&str]) -> CommandLine {
    words([&[env!("CARGO_BIN_EXE_snap")], args].concat())
}

/// `influxd` with these arguments.
pub fn influxd(args: &[&str]) -> CommandLine {
    words([&[utf8(&influxd_binary())], args].concat())
}

/// A command line that leaves files in [`DIR`], and syncs them.
pub fn synced(command: CommandLine) -> CommandLine {
    let script = words(["sh", "-c", THEN_SYNC, "sh", DIR]);
    script.into_iter().chain(command).collect()
}

/// The raw copy of shards, of each of which the id and the name of the file are given.
pub fn raw_copy(host: &str, shards: &[(u64, String)]) -> CommandLine {
    let this = env::current_exe().expect("the path of this program");
    let shards = shards
        .iter()
        .flat_map(|(id, name)| [id.to_string(), name.clone()]);
    words([utf8(&this), RAW_COPY, host, DIR])
        .into_iter()
        .chain(shards)
        .collect()
}

/// `pigz` and `tar` in place of an offline restore of the portable set in a directory.
pub fn unpacking(set: &Path) -> CommandLine {
    words(["sh", "-c", UNPACK, "sh", utf8(set), DIR])
}

/// A program run with each file of a directory whose name matches, on all cores.
pub fn on_each_file(set: &Path, names: &str, program: &[&str]) -> CommandLine {
    let script = ["sh", "-c", EACH_FILE, "sh", utf8(set), names];
    words([&script, program].concat())
}
