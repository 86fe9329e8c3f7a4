//! That every set of a series of incremental backups is whole, whatever a server went through between them, and that what has
//! not changed is not downloaded again.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use influx_snap::tsm::generation;

use support::data::{START, flush, flush_shard, tombstones};
use support::influxd::{Index, Influxd};
use support::peer::{Asked, End, Member, Model, Peer, Reply, Tar, Version, noise, tar, tsm};
use support::process::{Run, Snap, snap};
use support::service::{influxd_client, wait_for};
use support::tree;

/// A second in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// A day in nanoseconds.
const DAY: i64 = 86_400 * SECOND;

/// How many shards the server begins with, a day each.
const SHARDS: i64 = 8;

/// How long ago files of earlier days were modified.
const LONG_AGO: Duration = Duration::from_secs(3600);

/// A server, and a directory that it is backed up into.
struct Bench {
    // Killed before its directories are removed.
    server: Influxd,
    folder: TempDir,
    layout: &'static [&'static str],
}

/// A set, and what the server answered when it was made.
struct Made {
    id: String,
    points: Vec<String>,
    shards: u64,
    shared: u64,
    bytes: u64,
    said: String,
}

impl Bench {
    fn new(index: Index, layout: &'static [&'static str]) -> Self {
        let folder = folder();
        Self { server: Influxd::start(&folder.path().join("source"), index), folder, layout }
    }

    /// One with [`SHARDS`] shards of points that are large and hard to compress, all of them old.
    fn loaded(index: Index, layout: &'static [&'static str]) -> Self {
        let bench = Self::new(index, layout);
        bench.server.execute("CREATE DATABASE main; CREATE DATABASE other");
        bench.server.execute("CREATE RETENTION POLICY days ON main DURATION 0s REPLICATION 1 SHARD DURATION 1d DEFAULT");
        for day in 0..SHARDS {
            bench.write(day, "a", 20);
            bench.write(day, "b", 20);
        }
        bench.server.write("other", "", &format!("few v=1i {START}\nfew v=2i {}", START + SECOND));
        flush(&bench.server);
        bench.a_day_passes();
        bench
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    /// Writes points into the shard of a day.
    fn write(&self, day: i64, host: &str, count: i64) {
        let mut lines = String::new();
        for nth in 0..count {
            let seed = u64::try_from(day * 1000 + nth).expect("a small number");
            let text: String =
                noise(seed, 2000).iter().map(|byte| char::from(b'0' + byte % 64)).filter(|c| *c != '\\').collect();
            let time = START + day * DAY + nth * 60 * SECOND;
            writeln!(lines, "m,host={host} text=\"{text}\",n={nth}i {time}").expect("writing to a string");
        }
        self.server.write("main", "", &lines);
    }

    /// The id of the shard of a day.
    fn shard(&self, day: i64) -> u64 {
        let start = jiff::Timestamp::from_nanosecond((START + day * DAY).into()).expect("a time").to_string();
        let shards = self.server.shards();
        let shard = shards.iter().find(|shard| shard.1 == "days" && shard.3 == start);
        shard.unwrap_or_else(|| panic!("no shard of day {day}: {shards:?}")).2
    }

    fn shard_dir(&self, id: u64) -> PathBuf {
        self.server.data_dir().join(format!("main/days/{id}"))
    }

    /// The names of the TSM files of a shard.
    fn tsm_files(&self, id: u64) -> Vec<String> {
        let names = tree::names(&self.shard_dir(id));
        names.into_iter().filter(|name| name.ends_with(".tsm")).collect()
    }

    /// Makes all files as old as if they had been written on an earlier day.
    fn a_day_passes(&self) {
        age(&self.server.data_dir());
    }

    fn run(&self, flags: &[&str]) -> Run {
        let (host, dir) = (self.server.host(), self.dir());
        snap([&["backup", "-json", "-host", &host], self.layout, flags, &[utf8(&dir)]].concat())
    }

    /// Makes a set; panics if what the server answers is not the same before and after.
    fn back_up(&self, flags: &[&str]) -> Made {
        let points = self.server.points();
        let run = self.run(flags).expect(0);
        assert!(self.server.points() == points, "a backup changed what the server answers");
        let summary = messages(&run, "summary").remove(0);
        let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}"));
        let (shards, shared, bytes) = (number("shards"), number("shared"), number("bytes"));
        Made { id: summary["set"].as_str().expect("an id").to_owned(), points, shards, shared, bytes, said: run.stdout }
    }

    fn incremental(&self) -> Made {
        self.back_up(&["-incremental"])
    }

    /// Panics unless a set comes back as it was, in a server that was stopped.
    fn expect(&self, made: &Made, index: Index) {
        expect_offline(&self.dir(), &made.id, &made.points, index);
    }
}

/// Makes files as old as if they had been written on an earlier day, if they are not so old already.
fn age(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age(&path);
        } else if path.extension().is_some_and(|extension| extension == "tsm" || extension == "tombstone") {
            // A compaction may take it away meanwhile.
            let Ok(file) = File::open(&path) else { continue };
            let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            // Files of different generations were seldom written within the same seconds.
            let generation = path.file_name().and_then(|name| generation(name.to_str()?)).unwrap_or(0);
            let long_ago = SystemTime::now() - LONG_AGO + Duration::from_secs(60) * generation;
            if modified > long_ago + LONG_AGO / 2 {
                file.set_modified(long_ago).expect("setting a time");
            }
        }
    }
}

/// A folder whose path has no dot: influxd cannot restore from one that has.
fn folder() -> TempDir {
    tempfile::Builder::new().prefix("snap").tempdir().expect("a temporary directory")
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The messages of a type that a run printed.
fn messages(run: &Run, kind: &str) -> Vec<Value> {
    let messages = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    messages.filter(|message| message["message_type"] == kind).collect()
}

/// The record of a set.
fn record(dir: &Path, id: &str) -> Value {
    let text = fs::read(dir.join(format!(".snap/{id}.json"))).expect("a record");
    serde_json::from_slice(&text).expect("a record in JSON")
}

/// The ids of the shards that a set shares, each with the set it shares them with.
fn shared(dir: &Path, id: &str) -> Vec<(u64, String)> {
    let record = record(dir, id);
    let shards = record["shards"].as_array().expect("shards").iter();
    shards.filter_map(|shard| Some((shard["id"].as_u64()?, shard["shared_with"].as_str()?.to_owned()))).collect()
}

fn expect_offline(dir: &Path, set: &str, points: &[String], index: Index) {
    let folder = folder();
    let (meta, data) = (folder.path().join("meta"), folder.path().join("data"));
    let place = ["-metadir", utf8(&meta), "-datadir", utf8(&data), "-index", index.name()];
    snap([&["restore"], &place[..], &[utf8(dir), set]].concat()).expect(0);
    let server = Influxd::start(folder.path(), index);
    expect_points(&server.points(), points, set);
}

fn expect_points(found: &[String], expected: &[String], what: &str) {
    let of = |points: &[String]| points.iter().cloned().collect::<BTreeSet<String>>();
    let short = |points: Vec<&String>| -> Vec<String> {
        points.iter().take(5).map(|point| point.chars().take(100).collect()).collect()
    };
    let (is, should) = (of(found), of(expected));
    let (more, missing) = (is.difference(&should).collect::<Vec<_>>(), should.difference(&is).collect::<Vec<_>>());
    let (more_count, missing_count) = (more.len(), missing.len());
    assert!(
        found == expected,
        "{what}: {more_count} points too many, such as {:?}; {missing_count} missing, such as {:?}",
        short(more),
        short(missing)
    );
}

/// What a server goes through in the course of time, with a backup each day.
fn days(index: Index) {
    let mut bench = Bench::loaded(index, &["-portable"]);
    let full = bench.incremental();
    assert_eq!((full.shards, full.shared), (SHARDS as u64 + 1, 0));
    let mut sets = vec![full];
    let mut clean = vec![0];

    // A shard that is new, and one that changed long after its day.
    bench.a_day_passes();
    bench.write(SHARDS, "a", 5);
    bench.write(1, "late", 3);
    sets.push(bench.incremental());
    assert_eq!((sets[1].shards, sets[1].shared), (SHARDS as u64 + 2, SHARDS as u64), "{}", sets[1].said);
    clean.push(1);

    // What changed a day ago has to be seen once more, and not again after that.
    bench.a_day_passes();
    sets.push(bench.incremental());
    assert_eq!(sets[2].shared, SHARDS as u64);
    bench.a_day_passes();
    sets.push(bench.incremental());
    let (quiet, full) = (&sets[3], &sets[0]);
    assert_eq!(quiet.shared, quiet.shards, "{}", quiet.said);
    assert!(quiet.bytes * 100 < full.bytes, "{} bytes on a quiet day, {} at first", quiet.bytes, full.bytes);
    let bases: BTreeSet<String> = shared(&bench.dir(), &quiet.id).into_iter().map(|(_, set)| set).collect();
    assert_eq!(bases, [sets[0].id.clone(), sets[2].id.clone()].into(), "a shard is shared with the set that downloaded it");

    // A point in place of another, in the shards of a series that goes away elsewhere, and of a range that does.
    bench.write(0, "a", 1);
    let of_day = |day: i64| format!("time >= {} AND time < {}", START + day * DAY, START + (day + 1) * DAY);
    bench.server.query("main", &format!("DELETE FROM m WHERE host = 'b' AND {}", of_day(3)));
    bench.server.query(
        "main",
        &format!("DELETE FROM m WHERE time >= {} AND time < {}", START + 4 * DAY, START + 4 * DAY + 500 * SECOND),
    );
    sets.push(bench.incremental());
    assert_eq!(sets[4].shared, sets[4].shards - 3);

    // A day later the deletes have been compacted in.
    wait_for(|| tombstones(&bench.server).is_empty().then_some(())).expect("compactions");
    bench.a_day_passes();
    sets.push(bench.incremental());
    assert_eq!(sets[5].shared, sets[5].shards - 3);
    clean.push(5);

    // A shard goes, with its points.
    bench.a_day_passes();
    let dropped = bench.shard(6);
    bench.server.execute(&format!("DROP SHARD {dropped}"));
    sets.push(bench.incremental());
    assert!(record(&bench.dir(), &sets[6].id)["shards"].as_array().expect("shards").iter().all(|shard| shard["id"] != dropped));
    assert!(sets[6].said.contains(&format!("gone from {}", bench.server.host())), "{}", sets[6].said);
    assert!(sets[6].said.contains(&format!("main/days/{dropped}")), "{}", sets[6].said);

    // A database goes and comes back with other points, and one is new.
    bench.a_day_passes();
    bench.server.execute("DROP DATABASE other; CREATE DATABASE other; CREATE DATABASE new");
    bench.server.write("other", "", &format!("few v=3i {START}"));
    bench.server.write("new", "", &format!("few v=4i {START}"));
    sets.push(bench.incremental());
    clean.push(7);

    // Compactions, which change files and no point, and a start.
    bench.a_day_passes();
    let often = bench.shard(2);
    for nth in 0..8 {
        bench.server.write("main", "", &format!("m,host=often n={nth}i {}", START + 2 * DAY + nth));
        flush_shard(&bench.server.host(), often);
    }
    let compacted = || bench.tsm_files(often).iter().any(|name| name.ends_with("-000000002.tsm")).then_some(());
    wait_for(compacted).unwrap_or_else(|| panic!("no compaction: {:?}", bench.tsm_files(often)));
    sets.push(bench.incremental());
    bench.a_day_passes();
    let Bench { server, folder, layout } = bench;
    server.stop();
    bench = Bench { server: Influxd::start(&folder.path().join("source"), index), folder, layout };
    sets.push(bench.incremental());
    bench.a_day_passes();
    bench.write(2, "late", 2);
    sets.push(bench.incremental());
    let newest = &sets[10];
    assert_eq!(newest.shared, newest.shards - 1, "{}", newest.said);
    clean.extend([8, 9, 10]);
    let dir = bench.dir();
    for made in &sets {
        expect_offline(&dir, &made.id, &made.points, index);
    }
    // Sets with deletes that were not compacted in come back otherwise by way of influxd.
    let chosen: &[usize] = if index == Index::Inmem { &[1, 7] } else { &[5] };
    for day in chosen {
        assert!(clean.contains(day));
        let made = &sets[*day];
        by_influxd(&alone(&bench, made), made, index);
    }
    by_influxd(&dir, &sets[10], index);
    snap(["verify", utf8(&dir)]).expect(0);
}

/// Restores with influxd; panics unless the set comes back as it was.
fn by_influxd(dir: &Path, made: &Made, index: Index) {
    let folder = folder();
    let server = Influxd::start(folder.path(), index);
    influxd_client(&["restore", "-portable", "-host", &server.host(), utf8(dir)]);
    if !server.comes_to(&made.points) {
        expect_points(&server.points(), &made.points, &format!("by influxd: {}", made.id));
    }
}

#[test]
fn each_day_comes_back_as_it_was_of_an_inmem_server() {
    days(Index::Inmem);
}

#[test]
fn each_day_comes_back_as_it_was_of_a_tsi1_server() {
    days(Index::Tsi1);
}

#[test]
fn a_shard_of_which_all_files_are_gone_is_not_taken_for_unchanged() {
    let bench = Bench::new(Index::Inmem, &["-portable"]);
    bench.server.execute("CREATE DATABASE main");
    let kept = START + 100 * DAY;
    bench.server.write("main", "", &format!("m n=1i {START}\nm n=2i {}\nm n=3i {kept}", START + SECOND));
    flush(&bench.server);
    bench.a_day_passes();
    bench.incremental();
    assert_eq!(bench.incremental().shared, 2);
    bench.server.query("main", &format!("DELETE WHERE time < {kept}"));
    let emptied = bench.server.data_dir().join("main/autogen/1");
    let gone = || !tree::names(&emptied).iter().any(|name| name.ends_with(".tsm"));
    wait_for(|| gone().then_some(())).unwrap_or_else(|| panic!("no compaction: {:?}", tree::names(&emptied)));
    let made = bench.incremental();
    assert_eq!((made.shards, made.shared), (1, 1), "{}", made.said);
    let record = record(&bench.dir(), &made.id);
    let states: Vec<&Value> = record["shards"].as_array().expect("shards").iter().map(|shard| &shard["state"]).collect();
    assert_eq!(states, ["empty", "stored"]);
    let alone = alone(&bench, &made);
    expect_offline(&alone, &made.id, &made.points, Index::Inmem);
    by_influxd(&alone, &made, Index::Inmem);
}

#[test]
fn each_legacy_set_is_whole_and_stays_so_when_older_ones_go() {
    let bench = Bench::loaded(Index::Inmem, &[]);
    let first = bench.incremental();
    bench.a_day_passes();
    bench.write(1, "late", 3);
    let second = bench.incremental();
    assert_eq!((first.shared, second.shared), (0, second.shards - 1));
    bench.a_day_passes();
    bench.write(2, "late", 3);
    let third = bench.incremental();
    assert_eq!(third.shared, third.shards - 2);
    let dir = bench.dir();
    let links = |name: &str| fs::metadata(dir.join(name)).expect("a file").nlink();
    assert_eq!(links("main.days.00001.02"), 3);
    bench.expect(&second, Index::Inmem);

    // The files of a set are links of their own: not one of a newer set goes with an older one.
    for made in [&first, &second] {
        for file in files_of(&record(&dir, &made.id)) {
            fs::remove_file(dir.join(file)).expect("removing a file");
        }
        fs::remove_file(dir.join(format!(".snap/{}.json", made.id))).expect("removing a record");
    }
    assert_eq!(links("main.days.00001.02"), 1);
    snap(["verify", utf8(&dir)]).expect(0);
    bench.expect(&third, Index::Inmem);
    // A set that shares names one that is gone, and is built on all the same.
    let fourth = bench.incremental();
    assert_eq!(fourth.shared, fourth.shards - 1);
    bench.expect(&fourth, Index::Inmem);
    // The layout is a set's own, and so are its files.
    let run = snap(["backup", "-json", "-incremental", "-portable", "-host", &bench.server.host(), utf8(&dir)]).expect(0);
    assert_eq!(messages(&run, "summary")[0]["shared"], 0);
}

/// The names of a set's files.
fn files_of(record: &Value) -> Vec<String> {
    let shards = record["shards"].as_array().expect("shards").iter().map(|shard| &shard["file"]);
    let files = shards.chain([&record["meta"], &record["manifest"]]);
    files.filter_map(|file| Some(file["name"].as_str()?.to_owned())).collect()
}

/// A directory with the files of one set and its record.
fn alone(bench: &Bench, made: &Made) -> PathBuf {
    let (dir, alone) = (bench.dir(), bench.folder.path().join(format!("alone_{}", made.id)));
    fs::create_dir_all(alone.join(".snap")).expect("a directory");
    let document = format!(".snap/{}.json", made.id);
    for name in files_of(&record(&dir, &made.id)).iter().chain([&document]) {
        fs::copy(dir.join(name), alone.join(name)).expect("copying a file");
    }
    alone
}

#[test]
fn increments_to_the_last_set_come_back_with_it() {
    for (layout, index) in [(&["-portable"][..], Index::Tsi1), (&[], Index::Inmem)] {
        let bench = Bench::loaded(index, layout);
        let full = bench.back_up(&["-since", "last"]);
        assert!(full.said.contains("there is no complete set of the same selection to build on: taking all"), "{}", full.said);
        assert_eq!(full.shards, SHARDS as u64 + 1);
        for nth in 0..2 {
            bench.write(nth, "more", 3);
            bench.write(SHARDS + nth, "more", 3);
            let made = bench.back_up(&["-since", "last"]);
            assert!(made.said.contains("taking what changed after the newest complete set was begun"), "{}", made.said);
            assert!((2..SHARDS as u64).contains(&made.shards) && made.bytes < full.bytes / 2, "{}", made.said);
            bench.expect(&made, index);
        }
        bench.expect(&full, index);
        // Another selection has no set to build on.
        let other = bench.back_up(&["-since", "last", "-db", "main"]);
        assert!(other.said.contains("there is no complete set of the same selection"), "{}", other.said);
    }
}

/// A scripted server, and a directory that it is backed up into.
struct Script {
    folder: TempDir,
    peer: Peer,
}

impl Script {
    /// A server with these shards, each a TSM file that has not changed for years, which are in a first set.
    fn new(ids: impl IntoIterator<Item = u64>) -> Self {
        Self::of(Version::V1_6, ids)
    }

    /// The same of a version.
    fn of(version: Version, ids: impl IntoIterator<Item = u64>) -> Self {
        let ids: Vec<(&str, &str, u64)> = ids.into_iter().map(|id| ("db", "autogen", id)).collect();
        let mut model = Model::new(version, &ids);
        for (_, _, id) in ids {
            model.shard(id).tar = Tar::Bytes(old_tar(id));
        }
        let script = Self { folder: folder(), peer: Peer::start(model) };
        assert_eq!(script.incremental(&[]), 0);
        script
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn prepare(&self, flags: &[&str]) -> Snap {
        let host = self.peer.host();
        Snap::new([&["backup", "-json", "-host", &host], flags, &[utf8(&self.dir())]].concat())
    }

    /// Makes a set; how many shards it shares.
    fn incremental(&self, flags: &[&str]) -> u64 {
        let run = self.prepare(&[&["-incremental"], flags].concat()).run().expect(0);
        messages(&run, "summary")[0]["shared"].as_u64().expect("a number")
    }

    /// The content of shard 1 in the newest set.
    fn newest(&self) -> Vec<u8> {
        let names = tree::names(&self.dir());
        let newest = names.iter().rfind(|name| name.starts_with("db.autogen.00001.")).expect("a shard");
        fs::read(self.dir().join(newest)).expect("a shard")
    }
}

/// A shard's only file.
fn old_tar(id: u64) -> Vec<u8> {
    tar(&[Member::new(format!("db/autogen/{id}/000000001-000000001.tsm"), tsm(id, 700))])
}

#[test]
fn a_shard_is_shared_after_three_questions_that_the_server_answers_with_next_to_nothing() {
    let script = Script::new([1]);
    let before = script.peer.shard_requests().len();
    assert_eq!(script.incremental(&[]), 1);
    let asked = script.peer.shard_requests().split_off(before);
    let since: Vec<&str> =
        asked.iter().map(|text| text.split('"').find(|part| part.starts_with("20")).unwrap_or(text)).collect();
    // The file is of 08:00:00, give or take a second.
    assert_eq!(since, ["2024-01-15T08:00:01Z", "2024-01-15T07:59:58Z", "2024-01-15T08:00:01Z"]);
    assert!(script.newest() == old_tar(1));
    // Asked for all of it where that is wanted, or due.
    for (flags, shared) in
        [(&["-full"][..], 0), (&["-full-every", "2"], 1), (&["-full-every", "2"], 0), (&["-cold-after", "99999d"], 0)]
    {
        assert_eq!(script.incremental(flags), shared, "{flags:?}");
    }
}

#[test]
fn a_shard_of_which_the_server_sends_anything_but_the_right_answers_is_downloaded() {
    let file = |id: u64, number: u64, size: usize| {
        Member::new(format!("db/autogen/{id}/00000000{number}-000000001.tsm"), tsm(id, size))
    };
    let grown = |id: u64| tar(&[file(id, 1, 700), file(id, 2, 900)]);
    let all = |id: u64| Reply::Bytes(grown(id));
    let other = |id: u64| Reply::Bytes(tar(&[file(id, 2, 700)]));
    let larger = |id: u64| Reply::Bytes(tar(&[file(id, 1, 800)]));
    let (right, empty) = (|_| Reply::Whole, |_| Reply::EmptyTar);
    let (nothing, reset) = (|_| Reply::Nothing, |_| Reply::Cut(0, End::Rst));
    let (cut, at_member) = (|_| Reply::Cut(300, End::Fin), |_| Reply::Cut(512, End::Fin));
    let (reset_later, stall) = (|_| Reply::Cut(1024, End::Rst), |_| Reply::Stall(2048));
    let to_grown: [&[&dyn Fn(u64) -> Reply]; 4] = [
        // Servers 1.8.0 to 1.8.4 send an empty tar while they flush: at the first question, the first two, all of them.
        &[&empty, &right, &all, &all],
        &[&empty, &empty, &all],
        &[&empty, &empty, &empty, &all],
        &[&all, &all],
    ];
    let to_old: [&[&dyn Fn(u64) -> Reply]; 9] = [
        &[&nothing],
        &[&cut],
        &[&right, &nothing],
        &[&right, &cut],
        &[&right, &reset],
        &[&right, &other],
        &[&right, &larger],
        &[&right, &right, &nothing],
        &[&right, &right, &cut],
    ];
    let to_shared: [&[&dyn Fn(u64) -> Reply]; 5] = [
        // Put again where no answer came; and what follows the first header does not matter.
        &[&reset],
        &[&right, &right, &reset],
        &[&right, &at_member],
        &[&right, &reset_later],
        &[&right, &stall],
    ];
    let cases: Vec<_> = to_grown.iter().chain(&to_old).chain(&to_shared).zip(1_u64..).collect();
    let script = Script::new(cases.iter().map(|(_, id)| *id));
    for (replies, id) in &cases {
        // A server that flushed has what is new from then on.
        let last = replies.last().map_or(Reply::Whole, |reply| reply(*id));
        let last = if matches!(last, Reply::Bytes(_)) && *id <= to_grown.len() as u64 { last } else { Reply::Whole };
        script.peer.script(Asked::Shard(*id), replies.iter().map(|reply| reply(*id)).chain([last]));
    }
    let first_shared = (to_grown.len() + to_old.len() + 1) as u64;
    assert_eq!(script.incremental(&["-retries", "1"]), to_shared.len() as u64);
    let records = tree::names(&script.dir().join(".snap"));
    let newest = records.iter().rfind(|name| name.ends_with(".json")).expect("a record");
    let shared = shared(&script.dir(), newest.trim_end_matches(".json"));
    assert!(shared.iter().all(|(id, _)| *id >= first_shared), "{shared:?}");
    for (_, id) in &cases {
        let content = fs::read(script.dir().join(format!("db.autogen.{id:05}.01"))).expect("a shard");
        let expected = if *id <= to_grown.len() as u64 { grown(*id) } else { old_tar(*id) };
        assert!(content == expected, "shard {id} is not in the set as the server has it");
    }
}

#[test]
fn an_older_server_is_believed_only_where_it_says_that_nothing_is_newer() {
    // Servers 1.0 and 1.1 say it by closing, as they do when they fail.
    for (version, shared) in [(Version::V1_1, 0), (Version::V1_3, 1)] {
        let script = Script::of(version, [1]);
        assert_eq!(script.incremental(&[]), shared);
        assert!(script.newest() == old_tar(1));
    }
}

#[test]
fn a_large_file_is_not_read_to_see_that_it_is_there() {
    let script = Script { folder: folder(), peer: Peer::start(Model::new(Version::V1_6, &[("db", "autogen", 1)])) };
    let mut model = script.peer.model();
    model.shard(1).tar = Tar::Large(24 << 20);
    let script = Script { peer: Peer::start(model), ..script };
    assert_eq!(script.incremental(&[]), 0);
    script.peer.script(Asked::Shard(1), [Reply::Whole, Reply::Stall(4096), Reply::Whole]);
    assert_eq!(script.incremental(&[]), 1);
    assert_eq!(script.incremental(&[]), 1);
}

#[test]
fn a_partial_set_and_one_of_another_server_are_not_built_on() {
    let script = Script::new([1, 2]);
    let records = || -> Vec<PathBuf> {
        let hidden = script.dir().join(".snap");
        tree::names(&hidden).iter().filter(|name| name.ends_with(".json")).map(|name| hidden.join(name)).collect()
    };
    let edit = |path: &Path, field: &str, value: Value| {
        let mut record: Value = serde_json::from_slice(&fs::read(path).expect("a record")).expect("a record in JSON");
        record[field] = value;
        fs::write(path, record.to_string()).expect("writing a record");
    };
    let since_last = || script.prepare(&["-since", "last"]).run().expect(0).stdout;
    let takes_all = "there is no complete set of the same selection to build on: taking all";
    let would_share = || {
        let said = script.prepare(&["-incremental", "-dry-run"]).run().expect(0).stdout;
        assert!(said.contains("would fetch shard db/autogen/2: all of it"), "{said}");
        said.contains("all of it, unless it has not changed")
    };
    assert!(would_share());
    let [only] = &records()[..] else { panic!("{:?}", records()) };
    edit(only, "cluster_id", 43.into());
    assert!(!would_share());
    assert_eq!(script.incremental(&[]), 0);
    for record in records() {
        edit(&record, "cluster_id", 43.into());
    }
    assert!(since_last().contains(takes_all));
    for record in records() {
        fs::remove_file(record).expect("removing a record");
    }

    script.peer.script(Asked::Shard(2), [Reply::Nothing]);
    script.prepare(&["-skip-errors", "-retries", "0"]).run().expect(3);
    script.peer.script(Asked::Shard(2), [Reply::Whole]);
    assert!(!would_share());
    assert!(since_last().contains(takes_all));
    assert!(!since_last().contains(takes_all));
}

#[test]
fn a_run_that_is_killed_while_it_shares_leaves_the_earlier_set_as_it_was() {
    let script = Script::new(1..=40);
    let dir = script.dir();
    let visible = || {
        let mut files = tree::files(&dir);
        files.retain(|name, _| !name.starts_with(".snap/") || name.ends_with(".json"));
        files
    };
    let links = || fs::metadata(dir.join("db.autogen.00001.00")).expect("a shard").nlink();
    let before = visible();
    let asked = script.peer.requests().len();
    script.peer.script(Asked::Shard(40), [Reply::Stall(0)]);
    let running = script.prepare(&["-incremental"]).spawn();
    // The meta store, the list of shards, and three questions for each shard but the last, which stays without an answer.
    script.peer.wait_for_requests(asked + 39 * 3 + 1);
    wait_for(|| (links() == 2).then_some(())).expect("a link");
    running.signal(libc::SIGKILL);
    assert_eq!(running.wait().signal, Some(libc::SIGKILL));
    assert!(visible() == before, "a killed run changed the directory");
    snap(["verify", utf8(&dir)]).expect(0);
    script.peer.script(Asked::Shard(40), [Reply::Whole]);
    assert_eq!(script.incremental(&[]), 40);
    assert_eq!(links(), 2);
    let after = visible();
    assert!(before.iter().all(|(name, content)| after.get(name) == Some(content)), "the earlier set is not as it was");
    snap(["verify", utf8(&dir)]).expect(0);
}

#[test]
fn a_file_that_cannot_be_linked_to_is_copied() {
    let script = Script::new([1, 2]);
    let file = |name: &str| script.dir().join(name);
    let run = script.prepare(&["-incremental"]).env("SNAP_FAILPOINT", "fail-each:link").run().expect(0);
    assert_eq!(messages(&run, "summary")[0]["shared"], 2);
    let links = |name: &str| fs::metadata(file(name)).expect("a shard").nlink();
    assert_eq!([links("db.autogen.00001.01"), links("db.autogen.00002.01")], [1, 1]);
    assert!(fs::read(file("db.autogen.00001.01")).expect("a shard") == old_tar(1));
    fs::remove_file(file("db.autogen.00001.00")).expect("removing a shard");
    snap(["verify", utf8(&script.dir()), "latest"]).expect(0);
}
