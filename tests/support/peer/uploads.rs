//! Taking uploads in, as servers from 1.5 on do.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Mutex;

use ::tar::Archive;

use super::super::listener::{End, finish, lock};
use super::tars::{BLOCK, Member};
use super::{Asked, Reply, State};

/// An upload that was taken in.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The shard.
    pub id: u64,
    /// The TSM files; none where it was one that clears away.
    pub files: Vec<Member>,
}

/// The shard that a request uploads into, if it does.
pub(super) fn shard_of(raw: &[u8]) -> Option<u64> {
    let id = raw.strip_prefix(b"\x03\x07")?;
    Some(u64::from_be_bytes(id.try_into().ok()?))
}

/// Takes an upload in. A file takes the place of that of its name.
pub(super) fn take(mut stream: TcpStream, id: u64, state: &Mutex<State>) -> io::Result<()> {
    let replies = |state: &mut State| {
        let script = state.scripts.get_mut(&Asked::Upload(id))?;
        match script.len() {
            0 | 1 => script.front().cloned(),
            _ => script.pop_front(),
        }
    };
    if let Some(Reply::Nothing) = replies(&mut lock(state)) {
        return finish(stream, End::Rst);
    }
    let mut files = Vec::new();
    for entry in Archive::new(&mut stream).entries()? {
        let mut entry = entry?;
        let name = String::from_utf8(entry.path_bytes().into_owned());
        let name = name.map_err(io::Error::other)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push(Member::new(name, content));
    }
    // The second of the two blocks that end it.
    stream.read_exact(&mut [0; BLOCK])?;
    let mut state = lock(state);
    let disabled = state.model.disabled_after_upload;
    let mut shards = state.model.shards.iter_mut();
    let Some(shard) = shards.find(|shard| shard.path.id == id && shard.open) else {
        return finish(stream, End::Rst);
    };
    let folder = format!("{}/", shard.path);
    files.retain(|file| file.name.starts_with(&folder) && file.name.ends_with(".tsm"));
    shard.disabled = disabled;
    let cache = shard.cache.get_or_insert_default();
    for file in &files {
        cache.files.retain(|known| known.name != file.name);
        cache.files.push(file.clone());
    }
    cache.files.sort_by(|a, b| a.name.cmp(&b.name));
    state.uploads.push(Upload { id, files });
    drop(state);
    finish(stream, End::Fin)
}
