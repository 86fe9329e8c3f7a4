//! An export that is killed, or to which the disk says no, at any of its steps: no file has its
//! name that is not whole.

use std::fs;
use std::path::Path;

use crate::support::process::{Run, Snap, backup_of};
use crate::support::service::copy;
use crate::support::{each, folder, tree, utf8};

#[test]
fn an_export_that_ends_at_any_step_leaves_no_file_that_is_not_whole() {
    let place = folder();
    let path = |name: &str| place.path().join(name);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/influxd-1.6.7");
    copy(&data, &path("source"));
    let dir = path("backup");
    backup_of(&path("source"), &["-database", "plain"], &dir)
        .run()
        .expect(0);
    let export = |name: &str| {
        let file = path(name);
        Snap::new(["export", "-o", utf8(&file), utf8(&dir)])
    };
    for suffix in ["lp", "lp.gz"] {
        let log = path(&format!("log.{suffix}"));
        let whole = format!("whole.{suffix}");
        export(&whole)
            .env("SNAP_FAILPOINT_LOG", &log)
            .run()
            .expect(0);
        let expected = fs::read(path(&whole)).expect("the export");
        assert!(expected.len() > 500);
        let steps = fs::read_to_string(log).expect("a log").lines().count();
        assert!(steps >= 3, "{steps} steps");
        let how = ["kill", "fail", "fail-from"];
        each(
            (1..=steps).flat_map(|step| how.map(|how| (how, step))),
            |(how, step)| {
                let name = format!("{how}{step}.{suffix}");
                let failpoint = format!("{how}:{step}");
                let run: Run = export(&name).env("SNAP_FAILPOINT", failpoint).run();
                assert_eq!(run.signal.is_some(), *how == "kill", "{run:?}");
                if let Ok(found) = fs::read(path(&name)) {
                    assert!(found == expected, "{name}");
                }
            },
        );
    }
}

#[test]
fn tables_that_end_at_any_step_leave_no_directory_that_is_not_whole() {
    let place = folder();
    let path = |name: &str| place.path().join(name);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/influxd-1.6.7");
    copy(&data, &path("source"));
    let dir = path("backup");
    backup_of(&path("source"), &["-database", "größe"], &dir)
        .run()
        .expect(0);
    let export = |name: &str, format: &str| {
        let target = path(name);
        Snap::new(["export", "-format", format, "-o", utf8(&target), utf8(&dir)])
    };
    for format in ["csv", "csv.gz", "parquet"] {
        let log = path(&format!("log.{format}"));
        let whole = format!("whole-{format}");
        export(&whole, format)
            .env("SNAP_FAILPOINT_LOG", &log)
            .run()
            .expect(0);
        let expected = tree::files(&path(&whole));
        assert_eq!(expected.len(), 2);
        let steps = fs::read_to_string(log).expect("a log").lines().count();
        assert!(steps >= 8, "{steps} steps");
        let how = ["kill", "fail"];
        each(
            (1..=steps).flat_map(|step| how.map(|how| (how, step))),
            |(how, step)| {
                let name = format!("{how}{step}-{format}");
                let failpoint = format!("{how}:{step}");
                let run: Run = export(&name, format).env("SNAP_FAILPOINT", failpoint).run();
                assert_eq!(run.signal.is_some(), *how == "kill", "{run:?}");
                if path(&name).exists() {
                    assert!(tree::files(&path(&name)) == expected, "{name}");
                }
            },
        );
    }
}
