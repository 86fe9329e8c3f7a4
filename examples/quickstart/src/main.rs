//! The main job on real input, with no server at hand: the data set in `testdata/influxd-1.6.7`,
//! which a real influxd made, is served as influxd would serve it, backed up, restored, and
//! compared byte for byte. Prints each step as the command a user would type. Exits with 1 if
//! anything differs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

// What the tests use to read a whole directory.
#[allow(dead_code)]
#[path = "../../../tests/support/tree.rs"]
mod tree;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/influxd-1.6.7");

fn main() -> Result<ExitCode> {
    // Called with arguments, this is `snap`: so every command below runs in a process of its own,
    // as when it is typed.
    if env::args_os().len() > 1 {
        return Ok(ExitCode::from(influx_snap::cli::run(env::args_os())));
    }
    let place = tempfile::tempdir().context("making a temporary directory")?;
    env::set_current_dir(&place)?;

    let data = Path::new(DATA).canonicalize().context(DATA)?;
    let mut original = tree::files(&data);
    original.retain(|path, _| path.starts_with("meta/") || path.starts_with("data/"));
    println!(
        "# What an influxd 1.6.7 left on disk when it was stopped: {} files.",
        original.len()
    );
    let data = data.display();
    println!("$ mkdir influxdb && cp -r {data}/{{meta,data}} influxdb\n");
    for (path, content) in &original {
        let copy = Path::new("influxdb").join(path);
        fs::create_dir_all(copy.parent().context("a file in a directory")?)?;
        fs::write(copy, content)?;
    }

    println!(
        "# snap answers on its behalf, on a free port; a running influxd would answer on 127.0.0.1:8088."
    );
    let server = Server::start(&[
        "serve",
        "-metadir",
        "influxdb/meta",
        "-datadir",
        "influxdb/data",
        "-bind",
        "127.0.0.1:0",
    ])?;
    snap(&["backup", "-host", &server.address, "backup"])?;
    list_set()?;
    server.stop()?;

    println!("# Into empty directories, and is everything as it was?");
    snap(&[
        "restore",
        // The tombstones come back too, so that all can be compared.
        "-apply-deletes=false",
        "-metadir",
        "restored/meta",
        "-datadir",
        "restored/data",
        "backup",
    ])?;
    println!("$ diff -r influxdb restored\nOnly in restored/meta: node.json");
    let different = compare("restored", &original) + compare("influxdb", &original);
    if different > 0 {
        println!("FAILED: {different} files differ");
        return Ok(ExitCode::FAILURE);
    }
    let count = |end: &str| original.keys().filter(|path| path.ends_with(end)).count();
    let (tsm, tombstones) = (count(".tsm"), count(".tombstone"));
    println!(
        "\nByte for byte: meta.db, {tsm} TSM files and {tombstones} tombstones came back as influxd wrote them."
    );
    Ok(ExitCode::SUCCESS)
}

/// This program as `snap`.
fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(args)
        .env_remove("SNAP_HOST")
        .env_remove("SNAP_DIR");
    Ok(command)
}

/// Shows a command and runs it, with its progress in a file.
fn snap(args: &[&str]) -> Result<()> {
    println!("$ snap {} 2> log", args.join(" "));
    let status = command(args)?.stderr(fs::File::create("log")?).status()?;
    ensure!(
        status.success(),
        "it ended with {status}:\n{}",
        fs::read_to_string("log")?
    );
    println!();
    Ok(())
}

/// `snap serve` in the background.
struct Server {
    child: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Server {
    /// Shows the command and starts it; the first line of its log says where it listens.
    fn start(args: &[&str]) -> Result<Self> {
        println!("$ snap {} &", args.join(" "));
        let mut child = command(args)?.stderr(Stdio::piped()).spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("a pipe")?);
        let mut line = String::new();
        log.read_line(&mut line)?;
        println!("{line}");
        let address = line
            .split([' ', ','])
            .find(|word| word.starts_with("127.0.0.1:"))
            .map(str::to_owned);
        let server = Self {
            child,
            log,
            address: address.unwrap_or_default(),
        };
        ensure!(!server.address.is_empty(), "the server did not start");
        Ok(server)
    }

    /// Stops it as `kill` does.
    fn stop(mut self) -> Result<()> {
        println!("$ kill %1");
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let mut log = String::new();
        self.log.read_to_string(&mut log)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}:\n{log}");
        println!();
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither does anything to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints the files that the record of the set names, in columns.
fn list_set() -> Result<()> {
    let name = tree::names(Path::new("backup/.snap"))
        .into_iter()
        .find(|name| name.ends_with(".json"))
        .context("a record")?;
    println!(
        "$ jq -r '.meta, .shards[].file | \"\\(.size) \\(.name)\"' backup/.snap/{name} | column"
    );
    let record: Value = serde_json::from_slice(&fs::read(Path::new("backup/.snap").join(name))?)?;
    let shards = record["shards"]
        .as_array()
        .context("a list of shards")?
        .iter()
        .map(|shard| &shard["file"]);
    let line = |file: &Value| {
        Some(format!(
            "{:>5} {:26}",
            file["size"].as_u64()?,
            file["name"].as_str()?
        ))
    };
    let files: Vec<String> = std::iter::once(&record["meta"])
        .chain(shards)
        .filter_map(line)
        .collect();
    files
        .chunks(3)
        .for_each(|row| println!("{}", row.concat().trim_end()));
    println!();
    Ok(())
}

/// Names the files of a directory that are not as the original's, and counts them. Restore adds
/// `node.json`, as influxd's does.
fn compare(directory: &str, original: &BTreeMap<String, Vec<u8>>) -> usize {
    let found = tree::files(Path::new(directory));
    let added = found
        .keys()
        .filter(|path| !original.contains_key(*path) && *path != "meta/node.json");
    let changed = original
        .iter()
        .filter(|(path, content)| found.get(*path) != Some(*content))
        .map(|(path, _)| path);
    added
        .chain(changed)
        .inspect(|path| println!("{directory}/{path} differs"))
        .count()
}
