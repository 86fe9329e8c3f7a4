//! The data sets in `testdata`, each made by a real influxd and never edited: each is backed up and
//! restored, and an influxd on the result answers what the one that made it answered. So are the
//! backups that older ones made, without the first step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::influxd::{Index, Influxd, time_of};
use crate::support::process::{Run, Snap, backup_of, restore_into};
use crate::support::service::{all_members, copy};
use crate::support::{folder, tree, utf8};
use serde_json::Value;

/// All data sets, so that none is forgotten.
fn data_sets() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = fs::read_dir(folder)
        .expect("the folder testdata")
        .map(|entry| entry.expect("an entry").path());
    entries
        .filter(|path| path.is_dir() && path.join("meta").is_dir())
        .collect()
}

/// What older servers answer of the backups in `testdata/backups`, by the names of these, so that
/// none is forgotten.
fn answers_of_backups() -> BTreeMap<String, BTreeMap<String, Value>> {
    let folder = backups();
    let text = fs::read_to_string(folder.join("expected.json")).expect("expected.json");
    let expected: BTreeMap<_, _> = serde_json::from_str(&text).expect("answers in JSON");
    let mut names: Vec<String> = tree::names(&folder).into_iter().collect();
    names.retain(|name| folder.join(name).is_dir());
    assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>());
    expected
}

fn backups() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/backups")
}

/// What a server answers of the database `db`, in the form of `expected.json`: the counts by
/// policy, measurement and tags.
fn counts(server: &Influxd) -> BTreeMap<String, Value> {
    let mut counts = BTreeMap::new();
    for policy in server.policies("db") {
        let answer = server.query(
            "db",
            &format!("SELECT count(*) FROM \"{policy}\"./.*/ GROUP BY *"),
        );
        for series in answer["results"][0]["series"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let tags = series["tags"].as_object().into_iter().flatten();
            let tags: Vec<String> = tags
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
                .collect();
            let name = series["name"].as_str().unwrap_or_default();
            let columns = series["columns"].as_array().into_iter().flatten();
            let values = series["values"][0].as_array().into_iter().flatten();
            let fields = columns.zip(values).skip(1);
            let fields = fields.map(|(column, value)| {
                (
                    column.as_str().unwrap_or_default().to_owned(),
                    value.clone(),
                )
            });
            counts.insert(
                format!("{policy}/{name}/{}", tags.join(",")),
                Value::Object(fields.collect()),
            );
        }
    }
    counts
}

#[test]
fn a_backup_of_an_older_influxd_answers_as_its_source_did_also_after_another_delete_and_a_restart()
{
    for (name, expected) in answers_of_backups() {
        for index in [Index::Inmem, Index::Tsi1] {
            let (target, backup) = (folder(), backups().join(&name).join("bi"));
            let flags = ["-database", "db", "-index", index.name()];
            let run = restore_into(target.path(), &flags, &backup).run().expect(0);
            assert!(
                run.stderr.contains("deletes that are not yet compacted"),
                "{}",
                run.stderr
            );
            let server = Influxd::start(target.path(), index);
            assert_eq!(counts(&server), expected, "{name} {index:?}");
            let files = tree::files(&server.data_dir());
            assert!(!files.keys().any(|path| path.ends_with(".tombstone")));
            // On files with tombstones of older versions, this would take one field of several, and
            // a restart all of it back.
            let before = server.points();
            let times: BTreeSet<i64> = before.iter().map(|point| time_of(point)).collect();
            let middle = *times.iter().nth(times.len() / 2).expect("points");
            server.query(
                "db",
                &format!("DELETE FROM cpu WHERE host = 'h2' AND time < {middle}"),
            );
            let gone =
                |point: &&String| point.contains("\"host\"=\"h2\"") && time_of(point) < middle;
            let left: Vec<String> = before
                .iter()
                .filter(|point| !gone(point))
                .cloned()
                .collect();
            assert!(left.len() < before.len());
            assert!(server.points() == left, "{name} {index:?}: after a delete");
            server.stop();
            let server = Influxd::start(target.path(), index);
            assert!(server.points() == left, "{name} {index:?}: after a restart");
            server.expect_no_errors();
        }
    }
}

#[test]
fn tombstones_are_put_back_as_they_are_where_that_is_asked_for() {
    for name in answers_of_backups().into_keys() {
        let (target, backup) = (folder(), backups().join(&name).join("bi"));
        let flags = ["-database", "db", "-apply-deletes=false"];
        restore_into(target.path(), &flags, &backup).run().expect(0);
        let restored = tree::files(&target.path().join("data"));
        for entry in fs::read_dir(&backup).expect("a backup") {
            let path = entry.expect("an entry").path();
            let tar = fs::read(&path).expect("a file");
            if utf8(&path).contains("/db.") {
                for member in all_members(&tar) {
                    let name = &member.name;
                    assert!(restored[name] == member.content, "{name}");
                }
            }
        }
        assert!(restored.keys().any(|path| path.ends_with(".tombstone")));
    }
}

#[test]
fn an_influxd_on_what_was_backed_up_and_restored_answers_as_the_one_that_made_it() {
    let sets = data_sets();
    assert!(!sets.is_empty());
    for set in sets {
        for index in [Index::Inmem, Index::Tsi1] {
            let place = folder();
            let [source, backup, target] =
                ["source", "backup", "target"].map(|name| place.path().join(name));
            copy(&set, &source);
            backup_of(&source, &[], &backup).run().expect(0);
            restore_into(&target, &["-index", index.name()], &backup)
                .run()
                .expect(0);
            let server = Influxd::start(&target, index);
            let recorded = fs::read_to_string(set.join("points.txt")).expect("points.txt");
            assert!(
                server.points() == recorded.lines().collect::<Vec<_>>(),
                "{} {index:?}: the points differ",
                set.display()
            );
        }
    }
}

#[test]
fn what_no_set_was_asked_for_is_missing_where_it_is_named_and_a_warning_elsewhere() {
    let place = folder();
    let at = |name: &str| place.path().join(name);
    let source = at("source");
    copy(&data_sets()[0], &source);
    let backup =
        |flags: &[&str], to: &str| drop(backup_of(&source, flags, &at(to)).run().expect(0));
    let restore = |flags: &[&str], from: &str, code: i32| -> Run {
        restore_into(folder().path(), flags, &at(from))
            .run()
            .expect(code)
    };
    backup(&["-shard", "1"], "shard");
    restore(&["-database", "plain", "-shard", "2"], "shard", 10);
    backup(&["-database", "plain", "-retention", "p.q"], "policy");
    let run = restore(&["-database", "plain"], "policy", 3);
    assert!(
        run.stderr.contains("missing: ") && run.stderr.contains("plain/autogen/1"),
        "{}",
        run.stderr
    );
    let run = restore(&[], "policy", 0);
    assert!(
        run.stderr.contains("warning: ") && run.stderr.contains("plain/autogen/1"),
        "{}",
        run.stderr
    );
    backup(&["-meta-only"], "meta");
    restore(&["-database", "plain"], "meta", 10);

    // Mistyped directories are told, rather than taken for empty ones.
    let never = at("never");
    Snap::new(["backup"])
        .directories(&source)
        .args(["-waldir".as_ref(), at("nowhere").as_path(), &never])
        .run()
        .expect(2);
    let (meta, data) = (source.join("meta"), &source);
    Snap::new(["backup"])
        .args([
            "-metadir".as_ref(),
            meta.as_path(),
            "-datadir".as_ref(),
            data,
            &never,
        ])
        .run()
        .expect(6);
    assert!(!never.exists());
}
