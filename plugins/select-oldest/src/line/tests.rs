use pointsman_policy_kit::rehearsal::rules::{self, code};
use pointsman_policy_kit::rehearsal::{Rehearsal, approved, candidate, tagged};
use pointsman_sdk::{Approval, Dependency, Need, Verdict};
use proptest::prelude::*;

use super::*;

fn plan(rehearsal: &mut Rehearsal) -> Answer {
    let answer = decide(&Settings::default(), &[], &rehearsal.question);
    rehearsal.follow(&answer);
    answer
}

/// Members and landing of each lane.
fn lanes(answer: &Answer) -> Vec<(Vec<u64>, Landing)> {
    answer
        .lanes
        .iter()
        .map(|lane| (lane.members.clone(), lane.landing))
        .collect()
}

#[test]
fn the_first_approved_lands_first() {
    let mut first = approved(9);
    first.approved_at = Some(1);
    let mut stage = Rehearsal::new(2, vec![approved(3), first, approved(5), candidate(1)]);
    let answer = plan(&mut stage);
    assert_eq!(
        lanes(&answer),
        [(vec![9], Landing::WhenPassed), (vec![3], Landing::Hold)]
    );
    assert_eq!(
        (code(&answer, 5), code(&answer, 1)),
        ("turn.later", "review.pending")
    );
    // One behind it that passes waits for it, and lands once it has failed.
    stage.end(&[3], "passed");
    let answer = plan(&mut stage);
    assert_eq!(lanes(&answer)[1], (vec![3], Landing::Hold));
    assert!(!stage.land());
    stage.end(&[9], "failed");
    let answer = plan(&mut stage);
    assert_eq!(lanes(&answer)[0], (vec![3], Landing::WhenPassed));
    assert_eq!(code(&answer, 9), "tip.failed");
    assert!(stage.land());
    // At the new tip the one that failed comes last.
    let answer = plan(&mut stage);
    assert_eq!(
        lanes(&answer),
        [(vec![5], Landing::WhenPassed), (vec![9], Landing::Hold)]
    );
}

#[test]
fn priority_comes_before_age() {
    let mut stage = Rehearsal::new(1, vec![approved(1), tagged(approved(2), "priority", "5")]);
    assert_eq!(lanes(&plan(&mut stage)), [(vec![2], Landing::WhenPassed)]);
    // What runs is not sent away by it.
    stage
        .candidate(1)
        .tags
        .push(("priority".to_owned(), "9".to_owned()));
    assert_eq!(lanes(&plan(&mut stage)), [(vec![2], Landing::WhenPassed)]);
}

#[test]
fn free_slots_go_to_the_unapproved_and_are_given_up_again() {
    let mut stage = Rehearsal::new(2, vec![candidate(1), candidate(2), candidate(3)]);
    assert_eq!(
        lanes(&plan(&mut stage)),
        [(vec![1], Landing::Hold), (vec![2], Landing::Hold)]
    );
    // What passed and is approved later lands without another run.
    stage.end(&[1], "passed");
    plan(&mut stage);
    stage.candidate(1).approval = Approval::Approved;
    stage.candidate(1).approved_at = Some(7);
    let answer = plan(&mut stage);
    assert_eq!(lanes(&answer)[0], (vec![1], Landing::WhenPassed));
    assert!(stage.land());
    // The approved take the slots of previews, which begin anew later.
    plan(&mut stage);
    assert_eq!(stage.lanes("running").len(), 2);
    stage.question.candidates.extend([approved(8), approved(9)]);
    assert_eq!(
        lanes(&plan(&mut stage)),
        [(vec![8], Landing::WhenPassed), (vec![9], Landing::Hold)]
    );
}

#[test]
fn what_speaks_against_a_lane_is_said() {
    let need = |number, need| {
        let mut one = approved(number);
        one.need = need;
        one
    };
    let mut depends = approved(4);
    depends.depends = vec![Dependency {
        subject: "9".to_owned(),
        state: "open".to_owned(),
        attrs: Vec::new(),
    }];
    let mut rejected = candidate(5);
    rejected.approval = Approval::Rejected;
    let mut stage = Rehearsal::new(
        9,
        vec![
            need(1, Some(Need::Hold)),
            need(2, Some(Need::Fail)),
            need(3, None),
            depends,
            rejected,
        ],
    );
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes, []);
    let codes: Vec<&str> = (1..=5).map(|number| code(&answer, number)).collect();
    assert_eq!(
        codes,
        [
            "gate.hold",
            "gate.fail",
            "gate.unknown",
            "depends.open",
            "review.rejected"
        ]
    );
}

#[test]
fn a_frozen_branch_is_tested_and_not_moved() {
    let stage = Rehearsal::new(1, vec![approved(1)]);
    let attrs = [("frozen".to_owned(), "release".to_owned())];
    let answer = decide(&Settings::default(), &attrs, &stage.question);
    assert_eq!(lanes(&answer), [(vec![1], Landing::Hold)]);
    assert_eq!(answer.lanes[0].reason.code, "branch.frozen");
    assert!(answer.lanes[0].reason.text.contains("(release)"));
}

#[test]
fn what_people_ask_for_is_run_again_once() {
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    plan(&mut stage);
    stage.end(&[1], "failed");
    assert_eq!(plan(&mut stage).lanes, []);
    stage
        .candidate(1)
        .tags
        .push(("retest".to_owned(), "1".to_owned()));
    assert_eq!(plan(&mut stage).lanes.len(), 1);
    stage.end(&[1], "failed");
    assert_eq!(code(&plan(&mut stage), 1), "tip.failed");
    // A try is built once for each asking, even of what is rejected, and never lands.
    stage.candidate(1).approval = Approval::Rejected;
    stage.candidate(1).tags = vec![("try".to_owned(), "5".to_owned())];
    let answer = plan(&mut stage);
    assert_eq!(
        (answer.lanes[0].purpose.as_str(), answer.lanes[0].landing),
        ("try", Landing::Never)
    );
    assert_eq!(plan(&mut stage).lanes.len(), 1);
    stage.end(&[1], "passed");
    assert_eq!(plan(&mut stage).lanes, []);
}

#[test]
fn one_that_failed_before_waits_if_so_set() {
    let mut failed = approved(1);
    failed.before = Some(Verdict::Fail);
    let stage = Rehearsal::new(1, vec![failed, approved(2)]);
    let first = |failed_before| {
        let settings = Settings {
            failed_before,
            ..Settings::default()
        };
        let answer = decide(&settings, &[], &stage.question);
        (answer.lanes[0].members[0], code(&answer, 1).to_owned())
    };
    assert_eq!(first(FailedBefore::Last), (2, "turn.later".to_owned()));
    assert_eq!(first(FailedBefore::InOrder).0, 1);
    assert_eq!(
        first(FailedBefore::Never),
        (2, "tip.failed-before".to_owned())
    );
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
fn one_that_nobody_can_decide_about_keeps_nobody_waiting() {
    rules::one_that_nobody_can_decide_about_keeps_nobody_waiting(plan);
}

proptest! {
    /// Whatever the lanes come to, all that is good and approved lands, in the end, and nothing else.
    #[test]
    fn all_that_is_good_lands(
        kinds in prop::collection::vec((any::<bool>(), any::<bool>()), 1..8),
        slots in 1u32..4,
        pushes in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        let numbered = || (1u64..).zip(&kinds);
        let all = numbered().map(|(number, (_, is_approved))| if *is_approved { approved(number) } else { candidate(number) });
        let mut stage = Rehearsal::new(slots, all.collect());
        let mut pushes = pushes.into_iter();
        for _ in 0..200 {
            plan(&mut stage);
            let Some(members) = stage.lanes("running").last().cloned() else { break };
            if pushes.next() == Some(true) {
                stage.move_tip();
                continue;
            }
            let is_good = members.iter().all(|number| kinds[*number as usize - 1].0);
            stage.end(&members, if is_good { "passed" } else { "failed" });
            plan(&mut stage);
            while stage.land() {
                plan(&mut stage);
            }
        }
        let mut landed = stage.landed.clone();
        landed.sort_unstable();
        let good: Vec<u64> = numbered().filter(|(_, kind)| **kind == (true, true)).map(|(number, _)| number).collect();
        prop_assert_eq!(landed, good);
    }
}
