use pointsman_sdk::Verdict::{Fail, Inconclusive, Pass};
use proptest::prelude::*;

use super::*;

fn stages() -> Vec<Stage> {
    let stage = |name: &str, rank, moved_by| Stage {
        name: name.to_owned(),
        rank,
        moved_by,
    };
    vec![
        stage("seen", 10, Mover::Policy),
        stage("fetched", 20, Mover::Policy),
        stage("built", 30, Mover::Policy),
        stage("tested", 40, Mover::Policy),
        stage("ready-own", 50, Mover::Person),
        stage("ready-customers", 60, Mover::Person),
    ]
}

/// In a stage since instant 100.
fn kernel(stage: &str) -> Kernel {
    Kernel {
        version: "6.5.0-1-amd64".to_owned(),
        track: String::new(),
        stage: stage.to_owned(),
        since: 100,
        hosts: Vec::new(),
        tried: Vec::new(),
        notes: Vec::new(),
        attrs: Vec::new(),
    }
}

fn with(mut kernel: Kernel, purpose: &str, verdict: impl Into<Option<Verdict>>) -> Kernel {
    kernel.tried.push(Tried {
        purpose: purpose.to_owned(),
        verdict: verdict.into(),
        at: 150,
        runs: 1,
    });
    kernel
}

fn marked(mut kernel: Kernel, key: &str, value: &str) -> Kernel {
    kernel.attrs.push((key.to_owned(), value.to_owned()));
    kernel
}

fn ask(kernels: Vec<Kernel>) -> Question {
    Question {
        distro: "debian-12".to_owned(),
        distro_attrs: vec![("supported".to_owned(), "true".to_owned())],
        stages: stages(),
        kernels,
        settled: String::new(),
    }
}

fn step_with(settings: &Settings, kernel: Kernel) -> Step {
    decide(settings, &ask(vec![kernel]))
        .unwrap()
        .steps
        .remove(0)
}

/// The stage moved to, what runs, the code.
fn told(step: &Step) -> (Option<&str>, Option<&str>, &str) {
    (
        step.stage.as_deref(),
        step.purpose.as_deref(),
        step.basis.reason.code.as_str(),
    )
}

#[track_caller]
fn expect(kernel: Kernel, stage: Option<&str>, purpose: Option<&str>, code: &str) {
    assert_eq!(
        told(&step_with(&Settings::default(), kernel)),
        (stage, purpose, code)
    );
}

#[test]
fn it_climbs_rung_by_rung() {
    expect(kernel("seen"), None, Some("fetch"), "run.due");
    expect(
        with(kernel("seen"), "fetch", None),
        None,
        Some("fetch"),
        "run.running",
    );
    expect(
        with(kernel("seen"), "fetch", Pass),
        Some("fetched"),
        Some("build"),
        "run.passed",
    );
    expect(
        with(kernel("fetched"), "build", Pass),
        Some("built"),
        Some("test"),
        "run.passed",
    );
    expect(
        with(kernel("built"), "test", Pass),
        Some("tested"),
        None,
        "run.passed",
    );
    expect(
        with(kernel("tested"), "test", Pass),
        None,
        None,
        "ladder.done",
    );
    expect(kernel("ready-own"), None, None, "ladder.done");
}

#[test]
fn a_later_pass_skips_what_lies_below() {
    expect(
        with(kernel("seen"), "test", Pass),
        Some("tested"),
        None,
        "run.passed",
    );
    expect(
        with(with(kernel("seen"), "fetch", Fail), "build", Pass),
        Some("built"),
        Some("test"),
        "run.passed",
    );
}

#[test]
fn it_never_moves_down() {
    expect(
        with(kernel("tested"), "build", Pass),
        None,
        None,
        "ladder.done",
    );
    expect(
        with(kernel("built"), "build", Fail),
        None,
        Some("test"),
        "run.due",
    );
}

#[test]
fn what_does_not_pass_stays_and_is_tried_as_often_as_set() {
    let failed = with(kernel("fetched"), "build", Fail);
    expect(failed.clone(), None, None, "run.failed");
    expect(
        with(kernel("fetched"), "build", Inconclusive),
        None,
        None,
        "run.inconclusive",
    );
    let twice = Settings {
        max_runs: 2,
        ..Settings::default()
    };
    let again = step_with(&twice, failed.clone());
    assert_eq!(told(&again), (None, Some("build"), "run.retried"));
    assert_eq!(
        again.basis.reason.text,
        "Its build failed (1 of at most 2 runs): it is tried again."
    );
    let mut spent = failed;
    spent.tried[0].runs = 2;
    assert_eq!(told(&step_with(&twice, spent)), (None, None, "run.failed"));
}

#[test]
fn a_stage_of_a_person_is_never_moved_into() {
    let mut settings = Settings::default();
    settings.ladder.push(Rung {
        purpose: "soak".into(),
        stage: "ready-own".into(),
        needs_headers: false,
    });
    assert_eq!(
        told(&step_with(&settings, kernel("tested"))),
        (None, Some("soak"), "run.due")
    );
    assert_eq!(
        told(&step_with(&settings, with(kernel("tested"), "soak", Pass))),
        (None, None, "person.awaited")
    );
}

#[test]
fn what_speaks_against_a_run() {
    expect(
        marked(kernel("seen"), "headers", "missing"),
        None,
        None,
        "headers.missing",
    );
    expect(
        marked(kernel("fetched"), "headers", "missing"),
        None,
        Some("build"),
        "run.due",
    );
    expect(
        marked(kernel("seen"), "ignored", "all"),
        None,
        None,
        "version.ignored",
    );
    expect(
        marked(kernel("seen"), "ignored", "automatic"),
        None,
        None,
        "version.ignored",
    );
    let quiet = Settings {
        start_runs: false,
        ..Settings::default()
    };
    assert_eq!(
        told(&step_with(&quiet, kernel("seen"))),
        (None, None, "runs.off")
    );
    assert_eq!(
        told(&step_with(&quiet, with(kernel("seen"), "fetch", Pass))),
        (Some("fetched"), None, "run.passed")
    );
    let mut question = ask(vec![kernel("seen"), with(kernel("seen"), "build", Pass)]);
    question.distro_attrs[0].1 = "false".to_owned();
    let answer = decide(&Settings::default(), &question).unwrap();
    assert_eq!(told(&answer.steps[0]), (None, None, "distro.unsupported"));
    assert_eq!(told(&answer.steps[1]), (Some("built"), None, "run.passed"));
}

#[test]
fn a_person_may_ask_for_what_the_policy_would_not_start() {
    let ignored = marked(
        marked(kernel("seen"), "ignored", "automatic"),
        "requested",
        "build",
    );
    expect(ignored, None, Some("build"), "run.requested");
    let impossible = marked(
        marked(kernel("seen"), "headers", "missing"),
        "requested",
        "fetch",
    );
    expect(impossible, None, None, "headers.missing");
}

#[test]
fn moved_back_by_a_person_it_is_done_again() {
    let mut back = marked(with(kernel("seen"), "test", Pass), "stage.by", "person");
    back.tried[0].at = 99;
    expect(back.clone(), None, Some("fetch"), "run.due");
    back.tried[0].at = 100;
    expect(back, Some("tested"), None, "run.passed");
}

#[test]
fn a_stage_that_is_gone_is_a_persons_to_mend() {
    expect(
        with(kernel("cooked"), "test", Pass),
        None,
        None,
        "stage.unknown",
    );
    expect(
        with(kernel("cooked"), "test", None),
        None,
        Some("test"),
        "stage.unknown",
    );
    let mut question = ask(vec![kernel("seen")]);
    question.stages.remove(1);
    let Err(Stop::BadSettings(problems)) = decide(&Settings::default(), &question) else {
        panic!("taken")
    };
    assert_eq!(
        (problems[0].field.as_str(), problems[0].code.as_str()),
        ("/ladder/0/stage", "stage.unknown")
    );
}

#[test]
fn what_most_hosts_have_goes_first() {
    let mut on_hosts = kernel("seen");
    on_hosts.hosts = vec![("customer".to_owned(), u32::MAX), ("own".to_owned(), 3)];
    assert_eq!(step_with(&Settings::default(), on_hosts).priority, i32::MAX);
    assert_eq!(step_with(&Settings::default(), kernel("seen")).priority, 0);
}

proptest! {
    /// What the host would refuse is never proposed, and a move is only ever up.
    #[test]
    fn every_step_is_one_the_host_takes(
        stage in prop::sample::select(stages()),
        verdicts in prop::collection::vec(prop::option::of(prop::option::of(prop::sample::select(vec![Pass, Fail, Inconclusive]))), 3),
        max_runs in 1u32..3,
        at in 90u64..110,
        by_person in any::<bool>(),
    ) {
        let mut asked = kernel(&stage.name);
        for (purpose, verdict) in ["fetch", "build", "test"].into_iter().zip(verdicts) {
            if let Some(verdict) = verdict {
                asked = with(asked, purpose, verdict);
            }
        }
        asked.tried.iter_mut().for_each(|tried| tried.at = at);
        if by_person {
            asked = marked(asked, "stage.by", "person");
        }
        let running = asked.tried.iter().any(|tried| tried.verdict.is_none());
        let step = step_with(&Settings { max_runs, ..Settings::default() }, asked);
        if let Some(to) = &step.stage {
            let to = stages().into_iter().find(|stage| stage.name == *to).unwrap();
            prop_assert!(to.rank > stage.rank && to.moved_by == Mover::Policy);
        }
        prop_assert!(!running || step.purpose.is_some(), "a running run is cancelled");
    }
}
