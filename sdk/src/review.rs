//! The hook `review`: is this head approved?

pub use crate::bindings::review::exports::pointsman::policy::review::{
    Answer, Question, Submitted,
};
use crate::{Approval, Basis, Context, Policy, Stop};

/// A policy that says whether a head is approved.
pub trait Review: Policy {
    /// Decides about one pull request at its present head.
    ///
    /// # Errors
    /// A [`Stop`]: the head is pending, held with the reason.
    fn review(context: &Context<Self::Settings>, question: Question) -> Result<Answer, Stop>;
}

impl Answer {
    /// An answer that waits for nobody in particular.
    #[must_use]
    pub fn new(approval: Approval, basis: Basis) -> Self {
        Answer {
            approval,
            wanted: Vec::new(),
            basis,
        }
    }
}
