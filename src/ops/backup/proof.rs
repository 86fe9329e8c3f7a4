//! Whether what a server sends of a shard holds all that it had acknowledged before the run began.
//!
//! A server flushes a shard's cache before it sends the shard. Where another flush of it is under
//! way, servers up to 1.7 close without a byte; 1.8.0 to 1.8.4 send an empty tar, and later ones a
//! tar without the cache and without what the flush under way holds. But before they do, they sleep
//! for 1,024 ms at least. So an answer whose first byte came within less than a second has the
//! flush behind it, and one that came later may have or not. What makes answers late for other
//! reasons only makes more questions.
//!
//! One such answer is not enough: after a flush that failed, a server sets the cache of then aside,
//! and the next flush writes that alone. What two flushes, one after the other, have not written
//! was not there before the first. So a shard is asked about once before it is downloaded, for
//! files newer than any can be: that flushes, and sends next to nothing. The download is the second
//! answer; if it comes late, it is hung up on, and tried again when a second question was answered
//! promptly. After that, a download may come late: the files are there, and it sends all files that
//! are there. An export (`-start`, `-end`) is refused by all servers where they cannot flush, so
//! that its answer is as good as a prompt one, however late it comes.
//!
//! A tar without members is a matter of its own. It says that the shard is empty only where its
//! answer is as good as a prompt one, and another such comes after it.
//!
//! This module decides, and knows neither clocks nor sockets.

use std::time::Duration;

use crate::text::seconds;
use crate::wire::Dialect;

/// A first byte sooner than this has a flush behind it. A server that goes on without one sleeps
/// for 1.024 s at least.
const PROMPT: Duration = Duration::from_secs(1);

/// How many prompt answers, one after the other, prove that all is in files.
const PROVEN: u32 = 2;

/// How many prompt answers a download waits for, in the hope that it is one itself.
const BEFORE_DOWNLOAD: u32 = 1;

/// How many prompt empty tars it takes to believe that a shard of which nothing is known is empty.
pub(crate) const EMPTY_TARS: u32 = 2;

/// How long after a prompt empty tar the shard is asked for again; twice as long after two, and so
/// on.
const EMPTY_AGAIN: Duration = Duration::from_secs(1);

/// Why a shard of which only empty tars came is missing.
const ONLY_LATE_EMPTY_TARS: &str = "the server sent an empty tar, and took more than a second for it, each time that it was \
     asked: so some versions answer for a full shard that they are writing to files";

/// What a server's answers to questions about one shard prove, and what to ask next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    rule: Rule,
    /// How many answers were prompt since the shard was last met with silence.
    prompt: u32,
    /// How many have to be, before a download begins.
    before_download: u32,
    /// How long was waited for answers that came late.
    late: Duration,
    /// How many prompt empty tars came since an attempt failed.
    empty_tars: u32,
    /// It is taken as it comes.
    given_up: bool,
}

/// When an answer has a flush behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Always: the server sends no byte without.
    Any,
    /// Where it is prompt. Late ones are put up with for this long altogether.
    Prompt(Duration),
    /// It need not have one, as only files count. Late empty tars are put up with for this long
    /// altogether.
    FilesOnly(Duration),
}

impl Rule {
    /// The rule for a server of a dialect: those of the older one close where they cannot flush.
    pub(crate) fn in_dialect(self, dialect: Option<Dialect>) -> Self {
        match dialect {
            Some(Dialect::V1_5) => self,
            Some(Dialect::V1_0) | None => Self::Any,
        }
    }

    /// How long late answers are put up with; `None` where it makes no difference when they come.
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Any => None,
            Self::Prompt(limit) | Self::FilesOnly(limit) => Some(limit),
        }
    }
}

/// How an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstByte {
    /// Its first byte came so long after the question.
    After(Duration),
    /// It is one that no server gives without a flush.
    Flushed,
}

/// What to do next about a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Ask for files newer than any can be.
    Probe,
    /// Ask for what is wanted of it.
    Download,
}

/// What to do with a download of which the first byte has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDownload {
    /// Read it.
    Take,
    /// Hang up: it can lack points.
    HangUp,
}

/// What an empty tar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmptyTar {
    /// There is nothing.
    Believed,
    /// It came late, which says nothing: ask again at once.
    Again,
    /// There may be nothing: ask again after this long.
    Later(Duration),
    /// None of them can be believed, for this reason.
    Withheld(&'static str),
}

impl Proof {
    /// Of a shard about which nothing was asked yet.
    pub(crate) fn new(rule: Rule) -> Self {
        Self {
            rule,
            prompt: 0,
            before_download: match rule {
                Rule::Any | Rule::FilesOnly(_) => 0,
                Rule::Prompt(_) => BEFORE_DOWNLOAD,
            },
            late: Duration::ZERO,
            empty_tars: 0,
            given_up: false,
        }
    }

    /// What to ask next.
    pub(crate) fn next(&self) -> NextStep {
        if self.prompt < self.before_download && !self.given_up {
            NextStep::Probe
        } else {
            NextStep::Download
        }
    }

    /// A question was answered whose answer goes unused.
    pub(crate) fn answered(&mut self, first_byte: FirstByte) {
        if self.is_prompt(first_byte) {
            self.prompt += 1;
            return;
        }
        if let (FirstByte::After(after), Some(limit)) = (first_byte, self.rule.limit()) {
            self.late += after;
            self.given_up |= self.late >= limit;
        }
    }

    /// The first byte of a download came.
    pub(crate) fn download_begins(&mut self, first_byte: FirstByte) -> OnDownload {
        self.answered(first_byte);
        if self.is_proven() {
            return OnDownload::Take;
        }
        if self.is_prompt(first_byte) {
            // With one more like this it is proven.
            return OnDownload::HangUp;
        }
        if self.given_up {
            return OnDownload::Take;
        }
        // A shard that is slow to answer is proven before it is asked for again.
        self.before_download = PROVEN;
        OnDownload::HangUp
    }

    /// Whether all that was acknowledged before the first question is in files, where that counts.
    pub(crate) fn is_proven(&self) -> bool {
        !matches!(self.rule, Rule::Prompt(_)) || self.prompt >= PROVEN
    }

    /// Whether an answer that came so has a flush behind it.
    pub(crate) fn is_prompt(&self, first_byte: FirstByte) -> bool {
        match first_byte {
            FirstByte::After(after) => self.rule == Rule::Any || after < PROMPT,
            FirstByte::Flushed => true,
        }
    }

    /// What follows from an empty tar that came so, where so many have to be prompt, one after the
    /// other, to be believed.
    pub(crate) fn empty_tar(&mut self, first_byte: FirstByte, believed: u32) -> EmptyTar {
        if self.is_prompt(first_byte) {
            self.empty_tars += 1;
            return if self.empty_tars < believed {
                EmptyTar::Later(EMPTY_AGAIN * self.empty_tars)
            } else {
                EmptyTar::Believed
            };
        }
        // Servers 1.8.0 to 1.8.4 send this for a full shard while they flush it.
        if self.given_up {
            EmptyTar::Withheld(ONLY_LATE_EMPTY_TARS)
        } else {
            EmptyTar::Again
        }
    }

    /// An attempt failed: what empty tars came before it count no more.
    pub(crate) fn attempt_failed(&mut self) {
        self.empty_tars = 0;
    }

    /// The server closed without a byte. That may have been a flush that failed, and the next
    /// answer one without the newest points.
    pub(crate) fn silence(&mut self) {
        self.prompt = 0;
        if !matches!(self.rule, Rule::FilesOnly(_)) {
            self.before_download = self.before_download.max(1);
        }
    }

    /// The server is slow to answer, whatever it is asked about: to wait long for each shard would
    /// take too long altogether.
    pub(crate) fn hurry(&mut self) {
        if let Rule::Prompt(limit) | Rule::FilesOnly(limit) = &mut self.rule {
            *limit = Duration::ZERO;
        }
        self.given_up |= !self.late.is_zero();
    }

    /// Whether it was given up to wait for a prompt answer.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Why what was taken can lack points; `None` where it is proven to lack none.
    pub(crate) fn doubt(&self) -> Option<String> {
        (self.given_up && !self.is_proven()).then(|| {
            format!(
                "each answer took the server more than a second, {} in all: it may have left out its newest points, which were not in \
                 files yet",
                seconds(self.late)
            )
        })
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
