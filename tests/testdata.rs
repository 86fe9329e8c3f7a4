//! The data sets in `testdata`, each made by a real influxd and never edited: each is backed up and restored, and an influxd
//! on the result answers what the one that made it answered.

use std::fs;
use std::path::{Path, PathBuf};

mod support;

use support::influxd::{Index, Influxd};
use support::process::snap;

/// All data sets, so that none is forgotten.
fn data_sets() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = fs::read_dir(folder).expect("the folder testdata").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_dir()).collect()
}

#[test]
fn an_influxd_on_what_was_backed_up_and_restored_answers_as_the_one_that_made_it() {
    let sets = data_sets();
    assert!(!sets.is_empty());
    for set in sets {
        for index in [Index::Inmem, Index::Tsi1] {
            let place = tempfile::tempdir().expect("a temporary directory");
            let at = |name: &str| place.path().join(name).into_os_string();
            let copy = place.path().join("copy");
            support::service::copy(&set, &copy);
            let (meta, data) = (copy.join("meta").into_os_string(), copy.join("data").into_os_string());
            snap(["backup".into(), "-metadir".into(), meta, "-datadir".into(), data, at("backup")]).expect(0);
            let args = ["restore".into(), "-index".into(), index.name().into(), "-metadir".into(), at("new/meta")];
            snap(args.into_iter().chain(["-datadir".into(), at("new/data"), at("backup")])).expect(0);
            let server = Influxd::start(&place.path().join("new"), index);
            let recorded = fs::read_to_string(set.join("points.txt")).expect("points.txt");
            assert!(server.points() == recorded.lines().collect::<Vec<_>>(), "{} {index:?}: the points differ", set.display());
        }
    }
}

#[test]
fn what_no_set_was_asked_for_is_missing_where_it_is_named_and_a_warning_elsewhere() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| place.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let copy = place.path().join("copy");
    support::service::copy(&data_sets()[0], &copy);
    let (meta, data) = (at("copy/meta"), at("copy/data"));
    let backup = |flags: &[&str], to: &str| {
        let fixed = ["backup", "-metadir", &meta, "-datadir", &data];
        snap(fixed.iter().chain(flags).copied().chain([at(to).as_str()])).expect(0);
    };
    let restore = |flags: &[&str], from: &str, code: i32| {
        let target = tempfile::tempdir_in(place.path()).expect("a temporary directory");
        let into = |name: &str| target.path().join(name).to_str().expect("a path in UTF-8").to_owned();
        let (meta, data) = (into("meta"), into("data"));
        let fixed = ["restore", "-metadir", &meta, "-datadir", &data];
        snap(fixed.iter().chain(flags).copied().chain([at(from).as_str()])).expect(code)
    };
    backup(&["-shard", "1"], "shard");
    restore(&["-database", "plain", "-shard", "2"], "shard", 10);
    backup(&["-database", "plain", "-retention", "p.q"], "policy");
    let run = restore(&["-database", "plain"], "policy", 3);
    assert!(run.stderr.contains("missing: ") && run.stderr.contains("plain/autogen/1"), "{}", run.stderr);
    let run = restore(&[], "policy", 0);
    assert!(run.stderr.contains("warning: ") && run.stderr.contains("plain/autogen/1"), "{}", run.stderr);
    backup(&["-meta-only"], "meta");
    restore(&["-database", "plain"], "meta", 10);

    // Mistyped directories are told, rather than taken for empty ones.
    let wrong = |flags: [&str; 6]| snap(["backup"].into_iter().chain(flags).chain([at("never").as_str()]));
    wrong(["-metadir", &meta, "-datadir", &data, "-waldir", &at("nowhere")]).expect(2);
    wrong(["-metadir", &meta, "-datadir", &at("copy"), "-jobs", "1"]).expect(6);
    assert!(!place.path().join("never").exists());
}
