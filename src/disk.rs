//! Steps by which names and files on a disk change: renames, links, removals, syncs.
//!
//! Whatever has to hold when a run is killed, or the disk refuses, is decided between two of these steps. So that this can be
//! tested, a build with the feature `failpoints` counts them and ends the process, or fails, at the one that
//! `SNAP_FAILPOINT` names:
//!
//! | value | what happens |
//! |---|---|
//! | `kill:N` | the process ends before the Nth step, as `kill -9` ends it |
//! | `fail:N` | the Nth step fails, as on a full disk; those after it do not |
//! | `fail-from:N` | the Nth step and all after it fail |
//! | `fail-each:WHAT` | each step of a kind fails: `link`, `sync`, … |
//!
//! `SNAP_FAILPOINT_LOG` names a file that gets a line a step: what is done, and to which path. The command `snap` is never
//! released with this feature.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// How names begin that files have until they are whole.
const UNFINISHED: &str = ".snap-";

/// After how many bytes of a file the system is told to begin writing them to the disk.
const WRITE_BACK: u64 = 4 << 20;

/// Makes a directory, and those above it, for the owner alone.
pub fn create_private_dir(path: &Path) -> Result<()> {
    let create = || {
        step("create", path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    };
    create().with_context(|| format!("creating {}", path.display()))
}

/// Gives a file or directory another name, which a file may have had until then.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let rename = || {
        step("rename", to)?;
        fs::rename(from, to)
    };
    rename().with_context(|| format!("moving {} to {}", from.display(), to.display()))
}

/// Renames, and fails with [`io::ErrorKind::AlreadyExists`] where the name is taken.
pub fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    step("rename", to)?;
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, from, here, to, rustix::fs::RenameFlags::NOREPLACE) {
        // File systems without that rename: a hard link does not replace either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

/// Gives a file a second name, which must be free.
pub fn link(file: &Path, name: &Path) -> io::Result<()> {
    step("link", name)?;
    fs::hard_link(file, name)
}

/// Removes a file that may not be there.
pub fn remove_if_there(path: &Path) -> Result<()> {
    let remove = || {
        step("remove", path)?;
        fs::remove_file(path)
    };
    is_gone(remove()).with_context(|| format!("removing {}", path.display()))
}

/// Removes a directory with all that is in it, which may not be there.
pub fn remove_tree_if_there(path: &Path) -> Result<()> {
    let remove = || {
        step("remove", path)?;
        fs::remove_dir_all(path)
    };
    is_gone(remove()).with_context(|| format!("removing {}", path.display()))
}

/// Removes an empty directory.
pub fn remove_empty_dir(path: &Path) -> io::Result<()> {
    step("remove", path)?;
    fs::remove_dir(path)
}

fn is_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Has the system begin to write a file to the disk while it grows, so that a sync later finds little left to wait for, and keeps
/// it out of the memory that others' files could use. Only advice: where it cannot be given, nothing is lost.
#[derive(Debug, Default)]
pub struct WriteBack {
    begun: u64,
    /// Bytes written since.
    fresh: u64,
}

impl WriteBack {
    /// To be called with each piece that was written to the end of the file.
    pub fn wrote(&mut self, file: &File, bytes: usize) {
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
pub fn sync(file: &File, path: &Path) -> Result<()> {
    let sync = || {
        step("sync", path)?;
        file.sync_all()
    };
    sync().with_context(|| format!("syncing {}", path.display()))
}

/// Makes what happened to the names in a directory last.
pub fn sync_dir(path: &Path) -> Result<()> {
    let open = || File::open(path).with_context(|| format!("syncing {}", path.display()));
    sync(&open()?, path)
}

/// Writes a file so that its name either has the whole content or does not change.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    write_whole_by(path, |file| file.write_all(content))
}

/// As [`write_whole`], with a content that is written piece by piece.
pub fn write_whole_by(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(parent)?;
        let mut buffered = BufWriter::new(&mut file);
        content(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        sync(file.as_file(), file.path())?;
        step("rename", path)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))?;
    sync_dir(parent)
}

/// A new file in a directory, with a name that says that it is not whole yet. It goes away with its handle.
pub fn unfinished_in(directory: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(directory)
        .with_context(|| format!("creating a file in {}", directory.display()))
}

/// What is in a directory, in no particular order.
pub fn paths_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()
    };
    read().with_context(|| format!("reading {}", directory.display()))
}

/// Removes from a directory the files that a killed process was writing with [`write_whole`].
pub fn remove_unfinished(directory: &Path) -> Result<()> {
    for path in paths_in(directory)? {
        let is_named = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()));
        if is_named && fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// Called before each step.
fn step(what: &str, path: &Path) -> io::Result<()> {
    if cfg!(feature = "failpoints") {
        failpoint::pass(what, path)
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

    use rustix::process::{Signal, getpid, kill_process};

    static PASSED: AtomicU64 = AtomicU64::new(0);
    static WANTED: OnceLock<Option<Failpoint>> = OnceLock::new();

    enum Failpoint {
        Kill { at: u64 },
        Fail { at: u64 },
        FailFrom { at: u64 },
        FailEach { what: String },
    }

    /// What the environment asks for. A value that makes no sense is a fault of the test.
    fn wanted() -> Option<Failpoint> {
        let value = std::env::var("SNAP_FAILPOINT").ok()?;
        let (how, which) = value.split_once(':').expect("SNAP_FAILPOINT has a colon");
        let at = || which.parse().expect("SNAP_FAILPOINT ends in a number");
        Some(match how {
            "kill" => Failpoint::Kill { at: at() },
            "fail" => Failpoint::Fail { at: at() },
            "fail-from" => Failpoint::FailFrom { at: at() },
            "fail-each" => Failpoint::FailEach {
                what: which.to_owned(),
            },
            _ => panic!("SNAP_FAILPOINT={value}"),
        })
    }

    pub(super) fn pass(what: &str, path: &Path) -> io::Result<()> {
        let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(log) = std::env::var_os("SNAP_FAILPOINT_LOG") {
            let mut log = OpenOptions::new().create(true).append(true).open(log)?;
            log.write_all(format!("{what} {}\n", path.display()).as_bytes())?;
        }
        let fails = match WANTED.get_or_init(wanted) {
            None => false,
            Some(Failpoint::Kill { at }) if number == *at => {
                kill_process(getpid(), Signal::KILL)?;
                loop {
                    std::thread::park();
                }
            }
            Some(Failpoint::Kill { .. }) => false,
            Some(Failpoint::Fail { at }) => number == *at,
            Some(Failpoint::FailFrom { at }) => number >= *at,
            Some(Failpoint::FailEach { what: each }) => what == each,
        };
        if fails {
            Err(rustix::io::Errno::NOSPC.into())
        } else {
            Ok(())
        }
    }
}
