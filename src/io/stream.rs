//! A connection between a client and a snapshotter: TCP, or a pair of sockets within this process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One end of a connection.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Within this process: no other has a name for it.
    Local(UnixStream),
}

impl Stream {
    /// The two ends of a connection within this process.
    ///
    /// # Errors
    ///
    /// When the system has no socket left.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::Local(one), Self::Local(other)))
    }

    /// Sends each write at once.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Local(_) => Ok(()),
        }
    }

    /// How long a read may wait.
    ///
    /// # Errors
    ///
    /// When the time is zero.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Local(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }

    /// How long a write may wait.
    ///
    /// # Errors
    ///
    /// When the time is zero.
    pub fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(Some(timeout)),
            Self::Local(stream) => stream.set_write_timeout(Some(timeout)),
        }
    }

    /// Has the end of this stream, unless it is shut down before, reach the peer as a reset.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] for one within this process, which has no such end.
    pub(crate) fn reset_on_drop(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => Ok(rustix::net::sockopt::set_socket_linger(
                stream,
                Some(Duration::ZERO),
            )?),
            Self::Local(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    ///
    /// When the peer is gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Local(stream) => stream.shutdown(how),
        }
    }

    /// Says that nothing more comes. What the peer sent and nobody read is thrown away: it would
    /// reach the peer as a reset.
    pub(crate) fn say_end(&self) {
        let _ = self.shutdown(Shutdown::Write);
        // A TCP peer learns of the end first, and of the reset behind it.
        if let Self::Local(stream) = self
            && stream.set_nonblocking(true).is_ok()
        {
            let _ = io::copy(&mut &*stream, &mut io::sink());
        }
    }

    /// Another handle of the same end.
    ///
    /// # Errors
    ///
    /// When the system has no file descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Local(stream) => Self::Local(stream.try_clone()?),
        })
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).read(buffer),
            Stream::Local(stream) => (&mut &*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
            Stream::Local(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&mut &*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
