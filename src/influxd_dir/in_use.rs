//! Whether an influxd runs on directories that are to be read or written.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::client::{Address, Client, Timeouts};
use crate::io::is_own;
use crate::io::open::read_bounded;
use crate::wire::MAX_META_BYTES;

/// How long a server that may run on the directories is given to answer.
const ASK: Duration = Duration::from_secs(2);

/// What to do where an influxd runs on the target of a change.
pub(crate) const USAGE_ADVICE: &str =
    "stop influxd first: it would not notice new files, and would write its own over them";

/// How many times an open file has to be seen, and the time between: a search of the disk has one
/// open for a moment, and so has a program that another is about to start. An influxd keeps its
/// files open.
const LOOKS: (u32, Duration) = (6, Duration::from_millis(100));

/// A process other than this one that keeps a file below one of the directories open (Linux, as far
/// as this user may see), and the file.
pub(crate) fn open_file_below(directories: &[&Path]) -> Option<(String, PathBuf)> {
    let (looks, apart) = LOOKS;
    lasting(looks, apart, || now_open_below(directories))
}

/// What is found at every look; that of the last.
fn lasting<T>(looks: u32, apart: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let mut found = look()?;
    for _ in 1..looks {
        thread::sleep(apart);
        found = look()?;
    }
    Some(found)
}

fn now_open_below(directories: &[&Path]) -> Option<(String, PathBuf)> {
    let directories: Vec<PathBuf> = directories
        .iter()
        .filter_map(|directory| fs::canonicalize(directory).ok())
        .collect();
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().into_string().unwrap_or_default();
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Processes of other users, and those that just ended, cannot be looked into.
        let Ok(open) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for file in open
            .flatten()
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        {
            // What other runs of this program are at, their locks tell.
            let mut below = directories
                .iter()
                .filter_map(|directory| file.strip_prefix(directory).ok());
            if below.any(|below| !is_own(below)) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some((format!("{pid} ({})", name.trim()), file));
            }
        }
    }
    None
}

/// Whether a snapshotter at `host` has the metastore of `metadir`, byte for byte.
pub(crate) fn is_running_on(metadir: &Path, host: &Address) -> bool {
    let Ok(meta) = read_bounded(&metadir.join("meta.db"), MAX_META_BYTES) else {
        return false;
    };
    let timeouts = Timeouts {
        connect: ASK,
        idle: ASK,
        attempt: ASK,
    };
    Client::new(host.clone(), None, timeouts, Cancel::default())
        .metastore()
        .is_ok_and(|blob| blob.meta == meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_for_a_moment_does_not_count() {
        for (last, found) in [(0, None), (1, None), (5, None), (6, Some(6))] {
            let mut looks = 0;
            let look = || {
                looks += 1;
                (looks <= last).then_some(looks)
            };
            assert_eq!(
                lasting(6, Duration::ZERO, look),
                found,
                "open at {last} looks"
            );
        }
    }
}
