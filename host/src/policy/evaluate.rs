//! Asking any hook with JSON: what the author's tools, replay and shadow runs have in common.
//!
//! The server's own turn asks with the types of the hook and comes to the same [`Plugin::ask`], so a
//! tool sees what the server sees.

use pointsman_api::raw::Raw;
use serde_json::Value;

use super::hook::with_hook;
use super::wit::types::{Context, Fact, Found, Query, Reason, Stop};
use super::{CallLimits, Called, Hook, Outcome, Plugin};

/// Rounds of facts that a policy may ask for.
pub const FACT_ROUNDS: usize = 4;

/// Queries in one round.
pub const MAX_QUERIES: usize = 32;

/// How a decision ended, as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `answered`, `abstained`, `failed`, `bad-settings`, `asks-for-ever`, or an outcome's own code.
    pub outcome: &'static str,
    /// The reason's code, for programs.
    pub code: String,
    /// The reason, for people; at most 1,024 characters.
    pub text: String,
}

impl<A> Outcome<A> {
    /// How this ended; `reason` gives an answer's own reason.
    pub fn ending<'a>(&'a self, reason: impl FnOnce(&'a A) -> (&'a str, &'a str)) -> Ending {
        let (outcome, code, text) = match self {
            Outcome::Answered(answer) => {
                let (code, text) = reason(answer);
                ("answered", code.to_owned(), text.to_owned())
            }
            Outcome::Stopped(Stop::Abstain(reason)) => {
                ("abstained", reason.code.clone(), reason.text.clone())
            }
            Outcome::Stopped(Stop::Failed(reason)) => {
                ("failed", reason.code.clone(), reason.text.clone())
            }
            Outcome::Stopped(Stop::BadSettings(problems)) => {
                let problems: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.field, problem.text))
                    .collect();
                (
                    "bad-settings",
                    "settings.bad".to_owned(),
                    problems.join("; "),
                )
            }
            Outcome::Stopped(Stop::Ask(queries)) => (
                "asks-for-ever",
                "asks-for-ever".to_owned(),
                match queries.len() {
                    0 => "it asks for facts, and names none".to_owned(),
                    1..=MAX_QUERIES => {
                        format!("it still asks for facts after {FACT_ROUNDS} rounds")
                    }
                    many => {
                        format!("it asks for {many} facts at once, and may ask for {MAX_QUERIES}")
                    }
                },
            ),
            other => (
                other.code(),
                other.code().to_owned(),
                other.detail().unwrap_or_default(),
            ),
        };
        Ending {
            outcome,
            code: clean(&code),
            text: clean(&text),
        }
    }
}

impl Outcome<Value> {
    /// How this ended, for an answer in the form of the bindings.
    pub fn ending_of_json(&self) -> Ending {
        self.ending(|answer| {
            let reason = &answer["basis"]["reason"];
            let text = |name: &str| reason[name].as_str().unwrap_or_default();
            (text("code"), text("text"))
        })
    }

    /// What came back, in the form of the bindings: the answer, or the stop.
    pub fn output(&self) -> Option<Value> {
        match self {
            Outcome::Answered(answer) => Some(answer.clone()),
            Outcome::Stopped(stop) => serde_json::to_value(stop).ok(),
            _ => None,
        }
    }
}

/// A guest's text as the database can hold it.
fn clean(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(1_024).collect()
}

/// How a whole decision ended, which may have taken several calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided<A> {
    /// The last call. Its fuel, duration and log are those of all calls together.
    pub called: Called<A>,
    /// The facts that it was given.
    pub facts: Vec<Fact>,
}

/// Where facts come from.
pub trait Facts {
    /// What the host knows of this.
    fn find(&mut self, query: &Query) -> Found;
}

/// A host that knows no facts about this kind of subject.
pub struct NoFacts;

impl Facts for NoFacts {
    fn find(&mut self, query: &Query) -> Found {
        unknown(query)
    }
}

/// The facts of a decision that was made before: the same queries get the same answers, and one that
/// was asked again gets them in the order in which they were given.
pub struct Recorded<'a> {
    left: Vec<&'a Fact>,
    given: Vec<&'a Fact>,
    missed: Option<String>,
}

impl<'a> Recorded<'a> {
    /// These, of which none was given yet.
    pub fn new(facts: &'a [Fact]) -> Self {
        Recorded {
            left: facts.iter().collect(),
            given: vec![],
            missed: None,
        }
    }

    /// The kind of the first fact that was asked for and is not among them: what was answered then is nothing that a
    /// host would have said.
    pub fn missed(&self) -> Option<&str> {
        self.missed.as_deref()
    }
}

impl Facts for Recorded<'_> {
    fn find(&mut self, query: &Query) -> Found {
        let same = |fact: &&Fact| fact.query == *query;
        if let Some(at) = self.left.iter().position(same) {
            self.given.push(self.left.remove(at));
        }
        match self.given.iter().rev().find(|fact| same(fact)) {
            Some(fact) => fact.found.clone(),
            None => {
                self.missed.get_or_insert_with(|| query.kind.clone());
                unknown(query)
            }
        }
    }
}

/// The answer to a query of a kind that this host does not know.
pub fn unknown(query: &Query) -> Found {
    let mut kind = query.kind.clone();
    kind.truncate(kind.floor_char_boundary(64));
    Found::Refused(Reason {
        code: "query.unknown".to_owned(),
        text: format!("this host knows no facts of the kind `{kind}`"),
        details: vec![],
    })
}

fn holds_nul(query: &Query) -> bool {
    let args = query.args.iter().flat_map(|(name, value)| [name, value]);
    std::iter::once(&query.kind)
        .chain(args)
        .any(|text| text.contains('\0'))
}

impl Plugin {
    /// Asks until the plugin says something else than that it wants facts, at most [`FACT_ROUNDS`]
    /// times more. Blocks like [`Plugin::ask`].
    pub fn decide<Q: super::Asks>(
        &self,
        limits: &CallLimits,
        context: &Context,
        question: &Q,
        source: &mut dyn Facts,
    ) -> Decided<Q::Answer> {
        let mut called = self.ask(limits, context, question);
        let mut context = context.clone();
        for _ in 0..FACT_ROUNDS {
            let Outcome::Stopped(Stop::Ask(queries)) = &called.outcome else {
                break;
            };
            if queries.is_empty() || queries.len() > MAX_QUERIES {
                break;
            }
            // What was asked is kept with what was found, and the record keeps no NUL.
            if queries.iter().any(holds_nul) {
                let detail = "a NUL is in what it asks for".to_owned();
                called.outcome = Outcome::BadAnswer { detail };
                break;
            }
            for query in queries {
                let found = source.find(query);
                context.facts.push(Fact {
                    query: query.clone(),
                    found,
                });
            }
            let mut before = (called.fuel, called.duration, called.log);
            called = self.ask(limits, &context, question);
            called.fuel += before.0;
            called.duration += before.1;
            before.2.push_str(&called.log);
            called.log = before.2;
        }
        Decided {
            called,
            facts: context.facts,
        }
    }

    /// As [`decide`](Self::decide), for the text of a question in the form of the bindings: how it ended,
    /// and the text of what came back. Nothing is made a tree on the way, so that a replay costs little
    /// more than the call.
    ///
    /// # Errors
    /// The question does not have that form.
    pub fn decide_text(
        &self,
        hook: Hook,
        limits: &CallLimits,
        context: &Context,
        question: &str,
        source: &mut dyn Facts,
    ) -> Result<(Called<Raw>, Ending), serde_json::Error> {
        with_hook!(hook, Question => {
            let question: Question = serde_json::from_str(question)?;
            let Decided { called, .. } = self.decide(limits, context, &question, source);
            let ending = called.outcome.ending(|answer| {
                let reason = &answer.basis.reason;
                (&reason.code, &reason.text)
            });
            let called = Called {
                outcome: called.outcome.try_map(|answer| Raw::of(&answer))?,
                fuel: called.fuel,
                log: called.log,
                duration: called.duration,
            };
            Ok((called, ending))
        })
    }

    /// As [`decide`](Self::decide), for a question and an answer in the form of the bindings.
    ///
    /// # Errors
    /// The question does not have that form.
    pub fn decide_json(
        &self,
        hook: Hook,
        limits: &CallLimits,
        context: &Context,
        question: &Value,
        source: &mut dyn Facts,
    ) -> Result<Decided<Value>, serde_json::Error> {
        with_hook!(hook, Question => {
            let question: Question = serde::Deserialize::deserialize(question)?;
            let Decided { called, facts } = self.decide(limits, context, &question, source);
            Ok(Decided {
                called: Called {
                    outcome: called.outcome.try_map(serde_json::to_value)?,
                    fuel: called.fuel,
                    log: called.log,
                    duration: called.duration,
                },
                facts,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_changed_while_it_was_asked_for_is_given_in_its_order() {
        let query = |kind: &str| Query {
            kind: kind.to_owned(),
            args: vec![],
        };
        let facts = ["a", "b"].map(|value| Fact {
            query: query("runs"),
            found: Found::Value(value.to_owned()),
        });
        let mut recorded = Recorded::new(&facts);
        let found = ["runs", "runs", "runs"].map(|kind| recorded.find(&query(kind)));
        assert_eq!(
            found,
            ["a", "b", "b"].map(|value| Found::Value(value.to_owned()))
        );
        assert!(matches!(
            recorded.find(&query("weather")),
            Found::Refused(_)
        ));
    }
}
