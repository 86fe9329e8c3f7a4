//! Steps by which names and files on a disk change: renames, links, removals, syncs.
//!
//! Whatever has to hold when a run is killed, or the disk refuses, is decided between two of these
//! steps. So that this can be tested, a debug build counts them and ends the process, or fails, at
//! the one that `SNAP_FAILPOINT` names:
//!
//! | value | what happens |
//! |---|---|
//! | `kill:N` | the process ends before the Nth step, as `kill -9` ends it |
//! | `stop:N` | the process stops before the Nth step until it gets SIGCONT |
//! | `fail:N` | the Nth step fails, as on a full disk; those after it do not |
//! | `fail-from:N` | the Nth step and all after it fail |
//! | `fail-each:WHAT` | each step of a kind fails: `link`, `sync`, … |
//! | `errno-WHAT:ERRNO` | each step of a kind fails in the way of a file system that lacks it: `errno-dir-sync:EINVAL`, `errno-lock:ENOLCK` |
//!
//! Several values, with commas between, hold together.
//!
//! `SNAP_FAILPOINT_LOG` names a file that gets a line a step: what is done, and to which path. A
//! release build has nothing of all this.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::io::Errno;
use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, ErrorKind};
use crate::io::{OWN_PREFIX, is_own};

/// After how many bytes of a file the system is told to begin writing them to the disk.
const WRITE_BACK: u64 = 4 << 20;

/// Makes a directory, and those above it, for the owner alone, and makes their names last. Where
/// something else has the name, or a link to a directory, it is refused: what is written and
/// cleared away there would lie elsewhere.
///
/// # Errors
///
/// [`ErrorKind::Refused`] for what is no directory, and those of the system.
pub(crate) fn create_private_dir(path: &Path) -> Result<()> {
    refuse_stranger(path, None)?;
    create_dirs(path, |_| Ok(()))?;
    Ok(refuse_stranger(path, None)?)
}

/// Makes a directory and those above it that are not there, and makes their names last. `prepare`
/// is handed each that was made, which is for the owner alone until then.
///
/// # Errors
///
/// Those of `prepare` and of the system.
pub(crate) fn create_dirs(path: &Path, prepare: impl Fn(&Path) -> Result<()>) -> Result<()> {
    for made in create_unsynced_dirs(path, prepare)? {
        sync_dir(directory_of(&made))?;
    }
    Ok(())
}

/// As [`create_dirs`], where the names need not last, or are synced later with others: those that
/// were made, the outermost first.
///
/// # Errors
///
/// Those of [`create_dirs`].
pub(crate) fn create_unsynced_dirs(
    path: &Path,
    prepare: impl Fn(&Path) -> Result<()>,
) -> Result<Vec<PathBuf>> {
    let absent = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists());
    let mut absent: Vec<PathBuf> = absent.map(Path::to_owned).collect();
    absent.reverse();
    let mut made = Vec::new();
    for directory in absent {
        let create = || {
            step("create", &directory)?;
            DirBuilder::new().mode(0o700).create(&directory)
        };
        match create() {
            // Made meanwhile, by another thread or by somebody else: theirs to look after. It may
            // be gone again, which who uses it will see.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created.map_err(|error| not_created(path, error))?,
        }
        prepare(&directory)?;
        made.push(directory);
    }
    Ok(made)
}

/// That a directory cannot be made, with what stands in the way: something of the folders above.
fn not_created(path: &Path, error: io::Error) -> anyhow::Error {
    let mut above = path.ancestors().skip(1);
    let above = above.find_map(|folder| Some((folder, fs::metadata(folder).ok()?)));
    let plain = ErrorKind::Failed.error(format!("cannot create {}", path.display()));
    let told = match (error.kind(), above) {
        (io::ErrorKind::NotADirectory, Some((folder, found))) if !found.is_dir() => {
            let folder = folder.display();
            return ErrorKind::Failed
                .error(format!("{folder} is a file, not a directory"))
                .hint("name a directory, or a new one")
                .into();
        }
        (io::ErrorKind::PermissionDenied, Some((folder, found))) => plain.hint(format!(
            "{} belongs to user {}, and snap runs as user {}: run it as one who may write there",
            folder.display(),
            found.uid(),
            rustix::process::geteuid().as_raw()
        )),
        (io::ErrorKind::NotFound, Some((folder, _))) => plain.hint(format!(
            "nothing can be made in {}: name another directory",
            folder.display()
        )),
        _ => return anyhow::Error::new(error).context(format!("creating {}", path.display())),
    };
    anyhow::Error::new(error).context(told)
}

/// As [`create_private_dir`], in a directory that others may write in: one that is there already
/// must be this user's, or somebody else could have filled it, and change it at any time.
///
/// # Errors
///
/// [`ErrorKind::Refused`] for another user's directory, and those of [`create_private_dir`].
pub(crate) fn claim_private_dir(path: &Path) -> Result<()> {
    claim(path, || create_dirs(path, |_| Ok(())))
}

/// As [`claim_private_dir`], for what goes with the run: its name need not last.
///
/// # Errors
///
/// Those of [`claim_private_dir`].
pub(crate) fn claim_passing_dir(path: &Path) -> Result<()> {
    claim(path, || create_unsynced_dirs(path, |_| Ok(())).map(drop))
}

fn claim(path: &Path, create: impl FnOnce() -> Result<()>) -> Result<()> {
    let user = Some(rustix::process::geteuid().as_raw());
    refuse_stranger(path, user)?;
    create()?;
    // Somebody else may have made it just then.
    Ok(refuse_stranger(path, user)?)
}

/// Refuses what has the name and is no directory, or not this user's.
///
/// # Errors
///
/// [`ErrorKind::Refused`].
pub(crate) fn refuse_stranger(path: &Path, user: Option<u32>) -> Result<(), Error> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let name = path.display();
    if there.is_symlink() {
        return Err(ErrorKind::Refused
            .error(format!("{name} is a symbolic link, and is not followed"))
            .hint("put the directory it leads to in its place, or remove it"));
    }
    if !there.is_dir() {
        return Err(ErrorKind::Refused
            .error(format!("{name} is not a directory"))
            .hint("snap keeps its own files there: move it away"));
    }
    match user {
        Some(user) if there.uid() != user => Err(ErrorKind::Refused
            .error(format!(
                "{name} belongs to user {}, who could change what snap keeps there",
                there.uid()
            ))
            .hint("run snap as that user, or look at what it holds and remove it")),
        _ => Ok(()),
    }
}

/// How files of our own are opened that are to be made: for the owner alone, whatever the umask.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Makes a file for the owner alone, where there is none.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    step("create-new", path)?;
    private_file().create_new(true).open(path)
}

/// Gives a file or directory another name, which a file may have had until then.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    let rename = || {
        step("rename", to)?;
        fs::rename(from, to)
    };
    rename().with_context(|| format!("moving {} to {}", from.display(), to.display()))
}

/// As [`rename`], of what may not be there: says whether it was.
pub(crate) fn rename_if_there(from: &Path, to: &Path) -> Result<bool> {
    let is_gone = |error: &anyhow::Error| {
        let cause = error.downcast_ref::<io::Error>();
        cause.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    match rename(from, to) {
        Err(error) if is_gone(&error) => Ok(false),
        renamed => renamed.map(|()| true),
    }
}

/// Renames, and fails with [`io::ErrorKind::AlreadyExists`] where the name is taken.
pub(crate) fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    let renamed = step_of("rename", "rename-free", to).and_then(|()| {
        let only_free = rustix::fs::RenameFlags::NOREPLACE;
        Ok(rustix::fs::renameat_with(here, from, here, to, only_free)?)
    });
    match renamed {
        Err(error) if is_lacking(&error) => link_to_free_name(from, to),
        renamed => renamed,
    }
}

/// Renames a directory; where one has the name that is not empty, that stays.
pub(crate) fn rename_over_empty_dir(from: &Path, to: &Path) -> io::Result<()> {
    step("rename", to)?;
    fs::rename(from, to)
}

/// Renames where the file system has no rename that spares a name that is taken: a hard link does
/// not replace either.
fn link_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match link(from, to) {
        Ok(()) => {
            step("remove", from)?;
            fs::remove_file(from)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Nor has it links. Between looking and renaming nothing else can be done; only somebody
        // without our lock could come.
        Err(_) if fs::symlink_metadata(to).is_err() => {
            step("rename", to)?;
            fs::rename(from, to)
        }
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// Gives a file a second name, which must be free.
pub(crate) fn link(file: &Path, name: &Path) -> io::Result<()> {
    step("link", name)?;
    fs::hard_link(file, name)
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    let remove = || {
        step("remove", path)?;
        fs::remove_file(path)
    };
    is_gone(remove()).with_context(|| format!("removing {}", path.display()))
}

/// Removes a directory with all that is in it, which may not be there.
pub(crate) fn remove_tree_if_there(path: &Path) -> Result<()> {
    let remove = || {
        step("remove", path)?;
        fs::remove_dir_all(path)
    };
    is_gone(remove()).with_context(|| format!("removing {}", path.display()))
}

pub(crate) fn remove_empty_dir(path: &Path) -> io::Result<()> {
    step("remove", path)?;
    fs::remove_dir(path)
}

fn is_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Has the system begin to write a file to the disk while it grows, so that a sync later finds
/// little left to wait for, and keeps it out of the memory that others' files could use. Only
/// advice: where it cannot be given, nothing is lost.
#[derive(Debug, Default)]
pub(crate) struct WriteBack {
    begun: u64,
    /// Bytes written since.
    fresh: u64,
}

impl WriteBack {
    /// To be called with each piece that was written to the end of the file.
    pub(crate) fn wrote(&mut self, file: &File, bytes: usize) {
        self.fresh += bytes as u64;
        let Some(length) = NonZeroU64::new(self.fresh).filter(|fresh| fresh.get() >= WRITE_BACK)
        else {
            return;
        };
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(file, self.begun, Some(length), rustix::fs::Advice::DontNeed);
        #[cfg(not(target_os = "linux"))]
        let _ = file;
        *self = Self {
            begun: self.begun + length.get(),
            fresh: 0,
        };
    }
}

/// Makes the content of a file last.
pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    let sync = || {
        step("sync", path)?;
        file.sync_all()
    };
    sync().with_context(|| format!("syncing {}", named(path)))
}

/// As [`sync`], where the content alone has to last, and not when it was written.
pub(crate) fn sync_data(file: &File, path: &Path) -> io::Result<()> {
    step("sync", path)?;
    file.sync_data()
}

/// What a file is called in messages: not by a name that it has until it is whole.
fn named(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    match path.parent() {
        Some(folder) if name.starts_with(b".") => format!("a file in {}", folder.display()),
        _ => path.display().to_string(),
    }
}

/// Makes what happened to the names in a directory last. File systems that cannot do so for a
/// directory, as some of network storage, keep names in their own way: [`can_sync_dir`] tells. So it
/// is for who may make names in a directory, and not read it.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    can_sync_dir(path).map(drop)
}

/// As [`sync_dir`], and says whether that can be.
pub(crate) fn can_sync_dir(path: &Path) -> Result<bool> {
    let directory = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        opened => opened.with_context(|| format!("syncing {}", path.display()))?,
    };
    let sync = || {
        step_of("sync", "dir-sync", path)?;
        directory.sync_all()
    };
    match sync() {
        Err(error) if is_lacking(&error) => Ok(false),
        synced => synced
            .map(|()| true)
            .with_context(|| format!("syncing {}", path.display())),
    }
}

/// Takes the system's lock on an open file, without waiting.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<(), TryLockError> {
    step("lock", path).map_err(TryLockError::Error)?;
    file.try_lock()
}

/// As [`try_lock`], for a lock that others may share.
pub(crate) fn try_lock_shared(file: &File, path: &Path) -> Result<(), TryLockError> {
    step("lock", path).map_err(TryLockError::Error)?;
    file.try_lock_shared()
}

/// Whether a lock was refused because the file system has none.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    // NFS locks for one alone only what is open for writing.
    is_lacking(error) || Errno::from_io_error(error) == Some(Errno::BADF)
}

/// Whether the open file is the one that has the name.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|now| {
        file.metadata()
            .is_ok_and(|open| (now.dev(), now.ino()) == (open.dev(), open.ino()))
    })
}

/// Whether an error says that the file system does not have what was asked for.
fn is_lacking(error: &io::Error) -> bool {
    // NOTSUP and OPNOTSUPP are one number on some systems and two on others, which no pattern can
    // say.
    let lacking = [
        Errno::INVAL,
        Errno::NOSYS,
        Errno::NOTSUP,
        Errno::OPNOTSUPP,
        Errno::NOLCK,
    ];
    Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

/// Writes a file so that its name either has the whole content or does not change.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    write_whole_by(path, |file| file.write_all(content))
}

/// As [`write_whole`], with a content that is written piece by piece.
pub(crate) fn write_whole_by(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    write_whole_as(path, content, |_| Ok(()))
}

/// As [`write_whole_by`]. `prepare` is handed the file before it gets its name, to set whose it is:
/// by the name, somebody else's file might be met.
pub(crate) fn write_whole_as(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> Result<()> {
    let parent = directory_of(path);
    let write = || -> Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(OWN_PREFIX)
            .tempfile_in(parent)?;
        let mut buffered = BufWriter::new(&mut file);
        content(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        prepare(file.as_file())?;
        sync(file.as_file(), file.path())?;
        step("rename", path)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))?;
    sync_dir(parent)
}

/// The directory that a file is in; for a bare name the working directory.
pub(crate) fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// A new file in a directory, with a name that says that it is not whole yet. It goes away with its
/// handle.
pub(crate) fn unfinished_in(directory: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(OWN_PREFIX)
        .tempfile_in(directory)
        .with_context(|| format!("creating a file in {}", directory.display()))
}

/// As [`unfinished_in`], a directory for the owner alone. It goes away with its handle, and all in it.
pub(crate) fn unfinished_dir_in(directory: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(OWN_PREFIX)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(directory)
        .with_context(|| format!("creating a directory in {}", directory.display()))
}

/// What is in a directory, in no particular order.
fn paths_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()
    };
    read().with_context(|| format!("reading {}", directory.display()))
}

/// Removes from a directory the files that a killed process was writing with [`write_whole`].
pub(crate) fn remove_unfinished(directory: &Path) -> Result<()> {
    for path in paths_in(directory)? {
        let is_named = path.file_name().is_some_and(is_own);
        if is_named && fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// Called before each step.
fn step(what: &str, path: &Path) -> io::Result<()> {
    step_of(what, what, path)
}

/// As [`step`], for one that can also be met by the name of its own `kind`.
fn step_of(what: &str, kind: &str, path: &Path) -> io::Result<()> {
    if cfg!(debug_assertions) {
        failpoint::pass(what, kind, path)
    } else {
        Ok(())
    }
}

mod failpoint {
    use std::fs::OpenOptions;
    use std::io::{self, Write};
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};

    static PASSED: AtomicU64 = AtomicU64::new(0);
    static WANTED: OnceLock<Vec<Failpoint>> = OnceLock::new();

    enum Failpoint {
        Kill { at: u64 },
        Stop { at: u64 },
        Fail { at: u64 },
        FailFrom { at: u64 },
        FailEach { what: String, errno: Errno },
    }

    impl Failpoint {
        /// What the environment asks for. A value that makes no sense is a fault of the test.
        fn parse(value: &str) -> Self {
            let (how, which) = value.split_once(':').expect("SNAP_FAILPOINT has a colon");
            let at = || which.parse().expect("SNAP_FAILPOINT ends in a number");
            let each = |what: &str, errno| Self::FailEach {
                what: what.to_owned(),
                errno,
            };
            match how {
                "kill" => Self::Kill { at: at() },
                "stop" => Self::Stop { at: at() },
                "fail" => Self::Fail { at: at() },
                "fail-from" => Self::FailFrom { at: at() },
                "fail-each" => each(which, Errno::NOSPC),
                _ => match how.strip_prefix("errno-") {
                    Some(what) => each(what, errno(which)),
                    None => panic!("SNAP_FAILPOINT={value}"),
                },
            }
        }

        /// What the step fails with; the process ends here where it is to.
        fn meet(&self, number: u64, names: [&str; 2]) -> io::Result<Option<Errno>> {
            let fails = match self {
                Self::Kill { at } if number == *at => {
                    kill_process(getpid(), Signal::KILL)?;
                    loop {
                        std::thread::park();
                    }
                }
                Self::Stop { at } if number == *at => {
                    kill_process(getpid(), Signal::STOP)?;
                    false
                }
                Self::Kill { .. } | Self::Stop { .. } => false,
                Self::Fail { at } => number == *at,
                Self::FailFrom { at } => number >= *at,
                Self::FailEach { what: each, errno } => {
                    return Ok(names.contains(&each.as_str()).then_some(*errno));
                }
            };
            Ok(fails.then_some(Errno::NOSPC))
        }
    }

    fn errno(name: &str) -> Errno {
        match name {
            "EINVAL" => Errno::INVAL,
            "ENOLCK" => Errno::NOLCK,
            "ENOTSUP" => Errno::NOTSUP,
            "EOPNOTSUPP" => Errno::OPNOTSUPP,
            "EPERM" => Errno::PERM,
            "EIO" => Errno::IO,
            _ => panic!("SNAP_FAILPOINT knows no {name}"),
        }
    }

    fn wanted() -> Vec<Failpoint> {
        let value = std::env::var("SNAP_FAILPOINT").unwrap_or_default();
        let values = value.split(',').filter(|value| !value.is_empty());
        values.map(Failpoint::parse).collect()
    }

    pub(super) fn pass(what: &str, kind: &str, path: &Path) -> io::Result<()> {
        let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(log) = std::env::var_os("SNAP_FAILPOINT_LOG") {
            let mut log = OpenOptions::new().create(true).append(true).open(log)?;
            log.write_all(format!("{what} {}\n", path.display()).as_bytes())?;
        }
        for failpoint in WANTED.get_or_init(wanted) {
            if let Some(errno) = failpoint.meet(number, [what, kind])? {
                return Err(errno.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::kind_of;

    #[test]
    fn only_directories_that_are_made_are_prepared_the_outermost_first() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let prepared = std::cell::RefCell::new(Vec::new());
        let prepare = |made: &Path| {
            prepared.borrow_mut().push(made.to_owned());
            Ok(())
        };
        create_dirs(&at("a/b"), prepare).unwrap();
        assert_eq!(prepared.take(), [at("a"), at("a/b")]);
        let made = create_unsynced_dirs(&at("a/b/c/d"), prepare).unwrap();
        assert_eq!(made, [at("a/b/c"), at("a/b/c/d")]);
        assert_eq!(prepared.take(), made);
        create_dirs(&at("a/b/c/d"), prepare).unwrap();
        assert!(prepared.take().is_empty());

        fs::write(at("file"), "").unwrap();
        let error = create_dirs(&at("file/below/it"), prepare).unwrap_err();
        assert!(error.to_string().contains("is a file, not a directory"));
    }

    #[test]
    fn a_folder_of_our_own_is_no_link_no_file_and_where_others_may_write_no_other_users() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        create_private_dir(&at("own")).unwrap();
        claim_private_dir(&at("own")).unwrap();
        let owner = fs::metadata(at("own")).unwrap().uid();
        assert!(refuse_stranger(&at("own"), Some(owner)).is_ok());
        let refused = refuse_stranger(&at("own"), Some(owner + 1)).unwrap_err();
        assert!(refused.message.contains("belongs to user"), "{refused}");

        symlink(at("own"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["link", "dangling", "file"] {
            for made in [create_private_dir(&at(name)), claim_private_dir(&at(name))] {
                assert_eq!(kind_of(&made.unwrap_err()), ErrorKind::Refused, "{name}");
            }
        }
        assert!(!at("nowhere").exists());
        // What is above it may lie behind a link.
        create_private_dir(&at("link/below")).unwrap();
        assert!(at("own/below").is_dir());
    }
}
