//! The data sets in `testdata`, each made by a real influxd and never edited: each is backed up and restored, and an influxd
//! on the result answers what the one that made it answered.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::folder;
use support::influxd::{Index, Influxd};
use support::process::{Run, Snap, backup_of, restore_into};
use support::service::copy;

/// All data sets, so that none is forgotten.
fn data_sets() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = fs::read_dir(folder)
        .expect("the folder testdata")
        .map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_dir()).collect()
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
