use proptest::prelude::*;

use super::*;

fn like(pattern: &str, text: &str) -> bool {
    Pattern::parse(Kind::Like, pattern).unwrap().is_match(text)
}

fn regex(pattern: &str, text: &str) -> bool {
    Pattern::parse(Kind::Regex, pattern).unwrap().is_match(text)
}

fn fault(kind: Kind, pattern: &str) -> PatternError {
    Pattern::parse(kind, pattern).unwrap_err()
}

/// LIKE as its definition says it: character by character, every choice tried.
fn like_by_definition(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skip| like_by_definition(rest, &text[skip..])),
        ['_', rest @ ..] => !text.is_empty() && like_by_definition(rest, &text[1..]),
        ['\\', char, rest @ ..] | [char, rest @ ..] => {
            text.first() == Some(char) && like_by_definition(rest, &text[1..])
        }
    }
}

#[test]
fn the_patterns_of_the_seed_do_what_it_says() {
    assert!(like("6.5.%", "6.5.0-1-amd64"));
    assert!(!like("6.5.%", "16.5.0-1-amd64"));
    assert!(!like("6.5.%", "6.50.0-1-amd64"));
    assert!(like("%+debug%", "6.5.0-1+debug-amd64"));
    assert!(!like("%+debug%", "6.5.0-1-debug-amd64"));
    assert!(regex(r"^6\.5\.", "6.5.0-1-amd64"));
    assert!(!regex(r"^6\.5\.", "16.5.0-1-amd64"));
    assert!(!regex(r"^6\.5\.", "6.50.0-1-amd64"));
    assert!(regex("[+]debug", "6.5.0-1+debug-amd64"));
    assert!(!regex("[+]debug", "6.5.0-1-debug-amd64"));
}

#[test]
fn like_is_that_of_sql() {
    // As PostgreSQL answers `SELECT text LIKE pattern`; the end to end tests ask it about thousands.
    for (pattern, text, matches) in [
        ("a_c", "abc", true),
        ("a_c", "ac", false),
        (r"a\_c", "a_c", true),
        (r"a\_c", "abc", false),
        (r"100\%", "100%", true),
        (r"100\%", "1000", false),
        (r"a\\b", r"a\b", true),
        (r"\a", "a", true),
        ("a_c", "aéc", true),
        ("___", "日本語", true),
        ("__", "日本語", false),
        ("a%c", "a\nc", true),
        ("a_c", "a\nc", true),
        ("ABC", "abc", false),
        ("%", "", true),
        ("%%", "x", true),
        ("_%", "", false),
        ("a%a", "a", false),
        ("a%a", "aa", true),
        ("%ab%ab%", "ab-ab", true),
        ("%ab%ab%", "abab", true),
        ("%ab%ab%", "aba", false),
        ("%_b_%", "xbx", true),
        (
            "kernel-core-4.18.0-553.el8_10.x86\\_64",
            "kernel-core-4.18.0-553.el8_10.x86_64",
            true,
        ),
        (
            "kernel-core-4.18.0-553.el8_10.x86\\_64",
            "kernel-core-4.18.0-553.el8_10.x86-64",
            false,
        ),
    ] {
        assert_eq!(like(pattern, text), matches, "{text:?} LIKE {pattern:?}");
    }
}

#[test]
fn a_fault_has_its_position_in_characters() {
    assert_eq!(fault(Kind::Like, "é%\\").position, 2);
    assert_eq!(fault(Kind::Like, "é\0").position, 1);
    assert_eq!(fault(Kind::Regex, "é(a").position, 1);
    assert_eq!(fault(Kind::Regex, "a**[").position, 3);
    assert_eq!(fault(Kind::Regex, r"ab\pX").position, 2);
    assert_eq!(
        fault(Kind::Regex, "a{5,2}").to_string(),
        "invalid repetition count range, the start must be <= the end (at character 2)"
    );
}

#[test]
fn patterns_have_limits() {
    let long = "a".repeat(MAX_PATTERN_BYTES);
    assert!(Pattern::parse(Kind::Like, &long).is_ok());
    assert!(Pattern::parse(Kind::Like, &(long + "a")).is_err());
    assert!(Pattern::parse(Kind::Like, "").is_err());
    assert!(Pattern::parse(Kind::Regex, "").is_err());
    assert!(Pattern::parse(Kind::Regex, r"\w{20}").is_ok());
    assert!(
        fault(Kind::Regex, r"(\w{100}){100}")
            .message
            .contains("when compiled")
    );
    assert!(
        fault(
            Kind::Regex,
            &format!("{}a{}", "(".repeat(60), ")".repeat(60))
        )
        .message
        .contains("nest")
    );
    assert!(Pattern::parse(Kind::Regex, r"(a)\1").is_err());
}

#[test]
fn the_prefilter_knows_what_a_match_contains() {
    let prefilter = |kind, pattern| Pattern::parse(kind, pattern).unwrap().prefilter();
    assert_eq!(prefilter(Kind::Like, "%+debug%"), [["+debug"]]);
    assert_eq!(prefilter(Kind::Like, "6.5.%"), [["6.5."]]);
    assert_eq!(
        prefilter(Kind::Like, "%-rc_-%generic"),
        [["-rc"], ["generic"]]
    );
    assert_eq!(prefilter(Kind::Regex, r"^6\.5\."), [["6.5."]]);
    assert_eq!(prefilter(Kind::Regex, "[+]debug"), [["+debug"]]);
    assert_eq!(
        prefilter(Kind::Regex, "rescue|debug"),
        [["rescue", "debug"]]
    );
    assert_eq!(
        prefilter(Kind::Regex, "abcd+.*(wxyz)+"),
        [vec!["abcd"], vec!["wxyz"]]
    );
    assert!(prefilter(Kind::Regex, "rescue|d").is_empty());
    assert!(prefilter(Kind::Regex, r"^\d+\.\d+").is_empty());
    // An ASCII letter's word has no known end here, and `pg_trgm` finds nothing.
    assert!(prefilter(Kind::Like, "%6.%").is_empty());
}

#[test]
fn a_prefix_is_one_that_every_match_has() {
    let prefix = |kind, pattern| Pattern::parse(kind, pattern).unwrap().prefix();
    assert_eq!(prefix(Kind::Like, r"6.5\_%").as_deref(), Some("6.5_"));
    assert_eq!(prefix(Kind::Like, "6._%").as_deref(), Some("6."));
    assert_eq!(prefix(Kind::Like, "%x"), None);
    assert_eq!(prefix(Kind::Regex, r"^6\.[0-9]+").as_deref(), Some("6."));
    assert_eq!(prefix(Kind::Regex, r"^6\.5$").as_deref(), Some("6.5"));
    assert_eq!(prefix(Kind::Regex, r"^6\.(1|12)\.").as_deref(), Some("6.1"));
    assert_eq!(prefix(Kind::Regex, r"^(4|5|6)\."), None);
    assert_eq!(prefix(Kind::Regex, r"6\.5"), None);
    assert_eq!(prefix(Kind::Regex, r"(?m)^6\.5"), None);
}

/// Texts and patterns over few characters, so that they often meet.
fn text() -> impl Strategy<Value = String> {
    "[a-c_%.é5\n-]{0,12}"
}

fn like_pattern() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![3 => "[a-c.é5-]{1,3}", 2 => Just("%".to_owned()), 1 => Just("_".to_owned()), 1 => r"\\[a-c_%]"], 1..8)
        .prop_map(|pieces| pieces.concat())
}

fn regex_pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => "[a-c]{1,4}",
        1 => Just(r"\.".to_owned()),
        1 => Just("é".to_owned()),
        1 => Just("[ab5]".to_owned()),
        1 => Just("(?i:ab)".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(r"\d".to_owned()),
        1 => Just("^".to_owned()),
        1 => Just("$".to_owned()),
        1 => Just(r"\b".to_owned()),
        1 => Just("(?m:$)".to_owned()),
        1 => Just("[^a]".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join("|"))),
            1 => (inner.clone(), prop_oneof![Just("*"), Just("+"), Just("?"), Just("{2}"), Just("{0,2}"), Just("*?")])
                .prop_map(|(part, count)| format!("(?:{part}){count}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn like_agrees_with_its_definition(pattern in like_pattern(), text in text()) {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(like(&pattern, &text), like_by_definition(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn regex_agrees_with_the_regex_crate(pattern in regex_pattern(), text in text()) {
        let direct = regex::Regex::new(&pattern).unwrap();
        prop_assert_eq!(regex(&pattern, &text), direct.is_match(&text), "{}", pattern);
    }

    #[test]
    fn what_matches_passes_the_prefilter(pattern in regex_pattern(), text in text()) {
        let pattern = Pattern::parse(Kind::Regex, &pattern).unwrap();
        if pattern.is_match(&text) {
            for any in &pattern.matcher.clauses().required {
                prop_assert!(any.iter().any(|literal| text.contains(literal.as_str())), "{:?} has none of {:?}", pattern.source, any);
            }
            if let Some(prefix) = pattern.prefix() {
                prop_assert!(text.starts_with(&prefix));
            }
        }
    }

    #[test]
    fn what_like_matches_passes_the_prefilter(pattern in like_pattern(), text in text()) {
        let pattern = Pattern::parse(Kind::Like, &pattern).unwrap();
        if pattern.is_match(&text) {
            for any in pattern.prefilter() {
                prop_assert!(any.iter().any(|literal| text.contains(literal.as_str())));
            }
            if let Some(prefix) = pattern.prefix() {
                prop_assert!(text.starts_with(&prefix));
            }
        }
    }

    #[test]
    fn a_set_finds_the_first_that_matches(
        patterns in prop::collection::vec(prop_oneof![like_pattern().prop_map(|p| (Kind::Like, p)), regex_pattern().prop_map(|p| (Kind::Regex, p))], 0..12),
        text in text(),
    ) {
        let set = PatternSet::new(patterns.iter().map(|(kind, pattern)| (*kind, pattern.as_str()))).unwrap();
        let first = patterns.iter().position(|(kind, pattern)| Pattern::parse(*kind, pattern).unwrap().is_match(&text));
        prop_assert_eq!(set.first_match(&text).unwrap(), first);
    }

    #[test]
    fn no_input_makes_it_panic(like in any::<bool>(), pattern in ".{0,40}", text in ".{0,40}") {
        let kind = if like { Kind::Like } else { Kind::Regex };
        if let Ok(pattern) = Pattern::parse(kind, &pattern) {
            let _ = (pattern.is_match(&text), pattern.prefilter());
        }
    }
}
