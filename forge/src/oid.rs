//! Ids of git objects.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::BadName;

/// The id of a git object: 40 lower-case hex digits (SHA-1) or 64 (SHA-256).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid {
    /// The digits; of a short id the rest is NUL.
    digits: [u8; 64],
}

impl Oid {
    /// The hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits are ever stored, so this is never empty.
        std::str::from_utf8(&self.digits[..self.len()]).unwrap_or_default()
    }

    fn len(&self) -> usize {
        if self.digits[40] == 0 { 40 } else { 64 }
    }

    /// The tree without entries, which git knows without storing it.
    pub(crate) fn empty_tree(self) -> &'static str {
        if self.len() == 40 {
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        } else {
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        }
    }
}

impl FromStr for Oid {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bytes = text.as_bytes();
        if bytes.len() != 40 && bytes.len() != 64 {
            return Err(BadName::new(
                "object id",
                text,
                "it has neither 40 nor 64 hex digits",
            ));
        }
        if !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadName::new(
                "object id",
                text,
                "it has other than lower-case hex digits",
            ));
        }
        let mut digits = [0; 64];
        digits[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { digits })
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Oid {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> Self {
        oid.as_str().to_owned()
    }
}
