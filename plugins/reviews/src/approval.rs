//! Whether the head is approved, and who is missing.

use pointsman_policy_kit::command::same_person;
use pointsman_policy_kit::text::{REASON_BYTES, clip, count, list, short};
use pointsman_sdk::review::{Answer, Question};
use pointsman_sdk::{Approval, Basis};

use crate::Settings;
use crate::words::{Said, Voice, Word};

/// Whether the present head is approved.
#[must_use]
pub fn decide(settings: &Settings, question: &Question) -> Answer {
    let said = Said::of(settings, question);
    let (approval, wanted, code, text) = judge(settings, question, &said);
    let mut basis = Basis::because(code, clip(&text, REASON_BYTES));
    if let Some(priority) = said.priority {
        basis = basis.tag("priority", priority.to_string());
    }
    Answer {
        approval,
        wanted,
        basis,
    }
}

type Judged = (Approval, Vec<String>, &'static str, String);

fn judge(settings: &Settings, question: &Question, said: &Said) -> Judged {
    let pull_request = &question.pull_request;
    let by = |word: Word| -> Vec<&Voice> {
        said.voices
            .iter()
            .filter(|voice| voice.word == word)
            .collect()
    };

    let requests: Vec<String> = by(Word::ChangesRequested)
        .iter()
        .map(|voice| voice.by.clone())
        .collect();
    if !requests.is_empty() {
        let text = format!(
            "{} asked for changes: make them and ask for another review, or have the review dismissed.",
            list(&requests)
        );
        return (
            Approval::Rejected,
            requests,
            "review.changes-requested",
            text,
        );
    }
    let is_blocking = |name: &str| settings.blocking_labels.iter().any(|label| label == name);
    if let Some(label) = pull_request
        .labels
        .iter()
        .find(|label| is_blocking(&label.name))
    {
        let text = format!(
            "{} put the label {} on it: take it off when it may be merged.",
            label.by, label.name
        );
        return (Approval::Pending, Vec::new(), "label.blocking", text);
    }

    let approvals = by(Word::Approved);
    let mut people: Vec<String> = Vec::new();
    for voice in &approvals {
        if !people.iter().any(|name| same_person(name, &voice.of)) {
            people.push(voice.of.clone());
        }
    }
    let has_person = |name: &str| {
        approvals
            .iter()
            .any(|voice| same_person(&voice.authority, name))
    };
    let has_team = |team: &str| {
        let is_of = |voice: &&Voice| voice.teams.iter().any(|held| same_team(held, team));
        approvals.iter().any(is_of)
    };
    let missing_people = settings.people.iter().filter(|name| {
        // The author's own word never counts, so waiting for it would be for ever.
        !same_person(name, &pull_request.author) && !has_person(name)
    });
    let missing_teams = settings.teams.iter().filter(|team| !has_team(team));
    let plain = |name: &String| name.strip_prefix('@').unwrap_or(name).to_owned();
    let mut wanted: Vec<String> = missing_people.map(plain).collect();
    wanted.extend(missing_teams.map(|team| format!("@{}", plain(team))));
    let required = settings.required as usize;
    if people.len() >= required && wanted.is_empty() {
        let text = match people.as_slice() {
            [] => "No approval is required, and nobody asked for changes.".to_owned(),
            people => format!("{} approved {}.", list(people), short(&pull_request.head)),
        };
        return (Approval::Approved, wanted, "review.approved", text);
    }
    if !wanted.is_empty() {
        let text = format!("The approval of {} is missing.", list(&wanted));
        return (Approval::Pending, wanted, "review.wanted", text);
    }

    let older: Vec<String> = by(Word::ApprovedOlder)
        .iter()
        .map(|voice| voice.by.clone())
        .collect();
    let have = format!(
        "{} of {} approved {}",
        people.len(),
        count(required, "person", "people"),
        short(&pull_request.head)
    );
    if !older.is_empty() {
        let text = format!(
            "{have}; {} approved an older head, and should look at this one.",
            list(&older)
        );
        return (Approval::Pending, older, "review.stale", text);
    }
    if let Some(by) = &said.unapproved_by {
        let text = format!("{have}: {by} took the approvals back with `r-`.");
        return (Approval::Pending, Vec::new(), "review.taken-back", text);
    }
    let is_own = |name: &String| same_person(name, &pull_request.author);
    if !said.powerless.is_empty() && said.powerless.iter().all(is_own) {
        let text = format!(
            "{have}; the author's own word does not count: somebody else has to approve, or to write `delegate+`."
        );
        return (Approval::Pending, Vec::new(), "review.no-permission", text);
    }
    if !said.powerless.is_empty() {
        let text = format!(
            "{have}; the word of {} does not count, as it takes the permission {}.",
            list(&said.powerless),
            settings.permission.as_str()
        );
        return (Approval::Pending, Vec::new(), "review.no-permission", text);
    }
    let text = format!("{have}: approve it in a review, or write `r+`.");
    (Approval::Pending, Vec::new(), "review.missing", text)
}

/// `org/team`, with or without `@`; a forge may leave the organisation out.
fn same_team(held: &str, wanted: &str) -> bool {
    let plain = |name: &str| name.strip_prefix('@').unwrap_or(name).to_ascii_lowercase();
    let (held, wanted) = (plain(held), plain(wanted));
    held == wanted
        || (!held.contains('/') && wanted.split_once('/').is_some_and(|(_, team)| team == held))
}

#[cfg(test)]
mod tests;
