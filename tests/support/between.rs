//! A proxy before a server that is restored into, which spoils some of what passes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::listener::{End, Service, finish, lock, read_request};
use super::peer::{Member, tar};
use super::service;

/// What is asked of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// The metastore, or a list of shards.
    Info,
    /// A shard.
    Shard(u64),
    /// An import.
    Import,
    /// An upload into a shard, which the server knows under this id.
    Upload(u64),
}

/// How one request is spoiled.
#[derive(Clone, Debug)]
pub enum Spoil {
    /// Of an upload the server gets so many bytes of the tar and then the end; the client sees no
    /// failure.
    Leave(usize),
    /// So many bytes of an upload pass, and then both connections break.
    Break(usize),
    /// An upload or an import passes, and then the connection is kept.
    Keep,
    /// An upload or an import is read to its end, and this is answered; the server hears nothing of
    /// it.
    Swallow(Vec<u8>),
    /// So many bytes of the reply are passed on, then the connection ends.
    Cut(usize, End),
    /// In place of a shard comes what this makes of its members, as the server sent them.
    Edit(fn(&mut Vec<Member>)),
}

/// The proxy.
pub struct Between {
    service: Service,
    upstream: Arc<Mutex<SocketAddr>>,
    seen: Arc<Mutex<Vec<(Ask, usize)>>>,
}

impl Between {
    /// A proxy before the server at `upstream`, an `address:port`. `spoil` says what becomes of a
    /// request; the number is how many of the same there were before.
    pub fn start(
        upstream: &str,
        spoil: impl Fn(Ask, usize) -> Option<Spoil> + Send + Sync + 'static,
    ) -> Self {
        let upstream = Arc::new(Mutex::new(upstream.parse().expect("an address")));
        let to = Arc::clone(&upstream);
        let seen: Arc<Mutex<Vec<(Ask, usize)>>> = Arc::default();
        let counts: Mutex<HashMap<Ask, usize>> = Mutex::default();
        let log = Arc::clone(&seen);
        let service = Service::start(move |client, stopping| {
            pass(client, stopping, &to, &log, |ask| {
                let nth = {
                    let mut counts = lock(&counts);
                    let count = counts.entry(ask).or_default();
                    *count += 1;
                    *count - 1
                };
                spoil(ask, nth)
            })
        });
        Self {
            service,
            upstream,
            seen,
        }
    }

    /// Stands before another server from now on.
    pub fn redirect(&self, upstream: &str) {
        *lock(&self.upstream) = upstream.parse().expect("an address");
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.service.address.to_string()
    }

    /// What was asked so far, in the order in which it was read to its end, each with its length:
    /// of imports that of the metastore, of uploads that of the tar, as far as it was read.
    pub fn seen(&self) -> Vec<(Ask, usize)> {
        lock(&self.seen).clone()
    }
}

/// Passes one connection on.
fn pass(
    mut client: TcpStream,
    stopping: &AtomicBool,
    upstream: &Mutex<SocketAddr>,
    seen: &Mutex<Vec<(Ask, usize)>>,
    spoil: impl Fn(Ask) -> Option<Spoil>,
) -> io::Result<()> {
    let mut head = [0; 2];
    client.read_exact(&mut head)?;
    let (ask, mut request, rest) = if head[1] == 7 {
        let mut id = [0; 8];
        client.read_exact(&mut id)?;
        (
            Ask::Upload(u64::from_be_bytes(id)),
            [&head[..], &id].concat(),
            None,
        )
    } else {
        let Some(document) = read_request(&mut client)? else {
            return Ok(());
        };
        let json: Value = serde_json::from_slice(&document)?;
        let id = json["ShardID"].as_u64().unwrap_or_default();
        let ask = match head[1] {
            0 | 5 => Ask::Shard(id),
            6 => Ask::Import,
            _ => Ask::Info,
        };
        (
            ask,
            [&head[..], &document].concat(),
            json["UploadSize"].as_u64().filter(|_| ask == Ask::Import),
        )
    };
    let spoil = spoil(ask);
    let before = request.len();
    match (&spoil, ask) {
        (Some(Spoil::Break(count)), _) => {
            let _ = (&client).take(*count as u64).read_to_end(&mut request)?;
        }
        (_, Ask::Upload(_)) => drop(client.read_to_end(&mut request)?),
        _ => drop(
            (&client)
                .take(rest.unwrap_or_default())
                .read_to_end(&mut request)?,
        ),
    }
    lock(seen).push((ask, request.len() - before));
    match &spoil {
        Some(Spoil::Swallow(reply)) => return client.write_all(reply),
        Some(Spoil::Leave(count)) => request.truncate(before + count),
        _ => {}
    }
    let upstream = *lock(upstream);
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&request)?;
    if let Some(Spoil::Break(_)) = spoil {
        finish(server, End::Rst)?;
        return finish(client, End::Rst);
    }
    server.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply)?;
    match spoil {
        Some(Spoil::Keep) => {
            while !stopping.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        Some(Spoil::Cut(count, end)) => {
            client.write_all(&reply[..count.min(reply.len())])?;
            finish(client, end)
        }
        Some(Spoil::Edit(edit)) => {
            let mut members = service::all_members(&reply);
            edit(&mut members);
            client.write_all(&tar(&members))
        }
        _ => client.write_all(&reply),
    }
}
