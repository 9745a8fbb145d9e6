//! A regex of the `regex` crate, in Postgres' words.
//!
//! Both write the common things alike, and the rest differently without an error: `\b` is the edge of a
//! word in the one and a backspace in the other, `[a&&b]` an intersection or three characters. A filter
//! must mean what the same pattern means to the ignore policy, so a pattern is written anew from what it
//! was read as.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// What versions consist of, as their table checks.
const IN_VERSIONS: RangeInclusive<u32> = b'!' as u32..=b'~' as u32;
/// Postgres repeats at most this often (`DUPMAX`).
const MAX_REPEAT: u32 = 255;
/// What nothing matches.
const NOTHING: &str = "(?:(?!))";

/// The same regex for the operator `~`, over versions.
pub(super) fn in_postgres(source: &str) -> String {
    let mut written = String::with_capacity(source.len() + 16);
    match regex_syntax::parse(source) {
        Ok(regex) => write(&mut written, &regex),
        // It was read before it came here, by the same parser with tighter limits.
        Err(_) => written.push_str(NOTHING),
    }
    written
}

fn write(out: &mut String, regex: &Hir) {
    match regex.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) if text.chars().all(|c| IN_VERSIONS.contains(&u32::from(c))) => {
                for c in text.chars() {
                    if !c.is_ascii_alphanumeric() {
                        out.push('\\');
                    }
                    out.push(c);
                }
            }
            _ => out.push_str(NOTHING),
        },
        HirKind::Class(Class::Unicode(class)) => write_class(
            out,
            class
                .ranges()
                .iter()
                .map(|r| (r.start().into(), r.end().into())),
        ),
        HirKind::Class(Class::Bytes(class)) => write_class(
            out,
            class
                .ranges()
                .iter()
                .map(|r| (r.start().into(), r.end().into())),
        ),
        HirKind::Look(look) => out.push_str(match look {
            // Versions are one line.
            Look::Start | Look::StartLF | Look::StartCRLF => r"(?:\A)",
            Look::End | Look::EndLF | Look::EndCRLF => r"(?:\Z)",
            Look::WordAscii | Look::WordUnicode => r"(?:\y)",
            Look::WordAsciiNegate | Look::WordUnicodeNegate => r"(?:\Y)",
            Look::WordStartAscii | Look::WordStartUnicode => r"(?:\m)",
            Look::WordEndAscii | Look::WordEndUnicode => r"(?:\M)",
            Look::WordStartHalfAscii | Look::WordStartHalfUnicode => r"(?:(?<!\w))",
            Look::WordEndHalfAscii | Look::WordEndHalfUnicode => r"(?:(?!\w))",
        }),
        HirKind::Repetition(repeat) => {
            let mut once = String::from("(?:");
            write(&mut once, &repeat.sub);
            once.push(')');
            write_repeat(out, &once, repeat.min, repeat.max);
        }
        HirKind::Capture(group) => {
            out.push_str("(?:");
            write(out, &group.sub);
            out.push(')');
        }
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(out, part)),
        HirKind::Alternation(parts) => {
            for (n, part) in parts.iter().enumerate() {
                out.push_str(if n == 0 { "(?:" } else { "|" });
                write(out, part);
            }
            out.push(')');
        }
    }
}

/// Only what versions can hold: `\w` of Unicode has hundreds of ranges.
fn write_class(out: &mut String, ranges: impl Iterator<Item = (u32, u32)>) {
    let (first, last) = (*IN_VERSIONS.start(), *IN_VERSIONS.end());
    let ranges: Vec<(u32, u32)> = ranges
        .map(|(start, end)| (start.max(first), end.min(last)))
        .filter(|(start, end)| start <= end)
        .collect();
    match ranges.as_slice() {
        [] => out.push_str(NOTHING),
        [all] if *all == (first, last) => out.push('.'),
        some => {
            out.push('[');
            for (start, end) in some {
                write_char(out, *start);
                if start != end {
                    out.push('-');
                    write_char(out, *end);
                }
            }
            out.push(']');
        }
    }
}

fn write_char(out: &mut String, c: u32) {
    match char::from_u32(c) {
        Some(c) if c.is_ascii_alphanumeric() => out.push(c),
        // In hexadecimal nothing has a second meaning within brackets.
        _ => {
            let _ = write!(out, "\\u{c:04x}");
        }
    }
}

fn write_repeat(out: &mut String, once: &str, min: u32, max: Option<u32>) {
    match (min, max) {
        (0, None) => out.extend([once, "*"]),
        (1, None) => out.extend([once, "+"]),
        (0, Some(1)) => out.extend([once, "?"]),
        (min, _) if min > MAX_REPEAT => {
            let _ = write!(out, "{once}{{{MAX_REPEAT}}}");
            write_repeat(out, once, min - MAX_REPEAT, max.map(|max| max - MAX_REPEAT));
        }
        (min, Some(max)) if max > MAX_REPEAT => {
            let _ = write!(out, "{once}{{{min},{MAX_REPEAT}}}");
            write_repeat(out, once, 0, Some(max - MAX_REPEAT));
        }
        (min, Some(max)) => {
            let _ = write!(out, "{once}{{{min},{max}}}");
        }
        (min, None) => {
            let _ = write!(out, "{once}{{{min},}}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_postgres;

    #[test]
    fn a_regex_is_written_in_other_words() {
        for (source, expected) in [
            (r"^6\.5\.", r"(?:\A)6\.5\."),
            ("[+]debug", r"\+debug"),
            (r"\bdebug\b", r"(?:\y)debug(?:\y)"),
            ("a.c", "a.c"),
            (r"\d{2,}", "(?:[0-9]){2,}"),
            ("[a-z&&[^b-y]]", "[az]"),
            ("(rt|kvm)$", r"(?:(?:rt|kvm))(?:\Z)"),
            ("(?i)a-", r"[Aa]\-"),
            ("[-_]", r"[\u002d\u005f]"),
            ("é", "(?:(?!))"),
            ("x{300}", "(?:x){255}(?:x){45,45}"),
            ("x{2,300}", "(?:x){2,255}(?:x){0,45}"),
            ("", "(?:)"),
        ] {
            assert_eq!(in_postgres(source), expected, "{source}");
        }
    }
}
