//! Texts for people that stay within their bounds.

/// Bytes of a reason's text: the contract's limit, beyond which the host would cut it.
pub const REASON_BYTES: usize = 1_024;

/// Names that a sentence lists before it says how many more there are: more than a person reads.
pub const NAMES_LISTED: usize = 8;

/// The text in at most `bytes` bytes; what had to be cut ends in `…`.
#[must_use]
pub fn clip(text: &str, bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut cut = text[..end].to_owned();
    if bytes >= MARK.len() {
        cut.push_str(MARK);
    }
    cut
}

/// `a, b and c`, or `a, b, ... and 12 more`.
#[must_use]
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    let (last, rest) = match names {
        [] => return String::new(),
        [one] => return one.as_ref().to_owned(),
        [rest @ .., last] if names.len() <= NAMES_LISTED => (last.as_ref().to_owned(), rest),
        _ => (
            format!("{} more", names.len() - NAMES_LISTED),
            &names[..NAMES_LISTED],
        ),
    };
    let rest: Vec<&str> = rest.iter().map(AsRef::as_ref).collect();
    format!("{} and {last}", rest.join(", "))
}

/// `#12, #15 and #16`.
#[must_use]
pub fn numbers(numbers: &[u64]) -> String {
    let names: Vec<String> = numbers.iter().map(|number| format!("#{number}")).collect();
    list(&names)
}

/// `1 person`, `2 people`: a count with the word that fits it.
#[must_use]
pub fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Enough of a commit's id for a person to know it by.
#[must_use]
pub fn short(commit: &str) -> &str {
    const DIGITS: usize = 12;
    commit.get(..DIGITS).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_end_in_and() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(numbers(&[1, 2]), "#1 and #2");
        let many: Vec<u64> = (1..=10).collect();
        assert_eq!(numbers(&many), "#1, #2, #3, #4, #5, #6, #7, #8 and 2 more");
        assert_eq!(count(1, "person", "people"), "1 person");
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("01"), "01");
    }

    proptest! {
        #[test]
        fn what_is_clipped_fits(text in any::<String>(), bytes in 0usize..40) {
            let cut = clip(&text, bytes);
            prop_assert!(cut.len() <= bytes.max(text.len().min(bytes)));
            prop_assert!(text.len() > bytes || cut == text);
        }
    }
}
