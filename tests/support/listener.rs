//! What peers of every kind are made of: a listener with a thread for each connection, a way to
//! read a request, and the ends that a connection can have.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How long a peer waits for a client.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a peer waits between its last byte and a reset, so that the bytes are not lost to it.
const BEFORE_RESET: Duration = Duration::from_millis(30);

/// The type of an upload.
const UPLOAD: u8 = 7;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As at the end of a stream.
    Fin,
    /// With a reset.
    Rst,
}

/// Reads the mux byte, a type byte if there is one, and JSON up to its newline, or the id of the
/// shard that an upload is for; `None` when the client went away before.
pub fn read_request(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut raw = Vec::new();
    let mut byte = [0];
    // No type byte has the value of a newline, and JSON holds none, so the first one ends the
    // request.
    let is_upload = |raw: &[u8]| raw.get(1) == Some(&UPLOAD);
    while raw.last() != Some(&b'\n') || is_upload(&raw) {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        raw.push(byte[0]);
        if is_upload(&raw) && raw.len() == 10 {
            break;
        }
    }
    Ok(Some(raw))
}

/// Ends a connection.
pub fn finish(stream: TcpStream, end: End) -> io::Result<()> {
    if end == End::Rst {
        thread::sleep(BEFORE_RESET);
        set_socket_linger(&stream, Some(Duration::ZERO))?;
    }
    drop(stream);
    Ok(())
}

/// Keeps a connection until the client ends it.
pub fn wait_for_client(mut stream: TcpStream, stopping: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    while !stopping.load(Ordering::Relaxed) {
        match stream.read(&mut [0; 64]) {
            Ok(0) => break,
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                break;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes a lock, though a thread panicked while it had it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loopback listener with a thread for each connection, until it is dropped.
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Service {
    /// Serves each connection so.
    pub fn start(
        serve: impl Fn(TcpStream, &AtomicBool) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (serve, stop) = (Arc::clone(&serve), Arc::clone(&stop));
                thread::spawn(move || {
                    // A client may go away at any time; that is no failure of a test.
                    let _ = stream.set_nodelay(true).and_then(|()| serve(stream, &stop));
                });
            }
        });
        Self { address, stopping }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}
