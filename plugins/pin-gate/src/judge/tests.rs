use pointsman_sdk::{Label, Reason, attr, check_settings, packed};
use proptest::prelude::*;

use super::*;
use crate::PinGate;

const PIN: &str = "0123456789abcdef0123456789abcdef01234567";

fn settings() -> Settings {
    Settings {
        relevant: vec!["src/.*".to_owned(), "KERNEL_REV".to_owned()],
        ..Settings::default()
    }
}

fn work(kind: &str, changed: &[&str], label: Option<&str>) -> Work {
    let label = label.map(|head| Label {
        name: "kernel-e2e".to_owned(),
        by: "bo".to_owned(),
        at: 5,
        head: head.to_owned(),
    });
    Work {
        members: vec![PullRequest {
            labels: label.into_iter().collect(),
            ..PullRequest::of(7, "b2")
        }],
        changed: packed::pack(changed.iter().copied()),
        changed_total: u32::try_from(changed.len()).unwrap(),
        ..Work::of(kind, "merge")
    }
}

fn value(text: &str) -> Found {
    Found::Value(text.to_owned())
}

#[track_caller]
fn expect(found: &Found, work: &Work, need: Need, code: &str) -> Answer {
    let answer = decide(&settings(), found, work).unwrap();
    assert_eq!(
        (answer.need, answer.basis.reason.code.as_str()),
        (need, code)
    );
    answer
}

#[test]
fn a_push_is_green_and_what_lands_is_run() {
    let pin = value(&format!("{PIN}\n"));
    let head = work("head", &["src/a.c"], None);
    let answer = expect(&pin, &head, Need::Pass, "queue.later");
    assert_eq!(attr(&answer.basis.tags, "pin"), Some(PIN));
    let lane = work("lane", &["src/a.c"], None);
    let answer = expect(&pin, &lane, Need::Run, "paths.relevant");
    assert_eq!(attr(&answer.basis.tags, "pin"), Some(PIN));
}

#[test]
fn patterns_are_for_the_whole_path() {
    let pin = value(PIN);
    for (path, need, code) in [
        ("KERNEL_REV", Need::Run, "paths.relevant"),
        ("KERNEL_REV_OLD", Need::Pass, "paths.irrelevant"),
        ("docs/KERNEL_REV", Need::Pass, "paths.irrelevant"),
        ("old/src/a.c", Need::Pass, "paths.irrelevant"),
    ] {
        expect(&pin, &work("lane", &[path], None), need, code);
    }
}

#[test]
fn the_label_asks_for_the_head_that_it_was_put_on_for() {
    let pin = value(PIN);
    for (changed, label, need, code) in [
        ("src/a.c", Some("b2"), Need::Run, "label.asked"),
        ("src/a.c", Some("b1"), Need::Pass, "label.stale"),
        ("README", Some("b2"), Need::Pass, "paths.irrelevant"),
        ("README", None, Need::Pass, "paths.irrelevant"),
    ] {
        let answer = expect(&pin, &work("head", &[changed], label), need, code);
        let text = &answer.basis.reason.text;
        assert_eq!(text.contains("kernel-e2e"), label.is_some(), "{text}");
    }
}

#[test]
fn paths_that_are_not_all_known_may_matter() {
    let mut lane = work("lane", &["README"], None);
    lane.changed_total = 20_000;
    expect(&value(PIN), &lane, Need::Run, "paths.unknown");
}

#[test]
fn the_bare_target_and_whatever_has_no_patterns_are_run() {
    let mut branch = work("branch", &[], None);
    branch.members.clear();
    expect(&value(PIN), &branch, Need::Run, "queue.run");
    let lane = work("lane", &["README"], None);
    let answer = decide(&Settings::default(), &value(PIN), &lane).unwrap();
    assert_eq!(answer.need, Need::Run);
}

#[test]
fn without_a_pin_it_fails_whatever_changed() {
    let refused = |code: &str| Found::Refused(Reason::new(code, "it is no text in UTF-8"));
    let upper = PIN.to_uppercase();
    for (found, code) in [
        (Found::Absent, "pin.missing"),
        (value(""), "pin.malformed"),
        (value(&PIN[1..]), "pin.malformed"),
        (value(&upper), "pin.malformed"),
        (value(&format!("{PIN} {PIN}")), "pin.malformed"),
        (value(&format!("# pinned\n{PIN}")), "pin.malformed"),
        (refused("file.binary"), "pin.malformed"),
        (refused("file.too-large"), "pin.malformed"),
        (refused("file.not-a-file"), "pin.malformed"),
    ] {
        for kind in ["head", "lane"] {
            expect(&found, &work(kind, &["README"], None), Need::Fail, code);
        }
    }
    let unknown = decide(
        &settings(),
        &refused("query.unknown"),
        &work("head", &[], None),
    );
    assert!(matches!(unknown, Err(Stop::Failed(why)) if why.code == "pin.unknown"));
}

#[test]
fn a_stale_label_is_taken_off_when_another_head_is_pushed() {
    let event = |event: &str, label: Option<&str>| Question {
        event: event.to_owned(),
        at: 1,
        by: "ann".to_owned(),
        pull_request: work("head", &[], label).members.pop(),
        work: None,
        attrs: vec![],
    };
    let act = strip(&settings(), &event("head-moved", Some("b1"))).unwrap();
    assert_eq!(act.kind, "unlabel");
    assert_eq!(attr(&act.args, "name"), Some("kernel-e2e"));
    for (name, label) in [
        ("head-moved", Some("b2")),
        ("head-moved", None),
        ("labelled", Some("b1")),
    ] {
        assert_eq!(strip(&settings(), &event(name, label)), None, "{name}");
    }
}

#[test]
fn bad_settings_are_refused_with_their_field() {
    for (json, field) in [
        (r#"{"pin": "/KERNEL_REV"}"#, "/pin"),
        (r#"{"pin": "../KERNEL_REV"}"#, "/pin"),
        (r#"{"pin": ""}"#, "/pin"),
        (r#"{"label": ""}"#, "/label"),
        (r#"{"relevant": ["src/.*", "("]}"#, "/relevant/1"),
        (r#"{"relevant": ["a)|(b"]}"#, "/relevant/0"),
        (r#"{"relevant": [""]}"#, "/relevant/0"),
    ] {
        let problems = check_settings::<PinGate>(json).unwrap_err();
        assert_eq!(problems[0].field, field, "{json}: {problems:?}");
    }
    assert_eq!(check_settings::<PinGate>("{}"), Ok(()));
}

proptest! {
    /// What is taken for a pin is one, and no text makes it fail otherwise than by saying so.
    #[test]
    fn a_pin_is_forty_digits(text in "\\s?[0-9a-fA-F]{38,42}\\s{0,2}|.{0,60}") {
        let answer = decide(&settings(), &Found::Value(text.clone()), &work("head", &[], None)).unwrap();
        let digits = text.trim();
        let is_pin = digits.len() == 40
            && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        prop_assert_eq!(answer.need == Need::Fail, !is_pin);
        prop_assert_eq!(attr(&answer.basis.tags, "pin"), is_pin.then_some(digits));
    }
}
