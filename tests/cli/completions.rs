//! TAB in bash, zsh and fish, each at a terminal of its own. Needs the three, and bash-completion.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::fixture::Fixture;
use crate::support::peer::{Manners, Stranger, nobody};
use crate::support::process::Snap;
use crate::support::shell::Shell;
use crate::support::{folder, utf8};

/// Names that a shell has to quote, that bash splits, or that look like a flag.
const DATABASES: [&str; 9] = [
    "two words",
    "quote' and\"$(exit)`;&",
    "naïve",
    "-dash",
    "_under",
    "co:lon",
    "equal=sign",
    "db",
    "db.dot",
];

/// A server with those databases, a backup of it in `backup` with one set, and a configuration.
fn fixture() -> Fixture {
    let shards: Vec<_> = (1..)
        .zip(DATABASES)
        .map(|(id, name)| (name, "weekly", id))
        .collect();
    let fixture = Fixture::holding(&shards);
    fixture.backup(&[]).expect(0);
    for folder in ["two words", "it's", "ünï", "-odd", "plain/below", "home"] {
        fs::create_dir_all(fixture.path(folder)).expect("a folder");
    }
    let (host, dir) = (fixture.peer.host(), fixture.dir());
    let profile = format!("[prod]\nhost = \"{host}\"\npath = '{}'\n", dir.display());
    fs::write(fixture.path("notes.toml"), profile).expect("a configuration");
    fixture
}

fn completions(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("completions")
        .join(file);
    utf8(&path).to_owned()
}

/// A shell in the folder of a fixture, with the fixture's configuration.
fn start(fixture: &Fixture, command: &str, variables: &[(&str, &str)]) -> Shell {
    let config = fixture.path("notes.toml");
    let variables = [&[("SNAP_CONFIG", utf8(&config))], variables].concat();
    let home = fixture.path("home");
    Shell::start(command, &home, fixture.folder.path(), &variables)
}

fn bash(fixture: &Fixture) -> Shell {
    let mut shell = start(fixture, "bash --norc --noprofile -i", &[]);
    shell.press(&format!("source '{}'\r", completions("snap.bash")));
    shell
}

/// bash that finds the file itself, as an installed one.
fn bash_with_bash_completion(fixture: &Fixture) -> Shell {
    let folder = fixture.path("home/.local/share/bash-completion/completions");
    fs::create_dir_all(&folder).expect("a folder for completions");
    fs::copy(completions("snap.bash"), folder.join("snap")).expect("copying completions");
    let mut shell = start(fixture, "bash --norc --noprofile -i", &[]);
    shell.press("source /usr/share/bash-completion/bash_completion\r");
    shell
}

/// zsh that finds the file in its `fpath`.
fn zsh(fixture: &Fixture) -> Shell {
    let folder = fixture.path("home/zsh");
    fs::create_dir_all(&folder).expect("a folder for zsh");
    let completions = completions("");
    let setup = format!(
        "fpath=('{completions}' $fpath)\nautoload -Uz compinit\ncompinit -u -d {0}/dump\nPS1='> '\n",
        utf8(&folder)
    );
    fs::write(folder.join(".zshrc"), setup).expect("a configuration of zsh");
    start(fixture, "zsh -d -i", &[("ZDOTDIR", utf8(&folder))])
}

/// fish that finds the file itself, as an installed one.
fn fish(fixture: &Fixture) -> Shell {
    let folder = fixture.path("home/.config/fish/completions");
    fs::create_dir_all(&folder).expect("a folder for completions");
    fs::copy(completions("snap.fish"), folder.join("snap.fish")).expect("copying completions");
    start(fixture, "fish -i", &[])
}

/// What is typed behind `snap`, and what snap is called with.
///
/// Where a directory is begun in quotes, bash closes them, and the others leave them open for what
/// may lie below: `open` closes them.
fn cases(fixture: &Fixture, open: &str) -> Vec<(String, String)> {
    let (host, id) = (fixture.peer.host(), fixture.record()["id"].clone());
    let id = id.as_str().expect("an id");
    let mut cases: Vec<(String, String)> = [
        // Commands and flags, with the dashes that were typed.
        ("ba\t", "<backup>"),
        ("help rest\t", "<help><restore>"),
        ("-prof\tprod list", "<-profile><prod><list>"),
        ("backup -datab\t", "<backup><-database>"),
        ("backup --datab\t", "<backup><--database>"),
        ("backup -data\t", "<backup><-data>"),
        ("backup -rp\t", "<backup><-rp>"),
        (
            "backup -incremental -sinc\t",
            "<backup><-incremental><-sinc>",
        ),
        // Values, behind a blank and behind =.
        ("backup -diale\tau\t", "<backup><-dialect><auto>"),
        ("backup -dialect=1.5\t", "<backup><-dialect=1.5>"),
        ("serve -dialect bo\t", "<serve><-dialect><both>"),
        ("restore -index ts\t", "<restore><-index><tsi1>"),
        ("restore --index=in\t", "<restore><--index=inmem>"),
        (
            "restore -apply-deletes=fa\t",
            "<restore><-apply-deletes=false>",
        ),
        ("generate zs\t", "<generate><zsh>"),
        ("backup -since la\t", "<backup><-since><last>"),
        (
            "forget -timezone Europe/Berl\t",
            "<forget><-timezone><Europe/Berlin>",
        ),
        ("-profile pr\t", "<-profile><prod>"),
        ("backup -config no\t", "<backup><-config><notes.toml>"),
        ("backup -config=no\t", "<backup><-config=notes.toml>"),
        // Nothing, where nothing fits.
        ("backup -jobs \t", "<backup><-jobs>"),
        ("backup -host=\"db\t\"", "<backup><-host=db>"),
        ("list no\t", "<list><no>"),
        ("xyz -\t", "<xyz><->"),
        ("backup -help -\t", "<backup><-help><->"),
        ("backup -unknown\t", "<backup><-unknown>"),
        // Directories, also behind flags; a switch takes no word.
        ("list pla\t", "<list><plain/>"),
        ("list plain/\t", "<list><plain/below/>"),
        ("backup -portable two\t", "<backup><-portable><two words/>"),
        (
            "backup -portable=false ün\t",
            "<backup><-portable=false><ünï/>",
        ),
        ("backup -database x it\t", "<backup><-database><x><it's/>"),
        ("backup -metadir=two\t", "<backup><-metadir=two words/>"),
        ("backup -metadir pla\t", "<backup><-metadir><plain/>"),
        ("list two\\ w\t", "<list><two words/>"),
        ("list -- -o\t", "<list><--><-odd/>"),
        ("list ./-o\t", "<list><./-odd/>"),
        // Sets, also of the directory of a profile.
        ("info backup la\t", "<info><backup><latest>"),
        ("restore backup/ la\t", "<restore><backup/><latest>"),
        ("info ~/../backup la\t", "<info><HOME/../backup><latest>"),
        ("-profile prod info la\t", "<-profile><prod><info><latest>"),
        ("verify plain la\t", "<verify><plain><la>"),
        // Policies.
        (
            "restore backup -retention we\t",
            "<restore><backup><-retention><weekly>",
        ),
        // Of a database whose name another begins with.
        (
            "restore backup -db db -rp \t",
            "<restore><backup><-db><db><-rp><weekly>",
        ),
        (
            "check backup -database db.\t",
            "<check><backup><-database><db.dot>",
        ),
        (
            "backup -profile prod -rp we\t",
            "<backup><-profile><prod><-rp><weekly>",
        ),
    ]
    .map(|(typed, called)| (typed.to_owned(), called.to_owned()))
    .into();
    cases.push((
        format!("list \"two\t{open}"),
        "<list><two words/>".to_owned(),
    ));
    let beginning = &id[..id.len() - 1];
    cases.push((
        format!("verify backup {beginning}\t"),
        format!("<verify><backup><{id}>"),
    ));
    let profile = format!("backup -host={}\t", &host[..host.len() - 1]);
    cases.push((profile, format!("<backup><-host={host}>")));
    for database in DATABASES {
        let begun: String = database.chars().take(3).collect();
        for (typed, called) in [
            (
                format!("backup -host {host} -database {begun}\t"),
                "<backup><-host><HOST><-database><DB>",
            ),
            (
                format!("backup -host={host} --db={begun}\t"),
                "<backup><-host=HOST><--db=DB>",
            ),
            (
                format!("restore backup -database {begun}\t"),
                "<restore><backup><-database><DB>",
            ),
        ] {
            cases.push((typed, called.replace("DB>", &format!("{database}>"))));
        }
    }
    // What is begun in quotes is completed and closed in them.
    for quote in ['"', '\''] {
        let typed = format!("backup -host {host} -database {quote}qu\t");
        cases.push((
            typed,
            format!("<backup><-host><HOST><-database><{}>", DATABASES[1]),
        ));
    }
    let home = fixture.path("home");
    let called = |called: String| called.replace("HOST", &host).replace("HOME", utf8(&home));
    cases
        .into_iter()
        .map(|(typed, expected)| (typed, called(expected)))
        .collect()
}

fn expect_all(shell: &mut Shell, cases: Vec<(String, String)>) {
    let mut wrong = Vec::new();
    for (typed, expected) in cases {
        let called = shell.called_with(&format!("snap {typed}"));
        if called != expected {
            wrong.push(format!("{typed:?}: {called} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn bash_completes_flags_values_paths_and_names() {
    let fixture = fixture();
    let mut shell = bash(&fixture);
    expect_all(&mut shell, cases(&fixture, ""));
    let shown = shell.shows(
        "snap backup -d\t\t",
        &["-database", "-datadir", "-dialect", "-dry-run"],
    );
    assert!(!shown.contains("-db"), "{shown}");
}

#[test]
fn bash_completes_the_same_with_bash_completion() {
    let fixture = fixture();
    expect_all(
        &mut bash_with_bash_completion(&fixture),
        cases(&fixture, ""),
    );
}

#[test]
fn bash_completes_where_equal_signs_and_colons_do_not_separate_words() {
    let fixture = fixture();
    let mut shell = bash(&fixture);
    shell.press("COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]/}\r");
    // readline looks for the path behind = as it looks for a word.
    let is_path = |typed: &str| typed.contains("-metadir=") || typed.contains("-config=");
    let cases = cases(&fixture, "")
        .into_iter()
        .filter(|(typed, _)| !is_path(typed));
    expect_all(&mut shell, cases.collect());
}

#[test]
fn zsh_completes_flags_values_paths_and_names() {
    let fixture = fixture();
    let mut shell = zsh(&fixture);
    // It takes the slash of a directory back where nothing follows.
    let without_slash = |(typed, called): (String, String)| match called.strip_suffix("/>") {
        Some(called) if typed.ends_with('\t') => (typed, format!("{called}>")),
        _ => (typed, called),
    };
    let cases = cases(&fixture, "\"").into_iter().map(without_slash);
    expect_all(&mut shell, cases.collect());
    let expected = ["-database", "-datadir", "-dialect", "-dry-run", "-- "];
    let shown = shell.shows("snap backup -d\t\t", &expected);
    assert!(!shown.contains("-db"), "{shown}");
    shell.shows(
        "snap info backup \t\t",
        &["the newest", "full, complete, 9 shards"],
    );
}

#[test]
fn fish_completes_flags_values_paths_and_names() {
    let fixture = fixture();
    let mut shell = fish(&fixture);
    expect_all(&mut shell, cases(&fixture, "\""));
    let expected = ["-database", "-datadir", "-dialect", "-dry-run"];
    shell.shows("snap backup -d\t\t", &expected);
    shell.shows(
        "snap info backup \t\t",
        &["the newest", "full, complete, 9 shards"],
    );
}

#[test]
fn nobody_waits_for_a_server_that_says_nothing_and_nothing_is_said_of_it() {
    let silent = Stranger::start(Manners::Listens);
    let folder = folder();
    fs::write(folder.path().join("damaged.toml"), "[prod\n").expect("a configuration");
    for host in [
        silent.host(),
        nobody(),
        "no-such-host.invalid".into(),
        "a:b:c:d".into(),
    ] {
        let started = Instant::now();
        let run = Snap::new([
            "__complete",
            "fish",
            "backup",
            "-host",
            &host,
            "-database",
            "",
        ])
        .dir(folder.path())
        .env("SNAP_CONFIG", folder.path().join("damaged.toml"))
        .run()
        .expect(0);
        assert_eq!((&*run.stdout, &*run.stderr), ("none \n", ""), "{host}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{host}: {:?}",
            run.wall
        );
    }
}

#[test]
fn nobody_waits_for_a_configuration_that_cannot_be_read_to_its_end() {
    let folder = folder();
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let args = ["__complete", "fish", "restore", "-index", ""];
    let run = Snap::new(args)
        .env("SNAP_CONFIG", &fifo)
        .run()
        .expect(0)
        .stdout;
    assert_eq!(run, "none \nauto\t\ninmem\t\ntsi1\t\n");
    for flag in ["-profile", "-database"] {
        let run = Snap::new(["__complete", "fish", "restore", flag, ""])
            .env("SNAP_CONFIG", &fifo)
            .run()
            .expect(0);
        assert_eq!((&*run.stdout, &*run.stderr), ("none \n", ""), "{flag}");
    }
}

#[test]
fn names_that_would_act_on_the_terminal_are_not_offered() {
    let shards = [
        ("a\u{1b}]0;owned\u{7}", "rp", 1),
        ("b\nc", "rp", 2),
        ("ok", "rp", 3),
    ];
    let fixture = Fixture::holding(&shards);
    for shell in ["fish", "zsh"] {
        let host = fixture.peer.host();
        let run = Snap::new([
            "__complete",
            shell,
            "backup",
            "-host",
            &host,
            "-database",
            "",
        ])
        .run();
        assert_eq!(run.expect(0).stdout, "none \nok\t\n");
    }
}
