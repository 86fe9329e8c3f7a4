//! Figures that stand alone: peak memory, the time to the first request, the size of the binary.

use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use influx_snap::shard::ShardPath;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::clients::{influxd, snap};
use super::comparison::CommandLine;
use super::measure::{self, DIR, without_own_settings};
use super::results::{Line, mebibytes};
use super::rows;
use super::support::peer::{Model, Peer, Shard, Tar, Version};
use super::support::utf8;

/// How long a client may take to its first request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often each client is started; the first time is not counted.
const STARTS: usize = 21;

/// Peak memory with 4 jobs: of four shards of either size, and of either number of small shards. A
/// scripted server makes them while it sends them.
pub fn memory(directory: &Path, sizes: [u64; 2], counts: [u64; 2]) -> Vec<Line> {
    let path = |id| ShardPath {
        database: "bench".into(),
        retention_policy: "autogen".into(),
        id,
    };
    let of_size = |bytes: u64| {
        let shards = (1..=4).map(|id| Shard::with_tar(path(id), Tar::Large(bytes)));
        let data = format!("4 shards of {:.1} MB", bytes as f64 / 1e6);
        (data, peer(shards.collect()))
    };
    let of_count = |count: u64| {
        let shards = (1..=count).map(|id| Shard::new(Version::V1_6, "bench", "autogen", id));
        (format!("{count} shards"), peer(shards.collect()))
    };
    let peers = [
        of_size(sizes[0]),
        of_size(sizes[1]),
        of_count(counts[0]),
        of_count(counts[1]),
    ];
    let mut lines = Vec::new();
    for (row, flags) in [
        (&rows::MEMORY_LEGACY, &[][..]),
        (&rows::MEMORY_PORTABLE, &["-portable"]),
    ] {
        for (data, peer) in &peers {
            let host = peer.host();
            let args = ["backup", "-quiet", "-jobs", "4", "-host", &host];
            let command = snap(&[&args, flags, &[DIR]].concat());
            let usage = measure::run(&command, directory);
            fs::remove_dir_all(directory).expect("removing a backup");
            lines.push(Line::of_values(row, data, [mebibytes(usage.peak_rss)]));
        }
    }
    lines
}

/// A scripted server that holds these shards.
fn peer(shards: Vec<Shard>) -> Peer {
    let mut model = Model::new(Version::V1_6, &[]);
    model.shards = shards;
    Peer::start(model)
}

/// The time from the start of each client to the first byte of its first request.
pub fn start(directory: &Path) -> Vec<Line> {
    [
        (&rows::START, "snap", snap as fn(&[&str]) -> CommandLine),
        (&rows::START_INFLUXD, "influxd", influxd),
    ]
    .map(|(row, name, client)| {
        let times = (0..STARTS).map(|_| first_request(client, directory));
        Line::of_values(row, name, times.skip(1))
    })
    .into()
}

/// Starts a client, and ends it when its first byte has come; milliseconds.
fn first_request(client: fn(&[&str]) -> CommandLine, directory: &Path) -> f64 {
    // One of its own, so that no connection of an earlier client is waiting there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).expect("a time-out");
    let host = listener.local_addr().expect("a bound address").to_string();
    let words = client(&[
        "backup",
        "-host",
        &host,
        "-database",
        "bench",
        utf8(directory),
    ]);
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    without_own_settings(&mut command);
    let started = Instant::now();
    let mut child = command.spawn().expect("the client starts");
    let received = first_byte(&listener);
    let elapsed = started.elapsed();
    child.kill().expect("ending the client");
    child.wait().expect("the end of the client");
    if directory.exists() {
        fs::remove_dir_all(directory).expect("removing what the client left");
    }
    received.unwrap_or_else(|error| panic!("{words:?} asked nothing: {error}"));
    elapsed.as_secs_f64() * 1e3
}

/// Waits for a connection and its first byte.
fn first_byte(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0])
}

/// The size of the binary without symbols.
pub fn binary(root: &Path) -> Line {
    let stripped = root.join("snap");
    let status = Command::new("strip")
        .args(["-o".as_ref(), stripped.as_path()])
        .arg(env!("CARGO_BIN_EXE_snap"))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "strip failed");
    let size = fs::metadata(&stripped).expect("the stripped binary").len();
    Line::of_values(&rows::BINARY, "snap", [mebibytes(size)])
}
