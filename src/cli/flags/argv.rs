//! Flags as Go's `flag` package takes them, made into flags as clap takes them.
//!
//! Go: one dash or two; `-flag value` or `-flag=value`; a boolean is `-flag` or `-flag=false`, never `-flag false`; the word
//! after a flag that takes a value is its value even with a leading dash; `--` ends the flags; the last of a repeated flag
//! wins. Which flags take a value is asked of clap's own [`Command`], so values are never mistaken for flags.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};

use crate::error::{Error, ErrorKind};

/// Rewrites a command line, the program's name first.
pub fn rewrite(root: &Command, args: &[OsString]) -> Vec<OsString> {
    let mut command = root;
    let mut words = args.iter();
    let mut rewritten: Vec<OsString> = words.next().cloned().into_iter().collect();
    while let Some(word) = words.next() {
        if word == "--" {
            rewritten.push(word.clone());
            rewritten.extend(words.cloned());
            break;
        }
        let Some((name, value)) = flag(word) else {
            // The first word without a dash names the command; what follows is its own.
            if let Some(subcommand) = word.to_str().and_then(|word| command.find_subcommand(word)) {
                command = subcommand;
            }
            rewritten.push(word.clone());
            continue;
        };
        // Go prints help for -h as well; -V is what Rust's users try.
        let name = match name.to_str() {
            Some("h") => OsStr::new("help"),
            Some("V") => OsStr::new("version"),
            _ => name,
        };
        let known = name.to_str().and_then(|name| {
            find(command, name).or_else(|| find(root, name).filter(|arg| arg.is_global_set()))
        });
        let value = match (value, known) {
            (Some(value), Some(known)) if !takes_value(known) => {
                Some(go_bool(value).map_or(value, OsStr::new))
            }
            // Without a further word it stays bare, and clap says that the value is missing.
            (None, Some(known)) if takes_value(known) => words.next().map(OsString::as_os_str),
            (value, _) => value,
        };
        let mut flag = b"--".to_vec();
        flag.extend_from_slice(name.as_bytes());
        if let Some(value) = value {
            flag.push(b'=');
            flag.extend_from_slice(value.as_bytes());
        }
        rewritten.push(OsString::from_vec(flag));
    }
    rewritten
}

/// The flags for which an empty value says something: no configuration, no command.
pub const MAY_BE_EMPTY: [&str; 3] = ["config", "on-success", "on-failure"];

/// Refuses empty values in a command line that was rewritten. They come from variables of a shell that are not set, and would
/// mean the default: this machine in place of another, all databases in place of one.
///
/// # Errors
///
/// [`ErrorKind::Usage`] with the flag's name.
pub fn refuse_empty(root: &Command, words: &[OsString]) -> Result<(), Error> {
    let mut command = root;
    let mut words = words.iter().skip(1);
    let fault = |what: &str, none: &str| {
        let fault = ErrorKind::Usage.error(format!("{what} is empty"));
        Err(fault.hint(format!("is a shell variable not set? {none}")))
    };
    let empty_word = || fault("an argument", "leave the argument out to use its default");
    for word in words.by_ref() {
        if word.is_empty() {
            return empty_word();
        }
        if word == "--" {
            break;
        }
        let Some((name, value)) = flag(word) else {
            if let Some(subcommand) = word.to_str().and_then(|word| command.find_subcommand(word)) {
                command = subcommand;
            }
            continue;
        };
        let known = name.to_str().and_then(|name| {
            let known = find(command, name).or_else(|| find(root, name))?;
            known.get_long().filter(|_| takes_value(known))
        });
        if let (Some(name), Some(value)) = (known, value)
            && value.is_empty()
            && !MAY_BE_EMPTY.contains(&name)
        {
            return fault(
                &format!("the value of -{name}"),
                &format!("leave -{name} out to use its default"),
            );
        }
    }
    match words.any(|word| word.is_empty()) {
        true => empty_word(),
        false => Ok(()),
    }
}

/// Splits a flag into its name and the value written behind `=`.
fn flag(word: &OsStr) -> Option<(&OsStr, Option<&OsStr>)> {
    let bytes = word.as_bytes().strip_prefix(b"-")?;
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if bytes.is_empty() || bytes[0] == b'-' || bytes[0] == b'=' {
        return None;
    }
    Some(match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 1..])),
        ),
        None => (OsStr::from_bytes(bytes), None),
    })
}

/// The flag of that name.
pub fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name)
            || arg
                .get_all_aliases()
                .is_some_and(|aliases| aliases.contains(&name))
    })
}

/// Whether the flag is always followed by a value. Our booleans take one only behind `=`.
pub fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

/// What Go's `strconv.ParseBool` takes for true and false.
pub fn go_bool(text: &OsStr) -> Option<&'static str> {
    match text.to_str()? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some("true"),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some("false"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &[&str]) -> Vec<String> {
        let args: Vec<OsString> = std::iter::once("snap")
            .chain(line.iter().copied())
            .map(OsString::from)
            .collect();
        rewrite(&crate::cli::command_line(), &args)
            .into_iter()
            .skip(1)
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn one_dash_and_two_a_space_and_an_equals_sign_are_the_same() {
        for line in [["-database", "db"], ["--database", "db"], ["-db", "db"]] {
            let flags = rewritten(&["backup", line[0], line[1], "-since=7d", "dir"]);
            assert_eq!(
                flags[1..],
                [
                    format!("--{}=db", line[0].trim_start_matches('-')),
                    "--since=7d".into(),
                    "dir".into()
                ]
            );
        }
    }

    #[test]
    fn a_value_is_never_taken_for_a_flag() {
        assert_eq!(
            rewritten(&["backup", "-database", "-x", "-rp", "--"]),
            ["backup", "--database=-x", "--rp=--"]
        );
        assert_eq!(
            rewritten(&["backup", "-database=a=b", "--", "-dir"]),
            ["backup", "--database=a=b", "--", "-dir"]
        );
        assert_eq!(
            rewritten(&["backup", "-database", "restore"]),
            ["backup", "--database=restore"]
        );
    }

    #[test]
    fn booleans_follow_go() {
        assert_eq!(
            rewritten(&["backup", "-skip-errors", "-quiet=F", "-json=1", "dir"]),
            [
                "backup",
                "--skip-errors",
                "--quiet=false",
                "--json=true",
                "dir"
            ]
        );
        assert_eq!(
            rewritten(&["backup", "-quiet", "false"]),
            ["backup", "--quiet", "false"]
        );
    }

    #[test]
    fn unknown_flags_and_missing_values_are_left_for_clap_to_name() {
        assert_eq!(
            rewritten(&["backup", "-databse", "db"]),
            ["backup", "--databse", "db"]
        );
        assert_eq!(
            rewritten(&["backup", "-database"]),
            ["backup", "--database"]
        );
        assert_eq!(rewritten(&["-version"]), ["--version"]);
        assert_eq!(rewritten(&["backup", "-h"]), ["backup", "--help"]);
        assert_eq!(rewritten(&["backup", "-"]), ["backup", "-"]);
    }

    #[test]
    fn an_empty_value_is_refused_where_it_would_mean_the_default() {
        let refused = |line: &[&str]| {
            let args: Vec<OsString> = ["snap"].iter().chain(line).map(OsString::from).collect();
            let root = crate::cli::command_line();
            refuse_empty(&root, &rewrite(&root, &args))
                .err()
                .map(|fault| fault.message)
        };
        for flag in [
            "host",
            "database",
            "db",
            "retention",
            "rp",
            "shard",
            "since",
            "start",
            "end",
            "stop",
            "metadir",
            "datadir",
            "waldir",
            "metrics-file",
            "profile",
            "jobs",
        ] {
            let long = find(
                &crate::cli::command_line()
                    .find_subcommand("backup")
                    .unwrap()
                    .clone(),
                flag,
            )
            .or(find(&crate::cli::command_line(), flag))
            .and_then(Arg::get_long)
            .unwrap()
            .to_owned();
            let said = Some(format!("the value of -{long} is empty"));
            assert_eq!(refused(&["backup", &format!("-{flag}"), ""]), said);
            assert_eq!(refused(&["backup", &format!("--{flag}="), "dir"]), said);
        }
        for line in [
            &["backup", ""][..],
            &["restore", "dir", ""],
            &["backup", "--", ""],
        ] {
            assert_eq!(
                refused(line),
                Some("an argument is empty".to_owned()),
                "{line:?}"
            );
        }
        for line in [
            &[
                "backup",
                "-config",
                "",
                "-on-success",
                "",
                "-on-failure=",
                "dir",
            ][..],
            &["backup", "-database", "-", "-quiet=", "--nonsense="],
        ] {
            assert_eq!(refused(line), None, "{line:?}");
        }
    }

    #[test]
    fn flags_of_all_commands_stand_before_or_behind_the_command() {
        assert_eq!(
            rewritten(&["-profile", "backup", "backup", "x"]),
            ["--profile=backup", "backup", "x"]
        );
        assert_eq!(
            rewritten(&["backup", "-profile", "prod", "x"]),
            ["backup", "--profile=prod", "x"]
        );
    }
}
