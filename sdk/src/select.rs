//! The hook `select`: which lanes should there be now, and which may land?

pub use crate::bindings::select::exports::pointsman::policy::select::{
    Answer, Candidate, Landing, Lane, LaneState, Question, Waiting,
};
use crate::{Basis, Context, Policy, Reason, Stop};

/// A policy that says which lanes there should be.
pub trait Select: Policy {
    /// The whole plan: the host keeps lanes that stay in it, starts what is new, cancels what is gone.
    ///
    /// # Errors
    /// A [`Stop`]: every lane stays as it is, and none is started.
    fn select(context: &Context<Self::Settings>, question: Question) -> Result<Answer, Stop>;
}

impl Question {
    /// The candidate with that number.
    #[must_use]
    pub fn candidate(&self, number: u64) -> Option<&Candidate> {
        let at = self
            .candidates
            .binary_search_by_key(&number, |candidate| candidate.number);
        at.ok().and_then(|at| self.candidates.get(at))
    }
}

impl Lane {
    /// A lane on the target's tip that lands as soon as it passed.
    #[must_use]
    pub fn merge(members: Vec<u64>, reason: Reason) -> Self {
        Lane {
            members,
            on: None,
            purpose: "merge".to_owned(),
            landing: Landing::WhenPassed,
            priority: 0,
            reason,
            attrs: Vec::new(),
        }
    }
}

impl Answer {
    /// A plan without lanes yet.
    #[must_use]
    pub fn new(basis: Basis) -> Self {
        Answer {
            lanes: Vec::new(),
            waiting: Vec::new(),
            basis,
        }
    }
}
