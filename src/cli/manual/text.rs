//! Pages of help as text, for a terminal of 80 columns: an example is never broken.

use std::borrow::Cow;

use clap::{Arg, Command};
use unicode_width::UnicodeWidthStr;

use super::{about, examples, exit_codes, flag, groups, is_program, meaning, paragraphs, usage};
use crate::cli::flags::known::value_name;
use crate::cli::render::table::unbroken;

/// How wide a line is.
const WIDTH: usize = 80;
/// How wide the names of flags are beside what they mean.
const NAMES: usize = 24;
/// How far what a flag means is set in below it.
const INDENT: usize = 6;

/// What `-h` prints: one screen, with the flags that are usual.
pub(crate) fn summary(command: &Command) -> String {
    let mut page = Page::opened(command);
    page.section("Examples");
    page.examples(command);
    page.commands(command);
    if command.get_positionals().next().is_some() {
        page.lines(&[String::new()]);
    }
    let arguments = command.get_positionals();
    page.rows(arguments.map(|arg| (value_name(arg).to_owned(), meaning(arg, false))));
    for (heading, flags) in groups(command, false) {
        page.section(&heading);
        page.rows(flags.iter().map(|arg| (flag(arg), meaning(arg, false))));
    }
    page.lines(&[
        String::new(),
        match is_program(command) {
            true => "A command in full: snap help COMMAND. Exit codes: snap help".to_owned(),
            false => format!("All flags, in full: snap help {}", command.get_name()),
        },
    ]);
    page.0
}

/// What `-help` prints: all there is to be known.
pub(crate) fn page(command: &Command) -> String {
    let mut page = Page::opened(command);
    page.section("Examples");
    page.examples(command);
    for paragraph in paragraphs(command) {
        page.paragraph(&paragraph);
    }
    page.commands(command);
    page.entries(
        command
            .get_positionals()
            .map(|arg| (value_name(arg).to_owned(), arg)),
        "Arguments",
    );
    for (heading, flags) in groups(command, true) {
        page.entries(flags.iter().map(|arg| (flag(arg), *arg)), &heading);
    }
    page.section("Exit codes");
    let name = (!is_program(command)).then(|| command.get_name());
    page.rows(
        exit_codes(name)
            .iter()
            .map(|(code, what)| ((*code).to_owned(), (*what).to_owned())),
    );
    page.0
}

/// A page that grows from its top.
struct Page(String);

impl Page {
    fn opened(command: &Command) -> Self {
        Self(format!("{}\n\nUsage: {}\n", about(command), usage(command)))
    }

    fn section(&mut self, heading: &str) {
        self.0.push_str(&format!("\n{heading}:\n"));
    }

    fn lines(&mut self, lines: &[String]) {
        for line in lines {
            self.0.push_str(line.trim_end());
            self.0.push('\n');
        }
    }

    fn examples(&mut self, command: &Command) {
        let lines = examples(command);
        self.lines(
            &lines
                .iter()
                .map(|line| format!("  {line}"))
                .collect::<Vec<_>>(),
        );
    }

    fn paragraph(&mut self, text: &str) {
        self.0.push('\n');
        self.lines(&wrapped(text, WIDTH));
    }

    fn commands(&mut self, command: &Command) {
        if is_program(command) {
            self.section("Commands");
            let commands = command.get_subcommands();
            self.rows(commands.map(|command| (command.get_name().to_owned(), about(command))));
        }
    }

    /// Names with what they mean beside them.
    fn rows(&mut self, rows: impl Iterator<Item = (String, String)>) {
        let rows: Vec<(String, String)> = rows.collect();
        let widest = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        let names = widest.min(NAMES);
        for (name, meaning) in rows {
            let mut lines = wrapped(&meaning, WIDTH - names - 4).into_iter();
            let first = match name.width() <= names {
                true => lines.next().unwrap_or_default(),
                false => String::new(),
            };
            self.lines(&[format!("  {name:names$}  {first}")]);
            self.lines(
                &lines
                    .map(|line| format!("{:1$}{line}", "", names + 4))
                    .collect::<Vec<_>>(),
            );
        }
    }

    /// Names with all that they mean below them.
    fn entries<'a>(&mut self, entries: impl Iterator<Item = (String, &'a Arg)>, heading: &str) {
        let mut entries = entries.peekable();
        if entries.peek().is_some() {
            self.section(heading);
        }
        for (name, arg) in entries {
            self.lines(&[format!("  {name}")]);
            let lines = wrapped(&meaning(arg, true), WIDTH - INDENT).into_iter();
            self.lines(
                &lines
                    .map(|line| format!("{:INDENT$}{line}", ""))
                    .collect::<Vec<_>>(),
            );
        }
    }
}

/// A text in lines of no more than `width` columns.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let lines = textwrap::wrap(&text, unbroken(width));
    lines.into_iter().map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::built;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("a bc  def\ng", 4), ["a bc", "def", "g"]);
        assert_eq!(wrapped("longer-than that", 4), ["longer-than", "that"]);
    }

    #[test]
    fn help_fits_a_screen_of_80_columns() {
        let root = built();
        for command in root.get_subcommands().chain([&root]) {
            let (short, long) = (summary(command), page(command));
            for line in short.lines().chain(long.lines()) {
                assert!(line.width() <= WIDTH, "{}: {line}", command.get_name());
            }
            let most = match command.get_name() {
                "restore" => 45,
                "backup" | "stats" => 44,
                "forget" => 34,
                "copy" => 35,
                "export" => 40,
                "diff" => 40,
                // A line for each command.
                "snap" => 30,
                _ => 28,
            };
            let lines = short.lines().count();
            assert!(lines <= most, "{} lines:\n{short}", lines);
        }
    }

    #[test]
    fn flags_are_shown_as_they_are_typed() {
        let root = built();
        for command in root.get_subcommands().chain([&root]) {
            for text in [summary(command), page(command)] {
                assert!(!text.contains("--"), "{text}");
                assert!(!text.contains("BOOL"), "{text}");
            }
        }
    }
}
