//! Whatever happens on the way into a running server: a restore says what is there and what is not,
//! and can be gone on with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::between::{Ask, Between, Spoil};
use crate::support::data::{START, load_hours, without_hour};
use crate::support::http;
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::End;
use crate::support::process::{Run, Snap, snap};
use crate::support::service::copy;
use crate::support::time::HOUR;
use crate::support::{Shared, folder, tree, utf8};

/// How many shards `d` has, an hour each.
const SHARDS: i64 = 8;

/// What a server answers to an import that it refuses: the magic and no pairs.
const REFUSAL: [u8; 16] = *b"\0\0\0\0\x59\x59\x01\x01\0\0\0\0\0\0\0\0";

/// A portable backup of a database `d`.
struct Sample {
    folder: TempDir,
    points: Vec<String>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
        load_hours(&server, SHARDS);
        let dir = folder.path().join("backup");
        snap(["backup", "-portable", "-host", &server.host(), utf8(&dir)]).expect(0);
        Self {
            points: server.points(),
            folder,
        }
    }
}

/// A server to restore into, a proxy before it, and a copy of the backup.
struct LiveRestore {
    sample: Arc<Sample>,
    folder: TempDir,
    server: Influxd,
    proxy: Between,
    /// The process that restores, once it is known.
    running: Arc<AtomicU32>,
}

impl LiveRestore {
    fn new(spoil: impl Fn(Ask, usize) -> Option<Spoil> + Send + Sync + 'static) -> Self {
        Self::with_running(|_| spoil)
    }

    /// The same for what wants to do something to the process that restores.
    fn with_running<S>(spoil: impl FnOnce(Arc<AtomicU32>) -> S) -> Self
    where
        S: Fn(Ask, usize) -> Option<Spoil> + Send + Sync + 'static,
    {
        let sample = SAMPLE.get();
        let folder = folder();
        let server = Influxd::start(&folder.path().join("target"), Index::Tsi1);
        let running = Arc::new(AtomicU32::new(0));
        let proxy = Between::start(&server.host(), spoil(Arc::clone(&running)));
        copy(
            &sample.folder.path().join("backup"),
            &folder.path().join("backup"),
        );
        Self {
            sample,
            folder,
            server,
            proxy,
            running,
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn prepare(&self, flags: &[&str]) -> Snap {
        let (host, dir) = (self.proxy.host(), self.dir());
        Snap::new(
            [
                &["restore", "-portable", "-jobs", "1", "-host", &host],
                flags,
                &[utf8(&dir)],
            ]
            .concat(),
        )
    }

    fn restore(&self, flags: &[&str]) -> Run {
        let running = self.prepare(flags).spawn();
        self.running.store(running.pid(), Ordering::SeqCst);
        running.wait()
    }

    /// The lines of the journal, where there is one.
    fn journal(&self) -> Option<Vec<Value>> {
        let hidden = self.dir().join(".snap");
        let mut names = tree::names(&hidden)
            .into_iter()
            .filter(|name| name.ends_with(".journal"));
        let text = fs::read_to_string(hidden.join(names.next()?)).expect("a journal");
        Some(
            text.lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect(),
        )
    }

    /// Panics unless all is there, and nothing to go on with.
    fn expect_all(&self) {
        self.server.expect_points(&self.sample.points);
        assert_eq!(self.journal(), None);
        self.restore(&["-resume"]).expect(6);
    }

    /// Panics unless a restore without more is refused and names the flag; then goes on with the
    /// one that was interrupted.
    fn resume(&self) {
        assert!(self.journal().is_some(), "no journal");
        let run = self.restore(&[]).expect(6);
        assert!(
            run.stderr.contains("hint: ") && run.stderr.contains("-resume"),
            "{}",
            run.stderr
        );
        self.restore(&["-resume"]).expect(0);
        self.expect_all();
    }

    /// The tars that were sent for a shard, as their lengths.
    fn uploads(&self, of: u64) -> Vec<usize> {
        let uploads = self
            .proxy
            .seen()
            .into_iter()
            .filter(|(ask, _)| *ask == Ask::Upload(of));
        uploads.map(|(_, length)| length).collect()
    }

    /// The points of all shards but the one that is the `nth`.
    fn points_without(&self, nth: i64) -> Vec<String> {
        without_hour(&self.sample.points, nth)
    }
}

/// Sends a signal to the process whose id is or comes to be there.
fn signal(running: &AtomicU32, signal: Signal) {
    let mut id = 0;
    while id == 0 {
        thread::sleep(Duration::from_millis(1));
        id = running.load(Ordering::SeqCst);
    }
    let pid = Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id");
    kill_process(pid, signal).expect("a signal");
}

/// Fails the first attempt at each shard.
fn first(spoil: Spoil) -> impl Fn(Ask, usize) -> Option<Spoil> + Send + Sync + 'static {
    move |ask, nth| (matches!(ask, Ask::Upload(_)) && nth == 0).then(|| spoil.clone())
}

#[test]
fn uploads_that_break_off_are_cleared_away_and_made_anew() {
    // In the header, in the content, and as if the server had taken all and then threw it away.
    for spoil in [
        Spoil::Break(100),
        Spoil::Break(700),
        Spoil::Leave(700),
        Spoil::Swallow(Vec::new()),
    ] {
        let fixture = LiveRestore::new(first(spoil.clone()));
        let run = fixture.restore(&["-retries", "1", "-jobs", "8"]).expect(0);
        assert_eq!(
            run.stderr.matches("attempt 1 failed").count() as i64,
            SHARDS,
            "{spoil:?}: {}",
            run.stderr
        );
        for id in 1..=SHARDS as u64 {
            let uploads = fixture.uploads(id);
            let [_, 1024, whole] = uploads[..] else {
                panic!("{spoil:?}: {uploads:?}")
            };
            assert!(whole > 1024, "{spoil:?}: {uploads:?}");
        }
        fixture.expect_all();
    }
}

#[test]
fn a_server_that_never_closes_an_upload_is_left_and_found_to_hold_it() {
    let fixture =
        LiveRestore::new(|ask, nth| (ask == Ask::Upload(3) && nth == 0).then_some(Spoil::Keep));
    let run = fixture
        .restore(&["-retries", "1", "-idle-timeout", "1s"])
        .expect(0);
    assert!(run.stderr.contains("-idle-timeout"), "{}", run.stderr);
    // It was not sent again.
    assert_eq!(fixture.uploads(3).len(), 2);
    fixture.expect_all();
}

#[test]
fn a_shard_that_is_not_sent_back_is_asked_for_again_and_not_sent_again() {
    let asked = |fixture: &LiveRestore| {
        let seen = fixture.proxy.seen().into_iter();
        seen.filter(|(ask, _)| *ask == Ask::Shard(3)).count()
    };
    // The first question is whether it is empty.
    let silent = |times: usize| {
        LiveRestore::new(move |ask, nth| {
            let is_silent = ask == Ask::Shard(3) && (1..=times).contains(&nth);
            is_silent.then_some(Spoil::Cut(0, End::Fin))
        })
    };
    let fixture = silent(2);
    fixture.restore(&["-retries", "3"]).expect(0);
    assert_eq!((asked(&fixture), fixture.uploads(3).len()), (4, 1));
    fixture.expect_all();

    let fixture = silent(4);
    let run = fixture.restore(&["-retries", "2"]).expect(3);
    let said = "does not send the shard back";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert_eq!((asked(&fixture), fixture.uploads(3).len()), (4, 1));
    fixture.resume();
}

#[test]
fn an_import_that_is_refused_twice_is_made_the_third_time() {
    let fixture = LiveRestore::new(|ask, nth| {
        (ask == Ask::Import && nth < 2).then(|| Spoil::Swallow(REFUSAL.to_vec()))
    });
    fixture.restore(&[]).expect(0);
    assert_eq!(
        fixture
            .proxy
            .seen()
            .iter()
            .filter(|(ask, _)| *ask == Ask::Import)
            .count(),
        3
    );
    fixture.expect_all();
    // One that is refused always: nothing is there, and that is said.
    let fixture =
        LiveRestore::new(|ask, _| (ask == Ask::Import).then(|| Spoil::Swallow(REFUSAL.to_vec())));
    let run = fixture.restore(&["-retries", "1"]).expect(1);
    assert!(run.stderr.contains("refused the import"), "{}", run.stderr);
    assert!(fixture.server.databases().is_empty());
}

#[test]
fn a_reply_to_an_import_that_is_cut_off_loses_nothing() {
    for (at, end) in [
        (0, End::Rst),
        (0, End::Fin),
        (12, End::Rst),
        (16, End::Fin),
        (16, End::Rst),
        (40, End::Fin),
        (40, End::Rst),
    ] {
        let fixture = LiveRestore::new(move |ask, nth| {
            (ask == Ask::Import && nth == 0).then_some(Spoil::Cut(at, end))
        });
        // The import took place, which shows in the server's metastore.
        fixture.restore(&[]).expect(0);
        fixture.expect_all();
    }
}

#[test]
fn what_somebody_writes_before_a_shard_is_sent_is_not_written_over() {
    let server = Arc::new(OnceLock::<String>::new());
    let writer = Arc::clone(&server);
    let fixture = LiveRestore::new(move |ask, _| {
        // The first that is asked of the shard: whether it is empty.
        if ask == Ask::Shard(4) {
            let to = writer
                .get()
                .expect("an address")
                .parse()
                .expect("an address");
            let line = format!("live v=7 {}", START + 3 * HOUR + 7);
            let answer = http::request(to, "POST", "/write?db=d", "text/plain", line.as_bytes())
                .expect("an answer");
            assert_eq!(answer.status, 204, "{}", answer.text());
        }
        None
    });
    server
        .set(fixture.server.http_address())
        .expect("the first");
    let run = fixture.restore(&[]).expect(3);
    let named = run
        .stderr
        .lines()
        .find(|line| line.starts_with("missing: "))
        .expect("a shard that is missing");
    assert!(
        named.contains("d/autogen/4") && named.contains("somebody has written to it"),
        "{named}"
    );
    assert_eq!(fixture.uploads(4), [0; 0]);
    let mut expected = fixture.points_without(3);
    expected.push(format!(
        "\"d\".\"autogen\" \"live\"{{}} {} \"v\"=7",
        START + 3 * HOUR + 7
    ));
    expected.sort();
    assert_eq!(fixture.server.points(), expected);
}

#[test]
fn a_server_that_shows_something_else_than_was_sent_is_not_believed() {
    let edits: [fn(&mut Vec<crate::support::peer::Member>); 3] = [
        |members| drop(members.pop()),
        |members| members.last_mut().expect("a member").content[20] ^= 1,
        |members| members.last_mut().expect("a member").content.truncate(100),
    ];
    for edit in edits {
        let fixture =
            LiveRestore::new(move |ask, _| (ask == Ask::Shard(4)).then_some(Spoil::Edit(edit)));
        let run = fixture.restore(&["-retries", "1"]).expect(3);
        let named = run
            .stderr
            .lines()
            .find(|line| line.starts_with("missing: "))
            .expect("a shard that is missing");
        assert!(named.contains("d/autogen/4"), "{named}");
        assert_eq!(run.stderr.matches("missing: ").count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("drop"), "{}", run.stderr);
        let journal = fixture.journal().expect("a journal");
        assert_eq!(
            journal
                .iter()
                .filter(|line| line.get("done").is_some())
                .count() as i64,
            SHARDS - 1
        );
    }
}

#[test]
fn one_shard_that_cannot_be_sent_leaves_the_others_restored_and_is_resumed() {
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    let fixture = LiveRestore::new(move |ask, _| {
        (ask == Ask::Upload(6) && fails.load(Ordering::SeqCst)).then_some(Spoil::Break(700))
    });
    let run = fixture.restore(&["-retries", "2", "-jobs", "2"]).expect(3);
    let missing: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("missing: "))
        .collect();
    assert!(
        matches!(missing[..], [one] if one.contains("d/autogen/6")),
        "{missing:?}"
    );
    assert!(
        fixture.server.points() == fixture.points_without(5),
        "the points differ"
    );
    failing.store(false, Ordering::SeqCst);
    fixture.resume();
}

#[test]
fn a_restore_that_is_killed_anywhere_is_gone_on_with() {
    // On the way to the import, behind it, and with the first, a middle and the last shard on the
    // way.
    for at in [
        Ask::Import,
        Ask::Upload(1),
        Ask::Upload(5),
        Ask::Upload(SHARDS as u64),
    ] {
        let fixture = LiveRestore::with_running(|running| {
            move |ask, nth| {
                if ask == at && nth == 0 {
                    signal(&running, Signal::KILL);
                }
                None
            }
        });
        let run = fixture.restore(&[]);
        assert_eq!(run.signal, Some(9), "{at:?}: {}", run.stderr);
        let done = fixture
            .journal()
            .expect("a journal")
            .iter()
            .filter(|line| line.get("done").is_some())
            .count();
        let expected = if let Ask::Upload(id) = at {
            id as usize - 1
        } else {
            0
        };
        assert_eq!(done, expected, "{at:?}");
        if at == Ask::Import {
            // The proxy passes it on all the same; nobody heard the answer.
            assert!(
                crate::support::service::wait_for(
                    || (fixture.server.databases() == ["d"]).then_some(())
                )
                .is_some()
            );
        }
        fixture.resume();
    }
}

#[test]
fn a_restore_that_regroups_shards_is_gone_on_with_wherever_it_is_killed() {
    // Whole shards put together, and every second one cut.
    for (duration, shards) in [("4h", 2), ("90m", 6)] {
        for at in [
            Ask::Import,
            Ask::Upload(1),
            Ask::Upload(2),
            Ask::Upload(shards),
        ] {
            let fixture = LiveRestore::with_running(|running| {
                move |ask, nth| {
                    if ask == at && nth == 0 {
                        signal(&running, Signal::KILL);
                    }
                    None
                }
            });
            let flags = ["-database", "d", "-shard-duration", duration];
            let run = fixture.restore(&flags);
            assert_eq!(run.signal, Some(9), "{at:?}: {}", run.stderr);
            let journal = fixture.journal().expect("a journal");
            let done = journal.iter().filter(|line| line.get("done").is_some());
            let expected = match at {
                Ask::Upload(id) => id as usize - 1,
                _ => 0,
            };
            assert_eq!((done.count(), &journal[0]["format"]), (expected, &3.into()));
            if at == Ask::Import {
                let is_there = || (fixture.server.databases() == ["d"]).then_some(());
                assert!(crate::support::service::wait_for(is_there).is_some());
            }
            fixture.resume();
            assert_eq!(fixture.server.shards().len() as u64, shards, "{duration}");
        }
    }
}

#[test]
fn a_signal_ends_a_restore_that_can_be_gone_on_with() {
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let fixture = LiveRestore::with_running(|running| {
            move |ask, nth| {
                let now = ask == Ask::Upload(4) && nth == 0;
                now.then(|| signal(&running, sent));
                now.then_some(Spoil::Keep)
            }
        });
        let run = fixture.restore(&[]).expect(code);
        assert!(
            run.stderr.contains("-resume") && run.wall < Duration::from_secs(20),
            "{:?} {}",
            run.wall,
            run.stderr
        );
        fixture.resume();
    }
}

#[test]
fn a_server_that_is_killed_and_started_again_is_given_the_rest() {
    let server = Arc::new(AtomicU32::new(0));
    let kills = Arc::clone(&server);
    let mut fixture = LiveRestore::new(move |ask, nth| {
        if ask == Ask::Upload(5) && nth == 0 {
            signal(&kills, Signal::KILL);
        }
        None
    });
    server.store(fixture.server.pid(), Ordering::SeqCst);
    let run = fixture.restore(&["-retries", "0"]);
    assert!(
        matches!(run.code, Some(3 | 5)),
        "{:?} {}",
        run.code,
        run.stderr
    );
    assert!(
        run.stderr.contains("d/autogen/5") && run.stderr.contains("-resume"),
        "{}",
        run.stderr
    );
    fixture.server = Influxd::start(&fixture.folder.path().join("target"), Index::Tsi1);
    fixture.proxy.redirect(&fixture.server.host());
    fixture.resume();
}

#[test]
fn what_is_not_as_an_interrupted_restore_left_it_is_not_gone_on_with() {
    let fixture = LiveRestore::new(|ask, _| (ask == Ask::Upload(5)).then_some(Spoil::Break(0)));
    let refused = |flags: &[&str], code: i32, text: &str| {
        let run = fixture.restore(flags).expect(code);
        assert!(
            run.stderr.contains(text) && run.stderr.contains("hint: "),
            "{flags:?}: {}",
            run.stderr
        );
    };
    refused(&["-resume"], 6, "no interrupted restore");
    fixture.restore(&["-retries", "0"]).expect(3);
    let journal = fixture.journal();
    // Of something else than was begun.
    refused(
        &["-resume", "-database", "d", "-newdb", "e"],
        2,
        "of what is named here",
    );
    // Another server at the same address, with a database of the same name.
    let folder = folder();
    let other = Influxd::start(folder.path(), Index::Inmem);
    other.execute("CREATE DATABASE d");
    fixture.proxy.redirect(&other.host());
    refused(&["-resume"], 6, "not the server");
    assert!(other.shards().is_empty());
    fixture.proxy.redirect(&fixture.server.host());
    // Dropped, and then made anew by somebody.
    fixture.server.execute("DROP DATABASE d");
    refused(&["-resume"], 6, "gone");
    fixture.server.execute("CREATE DATABASE d");
    fixture.server.write("d", "", &format!("own v=1 {START}"));
    refused(&["-resume"], 6, "not as the interrupted restore left it");
    assert_eq!(fixture.server.points().len(), 1);
    assert_eq!(fixture.journal(), journal);
}

#[test]
fn writes_to_another_database_go_on_while_one_is_restored() {
    let fixture = LiveRestore::new(|_, _| None);
    fixture.server.execute("CREATE DATABASE busy");
    let done = AtomicBool::new(false);
    let mut written = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let line = format!("m v={written} {}", START + written);
                fixture.server.write("busy", "", &line);
                written += 1;
            }
        });
        for nth in 0..3 {
            fixture
                .restore(&["-database", "d", "-newdb", &format!("d{nth}"), "-jobs", "4"])
                .expect(0);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(fixture.server.points_of("busy").len() as i64, written);
    for nth in 0..3 {
        let of = |points: &[String]| {
            points
                .iter()
                .filter_map(|point| Some(point.split_once(' ')?.1.to_owned()))
                .collect::<Vec<_>>()
        };
        assert!(
            of(&fixture.server.points_of(&format!("d{nth}"))) == of(&fixture.sample.points),
            "d{nth}: the points differ"
        );
    }
}

#[test]
fn whatever_the_umask_the_journal_of_a_restore_is_its_users_alone() {
    let fixture = LiveRestore::with_running(|running| {
        move |ask, nth| {
            if ask == Ask::Upload(2) && nth == 0 {
                signal(&running, Signal::KILL);
            }
            None
        }
    });
    let running = fixture.prepare(&[]).after("umask 0").spawn();
    fixture.running.store(running.pid(), Ordering::SeqCst);
    assert_eq!(running.wait().signal, Some(9));
    let hidden = fixture.dir().join(".snap");
    let journal = tree::names(&hidden)
        .into_iter()
        .find(|name| name.ends_with(".journal"));
    let journal = fs::metadata(hidden.join(journal.expect("a journal"))).expect("its metadata");
    assert_eq!(journal.permissions().mode() & 0o777, 0o600);
    fixture.resume();
}
