//! Many patterns against many texts.

use std::fmt;
use std::sync::OnceLock;

use regex::{RegexSet, RegexSetBuilder};

use crate::literals::Clauses;
use crate::{Kind, MAX_COMPILED_BYTES, MAX_NESTING, Matcher, PatternError};

/// Entries of the sieve that one pattern may have.
const MAX_MASKS: usize = 8;

/// Entries of the sieve that are looked at together: one branch for all of them.
const TOGETHER: usize = 8;

/// Patterns in order, of which the first that matches counts.
///
/// A text's neighbouring bytes (with a mark before its first and after its last) are hashed into a mask
/// of 128 bits; a pattern has the mask of the strings that it cannot do without, and is tried only on
/// texts whose mask covers its own. A regex is compiled only when it is first tried, which most never
/// are. Regexes that need no string in particular (`[0-9]{5}`) are asked as one automaton. One for all
/// patterns took a third longer over batches of 10,000, as a plugin's every call finds the automaton's
/// states anew.
#[derive(Debug)]
pub struct PatternSet {
    masks: Vec<Mask>,
    /// Of the pattern to which the mask at the same place belongs.
    owners: Vec<u32>,
    matchers: Vec<Matcher>,
    unsieved: Unsieved,
}

/// Regexes of which the sieve knows nothing.
#[derive(Debug, Default)]
struct Unsieved {
    /// Their places in the whole set, ascending.
    owners: Vec<u32>,
    sources: Vec<String>,
    /// None inside: together they are too big, and each is asked by itself.
    together: OnceLock<Option<RegexSet>>,
}

/// A pattern of a set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetError {
    /// Its place in the set.
    pub index: usize,
    /// What is wrong with it.
    pub error: PatternError,
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern {}: {}", self.index, self.error)
    }
}

impl std::error::Error for SetError {}

impl PatternSet {
    /// Reads patterns. What is kept of each is of the order of its own length.
    ///
    /// # Errors
    /// The first that cannot be read. A regex that is too big when compiled is found by
    /// [`first_match`](Self::first_match) only.
    pub fn new<'a>(sources: impl IntoIterator<Item = (Kind, &'a str)>) -> Result<Self, SetError> {
        let mut set = PatternSet {
            masks: Vec::new(),
            owners: Vec::new(),
            matchers: Vec::new(),
            unsieved: Unsieved::default(),
        };
        for (index, (kind, source)) in sources.into_iter().enumerate() {
            let matcher =
                Matcher::parse(kind, source).map_err(|error| SetError { index, error })?;
            let owner = u32::try_from(index).map_err(|_| SetError {
                index,
                error: PatternError::whole("too many patterns in one set"),
            })?;
            let masks = pattern_masks(matcher.clauses());
            if matches!(&matcher, Matcher::Regular(_)) && masks.contains(&Mask::default()) {
                set.unsieved.owners.push(owner);
                set.unsieved.sources.push(source.to_owned());
            } else {
                set.owners.extend(masks.iter().map(|_| owner));
                set.masks.extend(masks);
            }
            set.matchers.push(matcher);
        }
        // The last entries are looked at together too: nothing covers what fills them up.
        let missing = set.masks.len().next_multiple_of(TOGETHER) - set.masks.len();
        set.masks
            .extend(std::iter::repeat_n([u64::MAX; 2], missing));
        Ok(set)
    }

    /// The place of the first pattern that matches.
    ///
    /// # Errors
    /// A pattern before it is too big when compiled.
    pub fn first_match(&self, text: &str) -> Result<Option<usize>, SetError> {
        let sieved = self.first_sieved(text)?;
        match self.unsieved.owners.first() {
            Some(&first) if sieved.is_none_or(|found| found > first as usize) => {
                let unsieved = self.first_unsieved(text)?;
                Ok(sieved.into_iter().chain(unsieved).min())
            }
            _ => Ok(sieved),
        }
    }

    fn first_sieved(&self, text: &str) -> Result<Option<usize>, SetError> {
        if self.masks.is_empty() {
            return Ok(None);
        }
        let present = text_mask(text.as_bytes());
        let mut tried = None;
        for (place, masks) in self.masks.as_chunks::<TOGETHER>().0.iter().enumerate() {
            let mut passed = 0_u32;
            for (at, mask) in masks.iter().enumerate() {
                passed |= u32::from(covers(present, *mask)) << at;
            }
            while passed != 0 {
                let at = place * TOGETHER + passed.trailing_zeros() as usize;
                passed &= passed - 1;
                // A text of 128 and more different neighbours covers what nothing else does.
                let Some(&owner) = self.owners.get(at) else {
                    break;
                };
                if tried != Some(owner) {
                    tried = Some(owner);
                    if self.is_match(owner, text)? {
                        return Ok(Some(owner as usize));
                    }
                }
            }
        }
        Ok(None)
    }

    fn first_unsieved(&self, text: &str) -> Result<Option<usize>, SetError> {
        let Unsieved {
            owners,
            sources,
            together,
        } = &self.unsieved;
        let build = || {
            let all = RegexSetBuilder::new(sources)
                .size_limit(MAX_COMPILED_BYTES)
                .nest_limit(MAX_NESTING)
                .build();
            all.ok()
        };
        if owners.len() > 1
            && let Some(set) = together.get_or_init(build)
        {
            if !set.is_match(text) {
                return Ok(None);
            }
            let first = set.matches(text).iter().next();
            return Ok(first.map(|at| owners[at] as usize));
        }
        for &owner in owners {
            if self.is_match(owner, text)? {
                return Ok(Some(owner as usize));
            }
        }
        Ok(None)
    }

    fn is_match(&self, owner: u32, text: &str) -> Result<bool, SetError> {
        let index = owner as usize;
        self.matchers[index]
            .is_match(text)
            .map_err(|error| SetError { index, error })
    }
}

/// Stands before the first and after the last byte of a text; UTF-8 has no such byte.
const EDGE: u8 = 0xff;

/// Which neighbours a text has, by their hash. Names have some twenty: in 64 bits every fourth
/// question would be answered yes by chance.
type Mask = [u64; 2];

fn add(mask: &mut Mask, left: u8, right: u8) {
    let hash = (u32::from(left) * 31 + u32::from(right)).wrapping_mul(0x9e37_79b1) >> 25;
    let bit = 1_u64 << (hash & 63);
    // No index, so that the mask stays in registers.
    let high = 0_u64.wrapping_sub(u64::from(hash >> 6));
    mask[0] |= bit & !high;
    mask[1] |= bit & high;
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
fn covers(present: Mask, wanted: Mask) -> bool {
    (wanted[0] & !present[0]) | (wanted[1] & !present[1]) == 0
}

/// The same in three instructions, which the compiler does not find by itself.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
fn covers(present: Mask, wanted: Mask) -> bool {
    use core::arch::wasm32::{u64x2, v128_andnot, v128_any_true};
    let [present, wanted] = [present, wanted].map(|mask| u64x2(mask[0], mask[1]));
    !v128_any_true(v128_andnot(wanted, present))
}

fn both(left: Mask, right: Mask) -> Mask {
    [left[0] | right[0], left[1] | right[1]]
}

fn text_mask(text: &[u8]) -> Mask {
    let mut mask = Mask::default();
    let mut left = EDGE;
    let (fours, others) = text.as_chunks::<4>();
    for &[first, second, third, fourth] in fours {
        add(&mut mask, left, first);
        add(&mut mask, first, second);
        add(&mut mask, second, third);
        add(&mut mask, third, fourth);
        left = fourth;
    }
    for &right in others {
        add(&mut mask, left, right);
        left = right;
    }
    add(&mut mask, left, EDGE);
    mask
}

fn inner_mask(text: &str) -> Mask {
    let mut mask = Mask::default();
    for pair in text.as_bytes().windows(2) {
        add(&mut mask, pair[0], pair[1]);
    }
    mask
}

fn start_mask(text: &str) -> Mask {
    let mut mask = inner_mask(text);
    if let Some(first) = text.bytes().next() {
        add(&mut mask, EDGE, first);
    }
    mask
}

fn end_mask(text: &str) -> Mask {
    let mut mask = inner_mask(text);
    if let Some(last) = text.bytes().next_back() {
        add(&mut mask, last, EDGE);
    }
    mask
}

/// A matching text's mask covers at least one of these.
fn pattern_masks(clauses: &Clauses) -> Vec<Mask> {
    let masks = |of: fn(&str) -> Mask, any: &[String]| -> Vec<Mask> {
        any.iter().map(|text| of(text)).collect()
    };
    let mut lists = vec![
        masks(start_mask, &clauses.start),
        masks(end_mask, &clauses.end),
    ];
    lists.extend(clauses.required.iter().map(|any| masks(inner_mask, any)));
    lists.retain(|masks| !masks.is_empty());
    lists.sort_by_key(Vec::len);
    let mut all = vec![Mask::default()];
    for list in lists {
        if all.len() * list.len() <= MAX_MASKS {
            all = all
                .iter()
                .flat_map(|mask| list.iter().map(|more| both(*mask, *more)))
                .collect();
        } else {
            // Too many to tell apart: what they have in common.
            let common = |at: usize| list.iter().fold(u64::MAX, |common, mask| common & mask[at]);
            let common = [common(0), common(1)];
            all.iter_mut().for_each(|mask| *mask = both(*mask, common));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}
