//! The JSON Schema of a plugin's settings.
//!
//! A schema is a plugin's own, so it is not trusted: patterns are matched in linear time, and nothing that
//! it refers to is fetched.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// Problems that are named at most.
const SHOWN_PROBLEMS: usize = 10;

/// Whether this is a schema.
///
/// # Errors
/// What is wrong with it.
pub fn check(schema: &Value) -> Result<(), String> {
    validator(schema).map(drop)
}

/// What is wrong with these settings: JSON pointers, and what would be right. None: they fit.
///
/// # Errors
/// The schema is none.
pub fn problems(schema: &Value, settings: &Value) -> Result<Vec<(String, String)>, String> {
    Ok(validator(schema)?
        .iter_errors(settings)
        .take(SHOWN_PROBLEMS)
        .map(|error| (error.instance_path().to_string(), error.to_string()))
        .collect())
}

fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_that_do_not_fit_are_told_with_their_fields() {
        let schema = json!({
            "type": "object",
            "properties": {
                "least": {"type": "integer", "minimum": 1},
                "names": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}},
            },
            "additionalProperties": false,
        });
        let fields = |settings: Value| -> Vec<String> {
            let problems = problems(&schema, &settings).unwrap();
            problems.into_iter().map(|(field, _)| field).collect()
        };
        assert_eq!(
            fields(json!({"least": 1, "names": ["a"]})),
            Vec::<String>::new()
        );
        assert_eq!(fields(json!({"least": 0})), ["/least"]);
        assert_eq!(fields(json!({"names": ["a", "B"]})), ["/names/1"]);
        assert_eq!(fields(json!({"leest": 1})), [""]);
    }

    #[test]
    fn a_schema_that_is_none_is_told_and_nothing_is_fetched() {
        for schema in [
            json!({"type": "objekt"}),
            json!({"properties": []}),
            json!({"pattern": "("}),
            json!({"$ref": "https://schemas.example/other.json"}),
            json!({"$ref": "file:///etc/passwd"}),
        ] {
            assert!(check(&schema).is_err(), "{schema}");
        }
        // One that refers to itself: every document ends.
        let tree = json!({"properties": {"left": {"$ref": "#"}}, "additionalProperties": false});
        assert!(
            problems(&tree, &json!({"left": {"left": {}}}))
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            problems(&tree, &json!({"left": {"right": {}}}))
                .unwrap()
                .len(),
            1
        );
    }
}
