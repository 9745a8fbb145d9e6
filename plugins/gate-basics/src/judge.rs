//! Whether a head may run, and needs to.

use pointsman_policy_kit::Permission;
use pointsman_policy_kit::text::{REASON_BYTES, clip, short};
use pointsman_sdk::gate::Answer;
use pointsman_sdk::{Basis, Need, Problem, PullRequest, Stop, Work, attr};

use crate::Settings;
use crate::asked::Asked;

/// Whether the work needs a run, and may have one.
///
/// # Errors
/// [`Stop::BadSettings`] if a pattern of the settings cannot be used; they are looked at when they are
/// saved, so that this is a sign that nobody did.
pub fn decide(
    settings: &Settings,
    attrs: &[(String, String)],
    work: &Work,
) -> Result<Answer, Stop> {
    if let ("head", [pull_request]) = (work.kind.as_str(), work.members.as_slice()) {
        let asked = Asked::of(settings, pull_request);
        let (need, code, text) = match hold(settings, pull_request, &asked) {
            Some((code, text)) => (Need::Hold, code, text),
            None => judge_paths(settings, work, pull_request.changed_paths())?,
        };
        let text = match (need, frozen(attrs)) {
            (Need::Run, Some(why)) => {
                format!("{text} The branch is frozen{why}, so that it is tested and does not land.")
            }
            _ => text,
        };
        let mut basis = Basis::because(code, clip(&text, REASON_BYTES));
        if let Some(mark) = asked.retest {
            basis = basis.tag("retest", mark);
        }
        if let Some(mark) = asked.try_build {
            basis = basis.tag("try", mark);
        }
        return Ok(Answer::new(need, basis));
    }
    if work.kind == "lane" && settings.paths_in_lanes {
        let (need, code, text) = judge_paths(settings, work, work.changed_paths())?;
        return Ok(Answer::new(
            need,
            Basis::because(code, clip(&text, REASON_BYTES)),
        ));
    }
    let text = "What is tested here is judged by its members, one by one.";
    Ok(Answer::new(Need::Run, Basis::because("gate.run", text)))
}

/// Why a head does not run, the first thing that somebody would have to change.
fn hold(
    settings: &Settings,
    pull_request: &PullRequest,
    asked: &Asked,
) -> Option<(&'static str, String)> {
    let given = |key: &str| attr(&pull_request.attrs, key);
    let head = short(&pull_request.head);
    match pull_request.state.as_str() {
        "draft" => {
            return Some((
                "gate.draft",
                "It is a draft: it runs once it is marked as ready.".to_owned(),
            ));
        }
        "closed" | "landed" => {
            return Some(("gate.closed", format!("It is {}.", pull_request.state)));
        }
        _ => {}
    }
    if given("mergeable") == Some("false") {
        let text = format!(
            "It does not merge into {}: rebase it and push.",
            pull_request.target
        );
        return Some(("gate.conflict", text));
    }
    if let Some(by) = &asked.held_by {
        return Some((
            "gate.held",
            format!("{by} holds it: it goes on when somebody writes `unhold`."),
        ));
    }
    if let Some(by) = &asked.cancelled_by {
        let text = format!("{by} cancelled the tests of {head}: write `retry`, or push.");
        return Some(("gate.cancelled", text));
    }
    let is_trusted = Permission::of(&pull_request.attrs, "author.permission") >= settings.trusted;
    let is_authorised = given("head.authorised-by").is_some_and(|by| !by.is_empty());
    if pull_request.is_from_fork() && !is_trusted && !is_authorised {
        let text = format!(
            "{} may not run code here (that takes the permission {}): somebody has to look at {head}, and to authorise exactly that.",
            pull_request.author,
            settings.trusted.as_str()
        );
        return Some(("gate.unauthorised", text));
    }
    None
}

/// Whether what it changes matters. Where not all paths are known, any of the others might.
fn judge_paths(
    settings: &Settings,
    work: &Work,
    paths: Option<Vec<&str>>,
) -> Result<(Need, &'static str, String), Stop> {
    if settings.paths.is_empty() {
        return Ok((
            Need::Run,
            "gate.run",
            format!("Nothing speaks against a run of {}.", short(&work.commit)),
        ));
    }
    let patterns = settings.paths().map_err(|error| {
        Stop::BadSettings(vec![Problem::new(
            "/paths",
            "settings.regex",
            error.to_string(),
        )])
    })?;
    let Some(paths) = paths else {
        let text = "It changes so many paths that not all are known: it runs, as one of the others may matter.";
        return Ok((Need::Run, "paths.unknown", text.to_owned()));
    };
    match paths.iter().find(|path| patterns.is_match(path)) {
        Some(path) => Ok((
            Need::Run,
            "paths.relevant",
            format!("It changes {path}, which matters."),
        )),
        None => {
            let text = format!(
                "None of the {} paths that it changes matters: it needs no run.",
                paths.len()
            );
            Ok((Need::Pass, "paths.irrelevant", text))
        }
    }
}

/// Why the branch is frozen, in brackets, if it is.
fn frozen(attrs: &[(String, String)]) -> Option<String> {
    match attr(attrs, "frozen")? {
        "" | "false" => None,
        "true" => Some(String::new()),
        why => Some(format!(" ({})", clip(why, 200))),
    }
}

#[cfg(test)]
mod tests;
