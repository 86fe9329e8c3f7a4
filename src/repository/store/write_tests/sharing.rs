//! That files are shared between sets, and only those that are as they were recorded.

use super::*;

#[test]
fn a_shared_file_outlives_the_set_it_comes_from_and_a_damaged_one_is_not_shared() {
    on_each(|store| {
        let first = write(store, Layout::Legacy);
        let second = try_write(store, Layout::Legacy, Some(shard_file(&first))).unwrap();
        let entry = |record: &SetRecord| {
            let entry = store.entry(&shard_file(record).name).unwrap();
            entry.unwrap()
        };
        assert_eq!(entry(&first).content, entry(&second).content);
        let has_names = shard_file(&first).name != shard_file(&second).name;
        assert_eq!(has_names, store.has_lock());
        assert_eq!(entry(&first).names, if has_names { 2 } else { 1 });
        assert_eq!(second.format, if has_names { 2 } else { 3 });
        let added = catalog(store).sets()[1].added;
        assert_eq!(added, Some("meta".len() as u64));

        let cancel = Cancel::default();
        let mut writer = begin(store);
        reserve_to_share(&mut writer, Layout::Legacy, Some(shard_file(&first))).unwrap();
        let other = FileRecord {
            digest: FileDigest::Blake3([0; 32].into()),
            ..shard_file(&first).clone()
        };
        assert!(
            writer
                .share(&other.name, &other, Comparison::Digest, &cancel)
                .unwrap()
                .is_none()
        );
        let none = writer
            .share("nowhere", &other, Comparison::Time, &cancel)
            .unwrap();
        assert!(none.is_none());
        drop(writer);

        let catalog = catalog(store);
        let oldest = HashSet::from([0]);
        let measured = Maintenance::measure(&catalog, &oldest).unwrap();
        let removed = maintain(store).remove(&catalog, &oldest, &cancel).unwrap();
        assert_eq!(removed, measured);
        let files = if has_names { 2 } else { 1 };
        assert_eq!((removed.files, removed.bytes), (files, "meta".len() as u64));
        assert_eq!(removed.left, [""; 0]);
        assert_eq!(all_names(store), names_of(&[&second]));
        assert_eq!(content(store, &shard_file(&second).name), b"shard");
    });
}

#[test]
fn a_file_that_was_touched_is_read_before_it_is_shared_and_the_new_time_recorded() {
    on_each_with_lock(|store| {
        let first = write(store, Layout::Legacy);
        let recorded = shard_file(&first);
        assert!(recorded.modified.is_some());
        let writer = begin_legacy(store, false);
        let share = |recorded: &FileRecord, comparison| {
            let shared = writer.share(&recorded.name, recorded, comparison, &Cancel::default());
            shared.unwrap().map(|file| file.record("name".to_owned()))
        };
        // What nobody touched is not read: here the digest would tell.
        let other = FileRecord {
            digest: FileDigest::Blake3([0; 32].into()),
            ..recorded.clone()
        };
        assert!(share(&other, Comparison::Time).is_some());
        assert!(share(&other, Comparison::Digest).is_none());
        // Records of older versions have no time.
        let of_old = |recorded: &FileRecord| FileRecord {
            modified: None,
            ..recorded.clone()
        };
        assert!(share(&of_old(&other), Comparison::Time).is_none());
        let now_known = share(&of_old(recorded), Comparison::Time).unwrap();
        assert_eq!(now_known.modified, recorded.modified);

        rewrite(store, &recorded.name, b"shard");
        assert!(share(&other, Comparison::Time).is_none());
        let touched = share(recorded, Comparison::Time).unwrap();
        assert_ne!(touched.modified, recorded.modified);
        let there = store.entry(&recorded.name).unwrap().unwrap();
        assert_eq!(touched.modified, there.last_modified());
        rewrite(store, &recorded.name, b"damag");
        assert!(share(&touched, Comparison::Time).is_none());
    });
}
