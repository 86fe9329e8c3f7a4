//! Making files last while others are written: who writes them does not wait for the disk.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use super::durable;
use crate::cancel::Cancel;

/// How many files may wait to be synced. Each is open.
const MOST_WAITING: usize = 32;

/// Takes what is to be made to last.
pub(crate) struct SyncQueue(SyncSender<ToSync>);

enum ToSync {
    File(Arc<File>, PathBuf),
    Directory(PathBuf),
}

impl SyncQueue {
    /// Has a file synced to which nothing more is written. It stays open until then: what the
    /// system could not write is told to those who had it open.
    pub(crate) fn file(&self, file: Arc<File>, path: PathBuf) {
        self.put(ToSync::File(file, path));
    }

    /// Has the names in a directory synced.
    pub(crate) fn directory(&self, path: PathBuf) {
        self.put(ToSync::Directory(path));
    }

    /// Waits while many others wait.
    fn put(&self, to_sync: ToSync) {
        // Without a receiver, a panic ends the run.
        let _ = self.0.send(to_sync);
    }
}

/// Runs `work`, and meanwhile syncs, in `threads` threads, what it puts into the queue. Returns its
/// result with that of the syncs, all of which are over then.
///
/// A sync that fails cancels `stop`, and no other is begun once that was cancelled.
pub(crate) fn sync_behind<T>(
    threads: usize,
    stop: &Cancel,
    work: impl FnOnce(&SyncQueue) -> T,
) -> (T, Result<()>) {
    let (sender, receiver) = mpsc::sync_channel(MOST_WAITING);
    let receiver = Arc::new(Mutex::new(receiver));
    thread::scope(|scope| {
        let syncing: Vec<_> = (0..threads.max(1))
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                scope.spawn(move || sync_all(&receiver, stop))
            })
            .collect();
        // It goes with the last thread: nobody waits to put what none is left to take.
        drop(receiver);
        let queue = SyncQueue(sender);
        let done = work(&queue);
        drop(queue);
        let synced = syncing.into_iter().map(|thread| {
            let joined = thread.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        // All are waited for, before the first error is looked for.
        let synced: Vec<Result<()>> = synced.collect();
        (done, synced.into_iter().collect())
    })
}

fn sync_all(queue: &Mutex<Receiver<ToSync>>, stop: &Cancel) -> Result<()> {
    let mut outcome = Ok(());
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(to_sync) = next else {
            return outcome;
        };
        // What waits is taken all the same: somebody may wait to put more behind it.
        if stop.is_cancelled() {
            continue;
        }
        let synced = match to_sync {
            ToSync::File(file, path) => durable::sync(&file, &path),
            ToSync::Directory(path) => durable::sync_dir(&path),
        };
        if synced.is_err() {
            stop.cancel();
            outcome = synced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_synced_when_the_work_is_over_however_much_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let stop = Cancel::default();
        let (files, synced) = sync_behind(2, &stop, |queue| {
            for number in 0..5 * MOST_WAITING {
                let path = folder.path().join(number.to_string());
                queue.file(Arc::new(File::create(&path).unwrap()), path);
            }
            queue.directory(folder.path().to_owned());
            5 * MOST_WAITING
        });
        synced.unwrap();
        assert_eq!(files, folder.path().read_dir().unwrap().count());
    }

    #[test]
    fn a_sync_that_fails_stops_the_work_and_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let stop = Cancel::default();
        let gone = folder.path().join("gone");
        let ((), synced) = sync_behind(1, &stop, |queue| {
            for _ in 0..5 * MOST_WAITING {
                queue.directory(gone.clone());
            }
        });
        let error = format!("{:#}", synced.unwrap_err());
        assert!(error.contains("gone: No such file"), "{error}");
        assert!(stop.is_cancelled());
    }
}
