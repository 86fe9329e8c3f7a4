//! Whatever a connection or a peer that is no snapshotter does: no backup ends well with data
//! missing, and none that failed leaves a trace.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::fixture::{Fixture, SETTLE, expect_nothing, restore_dry_run, shard, states};
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{
    Asked, Crowded, Cut, Door, End, Manners, Model, Presence, Proxy, Reply, Stranger, Version,
    nobody, offsets, tsm,
};
use crate::support::process::{backup, restore_into};
use crate::support::{each, folder, tree};

/// Far longer than the time-outs that the runs are given take, and far shorter than the default
/// ones.
const GENEROUS: Duration = Duration::from_secs(60);

/// Cuts at each of the offsets, in both ways.
fn cuts(offsets: impl IntoIterator<Item = usize>) -> Vec<(usize, End)> {
    offsets
        .into_iter()
        .flat_map(|at| [(at, End::Fin), (at, End::Rst)])
        .collect()
}

/// A cut for each of many shards: the shard's id, where, and how. All standard shards have tars of
/// the same layout.
fn cut_shards() -> Vec<(u64, usize, End)> {
    let cuts: Vec<_> = (1..)
        .zip(cuts(offsets(&shard(1).bytes())))
        .map(|(id, (at, end))| (id, at, end))
        .collect();
    assert!(cuts.len() > 40);
    cuts
}

#[test]
fn a_shard_cut_off_once_anywhere_is_fetched_anew_and_stored_byte_for_byte() {
    let cuts = cut_shards();
    let fixture = Fixture::with_shards(cuts.iter().map(|(id, ..)| *id));
    for (id, at, end) in cuts {
        fixture
            .peer
            .script(Asked::Shard(id), [Reply::Cut(at, end), Reply::Whole]);
    }
    fixture.backup(&["-jobs", "16", "-retries", "3"]).expect(0);
    let record = fixture.expect_all();
    assert_eq!(record["state"], "complete");
    restore_dry_run(&fixture.dir()).expect(0);
}

#[test]
fn a_shard_cut_off_always_anywhere_is_named_and_nothing_is_kept() {
    let cuts = cut_shards();
    let fixture = Fixture::with_shards(cuts.iter().map(|(id, ..)| *id));
    for (id, at, end) in &cuts {
        fixture
            .peer
            .script(Asked::Shard(*id), [Reply::Cut(*at, *end)]);
    }
    let run = fixture.backup(&["-jobs", "16", "-retries", "1"]).expect(1);
    for (id, at, end) in &cuts {
        assert!(
            run.stderr
                .contains(&format!("shard db/autogen/{id}: failed: ")),
            "{end:?} at {at}: {}",
            run.stderr
        );
        let of_shard = format!("\"ShardID\":{id},");
        let attempts = fixture
            .peer
            .shard_requests()
            .iter()
            .filter(|request| request.contains(&of_shard))
            .count();
        // A question ahead, and two attempts.
        assert_eq!(attempts, 3, "{end:?} at {at}");
    }
    fixture.expect_nothing();
}

#[test]
fn with_skip_errors_the_shards_that_are_not_cut_off_make_a_partial_set() {
    let cuts = cut_shards();
    let whole = 1000;
    let mut model = Model::new(Version::V1_6, &[("other db", "p.q", whole)]);
    model.shards.extend(cuts.iter().map(|(id, ..)| shard(*id)));
    let fixture = Fixture::new(model);
    for (id, at, end) in &cuts {
        fixture
            .peer
            .script(Asked::Shard(*id), [Reply::Cut(*at, *end)]);
    }
    let run = fixture
        .backup(&["-jobs", "16", "-retries", "0", "-skip-errors"])
        .expect(3);
    let record = fixture.expect_shards(|shard| shard.path.id == whole);
    assert_eq!(record["state"], "partial");
    let states = states(&record);
    assert_eq!(states[&whole].0, "stored");
    for (id, at, end) in &cuts {
        let (state, reason) = &states[id];
        assert!(
            state == "failed" && !reason.is_empty(),
            "{end:?} at {at}: {state}, {reason:?}"
        );
        let failed = format!("shard db/autogen/{id}: failed: {reason}\n");
        assert!(
            run.stderr.contains(&failed),
            "{end:?} at {at}: {}",
            run.stderr
        );
    }
    // Those with the same reason are told together.
    let missing = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("missing: "));
    assert_eq!(missing.clone().count(), cuts.len() - 1, "{}", run.stderr);
    let silent = "missing: 2 shards (db/autogen/1, db/autogen/2): ";
    assert_eq!(missing.filter(|line| line.starts_with(silent)).count(), 1);
    let restore = restore_dry_run(&fixture.dir()).expect(3);
    assert!(
        restore.stderr.contains("db/autogen/1"),
        "{}",
        restore.stderr
    );
}

#[test]
fn the_metastore_and_the_list_of_shards_cut_off_anywhere_are_asked_for_again() {
    let model = Model::new(Version::V1_6, &[("db", "autogen", 1), ("db", "week", 2)]);
    let (meta, info) = (model.meta(), model.info("db"));
    let meta_offsets = [
        1,
        7,
        8,
        9,
        15,
        16,
        17,
        16 + (meta.len() - 29) / 2,
        meta.len() - 13,
        meta.len() - 12,
        meta.len() - 6,
    ];
    let of_meta = cuts(
        meta_offsets
            .into_iter()
            .chain([meta.len() - 5, meta.len() - 1]),
    );
    // Without its newline, and ended properly, the list is complete JSON.
    let of_info = cuts([0, 1, info.len() / 2, info.len() - 2, info.len() - 1]);
    let of_info = of_info
        .into_iter()
        .filter(|cut| *cut != (info.len() - 1, End::Fin));
    let of_meta = of_meta.into_iter().map(|cut| (Asked::Meta, cut));
    each(
        of_meta.chain(of_info.map(|cut| (Asked::Info, cut))),
        |(asked, (at, end))| {
            let fixture = Fixture::new(model.clone());
            fixture.peer.script(*asked, [Reply::Cut(*at, *end)]);
            fixture.backup(&["-retries", "0"]).expect(1);
            fixture.expect_nothing();
            fixture
                .peer
                .script(*asked, [Reply::Cut(*at, *end), Reply::Whole]);
            fixture.backup(&["-retries", "2"]).expect(0);
            fixture.expect_all();
        },
    );
}

#[test]
fn a_slow_peer_is_waited_for() {
    let fixture = Fixture::with_shards(1..=4);
    fixture.peer.script(Asked::Meta, [Reply::OneByteAtATime]);
    fixture.peer.script(Asked::Info, [Reply::OneByteAtATime]);
    fixture
        .peer
        .script(Asked::Shard(1), [Reply::OneByteAtATime]);
    // The pauses add up to more than the idle time-out; none is as long.
    fixture.peer.script(
        Asked::Shard(2),
        [Reply::Slow {
            piece: 100,
            pause: Duration::from_millis(100),
        }],
    );
    // The third answers whole, but never ends; the fourth breaks off without an end.
    fixture
        .peer
        .script(Asked::Shard(3), [Reply::Stall(usize::MAX), Reply::Whole]);
    fixture.peer.script(
        Asked::Shard(4),
        [Reply::Stall(0), Reply::Stall(700), Reply::Whole],
    );
    fixture
        .backup(&["-idle-timeout", "2s", "-jobs", "4"])
        .expect(0);
    fixture.expect_all();
}

#[test]
fn a_peer_that_stalls_or_never_ends_outlasts_no_time_out() {
    let slow = Reply::Slow {
        piece: 1,
        pause: Duration::from_millis(20),
    };
    let replies = [
        (Asked::Shard(1), Reply::Stall(0), "-idle-timeout"),
        (Asked::Shard(2), Reply::Stall(512), "-idle-timeout"),
        (Asked::Shard(3), Reply::Stall(700), "-idle-timeout"),
        (Asked::Shard(4), slow.clone(), "-attempt-timeout"),
        (Asked::Shard(5), Reply::EndlessContent, "-attempt-timeout"),
        (Asked::Shard(6), Reply::EndlessMembers, ""),
        (
            Asked::Shard(7),
            Reply::Bytes(vec![0; 1 << 20]),
            "behind the end",
        ),
    ];
    let fixture = Fixture::with_shards(1..=7);
    for (asked, reply, _) in &replies {
        fixture.peer.script(*asked, [reply.clone()]);
    }
    let limits = [
        "-idle-timeout",
        "500ms",
        "-attempt-timeout",
        "2s",
        "-retries",
        "1",
        "-jobs",
        "7",
    ];
    let run = fixture.backup(&limits).expect(1);
    assert!(run.wall < GENEROUS, "{:?}", run.wall);
    for (id, (_, reply, reason)) in (1..).zip(&replies) {
        let begin = format!("shard db/autogen/{id}: failed: ");
        let line = run.stderr.lines().find(|line| line.starts_with(&begin));
        assert!(
            line.is_some_and(|line| line.contains(reason)),
            "{reply:?}: {}",
            run.stderr
        );
    }
    fixture.expect_nothing();

    let cases = [
        (Asked::Meta, Reply::Stall(0)),
        (Asked::Meta, Reply::Stall(20)),
        (Asked::Meta, slow.clone()),
        (Asked::Info, Reply::Stall(0)),
        (Asked::Info, Reply::Stall(5)),
        (Asked::Info, slow),
    ];
    each(cases, |(asked, reply)| {
        let fixture = Fixture::with_shards(1..=20);
        fixture.peer.script(*asked, [reply.clone()]);
        let run = fixture
            .backup(&[
                "-idle-timeout",
                "500ms",
                "-attempt-timeout",
                "1s",
                "-retries",
                "1",
            ])
            .expect(1);
        assert!(run.wall < GENEROUS, "{:?}", run.wall);
        assert!(run.stderr.contains("-timeout"), "{}", run.stderr);
        fixture.expect_nothing();
    });
}

#[test]
fn what_is_no_snapshotter_is_told_apart_and_nothing_is_made() {
    let bad_request = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request";
    let tls_alert = b"\x15\x03\x01\x00\x02\x02\x46".to_vec();
    let cases: [(Manners, &[&str]); 9] = [
        (
            Manners::Answers(bad_request.into()),
            &["speaks HTTP", "is an HTTP port", "8088"],
        ),
        (
            Manners::Greets(bad_request.into()),
            &["speaks HTTP", "is an HTTP port", "8088"],
        ),
        (Manners::Answers(tls_alert.clone()), &["TLS", "8088"]),
        (Manners::Greets(tls_alert), &["TLS", "8088"]),
        (
            Manners::Greets(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
            &["not a snapshotter", "SSH-2.0", "8088"],
        ),
        (
            Manners::Answers(b"-ERR unknown command\r\n".to_vec()),
            &["not a snapshotter", "-ERR"],
        ),
        (Manners::Answers(b"\0".repeat(4096)), &["not a snapshotter"]),
        (Manners::Leaves(End::Fin), &["without an answer"]),
        (Manners::Leaves(End::Rst), &["onnection"]),
    ];
    // A reset at once can come before the request is written, or after, or while the connection is
    // made.
    let times = |manners: &Manners| {
        if matches!(manners, Manners::Leaves(_)) {
            40
        } else {
            1
        }
    };
    let cases = cases
        .iter()
        .flat_map(|case| std::iter::repeat_n(case, times(&case.0)));
    each(cases, |(manners, said)| {
        let root = folder();
        let stranger = Stranger::start(manners.clone());
        let limits = ["-idle-timeout", "5s", "-retries", "0"];
        let run = backup(&stranger.host(), &limits, &root.path().join("backup"))
            .run()
            .expect(5);
        assert!(
            said.iter().all(|text| run.stderr.contains(text)),
            "{}",
            run.stderr
        );
        assert_eq!(tree::names(root.path()), [""; 0]);
    });
    let root = folder();
    let run = backup(&nobody(), &[], &root.path().join("backup"))
        .run()
        .expect(5);
    assert!(
        run.stderr.contains("refused") && run.stderr.contains("hint: "),
        "{}",
        run.stderr
    );
    assert_eq!(tree::names(root.path()), [""; 0]);

    let silent = Stranger::start(Manners::Listens);
    let limits = ["-idle-timeout", "300ms", "-retries", "0"];
    let run = backup(&silent.host(), &limits, &root.path().join("backup")).run();
    assert!(
        matches!(run.code, Some(1 | 5)) && run.stderr.contains("-idle-timeout"),
        "{run:?}"
    );
    assert_eq!(tree::names(root.path()), [""; 0]);
}

#[test]
fn a_run_that_is_told_to_stop_stops_at_once_and_leaves_nothing() {
    let stops: [(Asked, Reply, usize); 6] = [
        (Asked::Meta, Reply::Stall(20), 1),
        (Asked::Info, Reply::Stall(0), 2),
        (Asked::Shard(1), Reply::Stall(0), 3),
        (Asked::Shard(1), Reply::Stall(700), 3),
        (Asked::Shard(1), Reply::EndlessContent, 3),
        // Stopped in the wait between attempts.
        (Asked::Shard(1), Reply::Cut(700, End::Fin), 5),
    ];
    let cases = stops.into_iter().flat_map(|stop| {
        [(libc::SIGINT, 130), (libc::SIGTERM, 143)].map(|signal| (stop.clone(), signal))
    });
    each(cases, |((asked, reply, requests), (signal, code))| {
        let fixture = Fixture::with_shards([1]);
        fixture.peer.script(*asked, [reply.clone()]);
        let running = fixture.start(&["-retries", "1000"], *requests);
        running.signal(*signal);
        let run = running.wait().expect(*code);
        assert!(run.wall < GENEROUS, "{:?}", run.wall);
        fixture.expect_nothing();
    });
}

#[test]
fn a_host_that_takes_no_connection_outlasts_no_time_out_and_no_wish_to_stop() {
    let root = folder();
    let host = Crowded::start();
    let run = backup(
        &host.host(),
        &["-connect-timeout", "500ms"],
        &root.path().join("backup"),
    )
    .run()
    .expect(5);
    assert!(
        run.wall < GENEROUS && run.stderr.contains("-connect-timeout"),
        "{run:?}"
    );
    let running = backup(
        &host.host(),
        &["-connect-timeout", "5s"],
        &root.path().join("backup"),
    )
    .spawn();
    thread::sleep(5 * SETTLE);
    running.signal(libc::SIGINT);
    running.wait().expect(130);
    assert_eq!(tree::names(root.path()), [""; 0]);
}

#[test]
fn the_run_after_a_killed_one_cleans_up_and_succeeds() {
    let fixture = Fixture::with_shards([1, 2, 3]);
    fixture
        .peer
        .script(Asked::Shard(2), [Reply::Stall(700), Reply::Whole]);
    let running = fixture.start(&["-jobs", "3"], 5);
    running.signal(libc::SIGKILL);
    assert_eq!(running.wait().signal, Some(libc::SIGKILL));
    assert_eq!(tree::names(&fixture.dir()), [".snap"]);
    assert!(
        tree::names(&fixture.dir().join(".snap")).len() > 1,
        "the killed run left nothing to clean up"
    );
    restore_dry_run(&fixture.dir()).expect(10);
    fixture.backup(&[]).expect(0);
    fixture.expect_all();
}

#[test]
fn a_second_run_in_the_directory_is_refused_or_waits_until_the_first_is_gone() {
    let fixture = Fixture::with_shards([1]);
    fixture
        .peer
        .script(Asked::Shard(1), [Reply::Stall(700), Reply::Whole]);
    let first = fixture.start(&[], 3);
    for flags in [&[][..], &["-retry-lock", "300ms"]] {
        let second = fixture.backup(flags).expect(11);
        assert!(
            second.stderr.contains(&format!("process {}", first.pid())),
            "{}",
            second.stderr
        );
    }
    let third = fixture.start(&["-retry-lock", "30s"], 3);
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let waiting = fixture.start(&["-retry-lock", "10m"], 3);
        waiting.signal(signal);
        waiting.wait().expect(code);
    }
    first.signal(libc::SIGKILL);
    assert_eq!(first.wait().signal, Some(libc::SIGKILL));
    third.wait().expect(0);
    fixture.expect_all();
}

#[test]
fn a_connection_to_influxd_that_breaks_once_costs_nothing_and_one_that_always_breaks_leaves_nothing()
 {
    let root = folder();
    let server = Influxd::start(&root.path().join("server"), Index::Inmem);
    server.execute("CREATE DATABASE db");
    let lines: Vec<String> = (0..3000_i64)
        .map(|i| format!("m,t={} v={}.25 {}", i % 7, i * i, i * 1_000_000_000))
        .collect();
    server.write("db", "autogen", &lines.join("\n"));
    server.write("db", "autogen", "m,t=x v=1 1600000000000000000");
    let direct = root.path().join("direct");
    backup(&server.host(), &[], &direct).run().expect(0);
    let expected = tree::visible_files(&direct);
    assert_eq!(expected.len(), 3);
    let shards = || {
        expected
            .iter()
            .filter(|(name, _)| !name.starts_with("meta"))
    };
    let least = shards().map(|(_, tar)| tar.len()).min().expect("shards");
    each(
        (0..).zip(cuts([0, 1, 512, 600, least - 1024, least - 512, least - 1])),
        |(number, (after, end))| {
            let dir = root.path().join(format!("backup{number}"));
            let proxy = |times| {
                Proxy::start(
                    &server.host(),
                    Cut {
                        after: *after,
                        end: *end,
                        times,
                    },
                )
            };
            backup(&proxy(None).host(), &["-retries", "0"], &dir)
                .run()
                .expect(1);
            expect_nothing(&dir);
            backup(&proxy(Some(1)).host(), &[], &dir).run().expect(0);
            assert!(tree::visible_files(&dir) == expected, "the files differ");
        },
    );
    server.stop();
}

/// A server with so many shards, behind a door that lets the questions for the metastore and the
/// list of shards through.
fn behind_a_door(count: u64, then: Presence) -> (Fixture, Door) {
    let fixture = Fixture::with_shards(1..=count);
    let door = Door::start(fixture.peer.address(), 2, then);
    (fixture, door)
}

#[test]
fn a_server_that_goes_away_for_a_while_is_waited_for_and_no_shard_has_failed() {
    each([Presence::Closes, Presence::Away], |then| {
        let (fixture, door) = behind_a_door(30, *then);
        // A shard alone would be tried again once, after half a second.
        let running = backup(
            &door.host(),
            &["-retries", "1", "-jobs", "8"],
            &fixture.dir(),
        )
        .spawn();
        while !door.has_turned() {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_secs(3));
        door.open();
        let run = running.wait().expect(0);
        assert!(
            !run.stderr.contains(": failed: "),
            "{then:?}: {}",
            run.stderr
        );
        fixture.expect_all();
    });
}

#[test]
fn a_server_that_stays_away_is_asked_so_often_in_all_and_not_for_each_shard() {
    let (fixture, door) = behind_a_door(300, Presence::Closes);
    let run = backup(
        &door.host(),
        &["-retries", "1", "-jobs", "8"],
        &fixture.dir(),
    )
    .run()
    .expect(1);
    // Those that are asked about at a time, and five attempts after, each with a look whether the
    // server is there.
    let most = 2 * (16 + 5);
    assert!(door.turned_away() <= most, "{}", door.turned_away());
    assert!(
        run.stderr.contains("-resume") && run.stderr.contains("-retries"),
        "{}",
        run.stderr
    );
    fixture.expect_nothing();
}

#[test]
fn shards_of_which_a_server_says_nothing_one_after_the_other_are_not_all_tried_again() {
    let count = 60;
    let fixture = Fixture::with_shards(1..=count);
    for id in 1..=count {
        fixture.peer.script(Asked::Shard(id), [Reply::Nothing]);
    }
    fixture.backup(&["-retries", "1", "-jobs", "2"]).expect(1);
    let asked = fixture.peer.shard_requests().len();
    // Sixteen ahead, as many in earnest, five to see whether that has changed, and then each once.
    assert!(asked <= 16 + 16 + 5 + 60, "{asked}");
    fixture.expect_nothing();
}

#[test]
fn the_data_directory_of_an_influxd_is_no_place_for_a_backup() {
    let fixture = Fixture::with_shards([1]);
    let shard = fixture.dir().join("db/autogen/1");
    // Folders with such names alone are none.
    fs::create_dir_all(&shard).expect("a directory");
    let elsewhere = fixture.path("other/prod/daily/20260101");
    fs::create_dir_all(&elsewhere).expect("a directory");
    let host = fixture.peer.host();
    backup(&host, &[], &fixture.path("other")).run().expect(0);

    fs::write(shard.join("000000001-000000001.tsm"), tsm(1, 100)).expect("a file");
    let before = tree::files(&fixture.dir());
    let run = fixture.backup(&[]).expect(6);
    assert!(
        run.stderr.contains("is the data directory of an influxd"),
        "{}",
        run.stderr
    );
    assert_eq!(tree::files(&fixture.dir()), before);
}

#[test]
fn a_range_without_a_shard_is_warned_of() {
    let fixture = Fixture::with_shards([1]);
    let run = fixture.backup(&["-start", "2200-01-01"]).expect(0);
    let warning = "warning: the server has no shard of points from 2200-01-01T00:00:00Z on";
    assert!(run.stderr.contains(warning), "{}", run.stderr);
    let whole = fixture.path("whole");
    backup(&fixture.peer.host(), &[], &whole).run().expect(0);
    let flags = ["-dry-run", "-end", "1900-01-01"];
    let run = restore_into(&fixture.path("target"), &flags, &whole).run();
    let warning = "warning: the backup has no shard of points up to 1900-01-01T00:00:00Z";
    let run = run.expect(0);
    assert!(run.stderr.contains(warning), "{}", run.stderr);
}
