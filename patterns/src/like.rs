//! SQL's LIKE.

use crate::PatternError;
use crate::literals::Clauses;

/// A LIKE pattern, cut at its `%`.
///
/// `a%b_%c` is the head `a`, the middle `b_` and the tail `c`. A head stands at the start, a tail at
/// the end, and each middle is looked for from where the one before it ended: taking the leftmost place
/// is always right, because what follows has then the most room. So there is no backtracking.
#[derive(Clone, Debug)]
pub(crate) struct Like {
    head: Piece,
    /// None: the pattern has no `%`, and the head covers the whole text.
    rest: Option<Rest>,
    clauses: Clauses,
}

#[derive(Clone, Debug)]
struct Rest {
    middles: Vec<Piece>,
    tail: Piece,
}

/// What stands between two `%`.
#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    /// With at least one `_`, which is `None`.
    Places(Vec<Option<char>>),
}

impl Like {
    pub(crate) fn parse(source: &str) -> Result<Self, PatternError> {
        let mut pieces = Vec::new();
        let mut places = Vec::new();
        let mut chars = source.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '%' => pieces.push(Piece::new(std::mem::take(&mut places))),
                '_' => places.push(None),
                '\\' => match chars.next() {
                    Some((_, escaped)) => places.push(Some(escaped)),
                    None => {
                        let message = "a LIKE pattern must not end in a lone backslash: write `\\\\` for a backslash";
                        return Err(PatternError::at_byte(source, at, message));
                    }
                },
                plain => places.push(Some(plain)),
            }
        }
        let last = Piece::new(places);
        let (head, rest) = if pieces.is_empty() {
            (last, None)
        } else {
            let head = pieces.remove(0);
            // `%%` is `%`: between them is an empty piece, which is found anywhere.
            pieces.retain(|piece| !piece.is_empty());
            (
                head,
                Some(Rest {
                    middles: pieces,
                    tail: last,
                }),
            )
        };
        let clauses = clauses(&head, rest.as_ref());
        Ok(Like {
            head,
            rest,
            clauses,
        })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let Some(mut left) = self.head.strip_from_start(text) else {
            return false;
        };
        let Some(rest) = &self.rest else {
            return left.is_empty();
        };
        let Some(room) = rest.tail.strip_from_end(left) else {
            return false;
        };
        left = room;
        rest.middles
            .iter()
            .all(|middle| match middle.strip_through(left) {
                Some(after) => {
                    left = after;
                    true
                }
                None => false,
            })
    }

    /// What a matching text must contain.
    pub(crate) fn clauses(&self) -> &Clauses {
        &self.clauses
    }
}

fn clauses(head: &Piece, rest: Option<&Rest>) -> Clauses {
    let mut clauses = Clauses::default();
    let (middles, tail) = rest.map_or((&[][..], head), |rest| (&rest.middles, &rest.tail));
    for piece in std::iter::once(head).chain(middles).chain([tail]) {
        piece.add_literals(&mut clauses);
    }
    clauses.start = vec![head.leading_literal()];
    clauses.end = vec![tail.trailing_literal()];
    clauses
}

impl Piece {
    fn new(places: Vec<Option<char>>) -> Self {
        match places.iter().copied().collect::<Option<String>>() {
            Some(literal) => Piece::Literal(literal),
            None => Piece::Places(places),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Piece::Literal(literal) if literal.is_empty())
    }

    fn strip_from_start<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Piece::Literal(literal) => text.strip_prefix(literal.as_str()),
            Piece::Places(places) => {
                let mut chars = text.chars();
                for place in places {
                    let char = chars.next()?;
                    if place.is_some_and(|wanted| wanted != char) {
                        return None;
                    }
                }
                Some(chars.as_str())
            }
        }
    }

    fn strip_from_end<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Piece::Literal(literal) => text.strip_suffix(literal.as_str()),
            Piece::Places(places) => {
                let mut chars = text.chars();
                for place in places.iter().rev() {
                    let char = chars.next_back()?;
                    if place.is_some_and(|wanted| wanted != char) {
                        return None;
                    }
                }
                Some(chars.as_str())
            }
        }
    }

    /// What follows the leftmost place at which it stands.
    fn strip_through<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Piece::Literal(literal) => find(text, literal).map(|at| &text[at + literal.len()..]),
            Piece::Places(_) => {
                let starts = text.char_indices().map(|(at, _)| at);
                starts
                    .into_iter()
                    .find_map(|at| self.strip_from_start(&text[at..]))
            }
        }
    }

    fn add_literals(&self, clauses: &mut Clauses) {
        match self {
            Piece::Literal(literal) => clauses.require(vec![literal.clone()]),
            Piece::Places(places) => {
                for run in places.split(Option::is_none) {
                    clauses.require(vec![run.iter().flatten().collect()]);
                }
            }
        }
    }

    fn leading_literal(&self) -> String {
        match self {
            Piece::Literal(literal) => literal.clone(),
            Piece::Places(places) => places.iter().map_while(|place| *place).collect(),
        }
    }

    fn trailing_literal(&self) -> String {
        match self {
            Piece::Literal(literal) => literal.clone(),
            Piece::Places(places) => {
                let run = places.rsplit(Option::is_none).next().unwrap_or_default();
                run.iter().flatten().collect()
            }
        }
    }
}

/// `str::find` prepares a search that pays off in long texts; names are some twenty bytes, and a guest
/// has no vector search to fall back on.
pub(crate) fn find(text: &str, literal: &str) -> Option<usize> {
    let (text, literal) = (text.as_bytes(), literal.as_bytes());
    let Some((&first, others)) = literal.split_first() else {
        return Some(0);
    };
    let last_start = text.len().checked_sub(literal.len())?;
    (0..=last_start).find(|&at| text[at] == first && text[at + 1..].starts_with(others))
}
