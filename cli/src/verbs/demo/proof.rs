//! The proof: what the record says, against git, against what the jobs wrote down, and against what had to
//! become of each pull request.

use std::collections::{BTreeMap, BTreeSet};

use pointsman_api::lane::{Job, Lane, Tip};
use serde::Serialize;

use super::acts::{Play, Player};
use super::cast::{self, Fate};
use super::narrator::members;
use super::runs::Runs;
use super::site::PIPELINE;
use crate::error::Error;
use crate::output::text::short;

/// A pull request, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct PullLine {
    pub(super) number: i32,
    pub(super) title: String,
    pub(super) kind: &'static str,
    pub(super) expected: &'static str,
    pub(super) became: String,
    pub(super) ok: bool,
}

/// A commit that the target pointed at, and what vouches for it.
#[derive(Debug, Serialize)]
pub(super) struct TipLine {
    pub(super) commit: String,
    /// As git says.
    pub(super) tree: String,
    pub(super) how: String,
    pub(super) lane: Option<i64>,
    pub(super) pulls: String,
    /// The record has a lane that passed with this tree.
    pub(super) tested: bool,
    /// Runs of jobs that passed on exactly this tree, by their own word.
    pub(super) passes: usize,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    pub(super) pulls: Vec<PullLine>,
    pub(super) tips: Vec<TipLine>,
    /// How many lanes there were, by their last state.
    pub(super) lanes: BTreeMap<String, u32>,
    /// Runs of jobs.
    pub(super) runs: usize,
    /// Attempts that the record knows.
    pub(super) attempts: usize,
    /// What is not as it must be.
    pub(super) problems: Vec<String>,
}

/// Looks at everything.
pub(super) fn find(play: &Play) -> Result<Findings, Error> {
    let mut found = Findings::default();
    let runs = Runs::read(&play.runs)?;
    let mut lanes = vec![];
    for lane in play.site.lanes()? {
        *found.lanes.entry(lane.state.clone()).or_default() += 1;
        lanes.push(play.site.lane(lane.id)?);
    }
    lanes.reverse();
    for player in &play.players {
        let line = pull(play, player, &lanes)?;
        if !line.ok {
            let text = format!(
                "#{} ({}): expected was that it {}; it is {}",
                line.number, line.kind, line.expected, line.became
            );
            found.problems.push(text);
        }
        found.pulls.push(line);
    }
    let tips = play.site.tips()?;
    git(play, &tips, &mut found.problems)?;
    let mut before: Option<&Tip> = None;
    for tip in &tips {
        let line = vouched(play, tip, before, &lanes, &runs, &mut found.problems)?;
        found.tips.push(line);
        before = Some(tip);
    }
    merged(play, &mut found.problems)?;
    found.runs = runs.all.len();
    found.problems.extend(runs.faults.iter().cloned());
    found.attempts = jobs(&lanes, &runs, &mut found.problems);
    Ok(found)
}

fn alone(lane: &Lane, number: i32) -> bool {
    matches!(lane.members.as_slice(), [one] if one.number == number)
}

/// What became of one.
fn pull(play: &Play, player: &Player, lanes: &[Lane]) -> Result<PullLine, Error> {
    let number = player.number;
    let pull = play.site.pull(number)?;
    let has = |lane: &&Lane| lane.members.iter().any(|m| m.number == number);
    let landed: Vec<&Lane> = lanes
        .iter()
        .filter(has)
        .filter(|lane| lane.state == "landed")
        .collect();
    let failed = lanes
        .iter()
        .rev()
        .find(|lane| alone(lane, number) && lane.state == "failed");
    let why = play.site.why(number)?;
    let unmet = why.conditions.iter().find(|condition| !condition.met);
    let stays = pull.state == "open" && landed.is_empty();
    let conflict = lanes
        .iter()
        .filter(has)
        .rev()
        .find(|lane| lane.state == "conflict");
    let became = match (landed.as_slice(), unmet) {
        ([one], _) => format!(
            "landed as {} in lane {}",
            short(one.commit.as_deref().unwrap_or_default()),
            one.id
        ),
        ([], Some(unmet)) => format!("{}: {}", pull.state, unmet.text),
        ([], None) => pull.state.clone(),
        (several, _) => format!("landed {} times", several.len()),
    };
    let ok = match player.role.fate {
        Fate::Lands => {
            let flaky = player.role.what == cast::FLAKY;
            let [one] = landed.as_slice() else {
                return Ok(line(player, became, false));
            };
            let head = one.members.iter().find(|m| m.number == number);
            pull.state == "landed"
                && head.is_some_and(|m| m.head == player.head)
                && (!flaky || failed.is_some())
        }
        Fate::Fails => stays && failed.is_some(),
        Fate::Conflicts => stays && conflict.is_some(),
        Fate::Waits(condition) => stays && unmet.is_some_and(|unmet| unmet.name == condition),
    };
    Ok(line(player, became, ok))
}

fn line(player: &Player, became: String, ok: bool) -> PullLine {
    PullLine {
        number: player.number,
        title: player.role.title.clone(),
        kind: player.role.what,
        expected: player.role.fate.text(),
        became,
        ok,
    }
}

/// Whether git says the same of the branch as the record: each commit that it was made to point at, in
/// that order, and no other.
fn git(play: &Play, tips: &[Tip], problems: &mut Vec<String>) -> Result<(), Error> {
    let known: Vec<&str> = tips.iter().map(|tip| tip.commit.as_str()).collect();
    let pointed = play.tree.pointed_at(PIPELINE)?;
    for commit in &pointed {
        if !known.contains(&commit.as_str()) {
            problems.push(format!(
                "{PIPELINE} pointed at {commit}, which is none of the tips on record"
            ));
        }
    }
    if problems.is_empty() && pointed != known {
        problems.push(format!(
            "git moved {PIPELINE} {} times and the record has {} tips, or in another order",
            pointed.len(),
            known.len()
        ));
    }
    let history = play.tree.first_parents(PIPELINE)?;
    let mut rest = known.iter().peekable();
    for (commit, _) in &history {
        rest.next_if(|tip| *tip == commit);
    }
    if let Some(missing) = rest.next() {
        problems.push(format!(
            "the tip {missing} is not in the history of {PIPELINE}"
        ));
    }
    if history.last().map(|(commit, _)| commit.as_str()) != known.last().copied() {
        problems.push(format!("{PIPELINE} is not where the last tip on record is"));
    }
    Ok(())
}

/// What vouches for one tip.
fn vouched(
    play: &Play,
    tip: &Tip,
    before: Option<&Tip>,
    lanes: &[Lane],
    runs: &Runs,
    problems: &mut Vec<String>,
) -> Result<TipLine, Error> {
    let tree = play.tree.tree_of(&tip.commit)?;
    let lane = lanes.iter().find(|lane| Some(lane.id) == tip.lane);
    let passes = runs.passes(&tree);
    let name = short(&tip.commit);
    if tree != tip.tree {
        problems.push(format!(
            "the tree of {name} is {tree}, and the record says {}",
            tip.tree
        ));
    }
    match (before, lane) {
        // What was there before the pipeline is vouched for by whoever pushed it.
        (None, None) if tip.how == "watched" && tip.commit == play.first => {}
        (Some(before), Some(lane)) if tip.how == "landed" => {
            let is_it = lane.state == "landed"
                && lane.commit.as_ref() == Some(&tip.commit)
                && lane.tree.as_ref() == Some(&tree)
                && lane.base.as_ref() == Some(&before.commit);
            if !is_it {
                problems.push(format!(
                    "{name} is not what lane {} tested on the tip before",
                    lane.id
                ));
            }
            if !tip.tested || !passed(lane, lanes) || passes == 0 {
                problems.push(format!(
                    "{name} landed, and no test passed on its tree {tree}"
                ));
            }
        }
        _ => problems.push(format!(
            "{name} became a tip ({}), and no lane landed it",
            tip.how
        )),
    }
    Ok(TipLine {
        commit: tip.commit.clone(),
        tree,
        how: tip.how.clone(),
        lane: tip.lane,
        pulls: lane.map(members).unwrap_or_default(),
        tested: tip.tested,
        passes,
    })
}

/// Whether each required job of a lane passed: here, or on the same tree in another lane.
fn passed(lane: &Lane, lanes: &[Lane]) -> bool {
    let exited_well = |job: &Job| job.attempts.iter().any(|a| a.exit_code == Some(0));
    let passed = |job: &Job| {
        let source = job
            .reused_from
            .and_then(|of| lanes.iter().find(|other| other.id == of));
        match (job.reused_from, source) {
            (None, _) => exited_well(job),
            (Some(_), Some(source)) => {
                let jobs = source.jobs.as_deref().unwrap_or_default();
                let same = jobs.iter().find(|other| other.name == job.name);
                source.tree == lane.tree && same.is_some_and(exited_well)
            }
            (Some(_), None) => false,
        }
    };
    let jobs = lane.jobs.as_deref().unwrap_or_default();
    !jobs.is_empty() && jobs.iter().all(passed)
}

/// Whether each head that should be in the branch is merged there, once, and no other.
fn merged(play: &Play, problems: &mut Vec<String>) -> Result<(), Error> {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for (_, others) in play.tree.first_parents(PIPELINE)? {
        for head in others {
            *times.entry(head).or_default() += 1;
        }
    }
    for player in &play.players {
        let number = player.number;
        let wanted = u32::from(player.role.fate == Fate::Lands);
        let found = times.remove(&player.head).unwrap_or(0);
        if found != wanted {
            problems.push(format!(
                "#{number} is merged {found} times in git, and should be {wanted} times"
            ));
        }
    }
    for head in times.keys() {
        problems.push(format!(
            "{head} is merged in git, and is the head of no pull request"
        ));
    }
    Ok(())
}

/// An attempt: its commit, its job, its number.
type Attempt = (String, String, String);
/// How an attempt ended, as the record says: the word, and the exit code.
type Ended = (Option<String>, Option<i32>);

/// Whether the record and the jobs say the same of each attempt; gives how many there are.
fn jobs(lanes: &[Lane], runs: &Runs, problems: &mut Vec<String>) -> usize {
    // Attempts that the record knows, with how it says that they ended.
    let mut known: BTreeMap<Attempt, Ended> = BTreeMap::new();
    for lane in lanes {
        let commit = lane.commit.clone().unwrap_or_default();
        for job in lane
            .jobs
            .iter()
            .flatten()
            .filter(|job| job.reused_from.is_none())
        {
            for attempt in &job.attempts {
                let key = (commit.clone(), job.name.clone(), attempt.number.to_string());
                known.insert(key, (attempt.ended.clone(), attempt.exit_code));
            }
        }
    }
    let count = known.len();
    let mut counted = BTreeSet::new();
    for run in &runs.all {
        let key = (run.commit.clone(), run.job.clone(), run.attempt.clone());
        // That one ran twice is among the jobs' own faults.
        if !counted.insert(key.clone()) {
            continue;
        }
        let what = format!(
            "attempt {} of job {} of {}",
            run.attempt,
            run.job,
            short(&run.commit)
        );
        match known.remove(&key) {
            None => problems.push(format!("{what} ran, and is not on record")),
            Some((ended, code)) => {
                let exited = ended.as_deref() == Some("exited");
                if exited && code != run.code {
                    problems.push(format!(
                        "{what} ended with {:?}, and the record says {code:?}",
                        run.code
                    ));
                }
                if matches!(ended.as_deref(), Some("lost" | "setup-failed") | None) {
                    let ended = ended.unwrap_or_else(|| "still running".to_owned());
                    problems.push(format!("{what} ran, and the record says {ended}"));
                }
            }
        }
    }
    for ((commit, job, attempt), (ended, _)) in known {
        if ended.as_deref() == Some("exited") {
            let text = format!(
                "attempt {attempt} of job {job} of {} has ended, says the record, and it never ran",
                short(&commit)
            );
            problems.push(text);
        }
    }
    count
}
