//! Rows of progress at every width.

use super::*;
use crate::progress::Event;

fn path(database: &str, id: u64) -> ShardPath {
    ShardPath {
        database: database.into(),
        retention_policy: "autogen".into(),
        id,
    }
}

/// Work on `count` shards, of which those in `running` have a size and how much of it is done.
fn state(count: usize, bytes: Option<u64>, running: &[(&str, u64, Option<u64>, u64)]) -> RunState {
    let mut state = RunState::default();
    state.apply(&Event::Shards { count, bytes });
    for (database, id, expected, done) in running {
        let shard = &path(database, *id);
        let bytes = *expected;
        state.apply(&Event::Started { shard, bytes });
        state.apply(&Event::Bytes {
            shard,
            count: *done,
        });
    }
    state
}

const MIB: u64 = 1 << 20;

fn pace() -> Pace {
    Pace {
        rate: 2.5 * MIB as f64,
        elapsed: Duration::from_secs(4),
    }
}

fn drawn(state: &RunState, columns: u16) -> Vec<String> {
    rows(state, pace(), columns, 24)
}

#[test]
fn at_80_columns_all_is_told_beside_bars() {
    let running = [
        ("db", 12, Some(20 * MIB), 5 * MIB),
        ("telegraf", 7, Some(4 * MIB), 3 * MIB),
    ];
    let state = state(189, Some(48 * MIB), &running);
    assert_eq!(
        drawn(&state, 80),
        [
            "db/autogen/12       [======>                     ]   25%  5.0 of 20.0 MiB",
            "telegraf/autogen/7  [====================>       ]   75%  3.0 of 4.0 MiB",
            "0 of 189 shards  [=>              ]   16%  8.0 of 48.0 MiB  2.5 MiB/s  16s left",
        ]
    );
}

#[test]
fn at_40_columns_the_percent_the_rate_and_the_time_left_stay() {
    let running = [("a_database_with_a_long_name", 1234, Some(20 * MIB), 5 * MIB)];
    let state = state(189, Some(48 * MIB), &running);
    assert_eq!(
        drawn(&state, 40),
        [
            "a_database_wit…_name/autogen/1234   25%",
            "0/189   10%  2.5 MiB/s  18s left"
        ]
    );
}

#[test]
fn where_the_bytes_are_unknown_the_bar_counts_shards() {
    let mut state = state(4, None, &[("db", 1, None, 3 * MIB)]);
    for id in [2, 3] {
        state.apply(&Event::Finished {
            shard: &path("db", id),
            outcome: crate::progress::Outcome::Skipped("nothing to fetch"),
            elapsed: Duration::ZERO,
        });
    }
    assert_eq!(
        drawn(&state, 80),
        [
            "db/autogen/1                                        3.0 MiB",
            "2 of 4 shards  [============>              ]   50%  3.0 MiB  2.5 MiB/s  4s left",
        ]
    );
}

#[test]
fn no_row_is_as_wide_as_its_line_whatever_the_width_and_the_names() {
    let wide = "測定".repeat(30);
    let running = [
        (wide.as_str(), u64::MAX, Some(u64::MAX), u64::MAX / 3),
        ("db\u{1b}[2J", 1, None, 12345),
        ("x", 2, Some(0), 0),
    ];
    let state = state(1_000_000, Some(u64::MAX), &running);
    for columns in 1..=250 {
        for row in drawn(&state, columns) {
            assert!(
                row.width() < usize::from(columns.max(2)),
                "{columns}: {row}"
            );
            assert!(!row.contains('\u{1b}'), "{row:?}");
        }
    }
    assert!(drawn(&state, 40)[0].ends_with("/18446744073709551615   33%"));
}

#[test]
fn what_does_not_fit_into_the_window_is_counted() {
    let running: Vec<_> = (1..=16).map(|id| ("db", id, Some(MIB), 0)).collect();
    let state = state(16, Some(16 * MIB), &running);
    let rows = rows(&state, pace(), 80, 10);
    assert_eq!(rows.len(), 8);
    assert_eq!(rows[6], "and 10 more at work");
    assert!(rows[7].starts_with("0 of 16 shards"), "{rows:?}");
}

#[test]
fn a_long_name_loses_its_middle_and_never_the_id() {
    let shard = path("a_database_with_a_long_name", 1234);
    assert_eq!(
        short_name(&shard, 40),
        "a_database_with_a_long_name/autogen/1234"
    );
    assert_eq!(short_name(&shard, 20), "a_datab…autogen/1234");
    assert_eq!(short_name(&shard, 9), "a_…n/1234");
    assert_eq!(short_name(&shard, 8), "1234");
}

#[test]
fn the_end_is_near_only_once_enough_is_known() {
    let state = state(2, Some(100 * MIB), &[("db", 1, Some(50 * MIB), 10 * MIB)]);
    let told = |rate, millis| {
        let elapsed = Duration::from_millis(millis);
        total_line(&state, Pace { rate, elapsed })
    };
    let mib = MIB as f64;
    assert_eq!(
        told(15.0 * mib, 4000),
        "0 of 2 shards, 10%, 10.0 of 100.0 MiB, 15.0 MiB/s, 6s left"
    );
    assert_eq!(
        told(15.0 * mib, 900),
        "0 of 2 shards, 10%, 10.0 of 100.0 MiB, 15.0 MiB/s"
    );
    assert_eq!(
        told(800.0 * mib, 400),
        "0 of 2 shards, 10%, 10.0 of 100.0 MiB"
    );
    // Nothing comes any more: it may take for ever.
    assert_eq!(told(0.0, 4000), "0 of 2 shards, 10%, 10.0 of 100.0 MiB");
}
