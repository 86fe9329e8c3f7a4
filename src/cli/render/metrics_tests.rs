//! Tests of the metrics file: what it says after each run, and what it keeps of other commands.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn a_failed_run_keeps_the_time_of_the_last_success_and_the_lines_of_other_commands() {
    let shards = vec![("stored", 2), ("empty", 1), ("missing", 0)];
    let tally = Tally {
        bytes: Some(4096),
        shards,
        ..Tally::default()
    };
    let elapsed = Duration::from_millis(1500);
    let run = MetricsRun {
        command: "backup",
        profile: None,
        went_well: true,
        exit_code: 0,
        ended: at(100),
        elapsed,
        tally: &tally,
    };
    let first = text("not ours 1\n", &run);
    assert_eq!(first.matches("# HELP").count(), 6);
    assert_eq!(
        lines(&first),
        [
            "snap_last_run_timestamp_seconds{command=\"backup\"} 100",
            "snap_last_success_timestamp_seconds{command=\"backup\"} 100",
            "snap_last_exit_code{command=\"backup\"} 0",
            "snap_last_duration_seconds{command=\"backup\"} 1.500",
            "snap_last_bytes{command=\"backup\"} 4096",
            "snap_shards{command=\"backup\",state=\"stored\"} 2",
            "snap_shards{command=\"backup\",state=\"empty\"} 1",
            "snap_shards{command=\"backup\",state=\"missing\"} 0",
        ]
    );
    let nothing = Tally::default();
    let failed = MetricsRun {
        went_well: false,
        exit_code: 5,
        ended: at(200),
        tally: &nothing,
        ..run
    };
    let verified = MetricsRun {
        command: "verify",
        went_well: true,
        exit_code: 0,
        ended: at(300),
        ..failed
    };
    let second = text(&text(&first, &failed), &verified);
    assert_eq!(
        lines(&second),
        [
            "snap_last_run_timestamp_seconds{command=\"backup\"} 200",
            "snap_last_run_timestamp_seconds{command=\"verify\"} 300",
            "snap_last_success_timestamp_seconds{command=\"backup\"} 100",
            "snap_last_success_timestamp_seconds{command=\"verify\"} 300",
            "snap_last_exit_code{command=\"backup\"} 5",
            "snap_last_exit_code{command=\"verify\"} 0",
            "snap_last_duration_seconds{command=\"backup\"} 1.500",
            "snap_last_duration_seconds{command=\"verify\"} 1.500",
        ]
    );
}

#[test]
fn profiles_have_lines_of_their_own() {
    let tally = Tally {
        shards: vec![("stored", 1)],
        ..Tally::default()
    };
    let (ended, elapsed) = (at(1), Duration::ZERO);
    let run = |profile, exit_code| MetricsRun {
        command: "backup",
        profile,
        went_well: false,
        exit_code,
        ended,
        elapsed,
        tally: &tally,
    };
    let both = text(&text("", &run(Some("a\"b"), 1)), &run(None, 2));
    let again = text(&both, &run(None, 3));
    let codes: Vec<&str> = lines(&again)
        .into_iter()
        .filter(|line| line.contains("exit_code"))
        .collect();
    let other = "snap_last_exit_code{command=\"backup\",profile=\"a\\\"b\"} 1";
    assert_eq!(codes, [other, "snap_last_exit_code{command=\"backup\"} 3"]);
    assert_eq!(again.matches("\nsnap_shards{").count(), 2);
}

#[test]
fn what_a_link_leads_to_is_neither_told_nor_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (secret, file) = (
        folder.path().join("secret"),
        folder.path().join("snap.prom"),
    );
    fs::write(&secret, "root:hash\n").unwrap();
    std::os::unix::fs::symlink(&secret, &file).unwrap();
    let tally = Tally::default();
    let run = MetricsRun {
        command: "backup",
        profile: None,
        went_well: true,
        exit_code: 0,
        ended: at(1),
        elapsed: Duration::ZERO,
        tally: &tally,
    };
    write(&file, &run).unwrap();
    assert!(!fs::read_to_string(&file).unwrap().contains("hash"));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "root:hash\n");
}

#[test]
fn runs_that_end_at_the_same_time_do_not_lose_each_others_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snap.prom");
    let profiles: Vec<String> = (0..32).map(|number| number.to_string()).collect();
    thread::scope(|scope| {
        for profile in &profiles {
            let file = &file;
            scope.spawn(move || {
                let (tally, profile) = (Tally::default(), Some(profile.as_str()));
                let (ended, elapsed) = (at(1), Duration::ZERO);
                let run = MetricsRun {
                    command: "backup",
                    profile,
                    went_well: true,
                    exit_code: 0,
                    ended,
                    elapsed,
                    tally: &tally,
                };
                write(file, &run).unwrap();
            });
        }
    });
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(
        lines(&text)
            .iter()
            .filter(|line| line.starts_with(LAST_SUCCESS))
            .count(),
        profiles.len(),
        "{text}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
