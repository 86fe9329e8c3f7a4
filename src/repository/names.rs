//! The file names of a legacy backup directory.
//!
//! influxd writes the metastore as `meta.NN` and a shard as `<database>.<policy>.<id>.NN`, the id
//! with at least five digits and NN, counted from 00, with at least two. Names are joined with dots
//! and nothing is escaped, so a name is never taken apart here: what it must be is made from the
//! metastore and compared.

use crate::shard::ShardPath;

/// The file name of the metastore in set number `number`.
pub fn meta_file(number: u32) -> String {
    format!("meta.{number:02}")
}

/// The file name of a shard in set number `number`.
pub fn shard_file(shard: &ShardPath, number: u32) -> String {
    format!("{}.{number:02}", shard_stem(shard))
}

/// The file name of a shard without its number and the dot before it.
pub(crate) fn shard_stem(shard: &ShardPath) -> String {
    format!(
        "{}.{}.{:05}",
        shard.database, shard.retention_policy, shard.id
    )
}

/// Whether a name without its number can be that of a metastore or a shard:
/// `<database>.<policy>.<id>`.
pub(crate) fn is_stem(stem: &str) -> bool {
    let is_shard = |stem: &str| {
        let (names, id) = stem.rsplit_once('.')?;
        let is_id = id
            .parse()
            .is_ok_and(|number: u64| format!("{number:05}") == id);
        // A name may begin or end with a dot, so any dot with something on both sides will do.
        let two = names.len() >= 3 && names.as_bytes()[1..names.len() - 1].contains(&b'.');
        (is_id && two).then_some(())
    };
    stem == "meta" || is_shard(stem).is_some()
}

/// The number in a metastore's file name.
pub(crate) fn meta_number(file: &str) -> Option<u32> {
    let (stem, number) = split_number(file)?;
    (stem == "meta").then_some(number)
}

/// Splits a file name into what stands before the last dot and the number behind it, which has two
/// digits or, past 99, as many as it needs.
pub(crate) fn split_number(file: &str) -> Option<(&str, u32)> {
    let (stem, digits) = file.rsplit_once('.')?;
    let number: u32 = digits.parse().ok()?;
    (format!("{number:02}") == digits).then_some((stem, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_influxd_and_are_recognised_with_their_numbers() {
        let shard = ShardPath {
            database: "db.dot".into(),
            retention_policy: "autogen".into(),
            id: 20,
        };
        assert_eq!(shard_file(&shard, 0), "db.dot.autogen.00020.00");
        let large = ShardPath {
            id: 12_345_678,
            ..shard
        };
        assert_eq!(shard_file(&large, 100), "db.dot.autogen.12345678.100");
        assert_eq!(
            split_number("db.dot.autogen.00020.07"),
            Some(("db.dot.autogen.00020", 7))
        );
        for stem in ["db.dot.autogen.00020", "meta", "..a.00001", ".é.ü.12345678"] {
            assert!(is_stem(stem), "{stem}");
        }
        let others = [
            "report.2024",
            "report.20241231",
            "._meta",
            ".autogen.00001",
            "db..00001",
            "é.00001",
            "db.autogen.0001",
            "db.autogen.000001",
            "db.autogen.00001 2",
            "db.autogen.00001 (conflicted copy)",
            "db.autogen.00001.sync-conflict-20261120-080000-ABCDEFG",
            "db.autogen.99999999999999999999999",
        ];
        for stem in others {
            assert!(!is_stem(stem), "{stem}");
        }
        assert_eq!(meta_number("meta.99"), Some(99));
        assert_eq!(meta_number(&meta_file(100)), Some(100));
        for other in [
            "meta.0",
            "meta.007",
            "meta.00.pending",
            "meta.autogen.00039.00",
            "meta",
            "meta.+1",
            "meta.",
        ] {
            assert_eq!(meta_number(other), None, "{other}");
        }
    }
}
