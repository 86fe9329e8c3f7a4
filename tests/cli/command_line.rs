//! What can be typed, what is printed for it, and what the exit code is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use influx_snap::repository::{Catalog, Selection};
use jiff::Timestamp;
use serde_json::Value;

use crate::support::data::small_server;
use crate::support::process::{Run, Snap, snap};
use crate::support::{folder, tree, utf8};

#[test]
fn every_spelling_of_influxd_asks_for_the_same() {
    let folder = folder();
    let server = small_server(&folder.path().join("server"));
    let host = server.host();
    let asked = |number: usize, flags: &[&str]| -> Selection {
        let backup = folder.path().join(format!("backup {number}"));
        snap([&["backup"], flags, &["-host", &host, utf8(&backup)]].concat()).expect(0);
        Catalog::read(&backup)
            .expect("a backup")
            .records()
            .next()
            .expect("a set")
            .selection
            .clone()
    };
    let (start, end) = ("2020-09-06T23:00:00Z", "2020-09-08T00:00:00.000000001Z");
    let time = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
    let one_shard = Selection {
        database: Some("d".into()),
        retention_policy: Some("autogen".into()),
        shard: Some(1),
        start: time(start),
        end: time(end),
        ..Selection::default()
    };
    let since = Selection {
        database: Some("d".into()),
        since: time("2015-12-24T08:12:23Z"),
        ..Selection::default()
    };
    let cases: [(&[&str], &Selection); 9] = [
        (
            &[
                "-database",
                "d",
                "-retention",
                "autogen",
                "-shard",
                "1",
                "-start",
                start,
                "-end",
                end,
            ],
            &one_shard,
        ),
        (
            &[
                "-db", "d", "-rp", "autogen", "-shard", "1", "-start", start, "-stop", end,
            ],
            &one_shard,
        ),
        (
            &[
                "--database=d",
                "--retention=autogen",
                "--shard=1",
                "--start=2020-09-07T01:00:00+02:00",
                "--end",
                end,
            ],
            &one_shard,
        ),
        (
            &[
                "--db",
                "nosuch",
                "-db=d",
                "-rp=autogen",
                "-shard=1",
                "-start",
                "2020-09-06 23:00:00",
                "-stop",
                end,
            ],
            &one_shard,
        ),
        (&["-db", "d", "-since", "2015-12-24T08:12:23Z"], &since),
        (&["-db", "d", "-since", "2015-12-24T08:12:23"], &since),
        (
            &[
                "-db",
                "d",
                "-since",
                "2015-12-24T09:12:23.0+01:00",
                "-skip-errors=false",
                "-quiet=F",
            ],
            &since,
        ),
        (
            &[
                "-skip-errors",
                "-since=2015-12-24T08:12:23Z",
                "-json=0",
                "-verbose=t",
                "-database=d",
            ],
            &since,
        ),
        (
            &["-include-internal=FALSE", "-meta-only=False", "-dry-run=0"],
            &Selection::default(),
        ),
    ];
    for (number, (flags, expected)) in cases.into_iter().enumerate() {
        assert_eq!(asked(number, flags), *expected, "{flags:?}");
    }
    assert!(
        asked(100, &["-include-internal"]).include_internal
            && asked(101, &["-meta-only=1"]).meta_only
    );

    let restored = |number: usize, flags: &[&str]| {
        let target = folder.path().join(format!("target {number}"));
        let (meta, data) = (target.join("meta"), target.join("data"));
        let backup = folder.path().join("backup 8");
        let (meta, data) = (
            format!("-metadir={}", utf8(&meta)),
            format!("--datadir={}", utf8(&data)),
        );
        snap([&["restore", &meta, &data], flags, &[utf8(&backup)]].concat()).expect(0);
        tree::files(&target.join("data"))
            .into_keys()
            .collect::<Vec<_>>()
    };
    let renamed = ["e/r/1/000000001-000000001.tsm"];
    assert_eq!(
        restored(
            0,
            &[
                "-database",
                "d",
                "-retention",
                "autogen",
                "-newdb",
                "e",
                "-newrp",
                "r"
            ]
        ),
        renamed
    );
    assert_eq!(
        restored(
            1,
            &[
                "-db",
                "d",
                "-rp",
                "autogen",
                "-newdb=e",
                "--newrp=r",
                "-force=false",
                "-merge=f"
            ]
        ),
        renamed
    );
    let whole = ["d/autogen/1/000000001-000000001.tsm"];
    assert_eq!(restored(2, &["--db=d", "--rp=autogen", "--shard=1"]), whole);
}

#[test]
fn the_directory_and_the_host_come_from_the_environment_or_have_defaults() {
    let folder = folder();
    let server = small_server(&folder.path().join("server"));
    let here = folder.path().join("here");
    fs::create_dir(&here).expect("a directory");
    let run = |args: &[&str], environment: &[(&str, &str)]| -> Run {
        let prepared = Snap::new(args).dir(&here).env("SNAP_HOST", server.host());
        environment
            .iter()
            .fold(prepared, |run, (name, value)| run.env(name, value))
            .run()
    };
    let made = |run: Run, directory: &str| {
        let run = run.expect(0);
        assert!(
            run.stdout.contains(directory) && run.stderr.contains(directory),
            "{}{}",
            run.stdout,
            run.stderr
        );
        assert!(
            here.join(directory).join("meta.00").exists(),
            "no {directory}: {:?}",
            tree::names(&here)
        );
        fs::remove_dir_all(here.join(directory)).expect("removing a backup");
        assert_eq!(tree::names(&here), [""; 0]);
    };
    made(
        run(&["backup", "-database", "d", "-since", "7d"], &[]),
        "backup",
    );
    made(
        run(&["backup"], &[("SNAP_DIR", "from environment")]),
        "from environment",
    );
    made(run(&["backup"], &[("SNAP_DIR", "")]), "backup");
    made(
        run(&["backup", "named"], &[("SNAP_DIR", "from environment")]),
        "named",
    );
    made(run(&["backup", "--", "-named"], &[]), "-named");
    // As in Go, a boolean takes its value behind = only.
    made(run(&["backup", "-skip-errors", "false"], &[]), "false");

    run(&["backup"], &[("SNAP_HOST", "127.0.0.1:1")]).expect(5);
    made(
        run(
            &["backup", "-host", &server.host()],
            &[("SNAP_HOST", "127.0.0.1:1")],
        ),
        "backup",
    );
    let refused = run(&["restore", "-metadir", "m"], &[("SNAP_DIR", "nowhere")]).expect(10);
    assert!(
        refused.stderr.contains("nowhere") && refused.stderr.contains("SNAP_DIR"),
        "{}",
        refused.stderr
    );
    let refused = run(&["restore", "-metadir", "m"], &[]).expect(10);
    assert!(refused.stderr.contains("backup"), "{}", refused.stderr);
    assert_eq!(tree::names(&here), [""; 0]);
}

#[test]
fn what_makes_no_sense_is_a_usage_error_that_says_what_to_write() {
    let folder = folder();
    // The command line and a word that its advice must hold.
    let cases: &[(&[&str], &str)] = &[
        (
            &["backup", "-since", "24h", "-start", "2020-01-01"],
            "one or the other",
        ),
        (
            &["backup", "-since", "24h", "-end", "2020-01-01"],
            "one or the other",
        ),
        (
            &["backup", "-start", "2020-01-02", "-end", "2020-01-01"],
            "before",
        ),
        (&["backup", "-meta-only", "-shard", "1"], "-meta-only"),
        (
            &["backup", "-retention", "autogen"],
            "-retention needs -database",
        ),
        (&["backup", "-since", "yesterday"], "RFC 3339"),
        (&["backup", "-since"], "since"),
        (&["backup", "-jobs", "0"], "jobs"),
        (&["backup", "-host", "http://db:8086"], "8088"),
        (
            &["backup", "-databse", "db"],
            "snap: unknown flag -databse; did you mean -database?",
        ),
        (&["backup", "-quiet=maybe"], "quiet"),
        (&["backup", "-dialect", "2"], "dialect"),
        (&["backup", "one", "two"], "two"),
        (&["backup", "-metadir", "m"], "metadir"),
        (&["restore"], "-metadir"),
        (&["restore", "-datadir", "d"], "-database"),
        (&["restore", "-metadir", "m", "-newdb", "new"], "-database"),
        (
            &["restore", "-metadir", "m", "-retention", "rp"],
            "-database",
        ),
        (
            &[
                "restore",
                "-metadir",
                "m",
                "-database",
                "d",
                "-newrp",
                "new",
            ],
            "-retention",
        ),
        (
            &["restore", "-metadir", "m", "-force", "-merge"],
            "choose one",
        ),
        (
            &["restore", "-datadir", "d", "-database", "d", "-merge"],
            "-metadir",
        ),
        (&["restore", "-metadir", "m", "-index", "tsi2"], "tsi1"),
        (&["forget"], "-keep-last"),
        (&["forget", "-keep-last", "0"], "-keep-last"),
        (&["forget", "-keep-weekly", "many"], "unlimited"),
        (
            &["forget", "-keep-last", "1", "-timezone", "Nowhere"],
            "Europe/Berlin",
        ),
        (&["keep"], "SET"),
        (&["resotre", "-metadir", "m"], "restore"),
        (&["generate"], "KIND"),
        (&["generate", "csh"], "bash"),
        (&[], "backup"),
    ];
    for (args, advice) in cases {
        let run = Snap::new(*args).dir(folder.path()).run();
        assert_eq!(run.code, Some(2), "{args:?}\n{}", run.stderr);
        assert!(
            run.stderr.contains(advice),
            "{args:?} without {advice:?}: {}",
            run.stderr
        );
        assert!(run.stdout.is_empty(), "{args:?}: {}", run.stdout);
    }
    assert_eq!(tree::names(folder.path()), [""; 0]);
}

#[test]
fn help_is_a_screen_or_a_page_however_it_is_asked_for() {
    for command in ["backup", "restore"] {
        let pages: Vec<String> = [[command, "-help"], [command, "--help"], ["help", command]]
            .iter()
            .map(|line| snap(line).expect(0).stdout)
            .collect();
        let page = &pages[0];
        assert!(pages.iter().all(|other| other == page), "{command}");
        let screen = snap([command, "-h"]).expect(0).stdout;
        for text in [page, &screen] {
            assert!(
                text.contains(&format!("Examples:\n  snap {command} ")),
                "{text}"
            );
            for flag in [
                "-database NAME",
                "-retention",
                "-shard",
                "-host",
                "-dry-run",
                "-quiet",
                "-json",
                "SNAP_DIR",
            ] {
                assert!(
                    text.contains(flag),
                    "{flag} is not in the help of {command}: {text}"
                );
            }
        }
        assert!(page.contains("-attempt-timeout") && !screen.contains("-attempt-timeout"));
    }
    let page = snap(["generate", "-help"]).expect(0).stdout;
    assert!(
        [
            "man",
            "config",
            "bash",
            "zsh",
            "fish",
            "powershell",
            "elvish"
        ]
        .iter()
        .all(|kind| page.contains(kind)),
        "{page}"
    );
    let page = snap(["-help"]).expect(0).stdout;
    assert_eq!(page, snap(["help"]).expect(0).stdout);
    assert!(
        page.contains("Exit codes") && page.contains("11 "),
        "{page}"
    );
    for word in ["-version", "version", "-v", "-V"] {
        let version = snap([word]).expect(0).stdout;
        assert_eq!(version.trim(), concat!("snap ", env!("CARGO_PKG_VERSION")));
    }
    // Without a command, the screen is an error.
    let none = snap([""; 0]).expect(2);
    assert_eq!(none.stderr, snap(["-h"]).expect(0).stdout);
}

/// An offline restore with a flag.
fn restore_args<'a>(
    flag: &'a str,
    meta: &'a Path,
    data: &'a Path,
    backup: &'a Path,
) -> [&'a str; 7] {
    let [meta, data, backup] = [meta, data, backup].map(utf8);
    ["restore", flag, "-metadir", meta, "-datadir", data, backup]
}

#[test]
fn quiet_prints_errors_alone() {
    let folder = folder();
    let server = small_server(&folder.path().join("server"));
    let (host, backup) = (server.host(), folder.path().join("backup"));
    let (meta, data) = (folder.path().join("meta"), folder.path().join("data"));
    let restore = restore_args("-quiet", &meta, &data, &backup);
    for args in [
        &["backup", "-host", &host, "-quiet", utf8(&backup)][..],
        &restore,
    ] {
        let run = snap(args).expect(0);
        assert!(
            run.stdout.is_empty() && run.stderr.is_empty(),
            "{args:?}: {}{}",
            run.stdout,
            run.stderr
        );
    }
    let refused = snap(restore).expect(6);
    assert!(
        refused.stdout.is_empty() && refused.stderr.starts_with("snap: "),
        "{}{}",
        refused.stdout,
        refused.stderr
    );

    // With -verbose, each shard has a line on standard error; the result is on standard output.
    let run = snap(["backup", "-verbose", "-host", &host, utf8(&backup)]).expect(0);
    assert_eq!(
        run.stderr
            .lines()
            .filter(|line| line.starts_with("shard d/autogen/1: "))
            .count(),
        1,
        "{}",
        run.stderr
    );
    assert!(
        run.stdout.lines().count() == 1 && run.stdout.contains("1 shard"),
        "{}",
        run.stdout
    );
    assert!(
        !format!("{}{}", run.stdout, run.stderr).contains('\u{1b}'),
        "escapes that no terminal asked for"
    );
}

/// The messages of a run, each with its type.
fn messages(run: &Run) -> Vec<(String, Value)> {
    assert!(
        run.stderr.is_empty(),
        "text beside the JSON: {}",
        run.stderr
    );
    let typed = |message: Value| {
        let kind = message["message_type"]
            .as_str()
            .unwrap_or_else(|| panic!("no message_type in {message}"))
            .to_owned();
        (kind, message)
    };
    run.messages().into_iter().map(typed).collect()
}

#[test]
fn json_is_lines_with_a_type_that_end_in_a_summary_or_an_error() {
    let folder = folder();
    let server = small_server(&folder.path().join("server"));
    let (host, backup) = (server.host(), folder.path().join("backup"));
    let (meta, data) = (folder.path().join("meta"), folder.path().join("data"));
    let restore = restore_args("-json", &meta, &data, &backup);
    for args in [
        &["backup", "-json", "-host", &host, utf8(&backup)][..],
        &restore,
    ] {
        let messages = messages(&snap(args).expect(0));
        let (kind, summary) = messages.last().expect("a message");
        assert_eq!(
            (kind.as_str(), &summary["command"], &summary["shards"]),
            ("summary", &args[0].into(), &1.into())
        );
        assert!(
            summary["bytes"].as_u64().is_some_and(|bytes| bytes > 0),
            "{summary}"
        );
        assert_eq!(summary["directory"], utf8(&backup));
        let shards: Vec<&Value> = messages
            .iter()
            .filter(|(kind, _)| kind == "shard")
            .map(|(_, message)| message)
            .collect();
        assert!(
            shards.len() == 1 && shards[0]["database"] == "d" && shards[0]["shard"] == 1,
            "{shards:?}"
        );
        assert!(
            shards[0]["state"] == "done" && shards[0]["retention_policy"] == "autogen",
            "{shards:?}"
        );
        let known = ["status", "shard", "summary"];
        assert!(
            messages
                .iter()
                .all(|(kind, _)| known.contains(&kind.as_str())),
            "{messages:?}"
        );
    }
    let set = Catalog::read(&backup)
        .expect("a backup")
        .records()
        .next()
        .expect("a set")
        .id
        .clone();
    let again =
        messages(&snap(["backup", "-json", "-verbose", "-host", &host, utf8(&backup)]).expect(0));
    let (_, summary) = again.last().expect("a message");
    assert!(
        summary["set"].as_str().is_some_and(|id| id > set.as_str()) && summary["number"] == 1,
        "{summary}"
    );

    let nowhere = folder.path().join("nowhere");
    let failures: [(&[&str], i32); 5] = [
        (&restore, 6),
        (
            &["restore", "-json", "-metadir", utf8(&meta), utf8(&nowhere)],
            10,
        ),
        (
            &["backup", "-json", "-host", "127.0.0.1:1", utf8(&backup)],
            5,
        ),
        (
            &[
                "backup",
                "-json",
                "-database",
                "D",
                "-host",
                &host,
                utf8(&backup),
            ],
            1,
        ),
        (
            &[
                "backup",
                "-json",
                "-since",
                "1h",
                "-start",
                "2020-01-01",
                utf8(&backup),
            ],
            2,
        ),
    ];
    for (args, code) in failures {
        let messages = messages(&snap(args).expect(code));
        let (kind, error) = messages.last().expect("a message");
        assert_eq!(
            (kind.as_str(), &error["code"]),
            ("exit_error", &code.into()),
            "{args:?}"
        );
        assert!(
            error["message"].is_string() && error["hint"].is_string(),
            "{args:?}: {error}"
        );
        assert!(
            !messages.iter().any(|(kind, _)| kind == "summary"),
            "{args:?}: {messages:?}"
        );
    }
}

/// The completions that `snap generate` makes and where they are kept.
const GENERATED: [(&str, &str); 5] = [
    ("bash", "snap.bash"),
    ("zsh", "_snap"),
    ("fish", "snap.fish"),
    ("powershell", "_snap.ps1"),
    ("elvish", "snap.elv"),
];

/// With `UPDATE_COMPLETIONS=1` in the environment, writes the files anew.
#[test]
fn the_completions_in_the_repository_are_current() {
    for (kind, file) in GENERATED {
        let generated = snap(["generate", kind]).expect(0).stdout;
        let holds: &[&str] = match kind {
            "man" | "powershell" => &["skip-errors", "newdb", "include-internal"],
            // Those that were written by hand ask snap.
            _ => &["__complete"],
        };
        for text in holds {
            let is_there = generated.replace('\\', "").contains(text);
            assert!(is_there, "{kind} without {text}");
        }
        keep_or_compare(file, &generated);
    }
}

/// Compares a file of `completions` with what is generated for it, or writes it anew.
fn keep_or_compare(file: &str, generated: &str) {
    let path = completions().join(file);
    if env::var_os("UPDATE_COMPLETIONS").is_some_and(|value| value == "1") {
        fs::write(&path, generated).unwrap_or_else(|error| panic!("writing {file}: {error}"));
    }
    let current = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(
        current == generated,
        "completions/{file} is not current: run this test with UPDATE_COMPLETIONS=1"
    );
}

fn completions() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("completions")
}

/// With `UPDATE_COMPLETIONS=1` in the environment, writes the files anew. mandoc is needed.
#[test]
fn every_command_has_a_manual_page_that_mandoc_finds_no_fault_with() {
    let folder = folder();
    let manual = folder.path().join("man/man1");
    snap(["generate", "man", "-dir", utf8(&manual)]).expect(0);
    let pages = tree::names(&manual);
    let help = snap(["-h"]).expect(0).stdout;
    let commands: Vec<&str> = help
        .split("Commands:\n")
        .nth(1)
        .expect("the commands")
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(pages.len(), commands.len() + 1, "{pages:?} {commands:?}");
    for command in commands {
        let page = snap(["generate", "man", command]).expect(0).stdout;
        for section in [
            "ENVIRONMENT",
            "FILES",
            "EXIT STATUS",
            "EXAMPLES",
            "SEE ALSO",
        ] {
            assert!(
                page.contains(&format!(".SH {section}\n")),
                "{command}: {section}"
            );
        }
        assert!(pages.contains(&format!("snap-{command}.1")), "{command}");
        assert!(page.contains(".B NO_COLOR, CLICOLOR=0\n"), "{command}");
    }
    for name in &pages {
        let file = manual.join(name);
        let linted = Command::new("mandoc")
            .args(["-Tlint", utf8(&file)])
            .output()
            .expect("mandoc");
        let said = String::from_utf8_lossy(&linted.stdout);
        assert!(linted.status.success() && said.is_empty(), "{said}");
        keep_or_compare(name, &fs::read_to_string(&file).expect("a page"));
    }
    let kept = tree::names(&completions());
    let kept = kept.iter().filter(|name| name.ends_with(".1"));
    assert_eq!(kept.count(), pages.len());
    // One page alone goes to standard output.
    let page = snap(["generate", "man"]).expect(0).stdout;
    assert_eq!(
        page,
        fs::read_to_string(manual.join("snap.1")).expect("a page")
    );
    let refused = snap(["generate", "man", "prune"]).expect(2);
    assert!(
        refused.stderr.contains("backup, restore"),
        "{}",
        refused.stderr
    );
    let refused = snap(["generate", "bash", "backup"]).expect(2);
    assert!(refused.stderr.contains("man"), "{}", refused.stderr);
}

/// A configuration of which all lines count names no flag that there is not.
#[test]
fn the_example_configuration_is_one_with_each_of_its_lines() {
    let folder = folder();
    let example = snap(["generate", "config"]).expect(0).stdout;
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(
        uncommented
            .lines()
            .filter(|line| line.contains(" = "))
            .count()
            > 15
    );
    for text in [&example, &uncommented] {
        let file = folder.path().join("config.toml");
        fs::write(&file, text).expect("a configuration");
        for profile in ["default", "prod"] {
            let flags = [
                "list",
                "-config",
                utf8(&file),
                "-profile",
                profile,
                "nowhere",
            ];
            let run = Snap::new(flags).dir(folder.path()).run();
            // It is read whole before a command runs.
            assert_eq!(run.code, Some(10), "{}", run.stderr);
        }
    }
}

#[test]
fn a_flag_without_its_value_does_nothing_and_is_named() {
    let folder = folder();
    let here = folder.path();
    fs::write(here.join("snap.toml"), "[empty]\ndatabase = \"\"\n").expect("a configuration");
    let run = |line: &[&str]| {
        Snap::new(line)
            .dir(here)
            .env("SNAP_HOST", "127.0.0.1:1")
            .run()
            .expect(2)
    };
    for (line, said) in [
        (&["backup", "-host", ""][..], "the value of -host is empty"),
        (&["backup", "-host=", "dir"], "the value of -host is empty"),
        (
            &["backup", "-db", "", "dir"],
            "the value of -database is empty",
        ),
        (
            &["restore", "-online", "-newdb", "", "dir"],
            "the value of -newdb is empty",
        ),
        (
            &["restore", "-metadir", "", "-datadir", "", "dir"],
            "the value of -metadir is empty",
        ),
        (&["info", "-host", ""], "the value of -host is empty"),
        (
            &["serve", "-metadir", "m", "-datadir", "d", "-bind", ""],
            "the value of -bind is empty",
        ),
        (&["forget", "-keep-last", "1", ""], "an argument is empty"),
        (
            &["backup", "-config", "snap.toml", "-profile", "empty"],
            "the value of 'database' is empty",
        ),
    ] {
        let run = run(line);
        assert!(run.stderr.contains(said), "{line:?}: {}", run.stderr);
        assert!(run.stderr.contains("hint: "), "{line:?}: {}", run.stderr);
    }
    assert_eq!(tree::names(here), ["snap.toml"]);
    // In the environment, nothing is as good as not set.
    let unset = Snap::new(["backup", "-connect-timeout", "1s"])
        .dir(here)
        .env("SNAP_DATABASE", "")
        .env("SNAP_HOST", "")
        .run();
    assert!(
        unset.stderr.contains("127.0.0.1:8088") && unset.code != Some(2),
        "{}",
        unset.stderr
    );
}
