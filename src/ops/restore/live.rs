//! Restoring into a running server: the meta store is imported, which gives each shard a new id, and each shard's TSM files are
//! uploaded in one tar.
//!
//! The protocol acknowledges neither: an import without pairs and an upload that ends are all a server says. So the server is
//! asked before, and read back after.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use prost::Message;

use super::check::{CheckedShard, check};
use super::source::Source;
use super::{RestoreReport, Wanted, refuse_harmful_names};
use crate::cancel::Cancel;
use crate::client::{Client, Upload};
use crate::directory::Contents;
use crate::error::{Class, class};
use crate::format::meta::Data;
use crate::format::meta_edit::{Pick, merge};
use crate::format::shard_tar::{Ending, Member, Sink, scan};
use crate::format::tar_writer::{MemberHeader, TarWriter};
use crate::ops::download::Listing;
use crate::ops::queue::{self, Turn};
use crate::ops::selection::list;
use crate::progress::{Event, Outcome, Progress};
use crate::wire::{Dialect, Import, Request, ShardIds};

/// Bytes sent at a time.
const CHUNK: usize = 128 << 10;
/// How long after a failure the next attempt is made.
const WAIT: Duration = Duration::from_millis(500);

/// What to restore into a server, and how.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// The backup directory.
    pub directory: PathBuf,
    /// What of it, and under which names.
    pub what: Wanted,
    /// How many shards at a time.
    pub jobs: usize,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// Read each shard back and compare its files.
    pub verify: bool,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

/// Restores a backup into a running server.
///
/// # Errors
///
/// Before anything is sent: when the backup is damaged, the server too old, or a database is there already
/// ([`Class::Refused`]). Later: when the server refuses the import. Shards that could not be uploaded are in the report.
pub fn restore_live(client: &Client, options: &LiveOptions, cancel: &Cancel, progress: &dyn Progress) -> Result<RestoreReport> {
    let begun = Instant::now();
    options.what.refuse_contradictions()?;
    let contents = Contents::read(&options.directory)?;
    let source = Source::read(&contents, &options.what.selection(false), true, progress)?;
    source.say_what_is_missing(&contents, progress)?;
    let live = Live { client, options, cancel, progress };
    live.refuse_what_is_there(&source)?;
    let planned = source.planned(&options.what, Some)?;
    let mut shards = check(&contents, planned, true, options.jobs, cancel, progress)?;
    refuse_harmful_names(&shards)?;
    live.say_what_stays_behind(&source, &shards);
    let mut report = RestoreReport {
        shards: shards.len(),
        files: shards.iter().map(|shard| tsm_files(shard).count()).sum(),
        bytes: shards.iter().flat_map(tsm_files).map(|(_, size)| size).sum(),
        missing: source.chains.missing.clone(),
        elapsed: Duration::ZERO,
    };
    if options.dry_run {
        for shard in &shards {
            let (path, files) = (&shard.source, tsm_files(shard).count());
            progress.report(&Event::Status(&format!("would upload shard {path} ({files} files) into {}", client.address())));
        }
    } else {
        let ids = live.import(&source)?;
        for shard in &mut shards {
            let id = ids.get(&shard.source.id).with_context(|| format!("the server gave shard {} no id", shard.source))?;
            shard.target.id = *id;
        }
        let uploaded = live.upload(&contents, &shards);
        if !uploaded.as_ref().is_ok_and(Vec::is_empty) {
            live.say_in_part(&source);
        }
        let failed = uploaded?;
        report.shards -= failed.len();
        report.missing.extend(failed);
    }
    report.elapsed = begun.elapsed();
    Ok(report)
}

/// The TSM files of a shard with their sizes: all that a server takes.
fn tsm_files(shard: &CheckedShard) -> impl Iterator<Item = (&str, u64)> {
    let files = shard.files.iter().map(|(name, file)| (name, file.size));
    files.filter(|(name, _)| name.ends_with(".tsm"))
}

struct Live<'a> {
    client: &'a Client,
    options: &'a LiveOptions,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Live<'_> {
    /// The one database that is meant, where there is but one: it was named, or the shard that was named is in it.
    fn only_database(&self, source: &Source) -> Option<String> {
        let what = &self.options.what;
        let of_shard = || Some(source.live.first()?.path.database.clone());
        what.database.clone().or_else(|| what.shard.and_then(|_| of_shard()))
    }

    /// The names that the backup's databases get on the server.
    fn new_names(&self, source: &Source) -> Vec<String> {
        match self.options.what.new_database.clone().or_else(|| self.only_database(source)) {
            Some(name) => vec![name],
            None => {
                let names = source.data.databases.iter().map(|database| database.name.clone());
                names.filter(|name| name != "_internal").collect()
            }
        }
    }

    fn refuse_what_is_there(&self, source: &Source) -> Result<()> {
        let there = Data::read(&self.client.meta_store()?.meta)?;
        let address = self.client.address();
        if self.client.dialect() == Some(Dialect::V1_0) {
            return Err(Class::Refused
                .error(format!("{address} is of version 1.0 to 1.4, which cannot be restored into while it runs"))
                .hint("stop it and restore into its directories with -metadir and -datadir")
                .into());
        }
        match self.new_names(source).iter().find(|name| there.database(name).is_some()) {
            Some(name) => Err(Class::Refused
                .error(format!("{address} already has a database '{name}'"))
                .hint("-database DB -newdb NEW restores it beside; influxd cannot merge into a database")
                .into()),
            None => Ok(()),
        }
    }

    fn say_in_part(&self, source: &Source) {
        let (address, names) = (self.client.address(), list(&self.new_names(source)));
        let message = format!("{address} may now have {names} in part: drop what is not to stay before the next try");
        self.progress.report(&Event::Warning(&message));
    }

    /// Whether the server has the databases: without shards, its reply does not tell.
    fn all_there(&self, source: &Source) -> Result<bool> {
        let there = Data::read(&self.client.meta_store()?.meta)?;
        Ok(self.new_names(source).iter().all(|name| there.database(name).is_some()))
    }

    fn say_what_stays_behind(&self, source: &Source, shards: &[CheckedShard]) {
        let say = |text: String| self.progress.report(&Event::Warning(&text));
        let tombstones = |shard: &&CheckedShard| shard.files.iter().any(|(name, _)| name.ends_with(".tombstone"));
        let deleted = shards.iter().filter(tombstones).count();
        if deleted > 0 {
            say(format!(
                "{deleted} shard(s) have deletes that are not yet compacted; servers throw those away on upload, so the points \
                 come back (a restore with -metadir and -datadir keeps them deleted)"
            ));
        }
        let taken: BTreeSet<&str> = source.live.iter().map(|shard| shard.path.database.as_str()).collect();
        let databases = source.data.databases.iter().filter(|database| taken.contains(database.name.as_str()));
        let queries: usize = databases.map(|database| database.continuous_queries.len()).sum();
        if queries > 0 {
            say(format!("{queries} continuous queries do not come back: servers leave them out of an import"));
        }
        if !source.data.users.is_empty() {
            say(format!("{} users and their grants do not come back: they are no part of an import", source.data.users.len()));
        }
    }

    /// Imports what is meant, and no more: servers before 1.8.8 take in only what one read brings.
    fn import(&self, source: &Source) -> Result<ShardIds> {
        let what = &self.options.what;
        let pick = |database: &str| Pick {
            database: database.to_owned(),
            policy: what.retention_policy.clone(),
            shard: what.shard,
            deleted_groups: false,
            continuous_queries: false,
        };
        let only = self.only_database(source);
        let picks: Vec<Pick> = match &only {
            Some(database) => vec![pick(database)],
            None => self.new_names(source).iter().map(|name| pick(name)).collect(),
        };
        let small = merge(&Data::default().encode_to_vec(), &source.blob.meta, &picks)?;
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        let import = Import {
            database: text(&only),
            new_database: text(&what.new_database),
            retention_policy: text(&what.retention_policy),
            new_retention_policy: text(&what.new_retention_policy),
            meta: small.meta,
        };
        for attempt in 0.. {
            self.cancel.check()?;
            let imported = self.client.import(import.clone()).inspect_err(|_| self.say_in_part(source))?;
            if imported.is_empty() && small.shard_ids.is_empty() && self.all_there(source)? {
                return Ok(ShardIds::new());
            }
            if !imported.is_empty() {
                let new = |between: &u64| imported.get(between).copied();
                return Ok(small.shard_ids.iter().filter_map(|(old, between)| Some((*old, new(between)?))).collect());
            }
            // Nothing was changed, so it may be asked again: a short read takes in more the next time.
            self.refuse_what_is_there(source)?;
            if attempt >= self.options.retries {
                break;
            }
            thread::sleep(WAIT);
        }
        let fault = Class::Failed.error(format!("{} refused the import", self.client.address()));
        Err(fault.hint("its log says why (service=snapshot); is it writable?").into())
    }

    /// Uploads all shards; those that failed, a sentence each.
    fn upload(&self, contents: &Contents, shards: &[CheckedShard]) -> Result<Vec<String>> {
        let bytes = shards.iter().flat_map(tsm_files).map(|(_, size)| size).sum();
        self.progress.report(&Event::Shards { count: shards.len(), bytes: Some(bytes) });
        let jobs = shards.iter().map(|shard| (shard, 0)).collect();
        let results = queue::work(jobs, self.options.jobs, self.cancel, |(shard, failures): (&CheckedShard, u32)| {
            let begun = Instant::now();
            let path = &shard.target;
            let bytes = tsm_files(shard).map(|(_, size)| size).sum();
            self.progress.report(&Event::Started { shard: path, bytes: Some(bytes) });
            let (outcome, result) = match self.upload_shard(contents, shard) {
                Ok(files) => (Outcome::Done { files, bytes }, Ok(None)),
                Err(error) if matches!(class(&error), Class::Interrupted | Class::Terminated) => return Turn::Done(Err(error)),
                Err(error) if failures < self.options.retries => {
                    let reason = format!("{error:#}");
                    self.progress.report(&Event::Retry { shard: path, attempt: failures + 1, wait: WAIT, reason: &reason });
                    self.clean(shard);
                    return Turn::Later((shard, failures + 1), WAIT);
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    let outcome = Outcome::Failed(&reason);
                    self.progress.report(&Event::Finished { shard: path, outcome, elapsed: begun.elapsed() });
                    return Turn::Done(Ok(Some(format!("shard {} (now {path}): {reason}", shard.source))));
                }
            };
            self.progress.report(&Event::Finished { shard: path, outcome, elapsed: begun.elapsed() });
            Turn::Done(result)
        });
        self.cancel.check()?;
        Ok(queue::all(results)?.into_iter().flatten().collect())
    }

    /// Has the server clear away what a failed upload left: an empty tar reopens the shard.
    fn clean(&self, shard: &CheckedShard) {
        let empty = || -> Result<()> {
            let mut upload = self.client.upload(shard.target.id)?;
            upload.write_all(&[0; 1024])?;
            Ok(upload.finish()?)
        };
        if let Err(error) = empty() {
            self.progress.report(&Event::Detail(&format!("clearing shard {} failed: {error:#}", shard.target)));
        }
    }

    fn upload_shard(&self, contents: &Contents, shard: &CheckedShard) -> Result<usize> {
        let files = tsm_files(shard).count();
        if files == 0 {
            return Ok(0);
        }
        let upload = self.client.upload(shard.target.id)?;
        let tar = TarWriter::new(BufWriter::with_capacity(CHUNK, upload));
        let mut forwarding = Forwarding { live: self, shard, source: 0, tar, member: false };
        for (source, file) in shard.sources.iter().enumerate() {
            forwarding.source = source;
            let path = contents.path_of(&file.name);
            let opened = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            scan(opened, &shard.source, &mut forwarding)
                .map_err(anyhow::Error::from)
                .and_then(|result| Ok(result?))
                .with_context(|| format!("sending {}", path.display()))?;
        }
        let buffered = forwarding.tar.finish().context("sending the end of the tar")?;
        let upload = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        upload.finish().context("waiting for the server to take the shard in")?;
        if self.options.verify {
            self.read_back(shard)?;
        }
        Ok(files)
    }

    /// Compares the files that the server now sends with those it was sent.
    fn read_back(&self, shard: &CheckedShard) -> Result<()> {
        let mut listing = Listing::default();
        let mut ending = Ending::Nothing;
        for _ in 0..=self.options.retries {
            // A shard that was just put in place may be closed for a moment.
            listing = Listing::default();
            let reply = self.client.request(&Request::Shard { id: shard.target.id, since: None })?;
            ending = scan(reply, &shard.target, &mut listing).context("reading the shard back")??;
            if ending != Ending::Nothing {
                break;
            }
            thread::sleep(WAIT);
        }
        if ending == Ending::Nothing {
            bail!("the server does not send the shard back");
        }
        let there: BTreeSet<(&str, u64)> = listing.members.iter().map(|member| (member.name.as_str(), member.size)).collect();
        let absent = tsm_files(shard).find(|file| !there.contains(file));
        let Some((name, size)) = absent else { return Ok(()) };
        // A compaction may have begun at once: then a file is there that was not sent.
        let sent: BTreeSet<&str> = tsm_files(shard).map(|(name, _)| name).collect();
        let compacted = there.iter().any(|(name, _)| name.ends_with(".tsm") && !sent.contains(name));
        if compacted {
            let message = format!(
                "shard {} holds files already that were not sent, from a compaction or a write: it was not compared",
                shard.target
            );
            self.progress.report(&Event::Warning(&message));
            return Ok(());
        }
        Err(anyhow!("the server does not hold {name} ({size} bytes) although it was sent"))
    }
}

/// Passes the files that are to come from one tar on into the upload, under their new names.
struct Forwarding<'a> {
    live: &'a Live<'a>,
    shard: &'a CheckedShard,
    source: usize,
    tar: TarWriter<BufWriter<Upload>>,
    /// Whether the member that passes is forwarded.
    member: bool,
}

impl Sink for Forwarding<'_> {
    fn begin(&mut self, member: &Member) -> io::Result<()> {
        let wanted = self.shard.files.get(&member.name).is_some_and(|file| file.source == self.source);
        self.member = wanted && member.is_tsm();
        if !self.member {
            return Ok(());
        }
        let path = format!("{}/{}", self.shard.target, member.name);
        let (size, modified) = (member.size, member.modified);
        self.tar.begin(&MemberHeader { path: &path, size, modified, mode: 0o644, owner: (0, 0), owner_names: ("", "") })
    }

    fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.member {
            self.tar.write_all(chunk)?;
            self.live.progress.report(&Event::Bytes { shard: &self.shard.target, count: chunk.len() as u64 });
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.member) { self.tar.end() } else { Ok(()) }
    }
}
