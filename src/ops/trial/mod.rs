//! `snap verify -restore`: a set restored into a directory for temporary files, and compared with
//! what was restored, point by point. What was restored is read where it lies, or served by an
//! influxd that is started for that ([`influxd`]).

mod influxd;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tempfile::TempDir;

use super::restore::{SetSelector, Source, SourceDepth, least_bytes, planned};
use super::{
    DiffOptions, DiffReport, Directories, IndexKind, RestoreOptions, RestoreReport,
    RestoreSelection, ShardSource, Side, diff, restore,
};
use crate::client::Address;
use crate::context::Context;
use crate::error::{ErrorKind, kind_of, told};
use crate::io::scratch::{
    ensure_scratch_room, private_dir_named, scratch_dir, scratch_error, scratch_words,
};
use crate::progress::{Event, Progress, Silent};
use crate::repository::{Catalog, Location, Selection, SetId};
use crate::sizes::total;
use influxd::Influxd;

/// What the directory of a trial is called, before letters of its own.
const PREFIX: &str = "snap-verify-restore-";

/// What is said in that directory, for whoever finds it after a run that was killed.
const README: &str = "\
A run of snap verify -restore restores a backup into this directory, compares it with the backup
and removes it. If no such run is under way, the run was killed: remove the directory.
";

/// How often a shard is asked for again that the started influxd does not send.
const RETRIES: u32 = 5;

/// What to restore on trial, and how.
#[derive(Debug, Clone)]
pub struct TrialOptions {
    /// Where the backups lie.
    pub repository: Location,
    /// The set; where none is named, the newest and all that the directory holds beside it.
    pub set: Option<String>,
    /// The influxd that serves what was restored; none where it is read without one.
    pub influxd: Option<PathBuf>,
    /// How many shards at a time.
    pub jobs: usize,
}

/// What came of a restore on trial.
#[derive(Debug, Clone)]
pub struct TrialReport {
    /// The set that was restored, where one was.
    pub set: Option<SetId>,
    /// Why nothing was restored, if so.
    pub refusal: Option<TrialRefusal>,
    /// What was restored.
    pub restored: Option<RestoreReport>,
    /// What the comparison found; A is the set, B what was restored.
    pub comparison: Option<DiffReport>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Why a set is not restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialRefusal {
    /// Damage, or a set without what it names.
    pub kind: ErrorKind,
    /// What a restore says.
    pub reason: String,
}

/// A directory with room for a restore on trial. It goes away with this, and all that is in it.
#[derive(Debug)]
pub struct Trial<'a> {
    options: &'a TrialOptions,
    directory: TempDir,
}

impl<'a> Trial<'a> {
    /// Makes the directory, in TMPDIR, and makes sure that it has room: before anything is read,
    /// which can take hours.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or lacks room.
    pub fn prepare(options: &'a TrialOptions, context: Context<'_>) -> Result<Self> {
        if let Some(program) = &options.influxd {
            influxd::ensure_program(program)?;
        }
        let scratch = scratch_dir();
        let directory =
            private_dir_named(&scratch, PREFIX).map_err(|error| scratch_error(&scratch, error))?;
        fs::write(directory.path().join("README"), README)
            .map_err(|error| scratch_error(directory.path(), error))?;
        // What of the set cannot be read is told later.
        if let Ok(bytes) = bytes_needed(options, context) {
            ensure_scratch_room(&scratch, bytes).map_err(scratch_words)?;
        }
        Ok(Self { options, directory })
    }

    /// Restores the set, and compares it with what was restored.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written, or influxd does not run. What is damaged of the set or
    /// differs is none.
    pub fn run(self, context: Context<'_>) -> Result<TrialReport> {
        let started = Instant::now();
        let progress = TrialProgress {
            progress: context.progress,
            warned: Mutex::default(),
        };
        let quiet = Context {
            progress: &progress,
            ..context
        };
        context.status(format!(
            "restoring into {}",
            self.directory.path().display()
        ));
        let restored = match restore(&self.restore_options(), quiet) {
            Ok(restored) => restored,
            Err(error) => {
                let kind = kind_of(&error);
                if !matches!(kind, ErrorKind::Damage | ErrorKind::NoBackup) {
                    return Err(error);
                }
                let reason = told(&error);
                return Ok(TrialReport {
                    set: None,
                    refusal: Some(TrialRefusal { kind, reason }),
                    restored: None,
                    comparison: None,
                    elapsed: started.elapsed(),
                });
            }
        };
        let comparison = match &self.options.influxd {
            None => self.compare(&ShardSource::Directories(self.directories()), quiet)?,
            Some(program) => {
                context.status(format!(
                    "starting {} on what was restored",
                    program.display()
                ));
                let server = Influxd::start(program, self.directory.path(), context)?;
                let source = ShardSource::Server {
                    client: Arc::new(server.client(context.cancel)),
                    retries: RETRIES,
                };
                let compared = self.compare(&source, quiet);
                let ended = server.stop();
                let compared = compared?;
                ended?;
                compared
            }
        };
        Ok(TrialReport {
            set: Some(restored.set.clone()),
            refusal: None,
            restored: Some(restored),
            comparison: Some(comparison),
            elapsed: started.elapsed(),
        })
    }

    fn directories(&self) -> Directories {
        let root = self.directory.path();
        Directories {
            metadir: root.join("meta"),
            datadir: root.join("data"),
            waldir: None,
            ignore_wal: false,
        }
    }

    fn restore_options(&self) -> RestoreOptions {
        let Directories {
            metadir, datadir, ..
        } = self.directories();
        RestoreOptions {
            repository: self.options.repository.clone(),
            set: self.options.set.clone(),
            metadir: Some(metadir),
            datadir: Some(datadir),
            waldir: None,
            what: RestoreSelection::default(),
            force: false,
            merge: false,
            users: false,
            index: IndexKind::Inmem,
            apply_deletes: true,
            skip_damaged: false,
            // What the set is not of is no loss.
            warns_of_result: false,
            // Nobody is asked: there is no metastore in the directory to compare with.
            host: Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], 8088))),
            jobs: self.options.jobs,
            dry_run: false,
        }
    }

    fn compare(&self, restored: &ShardSource, context: Context<'_>) -> Result<DiffReport> {
        let set = ShardSource::Set {
            repository: self.options.repository.clone(),
            set: self.options.set.clone(),
        };
        let options = DiffOptions {
            include_internal: true,
            ..DiffOptions::default()
        };
        diff(&set, restored, &options, context)
    }
}

/// Bytes that are needed in TMPDIR: for what is restored, and for the largest shard of each side
/// while it is compared.
fn bytes_needed(options: &TrialOptions, context: Context<'_>) -> Result<u64> {
    let set = options.set.as_deref();
    let silent = Context {
        progress: &Silent,
        ..context
    };
    let selection = Selection {
        include_internal: true,
        ..Selection::default()
    };
    let (_, sizes, _) = planned(&options.repository, set, silent, |catalog: &Catalog| {
        let named = SetSelector::named(set);
        let depth = SourceDepth::Shards;
        let source = Source::read(catalog, named, &selection, None, depth, silent)?;
        let shards = source.chains.found.iter();
        let sizes = shards.map(|(shard, chain)| least_bytes(catalog, shard, chain));
        Ok((sizes.collect::<Vec<u64>>(), source.sets()))
    })?;
    let largest = sizes.iter().copied().max().unwrap_or(0);
    // A server sends shards, which are unpacked too.
    let sides = 1 + usize::from(options.influxd.is_some());
    let compared = std::iter::repeat_n(largest, sides);
    Ok(total(sizes.into_iter().chain(compared)))
}

/// Passes on what is told but for what a restore says of a target that stays; each warning once, as
/// the comparison has those of the restore too.
struct TrialProgress<'a> {
    progress: &'a dyn Progress,
    warned: Mutex<BTreeSet<String>>,
}

impl Progress for TrialProgress<'_> {
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::Status(text) => self.progress.report(&Event::Detail(text)),
            Event::Warning(text) => {
                let prefix = format!("{}: ", Side::A);
                let text = text.strip_prefix(&*prefix).unwrap_or(text);
                let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
                if warned.insert(text.to_owned()) {
                    self.progress.report(&Event::Warning(text));
                }
            }
            _ => self.progress.report(event),
        }
    }
}
