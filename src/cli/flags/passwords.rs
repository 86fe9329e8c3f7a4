//! A file of passwords.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, ErrorKind, words};
use crate::io::open::read_to_limit;
use crate::ops::Passwords;

/// The most bytes that such a file may have.
const MOST: u64 = 1 << 20;

/// Reads a file of names and passwords, a line each with a colon between them. Empty lines, and
/// lines that begin with #, are skipped.
///
/// # Errors
///
/// When the file cannot be read, or for a line that has no name, no password, or the name of a line
/// before it; where there is no line. The message has the number of the line, and nothing of what is in it.
pub(crate) fn read(file: &Path) -> Result<Passwords, Error> {
    let place = file.display();
    // It may be a pipe: <(pass show influxdb).
    let text = File::open(file)
        .and_then(|file| read_to_limit(file, MOST))
        .map_err(|error| ErrorKind::Failed.error(format!("reading {place}: {}", words(&error))))?;
    let text = String::from_utf8(text)
        .map_err(|_| ErrorKind::Usage.error(format!("{place} is not UTF-8")))?;
    let mut passwords = Passwords::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            let error = ErrorKind::Usage.error(format!("line {number} of {place} {what}"));
            error.hint("a line is name:password")
        };
        let (name, password) = match line.split_once(':') {
            // A server repeats what stands behind one, as it takes it for another statement.
            _ if line.contains(char::is_control) => return Err(wrong("has a control character")),
            None => return Err(wrong("has no colon")),
            Some(("", _)) => return Err(wrong("has no name")),
            Some((_, "")) => return Err(wrong("has no password")),
            Some(both) => both,
        };
        if !passwords.add(name, password) {
            return Err(wrong("has the name of a line before it"));
        }
    }
    if passwords.is_empty() {
        return Err(ErrorKind::Usage.error(format!("{place} names no user")));
    }
    Ok(passwords)
}
