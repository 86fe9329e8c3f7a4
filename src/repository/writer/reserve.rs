//! What a set and its files are called, and how others are kept away from these names.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::alive::{Heartbeat, SignsOfLife};
use super::{NAME_TRIES, SetWriter};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::repository::claim::{Claim, Standing, random_pause};
use crate::repository::hidden::{COMMIT, RECORD, REMOVAL, UNFINISHED, name_of};
use crate::repository::layout::Layout;
use crate::repository::needs::going;
use crate::repository::resume::ResumableRun;
use crate::repository::set_id::SetId;
use crate::repository::set_names::SetNames;
use crate::repository::store::{Store, is_there};
use crate::repository::{manifest, names};
use crate::shard::ShardPath;
use crate::text::age;
use crate::{retry, time};

/// How long a run waits for a second whose stamp no set has.
const STAMP_PATIENCE: Duration = Duration::from_secs(60);

impl SetWriter {
    /// Decides what the files of a set of these shards are called, and has other runs keep away from
    /// the names, and from the files of other sets that may be `shared`. To be called before any file
    /// is made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where the file system does not take a name; when no names are to be
    /// had.
    pub(crate) fn reserve(
        &mut self,
        layout: Layout,
        shards: &[&ShardPath],
        shared: &[String],
        cancel: &Cancel,
    ) -> Result<()> {
        self.try_names(layout, shards)?;
        if self.store.has_lock() {
            // Somebody without our lock may take it before the commit: it looks again.
            self.names = Some(self.names_with(layout, self.free_number()?));
            return Ok(());
        }
        for attempt in 0..NAME_TRIES {
            cancel.check()?;
            if attempt > 0 {
                retry::pause(random_pause(attempt), cancel)?;
                match &self.copied {
                    Some(copied) => copied.ensure_free(&*self.store)?,
                    None => self.id = free_stamp(&*self.store, cancel)?.0,
                }
            }
            let names = self.names_with(layout, self.free_number()?);
            let uses = [shared, &self.used_files()].concat();
            let claim = Claim::new(&names, self.started, shards, uses);
            let claim = claim.copied(self.copied.is_some());
            let standing = claim.stake(&*self.store, &self.used)?;
            if standing == Standing::Free {
                // Whoever did not see that the run is at work may remove what has its names, so it
                // does not try these again.
                self.ensure_alive(&claim)?;
                self.staged.clone_from(&self.id);
                (self.names, self.claim) = (Some(names), Some(claim));
                return self.begin_claimed(shared);
            }
            // Where it stays, its number is lost, and nothing else.
            claim.withdraw(&*self.store)?;
            if let (Standing::Taken(name), Some(copied)) = (standing, &self.copied) {
                return Err(copied.taken(&self.store.place_of(&name)).into());
            }
        }
        let place = self.store.place();
        bail!("other runs begin in {place} all the time: no names were free in {NAME_TRIES} tries")
    }

    /// Begins a run that has its claim. What is taken over, or shared, has to be there still, now
    /// that the claim protects it.
    fn begin_claimed(&mut self, shared: &[String]) -> Result<()> {
        let signs = SignsOfLife::of(&self.store, &self.id, self.copied.is_some());
        self.heartbeat = Heartbeat::of(&signs);
        self.signs = Some(signs);
        if let Some(earlier) = self.resumable.take() {
            self.resumable = ResumableRun::read(&self.store, earlier.staged());
        }
        if !shared.is_empty() {
            self.going = going(&*self.store, shared)?;
        }
        Ok(())
    }

    /// A number that the set may get.
    pub(super) fn free_number(&self) -> Result<u32> {
        let store = &*self.store;
        let Some(copied) = &self.copied else {
            return self.used.next(store);
        };
        let number = copied.number_beside(&self.used.all(store)?);
        Ok(number.ok_or_else(|| copied.no_number(store))?)
    }

    pub(super) fn names_with(&self, layout: Layout, number: u32) -> SetNames {
        SetNames {
            layout,
            id: self.id.clone(),
            number,
        }
    }

    /// The names of the files that may be taken over, where they have their final names.
    pub(super) fn used_files(&self) -> Vec<String> {
        let resumable = self.resumable.iter();
        resumable.flat_map(ResumableRun::named_files).collect()
    }

    /// Whether a file of another set can be shared: nobody removes it while this run goes on.
    pub(crate) fn may_share(&self, name: &str) -> bool {
        let is_claimed = |claim: &Claim| claim.uses.iter().any(|file| file == name);
        self.store.has_lock()
            || (self.claim.as_ref().is_some_and(is_claimed) && !self.going.contains(name))
    }

    pub(in crate::repository) fn names(&self) -> Result<&SetNames> {
        self.names.as_ref().context("no names were reserved")
    }

    /// Makes sure that the file system takes the names that files of shards get in the legacy
    /// layout, before any is downloaded. Not all take colons, quotes or all of Unicode.
    pub(super) fn try_names(&self, layout: Layout, shards: &[&ShardPath]) -> Result<()> {
        if layout == Layout::Portable {
            return Ok(());
        }
        // The numbers behind the names are harmless anywhere.
        let mut tried = HashSet::new();
        for shard in shards {
            if !tried.insert((&shard.database, &shard.retention_policy)) {
                continue;
            }
            let stem = names::shard_stem(shard);
            if let Some(error) = self.store.try_name(&self.staged, &stem)? {
                let place = self.store.place();
                let fault = ErrorKind::Refused.error(format!(
                    "the file system of {place} does not take the name of shard {shard}"
                ));
                let fault = fault.hint("with -portable the file is named by the shard's id alone");
                return Err(anyhow::Error::from(error).context(fault));
            }
        }
        Ok(())
    }
}

/// Whether a set, or what is left of one, has an id.
fn is_taken(store: &dyn Store, id: &SetId) -> Result<bool> {
    let hidden = [RECORD, COMMIT, REMOVAL, UNFINISHED].map(|kind| name_of(id, kind));
    let visible = [manifest::manifest_file, manifest::meta_file].map(|name| name(id.as_str()));
    for name in hidden.iter().chain(&visible) {
        if is_there(store, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A stamp that no set has, and its time. There is one a second: a second run within it waits for
/// the next.
pub(super) fn free_stamp(store: &dyn Store, cancel: &Cancel) -> Result<(SetId, Timestamp)> {
    let begun = Instant::now();
    while begun.elapsed() < STAMP_PATIENCE {
        let now = Timestamp::try_from(store.now())?;
        let id = SetId::from(time::stamp(now));
        if !is_taken(store, &id)? {
            return Ok((id, now));
        }
        cancel.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let place = store.place();
    Err(ErrorKind::Failed
        .error(format!(
            "every stamp of the last {} is taken in {place}",
            age(STAMP_PATIENCE)
        ))
        .hint(
            "was the clock of this machine set back? Then wait until it is ahead of the newest set",
        )
        .into())
}
