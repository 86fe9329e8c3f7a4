//! `-incremental` with nothing changed, beside a full backup.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::clients::snap;
use super::comparison::Comparison;
use super::data::{self, Database};
use super::measure::{self, DIR};
use super::results::Line;
use super::rows;

/// Compares the two on a server with this database, started below `root`, which is fresh.
pub fn compare(root: &Path, database: &Database, rounds: usize) -> Vec<Line> {
    fs::create_dir(root).expect("a fresh directory");
    let server = data::serve(&root.join("server"), std::slice::from_ref(database));
    let shards = database.shards.len();
    let host = server.host();
    let backup = |flags: &[&str]| {
        let common = ["backup", "-database", &database.name, "-host", &host];
        snap(&[&common, flags].concat())
    };
    let (first, full) = (root.join("first"), format!("{DIR}/full"));
    measure::run(&backup(&[DIR]), &first);
    let mut comparison = Comparison::new(
        backup(&["-incremental", DIR]),
        vec![(&rows::INCREMENTAL, backup(&[&full]))],
        |directory| {
            let full = directory.join("full");
            if full.exists() {
                assert_eq!(links_of_set(&full, "00"), vec![1; shards], "a full backup");
            } else {
                let links = links_of_set(directory, "01");
                // In the set before, in the copy of that set, and in the new set.
                assert_eq!(links, vec![3; shards], "shards shared with the set before");
            }
        },
    );
    // Each run finds the same sets there. No run writes to a file of a set, so hard links will do.
    comparison.prepare = Box::new(|directory| {
        let mut copy = Command::new("cp");
        let status = copy.arg("-al").args([&first, directory]).status();
        assert!(status.is_ok_and(|status| status.success()), "copying a set");
    });
    let (_, bytes) = data::tsm_count_and_bytes(&server.data_dir().join(&database.name));
    let each = bytes as f64 / shards as f64 / 1e6;
    let data = format!("{shards} shards of {each:.1} MB");
    comparison.run(&data, &root.join("run"), rounds)
}

/// How many names each shard file of the legacy set with this number has.
fn links_of_set(directory: &Path, number: &str) -> Vec<u64> {
    let entries = fs::read_dir(directory).expect("a backup directory");
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("bench.") && name.ends_with(&format!(".{number}"))
        })
        .map(|entry| entry.metadata().expect("a shard file").nlink())
        .collect()
}
