//! What holds where there is no lock: files that are young stay, and so do those of runs at work.

use super::*;

#[test]
fn what_a_killed_run_has_stored_goes_when_it_is_older_than_the_grace_period() {
    let (objects, store) = with_grace();
    let first = write(&store, Layout::Legacy);
    let writer = begin_legacy(&store, false);
    write_shard(&writer).unwrap();
    writer.kill();
    assert_eq!(ids(&store), [first.id.as_str()]);
    let left = all_names(&store);
    drop(begin(&store));
    objects.pass(DAY - Duration::from_secs(60));
    drop(maintain(&store));
    assert_eq!(all_names(&store), left);
    // A shard that is stored now is young, and so is its run, whatever its claim is.
    let writer = begin_legacy(&store, false);
    write_shard(&writer).unwrap();
    for _ in 0..2 {
        objects.pass(DAY / 2 - Duration::from_secs(60));
        writer.stay_alive().unwrap();
    }
    let note = record(&writer, Layout::Legacy).shards.remove(0);
    let again = write_shard(&writer).unwrap();
    writer.note(&note, Some(&again)).unwrap();
    objects.pass(Duration::from_secs(120));
    drop(begin(&store));
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, again)],
    };
    let second = record(&writer, Layout::Legacy);
    let second = writer.commit(second, &files, &Cancel::default()).unwrap();
    objects.pass(DAY);
    drop(begin(&store));
    assert_eq!(all_names(&store), names_of(&[&first, &second]));
}

#[test]
fn a_removal_waits_until_no_backup_can_be_about_to_share_the_files() {
    let cancel = Cancel::default();
    let (objects, store) = with_grace();
    let first = write(&store, Layout::Portable);
    let file = shard_file(&first);
    let begin_sharing = || {
        let mut writer = try_begin(&store, false).unwrap();
        reserve_to_share(&mut writer, Layout::Portable, Some(file)).unwrap();
        writer
    };
    let share = |writer: &SetWriter| writer.share(&file.name, file, Comparison::Time, &cancel);
    let sharing = begin_sharing();
    let shared = share(&sharing).unwrap().unwrap();

    let removed = forget(&store, &[0]).unwrap();
    assert_eq!((removed.files, removed.bytes), (0, 0));
    assert_eq!(removed.later, 3);
    assert!(removed.later_bytes > 0 && removed.kept.is_empty());
    assert_eq!(ids(&store), [""; 0]);
    // It waits, and nobody has to end it.
    let abandoned = || catalog(&store).abandoned_removals(DAY).unwrap();
    assert!(abandoned().is_empty());
    drop(maintain(&store));
    assert_eq!(content(&store, &file.name), b"shard");
    // What a run at work has claimed stays however long that takes, and nothing else.
    for _ in 0..3 {
        objects.pass(DAY / 3);
        sharing.stay_alive().unwrap();
    }
    assert_eq!(abandoned(), std::slice::from_ref(&first.id));
    drop(maintain(&store));
    assert!(store.entry(&first.meta.name).unwrap().is_none());
    assert_eq!(content(&store, &file.name), b"shard");
    assert_eq!(abandoned(), std::slice::from_ref(&first.id));
    // By now nobody else shares it.
    let late = begin_sharing();
    assert!(!late.may_share(&file.name) && share(&late).unwrap().is_none());
    drop(late);
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, shared)],
    };
    let second = record(&sharing, Layout::Portable);
    let second = sharing.commit(second, &files, &cancel).unwrap();
    assert_eq!(shard_file(&second).name, file.name);
    // With that set, it can be shared again.
    assert!(share(&begin_sharing()).unwrap().is_some());
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&second]));
}

#[test]
fn what_the_storage_keeps_is_told_and_counts_for_nothing() {
    let (objects, store) = with_grace();
    objects.set_grace(Duration::ZERO);
    let (first, second) = (write(&store, Layout::Legacy), write(&store, Layout::Legacy));
    objects.forbid(Some("no right to delete"));
    let removed = forget(&store, &[0]).unwrap();
    assert_eq!(removed.refused, std::slice::from_ref(&first.id));
    let why = format!(
        "memory/.snap/{}.json is kept by the storage: no right to delete",
        first.id
    );
    assert_eq!(removed.kept, [why]);
    assert_eq!(ids(&store), [first.id.as_str(), second.id.as_str()]);
    // A backup needs no such right; what it leaves is no set.
    let third = write(&store, Layout::Legacy);
    assert_eq!(ids(&store).len(), 3);
    let failed = begin_legacy(&store, false);
    write_shard(&failed).unwrap();
    drop(failed);
    assert_eq!(ids(&store).len(), 3);

    objects.forbid(None);
    // By now no other run is about to remove the record beside its `.forget`.
    objects.pass(Duration::from_secs(2 * 60 * 60));
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&first, &second, &third]));
    // The record goes, and the files are locked for a while.
    store
        .retire(&name_of(&first.id, "json"), &name_of(&first.id, "forget"))
        .unwrap();
    objects.forbid(Some("locked"));
    let (_, ended) =
        Maintenance::begin_in(store.clone(), Duration::ZERO, &Cancel::default()).unwrap();
    assert_eq!((ended.files, ended.kept.len()), (0, 1));
    assert_eq!(ids(&store), [second.id.as_str(), third.id.as_str()]);
    objects.forbid(None);
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&second, &third]));
}

#[test]
fn what_a_run_took_over_is_taken_over_by_the_one_after() {
    let cancel = Cancel::default();
    let (objects, store) = with_grace();
    let run = |writer: &SetWriter| RunHeader {
        started: writer.started(),
        cluster_id: 1,
        layout: Layout::Legacy,
        selection: Selection::default(),
    };
    let first = begin_legacy(&store, true);
    first.take_over(&run(&first)).unwrap();
    let shard = record(&first, Layout::Legacy).shards.remove(0);
    let finished = write_shard(&first).unwrap();
    first.note(&shard, Some(&finished)).unwrap();
    first.kill();
    objects.pass(DAY / 2);
    let second = begin_legacy(&store, true);
    assert!(second.take_over(&run(&second)).unwrap().is_some());
    second.kill();
    objects.pass(DAY);
    let third = begin_legacy(&store, true);
    let left = third.take_over(&run(&third)).unwrap().unwrap();
    let left = left.shard(&shard.path()).unwrap();
    // Nobody else clears it away while this run goes on.
    drop(maintain(&store));
    let file = left.record.file.as_ref().unwrap();
    let taken = third.reuse(&left.name, file, &cancel).unwrap().unwrap();
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, taken)],
    };
    let record = record(&third, Layout::Legacy);
    let record = third.commit(record, &files, &cancel).unwrap();
    assert!(shard_file(&record).name.ends_with(".00") && record.number == 2);
    objects.pass(DAY);
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&record]));
    assert_eq!(content(&store, &shard_file(&record).name), b"shard");
}

#[test]
fn runs_that_begin_at_the_same_time_make_a_set_each() {
    let (objects, store) = with_grace();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| write(&store, Layout::Legacy));
        }
        // Whoever reads meanwhile sees whole sets alone.
        for _ in 0..50 {
            expect_whole_sets(&store);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let sets = expect_whole_sets(&store);
    let numbers: HashSet<u32> = sets.iter().map(|set| set.number).collect();
    assert_eq!((sets.len(), numbers.len()), (4, 4));
    objects.pass(DAY);
    drop(maintain(&store));
    assert_eq!(
        all_names(&store),
        names_of(&sets.iter().collect::<Vec<_>>())
    );
}

/// A run of one shard that is about to commit.
fn ready(store: &Arc<dyn WritableStore>) -> (SetWriter, SetRecord, SetFiles) {
    let writer = begin_legacy(store, false);
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, write_shard(&writer).unwrap())],
    };
    let record = record(&writer, Layout::Legacy);
    (writer, record, files)
}

#[test]
fn a_run_that_waits_longer_than_the_grace_period_for_one_file_is_not_taken_for_dead() {
    let (objects, store) = with_grace();
    objects.set_grace(Duration::from_secs(2));
    let writer = begin_legacy(&store, false);
    let shard = test_records::path("db", 7);
    let mut tar = writer.tar(&shard).unwrap();
    tar.write_all(b"sh").unwrap();
    std::thread::sleep(Duration::from_millis(3500));
    drop(maintain(&store));
    tar.write_all(b"ard").unwrap();
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, tar.finish().unwrap().0)],
    };
    let record = record(&writer, Layout::Legacy);
    let record = writer.commit(record, &files, &Cancel::default()).unwrap();
    assert_eq!(all_names(&store), names_of(&[&record]));
}

#[test]
fn a_run_that_was_suspended_for_long_makes_no_set_even_where_all_is_there() {
    let (objects, store) = with_grace();
    let (writer, record, files) = ready(&store);
    objects.pass(2 * DAY);
    // It goes on as if nothing had happened; who took it for dead may just be about to remove.
    writer.stay_alive().unwrap();
    let again = write_shard(&writer).unwrap();
    writer.note(&record.shards[0], Some(&again)).unwrap();
    let error = writer.commit(record, &files, &Cancel::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("not heard of"), "{error}");
    assert_eq!(ids(&store), [""; 0]);
}

#[test]
fn a_run_that_is_cleared_away_without_grace_fails_and_leaves_no_set() {
    let (objects, store) = with_grace();
    let (writer, record, files) = ready(&store);
    objects.set_grace(Duration::ZERO);
    drop(maintain(&store));
    objects.set_grace(DAY);
    // All is there again, as if the other had not come to the files yet.
    write_shard(&writer).unwrap();
    let error = writer.commit(record, &files, &Cancel::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cleared this one away"), "{error}");
    assert_eq!(ids(&store), [""; 0]);
}

#[test]
fn in_a_copied_directory_legacy_files_of_a_dead_run_stay_and_count_for_nothing() {
    for layout in LAYOUTS {
        let (_, objects) = with_grace();
        let mut writer = try_begin(&objects, false).unwrap();
        reserve(&mut writer, layout).unwrap();
        let file = write_shard(&writer).unwrap();
        writer.kill();
        let directory = tempfile::tempdir().unwrap();
        let local: Arc<dyn WritableStore> = Arc::new(LocalStore::new(directory.path()));
        drop(local.lock(Duration::ZERO, &Cancel::default()).unwrap());
        let is_note = |name: &String| name.ends_with(".files");
        for name in all_names(&objects).iter().filter(|name| !is_note(name)) {
            let bytes = content(&objects, name);
            let put = local.write_whole(name, &mut |out| out.write_all(&bytes));
            put.unwrap();
        }
        drop(maintain(&local));
        let stays = local.entry(&file.name).unwrap().is_some();
        assert_eq!(stays, layout == Layout::Legacy);
        assert_eq!(ids(&local), [""; 0]);
        let next = write(&local, layout);
        assert_eq!(ids(&local), [next.id.as_str()]);
    }
}

#[test]
fn a_measured_removal_says_what_waits_for_the_grace_period() {
    let (_, store) = with_grace();
    write(&store, Layout::Portable);
    let catalog = catalog(&store);
    let measured = Maintenance::measure(&catalog, &HashSet::from([0]))
        .unwrap()
        .put_off();
    assert_eq!(forget(&store, &[0]).unwrap(), measured);
    assert_eq!((measured.files, measured.later), (0, 3));
}
