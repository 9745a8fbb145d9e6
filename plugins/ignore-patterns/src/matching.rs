//! The rules of a question against its versions.

use pointsman_patterns::{Kind, PatternSet};
use pointsman_sdk::ignore::{Answer, Question, Rule};
use pointsman_sdk::packed::unpack;
use pointsman_sdk::{Basis, Instant, Reason, Stop};

use crate::Scope;

/// Which versions the rules that count at `at` ignore.
///
/// # Errors
/// `rule.unreadable`, with the rule's id, if a rule has an unknown kind or a pattern that cannot be
/// used. The host refuses such a rule when it is saved, so that one that arrives here all the same is a
/// sign that host and plugin do not belong together.
pub fn decide(at: Instant, scope: Scope, question: &Question) -> Result<Answer, Stop> {
    let wake_at = question
        .rules
        .iter()
        .filter_map(|rule| rule.expires)
        .filter(|&expires| expires > at)
        .min();
    let mut rules: Vec<&Rule> = question
        .rules
        .iter()
        .filter(|rule| rule.expires.is_none_or(|expires| expires > at))
        .collect();
    rules.sort_by_key(|rule| rule.id);
    let kinds: Vec<Kind> = rules
        .iter()
        .map(|rule| kind(rule))
        .collect::<Result<_, _>>()?;
    let sources = kinds
        .iter()
        .copied()
        .zip(rules.iter().map(|rule| rule.pattern.as_str()));
    let set = PatternSet::new(sources).map_err(|bad| unreadable(rules[bad.index], bad.error))?;

    let mut answer = Answer::new(Basis::because("", ""));
    // A rule's place among the grounds, once it has matched.
    let mut grounds: Vec<Option<u32>> = vec![None; rules.len()];
    // Without a rule there is nothing to look at, however many versions there are.
    let names = if rules.is_empty() {
        ""
    } else {
        &question.names
    };
    for (version, name) in (0..).zip(unpack(names)) {
        let first = set
            .first_match(name)
            .map_err(|bad| unreadable(rules[bad.index], bad.error))?;
        if let Some(index) = first {
            let ground = *grounds[index].get_or_insert_with(|| {
                answer.ground(
                    scope.as_str(),
                    Some(rules[index].id),
                    matched(rules[index], kinds[index]),
                )
            });
            answer.ignore(version, ground);
        }
    }
    let text = format!(
        "{} of {} versions match one of {} rules.",
        answer.ignored.len(),
        question.versions.len(),
        rules.len()
    );
    answer.basis = Basis::because("rules.applied", text).wake_at(wake_at);
    Ok(answer)
}

fn kind(rule: &Rule) -> Result<Kind, Stop> {
    rule.kind.parse().map_err(|error| unreadable(rule, error))
}

fn unreadable(rule: &Rule, error: impl std::fmt::Display) -> Stop {
    let text = format!(
        "Rule {}, the {} pattern `{}`, cannot be used: {error}.",
        rule.id, rule.kind, rule.pattern
    );
    let mut reason = Reason::new("rule.unreadable", text);
    reason
        .details
        .push(("rule.id".to_owned(), rule.id.to_string()));
    Stop::Failed(reason)
}

fn matched(rule: &Rule, kind: Kind) -> Reason {
    let name = match kind {
        Kind::Like => "LIKE",
        Kind::Regex => "regex",
    };
    let mut text = format!("It matches the {name} pattern `{}`", rule.pattern);
    if rule.reason.is_empty() {
        text.push('.');
    } else {
        text.push_str(": ");
        text.push_str(&rule.reason);
    }
    Reason::new("rule.matched", text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(id: u64, kind: &str, pattern: &str) -> Rule {
        let [kind, pattern] = [kind, pattern].map(str::to_owned);
        Rule {
            id,
            kind,
            pattern,
            reason: String::new(),
            expires: None,
            attrs: Vec::new(),
        }
    }

    fn ask(rules: Vec<Rule>, names: &[&str]) -> Question {
        Question {
            rules,
            ..Question::of_names("ubuntu-22.04", names)
        }
    }

    /// The ignored names with the id of the rule that did it.
    fn ignored<'a>(answer: &Answer, names: &[&'a str]) -> Vec<(&'a str, u64)> {
        let rule = |ground: u32| answer.grounds[ground as usize].rule.unwrap();
        answer
            .ignored
            .iter()
            .map(|found| (names[found.version as usize], rule(found.ground)))
            .collect()
    }

    #[test]
    fn the_seeds_patterns_ignore_what_the_seed_says() {
        let names = [
            "6.5.0-1-amd64",
            "16.5.0-1-amd64",
            "6.1.0-9+debug-amd64",
            "5.15.0-57-generic",
        ];
        for (kind, pattern, hit) in [
            ("like", "6.5.%", names[0]),
            ("like", "%+debug%", names[2]),
            ("regex", r"^6\.5\.", names[0]),
            ("regex", "[+]debug", names[2]),
        ] {
            let answer = decide(
                0,
                Scope::Automatic,
                &ask(vec![rule(7, kind, pattern)], &names),
            )
            .unwrap();
            assert_eq!(ignored(&answer, &names), [(hit, 7)], "{kind} {pattern}");
        }
    }

    #[test]
    fn the_lowest_id_gives_the_reason() {
        let names = ["6.5.0-1-amd64", "6.5.0-1+debug-amd64"];
        let mut broken = rule(3, "like", "6.5.%");
        broken.reason = "It loses data.".to_owned();
        let question = ask(
            vec![
                rule(9, "regex", "amd64"),
                broken,
                rule(1, "like", "%+debug%"),
            ],
            &names,
        );
        let answer = decide(0, Scope::All, &question).unwrap();
        assert_eq!(ignored(&answer, &names), [(names[0], 3), (names[1], 1)]);
        assert_eq!(
            answer.grounds[0].reason.text,
            "It matches the LIKE pattern `6.5.%`: It loses data."
        );
        assert_eq!(
            answer.grounds[1].reason.text,
            "It matches the LIKE pattern `%+debug%`."
        );
        assert_eq!(answer.grounds[0].scope, "all");
        assert_eq!(
            answer.basis.reason.text,
            "2 of 2 versions match one of 3 rules."
        );
    }

    #[test]
    fn a_rule_counts_until_it_expires_and_the_answer_wakes_then() {
        let names = ["6.5.0-1-amd64"];
        let until = |id, expires| Rule {
            expires: Some(expires),
            ..rule(id, "like", "6.5.%")
        };
        let question = ask(
            vec![
                until(1, 100),
                until(2, 300),
                until(3, 200),
                rule(4, "like", "6%"),
            ],
            &names,
        );
        let at = |at| {
            let answer = decide(at, Scope::Automatic, &question).unwrap();
            (ignored(&answer, &names)[0].1, answer.basis.wake_at)
        };
        assert_eq!(at(99), (1, Some(100)));
        assert_eq!(at(100), (2, Some(200)));
        assert_eq!(at(200), (2, Some(300)));
        assert_eq!(at(300), (4, None));
    }

    #[test]
    fn a_rule_that_cannot_be_used_stops_with_its_id() {
        for (kind, pattern) in [
            ("like", r"a\"),
            ("regex", "("),
            ("glob", "*"),
            ("regex", r"(\w{99}){99}"),
        ] {
            let stop = decide(
                0,
                Scope::All,
                &ask(vec![rule(1, "like", "x"), rule(5, kind, pattern)], &["6.5"]),
            );
            let Err(Stop::Failed(reason)) = stop else {
                panic!("{kind} {pattern} was taken")
            };
            assert_eq!(reason.code, "rule.unreadable");
            assert_eq!(reason.details, [("rule.id".to_owned(), "5".to_owned())]);
        }
    }

    proptest! {
        /// The contract: the host may cut batches as it likes.
        #[test]
        fn a_version_is_judged_by_itself(
            names in prop::collection::vec("[56]\\.[0-9]{1,2}\\.0-(1|57)-(generic|amd64)", 1..20),
            patterns in prop::collection::vec("[56]\\.[0-9]\\.%|%-generic|_[.]1%|%5%7%", 0..8),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let rules: Vec<Rule> = (1..).zip(&patterns).map(|(id, pattern)| rule(id, "like", pattern)).collect();
            let together = decide(0, Scope::All, &ask(rules.clone(), &names)).unwrap();
            let mut alone = Vec::new();
            for name in &names {
                let one = [*name];
                alone.extend(ignored(&decide(0, Scope::All, &ask(rules.clone(), &one)).unwrap(), &one));
            }
            prop_assert_eq!(ignored(&together, &names), alone);
        }
    }
}
