//! The hook `ignore`: which of these versions need no runs?

pub use crate::bindings::ignore::exports::pointsman::policy::ignore::{
    Answer, Ground, Ignored, Question, Rule, Version,
};
use crate::packed::{pack, unpack};
use crate::{Basis, Context, Policy, Reason, Stop};

/// A policy that says which versions need no runs.
pub trait Ignore: Policy {
    /// Decides about a batch of versions of one distro. What is said of a version may depend on that
    /// version, the distro's attrs and the rules only: the host cuts batches as it likes.
    ///
    /// # Errors
    /// A [`Stop`]: the versions keep what was decided before.
    fn ignore(context: &Context<Self::Settings>, question: Question) -> Result<Answer, Stop>;
}

impl Question {
    /// The versions: index, name, record.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, &Version)> {
        let named = unpack(&self.names).zip(&self.versions);
        (0..)
            .zip(named)
            .map(|(index, (name, version))| (index, name, version))
    }

    /// A question about names and nothing else: no rules, on no host. For tests.
    pub fn of_names<S: AsRef<str>>(distro: &str, names: impl IntoIterator<Item = S>) -> Self {
        let names = pack(names);
        let versions = unpack(&names)
            .map(|_| Version {
                first_seen: 0,
                hosts: 0,
            })
            .collect();
        Question {
            distro: distro.to_owned(),
            distro_attrs: Vec::new(),
            rules: Vec::new(),
            names,
            versions,
            version_attrs: Vec::new(),
        }
    }
}

impl Answer {
    /// An answer that ignores nothing yet.
    #[must_use]
    pub fn new(basis: Basis) -> Self {
        Answer {
            grounds: Vec::new(),
            ignored: Vec::new(),
            basis,
        }
    }

    /// Adds a ground, and gives the index that [`ignore`](Self::ignore) takes. `scope` is `all` or
    /// `automatic`, `rule` the id of the rule that did it.
    pub fn ground(&mut self, scope: &str, rule: Option<u64>, reason: Reason) -> u32 {
        self.grounds.push(Ground {
            scope: scope.to_owned(),
            rule,
            reason,
        });
        // There are as many grounds as rules, which are not 2^32 in a guest's memory.
        u32::try_from(self.grounds.len() - 1).unwrap_or(u32::MAX)
    }

    /// Ignores a version, by its index in the question.
    pub fn ignore(&mut self, version: u32, ground: u32) {
        self.ignored.push(Ignored { version, ground });
    }
}
