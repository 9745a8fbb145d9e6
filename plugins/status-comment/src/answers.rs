//! Answers to commands.

use pointsman_policy_kit::text::{list, short};
use pointsman_policy_kit::{Command, Permission, commands};
use pointsman_sdk::PullRequest;
use pointsman_sdk::react::Question;

use crate::Settings;
use crate::quote::inline;

/// All commands, for those who wrote none of them.
const HELP: &str = "Known are `r+`, `r=NAME`, `r-`, `delegate+`, `delegate=NAME`, `p=N`, `try`, `retry`, `cancel`, `hold` and `unhold`.";

/// What is said to the writer of a line.
pub(crate) fn answer(settings: &Settings, question: &Question, line: &str) -> String {
    let read: Vec<Command> = commands(line).collect();
    let writer = inline(&question.by);
    if read.is_empty() {
        return format!("{writer}: there is no command in this line. {HELP}");
    }
    let pull_request = question.pull_request.as_ref();
    let head = pull_request.map_or("this head", |one| short(&one.head));
    let may = permission(question, line).map(|permission| permission >= settings.permission);
    let is_author = pull_request.is_some_and(|one| one.author == question.by);
    let mut said = Vec::new();
    let mut refused = Vec::new();
    for command in &read {
        // What an author may do without a permission: take approvals back, and approve by delegation.
        let is_authors = matches!(command, Command::Unapprove | Command::Approve) && is_author;
        match may {
            Some(false) if !is_authors => refused.push(format!("`{}`", word(command))),
            _ => said.push(effect(command, head)),
        }
    }
    if !refused.is_empty() {
        said.push(format!(
            "{} takes the permission {} here",
            list(&refused),
            settings.permission.as_str()
        ));
    }
    format!("{writer}: {}.", said.join("; "))
}

/// What the writer may do; none if the line is no longer among those that are known.
fn permission(question: &Question, text: &str) -> Option<Permission> {
    let lines = |pull_request: &PullRequest| {
        let mut lines = pull_request.commands.iter().rev();
        let line = lines.find(|line| line.by == question.by && line.text == text)?;
        Some(Permission::of(&line.attrs, "permission"))
    };
    question.pull_request.as_ref().and_then(lines)
}

/// What a command asks for. Whether it comes to that is for the policies of the pipeline to say.
fn effect(command: &Command, head: &str) -> String {
    match command {
        Command::Approve => format!("noted as a word for {head}; another head needs another"),
        Command::ApproveAs(name) => format!("noted as the word of {} for {head}", inline(name)),
        Command::Unapprove => "the approvals given so far no longer hold".to_owned(),
        Command::DelegateAuthor => "the author may approve with `r+`".to_owned(),
        Command::Delegate(name) => format!("{} may approve", inline(name)),
        Command::Priority(priority) => format!("the priority is {priority}"),
        Command::Try => format!("{head} is tried when a slot is free, and does not land by that"),
        Command::Retry => format!("{head} is tested again when its turn comes"),
        Command::Cancel => {
            format!("the tests of {head} are cancelled, until somebody writes `retry` or pushes")
        }
        Command::Hold => "it is held until somebody writes `unhold`".to_owned(),
        Command::Unhold => "it is no longer held".to_owned(),
    }
}

fn word(command: &Command) -> String {
    match command {
        Command::Approve => "r+".to_owned(),
        Command::ApproveAs(_) => "r=".to_owned(),
        Command::Unapprove => "r-".to_owned(),
        Command::DelegateAuthor => "delegate+".to_owned(),
        Command::Delegate(_) => "delegate=".to_owned(),
        Command::Priority(priority) => format!("p={priority}"),
        Command::Try => "try".to_owned(),
        Command::Retry => "retry".to_owned(),
        Command::Cancel => "cancel".to_owned(),
        Command::Hold => "hold".to_owned(),
        Command::Unhold => "unhold".to_owned(),
    }
}
