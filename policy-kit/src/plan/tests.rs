use pointsman_sdk::select::Answer;
use pointsman_sdk::{Dependency, Verdict};

use super::*;
use crate::rehearsal::rules::code;
use crate::rehearsal::{Rehearsal, approved, candidate, tagged};

/// A policy of what all plans share: whatever runs goes on, and free slots go to the approved by age, to
/// tries, to the bare target, and to the unapproved.
fn plan(stage: &mut Rehearsal) -> Answer {
    let question = stage.question.clone();
    let history = History::of(&question);
    let board = Board::new(&[], &question, &history);
    let mut plan = Plan::new(board);
    let reason = || Reason::new("test.chosen", "It is here.");
    for (state, members) in board.living() {
        if state.lane.purpose == PURPOSE && may_land(&members) {
            plan.keep(state, &members, board.landing(), reason());
        }
    }
    let mut line: Vec<&Candidate> = question.candidates.iter().collect();
    line.sort_by_key(|candidate| by_age(candidate));
    for one in line {
        let may = may_land(&[one]) && board.obstacle(one, &[]).is_none();
        if may && !plan.has(one.number) && plan.free() > 0 {
            plan.start(board.lane(&[one], PURPOSE, board.landing(), reason()));
        }
    }
    plan.tries();
    plan.baseline();
    plan.previews(|candidate| candidate.opened_at);
    let answer = plan.finish("test.planned", "It waits.");
    stage.follow(&answer);
    answer
}

fn members(answer: &Answer) -> Vec<Vec<u64>> {
    answer
        .lanes
        .iter()
        .map(|lane| lane.members.clone())
        .collect()
}

#[test]
fn a_head_whose_branch_is_gone_has_no_lane() {
    let gone = |one: Candidate| tagged(one, "host.head-gone", "true");
    let asked = tagged(gone(candidate(3)), "try", "5");
    let mut stage = Rehearsal::new(3, vec![gone(approved(1)), gone(candidate(2)), asked]);
    let answer = plan(&mut stage);
    assert_eq!(members(&answer), [[0; 0]], "the baseline alone");
    for number in 1..=3 {
        assert_eq!(code(&answer, number), "head.gone");
    }
    // A lane that it has goes.
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    assert_eq!(members(&plan(&mut stage)), [[1]]);
    stage.tag(1, "host.head-gone", "true");
    assert!(!members(&plan(&mut stage)).contains(&vec![1]));
}

#[test]
fn what_is_known_not_to_merge_has_no_lane() {
    let known = tagged(approved(1), "host.conflict", "true");
    let stage = Rehearsal::new(1, vec![known]);
    let history = History::of(&stage.question);
    let board = Board::new(&[], &stage.question, &history);
    let one = &stage.question.candidates[0];
    let code = board.obstacle(one, &[]).map(|reason| reason.code);
    assert_eq!(code.as_deref(), Some("tip.conflict"));
}

#[test]
fn what_it_depends_on_has_to_land_first_and_a_stack_does_not_wait() {
    let depends = |subject: &str, state: &str, how: &str| {
        let mut one = approved(1);
        one.depends = vec![pointsman_sdk::Dependency {
            subject: subject.to_owned(),
            state: state.to_owned(),
            attrs: vec![("how".to_owned(), how.to_owned())],
        }];
        let stage = Rehearsal::new(1, vec![one]);
        let history = History::of(&stage.question);
        let board = Board::new(&[], &stage.question, &history);
        let reason = board.obstacle(&stage.question.candidates[0], &[]);
        reason.map(|reason| reason.text)
    };
    assert_eq!(depends("7", "landed", "line"), None);
    assert_eq!(depends("7", "open", "stack"), None);
    let waits = [
        ("7", "open", "It depends on #7, which has to land first."),
        ("lib#7", "closed", "It depends on lib#7, which was closed"),
        ("7", "unknown", "It depends on #7, which nobody knows here"),
    ];
    for (subject, state, text) in waits {
        let told = depends(subject, state, "line").unwrap();
        assert!(told.starts_with(text), "{told}");
    }
}

#[test]
fn another_run_is_asked_for_without_a_word_of_gate() {
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    stage.question.runs.clear();
    plan(&mut stage);
    for asked in 1..=2 {
        stage.end(&[1], "failed");
        assert_eq!(code(&plan(&mut stage), 1), "tip.failed");
        stage.tag(1, "retest.count", &asked.to_string());
        assert_eq!(members(&plan(&mut stage))[0], [1], "asked {asked}");
    }
    // What passed is run again, too, and what runs is begun anew.
    stage.end(&[1], "passed");
    plan(&mut stage);
    stage.tag(1, "retest.count", "3");
    assert_eq!(members(&plan(&mut stage))[0], [1]);
    assert_eq!(stage.lanes("running")[0], [1]);
    stage.tag(1, "retest.count", "4");
    plan(&mut stage);
    let cancelled = stage.lanes("cancelled");
    assert_eq!(cancelled.iter().filter(|lane| **lane == [1]).count(), 1);
    assert_eq!(stage.lanes("running")[0], [1]);
}

#[test]
fn a_mark_of_another_gate_may_be_any_text() {
    let mut stage = Rehearsal::new(1, vec![approved(1)]);
    plan(&mut stage);
    stage.end(&[1], "failed");
    stage.tag(1, "retest", "please = now");
    assert_eq!(members(&plan(&mut stage))[0], [1]);
    stage.end(&[1], "failed");
    assert_eq!(code(&plan(&mut stage), 1), "tip.failed");
}

/// More fail than the host tells of: each asking is still answered once.
#[test]
fn no_asking_is_answered_for_ever() {
    for retries in [false, true] {
        let all = (1..=80).map(approved);
        let mut stage = Rehearsal::new(4, all.collect());
        let mut runs = 0;
        for round in 0..400 {
            if round == 200 {
                let now = stage.now.to_string();
                for number in 1..=80 {
                    match retries {
                        true => stage.tag(number, "retest", &now),
                        false => stage.tag(number, "retest.count", "1"),
                    }
                }
            }
            plan(&mut stage);
            for lane in stage.lanes("running") {
                stage.end(&lane, if lane.is_empty() { "passed" } else { "failed" });
                runs += usize::from(!lane.is_empty());
            }
        }
        // A host that tells of so few cannot tell of each asking; but none is answered twice.
        assert!((80..=160).contains(&runs), "{runs} runs");
        let one = &stage.question.candidates[0];
        assert!(one.runs <= 2 && one.on_tip == Some(Verdict::Fail));
        // The next asking is heard, whoever's lanes are told of.
        stage.tag(80, "retest.count", "2");
        assert_eq!(members(&plan(&mut stage))[0], [80]);
    }
}

#[test]
fn what_was_given_up_is_not_begun_again() {
    for number in [1, 2] {
        let one = tagged(candidate(1), "try", "5");
        let mut stage = Rehearsal::new(1, vec![one, approved(2)]);
        plan(&mut stage);
        if number == 1 {
            stage.end(&[2], "failed");
            plan(&mut stage);
        }
        stage.end(&[number], "lane.contained");
        let answer = plan(&mut stage);
        assert!(!members(&answer).contains(&vec![number]), "{answer:?}");
        if number == 2 {
            assert_eq!(code(&answer, 2), "tip.given-up");
        }
        // On another tip it may be otherwise.
        stage.move_tip();
        assert_eq!(members(&plan(&mut stage))[0], [2]);
    }
}

#[test]
fn the_bare_target_is_run_once_a_tip() {
    for ending in ["passed", "failed", "inconclusive", "lane.gone"] {
        let mut stage = Rehearsal::new(1, vec![]);
        for _ in 0..2 {
            assert_eq!(members(&plan(&mut stage)), [[0; 0]]);
            stage.end(&[], ending);
            assert_eq!(plan(&mut stage).lanes, [], "{ending}");
            // The host's word counts where its lane is no longer told of.
            if ending != "lane.gone" {
                stage.question.lanes.clear();
                assert_eq!(plan(&mut stage).lanes, [], "{ending}");
            }
            stage = Rehearsal::new(1, vec![]);
            stage.move_tip();
        }
    }
    // One that was cancelled to make room is not one that was made.
    let mut stage = Rehearsal::new(1, vec![]);
    plan(&mut stage);
    stage.question.candidates.push(approved(1));
    assert_eq!(members(&plan(&mut stage)), [[1]]);
    stage.end(&[1], "failed");
    assert_eq!(members(&plan(&mut stage)), [[0; 0]]);
}

#[test]
fn a_try_that_runs_is_not_sent_away_by_another() {
    let mut stage = Rehearsal::new(1, vec![candidate(1), tagged(candidate(2), "try", "5")]);
    assert_eq!(members(&plan(&mut stage)), [[2]]);
    stage.tag(1, "try", "6");
    assert_eq!(members(&plan(&mut stage)), [[2]]);
}

/// Previews that passed stay, so that they land once they are approved; however many there are, slots are
/// for others.
#[test]
fn what_has_passed_leaves_room_for_what_has_not() {
    let mut stage = Rehearsal::new(20, (1..=300).map(candidate).collect());
    for _ in 0..16 {
        plan(&mut stage);
        for lane in stage.lanes("running") {
            stage.end(&lane, "passed");
        }
    }
    let tested = |one: &&Candidate| one.on_tip.is_some();
    let known = stage.question.candidates.iter().filter(tested).count();
    assert_eq!(known, 300);
    stage.question.candidates.push(approved(301));
    assert!(members(&plan(&mut stage)).contains(&vec![301]));
}

#[test]
fn a_lane_ends_when_a_description_names_what_has_to_land_first() {
    let open = |subject: &str| Dependency {
        subject: subject.to_owned(),
        state: "open".to_owned(),
        attrs: Vec::new(),
    };
    let mut stage = Rehearsal::new(2, vec![approved(1), candidate(2)]);
    assert!(members(&plan(&mut stage)).contains(&vec![1]));
    assert!(members(&plan(&mut stage)).contains(&vec![1]), "it goes on");
    stage.question.candidates[0].depends.push(open("2"));
    let answer = plan(&mut stage);
    assert!(!members(&answer).contains(&vec![1]), "{answer:?}");
    assert_eq!(code(&answer, 1), "depends.open");
    // Taken out again, it runs anew.
    stage.question.candidates[0].depends.clear();
    assert!(members(&plan(&mut stage)).contains(&vec![1]));
}

#[test]
fn what_a_lane_depends_on_may_be_before_it_in_the_lane_or_below() {
    let mut stage = Rehearsal::new(2, vec![approved(1), approved(2), approved(3)]);
    plan(&mut stage);
    let question = &mut stage.question;
    for (number, needs) in [(1, "2"), (2, "1")] {
        let one = question
            .candidates
            .iter_mut()
            .find(|one| one.number == number);
        one.expect("a candidate").depends.push(Dependency {
            subject: needs.to_owned(),
            state: "open".to_owned(),
            attrs: Vec::new(),
        });
    }
    let goes_on = |question: &Question| -> Vec<u64> {
        let history = History::of(question);
        let board = Board::new(&[], question, &history);
        board
            .going_on()
            .flat_map(|(state, _)| state.lane.members.clone())
            .collect()
    };
    assert_eq!(goes_on(question), [0; 0], "neither is before the other");
    let (lower, upper) = question.lanes.split_at_mut(1);
    lower[0].commit = "c1".to_owned();
    upper[0].base = "c1".to_owned();
    assert_eq!(
        goes_on(question),
        [2],
        "#1 is below #2, and lacks #2 itself"
    );
    // In one lane, in this order and in the other.
    question.candidates[0].depends.clear();
    for (order, goes) in [([1, 2], vec![1, 2]), ([2, 1], vec![])] {
        question.lanes.truncate(1);
        let heads = order.map(|number| question.candidate(number).expect("there").head.clone());
        question.lanes[0].lane.members = order.to_vec();
        question.lanes[0].heads = pointsman_sdk::packed::pack(heads);
        assert_eq!(goes_on(question), goes);
    }
}
