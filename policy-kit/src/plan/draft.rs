//! A plan while it is made.

use std::collections::BTreeMap;

use pointsman_sdk::select::{Answer, Candidate, Landing, Lane, LaneState, Waiting};
use pointsman_sdk::{Basis, Need, Reason, attr};

use super::history::{LANE_TAG_TRY, PURPOSE, TRY_PURPOSE, is_decided, is_living};
use super::{Board, RETEST, is_approved, is_held, may_stay, standing, told};
use crate::text::{REASON_BYTES, clip, count, short};

/// The purpose of a run of the bare target.
const BASELINE_PURPOSE: &str = "baseline";

/// Lanes of an answer: the contract's limit.
const MAX_LANES: usize = 200;

/// Lanes that will be, the slots that they take, and why the others have none.
#[derive(Debug)]
pub struct Plan<'a> {
    board: Board<'a>,
    lanes: Vec<Lane>,
    slots: usize,
    waiting: BTreeMap<u64, Reason>,
}

impl<'a> Plan<'a> {
    /// A plan without lanes.
    #[must_use]
    pub fn new(board: Board<'a>) -> Self {
        Plan {
            board,
            lanes: Vec::new(),
            slots: board.question.slots as usize,
            waiting: BTreeMap::new(),
        }
    }

    /// Slots that no lane of the plan takes.
    #[must_use]
    pub fn free(&self) -> usize {
        self.slots
    }

    /// Whether a lane that takes no slot has a place: as many as could still take one are kept for those
    /// that do. Otherwise a few hundred heads that passed and wait for their approval would leave no place
    /// for a test.
    fn has_place(&self) -> bool {
        self.lanes.len() + self.slots < MAX_LANES
    }

    /// Whether a lane that may land has this pull request.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        let lanes = self.lanes.iter();
        lanes
            .filter(|lane| lane.purpose == PURPOSE)
            .any(|lane| lane.members.contains(&number))
    }

    /// Takes a lane in that takes a slot. Gives its place, on which others may stand; none: there are as many
    /// lanes as there may be.
    pub fn start(&mut self, lane: Lane) -> Option<u32> {
        if self.lanes.len() >= MAX_LANES {
            return None;
        }
        self.slots = self.slots.saturating_sub(1);
        self.place(lane)
    }

    fn place(&mut self, lane: Lane) -> Option<u32> {
        let place = u32::try_from(self.lanes.len()).ok();
        self.lanes.push(lane);
        place
    }

    /// Keeps a living lane, with what its landing and reason are now. One that has passed takes no slot.
    pub fn keep(
        &mut self,
        state: &LaneState,
        members: &[&Candidate],
        landing: Landing,
        reason: Reason,
    ) -> Option<u32> {
        self.keep_on(state, members, landing, reason, None)
    }

    /// As [`Plan::keep`], for one that stands on another lane of the plan.
    pub fn keep_on(
        &mut self,
        state: &LaneState,
        members: &[&Candidate],
        landing: Landing,
        reason: Reason,
        on: Option<u32>,
    ) -> Option<u32> {
        let mut lane = self
            .board
            .lane(members, &state.lane.purpose, landing, reason);
        // What makes it the same lane stays as it was.
        lane.attrs.clone_from(&state.lane.attrs);
        lane.on = on;
        if takes_slot(state) {
            self.start(lane)
        } else if self.has_place() {
            self.place(lane)
        } else {
            None
        }
    }

    /// Says why a pull request is in no lane. The first word stands.
    pub fn wait(&mut self, candidate: &Candidate, reason: Reason) {
        self.waiting.entry(candidate.number).or_insert(reason);
    }

    /// Takes a lane in that lands without a run, as its tree has passed already.
    pub fn land(&mut self, lane: Lane) {
        if self.has_place() {
            self.lanes.push(lane);
        }
    }

    /// Gives a free slot to a run of the bare target, if its present tip has had none. The host tells of
    /// those that ended; what the lanes tell counts as well.
    pub fn baseline(&mut self) {
        let question = self.board.question;
        let is_baseline = |state: &&LaneState| {
            let lane = &state.lane;
            lane.members.is_empty()
                && lane.purpose == BASELINE_PURPOSE
                && state.base == question.tip
        };
        // One without a verdict was cancelled, and says nothing.
        let is_told = question.runs.iter().any(|run| {
            let is_it = run.purpose == BASELINE_PURPOSE && run.commit == question.tip;
            is_it && run.verdict.is_some()
        });
        let is_done = is_told || question.lanes.iter().filter(is_baseline).any(is_decided);
        if self.free() > 0 && !is_done {
            let reason = Reason::new(
                "baseline.due",
                "The branch itself is tested at its new tip.",
            );
            let lane = self
                .board
                .lane(&[], BASELINE_PURPOSE, Landing::Never, reason);
            self.start(lane);
        }
    }

    /// Gives free slots to those that somebody asked to try, those that run before those that wait. Each
    /// asking is answered once, and has its mark in the lane's attrs.
    pub fn tries(&mut self) {
        let lanes = &self.board.question.lanes;
        let mut asked: Vec<(bool, &Candidate, String)> = Vec::new();
        for candidate in &self.board.question.candidates {
            let Some(mark) = attr(&candidate.tags, LANE_TAG_TRY) else {
                continue;
            };
            let mark = format!("try {}={mark}", candidate.number);
            let of = |state: &&LaneState| {
                let is_same =
                    state.lane.purpose == TRY_PURPOSE && state.lane.members == [candidate.number];
                is_same && attr(&state.lane.attrs, RETEST) == Some(mark.as_str())
            };
            if lanes.iter().filter(of).any(is_decided) || standing::gated(candidate).is_some() {
                continue;
            }
            let runs = lanes.iter().filter(of).any(|state| is_living(&state.state));
            asked.push((!runs, candidate, mark));
        }
        asked.sort_by_key(|(waits, ..)| *waits);
        for (_, candidate, mark) in asked.into_iter().take(self.free()) {
            let reason = Reason::new("try.asked", "Somebody asked for a try; it does not land.");
            let mut lane = self
                .board
                .lane(&[candidate], TRY_PURPOSE, Landing::Never, reason);
            lane.attrs = vec![(RETEST.to_owned(), mark)];
            self.start(lane);
        }
    }

    /// Living lanes of unapproved heads that stay as long as slots are free for them, then new ones for
    /// those that nobody tested on this tip yet, the oldest first. What passes lands by itself once it is
    /// approved, as it is the same lane then.
    pub fn previews(&mut self, order: impl Fn(&Candidate) -> u64) {
        for (state, members) in self.board.living() {
            let is_preview =
                state.lane.purpose == PURPOSE && members.iter().any(|member| !is_approved(member));
            if is_preview
                && may_stay(&members)
                && (self.free() > 0 || !takes_slot(state))
                && !members.iter().any(|member| self.has(member.number))
            {
                self.keep(state, &members, Landing::Hold, preview_reason(&members));
            }
        }
        let mut open: Vec<&Candidate> = self
            .board
            .question
            .candidates
            .iter()
            .filter(|candidate| self.is_previewable(candidate))
            .collect();
        open.sort_by_cached_key(|candidate| order(candidate));
        for candidate in open {
            if self.free() == 0 {
                break;
            }
            let lane = self.board.lane(
                &[candidate],
                PURPOSE,
                Landing::Hold,
                preview_reason(&[candidate]),
            );
            self.start(lane);
        }
    }

    /// Whether a run would tell something new of this unapproved head.
    #[must_use]
    pub fn is_previewable(&self, candidate: &'a Candidate) -> bool {
        candidate.approval == pointsman_sdk::Approval::Pending
            && candidate.need == Some(Need::Run)
            && self.board.obstacle(candidate, &[]).is_none()
            && !self.board.has_passed(candidate)
            && !self.has(candidate.number)
    }

    /// The answer, with a word for each that is in no lane: what speaks against it, else why it is not
    /// its turn.
    #[must_use]
    pub fn finish(mut self, code: &str, turn: &str) -> Answer {
        for candidate in &self.board.question.candidates {
            if self
                .lanes
                .iter()
                .any(|lane| lane.members.contains(&candidate.number))
            {
                self.waiting.remove(&candidate.number);
                continue;
            }
            let reason = match is_approved(candidate) {
                true => self.board.obstacle(candidate, &[]),
                false => standing::gated(candidate),
            };
            let patience = || self.board.patience(candidate, turn);
            self.waiting
                .entry(candidate.number)
                .or_insert_with(|| reason.unwrap_or_else(patience));
        }
        let landing = self
            .lanes
            .iter()
            .filter(|lane| lane.landing == Landing::WhenPassed)
            .count();
        let text = format!(
            "{} on {}, of which {landing} may land; {} in none.",
            count(self.lanes.len(), "lane", "lanes"),
            short(&self.board.question.tip),
            count(self.waiting.len(), "pull request is", "pull requests are"),
        );
        let mut answer = Answer::new(Basis::because(code, text));
        answer.lanes = self.lanes;
        for (number, mut reason) in self.waiting {
            reason.text = clip(&reason.text, REASON_BYTES);
            match answer
                .waiting
                .iter_mut()
                .find(|waiting| waiting.reason == reason)
            {
                Some(waiting) => waiting.numbers.push(number),
                None => answer.waiting.push(Waiting {
                    numbers: vec![number],
                    reason,
                }),
            }
        }
        answer
    }
}

/// Whether the lane runs, or would.
fn takes_slot(state: &LaneState) -> bool {
    !matches!(state.state.as_str(), "passed" | "landing") && !is_held(state)
}

fn preview_reason(members: &[&Candidate]) -> Reason {
    let text = format!(
        "{} has a free slot, and lands if it passes and is approved.",
        told(members)
    );
    Reason::new("preview.free-slot", text)
}
