//! Whether there is a pin, and whether a run is needed.

use pointsman_policy_kit::text::{REASON_BYTES, clip, short};
use pointsman_sdk::gate::Answer;
use pointsman_sdk::react::{Act, Question};
use pointsman_sdk::{Basis, Found, Need, Problem, PullRequest, Stop, Work};

use crate::Settings;

/// Hex digits of a commit's id.
const ID_DIGITS: usize = 40;

/// What is said of a need: its code, and the sentence.
type Said = (Need, &'static str, String);

/// Whether what changes matters.
enum Paths {
    /// No pattern is set.
    All,
    /// This one does.
    Relevant(String),
    /// None of so many does.
    Irrelevant(usize),
    /// Not all are known, and any of the others might.
    Unknown,
}

/// Whether the work needs a run; `found` is the pin's file, as the host found it. The pin is handed on as
/// the tag `pin`.
///
/// # Errors
/// [`Stop::Failed`] if the host cannot say what the file holds, [`Stop::BadSettings`] if a pattern of the
/// settings cannot be used; they are looked at when they are saved, so that this is a sign that nobody did.
pub fn decide(settings: &Settings, found: &Found, work: &Work) -> Result<Answer, Stop> {
    let pin = match pin(settings, found)? {
        Ok(pin) => pin,
        Err((code, text)) => {
            let basis = Basis::because(code, clip(&text, REASON_BYTES));
            return Ok(Answer::new(Need::Fail, basis));
        }
    };
    let paths = paths(settings, work)?;
    let (need, code, text) = match (work.kind.as_str(), work.members.as_slice()) {
        ("head", [pull_request]) => head(settings, pull_request, &paths),
        _ => queue(&paths),
    };
    let basis = Basis::because(code, clip(&text, REASON_BYTES)).tag("pin", pin);
    Ok(Answer::new(need, basis))
}

/// The pinned commit, or what is wrong with the file.
#[allow(
    clippy::type_complexity,
    reason = "a failure of the change, or of the asking"
)]
fn pin(settings: &Settings, found: &Found) -> Result<Result<String, (&'static str, String)>, Stop> {
    let path = &settings.pin;
    let text = match found {
        Found::Value(text) => text.trim(),
        Found::Absent => {
            let text = format!("There is no {path}: it holds the commit to build against.");
            return Ok(Err(("pin.missing", text)));
        }
        Found::Refused(why)
            if matches!(
                why.code.as_str(),
                "file.too-large" | "file.binary" | "file.not-a-file"
            ) =>
        {
            let text = format!("{path} holds no commit: {}.", why.text);
            return Ok(Err(("pin.malformed", text)));
        }
        Found::Refused(why) => {
            let text = format!("What {path} holds cannot be known: {}", why.text);
            return Err(Stop::failed("pin.unknown", text));
        }
    };
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == ID_DIGITS && text.bytes().all(is_digit) {
        return Ok(Ok(text.to_owned()));
    }
    let text = format!(
        "{path} has to hold one commit id, {ID_DIGITS} lower-case hex digits, and nothing else; it holds {:?}.",
        clip(text, 80)
    );
    Ok(Err(("pin.malformed", text)))
}

/// A push gets a green without a run, unless the label was put on for this very head.
fn head(settings: &Settings, pull_request: &PullRequest, paths: &Paths) -> Said {
    let name = &settings.label;
    let head = short(&pull_request.head);
    match (pull_request.label(name), paths) {
        (Some(label), _) if label.head != pull_request.head => {
            let text = format!(
                "`{name}` was put on for {}, and {head} was pushed since: put it on again for a run of it. It runs in the merge queue.",
                short(&label.head)
            );
            (Need::Pass, "label.stale", text)
        }
        (Some(_), Paths::Irrelevant(count)) => {
            let text = format!(
                "`{name}` asks for a run, and there is none: none of the {count} paths that {head} changes matters."
            );
            (Need::Pass, "paths.irrelevant", text)
        }
        (Some(label), _) => {
            let text = format!("{} asks for a run of {head} (`{name}`).", label.by);
            (Need::Run, "label.asked", text)
        }
        (None, Paths::Irrelevant(count)) => {
            let text = format!(
                "None of the {count} paths that it changes matters: it needs no run, in the merge queue either."
            );
            (Need::Pass, "paths.irrelevant", text)
        }
        (None, _) => {
            let text = format!("It runs in the merge queue; `{name}` asks for a run before.");
            (Need::Pass, "queue.later", text)
        }
    }
}

/// What is to land runs, unless nothing that it changes matters. The bare target changes nothing, and runs.
fn queue(paths: &Paths) -> Said {
    match paths {
        Paths::All => (
            Need::Run,
            "queue.run",
            "What is to land is tested.".to_owned(),
        ),
        Paths::Relevant(path) => (
            Need::Run,
            "paths.relevant",
            format!("It changes {path}, which matters."),
        ),
        Paths::Unknown => {
            let text = "It changes so many paths that not all are known: it runs, as one of the others may matter.";
            (Need::Run, "paths.unknown", text.to_owned())
        }
        Paths::Irrelevant(count) => {
            let text =
                format!("None of the {count} paths that it changes matters: it needs no run.");
            (Need::Pass, "paths.irrelevant", text)
        }
    }
}

/// Counted from the merge base of a head, from the base of a lane: the host does.
fn paths(settings: &Settings, work: &Work) -> Result<Paths, Stop> {
    if settings.relevant.is_empty() || work.members.is_empty() {
        return Ok(Paths::All);
    }
    let patterns = settings.relevant().map_err(|error| {
        let text = error.to_string();
        Stop::BadSettings(vec![Problem::new("/relevant", "settings.regex", text)])
    })?;
    let Some(paths) = work.changed_paths() else {
        return Ok(Paths::Unknown);
    };
    Ok(match paths.iter().find(|path| patterns.is_match(path)) {
        Some(path) => Paths::Relevant((*path).to_owned()),
        None => Paths::Irrelevant(paths.len()),
    })
}

/// Takes the label off that was put on for an older head, once another one is pushed.
#[must_use]
pub fn strip(settings: &Settings, event: &Question) -> Option<Act> {
    let pull_request = event.pull_request.as_ref()?;
    let label = pull_request.label(&settings.label)?;
    let stale = event.event == "head-moved" && label.head != pull_request.head;
    stale.then(|| Act::new("unlabel", [("name", settings.label.as_str())]))
}

#[cfg(test)]
mod tests;
