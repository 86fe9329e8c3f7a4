//! Backups of servers 1.0 to 1.4: literal requests, and what their silences and tars mean.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::fixture::Fixture;
use crate::support::peer::{Asked, End, Member, Model, Reply, Version, nobody, tar, tsm};
use crate::support::process::{Run, restore_into};
use crate::support::{each, tree};

/// The versions that speak the older dialect.
const VERSIONS: [Version; 2] = [Version::V1_1, Version::V1_3];

/// The question for the metastore in the newer dialect.
const META_1_5: &str = "\x03\x01{\"Type\":1,\"BackupDatabase\":\"\",\"RestoreDatabase\":\"\",\"BackupRetentionPolicy\":\"\",\
    \"RestoreRetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\",\
    \"ExportStart\":\"0001-01-01T00:00:00Z\",\"ExportEnd\":\"0001-01-01T00:00:00Z\",\"UploadSize\":0}\n";

/// The question for the metastore in the older dialect.
const META_1_0: &str = "\x03{\"Type\":1,\"Database\":\"\",\"RetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\"}\n";

/// The question for the shards of `db`.
const INFO: &str = "\x03{\"Type\":2,\"Database\":\"db\",\"RetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\"}\n";

/// The question for a shard.
fn shard_request(id: u64, since: &str) -> String {
    format!(
        "\x03{{\"Type\":0,\"Database\":\"\",\"RetentionPolicy\":\"\",\"ShardID\":{id},\"Since\":\"{since}\"}}\n"
    )
}

/// The requests before the first for a shard, in order, and those for shards: each was made once.
fn requests_by_shard(fixture: &Fixture) -> (Vec<String>, BTreeSet<String>) {
    let mut first = fixture.peer.request_texts();
    let then = fixture.peer.shard_requests();
    let shards = first.split_off(first.len() - then.len());
    assert_eq!(shards, then, "other requests between those for shards");
    let each = BTreeSet::from_iter(then);
    assert_eq!(each.len(), shards.len(), "{shards:?}");
    (first, each)
}

/// A server of that version with two shards.
fn server(version: Version) -> Fixture {
    server_refusing(version, End::Fin)
}

/// One that so refuses the newer dialect.
fn server_refusing(version: Version, refusal: End) -> Fixture {
    let mut model = Model::new(version, &[("db", "autogen", 1), ("db", "two weeks", 20)]);
    model.refusal = refusal;
    Fixture::new(model)
}

impl Fixture {
    /// Backs up one shard at a time; in which order, is left open.
    fn backup_with_one_job(&self, flags: &[&str]) -> Run {
        self.backup(&[&["-jobs", "1"], flags].concat())
    }

    /// Panics unless the directory holds the metastore under these numbers, and these shards, as
    /// the server has them.
    fn expect_files(&self, metas: &[u32], shards: &[(u64, u32)]) {
        let mut model = self.peer.model();
        let metas = metas
            .iter()
            .map(|number| (format!("meta.{number:02}"), model.meta()))
            .collect::<Vec<_>>();
        let shards = shards.iter().map(|(id, number)| {
            let shard = model.shard(*id);
            let (db, rp) = (&shard.path.database, &shard.path.retention_policy);
            (format!("{db}.{rp}.{id:05}.{number:02}"), shard.bytes())
        });
        let expected: BTreeMap<_, _> = shards.chain(metas).collect();
        let found = tree::visible_files(&self.dir());
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>()
        );
        assert!(found == expected, "the contents differ");
    }

    /// Panics unless nothing was made but, where the run came so far, the lock.
    fn expect_no_set(&self) {
        if self.dir().exists() {
            assert_eq!(
                tree::files(&self.dir()).keys().collect::<Vec<_>>(),
                [".snap/lock"]
            );
        }
    }
}

#[test]
fn the_dialect_is_found_out_and_kept_and_the_tars_are_stored_as_they_come() {
    let zero = "0001-01-01T00:00:00Z";
    let shards = BTreeSet::from([shard_request(1, zero), shard_request(20, zero)]);
    for version in VERSIONS {
        for refusal in [End::Fin, End::Rst] {
            let fixture = server_refusing(version, refusal);
            let run = fixture.backup_with_one_job(&["-verbose"]).expect(0);
            assert!(run.stderr.contains("speaks dialect 1.0"), "{}", run.stderr);
            fixture.expect_files(&[0], &[(1, 0), (20, 0)]);
            let (first, then) = requests_by_shard(&fixture);
            assert_eq!(first, [META_1_5, META_1_0, INFO]);
            assert_eq!(then, shards);
        }
        let fixture = server(version);
        fixture.backup_with_one_job(&["-dialect", "1.0"]).expect(0);
        fixture.expect_files(&[0], &[(1, 0), (20, 0)]);
        let (first, then) = requests_by_shard(&fixture);
        assert_eq!(first, [META_1_0, INFO]);
        assert_eq!(then, shards);

        restore_into(
            fixture.folder.path(),
            &["-host", &nobody(), "-apply-deletes=false"],
            &fixture.dir(),
        )
        .run()
        .expect(0);
        let restored = tree::files(&fixture.path("data"));
        for name in [
            "000000001-000000001.tsm",
            "000000002-000000002.tsm",
            "000000002-000000002.tombstone",
        ] {
            assert!(
                restored.contains_key(&format!("db/two weeks/20/{name}")),
                "{:?}",
                restored.keys()
            );
        }
    }
}

#[test]
fn the_tars_of_these_versions_are_what_their_tests_take_them_for() {
    let flags_and_names = |version| {
        let bytes = Model::new(version, &[("db", "autogen", 1)]).shards[0].bytes();
        let mut archive = ::tar::Archive::new(&bytes[..]);
        let entries = archive.entries().expect("a tar").map(|entry| {
            let entry = entry.expect("a member");
            (
                entry.header().as_bytes()[156],
                entry.path().expect("a name").display().to_string(),
            )
        });
        entries.collect::<Vec<_>>()
    };
    assert!(
        flags_and_names(Version::V1_1)
            .iter()
            .all(|(flag, _)| *flag == 0)
    );
    let newer = flags_and_names(Version::V1_3);
    assert!(newer.contains(&(b'5', "db/autogen/1/index".into())));
    assert!(newer.contains(&(b'0', "db/autogen/1/index/MANIFEST".into())));
}

#[test]
fn an_increment_asks_with_its_time_and_stores_what_is_newer() {
    for version in VERSIONS {
        let fixture = server(version);
        fixture
            .backup_with_one_job(&["-since", "2024-01-15T09:59:59.5+02:00"])
            .expect(0);
        let since = "2024-01-15T07:59:59.5Z";
        let (_, shards) = requests_by_shard(&fixture);
        assert_eq!(
            shards,
            BTreeSet::from([shard_request(1, since), shard_request(20, since)])
        );
        fixture.expect_files(&[0], &[(1, 0), (20, 0)]);
    }
}

#[test]
fn nothing_newer_is_a_success_without_a_file_whichever_way_the_version_says_it() {
    each(VERSIONS, |version| {
        let fixture = server(*version);
        fixture.backup_with_one_job(&[]).expect(0);
        let run = fixture
            .backup_with_one_job(&["-since", "2024-01-16"])
            .expect(0);
        assert!(
            run.stdout.contains("no shard, nothing newer than 20"),
            "{version:?}: {}",
            run.stdout
        );
        fixture.expect_files(&[0, 1], &[(1, 0), (20, 0)]);
    });
}

#[test]
fn nothing_newer_is_no_failure_that_uses_up_a_retry() {
    for version in VERSIONS {
        let fixture = server(version);
        let run = fixture
            .backup_with_one_job(&["-since", "2024-01-16", "-retries", "0"])
            .expect(0);
        assert!(
            !run.stderr.contains("failed"),
            "{version:?}: {}",
            run.stderr
        );
        fixture.expect_files(&[0], &[]);
    }
}

/// A tar of shard 1 that lacks the newest points.
fn stale() -> Reply {
    Reply::Stale(tar(&[Member::new(
        "db/autogen/1/000000001-000000001.tsm",
        tsm(99, 300),
    )]))
}

#[test]
fn a_silence_that_passes_is_waited_for_and_the_answer_after_it_goes_unused() {
    let scripts = [
        vec![Reply::Nothing, Reply::Whole],
        vec![Reply::Nothing, stale(), Reply::Whole],
        vec![Reply::Cut(0, End::Rst), stale(), Reply::Whole],
        vec![Reply::Nothing, Reply::Nothing, stale(), Reply::Whole],
        vec![
            Reply::Cut(700, End::Fin),
            Reply::Cut(2000, End::Rst),
            Reply::Whole,
        ],
    ];
    let wants: [&[&str]; 2] = [&[], &["-since", "2023-01-01"]];
    for version in VERSIONS {
        each(
            wants
                .iter()
                .flat_map(|want| scripts.iter().map(move |script| (*want, script))),
            |(want, script)| {
                let fixture = server(version);
                fixture.peer.script(Asked::Shard(1), script.iter().cloned());
                fixture.backup_with_one_job(want).expect(0);
                fixture.expect_files(&[0], &[(1, 0), (20, 0)]);
            },
        );
    }
}

#[test]
fn a_silence_that_lasts_is_a_failure_with_a_time_to_start_from_as_well() {
    let wants: [&[&str]; 2] = [&[], &["-since", "2023-01-01"]];
    each(
        VERSIONS
            .iter()
            .flat_map(|version| wants.map(|want| (*version, want))),
        |(version, want)| {
            let fixture = server(*version);
            fixture.peer.script(Asked::Shard(1), [Reply::Nothing]);
            let run = fixture
                .backup_with_one_job(&[*want, &["-retries", "1"]].concat())
                .expect(1);
            assert!(run.stderr.contains("db/autogen/1"), "{}", run.stderr);
            fixture.expect_no_set();
        },
    );
}

#[test]
fn a_server_that_says_nothing_newer_with_an_empty_tar_never_says_it_with_silence() {
    let fixture = server(Version::V1_3);
    // The shard is busy each time that its newer files are asked for, and not when it is asked
    // about.
    let script = [
        Reply::Nothing,
        Reply::Whole,
        Reply::Nothing,
        Reply::Whole,
        Reply::Whole,
    ];
    fixture.peer.script(Asked::Shard(1), script);
    fixture
        .backup_with_one_job(&["-since", "2023-01-01"])
        .expect(0);
    fixture.expect_files(&[0], &[(1, 0), (20, 0)]);
}

#[test]
fn what_the_dialect_lacks_is_a_usage_error_before_anything_is_made() {
    let cases: [(&[&str], &str); 5] = [
        (&["-coarse", "-start", "2020-01-01"], "-coarse"),
        (&["-coarse", "-end", "2030-01-01"], "-coarse"),
        (
            &[
                "-db",
                "db",
                "-coarse",
                "-start",
                "2020-01-01",
                "-end",
                "2030-01-01",
            ],
            "time range",
        ),
        (&["-shard", "20"], "-database DB -retention RP -shard"),
        (
            &["-database", "db", "-shard", "20"],
            "-database DB -retention RP -shard",
        ),
    ];
    for version in VERSIONS {
        for dialect in ["auto", "1.0"] {
            for (flags, said) in cases {
                let fixture = server(version);
                let run = fixture
                    .backup_with_one_job(&[&["-dialect", dialect], flags].concat())
                    .expect(2);
                assert!(
                    run.stderr.contains(said) && run.stderr.contains("hint: "),
                    "{flags:?}: {}",
                    run.stderr
                );
                assert_eq!(tree::names(fixture.folder.path()), [""; 0], "{flags:?}");
            }
        }
        let fixture = server(version);
        fixture
            .backup_with_one_job(&["-database", "db", "-retention", "two weeks", "-shard", "20"])
            .expect(0);
        fixture.expect_files(&[0], &[(20, 0)]);
    }
}

#[test]
fn the_wrong_dialect_by_force_is_a_server_that_does_not_answer() {
    let wrong = VERSIONS.map(|version| (version, "1.5"));
    for (version, dialect) in wrong.into_iter().chain([(Version::V1_6, "1.0")]) {
        for refusal in [End::Fin, End::Rst] {
            let fixture = server_refusing(version, refusal);
            let run = fixture
                .backup_with_one_job(&["-dialect", dialect])
                .expect(5);
            assert!(
                run.stderr.contains("without an answer") && run.stderr.contains("-dialect"),
                "{}",
                run.stderr
            );
            assert_eq!(tree::names(fixture.folder.path()), [""; 0]);
            assert_eq!(fixture.peer.requests().len(), 1);
        }
    }
}
