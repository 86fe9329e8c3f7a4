//! What a server must not be sent as it is: TSM files of which points were deleted, for servers throw tombstones away, and those
//! with points outside the times that are restored.

use std::collections::BTreeMap;
use std::io;

use anyhow::{Context, Result};

use super::super::check::CheckedShard;
use super::Live;
use crate::cancel::Cancel;
use crate::directory::Contents;
use crate::format::shard_tar::Member;
use crate::ops::members::{Passed, visit_file};
use crate::ops::scratch::{in_scratch, scratch_dir, scratch_fault};
use crate::ops::sift::{Kept, SiftedFile, read_deletes, sift};
use crate::progress::Event;
use crate::time::Bounds;
use crate::tsm::deletes::DeletedRanges;
use crate::tsm::tombstone::Ending;
use crate::tsm::{is_tombstone, stem};

/// The TSM files of a shard that are sent in another form, or not at all.
#[derive(Debug, Default)]
pub struct Sifted(BTreeMap<String, Option<SiftedFile>>);

/// A TSM file that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

impl Sifted {
    /// What takes the place of a file: `None` where it is sent as it is, `Some(None)` where not a point of it stays.
    pub fn get(&self, name: &str) -> Option<Option<&SiftedFile>> {
        self.0.get(name).map(Option::as_ref)
    }

    /// The TSM files that a server is sent of the shard.
    pub fn sent<'a>(&'a self, shard: &'a CheckedShard) -> impl Iterator<Item = Sent<'a>> {
        shard
            .files
            .iter()
            .filter(|(name, _)| name.ends_with(".tsm"))
            .filter_map(|(name, file)| match self.get(name) {
                None => Some(Sent {
                    name,
                    size: file.size,
                    crc: file.crc,
                }),
                Some(Some(sifted)) => Some(Sent {
                    name,
                    size: sifted.size,
                    crc: sifted.crc,
                }),
                Some(None) => None,
            })
    }
}

/// Refuses to begin where what is sent in another form could not be made.
pub fn refuse_without_room(shards: &[CheckedShard]) -> Result<()> {
    if shards
        .iter()
        .any(|shard| shard.cut.is_some() || shard.files.have_deletes())
    {
        let directory = scratch_dir();
        if let Err(error) = tempfile::tempfile_in(&directory) {
            let error = in_scratch(&directory, error);
            return Err(scratch_fault(&error).map_or_else(|| error.into(), Into::into));
        }
    }
    Ok(())
}

impl Live<'_> {
    /// Makes what is sent in another form than it has in the backup. All of it, before the server is asked to take anything: it
    /// holds up who writes to the shard until all is there.
    pub(super) fn sift(
        &self,
        contents: &Contents,
        shard: &CheckedShard,
        stop: &Cancel,
    ) -> Result<Sifted> {
        let deletes = self.deletes(contents, shard, stop)?;
        if deletes.is_empty() && shard.cut.is_none() {
            return Ok(Sifted::default());
        }
        let none = DeletedRanges::default();
        let bounds = shard.cut.unwrap_or(Bounds::ANY);
        let mut sifted = BTreeMap::new();
        let wants = |name: &str| {
            name.ends_with(".tsm") && (shard.cut.is_some() || deletes.contains_key(stem(name)))
        };
        each_member(
            contents,
            shard,
            stop,
            wants,
            |&Passed {
                 member, content, ..
             }| {
                let deletes = deletes.get(stem(&member.name)).unwrap_or(&none);
                let kept = sift(content, deletes, bounds, &scratch_dir()).map_err(|error| {
                    match scratch_fault(&error) {
                        Some(fault) => io::Error::other(fault),
                        None => io::Error::other(format!(
                            "{}: {:#}",
                            member.name,
                            anyhow::Error::new(error)
                        )),
                    }
                })?;
                match kept {
                    Kept::All => {}
                    Kept::Part(file) => drop(sifted.insert(member.name.clone(), Some(file))),
                    Kept::Nothing => drop(sifted.insert(member.name.clone(), None)),
                }
                Ok(())
            },
        )?;
        Ok(Sifted(sifted))
    }

    /// What was deleted of each TSM file that has a tombstone, by the name they have in common.
    fn deletes(
        &self,
        contents: &Contents,
        shard: &CheckedShard,
        stop: &Cancel,
    ) -> Result<BTreeMap<String, DeletedRanges>> {
        let mut all = BTreeMap::new();
        each_member(
            contents,
            shard,
            stop,
            is_tombstone,
            |&Passed {
                 member, content, ..
             }| {
                let (deletes, ending) = read_deletes(member, content)?;
                if ending == Ending::Torn {
                    self.progress.report(&Event::Warning(&format!(
                        "{} of shard {} breaks off: what it says before that is carried out",
                        member.name, shard.source
                    )));
                }
                if !deletes.is_empty() {
                    all.insert(stem(&member.name).to_owned(), deletes);
                }
                Ok(())
            },
        )?;
        Ok(all)
    }
}

/// Hands the members that are wanted of those the shard is put together from to `each`, until a stop is asked for.
fn each_member(
    contents: &Contents,
    shard: &CheckedShard,
    stop: &Cancel,
    wants: impl Fn(&str) -> bool,
    mut each: impl FnMut(&Passed<'_>) -> io::Result<()>,
) -> Result<()> {
    for (source, file) in shard.sources.iter().enumerate() {
        let wanted = |name: &str| {
            wants(name)
                && shard
                    .files
                    .get(name)
                    .is_some_and(|file| file.source == source)
        };
        if shard.files.iter().any(|(name, _)| wanted(name)) {
            let reading = || format!("reading {}", contents.path_of(&file.name).display());
            let wanted = |member: &Member| !member.directory && wanted(&member.name);
            let tar = contents.open(file, |file| file)?;
            let visited = visit_file(tar, &scratch_dir(), &shard.source, stop, wanted, &mut each);
            visited.with_context(reading)?.with_context(reading)?;
        }
    }
    Ok(())
}
