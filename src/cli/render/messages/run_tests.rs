//! The last line of a backup and of a restore, and what it is made of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::ops::{ConflictRule, MadeSet, MergeReport};
use crate::repository::SetId;

const ID: &str = "20261126T145201Z";

/// A backup of 189 shards with 14.2 MiB and a metastore of 6.5 KiB.
fn backup() -> BackupReport {
    BackupReport {
        set: Some(MadeSet {
            id: SetId::from(ID),
            number: 3,
            meta: "meta.03".to_owned(),
        }),
        stored: 189,
        unknown: 0,
        undecided: 0,
        shared: 0,
        empty: 0,
        missing: Vec::new(),
        unproven: Vec::new(),
        gaps: Vec::new(),
        losses: None,
        since: None,
        bytes: 15_100_000,
        data_bytes: 14_889_779 + 6656,
        shared_bytes: 0,
        elapsed: Duration::from_millis(700),
    }
}

fn restore() -> RestoreReport {
    RestoreReport {
        set: SetId::from(ID),
        shards: 3,
        files: 5,
        bytes: 14_889_779,
        metastore: Some(PathBuf::from("/lib/meta/meta.db")),
        metastore_bytes: 6656,
        read_back: None,
        users: None,
        applied: None,
        lost: None,
        merge: None,
        missing: Vec::new(),
        in_part: BTreeSet::new(),
        elapsed: Duration::from_millis(700),
    }
}

fn told(report: &BackupReport) -> String {
    RunSummary::of_backup(
        report,
        &Path::new("/backups/inc").into(),
        report.set.is_none(),
    )
    .line()
}

fn told_restore(report: &RestoreReport, host: Option<&str>, dry_run: bool) -> String {
    RunSummary::of_restore(report, &Path::new("/backups/inc").into(), host, dry_run).line()
}

#[test]
fn a_backup_ends_in_what_it_made_and_what_that_added() {
    assert_eq!(
        told(&backup()),
        "set 20261126T145201Z: 189 shards, 14.2 MiB of data, 14.4 MiB on disk, 0.7 s, /backups/inc"
    );
    let unchanged = BackupReport {
        shared: 189,
        bytes: 6700,
        shared_bytes: 14_889_779,
        ..backup()
    };
    assert_eq!(
        told(&unchanged),
        "set 20261126T145201Z: 189 shards (189 unchanged), 6.5 KiB added to 14.2 MiB, 0.7 s, \
         /backups/inc"
    );
    let portable = BackupReport {
        bytes: 3 << 20,
        empty: 2,
        ..backup()
    };
    assert_eq!(
        told(&portable),
        "set 20261126T145201Z: 189 shards, 2 with nothing to send, 14.2 MiB of data, 3.0 MiB on \
         disk, 0.7 s, /backups/inc"
    );
    let alike = BackupReport {
        bytes: 14_889_779 + 6656,
        ..backup()
    };
    assert_eq!(
        told(&alike),
        "set 20261126T145201Z: 189 shards, 14.2 MiB, 0.7 s, /backups/inc"
    );
}

#[test]
fn an_increment_without_anything_says_that_nothing_was_newer() {
    let since = "2026-11-25T00:00:00Z".parse().unwrap();
    let nothing = BackupReport {
        stored: 0,
        empty: 189,
        since: Some(since),
        bytes: 6656,
        data_bytes: 6656,
        ..backup()
    };
    assert_eq!(
        told(&nothing),
        "set 20261126T145201Z: no shard, nothing newer than 2026-11-25, 6.5 KiB, 0.7 s, \
         /backups/inc"
    );
    let little = BackupReport {
        stored: 1,
        empty: 188,
        ..nothing
    };
    assert_eq!(
        told(&little),
        "set 20261126T145201Z: 1 shard, 188 with nothing newer, 6.5 KiB, 0.7 s, /backups/inc"
    );
}

#[test]
fn a_partial_set_is_called_that_and_equal_reasons_are_told_once() {
    let missing = (1..=8)
        .map(|id| Shortfall::of_shard(format!("db/autogen/{id}"), "no answer"))
        .collect();
    let unproven = vec![Shortfall::of_shard("db/autogen/9", "the server is busy")];
    let report = BackupReport {
        missing,
        unproven,
        ..backup()
    };
    assert_eq!(
        told(&report),
        "set 20261126T145201Z (partial): 189 shards, 8 missing, 1 unproven, 14.2 MiB of data, 14.4 \
         MiB on disk, 0.7 s, /backups/inc"
    );
    let summary = RunSummary::of_backup(&report, &Path::new("/backups/inc").into(), false);
    let lacks: Vec<String> = summary.lacks().collect();
    assert_eq!(
        lacks,
        [
            "missing: 8 shards (db/autogen/1, db/autogen/2, db/autogen/3, db/autogen/4, \
             db/autogen/5 and 3 more): no answer",
            "unproven: shard db/autogen/9: the server is busy",
        ]
    );
    assert_eq!(summary.missing.len(), 8);
    assert_eq!(summary.missing[7], "shard db/autogen/8: no answer");
}

#[test]
fn a_dry_run_says_what_it_cannot_know() {
    let report = BackupReport {
        set: None,
        stored: 5,
        bytes: 3 << 20,
        ..backup()
    };
    let with = |unknown, undecided| {
        told(&BackupReport {
            unknown,
            undecided,
            ..report.clone()
        })
    };
    assert_eq!(
        with(0, 0),
        "dry run: would download 5 shards, 3.0 MiB by earlier sets, into /backups/inc"
    );
    assert_eq!(
        with(2, 3),
        "dry run: would download 5 shards, 3 of them only if they have changed, 3.0 MiB by earlier \
         sets and 2 of unknown size, into /backups/inc"
    );
    assert_eq!(
        with(5, 0),
        "dry run: would download 5 shards of unknown size into /backups/inc"
    );
}

#[test]
fn a_restore_counts_what_the_backup_counted() {
    let counted = "14.2 MiB";
    assert!(told(&backup()).contains(counted));
    assert_eq!(
        told_restore(&restore(), None, false),
        "restored set 20261126T145201Z: 3 shards, 5 files, 14.2 MiB, /lib/meta/meta.db, 0.7 s, \
         from /backups/inc"
    );
    let metastore = RestoreReport {
        shards: 0,
        files: 0,
        bytes: 0,
        ..restore()
    };
    assert_eq!(
        told_restore(&metastore, None, true),
        "dry run: would restore set 20261126T145201Z from /backups/inc: 6.5 KiB, /lib/meta/meta.db"
    );
}

#[test]
fn a_shard_that_was_restored_in_part_is_not_counted_as_missing() {
    let lost = |shard: &str, reason| Shortfall::of_shard(shard, reason);
    let report = RestoreReport {
        missing: vec![
            lost("db/autogen/1", "no values of two fields"),
            lost("db/autogen/1", "damaged, and not restored: 1 TSM file"),
            lost("db/autogen/2", "its file is gone"),
        ],
        in_part: BTreeSet::from(["db/autogen/1".to_owned()]),
        ..restore()
    };
    let told = told_restore(&report, None, false);
    assert!(
        told.contains(": 3 shards, 1 of them in part, 1 missing, 5 files, "),
        "{told}"
    );
}

#[test]
fn a_merge_names_its_database() {
    let report = RestoreReport {
        merge: Some(MergeReport {
            database: "telegraf".to_owned(),
            on_conflict: ConflictRule::Server,
            new_policies: 0,
            shards: Vec::new(),
        }),
        metastore: None,
        ..restore()
    };
    let told = told_restore(&report, Some("db:8088"), false);
    let named = "into database 'telegraf', on conflict the server's value, ";
    assert!(told.contains(named), "{told}");
}

#[test]
fn a_live_restore_says_whether_it_was_read_back() {
    let live = RestoreReport {
        metastore: None,
        metastore_bytes: 0,
        ..restore()
    };
    let with = |read_back| {
        let report = RestoreReport {
            read_back,
            ..live.clone()
        };
        told_restore(&report, Some("db:8088"), false)
    };
    let begin = "restored set 20261126T145201Z: 3 shards, 5 files, 14.2 MiB";
    let end = "0.7 s, from /backups/inc";
    assert_eq!(
        [with(Some(3)), with(Some(2)), with(None)],
        [
            format!("{begin}, read back from db:8088, {end}"),
            format!("{begin}, 2 of them read back from db:8088, {end}"),
            format!("{begin}, sent to db:8088 and not read back, {end}"),
        ]
    );
}
