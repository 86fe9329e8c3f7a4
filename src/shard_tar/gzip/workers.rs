//! Threads that compress and decompress blocks, as many as there are cores, for the whole process.
//!
//! Work never waits for other work, and whoever asked for it takes the results in the order he
//! likes: nothing here can come to a standstill.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

/// The most cores that are used: no connection and no disk brings more than these can take.
const MOST_WORKERS: usize = 16;

/// The most blocks that all files together have under way. At two buffers for each, that is 32 MiB.
/// A file may always have one.
const MOST_PENDING: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

struct Workers {
    queue: Mutex<VecDeque<Work>>,
    has_work: Condvar,
}

/// How many results were asked for and are not taken yet.
static PENDING: AtomicUsize = AtomicUsize::new(0);

/// A result that is being worked on. Where it is dropped, the work is done for nothing.
#[derive(Debug)]
pub(super) struct Pending<T> {
    result: Receiver<T>,
    _count: Counted,
}

/// Counts as pending as long as it lives.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Self {
        PENDING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        PENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Pending<T> {
    /// Waits for the result.
    ///
    /// # Errors
    ///
    /// When the work panicked.
    pub(super) fn wait(self) -> io::Result<T> {
        let panicked = |_| io::Error::other("a thread that works on compressed blocks panicked");
        self.result.recv().map_err(panicked)
    }
}

/// Whether a file that has `own` results pending may ask for one more: as many as keep all workers
/// at it while the oldest is taken, and no more than memory is there for.
pub(super) fn has_room(own: usize) -> bool {
    own == 0 || (own <= count() && PENDING.load(Ordering::Relaxed) < MOST_PENDING)
}

/// Has `work` done by one of the threads, or at once where the system lets none begin.
pub(super) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
    let (work, pending) = pending(work);
    match workers() {
        Some(workers) => workers.push(Box::new(work)),
        None => work(),
    }
    pending
}

/// Does `work` at once, where there is nothing to do meanwhile.
pub(super) fn run_here<T>(work: impl FnOnce() -> T) -> Pending<T> {
    let (work, pending) = pending(work);
    work();
    pending
}

fn pending<T>(work: impl FnOnce() -> T) -> (impl FnOnce(), Pending<T>) {
    let (sender, result) = sync_channel(1);
    let _count = Counted::new();
    // Nobody may be left to take it.
    let work = move || drop(sender.send(work()));
    (work, Pending { result, _count })
}

fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_WORKERS))
    })
}

/// The workers, which begin when they are first needed and stay; none where no thread can begin.
fn workers() -> Option<&'static Workers> {
    static WORKERS: Workers = Workers {
        queue: Mutex::new(VecDeque::new()),
        has_work: Condvar::new(),
    };
    static STARTED: OnceLock<usize> = OnceLock::new();
    let start = |nth: &usize| {
        let thread = thread::Builder::new().name(format!("gzip-{nth}"));
        thread.spawn(|| WORKERS.work()).is_ok()
    };
    let started = STARTED.get_or_init(|| (0..count()).take_while(start).count());
    (*started > 0).then_some(&WORKERS)
}

impl Workers {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Work>> {
        // No work is done under the lock: whoever panicked has left the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, work: Work) {
        self.queue().push_back(work);
        self.has_work.notify_one();
    }

    fn work(&self) {
        loop {
            let work = self.next();
            // The work's end of the channel goes with it, and tells who waits.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Work {
        let mut queue = self.queue();
        loop {
            if let Some(work) = queue.pop_front() {
                return work;
            }
            let woken = self.has_work.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_whoever_asked_and_of_nobody_else() {
        let bad: Vec<_> = (0..2 * count())
            .map(|_| run(|| -> u8 { panic!("as a test asks") }))
            .collect();
        let good: Vec<_> = (0..100).map(|nth| run(move || nth)).collect();
        for pending in bad {
            let error = pending.wait().unwrap_err();
            assert!(error.to_string().ends_with("panicked"), "{error}");
        }
        for (nth, pending) in good.into_iter().enumerate() {
            assert_eq!(pending.wait().unwrap(), nth);
        }
    }

    #[test]
    fn results_that_nobody_takes_hold_nothing_up() {
        drop((0..1000).map(|nth| run(move || nth)).collect::<Vec<_>>());
        assert_eq!(run(|| 7).wait().unwrap(), 7);
    }

    #[test]
    fn a_file_may_always_have_one_result_pending_and_never_many() {
        assert!(has_room(0));
        assert!(!has_room(count() + 1));
    }
}
