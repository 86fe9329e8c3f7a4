//! `snap export`, `snap stats` and `snap diff` of a server: what it does not send whole is asked for
//! again, and named where it never comes.

use std::time::Duration;

use influx_snap::tsm::values::ValueType;
use influx_snap::tsm::writer::Writer;

use crate::support::peer::{
    Asked, Cache, End, Gone, Member, Model, Peer, Reply, Shard, Tar, Version, nobody, tar,
};
use crate::support::process::{Run, Snap};
use crate::support::tsm::Block;
use crate::support::{each, folder, tree, utf8};

/// A server with the shards 1 to 3, each with a series of its own.
fn peer(version: Version) -> Peer {
    let mut model = Model::new(version, &[]);
    model.shards.extend((1..=3).map(|id| {
        let shard = Shard::new(version, "db", "autogen", id);
        Shard {
            tar: Tar::Bytes(tar(&[file(&shard)])),
            ..shard
        }
    }));
    Peer::start(model)
}

/// The file of a shard: two points of a series.
fn file(shard: &Shard) -> Member {
    let block = Block::new(ValueType::Integer, &[shard.start, shard.start + 1]);
    let mut writer = Writer::new(Vec::new());
    let key = format!("m,shard={}#!~#v", shard.path.id);
    let begun = writer.begin_key(key.as_bytes(), ValueType::Integer);
    begun.expect("a key");
    let written = writer.block(block.min, block.max, block.crc, &block.bytes);
    written.expect("a block");
    let (tsm, _) = writer.finish().expect("a file");
    Member::new(format!("{}/000000001-000000001.tsm", shard.path), tsm)
}

fn export(peer: &Peer, flags: &[&str]) -> Run {
    let host = peer.host();
    Snap::new(["export", "-host", &host, "-lponly"])
        .args(flags)
        .run()
}

/// Of which shards there are points.
fn shards(run: &Run) -> Vec<u64> {
    let mut found: Vec<u64> = (run.stdout.lines())
        .map(|line| line["m,shard=".len()..][..1].parse().expect("a number"))
        .collect();
    found.dedup();
    found
}

#[test]
fn what_breaks_off_is_asked_for_again_and_nothing_of_it_is_exported_twice() {
    for version in [Version::V1_1, Version::V1_3, Version::V1_6] {
        let peer = peer(version);
        let cut = |bytes, end| Reply::Cut(bytes, end);
        let replies = [cut(700, End::Fin), cut(900, End::Rst), Reply::Whole];
        peer.script(Asked::Shard(2), replies);
        let run = export(&peer, &[]).expect(0);
        assert_eq!(run.stdout.lines().count(), 6, "{version:?}\n{}", run.stdout);
        assert_eq!(shards(&run), [1, 2, 3]);
    }
}

/// The commands that read the shards of a server and make no set of them.
const COMMANDS: [&str; 3] = ["export", "stats", "diff"];

/// Runs a command over all shards of a server; how many points it finds. What it is compared with
/// is a server that has the same, and is quiet.
fn run_over(command: &str, peer: &Peer, quiet: &Peer, code: i32) -> (u64, Run) {
    let (host, quiet) = (peer.host(), format!("influxd://{}", quiet.host()));
    let flags = match command {
        "export" => vec!["-lponly"],
        "diff" => vec!["-json", &quiet],
        _ => vec!["-json"],
    };
    let run = Snap::new([command, "-host", &host, "-retries", "1"])
        .args(flags)
        .run()
        .expect(code);
    let count = |name: &str| {
        let lines = run.messages().into_iter();
        let lines = lines.filter(|line| line["message_type"] == "measurement");
        lines.filter_map(|line| line[name].as_u64()).sum()
    };
    let points = match command {
        "export" => run.stdout.lines().count() as u64,
        "diff" => count("same_point_count"),
        _ => count("values"),
    };
    (points, run)
}

#[test]
fn an_empty_tar_that_passes_is_asked_for_again_by_all_that_read_a_servers_shards() {
    each(COMMANDS, |command| {
        let quiet = peer(Version::V1_6);
        // In time, whatever the server's reason.
        let prompt = peer(Version::V1_6);
        prompt.script(Asked::Shard(2), [Reply::EmptyTar, Reply::Whole]);
        // Late, from a server that writes points to files when it is asked.
        let busy = peer(Version::V1_8_3);
        busy.change(|model| {
            let shard = &mut model.shards[1];
            shard.cache = Some(Cache {
                files: vec![file(shard)],
                flushes: [Duration::from_millis(1500)].into(),
                ..Cache::default()
            });
        });
        for peer in [prompt, busy] {
            assert_eq!(run_over(command, &peer, &quiet, 0).0, 6, "{command}");
        }
    });
}

#[test]
fn a_list_of_shards_that_does_not_come_is_asked_for_again_and_its_lack_ends_the_command() {
    each(COMMANDS, |command| {
        let [peer, quiet] = [peer(Version::V1_6), peer(Version::V1_6)];
        peer.script(Asked::Info, [Reply::Nothing, Reply::Whole]);
        assert_eq!(run_over(command, &peer, &quiet, 0).0, 6, "{command}");
        peer.script(Asked::Info, [Reply::Nothing]);
        let code = if *command == "diff" { 2 } else { 1 };
        let (points, run) = run_over(command, &peer, &quiet, code);
        assert_eq!(points, 0, "{command}");
        let text = "did not answer when asked for the shards of database 'db'";
        let said = [&run.stdout[..], &run.stderr].concat();
        assert!(said.contains(text), "{command}: {said}");
    });
    let peer = peer(Version::V1_6);
    let info = |code| {
        let run = Snap::new(["info", "-retries", "1", "-host", &peer.host()]).run();
        run.expect(code)
    };
    peer.script(Asked::Info, [Reply::Nothing, Reply::Whole]);
    let run = info(0);
    assert!(run.stdout.contains("3, 3 of them open"), "{}", run.stdout);
    // That none is open would not be true.
    peer.script(Asked::Info, [Reply::Nothing]);
    assert_eq!(info(1).stdout, "");
}

#[test]
fn a_metastore_that_breaks_off_is_asked_for_again_by_all_that_ask_a_server() {
    let cut = || Reply::Cut(40, End::Fin);
    each(COMMANDS, |command| {
        let [peer, quiet] = [peer(Version::V1_6), peer(Version::V1_6)];
        peer.script(Asked::Meta, [cut(), Reply::Whole]);
        assert_eq!(run_over(command, &peer, &quiet, 0).0, 6, "{command}");
        // As often as -retries says, and no more.
        peer.script(Asked::Meta, [cut(), cut(), Reply::Whole]);
        let code = if *command == "diff" { 2 } else { 1 };
        assert_eq!(run_over(command, &peer, &quiet, code).0, 0, "{command}");
    });
    let peer = peer(Version::V1_6);
    peer.script(Asked::Meta, [cut(), Reply::Whole]);
    let run = Snap::new(["info", "-host", &peer.host()]).run().expect(0);
    assert!(run.stdout.contains("3, 3 of them open"), "{}", run.stdout);
}

#[test]
fn a_database_that_is_dropped_meanwhile_is_no_failure() {
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 9)]);
    let stays = Shard::new(Version::V1_6, "stays", "autogen", 1);
    model.shards.push(Shard {
        tar: Tar::Bytes(tar(&[file(&stays)])),
        ..stays
    });
    let peer = Peer::start(model.clone());
    model.shards.remove(0);
    let metastores = [Reply::Whole, Reply::Bytes(model.meta())];
    peer.script(Asked::Meta, metastores);
    peer.script(Asked::Info, [Reply::Nothing, Reply::Whole]);
    assert_eq!(shards(&export(&peer, &[]).expect(0)), [1]);
}

#[test]
fn a_shard_that_is_empty_is_no_failure() {
    each(
        COMMANDS.iter().flat_map(|command| {
            [Version::V1_3, Version::V1_6, Version::V1_8_3].map(|of| (*command, of))
        }),
        |(command, version)| {
            let [peer, quiet] = [peer(*version), peer(*version)];
            for peer in [&peer, &quiet] {
                peer.change(|model| model.shards[1].tar = Tar::Bytes(tar(&[])));
            }
            let (points, run) = run_over(command, &peer, &quiet, 0);
            assert_eq!(points, 4, "{command} {version:?}: {}", run.stderr);
            assert!(!run.stderr.contains("db/autogen/2"), "{}", run.stderr);
        },
    );
}

#[test]
fn a_shard_that_never_comes_whole_is_named_by_all_that_read_a_servers_shards() {
    each(COMMANDS, |command| {
        let [peer, quiet] = [peer(Version::V1_6), peer(Version::V1_6)];
        peer.script(Asked::Shard(2), [Reply::Cut(700, End::Fin)]);
        let (points, run) = run_over(command, &peer, &quiet, 3);
        assert_eq!(points, 4, "{command}: {}", run.stderr);
        let said = [&run.stdout[..], &run.stderr].concat();
        assert!(said.contains("db/autogen/2"), "{command}: {said}");
    });
}

#[test]
fn what_never_comes_whole_is_named_and_everything_else_is_exported() {
    let peer = peer(Version::V1_6);
    let busy = [Reply::Nothing];
    for replies in [&[Reply::Cut(700, End::Fin)], &busy] {
        peer.script(Asked::Shard(2), replies.iter().cloned());
        let run = export(&peer, &["-retries", "1"]).expect(3);
        assert_eq!(shards(&run), [1, 3]);
        assert!(
            run.stderr.contains("shard db/autogen/2: "),
            "{}",
            run.stderr
        );
    }
    // One that is gone meanwhile is no loss.
    let gone = Reply::Vanish(Gone::Unnamed);
    peer.script(Asked::Shard(2), [gone]);
    let run = export(&peer, &["-retries", "1"]).expect(0);
    assert_eq!(shards(&run), [1, 3]);
}

#[test]
fn a_server_that_goes_away_is_not_waited_for_shard_by_shard() {
    let peer = peer(Version::V1_6);
    let host = peer.host();
    let slow = Reply::Slow {
        piece: 100,
        pause: Duration::from_millis(30),
    };
    peer.script(Asked::Shard(1), [slow]);
    let running = Snap::new(["export", "-host", &host, "-lponly", "-retries", "0"]).spawn();
    peer.wait_for_requests(4);
    drop(peer);
    let run = running.wait().expect(3);
    assert!(run.stderr.contains("db/autogen/2"), "{}", run.stderr);
    assert!(run.stderr.contains("db/autogen/3"), "{}", run.stderr);
    let run = Snap::new(["export", "-host", &nobody()]).run().expect(5);
    assert_eq!(run.stdout, "");
}

#[test]
fn a_shard_that_may_lack_its_newest_points_is_asked_for_again() {
    let peer = peer(Version::V1_8_10);
    peer.change(|model| {
        let shard = &mut model.shards[1];
        shard.cache = Some(Cache {
            cached: vec![file(shard)],
            flushes: [Duration::from_secs(3)].into(),
            ..Cache::default()
        });
        shard.tar = Tar::Bytes(tar(&[]));
    });
    let run = export(&peer, &[]).expect(0);
    assert_eq!(shards(&run), [1, 2, 3]);
}

#[test]
fn temporary_files_are_gone_and_where_there_can_be_none_the_server_is_not_asked_again() {
    let peer = peer(Version::V1_6);
    let scratch = folder();
    let run = Snap::new(["export", "-host", &peer.host(), "-lponly"])
        .env("TMPDIR", scratch.path())
        .run()
        .expect(0);
    assert_eq!(shards(&run), [1, 2, 3]);
    assert_eq!(tree::names(scratch.path()), [""; 0]);
    for command in ["export", "stats"] {
        let before = peer.asked_for(1);
        let nowhere = scratch.path().join("nowhere");
        let run = Snap::new([command, "-host", &peer.host()])
            .env("TMPDIR", &nowhere)
            .run()
            .expect(1);
        let told = format!(
            "cannot write a temporary file in TMPDIR ({})",
            utf8(&nowhere)
        );
        assert!(run.stderr.contains(&told), "{}", run.stderr);
        assert!(peer.asked_for(1) - before <= 2, "{command}");
    }
}
