//! What went wrong, as the person or script at the other end needs it: one `error:` line, a `hint:`
//! where something can be done about it, and an exit code.

use std::io;

use pointsman_api::problem::Problem;

use crate::exit::Exit;

/// Why a verb ended without doing what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server refused the request and said why.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// Something that is no Pointsman answered, or a proxy in front of it.
    #[error("{address} answered with status {status}: {text}")]
    Reply {
        address: String,
        status: u16,
        text: String,
    },
    /// Nothing answered.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        address: String,
        cause: String,
        hint: String,
    },
    /// The arguments make no sense together, in a way that clap cannot see.
    #[error("{message}")]
    Usage { message: String, hint: String },
    /// The host, in this very process, refused.
    #[error("{message}")]
    Refused {
        message: String,
        hint: Option<String>,
        exit: Exit,
    },
    /// Anything else.
    #[error("{message}")]
    Failed {
        message: String,
        hint: Option<String>,
    },
    /// Whoever read stdout went away: nothing to say, and no error.
    #[error("the reader of standard output went away")]
    ReaderGone,
}

impl Error {
    pub(crate) fn failed(message: impl Into<String>) -> Error {
        Error::Failed {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Failed {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Usage {
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Error::Problem(problem) => Exit::of_status(problem.status),
            Error::Reply { status, .. } => match Exit::of_status(*status) {
                // A success that could not be read is none.
                Exit::Ok => Exit::Failure,
                exit => exit,
            },
            Error::Unreachable { .. } => Exit::Unreachable,
            Error::Usage { .. } => Exit::Usage,
            Error::Refused { exit, .. } => *exit,
            Error::Failed { .. } => Exit::Failure,
            Error::ReaderGone => Exit::Ok,
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            // The server's own hint is about headers, which nobody types here.
            Error::Problem(problem) if problem.status == 401 => Some(
                "name the file of a token with --token-file or POINTSMAN_TOKEN_FILE; an admin makes one with `pointsman token create`",
            ),
            Error::Problem(problem) => problem.hint.as_deref(),
            Error::Reply { status: 504, .. } => {
                Some("it took too long: ask for less at once, or try again later")
            }
            Error::Reply { status: 500.., .. } => {
                Some("the log of the server, or of a proxy in front of it, says more")
            }
            Error::Reply { .. } => {
                Some("check --url and POINTSMAN_URL: is that the address of a Pointsman server?")
            }
            Error::Unreachable { hint, .. } | Error::Usage { hint, .. } => Some(hint),
            Error::Failed { hint, .. } | Error::Refused { hint, .. } => hint.as_deref(),
            Error::ReaderGone => None,
        }
    }

    /// Whether the fault is the server's, so that its log is where to look.
    pub(crate) fn is_the_servers(&self) -> bool {
        matches!(self, Error::Problem(problem) if problem.status >= 500)
    }

    /// What finds this request in the server's log.
    pub(crate) fn details(&self) -> Option<String> {
        let Error::Problem(problem) = self else {
            return None;
        };
        let request = problem.request_id.as_deref().unwrap_or("unknown");
        Some(format!(
            "status {}, code {}, request {request}",
            problem.status, problem.code
        ))
    }
}

/// The server's words, with the place of the fault where they do not have it.
fn describe(problem: &Problem) -> String {
    let mut text = problem.detail.clone();
    if text.is_empty() {
        text.clone_from(&problem.title);
    }
    match (&problem.field, problem.position) {
        (Some(field), Some(at)) => text += &format!(" (in {field}, at character {at})"),
        (Some(field), None) if !text.contains(field.as_str()) => text += &format!(" (in {field})"),
        (None, Some(at)) => text += &format!(" (at character {at})"),
        _ => {}
    }
    text
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        Error::failed(format!("{error:#}"))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::hinted(
            format!("cannot read the server's answer: {error}"),
            "this command and the server may be of different versions: compare `pointsman --version`",
        )
    }
}

/// Only for writes to stdout; what else can fail says which file it was about.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Error::ReaderGone,
            _ => Error::failed(format!("cannot write to standard output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: "Unprocessable Content".to_owned(),
            status,
            code: "pattern_invalid".to_owned(),
            detail: "unclosed group".to_owned(),
            hint: None,
            field: Some("/ignores/0/pattern".to_owned()),
            position: Some(4),
            request_id: Some("r-1".to_owned()),
        }
    }

    #[test]
    fn a_problem_names_the_place() {
        let error = Error::Problem(Box::new(problem(422)));
        insta::assert_snapshot!(error, @"unclosed group (in /ignores/0/pattern, at character 4)");
        insta::assert_snapshot!(error.details().unwrap(), @"status 422, code pattern_invalid, request r-1");
        assert_eq!(error.exit(), Exit::Failure);
        assert_eq!(error.hint(), None);
    }

    #[test]
    fn a_refusal_says_how_to_get_in() {
        let error = Error::Problem(Box::new(problem(401)));
        assert_eq!(error.exit(), Exit::Refused);
        assert!(error.hint().unwrap().contains("--token-file"));
    }

    #[test]
    fn the_servers_hint_is_passed_on() {
        let mut problem = problem(403);
        problem.hint = Some("ask Ann".to_owned());
        assert_eq!(Error::Problem(Box::new(problem)).hint(), Some("ask Ann"));
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(error.exit(), Exit::Ok);
        assert_eq!(
            Error::from(io::Error::other("disk full")).exit(),
            Exit::Failure
        );
    }
}
