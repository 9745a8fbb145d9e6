//! Short ways to say what answers are made of.

use crate::{Basis, Instant, Note, Problem, Query, Reason, Stop};

impl Reason {
    /// A reason with nothing in it for operators alone. `code` is dotted lower-case words, stable and
    /// for machines; `text` is one sentence for people.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Reason {
            code: code.into(),
            text: text.into(),
            details: Vec::new(),
        }
    }
}

impl Basis {
    /// A basis with a reason and nothing else.
    pub fn because(code: impl Into<String>, text: impl Into<String>) -> Self {
        Basis {
            reason: Reason::new(code, text),
            wake_at: None,
            notes: Vec::new(),
            tags: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// Asks to be asked again then, even if nothing changes.
    #[must_use]
    pub fn wake_at(mut self, at: Option<Instant>) -> Self {
        self.wake_at = at;
        self
    }

    /// Sets an attr, and keeps them sorted.
    #[must_use]
    pub fn attr(mut self, key: &str, value: impl Into<String>) -> Self {
        set(&mut self.attrs, key, value.into());
        self
    }

    /// Hands a tag to the later hooks of the same subject, and keeps them sorted. At most 32, with dotted
    /// lower-case names of at most 64 bytes and values of at most 256 bytes.
    #[must_use]
    pub fn tag(mut self, name: &str, value: impl Into<String>) -> Self {
        set(&mut self.tags, name, value.into());
        self
    }

    /// Remembers this until the next time, in place of what the key said before. At most 64 notes of one
    /// subject, each of at most 1,024 bytes, key and value together.
    #[must_use]
    pub fn note(self, key: &str, value: impl Into<String>) -> Self {
        self.remember(key, Some(value.into()))
    }

    /// Forgets what the key said.
    #[must_use]
    pub fn forget(self, key: &str) -> Self {
        self.remember(key, None)
    }

    /// The last word on a key counts: the host refuses an answer with two.
    fn remember(mut self, key: &str, value: Option<String>) -> Self {
        match self.notes.iter_mut().find(|note| note.key == key) {
            Some(note) => note.value = value,
            None => self.notes.push(Note {
                key: key.to_owned(),
                value,
            }),
        }
        self
    }
}

fn set(attrs: &mut Vec<(String, String)>, key: &str, value: String) {
    match attrs.binary_search_by(|(held, _)| held.as_str().cmp(key)) {
        Ok(at) => attrs[at].1 = value,
        Err(at) => attrs.insert(at, (key.to_owned(), value)),
    }
}

impl Problem {
    /// A problem with the field at a JSON pointer: `/rules/0/name`, or empty for the whole.
    pub fn new(field: impl Into<String>, code: impl Into<String>, text: impl Into<String>) -> Self {
        Problem {
            field: field.into(),
            code: code.into(),
            text: text.into(),
        }
    }
}

impl Stop {
    /// Not mine to say: the next binding of the hook answers.
    pub fn abstain(code: impl Into<String>, text: impl Into<String>) -> Self {
        Stop::Abstain(Reason::new(code, text))
    }

    /// A failure: it holds the pipeline with this reason.
    pub fn failed(code: impl Into<String>, text: impl Into<String>) -> Self {
        Stop::Failed(Reason::new(code, text))
    }

    /// Asks for one more fact, which comes in the context of the next round
    /// ([`Context::found`](crate::Context::found)). `docs/PLUGINS.md` lists the kinds: `file` (`path`) is
    /// the text of a file in the commit that is decided about.
    pub fn ask(kind: impl Into<String>, args: impl IntoIterator<Item = (String, String)>) -> Self {
        Stop::Ask(vec![Query {
            kind: kind.into(),
            args: args.into_iter().collect(),
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_note_and_a_tag_counts() {
        let basis = Basis::because("a", "b")
            .note("tries", "1")
            .forget("since")
            .note("tries", "2")
            .tag("risk", "low")
            .tag("areas", "net")
            .tag("risk", "high");
        let note = |key: &str, value: Option<&str>| Note {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        assert_eq!(basis.notes, [note("tries", Some("2")), note("since", None)]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(basis.tags, [pair("areas", "net"), pair("risk", "high")]);
    }
}
