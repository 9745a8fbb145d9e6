//! Verbs about repositories, pull requests and lanes.

use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::args::{Paging, Why};

/// Repositories of the local forge
#[derive(Subcommand, Debug)]
pub(crate) enum Repo {
    /// List repositories, with what to push to
    #[command(after_help = "\
Examples:
  pointsman repo list
  git clone $(pointsman repo list --json | jq -r 'select(.name == \"driver\") | .place')")]
    List,
    /// Make an empty repository
    #[command(after_help = "\
Examples:
  pointsman repo create driver
  pointsman repo create driver --branch trunk")]
    Create {
        /// Its name
        name: String,
        /// The branch that a clone checks out
        #[arg(long, value_name = "BRANCH", default_value = "main")]
        branch: String,
        #[command(flatten)]
        why: Why,
    },
}

/// A pull request: repository#number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullName {
    pub(crate) repository: String,
    pub(crate) number: i32,
}

impl FromStr for PullName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text
            .rsplit_once(['#', '/'])
            .and_then(|(repository, number)| {
                let number = number.parse().ok().filter(|n| *n > 0)?;
                (!repository.is_empty()).then(|| PullName {
                    repository: repository.to_owned(),
                    number,
                })
            });
        named.ok_or_else(|| "a pull request is REPOSITORY#NUMBER, or REPOSITORY/NUMBER".to_owned())
    }
}

/// Pull requests of the local forge
#[derive(Subcommand, Debug)]
pub(crate) enum Pr {
    /// List pull requests, the newest first
    #[command(after_help = "\
Examples:
  pointsman pr list driver
  pointsman pr list driver --state open --approval approved --passing")]
    List {
        /// The repository
        repository: String,
        /// open, landed, closed
        #[arg(long)]
        state: Option<String>,
        /// Of this target branch
        #[arg(long, value_name = "BRANCH")]
        target: Option<String>,
        /// By this author
        #[arg(long)]
        author: Option<String>,
        /// approved, pending, rejected
        #[arg(long)]
        approval: Option<String>,
        /// Only those that pass alone on the target's present tip
        #[arg(long)]
        passing: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a pull request and where it stands
    #[command(after_help = "\
Examples:
  pointsman pr show driver#12")]
    Show {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
    },
    /// Say why a pull request is not merging: the first condition that is not met, and who can meet it
    #[command(after_help = "\
Examples:
  pointsman pr why driver#12
  pointsman pr why driver#12 --json | jq -r '[.conditions[] | select(.met | not)][0].remedy'")]
    Why {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
    },
    /// Open a pull request for a branch that was pushed
    #[command(after_help = "\
Examples:
  git push origin fix && pointsman pr create driver fix 'Mend the probe' -m 'found by the lab'
  pointsman pr create driver topic 'From a fork' --from driver-ann --draft
  pointsman pr create driver topic 'From a stranger' --from driver-eve --author eve --permission read")]
    Create(NewPull),
    /// Change a pull request
    #[command(after_help = "\
Examples:
  pointsman pr edit driver#12 --ready
  pointsman pr edit driver#12 --title 'A better title'")]
    Edit(EditPull),
    /// Close a pull request
    #[command(after_help = "\
Examples:
  pointsman pr close driver#12 -m 'superseded by driver#14'")]
    Close {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        #[command(flatten)]
        why: Why,
    },
    /// Review a pull request
    #[command(after_help = "\
Examples:
  pointsman pr review driver#12 approved
  pointsman pr review driver#12 changes-requested -m 'the error is swallowed'")]
    Review {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        /// approved, changes-requested, commented, dismissed
        state: String,
        /// The head that was looked at [default: the present one]
        #[arg(long, value_name = "COMMIT")]
        head: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// List the reviews of a pull request, the oldest first
    #[command(after_help = "\
Examples:
  pointsman pr reviews driver#12
  pointsman pr reviews driver#12 --all --json | jq -r 'select(.state == \"approved\") | .by'")]
    Reviews {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        #[command(flatten)]
        paging: Paging,
    },
    /// Comment on a pull request; a line like `@pointsman r+` is a command
    #[command(after_help = "\
Examples:
  pointsman pr comment driver#12 '@pointsman r+'
  pointsman pr comment driver#12 'What about the error path?'")]
    Comment {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        /// The text
        body: String,
    },
    /// List the comments on a pull request, the oldest first
    #[command(after_help = "\
Examples:
  pointsman pr comments driver#12
  pointsman pr comments driver#12 --all --json | jq -r .body")]
    Comments {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        #[command(flatten)]
        paging: Paging,
    },
    /// Put a label on a pull request, or take it off
    #[command(after_help = "\
Examples:
  pointsman pr label driver#12 kernel-e2e
  pointsman pr label driver#12 kernel-e2e --off")]
    Label {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        /// The label
        label: String,
        /// Take it off
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Let the present head of an outsider's pull request run
    #[command(after_help = "\
Examples:
  pointsman pr authorise driver#12 --head 0123456789012345678901234567890123456789")]
    Authorise(Act),
    /// Run the jobs of a pull request again
    #[command(after_help = "\
Examples:
  pointsman pr retest driver#12 -m 'the lab was down'")]
    Retest(Act),
    /// Look at a pull request again, and land it if it may; nothing that is in its way is passed over
    #[command(after_help = "\
Examples:
  pointsman pr try-merge driver#12
  pointsman pr try-merge driver#12 --head 0123456789012345678901234567890123456789")]
    TryMerge {
        /// The pull request: REPOSITORY#NUMBER
        pull: PullName,
        /// The head that is meant; if it is another one by now, nothing is done
        #[arg(long, value_name = "COMMIT")]
        head: Option<String>,
    },
}

/// A pull request to open.
#[derive(Args, Debug)]
pub(crate) struct NewPull {
    /// The repository
    pub(crate) repository: String,
    /// The branch that has the change
    pub(crate) branch: String,
    /// One line
    pub(crate) title: String,
    /// The description
    #[arg(long, default_value = "")]
    pub(crate) body: String,
    /// The target branch
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    pub(crate) target: String,
    /// The repository that the branch lies in, if another one (a fork)
    #[arg(long, value_name = "REPOSITORY")]
    pub(crate) from: Option<String>,
    /// Not to land yet
    #[arg(long)]
    pub(crate) draft: bool,
    /// Who proposes it, if somebody else: for admins, such as a bridge from another forge
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Option<String>,
    /// What the author may do in the repository [default: write]
    #[arg(
        long,
        value_name = "PERMISSION",
        requires = "author",
        value_parser = ["none", "read", "triage", "write", "maintain", "admin"]
    )]
    pub(crate) permission: Option<String>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "NAME")]
    pub(crate) labels: Vec<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// What to change.
#[derive(Args, Debug)]
pub(crate) struct EditPull {
    /// The pull request: REPOSITORY#NUMBER
    pub(crate) pull: PullName,
    /// One line
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// The description
    #[arg(long)]
    pub(crate) body: Option<String>,
    /// It is not to land yet
    #[arg(long, conflicts_with = "ready")]
    pub(crate) draft: bool,
    /// It is no draft any more
    #[arg(long)]
    pub(crate) ready: bool,
    /// Open it again
    #[arg(long)]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// A word about the present head.
#[derive(Args, Debug)]
pub(crate) struct Act {
    /// The pull request: REPOSITORY#NUMBER
    pub(crate) pull: PullName,
    /// The head that is meant; if it is another one by now, nothing is done
    #[arg(long, value_name = "COMMIT")]
    pub(crate) head: Option<String>,
    #[command(flatten)]
    pub(crate) why: Why,
}

/// Lanes: pull requests that are tested as one, and land as one
#[derive(Subcommand, Debug)]
pub(crate) enum Lane {
    /// List the lanes of a pipeline, the newest first
    #[command(after_help = "\
Examples:
  pointsman lane list main --living
  pointsman lane list main --number 12")]
    List {
        /// The pipeline
        pipeline: String,
        /// Only those that have not ended
        #[arg(long)]
        living: bool,
        /// In this state
        #[arg(long)]
        state: Option<String>,
        /// With this pull request in it
        #[arg(long, value_name = "N")]
        number: Option<i32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a lane with its jobs and their attempts
    #[command(after_help = "\
Examples:
  pointsman lane show 7")]
    Show {
        /// The lane
        lane: i64,
    },
    /// Print the log of a job
    #[command(after_help = "\
Examples:
  pointsman lane log 7
  pointsman lane log 7 --job unit --attempt 1")]
    Log {
        /// The lane
        lane: i64,
        /// The job [default: the first that did not pass, else the first]
        #[arg(long)]
        job: Option<String>,
        /// The attempt [default: the last]
        #[arg(long, value_name = "N")]
        attempt: Option<i32>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_request_is_named_by_repository_and_number() {
        let named = PullName {
            repository: "driver".to_owned(),
            number: 12,
        };
        assert_eq!("driver#12".parse(), Ok(named.clone()));
        assert_eq!("driver/12".parse(), Ok(named));
        for wrong in [
            "driver",
            "#12",
            "driver#",
            "driver#-1",
            "driver#0",
            "driver#x",
        ] {
            assert!(wrong.parse::<PullName>().is_err(), "{wrong}");
        }
    }
}
