//! The planner of lanes: examples of each rule, and properties over random plans.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::policy::wit::select;
use crate::policy::wit::types::{Basis, Reason};

mod jobs;

const TIP: &str = "1111111111111111111111111111111111111111";

fn rails() -> Rails<'static> {
    Rails {
        target: "main",
        tip: TIP,
        slots: 2,
        frozen: None,
        at: DateTime::UNIX_EPOCH,
    }
}

fn head(number: i32) -> String {
    format!("{number:040x}")
}

fn candidate(number: i32, approval: Approval) -> Candidate {
    Candidate {
        id: i64::from(number) + 100,
        number,
        head: head(number),
        author: "ann".to_owned(),
        labels: vec![],
        opened_at: DateTime::UNIX_EPOCH,
        draft: false,
        head_gone: false,
        retests: 0,
        approval,
        approved_at: None,
        need: Some(Need::Run),
        tags: Attrs::new(),
        on_tip: None,
        before: None,
        runs: 0,
        conflict: false,
        depends: vec![],
    }
}

fn reason() -> Reason {
    Reason {
        code: "why".to_owned(),
        text: "because".to_owned(),
        details: vec![],
    }
}

fn basis() -> Basis {
    Basis {
        reason: reason(),
        wake_at: None,
        notes: vec![],
        tags: vec![],
        attrs: vec![],
    }
}

fn wish(members: &[u64], landing: select::Landing) -> select::Lane {
    select::Lane {
        members: members.to_vec(),
        on: None,
        purpose: "merge".to_owned(),
        landing,
        priority: 0,
        reason: reason(),
        attrs: vec![],
    }
}

fn answer(lanes: Vec<select::Lane>) -> select::Answer {
    select::Answer {
        lanes,
        waiting: vec![],
        basis: basis(),
    }
}

fn plan(
    candidates: &[Candidate],
    there: &mut Vec<Lane>,
    ended: &[Lane],
    wishes: Vec<select::Lane>,
) -> Result<Wanted, &'static str> {
    lanes(&rails(), candidates, there, ended, 0, &answer(wishes)).map_err(|refused| refused.code)
}

fn with_ids(lanes: &mut [Lane]) {
    for (place, lane) in lanes.iter_mut().enumerate() {
        lane.id.get_or_insert(place as i64 + 1);
    }
}

#[test]
fn what_stays_in_the_plan_is_kept_and_what_is_gone_is_cancelled() {
    let candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Pending),
    ];
    let mut there = vec![];
    let both = vec![
        wish(&[1], select::Landing::WhenPassed),
        wish(&[2], select::Landing::Hold),
    ];
    plan(&candidates, &mut there, &[], both).unwrap();
    with_ids(&mut there);
    assert_eq!(promote(&rails(), &mut there), [0, 1]);
    there[0].go(LaneState::Running, rails().at);
    // The second one is wanted no more; the first is to wait with landing.
    plan(
        &candidates,
        &mut there,
        &[],
        vec![wish(&[1], select::Landing::Hold)],
    )
    .unwrap();
    assert_eq!(there.len(), 2);
    assert_eq!(
        (there[0].state, there[0].landing),
        (LaneState::Running, Landing::Hold)
    );
    assert_eq!(there[1].state, LaneState::Cancelled);
    assert!(there[1].ended);
}

#[test]
fn what_is_not_there_refuses_the_whole_answer() {
    let mut draft = candidate(3, Approval::Approved);
    draft.draft = true;
    let candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
        draft,
    ];
    let landing = select::Landing::WhenPassed;
    let refused = |wishes| plan(&candidates, &mut vec![], &[], wishes).unwrap_err();
    assert_eq!(refused(vec![wish(&[9], landing)]), "unknown-pull-request");
    assert_eq!(refused(vec![wish(&[3], landing)]), "unknown-pull-request");
    assert_eq!(refused(vec![wish(&[1, 1], landing)]), "named-twice");
    assert_eq!(
        refused(vec![wish(&[1], landing), wish(&[1], landing)]),
        "named-twice"
    );
    assert_eq!(refused(vec![wish(&[], landing)]), "bad-landing");
    let itself = select::Lane {
        on: Some(0),
        ..wish(&[1], landing)
    };
    assert_eq!(refused(vec![itself]), "bad-base");
    for (key, value, code) in [
        ("speed", "11", "unknown-attr"),
        ("merge.method", "rebase", "bad-attr"),
        ("base", "tail", "bad-attr"),
    ] {
        let odd = select::Lane {
            attrs: vec![(key.to_owned(), value.to_owned())],
            ..wish(&[1], landing)
        };
        assert_eq!(refused(vec![odd]), code, "{key}");
    }
    let groundless = select::Lane {
        reason: Reason {
            code: String::new(),
            ..reason()
        },
        ..wish(&[1], landing)
    };
    assert_eq!(refused(vec![groundless]), "reason-code");
    let thousand: Vec<select::Lane> = (0..1_000).map(|_| wish(&[1], landing)).collect();
    assert_eq!(refused(thousand), "too-many-lanes");
}

#[test]
fn what_failed_on_this_tip_is_not_started_again_until_somebody_asks() {
    let mut candidates = [candidate(1, Approval::Approved)];
    let mut there = vec![];
    let again = || vec![wish(&[1], select::Landing::WhenPassed)];
    plan(&candidates, &mut there, &[], again()).unwrap();
    with_ids(&mut there);
    there[0].end(LaneState::Failed, Why::host("job.failed", "no"), rails().at);
    let ended = std::mem::take(&mut there);
    let wanted = plan(&candidates, &mut there, &ended, again()).unwrap();
    assert_eq!(
        (there.len(), wanted.waiting[0].1.code.as_str()),
        (0, "lane.tried")
    );
    candidates[0].retests = 1;
    plan(&candidates, &mut there, &ended, again()).unwrap();
    assert_eq!(there.len(), 1);
    // On another tip it is another question.
    candidates[0].retests = 0;
    let elsewhere = Rails {
        tip: "2222222222222222222222222222222222222222",
        ..rails()
    };
    let mut there = vec![];
    lanes(
        &elsewhere,
        &candidates,
        &mut there,
        &ended,
        0,
        &answer(again()),
    )
    .unwrap();
    assert_eq!(there.len(), 1);
}

#[test]
fn a_lane_on_a_lane_survives_the_landing_of_the_lower_one() {
    let candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
    ];
    let mut there = vec![];
    let upper = select::Lane {
        on: Some(0),
        ..wish(&[2], select::Landing::WhenPassed)
    };
    plan(
        &candidates,
        &mut there,
        &[],
        vec![wish(&[1], select::Landing::WhenPassed), upper.clone()],
    )
    .unwrap();
    with_ids(&mut there);
    there[1].on = Some(On::Lane(1));
    assert_eq!(
        promote(&rails(), &mut there),
        [0],
        "the upper one has no base yet"
    );
    let below = head(77);
    there[0].commit = Some(below.clone());
    there[1].base = Some(below.clone());
    for lane in &mut there {
        lane.go(LaneState::Running, rails().at);
        lane.pass(Why::host("job.passed", "yes"), rails().at);
    }
    assert_eq!(landable(&rails(), &candidates, &mut there), Some(0));
    assert_eq!(there[1].held.as_ref().unwrap().0, "land.below");
    // It landed: the tip is its commit, and the upper one stands on that.
    there[0].end(LaneState::Landed, Why::default(), rails().at);
    let rails = Rails {
        tip: &below,
        ..rails()
    };
    let mut there = vec![there[1].clone()];
    stale(&rails, &mut there);
    assert_eq!(there[0].state, LaneState::Passed);
    let candidates = [candidates[1].clone()];
    lanes(
        &rails,
        &candidates,
        &mut there,
        &[],
        0,
        &answer(vec![wish(&[2], select::Landing::WhenPassed)]),
    )
    .unwrap();
    assert_eq!(there.len(), 1, "it is the lane that the plan means");
    assert_eq!(landable(&rails, &candidates, &mut there), Some(0));
}

#[test]
fn a_tip_that_moved_outside_ends_the_whole_stack() {
    let candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
    ];
    let mut there = vec![];
    let upper = select::Lane {
        on: Some(0),
        ..wish(&[2], select::Landing::WhenPassed)
    };
    plan(
        &candidates,
        &mut there,
        &[],
        vec![wish(&[1], select::Landing::WhenPassed), upper],
    )
    .unwrap();
    with_ids(&mut there);
    there[1].on = Some(On::Lane(1));
    let rails = Rails {
        tip: "2222222222222222222222222222222222222222",
        ..rails()
    };
    stale(&rails, &mut there);
    assert!(there.iter().all(|lane| lane.state == LaneState::Cancelled));
}

fn passed(candidates: &[Candidate]) -> Vec<Lane> {
    let mut there = vec![];
    plan(
        candidates,
        &mut there,
        &[],
        vec![wish(&[1], select::Landing::WhenPassed)],
    )
    .unwrap();
    with_ids(&mut there);
    there[0].pass(Why::host("job.passed", "yes"), rails().at);
    there
}

#[test]
fn nothing_lands_that_is_not_approved_as_it_was_tested() {
    let good = candidate(1, Approval::Approved);
    let blocked = |change: &dyn Fn(&mut Candidate)| {
        let mut changed = good.clone();
        let mut there = passed(std::slice::from_ref(&good));
        change(&mut changed);
        assert_eq!(landable(&rails(), &[changed], &mut there), None);
        there[0].held.clone().unwrap().0
    };
    assert_eq!(
        blocked(&|c| c.approval = Approval::Pending),
        "land.unapproved"
    );
    assert_eq!(
        blocked(&|c| c.approval = Approval::Rejected),
        "land.unapproved"
    );
    assert_eq!(blocked(&|c| c.head = head(9)), "land.head-moved");
    assert_eq!(blocked(&|c| c.draft = true), "land.draft");
    assert_eq!(blocked(&|c| c.need = Some(Need::Hold)), "land.gate");
    assert_eq!(blocked(&|c| c.need = None), "land.gate");
    let mut there = passed(std::slice::from_ref(&good));
    assert_eq!(landable(&rails(), &[], &mut there), None);
    let mut there = passed(std::slice::from_ref(&good));
    let frozen = Rails {
        frozen: Some("release"),
        ..rails()
    };
    assert_eq!(
        landable(&frozen, std::slice::from_ref(&good), &mut there),
        None
    );
    assert_eq!(there[0].held.as_ref().unwrap().0, "land.frozen");
    let mut there = passed(std::slice::from_ref(&good));
    assert_eq!(
        landable(&rails(), std::slice::from_ref(&good), &mut there),
        Some(0)
    );
    assert_eq!(there[0].state, LaneState::Landing);
}

#[test]
fn with_nothing_bound_the_oldest_approved_has_the_one_lane() {
    let mut candidates = vec![
        candidate(1, Approval::Pending),
        candidate(2, Approval::Approved),
        candidate(3, Approval::Approved),
    ];
    candidates[1].approved_at = DateTime::from_timestamp(20, 0);
    candidates[2].approved_at = DateTime::from_timestamp(10, 0);
    let chosen = oldest_approved(&candidates, &[]);
    assert_eq!(chosen.lanes[0].members, [3]);
    // What failed on this tip does not come again and again.
    candidates[2].on_tip = Some(Verdict::Fail);
    assert_eq!(oldest_approved(&candidates, &[]).lanes[0].members, [2]);
}

#[test]
fn with_nothing_bound_a_lane_goes_on_as_long_as_nothing_has_to_land_before_it() {
    let mut candidates = vec![
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
    ];
    candidates[0].approved_at = DateTime::from_timestamp(20, 0);
    candidates[1].approved_at = DateTime::from_timestamp(10, 0);
    let mut there = vec![];
    let first = vec![wish(&[1], select::Landing::WhenPassed)];
    plan(&candidates, &mut there, &[], first).unwrap();
    with_ids(&mut there);
    assert_eq!(oldest_approved(&candidates, &there).lanes[0].members, [1]);
    candidates[0].depends.push(Depend {
        subject: "2".to_owned(),
        state: "open".to_owned(),
        how: "line",
    });
    assert_eq!(oldest_approved(&candidates, &there).lanes[0].members, [2]);
}

/// A plan over candidates 1 to 6, some of which stand on others.
fn wishes() -> impl Strategy<Value = Vec<select::Lane>> {
    let lane = (
        prop::collection::vec(1_u64..8, 0..4),
        prop::option::of(0_u32..4),
        0_u8..3,
        -5_i32..5,
    );
    prop::collection::vec(lane, 0..6).prop_map(|lanes| {
        lanes
            .into_iter()
            .map(|(members, on, landing, priority)| select::Lane {
                on,
                priority,
                ..wish(
                    &members,
                    [
                        select::Landing::Never,
                        select::Landing::Hold,
                        select::Landing::WhenPassed,
                    ][usize::from(landing)],
                )
            })
            .collect()
    })
}

proptest! {
    /// Whatever policies wish, one plan after the other: slots hold, nothing is twice, what is refused changes
    /// nothing, and what may land is approved.
    #[test]
    fn no_wish_breaks_a_rule(plans in prop::collection::vec(wishes(), 1..6), approved in prop::collection::vec(any::<bool>(), 6)) {
        let candidates: Vec<Candidate> = (1..=6)
            .zip(&approved)
            .map(|(n, yes)| candidate(n, if *yes { Approval::Approved } else { Approval::Pending }))
            .collect();
        let mut there: Vec<Lane> = vec![];
        for wishes in plans {
            let before = there.clone();
            let asked = answer(wishes);
            if lanes(&rails(), &candidates, &mut there, &[], 0, &asked).is_err() {
                prop_assert_eq!(&before, &there);
                continue;
            }
            promote(&rails(), &mut there);
            let works = there.iter().filter(|l| !l.ended && l.state.works()).count();
            prop_assert!(works <= rails().slots);
            for (place, lane) in there.iter().enumerate() {
                let twin = there.iter().skip(place + 1).any(|other| {
                    !lane.ended && !other.ended && lane.members == other.members
                        && lane.heads == other.heads && lane.on == other.on && lane.purpose == other.purpose
                });
                prop_assert!(!twin, "two lanes are the same");
            }
            // Some pass; one may land.
            for lane in there.iter_mut().filter(|l| l.state == LaneState::Building) {
                lane.commit = Some(head(1_000));
                lane.pass(Why::host("job.passed", "yes"), rails().at);
            }
            if let Some(place) = landable(&rails(), &candidates, &mut there) {
                let lane = &there[place];
                prop_assert_eq!(lane.landing, Landing::WhenPassed);
                prop_assert_eq!(lane.base.as_deref(), Some(TIP));
                for id in &lane.members {
                    prop_assert!(candidates.iter().any(|c| c.id == *id && c.approval == Approval::Approved));
                }
                there[place].end(LaneState::Cancelled, Why::default(), rails().at);
            }
            let mut next = there.iter().filter_map(|l| l.id).max().unwrap_or(0) + 1;
            let ids: Vec<Option<i64>> = there.iter().map(|l| l.id).collect();
            for lane in &mut there {
                if let Some(On::Place(place)) = lane.on
                    && let Some(Some(id)) = ids.get(place)
                {
                    lane.on = Some(On::Lane(*id));
                }
                if lane.id.is_none() {
                    lane.id = Some(next);
                    next += 1;
                }
            }
            there.retain(|lane| !lane.ended);
        }
    }
}

#[test]
fn a_lane_with_a_member_whose_branch_is_gone_is_not_begun() {
    let mut candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
    ];
    candidates[1].head_gone = true;
    let mut there = vec![];
    let wishes = vec![
        wish(&[2], select::Landing::WhenPassed),
        wish(&[1], select::Landing::WhenPassed),
        // On the first, which is not begun, so neither is this.
        select::Lane {
            on: Some(0),
            ..wish(&[1], select::Landing::WhenPassed)
        },
    ];
    let wanted = plan(&candidates, &mut there, &[], wishes).unwrap();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].numbers, [1]);
    assert_eq!(wanted.waiting.len(), 1);
    assert_eq!(wanted.waiting[0].1.code, "lane.head-gone");
}

#[test]
fn a_lane_on_a_lane_that_was_tried_there_is_not_tried_again() {
    let candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
    ];
    let wishes = || {
        vec![
            wish(&[1], select::Landing::WhenPassed),
            select::Lane {
                on: Some(0),
                ..wish(&[2], select::Landing::WhenPassed)
            },
        ]
    };
    let mut there = vec![];
    plan(&candidates, &mut there, &[], wishes()).unwrap();
    with_ids(&mut there);
    there[0].commit = Some(head(1_000));
    let mut upper = there.pop().unwrap();
    upper.base = Some(head(1_000));
    upper.end(
        LaneState::Conflict,
        Why::host("lane.conflict", "no"),
        rails().at,
    );
    plan(&candidates, &mut there, &[upper.clone()], wishes()).unwrap();
    assert_eq!(there.len(), 1, "{there:#?}");
    // On another commit it may come out otherwise.
    there[0].commit = Some(head(1_001));
    plan(&candidates, &mut there, &[upper], wishes()).unwrap();
    assert_eq!(there.len(), 2);
}

#[test]
fn a_try_that_passed_on_this_tip_is_not_run_again() {
    let candidates = [candidate(1, Approval::Pending)];
    let mut there = vec![];
    plan(
        &candidates,
        &mut there,
        &[],
        vec![wish(&[1], select::Landing::Never)],
    )
    .unwrap();
    let mut tried = there.remove(0);
    tried.pass(Why::host("job.passed", "yes"), rails().at);
    assert!(tried.ended);
    let tried = [tried];
    plan(
        &candidates,
        &mut there,
        &tried,
        vec![wish(&[1], select::Landing::Never)],
    )
    .unwrap();
    assert_eq!(there, []);
    // What may land is a lane of its own: its pass is found again by its tree.
    plan(
        &candidates,
        &mut there,
        &tried,
        vec![wish(&[1], select::Landing::WhenPassed)],
    )
    .unwrap();
    assert_eq!(there.len(), 1);
}

fn two_for_one_slot() -> (Rails<'static>, Vec<Lane>) {
    let candidates = [
        candidate(1, Approval::Approved),
        candidate(2, Approval::Approved),
    ];
    let rails = Rails {
        slots: 1,
        ..rails()
    };
    let mut there = vec![];
    let wishes = vec![
        wish(&[1], select::Landing::WhenPassed),
        wish(&[2], select::Landing::WhenPassed),
    ];
    plan(&candidates, &mut there, &[], wishes).unwrap();
    (rails, there)
}

#[test]
fn a_lane_that_nobody_can_decide_about_keeps_no_other_from_its_slot() {
    let (rails, mut there) = two_for_one_slot();
    assert_eq!(promote(&rails, &mut there), [0]);
    assert_eq!(promote(&rails, &mut there), Vec::<usize>::new());
    there[0].go(LaneState::Running, rails.at);
    there[0].hold("trapped", "unreachable");
    there[0].busy = true;
    assert_eq!(promote(&rails, &mut there), Vec::<usize>::new());
    there[0].busy = false;
    assert_eq!(promote(&rails, &mut there), [1]);
}

#[test]
fn a_lane_whose_commit_cannot_be_made_yet_keeps_its_slot() {
    let (rails, mut there) = two_for_one_slot();
    promote(&rails, &mut there);
    // Git fails for all: they would all begin at once when it is mended.
    there[0].hold("lane.failing", "no space left");
    assert_eq!(promote(&rails, &mut there), Vec::<usize>::new());
    // Nobody can say which jobs it has: the other one begins, and it waits for a slot then.
    there[0].go(LaneState::Built, rails.at);
    there[0].hold("trapped", "unreachable");
    assert_eq!(promote(&rails, &mut there), [1]);
    assert!(!may_begin(&rails, &there, 0));
    there[1].end(LaneState::Failed, Why::default(), rails.at);
    assert!(may_begin(&rails, &there, 0));
}
