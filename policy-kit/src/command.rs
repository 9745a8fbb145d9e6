//! What people write to the bot.
//!
//! A line may hold several commands (`r+ p=5`); reading stops at the first word that is none, so that
//! `r+ thank you` approves, and a sentence that only mentions a command somewhere gives none.

use pointsman_sdk::Command as Line;

use crate::Permission;

/// Priorities that people may give, either way: enough to order anything, and far from where sums of
/// them would overflow.
pub const PRIORITY_LIMIT: i32 = 1_000;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `r+`: I approve this head.
    Approve,
    /// `r=NAME`: that person approved this head.
    ApproveAs(String),
    /// `r-`: the approvals given so far no longer hold.
    Unapprove,
    /// `delegate+`: the author may approve.
    DelegateAuthor,
    /// `delegate=NAME`: that person may approve.
    Delegate(String),
    /// `p=N`: its place in the queue; more goes first.
    Priority(i32),
    /// `try`: test it, do not land it.
    Try,
    /// `retry`: test this head again.
    Retry,
    /// `cancel`: stop testing this head, until `retry`.
    Cancel,
    /// `hold`: neither test nor land it, until `unhold`.
    Hold,
    /// `unhold`.
    Unhold,
}

impl Command {
    fn parse(word: &str) -> Option<Self> {
        let name = |rest: &str| {
            let name = rest.strip_prefix('@').unwrap_or(rest);
            (!name.is_empty()).then(|| name.to_owned())
        };
        Some(match word {
            "r+" => Command::Approve,
            "r-" => Command::Unapprove,
            "delegate+" => Command::DelegateAuthor,
            "try" => Command::Try,
            "retry" => Command::Retry,
            "cancel" => Command::Cancel,
            "hold" => Command::Hold,
            "unhold" => Command::Unhold,
            _ => {
                let (key, value) = word.split_once('=')?;
                match key {
                    "r" => Command::ApproveAs(name(value)?),
                    "delegate" => Command::Delegate(name(value)?),
                    "p" => {
                        let priority: i32 = value.parse().ok()?;
                        Command::Priority(priority.clamp(-PRIORITY_LIMIT, PRIORITY_LIMIT))
                    }
                    _ => return None,
                }
            }
        })
    }
}

/// The commands of a line, in their order.
pub fn commands(line: &str) -> impl Iterator<Item = Command> + '_ {
    line.split_whitespace().map_while(Command::parse)
}

/// Whether two names are the same person's: forges do not tell upper from lower case.
#[must_use]
pub fn same_person(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.strip_prefix('@').unwrap_or(name).to_ascii_lowercase();
    plain(one) == plain(other)
}

/// Whether the writer of a line may do at least this in the repository.
#[must_use]
pub fn is_allowed(line: &Line, least: Permission) -> bool {
    Permission::of(&line.attrs, "permission") >= least
}

/// Whether the writer of a line is a reviewer of the pull request: whoever may do at least this, and is not
/// its author.
#[must_use]
pub fn is_reviewer(line: &Line, author: &str, least: Permission) -> bool {
    is_allowed(line, least) && !same_person(&line.by, author)
}

/// Who may approve as a reviewer said so (`delegate+`, `delegate=NAME`).
#[derive(Clone, Debug, Default)]
pub struct Delegations {
    /// Who may, and whose word that is, in the order in which it was said.
    delegates: Vec<(String, String)>,
}

impl Delegations {
    /// Hears one command of a line; only a reviewer's counts.
    pub fn hear(&mut self, line: &Line, command: &Command, author: &str, least: Permission) {
        let delegate = match command {
            Command::DelegateAuthor => author,
            Command::Delegate(name) => name,
            _ => return,
        };
        if is_reviewer(line, author, least) {
            self.delegates.push((delegate.to_owned(), line.by.clone()));
        }
    }

    /// Whose word an approval by this person is, if somebody delegated it: who did so last.
    #[must_use]
    pub fn delegator(&self, name: &str) -> Option<&str> {
        let mut newest = self.delegates.iter().rev();
        let found = newest.find(|(delegate, _)| same_person(delegate, name));
        found.map(|(_, by)| by.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(line: &str) -> Vec<Command> {
        commands(line).collect()
    }

    #[test]
    fn a_line_is_read_up_to_the_first_other_word() {
        assert_eq!(read("r+ p=5"), [Command::Approve, Command::Priority(5)]);
        assert_eq!(
            read("  r=@ann thank you"),
            [Command::ApproveAs("ann".to_owned())]
        );
        assert_eq!(read("delegate=bo"), [Command::Delegate("bo".to_owned())]);
        assert_eq!(read("please r+"), []);
        assert_eq!(read("p=high"), []);
        assert_eq!(read("r="), []);
        assert_eq!(read("p=-99999"), [Command::Priority(-PRIORITY_LIMIT)]);
        assert!(same_person("@Ann", "ann"));
    }

    proptest! {
        #[test]
        fn any_line_can_be_read(line in any::<String>()) {
            prop_assert!(read(&line).len() <= line.split_whitespace().count());
        }
    }
}
