//! The hidden folder of a backup directory, and the names of the files in it.

use std::path::{Path, PathBuf};

use super::set_id::SetId;
use crate::time;

/// Its name.
pub(super) const HIDDEN: &str = ".snap";

/// The record of a set; it makes the set count.
pub(super) const RECORD: &str = "json";
/// What a commit is about to give final names.
pub(super) const COMMIT: &str = "commit";
/// The record of a set that is being removed.
pub(super) const REMOVAL: &str = "forget";
/// That a set is pinned.
pub(super) const PIN: &str = "keep";
/// The folder of a run's unfinished files.
pub(super) const UNFINISHED: &str = "files";

/// The hidden folder, for what a run must remember and no set holds.
pub(crate) fn hidden(directory: &Path) -> PathBuf {
    directory.join(HIDDEN)
}

/// The path of a set's file in the hidden folder.
pub(super) fn file_of(directory: &Path, id: &SetId, kind: &str) -> PathBuf {
    hidden(directory).join(format!("{id}.{kind}"))
}

/// The path of the lock's file.
pub(super) fn lock_file(directory: &Path) -> PathBuf {
    hidden(directory).join("lock")
}

/// The stamp and the kind in the name of a file in the hidden folder, `<stamp>.<kind>`, where the
/// stamp is exactly one. What sync programs and file servers put beside such files has other names.
pub(super) fn own_name(name: &str) -> Option<(&str, &str)> {
    let (stamp, kind) = name.split_once('.')?;
    time::is_stamp(stamp).then_some((stamp, kind))
}

/// As [`own_name`]; the kind alone.
pub(super) fn own_kind(path: &Path) -> Option<&str> {
    let (_, kind) = own_name(path.file_name()?.to_str()?)?;
    Some(kind)
}
