//! The hook `react`: what should be said or done about this event?

pub use crate::bindings::react::exports::pointsman::policy::react::{Act, Answer, Question};
use crate::{Basis, Context, Policy, Stop};

/// A policy that comments, labels and dispatches.
pub trait React: Policy {
    /// Decides about one event, once.
    ///
    /// # Errors
    /// A [`Stop`]: nothing is done, and the event's subject is held with the reason.
    fn react(context: &Context<Self::Settings>, question: Question) -> Result<Answer, Stop>;
}

impl Act {
    /// An act with its arguments, which it sorts.
    pub fn new<K: Into<String>, V: Into<String>>(
        kind: impl Into<String>,
        args: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut args: Vec<(String, String)> = args
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        args.sort();
        Act {
            kind: kind.into(),
            args,
        }
    }
}

impl Answer {
    /// These acts.
    #[must_use]
    pub fn new(acts: Vec<Act>, basis: Basis) -> Self {
        Answer { acts, basis }
    }
}
