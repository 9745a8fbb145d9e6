//! The one error of the host. It knows nothing of HTTP: `server::problem` maps it at the edge.

use std::borrow::Cow;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller can do something about it.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The database does not answer; nothing was written.
    #[error("the database does not answer")]
    Unavailable(#[source] anyhow::Error),
    /// A bug or a broken machine. The cause is logged, never sent.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

/// The result of nearly everything in the host.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of refusal: what a caller branches on first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong.
    Invalid,
    /// No token, or a wrong one.
    Unauthenticated,
    /// The token's role is too weak.
    Forbidden,
    /// It names something that is not there.
    NotFound,
    /// It is at odds with what is there.
    Conflict,
    /// What the caller saw has changed since.
    Precondition,
    /// It was there, and is gone for good.
    Gone,
    /// A body, a batch or a page over its limit.
    TooLarge,
    /// It would have taken too long.
    TimedOut,
    /// Too much at once; later it may work.
    Overloaded,
}

/// A refusal, in words for the caller.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Refusal {
    /// What kind.
    pub kind: Kind,
    /// Stable, for programs.
    pub code: Cow<'static, str>,
    /// What happened.
    pub detail: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The field at fault.
    pub field: Option<String>,
    /// Where in the field, in characters from 0.
    pub position: Option<u64>,
}

impl Refusal {
    /// A refusal with the code `code`.
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            detail: detail.into(),
            hint: None,
            field: None,
            position: None,
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says where in the field, in characters from 0.
    #[must_use]
    pub fn position(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// An invalid request: `field` is at fault.
pub fn invalid(code: &'static str, field: impl Into<String>, detail: impl Into<String>) -> Error {
    Refusal::new(Kind::Invalid, code, detail)
        .field(field)
        .into()
}

/// Something that is not there.
pub fn not_found(code: &'static str, detail: impl Into<String>) -> Error {
    Refusal::new(Kind::NotFound, code, detail).into()
}

/// A batch over its limit.
pub fn too_many(field: &'static str, limit: usize, given: usize) -> Error {
    Refusal::new(
        Kind::TooLarge,
        "batch_too_large",
        format!("{given} {field} in one request, at most {limit} are taken"),
    )
    .field(field)
    .hint("Split it into several requests.")
    .into()
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let Some(db) = error.as_database_error() else {
            return match error {
                E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                    Self::Unavailable(error.into())
                }
                other => Self::Internal(other.into()),
            };
        };
        let code = db.code().unwrap_or_default();
        match code.as_ref() {
            // query_canceled: our own statement_timeout.
            "57014" => Refusal::new(
                Kind::TimedOut,
                "query_timeout",
                "the query took longer than the time limit",
            )
            .hint("Narrow the filter: name a distro, or use a pattern with three literal characters in a row.")
            .into(),
            // check_violation: the constraint is named after the field it guards.
            "23514" => {
                let constraint = db.constraint().unwrap_or("check").to_owned();
                Refusal::new(
                    Kind::Invalid,
                    "value_invalid",
                    format!("a value does not have the form that `{constraint}` asks for"),
                )
                .hint("The OpenAPI description gives the form of each field.")
                .field(constraint)
                .into()
            }
            // Values that no text column can hold: NUL bytes, broken encodings.
            "22021" | "22P05" => {
                Refusal::new(Kind::Invalid, "text_invalid", "a text holds a NUL byte or broken UTF-8").into()
            }
            "2201B" => Refusal::new(Kind::Invalid, "pattern_invalid", db.message().to_owned()).into(),
            // Of migrations/0006: a subject has at most 64 notes.
            "PM006" => Refusal::new(Kind::Invalid, "notes_too_many", db.message().to_owned())
                .hint("Remove some that nobody needs: `pointsman note list` shows them.")
                .into(),
            "22025" => Refusal::new(Kind::Invalid, "pattern_invalid", db.message().to_owned())
                .hint("A `\\` in a LIKE pattern must be followed by the character it escapes.")
                .into(),
            "23505" => Refusal::new(
                Kind::Conflict,
                "conflict",
                format!("another one is there already ({})", db.constraint().unwrap_or("unique")),
            )
            .into(),
            // deadlock_detected, serialization_failure: somebody else was faster.
            "40P01" | "40001" => Refusal::new(
                Kind::Conflict,
                "write_conflict",
                "another batch changed the same rows at the same time; nothing was written",
            )
            .hint("Send the request again.")
            .into(),
            // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
            "57P01" | "57P02" | "57P03" | "53300" => Self::Unavailable(error.into()),
            _ => Self::Internal(error.into()),
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}
