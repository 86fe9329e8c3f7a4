//! Tests of the proof: what is asked next, and what is in doubt in the end, for servers that answer
//! after so long.

use super::*;

/// A server that answers each question after so long, in milliseconds; what it was asked, and
/// whether the end is in doubt.
fn outcome(proof: &mut Proof, answers: &[u64]) -> (Vec<&'static str>, bool) {
    let mut asked = Vec::new();
    for after in answers {
        let first_byte = FirstByte::After(Duration::from_millis(*after));
        match proof.next() {
            NextStep::Probe => {
                asked.push("probe");
                proof.answered(first_byte);
            }
            NextStep::Download if proof.download_begins(first_byte) == OnDownload::HangUp => {
                asked.push("hung up")
            }
            NextStep::Download => {
                asked.push("taken");
                return (asked, proof.doubt().is_some());
            }
        }
    }
    panic!("it goes on behind {asked:?}: {proof:?}");
}

fn fresh() -> Proof {
    Proof::new(Rule::Prompt(Duration::from_secs(10)))
}

#[test]
fn a_cold_shard_is_asked_about_once_and_downloaded() {
    assert_eq!(
        outcome(&mut fresh(), &[3, 999]),
        (vec!["probe", "taken"], false)
    );
}

#[test]
fn a_late_answer_proves_nothing_and_the_question_is_put_again() {
    assert_eq!(
        outcome(&mut fresh(), &[1000, 1057, 4000, 20, 20]),
        (vec!["probe", "probe", "probe", "probe", "taken"], false)
    );
}

#[test]
fn a_download_that_comes_late_after_one_prompt_answer_is_hung_up_on_and_after_two_it_is_taken() {
    assert_eq!(
        outcome(&mut fresh(), &[20, 1057, 1057, 20, 1500]),
        (vec!["probe", "hung up", "probe", "probe", "taken"], false)
    );
}

#[test]
fn a_shard_that_is_never_answered_promptly_is_taken_in_the_end_and_in_doubt() {
    assert_eq!(
        outcome(&mut fresh(), &[4000, 4000, 4000, 4000]),
        (vec!["probe", "probe", "probe", "taken"], true)
    );
    // One prompt answer in the end is one too few; two are enough, however long it took.
    assert_eq!(
        outcome(&mut fresh(), &[12_000, 20, 4000]),
        (vec!["probe", "hung up", "taken"], true)
    );
    assert_eq!(
        outcome(&mut fresh(), &[12_000, 20, 20]),
        (vec!["probe", "hung up", "taken"], false)
    );
    let mut hurried = fresh();
    hurried.hurry();
    assert_eq!(
        outcome(&mut hurried, &[1000, 1000]),
        (vec!["probe", "taken"], true)
    );
    let mut hurried = fresh();
    hurried.hurry();
    assert_eq!(
        outcome(&mut hurried, &[10, 10]),
        (vec!["probe", "taken"], false)
    );
}

#[test]
fn what_was_proven_before_a_silence_is_proven_no_more() {
    let mut proof = fresh();
    proof.answered(FirstByte::After(Duration::ZERO));
    proof.answered(FirstByte::After(Duration::ZERO));
    proof.silence();
    assert_eq!(
        outcome(&mut proof, &[20, 20]),
        (vec!["probe", "taken"], false)
    );
}

#[test]
fn an_export_has_a_flush_behind_it_however_late_it_comes() {
    let mut proof = fresh();
    proof.answered(FirstByte::After(Duration::ZERO));
    assert_eq!(proof.download_begins(FirstByte::Flushed), OnDownload::Take);
    assert!(proof.is_prompt(FirstByte::Flushed) && proof.doubt().is_none());
}

#[test]
fn where_every_answer_has_a_flush_behind_it_nothing_is_asked_but_after_a_silence() {
    let mut proof = Proof::new(Rule::Any);
    assert_eq!(outcome(&mut proof, &[60_000]), (vec!["taken"], false));
    proof.silence();
    assert_eq!(
        outcome(&mut proof, &[60_000, 60_000]),
        (vec!["probe", "taken"], false)
    );
    assert!(proof.is_prompt(FirstByte::After(Duration::from_secs(60))));
}

/// What empty tars that came after so many milliseconds mean, each.
fn empty_tars(proof: &mut Proof, answers: &[u64]) -> Vec<EmptyTar> {
    let meaning = |after: &u64| {
        let first_byte = FirstByte::After(Duration::from_millis(*after));
        assert_eq!(proof.download_begins(first_byte), OnDownload::Take);
        proof.empty_tar(first_byte, EMPTY_TARS)
    };
    answers.iter().map(meaning).collect()
}

#[test]
fn two_prompt_empty_tars_are_believed_and_late_ones_never() {
    let later = EmptyTar::Later(EMPTY_AGAIN);
    let limit = Duration::from_secs(10);
    let table: [(Rule, &[u64], &[EmptyTar]); 4] = [
        (
            Rule::FilesOnly(limit),
            &[20, 1057, 999],
            &[later, EmptyTar::Again, EmptyTar::Believed],
        ),
        (
            Rule::FilesOnly(limit),
            &[4000, 4000, 4000],
            &[
                EmptyTar::Again,
                EmptyTar::Again,
                EmptyTar::Withheld(ONLY_LATE_EMPTY_TARS),
            ],
        ),
        // A server of the older dialect closes where it is busy.
        (
            Rule::FilesOnly(limit).in_dialect(Some(Dialect::V1_0)),
            &[4000, 4000],
            &[later, EmptyTar::Believed],
        ),
        (Rule::Any, &[4000, 4000], &[later, EmptyTar::Believed]),
    ];
    for (rule, answers, expected) in table {
        let mut proof = Proof::new(rule);
        assert_eq!(empty_tars(&mut proof, answers), expected, "{rule:?}");
        assert_eq!(proof.doubt(), None, "{rule:?}");
    }
    // Also of a shard whose points are known to be in files.
    let mut proven = fresh();
    assert!(!outcome(&mut proven, &[20, 20]).1);
    assert_eq!(
        empty_tars(&mut proven, &[1057, 20, 20]),
        [EmptyTar::Again, later, EmptyTar::Believed]
    );
    // A failure in between leaves nothing of those before.
    let mut proof = Proof::new(Rule::FilesOnly(limit));
    assert_eq!(empty_tars(&mut proof, &[20]), [later]);
    proof.attempt_failed();
    assert_eq!(empty_tars(&mut proof, &[20]), [later]);
}

#[test]
fn where_only_files_count_a_late_answer_is_taken_and_a_silence_asks_for_no_other() {
    let mut proof = Proof::new(Rule::FilesOnly(Duration::ZERO));
    proof.silence();
    assert_eq!(outcome(&mut proof, &[60_000]), (vec!["taken"], false));
}
