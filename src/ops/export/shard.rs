//! The points of a shard, made into pieces by several threads and written in their order.
//!
//! Threads take some series at a time, a unit, in the order of their keys. Each unit has a short queue
//! of its own, and the queues stand in the order of the units: who writes empties one after the
//! other, and whoever is too far ahead waits for room in his.

use std::cell::RefCell;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};

use super::points_writer::{PointsFormatter, PointsWriter};
use crate::cancel::Cancel;
use crate::ops::prepared::{PreparedShard, Told};
use crate::time::Bounds;
use crate::tsm::points::{PointsFinding, PointsReader, PointsSelection, PointsWalk, SeriesFields};
use crate::tsm::schema::{Cardinality, Distinct, HashBudget, hash};
use crate::tsm::sought_series::{SoughtMatcher, SoughtSeries};

/// A unit has at least so many blocks, or fields of series in so many files, unless it is the last.
const UNIT_BLOCKS: usize = 64;
const UNIT_FIELDS: usize = 512;

/// How many pieces of a unit wait for the writer.
const PIECES: usize = 2;

/// How many units for each thread may be begun before the first of them is written.
const UNITS_AHEAD: usize = 2;

/// Which points of shards are written, and how many threads make pieces of them.
pub(super) struct WhichPoints<'a> {
    pub sought: &'a SoughtSeries,
    pub bounds: Bounds,
    pub jobs: usize,
}

/// Counts series, each once however many shards have it.
#[derive(Default)]
pub(super) struct SeriesCounter {
    seen: Distinct,
    budget: HashBudget,
}

impl SeriesCounter {
    /// How many there were.
    pub(super) fn count(&self) -> Cardinality {
        self.seen.cardinality()
    }
}

/// Writes points of a shard, and counts their series. What could not be written, a sentence each.
///
/// # Errors
///
/// When the files cannot be read, or nothing be written; when a stop was asked for.
pub(super) fn write<W: PointsWriter>(
    shard: &PreparedShard,
    which: &WhichPoints<'_>,
    writer: &mut W,
    series: &mut SeriesCounter,
    stop: &Cancel,
) -> Result<Vec<String>> {
    let mut told = Told::new(&shard.told);
    let files = shard.open(&mut told)?;
    let sources = files.iter().map(|file| file.named(file.name));
    let selection = PointsSelection {
        new_types: &shard.new_types,
        time_range: which.bounds,
    };
    let mut tell = |finding: PointsFinding<'_>| told.add(finding.to_string());
    let walk = PointsWalk::open(sources.collect(), selection, &mut tell)?;
    let units = Mutex::new(Units {
        walk,
        matcher: which.sought.matcher(),
        is_over: false,
    });
    writer.begin_shard(&shard.name)?;
    let mut written = Written {
        told,
        unwritable: Told::default(),
        series,
    };
    let policy = format!("{}\0{}\0", shard.name.database, shard.name.retention_policy);
    let jobs = which.jobs.max(1);
    thread::scope(|scope| {
        let (queues, ordered) = mpsc::sync_channel(UNITS_AHEAD * jobs);
        for _ in 0..jobs {
            let worker = Worker {
                units: &units,
                queues: queues.clone(),
                formatter: writer.formatter(),
                policy: policy.as_bytes(),
                stop,
            };
            scope.spawn(move || worker.run());
        }
        drop(queues);
        // Where this fails, the queues are gone, and with them whoever fills them.
        (ordered.into_iter()).try_for_each(|queue| written.take(queue, writer))
    })?;
    let Written {
        told,
        mut unwritable,
        ..
    } = written;
    writer.end_shard(&mut unwritable)?;
    Ok([told.finish(), unwritable.finish()].concat())
}

/// Series that nobody has begun, in their order.
struct Units<'a> {
    walk: PointsWalk<'a>,
    matcher: SoughtMatcher<'a>,
    is_over: bool,
}

/// Some series, one after the other.
#[derive(Default)]
struct Unit<'a> {
    series: Vec<SeriesFields<'a>>,
    /// What the indexes say of them.
    told: Told,
}

/// What comes of a unit.
enum Message<P> {
    Piece(P),
    /// It is the last.
    Done(UnitReport),
    Failed(anyhow::Error),
}

/// What is to say of a unit.
#[derive(Default)]
struct UnitReport {
    /// What is damaged.
    told: Told,
    /// What cannot be written.
    unwritable: Told,
    /// The hash of each series that has points.
    series: Vec<u64>,
}

impl<'a> Units<'a> {
    /// The next unit, none after the last.
    fn next(&mut self, stop: &Cancel) -> Result<Option<Unit<'a>>> {
        let mut unit = Unit::default();
        let (mut blocks, mut fields) = (0, 0);
        while blocks < UNIT_BLOCKS && fields < UNIT_FIELDS {
            stop.check()?;
            let mut tell = |finding: PointsFinding<'_>| unit.told.add(finding.to_string());
            let Some(series) = self.walk.next_series(&mut tell)? else {
                self.is_over = true;
                break;
            };
            if !self.matcher.takes(series.key()) {
                continue;
            }
            blocks += series.blocks();
            fields += series.cursors();
            unit.series.push(series);
        }
        Ok((!unit.series.is_empty() || !unit.told.is_empty()).then_some(unit))
    }
}

/// Makes pieces of one unit after the other.
struct Worker<'w, 'a, F: PointsFormatter> {
    units: &'w Mutex<Units<'a>>,
    /// Where a queue for each unit goes, in the order of the units.
    queues: SyncSender<Receiver<Message<F::Piece>>>,
    formatter: F,
    /// What tells the series of the policy from those of others.
    policy: &'w [u8],
    stop: &'w Cancel,
}

impl<'a, F: PointsFormatter> Worker<'_, 'a, F> {
    fn run(mut self) {
        let told = RefCell::new(Told::default());
        let mut tell = |finding: PointsFinding<'_>| told.borrow_mut().add(finding.to_string());
        let mut reader = PointsReader::new(&lock(self.units).walk, &mut tell);
        while let Some((unit, queue)) = self.next_unit() {
            let made = unit.and_then(|unit| {
                *told.borrow_mut() = unit.told;
                self.pieces(unit.series, &mut reader, &queue)
            });
            let is_over = made.is_err();
            let last = match made {
                Ok(report) => Message::Done(UnitReport {
                    told: told.take(),
                    ..report
                }),
                Err(error) => Message::Failed(error),
            };
            if queue.send(last).is_err() || is_over {
                return;
            }
        }
    }

    /// The next unit, and where its pieces go. Nobody else begins one before its queue stands behind
    /// the others.
    #[allow(clippy::type_complexity)]
    fn next_unit(&self) -> Option<(Result<Unit<'a>>, SyncSender<Message<F::Piece>>)> {
        let mut units = lock(self.units);
        if units.is_over {
            return None;
        }
        let unit = units.next(self.stop).transpose()?;
        units.is_over |= unit.is_err();
        let (pieces, queue) = mpsc::sync_channel(PIECES);
        self.queues.send(queue).ok()?;
        Some((unit, pieces))
    }

    /// Makes pieces of a unit.
    fn pieces<'r>(
        &mut self,
        series: Vec<SeriesFields<'r>>,
        reader: &mut PointsReader<'r>,
        queue: &SyncSender<Message<F::Piece>>,
    ) -> Result<UnitReport> {
        let mut report = UnitReport::default();
        let mut out = |piece| {
            let sent = queue.send(Message::Piece(piece));
            sent.map_err(|_| anyhow!("the points are no longer wanted"))
        };
        let formatter = &mut self.formatter;
        for fields in series {
            self.stop.check()?;
            let mut series = reader.begin(fields)?;
            let mut points = 0;
            if formatter.begin_series(&series, &mut report.unwritable, &mut out)? {
                while let Some(rows) = series.next_rows()? {
                    self.stop.check()?;
                    points += formatter.add(&rows, &mut out)?;
                }
            }
            if points > 0 {
                report
                    .series
                    .push(hash(&[self.policy, series.key()].concat()));
            }
        }
        formatter.flush(&mut out)?;
        Ok(report)
    }
}

fn lock<'m, 'a>(units: &'m Mutex<Units<'a>>) -> MutexGuard<'m, Units<'a>> {
    units.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was written up to here.
struct Written<'s> {
    told: Told,
    unwritable: Told,
    series: &'s mut SeriesCounter,
}

impl Written<'_> {
    /// Writes the pieces of a unit.
    fn take<W: PointsWriter>(
        &mut self,
        queue: Receiver<Message<<W::Formatter as PointsFormatter>::Piece>>,
        writer: &mut W,
    ) -> Result<()> {
        for message in queue {
            match message {
                Message::Piece(piece) => writer.put(piece)?,
                Message::Done(report) => {
                    self.told.append(report.told);
                    self.unwritable.append(report.unwritable);
                    let SeriesCounter { seen, budget } = &mut *self.series;
                    report
                        .series
                        .iter()
                        .for_each(|hash| seen.add(*hash, budget));
                    return Ok(());
                }
                Message::Failed(error) => return Err(error),
            }
        }
        // The panic that ended it goes on where its thread is waited for.
        Err(anyhow!("a thread that reads points ended before its time"))
    }
}
