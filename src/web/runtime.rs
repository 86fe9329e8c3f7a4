//! Where requests over HTTP run: on one thread of its own, made at the first use. Whoever
//! waits for one can be stopped.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};

/// How often somebody who waits looks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// The thread's runtime.
pub(crate) fn handle() -> Result<Handle, Error> {
    static HANDLE: OnceLock<Result<Handle, String>> = OnceLock::new();
    let started = HANDLE.get_or_init(|| start().map_err(|error| error.to_string()));
    started.clone().map_err(|error| {
        ErrorKind::Failed.error(format!("starting a thread for the network: {error}"))
    })
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Waits for what a future gives.
///
/// # Errors
///
/// When a stop is asked for meanwhile; the future is dropped then.
pub(crate) fn wait<T: Send + 'static>(
    cancel: &Cancel,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let (send, receive) = mpsc::sync_channel(1);
    let task = handle()?.spawn(async move {
        let _ = send.send(future.await);
    });
    loop {
        match receive.recv_timeout(TICK) {
            Ok(given) => return Ok(given),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(stop) = cancel.check() {
                    task.abort();
                    return Err(stop);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ErrorKind::Failed.error("a request ended without an answer"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_given_the_result_or_stops() {
        let cancel = Cancel::default();
        assert_eq!(wait(&cancel, async { 7 }).unwrap(), 7);
        let stopping = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            stopping.cancel();
        });
        let stopped = wait(&cancel, std::future::pending::<()>()).unwrap_err();
        assert_eq!(stopped.kind, ErrorKind::Terminated);
    }
}
