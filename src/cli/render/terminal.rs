//! What may reach a terminal. Names come from servers, backups and command lines, and must not move
//! the cursor, set the title or turn the direction of a text: what could is escaped, here and
//! nowhere else. In JSON, which has escapes of its own, it stays what it is.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

/// The longest message printed, in bytes. A peer's words can be part of one.
const MAX_LINE_BYTES: usize = 32 << 10;

/// A text that is seen as it is, in one line: control characters and those that change how others
/// are shown are escaped.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_unseen)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' if is_escaped(c) => seen.extend(c.escape_default()),
            c if is_escaped(c) => seen.extend(c.escape_unicode()),
            c => seen.push(c),
        }
    }
    Cow::Owned(seen)
}

/// C0 and C1 controls and DEL; what sets the direction of a text (U+061C, U+200E, …); the
/// separators of lines and paragraphs; and characters that show nothing at all. Joiners stay: some
/// scripts need them.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// What a line on standard error begins with, where it is more than news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    Error,
    Warning,
    Hint,
}

impl Label {
    fn text(self) -> &'static str {
        match self {
            Self::Error => "snap:",
            Self::Warning => "warning:",
            Self::Hint => "hint:",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Error => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Hint => AnsiColor::Cyan.on_default(),
        }
    }
}

/// A line on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) label: Option<Label>,
    pub(crate) text: String,
}

impl Line {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self {
            label: None,
            text: text.into(),
        }
    }

    pub(crate) fn labelled(label: Label, text: impl Into<String>) -> Self {
        Self {
            label: Some(label),
            text: text.into(),
        }
    }
}

/// Writes a line to standard error; where nobody reads it, nobody misses it. Its label has a colour
/// where that is a terminal, unless `NO_COLOR`, `CLICOLOR=0` or `TERM=dumb` is set.
pub(crate) fn say_line(line: &Line) {
    let text = visible(&line.text);
    let text = shortened(&text);
    let text = match line.label {
        None => format!("{text}\n"),
        Some(label) if AutoStream::choice(&io::stderr()) == ColorChoice::Never => {
            format!("{} {text}\n", label.text())
        }
        Some(label) => {
            let style = label.style();
            format!("{style}{}{style:#} {text}\n", label.text())
        }
    };
    // One write: lines of several threads do not mix.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// How large a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub columns: u16,
    pub lines: u16,
}

/// How large the terminal on standard error is now; that of old where it does not say.
pub(super) fn window() -> Window {
    let [columns, lines] = window_of(io::stderr());
    Window {
        columns: columns.unwrap_or(80),
        lines: lines.unwrap_or(24),
    }
}

/// Columns and lines of a terminal. Serial lines, and terminals that programs make, can say 0.
pub(super) fn window_of(terminal: impl AsFd) -> [Option<u16>; 2] {
    let size = tcgetwinsize(terminal).ok();
    let size = size.map_or([0, 0], |size| [size.ws_col, size.ws_row]);
    size.map(|count| Some(count).filter(|count| *count > 0))
}

/// Whether standard error is a terminal on which the cursor can be moved.
pub(super) fn is_smart_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn shortened(line: &str) -> Cow<'_, str> {
    if line.len() <= MAX_LINE_BYTES {
        return Cow::Borrowed(line);
    }
    let end = (0..=MAX_LINE_BYTES)
        .rev()
        .find(|end| line.is_char_boundary(*end));
    let kept = &line[..end.unwrap_or(0)];
    let more = line.len() - kept.len();
    Cow::Owned(format!("{kept}… and {more} bytes more"))
}

/// Writes a line to standard output.
///
/// # Errors
///
/// Those of [`print_exact`].
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    print_exact(&format!("{}\n", visible(line)))
}

/// Writes lines to standard output. Names in them must be [`visible`] already, or their line feeds
/// would make lines too.
///
/// # Errors
///
/// Those of [`print_exact`].
pub(crate) fn print_lines(lines: &str) -> io::Result<()> {
    print_exact(&escaped(lines, |c| c != '\n' && is_unseen(c)))
}

/// Writes a line of JSON to standard output. What would act on a terminal is in its strings alone,
/// and is written as JSON escapes it.
///
/// # Errors
///
/// Those of [`print_exact`].
pub(crate) fn print_json(line: &str) -> io::Result<()> {
    print_exact(&escaped_in_json(line))
}

fn escaped_in_json(line: &str) -> Cow<'_, str> {
    let is_escaped = |c| c != '\n' && is_unseen(c);
    if !line.contains(is_escaped) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if !is_escaped(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
    }
    Cow::Owned(escaped)
}

/// Writes to standard output as it is; a reader that went away is no error.
///
/// # Errors
///
/// When standard output cannot be written.
pub(crate) fn print_exact(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether nobody reads standard output any more: a pipe without its reader, or a terminal whose
/// session has ended.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    // A terminal that has hung up does not say that it is one, but still what kind of file it is.
    let is_device = || {
        rustix::fs::fstat(io::stdout())
            .is_ok_and(|file| FileType::from_raw_mode(file.st_mode) == FileType::CharacterDevice)
    };
    error.kind() == io::ErrorKind::BrokenPipe
        || Errno::from_io_error(error) == Some(Errno::IO) && is_device()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_name_holds_acts_on_a_terminal() {
        assert_eq!(
            visible("a\u{1b}]0;owned\u{7}b\r\n\u{9b}2J\u{7f}\u{202e}cba\u{2028}\u{feff}"),
            r"a\u{1b}]0;owned\u{7}b\r\n\u{9b}2J\u{7f}\u{202e}cba\u{2028}\u{feff}"
        );
        for whole in ["名前 db", "a'b \"c\\", "naïve", "नमस्\u{200d}ते", ""] {
            assert!(matches!(visible(whole), Cow::Borrowed(same) if same == whole));
        }
        assert_eq!(escaped("a\n\tb", |c| c != '\n' && is_unseen(c)), "a\n\\tb");
    }

    #[test]
    fn in_json_a_name_that_would_act_on_a_terminal_is_escaped_and_means_the_same() {
        let name = "a\u{9b}2J\u{7f}\u{202e}cba\u{e0041}\u{1b}[0m\n名前";
        let line = format!("{}\n", serde_json::json!({ "message": name }));
        let escaped = escaped_in_json(&line);
        assert_eq!(
            escaped,
            "{\"message\":\"a\\u009b2J\\u007f\\u202ecba\\udb40\\udc41\\u001b[0m\\n名前\"}\n"
        );
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read["message"], name);
    }

    #[test]
    fn a_message_ends_somewhere() {
        let long = "é".repeat(MAX_LINE_BYTES);
        let short = shortened(&long);
        assert!(short.len() < MAX_LINE_BYTES + 40 && short.ends_with("… and 32768 bytes more"));
    }
}
