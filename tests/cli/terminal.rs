//! What `snap` draws on a terminal: progress that fits, and nothing left of it.

use std::path::PathBuf;

use influx_snap::shard::ShardPath;

use crate::support::damage::damage;
use crate::support::fixture::Fixture;
use crate::support::peer::{Member, Model, Shard, Tar, Version, tar, tsm};
use crate::support::process::snap;
use crate::support::terminal::{Terminal, wait};
use crate::support::utf8;

const DATABASE: &str = "a_database_with_quite_a_long_name";

/// A server with three shards of 200 KiB, all of which were backed up once.
fn backed_up() -> (Fixture, PathBuf) {
    let shards = [11, 22, 12345].map(|id| {
        let path = ShardPath {
            database: DATABASE.into(),
            retention_policy: "autogen".into(),
            id,
        };
        let name = format!("{path}/000000001-000000001.tsm");
        let content = tar(&[Member::new(name, tsm(id, 200 << 10))]);
        Shard::with_tar(path, Tar::Bytes(content))
    });
    let model = Model {
        shards: shards.to_vec(),
        ..Model::new(Version::V1_6, &[])
    };
    let fixture = Fixture::new(model);
    fixture.backup(&[]).expect(0);
    let dir = fixture.dir();
    (fixture, dir)
}

/// The flags of a backup that takes some seconds: six at `100KiB`.
fn slow<'a>(host: &'a str, dir: &'a str, rate: &'a str) -> [&'a str; 8] {
    [
        "backup",
        "-host",
        host,
        "-jobs",
        "3",
        "-limit-rate",
        rate,
        dir,
    ]
}

/// Whether the total is drawn with all that is known after a while.
fn has_total(rows: &[String]) -> bool {
    let total = rows.last().map(String::as_str).unwrap_or_default();
    total.contains("/s  ") && total.ends_with(" left")
}

/// The rows of progress among those of the screen.
fn progress(rows: &[String]) -> Vec<&str> {
    let rows = rows.iter().map(String::as_str);
    rows.filter(|row| row.contains('%')).collect()
}

#[test]
fn progress_fits_40_80_and_200_columns_and_nothing_is_left_of_it() {
    let (fixture, dir) = backed_up();
    let host = fixture.peer.host();
    for columns in [40, 80, 200] {
        let terminal = Terminal::open(columns);
        let running = terminal.start(&slow(&host, utf8(&dir), "100KiB"), &[]);
        let rows = terminal.wait_for(|rows| has_total(rows) && progress(rows).len() == 4);
        println!("{columns} columns:\n{}\n", rows.join("\n"));
        let drawn = progress(&rows);
        for (row, id) in drawn.iter().zip(["/11 ", "/22 ", "/12345 "]) {
            let ids = ["/11 ", "/22 ", "/12345 "];
            assert!(ids.iter().any(|id| row.contains(id)), "{id}: {row}");
        }
        let names = drawn[..3].iter().filter(|row| row.contains(DATABASE));
        assert_eq!(
            names.count(),
            if columns == 40 { 0 } else { 3 },
            "{drawn:#?}"
        );
        assert!(
            drawn[3].contains("of 3 shards") || drawn[3].contains("/3"),
            "{drawn:#?}"
        );
        assert_eq!(wait(running).code(), Some(0));
        let rows = terminal.wait_for(|rows| rows.iter().any(|row| row.starts_with("set ")));
        assert_eq!(progress(&rows), [""; 0], "{rows:#?}");
        assert!(!terminal.has_wrapped(), "{columns} columns");
        assert!(terminal.has_its_cursor());
    }
}

#[test]
fn a_window_that_is_made_narrower_and_wider_again_keeps_whole_rows() {
    let (fixture, dir) = backed_up();
    let host = fixture.peer.host();
    let terminal = Terminal::open(120);
    let running = terminal.start(&slow(&host, utf8(&dir), "50KiB"), &[]);
    terminal.wait_for(has_total);
    for columns in [40, 90, 60] {
        terminal.resize(columns);
        let has_bars = |rows: &[String]| progress(rows).iter().all(|row| row.contains('['));
        // Until it is drawn anew, what was there before stands.
        let rows = terminal.wait_for(|rows| {
            has_total(rows) && progress(rows).len() == 4 && has_bars(rows) == (columns == 90)
        });
        let drawn = progress(&rows);
        let longest = drawn.iter().map(|row| row.chars().count()).max();
        assert!(longest < Some(usize::from(columns)), "{drawn:#?}");
    }
    assert_eq!(wait(running).code(), Some(0));
    let rows = terminal.wait_for(|rows| rows.iter().any(|row| row.starts_with("set ")));
    assert_eq!(progress(&rows), [""; 0], "{rows:#?}");
    assert!(!terminal.has_wrapped());
}

#[test]
fn ctrl_c_takes_the_progress_off_the_screen_and_leaves_the_cursor() {
    let (fixture, dir) = backed_up();
    let host = fixture.peer.host();
    for columns in [40, 80, 200] {
        let terminal = Terminal::open(columns);
        let running = terminal.start(&slow(&host, utf8(&dir), "100KiB"), &[]);
        terminal.wait_for(has_total);
        terminal.press(b"\x03");
        assert_eq!(wait(running).code(), Some(130));
        let rows =
            terminal.wait_for(|rows| rows.last().is_some_and(|row| row.starts_with("snap:")));
        assert_eq!(rows.last().map(String::as_str), Some("snap: interrupted"));
        let opening = rows[..rows.len() - 1].concat();
        assert!(opening.starts_with("backing up 127.0.0.1:"), "{rows:#?}");
        assert!(opening.ends_with("/backup"), "{rows:#?}");
        assert!(terminal.has_its_cursor());
        assert!(
            !terminal.written().contains("\x1b[?25"),
            "the cursor is never hidden"
        );
    }
}

#[test]
fn what_is_found_meanwhile_stands_above_the_progress_as_it_is() {
    let (_fixture, dir) = backed_up();
    damage(
        &dir.join(format!("{DATABASE}.autogen.00022.00")),
        "flipped in the middle",
    );
    let terminal = Terminal::open(200);
    let (ended, rows) = terminal.run(&["verify", "-jobs", "1", utf8(&dir)], &[]);
    assert_eq!(ended.code(), Some(4));
    assert!(rows[0].starts_with("verifying "), "{rows:#?}");
    let printed = snap(["verify", "-quiet", utf8(&dir)]).expect(4).stdout;
    for found in printed.lines() {
        // Broken where the terminal ends.
        assert!(rows.concat().contains(found), "{found}\n{rows:#?}");
    }
    assert_eq!(progress(&rows), [""; 0], "{rows:#?}");
}

#[test]
fn labels_have_a_colour_on_a_terminal_alone_and_not_where_that_is_refused() {
    let nowhere = ["list", "/nowhere/at/all"];
    let written = |variables: &[(&str, &str)]| {
        let terminal = Terminal::open(80);
        let (ended, rows) = terminal.run(&nowhere, variables);
        assert_eq!(ended.code(), Some(10));
        assert!(rows[0].starts_with("snap: "), "{rows:#?}");
        terminal.written()
    };
    let coloured = written(&[]);
    assert!(
        coloured.starts_with("\x1b[1m\x1b[31msnap:\x1b[0m "),
        "{coloured:?}"
    );
    for refused in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        let plain = written(&[refused]);
        assert!(!plain.contains('\x1b'), "{refused:?}: {plain:?}");
    }
    assert!(!snap(nowhere).expect(10).stderr.contains('\x1b'));
}
