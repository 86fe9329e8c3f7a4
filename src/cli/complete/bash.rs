//! bash: it passes the line as it was typed, and takes words that are quoted already.
//!
//! readline completes what stands behind the last of `COMP_WORDBREAKS`, `=` and `:` among them:
//! of `-host=db:80` only `80`. So the beginnings of the candidates that it does not replace are
//! taken off here.

use std::ffi::OsString;

use super::Completion;

/// How the characters at a place are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// A word as it was typed, and what it means.
#[derive(Debug, Default)]
struct Word {
    raw: String,
    text: String,
}

/// A line up to the cursor.
#[derive(Debug)]
pub(super) struct Line {
    words: Vec<Word>,
}

impl Line {
    /// Splits a line. The last word is the one at the cursor, and may be empty.
    pub(super) fn read(line: &str) -> Self {
        let mut words = vec![Word::default()];
        let mut rest = line;
        loop {
            rest = rest.trim_start_matches(is_blank);
            let end = end_of_word(rest);
            let (raw, behind) = rest.split_at(end);
            words.push(Word {
                raw: raw.to_owned(),
                text: unquoted(raw).0,
            });
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        words.remove(0);
        Self { words }
    }

    /// What the words behind the command and before the cursor mean.
    pub(super) fn before(&self) -> Vec<OsString> {
        let last = self.words.len() - 1;
        let before = self.words[..last].iter().skip(1);
        before.map(|word| OsString::from(&word.text)).collect()
    }

    /// What the word at the cursor means.
    pub(super) fn word(&self) -> &str {
        self.words.last().map_or("", |word| &word.text)
    }

    /// The beginning of the word at the cursor that readline leaves as it is, and how what follows
    /// is quoted.
    fn kept(&self, replaced: &str) -> (String, Quote) {
        let raw = self.words.last().map_or("", |word| &word.raw);
        unquoted(raw.strip_suffix(replaced).unwrap_or_default())
    }
}

/// An answer for bash: the paths that fit, then a word a line to put in the place of `replaced`.
pub(super) fn printed(completion: &Completion, line: &Line, replaced: &str) -> String {
    let (kept, quote) = line.kept(replaced);
    let mut printed = format!("{}\n", completion.paths.name());
    for candidate in completion.visible() {
        let word = format!("{}{}", completion.head, candidate.word);
        if word.starts_with(line.word())
            && let Some(rest) = word.strip_prefix(&kept)
        {
            printed += &quoted(rest, quote);
            printed.push('\n');
        }
    }
    printed
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n')
}

/// Where the word at the beginning of `text` ends.
fn end_of_word(text: &str) -> usize {
    let mut reader = Unquoting::new();
    let end = text.char_indices().find(|(_, c)| {
        let ends = is_blank(*c) && reader.is_plain();
        reader.push(*c);
        ends
    });
    end.map_or(text.len(), |(at, _)| at)
}

/// What a word means without its quotes, and which quote is open at its end.
fn unquoted(raw: &str) -> (String, Quote) {
    let mut reader = Unquoting::new();
    raw.chars().for_each(|c| reader.push(c));
    (reader.text, reader.quote)
}

/// Takes quotes off, character by character.
struct Unquoting {
    text: String,
    quote: Quote,
    is_escaped: bool,
}

impl Unquoting {
    fn new() -> Self {
        Self {
            text: String::new(),
            quote: Quote::None,
            is_escaped: false,
        }
    }

    /// Whether the next character stands for itself or for what the shell makes of it.
    fn is_plain(&self) -> bool {
        self.quote == Quote::None && !self.is_escaped
    }

    fn push(&mut self, c: char) {
        match (self.quote, c) {
            _ if self.is_escaped => {
                // Between double quotes, a backslash stands for itself before most characters.
                if self.quote == Quote::Double && !matches!(c, '"' | '\\' | '$' | '`') {
                    self.text.push('\\');
                }
                self.text.push(c);
                self.is_escaped = false;
            }
            (Quote::None | Quote::Double, '\\') => self.is_escaped = true,
            (Quote::None, '\'') => self.quote = Quote::Single,
            (Quote::None, '"') => self.quote = Quote::Double,
            (Quote::Single, '\'') | (Quote::Double, '"') => self.quote = Quote::None,
            _ => self.text.push(c),
        }
    }
}

/// A word that means `text` where a quote may be open.
fn quoted(text: &str, quote: Quote) -> String {
    let is_special = |c: char| match quote {
        Quote::None => !(c.is_alphanumeric() || "-_./:=,+@%^".contains(c)),
        Quote::Double => "\"\\$`".contains(c),
        Quote::Single => false,
    };
    let mut quoted = String::new();
    for c in text.chars() {
        if quote == Quote::Single && c == '\'' {
            quoted += r"'\''";
            continue;
        }
        if is_special(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::{Candidate, Paths};
    use super::*;

    #[test]
    fn a_line_is_split_as_bash_splits_it() {
        for (line, words) in [
            ("snap", &["snap"][..]),
            ("snap ", &["snap", ""]),
            ("snap  list\t-x", &["snap", "list", "-x"]),
            (r#"snap "a b"c\ d 'e "f'"#, &["snap", "a bc d", "e \"f"]),
            (r#"snap "a\"b\c" x\"#, &["snap", r#"a"b\c"#, "x"]),
            ("snap \"open ", &["snap", "open "]),
            ("snap -db=a=b:c", &["snap", "-db=a=b:c"]),
        ] {
            let read = Line::read(line);
            let texts: Vec<&str> = read.words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(texts, words, "{line}");
        }
    }

    #[test]
    fn words_begin_where_readline_replaces_and_are_quoted_as_was_begun() {
        let of = |head: &str, words: &[&str]| Completion {
            head: head.to_owned(),
            candidates: words.iter().copied().map(Candidate::bare).collect(),
            paths: Paths::None,
        };
        let nasty = "a 'b\"$(c)";
        for (line, replaced, completion, expected) in [
            ("snap l", "l", of("", &["list", "info"]), "list"),
            ("snap x -db=", "", of("-db=", &["a b"]), r"a\ b"),
            ("snap x -db=", "-db=", of("-db=", &["a b"]), r"-db=a\ b"),
            ("snap x -host h:8", "8", of("", &["h:80"]), "80"),
            ("snap x -db a", "a", of("", &[nasty]), r#"a\ \'b\"\$\(c\)"#),
            ("snap x -db \"a", "a", of("", &[nasty]), r#"a 'b\"\$(c)"#),
            ("snap x -db 'a", "a", of("", &[nasty]), r#"a '\''b"$(c)"#),
            (r"snap x -db a\ ", r"a\ ", of("", &["a b"]), r"a\ b"),
        ] {
            let printed = printed(&completion, &Line::read(line), replaced);
            assert_eq!(printed, format!("none\n{expected}\n"), "{line}");
        }
    }
}
