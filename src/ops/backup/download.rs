//! Fetching one shard into a file, sure of what came.
//!
//! The protocol has no acknowledgement, so everything is told from the stream: a tar that is whole is a success, no byte at
//! all can be a passing state of the server, and everything else is a failed attempt that starts over in a fresh file. What
//! the states of a server look like is in docs/protocol.md, "When a server says nothing".
//! Whether a whole tar holds all that it should is another matter: see `proof`.

use std::io::{self, BufReader};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::fetch::{Answer, Attempt, Listing};
use super::incremental::Base;
use super::plan::Planned;
use super::proof::{Came, Next, Proof, Rule};
use super::stored::Stored;
use crate::cancel::Cancel;
use crate::client::{Client, Reply};
use crate::error::{ErrorKind, kind_of};
use crate::io::durable;
use crate::metastore::Data;
use crate::progress::{Event, Progress};
use crate::repository::{Content, Layout, MemberRecord, SealedFile, SetWriter};
use crate::retry::{Attempts, Gate, Server};
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, ShardTarReader, TarError};
use crate::time::{self, Bounds};
use crate::wire::{Dialect, Request};

/// How long after an empty answer the question is put again, before the answer is believed.
const EMPTY_AGAIN: Duration = Duration::from_secs(1);
/// After so many shards in a row that were given up, the server and not a shard is the reason, and the others are not waited for.
const IN_A_ROW: u32 = 4;
/// After so many questions in a row about shards that were met with silence, it is the server that is busy or failing, and all wait
/// together.
const SILENCES: u32 = 16;
/// Bytes read at a time of an answer that is only looked at.
const LOOK: usize = 16 << 10;

/// What to ask the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All of the shard.
    Whole,
    /// The files modified after a time.
    Since(Timestamp),
    /// The blocks that touch an interval.
    Range(Bounds),
}

impl Want {
    /// The request for a shard.
    pub fn request(self, id: u64) -> Request {
        match self {
            Self::Whole => Request::Shard { id, since: None },
            Self::Since(since) => Request::Shard {
                id,
                since: Some(since),
            },
            Self::Range(bounds) => Request::Export { id, bounds },
        }
    }

    /// How a set's record calls it.
    pub fn content(self) -> Content {
        match self {
            Self::Whole => Content::Whole,
            Self::Since(_) => Content::Since,
            Self::Range(_) => Content::Range,
        }
    }
}

/// A shard to fetch, and what earlier attempts taught about it.
pub struct Job {
    /// What is asked for; an export that the server cannot do becomes the whole shard.
    pub planned: Planned,
    /// Whether what the server sends of it holds all that it should.
    pub proof: Proof,
    attempts: Attempts,
    /// The server answered with nothing.
    silent: bool,
    /// How often in a row the server answered with an empty tar.
    empties: u32,
}

impl Job {
    /// A job that was not tried yet.
    pub fn new(planned: Planned, rule: Rule) -> Self {
        Self {
            planned,
            proof: Proof::new(rule),
            attempts: Attempts::default(),
            silent: false,
            empties: 0,
        }
    }
}

/// How a job ended.
#[derive(Debug)]
pub enum Fetched {
    /// The shard is in a file.
    Stored(Stored),
    /// It has not changed since an earlier run, and has the file of that.
    Unchanged {
        /// The file.
        file: SealedFile,
        /// What that run recorded.
        base: Box<Base>,
    },
    /// There is nothing to store; with an empty tar, where the set has to say so to influxd.
    Empty(Option<Stored>),
    /// The server deleted the shard meanwhile.
    Expired,
    /// Nothing came but empty tars, none of which can be believed; the text says why.
    Withheld(String),
    /// It could not be fetched; the text says why.
    Failed(String),
}

/// What follows from one attempt.
#[derive(Debug)]
pub enum Step {
    /// The job is over.
    Done(Fetched),
    /// Try again after this long.
    Again(Duration),
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub enum Trouble {
    /// The server cannot be asked about anything.
    Server(String),
    /// It can, but not about this shard, or not now.
    Shard(String),
    /// It closed without a byte when it was asked about this shard.
    Silence,
    /// The fault is on this side, or a stop was asked for: no further attempt.
    Fatal(anyhow::Error),
}

/// What a server does with shards, whichever they are.
#[derive(Debug)]
pub struct Habits {
    /// How many questions about shards in a row it met with silence.
    silences: AtomicU32,
    /// Whether it can be asked about shards; that it can be asked at all is another matter.
    shards: Server,
    /// How many shards in a row it never answered promptly.
    late: AtomicU32,
}

impl Habits {
    /// Those of a server of which nothing is known, and that is waited for as long as belongs to so many retries.
    pub fn new(retries: u32) -> Self {
        Self {
            silences: AtomicU32::new(0),
            shards: Server::new(retries),
            late: AtomicU32::new(0),
        }
    }

    /// It answered a question about a shard.
    fn answered(&self) {
        self.silences.store(0, Ordering::Relaxed);
        self.shards.answered();
    }

    /// It met a question about a shard with silence.
    fn silent(&self, now: Instant) -> Silent {
        if self.silences.fetch_add(1, Ordering::Relaxed) < SILENCES {
            // Another shard was answered meanwhile, perhaps: whoever waits for this question must not wait for ever.
            self.shards.not_asked();
            return Silent::Shard;
        }
        Silent::Server(self.shards.failed(now))
    }
}

/// Whose failure a silence is.
enum Silent {
    /// The shard's.
    Shard,
    /// The server's: how long to wait before it is asked about any, and nothing where it is given up.
    Server(Option<Duration>),
}

/// Fetches shards from one server into one set.
pub struct Downloader<'a> {
    /// The server.
    pub client: &'a Client,
    /// Whether it can be asked at all.
    pub server: &'a Server,
    /// What it did with the shards before.
    pub habits: Habits,
    /// Where files grow.
    pub staging: &'a SetWriter,
    /// The layout they have.
    pub layout: Layout,
    /// Leave deleted points out of shards that are taken whole.
    pub apply_deletes: bool,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// How many shards are fetched at a time.
    pub jobs: usize,
    /// Who may ask for a stop.
    pub cancel: &'a Cancel,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl Downloader<'_> {
    /// Asks about a shard for the first time: of most shards no more has to be known before the download, and many can be asked about at
    /// once. Whatever goes wrong goes wrong again in the attempt.
    pub fn ask_ahead(&self, job: &mut Job) {
        let is_shared = job.planned.base.is_some() || job.proof.next() != Next::Probe;
        if is_shared || self.habits.silences.load(Ordering::Relaxed) >= SILENCES {
            return;
        }
        if self.server.gate(Instant::now()) != Gate::Open {
            return;
        }
        let trouble = match self.probe(&job.planned.shard.path) {
            Ok(came) => return self.saw(&mut job.proof, came),
            Err(Trouble::Silence) => {
                self.habits.silences.fetch_add(1, Ordering::Relaxed);
                self.no_answer(job).err()
            }
            Err(trouble) => Some(trouble),
        };
        match trouble {
            Some(Trouble::Server(_)) => drop(self.server.failed(Instant::now())),
            _ => self.server.answered(),
        }
    }

    /// Makes one attempt at a job.
    ///
    /// # Errors
    ///
    /// What ends the run: the disk, or a stop that was asked for.
    pub fn attempt(&self, job: &mut Job) -> Result<Step> {
        match self.server.gate(Instant::now()) {
            Gate::Open => {}
            Gate::Closed(wait) => return Ok(Step::Again(wait)),
            Gate::GivenUp => {
                let reason = format!("{} does not answer any more", self.client.address());
                return Ok(Step::Done(Fetched::Failed(reason)));
            }
        }
        if let Gate::Closed(wait) = self.habits.shards.gate(Instant::now()) {
            self.server.not_asked();
            return Ok(Step::Again(wait));
        }
        if self.habits.late.load(Ordering::Relaxed) >= IN_A_ROW {
            job.proof.hurry();
        }
        let result = match self.ask(job) {
            Err(Trouble::Silence) => self.no_answer(job),
            result => result,
        };
        if !matches!(result, Err(Trouble::Server(_))) {
            self.server.answered();
        }
        if !matches!(result, Err(Trouble::Silence)) {
            self.habits.answered();
        }
        match result {
            Ok(step) => Ok(step),
            Err(Trouble::Fatal(error)) => Err(error),
            Err(Trouble::Server(reason)) => Ok(self.outage(reason)),
            Err(Trouble::Shard(reason)) => Ok(self.failed(job, reason)),
            Err(Trouble::Silence) => Ok(self.silent(job)),
        }
    }

    fn ask(&self, job: &mut Job) -> Result<Step, Trouble> {
        if let Some(base) = job.planned.base.take() {
            match self.is_unchanged(job, &base) {
                Ok(true) => {
                    if let Some(file) = self.file_of(&base).map_err(Trouble::Fatal)? {
                        return Ok(Step::Done(Fetched::Unchanged { file, base }));
                    }
                }
                Ok(false) => {}
                Err(trouble) => {
                    job.planned.base = Some(base);
                    return Err(trouble);
                }
            }
            if base.set.is_none() {
                // Nobody will want it, and it takes room.
                durable::remove_if_there(&base.path).map_err(Trouble::Fatal)?;
            }
        }
        // At once, and not behind other shards: after a flush that took long there is little to flush.
        loop {
            while job.proof.next() == Next::Probe {
                let came = self.probe(&job.planned.shard.path)?;
                self.saw(&mut job.proof, came);
            }
            if let Some(step) = self.download(job)? {
                return Ok(step);
            }
        }
    }

    /// The file of an earlier run for this one's set; none, with a warning, where it is damaged.
    fn file_of(&self, base: &Base) -> Result<Option<SealedFile>> {
        let file = match base.set {
            Some(_) => self.staging.share(&base.path, &base.file, self.cancel),
            None => self.staging.reuse(&base.path, &base.file, self.cancel),
        }?;
        if file.is_none() {
            let path = base.path.display();
            let message = format!("{path} is damaged: the shard is downloaded again");
            self.progress.report(&Event::Warning(&message));
        }
        Ok(file)
    }

    /// Downloads what is wanted of a shard; `None` where what came proves nothing, and it is to be asked for again.
    fn download(&self, job: &mut Job) -> Result<Option<Step>, Trouble> {
        let shard = &job.planned.shard.path;
        let step = match self.fetch(&job.planned, &mut job.proof) {
            Ok(Answer::Nothing) => self.nothing(job)?,
            Ok(Answer::TooLate) => return Ok(None),
            Ok(Answer::Empty(came)) if job.proof.is_prompt(came) => {
                job.empties += 1;
                if job.empties < enough_empties(job, self.client.dialect()) {
                    Step::Again(EMPTY_AGAIN * job.empties)
                } else {
                    Step::Done(self.empty(&job.planned).map_err(Trouble::Fatal)?)
                }
            }
            // Servers 1.8.0 to 1.8.4 send this for a full shard while they flush it.
            Ok(Answer::Empty(_)) if !job.proof.is_given_up() => return Ok(None),
            Ok(Answer::Empty(_)) => {
                let why = "the server sent an empty tar, and took more than a second for it, each time that it was asked: so some \
                           versions answer for a full shard that they are writing to files";
                Step::Done(Fetched::Withheld(why.to_owned()))
            }
            Ok(Answer::NothingKept) => {
                Step::Done(self.empty(&job.planned).map_err(Trouble::Fatal)?)
            }
            Ok(Answer::Shard(tar)) => {
                Step::Done(self.stored(&job.planned, tar).map_err(Trouble::Fatal)?)
            }
            Err(Attempt::Broken { reason, tombstone }) => {
                if let Want::Range(_) = job.planned.want
                    && (tombstone || job.attempts.failures() > 0)
                {
                    let message = format!(
                        "the server cannot export a part of shard {shard} ({reason}): taking the whole shard"
                    );
                    match job.planned.cut {
                        Some(_) => self
                            .progress
                            .report(&Event::Status(&format!("{message} and cutting it here"))),
                        None => {
                            let message =
                                format!("{message}, which holds more than the range asked for");
                            self.progress.report(&Event::Warning(&message));
                        }
                    }
                    job.planned.want = Want::Whole;
                    Step::Again(Duration::ZERO)
                } else {
                    return Err(Trouble::Shard(reason));
                }
            }
            Err(Attempt::Quiet(reason)) => match self.is_gone(shard)? {
                true => Step::Done(Fetched::Expired),
                false => return Err(Trouble::Shard(reason)),
            },
            Err(Attempt::Unreached(error)) => return Err(self.trouble(error)),
            Err(Attempt::Fatal(error)) => return Err(Trouble::Fatal(error)),
        };
        Ok(Some(step))
    }

    /// Whether the server has of the shard what an earlier run got, and no more, as far as it tells.
    fn is_unchanged(&self, job: &mut Job, base: &Base) -> Result<bool, Trouble> {
        // The second answer proves what the first can have left to be flushed.
        Ok(self.has_nothing_since(job, base)?
            && self.still_has(job, base)?
            && self.has_nothing_since(job, base)?)
    }

    fn has_nothing_since(&self, job: &mut Job, base: &Base) -> Result<bool, Trouble> {
        let shard = job.planned.shard.path.clone();
        loop {
            let Some((came, seen)) = self.look(&shard, base.since)? else {
                return Ok(self.says_empty_with_silence(&shard));
            };
            self.saw(&mut job.proof, came);
            match seen {
                Seen::Other => return Ok(false),
                Seen::Nothing if job.proof.is_prompt(came) => return Ok(true),
                Seen::Nothing if job.proof.is_given_up() => return Ok(false),
                Seen::Nothing => {}
            }
        }
    }

    /// Whether all files of the base are still there: where all of one was deleted and compacted away, nothing is newer.
    fn still_has(&self, job: &mut Job, base: &Base) -> Result<bool, Trouble> {
        let shard = job.planned.shard.path.clone();
        for probe in &base.probes {
            let first = self.first_since(job, &shard, probe.since)?;
            if first.as_ref() != Some(&probe.first) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether files with points, or with deletes, were modified after a time; `None` where the server said nothing.
    fn look(&self, shard: &ShardPath, since: Timestamp) -> Result<Option<(Came, Seen)>, Trouble> {
        let Some((mut reply, came)) = self.reply(shard, Some(since))? else {
            return Ok(None);
        };
        let mut listing = Listing::default();
        let ending = self.read_to_data(&mut reply, shard, &mut listing)?;
        let seen = match ending {
            Some(Ending::Whole { .. }) if listing.contents().next().is_none() => Seen::Nothing,
            _ => Seen::Other,
        };
        Ok(Some((came, seen)))
    }

    /// The first of the files with points or with deletes that were modified after a time.
    fn first_since(
        &self,
        job: &mut Job,
        shard: &ShardPath,
        since: Timestamp,
    ) -> Result<Option<MemberRecord>, Trouble> {
        let (mut reply, came) = match self.reply(shard, Some(since)) {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(Trouble::Silence) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        self.saw(&mut job.proof, came);
        let mut listing = Listing::default();
        self.read_to_data(&mut reply, shard, &mut listing)?;
        let first = listing.contents().next().cloned();
        Ok(first)
    }

    /// Reads up to the header of the first member that is not of an index, and hangs up; how the tar ended where there is none, and
    /// `None` where there is one, or what came is no tar.
    fn read_to_data(
        &self,
        reply: &mut Reply,
        shard: &ShardPath,
        listing: &mut Listing,
    ) -> Result<Option<Ending>, Trouble> {
        match look_for_contents(reply, shard, listing) {
            Ok(ending) => Ok(ending),
            Err(TarError::Source(error)) if error.kind() != io::ErrorKind::ConnectionReset => {
                Err(self.trouble(error.into()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Asks for the files of a shard that were modified after a time; the reply, of which the first byte has come, or `None` where the
    /// server closed without one. A reset is [`Trouble::Silence`].
    fn reply(
        &self,
        shard: &ShardPath,
        since: Option<Timestamp>,
    ) -> Result<Option<(Reply, Came)>, Trouble> {
        let request = Request::Shard {
            id: shard.id,
            since,
        };
        let mut reply = self
            .client
            .request(&request)
            .map_err(|error| self.trouble(error))?;
        match reply.first_byte() {
            Ok(Some(after)) => {
                self.server.answered();
                Ok(Some((reply, Came::After(after))))
            }
            Ok(None) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Trouble::Silence),
            // The server, or this shard? That the meta store tells.
            Err(error) => {
                let reason = format!("no answer when asked for shard {shard}: {error}");
                self.cancel
                    .check()
                    .map_err(|fault| Trouble::Fatal(fault.into()))?;
                self.is_gone(shard)?;
                Err(Trouble::Shard(reason))
            }
        }
    }

    /// Whether the server sends the shard at all, and how it does. The answer is not used.
    fn probe(&self, shard: &ShardPath) -> Result<Came, Trouble> {
        // Nothing is newer than the end of time, so a server of the newer dialect answers with an empty tar. An older one
        // may say that with silence, so it is asked for all, and left after the first bytes.
        let since = (self.client.dialect() == Some(Dialect::V1_5))
            .then(|| time::from_nanos(time::GREATEST));
        match self.reply(shard, since)? {
            Some((_, came)) => Ok(came),
            None => Err(Trouble::Silence),
        }
    }

    /// Takes note of how an answer came that is not used.
    fn saw(&self, proof: &mut Proof, came: Came) {
        let was_given_up = proof.is_given_up();
        proof.answered(came);
        self.heard(proof, was_given_up, came);
    }

    /// Takes note of what an answer says of the server.
    pub fn heard(&self, proof: &Proof, was_given_up: bool, came: Came) {
        self.server.answered();
        self.habits.answered();
        if proof.is_prompt(came) {
            self.habits.late.store(0, Ordering::Relaxed);
        } else if let Came::After(after) = came {
            self.progress.report(&Event::Detail(&format!(
                "the first byte came after {:.2} s, which proves nothing",
                after.as_secs_f64()
            )));
            if proof.is_given_up() && !was_given_up {
                self.habits.late.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A download was answered with nothing.
    fn nothing(&self, job: &mut Job) -> Result<Step, Trouble> {
        let may_mean_empty = self.client.dialect() == Some(Dialect::V1_0)
            && matches!(job.planned.want, Want::Since(_));
        if may_mean_empty && !job.silent && !self.is_gone(&job.planned.shard.path).unwrap_or(true) {
            // Not counted as a failure before it is known to be one.
            job.silent = true;
            job.proof.silence();
            return Ok(Step::Again(Duration::ZERO));
        }
        // The server answers again, as the probe before this attempt showed: is its silence an answer?
        if may_mean_empty && job.silent && self.says_empty_with_silence(&job.planned.shard.path) {
            let empty = self.empty(&job.planned).map_err(Trouble::Fatal)?;
            return Ok(Step::Done(empty));
        }
        Err(Trouble::Silence)
    }

    /// The server said nothing of a shard: is there one?
    fn no_answer(&self, job: &mut Job) -> Result<Step, Trouble> {
        match self.is_gone(&job.planned.shard.path)? {
            true => Ok(Step::Done(Fetched::Expired)),
            false => Err(Trouble::Silence),
        }
    }

    /// Whether the server says "nothing newer" by closing, as 1.0 and 1.1 do, and not with an empty tar, as 1.2 to 1.4: asks
    /// for what is newer than the end of time, and then whether it answers at all.
    fn says_empty_with_silence(&self, shard: &ShardPath) -> bool {
        let end_of_time = Some(time::from_nanos(time::GREATEST));
        self.client.dialect() == Some(Dialect::V1_0)
            && matches!(
                self.reply(shard, end_of_time),
                Ok(None) | Err(Trouble::Silence)
            )
            && self.probe(shard).is_ok()
    }

    /// The server says nothing of this shard. It may be the shard's failure; but not where it says nothing of one after the other.
    fn silent(&self, job: &mut Job) -> Step {
        job.silent = true;
        job.proof.silence();
        let reason = "the server closed without an answer: busy with the shard, or failing; its log says which";
        let wait = match self.habits.silent(Instant::now()) {
            Silent::Shard => return self.failed(job, reason.to_owned()),
            Silent::Server(wait) => wait,
        };
        job.empties = 0;
        match wait {
            None => Step::Done(Fetched::Failed(reason.to_owned())),
            Some(wait) => self.again(job, job.attempts.failures() + 1, wait, reason),
        }
    }

    fn failed(&self, job: &mut Job, reason: String) -> Step {
        job.empties = 0;
        match job.attempts.failed(self.retries) {
            None => Step::Done(Fetched::Failed(reason)),
            Some(wait) => self.again(job, job.attempts.failures(), wait, &reason),
        }
    }

    /// The server cannot be asked. That is not the shard's failure, and all wait.
    fn outage(&self, reason: String) -> Step {
        match self.server.failed(Instant::now()) {
            None => Step::Done(Fetched::Failed(reason)),
            Some(wait) => {
                self.progress.report(&Event::Status(&format!(
                    "{reason}; asking again in {:.1} s",
                    wait.as_secs_f64()
                )));
                Step::Again(wait)
            }
        }
    }

    fn again(&self, job: &Job, attempt: u32, wait: Duration, reason: &str) -> Step {
        self.progress.report(&Event::Retry {
            shard: &job.planned.shard.path,
            attempt,
            wait,
            reason,
        });
        Step::Again(wait)
    }

    /// Whether the server's meta store no longer has the shard, or marks it as deleted. A shard that it has and the server has
    /// not open is not gone: it may have failed to open.
    fn is_gone(&self, shard: &ShardPath) -> Result<bool, Trouble> {
        let data = self
            .client
            .meta_store()
            .and_then(|blob| Data::read(&blob.meta))
            .map_err(|error| self.trouble(error))?;
        Ok(match data.shards().find(|known| known.path == *shard) {
            None => true,
            Some(known) => known.deleted_at.is_some(),
        })
    }

    /// Whose fault an error of the client is.
    fn trouble(&self, error: anyhow::Error) -> Trouble {
        if let Err(fault) = self.cancel.check() {
            return Trouble::Fatal(fault.into());
        }
        match kind_of(&error) {
            ErrorKind::HungUp
            | ErrorKind::Interrupted
            | ErrorKind::Terminated
            | ErrorKind::Usage => Trouble::Fatal(error),
            _ if is_of_server(&error) => Trouble::Server(format!("{error:#}")),
            _ => Trouble::Shard(format!("{error:#}")),
        }
    }
}

/// Reads up to the header of the first member that is not of an index; how the tar ended where there is none.
fn look_for_contents(
    reply: &mut Reply,
    shard: &ShardPath,
    listing: &mut Listing,
) -> Result<Option<Ending>, TarError> {
    let mut reader = ShardTarReader::new(BufReader::with_capacity(LOOK, reply), shard);
    while let Some(member) = reader.next_member()? {
        if listing.begin(&member).is_err() || listing.contents().next().is_some() {
            return Ok(None);
        }
    }
    reader.finish().map(Some)
}

/// What an answer that is only looked at holds.
enum Seen {
    /// Nothing, or files of an index, which hold no points.
    Nothing,
    /// Something, or it is no whole tar.
    Other,
}

/// How many empty answers it takes to believe that there is nothing. More where there was something the last time; one where an
/// increment is asked for, as of most shards nothing is newer.
fn enough_empties(job: &Job, dialect: Option<Dialect>) -> u32 {
    match job.planned.want {
        Want::Whole if job.planned.known.is_some() => 4,
        Want::Since(_) if dialect == Some(Dialect::V1_5) => 1,
        _ => 2,
    }
}

/// Whether an error says that the server itself does not answer.
pub fn is_of_server(error: &anyhow::Error) -> bool {
    let is_of_connection = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    };
    kind_of(error) == ErrorKind::Unreachable
        || error
            .chain()
            .filter_map(|cause| cause.downcast_ref())
            .any(is_of_connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_after_an_answer_to_another_thread_lets_the_others_ask() {
        let habits = Habits::new(5);
        let now = Instant::now();
        habits.silences.store(SILENCES, Ordering::Relaxed);
        let Silent::Server(Some(wait)) = habits.silent(now) else {
            panic!("the server is silent");
        };
        // Between the two steps of an answer, the failure of another thread can fall.
        habits.silences.store(0, Ordering::Relaxed);
        assert_eq!(habits.shards.gate(now + wait), Gate::Open);
        assert!(matches!(habits.silent(now + wait), Silent::Shard));
        assert_eq!(habits.shards.gate(now + wait), Gate::Open);
    }
}
