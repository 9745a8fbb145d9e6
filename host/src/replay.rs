//! Making a recorded decision again, and telling what would be different.
//!
//! What a plugin saw is on record: question, settings, time, chance, notes and facts. So the same version
//! gives the same bytes, anywhere; and another version, asked the same, shows what it would have done.

mod many;

use pointsman_api::pipeline::DecisionRecord;
use pointsman_api::raw::Raw;
use serde_json::Value;

use crate::contract::{self, Part};
use crate::policy::wit::types::{Context, Fact};
use crate::policy::{CallLimits, Ending, Hook, Outcome, Plugin, Recorded};

pub use many::{Gone, many};

/// Outcomes that say something of the machine, and nothing of the plugin.
const INFRASTRUCTURE: [&str; 4] = ["deadline", "busy", "host-failed", "stack-overflow"];

/// Who is asked what was asked then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The version that decided, with its settings: what it does otherwise now is the machine's doing.
    Same,
    /// Another version, or other settings: that it never ends, say, is its own doing.
    Candidate,
}

/// How a decision came out this time.
#[derive(Debug, Clone, PartialEq)]
pub struct Again {
    /// How it ended.
    pub ending: Ending,
    /// The answer or the stop, in the form of the bindings.
    pub output: Option<Raw>,
    /// Fuel used.
    pub fuel: u64,
    /// Why it says nothing about what is on record, if it does not.
    pub aside: Option<NotReplayable>,
}

/// The first place in which two decisions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A JSON pointer into the answer in the contract's names, with `*` for places in a list; empty: how
    /// it ended.
    pub at: String,
    /// What is on record.
    pub before: String,
    /// What it is this time.
    pub after: String,
}

/// Why a decision cannot be made again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayable {
    /// It ended for a reason that was the machine's.
    #[error("it ended with `{0}`, which is no decision of the plugin")]
    Infrastructure(String),
    /// It ran out of fuel, which has another price on another engine.
    #[error("it ran out of fuel on another engine, where fuel has another price")]
    OtherEngine,
    /// It ended this time for a reason that is this machine's.
    #[error("it ended with `{0}` here, which is no decision of the plugin")]
    Here(&'static str),
    /// It asks for facts that nobody asked for then.
    #[error("it asks for facts that are not on record, of the kind `{0}`")]
    Facts(String),
    /// What is on record does not have the form of this version.
    #[error("what is on record cannot be read: {0}")]
    Unreadable(String),
}

/// Asks `plugin` what was asked then. `engine` is the fingerprint of the engine here.
///
/// Blocks like [`Plugin::ask`].
///
/// # Errors
/// The decision is none that can be made again, or what came out cannot be compared with it.
pub fn again(
    plugin: &Plugin,
    asked: Asked,
    record: &DecisionRecord,
    engine: &str,
) -> Result<Again, NotReplayable> {
    if let Some(why) = unlike(record, engine) {
        return Err(why);
    }
    let again = anew(plugin, asked, record, engine)?;
    match again.aside {
        Some(why) => Err(why),
        None => Ok(again),
    }
}

/// Why a decision is none that another machine would make in the same way.
fn unlike(record: &DecisionRecord, engine: &str) -> Option<NotReplayable> {
    if INFRASTRUCTURE.contains(&record.outcome.as_str()) {
        return Some(NotReplayable::Infrastructure(record.outcome.clone()));
    }
    (record.outcome == "out-of-fuel" && record.engine != engine)
        .then_some(NotReplayable::OtherEngine)
}

/// As [`again`], whatever became of the decision then: what failed through the machine is asked as well, and
/// [`Again::aside`] says why the two cannot be compared.
///
/// # Errors
/// What is on record cannot be read.
pub fn anew(
    plugin: &Plugin,
    asked: Asked,
    record: &DecisionRecord,
    engine: &str,
) -> Result<Again, NotReplayable> {
    let again = once(plugin, asked, record, engine)?;
    // It may have been the machine that stood still: whoever never ends does so twice.
    match again.ending.outcome {
        "deadline" if asked == Asked::Candidate => once(plugin, asked, record, engine),
        _ => Ok(again),
    }
}

fn once(
    plugin: &Plugin,
    asked: Asked,
    record: &DecisionRecord,
    engine: &str,
) -> Result<Again, NotReplayable> {
    let unreadable = |error: &dyn std::fmt::Display| NotReplayable::Unreadable(error.to_string());
    let hook: Hook = record.hook.parse().map_err(|e| unreadable(&e))?;
    let given = |name: &str| {
        let context = record.context.as_ref();
        context.and_then(|context| context.get(name)).cloned()
    };
    let pairs = |name: &str| -> Result<Vec<(String, String)>, NotReplayable> {
        match given(name) {
            Some(value) => serde_json::from_value(value).map_err(|e| unreadable(&e)),
            None => Ok(vec![]),
        }
    };
    let facts: Vec<Fact> = match given("facts") {
        Some(facts) => serde_json::from_value(facts).map_err(|e| unreadable(&e))?,
        None => vec![],
    };
    let context = Context {
        pipeline: record.pipeline.clone(),
        at: u64::try_from(record.at.timestamp_millis()).unwrap_or(0),
        seed: record.seed.cast_unsigned(),
        settings: contract::text(&record.settings),
        notes: pairs("notes")?,
        facts: vec![],
        attrs: pairs("attrs")?,
    };
    // Those that it had then, whatever the ceilings are here and now.
    let then = record.limits.unwrap_or_default();
    let limits = CallLimits::of(hook).set(&then, &CallLimits::HIGHEST);
    let mut recorded = Recorded::new(&facts);
    let (called, ending) = plugin
        .decide_text(hook, &limits, &context, record.input.get(), &mut recorded)
        .map_err(|e| unreadable(&e))?;
    let own_doing =
        matches!(ending.outcome, "deadline" | "stack-overflow") && asked == Asked::Candidate;
    let aside = match recorded.missed() {
        _ if !called.outcome.is_decision() && !own_doing => {
            Some(NotReplayable::Here(ending.outcome))
        }
        Some(kind) => Some(NotReplayable::Facts(kind.to_owned())),
        None => unlike(record, engine),
    };
    let output = match called.outcome {
        Outcome::Answered(answer) => Some(answer),
        Outcome::Stopped(stop) => Raw::of(&stop).ok(),
        _ => None,
    };
    Ok(Again {
        ending,
        output,
        fuel: called.fuel,
        aside,
    })
}

/// What is different this time; none if nothing is.
#[must_use]
pub fn compare(record: &DecisionRecord, again: &Again) -> Option<Difference> {
    // The host's refusal of an answer is the host's: the plugin answered.
    let before = match record.outcome.as_str() {
        "refused" => "answered",
        other => other,
    };
    let after = again.ending.outcome;
    if before != after {
        return Some(Difference {
            at: String::new(),
            before: ending(before, &record.reason_code),
            after: ending(after, &again.ending.code),
        });
    }
    if record.output == again.output {
        return None;
    }
    // Other bytes may still say the same: another host may have written the fields in another order.
    let tree = |output: &Option<Raw>| output.as_ref().map_or(Value::Null, Raw::value);
    let (old, new) = (tree(&record.output), tree(&again.output));
    if old == new {
        return None;
    }
    let part = match after {
        "answered" => Part::Answer,
        _ => Part::Stop,
    };
    let show = |output: &Value| contract::show(&record.hook, part, output);
    let (old, new) = (show(&old), show(&new));
    let mut at = String::new();
    let (old, new) = first(&old, &new, &mut at).unwrap_or((&Value::Null, &Value::Null));
    Some(Difference {
        before: brief(old),
        after: brief(new),
        at,
    })
}

fn ending(outcome: &str, code: &str) -> String {
    match code.is_empty() || code == outcome {
        true => outcome.to_owned(),
        false => format!("{outcome} ({code})"),
    }
}

/// The first two values that differ, and the way there.
fn first<'a>(old: &'a Value, new: &'a Value, at: &mut String) -> Option<(&'a Value, &'a Value)> {
    let here = at.len();
    match (old, new) {
        (Value::Object(olds), Value::Object(news)) => {
            let keys: std::collections::BTreeSet<&String> =
                olds.keys().chain(news.keys()).collect();
            for key in keys {
                let (old, new) = (
                    olds.get(key).unwrap_or(&Value::Null),
                    news.get(key).unwrap_or(&Value::Null),
                );
                at.push('/');
                at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                if let Some(found) = first(old, new, at) {
                    return Some(found);
                }
                at.truncate(here);
            }
            None
        }
        (Value::Array(olds), Value::Array(news)) if olds.len() == news.len() => {
            for (old, new) in olds.iter().zip(news) {
                at.push_str("/*");
                if let Some(found) = first(old, new, at) {
                    return Some(found);
                }
                at.truncate(here);
            }
            None
        }
        _ => (old != new).then_some((old, new)),
    }
}

/// Bytes of a value that are shown.
const SHOWN: usize = 80;

fn brief(value: &Value) -> String {
    let mut text = match value {
        Value::Array(items) => format!("{} items", items.len()),
        Value::Object(fields) => format!(
            "{{{}}}",
            fields.keys().cloned().collect::<Vec<_>>().join(", ")
        ),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() > SHOWN {
        text.truncate(text.floor_char_boundary(SHOWN));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        let mut at = String::new();
        let old = json!({"steps": [{"stage": "a", "index": 0}, {"stage": "b", "index": 1}]});
        let new = json!({"steps": [{"stage": "a", "index": 0}, {"stage": "c", "index": 1}]});
        let found = first(&old, &new, &mut at).unwrap();
        assert_eq!(
            (at.as_str(), found),
            ("/steps/*/stage", (&json!("b"), &json!("c")))
        );
        at.clear();
        assert_eq!(first(&old, &old, &mut at), None);
        assert_eq!(at, "");
        let longer = json!({"steps": []});
        first(&old, &longer, &mut at).unwrap();
        assert_eq!(
            (at.as_str(), brief(&longer["steps"])),
            ("/steps", "0 items".to_owned())
        );
    }
}
