//! Git as people use it: a clone with a work tree, branches, pushes. And git as a witness: what a commit
//! is, and where a branch has pointed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// A clone of the repository, and the repository itself.
pub(super) struct Worktree {
    dir: PathBuf,
    /// The bare repository that is pushed to.
    place: PathBuf,
}

impl Worktree {
    /// An empty one, that pushes to `place`. From now on the bare repository writes down where its branches
    /// point, which bare ones do not by themselves.
    pub(super) fn begin(dir: PathBuf, place: PathBuf) -> Result<Worktree, Error> {
        fs::create_dir_all(&dir)
            .map_err(|error| Error::failed(format!("cannot make {}: {error}", dir.display())))?;
        let tree = Worktree { dir, place };
        tree.ask(&["config", "core.logAllRefUpdates", "true"])?;
        tree.git(&["init", "-q", "-b", "main"])?;
        tree.git(&["remote", "add", "origin", &tree.place.display().to_string()])?;
        Ok(tree)
    }

    /// Runs git in the work tree; gives what it printed.
    fn git(&self, args: &[&str]) -> Result<String, Error> {
        git(&self.dir, args)
    }

    /// Asks the bare repository.
    pub(super) fn ask(&self, args: &[&str]) -> Result<String, Error> {
        git(&self.place, args)
    }

    /// Commits these files on top of `base`, as `branch`, and pushes that; gives the commit.
    pub(super) fn push(
        &self,
        branch: &str,
        base: Option<&str>,
        message: &str,
        files: &[(String, String)],
    ) -> Result<String, Error> {
        if let Some(base) = base {
            self.git(&["checkout", "-q", "--force", "-B", branch, base])?;
        }
        for (path, content) in files {
            let path = self.dir.join(path);
            let parent = path.parent().unwrap_or(&self.dir);
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, content))
                .map_err(|error| {
                    Error::failed(format!("cannot write {}: {error}", path.display()))
                })?;
        }
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", message])?;
        self.git(&["push", "-q", "origin", branch])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// The tree of a commit.
    pub(super) fn tree_of(&self, commit: &str) -> Result<String, Error> {
        self.ask(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")])
    }

    /// Every commit that a branch was made to point at, oldest first.
    pub(super) fn pointed_at(&self, branch: &str) -> Result<Vec<String>, Error> {
        let log = self.place.join("logs/refs/heads").join(branch);
        let text = fs::read_to_string(&log)
            .map_err(|error| Error::failed(format!("cannot read {}: {error}", log.display())))?;
        let moved_to = |line: &str| line.split(' ').nth(1).map(str::to_owned);
        Ok(text.lines().filter_map(moved_to).collect())
    }

    /// The commits of a branch by first parents, oldest first, each with its other parents.
    pub(super) fn first_parents(&self, branch: &str) -> Result<Vec<(String, Vec<String>)>, Error> {
        let args = ["log", "--first-parent", "--reverse", "--format=%H %P"];
        let text = self.ask(&[&args[..], &[branch, "--"]].concat())?;
        let read = |line: &str| {
            let mut ids = line.split(' ').map(str::to_owned);
            let commit = ids.next().unwrap_or_default();
            (commit, ids.skip(1).collect())
        };
        Ok(text.lines().map(read).collect())
    }
}

fn git(dir: &Path, args: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("git");
    // What the caller's environment or configuration says about git is about other repositories.
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("GIT_") {
            command.env_remove(key);
        }
    }
    let output = command
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .map_err(|error| {
            Error::hinted(
                format!("cannot run git: {error}"),
                "install git: `apt-get install git`",
            )
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::failed(format!(
        "git {} failed: {}",
        args.first().unwrap_or(&""),
        said.trim()
    )))
}
