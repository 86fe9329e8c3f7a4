//! Copying one set: its files, then its metastore and its record as a backup's.

use std::time::Instant;

use super::CopyRun;
use super::fault::CopyFault;
use super::plan::PlannedSet;
use super::target::is_same_file;
use crate::cancel::Cancel;
use crate::ops::queue::{self, Turn};
use crate::progress::{Event, Outcome};
use crate::repository::{
    Comparison, FileRecord, ResumableRun, RunHeader, SealedFile, SetFiles, SetId, SetRecord,
    SetWriter, ShardRecord,
};
use crate::shard::ShardPath;
use crate::text::{plural, size};

/// A shard whose file is to be copied.
struct ShardJob<'a> {
    /// Its place among the shards of the record.
    index: usize,
    shard: &'a ShardRecord,
    file: &'a FileRecord,
}

/// A file that the set has in the target.
struct CopiedFile {
    index: usize,
    file: SealedFile,
    /// The set that has it there already.
    shared_with: Option<SetId>,
    /// Whether it was copied, or an earlier run had copied it for this set.
    is_new: bool,
}

impl CopyRun<'_> {
    /// Copies a set; gives its record in the target, and how many bytes are new there.
    pub(super) fn copy_set(
        &mut self,
        planned: &PlannedSet,
        record: &SetRecord,
    ) -> Result<(SetRecord, u64), CopyFault> {
        let meta = self.read_meta(record)?;
        self.ensure_there(record)?;
        let name = self.target.name_for(self.source, planned.at, record);
        let (target, wait) = (&self.options.target, self.options.retry_lock);
        let begun = SetWriter::begin_copy(
            target,
            name,
            &self.target.numbers,
            wait,
            self.context.cancel,
        );
        let mut writer = begun.map_err(CopyFault::of_target)?;
        writer.builds_on(self.parents(planned));
        if !std::mem::replace(&mut self.has_warned, true) {
            let warnings = writer.warnings().iter();
            warnings.for_each(|warning| self.context.warn(warning));
        }
        let paths: Vec<ShardPath> = jobs_of(record).map(|job| job.shard.path()).collect();
        let paths: Vec<&ShardPath> = paths.iter().collect();
        let shared = jobs_of(record).filter_map(|job| {
            let (there, _) = self.target.file_of(record, job.shard, job.file)?;
            Some(there.name.clone())
        });
        let shared: Vec<String> = shared.collect();
        let reserved = writer.reserve(record.layout, &paths, &shared, self.context.cancel);
        reserved.map_err(CopyFault::of_target)?;
        let run = RunHeader {
            started: record.started,
            cluster_id: record.cluster_id.unwrap_or_default(),
            layout: record.layout,
            selection: record.selection.clone(),
        };
        let earlier = writer.take_over(&run).map_err(CopyFault::of_target)?;
        self.context.detail(format!(
            "copying set {}: {}, {}",
            record.id,
            plural(paths.len(), "shard"),
            size(jobs_of(record).map(|job| job.file.size).sum())
        ));
        let files = self.copy_files(&writer, record, earlier)?;
        self.commit(writer, record, meta, files)
    }

    /// The sets that one builds on, all of which the target has.
    fn parents(&self, planned: &PlannedSet) -> Vec<SetId> {
        let sets = self.source.sets();
        let parents = planned.parents.iter();
        parents.map(|at| sets[*at].id.clone()).collect()
    }

    /// The metastore's file.
    fn read_meta(&self, record: &SetRecord) -> Result<Vec<u8>, CopyFault> {
        let (source, meta) = (self.source, &record.meta);
        if !source.has(&meta.name) {
            let (place, what) = (source.place_of(&meta.name), source.absence(&meta.name));
            return Err(CopyFault::damage(format!("{place} {what}")));
        }
        let bytes = source.read_file(&meta.name);
        let bytes = bytes.map_err(CopyFault::of_source)?;
        match meta.digest.is_of(&bytes) {
            true => Ok(bytes),
            false => Err(self.differs(meta)),
        }
    }

    /// Makes sure, before anything is copied, that all files are there with their sizes.
    fn ensure_there(&self, record: &SetRecord) -> Result<(), CopyFault> {
        let source = self.source;
        for ShardJob { file, .. } in jobs_of(record) {
            let place = source.place_of(&file.name);
            match source.file(&file.name) {
                Some(is) if is == file.size => {}
                Some(is) => {
                    let recorded = file.size;
                    return Err(CopyFault::damage(format!(
                        "{place} has {is} bytes, and {recorded} were recorded"
                    )));
                }
                None => {
                    let what = source.absence(&file.name);
                    return Err(CopyFault::damage(format!("{place} {what}")));
                }
            }
        }
        Ok(())
    }

    /// That a file is not the one that was recorded.
    pub(super) fn differs(&self, file: &FileRecord) -> CopyFault {
        let (place, algorithm) = (self.source.place_of(&file.name), file.digest.algorithm());
        CopyFault::damage(format!(
            "{place} is not what was recorded: {algorithm} differs"
        ))
    }

    /// Copies or shares the files of all shards.
    fn copy_files(
        &self,
        writer: &SetWriter,
        record: &SetRecord,
        earlier: Option<&ResumableRun>,
    ) -> Result<Vec<CopiedFile>, CopyFault> {
        // A fault of one file stops the other threads as well.
        let stop = self.context.cancel.child();
        let jobs: Vec<ShardJob<'_>> = jobs_of(record).collect();
        let results = queue::work(jobs, self.options.jobs, &stop, |job| {
            let copied = self.copy_shard(writer, record, &job, earlier, &stop);
            if copied.is_err() {
                stop.cancel();
            }
            Turn::Done(copied)
        });
        self.context.check().map_err(CopyFault::of_target)?;
        let (mut files, mut faults) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(file) => files.push(file),
                Err(fault) => faults.push(fault),
            }
        }
        faults.sort_by_key(CopyFault::is_stop);
        match faults.into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(files),
        }
    }

    /// Copies the file of a shard, or finds it in the target.
    fn copy_shard(
        &self,
        writer: &SetWriter,
        record: &SetRecord,
        job: &ShardJob<'_>,
        earlier: Option<&ResumableRun>,
        stop: &Cancel,
    ) -> Result<CopiedFile, CopyFault> {
        let (path, started) = (job.shard.path(), Instant::now());
        self.context.report(&Event::Started {
            shard: &path,
            bytes: Some(job.file.size),
        });
        let found = self.shared(writer, record, job, stop)?;
        let found = match found {
            Some(found) => Some((found, Outcome::Skipped("there already"))),
            None => {
                let taken = taken_over(writer, job, &path, earlier, stop)?;
                taken.map(|taken| (taken, Outcome::Skipped("copied by an earlier run")))
            }
        };
        let (copied, outcome) = match found {
            Some(found) => found,
            None => {
                let file = self.copy_file(writer, &path, job.file, stop)?;
                let outcome = Outcome::Done {
                    files: job.shard.members.len(),
                    bytes: job.file.size,
                };
                (CopiedFile::new(job, file), outcome)
            }
        };
        if copied.is_new {
            let note = ShardRecord {
                shared_with: None,
                ..job.shard.clone()
            };
            let noted = writer.note(&note, Some(&copied.file));
            noted.map_err(CopyFault::of_target)?;
        }
        self.context.report(&Event::Finished {
            shard: &path,
            outcome,
            elapsed: started.elapsed(),
        });
        Ok(copied)
    }

    /// The same file of another set in the target.
    fn shared(
        &self,
        writer: &SetWriter,
        record: &SetRecord,
        job: &ShardJob<'_>,
        stop: &Cancel,
    ) -> Result<Option<CopiedFile>, CopyFault> {
        let Some((there, set)) = self.target.file_of(record, job.shard, job.file) else {
            return Ok(None);
        };
        let shared = writer.share(&there.name, there, Comparison::Time, stop);
        let shared = shared.map_err(CopyFault::of_target)?;
        Ok(shared.map(|file| CopiedFile {
            shared_with: Some(set.clone()),
            is_new: false,
            ..CopiedFile::new(job, file)
        }))
    }

    /// Makes a set of the files.
    fn commit(
        &self,
        writer: SetWriter,
        record: &SetRecord,
        meta: Vec<u8>,
        files: Vec<CopiedFile>,
    ) -> Result<(SetRecord, u64), CopyFault> {
        let mut copy = record.clone();
        let mut added = 0_u64;
        let mut shards = Vec::with_capacity(files.len());
        for copied in files {
            let shard = &mut copy.shards[copied.index];
            // Who downloaded it is told by the first of the two records.
            shard.shared_with = shard.shared_with.take().or(copied.shared_with);
            if copied.is_new {
                added = added.saturating_add(copied.file.size);
            }
            shards.push((copied.index, copied.file));
        }
        let files = SetFiles { meta, shards };
        let committed = writer.commit(copy, &files, self.context.cancel);
        let committed = committed.map_err(CopyFault::of_target)?;
        let rest = [Some(&committed.meta), committed.manifest.as_ref()];
        for file in rest.into_iter().flatten() {
            added = added.saturating_add(file.size);
        }
        Ok((committed, added))
    }
}

impl CopiedFile {
    /// A file that no other set has.
    fn new(job: &ShardJob<'_>, file: SealedFile) -> Self {
        Self {
            index: job.index,
            file,
            shared_with: None,
            is_new: true,
        }
    }
}

/// The shards of a set that have a file.
fn jobs_of(record: &SetRecord) -> impl Iterator<Item = ShardJob<'_>> {
    let shards = record.shards.iter().enumerate();
    shards.filter_map(|(index, shard)| {
        let file = shard.file.as_ref()?;
        Some(ShardJob { index, shard, file })
    })
}

/// The same file, where a run that was killed had copied it.
fn taken_over(
    writer: &SetWriter,
    job: &ShardJob<'_>,
    path: &ShardPath,
    earlier: Option<&ResumableRun>,
    stop: &Cancel,
) -> Result<Option<CopiedFile>, CopyFault> {
    let Some(left) = earlier.and_then(|earlier| earlier.shard(path)) else {
        return Ok(None);
    };
    let same = left.record.file.as_ref();
    let Some(file) = same.filter(|file| is_same_file(file, job.file)) else {
        return Ok(None);
    };
    let reused = writer.reuse(&left.name, file, stop);
    let reused = reused.map_err(CopyFault::of_target)?;
    Ok(reused.map(|file| CopiedFile::new(job, file)))
}
