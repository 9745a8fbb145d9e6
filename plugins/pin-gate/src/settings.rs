//! What people set.

use pointsman_sdk::Problem;
use regex::{RegexSet, RegexSetBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

/// Patterns of paths: each is looked at for each changed path.
const MAX_PATHS: usize = 100;

/// Bytes that the compiled patterns may take: some forty times what a hundred ordinary ones do, and a
/// small part of a call's memory.
const REGEX_BYTES: usize = 4 * 1_024 * 1_024;

/// Bytes of a label's name, as the host stores it.
const MAX_LABEL_BYTES: usize = 128;

/// Where the pin is, what needs a run, and who asks for one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The file that holds the pinned commit, from the root of the repository.
    pub pin: String,
    /// Regular expressions of the paths that matter, each for the whole path: `src/.*`, `KERNEL_REV`. What
    /// changes no such path passes without a run, in the merge queue as well. None: all paths matter.
    pub relevant: Vec<String>,
    /// The label that asks for a real run of the head that it is put on for.
    pub label: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            pin: "KERNEL_REV".to_owned(),
            relevant: Vec::new(),
            label: "kernel-e2e".to_owned(),
        }
    }
}

impl Settings {
    /// The arguments of the fact `file` that is the pin.
    pub(crate) fn query(&self) -> [(String, String); 1] {
        [("path".to_owned(), self.pin.clone())]
    }

    /// The patterns, each anchored at both ends.
    pub(crate) fn relevant(&self) -> Result<RegexSet, regex::Error> {
        let anchored = self.relevant.iter().map(|path| format!("^(?:{path})$"));
        RegexSetBuilder::new(anchored)
            .size_limit(REGEX_BYTES)
            .build()
    }

    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        if !self.pin.split('/').all(is_plain) || self.pin.contains('\0') {
            let text = "It is a path from the root of the repository: `KERNEL_REV`, `pins/kernel`.";
            problems.push(Problem::new("/pin", "settings.path", text));
        }
        if self.label.is_empty() || self.label.len() > MAX_LABEL_BYTES {
            let text = format!("A label has 1 to {MAX_LABEL_BYTES} bytes.");
            problems.push(Problem::new("/label", "settings.label", text));
        }
        if self.relevant.len() > MAX_PATHS {
            let text = format!("There are at most {MAX_PATHS}: put several into one with `|`.");
            problems.push(Problem::new("/relevant", "settings.too-many", text));
        }
        for (index, path) in self.relevant.iter().enumerate() {
            let mut refuse = |code: &str, text: String| {
                problems.push(Problem::new(format!("/relevant/{index}"), code, text));
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
            && let Err(error) = self.relevant()
        {
            let text = format!("Together they cannot be used: {error}");
            problems.push(Problem::new("/relevant", "settings.regex", text));
        }
        problems
    }
}
