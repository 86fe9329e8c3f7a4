//! What is said where a server or a backup does not have what was asked for, to the letter.

use std::fs;
use std::path::Path;

use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, Snap, snap};
use crate::support::{folder, utf8};

/// The databases, and how many shards each has.
const DATABASES: [(&str, i64); 9] = [
    ("telegraf", 8),
    ("iot", 1),
    ("billing", 1),
    ("my.app", 1),
    ("telegraf_copy", 1),
    ("billing_new", 1),
    ("tg3", 1),
    ("tg4", 1),
    ("tg5", 1),
];

/// Seconds of a week, which is how long a shard lasts.
const WEEK: i64 = 604_800;

fn server(root: &Path) -> Influxd {
    let server = Influxd::start(root, Index::Inmem);
    for (database, shards) in DATABASES {
        server.execute(&format!("CREATE DATABASE \"{database}\""));
        for week in 0..shards {
            let time = (1_700_000_000 + week * WEEK) * 1_000_000_000;
            server.write(database, "", &format!("m f=1 {time}"));
        }
    }
    server.execute("CREATE RETENTION POLICY one_year ON telegraf DURATION 365d REPLICATION 1");
    server
}

/// The last error and its hint, with `HOST` and `DIR` for what differs from run to run.
fn told(run: &Run, host: &str, folder: &Path) -> String {
    let lines = run.stderr.lines();
    let lines = lines.filter(|line| line.starts_with("snap: ") || line.starts_with("hint: "));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace(host, "HOST").replace(utf8(folder), "DIR")
}

#[test]
fn what_there_is_not_is_told_with_what_there_is() {
    let folder = folder();
    let server = server(&folder.path().join("server"));
    let host = server.host();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (sets, new, file) = (at("sets"), at("new"), at("file"));
    snap(["backup", "-quiet", "-host", &host, &sets]).expect(0);
    fs::write(&file, "").expect("a file");
    let http = server.http_address();
    let http_port = http.rsplit(':').next().expect("a port");
    let below_file = at("file/x");
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["backup", "-host", &http, &new],
            5,
            "snap: HTTP speaks HTTP, not the snapshotter protocol\n\
             hint: HTTP_PORT is an HTTP port; name the address of the snapshotter: bind-address at \
             the top of influxdb.conf, port 8088 unless it is changed",
        ),
        (
            &["backup", "-host", &host, "-database", "Telegraf", &new],
            1,
            "snap: HOST has no database 'Telegraf'\n\
             hint: did you mean 'telegraf'? there are: 'telegraf', 'iot', 'billing', 'my.app', \
             'telegraf_copy', 'billing_new', 'tg3', 'tg4' and 1 more",
        ),
        (
            &[
                "backup",
                "-host",
                &host,
                "-database",
                "telegraf",
                "-retention",
                "nope",
                &new,
            ],
            1,
            "snap: database 'telegraf' of HOST has no retention policy 'nope'\n\
             hint: there are: 'autogen', 'one_year'",
        ),
        (
            &[
                "backup",
                "-host",
                &host,
                "-database",
                "telegraf",
                "-shard",
                "9999",
                &new,
            ],
            1,
            "snap: HOST has no shard 9999\n\
             hint: there are: 1, 2, 3, 4, 5, 6, 7, 8",
        ),
        (
            &["backup", "-host", &host, &file],
            1,
            "snap: DIR/file is a file, not a directory\n\
             hint: name a directory, or a new one",
        ),
        (
            &["backup", "-host", &host, &below_file],
            1,
            "snap: DIR/file is a file, not a directory\n\
             hint: name a directory, or a new one",
        ),
        (
            &["list", &file],
            10,
            "snap: DIR/file is a file, not a directory\n\
             hint: PATH is the directory that the backup was written into",
        ),
        (
            &[
                "restore",
                "-online",
                "-host",
                &host,
                "-database",
                "telegraf",
                &sets,
            ],
            6,
            "snap: HOST already has a database 'telegraf'\n\
             hint: -merge brings the points into it; -database DB -newdb NEW restores it beside",
        ),
        (
            &[
                "restore",
                "-online",
                "-host",
                &host,
                "-database",
                "nosuch",
                &sets,
            ],
            1,
            "snap: the backup DIR/sets has no database 'nosuch'\n\
             hint: there are: 'telegraf', 'iot', 'billing', 'my.app', 'telegraf_copy', \
             'billing_new', 'tg3', 'tg4' and 1 more",
        ),
        (
            &["restore", "-resume", "-host", &host, &sets],
            6,
            "snap: no interrupted restore into HOST is known in DIR/sets\n\
             hint: leave -resume out to begin one; -host and PATH must be those of the interrupted \
             run",
        ),
        (
            &["restore", "latest", &sets],
            2,
            "snap: 'latest' names a set; write PATH before it\n\
             hint: exchange the two: snap restore DIR/sets latest",
        ),
        (
            &["restore", &sets],
            2,
            "snap: restore needs to know where to: -metadir and -datadir, or -online\n\
             hint: into a stopped influxd: snap restore -metadir /var/lib/influxdb/meta -datadir \
             /var/lib/influxdb/data PATH; into a running one: snap restore -online PATH",
        ),
    ];
    for (args, code, expected) in cases {
        let run = snap(*args).expect(*code);
        let said = told(&run, &host, folder.path()).replace(&http, "HTTP");
        let said = said.replace(&format!("{http_port} is"), "HTTP_PORT is");
        assert_eq!(said, *expected, "{args:?}");
    }
    assert!(!Path::new(&new).exists());
}

#[test]
fn a_set_that_there_is_not_is_told_with_those_there_are() {
    let folder = folder();
    let server = server(&folder.path().join("server"));
    let (host, sets) = (server.host(), folder.path().join("sets"));
    snap(["backup", "-quiet", "-host", &host, utf8(&sets)]).expect(0);
    let set = snap(["list", "-json", utf8(&sets)]).expect(0).messages()[0]["set"].clone();
    let set = set.as_str().expect("a set");
    for name in ["nosuchset", "lates", "19990101T000000Z"] {
        let run = snap(["info", utf8(&sets), name]).expect(10);
        let expected = format!("snap: DIR/sets has no set '{name}'\nhint: there are: {set}");
        assert_eq!(told(&run, &host, folder.path()), expected);
    }
    // A set alone, where PATH is known from elsewhere.
    let configuration = folder.path().join("config.toml");
    let text = format!("[prod]\npath = \"{}\"\n", sets.display());
    fs::write(&configuration, text).expect("a configuration");
    let profile = ["info", "-config", utf8(&configuration), "-profile", "prod"];
    for word in ["latest", set, &set[..8]] {
        let alone = snap([&profile[..], &[word]].concat()).expect(0);
        assert!(alone.stdout.contains(set), "{}", alone.stdout);
        let alone = Snap::new(["verify", word]).env("SNAP_DIR", &sets).run();
        assert!(alone.expect(0).stdout.contains("no fault in 1 set"));
    }
    snap([
        "keep",
        "-config",
        utf8(&configuration),
        "-profile",
        "prod",
        "latest",
    ])
    .expect(0);
    let nowhere = Snap::new(["info", "latest"]).dir(folder.path()).run();
    assert_eq!(
        told(&nowhere.expect(2), &host, folder.path()),
        "snap: 'latest' names a set; write PATH before it\n\
         hint: write: snap info PATH latest; or name PATH in SNAP_DIR or in a profile"
    );
}
