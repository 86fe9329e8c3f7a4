//! `snap restore -online -with` applies what an import does not take in: continuous queries that
//! run, users that log in, grants that hold, subscriptions.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::data::START;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, Snap, backup, restore_online};
use crate::support::{folder, http, utf8};

/// The administrator of the server that is restored into.
const ADMIN: (&str, &str) = ("root", "a secret");

/// A backup of a server with users, continuous queries and subscriptions.
struct Backup {
    folder: TempDir,
}

impl Backup {
    fn new() -> Self {
        let made = Self { folder: folder() };
        let source = Influxd::start(&made.path("source"), Index::Inmem);
        source.execute(
            "CREATE DATABASE d; CREATE DATABASE elsewhere; \
             CREATE CONTINUOUS QUERY sums ON d RESAMPLE EVERY 1s FOR 1m BEGIN \
             SELECT sum(v) AS s INTO d.autogen.sums FROM d.autogen.m GROUP BY time(10s) END; \
             CREATE CONTINUOUS QUERY away ON d BEGIN \
             SELECT max(v) INTO elsewhere.autogen.x FROM d.autogen.m GROUP BY time(10s) END; \
             CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ALL 'udp://127.0.0.1:9'; \
             CREATE USER ada WITH PASSWORD 'old'; GRANT READ ON d TO ada; \
             CREATE USER bob WITH PASSWORD 'old'; GRANT ALL ON d TO bob",
        );
        source.write("d", "", &format!("m v=1 {START}"));
        backup(&source.host(), &[], &made.path("backup"))
            .run()
            .expect(0);
        fs::write(made.path("passwords"), "# new ones\nada:new: secret\n").expect("a file");
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn restore(&self, server: &Influxd, flags: &[&str], admin: (&str, &str)) -> Run {
        let url = format!("http://{}", server.http_address());
        let flags = [&["-json", "-database", "d", "-http", &url], flags].concat();
        let restore: Snap = restore_online(&server.host(), &flags, &self.path("backup"));
        let (username, password) = admin;
        restore
            .env("INFLUX_USERNAME", username)
            .env("INFLUX_PASSWORD", password)
            .run()
    }
}

/// A server that wants names and passwords, and has an administrator.
fn server_with_authentication(folder: &TempDir) -> Influxd {
    let settings = [
        ("INFLUXDB_HTTP_AUTH_ENABLED", "true"),
        ("INFLUXDB_CONTINUOUS_QUERIES_ENABLED", "true"),
        ("INFLUXDB_CONTINUOUS_QUERIES_RUN_INTERVAL", "1s"),
    ];
    let server = Influxd::start_with(folder.path(), Index::Tsi1, &settings);
    let (name, password) = ADMIN;
    server.execute(&format!(
        "CREATE USER {name} WITH PASSWORD '{password}' WITH ALL PRIVILEGES"
    ));
    let (status, answer) = query_as(&server, ADMIN, "CREATE DATABASE elsewhere");
    assert_eq!(status, 200, "{answer}");
    server
}

/// The status and the answer to a request of a user.
fn request_as(
    server: &Influxd,
    (name, password): (&str, &str),
    target: &str,
    body: &str,
) -> (u16, String) {
    let address = server.http_address().parse().expect("an address");
    let password = http::percent_encode(password);
    let target = format!("{target}u={name}&p={password}");
    let kind = "application/x-www-form-urlencoded";
    let answer = http::request(address, "POST", &target, kind, body.as_bytes());
    let answer = answer.expect("an answer");
    (answer.status, answer.text().to_owned())
}

fn query_as(server: &Influxd, user: (&str, &str), statement: &str) -> (u16, String) {
    let form = format!("q={}", http::percent_encode(statement));
    request_as(server, user, "/query?", &form)
}

fn write_as(server: &Influxd, user: (&str, &str), database: &str, line: &str) -> u16 {
    request_as(server, user, &format!("/write?db={database}&"), line).0
}

#[test]
fn queries_run_users_log_in_and_grants_hold_on_a_server_that_was_restored_into() {
    let backup = Backup::new();
    let folder = folder();
    let server = server_with_authentication(&folder);
    let passwords = backup.path("passwords");
    let with = ["-with", "cqs,grants,subscriptions"];
    let flags = [&with[..], &["-users-password-file", utf8(&passwords)]].concat();
    // bob is not on the server: his grant is refused.
    let run = backup.restore(&server, &flags, ADMIN).expect(3);
    let summary = run.last_message();
    let applied = json!({"users": 1, "grants": 1, "continuous_queries": 2, "subscriptions": 1, "not_applied": 1});
    assert_eq!(summary["applied"], applied, "{summary}");
    let missing = summary["missing"].as_array().expect("a list");
    let [refused] = &missing[..] else {
        panic!("{missing:?}");
    };
    let refused = refused.as_str().expect("a sentence");
    assert!(
        refused.contains(r#"GRANT ALL ON "d" TO "bob""#),
        "{refused}"
    );
    assert!(
        !run.stdout.contains("new: secret"),
        "a password was printed"
    );

    let ada = ("ada", "new: secret");
    let (status, answer) = query_as(&server, ada, "SELECT v FROM d.autogen.m");
    assert!(
        status == 200 && answer.contains("2018"),
        "{status} {answer}"
    );
    assert_eq!(write_as(&server, ada, "d", "m v=1"), 403);
    assert_eq!(write_as(&server, ADMIN, "d", "m v=20"), 204);
    let summed = || {
        let (_, answer) = query_as(&server, ADMIN, "SELECT s FROM d.autogen.sums");
        answer.contains("20")
    };
    assert!(server.comes_to_be(summed), "{}", server.log());
    let (_, subscriptions) = query_as(&server, ADMIN, "SHOW SUBSCRIPTIONS");
    assert!(
        subscriptions.contains("udp://127.0.0.1:9"),
        "{subscriptions}"
    );

    // What was refused, the same command with -resume applies once the server takes it.
    let on_resume = "the same command with -resume tries again";
    assert!(run.stdout.contains(on_resume), "{}", run.stdout);
    let again = [&flags[..], &["-resume"]].concat();
    let run = backup.restore(&server, &again, ADMIN).expect(3);
    assert_eq!(run.last_message()["applied"], applied);
    assert_eq!(
        query_as(&server, ADMIN, "CREATE USER bob WITH PASSWORD 'x'").0,
        200
    );
    let run = backup.restore(&server, &again, ADMIN).expect(0);
    let applied = json!({"users": 1, "grants": 2, "continuous_queries": 2, "subscriptions": 1, "not_applied": 0});
    assert_eq!(run.last_message()["applied"], applied);
    backup.restore(&server, &again, ADMIN).expect(6);

    // Under another name. What would write where the query of d writes is only told.
    let flags = [&with[..], &["-newdb", "copy"]].concat();
    let run = backup.restore(&server, &flags, ADMIN).expect(0);
    let applied = json!({"users": null, "grants": 2, "continuous_queries": 1, "subscriptions": 1, "not_applied": 0});
    assert_eq!(run.last_message()["applied"], applied);
    assert!(
        run.stdout.contains("1 continuous query is left out"),
        "{}",
        run.stdout
    );
    let (_, queries) = query_as(&server, ADMIN, "SHOW CONTINUOUS QUERIES");
    assert!(
        queries.contains("INTO copy.autogen.sums FROM copy.autogen.m"),
        "{queries}"
    );
    assert!(!queries.contains("away ON copy"), "{queries}");
    let (_, grants) = query_as(&server, ADMIN, "SHOW GRANTS FOR ada");
    assert!(grants.contains("copy"), "{grants}");

    // All of it is there and equal: nothing is refused, and a dry run says the same.
    let merge = [&flags[..], &["-merge"]].concat();
    for more in [&["-dry-run"][..], &[], &[]] {
        let run = backup
            .restore(&server, &[&merge, more].concat(), ADMIN)
            .expect(0);
        assert_eq!(run.last_message()["applied"], applied);
        let is_dry = !more.is_empty();
        assert_eq!(
            run.stdout.contains("would apply: GRANT"),
            is_dry,
            "{}",
            run.stdout
        );
    }
    // What is called so and is another is not replaced: not a query that servers take for the same,
    // not rights, and a user with another password gets none.
    let others = "DROP CONTINUOUS QUERY sums ON copy; CREATE CONTINUOUS QUERY sums ON copy \
                  RESAMPLE EVERY 1s FOR 1m BEGIN SELECT sum(v) AS S INTO copy.autogen.Sums \
                  FROM copy.autogen.M GROUP BY time(10s) END; \
                  REVOKE ALL ON copy FROM ada; GRANT WRITE ON copy TO ada; REVOKE ALL ON copy FROM bob";
    assert_eq!(query_as(&server, ADMIN, others).0, 200);
    fs::write(&passwords, "bob:Geheimnis\n").expect("a file");
    let merge = [&merge[..], &["-users-password-file", utf8(&passwords)]].concat();
    let run = backup.restore(&server, &merge, ADMIN).expect(3);
    let missing = run.last_message()["missing"].to_string();
    for told in [
        "CREATE CONTINUOUS QUERY sums ON",
        "there is another query of that name, which stays",
        "the user has WRITE there, which stays",
        "a user of that name with another password",
        "its user was not made",
    ] {
        assert!(missing.contains(told), "{told}: {missing}");
    }
    assert!(!run.stdout.contains("Geheimnis"), "a password was printed");
    let (_, queries) = query_as(&server, ADMIN, "SHOW CONTINUOUS QUERIES");
    assert!(queries.contains("INTO copy.autogen.Sums"), "{queries}");
    let (_, grants) = query_as(&server, ADMIN, "SHOW GRANTS FOR ada");
    assert!(grants.contains(r#"["copy","WRITE"]"#), "{grants}");
    let (_, grants) = query_as(&server, ADMIN, "SHOW GRANTS FOR bob");
    assert!(!grants.contains(r#"["copy","ALL"#), "{grants}");
}

#[test]
fn what_an_interrupted_restore_was_to_apply_is_told_where_resume_does_not_ask_for_it() {
    let backup = Backup::new();
    let (_folder, server) = Influxd::empty(Index::Inmem);
    // bob is not on the server.
    let flags = ["-measurement", "m", "-with", "grants,subscriptions"];
    backup.restore(&server, &flags, ADMIN).expect(3);
    let url = format!("http://{}", server.http_address());
    let resume = |with: &[&str]| {
        let flags = [&["-resume"], with].concat();
        restore_online(&server.host(), &flags, &backup.path("backup")).run()
    };
    let run = resume(&["-with", "cqs", "-http", &url]).expect(2);
    let refusal = "-with cqs does not go with -measurement";
    assert!(run.stderr.contains(refusal), "{}", run.stderr);
    let run = resume(&[]).expect(0);
    let told = "had -with grants,subscriptions, which -resume takes anew";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    resume(&[]).expect(6);
}

#[test]
fn flags_of_the_http_api_that_have_nothing_to_do_are_refused() {
    let folder = folder();
    let path = folder.path();
    let restore = |flags: &[&str]| restore_online("127.0.0.1:1", flags, path).run().expect(2);
    let run = restore(&["-http", "http://127.0.0.1:1"]);
    assert!(
        run.stderr.contains("-http needs -merge, -with"),
        "{}",
        run.stderr
    );
    restore(&["-with", "users"]);
    for part in [
        ["-measurement", "m"],
        ["-start", "2018-01-01"],
        ["-shard", "1"],
    ] {
        let run = restore(&[&part[..], &["-with", "cqs", "-database", "d"]].concat());
        assert!(
            run.stderr.contains("-with cqs does not go with"),
            "{}",
            run.stderr
        );
    }
    let passwords = path.join("passwords");
    for (text, told) in [
        ("ada:hush\nno colon\n", "line 2 of"),
        ("ada:hush\rbob:hush\r", "line 1 of"),
        ("ada:hu\0sh\n", "has a control character"),
        ("ada:\n", "has no password"),
        ("# none\n", "names no user"),
    ] {
        fs::write(&passwords, text).expect("a file");
        let run = restore(&["-users-password-file", utf8(&passwords)]);
        assert!(run.stderr.contains(told), "{text:?}: {}", run.stderr);
        assert!(!run.stderr.contains("hu"), "{}", run.stderr);
    }
}

#[test]
fn who_may_not_ask_and_who_is_asked_in_the_place_of_another_leave_the_server_as_it_is() {
    let backup = Backup::new();
    let folder = folder();
    let server = server_with_authentication(&folder);
    let with = ["-with", "cqs"];
    let run = backup.restore(&server, &with, ("root", "wrong")).expect(1);
    let said = run.last_message();
    assert!(
        said["message"].to_string().contains("credentials"),
        "{said}"
    );
    let (_, databases) = query_as(&server, ADMIN, "SHOW DATABASES");
    assert!(!databases.contains("\"d\""), "{databases}");

    let (_other_folder, other) = Influxd::empty(Index::Inmem);
    other.execute("CREATE DATABASE of_other");
    let url = format!("http://{}", server.http_address());
    let flags = ["-json", "-http", &url, "-with", "cqs"];
    let run = restore_online(&other.host(), &flags, &backup.path("backup"));
    let (username, password) = ADMIN;
    let run = run
        .env("INFLUX_USERNAME", username)
        .env("INFLUX_PASSWORD", password)
        .run()
        .expect(6);
    assert_eq!(
        run.last_message()["message_type"],
        Value::from("exit_error")
    );
    assert_eq!(other.databases(), ["of_other"]);

    // Two that are new are told from one another when the points are there.
    let [(_first, first), (_second, second)] = [Index::Inmem, Index::Tsi1].map(Influxd::empty);
    let url = format!("http://{}", second.http_address());
    fs::write(backup.path("passwords"), "ada:new").expect("a file");
    let passwords = backup.path("passwords");
    let flags = [
        "-json",
        "-database",
        "d",
        "-http",
        &url,
        "-users-password-file",
        utf8(&passwords),
    ];
    let run = restore_online(&first.host(), &flags, &backup.path("backup")).run();
    let missing = run.expect(3).last_message()["missing"].to_string();
    assert!(missing.contains("are different servers"), "{missing}");
    assert_eq!(first.databases(), ["d"]);
    let users = second.query("", "SHOW USERS").to_string();
    assert!(!users.contains("ada"), "{users}");

    // Nor is anything sent for a user whom the backup does not have.
    fs::write(&passwords, "Ada:new").expect("a file");
    let url = format!("http://{}", first.http_address());
    let flags = [
        "-database",
        "d",
        "-newdb",
        "d2",
        "-http",
        &url,
        "-users-password-file",
        utf8(&passwords),
    ];
    let run = restore_online(&first.host(), &flags, &backup.path("backup"))
        .run()
        .expect(6);
    assert!(
        run.stderr.contains("users that are not restored: Ada"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("these can be: ada, bob"),
        "{}",
        run.stderr
    );
    assert_eq!(first.databases(), ["d"]);
}
