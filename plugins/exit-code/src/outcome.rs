//! What became of one job.

use pointsman_sdk::attr;
use pointsman_sdk::triage::{Attempt, JobState};

use crate::Settings;

/// What begins the code of the host's reason where a job was skipped because one before it did not pass.
/// A job that `run` itself skipped has a reason of its own, and is nobody's harm.
const SKIPPED_AFTER: &str = "after.";

/// What became of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits or runs.
    Open,
    Passed,
    /// It failed for good: why.
    Failed(String),
    /// The machinery failed; another attempt may tell.
    Lost(String),
    /// It ended, and nobody can say with what: why.
    Unknown {
        code: &'static str,
        text: String,
    },
    /// `run` skipped it.
    Skipped,
}

impl Outcome {
    pub(crate) fn of(settings: &Settings, job: &JobState) -> Self {
        if let Some(code) = &job.skipped {
            return match code.starts_with(SKIPPED_AFTER) {
                true => Outcome::Unknown {
                    code: "job.not-started",
                    text: "It was not started, as a job before it did not pass.".to_owned(),
                },
                false => Outcome::Skipped,
            };
        }
        let Some(attempt) = job.last() else {
            return Outcome::Open;
        };
        let Some(ended) = attempt.ended.as_deref() else {
            return Outcome::Open;
        };
        match (ended, attempt.exit_code) {
            ("exited", Some(0)) => Self::exited_well(settings, job, attempt),
            ("exited", Some(code)) if settings.infrastructure_codes.contains(&code) => {
                Outcome::Lost(format!(
                    "It exited with {code}, by which it says that the machinery failed."
                ))
            }
            ("exited", Some(code)) => Outcome::Failed(exit_text(code, attempt)),
            ("timed-out", _) => Outcome::Failed("It ran out of time, and was ended.".to_owned()),
            ("cancelled", _) => Outcome::Unknown {
                code: "job.cancelled",
                text: "It was cancelled before it ended. Write `retry` to run it again.".to_owned(),
            },
            ("lost", _) => Outcome::Lost("The machine that ran it was lost.".to_owned()),
            ("setup-failed", _) => Outcome::Lost("It could not be started.".to_owned()),
            // An ending that this version does not know is no reason to blame the change.
            (other, _) => Outcome::Lost(format!("It ended as `{other}`, without an exit code.")),
        }
    }

    fn exited_well(settings: &Settings, job: &JobState, attempt: &Attempt) -> Self {
        let failed = failed_tests(attempt);
        if settings.report_decides && failed > 0 {
            return Outcome::Failed(format!(
                "It exited with 0, but {failed} of its tests failed."
            ));
        }
        let is_reporting = attr(&job.attrs, "x-junit").is_some() || attempt.tests_total > 0;
        if is_reporting && attempt.tests_passed == 0 && failed == 0 {
            let text = match attempt.tests_total {
                0 => "It exited with 0, but reported no test. See that its reports are written where the job's `junit` says.".to_owned(),
                total => format!("It exited with 0, but all of its {total} tests were skipped."),
            };
            return Outcome::Unknown {
                code: "tests.none",
                text,
            };
        }
        Outcome::Passed
    }
}

fn exit_text(code: i32, attempt: &Attempt) -> String {
    let tests = match failed_tests(attempt) {
        0 => String::new(),
        failed => format!(", and {failed} of its {} tests failed", attempt.tests_total),
    };
    match code {
        // The shim's convention: a signal is 128 more than its number.
        129..=192 => format!("Signal {} ended it{tests}.", code - 128),
        _ => format!("It exited with {code}{tests}."),
    }
}

fn failed_tests(attempt: &Attempt) -> usize {
    let is_failed = |outcome: &str| matches!(outcome, "failed" | "error");
    attempt
        .tests
        .iter()
        .filter(|test| is_failed(&test.outcome))
        .count()
}

/// Attempts that the machinery lost.
pub(crate) fn lost_attempts(settings: &Settings, job: &JobState) -> u32 {
    let mut one = job.clone();
    let mut lost = 0;
    while !one.attempts.is_empty() {
        lost += u32::from(matches!(Outcome::of(settings, &one), Outcome::Lost(_)));
        one.attempts.pop();
    }
    lost
}
