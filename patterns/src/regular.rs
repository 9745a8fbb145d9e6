//! Regular expressions.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use crate::like::find;
use crate::literals::{Clauses, Shape, shape};
use crate::{MAX_COMPILED_BYTES, MAX_NESTING, PatternError};

/// Bytes that the states found while matching may take, per pattern; beyond it matching is slower and
/// still linear. A hundred patterns must fit into a guest's memory.
const MAX_CACHE_BYTES: usize = 1 << 18;

/// A regex that has been read. Most of those that people write for names (`^6\.5\.`, `[+]debug`,
/// `-(rt|kvm)$`) are a handful of strings and need no regex engine: to compile one costs a plugin,
/// whose every call starts afresh, more than a thousand names do.
#[derive(Clone, Debug)]
pub(crate) struct Regular {
    source: String,
    clauses: Clauses,
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Strings {
        any: Vec<String>,
        at_start: bool,
        at_end: bool,
    },
    Compiled(OnceLock<Regex>),
}

impl Regular {
    pub(crate) fn parse(source: &str) -> Result<Self, PatternError> {
        let hir = ParserBuilder::new()
            .nest_limit(MAX_NESTING)
            .build()
            .parse(source)
            .map_err(|error| {
                let (byte, message) = match &error {
                    regex_syntax::Error::Parse(error) => {
                        (error.span().start.offset, error.kind().to_string())
                    }
                    regex_syntax::Error::Translate(error) => {
                        (error.span().start.offset, error.kind().to_string())
                    }
                    other => (0, other.to_string()),
                };
                PatternError::at_byte(source, byte, message)
            })?;
        let Shape {
            exact,
            at_start,
            at_end,
            clauses,
        } = shape(&hir);
        let engine = match exact {
            Some(any) => Engine::Strings {
                any,
                at_start,
                at_end,
            },
            None => Engine::Compiled(OnceLock::new()),
        };
        Ok(Regular {
            source: source.to_owned(),
            clauses,
            engine,
        })
    }

    /// Compiles it, which `is_match` does otherwise when it is first needed.
    pub(crate) fn compile(&self) -> Result<(), PatternError> {
        match &self.engine {
            Engine::Strings { .. } => Ok(()),
            Engine::Compiled(cell) => self.compiled(cell).map(drop),
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> Result<bool, PatternError> {
        match &self.engine {
            Engine::Strings {
                any,
                at_start,
                at_end,
            } => Ok(any.iter().any(|string| match (at_start, at_end) {
                (true, true) => text == string,
                (true, false) => text.starts_with(string.as_str()),
                (false, true) => text.ends_with(string.as_str()),
                (false, false) => find(text, string).is_some(),
            })),
            Engine::Compiled(cell) => self.compiled(cell).map(|regex| regex.is_match(text)),
        }
    }

    pub(crate) fn clauses(&self) -> &Clauses {
        &self.clauses
    }

    fn compiled<'a>(&self, cell: &'a OnceLock<Regex>) -> Result<&'a Regex, PatternError> {
        if let Some(regex) = cell.get() {
            return Ok(regex);
        }
        let built = RegexBuilder::new(&self.source)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_CACHE_BYTES)
            .nest_limit(MAX_NESTING)
            .build();
        match built {
            Ok(regex) => Ok(cell.get_or_init(|| regex)),
            Err(regex::Error::CompiledTooBig(_)) => {
                let message = format!(
                    "it needs more than {MAX_COMPILED_BYTES} bytes when compiled: repeat less"
                );
                Err(PatternError::whole(message))
            }
            Err(error) => Err(PatternError::whole(error.to_string())),
        }
    }
}
