//! The folder that holds the repositories.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs;

use crate::error::Error;
use crate::git::Git;
use crate::name::{Branch, RepoName};
use crate::repository::Repository;
use crate::settings;

/// A folder of bare repositories, one per name: `NAME.git`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forge {
    root: PathBuf,
    git: Arc<Git>,
}

/// What [`Forge::create`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The repository is new.
    Created,
    /// There was one of this name. Its settings were renewed, its content was not touched.
    AlreadyThere,
}

impl Forge {
    /// A forge in this folder, which may not exist yet, with the `git` of the search path.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_git(root, "git")
    }

    /// A forge that calls this git.
    #[must_use]
    pub fn with_git(root: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            // Git is called from elsewhere. Only an empty path has no absolute form, and it names
            // nothing that could be opened.
            root: std::path::absolute(&root).unwrap_or(root),
            git: Git::new(program.into()),
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether git is there and new enough: for the start of a server, which should say so at once.
    ///
    /// # Errors
    /// [`Error::GitMissing`], [`Error::GitTooOld`].
    pub async fn check(&self) -> Result<(), Error> {
        self.git.ready().await
    }

    fn path(&self, name: &RepoName) -> PathBuf {
        self.root.join(format!("{name}.git"))
    }

    /// Makes an empty bare repository whose `HEAD` is this branch. Repeatable, and safe against
    /// others who do the same: it is made aside and moved into its place.
    ///
    /// # Errors
    /// Git is missing or too old, or the folder cannot be written.
    pub async fn create(&self, name: &RepoName, default: &Branch) -> Result<Created, Error> {
        self.git.ready().await?;
        fs::create_dir_all(&self.root)
            .await
            .map_err(Error::io("make", &self.root))?;
        let path = self.path(name);
        if fs::try_exists(&path)
            .await
            .map_err(Error::io("look at", &path))?
        {
            let repository = self.open(name).await?;
            settings::give(&self.git, repository.path()).await?;
            return Ok(Created::AlreadyThere);
        }
        // The name begins with a dot, so it is no repository's.
        let aside = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(&self.root)
            .map_err(Error::io("write to", &self.root))?;
        let fresh = aside.path().join("repository");
        self.git
            .call(None, "init")
            .args(["--quiet", "--bare", "--template="])
            .args([format!("--initial-branch={default}")])
            .args([&fresh])
            .output(&[0])
            .await?;
        settings::give(&self.git, &fresh).await?;
        match fs::rename(&fresh, &path).await {
            Ok(()) => Ok(Created::Created),
            // Somebody was faster; file systems differ in how they say so.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(Created::AlreadyThere)
            }
            Err(error) => Err(Error::io("make", &path)(error)),
        }
    }

    /// The repository of this name.
    ///
    /// # Errors
    /// [`Error::NoRepository`]; [`Error::Corrupt`] if the folder is no git repository.
    pub async fn open(&self, name: &RepoName) -> Result<Repository, Error> {
        self.git.ready().await?;
        let path = self.path(name);
        if !fs::try_exists(&path)
            .await
            .map_err(Error::io("look at", &path))?
        {
            return Err(Error::NoRepository { path });
        }
        let repository = Repository::new(name.clone(), path, Arc::clone(&self.git));
        for part in ["HEAD", "objects", "refs"] {
            let part = repository.path().join(part);
            if !fs::try_exists(&part)
                .await
                .map_err(Error::io("look at", &part))?
            {
                return Err(repository.corrupt(format!("{} is missing", part.display())));
            }
        }
        Ok(repository)
    }

    /// The names of all repositories, sorted. A folder that is not there has none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn list(&self) -> Result<Vec<RepoName>, Error> {
        let mut names = Vec::new();
        let mut entries = match fs::read_dir(&self.root).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(Error::io("read", &self.root)(error)),
        };
        while let Some(entry) = entries
            .next_entry()
            .await
            .map_err(Error::io("read", &self.root))?
        {
            let file_name = entry.file_name();
            let name = file_name
                .to_str()
                .and_then(|name| name.strip_suffix(".git"))
                .and_then(|name| name.parse().ok());
            // Metadata of the path, not of the entry: a repository may be a link.
            if let Some(name) = name
                && fs::metadata(entry.path())
                    .await
                    .is_ok_and(|meta| meta.is_dir())
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
