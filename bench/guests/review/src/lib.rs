//! A small review policy, for the benchmarks: a head is approved by somebody else's review of this very
//! head, unless a label blocks it. `bench-json` decides the same of the same record, given as JSON.

use pointsman_sdk::{Approval, Basis, Context, NoSettings, Policy, Review, Stop, attr, review};

/// See the crate.
pub struct Approved;

impl Policy for Approved {
    type Settings = NoSettings;
}

impl Review for Approved {
    fn review(_: &Context<NoSettings>, question: review::Question) -> Result<review::Answer, Stop> {
        let pull = &question.pull_request;
        if pull.label("blocked").is_some() {
            let text = format!("#{} is labelled `blocked`.", pull.number);
            return Ok(review::Answer::new(
                Approval::Rejected,
                Basis::because("label.blocked", text),
            ));
        }
        let counts = |review: &&review::Submitted| {
            review.state == "approved"
                && review.head == pull.head
                && review.by != pull.author
                && matches!(
                    attr(&review.attrs, "permission"),
                    Some("write" | "maintain" | "admin")
                )
        };
        Ok(match question.reviews.iter().find(counts) {
            Some(review) => review::Answer::new(
                Approval::Approved,
                Basis::because(
                    "review.approved",
                    format!("{} approved #{} at {}.", review.by, pull.number, pull.head),
                ),
            ),
            None => review::Answer::new(
                Approval::Pending,
                Basis::because("review.missing", "Nobody has approved this head."),
            ),
        })
    }
}

pointsman_sdk::export!(Approved: review);
