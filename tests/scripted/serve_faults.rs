//! That the service outlives whatever its clients do, changes directories wholly or not at all, and
//! leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use influx_snap::influxd_dir::{LocalMeta, LocalShards};
use influx_snap::metastore::Data;
use influx_snap::server::{Log, LogLine, Service, ServiceOptions};
use influx_snap::wire::read_shard_ids;
use prost::Message;

use crate::support::handmade::{self, TSM, Tree, stopped_server, tar_of};
use crate::support::process::{Snap, snap};
use crate::support::service::{
    Ended, Serving, ask, connect, members, new_request, shard_request, swept, upload, wait_for,
};
use crate::support::{folder, tree, utf8};

/// A mebibyte.
const MIB: u64 = 1 << 20;

/// All that a service could change.
fn everything(root: &Path) -> Tree {
    let mut all = handmade::everything(root);
    all.remove(Path::new("serve.log"));
    all
}

/// Asks for a shard and reads the first bytes of the reply.
fn begun(to: SocketAddr, id: u64) -> (TcpStream, Vec<u8>) {
    let mut stream = connect(to);
    stream
        .write_all(&shard_request(id))
        .expect("sending a request");
    let mut first = vec![0; 4096];
    stream.read_exact(&mut first).expect("the begin of a reply");
    (stream, first)
}

#[test]
fn it_goes_on_whatever_clients_do_and_nothing_of_them_is_left() {
    let root = folder();
    stopped_server(root.path(), &[MIB, MIB, 0, 64 * MIB]);
    let before = everything(root.path());
    let serving = Serving::start(root.path(), &[]);
    let address = serving.address();
    assert_eq!(ask(address, &shard_request(1)).len() as u64, MIB + 1536);
    let idle = wait_for(|| Some(serving.threads_and_files()).filter(|(threads, _)| *threads == 2))
        .expect("two threads");

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

    // Those that vanish in the middle of a reply, of a request, or before it, and one that says
    // nothing for now.
    for _ in 0..20 {
        drop(begun(address, 4));
        drop(connect(address));
        connect(address)
            .write_all(b"\x03\x00{\"Sha")
            .expect("half a request");
    }
    let silent = connect(address);
    let garbage: Vec<u8> = (0..MIB)
        .map(|i| u8::try_from(i * i % 251).expect("a byte"))
        .collect();
    for first in [
        &b"\x03\x00"[..],
        b"\x03\x06",
        b"\x03{",
        b"\x02",
        b"\x03\x07",
        b"\x03\x00\"",
        b"\x03\x00{\"ShardID\":[[[[",
    ] {
        assert_eq!(
            ask(address, &[first, &garbage].concat()),
            b"",
            "{}",
            first.escape_ascii()
        );
    }
    // A document that never ends, and one that only looks as if it announced much.
    assert_eq!(
        ask(
            address,
            &[&b"\x03\x00{\"Type"[..], &[b'e'; 1 << 20]].concat()
        ),
        b""
    );
    assert_eq!(
        ask(address, &[&b"\x03\x00"[..], &[b'['; 1 << 20]].concat()),
        b""
    );
    let mut greedy = connect(address);
    greedy
        .write_all(b"\x03\x06{\"UploadSize\":1000000000}\nfew")
        .expect("sending");
    drop(greedy);

    assert_eq!(ask(address, &shard_request(2)).len() as u64, MIB + 1536);
    drop(silent);
    let left =
        wait_for(|| (serving.threads_and_files() == idle && swept(root.path())).then_some(()));
    assert!(
        left.is_some(),
        "{:?} instead of {idle:?}, {:?}",
        serving.threads_and_files(),
        tree::names(&root.path().join("data"))
    );
    assert!(everything(root.path()) == before, "something changed");
    let log = serving.stop();
    for reason in [
        "not the mux header",
        "before the request was whole",
        "no request",
    ] {
        assert!(log.contains(reason), "no '{reason}' in:\n{log}");
    }
}

#[test]
fn further_connections_wait_for_a_free_place() {
    let root = folder();
    stopped_server(root.path(), &[64 * MIB]);
    let serving = Serving::start(root.path(), &["-connections", "1"]);
    let first = begun(serving.address(), 1);
    let mut second = connect(serving.address());
    second
        .write_all(&new_request(1, "{}"))
        .expect("sending a request");
    second
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a time-out");
    let waiting = second
        .read(&mut [0; 1])
        .expect_err("no reply while another is served");
    assert!(
        matches!(
            waiting.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        ),
        "{waiting}"
    );
    drop(first);
    second
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out");
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
    stopped_server(root.path(), &[64 * MIB]);
    let serving = Serving::start(root.path(), &[]);
    let (mut stream, mut reply) = begun(serving.address(), 1);
    serving.signal(libc::SIGTERM);
    wait_for(|| TcpStream::connect(serving.address()).err()).expect("no new connections");
    stream
        .read_to_end(&mut reply)
        .expect("the rest of the reply");
    assert_eq!(
        members(&reply, "s/rp/1")["000000001-000000001.tsm"].len() as u64,
        64 * MIB
    );
    let Ended { code, log } = serving.wait();
    assert!(
        code == Some(0) && !log.contains("cut off") && !log.contains("shard 1: not answered"),
        "{code:?}\n{log}"
    );
    assert!(swept(root.path()));
}

#[test]
fn a_client_that_stalls_is_cut_off_after_the_grace_time() {
    let root = folder();
    stopped_server(root.path(), &[64 * MIB]);
    let serving = Serving::start(root.path(), &["-grace", "1s"]);
    // Whoever came first is known to the service once the second is answered.
    let silent = connect(serving.address());
    let stalled = begun(serving.address(), 1);
    serving.signal(libc::SIGINT);
    let Ended { code, log } = serving.wait();
    assert!(
        code == Some(0) && log.contains("2 cut off"),
        "{code:?}\n{log}"
    );
    assert!(swept(root.path()));
    drop((stalled, silent));
}

#[test]
fn what_a_killed_service_left_is_removed_by_the_next() {
    let root = folder();
    stopped_server(root.path(), &[64 * MIB]);
    fs::write(root.path().join("data/s/rp/1/000000002-000000001.tsm"), TSM).expect("a file");
    let before = everything(root.path());
    let serving = Serving::start(root.path(), &[]);
    let stalled = begun(serving.address(), 1);
    assert!(!swept(root.path()), "no snapshot while a shard is sent");
    // Another one that starts meanwhile leaves alone what is still needed.
    let (mut slow, mut reply) = begun(serving.address(), 1);
    let other = Serving::start(root.path(), &[]);
    assert_eq!(
        ask(other.address(), &new_request(3, "{}")),
        b"{\"Paths\":[\"s/rp/1\"]}\n"
    );
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
    assert_eq!(
        ask(serving.address(), &new_request(3, "{}")),
        b"{\"Paths\":[\"s/rp/1\"]}\n"
    );
    serving.stop();
    assert!(everything(root.path()) == before, "something changed");
}

#[test]
fn a_snapshot_that_was_left_behind_does_no_harm_and_is_swept() {
    let root = folder();
    stopped_server(root.path(), &[0]);
    let before = everything(root.path());
    let name = "000000001-000000001.tsm";
    for number in 0..3 {
        let left = root
            .path()
            .join(format!("data/.snap-serve/request-{number}"));
        fs::create_dir_all(&left).expect("a folder");
        fs::hard_link(root.path().join("data/s/rp/1").join(name), left.join(name))
            .expect("a hard link");
    }
    let (service, reasons) = in_process(root.path(), ServiceOptions::default());
    let reply = ask(service.address(), &shard_request(1));
    service.close(Duration::from_secs(10));
    assert_eq!(
        fs::read(root.path().join("data/s/rp/1").join(name)).expect("the file"),
        TSM
    );
    assert!(
        reply.len() == 2048,
        "{} bytes, {:?}",
        reply.len(),
        reasons.0
    );
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
    let meta = LocalMeta::open(&root.join("meta")).expect("a metastore");
    let shards = LocalShards::open(&root.join("data"), None, false).expect("a data directory");
    let reasons = Reasons::default();
    let options = ServiceOptions {
        writable: true,
        ..options
    };
    let service = Service::open(
        listener,
        Box::new(meta),
        Box::new(shards),
        Box::new(reasons.clone()),
        options,
    );
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
    stopped_server(root.path(), &[64 * MIB, 0]);
    let before = everything(root.path());
    let short = Duration::from_millis(500);
    let options = ServiceOptions {
        request_timeout: short,
        idle_timeout: short,
        ..ServiceOptions::default()
    };
    let (service, reasons) = in_process(root.path(), options);
    let address = service.address();
    let unfinished = [
        &b""[..],
        b"\x03",
        b"\x03\x00",
        b"\x03\x00{\"ShardID\"",
        b"\x03\x07\0\0\0",
        b"\x03\x06{\"UploadSize\":9}\nab",
    ];
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
            &[
                &b"\x03\x07\0\0\0\0\0\0\0\x02"[..],
                &tar_of("s/rp/2", &[("000000002-000000001.tsm", TSM)])[..700],
            ]
            .concat(),
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
    assert_eq!(
        (counts.connections, counts.answered, counts.failed, cut_off),
        (10, 1, 9, 0)
    );
    assert!(everything(root.path()) == before, "something changed");
}

/// A request to import `meta`.
fn import(names: &str, meta: &[u8]) -> Vec<u8> {
    [
        new_request(6, &format!("{{{names}\"UploadSize\":{}}}", meta.len())),
        meta.to_vec(),
    ]
    .concat()
}

#[test]
fn without_writable_nothing_can_be_changed() {
    let root = folder();
    stopped_server(root.path(), &[0]);
    let before = everything(root.path());
    let meta = fs::read(root.path().join("meta/meta.db")).expect("a metastore");
    let serving = Serving::start(root.path(), &[]);
    assert_eq!(
        ask(
            serving.address(),
            &import(
                "\"BackupDatabase\":\"s\",\"RestoreDatabase\":\"new\",",
                &meta
            )
        ),
        b""
    );
    upload(
        serving.address(),
        1,
        &tar_of("s/rp/1", &[("000000002-000000001.tsm", TSM)]),
    );
    let log = serving.stop();
    assert_eq!(log.matches("-writable").count(), 2, "{log}");
    assert!(everything(root.path()) == before, "something changed");
}

#[test]
fn an_upload_changes_a_shard_wholly_or_not_at_all() {
    let root = folder();
    stopped_server(root.path(), &[0; 11]);
    let before = everything(root.path());
    let serving = Serving::start(root.path(), &["-writable"]);
    let address = serving.address();
    let good = ("000000002-000000001.tsm", TSM);
    let whole = tar_of("s/rp/1", &[good]);
    let hostile: [(&str, Vec<u8>); 14] = [
        (
            "a path upwards",
            tar_of("s/rp/1", &[good, ("../2/000000002-000000001.tsm", TSM)]),
        ),
        ("a path upwards at the begin", tar_of("../s/rp/1", &[good])),
        ("an absolute path", tar_of("/s/rp/1", &[good])),
        ("another shard", tar_of("s/rp/2", &[good])),
        ("a shard whose id begins alike", tar_of("s/rp/11", &[good])),
        (
            "a folder",
            tar_of("s/rp/1", &[("index/000000002-000000001.tsm", TSM)]),
        ),
        ("a bad name", tar_of("s/rp/1", &[good, ("foo.tsm", TSM)])),
        (
            "a name with too large a number",
            tar_of("s/rp/1", &[("4294967296-1.tsm", TSM)]),
        ),
        (
            "text",
            tar_of(
                "s/rp/1",
                &[
                    good,
                    (
                        "000000003-000000001.tsm",
                        b"no points at all, and long enough to be one",
                    ),
                ],
            ),
        ),
        (
            "a cut file",
            tar_of(
                "s/rp/1",
                &[good, ("000000003-000000001.tsm", &TSM[..TSM.len() - 3])],
            ),
        ),
        ("a name twice", tar_of("s/rp/1", &[good, good])),
        ("a tar cut in a file", whole[..540].to_vec()),
        (
            "a tar cut in a header",
            tar_of("s/rp/1", &[good, ("000000003-000000001.tsm", TSM)])[..1100].to_vec(),
        ),
        ("no tar", vec![b'x'; 4096]),
    ];
    for (what, tar) in &hostile {
        upload(address, 1, tar);
        assert!(
            everything(root.path()) == before,
            "{what}: something changed"
        );
    }
    upload(address, 4711, &whole);
    upload(address, 1, &[0; 1024]);
    upload(address, 1, b"");
    assert!(everything(root.path()) == before, "something changed");

    // What no server takes is passed over, and the rest goes into the shard.
    let beside = [
        ("000000002-000000001.tombstone", &b"x"[..]),
        good,
        ("fields.idx", b"x"),
    ];
    upload(address, 1, &tar_of("s/rp/1", &beside));
    let mut expected = before.clone();
    expected.insert(
        "data/s/rp/1/000000002-000000001.tsm".into(),
        Some(TSM.to_vec()),
    );
    assert!(
        everything(root.path()) == expected,
        "{:?}",
        tree::names(&root.path().join("data/s/rp/1"))
    );

    // A file in place of another: deletes, fields and index of the old do not count any more.
    let shard = root.path().join("data/s/rp/3");
    fs::create_dir(shard.join("index")).expect("an index");
    for name in [
        "000000001-000000001.tombstone",
        "fields.idx",
        "index/MANIFEST",
    ] {
        fs::write(shard.join(name), "old").expect("writing a file");
    }
    let mut other = TSM.to_vec();
    other[23] = 7;
    upload(
        address,
        3,
        &tar_of("s/rp/3", &[("000000001-000000001.tsm", &other)]),
    );
    assert_eq!(
        tree::files(&shard),
        [("000000001-000000001.tsm".to_owned(), other)].into()
    );
    assert!(shard.join("index").is_dir());
    let log = serving.stop();
    assert!(
        log.matches("upload of shard 1: not answered").count() >= 8,
        "{log}"
    );
}

#[test]
fn an_upload_ends_with_its_trailer_though_the_client_keeps_its_side_open() {
    let root = folder();
    stopped_server(root.path(), &[0]);
    let serving = Serving::start(root.path(), &["-writable"]);
    let mut stream = connect(serving.address());
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time-out");
    let tar = tar_of("s/rp/1", &[("000000002-000000001.tsm", TSM)]);
    stream
        .write_all(&[&b"\x03\x07\0\0\0\0\0\0\0\x01"[..], &tar].concat())
        .expect("sending");
    assert_eq!(
        stream.read(&mut [0; 1]).expect("the end of the connection"),
        0
    );
    assert!(
        root.path()
            .join("data/s/rp/1/000000002-000000001.tsm")
            .exists()
    );

    // The padding of other tar writers follows the end, and does no harm.
    let padded = [
        tar_of("s/rp/1", &[("000000003-000000001.tsm", TSM)]),
        vec![0; 8192],
    ]
    .concat();
    upload(serving.address(), 1, &padded);
    assert!(
        root.path()
            .join("data/s/rp/1/000000003-000000001.tsm")
            .exists(),
        "{}",
        serving.log()
    );
}

#[test]
fn an_import_that_is_refused_changes_nothing() {
    let root = folder();
    stopped_server(root.path(), &[0, 0]);
    let before = everything(root.path());
    let meta = fs::read(root.path().join("meta/meta.db")).expect("a metastore");
    let mut outside = Data::read(&meta).expect("a metastore");
    outside.databases[0].name = "../out".into();
    let mut policy = Data::read(&meta).expect("a metastore");
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
            format!(
                "{s}\"RestoreDatabase\":\"new\",\"BackupRetentionPolicy\":\"rp\",\"RestoreRetentionPolicy\":\"../x\","
            ),
            &meta,
        ),
        (
            format!("{s}\"RestoreDatabase\":\"new\",\"BackupRetentionPolicy\":\"nobody\","),
            &meta,
        ),
        (s.to_owned(), &meta),
        ("\"BackupDatabase\":\"nobody\",".to_owned(), &meta),
        (String::new(), &outside),
        (String::new(), &policy),
        (
            format!("{s}\"RestoreDatabase\":\"new\","),
            &meta[..meta.len() / 2],
        ),
        (format!("{s}\"RestoreDatabase\":\"new\","), b""),
    ];
    for (names, meta) in &refused {
        let reply = ask(serving.address(), &import(names, meta));
        assert!(
            reply.is_empty() || reply == b"\0\0\0\0\x59\x59\x01\x01\0\0\0\0\0\0\0\0",
            "{names}: {}",
            reply.escape_ascii()
        );
        assert!(
            everything(root.path()) == before,
            "{names}: something changed"
        );
    }
    let reply = ask(
        serving.address(),
        &import(&format!("{s}\"RestoreDatabase\":\"new\","), &meta),
    );
    assert_eq!(
        read_shard_ids(&mut &reply[..]).expect("pairs"),
        [(1, 3), (2, 4)].into()
    );
    assert!(
        root.path().join("data/new/rp/3").is_dir() && root.path().join("data/new/rp/4").is_dir()
    );
}

/// The inodes of sockets that a process has open.
fn sockets(pid: u32) -> BTreeSet<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    open.filter_map(|fd| {
        let target = fs::read_link(fd.ok()?.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?;
        inode.strip_suffix(']')?.parse().ok()
    })
    .collect()
}

/// The inodes of sockets that have a place in a table of the network: of TCP, UDP, or Unix sockets
/// with a name.
fn reachable(pid: u32) -> BTreeSet<u64> {
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let of_internet = ["tcp", "tcp6", "udp", "udp6"]
        .into_iter()
        .filter_map(|name| table(name).ok())
        .flat_map(|text| {
            let inodes = text
                .lines()
                .filter_map(|line| line.split_whitespace().nth(9));
            inodes
                .filter_map(|inode| inode.parse().ok())
                .collect::<Vec<_>>()
        });
    let named = table("unix").unwrap_or_default();
    let named = named.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(7).and_then(|_| fields[6].parse().ok())
    });
    of_internet.chain(named).collect()
}

#[test]
fn a_backup_of_a_stopped_server_opens_nothing_that_another_process_could_connect_to() {
    let root = folder();
    stopped_server(root.path(), &[0, 0]);
    let dir = root.path().join("backup");
    // The tables show what listens.
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let own = std::process::id();
    assert!(!sockets(own).is_disjoint(&reachable(own)));
    drop(listener);

    let running = Snap::new(["backup", "-quiet", "-limit-rate", "2KiB", utf8(&dir)])
        .directories(root.path())
        .spawn();
    let mut seen = 0;
    let connected = wait_for(|| {
        let open = sockets(running.pid());
        assert!(open.is_disjoint(&reachable(running.pid())), "{open:?}");
        // What the service sends is so little that it is done with it.
        seen = seen.max(open.len());
        (seen >= 2).then_some(())
    });
    running.wait().expect(0);
    connected.expect("downloads over sockets of its own");
    snap(["verify", "-quiet", utf8(&dir)]).expect(0);
}

#[test]
fn links_and_special_files_in_a_shard_or_its_wal_are_named_and_hold_up_nobody() {
    let root = folder();
    stopped_server(root.path(), &[0, 0, 0, 0, 0, 0]);
    let data = |name: &str| root.path().join("data/s/rp").join(name);
    let wal = |name: &str| root.path().join("wal/s/rp").join(name);
    let file = handmade::FILE;
    let secret = root.path().join("secret");
    fs::write(&secret, TSM).expect("a file that is none of the server's");
    let fifo = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo").success());
    };
    let link = |target: &Path, path: &Path| {
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::os::unix::fs::symlink(target, path).expect("a link");
    };
    link(&secret, &data("1/000000002-000000001.tsm"));
    link(
        "/dev/zero".as_ref(),
        &data("2/000000001-000000001.tombstone"),
    );
    fifo(&data("3/000000002-000000001.tsm"));
    link(&secret, &wal("4/_00001.wal"));
    fifo(&wal("5/_00001.wal"));
    // A directory may well lie elsewhere, as one of a database does on another disk.
    fs::rename(data("6"), root.path().join("moved")).expect("moving a shard");
    link(&root.path().join("moved"), &data("6"));

    let serving = Serving::start(root.path(), &[]);
    for (id, named) in [
        (1, "000000002-000000001.tsm is a symbolic link"),
        (2, "000000001-000000001.tombstone is a symbolic link"),
        (3, "000000002-000000001.tsm is not a regular file"),
        (4, "_00001.wal is a symbolic link"),
        (5, "_00001.wal is not a regular file"),
    ] {
        assert_eq!(
            ask(serving.address(), &shard_request(id)),
            b"",
            "shard {id}"
        );
        serving.logs(named, 1);
    }
    let files = members(&ask(serving.address(), &shard_request(6)), "s/rp/6");
    assert_eq!(files.keys().collect::<Vec<_>>(), [file]);
    serving.stop();
    assert!(swept(root.path()));

    // What has the name of our own folder, and leads elsewhere.
    link(
        &root.path().join("moved"),
        &root.path().join("data/.snap-serve"),
    );
    let serving = Serving::start(root.path(), &[]);
    assert_eq!(ask(serving.address(), &shard_request(6)), b"");
    serving.logs(".snap-serve is a symbolic link", 1);
    serving.stop();
    assert_eq!(tree::names(&root.path().join("moved")), [file]);
    fs::remove_file(root.path().join("data/.snap-serve")).expect("removing a link");

    let meta = root.path().join("meta/meta.db");
    fs::remove_file(&meta).expect("removing a metastore");
    fifo(&meta);
    let refused = crate::support::process::snap([
        "serve",
        "-metadir",
        crate::support::utf8(&root.path().join("meta")),
        "-datadir",
        crate::support::utf8(&root.path().join("data")),
        "-bind",
        "127.0.0.1:0",
    ])
    .expect(1);
    assert!(
        refused.stderr.contains("it is not a regular file"),
        "{}",
        refused.stderr
    );
}
