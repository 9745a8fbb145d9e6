//! What to make of the answers about pull requests: pure, without I/O.
//!
//! `standing` is what `review` and `gate` come to, `lanes` what `select` wants against what there is,
//! `landing` which of them may go on; what becomes of a lane's jobs is in `plan::jobs`. A lane is a value that a
//! turn changes in memory; what differs at the end is written.

mod landing;
mod lanes;
mod react;
mod standing;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

pub use landing::{landable, may_begin, outdated, promote, stale};
pub use lanes::{GIVEN_UP, MAX_LANES, UNWANTED, Wanted, lanes, oldest_approved};
pub use react::{Act, acts};
pub use standing::{Said, approval, check_wanted, need};

pub use super::jobs::{
    Attempt, Attrs, Job, JobState, RETESTS, Triaged, Verdict, Why, after, digest, jobs, reusable,
    settle, stop, triage, without_policy,
};

/// Whether a head is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Approval {
    /// By all.
    Approved,
    /// Not yet.
    Pending,
    /// Somebody objects.
    Rejected,
}

impl Approval {
    /// As the record has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
        }
    }
}

/// Whether something needs a run, the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Green without one.
    Pass,
    /// Run it.
    Run,
    /// Not now.
    Hold,
    /// Red without one.
    Fail,
}

impl Need {
    /// As the record has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Run => "run",
            Self::Hold => "hold",
            Self::Fail => "fail",
        }
    }
}

/// An open pull request as `select` sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: i64,
    /// Its number.
    pub number: i32,
    /// Its head.
    pub head: String,
    /// Its author.
    pub author: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// It is a draft: it may not land, and `select` is not told of it.
    pub draft: bool,
    /// Its branch is gone.
    pub head_gone: bool,
    /// How often a person asked for another run of this head.
    pub retests: i32,
    /// What `review` said of this head.
    pub approval: Approval,
    /// Since when it is approved.
    pub approved_at: Option<DateTime<Utc>>,
    /// What `gate` said of this head; none: it could not say.
    pub need: Option<Need>,
    /// Tags of `review` and `gate`.
    pub tags: Attrs,
    /// The last verdict of this head on the target's tip.
    pub on_tip: Option<Verdict>,
    /// The last verdict of this head on an older tip.
    pub before: Option<Verdict>,
    /// Lanes with this head that ended with a verdict.
    pub runs: i32,
    /// It is known that it does not merge with the tip.
    pub conflict: bool,
    /// What it needs before it.
    pub depends: Vec<Depend>,
}

/// A pull request that another one needs before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depend {
    /// Its number, behind `name#` if it is of another repository.
    pub subject: String,
    /// open, landed, closed; unknown: there is none.
    pub state: String,
    /// line: the description names it; stack: the target is its branch.
    pub how: &'static str,
}

impl Depend {
    /// Whether what needs it may land, as far as it goes. A stack does not wait: to land on the branch of another one
    /// is what its target says, and `main` may itself be proposed for a release.
    pub(super) fn lets_land(&self) -> bool {
        self.state == "landed" || self.how == "stack"
    }
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// For a slot.
    Waiting,
    /// Its commit is being made.
    Building,
    /// Its commit is there; what tests it is to be said.
    Built,
    /// Its jobs run.
    Running,
    /// It may land, or it is a preview.
    Passed,
    /// It did not pass.
    Failed,
    /// Nobody can say.
    Inconclusive,
    /// It does not merge.
    Conflict,
    /// The branch is being moved.
    Landing,
    /// It landed.
    Landed,
    /// It is not wanted any more.
    Cancelled,
}

impl LaneState {
    const NAMES: [(LaneState, &'static str); 11] = [
        (Self::Waiting, "waiting"),
        (Self::Building, "building"),
        (Self::Built, "built"),
        (Self::Running, "running"),
        (Self::Passed, "passed"),
        (Self::Failed, "failed"),
        (Self::Inconclusive, "inconclusive"),
        (Self::Conflict, "conflict"),
        (Self::Landing, "landing"),
        (Self::Landed, "landed"),
        (Self::Cancelled, "cancelled"),
    ];

    /// As the record has it.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(state, _)| *state == self);
        found.map_or("", |(_, name)| name)
    }

    /// By its name in the record.
    pub fn of(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(state, _)| *state)
    }

    /// Whether it takes a slot.
    pub fn works(self) -> bool {
        matches!(self, Self::Building | Self::Built | Self::Running)
    }
}

/// What a lane may do when it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// Nothing: a preview.
    Never,
    /// Wait.
    Hold,
    /// Move the branch.
    WhenPassed,
}

impl Landing {
    /// As the record has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Hold => "hold",
            Self::WhenPassed => "when-passed",
        }
    }

    /// By its name in the record.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Never, Self::Hold, Self::WhenPassed]
            .into_iter()
            .find(|landing| landing.name() == name)
    }
}

/// A lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Its id; none while it is only planned.
    pub id: Option<i64>,
    /// The commit that it stands on; none while the lane below has none.
    pub base: Option<String>,
    /// The lane that it stands on.
    pub on: Option<On>,
    /// Ids of its members, in the order in which they are merged.
    pub members: Vec<i64>,
    /// Their numbers.
    pub numbers: Vec<i32>,
    /// Their heads.
    pub heads: Vec<String>,
    /// `merge`, `preview`, ...
    pub purpose: String,
    /// What it may do when it passed.
    pub landing: Landing,
    /// Higher goes first.
    pub priority: i32,
    /// Of `select`, and `retests`.
    pub attrs: Attrs,
    /// Where it is.
    pub state: LaneState,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The merge commit.
    pub commit: Option<String>,
    /// Its tree.
    pub tree: Option<String>,
    /// Why it is there, or why it ended as it did.
    pub why: Why,
    /// Why it does not go on: its code and text.
    pub held: Option<(String, String)>,
    /// Members that `select` should try without.
    pub blame: Vec<i32>,
    /// What `gate` handed on about it.
    pub tags: Attrs,
    /// An attempt of one of its jobs has not ended.
    pub busy: bool,
    /// It is over.
    pub ended: bool,
}

/// The lane that another one stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// By its id.
    Lane(i64),
    /// By its place among the lanes of this turn.
    Place(usize),
}

impl Lane {
    /// Whether both are the same work, whatever became of it.
    fn same_work(&self, other: &Lane) -> bool {
        self.members == other.members
            && self.heads == other.heads
            && self.purpose == other.purpose
            && self.attrs == other.attrs
    }

    /// For people: `#12 #15 on main`.
    pub fn name(&self, target: &str) -> String {
        match self.numbers.as_slice() {
            [] => target.to_owned(),
            numbers => {
                let names: Vec<String> = numbers.iter().map(|n| format!("#{n}")).collect();
                format!("{} on {target}", names.join(" "))
            }
        }
    }

    pub(super) fn to(&mut self, state: LaneState, why: Why, at: DateTime<Utc>) {
        self.state = state;
        self.since = at;
        self.why = why;
        self.held = None;
        self.ended = matches!(
            state,
            LaneState::Failed
                | LaneState::Inconclusive
                | LaneState::Conflict
                | LaneState::Landed
                | LaneState::Cancelled
        );
    }

    /// Nobody can decide about it, and nothing runs for it: it keeps no other from its slot.
    pub fn is_stuck(&self) -> bool {
        matches!(self.state, LaneState::Built | LaneState::Running)
            && self.held.is_some()
            && !self.busy
    }

    /// Whether it takes one of the slots.
    pub fn takes_slot(&self) -> bool {
        !self.ended && self.state.works() && !self.is_stuck()
    }

    /// Passes; a preview is over then.
    pub fn pass(&mut self, why: Why, at: DateTime<Utc>) {
        self.to(LaneState::Passed, why, at);
        self.ended = self.landing == Landing::Never;
    }

    /// Ends in `state`.
    pub fn end(&mut self, state: LaneState, why: Why, at: DateTime<Utc>) {
        self.to(state, why, at);
    }

    /// Goes on to `state`.
    pub fn go(&mut self, state: LaneState, at: DateTime<Utc>) {
        let why = self.why.clone();
        self.to(state, why, at);
    }

    /// Stays where it is, and says why.
    pub fn hold(&mut self, code: &str, text: &str) {
        let held = Some((code.to_owned(), text.to_owned()));
        if self.held != held {
            self.held = held;
        }
    }
}

/// What a pipeline may do now.
#[derive(Debug, Clone)]
pub struct Rails<'a> {
    /// The target's name.
    pub target: &'a str,
    /// The target's tip.
    pub tip: &'a str,
    /// Lanes that may run at once.
    pub slots: usize,
    /// Why the tree is closed.
    pub frozen: Option<&'a str>,
    /// The time of the turn.
    pub at: DateTime<Utc>,
}
