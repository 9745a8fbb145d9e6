//! Asking the hooks of a merge pipeline: chains, and what is held where one cannot answer.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Engine;
use super::facts::{Repository, Subject};
use super::notes::Memory;
use super::turn::HOLD_RETRY;
use crate::db::merge::{MergeEnd, MergeStart};
use crate::db::turn::{Bound, Known, Made, Remembered};
use crate::error::Error;
use crate::plan::merge::{Attrs, Said, Why};
use crate::plan::{self, Refused};
use crate::policy::wit::types::{self, Basis};
use crate::policy::{Asks, Hook};
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
    pub(super) engine: &'a Engine,
    pub(super) start: &'a MergeStart,
    /// The commit that the target points at.
    pub(super) tip: &'a str,
    pub(super) at: DateTime<Utc>,
    /// What the policies remember. Never borrowed across an await.
    pub(super) memory: RefCell<Memory>,
}

/// What one call is about, beside its question.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// As the decision names it: `#12`, `lane 7`.
    pub(super) subject: &'a str,
    pub(super) items: usize,
    /// The pull request that the notes of its answer are about; none: the pipeline.
    pub(super) pull: Option<i64>,
}

impl About<'_> {
    fn remembered(&self, hook: Hook, position: i32) -> Remembered {
        match self.pull {
            Some(pull) => Remembered::pull(hook.name(), position, pull),
            None => Remembered::pipeline(hook.name(), position),
        }
    }
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
        about: About<'_>,
        question: &Q,
        end: &mut MergeEnd,
    ) -> Result<Asked<Q::Answer>, Error>
    where
        Q: Asks + Serialize + Subject + Clone,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        let own = self.memory.borrow().fill(Q::HOOK, bound.position, question);
        self.one_of_many(bound, about, &*own, None, end).await
    }

    /// Asks one binding about one of many subjects, for all of which it was looked up at once what answered
    /// the same before. The question has the notes of the binding's place.
    pub(super) async fn one_of_many<Q>(
        &self,
        bound: &Bound,
        about: About<'_>,
        question: &Q,
        looked_up: Option<(&Prepared, &Known)>,
        end: &mut MergeEnd,
    ) -> Result<Asked<Q::Answer>, Error>
    where
        Q: Asks + Serialize + Subject,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        let mut attrs = vec![];
        if let Some(frozen) = &self.start.frozen {
            attrs.push(("frozen".to_owned(), frozen.clone()));
        }
        let notes = self.memory.borrow().of_place(Q::HOOK, bound.position);
        let call = Call {
            id: self.start.pipeline,
            pipeline: &self.start.name,
            bound,
            subject: about.subject,
            items: about.items,
            notes,
            attrs,
            at: self.at,
            prepared: looked_up.map(|(prepared, _)| prepared),
            known: looked_up.map(|(_, known)| known),
        };
        let mut facts = Repository::new(self, (Q::HOOK, bound.position), question);
        let decided = self
            .caller
            .call(&call, question, &mut facts, &mut end.decisions)
            .await;
        match decided {
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
                let sound = sound.and_then(|()| {
                    let remembered = about.remembered(Q::HOOK, bound.position);
                    let notes = &answer.basis().notes;
                    let kept = self.memory.borrow().check(remembered, notes);
                    kept.map_err(|refused| (refused.code, refused.text))
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

    /// Keeps what an answer that counts wants to be remembered.
    pub(super) fn remember(
        &self,
        hook: Hook,
        bound: &Bound,
        about: About<'_>,
        place: usize,
        basis: &Basis,
    ) {
        let about = about.remembered(hook, bound.position);
        let kept = self.memory.borrow_mut().take(about, &basis.notes, place);
        debug_assert!(kept.is_ok(), "it was checked with the answer");
    }

    /// Looks again soon where it was the machine that failed, and not the policy: nothing else would.
    pub(super) fn again(&self, pull: Option<i64>, place: Option<usize>, end: &mut MergeEnd) {
        if machine_failed(place, end) {
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

/// Whether a call failed through the machine, and not through the policy.
pub(super) fn machine_failed(place: Option<usize>, end: &MergeEnd) -> bool {
    let outcome = match place.and_then(|place| end.decisions.get(place)) {
        Some(Made::New(decision)) => decision.outcome.as_str(),
        _ => return false,
    };
    matches!(
        outcome,
        "deadline" | "busy" | "host-failed" | "stack-overflow"
    )
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
pub(crate) fn has_nul(json: &[u8]) -> bool {
    const NUL: &[u8] = b"\\u0000";
    json.windows(NUL.len()).enumerate().any(|(at, found)| {
        let before = json[..at].iter().rev().take_while(|c| **c == b'\\');
        found == NUL && before.count() % 2 == 0
    })
}

/// What every answer must keep to.
pub(crate) fn sound(basis: &Basis) -> Result<(), (&'static str, String)> {
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
