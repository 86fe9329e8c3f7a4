//! Progress in rows that fit a terminal: one for each shard that is worked on, and one for all.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::run_state::{RunState, RunningShard};
use super::terminal::visible;
use crate::shard::ShardPath;
use crate::text::{age, plural, size, size_of};

/// Columns of a bar.
const SHORTEST_BAR: usize = 10;
const LONGEST_BAR: usize = 30;

/// Columns between two cells.
const GAP: usize = 2;

/// The columns of a name below which the sizes make room for it.
const SHORT_NAME: usize = 24;

/// What is known of the speed of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Bytes a second.
    pub rate: f64,
    /// How long the work on these shards has taken.
    pub elapsed: Duration,
}

impl Pace {
    /// The rate, once it is one: the first bytes come as fast as they were buffered.
    fn told_rate(self) -> Option<String> {
        let is_known = self.elapsed >= Duration::from_millis(500) && self.rate >= 1.0;
        is_known.then(|| format!("{}/s", size(self.rate as u64)))
    }

    /// How long the rest may take. Too little is known in the first second.
    fn left(self, state: &RunState) -> Option<Duration> {
        if self.elapsed < Duration::from_secs(1) {
            return None;
        }
        let done = state.fraction();
        let seconds = match state.expected {
            Some(expected) => expected.saturating_sub(state.done()) as f64 / self.rate,
            None => self.elapsed.as_secs_f64() * (1.0 - done) / done,
        };
        // Where nothing has come yet, it may take for ever.
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }
}

/// The rows for a terminal of so many columns and lines; no row fills its line.
pub(super) fn rows(state: &RunState, pace: Pace, columns: u16, lines: u16) -> Vec<String> {
    let room = usize::from(columns).saturating_sub(1).max(1);
    // One for the total, one for what is told of the others, and one for what stands above.
    let most = usize::from(lines).saturating_sub(3).max(1);
    let shown = match state.running.len() {
        running if running <= most => running,
        _ => most - 1,
    };
    let mut rows = shard_rows(&state.running[..shown], room);
    let more = state.running.len() - shown;
    rows.extend((more > 0).then(|| clipped(&format!("and {more} more at work"), room)));
    rows.push(total_row(state, pace, room));
    rows
}

/// The rows of shards, in columns.
fn shard_rows(shards: &[RunningShard], room: usize) -> Vec<String> {
    let sizes: Vec<String> = shards.iter().map(size_done).collect();
    let widest_size = sizes.iter().map(|text| text.width()).max().unwrap_or(0);
    let name = |room| move |shard: &RunningShard| short_name(&shard.path, room);
    let widest_name = shards
        .iter()
        .map(|shard| name(usize::MAX)(shard).width())
        .max()
        .unwrap_or(0);
    let percent = 4;
    let beside_sizes = room.saturating_sub(GAP + percent + GAP + widest_size);
    let with_sizes = beside_sizes >= widest_name.min(SHORT_NAME);
    let beside = match with_sizes {
        true => beside_sizes,
        false => room.saturating_sub(GAP + percent),
    };
    let bar = bar_columns(beside, widest_name);
    let names = widest_name.min(beside - bar);
    let row = |(shard, size): (&RunningShard, &String)| {
        let mut row = padded(&name(names)(shard), names);
        if bar > 0 {
            row.push_str(&" ".repeat(GAP));
            row.push_str(&match shard.fraction() {
                Some(fraction) => drawn_bar(fraction, bar - GAP),
                None => " ".repeat(bar - GAP),
            });
        }
        let percent = shard.fraction().map(percent_text).unwrap_or_default();
        row.push_str(&format!("{:GAP$}{percent:>4}", ""));
        if with_sizes {
            row.push_str(&format!("{:GAP$}{size}", ""));
        }
        clipped(row.trim_end(), room)
    };
    shards.iter().zip(&sizes).map(row).collect()
}

/// The row of all shards: as much of it as there is room for.
fn total_row(state: &RunState, pace: Pace, room: usize) -> String {
    let Total {
        shards,
        shards_short,
        percent,
        bytes,
        rate,
        left,
    } = Total::of(state, pace);
    let joined = |cells: &[&Option<String>]| {
        let cells = cells.iter().filter_map(|cell| cell.as_deref());
        cells.fold(percent.clone(), |row, cell| {
            format!("{row}{:GAP$}{cell}", "")
        })
    };
    let all = joined(&[&bytes, &rate, &left]);
    let without_bytes = joined(&[&rate, &left]);
    let with_bar = |cells: &str| shards.width() + cells.width() + 2 * GAP + SHORTEST_BAR <= room;
    if let Some(cells) = [&all, &without_bytes].into_iter().find(|c| with_bar(c)) {
        let bar = (room - shards.width() - cells.width() - 2 * GAP).min(LONGEST_BAR);
        let bar = drawn_bar(state.fraction(), bar);
        return format!("{shards}{:GAP$}{bar}{:GAP$}{cells}", "", "");
    }
    let narrow = [
        (&shards, without_bytes.clone()),
        (&shards_short, without_bytes),
        (&shards_short, joined(&[&left])),
    ];
    let fits = |row: &String| row.width() <= room;
    let mut narrow = narrow
        .into_iter()
        .map(|(shards, cells)| format!("{shards}{:GAP$}{cells}", ""));
    narrow
        .find(fits)
        .unwrap_or_else(|| clipped(&format!("{shards_short}{:GAP$}{percent}", ""), room))
}

/// How far all is, for a log.
pub(super) fn total_line(state: &RunState, pace: Pace) -> String {
    let total = Total::of(state, pace);
    let percent = Some(total.percent.trim().to_owned());
    let failed = (state.failed > 0).then(|| format!("{} failed", state.failed));
    let cells = [
        Some(total.shards),
        failed,
        percent,
        total.bytes,
        total.rate,
        total.left,
    ];
    let cells: Vec<String> = cells.into_iter().flatten().collect();
    cells.join(", ")
}

/// What is told of all shards.
struct Total {
    shards: String,
    shards_short: String,
    percent: String,
    bytes: Option<String>,
    rate: Option<String>,
    left: Option<String>,
}

impl Total {
    fn of(state: &RunState, pace: Pace) -> Self {
        let (over, count, done) = (state.over, state.count, state.done());
        let bytes = match state.expected {
            Some(expected) => Some(size_of(done, expected)),
            None => (done > 0).then(|| size(done)),
        };
        Self {
            shards: format!("{over} of {}", plural(count, "shard")),
            shards_short: format!("{over}/{count}"),
            percent: format!("{:>4}", percent_text(state.fraction())),
            bytes,
            rate: pace.told_rate(),
            left: pace.left(state).map(|left| format!("{} left", age(left))),
        }
    }
}

/// How many columns a bar gets beside a whole name, with the gap before it; none where there is
/// little room.
fn bar_columns(room: usize, name: usize) -> usize {
    match room.saturating_sub(name + GAP) {
        bar if bar >= SHORTEST_BAR => bar.min(LONGEST_BAR) + GAP,
        _ => 0,
    }
}

/// A bar of so many columns.
fn drawn_bar(fraction: f64, columns: usize) -> String {
    let inner = columns.saturating_sub(2);
    let full = ((fraction * inner as f64) as usize).min(inner);
    let tip = usize::from(full > 0 && full < inner);
    let (line, rest) = ("=".repeat(full - tip), " ".repeat(inner - full));
    format!("[{line}{}{rest}]", ">".repeat(tip))
}

/// A part of a whole in percent; all of it only where nothing is left.
fn percent_text(fraction: f64) -> String {
    format!("{}%", (fraction * 100.0) as u32)
}

fn size_done(shard: &RunningShard) -> String {
    match shard.expected {
        Some(expected) => size_of(shard.done.min(expected), expected),
        None => size(shard.done),
    }
}

/// The name of a shard in so many columns: what is too long is left out of its middle, and never
/// the id.
fn short_name(path: &ShardPath, room: usize) -> String {
    let text = path.to_string();
    let name = visible(&text);
    let (place, id) = name.rsplit_once('/').unwrap_or(("", &name));
    if name.width() <= room {
        return name.into_owned();
    }
    // Of three columns less, nothing could be read.
    let Some(room) = room.checked_sub(id.width() + 2).filter(|room| *room >= 3) else {
        return clipped(id, room);
    };
    let behind = room / 2;
    let front = fitting(place.chars(), room - behind);
    let back: Vec<char> = fitting(place.chars().rev(), behind).chars().rev().collect();
    let back: String = back.into_iter().collect();
    format!("{front}…{back}/{id}")
}

/// The first characters that fit into so many columns.
fn fitting(text: impl Iterator<Item = char>, room: usize) -> String {
    let mut columns = 0;
    text.take_while(|c| {
        columns += c.width().unwrap_or(0);
        columns <= room
    })
    .collect()
}

fn clipped(text: &str, room: usize) -> String {
    fitting(text.chars(), room)
}

fn padded(text: &str, columns: usize) -> String {
    let rest = columns.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(rest))
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
