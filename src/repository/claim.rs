//! Claims: how runs keep out of each other's way where the storage has no lock.
//!
//! Before a run uploads anything, it writes `.snap/STAMP.claim-NN-RANDOM`: a JSON document with all
//! names that it may give to files. Then it looks who else is there. Where another run claims the
//! same stamp or the same number, or a set has one of them, it yields: it takes its claim back,
//! waits for a random moment, and tries another stamp and number. Of two runs, the one that looks
//! last sees the other's claim, so that never both go on; that both yield can happen.
//!
//! The number stands in the name, so that one list of `.snap` shows all that is claimed. What a
//! claim names and no record does, is not finished, and no reader takes it for a backup; nor does
//! one of a directory that the repository was copied to. When the record is there, the claim goes.
//!
//! A claim is alive as long as it, or what its run notes, is younger than the grace period. What
//! one that is not has named, the sweep of a later run removes (`recover`).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{CLAIM, COMMIT, HIDDEN, RECORD, REMOVAL, claimed_number, own_name};
use super::layout::Layout;
use super::next_number::UsedNumbers;
use super::set_id::SetId;
use super::set_names::SetNames;
use super::store::{Folder, Store, StoreEntry, WritableStore, read_bounded, tolerated};
use crate::error::ErrorKind;
use crate::shard::ShardPath;

/// The number of the document's form.
const FORMAT: u32 = 1;

/// The largest claim that is read: that of a million shards and more.
const LARGEST: u64 = 256 << 20;

/// How long a copy of a set may not be heard of, before another copy of it begins anew. Every copy
/// of a set has the same id, so that it would have to wait for the grace period else.
const COPY_SILENCE: Duration = Duration::from_secs(10 * 60);

/// What a run that has no lock may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    format: u32,
    written_by: String,
    /// The stamp of the run.
    id: SetId,
    number: u32,
    layout: Layout,
    started: Timestamp,
    /// The names that it may give to files.
    pub files: Vec<String>,
    /// The names of files of other sets, and of interrupted runs, that it may put into its set.
    pub uses: Vec<String>,
    /// Whether the set is one of another repository.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    copied: bool,
    /// Its own name in the repository.
    #[serde(skip)]
    pub name: String,
}

/// Whether a run that has written its claim may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    /// Somebody else has the stamp or the number.
    Contested,
    /// There is a file of this name, which this run would give one of its own.
    Taken(String),
}

impl Claim {
    /// A claim on the names of a set of these shards.
    pub(super) fn new(
        names: &SetNames,
        started: Timestamp,
        shards: &[&ShardPath],
        uses: Vec<String>,
    ) -> Self {
        let files = shards.iter().map(|shard| names.shard(shard));
        let random = RandomState::new().hash_one(std::process::id());
        let SetNames { id, number, layout } = names.clone();
        Self {
            format: FORMAT,
            written_by: concat!("snap ", env!("CARGO_PKG_VERSION")).to_owned(),
            number,
            layout,
            started,
            files: files
                .chain([names.meta()])
                .chain(names.manifest())
                .collect(),
            uses,
            copied: false,
            name: format!("{HIDDEN}/{id}.{CLAIM}{number:02}-{random:016x}"),
            id,
        }
    }

    /// The claim for a set of another repository, if it is one.
    pub(super) fn copied(self, copied: bool) -> Self {
        Self { copied, ..self }
    }

    /// How long its run may not be heard of before it counts as dead; for who is about to begin
    /// `copy`, if that is a copy of the same set.
    pub(super) fn patience(&self, store: &dyn WritableStore, copy: Option<&SetId>) -> Duration {
        match self.copied && copy == Some(&self.id) {
            true => copy_patience(store),
            false => store.grace(),
        }
    }

    /// Reads a claim, of which the name in the hidden folder is given.
    ///
    /// # Errors
    ///
    /// When it cannot be read; [`ErrorKind::Damage`] where it is none, or claims names that are not
    /// its set's.
    pub(super) fn read(store: &dyn Store, file: &str) -> Result<Self> {
        let name = Folder::Hidden.name_of(file);
        let place = store.place_of(&name);
        let bytes = read_bounded(store, &name, LARGEST);
        let bytes = bytes.with_context(|| format!("reading {place}"))?;
        let damaged = || ErrorKind::Damage.error(format!("the claim {place} is damaged"));
        let claim: Self = serde_json::from_slice(&bytes).with_context(damaged)?;
        if claim.format > FORMAT {
            let format = claim.format;
            bail!("the claim {place} was written by a newer snap (format {format})");
        }
        let (id, number) = own_name(file)
            .and_then(|(id, kind)| Some((id, claimed_number(kind)?)))
            .unwrap_or_default();
        let names = claim.names();
        let is_sound = claim.id == id
            && claim.number == number
            && claim.files.iter().all(|file| names.is_own(file));
        ensure!(is_sound, damaged());
        Ok(Self { name, ..claim })
    }

    /// What its files are called.
    fn names(&self) -> SetNames {
        SetNames {
            layout: self.layout,
            id: self.id.clone(),
            number: self.number,
        }
    }

    /// Whether no other program takes the names that it claims, as influxd may those of a number.
    pub(super) fn has_names_of_its_own(&self) -> bool {
        self.layout == Layout::Portable
    }

    /// The stamp of the run.
    pub(super) fn id(&self) -> &SetId {
        &self.id
    }

    /// The first note of its run, which is there before the claim is. Whoever takes the run for dead
    /// removes it, with all others, before anything else: by that the run sees it.
    pub(super) fn first_note(&self) -> String {
        let (_, random) = self.name.rsplit_once('-').unwrap_or_default();
        Folder::Notes(&self.id).name_of(&format!("00000000-{random}"))
    }

    /// Writes it, and tells whether the run may go on.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or others not be looked for.
    pub(super) fn stake(&self, store: &dyn WritableStore, used: &UsedNumbers) -> Result<Standing> {
        self.write(store)?;
        self.standing(store, used)
    }

    /// Takes it back, where the run may not go on.
    ///
    /// # Errors
    ///
    /// When it cannot be removed, for another reason than that the storage forbids it.
    pub(super) fn withdraw(&self, store: &dyn WritableStore) -> Result<()> {
        tolerated(store.remove(&self.name))?;
        tolerated(store.remove(&self.first_note()))?;
        Ok(())
    }

    fn write(&self, store: &dyn WritableStore) -> Result<()> {
        let text = serde_json::to_vec(self).context("writing a claim")?;
        store.write_whole(&self.first_note(), &mut |out| out.write_all(b"\n"))?;
        store.write_whole(&self.name, &mut |out: &mut dyn Write| out.write_all(&text))
    }

    /// Whether somebody else has the stamp or the number.
    fn standing(&self, store: &dyn Store, used: &UsedNumbers) -> Result<Standing> {
        let hidden = store.list(Folder::Hidden)?;
        let others = |entry: &StoreEntry| {
            let Some((id, kind)) = own_name(&entry.name) else {
                return false;
            };
            let is_claim = claimed_number(kind).is_some();
            (is_claim || matches!(kind, RECORD | COMMIT | REMOVAL))
                && Folder::Hidden.name_of(&entry.name) != self.name
                && (self.id == id || claimed_number(kind) == Some(self.number))
        };
        let names = self.names();
        let top = store.list(Folder::Top)?;
        let is_contested =
            hidden.iter().any(others) || used.look_at(store, &top, &hidden)?.contains(&self.number);
        // Sets that share files of one that was removed still have its names, which a copy of it
        // may share too.
        let is_taken = |entry: &&StoreEntry| {
            names.is_own(&entry.name) && !(self.copied && self.uses.contains(&entry.name))
        };
        Ok(match top.iter().find(is_taken) {
            _ if is_contested => Standing::Contested,
            Some(taken) => Standing::Taken(taken.name.clone()),
            None => Standing::Free,
        })
    }

    /// How long ago its run was last heard of, by the clock of the store.
    ///
    /// # Errors
    ///
    /// When what the run notes cannot be listed.
    pub(super) fn age(&self, store: &dyn Store, claim: &StoreEntry) -> Result<Duration> {
        let notes = store.list(Folder::Notes(&self.id))?;
        let heard = notes.iter().chain([claim]).map(|entry| entry.modified);
        Ok(heard
            .map(|at| age(store, at))
            .min()
            .unwrap_or(Duration::ZERO))
    }

    /// Those of the files with these names that it claims.
    pub(super) fn claimed<'a>(
        &self,
        entries: &'a [StoreEntry],
    ) -> impl Iterator<Item = &'a StoreEntry> {
        let files: HashSet<String> = self.files.iter().cloned().collect();
        entries
            .iter()
            .filter(move |entry| files.contains(&entry.name))
    }
}

/// How long a copy may not be heard of before another copy of the set clears away what it stored.
pub(super) fn copy_patience(store: &dyn WritableStore) -> Duration {
    store.grace().min(COPY_SILENCE)
}

/// Whether a run has claimed an id.
pub(super) fn is_claimed(store: &dyn Store, id: &SetId) -> Result<bool> {
    let hidden = store.list(Folder::Hidden)?;
    let mut own = hidden.iter().filter_map(|entry| own_name(&entry.name));
    Ok(own.any(|(of, kind)| id == of && claimed_number(kind).is_some()))
}

/// How long ago something was modified, by the clock of the store; no time at all where nobody
/// knows.
pub(super) fn age(store: &dyn Store, modified: SystemTime) -> Duration {
    match modified == SystemTime::UNIX_EPOCH {
        true => Duration::ZERO,
        false => store.now().duration_since(modified).unwrap_or_default(),
    }
}

/// The claims in a list of the hidden folder that can be read.
pub(super) fn claims<'a>(
    store: &dyn Store,
    hidden: &'a [StoreEntry],
) -> Vec<(Claim, &'a StoreEntry)> {
    let is_claim = |entry: &&StoreEntry| {
        own_name(&entry.name).is_some_and(|(_, kind)| claimed_number(kind).is_some())
    };
    let read = |entry: &'a StoreEntry| Some((Claim::read(store, &entry.name).ok()?, entry));
    hidden.iter().filter(is_claim).filter_map(read).collect()
}

/// How long a run that yields waits: another one each time.
pub(super) fn random_pause(attempt: u32) -> Duration {
    let longest = match cfg!(test) {
        true => 2,
        false => 500_u64 << attempt.min(4),
    };
    Duration::from_millis(RandomState::new().hash_one(attempt) % longest)
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
