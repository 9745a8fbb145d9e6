//! What the lanes say of a head: those that live, and those that ended last.

use std::collections::{BTreeMap, BTreeSet};

use pointsman_sdk::packed::unpack;
use pointsman_sdk::select::{Candidate, LaneState, Question};
use pointsman_sdk::{Instant, Verdict, attr};

use super::{Board, RETEST, RETEST_TAG, asked, has_conflict, is_bad, mark, retests};

/// The purpose of lanes that may land.
pub const PURPOSE: &str = "merge";

/// The purpose of lanes that never do.
pub const TRY_PURPOSE: &str = "try";

/// The tag in which `gate` says that people asked for a try. Its value is the same until they ask again.
pub const LANE_TAG_TRY: &str = "try";

/// States in which a lane has come to its end. A state that is not known is taken for a living one: the
/// host says what has ended.
const ENDED: [&str; 5] = ["failed", "inconclusive", "conflict", "landed", "cancelled"];

/// Why a host gives a lane up that it would give up again on the same commit, so that it begins no other
/// one like it there. Whoever asks for it all the same waits for ever, and keeps others waiting.
const GIVEN_UP: [&str; 6] = [
    "lane.merged",
    "lane.contained",
    "lane.gone",
    "lane.unbuildable",
    "lane.unlandable",
    "lane.target-gone",
];

/// Lanes that the host tells of after they ended: the contract's number. With fewer, it tells of all.
const ENDED_TOLD: usize = 50;

pub(crate) fn is_living(state: &str) -> bool {
    !ENDED.contains(&state)
}

/// Whether a host gave the lane up for good.
pub(crate) fn is_given_up(state: &LaneState) -> bool {
    state.state == "cancelled" && GIVEN_UP.contains(&state.lane.reason.code.as_str())
}

/// Whether a lane came to an end to which it would come again: begun again, it would tell nothing new.
pub(crate) fn is_decided(state: &LaneState) -> bool {
    let has_verdict = matches!(
        state.state.as_str(),
        "passed" | "failed" | "inconclusive" | "conflict"
    );
    has_verdict || is_given_up(state)
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
    /// Its lane cannot be built, or not be landed.
    GivenUp,
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
        let told = Told::of(question);
        let known = question.candidates.iter().map(|candidate| {
            let lanes = lanes.get(&candidate.number).map(Vec::as_slice);
            let known = Known::of(&told, candidate, lanes.unwrap_or_default());
            (candidate.number, known)
        });
        History {
            known: known.collect(),
        }
    }
}

/// What the lanes of a question are, taken together.
struct Told<'a> {
    tip: &'a str,
    /// Commits of lanes that have not landed: what stands on one of these does not stand on the branch.
    not_landed: BTreeSet<&'a str>,
    /// Whether all lanes that ever ended are told of.
    is_complete: bool,
    /// When the first of those that ended did. What ended before is not told of.
    first_end: Option<Instant>,
}

impl<'a> Told<'a> {
    fn of(question: &'a Question) -> Self {
        let lanes = || question.lanes.iter();
        let ended = || lanes().filter(|state| !is_living(&state.state));
        Told {
            tip: &question.tip,
            not_landed: lanes()
                .filter(|state| !state.lane.members.is_empty() && state.state != "landed")
                .map(|state| state.commit.as_str())
                .filter(|commit| *commit != question.tip)
                .collect(),
            // One that passed may live or not: nobody says.
            is_complete: lanes()
                .filter(|state| !is_living(&state.state) || state.state == "passed")
                .count()
                < ENDED_TOLD,
            first_end: ended().map(|state| state.since).min(),
        }
    }

    /// Whether people may have asked for another run of a head since the verdict that the host has on record
    /// for it, of which no lane tells. In doubt they have not: otherwise each asking would be answered anew
    /// whenever its lane is no longer told of.
    fn is_asked_since(&self, candidate: &Candidate, lanes: &[&LaneState]) -> bool {
        let Some(mark) = mark(candidate) else {
            return false;
        };
        // A lane that answered would have begun after these, and so would be told of.
        let is_before = |state: &&LaneState| {
            let held = held_mark(state, candidate.number);
            !is_living(&state.state) && state.lane.purpose == PURPOSE && held != Some(&mark)
        };
        let retried = attr(&candidate.tags, RETEST_TAG).filter(|mark| !mark.is_empty());
        let retried_at = retried.and_then(|at| at.parse::<Instant>().ok());
        let is_newer = |at| self.first_end.is_some_and(|end| end < at);
        self.is_complete
            || lanes.iter().any(is_before)
            || retried_at.is_some_and(is_newer)
            // Each asking has a run.
            || candidate.runs <= retests(candidate) + u32::from(retried.is_some())
    }
}

impl Known {
    /// What the lanes with this number among their members say, the newest first.
    fn of(told: &Told, candidate: &Candidate, lanes: &[&LaneState]) -> Self {
        let ended = || {
            lanes
                .iter()
                .copied()
                .filter(|state| is_ended_with(state, candidate))
        };
        let is_asked = told.is_asked_since(candidate, lanes);
        let on_tip = alone(ended().filter(|state| state.base == told.tip), candidate);
        let on_tip = on_tip.unwrap_or(match candidate.on_tip {
            Some(Verdict::Fail) if !is_asked => Alone::Failed,
            Some(Verdict::Inconclusive) if !is_asked => Alone::Inconclusive,
            _ => Alone::Open,
        });
        // What failed on top of a lane that did not land may have failed because of that.
        let before = ended().filter(|state| {
            state.base != told.tip && !told.not_landed.contains(state.base.as_str())
        });
        let failed_before = match alone(before, candidate) {
            Some(alone) => alone != Alone::Open,
            None => is_bad(candidate.before) && !is_asked,
        };
        let newest = ended().find(|state| state.base == told.tip && state.lane.members.len() == 1);
        let has_passed = match newest {
            Some(newest) => newest.state == "passed",
            None => candidate.on_tip == Some(Verdict::Pass) && !is_asked,
        };
        Known {
            // Where the host knows, nobody has to find out again.
            on_tip: match has_conflict(candidate) {
                true => Alone::Conflict,
                false => on_tip,
            },
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
    is_decided(state)
        && state.lane.purpose == PURPOSE
        && place.is_some_and(is_head)
        && held_mark(state, candidate.number) == mark(candidate).as_deref()
}

/// What the newest lane that tells of the head by itself says, if any does.
fn alone<'a>(
    mut lanes: impl Iterator<Item = &'a LaneState>,
    candidate: &Candidate,
) -> Option<Alone> {
    lanes.find_map(|state| {
        let is_alone = state.lane.members.len() == 1;
        let is_first = state.lane.members.first() == Some(&candidate.number);
        match state.state.as_str() {
            // The host names the first that does not merge; behind others it may be they.
            "conflict" if is_alone => Some(Alone::Conflict),
            "conflict" => {
                let is_named = is_first && state.blame.contains(&candidate.number);
                is_named.then_some(Alone::Conflict)
            }
            _ if !is_alone => state
                .blame
                .contains(&candidate.number)
                .then_some(Alone::Blamed),
            "failed" => Some(Alone::Failed),
            "inconclusive" => Some(Alone::Inconclusive),
            "cancelled" => Some(Alone::GivenUp),
            _ => Some(Alone::Open),
        }
    })
}

/// What people had asked of one of its members when the lane was asked for.
fn held_mark(state: &LaneState, number: u64) -> Option<&str> {
    attr(&state.lane.attrs, RETEST).and_then(|held| mark_of(held, number))
}

/// The part of a lane's mark that is about one number.
fn mark_of(held: &str, number: u64) -> Option<&str> {
    held.split(' ').find_map(|mark| {
        let (of, mark) = mark.split_once('=')?;
        (of.parse() == Ok(number)).then_some(mark)
    })
}
