//! The console examples of the documents are run, and print what stands there.
//!
//! In a block of the kind `console`, a line that begins with `$ ` is a command for sh, and the lines
//! below it are what it prints. The blocks of a page are run in order, in a root of their own: below
//! `/var/backups/influxdb` lies the backup of `tests/cmd/sample.in`, and `db.example:8088` serves
//! `testdata/influxd-1.6.7`. A command that fails is followed by `echo $?`. To write what is printed
//! anew: UPDATE_EXAMPLES=1 cargo test --test cli examples

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::service::{Serving, copy};
use crate::support::{folder, utf8};

const BACKUPS: &str = "/var/backups";
const SERVER: &str = "db.example:8088";

#[test]
fn the_examples_of_the_documents_print_what_stands_there() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in [
        "list", "info", "stats", "diff", "verify", "forget", "copy", "check", "restore", "format",
    ] {
        let page = source.join(format!("docs/{name}.md"));
        let text = fs::read_to_string(&page).expect("a page");
        let printed = Stage::new(source).page(&text);
        if env::var_os("UPDATE_EXAMPLES").is_some() {
            fs::write(&page, &printed).expect("writing the page");
            continue;
        }
        assert_ne!(text.matches("```console").count(), 0, "{name} has none");
        for (number, (is, printed)) in (1..).zip(text.lines().zip(printed.lines())) {
            assert_eq!(settled(is), settled(printed), "{name}.md:{number}");
        }
        assert_eq!(text.lines().count(), printed.lines().count(), "{name}.md");
    }
}

#[test]
fn what_differs_from_run_to_run_is_settled_and_nothing_else() {
    for (line, settles) in [
        ("20261126T211841Z  7h54m  full", "20261126T211841Z AGE full"),
        ("20261126T211841Z  9d     full", "20261126T211841Z AGE full"),
        ("SET   AGE    KIND", "SET AGE KIND"),
        ("  what  2 sets in 12.3 s", "  what  2 sets in SECONDS s"),
        ("2 shards, 0.0 s, from", "2 shards, SECONDS s, from"),
        ("  what  2 sets in 12.3 KiB", "  what  2 sets in 12.3 KiB"),
    ] {
        assert_eq!(settled(line), settles);
    }
}

/// A line without what differs from run to run: ages, the widths that follow them, and seconds.
fn settled(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.iter().any(|word| *word == "AGE" || is_age(word)) {
        let aged = words
            .into_iter()
            .map(|word| if is_age(word) { "AGE" } else { word });
        return aged.collect::<Vec<_>>().join(" ");
    }
    let pieces: Vec<&str> = line.split(' ').collect();
    let seconds = pieces.iter().enumerate().map(|(nth, piece)| {
        let unit = pieces.get(nth + 1).map(|unit| unit.trim_end_matches(','));
        match unit {
            Some("s") if piece.parse::<f64>().is_ok() => "SECONDS",
            _ => piece,
        }
    });
    seconds.collect::<Vec<_>>().join(" ")
}

/// Whether a word is an age: `3d4h`.
fn is_age(word: &str) -> bool {
    let units = |c: char| "smhdw".contains(c);
    let numbers = word.split_terminator(units);
    word.ends_with(units)
        && numbers
            .into_iter()
            .all(|number| number.parse::<u32>().is_ok())
}

/// Where the examples of one page are run.
struct Stage {
    root: TempDir,
    server: Serving,
}

impl Stage {
    fn new(source: &Path) -> Self {
        let root = folder();
        let backups = below(&root, BACKUPS);
        fs::create_dir_all(&backups).expect("a folder of backups");
        let sample = source.join("tests/cmd/sample.in/backup");
        copy(&sample, &backups.join("influxdb"));
        let served = root.path().join("served");
        copy(&source.join("testdata/influxd-1.6.7"), &served);
        let server = Serving::start(&served, &["-writable"]);
        Self { root, server }
    }

    /// The page with what its commands print.
    fn page(&self, text: &str) -> String {
        let mut page = String::new();
        let mut in_console = false;
        let mut code = 0;
        // What is printed now takes the place of what was.
        for line in text.lines() {
            if line == "```" {
                in_console = false;
            }
            let command = line.strip_prefix("$ ").filter(|_| in_console);
            if command.is_some() || !in_console {
                page += line;
                page.push('\n');
            }
            if line == "```console" {
                in_console = true;
            }
            if let Some(command) = command {
                assert!(code == 0 || command == "echo $?", "{command}: {code}");
                let (ended, printed) = self.run(command, code);
                code = ended;
                page += &printed;
            }
        }
        page
    }

    /// Runs a command after one that ended with this exit code: its own, and what it prints.
    fn run(&self, command: &str, code_before: i32) -> (i32, String) {
        let root = utf8(self.root.path());
        let host = self.server.host();
        let here = command
            .replace("/var/", &format!("{root}/var/"))
            .replace(SERVER, &host);
        let bin = Path::new(env!("CARGO_BIN_EXE_snap"));
        let path = env::var("PATH").expect("a PATH");
        let path = format!("{}:{path}", utf8(bin.parent().expect("a folder")));
        let mut command = Command::new("sh");
        let own = env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.as_encoded_bytes().starts_with(b"SNAP_")) {
            command.env_remove(name);
        }
        let output = command
            .args(["-c", &format!("exec 2>&1\n(exit {code_before})\n{here}")])
            .current_dir(self.root.path())
            .env("PATH", path)
            // Neither the machine's configuration nor a server of its own.
            .env("SNAP_CONFIG", "")
            .env("SNAP_HOST", "127.0.0.1:1")
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .output()
            .expect("sh runs");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let printed = printed.replace(root, "").replace(&host, SERVER);
        (output.status.code().expect("an exit code"), printed)
    }
}

/// A path of an example, below the root.
fn below(root: &TempDir, path: &str) -> PathBuf {
    root.path().join(path.trim_start_matches('/'))
}
