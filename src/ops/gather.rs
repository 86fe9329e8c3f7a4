//! The TSM files of a shard and what is deleted of them, from tars or from a directory: as far as
//! they are needed to see what there is or to count it, which is their indexes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cancel::{Cancel, Stoppable};
use crate::context::Context;
use crate::io::crc32_read_at::Crc32ReadAt;
use crate::io::open::open_regular;
use crate::io::read_at::{FromStart, ReadAt, Section};
use crate::io::scratch::{Spool, scratch_words};
use crate::ops::examine::is_damage;
use crate::ops::generations::Generations;
use crate::ops::members::{MemberReader, Place, TarStop, read_deletes};
use crate::ops::newest_files::NewestFiles;
use crate::ops::progress_reader::ProgressReader;
use crate::ops::server_shards::{ShardAnswer, ShardAsker};
use crate::progress::{Event, Progress};
use crate::repository::{BackupFile, Catalog, StoredFile, Tar};
use crate::server::Snapshot;
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, Member, TarError};
use crate::tsm::index::IndexError;
use crate::tsm::schema::{BlockSample, IndexCopy, ShardFile};
use crate::tsm::tombstone::{BoundedDeletes, TombstoneEnding};
use crate::tsm::{is_tombstone, stem};

/// How many blocks of a file are looked at for an estimate, where that is cheap and where it is
/// not.
const BLOCKS_LOOKED_AT: usize = 512;
const BLOCKS_ASKED_FOR: usize = 8;

/// What the files of shards are gathered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GatherDepth {
    /// To see what there is, by their indexes.
    Schema,
    /// To estimate how much there is, by their indexes and a few blocks.
    Estimate,
    /// To count all values, which takes the files as a whole.
    Exact,
}

/// How the files of shards are gathered.
#[derive(Clone, Copy)]
pub(super) struct Gathering<'a> {
    pub depth: GatherDepth,
    /// Whether to read a piece of a file takes long.
    pub is_remote: bool,
    /// Where files without a name are made.
    pub scratch: &'a Path,
    pub cancel: &'a Cancel,
    pub progress: &'a dyn Progress,
}

impl Gathering<'_> {
    fn is_exact(self) -> bool {
        self.depth == GatherDepth::Exact
    }
}

/// The files of a shard.
pub(super) struct GatheredShard {
    /// TSM files by their names.
    files: BTreeMap<String, GatheredFile>,
    /// What is deleted, by the name that a tombstone has in common with its TSM file.
    deletes: BTreeMap<String, BoundedDeletes>,
    /// Which files of its tars count.
    newest: NewestFiles,
    /// Which of them were gone when newer ones were written.
    generations: Generations<TsmContent>,
    /// Copies of indexes, or of whole files.
    copies: Spool,
    pub damage: Vec<GatherDamage>,
    /// What keeps the files of a directory.
    _snapshot: Option<Snapshot>,
}

/// Something of a shard that is damaged, and was not gathered.
#[derive(Debug)]
pub(super) struct GatherDamage {
    /// The file of the backup, where there is one.
    pub tar: Option<String>,
    /// The TSM or tombstone file; none where it is the tar.
    pub member: Option<String>,
    pub message: String,
}

struct GatheredFile {
    bytes: FileBytes,
    sample: BlockSample,
}

/// Where the bytes of a TSM file are.
enum FileBytes {
    /// Its index, in the copies.
    Index(IndexCopy),
    /// All of it, in the copies.
    Copy { at: u64, size: u64 },
    /// All of it, in a tar.
    InTar {
        tar: StoredFile,
        offset: u64,
        size: u64,
    },
    /// All of it, in a file of its own.
    File { file: File, size: u64 },
}

impl GatheredShard {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// When no file can be made in the scratch directory.
    fn new(gathering: Gathering<'_>) -> Result<Self> {
        Ok(Self {
            files: BTreeMap::new(),
            deletes: BTreeMap::new(),
            newest: NewestFiles::default(),
            generations: Generations::default(),
            copies: Spool::new_in(gathering.scratch).map_err(scratch_words)?,
            damage: Vec::new(),
            _snapshot: None,
        })
    }

    /// The files of a shard that is put together from tars, oldest first.
    ///
    /// # Errors
    ///
    /// When a file cannot be read. What is damaged of it is no error.
    pub(super) fn of_chain(
        catalog: &Catalog,
        shard: &ShardPath,
        chain: &[BackupFile],
        gathering: Gathering<'_>,
    ) -> Result<Self> {
        let mut gathered = Self::new(gathering)?;
        gathered.add_chain(catalog, shard, chain, gathering)?;
        Ok(gathered)
    }

    /// The files of a shard that a server is asked for; none of one that it has no more.
    ///
    /// # Errors
    ///
    /// When no file can be made in the scratch directory, or a stop was asked for. The error inside
    /// is why the shard does not come.
    pub(super) fn of_server(
        asker: &ShardAsker<'_>,
        shard: &ShardPath,
        gathering: Gathering<'_>,
        context: Context<'_>,
    ) -> Result<Result<Self, String>> {
        let answer = asker.ask(shard, context, |reply| {
            let mut gathered = Self::new(gathering)?;
            let ending = gathered.add_stream(reply, shard, gathering)?;
            Ok((gathered, ending))
        })?;
        match answer {
            ShardAnswer::Whole { taken, .. } => Ok(Ok(taken)),
            ShardAnswer::Gone => Self::new(gathering).map(Ok),
            ShardAnswer::Missing(reason) => Ok(Err(reason)),
        }
    }

    /// The files of a shard in a directory.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub(super) fn of_directory(
        snapshot: Snapshot,
        shard: &ShardPath,
        gathering: Gathering<'_>,
    ) -> Result<Self> {
        let mut gathered = Self::new(gathering)?;
        gathered.add_directory(snapshot, shard, gathering)?;
        Ok(gathered)
    }

    /// How many TSM files there are.
    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Gathers the files of a shard that is put together from tars, oldest first.
    ///
    /// # Errors
    ///
    /// When a file cannot be read. What is damaged of it is no error.
    fn add_chain(
        &mut self,
        catalog: &Catalog,
        shard: &ShardPath,
        chain: &[BackupFile],
        gathering: Gathering<'_>,
    ) -> Result<()> {
        for file in chain.iter().rev() {
            let mut tar = TarGathering::new(self, &file.name, shard, gathering);
            let stop = match tar.add_file(catalog, file) {
                Ok(Ending::Whole { .. }) => None,
                Ok(Ending::Nothing) => Some("it is empty".to_owned()),
                Err(TarStop::Failed(error)) => return Err(error),
                Err(TarStop::Tar(TarError::Source(error))) => {
                    gathering.cancel.check()?;
                    if !file.compressed || !is_damage(&error) {
                        let reading = format!("reading {}", catalog.place_of(&file.name));
                        return Err(scratch_words(error).context(reading));
                    }
                    Some(format!("it cannot be decompressed: {error}"))
                }
                Err(TarStop::Tar(damage)) => Some(damage.to_string()),
            };
            if let Some(message) = stop {
                tar.tell(None, message);
            }
            tar.end();
        }
        let is_same = |one: &TsmContent, other: &_| one.is_same(other, gathering.cancel);
        let gone = match self.generations.gone(is_same) {
            Ok(gone) => gone,
            Err(error) => {
                gathering.cancel.check()?;
                return Err(scratch_words(error).context(format!("reading shard {shard}")));
            }
        };
        for name in gone {
            self.files.remove(name);
            self.deletes.remove(stem(name));
        }
        Ok(())
    }

    /// Gathers the files of a shard from a tar that comes from a server.
    ///
    /// # Errors
    ///
    /// When it does not come whole.
    fn add_stream(
        &mut self,
        source: impl Read,
        shard: &ShardPath,
        gathering: Gathering<'_>,
    ) -> Result<Ending, TarStop> {
        let mut tar = TarGathering::new(self, "", shard, gathering);
        let source = ProgressReader::new(source, shard, gathering.progress);
        let spool = Spool::new_in(gathering.scratch).map_err(scratch_words)?;
        let members = MemberReader::streamed(source, Place::Spool(spool), None, shard);
        let ending = tar.add_members(members, None)?;
        tar.end();
        Ok(ending)
    }

    /// Gathers the files of a shard from a directory.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    fn add_directory(
        &mut self,
        snapshot: Snapshot,
        shard: &ShardPath,
        gathering: Gathering<'_>,
    ) -> Result<()> {
        let mut tar = TarGathering::new(self, "", shard, gathering);
        for file in &snapshot.files {
            gathering.cancel.check()?;
            let reading = || format!("reading {}", file.path.display());
            let opened = open_regular(&file.path).with_context(reading)?;
            if is_tombstone(&file.name) {
                tar.take_tombstone(&file.name, &opened)
                    .with_context(reading)?;
            } else {
                let content = Section::new(&opened, 0, file.size);
                let size = file.size;
                let own = |file| FileBytes::File { file, size };
                let bytes = gathering.is_exact().then(|| opened.try_clone().map(own));
                let bytes = bytes.transpose().with_context(reading)?;
                tar.take_tsm(&file.name, &content, bytes)
                    .with_context(reading)?;
            }
            gathering.progress.report(&Event::Bytes {
                shard,
                count: file.size,
            });
        }
        tar.end();
        self._snapshot = Some(snapshot);
        Ok(())
    }

    /// Hands the files to `each`, in the order of their names, which `names` are.
    pub(super) fn with_files<T>(&self, each: impl FnOnce(&[ShardFile<'_>], &[&str]) -> T) -> T {
        let none = BoundedDeletes::default();
        let copies = self.copies.file();
        let contents: Vec<Box<dyn ReadAt + '_>> = self
            .files
            .values()
            .map(|file| -> Box<dyn ReadAt + '_> {
                match &file.bytes {
                    FileBytes::Index(copy) => Box::new(copy.view(copies)),
                    FileBytes::Copy { at, size } => Box::new(Section::new(copies, *at, *size)),
                    FileBytes::InTar { tar, offset, size } => {
                        Box::new(Section::new(tar, *offset, *size))
                    }
                    FileBytes::File { file, size } => Box::new(Section::new(file, 0, *size)),
                }
            })
            .collect();
        let names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        let files = self.files.iter().zip(&contents);
        let files: Vec<ShardFile<'_>> = files
            .map(|((name, file), content)| ShardFile {
                content: &**content,
                deletes: self.deletes.get(stem(name)).unwrap_or(&none),
                sample: &file.sample,
            })
            .collect();
        each(&files, &names)
    }
}

/// Gathers the files of one tar, or of a directory.
struct TarGathering<'a> {
    into: &'a mut GatheredShard,
    /// The name of its file in the backup; empty where there is none.
    tar: &'a str,
    shard: &'a ShardPath,
    gathering: Gathering<'a>,
}

impl<'a> TarGathering<'a> {
    fn new(
        into: &'a mut GatheredShard,
        tar: &'a str,
        shard: &'a ShardPath,
        gathering: Gathering<'a>,
    ) -> Self {
        Self {
            into,
            tar,
            shard,
            gathering,
        }
    }

    /// Tells what is damaged.
    fn tell(&mut self, member: Option<&str>, message: String) {
        self.into.damage.push(GatherDamage {
            tar: Some(self.tar.to_owned()).filter(|tar| !tar.is_empty()),
            member: member.map(str::to_owned),
            message,
        });
    }

    /// All of it was passed; an older tar comes next.
    fn end(self) {
        self.into.newest.next_tar();
        self.into.generations.next_tar();
    }

    fn add_file(&mut self, catalog: &Catalog, file: &BackupFile) -> Result<Ending, TarStop> {
        let Gathering {
            depth: _,
            is_remote,
            scratch,
            cancel,
            progress,
        } = self.gathering;
        let exact = self.gathering.is_exact();
        // Pieces of a compressed file cannot be had, and many pieces of one far away take longer
        // than all of it.
        let is_passed_whole = file.compressed || exact && is_remote;
        if !is_passed_whole {
            let tar = catalog.open(file, |file| file)?;
            let stored = match &tar {
                Tar::Plain(stored) => Some(stored.clone()),
                Tar::Compressed(_) => None,
            };
            let members =
                MemberReader::open(tar, scratch, self.shard, cancel).map_err(scratch_words)?;
            let ending = self.add_members(members, stored.as_ref())?;
            progress.report(&Event::Bytes {
                shard: self.shard,
                count: file.size,
            });
            return Ok(ending);
        }
        let tar = catalog.open(file, |inner| {
            let inner = Stoppable { inner, cancel };
            ProgressReader::new(inner, self.shard, progress)
        })?;
        let spool = Spool::new_in(scratch).map_err(scratch_words)?;
        let members = MemberReader::streamed(tar, Place::Spool(spool), None, self.shard);
        self.add_members(members, None)
    }

    /// Passes the members of a tar; `stored` is its file where members can be read in it later.
    fn add_members(
        &mut self,
        mut members: MemberReader<'_, impl Read>,
        stored: Option<&StoredFile>,
    ) -> Result<Ending, TarStop> {
        while let Some(member) = members.next_member().map_err(TarStop::Tar)? {
            self.gathering
                .cancel
                .check()
                .map_err(|stop| TarStop::Failed(stop.into()))?;
            let known = |crc| TsmContent::of(&member, crc, stored);
            if self.is_passed(&member) {
                let crc = members.pass_content()?;
                self.into
                    .generations
                    .pass(&member.name, member.modified, known(crc));
                continue;
            }
            let content = members.content()?;
            self.into
                .generations
                .pass(&member.name, member.modified, known(content.crc));
            if member.is_tombstone() {
                self.take_tombstone(&member.name, &content.bytes)?;
            } else {
                let in_tar = |tar: &StoredFile| FileBytes::InTar {
                    tar: tar.clone(),
                    offset: member.offset,
                    size: member.size,
                };
                self.take_tsm(&member.name, &content.bytes, stored.map(in_tar))?;
            }
        }
        members.finish().map_err(TarStop::Tar)
    }

    /// Whether nothing is to be seen in a member, or it does not count.
    fn is_passed(&self, member: &Member) -> bool {
        let is_seen = member.is_tsm() || member.is_tombstone();
        !is_seen || !self.into.newest.counts(&member.name)
    }

    fn take_tombstone(&mut self, name: &str, content: &dyn ReadAt) -> Result<()> {
        self.into.newest.pass(name);
        match read_deletes(name, content, self.gathering.scratch) {
            Ok((deletes, ending)) => {
                if ending == TombstoneEnding::Torn {
                    self.tell(Some(name), "it breaks off".to_owned());
                }
                self.into.deletes.insert(stem(name).to_owned(), deletes);
                Ok(())
            }
            Err(error)
                if error.kind() == io::ErrorKind::InvalidData
                    || error.kind() == io::ErrorKind::InvalidInput =>
            {
                let cause = anyhow::Error::new(error);
                self.tell(
                    Some(name),
                    format!("it is no tombstone: {}", cause.root_cause()),
                );
                Ok(())
            }
            Err(error) => Err(scratch_words(error)),
        }
    }

    /// Takes a TSM file; `bytes` are where all of it stays, if it stays anywhere.
    fn take_tsm(
        &mut self,
        name: &str,
        content: &(impl ReadAt + ?Sized),
        bytes: Option<FileBytes>,
    ) -> Result<()> {
        self.into.newest.pass(name);
        let is_exact = self.gathering.is_exact();
        let looked_at = match (self.gathering.depth, self.gathering.is_remote) {
            (GatherDepth::Schema | GatherDepth::Exact, _) => 0,
            (GatherDepth::Estimate, true) => BLOCKS_ASKED_FOR,
            (GatherDepth::Estimate, false) => BLOCKS_LOOKED_AT,
        };
        let copies = &mut self.into.copies;
        let taken = BlockSample::take(content, looked_at).and_then(|sample| {
            let bytes = match bytes.filter(|_| is_exact) {
                Some(bytes) => bytes,
                None if is_exact => copy_whole(content, copies)?,
                None => FileBytes::Index(IndexCopy::make(content, copies)?),
            };
            Ok(GatheredFile { bytes, sample })
        });
        match taken {
            Ok(file) => {
                self.into.files.insert(name.to_owned(), file);
                Ok(())
            }
            Err(IndexError::Read { source, .. }) => Err(scratch_words(source)),
            Err(damage) => {
                self.tell(Some(name), damage.to_string());
                Ok(())
            }
        }
    }
}

/// What a TSM file in a tar is told from another of its name by.
#[derive(Debug)]
struct TsmContent {
    size: u64,
    /// CRC-32, where it was read anyway.
    crc: Option<u32>,
    /// Where it can be read again otherwise: the tar, and its place there.
    stored: Option<(StoredFile, u64)>,
}

impl TsmContent {
    fn of(member: &Member, crc: Option<u32>, stored: Option<&StoredFile>) -> Self {
        Self {
            size: member.size,
            crc,
            stored: stored.map(|tar| (tar.clone(), member.offset)),
        }
    }

    fn is_same(&self, other: &Self, cancel: &Cancel) -> io::Result<bool> {
        Ok(self.size == other.size && self.crc(cancel)? == other.crc(cancel)?)
    }

    fn crc(&self, cancel: &Cancel) -> io::Result<Option<u32>> {
        let (None, Some((tar, offset))) = (self.crc, &self.stored) else {
            return Ok(self.crc);
        };
        let content = Section::new(tar, *offset, self.size);
        Crc32ReadAt::new(&content, cancel).crc().map(Some)
    }
}

/// Copies all of a file behind other copies.
fn copy_whole(
    content: &(impl ReadAt + ?Sized),
    copies: &mut Spool,
) -> Result<FileBytes, IndexError> {
    let failed = |source| IndexError::Read { offset: 0, source };
    let (at, size) = (copies.size(), content.size().map_err(failed)?);
    copies.want(at.saturating_add(size)).map_err(failed)?;
    io::copy(&mut FromStart::new(content), copies).map_err(failed)?;
    Ok(FileBytes::Copy { at, size })
}
