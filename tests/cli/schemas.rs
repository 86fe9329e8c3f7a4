//! That the schemas in `docs/schema` are those of the types, and that every line of `-json`, and
//! the JSON that lies in a backup directory, is as its schema says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::cancel::Cancel;
use influx_snap::cli;
use influx_snap::metastore::Data;
use influx_snap::repository::Lock;
use jsonschema::Validator;
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::between::{Ask, Between, Spoil};
use crate::support::peer::{
    Asked, Gone, Member, Model, Peer, Reply, Shard, Tar, Version, nobody, tar, tsm,
};
use crate::support::process::{Run, snap};
use crate::support::service::{Serving, ask, copy, shard_path};
use crate::support::{tree, utf8};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/influxd-1.6.7");

/// The page of each schema.
const PAGES: [(&str, &str); 15] = [
    ("backup", "backup"),
    ("restore", "restore"),
    ("serve", "serve"),
    ("list", "list"),
    ("info", "info"),
    ("stats", "stats"),
    ("verify", "verify"),
    ("check", "check"),
    ("forget", "forget"),
    ("keep", "forget"),
    ("copy", "copy"),
    ("export", "export"),
    ("diff", "diff"),
    ("record", "format"),
    ("restore-journal", "format"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The schemas of `docs/schema`, closed: what they do not name is a fault, although readers must
/// ignore it.
struct Schemas(BTreeMap<String, Validator>);

impl Schemas {
    fn read() -> Self {
        let folder = root().join("docs/schema");
        let names = tree::names(&folder).into_iter();
        let names = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()));
        Self(
            names
                .map(|name| {
                    let text = fs::read_to_string(folder.join(format!("{name}.json")));
                    let mut schema = serde_json::from_str(&text.expect("a schema")).expect("JSON");
                    close(&mut schema);
                    let options = jsonschema::options().should_validate_formats(true);
                    (name, options.build(&schema).expect("a schema"))
                })
                .collect(),
        )
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What is wrong with a value by a schema.
    fn faults(&self, schema: &str, value: &Value) -> Vec<String> {
        let faults = self.0[schema].iter_errors(value);
        faults
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect()
    }
}

/// Has a schema refuse fields that it does not name, in each kind of line and in each definition.
fn close(schema: &mut Value) {
    let mut kinds: Vec<&mut Value> = Vec::new();
    let fields = schema.as_object_mut().expect("an object");
    for (keyword, below) in fields {
        match (keyword.as_str(), below) {
            ("oneOf", Value::Array(lines)) => kinds.extend(lines),
            ("$defs", Value::Object(definitions)) => kinds.extend(
                definitions
                    .values_mut()
                    .filter(|kind| !kind["properties"].is_null()),
            ),
            _ => {}
        }
    }
    for kind in kinds {
        kind["unevaluatedProperties"] = json!(false);
    }
    if !schema["properties"].is_null() {
        schema["unevaluatedProperties"] = json!(false);
    }
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

/// To write them anew: UPDATE_SCHEMAS=1 cargo test --test cli schemas
#[test]
fn the_schemas_in_the_repository_are_those_of_the_types() {
    let folder = root().join("docs/schema");
    for (name, text) in cli::schemas() {
        let file = folder.join(format!("{name}.json"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&file, &text).expect("writing a schema");
        }
        let current = fs::read_to_string(&file).unwrap_or_default();
        assert!(current == text, "{} is not current", file.display());
        describes_all(name, &serde_json::from_str(&text).expect("JSON"));
    }
    let made: Vec<&str> = cli::schemas().iter().map(|(name, _)| *name).collect();
    let schemas = Schemas::read();
    assert_eq!(schemas.names().find(|name| !made.contains(name)), None);
}

/// Fails where a field has no description, or one that is no sentence.
fn describes_all(place: &str, schema: &Value) {
    let fields = schema["properties"].as_object();
    for (name, field) in fields.into_iter().flatten() {
        // The word that tells a kind from others, and the only field of a kind: the kind is
        // described.
        let is_the_kind = name == "state" && field["const"].is_string()
            || fields.is_some_and(|fields| fields.len() == 1);
        assert!(
            is_sentence(if is_the_kind { schema } else { field }),
            "{place}: {name} has no description: {field}"
        );
    }
    let below = schema
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.values());
    let items = schema.as_array().into_iter().flatten();
    below
        .chain(items)
        .for_each(|below| describes_all(place, below));
}

fn is_sentence(schema: &Value) -> bool {
    let text = schema["description"].as_str();
    text.is_some_and(|text| text.ends_with('.'))
}

#[test]
fn all_that_is_printed_and_stored_is_as_the_schemas_say() {
    let schemas = Schemas::read();
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
}

#[test]
fn every_schema_is_linked_from_its_page_and_every_json_line_there_is_as_it_says() {
    let schemas = Schemas::read();
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
    assert_eq!(without_page.collect::<Vec<_>>(), [""; 0]);

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
fn a_schema_refuses_what_is_not_as_it_says() {
    let schemas = Schemas::read();
    let sound = json!({
        "message_type": "summary", "command": "keep", "directory": "/b", "set": "meta.00",
        "kept_since": null, "note": null, "changed": false
    });
    let fits = |name: &str, value: Value| {
        let mut changed = sound.clone();
        changed[name] = value;
        schemas.faults("keep", &changed).is_empty()
    };
    assert!(fits("kept_since", json!("2026-11-20T08:00:00.5Z")));
    for (name, value) in [
        ("kept_since", json!("yesterdayZ")),
        ("kept_since", json!("2026-11-20T08:00:00+01:00")),
        ("kept_since", json!(1.5)),
        ("note", json!(1)),
        ("changed", json!(null)),
        ("command", json!("forget")),
        ("message_type", json!("set")),
        ("more", json!(1)),
    ] {
        assert!(!fits(name, value.clone()), "{name}: {value}");
    }
    let mut absent = sound.clone();
    absent.as_object_mut().expect("an object").remove("set");
    assert!(!schemas.faults("keep", &absent).is_empty());
    let ids = |key: &str, id: Value| {
        let line = json!({ "ids": { key: id } });
        schemas.faults("restore-journal", &line).is_empty()
    };
    assert!(ids("12", json!(7)) && !ids("12a", json!(7)) && !ids("12", json!("7")));
    let shard = |more: Value| {
        let mut line = json!({ "message_type": "shard", "database": "db", "retention_policy": "rp", "shard": 1 });
        line.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("one").clone());
        schemas.faults("backup", &line).is_empty()
    };
    assert!(shard(
        json!({ "state": "skipped", "reason": "", "seconds": 0.5 })
    ));
    assert!(!shard(
        json!({ "state": "skipped", "reason": "", "seconds": 0.5, "files": 1 })
    ));
    assert!(!shard(
        json!({ "state": "lost", "reason": "", "seconds": 0.5 })
    ));
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
    bench.run(&["stats", dir, &full], 0);
    bench.run(&["stats", "-exact", "-verbose", dir, &full], 0);
    let side = |id: &str| format!("{dir}::{id}");
    bench.run(&["diff", &side(&full), &side(&full)], 0);
    bench.run(&["diff", "-verbose", &side(&full), &side(&ids[1])], 1);
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

    // A removal that was cut short, one that has to leave something, and a lock that another run
    // holds.
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
    assert_eq!(run.last_message()["removed_sets"], json!([newer[0]]));
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
    bench.run(&["stats", "-exact", dir, &full], 4);
    bench.run(&["verify", dir], 4);
    fs::remove_file(Path::new(dir).join(&shard)).expect("removing");
    bench.run(&["list", dir], 0);
    bench.run(&["info", dir, &full], 0);
    bench.run(&["stats", dir, &full], 3);
    let side = format!("{dir}::{full}");
    bench.run(&["diff", &side, &side], 3);
    bench.run(&["check", "-max-age", "1h", dir], 1);
    fs::write(hidden(&full, "json"), "{").expect("writing");
    bench.run(&["verify", dir], 4);
    for command in [
        &["list"][..],
        &["info"],
        &["stats"],
        &["check", "-max-age", "1h"],
        &["forget", "-keep-last", "1"],
        &["keep"],
        &["diff", dir],
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
        &["stats"],
        &["check", "-max-age", "1h"],
        &["verify"],
        &["forget", "-keep-last", "1"],
        &["diff", "/nowhere"],
    ] {
        bench.run(&[command, &["/nowhere"]].concat(), 10);
    }
    bench.run(&["keep", "/nowhere", "latest"], 10);
}

fn id(line: &str) -> String {
    let set: Value = serde_json::from_str(line).expect("JSON");
    set["set"].as_str().expect("an id").to_owned()
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
        bench.run(&["stats", utf8(&dir)], 0);
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
            .expect("a metastore");
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
    fs::write(fresh.join("meta/meta.db"), data.encode_to_vec()).expect("a metastore");
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
