//! Tests of writing a set: what is committed is there whole, and what is not leaves nothing.

use std::fs;

use super::commit::give_names;
use super::*;
use crate::error::ErrorKind;
use crate::io::durable;
use crate::repository::hidden::hidden;
use crate::repository::layout::Layout;
use crate::repository::manifest;
use crate::repository::record::FileRecord;
use crate::repository::store::LocalStore;
use crate::repository::{Catalog, Selection, test_records};
use crate::repository::{DigestAlgorithm, FileDigest};

fn finished(staging: &SetWriter, content: &[u8]) -> SealedFile {
    staging.write("", content).unwrap()
}

fn begin(directory: &Path) -> SetWriter {
    SetWriter::begin(directory, Duration::ZERO, false, &Cancel::default()).unwrap()
}

fn record(staging: &SetWriter, layout: Layout) -> SetRecord {
    let shard = test_records::shard(&test_records::path("db", 7));
    SetRecord {
        layout,
        ..test_records::set(staging.id(), staging.started(), vec![shard])
    }
}

fn commit(directory: &Path) -> SetRecord {
    commit_in(directory, Layout::Legacy)
}

fn commit_in(directory: &Path, layout: Layout) -> SetRecord {
    let staging = begin(directory);
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, finished(&staging, b"shard"))],
    };
    let record = record(&staging, layout);
    staging.commit(record, &files, &Cancel::default()).unwrap()
}

fn visible(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != ".snap").collect();
    names.sort();
    names
}

#[test]
fn a_committed_set_has_its_files_and_its_record_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let record = commit(directory.path());
    assert_eq!(
        visible(directory.path()),
        ["db.autogen.00007.00", "meta.00"]
    );
    assert_eq!(
        Catalog::read(directory.path())
            .unwrap()
            .records()
            .collect::<Vec<_>>(),
        [&record]
    );
    let hidden: Vec<String> = visible(&hidden(directory.path()));
    assert_eq!(hidden, [format!("{}.json", record.id), "lock".into()]);
}

#[test]
fn a_record_in_which_any_byte_was_changed_is_damaged_or_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let record = commit(directory.path());
    let path = hidden(directory.path()).join(format!("{}.json", record.id));
    let document = fs::read(&path).unwrap();
    assert!(SetRecord::is_as_written(&document[..]).unwrap() && document.ends_with(b"\"\n}"));
    for at in 0..document.len() {
        let mut changed = document.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        match Catalog::read(directory.path()) {
            Ok(catalog) => {
                assert_eq!(catalog.records().collect::<Vec<_>>(), [&record], "at {at}")
            }
            Err(error) => assert_eq!(
                crate::error::kind_of(&error),
                crate::error::ErrorKind::Damage,
                "at {at}: {error:#}"
            ),
        }
    }
}

#[test]
fn a_portable_set_has_influxds_names_and_a_manifest_of_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let first = commit_in(directory.path(), Layout::Portable);
    let second = commit_in(directory.path(), Layout::Portable);
    assert!(
        second.id > first.id && second.number > first.number,
        "{} {}",
        first.id,
        second.id
    );
    let names = |id: &str| ["manifest", "meta", "s7.tar.gz"].map(|end| format!("{id}.{end}"));
    assert_eq!(
        visible(directory.path()),
        [names(first.id.as_str()), names(second.id.as_str())].concat()
    );
    let text = fs::read_to_string(directory.path().join(&names(first.id.as_str())[0])).unwrap();
    let expected = r#"{
  "meta": {
    "fileName": "STAMP.meta",
    "size": 4
  },
  "limited": false,
  "files": [
    {
      "database": "db",
      "policy": "autogen",
      "shardID": 7,
      "fileName": "STAMP.s7.tar.gz",
      "size": 5,
      "lastModified": 0
    }
  ]
}"#;
    assert_eq!(text, expected.replace("STAMP", first.id.as_str()));
    assert_eq!(
        Catalog::read(directory.path())
            .unwrap()
            .records()
            .collect::<Vec<_>>(),
        [&first, &second]
    );
}

#[test]
fn a_portable_set_gives_way_to_a_run_of_influxd_in_the_same_second() {
    let directory = tempfile::tempdir().unwrap();
    let staging = begin(directory.path());
    let id = staging.id().clone();
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, finished(&staging, b"shard"))],
    };
    let record = record(&staging, Layout::Portable);
    let theirs = directory.path().join(manifest::shard_file(id.as_str(), 7));
    fs::write(&theirs, "THEIRS").unwrap();
    let record = staging.commit(record, &files, &Cancel::default()).unwrap();
    assert_ne!(record.id, id);
    assert_eq!(fs::read(&theirs).unwrap(), b"THEIRS");
    assert_eq!(visible(directory.path()).len(), 4);
}

#[test]
fn numbers_go_on_past_99_and_over_names_that_others_took() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("other.autogen.00001.99"), "").unwrap();
    assert_eq!(commit(directory.path()).number, 100);
    fs::write(directory.path().join("meta.101.pending"), "").unwrap();
    assert_eq!(commit(directory.path()).number, 102);
}

#[test]
fn a_set_that_is_dropped_leaves_nothing_visible() {
    let directory = tempfile::tempdir().unwrap();
    let staging = begin(directory.path());
    let file = finished(&staging, b"half");
    drop(staging);
    drop(file);
    assert_eq!(visible(directory.path()), [""; 0]);
    assert!(!hidden(directory.path()).exists());

    // What was there before stays.
    commit(directory.path());
    let before = visible(directory.path());
    drop(begin(directory.path()));
    assert_eq!(visible(directory.path()), before);
    assert!(hidden(directory.path()).join("lock").exists());
}

#[test]
fn a_damaged_commit_stops_no_backup_and_what_it_named_is_not_taken_for_a_set_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let record = commit(directory.path());
    let json = hidden(directory.path()).join(format!("{}.json", record.id));
    let document = fs::read(&json).unwrap();
    let intent = json.with_extension("commit");
    fs::write(&intent, &document[..document.len() / 2]).unwrap();
    fs::remove_file(&json).unwrap();

    let next = commit(directory.path());
    assert!(intent.exists());
    assert!(Catalog::read(directory.path()).is_err());
    let (catalog, _) = Catalog::read_past_damage(directory.path()).unwrap();
    assert!(catalog.records().any(|record| record.id == next.id));
    assert_eq!(catalog.damaged(), [format!(".snap/{}.commit", record.id)]);
}

#[test]
fn a_commit_that_was_killed_is_not_read_and_is_undone_by_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let done = commit(directory.path());
    // As if killed between the last rename and the record: the intent is there, the record is not.
    let hidden = hidden(directory.path());
    fs::rename(
        hidden.join(format!("{}.json", done.id)),
        hidden.join(format!("{}.commit", done.id)),
    )
    .unwrap();
    assert!(Catalog::read(directory.path()).unwrap().latest().is_err());
    // Another tool took one of the names meanwhile: its file has other content and stays.
    fs::write(directory.path().join("meta.00"), "MINE").unwrap();
    drop(begin(directory.path()));
    assert_eq!(visible(directory.path()), ["meta.00"]);
    assert_eq!(fs::read(directory.path().join("meta.00")).unwrap(), b"MINE");
}

#[test]
fn names_are_given_to_all_files_or_to_none() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("one"), "1").unwrap();
    fs::write(at("two"), "2").unwrap();
    fs::write(at("taken"), "3").unwrap();
    let store = LocalStore::new(directory.path());
    let taken = give_names(&store, &[("one", "final"), ("two", "taken")]).unwrap();
    assert_eq!(taken, Some("taken"));
    assert_eq!(visible(directory.path()), ["one", "taken", "two"]);
    assert_eq!(fs::read(at("taken")).unwrap(), b"3");
}

/// A run that finishes a shard and fails: what the next run, of that selection, can take over.
fn leftover_of(directory: &Path, next: impl FnOnce(&mut RunHeader)) -> Option<Vec<u8>> {
    let cancel = Cancel::default();
    let resume = || SetWriter::begin(directory, Duration::ZERO, true, &cancel).unwrap();
    let staging = resume();
    let mut run = RunHeader {
        started: staging.started(),
        cluster_id: 1,
        layout: Layout::Legacy,
        selection: Selection::default(),
    };
    assert!(staging.take_over(&run).unwrap().is_none());
    let shard = record(&staging, Layout::Legacy).shards.remove(0);
    staging
        .note(&shard, Some(&finished(&staging, b"shard")))
        .unwrap();
    // As of a run that was killed.
    fs::write(staging.scratch().join(".tmp"), "half of a shard").unwrap();
    drop(staging);
    assert_eq!(visible(directory), [""; 0]);
    // One that ends before it finishes anything changes nothing about it.
    drop(resume());

    let staging = resume();
    next(&mut run);
    let leftover = staging.take_over(&run).unwrap();
    assert!(!staging.scratch().join(".tmp").exists());
    let left = leftover?.shard(&shard.path())?;
    assert!(left.started <= run.started || run.started == Timestamp::UNIX_EPOCH);
    let recorded = left.record.file.as_ref()?;
    let taken = staging.reuse(&left.name, recorded, &cancel).unwrap();
    taken.map(|file| fs::read(directory.join(file.name)).unwrap())
}

#[test]
fn what_a_failed_run_had_finished_is_taken_over_by_one_of_the_same_kind_alone() {
    let directory = || tempfile::tempdir().unwrap();
    assert_eq!(
        leftover_of(directory().path(), |run| run.started =
            Timestamp::UNIX_EPOCH),
        Some(b"shard".to_vec())
    );
    assert_eq!(
        leftover_of(directory().path(), |run| run.cluster_id = 2),
        None
    );
    assert_eq!(
        leftover_of(directory().path(), |run| run.layout = Layout::Portable),
        None
    );
    assert_eq!(
        leftover_of(directory().path(), |run| run.selection.shard = Some(7)),
        None
    );
    let changed = directory();
    let change = |_: &mut RunHeader| {
        let folder = fs::read_dir(hidden(changed.path()))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let folder = folder.filter(|path| path.is_dir()).max().unwrap();
        for entry in fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if fs::read(&entry).unwrap() == b"shard" {
                fs::write(&entry, b"shArd").unwrap();
            }
        }
    };
    assert_eq!(leftover_of(changed.path(), change), None);
    // A run that does not ask for it clears it away.
    let cleared = directory();
    leftover_of(cleared.path(), |_| {});
    drop(begin(cleared.path()));
    assert_eq!(visible(&hidden(cleared.path())), ["lock"]);
}

#[test]
fn a_set_of_which_two_files_would_have_one_name_is_refused_before_any_has_it() {
    let directory = tempfile::tempdir().unwrap();
    for layout in [Layout::Legacy, Layout::Portable] {
        let staging = begin(directory.path());
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![
                (0, finished(&staging, b"one")),
                (1, finished(&staging, b"two")),
            ],
        };
        let mut record = record(&staging, layout);
        record.shards.push(record.shards[0].clone());
        let error = staging
            .commit(record, &files, &Cancel::default())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("two files of the set would be called"),
            "{error:#}"
        );
        assert_eq!(visible(directory.path()), [""; 0]);
        assert_eq!(visible(&hidden(directory.path())), ["lock"]);
    }
}

/// The set of a run that was killed.
const LEFT: &str = "20260101T000000Z";

/// A folder as a run left it that was killed, with this text in the place of its notes.
fn left_by_a_run(directory: &Path, notes: &str) -> PathBuf {
    let folder = hidden(directory).join(format!("{LEFT}.files"));
    durable::create_private_dir(&folder).unwrap();
    fs::write(folder.join("finished"), notes).unwrap();
    folder
}

#[test]
fn a_file_that_lies_outside_the_folder_of_a_run_is_not_taken_over_from_there() {
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("victim");
    fs::write(&victim, b"shard").unwrap();
    let store: Arc<dyn WritableStore> = Arc::new(LocalStore::new(directory.path()));
    let digest = FileDigest::of(DigestAlgorithm::Blake3, b"shard");
    let staging = begin(directory.path());
    let run = RunHeader {
        started: staging.started(),
        cluster_id: 1,
        layout: Layout::Legacy,
        selection: crate::repository::Selection::default(),
    };
    drop(staging);
    for name in [
        "../../victim",
        "/etc/passwd",
        "..",
        "",
        ".tmp/../x",
        ".tmpA/b",
        "finished",
    ] {
        let shard = ShardRecord {
            file: Some(FileRecord {
                name: name.to_owned(),
                size: 5,
                modified: None,
                digest: digest.clone(),
                blocks: None,
            }),
            ..test_records::shard(&test_records::path("db", 7))
        };
        let line = |line: String| format!("\n{line}\n");
        let notes = line(serde_json::to_string(&run).unwrap())
            + &line(serde_json::to_string(&shard).unwrap());
        let folder = left_by_a_run(directory.path(), &notes);
        assert!(ResumableRun::read(&store, &LEFT.into()).is_none(), "{name}");
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(victim.exists());
}

#[test]
fn special_files_in_the_hidden_folder_hold_up_no_run_and_lead_none_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let fifo = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    };
    fs::write(path("victim"), b"victim").unwrap();

    // Of the notes of an earlier run.
    let folder = left_by_a_run(directory.path(), "");
    fs::remove_file(folder.join("finished")).unwrap();
    fifo(&folder.join("finished"));
    // A record in that a run looks for the number of its set.
    fifo(&hidden(directory.path()).join("20260101T000001Z.json"));
    let cancel = Cancel::default();
    let staging = SetWriter::begin(directory.path(), Duration::ZERO, true, &cancel).unwrap();
    assert!(!folder.exists());
    // Its own, which somebody put a link in place of.
    std::os::unix::fs::symlink(path("victim"), staging.scratch().join("finished")).unwrap();
    let run = RunHeader {
        started: staging.started(),
        cluster_id: 1,
        layout: Layout::Legacy,
        selection: crate::repository::Selection::default(),
    };
    assert!(staging.take_over(&run).is_err());
    drop(staging);

    fs::remove_file(hidden(directory.path()).join("lock")).unwrap();
    std::os::unix::fs::symlink(path("victim"), hidden(directory.path()).join("lock")).unwrap();
    assert!(SetWriter::begin(directory.path(), Duration::ZERO, false, &cancel).is_err());
    fs::remove_file(hidden(directory.path()).join("lock")).unwrap();
    fifo(&hidden(directory.path()).join("lock"));
    assert!(SetWriter::begin(directory.path(), Duration::ZERO, false, &cancel).is_err());
    assert_eq!(fs::read(path("victim")).unwrap(), b"victim");

    // The folder itself: what is written and cleared away below would lie elsewhere.
    fs::remove_dir_all(hidden(directory.path())).unwrap();
    fs::create_dir(path("elsewhere")).unwrap();
    fs::write(path("elsewhere/20260101T000000Z.files"), b"").unwrap();
    std::os::unix::fs::symlink(path("elsewhere"), hidden(directory.path())).unwrap();
    let error = SetWriter::begin(directory.path(), Duration::ZERO, false, &cancel).unwrap_err();
    assert_eq!(
        crate::error::kind_of(&error),
        ErrorKind::Refused,
        "{error:#}"
    );
    assert_eq!(visible(&path("elsewhere")), ["20260101T000000Z.files"]);
}
