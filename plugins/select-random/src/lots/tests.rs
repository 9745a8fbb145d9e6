use pointsman_policy_kit::rehearsal::rules;
use pointsman_policy_kit::rehearsal::{Rehearsal, approved, candidate};
use pointsman_sdk::{Approval, Need, Verdict};
use proptest::prelude::*;

use super::*;

fn plan_with(stage: &mut Rehearsal, seed: u64) -> Answer {
    let answer = decide(&Settings::default(), &[], seed, &stage.question);
    stage.follow(&answer);
    answer
}

fn plan(stage: &mut Rehearsal) -> Answer {
    plan_with(stage, 7)
}

fn lanes(answer: &Answer) -> Vec<(Vec<u64>, Landing)> {
    answer
        .lanes
        .iter()
        .map(|lane| (lane.members.clone(), lane.landing))
        .collect()
}

#[test]
fn an_approved_one_is_drawn_else_any() {
    let mut stage = Rehearsal::new(1, vec![candidate(1), approved(2), candidate(3)]);
    assert_eq!(lanes(&plan(&mut stage)), [(vec![2], Landing::WhenPassed)]);
    stage.end(&[2], "failed");
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes.len(), 1);
    assert_eq!(answer.lanes[0].landing, Landing::Hold);
    assert_ne!(answer.lanes[0].members, [2]);
}

#[test]
fn what_runs_goes_on_and_lands_when_it_is_approved() {
    let mut stage = Rehearsal::new(1, vec![candidate(1)]);
    assert_eq!(lanes(&plan(&mut stage)), [(vec![1], Landing::Hold)]);
    stage.question.candidates.push(approved(2));
    assert_eq!(lanes(&plan(&mut stage)), [(vec![1], Landing::Hold)]);
    stage.end(&[1], "passed");
    plan(&mut stage);
    assert!(!stage.land());
    stage.candidate(1).approval = Approval::Approved;
    assert!(lanes(&plan(&mut stage)).contains(&(vec![1], Landing::WhenPassed)));
    assert!(stage.land());
    assert_eq!(stage.landed, [1]);
}

#[test]
fn what_passed_lands_though_its_lane_is_gone() {
    let mut one = approved(1);
    one.on_tip = Some(Verdict::Pass);
    let mut stage = Rehearsal::new(0, vec![one, approved(2)]);
    let answer = decide(&Settings::default(), &[], 7, &stage.question);
    assert_eq!(lanes(&answer), [(vec![1], Landing::WhenPassed)]);
    assert_eq!(answer.lanes[0].reason.code, "draw.passed");
    // Frozen, it waits; held by the gate, it has no lane.
    let frozen = [("frozen".to_owned(), "true".to_owned())];
    let answer = decide(&Settings::default(), &frozen, 7, &stage.question);
    assert_eq!(lanes(&answer), [(vec![1], Landing::Hold)]);
    stage.candidate(1).need = Some(Need::Hold);
    assert_eq!(
        decide(&Settings::default(), &[], 7, &stage.question).lanes,
        []
    );
}

#[test]
fn green_without_a_run_lands_by_a_lane_of_its_own() {
    let mut green = approved(1);
    green.need = Some(Need::Pass);
    let mut waiting = candidate(2);
    waiting.need = Some(Need::Pass);
    let mut stage = Rehearsal::new(2, vec![green, waiting]);
    assert_eq!(lanes(&plan(&mut stage)), [(vec![1], Landing::WhenPassed)]);
}

#[test]
fn the_bare_target_is_run_once_a_tip() {
    let settings = Settings {
        baseline: true,
        ..Settings::default()
    };
    rules::the_bare_target_is_run_once_a_tip(|stage| {
        let answer = decide(&settings, &[], 7, &stage.question);
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

/// Heads that passed and wait for their approval stay in the plan, and leave room for those that may land.
#[test]
fn many_that_wait_for_their_approval_keep_nobody_waiting() {
    let mut stage = Rehearsal::new(30, (1..=210).map(candidate).collect());
    for _ in 0..8 {
        plan(&mut stage);
        for lane in stage.lanes("running") {
            stage.end(&lane, "passed");
        }
    }
    stage.question.candidates.push(approved(301));
    assert!(lanes(&plan(&mut stage)).contains(&(vec![301], Landing::WhenPassed)));
    // And whoever of them is approved lands, though it has no lane any more.
    stage.end(&[301], "failed");
    let held = lanes(&plan(&mut stage));
    let other = (1..=210).find(|number| !held.iter().any(|(members, _)| members == &[*number]));
    let other = other.expect("there are more than there are places");
    stage.candidate(other).approval = Approval::Approved;
    stage.candidate(other).approved_at = Some(1);
    assert!(lanes(&plan(&mut stage)).contains(&(vec![other], Landing::WhenPassed)));
}

#[test]
fn one_that_nobody_can_decide_about_keeps_nobody_waiting() {
    rules::one_that_nobody_can_decide_about_keeps_nobody_waiting(plan);
}

proptest! {
    /// The pick stays put: for the same tip and seed it does not depend on who else is there, unless the
    /// other one's lot is higher.
    #[test]
    fn the_pick_stays_put(seed in any::<u64>(), count in 1u64..12, newcomer in 20u64..30) {
        let mut stage = Rehearsal::new(1, (1..=count).map(approved).collect());
        let first = plan_with(&mut stage.clone(), seed).lanes[0].members[0];
        stage.question.candidates.push(approved(newcomer));
        let second = plan_with(&mut stage.clone(), seed).lanes[0].members[0];
        prop_assert!(second == first || second == newcomer);
        prop_assert_eq!(second, plan_with(&mut stage, seed).lanes[0].members[0]);
    }

    /// Whatever is drawn, all that is good and approved lands in the end, and nothing else.
    #[test]
    fn all_that_is_good_lands(
        kinds in prop::collection::vec((any::<bool>(), any::<bool>()), 1..8),
        slots in 1u32..4,
        seed in any::<u64>(),
    ) {
        let numbered = || (1u64..).zip(&kinds);
        let all = numbered().map(|(number, (_, is_approved))| if *is_approved { approved(number) } else { candidate(number) });
        let mut stage = Rehearsal::new(slots, all.collect());
        for _ in 0..200 {
            plan_with(&mut stage, seed);
            while stage.land() {
                plan_with(&mut stage, seed);
            }
            let Some(members) = stage.lanes("running").last().cloned() else { break };
            let is_good = members.iter().all(|number| kinds[*number as usize - 1].0);
            stage.end(&members, if is_good { "passed" } else { "failed" });
        }
        let mut landed = stage.landed.clone();
        landed.sort_unstable();
        let good: Vec<u64> = numbered().filter(|(_, kind)| **kind == (true, true)).map(|(number, _)| number).collect();
        prop_assert_eq!(landed, good);
    }

    /// Over seeds nobody is left out.
    #[test]
    fn everybody_is_drawn_by_some_seed(count in 2u64..6) {
        let stage = Rehearsal::new(1, (1..=count).map(approved).collect());
        let mut drawn: Vec<u64> = (0..200).map(|seed| plan_with(&mut stage.clone(), seed).lanes[0].members[0]).collect();
        drawn.sort_unstable();
        drawn.dedup();
        prop_assert_eq!(drawn.len() as u64, count);
    }
}
