//! What a matching text must contain: the literal strings that an index, or a sieve, can look for.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Strings in one clause. `(?i)` doubles it with each letter; an index has no use for more, and a class of
/// all digits is better taken as unknown than as ten strings.
const MAX_ALTERNATIVES: usize = 8;

/// Clauses that hold for every matching text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clauses {
    /// Of each, the text contains at least one string. None is empty, and no string is.
    pub(crate) required: Vec<Vec<String>>,
    /// The text starts with one of these; empty: unknown.
    pub(crate) start: Vec<String>,
    /// The text ends with one of these; empty: unknown.
    pub(crate) end: Vec<String>,
}

impl Clauses {
    /// Adds a clause, unless it says nothing.
    pub(crate) fn require(&mut self, any: Vec<String>) {
        let tells = !any.is_empty() && any.iter().all(|literal| !literal.is_empty());
        if tells && !self.required.contains(&any) {
            self.required.push(any);
        }
    }
}

/// Does `pg_trgm` find a trigram in `LIKE '%literal%'`?
///
/// It cuts a text into words of letters and digits, and adds two blanks before and one after each. At
/// the ends of a literal a word may go on, so that there it has no blanks.
pub(crate) fn has_trigram(literal: &str) -> bool {
    let chars: Vec<char> = literal.chars().collect();
    // What lies outside ASCII is a letter in one locale and not in another: it is taken as neither
    // part of a word nor its end.
    let separates = |at: usize| {
        chars
            .get(at)
            .is_some_and(|char| char.is_ascii() && !char.is_ascii_alphanumeric())
    };
    let mut at = 0;
    while at < chars.len() {
        let length = chars[at..]
            .iter()
            .take_while(|char| char.is_ascii_alphanumeric())
            .count();
        if length == 0 {
            at += 1;
            continue;
        }
        let before = if at > 0 && separates(at - 1) { 2 } else { 0 };
        let after = usize::from(separates(at + length));
        if before + length + after >= 3 {
            return true;
        }
        at += length;
    }
    false
}

/// The shape of a regex: every string it can match, if they are few, and else what each contains.
pub(crate) struct Shape {
    /// All strings that the expression can match, without regard to its anchors.
    pub(crate) exact: Option<Vec<String>>,
    /// It can only match at the start of the text.
    pub(crate) at_start: bool,
    /// It can only match at the end of the text.
    pub(crate) at_end: bool,
    pub(crate) clauses: Clauses,
}

/// Reads the shape of a regex.
pub(crate) fn shape(hir: &Hir) -> Shape {
    let looks = hir.properties();
    let at_start = looks.look_set_prefix().contains(Look::Start);
    let at_end = looks.look_set_suffix().contains(Look::End);
    // An anchor at an end of the whole is what `at_start` and `at_end` say; one anywhere else, or a
    // word boundary, makes what it stands in more than its strings.
    let mut body = strip_anchors(hir, at_start, at_end);
    let plain = body
        .iter()
        .all(|part| part.properties().look_set().is_empty());
    if !plain {
        body.retain(|part| !matches!(part.kind(), HirKind::Look(_)));
    }
    let found = concat(body.iter().copied());
    let mut clauses = found.clauses;
    let exact = found.exact.filter(|_| plain);
    if at_start {
        clauses.start = found.first;
    }
    if at_end {
        clauses.end = found.last;
    }
    Shape {
        exact,
        at_start,
        at_end,
        clauses,
    }
}

fn strip_anchors(hir: &Hir, at_start: bool, at_end: bool) -> Vec<&Hir> {
    let mut parts: Vec<&Hir> = match hir.kind() {
        HirKind::Concat(parts) => parts.iter().collect(),
        _ => vec![hir],
    };
    let is = |part: &&Hir, look| matches!(part.kind(), HirKind::Look(found) if *found == look);
    if at_start && parts.first().is_some_and(|part| is(part, Look::Start)) {
        parts.remove(0);
    }
    if at_end && parts.last().is_some_and(|part| is(part, Look::End)) {
        parts.pop();
    }
    parts
}

/// What is known of a part of a regex.
struct Part {
    exact: Option<Vec<String>>,
    /// It begins with one of these; empty: unknown.
    first: Vec<String>,
    /// It ends with one of these; empty: unknown.
    last: Vec<String>,
    clauses: Clauses,
}

impl Part {
    fn exactly(strings: Vec<String>) -> Self {
        let mut clauses = Clauses::default();
        clauses.require(strings.clone());
        Part {
            first: strings.clone(),
            last: strings.clone(),
            exact: Some(strings),
            clauses,
        }
    }

    fn unknown() -> Self {
        Part {
            exact: None,
            first: Vec::new(),
            last: Vec::new(),
            clauses: Clauses::default(),
        }
    }
}

fn part(hir: &Hir) -> Part {
    match hir.kind() {
        HirKind::Empty => Part::exactly(vec![String::new()]),
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => Part::exactly(vec![text.to_owned()]),
            Err(_) => Part::unknown(),
        },
        HirKind::Class(class) => class_strings(class).map_or_else(Part::unknown, Part::exactly),
        // It takes no room. The strings beside it stay neighbours.
        HirKind::Look(_) => Part::exactly(vec![String::new()]),
        HirKind::Capture(capture) => part(&capture.sub),
        HirKind::Repetition(repetition) => {
            let once = part(&repetition.sub);
            match (repetition.min, repetition.max) {
                (1, Some(1)) => once,
                (0, Some(1)) => match once.exact {
                    Some(mut strings) if strings.len() < MAX_ALTERNATIVES => {
                        strings.push(String::new());
                        Part::exactly(strings)
                    }
                    _ => Part::unknown(),
                },
                (0, _) => Part::unknown(),
                _ => Part {
                    exact: None,
                    ..once
                },
            }
        }
        HirKind::Concat(parts) => concat(parts.iter()),
        HirKind::Alternation(parts) => alternation(parts),
    }
}

fn class_strings(class: &Class) -> Option<Vec<String>> {
    let Class::Unicode(class) = class else {
        return None;
    };
    let count: usize = class
        .iter()
        .map(regex_syntax::hir::ClassUnicodeRange::len)
        .sum();
    if count == 0 || count > MAX_ALTERNATIVES {
        return None;
    }
    Some(
        class
            .iter()
            .flat_map(|range| range.start()..=range.end())
            .map(String::from)
            .collect(),
    )
}

fn concat<'a>(parts: impl Iterator<Item = &'a Hir>) -> Part {
    // The strings that the parts since the last gap can be, all of them neighbours.
    let mut run = vec![String::new()];
    let mut exact = true;
    let mut first = None;
    let mut clauses = Clauses::default();
    let mut last = Vec::new();
    for next in parts.map(part) {
        if let Some(strings) = &next.exact
            && run.len() * strings.len() <= MAX_ALTERNATIVES
        {
            run = product(&run, strings);
            continue;
        }
        exact = false;
        // The gap begins: what is known of the next part's own start still joins the run.
        let joined = join(&run, &next.first);
        first.get_or_insert_with(|| joined.clone());
        clauses.require(joined);
        next.clauses
            .required
            .into_iter()
            .for_each(|any| clauses.require(any));
        last.clone_from(&next.last);
        run = if next.last.is_empty() {
            vec![String::new()]
        } else {
            next.last
        };
    }
    if exact {
        return Part::exactly(run);
    }
    if run != [""] {
        clauses.require(run.clone());
        last = run;
    }
    Part {
        exact: None,
        first: first.unwrap_or_default(),
        last,
        clauses,
    }
}

fn alternation(parts: &[Hir]) -> Part {
    let parts: Vec<Part> = parts.iter().map(part).collect();
    let all: Option<Vec<String>> = parts
        .iter()
        .map(|part| part.exact.clone())
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.concat());
    if let Some(strings) = all
        && strings.len() <= MAX_ALTERNATIVES
    {
        return Part::exactly(strings);
    }
    // One clause of each alternative, the most telling, makes one clause of the whole.
    let best = parts.iter().map(|part| {
        let shortest = |any: &Vec<String>| any.iter().map(String::len).min();
        part.clauses
            .required
            .iter()
            .max_by_key(|any| shortest(any))
            .cloned()
    });
    let mut clauses = Clauses::default();
    if let Some(any) = union(best) {
        clauses.require(any);
    }
    let known = |strings: &Vec<String>| (!strings.is_empty()).then(|| strings.clone());
    let first = union(parts.iter().map(|part| known(&part.first))).unwrap_or_default();
    let last = union(parts.iter().map(|part| known(&part.last))).unwrap_or_default();
    Part {
        exact: None,
        first,
        last,
        clauses,
    }
}

fn union(lists: impl Iterator<Item = Option<Vec<String>>>) -> Option<Vec<String>> {
    let strings = lists.collect::<Option<Vec<_>>>()?.concat();
    (strings.len() <= MAX_ALTERNATIVES).then_some(strings)
}

fn product(left: &[String], right: &[String]) -> Vec<String> {
    left.iter()
        .flat_map(|start| right.iter().map(move |end| format!("{start}{end}")))
        .collect()
}

/// The run with what comes after it, or the run alone if that is unknown or would be too much.
fn join(run: &[String], next: &[String]) -> Vec<String> {
    if next.is_empty() || run.len() * next.len() > MAX_ALTERNATIVES {
        run.to_vec()
    } else {
        product(run, next)
    }
}
