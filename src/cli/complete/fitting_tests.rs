//! What fits after which words.

use super::*;
use crate::cli::built;

/// What fits where the last word of a line stands.
fn fitting(line: &str) -> Completion {
    let root = built();
    let mut words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let word = words.pop().unwrap();
    Fitting::new(&root, words).at(word.to_str().unwrap())
}

fn words(line: &str) -> Vec<String> {
    let candidates = fitting(line).candidates.into_iter();
    candidates.map(|candidate| candidate.word).collect()
}

#[test]
fn every_command_has_a_candidate_and_every_flag_of_each() {
    let root = built();
    let commands: Vec<&Command> = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .collect();
    let offered = words("");
    assert!(
        commands
            .iter()
            .all(|command| offered.iter().any(|word| word == command.get_name()))
    );
    for command in commands {
        let name = command.get_name();
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
        for flag in flags.filter_map(Arg::get_long) {
            for dashes in ["-", "--"] {
                let offered = words(&format!("{name} {dashes}"));
                let flag = format!("{dashes}{flag}");
                assert!(offered.contains(&flag), "snap {name} {flag}");
            }
        }
    }
}

/// The kind of a value stands in its name: one that is not known here offers nothing.
#[test]
fn every_name_of_a_value_is_one_whose_kind_is_known() {
    let without_candidates = [
        "T",
        "D",
        "DURATION",
        "N",
        "ID",
        "NAME",
        "RATE",
        "SIZE",
        "COMMAND",
        "PERCENT",
        "HOST:PORT",
        "URL",
        "TEXT",
        "CONDITION",
        "M.F=TYPE",
    ];
    let with_candidates = [
        "PATH",
        "SRC",
        "DST",
        "A",
        "B",
        "DIR",
        "FILE",
        "PROGRAM",
        "SET",
        "HOST",
        "TZ",
        "KIND",
        "LIST",
        "BOOL",
        "T|last",
        "auto|1.0|1.5",
        "both|1.0|1.5",
        "keep|escape|fail",
        "backup|server",
        "ns|us|ms|s",
        "utc|naive",
    ];
    for command in built().get_subcommands() {
        let valued = command
            .get_arguments()
            .filter(|arg| arg.get_action().takes_values());
        for arg in valued {
            let name = arg.get_value_names().and_then(|names| names.first());
            let name = name.unwrap().as_str();
            let known = without_candidates.contains(&name) || with_candidates.contains(&name);
            assert!(known, "{} {}: {name}", command.get_name(), arg.get_id());
        }
    }
}

#[test]
fn what_was_typed_and_what_cannot_go_with_it_is_not_offered_again() {
    let offered = words("backup -jobs 4 -incremental -");
    for gone in [
        "-jobs",
        "-incremental",
        "-since",
        "-start",
        "-end",
        "-meta-only",
    ] {
        assert!(!offered.iter().any(|word| word == gone), "{gone}");
    }
    assert!(offered.iter().any(|word| word == "-full"));
    // What adds to itself is.
    assert!(words("restore -where a=b -").contains(&"-where".to_owned()));
    assert_eq!(fitting("info -host h backup").paths, Paths::None);
}

#[test]
fn influxds_spellings_are_offered_to_whoever_begins_one() {
    for (line, offers) in [
        ("backup -d", false),
        ("backup -db", true),
        ("backup --db", true),
        ("backup -st", false),
        ("backup -sto", true),
    ] {
        let aliases = ["-db", "--db", "-stop"];
        let offered = words(line);
        let offered = offered.iter().any(|word| aliases.contains(&word.as_str()));
        assert_eq!(offered, offers, "{line}");
    }
}

#[test]
fn a_word_stands_for_what_those_before_it_say() {
    let paths = [
        ("backup ", Paths::Directories),
        ("backup -portable ", Paths::Directories),
        ("backup -portable=false ", Paths::Directories),
        ("backup -jobs -portable ", Paths::Directories),
        ("backup -no-such-flag ", Paths::Directories),
        ("backup -- -", Paths::Directories),
        ("-profile p backup ", Paths::Directories),
        ("backup -waldir ", Paths::Directories),
        ("backup -waldir=", Paths::Directories),
        ("backup -config ", Paths::Files),
        ("-config ", Paths::Files),
        ("backup -jobs ", Paths::None),
        ("backup a ", Paths::None),
        ("backup -help ", Paths::None),
        ("no-such-command ", Paths::None),
        ("help backup ", Paths::None),
    ];
    for (line, expected) in paths {
        assert_eq!(fitting(line).paths, expected, "{line}");
    }
    assert_eq!(words("backup -jobs "), [""; 0]);
    assert_eq!(words("backup -dialect "), ["auto", "1.0", "1.5"]);
    assert_eq!(words("backup -portable="), ["true", "false"]);
    assert!(words("help ").contains(&"restore".to_owned()));
    assert_eq!(words("help restore "), [""; 0]);
    // Where no argument can stand, a flag can.
    assert!(words("serve ").contains(&"-metadir".to_owned()));
}
