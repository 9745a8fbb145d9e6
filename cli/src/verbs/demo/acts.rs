//! The play: what people do, in which order, and what they wait for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pointsman_api::lane::Lane;
use serde_json::{Value, json};

use super::cast::{self, Fate, Review, Role};
use super::narrator::Narrator;
use super::place::Place;
use super::runs::{self, Runs};
use super::site::{PIPELINE, Site};
use super::worktree::Worktree;
use crate::error::Error;
use crate::output::text::short;

/// How long it may go on without anything happening at all. A lease that nobody renews lapses in less.
const PATIENCE: Duration = Duration::from_secs(150);
/// The policies that are bound at first: hook, plugin.
const POLICIES: [(&str, &str); 6] = [
    ("review", "reviews"),
    ("gate", "gate-basics"),
    ("select", "select-oldest"),
    ("run", "job-template"),
    ("triage", "exit-code"),
    ("react", "status-comment"),
];
/// The policy that takes the place of the first one half-way.
const SWAPPED: &str = "select-batch";
/// What each job runs.
const JOB: &str = include_str!("job.sh");

/// The plugins that a demonstration needs.
pub(super) fn plugins() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|(_, plugin)| *plugin).chain([SWAPPED])
}

/// A pull request that was opened.
pub(super) struct Player {
    pub(super) role: Role,
    pub(super) number: i32,
    /// What it has to land as.
    pub(super) head: String,
}

/// See the module.
pub(super) struct Play {
    pub(super) site: Arc<Site>,
    pub(super) tree: Worktree,
    pub(super) runs: PathBuf,
    pub(super) narrator: Narrator,
    pub(super) players: Vec<Player>,
    /// The first commit.
    pub(super) first: String,
    /// The upload of the policy that is swapped in.
    batch: Option<JoinHandle<Result<String, Error>>>,
}

impl Play {
    /// Sets the stage: the policies, the repository, its first commit, the pipeline.
    pub(super) fn set(site: Arc<Site>, place: &Place, plugins: &Path) -> Result<Play, Error> {
        let story = site.story.clone();
        story.doing("starting the database and the server");
        site.pipelines()?;
        story.tell("started", "the server runs", json!({}));
        let mut digests = vec![];
        for (hook, plugin) in POLICIES {
            story.doing(format!("compiling the policy {plugin}"));
            digests.push(site.upload(plugins, plugin)?);
            let text = format!("{plugin} is uploaded and compiled, for `{hook}`");
            story.tell("uploaded", &text, json!({"policy": plugin, "hook": hook}));
        }
        // It is not needed before the swap.
        let batch = {
            let (site, plugins) = (Arc::clone(&site), plugins.to_owned());
            thread::spawn(move || site.upload(&plugins, SWAPPED))
        };
        story.doing("making the repository");
        let repository = site.make()?;
        let tree = Worktree::begin(place.work(), PathBuf::from(&repository.place))?;
        let first = tree.push(PIPELINE, None, "First", &cast::first_commit())?;
        site.make_pipeline()?;
        let script = JOB.replace("@RUNS@", &cast::quoted(&place.runs()));
        for ((hook, plugin), digest) in POLICIES.iter().zip(&digests) {
            let settings = match *hook {
                "run" => json!({"test": script}),
                _ => json!({}),
            };
            site.bind(
                hook,
                digest,
                settings,
                &format!("{plugin} for the demonstration"),
            )?;
        }
        let text = format!(
            "repository {} begins at {}, and the pipeline {PIPELINE} watches it",
            repository.name,
            short(&first)
        );
        story.tell(
            "made",
            &text,
            json!({"commit": first, "place": repository.place}),
        );
        Ok(Play {
            site,
            tree,
            runs: place.runs(),
            narrator: Narrator::default(),
            players: vec![],
            first,
            batch: Some(batch),
        })
    }

    /// All of it. With kills, it goes on until the last of them.
    pub(super) fn run(&mut self, kills: usize) -> Result<(), Error> {
        self.site.keeper.begin_kills();
        self.first_act()?;
        let hanging = self.swap()?;
        self.second_act(hanging)?;
        let mut extra = 0;
        while self.site.keeper.kills().len() < kills {
            extra += 1;
            self.encore(extra)?;
        }
        self.settle()
    }

    fn first_act(&mut self) -> Result<(), Error> {
        let opened = self.enter(cast::first_act(&self.runs))?;
        for place in opened {
            self.review(place)?;
        }
        let flaky = self.find(cast::FLAKY)?;
        let text = format!("until #{flaky} has failed");
        self.until(&text, |_, lanes| Ok(tested_alone(lanes, flaky, "failed")))?;
        let network = self.runs.join(cast::NETWORK);
        fs::write(&network, "").map_err(|error| {
            Error::failed(format!("cannot write {}: {error}", network.display()))
        })?;
        self.site.comment(flaky, "@pointsman retry")?;
        let text = format!("the network is back; bo writes `@pointsman retry` to #{flaky}");
        self.tell("retried", &text, json!({"pull": flaky}));
        self.until_landed()
    }

    /// While a job runs, another policy takes over. Gives the place of the pull request that it tests.
    fn swap(&mut self) -> Result<(usize, Vec<(String, String)>), Error> {
        let (role, mends) = cast::hanging("hang", &self.runs);
        let place = self.enter(vec![role])?.start;
        self.review(place)?;
        let lane = self.until_its_job_runs(place)?;
        self.site
            .story
            .doing(format!("compiling the policy {SWAPPED}"));
        let batch = self.batch.take().map(JoinHandle::join);
        let Some(Ok(batch)) = batch else {
            return Err(Error::failed("the upload of the next policy broke"));
        };
        self.site
            .bind("select", &batch?, json!({"max": 8}), "Batches from now on")?;
        let text = format!(
            "`select` is now {SWAPPED}, while a job of lane {} runs",
            lane.id
        );
        self.tell(
            "swapped",
            &text,
            json!({"hook": "select", "policy": SWAPPED, "lane": lane.id}),
        );
        Ok((place, mends))
    }

    fn second_act(&mut self, (place, mends): (usize, Vec<(String, String)>)) -> Result<(), Error> {
        let opened = self.enter(cast::second_act())?;
        self.mend(place, &mends)?;
        for place in opened {
            self.review(place)?;
        }
        self.until_landed()
    }

    /// One more, that needs everything a server can be killed at.
    fn encore(&mut self, count: u32) -> Result<(), Error> {
        let (role, mends) = cast::hanging(&format!("encore-{count}"), &self.runs);
        let place = self.enter(vec![role])?.start;
        self.review(place)?;
        self.until_its_job_runs(place)?;
        self.mend(place, &mends)?;
        self.until_landed()
    }

    /// Pushes branches and opens pull requests; gives their places.
    fn enter(&mut self, roles: Vec<Role>) -> Result<std::ops::Range<usize>, Error> {
        let before = self.players.len();
        for role in roles {
            self.site.story.doing(format!("pushing {}", role.branch));
            let head = self
                .tree
                .push(&role.branch, Some(&self.first), &role.title, &role.files)?;
            let number = self.site.open(&role.branch, &role.title, role.draft)?;
            let text = format!(
                "#{number} {} is pushed and opened ({})",
                role.title, role.what
            );
            let facts =
                json!({"pull": number, "title": role.title, "head": head, "kind": role.what});
            self.tell("pushed", &text, facts);
            self.players.push(Player { role, number, head });
            self.look()?;
        }
        Ok(before..self.players.len())
    }

    /// What reviewers say of it.
    fn review(&mut self, place: usize) -> Result<(), Error> {
        let Player { role, number, head } = &self.players[place];
        let (state, word, text) = match role.review {
            Review::Approved => ("approved", "approved", "bo approves"),
            Review::ChangesRequested => ("changes-requested", "rejected", "bo requests changes of"),
            Review::None => return Ok(()),
        };
        self.site.review(*number, state, head)?;
        let text = format!("{text} #{number}");
        let facts = json!({"pull": number, "head": head});
        self.tell(word, &text, facts);
        self.look()
    }

    /// Its author pushes again, and it is approved again: an approval is one of a head.
    fn mend(&mut self, place: usize, files: &[(String, String)]) -> Result<(), Error> {
        let player = &mut self.players[place];
        player.head = self
            .tree
            .push(&player.role.branch, Some(&player.head), "Mend it", files)?;
        let number = player.number;
        let text = format!("#{number} is pushed again while its job runs");
        let facts = json!({"pull": number, "head": player.head});
        self.tell("pushed", &text, facts);
        self.review(place)
    }

    fn find(&self, what: &str) -> Result<i32, Error> {
        let found = self.players.iter().find(|player| player.role.what == what);
        found
            .map(|player| player.number)
            .ok_or_else(|| Error::failed(format!("nobody is there that {what}")))
    }

    fn until_its_job_runs(&mut self, place: usize) -> Result<Lane, Error> {
        let number = self.players[place].number;
        let head = self.players[place].head.clone();
        self.until(&format!("until a job of #{number} runs"), |play, lanes| {
            let its = |lane: &&Lane| {
                lane.state == "running" && lane.members.iter().any(|m| m.head == head)
            };
            let Some(lane) = lanes.iter().find(its) else {
                return Ok(None);
            };
            let runs = Runs::read(&play.runs)?;
            let began = lane
                .commit
                .as_deref()
                .is_some_and(|commit| runs.has(commit));
            Ok(began.then(|| lane.clone()))
        })
    }

    fn until_landed(&mut self) -> Result<(), Error> {
        let lands = |player: &&Player| player.role.fate == Fate::Lands;
        let numbers: Vec<i32> = self
            .players
            .iter()
            .filter(lands)
            .map(|p| p.number)
            .collect();
        // Landed ones stay landed, so each is asked about until it is.
        let mut left = numbers;
        self.until("until all landed that should", |play, _| {
            while let Some(number) = left.last() {
                if play.site.pull(*number)?.state != "landed" {
                    return Ok(None);
                }
                left.pop();
            }
            Ok(Some(()))
        })
    }

    /// Waits until nothing is left to do: also those that cannot land were tested on the last tip.
    fn settle(&mut self) -> Result<(), Error> {
        self.until("until nothing is left to do", |play, lanes| {
            let works = |lane: &Lane| {
                let at_work = ["waiting", "building", "built", "running", "landing"];
                lane.ended_at.is_none() && at_work.contains(&lane.state.as_str())
            };
            if lanes.iter().any(works) || !play.site.pipeline()?.idle {
                return Ok(None);
            }
            Ok(runs::running(&play.runs)?.is_empty().then_some(()))
        })
    }

    fn look(&mut self) -> Result<(), Error> {
        self.narrator.look(&self.site).map(drop)
    }

    fn tell(&self, what: &str, text: &str, facts: Value) {
        self.site.story.tell(what, text, facts);
    }

    /// Waits, and tells what happens meanwhile.
    fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Play, &[Lane]) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        self.site.story.doing(what);
        let mut since = Instant::now();
        let mut before = None;
        loop {
            let lanes = self.narrator.look(&self.site)?;
            if let Some(found) = look(self, &lanes)? {
                return Ok(found);
            }
            let now = lanes
                .iter()
                .map(|lane| (lane.id, lane.since))
                .max_by_key(|l| l.1);
            if before != Some(now) {
                before = Some(now);
                since = Instant::now();
            }
            if since.elapsed() > PATIENCE {
                return Err(Error::failed(format!(
                    "waited in vain {what}: nothing has happened for {} s",
                    PATIENCE.as_secs()
                )));
            }
            self.site.rest()?;
        }
    }
}

/// Whether a lane of this pull request alone ended like that.
fn tested_alone(lanes: &[Lane], number: i32, state: &str) -> Option<()> {
    let is_its = |lane: &Lane| matches!(lane.members.as_slice(), [one] if one.number == number);
    lanes
        .iter()
        .any(|lane| is_its(lane) && lane.state == state)
        .then_some(())
}
