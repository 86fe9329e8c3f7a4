//! Tests of what follows from an attempt: what came, and what is done next.

use super::*;
use crate::time::Bounds;

/// What came of an attempt, and how it is written in the tables below.
#[derive(Debug, Clone, Copy)]
enum Answer {
    EmptyTar,
    LateEmptyTar,
    Broken,
    BrokenBehindTombstone,
    /// A silence that may mean that nothing is newer.
    SilenceForNothing,
    SaidNothing,
    /// A silence that is this shard's failure.
    SilenceOfShard,
    /// A silence that is the server's failure.
    ServersSilence,
    /// The same, and the server is given up.
    LastSilence,
    Gone,
    Failed,
    Unreached,
    /// The server answered a question, and was not reached with the next.
    AnsweredThenUnreached,
}

use Answer::*;

const SINCE: ShardRequest = ShardRequest::Since(jiff::Timestamp::UNIX_EPOCH);
const RANGE: ShardRequest = ShardRequest::Range(Bounds::ALL);

/// A shard of which nothing was stored before, tried again twice.
fn fresh() -> ShardAttempts {
    let rule = Rule::Prompt(Duration::from_secs(10));
    ShardAttempts::new(rule, 2, false, Some(Dialect::V1_5))
}

/// Makes one attempt; what is done next.
fn step(attempts: &mut ShardAttempts, request: ShardRequest, answer: Answer) -> Step {
    let after = |millis| FirstByte::After(Duration::from_millis(millis));
    let broken = |tombstone| AttemptResult::Broken {
        reason: "torn".to_owned(),
        tombstone,
    };
    let result = match answer {
        EmptyTar => AttemptResult::EmptyTar(after(20)),
        LateEmptyTar => {
            attempts.proof.answered(after(4000));
            AttemptResult::EmptyTar(after(4000))
        }
        Broken => broken(false),
        BrokenBehindTombstone => broken(true),
        SilenceForNothing => AttemptResult::SilenceForNothing,
        SaidNothing => AttemptResult::SaidNothing,
        SilenceOfShard | ServersSilence | LastSilence => AttemptResult::Silence,
        Gone => AttemptResult::Gone,
        Failed => AttemptResult::Failed("no".to_owned()),
        Unreached | AnsweredThenUnreached => AttemptResult::Unreached("refused".to_owned()),
    };
    attempts.begin(false);
    if matches!(answer, AnsweredThenUnreached) {
        attempts.answered();
    }
    let step = attempts.next(result, request);
    let whose = match answer {
        SilenceOfShard => WhoIsSilent::OfShard,
        ServersSilence => WhoIsSilent::OfServer(Some(Duration::from_secs(4))),
        LastSilence => WhoIsSilent::OfServer(None),
        _ => return step,
    };
    assert!(matches!(step, Step::Silence), "{step:?}");
    attempts.silent(whose)
}

/// What is done after each of the answers.
fn steps(mut attempts: ShardAttempts, request: ShardRequest, answers: &[Answer]) -> Vec<String> {
    answers
        .iter()
        .map(|answer| match step(&mut attempts, request, *answer) {
            Step::Store(_) | Step::Reuse { .. } => "there".to_owned(),
            Step::Expire => "expired".to_owned(),
            Step::Empty => "empty".to_owned(),
            Step::Withhold(_) => "withheld".to_owned(),
            Step::GiveUp(_) => "given up".to_owned(),
            Step::Again => "again".to_owned(),
            Step::Later(wait) => format!("later {wait:?}"),
            Step::Retry { attempt, wait, .. } => format!("retry {attempt} {wait:?}"),
            Step::TakeWhole(_) => "whole".to_owned(),
            Step::Outage(_) => "outage".to_owned(),
            Step::Silence => "silence".to_owned(),
        })
        .collect()
}

#[test]
fn what_came_decides_what_is_done_next() {
    let table: [(ShardRequest, &[Answer], &[&str]); 14] = [
        // Two empty tars are believed, and one of an increment.
        (ShardRequest::Whole, &[EmptyTar; 2], &["later 1s", "empty"]),
        (SINCE, &[EmptyTar], &["empty"]),
        // They have to come one after the other.
        (
            ShardRequest::Whole,
            &[EmptyTar, SilenceOfShard, EmptyTar, EmptyTar],
            &["later 1s", "retry 1 500ms", "later 1s", "empty"],
        ),
        (
            ShardRequest::Whole,
            &[EmptyTar, ServersSilence, EmptyTar],
            &["later 1s", "retry 1 4s", "later 1s"],
        ),
        // Late ones are not believed, for as long as is waited for a prompt one and then.
        (
            ShardRequest::Whole,
            &[LateEmptyTar; 3],
            &["again", "again", "withheld"],
        ),
        // So many attempts may fail, in whatever way.
        (
            ShardRequest::Whole,
            &[Broken, SilenceOfShard, Failed],
            &["retry 1 500ms", "retry 2 1s", "given up"],
        ),
        // Where a part cannot be exported, the whole is taken: at once, where a tombstone may be
        // why.
        (RANGE, &[BrokenBehindTombstone], &["whole"]),
        (RANGE, &[Broken, Broken], &["retry 1 500ms", "whole"]),
        (SINCE, &[BrokenBehindTombstone], &["retry 1 500ms"]),
        // A silence that may be an answer costs no attempt.
        (
            SINCE,
            &[SilenceForNothing, SaidNothing],
            &["later 0ns", "empty"],
        ),
        // Nor does a failure that is the server's.
        (
            ShardRequest::Whole,
            &[ServersSilence, ServersSilence, ServersSilence, LastSilence],
            &["retry 1 4s", "retry 1 4s", "retry 1 4s", "given up"],
        ),
        (ShardRequest::Whole, &[Unreached; 3], &["outage"; 3]),
        // But it is the shard's, where the server answers each time before it goes away: that would
        // have no end.
        (
            ShardRequest::Whole,
            &[AnsweredThenUnreached; 3],
            &["retry 1 500ms", "retry 2 1s", "given up"],
        ),
        (
            ShardRequest::Whole,
            &[Failed, Gone],
            &["retry 1 500ms", "expired"],
        ),
    ];
    for (request, answers, expected) in table {
        let done = steps(fresh(), request, answers);
        assert_eq!(done, expected, "{request:?} {answers:?}");
    }
}

#[test]
fn a_shard_that_was_stored_before_is_believed_to_be_empty_after_four_tars() {
    let rule = Rule::Prompt(Duration::from_secs(10));
    let attempts = ShardAttempts::new(rule, 2, true, Some(Dialect::V1_5));
    assert_eq!(
        steps(attempts, ShardRequest::Whole, &[EmptyTar; 4]),
        ["later 1s", "later 2s", "later 3s", "empty"]
    );
}

#[test]
fn an_increment_of_an_old_server_is_believed_to_be_empty_after_two_tars() {
    let attempts = ShardAttempts::new(Rule::Any, 2, false, Some(Dialect::V1_0));
    assert_eq!(
        steps(attempts, SINCE, &[EmptyTar; 2]),
        ["later 1s", "empty"]
    );
}

#[test]
fn every_shard_comes_to_an_end_whatever_a_server_that_answers_does() {
    let answers = [
        EmptyTar,
        LateEmptyTar,
        Broken,
        BrokenBehindTombstone,
        SilenceOfShard,
        Failed,
        AnsweredThenUnreached,
    ];
    // All sequences that begin with any three of them and then repeat these.
    for request in [ShardRequest::Whole, SINCE, RANGE] {
        for number in 0..answers.len().pow(3) {
            let place = |power| number / answers.len().pow(power) % answers.len();
            let cycle = [0, 1, 2].map(|power| answers[place(power)]);
            let (mut attempts, mut request) = (fresh(), request);
            let ends_after = (1..=64).find(|turn| {
                let next = step(&mut attempts, request, cycle[turn % 3]);
                if matches!(next, Step::TakeWhole(_)) {
                    request = ShardRequest::Whole;
                }
                matches!(next, Step::Empty | Step::Withhold(_) | Step::GiveUp(_))
            });
            assert!(
                ends_after.is_some_and(|turns| turns <= 12),
                "{cycle:?}: {ends_after:?}"
            );
        }
    }
}
