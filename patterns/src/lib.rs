//! LIKE and regex patterns over kernel version names.
//!
//! The host reads a pattern when it is saved, to refuse a bad one with the position of the fault, and
//! again when it works out which versions a changed pattern can affect; the stock plugin reads it to
//! ignore versions. Both use this crate, so that they cannot disagree.
//!
//! - **LIKE** is SQL's, as PostgreSQL does it: `%` is any number of characters (none included, line
//!   ends included), `_` is exactly one, a backslash takes the next character literally, a pattern that
//!   ends in a lone backslash is an error, case matters, and the pattern covers the whole text.
//!   Characters are Unicode scalar values.
//! - **Regex** is the syntax of the `regex` crate, searched for anywhere in the text as PostgreSQL's `~`
//!   does. Matching is linear in the text: there are no backreferences and no look-around.
//!
//! ```
//! use pointsman_patterns::{Kind, Pattern};
//!
//! let debug = Pattern::parse(Kind::Like, "%+debug%")?;
//! assert!(debug.is_match("6.5.0-1+debug-amd64"));
//!
//! let fault = Pattern::parse(Kind::Regex, "^6\\.(5").unwrap_err();
//! assert_eq!((fault.position, fault.message.as_str()), (4, "unclosed group"));
//! # Ok::<(), pointsman_patterns::PatternError>(())
//! ```

mod like;
mod literals;
mod regular;
mod set;

use std::fmt;
use std::str::FromStr;

use like::Like;
use literals::Clauses;
use regular::Regular;

pub use set::{PatternSet, SetError};

/// Bytes in a pattern. Patterns name versions, which are tens of bytes long; a longer one is a mistake
/// or an attack on everything that must read it.
pub const MAX_PATTERN_BYTES: usize = 256;

/// Bytes of heap that a compiled regex may take. `\w{20}` fits, `(\w{100}){100}` does not: each of a
/// hundred such patterns would cost the plugin its memory and the host its time.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Groups, repetitions and alternations inside each other. A regex is read by recursion, and a guest's
/// stack is small.
pub const MAX_NESTING: u32 = 40;

/// How a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SQL's LIKE.
    Like,
    /// The syntax of the `regex` crate.
    Regex,
}

impl Kind {
    /// The name in the record, the API and the contract: `like` or `regex`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Like => "like",
            Kind::Regex => "regex",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        match name {
            "like" => Ok(Kind::Like),
            "regex" => Ok(Kind::Regex),
            _ => Err(UnknownKind),
        }
    }
}

/// A kind of pattern that is neither `like` nor `regex`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kind of a pattern is `like` or `regex`")
    }
}

impl std::error::Error for UnknownKind {}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// How many characters stand before the fault, 0 if the pattern as a whole is at fault.
    pub position: usize,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
}

impl PatternError {
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        PatternError {
            position: 0,
            message: message.into(),
        }
    }

    /// An error at a byte offset of the pattern, which is turned into characters.
    pub(crate) fn at_byte(pattern: &str, byte: usize, message: impl Into<String>) -> Self {
        let before = pattern.char_indices().take_while(|&(at, _)| at < byte);
        PatternError {
            position: before.count(),
            message: message.into(),
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at character {})", self.message, self.position + 1)
    }
}

impl std::error::Error for PatternError {}

/// A pattern that has been read and, if it is a regex, compiled.
#[derive(Clone, Debug)]
pub struct Pattern {
    kind: Kind,
    source: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    Like(Like),
    Regular(Regular),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is empty, longer than [`MAX_PATTERN_BYTES`], holds a NUL, cannot be read, is nested
    /// deeper than [`MAX_NESTING`] or needs more than [`MAX_COMPILED_BYTES`] when compiled. The error
    /// has the position.
    pub fn parse(kind: Kind, source: &str) -> Result<Self, PatternError> {
        let matcher = Matcher::parse(kind, source)?;
        if let Matcher::Regular(regular) = &matcher {
            regular.compile()?;
        }
        Ok(Pattern {
            kind,
            source: source.to_owned(),
            matcher,
        })
    }

    /// How it is written.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was read.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Does it match?
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        // `parse` has compiled it, so that the error of a set's late compilation cannot come.
        self.matcher.is_match(text).unwrap_or(false)
    }

    /// What every matching text contains: of each inner list at least one string, taken literally.
    ///
    /// Only strings in which PostgreSQL's `pg_trgm` finds a trigram are given, so that each inner
    /// list can become an indexed `LIKE ANY`. No list at all: nothing is known, and only a scan helps.
    ///
    /// ```
    /// use pointsman_patterns::{Kind, Pattern};
    ///
    /// let pattern = Pattern::parse(Kind::Regex, "(debug|rescue)-x64.*cloud")?;
    /// assert_eq!(pattern.prefilter(), [vec!["debug-x64", "rescue-x64"], vec!["cloud"]]);
    /// # Ok::<(), pointsman_patterns::PatternError>(())
    /// ```
    #[must_use]
    pub fn prefilter(&self) -> Vec<Vec<String>> {
        let usable = |any: &&Vec<String>| any.iter().all(|literal| literals::has_trigram(literal));
        self.matcher
            .clauses()
            .required
            .iter()
            .filter(usable)
            .cloned()
            .collect()
    }

    /// What every matching text begins with, if that is known: for an index in the order of bytes.
    ///
    /// ```
    /// use pointsman_patterns::{Kind, Pattern};
    ///
    /// assert_eq!(Pattern::parse(Kind::Regex, r"^6\.5\.")?.prefix().as_deref(), Some("6.5."));
    /// assert_eq!(Pattern::parse(Kind::Like, "%+debug%")?.prefix(), None);
    /// # Ok::<(), pointsman_patterns::PatternError>(())
    /// ```
    #[must_use]
    pub fn prefix(&self) -> Option<String> {
        let start = &self.matcher.clauses().start;
        let (one, others) = start.split_first()?;
        let is_common = |prefix: &&str| others.iter().all(|other| other.starts_with(prefix));
        let cuts = one
            .char_indices()
            .map(|(at, char)| &one[..at + char.len_utf8()]);
        cuts.rev().find(is_common).map(str::to_owned)
    }
}

impl Matcher {
    pub(crate) fn parse(kind: Kind, source: &str) -> Result<Self, PatternError> {
        if source.is_empty() {
            return Err(PatternError::whole("an empty pattern says nothing"));
        }
        if source.len() > MAX_PATTERN_BYTES {
            let message = format!(
                "a pattern has at most {MAX_PATTERN_BYTES} bytes, this has {}",
                source.len()
            );
            return Err(PatternError::whole(message));
        }
        if let Some(byte) = source.find('\0') {
            return Err(PatternError::at_byte(
                source,
                byte,
                "a name never holds NUL",
            ));
        }
        match kind {
            Kind::Like => Like::parse(source).map(Matcher::Like),
            Kind::Regex => Regular::parse(source).map(Matcher::Regular),
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> Result<bool, PatternError> {
        match self {
            Matcher::Like(like) => Ok(like.is_match(text)),
            Matcher::Regular(regular) => regular.is_match(text),
        }
    }

    pub(crate) fn clauses(&self) -> &Clauses {
        match self {
            Matcher::Like(like) => like.clauses(),
            Matcher::Regular(regular) => regular.clauses(),
        }
    }
}

#[cfg(test)]
mod tests;
