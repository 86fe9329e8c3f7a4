//! The command line: what can be typed, what is printed, and the commands that read or change a
//! backup directory.
//!
//! A real influxd is needed by `command_line`, and by one test each of `forget` and `verify`; its
//! client by more of `forget`.

// `snap check`: which sets count, and what is wrong with the rest.
mod check;
// Flags, help, `-quiet`, `-json`, usage errors, exit codes, the manual.
mod command_line;
// TAB in bash, zsh and fish.
mod completions;
// `snap copy`: sets of one directory into another.
mod copy;
// Flags from the configuration file and the environment.
mod config;
// `snap diff`: what is told of sets that differ, and of damage.
mod diff;
// README and docs: their commands and their links.
mod documents;
// The console examples of docs: run, and compared with what stands there.
mod examples;
// `snap export`: files, refusals, damage.
mod export;
// `snap export -jobs`: threads change nothing.
mod export_jobs;
// `snap export` as CSV and Parquet: files, conflicts and what resolves them.
mod export_tables;
// `snap forget` and `snap keep`: what goes, what stays, what a removal cut short leaves.
mod forget;
mod json_language;
// Sets whose records hold SHA-256.
mod old_records;
// Metrics, and commands before and after a run; how signals end both.
mod post_run;
// What a run prints into a log or a pipe.
mod printed;
// Every line of `-json` and every JSON file against `docs/schema`.
mod schemas;
// Help, mistakes and the text of commands, held against `tests/cmd`.
mod snapshots;
// `-shard-duration` over what is there.
mod regroup;
// `snap stats`: damage, what is sorted and chosen.
mod stats;
// Progress, colours and Ctrl-C on a terminal.
mod terminal;
// `snap verify` on sound sets, and on what was wrong before the backup.
mod verify;
// `snap verify` on each kind of damage to each kind of file.
mod verify_damage;
// What list, info, verify, forget and keep show of sets, and how wide.
mod views;

#[path = "../support/mod.rs"]
mod support;
