//! Asking the hooks of a merge pipeline: chains, and what is held where one cannot answer.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::turn::HOLD_RETRY;
use crate::db::merge::{MergeEnd, MergeStart};
use crate::db::turn::{Bound, Known, Made};
use crate::error::Error;
use crate::plan::merge::{Attrs, Said, Why};
use crate::plan::{self, Refused};
use crate::policy::Asks;
use crate::policy::wit::types::{self, Basis};
use crate::turn::Stopped;
use crate::turn::call::{Call, Caller, HasBasis, Prepared};

/// Tags of one answer, as the contract says.
const MAX_TAGS: usize = 32;
/// Bytes of a tag's name.
const MAX_TAG_NAME: usize = 64;
/// Bytes of a tag's value.
const MAX_TAG_VALUE: usize = 256;

/// One turn's asking.
pub(super) struct Asking<'a> {
    pub(super) caller: &'a Caller,
    pub(super) start: &'a MergeStart,
    pub(super) at: DateTime<Utc>,
}

/// What came of asking one binding.
pub(super) enum Asked<A> {
    /// The place of its decision, and what it said.
    Answered(usize, A),
    /// It is not its to say.
    Abstained,
    /// It could not: code, text, and the place of the decision.
    Held(String, String, Option<usize>),
}

impl Asking<'_> {
    pub(super) fn bindings(&self, hook: &str) -> impl Iterator<Item = &Bound> {
        self.start.bindings.iter().filter(move |b| b.hook == hook)
    }

    /// Asks one binding.
    pub(super) async fn one<Q>(
        &self,
        bound: &Bound,
        subject: &str,
        items: usize,
        question: &Q,
        end: &mut MergeEnd,
    ) -> Result<Asked<Q::Answer>, Error>
    where
        Q: Asks + Serialize,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        self.one_of_many(bound, subject, items, question, None, end)
            .await
    }

    /// Asks one binding about one of many subjects, for all of which it was looked up at once what answered
    /// the same before.
    pub(super) async fn one_of_many<Q>(
        &self,
        bound: &Bound,
        subject: &str,
        items: usize,
        question: &Q,
        looked_up: Option<(&Prepared, &Known)>,
        end: &mut MergeEnd,
    ) -> Result<Asked<Q::Answer>, Error>
    where
        Q: Asks + Serialize,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        let mut attrs = vec![];
        if let Some(frozen) = &self.start.frozen {
            attrs.push(("frozen".to_owned(), frozen.clone()));
        }
        let call = Call {
            id: self.start.pipeline,
            pipeline: &self.start.name,
            bound,
            subject,
            distro: None,
            items,
            notes: vec![],
            attrs,
            at: self.at,
            prepared: looked_up.map(|(prepared, _)| prepared),
            known: looked_up.map(|(_, known)| known),
        };
        match self.caller.call(&call, question, &mut end.decisions).await {
            Ok(Some(answer)) => {
                let place = end.decisions.len() - 1;
                let sound = sound(answer.basis()).and_then(|()| match end.decisions.get(place) {
                    Some(Made::New(made))
                        if has_nul(made.output.as_deref().unwrap_or_default()) =>
                    {
                        let text = "a NUL is in the answer, which the record cannot keep";
                        Err(("nul", text.to_owned()))
                    }
                    _ => Ok(()),
                });
                match sound {
                    Ok(()) => Ok(Asked::Answered(place, answer)),
                    Err((code, text)) => Ok(refused(
                        &Refused {
                            code,
                            text,
                            decision: Some(place),
                        },
                        end,
                    )),
                }
            }
            Ok(None) => Ok(Asked::Abstained),
            Err(Stopped::Held(hold)) => Ok(Asked::Held(hold.code, hold.text, hold.decision)),
            Err(Stopped::Host(error)) => Err(error),
        }
    }

    /// Looks again soon where it was the machine that failed, and not the policy: nothing else would.
    pub(super) fn again(&self, pull: Option<i64>, place: Option<usize>, end: &mut MergeEnd) {
        if let Some(Made::New(decision)) = place.and_then(|place| end.decisions.get(place))
            && matches!(
                decision.outcome.as_str(),
                "deadline" | "busy" | "host-failed" | "stack-overflow"
            )
        {
            end.wakes.push((pull, self.at + HOLD_RETRY));
        }
    }

    /// When this answer wants another look at its subject.
    pub(super) fn wake(&self, pull: Option<i64>, basis: &Basis, end: &mut MergeEnd) {
        if let Some(at) = plan::earliest([basis], self.at) {
            end.wakes.push((pull, at));
        }
    }
}

/// Marks a decision as refused, with the host's reason.
pub(super) fn refused<A>(refused: &Refused, end: &mut MergeEnd) -> Asked<A> {
    let place = refused.decision.or(end.decisions.len().checked_sub(1));
    if let Some(Made::New(decision)) = place.and_then(|place| end.decisions.get_mut(place)) {
        "refused".clone_into(&mut decision.outcome);
        refused.code.clone_into(&mut decision.reason_code);
        decision.reason_text.clone_from(&refused.text);
    }
    Asked::Held(refused.code.to_owned(), refused.text.clone(), place)
}

/// Whether a string of this JSON text has a NUL: the one escape of it that is not itself escaped.
fn has_nul(json: &[u8]) -> bool {
    const NUL: &[u8] = b"\\u0000";
    json.windows(NUL.len()).enumerate().any(|(at, found)| {
        let before = json[..at].iter().rev().take_while(|c| **c == b'\\');
        found == NUL && before.count() % 2 == 0
    })
}

/// What every answer must keep to.
pub(crate) fn sound(basis: &Basis) -> Result<(), (&'static str, String)> {
    if !basis.notes.is_empty() {
        let text = "this host keeps no notes for this hook yet";
        return Err(("notes-unsupported", text.to_owned()));
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

/// What a binding said, for its chain.
pub(super) fn said<T>(answer: T, wanted: Vec<String>, place: usize, basis: &Basis) -> Said<T> {
    Said {
        answer,
        why: why(&basis.reason, place),
        tags: basis.tags.iter().cloned().collect::<Attrs>(),
        wanted,
    }
}

pub(super) fn why(reason: &types::Reason, place: usize) -> Why {
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
