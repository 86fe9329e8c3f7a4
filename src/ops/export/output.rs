//! Where an export goes. Its file gets its name when it is whole.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use super::directory::ExportDirectory;
use crate::error::{Error, ErrorKind};
use crate::io::durable;

/// Where an export goes.
pub(super) enum ExportOut<'a> {
    /// To a file or anything else.
    Stream(&'a mut (dyn Write + Send + 'a)),
    /// To files of a directory.
    Directory(&'a ExportDirectory),
}

impl<'a> ExportOut<'a> {
    /// For what is no more than one file.
    ///
    /// # Errors
    ///
    /// Where it is a directory.
    pub(super) fn stream(self) -> Result<&'a mut (dyn Write + Send + 'a)> {
        match self {
            Self::Stream(out) => Ok(out),
            Self::Directory(_) => Err(ErrorKind::Usage
                .error("line protocol is written to one file, not to a directory")
                .into()),
        }
    }
}

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// A file that is being written, under a name that goes with it.
pub(super) struct ExportFile {
    path: PathBuf,
    out: Out,
}

enum Out {
    Plain(BufWriter<NamedTempFile>),
    Gzip(Box<GzEncoder<BufWriter<NamedTempFile>>>),
}

impl ExportFile {
    /// Begins a file; compressed where its name ends with .gz.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where there is one, and those of the system.
    pub(super) fn create(path: &Path) -> Result<Self> {
        ensure!(std::fs::symlink_metadata(path).is_err(), is_there(path));
        let file =
            BufWriter::with_capacity(CHUNK, durable::unfinished_in(durable::directory_of(path))?);
        let out = match path.extension().is_some_and(|extension| extension == "gz") {
            true => Out::Gzip(Box::new(GzEncoder::new(file, Compression::fast()))),
            false => Out::Plain(file),
        };
        Ok(Self {
            path: path.to_owned(),
            out,
        })
    }

    /// Makes it last, and gives it its name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where a file of that name has come, and those of the system.
    pub(super) fn finish(self) -> Result<()> {
        let Self { path, out } = self;
        let writing = || format!("writing {}", path.display());
        let buffered = match out {
            Out::Plain(file) => file,
            Out::Gzip(member) => member.finish().with_context(writing)?,
        };
        let file = buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        let file = file.with_context(writing)?;
        durable::sync(file.as_file(), file.path())?;
        let temporary = file.into_temp_path();
        // It may have come meanwhile.
        match durable::rename_to_free_name(&temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(is_there(&path)),
            renamed => renamed.with_context(writing)?,
        }
        durable::sync_dir(durable::directory_of(&path))
    }
}

fn is_there(path: &Path) -> Error {
    ErrorKind::Refused
        .error(format!("{} is there already", path.display()))
        .hint("name another file, or remove it")
}

impl Write for ExportFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Plain(file) => file.write(bytes),
            Out::Gzip(member) => member.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
