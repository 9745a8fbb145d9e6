//! The questions about pull requests and lanes, made from what the record holds.

use std::collections::BTreeMap;

use crate::db::merge::{MergeStart, PastRun, PullFacts};
use crate::plan::merge::{Approval, Attrs, Candidate, Depend, Lane, LaneState, Need, Verdict};
use crate::policy::wit::{gate, review, select, types};
pub(super) use crate::turn::jobs::{run, triage};
use crate::turn::question::{instant, packed};

/// Commands in one question, as the contract says: the newest.
const MAX_COMMANDS: usize = 200;
/// Bytes of a command, as the contract says.
const MAX_COMMAND: usize = 1_024;
/// Bytes of a description, as the contract says.
const MAX_BODY: usize = 16 << 10;
/// Paths in one question, as the contract says.
const MAX_CHANGED: usize = 10_000;

/// The lines of a comment that are commands: what follows the prefix, by line.
pub(crate) fn commands<'a>(body: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    body.lines().filter_map(move |line| {
        let rest = line.trim().strip_prefix(prefix)?;
        // `@pointsmanager` is somebody else.
        let command = rest.strip_prefix([' ', ':', '\t'])?.trim();
        (!command.is_empty()).then(|| &command[..command.floor_char_boundary(MAX_COMMAND)])
    })
}

/// A pull request, as the contract has it.
pub(super) fn pull_request(start: &MergeStart, pull: &PullFacts) -> types::PullRequest {
    let mut attrs = BTreeMap::new();
    let body = &pull.body[..pull.body.floor_char_boundary(MAX_BODY)];
    let mut set = |key: &str, value: &str| {
        attrs.insert(key.to_owned(), value.to_owned());
    };
    set("author.permission", &pull.author_permission);
    if !body.is_empty() {
        set("body", body);
    }
    set("head.branch", &pull.head_branch);
    set(
        "head.fork",
        if pull.head_repository.is_some() {
            "true"
        } else {
            "false"
        },
    );
    set(
        "head.repository",
        pull.head_repository.as_deref().unwrap_or(&start.repository),
    );
    if let Some(by) = &pull.authorised_by {
        set("head.authorised-by", by);
    }
    if pull.conflict {
        set("mergeable", "false");
    }
    if pull.retests > 0 {
        set("retest.count", &pull.retests.to_string());
    }
    let mut commands: Vec<types::Command> = pull
        .comments
        .iter()
        .flat_map(|(by, body, head, permission, at)| {
            commands(body, &start.prefix).map(|text| types::Command {
                by: by.clone(),
                at: instant(*at),
                head: head.clone(),
                text: text.to_owned(),
                attrs: vec![("permission".to_owned(), permission.clone())],
            })
        })
        .collect();
    commands.drain(..commands.len().saturating_sub(MAX_COMMANDS));
    types::PullRequest {
        number: u64::from(pull.number.unsigned_abs()),
        author: pull.author.clone(),
        title: pull.title.clone(),
        target: start.target.clone(),
        opened_at: instant(pull.opened_at),
        head: pull.head.clone(),
        merge_base: pull.merge_base.clone(),
        patch_id: pull.patch_id.clone(),
        state: match pull.state.as_str() {
            "open" if pull.draft => "draft".to_owned(),
            state => state.to_owned(),
        },
        labels: pull
            .labels
            .iter()
            .map(|(name, by, head, at)| types::Label {
                name: name.clone(),
                by: by.clone(),
                at: instant(*at),
                head: head.clone(),
            })
            .collect(),
        changed: changed(pull),
        changed_total: pull.changed_total.unsigned_abs(),
        commands,
        depends: pull.depends.iter().map(dependency).collect(),
        runs: pull.runs.iter().map(past_run).collect(),
        notes: vec![],
        attrs: attrs.into_iter().collect(),
    }
}

fn dependency(depend: &Depend) -> types::Dependency {
    types::Dependency {
        subject: depend.subject.clone(),
        state: depend.state.clone(),
        attrs: vec![("how".to_owned(), depend.how.to_owned())],
    }
}

fn changed(pull: &PullFacts) -> types::Packed {
    packed(pull.changed.lines().take(MAX_CHANGED))
}

pub(super) fn past_run(run: &PastRun) -> types::PastRun {
    types::PastRun {
        purpose: run.purpose.clone(),
        commit: run.commit.clone(),
        base: run.base.clone(),
        at: instant(run.at),
        verdict: match run.state.as_str() {
            "passed" | "landing" | "landed" => Some(types::Verdict::Pass),
            "failed" | "conflict" => Some(types::Verdict::Fail),
            "inconclusive" => Some(types::Verdict::Inconclusive),
            _ => None,
        },
        tags: vec![],
    }
}

pub(super) fn review(pull: &PullFacts, request: types::PullRequest) -> review::Question {
    review::Question {
        pull_request: request,
        reviews: pull
            .reviews
            .iter()
            .map(|review| review::Submitted {
                by: review.by.clone(),
                state: review.state.clone(),
                at: instant(review.at),
                head: review.head.clone(),
                patch_id: review.patch_id.clone(),
                attrs: vec![("permission".to_owned(), review.permission.clone())],
            })
            .collect(),
    }
}

/// A head as a piece of work. It stands on its merge base, so that a tip that moves is no new question.
pub(super) fn head(
    start: &MergeStart,
    pull: &PullFacts,
    request: types::PullRequest,
    tags: types::Attrs,
    place: &str,
) -> gate::Question {
    gate::Question(types::Work {
        kind: "head".to_owned(),
        purpose: "merge".to_owned(),
        name: format!("#{}", pull.number),
        base: pull.merge_base.clone(),
        commit: pull.head.clone(),
        tree: String::new(),
        changed: request.changed.clone(),
        changed_total: request.changed_total,
        runs: request.runs.clone(),
        members: vec![request],
        tags,
        attrs: variables(start, place, None),
    })
}

/// A lane as a piece of work; `built` is what its commit changes on its base.
pub(super) fn lane(
    start: &MergeStart,
    lane: &Lane,
    members: &[PullFacts],
    built: Option<&(String, i32)>,
    place: &str,
) -> types::Work {
    let listed: Vec<&str>;
    let total;
    match built {
        Some((changed, count)) => {
            listed = changed.lines().collect();
            total = count.unsigned_abs();
        }
        // Those of its members, then.
        None => {
            let mut paths: Vec<&str> = members.iter().flat_map(|m| m.changed.lines()).collect();
            paths.sort_unstable();
            paths.dedup();
            // Paths of which only the number is known may be any: who looks at paths must see that some are
            // missing.
            let unknown = members.iter().map(|m| {
                let known = u32::try_from(m.changed.lines().count()).unwrap_or(u32::MAX);
                m.changed_total.unsigned_abs().saturating_sub(known)
            });
            total = u32::try_from(paths.len())
                .unwrap_or(u32::MAX)
                .saturating_add(unknown.sum());
            paths.truncate(MAX_CHANGED);
            listed = paths;
        }
    }
    let handed_on = members.iter().filter_map(|m| m.standing.as_ref());
    let mut tags: Attrs = handed_on.flat_map(|s| s.tags.clone()).collect();
    tags.extend(lane.tags.clone());
    types::Work {
        kind: if members.is_empty() { "branch" } else { "lane" }.to_owned(),
        purpose: lane.purpose.clone(),
        name: lane.name(&start.target),
        base: lane.base.clone().unwrap_or_default(),
        commit: lane.commit.clone().unwrap_or_default(),
        tree: lane.tree.clone().unwrap_or_default(),
        members: members.iter().map(|m| pull_request(start, m)).collect(),
        changed: packed(listed.into_iter()),
        changed_total: total,
        runs: vec![],
        tags: tags.into_iter().collect(),
        attrs: variables(start, place, Some((lane, members))),
    }
}

/// The variables of a template.
fn variables(start: &MergeStart, place: &str, lane: Option<(&Lane, &[PullFacts])>) -> types::Attrs {
    let mut attrs = BTreeMap::from([
        ("pipeline.name".to_owned(), start.name.clone()),
        ("repository.name".to_owned(), start.repository.clone()),
        ("target.branch".to_owned(), start.target.clone()),
        // Where the commit of the work is fetched from.
        ("source.repo".to_owned(), place.to_owned()),
    ]);
    if let Some((lane, members)) = lane {
        attrs.extend(lane.attrs.iter().map(|(k, v)| (k.clone(), v.clone())));
        if let [one] = members {
            attrs.insert("source.branch".to_owned(), one.head_branch.clone());
            attrs.insert("source.commit".to_owned(), one.head.clone());
        }
    }
    attrs.into_iter().collect()
}

pub(super) fn select(
    start: &MergeStart,
    tip: &str,
    candidates: &[Candidate],
    living: &[Lane],
    ended: &[Lane],
    branch: &[PastRun],
) -> select::Question {
    select::Question {
        target: start.target.clone(),
        tip: tip.to_owned(),
        slots: start.slots.unsigned_abs(),
        candidates: candidates
            .iter()
            .filter(|c| !c.draft)
            .map(|c| select::Candidate {
                number: u64::from(c.number.unsigned_abs()),
                head: c.head.clone(),
                author: c.author.clone(),
                labels: packed(c.labels.iter().map(String::as_str)),
                opened_at: instant(c.opened_at),
                approval: match c.approval {
                    Approval::Approved => types::Approval::Approved,
                    Approval::Pending => types::Approval::Pending,
                    Approval::Rejected => types::Approval::Rejected,
                },
                approved_at: c.approved_at.map(instant),
                need: c.need.map(|need| match need {
                    Need::Pass => types::Need::Pass,
                    Need::Run => types::Need::Run,
                    Need::Hold => types::Need::Hold,
                    Need::Fail => types::Need::Fail,
                }),
                on_tip: c.on_tip.map(verdict),
                before: c.before.map(verdict),
                runs: c.runs.unsigned_abs(),
                depends: c.depends.iter().map(dependency).collect(),
                tags: tags(c),
            })
            .collect(),
        lanes: living.iter().chain(ended).filter_map(lane_state).collect(),
        runs: branch.iter().map(past_run).collect(),
        attrs: vec![],
    }
}

/// The policies' tags, and what the host knows and a candidate has no field for.
fn tags(candidate: &Candidate) -> types::Attrs {
    let mut tags = candidate.tags.clone();
    if candidate.conflict {
        tags.insert("host.conflict".to_owned(), "true".to_owned());
    }
    if candidate.head_gone {
        tags.insert("host.head-gone".to_owned(), "true".to_owned());
    }
    if candidate.retests > 0 {
        tags.insert("retest.count".to_owned(), candidate.retests.to_string());
    }
    tags.into_iter().collect()
}

fn verdict(verdict: Verdict) -> types::Verdict {
    match verdict {
        Verdict::Pass => types::Verdict::Pass,
        Verdict::Fail => types::Verdict::Fail,
        Verdict::Inconclusive => types::Verdict::Inconclusive,
    }
}

fn lane_state(lane: &Lane) -> Option<select::LaneState> {
    Some(select::LaneState {
        id: lane.id?.cast_unsigned(),
        lane: select::Lane {
            members: lane
                .numbers
                .iter()
                .map(|n| u64::from(n.unsigned_abs()))
                .collect(),
            on: None,
            purpose: lane.purpose.clone(),
            landing: match lane.landing {
                crate::plan::merge::Landing::Never => select::Landing::Never,
                crate::plan::merge::Landing::Hold => select::Landing::Hold,
                crate::plan::merge::Landing::WhenPassed => select::Landing::WhenPassed,
            },
            priority: lane.priority,
            reason: types::Reason {
                code: lane.why.code.clone(),
                text: lane.why.text.clone(),
                details: vec![],
            },
            // The host's own mark is not the policy's to give back.
            attrs: lane
                .attrs
                .iter()
                .filter(|(key, _)| *key != crate::plan::merge::RETESTS)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        },
        state: match lane.state {
            // For a policy both are on the way to their jobs.
            LaneState::Building | LaneState::Built => "running",
            state => state.name(),
        }
        .to_owned(),
        since: instant(lane.since),
        base: lane.base.clone().unwrap_or_default(),
        commit: lane.commit.clone().unwrap_or_default(),
        heads: packed(lane.heads.iter().map(String::as_str)),
        blame: lane
            .blame
            .iter()
            .map(|n| u64::from(n.unsigned_abs()))
            .collect(),
        // It takes no slot then, so that another one may go on.
        attrs: match &lane.held {
            Some((code, _)) if lane.is_stuck() => vec![("host.held".to_owned(), code.clone())],
            _ => vec![],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lines_that_begin_with_the_prefix() {
        let body = "Looks good.\n@pointsman r+\n  @pointsman: p=5  \n@pointsmanager r+\nthe @pointsman r+\n@pointsman\n@pointsman ";
        let found: Vec<&str> = commands(body, "@pointsman").collect();
        assert_eq!(found, ["r+", "p=5"]);
    }

    #[test]
    fn a_long_command_is_cut_between_characters() {
        let body = format!("! {}", "ü".repeat(2_000));
        let found: Vec<&str> = commands(&body, "!").collect();
        assert_eq!(found[0].len(), 1_024);
    }
}
