//! Columns of text, for people.

use std::borrow::Cow;

use jiff::Timestamp;
use textwrap::{Options, WordSplitter};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::terminal::visible;

/// What stands between two columns.
const GAP: &str = "  ";

/// How many names are shown where there is no room for all.
const MOST_NAMES: usize = 20;

/// The column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    heading: String,
    is_number: bool,
    /// How narrow it may become, where its cells can be shortened.
    narrowest: Option<usize>,
    /// Where there is no room for all, the columns with the lowest number go first. Those without
    /// one stay.
    goes: Option<u8>,
    is_hidden: bool,
}

impl Column {
    pub(crate) fn text(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            is_number: false,
            narrowest: None,
            goes: None,
            is_hidden: false,
        }
    }

    /// A column whose cells end below each other.
    pub(crate) fn number(heading: impl Into<String>) -> Self {
        Self {
            is_number: true,
            ..Self::text(heading)
        }
    }

    /// Lets cells be shortened to so many columns, but not below the heading.
    pub(crate) fn shrinks_to(mut self, narrowest: usize) -> Self {
        self.narrowest = Some(narrowest.max(self.heading.width()));
        self
    }

    /// Lets it be left out where there is no room, before those of higher numbers.
    pub(crate) fn goes(mut self, order: u8) -> Self {
        self.goes = Some(order);
        self
    }

    /// Leaves it out unless it is asked for.
    pub(crate) fn shown_if(mut self, is_shown: bool) -> Self {
        self.is_hidden = !is_shown;
        self
    }
}

/// What stands in a row and a column: one thing in several forms, the longest first.
#[derive(Debug)]
pub(crate) struct Cell {
    forms: Vec<String>,
}

impl Cell {
    /// What can be said in more words or fewer; of them the first that fits is printed.
    pub(crate) fn forms<'a>(forms: impl IntoIterator<Item = &'a str>) -> Self {
        let forms = forms.into_iter().map(plain).collect();
        Self { forms }
    }

    /// Names; of those for which there is no room, the number: `a, b, and 3 more`.
    pub(crate) fn names(names: &[String]) -> Self {
        let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
        let most = names.len().min(MOST_NAMES);
        let shortened = (1..most).rev().map(|shown| {
            let more = names.len() - shown;
            format!("{}, and {more} more", names[..shown].join(", "))
        });
        let forms = std::iter::once(names.join(", ")).chain(shortened);
        Self {
            forms: forms.collect(),
        }
    }

    fn width(&self) -> usize {
        self.forms.first().map_or(0, |form| form.width())
    }

    /// The longest form that is no wider, or else what there is room for of the longest.
    fn within(&self, width: usize) -> Cow<'_, str> {
        match self.forms.iter().find(|form| form.width() <= width) {
            Some(form) => Cow::Borrowed(form),
            None => cut(self.forms.first().map_or("", String::as_str), width),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::forms([text])
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A table as it is printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PrintedTable<'a> {
    pub(crate) text: String,
    /// The headings of the columns for which there was no room.
    pub(crate) left_out: Vec<&'a str>,
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row, of as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The table in lines of at most so many columns, if it can be had so narrow.
    pub(crate) fn print(&self, limit: Option<usize>) -> PrintedTable<'_> {
        let shown = self.fit(limit);
        let lines: Vec<Vec<Cow<'_, str>>> = std::iter::once(self.headings(&shown))
            .chain(self.rows.iter().map(|row| {
                let cells = shown.iter();
                cells.map(|(at, width)| row[*at].within(*width)).collect()
            }))
            .collect();
        // What was shortened may be narrower than it had to be.
        let widths: Vec<usize> = (0..shown.len())
            .map(|at| lines.iter().map(|line| line[at].width()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).zip(&shown);
            let padded: Vec<String> = cells
                .map(|((cell, width), (at, _))| pad(cell, *width, self.columns[*at].is_number))
                .collect();
            text.push_str(padded.join(GAP).trim_end());
            text.push('\n');
        }
        let is_left_out = |at: &usize| shown.iter().all(|(shown, _)| shown != at);
        let left_out = (0..self.columns.len()).filter(is_left_out);
        let left_out = left_out.map(|at| &self.columns[at]);
        PrintedTable {
            text,
            left_out: left_out
                .filter(|column| !column.is_hidden)
                .map(|column| &*column.heading)
                .collect(),
        }
    }

    fn headings(&self, shown: &[(usize, usize)]) -> Vec<Cow<'_, str>> {
        let headings = shown.iter().map(|(at, _)| &*self.columns[*at].heading);
        headings.map(Cow::Borrowed).collect()
    }

    /// The columns for which there is room, by their places, and the width of each.
    fn fit(&self, limit: Option<usize>) -> Vec<(usize, usize)> {
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len())
            .filter(|at| !self.columns[*at].is_hidden)
            .map(|at| (at, self.natural_width(at)))
            .collect();
        let Some(limit) = limit else {
            return shown;
        };
        loop {
            let narrowed = self.narrow(&shown, limit);
            let first = (0..shown.len())
                .filter_map(|place| Some((self.columns[shown[place].0].goes?, place)))
                .min();
            match first {
                Some((_, place)) if total_width(&narrowed) > limit => shown.remove(place),
                _ => return narrowed,
            };
        }
    }

    fn natural_width(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].width());
        let heading = self.columns[at].heading.width();
        cells.max().unwrap_or(0).max(heading)
    }

    /// Takes from the widest of the columns that can be shortened, until all fit or none can.
    fn narrow(&self, shown: &[(usize, usize)], limit: usize) -> Vec<(usize, usize)> {
        let mut narrowed = shown.to_vec();
        while total_width(&narrowed) > limit {
            let shortens = |(at, width): &&mut (usize, usize)| {
                let narrowest = self.columns[*at].narrowest;
                narrowest.is_some_and(|narrowest| *width > narrowest)
            };
            let can = narrowed.iter_mut().filter(shortens);
            let Some((_, width)) = can.max_by_key(|(_, width)| *width) else {
                break;
            };
            *width -= 1;
        }
        narrowed
    }
}

fn total_width(columns: &[(usize, usize)]) -> usize {
    let gaps = columns.len().saturating_sub(1) * GAP.len();
    columns.iter().map(|(_, width)| width).sum::<usize>() + gaps
}

/// A cell with blanks to a width; columns are counted as a terminal does.
fn pad(cell: &str, width: usize, is_number: bool) -> String {
    let blanks = " ".repeat(width.saturating_sub(cell.width()));
    match is_number {
        true => format!("{blanks}{cell}"),
        false => format!("{cell}{blanks}"),
    }
}

/// The beginning of a text, as far as there is room for it and a mark that it goes on.
fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    let begin: String = text.chars().take_while(fits).collect();
    Cow::Owned(format!("{}…", begin.trim_end_matches([',', ' '])))
}

/// Lines of a name and what it stands for, which goes on below itself where it is too long.
pub(crate) fn fields(fields: &[(&str, String)], limit: Option<usize>) -> String {
    let width = fields.iter().map(|(name, _)| name.width()).max();
    let width = width.unwrap_or(0);
    fields
        .iter()
        .map(|(name, value)| {
            let name = format!("{}{GAP}", pad(name, width, false));
            paragraph(&name, value, limit)
        })
        .collect()
}

/// A text behind its first word or words; where it is wrapped, its lines begin below each other.
pub(crate) fn paragraph(begin: &str, text: &str, limit: Option<usize>) -> String {
    let text = plain(text);
    let Some(limit) = limit else {
        return format!("{begin}{text}\n");
    };
    // Below a long beginning there would be no room: then it is wrapped with the rest.
    let (begin, text, indent) = match begin.width() {
        width if width > limit / 2 => ("", format!("{begin}{text}"), GAP.to_owned()),
        width => (begin, text, " ".repeat(width)),
    };
    let options = unbroken(limit)
        .initial_indent(begin)
        .subsequent_indent(&indent);
    format!("{}\n", textwrap::fill(&text, options))
}

/// Lines of whole words. A path or an id is of no use in two parts, and a terminal that wraps it
/// copies it whole.
pub(crate) fn unbroken<'a>(width: usize) -> Options<'a> {
    Options::new(width)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// A time in whole seconds.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The day of a time.
pub(crate) fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// A day where the time is its beginning, else the time of day too; all in UTC.
pub(crate) fn date_or_time(at: Timestamp) -> String {
    match is_midnight(at) {
        true => date(at),
        false => format!("{} UTC", time(at)),
    }
}

/// Both ends of an interval, without the time of day where both are at midnight.
pub(crate) fn ends(start: Timestamp, end: Timestamp) -> [String; 2] {
    let form = if is_midnight(start) && is_midnight(end) {
        date
    } else {
        time
    };
    [form(start), form(end)]
}

fn is_midnight(time: Timestamp) -> bool {
    time.as_nanosecond() % (24 * 3600 * 1_000_000_000) == 0
}

/// Names come from elsewhere, and must not write lines of their own.
fn plain(text: &str) -> String {
    visible(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(vec![
            Column::text("NAME"),
            Column::text("NEVER").shown_if(false),
            Column::number("N").goes(1),
            Column::text("KIND").shrinks_to(4).goes(2),
            Column::text("DATABASES").shrinks_to(9).goes(3),
        ]);
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Cell::names(&names)
        };
        table.row(vec![
            "ä".into(),
            "x".into(),
            "1".into(),
            "full".into(),
            names(&["telegraf", "iot", "a", "b", "c"]),
        ]);
        table.row(vec![
            "名前".into(),
            "x".into(),
            "12".into(),
            Cell::forms(["increment", "incr"]),
            names(&["two\nlines"]),
        ]);
        table
    }

    /// Prints the sample, of which no line may be wider than asked.
    fn within(limit: usize) -> (String, String) {
        let table = sample();
        let printed = table.print(Some(limit));
        let widest = printed.text.lines().map(UnicodeWidthStr::width).max();
        assert!(widest <= Some(limit), "{limit}: {}", printed.text);
        (printed.text.clone(), printed.left_out.join(" "))
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_stay_lines() {
        let whole = "NAME   N  KIND       DATABASES\n\
                     ä      1  full       telegraf, iot, a, b, c\n\
                     名前  12  increment  two\\nlines\n";
        let table = sample();
        assert_eq!(table.print(None).text, whole);
        assert_eq!(within(80), (whole.to_owned(), String::new()));
    }

    #[test]
    fn where_there_is_no_room_lists_are_shortened_first_and_then_columns_go() {
        let shortened = "NAME   N  KIND       DATABASES\n\
                         ä      1  full       telegraf, and 4 more\n\
                         名前  12  increment  two\\nlines\n";
        assert_eq!(within(42).0, shortened);
        let shortest = "NAME   N  KIND  DATABASES\n\
                        ä      1  full  telegraf…\n\
                        名前  12  incr  two\\nlin…\n";
        assert_eq!(within(25), (shortest.to_owned(), String::new()));
        assert_eq!(within(24).1, "N");
        assert_eq!(within(20).1, "N KIND");
        let least = ("NAME\nä\n名前\n".to_owned(), "N KIND DATABASES".to_owned());
        assert_eq!(within(4), least);
    }

    #[test]
    fn a_value_that_is_too_long_goes_on_below_itself() {
        let described = [("id", "x".into()), ("state", "one two\nthree".into())];
        assert_eq!(
            fields(&described, None),
            "id     x\nstate  one two\\nthree\n"
        );
        assert_eq!(
            fields(&[("state", "one two three".into())], Some(14)),
            "state  one two\n       three\n"
        );
        // What cannot be broken is left to the terminal.
        assert_eq!(
            paragraph("a name: ", "one two", Some(12)),
            "a name: one\n  two\n"
        );
        let path = "/a/path/that-is/longer";
        assert_eq!(
            paragraph("in ", &format!("a {path}"), Some(10)),
            format!("in a\n   {path}\n")
        );
    }

    #[test]
    fn an_interval_of_days_has_no_time_of_day() {
        let at = |text: &str| text.parse().unwrap();
        let days = ends(at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z"));
        assert_eq!(days, ["2026-11-16", "2026-11-23"]);
        let hours = ends(at("2026-11-16T01:00:00Z"), at("2026-11-17T00:00:00Z"));
        assert_eq!(hours, ["2026-11-16 01:00:00", "2026-11-17 00:00:00"]);
        assert_eq!(date_or_time(at("2026-11-16T00:00:00Z")), "2026-11-16");
        assert_eq!(
            date_or_time(at("2026-11-16T01:00:00.5Z")),
            "2026-11-16 01:00:00 UTC"
        );
    }
}
