//! Where jobs run: what an attempt is given, where its log is read, and how it ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use pointsman_jobs::store::{Object, Retry, Store, StoreError};
use pointsman_jobs::{
    AttemptId, Cut, Exit, Local, Outcome, Report, Spec, State, TestOutcome, User,
};
use serde_json::json;

use super::attempts::LEASE;
use crate::db::merge::{Ended, Running};

/// Processes and threads of a job's user: more than any build has, and a fork bomb ends there.
const MAX_PROCESSES: u64 = 4_096;
/// Bytes of each file of a job.
const MAX_FILE_BYTES: u64 = 64 << 30;
/// The longest that a job may take, whatever its policy says.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Where jobs run and what they leave is kept.
#[derive(Clone)]
pub struct Backend {
    pub(super) local: Arc<Local>,
    store: Arc<Store>,
    secrets: Arc<Path>,
    who: Who,
    /// Gives git in a job what it needs to read the forge's repositories.
    git_config: Arc<Path>,
}

/// Who runs jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the host.
    Host,
    /// All of them this one: what one job may do to another's processes and files, they may do to each other.
    One(User),
    /// Each attempt a user of its own, and in this group, which may read the forge.
    Apart(u32),
}

impl Who {
    /// A user for each attempt, where this machine has the numbers; else one for all.
    pub fn apart_or(one: User) -> Self {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        match has_room(&map) {
            true => Self::Apart(one.gid),
            false => Self::One(one),
        }
    }

    /// The group that may read the forge.
    pub fn group(self) -> Option<u32> {
        match self {
            Self::Host => None,
            Self::One(user) => Some(user.gid),
            Self::Apart(group) => Some(group),
        }
    }
}

/// The first of the users that attempts have, and how many there are: far from those of people, of services
/// and of containers, and below 2^31, which some programs take for a sign.
const FIRST_USER: u32 = 1_879_048_192;
const USERS: u32 = 65_536;

/// Whether a map of user ids (inside, outside, how many) has those of attempts.
fn has_room(map: &str) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        first <= u64::from(FIRST_USER) && first + count >= u64::from(FIRST_USER + USERS)
    })
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
        who: Who,
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
            who,
            git_config: git_config.into(),
        })
    }

    /// Starts it, vouched for from `claimed` on: from before its claim was written.
    pub(super) async fn start(
        &self,
        attempt: &Running,
        claimed: DateTime<Utc>,
    ) -> Result<(), NotStarted> {
        let spec = self.spec(attempt, claimed).map_err(NotStarted::Never)?;
        let id = AttemptId::new(&*attempt.key).map_err(|e| NotStarted::Never(e.to_string()))?;
        match self.local.start(&id, &spec).await {
            Ok(_) => Ok(()),
            Err(error @ pointsman_jobs::Error::Io { .. }) => Err(NotStarted::Now(error.into())),
            Err(error) => Err(NotStarted::Never(format!("{error}; {}", error.hint()))),
        }
    }

    fn spec(&self, attempt: &Running, claimed: DateTime<Utc>) -> Result<Spec, String> {
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
        let lease = claimed + LEASE;
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
        match self.who {
            Who::Host => {}
            Who::One(user) => spec.user = Some(user),
            Who::Apart(group) => {
                // Another attempt has the same number only 65,536 attempts later.
                let number = FIRST_USER + attempt.id.unsigned_abs() as u32 % USERS;
                spec.user = Some(User {
                    uid: number,
                    gid: number,
                });
                spec.groups = vec![group];
            }
        }
        spec.processes = Some(MAX_PROCESSES);
        spec.file_bytes = Some(MAX_FILE_BYTES);
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
            match self.local.read_log(&id, from, max).await {
                Ok(part) => return Ok(Some((part.bytes, part.next))),
                // It was kept, and its folder removed, in this moment.
                Err(pointsman_jobs::Error::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Offsets are those of the whole output there, too: whoever followed it reads on.
        let cut = self.cut(key).await?;
        let place = cut.map_or(from, |cut| cut.place(from));
        // The line that says what is missing comes in one piece.
        let max = match cut {
            Some(cut) if place < cut.at => {
                max.min(usize::try_from(cut.at - place).unwrap_or(usize::MAX))
            }
            _ => max,
        };
        let part = self.stored(key, LOG, place, max).await?;
        Ok(part.map(|bytes| {
            let end = place + bytes.len() as u64;
            let next = match cut {
                _ if bytes.is_empty() => from,
                Some(cut) => cut.offset(end),
                None => end,
            };
            (bytes, next)
        }))
    }

    /// What is missing in a log that was kept.
    async fn cut(&self, key: &str) -> anyhow::Result<Option<Cut>> {
        let text = self.stored(key, LOG_CUT, 0, 64).await?;
        Ok(text.and_then(|text| Cut::read(&String::from_utf8_lossy(&text))))
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

    /// Something that was kept, from this byte on, however long; none: there is no such thing.
    pub async fn open_artifact(
        &self,
        key: &str,
        path: &str,
        from: u64,
    ) -> anyhow::Result<Option<Object>> {
        let path = format!("{FILES}/{path}");
        let whole = match self.store.get(key, &path, None).await {
            Ok(object) => object,
            Err(StoreError::NotThere(_) | StoreError::BadKey(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if from == 0 {
            return Ok(Some(whole));
        }
        if from >= whole.bytes {
            let content = futures::stream::empty().boxed();
            return Ok(Some(Object { content, ..whole }));
        }
        let part = self.store.get(key, &path, Some(from..whole.bytes)).await?;
        Ok(Some(part))
    }

    /// Removes what an attempt left; nothing is fine, too.
    pub(super) async fn remove(&self, key: &str) -> anyhow::Result<()> {
        self.store.remove(key).await?;
        Ok(())
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

    /// How it ended, with what it left in the store. Where the store cannot take something now, that is an
    /// error, unless it is `now_or_never`: then it counts as lost, and how it ended is kept all the same.
    pub(super) async fn ended(&self, id: &AttemptId, now_or_never: bool) -> anyhow::Result<Ended> {
        let exit = match self.local.state(id).await? {
            State::Ended(exit) => exit,
            State::Lost => {
                let text = "its shim is gone, and nobody knows how it ended";
                let mut ended = Ended::without_report("lost", text);
                // What it said until then is all that tells why.
                match self.keep_log(id).await {
                    Ok(bytes) => ended.log_bytes = i64::try_from(bytes).unwrap_or(i64::MAX),
                    Err(error) if !now_or_never && may_come(&error) => {
                        return Err(error.context("its log"));
                    }
                    Err(error) => {
                        ended.detail =
                            Some(format!("{text}; its log could not be kept: {error:#}"));
                    }
                }
                return Ok(ended);
            }
            State::Unknown => {
                let text = "its folder is gone, and nobody knows how it ended";
                return Ok(Ended::without_report("lost", text));
            }
            State::Starting | State::Running { .. } => anyhow::bail!("it has not ended"),
        };
        let mut report = self.local.collect(id).await?;
        let may_wait = |error: &anyhow::Error| !now_or_never && may_come(error);
        let mut artifacts = vec![];
        for artifact in &report.artifacts {
            let kept = async {
                let file = self.local.open_artifact(id, &artifact.path).await?;
                let path = format!("{FILES}/{}", artifact.path);
                anyhow::Ok(self.store.put(id.as_str(), &path, file).await?)
            };
            match kept.await {
                Ok(stored) => artifacts.push(json!({
                    "path": artifact.path, "bytes": stored.bytes, "sha256": stored.sha256})),
                Err(error) if may_wait(&error) => {
                    return Err(error.context(format!("the file {}", artifact.path)));
                }
                Err(error) => artifacts.push(json!({
                    "path": artifact.path, "bytes": artifact.bytes, "problem": format!("{error:#}")})),
            }
        }
        report.artifacts.clear();
        let (log_bytes, problem) = match self.keep_log(id).await {
            Ok(bytes) => (bytes, None),
            Err(error) if may_wait(&error) => return Err(error.context("its log")),
            Err(error) => (0, Some(format!("its log could not be kept: {error:#}"))),
        };
        let mut ended = shape(&exit, &report, artifacts, log_bytes);
        if let Some(problem) = problem {
            let detail = ended.detail.into_iter().chain([problem]);
            ended.detail = Some(detail.collect::<Vec<_>>().join("; "));
        }
        Ok(ended)
    }

    async fn keep_log(&self, id: &AttemptId) -> anyhow::Result<u64> {
        let (log, cut) = self.local.open_log(id).await?;
        if let Some(cut) = cut {
            self.store.put(id.as_str(), LOG_CUT, cut).await?;
        }
        Ok(self.store.put(id.as_str(), LOG, log).await?.bytes)
    }
}

/// Whether the store may take later what it did not take now.
fn may_come(error: &anyhow::Error) -> bool {
    let store: Option<&StoreError> = error.downcast_ref();
    store.is_some_and(|error| error.retry() == Retry::Later)
}

/// What the log is called in the store: no artifact is, since a job's paths are below [`FILES`].
const LOG: &str = "log";
/// Which part of the log is missing there, if any is.
const LOG_CUT: &str = "log.cut";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_have_users_of_their_own_where_the_machine_has_the_numbers() {
        assert!(has_room("         0          0 4294967295\n"));
        // A container of an ordinary user.
        assert!(!has_room("0 1000 1\n1 100000 65536\n"));
        assert!(!has_room(""));
        assert!(has_room("0 1000 1\n1879048192 5000000 65536\n"));
        assert!(!has_room("0 0 1879048200\n"));
    }
}
