//! What could not be looked at, and for how long it is left alone: a repository that is broken is neither tried nor
//! complained about each second, and holds up no other.

use std::collections::HashMap;
use std::time::Duration;

use pointsman_forge::Oid;
use tokio::time::Instant;

/// How long something rests that failed for the first time; doubled with each more.
const FIRST_REST: Duration = Duration::from_secs(1);
/// How long it rests at most: nobody waits longer for what was mended.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How long after its rest something is forgotten that nobody asked about again: it is gone.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A repository, by its name.
    Repository(String),
    /// A target branch, by its pipeline.
    Target(i32),
    /// A pull request, by its row, and the commit that its branch points at.
    Head(i64, Option<Oid>),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Troubles(HashMap<Subject, Trouble>);

#[derive(Debug)]
struct Trouble {
    failures: u32,
    until: Instant,
}

impl Troubles {
    /// It failed, and is left alone for now.
    pub(super) fn rests(&self, what: &Subject, now: Instant) -> bool {
        let trouble = self.0.get(what);
        trouble.is_some_and(|trouble| now < trouble.until)
    }

    /// It failed; gives how long it rests.
    pub(super) fn failed(&mut self, what: Subject, now: Instant) -> Duration {
        let trouble = self.0.entry(what).or_insert(Trouble {
            failures: 0,
            until: now,
        });
        let rest = FIRST_REST.saturating_mul(1 << trouble.failures.min(16));
        let rest = rest.min(LONGEST_REST);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.until = now + rest;
        rest
    }

    /// It did not fail.
    pub(super) fn over(&mut self, what: &Subject) {
        self.0.remove(what);
    }

    /// Forgets what is not there any more.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0
            .retain(|_, trouble| now < trouble.until + FORGET_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_rests_longer_each_time_and_a_minute_at_most() {
        let mut now = Instant::now();
        let mut troubles = Troubles::default();
        let what = Subject::Target(1);
        let mut rests = vec![];
        for _ in 0..8 {
            rests.push(troubles.failed(what.clone(), now).as_secs());
            assert!(troubles.rests(&what, now));
            assert!(!troubles.rests(&Subject::Target(2), now));
            now += LONGEST_REST;
            assert!(!troubles.rests(&what, now));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        troubles.over(&what);
        assert_eq!(troubles.failed(what.clone(), now).as_secs(), 1);
        troubles.forget_old(now + FORGET_AFTER);
        assert!(!troubles.0.is_empty());
        troubles.forget_old(now + FORGET_AFTER + FIRST_REST);
        assert!(troubles.0.is_empty());
    }
}
