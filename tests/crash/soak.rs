//! A soak: backups of every kind, killed at random, of a server that takes writes, deletes, drops,
//! compactions and restarts.
//!
//! In a round, a server is given work for some seconds while it is backed up into one directory,
//! again and again: full, `-incremental`, `-since last`, with and without `-resume`, in both
//! layouts, many of them killed. Then the work ends, a last backup succeeds, and the server is
//! asked for all its points, restarted, and asked again, because its answers can differ from what
//! is in its files. The set is restored, and what it holds is held against both answers and against
//! what the server acknowledged.
//!
//! What is done follows from a seed, which is printed; when it happens is up to the machine, so a
//! seed makes a finding likely to come again, not sure. By hand:
//!
//! ```text
//! SNAP_SOAK_SECONDS=3600 cargo test --locked --test crash soak -- --nocapture
//! SNAP_SOAK_SEED=1234    cargo test --locked --test crash soak -- --nocapture
//! ```
//!
//! The first goes on for an hour, the second begins with the round of that seed; both together go
//! on from there. `SNAP_SOAK_JOBS` is how many rounds run at a time. The directories of a round
//! that fails are kept, and named: what the server held before and after its restart, the backup,
//! what was restored, and the log of what was done. With `SNAP_SOAK_KEEP` those of all rounds are
//! kept in which anything differed, influxd's own answers for one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::backups::{expect_offline, expect_points};
use crate::support::data::START;
use crate::support::folder;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, Snap, backup, restore_into, restore_online, snap};
use crate::support::service::{ask, copy, shard_request};
use crate::support::time::{DAY, SECOND};

/// How many rounds there are where nobody asks for more.
const ROUNDS: u64 = 4;

/// After how long no further round is begun where nobody asks for more.
const BOUND: Duration = Duration::from_secs(25);

/// How many rounds run at a time.
const JOBS: u64 = 2;

/// The databases and policies that are written to; the first policy of each is its default.
const DATABASES: [&str; 2] = ["one", "two"];
const POLICIES: [(&str, &str); 2] = [("days", "1d"), ("weeks", "7d")];

/// How many days the points lie in.
const DAYS: u64 = 5;

/// The measurements, with their fields.
const MEASUREMENTS: [(&str, [&str; 2]); 3] = [
    ("cpu", ["f", "i"]),
    ("log", ["s", "b"]),
    ("net", ["i", "f"]),
];

/// How many hosts there are, and so series of a measurement in a policy.
const HOSTS: u64 = 5;

/// After how long an idle shard is put to rest by the server, and roused.
const MONITOR: Duration = Duration::from_secs(10);

/// How long a backup is given to finish the shards after which it is killed.
const FINISHED_WITHIN: Duration = Duration::from_secs(1);

/// How often the last backup is tried.
const LAST_ATTEMPTS: u32 = 10;

#[test]
fn what_a_server_acknowledged_comes_back_whatever_was_killed_before() {
    let soak = Soak::from_environment();
    println!(
        "soak: seed {}, {} at a time, {}",
        soak.seed,
        soak.jobs,
        soak.seconds.map_or_else(
            || format!("{ROUNDS} rounds"),
            |seconds| format!("{seconds:?}")
        )
    );
    thread::scope(|scope| {
        for _ in 0..soak.jobs {
            scope.spawn(|| soak.work());
        }
    });
    let tally = lock(&soak.tally);
    println!("soak: {tally}");
    assert!(
        tally.failed.is_empty(),
        "rounds failed, each to be repeated with SNAP_SOAK_SEED: {:?}\n{tally}",
        tally.failed
    );
}

/// A request that fails, an earlier run's say, can leave behind in the server a cache that was set
/// aside for a flush. The next flush writes that alone, and influxd then removes the WAL of all:
/// what was written in between is in memory only.
#[test]
fn points_behind_a_flush_that_failed_before_the_run_are_in_the_set_and_outlast_a_restart() {
    let folder = folder();
    let (root, dir) = (folder.path().join("source"), folder.path().join("backup"));
    let server = Influxd::start(&root, Index::Inmem);
    let started = Instant::now();
    let sleep_until = |time: Duration| thread::sleep(time.saturating_sub(started.elapsed()));
    let ask = || {
        ask(
            server.host().parse().expect("an address"),
            &shard_request(1),
        )
    };
    let point = |host: &str, nth: i64| format!("m,host={host} v={nth}i {}", START + nth * SECOND);
    server.execute("CREATE DATABASE d");
    server.write("d", "", &[point("a", 0), point("b", 0)].join("\n"));
    assert!(!ask().is_empty());
    // The shard is put to rest, and after a delete the next write does not rouse it: it cannot be
    // flushed.
    sleep_until(MONITOR + Duration::from_secs(2));
    server.query("d", "DELETE FROM m WHERE host = 'b'");
    server.write("d", "", &point("a", 1));
    assert!(ask().is_empty(), "the flush did not fail");
    server.write("d", "", &point("a", 2));
    sleep_until(MONITOR * 2 + Duration::from_secs(2));
    backup(&server.host(), &[], &dir).run().expect(0);
    let answered = server.points();
    assert_eq!(answered.len(), 3);
    server.kill();
    expect_offline(&dir, "latest", &answered, Index::Inmem);
    let restarted = Influxd::start(&root, Index::Inmem).points();
    expect_points(&restarted, &answered, "the server after its restart");
}

/// How long, and from where.
struct Soak {
    seed: u64,
    seconds: Option<Duration>,
    jobs: u64,
    begun: Instant,
    next: AtomicU64,
    tally: Mutex<Tally>,
}

/// What happened in all rounds.
#[derive(Default)]
struct Tally {
    rounds: u64,
    counts: BTreeMap<String, u64>,
    failed: Vec<u64>,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rounds, {} failed", self.rounds, self.failed.len())?;
        for (what, count) in &self.counts {
            write!(f, "; {what}: {count}")?;
        }
        Ok(())
    }
}

impl Soak {
    fn from_environment() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok()?;
            Some(
                text.parse::<u64>()
                    .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
            )
        };
        let now = Timestamp::now().as_millisecond().unsigned_abs();
        Self {
            seed: number("SNAP_SOAK_SEED").unwrap_or(now % 1_000_000_000),
            seconds: number("SNAP_SOAK_SECONDS").map(Duration::from_secs),
            jobs: number("SNAP_SOAK_JOBS").unwrap_or(JOBS),
            begun: Instant::now(),
            next: AtomicU64::new(0),
            tally: Mutex::default(),
        }
    }

    /// Does rounds until it is enough.
    fn work(&self) {
        loop {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            let enough = match self.seconds {
                Some(seconds) => self.begun.elapsed() >= seconds,
                None => nth >= ROUNDS || self.begun.elapsed() >= BOUND,
            };
            if enough {
                return;
            }
            self.round(self.seed.wrapping_add(nth));
        }
    }

    fn round(&self, seed: u64) {
        let begun = Instant::now();
        let folder = folder();
        let log = Log::default();
        let round = Round::new(seed, folder.path(), &log);
        let result = panic::catch_unwind(AssertUnwindSafe(|| round.run()));
        let mut findings = match result {
            Ok(findings) => findings,
            Err(_) => Findings::failed("the round panicked"),
        };
        findings.fails |= !log.faults().is_empty();
        let mut tally = lock(&self.tally);
        tally.rounds += 1;
        for (what, count) in log.counts() {
            *tally.counts.entry(what).or_default() += count;
        }
        for class in findings.classes.keys() {
            *tally.counts.entry(format!("rounds: {class}")).or_default() += 1;
        }
        let took = begun.elapsed().as_secs_f64();
        let summary = format!("soak: round {seed}: {took:.1} s, {}", findings.line());
        println!("{summary}");
        log.say(&summary);
        let keep_all = env::var_os("SNAP_SOAK_KEEP").is_some() && !findings.classes.is_empty();
        if findings.fails || keep_all {
            let path = keep(folder, &log, &findings);
            println!("soak: round {seed} is kept in {}", path.display());
        }
        if findings.fails {
            println!("{}", log.text());
            tally.failed.push(seed);
        }
        if tally.rounds.is_multiple_of(20) {
            println!("soak: so far {tally}");
        }
    }
}

/// Keeps the directories of a round, and its log beside them.
fn keep(folder: TempDir, log: &Log, findings: &Findings) -> PathBuf {
    let path = folder.keep();
    let text = format!("{}\n{}", log.text(), findings.text());
    fs::write(path.join("soak.log"), text).expect("writing the log");
    path
}

/// What was done in a round, with times.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<Vec<String>>,
}

impl Log {
    fn say(&self, text: &str) {
        lock(&self.lines).push(format!("{} {text}", Timestamp::now()));
    }

    fn count(&self, what: &str) {
        *lock(&self.counts).entry(what.to_owned()).or_default() += 1;
    }

    /// What must never happen, whatever the restore holds.
    fn fault(&self, text: &str) {
        self.say(&format!("FAULT {text}"));
        lock(&self.faults).push(text.to_owned());
    }

    fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.counts).clone()
    }

    fn text(&self) -> String {
        lock(&self.lines).join("\n")
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    /// Those of a seed for one purpose, independent of those for another.
    fn new(seed: u64, purpose: u64) -> Self {
        let mut chance = Self(seed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Whether something happens that does so often in a hundred times.
    fn percent(&mut self, often: u64) -> bool {
        self.below(100) < often
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).expect("a small number")]
    }

    /// A length of time up to `limit`, more often a short one.
    fn wait(&mut self, limit: Duration) -> Duration {
        let share = self.below(1000) as f64 / 1000.0;
        limit.mul_f64(share * share)
    }
}

/// A field of a point, as far as the work of a round knows it.
struct Known {
    db: &'static str,
    rp: &'static str,
    measurement: &'static str,
    host: u64,
    time: i64,
    /// The value that was acknowledged last; none where it was deleted after that.
    value: Option<String>,
    /// When the server had acknowledged the last write or delete that concerns it.
    touched: Timestamp,
    /// Whether it was ever deleted.
    deleted: bool,
    /// Whether a request that concerns it failed, so that nobody knows.
    unknown: bool,
}

/// What the server acknowledged, by what [`Influxd::points`] says before the value.
type Acknowledged = HashMap<String, Known>;

/// One round.
struct Round<'a> {
    seed: u64,
    root: &'a Path,
    log: &'a Log,
    index: Index,
    /// Settings of the server.
    settings: Vec<(&'static str, &'static str)>,
    layout: Option<&'static str>,
    /// How long the server is given work, and whether it is left alone for a while so that shards
    /// are put to rest.
    length: Duration,
    rests: bool,
    /// Whether no more than one backup, a killed one, comes between the rest and the last: what it
    /// leaves behind in the server is then still there.
    lone: bool,
    /// Where the server listens now.
    host: Mutex<String>,
    phase: AtomicU8,
}

/// Before, during and after the rest of a round.
const BUSY: u8 = 0;
const RESTING: u8 = 1;
const ROUSED: u8 = 2;

impl<'a> Round<'a> {
    fn new(seed: u64, root: &'a Path, log: &'a Log) -> Self {
        let mut chance = Chance::new(seed, 1);
        let cold = chance.of(&["1s", "2s", "10m", "10m"]);
        let full = chance.of(&["1s", "3s", "4h"]);
        let cache = chance.of(&["8192", "65536", "26214400"]);
        let settings = vec![
            ("INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION", cold),
            ("INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION", full),
            ("INFLUXDB_DATA_CACHE_SNAPSHOT_MEMORY_SIZE", cache),
        ];
        let rests = chance.percent(30);
        let length = if rests {
            MONITOR * 2 + Duration::from_millis(100 + chance.below(4000))
        } else {
            Duration::from_millis(3000 + chance.below(4000))
        };
        let layout = chance.of(&[Some("-portable=false"), Some("-portable"), None]);
        let index = if seed.is_multiple_of(2) {
            Index::Inmem
        } else {
            Index::Tsi1
        };
        let lone = chance.percent(50);
        log.say(&format!(
            "seed {seed}: {index:?}, flushed when cold for {cold} or above {cache} bytes, compacted when cold for {full}, \
             layout {layout:?}, {length:?} of work, rests: {rests}, one backup after that: {lone}"
        ));
        Self {
            seed,
            root,
            log,
            index,
            settings,
            layout,
            length,
            rests,
            lone,
            host: Mutex::default(),
            phase: AtomicU8::new(BUSY),
        }
    }

    fn source(&self) -> PathBuf {
        self.root.join("source")
    }

    fn backups(&self) -> PathBuf {
        self.root.join("backup")
    }

    fn start(&self, root: &Path) -> Influxd {
        Influxd::start_with(root, self.index, &self.settings)
    }

    fn run(&self) -> Findings {
        let mut work = Work::new(self);
        let mut runs = Runs::new(self);
        let ended = AtomicBool::new(false);
        let work = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                work.go_on();
                ended.store(true, Ordering::Relaxed);
                work
            });
            while !ended.load(Ordering::Relaxed) && !worker.is_finished() {
                runs.one();
            }
            worker.join().expect("the server was given work")
        });
        let Some(last) = runs.last() else {
            return Findings::default();
        };
        self.judge(work, &last)
    }

    /// Holds what the last set restores to against what the server answers and acknowledged.
    fn judge(&self, work: Work<'_>, last: &Last) -> Findings {
        let mut chance = Chance::new(self.seed, 4);
        let Work {
            server,
            acknowledged,
            ..
        } = work;
        let server = server.expect("the server runs");
        let before = points(&server);
        self.copy_of(&server);
        let killed = chance.percent(50);
        if killed {
            server.kill();
        } else {
            server.stop();
        }
        let server = self.start(&self.source());
        let after = points(&server);
        server.stop();
        let online = chance.percent(30);
        self.log.say(&format!(
            "restarted (killed: {killed}): {} before, {} after; restoring (online: {online})",
            before.len(),
            after.len()
        ));
        let restored = self.restore(online, last);
        let mut answers = Answers {
            before,
            after,
            restored,
            files: None,
        };
        let findings = Findings::of(&answers, &acknowledged, last);
        if !findings.fails {
            return findings;
        }
        // What a server answers is what its index names: is it in its files all the same?
        answers.files = Some(self.in_files());
        Findings::of(&answers, &acknowledged, last)
    }

    /// What is in the files that the server had before its restart, and in its WAL, whatever its
    /// index says.
    fn in_files(&self) -> Points {
        let root = self.root.join("files");
        copy(&self.root.join("before"), &root);
        for path in indexes(&root.join("data")) {
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.unwrap_or_else(|error| panic!("removing {}: {error}", path.display()));
        }
        let server = Influxd::start_with(&root, Index::Inmem, &self.settings);
        let found = points(&server);
        server.stop();
        found
    }

    /// Copies the directories of a server that runs, for whoever has to explain a finding.
    fn copy_of(&self, server: &Influxd) {
        let signal = |name: &str| {
            let sent = Command::new("kill")
                .args([name, &server.pid().to_string()])
                .status();
            assert!(sent.is_ok_and(|status| status.success()), "kill {name}");
        };
        signal("-STOP");
        copy(&self.source(), &self.root.join("before"));
        signal("-CONT");
    }

    fn restore(&self, online: bool, last: &Last) -> Points {
        let (root, dir) = (self.root.join("restored"), self.backups());
        fs::create_dir_all(&root).expect("a directory");
        let check = snap(["verify", dir.to_str().expect("a path in UTF-8")]);
        if check.code != Some(0) {
            self.log.fault(&format!("verify: {check:?}"));
        }
        let server = if online {
            let server = self.start(&root);
            let run = restore_online(&server.host(), &[], &dir).run();
            self.restored(&run, last);
            server
        } else {
            let run = restore_into(&root, &["-index", self.index.name()], &dir).run();
            self.restored(&run, last);
            self.start(&root)
        };
        let restored = points(&server);
        self.log
            .say(&format!("set {}: {} restored", last.id, restored.len()));
        server.stop();
        restored
    }

    fn restored(&self, run: &Run, last: &Last) {
        self.log.say(&format!(
            "restore: exit {:?}\n{}{}",
            run.code, run.stdout, run.stderr
        ));
        if run.code != Some(0) && !last.is_empty {
            self.log.fault("the last set cannot be restored");
        }
    }
}

/// What a server makes anew from its TSM files where it is missing.
fn indexes(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.file_name().and_then(OsStr::to_str) {
            Some("index" | "_series" | "fields.idx") => found.push(path),
            _ if path.is_dir() => found.extend(indexes(&path)),
            _ => {}
        }
    }
    found
}

/// The work that a server is given.
struct Work<'a> {
    round: &'a Round<'a>,
    chance: Chance,
    server: Option<Influxd>,
    acknowledged: Acknowledged,
    /// Makes all values different.
    count: u64,
    /// What was written so far, to be written once more.
    batches: Vec<Batch>,
}

/// Points written with one request.
#[derive(Clone)]
struct Batch {
    db: &'static str,
    rp: &'static str,
    measurement: &'static str,
    host: u64,
    lines: String,
    /// What the server is to answer: the key, the time and the value of each field.
    fields: Vec<(String, i64, String)>,
}

impl<'a> Work<'a> {
    fn new(round: &'a Round<'a>) -> Self {
        let mut work = Self {
            round,
            chance: Chance::new(round.seed, 2),
            server: None,
            acknowledged: HashMap::new(),
            count: 0,
            batches: Vec::new(),
        };
        work.start();
        for db in DATABASES {
            work.create(db);
        }
        for _ in 0..10 {
            work.write();
        }
        work
    }

    fn server(&self) -> &Influxd {
        self.server.as_ref().expect("a server that runs")
    }

    fn start(&mut self) {
        let server = self.round.start(&self.round.source());
        *lock(&self.round.host) = server.host();
        self.server = Some(server);
    }

    fn create(&mut self, db: &'static str) {
        let mut statements = String::new();
        for (nth, (rp, duration)) in POLICIES.iter().enumerate() {
            if nth == 0 {
                write!(
                    statements,
                    "CREATE DATABASE {db} WITH SHARD DURATION {duration} NAME {rp}; "
                )
            } else {
                write!(statements, "CREATE RETENTION POLICY {rp} ON {db} DURATION INF REPLICATION 1 SHARD DURATION {duration}; ")
            }
            .expect("writing to a string");
        }
        self.server().execute(&statements);
    }

    /// Works until the round's time is over.
    fn go_on(&mut self) {
        let begun = Instant::now();
        let rest = self.round.rests.then_some(Duration::from_secs(2));
        let mut rested = false;
        while begun.elapsed() < self.round.length {
            if let Some(from) = rest.filter(|from| !rested && begun.elapsed() >= *from) {
                self.rest(from);
                rested = true;
                continue;
            }
            self.something();
            thread::sleep(self.chance.wait(Duration::from_millis(150)));
        }
        self.round.log.say("the work ends");
    }

    /// Leaves the server alone until the shards that can be are put to rest, then deletes in them.
    fn rest(&mut self, worked: Duration) {
        self.round.phase.store(RESTING, Ordering::Relaxed);
        let rest = MONITOR + Duration::from_millis(500) + self.chance.wait(Duration::from_secs(3));
        self.round
            .log
            .say(&format!("after {worked:?} of work, {rest:?} of rest"));
        thread::sleep(rest);
        for _ in 0..3 {
            self.drop_series();
            self.delete();
            self.write();
            self.write();
        }
        self.round.phase.store(ROUSED, Ordering::Relaxed);
    }

    fn something(&mut self) {
        match self.chance.below(100) {
            0..=77 => self.write(),
            78..=85 => self.delete(),
            86..=88 => self.drop_series(),
            89..=90 => self.drop_measurement(),
            91..=92 => self.drop_shard(),
            93 => self.drop_policy(),
            94 => self.drop_database(),
            // Restarts keep the server's monitor from putting shards to rest.
            95..=96 if !self.round.rests => self.restart(false),
            97..=98 if !self.round.rests => self.restart(true),
            _ => thread::sleep(Duration::from_millis(300)),
        }
    }

    /// Writes some points of one series: new ones, others in place of those there are, late ones,
    /// or the very same again.
    fn write(&mut self) {
        let again = self.batches.len() as u64;
        let batch = if again > 0 && self.chance.percent(15) {
            let at = usize::try_from(self.chance.below(again)).expect("a small number");
            self.batches[at].clone()
        } else {
            let batch = self.batch();
            self.batches.push(batch.clone());
            batch
        };
        let Batch {
            db,
            rp,
            measurement,
            host,
            lines,
            fields,
        } = batch;
        let (count, (first, time, _)) = (fields.len() / 2, &fields[0]);
        let second = (time - START) / SECOND;
        let what = format!("write {count} points from {second} s: {first}");
        let done = self.does(&what, |server| server.write(db, rp, &lines));
        let touched = Timestamp::now();
        for (key, time, value) in fields {
            let known = self.acknowledged.entry(key).or_insert_with(|| Known {
                db,
                rp,
                measurement,
                host,
                time,
                value: None,
                touched,
                deleted: false,
                unknown: false,
            });
            known.value = Some(value);
            known.touched = touched;
            known.unknown = !done;
        }
    }

    fn batch(&mut self) -> Batch {
        let db = self.chance.of(&DATABASES);
        let (rp, _) = self.chance.of(&POLICIES);
        let (measurement, names) = self.chance.of(&MEASUREMENTS);
        let host = self.chance.below(HOSTS);
        let start = START + self.chance.below(DAYS) as i64 * DAY;
        let first = self.chance.below(600) as i64;
        let step = 1 + self.chance.below(20) as i64;
        let most = self.chance.of(&[5, 60, 300]);
        let (mut lines, mut fields) = (String::new(), Vec::new());
        for nth in 0..=self.chance.below(most) as i64 {
            let time = start + (first + nth * step) * SECOND;
            let [one, two] = names.map(|name| (name, self.value(name)));
            writeln!(
                lines,
                "{measurement},host=h{host} {}={},{}={} {time}",
                one.0, one.1, two.0, two.1
            )
            .expect("writing to a string");
            for (name, value) in [one, two] {
                let key = format!(
                    "{db:?}.{rp:?} {measurement:?}{{\"host\"=\"h{host}\"}} {time} {name:?}"
                );
                fields.push((key, time, value));
            }
        }
        Batch {
            db,
            rp,
            measurement,
            host,
            lines,
            fields,
        }
    }

    /// A value that, but for booleans, no other has; in line protocol it is what it is in
    /// [`Influxd::points`].
    fn value(&mut self, field: &str) -> String {
        self.count += 1;
        let count = self.count;
        match field {
            "f" => format!("{count}.5"),
            "i" => format!("{count}i"),
            "s" => format!("\"text {count}\""),
            _ => count.is_multiple_of(2).to_string(),
        }
    }

    fn delete(&mut self) {
        let db = self.chance.of(&DATABASES);
        let (measurement, _) = self.chance.of(&MEASUREMENTS);
        let host = self.chance.below(HOSTS);
        let day = self.chance.below(DAYS) as i64;
        let from = START + day * DAY + self.chance.below(1200) as i64 * SECOND;
        let to = from + self.chance.of(&[60, 1200, 3 * 86400]) * SECOND;
        let any_host = self.chance.percent(30);
        let of_host = if any_host {
            String::new()
        } else {
            format!("host = 'h{host}' AND ")
        };
        let statement =
            format!("DELETE FROM {measurement} WHERE {of_host}time >= {from} AND time < {to}");
        self.deletes(db, &statement, |known| {
            known.db == db
                && known.measurement == measurement
                && (any_host || known.host == host)
                && (from..to).contains(&known.time)
        });
    }

    fn drop_series(&mut self) {
        let db = self.chance.of(&DATABASES);
        let (measurement, _) = self.chance.of(&MEASUREMENTS);
        let host = self.chance.below(HOSTS);
        let statement = format!("DROP SERIES FROM {measurement} WHERE host = 'h{host}'");
        self.deletes(db, &statement, |known| {
            known.db == db && known.measurement == measurement && known.host == host
        });
    }

    fn drop_measurement(&mut self) {
        let db = self.chance.of(&DATABASES);
        let (measurement, _) = self.chance.of(&MEASUREMENTS);
        // The statement fails where there is none.
        let there = self.acknowledged.values().any(|known| {
            known.db == db && known.measurement == measurement && known.value.is_some()
        });
        if there {
            self.deletes(db, &format!("DROP MEASUREMENT {measurement}"), |known| {
                known.db == db && known.measurement == measurement
            });
        }
    }

    fn drop_shard(&mut self) {
        let shards = self.server().shards();
        if shards.is_empty() {
            return;
        }
        let at = usize::try_from(self.chance.below(shards.len() as u64)).expect("a small number");
        let (db, rp, id, start, end) = &shards[at];
        let nanos = |text: &str| -> i64 {
            let time: Timestamp = text.parse().expect("a time");
            i64::try_from(time.as_nanosecond()).expect("a time of a shard")
        };
        let times = nanos(start)..nanos(end);
        self.deletes(db, &format!("DROP SHARD {id}"), |known| {
            known.db == db && known.rp == rp && times.contains(&known.time)
        });
    }

    fn drop_policy(&mut self) {
        let db = self.chance.of(&DATABASES);
        let (rp, duration) = POLICIES[1];
        let statement = format!(
            "DROP RETENTION POLICY {rp} ON {db}; \
             CREATE RETENTION POLICY {rp} ON {db} DURATION INF REPLICATION 1 SHARD DURATION {duration}"
        );
        self.deletes(db, &statement, |known| known.db == db && known.rp == rp);
    }

    fn drop_database(&mut self) {
        let db = self.chance.of(&DATABASES);
        self.deletes(db, &format!("DROP DATABASE {db}"), |known| known.db == db);
        self.create(db);
    }

    fn restart(&mut self, kill: bool) {
        self.round.log.say(&format!("restart (killed: {kill})"));
        self.round.log.count(if kill {
            "servers killed"
        } else {
            "servers restarted"
        });
        let server = self.server.take().expect("a server that runs");
        if kill {
            server.kill();
        } else {
            server.stop();
        }
        self.start();
    }

    /// Runs a statement that deletes what `concerns` says.
    fn deletes(&mut self, db: &str, statement: &str, concerns: impl Fn(&Known) -> bool) {
        let done = self.does(&format!("{db}: {statement}"), |server| {
            drop(server.query(db, statement));
        });
        self.round.log.count("deletes and drops");
        let touched = Timestamp::now();
        for known in self
            .acknowledged
            .values_mut()
            .filter(|known| concerns(known))
        {
            // What was deleted before is deleted again where a server had it back.
            known.value = None;
            known.touched = touched;
            known.deleted = true;
            known.unknown |= !done;
        }
    }

    /// Asks the server for something; whether it did it.
    fn does(&self, what: &str, ask: impl Fn(&Influxd)) -> bool {
        let server = self.server();
        let begun = Instant::now();
        let done = panic::catch_unwind(AssertUnwindSafe(|| ask(server))).is_ok();
        let outcome = if done { "" } else { " FAILED" };
        self.round
            .log
            .say(&format!("{what}{outcome} ({:?})", begun.elapsed()));
        done
    }
}

/// The backups of a round.
struct Runs<'a> {
    round: &'a Round<'a>,
    chance: Chance,
    /// Whether the only one between the rest and the last was made.
    was_lone: bool,
}

/// The set that is judged.
struct Last {
    id: String,
    /// What was changed before this is in it as it was then.
    started: Timestamp,
    /// Whether older sets are needed to restore it.
    is_increment: bool,
    /// Whether it has no file of a shard.
    is_empty: bool,
}

impl<'a> Runs<'a> {
    fn new(round: &'a Round<'a>) -> Self {
        Self {
            round,
            chance: Chance::new(round.seed, 3),
            was_lone: false,
        }
    }

    /// Waits a little and makes a backup, or begins one and kills it.
    fn one(&mut self) {
        let phase = self.round.phase.load(Ordering::Relaxed);
        if phase == RESTING || phase == ROUSED && self.was_lone {
            thread::sleep(Duration::from_millis(100));
            return;
        }
        if phase == ROUSED && self.round.lone {
            self.was_lone = true;
            let flags = self.flags();
            return self.killed(&flags);
        }
        thread::sleep(self.chance.wait(Duration::from_millis(300)));
        let flags = self.flags();
        if self.chance.percent(65) {
            self.killed(&flags);
        } else {
            self.ended(&flags);
        }
    }

    /// After the work: perhaps some that are killed, and one that succeeds.
    fn last(&mut self) -> Option<Last> {
        let killed = if self.was_lone {
            0
        } else {
            self.chance.below(4)
        };
        for _ in 0..killed {
            let flags = self.flags();
            self.killed(&flags);
        }
        let flags = self.flags();
        for _ in 0..LAST_ATTEMPTS {
            if self.ended(&flags) == Some(0) {
                return Some(self.newest());
            }
            thread::sleep(Duration::from_secs(1));
        }
        self.round.log.fault("the last backup did not succeed");
        None
    }

    fn flags(&mut self) -> Vec<&'static str> {
        let mut flags = match self.chance.below(10) {
            0..=1 => vec![],
            2..=5 => vec!["-incremental"],
            _ => vec!["-since", "last"],
        };
        if !flags.is_empty() {
            flags.extend(["-cold-after", self.chance.of(&["1s", "1s", "2s"])]);
        }
        if self.chance.percent(60) {
            flags.push("-resume");
        }
        let layouts = ["-portable=false", "-portable"];
        flags.push(
            self.round
                .layout
                .unwrap_or_else(|| self.chance.of(&layouts)),
        );
        flags.extend(["-jobs", self.chance.of(&["1", "2", "4"])]);
        // A server that restarts has another port: a run that it leaves behind is to end soon.
        flags.extend(["-retries", "1", "-connect-timeout", "2s"]);
        flags
    }

    fn backup(&self, flags: &[&'static str]) -> Snap {
        backup(&lock(&self.round.host), flags, &self.round.backups()).args(["-verbose"])
    }

    fn killed(&mut self, flags: &[&'static str]) {
        let limit = self.chance.of(&[60, 250, 1000]);
        let after = self.chance.wait(Duration::from_millis(limit));
        let shards = self.chance.of(&[0, 1, 2, 4, 8]);
        let running = self.backup(flags).spawn();
        let begun = Instant::now();
        // By time alone, few would be killed between two shards, and leave something to resume.
        while begun.elapsed() < FINISHED_WITHIN && self.finished() < shards {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(if shards == 0 { after } else { after / 20 });
        running.signal(libc::SIGKILL);
        let run = running.wait();
        let log = self.round.log;
        if run.signal.is_some() {
            log.count("backups killed");
        }
        self.say(
            &format!("killed after {after:?} and {shards} shards"),
            flags,
            &run,
        );
    }

    /// How many shards a run that is under way has noted as finished.
    fn finished(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.round.backups().join(".snap")) else {
            return 0;
        };
        let notes = entries.filter_map(|entry| fs::read(entry.ok()?.path().join("finished")).ok());
        // An empty line and one with text for the run, and for each shard.
        let lines = |text: Vec<u8>| text.iter().filter(|byte| **byte == b'\n').count() / 2;
        notes
            .map(|text| lines(text).saturating_sub(1))
            .max()
            .unwrap_or(0)
    }

    fn ended(&mut self, flags: &[&'static str]) -> Option<i32> {
        let run = self.backup(flags).run();
        self.say("ended", flags, &run);
        run.code
    }

    fn say(&self, what: &str, flags: &[&'static str], run: &Run) {
        let log = self.round.log;
        let outcome = run.code.or(run.signal).unwrap_or_default();
        log.say(&format!(
            "backup {what}: {} -> {outcome} after {:?}\n{}{}",
            flags.join(" "),
            run.wall,
            run.stdout,
            run.stderr
        ));
        match run.code {
            Some(0) => log.count(&format!("backups made, {}", kind(flags))),
            // Failed, or not all could be had, or the server was not reached: it may be restarting.
            Some(1 | 3 | 5) => log.count("backups failed"),
            Some(code) => log.fault(&format!("a backup ended with {code}")),
            None => {}
        }
        if run
            .stderr
            .contains("unchanged: taken over from an earlier run")
        {
            log.count("backups that resumed");
        }
        if run
            .stderr
            .contains("closed the connection without an answer")
        {
            log.count("backups that saw silence");
        }
    }

    /// The newest set of the directory.
    fn newest(&self) -> Last {
        let hidden = self.round.backups().join(".snap");
        let ids = fs::read_dir(&hidden).expect("a directory of records");
        let newest = ids
            .filter_map(|entry| {
                let name = entry.expect("an entry").file_name().into_string().ok()?;
                Some(name.strip_suffix(".json")?.to_owned())
            })
            .max()
            .expect("a set");
        let text = fs::read(hidden.join(format!("{newest}.json"))).expect("a record");
        let record: Value = serde_json::from_slice(&text).expect("a record in JSON");
        let started = record["started"].as_str().expect("a time");
        let shards = record["shards"].as_array().expect("shards");
        let last = Last {
            started: started.parse().expect("a time"),
            is_increment: record["selection"]["since"].is_string(),
            is_empty: !shards.iter().any(|shard| shard["state"] == "stored"),
            id: newest,
        };
        self.round.log.say(&format!(
            "the last set is {}, begun at {}, an increment: {}",
            last.id, last.started, last.is_increment
        ));
        last
    }
}

/// What kind of backup flags ask for.
fn kind(flags: &[&str]) -> &'static str {
    match flags.first() {
        Some(&"-incremental") => "-incremental",
        Some(&"-since") => "-since last",
        _ => "full",
    }
}

/// The values of a server, by what is said before them.
type Points = BTreeMap<String, String>;

/// All points of a server, asked until it answers: for a moment after a restore, shards may be
/// disabled.
fn points(server: &Influxd) -> Points {
    let found = RefCell::new(Vec::new());
    let answered = server.comes_to_be(|| {
        *found.borrow_mut() = server.points();
        true
    });
    assert!(answered, "the server does not answer:\n{}", server.log());
    let split = |point: String| {
        let (key, value) = point.rsplit_once('=').expect("a value");
        (key.to_owned(), value.to_owned())
    };
    found.into_inner().into_iter().map(split).collect()
}

/// What servers answer at the end of a round.
struct Answers {
    /// The one that was backed up.
    before: Points,
    /// That one after a restart.
    after: Points,
    /// One with the directories of before that makes its index anew; asked only where the others
    /// leave a doubt.
    files: Option<Points>,
    /// The one that was restored into.
    restored: Points,
}

/// What a round showed.
#[derive(Default)]
struct Findings {
    /// The fields of points that differ, by how they do.
    classes: BTreeMap<&'static str, Vec<String>>,
    fails: bool,
}

impl Findings {
    fn failed(why: &'static str) -> Self {
        Self {
            classes: BTreeMap::from([(why, Vec::new())]),
            fails: true,
        }
    }

    /// Compares what was answered and what was acknowledged.
    fn of(answers: &Answers, acknowledged: &Acknowledged, last: &Last) -> Self {
        let Answers {
            before,
            after,
            files,
            restored,
        } = answers;
        let mut findings = Self::default();
        let keys: BTreeSet<&String> = before
            .keys()
            .chain(after.keys())
            .chain(restored.keys())
            .chain(acknowledged.keys())
            .collect();
        for key in keys {
            let seen = Seen {
                before: before.get(key),
                after: after.get(key),
                files: files.as_ref().map(|files| files.get(key)),
                restored: restored.get(key),
                known: acknowledged.get(key),
            };
            if let Some((class, fails)) = seen.class(last) {
                findings.fails |= fails;
                let text = format!(
                    "{key}: before {:?}, after {:?}, in files {:?}, restored {:?}, acknowledged {:?}",
                    seen.before,
                    seen.after,
                    seen.files,
                    seen.restored,
                    seen.known
                        .map(|known| (&known.value, known.touched, known.deleted))
                );
                findings.classes.entry(class).or_default().push(text);
            }
        }
        findings
    }

    fn line(&self) -> String {
        if self.classes.is_empty() {
            return "all equal".to_owned();
        }
        let classes: Vec<String> = self
            .classes
            .iter()
            .map(|(class, keys)| format!("{} {class}", keys.len()))
            .collect();
        let verdict = if self.fails { "FAILED: " } else { "" };
        format!("{verdict}{}", classes.join(", "))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (class, keys) in &self.classes {
            writeln!(text, "== {class}\n{}", keys.join("\n")).expect("writing to a string");
        }
        text
    }
}

/// A field of a point, wherever it was seen.
struct Seen<'a> {
    before: Option<&'a String>,
    after: Option<&'a String>,
    files: Option<Option<&'a String>>,
    restored: Option<&'a String>,
    known: Option<&'a Known>,
}

impl Seen<'_> {
    /// How it differs, and whether that is snap's fault; `None` where all is well.
    fn class(&self, last: &Last) -> Option<(&'static str, bool)> {
        let Some(known) = self.known else {
            return Some(("never written", true));
        };
        if known.unknown {
            return None;
        }
        let acknowledged = known.value.as_ref();
        let right = self.restored == acknowledged;
        // All work had ended when the last run began, whatever it took over from another.
        if known.touched >= last.started {
            return Some(("changed after the last run was begun, by its set", true));
        }
        if right && self.before == acknowledged && self.after == acknowledged {
            return None;
        }
        if right {
            return Some(("influxd answers wrongly, and the set is right", false));
        }
        if acknowledged.is_some() && self.before == acknowledged {
            return Some(match (self.restored, self.after == acknowledged) {
                (None, true) => ("missing from the set", true),
                (None, false) => ("missing from the set, and lost by influxd's restart", true),
                (Some(_), true) => ("an older value in the set", true),
                (Some(_), false) => (
                    "an older value in the set, and since influxd's restart",
                    true,
                ),
            });
        }
        if self.restored == self.after {
            return Some(if self.before == self.after {
                ("influxd and the set are wrong", false)
            } else {
                ("influxd is wrong since its restart, as the set is", false)
            });
        }
        if self.restored == self.before {
            return Some(("influxd was wrong before its restart, as the set is", false));
        }
        if self.files == Some(self.restored) {
            return Some(("influxd has in its files what its index hides", false));
        }
        match (
            last.is_increment && known.deleted,
            acknowledged,
            self.restored,
        ) {
            (true, None, Some(_)) => Some(("deleted, and back with an increment", false)),
            (true, Some(_), Some(_)) => Some(("an old value came back with an increment", true)),
            (_, _, None) => Some(("missing from the set, as influxd has it", true)),
            (_, _, Some(_)) => Some(("in the set and not in influxd", true)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
