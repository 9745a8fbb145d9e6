//! What people asked for by commands.

use pointsman_policy_kit::command::is_allowed;
use pointsman_policy_kit::{Command, commands};
use pointsman_sdk::PullRequest;

use crate::Settings;

/// What people asked for, by the last word on each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `hold`, until `unhold`: who, whatever the head is.
    pub(crate) held_by: Option<String>,
    /// `cancel`, until `retry` or a new head: who.
    pub(crate) cancelled_by: Option<String>,
    /// Another for each time that somebody wrote `retry` for this head: when. How often people asked in
    /// other ways is for the host to say (`retest.count`), which `select` has from it.
    pub(crate) retest: Option<String>,
    /// Another for each time that somebody asked for a try of this head.
    pub(crate) try_build: Option<String>,
}

impl Asked {
    pub(crate) fn of(settings: &Settings, pull_request: &PullRequest) -> Self {
        let mut asked = Asked::default();
        let lines = pull_request.commands.iter();
        for line in lines.filter(|line| is_allowed(line, settings.permission)) {
            let is_of_head = line.head == pull_request.head;
            for command in commands(&line.text) {
                match command {
                    Command::Hold => asked.held_by = Some(line.by.clone()),
                    Command::Unhold => asked.held_by = None,
                    Command::Cancel if is_of_head => asked.cancelled_by = Some(line.by.clone()),
                    Command::Retry if is_of_head => {
                        asked.cancelled_by = None;
                        asked.retest = Some(line.at.to_string());
                    }
                    Command::Try if is_of_head => {
                        asked.cancelled_by = None;
                        asked.try_build = Some(line.at.to_string());
                    }
                    _ => {}
                }
            }
        }
        asked
    }
}
