//! `snap export`: where it writes, what it refuses, and what it says of damage.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::process::{Run, Snap, sample_backup, snap};
use crate::support::{tree, utf8};

fn export(dir: &Path, flags: &[&str]) -> Run {
    Snap::new(["export"]).args(flags).args([utf8(dir)]).run()
}

#[test]
fn both_layouts_are_exported_alike_and_files_are_what_standard_output_is() {
    let (place, dir) = sample_backup(&[]);
    let text = export(&dir, &[]).expect(0).stdout;
    assert!(text.starts_with("# DDL\nCREATE DATABASE ") && text.ends_with('\n'));
    let (_other, portable) = sample_backup(&["-portable"]);
    assert!(export(&portable, &[]).expect(0).stdout == text);

    let file = place.path().join("points.lp");
    let run = export(&dir, &["-json", "-o", utf8(&file)]).expect(0);
    assert!(fs::read_to_string(&file).expect("the export") == text);
    let summary = run.stdout.lines().last().expect("a line");
    let summary: Value = serde_json::from_str(summary).expect("JSON");
    assert_eq!(summary["message_type"], "summary");
    assert!(summary["points"].as_u64() > Some(1000), "{summary}");
    assert_eq!(tree::names(place.path()).len(), 3, "nothing else is left");

    let run = export(&dir, &["-o", utf8(&file)]).expect(6);
    assert!(run.stderr.contains("is there already"), "{}", run.stderr);
    let run = export(&dir, &["-json"]).expect(2);
    assert!(run.stdout.contains("-o FILE"), "{}", run.stdout);
    export(&dir, &["-database", "nowhere"]).expect(1);
    snap(["export", utf8(&place.path().join("nothing"))]).expect(10);
}

#[test]
fn points_alone_are_what_stands_between_the_comments() {
    let (_place, dir) = sample_backup(&[]);
    let text = export(&dir, &[]).expect(0).stdout;
    let points = text.split_once("# DML\n").expect("points").1;
    let points: Vec<&str> = points
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    let alone = export(&dir, &["-lponly"]).expect(0).stdout;
    assert!(alone.lines().eq(points));
}

#[test]
fn a_reader_that_goes_away_ends_it_without_a_word() {
    let (_place, dir) = sample_backup(&[]);
    let script = format!(
        "set -o pipefail; '{}' export -quiet '{}' | head -n 1",
        env!("CARGO_BIN_EXE_snap"),
        dir.display()
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "# DDL\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Flips a byte of the first block of the first TSM file in the largest tar.
fn damage(dir: &Path) -> String {
    let files = tree::visible_files(dir).into_iter();
    let tars = files.filter(|(name, _)| !name.starts_with("meta."));
    let (name, mut bytes) = tars.max_by_key(|(_, bytes)| bytes.len()).expect("a tar");
    let header = [0x16, 0xD1, 0x16, 0xD1, 1];
    let start = bytes
        .windows(5)
        .position(|window| window == header)
        .expect("a TSM file");
    bytes[start + 20] ^= 0x10;
    fs::write(dir.join(&name), bytes).expect("the tar");
    name
}

#[test]
fn a_damaged_block_is_named_and_everything_else_is_exported() {
    let (_place, dir) = sample_backup(&[]);
    let whole = export(&dir, &[]).expect(0).stdout;
    let tar = damage(&dir);
    let run = export(&dir, &[]).expect(3);
    let named = run
        .stderr
        .lines()
        .find(|line| line.contains(".tsm, series "));
    let named = named.unwrap_or_else(|| panic!("{}", run.stderr));
    assert!(
        named.contains("at offset 5, the bytes of a block changed"),
        "{named}"
    );
    assert!(
        run.stderr.contains(&format!("{tar} is damaged: ")),
        "{}",
        run.stderr
    );
    let errors: Vec<&str> =
        (run.stderr.lines().filter(|line| line.starts_with("snap: "))).collect();
    assert_eq!(
        errors,
        run.stderr.lines().last().as_slice(),
        "{}",
        run.stderr
    );
    let beside = |one: &str, other: &str| -> Vec<String> {
        let other: BTreeSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(str::to_owned).collect()
    };
    // The block has one value: of a point that has another field too.
    let (lost, gained) = (beside(&whole, &run.stdout), beside(&run.stdout, &whole));
    assert_eq!((lost.len(), gained.len()), (1, 1), "{lost:?} {gained:?}");
    assert_eq!(lost[0].replace(r"an\,other=2.5,", ""), gained[0]);
}

#[test]
fn parts_hold_no_more_than_they_may_are_complete_and_together_what_one_file_is() {
    let (place, dir) = sample_backup(&[]);
    let alone = export(&dir, &["-lponly"]).expect(0).stdout;
    let parts = |name: &str, flags: &[&str]| -> Vec<String> {
        let file = place.path().join(name);
        let flags = [flags, &["-json", "-o", utf8(&file)]].concat();
        let summary = export(&dir, &flags).expect(0).last_message();
        let files = summary["output_files"].as_array().expect("files").iter();
        let paths: Vec<&str> = files.map(|file| file.as_str().expect("a path")).collect();
        let first = place.path().join(name.replace(".lp", "-0001.lp"));
        assert_eq!(paths[0], utf8(&first));
        let texts = paths
            .iter()
            .map(|path| fs::read_to_string(path).expect("a file"));
        texts.collect()
    };
    let is_point = |line: &&str| !line.starts_with(['#', 'C']) || line.starts_with("C,");
    let found = parts("lines.lp", &["-lponly", "-max-lines", "100"]);
    assert!(found.len() >= alone.lines().count() / 100);
    assert!(
        found
            .iter()
            .all(|text| text.lines().count() <= 100 && !text.is_empty())
    );
    assert!(found.concat() == alone);
    let found = parts("bytes.lp", &["-max-bytes", "20KiB"]);
    // One point alone is larger.
    let is_small =
        |text: &String| text.len() <= 20 << 10 || text.lines().filter(is_point).count() == 1;
    assert!(found.len() > 2 && found.iter().all(is_small));
    assert!(
        found
            .iter()
            .all(|text| text.starts_with("# DDL\nCREATE DATABASE "))
    );
    let points = found.iter().flat_map(|text| text.lines()).filter(is_point);
    assert!(points.eq(alone.lines()));

    // One part of an earlier export would be taken for one of this.
    fs::remove_file(place.path().join("lines-0001.lp")).expect("the first");
    let file = place.path().join("lines.lp");
    let flags = ["-max-lines", "100000", "-o", utf8(&file)];
    let run = export(&dir, &flags).expect(6);
    assert!(run.stderr.contains("lines-0"), "{}", run.stderr);
    for flags in [&["-max-lines", "5"][..], &["-max-lines", "5", "-o", "-"]] {
        export(&dir, flags).expect(2);
    }
}

#[test]
fn a_dash_is_standard_output_and_a_directory_is_no_file() {
    let (place, dir) = sample_backup(&[]);
    let alone = export(&dir, &[]).expect(0).stdout;
    let run = Snap::new(["export", "-o", "-", utf8(&dir)])
        .dir(place.path())
        .run();
    assert!(run.expect(0).stdout == alone);
    assert!(!place.path().join("-").exists());
    let new = format!("{}/", place.path().join("new").display());
    for path in [&new, utf8(place.path())] {
        let run = export(&dir, &["-o", path]).expect(2);
        assert!(run.stderr.contains("is a directory"), "{}", run.stderr);
    }
}

#[test]
fn what_a_database_cannot_take_is_told_and_written_all_the_same() {
    let (_place, dir) = sample_backup(&[]);
    let text = export(&dir, &[]).expect(0).stdout;
    let run = export(&dir, &["-target", "influxdb2"]).expect(0);
    assert!(run.stdout == text);
    let run = export(&dir, &["-target", "victoriametrics"]).expect(3);
    assert!(run.stdout == text);
    let told = "of type string, which VictoriaMetrics does not take (";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    export(&dir, &["-target", "postgres"]).expect(2);
}

#[test]
fn a_stop_is_obeyed_while_nobody_reads_the_points() {
    let (_place, dir) = sample_backup(&[]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut run = Command::new(env!("CARGO_BIN_EXE_snap"))
        .args(["export", "-quiet", utf8(&dir)])
        .stdout(writer)
        .spawn()
        .expect("snap starts");
    // The pipe is full long before the export has ended.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let pid = rustix::process::Pid::from_child(&run);
    assert!(run.try_wait().expect("a state").is_none());
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let status = run.wait().expect("an end");
    assert_eq!(status.code(), Some(130));
    drop(reader);
}
