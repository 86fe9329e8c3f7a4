//! Columns of text, for people.

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::terminal::visible;

/// Rows under a heading, all columns as wide as their widest cell. The last column is not padded.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&heading)
        .chain(rows)
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].width())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.width()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Lines of a name and what it stands for.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", plain(value)))
        .collect()
}

/// A time in whole seconds.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// An interval, without the time of day where both ends are at midnight.
pub(crate) fn interval(start: Timestamp, end: Timestamp) -> String {
    let midnight = |time: &Timestamp| time.as_nanosecond() % (24 * 3600 * 1_000_000_000) == 0;
    let form = if midnight(&start) && midnight(&end) {
        "%Y-%m-%d"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    format!("{} to {}", start.strftime(form), end.strftime(form))
}

/// Names come from elsewhere, and must not write lines of their own.
fn plain(text: &str) -> String {
    visible(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_stay_lines() {
        let rows = [
            vec!["ä".into(), "1".into()],
            vec!["名前".into(), "2".into()],
            vec!["two\nlines".into(), String::new()],
        ];
        assert_eq!(
            table(&["NAME", "N"], &rows),
            "NAME        N\nä           1\n名前        2\ntwo\\nlines\n"
        );
        assert_eq!(
            fields(&[("id", "x".into()), ("state", "y".into())]),
            "id     x\nstate  y\n"
        );
    }

    #[test]
    fn an_interval_of_days_has_no_time_of_day() {
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(
            interval(at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")),
            "2026-11-16 to 2026-11-23"
        );
        let hours = interval(at("2026-11-16T01:00:00Z"), at("2026-11-16T02:00:00Z"));
        assert_eq!(hours, "2026-11-16 01:00:00 to 2026-11-16 02:00:00");
    }
}
