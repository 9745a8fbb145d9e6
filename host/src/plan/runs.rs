//! What becomes of the runs that a kernel pipeline makes itself: pure, without I/O.

use super::jobs::{Job, JobState, Verdict, Why, stop};

/// A run of ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id; none while it is only planned.
    pub id: Option<i64>,
    /// For people: `debian-12/6.1.0-49-amd64 build`.
    pub name: String,
    /// What `run` said of it, or `triage` at last.
    pub why: Why,
    /// How it ended; none: it goes on.
    pub verdict: Option<Verdict>,
    /// Why it does not go on: code and text.
    pub held: Option<(String, String)>,
    /// The host itself ended it, and its verdict says nothing of the version.
    pub called_off: bool,
}

impl Run {
    /// Ends as one that nobody wants any more.
    pub fn call_off(&mut self, jobs: &mut [Job], unwanted: &Unwanted) {
        self.end(jobs, Verdict::Inconclusive, unwanted.why());
        self.called_off = true;
    }

    /// Ends with that verdict. What still runs of it need not go on.
    pub fn end(&mut self, jobs: &mut [Job], verdict: Verdict, why: Why) {
        for job in jobs {
            stop(job, &why.text);
        }
        self.verdict = Some(verdict);
        self.why = why;
        self.held = None;
    }

    /// Stays as it is, and says why.
    pub fn hold(&mut self, code: &str, text: &str) {
        self.held = Some((code.to_owned(), text.to_owned()));
    }

    /// What the jobs came to, by `triage` or without it: a verdict ends the run; with none, and nothing left
    /// that could still end, it is held, for nobody would look at it again.
    pub fn judged(&mut self, jobs: &mut [Job], verdict: Option<(Verdict, Why)>) {
        self.held = None;
        match verdict {
            Some((verdict, why)) => self.end(jobs, verdict, why),
            None => {
                let goes_on = jobs
                    .iter()
                    .any(|j| matches!(j.state, JobState::Waiting | JobState::Running));
                if !goes_on {
                    self.hold(
                        "triage.waits",
                        "every job has ended, and `triage` gives no verdict",
                    );
                }
            }
        }
    }
}

/// Why a run of ours should not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    /// The version is marked as deleted.
    Deleted,
    /// The policy ignores the version now: scope and reason.
    Ignored(String, String),
    /// `advance` does not wish for it any more.
    NotWished,
}

impl Unwanted {
    /// What the record says of the run then.
    pub fn why(&self) -> Why {
        match self {
            Self::Deleted => Why::host(
                "version.deleted",
                "cancelled: the version is marked as deleted",
            ),
            Self::Ignored(scope, reason) => {
                let text = format!("cancelled: the version is ignored ({scope}): {reason}");
                Why::host("version.ignored", text)
            }
            Self::NotWished => Why::host(
                "run.unwanted",
                "cancelled: the policy does not want it any more",
            ),
        }
    }
}

/// Runs that may begin, when so many go on.
pub fn free(slots: i32, living: usize) -> usize {
    usize::try_from(slots).unwrap_or(0).saturating_sub(living)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::jobs::{Attempt, after, settle, without_policy};
    use super::*;

    fn run() -> Run {
        Run {
            id: Some(1),
            name: "debian-12/6.1 build".to_owned(),
            why: Why::host("jobs.templated", ""),
            verdict: None,
            held: None,
            called_off: false,
        }
    }

    fn job(name: &str, after: &[&str]) -> Job {
        Job {
            id: Some(1),
            name: name.to_owned(),
            spec: serde_json::json!({}),
            digest: vec![],
            required: true,
            after: after.iter().map(|name| (*name).to_owned()).collect(),
            state: JobState::Waiting,
            skipped: None,
            passed: None,
            reused_from: None,
            attempts: vec![],
        }
    }

    /// The job's attempt is on record, and perhaps ended.
    fn began(job: &mut Job, ended: Option<(&str, Option<i32>)>) {
        for attempt in &mut job.attempts {
            attempt.id = Some(1);
        }
        if let (Some(last), Some((word, code))) = (job.attempts.last_mut(), ended) {
            last.ended = Some(word.to_owned());
            last.exit_code = code;
        }
    }

    #[test]
    fn an_end_cancels_what_runs_and_forgets_what_was_only_planned() {
        let (mut run, mut jobs) = (run(), vec![job("a", &[]), job("b", &["a"])]);
        after(&mut jobs);
        began(&mut jobs[0], None);
        jobs[1].attempts.push(Attempt::planned(1));
        run.hold("trapped", "it trapped");
        let why = Unwanted::Ignored("all".to_owned(), "Nobody runs it".to_owned());
        run.call_off(&mut jobs, &why);
        assert_eq!(
            jobs[0].attempts[0].cancel.as_deref(),
            Some("cancelled: the version is ignored (all): Nobody runs it")
        );
        assert!(jobs[1].attempts.is_empty());
        assert_eq!((run.verdict, run.held), (Some(Verdict::Inconclusive), None));
        assert!(run.called_off);
    }

    #[test]
    fn one_that_nobody_judges_says_so() {
        let (mut run, mut jobs) = (run(), vec![job("a", &[])]);
        after(&mut jobs);
        began(&mut jobs[0], Some(("exited", Some(0))));
        settle(&mut jobs);
        run.judged(&mut jobs, None);
        assert_eq!(run.held.map(|held| held.0).as_deref(), Some("triage.waits"));
    }

    #[test]
    fn slots_are_never_below_nothing() {
        assert_eq!(
            (free(2, 0), free(2, 1), free(2, 5), free(-1, 0)),
            (2, 1, 0, 0)
        );
    }

    proptest! {
        /// However jobs wait for each other and end, a run without a policy comes to one verdict, and then
        /// nothing of it runs: a pass if all exited with 0, inconclusive only if one was lost.
        #[test]
        fn every_run_comes_to_an_end(
            edges in prop::collection::vec((0_usize..4, 0_usize..4), 0..6),
            ends in prop::collection::vec(0_u8..4, 4),
        ) {
            let mut jobs: Vec<Job> = (0..4).map(|n| job(&format!("j{n}"), &[])).collect();
            for (from, to) in edges {
                if to < from {
                    let name = format!("j{to}");
                    jobs[from].after.push(name);
                }
            }
            let mut run = run();
            for _ in 0..5 {
                settle(&mut jobs);
                after(&mut jobs);
                let verdict = without_policy(&jobs);
                run.judged(&mut jobs, verdict);
                prop_assert!(run.held.is_none());
                if run.verdict.is_some() {
                    break;
                }
                for (job, end) in jobs.iter_mut().zip(&ends) {
                    let end = match end {
                        0 => ("exited", Some(1)),
                        1 => ("lost", None),
                        _ => ("exited", Some(0)),
                    };
                    began(job, Some(end));
                }
            }
            let all = |wanted: fn(u8) -> bool| ends.iter().all(|end| wanted(*end));
            match run.verdict {
                Some(Verdict::Pass) => prop_assert!(all(|end| end > 1)),
                Some(Verdict::Inconclusive) => prop_assert!(ends.contains(&1) && !all(|end| end > 1)),
                Some(Verdict::Fail) => prop_assert!(ends.contains(&0) || ends.contains(&1)),
                None => prop_assert!(false, "no verdict"),
            }
            for job in &jobs {
                prop_assert!(!matches!(job.state, JobState::Waiting | JobState::Running));
                prop_assert!(job.attempts.iter().all(|a| a.ended.is_some() || a.cancel.is_some()));
            }
        }
    }
}
