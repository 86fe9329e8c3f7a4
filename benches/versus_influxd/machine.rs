//! The machine that a benchmark runs on, and its programs.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// The machine, with the file system of a directory.
pub fn machine(directory: &Path) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let first = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == name).then(|| value.trim().to_owned())
        });
        value.unwrap_or_else(|| "unknown".to_owned())
    };
    let memory = first("/proc/meminfo", "MemTotal");
    let memory = memory.trim_end_matches(" kB").parse::<f64>();
    format!(
        "{cores} cores, {}, {:.0} GiB of memory, {}, {}",
        first("/proc/cpuinfo", "model name"),
        memory.map_or(0.0, |kibibytes| kibibytes / 1_048_576.0),
        first_line("uname", &["-sr"]),
        file_system(directory)
    )
}

/// The type of the file system that a directory is on.
fn file_system(directory: &Path) -> String {
    let type_flags = ["-n", "-o", "FSTYPE", "-T"].map(Path::new);
    first_line("findmnt", &[&type_flags[..], &[directory]].concat())
}

/// The first line that a program prints.
pub fn first_line<A: AsRef<OsStr>>(program: impl AsRef<Path>, args: &[A]) -> String {
    let program = program.as_ref();
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or("unknown").to_owned()
}
