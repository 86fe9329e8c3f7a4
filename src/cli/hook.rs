//! A command of the operator's beside a run: waited for, within a time limit of its own, and stopped
//! with the run.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::cancel::Cancel;
use crate::text::age;

/// How often a command is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long a command may take that follows a run which was stopped: somebody waits for the end.
const AFTER_STOP: Duration = Duration::from_secs(60);

/// How long a command may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How long a command may take.
#[derive(Clone, Copy)]
enum Allowed {
    /// This long, and no longer than until a stop is asked for.
    UntilStop(Duration),
    /// This long: a stop was asked for before it began.
    AfterStop(Duration),
}

/// How a command ended.
enum End {
    Exited(ExitStatus),
    /// It was ended because it took too long.
    TimedOut,
}

/// Runs a command to its end; else why it failed, in words that go behind its name.
pub(super) fn run(mut command: Command, limit: Duration, cancel: &Cancel) -> Result<(), String> {
    command
        .stdin(Stdio::null())
        // Standard output is for results, and may be read by a program.
        .stdout(io::stderr())
        // What it runs is to end with it.
        .process_group(0);
    // Asked before it begins: a stop that is asked for from here on is to end it.
    let allowed = match cancel.is_cancelled() {
        true => Allowed::AfterStop(limit.min(AFTER_STOP)),
        false => Allowed::UntilStop(limit),
    };
    match command
        .spawn()
        .and_then(|child| wait(child, allowed, cancel))
    {
        Ok(End::Exited(status)) if status.success() => Ok(()),
        Ok(End::Exited(status)) => Err(format!("failed: {status}")),
        Ok(End::TimedOut) => Err(format!(
            "took longer than {} (-hook-timeout) and was stopped, with all that it ran",
            age(limit)
        )),
        Err(error) => Err(format!("failed: {error}")),
    }
}

/// Waits for a command. After the limit, and once a stop is asked for, it is asked to end, with all
/// that it runs, and is ended where it does not.
fn wait(mut child: Child, allowed: Allowed, cancel: &Cancel) -> io::Result<End> {
    let group = Pid::from_child(&child);
    let began = Instant::now();
    let (allowed, mut is_stopping) = match allowed {
        Allowed::UntilStop(limit) => (limit, false),
        Allowed::AfterStop(limit) => (limit, true),
    };
    // None where that is beyond what a clock can tell.
    let mut due = began.checked_add(allowed);
    let mut sent = None;
    let mut timed_out = false;
    let mut ended = None;
    loop {
        if ended.is_none() {
            ended = child.try_wait()?;
        }
        // What a command leaves behind on purpose may go on. Once it was asked to end, all of it is
        // waited for, as far as it can be ended.
        let all_ended = match sent {
            None => true,
            Some(_) => test_kill_process_group(group).is_err(),
        };
        let now = Instant::now();
        let given_up = sent == Some(Signal::KILL) && due.is_some_and(|due| now >= due);
        if let Some(status) = ended
            && (all_ended || given_up)
        {
            return Ok(match timed_out {
                true => End::TimedOut,
                false => End::Exited(status),
            });
        }
        if !is_stopping && cancel.is_cancelled() {
            is_stopping = true;
            due = Some(now);
        }
        if due.is_some_and(|due| now >= due) {
            timed_out |= sent.is_none() && !is_stopping;
            let signal = sent.map_or(Signal::TERM, |_| Signal::KILL);
            // A command that is gone already is no failure.
            let _ = kill_process_group(group, signal);
            due = Some(now + GRACE);
            sent = Some(signal);
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_is_asked_for_while_a_command_begins_ends_it() {
        let sleep = Command::new("sleep").arg("60").process_group(0).spawn();
        let cancel = Cancel::default();
        cancel.cancel();
        let began = Instant::now();
        let end = wait(
            sleep.expect("a command"),
            Allowed::UntilStop(Duration::from_secs(3600)),
            &cancel,
        );
        assert!(matches!(end, Ok(End::Exited(status)) if !status.success()));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
