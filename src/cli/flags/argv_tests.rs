//! Tests of reading the arguments: one dash or two, values that begin with a dash, and mistakes.

use super::*;
use crate::cli::built;

fn read(line: &[&str]) -> Result<Vec<String>, Error> {
    let root = built();
    let args = ["snap"].iter().chain(line).map(OsString::from).collect();
    let words = CommandLine::read(&root, args)?.for_clap(&[]);
    let words = words.into_iter().skip(1);
    Ok(words.map(|word| word.into_string().unwrap()).collect())
}

fn rewritten(line: &[&str]) -> Vec<String> {
    read(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn refused(line: &[&str]) -> Option<String> {
    read(line).err().map(|error| error.message)
}

#[test]
fn one_dash_and_two_a_space_and_an_equals_sign_are_the_same() {
    for flag in ["-database", "--database", "-db"] {
        let words = rewritten(&["backup", flag, "db", "-since=7d", "dir"]);
        assert_eq!(words[1..], ["--database=db", "--since=7d", "dir"]);
    }
}

#[test]
fn arguments_stand_behind_the_flags() {
    assert_eq!(
        rewritten(&["keep", "/b", "-json", "latest", "--", "-x"]),
        ["keep", "--json", "/b", "latest", "--", "-x"]
    );
}

#[test]
fn a_value_is_never_taken_for_a_flag() {
    assert_eq!(
        rewritten(&["backup", "-database", "-x", "-rp", "--"]),
        ["backup", "--database=-x", "--retention=--"]
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
        rewritten(&["backup", "-skip-errors", "-quiet=F", "-json=1", "dir"])[1..],
        ["--skip-errors", "--quiet=false", "--json=true", "dir"]
    );
    assert_eq!(
        rewritten(&["backup", "-quiet", "false"]),
        ["backup", "--quiet", "false"]
    );
}

fn refusal(line: &[&str]) -> (String, Option<String>) {
    let error = read(line).unwrap_err();
    (error.message, error.hint)
}

#[test]
fn an_unknown_flag_is_told_with_the_one_that_was_meant() {
    let said = |line: &[&str]| refused(line).unwrap();
    assert_eq!(
        said(&["backup", "-databse", "db"]),
        "unknown flag -databse; did you mean -database?"
    );
    assert_eq!(said(&["backup", "--xyz=1"]), "unknown flag -xyz");
    for line in [["-database", "x", "backup"], ["-database", "x", "bakcup"]] {
        let (message, hint) = refusal(&line);
        assert_eq!(message, "-database comes before the command");
        assert_eq!(
            hint.as_deref(),
            Some("write flags after it: snap backup -database …")
        );
    }
    let (_, hint) = refusal(&["-database", "x", "restore", "y"]);
    assert!(hint.unwrap().contains("snap restore -database"));
    // Of another command, of another tool, and of none.
    let (message, hint) = refusal(&["list", "-max-age", "1h"]);
    assert_eq!(message, "unknown flag -max-age");
    assert!(hint.unwrap().starts_with("snap check has it"));
    let (message, hint) = refusal(&["backup", "-repo", "/b"]);
    assert_eq!(message, "unknown flag -repo");
    assert!(hint.unwrap().contains("PATH"));
    assert!(said(&["-hots", "x"]).starts_with("unknown flag -hots"));
    // What follows a call for help is not looked at.
    assert_eq!(refused(&["backup", "-h", "-databse"]), None);
}

#[test]
fn help_and_the_version_are_asked_for_in_several_ways() {
    let asked = |line: &[&str]| {
        let root = built();
        let args = ["snap"].iter().chain(line).map(OsString::from).collect();
        let line = CommandLine::read(&root, args).unwrap();
        let command = line
            .command
            .map(|(_, command)| command.get_name().to_owned());
        (line.asked, command)
    };
    let backup = Some("backup".to_owned());
    for line in [
        &["backup", "-help"][..],
        &["backup", "--help"],
        &["help", "backup"],
        &["-profile", "p", "help", "backup"],
    ] {
        assert_eq!(
            asked(line),
            (Some(Asked::Manual), backup.clone()),
            "{line:?}"
        );
    }
    assert_eq!(asked(&["backup", "-h"]), (Some(Asked::Summary), backup));
    for line in [
        &["help"][..],
        &["-help"],
        &["help", "help"],
        &["help", "version"],
    ] {
        assert_eq!(asked(line), (Some(Asked::Manual), None), "{line:?}");
    }
    for line in ["version", "-version", "--version", "-V", "-v"] {
        assert_eq!(asked(&[line]), (Some(Asked::Version), None), "{line}");
    }
    assert_eq!(asked(&["backup", "x"]).0, None);
    // A directory may have any name.
    assert_eq!(asked(&["backup", "help"]).0, None);
}

#[test]
fn a_flag_without_its_value_is_told_with_what_to_write() {
    assert_eq!(
        refusal(&["backup", "-database"]),
        (
            "-database has no value".to_owned(),
            Some("write -database NAME".to_owned())
        )
    );
    assert_eq!(rewritten(&["backup", "-"]), ["backup", "-"]);
}

#[test]
fn a_word_that_names_no_command_leads_to_the_one_that_was_meant() {
    for (word, said) in [
        (
            "bakcup",
            "there is no command 'bakcup'; did you mean backup?",
        ),
        (
            "prune",
            "there is no command 'prune'; forget removes old sets (snap help forget)",
        ),
        ("/var/backups", "there is no command '/var/backups'"),
    ] {
        assert_eq!(refused(&[word, "-databse"]).as_deref(), Some(said));
        assert_eq!(refused(&["help", word]).as_deref(), Some(said));
    }
    // Where another tool's word is one of ours, ours is meant.
    let root = built();
    for command in root.get_subcommands() {
        assert_eq!(refused(&[command.get_name()]), None);
    }
}

#[test]
fn an_empty_value_is_refused_where_it_would_mean_the_default() {
    let root = built();
    let backup = root.find_subcommand("backup").unwrap();
    let flags = backup
        .get_arguments()
        .filter(|flag| flag.get_long().is_some());
    let (refusing, taking): (Vec<&Arg>, Vec<&Arg>) = flags
        .filter(|flag| takes_value(flag))
        .partition(|flag| !may_be_empty(flag));
    assert!(refusing.iter().any(|flag| long(flag) == "database"));
    for flag in refusing {
        let name = long(flag);
        let said = Some(format!("the value of -{name} is empty"));
        assert_eq!(refused(&["backup", &format!("-{name}"), ""]), said);
        assert_eq!(refused(&["backup", &format!("--{name}="), "dir"]), said);
    }
    let mut taking: Vec<&str> = taking.into_iter().map(long).collect();
    taking.sort_unstable();
    assert_eq!(taking, ["config", "on-failure", "on-start", "on-success"]);
    for line in [
        &["backup", ""][..],
        &["restore", "dir", ""],
        &["backup", "--", ""],
    ] {
        let said = Some("an argument is empty".to_owned());
        assert_eq!(refused(line), said, "{line:?}");
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
        &["backup", "-database", "-", "-quiet="],
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
