//! Which repositories this host has. Several hosts on one database may each see some of them: what is to be done for one
//! is left to a host that has its folder.
//!
//! A folder is known by a mark, a file in it whose content is on record, too: a folder of the same name may be another one.
//! The list of what is not here is renewed each second and serves to leave work where it is. What is taken all the same is
//! looked at once more, by the folder itself, and given back.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::RwLock;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::Engine;
use super::watch::LocalForge;
use crate::db::listen::POLL;
use crate::db::merge::{Effect, Folder};
use crate::error::{Kind, Refusal, Result};

/// The file in a repository's folder that has its mark.
const MARK: &str = "pointsman-mark";

/// What is not here.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    repositories: HashSet<String>,
    pipelines: Vec<i32>,
}

impl Elsewhere {
    /// The pipelines whose work is left to other hosts.
    pub(super) fn pipelines(&self) -> Vec<i32> {
        self.read(|known| known.pipelines.clone())
    }

    /// Whether a repository is known not to be here.
    pub(super) fn has(&self, repository: &str) -> bool {
        self.read(|known| known.repositories.contains(repository))
    }

    fn is_due(&self) -> bool {
        self.read(|known| known.looked.is_none_or(|looked| looked.elapsed() >= POLL))
    }

    fn add(&self, pipeline: i32, repository: &str) {
        if let Ok(mut known) = self.0.write() {
            known.repositories.insert(repository.to_owned());
            known.pipelines.push(pipeline);
        }
    }

    fn read<T: Default>(&self, look: impl FnOnce(&Known) -> T) -> T {
        self.0
            .read()
            .map_or_else(|_| T::default(), |known| look(&known))
    }
}

impl LocalForge {
    /// Whether the folder of a repository is here, as the record knows it. One that nobody has claimed is known by its
    /// name alone.
    fn sees(&self, repository: &str, mark: Option<&str>) -> bool {
        match mark {
            Some(mark) => self.mark(repository).as_deref() == Some(mark),
            None => self.has(repository),
        }
    }

    fn mark_file(&self, repository: &str) -> PathBuf {
        PathBuf::from(self.place(repository)).join(MARK)
    }

    fn mark(&self, repository: &str) -> Option<String> {
        let mark = fs::read_to_string(self.mark_file(repository)).ok()?;
        Some(mark.trim().to_owned()).filter(|mark| !mark.is_empty())
    }

    /// The mark of a folder that is here; one that has none gets one.
    fn marked(&self, repository: &str) -> anyhow::Result<String> {
        if let Some(mark) = self.mark(repository) {
            return Ok(mark);
        }
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).context("the system gives no random bytes")?;
        let mark = hex::encode(random);
        let file = self.mark_file(repository);
        let new = file.with_extension(&mark[..8]);
        fs::write(&new, format!("{mark}\n"))
            .with_context(|| format!("cannot write {}", new.display()))?;
        // Whole, and never in the place of another host's.
        let linked = fs::hard_link(&new, &file);
        fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot write {}", file.display()))
            }
            _ => self.mark(repository).context("the mark is gone again"),
        }
    }
}

impl Engine {
    /// Whether what is to be done for this pipeline can be done here; if not, it is left alone from now on.
    pub(super) fn sees(&self, pipeline: i32, repository: &str, mark: Option<&str>) -> bool {
        let is_here = self.forge.sees(repository, mark);
        if !is_here {
            self.elsewhere.add(pipeline, repository);
        }
        is_here
    }

    /// The next thing to do here. One of a repository that turns out not to be here is given back.
    pub(super) async fn take_effect(&self, lease: Duration) -> Result<Option<Effect>> {
        let elsewhere = self.elsewhere.pipelines();
        let taken = self.db.lease_effect(&self.host, lease, &elsewhere).await?;
        if let Some(effect) = &taken
            && let Some((repository, mark)) = &effect.repository
            && !self.sees(effect.pipeline, repository, mark.as_deref())
        {
            self.db.give_back(effect).await?;
            return Ok(None);
        }
        Ok(taken)
    }

    /// Whether this host has a repository, as far as it knows.
    pub fn has(&self, repository: &str) -> bool {
        self.forge.has(repository) && !self.elsewhere.has(repository)
    }

    /// Refuses what needs a repository that another host has.
    pub(super) fn must_have(&self, repository: &str) -> Result<()> {
        if !self.elsewhere.has(repository) {
            return Ok(());
        }
        let text = format!("this host does not have the folder of the repository `{repository}`");
        Err(Refusal::new(Kind::Conflict, "repository_elsewhere", text)
            .hint("Ask the host that has it, or have an operator give this one the same folder (`serve --forge`).")
            .into())
    }

    /// Finds out which repositories are here, at most once in a while.
    pub(super) async fn look_at_folders(&self) -> Result<()> {
        match self.elsewhere.is_due() {
            true => self.claim_folders().await,
            false => Ok(()),
        }
    }

    /// Finds out which repositories are here. Those that no host has claimed are this one's.
    pub async fn claim_folders(&self) -> Result<()> {
        let looked = Some(Instant::now());
        let mut known = Known {
            looked,
            ..Known::default()
        };
        let mut seen = vec![];
        for folder in self.db.folders().await? {
            if self.is_here(&folder).await? {
                seen.extend(folder.due.then_some(folder.id));
            } else {
                known.pipelines.extend(folder.pipelines);
                known.repositories.insert(folder.repository);
            }
        }
        if !seen.is_empty() {
            self.db.folders_seen(&seen, &self.host).await?;
        }
        metrics::gauge!("pointsman_repositories_elsewhere").set(known.repositories.len() as f64);
        let Ok(mut before) = self.elsewhere.0.write() else {
            return Ok(());
        };
        for repository in known.repositories.difference(&before.repositories) {
            tracing::warn!(
                repository,
                folder = self.place(repository),
                "this host does not have the folder of this repository: what is to be done for it is left to a host that has"
            );
        }
        for repository in before.repositories.difference(&known.repositories) {
            tracing::info!(repository, "this host has the folder of this repository");
        }
        *before = known;
        Ok(())
    }

    async fn is_here(&self, folder: &Folder) -> Result<bool> {
        let name = &folder.repository;
        if folder.mark.is_some() || !self.forge.has(name) {
            return Ok(folder.mark.is_some() && self.forge.sees(name, folder.mark.as_deref()));
        }
        // The first host that sees it says which folder it is.
        match self.forge.marked(name) {
            Ok(mark) => Ok(self.db.claim_folder(folder, &mark, &self.host).await? == mark),
            Err(error) => {
                tracing::warn!(
                    repository = name,
                    cause = format!("{error:#}"),
                    "a repository's folder cannot be marked"
                );
                Ok(true)
            }
        }
    }
}
