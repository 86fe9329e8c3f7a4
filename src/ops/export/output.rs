//! Where an export goes. Its files get their names when all of them are whole.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tempfile::{NamedTempFile, TempPath};

use super::directory::ExportDirectory;
use crate::error::{Error, ErrorKind};
use crate::io::durable;
use crate::shard_tar::gzip::GzipWriter;

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// Where an export goes.
pub(super) enum ExportOut<'a> {
    /// To a file, or several.
    Files(&'a mut ExportFiles),
    /// To anything else.
    Stream(&'a mut (dyn Write + Send + 'a)),
    /// To files of a directory.
    Directory(&'a ExportDirectory),
}

impl<'a> ExportOut<'a> {
    /// For lines, which may be divided among files.
    ///
    /// # Errors
    ///
    /// Where it is a directory.
    pub(super) fn lines(self) -> Result<Box<dyn LineOut + 'a>> {
        match self {
            Self::Files(files) => Ok(Box::new(files)),
            Self::Stream(out) => Ok(Box::new(OneStream(out))),
            Self::Directory(_) => Err(ErrorKind::Usage
                .error("line protocol is written to one file, not to a directory")
                .into()),
        }
    }
}

/// Where lines go.
pub(super) trait LineOut {
    /// Writes all of the bytes.
    ///
    /// # Errors
    ///
    /// Those of the system, with the name of the file.
    fn put(&mut self, bytes: &[u8]) -> Result<()>;

    /// Passes on what waits.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn flush(&mut self) -> Result<()>;

    /// Ends the file, and begins another.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn next_file(&mut self) -> Result<()>;
}

/// Lines that go into one stream.
struct OneStream<'a>(&'a mut (dyn Write + Send + 'a));

/// Files that are being written, under names that go with them.
pub(super) struct ExportFiles {
    names: FileNames,
    /// Those that are whole and on the disk, in their order.
    whole: Vec<TempPath>,
    current: Out,
}

/// What the files are called.
struct FileNames {
    path: PathBuf,
    are_numbered: bool,
}

enum Out {
    Plain(BufWriter<NamedTempFile>),
    /// Compressed on all cores.
    Gzip(Box<GzipWriter<BufWriter<NamedTempFile>>>),
}

impl ExportFiles {
    /// Begins a file; compressed where its name ends with .gz. With `are_numbered`, others can
    /// follow, and its name gets a number.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where there is one of its name, or of any number, and those of the
    /// system.
    pub(super) fn create(path: &Path, are_numbered: bool) -> Result<Self> {
        let names = FileNames {
            path: path.to_owned(),
            are_numbered,
        };
        names.ensure_free()?;
        Ok(Self {
            current: names.begin(0)?,
            names,
            whole: Vec::new(),
        })
    }

    /// What fails where the file cannot be written.
    pub(super) fn writing(&self) -> String {
        format!("writing {}", self.names.nth(self.whole.len()).display())
    }

    /// Makes the last file whole, and gives all of them their names; those.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where a file of such a name has come, and those of the system.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>> {
        let writing = self.writing();
        let last = self.current.finish().context(writing)?;
        self.whole.push(last);
        let paths: Vec<PathBuf> = (0..self.whole.len())
            .map(|nth| self.names.nth(nth))
            .collect();
        // The first gets its name last: where there is a first, all are there.
        let named = paths.iter().zip(self.whole).rev();
        let mut done: Vec<&PathBuf> = Vec::new();
        for (path, temporary) in named {
            if let Err(error) = name(&temporary, path) {
                done.iter()
                    .try_for_each(|path| durable::remove_if_there(path))?;
                return Err(error);
            }
            done.push(path);
        }
        durable::sync_dir(durable::directory_of(&self.names.path))?;
        Ok(paths)
    }
}

/// Gives a file its name, under which one may have come meanwhile.
fn name(temporary: &TempPath, path: &Path) -> Result<()> {
    match durable::rename_to_free_name(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(is_there(path)),
        renamed => renamed.with_context(|| format!("writing {}", path.display())),
    }
}

impl FileNames {
    fn begin(&self, nth: usize) -> Result<Out> {
        let file = durable::unfinished_in(durable::directory_of(&self.path))?;
        let file = BufWriter::with_capacity(CHUNK, file);
        let mut inside = self.nth(nth);
        if inside.extension().is_none_or(|suffix| suffix != "gz") {
            return Ok(Out::Plain(file));
        }
        inside.set_extension("");
        let name = inside.file_name().unwrap_or_default().to_string_lossy();
        Ok(Out::Gzip(Box::new(GzipWriter::one_member(&name, file))))
    }

    /// The path of a file.
    fn nth(&self, nth: usize) -> PathBuf {
        match self.are_numbered {
            false => self.path.clone(),
            true => {
                let (stem, suffix) = self.parts();
                let mut name = stem;
                name.push(format!("-{:04}", nth + 1));
                name.push(suffix);
                self.path.with_file_name(name)
            }
        }
    }

    /// The name before the number, and what comes behind it: `.lp`, or `.lp.gz`.
    fn parts(&self) -> (OsString, OsString) {
        let mut stem = PathBuf::from(self.path.file_name().unwrap_or_default());
        let mut suffix = OsString::new();
        for _ in 0..2 {
            let Some(extension) = stem.extension().map(ToOwned::to_owned) else {
                break;
            };
            let is_gz = extension == "gz";
            let mut with_dot = OsString::from(".");
            with_dot.push(extension);
            with_dot.push(suffix);
            suffix = with_dot;
            stem.set_extension("");
            if !is_gz {
                break;
            }
        }
        (stem.into(), suffix)
    }

    /// Refuses names that are taken. A file of a higher number, of an export before this one, would
    /// be taken for one of this.
    fn ensure_free(&self) -> Result<()> {
        let bytes = self.path.as_os_str().as_bytes();
        if bytes.ends_with(b"/") || self.path.is_dir() {
            let path = self.path.display();
            let error = ErrorKind::Usage.error(format!("{path} is a directory"));
            return Err(error.hint("name a file").into());
        }
        if !self.are_numbered {
            let is_free = fs::symlink_metadata(&self.path).is_err();
            ensure!(is_free, is_there(&self.path));
            return Ok(());
        }
        let (stem, suffix) = self.parts();
        let directory = durable::directory_of(&self.path);
        let reading = || format!("reading {}", directory.display());
        for entry in fs::read_dir(directory).with_context(reading)? {
            let path = entry.with_context(reading)?.path();
            let name = path.file_name().unwrap_or_default().as_bytes();
            let number = name
                .strip_prefix(stem.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"-"))
                .and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
            let is_number = number
                .is_some_and(|number| number.len() >= 4 && number.iter().all(u8::is_ascii_digit));
            ensure!(!is_number, is_there(&path));
        }
        Ok(())
    }
}

impl Out {
    /// Makes it last.
    fn finish(self) -> Result<TempPath> {
        let buffered = match self {
            Self::Plain(file) => file,
            Self::Gzip(member) => member.finish()?.0,
        };
        let file = buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        durable::sync(file.as_file(), file.path())?;
        Ok(file.into_temp_path())
    }
}

fn is_there(path: &Path) -> Error {
    ErrorKind::Refused
        .error(format!("{} is there already", path.display()))
        .hint("name another file, or remove it")
}

impl LineOut for &mut ExportFiles {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.write_all(bytes);
        written.with_context(|| self.writing())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn next_file(&mut self) -> Result<()> {
        let next = self.names.begin(self.whole.len() + 1)?;
        let whole = std::mem::replace(&mut self.current, next).finish();
        let whole = whole.with_context(|| self.writing())?;
        self.whole.push(whole);
        Ok(())
    }
}

impl Write for ExportFiles {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.current {
            Out::Plain(file) => file.write(bytes),
            Out::Gzip(member) => member.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LineOut for OneStream<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush()?)
    }

    fn next_file(&mut self) -> Result<()> {
        let error = ErrorKind::Usage.error("one stream cannot be divided into files");
        Err(error.hint("name a file, with -o FILE").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_before_what_says_what_a_file_is() {
        let nth = |path: &str, nth| {
            let path = PathBuf::from(path);
            FileNames {
                path,
                are_numbered: true,
            }
            .nth(nth)
        };
        for (path, expected) in [
            ("x.lp.gz", "x-0001.lp.gz"),
            ("d.d/a.b.lp", "d.d/a.b-0001.lp"),
            ("points", "points-0001"),
            ("points.gz", "points-0001.gz"),
        ] {
            assert_eq!(nth(path, 0), Path::new(expected));
        }
        assert_eq!(nth("x.lp", 9999), Path::new("x-10000.lp"));
    }
}
