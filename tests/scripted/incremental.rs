//! That every set of a series of incremental backups is whole, whatever a server went through
//! between them, and that what has not changed is not downloaded again.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::backups::{
    Backups, Made, SHARDS, alone, by_influxd, expect_offline, expect_points, files_of, messages,
    record, shared,
};
use crate::support::damage::damage;
use crate::support::data::{START, flush};
use crate::support::fixture::Fixture;
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{
    Asked, Cache, End, MODIFIED, Member, Model, Reply, Tar, Version, noise, tar, tsm,
};
use crate::support::process::{self, Snap, restore_into, snap};
use crate::support::service::{influxd_restore_into, wait_for};
use crate::support::time::{DAY, SECOND};
use crate::support::{folder, tree, utf8};

#[test]
fn a_shard_of_which_all_files_are_gone_is_not_taken_for_unchanged() {
    let backups = Backups::new(Index::Inmem, &["-portable"]);
    backups.server.execute("CREATE DATABASE main");
    let kept = START + 100 * DAY;
    backups.server.write(
        "main",
        "",
        &format!("m n=1i {START}\nm n=2i {}\nm n=3i {kept}", START + SECOND),
    );
    flush(&backups.server);
    backups.a_day_passes();
    backups.incremental();
    assert_eq!(backups.incremental().shared, 2);
    backups
        .server
        .query("main", &format!("DELETE WHERE time < {kept}"));
    let emptied = backups.server.data_dir().join("main/autogen/1");
    let gone = || {
        !tree::names(&emptied)
            .iter()
            .any(|name| name.ends_with(".tsm"))
    };
    wait_for(|| gone().then_some(()))
        .unwrap_or_else(|| panic!("no compaction: {:?}", tree::names(&emptied)));
    let made = backups.incremental();
    assert_eq!((made.shards, made.shared), (1, 1), "{}", made.said);
    let record = record(&backups.dir(), &made.id);
    let states: Vec<&Value> = record["shards"]
        .as_array()
        .expect("shards")
        .iter()
        .map(|shard| &shard["state"])
        .collect();
    assert_eq!(states, ["empty", "stored"]);
    let alone = alone(&backups, &made);
    expect_offline(&alone, &made.id, &made.points, Index::Inmem);
    by_influxd(&alone, &made, Index::Inmem);
    // Beside a set in which the shard still had points, too.
    by_influxd(&backups.dir(), &made, Index::Inmem);
}

#[test]
fn each_legacy_set_is_whole_and_stays_so_when_older_ones_go() {
    let backups = Backups::loaded(Index::Inmem, &[], 20);
    let first = backups.incremental();
    backups.a_day_passes();
    backups.write(1, "late", 3);
    let second = backups.incremental();
    assert_eq!((first.shared, second.shared), (0, second.shards - 1));
    backups.a_day_passes();
    backups.write(2, "late", 3);
    let third = backups.incremental();
    assert_eq!(third.shared, third.shards - 2);
    let dir = backups.dir();
    let links = |name: &str| fs::metadata(dir.join(name)).expect("a file").nlink();
    assert_eq!(links("main.days.00001.02"), 3);
    backups.expect(&second, Index::Inmem);

    // The files of a set are links of their own: not one of a newer set goes with an older one.
    for made in [&first, &second] {
        for file in files_of(&record(&dir, &made.id)) {
            fs::remove_file(dir.join(file)).expect("removing a file");
        }
        fs::remove_file(dir.join(format!(".snap/{}.json", made.id))).expect("removing a record");
    }
    assert_eq!(links("main.days.00001.02"), 1);
    snap(["verify", utf8(&dir)]).expect(0);
    backups.expect(&third, Index::Inmem);
    // A set that shares names one that is gone, and is built on all the same.
    let fourth = backups.incremental();
    assert_eq!(fourth.shared, fourth.shards - 1);
    backups.expect(&fourth, Index::Inmem);
    // The layout is a set's own, and so are its files.
    let run = snap([
        "backup",
        "-json",
        "-incremental",
        "-portable",
        "-host",
        &backups.server.host(),
        utf8(&dir),
    ])
    .expect(0);
    assert_eq!(messages(&run, "summary")[0]["shared"], 0);
}

#[test]
fn increments_to_the_last_set_come_back_with_it() {
    for (layout, index) in [(&["-portable"][..], Index::Tsi1), (&[], Index::Inmem)] {
        let backups = Backups::loaded(index, layout, 20);
        let full = backups.back_up(&["-since", "last"]);
        assert!(
            full.said
                .contains("there is no complete set of the same selection to build on: taking all"),
            "{}",
            full.said
        );
        assert_eq!(full.shards, SHARDS as u64 + 1);
        for nth in 0..2 {
            backups.write(nth, "more", 3);
            backups.write(SHARDS + nth, "more", 3);
            let made = backups.back_up(&["-since", "last"]);
            assert!(
                made.said
                    .contains("taking what changed after the newest complete set was begun"),
                "{}",
                made.said
            );
            assert!(
                (2..SHARDS as u64).contains(&made.shards) && made.bytes < full.bytes / 2,
                "{}",
                made.said
            );
            backups.expect(&made, index);
        }
        backups.expect(&full, index);
        // Another selection has no set to build on.
        let other = backups.back_up(&["-since", "last", "-db", "main"]);
        assert!(
            other
                .said
                .contains("there is no complete set of the same selection"),
            "{}",
            other.said
        );
    }
}

/// A server with these shards, each a TSM file that has not changed for years, which are in a first
/// set.
fn with_first_set(ids: impl IntoIterator<Item = u64>) -> Fixture {
    with_first_set_of(Version::V1_6, ids)
}

/// The same of a version.
fn with_first_set_of(version: Version, ids: impl IntoIterator<Item = u64>) -> Fixture {
    let ids: Vec<(&str, &str, u64)> = ids.into_iter().map(|id| ("db", "autogen", id)).collect();
    let mut model = Model::new(version, &ids);
    for (_, _, id) in ids {
        model.shard(id).tar = Tar::Bytes(old_tar(id));
    }
    let fixture = Fixture::new(model);
    assert_eq!(fixture.incremental(&[]), 0);
    fixture
}

impl Fixture {
    fn prepare_json(&self, flags: &[&str]) -> Snap {
        self.prepare(&[&["-json"], flags].concat())
    }

    /// Makes a set; how many shards it shares.
    fn incremental(&self, flags: &[&str]) -> u64 {
        let run = self
            .prepare_json(&[&["-incremental"], flags].concat())
            .run()
            .expect(0);
        messages(&run, "summary")[0]["shared"]
            .as_u64()
            .expect("a number")
    }

    /// The content of shard 1 in the newest set.
    fn newest_shard(&self) -> Vec<u8> {
        let names = tree::names(&self.dir());
        let newest = names
            .iter()
            .rfind(|name| name.starts_with("db.autogen.00001."))
            .expect("a shard");
        fs::read(self.dir().join(newest)).expect("a shard")
    }
}

/// A shard's only file.
fn old_tar(id: u64) -> Vec<u8> {
    tar(&[Member::new(
        format!("db/autogen/{id}/000000001-000000001.tsm"),
        tsm(id, 700),
    )])
}

#[test]
fn a_shard_is_shared_after_two_questions_that_the_server_answers_with_next_to_nothing() {
    let fixture = with_first_set([1]);
    let before = fixture.peer.shard_requests().len();
    assert_eq!(fixture.incremental(&[]), 1);
    let asked = fixture.peer.shard_requests().split_off(before);
    let since: Vec<&str> = asked
        .iter()
        .map(|text| {
            text.split('"')
                .find(|part| part.starts_with("20"))
                .unwrap_or(text)
        })
        .collect();
    // The file is of 08:00:00, give or take a second.
    assert_eq!(since, ["2024-01-15T07:59:58Z", "2024-01-15T08:00:01Z"]);
    assert!(fixture.newest_shard() == old_tar(1));
    // Asked for all of it where that is wanted, or due.
    for (flags, shared) in [
        (&["-full"][..], 0),
        (&["-full-every", "2"], 1),
        (&["-full-every", "2"], 0),
        (&["-cold-after", "99999d"], 0),
    ] {
        assert_eq!(fixture.incremental(flags), shared, "{flags:?}");
    }
}

#[test]
fn a_shard_that_changed_too_soon_before_the_last_set_is_told_to_be_downloaded_for_that() {
    let fixture = with_first_set([1, 2]);
    let told = |flags: &[&str]| {
        let flags = [&["-incremental"], flags].concat();
        let run = fixture.backup(&flags).expect(0);
        let mut lines = run.stderr.lines();
        lines
            .find(|line| line.contains("(-cold-after)"))
            .map(str::to_owned)
    };
    let line = "2 shards changed less than 99999d before the last set (-cold-after) and are \
                downloaded again";
    assert_eq!(told(&["-cold-after", "99999d"]).as_deref(), Some(line));
    assert_eq!(told(&[]), None);
    // Nor are they where all are downloaded for another reason.
    assert_eq!(told(&["-cold-after", "99999d", "-full"]), None);
}

/// Flips a byte of a file, in the first block of the TSM file in it.
fn flip(file: &Path) {
    // However coarse the clock of the file system is, the file gets another time by it.
    std::thread::sleep(Duration::from_millis(20));
    damage(file, "flipped");
}

fn modified(file: &Path) -> SystemTime {
    let file = fs::metadata(file).expect("a file");
    file.modified().expect("a time")
}

fn set_modified(file: &Path, modified: SystemTime) {
    let file = File::options().write(true).open(file).expect("a file");
    file.set_modified(modified).expect("setting a time");
}

#[test]
fn a_shared_file_is_taken_as_it_is_unless_its_time_or_its_size_is_another() {
    let fixture = with_first_set([1]);
    let newest = |number: u32| fixture.dir().join(format!("db.autogen.00001.{number:02}"));
    // One that was touched is read, and shared.
    set_modified(&newest(0), modified(&newest(0)) + Duration::from_millis(1));
    assert_eq!(fixture.incremental(&[]), 1);

    let before = modified(&newest(1));
    flip(&newest(1));
    let run = fixture.prepare_json(&["-incremental"]).run().expect(0);
    assert_eq!(messages(&run, "summary")[0]["shared"], 0);
    let warning = "db.autogen.00001.01 is damaged: the shard is downloaded again";
    assert!(run.stdout.contains(warning), "{}", run.stdout);
    assert!(newest(2).metadata().expect("a file").nlink() == 1);
    snap(["verify", utf8(&fixture.dir()), "latest"]).expect(0);

    // Damage that changes neither is what verify is for, and -checksum.
    assert_ne!(modified(&newest(2)), before);
    let before = modified(&newest(2));
    flip(&newest(2));
    set_modified(&newest(2), before);
    assert_eq!(fixture.incremental(&[]), 1);
    let verified = snap(["verify", utf8(&fixture.dir()), "latest"]).expect(4);
    let lines = [
        "shard db/autogen/1",
        "db.autogen.00001.03",
        "it is not what was recorded: BLAKE3 differs",
    ];
    for line in lines {
        assert!(verified.stdout.contains(line), "{}", verified.stdout);
    }
    assert_eq!(fixture.incremental(&["-checksum"]), 0);
    snap(["verify", utf8(&fixture.dir()), "latest"]).expect(0);
    assert_eq!(fixture.incremental(&["-checksum"]), 1);
}

/// The record of the only set, and where it is.
fn first_record(fixture: &Fixture) -> (PathBuf, Value) {
    let hidden = fixture.dir().join(".snap");
    let names = tree::names(&hidden);
    let id = names.iter().find_map(|name| name.strip_suffix(".json"));
    let id = id.expect("a record");
    let path = hidden.join(format!("{id}.json"));
    (path, record(&fixture.dir(), id))
}

#[test]
fn a_file_of_a_record_without_its_time_is_read_once_before_it_is_shared() {
    let fixture = with_first_set([1]);
    let file = fixture.dir().join("db.autogen.00001.00");
    let before = modified(&file);
    let (path, mut record) = first_record(&fixture);
    record.as_object_mut().expect("an object").remove("sum");
    let recorded = record["shards"][0]["file"].as_object_mut();
    let time = recorded.expect("a file").remove("modified");
    assert!(time.is_some_and(|time| time.is_string()));
    fs::write(&path, record.to_string()).expect("writing a record");
    assert_eq!(fixture.incremental(&[]), 1);

    // That it would be read shows where the damage is one that only reading finds.
    fs::remove_file(fixture.dir().join("db.autogen.00001.01")).expect("removing a file");
    let hidden = fixture.dir().join(".snap");
    let later: Vec<String> = tree::names(&hidden);
    let later = later.iter().rfind(|name| name.ends_with(".json"));
    fs::remove_file(hidden.join(later.expect("a record"))).expect("removing a record");
    flip(&file);
    set_modified(&file, before);
    assert_eq!(fixture.incremental(&[]), 0);
    assert_eq!(fixture.incremental(&[]), 1);
}

#[test]
fn a_shard_of_which_the_server_sends_anything_but_the_right_answers_is_downloaded() {
    let file = |id: u64, number: u64, size: usize| {
        Member::new(
            format!("db/autogen/{id}/00000000{number}-000000001.tsm"),
            tsm(id, size),
        )
    };
    let grown = |id: u64| tar(&[file(id, 1, 700), file(id, 2, 900)]);
    let all = |id: u64| Reply::Bytes(grown(id));
    let other = |id: u64| Reply::Bytes(tar(&[file(id, 2, 700)]));
    let larger = |id: u64| Reply::Bytes(tar(&[file(id, 1, 800)]));
    let (right, empty) = (|_| Reply::Whole, |_| Reply::EmptyTar);
    let (nothing, reset) = (|_| Reply::Nothing, |_| Reply::Cut(0, End::Rst));
    let (cut, at_member) = (|_| Reply::Cut(300, End::Fin), |_| Reply::Cut(512, End::Fin));
    let (reset_later, stall) = (|_| Reply::Cut(1024, End::Rst), |_| Reply::Stall(2048));
    // A delete, which servers name before the file that it is of, and which a compaction carries out
    // then, so that nothing of the shard is left until points come.
    let deleted = |id: u64| {
        let tombstone = Member::new(
            format!("db/autogen/{id}/000000001-000000001.tombstone"),
            noise(id, 90),
        );
        Reply::Bytes(tar(&[
            tombstone.modified(MODIFIED + 3600),
            file(id, 1, 700),
        ]))
    };
    let to_grown: [&[&dyn Fn(u64) -> Reply]; 6] = [
        // What a flush that failed had set aside hides newer points from the first question.
        &[&right, &all, &all],
        &[&all, &all],
        // Servers 1.8.0 to 1.8.4 send an empty tar while they flush.
        &[&empty, &all],
        &[&empty, &empty, &all],
        &[&empty, &empty, &empty, &all],
        &[&deleted, &empty, &all],
    ];
    let to_old: [&[&dyn Fn(u64) -> Reply]; 7] = [
        &[&nothing],
        &[&cut],
        &[&reset],
        &[&other],
        &[&larger],
        &[&right, &nothing],
        &[&right, &cut],
    ];
    let to_shared: [&[&dyn Fn(u64) -> Reply]; 4] = [
        // Put again where no answer came; and what follows the first header does not matter.
        &[&right, &reset],
        &[&at_member],
        &[&reset_later],
        &[&stall],
    ];
    let cases: Vec<_> = to_grown
        .iter()
        .chain(&to_old)
        .chain(&to_shared)
        .zip(1_u64..)
        .collect();
    let fixture = with_first_set(cases.iter().map(|(_, id)| *id));
    for (replies, id) in &cases {
        // A server that flushed has what is new from then on.
        let last = replies.last().map_or(Reply::Whole, |reply| reply(*id));
        let last = if matches!(last, Reply::Bytes(_)) && *id <= to_grown.len() as u64 {
            last
        } else {
            Reply::Whole
        };
        fixture.peer.script(
            Asked::Shard(*id),
            replies.iter().map(|reply| reply(*id)).chain([last]),
        );
    }
    let first_shared = (to_grown.len() + to_old.len() + 1) as u64;
    assert_eq!(
        fixture.incremental(&["-retries", "1"]),
        to_shared.len() as u64
    );
    let records = tree::names(&fixture.dir().join(".snap"));
    let newest = records
        .iter()
        .rfind(|name| name.ends_with(".json"))
        .expect("a record");
    let shared = shared(&fixture.dir(), newest.trim_end_matches(".json"));
    assert!(
        shared.iter().all(|(id, _)| *id >= first_shared),
        "{shared:?}"
    );
    for (_, id) in &cases {
        let content =
            fs::read(fixture.dir().join(format!("db.autogen.{id:05}.01"))).expect("a shard");
        let expected = if *id <= to_grown.len() as u64 {
            grown(*id)
        } else {
            old_tar(*id)
        };
        assert!(
            content == expected,
            "shard {id} is not in the set as the server has it"
        );
    }
}

#[test]
fn an_older_server_is_believed_only_where_it_says_that_nothing_is_newer() {
    // Servers 1.0 and 1.1 say it by closing, as they do when they fail: so it has to be their
    // answer to what can only be answered so, and they must answer otherwise.
    for version in [Version::V1_1, Version::V1_3] {
        let fixture = with_first_set_of(version, [1, 2]);
        fixture.peer.script(Asked::Shard(2), [Reply::Nothing]);
        let run = fixture
            .prepare_json(&["-incremental", "-retries", "0", "-skip-errors"])
            .run()
            .expect(3);
        let summary = &messages(&run, "summary")[0];
        assert_eq!(summary["shared"], 1, "{version:?}");
        assert!(fixture.newest_shard() == old_tar(1));
    }
}

#[test]
fn a_shard_of_an_older_server_is_shared_until_points_or_deletes_are_newer() {
    let file = |name: &str, content: Vec<u8>, modified: u64| {
        Member::new(format!("db/autogen/1/{name}"), content).modified(modified)
    };
    let points = |number: u64, modified| {
        file(
            &format!("{number:09}-000000001.tsm"),
            tsm(number, 700),
            modified,
        )
    };
    let index = |modified| file("index/MANIFEST", b"{}\n".to_vec(), modified);
    let delete = |modified| file("000000001-000000001.tombstone", noise(1, 90), modified);
    for version in [Version::V1_1, Version::V1_3] {
        let has_index = version == Version::V1_3;
        let with = |files: Vec<Member>, cached: Vec<Member>, flushes: &[Duration]| {
            let cache = Cache {
                files,
                cached,
                flushes: flushes.iter().copied().collect(),
                ..Cache::default()
            };
            move |model: &mut Model| model.shard(1).cache = Some(cache)
        };
        // The index is written whenever the shard is asked for.
        let files = |newer: u64| {
            let index = has_index.then(|| index(MODIFIED + newer));
            [points(1, MODIFIED)].into_iter().chain(index).collect()
        };
        let fixture = Fixture::new(Model::new(version, &[("db", "autogen", 1)]));
        fixture
            .peer
            .change(with(files(50_000_000), Vec::new(), &[]));
        assert_eq!(fixture.incremental(&[]), 0);
        fixture
            .peer
            .change(with(files(60_000_000), Vec::new(), &[]));
        assert_eq!(fixture.incremental(&[]), 1, "{version:?}");
        assert_eq!(fixture.incremental(&[]), 1, "{version:?}");

        // What a flush that is under way writes is newer.
        let busy = with(
            files(70_000_000),
            vec![points(2, MODIFIED + 100)],
            &[Duration::from_millis(700)],
        );
        fixture.peer.change(busy);
        assert_eq!(fixture.incremental(&[]), 0, "{version:?}");
        let names = |members: &[u8]| members.windows(9).any(|name| name == b"000000002");
        assert!(names(&fixture.newest_shard()), "{version:?}");
        assert_eq!(fixture.incremental(&[]), 1, "{version:?}");

        let mut deleted: Vec<Member> = files(80_000_000);
        deleted.extend([points(2, MODIFIED + 100), delete(MODIFIED + 200)]);
        fixture.peer.change(with(deleted, Vec::new(), &[]));
        assert_eq!(fixture.incremental(&[]), 0, "{version:?}");
    }
}

#[test]
fn a_server_that_breaks_off_whenever_it_is_asked_what_is_newer_is_given_up() {
    let fixture = with_first_set([1]);
    // It answers each question, and no answer comes to its end.
    fixture.peer.script(Asked::Shard(1), [Reply::Stall(700)]);
    let flags = ["-incremental", "-idle-timeout", "1s", "-retries", "1"];
    let run = fixture.prepare(&flags).run().expect(1);
    assert!(
        run.stderr.contains("1 of 1 shards could not be fetched"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_large_file_is_not_read_to_see_that_it_is_there() {
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1)]);
    model.shard(1).tar = Tar::Large(24 << 20);
    let fixture = Fixture::new(model);
    assert_eq!(fixture.incremental(&[]), 0);
    fixture
        .peer
        .script(Asked::Shard(1), [Reply::Stall(4096), Reply::Whole]);
    assert_eq!(fixture.incremental(&[]), 1);
    assert_eq!(fixture.incremental(&[]), 1);
}

#[test]
fn a_partial_set_and_one_of_another_server_are_not_built_on() {
    let fixture = with_first_set([1, 2]);
    let records = || -> Vec<PathBuf> {
        let hidden = fixture.dir().join(".snap");
        tree::names(&hidden)
            .iter()
            .filter(|name| name.ends_with(".json"))
            .map(|name| hidden.join(name))
            .collect()
    };
    let edit = |path: &Path, field: &str, value: Value| {
        let mut record: Value =
            serde_json::from_slice(&fs::read(path).expect("a record")).expect("a record in JSON");
        record[field] = value;
        fs::write(path, record.to_string()).expect("writing a record");
    };
    let since_last = || {
        fixture
            .prepare_json(&["-since", "last"])
            .run()
            .expect(0)
            .stdout
    };
    let takes_all = "there is no complete set of the same selection to build on: taking all";
    let would_share = || {
        let said = fixture
            .prepare_json(&["-incremental", "-dry-run"])
            .run()
            .expect(0)
            .stdout;
        assert!(
            said.contains("would download shard db/autogen/2: all of it"),
            "{said}"
        );
        said.contains("all of it, unless it has not changed")
    };
    assert!(would_share());
    let [only] = &records()[..] else {
        panic!("{:?}", records())
    };
    edit(only, "cluster_id", 43.into());
    assert!(!would_share());
    assert_eq!(fixture.incremental(&[]), 0);
    for record in records() {
        edit(&record, "cluster_id", 43.into());
    }
    assert!(since_last().contains(takes_all));
    for record in records() {
        fs::remove_file(record).expect("removing a record");
    }

    fixture.peer.script(Asked::Shard(2), [Reply::Nothing]);
    fixture
        .prepare_json(&["-skip-errors", "-retries", "0"])
        .run()
        .expect(3);
    fixture.peer.script(Asked::Shard(2), [Reply::Whole]);
    assert!(!would_share());
    assert!(since_last().contains(takes_all));
    assert!(!since_last().contains(takes_all));
}

#[test]
fn a_set_begun_before_the_clock_was_set_back_is_not_built_on_and_newer_ones_are() {
    let fixture = with_first_set([1, 2]);
    // The set of a clock that was a year ahead.
    let (path, mut record) = first_record(&fixture);
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365);
    let stamp = ahead.strftime("%Y%m%dT%H%M%SZ").to_string();
    (record["id"], record["started"]) = (stamp.clone().into(), ahead.to_string().into());
    record.as_object_mut().expect("an object").remove("sum");
    fs::write(
        path.with_file_name(format!("{stamp}.json")),
        record.to_string(),
    )
    .expect("writing a record");
    fs::remove_file(&path).expect("removing a record");

    let run = fixture.prepare_json(&["-incremental"]).run().expect(0);
    assert_eq!(messages(&run, "summary")[0]["shared"], 0);
    let warning =
        format!("the clock of this machine was set back, and they are not built on: {stamp}");
    assert!(run.stdout.contains(&warning), "{}", run.stdout);
    let since_last = fixture
        .prepare_json(&["-since", "last"])
        .run()
        .expect(0)
        .stdout;
    assert!(
        since_last.contains(&warning)
            && since_last.contains("taking what changed after the newest complete set")
    );
    assert!(
        !since_last.contains(&format!("was begun, {stamp}")),
        "{since_last}"
    );
    assert_eq!(fixture.incremental(&[]), 2);

    // The newest is what was made last, whatever its id says.
    let dir = fixture.dir();
    let target = fixture.path("target");
    let said = restore_into(&target, &["-dry-run"], &dir)
        .run()
        .expect(0)
        .stderr;
    assert!(
        said.contains("db.autogen.00001.03") && !said.contains("db.autogen.00001.00"),
        "{said}"
    );
    let forgotten = snap(["forget", "-keep-last", "1", utf8(&dir)]).expect(0);
    assert!(
        !path.with_file_name(format!("{stamp}.json")).exists(),
        "{}",
        forgotten.stdout
    );
    assert!(dir.join("meta.03").exists());
    snap(["verify", utf8(&dir)]).expect(0);
}

#[test]
fn a_run_that_is_killed_while_it_shares_leaves_the_earlier_set_as_it_was() {
    let fixture = with_first_set(1..=40);
    let dir = fixture.dir();
    let visible = || {
        let mut files = tree::files(&dir);
        files.retain(|name, _| !name.starts_with(".snap/") || name.ends_with(".json"));
        files
    };
    let links = || {
        fs::metadata(dir.join("db.autogen.00001.00"))
            .expect("a shard")
            .nlink()
    };
    let before = visible();
    let asked = fixture.peer.requests().len();
    fixture.peer.script(Asked::Shard(40), [Reply::Stall(0)]);
    let running = fixture.prepare_json(&["-incremental"]).spawn();
    // The metastore, the list of shards, and two questions for each shard but the last, which stays
    // without an answer.
    fixture.peer.wait_for_requests(asked + 39 * 2 + 1);
    wait_for(|| (links() == 2).then_some(())).expect("a link");
    running.signal(libc::SIGKILL);
    assert_eq!(running.wait().signal, Some(libc::SIGKILL));
    assert!(visible() == before, "a killed run changed the directory");
    snap(["verify", utf8(&dir)]).expect(0);
    fixture.peer.script(Asked::Shard(40), [Reply::Whole]);
    assert_eq!(fixture.incremental(&[]), 40);
    assert_eq!(links(), 2);
    let after = visible();
    assert!(
        before
            .iter()
            .all(|(name, content)| after.get(name) == Some(content)),
        "the earlier set is not as it was"
    );
    snap(["verify", utf8(&dir)]).expect(0);
}

/// On a file system without links, the record names the file of the older set.
#[test]
fn a_file_that_cannot_be_linked_to_is_named_and_goes_with_the_last_set_that_names_it() {
    for flags in [&["-incremental"][..], &["-incremental", "-portable"]] {
        let mut model = Model::new(Version::V1_6, &[1, 2].map(|id| ("db", "autogen", id)));
        for id in [1, 2] {
            model.shard(id).tar = Tar::Bytes(old_tar(id));
        }
        let fixture = Fixture::new(model);
        let file = |name: &str| fixture.dir().join(name);
        let sizes = || tree::visible_files(&fixture.dir());
        fixture.prepare_json(flags).run().expect(0);
        let first = sizes();
        let run = || {
            let run = fixture
                .prepare_json(flags)
                .env("SNAP_FAILPOINT", "errno-link:EPERM")
                .run()
                .expect(0);
            assert_eq!(messages(&run, "summary")[0]["shared"], 2);
        };
        run();
        let signs = sizes().len() - first.len();
        assert_eq!(signs, flags.len(), "no file of a shard is another's copy");
        run();
        snap(["verify", utf8(&fixture.dir())]).expect(0);

        // What newer sets name stays, and nothing is said of it.
        let forget =
            |keep: &str| snap(["forget", utf8(&fixture.dir()), "-keep-last", keep]).expect(0);
        let removed = forget("1");
        assert!(!removed.stderr.contains("left alone"), "{}", removed.stderr);
        snap(["verify", utf8(&fixture.dir())]).expect(0);
        let shards: Vec<&String> = first
            .keys()
            .filter(|name| name.contains("00001.00") || name.contains(".s1."))
            .collect();
        assert!(shards.len() == 1 && file(shards[0]).exists());

        // A full set shares nothing: then the old files go with the last set that names them.
        fixture.prepare_json(&flags[1..]).run().expect(0);
        forget("1");
        assert!(!file(shards[0]).exists());
        snap(["verify", utf8(&fixture.dir())]).expect(0);
        assert_eq!(sizes().len(), first.len());
    }
}

/// Stock influxd reads them too: a manifest can name any file of the directory, and of the legacy
/// layout it takes all numbers of a shard.
#[test]
fn sets_that_name_files_of_older_ones_come_back_by_influxd_when_these_are_gone() {
    let layouts: [&'static [&'static str]; 2] = [&["-portable"], &[]];
    for layout in layouts {
        let backups = Backups::loaded(Index::Inmem, layout, 20);
        let dir = backups.dir();
        let first = backups.incremental();
        backups.a_day_passes();
        backups.write(1, "late", 3);
        let points = backups.server.points();
        let run = process::backup(&backups.server.host(), layout, &dir)
            .args(["-json", "-incremental"])
            .env("SNAP_FAILPOINT", "errno-link:EPERM")
            .run()
            .expect(0);
        let summary = messages(&run, "summary").remove(0);
        assert_eq!(summary["shared"], first.shards - 1);
        let id = summary["set"].as_str().expect("an id").to_owned();
        assert_eq!(record(&dir, &id)["format"], 3);
        snap(["forget", utf8(&dir), "-keep-last", "1"]).expect(0);
        snap(["verify", utf8(&dir)]).expect(0);
        expect_offline(&dir, &id, &points, Index::Inmem);
        let made = Made {
            id,
            points,
            ..first
        };
        match layout.is_empty() {
            false => by_influxd(&dir, &made, Index::Inmem),
            true => by_influxd_offline(&dir, &made),
        }
        // The next set has links of these files, under names of its own.
        backups.a_day_passes();
        let third = backups.incremental();
        assert_eq!(third.shared, third.shards - 1);
        assert_eq!(record(&dir, &third.id)["format"], 2);
        backups.expect(&third, Index::Inmem);
    }
}

/// Restores the legacy layout into the directories of a stopped influxd, with influxd; panics unless
/// the set comes back as it was.
fn by_influxd_offline(dir: &Path, made: &Made) {
    let folder = folder();
    for database in ["main", "other"] {
        influxd_restore_into(folder.path(), database, dir);
    }
    let server = Influxd::start(folder.path(), Index::Inmem);
    expect_points(&server.points(), &made.points, "by influxd");
}
