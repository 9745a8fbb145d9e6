//! Short ways to say what answers are made of.

use crate::{Basis, Instant, Problem, Query, Reason, Stop};

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
        match self
            .attrs
            .binary_search_by(|(held, _)| held.as_str().cmp(key))
        {
            Ok(at) => self.attrs[at].1 = value.into(),
            Err(at) => self.attrs.insert(at, (key.to_owned(), value.into())),
        }
        self
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

    /// Asks for one more fact, which comes in the context of the next round.
    pub fn ask(kind: impl Into<String>, args: impl IntoIterator<Item = (String, String)>) -> Self {
        Stop::Ask(vec![Query {
            kind: kind.into(),
            args: args.into_iter().collect(),
        }])
    }
}
