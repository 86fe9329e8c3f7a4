//! What a running server does not take back: users, who come over into its metastore while it is
//! stopped, and statements, which a live restore writes to a file.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::support::folder;
use crate::support::handmade::{assert_same, everything, restore};
use crate::support::http;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{self, Snap};

/// Asks as a user: the status of the answer, and its text.
fn ask(server: &Influxd, user: (&str, &str), db: &str, q: &str) -> (u16, String) {
    let [name, password, db, q] = [user.0, user.1, db, q].map(http::percent_encode);
    let target = format!("/query?u={name}&p={password}&db={db}&q={q}");
    let to = server.http_address().parse().expect("an address");
    let answer = http::request(to, "GET", &target, "text/plain", b"").expect("an answer");
    (answer.status, answer.text().to_owned())
}

fn with_authentication(root: &Path) -> Influxd {
    Influxd::start_with(root, Index::Tsi1, &[("INFLUXDB_HTTP_AUTH_ENABLED", "true")])
}

/// A backup of a server with three users, in a folder with a server that has one of them.
fn backup_and_target() -> TempDir {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Tsi1);
    server.execute(
        "CREATE DATABASE db; CREATE DATABASE gone; \
         CREATE USER \"ada \\\"l\\\"\" WITH PASSWORD 'of ada' WITH ALL PRIVILEGES; \
         CREATE USER bob WITH PASSWORD 'of bob'; GRANT READ ON db TO bob; GRANT ALL ON gone TO bob; \
         CREATE USER both WITH PASSWORD 'of the backup'; GRANT READ ON db TO both; \
         CREATE SUBSCRIPTION sub ON db.autogen DESTINATIONS ALL 'udp://127.0.0.1:9'; \
         CREATE CONTINUOUS QUERY each ON db RESAMPLE EVERY 1s FOR 1m \
         BEGIN SELECT sum(v) INTO out FROM m GROUP BY time(1s) END",
    );
    server.write("db", "", "m v=1i 1600000000000000000");
    let backup = folder.path().join("backup");
    process::backup(&server.host(), &[], &backup)
        .run()
        .expect(0);
    server.stop();

    let target = Influxd::start(&folder.path().join("target"), Index::Tsi1);
    target.execute(
        "CREATE DATABASE own; CREATE USER root WITH PASSWORD 'of root' WITH ALL PRIVILEGES; \
         CREATE USER both WITH PASSWORD 'of the target'; GRANT WRITE ON own TO both",
    );
    target.stop();
    folder
}

/// The continuous queries as a server writes them out.
fn queries(server: &Influxd, user: (&str, &str)) -> String {
    ask(server, user, "", "SHOW CONTINUOUS QUERIES").1
}

const ADA: (&str, &str) = ("ada \"l\"", "of ada");
const BOB: (&str, &str) = ("bob", "of bob");
const BOTH: (&str, &str) = ("both", "of the target");
const ROOT: (&str, &str) = ("root", "of root");

#[test]
fn users_that_are_merged_in_with_a_database_log_in_and_may_what_they_might() {
    let folder = backup_and_target();
    let (backup, target) = (folder.path().join("backup"), folder.path().join("target"));
    let run = restore(
        &backup,
        &target,
        &["-merge", "-users", "-database", "db", "-newdb", "copy"],
    )
    .expect(0);
    for said in [
        "1 grant left out: the target does not have their databases",
        "left as they are, users that the target has already: both",
        ", 2 users, ",
    ] {
        assert!(
            run.stderr.contains(said) || run.stdout.contains(said),
            "{said}: {run:?}"
        );
    }

    let server = with_authentication(&target);
    let select = |user, db| ask(&server, user, db, "SELECT v FROM m");
    for user in [ADA, BOB, BOTH] {
        let (status, text) = select(user, "copy");
        assert!(
            status == 200 && text.contains("[\"2020-09-13T12:26:40Z\",1]"),
            "{user:?}: {text}"
        );
    }
    assert!(queries(&server, ADA).contains(r#"INTO \"copy\".autogen.out FROM \"copy\".autogen.m"#));
    // What each had is not more than that.
    assert_eq!(select(("both", "of the backup"), "copy").0, 401);
    assert_eq!(select(BOB, "own").0, 403);
    assert_eq!(select(BOTH, "own").0, 403);
    assert_eq!(ask(&server, BOB, "", "SHOW USERS").0, 403);
    let (_, users) = ask(&server, ADA, "", "SHOW USERS");
    assert!(
        users.contains(r#"["root",true],["both",false],["ada \"l\"",true],["bob",false]"#),
        "{users}"
    );
    assert_eq!(ask(&server, ROOT, "", "SHOW USERS").0, 200);
    server.stop();
}

#[test]
fn users_alone_are_added_to_a_metastore_and_nothing_else_of_the_target_changes() {
    let folder = backup_and_target();
    let (backup, target) = (folder.path().join("backup"), folder.path().join("target"));
    let meta = target.join("meta");
    let add = |flags: &[&str]| {
        let users = Snap::new(["restore", "-users", "-metadir"]).args([&meta]);
        users.args(flags).args([&backup]).run()
    };
    let before = everything(&target);
    let run = add(&["-dry-run"]).expect(0);
    assert!(run.stdout.contains("2 users, "), "{run:?}");
    assert_same(&everything(&target), &before, "a dry run");

    add(&[]).expect(0);
    let server = with_authentication(&target);
    assert_eq!(ask(&server, ADA, "", "SHOW USERS").0, 200);
    assert_eq!(ask(&server, BOTH, "own", "SHOW MEASUREMENTS").0, 403);
    let (status, databases) = ask(&server, BOB, "", "SHOW DATABASES");
    assert!(status == 200 && !databases.contains("own"), "{databases}");
    server.stop();

    let before = everything(&target);
    let run = add(&[]).expect(0);
    assert!(run.stdout.contains(": 0 users"), "{run:?}");
    assert_same(&everything(&target), &before, "users that are all there");
}

#[test]
fn users_are_added_to_nothing_but_a_metastore_that_is_there() {
    let folder = backup_and_target();
    let backup = folder.path().join("backup");
    let empty = folder.path().join("empty");
    let add = |flags: &[&str]| {
        let users = Snap::new(["restore", "-users"]);
        users.args(flags).args([&backup]).run()
    };
    // influxd would write its own metastore over what is added.
    let target = folder.path().join("target");
    let server = Influxd::start(&target, Index::Tsi1);
    server.write("own", "", "m v=1i 1600000000000000000");
    let meta = server.meta_dir();
    let run = add(&["-metadir", meta.to_str().expect("a path in UTF-8")]).expect(6);
    assert!(run.stderr.contains("(influxd) has "), "{run:?}");
    server.stop();

    let empty_name = empty.to_str().expect("a path in UTF-8");
    let run = add(&["-metadir", empty_name]).expect(6);
    assert!(
        run.stderr.contains("there is nothing to add users to"),
        "{run:?}"
    );
    assert!(!empty.exists());
    for flags in [
        &["-online"][..],
        &["-metadir", empty_name, "-force"],
        &["-metadir", empty_name, "-datadir", empty_name],
        &["-metadir", empty_name, "-database", "db"],
        &["-datadir", empty_name, "-database", "db"],
    ] {
        add(flags).expect(2);
    }
}

#[test]
fn what_a_live_restore_leaves_out_is_a_script_that_the_server_takes() {
    let folder = backup_and_target();
    let backup = folder.path().join("backup");
    let script = Path::new("left out.iql");
    let runs_queries = [("INFLUXDB_CONTINUOUS_QUERIES_ENABLED", "true")];
    let server = Influxd::start_with(&folder.path().join("live"), Index::Tsi1, &runs_queries);
    let restored = |flags: &[&str]| {
        let host = server.host();
        let online = Snap::new(["restore", "-online", "-host", &host, "-database", "db"]);
        online
            .args(["-newdb", "copy", "-influxql"])
            .args([script, &backup])
            .args(flags)
            .dir(folder.path())
            .run()
            .expect(0);
        fs::read_to_string(folder.path().join(script)).expect("the script")
    };
    let would_be = restored(&["-dry-run"]);
    assert_eq!(server.databases(), [""; 0]);
    let text = restored(&[]);
    assert_eq!(text, would_be);
    assert!(!text.contains("$2a$") && !text.contains("gone"), "{text}");

    // As it is, it does no harm and is taken.
    server.execute(&text);
    let left = text.lines().filter_map(|line| line.strip_prefix("-- "));
    let left = left.filter(|line| line.ends_with(';'));
    let text = left.collect::<String>().replace('…', "new");
    server.execute(&text);
    let answer = |q: &str| server.query("", q).to_string();
    assert!(answer("SHOW USERS").contains(r#"["ada \"l\"",true],["bob",false],["both",false]"#));
    assert!(answer("SHOW GRANTS FOR bob").contains(r#"[["copy","READ"]]"#));
    assert!(
        answer("SHOW SUBSCRIPTIONS").contains(r#"["autogen","sub","ALL",["udp://127.0.0.1:9"]]"#)
    );

    // The query runs, and on the copy alone.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    server.write("copy", "", &format!("m v=2i {}", now.as_nanos()));
    assert!(server.comes_to_be(|| {
        let found = server.query("copy", "SELECT sum FROM out WHERE sum > 0");
        found.to_string().contains("\"out\"")
    }));
}
