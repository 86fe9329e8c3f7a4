//! The address of a server, and connecting to it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::connection::TICK;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, words};
use crate::text::age;
use crate::wire::DEFAULT_PORT;

/// Bytes of a segment, as on an Ethernet. A loopback device has segments of 64 KiB, and for these a
/// server's system buffers megabytes of an answer before the client reads the first byte.
const SMALL_SEGMENT: u32 = 1448;

/// How much of an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// Its beginning: what the server sends after that is read for nothing.
    Beginning,
}

impl Wanted {
    fn connect(self, socket: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if self == Self::All {
            return TcpStream::connect_timeout(socket, timeout);
        }
        let stream = Socket::new(Domain::for_address(*socket), Type::STREAM, None)?;
        // Where it cannot be had, more is sent for nothing.
        let _ = stream.set_tcp_mss(SMALL_SEGMENT);
        stream.connect_timeout(&(*socket).into(), timeout)?;
        Ok(stream.into())
    }
}

/// A host and a port: `db.example:8088`, `[::1]:8088`; the port is 8088 where none is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Where the last connection to an address went. The next one goes there without resolving the name
/// again, which on a near network costs more than a question and its answer.
#[derive(Debug, Default)]
pub(super) struct LastPeer {
    socket: Mutex<Option<SocketAddr>>,
    /// Whether it once took longer than a tick to answer. From then on the name is resolved each
    /// time, which costs less than waiting for nothing.
    is_far: AtomicBool,
}

impl LastPeer {
    /// Connects to it; none where there is none, or it does not answer at once.
    fn connect(&self, wanted: Wanted, timeout: Duration) -> Option<TcpStream> {
        if self.is_far.load(Ordering::Relaxed) {
            return None;
        }
        let socket = *self.lock();
        let connected = wanted.connect(&socket?, timeout.min(TICK));
        if let Err(error) = &connected {
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            self.is_far.fetch_or(timed_out, Ordering::Relaxed);
        }
        connected.ok()
    }

    fn remember(&self, stream: &TcpStream) {
        *self.lock() = stream.peer_addr().ok();
    }

    fn lock(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Address {
    /// The host: a name or a number, an IPv6 one without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Connects to where the last connection went, or else to the first address of the name that
    /// answers, in no longer than `timeout` and a tick.
    pub(super) fn connect(
        &self,
        last: &LastPeer,
        wanted: Wanted,
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<TcpStream, Error> {
        if let Some(stream) = last.connect(wanted, timeout) {
            return Ok(stream);
        }
        let stream = self.resolve_and_connect(wanted, timeout, cancel)?;
        last.remember(&stream);
        Ok(stream)
    }

    /// Resolves the name and connects to the first of its addresses that answers, in no longer than
    /// `timeout` altogether.
    fn resolve_and_connect(
        &self,
        wanted: Wanted,
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<TcpStream, Error> {
        let (sender, receiver) = mpsc::channel();
        let address = self.clone();
        // Neither resolving nor connecting can be interrupted, so they are left to a thread that is
        // not waited for.
        thread::spawn(move || sender.send(address.connect_first(wanted, timeout)));
        let started = Instant::now();
        loop {
            match receiver.recv_timeout(TICK) {
                Ok(result) => return result,
                Err(_) => cancel.check()?,
            }
            if started.elapsed() > timeout + TICK {
                return Err(self.unreachable(&io::ErrorKind::TimedOut.into(), timeout));
            }
        }
    }

    fn connect_first(&self, wanted: Wanted, timeout: Duration) -> Result<TcpStream, Error> {
        let started = Instant::now();
        let addresses: Vec<SocketAddr> = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| {
                ErrorKind::Unreachable
                    .error(format!(
                        "cannot find the host {}: {}",
                        self.host,
                        words(&error).trim_start_matches("failed to lookup address information: ")
                    ))
                    .hint("check the name, and DNS")
            })?
            .collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no addresses");
        for (nth, address) in addresses.iter().enumerate() {
            // One that never answers leaves the others their share.
            let untried = (addresses.len() - nth) as u32;
            let left = timeout.saturating_sub(started.elapsed()) / untried;
            match wanted.connect(address, left.max(Duration::from_millis(1))) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(self.unreachable(&last, timeout))
    }

    fn unreachable(&self, error: &io::Error, timeout: Duration) -> Error {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorKind::Unreachable.error(format!("{self} refused the connection")).hint(
                "is influxd running there? Its snapshotter listens on 127.0.0.1:8088 only, unless \
                 bind-address at the top of influxdb.conf says otherwise",
            ),
            io::ErrorKind::TimedOut => ErrorKind::Unreachable
                .error(format!("{self} did not answer within {}", age(timeout)))
                .hint("check the address and the firewall, or raise -connect-timeout"),
            _ => ErrorKind::Unreachable
                .error(format!("cannot connect to {self}: {}", words(error)))
                .hint("check the address, the firewall and whatever stands between"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            return Err(format!(
                "'{text}' is a URL; write HOST:PORT: the snapshotter's port is {DEFAULT_PORT}, not the HTTP one"
            ));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            return Err(format!(
                "'{text}' looks like a port; write :{text} for this machine, or HOST:{text}"
            ));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest
                .split_once(']')
                .ok_or_else(|| format!("'{text}' has no ']'; write [ADDRESS]:PORT"))?;
            (host, port.strip_prefix(':'))
        } else if text.matches(':').count() == 1 {
            text.split_once(':')
                .map_or((text, None), |(host, port)| (host, Some(port)))
        } else {
            (text, None)
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                format!("'{port}' is not a port; write one from 1 to {}", u16::MAX)
            })?,
        };
        // Go's net package, and so influxd, takes ":8088" for the local host.
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_peer_can_send_little_ahead_where_only_the_beginning_of_an_answer_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sent_to = |wanted: Wanted| {
            let _reads_nothing = wanted.connect(&address, Duration::from_secs(10)).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            peer.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while let Ok(count) = peer.write(&[0; 32 << 10]) {
                sent += count;
            }
            sent
        };
        let (all, beginning) = (sent_to(Wanted::All), sent_to(Wanted::Beginning));
        assert!(beginning * 4 < all, "{beginning} bytes, and {all} of all");
    }

    #[test]
    fn an_address_is_read_with_and_without_its_port() {
        for (text, read) in [
            ("db.example", "db.example:8088"),
            ("db.example:9000", "db.example:9000"),
            ("127.0.0.1", "127.0.0.1:8088"),
            (":8089", "127.0.0.1:8089"),
            ("[::1]:9000", "[::1]:9000"),
            ("[::1]", "[::1]:8088"),
            ("::1", "[::1]:8088"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), read);
        }
        for text in ["db:http", "db:0", "db:70000", "[::1", "http://db:8086"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_no_host() {
        let error = "18088".parse::<Address>().unwrap_err();
        assert!(error.starts_with("'18088' looks like a port; write :18088"));
    }
}
