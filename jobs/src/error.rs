//! What can go wrong between the host and an attempt.

use std::io;
use std::path::PathBuf;

use crate::AttemptId;

/// Why an attempt could not be started, read or removed. What goes wrong inside a job is not an error
/// but its [`crate::Outcome`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The id is not one.
    #[error("{0:?} is not an attempt id: 1 to 64 characters of a-z, 0-9 and `-` are")]
    BadId(String),
    /// The spec says something that cannot be run.
    #[error("the spec's {field} {why}")]
    BadSpec {
        /// The field of [`crate::Spec`].
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another user is asked for, and this process may not become it.
    #[error("a job can run as user {uid} only if the host runs as root; it runs as user {own}")]
    NotRoot {
        /// Who the job should run as.
        uid: u32,
        /// Who the host is.
        own: u32,
    },
    /// The job's user could not reach its own folder.
    #[error("user {uid} cannot pass through {}, where its folder would be", path.display())]
    NotReachable {
        /// Who the job should run as.
        uid: u32,
        /// The directory that is closed.
        path: PathBuf,
    },
    /// A secret could not be read.
    #[error("the secret {name} cannot be read from {}: {why}", path.display())]
    Secret {
        /// Its name.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// There is no such attempt here.
    #[error("attempt {0} is not known here")]
    Unknown(AttemptId),
    /// The attempt has not ended, so it can neither be collected nor forgotten.
    #[error("attempt {0} has not ended")]
    NotEnded(AttemptId),
    /// A path that is not inside the job's folder, or not a plain file of the job's.
    #[error("{path:?} is not kept: {why}")]
    Refused {
        /// The path, relative to the job's folder.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the attempt, or the shim's executable, could not be used.
    #[error("{} could not be {what}: {source}", path.display())]
    Io {
        /// What was tried, as a participle: `read`, `written`.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// A stable code for programs, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadId(_) => "bad-id",
            Self::BadSpec { .. } => "bad-spec",
            Self::NotRoot { .. } => "not-root",
            Self::NotReachable { .. } => "not-reachable",
            Self::Secret { .. } => "secret",
            Self::Unknown(_) => "unknown-attempt",
            Self::NotEnded(_) => "not-ended",
            Self::Refused { .. } => "refused",
            Self::Io { .. } => "io",
        }
    }

    /// What to do about it, as one sentence.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::BadId(_) => "make the id of lower-case letters, digits and `-`".to_owned(),
            Self::BadSpec { field, .. } => format!("change `{field}` of the job and try again"),
            Self::NotRoot { .. } => {
                "run the host as root, or leave the job's user out, so that it runs as the host does"
                    .to_owned()
            }
            Self::NotReachable { path, .. } => format!(
                "allow passing through with `chmod o+x {}`, or keep the jobs elsewhere",
                path.display()
            ),
            Self::Secret { path, .. } => {
                format!("make {} a file of at most 64 KiB that the host may read", path.display())
            }
            Self::Unknown(_) => "check the id; an attempt that was forgotten is gone".to_owned(),
            Self::NotEnded(_) => "wait for its end, or cancel it".to_owned(),
            Self::Refused { .. } => {
                "keep plain files inside the job's folder; links are never followed".to_owned()
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room on the disk, then try again".to_owned()
                }
                _ => "check the folder's disk and permissions, then try again".to_owned(),
            },
        }
    }

    /// For `map_err`: names the file.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
