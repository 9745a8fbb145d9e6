//! What all hooks of a plugin have in common: its settings, and who asks.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::bindings::shared::pointsman::policy::types;
use crate::{Fact, Found, Instant, Problem, Stop};

/// A policy and the settings of all its hooks.
pub trait Policy: 'static {
    /// What people set when they bind the plugin. `#[serde(deny_unknown_fields)]` turns a misspelt
    /// field into an error instead of a surprise; `#[serde(default)]` is needed where `{}` shall do.
    type Settings: DeserializeOwned + JsonSchema;

    /// What is wrong with settings that fit their type; nothing, by default. Asked when a binding is
    /// saved, if the plugin exports `settings`.
    fn check(settings: &Self::Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }
}

/// The settings of a policy that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Who asks, when, and with what settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context<S> {
    /// The pipeline's name.
    pub pipeline: String,
    /// The time of the decision, the only clock there is: who looks at it sets `wake-at`.
    pub at: Instant,
    /// The only source of chance, the same for the same subject.
    pub seed: u64,
    /// The binding's settings.
    pub settings: S,
    /// The pipeline's notes of this binding, sorted by key.
    pub notes: Vec<(String, String)>,
    /// Answers to earlier [`Stop::Ask`].
    pub facts: Vec<Fact>,
    /// What people have set on the pipeline, sorted by key.
    pub attrs: Vec<(String, String)>,
}

impl<S> Context<S> {
    /// A context with settings and nothing else, at the beginning of time: for tests.
    pub fn new(settings: S) -> Self {
        Context {
            pipeline: String::new(),
            at: 0,
            seed: 0,
            settings,
            notes: Vec::new(),
            facts: Vec::new(),
            attrs: Vec::new(),
        }
    }

    /// What this binding remembers of the pipeline under a key: [`Basis::note`](crate::Basis::note)
    /// wrote it, or a person.
    #[must_use]
    pub fn note(&self, key: &str) -> Option<&str> {
        attr(&self.notes, key)
    }

    /// What the host found when it was asked for this ([`Stop::ask`](crate::Stop::ask)). None: it was not
    /// asked yet.
    #[must_use]
    pub fn found(&self, kind: &str, args: &[(String, String)]) -> Option<&Found> {
        let same = |fact: &&Fact| fact.query.kind == kind && fact.query.args == args;
        self.facts.iter().find(same).map(|fact| &fact.found)
    }
}

impl<S: DeserializeOwned> Context<S> {
    pub(crate) fn from_wire(wire: types::Context) -> Result<Self, Stop> {
        let settings =
            read_settings(&wire.settings).map_err(|problem| Stop::BadSettings(vec![problem]))?;
        Ok(Context {
            pipeline: wire.pipeline,
            at: wire.at,
            seed: wire.seed,
            settings,
            notes: wire.notes,
            facts: wire.facts,
            attrs: wire.attrs,
        })
    }
}

/// The value of a key in attrs or notes.
#[must_use]
pub fn attr<'a>(attrs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    attrs
        .iter()
        .find(|(held, _)| held == key)
        .map(|(_, value)| value.as_str())
}

/// Checks settings as the host does when a binding is saved: for tests.
///
/// # Errors
/// What is wrong with them, with the fields.
pub fn check_settings<P: Policy>(json: &str) -> Result<(), Vec<Problem>> {
    let settings = read_settings::<P::Settings>(json).map_err(|problem| vec![problem])?;
    let problems = P::check(&settings);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// The JSON Schema of a policy's settings, draft 2020-12.
#[must_use]
pub fn settings_schema<P: Policy>() -> String {
    let schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<P::Settings>();
    schema.as_value().to_string()
}

fn read_settings<S: DeserializeOwned>(json: &str) -> Result<S, Problem> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let settings = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let code = if error.inner().is_data() {
            "settings.misfit"
        } else {
            "settings.not-json"
        };
        Problem::new(pointer(error.path()), code, error.inner().to_string())
    })?;
    reader
        .end()
        .map_err(|error| Problem::new("", "settings.not-json", error.to_string()))?;
    Ok(settings)
}

/// As RFC 6901 has it.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            }
            // The variant of an enum is not always a place in the JSON.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Settings {
        #[serde(default)]
        purposes: Vec<String>,
        least: u8,
    }

    struct Picky;

    impl Policy for Picky {
        type Settings = Settings;

        fn check(settings: &Settings) -> Vec<Problem> {
            if settings.least == 0 {
                return vec![Problem::new(
                    "/least",
                    "settings.too-small",
                    "It is 1 or more.",
                )];
            }
            Vec::new()
        }
    }

    fn fields(json: &str) -> Vec<(String, String)> {
        let problems = check_settings::<Picky>(json).unwrap_err();
        problems
            .into_iter()
            .map(|problem| (problem.field, problem.code))
            .collect()
    }

    fn one(field: &str, code: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), code.to_owned())]
    }

    #[test]
    fn a_problem_names_its_field() {
        assert_eq!(check_settings::<Picky>(r#"{"least":1}"#), Ok(()));
        assert_eq!(
            fields(r#"{"least":1,"purposes":["a",2]}"#),
            one("/purposes/1", "settings.misfit")
        );
        assert_eq!(fields(r#"{"least":300}"#), one("/least", "settings.misfit"));
        assert_eq!(
            fields(r#"{"least":0}"#),
            one("/least", "settings.too-small")
        );
        assert_eq!(fields("{}"), one("", "settings.misfit"));
        assert_eq!(fields("{"), one("", "settings.not-json"));
        assert_eq!(fields(r#"{"least":1} x"#), one("", "settings.not-json"));
    }

    #[test]
    fn the_schema_is_of_the_type() {
        let schema: serde_json::Value = serde_json::from_str(&settings_schema::<Picky>()).unwrap();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["properties"]["least"]["maximum"], 255);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["least"]));
    }

    #[test]
    fn no_settings_are_an_empty_object() {
        struct Plain;
        impl Policy for Plain {
            type Settings = NoSettings;
        }
        assert_eq!(check_settings::<Plain>("{}"), Ok(()));
        assert!(check_settings::<Plain>(r#"{"least":1}"#).is_err());
    }
}
