//! What `snap stats` shows of sets, whole and damaged.

use std::fs;
use std::path::Path;

use influx_snap::tsm::values::ValueType;
use serde_json::Value;

use crate::support::damage::damage;
use crate::support::process::snap;
use crate::support::sets::{LAYOUTS, LAYOUTS_WITH_AND_WITHOUT_RECORD, SetInEachLayout, VALUES};
use crate::support::tsm::{file, key};
use crate::support::utf8;

const FILE: &str = "000000001-000000001.tsm";

/// A run with `-json`: its lines of a kind, and the last one.
fn told(dir: &Path, flags: &[&str], code: i32, kind: &str) -> (Vec<Value>, Value) {
    let run = snap([&["stats", "-json"], flags, &[utf8(dir)]].concat()).expect(code);
    let messages = run.messages();
    let last = run.last_message();
    let of_kind = messages
        .into_iter()
        .filter(|message| message["message_type"] == kind);
    (of_kind.collect(), last)
}

fn values(measurements: &[Value]) -> u64 {
    let values = measurements.iter().map(|line| line["values"].as_u64());
    values.map(|values| values.expect("a number")).sum()
}

#[test]
fn every_damage_is_named_and_the_rest_is_counted() {
    let made = SetInEachLayout::sound(2);
    for (layout, recorded) in LAYOUTS_WITH_AND_WITHOUT_RECORD {
        let damaged = |how: &str| {
            let dir = made.copy(layout, recorded);
            let names = fs::read_dir(&dir).expect("a directory");
            let names = names.map(|entry| entry.expect("an entry").file_name());
            let mut names: Vec<String> = names
                .map(|name| name.into_string().expect("a name in UTF-8"))
                .filter(|name| name.starts_with("db.") || name.ends_with(".tar.gz"))
                .collect();
            names.sort();
            damage(&dir.join(&names[0]), how);
            (dir, names.remove(0))
        };
        for how in [
            "cut to half",
            "cut by a byte",
            "emptied",
            "flipped",
            "made longer",
            "deleted",
        ] {
            let what = format!("{layout}, recorded: {recorded}, {how}");
            let (dir, name) = damaged(how);
            let is_missing = how == "deleted";
            let code = if is_missing { 3 } else { 4 };
            let (damage, summary) = told(&dir, &["-exact"], code, "damage");
            let (measurements, _) = told(&dir, &["-exact"], code, "measurement");
            assert_eq!(summary["message_type"], "summary", "{what}: {summary}");
            let missing = summary["missing"].as_array().expect("a list");
            let of_first = |text: &str| text.contains("db/autogen/1") || text.contains(&name);
            if is_missing {
                assert_eq!((damage.len(), missing.len()), (0, 1), "{what}: {summary}");
                let text = missing[0].as_str().expect("a text");
                assert!(of_first(text), "{what}: {text}");
                assert_eq!(values(&measurements), VALUES, "{what}");
            } else {
                // What cannot be decompressed right has damaged blocks too.
                assert!(!damage.is_empty(), "{what}: {summary}");
                assert_eq!(summary["damage_count"], damage.len());
                for damage in &damage {
                    assert_eq!(damage["shard"], 1, "{what}: {damage}");
                    assert_eq!(damage["file"], name[..], "{what}: {damage}");
                }
                // The size tells too, where it was recorded.
                assert!(
                    missing
                        .iter()
                        .all(|text| recorded && of_first(&text.to_string()))
                );
                // All of the other shard, and at most all of this one.
                let found = values(&measurements);
                assert!((VALUES..=2 * VALUES).contains(&found), "{what}: {found}");
            }
        }
    }
}

#[test]
fn a_damaged_index_is_named_with_its_file_and_a_damaged_block_is_seen_with_exact_alone() {
    let keys = |name: &str| file(&[key(name, ValueType::Float, &[&[1, 2], &[5]])]);
    let mut damaged = keys("m,h=b#!~#v");
    let at = damaged.len() - 8 - 56 - 3;
    damaged[at] = 9;
    let mut flipped = keys("m,h=c#!~#v");
    flipped[12] ^= 1;
    let second = "000000002-000000001.tsm".to_owned();
    let third = "000000003-000000001.tsm".to_owned();
    let made = SetInEachLayout::new(vec![vec![
        (FILE.to_owned(), keys("m,h=a#!~#v")),
        (second.clone(), keys("m,h=b#!~#v")),
        (third.clone(), flipped),
    ]]);
    for layout in LAYOUTS {
        let dir = made.copy(layout, true);
        let (damage, _) = told(&dir, &[], 0, "damage");
        assert!(damage.is_empty());
        let (damage, _) = told(&dir, &["-exact"], 4, "damage");
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert_eq!(damage[0]["member"], third[..]);
        let message = damage[0]["message"].as_str().expect("a text");
        assert!(message.starts_with("at offset 5: "), "{message}");
        let (measurements, _) = told(&dir, &["-exact"], 4, "measurement");
        assert_eq!(values(&measurements), 3 + 3 + 1);
    }
    let dir = made.copy("legacy", false);
    let tar = dir.join("db.autogen.00001.00");
    let content = fs::read(&tar).expect("a tar");
    let sound = keys("m,h=b#!~#v");
    let begin = content
        .windows(sound.len())
        .position(|window| window == sound)
        .expect("the file in the tar");
    let mut changed = content.clone();
    changed[begin..begin + sound.len()].copy_from_slice(&damaged);
    fs::write(&tar, changed).expect("writing the tar");
    let (damage, summary) = told(&dir, &[], 4, "damage");
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0]["member"], second[..]);
    assert_eq!(damage[0]["file"], "db.autogen.00001.00");
    assert_eq!(summary["shard_count"], 1);
    let (measurements, _) = told(&dir, &[], 4, "measurement");
    assert_eq!(measurements[0]["series"], 2);
}

#[test]
fn what_is_shown_is_sorted_and_chosen() {
    let times: Vec<i64> = (0..900).collect();
    let many = |name: &str| key(name, ValueType::Float, &[&times]);
    let one = |name: &str| key(name, ValueType::Integer, &[&[1]]);
    let made = SetInEachLayout::new(vec![vec![(
        FILE.to_owned(),
        file(&[
            one("a,h=1#!~#v"),
            many("b,h=1#!~#v"),
            one("c,h=1#!~#v"),
            one("c,h=2,k=x#!~#v"),
            one("c,h=3,k=x#!~#v"),
        ]),
    )]]);
    let dir = made.copy("portable", true);
    let shown = |flags: &[&str]| {
        let (lines, _) = told(&dir, flags, 0, "measurement");
        let names = lines.iter().map(|line| line["measurement"].as_str());
        names.map(|name| name.expect("a name").to_owned()).collect()
    };
    let shown = |flags: &[&str]| -> Vec<String> { shown(flags) };
    assert_eq!(shown(&[]), ["b", "c", "a"]);
    assert_eq!(shown(&["-sort", "series"]), ["c", "a", "b"]);
    assert_eq!(shown(&["-sort", "points", "-top", "2"]), ["b", "c"]);
    assert_eq!(shown(&["-sort", "name"]), ["a", "b", "c"]);
    assert_eq!(shown(&["-measurement", "a"]), ["a"]);
    assert_eq!(shown(&["-measurement", "/^[ab]/", "-top", "1"]), ["b"]);
    assert_eq!(shown(&["-database", "db", "-shard", "1"]), ["b", "c", "a"]);
    let (lines, _) = told(&dir, &["-measurement", "c"], 0, "measurement");
    let tags = lines[0]["tags"].to_string();
    assert_eq!(
        tags,
        r#"[{"tag":"h","values":3,"values_is_estimate":false},{"tag":"k","values":1,"values_is_estimate":false}]"#
    );
    let text = snap(["stats", "-top", "1", utf8(&dir)]).expect(0).stdout;
    assert!(text.contains("\nand 2 measurements more\n"), "{text}");
    snap(["stats", "-database", "nosuch", utf8(&dir)]).expect(1);
    let run = snap(["stats", "-measurement", "nosuch", utf8(&dir)]).expect(1);
    assert!(
        run.stderr.contains("there are: 'a', 'b', 'c'"),
        "{}",
        run.stderr
    );
    snap(["stats", "-host", "127.0.0.1:1", utf8(&dir)]).expect(2);
    snap(["stats", utf8(&dir.join("nothing"))]).expect(10);
}
