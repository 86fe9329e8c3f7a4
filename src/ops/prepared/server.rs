//! The shards of a running server, unpacked out of sight while they are sent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

use super::{Prepared, PreparedFile, PreparedShard};
use crate::client::Reply;
use crate::context::Context;
use crate::influxd_dir::Ownership;
use crate::io::scratch::{private_dir_in, scratch_dir, scratch_error};
use crate::ops::Shortfall;
use crate::ops::members::{MemberReader, Place, TarStop};
use crate::ops::progress_reader::ProgressReader;
use crate::ops::server_shards::{ShardAnswer, ShardAsker};
use crate::ops::unpack_dir::UnpackDir;
use crate::progress::{Event, Outcome};
use crate::shard::ShardPath;
use crate::shard_tar::Ending;
use crate::tsm::filter::NewTypes;
use crate::tsm::is_index;

/// How long a busy server is asked for a shard before that is read as it comes, and told.
pub(in crate::ops) const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// The files of a shard as they were sent.
struct ReceivedShard {
    directory: TempDir,
    names: BTreeSet<String>,
}

/// Has a server send a shard.
///
/// # Errors
///
/// When it cannot be unpacked, or a stop was asked for.
pub(in crate::ops) fn prepare(
    asker: &ShardAsker<'_>,
    shard: ShardPath,
    context: Context<'_>,
) -> Result<Prepared> {
    let started = Instant::now();
    context.report(&Event::Started {
        shard: &shard,
        bytes: None,
    });
    let end = |outcome| {
        context.report(&Event::Finished {
            shard: &shard,
            outcome,
            elapsed: started.elapsed(),
        });
    };
    let answer = asker.ask(&shard, context, |reply| receive(reply, &shard, context))?;
    let (received, doubt) = match answer {
        ShardAnswer::Whole { taken, doubt } => (taken, doubt),
        ShardAnswer::Gone => {
            end(Outcome::Skipped("the server deleted it meanwhile"));
            return Ok(Prepared::Gone);
        }
        ShardAnswer::Missing(reason) => {
            end(Outcome::Failed(&reason));
            return Ok(Prepared::Missing(Shortfall::of_shard(&shard, reason)));
        }
    };
    let names = received.names.iter().map(String::as_str);
    let files = PreparedFile::among(names, |name| {
        (received.names.get(name)).map(|name| received.directory.path().join(name))
    });
    Ok(Prepared::Whole(PreparedShard {
        files,
        name: shard,
        new_types: NewTypes::new(),
        told: doubt.into_iter().collect(),
        are_tombstones_told: false,
        started,
        _guard: Box::new(received.directory),
    }))
}

/// Unpacks the TSM and tombstone files of a shard that is sent.
fn receive(
    reply: Reply,
    shard: &ShardPath,
    context: Context<'_>,
) -> Result<(ReceivedShard, Ending), TarStop> {
    let scratch = scratch_dir();
    let directory = private_dir_in(&scratch).map_err(|error| scratch_error(&scratch, error))?;
    let unpack = UnpackDir {
        path: directory.path(),
        ownership: &Ownership::below(directory.path())?,
        syncs: None,
    };
    let reply = ProgressReader::new(reply, shard, context.progress);
    let mut members = MemberReader::streamed(reply, Place::Directory(&unpack), None, shard);
    let mut names = BTreeSet::new();
    while let Some(member) = members.next_member().map_err(TarStop::Tar)? {
        let is_wanted = member.is_tsm() || member.is_tombstone();
        if !is_wanted || is_index(&member.name) {
            continue;
        }
        members.pass_content()?;
        names.insert(member.name);
    }
    let ending = members.finish().map_err(TarStop::Tar)?;
    Ok((ReceivedShard { directory, names }, ending))
}
