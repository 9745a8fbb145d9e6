//! Words of others in a comment of ours.

/// What is put behind `@` and the like so that it calls nobody: it has no width.
const JOINER: char = '\u{2060}';

/// Words of others in a line of ours: one line, which calls nobody, links nothing and formats nothing.
pub(crate) fn inline(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '@' => safe.extend([c, JOINER]),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '`' | '*' | '_' | '[' | ']' | '\\' | '|' | '~' => safe.extend(['\\', c]),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Words of others as a quotation: no line of it begins with what a bot would take for its name.
pub(crate) fn block(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("> {}\n", inline(line))).collect()
}

/// An address that may be linked to: of the web or of this server, and with nothing in it that would end the
/// link.
pub(crate) fn link(address: &str) -> Option<&str> {
    let is_ours = address.starts_with('/') && !address.starts_with("//");
    let is_web = is_ours || address.starts_with("https://") || address.starts_with("http://");
    let is_plain = address
        .chars()
        .all(|c| c.is_ascii_graphic() && !"()<>[]\"'\\`".contains(c));
    (is_web && is_plain).then_some(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_called() {
        assert_eq!(inline("@org/all <b> x_y"), "@\u{2060}org/all &lt;b> x\\_y");
        assert_eq!(block("a\n\n@bot r+"), "> a\n> @\u{2060}bot r+\n");
        assert_eq!(link("https://e.org/a?b=c"), Some("https://e.org/a?b=c"));
        assert_eq!(link("/v1/lanes/7"), Some("/v1/lanes/7"));
        assert_eq!(link("//e.org/x"), None);
        assert_eq!(link("javascript:alert(1)"), None);
        assert_eq!(link("https://e.org/) [x](y"), None);
    }

    proptest! {
        #[test]
        fn each_line_is_a_quotation(text in any::<String>()) {
            let quoted = block(&text);
            prop_assert!(quoted.lines().all(|line| line.starts_with("> ")));
            prop_assert!(!quoted.chars().zip(quoted.chars().skip(1)).any(|(one, next)| one == '@' && next != JOINER));
        }
    }
}
