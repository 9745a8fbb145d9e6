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
use crate::plan::merge::{Attrs, Said};
use crate::plan::{self, Refused};
use crate::policy::wit::types::Basis;
use crate::policy::{Asks, Hook};
use crate::turn::Stopped;
use crate::turn::answer::{refuse, sound, why};
use crate::turn::call::{Call, Caller, HasBasis, Prepared};

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
                let sound = sound(answer.basis(), end.decisions.get(place)).and_then(|()| {
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
    let place = refuse(&mut end.decisions, refused);
    Asked::Held(refused.code.to_owned(), refused.text.clone(), place)
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
