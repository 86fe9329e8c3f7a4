//! Peers that are no snapshotter, or no peer at all, and a proxy that cuts off what a snapshotter sends.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
};

use super::super::listener::{End, Service, finish, lock, read_request, wait_for_client};

/// What a peer does that is no snapshotter.
#[derive(Clone, Debug)]
pub enum Manners {
    /// Ends every connection as soon as it is made.
    Leaves(End),
    /// Reads something, and answers with these bytes and the end.
    Answers(Vec<u8>),
    /// Says these bytes as soon as a connection is made, and keeps it.
    Greets(Vec<u8>),
    /// Takes every connection and says nothing.
    Listens,
}

/// A peer that is no snapshotter.
pub struct Stranger(Service);

impl Stranger {
    /// A peer that behaves so.
    pub fn start(manners: Manners) -> Self {
        Self(Service::start(move |mut stream, stopping| match &manners {
            Manners::Leaves(End::Fin) => Ok(()),
            Manners::Leaves(End::Rst) => {
                set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into)
            }
            Manners::Answers(bytes) => {
                read_request(&mut stream)?;
                stream.write_all(bytes)
            }
            Manners::Greets(bytes) => {
                stream.write_all(bytes)?;
                wait_for_client(stream, stopping)
            }
            Manners::Listens => wait_for_client(stream, stopping),
        }))
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }
}

/// A host that lets no connection be made: its queue of connections is full, and nobody takes one from it.
pub struct Crowded {
    address: SocketAddr,
    _listener: OwnedFd,
    _waiting: Vec<OwnedFd>,
}

impl Crowded {
    /// Fills a queue.
    pub fn start() -> Self {
        let socket = |flags| {
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket")
        };
        let listener = socket(SocketFlags::CLOEXEC);
        bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        listen(&listener, 0).expect("a listener");
        let address = getsockname(&listener)
            .expect("a bound address")
            .try_into()
            .expect("an internet address");
        let waiting = std::iter::repeat_with(|| {
            let client = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
            // It is under way, or waits for a place; both are meant.
            let _ = connect(&client, &address);
            client
        });
        let waiting = waiting.take(8).collect();
        thread::sleep(Duration::from_millis(100));
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

/// An address where nobody listens, as `address:port`.
pub fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").to_string()
}

/// How a [`Proxy`] cuts the replies to shard requests.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// How many bytes go through.
    pub after: usize,
    /// How the connection ends then.
    pub end: End,
    /// How many times each request is answered so; `None` for always.
    pub times: Option<usize>,
}

/// Stands before a snapshotter and cuts off what it sends.
pub struct Proxy(Service);

impl Proxy {
    /// A proxy before the server at `upstream`, an `address:port`.
    pub fn start(upstream: &str, cut: Cut) -> Self {
        let upstream: SocketAddr = upstream.parse().expect("an address");
        let seen: Mutex<HashMap<Vec<u8>, usize>> = Mutex::default();
        Self(Service::start(move |mut client, _| {
            let Some(raw) = read_request(&mut client)? else {
                return Ok(());
            };
            let mut server = TcpStream::connect(upstream)?;
            server.write_all(&raw)?;
            let of_shard = matches!(raw[1], 0 | 5) || raw.starts_with(b"\x03{\"Type\":0,");
            let cuts = of_shard && {
                let mut seen = lock(&seen);
                let count = seen.entry(raw).or_default();
                *count += 1;
                cut.times.is_none_or(|times| *count <= times)
            };
            if cuts {
                io::copy(&mut server.take(cut.after as u64), &mut client)?;
                return finish(client, cut.end);
            }
            io::copy(&mut server, &mut client).map(|_| ())
        }))
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }
}
