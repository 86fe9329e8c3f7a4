//! Jobs that may have to be tried again later, done by several threads, some of which wait for
//! others where too many would do the same.

use std::collections::VecDeque;
use std::mem;
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cancel::Cancel;
use crate::error::{Error, kind_of};

/// How often an idle thread looks whether it is to stop.
const TICK: Duration = Duration::from_millis(200);

/// What became of one try at a job.
#[derive(Debug)]
pub(crate) enum Turn<J, R> {
    /// It is over.
    Done(R),
    /// It wants another try, not before this long from now.
    Later(J, Duration),
}

/// What allows so many threads at a time to do something, and gives each a buffer for it.
#[derive(Debug)]
pub(crate) struct Permits {
    /// The buffers of those that nobody has.
    free: Mutex<Vec<Vec<u8>>>,
    returned: Condvar,
}

/// Allows one thread to do it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    /// Empty before its first use, and passed on as it is. So there are no more than are in use at a
    /// time, whichever threads use them.
    pub buffer: Vec<u8>,
    permits: &'a Permits,
}

impl Permits {
    /// For so many threads at a time, or one.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(vec![Vec::new(); count.max(1)]),
            returned: Condvar::new(),
        }
    }

    /// Waits for one.
    ///
    /// # Errors
    ///
    /// The stop that was asked for.
    pub(crate) fn take(&self, cancel: &Cancel) -> Result<Permit<'_>, Error> {
        let mut free = lock(&self.free);
        loop {
            cancel.check()?;
            // The one that was returned last: the fewer of the buffers are ever used.
            if let Some(buffer) = free.pop() {
                let permits = self;
                return Ok(Permit { buffer, permits });
            }
            free = self
                .returned
                .wait_timeout(free, TICK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        lock(&self.permits.free).push(mem::take(&mut self.buffer));
        self.permits.returned.notify_one();
    }
}

struct Queue<I, J> {
    /// The jobs that nobody has begun. They are made one by one, as they are begun.
    fresh: I,
    /// Those to be tried again, each with the time before which it is not. First come, first served.
    waiting: VecDeque<(Instant, J)>,
    running: usize,
}

/// A job that is being done. The others learn of its end, also where it ends with a panic.
struct Running<'a, I, J> {
    queue: &'a Mutex<Queue<I, J>>,
    changed: &'a Condvar,
}

impl<I, J> Drop for Running<'_, I, J> {
    fn drop(&mut self) {
        lock(self.queue).running -= 1;
        self.changed.notify_all();
    }
}

/// Works the jobs off as [`work_for`] does. Returns the results in the order they came.
pub(super) fn work<J: Send, R: Send>(
    jobs: Vec<J>,
    threads: usize,
    cancel: &Cancel,
    turn: impl Fn(J) -> Turn<J, R> + Sync,
) -> Vec<R> {
    let mut results = Vec::new();
    work_for(jobs, threads, cancel, turn, |result| results.push(result));
    results
}

/// Works the jobs off with `threads` threads, in order, as far as waits allow. A job that waits
/// holds up no other. The calling thread is given the results as they come; jobs not begun when
/// `cancel` is set have none.
pub(super) fn work_for<J: Send, R: Send>(
    jobs: impl IntoIterator<Item = J, IntoIter: ExactSizeIterator + Send>,
    threads: usize,
    cancel: &Cancel,
    turn: impl Fn(J) -> Turn<J, R> + Sync,
    mut take: impl FnMut(R),
) {
    let fresh = jobs.into_iter();
    let threads = threads.clamp(1, fresh.len().max(1));
    let queue = Mutex::new(Queue {
        fresh,
        waiting: VecDeque::new(),
        running: 0,
    });
    let changed = Condvar::new();
    let (done, results) = mpsc::sync_channel(threads);
    let (queue, changed, turn) = (&queue, &changed, &turn);
    thread::scope(|scope| {
        for _ in 0..threads {
            let done = done.clone();
            scope.spawn(move || {
                while let Some(job) = next(queue, changed, cancel) {
                    let running = Running { queue, changed };
                    match turn(job) {
                        // Nobody wants it after a panic, which the scope passes on.
                        Turn::Done(result) => drop(done.send(result)),
                        Turn::Later(job, wait) => {
                            let due = Instant::now() + wait;
                            lock(queue).waiting.push_back((due, job));
                        }
                    }
                    drop(running);
                }
            });
        }
        drop(done);
        results.into_iter().for_each(&mut take);
    });
}

/// What there is to do, in order. It gives back memory while it is worked off, for the results take
/// as much.
#[derive(Debug)]
pub(super) struct ToDo<T>(VecDeque<T>);

impl<T> From<Vec<T>> for ToDo<T> {
    fn from(all: Vec<T>) -> Self {
        Self(all.into())
    }
}

impl<T> Iterator for ToDo<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let next = self.0.pop_front();
        if self.0.len() <= self.0.capacity() / 2 {
            self.0.shrink_to_fit();
        }
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl<T> ExactSizeIterator for ToDo<T> {}

/// What came of jobs that can fail.
pub(super) struct Outcomes<R> {
    done: Vec<R>,
    /// The first error that is not merely the stop which followed another's error, or that stop.
    error: Option<anyhow::Error>,
}

impl<R> Outcomes<R> {
    /// Of at most so many jobs.
    pub(super) fn of(jobs: usize) -> Self {
        Self {
            done: Vec::with_capacity(jobs),
            error: None,
        }
    }

    pub(super) fn add(&mut self, result: Result<R>) {
        match result {
            Ok(result) => self.done.push(result),
            Err(error) => {
                let is_stop = |error| kind_of(error).is_stop();
                let told = self.error.as_ref();
                if told.is_none_or(|told| is_stop(told) && !is_stop(&error)) {
                    self.error = Some(error);
                }
            }
        }
    }

    /// All results, or the error.
    ///
    /// # Errors
    ///
    /// That error.
    pub(super) fn all(self) -> Result<Vec<R>> {
        self.error.map_or(Ok(self.done), Err)
    }
}

/// All results, or the first error that is not merely the stop which followed another's error.
///
/// # Errors
///
/// That error.
pub(super) fn all<R>(results: Vec<Result<R>>) -> Result<Vec<R>> {
    let mut outcomes = Outcomes::of(results.len());
    results.into_iter().for_each(|result| outcomes.add(result));
    outcomes.all()
}

/// Waits for a job that is due. `None` when there will be none any more.
fn next<J>(
    queue: &Mutex<Queue<impl Iterator<Item = J>, J>>,
    changed: &Condvar,
    cancel: &Cancel,
) -> Option<J> {
    let mut queue = lock(queue);
    loop {
        if cancel.is_cancelled() {
            return None;
        }
        if let Some(job) = queue.fresh.next() {
            queue.running += 1;
            return Some(job);
        }
        if queue.waiting.is_empty() && queue.running == 0 {
            return None;
        }
        let now = Instant::now();
        let due = queue.waiting.iter().position(|(at, _)| *at <= now);
        if let Some((_, job)) = due.and_then(|due| queue.waiting.remove(due)) {
            queue.running += 1;
            return Some(job);
        }
        let soonest = queue
            .waiting
            .iter()
            .map(|(at, _)| at.saturating_duration_since(now))
            .min();
        let wait = soonest.unwrap_or(TICK).min(TICK);
        queue = changed
            .wait_timeout(queue, wait)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked ends the run when the scope joins it; what it left is consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_job_that_waits_does_not_hold_up_the_others() {
        let results = work(
            vec![(1, 0), (2, 0), (3, 0)],
            2,
            &Cancel::default(),
            |(id, tries)| {
                if id == 1 && tries < 3 {
                    Turn::Later((id, tries + 1), Duration::from_millis(20))
                } else {
                    Turn::Done((id, tries))
                }
            },
        );
        assert_eq!(results.len(), 3);
        assert_eq!(results[2], (1, 3));
    }

    #[test]
    fn what_there_is_to_do_comes_in_order_and_takes_less_and_less_memory() {
        let mut to_do = ToDo::from((0..1000).collect::<Vec<i32>>());
        for expected in 0..1000 {
            assert_eq!(to_do.len(), 1000 - expected as usize);
            assert_eq!(to_do.next(), Some(expected));
            assert!(to_do.0.capacity() <= 2 * to_do.len().max(2));
        }
        assert_eq!(to_do.next(), None);
    }

    #[test]
    fn no_more_threads_have_a_permit_than_there_are_and_all_get_one() {
        let permits = Permits::new(2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results = work((0..20).collect(), 8, &Cancel::default(), |job: i32| {
            let _permit = permits.take(&Cancel::default()).unwrap();
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            Turn::Done(job)
        });
        assert_eq!((results.len(), most.into_inner()), (20, 2));
    }

    #[test]
    fn a_stop_ends_the_wait_for_a_permit() {
        let permits = Permits::new(0);
        let cancel = Cancel::default();
        let held = permits.take(&cancel).unwrap();
        cancel.cancel();
        assert!(permits.take(&cancel).is_err());
        drop(held);
        assert!(permits.take(&cancel).is_err());
        assert!(permits.take(&Cancel::default()).is_ok());
    }

    #[test]
    fn the_error_that_stopped_the_others_is_the_one_that_is_told() {
        let stopped = || {
            Err::<(), _>(anyhow::Error::from(
                ErrorKind::Terminated.error("terminated"),
            ))
        };
        let results = vec![
            Ok(()),
            stopped(),
            Err(anyhow::anyhow!("disk full")),
            stopped(),
        ];
        assert_eq!(all(results).unwrap_err().to_string(), "disk full");
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_in_one_job_ends_the_run_and_keeps_nobody_waiting() {
        work(vec![1, 2, 3], 2, &Cancel::default(), |id| {
            assert_ne!(id, 1, "as a test asks");
            Turn::<i32, i32>::Done(id)
        });
    }

    #[test]
    fn nothing_is_begun_once_a_stop_was_asked_for() {
        let cancel = Cancel::default();
        let results = work(vec![1, 2, 3], 1, &cancel, |id| {
            cancel.cancel();
            Turn::<i32, i32>::Done(id)
        });
        assert_eq!(results, [1]);
    }
}
