//! Restore, verify, check, list and forget agree about every set of a directory, and with a slow
//! model that knows what the server held.
//!
//! A server is simulated minute by minute: points are written, deleted and backed up. Of each set
//! and shard the model keeps what the run really got, never what a record says of it. From that
//! follows what a restore can bring back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use prost::Message;

use super::source::{SetSelector, Source, SourceDepth};
use crate::context::Context;
use crate::error::{ErrorKind, kind_of};
use crate::metastore::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use crate::ops::{
    CheckOptions, Finding, ForgetOptions, Limit, Policy, VerifyOptions, check, forget, list, verify,
};
use crate::repository::manifest::{self, Manifest, MetaEntry, ShardEntry};
use crate::repository::names;
use crate::repository::{
    Catalog, Content, FileRecord, Layout, MemberRecord, Selection, SetRecord, SetState,
    ShardRecord, ShardState, test_records,
};
use crate::shard::ShardPath;
use crate::shard_tar::{MemberHeader, TarWriter};
use crate::time;
use crate::tsm::values::{Points, Values};
use crate::tsm::writer::Writer;
use crate::wire::MetaBlob;

/// The shards of each server, and the minute in which the group of each begins.
static SHARDS: LazyLock<[(ShardPath, u32); 4]> = LazyLock::new(|| {
    let of = |database: &str, policy: &str, id| ShardPath {
        database: database.into(),
        retention_policy: policy.into(),
        id,
    };
    [
        (of("a", "autogen", 1), 0),
        (of("a", "autogen", 2), 35),
        (of("a", "other", 3), 0),
        (of("b", "autogen", 4), 0),
    ]
});

/// A TSM file with one point.
static TSM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut writer = Writer::new(Vec::new());
    let points = Points {
        times: vec![1],
        values: Values::Float(vec![1.5]),
    };
    writer
        .begin_key(b"m,h=a#!~#v", points.values.value_type())
        .unwrap();
    writer.points(&points).unwrap();
    writer.finish().unwrap().0
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Snap,
    Influxd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Full,
    /// From so many runs before on, and so many minutes after that was begun.
    Since(usize, i32),
    Range,
    MetaOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Failed,
    NotOpen,
    Expired,
    /// It is there, without its newest point, and that is written down.
    Unproven,
}

/// What becomes of a file later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Removed,
    Cut,
}

/// What happens to a shard before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Written,
    Emptied,
}

#[derive(Debug, Clone)]
struct Run {
    maker: Maker,
    layout: Layout,
    amount: Amount,
    /// Which shards are asked for: all, those of `a`, those of `b`, those of one policy.
    scope: usize,
    server: usize,
    changes: Vec<Change>,
    troubles: Vec<Trouble>,
    fates: Vec<Fate>,
    metastore_goes: bool,
    marked: bool,
}

impl Run {
    fn selection(&self, number: usize) -> Selection {
        let name = |name: &str| Some(name.to_owned());
        let (database, retention_policy) = match self.scope {
            0 => (None, None),
            1 => (name("a"), None),
            2 => (name("b"), None),
            _ => (name("a"), name("other")),
        };
        Selection {
            database,
            retention_policy,
            meta_only: self.amount == Amount::MetaOnly,
            since: self.since(number).map(minute),
            start: (self.amount == Amount::Range).then(|| minute(0)),
            ..Selection::default()
        }
    }

    fn since(&self, number: usize) -> Option<u32> {
        match self.amount {
            Amount::Since(back, off) => {
                let from = started(number.saturating_sub(back));
                Some(from.saturating_add_signed(off))
            }
            _ => None,
        }
    }
}

/// The minute in which a run begins.
fn started(number: usize) -> u32 {
    10 * (u32::try_from(number).unwrap() + 1)
}

fn minute(number: u32) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + 60 * i64::from(number)).unwrap()
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let maker = prop_oneof![6 => Just(Maker::Snap), 1 => Just(Maker::Influxd)];
    let layout = prop_oneof![Just(Layout::Legacy), Just(Layout::Portable)];
    let amount = prop_oneof![
        4 => Just(Amount::Full),
        8 => (1..3_usize, prop_oneof![4 => Just(0), 1 => Just(-2), 1 => Just(1)])
            .prop_map(|(back, off)| Amount::Since(back, off)),
        1 => Just(Amount::Range),
        1 => Just(Amount::MetaOnly),
    ];
    let scope = prop_oneof![8 => Just(0_usize), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    let server = prop_oneof![9 => Just(0_usize), 1 => Just(1)];
    let change = prop_oneof![2 => Just(Change::Nothing), 4 => Just(Change::Written), 1 => Just(Change::Emptied)];
    let trouble = prop_oneof![
        20 => Just(Trouble::None),
        1 => Just(Trouble::Failed),
        1 => Just(Trouble::NotOpen),
        1 => Just(Trouble::Expired),
        1 => Just(Trouble::Unproven),
    ];
    let fate = prop_oneof![40 => Just(Fate::Stays), 1 => Just(Fate::Removed), 1 => Just(Fate::Cut)];
    let run = (
        (maker, layout, amount, scope, server),
        prop::collection::vec(change, SHARDS.len()),
        prop::collection::vec(trouble, SHARDS.len()),
        prop::collection::vec(fate, SHARDS.len()),
        prop::bool::weighted(0.02),
        prop::bool::weighted(0.05),
    );
    let run = run.prop_map(
        |(
            (maker, layout, amount, scope, server),
            changes,
            troubles,
            fates,
            metastore_goes,
            marked,
        )| Run {
            maker,
            layout,
            amount: match (maker, amount) {
                // influxd has no such thing.
                (Maker::Influxd, Amount::MetaOnly | Amount::Range) => Amount::Full,
                _ => amount,
            },
            scope,
            server,
            changes,
            troubles,
            fates,
            metastore_goes: metastore_goes && maker == Maker::Snap,
            marked,
        },
    );
    prop::collection::vec(run, 1..9)
}

/// What a run got of a shard.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    /// It was not asked for it.
    NotAsked,
    /// All that changed after that minute; where there is none, all. With the file, where something
    /// was there; and whether the run knew that nothing is missing of it.
    All {
        since: Option<u32>,
        file: Option<String>,
        proven: bool,
    },
    /// It did not exist.
    NotThere,
    /// Nothing, because it failed.
    Failed,
    /// Nothing, because the server had not opened it; `early`: its time had not begun.
    NotOpen { early: bool },
    /// Nothing, because it was deleted meanwhile.
    Dropped,
    /// The even points.
    Part { file: Option<String>, proven: bool },
    /// Something that nobody wrote down.
    Unknown { file: String },
}

/// A set as the model sees it.
#[derive(Debug)]
struct Made {
    id: String,
    run: Run,
    minute: u32,
    /// What it got of each shard.
    got: Vec<Got>,
    /// What the server held of each shard, and the metastore names.
    held: Vec<Option<BTreeSet<u32>>>,
    removed: bool,
}

/// All sets, and what is in each file that is still there whole.
#[derive(Debug, Default)]
struct Model {
    sets: Vec<Made>,
    files: BTreeMap<String, BTreeSet<u32>>,
    /// Files that are there, but not as they were.
    cut: BTreeSet<String>,
}

/// Why the model cannot bring a shard back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    FileGone,
    Other,
}

/// Why what a run got is not enough, where it did not know that nothing is missing of it.
fn doubt(proven: bool) -> Option<Why> {
    (!proven).then_some(Why::Other)
}

/// The files that a restore can use, and why they are not enough.
type Found = (Vec<String>, Option<Why>);

impl Model {
    fn is_intact(&self, file: &Option<String>) -> bool {
        file.as_ref()
            .is_none_or(|file| self.files.contains_key(file))
    }

    fn usable(&self, file: &Option<String>) -> Vec<String> {
        let there = file
            .iter()
            .filter(|file| self.files.contains_key(*file) || self.cut.contains(*file));
        there.cloned().collect()
    }

    /// The sets before that one, of the same server and newest first, with what they got of a
    /// shard.
    fn before(&self, at: usize, shard: usize) -> impl Iterator<Item = (usize, &Made, &Got)> {
        let server = self.sets[at].run.server;
        let sets = self.sets[..at].iter().enumerate().rev();
        sets.filter(move |(_, set)| !set.removed && set.run.server == server)
            .map(move |(at, set)| (at, set, &set.got[shard]))
    }

    fn newest_before(&self, at: usize, shard: usize) -> Option<usize> {
        let mut before = self.before(at, shard);
        let found = before
            .find(|(.., got)| matches!(got, Got::All { .. } | Got::NotThere | Got::Unknown { .. }));
        found.map(|(at, ..)| at)
    }

    /// What can be brought back of a shard as the set had it.
    fn bring_back(&self, at: usize, shard: usize) -> Found {
        let set = &self.sets[at];
        let join = |(mut files, why): Found, file: &Option<String>| {
            files.extend(self.usable(file));
            (files, why)
        };
        match &set.got[shard] {
            Got::NotAsked => (Vec::new(), None),
            Got::NotThere | Got::Dropped => (Vec::new(), None),
            Got::Part { file, proven } => {
                let why = (!self.is_intact(file)).then_some(Why::FileGone);
                (self.usable(file), why.or(doubt(*proven)))
            }
            Got::Failed => {
                let older = self
                    .newest_before(at, shard)
                    .filter(|_| set.run.amount != Amount::Range);
                let files = older.map_or_else(Vec::new, |older| self.bring_back(older, shard).0);
                (files, Some(Why::Other))
            }
            Got::NotOpen { .. } => {
                let Some(older) = self.newest_before(at, shard) else {
                    return (Vec::new(), None);
                };
                match self.bring_back(older, shard) {
                    (files, None) if files.is_empty() => (files, None),
                    (files, _) => (files, Some(Why::Other)),
                }
            }
            Got::Unknown { file } => {
                let older = self.newest_before(at, shard);
                let below = older.map_or((Vec::new(), None), |older| self.bring_back(older, shard));
                let own = Some(file.clone());
                let (files, why) = join(below, &own);
                let why = why.filter(|why| *why == Why::FileGone);
                let is_gone = !self.is_intact(&own);
                (files, is_gone.then_some(Why::FileGone).or(why))
            }
            Got::All {
                since: None,
                file,
                proven,
            } if self.is_intact(file) => (self.usable(file), doubt(*proven)),
            Got::All {
                since: None, file, ..
            } => {
                let older = self.newest_before(at, shard);
                let below = older.map_or((Vec::new(), None), |older| self.bring_back(older, shard));
                let (files, _) = join(below, file);
                (files, Some(Why::FileGone))
            }
            Got::All {
                since: Some(since),
                file,
                proven,
            } => {
                let (files, why) = join(self.below(at, shard, *since), file);
                let is_gone = !self.is_intact(file);
                let why = is_gone.then_some(Why::FileGone).or(why);
                (files, why.or(doubt(*proven)))
            }
        }
    }

    /// What an increment goes on from.
    fn below(&self, at: usize, shard: usize, since: u32) -> Found {
        let (mut broken, mut early) = (None, None);
        for (older, set, got) in self.before(at, shard) {
            match got {
                Got::NotOpen { early: true } if set.minute >= since => {
                    early.get_or_insert(older);
                }
                Got::All { .. } | Got::NotThere | Got::Unknown { .. } => {
                    let has_a_time =
                        set.run.maker == Maker::Snap || set.run.layout == Layout::Portable;
                    if set.minute < since && has_a_time {
                        let is_new = *got == Got::NotThere && early.is_some();
                        return match broken {
                            Some(broken) => broken,
                            None if is_new => (Vec::new(), None),
                            None => (self.bring_back(older, shard).0, Some(Why::Other)),
                        };
                    }
                    match self.bring_back(older, shard) {
                        (files, None) => return (files, None),
                        found => drop(broken.get_or_insert(found)),
                    }
                }
                _ => {}
            }
        }
        match (broken, early) {
            (Some(broken), _) => broken,
            (None, Some(_)) => (Vec::new(), None),
            (None, None) => (Vec::new(), Some(Why::Other)),
        }
    }

    /// What a restore of a legacy set of influxd's finds of a shard that it has no file of.
    fn beside(&self, at: usize, shard: usize) -> Found {
        let (mut range, mut is_told) = (None, false);
        for (older, set, got) in self.before(at, shard) {
            match got {
                Got::Part { .. } => {
                    range.get_or_insert(older);
                    is_told = true;
                }
                Got::All { .. } | Got::Unknown { .. } | Got::Failed | Got::NotOpen { .. } => {
                    let (files, why) = self.bring_back(older, shard);
                    match range {
                        None => return (files, why),
                        Some(range)
                            if !self.bring_back(range, shard).0.is_empty() && !files.is_empty() =>
                        {
                            return (files, Some(Why::Other));
                        }
                        Some(_) => {}
                    }
                }
                Got::Dropped => is_told = true,
                Got::NotAsked => {
                    is_told |= set.run.amount == Amount::Range
                        && set.run.maker == Maker::Snap
                        && set.run.selection(older).takes(&SHARDS[shard].0);
                }
                Got::NotThere => {}
            }
        }
        let started = SHARDS[shard].1 <= self.sets[at].minute;
        match range {
            Some(range) => self.bring_back(range, shard),
            None if !is_told && started => (Vec::new(), Some(Why::Other)),
            None => (Vec::new(), None),
        }
    }

    /// What a set brings back of each shard that it should.
    fn of_set(&self, at: usize) -> Vec<(usize, Found)> {
        let set = &self.sets[at];
        let is_loose = set.run.maker == Maker::Influxd && set.run.layout == Layout::Legacy;
        let shards = (0..SHARDS.len()).filter(|shard| set.held[*shard].is_some());
        let asked = shards.filter(|shard| is_loose || set.got[*shard] != Got::NotAsked);
        let found = |shard| match set.got[shard] {
            Got::NotAsked => self.beside(at, shard),
            _ => self.bring_back(at, shard),
        };
        asked.map(|shard| (shard, found(shard))).collect()
    }

    fn is_whole(&self, at: usize) -> bool {
        let found = self.of_set(at);
        !self.sets[at].run.metastore_goes && found.iter().all(|(_, (_, why))| why.is_none())
    }

    /// Whether all changes to a shard up to a set are in some set, minute by minute. As simple as
    /// can be, but only for sets whose runs wrote down what they did.
    fn covers(&self, at: usize, shard: usize) -> bool {
        let to = self.sets[at].minute;
        let mut covered = BTreeSet::new();
        let own = std::iter::once((at, &self.sets[at], &self.sets[at].got[shard]));
        for (_, set, got) in own.chain(self.before(at, shard)) {
            match got {
                Got::NotThere => covered.extend(0..=set.minute),
                Got::All {
                    since,
                    file,
                    proven: true,
                } if self.is_intact(file) => {
                    covered.extend(since.map_or(0, |since| since + 1)..=set.minute);
                }
                _ => {}
            }
        }
        (0..=to).all(|minute| covered.contains(&minute))
    }
}

/// Makes a directory of what the runs make of a simulated server.
fn make(directory: &Path, runs: &[Run]) -> Model {
    let mut model = Model::default();
    let nothing: Vec<Option<BTreeSet<u32>>> = vec![None; SHARDS.len()];
    let mut servers = [nothing.clone(), nothing];
    for (number, run) in runs.iter().enumerate() {
        let minute = started(number);
        let server = &mut servers[run.server];
        for (shard, change) in run.changes.iter().enumerate() {
            // The second comes into being with the third run, and is written to when its time has
            // begun.
            let is_named = shard != 1 || number >= 2;
            let points = &mut server[shard];
            match (change, is_named) {
                (Change::Written, true) if SHARDS[shard].1 <= minute => {
                    points.get_or_insert_default().insert(minute - 5);
                }
                (Change::Emptied, true) => {
                    if let Some(points) = points {
                        points.clear();
                    }
                }
                _ => {}
            }
        }
        let set = one(directory, &mut model.files, number, run, server);
        model.sets.push(set);
    }
    for (number, run) in runs.iter().enumerate() {
        for (shard, fate) in run.fates.iter().enumerate() {
            spoil(directory, &mut model, number, shard, *fate);
        }
        if run.metastore_goes {
            let name = match run.layout {
                Layout::Legacy => names::meta_file(u32::try_from(number).unwrap()),
                Layout::Portable => manifest::meta_file(&model.sets[number].id),
            };
            fs::remove_file(directory.join(name)).unwrap();
        }
    }
    model
}

fn spoil(directory: &Path, model: &mut Model, number: usize, shard: usize, fate: Fate) {
    let set = &mut model.sets[number];
    let file = match &set.got[shard] {
        Got::All { file, .. } | Got::Part { file, .. } => file.clone(),
        Got::Unknown { file } => Some(file.clone()),
        _ => None,
    };
    let (Some(file), false) = (file, fate == Fate::Stays) else {
        return;
    };
    let path = directory.join(&file);
    // Without a record nobody knows how long it was, unless it is read.
    if fate == Fate::Cut && set.run.maker == Maker::Snap {
        let length = fs::metadata(&path).unwrap().len();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length - 1)
            .unwrap();
        model.cut.insert(file.clone());
    } else {
        fs::remove_file(&path).unwrap();
        if set.run.maker == Maker::Influxd && set.run.layout == Layout::Legacy {
            // As if it had never been there.
            set.got[shard] = Got::NotAsked;
        }
    }
    model.files.remove(&file);
}

/// Makes one set.
fn one(
    directory: &Path,
    files: &mut BTreeMap<String, BTreeSet<u32>>,
    number: usize,
    run: &Run,
    server: &[Option<BTreeSet<u32>>],
) -> Made {
    let minute_of_run = started(number);
    let id = time::stamp(minute(minute_of_run));
    let selection = run.selection(number);
    let mut set = Made {
        id,
        run: run.clone(),
        minute: minute_of_run,
        got: vec![Got::NotAsked; SHARDS.len()],
        held: vec![None; SHARDS.len()],
        removed: false,
    };
    let (mut records, mut entries) = (Vec::new(), Vec::new());
    for (shard, (path, start)) in SHARDS.iter().enumerate() {
        let is_named = shard != 1 || number >= 2;
        if is_named {
            set.held[shard] = Some(server[shard].clone().unwrap_or_default());
        }
        let asks = selection.takes(path) && !selection.meta_only;
        if !is_named || !asks {
            if asks && run.maker == Maker::Snap && run.amount != Amount::Range {
                set.got[shard] = Got::NotThere;
            }
            continue;
        }
        let proven = run.troubles[shard] != Trouble::Unproven || run.maker == Maker::Influxd;
        let points = server[shard]
            .clone()
            .filter(|_| run.troubles[shard] != Trouble::NotOpen);
        let captured: Option<BTreeSet<u32>> = points.map(|points| {
            let since = run.since(number);
            let taken = points
                .into_iter()
                .filter(|point| since.is_none_or(|since| *point > since));
            taken
                .filter(|point| run.amount != Amount::Range || point.is_multiple_of(2))
                .filter(|point| proven || *point != minute_of_run - 5)
                .collect()
        });
        let content = match run.amount {
            Amount::Since(..) => Content::Since,
            Amount::Range => Content::Range,
            Amount::Full | Amount::MetaOnly => Content::Whole,
        };
        let state = match (run.troubles[shard], &captured) {
            (Trouble::Failed, _) => ShardState::Failed,
            (Trouble::Expired, _) => ShardState::Expired,
            (_, None) => ShardState::NotHeld,
            (_, Some(points)) if points.is_empty() => ShardState::Empty,
            _ => ShardState::Stored,
        };
        let is_influxd = run.maker == Maker::Influxd;
        // influxd asks for what is open, and writes a file of it whatever is in it.
        if is_influxd && captured.is_none() {
            continue;
        }
        let name = match run.layout {
            Layout::Legacy => names::shard_file(path, u32::try_from(number).unwrap()),
            Layout::Portable => manifest::shard_file(&set.id, path.id),
        };
        let stored = (is_influxd || state == ShardState::Stored)
            .then(|| store(directory, &name, path, number, run.layout, &set.id));
        if stored.is_some() {
            files.insert(name.clone(), captured.unwrap_or_default());
        }
        let file = stored.as_ref().map(|_| name.clone());
        set.got[shard] = match (is_influxd, state, content) {
            (true, ..) => Got::Unknown { file: name },
            (_, ShardState::Failed, _) => Got::Failed,
            (_, ShardState::Expired, _) => Got::Dropped,
            (_, ShardState::NotHeld, _) => Got::NotOpen {
                early: *start > minute_of_run,
            },
            (_, _, Content::Range) => Got::Part { file, proven },
            _ => Got::All {
                since: run.since(number),
                file,
                proven,
            },
        };
        if let Some((file, tar_size, _)) = &stored {
            entries.push(ShardEntry {
                database: path.database.to_string(),
                policy: path.retention_policy.to_string(),
                shard_id: path.id,
                file_name: file.name.clone(),
                size: *tar_size,
                last_modified: 0,
            });
        }
        let (file, tar_size, members) = match stored {
            Some((file, tar_size, member)) => (Some(file), Some(tar_size), vec![member]),
            None => (None, None, Vec::new()),
        };
        records.push(ShardRecord {
            start_time: minute(*start),
            end_time: minute(*start + 1000),
            state,
            content,
            file,
            tar_size: tar_size.filter(|_| run.layout == Layout::Portable),
            members,
            unproven: (!proven && matches!(state, ShardState::Stored | ShardState::Empty))
                .then(|| "the server was busy".to_owned()),
            ..test_records::shard(path)
        });
    }
    finish(
        directory, number, run, &mut set, selection, records, entries,
    );
    set
}

/// Writes the tar of a shard: its file, bytes of the tar, and its one member.
fn store(
    directory: &Path,
    name: &str,
    path: &ShardPath,
    number: usize,
    layout: Layout,
    id: &str,
) -> (FileRecord, u64, MemberRecord) {
    let member = format!("{:09}-000000001.tsm", number + 1);
    let mut tar = TarWriter::new(Vec::new());
    let inside = format!("{path}/{member}");
    tar.begin(&MemberHeader::of_file(&inside, TSM.len() as u64, 0))
        .unwrap();
    tar.write_all(&TSM).unwrap();
    tar.end().unwrap();
    let tar = tar.finish().unwrap();
    let tar_size = tar.len() as u64;
    let bytes = match layout {
        Layout::Legacy => tar,
        Layout::Portable => {
            let mut compressed = manifest::compress(id, path.id, Vec::new());
            compressed.write_all(&tar).unwrap();
            compressed.finish().unwrap().0
        }
    };
    let member = MemberRecord {
        name: member,
        size: TSM.len() as u64,
        modified: minute(0),
    };
    (
        test_records::write(directory, name, &bytes),
        tar_size,
        member,
    )
}

/// Writes the metastore, and the record or the manifest.
fn finish(
    directory: &Path,
    number: usize,
    run: &Run,
    set: &mut Made,
    selection: Selection,
    shards: Vec<ShardRecord>,
    entries: Vec<ShardEntry>,
) {
    let small = u32::try_from(number).unwrap();
    let meta = metastore(run.server, &set.held).encode_to_vec();
    let size = meta.len() as u64;
    let (name, bytes) = match run.layout {
        Layout::Legacy => {
            let mut bytes = Vec::new();
            let node = b"null\n".to_vec();
            MetaBlob { meta, node }.write_to(&mut bytes).unwrap();
            (names::meta_file(small), bytes)
        }
        Layout::Portable => (manifest::meta_file(&set.id), manifest::write_meta(&meta)),
    };
    let meta = test_records::write(directory, &name, &bytes);
    let is_partial = shards
        .iter()
        .any(|shard| shard.state == ShardState::Failed || shard.unproven.is_some());
    let mut record = SetRecord {
        state: if is_partial {
            SetState::Partial
        } else {
            SetState::Complete
        },
        layout: run.layout,
        number: small,
        host: format!("host{}", run.server),
        cluster_id: Some(run.server as u64),
        selection,
        meta: meta.clone(),
        meta_size: (run.layout == Layout::Portable).then_some(size),
        ..test_records::set(&set.id, minute(set.minute), shards)
    };
    let manifest = Manifest {
        meta: MetaEntry {
            file_name: meta.name.clone(),
            size,
        },
        limited: false,
        files: Some(entries),
    };
    if run.layout == Layout::Portable {
        let mut bytes = Vec::new();
        manifest.write_to(&mut bytes).unwrap();
        record.manifest = Some(test_records::write(
            directory,
            &manifest::manifest_file(&set.id),
            &bytes,
        ));
    }
    match run.maker {
        Maker::Snap => test_records::put(directory, &record),
        Maker::Influxd if run.layout == Layout::Legacy => {
            set.id = meta.name.clone();
            let file = File::options()
                .write(true)
                .open(directory.join(&meta.name))
                .unwrap();
            file.set_modified(minute(set.minute).into()).unwrap();
        }
        Maker::Influxd => {}
    }
    if run.marked && run.maker == Maker::Snap {
        fs::write(directory.join(format!(".snap/{}.keep", set.id)), "").unwrap();
    }
}

fn metastore(server: usize, held: &[Option<BTreeSet<u32>>]) -> Data {
    let mut data = Data {
        cluster_id: server as u64,
        ..Data::default()
    };
    for ((path, start), _) in SHARDS.iter().zip(held).filter(|(_, held)| held.is_some()) {
        let group = ShardGroupInfo {
            id: path.id,
            start_time: time::to_nanos(minute(*start)),
            end_time: time::to_nanos(minute(*start + 1000)),
            shards: vec![ShardInfo {
                id: path.id,
                ..ShardInfo::default()
            }],
            ..ShardGroupInfo::default()
        };
        let at = data
            .databases
            .iter()
            .position(|database| database.name == path.database);
        let at = at.unwrap_or_else(|| {
            data.databases.push(DatabaseInfo {
                name: path.database.to_string(),
                ..DatabaseInfo::default()
            });
            data.databases.len() - 1
        });
        let policies = &mut data.databases[at].retention_policies;
        match policies
            .iter_mut()
            .find(|policy| policy.name == path.retention_policy)
        {
            Some(policy) => policy.shard_groups.push(group),
            None => policies.push(RetentionPolicyInfo {
                name: path.retention_policy.to_string(),
                shard_groups: vec![group],
                ..RetentionPolicyInfo::default()
            }),
        }
    }
    data
}

/// What a restore of a set says is missing, and the files of each shard that it puts together.
fn restored(catalog: &Catalog, id: &str) -> (Vec<String>, BTreeMap<ShardPath, Vec<String>>) {
    let selection = Selection::default();
    let context = Context::silent();
    let read = Source::read(
        catalog,
        SetSelector::Alone(id),
        &selection,
        None,
        SourceDepth::Shards,
        context,
    );
    let source = match read {
        Ok(source) => source,
        Err(error) => {
            assert!(
                matches!(kind_of(&error), ErrorKind::Damage | ErrorKind::Refused),
                "{error:#}"
            );
            return (vec![format!("{error:#}")], BTreeMap::new());
        }
    };
    let said = source.report_missing(catalog, &selection, context);
    assert!(said.is_ok() || source.chains.found.is_empty(), "{said:?}");
    let names = |(path, files): &(ShardPath, Vec<crate::repository::BackupFile>)| {
        let names = files.iter().map(|file| file.name.clone()).collect();
        (path.clone(), names)
    };
    let files = source.chains.found.iter().map(names).collect();
    let missing = source.chains.missing.iter().map(ToString::to_string);
    (missing.collect(), files)
}

/// Compares what everybody says of each set with the model; gives which are whole.
fn compare(directory: &Path, model: &Model) -> Result<BTreeMap<String, bool>, TestCaseError> {
    let catalog = Catalog::read(directory).unwrap();
    let mut findings: BTreeSet<String> = BTreeSet::new();
    let options = VerifyOptions {
        repository: directory.into(),
        set: None,
        deep: false,
        jobs: 1,
    };
    let context = Context::silent();
    let mut told = Vec::new();
    let verified = verify(&options, context, &mut |finding| {
        told.push(format!("{finding:?}"));
        let (set, also_in) = match finding {
            Finding::Fault(fault) => (&fault.set, &fault.also_in),
            Finding::Gap(gap) => (&gap.set, &gap.also_in),
        };
        let sets = also_in.iter().chain([set]);
        findings.extend(sets.map(ToString::to_string));
    });
    // Of a directory that was emptied by hand, that is all there is to say.
    let is_emptied = catalog.emptied().is_some();
    prop_assert_eq!(
        verified.is_err(),
        is_emptied,
        "verify: {:?}",
        verified.err()
    );
    let listed = list(&directory.into(), context).unwrap().sets;
    let checked = check(
        &CheckOptions {
            repository: directory.into(),
            database: None,
            max_age: Duration::MAX,
            now: minute(1000),
            max_lost_shards: 100,
            allow_empty: true,
        },
        context,
    )
    .unwrap();
    let mut whole = BTreeMap::new();
    for (at, set) in model
        .sets
        .iter()
        .enumerate()
        .filter(|(_, set)| !set.removed)
    {
        let id = &set.id;
        let expected = model.is_whole(at);
        let (said, files) = restored(&catalog, id);
        let is_restored = said.is_empty();
        prop_assert_eq!(
            is_restored,
            expected,
            "restore of {} says {:?}: {:#?}",
            id,
            said,
            model.of_set(at)
        );
        prop_assert_eq!(
            !(is_emptied || findings.contains(id)),
            expected,
            "verify of {}: {:#?}",
            id,
            told
        );
        let summary = listed.iter().find(|summary| summary.id == *id).unwrap();
        prop_assert_eq!(
            summary.restorable_whole,
            expected,
            "list of {}: {:?}",
            id,
            summary
        );
        if checked.set.as_ref().is_some_and(|set| set.id == *id) {
            prop_assert_eq!(checked.faults.is_empty(), expected, "check: {:?}", checked);
        }
        if expected {
            brings_back_what_was_held(model, at, &files)?;
        }
        whole.insert(id.clone(), expected);
    }
    Ok(whole)
}

/// That a set that is said to be whole brings back every point that the server held and the run was
/// asked for; and that one whose runs all wrote down what they did is whole if and only if every
/// change up to it is in some set.
fn brings_back_what_was_held(
    model: &Model,
    at: usize,
    files: &BTreeMap<ShardPath, Vec<String>>,
) -> Result<(), TestCaseError> {
    let set = &model.sets[at];
    let has_unknown = model.sets[..=at]
        .iter()
        .any(|set| set.run.maker == Maker::Influxd);
    for (shard, (path, _)) in SHARDS.iter().enumerate() {
        let is_asked = matches!(set.got[shard], Got::All { .. } | Got::Part { .. });
        let (Some(held), true, false) = (&set.held[shard], is_asked, has_unknown) else {
            continue;
        };
        let names = files.get(path).into_iter().flatten();
        let back: BTreeSet<u32> = names.flat_map(|name| &model.files[name]).copied().collect();
        let is_meant = |point: &&u32| set.run.amount != Amount::Range || point.is_multiple_of(2);
        let lost: Vec<&u32> = held
            .iter()
            .filter(is_meant)
            .filter(|point| !back.contains(point))
            .collect();
        prop_assert!(
            lost.is_empty(),
            "{} of {}: {:?} do not come back",
            path,
            set.id,
            lost
        );
    }
    Ok(())
}

fn coverage_agrees(model: &Model) -> Result<(), TestCaseError> {
    if model.sets.iter().any(|set| set.run.maker == Maker::Influxd) {
        return Ok(());
    }
    for (at, set) in model
        .sets
        .iter()
        .enumerate()
        .filter(|(_, set)| !set.removed)
    {
        for shard in 0..SHARDS.len() {
            let early = model
                .before(at, shard)
                .any(|(.., got)| matches!(got, Got::NotOpen { early: true }));
            if let (Got::All { file, .. }, false) = (&set.got[shard], early) {
                let covers = model.is_intact(file) && model.covers(at, shard);
                let (_, why) = model.bring_back(at, shard);
                prop_assert_eq!(why.is_none(), covers, "shard {} of {}", shard, set.id);
            }
        }
    }
    Ok(())
}

/// The sets that a policy that keeps the newest `last` of each group may never remove.
fn kept_by_policy(model: &Model, whole: &BTreeMap<String, bool>, last: usize) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    let group = |at: usize| {
        let selection = Selection {
            since: None,
            ..model.sets[at].run.selection(at)
        };
        (selection, model.sets[at].run.server)
    };
    for (at, set) in model
        .sets
        .iter()
        .enumerate()
        .filter(|(_, set)| !set.removed)
    {
        let newer = (at + 1..model.sets.len()).filter(|newer| {
            !model.sets[*newer].removed
                && model.sets[*newer].run.maker == Maker::Snap
                && whole[&model.sets[*newer].id]
                && group(*newer) == group(at)
        });
        let newer = newer.count();
        let is_last = newer < last && whole[&set.id];
        if set.run.maker == Maker::Influxd || set.run.marked || newer == 0 || is_last {
            kept.insert(set.id.clone());
        }
    }
    kept
}

/// Enough to find each of the faults that this was written for; PROPTEST_CASES asks for more.
fn config() -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig {
            cases: 160,
            ..config
        },
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn restore_verify_check_list_and_forget_agree_about_every_set(runs in runs(), last in 1..3_u32) {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut model = make(directory, &runs);
        coverage_agrees(&model)?;
        let mut before = compare(directory, &model)?;
        let policy = Policy { last: Limit::Newest(last), ..Policy::default() };
        let options = ForgetOptions { repository: directory.into(), policy, retry_lock: Duration::ZERO, dry_run: true };
        // What is removed first may be all that a set was kept for.
        for _ in 0..2 {
            let dry = forget(&options, Context::silent()).unwrap();
            let report = forget(&ForgetOptions { dry_run: false, ..options.clone() }, Context::silent()).unwrap();
            prop_assert_eq!((&dry.groups, &dry.removed), (&report.groups, &report.removed));
            let kept = kept_by_policy(&model, &before, last as usize);
            for set in &mut model.sets {
                set.removed |= report.removed.sets.iter().any(|id| *id == set.id);
                prop_assert!(!(set.removed && kept.contains(&set.id)), "{} was removed: {:#?}", set.id, report.groups);
            }
            let after = compare(directory, &model)?;
            for (id, whole) in &after {
                prop_assert!(*whole || !before[id], "{} was whole before others were removed: {:#?}", id, report.groups);
            }
            before = after;
        }
    }
}
