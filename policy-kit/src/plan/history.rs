//! What the lanes say of a head: those that live, and those that ended last.

use std::collections::BTreeMap;

use pointsman_sdk::packed::unpack;
use pointsman_sdk::select::{Candidate, LaneState, Question};
use pointsman_sdk::{Verdict, attr};

use super::{Board, RETEST, RETEST_TAG, asked, is_bad};

/// The purpose of lanes that may land.
pub const PURPOSE: &str = "merge";

/// The purpose of lanes that never do.
pub const TRY_PURPOSE: &str = "try";

/// The tag in which `gate` says that people asked for a try. Its value is the same until they ask again.
pub const LANE_TAG_TRY: &str = "try";

/// States in which a lane has come to its end. A state that is not known is taken for a living one: the
/// host says what has ended.
const ENDED: [&str; 5] = ["failed", "inconclusive", "conflict", "landed", "cancelled"];

pub(crate) fn is_living(state: &str) -> bool {
    !ENDED.contains(&state)
}

/// Whether a lane tests these heads, in this order.
pub(crate) fn has_heads(state: &LaneState, members: &[&Candidate]) -> bool {
    unpack(&state.heads).eq(members.iter().map(|member| member.head.as_str()))
}

/// Whether nobody asked for another run of these since the lane was asked for.
pub(crate) fn is_as_asked(state: &LaneState, members: &[&Candidate]) -> bool {
    let held = attr(&state.lane.attrs, RETEST).unwrap_or_default();
    // What is asked of a try is written beside it.
    state.lane.purpose == TRY_PURPOSE || held == asked(members)
}

/// How a head did by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// Nobody knows yet, or it passed.
    Open,
    /// It failed.
    Failed,
    /// It ended, and nobody knows with what.
    Inconclusive,
    /// It does not merge.
    Conflict,
    /// It was one of several, and `triage` named it.
    Blamed,
}

/// What the lanes say of each candidate, read once: there may be 1,000 candidates and hundreds of lanes.
#[derive(Clone, Debug)]
pub struct History {
    known: BTreeMap<u64, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    on_tip: Alone,
    has_passed: bool,
    failed_before: bool,
}

impl History {
    /// The history of a question's candidates.
    #[must_use]
    pub fn of(question: &Question) -> Self {
        let mut lanes: BTreeMap<u64, Vec<&LaneState>> = BTreeMap::new();
        for state in &question.lanes {
            for number in &state.lane.members {
                lanes.entry(*number).or_default().push(state);
            }
        }
        let known = question.candidates.iter().map(|candidate| {
            let lanes = lanes.get(&candidate.number).map(Vec::as_slice);
            (
                candidate.number,
                Known::of(&question.tip, candidate, lanes.unwrap_or_default()),
            )
        });
        History {
            known: known.collect(),
        }
    }
}

impl Known {
    /// What the lanes with this number among their members say, the newest first.
    fn of(tip: &str, candidate: &Candidate, lanes: &[&LaneState]) -> Self {
        let ended = || {
            lanes
                .iter()
                .copied()
                .filter(|state| is_ended_with(state, candidate))
        };
        // A verdict may be that of a lane with others, or of a run before people asked for another: both
        // say nothing of this head now.
        let is_asked = attr(&candidate.tags, RETEST_TAG).is_some();
        let on_tip = match alone(ended().filter(|state| state.base == tip), candidate) {
            Ok(alone) => alone,
            Err(Explained::ByOthers) => Alone::Open,
            Err(Explained::No) => match candidate.on_tip {
                Some(Verdict::Fail) if !is_asked => Alone::Failed,
                Some(Verdict::Inconclusive) if !is_asked => Alone::Inconclusive,
                _ => Alone::Open,
            },
        };
        let failed_before = match alone(ended().filter(|state| state.base != tip), candidate) {
            Ok(alone) => alone != Alone::Open,
            Err(Explained::ByOthers) => false,
            Err(Explained::No) => is_bad(candidate.before) && !is_asked,
        };
        let newest = ended().find(|state| state.base == tip && state.lane.members.len() == 1);
        let has_passed = match newest {
            Some(newest) => newest.state == "passed",
            None => candidate.on_tip == Some(Verdict::Pass) && !is_asked,
        };
        Known {
            on_tip,
            has_passed,
            failed_before,
        }
    }
}

impl<'a> Board<'a> {
    fn known(&self, candidate: &Candidate) -> Option<&'a Known> {
        self.history.known.get(&candidate.number)
    }

    /// What is known of this head by itself on the present tip.
    #[must_use]
    pub fn alone_on_tip(&self, candidate: &Candidate) -> Alone {
        self.known(candidate)
            .map_or(Alone::Open, |known| known.on_tip)
    }

    /// Whether this head failed by itself when it was tested last, on an older tip.
    #[must_use]
    pub fn failed_before(&self, candidate: &Candidate) -> bool {
        self.known(candidate)
            .is_some_and(|known| known.failed_before)
    }

    /// Whether this head by itself has passed on the present tip, as people asked for it last.
    #[must_use]
    pub fn has_passed(&self, candidate: &Candidate) -> bool {
        self.known(candidate).is_some_and(|known| known.has_passed)
    }
}

/// Whether an ended lane that could land has this head among its members, as people asked for it last.
#[must_use]
pub fn is_ended_with(state: &LaneState, candidate: &Candidate) -> bool {
    let members = &state.lane.members;
    let place = members
        .iter()
        .position(|number| *number == candidate.number);
    let is_head = |place| unpack(&state.heads).nth(place) == Some(candidate.head.as_str());
    let ended = matches!(
        state.state.as_str(),
        "failed" | "inconclusive" | "conflict" | "passed"
    );
    let held = attr(&state.lane.attrs, RETEST).and_then(|held| mark_of(held, candidate.number));
    ended
        && state.lane.purpose == PURPOSE
        && place.is_some_and(is_head)
        && held == attr(&candidate.tags, RETEST_TAG)
}

/// Where a verdict may come from of which no lane tells.
enum Explained {
    /// A lane with others.
    ByOthers,
    /// A lane that is no longer among those that ended last.
    No,
}

/// What the newest lane that tells of the head by itself says. If none does: whether a lane with others
/// may be where a verdict comes from.
fn alone<'a>(
    lanes: impl Iterator<Item = &'a LaneState>,
    candidate: &Candidate,
) -> Result<Alone, Explained> {
    let mut explained = Explained::No;
    for state in lanes {
        let is_alone = state.lane.members.len() == 1;
        if !is_alone && state.blame.contains(&candidate.number) {
            return Ok(Alone::Blamed);
        }
        if is_alone {
            return Ok(match state.state.as_str() {
                "failed" => Alone::Failed,
                "inconclusive" => Alone::Inconclusive,
                "conflict" => Alone::Conflict,
                _ => Alone::Open,
            });
        }
        explained = Explained::ByOthers;
    }
    Err(explained)
}

/// The part of a lane's mark that is about one number.
fn mark_of(held: &str, number: u64) -> Option<&str> {
    held.split(' ').find_map(|mark| {
        let (of, mark) = mark.split_once('=')?;
        (of.parse() == Ok(number)).then_some(mark)
    })
}
