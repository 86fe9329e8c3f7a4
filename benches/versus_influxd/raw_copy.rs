//! The least that a backup can do: the metastore and the shards from sockets to files, over as many
//! connections as `snap` has. Nothing is checked, hashed or synced.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use influx_snap::wire::{Dialect, Request};

/// The argument that makes this program such a client.
pub const RAW_COPY: &str = "--raw-copy";

/// How many shards `snap` downloads at a time unless told otherwise.
const CONNECTIONS: usize = 2;

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Copies to a fresh directory. The arguments are the server's address, the directory, and for each
/// shard its id and the name of its file.
pub fn raw_copy(args: &[OsString]) {
    let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let [host, directory, shards @ ..] = &args[..] else {
        panic!("{RAW_COPY} HOST DIR [ID NAME]...")
    };
    let directory = Path::new(directory);
    std::fs::create_dir(directory).expect("a fresh directory");
    fetch(host, &Request::MetaStore, &directory.join("meta.00")).expect("the metastore");
    let shards = Mutex::new(shards.chunks_exact(2));
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some([id, name]) = next(&shards) {
                    let id = id.parse().expect("a shard id");
                    let request = Request::Shard { id, since: None };
                    fetch(host, &request, &directory.join(name)).expect("a shard");
                }
            });
        }
    });
}

/// The next shard that nobody copies yet.
fn next<T>(shards: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    shards.lock().expect("no copy panics here").next()
}

/// Writes what a server answers to a file.
fn fetch(host: &str, request: &Request, path: &Path) -> io::Result<()> {
    let mut stream = TcpStream::connect(host)?;
    request.write_to(&mut stream, Dialect::V1_5)?;
    let mut file = File::create_new(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => file.write_all(&buffer[..count])?,
        }
    }
}
