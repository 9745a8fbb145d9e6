//! Answers to commands: whether `reviews` and `gate-basics` will heed them, read off the same lines by the
//! same rules. What they will make of it later, and what other policies do, is not claimed.

use pointsman_policy_kit::command::{Delegations, is_allowed, is_reviewer, same_person};
use pointsman_policy_kit::text::{list, short};
use pointsman_policy_kit::{Command, commands};
use pointsman_sdk::react::Question;
use pointsman_sdk::{Command as Line, PullRequest};

use crate::Settings;
use crate::quote::inline;

/// All commands, for those who wrote none of them.
const HELP: &str = "Known are `r+`, `r=NAME`, `r-`, `delegate+`, `delegate=NAME`, `p=N`, `try`, `retry`, `cancel`, `hold` and `unhold`.";

/// Why an author's word on the own change is none.
const OWN: &str =
    "the author's own word does not count: somebody else has to approve, or to write `delegate+`";

/// What is said to the writer of a line.
pub(crate) fn answer(settings: &Settings, question: &Question, line: &str) -> String {
    let read: Vec<Command> = commands(line).collect();
    let writer = inline(&question.by);
    if read.is_empty() {
        return format!("{writer}: there is no command in this line. {HELP}");
    }
    let known = question
        .pull_request
        .as_ref()
        .and_then(|one| Some((one, place(question, one, line)?)));
    let Some((pull_request, place)) = known else {
        let words: Vec<String> = read.iter().map(word).collect();
        return format!(
            "{writer}: read as {}. Whether that counts is for the policies of the pipeline to say.",
            list(&words)
        );
    };

    let (before, rest) = pull_request.commands.split_at(place);
    let mut delegations = Delegations::default();
    for line in before {
        for command in commands(&line.text) {
            delegations.hear(line, &command, &pull_request.author, settings.permission);
        }
    }
    let (mut said, mut refused) = (Vec::new(), Vec::new());
    for line in rest.first().into_iter() {
        for command in &read {
            delegations.hear(line, command, &pull_request.author, settings.permission);
            let heard = Heard {
                settings,
                pull_request,
                line,
                delegations: &delegations,
            };
            match heard.effect(command) {
                Some(effect) if !said.contains(&effect) => said.push(effect),
                Some(_) => {}
                None => refused.push(word(command)),
            }
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

/// Where the line is among those of the pull request; none if it is no longer among those that are told of.
fn place(question: &Question, pull_request: &PullRequest, text: &str) -> Option<usize> {
    let is_it = |line: &Line| line.by == question.by && line.text == text;
    let lines = &pull_request.commands;
    // Somebody may write the same again before this is answered.
    let exact = lines
        .iter()
        .position(|line| is_it(line) && line.at == question.at);
    exact.or_else(|| lines.iter().rposition(is_it))
}

/// One line, and what was said before it.
struct Heard<'a> {
    settings: &'a Settings,
    pull_request: &'a PullRequest,
    line: &'a Line,
    delegations: &'a Delegations,
}

impl Heard<'_> {
    /// What comes of a command; none if its writer may not do enough.
    fn effect(&self, command: &Command) -> Option<String> {
        let (line, author) = (self.line, &self.pull_request.author);
        let least = self.settings.permission;
        let may = is_allowed(line, least);
        let is_reviewer = is_reviewer(line, author, least);
        let is_author = same_person(&line.by, author);
        let head = short(&line.head);
        Some(match command {
            Command::Approve if is_reviewer => format!("noted as a word {}", self.for_head()),
            Command::Approve => match self.delegations.delegator(&line.by) {
                Some(by) => format!(
                    "noted as the word of {}, who delegated it, {}",
                    inline(by),
                    self.for_head()
                ),
                None if is_author => OWN.to_owned(),
                None => return None,
            },
            Command::ApproveAs(name) if is_reviewer && same_person(name, author) => {
                format!("`r=` does not count, as {} is the author", inline(name))
            }
            Command::ApproveAs(name) if is_reviewer => {
                format!("noted as the word of {} {}", inline(name), self.for_head())
            }
            Command::ApproveAs(_) if is_author => OWN.to_owned(),
            Command::Unapprove if may || is_author => {
                "the approvals given so far no longer hold".to_owned()
            }
            Command::DelegateAuthor if is_reviewer => "the author may approve with `r+`".to_owned(),
            Command::Delegate(name) if is_reviewer => {
                format!("{} may approve with `r+`", inline(name))
            }
            Command::DelegateAuthor | Command::Delegate(_) if is_author => {
                "the author cannot delegate: that is for somebody who may approve".to_owned()
            }
            _ if !may => return None,
            Command::Try | Command::Retry | Command::Cancel if !self.is_of_head() => format!(
                "{} was for {head}, which is no longer the head: write it again",
                word(command)
            ),
            Command::Priority(priority) => format!("the priority is {priority}"),
            Command::Try => {
                format!("{head} is tried when a slot is free, and does not land by that")
            }
            Command::Retry => {
                format!("what did not pass of {head} is run again when its turn comes")
            }
            Command::Cancel => {
                format!(
                    "the tests of {head} are cancelled, until somebody writes `retry` or pushes"
                )
            }
            Command::Hold => "it is held until somebody writes `unhold`".to_owned(),
            Command::Unhold => "it is no longer held".to_owned(),
            _ => return None,
        })
    }

    fn is_of_head(&self) -> bool {
        self.line.head == self.pull_request.head
    }

    fn for_head(&self) -> String {
        let head = short(&self.line.head);
        match self.is_of_head() {
            true => format!("for {head}; another head needs another"),
            false => format!("for {head}, which is no longer the head"),
        }
    }
}

/// The command as it is quoted: without a name that somebody else chose.
fn word(command: &Command) -> String {
    match command {
        Command::Approve => "`r+`".to_owned(),
        Command::ApproveAs(_) => "`r=`".to_owned(),
        Command::Unapprove => "`r-`".to_owned(),
        Command::DelegateAuthor => "`delegate+`".to_owned(),
        Command::Delegate(_) => "`delegate=`".to_owned(),
        Command::Priority(priority) => format!("`p={priority}`"),
        Command::Try => "`try`".to_owned(),
        Command::Retry => "`retry`".to_owned(),
        Command::Cancel => "`cancel`".to_owned(),
        Command::Hold => "`hold`".to_owned(),
        Command::Unhold => "`unhold`".to_owned(),
    }
}
