//! Reading a shard back from the server that it was sent to.

use std::collections::BTreeMap;
use std::io::BufReader;

use anyhow::Result;
use thiserror::Error;

use super::filtered::{FilteredFiles, Sent, sent};
use super::parts::UploadShard;
use super::target::Live;
use crate::client::Reply;
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, ShardTarReader, TarError};
use crate::tsm::generation;
use crate::wire::Request;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// What a server holds of the files it was sent.
pub(super) enum OnServer {
    /// All.
    All,
    /// None, and nothing else either.
    Nothing,
    /// Some of them; the text says which is not there.
    Part(String),
    /// In place of some or all of them one that a compaction made.
    Compacted,
    /// Files that were not sent, and not all that were.
    Other,
}

/// The server sent nothing of a shard that can be an answer. To ask for it again may help, to send it
/// again does not.
#[derive(Debug, Clone, Copy, Error)]
#[error("the server does not send the shard back")]
pub(super) struct NotSentBack;

/// What a shard of a server has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Anything,
    /// Files: servers 1.8.0 to 1.8.4 send none while they are busy, and are asked again.
    Files,
}

impl Live<'_> {
    /// Asks the server for the shard, and compares names, sizes and CRC-32 of its files with what
    /// it is to hold.
    pub(super) fn look_back(
        &self,
        shard: &UploadShard<'_>,
        filtered: &[FilteredFiles],
    ) -> Result<OnServer> {
        let answer = self.files_on_server(shard, Holds::Anything)?;
        let mut on_server: BTreeMap<&str, (u64, u32)> = answer
            .iter()
            .filter(|(name, ..)| name.ends_with(".tsm"))
            .map(|(name, size, crc)| (name.as_str(), (*size, *crc)))
            .collect();
        let (mut absent, mut same, mut newest, mut is_other) = (None, 0, None, false);
        for Sent { name, size, crc } in sent(shard, filtered) {
            let found = on_server.remove(&*name);
            if found == Some((size, crc)) {
                same += 1;
            } else {
                is_other |= found.is_some();
                newest = newest.max(generation(&name));
                absent.get_or_insert_with(|| format!("{name} ({size} bytes)"));
            }
        }
        // A compaction leaves a file of the highest of its generations, with a sequence past the
        // first.
        let compacted =
            |name: &&str| generation(name) >= newest && !name.ends_with("-000000001.tsm");
        Ok(match absent {
            None => OnServer::All,
            Some(_) if on_server.keys().any(compacted) => OnServer::Compacted,
            Some(_) if is_other || !on_server.is_empty() => OnServer::Other,
            Some(_) if same == 0 && answer.is_empty() => OnServer::Nothing,
            Some(absent) => OnServer::Part(absent),
        })
    }

    /// The files that the server has of the shard, with sizes and CRC-32.
    ///
    /// # Errors
    ///
    /// [`NotSentBack`] where it sends nothing that can be an answer: one that was just put in place
    /// may be closed for a moment. Else what is wrong with the answer.
    pub(super) fn files_on_server(
        &self,
        shard: &UploadShard<'_>,
        holds: Holds,
    ) -> Result<Vec<(String, u64, u32)>> {
        let reply = self.client.request(&Request::Shard {
            id: shard.path.id,
            since: None,
        })?;
        let files = sums(reply, &shard.path)?;
        let is_answer = |files: &Vec<_>| holds == Holds::Anything || !files.is_empty();
        Ok(files.filter(is_answer).ok_or(NotSentBack)?)
    }
}

/// The members of a shard's tar with size and CRC-32; none where the server sends nothing at all.
fn sums(reply: Reply, shard: &ShardPath) -> Result<Option<Vec<(String, u64, u32)>>> {
    let mut reader = ShardTarReader::new(BufReader::with_capacity(CHUNK, reply), shard);
    let mut files = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let reading = |error| match error {
        TarError::Source(error) => anyhow::Error::new(error).context("reading the shard back"),
        damage => damage.into(),
    };
    while let Some(member) = reader.next_member().map_err(reading)? {
        let mut crc = crc32fast::Hasher::new();
        loop {
            match reader.read_content(&mut buffer).map_err(reading)? {
                0 => break,
                count => crc.update(&buffer[..count]),
            }
        }
        files.push((member.name, member.size, crc.finalize()));
    }
    let ending = reader.finish().map_err(reading)?;
    Ok((ending != Ending::Nothing).then_some(files))
}
