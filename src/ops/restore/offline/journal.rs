//! The journal of a restore into directories: what was moved, so that a run that was killed can be
//! put back.
//!
//! Whoever may write in the data directory could have written the journal, so it is taken for a
//! list of names, not of paths: each path in it must be one that a restore into the very
//! directories of this run makes, and is made anew from those.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};

use super::options::RestoreOptions;
use super::staging::{STAGING, is_folder};
use crate::error::ErrorKind;
use crate::influxd_dir::{Ownership, ensure_directory_name};
use crate::io::durable;
use crate::io::open::read_bounded;
use crate::wire::MAX_META_BYTES;

/// What is written into a meta directory, the metastore last. influxd's restore leaves the first
/// too, and its server reads it.
pub(crate) const META_FILES: [&str; 2] = ["node.json", "meta.db"];

/// The largest journal that is read, in bytes: that of some hundred thousand shards.
const LARGEST: u64 = 256 << 20;

/// The directories of a restore, as named for this run. All paths are absolute.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// The meta directory.
    pub metadir: Option<PathBuf>,
    /// The data directory.
    pub datadir: Option<PathBuf>,
    /// The WAL directory.
    pub waldir: Option<PathBuf>,
}

impl Targets {
    pub(super) fn of(options: &RestoreOptions) -> Self {
        Self {
            metadir: options.metadir.clone(),
            datadir: options.datadir.clone(),
            waldir: options.wal_dir(),
        }
    }

    /// Where what the files of the meta directory replace is kept.
    fn kept_meta(&self) -> Option<PathBuf> {
        let home = self.datadir.as_ref().or(self.metadir.as_ref())?;
        Some(home.join(STAGING))
    }
}

/// What a run moves; written before the first move, removed after the last. All paths are absolute.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SwapJournal {
    /// Directories.
    pub moves: Vec<Move>,
    /// Files of the meta directory.
    pub files: Vec<Replaced>,
}

/// A file that is written anew.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replaced {
    /// Its place.
    pub place: PathBuf,
    /// Where a copy of what was there is kept; `None` where nothing was there.
    pub old: Option<PathBuf>,
    /// CRC-32 of what is written.
    pub crc: u32,
}

impl Replaced {
    /// Whether the file is neither what was there nor what was written: somebody went on with it.
    fn is_used(&self) -> bool {
        let read = |path: &Path| read_bounded(path, MAX_META_BYTES);
        let now = match read(&self.place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            // Something else than a file was put there.
            Err(_) => return true,
            Ok(now) => now,
        };
        let old = self.old.as_ref().and_then(|old| read(old).ok());
        crc32fast::hash(&now) != self.crc && Some(now) != old
    }

    /// The same, in the directories of this run.
    fn checked(self, targets: &Targets) -> Result<Self> {
        let (place, [name]) = below(targets.metadir.as_deref(), &self.place)?;
        ensure!(
            META_FILES.contains(&name.as_str()),
            "{} is no file of a meta directory",
            place.display()
        );
        let checked = |old: &PathBuf| {
            let (path, [folder, kept]) = below(targets.kept_meta().as_deref(), old)?;
            ensure!(
                folder == "old" && kept == name,
                "{} is not where {name} is kept",
                old.display()
            );
            Ok(path)
        };
        Ok(Self {
            old: self.old.as_ref().map(checked).transpose()?,
            place,
            crc: self.crc,
        })
    }
}

/// A directory that takes the place of another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Where it was prepared; `None` where the place is only cleared.
    pub new: Option<PathBuf>,
    /// Its place.
    pub place: PathBuf,
    /// Where what was there is kept.
    pub old: PathBuf,
    /// Whether anything was there.
    #[serde(default)]
    pub replaces: bool,
}

impl Move {
    /// Whether there is something again in a place that was cleared: a server ran on what was
    /// restored.
    fn is_used(&self) -> bool {
        let is_cleared = self.new.is_none() && (self.old.exists() || !self.replaces);
        is_cleared && fs::read_dir(&self.place).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// The same, in the directories of this run.
    fn checked(self, targets: &Targets) -> Result<Self> {
        let root = match &self.new {
            Some(_) => targets.datadir.as_deref(),
            None => targets.waldir.as_deref(),
        };
        let (place, [database, policy, id]) = below(root, &self.place)?;
        ensure_directory_name(&database)?;
        ensure_directory_name(&policy)?;
        ensure!(
            id.parse::<u64>()
                .is_ok_and(|number| number.to_string() == id),
            "{} is no shard",
            place.display()
        );
        ensure_no_foreign_links(root.unwrap_or(&place), &place)?;
        let (staging, new, old) = match &self.new {
            Some(new) => {
                let (staging, [of_new, number]) = in_staging(&place, new)?;
                let (of_old, [old, kept]) = in_staging(&place, &self.old)?;
                ensure!(
                    of_new == "new" && old == "old" && kept == number && of_old == staging,
                    "{} is not what takes the place of {}",
                    new.display(),
                    self.old.display()
                );
                let path = |name: &str| staging.join(name).join(&number);
                (staging.clone(), Some(path("new")), path("old"))
            }
            None => {
                let (staging, [number]) = in_staging(&place, &self.old)?;
                (staging.clone(), None, staging.join(number))
            }
        };
        durable::refuse_stranger(&staging, Some(rustix::process::geteuid().as_raw()))?;
        Ok(Self {
            new,
            place,
            old,
            replaces: self.replaces,
        })
    }
}

/// The folder of a restore in which a path of `N` names lies, and the names, the last of which is
/// that of a shard's folder. That is in the data (or WAL) directory, in that of the database or in
/// that of the retention policy.
fn in_staging<const N: usize>(place: &Path, path: &Path) -> Result<(PathBuf, [String; N])> {
    let homes = place.ancestors().skip(1).take(3);
    let found = homes.map(|home| home.join(STAGING)).find_map(|staging| {
        let (_, names) = below::<N>(Some(&staging), path).ok()?;
        Some((staging, names))
    });
    found
        .filter(|(_, names)| names.last().is_some_and(|name| is_folder(name)))
        .with_context(|| {
            format!(
                "{} is not where a restore keeps what goes to {}",
                path.display(),
                place.display()
            )
        })
}

impl SwapJournal {
    /// Reads the journal that an interrupted restore into the same directories left.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where it cannot be one of those.
    pub(super) fn read(path: &Path, targets: &Targets) -> Result<Option<Self>> {
        let text = match read_bounded(path, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text,
        };
        let reading = || format!("reading {}", path.display());
        let checked = text
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(serde_json::from_slice::<Self>(&text)?))
            .and_then(|journal| journal.checked(targets));
        let staging = path.parent().unwrap_or(path).display();
        let refusal = || {
            ErrorKind::Refused
                .error(format!(
                    "an interrupted restore left a journal that is not followed: {}",
                    path.display()
                ))
                .hint(format!(
                    "give the -metadir, -datadir and -waldir of that restore, as the user who began it; {staging}/old has what it \
                     moved away: to keep what is there now, remove {staging}"
                ))
        };
        checked
            .with_context(reading)
            .with_context(refusal)
            .map(Some)
    }

    fn checked(self, targets: &Targets) -> Result<Self> {
        let moves = self.moves.into_iter().map(|moved| moved.checked(targets));
        let files = self.files.into_iter().map(|file| file.checked(targets));
        Ok(Self {
            moves: moves.collect::<Result<_>>()?,
            files: files.collect::<Result<_>>()?,
        })
    }

    /// A place that somebody went on with since.
    pub(super) fn used(&self) -> Option<&Path> {
        let files = self.files.iter().filter(|file| file.is_used());
        let moves = self.moves.iter().filter(|moved| moved.is_used());
        let mut places = files
            .map(|file| &file.place)
            .chain(moves.map(|moved| &moved.place));
        places.next().map(PathBuf::as_path)
    }
}

/// A path of `N` names below a directory, made anew from that, and the names.
fn below<const N: usize>(directory: Option<&Path>, path: &Path) -> Result<(PathBuf, [String; N])> {
    let outside = || anyhow!("{} is not below a directory named here", path.display());
    let directory = directory.with_context(outside)?;
    let mut names = Vec::new();
    let mut above = path;
    for _ in 0..N {
        let Some(Component::Normal(name)) = above.components().next_back() else {
            return Err(outside());
        };
        names.insert(0, name.to_str().with_context(outside)?.to_owned());
        above = above.parent().with_context(outside)?;
    }
    let same = || Some(fs::canonicalize(above).ok()? == fs::canonicalize(directory).ok()?);
    ensure!(above == directory || same() == Some(true), outside());
    let path = names
        .iter()
        .fold(directory.to_owned(), |path, name| path.join(name));
    let names = names.try_into().map_err(|_| outside())?;
    Ok((path, names))
}

/// Refuses a link on the way from a directory of influxd's to what is to be moved there, unless
/// this user or root made it: whoever may write in the directory could have links lead anywhere.
///
/// # Errors
///
/// [`ErrorKind::Refused`] with the link.
pub(crate) fn ensure_no_foreign_links(root: &Path, place: &Path) -> Result<()> {
    let trusted = [0, rustix::process::geteuid().as_raw()];
    let Some((link, user)) = foreign_link(root, place, &trusted) else {
        return Ok(());
    };
    let fault = ErrorKind::Refused.error(format!(
        "{} is a symbolic link that user {user} made, and is not followed",
        link.display()
    ));
    Err(fault
        .hint("run snap as that user, or make the link anew as this one")
        .into())
}

/// The first link between the directory and the place that none of the users made, and who did.
fn foreign_link(root: &Path, place: &Path, trusted: &[u32]) -> Option<(PathBuf, u32)> {
    let above = place.parent()?.ancestors();
    let between = above.take_while(|path| *path != root && path.starts_with(root));
    between
        .filter_map(|path| Some((path, fs::symlink_metadata(path).ok()?)))
        .find(|(_, there)| there.is_symlink() && !trusted.contains(&there.uid()))
        .map(|(path, there)| (path.to_owned(), there.uid()))
}

/// Writes a file whole, with the owner and mode that its directory asks for.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write_owned(path: &Path, content: &[u8]) -> Result<()> {
    let ownership = Ownership::below(path.parent().unwrap_or(Path::new(".")))?;
    durable::write_whole_as(
        path,
        |out| out.write_all(content),
        |file| ownership.give(file),
    )
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
