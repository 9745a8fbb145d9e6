//! Cases: what a plugin is asked, and what it is expected to answer, as JSON files.

use std::path::{Path, PathBuf};

use pointsman_host::contract::{self, Part};
use pointsman_host::policy::wit::types::{Context, Fact};
use pointsman_host::policy::{CallLimits, Decided, Hook, Plugin, Recorded};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Error;

/// The highest seed, as the contract says: every language has it exactly.
const MAX_SEED: u64 = (1 << 53) - 1;

/// One case, in the contract's names. What is left out of question and context is empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// What people call it.
    #[serde(default)]
    pub(super) name: String,
    /// Which hook is asked.
    pub(super) hook: String,
    /// The settings: a JSON object.
    #[serde(default)]
    settings: Option<Value>,
    /// Pipeline, time, seed, notes, facts, attrs.
    #[serde(default)]
    context: Option<Value>,
    /// The question.
    question: Value,
    /// What must be so; none only runs it.
    #[serde(default)]
    pub(super) expect: Option<Expect>,
}

/// What is named here must be so; what is not named may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// `answered` where nothing else is said.
    #[serde(default)]
    outcome: Option<String>,
    /// Parts of the answer. A list must have the same length, an object at least these fields.
    #[serde(default)]
    answer: Option<Value>,
    /// Parts of the stop.
    #[serde(default)]
    stop: Option<Value>,
    /// The code of the reason.
    #[serde(default)]
    code: Option<String>,
}

/// A case that can be asked.
pub(super) struct Ready {
    pub(super) name: String,
    pub(super) hook: Hook,
    pub(super) context: Context,
    facts: Vec<Fact>,
    question: Value,
    pub(super) expect: Option<Expect>,
}

impl Ready {
    pub(super) fn ask(
        &self,
        plugin: &Plugin,
        limits: &CallLimits,
    ) -> Result<Decided<Value>, Error> {
        plugin
            .decide_json(
                self.hook,
                limits,
                &self.context,
                &self.question,
                &mut Recorded::new(&self.facts),
            )
            .map_err(|error| Error::failed(format!("{}: {error}", self.name)))
    }

    /// What is not as expected; none if all is.
    pub(super) fn failure(&self, decided: &Decided<Value>) -> Option<String> {
        let expect = self.expect.as_ref()?;
        let outcome = &decided.called.outcome;
        let ending = outcome.ending_of_json();
        let usual = match expect.stop {
            Some(_) => None,
            None => Some("answered"),
        };
        if let Some(wanted) = expect.outcome.as_deref().or(usual)
            && wanted != ending.outcome
        {
            return Some(format!(
                "expected {wanted}, and it {}: {}",
                ending.outcome, ending.text
            ));
        }
        if let Some(wanted) = &expect.code
            && *wanted != ending.code
        {
            return Some(format!("expected the code {wanted}, found {}", ending.code));
        }
        let part = match ending.outcome {
            "answered" => Part::Answer,
            _ => Part::Stop,
        };
        let output = outcome.output().unwrap_or(Value::Null);
        let output = contract::show(self.hook.name(), part, &output);
        let wanted = match part {
            Part::Answer => &expect.answer,
            _ => &expect.stop,
        };
        match (wanted, &expect.stop) {
            (Some(wanted), _) => unlike(wanted, &output, &mut String::new()),
            (None, Some(_)) => Some("expected a stop, and it answered".to_owned()),
            _ => None,
        }
    }
}

/// Reads the cases of files and of the `.json` files in folders.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Ready>, Error> {
    let mut files = vec![];
    for path in paths {
        if path.is_dir() {
            let unreadable =
                |error| Error::failed(format!("cannot read {}: {error}", path.display()));
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?.path();
                if entry
                    .extension()
                    .is_some_and(|extension| extension == "json")
                {
                    files.push(entry);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    let mut cases = vec![];
    for file in &files {
        cases.extend(read_file(file)?);
    }
    if cases.is_empty() {
        return Err(Error::usage(
            "there are no cases",
            "a case is a JSON file like {\"hook\": \"gate\", \"question\": {}, \"expect\": {\"answer\": {\"need\": \"run\"}}}",
        ));
    }
    Ok(cases)
}

fn read_file(file: &Path) -> Result<Vec<Ready>, Error> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::failed(format!("cannot read {shown}: {error}")))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Error::failed(format!("{shown} is not JSON: {error}")))?;
    let cases = match value {
        Value::Array(cases) => cases,
        one => vec![one],
    };
    let stem = file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let many = cases.len() > 1;
    let named = |(n, case): (usize, Value)| {
        let case: Case = serde_json::from_value(case)
            .map_err(|error| Error::failed(format!("{shown}: case {}: {error}", n + 1)))?;
        let name = match (case.name.is_empty(), many) {
            (false, _) => case.name.clone(),
            (true, false) => stem.clone(),
            (true, true) => format!("{stem} {}", n + 1),
        };
        ready(case, name).map_err(|problem| Error::failed(format!("{shown}: {problem}")))
    };
    cases.into_iter().enumerate().map(named).collect()
}

fn ready(case: Case, name: String) -> Result<Ready, String> {
    let hook: Hook = case
        .hook
        .parse()
        .map_err(|error| format!("{name}: {error}"))?;
    let question = contract::read(hook.name(), Part::Question, &case.question)
        .map_err(|misfit| format!("{name}: question{misfit}"))?;
    let mut given = case.context.unwrap_or_else(|| json!({}));
    if let Some(given) = given.as_object_mut()
        && !given.contains_key("settings")
    {
        let settings = case.settings.unwrap_or_else(|| json!({}));
        given.insert(
            "settings".to_owned(),
            Value::String(contract::text(&settings)),
        );
    }
    let context = contract::read(hook.name(), Part::Context, &given)
        .map_err(|misfit| format!("{name}: context{misfit}"))?;
    let mut context: Context =
        serde_json::from_value(context).map_err(|error| format!("{name}: context: {error}"))?;
    if context.seed > MAX_SEED {
        return Err(format!(
            "{name}: context/seed: {} is above {MAX_SEED}, and the host gives none that is",
            context.seed
        ));
    }
    let facts = std::mem::take(&mut context.facts);
    Ok(Ready {
        name,
        hook,
        context,
        facts,
        question,
        expect: case.expect,
    })
}

/// The first place where `found` is not as wanted.
fn unlike(wanted: &Value, found: &Value, at: &mut String) -> Option<String> {
    let here = at.len();
    let mut deeper = |key: &str, wanted: &Value, found: &Value| {
        at.push('/');
        at.push_str(key);
        let unlike = unlike(wanted, found, at);
        at.truncate(here);
        unlike
    };
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .find_map(|(key, wanted)| deeper(key, wanted, found.get(key).unwrap_or(&Value::Null))),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(n, (wanted, found))| deeper(&n.to_string(), wanted, found)),
        _ if wanted == found => None,
        _ => {
            let at = if at.is_empty() { "/" } else { at.as_str() };
            Some(format!("{at}: expected {wanted}, found {found}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_must_be_so() {
        let found = json!({"lanes": [{"members": [1, 2], "priority": 0}], "basis": {"reason": {"code": "a"}}});
        let unlike = |wanted| unlike(&wanted, &found, &mut String::new());
        assert_eq!(unlike(json!({"lanes": [{"members": [1, 2]}]})), None);
        assert_eq!(unlike(json!({})), None);
        assert_eq!(
            unlike(json!({"lanes": [{"members": [2, 1]}]})).unwrap(),
            "/lanes/0/members/0: expected 2, found 1"
        );
        assert_eq!(
            unlike(json!({"lanes": []})).unwrap().split(':').next(),
            Some("/lanes")
        );
        assert_eq!(
            unlike(json!({"basis": {"reason": {"text": "b"}}})).unwrap(),
            "/basis/reason/text: expected \"b\", found null"
        );
    }

    #[test]
    fn a_case_that_does_not_fit_the_contract_says_where() {
        let case = |question: Value| {
            let case: Case =
                serde_json::from_value(json!({"hook": "gate", "question": question})).unwrap();
            ready(case, "c".to_owned()).err()
        };
        assert_eq!(case(json!({"kind": "head"})), None);
        let said = case(json!({"kinds": 1})).unwrap();
        assert!(
            said.starts_with("c: question/kinds: there is no such field"),
            "{said}"
        );
        let case: Case = serde_json::from_value(
            json!({"hook": "gate", "question": {}, "context": {"seed": MAX_SEED + 1}}),
        )
        .unwrap();
        let said = ready(case, "c".to_owned()).err().unwrap();
        assert!(said.starts_with("c: context/seed: "), "{said}");
    }
}
