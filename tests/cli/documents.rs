//! The documents hold what they promise: their commands are the ones that are run, their links lead
//! somewhere, and the messages they explain are printed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::service::{Serving, ask, copy};
use crate::support::{folder, utf8};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs"))
        .expect("a folder docs")
        .map(|entry| entry.expect("an entry").path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages
        .chain(["README.md", "CHANGELOG.md", "docs/schema/README.md"].map(|name| root().join(name)))
        .collect()
}

#[test]
fn the_commands_of_the_readme_are_run_word_for_word() {
    let readme = read(&root().join("README.md"));
    let commands: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("./.ci/setup"))
        .collect();
    let [main_job, tests] = commands[..] else {
        panic!("two commands: {commands:?}");
    };
    let run = read(&root().join(".ci/run"));
    for command in [main_job, tests] {
        assert!(run.lines().any(|line| line == command), "{command}");
    }
    // What only the tests need, influxd above all, is not brought by the other command.
    assert!(main_job.starts_with("./.ci/setup && "), "{main_job}");
    assert!(tests.starts_with("./.ci/setup tests && "), "{tests}");
    let contributing = read(&root().join("CONTRIBUTING.md"));
    assert!(contributing.contains(&format!("\n    {tests}\n")));
}

#[test]
fn every_link_between_the_documents_leads_to_a_file_and_a_heading() {
    for document in documents() {
        let text = read(&document);
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                document.clone()
            } else {
                document.parent().expect("a folder").join(path)
            };
            assert!(target.exists(), "{}: {link}", document.display());
            let known = heading.is_empty()
                || headings(&read(&target))
                    .iter()
                    .any(|known| known == heading);
            assert!(known, "{}: no heading for {link}", document.display());
        }
    }
}

#[test]
fn a_page_longer_than_three_screens_begins_with_its_contents() {
    const SCREEN: usize = 40;
    for document in documents() {
        let text = read(&document);
        if text.lines().count() <= 3 * SCREEN || document.ends_with("CHANGELOG.md") {
            continue;
        }
        let (before, _) = text.split_once("\n## ").expect("a section");
        for section in text.lines().filter(|line| line.starts_with("## ")) {
            for anchor in headings(section) {
                assert!(
                    before.contains(&format!("](#{anchor})")),
                    "{}: no link to {section}",
                    document.display()
                );
            }
        }
    }
}

/// The anchors that a page's headings get.
fn headings(text: &str) -> Vec<String> {
    let anchor = |heading: &str| -> String {
        let kept = heading
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| {
            if c == ' ' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_file_that_the_map_of_the_code_names_is_there() {
    let map = read(&root().join("docs/architecture.md"));
    let names: Vec<&str> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains('/') && name.ends_with(".rs"))
        .collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        let path = name.strip_prefix("src/").unwrap_or(name);
        let places = ["src", ""].map(|folder| root().join(folder).join(path));
        assert!(places.iter().any(|place| place.is_file()), "{name}");
    }
}

#[test]
fn every_command_and_exit_code_has_its_place_in_the_documents() {
    let readme = read(&root().join("README.md"));
    for (command, codes) in [
        ("backup", &["0", "1", "2", "6"][..]),
        ("restore", &["0", "1", "2", "6"]),
        ("serve", &["0", "1", "2", "6"]),
        ("forget", &["0", "1", "2", "4", "10", "11"]),
        ("copy", &["0", "1", "2", "4", "5", "6", "10", "11"]),
        ("export", &["0", "1", "2", "3", "4", "6", "10"]),
    ] {
        let page = read(&root().join(format!("docs/{command}.md")));
        assert!(
            readme.contains(&format!("docs/{command}.md")),
            "{command} is not linked"
        );
        for code in codes {
            assert!(
                page.contains(&format!("| {code} |")) || page.contains(&format!("`{code}`")),
                "{command}: exit code {code}"
            );
        }
    }
}

#[test]
fn the_replies_of_the_protocol_page_are_what_serve_sends() {
    let page = read(&root().join("docs/protocol.md"));
    let place = folder();
    let served = place.path().join("served");
    copy(&root().join("testdata/influxd-1.6.7"), &served);
    let server = Serving::start(&served, &[]);
    for (section, request) in [
        ("Metastore", &b"\x03\x01{}\n"[..]),
        (
            "Database info",
            b"\x03\x03{\"BackupDatabase\":\"db.dot\"}\n",
        ),
        ("Shard", b"\x03\x00{\"ShardID\":22}\n"),
    ] {
        let reply = ask(server.address(), request);
        let shown = shown_bytes(&page, section);
        assert!(shown.len() >= 2, "{section}: {shown:?}");
        for (offset, bytes) in shown {
            // Mode, owner and time of a file, and the checksum over them, are the machine's.
            if section == "Shard" && (0x60..0xa0).contains(&offset) {
                continue;
            }
            let sent = reply.get(offset..offset + bytes.len());
            assert_eq!(sent, Some(&bytes[..]), "{section}: {offset:08x}");
        }
    }
}

/// The bytes in hexadecimal in a section of a page, with their offsets.
fn shown_bytes(page: &str, section: &str) -> Vec<(usize, Vec<u8>)> {
    let (_, text) = page
        .split_once(&format!("\n## {section}\n"))
        .expect("a section");
    let text = text.split("\n## ").next().expect("its text");
    let line = |line: &str| {
        let (offset, rest) = line.strip_prefix("    ")?.split_once(": ")?;
        let offset = usize::from_str_radix(offset, 16).ok()?;
        let digits: String = rest.split("  ").next()?.split(' ').collect();
        let bytes = (0..digits.len()).step_by(2).map(|at| {
            let byte = digits.get(at..at + 2)?;
            u8::from_str_radix(byte, 16).ok()
        });
        Some((offset, bytes.collect::<Option<Vec<u8>>>()?))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn every_message_of_the_troubleshooting_page_is_in_the_sources() {
    let page = read(&root().join("docs/troubleshooting.md"));
    let (of_snap, of_influxd) = page
        .split_once("\n## Messages of influxd\n")
        .expect("a section of influxd's messages");
    assert!(of_influxd.contains("| `"));
    let sources = sources(&root().join("src"));
    let messages: Vec<&str> = of_snap
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert!(messages.len() > 50, "{messages:?}");
    for message in messages {
        // What stands for a name or a number is not looked for.
        let parts: Vec<&str> = message.split('…').map(str::trim).collect();
        assert!(parts.iter().any(|part| part.len() >= 7), "{message}");
        for part in parts {
            assert!(sources.contains(part), "{message}: no '{part}' in src");
        }
    }
}

/// The code below a folder without its tests and comments, each string on one line.
fn sources(folder: &Path) -> String {
    let mut code = String::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            code += &sources(&path);
        } else if !utf8(&path).ends_with("tests.rs") {
            let text = read(&path);
            let kept = text.split("#[cfg(test)]\nmod ").next().expect("a part");
            let lines = kept.lines().map(str::trim_start);
            for line in lines.filter(|line| !line.starts_with("//")) {
                match line.strip_suffix('\\') {
                    Some(begun) => code += begun,
                    None => code.extend([line, "\n"]),
                }
            }
        }
    }
    code.replace("\\\"", "\"")
}
