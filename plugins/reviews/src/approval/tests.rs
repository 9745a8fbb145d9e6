use Approval::{Approved, Pending, Rejected};
use pointsman_sdk::review::Submitted;
use pointsman_sdk::{Command, Label, PullRequest, attr, packed};
use proptest::prelude::*;

use super::*;
use crate::Stale;

fn review(by: &str, state: &str, head: &str) -> Submitted {
    Submitted {
        by: by.to_owned(),
        state: state.to_owned(),
        at: 0,
        head: head.to_owned(),
        patch_id: format!("patch of {head}"),
        attrs: vec![("permission".to_owned(), "write".to_owned())],
    }
}

fn line(by: &str, at: u64, text: &str) -> Command {
    Command {
        by: by.to_owned(),
        at,
        head: "b2".to_owned(),
        text: text.to_owned(),
        attrs: vec![("permission".to_owned(), "write".to_owned())],
    }
}

fn powerless<T>(mut said: T, attrs: impl Fn(&mut T) -> &mut Vec<(String, String)>) -> T {
    attrs(&mut said)[0].1 = "read".to_owned();
    said
}

/// Of ann's pull request at the head b2; what is said is a second apart.
fn ask_with(settings: &Settings, mut reviews: Vec<Submitted>, commands: Vec<Command>) -> Answer {
    for (at, review) in (1..).zip(&mut reviews) {
        review.at = at;
    }
    let pull_request = PullRequest {
        author: "ann".to_owned(),
        patch_id: "patch of b2".to_owned(),
        commands,
        ..PullRequest::of(7, "b2")
    };
    decide(
        settings,
        &Question {
            pull_request,
            reviews,
        },
    )
}

#[track_caller]
fn expect(
    reviews: Vec<Submitted>,
    commands: Vec<Command>,
    approval: Approval,
    code: &str,
) -> Answer {
    let answer = ask_with(&Settings::default(), reviews, commands);
    assert_eq!(
        (answer.approval, answer.basis.reason.code.as_str()),
        (approval, code),
        "{}",
        answer.basis.reason.text
    );
    answer
}

#[test]
fn the_last_decisive_word_of_each_counts() {
    let approved = || review("bo", "approved", "b2");
    expect(vec![], vec![], Pending, "review.missing");
    expect(vec![approved()], vec![], Approved, "review.approved");
    expect(
        vec![approved(), review("bo", "commented", "b2")],
        vec![],
        Approved,
        "review.approved",
    );
    expect(
        vec![approved(), review("bo", "pondered", "b2")],
        vec![],
        Approved,
        "review.approved",
    );
    expect(
        vec![approved(), review("bo", "dismissed", "b2")],
        vec![],
        Pending,
        "review.missing",
    );
    expect(
        vec![review("bo", "dismissed", "b2"), approved()],
        vec![],
        Approved,
        "review.approved",
    );
    let answer = expect(
        vec![approved(), review("cy", "changes-requested", "a1")],
        vec![],
        Rejected,
        "review.changes-requested",
    );
    assert_eq!(answer.wanted, ["cy"]);
    expect(
        vec![
            review("cy", "changes-requested", "a1"),
            review("CY", "approved", "b2"),
        ],
        vec![],
        Approved,
        "review.approved",
    );
    expect(
        vec![
            review("cy", "changes-requested", "a1"),
            review("cy", "dismissed", "a1"),
            approved(),
        ],
        vec![],
        Approved,
        "review.approved",
    );
}

/// Who may dismiss a review is for the forge to say, and the reviewer may have lost the permission since.
#[test]
fn a_dismissal_is_heard_whatever_its_reviewer_may_do() {
    let gone = powerless(review("cy", "dismissed", "b2"), |review| &mut review.attrs);
    expect(
        vec![
            review("cy", "changes-requested", "b2"),
            gone.clone(),
            review("bo", "approved", "b2"),
        ],
        vec![],
        Approved,
        "review.approved",
    );
    expect(
        vec![review("cy", "approved", "b2"), gone],
        vec![],
        Pending,
        "review.missing",
    );
}

#[test]
fn who_may_not_write_does_not_count() {
    expect(
        vec![review("ann", "approved", "b2")],
        vec![],
        Pending,
        "review.missing",
    );
    let own = expect(
        vec![],
        vec![line("ann", 1, "r+")],
        Pending,
        "review.no-permission",
    );
    // The author may do enough, and that is not the point.
    assert_eq!(
        own.basis.reason.text,
        "0 of 1 person approved b2; the author's own word does not count: somebody else has to approve, or to write `delegate+`."
    );
    expect(
        vec![],
        vec![line("ann", 1, "r=bo")],
        Pending,
        "review.no-permission",
    );
    expect(
        vec![],
        vec![line("bo", 1, "r=ann")],
        Pending,
        "review.missing",
    );
    let weak = powerless(review("bo", "approved", "b2"), |review| &mut review.attrs);
    expect(vec![weak], vec![], Pending, "review.no-permission");
    let weak = powerless(review("bo", "changes-requested", "b2"), |review| {
        &mut review.attrs
    });
    expect(
        vec![weak, review("cy", "approved", "b2")],
        vec![],
        Approved,
        "review.approved",
    );
    let weak = powerless(line("bo", 1, "r+ p=9"), |line| &mut line.attrs);
    let answer = expect(vec![], vec![weak], Pending, "review.no-permission");
    assert_eq!(answer.basis.tags, []);
}

#[test]
fn commands_approve_as_reviews_do() {
    let answer = expect(
        vec![],
        vec![line("bo", 1, "r+ p=5 thanks")],
        Approved,
        "review.approved",
    );
    assert_eq!(attr(&answer.basis.tags, "priority"), Some("5"));
    expect(
        vec![],
        vec![line("bo", 1, "r+"), line("ann", 2, "r-")],
        Pending,
        "review.taken-back",
    );
    expect(
        vec![review("cy", "approved", "b2")],
        vec![line("bo", 9, "r-")],
        Pending,
        "review.taken-back",
    );
    expect(
        vec![],
        vec![
            line("bo", 1, "r+"),
            line("bo", 2, "r-"),
            line("cy", 3, "r+"),
        ],
        Approved,
        "review.approved",
    );
    // Taking approvals back does not take a request for changes back.
    expect(
        vec![review("cy", "changes-requested", "b2")],
        vec![line("cy", 9, "r-")],
        Rejected,
        "review.changes-requested",
    );
    let mut older = line("bo", 1, "r+");
    older.head = "a1".to_owned();
    let answer = expect(vec![], vec![older], Pending, "review.stale");
    assert_eq!(answer.wanted, ["bo"]);
}

#[test]
fn to_approve_can_be_delegated() {
    let answer = expect(
        vec![],
        vec![line("bo", 1, "delegate+"), line("ann", 2, "r+")],
        Approved,
        "review.approved",
    );
    assert!(
        answer.basis.reason.text.starts_with("bo approved"),
        "{}",
        answer.basis.reason.text
    );
    let weak = |at, text| powerless(line("dee", at, text), |line| &mut line.attrs);
    expect(
        vec![],
        vec![line("bo", 1, "delegate=dee"), weak(2, "r+")],
        Approved,
        "review.approved",
    );
    expect(
        vec![],
        vec![weak(1, "r+"), line("bo", 2, "delegate=dee")],
        Pending,
        "review.no-permission",
    );
    expect(
        vec![],
        vec![line("bo", 1, "delegate=dee"), weak(2, "r=cy")],
        Pending,
        "review.no-permission",
    );
    expect(
        vec![],
        vec![line("ann", 1, "delegate+"), line("ann", 2, "r+")],
        Pending,
        "review.no-permission",
    );
    // The delegator has one voice, whoever lends it.
    let two = Settings {
        required: 2,
        ..Settings::default()
    };
    let words = vec![line("bo", 1, "delegate+ r+"), line("ann", 2, "r+")];
    assert_eq!(ask_with(&two, vec![], words).approval, Pending);
    let words = vec![line("bo", 1, "r=cy"), line("bo", 2, "r=dee")];
    assert_eq!(ask_with(&two, vec![], words).approval, Pending);
}

#[test]
fn an_older_heads_approval_counts_as_set() {
    let with = |stale| Settings {
        stale,
        ..Settings::default()
    };
    let older = || review("bo", "approved", "a1");
    let mut same = older();
    same.patch_id = "patch of b2".to_owned();
    let answer = ask_with(&with(Stale::No), vec![same.clone()], vec![]);
    assert_eq!(
        (answer.approval, answer.wanted),
        (Pending, vec!["bo".to_owned()])
    );
    assert_eq!(
        ask_with(&with(Stale::SamePatch), vec![same], vec![]).approval,
        Approved
    );
    assert_eq!(
        ask_with(&with(Stale::SamePatch), vec![older()], vec![]).approval,
        Pending
    );
    assert_eq!(
        ask_with(&with(Stale::Yes), vec![older()], vec![]).approval,
        Approved
    );
    let mut unknown = older();
    unknown.patch_id = String::new();
    assert_eq!(
        ask_with(&with(Stale::SamePatch), vec![unknown], vec![]).approval,
        Pending
    );
}

#[test]
fn who_is_missing_is_named() {
    let settings = Settings {
        people: vec!["cy".to_owned(), "ann".to_owned()],
        teams: vec!["org/core".to_owned()],
        ..Settings::default()
    };
    let mut bo = review("bo", "approved", "b2");
    let answer = ask_with(&settings, vec![bo.clone()], vec![]);
    assert_eq!(
        (answer.approval, answer.wanted),
        (Pending, vec!["cy".to_owned(), "@org/core".to_owned()])
    );
    bo.attrs
        .push(("teams".to_owned(), packed::pack(["docs", "Core"])));
    let answer = ask_with(&settings, vec![bo, review("cy", "approved", "b2")], vec![]);
    assert_eq!((answer.approval, answer.wanted.len()), (Approved, 0));
}

#[test]
fn a_label_blocks() {
    let mut pull_request = PullRequest::of(7, "b2");
    pull_request.labels = vec![Label {
        name: "wip".to_owned(),
        by: "ann".to_owned(),
        at: 0,
        head: "b2".to_owned(),
    }];
    let answer = decide(
        &Settings::default(),
        &Question {
            pull_request,
            reviews: vec![review("bo", "approved", "b2")],
        },
    );
    assert_eq!(
        (answer.approval, answer.basis.reason.code.as_str()),
        (Pending, "label.blocking")
    );
    assert_eq!(
        answer.basis.reason.text,
        "ann put the label wip on it: take it off when it may be merged."
    );
}

#[test]
fn a_dismissal_keeps_its_place() {
    // The first review was dismissed after the second was given.
    let mut first = review("bo", "dismissed", "b2");
    first.at = 10;
    let mut second = review("bo", "approved", "b2");
    second.at = 5;
    let pull_request = PullRequest::of(7, "b2");
    let answer = decide(
        &Settings::default(),
        &Question {
            pull_request,
            reviews: vec![first, second],
        },
    );
    assert_eq!(answer.approval, Approved);
}

fn any_reviews() -> impl Strategy<Value = Vec<Submitted>> {
    let one = (
        prop::sample::select(vec!["ann", "bo", "cy"]),
        prop::sample::select(vec![
            "approved",
            "changes-requested",
            "commented",
            "dismissed",
        ]),
        prop::sample::select(vec!["a1", "b2"]),
        any::<bool>(),
    );
    let one = one.prop_map(|(by, state, head, may)| {
        let given = review(by, state, head);
        if may {
            given
        } else {
            powerless(given, |review| &mut review.attrs)
        }
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    /// The seed's regret: a comment changes nothing, whoever writes it and whenever.
    #[test]
    fn a_comment_changes_nothing(reviews in any_reviews(), at in 0usize..8, by in prop::sample::select(vec!["ann", "bo", "cy"])) {
        let before = ask_with(&Settings::default(), reviews.clone(), vec![]);
        let mut more = reviews;
        more.insert(at.min(more.len()), review(by, "commented", "b2"));
        prop_assert_eq!(before, ask_with(&Settings::default(), more, vec![]));
    }

    /// Nothing is approved without a word of somebody else who may write, for this very head.
    #[test]
    fn an_approval_has_its_approver(reviews in any_reviews()) {
        let answer = ask_with(&Settings::default(), reviews.clone(), vec![]);
        let counts = |review: &&Submitted| review.by != "ann" && review.head == "b2" && review.state == "approved" && attr(&review.attrs, "permission") == Some("write");
        prop_assert!(answer.approval != Approved || reviews.iter().any(|review| counts(&review)));
        prop_assert!(answer.approval != Approved || answer.wanted.is_empty());
    }
}
