//! Being asked to stop: one token that everything long-running looks at.

use std::fs;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::error::{Error, ErrorKind};

/// The token of this process's signals.
static OF_PROCESS: OnceLock<Cancel> = OnceLock::new();

/// Says whether the run is to stop. Clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    /// The signal that came in, 0 while there was none.
    signal: Arc<AtomicUsize>,
    /// The token this one follows.
    parent: Option<Arc<Self>>,
}

impl Cancel {
    /// A token that Ctrl-C, SIGTERM and SIGHUP set. A second one of the first two ends the process
    /// at once; SIGHUP comes twice where a shell passes it on. What whoever started this process
    /// had it ignore stays ignored: SIGHUP under nohup, Ctrl-C in the background of a script.
    ///
    /// # Errors
    ///
    /// When the system refuses the signal handlers.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let cancel = Self::default();
        let ignored = ignored_signals();
        let is_ignored = |signal: i32| ignored.map(|ignored| ignored >> (signal - 1) & 1 == 1);
        // Where the system does not say, nohup is trusted to be what it is used for.
        if is_ignored(SIGHUP) == Some(false) {
            let state = Arc::clone(&cancel.signal);
            signal_hook::flag::register_usize(SIGHUP, state, SIGHUP as usize)?;
        }
        for signal in [SIGINT, SIGTERM] {
            if signal == SIGINT && is_ignored(SIGINT) == Some(true) {
                continue;
            }
            let seen = Arc::new(std::sync::atomic::AtomicBool::new(false));
            // Order matters: the shutdown is armed by the first signal and fires on the second.
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&seen),
            )?;
            signal_hook::flag::register(signal, seen)?;
            signal_hook::flag::register_usize(signal, Arc::clone(&cancel.signal), signal as usize)?;
        }
        // It would end the process where a file grows beyond the limit of its user; caught, the
        // write fails and says so.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let _ = OF_PROCESS.set(cancel.clone());
        Ok(cancel)
    }

    /// The token that signals set, for whoever waits and is given none; one that nobody sets where
    /// signals set none.
    #[cfg(feature = "object-store")]
    pub(crate) fn of_process() -> Self {
        OF_PROCESS.get().cloned().unwrap_or_default()
    }

    /// A token that is set with this one, and can be set without it.
    pub fn child(&self) -> Self {
        Self {
            signal: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }

    /// Asks for a stop, as SIGTERM does.
    pub fn cancel(&self) {
        self.signal.store(SIGTERM as usize, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.signal() != 0
    }

    fn signal(&self) -> usize {
        match self.signal.load(Ordering::Relaxed) {
            0 => self.parent.as_ref().map_or(0, |parent| parent.signal()),
            signal => signal,
        }
    }

    /// Fails once a stop was asked for.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the kind that belongs to the signal.
    pub fn check(&self) -> Result<(), Error> {
        match self.signal() {
            0 => Ok(()),
            signal if signal == SIGINT as usize => Err(ErrorKind::Interrupted.error("interrupted")),
            signal if signal == SIGHUP as usize => {
                Err(ErrorKind::HungUp
                    .error("hung up: the terminal or the session is gone (SIGHUP)"))
            }
            _ => Err(ErrorKind::Terminated.error("terminated")),
        }
    }
}

/// The signals that this process was told to ignore before it began, a bit each from SIGHUP's on;
/// Linux says.
fn ignored_signals() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// A reader that fails once a stop was asked for.
#[derive(Debug)]
pub(crate) struct Stoppable<'a, R> {
    pub inner: R,
    /// Who may ask for a stop.
    pub cancel: &'a Cancel,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stops_all_below_it_and_none_above() {
        let process = Cancel::default();
        let (run, other) = (process.child(), process.child());
        let job = run.child();
        assert!(!job.is_cancelled());
        run.cancel();
        assert!(job.is_cancelled() && !other.is_cancelled() && !process.is_cancelled());
        process.cancel();
        assert!(other.child().is_cancelled());
    }

    #[test]
    fn a_signal_reaches_a_token_at_any_depth() {
        let process = Cancel::default();
        let job = process.child().child().child();
        process.signal.store(SIGINT as usize, Ordering::Relaxed);
        assert_eq!(job.check().unwrap_err().kind, ErrorKind::Interrupted);
    }
}
