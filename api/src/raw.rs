//! JSON that is passed on unread.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// JSON as it stands: checked to be JSON, and not made a tree of. Equal where the text is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// This text.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn new(json: String) -> serde_json::Result<Raw> {
        RawValue::from_string(json).map(Raw)
    }

    /// This value, as serde writes it.
    ///
    /// # Errors
    /// Its keys are no strings.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Raw> {
        serde_json::value::to_raw_value(value).map(Raw)
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// It as a tree.
    #[must_use]
    pub fn value(&self) -> Value {
        // It was checked to be JSON; what a tree cannot hold (nested too deep) reads as nothing.
        serde_json::from_str(self.get()).unwrap_or_default()
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}
