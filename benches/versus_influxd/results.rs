//! What was measured, in the form in which it is reported.

use std::time::Duration;

use super::measure::Usage;
use super::rows::{Row, Unit};

/// Bytes in a MiB.
const MEBIBYTE: f64 = 1_048_576.0;

/// A median, with the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Spread {
    /// Of one value at least.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
        Self {
            median: f64::midpoint(values[low], values[high]),
            least: values[0],
            greatest: values[values.len() - 1],
        }
    }
}

/// A figure for one set of data.
pub struct Line {
    pub row: &'static Row,
    pub data: String,
    pub value: Spread,
    /// Of a ratio of times, what it is made of.
    pub sides: Option<Sides>,
}

/// Two programs that were set against each other.
pub struct Sides {
    /// The ratio of their CPU times.
    pub cpu: Spread,
    pub snap: Side,
    pub other: Side,
}

/// One of them: the median of its runs.
#[derive(Clone, Copy)]
pub struct Side {
    pub wall: Duration,
    pub cpu: Duration,
    /// In MiB.
    pub peak: f64,
}

impl Side {
    pub fn of(runs: &[Usage]) -> Self {
        let median = |get: fn(&Usage) -> f64| Spread::of(runs.iter().map(get)).median;
        Self {
            wall: Duration::from_secs_f64(median(|usage| usage.wall.as_secs_f64())),
            cpu: Duration::from_secs_f64(median(|usage| usage.cpu.as_secs_f64())),
            peak: median(|usage| mebibytes(usage.peak_rss)),
        }
    }
}

impl Line {
    /// Of runs of `snap` and of another program in the same rounds.
    pub fn of_pairs(row: &'static Row, data: &str, snap: &[Usage], other: &[Usage]) -> Self {
        let ratios = |get: fn(&Usage) -> f64| {
            Spread::of(
                snap.iter()
                    .zip(other)
                    .map(|(ours, theirs)| get(ours) / get(theirs)),
            )
        };
        Self {
            row,
            data: data.to_owned(),
            value: ratios(|usage| usage.wall.as_secs_f64()),
            sides: Some(Sides {
                cpu: ratios(|usage| usage.cpu.as_secs_f64()),
                snap: Side::of(snap),
                other: Side::of(other),
            }),
        }
    }

    /// Of values that stand alone, in the row's unit.
    pub fn of_values(
        row: &'static Row,
        data: impl Into<String>,
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        Self {
            row,
            data: data.into(),
            value: Spread::of(values),
            sides: None,
        }
    }

    /// The figure, with its spread where it has one.
    pub fn value_text(&self) -> String {
        let unit = self.row.unit;
        let number = |value| unit.number(value);
        let Spread {
            median,
            least,
            greatest,
        } = self.value;
        let mut text = number(median);
        if least != greatest {
            text += &format!(" ({} to {})", number(least), number(greatest));
        }
        text + unit.symbol()
    }

    /// Whether the figure keeps to its target, as printed; empty where there is none.
    pub fn verdict(&self) -> &'static str {
        match self.row.at_most {
            None => "",
            Some(at_most) if self.value.median <= at_most => "met",
            Some(_) => "not met",
        }
    }
}

impl Unit {
    /// A value in this unit.
    pub fn text(self, value: f64) -> String {
        self.number(value) + self.symbol()
    }

    fn number(self, value: f64) -> String {
        match self {
            Self::WallRatio => format!("{value:.2}"),
            Self::SizeRatio => format!("{value:.3}"),
            Self::Milliseconds | Self::Mebibytes => format!("{value:.1}"),
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::WallRatio | Self::SizeRatio => "",
            Self::Milliseconds => " ms",
            Self::Mebibytes => " MiB",
        }
    }
}

/// Bytes in MiB.
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}
