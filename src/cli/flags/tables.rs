//! The flags of `snap export` that say which format it has, and where tables go.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::error::{Error, ErrorKind};
use crate::ops::{Resolution, TableFormat, TableOptions, TimeFormat};

/// The flags of tables.
#[derive(Debug, Args)]
#[command(next_help_heading = "How")]
pub(crate) struct TableArgs {
    /// Write times of CSV as counts of this unit since 1970 [default: RFC 3339]
    #[arg(
        long,
        value_name = "ns|us|ms|s",
        hide_possible_values = true,
        hide_short_help = true
    )]
    epoch: Option<EpochArg>,
    /// Write times of Parquet with UTC as their zone, or without one [default: utc]
    ///
    /// DuckDB before 2.0 reads times with a zone as microseconds.
    #[arg(
        long,
        value_name = "utc|naive",
        hide_possible_values = true,
        hide_short_help = true
    )]
    time: Option<TimeArg>,
    /// Write tables into a file for each shard group
    ///
    /// Its name ends with the start of the group.
    #[arg(long)]
    split: bool,
    /// How to resolve a field of several types, or two columns of one name
    ///
    /// MEASUREMENT.FIELD=float, integer or string: one column of that type. MEASUREMENT.FIELD=split:
    /// a column for each type. 'MEASUREMENT.FIELD=>NAME': a column of that name; if a tag has the
    /// same name, the field is renamed. Escape with a backslash: a dot in a measurement, = in a
    /// field, and a backslash in either.
    #[arg(
        long,
        value_name = "M.F=TYPE",
        value_parser = super::values::resolution,
        hide_short_help = true
    )]
    resolve: Vec<Resolution>,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    Lp,
    Csv,
    #[value(name = "csv.gz")]
    CsvGz,
    Parquet,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EpochArg {
    Ns,
    Us,
    Ms,
    S,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TimeArg {
    Utc,
    Naive,
}

/// Where an export goes, by the name of `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutKind {
    File,
    Directory,
    Stdout,
}

impl FormatArg {
    /// The table that the name of a file says it is.
    fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy();
        let ends = |ending: &str| name.len() > ending.len() && name.ends_with(ending);
        match () {
            () if ends(".csv") => Some(Self::Csv),
            () if ends(".csv.gz") => Some(Self::CsvGz),
            () if ends(".parquet") => Some(Self::Parquet),
            () => None,
        }
    }

    /// The format that is meant, and where it goes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] where the name of the file says that it is another.
    pub(crate) fn meant(
        format: Option<Self>,
        out: Option<&Path>,
    ) -> Result<(Self, OutKind), Error> {
        if let Some((path, ending)) = out.and_then(|path| Some((path, unknown_packing(path)?))) {
            let message = format!("{} is not written: snap has no {ending}", path.display());
            let hint = "a name that ends with .gz compresses line protocol and CSV, and Parquet is \
                        compressed as it is";
            return Err(ErrorKind::Usage.error(message).hint(hint));
        }
        let named = out.and_then(Self::of_file);
        let format = format.or(named).unwrap_or(Self::Lp);
        if let (Some(path), true) = (out.filter(|path| is_other_file(path)), format != Self::Lp) {
            let message = format!("-format {format} and a file {}", path.display());
            let hint = "one table goes to a file whose name ends with .csv, .csv.gz or .parquet, \
                        several go to a directory: a name without such an ending, or with a slash \
                        behind it";
            return Err(ErrorKind::Usage.error(message).hint(hint));
        }
        let kind = match (out, named) {
            (None, _) => OutKind::Stdout,
            (Some(_), None) if format == Self::Lp => OutKind::File,
            (Some(_), None) => OutKind::Directory,
            (Some(_), Some(named)) if named == format => OutKind::File,
            // Any file is compressed whose name says so.
            (Some(_), Some(Self::CsvGz)) if format == Self::Csv => OutKind::File,
            (Some(path), Some(_)) => {
                let message = format!("-format {format} and a file {}", path.display());
                let hint = "leave out -format, or name a file that ends with it, or a directory";
                return Err(ErrorKind::Usage.error(message).hint(hint));
            }
        };
        match (format, kind) {
            (Self::Parquet, OutKind::Stdout) => Err(ErrorKind::Usage
                .error("Parquet does not go to standard output")
                .hint("write it to a directory, with -o DIR, or a file, with -o FILE.parquet")),
            _ => Ok((format, kind)),
        }
    }
}

impl std::fmt::Display for FormatArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lp => "lp",
            Self::Csv => "csv",
            Self::CsvGz => "csv.gz",
            Self::Parquet => "parquet",
        })
    }
}

impl TableArgs {
    /// Refuses flags that mean nothing for a format and where it goes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`].
    pub(crate) fn ensure_fit(&self, format: FormatArg, kind: OutKind) -> Result<(), Error> {
        use FormatArg::{Csv, CsvGz, Lp, Parquet};
        ensure_of("-epoch", self.epoch.is_some(), format, &[Csv, CsvGz])?;
        ensure_of("-time", self.time.is_some(), format, &[Parquet])?;
        let tables = [Csv, CsvGz, Parquet];
        ensure_of("-resolve", !self.resolve.is_empty(), format, &tables)?;
        ensure_of("-split", self.split, format, &tables)?;
        match self.split && kind != OutKind::Directory {
            true if format != Lp => Err(ErrorKind::Usage
                .error("-split writes several files")
                .hint("write them to a directory, with -o DIR")),
            _ => Ok(()),
        }
    }

    /// How tables are written.
    pub(crate) fn options(&self, format: FormatArg, kind: OutKind) -> TableOptions {
        let time = match self.epoch {
            None => TimeFormat::Rfc3339,
            Some(EpochArg::Ns) => TimeFormat::Epoch(1),
            Some(EpochArg::Us) => TimeFormat::Epoch(1000),
            Some(EpochArg::Ms) => TimeFormat::Epoch(1_000_000),
            Some(EpochArg::S) => TimeFormat::Epoch(1_000_000_000),
        };
        TableOptions {
            format: match format {
                FormatArg::Parquet => TableFormat::Parquet {
                    is_naive: self.time == Some(TimeArg::Naive),
                },
                _ => TableFormat::Csv {
                    time,
                    // That of a file is compressed as a whole.
                    is_compressed: format == FormatArg::CsvGz && kind != OutKind::File,
                },
            },
            split: self.split,
            resolutions: self.resolve.clone(),
        }
    }
}

/// How the name of a file ends that says it is compressed in a way that is not there.
fn unknown_packing(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let endings = [".zst", ".xz", ".bz2", ".lz4", ".zip", ".parquet.gz"];
    endings.into_iter().find(|ending| name.ends_with(ending))
}

/// Whether the name ends as that of a file that is no table. With a slash behind it, it is a
/// directory.
fn is_other_file(path: &Path) -> bool {
    let endings = [
        "tsv", "txt", "lp", "json", "jsonl", "gz", "xls", "xlsx", "ods", "pq", "parq", "sql",
        "sqlite", "db", "feather", "arrow", "orc", "avro", "line",
    ];
    let is_directory = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    let is_known = |ending| endings.iter().any(|known| ending == *known);
    !is_directory && !path.is_dir() && ending.is_some_and(is_known)
}

/// Refuses a flag that is given with a format that it does not belong to.
///
/// # Errors
///
/// [`ErrorKind::Usage`].
pub(crate) fn ensure_of(
    flag: &str,
    is_given: bool,
    format: FormatArg,
    formats: &[FormatArg],
) -> Result<(), Error> {
    match is_given && !formats.contains(&format) {
        true => {
            let names: Vec<String> = formats.iter().map(|one| format!("-format {one}")).collect();
            Err(ErrorKind::Usage
                .error(format!("{flag} does not work with -format {format}"))
                .hint(format!("it works with {}", names.join(", "))))
        }
        false => Ok(()),
    }
}
