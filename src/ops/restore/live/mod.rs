//! Restoring into a running server: the meta store is imported, which gives each shard a new id, and each shard's TSM files are
//! uploaded in one tar.
//!
//! The protocol acknowledges neither: an import without pairs and an upload that ends are all a server says. So the server is
//! asked before ([`Live::refuse_what_is_there`]), read back after ([`upload`]), and what was begun is written down ([`journal`]).

mod filtered;
mod import;
mod journal;
mod left_out;
mod upload;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::check::{CheckedShard, Use, check};
use super::source::{SetSelector, Source, planned, sets_of};
use super::{RestoreReport, RestoreSelection, missing, refuse_harmful_names};
use crate::cancel::Cancel;
use crate::client::Client;
use crate::error::ErrorKind;
use crate::io::scratch::scratch_dir;
use crate::metastore::Data;
use crate::ops::selection::list;
use crate::progress::{Event, Progress};
use crate::repository::Catalog;
use crate::wire::{Dialect, ShardIds};
use journal::{Begun, Header, Journal};
use upload::Uploaded;

/// How long after a failure the next attempt is made.
const WAIT: Duration = Duration::from_millis(500);

/// What to restore into a server, and how.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// The backup directory.
    pub directory: PathBuf,
    /// The set; where none is named, the newest and all that the directory holds beside it.
    pub set: Option<String>,
    /// What of it, and under which names.
    pub what: RestoreSelection,
    /// How many shards at a time.
    pub jobs: usize,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// Read each shard back and compare its files.
    pub verify: bool,
    /// Go on with the restore into this server that was interrupted; what and which set are those of its journal.
    pub resume: bool,
    /// Leave out what was deleted; else it comes back, because servers throw tombstones away.
    pub apply_deletes: bool,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

/// Restores a backup into a running server.
///
/// # Errors
///
/// Before anything is sent: when the backup is damaged, the server too old, or a database is there already
/// ([`ErrorKind::Refused`]). Later: when the server refuses the import. Shards that could not be uploaded are in the report.
pub fn restore_live(
    client: &Client,
    options: &LiveOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let begun = Instant::now();
    options.what.refuse_contradictions()?;
    let host = client.address().to_string();
    let begun_before = Begun::all(&options.directory, &host)?;
    let interrupted = if options.resume {
        Some(resumed(options, &begun_before, &host)?)
    } else {
        None
    };
    let (which, what) = match interrupted {
        Some(Begun { header, .. }) if header.named => {
            (SetSelector::Alone(&header.set), &header.what)
        }
        Some(Begun { header, .. }) => (SetSelector::UpTo(&header.set), &header.what),
        None => (SetSelector::named(options.set.as_deref()), &options.what),
    };
    let set = options.set.as_deref();
    let (contents, (source, planned), _held) =
        planned(&options.directory, set, progress, |contents| {
            let selection = what.selection(false);
            let source = Source::read(contents, which, &selection, what.bounds(), true, progress)?;
            source.refuse_id_twice()?;
            let planned = source.planned(what, Some)?;
            let sets = sets_of(&planned);
            Ok(((source, planned), sets))
        })?;
    source.say_what_is_missing(&contents, &what.selection(false), progress)?;
    let live = Live {
        client,
        options,
        what,
        cancel,
        progress,
    };
    let there = live.look()?;
    let known = match interrupted {
        Some(begun) => live.ids_on_server(begun, &source, &there)?,
        None => {
            live.refuse_what_is_there(&source, &there, &begun_before)?;
            None
        }
    };
    let used = Use {
        leave_index: true,
        apply_deletes: options.apply_deletes,
        scratch: scratch_dir(),
    };
    let mut shards = check(&contents, planned, &used, options.jobs, cancel, progress)?;
    refuse_harmful_names(&shards)?;
    filtered::refuse_without_room(&shards, options.apply_deletes)?;
    live.say_what_is_left_out(&source, &shards);
    let mut report = RestoreReport {
        shards: shards.len(),
        files: shards.iter().map(|shard| tsm_files(shard).count()).sum(),
        bytes: shards
            .iter()
            .flat_map(tsm_files)
            .map(|(_, size)| size)
            .sum(),
        metastore: None,
        missing: missing(&source.chains.missing, &shards),
        elapsed: Duration::ZERO,
    };
    if options.dry_run {
        for shard in &shards {
            let (path, files) = (&shard.source, tsm_files(shard).count());
            let (database, policy) = (&shard.target.database, &shard.target.retention_policy);
            let message = format!(
                "would upload shard {path} to {}, into {database}/{policy} ({files} TSM files)",
                client.address()
            );
            progress.report(&Event::Status(&message));
        }
    } else {
        let header = interrupted.map_or_else(
            || live.header(&source, &there),
            |begun| begun.header.clone(),
        );
        let uploaded = live.write(&contents, &source, &mut shards, &header, known)?;
        (report.shards, report.files, report.bytes) =
            (uploaded.shards, uploaded.files, uploaded.bytes);
        report.missing.extend(uploaded.failed);
    }
    report.elapsed = begun.elapsed();
    Ok(report)
}

/// The restore that is to be gone on with: the one that there is, or that was of what is named.
fn resumed<'a>(options: &LiveOptions, begun: &'a [Begun], host: &str) -> Result<&'a Begun> {
    let named = |begun: &&Begun| {
        let same_set = options
            .set
            .as_ref()
            .is_none_or(|set| *set == begun.header.set);
        same_set
            && (options.what == RestoreSelection::default() || options.what == begun.header.what)
    };
    let found: Vec<&Begun> = begun.iter().filter(named).collect();
    let directory = options.directory.display();
    let of = |begun: &&Begun| {
        format!(
            "{} of set {}",
            begun.header.names.join(", "),
            begun.header.set
        )
    };
    match (&found[..], begun) {
        ([one], _) => Ok(one),
        ([], []) => {
            let fault = ErrorKind::Refused.error(format!(
                "no interrupted restore into {host} is known in {directory}"
            ));
            Err(fault.hint("leave -resume out to begin one; -host and PATH must be those of the interrupted run").into())
        }
        ([], others) => {
            let others: Vec<String> = others.iter().map(|begun| of(&begun)).collect();
            let fault = ErrorKind::Usage.error(format!(
                "no interrupted restore into {host} was of what is named here"
            ));
            Err(fault
                .hint(format!("there are: {}", others.join("; ")))
                .into())
        }
        (several, _) => {
            let several: Vec<String> = several.iter().map(of).collect();
            let fault = ErrorKind::Usage.error(format!(
                "{} restores into {host} were interrupted",
                several.len()
            ));
            let hint = format!(
                "name one by its set, -database and the like, as it was begun: {}",
                several.join("; ")
            );
            Err(fault.hint(hint).into())
        }
    }
}

/// The TSM files of a shard with their sizes: all that a server takes.
fn tsm_files(shard: &CheckedShard) -> impl Iterator<Item = (&str, u64)> {
    let files = shard.files.iter().map(|(name, file)| (name, file.size));
    files.filter(|(name, _)| name.ends_with(".tsm"))
}

/// A restore into a running server.
struct Live<'a> {
    client: &'a Client,
    options: &'a LiveOptions,
    what: &'a RestoreSelection,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Live<'_> {
    /// What the server holds.
    fn look(&self) -> Result<Data> {
        let there = Data::read(&self.client.meta_store()?.meta)?;
        if self.client.dialect() == Some(Dialect::V1_0) {
            return Err(ErrorKind::Refused
                .error(format!(
                    "{} is of version 1.0 to 1.4, which cannot be restored into while it runs",
                    self.client.address()
                ))
                .hint("stop it and restore into its directories with -metadir and -datadir")
                .into());
        }
        Ok(there)
    }

    /// The one database that is meant, where there is but one: it was named, or the shard that was named is in it.
    fn only_database(&self, source: &Source) -> Option<String> {
        let of_shard = || Some(source.live.first()?.path.database.clone());
        self.what
            .database
            .clone()
            .or_else(|| self.what.shard.and_then(|_| of_shard()))
    }

    /// The names that the backup's databases get on the server.
    fn new_names(&self, source: &Source) -> Vec<String> {
        match self
            .what
            .new_database
            .clone()
            .or_else(|| self.only_database(source))
        {
            Some(name) => vec![name],
            None => source.databases.clone(),
        }
    }

    fn refuse_what_is_there(&self, source: &Source, there: &Data, begun: &[Begun]) -> Result<()> {
        let names = self.new_names(source);
        let Some(name) = names.iter().find(|name| there.database(name).is_some()) else {
            return Ok(());
        };
        let fault = ErrorKind::Refused.error(format!(
            "{} already has a database '{name}'",
            self.client.address()
        ));
        let interrupted = begun.iter().any(|begun| begun.header.names.contains(name));
        Err(match interrupted {
            true => {
                fault.hint("a restore of it was interrupted: -resume goes on with that; or drop the database to begin anew")
            }
            false => fault.hint("-database DB -newdb NEW restores it beside; influxd cannot merge into a database"),
        }
        .into())
    }

    /// The ids that an interrupted restore was given, where its import took place.
    fn ids_on_server(
        &self,
        begun: &Begun,
        source: &Source,
        there: &Data,
    ) -> Result<Option<(ShardIds, Vec<u64>)>> {
        let (header, address) = (&begun.header, self.client.address());
        let refuse =
            |message: String, hint: &str| Err(ErrorKind::Refused.error(message).hint(hint).into());
        if header.cluster_id != there.cluster_id {
            return refuse(
                format!("{address} is not the server that the restore was begun on"),
                "leave -resume out to begin anew",
            );
        }
        let Some(name) = header
            .names
            .iter()
            .find(|name| there.database(name).is_some())
        else {
            if begun.ids.is_some() {
                let message =
                    format!("the databases of the interrupted restore are gone from {address}");
                return refuse(message, "leave -resume out to begin anew");
            }
            // It did not come so far as to make one.
            return Ok(None);
        };
        let of_import = begun
            .ids
            .clone()
            .unwrap_or_else(|| import::ids_by_time(source, self.what, there, header.max_shard_id));
        for (shard, _) in &source.chains.found {
            let target = of_import
                .get(&shard.id)
                .map(|id| self.what.target(shard, *id));
            if !target.is_some_and(|target| {
                there
                    .shards()
                    .any(|known| known.path == target && known.deleted_at.is_none())
            }) {
                let message = format!(
                    "the database '{name}' on {address} is not as the interrupted restore left it: shard {shard} \
                                       has no place in it"
                );
                return refuse(
                    message,
                    "drop the databases of the restore and leave -resume out to begin anew",
                );
            }
        }
        Ok(Some((of_import, begun.done.clone())))
    }

    /// Imports, where that was not done yet, and uploads.
    fn write(
        &self,
        contents: &Catalog,
        source: &Source,
        shards: &mut [CheckedShard],
        header: &Header,
        known: Option<(ShardIds, Vec<u64>)>,
    ) -> Result<Uploaded> {
        let resumed = known.is_some();
        let journal = Journal::begin(&self.options.directory, header, resumed, self.progress)?;
        let (ids, done) = match known {
            Some(known) => known,
            None => (
                self.import(source, header.max_shard_id)
                    .inspect_err(|_| self.say_in_part(source, journal.is_kept()))?,
                Vec::new(),
            ),
        };
        journal.imported(&ids)?;
        for shard in &mut *shards {
            let id = ids
                .get(&shard.source.id)
                .with_context(|| format!("the server gave shard {} no id", shard.source))?;
            shard.target.id = *id;
        }
        let uploaded = self.upload(contents, shards, &journal, resumed.then_some(&done[..]));
        if uploaded
            .as_ref()
            .is_ok_and(|uploaded| uploaded.failed.is_empty())
        {
            journal.end()?;
        } else {
            let spoiled = uploaded.as_ref().is_ok_and(|uploaded| uploaded.spoiled);
            self.say_in_part(source, journal.is_kept() && !spoiled);
        }
        uploaded
    }

    fn header(&self, source: &Source, there: &Data) -> Header {
        Header {
            format: journal::FORMAT,
            host: self.client.address().to_string(),
            cluster_id: there.cluster_id,
            max_shard_id: there.max_shard_id,
            set: source.set.clone(),
            named: self.options.set.is_some(),
            what: self.what.clone(),
            names: self.new_names(source),
        }
    }

    fn say_in_part(&self, source: &Source, resumable: bool) {
        let (address, names) = (self.client.address(), list(&self.new_names(source)));
        let next = match resumable {
            true => "snap restore -resume goes on where this stopped; or drop them to begin anew",
            false => "drop them before the next try",
        };
        self.progress.report(&Event::Warning(&format!(
            "{address} now may have {names} in part: {next}"
        )));
    }
}
