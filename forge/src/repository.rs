//! One bare repository: its branches, and what the other files say of it.

pub(crate) mod build;
pub(crate) mod commits;
pub(crate) mod compact;
pub(crate) mod diff;
pub(crate) mod fetch;
pub(crate) mod head;
pub(crate) mod land;
pub(crate) mod lanes;
mod merge;
mod patch_id;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::git::{Call, Git, tells_damage};
use crate::name::{Branch, RepoName};
use crate::oid::Oid;

/// A bare repository of the forge. Cheap to clone; all calls may run at once, here and in any other
/// process.
#[derive(Debug, Clone)]
pub struct Repository {
    name: RepoName,
    path: PathBuf,
    git: Arc<Git>,
}

impl Repository {
    pub(crate) fn new(name: RepoName, path: PathBuf, git: Arc<Git>) -> Self {
        Self { name, path, git }
    }

    /// Its folder, absolute: what to clone from and push to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in the forge.
    #[must_use]
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    /// All branches and their tips, by one process. A branch whose name [`Branch`] refuses (one that
    /// is not UTF-8, say) is left out.
    ///
    /// # Errors
    /// A damaged ref is [`Error::Corrupt`], so that no branch is ever taken for deleted.
    pub async fn branches(&self) -> Result<BTreeMap<Branch, Oid>, Error> {
        let refs = self.refs(&["refs/heads/"]).await?;
        Ok(refs
            .into_iter()
            .filter_map(|(name, oid)| Some((name.strip_prefix("refs/heads/")?.parse().ok()?, oid)))
            .collect())
    }

    /// The tip of a branch; none if there is no such branch.
    ///
    /// # Errors
    /// As [`Repository::branches`].
    pub async fn branch(&self, branch: &Branch) -> Result<Option<Oid>, Error> {
        self.tip_of(&branch.to_ref()).await
    }

    /// What a ref points at.
    pub(crate) async fn tip_of(&self, name: &str) -> Result<Option<Oid>, Error> {
        // The pattern also finds what lies below `name/`.
        let refs = self.refs(&[name]).await?;
        Ok(refs
            .into_iter()
            .find_map(|(found, oid)| (found == name).then_some(oid)))
    }

    /// Refs below these prefixes that have a name in UTF-8.
    pub(crate) async fn refs(&self, prefixes: &[&str]) -> Result<Vec<(String, Oid)>, Error> {
        let output = self
            .git("for-each-ref")
            .args(["--format=%(objectname) %(refname)", "--"])
            .args(prefixes)
            .output(&[0])
            .await?;
        // Git warns of a broken ref, leaves it out and is content.
        if tells_damage(&output.stderr) {
            return Err(self.corrupt(output.stderr.trim().to_owned()));
        }
        output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok())
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (oid, name) = line.split_once(' ')?;
                Some((name.to_owned(), oid.parse().ok()?))
            })
            .map(|found| {
                found.ok_or(Error::Garbled {
                    command: "for-each-ref",
                    what: "an id and a name",
                })
            })
            .collect()
    }

    /// Moves a ref, whatever it pointed at.
    pub(crate) async fn set_ref(&self, name: &str, to: Oid) -> Result<(), Error> {
        let result = self
            .git("update-ref")
            .args([name, to.as_str()])
            .output(&[0])
            .await;
        match result {
            Ok(_) => Ok(()),
            Err(error) => Err(self.missing_or(error, &[to]).await),
        }
    }

    /// A call in this repository.
    pub(crate) fn git(&self, subcommand: &'static str) -> Call {
        self.git.call(Some(&self.path), subcommand)
    }

    pub(crate) fn corrupt(&self, detail: String) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            detail,
        }
    }

    /// Why a call about these commits failed: because one of them is not there, if that is so.
    pub(crate) async fn missing_or(&self, error: Error, oids: &[Oid]) -> Error {
        if !matches!(error, Error::Failed { .. } | Error::Corrupt { .. }) {
            return error;
        }
        match self.commits(oids).await {
            Ok(found) => match found.iter().zip(oids).find(|(commit, _)| commit.is_none()) {
                Some((_, oid)) => Error::NoCommit { oid: *oid },
                None => error,
            },
            // The damage, or whatever it is, is told by the first call as well.
            Err(_) => error,
        }
    }
}
