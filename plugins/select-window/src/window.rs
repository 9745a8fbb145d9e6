//! Who stands on whom.

use pointsman_policy_kit::plan::{
    Board, History, PURPOSE, Plan, by_age, held, is_ended_with, is_held, may_land, told,
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
    let mut window = Window {
        board,
        plan: Plan::new(board),
        max: settings.max.max(1) as usize,
        below: Vec::new(),
        steps: Vec::new(),
        aside: Vec::new(),
    };
    let living = living(board);
    let (aside, living): (Vec<_>, Vec<_>) = living.iter().partition(|(state, _)| is_held(state));
    for (state, members) in chain(board, &living) {
        window.keep(state, members);
    }
    for (state, members) in aside {
        window.keep_aside(state, members);
    }
    window.fill();

    let turn = format!("It waits for a place in the window of {}.", window.max);
    let mut plan = window.plan;
    plan.tries();
    if settings.baseline {
        plan.baseline();
    }
    if settings.test_unapproved {
        plan.previews(|candidate| candidate.opened_at);
    }
    plan.finish("window.formed", &turn)
}

/// A line that is being formed, each on top of the one before it.
struct Window<'a> {
    board: Board<'a>,
    plan: Plan<'a>,
    max: usize,
    /// All that land before the next one, in their order.
    below: Vec<u64>,
    /// The lanes of the line, from the branch upwards.
    steps: Vec<Step<'a>>,
    /// Those about whose lanes nobody can decide. What stood on them could not land either.
    aside: Vec<u64>,
}

struct Step<'a> {
    /// Its place in the answer.
    place: u32,
    /// Its commit; empty as long as it has none.
    commit: &'a str,
    /// How many of those below land with it.
    stack: usize,
}

impl<'a> Window<'a> {
    /// The next one is a lane that lives.
    fn keep(&mut self, state: &'a LaneState, members: &[&'a Candidate]) {
        if self.steps.len() >= self.max {
            return;
        }
        let reason = self.reason(members);
        let on = self.steps.last().map(|top| top.place);
        let landing = self.board.landing();
        let place = self.plan.keep_on(state, members, landing, reason, on);
        self.placed(place, &state.commit, members);
    }

    /// A lane that nobody can decide about stays where it is, with nobody on top of it, as long as what it
    /// stands on is there.
    fn keep_aside(&mut self, state: &LaneState, members: &[&Candidate]) {
        let mut below = self.steps.iter().filter(|step| !step.commit.is_empty());
        let on = match below.find(|step| step.commit == state.base) {
            Some(step) => Some(step.place),
            None if state.base == self.board.question.tip => None,
            None => return,
        };
        let is_there = |member: &&Candidate| self.below.contains(&member.number);
        if members.iter().any(is_there) {
            return;
        }
        let kept = self.plan.keep_on(state, members, Landing::Hold, held(), on);
        if kept.is_some() {
            let numbers = members.iter().map(|member| member.number);
            self.aside.extend(numbers);
        }
    }

    /// Free slots go to those that come next in line. One that failed by itself on an older tip comes when
    /// nobody else does: whoever stood on it would most likely be tested for nothing.
    fn fill(&mut self) {
        let question = self.board.question;
        let mut line: Vec<&'a Candidate> = question
            .candidates
            .iter()
            .filter(|candidate| may_land(&[candidate]) && !self.below.contains(&candidate.number))
            .filter(|candidate| !self.aside.contains(&candidate.number))
            .filter(|candidate| self.board.obstacle_alone(candidate).is_none())
            .collect();
        line.sort_by_cached_key(|one| (self.board.failed_before(one), by_age(one)));
        while self.steps.len() < self.max && self.plan.free() > 0 {
            let is_next = |one: &&&Candidate| {
                !self.below.contains(&one.number)
                    && (self.below.is_empty() || !self.board.failed_before(one))
                    && self.board.obstacle(one, &self.below).is_none()
                    && self.known(one).is_none()
            };
            let Some(next) = line.iter().find(is_next).copied() else {
                break;
            };
            let reason = self.reason(&[next]);
            let landing = self.board.landing();
            let mut lane = self.board.lane(&[next], PURPOSE, landing, reason);
            lane.on = self.steps.last().map(|top| top.place);
            let place = self.plan.start(lane);
            self.placed(place, "", &[next]);
            if place.is_none() {
                break;
            }
        }
        for one in line {
            if let Some((state, step)) = self.known(one) {
                let reason = undecided(state, &self.below[..step.stack]);
                self.plan.wait(one, reason);
            }
        }
    }

    fn placed(&mut self, place: Option<u32>, commit: &'a str, members: &[&Candidate]) {
        if let Some(place) = place {
            let numbers = members.iter().map(|member| member.number);
            self.below.extend(numbers);
            self.steps.push(Step {
                place,
                commit,
                stack: self.below.len(),
            });
        }
    }

    /// How this one did on top of a part of the line as it is, if a lane ended there other than well. As long
    /// as that part is not decided, another run would tell nothing new.
    fn known(&self, candidate: &Candidate) -> Option<(&'a LaneState, &Step<'a>)> {
        let ended = self.board.question.lanes.iter().filter(|state| {
            state.lane.members == [candidate.number]
                && state.state != "passed"
                && !state.base.is_empty()
                && is_ended_with(state, candidate)
        });
        let on = |state: &LaneState| self.steps.iter().find(|step| step.commit == state.base);
        ended.filter_map(|state| Some((state, on(state)?))).next()
    }

    fn reason(&self, members: &[&Candidate]) -> Reason {
        let name = told(members);
        match self.below.as_slice() {
            [] => self
                .board
                .unless_frozen("window.first", format!("{name} is the first in line.")),
            below => {
                let text = format!(
                    "{name} is tested on top of {}, and lands after.",
                    numbers(below)
                );
                self.board.unless_frozen("window.behind", text)
            }
        }
    }
}

fn undecided(state: &LaneState, below: &[u64]) -> Reason {
    let what = match state.state.as_str() {
        "conflict" => "did not merge",
        "failed" => "failed",
        "inconclusive" => "was inconclusive",
        _ => "could not be built",
    };
    let text = format!(
        "It {what} on top of {}, of which nobody knows yet whether it lands: then this one is out, and else it is tested again.",
        numbers(below)
    );
    Reason::new("window.undecided", text)
}

type Living<'a> = (&'a LaneState, Vec<&'a Candidate>);

/// The lanes that live and may land, in the order in which they were begun.
fn living(board: Board<'_>) -> Vec<Living<'_>> {
    let mut living: Vec<Living> = board
        .going_on()
        .filter(|(state, members)| state.lane.purpose == PURPOSE && may_land(members))
        .collect();
    living.sort_by_key(|(state, _)| state.id);
    living
}

/// Those of them that stand on each other, from the one on the tip upwards.
///
/// What a lane stands on is told by its base alone, and one on a lane without a commit has none. Those are in
/// the order in which they were begun, as none is begun before what it stands on. Should a guess be wrong,
/// the host finds out: it knows lanes by what they stand on.
fn chain<'l, 'a>(board: Board<'a>, living: &[&'l Living<'a>]) -> Vec<&'l Living<'a>> {
    let was_to_land = |state: &LaneState| state.lane.landing == Landing::WhenPassed;
    let tip = &board.question.tip;
    // Where another policy left several, or a preview was approved meanwhile: the one that was to land.
    let first = living
        .iter()
        .filter(|(state, _)| state.base == *tip)
        .min_by_key(|(state, members)| {
            let oldest = members.iter().map(|member| by_age(member)).min();
            (!was_to_land(state), oldest)
        });
    let mut chain: Vec<&'l Living<'a>> = first.copied().into_iter().collect();
    while let Some((top, _)) = chain.last() {
        let stands = |state: &LaneState| match state.base.as_str() {
            "" => true,
            base => base == top.commit,
        };
        let is_there = |number| {
            let mut all = chain.iter().flat_map(|(_, members)| members);
            all.any(|member| member.number == number)
        };
        let next = living
            .iter()
            .filter(|(state, members)| {
                let is_new = !members.iter().any(|member| is_there(member.number));
                state.id > top.id && is_new && stands(state)
            })
            .min_by_key(|(state, _)| (!was_to_land(state), state.id))
            .copied();
        match next {
            Some(next) => chain.push(next),
            None => break,
        }
    }
    chain
}

#[cfg(test)]
mod tests;
