//! What a run adds to a file that grows: a numbered object each time. What comes soon after an
//! object was written is held back for a moment and written with what follows, so that a run of
//! many small shards does not make, and remove, an object for each.
//!
//! A run that is killed loses what it held back, which is the work of a few seconds. By its notes
//! others also see that it is alive; these seconds are short beside the time after which they take
//! it for dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use object_store::PutMode;

use super::remote::Remote;
use super::upload::put;
use crate::error::Error;
use crate::web::runtime;

/// How long something is held back, at most.
const LONGEST: Duration = Duration::from_secs(5);
/// The least share of the grace period for which it is not.
const OF_GRACE: u32 = 64;

/// All files to which this process has added.
#[derive(Debug)]
pub(super) struct Notes {
    remote: Arc<Remote>,
    /// The time between two objects.
    pause: Duration,
    files: Mutex<HashMap<String, Growing>>,
    /// Whoever has it writes or removes objects: one at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A file that grows.
#[derive(Debug, Default)]
struct Growing {
    held_back: Vec<u8>,
    /// How many objects it has.
    pieces: u32,
    /// When the last of them was begun.
    last: Option<Instant>,
    /// Whether a task waits for the end of the pause.
    is_awaited: bool,
    /// Why that task could not write.
    failed: Option<Error>,
}

impl Notes {
    pub(super) fn new(remote: &Arc<Remote>, grace: Duration) -> Self {
        Self {
            remote: remote.clone(),
            pause: LONGEST.min(grace / OF_GRACE),
            files: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Adds something to a file. A blank line is a sign of life, and is never held back.
    pub(super) fn add(self: &Arc<Self>, name: &str, bytes: &[u8]) -> Result<()> {
        let mut files = self.files();
        let file = files.entry(name.to_owned()).or_default();
        if let Some(failed) = file.failed.take() {
            return Err(failed.into());
        }
        file.held_back.extend_from_slice(bytes);
        let since = file.last.map(|last| last.elapsed());
        let pause = since.map_or(Duration::ZERO, |since| self.pause.saturating_sub(since));
        if pause.is_zero() || bytes.trim_ascii().is_empty() {
            drop(files);
            return self.write(name);
        }
        if !std::mem::replace(&mut file.is_awaited, true) {
            self.write_after(pause, name)?;
        }
        Ok(())
    }

    /// Writes what is held back of a file.
    pub(super) fn write(self: &Arc<Self>, name: &str) -> Result<()> {
        let (notes, name) = (self.clone(), name.to_owned());
        let written = self
            .remote
            .wait(async move { notes.write_piece(&name).await })?;
        Ok(written?)
    }

    /// Forgets what is held back of the files in a folder that is to be removed. Nothing is being
    /// written there afterwards.
    pub(super) fn forget(self: &Arc<Self>, folder: &str) -> Result<()> {
        let (notes, below) = (self.clone(), format!("{folder}/"));
        self.remote.wait(async move {
            let _turn = notes.turn.lock().await;
            for (name, file) in notes.files().iter_mut() {
                if name.starts_with(&below) {
                    file.held_back.clear();
                }
            }
        })?;
        Ok(())
    }

    fn write_after(self: &Arc<Self>, pause: Duration, name: &str) -> Result<(), Error> {
        let (notes, name) = (self.clone(), name.to_owned());
        runtime::handle()?.spawn(async move {
            tokio::time::sleep(pause).await;
            let written = notes.write_piece(&name).await;
            if let Some(file) = notes.files().get_mut(&name) {
                file.is_awaited = false;
                file.failed = written.err();
            }
        });
        Ok(())
    }

    async fn write_piece(&self, name: &str) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let Some((piece, content)) = self.next_piece(name) else {
            return Ok(());
        };
        let length = content.len();
        put(&self.remote, &piece, content, PutMode::Create).await?;
        if let Some(file) = self.files().get_mut(name) {
            file.held_back.drain(..length);
        }
        Ok(())
    }

    /// The name and the content of the next object of a file, if there is anything to write. It
    /// stays held back until it is written.
    fn next_piece(&self, name: &str) -> Option<(String, Bytes)> {
        let mut files = self.files();
        let file = files.get_mut(name)?;
        if file.held_back.is_empty() {
            return None;
        }
        file.pieces += 1;
        file.last = Some(Instant::now());
        let content = Bytes::copy_from_slice(&file.held_back);
        Some((format!("{name}/{:08}", file.pieces), content))
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, Growing>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
