//! A lock for file systems that have none, as some network storage: a file that is there while
//! somebody holds it.
//!
//! The system does not remove it with its process, so it says whose it is. One whose process is
//! known to be gone is taken over; of a process on another machine nobody here can know, and its
//! file stays until somebody removes it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::io::durable;
use crate::io::open::read_bounded;

/// How often the file is looked at again because it changed meanwhile.
const TRIES: u32 = 20;

/// More bytes than such a file has.
const LARGEST: u64 = 4 << 10;

/// The file, which goes away with its value.
#[derive(Debug)]
pub(super) struct Marker {
    path: PathBuf,
    text: Vec<u8>,
}

/// What became of a try to make the file.
#[derive(Debug)]
pub(super) enum Marked {
    /// It is there.
    Here(Marker),
    /// It was there already; who says so.
    By(String),
}

impl Marker {
    /// Makes the file, unless somebody holds it.
    ///
    /// # Errors
    ///
    /// When it can be neither made nor read.
    pub(super) fn make(path: &Path) -> Result<Marked> {
        let text = serde_json::to_vec(&Holder::of_this_process())?;
        for _ in 0..TRIES {
            if let Some(holder) = Self::holder(path)? {
                return Ok(Marked::By(holder));
            }
            let mut file = match durable::create_new(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file.with_context(|| format!("creating {}", path.display()))?,
            };
            let marker = Self {
                path: path.to_owned(),
                text: text.clone(),
            };
            let mut write = || -> Result<()> {
                file.write_all(&text)
                    .with_context(|| format!("writing {}", path.display()))?;
                durable::sync(&file, path)
            };
            if let Err(error) = write() {
                // Cut off, it would be nobody's, and stay.
                let _ = durable::remove_if_there(path);
                return Err(error);
            }
            return Ok(Marked::Here(marker));
        }
        Ok(Marked::By("runs that come and go".to_owned()))
    }

    /// Who holds the file; a file whose process is gone is removed.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn holder(path: &Path) -> Result<Option<String>> {
        for _ in 0..TRIES {
            let text = match read_bounded(path, LARGEST) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                text => text.with_context(|| format!("reading {}", path.display()))?,
            };
            // Whoever makes it has not written it yet, or was killed just then.
            let Ok(holder) = serde_json::from_slice::<Holder>(&text) else {
                return Ok(Some(format!("a run that {} does not name", path.display())));
            };
            if !holder.is_gone(&Holder::of_this_process()) {
                return Ok(Some(holder.to_string()));
            }
            remove_if_still(path, &text)?;
        }
        Ok(Some("runs that come and go".to_owned()))
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        if read_bounded(&self.path, LARGEST).is_ok_and(|text| text == self.text) {
            let _ = durable::remove_if_there(&self.path);
        }
    }
}

/// Removes the file if it still is what was read: another run may have taken it over since, and
/// then it is that one's.
fn remove_if_still(path: &Path, text: &[u8]) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!("-{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let removing = || format!("removing {}", path.display());
    if !durable::rename_if_there(path, &aside)? {
        return Ok(());
    }
    if read_bounded(&aside, LARGEST).with_context(removing)? == text {
        return durable::remove_if_there(&aside);
    }
    durable::rename_to_free_name(&aside, path).with_context(removing)
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    /// What tells machines of one name apart.
    machine: Option<String>,
    /// Another at each start of the machine.
    boot: Option<String>,
    /// Of containers, which have process ids of their own.
    namespace: Option<String>,
    /// When the process began, in ticks since the machine's start: its id may be another's by now.
    started: Option<u64>,
    since: Timestamp,
}

impl Holder {
    fn of_this_process() -> Self {
        let text = |path: &str| {
            let text = fs::read_to_string(path).ok()?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let pid = std::process::id();
        Self {
            pid,
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            machine: text("/etc/machine-id"),
            boot: text("/proc/sys/kernel/random/boot_id"),
            namespace: fs::read_link("/proc/self/ns/pid")
                .ok()
                .map(|link| link.to_string_lossy().into_owned()),
            started: start_of(pid),
            since: Timestamp::now(),
        }
    }

    /// Whether the process is known to be gone, by what is known `here`.
    fn is_gone(&self, here: &Self) -> bool {
        if self.host != here.host {
            return false;
        }
        let is_known = self.machine.is_some() && self.machine == here.machine;
        match (&self.boot, &here.boot) {
            (Some(then), Some(now)) if then != now => is_known,
            (Some(_), Some(_)) => {
                self.namespace == here.namespace && start_of(self.pid) != self.started
            }
            // Not Linux.
            _ => !is_there(self.pid),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            pid, host, since, ..
        } = self;
        // Anybody may have written it.
        let host = host.replace(char::is_control, "?");
        write!(f, "process {pid} on {host} since {since:.0}")
    }
}

/// When a process began, in ticks since the machine's start (Linux); `None` where there is none.
fn start_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses, and can hold anything.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, holder: &Holder) {
        fs::write(path, serde_json::to_vec(holder).unwrap()).unwrap();
    }

    /// A process of this machine that ended.
    fn ended() -> Holder {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let started = start_of(child.id());
        child.wait().unwrap();
        Holder {
            pid: child.id(),
            started,
            ..Holder::of_this_process()
        }
    }

    #[test]
    fn the_file_is_there_while_it_is_held_and_goes_with_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock.held");
        let Marked::Here(marker) = Marker::make(&path).unwrap() else {
            panic!("it is free");
        };
        let Marked::By(holder) = Marker::make(&path).unwrap() else {
            panic!("it is held");
        };
        assert!(holder.contains(&format!("process {} on ", std::process::id())));
        drop(marker);
        assert!(!path.exists());
        assert!(matches!(Marker::make(&path).unwrap(), Marked::Here(_)));
    }

    #[test]
    fn what_a_process_left_that_is_gone_is_taken_over_and_what_nobody_can_know_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock.held");
        let here = Holder::of_this_process();
        let rebooted = Holder {
            boot: Some("another".to_owned()),
            machine: Some("this".to_owned()),
            ..here.clone()
        };
        assert!(rebooted.is_gone(&Holder {
            machine: Some("this".to_owned()),
            ..here.clone()
        }));
        assert!(!rebooted.is_gone(&Holder {
            machine: None,
            ..here.clone()
        }));
        for (holder, is_gone) in [
            (ended(), true),
            // The id is another process's now.
            (
                Holder {
                    started: Some(1),
                    ..here.clone()
                },
                true,
            ),
            (here, false),
            (
                Holder {
                    host: "elsewhere".to_owned(),
                    ..ended()
                },
                false,
            ),
            (
                Holder {
                    namespace: Some("pid:[1]".to_owned()),
                    ..ended()
                },
                false,
            ),
        ] {
            write(&path, &holder);
            let taken = matches!(Marker::make(&path).unwrap(), Marked::Here(_));
            assert_eq!(taken, is_gone, "{holder:?}");
        }
        fs::write(&path, "").unwrap();
        assert!(matches!(Marker::make(&path).unwrap(), Marked::By(_)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_another_run_took_over_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock.held");
        fs::write(&path, "another's").unwrap();
        remove_if_still(&path, b"what was read").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        remove_if_still(&path, b"another's").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
