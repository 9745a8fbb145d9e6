//! Is this head approved? Here: by enough people, each by the last thing they said.

use pointsman_sdk::{Approval, Basis, Context, Policy, Review, Stop, review};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many people must approve.
    pub approvals: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { approvals: 1 }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Review for MyPolicy {
    fn review(
        context: &Context<Settings>,
        question: review::Question,
    ) -> Result<review::Answer, Stop> {
        let head = &question.pull_request.head;
        let mut last: Vec<(&str, &str)> = Vec::new();
        for review in &question.reviews {
            // A comment decides nothing, and an approval is of the head that was seen.
            if review.state == "commented" || (review.state == "approved" && review.head != *head) {
                continue;
            }
            last.retain(|(by, _)| *by != review.by);
            last.push((&review.by, &review.state));
        }
        let count = |state: &str| last.iter().filter(|(_, said)| *said == state).count();
        if count("changes-requested") > 0 {
            let basis = Basis::because("review.changes-requested", "Somebody asked for changes.");
            return Ok(review::Answer::new(Approval::Rejected, basis));
        }
        let needed = context.settings.approvals as usize;
        let text = format!(
            "{} of {needed} people approved this head.",
            count("approved")
        );
        let (approval, code) = match count("approved") >= needed {
            true => (Approval::Approved, "review.enough"),
            false => (Approval::Pending, "review.missing"),
        };
        Ok(review::Answer::new(approval, Basis::because(code, text)))
    }
}

pointsman_sdk::export!(MyPolicy: review, settings);
