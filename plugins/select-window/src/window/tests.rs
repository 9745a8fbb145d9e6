use pointsman_policy_kit::rehearsal::rules::{self, code};
use pointsman_policy_kit::rehearsal::{Rehearsal, approved, candidate, tagged};
use pointsman_sdk::select::Landing;
use pointsman_sdk::{Approval, Dependency, check_settings};
use proptest::prelude::*;

use super::*;
use crate::Window as Policy;

fn plan(stage: &mut Rehearsal) -> Answer {
    let answer = decide(&Settings::default(), &[], &stage.question);
    stage.follow(&answer);
    answer
}

/// The members of the lanes, each of which stands on the one before it.
#[track_caller]
fn line(stage: &mut Rehearsal) -> Vec<u64> {
    let answer = plan(stage);
    for (place, lane) in (0..).zip(&answer.lanes) {
        assert_eq!(lane.on, u32::checked_sub(place, 1), "{answer:?}");
        assert_eq!(lane.landing, Landing::WhenPassed);
    }
    let members = answer.lanes.into_iter().map(|lane| lane.members);
    members.flatten().collect()
}

#[test]
fn each_is_tested_on_top_of_the_one_before() {
    let all = (1..=4).map(approved).chain([candidate(5)]);
    let mut stage = Rehearsal::new(3, all.collect());
    let answer = plan(&mut stage);
    let codes: Vec<&str> = answer
        .lanes
        .iter()
        .map(|lane| lane.reason.code.as_str())
        .collect();
    assert_eq!(codes, ["window.first", "window.behind", "window.behind"]);
    assert_eq!(
        answer.lanes[2].reason.text,
        "#3 is tested on top of #1 and #2, and lands after."
    );
    assert_eq!(
        (code(&answer, 4), code(&answer, 5)),
        ("turn.later", "review.pending")
    );
    assert_eq!(line(&mut stage), [1, 2, 3]);
    // What passed gives its slot up, and waits for those before it.
    stage.end(&[2], "passed");
    assert!(!stage.land());
    assert_eq!(line(&mut stage), [1, 2, 3, 4]);
    // It lands on what it was tested on, with no other run, and what stands on it goes on.
    stage.end(&[1], "passed");
    line(&mut stage);
    assert!(stage.land());
    assert_eq!(line(&mut stage), [2, 3, 4]);
    assert!(stage.land());
    assert_eq!(line(&mut stage), [3, 4]);
    assert_eq!(stage.lanes("running"), [[3], [4]]);
    assert_eq!(stage.lanes("cancelled"), [[0; 0]; 0]);
}

#[test]
fn one_that_fails_at_the_front_is_out_and_the_others_begin_anew() {
    let mut stage = Rehearsal::new(3, (1..=3).map(approved).collect());
    line(&mut stage);
    stage.end(&[1], "failed");
    assert_eq!(stage.lanes("cancelled"), [[3], [2]]);
    let answer = plan(&mut stage);
    assert_eq!(code(&answer, 1), "tip.failed");
    assert_eq!(line(&mut stage), [2, 3]);
    // Once the branch has moved it is tested again, when nobody else is there.
    stage.end(&[2], "passed");
    line(&mut stage);
    assert!(stage.land());
    assert_eq!(line(&mut stage), [3]);
    assert_eq!(code(&plan(&mut stage), 1), "turn.later");
    stage.end(&[3], "passed");
    line(&mut stage);
    assert!(stage.land());
    assert_eq!(line(&mut stage), [1]);
}

#[test]
fn whether_one_in_the_middle_is_to_blame_those_before_it_decide() {
    for front in ["passed", "failed"] {
        let mut stage = Rehearsal::new(4, (1..=4).map(approved).collect());
        line(&mut stage);
        stage.end(&[2], "failed");
        assert_eq!(stage.lanes("cancelled"), [[4], [3]]);
        let answer = plan(&mut stage);
        assert_eq!(code(&answer, 2), "window.undecided");
        let why = answer.waiting[0].reason.text.as_str();
        assert!(why.starts_with("It failed on top of #1, of which"), "{why}");
        assert_eq!(line(&mut stage), [1, 3, 4]);
        stage.end(&[1], front);
        let next = line(&mut stage);
        if front == "passed" {
            // It failed on exactly what the branch is now.
            assert_eq!(next, [1, 3, 4]);
            assert!(stage.land());
            let answer = plan(&mut stage);
            assert_eq!(code(&answer, 2), "tip.failed");
            assert_eq!(line(&mut stage), [3, 4]);
        } else {
            // What it failed on is gone, and says nothing of it.
            assert_eq!(next, [2, 3, 4]);
        }
    }
}

#[test]
fn one_that_does_not_merge_on_top_of_another_waits_for_that() {
    let mut stage = Rehearsal::new(2, (1..=2).map(approved).collect());
    line(&mut stage);
    stage.end(&[2], "conflict");
    assert_eq!(code(&plan(&mut stage), 2), "window.undecided");
    stage.end(&[1], "passed");
    line(&mut stage);
    assert!(stage.land());
    assert_eq!(code(&plan(&mut stage), 2), "tip.conflict");
}

#[test]
fn one_that_is_no_longer_approved_leaves_those_before_it_alone() {
    let mut stage = Rehearsal::new(4, (1..=4).map(approved).collect());
    line(&mut stage);
    stage.candidate(2).approval = Approval::Rejected;
    assert_eq!(line(&mut stage), [1, 3, 4]);
    assert_eq!(stage.lanes("running"), [[1], [3], [4]]);
    assert_eq!(stage.lanes("cancelled").len(), 3);
    // So does one that people push to, or hold.
    stage.push(3);
    assert_eq!(line(&mut stage), [1, 3, 4]);
    stage.candidate(4).need = None;
    assert_eq!(line(&mut stage), [1, 3]);
    stage.tag(1, "host.head-gone", "true");
    assert_eq!(line(&mut stage), [3]);
}

#[test]
fn who_comes_later_stands_behind_however_urgent() {
    let mut stage = Rehearsal::new(3, (1..=2).map(approved).collect());
    line(&mut stage);
    let urgent = tagged(approved(9), "priority", "5");
    stage.question.candidates.push(urgent);
    assert_eq!(line(&mut stage), [1, 2, 9]);
    // When all begin anew it is the first of them.
    stage.end(&[1], "failed");
    assert_eq!(line(&mut stage), [9, 2]);
}

#[test]
fn lanes_without_a_commit_keep_their_order() {
    let mut stage = Rehearsal::new(4, (1..=4).map(approved).collect());
    stage.builds_late = true;
    assert_eq!(line(&mut stage), [1, 2, 3, 4]);
    assert_eq!(line(&mut stage), [1, 2, 3, 4]);
    assert_eq!(stage.lanes("cancelled").len(), 0);
    assert_eq!(stage.lanes("waiting"), [[2], [3], [4]]);
    // The host sees that what they stand on is another one.
    stage.candidate(2).approval = Approval::Rejected;
    assert_eq!(line(&mut stage), [1, 3, 4]);
    stage.build();
    assert_eq!(line(&mut stage), [1, 3, 4]);
    assert_eq!(stage.stack(&[4]), [1, 3, 4]);
}

#[test]
fn what_depends_on_another_stands_on_it() {
    let depends = |number: u64, on: &str| Candidate {
        depends: vec![Dependency {
            subject: on.to_owned(),
            state: "open".to_owned(),
            attrs: Vec::new(),
        }],
        ..approved(number)
    };
    let all = vec![depends(1, "3"), approved(2), approved(3), depends(4, "9")];
    let mut stage = Rehearsal::new(4, all);
    assert_eq!(code(&plan(&mut stage), 4), "depends.open");
    assert_eq!(line(&mut stage), [2, 3, 1]);
}

#[test]
fn a_frozen_branch_is_tested_and_not_moved() {
    let frozen = [("frozen".to_owned(), "release".to_owned())];
    let stage = Rehearsal::new(2, (1..=2).map(approved).collect());
    let answer = decide(&Settings::default(), &frozen, &stage.question);
    assert_eq!(answer.lanes.len(), 2);
    for lane in &answer.lanes {
        assert_eq!(
            (lane.landing, lane.reason.code.as_str()),
            (Landing::Hold, "branch.frozen")
        );
    }
}

#[test]
fn another_run_begins_a_new_line_from_there() {
    let mut stage = Rehearsal::new(3, (1..=3).map(approved).collect());
    line(&mut stage);
    stage.tag(2, "retest.count", "1");
    line(&mut stage);
    assert_eq!(stage.lanes("cancelled").len(), 2);
    assert_eq!(stage.lanes("running")[0], [1]);
    stage.end(&[1], "failed");
    stage.tag(1, "retest.count", "1");
    assert_eq!(line(&mut stage), [1, 2, 3]);
}

#[test]
fn a_window_has_a_size_and_leaves_the_rest_to_others() {
    assert_eq!(check_settings::<Policy>("{}"), Ok(()));
    for wrong in [r#"{"max": 0}"#, r#"{"max": 65}"#] {
        let problems = check_settings::<Policy>(wrong).unwrap_err();
        assert_eq!(problems[0].field, "/max");
    }
    let settings = Settings {
        max: 2,
        test_unapproved: true,
        baseline: true,
    };
    let all = (1..=3).map(approved).chain([candidate(9)]);
    let mut stage = Rehearsal::new(4, all.collect());
    for _ in 0..2 {
        let answer = decide(&settings, &[], &stage.question);
        stage.follow(&answer);
        assert_eq!(stage.lanes("running"), [vec![1], vec![2], vec![], vec![9]]);
        assert_eq!(code(&answer, 3), "turn.later");
    }
    // What another policy began goes on, if it may be the first; a preview that is approved comes behind.
    stage.candidate(9).approval = Approval::Approved;
    stage.candidate(9).approved_at = Some(0);
    let settings = Settings { max: 4, ..settings };
    let answer = decide(&settings, &[], &stage.question);
    stage.follow(&answer);
    let members: Vec<u64> = answer
        .lanes
        .iter()
        .flat_map(|lane| lane.members.clone())
        .collect();
    assert_eq!(members, [1, 2, 9, 3]);
}

/// What stands on it could not land: the next ones stand beside it.
#[test]
fn nobody_stands_on_one_that_nobody_can_decide_about() {
    let mut stage = Rehearsal::new(3, (1..=3).map(approved).collect());
    line(&mut stage);
    stage.hold(&[2], true);
    for _ in 0..2 {
        let answer = plan(&mut stage);
        let mut lanes: Vec<(u64, Option<u32>)> = answer
            .lanes
            .iter()
            .map(|lane| (lane.members[0], lane.on))
            .collect();
        lanes.sort_unstable();
        assert_eq!(lanes, [(1, None), (2, Some(0)), (3, Some(0))]);
    }
    stage.end(&[1], "passed");
    plan(&mut stage);
    assert!(stage.land());
    // Once somebody can decide again it comes behind those that went on meanwhile.
    stage.hold(&[2], false);
    let answer = plan(&mut stage);
    let lanes: Vec<(u64, Option<u32>)> = answer
        .lanes
        .iter()
        .map(|lane| (lane.members[0], lane.on))
        .collect();
    assert_eq!(lanes, [(3, None), (2, Some(0))]);
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
    /// In whatever order lanes end, whoever is bad, whoever breaks another: all that is good lands, nothing
    /// else does, what lands was tested on exactly what landed before it, and nothing is tested twice on the
    /// same commit.
    #[test]
    fn all_that_is_good_lands(
        good in prop::collection::vec(prop::bool::weighted(0.7), 1..9),
        apart in prop::option::of((1u64..9, 1u64..9)),
        merges in any::<bool>(),
        slots in 1u32..5,
        max in 1u32..6,
        builds_late in any::<bool>(),
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0u8..20), 300),
    ) {
        let apart = apart.filter(|(one, other)| one < other && *other <= good.len() as u64);
        let mut stage = Rehearsal::new(slots, (1..=good.len() as u64).map(approved).collect());
        stage.builds_late = builds_late;
        let settings = Settings { max, ..Settings::default() };
        let mut pushes = 0;
        for (which, what) in steps {
            let answer = decide(&settings, &[], &stage.question);
            prop_assert!(answer.lanes.len() <= max as usize);
            stage.follow(&answer);
            if what == 0 && pushes < 3 {
                pushes += 1;
                stage.move_tip();
                continue;
            }
            if stage.builds_late {
                stage.build();
            }
            if what % 2 == 0 && stage.land() {
                continue;
            }
            let running = stage.lanes("running");
            if running.is_empty() {
                if !stage.land() && answer.lanes.is_empty() {
                    break;
                }
                continue;
            }
            let members = which.get(&running).clone();
            let stack = stage.stack(&members);
            let mut there: Vec<u64> = stage.landed.clone();
            there.extend(&stack);
            let breaks = apart.is_some_and(|(one, other)| there.contains(&one) && there.contains(&other));
            let is_bad = stack.iter().any(|number| !good[*number as usize - 1]);
            let state = match (breaks, is_bad) {
                (true, _) if merges => "failed",
                // The one above does not merge, wherever the other one is.
                (true, _) if apart.is_some_and(|(one, other)| members == [one] || members == [other]) => "conflict",
                (_, true) | (true, _) => "failed",
                _ => "passed",
            };
            stage.end(&members, state);
        }
        let mut landed = stage.landed.clone();
        landed.sort_unstable();
        let mut wanted: Vec<u64> = (1..).zip(&good).filter(|(_, good)| **good).map(|(number, _)| number).collect();
        if let Some((one, other)) = apart && wanted.contains(&one) && wanted.contains(&other) {
            prop_assert!(landed.contains(&one) != landed.contains(&other), "{landed:?}");
            wanted.retain(|number| landed.contains(number) || (*number != one && *number != other));
        }
        prop_assert_eq!(landed, wanted);
    }
}
