//! Applying tombstones, a range of times and a choice of series before a live restore: the TSM files
//! that a server must not be sent as they are, for servers throw tombstones away.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use anyhow::Result;

use super::parts::{UploadPart, UploadShard};
use super::target::Live;
use crate::cancel::Cancel;
use crate::io::scratch::{scratch_dir, scratch_error};
use crate::ops::restore::members::ShardMembers;
use crate::repository::Catalog;
use crate::tsm::filter::{Filtered, FilteredFile, PointFilter};
use crate::tsm::stem;
use crate::tsm::tombstone::BoundedDeletes;

/// The TSM files of a part of a shard that are sent in another form, or not at all.
#[derive(Debug, Default)]
pub(crate) struct FilteredFiles(BTreeMap<String, Option<FilteredFile>>);

/// A TSM file that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent<'a> {
    /// What it is called on the server.
    pub name: Cow<'a, str>,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

impl FilteredFiles {
    /// What takes the place of a file: `None` where it is sent as it is, `Some(None)` where not a
    /// point of it stays.
    pub(super) fn get(&self, name: &str) -> Option<Option<&FilteredFile>> {
        self.0.get(name).map(Option::as_ref)
    }

    /// The files that are sent in another form, with their names in the backup.
    pub(super) fn rewritten(&self) -> impl Iterator<Item = (&str, &FilteredFile)> {
        let files = self.0.iter();
        files.filter_map(|(name, file)| Some((name.as_str(), file.as_ref()?)))
    }

    /// The TSM files that a server is sent of the part.
    fn sent<'a>(&'a self, part: &'a UploadPart<'_>) -> impl Iterator<Item = Sent<'a>> {
        let files = part.shard.files.iter();
        let tsm_files = files.filter(|(name, _)| name.ends_with(".tsm"));
        tsm_files.filter_map(|(name, file)| {
            let (size, crc) = match self.get(name) {
                None => (file.size, file.crc),
                Some(Some(file)) => (file.size, file.crc),
                Some(None) => return None,
            };
            let name = part.names.get(name)?;
            Some(Sent { name, size, crc })
        })
    }
}

/// The TSM files that a server is sent of a shard, of whose parts `filtered` are.
pub(super) fn sent<'a>(
    shard: &'a UploadShard<'_>,
    filtered: &'a [FilteredFiles],
) -> impl Iterator<Item = Sent<'a>> {
    let parts = shard.parts.iter().zip(filtered);
    parts.flat_map(|(part, filtered)| filtered.sent(part))
}

/// Refuses to begin where what is sent in another form than it has in the backup could not be made.
pub(crate) fn ensure_scratch() -> Result<()> {
    let directory = scratch_dir();
    tempfile::tempfile_in(&directory).map_err(|error| scratch_error(&directory, error))?;
    Ok(())
}

impl Live<'_> {
    /// What is sent of a shard in another form than it has in the backup; it is made once. All of
    /// it, before the server is asked to take anything: it holds up who writes to the shard until all
    /// is there.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or nothing be written; when a stop was asked for.
    pub(super) fn filtered<'f>(
        &self,
        catalog: &Catalog,
        shard: &UploadShard<'_>,
        made: &'f mut Option<Vec<FilteredFiles>>,
    ) -> Result<&'f [FilteredFiles]> {
        if made.is_none() {
            let parts = shard.parts.iter();
            let each = parts.map(|part| self.filter(catalog, part, self.context.cancel));
            *made = Some(each.collect::<Result<_>>()?);
        }
        Ok(made.as_deref().unwrap_or_default())
    }

    fn filter(
        &self,
        catalog: &Catalog,
        part: &UploadPart<'_>,
        stop: &Cancel,
    ) -> Result<FilteredFiles> {
        let shard = part.shard;
        let scratch = scratch_dir();
        let members = ShardMembers {
            catalog,
            shard: &shard.source,
            sources: &shard.sources,
            files: &shard.files,
            unpacked: None,
            scratch: &scratch,
            stop,
        };
        let deletes = if self.options.apply_deletes {
            members.deletes()?
        } else {
            BTreeMap::new()
        };
        let all = part.is_filtered();
        let none = BoundedDeletes::default();
        let mut files = BTreeMap::new();
        let wants =
            |name: &str| name.ends_with(".tsm") && (all || deletes.contains_key(stem(name)));
        members.each(wants, |_, passed| {
            let name = passed.name;
            let filter = PointFilter {
                deletes: deletes.get(stem(name)).unwrap_or(&none),
                new_types: &shard.new_types,
                series: &shard.series,
                time_range: part.time_range(),
            };
            let filtered = filter.apply(passed.content, &scratch).map_err(|error| {
                io::Error::other(anyhow::Error::new(error).context(name.to_owned()))
            })?;
            match filtered {
                Filtered::Unchanged => {}
                Filtered::Rewritten(file) => drop(files.insert(name.to_owned(), Some(file))),
                Filtered::Empty => drop(files.insert(name.to_owned(), None)),
            }
            Ok(())
        })?;
        Ok(FilteredFiles(files))
    }
}
