//! What people set.

use pointsman_sdk::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Attempts of one job that the host makes, whoever asks for more.
pub(crate) const MAX_ATTEMPTS: usize = 10;

/// Retries that may be set: all of the host's attempts but the first.
const MAX_RETRIES: u32 = 9;

/// How strictly exit codes are read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// More attempts of a required job that the machinery lost, at most 9: the host makes ten in all.
    #[schemars(range(max = 9))]
    pub retries: u32,
    /// Exit codes by which a job says that the machinery failed and not what it tests. The stock
    /// checkout uses 75.
    pub infrastructure_codes: Vec<i32>,
    /// Whether a job whose report has failed tests fails even if it exited with 0.
    pub report_decides: bool,
    /// Whether the other jobs go on after one has failed, so that the whole harm is seen.
    pub keep_going: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            retries: 2,
            infrastructure_codes: vec![75],
            report_decides: false,
            keep_going: false,
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.retries > MAX_RETRIES {
            let text = format!(
                "It is at most {MAX_RETRIES}: the host makes {MAX_ATTEMPTS} attempts of a job in all."
            );
            problems.push(Problem::new("/retries", "settings.too-large", text));
        }
        for (index, code) in self.infrastructure_codes.iter().enumerate() {
            if !(1..=255).contains(code) {
                let field = format!("/infrastructure-codes/{index}");
                let text = "An exit code is 1 to 255, and 0 is a pass.";
                problems.push(Problem::new(field, "settings.range", text));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use pointsman_sdk::check_settings;

    use crate::ExitCode;

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(check_settings::<ExitCode>("{}"), Ok(()));
        let fields = |json| {
            let problems = check_settings::<ExitCode>(json).unwrap_err();
            problems
                .into_iter()
                .map(|problem| problem.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(check_settings::<ExitCode>(r#"{"retries": 9}"#), Ok(()));
        assert_eq!(fields(r#"{"retries": 10}"#), ["/retries"]);
        assert_eq!(
            fields(r#"{"infrastructure-codes": [75, 0]}"#),
            ["/infrastructure-codes/1"]
        );
        assert_eq!(fields(r#"{"retry": 1}"#).len(), 1);
    }
}
