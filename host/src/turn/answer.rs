//! What every answer must keep to, whatever pipeline asked, and what becomes of one that does not.

use crate::db::turn::Made;
use crate::plan::jobs::Why;
use crate::plan::{self, Refused};
use crate::policy::wit::types::{Basis, Reason};

/// What every answer must keep to; `made` is its decision.
pub(crate) fn sound(basis: &Basis, made: Option<&Made>) -> Result<(), (&'static str, String)> {
    if let Some(Made::New(made)) = made
        && has_nul(made.output.as_deref().unwrap_or_default())
    {
        let text = "a NUL is in the answer, which the record cannot keep";
        return Err(("nul", text.to_owned()));
    }
    plan::basis(basis, &[]).map_err(|refused| (refused.code, refused.text))
}

/// Whether a string of this JSON text has a NUL: the one escape of it that is not itself escaped.
fn has_nul(json: &[u8]) -> bool {
    const NUL: &[u8] = b"\\u0000";
    json.windows(NUL.len()).enumerate().any(|(at, found)| {
        let before = json[..at].iter().rev().take_while(|c| **c == b'\\');
        found == NUL && before.count() % 2 == 0
    })
}

/// Marks a decision as refused, with the host's reason; gives its place. Where the refusal names none it is the last.
pub(crate) fn refuse(decisions: &mut [Made], refused: &Refused) -> Option<usize> {
    let place = refused.decision.or(decisions.len().checked_sub(1));
    if let Some(Made::New(decision)) = place.and_then(|place| decisions.get_mut(place)) {
        "refused".clone_into(&mut decision.outcome);
        refused.code.clone_into(&mut decision.reason_code);
        decision.reason_text.clone_from(&refused.text);
    }
    place
}

/// A policy's reason, as it is kept.
pub(crate) fn why(reason: &Reason, place: usize) -> Why {
    Why {
        code: plan::cut(&reason.code, plan::MAX_REASON_CODE),
        text: plan::cut(&reason.text, plan::MAX_REASON_TEXT),
        decision: Some(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_in_json_and_what_looks_like_one_is_not() {
        let text = |text: &str| serde_json::to_vec(&serde_json::json!({"a": text})).unwrap();
        assert!(has_nul(&text("a\0b")));
        assert!(has_nul(&text("\\\0")));
        assert!(!has_nul(&text("\\u0000")));
        assert!(!has_nul(&text("u0000")));
        assert!(!has_nul(b""));
    }
}
