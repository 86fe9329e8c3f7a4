//! The rows of progress on a terminal, each time in place of the last ones.
//!
//! The cursor rests at the beginning of the first row. So nobody has to know how many lines the rows
//! take, which changes where a terminal that is made narrower breaks them: all below the cursor
//! goes. And what the terminal echoes, `^C` above all, comes where it is written over.

use std::io::{self, Write};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::terminal::window;

/// Where indicatif draws.
#[derive(Debug, Default)]
pub(super) struct Screen {
    frame: Mutex<Frame>,
}

#[derive(Debug, Default)]
struct Frame {
    /// The rows that are being drawn.
    rows: Vec<String>,
    /// Whether those that were drawn last are still there.
    is_on_screen: bool,
}

impl Screen {
    fn frame(&self) -> MutexGuard<'_, Frame> {
        self.frame.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        window().columns
    }

    fn height(&self) -> u16 {
        window().lines
    }

    /// Moves nowhere, as all below: a frame begins where the cursor rests.
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    /// Takes a row. The blanks that fill it up are none.
    fn write_str(&self, text: &str) -> io::Result<()> {
        if !text.trim().is_empty() {
            self.frame().rows.push(text.to_owned());
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut frame = self.frame();
        let rows = mem::take(&mut frame.rows);
        let was_on_screen = mem::replace(&mut frame.is_on_screen, !rows.is_empty());
        if rows.is_empty() && !was_on_screen {
            return Ok(());
        }
        io::stderr().write_all(drawn(&rows).as_bytes())
    }
}

/// What draws the rows from the cursor on, clears all below, and goes back to where it was.
fn drawn(rows: &[String]) -> String {
    let mut frame = "\r".to_owned();
    for (index, row) in rows.iter().enumerate() {
        let feed = if index == 0 { "" } else { "\r\n" };
        // Row by row, so that nothing flickers.
        frame.push_str(&format!("{feed}{row}\x1b[K"));
    }
    frame.push_str("\x1b[J\r");
    if rows.len() > 1 {
        frame.push_str(&format!("\x1b[{}A", rows.len() - 1));
    }
    frame
}
