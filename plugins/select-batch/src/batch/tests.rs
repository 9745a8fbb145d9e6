use pointsman_policy_kit::rehearsal::rules::{self, code};
use pointsman_policy_kit::rehearsal::{Rehearsal, approved, candidate, tagged};
use pointsman_sdk::{Approval, Dependency, check_settings};
use proptest::prelude::*;

use super::*;
use crate::Batches;

fn plan(stage: &mut Rehearsal) -> Answer {
    let answer = decide(&Settings::default(), &[], &stage.question);
    stage.follow(&answer);
    answer
}

/// The members of the batch that runs next.
#[track_caller]
fn next(stage: &mut Rehearsal) -> Vec<u64> {
    let answer = plan(stage);
    assert!(answer.lanes.len() <= 1, "{answer:?}");
    answer
        .lanes
        .first()
        .map(|lane| lane.members.clone())
        .unwrap_or_default()
}

#[test]
fn a_batch_is_by_priority_then_age() {
    let mut all: Vec<Candidate> = (1..=10).map(approved).collect();
    all[9] = tagged(all[9].clone(), "priority", "1");
    all[4].approval = Approval::Pending;
    let mut stage = Rehearsal::new(1, all);
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes[0].members, [10, 1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(
        (code(&answer, 9), code(&answer, 5)),
        ("turn.later", "review.pending")
    );
    // Who comes meanwhile waits, however urgent.
    stage
        .question
        .candidates
        .push(tagged(approved(11), "priority", "9"));
    assert_eq!(next(&mut stage).len(), 8);
    stage.end(&[10, 1, 2, 3, 4, 6, 7, 8], "passed");
    plan(&mut stage);
    assert!(stage.land());
    assert_eq!(next(&mut stage), [11, 9]);
}

#[test]
fn a_batch_that_fails_is_bisected() {
    // Number 3 is bad.
    let mut stage = Rehearsal::new(1, (1..=8).map(approved).collect());
    assert_eq!(next(&mut stage).len(), 8);
    stage.end(&[1, 2, 3, 4, 5, 6, 7, 8], "failed");
    assert_eq!(next(&mut stage), [1, 2, 3, 4]);
    stage.end(&[1, 2, 3, 4], "failed");
    assert_eq!(next(&mut stage), [1, 2]);
    stage.end(&[1, 2], "passed");
    plan(&mut stage);
    assert!(stage.land());
    // A newcomer is not put in with those that are suspected.
    stage.question.candidates.push(approved(9));
    assert_eq!(next(&mut stage), [3, 4]);
    stage.end(&[3, 4], "failed");
    assert_eq!(next(&mut stage), [3]);
    stage.end(&[3], "failed");
    let answer = plan(&mut stage);
    assert_eq!(
        (answer.lanes[0].members.as_slice(), code(&answer, 3)),
        (&[4][..], "tip.failed")
    );
    stage.end(&[4], "passed");
    plan(&mut stage);
    assert!(stage.land());
    assert_eq!(next(&mut stage), [5, 6, 7, 8]);
    stage.end(&[5, 6, 7, 8], "passed");
    plan(&mut stage);
    assert!(stage.land());
    assert_eq!(next(&mut stage), [9]);
    stage.end(&[9], "passed");
    plan(&mut stage);
    assert!(stage.land());
    // The bad one is tried again at the end, on the new tip, and once.
    assert_eq!(next(&mut stage), [3]);
    stage.end(&[3], "failed");
    assert_eq!(next(&mut stage), [0; 0]);
    stage.candidate(3).tags = vec![("retest".to_owned(), "1".to_owned())];
    assert_eq!(next(&mut stage), [3]);
}

#[test]
fn whom_triage_names_is_left_out() {
    let mut stage = Rehearsal::new(1, (1..=4).map(approved).collect());
    next(&mut stage);
    stage.end(&[1, 2, 3, 4], "failed");
    stage.blame(&[1, 2, 3, 4], &[2]);
    let answer = plan(&mut stage);
    assert_eq!(
        (answer.lanes[0].members.as_slice(), code(&answer, 2)),
        (&[1, 3, 4][..], "tip.blamed")
    );
}

#[test]
fn a_conflict_is_bisected_too() {
    let mut stage = Rehearsal::new(1, (1..=2).map(approved).collect());
    next(&mut stage);
    stage.end(&[1, 2], "conflict");
    assert_eq!(next(&mut stage), [1]);
    stage.end(&[1], "conflict");
    let answer = plan(&mut stage);
    assert_eq!(
        (answer.lanes[0].members.as_slice(), code(&answer, 1)),
        (&[2][..], "tip.conflict")
    );
}

#[test]
fn one_that_is_no_longer_approved_breaks_its_batch() {
    let mut stage = Rehearsal::new(1, (1..=3).map(approved).collect());
    assert_eq!(next(&mut stage), [1, 2, 3]);
    stage.candidate(2).approval = Approval::Rejected;
    assert_eq!(next(&mut stage), [1, 3]);
    assert_eq!(stage.lanes("cancelled"), [[1, 2, 3]]);
}

#[test]
fn what_depends_on_another_comes_after_it() {
    let depends = |number: u64, on: &str| Candidate {
        depends: vec![Dependency {
            subject: on.to_owned(),
            state: "open".to_owned(),
            attrs: Vec::new(),
        }],
        ..approved(number)
    };
    let mut stage = Rehearsal::new(
        1,
        vec![depends(1, "3"), approved(2), approved(3), depends(4, "9")],
    );
    let answer = plan(&mut stage);
    assert_eq!(
        (answer.lanes[0].members.as_slice(), code(&answer, 4)),
        (&[2, 3, 1][..], "depends.open")
    );
}

#[test]
fn a_batch_has_a_size() {
    assert_eq!(check_settings::<Batches>("{}"), Ok(()));
    for wrong in [r#"{"max": 0}"#, r#"{"max": 101}"#] {
        assert_eq!(
            check_settings::<Batches>(wrong).unwrap_err()[0].field,
            "/max"
        );
    }
    let mut stage = Rehearsal::new(3, (1..=3).map(approved).chain([candidate(9)]).collect());
    let settings = Settings {
        max: 2,
        test_unapproved: true,
        ..Settings::default()
    };
    let answer = decide(&settings, &[], &stage.question);
    stage.follow(&answer);
    assert_eq!(stage.lanes("running"), [vec![1, 2], vec![9]]);
}

#[test]
fn the_bare_target_is_run_once_a_tip() {
    let settings = Settings {
        baseline: true,
        ..Settings::default()
    };
    rules::the_bare_target_is_run_once_a_tip(|stage| {
        let answer = decide(&settings, &[], &stage.question);
        stage.follow(&answer);
        answer
    });
}

#[test]
fn a_head_whose_branch_is_gone_is_not_tested() {
    rules::a_head_whose_branch_is_gone_is_not_tested(plan);
}

#[test]
fn another_run_is_made_for_each_asking() {
    rules::another_run_is_made_for_each_asking(plan);
}

#[test]
fn what_was_given_up_keeps_nobody_waiting() {
    rules::what_was_given_up_keeps_nobody_waiting(plan);
}

#[test]
fn a_batch_that_was_given_up_is_halved() {
    let mut stage = Rehearsal::new(1, (1..=2).map(approved).collect());
    next(&mut stage);
    stage.end(&[1, 2], "lane.unlandable");
    assert_eq!(next(&mut stage), [1]);
}

/// The host names the one that does not merge behind the others of its batch: by itself it may.
#[test]
fn one_that_does_not_merge_behind_others_is_left_out_beside_them_alone() {
    let mut stage = Rehearsal::new(1, (1..=3).map(approved).collect());
    assert_eq!(next(&mut stage), [1, 2, 3]);
    stage.end(&[1, 2, 3], "conflict");
    stage.blame(&[1, 2, 3], &[3]);
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes[0].members, [1, 2]);
    assert_eq!(code(&answer, 3), "turn.later");
    stage.end(&[1, 2], "failed");
    assert_eq!(next(&mut stage), [1]);
    stage.end(&[1], "failed");
    assert_eq!(next(&mut stage), [2]);
    stage.end(&[2], "failed");
    // Those that it did not merge behind are out, and it is not.
    assert_eq!(next(&mut stage), [3]);
    // The first of a batch does not merge into the branch itself.
    let mut stage = Rehearsal::new(1, (1..=3).map(approved).collect());
    next(&mut stage);
    stage.end(&[1, 2, 3], "conflict");
    stage.blame(&[1, 2, 3], &[1]);
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes[0].members, [2, 3]);
    assert_eq!(code(&answer, 1), "tip.conflict");
}

/// A gate that fails holds what it was asked about, and nobody else.
#[test]
fn a_batch_that_passed_and_may_not_land_lets_others_go_on() {
    let mut stage = Rehearsal::new(1, (1..=2).map(approved).collect());
    assert_eq!(next(&mut stage), [1, 2]);
    stage.candidate(2).need = None;
    let answer = plan(&mut stage);
    assert_eq!(
        (answer.lanes[0].members.as_slice(), answer.lanes[0].landing),
        (&[1, 2][..], Landing::Hold)
    );
    stage.end(&[1, 2], "passed");
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes[0].members, [1]);
    assert_eq!(code(&answer, 2), "gate.unknown");
}

#[test]
fn one_that_nobody_can_decide_about_keeps_nobody_waiting() {
    rules::one_that_nobody_can_decide_about_keeps_nobody_waiting(plan);
}

proptest! {
    /// Whoever is bad, all that is good lands, nothing else does, and no set that failed on a tip is
    /// tested on that tip again. Of two that do not merge with each other one lands.
    #[test]
    fn all_that_is_good_lands(
        good in prop::collection::vec(any::<bool>(), 1..14),
        max in 1u32..9,
        blames in any::<bool>(),
        pushes in prop::collection::vec(any::<bool>(), 0..6),
        apart in prop::option::of((1u64..14, 1u64..14)),
    ) {
        let apart = apart.filter(|(one, other)| one < other);
        let mut stage = Rehearsal::new(1, (1..=good.len() as u64).map(approved).collect());
        let settings = Settings { max, ..Settings::default() };
        let step = |stage: &mut Rehearsal| {
            let answer = decide(&settings, &[], &stage.question);
            stage.follow(&answer);
        };
        let mut failed: Vec<(String, Vec<u64>)> = Vec::new();
        let mut pushes = pushes.into_iter();
        for _ in 0..400 {
            step(&mut stage);
            let Some(members) = stage.lanes("running").first().cloned() else { break };
            let mut set = members.clone();
            set.sort_unstable();
            let set = (stage.question.tip.clone(), set);
            prop_assert!(!failed.contains(&set), "again: {set:?}");
            prop_assert!(members.len() <= max as usize);
            if pushes.next() == Some(true) {
                stage.move_tip();
                continue;
            }
            let has = |number: u64| members.contains(&number) || stage.landed.contains(&number);
            if let Some((one, other)) = apart.filter(|(one, other)| has(*one) && has(*other)) {
                let mut places = members.iter().rev();
                let last = *places.find(|number| **number == one || **number == other).unwrap();
                stage.end(&members, "conflict");
                stage.blame(&members, &[last]);
                continue;
            }
            let bad: Vec<u64> = members.iter().copied().filter(|number| !good[*number as usize - 1]).collect();
            if bad.is_empty() {
                stage.end(&members, "passed");
                step(&mut stage);
                prop_assert!(stage.land());
            } else {
                stage.end(&members, "failed");
                failed.push(set);
                if blames {
                    stage.blame(&members, &bad);
                }
            }
        }
        let mut landed = stage.landed.clone();
        landed.sort_unstable();
        let mut wanted: Vec<u64> = (1..).zip(&good).filter(|(_, good)| **good).map(|(number, _)| number).collect();
        if let Some((one, other)) = apart && wanted.contains(&one) && wanted.contains(&other) {
            prop_assert!(landed.contains(&one) != landed.contains(&other));
            wanted.retain(|number| landed.contains(number) || (*number != one && *number != other));
        }
        prop_assert_eq!(landed, wanted);
    }
}
