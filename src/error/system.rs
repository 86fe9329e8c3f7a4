//! The system's errors in words, and what helps against each. The words are here and nowhere else:
//! the standard library's name an error number, and a temporary file the name that it had.

use std::borrow::Cow;
use std::io;

use rustix::io::Errno;

/// What the standard library writes before the number of an error.
const NUMBER: &str = " (os error ";

/// An error with its causes, the outermost first, in one line.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let words = error
        .chain()
        .map(|cause| match cause.downcast_ref::<io::Error>() {
            Some(error) => words(error).into_owned(),
            None => cause.to_string(),
        });
    words.collect::<Vec<_>>().join(": ")
}

/// A system's error in words; of another, its own.
pub(crate) fn words(error: &io::Error) -> Cow<'_, str> {
    match errno_of(error) {
        Some(errno) => of_errno(errno),
        None => error.to_string().into(),
    }
}

/// The number of a system's error. The one that a temporary file could not be made for hides in the
/// text, before the name that the file would have had.
fn errno_of(error: &io::Error) -> Option<Errno> {
    let number = error.raw_os_error().or_else(|| {
        let text = error.to_string();
        let (before, _) = text.split_once(") at path \"")?;
        before.rsplit_once(NUMBER)?.1.parse().ok()
    });
    number.map(Errno::from_raw_os_error)
}

fn of_errno(errno: Errno) -> Cow<'static, str> {
    let words = match errno {
        Errno::NOENT => "no such file or directory",
        Errno::ACCESS | Errno::PERM => "permission denied",
        Errno::NOTDIR => "a part of the path is not a directory",
        Errno::NOSPC => "no space left on the disk",
        Errno::DQUOT => "the disk quota is used up",
        Errno::ROFS => "the file system is read-only",
        Errno::MFILE | Errno::NFILE => "too many open files",
        Errno::IO => "the disk reports an error (input/output error)",
        _ => {
            let text = io::Error::from(errno).to_string();
            let text = text.rsplit_once(NUMBER).map_or(&*text, |(text, _)| text);
            let mut letters = text.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            return first.into_iter().chain(letters).collect::<String>().into();
        }
    };
    words.into()
}

/// What helps against the first of the system's errors in a chain.
pub(super) fn advice(error: &anyhow::Error) -> Option<Cow<'static, str>> {
    let mut causes = error.chain();
    let errno = causes.find_map(|cause| errno_of(cause.downcast_ref()?))?;
    let advice = match errno {
        Errno::ACCESS | Errno::PERM => {
            let user = rustix::process::geteuid().as_raw();
            return Some(
                format!(
                    "snap runs as user {user}: run it as one who may, or give this one the right"
                )
                .into(),
            );
        }
        Errno::NOTDIR => "a file stands where a directory is named",
        Errno::NOSPC => "make room on that file system",
        Errno::DQUOT => "raise the quota of this user, or remove files",
        Errno::ROFS => {
            "mount it for writing; after an error of the disk, Linux has it read-only (see dmesg)"
        }
        Errno::MFILE | Errno::NFILE => {
            "raise the limit (ulimit -n, or LimitNOFILE= of a unit), or lower -jobs"
        }
        Errno::FBIG => {
            "the file reached the file size limit: that of this user (ulimit -f), or of the file \
             system"
        }
        Errno::ADDRINUSE => "another program listens there: stop it, or name another address",
        Errno::IO => "the disk fails, or the way to it: see dmesg",
        _ => return None,
    };
    Some(advice.into())
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn system_errors_are_words_without_numbers() {
        let said = |errno: Errno| {
            let error = io::Error::from(errno);
            told(&anyhow::Error::from(error).context("writing x"))
        };
        for (errno, words) in [
            (Errno::NOSPC, "writing x: no space left on the disk"),
            (Errno::ACCESS, "writing x: permission denied"),
            (Errno::ADDRINUSE, "writing x: address already in use"),
            (Errno::STALE, "writing x: stale file handle"),
        ] {
            assert_eq!(said(errno), words);
        }
        let own = io::Error::other("a tar without its end");
        assert_eq!(words(&own), "a tar without its end");
    }

    #[test]
    fn temporary_files_are_not_named() {
        let made = tempfile::Builder::new()
            .prefix(".tmp")
            .tempfile_in("/proc/nowhere");
        let error = made
            .context("creating a file in /proc/nowhere")
            .unwrap_err();
        assert!(format!("{error:#}").contains(".tmp"));
        assert_eq!(
            told(&error),
            "creating a file in /proc/nowhere: no such file or directory"
        );
    }

    #[test]
    fn there_is_advice_for_what_an_operator_can_mend() {
        for errno in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::ROFS,
            Errno::MFILE,
            Errno::FBIG,
            Errno::ACCESS,
        ] {
            let error = io::Error::from(errno);
            let named = io::Error::new(error.kind(), anyhow::Error::from(error).context("x"));
            assert!(advice(&anyhow::Error::from(named)).is_some(), "{errno:?}");
        }
        assert_eq!(advice(&anyhow::anyhow!("x")), None);
    }
}
