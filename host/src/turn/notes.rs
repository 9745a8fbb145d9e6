//! What the policies of a pipeline remember: their notes as a turn finds them, and what it changes.
//!
//! A later call of the same turn sees what an earlier one wrote down. What is written in the end is the
//! last word on each note, and only where the record still has what the turn found.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::db::turn::{NoteChange, NoteRow, Remembered};
use crate::plan::{self, Kernel, Refused};
use crate::policy::wit::advance::Question;
use crate::policy::wit::types::{Attrs, Note};

/// See the module.
#[derive(Default)]
pub(crate) struct Notes {
    held: HashMap<Remembered, BTreeMap<String, Held>>,
    changes: BTreeMap<(Remembered, String), NoteChange>,
}

struct Held {
    /// None: the turn itself wrote it.
    id: Option<i64>,
    value: String,
}

impl Notes {
    /// Adds what the record has.
    pub(crate) fn add(&mut self, rows: Vec<NoteRow>) {
        for row in rows {
            let held = Held {
                id: Some(row.id),
                value: row.value,
            };
            self.held
                .entry(row.about)
                .or_default()
                .insert(row.key, held);
        }
    }

    /// Whether there are none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The notes of one subject, by key.
    pub(crate) fn of(&self, about: Remembered) -> Attrs {
        let Some(held) = self.held.get(&about) else {
            return vec![];
        };
        held.iter()
            .map(|(key, held)| (key.clone(), held.value.clone()))
            .collect()
    }

    /// The question with what this place remembers of each kernel; the shared one where that is nothing.
    pub(super) fn fill<'q>(
        &self,
        question: &'q Question,
        position: i32,
        kernels: &[Kernel],
    ) -> Cow<'q, Question> {
        if self.held.is_empty() {
            return Cow::Borrowed(question);
        }
        let mut own: Option<Question> = None;
        for (index, kernel) in kernels.iter().enumerate() {
            let notes = self.of(Remembered::kernel(position, kernel.id));
            if !notes.is_empty() {
                own.get_or_insert_with(|| question.clone()).kernels[index].notes = notes;
            }
        }
        own.map_or(Cow::Borrowed(question), Cow::Owned)
    }

    /// Takes what an answer wants to remember of one subject; says whether that changes anything.
    pub(crate) fn take(
        &mut self,
        about: Remembered,
        proposed: &[Note],
        decision: usize,
    ) -> Result<bool, Refused> {
        if proposed.is_empty() {
            return Ok(false);
        }
        let changes = plan::notes(&self.of(about), proposed)?;
        let changed = !changes.is_empty();
        for note in changes {
            let held = self.held.entry(about).or_default();
            let before = match &note.value {
                Some(value) => {
                    let id = held.get(&note.key).and_then(|held| held.id);
                    let value = value.clone();
                    held.insert(note.key.clone(), Held { id, value })
                }
                None => held.remove(&note.key),
            };
            self.changes
                .entry((about, note.key.clone()))
                // What the turn found stays what it found, however often the note changes in it.
                .or_insert_with(|| NoteChange {
                    about,
                    key: note.key,
                    found: before.and_then(|held| Some((held.id?, held.value))),
                    value: None,
                    decision,
                })
                .set(note.value, decision);
        }
        Ok(changed)
    }

    /// What is to be written: nothing for a note that came back to what it was.
    pub(crate) fn into_changes(self) -> Vec<NoteChange> {
        self.changes
            .into_values()
            .filter(|change| change.found.as_ref().map(|found| &found.1) != change.value.as_ref())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(key: &str, value: Option<&str>) -> Note {
        Note {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn found(key: &str, value: &str) -> Notes {
        let mut notes = Notes::default();
        notes.add(vec![NoteRow {
            id: 7,
            about: Remembered::kernel(0, 1),
            key: key.to_owned(),
            value: value.to_owned(),
        }]);
        notes
    }

    #[test]
    fn the_last_word_of_a_turn_is_written_against_what_the_turn_found() {
        let about = Remembered::kernel(0, 1);
        let mut notes = found("tries", "1");
        assert!(notes.take(about, &[note("tries", Some("2"))], 0).unwrap());
        assert_eq!(notes.of(about), [("tries".to_owned(), "2".to_owned())]);
        assert!(notes.take(about, &[note("tries", Some("3"))], 1).unwrap());
        let changes = notes.into_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].found, Some((7, "1".to_owned())));
        assert_eq!(
            (changes[0].value.as_deref(), changes[0].decision),
            (Some("3"), 1)
        );
    }

    #[test]
    fn what_comes_back_to_what_it_was_is_not_written() {
        let about = Remembered::kernel(0, 1);
        let mut notes = found("tries", "1");
        for value in [None, Some("1")] {
            assert!(
                notes
                    .take(about, &[note("tries", value), note("new", value)], 0)
                    .unwrap()
            );
        }
        assert!(!notes.take(about, &[note("tries", Some("1"))], 0).unwrap());
        assert!(notes.take(about, &[note("new", None)], 0).unwrap());
        assert!(notes.into_changes().is_empty());
    }

    #[test]
    fn places_do_not_share_their_memory() {
        let mut notes = found("tries", "1");
        assert_eq!(notes.of(Remembered::kernel(1, 1)), []);
        assert_eq!(notes.of(Remembered::kernel(0, 2)), []);
        assert_eq!(notes.of(Remembered::pipeline("advance", 0)), []);
        let other = Remembered::pipeline("advance", 0);
        assert!(notes.take(other, &[note("tries", Some("9"))], 0).unwrap());
        assert_eq!(notes.of(Remembered::kernel(0, 1))[0].1, "1");
    }
}
