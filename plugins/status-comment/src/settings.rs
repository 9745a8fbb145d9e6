//! What people set.

use pointsman_policy_kit::Permission;
use pointsman_sdk::Problem;
use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes of a status's name that forges show.
const CONTEXT_BYTES: usize = 100;

/// What is told, and under which name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// The status's name. That of a purpose other than `merge` has it added: `pointsman/try`.
    pub context: String,
    /// Which verdicts are told in a comment, beside the status.
    pub comments: Comments,
    /// Whether commands are answered.
    pub answer_commands: bool,
    /// What somebody must at least be allowed for commands, as the other policies have it: the answer
    /// says so to those who may not.
    pub permission: Permission,
}

/// Which verdicts are told in a comment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Comments {
    /// Each in one of its own.
    #[default]
    Each,
    /// The newest, in one that is edited.
    Latest,
    /// Each that is no pass, in one of its own.
    Failures,
    /// None.
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            context: "pointsman".to_owned(),
            comments: Comments::Each,
            answer_commands: true,
            permission: Permission::Write,
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let is_wrong = self.context.is_empty()
            || self.context.len() > CONTEXT_BYTES
            || self.context.chars().any(char::is_control);
        if !is_wrong {
            return Vec::new();
        }
        let text =
            format!("A status's name has 1 to {CONTEXT_BYTES} bytes and no control characters.");
        vec![Problem::new("/context", "settings.name", text)]
    }
}
