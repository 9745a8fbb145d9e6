//! What can go wrong, said so that a person knows what to do next.

use std::io;
use std::path::PathBuf;

use crate::name::BadName;
use crate::oid::Oid;

/// A call that failed. [`Error::code`] is for programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no git.
    #[error("cannot run {}: install git {} or newer (apt-get install git)", program.display(), crate::git::OLDEST)]
    GitMissing {
        /// What was looked for.
        program: PathBuf,
    },
    /// The git there is cannot merge without a work tree.
    #[error(
        "git {found} is too old: {} or newer is needed, as Debian 12 has",
        crate::git::OLDEST
    )]
    GitTooOld {
        /// The version found.
        found: String,
    },
    /// A name that is none.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// There is no such repository.
    #[error("there is no repository at {}: create it first", path.display())]
    NoRepository {
        /// Where it would be.
        path: PathBuf,
    },
    /// The repository has no such commit: never pushed, or pruned since.
    #[error("the repository has no commit {oid}: push it, or fetch the head that it belongs to")]
    NoCommit {
        /// The commit.
        oid: Oid,
    },
    /// The repository is damaged.
    #[error("the repository {} is damaged: {detail}; look with `git fsck`, and restore it or push what is missing", path.display())]
    Corrupt {
        /// The repository.
        path: PathBuf,
        /// What git says.
        detail: String,
    },
    /// A lock file of git's stands in the way for longer than any push takes.
    #[error("a ref of {} is locked: {detail}; if no git runs there, a crash left the lock file: remove it", path.display())]
    Locked {
        /// The repository.
        path: PathBuf,
        /// What git says; it names the file.
        detail: String,
    },
    /// Git did not end in time, and was stopped.
    #[error(
        "git {command} did not end within {seconds} s and was stopped: is the disk too slow, or the repository too large?"
    )]
    TimedOut {
        /// The subcommand.
        command: &'static str,
        /// The bound.
        seconds: u64,
    },
    /// Git wrote more than is read.
    #[error(
        "git {command} wrote more than {bytes} bytes: the repository has more refs or conflicts than this forge handles"
    )]
    TooMuchOutput {
        /// The subcommand.
        command: &'static str,
        /// The bound.
        bytes: usize,
    },
    /// Git failed for a reason that has no name here.
    #[error("git {command} failed ({status}): {detail}")]
    Failed {
        /// The subcommand.
        command: &'static str,
        /// How it ended.
        status: String,
        /// What git says.
        detail: String,
    },
    /// Git wrote what its manual does not promise.
    #[error("git {command} wrote something that cannot be read ({what}): is this git a wrapper?")]
    Garbled {
        /// The subcommand.
        command: &'static str,
        /// What was expected.
        what: &'static str,
    },
    /// A merge plan that no commit can be made of.
    #[error("the merge plan is refused: {why}")]
    BadPlan {
        /// What is wrong with it.
        why: String,
    },
    /// A landing that would take commits off the branch.
    #[error("{to} does not descend from {from}: a landing only ever adds to a branch")]
    NotADescendant {
        /// Where the branch was. Boxed, for every result has room for the largest error.
        from: Box<Oid>,
        /// Where it was to go.
        to: Box<Oid>,
    },
    /// Another server listens at this bell.
    #[error("another process listens at {}: stop it, or give this one another bell", path.display())]
    BellTaken {
        /// The socket.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// A stable code for programs, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::GitMissing { .. } => "git-missing",
            Self::GitTooOld { .. } => "git-too-old",
            Self::BadName(_) => "bad-name",
            Self::NoRepository { .. } => "no-repository",
            Self::NoCommit { .. } => "no-commit",
            Self::Corrupt { .. } => "repository-corrupt",
            Self::Locked { .. } => "ref-locked",
            Self::TimedOut { .. } => "git-timed-out",
            Self::TooMuchOutput { .. } => "git-output-too-large",
            Self::Failed { .. } => "git-failed",
            Self::Garbled { .. } => "git-garbled",
            Self::BadPlan { .. } => "bad-plan",
            Self::NotADescendant { .. } => "not-a-descendant",
            Self::BellTaken { .. } => "bell-taken",
            Self::Io { .. } => "forge-io",
        }
    }

    /// For `map_err`: a failed step on a file.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
