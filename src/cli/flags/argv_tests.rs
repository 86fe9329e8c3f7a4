//! Tests of reading the arguments: one dash or two, values that begin with a dash, and mistakes.

use super::*;
use crate::cli::built;

fn read(line: &[&str]) -> Result<Vec<String>, Error> {
    let root = built();
    let args = ["snap"].iter().chain(line).map(OsString::from).collect();
    let words = CommandLine::read(&root, args)?.for_clap(Vec::new());
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

#[test]
fn an_unknown_flag_is_told_with_the_one_that_was_meant() {
    let said = |line: &[&str]| refused(line).unwrap();
    assert_eq!(
        said(&["backup", "-databse", "db"]),
        "unknown flag -databse; did you mean -database?"
    );
    assert_eq!(said(&["backup", "--xyz=1"]), "unknown flag -xyz");
    let error = read(&["-database", "x", "backup"]).unwrap_err();
    assert_eq!(error.message, "unknown flag -database");
    assert_eq!(
        error.hint.as_deref(),
        Some("write it behind the command: snap backup -database")
    );
    // Of another command, and of none.
    assert_eq!(said(&["list", "-max-age", "1h"]), "unknown flag -max-age");
    assert!(said(&["-hots", "x"]).starts_with("unknown flag -hots"));
    // What follows a call for help is not looked at.
    assert_eq!(refused(&["backup", "-h", "-databse"]), None);
}

#[test]
fn missing_values_are_left_for_clap_to_name() {
    assert_eq!(
        rewritten(&["backup", "-database"]),
        ["backup", "--database"]
    );
    assert_eq!(rewritten(&["-version"]), ["--version"]);
    assert_eq!(rewritten(&["-V"]), ["--version"]);
    assert_eq!(rewritten(&["backup", "-h"]), ["backup", "--help"]);
    assert_eq!(rewritten(&["backup", "-"]), ["backup", "-"]);
}

#[test]
fn a_word_that_names_no_command_is_left_for_clap_to_name() {
    assert_eq!(rewritten(&["bakcup", "-databse"]), ["bakcup", "-databse"]);
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
