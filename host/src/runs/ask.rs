//! Asking the policies that see to jobs of kernel versions: a chain, and what it remembers.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Runs;
use crate::db::runs::{RunsEnd, RunsStart, Subject};
use crate::db::turn::Remembered;
use crate::error::Result;
use crate::plan::{self as checks, Refused};
use crate::policy::Asks;
use crate::policy::wit::types::Basis;
use crate::turn::Stopped;
use crate::turn::answer::{refuse, sound};
use crate::turn::call::{Call, HasBasis};
use crate::turn::facts::Record;
use crate::turn::notes::Notes;

/// What a turn asks with.
pub(super) struct Asking<'a> {
    pub(super) start: &'a RunsStart,
    pub(super) at: DateTime<Utc>,
    /// What the policies remember of the pipeline. Never borrowed across an await.
    pub(super) notes: RefCell<Notes>,
}

impl Asking<'_> {
    /// Keeps what an answer that counts wants to be remembered.
    pub(super) fn remember(&self, about: Remembered, place: usize, basis: &Basis) {
        let kept = self.notes.borrow_mut().take(about, &basis.notes, place);
        debug_assert!(kept.is_ok(), "it was checked with the answer");
    }
}

/// What a chain said: its first binding that did not abstain.
pub(super) enum Said<A> {
    /// The place of the decision, whose memory its notes are, and the answer.
    Answered(usize, Remembered, A),
    /// Nobody did.
    Abstained,
    /// It could not: code and text.
    Held(String, String),
}

impl Runs {
    /// Asks a chain.
    pub(super) async fn ask<Q>(
        &self,
        asking: &Asking<'_>,
        subject: &Subject,
        items: usize,
        question: &Q,
        end: &mut RunsEnd,
    ) -> Result<Said<Q::Answer>>
    where
        Q: Asks + Serialize,
        Q::Answer: Serialize + DeserializeOwned + HasBasis,
    {
        let hook = Q::HOOK.name();
        let name = subject.name();
        for bound in asking.start.bindings.iter().filter(|b| b.hook == hook) {
            // As of lanes: what is remembered of a version's jobs is of the pipeline.
            let about = Remembered::pipeline(hook, bound.position);
            let call = Call {
                id: asking.start.pipeline,
                pipeline: &asking.start.name,
                bound,
                subject: &name,
                items,
                notes: asking.notes.borrow().of(about),
                attrs: vec![],
                at: asking.at,
                prepared: None,
                known: None,
            };
            let mut facts = Record::new(&self.db, subject.distro_id);
            let called = self
                .caller
                .call(&call, question, &mut facts, &mut end.decisions);
            let answer = match called.await {
                Ok(Some(answer)) => answer,
                Ok(None) => continue,
                Err(Stopped::Held(hold)) => return Ok(Said::Held(hold.code, hold.text)),
                Err(Stopped::Host(error)) => return Err(error),
            };
            let place = end.decisions.len() - 1;
            let basis = answer.basis();
            let sound = sound(basis, end.decisions.get(place)).and_then(|()| {
                let held = asking.notes.borrow().of(about);
                let kept = checks::notes(&held, &basis.notes);
                kept.map(drop)
                    .map_err(|refused| (refused.code, refused.text))
            });
            if let Err((code, text)) = sound {
                let refused = Refused {
                    code,
                    text,
                    decision: Some(place),
                };
                refuse(&mut end.decisions, &refused);
                return Ok(Said::Held(refused.code.to_owned(), refused.text));
            }
            if let Some(at) = checks::earliest([answer.basis()], asking.at) {
                end.wakes.push(at);
            }
            return Ok(Said::Answered(place, about, answer));
        }
        Ok(Said::Abstained)
    }
}
