//! That the service stands in for influxd's own port: for influxd's client, for snap, and byte by
//! byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use influx_snap::metastore::Data;
use influx_snap::time::{Bounds, GREATEST, LEAST};
use influx_snap::tsm::export::{Overlap, overlap};
use influx_snap::wire::read_shard_ids;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::data::{DATABASES, START, flush, load_sample};
use crate::support::influxd::{Index, Influxd, Shard, quote};
use crate::support::process::{self, Snap, backup_of, restore_online};
use crate::support::service::{
    Serving, ask, copy, influxd_client, members, new_request, old_request, shard_request, swept,
};
use crate::support::time::SECOND;
use crate::support::{Shared, folder, tree, utf8};

/// The directories of a stopped influxd that hold the sample and a small database `simple`, all of
/// it in TSM files.
struct Sample {
    folder: TempDir,
    points: Vec<String>,
    shards: Vec<Shard>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("sample"), Index::Inmem);
        load_sample(&server);
        server.execute("CREATE DATABASE simple");
        server.write(
            "simple",
            "autogen",
            "m,t=a v=1,s=\"x\" 1528070400000000000\nm,t=b v=2 1528070401000000000",
        );
        flush(&server);
        let (points, shards) = (server.points(), server.shards());
        server.stop();
        Self {
            folder,
            points,
            shards,
        }
    }

    /// A copy that a test may change.
    fn copied(&self, to: &Path) {
        copy(&self.folder.path().join("sample"), to);
    }

    /// The path of the only shard of `simple`, as in an info reply, and its id.
    fn simple(&self) -> (String, u64) {
        let shard = self
            .shards
            .iter()
            .find(|shard| shard.0 == "simple")
            .expect("a shard of 'simple'");
        (format!("simple/autogen/{}", shard.2), shard.2)
    }

    /// The points of one database, under another name.
    fn points_as(&self, database: &str, name: &str) -> Vec<String> {
        let prefix = format!("{database:?}.");
        let of = self
            .points
            .iter()
            .filter_map(|point| point.strip_prefix(&prefix));
        of.map(|rest| format!("{name:?}.{rest}")).collect()
    }
}

/// A file of a backup.
#[derive(Debug, PartialEq)]
enum Stored {
    Meta(Vec<u8>),
    /// Path, modification time and content of each member.
    Shard(Vec<(String, u64, Vec<u8>)>),
}

/// What a backup directory of snap holds, without its records.
fn stored(backup: &Path) -> BTreeMap<String, Stored> {
    let read = |name: String, bytes: Vec<u8>| {
        let stored = if name.starts_with("meta.") {
            Stored::Meta(bytes)
        } else {
            Stored::Shard(unpacked(&bytes))
        };
        (name, stored)
    };
    tree::visible_files(backup)
        .into_iter()
        .map(|(name, bytes)| read(name, bytes))
        .collect()
}

fn unpacked(tar: &[u8]) -> Vec<(String, u64, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("a member");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a whole member");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("a path in UTF-8");
        (path, entry.header().mtime().expect("a time"), content)
    });
    entries.collect()
}

#[test]
fn what_influxd_backs_up_from_the_service_it_restores_with_equal_query_results() {
    let (sample, own) = (SAMPLE.get(), folder());
    let path = |name: &str| utf8(&own.path().join(name)).to_owned();
    sample.copied(&own.path().join("served"));
    let serving = Serving::start(&own.path().join("served"), &[]);
    let host = serving.host();
    influxd_client(&["backup", "-portable", "-host", &host, &path("portable")]);
    for (number, db) in DATABASES.iter().chain(&["simple"]).enumerate() {
        influxd_client(&[
            "backup",
            "-host",
            &host,
            "-database",
            db,
            &path(&format!("legacy {number}")),
        ]);
    }
    let log = serving.stop();
    assert!(!log.contains("not answered"), "{log}");

    let server = Influxd::start(&own.path().join("running"), Index::Tsi1);
    influxd_client(&[
        "restore",
        "-portable",
        "-host",
        &server.host(),
        &path("portable"),
    ]);
    assert!(
        server.comes_to(&sample.points),
        "portable: the points differ"
    );
    // Of the names of files with more dots, this client of influxd's own makes nothing.
    for (number, db) in DATABASES
        .iter()
        .enumerate()
        .filter(|(_, db)| !["plain", "db.dot"].contains(db))
    {
        server.execute(&format!("DROP DATABASE {}", quote(db)));
        let legacy = path(&format!("legacy {number}"));
        influxd_client(&[
            "restore",
            "-online",
            "-host",
            &server.host(),
            "-db",
            db,
            &legacy,
        ]);
    }
    assert!(
        server.comes_to(&sample.points),
        "legacy into a running server: the points differ"
    );
    server.stop();

    let legacy = path(&format!("legacy {}", DATABASES.len()));
    influxd_client(&[
        "restore",
        "-metadir",
        &path("off/meta"),
        "-datadir",
        &path("off/data"),
        "-database",
        "simple",
        &legacy,
    ]);
    let server = Influxd::start(&own.path().join("off"), Index::Inmem);
    assert_eq!(
        server.points_of("simple"),
        sample.points_as("simple", "simple")
    );
}

/// Restores with influxd into the service over the directories of a fresh influxd, which then is
/// started on them.
fn influxd_restores_into_the_service(index: Index) {
    let (sample, own) = (SAMPLE.get(), folder());
    let (portable, legacy) = (own.path().join("portable"), own.path().join("legacy"));
    let served = own.path().join("served");
    sample.copied(&served);
    let serving = Serving::start(&served, &[]);
    influxd_client(&[
        "backup",
        "-portable",
        "-host",
        &serving.host(),
        utf8(&portable),
    ]);
    influxd_client(&[
        "backup",
        "-host",
        &serving.host(),
        "-db",
        "simple",
        utf8(&legacy),
    ]);
    serving.stop();

    let fresh = own.path().join("fresh");
    let server = Influxd::start(&fresh, index);
    // With a shard of its own, which tells what kind of index new ones are to have.
    server.execute("CREATE DATABASE before");
    server.write("before", "", "m v=1 1528070400000000000");
    flush(&server);
    server.stop();
    let serving = Serving::start(&fresh, &["-writable"]);
    influxd_client(&[
        "restore",
        "-portable",
        "-host",
        &serving.host(),
        utf8(&portable),
    ]);
    influxd_client(&[
        "restore",
        "-online",
        "-host",
        &serving.host(),
        "-db",
        "simple",
        "-newdb",
        "copied",
        utf8(&legacy),
    ]);
    // This client does not wait for the end of its uploads.
    serving.logs("upload of shard", sample.shards.len() + 1);
    let log = serving.stop();
    assert!(!log.contains("not answered") && swept(&fresh), "{log}");

    let server = Influxd::start(&fresh, index);
    let mut expected = [sample.points.clone(), sample.points_as("simple", "copied")].concat();
    expected.push(r#""before"."autogen" "m"{} 1528070400000000000 "v"=1"#.to_owned());
    expected.sort();
    server.expect_points(&expected);
    // It goes on from there: a point in a restored shard, and one in a new.
    server.write(
        "copied",
        "",
        "m,t=c v=3 1528070402000000000\nm,t=c v=4 1628070402000000000",
    );
    let count = server.points_of("copied").len();
    assert_eq!(count, sample.points_as("simple", "copied").len() + 2);
    assert!(!server.log().contains("lvl=error"), "{}", server.log());
}

#[test]
fn an_inmem_influxd_answers_what_influxd_restored_into_the_service() {
    influxd_restores_into_the_service(Index::Inmem);
}

#[test]
fn a_tsi1_influxd_answers_what_influxd_restored_into_the_service() {
    influxd_restores_into_the_service(Index::Tsi1);
}

#[test]
fn snap_backs_up_the_same_in_either_dialect_and_without_a_server_and_restores_it_into_the_service()
{
    let (sample, own) = (SAMPLE.get(), folder());
    let served = own.path().join("served");
    sample.copied(&served);
    let backup = own.path().join("embedded");
    backup_of(&served, &[], &backup).run().expect(0);
    let expected = stored(&backup);
    assert_eq!(expected.len(), sample.shards.len() + 1);
    for (accept, flags) in [
        ("1.0", &[][..]),
        ("1.5", &[]),
        ("both", &[]),
        ("both", &["-dialect", "1.0"]),
    ] {
        let serving = Serving::start(&served, &["-dialect", accept]);
        let backup = own.path().join(format!("{accept} {flags:?}"));
        process::backup(&serving.host(), flags, &backup)
            .run()
            .expect(0);
        assert!(
            stored(&backup) == expected,
            "-dialect {accept}, {flags:?}: the backup differs"
        );
        serving.stop();
    }

    let fresh = own.path().join("fresh");
    Influxd::start(&fresh, Index::Tsi1).stop();
    let serving = Serving::start(&fresh, &["-writable"]);
    restore_online(&serving.host(), &[], &backup)
        .run()
        .expect(0);
    serving.stop();
    let server = Influxd::start(&fresh, Index::Tsi1);
    server.expect_points(&sample.points);
}

#[test]
fn a_backup_of_a_stopped_influxd_equals_one_of_the_running_and_what_its_wal_holds_comes_with_it() {
    let (sample, own) = (SAMPLE.get(), folder());
    let root = own.path().join("influxd");
    sample.copied(&root);
    let path = |name: &str| own.path().join(name);
    let server = Influxd::start(&root, Index::Inmem);
    process::backup(&server.host(), &[], &path("running"))
        .run()
        .expect(0);
    let run = backup_of(&root, &[], &path("refused")).run().expect(6);
    assert!(
        run.stderr.contains(&server.pid().to_string()),
        "{}",
        run.stderr
    );
    Snap::new(["serve", "-bind", "127.0.0.1:0", "-writable"])
        .directories(&root)
        .run()
        .expect(6);
    server.stop();
    backup_of(&root, &[], &path("stopped")).run().expect(0);
    let expected = stored(&path("running"));
    assert!(stored(&path("stopped")) == expected, "the backups differ");

    let server = Influxd::start(&root, Index::Inmem);
    server.write("simple", "autogen", "m,t=late v=9 1528070409000000000");
    server.kill();
    let (simple, id) = sample.simple();
    let made = |tar: &[u8]| {
        let members = members(tar, &simple);
        members.into_keys().next_back().expect("a file")
    };
    let run = backup_of(&root, &["-ignore-wal"], &path("without"))
        .run()
        .expect(0);
    assert!(stored(&path("without")) == expected, "the backups differ");
    assert!(
        run.stderr.contains("warning")
            && run.stderr.contains(&simple)
            && !run.stderr.contains("WAL of shard plain/")
    );
    backup_of(&root, &[], &path("with")).run().expect(0);
    let differ: Vec<_> = stored(&path("with"))
        .into_iter()
        .filter(|(name, tar)| expected.get(name) != Some(tar))
        .collect();
    assert!(differ.len() == 1, "{} shards differ", differ.len());

    let serving = Serving::start(&root, &[]);
    let with = ask(serving.address(), &shard_request(id));
    assert!(ask(serving.address(), &shard_request(1)).len() > 1024);
    serving.stop();
    let serving = Serving::start(&root, &["-ignore-wal"]);
    let without = ask(serving.address(), &shard_request(id));
    let log = serving.stop();
    assert!(
        log.lines().any(|line| line.starts_with("warning")
            && line.contains("WAL")
            && line.contains(&simple)),
        "{log}"
    );
    assert!(
        made(&with) > made(&without),
        "{} {}",
        made(&with),
        made(&without)
    );
}

#[test]
fn a_resumed_backup_of_a_stopped_influxd_has_what_its_wal_got_since_the_run_that_was_killed() {
    let (sample, own) = (SAMPLE.get(), folder());
    let (root, log) = (own.path().join("influxd"), own.path().join("log"));
    let path = |name: &str| own.path().join(name);
    sample.copied(&root);
    // All as old as in shards that are no longer written to.
    for name in tree::files(&root.join("data")).keys() {
        let file = fs::File::options()
            .write(true)
            .open(root.join("data").join(name))
            .expect("a file");
        let old = "2020-01-01T00:00:00Z".parse::<Timestamp>().expect("a time");
        file.set_modified(old.into()).expect("a time");
    }
    let flags = ["-resume", "-jobs", "1"];
    backup_of(&root, &flags, &path("steps"))
        .env("SNAP_FAILPOINT_LOG", &log)
        .run()
        .expect(0);
    let steps = fs::read_to_string(&log).expect("a log of steps");
    let commit = steps
        .lines()
        .position(|step| step.ends_with(".commit"))
        .expect("an intent");
    let kill = format!("kill:{}", commit + 1);
    let killed = backup_of(&root, &flags, &path("resumed"))
        .env("SNAP_FAILPOINT", kill)
        .run();
    assert!(killed.signal.is_some(), "{}", killed.stderr);

    let server = Influxd::start(&root, Index::Inmem);
    server.write("simple", "autogen", "m,t=late v=9 1528070409000000000");
    server.kill();
    let run = backup_of(&root, &flags, &path("resumed")).run().expect(0);
    backup_of(&root, &[], &path("anew")).run().expect(0);
    assert!(
        stored(&path("resumed")) == stored(&path("anew")),
        "the backups differ"
    );
    let said = run
        .stderr
        .lines()
        .find(|line| line.contains("taken over from an earlier run; "));
    let taken_over: Option<usize> = said.and_then(|line| line.split(' ').next()?.parse().ok());
    assert!(taken_over.is_some_and(|count| count >= 1), "{}", run.stderr);
}

/// A reply; where it is a tar, without what no reader looks at: names of owners, device numbers,
/// the checksums over them, and name and mode of the headers that say the true name of the next.
fn without_trifles(mut reply: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while reply
        .get(at + 257..at + 262)
        .is_some_and(|magic| magic == b"ustar")
    {
        let size = String::from_utf8_lossy(&reply[at + 124..at + 135]).into_owned();
        if reply[at + 156] == b'x' {
            reply[at..at + 124].fill(0);
        }
        reply[at + 148..at + 156].fill(0);
        reply[at + 265..at + 345].fill(0);
        at += 512
            + usize::from_str_radix(&size, 8)
                .expect("a size")
                .next_multiple_of(512);
    }
    reply
}

/// Requests whose replies depend on the directories alone.
fn literal_requests(sample: &Sample, root: &Path) -> Vec<Vec<u8>> {
    let (path, id) = sample.simple();
    let file = fs::read_dir(root.join("data").join(path))
        .expect("a shard")
        .map(|entry| entry.expect("an entry").path());
    let file = file
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "tsm"))
        .expect("a TSM file");
    let modified = fs::metadata(file)
        .and_then(|metadata| metadata.modified())
        .expect("a time");
    let modified = Timestamp::try_from(modified).expect("a time of today");
    let nanosecond = jiff::SignedDuration::from_nanos(1);
    let since = |time: Timestamp| format!("{{\"ShardID\":{id},\"Since\":\"{time:.9}\"}}");
    let new = [
        (1, "{}".to_owned()),
        (1, "null".to_owned()),
        (1, "[]".to_owned()),
        (1, "{\"Type\":255}".to_owned()),
        (1, "{\"Type\":300}".to_owned()),
        (1, "\"text\"".to_owned()),
        (2, "{}".to_owned()),
        (3, "{\"BackupDatabase\":\"plain\"}".to_owned()),
        (
            3,
            "{\"backupdatabase\":\"simple\",\"Unknown\":{\"a\":[1]}}".to_owned(),
        ),
        (3, "{\"BackupDatabase\":\"a'b \\\"c\"}".to_owned()),
        (3, "{\"BackupDatabase\":\"\"}".to_owned()),
        (3, "{\"BackupDatabase\":null}".to_owned()),
        (3, "{\"BackupDatabase\":\"nobody\"}".to_owned()),
        (3, "{\"BackupDatabase\":1}".to_owned()),
        (
            3,
            "{\"BackupDatabase\":\"nobody\",\"BackupDatabase\":\"simple\"}".to_owned(),
        ),
        (
            4,
            "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"p.q\"}".to_owned(),
        ),
        (
            4,
            "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"größe \\\"x\\\"\"}"
                .to_owned(),
        ),
        (
            4,
            "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"nobody\"}".to_owned(),
        ),
        (4, "{\"BackupDatabase\":\"plain\"}".to_owned()),
        (4, "{}".to_owned()),
        (8, "{}".to_owned()),
        (255, "{}".to_owned()),
        (0, since(modified)),
        (0, since(modified - nanosecond)),
        (0, since(modified + nanosecond)),
        (0, format!("{{\"ShardID\":{id}}}")),
        (0, format!("{{\"shardid\":{id},\"since\":null}}")),
        (
            0,
            format!("{{\"ShardID\":{id},\"Since\":\"0001-01-01T00:00:00Z\"}}"),
        ),
        (
            0,
            format!("{{\"ShardID\":{id},\"Since\":\"9999-12-31T23:59:59Z\"}}"),
        ),
        (0, format!("{{\"ShardID\":{id},\"Since\":\"\"}}")),
        (0, format!("{{\"ShardID\":\"{id}\"}}")),
        (0, format!("{{\"ShardID\":-{id}}}")),
        (0, "{\"ShardID\":4711}".to_owned()),
        (0, "{}".to_owned()),
        (
            5,
            format!(
                "{{\"ShardID\":{id},\"ExportStart\":\"2018-06-01T00:00:00Z\",\"ExportEnd\":\"2018-07-01T00:00:00Z\"}}"
            ),
        ),
        (5, "{\"ShardID\":4711}".to_owned()),
    ];
    let mut requests: Vec<Vec<u8>> = new
        .iter()
        .map(|(kind, document)| new_request(*kind, document))
        .collect();
    // No new line at the end; a half-close instead would be harmless as well.
    requests.push(b"\x03\x01{}".to_vec());
    for garbage in [
        &b"\x03\x01}{\n"[..],
        b"\x00\x01{}\n",
        b"\x04{}\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        requests.push(garbage.to_vec());
    }
    // A name that fits the plain header only in two parts, and one that needs a PAX header, are
    // among them.
    for shard in ["two weeks", "größe \"x\"", "autogen"] {
        let found = sample
            .shards
            .iter()
            .find(|(_, rp, ..)| rp == shard)
            .expect("a shard");
        requests.push(shard_request(found.2));
    }
    let foreign = sample
        .shards
        .iter()
        .find(|(db, ..)| db == "名前 db")
        .expect("a shard");
    requests.push(shard_request(foreign.2));
    requests
}

#[test]
fn the_replies_are_those_of_influxd_on_the_same_directories_byte_by_byte() {
    let (sample, own) = (SAMPLE.get(), folder());
    let (one, two) = (own.path().join("one"), own.path().join("two"));
    sample.copied(&one);
    sample.copied(&two);
    let requests = literal_requests(&sample, &one);
    let server = Influxd::start(&one, Index::Inmem);
    let theirs: SocketAddr = server.host().parse().expect("an address");
    let serving = Serving::start(&two, &["-writable"]);
    for request in &requests {
        let (expected, got) = (
            without_trifles(ask(theirs, request)),
            without_trifles(ask(serving.address(), request)),
        );
        assert!(
            got == expected,
            "{}\n{} bytes: {}\ninstead of {} bytes: {}",
            request.escape_ascii(),
            got.len(),
            got[..got.len().min(700)].escape_ascii(),
            expected.len(),
            expected[..expected.len().min(700)].escape_ascii()
        );
    }
    // The reply has a length of its own: magic, two lengths, the store, and a node that is never
    // there.
    let meta = fs::read(two.join("meta/meta.db")).expect("a metastore");
    let reply = ask(serving.address(), &new_request(1, "{}"));
    assert_eq!(reply.len(), 24 + meta.len() + 5);
    assert_eq!(
        (&reply[..8], &reply[16..16 + meta.len()]),
        (&b"\0\0\0\0\x59\x59\x01\x01"[..], &meta[..])
    );
    assert_eq!(&reply[16 + meta.len()..], b"\0\0\0\0\0\0\0\x05null\n");

    // Imports, the last of which changes both.
    let import = |names: &str| {
        [
            new_request(6, &format!("{{{names}\"UploadSize\":{}}}", meta.len())),
            meta.clone(),
        ]
        .concat()
    };
    for names in [
        "\"BackupDatabase\":\"simple\",",
        "\"BackupDatabase\":\"nobody\",",
        "\"BackupDatabase\":\"plain\",\"RestoreDatabase\":\"again\",\"BackupRetentionPolicy\":\"nobody\",",
        "",
        "\"BackupDatabase\":\"plain\",\"RestoreDatabase\":\"again\",\"BackupRetentionPolicy\":\"p.q\",\"RestoreRetentionPolicy\":\"r\",",
        "\"BackupDatabase\":\"simple\",\"RestoreDatabase\":\"once more\",",
    ] {
        let (expected, got) = (
            ask(theirs, &import(names)),
            ask(serving.address(), &import(names)),
        );
        assert_eq!(got.len(), expected.len(), "{names}");
        let ids = |reply: &[u8]| read_shard_ids(&mut &reply[..]).expect("pairs");
        assert_eq!(ids(&got), ids(&expected), "{names}");
    }
    let databases = |to: SocketAddr| {
        let reply = ask(to, &new_request(1, "{}"));
        Data::read(&reply[16..reply.len() - 13])
            .expect("a metastore")
            .databases
    };
    assert_eq!(databases(serving.address()), databases(theirs));
    let shards = |to: SocketAddr| ask(to, &new_request(3, "{}"));
    assert_eq!(shards(serving.address()), shards(theirs));
}

#[test]
fn the_old_dialect_gets_what_the_new_one_gets() {
    let (sample, own) = (SAMPLE.get(), folder());
    sample.copied(&own.path().join("served"));
    let serving = Serving::start(&own.path().join("served"), &[]);
    let (_, id) = sample.simple();
    for (old, new, document) in [
        ("{\"Type\":1}".to_owned(), 1, "{}".to_owned()),
        (
            "{\"Type\":1,\"Database\":\"\",\"RetentionPolicy\":\"\",\"ShardID\":0,\"Since\":\"0001-01-01T00:00:00Z\"}"
                .to_owned(),
            1,
            "{}".to_owned(),
        ),
        (format!("{{\"Type\":0,\"ShardID\":{id}}}"), 0, format!("{{\"ShardID\":{id}}}")),
        (format!(" {{\"shardid\":{id}}}"), 0, format!("{{\"ShardID\":{id}}}")),
        ("{\"Type\":2,\"Database\":\"plain\"}".to_owned(), 3, "{\"BackupDatabase\":\"plain\"}".to_owned()),
        (
            "{\"Type\":3,\"Database\":\"plain\",\"RetentionPolicy\":\"p.q\"}".to_owned(),
            4,
            "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"p.q\"}".to_owned(),
        ),
    ] {
        let (got, expected) =
            (ask(serving.address(), &old_request(&old)), ask(serving.address(), &new_request(new, &document)));
        assert!(!expected.is_empty() && got == expected, "{old}");
    }
    for refused in [
        "{\"Type\":2,\"Database\":\"\"}",
        "{\"Type\":3,\"Database\":\"plain\"}",
        "{\"Type\":4}",
        "{\"Type\":6}",
        "{}",
    ] {
        assert_eq!(
            ask(serving.address(), &old_request(refused)),
            b"",
            "{refused}"
        );
    }
    serving.stop();

    let only = Serving::start(
        &own.path().join("served"),
        &["-dialect", "1.0", "-writable"],
    );
    assert_eq!(ask(only.address(), &new_request(1, "{}")), b"");
    assert!(!ask(only.address(), &old_request("{\"Type\":1}")).is_empty());
    only.stop();
    let only = Serving::start(&own.path().join("served"), &["-dialect", "1.5"]);
    assert_eq!(ask(only.address(), &old_request("{\"Type\":1}")), b"");
    assert!(!ask(only.address(), &new_request(1, "{}")).is_empty());
}

/// Directories of a stopped influxd: one shard of three files, two of them with a tombstone file.
fn with_tombstones(root: &Path) -> (String, u64) {
    let server = Influxd::start(root, Index::Inmem);
    server.execute("CREATE DATABASE ex");
    let series = |name: &str, from: i64, count: i64| -> String {
        (from..from + count)
            .map(|i| format!("{name} v={i}i {}\n", START + i * SECOND))
            .collect()
    };
    server.write("ex", "", &series("long", 0, 5000));
    flush(&server);
    // All blocks of this file miss the time between.
    server.write(
        "ex",
        "",
        &(series("early", 0, 10) + &series("late", 9000, 10)),
    );
    flush(&server);
    server.write("ex", "", &series("middle", 2500, 100));
    flush(&server);
    server.query(
        "ex",
        &format!(
            "DELETE FROM long WHERE time >= {} AND time < {}",
            START + 10 * SECOND,
            START + 20 * SECOND
        ),
    );
    server.query(
        "ex",
        &format!("DELETE FROM middle WHERE time >= {}", START + 2550 * SECOND),
    );
    let shards = server.shards();
    server.stop();
    (format!("ex/autogen/{}", shards[0].2), shards[0].2)
}

#[test]
fn an_export_holds_all_that_touches_its_times_where_influxd_gives_up() {
    let own = folder();
    let root = own.path().join("influxd");
    let (shard, id) = with_tombstones(&root);
    let on_disk = tree::files(&root.join("data").join(&shard));
    let (files, tombstones): (Vec<&String>, Vec<&String>) = {
        let sent = on_disk
            .keys()
            .filter(|name| name.ends_with(".tsm") || name.ends_with(".tombstone"));
        sent.partition(|name| name.ends_with(".tsm"))
    };
    assert_eq!(
        (files.len(), tombstones.len()),
        (3, 2),
        "{:?}",
        on_disk.keys()
    );
    let serving = Serving::start(&root, &["-ignore-wal"]);
    let at = |second: i64| START + second * SECOND;
    let mut outcomes = Vec::new();
    for (start, end) in [
        (Some(at(2400)), Some(at(2600))),
        (Some(at(6000)), Some(at(8000))),
        (Some(at(4999)), None),
        (None, Some(at(0))),
        (None, Some(at(-1))),
        (Some(at(9010)), None),
        (None, None),
        (Some(at(0)), Some(at(9009))),
    ] {
        let field = |name: &str, time: Option<i64>| {
            let time =
                time.map(|time| Timestamp::from_nanosecond(i128::from(time)).expect("a time"));
            time.map(|time| format!(",\"{name}\":\"{time}\""))
                .unwrap_or_default()
        };
        let document = format!(
            "{{\"ShardID\":{id}{}{}}}",
            field("ExportStart", start),
            field("ExportEnd", end)
        );
        let got = members(&ask(serving.address(), &new_request(5, &document)), &shard);
        let bounds = Bounds {
            start: start.unwrap_or(LEAST),
            end: end.unwrap_or(GREATEST),
        };
        for name in &files {
            let file = &on_disk[*name];
            let expected = match overlap(&file[..], bounds).expect("a TSM file") {
                Overlap::None => None,
                Overlap::Whole => Some(file.clone()),
                Overlap::Part(trimmed) => {
                    let mut part = Vec::new();
                    trimmed
                        .write_to(&file[..], &mut part)
                        .expect("writing to memory");
                    Some(part)
                }
            };
            assert!(got.get(*name) == expected.as_ref(), "{document}: {name}");
            // A part of a file is of no use without the deletes from it.
            let tombstone = name.replace(".tsm", ".tombstone");
            if expected.is_some() && on_disk.contains_key(&tombstone) {
                assert!(
                    got.get(&tombstone) == Some(&on_disk[&tombstone]),
                    "{document}: {tombstone}"
                );
            }
        }
        outcomes.push((
            files.iter().filter(|name| got.contains_key(**name)).count(),
            got,
        ));
    }
    assert_eq!(
        outcomes.iter().map(|outcome| outcome.0).collect::<Vec<_>>(),
        [2, 0, 2, 2, 0, 0, 3, 3]
    );
    serving.stop();

    // With the first export alone, influxd answers for its times what it answered before.
    let within = |server: &Influxd| {
        let query = |name: &str| {
            server.query(
                "ex",
                &format!(
                    "SELECT v FROM {name} WHERE time >= {} AND time <= {}",
                    at(2400),
                    at(2600)
                ),
            )
        };
        [query("long"), query("middle"), query("early")]
    };
    let directory = root.join("data").join(&shard);
    let server = Influxd::start(&root, Index::Inmem);
    let expected = within(&server);
    server.stop();
    for name in tree::names(&directory)
        .iter()
        .filter(|name| name.ends_with(".tsm") || name.ends_with(".tombstone"))
    {
        fs::remove_file(directory.join(name)).expect("removing a file");
    }
    for (name, content) in &outcomes[0].1 {
        fs::write(directory.join(name), content).expect("writing a file");
    }
    let server = Influxd::start(&root, Index::Inmem);
    assert_eq!(within(&server), expected);
    assert!(
        expected[0].to_string().len() > 1000 && expected[1].to_string().len() > 500,
        "{expected:?}"
    );
}
