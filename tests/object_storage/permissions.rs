//! What snap does where it may not do everything: wrong keys, no bucket, no right to delete, and a
//! bucket that lets nothing go.

use crate::fixture::{
    LAYOUTS, Sample, back_up, backup, expect_nothing_but_sets, expect_offline, expect_sound,
    records,
};
use crate::support::influxd::Index;
use crate::support::object_storage::{ADMIN, PUTTER, Repository, azurite, seaweedfs};
use crate::support::process::Run;
use crate::support::proxy::Proxy;
use crate::support::s3::{self, Credentials};

/// Panics where a run said a secret.
#[track_caller]
fn expect_no_secret(run: &Run, secret: &str) {
    let said = format!("{}\n{}", run.stdout, run.stderr);
    assert!(!said.contains(secret), "{said}");
}

#[test]
fn a_wrong_secret_is_told_at_once_with_where_it_came_from_and_is_not_repeated() {
    let sample = Sample::get();
    let wrong = Credentials {
        secret: "a-wrong-secret",
        ..ADMIN
    };
    let proxy = Proxy::start(seaweedfs().address);
    let repository = seaweedfs().repository("wrong-secret");
    let wrong_one = repository.through(proxy.address).as_user(wrong);
    for run in [
        backup(sample.server(), &wrong_one, &["-verbose"]),
        wrong_one.snap(&["list"]),
        wrong_one.snap(&["verify"]),
        wrong_one.snap(&["forget", "-keep-last", "1"]),
    ] {
        let run = run.run().expect(1);
        expect_no_secret(&run, wrong.secret);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(
            said.contains("AWS_SECRET_ACCESS_KEY") || said.contains("AWS_ACCESS_KEY_ID"),
            "{said}"
        );
    }
    let requests = proxy.take_requests();
    assert!(requests.len() <= 8, "{} requests", requests.len());
    assert!(repository.names().is_empty());
}

#[test]
fn a_bucket_that_is_not_there_is_told_and_none_is_made() {
    let sample = Sample::get();
    let repository = seaweedfs().repository_in("no-such-bucket", "x");
    for run in [
        backup(sample.server(), &repository, &[]),
        repository.snap(&["list"]),
        repository.snap(&["verify"]),
    ] {
        let run = run.run().expect_told("no bucket");
        assert_ne!(run.code, Some(0), "{run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("no-such-bucket"), "{said}");
    }
    let made = seaweedfs().s3("GET", ("no-such-bucket", ""), &[], b"");
    assert_eq!(made.status, 404);
}

#[test]
fn a_bucket_that_holds_nothing_has_no_backup() {
    let repository = seaweedfs().repository("empty");
    for command in ["list", "verify", "info", "check"] {
        let run = repository.snap(&[command]).run().expect_told(command);
        assert_ne!(run.code, Some(0), "{command}: {run:?}");
    }
}

#[test]
fn with_the_right_to_put_get_and_list_alone_backups_and_restores_work() {
    let sample = Sample::get();
    for (name, layout) in LAYOUTS {
        let all = seaweedfs().repository(name);
        let repository = all.as_user(PUTTER);
        back_up(sample.server(), &repository, layout);
        let flags = [layout, &["-incremental"]].concat();
        let second = backup(sample.server(), &repository, &flags).run().expect(0);
        expect_no_secret(&second, PUTTER.secret);
        expect_sound(&repository);
        let sets = records(&all);
        assert_eq!(sets.len(), 2);
        let latest = sets.keys().next_back().expect("a set");
        expect_offline(&repository, latest, &sample.points, Index::Inmem);

        // What may not be removed is told, and is no failure; nothing of the other set is harmed.
        let forget = ["forget", "-keep-last", "1", "-grace", "0"];
        let run = repository.snap(&forget).run().expect_told("forget");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("kept") || said.contains("403"), "{said}");
        expect_sound(&repository);

        // Who may removes what the others left.
        all.snap(&forget).run().expect(0);
        expect_nothing_but_sets(&all);
        expect_sound(&all);
    }
}

#[test]
fn a_wrong_key_and_a_container_that_is_not_there_are_told_at_once_in_azure_too() {
    let sample = Sample::get();
    let repository = azurite().repository("wrong-key");
    let connection = repository.variables().remove(0).1;
    let key = connection
        .split(';')
        .find(|pair| pair.starts_with("AccountKey"));
    let key = key.expect("a key");
    let wrong = connection.replace(key, "AccountKey=d3Jvbmc=");
    let elsewhere = azurite().repository_in("no-such-container", "x");
    for command in [&["list"][..], &["backup", "-host", &sample.server().host()]] {
        let run = repository.snap(command);
        let run = run.env("AZURE_STORAGE_CONNECTION_STRING", &wrong).run();
        let run = run.expect(1);
        let said = format!("{}{}", run.stdout, run.stderr);
        let is_told = said.contains("403") && said.contains("AZURE_STORAGE_CONNECTION_STRING");
        assert!(is_told && !said.contains("d3Jvbmc="), "{said}");

        let run = elsewhere.snap(command).run().expect_told("no container");
        assert_ne!(run.code, Some(0), "{run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(
            said.contains("there is no container no-such-container"),
            "{said}"
        );
    }
    assert!(repository.names().is_empty());
}

/// The versions that a bucket keeps of an object of a repository.
fn versions(repository: &Repository, bucket: &str) -> usize {
    let listed = seaweedfs().s3("GET", (bucket, "versions="), &[], b"");
    assert_eq!(listed.status, 200, "{}", listed.text());
    assert!(!repository.names().is_empty());
    s3::elements(listed.text(), "Version").len()
}

#[test]
fn a_bucket_with_object_lock_takes_sets_and_keeps_what_is_forgotten() {
    let bucket = "locked-sets";
    seaweedfs().make_locked_bucket(bucket);
    let sample = Sample::get();
    let repository = seaweedfs().repository_in(bucket, "x");
    let flags = LAYOUTS[1].1;
    back_up(sample.server(), &repository, flags);
    let before = versions(&repository, bucket);
    back_up(
        sample.server(),
        &repository,
        &[flags, &["-incremental"]].concat(),
    );
    expect_sound(&repository);
    repository
        .snap(&["forget", "-keep-last", "1", "-grace", "0"])
        .run()
        .expect(0);
    expect_sound(&repository);
    assert_eq!(records(&repository).len(), 1);
    assert!(versions(&repository, bucket) > before);
    expect_offline(&repository, "latest", &sample.points, Index::Inmem);
}
