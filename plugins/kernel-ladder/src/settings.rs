//! What people set.

use pointsman_sdk::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

/// The rungs, and how far the policy goes by itself. `{}` is the ladder of the three stock stages,
/// with one run of each purpose.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The rungs, lowest first.
    pub ladder: Vec<Rung>,
    /// Runs of one purpose that a version may have, at least 1: after so many that did not pass it
    /// waits for a person.
    #[schemars(range(min = 1))]
    pub max_runs: u32,
    /// Whether to propose runs. Without, versions only move as reported runs pass.
    pub start_runs: bool,
}

/// One rung: a purpose of runs, and where a pass of it leads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rung {
    /// The runs that count: `build`.
    pub purpose: String,
    /// The stage that a pass reaches: `built`. In one that only a person gives, a version that passed
    /// waits for that person.
    pub stage: String,
    /// Whether a version without headers must not have such a run, as it could only fail.
    #[serde(default)]
    pub needs_headers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let rung = |purpose: &str, stage: &str, needs_headers| Rung {
            purpose: purpose.to_owned(),
            stage: stage.to_owned(),
            needs_headers,
        };
        Settings {
            ladder: vec![
                rung("fetch", "fetched", true),
                rung("build", "built", false),
                rung("test", "tested", false),
            ],
            max_runs: 1,
            start_runs: true,
        }
    }
}

impl Settings {
    /// What is wrong with them. Whether the stages exist is seen only when the policy is asked.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.ladder.is_empty() {
            problems.push(Problem::new(
                "/ladder",
                "settings.empty",
                "It has at least one rung.",
            ));
        }
        for (index, rung) in self.ladder.iter().enumerate() {
            let before = &self.ladder[..index];
            let mut refuse = |field: &str, code: &str, text: String| {
                problems.push(Problem::new(format!("/ladder/{index}/{field}"), code, text));
            };
            if rung.purpose.is_empty() {
                refuse(
                    "purpose",
                    "settings.empty",
                    "A purpose has a name, such as `build`.".to_owned(),
                );
            } else if before.iter().any(|other| other.purpose == rung.purpose) {
                refuse(
                    "purpose",
                    "settings.twice",
                    format!("`{}` is the purpose of another rung.", rung.purpose),
                );
            }
            if rung.stage.is_empty() {
                refuse(
                    "stage",
                    "settings.empty",
                    "A stage has a name, such as `built`.".to_owned(),
                );
            } else if before.iter().any(|other| other.stage == rung.stage) {
                refuse(
                    "stage",
                    "settings.twice",
                    format!("`{}` is the stage of another rung.", rung.stage),
                );
            }
        }
        if self.max_runs == 0 {
            let text = "It is at least 1; to start no runs set `start-runs` to false.";
            problems.push(Problem::new("/max-runs", "settings.too-small", text));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use pointsman_sdk::check_settings;

    use crate::KernelLadder;

    fn fields(json: &str) -> Vec<String> {
        let problems = check_settings::<KernelLadder>(json).unwrap_err();
        problems.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn nothing_set_is_right() {
        assert_eq!(check_settings::<KernelLadder>("{}"), Ok(()));
        assert_eq!(
            check_settings::<KernelLadder>(r#"{"max-runs": 3, "start-runs": false}"#),
            Ok(())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(fields(r#"{"max-runs": 0}"#), ["/max-runs"]);
        assert_eq!(fields(r#"{"max-runs": "two"}"#), ["/max-runs"]);
        assert_eq!(fields(r#"{"ladder": []}"#), ["/ladder"]);
        let twice =
            r#"{"ladder": [{"purpose": "a", "stage": "x"}, {"purpose": "a", "stage": ""}]}"#;
        assert_eq!(fields(twice), ["/ladder/1/purpose", "/ladder/1/stage"]);
        assert!(check_settings::<KernelLadder>(r#"{"max_runs": 1}"#).is_err());
    }
}
