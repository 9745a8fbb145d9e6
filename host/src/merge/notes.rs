//! What the policies of a merge pipeline remember, as one turn has it: of the pipeline, and of pull requests.
//!
//! As in the kernel pipeline a later call of the same turn sees what an earlier one wrote down, and what is
//! written in the end counts only where the record still has what the turn found.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::facts::Subject;
use crate::db::Db;
use crate::db::merge::{MergeStart, PullFacts};
use crate::db::turn::{NoteChange, Remembered};
use crate::error::Result;
use crate::plan::Refused;
use crate::policy::Hook;
use crate::policy::wit::types::{Attrs, Note};
use crate::turn::notes::Notes;

/// See the module.
#[derive(Default)]
pub(super) struct Memory {
    notes: Notes,
    /// Rows of the pull requests that were asked about, by number.
    ids: HashMap<u64, i64>,
    /// Those whose notes are here. They are read once: later the record knows less than the turn.
    read: HashSet<i64>,
}

impl Memory {
    /// What the pipeline's places remember of the pipeline.
    pub(super) async fn of_pipeline(db: &Db, start: &MergeStart) -> Result<Self> {
        let mut memory = Self::default();
        if start.notes {
            memory.notes.add(db.hook_notes_of(start.pipeline).await?);
        }
        Ok(memory)
    }

    /// Reads what is remembered of these pull requests, as far as it has not been read.
    pub(super) async fn read(
        memory: &RefCell<Self>,
        db: &Db,
        start: &MergeStart,
        ids: &[i64],
    ) -> Result<()> {
        if !start.notes {
            return Ok(());
        }
        let unread: Vec<i64> = {
            let memory = memory.borrow();
            let unread = ids.iter().filter(|id| !memory.read.contains(*id));
            unread.copied().collect()
        };
        if unread.is_empty() {
            return Ok(());
        }
        let rows = db.notes_of_pulls(start.pipeline, &unread).await?;
        let mut memory = memory.borrow_mut();
        memory.read.extend(unread);
        memory.notes.add(rows);
        Ok(())
    }

    /// Which pull request has which number.
    pub(super) fn meet(&mut self, pulls: &[PullFacts]) {
        let met = pulls
            .iter()
            .map(|pull| (u64::from(pull.number.unsigned_abs()), pull.id));
        self.ids.extend(met);
    }

    /// What a place remembers of the pipeline.
    pub(super) fn of_place(&self, hook: Hook, position: i32) -> Attrs {
        self.notes.of(Remembered::pipeline(hook.name(), position))
    }

    /// What a place remembers of a pull request that was read.
    pub(super) fn of_pull(&self, hook: Hook, position: i32, pull: i64) -> Attrs {
        self.notes.of(Remembered::pull(hook.name(), position, pull))
    }

    /// The question with what this place remembers of each pull request in it; the shared one where that is
    /// nothing.
    pub(super) fn fill<'q, Q: Subject + Clone>(
        &self,
        hook: Hook,
        position: i32,
        question: &'q Q,
    ) -> Cow<'q, Q> {
        if self.notes.is_empty() {
            return Cow::Borrowed(question);
        }
        let of = |number: u64| match self.ids.get(&number) {
            Some(id) => self.of_pull(hook, position, *id),
            None => vec![],
        };
        if question
            .pulls()
            .iter()
            .all(|pull| of(pull.number).is_empty())
        {
            return Cow::Borrowed(question);
        }
        let mut own = question.clone();
        for pull in own.pulls_mut() {
            pull.notes = of(pull.number);
        }
        Cow::Owned(own)
    }

    /// Whether an answer's notes can be kept.
    pub(super) fn check(
        &self,
        about: Remembered,
        proposed: &[Note],
    ) -> std::result::Result<(), Refused> {
        if proposed.is_empty() {
            return Ok(());
        }
        crate::plan::notes(&self.notes.of(about), proposed).map(drop)
    }

    /// Takes what an answer wants to remember.
    pub(super) fn take(
        &mut self,
        about: Remembered,
        proposed: &[Note],
        decision: usize,
    ) -> std::result::Result<(), Refused> {
        self.notes.take(about, proposed, decision).map(drop)
    }

    /// What is to be written.
    pub(super) fn into_changes(self) -> Vec<NoteChange> {
        self.notes.into_changes()
    }
}
