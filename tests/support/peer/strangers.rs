//! Peers that are no snapshotter, or no peer at all, and a proxy that cuts off what a snapshotter
//! sends.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
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

/// A host that lets no connection be made: its queue of connections is full, and nobody takes one
/// from it.
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

/// How a [`Door`] deals with those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// They are let through.
    There,
    /// Each connection is ended as soon as it is made.
    Closes,
    /// Nobody listens.
    Away,
}

/// Stands before a snapshotter that can go away, and come back at the same address.
pub struct Door {
    address: SocketAddr,
    shared: Arc<Mutex<DoorState>>,
}

struct DoorState {
    presence: Presence,
    /// How many are still let through before it is as it is to be.
    left: usize,
    then: Presence,
    turned_away: usize,
    is_over: bool,
}

impl Door {
    /// A door before the server at `upstream` that lets so many connections through, and is `then`
    /// so.
    pub fn start(upstream: SocketAddr, left: usize, then: Presence) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Mutex::new(DoorState {
            presence: Presence::There,
            left,
            then,
            turned_away: 0,
            is_over: false,
        }));
        let state = Arc::clone(&shared);
        thread::spawn(move || keep_door(listener, address, upstream, &state));
        Self { address, shared }
    }

    /// Where it is, as `address:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Whether as many were let through as were to be.
    pub fn has_turned(&self) -> bool {
        lock(&self.shared).presence != Presence::There
    }

    /// Lets everybody through from here on.
    pub fn open(&self) {
        let mut state = lock(&self.shared);
        (state.presence, state.left) = (Presence::There, usize::MAX);
    }

    /// How many connections were made and ended.
    pub fn turned_away(&self) -> usize {
        lock(&self.shared).turned_away
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        lock(&self.shared).is_over = true;
    }
}

fn keep_door(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    state: &Mutex<DoorState>,
) {
    let mut listener = Some(listener);
    loop {
        let presence = {
            let state = lock(state);
            if state.is_over {
                return;
            }
            state.presence
        };
        if presence == Presence::Away {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).expect("a listener");
            listener.accept().ok()
        });
        let Some((client, _)) = accepted else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let mut state = lock(state);
        if presence == Presence::Closes {
            state.turned_away += 1;
            continue;
        }
        state.left = state.left.saturating_sub(1);
        if state.left == 0 {
            state.presence = state.then;
        }
        thread::spawn(move || pass(client, upstream));
    }
}

/// Passes a request on, and its answer back.
fn pass(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let Some(raw) = read_request(&mut client)? else {
        return Ok(());
    };
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&raw)?;
    io::copy(&mut server, &mut client).map(drop)
}
