//! That what a run leaves that is stopped at any step is a backup or none, and the next run clears
//! away the rest.

use super::*;

#[test]
fn the_undoing_of_a_commit_spares_what_another_set_names_and_waits_where_none_can_tell() {
    for layout in LAYOUTS {
        on_each_with_lock(|store| {
            (0..2).for_each(|number| put_old(store, layout, number));
            let records: Vec<SetRecord> = catalog(store).records().cloned().collect();
            let [first, mut other] = records.try_into().unwrap();
            store.remove(&shard_file(&other).name).unwrap();
            other.shards[0].file.clone_from(&first.shards[0].file);
            let put = |name: &str, record: &SetRecord| {
                store.write_whole(name, &mut |out| record.write_to(out))
            };
            let other_record = name_of(&other.id, "json");
            put(&other_record, &other).unwrap();
            // As a copy leaves it that is killed where it gives files their names.
            store.remove(&name_of(&first.id, "json")).unwrap();
            put(&name_of(&first.id, COMMIT), &first).unwrap();

            let before = all_names(store);
            let damaged = store.write_whole(&other_record, &mut |out| out.write_all(b"{"));
            damaged.unwrap();
            drop(begin(store));
            assert_eq!(all_names(store), before);

            put(&other_record, &other).unwrap();
            drop(begin(store));
            assert_eq!(content(store, &shard_file(&other).name), b"shard");
            expect_nothing_else(store, &[other]);
        });
    }
}

#[test]
fn what_a_failed_run_had_finished_is_taken_over() {
    on_each(|store| {
        let cancel = Cancel::default();
        let writer = begin_legacy(store, true);
        let run = RunHeader {
            started: writer.started(),
            cluster_id: 1,
            layout: Layout::Legacy,
            selection: Selection::default(),
        };
        assert!(writer.take_over(&run).unwrap().is_none());
        let shard = record(&writer, Layout::Legacy).shards.remove(0);
        let finished = write_shard(&writer).unwrap();
        writer.note(&shard, Some(&finished)).unwrap();
        let not_noted = writer.names().unwrap().shard(&test_records::path("db", 8));
        if store.has_lock() {
            writer.write(&not_noted, b"not noted").unwrap();
        }
        drop(writer);
        assert!(ids(store).is_empty() && !all_names(store).is_empty());

        let writer = begin_legacy(store, true);
        let left = writer.take_over(&run).unwrap().unwrap();
        let left = left.shard(&shard.path()).unwrap();
        let file = left.record.file.as_ref().unwrap();
        let taken = writer.reuse(&left.name, file, &cancel).unwrap().unwrap();
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![(0, taken)],
        };
        let record = record(&writer, Layout::Legacy);
        let record = writer.commit(record, &files, &cancel).unwrap();
        // What an interrupted run leaves where there is no lock, the next one clears away.
        drop(begin(store));
        assert_eq!(all_names(store), names_of(&[&record]));
        assert_eq!(content(store, &shard_file(&record).name), b"shard");
    });
}

/// Does something in each kind of store, which stops before each of its steps in turn, and looks at
/// what is left. `act` gives whether it came to its end.
fn stopped_at_each_step(
    prepare: impl Fn(&Arc<dyn WritableStore>),
    act: impl Fn(&Arc<dyn WritableStore>) -> bool,
    look: impl Fn(&Arc<dyn WritableStore>),
) {
    // The steps that each kind of store has taken when it came to its end.
    let taken = [const { AtomicUsize::new(0) }; KINDS];
    for steps in 0..100 {
        let kind = AtomicUsize::new(0);
        on_each(|store| {
            prepare(store);
            let stopping: Arc<dyn WritableStore> = Arc::new(Stopping::after(steps, store));
            let taken = &taken[kind.fetch_add(1, Ordering::Relaxed)];
            if act(&stopping) && taken.load(Ordering::Relaxed) == 0 {
                taken.store(steps, Ordering::Relaxed);
            }
            look(store);
        });
        if taken.iter().all(|taken| taken.load(Ordering::Relaxed) > 0) {
            break;
        }
    }
    let [objects, memory, local, ..] = taken.map(AtomicUsize::into_inner);
    assert_eq!(memory, local, "both take as many steps");
    assert!(local > 8 && objects > 5, "{local}, {objects} steps");
}

/// Panics unless these sets are there still, and no file of any other.
fn expect_nothing_else(store: &Arc<dyn WritableStore>, sets: &[SetRecord]) {
    assert!(catalog(store).records().eq(sets));
    assert_eq!(all_names(store), names_of(&sets.iter().collect::<Vec<_>>()));
}

#[test]
fn a_commit_that_is_stopped_is_a_set_or_none_and_the_next_run_leaves_nothing_of_it() {
    for layout in LAYOUTS {
        stopped_at_each_step(
            |store| put_old(store, layout, 0),
            |store| try_write(store, layout, None).is_ok(),
            |store| {
                let sets = expect_whole_sets(store);
                assert!((1..=2).contains(&sets.len()));
                drop(begin(store));
                expect_nothing_else(store, &sets);
            },
        );
    }
}

#[test]
fn a_removal_that_is_stopped_leaves_whole_sets_and_the_next_run_ends_it() {
    for layout in LAYOUTS {
        stopped_at_each_step(
            |store| (0..2).for_each(|number| put_old(store, layout, number)),
            |store| {
                let cancel = Cancel::default();
                let begun = Maintenance::begin_in(store.clone(), Duration::ZERO, &cancel);
                let removed = begun.and_then(|(maintenance, _)| {
                    let catalog = catalog(store);
                    maintenance.remove(&catalog, &HashSet::from([0, 1]), &cancel)
                });
                removed.is_ok()
            },
            |store| {
                let sets = expect_whole_sets(store);
                drop(maintain(store));
                // Where there is no lock, another run may be about to take away what is announced.
                let is_announced = |name: &String| {
                    let mut announced = sets.iter().map(|set| name_of(&set.id, "forget"));
                    !store.has_lock() && announced.any(|announced| announced == *name)
                };
                let mut left = all_names(store);
                left.retain(|name| !is_announced(name));
                assert_eq!(left, names_of(&sets.iter().collect::<Vec<_>>()));
                let all: Vec<usize> = (0..sets.len()).collect();
                forget(store, &all).unwrap();
                expect_nothing_else(store, &[]);
            },
        );
    }
}

#[test]
fn a_name_that_somebody_took_is_spared_and_all_others_are_taken_back() {
    on_each_with_lock(|store| {
        let cancel = Cancel::default();
        let writer = begin_legacy(store, false);
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![(0, write_shard(&writer).unwrap())],
        };
        let record = record(&writer, Layout::Portable);
        let id = writer.id().clone();
        let theirs = format!("{id}.meta");
        let put = |out: &mut dyn Write| out.write_all(b"theirs");
        store.write_whole(&theirs, &mut { put }).unwrap();
        let record = writer.commit(record, &files, &cancel).unwrap();
        assert_ne!(record.id, id);
        assert_eq!(content(store, &theirs), b"theirs");
        let is_intent = |name: &String| {
            own_name(name.trim_start_matches(".snap/")).is_some_and(|(_, kind)| kind == COMMIT)
        };
        assert!(!all_names(store).iter().any(is_intent));
        let mut expected = names_of(&[&record]);
        expected.push(theirs);
        expected.sort();
        assert_eq!(all_names(store), expected);
    });
}
