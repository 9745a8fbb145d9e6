//! What a host does with the plans of `select`, without a repository or a job: for tests, which say what
//! each lane comes to and see what is planned next. Answers that a host would refuse are refused here.

use pointsman_sdk::select::{Answer, Candidate, Landing, Lane, LaneState, Question};
use pointsman_sdk::{Approval, Need, Verdict, packed};

/// A target branch with its pull requests and lanes.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// What `select` is asked next.
    pub question: Question,
    /// Numbers that have landed, in their order.
    pub landed: Vec<u64>,
    tips: u32,
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

/// The same with a tag.
#[must_use]
pub fn tagged(mut candidate: Candidate, name: &str, value: &str) -> Candidate {
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
            tips: 0,
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

    /// Keeps what is in the plan, starts what is new, cancels what is gone.
    ///
    /// # Panics
    /// If a host would refuse the answer: a member that is no candidate or is there twice, two lanes
    /// that are the same.
    pub fn follow(&mut self, answer: &Answer) {
        assert!(answer.lanes.len() <= 200, "too many lanes");
        let mut wanted: Vec<LaneState> = Vec::new();
        for lane in &answer.lanes {
            let state = self.asked(lane);
            assert!(
                !wanted.iter().any(|other| is_same(other, &state)),
                "twice: {lane:?}"
            );
            wanted.push(state);
        }
        let waiting = answer.waiting.iter().flat_map(|waiting| &waiting.numbers);
        for number in waiting {
            assert!(
                self.question.candidate(*number).is_some(),
                "#{number} waits and is no candidate"
            );
            let in_lane = answer
                .lanes
                .iter()
                .any(|lane| lane.members.contains(number));
            assert!(!in_lane, "#{number} waits and has a lane");
        }
        for held in &mut self.question.lanes {
            if !matches!(held.state.as_str(), "waiting" | "running" | "passed") {
                continue;
            }
            match wanted.iter().position(|state| is_same(state, held)) {
                Some(at) => held.lane = wanted.remove(at).lane,
                None => "cancelled".clone_into(&mut held.state),
            }
        }
        for mut state in wanted {
            state.id = self.question.lanes.len() as u64;
            // Newest first.
            self.question.lanes.insert(0, state);
        }
        self.question
            .lanes
            .sort_by_key(|lane| lane.state != "running" && lane.state != "passed");
        assert!(
            answer.lanes.is_empty() || self.lanes("running").len() <= self.question.slots as usize,
            "more lanes run than there are slots"
        );
    }

    fn asked(&self, lane: &Lane) -> LaneState {
        let mut seen = Vec::new();
        let heads = lane.members.iter().map(|number| {
            assert!(!seen.contains(number), "#{number} is there twice");
            seen.push(*number);
            let found = self.question.candidate(*number);
            found.map_or_else(
                || panic!("#{number} is no candidate"),
                |one| one.head.as_str(),
            )
        });
        LaneState {
            id: 0,
            heads: packed::pack(heads),
            lane: lane.clone(),
            state: "running".to_owned(),
            since: 0,
            base: self.question.tip.clone(),
            commit: String::new(),
            blame: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// The lane that runs with these members ends so: `passed`, `failed`, `inconclusive`, `conflict`.
    ///
    /// # Panics
    /// If there is none.
    pub fn end(&mut self, members: &[u64], state: &str) {
        let mut lanes = self.question.lanes.iter_mut();
        let lane = lanes.find(|lane| lane.state == "running" && lane.lane.members == members);
        let lane = lane.unwrap_or_else(|| panic!("no lane of {members:?} runs"));
        state.clone_into(&mut lane.state);
        let verdict = match state {
            "passed" => Some(Verdict::Pass),
            "failed" => Some(Verdict::Fail),
            "inconclusive" => Some(Verdict::Inconclusive),
            _ => None,
        };
        for number in members {
            let candidate = self.candidate(*number);
            candidate.runs += 1;
            // As a host may that counts a lane's verdict for each of its members.
            candidate.on_tip = verdict.or(candidate.on_tip);
        }
    }

    /// Lands the first lane that passed and may land, if there is one, and moves the tip.
    pub fn land(&mut self) -> bool {
        let landable = self.question.lanes.iter().position(|state| {
            let is_approved = |number: &u64| {
                let found = self.question.candidate(*number);
                found.is_some_and(|one| one.approval == Approval::Approved)
            };
            state.state == "passed"
                && state.lane.landing == Landing::WhenPassed
                && state.base == self.question.tip
                && state.lane.members.iter().all(is_approved)
        });
        let Some(at) = landable else { return false };
        "landed".clone_into(&mut self.question.lanes[at].state);
        let members = self.question.lanes[at].lane.members.clone();
        self.question
            .candidates
            .retain(|one| !members.contains(&one.number));
        self.landed.extend(members);
        self.move_tip();
        true
    }

    /// Somebody pushes to the branch.
    pub fn move_tip(&mut self) {
        self.tips += 1;
        self.question.tip = format!("tip{}", self.tips);
        for candidate in &mut self.question.candidates {
            candidate.before = candidate.on_tip.take().or(candidate.before);
        }
    }
}

fn is_same(one: &LaneState, other: &LaneState) -> bool {
    let identity = |state: &LaneState| {
        let lane = &state.lane;
        (
            state.base.clone(),
            lane.members.clone(),
            state.heads.clone(),
            lane.purpose.clone(),
            lane.attrs.clone(),
        )
    };
    identity(one) == identity(other)
}
