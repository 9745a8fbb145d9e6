//! What a host does with the plans of `select`, without a repository or a job: for tests, which say what
//! each lane comes to and see what is planned next. Answers that a host would refuse are refused here, and
//! so are those by which it would test for ever, or wait for ever for what it does not do again.

mod host;
pub mod rules;

use std::collections::{BTreeMap, BTreeSet};

use pointsman_sdk::select::{Candidate, Landing, LaneState, Question};
use pointsman_sdk::{Approval, Need, Verdict};

/// Lanes that a host tells of after they ended: the contract's number.
const ENDED_TOLD: usize = 50;

/// A target branch with its pull requests and lanes.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// What `select` is asked next.
    pub question: Question,
    /// Numbers that have landed, in their order.
    pub landed: Vec<u64>,
    /// Whether lanes have their commits only after [`Rehearsal::build`]; else at once.
    pub builds_late: bool,
    /// What a host knows of lanes, by id, and does not tell.
    sides: BTreeMap<u64, Side>,
    /// Work that came to an end which it would come to again.
    tried: BTreeSet<Work>,
    /// Heads that are known not to merge, with the commit that they do not merge into.
    conflicts: BTreeSet<(String, String)>,
    tips: u32,
    /// The time: one more for whatever happens to a lane.
    pub now: u64,
}

#[derive(Clone, Debug)]
struct Side {
    /// The lane that it stands on.
    on: Option<u64>,
    is_ended: bool,
    work: Work,
}

/// What is tested: lanes with the same are the same lane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    /// Empty as long as the lane below has no commit.
    base: String,
    members: Vec<u64>,
    heads: String,
    purpose: String,
    attrs: Vec<(String, String)>,
    /// How often people asked for another run of the members.
    retests: u32,
}

/// A candidate with a head of its own that needs a run; nobody reviewed it.
#[must_use]
pub fn candidate(number: u64) -> Candidate {
    Candidate {
        number,
        head: format!("head{number}"),
        author: "ann".to_owned(),
        labels: String::new(),
        opened_at: number,
        approval: Approval::Pending,
        approved_at: None,
        need: Some(Need::Run),
        on_tip: None,
        before: None,
        runs: 0,
        depends: Vec::new(),
        tags: Vec::new(),
    }
}

/// A candidate that was approved at the instant of its number.
#[must_use]
pub fn approved(number: u64) -> Candidate {
    Candidate {
        approval: Approval::Approved,
        approved_at: Some(number),
        ..candidate(number)
    }
}

/// The same with a tag, in place of the one that it had.
#[must_use]
pub fn tagged(mut candidate: Candidate, name: &str, value: &str) -> Candidate {
    candidate.tags.retain(|(held, _)| held != name);
    candidate.tags.push((name.to_owned(), value.to_owned()));
    candidate
}

impl Rehearsal {
    /// A branch with these candidates.
    #[must_use]
    pub fn new(slots: u32, mut candidates: Vec<Candidate>) -> Self {
        candidates.sort_by_key(|candidate| candidate.number);
        Rehearsal {
            question: Question {
                target: "main".to_owned(),
                tip: "tip0".to_owned(),
                slots,
                candidates,
                lanes: Vec::new(),
                runs: Vec::new(),
                attrs: Vec::new(),
            },
            landed: Vec::new(),
            builds_late: false,
            sides: BTreeMap::new(),
            tried: BTreeSet::new(),
            conflicts: BTreeSet::new(),
            tips: 0,
            now: 0,
        }
    }

    /// The candidate with that number, to be changed.
    pub fn candidate(&mut self, number: u64) -> &mut Candidate {
        let at = self
            .question
            .candidates
            .iter()
            .position(|one| one.number == number);
        let at = at.unwrap_or_else(|| panic!("#{number} is no candidate"));
        &mut self.question.candidates[at]
    }

    /// Sets a tag of a candidate.
    pub fn tag(&mut self, number: u64, name: &str, value: &str) {
        let one = self.candidate(number);
        *one = tagged(one.clone(), name, value);
    }

    /// Somebody pushes another head, of which nothing is known.
    pub fn push(&mut self, number: u64) {
        let one = self.candidate(number);
        one.head.push('+');
        (one.on_tip, one.before, one.runs) = (None, None, 0);
        self.settle();
    }

    /// Lanes with a state, as their members.
    #[must_use]
    pub fn lanes(&self, state: &str) -> Vec<Vec<u64>> {
        let lanes = self
            .question
            .lanes
            .iter()
            .filter(|lane| lane.state == state);
        lanes.map(|lane| lane.lane.members.clone()).collect()
    }

    /// What the lane that runs with these members has beside the branch: the members of those that it stands
    /// on and that are not decided, from below, then its own.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn stack(&self, members: &[u64]) -> Vec<u64> {
        let lanes = self.question.lanes.iter();
        let mut lanes = lanes.filter(|lane| lane.state == "running" || lane.state == "passed");
        let lane = lanes.find(|lane| self.is_living(lane.id) && lane.lane.members == members);
        let lane = lane.unwrap_or_else(|| panic!("no lane of {members:?} runs"));
        let mut stack = Vec::new();
        let mut next = Some(lane.id);
        while let Some(side) = next.and_then(|id| self.sides.get(&id)) {
            stack.splice(0..0, side.work.members.iter().copied());
            next = side.on.filter(|on| self.is_living(*on));
        }
        stack
    }

    fn is_living(&self, id: u64) -> bool {
        self.sides.get(&id).is_some_and(|side| !side.is_ended)
    }

    fn lane(&mut self, id: u64) -> &mut LaneState {
        let found = self.question.lanes.iter_mut().find(|state| state.id == id);
        found.unwrap_or_else(|| panic!("lane {id} is not told of"))
    }

    /// The lane that runs with these members ends so: `passed`, `failed`, `inconclusive`, `conflict`, or
    /// with the code of why it was given up for good (`lane.contained`).
    ///
    /// # Panics
    /// If there is none.
    pub fn end(&mut self, members: &[u64], state: &str) {
        let lanes = self.question.lanes.iter();
        let mut lanes = lanes.filter(|lane| self.is_living(lane.id) && lane.state == "running");
        let found = lanes.find(|lane| lane.lane.members == members);
        let lane = found.unwrap_or_else(|| panic!("no lane of {members:?} runs"));
        assert!(!lane.commit.is_empty(), "{lane:?} was not built yet");
        let (id, base, landing) = (lane.id, lane.base.clone(), lane.lane.landing);
        let Some(side) = self.sides.get_mut(&id) else {
            return;
        };
        side.is_ended = state != "passed" || landing == Landing::Never;
        let (on, work) = (side.on, side.work.clone());
        match state.starts_with("lane.") {
            true => self.cancel(id, state),
            false => {
                self.now += 1;
                let now = self.now;
                let lane = self.lane(id);
                lane.since = now;
                state.clone_into(&mut lane.state);
            }
        }
        if state != "passed" {
            self.tried.insert(work);
        }
        if let ([number], "conflict") = (members, state) {
            let head = self.candidate(*number).head.clone();
            self.conflicts.insert((head, base));
        }
        let verdict = verdict(state);
        for number in members {
            let candidate = self.candidate(*number);
            candidate.runs += u32::from(verdict.is_some());
            // What a batch came to, or a lane on another one, is not that of its members.
            if members.len() == 1 && on.is_none() {
                candidate.on_tip = verdict.or(candidate.on_tip);
            }
        }
        self.settle();
    }

    /// Nobody can decide about the lane that runs with these members, or can again.
    ///
    /// # Panics
    /// If there is none.
    pub fn hold(&mut self, members: &[u64], is_held: bool) {
        let lanes = self.question.lanes.iter();
        let mut lanes = lanes.filter(|lane| self.is_living(lane.id) && lane.state == "running");
        let found = lanes.find(|lane| lane.lane.members == members);
        let id = found
            .unwrap_or_else(|| panic!("no lane of {members:?} runs"))
            .id;
        self.lane(id).attrs = match is_held {
            true => vec![("host.held".to_owned(), "run.none".to_owned())],
            false => Vec::new(),
        };
    }

    /// Says whom `triage` named in the lane of these members that ended last.
    ///
    /// # Panics
    /// If there is none.
    pub fn blame(&mut self, members: &[u64], blamed: &[u64]) {
        let ended = self.question.lanes.iter_mut().filter(|lane| {
            let side = self.sides.get(&lane.id);
            side.is_some_and(|side| side.is_ended) && lane.lane.members == members
        });
        let last = ended.max_by_key(|lane| lane.id);
        blamed.clone_into(
            &mut last
                .unwrap_or_else(|| panic!("no lane of {members:?} ended"))
                .blame,
        );
    }

    /// Lands the lane that passed and may land, if there is one, and moves the tip.
    pub fn land(&mut self) -> bool {
        let may_land = |number: &u64| {
            let found = self.question.candidate(*number);
            found.is_some_and(|one| {
                one.approval == Approval::Approved
                    && matches!(one.need, Some(Need::Run | Need::Pass))
            })
        };
        let landable = self.question.lanes.iter().find(|state| {
            self.is_living(state.id)
                && state.state == "passed"
                && state.lane.landing == Landing::WhenPassed
                && state.base == self.question.tip
                && state.lane.members.iter().all(may_land)
        });
        let Some(landed) = landable else { return false };
        let (id, tip, members) = (
            landed.id,
            landed.commit.clone(),
            landed.lane.members.clone(),
        );
        "landed".clone_into(&mut self.lane(id).state);
        if let Some(side) = self.sides.get_mut(&id) {
            side.is_ended = true;
        }
        self.question
            .candidates
            .retain(|one| !members.contains(&one.number));
        self.landed.extend(members);
        self.to(tip);
        true
    }

    /// Somebody pushes to the branch.
    pub fn move_tip(&mut self) {
        self.tips += 1;
        self.to(format!("tip{}", self.tips));
    }

    fn to(&mut self, tip: String) {
        self.question.tip = tip;
        for candidate in &mut self.question.candidates {
            candidate.before = candidate.on_tip.take().or(candidate.before);
        }
        self.settle();
    }
}

fn verdict(state: &str) -> Option<Verdict> {
    match state {
        "passed" | "landed" => Some(Verdict::Pass),
        "failed" => Some(Verdict::Fail),
        "inconclusive" => Some(Verdict::Inconclusive),
        _ => None,
    }
}
