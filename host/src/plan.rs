//! What to make of the policies' answers: pure, without I/O.
//!
//! A policy proposes, the host disposes: an answer that names what was not asked about, a stage that
//! only people may move a version into, or a text beyond its bounds is refused as a whole, with the
//! reason. A wish half understood would be a guess.

pub mod jobs;
mod memory;
pub mod merge;
pub mod runs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::policy::wit::{advance, ignore, types};

pub use memory::{notes, sound};

/// Characters of a reason that are kept.
pub(crate) const MAX_REASON_TEXT: usize = 1_024;
/// Characters of a reason's code.
pub(crate) const MAX_REASON_CODE: usize = 64;
/// Wakes are at least this far ahead, in milliseconds: a policy cannot spin the host.
const MIN_WAKE_MS: i64 = 1_000;
/// And at most this far: seven days.
const MAX_WAKE_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// A version that `ignore` is asked about.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its id.
    pub id: i64,
    /// Its distro.
    pub distro: i32,
    /// `5.15.0-57-generic`.
    pub name: String,
    /// When the record first had it.
    pub first_seen: DateTime<Utc>,
    /// How many hosts have it.
    pub hosts: i64,
    /// Marked as deleted: nothing is asked about it, and nothing derived is kept.
    pub deleted: bool,
    /// How it is ignored now.
    pub scope: Option<String>,
    /// By which rule.
    pub ignore: Option<i64>,
    /// Why.
    pub reason: Option<String>,
}

/// A pattern in force.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its id.
    pub id: i64,
    /// like or regex.
    pub kind: String,
    /// The pattern.
    pub pattern: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub expires: Option<DateTime<Utc>>,
}

/// A stage of kernel versions.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its id.
    pub id: i32,
    /// `built`.
    pub name: String,
    /// Higher is further along.
    pub rank: i32,
    /// policy or person.
    pub moved_by: String,
}

/// A version that `advance` is asked about.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its id.
    pub id: i64,
    /// Its distro.
    pub distro: i32,
    /// `5.15.0-57-generic`.
    pub version: String,
    /// The name of its state.
    pub stage: String,
    /// The id of its state.
    pub state: i32,
    /// Since when.
    pub since: DateTime<Utc>,
    /// A person put it there.
    pub by_person: bool,
    /// What it lacks: headers, image.
    pub missing: Vec<String>,
    /// How it is ignored.
    pub ignored: Option<String>,
    /// The purpose of a run that a person asked for.
    pub requested: Option<String>,
    /// The run that is wanted now: purpose and priority.
    pub wanted: Option<(String, i32)>,
    /// The newest run of each purpose.
    pub tried: Vec<Tried>,
    /// Hosts that have it, by cluster type.
    pub hosts: Vec<(String, i64)>,
}

/// The newest run of one purpose.
#[derive(Debug, Clone)]
pub struct Tried {
    /// fetch, build, test.
    pub purpose: String,
    /// The product release.
    pub release: String,
    /// None while it runs.
    pub verdict: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// How many there were.
    pub runs: i64,
}

/// A version to be ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Ignored {
    /// The version.
    pub id: i64,
    /// all or automatic.
    pub scope: String,
    /// The rule that did it.
    pub rule: Option<i64>,
    /// Stable.
    pub reason_code: String,
    /// For people.
    pub reason_text: String,
    /// The decision, by index.
    pub decision: usize,
}

/// A version to move.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// The version.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The state it must still be in.
    pub from: i32,
    /// The state it goes to.
    pub to: i32,
    /// The name of that.
    pub stage: String,
    /// For people.
    pub reason_text: String,
}

/// A run that is wanted, or no longer.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The version.
    pub id: i64,
    /// None: no run is wanted any more.
    pub run: Option<WantedRun>,
    /// Stable.
    pub reason_code: String,
    /// For people.
    pub reason_text: String,
    /// The decision, by index.
    pub decision: usize,
}

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedRun {
    /// fetch, build, test.
    pub purpose: String,
    /// Higher goes first.
    pub priority: i32,
}

/// Why an answer is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// Stable.
    pub code: &'static str,
    /// For people.
    pub text: String,
    /// The decision that is at fault, by index, where several were looked at; else the newest.
    pub decision: Option<usize>,
}

fn refuse<T>(code: &'static str, text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        code,
        text: text.into(),
        decision: None,
    })
}

/// What the answers to one `ignore` question change.
#[derive(Debug, Default, PartialEq)]
pub struct IgnorePlan {
    /// Ignored from now on, or for another reason.
    pub ignored: Vec<Ignored>,
    /// No longer ignored.
    pub kept: Vec<i64>,
    /// What is handed to `advance` with this distro's versions, sorted.
    pub tags: types::Attrs,
}

/// Merges the answers of a chain of `ignore` bindings: a version that one ignores is ignored, `all`
/// beats `automatic`, and of a tag the last one counts. `answers` come with the index of their decision.
pub fn ignore(
    versions: &[Version],
    rules: &[Rule],
    answers: &[(usize, ignore::Answer)],
) -> Result<IgnorePlan, Refused> {
    let mut ignored: HashMap<usize, Ignored> = HashMap::new();
    let mut plan = IgnorePlan::default();
    for (decision, answer) in answers {
        merge(&mut ignored, versions, rules, *decision, answer)
            .and_then(|()| memory::hand_on(&mut plan.tags, &answer.basis.tags))
            .map_err(|refused| Refused {
                decision: Some(*decision),
                ..refused
            })?;
    }
    for (index, version) in versions.iter().enumerate() {
        match ignored.remove(&index) {
            Some(next) => {
                let same = version.scope.as_deref() == Some(&next.scope)
                    && version.ignore == next.rule
                    && version.reason.as_deref() == Some(&next.reason_text);
                if !same {
                    plan.ignored.push(next);
                }
            }
            None if version.scope.is_some() => plan.kept.push(version.id),
            None => {}
        }
    }
    Ok(plan)
}

/// Checks one answer, and adds what it ignores.
fn merge(
    ignored: &mut HashMap<usize, Ignored>,
    versions: &[Version],
    rules: &[Rule],
    decision: usize,
    answer: &ignore::Answer,
) -> Result<(), Refused> {
    basis(&answer.basis, &[RULES_SCOPE])?;
    for ground in &answer.grounds {
        check_ground(ground, rules)?;
    }
    let mut named = std::collections::HashSet::with_capacity(answer.ignored.len());
    for proposal in &answer.ignored {
        if !named.insert(proposal.version) {
            return refuse(
                "index-twice",
                format!("the answer ignores version {} twice", proposal.version),
            );
        }
        let index = proposal.version as usize;
        let Some(version) = versions.get(index) else {
            return refuse(
                "index-unknown",
                format!(
                    "the answer ignores version {index} of a question with {}",
                    versions.len()
                ),
            );
        };
        let Some(ground) = answer.grounds.get(proposal.ground as usize) else {
            return refuse(
                "ground-unknown",
                format!(
                    "the answer names ground {} of {}",
                    proposal.ground,
                    answer.grounds.len()
                ),
            );
        };
        let next = Ignored {
            id: version.id,
            scope: ground.scope.clone(),
            rule: ground.rule.map(u64::cast_signed),
            reason_code: ground.reason.code.clone(),
            reason_text: cut(&ground.reason.text, MAX_REASON_TEXT),
            decision,
        };
        match ignored.get(&index) {
            Some(before) if before.scope == "all" || next.scope == "automatic" => {}
            _ => {
                ignored.insert(index, next);
            }
        }
    }
    Ok(())
}

fn check_ground(ground: &ignore::Ground, rules: &[Rule]) -> Result<(), Refused> {
    if !matches!(ground.scope.as_str(), "all" | "automatic") {
        let scope = cut(&ground.scope, 40);
        return refuse(
            "scope-unknown",
            format!("the scope `{scope}` is neither all nor automatic"),
        );
    }
    if let Some(id) = ground.rule
        && !rules.iter().any(|r| r.id.cast_unsigned() == id)
    {
        return refuse(
            "rule-unknown",
            format!("the answer names rule {id}, which was not in the question"),
        );
    }
    reason(&ground.reason)
}

/// What the answer to one `advance` question changes.
#[derive(Debug, Default, PartialEq)]
pub struct AdvancePlan {
    /// Versions to move.
    pub moves: Vec<Move>,
    /// Runs wanted, or no longer.
    pub wanted: Vec<Wish>,
}

/// Checks the answer to an `advance` question and finds what it changes.
pub fn advance(
    distro: &str,
    stages: &[Stage],
    kernels: &[Kernel],
    decision: usize,
    answer: &advance::Answer,
) -> Result<AdvancePlan, Refused> {
    basis(&answer.basis, &[])?;
    let mut steps: HashMap<usize, &advance::Step> = HashMap::new();
    for step in &answer.steps {
        let index = step.index as usize;
        if index >= kernels.len() {
            return refuse(
                "index-unknown",
                format!(
                    "the answer moves version {index} of a question with {}",
                    kernels.len()
                ),
            );
        }
        if steps.insert(index, step).is_some() {
            return refuse(
                "index-twice",
                format!("the answer has two steps for `{}`", kernels[index].version),
            );
        }
    }
    let mut plan = AdvancePlan::default();
    for (index, kernel) in kernels.iter().enumerate() {
        let Some(step) = steps.get(&index) else {
            // Not named: its stage and its runs stay as they are.
            continue;
        };
        basis(&step.basis, &[])?;
        if let Some(name) = &step.stage {
            let Some(stage) = stages.iter().find(|s| s.name == *name) else {
                return refuse(
                    "stage-unknown",
                    format!("there is no stage `{}`", cut(name, 40)),
                );
            };
            if stage.id != kernel.state {
                let rank = stages.iter().find(|s| s.id == kernel.state).map(|s| s.rank);
                if rank.is_some_and(|rank| stage.rank < rank) {
                    return refuse(
                        "stage-below",
                        format!(
                            "`{distro}/{}` is {} already: only a person moves it down to {}",
                            kernel.version, kernel.stage, stage.name
                        ),
                    );
                }
                if stage.moved_by != "policy" {
                    return refuse(
                        "stage-by-person",
                        format!(
                            "only a person moves `{distro}/{}` to {}",
                            kernel.version, stage.name
                        ),
                    );
                }
                plan.moves.push(Move {
                    id: kernel.id,
                    name: format!("{distro}/{}", kernel.version),
                    from: kernel.state,
                    to: stage.id,
                    stage: stage.name.clone(),
                    reason_text: cut(&step.basis.reason.text, MAX_REASON_TEXT),
                });
            }
        }
        let run = match &step.purpose {
            None => None,
            Some(purpose) => {
                let sound = !purpose.is_empty()
                    && !purpose.starts_with('-')
                    && purpose.len() <= 32
                    && purpose
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if !sound {
                    return refuse(
                        "purpose-malformed",
                        format!("`{}` is no purpose of a run", cut(purpose, 40)),
                    );
                }
                Some(WantedRun {
                    purpose: purpose.clone(),
                    priority: step.priority,
                })
            }
        };
        let same = match (&run, &kernel.wanted) {
            (None, None) => true,
            (Some(run), Some((purpose, priority))) => {
                run.purpose == *purpose && run.priority == *priority
            }
            _ => false,
        };
        if !same {
            plan.wanted.push(Wish {
                id: kernel.id,
                run,
                reason_code: step.basis.reason.code.clone(),
                reason_text: cut(&step.basis.reason.text, MAX_REASON_TEXT),
                decision,
            });
        }
    }
    Ok(plan)
}

/// When to ask again, clamped: a policy can neither spin the host nor sleep for ever.
pub fn wake_at(basis: &types::Basis, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let asked = i64::try_from(basis.wake_at?).unwrap_or(i64::MAX);
    let ahead = asked
        .saturating_sub(now.timestamp_millis())
        .clamp(MIN_WAKE_MS, MAX_WAKE_MS);
    Some(now + chrono::Duration::milliseconds(ahead))
}

/// When to ask again by the earliest of these.
pub fn earliest<'a>(
    bases: impl IntoIterator<Item = &'a types::Basis>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    bases
        .into_iter()
        .filter_map(|basis| wake_at(basis, now))
        .min()
}

/// The key by which `ignore` says that its answers depend on all rules, not only on those that match.
pub const RULES_SCOPE: &str = "rules.scope";

/// What every answer's basis must keep to, whichever hook it is of; `known` are the attrs that this one has.
pub(crate) fn basis(basis: &types::Basis, known: &[&str]) -> Result<(), Refused> {
    reason(&basis.reason)?;
    if let Some((key, _)) = basis
        .attrs
        .iter()
        .find(|(key, _)| !known.contains(&key.as_str()) && !key.starts_with("x-"))
    {
        return refuse(
            "unknown-attr",
            format!(
                "the answer has an attribute `{}` that this host does not know",
                cut(key, 40)
            ),
        );
    }
    memory::check_tags(&basis.tags)
}

/// What every reason of an answer must keep to.
pub(crate) fn reason(reason: &types::Reason) -> Result<(), Refused> {
    let sound = !reason.code.is_empty()
        && reason.code.len() <= MAX_REASON_CODE
        && reason
            .code
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !sound {
        return refuse(
            "reason-code",
            format!("`{}` is no reason code", cut(&reason.code, 40)),
        );
    }
    if reason.text.contains('\0') {
        return refuse("reason-text", "a reason's text holds a NUL");
    }
    Ok(())
}

/// At most `max` characters of a guest's text, without control characters.
pub(crate) fn cut(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}
