//! Who stands where in the line, and who may land.

use pointsman_policy_kit::plan::{
    Board, History, PURPOSE, Plan, by_age, held, is_approved, is_held, may_land, may_stay, told,
};
use pointsman_sdk::Reason;
use pointsman_sdk::select::{Answer, Candidate, Landing, LaneState, Question};

use crate::{FailedBefore, Settings};

/// What stands in line: a pull request, or a lane of several that another policy began.
struct Place<'a> {
    members: Vec<&'a Candidate>,
    lane: Option<&'a LaneState>,
}

impl Place<'_> {
    fn is_held(&self) -> bool {
        self.lane.is_some_and(is_held)
    }
}

/// The plan for a target branch.
#[must_use]
pub fn decide(settings: &Settings, attrs: &[(String, String)], question: &Question) -> Answer {
    let history = History::of(question);
    let board = Board::new(attrs, question, &history);
    let mut plan = Plan::new(board);
    let line = line(settings, board, plan.free());

    // The first that is not yet decided lands, and those behind it wait for that.
    let mut first: Option<&Place> = None;
    for place in &line {
        let (landing, reason) = match first {
            _ if place.is_held() => (Landing::Hold, held()),
            _ if !may_land(&place.members) => {
                let text =
                    "The gate could not say whether it may run: it is tested, and does not land.";
                (Landing::Hold, Reason::new("gate.unknown", text))
            }
            None => {
                let text = format!("{} is the first in line.", told(&place.members));
                (board.landing(), board.unless_frozen("line.first", text))
            }
            Some(first) => {
                let text = format!(
                    "It is tested meanwhile, and lands after {}, which is before it in line.",
                    told(&first.members)
                );
                (Landing::Hold, Reason::new("line.behind", text))
            }
        };
        match place.lane {
            Some(state) => plan.keep(state, &place.members, landing, reason),
            None => plan.start(board.lane(&place.members, PURPOSE, landing, reason)),
        };
        if may_land(&place.members) && !place.is_held() {
            first = first.or(Some(place));
        }
    }
    for candidate in &question.candidates {
        if settings.failed_before == FailedBefore::Never
            && board.failed_before(candidate)
            && !plan.has(candidate.number)
        {
            let text = "It failed on an older tip: mend it and push, or write `retry`.";
            plan.wait(candidate, Reason::new("tip.failed-before", text));
        }
    }
    plan.tries();
    if settings.baseline {
        plan.baseline();
    }
    if settings.test_unapproved {
        plan.previews(|candidate| candidate.opened_at);
    }
    plan.finish("line.formed", "It waits for those before it in line.")
}

/// The approved that run, and as many more as there are slots for.
fn line<'a>(settings: &Settings, board: Board<'a>, slots: usize) -> Vec<Place<'a>> {
    let key = |place: &Place| {
        let failed = |member: &&Candidate| {
            let member = board.question.candidate(member.number);
            member.is_some_and(|member| board.failed_before(member))
        };
        let is_last =
            settings.failed_before == FailedBefore::Last && place.members.iter().any(failed);
        (
            is_last,
            place.members.iter().map(|member| by_age(member)).min(),
        )
    };
    let mut line: Vec<Place> = Vec::new();
    let mut taken = 0;
    for (state, members) in board.living() {
        let all_approved = members.iter().all(|member| is_approved(member));
        let has_any = |place: &Place| {
            place
                .members
                .iter()
                .any(|one| members.iter().any(|member| member.number == one.number))
        };
        if members.is_empty()
            || state.lane.purpose != PURPOSE
            || !all_approved
            || !may_stay(&members)
            || line.iter().any(has_any)
        {
            continue;
        }
        taken +=
            usize::from(!matches!(state.state.as_str(), "passed" | "landing") && !is_held(state));
        line.push(Place {
            members,
            lane: Some(state),
        });
    }
    let is_in = |line: &[Place], number| {
        line.iter()
            .any(|place| place.members.iter().any(|member| member.number == number))
    };
    let mut rest: Vec<Place> = board
        .question
        .candidates
        .iter()
        .filter(|candidate| may_land(&[candidate]) && board.obstacle(candidate, &[]).is_none())
        .filter(|candidate| !is_in(&line, candidate.number))
        .filter(|candidate| {
            settings.failed_before != FailedBefore::Never || !board.failed_before(candidate)
        })
        .map(|candidate| Place {
            members: vec![candidate],
            lane: None,
        })
        .collect();
    rest.sort_by_cached_key(key);
    rest.truncate(slots.saturating_sub(taken));
    line.extend(rest);
    line.sort_by_key(key);
    line
}

#[cfg(test)]
mod tests;
