//! A plan while it is made.

use std::collections::BTreeMap;

use pointsman_sdk::select::{Answer, Candidate, Landing, Lane, LaneState, Waiting};
use pointsman_sdk::{Basis, Need, Reason, attr};

use super::history::{LANE_TAG_TRY, PURPOSE, TRY_PURPOSE};
use super::{Board, RETEST, asked, is_approved, may_stay, standing, told};
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
        self.slots.min(MAX_LANES.saturating_sub(self.lanes.len()))
    }

    /// Whether a lane that may land has this pull request.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        let lanes = self.lanes.iter();
        lanes
            .filter(|lane| lane.purpose == PURPOSE)
            .any(|lane| lane.members.contains(&number))
    }

    /// Takes a lane in that takes a slot.
    pub fn start(&mut self, lane: Lane) {
        if self.lanes.len() < MAX_LANES {
            self.slots = self.slots.saturating_sub(1);
            self.lanes.push(lane);
        }
    }

    /// Keeps a living lane, with what its landing and reason are now. One that has passed takes no slot.
    pub fn keep(
        &mut self,
        state: &LaneState,
        members: &[&Candidate],
        landing: Landing,
        reason: Reason,
    ) {
        let mut lane = self
            .board
            .lane(members, &state.lane.purpose, landing, reason);
        // What makes it the same lane stays as it was.
        lane.attrs.clone_from(&state.lane.attrs);
        if takes_slot(state) {
            self.start(lane);
        } else if self.lanes.len() < MAX_LANES {
            self.lanes.push(lane);
        }
    }

    /// Says why a pull request is in no lane. The first word stands.
    pub fn wait(&mut self, candidate: &Candidate, reason: Reason) {
        self.waiting.entry(candidate.number).or_insert(reason);
    }

    /// Takes a lane in that lands without a run, as its tree has passed already.
    pub fn land(&mut self, lane: Lane) {
        if self.lanes.len() < MAX_LANES {
            self.lanes.push(lane);
        }
    }

    /// Gives a free slot to a run of the bare target, if its present tip has had none.
    pub fn baseline(&mut self) {
        let question = self.board.question;
        let is_baseline = |lane: &Lane| lane.members.is_empty() && lane.purpose == BASELINE_PURPOSE;
        let is_done = question
            .runs
            .iter()
            .any(|run| run.purpose == BASELINE_PURPOSE && run.commit == question.tip);
        let is_running = self
            .board
            .living()
            .any(|(state, _)| is_baseline(&state.lane));
        if self.free() > 0 && (is_running || !is_done) {
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

    /// Gives free slots to those that somebody asked to try, and keeps tries that live. Each asking is
    /// answered once, and has its mark in the lane's attrs.
    pub fn tries(&mut self) {
        let lanes = &self.board.question.lanes;
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
            let is_done = |state: &LaneState| {
                matches!(
                    state.state.as_str(),
                    "passed" | "failed" | "inconclusive" | "conflict"
                )
            };
            if lanes.iter().filter(of).any(is_done) || standing::gated(candidate).is_some() {
                continue;
            }
            if self.free() == 0 {
                continue;
            }
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
            && (candidate.on_tip.is_none() || !asked(&[candidate]).is_empty())
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
            let reason = match is_approved(candidate) || candidate.need != Some(Need::Run) {
                true => self.board.obstacle(candidate, &[]),
                false => None,
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
    !matches!(state.state.as_str(), "passed" | "landing")
}

fn preview_reason(members: &[&Candidate]) -> Reason {
    let text = format!(
        "{} has a free slot, and lands if it passes and is approved.",
        told(members)
    );
    Reason::new("preview.free-slot", text)
}
