//! The policy of `bench-review` the way Kubewarden calls one: the request is a JSON text, and so is the
//! answer. The types hold all fields of the record, as those of a Kubernetes object do there.

#![expect(
    dead_code,
    reason = "a record is read whole, and decided by a few of its fields"
)]

use serde::{Deserialize, Serialize};

// Off WebAssembly nobody calls it.
#[cfg(target_family = "wasm")]
mod abi {
    #![expect(unsafe_code, reason = "generated code")]

    wit_bindgen::generate!({
        inline: "package bench:json; world policy { export validate: func(request: string) -> string; }",
    });

    struct Json;

    impl Guest for Json {
        fn validate(request: String) -> String {
            let failed = |error: serde_json::Error| serde_json::json!({"error": error.to_string()});
            super::validate(&request).unwrap_or_else(|error| failed(error).to_string())
        }
    }

    export!(Json);
}

#[derive(Deserialize)]
struct Request {
    settings: Settings,
    request: Question,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

#[derive(Deserialize)]
struct Question {
    pull_request: PullRequest,
    reviews: Vec<Submitted>,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    author: String,
    title: String,
    target: String,
    opened_at: u64,
    head: String,
    merge_base: String,
    patch_id: String,
    state: String,
    labels: Vec<Label>,
    changed: String,
    changed_total: u32,
    commands: Vec<Command>,
    depends: Vec<Dependency>,
    runs: Vec<PastRun>,
    notes: Vec<(String, String)>,
    attrs: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
    by: String,
    at: u64,
    head: String,
}

#[derive(Deserialize)]
struct Command {
    by: String,
    at: u64,
    head: String,
    text: String,
    attrs: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Dependency {
    subject: String,
    state: String,
    attrs: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct PastRun {
    purpose: String,
    commit: String,
    base: String,
    at: u64,
    verdict: Option<String>,
    tags: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Submitted {
    by: String,
    state: String,
    at: u64,
    head: String,
    patch_id: String,
    attrs: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Answer {
    approval: &'static str,
    wanted: Vec<String>,
    code: &'static str,
    text: String,
}

impl Answer {
    fn new(approval: &'static str, code: &'static str, text: String) -> Self {
        Answer {
            approval,
            wanted: Vec::new(),
            code,
            text,
        }
    }
}

fn decide(request: &Request) -> Answer {
    let pull = &request.request.pull_request;
    if pull.labels.iter().any(|label| label.name == "blocked") {
        let text = format!("#{} is labelled `blocked`.", pull.number);
        return Answer::new("Rejected", "label.blocked", text);
    }
    let counts = |review: &&Submitted| {
        let permission = review.attrs.iter().find(|(key, _)| key == "permission");
        review.state == "approved"
            && review.head == pull.head
            && review.by != pull.author
            && matches!(
                permission.map(|(_, value)| value.as_str()),
                Some("write" | "maintain" | "admin")
            )
    };
    match request.request.reviews.iter().find(counts) {
        Some(review) => Answer::new(
            "Approved",
            "review.approved",
            format!("{} approved #{} at {}.", review.by, pull.number, pull.head),
        ),
        None => Answer::new(
            "Pending",
            "review.missing",
            "Nobody has approved this head.".to_owned(),
        ),
    }
}

/// Decides: a request as JSON, and the answer as JSON.
///
/// # Errors
///
/// The request is not what it should be.
pub fn validate(request: &str) -> Result<String, serde_json::Error> {
    serde_json::to_string(&decide(&serde_json::from_str(request)?))
}
