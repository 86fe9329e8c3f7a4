//! Whatever a server answers: what is not the shard is never stored, and what is missing is said.

use std::fs;
use std::time::Duration;

use crate::support::fixture::{Fixture, shard, states};
use crate::support::peer::{Asked, End, Gone, Member, Model, Reply, Tar, Version, noise, tar, tsm};
use crate::support::process::{Snap, restore_into, snap};
use crate::support::{each, service, tree, utf8};
use influx_snap::metastore::ShardGroupInfo;
use influx_snap::shard::ShardPath;
use influx_snap::wire::MetaBlob;
use prost::Message;
use serde_json::Value;

#[test]
fn a_metastore_or_a_list_of_shards_that_is_not_one_ends_the_run_and_nothing_is_kept() {
    let model = Model::new(Version::V1_6, &[("db", "autogen", 1)]);
    let meta = model.meta();
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = meta.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        (Asked::Meta, bytes, 1)
    };
    let cases = [
        (Asked::Meta, [&meta[..], b"\0"].concat(), 1),
        (
            Asked::Meta,
            [&meta[..8], &[0; 7], &[1, 0xff], &[0; 8]].concat(),
            1,
        ),
        (Asked::Meta, [&meta[..8], &[0; 16]].concat(), 1),
        changed(8, &[0x7f; 8]),
        changed(8, &[0, 0, 1, 0, 0, 0, 0, 0]),
        changed(16, &[0xff; 12]),
        (
            Asked::Meta,
            [&[0; 4], &b"\x59\x59\x01\x02"[..], &meta[8..]].concat(),
            5,
        ),
        (Asked::Meta, noise(1, 4096), 5),
        (Asked::Info, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 1),
        (Asked::Info, b"[]\n".to_vec(), 1),
        (Asked::Info, b"{\"Paths\":[\"db/../../etc\"]}\n".to_vec(), 1),
        (Asked::Info, noise(1, 4096), 1),
    ];
    each(cases, |(asked, bytes, code)| {
        let fixture = Fixture::new(model.clone());
        fixture.peer.script(*asked, [Reply::Bytes(bytes.clone())]);
        fixture.backup(&["-retries", "0"]).expect(*code);
        fixture.expect_nothing();
    });
}

/// A tar that a server could send for the shard, and that lacks the newest points.
fn stale(id: u64) -> Reply {
    let path = shard(id).path;
    Reply::Stale(tar(&[Member::new(
        format!("{path}/000000001-000000001.tsm"),
        tsm(99, 300),
    )]))
}

#[test]
fn after_a_silence_the_shard_is_stored_from_the_second_answer_not_the_first() {
    let silences = [Reply::Nothing, Reply::Cut(0, End::Rst)];
    let mut scripts: Vec<Vec<Reply>> = Vec::new();
    for silence in &silences {
        let id = scripts.len() as u64 + 1;
        scripts.push(vec![silence.clone(), Reply::Whole]);
        scripts.push(vec![silence.clone(), Reply::Nothing, Reply::Whole]);
        scripts.push(vec![silence.clone(), stale(id + 2), Reply::Whole]);
        scripts.push(vec![
            silence.clone(),
            silence.clone(),
            stale(id + 3),
            Reply::Whole,
        ]);
        scripts.push(vec![
            silence.clone(),
            Reply::Whole,
            Reply::Cut(700, End::Rst),
            Reply::Whole,
        ]);
        scripts.push(vec![
            silence.clone(),
            Reply::Whole,
            silence.clone(),
            stale(id + 5),
            Reply::Whole,
        ]);
    }
    // All shards in a group of a week, which -start cuts.
    let mut model = Model::new(Version::V1_6, &[]);
    model.shards = (1..=scripts.len() as u64).map(shard).collect();
    let (start, week) = (model.shards[0].start, 7 * 24 * 3_600_000_000_000);
    for shard in &mut model.shards {
        (shard.start, shard.end) = (start, start + week);
    }
    let wants: [&[&str]; 3] = [
        &[],
        &["-since", "2023-01-01"],
        &["-coarse", "-start", "2020-09-10"],
    ];
    each(wants, |want| {
        let fixture = Fixture::new(model.clone());
        for (id, script) in (1..).zip(&scripts) {
            fixture.peer.script(Asked::Shard(id), script.clone());
        }
        fixture
            .backup(&[want, &["-jobs", "12"][..]].concat())
            .expect(0);
        fixture.expect_all();
    });
}

#[test]
fn the_question_after_a_silence_costs_a_newer_server_nothing() {
    let fixture = Fixture::with_shards([7]);
    fixture
        .peer
        .script(Asked::Shard(7), [Reply::Nothing, Reply::Whole]);
    fixture.backup(&[]).expect(0);
    fixture.expect_all();
    let request = |since: &str| {
        format!(
            "\x03\0{{\"Type\":0,\"BackupDatabase\":\"\",\"RestoreDatabase\":\"\",\"BackupRetentionPolicy\":\"\",\
             \"RestoreRetentionPolicy\":\"\",\"ShardID\":7,\"Since\":\"{since}\",\"ExportStart\":\"0001-01-01T00:00:00Z\",\
             \"ExportEnd\":\"0001-01-01T00:00:00Z\",\"UploadSize\":0}}\n"
        )
    };
    let (all, none) = (
        request("0001-01-01T00:00:00Z"),
        request("2262-04-11T23:47:16.854775806Z"),
    );
    assert_eq!(fixture.peer.shard_requests(), [none.clone(), none, all]);
}

#[test]
fn a_lasting_silence_is_a_failure_while_the_server_still_names_the_shard() {
    let fixture = Fixture::with_shards([1, 2]);
    fixture.peer.script(Asked::Shard(1), [Reply::Nothing]);
    let run = fixture.backup(&["-retries", "1"]).expect(1);
    assert!(
        run.stderr.contains("db/autogen/1") && run.stderr.contains("without an answer"),
        "{}",
        run.stderr
    );
    fixture.expect_nothing();
}

#[test]
fn a_shard_that_expired_since_it_was_listed_is_skipped_and_said() {
    for gone in [Gone::Unnamed, Gone::Deleted] {
        let fixture = Fixture::with_shards([1, 2]);
        let meta = fixture.peer.model().meta();
        fixture
            .peer
            .script(Asked::Shard(1), [Reply::Vanish(gone), Reply::Nothing]);
        let run = fixture.backup(&["-retries", "0"]).expect(0);
        assert!(
            run.stderr
                .contains("deleted on the server meanwhile: 1 shard (db/autogen/1)"),
            "{gone:?}: {}",
            run.stderr
        );
        let found = tree::visible_files(&fixture.dir());
        assert_eq!(
            found,
            [
                ("db.autogen.00002.00".into(), shard(2).bytes()),
                ("meta.00".into(), meta)
            ]
            .into(),
            "{gone:?}"
        );
        assert_eq!(states(&fixture.record())[&1].0, "expired", "{gone:?}");
    }
}

#[test]
fn a_shard_that_is_no_longer_open_but_still_named_is_a_failure() {
    let fixture = Fixture::with_shards([1, 2]);
    fixture.peer.script(
        Asked::Shard(1),
        [Reply::Vanish(Gone::NotOpen), Reply::Nothing],
    );
    let run = fixture.backup(&["-retries", "0"]).expect(1);
    assert!(
        run.stderr.contains("db/autogen/1") && run.stderr.contains("without an answer"),
        "{}",
        run.stderr
    );
    fixture.expect_nothing();
}

#[test]
fn a_shard_that_the_last_backup_had_and_the_server_no_longer_has_open_is_missing() {
    let fixture = Fixture::with_shards([1, 2]);
    // After this run the server no longer has it open.
    fixture.peer.script(
        Asked::Shard(1),
        [Reply::Whole, Reply::Vanish(Gone::NotOpen)],
    );
    fixture.backup(&[]).expect(0);
    fixture.backup(&["-retries", "0"]).expect(1);
    let run = fixture.backup(&["-quiet"]).expect(1);
    assert!(run.stderr.contains("db/autogen/1"), "{}", run.stderr);
    fixture.backup(&["-skip-errors"]).expect(3);
    // What a backup of another server had says nothing of this one.
    let hidden = fixture.dir().join(".snap");
    for name in tree::names(&hidden)
        .iter()
        .filter(|name| name.ends_with(".json"))
    {
        let mut record: Value =
            serde_json::from_slice(&fs::read(hidden.join(name)).expect("a record")).expect("JSON");
        record.as_object_mut().expect("an object").remove("sum");
        record["cluster_id"] = 43.into();
        fs::write(hidden.join(name), record.to_string()).expect("writing a record");
    }
    fixture.backup(&[]).expect(0);
}

#[test]
fn a_shard_that_is_dropped_behind_the_metastore_and_before_the_list_of_shards_has_expired() {
    let fixture = Fixture::with_shards([1, 2]);
    fixture.backup(&[]).expect(0);
    // The metastore still names it. When that is asked again, behind shard 2, it does not.
    fixture.peer.change(|model| model.shard(1).open = false);
    fixture
        .peer
        .script(Asked::Shard(2), [Reply::Late(Duration::from_millis(900))]);
    // The metastore, the shards, and the first question.
    let asked = fixture.peer.requests().len() + 3;
    let running = fixture.start(&[], asked);
    fixture
        .peer
        .change(|model| model.shards.retain(|shard| shard.path.id != 1));
    running.wait().expect(0);
    let run = snap(["info", "-json", utf8(&fixture.dir())]).expect(0);
    assert!(run.stdout.contains("\"expired\""), "{}", run.stdout);
}

#[test]
fn a_shard_that_the_server_does_not_have_open_is_warned_about_and_one_deleted_before_is_not_asked_for()
 {
    let mut model = Model::new(
        Version::V1_6,
        &[
            ("db", "autogen", 1),
            ("db", "autogen", 2),
            ("db", "autogen", 3),
        ],
    );
    model.shard(1).open = false;
    model.shard(2).deleted_at = 1_700_000_000_000_000_000;
    let fixture = Fixture::new(model);
    let run = fixture.backup(&[]).expect(0);
    assert!(
        run.stderr.contains("warning: ") && run.stderr.contains("db/autogen/1"),
        "{}",
        run.stderr
    );
    assert_eq!(
        states(&fixture.expect_shards(|shard| shard.path.id == 3))[&1].0,
        "not_open"
    );
    assert_eq!(
        fixture.peer.asked_for(3),
        fixture.peer.shard_requests().len()
    );
}

#[test]
fn an_empty_tar_is_believed_only_when_it_comes_again() {
    let fixture = Fixture::with_shards(1..=4);
    fixture
        .peer
        .script(Asked::Shard(1), [Reply::EmptyTar, Reply::Whole]);
    fixture.peer.script(Asked::Shard(2), [Reply::EmptyTar]);
    fixture.peer.script(
        Asked::Shard(3),
        [Reply::EmptyTar, Reply::Nothing, Reply::Whole],
    );
    fixture.peer.script(
        Asked::Shard(4),
        [
            Reply::EmptyTar,
            Reply::Cut(600, End::Fin),
            Reply::EmptyTar,
            Reply::Whole,
        ],
    );
    let run = fixture.backup(&["-jobs", "4"]).expect(0);
    assert!(
        run.stdout.contains("1 with nothing to send"),
        "{}",
        run.stdout
    );
    assert_eq!(
        states(&fixture.expect_shards(|shard| shard.path.id != 2))[&2].0,
        "empty"
    );

    let fixture = Fixture::with_shards([1, 2]);
    let run = fixture
        .backup(&["-since", "2025-01-01", "-retries", "0"])
        .expect(0);
    assert!(
        run.stdout.contains("no shard, nothing newer than 20"),
        "{}",
        run.stdout
    );
    fixture.expect_shards(|_| false);
}

/// A PAX header with this path for the member after it.
fn pax(path: &str) -> Member {
    let rest = format!(" path={path}\n");
    let length = (1..)
        .find(|length: &usize| length.to_string().len() + rest.len() == *length)
        .expect("some length fits");
    Member::new("PaxHeaders.0/name", format!("{length}{rest}").into_bytes()).flag(b'x')
}

/// Tars that are wrong for the shard at `path`, each with what is wrong.
fn malformed(path: &ShardPath) -> Vec<(&'static str, Vec<u8>)> {
    let good = Member::new(format!("{path}/000000001-000000001.tsm"), tsm(1, 700));
    let with = |member: Member| tar(&[good.clone(), member]);
    let named = |name: &str| with(Member::new(name, tsm(2, 700)));
    let inside =
        |name: &str, content: Vec<u8>| with(Member::new(format!("{path}/{name}"), content));
    let flagged = |flag: u8| {
        with(Member::new(format!("{path}/000000002-000000001.tsm"), Vec::new()).flag(flag))
    };
    let footer = |offset: u64| {
        let mut content = tsm(2, 700);
        content[692..].copy_from_slice(&offset.to_be_bytes());
        inside("000000002-000000001.tsm", content)
    };
    let whole = tar(std::slice::from_ref(&good));
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let header_end = whole.len() - 1024;
    let ShardPath {
        database,
        retention_policy,
        id,
    } = path;
    vec![
        ("a name changed after the checksum", changed(0, b"X")),
        ("a size changed after the checksum", changed(124, b"7")),
        ("no checksum", changed(148, b"        ")),
        ("a name above the directory", named("../x.tsm")),
        ("an absolute name", named("/etc/x.tsm")),
        (
            "an absolute name of the shard",
            named(&format!("/{path}/000000002-000000001.tsm")),
        ),
        ("a name without directory", named("000000002-000000001.tsm")),
        (
            "another shard",
            named(&format!(
                "{database}/{retention_policy}/{id}0/000000002-000000001.tsm"
            )),
        ),
        (
            "another policy",
            named(&format!("{database}/other/{id}/000000002-000000001.tsm")),
        ),
        (
            "another database",
            named(&format!(
                "other/{retention_policy}/{id}/000000002-000000001.tsm"
            )),
        ),
        (
            "a way out of the shard",
            inside("../../../x.tsm", tsm(2, 700)),
        ),
        ("a dot", inside("./000000002-000000001.tsm", tsm(2, 700))),
        (
            "an empty part",
            inside("/000000002-000000001.tsm", tsm(2, 700)),
        ),
        ("the shard itself as a file", named(&path.to_string())),
        ("no name", named("")),
        (
            "a way out in a PAX header",
            tar(&[pax("../../x.tsm"), good.clone()]),
        ),
        (
            "an absolute name in a PAX header",
            tar(&[pax("/etc/x.tsm"), good.clone()]),
        ),
        ("a PAX header without its member", with(pax("x"))),
        (
            "a damaged PAX header",
            with(Member::new("x", b"9999 path=x\n".to_vec()).flag(b'x')),
        ),
        ("a hard link", flagged(b'1')),
        ("a symbolic link", flagged(b'2')),
        ("a character device", flagged(b'3')),
        ("a block device", flagged(b'4')),
        ("a fifo", flagged(b'6')),
        ("a sparse file", flagged(b'S')),
        ("a long name of GNU's", flagged(b'L')),
        ("a global header", flagged(b'g')),
        ("a byte behind the trailer", [&whole[..], b"\0"].concat()),
        (
            "a zero block behind the trailer",
            [&whole[..], &[0; 512]].concat(),
        ),
        ("a second tar", [&whole[..], &whole].concat()),
        (
            "a second tar behind an empty one",
            [&[0; 1024], &whole[..]].concat(),
        ),
        (
            "one zero block between members",
            [&whole[..header_end], &[0; 512], &whole].concat(),
        ),
        ("no magic", inside("000000002-000000001.tsm", noise(1, 700))),
        (
            "another version",
            inside(
                "000000002-000000001.tsm",
                [b"\x16\xd1\x16\xd1\x02", &tsm(2, 700)[5..]].concat(),
            ),
        ),
        (
            "an empty TSM file",
            inside("000000002-000000001.tsm", Vec::new()),
        ),
        (
            "a TSM file of a header",
            inside("000000002-000000001.tsm", tsm(2, 700)[..5].to_vec()),
        ),
        (
            "a TSM file of a header and footer",
            inside(
                "000000002-000000001.tsm",
                [&tsm(2, 700)[..5], &[0, 0, 0, 0, 0, 0, 0, 5]].concat(),
            ),
        ),
        ("a footer of 0", footer(0)),
        ("a footer in the header", footer(4)),
        ("a footer at the footer", footer(692)),
        ("a footer behind the file", footer(700)),
        ("a footer far away", footer(u64::MAX)),
        ("a member twice", tar(&[good.clone(), good.clone()])),
        ("noise", noise(1, 4096)),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("TLS", b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
        (
            "the metastore",
            Model::new(Version::V1_6, &[("db", "autogen", 1)]).meta(),
        ),
    ]
}

#[test]
fn a_malformed_tar_is_never_stored_and_nothing_is_kept() {
    let count = malformed(&shard(1).path).len() as u64;
    let good = count + 1;
    let fixture = Fixture::with_shards(1..=good);
    let mut wrong = Vec::new();
    for id in 1..=count {
        let (what, bytes) =
            malformed(&shard(id).path).swap_remove(usize::try_from(id).expect("a small id") - 1);
        fixture.peer.script(Asked::Shard(id), [Reply::Bytes(bytes)]);
        wrong.push((id, what));
    }
    let before = tree::names(fixture.folder.path());
    fixture.backup(&["-jobs", "16", "-retries", "0"]).expect(1);
    fixture.expect_nothing();
    fixture
        .backup(&["-jobs", "16", "-retries", "0", "-skip-errors"])
        .expect(3);
    let states = states(&fixture.expect_shards(|shard| shard.path.id == good));
    let stored: Vec<_> = wrong
        .iter()
        .filter(|(id, _)| states[id].0 != "failed")
        .collect();
    assert!(stored.is_empty(), "{stored:?}");
    assert_eq!(
        before.len() + 1,
        tree::names(fixture.folder.path()).len(),
        "something outside the backup directory"
    );
}

#[test]
fn an_export_that_breaks_off_at_a_tombstone_becomes_the_whole_shard() {
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 3)]);
    let path = model.shards[0].path.clone();
    let member = |name: &str, content| Member::new(format!("{path}/{name}"), content);
    let members = [
        member("000000001-000000001.tombstone", noise(1, 90)),
        member("000000001-000000001.tsm", tsm(1, 700)),
    ];
    model.shard(3).tar = Tar::Bytes(tar(&members));
    let request = |kind: u8, start: &str, end: &str| {
        format!(
            "\x03{}{{\"Type\":{kind},\"BackupDatabase\":\"\",\"RestoreDatabase\":\"\",\"BackupRetentionPolicy\":\"\",\
             \"RestoreRetentionPolicy\":\"\",\"ShardID\":3,\"Since\":\"0001-01-01T00:00:00Z\",\"ExportStart\":\"{start}\",\
             \"ExportEnd\":\"{end}\",\"UploadSize\":0}}\n",
            char::from(kind)
        )
    };
    let (least, greatest) = (
        "1677-09-21T00:12:43.145224194Z",
        "2262-04-11T23:47:16.854775806Z",
    );
    let whole = request(0, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
    // The shard's group is the hour from three o'clock.
    let cases = [
        (
            ["-coarse", "-start", "2020-09-07T03:30:00Z"],
            request(5, "2020-09-07T03:30:00Z", greatest),
        ),
        (
            ["-coarse", "-end", "2020-09-07T03:30:00.5Z"],
            request(5, least, "2020-09-07T03:30:00.5Z"),
        ),
    ];
    for (flags, export) in cases {
        // The tombstone's header and content, and the header of its TSM file.
        let fixture = Fixture::new(model.clone());
        fixture.peer.script(
            Asked::Shard(3),
            [Reply::Cut(3 * 512, End::Fin), Reply::Whole],
        );
        let run = fixture.backup(&flags).expect(0);
        assert!(
            run.stderr.contains("warning: ") && run.stderr.contains("taking the whole shard"),
            "{}",
            run.stderr
        );
        let record = fixture.expect_all();
        assert_eq!(record["shards"][0]["content"], "whole");
        let ahead = request(0, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z").replace(
            "\"Since\":\"0001-01-01T00:00:00Z\"",
            &format!("\"Since\":\"{greatest}\""),
        );
        assert_eq!(
            fixture.peer.shard_requests(),
            [ahead, export, whole.clone()]
        );
    }
    let fixture = Fixture::new(model);
    fixture
        .backup(&["-coarse", "-start", "2020-09-07T03:30:00Z"])
        .expect(0);
    assert_eq!(fixture.expect_all()["shards"][0]["content"], "range");
    let fixture = Fixture::new(fixture.peer.model());
    fixture
        .backup(&["-start", "2020-09-07T04:00:00Z"])
        .expect(0);
    fixture.expect_shards(|_| false);
    assert_eq!(fixture.peer.shard_requests(), [""; 0]);
}

#[test]
fn what_does_not_exist_is_said_with_what_does_and_no_directory_is_made() {
    let shards = [
        ("telegraf", "autogen", 1),
        ("telegraf", "two weeks", 20),
        ("db.dot", "autogen", 300),
    ];
    let fixture = Fixture::new(Model::new(Version::V1_6, &shards));
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["-database", "Telegraph"],
            &["'Telegraph'", "did you mean 'telegraf'?", "'db.dot'"],
        ),
        (
            &["-database", "nothing like it"],
            &["'nothing like it'", "'telegraf'", "'db.dot'"],
        ),
        (
            &["-db", "telegraf", "-rp", "two week"],
            &["'two week'", "did you mean 'two weeks'?", "'autogen'"],
        ),
        (
            &["-db", "telegraf", "-rp", "two weeks", "-shard", "21"],
            &["no shard 21", "there are: 20"],
        ),
        (
            &["-db", "telegraf", "-rp", "autogen", "-shard", "20"],
            &["shard 20", "telegraf/two weeks/20"],
        ),
        (&["-shard", "7"], &["no shard 7", "1, 20, 300"]),
    ];
    for (flags, said) in cases {
        let run = fixture.backup(flags).expect(1);
        assert!(
            said.iter().all(|text| run.stderr.contains(text)),
            "{flags:?}: {}",
            run.stderr
        );
        assert_eq!(tree::names(fixture.folder.path()), [""; 0], "{flags:?}");
    }
    assert_eq!(fixture.peer.shard_requests(), [""; 0]);
    // Forgotten options are no fault of the server's.
    fixture.backup(&["-rp", "autogen"]).expect(2);
    fixture.backup(&["-shard", "20"]).expect(0);
    fixture.expect_shards(|shard| shard.path.id == 20);
}

#[test]
fn a_list_of_shards_takes_memory_for_what_a_server_has_and_not_for_what_a_peer_sends() {
    const MIB: u64 = 1 << 20;
    let list = |path: &str, count: usize| {
        // A vector of so many strings would take more memory than the run that is measured.
        let further = format!(",\"{path}\"").repeat(count - 1);
        Reply::Bytes(format!("{{\"Paths\":[\"{path}\"{further}]}}\n").into_bytes())
    };
    for (reply, said) in [
        (list("d/r/1", 5_000_000), "more than 500000 shards"),
        (list(&"d/".repeat(20 << 20), 1), "a path of 41943040 bytes"),
    ] {
        let fixture = Fixture::with_shards([1]);
        fixture.peer.script(Asked::Info, [reply]);
        let run = fixture.backup(&["-retries", "0"]).expect(1);
        assert!(run.stderr.contains(said), "{}", run.stderr);
        assert!(run.peak_rss < 192 * MIB, "{} MiB", run.peak_rss / MIB);
        fixture.expect_nothing();
    }
}

/// A name that sets the title of a terminal, begins lines of its own, and turns the direction of a
/// text.
const HOSTILE: &str = "db\u{1b}]0;owned\u{7}\r\nok\u{9b}2J\u{202e}gpj";

/// Panics where something in a text would act on a terminal.
fn expect_harmless(text: &str, what: &str) {
    let acts = |c: char| c != '\n' && c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!text.contains(acts), "{what}: {text:?}");
    let own_line = text.lines().any(|line| line.starts_with("ok"));
    assert!(!own_line, "{what}: {text:?}");
}

#[test]
fn names_from_a_server_or_a_set_are_printed_so_that_they_do_nothing_to_a_terminal() {
    let shards = [(HOSTILE, "autogen", 1), (HOSTILE, HOSTILE, 2)];
    let fixture = Fixture::new(Model::new(Version::V1_6, &shards));
    let (dir, host) = (fixture.dir(), fixture.peer.host());
    let damaged = fixture.path("damaged");
    fixture
        .peer
        .script(Asked::Shard(2), [Reply::Cut(700, End::Fin), Reply::Whole]);
    let made = fixture.backup(&["-verbose", "-retries", "3"]).expect(0);
    assert!(made.stderr.contains("attempt 1 failed"), "{}", made.stderr);
    service::copy(&dir, &damaged);
    for (name, mut bytes) in tree::visible_files(&damaged) {
        if !name.starts_with("meta") {
            bytes[600] ^= 0xff;
            fs::write(damaged.join(name), bytes).expect("damaging a file");
        }
    }
    let target = fixture.path("target");
    let (meta, data) = (target.join("meta"), target.join("data"));
    let into = ["-metadir", utf8(&meta), "-datadir", utf8(&data)];
    let (dir, damaged) = (utf8(&dir), utf8(&damaged));
    let lines: [&[&str]; 14] = [
        &["list", dir],
        &["info", dir],
        &["info", "-host", &host],
        &["verify", "-verbose", "-deep", dir],
        &["verify", "-deep", damaged],
        &["check", damaged],
        &[
            "forget",
            "-dry-run",
            "-keep-last",
            "1",
            "-group-by",
            "database",
            dir,
        ],
        &["keep", dir, HOSTILE],
        &[
            "restore",
            "-dry-run",
            "-verbose",
            "-host",
            "127.0.0.1:1",
            into[0],
            into[1],
            into[2],
            into[3],
            dir,
        ],
        &[
            "restore",
            "-host",
            "127.0.0.1:1",
            into[0],
            into[1],
            into[2],
            into[3],
            damaged,
        ],
        &[
            "restore",
            "-host",
            "127.0.0.1:1",
            "-database",
            "none",
            into[0],
            into[1],
            into[2],
            into[3],
            dir,
        ],
        &[
            "backup",
            "-host",
            &host,
            "-database",
            HOSTILE,
            "-retention",
            "none",
            dir,
        ],
        &["backup", "-host", HOSTILE, dir],
        &[
            "backup",
            "-host",
            &host,
            "-quiet",
            "-retries",
            "0",
            "-skip-errors",
            "-db",
            HOSTILE,
            damaged,
        ],
    ];
    expect_harmless(&made.stderr, "backup");
    expect_harmless(&made.stdout, "backup");
    fixture
        .peer
        .script(Asked::Shard(1), [Reply::Bytes(b"\x1b[2J".repeat(400))]);
    let mut shown = 0;
    for line in lines {
        let run = snap(line);
        expect_harmless(&run.stdout, &format!("{line:?}"));
        expect_harmless(&run.stderr, &format!("{line:?}"));
        shown += [&run.stdout, &run.stderr]
            .map(|text| {
                text.matches(r"\u{1b}]0;owned\u{7}\r\nok\u{9b}2J\u{202e}gpj")
                    .count()
            })
            .iter()
            .sum::<usize>();
    }
    assert!(shown >= 12, "the names were shown {shown} times");

    // A program gets them as they are.
    let run = snap(["info", "-json", dir]).expect(0);
    let exact = |message: &Value| message["database"] == HOSTILE;
    assert_eq!(
        run.messages()
            .iter()
            .filter(|message| exact(message))
            .count(),
        2
    );
}

#[test]
fn a_metastore_with_a_name_that_is_not_utf_8_is_not_called_damaged() {
    let model = Model::new(
        Version::V1_6,
        &[("caf_", "autogen", 1), ("db", "autogen", 2)],
    );
    let mut meta = model.meta();
    let at = meta
        .windows(4)
        .position(|bytes| bytes == b"caf_")
        .expect("the name");
    meta[at + 3] = 0xe9;
    let fixture = Fixture::new(model);
    fixture
        .peer
        .script(Asked::Meta, [Reply::Bytes(meta.clone())]);
    let host = fixture.peer.host();
    let dir = fixture.path("influxd");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("meta.00"), &meta).expect("a metastore");
    let target = fixture.path("meta");
    let other = fixture.dir();
    for line in [
        &["backup", "-host", &host, utf8(&other)][..],
        &["info", "-host", &host],
        &[
            "restore",
            "-metadir",
            utf8(&target),
            "-host",
            "127.0.0.1:1",
            utf8(&dir),
        ],
    ] {
        let run = snap(line);
        assert!(!matches!(run.code, Some(0 | 4)), "{line:?}: {run:?}");
        for said in [
            r#"the name of a database is not UTF-8: "caf\xe9""#,
            "hint: SHOW DATABASES",
        ] {
            assert!(run.stderr.contains(said), "{line:?}: {}", run.stderr);
        }
    }
    fixture.expect_nothing();
    assert!(!target.exists());
}

#[test]
fn a_metastore_with_times_ids_and_names_that_cannot_be_ends_no_run_in_a_panic() {
    type Spoil = fn(&mut ShardGroupInfo);
    let groups: [(&str, Spoil); 8] = [
        ("least start", |group| group.start_time = i64::MIN),
        ("greatest end", |group| group.end_time = i64::MAX),
        ("no end", |group| {
            (group.start_time, group.end_time) = (i64::MIN, i64::MAX);
        }),
        ("backwards", |group| {
            (group.start_time, group.end_time) = (i64::MAX, i64::MIN);
        }),
        ("deleted before all", |group| group.deleted_at = i64::MIN),
        ("truncated", |group| group.truncated_at = Some(i64::MIN)),
        ("greatest id", |group| {
            (group.id, group.shards[0].id) = (u64::MAX, u64::MAX);
        }),
        ("no id", |group| (group.id, group.shards[0].id) = (0, 0)),
    ];
    let names = [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a\\b",
        "a\0b",
        &"n".repeat(300),
        "-x",
        "\n",
        "meta",
        "_internal",
    ];
    let model = Model::new(Version::V1_6, &[("db", "autogen", 1), ("x", "autogen", 2)]);
    let of_groups = groups.iter().map(|(what, spoil)| {
        let mut data = model.data();
        spoil(&mut data.databases[0].retention_policies[0].shard_groups[0]);
        ((*what).to_owned(), data)
    });
    let of_names = names.iter().flat_map(|name| {
        let (mut database, mut policy) = (model.data(), model.data());
        database.databases[0].name = (*name).to_owned();
        policy.databases[0].retention_policies[0].name = (*name).to_owned();
        [
            (format!("database {name:?}"), database),
            (format!("policy {name:?}"), policy),
        ]
    });
    each(
        of_groups.chain(of_names).collect::<Vec<_>>(),
        |(what, data)| {
            let fixture = Fixture::new(model.clone());
            let blob = MetaBlob {
                meta: data.encode_to_vec(),
                node: b"null\n".to_vec(),
            };
            let mut framed = Vec::new();
            blob.write_to(&mut framed).expect("writing to memory");
            fixture.peer.script(Asked::Meta, [Reply::Bytes(framed)]);
            let (dir, host) = (fixture.dir(), fixture.peer.host());
            let target = fixture.path("target");
            let take = |flags: &[&str]| {
                let limits = ["-retries", "0", "-skip-errors", "-idle-timeout", "5s"];
                fixture.prepare(&[&limits, flags].concat())
            };
            let read = |args: &[&str]| Snap::new(args).args([&dir]);
            let restore = |flags: &[&str]| {
                restore_into(&target, &[flags, &["-host", "127.0.0.1:1"]].concat(), &dir)
            };
            let runs = [
                take(&[]),
                take(&["-portable"]),
                take(&["-start", "2000-01-01", "-end", "2100-01-01"]),
                take(&["-incremental"]),
                Snap::new(["info", "-retries", "0", "-host", &host]),
                read(&["list"]),
                read(&["info"]),
                read(&["verify", "-deep"]),
                read(&["check"]),
                restore(&[]),
                restore(&["-force", "-start", "2001-01-01"]),
            ];
            for run in runs {
                let ran = format!("{what}: {run:?}");
                let ended = run.run().expect_told(&ran);
                expect_harmless(&format!("{}{}", ended.stdout, ended.stderr), what);
            }
            let outside = tree::names(fixture.folder.path());
            let places = ["backup", "target"];
            assert!(
                outside.iter().all(|name| places.contains(&name.as_str())),
                "{what}: {outside:?}"
            );
        },
    );
}
