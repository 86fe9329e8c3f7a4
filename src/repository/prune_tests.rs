//! Tests of removing sets: stopped before each step, what is left is taken for a backup by nobody,
//! and the next run ends it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::*;
use crate::cancel::Cancel;
use crate::repository::hidden::hidden;
use crate::repository::store::LocalStore;
use crate::repository::{Catalog, Layout, SealedFile, SetFiles, SetWriter, test_records};
use crate::repository::{DigestAlgorithm, FileDigest};
use crate::repository::{manifest, names};
use crate::wire::MetaBlob;

/// Makes a set of two shards.
fn commit(directory: &Path, layout: Layout) -> SetRecord {
    let cancel = Cancel::default();
    let staging = SetWriter::begin(directory, Duration::ZERO, false, &cancel).unwrap();
    let finished = |content: &str| -> SealedFile { staging.write("", content.as_bytes()).unwrap() };
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, finished("first")), (1, finished("second"))],
    };
    let shards = [7, 8].map(|id| test_records::shard(&test_records::path("db", id)));
    let record = SetRecord {
        layout,
        ..test_records::set(staging.id(), staging.started(), shards.to_vec())
    };
    staging.commit(record, &files, &cancel).unwrap()
}

/// All files below the directory, hidden ones too, with their catalog.
fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for folder in [directory.to_owned(), hidden(directory)] {
        for entry in fs::read_dir(folder)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.path().is_file())
        {
            let name = entry
                .path()
                .strip_prefix(directory)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if name != ".snap/lock" {
                found.push((name, fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    fs::create_dir(hidden(to.path())).unwrap();
    for (name, content) in tree(from) {
        fs::write(to.path().join(name), content).unwrap();
    }
    to
}

/// What influxd takes for the sign of a set is there only with all files of the set.
fn assert_whole_for_influxd(directory: &Path, record: &SetRecord) {
    let signs: Vec<String> = match record.layout {
        Layout::Legacy => vec![names::meta_file(record.number)],
        Layout::Portable => vec![manifest::manifest_file(record.id.as_str())],
    };
    if signs.iter().any(|name| directory.join(name).exists()) {
        let shards = record.shards.iter().filter_map(|shard| shard.file.as_ref());
        assert!(
            shards
                .into_iter()
                .all(|file| directory.join(&file.name).exists()),
            "{:?}",
            tree(directory)
        );
    }
}

fn ids(catalog: &Catalog) -> Vec<&str> {
    catalog.sets().iter().map(|set| set.id.as_str()).collect()
}

#[test]
fn stopped_before_any_step_what_is_left_is_no_backup_and_the_next_run_ends_it() {
    for layout in [Layout::Legacy, Layout::Portable] {
        let model = tempfile::tempdir().unwrap();
        let records = [
            commit(model.path(), layout),
            commit(model.path(), layout),
            commit(model.path(), layout),
        ];
        fs::write(model.path().join("notes.txt"), "mine").unwrap();
        let unwanted: Vec<&SetRecord> = records[..2].iter().collect();
        let others = || {
            let mut others = Needs::default();
            others.add(&records[2]);
            others
        };
        let mut expected = tree(model.path());
        let gone = |name: &str| {
            unwanted.iter().any(|set| {
                name.contains(set.id.as_str()) || set.files().any(|file| file.name == name)
            })
        };
        expected.retain(|(name, _)| !gone(name));

        let mut stopped = 0;
        loop {
            let directory = copy(model.path());
            let directory = directory.path();
            let mut steps = 0;
            let ended = remove(
                &LocalStore::new(directory),
                &unwanted,
                others(),
                &mut || {
                    steps += 1;
                    if steps > stopped {
                        bail!("killed")
                    } else {
                        Ok(())
                    }
                },
            );
            // A set whose record is there is whole; any other does not count.
            let catalog = Catalog::read(directory).unwrap();
            for set in catalog.sets() {
                let record = set
                    .record()
                    .expect("nothing is taken for a set of influxd's");
                assert!(
                    record
                        .files()
                        .all(|file| catalog.file(&file.name) == Some(file.size)),
                    "step {stopped}"
                );
            }
            assert!(ids(&catalog).contains(&records[2].id.as_str()));
            assert!(
                stopped > 2 || catalog.sets().len() == 3 - stopped,
                "the newest goes first: {:?}",
                ids(&catalog)
            );
            if !catalog.sets().iter().any(|set| set.id == records[0].id) {
                assert!(!catalog.sets().iter().any(|set| set.id == records[1].id));
            }
            records
                .iter()
                .for_each(|record| assert_whole_for_influxd(directory, record));
            // Whatever writes next ends the removals that were begun, and no others.
            let begun: Vec<SetId> = catalog.half_removed().to_vec();
            let (upkeep, done) =
                Maintenance::begin(directory, Duration::ZERO, &Cancel::default()).unwrap();
            assert_eq!(done.sets.len(), begun.len());
            let after = Catalog::read(directory).unwrap();
            assert_eq!(
                (ids(&after), after.half_removed().len()),
                (ids(&catalog), 0)
            );
            let rest = (0..after.sets().len())
                .filter(|at| after.sets()[*at].id != records[2].id)
                .collect();
            upkeep.remove(&after, &rest, &Cancel::default()).unwrap();
            assert_eq!(
                tree(directory),
                expected,
                "{layout}, stopped before step {stopped}"
            );
            if let Ok(removed) = ended {
                assert_eq!(
                    (removed.files, removed.left),
                    (if layout == Layout::Legacy { 6 } else { 8 }, Vec::new())
                );
                break;
            }
            stopped += 1;
        }
        assert!(stopped > 10, "{stopped} steps");
    }
}

#[test]
fn a_backup_ends_a_removal_that_was_cut_short_before_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let record = commit(directory.path(), Layout::Legacy);
    let hidden = hidden(directory.path());
    fs::rename(
        hidden.join(format!("{}.json", record.id)),
        hidden.join(format!("{}.forget", record.id)),
    )
    .unwrap();
    fs::remove_file(directory.path().join("meta.00")).unwrap();
    let catalog = Catalog::read(directory.path()).unwrap();
    assert_eq!(
        (catalog.sets().len(), catalog.half_removed()),
        (0, &[record.id][..])
    );
    assert!(catalog.latest().is_err());
    assert_eq!(catalog.shard_files().count(), 0);
    drop(SetWriter::begin(directory.path(), Duration::ZERO, false, &Cancel::default()).unwrap());
    assert_eq!(tree(directory.path()), []);
}

#[test]
fn what_is_not_the_file_that_was_recorded_and_is_whole_is_left_alone_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let record = commit(directory.path(), Layout::Legacy);
    let mut another = Vec::new();
    let blob = MetaBlob {
        meta: b"another one".to_vec(),
        node: Vec::new(),
    };
    blob.write_to(&mut another).unwrap();
    fs::write(at("meta.00"), &another).unwrap();
    fs::remove_file(at("db.autogen.00007.00")).unwrap();
    std::os::unix::fs::symlink("meta.00", at("db.autogen.00007.00")).unwrap();
    let removed = remove(
        &LocalStore::new(directory.path()),
        &[&record],
        Needs::default(),
        &mut || Ok(()),
    )
    .unwrap();
    assert_eq!((removed.files, removed.bytes), (1, "second".len() as u64));
    assert_eq!(removed.left.len(), 2);
    assert!(
        removed.left[0].contains("meta.00 is left alone: it has 35 bytes, and 4"),
        "{:?}",
        removed.left
    );
    assert_eq!(fs::read(at("meta.00")).unwrap(), another);
    assert!(at("db.autogen.00007.00").is_symlink());

    // Nor is a file that a set which stays has recorded.
    let record = commit(directory.path(), Layout::Legacy);
    let other = FileDigest::of(DigestAlgorithm::Blake3, b"another");
    let mut staying = record.clone();
    staying.shards.remove(0);
    staying.shards[0].file.as_mut().unwrap().digest = other;
    staying.meta.name = "meta.77".to_owned();
    let mut others = Needs::default();
    others.add(&staying);
    let removed = remove(
        &LocalStore::new(directory.path()),
        &[&record],
        others,
        &mut || Ok(()),
    )
    .unwrap();
    assert_eq!((removed.files, removed.left.len()), (2, 1));
    assert!(at("db.autogen.00008.01").exists());
}

/// Left in its place without the record, it would count as a file of influxd's.
#[test]
fn what_damage_left_of_a_file_goes_with_its_set() {
    for layout in [Layout::Legacy, Layout::Portable] {
        let directory = tempfile::tempdir().unwrap();
        let record = commit(directory.path(), layout);
        let mut sizes = 0;
        for file in record.files() {
            let path = directory.path().join(&file.name);
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(3).unwrap();
            sizes += 3;
        }
        let remove = |check: Check<'_>| {
            let measured = measure(
                &LocalStore::new(directory.path()),
                &[&record],
                &Needs::default(),
            )
            .unwrap();
            let removed = remove(
                &LocalStore::new(directory.path()),
                &[&record],
                Needs::default(),
                check,
            )
            .unwrap();
            assert_eq!(measured, removed);
            removed
        };
        let removed = remove(&mut || Ok(()));
        assert_eq!((removed.bytes, removed.left), (sizes, Vec::new()));
        assert_eq!(tree(directory.path()), []);
    }
}

#[test]
fn bytes_are_free_only_when_the_last_of_a_files_names_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let records: Vec<SetRecord> = (0..3)
        .map(|_| commit(directory.path(), Layout::Legacy))
        .collect();
    for number in ["01", "02"] {
        fs::remove_file(at(&format!("db.autogen.00007.{number}"))).unwrap();
        fs::hard_link(
            at("db.autogen.00007.00"),
            at(&format!("db.autogen.00007.{number}")),
        )
        .unwrap();
    }
    let both: Vec<&SetRecord> = records[..2].iter().collect();
    let expected = measure(&LocalStore::new(directory.path()), &both, &Needs::default()).unwrap();
    assert_eq!(
        (expected.files, expected.bytes),
        (6, 2 * "metasecond".len() as u64)
    );
    assert_eq!(
        remove(
            &LocalStore::new(directory.path()),
            &both,
            Needs::default(),
            &mut || Ok(())
        )
        .unwrap(),
        expected
    );
    assert_eq!(fs::read(at("db.autogen.00007.02")).unwrap(), b"first");
    let last = measure(
        &LocalStore::new(directory.path()),
        &[&records[2]],
        &Needs::default(),
    )
    .unwrap();
    assert_eq!(last.bytes, "metafirstsecond".len() as u64);
    assert_eq!(
        remove(
            &LocalStore::new(directory.path()),
            &[&records[2]],
            Needs::default(),
            &mut || Ok(())
        )
        .unwrap(),
        last
    );
    assert_eq!(tree(directory.path()), []);
}

#[test]
fn a_damaged_intent_stops_no_backup_and_an_intent_beside_a_record_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let record = commit(directory.path(), Layout::Legacy);
    let hidden = hidden(directory.path());
    fs::write(hidden.join("20200101T000000Z.forget"), "{").unwrap();
    fs::copy(
        hidden.join(format!("{}.json", record.id)),
        hidden.join(format!("{}.forget", record.id)),
    )
    .unwrap();
    // The files it names may be there still, and would count as influxd's.
    let mut damaged: Vec<String> = Vec::new();
    let mut read = || {
        let (catalog, unreadable) = Catalog::read_past_damage(directory.path()).unwrap();
        damaged = unreadable.into_iter().map(|damaged| damaged.file).collect();
        catalog
    };
    assert_eq!(ids(&read()), [record.id.as_str()]);
    let other = commit(directory.path(), Layout::Legacy);
    assert_eq!(ids(&read()), [record.id.as_str(), other.id.as_str()]);
    assert_eq!(damaged, [".snap/20200101T000000Z.forget"]);
    assert!(!hidden.join(format!("{}.forget", record.id)).exists());
}
