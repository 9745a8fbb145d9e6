use pointsman_sdk::{Command, check_settings, packed};
use proptest::prelude::*;

use super::*;
use crate::GateBasics;

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn line(at: u64, text: &str) -> Command {
    Command {
        by: "bo".to_owned(),
        at,
        head: "b2".to_owned(),
        text: text.to_owned(),
        attrs: vec![pair("permission", "write")],
    }
}

fn head(change: impl FnOnce(&mut PullRequest)) -> Work {
    let mut pull_request = PullRequest {
        author: "ann".to_owned(),
        ..PullRequest::of(7, "b2")
    };
    change(&mut pull_request);
    Work {
        members: vec![pull_request],
        ..Work::of("head", "preview")
    }
}

fn ask(work: &Work) -> Answer {
    decide(&Settings::default(), &[], work).unwrap()
}

#[track_caller]
fn expect(work: &Work, need: Need, code: &str) -> Answer {
    let answer = ask(work);
    assert_eq!(
        (answer.need, answer.basis.reason.code.as_str()),
        (need, code)
    );
    answer
}

#[test]
fn what_must_not_run_is_held() {
    expect(&head(|_| {}), Need::Run, "gate.run");
    expect(
        &head(|one| one.state = "draft".to_owned()),
        Need::Hold,
        "gate.draft",
    );
    expect(
        &head(|one| one.state = "closed".to_owned()),
        Need::Hold,
        "gate.closed",
    );
    expect(
        &head(|one| one.attrs = vec![pair("mergeable", "false")]),
        Need::Hold,
        "gate.conflict",
    );
    expect(
        &head(|one| one.attrs = vec![pair("mergeable", "true")]),
        Need::Run,
        "gate.run",
    );
}

#[test]
fn a_strangers_head_runs_once_somebody_authorised_it() {
    let fork = |more: &[(&str, &str)]| {
        head(|one| {
            one.attrs = vec![pair("head.fork", "true")];
            one.attrs
                .extend(more.iter().map(|(key, value)| pair(key, value)));
        })
    };
    expect(&fork(&[]), Need::Hold, "gate.unauthorised");
    expect(
        &fork(&[("author.permission", "read")]),
        Need::Hold,
        "gate.unauthorised",
    );
    expect(
        &fork(&[("author.permission", "write")]),
        Need::Run,
        "gate.run",
    );
    expect(
        &fork(&[("head.authorised-by", "bo")]),
        Need::Run,
        "gate.run",
    );
    expect(
        &fork(&[("head.authorised-by", "")]),
        Need::Hold,
        "gate.unauthorised",
    );
    expect(
        &head(|one| one.attrs = vec![pair("author.permission", "none")]),
        Need::Run,
        "gate.run",
    );
}

#[test]
fn the_last_command_counts() {
    let with = |lines: Vec<Command>| head(|one| one.commands = lines);
    expect(&with(vec![line(1, "hold")]), Need::Hold, "gate.held");
    expect(
        &with(vec![line(1, "hold"), line(2, "unhold")]),
        Need::Run,
        "gate.run",
    );
    expect(&with(vec![line(1, "cancel")]), Need::Hold, "gate.cancelled");
    let answer = expect(
        &with(vec![line(1, "cancel"), line(2, "retry")]),
        Need::Run,
        "gate.run",
    );
    assert_eq!(answer.basis.tags, [pair("retest", "2")]);
    let answer = expect(&with(vec![line(5, "try")]), Need::Run, "gate.run");
    assert_eq!(answer.basis.tags, [pair("try", "5")]);
    // A hold is of the pull request, a cancel of the head; and neither is anybody's to give.
    let older = |text| Command {
        head: "a1".to_owned(),
        ..line(1, text)
    };
    expect(&with(vec![older("hold")]), Need::Hold, "gate.held");
    expect(&with(vec![older("cancel")]), Need::Run, "gate.run");
    let anybody = Command {
        attrs: Vec::new(),
        ..line(1, "hold")
    };
    expect(&with(vec![anybody]), Need::Run, "gate.run");
    let counted = head(|one| one.attrs = vec![pair("retest.count", "3")]);
    // The host says so to `select` itself.
    assert_eq!(ask(&counted).basis.tags, []);
}

#[test]
fn a_frozen_branch_is_tested() {
    let answer = decide(
        &Settings::default(),
        &[pair("frozen", "release")],
        &head(|_| {}),
    )
    .unwrap();
    assert_eq!(answer.need, Need::Run);
    assert!(
        answer.basis.reason.text.contains("frozen (release)"),
        "{}",
        answer.basis.reason.text
    );
}

#[test]
fn paths_are_anchored_and_all_known() {
    let settings = Settings {
        paths: vec!["KERNEL_REV|src/.*".to_owned()],
        ..Settings::default()
    };
    let of = |paths: &[&str], total| {
        let work = head(|one| {
            one.changed = packed::pack(paths);
            one.changed_total = total;
        });
        let answer = decide(&settings, &[], &work).unwrap();
        (answer.need, answer.basis.reason.code)
    };
    assert_eq!(
        of(&["KERNEL_REV_OLD", "docs/src/a"], 2),
        (Need::Pass, "paths.irrelevant".to_owned())
    );
    assert_eq!(
        of(&["KERNEL_REV"], 1),
        (Need::Run, "paths.relevant".to_owned())
    );
    assert_eq!(
        of(&["src/a\nb.c"], 1).0,
        Need::Pass,
        "`.` is no line feed, and no path is half matched"
    );
    assert_eq!(
        of(&["docs"], 20_000),
        (Need::Run, "paths.unknown".to_owned())
    );
}

#[test]
fn lanes_and_the_bare_target_run() {
    let mut settings = Settings {
        paths: vec!["src/.*".to_owned()],
        ..Settings::default()
    };
    let mut lane = Work::of("lane", "merge");
    lane.changed = packed::pack(["docs"]);
    lane.changed_total = 1;
    let need = |settings: &Settings, work: &Work| decide(settings, &[], work).unwrap().need;
    assert_eq!(need(&settings, &lane), Need::Run);
    assert_eq!(need(&settings, &Work::of("branch", "nightly")), Need::Run);
    settings.paths_in_lanes = true;
    assert_eq!(need(&settings, &lane), Need::Pass);
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(check_settings::<GateBasics>("{}"), Ok(()));
    for (wrong, field) in [
        (r#"{"paths": ["a(", "b"]}"#, "/paths/0"),
        (r#"{"paths": ["b", "a)|(b"]}"#, "/paths/1"),
        (r#"{"paths": [""]}"#, "/paths/0"),
        (r#"{"paths": ["(?:a{1000}){1000}"]}"#, "/paths/0"),
        (r#"{"paths-in-lanes": true}"#, "/paths-in-lanes"),
        (r#"{"trusted": "owner"}"#, "/trusted"),
    ] {
        let problems = check_settings::<GateBasics>(wrong).unwrap_err();
        assert_eq!(problems[0].field, field, "{wrong}");
    }
}

proptest! {
    /// Only what changes paths that are all known and all without matter is green without a run.
    #[test]
    fn green_without_a_run_is_earned(paths in prop::collection::vec("(src|docs)/[a-z]{1,3}", 0..5), hidden in 0u32..2) {
        let settings = Settings { paths: vec!["src/.*".to_owned()], ..Settings::default() };
        let work = head(|one| {
            one.changed = packed::pack(&paths);
            one.changed_total = paths.len() as u32 + hidden;
        });
        let answer = decide(&settings, &[], &work).unwrap();
        let is_harmless = hidden == 0 && paths.iter().all(|path| path.starts_with("docs/"));
        prop_assert_eq!(answer.need == Need::Pass, is_harmless);
    }
}
