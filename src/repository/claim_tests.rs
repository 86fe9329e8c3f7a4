//! Tests of claims: however the steps of two runs fall between each other, never do both go on with
//! the same stamp or number.

use super::*;
use crate::error::kind_of;
use crate::repository::hidden::name_of;
use crate::repository::record::{FileRecord, SetRecord};
use crate::repository::store::MemoryStore;
use crate::repository::{Catalog, DigestAlgorithm, FileDigest, test_records};
use std::sync::Arc;

/// Steps of two runs whose order is tried in every way: both come to their end in as many.
const STEPS: u32 = 12;

/// A stamp for each try; two runs of the same second try the same ones.
fn stamp(attempt: u32) -> SetId {
    let second = Timestamp::from_second(1_800_000_000 + i64::from(attempt)).unwrap();
    crate::time::stamp(second).into()
}

/// How far a run has come.
enum Step {
    Choose,
    Write(Claim),
    Look(Claim),
    Yield(Claim),
    Upload(Claim),
    Record(Claim),
    Release(Claim),
    Done,
}

/// A run on a machine of its own.
struct Run {
    step: Step,
    attempts: u32,
    used: UsedNumbers,
    /// The stamp and the number that it goes on with.
    has: Option<(SetId, u32)>,
}

impl Run {
    fn new() -> Self {
        Self {
            step: Step::Choose,
            attempts: 0,
            used: UsedNumbers::default(),
            has: None,
        }
    }

    fn take_step(&mut self, store: &MemoryStore) {
        self.step = match std::mem::replace(&mut self.step, Step::Done) {
            Step::Choose => {
                let names = SetNames {
                    layout: Layout::Legacy,
                    id: stamp(self.attempts),
                    number: self.used.next(store).unwrap(),
                };
                let shard = test_records::path("db", 7);
                let started = Timestamp::UNIX_EPOCH;
                Step::Write(Claim::new(&names, started, &[&shard], Vec::new()))
            }
            Step::Write(claim) => {
                claim.write(store).unwrap();
                Step::Look(claim)
            }
            Step::Look(claim) if claim.standing(store, &self.used).unwrap() != Standing::Free => {
                Step::Yield(claim)
            }
            Step::Look(claim) => {
                self.has = Some((claim.id.clone(), claim.number));
                Step::Upload(claim)
            }
            Step::Yield(claim) => {
                claim.withdraw(store).unwrap();
                self.attempts += 1;
                Step::Choose
            }
            Step::Upload(claim) => {
                let put = |file: &String| {
                    let new = store.entry(file).unwrap().is_none();
                    assert!(new, "{file} is written twice");
                    store.put(file, file.as_bytes());
                };
                claim.files.iter().for_each(put);
                Step::Record(claim)
            }
            Step::Record(claim) => {
                let name = name_of(&claim.id, RECORD);
                store.put(&name, &serde_json::to_vec(&record(&claim)).unwrap());
                Step::Release(claim)
            }
            Step::Release(claim) => {
                store.remove(&claim.name).unwrap();
                Step::Done
            }
            Step::Done => Step::Done,
        };
    }

    fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }
}

fn record(claim: &Claim) -> SetRecord {
    let file = |name: &String| FileRecord {
        name: name.clone(),
        size: name.len() as u64,
        modified: None,
        digest: FileDigest::of(DigestAlgorithm::Blake3, name.as_bytes()),
        blocks: None,
    };
    let mut shard = test_records::shard(&test_records::path("db", 7));
    shard.file = Some(file(&claim.files[0]));
    SetRecord {
        number: claim.number,
        meta: file(&claim.files[1]),
        ..test_records::set(&claim.id, claim.started, vec![shard])
    }
}

/// The ids of the sets that a reader sees; panics where one is not snap's, and whole.
fn sets(store: &Arc<MemoryStore>) -> Vec<SetId> {
    let (catalog, unreadable) = Catalog::of(store.clone()).unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    for set in catalog.sets() {
        let record = set.record().expect("no set is taken for influxd's");
        assert!(record.files().all(|file| catalog.has(&file.name)));
    }
    catalog.sets().iter().map(|set| set.id.clone()).collect()
}

#[test]
fn however_two_runs_fall_between_each_other_they_never_share_a_stamp_or_a_number() {
    let mut yields = 0;
    for order in 0..1_u32 << STEPS {
        let store = Arc::new(MemoryStore::of_objects());
        let mut runs = [Run::new(), Run::new()];
        for step in 0..STEPS {
            runs[(order >> step & 1) as usize].take_step(&store);
            if let [Some((id, number)), Some((other, its))] = [&runs[0].has, &runs[1].has] {
                assert!(
                    id != other && number != its,
                    "{order:b}: both have {id} or {number}"
                );
            }
        }
        // A reader meanwhile sees whole sets, and nothing else.
        sets(&store);
        for run in &mut runs {
            while !run.is_done() {
                run.take_step(&store);
                assert!(run.attempts < STEPS, "{order:b}: it never ends");
            }
            yields += run.attempts;
        }
        let [one, other] = runs.map(|run| run.has.unwrap());
        assert!(one.0 != other.0 && one.1 != other.1, "{order:b}");
        assert_eq!(sets(&store).len(), 2, "{order:b}");
    }
    assert!(yields > 0, "no order made a run yield");
}

#[test]
fn a_claim_names_files_of_its_own_set_alone_or_is_damaged() {
    let store = MemoryStore::of_objects();
    let names = SetNames {
        layout: Layout::Legacy,
        id: stamp(0),
        number: 3,
    };
    let shard = test_records::path("db", 7);
    let claim = Claim::new(&names, Timestamp::UNIX_EPOCH, &[&shard], Vec::new());
    let read = |claim: &Claim| {
        claim.withdraw(&store).unwrap();
        claim.write(&store).unwrap();
        let file = claim.name.strip_prefix(".snap/").unwrap();
        Claim::read(&store, file)
    };
    assert_eq!(read(&claim).unwrap(), claim);
    type Change = fn(&mut Claim);
    let changes: [Change; 7] = [
        |claim| claim.files.push("meta.04".into()),
        |claim| claim.files.push("db.autogen.00007.04".into()),
        |claim| claim.files.push("../db.autogen.00007.03".into()),
        |claim| claim.files.push("notes.txt".into()),
        |claim| claim.files.push("20270115T080000Z.s7.tar.gz".into()),
        |claim| claim.number = 4,
        |claim| claim.id = stamp(1),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut changed = claim.clone();
        change(&mut changed);
        let error = read(&changed).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Damage, "{at}: {error:#}");
    }
    let later = Claim { format: 2, ..claim };
    assert!(read(&later).unwrap_err().to_string().contains("newer snap"));
}
