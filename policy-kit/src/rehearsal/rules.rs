//! What every stock policy of `select` keeps to, whatever it picks: each is a test of each of them. `plan` asks the
//! policy with its default settings and lets the host follow.

use pointsman_sdk::select::Answer;

use super::{Rehearsal, approved};

/// Why a pull request is in no lane, by its code; empty: the answer says nothing of it.
#[must_use]
pub fn code(answer: &Answer, number: u64) -> &str {
    let of = |waiting: &&pointsman_sdk::select::Waiting| waiting.numbers.contains(&number);
    let waiting = answer.waiting.iter().find(of);
    waiting.map_or("", |waiting| waiting.reason.code.as_str())
}

/// The bare target is run once a tip; `plan` asks with `baseline`.
#[track_caller]
pub fn the_bare_target_is_run_once_a_tip(mut plan: impl FnMut(&mut Rehearsal) -> Answer) {
    let mut ask = |stage: &mut Rehearsal| plan(stage).lanes.len();
    let mut stage = Rehearsal::new(1, vec![]);
    for _ in 0..2 {
        assert_eq!((ask(&mut stage), ask(&mut stage)), (1, 1));
        assert_eq!(stage.lanes("running").len(), 1);
        stage.end(&[], "passed");
        assert_eq!(ask(&mut stage), 0);
        // The host tells of it after it has stopped to tell of its lane.
        stage.question.lanes.clear();
        assert_eq!(ask(&mut stage), 0);
        stage = Rehearsal::new(1, vec![]);
        stage.move_tip();
    }
}

/// A head whose branch is gone is not tested.
#[track_caller]
pub fn a_head_whose_branch_is_gone_is_not_tested(plan: impl Fn(&mut Rehearsal) -> Answer) {
    let mut stage = Rehearsal::new(2, vec![approved(1), approved(2)]);
    stage.tag(1, "host.head-gone", "true");
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes.len(), 1);
    assert_eq!(answer.lanes[0].members, [2]);
    assert_eq!(code(&answer, 1), "head.gone");
}

/// `pointsman pr retest`, where no `gate` hands anything on: another run is made for each asking.
#[track_caller]
pub fn another_run_is_made_for_each_asking(plan: impl Fn(&mut Rehearsal) -> Answer) {
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    plan(&mut stage);
    for count in ["1", "2"] {
        stage.end(&[1], "failed");
        assert_eq!(code(&plan(&mut stage), 1), "tip.failed");
        stage.tag(1, "retest.count", count);
        assert_eq!(plan(&mut stage).lanes.len(), 1);
    }
    stage.end(&[1], "passed");
    plan(&mut stage);
    assert!(stage.land());
}

/// What the host gave up keeps nobody waiting.
#[track_caller]
pub fn what_was_given_up_keeps_nobody_waiting(plan: impl Fn(&mut Rehearsal) -> Answer) {
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    plan(&mut stage);
    stage.end(&[1], "lane.contained");
    stage.question.candidates.push(approved(2));
    let answer = plan(&mut stage);
    assert_eq!(answer.lanes[0].members, [2]);
    assert_eq!(code(&answer, 1), "tip.given-up");
}

/// A policy that cannot answer about one lane holds nobody else up.
#[track_caller]
pub fn one_that_nobody_can_decide_about_keeps_nobody_waiting(
    plan: impl Fn(&mut Rehearsal) -> Answer,
) {
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    plan(&mut stage);
    stage.hold(&[1], true);
    stage.question.candidates.push(approved(2));
    for _ in 0..2 {
        let answer = plan(&mut stage);
        let lanes: Vec<&[u64]> = answer.lanes.iter().map(|lane| &*lane.members).collect();
        assert!(
            lanes.contains(&&[1][..]) && lanes.contains(&&[2][..]),
            "{lanes:?}"
        );
        assert_eq!(stage.lanes("cancelled").len(), 0);
    }
    stage.end(&[2], "passed");
    plan(&mut stage);
    assert!(stage.land());
    assert_eq!(stage.landed, [2]);
    // It is tested anew on what is there now.
    plan(&mut stage);
    stage.end(&[1], "passed");
    plan(&mut stage);
    assert!(stage.land());
}
