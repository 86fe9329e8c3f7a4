//! Where the blocks of a compressed file are, in few words.

use std::collections::VecDeque;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BLOCK;

/// The largest blocks that are read, in bytes of their content.
const MOST_SIZE: u32 = 1 << 20;

/// The longest name in the header of the first one, in bytes, and the zero byte behind it.
const MOST_NAME: u32 = 255 + 1;

/// Where the blocks of a compressed file are, each of which is a gzip member.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Blocks {
    /// Bytes of the content in each block; the last may have fewer.
    pub size: u32,
    /// Bytes that each takes in the file, in order, a blank between two; `COUNT*BYTES` for several
    /// alike.
    #[schemars(regex(pattern = r"^(([0-9]+\*)?[0-9]+( ([0-9]+\*)?[0-9]+)*)?$"))]
    pub compressed: String,
}

/// So many blocks in a row that take so many bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub count: u64,
    pub bytes: usize,
}

/// What a file with blocks is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of the content in each block but the last.
    pub size: usize,
    pub runs: VecDeque<Run>,
}

impl Blocks {
    /// The blocks of a file of `file_size` bytes; none where that is not what they make.
    pub(super) fn layout(&self, file_size: u64) -> Option<Layout> {
        if self.size == 0 || self.size > MOST_SIZE {
            return None;
        }
        let most = self.size + self.size / 1024 + 64 + MOST_NAME;
        let mut runs = VecDeque::new();
        let mut left = file_size;
        for word in self.compressed.split_terminator(' ') {
            let (count, bytes) = word.split_once('*').unwrap_or(("1", word));
            let (count, bytes): (u64, u32) = (count.parse().ok()?, bytes.parse().ok()?);
            if count == 0 || bytes == 0 || bytes > most {
                return None;
            }
            left = left.checked_sub(count.checked_mul(bytes.into())?)?;
            let bytes = bytes as usize;
            runs.push_back(Run { count, bytes });
        }
        let size = self.size as usize;
        (left == 0 && !runs.is_empty()).then_some(Layout { size, runs })
    }
}

/// What blocks take, collected while they are written.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    words: String,
    /// The last ones, which are not among the words yet.
    last: Option<Run>,
}

impl Lengths {
    pub(super) fn push(&mut self, bytes: usize) {
        match &mut self.last {
            Some(run) if run.bytes == bytes => run.count += 1,
            _ => {
                self.write_last();
                self.last = Some(Run { count: 1, bytes });
            }
        }
    }

    fn write_last(&mut self) {
        let Some(Run { count, bytes }) = self.last.take() else {
            return;
        };
        if !self.words.is_empty() {
            self.words.push(' ');
        }
        // Strings take whatever is written.
        let _ = match count {
            1 => write!(self.words, "{bytes}"),
            _ => write!(self.words, "{count}*{bytes}"),
        };
    }

    pub(super) fn into_blocks(mut self) -> Blocks {
        self.write_last();
        Blocks {
            size: BLOCK as u32,
            compressed: self.words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(size: u32, compressed: &str) -> Blocks {
        let compressed = compressed.to_owned();
        Blocks { size, compressed }
    }

    #[test]
    fn what_was_pushed_is_there_again_and_alike_neighbours_take_one_word() {
        let mut lengths = Lengths::default();
        [7, 7, 7, 5, 9, 9]
            .iter()
            .for_each(|bytes| lengths.push(*bytes));
        let blocks = lengths.into_blocks();
        assert_eq!(blocks.compressed, "3*7 5 2*9");
        let layout = |runs: &[(u64, usize)]| {
            let runs = runs.iter();
            Some(Layout {
                size: BLOCK,
                runs: runs.map(|&(count, bytes)| Run { count, bytes }).collect(),
            })
        };
        assert_eq!(blocks.layout(44), layout(&[(3, 7), (1, 5), (2, 9)]));
    }

    #[test]
    fn what_does_not_make_the_file_or_no_sense_is_refused() {
        assert!(blocks(1000, "2*900").layout(1800).is_some());
        for (size, compressed, bytes) in [
            (1000, "2*900", 1799),
            (1000, "2*900", 1801),
            (1000, "2*900", 900),
            (1000, "", 0),
            (0, "1", 1),
            (MOST_SIZE + 1, "900", 900),
            (u32::MAX, "900", 900),
            (1000, "2000", 2000),
            (1000, "0", 0),
            (1000, "0*900", 0),
            (1000, "-1", 1),
            (1000, "9  9", 18),
            (1000, "18446744073709551615*900", 900),
            (1000, "18446744073709551616*1", 1),
            (1000, "2*2*2", 8),
            (1000, "nonsense", 0),
        ] {
            let layout = blocks(size, compressed).layout(bytes);
            assert_eq!(layout, None, "{size} {compressed} {bytes}");
        }
    }
}
