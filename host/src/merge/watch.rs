//! Looking where branches point: by a bell that pushes ring, and by a timer for what it missed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use pointsman_forge::{Bell, Branch, Fetched, Forge, Mergeable, Oid, RepoName, Repository};

use super::Engine;
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

    /// Where a branch points now.
    pub async fn branch(&self, repository: &str, branch: &str) -> anyhow::Result<Option<String>> {
        let branch: Branch = branch.parse()?;
        let tip = self.open(repository).await?.branch(&branch).await?;
        Ok(tip.map(|oid| oid.to_string()))
    }
}

/// Branches of the repositories that one look has read.
type Seen = HashMap<String, Option<(Repository, BTreeMap<Branch, Oid>)>>;

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
        while !self.stop.is_cancelled() {
            self.commits.mark_unchanged();
            if let Err(error) = self.look().await {
                tracing::warn!(cause = format!("{error:#}"), "branches cannot be looked at");
                self.pause().await;
                continue;
            }
            self.until_something_may_have_moved(bell.as_ref()).await;
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

    async fn look(&self) -> anyhow::Result<()> {
        let mut seen = Seen::new();
        let watched = self.db.watched().await?;
        for target in &watched {
            if let Err(error) = self.look_at_target(target, &mut seen).await {
                let (repository, branch) = (&target.repository, &target.target);
                tracing::warn!(
                    repository,
                    branch,
                    cause = format!("{error:#}"),
                    "a branch cannot be looked at"
                );
            }
        }
        for head in self.db.open_heads().await? {
            let of = |w: &&Watched| w.repository == head.repository && w.target == head.target;
            let tip = watched.iter().find(of).and_then(|w| w.tip.clone());
            if let Err(error) = self.look_at_head(&head, tip.as_deref(), &mut seen).await {
                let (repository, number) = (&head.repository, head.number);
                tracing::warn!(
                    repository,
                    number,
                    cause = format!("{error:#}"),
                    "a head cannot be looked at"
                );
            }
        }
        Ok(())
    }

    async fn branches<'s>(
        &self,
        repository: &str,
        seen: &'s mut Seen,
    ) -> anyhow::Result<Option<&'s (Repository, BTreeMap<Branch, Oid>)>> {
        if !seen.contains_key(repository) {
            let name: RepoName = repository.parse()?;
            let found = match self.forge.forge.open(&name).await {
                Ok(opened) => {
                    let branches = opened.branches().await?;
                    Some((opened, branches))
                }
                // Another host has it.
                Err(pointsman_forge::Error::NoRepository { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            seen.insert(repository.to_owned(), found);
        }
        Ok(seen.get(repository).and_then(Option::as_ref))
    }

    async fn look_at_target(&self, target: &Watched, seen: &mut Seen) -> anyhow::Result<()> {
        let Some((repository, branches)) = self.branches(&target.repository, seen).await? else {
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

    async fn look_at_head(
        &self,
        head: &Head,
        tip: Option<&str>,
        seen: &mut Seen,
    ) -> anyhow::Result<()> {
        let branch: Branch = head.branch.parse()?;
        let Some((source, branches)) = self.branches(&head.head_repository, seen).await? else {
            return Ok(());
        };
        let (source, there) = (source.clone(), branches.get(&branch).copied());
        let Some(there) = there else {
            if !head.gone {
                self.db.head_vanished(head).await?;
            }
            return Ok(());
        };
        if !head.gone && head.described && head.head == there.to_string() {
            return Ok(());
        }
        let target = self.open_target(head, seen).await?;
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

    async fn open_target(
        &self,
        head: &Head,
        seen: &mut Seen,
    ) -> anyhow::Result<Option<Repository>> {
        let found = self.branches(&head.repository, seen).await?;
        Ok(found.map(|(repository, _)| repository.clone()))
    }
}
