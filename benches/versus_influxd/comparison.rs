//! `snap` and other programs that do the same, run in turn, round after round.

use std::fs;
use std::path::Path;

use super::measure::{self, Usage};
use super::results::Line;
use super::rows::Row;

/// A command line; [`measure::DIR`] in it stands for the directory that each run gets.
pub type CommandLine = Vec<String>;

/// What is run, and what each run must leave.
pub struct Comparison<'a> {
    pub snap: CommandLine,
    /// What `snap` is set against.
    pub others: Vec<(&'static Row, CommandLine)>,
    /// Fills the directory before a run, where it is not to be absent.
    pub prepare: Box<dyn Fn(&Path) + 'a>,
    /// Panics unless what a run left is whole.
    pub check: Box<dyn Fn(&Path) + 'a>,
}

impl<'a> Comparison<'a> {
    /// Of `snap` with others that leave the same in a directory that is not there before.
    pub fn new(
        snap: CommandLine,
        others: Vec<(&'static Row, CommandLine)>,
        check: impl Fn(&Path) + 'a,
    ) -> Self {
        Self {
            snap,
            others,
            prepare: Box::new(|_| {}),
            check: Box::new(check),
        }
    }

    /// Runs all, and gives a line for each of the others.
    ///
    /// Every other round goes the other way round, so that none is always the first or always
    /// behind the same one.
    pub fn run(&self, data: &str, directory: &Path, rounds: usize) -> Vec<Line> {
        let others = self.others.iter().map(|(_, command)| command);
        let commands: Vec<_> = [&self.snap].into_iter().chain(others).collect();
        let mut runs = vec![Vec::new(); commands.len()];
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..commands.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                runs[at].push(self.run_once(commands[at], directory));
            }
        }
        let rows = self.others.iter().map(|(row, _)| *row);
        rows.zip(&runs[1..])
            .map(|(row, other)| Line::of_pairs(row, data, &runs[0], other))
            .collect()
    }

    fn run_once(&self, command: &CommandLine, directory: &Path) -> Usage {
        (self.prepare)(directory);
        let usage = measure::run(command, directory);
        (self.check)(directory);
        if directory.exists() {
            fs::remove_dir_all(directory).expect("removing what a run left");
        }
        usage
    }
}
