//! The jobs of a lane: which can be, when they start, and what `triage` may say of them.

use super::*;
use crate::policy::wit::{run as wit_run, triage as wit_triage};

fn job(name: &str, after: &[&str]) -> wit_run::Job {
    wit_run::Job {
        name: name.to_owned(),
        after: after.iter().map(|&a| a.to_owned()).collect(),
        skip: None,
        weight: wit_run::Weight::Required,
        backend: String::new(),
        argv: vec!["true".to_owned()],
        env: vec![],
        image: String::new(),
        secrets: vec![],
        capabilities: vec![],
        inputs: vec![],
        artifacts: vec![],
        timeout_ms: 0,
        attrs: vec![],
    }
}

fn jobs_of(list: Vec<wit_run::Job>) -> Result<Vec<Job>, &'static str> {
    let answer = wit_run::Answer {
        jobs: list,
        basis: basis(),
    };
    jobs(&answer, 0).map_err(|refused| refused.code)
}

#[test]
fn jobs_that_cannot_be_are_refused() {
    assert_eq!(jobs_of(vec![]), Err("bad-jobs"));
    assert_eq!(
        jobs_of(vec![job("a", &[]), job("a", &[])]),
        Err("job-twice")
    );
    assert_eq!(jobs_of(vec![job("a", &["b"])]), Err("unknown-job"));
    assert_eq!(
        jobs_of(vec![job("a", &["b"]), job("b", &["a"])]),
        Err("job-cycle")
    );
    assert_eq!(jobs_of(vec![job("a", &["a"])]), Err("job-cycle"));
    assert_eq!(jobs_of(vec![job("a\n", &[])]), Err("bad-job-name"));
    let image = wit_run::Job {
        image: "debian".to_owned(),
        ..job("a", &[])
    };
    assert_eq!(jobs_of(vec![image]), Err("no-images"));
    let elsewhere = wit_run::Job {
        backend: "moon".to_owned(),
        ..job("a", &[])
    };
    assert_eq!(jobs_of(vec![elsewhere]), Err("unknown-backend"));
    let nothing = wit_run::Job {
        argv: vec![],
        ..job("a", &[])
    };
    assert_eq!(jobs_of(vec![nothing]), Err("no-command"));
    let groundless = wit_run::Job {
        skip: Some(Reason {
            code: "no reason".to_owned(),
            ..reason()
        }),
        ..job("a", &[])
    };
    assert_eq!(jobs_of(vec![groundless]), Err("reason-code"));
}

#[test]
fn jobs_start_when_those_before_them_passed_and_are_skipped_when_one_did_not() {
    let mut all = jobs_of(vec![job("a", &[]), job("b", &["a"]), job("c", &["b"])]).unwrap();
    assert_eq!(after(&mut all), [0]);
    assert_eq!(after(&mut all), Vec::<usize>::new());
    all[0].state = JobState::Ended;
    all[0].passed = Some(true);
    assert_eq!(after(&mut all), [1]);
    all[1].state = JobState::Ended;
    all[1].passed = Some(false);
    assert_eq!(after(&mut all), Vec::<usize>::new());
    assert_eq!(all[2].state, JobState::Skipped);
    assert_eq!(all[2].skipped.as_ref().unwrap().0, "after.failed");
}

#[test]
fn a_job_is_the_same_whatever_commit_it_is_given() {
    let spec = |commit: &str, flag: &str| wit_run::Job {
        argv: vec!["test".to_owned(), commit.to_owned(), flag.to_owned()],
        env: vec![("POINTSMAN_WORK_COMMIT".to_owned(), commit.to_owned())],
        ..job("a", &[])
    };
    let found = |commit: &str, flag: &str| {
        let jobs = jobs_of(vec![spec(commit, flag)]).unwrap();
        digest(&jobs[0], &[commit])
    };
    assert_eq!(found(&head(1), "-x"), found(&head(2), "-x"));
    assert_ne!(found(&head(1), "-x"), found(&head(1), "-y"));
}

#[test]
fn triage_may_retry_or_judge_but_not_both_and_not_for_ever() {
    let mut all = jobs_of(vec![job("a", &[])]).unwrap();
    after(&mut all);
    let retry = wit_triage::Retry {
        job: "a".to_owned(),
        not_before: 0,
        attrs: vec![],
    };
    let mut said = wit_triage::Answer {
        verdict: None,
        retry: vec![retry],
        cancel: vec![],
        findings: vec![],
        blame: vec![],
        basis: basis(),
    };
    let ask = |all: &mut Vec<Job>, said: &wit_triage::Answer| {
        triage(all, &[7], said, 0, rails().at).map_err(|refused| refused.code)
    };
    assert_eq!(ask(&mut all, &said).unwrap_err(), "job-running");
    for number in 1..10 {
        all[0].attempts[number - 1].ended = Some("lost".to_owned());
        ask(&mut all, &said).unwrap();
        assert_eq!(all[0].attempts.len(), number + 1);
    }
    all[0].attempts[9].ended = Some("lost".to_owned());
    assert_eq!(ask(&mut all, &said).unwrap_err(), "too-many-attempts");
    said.verdict = Some(crate::policy::wit::types::Verdict::Pass);
    assert_eq!(ask(&mut all, &said).unwrap_err(), "verdict-and-retry");
    said.retry.clear();
    said.blame = vec![8];
    assert_eq!(ask(&mut all, &said).unwrap_err(), "unknown-pull-request");
    said.blame = vec![7];
    assert_eq!(ask(&mut all, &said).unwrap().blame, [7]);
}

#[test]
fn with_nothing_bound_the_exit_code_decides() {
    let ended = |how: &str, code: Option<i32>| Attempt {
        ended: Some(how.to_owned()),
        exit_code: code,
        ..Attempt::planned(1)
    };
    let verdict = |attempts: Vec<Attempt>, state: JobState| {
        let mut all = jobs_of(vec![job("a", &[])]).unwrap();
        all[0].attempts = attempts;
        all[0].state = state;
        without_policy(&all).map(|(verdict, _)| verdict)
    };
    assert_eq!(
        verdict(vec![ended("exited", Some(0))], JobState::Ended),
        Some(Verdict::Pass)
    );
    assert_eq!(
        verdict(vec![ended("exited", Some(1))], JobState::Ended),
        Some(Verdict::Fail)
    );
    assert_eq!(
        verdict(vec![ended("timed-out", None)], JobState::Ended),
        Some(Verdict::Fail)
    );
    assert_eq!(
        verdict(vec![ended("lost", None)], JobState::Ended),
        Some(Verdict::Inconclusive)
    );
    assert_eq!(verdict(vec![Attempt::planned(1)], JobState::Running), None);
}

#[test]
fn what_hangs_on_a_job_that_is_tried_again_waits_for_it() {
    let mut all = jobs_of(vec![
        job("a", &[]),
        job("b", &["a"]),
        job("c", &["b"]),
        job("d", &[]),
        job("e", &["d"]),
    ])
    .unwrap();
    after(&mut all);
    for (place, ended) in [(0, "lost"), (3, "exited")] {
        all[place].attempts[0].ended = Some(ended.to_owned());
        all[place].state = JobState::Ended;
        all[place].passed = Some(false);
    }
    after(&mut all);
    let states = |all: &[Job]| all.iter().map(|j| j.state.name()).collect::<Vec<_>>();
    assert_eq!(
        states(&all),
        ["ended", "skipped", "skipped", "ended", "skipped"]
    );
    let said = wit_triage::Answer {
        verdict: None,
        retry: vec![wit_triage::Retry {
            job: "a".to_owned(),
            not_before: 0,
            attrs: vec![],
        }],
        cancel: vec![],
        findings: vec![],
        blame: vec![],
        basis: basis(),
    };
    triage(&mut all, &[], &said, 0, rails().at).unwrap();
    assert_eq!(
        states(&all),
        ["waiting", "waiting", "waiting", "ended", "skipped"]
    );
    all[0].state = JobState::Ended;
    all[0].passed = Some(true);
    assert_eq!(after(&mut all), [1]);
}

#[test]
fn an_answer_of_triage_that_is_refused_changes_no_job() {
    let mut all = jobs_of(vec![job("a", &[]), job("b", &[])]).unwrap();
    after(&mut all);
    all[0].attempts[0].ended = Some("lost".to_owned());
    let before = all.clone();
    let mut said = wit_triage::Answer {
        verdict: None,
        retry: vec![wit_triage::Retry {
            job: "a".to_owned(),
            not_before: 0,
            attrs: vec![],
        }],
        cancel: vec!["nothing".to_owned()],
        findings: vec![],
        blame: vec![],
        basis: basis(),
    };
    let refused = triage(&mut all, &[], &said, 0, rails().at).unwrap_err();
    assert_eq!(refused.code, "unknown-job");
    assert_eq!(all, before);
    said.cancel.clear();
    let finding = |job: &str| wit_triage::Finding {
        job: job.to_owned(),
        test: "t".to_owned(),
        class: "new".to_owned(),
        text: String::new(),
        attrs: vec![],
    };
    for (findings, code) in [
        (vec![finding("nothing")], "unknown-job"),
        (vec![finding("a"); 1_001], "too-many-findings"),
    ] {
        said.findings = findings;
        let refused = triage(&mut all, &[], &said, 0, rails().at).unwrap_err();
        assert_eq!(refused.code, code);
        assert_eq!(all, before);
    }
    said.findings = vec![finding("b")];
    // A pass of another job that counted for this one is not its own attempt.
    all[0].reused_from = Some(7);
    all[0].state = JobState::Reused;
    triage(&mut all, &[], &said, 0, rails().at).unwrap();
    assert_eq!(all[0].reused_from, None);
    assert_eq!(all[0].attempts, [Attempt::planned(1)]);
}
