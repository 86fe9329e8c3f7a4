//! Manual pages in roff, for `man`: macros of man(7) that mandoc and groff agree on.

use clap::Command;

use super::text::wrapped;
use super::{
    about, examples, exit_codes, flag, groups, is_program, meaning, name, paragraphs, usage,
};
use crate::cli::flags::defaults::variables;
use crate::cli::flags::known::value_name;

/// How wide the source is, before escapes.
const WIDTH: usize = 66;

/// When the manual was last changed, for the foot of each page.
const DATE: &str = "2026-11-27";

/// Files that are read or written, and what they are.
const FILES: [(&str, &str); 7] = [
    (
        "~/.config/snap/config.toml, /etc/snap.toml",
        "The configuration: profiles with flags. The first of the two that is there is read; \
         $XDG_CONFIG_HOME stands in for ~/.config. `snap generate config` prints an example.",
    ),
    (
        "PATH/meta.NN, PATH/DB.RP.ID.NN",
        "A set in the layout of `influxd backup`: the metastore, and a tar for each shard.",
    ),
    (
        "PATH/STAMP.manifest, PATH/STAMP.meta, PATH/STAMP.sID.tar.gz",
        "A set in the layout of `influxd backup -portable`.",
    ),
    (
        "PATH/.snap",
        "The records of the sets, and what a run needs meanwhile. Copy it with the directory.",
    ),
    (
        "PATH/.snap/lock",
        "The lock of the directory: one run that writes at a time. Object storage has none.",
    ),
    (
        "~/.local/state/snap",
        "Journals of restores from object storage into a running server, for `restore -resume`; \
         $XDG_STATE_HOME stands in for ~/.local/state.",
    ),
    (
        "~/.aws/config, ~/.aws/credentials",
        "Credentials, region and endpoint for s3:// URLs, where neither a profile of the \
         configuration nor the environment has them.",
    ),
];

/// The commands that read or write a repository.
const WITH_PATH: &[&str] = &[
    "backup", "restore", "list", "info", "stats", "verify", "check", "forget", "keep", "copy",
    "export",
];

/// Variables that are no flags of ours, what each does, and the commands that heed it; none where
/// all do.
const VARIABLES: [(&str, &str, &[&str]); 12] = [
    (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE",
        "Credentials for s3:// URLs, or the profile in ~/.aws that has them.",
        WITH_PATH,
    ),
    (
        "AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_CA_BUNDLE",
        "For s3:// URLs: the service if it is not Amazon, the region of the bucket, and \
         certificates to trust.",
        WITH_PATH,
    ),
    (
        "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, \
         AZURE_STORAGE_CONNECTION_STRING",
        "The account and credentials for az:// URLs.",
        WITH_PATH,
    ),
    (
        "COLUMNS",
        "How wide tables are, in place of the terminal's width.",
        &["list", "info", "stats", "verify", "forget"],
    ),
    (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "The key file of a service account, for gs:// URLs.",
        WITH_PATH,
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, NO_PROXY",
        "The proxy that object storage is reached through, and the hosts that are reached without.",
        WITH_PATH,
    ),
    (
        "NO_COLOR, CLICOLOR=0",
        "If one of them is set, nothing is coloured.",
        &[],
    ),
    (
        "SNAP_S3_CHECKSUM",
        "If it is sha256, uploads to s3:// URLs carry a checksum of S3, as buckets with Object Lock \
         demand.",
        WITH_PATH,
    ),
    (
        "TERM",
        "If it is dumb, nothing is coloured, and progress is printed in lines.",
        &[],
    ),
    (
        "TMPDIR",
        "Where temporary files are made of shards that are rewritten or looked into, in place of \
         /tmp.",
        &["backup", "restore", "serve", "verify"],
    ),
    (
        "XDG_CONFIG_HOME",
        "Where snap/config.toml is looked for, in place of ~/.config.",
        &[],
    ),
    (
        "XDG_STATE_HOME",
        "Where the journal of a restore from object storage into a running server is kept, in place \
         of ~/.local/state.",
        &["restore"],
    ),
];

/// The name of a command's page as a file: `snap-backup.1`.
pub(crate) fn file_name(command: &Command) -> String {
    format!("{}.1", name(command).replace(' ', "-"))
}

/// The page of a command, or of the program itself.
pub(crate) fn page(root: &Command, command: &Command) -> String {
    let title = name(command).replace(' ', "-");
    let version = env!("CARGO_PKG_VERSION");
    let mut page = Roff(format!(
        ".TH {} 1 \"{DATE}\" \"snap {version}\" \"snap manual\"\n",
        title.to_uppercase()
    ));
    page.section("NAME");
    page.text(&format!("{title} - {}", about(command)));
    page.section("SYNOPSIS");
    page.line(&format!(".B {}", escaped(&usage(command))));
    page.section("DESCRIPTION");
    page.text(&format!("{}.", about(command)));
    for paragraph in paragraphs(command) {
        page.paragraph(&paragraph);
    }
    if is_program(command) {
        page.section("COMMANDS");
        for command in root.get_subcommands() {
            page.entry(
                command.get_name(),
                &format!("{}. See snap-{}(1).", about(command), command.get_name()),
            );
        }
    }
    if command.get_positionals().next().is_some() {
        page.section("ARGUMENTS");
        for arg in command.get_positionals() {
            page.entry(value_name(arg), &meaning(arg, true));
        }
    }
    page.section("OPTIONS");
    page.line("Flags take one dash or two; the value follows a space or an equals sign.");
    page.line("A switch is turned on by its name, and off with");
    page.line(".IR =false .");
    for (heading, flags) in groups(command, true) {
        page.line(&format!(".SS {}", escaped(&heading)));
        for arg in flags {
            page.entry(&flag(arg), &meaning(arg, true));
        }
    }
    page.section("ENVIRONMENT");
    for (variable, what) in variables(root, command) {
        page.entry(&variable, &what);
    }
    for (variable, what, commands) in VARIABLES {
        if is_program(command) || commands.is_empty() || commands.contains(&command.get_name()) {
            page.entry(variable, what);
        }
    }
    page.section("FILES");
    for (file, what) in FILES {
        page.entry(file, what);
    }
    page.section("EXIT STATUS");
    let of = (!is_program(command)).then(|| command.get_name());
    for (code, what) in exit_codes(of) {
        page.entry(code, &format!("{what}."));
    }
    page.section("EXAMPLES");
    page.line(".nf");
    for example in examples(command) {
        page.line(&escaped(&example));
    }
    page.line(".fi");
    page.section("SEE ALSO");
    let others = root.get_subcommands().chain([root]);
    let others = others.filter(|other| other.get_name() != command.get_name());
    let mut others: Vec<String> = others.map(|other| name(other).replace(' ', "-")).collect();
    others.push("influxd".to_owned());
    others.sort();
    let last = others.len() - 1;
    for (at, other) in others.iter().enumerate() {
        let comma = if at == last { "" } else { " ," };
        page.line(&format!(".BR {} (1){comma}", escaped(other)).replace(") ,", "),"));
    }
    page.0
}

/// A page that grows from its top.
struct Roff(String);

impl Roff {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, heading: &str) {
        self.line(&format!(".SH {heading}"));
    }

    fn paragraph(&mut self, text: &str) {
        self.line(".PP");
        self.text(text);
    }

    /// A name, and what it means set in below it.
    fn entry(&mut self, name: &str, meaning: &str) {
        self.line(".TP");
        self.line(&format!(".B {}", escaped(name)));
        self.text(meaning);
    }

    /// A text, a sentence a line, so that the space behind a full stop is the reader's.
    fn text(&mut self, text: &str) {
        for sentence in sentences(text) {
            for line in wrapped(sentence, WIDTH) {
                self.line(&escaped(&line));
            }
        }
    }
}

/// The sentences of a text: each ends in a full stop before a space and a capital or a flag.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut rest = text.trim();
    let mut from = 0;
    while let Some(at) = rest[from..].find(". ").map(|at| from + at + 1) {
        let next = rest[at..].trim_start();
        if next.starts_with(|c: char| c.is_uppercase() || c == '-') {
            sentences.push(&rest[..at]);
            (rest, from) = (next, 0);
        } else {
            from = at;
        }
    }
    sentences.push(rest);
    sentences
}

/// A text in which nothing is a request or an escape.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let text = text.replace(['`', '\''], "\\(aq").replace('…', "...");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_request() {
        assert_eq!(
            escaped(".snap 'x' a-b \\"),
            "\\&.snap \\(aqx\\(aq a\\-b \\e"
        );
        assert_eq!(escaped("'x'"), "\\(aqx\\(aq");
    }

    #[test]
    fn sentences_end_at_full_stops() {
        assert_eq!(
            sentences("One, e.g. this. Two. -three is one"),
            ["One, e.g. this.", "Two.", "-three is one"]
        );
    }
}
