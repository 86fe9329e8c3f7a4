//! How wide results may be.

use std::io;

use super::terminal::window_of;

/// The columns that lines of results may take; nothing where there is no such limit.
///
/// `COLUMNS` counts for more than the terminal, as for `ps` and `git`. What goes into a file or a
/// pipe is not made to fit a terminal that never shows it.
pub(crate) fn columns() -> Option<usize> {
    let asked = std::env::var("COLUMNS").ok();
    let asked = asked.and_then(|columns| columns.parse().ok());
    asked.filter(|columns| *columns > 0).or_else(|| {
        let [columns, _] = window_of(io::stdout());
        columns.map(usize::from)
    })
}
