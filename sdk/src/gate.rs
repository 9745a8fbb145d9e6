//! The hook `gate`: does this need a run, and may it have one?

pub use crate::bindings::gate::exports::pointsman::policy::gate::Answer;
use crate::{Basis, Context, Need, Policy, Stop, Work};

/// A policy that says whether something needs a run, and may have one.
pub trait Gate: Policy {
    /// Decides about a head, or about a lane's merge commit: [`Work::kind`] tells.
    ///
    /// # Errors
    /// A [`Stop`]: the work is held with the reason.
    fn gate(context: &Context<Self::Settings>, work: Work) -> Result<Answer, Stop>;
}

impl Answer {
    /// An answer with its reason.
    #[must_use]
    pub fn new(need: Need, basis: Basis) -> Self {
        Answer { need, basis }
    }
}
