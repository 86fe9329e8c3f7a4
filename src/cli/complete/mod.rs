//! What fits where the cursor stands, for the completions of the shells.
//!
//! The scripts in `completions/` know nothing of commands and flags. On each TAB they run
//! `snap __complete SHELL …` with what was typed, and show what it prints:
//!
//! ```text
//! none -database=
//! weather<TAB>
//! ```
//!
//! First which paths fit beside the candidates (`none`, `dirs` or `files`), and the part of the
//! word that stays. Then a line each: a candidate, and behind a tab what is said of it. bash gets
//! no more than candidates, quoted.
//!
//! It is no command that clap knows: nothing typed by mistake leads here. It prints nothing else,
//! asks a disk or a server for a moment only, and always ends with exit code 0.

mod bash;
mod fitting;
mod lookup;
mod typed;

use std::ffi::OsString;

use clap::Command;

use super::render::terminal::{print_exact, visible};
use fitting::Fitting;

/// The word that the scripts say in place of a command.
pub(super) const COMPLETE: &str = "__complete";

/// A word that fits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    word: String,
    /// What is said of it, in a line.
    about: String,
}

impl Candidate {
    fn new(word: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            word: word.into(),
            about: about.into(),
        }
    }

    fn bare(word: impl Into<String>) -> Self {
        Self::new(word, "")
    }
}

/// Which paths fit beside the candidates. The shell lists them: it knows `~`, `$HOME` and quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Paths {
    #[default]
    None,
    Directories,
    Files,
}

/// What fits in the place of a word.
#[derive(Debug, Default, PartialEq, Eq)]
struct Completion {
    /// The part of the word before what the candidates stand for: `-config=`.
    head: String,
    /// In the order in which they are shown.
    candidates: Vec<Candidate>,
    paths: Paths,
}

/// Answers a script: the shell, and what was typed. `root` must be built.
pub(super) fn run(root: &Command, args: &[OsString]) -> u8 {
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let printed = match args {
        [shell, line, word] if shell == "bash" => {
            let line = bash::Line::read(&text(line));
            let completion = Fitting::new(root, line.before()).at(line.word());
            bash::printed(&completion, &line, &text(word))
        }
        [shell, before @ .., word] => {
            let mut completion = Fitting::new(root, before.to_vec()).at(&text(word));
            if shell == "fish" {
                completion.keep_those_with(&text(word));
            }
            let escape = if shell == "zsh" { colon_escaped } else { whole };
            printed(&completion, escape)
        }
        _ => return 0,
    };
    // A shell that does not wait for the answer has no use for an error.
    let _ = print_exact(&printed);
    0
}

/// An answer for the shells that quote what they insert and choose by what was typed.
fn printed(completion: &Completion, escape: fn(&str) -> String) -> String {
    let mut printed = format!("{} {}\n", completion.paths.name(), completion.head);
    for candidate in completion.visible() {
        let (word, about) = (escape(&candidate.word), visible(&candidate.about));
        printed += &format!("{word}\t{about}\n");
    }
    printed
}

fn whole(word: &str) -> String {
    word.to_owned()
}

/// A word as zsh's `_describe` takes it: up to the first colon that is not escaped.
fn colon_escaped(word: &str) -> String {
    word.replace('\\', r"\\").replace(':', r"\:")
}

impl Completion {
    /// Leaves out what does not hold what was typed. fish would find that in the descriptions too.
    fn keep_those_with(&mut self, typed: &str) {
        let typed = typed.to_lowercase();
        let typed = typed
            .strip_prefix(&self.head.to_lowercase())
            .unwrap_or(&typed);
        let holds = |candidate: &Candidate| candidate.word.to_lowercase().contains(typed);
        self.candidates.retain(holds);
    }

    /// The candidates that can be shown: names come from servers and files, and must not act on
    /// the terminal.
    fn visible(&self) -> impl Iterator<Item = &Candidate> {
        let candidates = self.candidates.iter();
        candidates.filter(|candidate| visible(&candidate.word) == candidate.word)
    }
}

impl Paths {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Directories => "dirs",
            Self::Files => "files",
        }
    }
}
