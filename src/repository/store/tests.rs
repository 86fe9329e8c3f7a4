//! Tests of what each store promises its readers, on a disk and in memory.

use std::fs;

use super::*;
use crate::repository::record::{FileRecord, SetRecord, ShardRecord};
use crate::repository::{Catalog, ChainContext, Chains, names, test_records};
use jiff::Timestamp;

/// A repository, and how a test changes it.
struct Bench<'a> {
    store: Arc<dyn Store>,
    put: &'a dyn Fn(&str, &[u8]),
    remove: &'a dyn Fn(&str),
}

impl Bench<'_> {
    fn catalog(&self) -> Catalog {
        let (catalog, unreadable) = Catalog::of(self.store.clone()).unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        catalog
    }

    fn ids(&self) -> Vec<String> {
        let catalog = self.catalog();
        catalog
            .sets()
            .iter()
            .map(|set| set.id.to_string())
            .collect()
    }

    fn file(&self, name: &str, content: &[u8]) -> FileRecord {
        (self.put)(name, content);
        test_records::file(name, content)
    }

    /// Puts the files of a set there, and its record under a kind of name.
    fn set(&self, number: u32, kind: &str) -> SetRecord {
        let path = test_records::path("db", 7);
        let shard = ShardRecord {
            file: Some(self.file(&names::shard_file(&path, number), b"0123456789")),
            ..test_records::shard(&path)
        };
        let started = Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap();
        let id = crate::time::stamp(started);
        let record = SetRecord {
            number,
            meta: self.file(&names::meta_file(number), b"meta"),
            ..test_records::set(&id, started, vec![shard])
        };
        let document = serde_json::to_vec(&record).unwrap();
        (self.put)(&format!(".snap/{id}.{kind}"), &document);
        record
    }
}

fn on_each(test: impl Fn(Bench<'_>)) {
    let memory = Arc::new(MemoryStore::default());
    test(Bench {
        store: memory.clone(),
        put: &|name, content| memory.put(name, content),
        remove: &|name| memory.remove(name).unwrap(),
    });
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(".snap")).unwrap();
    test(Bench {
        store: Arc::new(LocalStore::new(directory.path())),
        put: &|name, content| fs::write(directory.path().join(name), content).unwrap(),
        remove: &|name| fs::remove_file(directory.path().join(name)).unwrap(),
    });
}

#[test]
fn a_set_is_listed_and_its_files_are_read_from_front_to_back_and_anywhere() {
    on_each(|bench| {
        let record = bench.set(0, "json");
        let catalog = bench.catalog();
        assert_eq!(bench.ids(), [record.id.as_str()]);
        let file = catalog.file_of(0, &record.shards[0].path()).unwrap();
        assert_eq!(file.size, 10);
        let mut opened = catalog.open_file(&file.name).unwrap();
        let mut text = String::new();
        opened.seek(SeekFrom::End(-4)).unwrap();
        opened.clone().read_to_string(&mut text).unwrap();
        assert_eq!(text, "6789");
        let mut two = [0; 2];
        opened.read_exact_at(&mut two, 3).unwrap();
        assert_eq!(&two, b"34");
        assert_eq!(ReadAt::size(&opened).unwrap(), 10);
        let past = opened.read_exact_at(&mut two, 9).unwrap_err();
        assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
        opened.seek(SeekFrom::Start(11)).unwrap();
        assert_eq!(opened.read(&mut two).unwrap(), 0);
        assert!(opened.seek(SeekFrom::Current(-12)).is_err());
        assert!(Chains::of(&catalog).is_whole(0, None));
        let other = bench.store.open("meta.01").unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound);
        let large = read_bounded(&*bench.store, &file.name, 9).unwrap_err();
        assert_eq!(large.to_string(), "it has more than 9 bytes");
    });
}

#[test]
fn a_commit_or_a_removal_that_was_cut_short_is_no_backup_and_hides_no_other() {
    on_each(|bench| {
        let whole = bench.set(0, "json");
        bench.set(1, "commit");
        let removed = bench.set(2, "forget");
        assert_eq!(bench.ids(), [whole.id.as_str()]);
        let catalog = bench.catalog();
        assert!(catalog.half_removed().iter().eq([&removed.id]));
        // Beside its record an intent means nothing.
        bench.set(1, "json");
        assert_eq!(bench.ids().len(), 2);
    });
}

#[test]
fn what_goes_while_it_is_read_is_noticed_and_what_is_open_or_held_can_be_read_on() {
    on_each(|bench| {
        let record = bench.set(0, "json");
        (bench.put)(
            &format!(".snap/{}.keep", record.id),
            br#"{"kept":"2026-11-20T08:00:00Z","later":1}"#,
        );
        let catalog = bench.catalog();
        let pin = catalog.sets()[0].pin.as_ref().unwrap();
        assert_eq!(pin.since, "2026-11-20T08:00:00Z".parse().unwrap());
        assert_eq!(pin.note, None);
        let _held = catalog.hold([0]).unwrap();
        let name = &record.shards[0].file.as_ref().unwrap().name;
        let mut open = catalog.open_file(name).unwrap();
        (bench.remove)(name);
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
        assert!(catalog.is_gone(name) && !catalog.has_vanished());
        assert!(catalog.open_file(name).is_err() && catalog.has_vanished());
        let later = bench.catalog();
        let missing = Chains::of(&later).missing(0, None);
        assert_eq!(
            missing[0].to_string(),
            format!(
                "shard db/autogen/7: the file {name} of set {} is gone",
                record.id
            )
        );
        (bench.remove)(&format!(".snap/{}.json", record.id));
        assert!(later.hold([0]).is_err(), "its record is gone");
        assert!(later.hold_one(0).unwrap().is_none());
    });
}

#[test]
fn an_increment_goes_on_from_a_set_in_any_store() {
    on_each(|bench| {
        let first = bench.set(0, "json");
        let second = bench.set(1, "json");
        let catalog = bench.catalog();
        let mut chains = Chains::of(&catalog);
        let shard = crate::metastore::Shard {
            path: test_records::path("db", 7),
            start: 0,
            end: 1,
            deleted_at: None,
        };
        let chain = chains.of_shard(ChainContext::alone(1), &shard);
        assert!(
            format!("{chain:?}").contains("db.autogen.00007.01"),
            "{chain:?}"
        );
        assert!(first.id < second.id && !chains.are_foreign(0, 1));
    });
}
