//! A file of passwords.

use std::path::Path;

use crate::error::{Error, ErrorKind, words};
use crate::io::open::read_bounded;
use crate::ops::Passwords;

/// The most bytes that such a file may have.
const MOST: u64 = 1 << 20;

/// Reads a file of names and passwords, a line each with a colon between them. Empty lines, and
/// lines that begin with #, are skipped.
///
/// # Errors
///
/// When the file cannot be read, or for a line that has no name, no password, or the name of a line
/// before it. The message has the number of the line, and nothing of what is in it.
pub(crate) fn read(file: &Path) -> Result<Passwords, Error> {
    let place = file.display();
    let text = read_bounded(file, MOST)
        .map_err(|error| ErrorKind::Failed.error(format!("reading {place}: {}", words(&error))))?;
    let text = String::from_utf8(text)
        .map_err(|_| ErrorKind::Usage.error(format!("{place} is not UTF-8")))?;
    let mut passwords = Passwords::default();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            let error = ErrorKind::Usage.error(format!("line {number} of {place} {what}"));
            error.hint("a line is name:password")
        };
        let (name, password) = match line.split_once(':') {
            None => return Err(wrong("has no colon")),
            Some(("", _)) => return Err(wrong("has no name")),
            Some((_, "")) => return Err(wrong("has no password")),
            Some(both) => both,
        };
        if !passwords.add(name, password) {
            return Err(wrong("has the name of a line before it"));
        }
    }
    Ok(passwords)
}
