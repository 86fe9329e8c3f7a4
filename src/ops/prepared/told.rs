//! What is told of a shard: so many sentences, and how many more there would be.

use crate::text::plural;

/// The most that is told of one shard.
const MOST_TOLD: usize = 100;

/// Sentences about a shard.
#[derive(Debug, Default)]
pub(in crate::ops) struct Told {
    sentences: Vec<String>,
    more: usize,
}

impl Told {
    /// Begins with what is told already.
    pub(in crate::ops) fn new(begun: &[String]) -> Self {
        Self {
            sentences: begun.to_vec(),
            more: 0,
        }
    }

    pub(in crate::ops) fn add(&mut self, sentence: String) {
        match self.sentences.len() < MOST_TOLD {
            true => self.sentences.push(sentence),
            false => self.more += 1,
        }
    }

    /// Whether nothing is told.
    pub(in crate::ops) fn is_empty(&self) -> bool {
        self.sentences.is_empty() && self.more == 0
    }

    /// Adds what is told elsewhere.
    pub(in crate::ops) fn append(&mut self, other: Self) {
        self.more += other.more;
        other
            .sentences
            .into_iter()
            .for_each(|sentence| self.add(sentence));
    }

    /// The sentences; the last says how many were left out.
    pub(in crate::ops) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.sentences
                .push(format!("{} more", plural(self.more, "fault")));
        }
        self.sentences
    }
}
