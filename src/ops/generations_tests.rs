//! Tests of which files of older tars were gone.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// Files of tars, the newest first, as (name, time, content).
type Tars<'a> = &'a [&'a [(&'a str, u64, u32)]];

fn gone(tars: Tars<'_>) -> Vec<String> {
    let mut generations = Generations::default();
    for (place, tar) in tars.iter().enumerate() {
        if place > 0 {
            generations.next_tar();
        }
        for (name, modified, content) in *tar {
            generations.pass(&format!("{name}.tsm"), *modified, *content);
        }
    }
    let gone = generations
        .gone(|a, b| Ok::<_, Infallible>(a == b))
        .unwrap();
    gone.into_iter().map(str::to_owned).collect()
}

#[test]
fn files_that_a_server_flushed_anew_are_all_that_it_had() {
    let base: &[_] = &[("1-1", 10, 1), ("2-1", 20, 2), ("3-1", 30, 3)];
    assert_eq!(gone(&[&[("1-1", 99, 4)], base]), ["2-1.tsm", "3-1.tsm"]);
    // Of an older set the server may still have what lies below.
    assert_eq!(gone(&[&[("2-1", 99, 4)], base]), ["3-1.tsm"]);
    assert_eq!(gone(&[&[("1-1", 99, 4)], &[("7-4", 10, 1)]]), ["7-4.tsm"]);
    // A later increment goes on from there.
    let later: Tars<'_> = &[&[("2-1", 120, 5)], &[("1-1", 99, 4)], base];
    assert_eq!(gone(later), ["2-1.tsm", "3-1.tsm"][1..]);
}

#[test]
fn files_that_a_server_compacted_anew_are_all_that_it_had() {
    assert_eq!(gone(&[&[("4-2", 99, 4)], &[("64-5", 10, 1)]]), ["64-5.tsm"]);
    assert_eq!(
        gone(&[&[("4-2", 99, 4)], &[("4-3", 10, 1), ("5-1", 11, 2)]]),
        ["4-3.tsm", "5-1.tsm"]
    );
    assert_eq!(
        gone(&[&[("4-2", 99, 4)], &[("4-2", 10, 1), ("5-1", 11, 2)]]),
        ["5-1.tsm"]
    );
}

#[test]
fn what_a_server_writes_while_it_keeps_the_files_of_older_sets_hides_none() {
    let base: &[_] = &[
        ("1-1", 10, 1),
        ("2-1", 20, 2),
        ("4-2", 25, 3),
        ("5-1", 30, 4),
    ];
    let none: [&str; 0] = [];
    for increment in [
        // Flushed, and compacted with later files or among themselves.
        &[("6-1", 99, 9)][..],
        &[("6-2", 99, 9)],
        &[("4-3", 99, 9), ("6-1", 99, 9)],
        &[("2-2", 99, 9)],
        // 3 was empty, and left out of the older set.
        &[("3-2", 99, 9)],
        // The same file, with a time that was rounded, that somebody changed, or with deletes
        // carried out on it.
        &[("2-1", 21, 2), ("6-1", 99, 9)],
        &[("2-1", 99, 2)],
        &[("2-1", 20, 9)],
        // Merged points.
        &[("0-7", 99, 9)],
        &[],
    ] {
        assert_eq!(gone(&[increment, base]), none, "{increment:?}");
    }
}

#[test]
fn what_a_newer_tar_has_anew_stays() {
    let tars: Tars<'_> = &[
        &[("1-1", 99, 4), ("3-1", 101, 6)],
        &[("2-1", 50, 9)],
        &[
            ("1-1", 10, 1),
            ("2-1", 50, 9),
            ("3-1", 30, 3),
            ("4-1", 40, 3),
        ],
    ];
    assert_eq!(gone(tars), ["2-1.tsm", "4-1.tsm"]);
}

/// A file of a shard: when it was written, and what is in it.
#[derive(Debug, Clone, Copy)]
struct ModelFile {
    modified: u64,
    content: u32,
    /// Whether all of it is deleted, and nothing has removed it yet.
    is_empty: bool,
}

/// What a server does with the files of a shard.
#[derive(Debug, Clone, Copy)]
enum ServerStep {
    Flush,
    /// Puts so many generations together, from one on.
    Compact {
        from: usize,
        count: usize,
    },
    /// Deletes all that is in a file.
    Empty(usize),
    /// Removes files of which all is deleted.
    Sweep,
    Restart,
    /// Sends the files that are as new as the backup before, those with deletes carried out.
    Backup {
        applies_deletes: bool,
    },
}

#[derive(Debug, Default)]
struct ModelServer {
    files: BTreeMap<(u32, u32), ModelFile>,
    highest: u32,
    clock: u64,
    written: u32,
    since: u64,
    /// The newest last.
    tars: Vec<Vec<(String, u64, u32)>>,
}

impl ModelServer {
    fn put(&mut self, name: (u32, u32)) {
        self.written += 1;
        let file = ModelFile {
            modified: self.clock,
            content: self.written,
            is_empty: false,
        };
        self.files.insert(name, file);
    }

    fn step(&mut self, step: ServerStep) {
        self.clock += 1;
        match step {
            ServerStep::Flush => {
                self.highest += 1;
                self.put((self.highest, 1));
            }
            ServerStep::Compact { from, count } => {
                let generations: BTreeSet<u32> = self.files.keys().map(|name| name.0).collect();
                let chosen: Vec<u32> = generations.into_iter().skip(from).take(count).collect();
                let of_chosen = |name: &(u32, u32)| chosen.contains(&name.0);
                let has_points =
                    |(name, file): (&(u32, u32), &ModelFile)| of_chosen(name) && !file.is_empty;
                let Some(last) = self.files.keys().copied().rfind(of_chosen) else {
                    return;
                };
                let leaves_some = self.files.iter().any(has_points);
                self.files.retain(|name, _| !of_chosen(name));
                if leaves_some {
                    self.put((last.0, last.1 + 1));
                }
            }
            ServerStep::Empty(at) => {
                if let Some(file) = self.files.values_mut().nth(at) {
                    file.is_empty = true;
                }
            }
            ServerStep::Sweep => self.files.retain(|_, file| !file.is_empty),
            ServerStep::Restart => {
                self.highest = self.files.keys().last().map_or(0, |name| name.0);
            }
            ServerStep::Backup { applies_deletes } => {
                let files = self.files.iter();
                let files = files.filter(|(_, file)| file.modified >= self.since);
                let files = files.filter(|(_, file)| !(applies_deletes && file.is_empty));
                let rewritten = if applies_deletes { 1_000_000 } else { 0 };
                let tar = files.map(|(name, file)| {
                    let name = format!("{}-{}", name.0, name.1);
                    (name, file.modified, file.content + rewritten)
                });
                self.tars.push(tar.collect());
                self.since = self.clock;
            }
        }
    }
}

fn server_step() -> impl Strategy<Value = ServerStep> {
    prop_oneof![
        4 => Just(ServerStep::Flush),
        3 => (0..6_usize, 1..4_usize).prop_map(|(from, count)| ServerStep::Compact { from, count }),
        2 => (0..6_usize).prop_map(ServerStep::Empty),
        1 => Just(ServerStep::Sweep),
        1 => Just(ServerStep::Restart),
        2 => any::<bool>().prop_map(|applies_deletes| ServerStep::Backup { applies_deletes }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a server does, a file that it still has points in is not called gone.
    #[test]
    fn a_file_that_the_server_has_points_in_is_never_gone(steps in prop::collection::vec(server_step(), 0..60)) {
        let mut server = ModelServer::default();
        steps.into_iter().for_each(|step| server.step(step));
        server.step(ServerStep::Backup { applies_deletes: false });
        let tars: Vec<Vec<(&str, u64, u32)>> = server
            .tars
            .iter()
            .rev()
            .map(|tar| tar.iter().map(|(name, at, content)| (&**name, *at, *content)).collect())
            .collect();
        let tars: Vec<&[_]> = tars.iter().map(Vec::as_slice).collect();
        let with_points = server.files.iter().filter(|(_, file)| !file.is_empty);
        let there: Vec<String> = with_points
            .map(|(name, _)| format!("{}-{}.tsm", name.0, name.1))
            .collect();
        for name in gone(&tars) {
            prop_assert!(!there.contains(&name), "{name}: {tars:?}");
        }
    }
}
