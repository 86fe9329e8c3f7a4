//! That every line of `-json`, and the JSON that lies in a backup directory, is as its schema in `docs/schema` says; and that the
//! schemas name nothing that is never there.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::cancel::Cancel;
use influx_snap::metastore::Data;
use influx_snap::repository::Lock;
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::between::{Ask, Between, Spoil};
use crate::support::peer::{
    Asked, Gone, Member, Model, Peer, Reply, Shard, Tar, Version, nobody, tar, tsm,
};
use crate::support::process::{Run, snap};
use crate::support::schema::Schemas;
use crate::support::service::{Serving, ask, copy, shard_path};
use crate::support::{tree, utf8};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/influxd-1.6.7");

/// What a schema names although no run here prints it, and why.
const NEVER_SEEN: [(&str, &str); 1] = [(
    "forget: common#/$defs/selection/properties/since",
    "a set and its increments are judged as one group, which has none",
)];

/// The page of each schema.
const PAGES: [(&str, &str); 11] = [
    ("backup", "backup"),
    ("restore", "restore"),
    ("serve", "serve"),
    ("list", "list"),
    ("info", "info"),
    ("verify", "verify"),
    ("check", "check"),
    ("forget", "forget"),
    ("keep", "forget"),
    ("record", "format"),
    ("restore-journal", "format"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schemas() -> Schemas {
    Schemas::read(&root().join("docs/schema"))
}

/// The schemas that all is held against, and a folder to work in.
struct Bench<'a> {
    schemas: &'a Schemas,
    folder: TempDir,
}

impl<'a> Bench<'a> {
    fn new(schemas: &'a Schemas) -> Self {
        Self {
            schemas,
            folder: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy of the directories of a stopped influxd.
    fn server(&self) -> PathBuf {
        copy(Path::new(DATA), &self.path("server"));
        self.path("server")
    }

    /// Runs a command with -json and holds its lines against its schema.
    fn run(&self, args: &[&str], code: i32) -> Run {
        let run = snap([&[args[0], "-json"], &args[1..]].concat()).expect(code);
        assert!(
            run.stderr.is_empty(),
            "{args:?} wrote to standard error: {}",
            run.stderr
        );
        self.hold(args[0], &run.stdout);
        run
    }

    /// A backup of the server at `host` into the directory `to`; the id of the set.
    fn backup(&self, host: &str, to: &str, flags: &[&str], code: i32) -> String {
        let dir = self.path(to);
        let run = self.run(
            &[
                &["backup", "-retries", "1", "-host", host],
                flags,
                &[utf8(&dir)],
            ]
            .concat(),
            code,
        );
        let set = run.last_message()["set"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.hold_records(&dir);
        set
    }

    /// A backup of the directories below `server` into the directory `to`; the id of the set.
    fn embedded(&self, server: &Path, to: &str, flags: &[&str], code: i32) -> String {
        let (meta, data, dir) = (server.join("meta"), server.join("data"), self.path(to));
        let directories = [
            "backup",
            "-retries",
            "1",
            "-metadir",
            utf8(&meta),
            "-datadir",
            utf8(&data),
        ];
        let run = self.run(&[&directories[..], flags, &[utf8(&dir)]].concat(), code);
        self.hold_records(&dir);
        run.last_message()["set"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Holds JSON lines against a schema.
    fn hold(&self, schema: &str, lines: &str) {
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{schema}: {error}: {line}"));
            let faults = self.schemas.faults(schema, &value);
            assert!(faults.is_empty(), "{schema}: {faults:#?}\n{line}");
        }
    }

    /// Holds the records of a backup directory against their schema, where there are any.
    fn hold_records(&self, dir: &Path) {
        if !dir.exists() {
            return;
        }
        for (name, text) in tree::files(&dir.join(".snap"))
            .iter()
            .filter(|(name, _)| name.ends_with(".json"))
        {
            let faults = self
                .schemas
                .faults("record", &serde_json::from_slice(text).expect("a record"));
            assert!(faults.is_empty(), "{name}: {faults:#?}");
        }
    }

    /// Holds the journals of live restores against their schema; how many there are.
    fn hold_journals(&self, dir: &Path) -> usize {
        let files = tree::files(&dir.join(".snap"));
        let journals = files.iter().filter(|(name, _)| name.ends_with(".journal"));
        journals
            .map(|(_, text)| self.hold("restore-journal", str::from_utf8(text).expect("a journal")))
            .count()
    }
}

#[test]
fn all_that_is_printed_and_stored_is_in_the_schemas_and_nothing_else_is() {
    let schemas = schemas();
    let scenarios: [fn(&Bench); 6] = [
        sets,
        influxds_sets,
        downloads,
        restores,
        live_restores,
        services,
    ];
    thread::scope(|scope| {
        for scenario in scenarios {
            let schemas = &schemas;
            scope.spawn(move || scenario(&Bench::new(schemas)));
        }
    });
    let mut unseen = schemas.unused();
    for (place, why) in NEVER_SEEN {
        let at = unseen.iter().position(|unseen| unseen == place);
        unseen.remove(
            at.unwrap_or_else(|| panic!("{place} is there after all, or named no more: {why}")),
        );
    }
    assert!(
        unseen.is_empty(),
        "named by a schema and never seen:\n{}",
        unseen.join("\n")
    );
}

#[test]
fn every_schema_is_linked_from_its_page_and_every_json_line_there_is_as_it_says() {
    let schemas = schemas();
    let page =
        |name: &str| fs::read_to_string(root().join(format!("docs/{name}.md"))).expect("a page");
    let overview = page("schema/README");
    for (schema, of) in PAGES {
        assert!(
            page(of).contains(&format!("](schema/{schema}.json)")),
            "docs/{of}.md has no link to {schema}.json"
        );
        assert!(
            overview.contains(&format!("]({schema}.json)")),
            "the overview has no link to {schema}.json"
        );
    }
    let without_page = schemas
        .names()
        .filter(|name| PAGES.iter().all(|(schema, _)| schema != name));
    assert_eq!(without_page.collect::<Vec<_>>(), ["common"]);

    let mut shown: Vec<&str> = Vec::new();
    for name in tree::names(&root().join("docs"))
        .iter()
        .filter_map(|name| name.strip_suffix(".md"))
    {
        let of_page: Vec<&str> = PAGES
            .iter()
            .filter(|(_, page)| *page == name)
            .map(|(schema, _)| *schema)
            .collect();
        for line in page(name)
            .lines()
            .filter_map(|line| line.strip_prefix("    {"))
        {
            let Ok(value) = serde_json::from_str::<Value>(&format!("{{{line}")) else {
                continue;
            };
            if value["message_type"].is_null() && name != "format" {
                continue;
            }
            let fitting = of_page
                .iter()
                .find(|schema| schemas.faults(schema, &value).is_empty());
            shown.push(fitting.unwrap_or_else(|| {
                let faults = of_page
                    .iter()
                    .flat_map(|schema| schemas.faults(schema, &value));
                panic!(
                    "docs/{name}.md: {:#?}\n{{{line}",
                    faults.collect::<Vec<_>>()
                )
            }));
        }
    }
    // A record is shown nowhere: it is long, and its fields are listed.
    let unshown = PAGES
        .iter()
        .map(|(schema, _)| *schema)
        .filter(|schema| !shown.contains(schema));
    assert_eq!(unshown.collect::<Vec<_>>(), ["record"]);
}

#[test]
fn the_checker_finds_what_a_schema_does_not_allow() {
    let schemas = schemas();
    let sound = r#"{"message_type":"summary","command":"keep","directory":"/b","set":"meta.00","kept":null,"changed":false}"#;
    let sound: Value = serde_json::from_str(sound).expect("JSON");
    assert_eq!(schemas.faults("keep", &sound), [""; 0]);
    let with = |name: &str, value: Value| {
        let mut changed = sound.clone();
        changed[name] = value;
        schemas.faults("keep", &changed)
    };
    assert_eq!(with("kept", json!("2026-11-20T08:00:00.5Z")), [""; 0]);
    for (name, value, fault) in [
        ("kept", json!("2026-11-20T08:00:00+01:00"), "/kept"),
        ("kept", json!("yesterdayZ"), "/kept"),
        ("kept", json!(1.5), "/kept"),
        ("changed", json!(null), "/changed"),
        ("command", json!("forget"), "/command"),
        ("more", json!(1), "/more is in no schema"),
    ] {
        let faults = with(name, value.clone());
        assert!(
            faults.iter().any(|found| found.starts_with(fault)),
            "{name}: {value}: {faults:?}"
        );
    }
    let mut absent = sound.clone();
    absent.as_object_mut().expect("an object").remove("set");
    assert_eq!(schemas.faults("keep", &absent), [" has no \"set\""]);
    let exits = |code: u64| {
        schemas
            .faults(
                "keep",
                &json!({ "message_type": "exit_error", "code": code, "message": "", "hint": null }),
            )
            .is_empty()
    };
    assert!(exits(1) && exits(255) && !exits(0) && !exits(256));
    let ids =
        |key: &str, id: Value| schemas.faults("restore-journal", &json!({ "ids": { key: id } }));
    assert!(
        ids("12", json!(7)).is_empty()
            && !ids("12a", json!(7)).is_empty()
            && !ids("12", json!("7")).is_empty()
    );
    for (sum, fits) in [
        ("0f".repeat(32), true),
        ("0f".repeat(31), false),
        ("0F".repeat(32), false),
        ("0f".repeat(33), false),
    ] {
        let faults = schemas.faults("record", &json!({ "sum": sum }));
        assert_eq!(
            !faults.iter().any(|fault| fault.starts_with("/sum")),
            fits,
            "{sum}: {faults:?}"
        );
    }
}

/// Sets of all kinds in one directory, looked at by every command that does.
fn sets(bench: &Bench) {
    let server = bench.server();
    let dir = bench.path("backup");
    let dir = utf8(&dir);
    bench.run(&["list", dir], 10);
    let full = bench.embedded(&server, "backup", &["-verbose"], 0);
    let range = [
        "-database=plain",
        "-retention=autogen",
        "-shard=1",
        "-start=2001-01-01",
        "-end=2018-06-05",
        "-ignore-wal",
    ];
    bench.embedded(&server, "backup", &[&range[..], &["-portable"]].concat(), 0);
    bench.embedded(&server, "backup", &["-since", "2001-01-01"], 0);
    let meta = bench.embedded(&server, "backup", &["-meta-only"], 0);
    bench.embedded(&server, "backup", &["-dry-run"], 0);
    let ids: Vec<String> = bench
        .run(&["list", dir], 0)
        .stdout
        .lines()
        .map(id)
        .collect();
    assert_eq!(ids.len(), 4);
    ids.iter()
        .for_each(|id| drop(bench.run(&["info", dir, id], 0)));

    bench.run(&["check", "-max-age", "1h", dir], 0);
    bench.run(
        &[
            "check",
            "-max-age",
            "1h",
            "-database",
            "nothing",
            "-on-failure",
            "false",
            dir,
        ],
        1,
    );
    bench.run(&["verify", "-verbose", dir], 0);
    bench.run(&["verify", "-deep", dir, "latest"], 0);
    for flags in [&[][..], &[], &["-release"]] {
        bench.run(&[&["keep"], flags, &[dir, &meta]].concat(), 0);
    }
    bench.run(&["keep", dir, &full], 0);
    bench.run(&["list", dir], 0);
    bench.run(&["info", dir, &full], 0);
    bench.run(&["forget", "-keep-last", "1", "-dry-run", dir], 0);
    bench.run(&["keep", "-release", dir, &full], 0);

    // A removal that was cut short, one that has to leave something, and a lock that another run holds.
    let newer = [
        bench.embedded(&server, "backup", &["-meta-only"], 0),
        bench.embedded(&server, "backup", &["-meta-only"], 0),
    ];
    let hidden = |id: &str, end: &str| Path::new(dir).join(format!(".snap/{id}.{end}"));
    fs::rename(hidden(&meta, "json"), hidden(&meta, "forget")).expect("renaming");
    bench.run(&["list", dir], 0);
    let record: Value =
        serde_json::from_slice(&fs::read(hidden(&newer[0], "json")).expect("a record"))
            .expect("JSON");
    fs::write(
        Path::new(dir).join(record["meta"]["name"].as_str().expect("a name")),
        "mine",
    )
    .expect("writing");
    // A set that another process reads, and one that another removes just now.
    let claimed = fs::File::open(hidden(&newer[0], "json")).expect("a record");
    claimed.lock_shared().expect("a lock");
    let run = bench.run(&["forget", "-keep-last", "1", "-dry-run", dir], 0);
    assert_eq!(run.last_message()["in_use"], json!([newer[0]]));
    claimed.unlock().expect("no lock");
    claimed.lock().expect("a lock");
    let run = bench.run(&["verify", dir, &newer[0]], 0);
    assert_eq!(run.last_message()["removed"], json!([newer[0]]));
    drop(claimed);

    let lock = Lock::take(
        &Path::new(dir).join(".snap/lock"),
        Duration::ZERO,
        &Cancel::default(),
    )
    .expect("a lock");
    bench.run(&["forget", "-keep-last", "1", dir], 11);
    drop(lock);
    let run = bench.run(&["forget", "-keep-last", "1", dir], 0);
    assert_eq!(run.last_message()["ended"], json!([meta]));

    // Damage.
    let shard = tree::names(Path::new(dir))
        .into_iter()
        .find(|name| name.contains(".00001."))
        .expect("shard 1");
    let mut bytes = fs::read(Path::new(dir).join(&shard)).expect("a shard");
    bytes[600] ^= 1;
    fs::write(Path::new(dir).join(&shard), &bytes).expect("writing");
    bench.run(&["verify", "-deep", dir], 4);
    fs::write(Path::new(dir).join(&shard), &bytes[..700]).expect("writing");
    bench.run(&["verify", dir], 4);
    fs::remove_file(Path::new(dir).join(&shard)).expect("removing");
    bench.run(&["list", dir], 0);
    bench.run(&["info", dir, &full], 0);
    bench.run(&["check", "-max-age", "1h", dir], 1);
    fs::write(hidden(&full, "json"), "{").expect("writing");
    bench.run(&["verify", dir], 4);
    for command in [
        &["list"][..],
        &["info"],
        &["check", "-max-age", "1h"],
        &["forget", "-keep-last", "1"],
        &["keep"],
    ] {
        let set = if command == ["keep"] {
            &["latest"][..]
        } else {
            &[]
        };
        bench.run(&[command, &[dir], set].concat(), 4);
    }
    for command in [
        &["info"][..],
        &["check", "-max-age", "1h"],
        &["verify"],
        &["forget", "-keep-last", "1"],
    ] {
        bench.run(&[command, &["/nowhere"]].concat(), 10);
    }
    bench.run(&["keep", "/nowhere", "latest"], 10);
}

fn id(line: &str) -> String {
    let set: Value = serde_json::from_str(line).expect("JSON");
    set["id"].as_str().expect("an id").to_owned()
}

/// Sets without a record, sound and not.
fn influxds_sets(bench: &Bench) {
    let server = bench.server();
    for (name, flags) in [("legacy", &[][..]), ("portable", &["-portable"])] {
        bench.embedded(&server, name, flags, 0);
        let dir = bench.path(name);
        fs::remove_dir_all(dir.join(".snap")).expect("removing the record");
        let look = || {
            bench.run(&["list", utf8(&dir)], 0);
            bench.run(&["info", utf8(&dir)], 0);
        };
        look();
        bench.run(
            &["check", "-max-age", "1h", "-database", "plain", utf8(&dir)],
            0,
        );
        bench.run(&["verify", utf8(&dir)], 0);
        bench.run(&["keep", utf8(&dir), "latest"], 0);
        bench.run(&["forget", "-keep-last", "1", utf8(&dir)], 0);
        let meta = tree::names(&dir)
            .into_iter()
            .find(|name| name.contains("meta"))
            .expect("a meta store");
        fs::write(dir.join(meta), "nothing").expect("writing");
        look();
        bench.run(&["verify", utf8(&dir)], 4);
    }
}

/// Backups of servers that send shards, and of some that do not.
fn downloads(bench: &Bench) {
    let old = Peer::start(Model::new(
        Version::V1_1,
        &[("db", "autogen", 1), ("db", "autogen", 2)],
    ));
    old.script(
        Asked::Shard(1),
        [Reply::Vanish(Gone::Deleted), Reply::Nothing],
    );
    bench.backup(&old.host(), "old", &[], 0);
    bench.run(&["info", utf8(&bench.path("old"))], 0);

    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1), ("db", "autogen", 2)]);
    for (id, open, deleted_at) in [(3, true, 0), (4, false, 0), (5, false, 1)] {
        let path = shard_path(&format!("db/autogen/{id}"));
        // Without a tombstone, so that it may be shared.
        let file = Member::new(format!("{path}/000000001-000000001.tsm"), tsm(id, 700));
        model.shards.push(Shard {
            open,
            deleted_at,
            ..Shard::with_tar(path, Tar::Bytes(tar(&[file])))
        });
    }
    let peer = Peer::start(model);
    peer.script(Asked::Shard(1), [Reply::Nothing]);
    peer.script(Asked::Shard(2), [Reply::EmptyTar]);
    bench.run(&["info", "-host", &peer.host()], 0);
    bench.backup(&peer.host(), "new", &[], 1);
    bench.backup(&peer.host(), "new", &["-skip-errors"], 3);
    bench.run(&["check", "-max-age", "1h", utf8(&bench.path("new"))], 1);
    bench.run(&["info", utf8(&bench.path("new"))], 0);
    peer.script(Asked::Shard(1), [Reply::Whole]);
    bench.backup(&peer.host(), "new", &[], 0);
    bench.backup(&peer.host(), "new", &["-incremental"], 0);
    bench.backup(&peer.host(), "new", &["-on-success", "false"], 1);
    bench.run(&["list", utf8(&bench.path("new"))], 0);
    bench.run(&["verify", "-deep", utf8(&bench.path("new"))], 4);
    bench.backup(&nobody(), "new", &[], 5);
    bench.run(&["info", "-host", &nobody()], 5);

    // A server that is too slow to be sure of what it sends.
    let slow = Peer::start(Model::new(Version::V1_8_10, &[("db", "autogen", 1)]));
    slow.script(Asked::Shard(1), [Reply::Late(Duration::from_millis(1050))]);
    bench.backup(&slow.host(), "slow", &["-flush-timeout", "0"], 3);
    bench.run(&["list", utf8(&bench.path("slow"))], 0);
    bench.run(&["info", utf8(&bench.path("slow"))], 0);
    // An increment without a set before it, and a server that came up without its data.
    peer.script(Asked::Shard(1), [Reply::Whole]);
    bench.backup(&peer.host(), "lost", &["-since", "1h"], 0);
    let empty = Peer::start(Model::new(Version::V1_6, &[]));
    bench.backup(&empty.host(), "lost", &[], 0);
    bench.run(&["check", "-max-age", "1h", utf8(&bench.path("lost"))], 1);

    // The service inside the process says why it does not answer.
    let server = bench.server();
    fs::create_dir(server.join("data/plain/autogen/2/000000009-000000001.tsm"))
        .expect("a directory where a file should be");
    bench.embedded(&server, "unanswered", &["-skip-errors"], 3);
}

/// Restores into the directories of a stopped server.
fn restores(bench: &Bench) {
    let server = bench.server();
    bench.embedded(&server, "backup", &[], 0);
    let (meta, data, dir) = (bench.path("meta"), bench.path("data"), bench.path("backup"));
    let target = ["restore", "-metadir", utf8(&meta), "-datadir", utf8(&data)];
    bench.run(&[&target[..], &["-dry-run", utf8(&dir)]].concat(), 0);
    bench.run(&[&target[..], &["-verbose", utf8(&dir)]].concat(), 0);
    bench.run(&[&target[..], &[utf8(&dir)]].concat(), 6);
}

/// Restores into a running server, which breaks off.
fn live_restores(bench: &Bench) {
    let server = bench.server();
    let set = bench.embedded(&server, "backup", &[], 0);
    let fresh = bench.path("fresh");
    fs::create_dir_all(fresh.join("data")).expect("a directory");
    fs::create_dir_all(fresh.join("meta")).expect("a directory");
    let data = Data {
        index: 1,
        cluster_id: 7,
        ..Data::default()
    };
    fs::write(fresh.join("meta/meta.db"), data.encode_to_vec()).expect("a meta store");
    let running = Serving::start(&fresh, &["-writable"]);
    let breaking = |ask, nth| {
        matches!((ask, nth), (Ask::Upload(1), _) | (Ask::Upload(2), 0)).then_some(Spoil::Break(700))
    };
    let proxy = Between::start(&running.host(), breaking);
    let dir = bench.path("backup");
    let (host, dir) = (proxy.host(), utf8(&dir));
    let live = ["restore", "-online", "-retries", "1", "-host", &host];
    let run = bench.run(&[&live[..], &[dir]].concat(), 3);
    assert_eq!(
        run.last_message()["missing"].as_array().map(Vec::len),
        Some(1),
        "{}",
        run.stdout
    );

    let breaking = Between::start(&running.host(), |ask, _| {
        matches!(ask, Ask::Upload(_)).then_some(Spoil::Break(700))
    });
    let what = [
        "-database=plain",
        "-retention=autogen",
        "-shard=1",
        "-newdb=copy",
        "-newrp=rp",
        "-start=2001-01-01",
    ];
    let host = breaking.host();
    let live = [
        "restore",
        "-online",
        "-retries",
        "0",
        "-host",
        &host,
        "-end=2019-01-01",
    ];
    bench.run(&[&live[..], &what, &[dir, &set]].concat(), 3);
    assert_eq!(bench.hold_journals(Path::new(dir)), 2);
}

/// Services that answer, do not, and cannot begin.
fn services(bench: &Bench) {
    let server = bench.server();
    let serving = Serving::start(&server, &["-json"]);
    snap([
        "backup",
        "-quiet",
        "-host",
        &serving.host(),
        utf8(&bench.path("backup")),
    ])
    .expect(0);
    ask(serving.address(), b"GET / HTTP/1.1\r\n\r\n");
    serving.logs("not answered", 1);
    bench.hold("serve", &serving.stop());
    let nowhere = bench.path("nowhere");
    bench.run(
        &[
            "serve",
            "-metadir",
            utf8(&nowhere),
            "-datadir",
            utf8(&nowhere),
            "-bind",
            "127.0.0.1:0",
        ],
        1,
    );
}
