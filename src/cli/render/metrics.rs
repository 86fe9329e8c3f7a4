//! How a run went, in a file for Prometheus's textfile collector.
//!
//! A file can hold the runs of several commands and profiles: of what was there, the lines of others stay. Numbers that this
//! run cannot know are left out, but for the time of the last success, which is kept.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::tally::Tally;
use crate::io::open::read_bounded;

/// A run that has ended.
#[derive(Debug)]
pub struct Run<'a> {
    /// `backup`, `restore`, …
    pub command: &'a str,
    /// The profile, where one was named.
    pub profile: Option<&'a str>,
    /// Whether it did all that it was asked for.
    pub went_well: bool,
    /// The exit code of the process.
    pub exit_code: u8,
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took.
    pub elapsed: Duration,
    /// What it did.
    pub tally: &'a Tally,
}

/// How long another run is waited for that writes its metrics. That is a matter of milliseconds, and whoever holds the lock for
/// longer must not keep runs from ending.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a waiting run tries again.
const POLL: Duration = Duration::from_millis(10);

/// The largest file whose lines are kept, in bytes.
const LARGEST: u64 = 16 << 20;

const LAST_SUCCESS: &str = "snap_last_success_timestamp_seconds";

/// All metrics in their order, with what they mean.
const METRICS: [(&str, &str); 14] = [
    (
        "snap_last_run_timestamp_seconds",
        "When the last run ended, in seconds since 1970.",
    ),
    (
        LAST_SUCCESS,
        "When the last run ended that did all it was asked for, in seconds since 1970.",
    ),
    ("snap_last_exit_code", "The exit code of the last run."),
    (
        "snap_last_duration_seconds",
        "How long the last run took, in seconds.",
    ),
    (
        "snap_last_bytes",
        "Bytes that the last run stored, restored, read or freed; absent where it failed.",
    ),
    (
        "snap_last_files",
        "Files that the last run of forget removed; absent where it failed.",
    ),
    (
        "snap_last_faults",
        "Faults that the last run of verify or check found; absent where it failed.",
    ),
    (
        "snap_check_ok",
        "1 where the last run of check found all well, 0 where it did not or failed.",
    ),
    (
        "snap_newest_set_timestamp_seconds",
        "When the newest complete set was begun, as check found it, in seconds since 1970.",
    ),
    (
        "snap_newest_set_age_seconds",
        "How old the newest complete set was when check looked, in seconds.",
    ),
    (
        "snap_shards",
        "Shards of the last run by what became of them; absent where it failed.",
    ),
    (
        "snap_lost_databases",
        "Databases that the set before holds and of which the last set has no shard, as backup or check found it.",
    ),
    (
        "snap_server_changed",
        "1 where the server is not the one of the set before, by its cluster id, as backup found it; else 0.",
    ),
    (
        "snap_sets",
        "Sets of the last run of forget by what became of them; absent where it failed.",
    ),
];

/// Writes the metrics of a run, whole or not at all.
///
/// # Errors
///
/// When the file cannot be read or written.
pub fn write(path: &Path, run: &Run<'_>) -> Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let _lock = lock(parent);
    // A device must not become a file.
    ensure!(
        fs::metadata(path).map_or(true, |there| there.is_file()),
        "{} is no regular file",
        path.display()
    );
    let earlier = match read_bounded(path, LARGEST) {
        // A link is replaced, and nothing kept of what it leads to: that may not be for all to read, which this file is.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(String::new()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Of a file that is no text, nothing is kept.
        read => Ok(String::from_utf8(read.unwrap_or_default()).unwrap_or_default()),
    };
    let earlier = earlier.with_context(|| format!("reading {}", path.display()))?;
    let text = text(&earlier, run);
    let write = || -> io::Result<()> {
        // Collectors read *.prom, which this name is not.
        let mut file = tempfile::Builder::new()
            .prefix(".snap-")
            .tempfile_in(parent)?;
        file.write_all(text.as_bytes())?;
        let opened: &File = file.as_file();
        // The collector is another user.
        opened.set_permissions(Permissions::from_mode(0o644))?;
        // Else a machine that crashes may come back with an empty file, and without the time of the last success.
        opened.sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Keeps other runs from reading the file until this one has written it, or their lines would be lost. The file itself is
/// replaced, so it is the folder that is locked. Where that cannot be, the file is written all the same: without the lock, two
/// runs must end at the same moment for a line to be lost.
fn lock(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    let begun = Instant::now();
    loop {
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => thread::sleep(POLL),
            Ok(()) => return Some(folder),
            Err(_) => return None,
        }
    }
}

fn text(earlier: &str, run: &Run<'_>) -> String {
    let profile = run
        .profile
        .map(|profile| format!(",profile=\"{}\"", escaped(profile)))
        .unwrap_or_default();
    let labels = format!("command=\"{}\"{profile}", escaped(run.command));
    let tally = run.tally;
    let ended = run.ended.as_second();
    let is_own = |rest: &str| {
        let rest = rest.strip_prefix(labels.as_str());
        rest.is_some_and(|rest| rest.starts_with('}') || rest.starts_with(",state="))
    };
    let mut text = String::new();
    for (name, help) in METRICS {
        let lines = earlier
            .lines()
            .filter_map(|line| Some((line, line.strip_prefix(name)?.strip_prefix('{')?)));
        let (own, others): (Vec<_>, Vec<_>) = lines.partition(|(_, rest)| is_own(rest));
        let mut lines: Vec<String> = others
            .into_iter()
            .map(|(line, _)| line.to_owned())
            .collect();
        let value = match name {
            "snap_last_run_timestamp_seconds" => Some(ended.to_string()),
            LAST_SUCCESS if run.went_well => Some(ended.to_string()),
            LAST_SUCCESS => own
                .last()
                .and_then(|(line, _)| line.rsplit_once(' '))
                .map(|(_, value)| value.to_owned()),
            "snap_last_exit_code" => Some(run.exit_code.to_string()),
            "snap_last_duration_seconds" => Some(format!("{:.3}", run.elapsed.as_secs_f64())),
            "snap_last_bytes" => tally.bytes.map(|bytes| bytes.to_string()),
            "snap_last_files" => tally.files.map(|files| files.to_string()),
            "snap_last_faults" => tally.faults.map(|faults| faults.to_string()),
            "snap_check_ok" => {
                (run.command == "check").then(|| u8::from(run.went_well).to_string())
            }
            "snap_newest_set_timestamp_seconds" => {
                tally.newest.map(|begun| begun.as_second().to_string())
            }
            "snap_lost_databases" => tally.lost_databases.map(|count| count.to_string()),
            "snap_server_changed" => tally
                .server_changed
                .map(|changed| u8::from(changed).to_string()),
            // Negative where a clock is wrong, which is to be seen.
            "snap_newest_set_age_seconds" => tally
                .newest
                .map(|begun| (ended - begun.as_second()).to_string()),
            _ => None,
        };
        lines.extend(value.map(|value| format!("{name}{{{labels}}} {value}")));
        let states = match name {
            "snap_shards" => &tally.shards[..],
            "snap_sets" => &tally.sets,
            _ => &[],
        };
        lines.extend(
            states
                .iter()
                .map(|(state, count)| format!("{name}{{{labels},state=\"{state}\"}} {count}")),
        );
        if !lines.is_empty() {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
            lines
                .iter()
                .for_each(|line| text.push_str(&format!("{line}\n")));
        }
    }
    text
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.starts_with('#')).collect()
    }

    #[test]
    fn a_failed_run_keeps_the_time_of_the_last_success_and_the_lines_of_other_commands() {
        let shards = vec![("stored", 2), ("empty", 1), ("missing", 0)];
        let tally = Tally {
            bytes: Some(4096),
            shards,
            ..Tally::default()
        };
        let elapsed = Duration::from_millis(1500);
        let run = Run {
            command: "backup",
            profile: None,
            went_well: true,
            exit_code: 0,
            ended: at(100),
            elapsed,
            tally: &tally,
        };
        let first = text("not ours 1\n", &run);
        assert_eq!(first.matches("# HELP").count(), 6);
        assert_eq!(
            lines(&first),
            [
                "snap_last_run_timestamp_seconds{command=\"backup\"} 100",
                "snap_last_success_timestamp_seconds{command=\"backup\"} 100",
                "snap_last_exit_code{command=\"backup\"} 0",
                "snap_last_duration_seconds{command=\"backup\"} 1.500",
                "snap_last_bytes{command=\"backup\"} 4096",
                "snap_shards{command=\"backup\",state=\"stored\"} 2",
                "snap_shards{command=\"backup\",state=\"empty\"} 1",
                "snap_shards{command=\"backup\",state=\"missing\"} 0",
            ]
        );
        let nothing = Tally::default();
        let failed = Run {
            went_well: false,
            exit_code: 5,
            ended: at(200),
            tally: &nothing,
            ..run
        };
        let verified = Run {
            command: "verify",
            went_well: true,
            exit_code: 0,
            ended: at(300),
            ..failed
        };
        let second = text(&text(&first, &failed), &verified);
        assert_eq!(
            lines(&second),
            [
                "snap_last_run_timestamp_seconds{command=\"backup\"} 200",
                "snap_last_run_timestamp_seconds{command=\"verify\"} 300",
                "snap_last_success_timestamp_seconds{command=\"backup\"} 100",
                "snap_last_success_timestamp_seconds{command=\"verify\"} 300",
                "snap_last_exit_code{command=\"backup\"} 5",
                "snap_last_exit_code{command=\"verify\"} 0",
                "snap_last_duration_seconds{command=\"backup\"} 1.500",
                "snap_last_duration_seconds{command=\"verify\"} 1.500",
            ]
        );
    }

    #[test]
    fn profiles_have_lines_of_their_own() {
        let tally = Tally {
            shards: vec![("stored", 1)],
            ..Tally::default()
        };
        let (ended, elapsed) = (at(1), Duration::ZERO);
        let run = |profile, exit_code| Run {
            command: "backup",
            profile,
            went_well: false,
            exit_code,
            ended,
            elapsed,
            tally: &tally,
        };
        let both = text(&text("", &run(Some("a\"b"), 1)), &run(None, 2));
        let again = text(&both, &run(None, 3));
        let codes: Vec<&str> = lines(&again)
            .into_iter()
            .filter(|line| line.contains("exit_code"))
            .collect();
        let other = "snap_last_exit_code{command=\"backup\",profile=\"a\\\"b\"} 1";
        assert_eq!(codes, [other, "snap_last_exit_code{command=\"backup\"} 3"]);
        assert_eq!(again.matches("\nsnap_shards{").count(), 2);
    }

    #[test]
    fn what_a_link_leads_to_is_neither_told_nor_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, file) = (
            folder.path().join("secret"),
            folder.path().join("snap.prom"),
        );
        fs::write(&secret, "root:hash\n").unwrap();
        std::os::unix::fs::symlink(&secret, &file).unwrap();
        let tally = Tally::default();
        let run = Run {
            command: "backup",
            profile: None,
            went_well: true,
            exit_code: 0,
            ended: at(1),
            elapsed: Duration::ZERO,
            tally: &tally,
        };
        write(&file, &run).unwrap();
        assert!(!fs::read_to_string(&file).unwrap().contains("hash"));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root:hash\n");
    }

    #[test]
    fn runs_that_end_at_the_same_time_do_not_lose_each_others_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("snap.prom");
        let profiles: Vec<String> = (0..32).map(|number| number.to_string()).collect();
        thread::scope(|scope| {
            for profile in &profiles {
                let file = &file;
                scope.spawn(move || {
                    let (tally, profile) = (Tally::default(), Some(profile.as_str()));
                    let (ended, elapsed) = (at(1), Duration::ZERO);
                    let run = Run {
                        command: "backup",
                        profile,
                        went_well: true,
                        exit_code: 0,
                        ended,
                        elapsed,
                        tally: &tally,
                    };
                    write(file, &run).unwrap();
                });
            }
        });
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            lines(&text)
                .iter()
                .filter(|line| line.starts_with(LAST_SUCCESS))
                .count(),
            profiles.len(),
            "{text}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
