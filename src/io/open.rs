//! Opening files that somebody else may have put in their place: regular ones alone, never through
//! a link.
//!
//! A FIFO would keep the reader waiting for ever, a device may have no end, and a link may lead
//! anywhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::read_at::ReadAt;

/// How often, and how long apart, a file is tried that another program has under a lease, as file
/// servers do.
const LEASE_TRIES: u32 = 600;
const LEASE_PAUSE: Duration = Duration::from_millis(100);

/// Opens a regular file for reading. Links in the path's folders are followed, one in its place is
/// not.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] where there is something else than a regular file, and those of
/// the system.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    open_regular_with(OpenOptions::new().read(true), path)
}

/// As [`open_regular`], with options of the caller's: to write, to create. A file is never
/// truncated before its kind is known, so `truncate` must not be among them. The options' own flags
/// are replaced.
///
/// # Errors
///
/// Those of [`open_regular`].
pub(crate) fn open_regular_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO waits for its other end. For a regular file it changes
    // nothing.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    options.custom_flags(flags.bits() as i32);
    let file = open_past_leases(options, path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_regular("it is not a regular file"))
    }
}

fn open_past_leases(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let mut tries = 0;
    loop {
        let error = match options.open(path) {
            Ok(file) => return Ok(file),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            // FreeBSD says MLINK.
            Some(Errno::LOOP | Errno::MLINK) => {
                return Err(not_regular("it is a link, and links are not followed"));
            }
            // A socket, a device without a driver, a FIFO that is opened for writing; a directory.
            Some(Errno::NXIO | Errno::OPNOTSUPP | Errno::ISDIR) => {
                return Err(not_regular("it is not a regular file"));
            }
            Some(Errno::AGAIN) if tries < LEASE_TRIES => {
                tries += 1;
                std::thread::sleep(LEASE_PAUSE);
            }
            _ => return Err(error),
        }
    }
}

/// All of a regular file of at most `limit` bytes.
///
/// # Errors
///
/// Those of [`open_regular`]; [`io::ErrorKind::InvalidData`] where the file is larger.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_to_limit(open_regular(path)?, limit)
}

/// All that an open file holds, of at most `limit` bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] where there is more, and those of the system.
pub(crate) fn read_to_limit(file: impl Read + ReadAt, limit: u64) -> io::Result<Vec<u8>> {
    let size = ReadAt::size(&file)?;
    if size > limit {
        return Err(too_large(limit));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

fn not_regular(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// The error for a file of more than `limit` bytes.
pub(crate) fn too_large(limit: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it has more than {limit} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    fn fifo(path: &Path) {
        let done = std::process::Command::new("mkfifo").arg(path).status();
        assert!(done.unwrap().success());
    }

    #[test]
    fn only_a_regular_file_in_its_own_place_is_opened_and_nothing_else_makes_a_reader_wait() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), b"text").unwrap();
        fs::create_dir(at("folder")).unwrap();
        fifo(&at("fifo"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink(at("file"), at("to-file")).unwrap();
        symlink("/dev/zero", at("to-device")).unwrap();
        symlink(at("nowhere"), at("to-nowhere")).unwrap();

        assert_eq!(read_bounded(&at("file"), 4).unwrap(), b"text");
        let refused = |path: PathBuf| {
            let error = read_bounded(&path, 4).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::InvalidInput,
                "{path:?}: {error}"
            );
            error.to_string()
        };
        for name in ["folder", "fifo", "socket"] {
            assert_eq!(refused(at(name)), "it is not a regular file", "{name}");
        }
        assert_eq!(refused("/dev/zero".into()), "it is not a regular file");
        for name in ["to-file", "to-device", "to-nowhere"] {
            assert!(refused(at(name)).contains("link"), "{name}");
        }
        let missing = read_bounded(&at("missing"), 4).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);

        // Writing neither reaches through a link nor makes its target.
        let mut options = OpenOptions::new();
        options.write(true).create(true);
        for name in ["to-nowhere", "to-file", "fifo", "folder"] {
            let error = open_regular_with(&mut options, &at(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
        }
        assert!(!at("nowhere").exists());

        // A backup directory that is itself a link is a common arrangement.
        symlink(directory.path(), at("folder/link")).unwrap();
        assert_eq!(read_bounded(&at("folder/link/file"), 4).unwrap(), b"text");
    }

    #[test]
    fn a_file_that_is_larger_than_it_may_be_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read_bounded(&path, 1 << 30).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "it has more than 1073741824 bytes");
    }
}
