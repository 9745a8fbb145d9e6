//! What the chains of `review` and `gate` come to.

use super::{Approval, Attrs, Need, Why};
use crate::plan::Refused;
use crate::policy::wit::{review, types};

/// People and teams whose review is missing, as the contract says: more than anybody reads.
const MAX_WANTED: usize = 100;

/// What one binding said.
#[derive(Debug, Clone)]
pub struct Said<T> {
    /// Its answer.
    pub answer: T,
    /// Why.
    pub why: Why,
    /// What it hands on.
    pub tags: Attrs,
    /// Whose review it misses.
    pub wanted: Vec<String>,
}

impl From<types::Approval> for Approval {
    fn from(approval: types::Approval) -> Self {
        match approval {
            types::Approval::Approved => Self::Approved,
            types::Approval::Pending => Self::Pending,
            types::Approval::Rejected => Self::Rejected,
        }
    }
}

impl From<types::Need> for Need {
    fn from(need: types::Need) -> Self {
        match need {
            types::Need::Run => Self::Run,
            types::Need::Pass => Self::Pass,
            types::Need::Fail => Self::Fail,
            types::Need::Hold => Self::Hold,
        }
    }
}

/// Whether an answer of `review` names no more people than it may.
pub fn check_wanted(answer: &review::Answer, decision: usize) -> Result<(), Refused> {
    match answer.wanted.len() {
        0..=MAX_WANTED => Ok(()),
        many => Err(Refused {
            code: "too-many-wanted",
            text: format!("{many} people and teams are wanted, and {MAX_WANTED} may be"),
            decision: Some(decision),
        }),
    }
}

/// All must agree: the worst answer is the answer, and the first binding that gave it says why.
pub fn approval(said: &[Said<Approval>]) -> (Approval, Why) {
    strictest(said).unwrap_or_else(|| {
        let text = "no policy says whether this is approved: bind one to `review`";
        (Approval::Pending, Why::host("review.none", text))
    })
}

/// The strictest answer is the answer.
pub fn need(said: &[Said<Need>]) -> (Need, Why) {
    strictest(said).unwrap_or_else(|| {
        (
            Need::Run,
            Why::host("gate.none", "nothing is bound to `gate`"),
        )
    })
}

fn strictest<T: Ord + Copy>(said: &[Said<T>]) -> Option<(T, Why)> {
    let worst = said.iter().map(|s| s.answer).max()?;
    let first = said.iter().find(|s| s.answer == worst)?;
    Some((worst, first.why.clone()))
}
