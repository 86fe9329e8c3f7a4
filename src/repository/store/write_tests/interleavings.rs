//! That two runs at once in object storage never damage a set: each order of their steps is tried in
//! which each run is interrupted once at most, and one of them killed at each of its steps.

use std::thread;

use super::*;
use crate::repository::hidden::REMOVAL;
use crate::repository::record::Content;
use crate::repository::store::Turns;

/// What a run came to: the set that it made, if it was to make one.
type Outcome = Result<Option<SetRecord>>;

/// A run in a store.
type Run = Box<dyn FnOnce(Arc<dyn WritableStore>) -> Outcome + Send>;

/// What is there before, and two runs.
struct Scene {
    objects: Arc<MemoryStore>,
    turns: Arc<Turns>,
    runs: [Run; 2],
}

impl Scene {
    fn of(objects: Arc<MemoryStore>, runs: [Run; 2]) -> Self {
        Self {
            objects,
            turns: Turns::of(0),
            runs,
        }
    }

    /// Two old sets of the same shard, of which the second shares the file of the first.
    fn with_sets(grace: Duration) -> (Arc<MemoryStore>, Arc<dyn WritableStore>, SetRecord) {
        let (objects, store) = with_grace();
        put_old(&store, Layout::Portable, 0);
        put_old(&store, Layout::Portable, 1);
        let records: Vec<SetRecord> = catalog(&store).records().cloned().collect();
        let [first, mut second] = records.try_into().unwrap();
        store.remove(&shard_file(&second).name).unwrap();
        second.shards[0].file.clone_from(&first.shards[0].file);
        let name = name_of(&second.id, "json");
        store.remove(&name).unwrap();
        let put = store.write_whole(&name, &mut |out| second.write_to(out));
        put.unwrap();
        objects.pass(2 * DAY);
        objects.set_grace(grace);
        (objects, store, first)
    }
}

/// A run that makes a set, which shares a file if it can.
fn sharing(file: FileRecord) -> Run {
    Box::new(move |store| try_write(&store, Layout::Portable, Some(&file)).map(Some))
}

/// A run that removes these sets, if they are there.
fn forgetting(sets: &[&SetRecord]) -> Run {
    let sets: Vec<_> = sets.iter().map(|set| set.id.clone()).collect();
    Box::new(move |store| {
        let cancel = Cancel::default();
        let begun = Maintenance::begin_in(store.clone(), Duration::ZERO, &cancel);
        let (maintenance, _) = begun?;
        let (catalog, unreadable) = Catalog::of(store)?;
        assert!(unreadable.is_empty(), "{unreadable:?}");
        // What an increment builds on stays, as whoever chooses the sets sees to.
        let is_built_on = catalog.records().any(|set| set.selection.since.is_some());
        let all = catalog.sets().iter().enumerate();
        let which = all.filter(|(_, set)| sets.contains(&set.id) && !is_built_on);
        let which = which.map(|(at, _)| at).collect();
        maintenance.remove(&catalog, &which, &cancel)?;
        Ok(None)
    })
}

/// How many steps the other run is further with each kill: all would take long.
const KILL_STRIDE: usize = 5;

/// Which of the two has the first turn, how long its first one is, and that of the other; whether it
/// has another, or is killed.
#[derive(Debug, Clone, Copy)]
struct Order {
    first: usize,
    steps: usize,
    others: usize,
    is_killed: bool,
}

impl Order {
    /// The turns: a run, and its steps.
    fn turns(self) -> Vec<(usize, usize)> {
        let (first, other) = (self.first, 1 - self.first);
        let rest = [(first, usize::MAX), (other, usize::MAX)];
        let begin = [(first, self.steps), (other, self.others)];
        match self.is_killed {
            // The other has begun before, and goes on.
            true => vec![begin[1], begin[0], rest[1]],
            false => vec![begin[0], begin[1], rest[0], rest[1]],
        }
    }
}

/// Lets the runs take their turns; what came of each, and whether all turns were used up.
fn take_turns(scene: Scene, order: Order) -> ([Outcome; 2], bool) {
    let Scene {
        objects,
        turns,
        runs: [one, other],
    } = scene;
    turns.set(order.turns());
    let store: Arc<dyn WritableStore> = objects;
    let take = |at: usize, run: Run| {
        let of_run: Arc<dyn WritableStore> = Arc::new(Stopping::in_turns(&turns, at, &store));
        let outcome = run(of_run);
        (outcome, turns.end(at))
    };
    let ((one, unused), (other, unused_too)) = thread::scope(|scope| {
        let one = scope.spawn(|| take(0, one));
        let other = take(1, other);
        (one.join().unwrap(), other)
    });
    // Of each, the last turn is without end.
    let unused = unused + unused_too;
    ([one, other], unused <= if order.is_killed { 1 } else { 2 })
}

/// Tries each order; how many runs made a set, and how many failed without being killed.
fn in_each_order(scene: impl Fn() -> Scene) -> (usize, usize) {
    let (mut made, mut failed) = (0, 0);
    let mut known = HashSet::new();
    for (first, is_killed) in [(0, false), (1, false), (0, true), (1, true)] {
        for steps in 1.. {
            let mut is_over = true;
            for others in (0..).step_by(if is_killed { KILL_STRIDE } else { 1 }) {
                let order = Order {
                    first,
                    steps,
                    others,
                    is_killed,
                };
                let scene = scene();
                let objects = scene.objects.clone();
                let (outcomes, was_used_up) = take_turns(scene, order);
                let sets = outcomes.iter().flatten().flatten();
                let sets: Vec<String> = sets.map(|set| set.id.to_string()).collect();
                if known.insert((objects.state(), sets)) {
                    expect_sound(&objects, &outcomes, order);
                }
                made += outcomes.iter().flatten().flatten().count();
                let others = outcomes.iter().enumerate();
                let alive = others.filter(|(at, _)| !is_killed || *at != first);
                failed += alive.filter(|(_, outcome)| outcome.is_err()).count();
                if !was_used_up {
                    break;
                }
                is_over = false;
            }
            if is_over {
                break;
            }
        }
    }
    (made, failed)
}

/// Panics unless the sets are whole, those that runs have made among them, and a later run leaves
/// nothing else.
fn expect_sound(objects: &Arc<MemoryStore>, outcomes: &[Outcome; 2], order: Order) {
    let store: Arc<dyn WritableStore> = objects.clone();
    for time in [Duration::ZERO, 2 * DAY, 2 * DAY] {
        objects.set_grace(DAY);
        objects.pass(time);
        if !time.is_zero() {
            drop(maintain(&store));
        }
        let (catalog, unreadable) = Catalog::of(store.clone()).unwrap();
        assert!(unreadable.is_empty(), "{order:?}: {unreadable:?}");
        let sets: Vec<SetRecord> = catalog.records().cloned().collect();
        assert_eq!(sets.len(), catalog.sets().len(), "{order:?}: influxd's");
        for file in sets.iter().flat_map(SetRecord::files) {
            let there = catalog.file(&file.name);
            assert_eq!(there, Some(file.size), "{order:?}: {}", file.name);
        }
        for made in outcomes.iter().flatten().flatten() {
            assert!(sets.contains(made), "{order:?}: {} is gone", made.id);
            // A set is told by when it was begun.
            let needs = made.selection.since.is_some();
            let has_parent = sets
                .iter()
                .any(|set| Some(set.started) == made.selection.since);
            assert!(
                !needs || has_parent,
                "{order:?}: {} lacks its parent",
                made.id
            );
        }
    }
    let sets: Vec<SetRecord> = catalog(&store).records().cloned().collect();
    let mut names = names_of(&sets.iter().collect::<Vec<_>>());
    names.dedup();
    assert_eq!(all_names(&store), names, "{order:?}");
}

#[test]
fn a_backup_that_shares_what_a_removal_takes_is_whole() {
    for grace in [Duration::ZERO, DAY] {
        let (made, failed) = in_each_order(|| {
            let (objects, store, first) = Scene::with_sets(DAY);
            let second = catalog(&store).records().next_back().unwrap().clone();
            if !grace.is_zero() {
                // Their files go now.
                forget(&store, &[0, 1]).unwrap();
                objects.pass(2 * DAY);
            }
            objects.set_grace(grace);
            let file = shard_file(&first).clone();
            let runs = [forgetting(&[&first, &second]), sharing(file)];
            Scene::of(objects, runs)
        });
        assert!(made > failed, "{made} made, {failed} failed");
    }
}

/// A run that makes an increment to a set where that can be built on, else a whole set.
fn building_on(parent: &SetRecord) -> Run {
    let (id, started) = (parent.id.clone(), parent.started);
    Box::new(move |store| {
        let cancel = Cancel::default();
        let mut writer = try_begin(&store, false)?;
        let (catalog, _) = Catalog::of(store.clone())?;
        let hidden = store.list(Folder::Hidden)?;
        let is_going = hidden
            .iter()
            .any(|entry| own_name(&entry.name) == Some((id.as_str(), REMOVAL)));
        let is_there = catalog.sets().iter().any(|set| set.id == id);
        reserve(&mut writer, Layout::Portable)?;
        let mut record = record(&writer, Layout::Portable);
        if is_there && !is_going {
            writer.builds_on([id]);
            record.selection.since = Some(started);
            record.shards[0].content = Content::Since;
        }
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![(0, write_shard(&writer)?)],
        };
        writer.commit(record, &files, &cancel).map(Some)
    })
}

#[test]
fn an_increment_is_never_left_without_the_set_that_a_removal_takes() {
    for grace in [Duration::ZERO, DAY] {
        let (made, failed) = in_each_order(|| {
            let (objects, store, first) = Scene::with_sets(grace);
            let second = catalog(&store).records().next_back().unwrap().clone();
            let runs = [forgetting(&[&first, &second]), building_on(&second)];
            Scene::of(objects, runs)
        });
        assert!(made > failed, "{made} made, {failed} failed");
    }
}

#[test]
fn two_removals_at_once_end_what_one_would_have() {
    for grace in [Duration::ZERO, DAY] {
        let (_, failed) = in_each_order(|| {
            let (objects, store, first) = Scene::with_sets(grace);
            let second = catalog(&store).records().next_back().unwrap().clone();
            let runs = [forgetting(&[&first, &second]), forgetting(&[&second])];
            Scene::of(objects, runs)
        });
        assert_eq!(failed, 0);
    }
}

/// What a run of the shard notes of itself.
fn header(writer: &SetWriter) -> RunHeader {
    RunHeader {
        started: writer.started(),
        cluster_id: 1,
        layout: Layout::Portable,
        selection: Selection::default(),
    }
}

/// A run that has stored the shard and noted it.
fn run_with_a_shard(store: &Arc<dyn WritableStore>) -> (SetWriter, SealedFile) {
    let mut writer = try_begin(store, false).unwrap();
    reserve(&mut writer, Layout::Portable).unwrap();
    writer.take_over(&header(&writer)).unwrap();
    let shard = record(&writer, Layout::Portable).shards.remove(0);
    let finished = write_shard(&writer).unwrap();
    writer.note(&shard, Some(&finished)).unwrap();
    (writer, finished)
}

/// A run that makes a set of what another has stored, where that can be had.
fn resuming() -> Run {
    Box::new(|store| {
        let cancel = Cancel::default();
        let mut writer = try_begin(&store, true)?;
        reserve(&mut writer, Layout::Portable)?;
        let taken = match writer.take_over(&header(&writer))? {
            None => None,
            Some(left) => match left.shard(&test_records::path("db", 7)) {
                None => None,
                Some(left) => {
                    let file = left.record.file.as_ref().unwrap();
                    writer.reuse(&left.name, file, &cancel)?
                }
            },
        };
        let shard = match taken {
            Some(taken) => taken,
            None => write_shard(&writer)?,
        };
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![(0, shard)],
        };
        let record = record(&writer, Layout::Portable);
        writer.commit(record, &files, &cancel).map(Some)
    })
}

#[test]
fn a_run_that_resumes_what_others_clear_away_is_whole() {
    let (made, failed) = in_each_order(|| {
        let (objects, store, _) = Scene::with_sets(DAY);
        run_with_a_shard(&store).0.kill();
        objects.pass(2 * DAY);
        let runs = [forgetting(&[]), resuming()];
        Scene::of(objects, runs)
    });
    assert!(made > failed, "{made} made, {failed} failed");
}

#[test]
fn a_run_that_resumes_what_another_clears_away_or_commits_is_whole() {
    for commits in [false, true] {
        let (made, failed) = in_each_order(|| {
            let (objects, store, _) = Scene::with_sets(DAY);
            let turns = Turns::of(0);
            let of_first: Arc<dyn WritableStore> = Arc::new(Stopping::in_turns(&turns, 0, &store));
            let (writer, file) = run_with_a_shard(&of_first);
            objects.pass(Duration::from_secs(1));
            let first: Run = Box::new(move |_| {
                if !commits {
                    return Ok(None);
                }
                let files = SetFiles {
                    meta: b"meta".to_vec(),
                    shards: vec![(0, file)],
                };
                let record = record(&writer, Layout::Portable);
                writer.commit(record, &files, &Cancel::default()).map(Some)
            });
            let runs = [first, resuming()];
            Scene {
                objects,
                turns,
                runs,
            }
        });
        assert!(made > failed, "{made} made, {failed} failed");
    }
}
