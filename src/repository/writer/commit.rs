//! The commit: all files of a set get their final names, or none does, and the record comes last.

use std::collections::HashSet;
use std::io;

use anyhow::{Context, Result, bail};

use super::files::is_staged;
use super::reserve::free_stamp;
use super::{CommitState, NAME_TRIES, SetFiles, SetWriter};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::repository::hidden::{COMMIT, RECORD, name_of};
use crate::repository::layout::Layout;
use crate::repository::record::SetRecord;
use crate::repository::staged_file::SealedFile;
use crate::repository::store::{Folder, Store, WritableStore};

impl SetWriter {
    /// As [`SetWriter::commit`], where the files get their names now.
    pub(super) fn commit_staged(
        mut self,
        mut record: SetRecord,
        files: &SetFiles,
        cancel: &Cancel,
    ) -> Result<SetRecord> {
        record.number = self.free_number()?;
        let meta = self.write("", &files.meta)?;
        self.store.settle(Folder::Staged(&self.staged))?;
        for _ in 0..NAME_TRIES {
            cancel.check()?;
            record.id.clone_from(&self.id);
            name_files(&mut record, files, &meta);
            let manifest = self.write_manifest(&mut record)?;
            let Some(taken) = self.commit_as(&record, files, &meta, manifest.as_ref())? else {
                self.commits = CommitState::Done;
                return Ok(record);
            };
            // Somebody without our lock, influxd say, took a name meanwhile.
            if let Some(manifest) = manifest {
                manifest.remove()?;
            }
            match (record.layout, &self.copied) {
                (Layout::Legacy, Some(_)) => {
                    record.number = self.free_number()?;
                }
                (Layout::Portable, Some(copied)) => {
                    return Err(copied.taken(&self.store.place_of(&taken)).into());
                }
                (Layout::Legacy, None) => {
                    record.number = record.number.checked_add(1).ok_or_else(|| {
                        let (most, place) = (u32::MAX, self.store.place());
                        ErrorKind::Failed
                            .error(format!("no number is left for a set: {place} has one of {most}"))
                            .hint("it is in the name of a file or in a record: remove that, or back up into another directory")
                    })?;
                }
                (Layout::Portable, None) => self.id = free_stamp(&*self.store, cancel)?.0,
            }
        }
        bail!(
            "the names of a set in {} were taken {NAME_TRIES} times before they could be given",
            self.store.place()
        )
    }

    /// Gives the files the names that the record says, and writes it. Where one of the names is
    /// taken, none is given, and it is told.
    pub(super) fn commit_as(
        &self,
        record: &SetRecord,
        files: &SetFiles,
        meta: &SealedFile,
        manifest: Option<&SealedFile>,
    ) -> Result<Option<String>> {
        let store = &*self.store;
        ensure_no_name_twice(store, record)?;
        let moves = moves(record, files, meta, manifest);
        let intent = name_of(&self.id, COMMIT);
        let write = |name: &str| store.write_whole(name, &mut |out| record.write_to(out));
        write(&intent)?;
        match give_names(store, &moves) {
            Ok(None) => {}
            Ok(Some(taken)) => {
                store.remove(&intent)?;
                return Ok(Some(taken.to_owned()));
            }
            Err(error) => {
                forget_intent(store, &intent, &moves);
                let place = store.place();
                return Err(error).context(format!("giving the files in {place} their names"));
            }
        }
        let document = name_of(&self.id, RECORD);
        let recorded = store.settle(Folder::Top).and_then(|()| write(&document));
        if let Err(error) = recorded {
            // Where the record has its name already, and it cannot be taken back, the files stay
            // with it.
            if store.remove(&document).is_err() && matches!(store.entry(&document), Ok(Some(_))) {
                // An error of ours: a full disk is told as one that kept nothing.
                return Err(error.context(ErrorKind::Failed.error(format!(
                    "set {} is whole, but may not outlast a power failure",
                    self.id
                ))));
            }
            // Without a record these files are no set, and must not be taken for one.
            let _ = store.settle(Folder::Hidden);
            for (staged, name) in &moves {
                let _ = store.take_back(name, staged);
            }
            forget_intent(store, &intent, &moves);
            return Err(error);
        }
        // Beside a record it means nothing, and the next run removes it.
        let _ = store.remove(&intent);
        Ok(None)
    }

    /// In the portable layout, makes the manifest, and writes it into the record; says there in which
    /// form it is.
    pub(super) fn write_manifest(&self, record: &mut SetRecord) -> Result<Option<SealedFile>> {
        record.format = record.needed_format();
        let Some(name) = record.names().manifest() else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        record.to_manifest().write_to(&mut bytes)?;
        let manifest = self.write(&name, &bytes)?;
        record.manifest = Some(manifest.record(name));
        Ok(Some(manifest))
    }
}

/// Writes into the record what the files are, or will be, called.
pub(super) fn name_files(record: &mut SetRecord, files: &SetFiles, meta: &SealedFile) {
    let names = record.names();
    record.meta = meta.record(names.meta());
    for (index, file) in &files.shards {
        let shard = &mut record.shards[*index];
        let name = match is_staged(&file.name) {
            true => names.shard(&shard.path()),
            false => file.name.clone(),
        };
        shard.file = Some(file.record(name));
    }
}

/// Which staged file gets which name. What influxd takes for the sign of a backup comes last: it
/// takes no shard for restorable without.
fn moves<'a>(
    record: &'a SetRecord,
    files: &'a SetFiles,
    meta: &'a SealedFile,
    manifest: Option<&'a SealedFile>,
) -> Vec<Move<'a>> {
    let shards = files
        .shards
        .iter()
        .map(|(index, file)| (file, record.shards[*index].file.as_ref()));
    let rest = [
        (Some(meta), Some(&record.meta)),
        (manifest, record.manifest.as_ref()),
    ];
    let rest = rest
        .into_iter()
        .filter_map(|(file, record)| Some((file?, record)));
    shards
        .chain(rest)
        .filter(|(file, _)| is_staged(&file.name))
        .filter_map(|(file, record)| Some((&*file.name, &*record?.name)))
        .collect()
}

/// No other number or stamp would help.
pub(super) fn ensure_no_name_twice(store: &dyn Store, record: &SetRecord) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(twice) = record.files().find(|file| !names.insert(&file.name)) {
        let place = store.place_of(&twice.name);
        bail!("two files of the set would be called {place}");
    }
    Ok(())
}

/// The name of a staged file, and the one that it gets.
pub(super) type Move<'a> = (&'a str, &'a str);

/// Gives all files their final names, none of which may exist, or none of them; tells which name is
/// taken, if one is.
pub(super) fn give_names<'a>(
    store: &dyn WritableStore,
    moves: &[Move<'a>],
) -> io::Result<Option<&'a str>> {
    for (done, (staged, name)) in moves.iter().enumerate() {
        let Err(error) = store.give_name(staged, name) else {
            continue;
        };
        for (staged, name) in &moves[..done] {
            // So that nothing is lost and the next number can be tried.
            store.take_back(name, staged).map_err(io::Error::other)?;
        }
        return match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(Some(*name)),
            _ => Err(error),
        };
    }
    Ok(None)
}

/// Removes the intent of a commit once all names are taken back: others may take them now. Where
/// one is not, the next run undoes what the intent names.
fn forget_intent(store: &dyn WritableStore, intent: &str, moves: &[Move<'_>]) {
    let is_back = |(staged, _): &Move<'_>| matches!(store.entry(staged), Ok(Some(_)));
    if moves.iter().all(is_back) {
        let _ = store.remove(intent);
    }
}
