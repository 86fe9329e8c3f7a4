//! A copy of sets that is killed, or to which the disk says no, at any of its steps: what is there
//! is whole sets, and the next copy brings the others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::fixture::Fixture;
use crate::support::process::{Run, Snap, snap};
use crate::support::{each, tree, utf8};

fn copy(from: &Path, to: &Path) -> Snap {
    Snap::new(["copy", "-jobs", "1", utf8(from), utf8(to)])
}

/// The names of records.
fn records(dir: &Path) -> BTreeSet<String> {
    let hidden = dir.join(".snap");
    if !hidden.exists() {
        return BTreeSet::new();
    }
    let names = tree::names(&hidden).into_iter();
    names.filter(|name| name.ends_with(".json")).collect()
}

/// Panics unless a copy has whole sets alone.
fn expect_whole(dir: &Path) {
    match records(dir).is_empty() {
        true => snap(["verify", "-quiet", utf8(dir)]).expect(10),
        false => snap(["verify", "-quiet", utf8(dir)]).expect(0),
    };
}

#[test]
fn a_copy_that_ends_at_any_step_leaves_whole_sets_and_the_next_brings_the_others() {
    for layout in [&[][..], &["-portable"]] {
        let fixture = Fixture::with_shards([1, 2]);
        for flags in [&[][..], &["-incremental"]] {
            let flags = [layout, flags].concat();
            fixture.backup(&flags).expect(0);
        }
        let from = fixture.dir();
        let all = records(&from);
        assert_eq!(all.len(), 2);
        let (log, whole) = (fixture.path("log"), fixture.path("whole"));
        let run = copy(&from, &whole).env("SNAP_FAILPOINT_LOG", &log).run();
        run.expect(0);
        let steps = fs::read_to_string(log).expect("a log").lines().count();
        assert!(steps > 20, "{steps} steps");
        let expected = tree::visible_files(&whole);
        let how = ["kill", "fail", "fail-from"];
        each(
            (1..=steps).flat_map(|step| how.map(|how| (how, step))),
            |(how, step)| {
                let to = fixture.path(&format!("{how}{step}"));
                let failpoint = format!("{how}:{step}");
                let run: Run = copy(&from, &to).env("SNAP_FAILPOINT", failpoint).run();
                assert_eq!(run.signal.is_some(), *how == "kill", "{run:?}");
                expect_whole(&to);
                let before = records(&to);
                assert!(before.is_subset(&all));
                copy(&from, &to).run().expect(0);
                expect_whole(&to);
                assert_eq!(records(&to), all);
                // Where a link could not be made, a set names the file of another.
                for (name, content) in tree::visible_files(&to) {
                    let is_same = expected.get(&name) == Some(&content);
                    assert!(is_same || name.ends_with(".manifest"), "{name}");
                }
                // Whoever writes next clears away the rest.
                snap(["keep", "-quiet", utf8(&to), "latest"]).expect(0);
                let hidden = tree::names(&to.join(".snap")).into_iter();
                let kinds = ["json", "keep", "lock"];
                let is_left = |name: &String| !kinds.iter().any(|kind| name.ends_with(kind));
                assert_eq!(hidden.filter(is_left).collect::<Vec<_>>(), [""; 0]);
            },
        );
    }
}
