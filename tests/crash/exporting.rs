//! An export that is killed, or to which the disk says no, at any of its steps: no file has its name
//! that is not whole.

use std::fs;

use crate::support::fixture::Fixture;
use crate::support::process::{Run, Snap};
use crate::support::{each, utf8};

#[test]
fn an_export_that_ends_at_any_step_leaves_no_file_that_is_not_whole() {
    let fixture = Fixture::with_shards([1, 2]);
    fixture.backup(&[]).expect(0);
    let dir = fixture.dir();
    let export = |name: &str| {
        let file = fixture.path(name);
        Snap::new(["export", "-o", utf8(&file), utf8(&dir)])
    };
    for suffix in ["lp", "lp.gz"] {
        let log = fixture.path(&format!("log.{suffix}"));
        let whole = format!("whole.{suffix}");
        export(&whole)
            .env("SNAP_FAILPOINT_LOG", &log)
            .run()
            .expect(0);
        let expected = fs::read(fixture.path(&whole)).expect("the export");
        assert!(expected.len() > 50);
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
                if let Ok(found) = fs::read(fixture.path(&name)) {
                    assert!(found == expected, "{name}");
                }
            },
        );
    }
}
