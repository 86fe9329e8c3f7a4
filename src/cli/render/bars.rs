//! Progress as bars on a terminal: one a shard that is worked on, one in total. The one file that
//! knows indicatif.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::terminal::visible;
use super::text::line;
use crate::progress::{Event, Outcome, Progress};
use crate::shard::ShardPath;

pub(crate) struct Bars {
    verbose: bool,
    screen: MultiProgress,
    drawn: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    total: Option<ProgressBar>,
    shards: HashMap<ShardPath, ProgressBar>,
    /// How many shards there are, and how many are over.
    count: usize,
    over: usize,
}

impl Bars {
    /// Bars on standard error; none until work on shards begins.
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            verbose,
            screen: MultiProgress::new(),
            drawn: Mutex::default(),
        }
    }

    /// Takes the bars off the screen.
    pub(crate) fn clear(&self) {
        let _ = self.screen.clear();
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bar(&self, bytes: Option<u64>, template: &str, open_template: &str) -> ProgressBar {
        let bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes),
            None => ProgressBar::new_spinner(),
        };
        let template = if bytes.is_some() {
            template
        } else {
            open_template
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar
    }
}

impl Progress for Bars {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Shards { count, bytes } => {
                let bar = self.bar(
                    *bytes,
                    "{msg:30!} {bar:20} {binary_bytes:>11} of {binary_total_bytes} \
                     {binary_bytes_per_sec} {eta}",
                    "{msg:30!} {spinner:20} {binary_bytes:>11} {binary_bytes_per_sec} {elapsed}",
                );
                let bar = self.screen.add(bar);
                bar.set_message(format!("0 of {count} shards"));
                bar.enable_steady_tick(Duration::from_millis(100));
                *self.drawn() = Drawn {
                    total: Some(bar),
                    count: *count,
                    ..Drawn::default()
                };
            }
            Event::Started { shard, bytes } => {
                let bar = self.bar(
                    *bytes,
                    "{msg:30!} {bar:20} {binary_bytes:>11} of {binary_total_bytes}",
                    "{msg:30!} {spinner:20} {binary_bytes:>11}",
                );
                let bar = self.screen.insert(0, bar);
                bar.set_message(visible(&shard.to_string()).into_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
                self.remove(shard);
                self.drawn().shards.insert((*shard).clone(), bar);
            }
            Event::Bytes { shard, count } => {
                let drawn = self.drawn();
                drawn
                    .shards
                    .get(*shard)
                    .into_iter()
                    .chain(&drawn.total)
                    .for_each(|bar| bar.inc(*count));
            }
            Event::Retry { shard, .. } => self.remove(shard),
            Event::Finished { shard, outcome, .. } => {
                self.remove(shard);
                let mut drawn = self.drawn();
                drawn.over += 1;
                if let Some(total) = &drawn.total {
                    total.set_message(format!("{} of {} shards", drawn.over, drawn.count));
                }
                drop(drawn);
                // What went well is in the total; a line each would scroll the screen away.
                if !self.verbose && !matches!(outcome, Outcome::Failed(_)) {
                    return;
                }
            }
            _ => {}
        }
        if let Some(line) = line(event, self.verbose) {
            let _ = self.screen.println(visible(&line));
        }
    }
}

impl Bars {
    /// Takes a shard's bar off the screen. The total keeps what it had counted, of failed attempts
    /// too.
    fn remove(&self, shard: &ShardPath) {
        if let Some(bar) = self.drawn().shards.remove(shard) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }
}
