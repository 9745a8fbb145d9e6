//! What every plan of lanes has to look at: who may run, what is known of the present tip, what runs
//! already, and how a lane is asked for so that the host knows it again.

mod draft;
mod history;
mod standing;

use std::cmp::Reverse;

use pointsman_sdk::select::{Candidate, Landing, Lane, LaneState, Question};
use pointsman_sdk::{Approval, Instant, Need, Reason, Verdict, attr};

pub use draft::Plan;
pub use history::{Alone, History, LANE_TAG_TRY, PURPOSE, TRY_PURPOSE, is_ended_with};

use crate::text::numbers;

/// The key of a lane's attrs that says which asking of people it answers: another `retry`, another lane.
pub const RETEST: &str = "x-retest";

/// The tag in which `gate` says that people asked for another run of this head by a command. Its value is
/// the same until they ask again: the time, in milliseconds, where `gate-basics` says it.
pub const RETEST_TAG: &str = "retest";

/// The host's own tag: how often people asked for another run of this head by `pointsman pr retest`.
pub const RETESTS_TAG: &str = "retest.count";

/// The host's own attr of a lane about which nobody can decide, while none of its jobs runs: the code of why.
const HELD_ATTR: &str = "host.held";

/// The host's own tag of a head whose branch is gone.
const HEAD_GONE_TAG: &str = "host.head-gone";

/// The host's own tag of a head that is known not to merge into the tip.
const CONFLICT_TAG: &str = "host.conflict";

/// Lanes that land come before those that cannot, whatever priority people gave.
const LANDING_FIRST: i32 = 1_000_000;

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Board<'a> {
    /// The question.
    pub question: &'a Question,
    /// Why nothing may land, if people froze the branch.
    pub frozen: Option<&'a str>,
    history: &'a History,
}

impl<'a> Board<'a> {
    /// A question with what people set on the pipeline.
    #[must_use]
    pub fn new(
        attrs: &'a [(String, String)],
        question: &'a Question,
        history: &'a History,
    ) -> Self {
        let frozen = attr(attrs, "frozen").filter(|value| !matches!(*value, "" | "false"));
        Board {
            question,
            frozen,
            history,
        }
    }

    /// The candidates with these numbers, if all are there.
    #[must_use]
    pub fn candidates(&self, numbers: &[u64]) -> Option<Vec<&'a Candidate>> {
        let find = |number: &u64| self.question.candidate(*number);
        numbers.iter().map(find).collect()
    }

    /// The lane that tests these, in their order, on the tip. It is the same lane as long as the tip,
    /// the heads and what people asked for are the same; `landing` may change.
    #[must_use]
    pub fn lane(
        &self,
        members: &[&Candidate],
        purpose: &str,
        landing: Landing,
        reason: Reason,
    ) -> Lane {
        let numbers = members.iter().map(|member| member.number).collect();
        let mut lane = Lane::merge(numbers, reason);
        purpose.clone_into(&mut lane.purpose);
        lane.landing = landing;
        let highest = members.iter().map(|member| priority(member)).max();
        let is_landing =
            members.iter().all(|member| is_approved(member)) && landing != Landing::Never;
        lane.priority = highest.unwrap_or(0) + if is_landing { LANDING_FIRST } else { 0 };
        let asked = asked(members);
        if !asked.is_empty() {
            lane.attrs.push((RETEST.to_owned(), asked));
        }
        lane
    }

    /// How a lane with approved members may land, and why not at once.
    #[must_use]
    pub fn landing(&self) -> Landing {
        match self.frozen {
            Some(_) => Landing::Hold,
            None => Landing::WhenPassed,
        }
    }

    /// The reason with a word about the freeze, where it lands because of the reason.
    #[must_use]
    pub fn unless_frozen(&self, code: &str, text: String) -> Reason {
        match self.frozen {
            Some("true") => Reason::new(
                "branch.frozen",
                format!("{text} The branch is frozen: it is tested, and lands after the thaw."),
            ),
            Some(why) => Reason::new(
                "branch.frozen",
                format!(
                    "{text} The branch is frozen ({}): it is tested, and lands after the thaw.",
                    crate::text::clip(why, 200)
                ),
            ),
            None => Reason::new(code, text),
        }
    }

    /// Living lanes whose members are all here with the heads that are being tested, which have before them
    /// what they depend on by now, and of which nobody asked for another run meanwhile, whatever they stand
    /// on. All others are of yesterday.
    pub fn going_on(&self) -> impl Iterator<Item = (&'a LaneState, Vec<&'a Candidate>)> + use<'a> {
        let board = *self;
        let lanes = board.question.lanes.iter();
        lanes
            .filter(|state| history::is_living(&state.state))
            .filter_map(move |state| {
                let members = board.candidates(&state.lane.members)?;
                let is_same =
                    history::has_heads(state, &members) && history::is_as_asked(state, &members);
                (is_same && board.has_what_it_needs(state, &members)).then_some((state, members))
            })
    }

    /// Whether what each depends on is before it, in the lane or in one below: a description may name it
    /// when the lane runs already. Only what is to land needs it.
    fn has_what_it_needs(&self, state: &LaneState, members: &[&Candidate]) -> bool {
        // Most depend on nothing, or on what has landed.
        let needs_some = members
            .iter()
            .any(|member| standing::depends(member, &[]).is_some());
        // Nobody knows yet what one without a base stands on, and it waits.
        if !needs_some || state.lane.purpose != PURPOSE || state.base.is_empty() {
            return true;
        }
        let lanes = &self.question.lanes;
        let mut before: Vec<u64> = Vec::new();
        let mut base = &state.base;
        // No more steps down than there are lanes. On the tip there is none below: the commit of a run of the
        // bare target is the tip itself.
        for _ in lanes {
            let stands_on =
                |below: &&LaneState| history::is_living(&below.state) && below.commit == *base;
            let Some(below) = lanes
                .iter()
                .find(stands_on)
                .filter(|_| *base != self.question.tip)
            else {
                break;
            };
            before.extend(&below.lane.members);
            base = &below.base;
        }
        members.iter().all(|member| {
            let is_met = standing::depends(member, &before).is_none();
            before.push(member.number);
            is_met
        })
    }

    /// Those of them that stand on the present tip.
    pub fn living(&self) -> impl Iterator<Item = (&'a LaneState, Vec<&'a Candidate>)> + use<'a> {
        let tip = &self.question.tip;
        self.going_on().filter(move |(state, _)| state.base == *tip)
    }
}

/// Whether `review` approved this head.
#[must_use]
pub fn is_approved(candidate: &Candidate) -> bool {
    candidate.approval == Approval::Approved
}

/// The priority that people gave it (`p=5`); 0 is usual.
#[must_use]
pub fn priority(candidate: &Candidate) -> i32 {
    let given = attr(&candidate.tags, "priority").and_then(|value| value.parse::<i32>().ok());
    let limit = crate::command::PRIORITY_LIMIT;
    given.unwrap_or(0).clamp(-limit, limit)
}

/// Whether the branch of this head is gone: there is nothing that could be tested or landed.
#[must_use]
pub fn is_gone(candidate: &Candidate) -> bool {
    attr(&candidate.tags, HEAD_GONE_TAG) == Some("true")
}

/// Whether this head is known not to merge into the tip.
pub(crate) fn has_conflict(candidate: &Candidate) -> bool {
    attr(&candidate.tags, CONFLICT_TAG) == Some("true")
}

/// Whether nobody can decide how this lane goes on, as a policy fails. It takes no slot, and nobody should
/// have to wait for it.
#[must_use]
pub fn is_held(state: &LaneState) -> bool {
    attr(&state.attrs, HELD_ATTR).is_some()
}

/// Why a lane that nobody can decide about does not land for now.
#[must_use]
pub fn held() -> Reason {
    let text = "Nobody can decide how its lane goes on: see why that is held. The others go on.";
    Reason::new("lane.held", text)
}

/// Whether `gate` lets a lane with these go on; one of which it could not say anything goes on, and does
/// not land.
#[must_use]
pub fn may_stay(members: &[&Candidate]) -> bool {
    let is_stopped = |member: &&Candidate| {
        is_gone(member) || matches!(member.need, Some(Need::Hold | Need::Fail))
    };
    !members.iter().any(is_stopped)
}

/// Whether all are approved, and `gate` lets them run.
#[must_use]
pub fn may_land(members: &[&Candidate]) -> bool {
    let runs = |member: &Candidate| {
        !is_gone(member) && matches!(member.need, Some(Need::Run | Need::Pass))
    };
    !members.is_empty()
        && members
            .iter()
            .all(|member| is_approved(member) && runs(member))
}

/// The order of approved ones: by priority, then since when they are approved, then by number.
#[must_use]
pub fn by_age(candidate: &Candidate) -> (Reverse<i32>, Instant, u64) {
    let since = candidate.approved_at.unwrap_or(Instant::MAX);
    (Reverse(priority(candidate)), since, candidate.number)
}

/// How often people asked for another run by `pointsman pr retest`.
pub(crate) fn retests(candidate: &Candidate) -> u32 {
    let count = attr(&candidate.tags, RETESTS_TAG).and_then(|count| count.parse().ok());
    count.unwrap_or(0)
}

/// What people asked of this head, as one word: another one each time that they ask. Both ways to ask
/// count, so that neither needs the policy that reads the other.
pub(crate) fn mark(candidate: &Candidate) -> Option<String> {
    let count = retests(candidate);
    let retry = attr(&candidate.tags, RETEST_TAG).filter(|mark| !mark.is_empty());
    if count == 0 && retry.is_none() {
        return None;
    }
    // A gate may say it in any words; a mark is one.
    let retry = retry.unwrap_or("0").replace(char::is_whitespace, "_");
    Some(format!("{count}.{retry}"))
}

/// What people asked of these heads: empty if nothing.
pub(crate) fn asked(members: &[&Candidate]) -> String {
    let marks = members
        .iter()
        .filter_map(|member| Some(format!("{}={}", member.number, mark(member)?)));
    marks.collect::<Vec<_>>().join(" ")
}

/// `#12 and #15 passed on 0123456789ab`.
#[must_use]
pub fn told(members: &[&Candidate]) -> String {
    let all: Vec<u64> = members.iter().map(|member| member.number).collect();
    numbers(&all)
}

/// Whether a verdict speaks against another run.
pub(crate) fn is_bad(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Fail | Verdict::Inconclusive))
}

#[cfg(test)]
mod tests;
