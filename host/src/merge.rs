//! The merge pipelines: pull requests, tested on the tree that will land.
//!
//! A turn (`turn`) reads causes, asks the policies about what changed with no transaction open, lets `plan`
//! make changes of the answers, and writes decisions, changes and effects in one transaction. `effects` does
//! what there is to do outside the database, `watch` looks where branches point, `attempts` follows the jobs, `upkeep`
//! clears away what was kept for long enough.
//!
//! Whoever holds a pipeline's lock takes its turns; it is held while there are causes, so that the hosts on
//! one database share the pipelines, and a host that dies lets go of those that it held. Should two hosts ever
//! take the same turn, the second finds its causes gone and writes nothing.

pub(crate) mod ask;
mod attempts;
mod backend;
mod dispatch;
mod effects;
mod facts;
mod folders;
mod notes;
mod pulls;
mod question;
mod react;
mod troubles;
mod turn;
mod upkeep;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::db::listen::POLL;
use crate::error::{Error, Kind, Refusal, Result};
use crate::links::Links;
use crate::policy::{CallLimits, Runtime};

pub use backend::{Backend, Who};
pub use pointsman_jobs::store::Object;
pub use upkeep::Days;
pub use watch::LocalForge;

/// How long to wait after the database, git or the job backend failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// What the parts of the engine share.
#[derive(Clone)]
pub struct Engine {
    db: Db,
    /// This host, for as long as its data directory lives.
    host: Arc<str>,
    forge: LocalForge,
    /// The repositories that this host does not have.
    elsewhere: Arc<folders::Elsewhere>,
    backend: Backend,
    links: Links,
    /// Held shared while an attempt is begun or asked to end, and alone while one is forgotten: whoever saw
    /// it unended finds it in its folder, and does not begin it anew.
    begins: Arc<RwLock<()>>,
    commits: channel::Receiver<u64>,
    stop: CancellationToken,
}

impl Engine {
    /// An engine on this database.
    pub fn new(
        db: Db,
        host: Arc<str>,
        forge: LocalForge,
        backend: Backend,
        links: Links,
        stop: CancellationToken,
    ) -> Self {
        let commits = db.commits();
        Self {
            db,
            host,
            forge,
            elsewhere: Arc::default(),
            backend,
            links,
            begins: Arc::default(),
            commits,
            stop,
        }
    }

    /// Takes up what this host had begun when it died. Only one host has a data directory, so nobody else
    /// is at it. Before [`Engine::start`].
    pub async fn recover(&self) -> Result<()> {
        self.look_at_folders().await?;
        self.db.release_effects(&self.host).await?;
        self.db.release_upkeep(&self.host).await
    }

    /// Whether there is a git to work with. A server that has no repository needs none, and says only that it could
    /// not make one.
    pub async fn check_git(&self) -> anyhow::Result<()> {
        let Err(error) = self.forge.check().await else {
            return Ok(());
        };
        if self.db.local_repositories().await?.is_empty() {
            tracing::warn!(cause = %error, "there is no git to work with: repositories cannot be made");
            return Ok(());
        }
        Err(anyhow::Error::from(error)
            .context("the record has repositories, and git cannot be run"))
    }

    /// Starts everything; the tasks end when the engine is told to stop.
    pub fn start(
        &self,
        runtime: &Runtime,
        ceilings: CallLimits,
        days: Days,
        drain: Duration,
    ) -> Vec<JoinHandle<()>> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut tasks = vec![];
        let at_once = cores.clamp(2, 8);
        // One looks for all what there is to do. Turns have threads of their own: a turn's calls of plugins are made
        // right there.
        let (due, work) = dispatch::channel();
        tasks.push(tokio::spawn(self.clone().find_work(due)));
        for _ in 0..at_once {
            let turns = turn::Turns::new(self.clone(), runtime.clone(), ceilings);
            let work = work.clone();
            let work = || turns.run(work);
            tasks.push(crate::turn::on_a_thread(self.stop.clone(), drain, work));
        }
        tasks.push(tokio::spawn(self.clone().effects(at_once)));
        tasks.push(tokio::spawn(self.clone().watch()));
        tasks.push(tokio::spawn(self.clone().vouch()));
        tasks.push(tokio::spawn(self.clone().attempts(days.decisions)));
        tasks.push(tokio::spawn(self.clone().upkeep(days)));
        tasks
    }

    /// Where a repository of the local forge is.
    pub fn place(&self, repository: &str) -> String {
        self.forge.place(repository)
    }

    /// Makes a repository of the local forge, if there is none.
    pub async fn create_repository(&self, name: &str, branch: &str) -> Result<()> {
        self.forge.create(name, branch).await.map_err(refused)
    }

    /// Whether git takes this for the name of a branch.
    pub fn check_branch(&self, name: &str, field: &str) -> Result<()> {
        let refusal = |bad: pointsman_forge::BadName| {
            Refusal::new(Kind::Invalid, "branch_invalid", bad.to_string()).field(field)
        };
        let branch: std::result::Result<pointsman_forge::Branch, _> = name.parse();
        Ok(branch.map(drop).map_err(refusal)?)
    }

    /// Where a branch points now; none: there is no such branch.
    pub async fn branch(&self, repository: &str, branch: &str) -> Result<Option<String>> {
        self.must_have(repository)?;
        self.forge.branch(repository, branch).await.map_err(refused)
    }

    /// A part of an attempt's log, and where to read on; none: it is not here.
    pub async fn log(&self, key: &str, from: u64, max: usize) -> Result<Option<(Vec<u8>, u64)>> {
        Ok(self.backend.log(key, from, max).await?)
    }

    /// A part of a file that an attempt left; none: there is no such file.
    pub async fn artifact(
        &self,
        key: &str,
        path: &str,
        from: u64,
        max: usize,
    ) -> Result<Option<Vec<u8>>> {
        Ok(self.backend.artifact(key, path, from, max).await?)
    }

    /// A file that an attempt left, from this byte on, however long; none: there is no such file.
    pub async fn open_artifact(&self, key: &str, path: &str, from: u64) -> Result<Option<Object>> {
        Ok(self.backend.open_artifact(key, path, from).await?)
    }

    /// Waits for a commit, at most until it is time to look anyway.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = self.commits.changed() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    async fn pause(&self) {
        let _ = tokio::time::timeout(FAILURE_PAUSE, self.stop.cancelled()).await;
    }
}

/// What a caller named and git does not have, or takes for no name, is the caller's to mend.
fn refused(error: anyhow::Error) -> Error {
    use pointsman_forge::{BadName, Error as Git};
    let text = match (error.downcast_ref::<Git>(), error.downcast_ref::<BadName>()) {
        (Some(Git::NoRepository { .. }), _) | (None, Some(_)) => error.to_string(),
        // For an operator to mend, who reads it here.
        (Some(git @ (Git::GitMissing { .. } | Git::GitTooOld { .. })), _) => {
            return Refusal::new(Kind::Conflict, git.code(), git.to_string())
                .hint("Ask whoever runs the server.")
                .into();
        }
        _ => return Error::Internal(error),
    };
    Refusal::new(Kind::Invalid, "git_refused", text)
        .hint("`pointsman repo list` shows the repositories there are.")
        .into()
}
