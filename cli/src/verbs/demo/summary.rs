//! What came of it: each pull request, the proof, and what is not as it must be.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::keeper::Killed;
use super::kills::FAILPOINTS;
use super::proof::Findings;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{count, short};

/// See the module.
pub(super) struct Summary {
    pub(super) found: Findings,
    pub(super) kills: Vec<Killed>,
    pub(super) took: Duration,
}

impl Summary {
    pub(super) fn exit(&self) -> Exit {
        if self.found.problems.is_empty() {
            Exit::Ok
        } else {
            Exit::Unproven
        }
    }

    /// How often the server was killed at each failpoint.
    fn at_failpoints(&self) -> BTreeMap<&'static str, usize> {
        let times = |name| {
            self.kills
                .iter()
                .filter(|kill| kill.at == Some(name))
                .count()
        };
        FAILPOINTS
            .iter()
            .map(|name| (*name, times(*name)))
            .collect()
    }

    fn while_starting(&self) -> usize {
        self.kills.iter().filter(|kill| kill.starting).count()
    }

    /// Prints it. `kept` is the directory, where it stays.
    pub(super) fn print(&self, context: &Context, kept: Option<&Path>) -> Result<(), Error> {
        if context.out.is_json() {
            return context.out.record(&self.json(kept));
        }
        self.tables(context)?;
        let problems = &self.found.problems;
        for problem in problems {
            context.out.line(format!("NOT AS IT MUST BE: {problem}"))?;
        }
        if problems.is_empty() {
            context.out.line(
                "Proven: all as expected, each landed once, none at once twice, and nothing untested.",
            )?;
        }
        if let Some(dir) = kept {
            context.out.line(format!("Kept: {}", dir.display()))?;
        }
        Ok(())
    }

    fn tables(&self, context: &Context) -> Result<(), Error> {
        let mut pulls = Table::new(&["", "WHAT", "KIND", "EXPECTED", "BECAME"]);
        for pull in &self.found.pulls {
            pulls.add(vec![
                format!("#{}", pull.number),
                pull.title.clone(),
                pull.kind.to_owned(),
                pull.expected.to_owned(),
                pull.became.clone(),
            ]);
        }
        context.out.line("")?;
        context.out.table(&pulls)?;
        let mut tips = Table::new(&["TIP", "HOW", "LANE#", "PULLS", "TREE", "TESTED"]);
        for tip in &self.found.tips {
            let tested = match (tip.tested, tip.how.as_str()) {
                (true, _) => count(tip.passes as u64, "passing run"),
                (false, "watched") => "no: pushed by hand at the beginning".to_owned(),
                (false, _) => "NO".to_owned(),
            };
            tips.add(vec![
                short(&tip.commit).to_owned(),
                tip.how.clone(),
                tip.lane.map(|lane| lane.to_string()).unwrap_or_default(),
                tip.pulls.clone(),
                short(&tip.tree).to_owned(),
                tested,
            ]);
        }
        context.out.line("")?;
        context.out.table(&tips)?;
        let lanes: Vec<String> = self
            .found
            .lanes
            .iter()
            .map(|(state, times)| format!("{times} {state}"))
            .collect();
        let failpoints: Vec<String> = self
            .at_failpoints()
            .iter()
            .filter(|(_, times)| **times > 0)
            .map(|(name, times)| format!("{times} at `{name}`"))
            .collect();
        let kills = match self.kills.len() {
            0 => String::new(),
            all => format!(
                "{all}: {}, {} while it started, the others at random",
                failpoints.join(", "),
                self.while_starting()
            ),
        };
        context.out.line("")?;
        context.out.table(&Table::facts(vec![
            ("lanes", lanes.join(", ")),
            (
                "jobs",
                format!(
                    "{} ran, {} attempts on record",
                    self.found.runs, self.found.attempts
                ),
            ),
            ("kills", kills),
            ("took", format!("{:.1} s", self.took.as_secs_f64())),
        ]))
    }

    fn json(&self, kept: Option<&Path>) -> serde_json::Value {
        let found = &self.found;
        json!({
            "what": "summary",
            "ok": found.problems.is_empty(),
            "pulls": found.pulls,
            "tips": found.tips,
            "runs": found.runs,
            "attempts": found.attempts,
            "lanes": found.lanes,
            "kills": {
                "all": self.kills.len(),
                "starting": self.while_starting(),
                "failpoints": self.at_failpoints(),
            },
            "problems": found.problems,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "kept": kept,
        })
    }
}
