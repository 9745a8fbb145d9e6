//! A kernel version's run as a piece of work: what `run` and `triage` are asked about.

use std::collections::BTreeMap;

use crate::contract;
use crate::db::runs::{Past, Subject};
use crate::policy::wit::types;
use crate::turn::question::instant;

/// The work, as the contract has it.
pub(super) fn work(pipeline: &str, subject: &Subject, past: &[Past]) -> types::Work {
    let attrs = BTreeMap::from([
        ("pipeline.name".to_owned(), pipeline.to_owned()),
        ("distro.name".to_owned(), subject.distro.clone()),
        ("distro.variant".to_owned(), subject.variant.clone()),
        ("kernel.version".to_owned(), subject.version.clone()),
        (
            "kernel.packages".to_owned(),
            contract::text(&subject.packages),
        ),
        ("track".to_owned(), subject.release.clone()),
    ]);
    types::Work {
        kind: "kernel".to_owned(),
        purpose: subject.purpose.clone(),
        name: format!("{}/{}", subject.distro, subject.version),
        base: String::new(),
        commit: String::new(),
        tree: String::new(),
        members: vec![],
        changed: String::new(),
        changed_total: 0,
        runs: past.iter().map(|past| past_run(subject, past)).collect(),
        tags: subject.tags.clone(),
        attrs: attrs.into_iter().collect(),
    }
}

fn past_run(subject: &Subject, past: &Past) -> types::PastRun {
    types::PastRun {
        purpose: subject.purpose.clone(),
        commit: String::new(),
        base: String::new(),
        at: instant(past.at),
        verdict: past.verdict.as_deref().map(|verdict| match verdict {
            "pass" => types::Verdict::Pass,
            "fail" => types::Verdict::Fail,
            _ => types::Verdict::Inconclusive,
        }),
        tags: vec![],
    }
}
