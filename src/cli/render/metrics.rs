//! How a run went, in a file for Prometheus's textfile collector.
//!
//! A file can hold the runs of several commands and profiles: of what was there, the lines of
//! others stay. Numbers that this run cannot know are left out, but for the time of the last
//! success, which is kept.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::tally::Tally;
use crate::io::durable;
use crate::io::open::read_bounded;

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct MetricsRun<'a> {
    /// `backup`, `restore`, …
    pub(crate) command: &'a str,
    /// The profile, where one was named.
    pub(crate) profile: Option<&'a str>,
    /// Whether it did all that it was asked for.
    pub(crate) went_well: bool,
    /// The exit code of the process.
    pub(crate) exit_code: u8,
    pub(crate) ended: Timestamp,
    pub(crate) elapsed: Duration,
    pub(crate) tally: &'a Tally,
}

/// How long another run is waited for that writes its metrics. That is a matter of milliseconds,
/// and whoever holds the lock for longer must not keep runs from ending.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a waiting run tries again.
const POLL: Duration = Duration::from_millis(10);

/// The largest file whose lines are kept, in bytes.
const LARGEST: u64 = 16 << 20;

const LAST_SUCCESS: &str = "snap_last_success_timestamp_seconds";

struct Metric {
    name: &'static str,
    help: &'static str,
    /// What a run knows of it.
    samples: fn(&MetricsRun<'_>) -> Vec<Sample>,
}

/// A value, and what became of the things that it counts.
struct Sample {
    state: Option<&'static str>,
    value: String,
}

/// All metrics in their order.
const METRICS: [Metric; 14] = [
    Metric {
        name: "snap_last_run_timestamp_seconds",
        help: "When the last run ended, in seconds since 1970.",
        samples: |run| value(run.ended.as_second()),
    },
    Metric {
        name: LAST_SUCCESS,
        help: "When the last run ended that did all it was asked for, in seconds since 1970.",
        samples: |run| known(run.went_well.then(|| run.ended.as_second())),
    },
    Metric {
        name: "snap_last_exit_code",
        help: "The exit code of the last run.",
        samples: |run| value(run.exit_code),
    },
    Metric {
        name: "snap_last_duration_seconds",
        help: "How long the last run took, in seconds.",
        samples: |run| value(format!("{:.3}", run.elapsed.as_secs_f64())),
    },
    Metric {
        name: "snap_last_bytes",
        help: "Bytes that the last run stored, restored, read or freed; absent where it failed.",
        samples: |run| known(run.tally.bytes),
    },
    Metric {
        name: "snap_last_files",
        help: "Files that the last run of forget removed; absent where it failed.",
        samples: |run| known(run.tally.files),
    },
    Metric {
        name: "snap_last_faults",
        help: "Faults that the last run of verify or check found; absent where it failed.",
        samples: |run| known(run.tally.faults),
    },
    Metric {
        name: "snap_check_ok",
        help: "1 where the last run of check found all well, 0 where it did not or failed.",
        samples: |run| known((run.command == "check").then(|| u8::from(run.went_well))),
    },
    Metric {
        name: "snap_newest_set_timestamp_seconds",
        help: "When the newest complete set was begun, as check found it, in seconds since 1970.",
        samples: |run| known(run.tally.newest.map(|started| started.as_second())),
    },
    Metric {
        name: "snap_newest_set_age_seconds",
        help: "How old the newest complete set was when check looked, in seconds.",
        // Negative where a clock is wrong, which is to be seen.
        samples: |run| {
            let age = |started: Timestamp| run.ended.as_second() - started.as_second();
            known(run.tally.newest.map(age))
        },
    },
    Metric {
        name: "snap_shards",
        help: "Shards of the last run by what became of them; absent where it failed.",
        samples: |run| by_state(&run.tally.shards),
    },
    Metric {
        name: "snap_lost_databases",
        help: "Databases that the set before holds and of which the last set has no shard, as \
               backup or check found it.",
        samples: |run| known(run.tally.lost_databases),
    },
    Metric {
        name: "snap_server_changed",
        help: "1 where the server is not the one of the set before, by its cluster id, as backup \
               found it; else 0.",
        samples: |run| known(run.tally.server_changed.map(u8::from)),
    },
    Metric {
        name: "snap_sets",
        help: "Sets of the last run of forget by what became of them; absent where it failed.",
        samples: |run| by_state(&run.tally.sets),
    },
];

fn value(value: impl ToString) -> Vec<Sample> {
    vec![Sample {
        state: None,
        value: value.to_string(),
    }]
}

fn known(known: Option<impl ToString>) -> Vec<Sample> {
    known.map(value).unwrap_or_default()
}

fn by_state(counts: &[(&'static str, usize)]) -> Vec<Sample> {
    let samples = counts.iter().map(|(state, count)| Sample {
        state: Some(state),
        value: count.to_string(),
    });
    samples.collect()
}

/// Writes the metrics of a run, whole or not at all.
///
/// # Errors
///
/// When the file cannot be read or written.
pub(crate) fn write(path: &Path, run: &MetricsRun<'_>) -> Result<()> {
    let _lock = lock(durable::directory_of(path));
    // A device must not become a file.
    ensure!(
        fs::metadata(path).map_or(true, |there| there.is_file()),
        "{} is no regular file",
        path.display()
    );
    let earlier = match read_bounded(path, LARGEST) {
        // A link is replaced, and nothing kept of what it leads to: that may not be for all to
        // read, which this file is.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(String::new()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Of a file that is no text, nothing is kept.
        read => Ok(String::from_utf8(read.unwrap_or_default()).unwrap_or_default()),
    };
    let earlier = earlier.with_context(|| format!("reading {}", path.display()))?;
    let text = text(&earlier, run);
    // Synced, or a machine that crashes may come back with an empty file, and without the time of
    // the last success. Collectors read *.prom, which it is not called until then.
    durable::write_whole_as(
        path,
        |out| out.write_all(text.as_bytes()),
        // The collector is another user.
        |file| file.set_permissions(Permissions::from_mode(0o644)),
    )
}

/// Keeps other runs from reading the file until this one has written it, or their lines would be
/// lost. The file itself is replaced, so it is the folder that is locked. Where that cannot be, the
/// file is written all the same: without the lock, two runs must end at the same moment for a line
/// to be lost.
fn lock(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    let started = Instant::now();
    loop {
        match durable::try_lock(&file, folder) {
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => thread::sleep(POLL),
            Ok(()) => return Some(file),
            Err(_) => return None,
        }
    }
}

/// The file's text: the lines of other commands and profiles as they were, and those of this run.
fn text(earlier: &str, run: &MetricsRun<'_>) -> String {
    let labels = labels(run);
    let mut text = String::new();
    for Metric {
        name,
        help,
        samples,
    } in &METRICS
    {
        let (own, mut lines) = earlier_lines(earlier, name, &labels);
        let samples = samples(run);
        if samples.is_empty() && *name == LAST_SUCCESS {
            lines.extend(own.last());
        }
        let samples: Vec<String> = samples
            .iter()
            .map(|Sample { state, value }| {
                let state = state.map(|state| format!(",state=\"{state}\""));
                format!("{name}{{{labels}{}}} {value}", state.unwrap_or_default())
            })
            .collect();
        lines.extend(samples.iter().map(String::as_str));
        if !lines.is_empty() {
            text += &format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
            text += &lines.join("\n");
            text.push('\n');
        }
    }
    text
}

/// The labels that tell the lines of a run's command and profile from those of others.
fn labels(run: &MetricsRun<'_>) -> String {
    let command = format!("command=\"{}\"", escaped(run.command));
    match run.profile {
        Some(profile) => format!("{command},profile=\"{}\"", escaped(profile)),
        None => command,
    }
}

/// The lines of a metric that were there: those with these labels, and the others.
fn earlier_lines<'a>(earlier: &'a str, name: &str, labels: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    let is_of_metric = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('{'))
    };
    let is_own = |line: &&str| {
        let rest = line[name.len() + 1..].strip_prefix(labels);
        rest.is_some_and(|rest| rest.starts_with('}') || rest.starts_with(",state="))
    };
    earlier.lines().filter(is_of_metric).partition(is_own)
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
