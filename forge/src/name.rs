//! Names that are checked once, where they come in, and are then safe as file names and arguments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{BRANCH_BYTES, BRANCH_PART_BYTES, REPO_NAME_BYTES};

/// Characters of a refused name that the error repeats.
const SHOWN_CHARS: usize = 80;

/// A name that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no {kind}: {why}")]
pub struct BadName {
    /// What it was to be: `branch`, `repository name`, `object id`.
    pub kind: &'static str,
    /// The name, or its beginning.
    pub name: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl BadName {
    pub(crate) fn new(kind: &'static str, name: &str, why: &'static str) -> Self {
        Self {
            kind,
            name: name.chars().take(SHOWN_CHARS).collect(),
            why,
        }
    }
}

/// The name of a branch: what follows `refs/heads/`, by the rules of `git check-ref-format`.
///
/// Stricter than git in two ways: `@` is refused, since git reads it as `HEAD`; and so is what no
/// file system stores, more than 255 bytes in all or 250 between slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Branch(String);

impl Branch {
    /// The name, without `refs/heads/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole name of the ref.
    #[must_use]
    pub fn to_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

/// The name of a repository of the forge; its folder is `NAME.git`.
///
/// Letters, digits, `-`, `_` and `.`; it begins with a letter or a digit and ends neither with a dot
/// nor with `.git` or `.lock`; at most 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName(String);

impl RepoName {
    /// The name, without `.git`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rule of git's that a branch name breaks.
fn branch_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > BRANCH_BYTES {
        return Some("it is longer than 255 bytes");
    }
    if name.starts_with('-') {
        return Some("it begins with a dash");
    }
    if name == "HEAD" || name == "@" {
        return Some("git means the current commit by it");
    }
    if name.ends_with('.') {
        return Some("it ends with a dot");
    }
    if name.contains("..") {
        return Some("it contains two dots in a row");
    }
    if name.contains("@{") {
        return Some("it contains @{");
    }
    if name
        .bytes()
        .any(|b| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b))
    {
        return Some("it contains a space, a control character or one of ~ ^ : ? * [ \\");
    }
    name.split('/').find_map(|part| {
        if part.is_empty() {
            Some("a slash stands at its end or next to another one")
        } else if part.starts_with('.') {
            Some("a part of it begins with a dot")
        } else if part.ends_with(".lock") {
            Some("a part of it ends with .lock")
        } else if part.len() > BRANCH_PART_BYTES {
            Some("a part of it is longer than 250 bytes")
        } else {
            None
        }
    })
}

fn repo_name_fault(name: &str) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Some("it does not begin with a letter or a digit");
    }
    if bytes.len() > REPO_NAME_BYTES {
        return Some("it is longer than 100 bytes");
    }
    if !bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    {
        return Some("it has other characters than letters, digits, - _ and .");
    }
    let lower = name.to_ascii_lowercase();
    if lower.ends_with('.') || lower.ends_with(".git") || lower.ends_with(".lock") {
        return Some("it ends with a dot, .git or .lock");
    }
    None
}

/// What both kinds of names have in common.
macro_rules! checked_name {
    ($type:ident, $kind:literal, $fault:path) => {
        impl FromStr for $type {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                match $fault(&text) {
                    None => Ok(Self(text)),
                    Some(why) => Err(BadName::new($kind, &text, why)),
                }
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_name!(Branch, "branch", branch_fault);
checked_name!(RepoName, "repository name", repo_name_fault);
