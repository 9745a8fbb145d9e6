//! Why a pull request has no lane.

use pointsman_sdk::select::Candidate;
use pointsman_sdk::{Approval, Dependency, Need, Reason, attr};

use super::{Alone, Board, is_gone};
use crate::text::short;

impl<'a> Board<'a> {
    /// Why this pull request may not have a new lane now, whether it is approved or not; none if it may.
    /// `with` are the numbers that come before it in the same lane, on which it may depend.
    #[must_use]
    pub fn obstacle(&self, candidate: &'a Candidate, with: &[u64]) -> Option<Reason> {
        gated(candidate)
            .or_else(|| depends(candidate, with))
            .or_else(|| self.tested(candidate))
    }

    /// As [`Board::obstacle`], whatever it depends on.
    #[must_use]
    pub fn obstacle_alone(&self, candidate: &'a Candidate) -> Option<Reason> {
        gated(candidate).or_else(|| self.tested(candidate))
    }

    /// Why another run on this tip would tell nothing new; none if it would.
    fn tested(&self, candidate: &'a Candidate) -> Option<Reason> {
        let target = &self.question.target;
        let (code, text) = match self.alone_on_tip(candidate) {
            Alone::Open => return None,
            Alone::Failed => (
                "tip.failed",
                format!(
                    "It failed on the present tip of {target}: mend it and push, or write `retry`."
                ),
            ),
            Alone::Blamed => (
                "tip.blamed",
                format!(
                    "It made a batch fail on the present tip of {target}: mend it and push, or write `retry`."
                ),
            ),
            Alone::Conflict => (
                "tip.conflict",
                format!("It does not merge into {target}: rebase it and push."),
            ),
            Alone::GivenUp => (
                "tip.given-up",
                format!(
                    "Its lane on the present tip of {target} was given up, as another one would be: see the lane's reason, then push."
                ),
            ),
            Alone::Inconclusive => (
                "tip.inconclusive",
                format!(
                    "Its run on the present tip of {target} was inconclusive: see why, and write `retry`."
                ),
            ),
        };
        Some(Reason::new(code, text))
    }

    /// Why it waits though nothing speaks against it: it has to be approved first, or its turn is yet to
    /// come.
    #[must_use]
    pub fn patience(&self, candidate: &Candidate, turn: &str) -> Reason {
        let tip = short(&self.question.tip);
        match candidate.approval {
            Approval::Approved => Reason::new("turn.later", turn),
            Approval::Rejected => Reason::new(
                "review.rejected",
                "A review speaks against it: see what is asked for.",
            ),
            Approval::Pending if candidate.on_tip.is_some() => Reason::new(
                "review.pending",
                format!("It was tested on {tip}, and waits for its approval."),
            ),
            Approval::Pending => Reason::new("review.pending", "It waits for its approval."),
        }
    }
}

/// What speaks against a run of any kind: that there is nothing to run, or what `gate` says.
#[must_use]
pub(crate) fn gated(candidate: &Candidate) -> Option<Reason> {
    if is_gone(candidate) {
        let text = "Its branch is gone: push it again, or close the pull request.";
        return Some(Reason::new("head.gone", text));
    }
    let (code, text) = match candidate.need {
        Some(Need::Run | Need::Pass) => return None,
        Some(Need::Hold) => (
            "gate.hold",
            "The gate holds it: see the reason that it gives.",
        ),
        Some(Need::Fail) => (
            "gate.fail",
            "The gate fails it without a run: see the reason that it gives.",
        ),
        None => (
            "gate.unknown",
            "The gate could not say whether it may run: see its decision.",
        ),
    };
    Some(Reason::new(code, text))
}

/// What it has to wait for. A stack does not wait: to land on the branch of another one is what its target says, and
/// `main` may itself be proposed for a release.
pub(super) fn depends(candidate: &Candidate, with: &[u64]) -> Option<Reason> {
    let is_met = |dependency: &&Dependency| {
        let is_before = dependency
            .subject
            .parse()
            .is_ok_and(|number| with.contains(&number));
        dependency.state == "landed"
            || (dependency.state == "open" && is_before)
            || attr(&dependency.attrs, "how") == Some("stack")
    };
    let open = candidate
        .depends
        .iter()
        .find(|dependency| !is_met(dependency))?;
    let subject = match open.subject.parse::<u64>() {
        Ok(number) => format!("#{number}"),
        Err(_) => open.subject.clone(),
    };
    let text = match open.state.as_str() {
        "open" => format!("It depends on {subject}, which has to land first."),
        "closed" => format!(
            "It depends on {subject}, which was closed: take the dependency out, or have that one opened again."
        ),
        _ => format!(
            "It depends on {subject}, which nobody knows here: correct or remove that line of the description."
        ),
    };
    Some(Reason::new("depends.open", text))
}
