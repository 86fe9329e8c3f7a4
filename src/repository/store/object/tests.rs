//! Tests of object storage: over objects in memory that fail when told to, and against a server
//! that answers each request with what a script says.

mod many_sets;
mod memory;
mod scripted;

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use memory::Objects;

use super::client::Client;
use super::notice::Notice;
use super::read::CHUNK;
use super::remote::Remote;
use super::settings::TransferSettings;
use super::store::ObjectStore;
use super::{ObjectUrl, WritableStore};
use crate::error::{ErrorKind, kind_of};
use crate::repository::set_id::SetId;
use crate::repository::store::{EntryKind, Folder, Store, read_bounded};

/// A repository in objects in memory, in which nothing is younger than the grace period.
pub(in crate::repository::store) fn in_memory() -> Arc<dyn WritableStore> {
    Arc::new(over(&Arc::default(), 0))
}

fn over(objects: &Arc<Objects>, retries: u32) -> ObjectStore {
    over_with(objects, retries, Duration::ZERO)
}

fn over_with(objects: &Arc<Objects>, retries: u32, grace: Duration) -> ObjectStore {
    let url: ObjectUrl = "s3://bucket/a/prefix".parse().unwrap();
    let client = Client {
        objects: objects.clone(),
        source: "a test".to_owned(),
        transport: None,
        s3: None,
    };
    let settings = TransferSettings {
        part_size: 5,
        uploads: 2,
        retries,
        grace,
    };
    let remote = Remote::new(url, client, retries, Notice::default());
    ObjectStore::new(remote, &settings)
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn set() -> SetId {
    SetId::from("20261120T080000Z")
}

/// Writes an object as a run does.
fn write(store: &ObjectStore, name: &str, content: &[u8]) -> anyhow::Result<String> {
    let mut object = store.create(&set(), name)?;
    for piece in content.chunks(1 << 20) {
        object.write_all(piece)?;
    }
    object.seal()
}

const SIZES: [usize; 6] = [
    0,
    1,
    CHUNK as usize,
    CHUNK as usize + 1,
    5 << 20,
    (11 << 20) + 3,
];

#[test]
fn what_is_written_is_read_back_whatever_its_size_and_is_not_there_before() {
    let objects = Arc::default();
    let store = over(&objects, 0);
    for (at, size) in SIZES.into_iter().enumerate() {
        let (name, content) = (format!("file.{at}"), noise(size));
        let mut object = store.create(&set(), &name).unwrap();
        object.write_all(&content).unwrap();
        assert!(store.entry(&name).unwrap().is_none());
        assert_eq!(object.seal().unwrap(), name);
        assert_eq!(store.entry(&name).unwrap().unwrap().size, size as u64);
        let mut read = Vec::new();
        store.open(&name).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == content, "{size}");
    }
    assert_eq!(objects.uploads(), 0);
    let listed = store.list(Folder::Top).unwrap();
    assert_eq!(listed.len(), SIZES.len());
    // What a listing says, the head of an object says too.
    for entry in listed {
        assert_eq!(store.entry(&entry.name).unwrap(), Some(entry));
    }
}

#[test]
fn a_small_object_is_one_request_and_a_large_one_is_read_ahead_and_anywhere() {
    let objects = Arc::default();
    let store = over(&objects, 0);
    let content = noise(SIZES[5]);
    write(&store, "large", &content).unwrap();
    write(&store, "small", b"x").unwrap();
    objects.calls();
    assert_eq!(read_bounded(&store, "small", 9).unwrap(), b"x");
    assert_eq!(objects.calls(), ["get small 0"]);
    let mut large = store.open("large").unwrap();
    for offset in [0, 7 << 20, CHUNK - 1, SIZES[5] as u64 - 2] {
        let mut two = [0; 2];
        large.seek(SeekFrom::Start(offset)).unwrap();
        large.read_exact(&mut two).unwrap();
        assert_eq!(two, content[offset as usize..][..2]);
    }
    let missing = store.open("missing").unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_call_that_fails_anywhere_leaves_no_object_and_no_upload_or_the_whole() {
    let content = noise(SIZES[5]);
    for failing in 1..20 {
        let objects: Arc<Objects> = Arc::default();
        let store = over(&objects, 0);
        objects.fail_at(failing, false);
        let written = write(&store, "file", &content);
        let was_reached = objects.has_failed();
        objects.fail_at(0, false);
        if !was_reached {
            written.unwrap();
            assert!(failing > 5, "{failing}");
            return;
        }
        let error = written.unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Unreachable, "{error:#}");
        // The object is whole if all but the last look at it was done.
        if let Some(entry) = store.entry("file").unwrap() {
            assert_eq!(entry.size, content.len() as u64);
        }
        assert_eq!(objects.uploads(), 0, "call {failing}");
    }
    panic!("it never ends");
}

#[test]
fn after_the_first_error_nothing_is_completed() {
    let objects: Arc<Objects> = Arc::default();
    let store = over(&objects, 0);
    let mut object = store.create(&set(), "file").unwrap();
    // The second call is the first part.
    objects.fail_at(2, false);
    let all = noise(5 << 20);
    let failed = (0..6).find_map(|_| object.write_all(&all).err());
    assert!(failed.is_some());
    assert!(object.write_all(b"more").is_err());
    assert!(object.seal().is_err());
    assert!(store.entry("file").unwrap().is_none());
    assert_eq!(objects.uploads(), 0);
}

#[test]
fn a_request_whose_answer_is_lost_is_repeated_and_what_it_did_counts() {
    for (size, calls) in [(3, 1), (SIZES[5], 5)] {
        for lost in 1..=calls {
            let objects: Arc<Objects> = Arc::default();
            let store = over(&objects, 1);
            objects.fail_at(lost, true);
            let content = noise(size);
            write(&store, "file", &content).unwrap();
            assert!(objects.has_failed());
            assert_eq!(read_bounded(&store, "file", 1 << 30).unwrap(), content);
        }
    }
}

#[test]
fn who_gives_credentials_is_asked_again_only_where_it_gave_some_before() {
    let metadata = "169.254.169.254";
    let objects = Arc::default();
    let store = over(&objects, 1);
    objects.fail_without(metadata, 1);
    let error = write(&store, "one", b"x").unwrap_err();
    assert!(error.to_string().contains("no credentials"), "{error:#}");
    assert_eq!(objects.calls().len(), 1);
    objects.fail_at(0, false);
    write(&store, "one", b"x").unwrap();
    objects.fail_without(metadata, 1);
    write(&store, "two", b"x").unwrap();
    assert_eq!(objects.calls().len(), 2);
}

#[test]
fn no_object_of_another_is_replaced_but_for_a_pin() {
    let objects = Arc::default();
    let (one, other) = (over(&objects, 0), over(&objects, 0));
    write(&one, "file", b"one").unwrap();
    let refused = write(&other, "file", b"other").unwrap_err();
    assert_eq!(kind_of(&refused), ErrorKind::Refused);
    write(&one, "file", b"again").unwrap();
    assert_eq!(read_bounded(&other, "file", 9).unwrap(), b"again");
    let pin = ".snap/20261120T080000Z.keep";
    for (store, note) in [(&one, "a"), (&other, "b")] {
        let mut write = |out: &mut dyn Write| out.write_all(note.as_bytes());
        store.write_whole(pin, &mut write).unwrap();
    }
    assert_eq!(read_bounded(&one, pin, 9).unwrap(), b"b");
}

#[test]
fn a_listing_goes_on_over_all_pages_and_knows_folders() {
    let objects = Arc::default();
    let store = over(&objects, 0);
    for number in 0..25 {
        write(&store, &format!("file.{number:02}"), b"x").unwrap();
        write(&store, &format!(".snap/{number:02}.json"), b"x").unwrap();
    }
    let top = store.list(Folder::Top).unwrap();
    assert_eq!(top.len(), 26, "{top:?}");
    assert_eq!(store.list(Folder::Hidden).unwrap().len(), 25);
    assert!(store.list(Folder::Staged(&set())).unwrap().is_empty());
    assert!(store.entry(".snap").unwrap().is_some());
    // A page that fails is no end.
    objects.calls();
    objects.fail_at(2, false);
    assert!(store.list(Folder::Top).is_err());
}

#[test]
fn what_is_appended_soon_after_is_written_with_what_follows_and_a_sign_of_life_at_once() {
    let objects = Arc::default();
    let store = over_with(&objects, 0, Duration::from_secs(64) / 5);
    let set = set();
    let notes = Folder::Staged(&set).name_of("finished");
    let pieces = || store.list(Folder::Notes(&set)).unwrap().len();
    let read = |store: &ObjectStore| {
        let mut text = String::new();
        let mut file = store.open_appended(&notes).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    };
    store.append(&notes, b"one\n").unwrap();
    store.append(&notes, b"two\n").unwrap();
    store.append(&notes, b"three\n").unwrap();
    assert_eq!(pieces(), 1);
    assert_eq!(read(&over(&objects, 0)), "one\n");
    // Whoever reads what he has added himself finds all of it.
    assert_eq!(read(&store), "one\ntwo\nthree\n");
    assert_eq!(pieces(), 2);
    store.append(&notes, b"four\n").unwrap();
    store.append(&notes, b"\n").unwrap();
    assert_eq!(pieces(), 3);
    // Without more to come, it is written after a moment.
    store.append(&notes, b"five\n").unwrap();
    let started = std::time::Instant::now();
    while pieces() < 4 {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(read(&over(&objects, 0)), "one\ntwo\nthree\nfour\n\nfive\n");
    // What is held back of a tree that goes is never written.
    store.append(&notes, b"six\n").unwrap();
    store.remove_tree(".snap/20261120T080000Z.files").unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(pieces(), 0);
}

#[test]
fn what_cannot_be_appended_a_moment_later_is_told_next_time_and_not_lost() {
    let objects: Arc<Objects> = Arc::default();
    let store = over_with(&objects, 0, Duration::from_secs(64) / 20);
    let notes = Folder::Staged(&set()).name_of("finished");
    store.append(&notes, b"one\n").unwrap();
    objects.fail_at(1, false);
    store.append(&notes, b"two\n").unwrap();
    let started = std::time::Instant::now();
    while !objects.has_failed() {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(50));
    let error = store.append(&notes, b"three\n").unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Unreachable, "{error:#}");
    store.append(&notes, b"\n").unwrap();
    let mut text = String::new();
    let mut file = over(&objects, 0).open_appended(&notes).unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\n\n");
}

#[test]
fn a_file_that_is_not_there_is_one_request_and_so_is_a_folder() {
    let objects = Arc::default();
    let store = over(&objects, 0);
    write(&store, ".snap/20261120T080000Z.files/x", b"x").unwrap();
    objects.calls();
    assert!(store.entry("meta.00").unwrap().is_none());
    assert_eq!(objects.calls(), ["head meta.00"]);
    for (name, is_there) in [
        (".snap", true),
        (".snap/20261120T080000Z.files", true),
        (".snap/20261120T080001Z.files", false),
    ] {
        let entry = store.entry(name).unwrap();
        assert_eq!(entry.is_some(), is_there, "{name}");
        assert!(entry.is_none_or(|entry| entry.kind == EntryKind::Folder));
        assert_eq!(objects.calls(), ["list"]);
    }
}

#[test]
fn what_is_appended_is_read_as_one_and_a_tree_is_removed() {
    let objects = Arc::default();
    let store = over(&objects, 0);
    let notes = Folder::Staged(&set()).name_of("finished");
    for line in ["one\n", "two\n", "three\n"] {
        store.append(&notes, line.as_bytes()).unwrap();
    }
    let mut text = String::new();
    let mut opened = over(&objects, 0).open_appended(&notes).unwrap();
    opened.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\n");
    let none = store.open_appended("nothing").unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::NotFound);
    write(&store, "file", b"x").unwrap();
    store.remove_tree(".snap/20261120T080000Z.files").unwrap();
    store.remove_tree(".snap/20261120T080000Z.files").unwrap();
    store.remove("nothing").unwrap();
    assert_eq!(store.list(Folder::Top).unwrap().len(), 1);
}
