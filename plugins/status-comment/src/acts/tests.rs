use pointsman_sdk::{Command, PullRequest, check_settings};
use proptest::prelude::*;

use super::*;
use crate::StatusComment;

fn event(name: &str, attrs: &[(&str, &str)]) -> Question {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let mut work = Work::of("lane", "merge");
    work.name = "#7 on main".to_owned();
    work.commit = "c".repeat(40);
    work.base = "d".repeat(40);
    Question {
        event: name.to_owned(),
        at: 5,
        by: "bo".to_owned(),
        pull_request: Some(PullRequest {
            author: "ann".to_owned(),
            ..PullRequest::of(7, &"b".repeat(40))
        }),
        work: Some(work),
        attrs: attrs.iter().map(pair).collect(),
    }
}

fn tell(question: &Question) -> Vec<Act> {
    decide(&Settings::default(), question).acts
}

fn arg<'a>(act: &'a Act, key: &str) -> &'a str {
    attr(&act.args, key).unwrap_or_default()
}

/// The answer to the last of these lines, a second apart: who, what that person may do, and what.
#[track_caller]
fn answered(lines: &[(&str, &str, &str)]) -> String {
    let (by, _, text) = lines[lines.len() - 1];
    let mut question = event("commanded", &[("command", text)]);
    question.by = by.to_owned();
    question.at = lines.len() as u64;
    let command = |(at, (by, permission, text)): (u64, &(&str, &str, &str))| Command {
        by: (*by).to_owned(),
        at,
        head: "b".repeat(40),
        text: (*text).to_owned(),
        attrs: vec![("permission".to_owned(), (*permission).to_owned())],
    };
    let lines = (1..).zip(lines).map(command).collect();
    question.pull_request.as_mut().unwrap().commands = lines;
    arg(&tell(&question)[0], "body").to_owned()
}

fn commanded(by: &str, permission: &str, line: &str) -> String {
    answered(&[(by, permission, line)])
}

#[test]
fn a_verdict_is_told_with_what_it_is_of() {
    let tested = "b".repeat(40);
    let question = event(
        "verdict",
        &[
            ("head", tested.as_str()),
            ("verdict", "fail"),
            ("reason.text", "The job unit failed.\n@all r+"),
            ("link", "https://e.org/run/1"),
        ],
    );
    let acts = tell(&question);
    let kinds: Vec<&str> = acts.iter().map(|act| act.kind.as_str()).collect();
    assert_eq!(kinds, ["status", "comment"]);
    assert_eq!(
        (arg(&acts[0], "state"), arg(&acts[0], "context")),
        ("failure", "pointsman")
    );
    assert_eq!(
        arg(&acts[0], "text"),
        "Failed: The job unit failed. @all r+"
    );
    assert_eq!(
        arg(&acts[1], "body"),
        "**Failed**: head bbbbbbbbbbbb, merge of #7 on main as cccccccccccc on dddddddddddd\n\n> The job unit failed.\n> @\u{2060}all r+\n\n[Log and artifacts](https://e.org/run/1)"
    );
    for (verdict, state) in [
        ("pass", "success"),
        ("inconclusive", "error"),
        ("odd", "error"),
    ] {
        assert_eq!(
            arg(
                &tell(&event("verdict", &[("verdict", verdict)]))[0],
                "state"
            ),
            state
        );
    }
    let mut tried = question;
    tried.work.as_mut().unwrap().purpose = "try".to_owned();
    assert_eq!(arg(&tell(&tried)[0], "context"), "pointsman/try");
}

#[test]
fn which_verdicts_are_commented_is_set() {
    let count = |comments, verdict| {
        let settings = Settings {
            comments,
            ..Settings::default()
        };
        decide(&settings, &event("verdict", &[("verdict", verdict)]))
            .acts
            .len()
    };
    assert_eq!(
        (count(Comments::Each, "pass"), count(Comments::Each, "fail")),
        (2, 2)
    );
    assert_eq!(
        (
            count(Comments::Failures, "pass"),
            count(Comments::Failures, "fail")
        ),
        (1, 2)
    );
    assert_eq!(
        (count(Comments::None, "pass"), count(Comments::None, "fail")),
        (1, 1)
    );
    let settings = Settings {
        comments: Comments::Latest,
        ..Settings::default()
    };
    let key = |verdict, at| {
        let question = Question {
            at,
            ..event("verdict", &[("verdict", verdict)])
        };
        arg(&decide(&settings, &question).acts[1], "key").to_owned()
    };
    assert_eq!(key("pass", 1), key("fail", 2));
    assert_eq!(check_settings::<StatusComment>("{}"), Ok(()));
    assert_eq!(
        check_settings::<StatusComment>(r#"{"context": ""}"#).unwrap_err()[0].field,
        "/context"
    );
}

#[test]
fn commands_are_answered() {
    assert_eq!(
        commanded("bo", "write", "r+ p=5"),
        "bo: noted as a word for bbbbbbbbbbbb; another head needs another; the priority is 5."
    );
    assert_eq!(
        commanded("eve", "read", "try"),
        "eve: `try` takes the permission write here."
    );
    assert_eq!(
        commanded("ann", "read", "r- hold"),
        "ann: the approvals given so far no longer hold; `hold` takes the permission write here."
    );
    assert!(
        commanded("bo", "write", "make coffee")
            .starts_with("bo: there is no command in this line. Known are `r+`")
    );
    let quiet = Settings {
        answer_commands: false,
        ..Settings::default()
    };
    assert_eq!(
        decide(&quiet, &event("commanded", &[("command", "r+")])).acts,
        []
    );
}

/// As `reviews` does it: nobody approves their own, a delegate speaks for who delegated, and delegation is
/// for `r+` alone.
#[test]
fn an_approval_is_answered_by_whether_it_counts() {
    const NOTED: &str = "for bbbbbbbbbbbb; another head needs another.";
    let of_bo = |by| format!("{by}: noted as the word of bo, who delegated it, {NOTED}");
    assert_eq!(
        answered(&[("bo", "write", "delegate=dee"), ("dee", "read", "r+")]),
        of_bo("dee")
    );
    assert_eq!(
        answered(&[("bo", "write", "delegate+"), ("ann", "read", "r+")]),
        of_bo("ann")
    );
    let own = "ann: the author's own word does not count: somebody else has to approve, or to write `delegate+`.";
    assert_eq!(commanded("ann", "admin", "r+"), own);
    assert_eq!(
        answered(&[("ann", "admin", "delegate+"), ("ann", "admin", "r+")]),
        own
    );
    assert_eq!(commanded("ann", "admin", "r=bo"), own);
    assert_eq!(
        commanded("ann", "admin", "delegate=bo"),
        "ann: the author cannot delegate: that is for somebody who may approve."
    );
    assert_eq!(
        commanded("bo", "write", "r=ann"),
        "bo: `r=` does not count, as ann is the author."
    );
    // Too late, too little, or not delegated.
    for lines in [
        [("dee", "read", "hello"), ("dee", "read", "r+")],
        [("eve", "read", "delegate=dee"), ("dee", "read", "r+")],
        [("bo", "write", "delegate=eve"), ("dee", "read", "r+")],
    ] {
        assert_eq!(
            answered(&lines),
            "dee: `r+` takes the permission write here."
        );
    }
    assert_eq!(
        answered(&[("bo", "write", "delegate=dee"), ("dee", "read", "r=cy")]),
        "dee: `r=` takes the permission write here."
    );
}

#[test]
fn a_command_for_another_head_is_answered_as_one() {
    let mut question = event("commanded", &[("command", "r+ retry")]);
    let line = Command {
        by: "bo".to_owned(),
        at: 5,
        head: "a".repeat(40),
        text: "r+ retry".to_owned(),
        attrs: vec![("permission".to_owned(), "write".to_owned())],
    };
    question.pull_request.as_mut().unwrap().commands = vec![line];
    assert_eq!(
        arg(&tell(&question)[0], "body"),
        "bo: noted as a word for aaaaaaaaaaaa, which is no longer the head; `retry` was for aaaaaaaaaaaa, which is no longer the head: write it again."
    );
}

/// What the question does not tell is not claimed.
#[test]
fn what_is_not_known_is_not_claimed() {
    let question = event("commanded", &[("command", "r+ retry")]);
    assert_eq!(
        arg(&tell(&question)[0], "body"),
        "bo: read as `r+` and `retry`. Whether that counts is for the policies of the pipeline to say."
    );
}

/// The pull request is as it is now; a verdict is of the head that was tested, for which the host sets the
/// status.
#[test]
fn a_verdict_is_of_the_head_that_was_tested() {
    let older = "a".repeat(40);
    let acts = tell(&event(
        "verdict",
        &[("head", older.as_str()), ("verdict", "pass")],
    ));
    assert!(
        arg(&acts[1], "body").starts_with(
            "**Passed**: head aaaaaaaaaaaa, which is no longer the head, merge of #7 on main"
        ),
        "{}",
        arg(&acts[1], "body")
    );
    // Where the event does not say which head it is of, nobody guesses.
    let acts = tell(&event("verdict", &[("verdict", "pass")]));
    assert!(arg(&acts[1], "body").starts_with("**Passed**, merge of #7 on main"));
}

#[test]
fn a_link_may_be_one_of_this_server() {
    let acts = tell(&event(
        "verdict",
        &[("link", "/v1/lanes/7"), ("verdict", "pass")],
    ));
    assert_eq!(arg(&acts[0], "link"), "/v1/lanes/7");
}

#[test]
fn other_events_are_told_or_quiet() {
    assert_eq!(
        arg(&tell(&event("landed", &[]))[0], "body"),
        "Landed on main as cccccccccccc."
    );
    let held = tell(&event("held", &[("reason.text", "It is a draft.")]));
    assert_eq!(
        (held.len(), arg(&held[0], "text")),
        (1, "held: It is a draft.")
    );
    // What people see as green is of an older commit by now.
    let moved = tell(&event("target-moved", &[]));
    assert_eq!(
        (moved.len(), arg(&moved[0], "state"), arg(&moved[0], "text")),
        (
            1,
            "pending",
            "main moved: the last verdict was on an older commit"
        )
    );
    for name in ["opened", "labelled", "something-new"] {
        assert_eq!(tell(&event(name, &[])), []);
    }
}

proptest! {
    /// An approval is noted if `reviews` takes it for one, whoever delegated what to whom.
    #[test]
    fn what_is_noted_counts(
        before in prop::collection::vec((0usize..3, any::<bool>(), prop::sample::select(vec![
            "delegate+", "delegate=dee", "delegate=ann", "delegate=BO", "hello", "r-",
        ])), 0..5),
        last in (0usize..3, any::<bool>(), prop::sample::select(vec!["r+", "r=cy", "r=ann", "delegate+ r+"])),
    ) {
        let lines: Vec<(&str, &str, &str)> = before
            .iter()
            .chain([&last])
            .map(|(by, may, text)| (["ann", "bo", "dee"][*by], if *may { "write" } else { "read" }, *text))
            .collect();
        let commands = (1..).zip(&lines).map(|(at, (by, permission, text))| Command {
            by: (*by).to_owned(),
            at,
            head: "b".repeat(40),
            text: (*text).to_owned(),
            attrs: vec![("permission".to_owned(), (*permission).to_owned())],
        });
        let question = pointsman_sdk::review::Question {
            pull_request: PullRequest {
                author: "ann".to_owned(),
                commands: commands.collect(),
                ..PullRequest::of(7, &"b".repeat(40))
            },
            reviews: Vec::new(),
        };
        let judged = reviews::decide(&reviews::Settings::default(), &question);
        let counts = judged.approval == pointsman_sdk::Approval::Approved;
        let answer = answered(&lines);
        prop_assert_eq!(answer.contains("noted as"), counts, "{} {:?}", answer, lines);
    }

    /// Whatever was said, the acts are ones the host takes; the same event has the same, and another
    /// event has another comment.
    #[test]
    fn every_answer_is_one_the_host_takes(
        name in prop::sample::select(vec!["verdict", "landed", "held", "target-moved", "commanded", "opened"]),
        verdict in any::<String>(),
        text in ".{0,9000}",
        line in "(r\\+|p=3|try|[a-z@ ]{0,20})",
        at in 6u64..9,
    ) {
        let question = event(name, &[("verdict", &verdict), ("reason.text", &text), ("command", &line), ("link", &text)]);
        let acts = tell(&question);
        prop_assert_eq!(&acts, &tell(&question));
        let comments: Vec<&Act> = acts.iter().filter(|act| act.kind == "comment").collect();
        prop_assert!(acts.len() <= 2 && comments.len() <= 1);
        let later = tell(&Question { at, ..question });
        for act in &acts {
            prop_assert!(arg(act, "body").len() <= BODY_BYTES && arg(act, "text").len() <= STATUS_BYTES);
            prop_assert!(act.args.is_sorted());
            if act.kind == "comment" {
                prop_assert!(later.iter().all(|other| arg(other, "key") != arg(act, "key")));
            }
        }
    }
}
