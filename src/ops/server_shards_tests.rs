//! Tests of asking a server for shards, which answers each question as a script says.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::client::{Connector, Timeouts};
use crate::io::stream::Stream;
use crate::progress::Silent;
use crate::shard_tar::{MemberHeader, ShardTarReader, TarWriter};

/// An answer comes late from here on.
const LATE: Duration = Duration::from_millis(1050);

fn shard() -> ShardPath {
    ShardPath {
        database: "db".into(),
        retention_policy: "autogen".into(),
        id: 1,
    }
}

/// A tar with one member.
fn full() -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let header = MemberHeader::of_file("db/autogen/1/000000001-000000001.tsm", 4, 0);
    tar.begin(&header).unwrap();
    tar.write_all(b"file").unwrap();
    tar.end().unwrap();
    tar.finish().unwrap()
}

/// A server that answers each question after so long with these bytes; the last of its answers again
/// and again.
fn client(answers: Vec<(Duration, Vec<u8>)>) -> Client {
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let connector = Connector::new("a server".to_owned(), move || {
        let (ours, mut theirs) = Stream::pair()?;
        let answers = Arc::clone(&answers);
        thread::spawn(move || {
            let (mut request, mut byte) = (Vec::new(), [0]);
            while request.last() != Some(&b'\n') {
                theirs.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let (after, bytes) = {
                let mut answers = answers.lock().unwrap();
                let first = answers.pop_front().unwrap();
                if answers.is_empty() {
                    answers.push_back(first.clone());
                }
                first
            };
            thread::sleep(after);
            // Whoever only looks at the beginning has hung up.
            let _ = theirs.write_all(&bytes);
        });
        Ok(ours)
    });
    let (dialect, timeouts) = (Some(Dialect::V1_5), Timeouts::default());
    Client::new(connector, dialect, timeouts, Cancel::default())
}

/// How many members come, and whether there is a doubt; why none come.
fn ask(client: &Client, rule: Rule) -> Result<(u64, bool), String> {
    let asker = ShardAsker::new(client, 1, rule);
    let cancel = Cancel::default();
    let context = Context {
        cancel: &cancel,
        progress: &Silent,
    };
    let path = shard();
    let answer = asker.ask(&path, context, |reply| {
        let mut reader = ShardTarReader::new(reply, &path);
        let mut members = 0;
        while reader.next_member().map_err(TarStop::Tar)?.is_some() {
            members += 1;
        }
        Ok((members, reader.finish().map_err(TarStop::Tar)?))
    });
    match answer.unwrap() {
        ShardAnswer::Whole { taken, doubt } => Ok((taken, doubt.is_some())),
        ShardAnswer::Gone => panic!("it is gone"),
        ShardAnswer::Missing(reason) => Err(reason),
    }
}

#[test]
fn a_shard_of_which_only_late_empty_tars_come_is_missing_whatever_the_rule() {
    for rule in [Rule::FilesOnly, Rule::Prompt] {
        let client = client(vec![(LATE, vec![0; 1024])]);
        let reason = ask(&client, rule(LATE * 2)).unwrap_err();
        assert!(reason.contains("empty tar"), "{reason}");
    }
}

#[test]
fn a_late_empty_tar_behind_a_proof_is_asked_for_again() {
    let empty = || vec![0; 1024];
    let now = Duration::ZERO;
    // The question; a download that is late, and is hung up on; the question that proves all to be
    // in files; a download that is late again, and what comes then.
    let answers = vec![
        (now, empty()),
        (LATE, full()),
        (now, empty()),
        (LATE, empty()),
        (now, full()),
    ];
    let asked = ask(&client(answers), Rule::Prompt(LATE * 10));
    assert_eq!(asked, Ok((1, false)));
}
