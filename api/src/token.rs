//! Bearer tokens and their roles.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// What a token allows; each role includes those before it.
    #[derive(PartialOrd, Ord)]
    pub enum Role {
        /// Everything that changes nothing.
        Reader,
        /// Changes of the record.
        Writer,
        /// Policies, pipelines, tokens, import.
        Admin,
    }
}

wire! {
    /// A token, without its secret.
    pub struct Token {
        /// The user of the generations made with it.
        pub name: String,
        /// What it allows.
        pub role: Role,
        /// When.
        pub created_at: DateTime<Utc>,
        /// From then on it is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires: Option<DateTime<Utc>>,
        /// Revoked.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub revoked: bool,
    }
}

wire! {
    /// A token to make.
    #[serde(deny_unknown_fields)]
    pub struct NewToken {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// `[A-Za-z0-9._@-]`, at most 63 characters; unique for ever, since generations name it.
        pub name: String,
        /// What it allows.
        pub role: Role,
        /// From then on it is refused; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires: Option<DateTime<Utc>>,
    }
}

wire! {
    /// A new token, with its secret: shown this once, stored nowhere.
    pub struct CreatedToken {
        /// The token.
        pub token: Token,
        /// What goes behind `Authorization: Bearer`.
        pub secret: String,
    }
}

wire! {
    /// Who the caller is.
    pub struct WhoAmI {
        /// The token's name.
        pub name: String,
        /// Its role.
        pub role: Role,
    }
}
