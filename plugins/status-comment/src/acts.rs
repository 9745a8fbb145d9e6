//! What is said about an event.

use pointsman_policy_kit::text::{clip, short};
use pointsman_sdk::react::{Act, Answer, Question};
use pointsman_sdk::{Basis, Work, attr};

use crate::answers::answer;
use crate::quote::{block, inline, link};
use crate::{Comments, Settings};

/// Bytes of a comment: half of the contract's limit. A reason of the size below fits in it, quoted.
const BODY_BYTES: usize = 8 * 1_024;

/// Bytes of a reason that are quoted: the contract's limit for one.
const REASON_BYTES: usize = 1_024;

/// Bytes of a status's text: what forges take without cutting.
const STATUS_BYTES: usize = 140;

/// What is said about an event. Most events are nobody's news.
#[must_use]
pub fn decide(settings: &Settings, question: &Question) -> Answer {
    let teller = Teller { settings, question };
    let acts = match question.event.as_str() {
        "verdict" => teller.verdict(),
        "landed" => vec![teller.comment("landed", &teller.landed())],
        // It may be held and let go many times: the status says so, without a comment for each.
        "held" => vec![teller.status("pending", "held")],
        "target-moved" => vec![teller.moved()],
        "commanded" if settings.answer_commands => match teller.attr("command") {
            Some(line) => vec![teller.comment("command", &answer(settings, question, line))],
            None => Vec::new(),
        },
        _ => Vec::new(),
    };
    let basis = match acts.as_slice() {
        [] => Basis::because(
            "event.quiet",
            format!("Nothing is said about `{}`.", clip(&question.event, 100)),
        ),
        _ => Basis::because(
            "event.told",
            format!(
                "The people of the pull request are told about `{}`.",
                clip(&question.event, 100)
            ),
        ),
    };
    Answer::new(acts, basis)
}

struct Teller<'a> {
    settings: &'a Settings,
    question: &'a Question,
}

impl Teller<'_> {
    fn attr(&self, key: &str) -> Option<&str> {
        attr(&self.question.attrs, key).filter(|value| !value.is_empty())
    }

    fn reason(&self) -> String {
        let text = self.attr("reason.text").unwrap_or("No reason was given.");
        block(&clip(text, REASON_BYTES))
    }

    fn link(&self) -> Option<&str> {
        self.attr("link").and_then(link)
    }

    /// The head that the event is about, where it says so. The pull request is as it is now: its head may be
    /// another one by now, of which nobody knows anything.
    fn head(&self) -> Option<&str> {
        self.attr("head")
    }

    fn verdict(&self) -> Vec<Act> {
        let verdict = self.attr("verdict").unwrap_or("inconclusive");
        let (state, headline) = match verdict {
            "pass" => ("success", "Passed"),
            "fail" => ("failure", "Failed"),
            // Neither: nobody knows, and green it is not.
            _ => ("error", "Inconclusive"),
        };
        let mut acts = vec![self.status(state, headline)];
        let key = match self.settings.comments {
            Comments::Each => "verdict",
            Comments::Failures if state != "success" => "verdict",
            Comments::Latest => "latest",
            Comments::Failures | Comments::None => return acts,
        };
        let mut body = format!("**{headline}**{}\n\n{}", self.subject(), self.reason());
        if let Some(link) = self.link() {
            body.push_str(&format!("\n[Log and artifacts]({link})\n"));
        }
        acts.push(self.comment(key, &body));
        acts
    }

    /// What exactly the verdict is of: without that an old one is read as a new one.
    fn subject(&self) -> String {
        let mut text = String::new();
        if let Some(head) = self.head() {
            text.push_str(&format!(": head {}", short(head)));
            let pull_request = self.question.pull_request.as_ref();
            if pull_request.is_some_and(|one| one.head != head) {
                text.push_str(", which is no longer the head");
            }
        }
        let Some(work) = &self.question.work else {
            return text;
        };
        text.push_str(&format!(
            ", {} of {}",
            inline(&work.purpose),
            inline(&work.name)
        ));
        let commits = [("as", &work.commit), ("on", &work.base)];
        for (word, commit) in commits.into_iter().filter(|(_, commit)| !commit.is_empty()) {
            text.push_str(&format!(" {word} {}", short(commit)));
        }
        text
    }

    /// What people see is of an older commit from here on: that is not green any more, and not red.
    fn moved(&self) -> Act {
        let pull_request = self.question.pull_request.as_ref();
        let target = pull_request.map_or("the branch", |one| &one.target);
        self.status(
            "pending",
            &format!("{target} moved: the last verdict was on an older commit"),
        )
    }

    fn landed(&self) -> String {
        let work = self.question.work.as_ref();
        let commit = work
            .map(|work| work.commit.as_str())
            .filter(|commit| !commit.is_empty());
        let target = self
            .question
            .pull_request
            .as_ref()
            .map(|one| inline(&one.target));
        let into = target
            .map(|target| format!(" on {target}"))
            .unwrap_or_default();
        match commit {
            Some(commit) => format!("Landed{into} as {}.", short(commit)),
            None => format!("Landed{into}."),
        }
    }

    fn status(&self, state: &str, headline: &str) -> Act {
        let text = match self.attr("reason.text") {
            Some(reason) => {
                let plain: String = reason
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect();
                format!("{headline}: {plain}")
            }
            None => headline.to_owned(),
        };
        let context = match self
            .question
            .work
            .as_ref()
            .map(|work: &Work| work.purpose.as_str())
        {
            None | Some("" | "merge") => self.settings.context.clone(),
            Some(purpose) => format!("{}/{purpose}", self.settings.context),
        };
        let text = clip(&text, STATUS_BYTES);
        let mut args = vec![
            ("context", context),
            ("state", state.to_owned()),
            ("text", text),
        ];
        if let Some(link) = self.link() {
            args.push(("link", link.to_owned()));
        }
        Act::new("status", args)
    }

    /// The key is made of the event alone, so that the same event has one comment; `latest` is the same
    /// for all, and its comment is edited.
    fn comment(&self, kind: &str, body: &str) -> Act {
        let question = self.question;
        let key = match kind {
            "latest" => "verdict.latest".to_owned(),
            // One comment may hold several lines, of the same person and instant.
            "command" => {
                let line = self.attr("command").unwrap_or_default();
                format!(
                    "command.{}.{:016x}",
                    question.at,
                    fnv(&[&question.by, line])
                )
            }
            kind => {
                let work = question.work.as_ref();
                let words =
                    work.map(|work| [work.kind.as_str(), &work.purpose, &work.name, &work.commit]);
                format!(
                    "{kind}.{}.{:016x}",
                    question.at,
                    fnv(&words.unwrap_or_default())
                )
            }
        };
        Act::new(
            "comment",
            [("key", key), ("body", clip(body.trim_end(), BODY_BYTES))],
        )
    }
}

/// FNV-1a: it only has to tell events of one pull request in one instant apart.
fn fnv(words: &[&str]) -> u64 {
    let mut mixed: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mixed
}

#[cfg(test)]
mod tests;
