//! `snap restore -online -merge` into servers of 1.8 and 1.12, where they do something else than
//! 1.6.7: what they do not flush, how they make shard groups, and what their HTTP APIs answer.

use std::path::PathBuf;
use std::time::Duration;

use influx_snap::metastore::{
    ContinuousQueryInfo, Data, SubscriptionInfo, UserInfo, UserPrivilege,
};
use influx_snap::tsm::index::IndexWalk;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::folder;
use crate::support::peer::{
    Api, Asked, Cache, HttpReply, Member, Model, Peer, Reply, Shard, Tar, Version, tar,
};
use crate::support::process::{Run, Snap, backup, restore_online};
use crate::support::time::{HOUR, MONDAY};
use crate::support::tsm::of_lines;

/// A flush that outlasts any run.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A point of a series at an hour.
fn point(host: &str, field: &str, hour: i64) -> String {
    format!("m,h={host} {field}={hour}.5 {}", MONDAY + hour * HOUR)
}

/// A shard whose group is of so many hours from one on, with these points in a file.
fn shard(id: u64, start: i64, hours: i64, lines: &[String]) -> Shard {
    let shard = Shard::new(Version::V1_6, "db", "autogen", id);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let name = format!("{}/000000007-000000001.tsm", shard.path);
    let files = match lines[..] {
        [] => Vec::new(),
        _ => vec![Member::new(name, of_lines(&lines))],
    };
    Shard {
        start: MONDAY + start * HOUR,
        end: MONDAY + (start + hours) * HOUR,
        tar: Tar::Bytes(tar(&files)),
        cache: Some(Cache {
            files,
            ..Cache::default()
        }),
        ..shard
    }
}

/// A backup of a server with these shards.
struct Backup {
    folder: TempDir,
}

impl Backup {
    fn of(shards: Vec<Shard>) -> Self {
        Self::with(shards, None)
    }

    fn with(shards: Vec<Shard>, more: Option<fn(&mut Data)>) -> Self {
        let made = Self { folder: folder() };
        let peer = Peer::start(Model {
            shards,
            more,
            ..Model::new(Version::V1_6, &[])
        });
        backup(&peer.host(), &[], &made.dir()).run().expect(0);
        made
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }
}

/// A server that is merged into.
struct Server {
    peer: Peer,
    api: Api,
}

impl Server {
    fn new(version: Version, shards: Vec<Shard>) -> Self {
        let peer = Peer::start(Model {
            shards,
            ..Model::new(version, &[])
        });
        let api = peer.api();
        Self { peer, api }
    }

    fn merge(&self, backup: &Backup, flags: &[&str]) -> Run {
        let url = self.api.url();
        let common = [
            "-merge",
            "-database",
            "db",
            "-http",
            &url,
            "-json",
            "-retries",
            "2",
        ];
        restore_online(&self.peer.host(), &[&common, flags].concat(), &backup.dir()).run()
    }

    /// All points, in order; panics where a file has some outside the group of its shard.
    fn points(&self) -> Vec<String> {
        for shard in &mut self.peer.model().shards {
            for member in shard.cache.get_or_insert_default().members() {
                let mut walk = IndexWalk::open(&member.content[..]).expect("a TSM file");
                while walk.next_key().expect("an index").is_some() {
                    while let Some(entry) = walk.next_entry().expect("an index") {
                        let inside = entry.min_time >= shard.start && entry.max_time < shard.end;
                        assert!(inside, "{} reaches over its group", member.name);
                    }
                }
            }
        }
        let host = self.peer.host();
        let run = Snap::new(["export", "-host", &host, "-lponly"]).run();
        let mut lines: Vec<String> = run.expect(0).stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The groups in order of time: the first hour and the first behind.
    fn groups(&self) -> Vec<(i64, i64)> {
        let hour = |time: i64| (time - MONDAY) / HOUR;
        let shards = self.peer.model().shards;
        let mut groups: Vec<_> = shards
            .iter()
            .map(|of| (hour(of.start), hour(of.end)))
            .collect();
        groups.sort_unstable();
        groups
    }
}

fn sorted(lines: &[&[String]]) -> Vec<String> {
    let mut lines = lines.concat();
    lines.sort();
    lines
}

/// What the summary says is missing.
fn missing(run: &Run) -> String {
    run.last_message()["missing"].to_string()
}

/// A shard with a point in a file, and one in memory of which a flush never ends.
fn hot(ours: &str, cached: &str) -> Shard {
    let mut shard = shard(9, 1, 1, &[ours.to_owned()]);
    let name = format!("{}/000000008-000000001.tsm", shard.path);
    let cache = shard.cache.as_mut().expect("a cache");
    cache.cached = vec![Member::new(name, of_lines(&[cached]))];
    cache.flushes = [FOR_EVER].into();
    shard
}

/// Ends the flush of a [`hot`] shard.
fn end_flush(server: &Server) {
    server.peer.change(|model| {
        let cache = model.shard(9).cache.as_mut().expect("a cache");
        let (_, members) = cache.under_way.take().expect("a flush");
        cache.files.extend(members);
    });
}

#[test]
fn what_a_busy_server_may_hold_in_memory_stays_and_is_warned_of() {
    let (in_file, cached) = (point("b", "v", 1), point("c", "w", 1));
    let known = [point("a", "v", 1)];
    let new = [point("a", "v", 1), point("d", "x", 1)];
    let once = ["-flush-timeout", "0"];
    for (rule, lines, warning) in [
        (
            "backup",
            &known[..],
            Some("these count as newer than the backup's"),
        ),
        ("server", &known, None),
        (
            "server",
            &new,
            Some("at the time of the point that makes a field known"),
        ),
    ] {
        let backup = Backup::of(vec![shard(3, 1, 1, lines)]);
        let server = Server::new(Version::V1_8_10, vec![hot(&in_file, &cached)]);
        let flags = [&once[..], &["-on-conflict", rule]].concat();
        let run = server.merge(&backup, &flags).expect(0);
        let warned = run.stdout.contains("not flushed") || run.stdout.contains("field known");
        assert_eq!(warned, warning.is_some(), "{rule}: {}", run.stdout);
        assert!(
            run.stdout.contains(warning.unwrap_or_default()),
            "{}",
            run.stdout
        );
        end_flush(&server);
        let expected = [lines, &[in_file.clone(), cached.clone()]];
        assert_eq!(server.points(), sorted(&expected), "{rule}");
    }
}

#[test]
fn a_busy_server_that_sends_none_of_its_files_gets_none() {
    let (in_file, cached) = (point("b", "v", 1), point("c", "v", 1));
    let ours = [point("a", "v", 1)];
    let backup = Backup::of(vec![shard(3, 1, 1, &ours)]);
    let server = Server::new(Version::V1_8_3, vec![hot(&in_file, &cached)]);
    let run = server
        .merge(&backup, &["-flush-timeout", "0", "-retries", "0"])
        .expect(3);
    assert!(
        missing(&run).contains("(into db/autogen/9)"),
        "{}",
        run.stdout
    );
    assert!(server.peer.uploads().is_empty());
    end_flush(&server);
    // It is busy again when the shard is read back.
    let replies = [Reply::Whole, Reply::EmptyTar, Reply::Whole];
    server.peer.script(Asked::Shard(9), replies);
    let run = server.merge(&backup, &[]).expect(0);
    assert_eq!(run.last_message()["read_back"], 1, "{}", run.stdout);
    assert_eq!(server.peer.uploads().len(), 1);
    assert_eq!(server.points(), sorted(&[&ours, &[in_file, cached]]));
}

#[test]
fn a_shard_that_is_disabled_for_a_moment_is_written_and_asked_again() {
    for version in [Version::V1_8_10, Version::V1_12] {
        let (ours, theirs) = ([point("a", "v", 1)], [point("b", "w", 1)]);
        let backup = Backup::of(vec![shard(3, 1, 1, &ours)]);
        let server = Server::new(version, vec![shard(9, 1, 1, &theirs)]);
        server.peer.change(|model| model.disabled_after_upload = 2);
        // The second attempt begins with an upload that clears away, and meets what follows it.
        server
            .peer
            .script(Asked::Upload(9), [Reply::Nothing, Reply::Whole]);
        let run = server.merge(&backup, &["-on-conflict", "backup"]).expect(0);
        assert_eq!(run.last_message()["read_back"], 1, "{}", run.stdout);
        assert_eq!(server.points(), sorted(&[&ours, &theirs]));
        let files = server
            .peer
            .uploads()
            .into_iter()
            .map(|upload| upload.files.len());
        assert_eq!(files.collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn a_new_group_gets_the_room_that_others_leave_it_where_the_server_makes_it_so() {
    let hours = [0, 1, 2, 3, 5].map(|hour| point("a", "v", hour));
    let backup = Backup::of(vec![shard(3, 0, 6, &hours)]);
    // Somebody altered the shard duration.
    let theirs = [point("b", "v", 2)];
    let server = |version| {
        let server = Server::new(version, vec![shard(9, 2, 1, &theirs)]);
        server.peer.change(|model| model.group_duration = 6 * HOUR);
        server
    };
    let old = server(Version::V1_8_10);
    let run = old.merge(&backup, &[]).expect(6);
    assert!(
        run.stdout.contains("which overlaps the one from"),
        "{}",
        run.stdout
    );
    assert_eq!(old.api.lines(), [""; 0]);
    assert!(old.peer.uploads().is_empty());

    let new = server(Version::V1_12);
    let dry = new.merge(&backup, &["-dry-run"]).expect(0);
    assert_eq!(new.points(), theirs);
    let run = new.merge(&backup, &[]).expect(0);
    assert_eq!(new.groups(), [(0, 2), (2, 3), (3, 6)]);
    assert_eq!(new.points(), sorted(&[&hours, &theirs]));
    let count = |run: &Run| run.last_message()["merged_shards"].as_array().map(Vec::len);
    assert_eq!((count(&dry), count(&run)), (Some(3), Some(3)));
}

#[test]
fn a_group_with_other_borders_than_planned_gets_no_points_that_are_outside() {
    for (version, is_written) in [
        (Version::V1_8_10, false),
        (Version::V1_8_10, true),
        (Version::V1_12, false),
        (Version::V1_12, true),
    ] {
        let hours = [0, 1, 2, 5].map(|hour| point("a", "v", hour));
        let backup = Backup::of(vec![shard(3, 0, 6, &hours)]);
        let far = [point("b", "v", 20)];
        let server = Server::new(version, vec![shard(9, 20, 1, &far)]);
        server.peer.change(|model| model.group_duration = 6 * HOUR);
        // Between the plan and the first point, somebody alters the shard duration.
        let alter: fn(&mut Model) = |model| model.group_duration = HOUR;
        // Or also writes a point: one more would make a group that overlaps.
        let write: fn(&mut Model) = |model| {
            model.group_duration = HOUR;
            model.shard_for("db", "autogen", MONDAY + HOUR);
        };
        let (when, change, written) = match is_written {
            true => ("SHOW FIELD KEYS", write, 0),
            false => ("write", alter, 1),
        };
        server.api.script(when, [HttpReply::Once(change)]);
        let run = server.merge(&backup, &[]).expect(3);
        let said = missing(&run);
        assert!(
            said.contains("shard db/autogen/3 (into a new shard of db/autogen)"),
            "{said}"
        );
        assert!(
            said.contains("not there when the merge was planned"),
            "{said}"
        );
        assert!(server.peer.uploads().is_empty());
        assert_eq!(server.api.lines().len(), written);
        let run = server.merge(&backup, &[]).expect(0);
        assert_eq!(server.points(), sorted(&[&hours, &far]), "{}", run.stdout);
    }
}

#[test]
fn another_default_policy_than_in_the_backup_is_warned_of() {
    let backup = Backup::of(vec![shard(3, 1, 1, &[point("a", "v", 1)])]);
    let server = Server::new(Version::V1_8_10, vec![shard(9, 1, 1, &[])]);
    let warning =
        "'autogen' is the default retention policy of 'db' in the backup, and 'short' that of 'db'";
    let run = server.merge(&backup, &["-dry-run"]).expect(0);
    assert!(
        !run.stdout.contains("default retention policy"),
        "{}",
        run.stdout
    );
    let other: fn(&mut Data) = |data| {
        data.databases[0].default_retention_policy = "short".to_owned();
    };
    server.peer.change(|model| model.more = Some(other));
    let run = server.merge(&backup, &["-dry-run"]).expect(0);
    assert!(run.stdout.contains(warning), "{}", run.stdout);
}

#[test]
fn a_shard_that_is_dropped_between_two_questions_makes_no_other_server() {
    let backup = Backup::of(vec![shard(3, 1, 1, &[point("a", "v", 1)])]);
    let other = Shard::new(Version::V1_8_10, "other", "autogen", 12);
    let server = Server::new(Version::V1_8_10, vec![shard(9, 1, 1, &[]), other]);
    let drop: fn(&mut Model) = |model| model.shards.retain(|shard| shard.path.id != 12);
    server.api.script("SHOW SHARDS", [HttpReply::Once(drop)]);
    server.merge(&backup, &[]).expect(0);
    // One that the API never knew is of another.
    server.peer.change(|model| {
        let other = Shard::new(Version::V1_8_10, "other", "autogen", 13);
        model.shards.push(other);
    });
    let hide: fn(&mut Model) = |model| model.shards[1].named = false;
    let show: fn(&mut Model) = |model| model.shards[1].named = true;
    let answers = [HttpReply::Once(hide)];
    server.api.script("SHOW SHARDS", answers);
    server.api.script("SHOW DATABASES", [HttpReply::Once(show)]);
    let run = server.merge(&backup, &[]).expect(6);
    assert!(
        run.stdout
            .contains("only the second has shard other/autogen/13"),
        "{}",
        run.stdout
    );
}

#[test]
fn what_the_api_answers_to_points_is_repeated_divided_or_told() {
    let fields = ["a", "b", "c", "d", "e", "f"];
    let ours = fields.map(|field| point(field, field, 1));
    let far = [point("a", "v", 2)];
    let backup = Backup::of(vec![shard(3, 1, 1, &ours), shard(4, 2, 1, &far)]);
    let server = || {
        Server::new(
            Version::V1_12,
            vec![shard(9, 1, 1, &[]), shard(10, 2, 1, &far)],
        )
    };
    // One that landed, and is written once more.
    let landed = server();
    let timeout = HttpReply::DoneBut(500, "timeout".to_owned());
    landed.api.script("write", [timeout]);
    let run = landed.merge(&backup, &[]).expect(0);
    assert_eq!(landed.points(), sorted(&[&ours, &far]), "{}", run.stdout);
    // More than the server takes at a time.
    let small = server();
    small.peer.change(|model| model.max_body_size = 100);
    let run = small.merge(&backup, &[]).expect(0);
    assert_eq!(small.points(), sorted(&[&ours, &far]), "{}", run.stdout);
    // More in one point than it takes.
    let smaller = server();
    smaller.peer.change(|model| model.max_body_size = 20);
    let run = smaller.merge(&backup, &[]).expect(3);
    assert!(missing(&run).contains("max-body-size"), "{}", run.stdout);
    assert_eq!(smaller.points(), far);

    let dropped = "partial write: field type conflict: input field \"a\" on measurement \"m\" is type float, already exists as type integer dropped=1";
    for (status, error) in [
        (400, dropped),
        (404, "retention policy not found: autogen"),
        (404, "database not found: \"db\""),
    ] {
        let server = server();
        let refused = HttpReply::Instead(status, error.to_owned());
        server.api.script("write", vec![refused; 20]);
        let run = server.merge(&backup, &["-on-conflict", "server"]).expect(3);
        let missing = run.last_message()["missing"].clone();
        let missing = missing.as_array().expect("a list");
        let [said] = &missing[..] else {
            panic!("{missing:?}");
        };
        let said = said.as_str().expect("a sentence");
        assert!(
            said.contains("shard db/autogen/3 (into db/autogen/9)"),
            "{said}"
        );
        assert!(said.contains(error), "{said}");
        // The other shard has no new field.
        let files = server
            .peer
            .uploads()
            .into_iter()
            .filter(|upload| !upload.files.is_empty());
        assert_eq!(files.map(|upload| upload.id).collect::<Vec<_>>(), [10]);
        assert_eq!(server.points(), far);
    }
}

/// What an import does not take in.
fn more(data: &mut Data) {
    let database = &mut data.databases[0];
    database.continuous_queries = ["one", "two"]
        .map(|name| ContinuousQueryInfo {
            name: name.to_owned(),
            query: format!(
                "CREATE CONTINUOUS QUERY {name} ON db BEGIN SELECT mean(v) INTO db.autogen.{name} \
                 FROM db.autogen.m GROUP BY time(1h) END"
            ),
        })
        .into();
    database.retention_policies[0].subscriptions = vec![SubscriptionInfo {
        name: "s".to_owned(),
        mode: "ALL".to_owned(),
        destinations: vec!["udp://127.0.0.1:9".to_owned()],
    }];
    data.users = vec![UserInfo {
        name: "ada".to_owned(),
        hash: String::new(),
        admin: false,
        privileges: vec![UserPrivilege {
            database: "db".to_owned(),
            privilege: 1,
        }],
    }];
}

#[test]
fn statements_that_a_server_refuses_or_does_not_answer_are_named_and_the_points_stay() {
    let ours = [point("a", "v", 1)];
    let backup = Backup::with(vec![shard(3, 1, 1, &ours)], Some(more));
    let with = ["-with", "cqs,grants,subscriptions"];
    for version in [Version::V1_8_10, Version::V1_12] {
        let server = || Server::new(version, vec![shard(9, 1, 1, &[])]);
        let applied = |run: &Run| run.last_message()["applied"].clone();
        // It has the subscription, and no such user.
        let refuses = server();
        refuses
            .api
            .subscribe(json!(["autogen", "s", "ALL", ["udp://127.0.0.1:9"]]));
        let error = HttpReply::Instead(200, "user not found".to_owned());
        refuses.api.script("GRANT", [error]);
        let run = refuses.merge(&backup, &with).expect(3);
        let expected = json!({"users": null, "grants": 0, "continuous_queries": 2, "subscriptions": 1, "not_applied": 1});
        assert_eq!(applied(&run), expected);
        assert!(missing(&run).contains("user not found"), "{}", run.stdout);
        assert_eq!(refuses.api.statements().len(), 2);
        assert_eq!(refuses.points(), ours);
        // It goes away behind the points and the grants.
        let leaves = server();
        leaves
            .api
            .script("CREATE CONTINUOUS QUERY one", [HttpReply::GoesAway]);
        let run = leaves.merge(&backup, &with).expect(3);
        let expected = json!({"users": null, "grants": 1, "continuous_queries": 0, "subscriptions": 0, "not_applied": 3});
        assert_eq!(applied(&run), expected);
        let missing = run.last_message()["missing"].clone();
        let missing: Vec<&str> = missing
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let named = ["QUERY one", "QUERY two", "SUBSCRIPTION"];
        assert_eq!(missing.len(), named.len(), "{missing:?}");
        let verdicts = ["perhaps not applied: ", "not applied: ", "not applied: "];
        for (said, (verdict, what)) in missing.iter().zip(verdicts.iter().zip(named)) {
            assert!(said.starts_with(verdict) && said.contains(what), "{said}");
        }
        assert_eq!(leaves.points(), ours);
        // And comes back.
        leaves.api.come_back();
        let again = [&with[..], &["-resume"]].concat();
        let run = leaves.merge(&backup, &again).expect(0);
        let expected = json!({"users": null, "grants": 1, "continuous_queries": 2, "subscriptions": 1, "not_applied": 0});
        assert_eq!(applied(&run), expected);
        leaves.merge(&backup, &again).expect(6);
    }
}
