//! Properties of the plan: what is refused, and that what is taken changes exactly what differs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_700_000_000_000).unwrap()
}

fn basis() -> types::Basis {
    types::Basis {
        reason: why("ok"),
        wake_at: None,
        notes: vec![],
        tags: vec![],
        attrs: vec![],
    }
}

fn why(code: &str) -> types::Reason {
    types::Reason {
        code: code.to_owned(),
        text: format!("because {code}"),
        details: vec![],
    }
}

fn version(id: i64, scope: Option<&str>) -> Version {
    Version {
        id,
        distro: 1,
        name: format!("6.1.0-{id}-amd64"),
        first_seen: at(),
        hosts: 0,
        deleted: false,
        scope: scope.map(str::to_owned),
        ignore: None,
        reason: scope.map(|_| "because a".to_owned()),
    }
}

fn ground(scope: &str, code: &str) -> ignore::Ground {
    ignore::Ground {
        scope: scope.to_owned(),
        rule: None,
        reason: why(code),
    }
}

fn answer(grounds: Vec<ignore::Ground>, ignored: &[(u32, u32)]) -> ignore::Answer {
    ignore::Answer {
        grounds,
        ignored: ignored
            .iter()
            .map(|(version, ground)| ignore::Ignored {
                version: *version,
                ground: *ground,
            })
            .collect(),
        basis: basis(),
    }
}

proptest! {
    /// Against a naive model: who is ignored afterwards is whom any answer ignores, `all` beats
    /// `automatic`, and only differences are planned.
    #[test]
    fn ignore_plans_exactly_the_difference(
        before in prop::collection::vec(prop::option::of(prop::sample::select(vec!["all", "automatic"])), 1..20),
        answers in prop::collection::vec(prop::collection::btree_map(0u32..20, prop::bool::ANY, 0..20), 0..4),
    ) {
        let versions: Vec<Version> =
            before.iter().enumerate().map(|(n, scope)| version(n as i64 + 100, *scope)).collect();
        let mut expected: BTreeMap<usize, &str> = BTreeMap::new();
        let mut given = vec![];
        for (n, named) in answers.iter().enumerate() {
            let named: Vec<(u32, u32)> = named
                .iter()
                .filter(|(index, _)| (**index as usize) < versions.len())
                .map(|(index, all)| (*index, u32::from(*all)))
                .collect();
            for (index, all) in &named {
                let scope = if *all == 1 { "all" } else { "automatic" };
                let entry = expected.entry(*index as usize).or_insert(scope);
                if scope == "all" {
                    *entry = "all";
                }
            }
            given.push((n, answer(vec![ground("automatic", "a"), ground("all", "a")], &named)));
        }
        let plan = ignore(&versions, &[], &given).unwrap();
        // Carried out, the plan gives what the model expects, and nothing in it is idle.
        let mut after: BTreeMap<usize, String> =
            before.iter().enumerate().filter_map(|(n, s)| Some((n, (*s)?.to_owned()))).collect();
        for id in &plan.kept {
            prop_assert!(after.remove(&((id - 100) as usize)).is_some());
        }
        for ignored in &plan.ignored {
            let changed = after.insert((ignored.id - 100) as usize, ignored.scope.clone());
            prop_assert_ne!(changed.as_deref(), Some(ignored.scope.as_str()));
        }
        let expected: BTreeMap<usize, String> = expected.into_iter().map(|(n, s)| (n, s.to_owned())).collect();
        prop_assert_eq!(after, expected);
    }

    /// Whatever a policy answers, a version never moves down, never into a stage of people, and never
    /// without having been asked about.
    #[test]
    fn advance_never_moves_where_it_may_not(
        states in prop::collection::vec(1i32..=4, 1..8),
        steps in prop::collection::vec((0u32..10, prop::option::of(prop::sample::select(vec!["seen", "built", "tested", "ready", "nowhere"]))), 0..8),
    ) {
        let kernels: Vec<Kernel> = states.iter().enumerate().map(|(n, state)| kernel(n as i64, *state)).collect();
        let steps = steps
            .into_iter()
            .map(|(index, stage)| advance::Step {
                index,
                stage: stage.map(str::to_owned),
                purpose: None,
                priority: 0,
                basis: basis(),
            })
            .collect();
        let stages = stages();
        if let Ok(plan) = advance("debian-12", &stages, &kernels, 0, &advance::Answer { steps, basis: basis() }) {
            for moved in plan.moves {
                let stage = |id: i32| stages.iter().find(|s| s.id == id).unwrap();
                prop_assert!(stage(moved.to).rank > stage(moved.from).rank);
                prop_assert_eq!(stage(moved.to).moved_by.as_str(), "policy");
                prop_assert_eq!(kernels[usize::try_from(moved.id).unwrap()].state, moved.from);
            }
        }
    }

    /// A wake is always ahead, and never further than a week.
    #[test]
    fn a_wake_is_clamped(wake in prop::option::of(any::<u64>())) {
        let asked = types::Basis { wake_at: wake, ..basis() };
        match wake_at(&asked, at()) {
            None => prop_assert_eq!(wake, None),
            Some(clamped) => {
                let ahead = (clamped - at()).num_milliseconds();
                prop_assert!((MIN_WAKE_MS..=MAX_WAKE_MS).contains(&ahead));
            }
        }
    }
}

fn stages() -> Vec<Stage> {
    [
        ("seen", 10, "policy"),
        ("built", 30, "policy"),
        ("tested", 40, "policy"),
        ("ready", 50, "person"),
    ]
    .into_iter()
    .zip(1..)
    .map(|((name, rank, moved_by), id)| Stage {
        id,
        name: name.to_owned(),
        rank,
        moved_by: moved_by.to_owned(),
    })
    .collect()
}

fn kernel(id: i64, state: i32) -> Kernel {
    Kernel {
        id,
        distro: 1,
        version: format!("6.1.0-{id}-amd64"),
        stage: stages()[usize::try_from(state - 1).unwrap()].name.clone(),
        state,
        since: at(),
        by_person: false,
        missing: vec![],
        ignored: None,
        requested: None,
        wanted: None,
        tried: vec![],
        hosts: vec![],
    }
}

fn step(index: u32, stage: Option<&str>, purpose: Option<&str>) -> advance::Answer {
    let step = advance::Step {
        index,
        stage: stage.map(str::to_owned),
        purpose: purpose.map(str::to_owned),
        priority: 0,
        basis: basis(),
    };
    advance::Answer {
        steps: vec![step],
        basis: basis(),
    }
}

#[test]
fn nonsense_is_refused_with_a_code_of_its_own() {
    let versions = [version(1, None)];
    let rules = [Rule {
        id: 7,
        kind: "like".into(),
        pattern: "%".into(),
        reason: "r".into(),
        expires: None,
    }];
    let refused = |answer| ignore(&versions, &rules, &[(0, answer)]).unwrap_err().code;
    assert_eq!(
        refused(answer(vec![ground("all", "a")], &[(1, 0)])),
        "index-unknown"
    );
    assert_eq!(
        refused(answer(vec![ground("all", "a")], &[(0, 0), (0, 0)])),
        "index-twice"
    );
    assert_eq!(
        refused(answer(vec![ground("all", "a")], &[(0, 1)])),
        "ground-unknown"
    );
    assert_eq!(
        refused(answer(vec![ground("some", "a")], &[])),
        "scope-unknown"
    );
    assert_eq!(
        refused(answer(vec![ground("all", "no code")], &[])),
        "reason-code"
    );
    let unknown_rule = ignore::Ground {
        rule: Some(8),
        ..ground("all", "a")
    };
    assert_eq!(refused(answer(vec![unknown_rule], &[])), "rule-unknown");
    let mut tagged = answer(vec![], &[]);
    tagged.basis.tags.push(("Risk".into(), "high".into()));
    let refusal = ignore(&versions, &rules, &[(3, answer(vec![], &[])), (4, tagged)]).unwrap_err();
    assert_eq!((refusal.code, refusal.decision), ("bad-tag", Some(4)));
    let mut odd = answer(vec![], &[]);
    odd.basis.attrs.push(("host.secret".into(), "x".into()));
    assert_eq!(refused(odd), "unknown-attr");

    let kernels = [kernel(0, 2)];
    let refused = |answer| {
        advance("d", &stages(), &kernels, 0, &answer)
            .unwrap_err()
            .code
    };
    assert_eq!(refused(step(1, None, None)), "index-unknown");
    assert_eq!(refused(step(0, Some("nowhere"), None)), "stage-unknown");
    assert_eq!(refused(step(0, Some("seen"), None)), "stage-below");
    assert_eq!(refused(step(0, Some("ready"), None)), "stage-by-person");
    assert_eq!(refused(step(0, None, Some("Do It"))), "purpose-malformed");
    assert_eq!(refused(step(0, None, Some("-build"))), "purpose-malformed");
}

#[test]
fn an_unchanged_wish_is_not_written_again() {
    let mut asked = kernel(0, 1);
    let first = advance(
        "d",
        &stages(),
        std::slice::from_ref(&asked),
        0,
        &step(0, None, Some("build")),
    )
    .unwrap();
    assert_eq!(first.wanted.len(), 1);
    asked.wanted = Some(("build".to_owned(), 0));
    let again = advance(
        "d",
        &stages(),
        std::slice::from_ref(&asked),
        0,
        &step(0, None, Some("build")),
    )
    .unwrap();
    assert_eq!(again, AdvancePlan::default());
    let dropped = advance("d", &stages(), &[asked], 0, &step(0, None, None)).unwrap();
    assert_eq!(dropped.wanted[0].run, None);
}
