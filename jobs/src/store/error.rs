//! What can go wrong with the store, told apart by what the caller does next.

use std::error::Error as _;
use std::io;

/// Why an object was not stored, or not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address is none, or a setting is wrong.
    #[error("{address:?} is no artifact store: {why}")]
    BadAddress {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key or path would lead elsewhere.
    #[error("{0:?} is no key of the artifact store")]
    BadKey(String),
    /// There is no such object.
    #[error("{0} is not in the artifact store")]
    NotThere(String),
    /// There is another object of that name; it was left as it is.
    #[error("{0} is in the artifact store with other content, and is never overwritten")]
    Differs(String),
    /// The object is larger than is kept.
    #[error("it has over {max} bytes, which is the most that is kept")]
    TooLarge {
        /// The bound, in bytes.
        max: u64,
    },
    /// The disk is full, or a quota is reached.
    #[error("the artifact store is full: {0}")]
    Full(String),
    /// The credentials do not do.
    #[error("the artifact store refuses: {0}")]
    Denied(String),
    /// It does not answer, or answers that it cannot now.
    #[error("the artifact store cannot be reached: {0}")]
    Unreachable(String),
    /// Anything else.
    #[error("the artifact store failed: {0}")]
    Other(String),
}

/// Whether to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may go better later.
    Later,
    /// The same call fails the same way.
    Never,
}

impl StoreError {
    /// A stable code for programs, in kebab case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "bad-store",
            Self::BadKey(_) => "bad-key",
            Self::NotThere(_) => "not-stored",
            Self::Differs(_) => "stored-otherwise",
            Self::TooLarge { .. } => "too-large",
            Self::Full(_) => "store-full",
            Self::Denied(_) => "store-denied",
            Self::Unreachable(_) => "store-unreachable",
            Self::Other(_) => "store-failed",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Full(_) | Self::Denied(_) | Self::Unreachable(_) | Self::Other(_) => Retry::Later,
            Self::BadAddress { .. }
            | Self::BadKey(_)
            | Self::NotThere(_)
            | Self::Differs(_)
            | Self::TooLarge { .. } => Retry::Never,
        }
    }

    /// What to do about it, as one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BadAddress { .. } => "give a directory, or s3://BUCKET/PREFIX",
            Self::BadKey(_) => "a key has parts between slashes, none of them `.` or `..`",
            Self::NotThere(_) => {
                "check the attempt and the path; old artifacts are removed in time"
            }
            Self::Differs(_) => "store it under another attempt",
            Self::TooLarge { .. } => "keep less: name single files instead of directories",
            Self::Full(_) => "make room; what could not be stored is tried again",
            Self::Denied(_) => "check the credentials and what they may do in the bucket",
            Self::Unreachable(_) => "check the endpoint and the network; it is tried again",
            Self::Other(_) => "see the server's log",
        }
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error as E;
        let text = error.to_string();
        match &error {
            E::NotFound { path, .. } => return Self::NotThere(path.clone()),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => return Self::Denied(text),
            _ => {}
        }
        // The rest is told apart by what is at the bottom of it.
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge => return Self::Full(text),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        return Self::Denied(text);
                    }
                    _ => {}
                }
            }
            if inner.is::<object_store::client::HttpError>() {
                return Self::Unreachable(text);
            }
            cause = inner.source();
        }
        if text.contains("Server returned non-2xx status code: 5") {
            return Self::Unreachable(text);
        }
        Self::Other(text)
    }
}
