//! "Why is my pull request not merging?": its conditions in the order in which they have to be met.

mod kernel;

use pointsman_api::lane::Lane;
use pointsman_api::pull::{Condition, Explanation, Merging, Pull, Said, Standing};

use crate::db::Db;
use crate::db::decision;
use crate::db::lane::Filter;
use crate::error::Result;
use crate::plan::merge::UNWANTED;

pub use kernel::kernel;

/// Lanes that are looked through for the newest that could land.
const LANES: u32 = 50;
/// Who can do something where a policy could not answer.
const MEND: &str = "an operator mends the policy";

/// The conditions of one pull request.
pub async fn pull(db: &Db, repository: &str, number: i32) -> Result<Explanation> {
    let pull = db.pull(repository, number).await?;
    let pipeline = db.pipeline_of(&pull.repository, &pull.target).await?;
    let mut known = None;
    if let Some(name) = &pipeline {
        let (id, merging) = db.merging(name).await?;
        let filter = Filter {
            pipeline: Some(id),
            number: Some(number),
            ..Filter::default()
        };
        // A lane of another head says nothing of this one, and one that never lands nothing of landing.
        let says = |l: &Lane| {
            l.landing != "never"
                && l.members
                    .iter()
                    .any(|m| m.number == number && m.head == pull.head)
        };
        let newest = db.lane_page(&filter, None, LANES).await?.items;
        let lane = newest.into_iter().find(says);
        let says = said_of(db, name, number).await?;
        known = Some((merging, db.pipeline(name).await?, lane, says));
    }
    let conditions = match &known {
        Some((merging, pipeline, lane, says)) => {
            conditions(&pull, merging, pipeline, (lane.as_ref(), says.as_ref()))
        }
        None => {
            let text = format!("no pipeline lands on {}/{}", pull.repository, pull.target);
            let remedy = "an admin makes one: `pointsman pipeline create`";
            vec![unmet("pipeline", text, remedy, vec![])]
        }
    };
    Ok(Explanation {
        pull,
        pipeline,
        conditions,
    })
}

/// Why `select` last said that this pull request is in no lane, with the decision.
async fn said_of(db: &Db, pipeline: &str, number: i32) -> Result<Option<(String, i64)>> {
    let newest = decision::Filter {
        pipeline: Some(pipeline.to_owned()),
        hook: Some("select".to_owned()),
        outcome: Some("answered".to_owned()),
        ..decision::Filter::default()
    };
    let Some(newest) = db.decisions(&newest, None, 1).await?.items.pop() else {
        return Ok(None);
    };
    let answer = db.decision(newest.id).await?.output.unwrap_or_default();
    let waiting = answer["waiting"].as_array().map(Vec::as_slice);
    let of = |waiting: &&serde_json::Value| {
        let numbers = waiting["numbers"].as_array().map(Vec::as_slice);
        numbers.unwrap_or_default().iter().any(|n| *n == number)
    };
    let found = waiting.unwrap_or_default().iter().find(of);
    let text = found.and_then(|waiting| waiting["reason"]["text"].as_str());
    Ok(text.map(|text| (text.to_owned(), newest.id)))
}

fn met(name: &str, text: impl Into<String>, decisions: Vec<i64>) -> Condition {
    Condition {
        name: name.to_owned(),
        met: true,
        text: text.into(),
        remedy: None,
        decisions,
    }
}

fn unmet(name: &str, text: impl Into<String>, remedy: &str, decisions: Vec<i64>) -> Condition {
    Condition {
        name: name.to_owned(),
        met: false,
        text: text.into(),
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
        decisions,
    }
}

fn conditions(
    pull: &Pull,
    merging: &Merging,
    pipeline: &pointsman_api::pipeline::Pipeline,
    (lane, says): (Option<&Lane>, Option<&(String, i64)>),
) -> Vec<Condition> {
    let mut all = vec![];
    let number = pull.number;
    all.push(match pull.state.as_str() {
        "open" if pull.draft => unmet(
            "open",
            "it is a draft",
            "its author marks it as ready: `pointsman pr edit --ready`",
            vec![],
        ),
        "open" if pull.head_gone => {
            let text = format!("its branch `{}` is gone", pull.branch);
            unmet("open", text, "its author pushes the branch again", vec![])
        }
        "open" => met("open", "it is open", vec![]),
        "landed" => met("open", "it has landed", vec![]),
        state => unmet(
            "open",
            format!("it is {state}"),
            "somebody opens it again: `pointsman pr edit --open`",
            vec![],
        ),
    });
    if pull.state == "landed" {
        return all;
    }
    if let Some(paused) = &pipeline.paused {
        let text = format!("the pipeline is paused: {paused}");
        all.push(unmet(
            "pipeline",
            text,
            "an admin resumes it: `pointsman pipeline resume`",
            vec![],
        ));
    }
    if let Some(held) = &pipeline.held {
        let text = format!("the pipeline holds at `{}`: {}", held.hook, held.text);
        let decisions = held.decision.into_iter().collect();
        all.push(unmet(
            "pipeline",
            text,
            "an admin binds another version, or rolls back",
            decisions,
        ));
    }
    if let Some(since) = merging.folder_missing_since {
        let text = format!(
            "no host has had the folder of the repository `{}` since {}",
            merging.repository,
            since.format("%Y-%m-%d %H:%M:%S UTC")
        );
        let remedy = "an operator starts the host that has it, or gives a host that folder (`serve --forge`)";
        all.push(unmet("repository", text, remedy, vec![]));
    }
    let Some(standing) = &pull.standing else {
        let text = "the policies have not looked at this head yet";
        all.push(unmet(
            "approved",
            text,
            "nobody needs to do anything",
            vec![],
        ));
        return all;
    };
    if let Some(held) = &standing.held {
        all.push(unmet("policy", held.text.clone(), MEND, vec![]));
    }
    let decisions: Vec<i64> = standing.review.decision.into_iter().collect();
    all.push(match standing.approval.as_str() {
        "approved" => met("approved", standing.review.text.clone(), decisions),
        _ => {
            let remedy = match standing.wanted.as_slice() {
                [] => remedy_of(standing, &standing.review)
                    .unwrap_or("a reviewer approves it")
                    .to_owned(),
                wanted => format!("a review by {}", wanted.join(", ")),
            };
            unmet("approved", standing.review.text.clone(), &remedy, decisions)
        }
    });
    let decisions: Vec<i64> = standing.gate.decision.into_iter().collect();
    all.push(match standing.need.as_deref() {
        Some("run" | "pass") => met("gate", standing.gate.text.clone(), decisions),
        need => {
            let unknown = match need {
                Some("fail") => "its author mends that and pushes",
                _ => "what the reason names",
            };
            let remedy = remedy_of(standing, &standing.gate).unwrap_or(unknown);
            unmet("gate", standing.gate.text.clone(), remedy, decisions)
        }
    });
    lanes(&mut all, number, merging, (lane, says));
    all
}

/// Who can bring about another answer of `review` or `gate` than this one, where that can be told by its code.
fn remedy_of(standing: &Standing, said: &Said) -> Option<&'static str> {
    // The code of a policy that could not answer is the engine's.
    let is_held = |held: &Said| held.code == said.code;
    match standing.held.as_ref().is_some_and(is_held) {
        true => Some(MEND),
        false => remedy(&said.code),
    }
}

/// What changes an answer with this code of the host or of a stock policy. None: the code is another policy's, or
/// its answer names those whose review is missing.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "review.none" => "an admin binds a policy to `review`: `pointsman pipeline bind`",
        "review.missing" => "a reviewer approves it: `pointsman pr review`",
        "review.taken-back" => "a reviewer approves it anew: `pointsman pr review`",
        "review.no-permission" => {
            "a reviewer whose word counts, and who is not its author, approves it: `pointsman pr review`"
        }
        "review.changes-requested" => {
            "its author makes the changes and asks for another review, or that review is dismissed"
        }
        "label.blocking" => "somebody takes the label off: `pointsman pr label --off`",
        "gate.draft" => "its author marks it as ready: `pointsman pr edit --ready`",
        "gate.closed" => "somebody opens it again: `pointsman pr edit --open`",
        "gate.conflict" => "its author merges the target branch, or rebases onto it, and pushes",
        // Whoever holds a token of a writer may authorise: the host asks for no more.
        "gate.unauthorised" => {
            "a writer looks at this head and authorises it: `pointsman pr authorise`"
        }
        // Who may give commands is a setting of `gate-basics`, a writer unless told otherwise.
        "gate.held" => {
            "whoever the gate takes commands from (a writer, unless it is set otherwise) comments `unhold`: \
             `pointsman pr comment`"
        }
        "gate.cancelled" => {
            "whoever the gate takes commands from (a writer, unless it is set otherwise) comments `retry`: \
             `pointsman pr comment`; or its author pushes"
        }
        "pin.missing" | "pin.malformed" => {
            "its author commits the file with the pin as it has to be, and pushes"
        }
        _ => return None,
    })
}

fn lanes(
    all: &mut Vec<Condition>,
    number: i32,
    merging: &Merging,
    (lane, says): (Option<&Lane>, Option<&(String, i64)>),
) {
    // One that `select` gave up tells nothing, whether it had passed or not: what it says of the pull request now does.
    let tells = |lane: &&Lane| {
        let is_given_up = lane.reason_code == UNWANTED || lane.state == "passed";
        lane.ended_at.is_none() || (lane.base == merging.tip && !is_given_up)
    };
    let Some(lane) = lane.filter(tells) else {
        let mut text = format!(
            "#{number} is in no lane on the present tip of {}",
            merging.target
        );
        if let Some((says, _)) = says {
            text.push_str(&format!("; `select` says: {says}"));
        }
        all.push(unmet(
            "lane",
            text,
            "`select` picks it when its turn comes",
            says.map(|(_, decision)| *decision).into_iter().collect(),
        ));
        frozen(all, merging);
        return;
    };
    let decisions: Vec<i64> = lane.decision.into_iter().collect();
    let name = format!("lane {}", lane.id);
    all.push(met(
        "lane",
        format!("it is in {name}: {}", lane.state),
        vec![],
    ));
    let passed = matches!(lane.state.as_str(), "passed" | "landing" | "landed");
    all.push(match lane.state.as_str() {
        _ if passed => met("passed", lane.reason.clone(), decisions.clone()),
        "failed" | "inconclusive" => {
            let text = format!("{name} {}: {}", lane.state, lane.reason);
            let remedy =
                "its author pushes a mend, or somebody asks for another run: `pointsman pr retest`";
            unmet("passed", text, remedy, decisions.clone())
        }
        "conflict" => {
            let remedy = "its author merges the target branch and pushes";
            unmet("passed", lane.reason.clone(), remedy, decisions.clone())
        }
        "cancelled" => unmet(
            "passed",
            lane.reason.clone(),
            "`select` picks it again",
            decisions.clone(),
        ),
        state => {
            let text = match &lane.held {
                Some(held) => held.text.clone(),
                None => format!("{name} is {state}"),
            };
            let remedy = match lane.held {
                Some(_) => "what the reason names",
                None => "nobody needs to do anything: its jobs end by themselves",
            };
            unmet("passed", text, remedy, decisions.clone())
        }
    });
    frozen(all, merging);
    if passed && lane.state == "passed" {
        let text = match &lane.held {
            Some(held) => held.text.clone(),
            None => format!(
                "{name} passed and does not land: its landing is `{}`",
                lane.landing
            ),
        };
        all.push(unmet(
            "landing",
            text,
            "`select` says when it lands",
            decisions,
        ));
    }
}

fn frozen(all: &mut Vec<Condition>, merging: &Merging) {
    if let Some(frozen) = &merging.frozen {
        let by = merging.frozen_by.as_deref().unwrap_or("somebody");
        let text = format!("the tree is closed by {by}: {frozen}");
        all.push(unmet(
            "tree-open",
            text,
            "an admin opens it: `pointsman pipeline thaw`",
            vec![],
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str) -> Said {
        Said {
            code: code.to_owned(),
            text: String::new(),
            decision: None,
        }
    }

    #[test]
    fn a_code_says_who_can_do_what() {
        for (code, names) in [
            ("review.none", "binds a policy to `review`"),
            ("review.missing", "a reviewer approves it"),
            ("label.blocking", "takes the label off"),
            ("gate.unauthorised", "`pointsman pr authorise`"),
            ("gate.held", "comments `unhold`"),
            ("gate.cancelled", "comments `retry`"),
        ] {
            let found = remedy(code);
            assert!(
                found.is_some_and(|r| r.contains(names)),
                "{code}: {found:?}"
            );
        }
        // What is known of no policy is no promise of ours.
        assert_eq!(remedy("mine.friday"), None);
        assert_eq!(remedy(""), None);
    }

    #[test]
    fn a_policy_that_could_not_answer_is_mended_first() {
        let standing = Standing {
            approval: "pending".to_owned(),
            review: said("review.none"),
            wanted: vec![],
            need: None,
            gate: said("trapped"),
            held: Some(said("trapped")),
            verdict: None,
            verdict_base: None,
        };
        assert_eq!(remedy_of(&standing, &standing.gate), Some(MEND));
        let review = remedy_of(&standing, &standing.review);
        assert_eq!(review, remedy("review.none"));
    }
}
