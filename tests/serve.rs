//! That the service stands in for influxd's own port: for influxd's client, for snap, byte by byte, and under abuse.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use influx_snap::format::meta::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use influx_snap::local::{LocalMeta, LocalShards};
use influx_snap::service::{Log, LogLine, Service, ServiceOptions};
use influx_snap::time::{Bounds, GREATEST, LEAST};
use influx_snap::tsm::trim::{Touch, touch};
use influx_snap::wire::read_shard_ids;
use jiff::Timestamp;
use prost::Message;
use tempfile::TempDir;

use support::data::{DATABASES, START, flush, load_sample};
use support::influxd::{Index, Influxd, Shard, quote};
use support::process::{self, Snap, backup_of, restore_online};
use support::service::{
    Ended, Serving, ask, connect, copy, influxd_client, members, new_request, old_request, upload, wait_for,
};
use support::time::{MONDAY, SECOND, WEEK};
use support::{Shared, folder, tree, utf8};

/// A mebibyte.
const MIB: u64 = 1 << 20;

/// A complete TSM file as influxd 1.6.7 wrote it: `m,h=a v=1.5` at 1600000000000000000.
const TSM: &[u8] = b"\x16\xd1\x16\xd1\x01\x20\xdc\xb3\xe6\x00\x09\x1c\x16\x34\x57\x85\xd8\xa0\x00\x00\x10\
    \x3f\xf8\x00\x00\x00\x00\x00\x00\xc3\xfc\x00\x00\x00\x00\x00\x00\x00\x10\x00\x0am,h=a#!~#v\x00\x00\x01\
    \x16\x34\x57\x85\xd8\xa0\x00\x00\x16\x34\x57\x85\xd8\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x22\
    \x00\x00\x00\x00\x00\x00\x00\x27";

/// The directories of a stopped influxd that hold the sample and a small database `simple`, all of it in TSM files.
struct Sample {
    folder: TempDir,
    points: Vec<String>,
    shards: Vec<Shard>,
}

/// Made once for the tests that run at the same time, and removed with the last of them.
static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("sample"), Index::Inmem);
        load_sample(&server);
        server.execute("CREATE DATABASE simple");
        server.write("simple", "autogen", "m,t=a v=1,s=\"x\" 1528070400000000000\nm,t=b v=2 1528070401000000000");
        flush(&server);
        let (points, shards) = (server.points(), server.shards());
        server.stop();
        Self { folder, points, shards }
    }

    /// A copy that a test may change.
    fn copied(&self, to: &Path) {
        copy(&self.folder.path().join("sample"), to);
    }

    /// The path of the only shard of `simple`, as in an info reply, and its id.
    fn simple(&self) -> (String, u64) {
        let shard = self.shards.iter().find(|shard| shard.0 == "simple").expect("a shard of 'simple'");
        (format!("simple/autogen/{}", shard.2), shard.2)
    }

    /// The points of one database, under another name.
    fn points_as(&self, database: &str, name: &str) -> Vec<String> {
        let prefix = format!("{database:?}.");
        let of = self.points.iter().filter_map(|point| point.strip_prefix(&prefix));
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
        let stored = if name.starts_with("meta.") { Stored::Meta(bytes) } else { Stored::Shard(unpacked(&bytes)) };
        (name, stored)
    };
    tree::visible_files(backup).into_iter().map(|(name, bytes)| read(name, bytes)).collect()
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

/// Directories as of an influxd, made by hand: shards `1` to `n` of `s`.`rp`, each with one file of so many zero bytes or,
/// where that is 0, with the TSM file above.
fn made_by_hand(root: &Path, sizes: &[u64]) {
    let mut data = Data { index: 7, cluster_id: 1, ..Data::default() };
    let mut policy = RetentionPolicyInfo { name: "rp".into(), replica_n: 1, ..RetentionPolicyInfo::default() };
    for (id, size) in (1u64..).zip(sizes) {
        let start = MONDAY + i64::try_from(id).expect("a small number") * WEEK;
        policy.shard_groups.push(ShardGroupInfo {
            id,
            start_time: start,
            end_time: start + WEEK,
            shards: vec![ShardInfo { id, ..ShardInfo::default() }],
            ..ShardGroupInfo::default()
        });
        let shard = root.join(format!("data/s/rp/{id}"));
        fs::create_dir_all(&shard).expect("a shard");
        let mut file = File::create(shard.join("000000001-000000001.tsm")).expect("a file");
        match size {
            0 => file.write_all(TSM).expect("writing a file"),
            size => file.set_len(*size).expect("a sparse file"),
        }
        data.max_shard_group_id = id;
        data.max_shard_id = id;
    }
    data.databases.push(DatabaseInfo {
        name: "s".into(),
        default_retention_policy: "rp".into(),
        retention_policies: vec![policy],
        ..DatabaseInfo::default()
    });
    fs::create_dir_all(root.join("meta")).expect("a meta directory");
    fs::write(root.join("meta/meta.db"), data.encode_to_vec()).expect("a meta store");
}

/// All that a service could change.
fn everything(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for name in ["meta", "data"] {
        all.extend(tree::files(&root.join(name)).into_iter().map(|(path, content)| (format!("{name}/{path}"), content)));
        all.extend(directories(&root.join(name)).into_iter().map(|path| (path, Vec::new())));
    }
    all
}

/// All directories below one, itself too.
fn directories(top: &Path) -> Vec<String> {
    let below = fs::read_dir(top).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<String> = below.filter(|path| path.is_dir()).flat_map(|path| directories(&path)).collect();
    found.push(format!("{}/", top.display()));
    found
}

/// No folder of a request is left.
fn swept(root: &Path) -> bool {
    !root.join("data/.snap-serve").exists()
}

fn shard_request(id: u64) -> Vec<u8> {
    new_request(0, &format!("{{\"ShardID\":{id}}}"))
}

/// Asks for a shard and reads the first bytes of the reply.
fn begun(to: SocketAddr, id: u64) -> (TcpStream, Vec<u8>) {
    let mut stream = connect(to);
    stream.write_all(&shard_request(id)).expect("sending a request");
    let mut first = vec![0; 4096];
    stream.read_exact(&mut first).expect("the begin of a reply");
    (stream, first)
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
        influxd_client(&["backup", "-host", &host, "-database", db, &path(&format!("legacy {number}"))]);
    }
    let log = serving.stop();
    assert!(!log.contains("not answered"), "{log}");

    let server = Influxd::start(&own.path().join("running"), Index::Tsi1);
    influxd_client(&["restore", "-portable", "-host", &server.host(), &path("portable")]);
    assert!(server.comes_to(&sample.points), "portable: the points differ");
    // Of the names of files with more dots, this client of influxd's own makes nothing.
    for (number, db) in DATABASES.iter().enumerate().filter(|(_, db)| !["plain", "db.dot"].contains(db)) {
        server.execute(&format!("DROP DATABASE {}", quote(db)));
        let legacy = path(&format!("legacy {number}"));
        influxd_client(&["restore", "-online", "-host", &server.host(), "-db", db, &legacy]);
    }
    assert!(server.comes_to(&sample.points), "legacy into a running server: the points differ");
    server.stop();

    let legacy = path(&format!("legacy {}", DATABASES.len()));
    influxd_client(&["restore", "-metadir", &path("off/meta"), "-datadir", &path("off/data"), "-database", "simple", &legacy]);
    let server = Influxd::start(&own.path().join("off"), Index::Inmem);
    assert_eq!(server.points_of("simple"), sample.points_as("simple", "simple"));
}

/// Restores with influxd into the service over the directories of a fresh influxd, which then is started on them.
fn influxd_restores_into_the_service(index: Index) {
    let (sample, own) = (SAMPLE.get(), folder());
    let (portable, legacy) = (own.path().join("portable"), own.path().join("legacy"));
    let served = own.path().join("served");
    sample.copied(&served);
    let serving = Serving::start(&served, &[]);
    influxd_client(&["backup", "-portable", "-host", &serving.host(), utf8(&portable)]);
    influxd_client(&["backup", "-host", &serving.host(), "-db", "simple", utf8(&legacy)]);
    serving.stop();

    let fresh = own.path().join("fresh");
    let server = Influxd::start(&fresh, index);
    // With a shard of its own, which tells what kind of index new ones are to have.
    server.execute("CREATE DATABASE before");
    server.write("before", "", "m v=1 1528070400000000000");
    flush(&server);
    server.stop();
    let serving = Serving::start(&fresh, &["-writable"]);
    influxd_client(&["restore", "-portable", "-host", &serving.host(), utf8(&portable)]);
    influxd_client(&["restore", "-online", "-host", &serving.host(), "-db", "simple", "-newdb", "copied", utf8(&legacy)]);
    // This client does not wait for the end of its uploads.
    serving.logs("upload of shard", sample.shards.len() + 1);
    let log = serving.stop();
    assert!(!log.contains("not answered") && swept(&fresh), "{log}");

    let server = Influxd::start(&fresh, index);
    let mut expected = [sample.points.clone(), sample.points_as("simple", "copied")].concat();
    expected.push(r#""before"."autogen" "m"{} 1528070400000000000 "v"=1"#.to_owned());
    expected.sort();
    assert!(server.points() == expected, "the points differ:\n{}", server.log());
    // It goes on from there: a point in a restored shard, and one in a new.
    server.write("copied", "", "m,t=c v=3 1528070402000000000\nm,t=c v=4 1628070402000000000");
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
fn snap_backs_up_the_same_in_either_dialect_and_without_a_server_and_restores_it_into_the_service() {
    let (sample, own) = (SAMPLE.get(), folder());
    let served = own.path().join("served");
    sample.copied(&served);
    let backup = own.path().join("embedded");
    backup_of(&served, &[], &backup).run().expect(0);
    let expected = stored(&backup);
    assert_eq!(expected.len(), sample.shards.len() + 1);
    for (accept, flags) in [("1.0", &[][..]), ("1.5", &[]), ("both", &[]), ("both", &["-dialect", "1.0"])] {
        let serving = Serving::start(&served, &["-dialect", accept]);
        let backup = own.path().join(format!("{accept} {flags:?}"));
        process::backup(&serving.host(), flags, &backup).run().expect(0);
        assert!(stored(&backup) == expected, "-dialect {accept}, {flags:?}: the backup differs");
        serving.stop();
    }

    let fresh = own.path().join("fresh");
    Influxd::start(&fresh, Index::Tsi1).stop();
    let serving = Serving::start(&fresh, &["-writable"]);
    restore_online(&serving.host(), &[], &backup).run().expect(0);
    serving.stop();
    let server = Influxd::start(&fresh, Index::Tsi1);
    assert!(server.points() == sample.points, "the points differ:\n{}", server.log());
}

#[test]
fn a_backup_of_a_stopped_influxd_equals_one_of_the_running_and_what_its_wal_holds_comes_with_it() {
    let (sample, own) = (SAMPLE.get(), folder());
    let root = own.path().join("influxd");
    sample.copied(&root);
    let path = |name: &str| own.path().join(name);
    let server = Influxd::start(&root, Index::Inmem);
    process::backup(&server.host(), &[], &path("running")).run().expect(0);
    let run = backup_of(&root, &[], &path("refused")).run().expect(6);
    assert!(run.stderr.contains(&server.pid().to_string()), "{}", run.stderr);
    Snap::new(["serve", "-bind", "127.0.0.1:0", "-writable"]).directories(&root).run().expect(6);
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
    let run = backup_of(&root, &["-ignore-wal"], &path("without")).run().expect(0);
    assert!(stored(&path("without")) == expected, "the backups differ");
    assert!(run.stderr.contains("warning") && run.stderr.contains(&simple) && !run.stderr.contains("WAL of shard plain/"));
    backup_of(&root, &[], &path("with")).run().expect(0);
    let differ: Vec<_> = stored(&path("with")).into_iter().filter(|(name, tar)| expected.get(name) != Some(tar)).collect();
    assert!(differ.len() == 1, "{} shards differ", differ.len());

    let serving = Serving::start(&root, &[]);
    let with = ask(serving.address(), &shard_request(id));
    assert!(ask(serving.address(), &shard_request(1)).len() > 1024);
    serving.stop();
    let serving = Serving::start(&root, &["-ignore-wal"]);
    let without = ask(serving.address(), &shard_request(id));
    let log = serving.stop();
    assert!(log.lines().any(|line| line.starts_with("warning") && line.contains("WAL") && line.contains(&simple)), "{log}");
    assert!(made(&with) > made(&without), "{} {}", made(&with), made(&without));
}

/// A reply; where it is a tar, without what no reader looks at: names of owners, device numbers, the checksums over them, and
/// name and mode of the headers that say the true name of the next.
fn without_trifles(mut reply: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while reply.get(at + 257..at + 262).is_some_and(|magic| magic == b"ustar") {
        let size = String::from_utf8_lossy(&reply[at + 124..at + 135]).into_owned();
        if reply[at + 156] == b'x' {
            reply[at..at + 124].fill(0);
        }
        reply[at + 148..at + 156].fill(0);
        reply[at + 265..at + 345].fill(0);
        at += 512 + usize::from_str_radix(&size, 8).expect("a size").next_multiple_of(512);
    }
    reply
}

/// Requests whose replies depend on the directories alone.
fn literal_requests(sample: &Sample, root: &Path) -> Vec<Vec<u8>> {
    let (path, id) = sample.simple();
    let file = fs::read_dir(root.join("data").join(path)).expect("a shard").map(|entry| entry.expect("an entry").path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "tsm")).expect("a TSM file");
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified()).expect("a time");
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
        (3, "{\"backupdatabase\":\"simple\",\"Unknown\":{\"a\":[1]}}".to_owned()),
        (3, "{\"BackupDatabase\":\"a'b \\\"c\"}".to_owned()),
        (3, "{\"BackupDatabase\":\"\"}".to_owned()),
        (3, "{\"BackupDatabase\":null}".to_owned()),
        (3, "{\"BackupDatabase\":\"nobody\"}".to_owned()),
        (3, "{\"BackupDatabase\":1}".to_owned()),
        (3, "{\"BackupDatabase\":\"nobody\",\"BackupDatabase\":\"simple\"}".to_owned()),
        (4, "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"p.q\"}".to_owned()),
        (4, "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"größe \\\"x\\\"\"}".to_owned()),
        (4, "{\"BackupDatabase\":\"plain\",\"BackupRetentionPolicy\":\"nobody\"}".to_owned()),
        (4, "{\"BackupDatabase\":\"plain\"}".to_owned()),
        (4, "{}".to_owned()),
        (8, "{}".to_owned()),
        (255, "{}".to_owned()),
        (0, since(modified)),
        (0, since(modified - nanosecond)),
        (0, since(modified + nanosecond)),
        (0, format!("{{\"ShardID\":{id}}}")),
        (0, format!("{{\"shardid\":{id},\"since\":null}}")),
        (0, format!("{{\"ShardID\":{id},\"Since\":\"0001-01-01T00:00:00Z\"}}")),
        (0, format!("{{\"ShardID\":{id},\"Since\":\"9999-12-31T23:59:59Z\"}}")),
        (0, format!("{{\"ShardID\":{id},\"Since\":\"\"}}")),
        (0, format!("{{\"ShardID\":\"{id}\"}}")),
        (0, format!("{{\"ShardID\":-{id}}}")),
        (0, "{\"ShardID\":4711}".to_owned()),
        (0, "{}".to_owned()),
        (5, format!("{{\"ShardID\":{id},\"ExportStart\":\"2018-06-01T00:00:00Z\",\"ExportEnd\":\"2018-07-01T00:00:00Z\"}}")),
        (5, "{\"ShardID\":4711}".to_owned()),
    ];
    let mut requests: Vec<Vec<u8>> = new.iter().map(|(kind, document)| new_request(*kind, document)).collect();
    // No new line at the end; a half-close instead would be harmless as well.
    requests.push(b"\x03\x01{}".to_vec());
    for garbage in [&b"\x03\x01}{\n"[..], b"\x00\x01{}\n", b"\x04{}\n", b"GET / HTTP/1.1\r\n\r\n"] {
        requests.push(garbage.to_vec());
    }
    // A name that fits the plain header only in two parts, and one that needs a PAX header, are among them.
    for shard in ["two weeks", "größe \"x\"", "autogen"] {
        let found = sample.shards.iter().find(|(_, rp, ..)| rp == shard).expect("a shard");
        requests.push(shard_request(found.2));
    }
    let foreign = sample.shards.iter().find(|(db, ..)| db == "名前 db").expect("a shard");
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
        let (expected, got) = (without_trifles(ask(theirs, request)), without_trifles(ask(serving.address(), request)));
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
    // The reply has a length of its own: magic, two lengths, the store, and a node that is never there.
    let meta = fs::read(two.join("meta/meta.db")).expect("a meta store");
    let reply = ask(serving.address(), &new_request(1, "{}"));
    assert_eq!(reply.len(), 24 + meta.len() + 5);
    assert_eq!((&reply[..8], &reply[16..16 + meta.len()]), (&b"\0\0\0\0\x59\x59\x01\x01"[..], &meta[..]));
    assert_eq!(&reply[16 + meta.len()..], b"\0\0\0\0\0\0\0\x05null\n");

    // Imports, the last of which changes both.
    let import = |names: &str| [new_request(6, &format!("{{{names}\"UploadSize\":{}}}", meta.len())), meta.clone()].concat();
    for names in [
        "\"BackupDatabase\":\"simple\",",
        "\"BackupDatabase\":\"nobody\",",
        "\"BackupDatabase\":\"plain\",\"RestoreDatabase\":\"again\",\"BackupRetentionPolicy\":\"nobody\",",
        "",
        "\"BackupDatabase\":\"plain\",\"RestoreDatabase\":\"again\",\"BackupRetentionPolicy\":\"p.q\",\"RestoreRetentionPolicy\":\"r\",",
        "\"BackupDatabase\":\"simple\",\"RestoreDatabase\":\"once more\",",
    ] {
        let (expected, got) = (ask(theirs, &import(names)), ask(serving.address(), &import(names)));
        assert_eq!(got.len(), expected.len(), "{names}");
        let ids = |reply: &[u8]| read_shard_ids(&mut &reply[..]).expect("pairs");
        assert_eq!(ids(&got), ids(&expected), "{names}");
    }
    let databases = |to: SocketAddr| {
        let reply = ask(to, &new_request(1, "{}"));
        Data::read(&reply[16..reply.len() - 13]).expect("a meta store").databases
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
    for refused in
        ["{\"Type\":2,\"Database\":\"\"}", "{\"Type\":3,\"Database\":\"plain\"}", "{\"Type\":4}", "{\"Type\":6}", "{}"]
    {
        assert_eq!(ask(serving.address(), &old_request(refused)), b"", "{refused}");
    }
    serving.stop();

    let only = Serving::start(&own.path().join("served"), &["-dialect", "1.0", "-writable"]);
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
        (from..from + count).map(|i| format!("{name} v={i}i {}\n", START + i * SECOND)).collect()
    };
    server.write("ex", "", &series("long", 0, 5000));
    flush(&server);
    // All blocks of this file miss the time between.
    server.write("ex", "", &(series("early", 0, 10) + &series("late", 9000, 10)));
    flush(&server);
    server.write("ex", "", &series("middle", 2500, 100));
    flush(&server);
    server.query("ex", &format!("DELETE FROM long WHERE time >= {} AND time < {}", START + 10 * SECOND, START + 20 * SECOND));
    server.query("ex", &format!("DELETE FROM middle WHERE time >= {}", START + 2550 * SECOND));
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
        let sent = on_disk.keys().filter(|name| name.ends_with(".tsm") || name.ends_with(".tombstone"));
        sent.partition(|name| name.ends_with(".tsm"))
    };
    assert_eq!((files.len(), tombstones.len()), (3, 2), "{:?}", on_disk.keys());
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
            let time = time.map(|time| Timestamp::from_nanosecond(i128::from(time)).expect("a time"));
            time.map(|time| format!(",\"{name}\":\"{time}\"")).unwrap_or_default()
        };
        let document = format!("{{\"ShardID\":{id}{}{}}}", field("ExportStart", start), field("ExportEnd", end));
        let got = members(&ask(serving.address(), &new_request(5, &document)), &shard);
        let bounds = Bounds { start: start.unwrap_or(LEAST), end: end.unwrap_or(GREATEST) };
        for name in &files {
            let file = &on_disk[*name];
            let expected = match touch(&file[..], bounds).expect("a TSM file") {
                Touch::None => None,
                Touch::All => Some(file.clone()),
                Touch::Some(trimmed) => {
                    let mut part = Vec::new();
                    trimmed.write_to(&file[..], &mut part).expect("writing to memory");
                    Some(part)
                }
            };
            assert!(got.get(*name) == expected.as_ref(), "{document}: {name}");
            // A part of a file is of no use without the deletes from it.
            let tombstone = name.replace(".tsm", ".tombstone");
            if expected.is_some() && on_disk.contains_key(&tombstone) {
                assert!(got.get(&tombstone) == Some(&on_disk[&tombstone]), "{document}: {tombstone}");
            }
        }
        outcomes.push((files.iter().filter(|name| got.contains_key(**name)).count(), got));
    }
    assert_eq!(outcomes.iter().map(|outcome| outcome.0).collect::<Vec<_>>(), [2, 0, 2, 2, 0, 0, 3, 3]);
    serving.stop();

    // With the first export alone, influxd answers for its times what it answered before.
    let within = |server: &Influxd| {
        let query = |name: &str| {
            server.query("ex", &format!("SELECT v FROM {name} WHERE time >= {} AND time <= {}", at(2400), at(2600)))
        };
        [query("long"), query("middle"), query("early")]
    };
    let directory = root.join("data").join(&shard);
    let server = Influxd::start(&root, Index::Inmem);
    let expected = within(&server);
    server.stop();
    for name in tree::names(&directory).iter().filter(|name| name.ends_with(".tsm") || name.ends_with(".tombstone")) {
        fs::remove_file(directory.join(name)).expect("removing a file");
    }
    for (name, content) in &outcomes[0].1 {
        fs::write(directory.join(name), content).expect("writing a file");
    }
    let server = Influxd::start(&root, Index::Inmem);
    assert_eq!(within(&server), expected);
    assert!(expected[0].to_string().len() > 1000 && expected[1].to_string().len() > 500, "{expected:?}");
}

#[test]
fn it_goes_on_whatever_clients_do_and_nothing_of_them_is_left() {
    let root = folder();
    made_by_hand(root.path(), &[MIB, MIB, 0, 64 * MIB]);
    let before = directories(root.path());
    let serving = Serving::start(root.path(), &[]);
    let address = serving.address();
    assert_eq!(ask(address, &shard_request(1)).len() as u64, MIB + 1536);
    let idle = wait_for(|| Some(serving.threads_and_files()).filter(|(threads, _)| *threads == 2)).expect("two threads");

    let together = Barrier::new(64);
    thread::scope(|scope| {
        for client in 0..64 {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                // Long replies, and many short ones that come and go beside them.
                for id in [client % 2 + 1, 3, 3, 3, 3, 3, 3, 3, 3] {
                    let files = members(&ask(address, &shard_request(id)), &format!("s/rp/{id}"));
                    let size = if id == 3 { TSM.len() } else { 1 << 20 };
                    assert_eq!(files.values().map(Vec::len).collect::<Vec<_>>(), [size]);
                }
            });
        }
    });

    // Those that vanish in the middle of a reply, of a request, or before it, and one that says nothing for now.
    for _ in 0..20 {
        drop(begun(address, 4));
        drop(connect(address));
        connect(address).write_all(b"\x03\x00{\"Sha").expect("half a request");
    }
    let silent = connect(address);
    let garbage: Vec<u8> = (0..MIB).map(|i| u8::try_from(i * i % 251).expect("a byte")).collect();
    for first in [&b"\x03\x00"[..], b"\x03\x06", b"\x03{", b"\x02", b"\x03\x07", b"\x03\x00\"", b"\x03\x00{\"ShardID\":[[[["] {
        assert_eq!(ask(address, &[first, &garbage].concat()), b"", "{}", first.escape_ascii());
    }
    // A document that never ends, and one that only looks as if it announced much.
    assert_eq!(ask(address, &[&b"\x03\x00{\"Type"[..], &[b'e'; 1 << 20]].concat()), b"");
    assert_eq!(ask(address, &[&b"\x03\x00"[..], &[b'['; 1 << 20]].concat()), b"");
    let mut greedy = connect(address);
    greedy.write_all(b"\x03\x06{\"UploadSize\":1000000000}\nfew").expect("sending");
    drop(greedy);

    assert_eq!(ask(address, &shard_request(2)).len() as u64, MIB + 1536);
    drop(silent);
    let left = wait_for(|| (serving.threads_and_files() == idle && swept(root.path())).then_some(()));
    assert!(
        left.is_some(),
        "{:?} instead of {idle:?}, {:?}",
        serving.threads_and_files(),
        tree::names(&root.path().join("data"))
    );
    assert_eq!(directories(root.path()), before);
    let log = serving.stop();
    for reason in ["not the mux header", "before the request was whole", "no request"] {
        assert!(log.contains(reason), "no '{reason}' in:\n{log}");
    }
}

#[test]
fn further_connections_wait_for_a_free_place() {
    let root = folder();
    made_by_hand(root.path(), &[64 * MIB]);
    let serving = Serving::start(root.path(), &["-connections", "1"]);
    let first = begun(serving.address(), 1);
    let mut second = connect(serving.address());
    second.write_all(&new_request(1, "{}")).expect("sending a request");
    second.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
    let waiting = second.read(&mut [0; 1]).expect_err("no reply while another is served");
    assert!(matches!(waiting.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{waiting}");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let mut reply = Vec::new();
    second.read_to_end(&mut reply).expect("a reply");
    assert!(reply.starts_with(b"\0\0\0\0\x59\x59\x01\x01"));
    // At its limit it can be stopped as well.
    let held = begun(serving.address(), 1);
    serving.signal(libc::SIGTERM);
    drop(held);
    assert_eq!(serving.wait().code, Some(0));
}

#[test]
fn a_request_under_way_is_answered_whole_after_sigterm() {
    let root = folder();
    made_by_hand(root.path(), &[64 * MIB]);
    let serving = Serving::start(root.path(), &[]);
    let (mut stream, mut reply) = begun(serving.address(), 1);
    serving.signal(libc::SIGTERM);
    wait_for(|| TcpStream::connect(serving.address()).err()).expect("no new connections");
    stream.read_to_end(&mut reply).expect("the rest of the reply");
    assert_eq!(members(&reply, "s/rp/1")["000000001-000000001.tsm"].len() as u64, 64 * MIB);
    let Ended { code, log } = serving.wait();
    assert!(code == Some(0) && !log.contains("cut off") && !log.contains("shard 1: not answered"), "{code:?}\n{log}");
    assert!(swept(root.path()));
}

#[test]
fn a_client_that_stalls_is_cut_off_after_the_grace_time() {
    let root = folder();
    made_by_hand(root.path(), &[64 * MIB]);
    let serving = Serving::start(root.path(), &["-grace", "1s"]);
    let stalled = begun(serving.address(), 1);
    let silent = connect(serving.address());
    serving.signal(libc::SIGINT);
    let Ended { code, log } = serving.wait();
    assert!(code == Some(0) && log.contains("2 cut off"), "{code:?}\n{log}");
    assert!(swept(root.path()));
    drop((stalled, silent));
}

#[test]
fn what_a_killed_service_left_is_removed_by_the_next() {
    let root = folder();
    made_by_hand(root.path(), &[64 * MIB]);
    fs::write(root.path().join("data/s/rp/1/000000002-000000001.tsm"), TSM).expect("a file");
    let before = everything(root.path());
    let serving = Serving::start(root.path(), &[]);
    let stalled = begun(serving.address(), 1);
    assert!(!swept(root.path()), "no snapshot while a shard is sent");
    // Another one that starts meanwhile leaves alone what is still needed.
    let (mut slow, mut reply) = begun(serving.address(), 1);
    let other = Serving::start(root.path(), &[]);
    assert_eq!(ask(other.address(), &new_request(3, "{}")), b"{\"Paths\":[\"s/rp/1\"]}\n");
    other.stop();
    slow.read_to_end(&mut reply).expect("the rest of the reply");
    assert_eq!(members(&reply, "s/rp/1").len(), 2);
    serving.signal(libc::SIGKILL);
    assert_eq!(serving.wait().code, None);
    drop(stalled);
    assert!(!swept(root.path()));
    // The folder is no database.
    let serving = Serving::start(root.path(), &[]);
    assert!(swept(root.path()));
    assert_eq!(ask(serving.address(), &new_request(3, "{}")), b"{\"Paths\":[\"s/rp/1\"]}\n");
    serving.stop();
    assert!(everything(root.path()) == before, "something changed");
}

#[test]
fn a_snapshot_that_was_left_behind_does_no_harm_and_is_swept() {
    let root = folder();
    made_by_hand(root.path(), &[0]);
    let before = everything(root.path());
    let name = "000000001-000000001.tsm";
    for number in 0..3 {
        let left = root.path().join(format!("data/.snap-serve/request-{number}"));
        fs::create_dir_all(&left).expect("a folder");
        fs::hard_link(root.path().join("data/s/rp/1").join(name), left.join(name)).expect("a hard link");
    }
    let (service, reasons) = in_process(root.path(), ServiceOptions::default());
    let reply = ask(service.address(), &shard_request(1));
    service.close(Duration::from_secs(10));
    assert_eq!(fs::read(root.path().join("data/s/rp/1").join(name)).expect("the file"), TSM);
    assert!(reply.len() == 2048, "{} bytes, {:?}", reply.len(), reasons.0);
    assert!(everything(root.path()) == before, "something is left");
}

/// Keeps the reason of each request that was not answered.
#[derive(Clone, Default)]
struct Reasons(Arc<Mutex<Vec<String>>>);

impl Log for Reasons {
    fn request(&self, line: &LogLine<'_>) {
        if let Err(error) = line.outcome {
            self.0.lock().expect("no panic").push(format!("{error:#}"));
        }
    }

    fn warning(&self, _text: &str) {}
}

/// The service in this process over directories, writable.
fn in_process(root: &Path, options: ServiceOptions) -> (Service, Reasons) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let meta = LocalMeta::open(&root.join("meta")).expect("a meta store");
    let shards = LocalShards::open(&root.join("data"), None, false).expect("a data directory");
    let reasons = Reasons::default();
    let options = ServiceOptions { writable: true, ..options };
    let service = Service::open(listener, Box::new(meta), Box::new(shards), Box::new(reasons.clone()), options);
    (service.expect("a service"), reasons)
}

/// Reads until the peer has closed, in whatever way.
fn closed(mut stream: TcpStream) {
    let mut bytes = [0; 4096];
    while matches!(stream.read(&mut bytes), Ok(count) if count > 0) {}
}

#[test]
fn a_request_that_does_not_come_in_time_and_a_peer_that_stalls_cost_only_their_own_connections() {
    let root = folder();
    made_by_hand(root.path(), &[64 * MIB, 0]);
    let before = everything(root.path());
    let short = Duration::from_millis(500);
    let options = ServiceOptions { request_timeout: short, idle_timeout: short, ..ServiceOptions::default() };
    let (service, reasons) = in_process(root.path(), options);
    let address = service.address();
    let unfinished =
        [&b""[..], b"\x03", b"\x03\x00", b"\x03\x00{\"ShardID\"", b"\x03\x07\0\0\0", b"\x03\x06{\"UploadSize\":9}\nab"];
    let mut streams: Vec<TcpStream> = unfinished
        .iter()
        .map(|bytes| {
            let mut stream = connect(address);
            stream.write_all(bytes).expect("sending");
            stream
        })
        .collect();
    // An upload that stops in the middle.
    let mut upload = connect(address);
    upload
        .write_all(
            &[&b"\x03\x07\0\0\0\0\0\0\0\x02"[..], &tar_of("s/rp/2", &[("000000002-000000001.tsm", TSM)])[..700]].concat(),
        )
        .expect("sending");
    streams.push(upload);
    // A reply that nobody reads, and a request that comes one byte at a time and never ends.
    let unread = begun(address, 1);
    let mut slow = connect(address);
    slow.write_all(b"\x03\x00{").expect("sending");
    while slow.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
    streams.into_iter().for_each(closed);
    wait_for(|| (service.counts().failed == 9).then_some(()))
        .unwrap_or_else(|| panic!("{:?} {reasons:?}", service.counts(), reasons = reasons.0));
    drop(unread);
    assert_eq!(ask(address, &shard_request(2)).len(), 512 + 512 + 1024);
    let (counts, cut_off) = service.close(Duration::from_secs(10));
    assert_eq!((counts.connections, counts.answered, counts.failed, cut_off), (10, 1, 9, 0));
    assert!(everything(root.path()) == before, "something changed");
}

/// The tar of a shard with these files, under any names, however bad.
fn tar_of(shard: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in files {
        let path = format!("{shard}/{name}");
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// A request to import `meta`.
fn import(names: &str, meta: &[u8]) -> Vec<u8> {
    [new_request(6, &format!("{{{names}\"UploadSize\":{}}}", meta.len())), meta.to_vec()].concat()
}

#[test]
fn without_writable_nothing_can_be_changed() {
    let root = folder();
    made_by_hand(root.path(), &[0]);
    let before = everything(root.path());
    let meta = fs::read(root.path().join("meta/meta.db")).expect("a meta store");
    let serving = Serving::start(root.path(), &[]);
    assert_eq!(ask(serving.address(), &import("\"BackupDatabase\":\"s\",\"RestoreDatabase\":\"new\",", &meta)), b"");
    upload(serving.address(), 1, &tar_of("s/rp/1", &[("000000002-000000001.tsm", TSM)]));
    let log = serving.stop();
    assert_eq!(log.matches("-writable").count(), 2, "{log}");
    assert!(everything(root.path()) == before, "something changed");
}

#[test]
fn an_upload_changes_a_shard_wholly_or_not_at_all() {
    let root = folder();
    made_by_hand(root.path(), &[0; 11]);
    let before = everything(root.path());
    let serving = Serving::start(root.path(), &["-writable"]);
    let address = serving.address();
    let good = ("000000002-000000001.tsm", TSM);
    let whole = tar_of("s/rp/1", &[good]);
    let hostile: [(&str, Vec<u8>); 14] = [
        ("a path upwards", tar_of("s/rp/1", &[good, ("../2/000000002-000000001.tsm", TSM)])),
        ("a path upwards at the begin", tar_of("../s/rp/1", &[good])),
        ("an absolute path", tar_of("/s/rp/1", &[good])),
        ("another shard", tar_of("s/rp/2", &[good])),
        ("a shard whose id begins alike", tar_of("s/rp/11", &[good])),
        ("a folder", tar_of("s/rp/1", &[("index/000000002-000000001.tsm", TSM)])),
        ("a bad name", tar_of("s/rp/1", &[good, ("foo.tsm", TSM)])),
        ("a name with too large a number", tar_of("s/rp/1", &[("4294967296-1.tsm", TSM)])),
        ("text", tar_of("s/rp/1", &[good, ("000000003-000000001.tsm", b"no points at all, and long enough to be one")])),
        ("a cut file", tar_of("s/rp/1", &[good, ("000000003-000000001.tsm", &TSM[..TSM.len() - 3])])),
        ("a name twice", tar_of("s/rp/1", &[good, good])),
        ("a tar cut in a file", whole[..540].to_vec()),
        ("a tar cut in a header", tar_of("s/rp/1", &[good, ("000000003-000000001.tsm", TSM)])[..1100].to_vec()),
        ("no tar", vec![b'x'; 4096]),
    ];
    for (what, tar) in &hostile {
        upload(address, 1, tar);
        assert!(everything(root.path()) == before, "{what}: something changed");
    }
    upload(address, 4711, &whole);
    upload(address, 1, &[0; 1024]);
    upload(address, 1, b"");
    assert!(everything(root.path()) == before, "something changed");

    // What no server takes is passed over, and the rest goes into the shard.
    let beside = [("000000002-000000001.tombstone", &b"x"[..]), good, ("fields.idx", b"x")];
    upload(address, 1, &tar_of("s/rp/1", &beside));
    let mut expected = before.clone();
    expected.insert("data/s/rp/1/000000002-000000001.tsm".to_owned(), TSM.to_vec());
    assert!(everything(root.path()) == expected, "{:?}", tree::names(&root.path().join("data/s/rp/1")));

    // A file in place of another: deletes, fields and index of the old do not count any more.
    let shard = root.path().join("data/s/rp/3");
    fs::create_dir(shard.join("index")).expect("an index");
    for name in ["000000001-000000001.tombstone", "fields.idx", "index/MANIFEST"] {
        fs::write(shard.join(name), "old").expect("writing a file");
    }
    let mut other = TSM.to_vec();
    other[23] = 7;
    upload(address, 3, &tar_of("s/rp/3", &[("000000001-000000001.tsm", &other)]));
    assert_eq!(tree::files(&shard), [("000000001-000000001.tsm".to_owned(), other)].into());
    assert!(shard.join("index").is_dir());
    let log = serving.stop();
    assert!(log.matches("upload of shard 1: not answered").count() >= 8, "{log}");
}

#[test]
fn an_upload_ends_with_its_trailer_though_the_client_keeps_its_side_open() {
    let root = folder();
    made_by_hand(root.path(), &[0]);
    let serving = Serving::start(root.path(), &["-writable"]);
    let mut stream = connect(serving.address());
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    let tar = tar_of("s/rp/1", &[("000000002-000000001.tsm", TSM)]);
    stream.write_all(&[&b"\x03\x07\0\0\0\0\0\0\0\x01"[..], &tar].concat()).expect("sending");
    assert_eq!(stream.read(&mut [0; 1]).expect("the end of the connection"), 0);
    assert!(root.path().join("data/s/rp/1/000000002-000000001.tsm").exists());

    // The padding of other tar writers follows the end, and does no harm.
    let padded = [tar_of("s/rp/1", &[("000000003-000000001.tsm", TSM)]), vec![0; 8192]].concat();
    upload(serving.address(), 1, &padded);
    assert!(root.path().join("data/s/rp/1/000000003-000000001.tsm").exists(), "{}", serving.log());
}

#[test]
fn an_import_that_is_refused_changes_nothing() {
    let root = folder();
    made_by_hand(root.path(), &[0, 0]);
    let before = everything(root.path());
    let meta = fs::read(root.path().join("meta/meta.db")).expect("a meta store");
    let mut outside = Data::read(&meta).expect("a meta store");
    outside.databases[0].name = "../out".into();
    let mut policy = Data::read(&meta).expect("a meta store");
    policy.databases[0].name = "other".into();
    policy.databases[0].retention_policies[0].name = "../../out".into();
    let serving = Serving::start(root.path(), &["-writable"]);
    let (outside, policy) = (outside.encode_to_vec(), policy.encode_to_vec());
    let s = "\"BackupDatabase\":\"s\",";
    let refused: [(String, &[u8]); 11] = [
        (format!("{s}\"RestoreDatabase\":\"bad/name\","), &meta),
        (format!("{s}\"RestoreDatabase\":\"..\","), &meta),
        (format!("{s}\"RestoreDatabase\":\"\\u0000\","), &meta),
        (
            format!("{s}\"RestoreDatabase\":\"new\",\"BackupRetentionPolicy\":\"rp\",\"RestoreRetentionPolicy\":\"../x\","),
            &meta,
        ),
        (format!("{s}\"RestoreDatabase\":\"new\",\"BackupRetentionPolicy\":\"nobody\","), &meta),
        (s.to_owned(), &meta),
        ("\"BackupDatabase\":\"nobody\",".to_owned(), &meta),
        (String::new(), &outside),
        (String::new(), &policy),
        (format!("{s}\"RestoreDatabase\":\"new\","), &meta[..meta.len() / 2]),
        (format!("{s}\"RestoreDatabase\":\"new\","), b""),
    ];
    for (names, meta) in &refused {
        let reply = ask(serving.address(), &import(names, meta));
        assert!(reply.is_empty() || reply == b"\0\0\0\0\x59\x59\x01\x01\0\0\0\0\0\0\0\0", "{names}: {}", reply.escape_ascii());
        assert!(everything(root.path()) == before, "{names}: something changed");
    }
    let reply = ask(serving.address(), &import(&format!("{s}\"RestoreDatabase\":\"new\","), &meta));
    assert_eq!(read_shard_ids(&mut &reply[..]).expect("pairs"), [(1, 3), (2, 4)].into());
    assert!(root.path().join("data/new/rp/3").is_dir() && root.path().join("data/new/rp/4").is_dir());
}
