//! Which files are needed, where no lock keeps runs apart: those of sets, of runs at work, and of
//! removals that wait for the grace period.
//!
//! Who removes files and who is about to use them look at each other, both in the same order: each
//! first writes or removes what the other looks for, and then looks itself. So whichever looks last
//! sees the other.
//!
//! | who | does first | then looks |
//! |---|---|---|
//! | a removal | removes the metastores of its sets | who needs the other files ([`Needs`]) |
//! | a run that shares files of sets | claims them | whose metastores are gone ([`going`]) |
//! | who clears away what a run stored | removes the notes of that run | who needs its files |
//! | a run that takes such files over | claims them | which notes are left |
//! | a removal | writes the `.forget` of its sets | whether increments were made meanwhile |
//! | a run that makes an increment | writes its record | whether what it builds on has a `.forget` |

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use anyhow::Result;

use super::claim::Claim;
use super::digest::FileDigest;
use super::hidden::{RECORD, REMOVAL, claimed_number, own_name};
use super::location::Location;
use super::record::SetRecord;
use super::set_id::SetId;
use super::snapshot::{is_gone, read_record};
use super::store::{Folder, Store, StoreEntry, WritableStore, read_many};
use crate::error::{ErrorKind, kind_of};

/// How often the hidden folder is looked at anew, because it changed meanwhile.
const TRIES: usize = 100;

/// Which of some files others need.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The files in question; all, where none are named.
    files: Option<HashSet<String>>,
    /// What was read: none of it ever changes.
    seen: HashSet<String>,
    /// Those that sets have, or removals that wait.
    recorded: HashMap<String, FileDigest>,
    /// Those that runs may put into their sets, or may have put there.
    claimed: HashSet<String>,
}

/// Who needs a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// A set, which has recorded this digest.
    Recorded(&'a FileDigest),
    /// A run may: when it has ended, that has to be looked at again.
    Claimed,
}

impl Needs {
    /// Of these files; nobody needs any yet.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            files: Some(files.into_iter().map(str::to_owned).collect()),
            ..Self::default()
        }
    }

    /// Notes that a set which counts has its files.
    pub(super) fn add(&mut self, record: &SetRecord) {
        let files = record.files();
        let of_interest = files.filter(|file| is_of(self.files.as_ref(), &file.name));
        self.recorded
            .extend(of_interest.map(|file| (file.name.clone(), file.digest.clone())));
    }

    /// Notes that a run needs files.
    pub(super) fn claim(&mut self, files: impl IntoIterator<Item = String>) {
        self.claimed.extend(files);
    }

    /// Who needs a file, if anybody does.
    pub(super) fn need(&self, file: &str) -> Option<Need<'_>> {
        let recorded = self.recorded.get(file).map(Need::Recorded);
        recorded.or_else(|| self.claimed.contains(file).then_some(Need::Claimed))
    }

    /// Looks who needs the files now, apart from the documents in the hidden folder that `but`
    /// names. Tells whether it is known: a document that cannot be read may name any file.
    ///
    /// # Errors
    ///
    /// When the hidden folder cannot be listed.
    pub(super) fn look(
        &mut self,
        store: &dyn WritableStore,
        but: &dyn Fn(&StoreEntry) -> bool,
    ) -> Result<bool> {
        for _ in 0..TRIES {
            let Some(hidden) = list_twice(store)? else {
                continue;
            };
            match self.read(store, &hidden, but) {
                Ok(()) => return Ok(true),
                // It was taken away or has another name since.
                Err(error) if is_gone(&error) => {}
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Reads what names files, and was not read before.
    fn read(
        &mut self,
        store: &dyn WritableStore,
        hidden: &[StoreEntry],
        but: &dyn Fn(&StoreEntry) -> bool,
    ) -> Result<()> {
        let counting = ids(hidden, |kind| kind == RECORD);
        let names_files = |entry: &&StoreEntry| match own_name(&entry.name) {
            Some((_, RECORD)) => true,
            Some((id, REMOVAL)) => !counting.contains(id),
            // Where there is a lock, no run is at work.
            Some((_, kind)) => !store.has_lock() && claimed_number(kind).is_some(),
            None => false,
        };
        let unread = hidden
            .iter()
            .filter(names_files)
            .filter(|entry| !self.seen.contains(&entry.name) && !but(entry));
        let unread: Vec<String> = unread.map(|entry| entry.name.clone()).collect();
        let files = self.files.as_ref();
        let found = read_many(store, &unread, |name| files_of(store, name, files));
        // The record of a run that has a claim still may be taken back.
        let others = hidden.iter().filter(|entry| !but(entry));
        let at_work = ids(others, |kind| claimed_number(kind).is_some());
        for (name, found) in unread.into_iter().zip(found) {
            match found? {
                NamedFiles::Recorded(files)
                    if own_name(&name).is_none_or(|(id, _)| !at_work.contains(id)) =>
                {
                    self.recorded.extend(files);
                }
                NamedFiles::Recorded(files) => {
                    self.claimed.extend(files.into_iter().map(|(name, _)| name));
                }
                NamedFiles::Claimed(files) => self.claimed.extend(files),
            }
            self.seen.insert(name);
        }
        Ok(())
    }
}

/// What a document in the hidden folder names.
enum NamedFiles {
    Recorded(Vec<(String, FileDigest)>),
    Claimed(Vec<String>),
}

/// Which of the files a document names. Nothing else of it is held.
fn files_of(
    store: &dyn Store,
    document: &str,
    files: Option<&HashSet<String>>,
) -> Result<NamedFiles> {
    let is_claim = own_name(document).is_some_and(|(_, kind)| claimed_number(kind).is_some());
    if is_claim {
        let claim = Claim::read(store, document)?;
        let named = claim.files.into_iter().chain(claim.uses);
        return Ok(NamedFiles::Claimed(
            named.filter(|file| is_of(files, file)).collect(),
        ));
    }
    let record = read_record(store, document)?;
    let named = record.files().filter(|file| is_of(files, &file.name));
    let named = named.map(|file| (file.name.clone(), file.digest.clone()));
    Ok(NamedFiles::Recorded(named.collect()))
}

/// Whether a file is one of those in question.
fn is_of(files: Option<&HashSet<String>>, file: &str) -> bool {
    files.is_none_or(|files| files.contains(file))
}

/// The ids of the documents of a kind.
fn ids<'a>(
    hidden: impl IntoIterator<Item = &'a StoreEntry>,
    is_kind: impl Fn(&str) -> bool,
) -> HashSet<&'a str> {
    let own = hidden
        .into_iter()
        .filter_map(|entry| own_name(&entry.name))
        .filter(|(_, kind)| is_kind(kind));
    own.map(|(id, _)| id).collect()
}

/// The hidden folder, if two lists of it are alike. While one is made, a record can get its other
/// name, so that it has neither in that list.
fn list_twice(store: &dyn WritableStore) -> Result<Option<Vec<StoreEntry>>> {
    let list = || store.list(Folder::Hidden);
    if store.has_lock() {
        return list().map(Some);
    }
    let names = |entries: &[StoreEntry]| -> HashSet<(String, SystemTime)> {
        let entries = entries.iter();
        entries
            .map(|entry| (entry.name.clone(), entry.modified))
            .collect()
    };
    let (before, after) = (list()?, list()?);
    Ok((names(&before) == names(&after)).then_some(after))
}

/// The sets that a removal has announced to take away: an increment is not to build on them.
///
/// # Errors
///
/// When the hidden folder cannot be listed.
pub(crate) fn announced(location: &Location) -> Result<HashSet<SetId>> {
    let store = location.store()?;
    if store.has_lock() {
        return Ok(HashSet::new());
    }
    let hidden = store.list(Folder::Hidden)?;
    let announced = ids(&hidden, |kind| kind == REMOVAL);
    Ok(announced.into_iter().map(SetId::from).collect())
}

/// Those of the files that are being removed, with a set whose metastore is gone. A set that counts
/// keeps the files that it shares with that one.
///
/// # Errors
///
/// When that cannot be found out.
pub(super) fn going(store: &dyn Store, files: &[String]) -> Result<HashSet<String>> {
    let hidden = store.list(Folder::Hidden)?;
    let counting = ids(&hidden, |kind| kind == RECORD);
    let files: HashSet<String> = files.iter().cloned().collect();
    let mut going = HashSet::new();
    for entry in &hidden {
        let is_removal = own_name(&entry.name)
            .is_some_and(|(id, kind)| kind == REMOVAL && !counting.contains(id));
        if !is_removal {
            continue;
        }
        let record = match read_record(store, &entry.name) {
            Ok(record) => record,
            // It has ended; or nobody knows what to remove.
            Err(error) if is_gone(&error) || kind_of(&error) == ErrorKind::Damage => continue,
            Err(error) => return Err(error),
        };
        let mut named = record.files().filter(|file| files.contains(&file.name));
        let Some(first) = named.next() else {
            continue;
        };
        let meta = store.entry(&record.meta.name)?;
        if !meta.is_some_and(|meta| meta.is_file_of(record.meta.size)) {
            going.extend(
                [first]
                    .into_iter()
                    .chain(named)
                    .map(|file| file.name.clone()),
            );
        }
    }
    // That of a run which still has a claim may be taken back. The newest first: that is what a
    // backup builds on.
    let at_work = ids(&hidden, |kind| claimed_number(kind).is_some());
    let mut counting: Vec<&str> = counting.difference(&at_work).copied().collect();
    counting.sort_unstable();
    while let Some(id) = counting.pop().filter(|_| !going.is_empty()) {
        if let Ok(record) = read_record(store, &format!("{id}.{RECORD}")) {
            record.files().for_each(|file| _ = going.remove(&file.name));
        }
    }
    Ok(going)
}
