//! The hidden folder of a backup directory, and the names of the files in it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::time;

pub(super) const HIDDEN: &str = ".snap";

/// The record of a set; it makes the set count.
pub(super) const RECORD: &str = "json";
/// What a commit is about to give final names.
pub(super) const COMMIT: &str = "commit";
/// The record of a set that is being removed.
pub(super) const REMOVAL: &str = "forget";
/// What a run has claimed where there is no lock; its number and a random word follow.
pub(super) const CLAIM: &str = "claim-";
/// That a set is pinned.
pub(super) const PIN: &str = "keep";
/// The folder of a run's unfinished files.
pub(super) const UNFINISHED: &str = "files";

/// What a run notes of the shards that it has finished, in that folder.
pub(super) const NOTES: &str = "finished";

/// How the names of those files begin.
pub(super) const TEMPORARY: &str = ".tmp";
pub(super) const LOCK: &str = "lock";

/// The hidden folder, for what a run must remember and no set holds.
pub(crate) fn hidden(directory: &Path) -> PathBuf {
    directory.join(HIDDEN)
}

/// The name of a set's file in the hidden folder, as the repository has it.
pub(super) fn name_of(id: impl Display, kind: &str) -> String {
    format!("{HIDDEN}/{id}.{kind}")
}

/// Whether a name is that of a folder, where nothing else of a repository is called so: the hidden
/// one, or that of a run's files.
#[cfg(feature = "object-store")]
pub(super) fn is_folder(name: &str) -> bool {
    let below = name.strip_prefix(HIDDEN);
    let file = below.and_then(|below| own_name(below.strip_prefix('/')?));
    name == HIDDEN || file.is_some_and(|(_, kind)| kind == UNFINISHED)
}

/// The stamp and the kind in the name of a file in the hidden folder, `<stamp>.<kind>`, where the
/// stamp is exactly one. What sync programs and file servers put beside such files has other names.
pub(super) fn own_name(name: &str) -> Option<(&str, &str)> {
    let (stamp, kind) = name.split_once('.')?;
    time::is_stamp(stamp).then_some((stamp, kind))
}

/// The number in the kind of a claim's name.
pub(super) fn claimed_number(kind: &str) -> Option<u32> {
    let (number, random) = kind.strip_prefix(CLAIM)?.split_once('-')?;
    let is_random = !random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    number.parse().ok().filter(|_| is_random)
}
