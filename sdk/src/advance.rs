//! The hook `advance`: what is next for these versions, and what should run?

pub use crate::bindings::advance::exports::pointsman::policy::advance::{
    Answer, Kernel, Mover, Question, Stage, Step, Tried,
};
use crate::{Basis, Context, Policy, Stop, attr};

/// A policy that moves versions from stage to stage and says what should run.
pub trait Advance: Policy {
    /// Decides about versions of one distro. Versions that the answer does not name keep their stage
    /// and their runs.
    ///
    /// # Errors
    /// A [`Stop`]: every version keeps its stage and its runs.
    fn advance(context: &Context<Self::Settings>, question: Question) -> Result<Answer, Stop>;
}

impl Question {
    /// The stage of that name.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// A tag that `ignore` handed on with this distro's versions.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        let tags = self.distro_attrs.iter();
        tags.filter_map(|(key, value)| Some((key.strip_prefix("tag.")?, value.as_str())))
            .find_map(|(held, value)| (held == name).then_some(value))
    }
}

impl Kernel {
    /// The newest run of a purpose.
    #[must_use]
    pub fn tried(&self, purpose: &str) -> Option<&Tried> {
        self.tried.iter().find(|tried| tried.purpose == purpose)
    }

    /// What this binding remembers of this kernel under a key: the `basis` of a step wrote it, or a
    /// person.
    #[must_use]
    pub fn note(&self, key: &str) -> Option<&str> {
        attr(&self.notes, key)
    }
}

impl Step {
    /// A step that changes nothing and lets nothing run, of the kernel at that index.
    #[must_use]
    pub fn stay(index: u32, basis: Basis) -> Self {
        Step {
            index,
            stage: None,
            purpose: None,
            priority: 0,
            basis,
        }
    }
}
