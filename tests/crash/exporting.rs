//! An export that is killed, or to which the disk says no, at any of its steps: no file has its
//! name that is not whole.

use std::fs;

use crate::support::process::{Run, Snap, sample_backup};
use crate::support::{each, tree, utf8};

#[test]
fn an_export_that_ends_at_any_step_leaves_no_file_that_is_not_whole() {
    let (place, dir) = sample_backup(&["-database", "plain"]);
    let path = |name: &str| place.path().join(name);
    // In a folder each: the name of a file stands in what is compressed.
    let export = |folder: &str, name: &str| {
        fs::create_dir(path(folder)).expect("a folder");
        let file = path(folder).join(name);
        Snap::new(["export", "-o", utf8(&file), utf8(&dir)])
    };
    for name in ["points.lp", "points.lp.gz"] {
        let log = path(&format!("log.{name}"));
        let whole = format!("whole.{name}");
        export(&whole, name)
            .env("SNAP_FAILPOINT_LOG", &log)
            .run()
            .expect(0);
        let expected = fs::read(path(&whole).join(name)).expect("the export");
        assert!(expected.len() > 500);
        let steps = fs::read_to_string(log).expect("a log").lines().count();
        assert!(steps >= 3, "{steps} steps");
        let how = ["kill", "fail", "fail-from"];
        each(
            (1..=steps).flat_map(|step| how.map(|how| (how, step))),
            |(how, step)| {
                let folder = format!("{how}{step}.{name}");
                let failpoint = format!("{how}:{step}");
                let run: Run = export(&folder, name).env("SNAP_FAILPOINT", failpoint).run();
                assert_eq!(run.signal.is_some(), *how == "kill", "{run:?}");
                if let Ok(found) = fs::read(path(&folder).join(name)) {
                    assert!(found == expected, "{folder}");
                }
            },
        );
    }
}

#[test]
fn an_export_in_parts_that_ends_at_any_step_has_a_first_part_only_if_it_has_all() {
    let (place, dir) = sample_backup(&["-database", "plain"]);
    let export = |name: &str| {
        let folder = place.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        let file = folder.join("x.lp");
        Snap::new([
            "export",
            "-max-bytes",
            "16KiB",
            "-o",
            utf8(&file),
            utf8(&dir),
        ])
    };
    let parts = |name: &str| {
        let mut files = tree::files(&place.path().join(name));
        files.retain(|name, _| !name.starts_with('.'));
        files
    };
    let log = place.path().join("log");
    export("whole")
        .env("SNAP_FAILPOINT_LOG", &log)
        .run()
        .expect(0);
    let expected = parts("whole");
    assert!(expected.len() > 3 && expected.contains_key("x-0001.lp"));
    let steps = fs::read_to_string(log).expect("a log").lines().count();
    let how = ["kill", "fail", "fail-from"];
    each(
        (1..=steps).flat_map(|step| how.map(|how| (how, step))),
        |(how, step)| {
            let name = format!("{how}{step}");
            let failpoint = format!("{how}:{step}");
            export(&name).env("SNAP_FAILPOINT", failpoint).run();
            let found = parts(&name);
            assert!(
                found.iter().all(|(name, part)| expected[name] == *part),
                "{name}"
            );
            let is_whole = found.len() == expected.len();
            assert!(is_whole || !found.contains_key("x-0001.lp"), "{name}");
        },
    );
}

#[test]
fn tables_that_end_at_any_step_leave_no_directory_that_is_not_whole() {
    let (place, dir) = sample_backup(&["-database", "größe"]);
    let path = |name: &str| place.path().join(name);
    let export = |name: &str, format: &str| {
        let target = path(name);
        Snap::new(["export", "-format", format, "-o", utf8(&target), utf8(&dir)])
    };
    for format in ["csv", "csv.gz", "parquet"] {
        let log = path(&format!("log.{format}"));
        // A name that ends with .gz would be a file's.
        let of_format = format.replace('.', "-");
        let whole = format!("whole-{of_format}");
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
                let name = format!("{how}{step}-{of_format}");
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
