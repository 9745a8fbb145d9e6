//! What a policy may ask back while it decides about pull requests and lanes.
//!
//! The record and the repository answer these at once, with no transaction open. What was given is kept
//! with the decision, so that a replay gives the same, and needs neither.

use std::cell::RefCell;

use pointsman_forge::{Error as Git, Oid, TextFile, check_path};
use serde_json::Value;
use tokio::runtime::Handle;

use super::ask::Asking;
use super::notes::Memory;
use super::{Engine, question};
use crate::contract;
use crate::db::merge::MergeStart;
use crate::error::Result;
use crate::policy::wit::types::{Found, PullRequest, Query, Work};
use crate::policy::wit::{gate, react, review, run, select, triage};
use crate::policy::{Facts, Hook, unknown};
use crate::turn::facts::{Failure, Source, refused};

/// Earlier lanes that a fact has at most.
const MAX_RUNS: i64 = 100;

/// What a question is about.
pub(super) trait Subject {
    /// The commits in it: of these a policy may read files, and of no others, so that an answer follows from
    /// its question. The first is the one that is meant where none is named.
    fn commits(&self) -> Vec<&str>;

    /// The pull requests in it.
    fn pulls(&self) -> Vec<&PullRequest>;

    /// The same, to be filled in.
    fn pulls_mut(&mut self) -> Vec<&mut PullRequest>;
}

fn of_work(work: &Work) -> Vec<&str> {
    let heads = work.members.iter().map(|member| member.head.as_str());
    [work.commit.as_str(), work.base.as_str()]
        .into_iter()
        .chain(heads)
        .collect()
}

fn of_pull(pull: &PullRequest) -> Vec<&str> {
    vec![&pull.head, &pull.merge_base]
}

impl Subject for review::Question {
    fn commits(&self) -> Vec<&str> {
        of_pull(&self.pull_request)
    }

    fn pulls(&self) -> Vec<&PullRequest> {
        vec![&self.pull_request]
    }

    fn pulls_mut(&mut self) -> Vec<&mut PullRequest> {
        vec![&mut self.pull_request]
    }
}

impl Subject for gate::Question {
    fn commits(&self) -> Vec<&str> {
        of_work(&self.0)
    }

    fn pulls(&self) -> Vec<&PullRequest> {
        self.0.members.iter().collect()
    }

    fn pulls_mut(&mut self) -> Vec<&mut PullRequest> {
        self.0.members.iter_mut().collect()
    }
}

impl Subject for select::Question {
    fn commits(&self) -> Vec<&str> {
        let heads = self.candidates.iter().map(|c| c.head.as_str());
        let lanes = self.lanes.iter().map(|lane| lane.commit.as_str());
        std::iter::once(self.tip.as_str())
            .chain(heads)
            .chain(lanes)
            .collect()
    }

    fn pulls(&self) -> Vec<&PullRequest> {
        vec![]
    }

    fn pulls_mut(&mut self) -> Vec<&mut PullRequest> {
        vec![]
    }
}

impl Subject for run::Question {
    fn commits(&self) -> Vec<&str> {
        of_work(&self.0)
    }

    fn pulls(&self) -> Vec<&PullRequest> {
        self.0.members.iter().collect()
    }

    fn pulls_mut(&mut self) -> Vec<&mut PullRequest> {
        self.0.members.iter_mut().collect()
    }
}

impl Subject for triage::Question {
    fn commits(&self) -> Vec<&str> {
        of_work(&self.work)
    }

    fn pulls(&self) -> Vec<&PullRequest> {
        self.work.members.iter().collect()
    }

    fn pulls_mut(&mut self) -> Vec<&mut PullRequest> {
        self.work.members.iter_mut().collect()
    }
}

impl Subject for react::Question {
    fn commits(&self) -> Vec<&str> {
        let work = self.work.iter().flat_map(of_work);
        work.chain(self.pull_request.iter().flat_map(of_pull))
            .collect()
    }

    fn pulls(&self) -> Vec<&PullRequest> {
        let members = self.work.iter().flat_map(|work| &work.members);
        self.pull_request.iter().chain(members).collect()
    }

    fn pulls_mut(&mut self) -> Vec<&mut PullRequest> {
        let members = self.work.iter_mut().flat_map(|work| &mut work.members);
        self.pull_request.iter_mut().chain(members).collect()
    }
}

/// Facts of one pipeline's repository, for one question.
pub(super) struct Repository<'a> {
    engine: &'a Engine,
    start: &'a MergeStart,
    tip: &'a str,
    memory: &'a RefCell<Memory>,
    /// The place of the binding that asks.
    place: (Hook, i32),
    commits: Vec<&'a str>,
    runtime: Handle,
    failed: Option<Failure>,
}

impl<'a> Repository<'a> {
    pub(super) fn new(asking: &'a Asking<'_>, place: (Hook, i32), about: &'a impl Subject) -> Self {
        Self {
            engine: asking.engine,
            start: asking.start,
            tip: asking.tip,
            memory: &asking.memory,
            place,
            commits: about.commits(),
            runtime: Handle::current(),
            failed: None,
        }
    }

    async fn look(&mut self, query: &Query) -> Found {
        let found = match query.kind.as_str() {
            "file" => return self.file(query).await,
            "runs" => self.runs(query).await,
            "pull-request" => self.pull_request(query).await,
            _ => return unknown(query),
        };
        match found {
            Ok(found) => found,
            Err(error) => self.fail(Failure::Turn(error)),
        }
    }

    async fn file(&mut self, query: &Query) -> Found {
        let Some(path) = arg(query, "path") else {
            return refused("query.argument", "`file` needs the argument `path`");
        };
        if let Err(bad) = check_path(path) {
            return refused("query.argument", &bad.to_string());
        }
        let commit = match arg(query, "commit") {
            Some(named) if self.commits.contains(&named) => named,
            Some(_) => {
                let text =
                    "files are read in the commits that the question names, and in no others";
                return refused("query.argument", text);
            }
            None => self.commits.first().copied().unwrap_or_default(),
        };
        // Empty where it is not there yet: a lane that could not be built has no commit.
        let Ok(commit) = commit.parse::<Oid>() else {
            let text = "there is no commit to read it in yet: name another one as `commit`";
            return refused("file.no-commit", text);
        };
        let read = async {
            let repository = self.engine.forge.open(&self.start.repository).await?;
            Ok::<_, anyhow::Error>(repository.text(&commit, path).await?)
        };
        match read.await {
            Ok(TextFile::Text(text)) => Found::Value(text),
            Ok(TextFile::Absent) => Found::Absent,
            Ok(TextFile::TooLarge { bytes }) => {
                let most = pointsman_forge::limits::TEXT_BYTES;
                let text = format!("it has {bytes} bytes, and files of {most} at most are read");
                refused("file.too-large", &text)
            }
            Ok(TextFile::Binary) => refused("file.binary", "it is no text in UTF-8"),
            Ok(TextFile::NotAFile) => {
                let text = "it is no file: a folder, a symbolic link or a submodule";
                refused("file.not-a-file", text)
            }
            Err(error) => self.unread(path, &error),
        }
    }

    /// Git could not read it. One pull request waits for that, and not all of them.
    fn unread(&mut self, path: &str, error: &anyhow::Error) -> Found {
        let code = match error.downcast_ref::<Git>() {
            Some(Git::NoCommit { .. }) => {
                let text = "the repository does not have that commit, or no longer";
                return refused("file.no-commit", text);
            }
            // Another host may have it: the turn is that host's.
            Some(git @ Git::NoRepository { .. }) => {
                let error = anyhow::anyhow!("{git}");
                return self.fail(Failure::Turn(crate::error::Error::Internal(error)));
            }
            Some(git) => git.code(),
            None => "git-failed",
        };
        let repository = &self.start.repository;
        tracing::warn!(
            repository,
            path,
            cause = format!("{error:#}"),
            "a file cannot be read"
        );
        self.fail(Failure::Call(format!(
            "the file `{path}` cannot be read ({code}); the server's log says more"
        )))
    }

    async fn runs(&self, query: &Query) -> Result<Found> {
        let number = match number(query) {
            Ok(number) => number,
            Err(found) => return Ok(found),
        };
        let limit = match arg(query, "limit").map(str::parse) {
            None => MAX_RUNS,
            Some(Ok(limit)) if (1..=MAX_RUNS).contains(&limit) => limit,
            Some(_) => {
                let text = format!("`limit` is a number from 1 to {MAX_RUNS}");
                return Ok(refused("query.argument", &text));
            }
        };
        let (db, start) = (&self.engine.db, self.start);
        let Some((id, _)) = db.pull_numbered(start.repository_id, number).await? else {
            return Ok(Found::Absent);
        };
        let runs = db.lanes_of_pull(start.pipeline, id, limit).await?;
        let runs = runs
            .iter()
            .map(|run| shown("past-run", &question::past_run(run)));
        Ok(value(&Value::Array(runs.collect::<Result<_>>()?)))
    }

    async fn pull_request(&self, query: &Query) -> Result<Found> {
        let number = match number(query) {
            Ok(number) => number,
            Err(found) => return Ok(found),
        };
        let db = &self.engine.db;
        let found = db.pull_numbered(self.start.repository_id, number).await?;
        let Some((id, target)) = found else {
            return Ok(Found::Absent);
        };
        // Of another target branch nobody here knows the tip.
        let tip = if target == self.start.target {
            self.tip
        } else {
            ""
        };
        let start = MergeStart {
            target,
            ..self.start.clone()
        };
        let pulls = db.pull_facts(&start, tip, &[id]).await?;
        let Some(pull) = pulls.first() else {
            return Ok(Found::Absent);
        };
        let mut pull = question::pull_request(&start, pull);
        Memory::read(self.memory, db, &start, &[id]).await?;
        let (hook, position) = self.place;
        pull.notes = self.memory.borrow().of_pull(hook, position, id);
        Ok(value(&shown("pull-request", &pull)?))
    }

    fn fail(&mut self, failure: Failure) -> Found {
        self.failed.get_or_insert(failure);
        refused("query.failed", "it could not be looked up; ask again later")
    }
}

impl Facts for Repository<'_> {
    fn find(&mut self, query: &Query) -> Found {
        // Within a call, where the turn's thread may wait.
        self.runtime.clone().block_on(self.look(query))
    }
}

impl Source for Repository<'_> {
    fn failed(&mut self) -> Option<Failure> {
        self.failed.take()
    }
}

fn arg<'q>(query: &'q Query, name: &str) -> Option<&'q str> {
    let arg = query.args.iter().find(|(key, _)| key == name);
    arg.map(|(_, value)| value.as_str())
}

fn number(query: &Query) -> std::result::Result<i32, Found> {
    let number = arg(query, "number").and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        let text = format!("`{}` needs the argument `number`: `12`", query.kind);
        refused("query.argument", &text)
    })
}

/// In the contract's own names, as people and cases have it.
fn shown(record: &str, value: &impl serde::Serialize) -> Result<Value> {
    let plain = serde_json::to_value(value).map_err(|e| crate::error::Error::Internal(e.into()))?;
    Ok(contract::show_record(record, &plain))
}

fn value(value: &Value) -> Found {
    Found::Value(contract::text(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_shown_as_cases_have_it() {
        let run = crate::policy::wit::types::PastRun {
            purpose: "merge".to_owned(),
            commit: "c".to_owned(),
            base: "b".to_owned(),
            at: 1_795_334_400_000,
            verdict: Some(crate::policy::wit::types::Verdict::Pass),
            tags: vec![("x-risk".to_owned(), "low".to_owned())],
        };
        assert_eq!(
            shown("past-run", &run).unwrap(),
            json!({"purpose": "merge", "commit": "c", "base": "b", "at": "2026-11-22T08:00:00.000Z",
                "verdict": "pass", "tags": {"x-risk": "low"}})
        );
    }
}
