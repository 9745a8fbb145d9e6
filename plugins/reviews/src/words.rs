//! What people said, in the order in which they said it.

use pointsman_policy_kit::command::{Delegations, is_allowed, is_reviewer, same_person};
use pointsman_policy_kit::{Command, Permission, commands};
use pointsman_sdk::review::{Question, Submitted};
use pointsman_sdk::{Command as Line, attr, packed};

use crate::{Settings, Stale};

/// The last decisive word of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    /// Who said it. Nobody has two.
    pub(crate) by: String,
    /// Whose approval it is: another one's with `r=NAME`, the delegator's where it was delegated.
    pub(crate) of: String,
    /// Who answers for it: the one who said it, or who delegated it. `r=ann` is not ann's own word.
    pub(crate) authority: String,
    pub(crate) word: Word,
    /// Names of the teams of the person who said it, where a review told them.
    pub(crate) teams: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Approved,
    /// Of an older head, so that it does not count.
    ApprovedOlder,
    ChangesRequested,
}

/// What was said of a pull request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// In the order in which each was said.
    pub(crate) voices: Vec<Voice>,
    /// `p=N`: the last one counts.
    pub(crate) priority: Option<i32>,
    /// Who last took the approvals back, if nobody approved since.
    pub(crate) unapproved_by: Option<String>,
    /// People who approved, whose word does not count as they may not do enough.
    pub(crate) powerless: Vec<String>,
}

enum Entry<'a> {
    Review(&'a Submitted),
    Line(&'a Line),
}

impl Said {
    pub(crate) fn of(settings: &Settings, question: &Question) -> Self {
        let mut reader = Reader {
            settings,
            question,
            said: Said::default(),
            delegations: Delegations::default(),
        };
        for entry in in_order(question) {
            match entry {
                Entry::Review(review) => reader.review(review),
                Entry::Line(line) => reader.line(line),
            }
        }
        reader.said
    }
}

/// Reviews and commands as one list. A dismissed review keeps its place among the reviews, though its
/// time is that of the dismissal: one that was given later stands.
fn in_order(question: &Question) -> Vec<Entry<'_>> {
    let mut at = u64::MAX;
    let mut reviews: Vec<(u64, Entry)> = Vec::new();
    for review in question.reviews.iter().rev() {
        at = at.min(review.at);
        reviews.push((at, Entry::Review(review)));
    }
    reviews.reverse();
    let lines = question.pull_request.commands.iter();
    let mut all = reviews;
    all.extend(lines.map(|line| (line.at, Entry::Line(line))));
    // Stable: of what was said in the same instant the reviews come first.
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, entry)| entry).collect()
}

struct Reader<'a> {
    settings: &'a Settings,
    question: &'a Question,
    said: Said,
    delegations: Delegations,
}

impl Reader<'_> {
    fn is_author(&self, name: &str) -> bool {
        same_person(name, &self.question.pull_request.author)
    }

    fn delegator(&self, name: &str) -> Option<String> {
        self.delegations.delegator(name).map(str::to_owned)
    }

    /// Whether an approval that was given for this head counts for the present one.
    fn holds(&self, head: &str, patch_id: &str) -> bool {
        let now = &self.question.pull_request;
        match self.settings.stale {
            _ if head == now.head => true,
            Stale::No => false,
            Stale::SamePatch => !patch_id.is_empty() && patch_id == now.patch_id,
            Stale::Yes => true,
        }
    }

    fn review(&mut self, review: &Submitted) {
        // The author has no word in a review, whatever the author may do in the repository.
        if self.is_author(&review.by) {
            return;
        }
        // Whether it may be dismissed was for the forge to say.
        if review.state == "dismissed" {
            self.say(&review.by, None);
            return;
        }
        let may = Permission::of(&review.attrs, "permission") >= self.settings.permission;
        let delegator = self.delegator(&review.by);
        let of = match (may, delegator) {
            (true, _) => review.by.clone(),
            (false, Some(delegator)) => delegator,
            (false, None) => {
                if review.state == "approved" && !self.said.powerless.contains(&review.by) {
                    self.said.powerless.push(review.by.clone());
                }
                return;
            }
        };
        let word = match review.state.as_str() {
            "approved" if self.holds(&review.head, &review.patch_id) => Word::Approved,
            "approved" => Word::ApprovedOlder,
            "changes-requested" => Word::ChangesRequested,
            // A comment, or a state that is not known yet, decides nothing.
            _ => return,
        };
        let teams = attr(&review.attrs, "teams").unwrap_or_default();
        let teams = packed::unpack(teams).map(str::to_owned).collect();
        let voice = Voice {
            by: review.by.clone(),
            authority: of.clone(),
            of,
            word,
            teams,
        };
        self.say(&review.by, Some(voice));
    }

    fn line(&mut self, line: &Line) {
        let may = is_allowed(line, self.settings.permission);
        let author = &self.question.pull_request.author;
        // Nobody is their own reviewer; and what an author may do by delegation is to approve.
        let is_reviewer = is_reviewer(line, author, self.settings.permission);
        for command in commands(&line.text) {
            self.delegations
                .hear(line, &command, author, self.settings.permission);
            match command {
                Command::Approve | Command::ApproveAs(_) => {
                    self.approve(line, &command, is_reviewer);
                }
                Command::Unapprove if may || self.is_author(&line.by) => {
                    let requests = |voice: &Voice| voice.word == Word::ChangesRequested;
                    self.said.voices.retain(requests);
                    self.said.unapproved_by = Some(line.by.clone());
                }
                Command::Priority(priority) if may => self.said.priority = Some(priority),
                _ => {}
            }
        }
    }

    fn approve(&mut self, line: &Line, command: &Command, is_reviewer: bool) {
        let (of, authority) = match (command, self.delegator(&line.by)) {
            (Command::ApproveAs(name), _) if is_reviewer => (name.clone(), line.by.clone()),
            (_, _) if is_reviewer => (line.by.clone(), line.by.clone()),
            (Command::Approve, Some(delegator)) => (delegator.clone(), delegator),
            _ => {
                if !self.said.powerless.contains(&line.by) {
                    self.said.powerless.push(line.by.clone());
                }
                return;
            }
        };
        if self.is_author(&of) {
            return;
        }
        let word = match self.holds(&line.head, "") {
            true => Word::Approved,
            false => Word::ApprovedOlder,
        };
        self.say(
            &line.by,
            Some(Voice {
                by: line.by.clone(),
                of,
                authority,
                word,
                teams: Vec::new(),
            }),
        );
    }

    /// The last word of a person stands in place of any before it; none takes that back.
    fn say(&mut self, by: &str, voice: Option<Voice>) {
        let voices = &mut self.said.voices;
        let before = voices.iter().position(|voice| same_person(&voice.by, by));
        let before = before.map(|at| voices.remove(at));
        let Some(mut voice) = voice else { return };
        // A command does not tell the teams; an earlier review may have.
        if voice.teams.is_empty() {
            voice.teams = before.map(|before| before.teams).unwrap_or_default();
        }
        voices.push(voice);
        self.said.unapproved_by = None;
    }
}
