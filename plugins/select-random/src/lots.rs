//! Who is drawn.

use std::cmp::Reverse;

use pointsman_policy_kit::plan::{
    Board, History, PURPOSE, Plan, held, is_approved, is_held, may_land, may_stay, told,
};
use pointsman_sdk::Reason;
use pointsman_sdk::select::{Answer, Candidate, Landing, LaneState, Question};

use crate::Settings;

/// The plan for a target branch.
#[must_use]
pub fn decide(
    settings: &Settings,
    attrs: &[(String, String)],
    seed: u64,
    question: &Question,
) -> Answer {
    let history = History::of(question);
    let board = Board::new(attrs, question, &history);
    let mut plan = Plan::new(board);

    // Heads that have passed and wait for their approval take no slot, but a place among the lanes: after
    // those that may land.
    let (goes_on, waits): (Vec<_>, Vec<_>) = board.living().partition(|(state, members)| {
        state.state != "passed" || members.iter().all(|member| is_approved(member))
    });
    for (state, members) in goes_on {
        keep(&mut plan, board, state, &members);
    }

    let drawn = |candidate: &&Candidate| Reverse(lot(seed, &question.tip, candidate));
    let mut approved: Vec<&Candidate> = question
        .candidates
        .iter()
        .filter(|candidate| may_land(&[candidate]) && board.obstacle(candidate, &[]).is_none())
        .filter(|candidate| !plan.has(candidate.number))
        .collect();
    approved.sort_by_cached_key(drawn);
    for candidate in approved {
        let members = [candidate];
        let has_passed = board.has_passed(candidate);
        let text = match has_passed {
            true => format!("{} passed on this tip, and lands.", told(&members)),
            false => format!("{} was drawn of those that are approved.", told(&members)),
        };
        let reason = board.unless_frozen(
            if has_passed {
                "draw.passed"
            } else {
                "draw.approved"
            },
            text,
        );
        let lane = board.lane(&members, PURPOSE, board.landing(), reason);
        if has_passed {
            // Its tree has its verdict, and needs no run.
            plan.land(lane);
        } else if plan.free() > 0 {
            plan.start(lane);
        }
    }
    for (state, members) in waits {
        keep(&mut plan, board, state, &members);
    }
    plan.tries();
    if settings.baseline {
        plan.baseline();
    }
    if settings.test_unapproved {
        plan.previews(|candidate| u64::MAX - lot(seed, &question.tip, candidate));
    }
    plan.finish(
        "draw.made",
        "It was not drawn yet: a slot has to become free.",
    )
}

/// Keeps a lane that lives, if it is of those that may land some time and `gate` lets it go on.
fn keep<'a>(plan: &mut Plan<'a>, board: Board<'a>, state: &LaneState, members: &[&Candidate]) {
    let is_kept = members.iter().any(|member| plan.has(member.number));
    if members.is_empty() || state.lane.purpose != PURPOSE || !may_stay(members) || is_kept {
        return;
    }
    let all_approved = members.iter().all(|member| is_approved(member));
    let (landing, reason) = match (may_land(members), all_approved) {
        _ if is_held(state) => (Landing::Hold, held()),
        (true, _) => {
            let text = format!("{} goes on, and lands when it has passed.", told(members));
            (board.landing(), board.unless_frozen("draw.goes-on", text))
        }
        (false, true) => {
            let text = "The gate could not say whether it may run: it goes on, and does not land.";
            (Landing::Hold, Reason::new("gate.unknown", text))
        }
        (false, false) => {
            let text = format!(
                "{} goes on, and lands when it has passed and is approved.",
                told(members)
            );
            (Landing::Hold, Reason::new("draw.goes-on", text))
        }
    };
    plan.keep(state, members, landing, reason);
}

/// A head's lot on a tip: the highest is drawn. FNV-1a, and a round of SplitMix64 to spread it.
fn lot(seed: u64, tip: &str, candidate: &Candidate) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let number = candidate.number.to_le_bytes();
    let parts = [
        &seed.to_le_bytes()[..],
        tip.as_bytes(),
        &[0],
        &number,
        candidate.head.as_bytes(),
    ];
    let mut mixed = BASIS;
    for byte in parts.into_iter().flatten() {
        mixed = (mixed ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
