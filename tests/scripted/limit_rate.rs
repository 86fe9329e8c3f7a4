//! `-limit-rate`: what is moved is moved whole, not faster than allowed, and a stop is obeyed at
//! once all the same.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::support::peer::{Model, Peer, Version};
use crate::support::process::{Snap, snap};
use crate::support::service::{Serving, copy};
use crate::support::{folder, tree, utf8};

#[test]
fn a_download_takes_as_long_as_its_bytes_do_and_is_whole() {
    let root = folder();
    let model = Model::new(
        Version::V1_6,
        &[
            ("db", "autogen", 1),
            ("db", "autogen", 2),
            ("db", "autogen", 3),
        ],
    );
    let bytes: usize = model.shards.iter().map(|shard| shard.bytes().len()).sum();
    let peer = Peer::start(model);
    let dir = root.path().join("backup");
    let flags = ["backup", "-host", &peer.host(), "-jobs", "3", "-limit-rate"];
    // Two seconds' worth, less the burst and a portion for each shard.
    let run = snap([&flags[..], &[&format!("{}B", bytes / 2), utf8(&dir)]].concat()).expect(0);
    assert!(
        run.wall > Duration::from_secs(1),
        "{bytes} bytes in {:?}",
        run.wall
    );
    for shard in peer.model().shards {
        let file = std::fs::read(dir.join(format!("db.autogen.{:05}.00", shard.path.id)))
            .expect("a shard");
        assert!(file == shard.bytes(), "{} is not what was sent", shard.path);
    }
    for wrong in ["0", "fast", "20T"] {
        snap([&flags[..], &[wrong, utf8(&dir)]].concat()).expect(2);
    }
}

#[test]
fn a_stop_is_obeyed_while_a_download_waits_for_its_turn() {
    let root = folder();
    let peer = Peer::start(Model::new(Version::V1_6, &[("db", "autogen", 1)]));
    let dir = root.path().join("backup");
    // At this rate, the metastore alone takes minutes.
    let running = Snap::new([
        "backup",
        "-host",
        &peer.host(),
        "-limit-rate",
        "1B",
        utf8(&dir),
    ])
    .spawn();
    peer.wait_for_requests(1);
    thread::sleep(Duration::from_millis(300));
    running.signal(libc::SIGTERM);
    let run = running.wait().expect(143);
    assert!(run.wall < Duration::from_secs(20), "{:?}", run.wall);
}

#[test]
fn an_upload_takes_as_long_as_its_bytes_do_and_is_whole() {
    let root = folder();
    let place = |name: &str| -> PathBuf { root.path().join(name) };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/influxd-1.6.7");
    copy(&data, &place("server"));
    let server = Serving::start(&place("server"), &["-writable"]);
    let backup = place("backup");
    snap(["backup", "-host", &server.host(), utf8(&backup)]).expect(0);
    let bytes: usize = tree::files(&backup)
        .iter()
        .filter(|(name, _)| name.starts_with("db.dot."))
        .map(|(_, content)| content.len())
        .sum();
    let (host, rate) = (server.host(), format!("{}B", bytes / 2));
    let flags = [
        "-database",
        "db.dot",
        "-newdb",
        "copy",
        "-host",
        &host,
        "-limit-rate",
        &rate,
    ];
    let run = snap([&["restore", "-online"], &flags[..], &[utf8(&backup)]].concat()).expect(0);
    assert!(
        run.wall > Duration::from_secs(1),
        "{bytes} bytes in {:?}",
        run.wall
    );
    // What the server has then was read back and compared.
    let read_back = format!("read back from {host}, ");
    assert!(run.stdout.contains(": 2 shards, ") && run.stdout.contains(&read_back));
}
