//! What somebody may do in a repository.

use pointsman_sdk::attr;
use schemars::JsonSchema;
use serde::Deserialize;

/// What somebody may do in a repository, the least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Nothing more than anybody.
    None,
    /// See it.
    Read,
    /// Sort issues and pull requests.
    Triage,
    /// Push to it.
    #[default]
    Write,
    /// Change most of its settings.
    Maintain,
    /// Everything.
    Admin,
}

impl Permission {
    /// The word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::None => "none",
            Permission::Read => "read",
            Permission::Triage => "triage",
            Permission::Write => "write",
            Permission::Maintain => "maintain",
            Permission::Admin => "admin",
        }
    }

    /// What a key of some attrs says. A word that is not known, or none at all, allows nothing: a
    /// permission is never guessed.
    #[must_use]
    pub fn of(attrs: &[(String, String)], key: &str) -> Self {
        use Permission::{Admin, Maintain, None, Read, Triage, Write};
        let word = attr(attrs, key).unwrap_or_default();
        [Read, Triage, Write, Maintain, Admin]
            .into_iter()
            .find(|permission| permission.as_str() == word)
            .unwrap_or(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_allows_nothing() {
        let attrs = |word: &str| vec![("permission".to_owned(), word.to_owned())];
        assert_eq!(
            Permission::of(&attrs("admin"), "permission"),
            Permission::Admin
        );
        assert_eq!(
            Permission::of(&attrs("owner"), "permission"),
            Permission::None
        );
        assert_eq!(Permission::of(&[], "permission"), Permission::None);
        assert!(Permission::Triage < Permission::Write && Permission::Write < Permission::Admin);
    }
}
