//! Looking where branches point: by a bell that pushes ring, and by a timer for what it missed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use pointsman_forge::{Bell, Branch, Fetched, Forge, Mergeable, Oid, RepoName, Repository};
use tokio::time::Instant;

use super::Engine;
use super::troubles::{Subject, Troubles};
use crate::db::listen::POLL;
use crate::db::merge::{Head, NewHead, Watched};

/// The local forge: bare repositories in a folder of this host's.
#[derive(Clone)]
pub struct LocalForge {
    forge: Arc<Forge>,
    /// The command that hooks of repositories run.
    exe: Arc<Path>,
    /// The socket that hooks ring.
    bell: Arc<Path>,
}

impl LocalForge {
    /// The forge in a folder.
    pub fn new(root: &Path, exe: PathBuf) -> Self {
        Self {
            forge: Arc::new(Forge::new(root)),
            exe: exe.into(),
            bell: root.join("bell").into(),
        }
    }

    /// Where a repository is: what jobs fetch from, and people push to.
    pub fn place(&self, repository: &str) -> String {
        let path = self.forge.root().join(format!("{repository}.git"));
        path.display().to_string()
    }

    /// Makes a repository, if there is none; its pushes ring the bell.
    pub async fn create(&self, name: &str, default: &str) -> anyhow::Result<()> {
        let name: RepoName = name.parse()?;
        let branch: Branch = default.parse()?;
        self.forge.create(&name, &branch).await?;
        let repository = self.forge.open(&name).await?;
        repository.install_hook(&self.exe, &self.bell).await?;
        Ok(())
    }

    pub(super) async fn open(&self, name: &str) -> anyhow::Result<Repository> {
        Ok(self.forge.open(&name.parse::<RepoName>()?).await?)
    }

    /// Whether a repository is in this folder, and not in another host's.
    pub(super) fn has(&self, repository: &str) -> bool {
        Path::new(&self.place(repository)).is_dir()
    }

    /// Whether git is there and new enough.
    pub async fn check(&self) -> Result<(), pointsman_forge::Error> {
        self.forge.check().await
    }

    /// Where a branch points now.
    pub async fn branch(&self, repository: &str, branch: &str) -> anyhow::Result<Option<String>> {
        let branch: Branch = branch.parse()?;
        let tip = self.open(repository).await?.branch(&branch).await?;
        Ok(tip.map(|oid| oid.to_string()))
    }
}

/// The least time between two looks, and a look that takes longer leaves as much time for others: whoever can
/// write to the socket can ring as often as they like.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Rings that one look answers at most; it looks everywhere anyway.
const RINGS: usize = 4_096;

/// A repository with its branches.
type Branches = (Repository, BTreeMap<Branch, Oid>);

/// What one look has read, and what it leaves alone.
struct Look<'t> {
    branches: HashMap<String, Option<Branches>>,
    troubles: &'t mut Troubles,
}

impl Engine {
    /// Looks until told to stop.
    pub(super) async fn watch(mut self) {
        let bell = match Bell::bind(&*self.forge.bell) {
            Ok(bell) => Some(bell),
            Err(error) => {
                tracing::warn!(%error, "pushes cannot ring; branches are looked at each second");
                None
            }
        };
        let mut troubles = Troubles::default();
        while !self.stop.is_cancelled() {
            self.commits.mark_unchanged();
            let began = Instant::now();
            if let Err(error) = self.look(&mut troubles).await {
                tracing::warn!(cause = format!("{error:#}"), "branches cannot be looked at");
                self.pause().await;
                continue;
            }
            let ended = Instant::now();
            self.until_something_may_have_moved(bell.as_ref()).await;
            let pause = LOOK_EVERY.max(ended - began);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep_until(ended + pause) => {}
            }
            // The next look answers all who rang meanwhile.
            for _ in 0..RINGS {
                let rung = bell.as_ref().and_then(|bell| bell.next().now_or_never());
                if rung.is_none() {
                    break;
                }
            }
        }
    }

    async fn until_something_may_have_moved(&mut self, bell: Option<&Bell>) {
        let rung = async {
            match bell {
                Some(bell) => {
                    bell.next().await;
                }
                None => std::future::pending().await,
            }
        };
        let unseen = async {
            // Of a commit only what nobody has looked at yet matters: new pipelines and pull requests.
            loop {
                if self.commits.changed().await.is_err() {
                    return std::future::pending().await;
                }
                if self.db.branches_unseen().await.unwrap_or(false) {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = rung => {}
            () = unseen => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }

    async fn look(&self, troubles: &mut Troubles) -> anyhow::Result<()> {
        troubles.forget_old(Instant::now());
        self.look_at_folders().await?;
        let mut look = Look {
            branches: HashMap::new(),
            troubles,
        };
        let watched = self.db.watched().await?;
        for target in &watched {
            let what = Subject::Target(target.pipeline);
            if look.troubles.rests(&what, Instant::now()) {
                continue;
            }
            match self.look_at_target(target, &mut look).await {
                Ok(()) => look.troubles.over(&what),
                Err(error) => {
                    let (repository, branch) = (&target.repository, &target.target);
                    tracing::warn!(
                        repository,
                        branch,
                        cause = format!("{error:#}"),
                        again_in_s = look.troubles.failed(what, Instant::now()).as_secs(),
                        "a branch cannot be looked at"
                    );
                }
            }
        }
        for head in self.db.open_heads().await? {
            let of = |w: &&Watched| w.repository == head.repository && w.target == head.target;
            let tip = watched.iter().find(of).and_then(|w| w.tip.clone());
            let there = self.where_it_is(&head, &mut look).await;
            // Another commit is another question.
            let what = Subject::Head(head.id, there.as_ref().ok().copied().flatten());
            if look.troubles.rests(&what, Instant::now()) {
                continue;
            }
            let looked = match there {
                Ok(there) => {
                    self.look_at_head(&head, there, tip.as_deref(), &mut look)
                        .await
                }
                Err(error) => Err(error),
            };
            match looked {
                Ok(()) => look.troubles.over(&what),
                Err(error) => {
                    let (repository, number) = (&head.repository, head.number);
                    tracing::warn!(
                        repository,
                        number,
                        cause = format!("{error:#}"),
                        again_in_s = look.troubles.failed(what, Instant::now()).as_secs(),
                        "a head cannot be looked at"
                    );
                }
            }
        }
        Ok(())
    }

    /// The branches of a repository; none: another host has it, or it cannot be read for now.
    async fn branches<'s>(&self, repository: &str, look: &'s mut Look<'_>) -> Option<&'s Branches> {
        if self.elsewhere.has(repository) {
            return None;
        }
        if !look.branches.contains_key(repository) {
            let what = Subject::Repository(repository.to_owned());
            let mut found = None;
            if !look.troubles.rests(&what, Instant::now()) {
                match self.read_branches(repository).await {
                    Ok(read) => {
                        look.troubles.over(&what);
                        found = read;
                    }
                    Err(error) => tracing::warn!(
                        repository,
                        cause = format!("{error:#}"),
                        again_in_s = look.troubles.failed(what, Instant::now()).as_secs(),
                        "a repository cannot be looked at"
                    ),
                }
            }
            look.branches.insert(repository.to_owned(), found);
        }
        look.branches.get(repository).and_then(Option::as_ref)
    }

    async fn read_branches(&self, repository: &str) -> anyhow::Result<Option<Branches>> {
        match self.forge.open(repository).await {
            Ok(opened) => {
                let branches = opened.branches().await?;
                Ok(Some((opened, branches)))
            }
            // Another host has it.
            Err(error) => match error.downcast_ref() {
                Some(pointsman_forge::Error::NoRepository { .. }) => Ok(None),
                _ => Err(error),
            },
        }
    }

    async fn look_at_target(&self, target: &Watched, look: &mut Look<'_>) -> anyhow::Result<()> {
        let Some((repository, branches)) = self.branches(&target.repository, look).await else {
            return Ok(());
        };
        let branch: Branch = target.target.parse()?;
        let Some(tip) = branches.get(&branch) else {
            // A branch that is gone has no tip to land on: landing says so.
            return Ok(());
        };
        let commit = tip.to_string();
        if target.landing || target.tip.as_deref() == Some(&commit) {
            return Ok(());
        }
        let tree = repository
            .commit(tip)
            .await?
            .context("the tip is no commit")?
            .tree;
        self.db
            .tip_moved(target, &commit, &tree.to_string())
            .await?;
        Ok(())
    }

    /// The commit that a pull request's branch points at; none: it is gone, or its repository cannot be read.
    async fn where_it_is(&self, head: &Head, look: &mut Look<'_>) -> anyhow::Result<Option<Oid>> {
        let branch: Branch = head.branch.parse()?;
        let found = self.branches(&head.head_repository, look).await;
        Ok(found.and_then(|(_, branches)| branches.get(&branch).copied()))
    }

    async fn look_at_head(
        &self,
        head: &Head,
        there: Option<Oid>,
        tip: Option<&str>,
        look: &mut Look<'_>,
    ) -> anyhow::Result<()> {
        let branch: Branch = head.branch.parse()?;
        let Some((source, _)) = self.branches(&head.head_repository, look).await else {
            return Ok(());
        };
        let source = source.clone();
        let Some(there) = there else {
            if !head.gone {
                self.db.head_vanished(head).await?;
            }
            return Ok(());
        };
        if !head.gone && head.described && head.head == there.to_string() {
            return Ok(());
        }
        let found = self.branches(&head.repository, look).await;
        let target = found.map(|(repository, _)| repository.clone());
        let (Some(target), Some(tip)) = (target, tip) else {
            return Ok(());
        };
        let number = u64::from(head.number.unsigned_abs());
        let Fetched::Head(oid) = target.fetch_head(&source, &branch, number).await? else {
            return Ok(());
        };
        let facts = target.describe_head(&tip.parse()?, &oid).await?;
        let new = NewHead {
            commit: oid.to_string(),
            // Without a common ancestor the whole content is the change.
            merge_base: facts
                .merge_base
                .map_or_else(|| oid.to_string(), |base| base.to_string()),
            patch_id: facts.patch_id.unwrap_or_default(),
            changed: facts
                .changed
                .paths
                .iter()
                .map(|path| format!("{path}\n"))
                .collect(),
            changed_total: i32::try_from(facts.changed.total).unwrap_or(i32::MAX),
            conflict: match facts.mergeable {
                Mergeable::Conflict { paths } => Some((tip.to_owned(), paths.join("\n"))),
                Mergeable::Unrelated => Some((
                    tip.to_owned(),
                    "(the histories have nothing in common)".to_owned(),
                )),
                Mergeable::Clean | Mergeable::AlreadyMerged => None,
            },
        };
        self.db.head_moved(head, &new).await?;
        Ok(())
    }
}
