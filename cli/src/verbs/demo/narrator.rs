//! Tells what becomes of the lanes, as the record says it.

use std::collections::HashMap;

use pointsman_api::lane::{Job, Lane};
use serde_json::{Value, json};

use super::site::Site;
use crate::error::Error;
use crate::output::text::short;

/// Lanes that are looked at: those that can have changed since the last look.
const LANES: u32 = 40;

/// Remembers what was told.
#[derive(Default)]
pub(super) struct Narrator {
    told: HashMap<i64, Told>,
}

#[derive(Default, Clone, Copy)]
struct Told {
    tested: bool,
    passed: bool,
    ended: bool,
}

impl Narrator {
    /// Tells what is new; gives the lanes that were looked at, the newest first.
    pub(super) fn look(&mut self, site: &Site) -> Result<Vec<Lane>, Error> {
        let lanes = site.last_lanes(LANES)?;
        for lane in lanes.iter().rev() {
            let mut told = self.told.get(&lane.id).copied().unwrap_or_default();
            if told.ended {
                continue;
            }
            tell(site, lane, &mut told)?;
            self.told.insert(lane.id, told);
        }
        Ok(lanes)
    }
}

/// Tells what is new of one lane.
fn tell(site: &Site, lane: &Lane, told: &mut Told) -> Result<(), Error> {
    let who = members(lane);
    let id = lane.id;
    if !told.tested && lane.commit.is_some() {
        told.tested = true;
        let on = short(lane.base.as_deref().unwrap_or_default());
        let reason = match lane.ended_at {
            None => format!(": {}", lane.reason),
            Some(_) => String::new(),
        };
        let text = format!("lane {id} tests {who} on {on}{reason}");
        site.story.tell("tests", &text, facts(lane));
    }
    if !told.passed && matches!(lane.state.as_str(), "passed" | "landing" | "landed") {
        told.passed = true;
        let jobs = site.lane(id)?.jobs.unwrap_or_default();
        let reused = jobs.iter().filter_map(|job| job.reused_from).max();
        let how = match reused {
            Some(of) => format!(", as its tree passed in lane {of}"),
            None => String::new(),
        };
        site.story.tell(
            "passed",
            &format!("lane {id} passes {who}{how}"),
            facts(lane),
        );
    }
    let text = match lane.state.as_str() {
        "landed" => {
            let commit = lane.commit.clone().unwrap_or_default();
            format!("{who} landed as {commit} (lane {id})")
        }
        "failed" | "inconclusive" => {
            let jobs = site.lane(id)?.jobs.unwrap_or_default();
            format!("lane {id} {} {who}: {}", lane.state, why(&jobs))
        }
        "conflict" => format!("lane {id} cannot be built: {}", lane.reason),
        "cancelled" => format!("lane {id} ({who}) is cancelled: {}", lane.reason),
        _ => return Ok(()),
    };
    told.ended = true;
    site.story.tell(&lane.state, &text, facts(lane));
    Ok(())
}

/// `#1 #2`.
pub(super) fn members(lane: &Lane) -> String {
    let names: Vec<String> = lane
        .members
        .iter()
        .map(|m| format!("#{}", m.number))
        .collect();
    names.join(" ")
}

/// Which jobs did not pass, and how they ended.
fn why(jobs: &[Job]) -> String {
    let ended = |job: &Job| {
        let attempt = job.attempts.last()?;
        let how = match (attempt.ended.as_deref(), attempt.exit_code) {
            (Some("exited"), Some(0)) => return None,
            (Some("exited"), Some(code)) => format!("failed with exit code {code}"),
            (Some(ended), _) => format!("ended as {ended}"),
            (None, _) => return None,
        };
        Some(format!("job {} {how}", job.name))
    };
    let texts: Vec<String> = jobs.iter().filter_map(ended).collect();
    texts.join(", ")
}

fn facts(lane: &Lane) -> Value {
    let pulls: Vec<i32> = lane.members.iter().map(|m| m.number).collect();
    json!({
        "lane": lane.id,
        "pulls": pulls,
        "base": lane.base,
        "commit": lane.commit,
        "tree": lane.tree,
        "reason": lane.reason,
        "reason_code": lane.reason_code,
    })
}
