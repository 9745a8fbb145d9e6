//! What people set.

use pointsman_policy_kit::Permission;
use pointsman_sdk::Problem;
use regex::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// Patterns of paths: each is looked at for each changed path.
const MAX_PATHS: usize = 100;

/// Bytes that the compiled patterns may take: some forty times what a hundred ordinary ones do, and a
/// small part of a call's memory.
const REGEX_BYTES: usize = 4 * 1_024 * 1_024;

/// What runs, and who may say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// What an author must at least be allowed in the repository for a head from elsewhere to run
    /// without somebody's word.
    pub trusted: Permission,
    /// What somebody must at least be allowed for commands (`hold`, `unhold`, `cancel`, `retry`, `try`).
    pub permission: Permission,
    /// Regular expressions of the paths that matter, each for the whole path: `src/.*`, `KERNEL_REV`. A
    /// head that changes no such path is green without a run. None: all paths matter.
    pub paths: Vec<String>,
    /// Whether lanes too are green without a run where no path matters. Then what lands was not tested.
    pub paths_in_lanes: bool,
}

impl Settings {
    /// The patterns, each anchored at both ends.
    pub(crate) fn paths(&self) -> Result<RegexSet, regex::Error> {
        let anchored = self.paths.iter().map(|path| format!("^(?:{path})$"));
        RegexSetBuilder::new(anchored)
            .size_limit(REGEX_BYTES)
            .build()
    }

    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.paths.len() > MAX_PATHS {
            let text = format!("There are at most {MAX_PATHS}: put several into one with `|`.");
            problems.push(Problem::new("/paths", "settings.too-many", text));
        }
        for (index, path) in self.paths.iter().enumerate() {
            let mut refuse = |code: &str, text: String| {
                problems.push(Problem::new(format!("/paths/{index}"), code, text));
            };
            // By itself first: in the anchored form `a)|(b` would be something else.
            match regex::Regex::new(path) {
                _ if path.is_empty() => refuse(
                    "settings.empty",
                    "A pattern says which paths it is for: `src/.*`.".to_owned(),
                ),
                Err(error) => refuse(
                    "settings.regex",
                    format!("It is no regular expression: {error}"),
                ),
                Ok(_) => {}
            }
        }
        if problems.is_empty()
            && let Err(error) = self.paths()
        {
            let text = format!("Together they cannot be used: {error}");
            problems.push(Problem::new("/paths", "settings.regex", text));
        }
        if self.paths_in_lanes && self.paths.is_empty() {
            let text = "It is about `paths`, of which there are none.";
            problems.push(Problem::new("/paths-in-lanes", "settings.unused", text));
        }
        problems
    }
}
