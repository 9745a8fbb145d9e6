use Verdict::{Fail, Inconclusive, Pass};
use pointsman_sdk::Work;
use pointsman_sdk::triage::{Attempt, Test};
use proptest::prelude::*;

use super::*;

fn attempt(number: u32, ended: Option<&str>, exit_code: Option<i32>) -> Attempt {
    Attempt {
        number,
        ended: ended.map(str::to_owned),
        exit_code,
        tests: Vec::new(),
        tests_total: 0,
        tests_passed: 0,
        outputs: Vec::new(),
    }
}

fn exited(code: i32) -> Attempt {
    attempt(1, Some("exited"), Some(code))
}

fn job(name: &str, attempts: Vec<Attempt>) -> JobState {
    JobState {
        name: name.to_owned(),
        weight: "required".to_owned(),
        skipped: None,
        capabilities: Vec::new(),
        attempts,
        attrs: Vec::new(),
    }
}

fn informative(mut job: JobState) -> JobState {
    job.weight = "informative".to_owned();
    job
}

fn reporting(mut job: JobState, total: u32, outcomes: &[&str]) -> JobState {
    job.attrs = vec![("x-junit".to_owned(), "*.xml".to_owned())];
    let attempt = job.attempts.last_mut().unwrap();
    attempt.tests_total = total;
    attempt.tests_passed = total - outcomes.len() as u32;
    attempt.tests = outcomes
        .iter()
        .enumerate()
        .map(|(index, outcome)| Test {
            name: format!("s::t{index}"),
            outcome: (*outcome).to_owned(),
            message: String::new(),
            attrs: Vec::new(),
        })
        .collect();
    job
}

fn ask(jobs: Vec<JobState>) -> Answer {
    decide(
        &Settings::default(),
        &Question {
            work: Work::of("lane", "merge"),
            jobs,
        },
    )
}

#[track_caller]
fn expect(jobs: Vec<JobState>, verdict: Option<Verdict>, code: &str) -> Answer {
    let answer = ask(jobs);
    assert_eq!(
        (answer.verdict, answer.basis.reason.code.as_str()),
        (verdict, code),
        "{}",
        answer.basis.reason.text
    );
    answer
}

#[test]
fn required_jobs_decide() {
    expect(
        vec![job("a", vec![exited(0)]), job("b", vec![exited(0)])],
        Some(Pass),
        "jobs.passed",
    );
    expect(
        vec![
            job("a", vec![exited(0)]),
            informative(job("b", vec![exited(1)])),
        ],
        Some(Pass),
        "jobs.passed",
    );
    expect(
        vec![job("a", vec![exited(0)]), job("b", vec![])],
        None,
        "jobs.open",
    );
    expect(
        vec![job("a", vec![exited(0)]), informative(job("b", vec![]))],
        Some(Pass),
        "jobs.passed",
    );
    let timed_out = attempt(1, Some("timed-out"), None);
    expect(vec![job("a", vec![timed_out])], Some(Fail), "job.failed");
    let answer = expect(vec![job("a", vec![exited(139)])], Some(Fail), "job.failed");
    assert_eq!(
        answer.basis.reason.text,
        "The job a failed: Signal 11 ended it."
    );
}

#[test]
fn a_failure_calls_the_rest_off() {
    let jobs = vec![
        job("a", vec![attempt(1, None, None)]),
        job("b", vec![exited(2)]),
        informative(job("c", vec![])),
        job("d", vec![exited(0)]),
    ];
    let answer = expect(jobs.clone(), Some(Fail), "job.failed");
    assert_eq!(answer.cancel, ["a", "c"]);
    let settings = Settings {
        keep_going: true,
        ..Settings::default()
    };
    let answer = decide(
        &settings,
        &Question {
            work: Work::of("lane", "merge"),
            jobs,
        },
    );
    assert_eq!((answer.verdict, answer.cancel.len()), (None, 0));
}

#[test]
fn what_the_machinery_lost_is_tried_again() {
    for ending in [
        attempt(1, Some("lost"), None),
        attempt(1, Some("setup-failed"), None),
        attempt(1, Some("evicted"), None),
        exited(75),
    ] {
        let answer = expect(vec![job("a", vec![ending.clone()])], None, "job.retried");
        assert_eq!(answer.retry[0].job, "a");
        let twice = vec![job("a", vec![ending.clone(), ending.clone()])];
        expect(twice, None, "job.retried");
        let often = vec![job(
            "a",
            vec![ending.clone(), ending.clone(), ending.clone()],
        )];
        let answer = expect(often, Some(Inconclusive), "job.lost");
        assert_eq!(answer.findings[0].class, "infrastructure");
        expect(
            vec![job("a", vec![ending, exited(0)])],
            Some(Pass),
            "jobs.passed",
        );
    }
    // A failure for good does not wait for it.
    let lost = attempt(1, Some("lost"), None);
    let answer = expect(
        vec![job("a", vec![lost]), job("b", vec![exited(1)])],
        Some(Fail),
        "job.failed",
    );
    assert_eq!(answer.retry, []);
}

/// The host makes ten attempts of a job and no more, whoever asked for them: to ask for another one would
/// hold the lane for ever.
#[test]
fn no_attempt_is_asked_for_that_the_host_does_not_make() {
    let settings = Settings {
        retries: 10,
        ..Settings::default()
    };
    let lost = |attempts| Question {
        work: Work::of("lane", "merge"),
        jobs: vec![job("a", vec![attempt(1, Some("lost"), None); attempts])],
    };
    assert_eq!(decide(&settings, &lost(9)).retry.len(), 1);
    let answer = decide(&settings, &lost(10));
    assert_eq!(
        (answer.verdict, answer.retry.len()),
        (Some(Inconclusive), 0)
    );
}

#[test]
fn a_run_in_which_no_test_ran_is_no_pass() {
    expect(
        vec![reporting(job("a", vec![exited(0)]), 0, &[])],
        Some(Inconclusive),
        "tests.none",
    );
    expect(
        vec![reporting(
            job("a", vec![exited(0)]),
            2,
            &["skipped", "skipped"],
        )],
        Some(Inconclusive),
        "tests.none",
    );
    expect(
        vec![reporting(job("a", vec![exited(0)]), 2, &["skipped"])],
        Some(Pass),
        "jobs.passed",
    );
    let mut skipped = job("a", vec![]);
    skipped.skipped = Some("variant.off".to_owned());
    expect(vec![skipped.clone()], Some(Inconclusive), "jobs.none");
    expect(
        vec![skipped.clone(), job("b", vec![exited(0)])],
        Some(Pass),
        "jobs.passed",
    );
    skipped.skipped = Some("after.not-passed".to_owned());
    expect(
        vec![skipped, job("b", vec![exited(0)])],
        Some(Inconclusive),
        "job.not-started",
    );
    expect(
        vec![informative(job("a", vec![exited(0)]))],
        Some(Inconclusive),
        "jobs.none",
    );
    expect(
        vec![job("a", vec![attempt(1, Some("cancelled"), None)])],
        Some(Inconclusive),
        "job.cancelled",
    );
}

#[test]
fn the_report_decides_if_it_should() {
    let jobs = vec![reporting(job("a", vec![exited(0)]), 3, &["failed"])];
    let answer = expect(jobs.clone(), Some(Pass), "jobs.passed");
    assert_eq!(
        (
            answer.findings[0].test.as_str(),
            answer.findings[0].class.as_str()
        ),
        ("s::t0", "failed")
    );
    let settings = Settings {
        report_decides: true,
        ..Settings::default()
    };
    let answer = decide(
        &settings,
        &Question {
            work: Work::of("lane", "merge"),
            jobs,
        },
    );
    assert_eq!(answer.verdict, Some(Fail));
}

#[test]
fn findings_begin_with_what_matters() {
    let mut skipped = job("z", vec![]);
    skipped.skipped = Some("variant.off".to_owned());
    let jobs = vec![
        skipped,
        informative(job("i", vec![exited(1)])),
        reporting(job("a", vec![exited(1)]), 3, &["skipped", "failed"]),
    ];
    let answer = expect(jobs, Some(Fail), "job.failed");
    let seen: Vec<(&str, &str)> = answer
        .findings
        .iter()
        .map(|finding| (finding.job.as_str(), finding.class.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", "failed"),
            ("a", "failed"),
            ("i", "failed"),
            ("z", "skipped"),
            ("a", "skipped")
        ]
    );
}

fn any_job() -> impl Strategy<Value = JobState> {
    let ended = prop::option::of(prop::sample::select(vec![
        "exited",
        "timed-out",
        "cancelled",
        "lost",
        "setup-failed",
        "new",
    ]));
    let attempts = prop::collection::vec((ended, 0..3i32), 0..5);
    (
        attempts,
        any::<bool>(),
        prop::option::of(prop::sample::select(vec!["variant.off", "after.failed"])),
    )
        .prop_map(|(attempts, required, skipped)| {
            let attempts = (1..).zip(attempts).map(|(number, (ended, code))| {
                attempt(number, ended, (ended == Some("exited")).then_some(code))
            });
            let mut one = job("j", attempts.collect());
            one.skipped = skipped.map(str::to_owned);
            if required { one } else { informative(one) }
        })
}

proptest! {
    /// No retry stands beside a verdict; a pass means that each required job exited with 0 or was left
    /// out; and an open answer waits for something that will come.
    #[test]
    fn every_answer_is_one_the_host_takes(mut jobs in prop::collection::vec(any_job(), 1..6), retries in 0u32..3, keep_going in any::<bool>()) {
        for (index, job) in jobs.iter_mut().enumerate() {
            job.name = format!("j{index}");
        }
        let settings = Settings { retries, keep_going, ..Settings::default() };
        let answer = decide(&settings, &Question { work: Work::of("lane", "merge"), jobs: jobs.clone() });
        prop_assert!(answer.verdict.is_none() || answer.retry.is_empty());
        let required = || jobs.iter().filter(|job| job.weight == "required");
        if answer.verdict == Some(Pass) {
            prop_assert!(required().all(|job| job.skipped.is_some() || job.last().and_then(|last| last.exit_code) == Some(0)));
        }
        if answer.verdict.is_none() {
            let is_open = |job: &JobState| job.skipped.is_none() && job.last().is_none_or(|last| last.ended.is_none());
            prop_assert!(!answer.retry.is_empty() || required().any(is_open));
        }
        for retry in &answer.retry {
            let job = required().find(|job| job.name == retry.job).unwrap();
            prop_assert!(job.last().is_some_and(|last| last.ended.is_some()));
        }
        for name in &answer.cancel {
            let job = jobs.iter().find(|job| job.name == *name).unwrap();
            prop_assert!(job.last().is_none_or(|last| last.ended.is_none()));
        }
    }
}
