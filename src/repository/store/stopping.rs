//! A store in which a run is stopped, for tests: for good, as if it were killed, or while another run
//! takes its turn.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};

use super::write::{Content, retire_in_steps};
use super::{Folder, Hold, StagedObject, Store, StoreEntry, StoreLock, StoredFile, WritableStore};
use crate::cancel::Cancel;
use crate::repository::set_id::SetId;

/// A store whose process does not take every step.
#[derive(Debug)]
pub(crate) struct Stopping {
    store: Arc<dyn WritableStore>,
    stop: Stop,
}

#[derive(Debug)]
enum Stop {
    /// After so many steps that change something, no other is taken.
    After(AtomicUsize),
    /// Each step, to look as well, waits for the turn of this run.
    Turns(Arc<Turns>, usize),
}

impl Stopping {
    /// One that takes so many steps in another.
    pub(crate) fn after(steps: usize, store: &Arc<dyn WritableStore>) -> Self {
        Self {
            store: store.clone(),
            stop: Stop::After(AtomicUsize::new(steps)),
        }
    }

    /// One of a run that takes turns with others.
    pub(crate) fn in_turns(turns: &Arc<Turns>, run: usize, store: &Arc<dyn WritableStore>) -> Self {
        Self {
            store: store.clone(),
            stop: Stop::Turns(turns.clone(), run),
        }
    }

    fn step(&self) -> Result<&dyn WritableStore> {
        let one_less = |left: usize| left.checked_sub(1);
        let is_alive = match &self.stop {
            Stop::After(left) => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok(),
            Stop::Turns(turns, run) => turns.wait_for(*run),
        };
        ensure!(is_alive, "killed");
        Ok(&*self.store)
    }

    fn look(&self) -> Result<&dyn WritableStore> {
        match &self.stop {
            Stop::After(_) => Ok(&*self.store),
            Stop::Turns(..) => self.step(),
        }
    }
}

/// Whose turn it is, and for how many steps.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<TurnState>,
    next: Condvar,
}

#[derive(Debug)]
struct TurnState {
    /// The run and its steps; who is in none of them any more is killed.
    left: VecDeque<(usize, usize)>,
    /// The run that was let take a step, which is done when it asks for another.
    at_work: Option<usize>,
}

impl Turns {
    /// It is the turn of one run without end.
    pub(crate) fn of(run: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(TurnState {
                left: [(run, usize::MAX)].into(),
                at_work: None,
            }),
            next: Condvar::new(),
        })
    }

    /// From now on, these are the turns of runs, each of so many steps.
    pub(crate) fn set(&self, turns: impl IntoIterator<Item = (usize, usize)>) {
        self.state.lock().unwrap().left = turns.into_iter().collect();
    }

    /// Waits until a run may take a step; whether it may take any.
    fn wait_for(&self, run: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        self.rest(&mut state, run);
        loop {
            while state.left.front().is_some_and(|(_, steps)| *steps == 0) {
                state.left.pop_front();
                self.next.notify_all();
            }
            if state.left.iter().all(|(of, _)| *of != run) {
                return false;
            }
            let is_free = state.at_work.is_none();
            match state.left.front_mut() {
                Some((of, steps)) if *of == run && is_free => {
                    *steps -= 1;
                    state.at_work = Some(run);
                    return true;
                }
                _ => state = self.next.wait(state).unwrap(),
            }
        }
    }

    /// A run has ended: it is the turn of the others. Tells how many turns it did not use up.
    pub(crate) fn end(&self, run: usize) -> usize {
        let mut state = self.state.lock().unwrap();
        self.rest(&mut state, run);
        let unused = state
            .left
            .iter()
            .filter(|(of, steps)| *of == run && *steps > 0);
        let unused = unused.count();
        state.left.retain(|(of, _)| *of != run);
        self.next.notify_all();
        unused
    }

    /// The last step of a run is done.
    fn rest(&self, state: &mut TurnState, run: usize) {
        if state.at_work == Some(run) {
            state.at_work = None;
            self.next.notify_all();
        }
    }
}

impl Store for Stopping {
    fn place(&self) -> String {
        self.store.place()
    }

    fn place_of(&self, name: &str) -> String {
        self.store.place_of(name)
    }

    fn list(&self, folder: Folder<'_>) -> Result<Vec<StoreEntry>> {
        self.look()?.list(folder)
    }

    fn entry(&self, name: &str) -> Result<Option<StoreEntry>> {
        self.look()?.entry(name)
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        self.look().map_err(io::Error::other)?.open(name)
    }

    fn open_appended(&self, name: &str) -> io::Result<StoredFile> {
        let store = self.look().map_err(io::Error::other)?;
        store.open_appended(name)
    }

    fn concurrency(&self) -> usize {
        match &self.stop {
            Stop::After(_) => self.store.concurrency(),
            Stop::Turns(..) => 1,
        }
    }

    fn now(&self) -> SystemTime {
        self.store.now()
    }

    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        self.store.hold(name)
    }

    fn is_held(&self, name: &str) -> Result<bool> {
        self.store.is_held(name)
    }

    fn is_locked(&self) -> bool {
        self.store.is_locked()
    }

    fn expect_holds(&self, count: usize) {
        self.store.expect_holds(count);
    }
}

impl WritableStore for Stopping {
    fn lock(&self, wait: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>> {
        self.step()?.lock(wait, cancel)
    }

    fn stage(&self, set: &SetId, earlier: Option<&SetId>) -> Result<()> {
        self.step()?.stage(set, earlier)
    }

    fn has_lock(&self) -> bool {
        self.store.has_lock()
    }

    fn grace(&self) -> Duration {
        self.store.grace()
    }

    fn create(&self, set: &SetId, name: &str) -> Result<Box<dyn StagedObject>> {
        match &self.stop {
            Stop::After(_) => self.step()?.create(set, name),
            Stop::Turns(turns, run) => Ok(Box::new(ObjectInTurns {
                turns: turns.clone(),
                run: *run,
                object: self.store.create(set, name)?,
            })),
        }
    }

    fn share(&self, name: &str, set: &SetId) -> Result<String> {
        self.step()?.share(name, set)
    }

    fn scratch(&self, set: &SetId) -> PathBuf {
        self.store.scratch(set)
    }

    fn try_name(&self, set: &SetId, file: &str) -> Result<Option<io::Error>> {
        self.step()?.try_name(set, file)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.step()?.append(name, bytes)
    }

    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()> {
        self.step()?.write_whole(name, content)
    }

    fn give_name(&self, staged: &str, name: &str) -> io::Result<()> {
        let store = self.step().map_err(io::Error::other)?;
        store.give_name(staged, name)
    }

    fn take_back(&self, name: &str, staged: &str) -> Result<()> {
        self.step()?.take_back(name, staged)
    }

    fn retire(&self, record: &str, removal: &str) -> Result<bool> {
        if matches!(self.stop, Stop::Turns(..)) && !self.has_lock() {
            retire_in_steps(self, record, removal)?;
            return Ok(true);
        }
        self.step()?.retire(record, removal)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.step()?.remove(name)
    }

    fn remove_tree(&self, name: &str) -> Result<()> {
        self.step()?.remove_tree(name)
    }

    fn settle(&self, folder: Folder<'_>) -> Result<()> {
        self.step()?.settle(folder)
    }

    fn abort_stale(&self) -> Result<()> {
        self.step()?.abort_stale()
    }
}

/// An object that appears when it is the turn of its run.
#[derive(Debug)]
struct ObjectInTurns {
    turns: Arc<Turns>,
    run: usize,
    object: Box<dyn StagedObject>,
}

impl StagedObject for ObjectInTurns {
    fn seal(self: Box<Self>) -> Result<String> {
        ensure!(self.turns.wait_for(self.run), "killed");
        self.object.seal()
    }
}

impl Write for ObjectInTurns {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.object.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}
