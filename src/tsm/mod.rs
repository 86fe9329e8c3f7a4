//! TSM: the files in which influxd keeps points. All of it works on bytes, readers and writers of
//! any size, in bounded memory.
//!
//! A file is a header, blocks back to back, an index and a footer. [`envelope`] sees that the
//! outside is whole, [`index`] walks the index, [`export`] reduces a file to the blocks of an
//! interval. [`values`] holds points, [`block`] packs and unpacks them with what is in
//! [`encoding`], [`file`] reads files of them and [`writer`] writes such. [`check`] tells every
//! fault of a file, [`parts`] does so with several threads, and [`stream_check`] sees, while a file
//! passes, that it has none; [`filter`] leaves points out of one; [`fields`] finds fields of which
//! files disagree; [`series`] takes keys apart, and [`series_filter`] says which series are meant,
//! and [`sought_series`] whether they were found. [`points`] gives the points of the files of a
//! shard as a query would; [`schema`] tells from indexes what is in files.
//!
//! Beside the files lie tombstones, with what was deleted of them ([`tombstone`]), and elsewhere
//! the WAL, with what was written since the last flush ([`wal`]); [`wal::replay`] makes points of
//! it, and [`wal::flush`] files of those.

pub mod block;
pub mod check;
pub mod encoding;
pub mod envelope;
pub mod export;
pub mod fields;
pub mod file;
pub mod filter;
pub mod index;
pub(crate) mod parts;
mod pattern;
pub(crate) mod points;
pub(crate) mod schema;
pub mod series;
pub mod series_filter;
mod sort;
pub(crate) mod sought_series;
pub(crate) mod stream_check;
pub mod tombstone;
pub mod values;
pub mod wal;
pub mod writer;

/// Magic and version, the first five bytes of a file.
pub const HEADER: [u8; 5] = [0x16, 0xD1, 0x16, 0xD1, 0x01];

/// Whether a name is `<generation>-<sequence>.tsm`, two 32-bit numbers. influxd cannot open a shard
/// with any other.
pub(crate) fn is_file_name(name: &str) -> bool {
    let numbers = name
        .strip_suffix(".tsm")
        .and_then(|stem| stem.split_once('-'));
    let is_number = |text: &str| !text.starts_with('+') && text.parse::<u32>().is_ok();
    numbers.is_some_and(|(generation, sequence)| is_number(generation) && is_number(sequence))
}

/// The name of a TSM file, padded so that names sort as their numbers do.
pub fn file_name(generation: u32, sequence: u32) -> String {
    format!("{generation:09}-{sequence:09}.tsm")
}

/// Whether a name is that of a tombstone file.
pub fn is_tombstone(name: &str) -> bool {
    name.ends_with(".tombstone")
}

/// What the name of a TSM file and that of its tombstone file have in common.
pub fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The name of the tombstone file of a TSM file.
pub fn tombstone_of(name: &str) -> String {
    format!("{}.tombstone", stem(name))
}

/// The generation in the name of a TSM file, or of a tombstone file.
pub fn generation(name: &str) -> Option<u32> {
    Some(numbers(name)?.0)
}

/// The generation and the sequence in the name of a TSM file, or of a tombstone file.
pub(crate) fn numbers(name: &str) -> Option<(u32, u32)> {
    let stem = name
        .strip_suffix(".tsm")
        .or_else(|| name.strip_suffix(".tombstone"))?;
    let (generation, sequence) = stem.split_once('-')?;
    Some((generation.parse().ok()?, sequence.parse().ok()?))
}

/// Whether a name below a shard's directory is that of a file of a tsi1 index, which servers 1.3
/// and 1.4 send along, and which holds no points.
pub(crate) fn is_index(name: &str) -> bool {
    name.starts_with("index/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_generation_and_sequence_make_the_name_of_a_tsm_file() {
        assert!(is_file_name("000000001-000000002.tsm") && is_file_name("5-1.tsm"));
        for odd in [
            "foo.tsm",
            "a-1.tsm",
            "1-1-1.tsm",
            "4294967296-1.tsm",
            "1.tsm",
            "+1-1.tsm",
            "1-1.tsm.tmp",
            "index/1-1.tsm",
        ] {
            assert!(!is_file_name(odd), "{odd}");
        }
    }

    #[test]
    fn a_name_made_is_one_that_is_understood_and_gives_its_generation() {
        assert_eq!(file_name(7, 1), "000000007-000000001.tsm");
        assert!(is_file_name(&file_name(u32::MAX, u32::MAX)));
        assert_eq!(generation(&file_name(u32::MAX, 2)), Some(u32::MAX));
        assert_eq!(generation("5-1.tombstone"), Some(5));
        assert_eq!(
            (
                generation("5-1.tsm.tmp"),
                generation("x-1.tsm"),
                generation("5.tsm")
            ),
            (None, None, None)
        );
    }
}
