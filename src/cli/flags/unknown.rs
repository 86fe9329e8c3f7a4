//! What is said of a command or a flag that there is not: the one that was meant, or ours for what
//! other tools call by that name.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::{Arg, Command};

use super::known::{find, nearest};
use crate::error::{Error, ErrorKind};

/// Words of restic, borg, pgBackRest, influxd and others, each with our command for it and what
/// that does.
const COMMANDS: [(&[&str], &str, &str); 12] = [
    (
        &["create", "save", "download", "dump", "snapshot"],
        "backup",
        "takes a backup",
    ),
    (
        &["extract", "recover", "import", "upload", "load", "mount"],
        "restore",
        "puts a backup back",
    ),
    (
        &["snapshots", "sets", "ls", "backups", "find"],
        "list",
        "shows the sets of a directory",
    ),
    (
        &["show", "describe", "cat", "inspect"],
        "info",
        "shows what a set holds",
    ),
    (
        &["du", "size", "usage", "space", "cardinality", "schema"],
        "stats",
        "shows what takes up space",
    ),
    (
        &["test", "validate", "fsck", "scrub", "check-data", "read"],
        "verify",
        "reads sets and reports damage",
    ),
    (
        &["status", "health", "monitor"],
        "check",
        "says whether the newest set is new enough",
    ),
    (
        &[
            "prune", "expire", "delete", "remove", "rm", "purge", "clean", "cleanup", "compact",
            "rotate", "gc",
        ],
        "forget",
        "removes old sets",
    ),
    (
        &["pin", "protect", "tag", "annotate", "hold"],
        "keep",
        "marks a set that stays",
    ),
    (
        &["unpin", "unprotect", "release"],
        "keep",
        "takes the mark off with -release",
    ),
    (
        &["server", "start", "run", "daemon"],
        "serve",
        "serves a stopped influxd's directories",
    ),
    (
        &["completion", "completions", "man", "manual", "config"],
        "generate",
        "prints completions, manual pages and an example configuration",
    ),
];

/// Words for what needs no command.
const NEEDLESS: [(&[&str], &str); 3] = [
    (
        &["init", "stanza-create", "repo-create", "create-repo"],
        "none is needed: snap backup PATH makes the directory",
    ),
    (
        &["unlock", "break-lock"],
        "none is needed: the lock of a run that ended, or was killed, is gone with it",
    ),
    (
        &["key", "passwd", "login", "auth", "user"],
        "none is needed: the snapshotter protocol knows no passwords",
    ),
];

/// Flags of other tools, each with what is written here.
const FLAGS: [(&[&str], &str); 12] = [
    (
        &[
            "repo",
            "r",
            "dir",
            "d",
            "path",
            "p",
            "o",
            "out",
            "output",
            "backupdir",
            "target",
            "to",
            "from",
        ],
        "the backup directory is an argument: write PATH without a flag",
    ),
    (&["v"], "write -verbose"),
    (&["q"], "write -quiet"),
    (&["n"], "write -dry-run"),
    (&["port", "H"], "write -host HOST:PORT"),
    (
        &["username", "user", "u", "password", "pass", "token"],
        "none is needed: the snapshotter protocol knows no passwords",
    ),
    (
        &["threads", "parallel", "process-max", "workers", "j", "t"],
        "write -jobs N",
    ),
    (
        &[
            "limit-download",
            "limit-upload",
            "bwlimit",
            "rate-limit",
            "max-rate",
        ],
        "write -limit-rate RATE",
    ),
    (
        &["type"],
        "write -incremental, and -full for a full one in between",
    ),
    (
        &["compress", "gzip", "z", "compression"],
        "write -portable: its files are compressed",
    ),
    (&["stanza"], "write -profile NAME"),
    (
        &["set", "snapshot", "id"],
        "the set is an argument: write it after PATH",
    ),
];

/// How long a flag is at least of which an unknown one can be a longer name.
const LEAST_BEGIN: usize = 3;

/// The error for a command that there is not. `rest` are the words behind it.
pub(super) fn command(root: &Command, word: &OsStr, rest: &[OsString]) -> Error {
    let is_there = Path::new(word).exists();
    let word = word.to_string_lossy();
    let error = |more: &str| ErrorKind::Usage.error(format!("there is no command '{word}'{more}"));
    let known = || root.get_subcommands().map(Command::get_name);
    if let Some((_, ours, what)) = COMMANDS
        .iter()
        .find(|(words, _, _)| words.contains(&&*word))
    {
        return error(&format!("; {ours} {what} (snap help {ours})"));
    }
    if let Some((_, what)) = NEEDLESS.iter().find(|(words, _)| words.contains(&&*word)) {
        return error(&format!("; {what}"));
    }
    let is_path = is_there || word.contains('/');
    let meant = nearest(&word, known()).filter(|_| !is_path);
    let mut commands = rest.iter().filter_map(|word| root.find_subcommand(word));
    if let Some(command) = commands.next().filter(|_| meant.is_none()) {
        return ErrorKind::Usage
            .error(format!("'{word}' comes before the command"))
            .hint(format!("write: snap {} {word}", command.get_name()));
    }
    if is_path {
        return error("").hint(format!("write a command before PATH: snap list {word}"));
    }
    match meant {
        Some(meant) => error(&format!("; did you mean {meant}?")),
        None => {
            let known: Vec<&str> = known().collect();
            error("").hint(format!("there are: {} (snap help)", known.join(", ")))
        }
    }
}

/// The error for a flag that there is not. `rest` are the words behind it.
pub(super) fn flag(root: &Command, command: &Command, name: &OsStr, rest: &[OsString]) -> Error {
    let name = name.to_string_lossy();
    let is_before_command = command.get_name() == root.get_name();
    let owners = || {
        let commands = root.get_subcommands();
        commands.filter(|other| find(other, &*name).is_some())
    };
    if is_before_command {
        // Go reads the flags of a command behind its name alone.
        let typed = |owner: &&Command| rest.iter().any(|word| word == owner.get_name());
        if let Some(owner) = owners().find(typed).or_else(|| owners().next()) {
            let owner = owner.get_name();
            return ErrorKind::Usage
                .error(format!("-{name} comes before the command"))
                .hint(format!("write flags after it: snap {owner} -{name} …"));
        }
    }
    let error = |more: &str| ErrorKind::Usage.error(format!("unknown flag -{name}{more}"));
    let flags = || {
        command.get_arguments().flat_map(|arg: &Arg| {
            let others = arg.get_visible_aliases().unwrap_or_default();
            arg.get_long().into_iter().chain(others)
        })
    };
    let meant = |meant: &str| {
        let letter = find(command, meant).and_then(Arg::get_short);
        let letter = letter.map(|letter| format!(" (or -{letter})"));
        error(&format!(
            "; did you mean -{meant}{}?",
            letter.unwrap_or_default()
        ))
    };
    // A longer name of one that is there is not that of another tool.
    let mut longer = flags().filter(|flag| flag.len() >= LEAST_BEGIN && name.starts_with(flag));
    if let Some(flag) = longer.next() {
        return meant(flag);
    }
    if let Some((_, advice)) = FLAGS.iter().find(|(names, _)| names.contains(&&*name)) {
        return error("").hint(advice);
    }
    let close = nearest(&name, flags());
    if let Some(flag) = close.filter(|_| owners().next().is_none()) {
        return meant(flag);
    }
    let page = match is_before_command {
        true => "snap help".to_owned(),
        false => format!("snap help {}", command.get_name()),
    };
    let owners: Vec<&str> = owners().map(Command::get_name).collect();
    let verb = if owners.len() == 1 { "has" } else { "have" };
    if let [_, ..] = owners[..] {
        let owners = owners.join(" and ");
        return error("").hint(format!(
            "snap {owners} {verb} it; the flags of this command: {page}"
        ));
    }
    error("").hint(format!("the flags: {page}"))
}
