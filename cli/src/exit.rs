//! Exit codes: what a script can tell apart.

use std::process::ExitCode;

/// How the command ended. The numbers are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It did not work, for a reason that none of the others names.
    Failure = 1,
    /// The command line is wrong; clap uses the same number.
    Usage = 2,
    /// What was asked for is not in the record.
    NotFound = 3,
    /// The token is missing, wrong, or allows too little.
    Refused = 4,
    /// The record is not as the request assumes.
    Conflict = 5,
    /// No server answered, or it cannot work right now: worth trying again.
    Unreachable = 6,
    /// It worked, and what was compared is not the same.
    Differs = 7,
    /// A demonstration did not go as it must.
    Unproven = 8,
}

impl Exit {
    /// For `--help`.
    pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  not found
  4  refused: the token is missing, wrong or allows too little
  5  conflict: it exists already, or it changed since you looked
  6  the server could not be reached or is not ready: worth trying again
  7  a replay came out otherwise than the record
  8  a demonstration did not go as it must";

    /// What a status of the API means to a script.
    pub(crate) fn of_status(status: u16) -> Exit {
        match status {
            200..=299 => Exit::Ok,
            404 | 410 => Exit::NotFound,
            401 | 403 => Exit::Refused,
            409 | 412 | 428 => Exit::Conflict,
            502..=504 => Exit::Unreachable,
            _ => Exit::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_map_to_codes() {
        let codes: Vec<(u16, u8)> = [
            200, 201, 400, 401, 403, 404, 409, 410, 412, 413, 422, 428, 500, 503,
        ]
        .into_iter()
        .map(|status| (status, Exit::of_status(status) as u8))
        .collect();
        insta::assert_compact_debug_snapshot!(codes, @"[(200, 0), (201, 0), (400, 1), (401, 4), (403, 4), (404, 3), (409, 5), (410, 3), (412, 5), (413, 1), (422, 1), (428, 5), (500, 1), (503, 6)]");
    }

    #[test]
    fn help_names_every_code() {
        let exits = [
            Exit::Ok,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Refused,
            Exit::Conflict,
            Exit::Unreachable,
            Exit::Differs,
            Exit::Unproven,
        ];
        for exit in exits {
            let line = format!("\n  {}  ", exit as u8);
            assert!(Exit::HELP.contains(&line), "{exit:?}");
        }
    }
}
