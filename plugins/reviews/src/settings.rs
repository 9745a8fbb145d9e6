//! What people set.

use pointsman_policy_kit::Permission;
use pointsman_sdk::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Approvals that may be required, and people or teams that may be named: more than any pull request
/// could gather, and less than the 100 that an answer may want.
const MAX_WANTED: usize = 50;

/// Whose word counts, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// People who must approve. 0: nobody, unless `people` or `teams` name some; a request for changes
    /// stands in the way all the same.
    #[schemars(range(max = 50))]
    pub required: u32,
    /// What somebody must at least be allowed in the repository for the word to count.
    pub permission: Permission,
    /// Whether an approval of an older head counts.
    pub stale: Stale,
    /// People who must all approve.
    pub people: Vec<String>,
    /// Teams of which somebody must approve: `org/team`. Only for a forge whose reviews tell the teams of the
    /// reviewer: the local forge knows none, and with one named here nothing is ever approved.
    pub teams: Vec<String>,
    /// Labels with which a head is not approved, whoever approved it.
    pub blocking_labels: Vec<String>,
}

/// Whether an approval of an older head counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stale {
    /// It does not: each push is reviewed.
    #[default]
    No,
    /// If the pull request made the same change then: a clean rebase keeps its reviews. A command does
    /// not say what the change was, so that `r+` is for its head alone.
    SamePatch,
    /// It does.
    Yes,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            required: 1,
            permission: Permission::Write,
            stale: Stale::No,
            people: Vec::new(),
            teams: Vec::new(),
            blocking_labels: vec!["do-not-merge".to_owned(), "wip".to_owned()],
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.required as usize > MAX_WANTED {
            let text = format!("It is at most {MAX_WANTED}.");
            problems.push(Problem::new("/required", "settings.too-large", text));
        }
        if self.people.len() + self.teams.len() > MAX_WANTED {
            let text = format!("At most {MAX_WANTED} people and teams are named.");
            problems.push(Problem::new("/people", "settings.too-many", text));
        }
        let mut names = |field: &str, names: &[String], needs_slash: bool| {
            for (index, name) in names.iter().enumerate() {
                let plain = name.strip_prefix('@').unwrap_or(name);
                let is_wrong = plain.is_empty()
                    || plain.contains(char::is_whitespace)
                    || needs_slash != plain.contains('/');
                if is_wrong {
                    let text = match needs_slash {
                        true => "A team is `org/team`.",
                        false => "A person is a name of the forge; teams go into `teams`.",
                    };
                    let field = format!("/{field}/{index}");
                    problems.push(Problem::new(field, "settings.name", text));
                }
            }
        };
        names("people", &self.people, false);
        names("teams", &self.teams, true);
        for (index, label) in self.blocking_labels.iter().enumerate() {
            if label.is_empty() {
                let field = format!("/blocking-labels/{index}");
                problems.push(Problem::new(field, "settings.empty", "A label has a name."));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use pointsman_sdk::check_settings;

    use crate::Reviews;

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(check_settings::<Reviews>("{}"), Ok(()));
        let right =
            r#"{"required": 2, "stale": "same-patch", "teams": ["@org/core"], "people": ["ann"]}"#;
        assert_eq!(check_settings::<Reviews>(right), Ok(()));
        let wrong = r#"{"required": 51, "people": ["org/core"], "teams": ["core"], "blocking-labels": [""]}"#;
        let problems = check_settings::<Reviews>(wrong).unwrap_err();
        let fields: Vec<&str> = problems
            .iter()
            .map(|problem| problem.field.as_str())
            .collect();
        assert_eq!(
            fields,
            ["/required", "/people/0", "/teams/0", "/blocking-labels/0"]
        );
        assert!(check_settings::<Reviews>(r#"{"stale": "maybe"}"#).is_err());
    }
}
