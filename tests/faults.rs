//! Whatever a peer or a connection does: no backup ends well with data missing, and none that failed leaves a trace.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::wire::ShardPath;
use serde_json::Value;
use support::influxd::{Index, Influxd};
use support::peer::{
    Asked, Crowded, Cut, End, Gone, Manners, Member, Model, Peer, Proxy, Reply, Shard, Stranger, Tar, Version, nobody, noise,
    offsets, tar, tsm,
};
use support::process::{Run, Running, Snap, snap};
use support::{each, tree};
use tempfile::TempDir;

/// Far longer than the time-outs that the runs are given take, and far shorter than the default ones.
const GENEROUS: Duration = Duration::from_secs(60);

/// How long a run is given to deal with bytes that were sent, or to come to a lock.
const SETTLE: Duration = Duration::from_millis(300);

/// The database and policy of most shards.
const WHERE: (&str, &str) = ("db", "autogen");

/// A scripted server and a place for a backup of it.
struct Bench {
    root: TempDir,
    peer: Peer,
}

impl Bench {
    fn new(model: Model) -> Self {
        Self { root: tempfile::tempdir().expect("a temporary directory"), peer: Peer::start(model) }
    }

    /// A server with the standard shards `db/autogen/<id>`.
    fn with_shards(ids: impl IntoIterator<Item = u64>) -> Self {
        let shards: Vec<_> = ids.into_iter().map(|id| (WHERE.0, WHERE.1, id)).collect();
        Self::new(Model::new(Version::V1_6, &shards))
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("backup")
    }

    fn prepare(&self, flags: &[&str]) -> Snap {
        prepare(&self.peer.host(), flags, &self.dir())
    }

    fn backup(&self, flags: &[&str]) -> Run {
        self.prepare(flags).run()
    }

    /// Starts a backup and waits until this many requests have come, and a little longer.
    fn start(&self, flags: &[&str], requests: usize) -> Running {
        let running = self.prepare(flags).spawn();
        self.peer.wait_for_requests(requests);
        thread::sleep(SETTLE);
        running
    }

    /// Panics unless the directory holds exactly one complete set, of everything the server has.
    fn expect_all(&self) -> Value {
        self.expect_shards(|_| true)
    }

    /// The same for a set that holds these shards.
    fn expect_shards(&self, taken: impl Fn(&Shard) -> bool) -> Value {
        let model = self.peer.model();
        let shards = model.shards.iter().filter(|shard| taken(shard)).map(|shard| (file_name(&shard.path), shard.bytes()));
        let expected: BTreeMap<_, _> = shards.chain([("meta.00".to_owned(), model.meta())]).collect();
        let found = visible_files(&self.dir());
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected));
        for (name, content) in &expected {
            assert!(found[name] == *content, "{name} is not what the server sent");
        }
        let record = self.record();
        let sizes: BTreeMap<String, Value> = record["shards"]
            .as_array()
            .expect("shards")
            .iter()
            .map(|shard| &shard["file"])
            .chain([&record["meta"]])
            .filter_map(|file| Some((file["name"].as_str()?.to_owned(), file["size"].clone())))
            .collect();
        assert_eq!(sizes, expected.iter().map(|(name, bytes)| (name.clone(), bytes.len().into())).collect());
        record
    }

    /// The record of the only set.
    fn record(&self) -> Value {
        let hidden = tree::files(&self.dir().join(".snap"));
        let names: Vec<&str> = hidden.keys().map(String::as_str).collect();
        assert!(matches!(names[..], [record, "lock"] if record.ends_with(".json")), "{names:?}");
        serde_json::from_slice(&hidden[names[0]]).expect("a record in JSON")
    }

    /// Panics unless nothing is left of a run, in the eyes of anybody.
    fn expect_nothing(&self) {
        expect_nothing(&self.dir());
    }
}

fn prepare(host: &str, flags: &[&str], dir: &Path) -> Snap {
    let dir = dir.to_str().expect("a path in UTF-8");
    Snap::new([&["backup", "-host", host], flags, &[dir]].concat())
}

fn expect_nothing(dir: &Path) {
    if dir.exists() {
        assert_eq!(tree::names(dir), [".snap"]);
        assert_eq!(tree::names(&dir.join(".snap")), ["lock"]);
    }
    restore_dry_run(dir).expect(10);
}

fn restore_dry_run(dir: &Path) -> Run {
    let path = |name: &str| dir.with_extension(name).to_str().expect("a path in UTF-8").to_owned();
    let (metadir, datadir, host) = (path("meta"), path("data"), nobody());
    let dir = dir.to_str().expect("a path in UTF-8");
    snap(["restore", "-dry-run", "-metadir", &metadir, "-datadir", &datadir, "-host", &host, dir])
}

/// The files that influxd would see.
fn visible_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree::files(dir);
    files.retain(|name, _| !name.starts_with(".snap/"));
    files
}

fn file_name(path: &ShardPath) -> String {
    format!("{}.{}.{:05}.00", path.database, path.retention_policy, path.id)
}

/// The standard shard with that id.
fn shard(id: u64) -> Shard {
    Shard::new(Version::V1_6, WHERE.0, WHERE.1, id)
}

/// What became of each shard, by id, with the reason where there is one.
fn states(record: &Value) -> BTreeMap<u64, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shards = record["shards"].as_array().expect("shards");
    shards.iter().map(|shard| (shard["id"].as_u64().expect("an id"), (text(&shard["state"]), text(&shard["error"])))).collect()
}

/// Cuts at each of the offsets, in both ways.
fn cuts(offsets: impl IntoIterator<Item = usize>) -> Vec<(usize, End)> {
    offsets.into_iter().flat_map(|at| [(at, End::Fin), (at, End::Rst)]).collect()
}

/// A cut for each of many shards: the shard's id, where, and how. All standard shards have tars of the same layout.
fn cut_shards() -> Vec<(u64, usize, End)> {
    let cuts: Vec<_> = (1..).zip(cuts(offsets(&shard(1).bytes()))).map(|(id, (at, end))| (id, at, end)).collect();
    assert!(cuts.len() > 40);
    cuts
}

#[test]
fn a_shard_cut_off_once_anywhere_is_fetched_anew_and_stored_byte_for_byte() {
    let cuts = cut_shards();
    let bench = Bench::with_shards(cuts.iter().map(|(id, ..)| *id));
    for (id, at, end) in cuts {
        bench.peer.script(Asked::Shard(id), [Reply::Cut(at, end), Reply::Whole]);
    }
    bench.backup(&["-jobs", "16", "-retries", "3"]).expect(0);
    let record = bench.expect_all();
    assert_eq!(record["state"], "complete");
    restore_dry_run(&bench.dir()).expect(0);
}

#[test]
fn a_shard_cut_off_always_anywhere_is_named_and_nothing_is_kept() {
    let cuts = cut_shards();
    let bench = Bench::with_shards(cuts.iter().map(|(id, ..)| *id));
    for (id, at, end) in &cuts {
        bench.peer.script(Asked::Shard(*id), [Reply::Cut(*at, *end)]);
    }
    let run = bench.backup(&["-jobs", "16", "-retries", "1"]).expect(1);
    for (id, at, end) in &cuts {
        assert!(run.stderr.contains(&format!("shard db/autogen/{id}: failed: ")), "{end:?} at {at}: {}", run.stderr);
        let of_shard = format!("\"ShardID\":{id},");
        let attempts = bench.peer.shard_requests().iter().filter(|request| request.contains(&of_shard)).count();
        assert_eq!(attempts, 2, "{end:?} at {at}");
    }
    bench.expect_nothing();
}

#[test]
fn with_skip_errors_the_shards_that_are_not_cut_off_make_a_partial_set() {
    let cuts = cut_shards();
    let whole = 1000;
    let mut model = Model::new(Version::V1_6, &[("other db", "p.q", whole)]);
    model.shards.extend(cuts.iter().map(|(id, ..)| shard(*id)));
    let bench = Bench::new(model);
    for (id, at, end) in &cuts {
        bench.peer.script(Asked::Shard(*id), [Reply::Cut(*at, *end)]);
    }
    let run = bench.backup(&["-jobs", "16", "-retries", "0", "-skip-errors"]).expect(3);
    let record = bench.expect_shards(|shard| shard.path.id == whole);
    assert_eq!(record["state"], "partial");
    let states = states(&record);
    assert_eq!(states[&whole].0, "stored");
    for (id, at, end) in &cuts {
        let (state, reason) = &states[id];
        assert!(state == "failed" && !reason.is_empty(), "{end:?} at {at}: {state}, {reason:?}");
        assert!(run.stderr.contains(&format!("missing: shard db/autogen/{id}: ")), "{end:?} at {at}: {}", run.stderr);
    }
    let restore = restore_dry_run(&bench.dir()).expect(3);
    assert!(restore.stderr.contains("db/autogen/1"), "{}", restore.stderr);
}

#[test]
fn the_meta_store_and_the_list_of_shards_cut_off_anywhere_are_asked_for_again() {
    let model = Model::new(Version::V1_6, &[("db", "autogen", 1), ("db", "week", 2)]);
    let (meta, info) = (model.meta(), model.info("db"));
    let meta_offsets = [1, 7, 8, 9, 15, 16, 17, 16 + (meta.len() - 29) / 2, meta.len() - 13, meta.len() - 12, meta.len() - 6];
    let of_meta = cuts(meta_offsets.into_iter().chain([meta.len() - 5, meta.len() - 1]));
    // Without its newline, and ended properly, the list is complete JSON.
    let of_info = cuts([0, 1, info.len() / 2, info.len() - 2, info.len() - 1]);
    let of_info = of_info.into_iter().filter(|cut| *cut != (info.len() - 1, End::Fin));
    let of_meta = of_meta.into_iter().map(|cut| (Asked::Meta, cut));
    each(of_meta.chain(of_info.map(|cut| (Asked::Info, cut))), |(asked, (at, end))| {
        let bench = Bench::new(model.clone());
        bench.peer.script(*asked, [Reply::Cut(*at, *end)]);
        bench.backup(&["-retries", "0"]).expect(1);
        bench.expect_nothing();
        bench.peer.script(*asked, [Reply::Cut(*at, *end), Reply::Whole]);
        bench.backup(&["-retries", "2"]).expect(0);
        bench.expect_all();
    });
}

#[test]
fn a_meta_store_or_a_list_of_shards_that_is_not_one_ends_the_run_and_nothing_is_kept() {
    let model = Model::new(Version::V1_6, &[("db", "autogen", 1)]);
    let meta = model.meta();
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = meta.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        (Asked::Meta, bytes, 1)
    };
    let cases = [
        (Asked::Meta, [&meta[..], b"\0"].concat(), 1),
        (Asked::Meta, [&meta[..8], &[0; 7], &[1, 0xff], &[0; 8]].concat(), 1),
        (Asked::Meta, [&meta[..8], &[0; 16]].concat(), 1),
        changed(8, &[0x7f; 8]),
        changed(8, &[0, 0, 1, 0, 0, 0, 0, 0]),
        changed(16, &[0xff; 12]),
        (Asked::Meta, [&[0; 4], &b"\x59\x59\x01\x02"[..], &meta[8..]].concat(), 5),
        (Asked::Meta, noise(1, 4096), 5),
        (Asked::Info, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 1),
        (Asked::Info, b"[]\n".to_vec(), 1),
        (Asked::Info, b"{\"Paths\":[\"db/../../etc\"]}\n".to_vec(), 1),
        (Asked::Info, noise(1, 4096), 1),
    ];
    each(cases, |(asked, bytes, code)| {
        let bench = Bench::new(model.clone());
        bench.peer.script(*asked, [Reply::Bytes(bytes.clone())]);
        bench.backup(&["-retries", "0"]).expect(*code);
        bench.expect_nothing();
    });
}

#[test]
fn a_slow_peer_is_waited_for() {
    let bench = Bench::with_shards(1..=4);
    bench.peer.script(Asked::Meta, [Reply::OneByteAtATime]);
    bench.peer.script(Asked::Info, [Reply::OneByteAtATime]);
    bench.peer.script(Asked::Shard(1), [Reply::OneByteAtATime]);
    // The pauses add up to more than the idle time-out; none is as long.
    bench.peer.script(Asked::Shard(2), [Reply::Slow { piece: 100, pause: Duration::from_millis(100) }]);
    // The third answers whole, but never ends; the fourth breaks off without an end.
    bench.peer.script(Asked::Shard(3), [Reply::Stall(usize::MAX), Reply::Whole]);
    bench.peer.script(Asked::Shard(4), [Reply::Stall(0), Reply::Stall(700), Reply::Whole]);
    bench.backup(&["-idle-timeout", "2s", "-jobs", "4"]).expect(0);
    bench.expect_all();
}

#[test]
fn a_peer_that_stalls_or_never_ends_outlasts_no_time_out() {
    let slow = Reply::Slow { piece: 1, pause: Duration::from_millis(20) };
    let replies = [
        (Asked::Shard(1), Reply::Stall(0), "-idle-timeout"),
        (Asked::Shard(2), Reply::Stall(512), "-idle-timeout"),
        (Asked::Shard(3), Reply::Stall(700), "-idle-timeout"),
        (Asked::Shard(4), slow.clone(), "-attempt-timeout"),
        (Asked::Shard(5), Reply::EndlessContent, "-attempt-timeout"),
        (Asked::Shard(6), Reply::EndlessMembers, ""),
        (Asked::Shard(7), Reply::Bytes(vec![0; 1 << 20]), "behind the end"),
    ];
    let bench = Bench::with_shards(1..=7);
    for (asked, reply, _) in &replies {
        bench.peer.script(*asked, [reply.clone()]);
    }
    let limits = ["-idle-timeout", "500ms", "-attempt-timeout", "2s", "-retries", "1", "-jobs", "7"];
    let run = bench.backup(&limits).expect(1);
    assert!(run.wall < GENEROUS, "{:?}", run.wall);
    for (id, (_, reply, reason)) in (1..).zip(&replies) {
        let begin = format!("shard db/autogen/{id}: failed: ");
        let line = run.stderr.lines().find(|line| line.starts_with(&begin));
        assert!(line.is_some_and(|line| line.contains(reason)), "{reply:?}: {}", run.stderr);
    }
    bench.expect_nothing();

    let cases = [
        (Asked::Meta, Reply::Stall(0)),
        (Asked::Meta, Reply::Stall(20)),
        (Asked::Meta, slow.clone()),
        (Asked::Info, Reply::Stall(0)),
        (Asked::Info, Reply::Stall(5)),
        (Asked::Info, slow),
    ];
    each(cases, |(asked, reply)| {
        let bench = Bench::with_shards(1..=20);
        bench.peer.script(*asked, [reply.clone()]);
        let run = bench.backup(&["-idle-timeout", "500ms", "-attempt-timeout", "1s", "-retries", "1"]).expect(1);
        assert!(run.wall < GENEROUS, "{:?}", run.wall);
        assert!(run.stderr.contains("-timeout"), "{}", run.stderr);
        bench.expect_nothing();
    });
}

#[test]
fn what_is_no_snapshotter_is_told_apart_and_nothing_is_made() {
    let bad_request = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request";
    let tls_alert = b"\x15\x03\x01\x00\x02\x02\x46".to_vec();
    let cases: [(Manners, &[&str]); 9] = [
        (Manners::Answers(bad_request.into()), &["speaks HTTP", "8086", "8088"]),
        (Manners::Greets(bad_request.into()), &["speaks HTTP", "8086", "8088"]),
        (Manners::Answers(tls_alert.clone()), &["TLS", "8088"]),
        (Manners::Greets(tls_alert), &["TLS", "8088"]),
        (Manners::Greets(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), &["not a snapshotter", "SSH-2.0", "8088"]),
        (Manners::Answers(b"-ERR unknown command\r\n".to_vec()), &["not a snapshotter", "-ERR"]),
        (Manners::Answers(b"\0".repeat(4096)), &["not a snapshotter"]),
        (Manners::Leaves(End::Fin), &["without an answer"]),
        (Manners::Leaves(End::Rst), &["onnection"]),
    ];
    // A reset at once can come before the request is written, or after, or while the connection is made.
    let times = |manners: &Manners| if matches!(manners, Manners::Leaves(_)) { 40 } else { 1 };
    let cases = cases.iter().flat_map(|case| std::iter::repeat_n(case, times(&case.0)));
    each(cases, |(manners, said)| {
        let root = tempfile::tempdir().expect("a temporary directory");
        let stranger = Stranger::start(manners.clone());
        let limits = ["-idle-timeout", "5s", "-retries", "0"];
        let run = prepare(&stranger.host(), &limits, &root.path().join("backup")).run().expect(5);
        assert!(said.iter().all(|text| run.stderr.contains(text)), "{}", run.stderr);
        assert_eq!(tree::names(root.path()), [""; 0]);
    });
    let root = tempfile::tempdir().expect("a temporary directory");
    let run = prepare(&nobody(), &[], &root.path().join("backup")).run().expect(5);
    assert!(run.stderr.contains("refused") && run.stderr.contains("hint: "), "{}", run.stderr);
    assert_eq!(tree::names(root.path()), [""; 0]);

    let silent = Stranger::start(Manners::Listens);
    let limits = ["-idle-timeout", "300ms", "-retries", "0"];
    let run = prepare(&silent.host(), &limits, &root.path().join("backup")).run();
    assert!(matches!(run.code, Some(1 | 5)) && run.stderr.contains("-idle-timeout"), "{run:?}");
    assert_eq!(tree::names(root.path()), [""; 0]);
}

/// A tar that a server could send for the shard, and that lacks the newest points.
fn stale(id: u64) -> Reply {
    let path = shard(id).path;
    Reply::Bytes(tar(&[Member::new(format!("{path}/000000001-000000001.tsm"), tsm(99, 300))]))
}

#[test]
fn after_a_silence_the_shard_is_stored_from_the_second_answer_not_the_first() {
    let silences = [Reply::Nothing, Reply::Cut(0, End::Rst)];
    let mut scripts: Vec<Vec<Reply>> = Vec::new();
    for silence in &silences {
        let id = scripts.len() as u64 + 1;
        scripts.push(vec![silence.clone(), Reply::Whole]);
        scripts.push(vec![silence.clone(), Reply::Nothing, Reply::Whole]);
        scripts.push(vec![silence.clone(), stale(id + 2), Reply::Whole]);
        scripts.push(vec![silence.clone(), silence.clone(), stale(id + 3), Reply::Whole]);
        scripts.push(vec![silence.clone(), Reply::Whole, Reply::Cut(700, End::Rst), Reply::Whole]);
        scripts.push(vec![silence.clone(), Reply::Whole, silence.clone(), stale(id + 5), Reply::Whole]);
    }
    // All shards in a group of a week, which -start cuts.
    let mut model = Model::new(Version::V1_6, &[]);
    model.shards = (1..=scripts.len() as u64).map(shard).collect();
    let (start, week) = (model.shards[0].start, 7 * 24 * 3_600_000_000_000);
    for shard in &mut model.shards {
        (shard.start, shard.end) = (start, start + week);
    }
    let wants: [&[&str]; 3] = [&[], &["-since", "2023-01-01"], &["-coarse", "-start", "2020-09-10"]];
    each(wants, |want| {
        let bench = Bench::new(model.clone());
        for (id, script) in (1..).zip(&scripts) {
            bench.peer.script(Asked::Shard(id), script.clone());
        }
        bench.backup(&[want, &["-jobs", "12"][..]].concat()).expect(0);
        bench.expect_all();
    });
}

#[test]
fn the_question_after_a_silence_costs_a_newer_server_nothing() {
    let bench = Bench::with_shards([7]);
    bench.peer.script(Asked::Shard(7), [Reply::Nothing, Reply::Whole]);
    bench.backup(&[]).expect(0);
    bench.expect_all();
    let request = |since: &str| {
        format!(
            "\x03\0{{\"Type\":0,\"BackupDatabase\":\"\",\"RestoreDatabase\":\"\",\"BackupRetentionPolicy\":\"\",\
             \"RestoreRetentionPolicy\":\"\",\"ShardID\":7,\"Since\":\"{since}\",\"ExportStart\":\"0001-01-01T00:00:00Z\",\
             \"ExportEnd\":\"0001-01-01T00:00:00Z\",\"UploadSize\":0}}\n"
        )
    };
    let (all, none) = (request("0001-01-01T00:00:00Z"), request("2262-04-11T23:47:16.854775806Z"));
    assert_eq!(bench.peer.shard_requests(), [all.clone(), none, all]);
}

#[test]
fn a_lasting_silence_is_a_failure_while_the_server_still_names_the_shard() {
    let bench = Bench::with_shards([1, 2]);
    bench.peer.script(Asked::Shard(1), [Reply::Nothing]);
    let run = bench.backup(&["-retries", "1"]).expect(1);
    assert!(run.stderr.contains("db/autogen/1") && run.stderr.contains("without an answer"), "{}", run.stderr);
    bench.expect_nothing();
}

#[test]
fn a_shard_that_expired_since_it_was_listed_is_skipped_and_said() {
    for gone in [Gone::Unnamed, Gone::Deleted] {
        let bench = Bench::with_shards([1, 2]);
        let meta = bench.peer.model().meta();
        bench.peer.script(Asked::Shard(1), [Reply::Vanish(gone), Reply::Nothing]);
        let run = bench.backup(&["-retries", "0"]).expect(0);
        assert!(run.stderr.contains("shard db/autogen/1: deleted on the server meanwhile"), "{gone:?}: {}", run.stderr);
        let found = visible_files(&bench.dir());
        assert_eq!(found, [("db.autogen.00002.00".into(), shard(2).bytes()), ("meta.00".into(), meta)].into(), "{gone:?}");
        assert_eq!(states(&bench.record())[&1].0, "expired", "{gone:?}");
    }
}

#[test]
fn a_shard_that_is_no_longer_open_but_still_named_is_a_failure() {
    let bench = Bench::with_shards([1, 2]);
    bench.peer.script(Asked::Shard(1), [Reply::Vanish(Gone::NotOpen), Reply::Nothing]);
    let run = bench.backup(&["-retries", "0"]).expect(1);
    assert!(run.stderr.contains("db/autogen/1") && run.stderr.contains("without an answer"), "{}", run.stderr);
    bench.expect_nothing();
}

#[test]
fn a_shard_that_the_last_backup_had_and_the_server_no_longer_has_open_is_missing() {
    let bench = Bench::with_shards([1, 2]);
    // After this run the server no longer has it open.
    bench.peer.script(Asked::Shard(1), [Reply::Whole, Reply::Vanish(Gone::NotOpen)]);
    bench.backup(&[]).expect(0);
    bench.backup(&["-retries", "0"]).expect(1);
    let run = bench.backup(&["-quiet"]).expect(1);
    assert!(run.stderr.contains("db/autogen/1"), "{}", run.stderr);
    bench.backup(&["-skip-errors"]).expect(3);
}

#[test]
fn a_shard_that_the_server_does_not_have_open_is_warned_about_and_one_deleted_before_is_not_asked_for() {
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1), ("db", "autogen", 2), ("db", "autogen", 3)]);
    model.shard(1).open = false;
    model.shard(2).deleted_at = 1_700_000_000_000_000_000;
    let bench = Bench::new(model);
    let run = bench.backup(&[]).expect(0);
    assert!(run.stderr.contains("warning: ") && run.stderr.contains("db/autogen/1"), "{}", run.stderr);
    assert_eq!(states(&bench.expect_shards(|shard| shard.path.id == 3))[&1].0, "not_held");
    assert_eq!(bench.peer.shard_requests().len(), 1);
}

#[test]
fn an_empty_tar_is_believed_only_when_it_comes_again() {
    let bench = Bench::with_shards(1..=4);
    bench.peer.script(Asked::Shard(1), [Reply::EmptyTar, Reply::Whole]);
    bench.peer.script(Asked::Shard(2), [Reply::EmptyTar]);
    bench.peer.script(Asked::Shard(3), [Reply::EmptyTar, Reply::Nothing, Reply::Whole]);
    bench.peer.script(Asked::Shard(4), [Reply::EmptyTar, Reply::Cut(600, End::Fin), Reply::EmptyTar, Reply::Whole]);
    let run = bench.backup(&["-jobs", "4"]).expect(0);
    assert!(run.stdout.contains("1 without anything to fetch"), "{}", run.stdout);
    assert_eq!(states(&bench.expect_shards(|shard| shard.path.id != 2))[&2].0, "empty");

    let bench = Bench::with_shards([1, 2]);
    let run = bench.backup(&["-since", "2025-01-01", "-retries", "0"]).expect(0);
    assert!(run.stdout.contains("2 without anything to fetch"), "{}", run.stdout);
    bench.expect_shards(|_| false);
}

/// A PAX header with this path for the member after it.
fn pax(path: &str) -> Member {
    let rest = format!(" path={path}\n");
    let length = (1..).find(|length: &usize| length.to_string().len() + rest.len() == *length).expect("some length fits");
    Member::new("PaxHeaders.0/name", format!("{length}{rest}").into_bytes()).flag(b'x')
}

/// Tars that are wrong for the shard at `path`, each with what is wrong.
fn malformed(path: &ShardPath) -> Vec<(&'static str, Vec<u8>)> {
    let good = Member::new(format!("{path}/000000001-000000001.tsm"), tsm(1, 700));
    let with = |member: Member| tar(&[good.clone(), member]);
    let named = |name: &str| with(Member::new(name, tsm(2, 700)));
    let inside = |name: &str, content: Vec<u8>| with(Member::new(format!("{path}/{name}"), content));
    let flagged = |flag: u8| with(Member::new(format!("{path}/000000002-000000001.tsm"), Vec::new()).flag(flag));
    let footer = |offset: u64| {
        let mut content = tsm(2, 700);
        content[692..].copy_from_slice(&offset.to_be_bytes());
        inside("000000002-000000001.tsm", content)
    };
    let whole = tar(std::slice::from_ref(&good));
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let header_end = whole.len() - 1024;
    let ShardPath { database, retention_policy, id } = path;
    vec![
        ("a name changed after the checksum", changed(0, b"X")),
        ("a size changed after the checksum", changed(124, b"7")),
        ("no checksum", changed(148, b"        ")),
        ("a name above the directory", named("../x.tsm")),
        ("an absolute name", named("/etc/x.tsm")),
        ("an absolute name of the shard", named(&format!("/{path}/000000002-000000001.tsm"))),
        ("a name without directory", named("000000002-000000001.tsm")),
        ("another shard", named(&format!("{database}/{retention_policy}/{id}0/000000002-000000001.tsm"))),
        ("another policy", named(&format!("{database}/other/{id}/000000002-000000001.tsm"))),
        ("another database", named(&format!("other/{retention_policy}/{id}/000000002-000000001.tsm"))),
        ("a way out of the shard", inside("../../../x.tsm", tsm(2, 700))),
        ("a dot", inside("./000000002-000000001.tsm", tsm(2, 700))),
        ("an empty part", inside("/000000002-000000001.tsm", tsm(2, 700))),
        ("the shard itself as a file", named(&path.to_string())),
        ("no name", named("")),
        ("a way out in a PAX header", tar(&[pax("../../x.tsm"), good.clone()])),
        ("an absolute name in a PAX header", tar(&[pax("/etc/x.tsm"), good.clone()])),
        ("a PAX header without its member", with(pax("x"))),
        ("a damaged PAX header", with(Member::new("x", b"9999 path=x\n".to_vec()).flag(b'x'))),
        ("a hard link", flagged(b'1')),
        ("a symbolic link", flagged(b'2')),
        ("a character device", flagged(b'3')),
        ("a block device", flagged(b'4')),
        ("a fifo", flagged(b'6')),
        ("a sparse file", flagged(b'S')),
        ("a long name of GNU's", flagged(b'L')),
        ("a global header", flagged(b'g')),
        ("a byte behind the trailer", [&whole[..], b"\0"].concat()),
        ("a zero block behind the trailer", [&whole[..], &[0; 512]].concat()),
        ("a second tar", [&whole[..], &whole].concat()),
        ("a second tar behind an empty one", [&[0; 1024], &whole[..]].concat()),
        ("one zero block between members", [&whole[..header_end], &[0; 512], &whole].concat()),
        ("no magic", inside("000000002-000000001.tsm", noise(1, 700))),
        ("another version", inside("000000002-000000001.tsm", [b"\x16\xd1\x16\xd1\x02", &tsm(2, 700)[5..]].concat())),
        ("an empty TSM file", inside("000000002-000000001.tsm", Vec::new())),
        ("a TSM file of a header", inside("000000002-000000001.tsm", tsm(2, 700)[..5].to_vec())),
        (
            "a TSM file of a header and footer",
            inside("000000002-000000001.tsm", [&tsm(2, 700)[..5], &[0, 0, 0, 0, 0, 0, 0, 5]].concat()),
        ),
        ("a footer of 0", footer(0)),
        ("a footer in the header", footer(4)),
        ("a footer at the footer", footer(692)),
        ("a footer behind the file", footer(700)),
        ("a footer far away", footer(u64::MAX)),
        ("a member twice", tar(&[good.clone(), good.clone()])),
        ("noise", noise(1, 4096)),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("TLS", b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
        ("the meta store", Model::new(Version::V1_6, &[("db", "autogen", 1)]).meta()),
    ]
}

#[test]
fn a_malformed_tar_is_never_stored_and_nothing_is_kept() {
    let count = malformed(&shard(1).path).len() as u64;
    let good = count + 1;
    let bench = Bench::with_shards(1..=good);
    let mut wrong = Vec::new();
    for id in 1..=count {
        let (what, bytes) = malformed(&shard(id).path).swap_remove(usize::try_from(id).expect("a small id") - 1);
        bench.peer.script(Asked::Shard(id), [Reply::Bytes(bytes)]);
        wrong.push((id, what));
    }
    let before = tree::names(bench.root.path());
    bench.backup(&["-jobs", "16", "-retries", "0"]).expect(1);
    bench.expect_nothing();
    bench.backup(&["-jobs", "16", "-retries", "0", "-skip-errors"]).expect(3);
    let states = states(&bench.expect_shards(|shard| shard.path.id == good));
    let stored: Vec<_> = wrong.iter().filter(|(id, _)| states[id].0 != "failed").collect();
    assert!(stored.is_empty(), "{stored:?}");
    assert_eq!(before.len() + 1, tree::names(bench.root.path()).len(), "something outside the backup directory");
}

#[test]
fn an_export_that_breaks_off_at_a_tombstone_becomes_the_whole_shard() {
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 3)]);
    let path = model.shards[0].path.clone();
    let member = |name: &str, content| Member::new(format!("{path}/{name}"), content);
    let members = [member("000000001-000000001.tombstone", noise(1, 90)), member("000000001-000000001.tsm", tsm(1, 700))];
    model.shard(3).tar = Tar::Bytes(tar(&members));
    let request = |kind: u8, start: &str, end: &str| {
        format!(
            "\x03{}{{\"Type\":{kind},\"BackupDatabase\":\"\",\"RestoreDatabase\":\"\",\"BackupRetentionPolicy\":\"\",\
             \"RestoreRetentionPolicy\":\"\",\"ShardID\":3,\"Since\":\"0001-01-01T00:00:00Z\",\"ExportStart\":\"{start}\",\
             \"ExportEnd\":\"{end}\",\"UploadSize\":0}}\n",
            char::from(kind)
        )
    };
    let (least, greatest) = ("1677-09-21T00:12:43.145224194Z", "2262-04-11T23:47:16.854775806Z");
    let whole = request(0, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
    // The shard's group is the hour from three o'clock.
    let cases = [
        (["-coarse", "-start", "2020-09-07T03:30:00Z"], request(5, "2020-09-07T03:30:00Z", greatest)),
        (["-coarse", "-end", "2020-09-07T03:30:00.5Z"], request(5, least, "2020-09-07T03:30:00.5Z")),
    ];
    for (flags, export) in cases {
        // The tombstone's header and content, and the header of its TSM file.
        let bench = Bench::new(model.clone());
        bench.peer.script(Asked::Shard(3), [Reply::Cut(3 * 512, End::Fin), Reply::Whole]);
        let run = bench.backup(&flags).expect(0);
        assert!(run.stderr.contains("warning: ") && run.stderr.contains("taking the whole shard"), "{}", run.stderr);
        let record = bench.expect_all();
        assert_eq!(record["shards"][0]["content"], "whole");
        assert_eq!(bench.peer.shard_requests(), [export, whole.clone()]);
    }
    let bench = Bench::new(model);
    bench.backup(&["-coarse", "-start", "2020-09-07T03:30:00Z"]).expect(0);
    assert_eq!(bench.expect_all()["shards"][0]["content"], "range");
    let bench = Bench::new(bench.peer.model());
    bench.backup(&["-start", "2020-09-07T04:00:00Z"]).expect(0);
    bench.expect_shards(|_| false);
    assert_eq!(bench.peer.shard_requests(), [""; 0]);
}

#[test]
fn a_run_that_is_told_to_stop_stops_at_once_and_leaves_nothing() {
    let stops: [(Asked, Reply, usize); 6] = [
        (Asked::Meta, Reply::Stall(20), 1),
        (Asked::Info, Reply::Stall(0), 2),
        (Asked::Shard(1), Reply::Stall(0), 3),
        (Asked::Shard(1), Reply::Stall(700), 3),
        (Asked::Shard(1), Reply::EndlessContent, 3),
        // Stopped in the wait between attempts.
        (Asked::Shard(1), Reply::Cut(700, End::Fin), 5),
    ];
    let cases =
        stops.into_iter().flat_map(|stop| [(libc::SIGINT, 130), (libc::SIGTERM, 143)].map(|signal| (stop.clone(), signal)));
    each(cases, |((asked, reply, requests), (signal, code))| {
        let bench = Bench::with_shards([1]);
        bench.peer.script(*asked, [reply.clone()]);
        let running = bench.start(&["-retries", "1000"], *requests);
        running.signal(*signal);
        let run = running.wait().expect(*code);
        assert!(run.wall < GENEROUS, "{:?}", run.wall);
        bench.expect_nothing();
    });
}

#[test]
fn a_host_that_takes_no_connection_outlasts_no_time_out_and_no_wish_to_stop() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let host = Crowded::start();
    let run = prepare(&host.host(), &["-connect-timeout", "500ms"], &root.path().join("backup")).run().expect(5);
    assert!(run.wall < GENEROUS && run.stderr.contains("-connect-timeout"), "{run:?}");
    let running = prepare(&host.host(), &["-connect-timeout", "5s"], &root.path().join("backup")).spawn();
    thread::sleep(5 * SETTLE);
    running.signal(libc::SIGINT);
    running.wait().expect(130);
    assert_eq!(tree::names(root.path()), [""; 0]);
}

#[test]
fn the_run_after_a_killed_one_cleans_up_and_succeeds() {
    let bench = Bench::with_shards([1, 2, 3]);
    bench.peer.script(Asked::Shard(2), [Reply::Stall(700), Reply::Whole]);
    let running = bench.start(&["-jobs", "3"], 5);
    running.signal(libc::SIGKILL);
    assert_eq!(running.wait().signal, Some(libc::SIGKILL));
    assert_eq!(tree::names(&bench.dir()), [".snap"]);
    assert!(tree::names(&bench.dir().join(".snap")).len() > 1, "the killed run left nothing to clean up");
    restore_dry_run(&bench.dir()).expect(10);
    bench.backup(&[]).expect(0);
    bench.expect_all();
}

#[test]
fn a_second_run_in_the_directory_is_refused_or_waits_until_the_first_is_gone() {
    let bench = Bench::with_shards([1]);
    bench.peer.script(Asked::Shard(1), [Reply::Stall(700), Reply::Whole]);
    let first = bench.start(&[], 3);
    for flags in [&[][..], &["-retry-lock", "300ms"]] {
        let second = bench.backup(flags).expect(11);
        assert!(second.stderr.contains(&format!("process {}", first.pid())), "{}", second.stderr);
    }
    let third = bench.start(&["-retry-lock", "30s"], 3);
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let waiting = bench.start(&["-retry-lock", "10m"], 3);
        waiting.signal(signal);
        waiting.wait().expect(code);
    }
    first.signal(libc::SIGKILL);
    assert_eq!(first.wait().signal, Some(libc::SIGKILL));
    third.wait().expect(0);
    bench.expect_all();
}

#[test]
fn what_does_not_exist_is_said_with_what_does_and_no_directory_is_made() {
    let shards = [("telegraf", "autogen", 1), ("telegraf", "two weeks", 20), ("db.dot", "autogen", 300)];
    let bench = Bench::new(Model::new(Version::V1_6, &shards));
    let cases: [(&[&str], &[&str]); 6] = [
        (&["-database", "Telegraph"], &["'Telegraph'", "did you mean 'telegraf'?", "'db.dot'"]),
        (&["-database", "nothing like it"], &["'nothing like it'", "'telegraf'", "'db.dot'"]),
        (&["-db", "telegraf", "-rp", "two week"], &["'two week'", "did you mean 'two weeks'?", "'autogen'"]),
        (&["-db", "telegraf", "-rp", "two weeks", "-shard", "21"], &["no shard 21", "there are: 20"]),
        (&["-db", "telegraf", "-rp", "autogen", "-shard", "20"], &["shard 20", "telegraf/two weeks/20"]),
        (&["-shard", "7"], &["no shard 7", "1, 20, 300"]),
    ];
    for (flags, said) in cases {
        let run = bench.backup(flags).expect(1);
        assert!(said.iter().all(|text| run.stderr.contains(text)), "{flags:?}: {}", run.stderr);
        assert_eq!(tree::names(bench.root.path()), [""; 0], "{flags:?}");
    }
    assert_eq!(bench.peer.shard_requests(), [""; 0]);
    // Forgotten options are no fault of the server's.
    bench.backup(&["-rp", "autogen"]).expect(2);
    bench.backup(&["-shard", "20"]).expect(0);
    bench.expect_shards(|shard| shard.path.id == 20);
}

#[test]
fn a_connection_to_influxd_that_breaks_once_costs_nothing_and_one_that_always_breaks_leaves_nothing() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let server = Influxd::start(&root.path().join("server"), Index::Inmem);
    server.execute("CREATE DATABASE db");
    let lines: Vec<String> = (0..3000_i64).map(|i| format!("m,t={} v={}.25 {}", i % 7, i * i, i * 1_000_000_000)).collect();
    server.write("db", "autogen", &lines.join("\n"));
    server.write("db", "autogen", "m,t=x v=1 1600000000000000000");
    let direct = root.path().join("direct");
    prepare(&server.host(), &[], &direct).run().expect(0);
    let expected = visible_files(&direct);
    assert_eq!(expected.len(), 3);
    let shards = || expected.iter().filter(|(name, _)| !name.starts_with("meta"));
    let least = shards().map(|(_, tar)| tar.len()).min().expect("shards");
    each((0..).zip(cuts([0, 1, 512, 600, least - 1024, least - 512, least - 1])), |(number, (after, end))| {
        let dir = root.path().join(format!("backup{number}"));
        let proxy = |times| Proxy::start(&server.host(), Cut { after: *after, end: *end, times });
        prepare(&proxy(None).host(), &["-retries", "0"], &dir).run().expect(1);
        expect_nothing(&dir);
        prepare(&proxy(Some(1)).host(), &[], &dir).run().expect(0);
        assert!(visible_files(&dir) == expected, "the files differ");
    });
    server.stop();
}
