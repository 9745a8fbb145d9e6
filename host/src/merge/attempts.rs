//! Following the attempts that this host runs: each ends once, with what its shim says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use pointsman_jobs::store::{Store, StoreError};
use pointsman_jobs::{AttemptId, Exit, Local, Outcome, Report, Spec, State, TestOutcome, User};
use serde_json::json;

use super::Engine;
use super::failpoint::failpoint;
use crate::db::listen::POLL;
use crate::db::merge::{Ended, Running};

/// How long this host vouches for an attempt at a time. A host that dies lets go of it after that.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// How often it vouches anew.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How long after a lapsed lease an attempt counts as lost: its shim has ended it by then.
const LAPSE_GRACE: Duration = Duration::from_secs(45);
/// How often old effects are looked for.
const RETIRE_EVERY: Duration = Duration::from_secs(600);
/// Effects that are deleted at once.
const RETIRE_PAGE: i64 = 1_000;
/// The longest that a job may take, whatever its policy says.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Where jobs run and what they leave is kept.
#[derive(Clone)]
pub struct Backend {
    local: Arc<Local>,
    store: Arc<Store>,
    secrets: Arc<Path>,
    user: Option<User>,
    /// Gives git in a job what it needs to read the forge's repositories.
    git_config: Arc<Path>,
}

/// Why an attempt was not started.
pub(super) enum NotStarted {
    /// It never will be.
    Never(String),
    /// It may be later.
    Now(anyhow::Error),
}

impl Backend {
    /// A backend with its state in `jobs`.
    pub fn new(
        jobs: &Path,
        exe: PathBuf,
        artifacts: &str,
        secrets: &Path,
        user: Option<User>,
    ) -> anyhow::Result<Self> {
        let local = Local::new(jobs, exe)?;
        let git_config = jobs.join("gitconfig");
        // The forge's repositories are another user's than the job's, which git asks about.
        std::fs::write(&git_config, "[safe]\n\tdirectory = *\n")?;
        std::fs::set_permissions(
            &git_config,
            std::os::unix::fs::PermissionsExt::from_mode(0o644),
        )?;
        Ok(Self {
            local: Arc::new(local),
            store: Arc::new(Store::open(artifacts)?),
            secrets: secrets.into(),
            user,
            git_config: git_config.into(),
        })
    }

    pub(super) async fn start(&self, attempt: &Running) -> Result<(), NotStarted> {
        let spec = self.spec(attempt).map_err(NotStarted::Never)?;
        let id = AttemptId::new(&*attempt.key).map_err(|e| NotStarted::Never(e.to_string()))?;
        match self.local.start(&id, &spec).await {
            Ok(_) => Ok(()),
            Err(error @ pointsman_jobs::Error::Io { .. }) => Err(NotStarted::Now(error.into())),
            Err(error) => Err(NotStarted::Never(format!("{error}; {}", error.hint()))),
        }
    }

    fn spec(&self, attempt: &Running) -> Result<Spec, String> {
        let given = &attempt.spec;
        let list = |key: &str| -> Vec<String> {
            let list = given[key].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        let attr = |key: &str| {
            let over = attempt.attrs[key].as_str();
            over.or_else(|| given["attrs"][key].as_str())
        };
        let lease = Utc::now() + LEASE;
        let mut spec = Spec::new(
            list("argv"),
            u64::try_from(lease.timestamp_millis()).unwrap_or(0),
        );
        let mut env: BTreeMap<String, String> = given["env"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect();
        let subject: &[(&str, &String)] = match attempt.run {
            None => &[
                ("POINTSMAN_COMMIT", &attempt.commit),
                ("POINTSMAN_TREE", &attempt.tree),
            ],
            Some(_) => &[
                ("POINTSMAN_DISTRO", &attempt.distro),
                ("POINTSMAN_KERNEL_VERSION", &attempt.version),
                ("POINTSMAN_PURPOSE", &attempt.purpose),
                ("POINTSMAN_RELEASE", &attempt.release),
            ],
        };
        for (name, value) in [
            ("POINTSMAN_PIPELINE", &attempt.pipeline_name),
            ("POINTSMAN_JOB", &attempt.job),
            ("POINTSMAN_ATTEMPT_NUMBER", &attempt.number.to_string()),
            ("GIT_CONFIG_GLOBAL", &self.git_config.display().to_string()),
        ]
        .iter()
        .chain(subject)
        {
            env.entry((*name).to_owned())
                .or_insert_with(|| (*value).clone());
        }
        spec.env = env;
        spec.user = self.user;
        spec.artifacts = list("artifacts");
        spec.junit = match attr("x-junit") {
            Some(globs) => globs.lines().map(str::to_owned).collect(),
            // What is kept and may be a report is read as one.
            None => spec
                .artifacts
                .iter()
                .filter(|a| a.ends_with(".xml"))
                .cloned()
                .collect(),
        };
        if let Some(timeout) = given["timeout_ms"].as_u64().filter(|t| *t > 0) {
            spec.timeout_ms = timeout.min(MAX_TIMEOUT.as_millis() as u64);
        }
        if let Some(memory) = attr("memory") {
            let bytes = memory
                .parse()
                .map_err(|_| format!("`memory` is `{memory}`, and should be a number of bytes"))?;
            spec.memory_bytes = Some(bytes);
        }
        // A fork's head that nobody authorised gets none: its command is in its own tree.
        if !attempt.untrusted {
            for name in list("secrets") {
                let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if name.is_empty() || !plain {
                    return Err(format!(
                        "`{name}` is no name of a secret: letters, digits and _"
                    ));
                }
                let file = self.secrets.join(&attempt.pipeline_name).join(&name);
                spec.secrets.insert(name, file);
            }
        }
        Ok(spec)
    }

    pub(super) async fn cancel(&self, key: &str, why: &str) -> anyhow::Result<()> {
        Ok(self.local.cancel(&AttemptId::new(key)?, why).await?)
    }

    /// A part of an attempt's log, and where to read on: while it runs from its folder, then from the store.
    pub async fn log(
        &self,
        key: &str,
        from: u64,
        max: usize,
    ) -> anyhow::Result<Option<(Vec<u8>, u64)>> {
        let id = AttemptId::new(key)?;
        if self.local.state(&id).await? != State::Unknown {
            let part = self.local.read_log(&id, from, max).await?;
            return Ok(Some((part.bytes, part.next)));
        }
        let part = self.stored(key, LOG, from, max).await?;
        Ok(part.map(|bytes| {
            let next = from + bytes.len() as u64;
            (bytes, next)
        }))
    }

    /// A part of something that was kept; none: there is no such thing.
    pub async fn artifact(
        &self,
        key: &str,
        path: &str,
        from: u64,
        max: usize,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        self.stored(key, &format!("{FILES}/{path}"), from, max)
            .await
    }

    async fn stored(
        &self,
        key: &str,
        path: &str,
        from: u64,
        max: usize,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        // How long it is first: a part that begins behind the end is empty, and no error.
        let bytes = match self.store.get(key, path, None).await {
            Ok(object) => object.bytes,
            // A name that no file can have is none of a file.
            Err(StoreError::NotThere(_) | StoreError::BadKey(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let to = from.saturating_add(max as u64).min(bytes);
        if from >= to {
            return Ok(Some(vec![]));
        }
        let object = self.store.get(key, path, Some(from..to)).await?;
        let parts: Vec<bytes::Bytes> = object.content.try_collect().await?;
        Ok(Some(parts.concat()))
    }

    /// How it ended; none: it has not.
    async fn ended(&self, key: &str) -> anyhow::Result<Option<Ended>> {
        let id = AttemptId::new(key)?;
        let exit = match self.local.state(&id).await? {
            State::Ended(exit) => exit,
            State::Lost => {
                let text = "its shim is gone, and nobody knows how it ended";
                return Ok(Some(Ended::without_report("lost", text)));
            }
            State::Unknown | State::Starting | State::Running { .. } => return Ok(None),
        };
        let mut report = self.local.collect(&id).await?;
        let mut artifacts = vec![];
        for artifact in &report.artifacts {
            let kept = async {
                let file = self.local.open_artifact(&id, &artifact.path).await?;
                anyhow::Ok(
                    self.store
                        .put(key, &format!("{FILES}/{}", artifact.path), file)
                        .await?,
                )
            };
            match kept.await {
                Ok(stored) => artifacts.push(json!({
                    "path": artifact.path, "bytes": stored.bytes, "sha256": stored.sha256})),
                Err(error) => artifacts.push(json!({
                    "path": artifact.path, "bytes": artifact.bytes, "problem": format!("{error:#}")})),
            }
        }
        let log = self.local.open_log(&id).await?;
        let log_bytes = self
            .store
            .put(key, LOG, log)
            .await
            .context("its log cannot be kept")?
            .bytes;
        report.artifacts.clear();
        Ok(Some(shape(&exit, &report, artifacts, log_bytes)))
    }
}

/// What the log is called in the store: no artifact is, since a job's paths are below [`FILES`].
const LOG: &str = "log";
/// What a job's files are below.
const FILES: &str = "files";

fn shape(exit: &Exit, report: &Report, artifacts: Vec<serde_json::Value>, log_bytes: u64) -> Ended {
    let at = |ms: u64| DateTime::from_timestamp_millis(ms.cast_signed());
    let (ended, mut detail) = match &exit.outcome {
        Outcome::Exited { .. } => ("exited", None),
        Outcome::Signalled { signal } => ("exited", Some(format!("signal {signal} ended it"))),
        Outcome::TimedOut => ("timed-out", Some("the wall clock ran out".to_owned())),
        Outcome::Cancelled { why } => ("cancelled", Some(why.clone())),
        Outcome::LeaseLapsed => (
            "lost",
            Some("its host did not vouch for it any more".to_owned()),
        ),
        Outcome::OutputLimit => ("exited", Some("it wrote more than it may".to_owned())),
        Outcome::Interrupted { signal } => (
            "lost",
            Some(format!("the machine went down (signal {signal})")),
        ),
        Outcome::CouldNotStart { why } => ("setup-failed", Some(why.clone())),
        other => ("lost", Some(other.word().to_owned())),
    };
    let problems = report.problems.iter().map(|p| match &p.path {
        Some(path) => format!("{path}: {}", p.text),
        None => p.text.clone(),
    });
    let notes: Vec<String> = detail
        .take()
        .into_iter()
        .chain(exit.problem.clone())
        .chain(problems)
        .collect();
    let not_passed: Vec<serde_json::Value> = report
        .tests
        .kept
        .iter()
        .filter(|t| t.outcome != TestOutcome::Passed)
        .map(|t| {
            let name = match t.suite.as_str() {
                "" => t.name.clone(),
                suite => format!("{suite}::{}", t.name),
            };
            let outcome = match t.outcome {
                TestOutcome::Failed => "failed",
                TestOutcome::Errored => "error",
                TestOutcome::Skipped | TestOutcome::Passed => "skipped",
            };
            json!({"name": name, "outcome": outcome, "message": t.message})
        })
        .collect();
    Ended {
        ended,
        exit_code: match exit.outcome {
            Outcome::OutputLimit => Some(-1),
            ref outcome => outcome.exit_code(),
        },
        detail: (!notes.is_empty()).then(|| notes.join("; ")),
        started_at: at(exit.began_ms),
        ended_at: at(exit.ended_ms).unwrap_or_else(Utc::now),
        tests_total: i32::try_from(report.tests.total).unwrap_or(i32::MAX),
        tests_passed: i32::try_from(report.tests.passed).unwrap_or(i32::MAX),
        tests: not_passed.into(),
        outputs: json!(report.outputs),
        artifacts: artifacts.into(),
        log_bytes: i64::try_from(log_bytes).unwrap_or(i64::MAX),
    }
}

impl Engine {
    /// Follows attempts until told to stop.
    pub(super) async fn attempts(self, days: u16) {
        let bell = match self.backend.local.bell() {
            Ok(bell) => Some(bell),
            Err(error) => {
                tracing::warn!(%error, "ends of jobs cannot ring; they are looked for each second");
                None
            }
        };
        let mut renewed = None;
        let mut retired = None;
        while !self.stop.is_cancelled() {
            let due = |last: &Option<tokio::time::Instant>, every| {
                last.is_none_or(|last| last.elapsed() >= every)
            };
            let done = async {
                let vouch = due(&renewed, RENEW_EVERY);
                self.follow(vouch).await?;
                if vouch {
                    renewed = Some(tokio::time::Instant::now());
                }
                if due(&retired, RETIRE_EVERY) {
                    self.db.retire_effects(i32::from(days), RETIRE_PAGE).await?;
                    self.sweep().await?;
                    retired = Some(tokio::time::Instant::now());
                }
                anyhow::Ok(())
            };
            if let Err(error) = done.await {
                tracing::warn!(cause = format!("{error:#}"), "jobs cannot be followed");
                self.pause().await;
                continue;
            }
            let rung = async {
                match &bell {
                    Some(bell) => {
                        let _ = bell.next().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = rung => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Removes the folder of an attempt whose end is on record.
    async fn forget(&self, id: &AttemptId) -> Result<(), pointsman_jobs::Error> {
        let _alone = self.begins.write().await;
        self.backend.local.forget(id).await
    }

    /// Removes what a host that died left: folders of attempts whose end is on record, and halves of folders.
    async fn sweep(&self) -> anyhow::Result<()> {
        for id in self.backend.local.list().await? {
            if self.db.attempt_by_key(id.as_str()).await? == Some(true) {
                match self.forget(&id).await {
                    // Its host gave it up while it ran; it ends by itself.
                    Err(pointsman_jobs::Error::NotEnded(_)) => {}
                    forgotten => forgotten?,
                }
            }
        }
        self.backend.local.sweep().await?;
        Ok(())
    }

    async fn follow(&self, vouch: bool) -> anyhow::Result<()> {
        if vouch {
            self.db.renew_leases(&self.host, LEASE).await?;
        }
        let until = (Utc::now() + LEASE).timestamp_millis();
        for (id, key) in self.db.attempts_of(&self.host).await? {
            let followed = async {
                if let Some(ended) = self.backend.ended(&key).await? {
                    failpoint("collected");
                    self.db.attempt_ended(id, &ended).await?;
                    failpoint("ended");
                    self.forget(&AttemptId::new(&*key)?).await?;
                } else if vouch {
                    let key = AttemptId::new(&*key)?;
                    let until = u64::try_from(until).unwrap_or(0);
                    self.backend.local.renew(&key, until).await?;
                }
                anyhow::Ok(())
            };
            if let Err(error) = followed.await {
                tracing::warn!(
                    attempt = id,
                    cause = format!("{error:#}"),
                    "an attempt cannot be followed"
                );
            }
        }
        for id in self.db.lapsed(LAPSE_GRACE).await? {
            let text = "its host has not vouched for it any more";
            self.db
                .attempt_ended(id, &Ended::without_report("lost", text))
                .await?;
        }
        Ok(())
    }
}
