//! `snap check`: that it is content with what an operator would be content with, and says what is
//! wrong with the rest.

use std::fs;
use std::time::Duration;

use crate::support::fixture::Fixture;
use crate::support::peer::{Asked, Model, Peer, Reply, Version};
use crate::support::process::{Run, backup, restore_into, snap};
use crate::support::{folder, tree, utf8};
use jiff::Timestamp;
use serde_json::Value;

/// A server with the shards `db/autogen/1`, `db/autogen/2` and `other/autogen/3`.
fn three_shards() -> Fixture {
    Fixture::holding(&[
        ("db", "autogen", 1),
        ("db", "autogen", 2),
        ("other", "autogen", 3),
    ])
}

impl Fixture {
    /// Backs up; the id of the set.
    fn set_made(&self, flags: &[&str], code: i32) -> String {
        let flags = [&["-json", "-retries", "0"], flags].concat();
        let run = self.backup(&flags).expect(code);
        run.last_message()["set"]
            .as_str()
            .expect("a set")
            .to_owned()
    }

    fn check(&self, flags: &[&str], code: i32) -> String {
        let dir = self.dir();
        let run = snap([&["check", "-max-age", "26h"], flags, &[utf8(&dir)]].concat()).expect(code);
        assert!(run.stderr.is_empty(), "{}", run.stderr);
        assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
        run.stdout
    }

    /// Makes a set look as if it was begun then.
    fn date(&self, set: &str, started: Timestamp) {
        let path = self.dir().join(format!(".snap/{set}.json"));
        let mut record: Value =
            serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
        record["started"] = started.to_string().into();
        fs::write(&path, record.to_string()).expect("writing a record");
    }
}

fn ago(hours: u64) -> Timestamp {
    Timestamp::now() - Duration::from_secs(hours * 3600)
}

#[test]
fn the_newest_complete_set_counts_by_its_age_and_its_files() {
    let fixture = three_shards();
    let set = fixture.set_made(&[], 0);
    assert!(
        fixture
            .check(&[], 0)
            .starts_with(&format!("ok: set {set} (complete), "))
    );
    assert!(
        fixture
            .check(&["-database", "other"], 0)
            .starts_with("ok: ")
    );
    let said = fixture.check(&["-database", "none"], 1);
    assert!(
        said.starts_with("failed: no complete set of database 'none'"),
        "{said}"
    );

    fixture.date(&set, ago(30));
    let said = fixture.check(&[], 1);
    assert!(
        said.contains(&format!("set {set} is 30h old, more than 26h")),
        "{said}"
    );
    fixture.check(&["-max-age", "31h"], 0);
    fixture.date(&set, Timestamp::now() + Duration::from_secs(7200));
    assert!(fixture.check(&[], 1).contains("a clock is wrong"));

    fixture.date(&set, ago(1));
    let shard = fixture.dir().join("db.autogen.00002.00");
    let whole = fs::read(&shard).expect("a shard");
    fs::write(&shard, &whole[..whole.len() - 1]).expect("cutting a shard");
    let said = fixture.check(&[], 1);
    assert!(
        said.contains(&format!(
            "db.autogen.00002.00 has {} bytes and not {}",
            whole.len() - 1,
            whole.len()
        )),
        "{said}"
    );
    fs::remove_file(&shard).expect("removing a shard");
    fs::remove_file(fixture.dir().join("meta.00")).expect("removing a metastore");
    let said = fixture.check(&["-quiet"], 1);
    assert!(
        said.contains("db.autogen.00002.00 is gone, and 1 more"),
        "{said}"
    );
}

#[test]
fn partial_sets_and_sets_of_a_part_do_not_count_and_are_told_of() {
    let fixture = three_shards();
    fixture.peer.script(Asked::Shard(1), [Reply::Nothing]);
    let partial = fixture.set_made(&["-skip-errors"], 3);
    let said = fixture.check(&[], 1);
    assert!(
        said.contains("no complete set")
            && said.contains(&format!("set {partial} does not count: it is partial")),
        "{said}"
    );

    let other = fixture.set_made(&["-database", "other"], 0);
    assert!(fixture.check(&[], 0).contains(&other));
    assert!(fixture.check(&["-database", "other"], 0).contains(&other));
    fixture.check(&["-database", "db"], 1);
    fixture.date(&other, ago(2));
    fixture.set_made(&["-meta-only"], 0);
    fixture.set_made(&["-database", "other", "-start", "2020-01-01"], 0);
    let said = fixture.check(&[], 0);
    assert!(
        said.contains(&other)
            && said.contains("the metastore alone")
            && said.contains("a range of time alone"),
        "{said}"
    );
}

#[test]
fn an_increment_needs_the_sets_that_it_stands_on() {
    let fixture = three_shards();
    let full = fixture.set_made(&[], 0);
    fixture.date(&full, ago(40));
    let increment = fixture.set_made(&["-since", "2001-01-01"], 0);
    assert!(fixture.check(&[], 0).contains(&increment));
    fs::remove_file(fixture.dir().join("db.autogen.00001.00"))
        .expect("removing a shard of the full set");
    assert!(fixture.check(&[], 1).contains(&format!(
        "the file db.autogen.00001.00 of set {full} is gone"
    )));
    for name in tree::names(&fixture.dir())
        .iter()
        .filter(|name| name.ends_with(".00"))
    {
        fs::remove_file(fixture.dir().join(name)).expect("removing a file");
    }
    fs::remove_file(fixture.dir().join(format!(".snap/{full}.json"))).expect("removing a record");
    assert!(fixture.check(&[], 1).contains("there is no set before it"));
}

#[test]
fn sets_of_influxd_count_as_what_they_are() {
    let fixture = three_shards();
    fixture.set_made(&[], 0);
    fs::remove_dir_all(fixture.dir().join(".snap")).expect("removing the records");
    assert!(
        fixture
            .check(&["-database", "db"], 0)
            .starts_with("ok: set meta.00 (unrecorded), ")
    );
    fs::remove_dir_all(fixture.dir()).expect("removing a backup");

    fixture.set_made(&["-portable"], 0);
    fs::remove_dir_all(fixture.dir().join(".snap")).expect("removing the records");
    assert!(
        fixture
            .check(&["-database", "other"], 0)
            .contains("(complete)")
    );
    let shard = tree::names(&fixture.dir())
        .into_iter()
        .find(|name| name.ends_with(".s2.tar.gz"))
        .expect("shard 2");
    fs::remove_file(fixture.dir().join(&shard)).expect("removing a shard");
    let said = fixture.check(&[], 1);
    assert!(said.contains(&shard) && said.contains("is gone"), "{said}");
}

#[test]
fn json_tells_the_same_and_a_directory_that_is_not_there_has_its_own_exit_code() {
    let fixture = three_shards();
    let set = fixture.set_made(&[], 0);
    let told: Value = serde_json::from_str(&fixture.check(&["-json"], 0)).expect("JSON");
    assert_eq!(
        (
            &told["message_type"],
            &told["ok"],
            &told["newest_set"]["set"]
        ),
        (&"check".into(), &true.into(), &set.as_str().into())
    );
    assert_eq!(
        (
            &told["max_age_seconds"],
            told["problems"].as_array().map(Vec::len)
        ),
        (&93_600.into(), Some(0))
    );
    fixture.date(&set, ago(30));
    let told: Value = serde_json::from_str(&fixture.check(&["-json"], 1)).expect("JSON");
    assert_eq!(
        (&told["ok"], told["problems"].as_array().map(Vec::len)),
        (&false.into(), Some(1))
    );
    assert!(
        told["age_seconds"]
            .as_u64()
            .is_some_and(|age| (108_000..108_600).contains(&age)),
        "{told}"
    );

    let run: Run = snap(["check", "-max-age", "1h", "/nowhere"]).expect(10);
    assert!(run.stderr.contains("/nowhere"), "{}", run.stderr);
    snap(["check", utf8(&fixture.dir())]).expect(2);
}

#[test]
fn a_gap_before_an_increment_is_told_by_backup_check_verify_list_and_restore_alike() {
    let fixture = three_shards();
    let agree = |code: i32, gap: &str| {
        let dir = fixture.dir();
        let target = fixture.path("target");
        let restored = restore_into(&target, &["-dry-run"], &dir).run();
        let verified = snap(["verify", utf8(&dir), "latest"]);
        let listed = snap(["list", "-json", utf8(&dir)]).expect(0).last_message();
        let checked = fixture.check(&[], i32::from(code != 0));
        assert_eq!(
            (restored.code, verified.code),
            (Some(code), Some(if code == 0 { 0 } else { 3 })),
            "{}{}",
            restored.stderr,
            verified.stdout
        );
        assert_eq!(
            listed["restorable_whole"],
            Value::Bool(code == 0),
            "{listed}"
        );
        for said in [
            &restored.stderr,
            &verified.stdout,
            &checked,
            &listed.to_string(),
        ] {
            assert!(code == 0 || said.contains(gap), "{gap}: {said}");
        }
    };
    // The full backup is an hour older than what the increment asks for.
    let full = fixture.set_made(&[], 0);
    fixture.date(&full, ago(1));
    let run = backup(
        &fixture.peer.host(),
        &["-json", "-since", "1s"],
        &fixture.dir(),
    )
    .run()
    .expect(0);
    let gaps = run.last_message()["gaps_before"].as_array().map(Vec::len);
    assert_eq!(gaps, Some(3), "{}", run.stdout);
    assert!(
        run.stdout.contains("cannot be restored whole"),
        "{}",
        run.stdout
    );
    agree(3, "is in neither");
    // What goes on from the full backup covers the gap.
    fixture.set_made(&["-since", "2h"], 0);
    agree(0, "");
    // What -since last goes on from is not the set with the gap.
    fixture.set_made(&["-since", "1s"], 0);
    fixture.set_made(&["-since", "last", "-cold-after", "1s"], 0);
    agree(0, "");
}

#[test]
fn an_increment_to_another_retention_policy_is_no_backup_of_its_own() {
    let root = folder();
    let dir = root.path().join("backup");
    let shards = [("db", "a", 1), ("db", "b", 2)];
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    let take = |flags: &[&str]| {
        let flags = [&["-database", "db"], flags].concat();
        backup(&peer.host(), &flags, &dir).run().expect(0)
    };
    take(&["-retention", "a"]);
    let run = take(&["-retention", "b", "-since", "1h"]);
    assert!(
        run.stderr.contains("there is no set before it"),
        "{}",
        run.stderr
    );
    let run = snap(["check", "-max-age", "1h", utf8(&dir)]).expect(1);
    assert!(
        run.stdout.contains("there is no set before it"),
        "{}",
        run.stdout
    );
    snap(["verify", utf8(&dir), "latest"]).expect(3);
}

#[test]
fn a_server_that_comes_up_without_its_data_is_told_of_by_backup_check_and_restore() {
    let fixture = three_shards();
    let full = fixture.set_made(&[], 0);
    let metrics = fixture.path("snap.prom");
    let take = |model: Model| {
        let peer = Peer::start(model);
        let flags = ["-json", "-metrics-file", utf8(&metrics)];
        backup(&peer.host(), &flags, &fixture.dir()).run().expect(0)
    };
    let told = |run: &Run, text: &str| {
        let mut messages = run.messages().into_iter();
        messages.any(|message| {
            message["level"] == "warning"
                && message["message"]
                    .as_str()
                    .is_some_and(|said| said.contains(text))
        })
    };
    // One database of two is gone, and two of three shards are not.
    let part = Model::new(Version::V1_6, &[("db", "autogen", 1), ("db", "autogen", 2)]);
    let run = take(part);
    let summary = run.last_message();
    assert!(told(&run, "have no shard any more"), "{}", run.stdout);
    assert_eq!(
        (&summary["lost_shards"], &summary["lost_databases"]),
        (&1.into(), &vec!["other"].into())
    );
    assert!(fixture.check(&[], 0).contains("have no shard any more"));
    assert!(
        fixture
            .check(&["-max-lost-shards", "33"], 1)
            .contains("1 of the 3 shards")
    );
    let said = fixture.check(&["-database", "other"], 1);
    assert!(
        said.contains("whether the server has lost its data"),
        "{said}"
    );

    // All is gone, and stays so.
    for _ in 0..2 {
        let run = take(Model::new(Version::V1_6, &[]));
        assert!(told(&run, "it holds no shard, but set"), "{}", run.stdout);
        let said = fs::read_to_string(&metrics).expect("metrics");
        assert!(
            said.contains("snap_shards{command=\"backup\",state=\"lost\"} 2\n"),
            "{said}"
        );
        assert!(
            said.contains("snap_lost_databases{command=\"backup\"} 1\n"),
            "{said}"
        );
        assert!(
            said.contains("snap_server_changed{command=\"backup\"} 0\n"),
            "{said}"
        );
        assert!(fixture.check(&[], 1).contains("it holds no shard"));
        fixture.check(&["-allow-empty"], 0);
    }
    let dir = fixture.dir();
    let target = fixture.path("target");
    let run = restore_into(&target, &[], &dir).run().expect(10);
    assert!(
        run.stderr.contains("the newest set that holds any is"),
        "{}",
        run.stderr
    );
    assert!(!target.exists(), "something was written");
    let run = restore_into(&target, &["-database", "db"], &dir)
        .run()
        .expect(1);
    assert!(run.stderr.contains("holds it: write"), "{}", run.stderr);
    let run = restore_into(&target, &[], &dir).args([&full]).run();
    assert!(run.expect(0).stdout.contains(": 3 shards, "));
}

#[test]
fn a_set_without_points_that_is_named_is_restored_beside_sets_of_another_server() {
    let fixture = three_shards();
    let of_other = fixture.set_made(&[], 0);
    let mut model = Model::new(Version::V1_6, &[]);
    model.more = Some(|data| data.cluster_id = 43);
    let peer = Peer::start(model);
    let dir = fixture.dir();
    backup(&peer.host(), &[], &dir).run().expect(0);
    let restore = |target: &str, set: Option<&str>| {
        let run = restore_into(&fixture.path(target), &[], &dir);
        run.args(set).run()
    };
    let run = restore("newest", None).expect(10);
    let said = format!("the newest set that holds any is {of_other} of another server");
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    let run = restore("named", Some("latest")).expect(0);
    assert!(
        run.stderr.contains("the metastore is all there is"),
        "{}",
        run.stderr
    );
    assert!(fixture.path("named/meta/meta.db").exists());
}
