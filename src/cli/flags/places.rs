//! Which arguments are PATH and SET: PATH may be left out, and people exchange the two.

use std::ffi::OsStr;
use std::path::Path;

use clap::Command;

use super::profiles::PATH;
use crate::error::{Error, ErrorKind};
use crate::repository::{Location, is_set_name};

/// The argument for the set.
const SET: &str = "set";

/// What was typed of PATH and SET.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Neither.
    Nothing,
    /// A set without PATH.
    SetAlone,
    /// PATH, and what follows it.
    Path,
}

/// What the arguments of a command are.
///
/// # Errors
///
/// [`ErrorKind::Usage`] for a set in the place of PATH, or a directory in that of SET.
pub(crate) fn typed(command: &Command, words: &[&OsStr]) -> Result<Typed, Error> {
    let takes = |id: &str| command.get_positionals().any(|arg| arg.get_id() == id);
    let set = command.get_positionals().find(|arg| arg.get_id() == SET);
    let Some(set) = set.filter(|_| takes(PATH)) else {
        return Ok(if words.is_empty() {
            Typed::Nothing
        } else {
            Typed::Path
        });
    };
    let name = command.get_name();
    match *words {
        [] => Ok(Typed::Nothing),
        [only] if set.is_required_set() && is_directory(only) => Err(ErrorKind::Usage
            .error(format!(
                "'{}' is {}, and no SET follows it",
                only.display(),
                kind_of_path(only)
            ))
            .hint(format!(
                "write: snap {name} {} SET (an id, the beginning of one, or latest)",
                only.display()
            ))),
        [only] if set.is_required_set() || is_set(only) => Ok(Typed::SetAlone),
        [first, second, ..] if is_set(first) && !is_name_of_set(second) => Err(ErrorKind::Usage
            .error(format!(
                "'{}' names a set; write PATH before it",
                first.display()
            ))
            .hint(format!(
                "exchange the two: snap {name} {} {}",
                second.display(),
                first.display()
            ))),
        [_, second, ..] if is_directory(second) && !is_name_of_set(second) => Err(ErrorKind::Usage
            .error(format!(
                "'{}' is {}, and not a set",
                second.display(),
                kind_of_path(second)
            ))
            .hint(format!(
                "snap {name} takes one PATH, and behind it a SET: an id, the beginning of one, \
                 or latest"
            ))),
        _ => Ok(Typed::Path),
    }
}

/// That a set was typed, and no directory is known to look for it in.
pub(crate) fn no_path(command: &Command, set: &OsStr) -> Error {
    let (name, set) = (command.get_name(), set.display());
    ErrorKind::Usage
        .error(format!("'{set}' names a set; write PATH before it"))
        .hint(format!(
            "write: snap {name} PATH {set}; or name PATH in SNAP_DIR or in a profile"
        ))
}

/// Whether the first word is a set: it may be a directory of such a name.
fn is_set(word: &OsStr) -> bool {
    is_name_of_set(word) && !Path::new(word).exists()
}

/// Whether a word is spelled as a set is. Behind PATH that is enough, whatever else has the name.
fn is_name_of_set(word: &OsStr) -> bool {
    let is_number = |name: &str| name.len() >= 4 && name.bytes().all(|c| c.is_ascii_digit());
    let is_name = |name: &str| is_set_name(name) || is_number(name);
    word.to_str().is_some_and(is_name)
}

fn kind_of_path(word: &OsStr) -> &'static str {
    match Location::is_url(word) {
        true => "a URL",
        false => "a directory",
    }
}

/// Whether a word can only be meant for PATH.
fn is_directory(word: &OsStr) -> bool {
    Path::new(word).is_dir() || Path::new(word).is_absolute() || Location::is_url(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::built;

    fn of(command: &str, words: &[&str]) -> Result<Typed, String> {
        let root = built();
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let command = root.find_subcommand(command).unwrap();
        typed(command, &words).map_err(|error| error.message)
    }

    #[test]
    fn a_set_is_told_from_a_directory() {
        for (command, words, is) in [
            ("info", &[][..], Typed::Nothing),
            ("info", &["latest"], Typed::SetAlone),
            ("verify", &["20261126T1452"], Typed::SetAlone),
            ("verify", &["2026"], Typed::SetAlone),
            ("keep", &["2026"], Typed::SetAlone),
            ("info", &["backups"], Typed::Path),
            ("info", &["./latest"], Typed::Path),
            ("restore", &["/b", "latest"], Typed::Path),
            ("restore", &["/b", "2026"], Typed::Path),
            ("keep", &["/b", "2026"], Typed::Path),
            // No SET is taken, so any word is a directory.
            ("list", &["latest"], Typed::Path),
            ("backup", &["latest"], Typed::Path),
            ("serve", &[], Typed::Nothing),
        ] {
            assert_eq!(of(command, words), Ok(is), "{command} {words:?}");
        }
    }

    #[test]
    fn what_is_spelled_as_a_set_is_one_behind_path_whatever_lies_in_the_working_directory() {
        assert!(is_name_of_set(OsStr::new("latest")) && is_name_of_set(OsStr::new("2026")));
        // A name that is there, wherever the tests run.
        assert!(!is_name_of_set(OsStr::new("src")) && is_directory(OsStr::new("src")));
        assert!(of("verify", &["/b", "src"]).is_err());
    }

    #[test]
    fn what_stands_in_the_wrong_place_is_refused() {
        for (command, words, said) in [
            (
                "restore",
                &["latest", "/b"][..],
                "'latest' names a set; write PATH before it",
            ),
            (
                "keep",
                &["20261126T145202Z", "b"],
                "'20261126T145202Z' names a set; write PATH before it",
            ),
            (
                "verify",
                &["/a", "/tmp"],
                "'/tmp' is a directory, and not a set",
            ),
            (
                "verify",
                &["/a", "s3://b/p"],
                "'s3://b/p' is a URL, and not a set",
            ),
            (
                "keep",
                &["s3://b/p"],
                "'s3://b/p' is a URL, and no SET follows it",
            ),
            (
                "keep",
                &["/tmp"],
                "'/tmp' is a directory, and no SET follows it",
            ),
        ] {
            assert_eq!(
                of(command, words),
                Err(said.to_owned()),
                "{command} {words:?}"
            );
        }
    }
}
