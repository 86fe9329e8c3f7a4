//! `snap` beside `influxd`: one server, the same shards, wall time, processor time and peak memory
//! of backups and restores.
//!
//! ```text
//! cargo bench --bench versus_influxd
//! cargo bench --bench versus_influxd -- --megabytes 300 --rounds 5 --only portable
//! ```
//!
//! It starts the influxd found in `PATH` on a temporary directory and writes one week of floats,
//! integers and strings, some 25 MB of TSM. With the server stopped, the files are copied into
//! further weekly shards until there are about as many megabytes as asked for. Then, round after
//! round and after one round that is not counted, each client
//!
//! - backs the database up into a fresh directory on the same file system, in the legacy and in the
//!   portable layout,
//! - restores it into the running server from a portable backup of influxd's, under another name,
//! - restores it into fresh directories from a legacy backup of influxd's.
//!
//! What a round leaves is deleted, and the disk brought to rest, before the next client starts.
//!
//! Only the client is measured, as `wait4` tells: the server's part of the work is in the wall time
//! and in nothing else. The clients do not do the same: `snap` checks and hashes (SHA-256) all it
//! reads, returns when everything is on the disk, reads a whole backup before it restores anything,
//! and reads back what the server made of it, while influxd does none of these. What lasting files
//! alone cost it is seen where `sync` follows it. Server and client share the machine and all is
//! read from memory, so with few cores the wall time is mostly processor time, the server's too.
//! Read the ratios and not the seconds, which belong to one machine and its disk. No time makes the
//! benchmark fail; a result that is not whole does.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::cell::Cell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use support::data::{START, flush};
use support::influxd::{Index, Influxd, influxd_binary};
use support::tree;

/// The database that is backed up.
const DATABASE: &str = "bench";

/// What a restore calls it.
const COPY: &str = "copy";

/// The argument that makes this program run another one and measure it.
const MEASURE: &str = "--measure";

/// A second, and the length of a shard, in nanoseconds.
const SECOND: i64 = 1_000_000_000;
const WEEK: i64 = 7 * 24 * 3600 * SECOND;

/// The series of the week that is written, and the points in each.
const HOSTS: u64 = 50;
const POINTS: u64 = 10_080;

/// One million bytes.
const MEGA: f64 = 1e6;

/// What is asked for on the command line.
struct Options {
    megabytes: u64,
    rounds: usize,
    /// The comparisons whose names hold this.
    only: String,
}

/// Looks at what a run left in its directory, and takes it away; gets the name of the client too.
type Settle = Box<dyn Fn(&Path, &str)>;

/// Clients that do the same.
struct Comparison {
    name: &'static str,
    contenders: Vec<Contender>,
    /// What a run left: looks whether it is whole, and takes it away. Gets the directory the run
    /// was given.
    settle: Settle,
}

/// A client and its runs.
struct Contender {
    name: &'static str,
    /// The command line; the word `DIR` stands for a directory of the run's own.
    command: Vec<OsString>,
    runs: Vec<Usage>,
}

/// What one run of a client took.
struct Usage {
    wall: Duration,
    cpu: Duration,
    peak_rss: u64,
}

/// What is compared: its name, how to get it from a run, and its unit.
type Quantity = (&'static str, fn(&Usage) -> f64, &'static str);

const QUANTITIES: [Quantity; 3] = [
    ("wall", |usage| usage.wall.as_secs_f64() * 1e3, "ms"),
    ("CPU", |usage| usage.cpu.as_secs_f64() * 1e3, "ms"),
    ("peak memory", |usage| usage.peak_rss as f64 / MEGA, "MB"),
];

fn main() {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == MEASURE) {
        return measure(&args[1..]);
    }
    let options = Options::parse(args);
    let root = tempfile::tempdir().expect("a temporary directory");
    let server = Rc::new(serve(&root.path().join("server"), options.megabytes));
    println!(
        "server: influxd {}, {:.0} MB of TSM in {} shards, {} cores; {} rounds after one to warm up",
        version(),
        tsm_bytes(&server) as f64 / MEGA,
        server.shards().len(),
        thread::available_parallelism().map_or(0, usize::from),
        options.rounds,
    );
    let sources = root.path().join("sources");
    let comparisons = [
        backups(&server, &[]),
        backups(&server, &["-portable"]),
        live(&server, &sources),
        offline(&server, &sources),
    ];
    for mut comparison in comparisons
        .into_iter()
        .filter(|comparison| comparison.name.contains(&options.only))
    {
        for round in 0..=options.rounds {
            for contender in &mut comparison.contenders {
                let directory = root.path().join("run");
                let usage = contender.run(&directory);
                (comparison.settle)(&directory, contender.name);
                if round > 0 {
                    contender.runs.push(usage);
                }
            }
        }
        println!(
            "\n== {} ==\n{}",
            comparison.name,
            table(&comparison.contenders)
        );
    }
}

impl Options {
    fn parse(args: Vec<OsString>) -> Self {
        let mut options = Self {
            megabytes: 300,
            rounds: 5,
            only: String::new(),
        };
        let mut args = args
            .into_iter()
            .map(|arg| arg.into_string().expect("arguments in UTF-8"));
        while let Some(arg) = args.next() {
            let mut value = || args.next();
            let mut number = || {
                value()
                    .and_then(|value| value.parse().ok())
                    .filter(|number| *number > 0)
            };
            let known = match arg.as_str() {
                "--megabytes" => number().map(|number| options.megabytes = number),
                "--rounds" => number().map(|number| options.rounds = number as usize),
                "--only" => value().map(|name| options.only = name),
                // Cargo says so to every benchmark.
                "--bench" => Some(()),
                _ => None,
            };
            known.unwrap_or_else(|| {
                panic!("{arg}: the arguments are --megabytes N, --rounds N and --only NAME")
            });
        }
        options
    }
}

/// A client with its command line; `sync` makes last what it leaves.
fn contender(name: &'static str, program: &OsStr, args: &[&str], sync: bool) -> Contender {
    let plain = std::iter::once(program.to_owned()).chain(args.iter().map(OsString::from));
    // The shell gets a command line whose last word is a directory, runs that, and makes the
    // directory's files last.
    let synced = [
        "sh",
        "-c",
        "\"$@\" && for dir; do :; done && sync \"$dir\"/*",
        "sh",
    ]
    .map(OsString::from);
    let command = if sync {
        synced.into_iter().chain(plain).collect()
    } else {
        plain.collect()
    };
    Contender {
        name,
        command,
        runs: Vec::new(),
    }
}

/// Backups, with more flags.
fn backups(server: &Influxd, flags: &[&str]) -> Comparison {
    let (influxd, snap, host) = (
        influxd_binary().into_os_string(),
        OsString::from(env!("CARGO_BIN_EXE_snap")),
        server.host(),
    );
    let args = |more: &[&str]| -> Vec<String> {
        let common = ["backup", "-database", DATABASE, "-host", &host];
        common
            .iter()
            .chain(flags)
            .chain(more)
            .chain(&["DIR"])
            .map(|&word| word.to_owned())
            .collect()
    };
    let contender = |name, program: &OsStr, more: &[&str], sync| {
        let args = args(more);
        contender(
            name,
            program,
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
            sync,
        )
    };
    let portable = !flags.is_empty();
    let least = Cell::new(0);
    let settle = move |directory: &Path, name: &str| {
        let shards = tree::names(directory)
            .into_iter()
            .filter(|name| name.starts_with(DATABASE) || name.ends_with(".gz"));
        let size: u64 = shards
            .map(|name| {
                fs::metadata(directory.join(name))
                    .expect("a shard file")
                    .len()
            })
            .sum();
        // The first of all is influxd's own, which the others must match.
        if least.get() == 0 {
            least.set(size);
            println!("\n{name}: {:.1} MB", size as f64 / MEGA);
        } else if portable {
            println!(
                "{name}: {:.3} of that size",
                size as f64 / least.get() as f64
            );
        } else {
            assert_eq!(
                size,
                least.get(),
                "{name} left shard files of another size than influxd"
            );
        }
        fs::remove_dir_all(directory).expect("removing a backup");
    };
    Comparison {
        name: if portable {
            "backup -portable"
        } else {
            "backup"
        },
        contenders: vec![
            contender("influxd backup", &influxd, &[], false),
            contender("influxd backup, sync", &influxd, &[], true),
            contender("snap backup", &snap, &[], false),
            contender("snap backup -jobs 1", &snap, &["-jobs", "1"], false),
        ],
        settle: Box::new(settle),
    }
}

/// A backup of influxd's to restore from.
fn source(server: &Influxd, path: &Path, flags: &[&str]) -> String {
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    let host = server.host();
    let args = [
        &["backup", "-database", DATABASE, "-host", &host],
        flags,
        &[&path],
    ]
    .concat();
    let output = influxd(&args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    path
}

/// Restores into the running server.
fn live(server: &Rc<Influxd>, sources: &Path) -> Comparison {
    let source = source(server, &sources.join("portable"), &["-portable"]);
    let host = server.host();
    let args = [
        "restore",
        "-portable",
        "-host",
        &host,
        "-db",
        DATABASE,
        "-newdb",
        COPY,
    ];
    let no_verify = [&args[..], &["-no-verify", &source]].concat();
    let args = [&args[..], &[&source]].concat();
    let server = Rc::clone(server);
    let settle = move |_: &Path, name: &str| {
        // influxd returns before the server is done.
        let begun = Instant::now();
        let count = |database| {
            server
                .query(database, "SELECT count(sent) FROM host")
                .to_string()
        };
        let expected = count(DATABASE);
        while count(COPY) != expected {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{name} did not restore all"
            );
            thread::sleep(Duration::from_millis(100));
        }
        server.execute(&format!("DROP DATABASE {COPY}"));
    };
    let snap = env!("CARGO_BIN_EXE_snap").as_ref();
    Comparison {
        name: "restore -portable",
        contenders: vec![
            contender(
                "influxd restore",
                influxd_binary().as_os_str(),
                &args,
                false,
            ),
            contender("snap restore", snap, &args, false),
            contender("snap restore -no-verify", snap, &no_verify, false),
        ],
        settle: Box::new(settle),
    }
}

/// Restores into fresh directories.
fn offline(server: &Influxd, sources: &Path) -> Comparison {
    let source = source(server, &sources.join("legacy"), &[]);
    let bytes = tsm_bytes(server);
    let args = [
        "restore", "-metadir", "DIR/meta", "-datadir", "DIR/data", "-db", DATABASE,
    ];
    let (theirs, ours) = (
        [&args[..], &[&source]].concat(),
        [&args[..], &["-host", "127.0.0.1:1", &source]].concat(),
    );
    let settle = move |directory: &Path, name: &str| {
        let files = tree::files(&directory.join("data"));
        let size: u64 = files
            .iter()
            .filter(|(name, _)| name.ends_with(".tsm"))
            .map(|(_, file)| file.len() as u64)
            .sum();
        assert_eq!(size, bytes, "{name} restored another number of bytes");
        fs::remove_dir_all(directory).expect("removing what was restored");
    };
    Comparison {
        name: "restore -metadir -datadir",
        contenders: vec![
            contender(
                "influxd restore",
                influxd_binary().as_os_str(),
                &theirs,
                false,
            ),
            contender(
                "snap restore",
                env!("CARGO_BIN_EXE_snap").as_ref(),
                &ours,
                false,
            ),
        ],
        settle: Box::new(settle),
    }
}

impl Contender {
    /// Runs the client once; `DIR` in its command line is `directory`.
    fn run(&self, directory: &Path) -> Usage {
        // Pages that the run before left to be written would be paid for by whoever syncs next.
        rustix::fs::sync();
        let this = env::current_exe().expect("the path of this program");
        let path = directory.to_str().expect("a path in UTF-8");
        let words = self.command.iter().map(|word| {
            match word.to_str().and_then(|word| word.strip_prefix("DIR")) {
                Some(rest) => OsString::from(format!("{path}{rest}")),
                None => word.clone(),
            }
        });
        let mut command = Command::new(this);
        command.arg(MEASURE).args(words).stdin(Stdio::null());
        for (name, _) in
            env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SNAP_"))
        {
            command.env_remove(name);
        }
        let output = command.output().expect("this program runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}: {said}{}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        let numbers: Vec<u64> = said
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [wall, cpu, peak_rss] = numbers[..] else {
            panic!("three numbers instead of {said}")
        };
        Usage {
            wall: Duration::from_micros(wall),
            cpu: Duration::from_micros(cpu),
            peak_rss,
        }
    }
}

/// Runs a program and prints its wall time and processor time in microseconds and its peak memory
/// in bytes.
///
/// This is a process of its own because a child's peak memory begins at that of the process that
/// starts it.
fn measure(command: &[OsString]) {
    let begun = Instant::now();
    let child = Command::new(&command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .spawn()
        .expect("the client starts");
    let (status, usage) = wait(child);
    let wall = begun.elapsed();
    assert_eq!(status, 0, "the client failed");
    let number = |value: i64| u64::try_from(value).expect("a positive number");
    let micros = |time: libc::timeval| number(time.tv_sec) * 1_000_000 + number(time.tv_usec);
    println!(
        "{} {} {}",
        wall.as_micros(),
        micros(usage.ru_utime) + micros(usage.ru_stime),
        number(usage.ru_maxrss) * 1024
    );
}

/// Waits for a child; gives its status and its usage.
// The standard library waits without telling the usage of one child; both structures are plain data
// for the call to fill.
#[allow(unsafe_code)]
fn wait(child: Child) -> (i32, libc::rusage) {
    let mut status = 0;
    let mut usage = unsafe { std::mem::zeroed() };
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    let got = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(got, pid, "wait4: {}", io::Error::last_os_error());
    (status, usage)
}

/// Starts a server that holds about so many megabytes of TSM files in weekly shards of equal size.
fn serve(root: &Path, megabytes: u64) -> Influxd {
    let server = Influxd::start(root, Index::Inmem);
    server.execute(&format!("CREATE DATABASE {DATABASE}"));
    // In one piece, so that the server makes one file of it and has nothing to compact later.
    server.write(DATABASE, "", &week());
    flush(&server);
    let shards = (megabytes * 1_000_000).div_ceil(tsm_bytes(&server));
    let mut points = String::new();
    for week in 1..shards.cast_signed() {
        writeln!(points, "seed v=1 {}", START + week * WEEK).expect("writing to a string");
    }
    server.write(DATABASE, "", &points);
    flush(&server);
    let ids: Vec<u64> = server.shards().iter().map(|shard| shard.2).collect();
    let data = server.data_dir().join(DATABASE).join("autogen");
    server.stop();
    // The server does not look whether the points of a file are of the shard's week.
    let source = data.join(ids[0].to_string());
    for name in tree::names(&source)
        .iter()
        .filter(|name| name.ends_with(".tsm"))
    {
        let (generation, rest) = name.split_once('-').expect("the name of a TSM file");
        let generation: u64 = generation.parse().expect("a generation");
        for id in &ids[1..] {
            let copy = data
                .join(id.to_string())
                .join(format!("{:09}-{rest}", generation + 1));
            fs::copy(source.join(name), copy).expect("copying a TSM file");
        }
    }
    Influxd::start(root, Index::Inmem)
}

/// A week of points: noisy floats, counters, and lines of a log.
fn week() -> String {
    let mut random = 88_172_645_463_325_252_u64;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let step = WEEK / POINTS.cast_signed();
    let mut lines = String::new();
    for host in 0..HOSTS {
        let (mut load, mut sent) = (0.5, 0);
        for point in 0..POINTS {
            let time = START + point.cast_signed() * step + draw(SECOND as u64).cast_signed();
            load = (load + draw(2001) as f64 / 1e5 - 0.01).clamp(0.0, 1.0);
            sent += draw(100_000);
            let celsius = 20.0 + draw(500) as f64 / 100.0;
            write!(
                lines,
                "host,name=host{host:03} load={load:.4},celsius={celsius},sent={sent}i"
            )
            .expect("writing to a string");
            if point % 4 == 0 {
                let (path, took) = (draw(5000), draw(900));
                write!(lines, ",log=\"GET /item/{path:04x} 200 in {took} ms\"")
                    .expect("writing to a string");
            }
            writeln!(lines, " {time}").expect("writing to a string");
        }
    }
    lines
}

/// The bytes of the TSM files.
fn tsm_bytes(server: &Influxd) -> u64 {
    let data = server.data_dir();
    let size = |directory: &Path| -> u64 {
        let files = tree::names(directory)
            .into_iter()
            .filter(|name| name.ends_with(".tsm"));
        files
            .map(|name| {
                fs::metadata(directory.join(name))
                    .expect("a TSM file")
                    .len()
            })
            .sum()
    };
    server
        .shards()
        .iter()
        .map(|(db, rp, id, ..)| size(&data.join(db).join(rp).join(id.to_string())))
        .sum()
}

/// Runs influxd as a client, for as long as it takes.
fn influxd(args: &[&str]) -> Output {
    let mut command = Command::new(influxd_binary());
    command.args(args).stdin(Stdio::null());
    command.output().expect("influxd runs")
}

/// The version that influxd calls itself.
fn version() -> String {
    let output = influxd(&["version"]);
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .nth(1)
        .unwrap_or("of unknown version")
        .to_owned()
}

/// Medians with the least and the greatest, and for all but the first contender their ratios to
/// those of the first.
///
/// On a machine that does other work as well, the ratio of the least values says more than that of
/// the medians.
fn table(contenders: &[Contender]) -> String {
    let mut text = format!("{:<22}", "");
    for (name, _, unit) in QUANTITIES {
        write!(text, "{:>28}", format!("{name} / {unit}")).expect("writing to a string");
    }
    for contender in contenders {
        write!(text, "\n{:<22}", contender.name).expect("writing to a string");
        for (_, get, _) in QUANTITIES {
            write!(
                text,
                "{:>28}",
                spread(contender.runs.iter().map(get).collect())
            )
            .expect("writing to a string");
        }
    }
    for contender in &contenders[1..] {
        write!(
            text,
            "\n\n{} / {}, median (least to greatest) of the ratios of the rounds, ratio of the leasts:",
            contender.name, contenders[0].name
        )
        .expect("writing to a string");
        for (name, get, _) in QUANTITIES {
            let pairs = contender.runs.iter().zip(&contenders[0].runs);
            let ratios = pairs.map(|(of, to)| get(of) / get(to)).collect();
            let least = |runs: &[Usage]| runs.iter().map(get).fold(f64::INFINITY, f64::min);
            let leasts = least(&contender.runs) / least(&contenders[0].runs);
            write!(text, "\n  {name:<14}{:<24}{leasts:.2}", spread(ratios))
                .expect("writing to a string");
        }
    }
    text
}

/// The median, and in parentheses the least and the greatest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    let digits = if median < 10.0 { 2 } else { 0 };
    format!(
        "{median:.digits$} ({:.digits$} to {:.digits$})",
        values[0],
        values[values.len() - 1]
    )
}
