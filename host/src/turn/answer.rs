//! What every answer must keep to, whatever pipeline asked, and what becomes of one that does not.

use crate::db::turn::Made;
use crate::plan::jobs::Why;
use crate::plan::{self, Refused};
use crate::policy::wit::types::{Basis, Reason};

/// Tags of one answer, as the contract says.
const MAX_TAGS: usize = 32;
/// Bytes of a tag's name.
const MAX_TAG_NAME: usize = 64;
/// Bytes of a tag's value.
const MAX_TAG_VALUE: usize = 256;

/// What every answer must keep to; `made` is its decision.
pub(crate) fn sound(basis: &Basis, made: Option<&Made>) -> Result<(), (&'static str, String)> {
    if let Some(Made::New(made)) = made
        && has_nul(made.output.as_deref().unwrap_or_default())
    {
        let text = "a NUL is in the answer, which the record cannot keep";
        return Err(("nul", text.to_owned()));
    }
    if basis.tags.len() > MAX_TAGS {
        let text = format!("{} tags, and {MAX_TAGS} may be", basis.tags.len());
        return Err(("too-many-tags", text));
    }
    for (name, value) in &basis.tags {
        let good =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > MAX_TAG_NAME || !name.bytes().all(good) {
            let text = format!(
                "a tag's name has lower-case letters, digits, dots and dashes, at most {MAX_TAG_NAME}"
            );
            return Err(("bad-tag", text));
        }
        if value.len() > MAX_TAG_VALUE {
            let text = format!("the tag `{name}` has more than {MAX_TAG_VALUE} bytes");
            return Err(("bad-tag", text));
        }
    }
    for (key, _) in &basis.attrs {
        if !key.starts_with("x-") {
            let key: String = key.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(("unknown-attr", format!("the attr `{key}` is not known")));
        }
    }
    Ok(())
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
