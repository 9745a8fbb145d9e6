//! The next batch.

use pointsman_policy_kit::plan::{
    Board, History, PURPOSE, Plan, by_age, held, is_approved, is_ended_with, is_held, may_land,
    may_stay, told,
};
use pointsman_policy_kit::text::numbers;
use pointsman_sdk::Reason;
use pointsman_sdk::select::{Answer, Candidate, Landing, LaneState, Question};

use crate::Settings;

/// The plan for a target branch.
#[must_use]
pub fn decide(settings: &Settings, attrs: &[(String, String)], question: &Question) -> Answer {
    let history = History::of(question);
    let board = Board::new(attrs, question, &history);
    let mut plan = Plan::new(board);
    let mut turn = "It waits for a free slot.".to_owned();
    let (aside, batches): (Vec<_>, Vec<_>) =
        living_batches(board).partition(|(state, _)| is_held(state));
    for (state, members) in &aside {
        plan.keep(state, members, Landing::Hold, held());
    }
    let aside: Vec<u64> = aside
        .iter()
        .flat_map(|(_, members)| members.iter().map(|member| member.number))
        .collect();
    // Where another policy left several, the one that is oldest in line goes on: two that land would only undo
    // each other's tests.
    let batch = batches
        .into_iter()
        .filter(|(_, members)| !members.iter().any(|one| aside.contains(&one.number)))
        .min_by_key(|(_, members)| members.iter().map(|member| by_age(member)).min());
    if let Some((state, members)) = batch {
        let text = format!("The batch {} goes on.", told(&members));
        let (landing, reason) = match may_land(&members) {
            true => (board.landing(), board.unless_frozen("batch.goes-on", text)),
            false => (
                Landing::Hold,
                Reason::new(
                    "gate.unknown",
                    format!(
                        "{text} The gate could not say whether all of it may run: it does not land."
                    ),
                ),
            ),
        };
        plan.keep(state, &members, landing, reason);
        turn = format!("It waits for the batch {} to end.", told(&members));
    } else if plan.free() > 0 {
        let (members, code, text) = next_batch(settings, board, &aside);
        if !members.is_empty() {
            let reason = board.unless_frozen(code, text);
            plan.start(board.lane(&members, PURPOSE, board.landing(), reason));
            turn = format!("It waits for the batch {} to end.", told(&members));
        }
    }
    plan.tries();
    if settings.baseline {
        plan.baseline();
    }
    if settings.test_unapproved {
        plan.previews(|candidate| candidate.opened_at);
    }
    plan.finish("batch.formed", &turn)
}

/// The lanes that may land and live. One that has passed and may not land is none: whoever `gate` cannot
/// judge waits, and the others do not.
fn living_batches<'a>(
    board: Board<'a>,
) -> impl Iterator<Item = (&'a LaneState, Vec<&'a Candidate>)> {
    board.living().filter(|(state, members)| {
        let all_approved = members.iter().all(|member| is_approved(member));
        !members.is_empty()
            && state.lane.purpose == PURPOSE
            && all_approved
            && may_stay(members)
            && (state.state != "passed" || may_land(members))
    })
}

/// A set that did not pass, of two or more.
struct BadSet {
    numbers: Vec<u64>,
    is_on_tip: bool,
}

/// Sets that did not pass, as far as their members still have the heads that were tested; the newest
/// first.
fn bad_sets(board: Board<'_>) -> Vec<BadSet> {
    board
        .question
        .lanes
        .iter()
        .filter(|state| state.lane.members.len() > 1 && state.state != "passed")
        .filter_map(|state| {
            let is_of = |number: &&u64| {
                let candidate = board.question.candidate(**number);
                candidate.is_some_and(|candidate| is_ended_with(state, candidate))
            };
            let still: Vec<u64> = state.lane.members.iter().filter(is_of).copied().collect();
            // Those that were named are left out on this tip, and what remains is another set.
            let blamed = |number: &u64| state.blame.contains(number);
            let is_whole = still.len() == state.lane.members.len();
            let rest: Vec<u64> = still
                .iter()
                .filter(|number| !blamed(number))
                .copied()
                .collect();
            let is_cleared = rest.len() < still.len();
            (!rest.is_empty() && !is_cleared).then_some(BadSet {
                numbers: rest,
                is_on_tip: is_whole && state.base == board.question.tip,
            })
        })
        .collect()
}

/// One that did not merge behind others.
struct Clash<'a> {
    number: u64,
    behind: &'a [u64],
}

/// Who did not merge on this tip behind whom, as far as all of them still have the heads that were tried.
fn clashes(board: Board<'_>) -> Vec<Clash<'_>> {
    let is_of = |state: &LaneState, number: &u64| {
        let candidate = board.question.candidate(*number);
        candidate.is_some_and(|candidate| is_ended_with(state, candidate))
    };
    let lanes = board.question.lanes.iter();
    lanes
        .filter(|state| state.state == "conflict" && state.base == board.question.tip)
        .filter_map(|state| {
            let members = &state.lane.members;
            let place = members
                .iter()
                .position(|number| state.blame.contains(number))?;
            let clash = Clash {
                number: members[place],
                behind: &members[..place],
            };
            let is_same = members[..=place].iter().all(|number| is_of(state, number));
            (is_same && place > 0).then_some(clash)
        })
        .collect()
}

/// The members of the next batch, none of those that stand aside, and why these.
fn next_batch<'a>(
    settings: &Settings,
    board: Board<'a>,
    aside: &[u64],
) -> (Vec<&'a Candidate>, &'static str, String) {
    let mut pool: Vec<&Candidate> = board
        .question
        .candidates
        .iter()
        .filter(|candidate| may_land(&[candidate]) && board.obstacle_alone(candidate).is_none())
        .filter(|candidate| !aside.contains(&candidate.number))
        .collect();
    pool.sort_by_cached_key(|candidate| (board.failed_before(candidate), by_age(candidate)));
    let none = || (Vec::new(), "", String::new());
    let Some(first) = arrange(board, &pool, 1).pop() else {
        return none();
    };
    if board.failed_before(first) {
        let text = format!(
            "{} failed by itself on an older tip, and is tested by itself.",
            told(&[first])
        );
        return (vec![first], "batch.alone", text);
    }

    let bad = bad_sets(board);
    let suspects = bad
        .iter()
        .filter(|set| set.numbers.contains(&first.number))
        .min_by_key(|set| (!set.is_on_tip, set.numbers.len()));
    let max = settings.max.max(1) as usize;
    let Some(set) = suspects else {
        let is_clean = |candidate: &&&Candidate| {
            !board.failed_before(candidate)
                && !bad
                    .iter()
                    .any(|set| set.numbers.contains(&candidate.number))
        };
        let clean: Vec<&Candidate> = pool.iter().filter(is_clean).copied().collect();
        let members = arrange(board, &clean, max);
        let text = match members.as_slice() {
            [one] => format!("{} is the only one that may land now.", told(&[one])),
            members => format!("{} are tested together.", told(members)),
        };
        return (members, "batch.next", text);
    };
    let group: Vec<&Candidate> = pool
        .iter()
        .filter(|candidate| {
            set.numbers.contains(&candidate.number) && !board.failed_before(candidate)
        })
        .copied()
        .collect();
    let mut members = arrange(board, &group, max);
    // What failed on this tip as a whole is halved; what is left of a set that failed is tested as it is.
    let failed_here = |members: &[&Candidate]| {
        let is_same = |set: &&BadSet| {
            set.numbers.len() == members.len()
                && members
                    .iter()
                    .all(|member| set.numbers.contains(&member.number))
        };
        bad.iter()
            .filter(|set| set.is_on_tip)
            .any(|set| is_same(&set))
    };
    while members.len() > 1 && failed_here(&members) {
        members.truncate(members.len().div_ceil(2));
    }
    let is_tested = match members.len() {
        1 => "is tested by itself",
        _ => "are tested by themselves",
    };
    let text = format!(
        "{} {is_tested}, as the batch {} did not pass.",
        told(&members),
        numbers(&set.numbers)
    );
    (members, "batch.bisected", text)
}

/// The first `max` of a pool, each after those that it depends on; one that depends on anything else that
/// is open is left out, and so is one that did not merge behind those before it.
fn arrange<'a>(board: Board<'a>, pool: &[&'a Candidate], max: usize) -> Vec<&'a Candidate> {
    let mut placed: Vec<&Candidate> = Vec::new();
    let mut before: Vec<u64> = Vec::new();
    let clashes = clashes(board);
    loop {
        let next = pool.iter().find(|candidate| {
            let is_behind = |clash: &Clash| {
                let is_there = |number| before.contains(number);
                clash.number == candidate.number && clash.behind.iter().all(is_there)
            };
            !before.contains(&candidate.number)
                && board.obstacle(candidate, &before).is_none()
                && !clashes.iter().any(is_behind)
        });
        match next {
            Some(next) if placed.len() < max => {
                placed.push(next);
                before.push(next.number);
            }
            _ => return placed,
        }
    }
}

#[cfg(test)]
mod tests;
