//! The contract in `wit/` as JSON: how questions, answers and contexts look to people and programs.
//!
//! Inside the host a question is what the bindings' types make of it. Outside, in decisions, in cases
//! and in bundles, it has the contract's own names: fields in kebab-case, `attrs` as an object, packed
//! strings as a list, instants as RFC 3339, a variant's case as a string or as an object with that one
//! key. Both ways are read off the WIT files, so no hook has code of its own here.

mod read;
mod show;

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use wit_parser::{InterfaceId, Resolve, SourceMap, Type, TypeDefKind, TypeId};

use read::Pointer;

/// The files of the contract, by name.
pub const FILES: [(&str, &str); 5] = [
    ("types.wit", include_str!("../../wit/0.1/types.wit")),
    ("kernel.wit", include_str!("../../wit/0.1/kernel.wit")),
    ("merge.wit", include_str!("../../wit/0.1/merge.wit")),
    ("run.wit", include_str!("../../wit/0.1/run.wit")),
    ("worlds.wit", include_str!("../../wit/0.1/worlds.wit")),
];

/// A value that does not fit the contract: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", if .at.is_empty() { "/" } else { .at })]
pub struct Misfit {
    /// A JSON pointer.
    pub at: String,
    /// What would be right.
    pub problem: String,
}

/// Which part of a hook's contract a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the host asks.
    Question,
    /// What the plugin answers.
    Answer,
    /// Why the plugin does not answer.
    Stop,
    /// Who asks, when, and with what settings.
    Context,
}

/// From the contract's form to that of the bindings. What is left out is empty: no text, zero, none.
///
/// # Errors
/// The first place that does not fit.
pub fn read(hook: &str, part: Part, value: &Value) -> Result<Value, Misfit> {
    let contract = &*CONTRACT;
    let ty = contract.part(hook, part)?;
    contract.read(&ty, value, &mut Pointer::default())
}

/// From the form of the bindings to the contract's. What does not fit, as it was written by another
/// version, stays as it is.
#[must_use]
pub fn show(hook: &str, part: Part, value: &Value) -> Value {
    let contract = &*CONTRACT;
    match contract.part(hook, part) {
        Ok(ty) => contract.show(&ty, value),
        Err(_) => value.clone(),
    }
}

/// As [`show`], for a record that the hooks share: `pull-request`.
#[must_use]
pub fn show_record(name: &str, value: &Value) -> Value {
    let contract = &*CONTRACT;
    let types = contract.interfaces.get("types");
    let id = types.and_then(|types| contract.resolve.interfaces[*types].types.get(name));
    match id {
        Some(id) => contract.show(&Type::Id(*id), value),
        None => value.clone(),
    }
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let mut files = SourceMap::new();
    for (name, text) in FILES {
        files.push(Path::new(name), text);
    }
    Contract::parse(files).unwrap_or_else(|error| panic!("the built-in contract: {error}"))
});

struct Contract {
    resolve: Resolve,
    interfaces: HashMap<String, InterfaceId>,
}

/// The types that have a form of their own, by name.
const PACKED: &str = "packed";
const INSTANT: &str = "instant";
const ATTRS: &str = "attrs";

impl Contract {
    fn parse(files: SourceMap) -> anyhow::Result<Self> {
        let group = files
            .parse()
            .map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
        let mut resolve = Resolve::default();
        let package = resolve.push_group(group)?;
        let interfaces = resolve.packages[package]
            .interfaces
            .iter()
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        Ok(Self {
            resolve,
            interfaces,
        })
    }

    fn part(&self, hook: &str, part: Part) -> Result<Type, Misfit> {
        let find = || {
            let interface = &self.resolve.interfaces[*self.interfaces.get(hook)?];
            let decide = interface.functions.get("decide")?;
            let answers = match decide.result? {
                Type::Id(id) => match &self.resolve.types[id].kind {
                    TypeDefKind::Result(result) => (result.ok, result.err),
                    _ => return None,
                },
                _ => return None,
            };
            match part {
                Part::Context => decide.params.first().map(|param| param.ty),
                Part::Question => decide.params.get(1).map(|param| param.ty),
                Part::Answer => answers.0,
                Part::Stop => answers.1,
            }
        };
        find().ok_or_else(|| Misfit {
            at: String::new(),
            problem: format!("there is no hook `{hook}` in the contract"),
        })
    }

    /// The definition behind a name that only stands for another type, and the last name on the way that
    /// has a form of its own.
    fn behind(&self, id: TypeId) -> (&TypeDefKind, Option<&str>) {
        let mut id = id;
        let mut special = None;
        loop {
            let ty = &self.resolve.types[id];
            if let Some(name @ (PACKED | INSTANT | ATTRS)) = ty.name.as_deref() {
                special = Some(name);
            }
            match &ty.kind {
                TypeDefKind::Type(Type::Id(next)) => id = *next,
                kind => return (kind, special),
            }
        }
    }
}

/// `wake-at` as a Rust field.
fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// `bad-settings` as a Rust variant.
fn camel(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

/// JSON as a plugin is given it: keys in order, so that the same settings are the same text wherever they
/// come from. (A map of `serde_json` keeps the order of insertion in some builds, and sorts in others.)
pub fn text(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields: std::collections::BTreeMap<&String, &Value> = fields.iter().collect();
                let fields = fields.into_iter().map(|(k, v)| (k.clone(), sorted(v)));
                Value::Object(fields.collect())
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_reads_and_shows_as_the_contract_has_it() {
        let plain = json!({
            "distro": "ubuntu-22.04",
            "distro-attrs": {"supported": "true"},
            "rules": [{"id": 7, "kind": "like", "pattern": "6.5.%", "reason": "", "expires": "2026-11-22T08:00:00.000Z", "attrs": {}}],
            "names": ["5.15.0-57-generic", "6.5.0-1-generic"],
            "versions": [{"first-seen": "2026-01-01T00:00:00.000Z", "hosts": 1}, {"first-seen": 0, "hosts": 0}],
            "version-attrs": [[1, {"x-kind": "rt"}]],
        });
        let read = read("ignore", Part::Question, &plain).unwrap();
        assert_eq!(read["names"], "5.15.0-57-generic\u{0}6.5.0-1-generic\u{0}");
        assert_eq!(read["distro_attrs"], json!([["supported", "true"]]));
        assert_eq!(read["rules"][0]["expires"], json!(1_795_334_400_000_u64));
        assert_eq!(show("ignore", Part::Question, &read), plain);
    }

    #[test]
    fn what_is_left_out_is_empty() {
        let read = read(
            "gate",
            Part::Question,
            &json!({"kind": "head", "members": [{"number": 3}]}),
        )
        .unwrap();
        assert_eq!(read["members"][0]["number"], 3);
        assert_eq!(read["members"][0]["changed"], "");
        assert_eq!(read["runs"], json!([]));
    }

    #[test]
    fn cases_have_the_names_of_the_contract() {
        let stop = json!({"bad-settings": [{"field": "/a", "code": "c", "text": "t"}]});
        let inner = read("gate", Part::Stop, &stop).unwrap();
        assert_eq!(inner["BadSettings"][0]["field"], "/a");
        assert_eq!(show("gate", Part::Stop, &inner), stop);
        let answer = json!({"need": "hold"});
        let inner = read("gate", Part::Answer, &answer).unwrap();
        assert_eq!(inner["need"], "Hold");
        assert_eq!(show("gate", Part::Answer, &inner)["need"], "hold");
    }

    #[test]
    fn a_misfit_says_where_and_what_would_be_right() {
        for (value, said) in [
            (
                json!({"members": [{"nummer": 1}]}),
                "/members/0/nummer: there is no such field; there are number, author",
            ),
            (
                json!({"changed": "a"}),
                "/changed: \"a\" is not a list of strings",
            ),
            (
                json!({"runs": [{"at": "soon"}]}),
                "/runs/0/at: \"soon\" is not a time like",
            ),
            (
                json!({"changed-total": -1}),
                "/changed-total: -1 is not a whole number, 0 or more",
            ),
            (json!({"attrs": {"a": 1}}), "/attrs/a: 1 is not a string"),
            (json!([]), "/: a list is not an object"),
        ] {
            let misfit = read("gate", Part::Question, &value)
                .unwrap_err()
                .to_string();
            assert!(misfit.starts_with(said), "{misfit}");
        }
        let misfit = read("gate", Part::Answer, &json!({})).unwrap_err();
        assert_eq!(
            misfit.to_string(),
            "/need: it is missing; it is `run`, `pass`, `fail` or `hold`"
        );
        assert!(read("gat", Part::Answer, &json!({})).is_err());
    }
}
