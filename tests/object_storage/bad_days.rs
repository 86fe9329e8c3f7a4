//! That whatever a network or a server does on a bad day, no run ends well with data missing, and
//! the next one makes it whole.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::{
    LAYOUTS, Sample, back_up, backup, expect_nothing_but_sets, expect_offline, expect_sound,
    records,
};
use crate::support::backups::{expect_points, messages};
use crate::support::influxd::{Index, Influxd};
use crate::support::object_storage::{Repository, seaweedfs};
use crate::support::process::Run;
use crate::support::proxy::{Fault, Proxy, Request};
use crate::support::{each_of, folder};

/// A bad day, and whether a run is to live through it.
struct Day {
    name: &'static str,
    harm: fn(&Proxy),
    is_survived: bool,
}

/// What happens to uploads.
const UPLOADS: [Day; 16] = [
    Day {
        name: "a part is cut in the middle, twice",
        harm: |proxy| proxy.on("part", 1..3, Fault::CutRequest(2_000_000)),
        is_survived: true,
    },
    Day {
        name: "an object is cut in the middle",
        harm: |proxy| proxy.on("put", 2..4, Fault::CutRequest(500)),
        is_survived: true,
    },
    Day {
        name: "every request is slow",
        harm: |proxy| proxy.on_those(|_| true, .., Fault::Delay(Duration::from_millis(30))),
        is_survived: true,
    },
    Day {
        name: "the server is busy now and then",
        harm: |proxy| {
            for nth in [0, 2, 5, 6, 9, 14, 15, 21] {
                let fault = Fault::Answer(503, "SlowDown");
                proxy.on_those(|_| true, nth..=nth, fault);
            }
        },
        is_survived: true,
    },
    Day {
        name: "the server is broken for some requests in a row",
        harm: |proxy| {
            proxy.on_those(|_| true, 8..12, Fault::Answer(500, "InternalError"));
        },
        is_survived: true,
    },
    Day {
        name: "a part is answered with a time-out of the request",
        harm: |proxy| proxy.on("part", 0..1, Fault::Answer(400, "RequestTimeout")),
        is_survived: true,
    },
    Day {
        name: "a part arrives damaged, twice",
        harm: |proxy| proxy.on("part", 0..2, Fault::FlipRequest),
        is_survived: true,
    },
    Day {
        name: "every object arrives damaged from some moment on",
        harm: |proxy| proxy.on("put", 4.., Fault::FlipRequest),
        is_survived: false,
    },
    Day {
        name: "an upload is completed with an error inside 200",
        harm: |proxy| proxy.on("complete", 0..1, Fault::Answer(200, "InternalError")),
        is_survived: true,
    },
    Day {
        name: "the answer to a completed upload is lost",
        harm: |proxy| proxy.on("complete", 0..1, Fault::LoseResponse),
        is_survived: true,
    },
    Day {
        name: "the answers to some objects are lost",
        harm: |proxy| proxy.on("put", 1..4, Fault::LoseResponse),
        is_survived: true,
    },
    Day {
        name: "the record's answer is lost",
        harm: |proxy| proxy.on_those(is_record, 0..1, Fault::LoseResponse),
        is_survived: true,
    },
    Day {
        name: "nobody listens for two seconds",
        harm: |proxy| proxy.go_down_for(Duration::from_secs(2)),
        is_survived: true,
    },
    Day {
        name: "an upload is never completed, though the answers say so",
        harm: |proxy| proxy.on("complete", .., Fault::Answer(200, "InternalError")),
        is_survived: false,
    },
    Day {
        // In the legacy layout, for parts of the same length.
        name: "some parts come with the bytes of others, and are refused",
        harm: |proxy| proxy.on("part", 0..4, Fault::EarlierBody),
        is_survived: true,
    },
    Day {
        name: "objects are forbidden from some moment on",
        harm: |proxy| proxy.on("put", 4.., Fault::Answer(403, "AccessDenied")),
        is_survived: false,
    },
];

/// Whether a record is written.
fn is_record(request: &Request) -> bool {
    request.operation() == "put"
        && request.key.contains("/.snap/")
        && request.key.ends_with(".json")
}

/// A backup on a bad day; where it cannot help failing, it is told to do so soon.
fn run_on(day: &Day, proxy: &Proxy, repository: &Repository, layout: &[&str]) -> Run {
    (day.harm)(proxy);
    let sample = Sample::get();
    let patience: &[&str] = match day.is_survived {
        true => &[],
        false => &["-profile", "impatient"],
    };
    let flags = [layout, patience].concat();
    backup(sample.server(), &repository.through(proxy.address), &flags)
        .run()
        .expect_told(day.name)
}

#[test]
fn a_backup_on_a_bad_day_is_whole_or_fails_and_the_next_one_is_whole() {
    let sample = Sample::get();
    each_of(
        4,
        UPLOADS
            .iter()
            .enumerate()
            .map(|(nth, day)| (day.name, (nth, day))),
        |(_, (nth, day))| {
            let (_, layout) = LAYOUTS[nth % 2];
            let proxy = Proxy::start(seaweedfs().address);
            let repository = seaweedfs().repository("bad-day");
            let run = run_on(day, &proxy, &repository, layout);
            assert!(proxy.done() > 0, "no harm was done: {run:?}");
            assert_eq!(run.code == Some(0), day.is_survived, "{run:?}");
            let sets = records(&repository);
            assert_eq!(sets.len(), usize::from(run.code == Some(0)), "{run:?}");
            if day.is_survived {
                expect_sound(&repository);
            }
            let flags = [layout, &["-grace", "0"]].concat();
            let set = back_up(sample.server(), &repository, &flags);
            expect_nothing_but_sets(&repository);
            expect_sound(&repository);
            // A restore compares more than the hashes in the record, but takes long.
            if nth % 5 == 0 {
                expect_offline(&repository, &set, &sample.points, Index::Inmem);
            }
        },
    );
}

#[test]
fn a_storm_of_busy_answers_is_waited_for_with_growing_pauses() {
    let sample = Sample::get();
    let proxy = Proxy::start(seaweedfs().address);
    let repository = seaweedfs().repository("storm");
    proxy.on_those(|_| true, 10.., Fault::Answer(503, "SlowDown"));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(4));
            proxy.behave();
        });
        let through = repository.through(proxy.address);
        let run = backup(sample.server(), &through, &[]).run().expect(0);
        let told = messages(&run, "status");
        let is_told = |message: &&Value| {
            let text = message["message"].as_str().unwrap_or_default();
            text.contains("SlowDown") && text.contains("it is asked again, for up to 4m")
        };
        assert_eq!(told.iter().filter(is_told).count(), 1, "{run:?}");
    });
    let refused = proxy.take_requests();
    let refused = refused.iter().filter(|request| request.status == 503);
    let count = refused.count();
    assert!(
        (1..200).contains(&count),
        "{count} requests in four seconds"
    );
    expect_sound(&repository);
    expect_nothing_but_sets(&repository);
}

#[test]
fn a_listing_that_lags_never_makes_a_set_that_lacks_something() {
    let sample = Sample::get();
    for hidden in ["main.days", "meta.00", ".json"] {
        let proxy = Proxy::start(seaweedfs().address);
        let repository = seaweedfs().repository("lag");
        back_up(sample.server(), &repository, &[]);
        proxy.on("list", .., Fault::Hide(hidden));
        let through = repository.through(proxy.address);
        let run = backup(sample.server(), &through, &["-incremental"]).run();
        let run = run.expect_told(hidden);
        let sets = records(&repository);
        assert_eq!(
            sets.len(),
            1 + usize::from(run.code == Some(0)),
            "{hidden}: {run:?}"
        );
        expect_sound(&repository);
        back_up(sample.server(), &repository, &["-incremental"]);
        expect_sound(&repository);
        expect_offline(&repository, "latest", &sample.points, Index::Inmem);
    }
}

/// What happens to downloads.
const DOWNLOADS: [Day; 6] = [
    Day {
        name: "a range is cut in the middle, a few times",
        harm: |proxy| proxy.on("get", 3..6, Fault::CutResponse(100)),
        is_survived: true,
    },
    Day {
        name: "the server is busy now and then",
        harm: |proxy| {
            for nth in [1, 4, 5, 9] {
                proxy.on_those(|_| true, nth..=nth, Fault::Answer(503, "SlowDown"));
            }
        },
        is_survived: true,
    },
    Day {
        name: "the first requests are reset",
        harm: |proxy| proxy.on_those(|_| true, 0..3, Fault::LoseResponse),
        is_survived: true,
    },
    Day {
        name: "a bit is flipped in each large range",
        harm: |proxy| proxy.on_those(is_of_large, .., Fault::FlipResponse),
        is_survived: false,
    },
    Day {
        name: "ranges come with the bytes of others",
        harm: |proxy| proxy.on_those(is_of_large, .., Fault::EarlierResponse),
        is_survived: false,
    },
    Day {
        name: "nobody listens for a second",
        harm: |proxy| proxy.go_down_for(Duration::from_secs(1)),
        is_survived: true,
    },
];

/// Whether bytes of a shard of the database `main` are asked for.
fn is_of_large(request: &Request) -> bool {
    let is_shard = !request.key.contains("/.snap/")
        && (request.key.contains("main.days") || request.key.ends_with(".tar.gz"));
    request.operation() == "get" && is_shard
}

#[test]
fn a_restore_on_a_bad_day_is_whole_or_leaves_the_target_alone() {
    let sample = Sample::get();
    let kept = LAYOUTS.map(|(name, layout)| {
        let repository = seaweedfs().repository(name);
        back_up(sample.server(), &repository, layout);
        repository
    });
    each_of(
        4,
        DOWNLOADS
            .iter()
            .enumerate()
            .map(|(nth, day)| (day.name, (nth, day))),
        |(_, (nth, day))| {
            for repository in &kept {
                let proxy = Proxy::start(seaweedfs().address);
                let through = repository.through(proxy.address);
                (day.harm)(&proxy);
                if !day.is_survived {
                    let verify = through.snap(&["verify", "-deep"]).run();
                    assert_ne!(verify.expect_told(day.name).code, Some(0));
                }
                let folder = folder();
                let run = through.snap(&["restore"]).directories(folder.path()).run();
                let run = run.expect_told(day.name);
                assert!(proxy.done() > 0, "no harm was done: {run:?}");
                assert_eq!(run.code == Some(0), day.is_survived, "{run:?}");
                let left = folder.path().join("data/main").exists();
                assert_eq!(left, day.is_survived, "{run:?}");
                if day.is_survived && nth % 2 == 0 {
                    let server = Influxd::start(folder.path(), Index::Inmem);
                    expect_points(&server.points(), &sample.points, day.name);
                }
            }
        },
    );
}
