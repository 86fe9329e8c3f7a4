//! The shards of an influxd that does not run: snapshots of their files, and files put into them.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempPath;

use super::layout::{ensure_data_there, ensure_directory_name, regular_file, shard_dir, uses_tsi1};
use super::ownership::Ownership;
use super::request_folder::{RequestFolder, sweep};
use super::wal::Wal;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::io::durable;
use crate::io::open::open_regular;
use crate::io::scratch::{private_dir_in, scratch_dir};
use crate::server::{ShardStore, Snapshot, SnapshotFile};
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, Member, ShardTarReader, TarError};
use crate::tsm::envelope::Envelope;
use crate::tsm::{is_file_name, is_tombstone, tombstone_of};

/// The hidden folder in the data directory where snapshots and uploads live while a request goes
/// on.
pub(crate) const SNAPSHOTS: &str = ".snap-serve";
/// Bytes of an upload read at a time.
const CHUNK: usize = 128 << 10;

/// `data/<db>/<rp>/<id>` below a data directory.
#[derive(Debug)]
pub struct LocalShards {
    datadir: PathBuf,
    /// Where WAL entries are looked for; `None` where none are.
    waldir: Option<PathBuf>,
    /// Whether shards are handed out without what is in their WAL.
    ignore_wal: bool,
    /// Held to write while files are put into a shard, and to read while a snapshot is taken.
    change: RwLock<()>,
    /// Held while a WAL is replayed: one at a time, whatever the number of requests, so that memory
    /// is bounded.
    replay: Mutex<()>,
}

impl LocalShards {
    /// The shards below `datadir`. With a `waldir`, what is in the WAL of a shard is handed out
    /// with it as TSM files, or, with `ignore_wal`, left out, and the snapshot says so. Removes
    /// what a killed process left of its snapshots.
    ///
    /// # Errors
    ///
    /// When the data directory is not there, or what was left cannot be removed.
    pub fn open(datadir: &Path, waldir: Option<&Path>, ignore_wal: bool) -> Result<Self> {
        ensure_data_there(datadir, ErrorKind::Failed)?;
        ensure!(
            datadir.is_dir(),
            "{} is a file, not a directory",
            datadir.display()
        );
        match sweep(&datadir.join(SNAPSHOTS)) {
            Err(error) if is_read_only(&error) => {}
            swept => swept?,
        }
        Ok(Self {
            datadir: datadir.to_owned(),
            waldir: waldir.map(Path::to_owned),
            ignore_wal,
            change: RwLock::default(),
            replay: Mutex::default(),
        })
    }

    /// A fresh folder for one request.
    fn folder(&self) -> Result<RequestFolder> {
        let parent = self.datadir.join(SNAPSHOTS);
        RequestFolder::make(&parent)
            .with_context(|| format!("making a folder in {}", parent.display()))
    }

    /// What the WAL of a shard holds.
    fn wal(&self, shard: &ShardPath) -> Result<Option<Wal>> {
        self.waldir
            .as_ref()
            .map_or(Ok(None), |waldir| Wal::find(waldir, shard))
    }

    /// The TSM and tombstone files in a shard's directory, linked into `folder` if there is one.
    fn files(&self, shard: &ShardPath, folder: Option<&Path>) -> Result<Vec<SnapshotFile>> {
        let directory = shard_dir(&self.datadir, shard);
        let mut files = Vec::new();
        let entries = match fs::read_dir(&directory) {
            // All that the shard has is in the WAL.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries.with_context(|| format!("reading {}", directory.display()))?,
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !name.ends_with(".tsm") && !is_tombstone(&name) {
                continue;
            }
            let mut path = entry.path();
            regular_file(&path)?;
            if let Some(folder) = folder {
                path = folder.join(&name);
                link_or_copy(&entry.path(), &path)
                    .with_context(|| format!("taking a snapshot of {}", entry.path().display()))?;
            }
            // Once more, of what was linked: nobody else can change that.
            let metadata = regular_file(&path)?;
            files.push(snapshot_file(name, path, &metadata, &metadata)?);
        }
        Ok(files)
    }
}

impl ShardStore for LocalShards {
    fn holds(&self, shard: &ShardPath) -> Result<bool> {
        let directory = shard_dir(&self.datadir, shard);
        match fs::metadata(&directory) {
            _ if ensure_inside(shard).is_err() => Ok(false),
            Ok(metadata) => Ok(metadata.is_dir()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(!self.ignore_wal && self.wal(shard)?.is_some())
            }
            Err(error) => {
                Err(error).with_context(|| format!("looking for {}", directory.display()))
            }
        }
    }

    fn snapshot(&self, shard: &ShardPath) -> Result<Snapshot> {
        let wal = self.wal(shard)?;
        let _unchanged = self.change.read().unwrap_or_else(PoisonError::into_inner);
        // On a file system that cannot be written, nothing changes, and the files themselves do.
        let folder = match self.folder() {
            Err(error) if is_read_only(&error) => None,
            folder => Some(folder?),
        };
        let mut files = self.files(shard, folder.as_ref().map(RequestFolder::path))?;
        let mut notes = Vec::new();
        let mut elsewhere = None;
        match wal {
            None => {}
            Some(wal) if self.ignore_wal => {
                notes.push(format!(
                    "the {} bytes in the WAL of shard {shard} are left out",
                    wal.bytes()
                ));
            }
            Some(wal) => {
                let into = match &folder {
                    Some(folder) => folder.path(),
                    None => elsewhere
                        .insert(private_dir_in(&scratch_dir()).with_context(|| {
                            format!(
                                "making a temporary folder in TMPDIR ({})",
                                scratch_dir().display()
                            )
                        })?)
                        .path(),
                };
                let _alone = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
                let names = files.iter().map(|file| file.name.as_str());
                let flushed = wal
                    .flush_into(into, names)
                    .with_context(|| format!("reading the WAL of shard {shard}"))?;
                notes.extend(
                    flushed
                        .notes
                        .into_iter()
                        .map(|note| format!("the WAL of shard {shard}: {note}")),
                );
                for (name, path) in flushed.files {
                    let made = fs::metadata(&path)
                        .with_context(|| format!("reading {}", path.display()))?;
                    files.push(snapshot_file(name, path, &made, wal.metadata())?);
                }
            }
        }
        // As servers of 1.5 and later send them: a tombstone before its TSM file.
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Snapshot {
            files,
            notes,
            _guard: Box::new((folder, elsewhere)),
        })
    }

    fn create(&self, shards: &[ShardPath]) -> Result<()> {
        let tsi1 = uses_tsi1(&self.datadir);
        let ownership = Ownership::below(&self.datadir)?;
        let mut policies = BTreeSet::new();
        for shard in shards {
            ensure_inside(shard)?;
            let directory = shard_dir(&self.datadir, shard);
            let filled = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some());
            ensure!(
                !filled,
                "{} is there already and holds something",
                directory.display()
            );
            let policy = durable::directory_of(&directory);
            ownership.create_dirs(policy)?;
            ownership.create_unsynced_dirs(&directory)?;
            if tsi1 {
                ownership.create_unsynced_dirs(&directory.join("index"))?;
            }
            durable::sync_dir(&directory)?;
            policies.insert(policy.to_owned());
        }
        // Each once, however many shards it has.
        policies
            .iter()
            .try_for_each(|policy| durable::sync_dir(policy))
    }

    fn replace(&self, shard: &ShardPath, tar: &mut dyn Read) -> Result<usize> {
        let folder = self.folder()?;
        let names = receive(tar, shard, folder.path())?;
        let _change = self.change.write().unwrap_or_else(PoisonError::into_inner);
        let directory = shard_dir(&self.datadir, shard);
        let ownership = Ownership::below(&self.datadir)?;
        // A shard that is in the WAL alone has none.
        ownership.create_dirs(&directory)?;
        // What an upload that was killed left, see `beside`.
        durable::remove_unfinished(&directory)?;
        let mut received = Vec::with_capacity(names.len());
        for name in &names {
            let file = beside(&directory, &folder.path().join(name))?;
            ownership
                .apply(&file)
                .with_context(|| format!("setting owner and mode of {name}"))?;
            received.push(file);
        }
        // What belongs to the files that go away goes first, and lastingly. A crash after that
        // leaves old files whose deleted points are back, until the upload is repeated. The other
        // way round, old deletes would apply to new files, and influxd would remove their points.
        // No name avoids both: each file and its tombstone would have to change in one step. An
        // index that is built anew is right with old files and with new ones.
        if !names.is_empty() {
            reset_index(&directory, &ownership)?;
        }
        for name in &names {
            durable::remove_if_there(&directory.join(tombstone_of(name)))?;
        }
        durable::sync_dir(&directory)?;
        for (file, name) in received.iter().zip(&names) {
            durable::rename(file, &directory.join(name))?;
        }
        durable::sync_dir(&directory)?;
        Ok(names.len())
    }
}

fn ensure_inside(shard: &ShardPath) -> Result<(), Error> {
    ensure_directory_name(&shard.database)
        .and_then(|()| ensure_directory_name(&shard.retention_policy))
}

/// Writes the TSM files of an upload into a folder, and passes over other members, as influxd does.
/// The tar is read to its end, and no further: a client may wait for an answer before it closes, or
/// pad its tar.
fn receive(tar: &mut dyn Read, shard: &ShardPath, folder: &Path) -> Result<Vec<String>> {
    let mut reader = ShardTarReader::new(BufReader::with_capacity(CHUNK, tar), shard);
    let mut names = Vec::new();
    while let Some(member) = reader.next_member().map_err(of_upload)? {
        if member.is_tsm() {
            receive_file(&mut reader, &member, folder)?;
            names.push(member.name);
        }
    }
    match reader.ending() {
        Ending::Whole { .. } => Ok(names),
        Ending::Nothing => Err(anyhow!("no tar came")),
    }
}

fn receive_file(
    reader: &mut ShardTarReader<impl Read>,
    member: &Member,
    folder: &Path,
) -> Result<()> {
    // Another name would close the shard for good when influxd opens it.
    ensure!(
        is_file_name(&member.name),
        "at offset {}: {} is not named <generation>-<sequence>.tsm",
        member.offset,
        member.name
    );
    let path = folder.join(&member.name);
    let mut file = durable::create_new(&path)?;
    let mut envelope = Envelope::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = reader.read_content(&mut buffer).map_err(of_upload)?;
        if count == 0 {
            break;
        }
        envelope.feed(&buffer[..count]);
        file.write_all(&buffer[..count])?;
    }
    envelope
        .finish()
        .with_context(|| format!("at offset {}", reader.offset()))?;
    durable::sync(&file, &path)
}

/// The file, or a copy of it, where it can be renamed into a directory: a database can lie on a file
/// system of its own.
fn beside(directory: &Path, file: &Path) -> Result<TempPath> {
    let device = |path: &Path| -> Result<u64> {
        let metadata = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(metadata.dev())
    };
    if device(directory)? == device(file)? {
        return Ok(TempPath::try_from_path(file)?);
    }
    let mut copy = durable::unfinished_in(directory)?;
    let mut source = open_regular(file).with_context(|| format!("reading {}", file.display()))?;
    io::copy(&mut source, &mut copy)
        .with_context(|| format!("writing into {}", directory.display()))?;
    durable::sync(copy.as_file(), copy.path())?;
    durable::remove_if_there(file)?;
    Ok(copy.into_temp_path())
}

fn of_upload(error: TarError) -> anyhow::Error {
    match error {
        TarError::Source(error) => anyhow::Error::new(error).context("receiving the tar"),
        damage => damage.into(),
    }
}

/// Makes influxd build a shard's index and field list anew at its next start: it trusts those it
/// finds. The shard's directory is to be synced then.
fn reset_index(directory: &Path, ownership: &Ownership) -> Result<()> {
    for name in ["fields.idx", "fields.idxl"] {
        durable::remove_if_there(&directory.join(name))?;
    }
    let index = directory.join("index");
    if index.is_dir() {
        durable::remove_tree_if_there(&index)?;
        ownership.create_unsynced_dirs(&index)?;
    }
    Ok(())
}

fn is_read_only(error: &anyhow::Error) -> bool {
    let kind = error
        .chain()
        .find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    matches!(
        kind,
        Some(io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
    )
}

/// The name of a user or group; empty where the file does not have it.
fn name_of(file: &str, id: u32) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let entries = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    entries.map(str::to_owned).next().unwrap_or_default()
}

/// A file with the owner and mode of another one.
fn snapshot_file(
    name: String,
    path: PathBuf,
    metadata: &Metadata,
    owned_as: &Metadata,
) -> Result<SnapshotFile> {
    Ok(SnapshotFile {
        size: metadata.len(),
        modified: metadata
            .modified()
            .with_context(|| format!("reading {}", path.display()))?,
        name,
        path,
        mode: owned_as.mode() & 0o777,
        owner: (owned_as.uid(), owned_as.gid()),
        owner_names: (
            name_of("/etc/passwd", owned_as.uid()),
            name_of("/etc/group", owned_as.gid()),
        ),
    })
}

/// A hard link, or a copy with the same modification time where the file system has none.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match durable::link(from, to) {
        // Both may be one file by now, and a copy would begin with emptying it.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
        done => return done,
    }
    let mut source = open_regular(from)?;
    let mut copy = durable::create_new(to)?;
    io::copy(&mut source, &mut copy)?;
    let metadata = source.metadata()?;
    copy.set_permissions(metadata.permissions())?;
    copy.set_modified(metadata.modified()?)
}
