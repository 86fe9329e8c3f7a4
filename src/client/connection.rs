//! The reply as a reader that never waits longer than it was told to and stops when asked to.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

use super::rate::RateLimit;
use super::timeouts::Timeouts;
use crate::cancel::Cancel;
use crate::error;
use crate::io::stream::Stream;
use crate::text::age;

/// How often a waiting read looks at the clock and at the cancel token.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A reply being read. Its errors carry a [`Stalled`] or the cancel token's [`error::Error`] where
/// it was not the socket that failed.
#[derive(Debug)]
pub struct Reply {
    stream: Stream,
    timeouts: Timeouts,
    deadline: Instant,
    last_byte: Instant,
    received: u64,
    sent: Stopwatch,
    /// How long after the request the first byte came.
    first_after: Option<Duration>,
    /// What came with the first byte, while nobody has read it.
    held: Vec<u8>,
    cancel: Cancel,
    limit: Option<RateLimit>,
}

impl Reply {
    /// The reply to a request that was begun to be sent when `sent` was started.
    pub(super) fn new(
        stream: Stream,
        sent: Stopwatch,
        timeouts: Timeouts,
        deadline: Instant,
        cancel: Cancel,
        limit: Option<RateLimit>,
    ) -> io::Result<Self> {
        stream.set_read_timeout(TICK.min(timeouts.idle).max(Duration::from_millis(1)))?;
        Ok(Self {
            stream,
            timeouts,
            deadline,
            last_byte: Instant::now(),
            received: 0,
            sent,
            first_after: None,
            held: Vec::new(),
            cancel,
            limit,
        })
    }

    /// Waits for the first byte, which stays to be read; how long after the request was begun to be
    /// sent it was here. `None` where the peer closed without one. Making the connection does not
    /// count, nor does a limit on the rate.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn first_byte(&mut self) -> io::Result<Option<Duration>> {
        if self.received == 0 {
            let mut first = [0; 512];
            let count = self.receive(&mut first)?;
            if count > 0 {
                self.first_after = Some(self.sent.elapsed());
                self.held.extend_from_slice(&first[..count]);
            }
        }
        Ok(self.first_after)
    }

    /// Waits for its share of the rate, where that is limited; how many of `length` bytes to move
    /// then.
    fn portion(&mut self, length: usize) -> io::Result<usize> {
        let Some(limit) = &self.limit else {
            return Ok(length);
        };
        // That no byte came meanwhile is not the peer's doing.
        self.last_byte += limit.wait(&self.cancel).map_err(io::Error::other)?;
        Ok(length.min(limit.portion))
    }

    fn spend(&self, count: usize) {
        if let Some(limit) = &self.limit {
            limit.spend(count);
        }
    }

    /// Reads what has come, or waits for it.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            let now = Instant::now();
            if now >= self.deadline {
                return Err(Stalled::Attempt(self.timeouts.attempt).into());
            }
            match self.stream.read(buffer) {
                Ok(count) => {
                    self.last_byte = Instant::now();
                    self.received += count as u64;
                    return Ok(count);
                }
                Err(error) if is_tick(&error) => {
                    if self.last_byte.elapsed() >= self.timeouts.idle {
                        return Err(Stalled::Idle(self.timeouts.idle).into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionReset && self.received == 0 =>
                {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        ResetBeforeReply,
                    ));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Reply {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Before it waits for its turn: that is not the peer's time.
        self.first_byte()?;
        let portion = self.portion(buffer.len())?;
        let buffer = &mut buffer[..portion];
        let count = if self.held.is_empty() {
            self.receive(buffer)?
        } else {
            let count = self.held.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.held[..count]);
            self.held.drain(..count);
            count
        };
        self.spend(count);
        Ok(count)
    }
}

/// A tar on its way to the server.
#[derive(Debug)]
pub struct Upload {
    connection: Reply,
}

impl Upload {
    pub(super) fn new(connection: Reply) -> io::Result<Self> {
        // However this ends before its time, by an error or with the process: a reset tells the
        // server that the tar is not whole. An orderly close would not, between two members.
        connection.stream.reset_on_drop()?;
        // A write that waits is to look at the clock and at the cancel token, as a read does.
        connection.stream.set_write_timeout(TICK)?;
        Ok(Self { connection })
    }

    /// Says that the tar is complete and waits until the server closes, which it does when it is
    /// done with the shard, whether that went well or not.
    ///
    /// # Errors
    ///
    /// When the server resets the connection, which means that it did not take the whole, or does
    /// not close in time.
    pub fn finish(mut self) -> io::Result<()> {
        self.connection.stream.shutdown(Shutdown::Write)?;
        match self.connection.read(&mut [0; 64])? {
            0 => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server answered an upload, which none does",
            )),
        }
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let connection = &mut self.connection;
        let portion = connection.portion(bytes.len())?;
        let started = Instant::now();
        let count = loop {
            connection.cancel.check().map_err(io::Error::other)?;
            if Instant::now() >= connection.deadline {
                return Err(Stalled::Attempt(connection.timeouts.attempt).into());
            }
            match connection.stream.write(&bytes[..portion]) {
                Ok(count) => break count,
                Err(error) if is_tick(&error) => {
                    if started.elapsed() >= connection.timeouts.idle {
                        return Err(Stalled::Idle(connection.timeouts.idle).into());
                    }
                }
                Err(error) => return Err(error),
            }
        };
        connection.last_byte = Instant::now();
        connection.spend(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.stream.flush()
    }
}

/// Measures how long a peer takes, and rather too long than too short: the steady clock stands
/// still while this machine sleeps, the other one is set now and then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch {
    steady: Instant,
    of_day: SystemTime,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self {
            steady: Instant::now(),
            of_day: SystemTime::now(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.steady
            .elapsed()
            .max(self.of_day.elapsed().unwrap_or_default())
    }
}

/// A time-out of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum Stalled {
    /// No byte came for this long.
    #[error("no byte came for {} (-idle-timeout)", age(*.0))]
    Idle(Duration),
    /// The reply was not complete after this long.
    #[error("the reply was not complete after {} (-attempt-timeout)", age(*.0))]
    Attempt(Duration),
}

impl From<Stalled> for io::Error {
    fn from(stalled: Stalled) -> Self {
        Self::new(io::ErrorKind::TimedOut, stalled)
    }
}

/// The peer reset the connection before it sent a byte.
#[derive(Debug, Error)]
#[error("the peer reset the connection without a reply")]
struct ResetBeforeReply;

/// Whether a wait of [`TICK`] was over.
fn is_tick(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Whether the error is a reset before the first byte of the reply.
pub(super) fn is_reset_before_reply(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<ResetBeforeReply>)
}

/// The cancel token's error, where that is why a read ended.
pub(crate) fn cancellation(error: &io::Error) -> Option<&error::Error> {
    error.get_ref()?.downcast_ref::<error::Error>()
}
